// The few questions to the CUDA runtime that bindings have.
#pragma once
#include <string>

namespace nnfast {

std::string gpu_problem();     // why no GPU can be used, with what helps; empty: one can
int gpu_of(const void* data);  // on which GPU an address lies, -1 if on none
int current_gpu();
std::string cuda_versions();  // of the runtime in this module and of the driver

}  // namespace nnfast
