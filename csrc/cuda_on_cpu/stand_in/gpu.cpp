// In place of cuda/gpu.cpp, where the bindings of _cuda run over the emulator: all memory lies on one GPU, but for what
// a test puts on another; work is done when it is launched, or on a stream of a test when somebody waits for it; a
// graph is a row of launches with the arguments that they had when it was recorded.
#include "../../cuda/gpu.h"

#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include "../../cuda/tensor_cores.h"
#include "../../device_error.h"
#include "../emulator.h"
#include "streams.h"

namespace nnfast {
namespace {
struct Launched {
  emulator::Grid grid;
  std::shared_ptr<std::max_align_t[]> closure;

  explicit Launched(const emulator::Grid& g)
      : grid(g), closure(new std::max_align_t[g.closure_bytes / sizeof(std::max_align_t) + 1]) {
    std::memcpy(closure.get(), g.closure, g.closure_bytes);
    grid.closure = closure.get();
  }
};
using Launches = std::vector<Launched>;
using Runs = std::shared_ptr<const Launches>;  // a graph may be waiting in a line when it is made anew
thread_local Launches* recording = nullptr;
uintptr_t elsewhere_begin = 0, elsewhere_end = 0;  // memory of the other GPU

int failing = 0;  // what becomes of the next launch: 1: an error, 2: no memory

bool launch_later(cudaStream_t stream, const emulator::Grid& grid) {
  const int how = std::exchange(failing, 0);
  if (how == 1) throw DeviceError("CUDA says: that went wrong");
  if (how == 2) throw DeviceMemoryError();
  if (!stream) return false;
  if (recording && stream == reinterpret_cast<cudaStream_t>(recording)) {
    recording->emplace_back(grid);
    return true;
  }
  return stand_in::put_off(stream, [l = Launched(grid)] { emulator::run_now(l.grid); });
}
[[maybe_unused]] const bool streams_are_there = (emulator::later = launch_later, true);
}  // namespace

std::string cuda_versions() { return "CUDA 12.9, emulated, built for the CPU"; }
std::string gpu_problem() { return ""; }
int gpu_of(const void* data) {
  const auto address = reinterpret_cast<uintptr_t>(data);
  return address >= elsewhere_begin && address < elsewhere_end ? 1 : 0;
}
int current_gpu() { return 0; }
int compute_capability() { return 90; }
int multiprocessors() { return 4; }

void wait_for(cudaStream_t stream) { stand_in::run(stream); }
void order_after(cudaStream_t first, cudaStream_t then) {
  const auto wait = [event = stand_in::now(first)] { stand_in::wait(event); };
  if (!stand_in::put_off(then, wait)) wait();
}
void copy_to_host(void* to, const void* from, size_t bytes, cudaStream_t stream) {
  wait_for(stream);
  std::memcpy(to, from, bytes);
}

Graph::~Graph() {
  delete static_cast<Runs*>(runs_);
  delete static_cast<stand_in::Event*>(ended_);
}

void Graph::record(const std::function<void(cudaStream_t)>& work) {
  auto launches = std::make_shared<Launches>();
  struct Recording {
    explicit Recording(Launches* to) { recording = to; }
    ~Recording() { recording = nullptr; }
  } now(launches.get());
  work(reinterpret_cast<cudaStream_t>(launches.get()));
  if (!runs_) runs_ = new Runs;
  *static_cast<Runs*>(runs_) = std::move(launches);
}

void Graph::start(cudaStream_t stream) const {
  const auto all = [runs = *static_cast<const Runs*>(runs_)] {
    for (const Launched& l : *runs) emulator::run_now(l.grid);
  };
  if (!stand_in::put_off(stream, all)) all();
}

void Graph::begin(cudaStream_t stream) const {
  if (!ended_) return;
  const auto wait = [event = *static_cast<const stand_in::Event*>(ended_)] { stand_in::wait(event); };
  if (!stand_in::put_off(stream, wait)) wait();
}

void Graph::end(cudaStream_t stream) {
  if (!ended_) ended_ = new stand_in::Event;
  *static_cast<stand_in::Event*>(ended_) = stand_in::now(stream);
}

}  // namespace nnfast

extern "C" __attribute__((visibility("default"))) void stand_in_fail(int how) { nnfast::failing = how; }
extern "C" __attribute__((visibility("default"))) void stand_in_elsewhere(uintptr_t begin, uintptr_t bytes) {
  nnfast::elsewhere_begin = begin;
  nnfast::elsewhere_end = begin + bytes;
}
