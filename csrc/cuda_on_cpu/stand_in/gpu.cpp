// In place of cuda/gpu.cpp, where the bindings of _cuda run over the emulator: all memory lies on the one GPU, work is
// done when it is launched, and a graph is a row of launches with the arguments that they had when it was recorded.
#include "../../cuda/gpu.h"

#include "../../cuda/tensor_cores.h"

#include <cstring>
#include <memory>
#include <vector>

#include "../../cuda/tensor_cores.h"
#include "../emulator.h"

namespace nnfast {
namespace {
struct Launched {
  emulator::Grid grid;
  std::unique_ptr<std::max_align_t[]> closure;
};
using Launches = std::vector<Launched>;
thread_local Launches* recording = nullptr;

bool record_launch(cudaStream_t stream, const emulator::Grid& grid) {
  if (!recording || stream != reinterpret_cast<cudaStream_t>(recording)) return false;
  Launched l{grid, std::make_unique<std::max_align_t[]>(grid.closure_bytes / sizeof(std::max_align_t) + 1)};
  std::memcpy(l.closure.get(), grid.closure, grid.closure_bytes);
  l.grid.closure = l.closure.get();
  recording->push_back(std::move(l));
  return true;
}
}  // namespace

std::string cuda_versions() { return "CUDA 12.9, emulated"; }
std::string gpu_problem() { return ""; }
int gpu_of(const void*) { return 0; }
int current_gpu() { return 0; }
int compute_capability() { return 80; }

void wait_for(cudaStream_t) {}
void copy_to_host(void* to, const void* from, size_t bytes, cudaStream_t) { std::memcpy(to, from, bytes); }

Graph::~Graph() { delete static_cast<Launches*>(runs_); }

void Graph::record(const std::function<void(cudaStream_t)>& work) {
  auto launches = std::make_unique<Launches>();
  emulator::later = record_launch;
  struct Recording {
    explicit Recording(Launches* to) { recording = to; }
    ~Recording() { recording = nullptr; }
  } now(launches.get());
  work(reinterpret_cast<cudaStream_t>(launches.get()));
  delete static_cast<Launches*>(runs_);
  runs_ = launches.release();
}

void Graph::start(cudaStream_t) const {
  for (const Launched& l : *static_cast<const Launches*>(runs_)) emulator::run_now(l.grid);
}

void Graph::begin(cudaStream_t) const {}
void Graph::end(cudaStream_t) {}

}  // namespace nnfast
