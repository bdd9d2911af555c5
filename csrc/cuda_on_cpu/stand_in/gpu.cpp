// In place of cuda/gpu.cpp, where the bindings of _cuda run over the emulator: all memory lies on the one GPU.
#include "../../cuda/gpu.h"

namespace nnfast {

std::string cuda_versions() { return "CUDA 12.9, emulated"; }
std::string gpu_problem() { return ""; }
int gpu_of(const void*) { return 0; }
int current_gpu() { return 0; }

}  // namespace nnfast
