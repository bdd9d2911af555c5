// What bindings ask of the CUDA runtime.
#pragma once
#include <cstddef>
#include <functional>
#include <string>

#include "stream.h"

namespace nnfast {

std::string gpu_problem();     // why no GPU can be used, with what helps; empty: one can
int gpu_of(const void* data);  // on which GPU an address lies, -1 if on none
int current_gpu();
std::string cuda_versions();  // of the runtime in this module and of the driver

void wait_for(cudaStream_t stream);
void order_after(cudaStream_t first, cudaStream_t then);  // what `then` gets waits for what `first` has
void copy_to_host(void* to, const void* from, size_t bytes, cudaStream_t stream);  // waits

// The launches of some work, recorded once, and then started as one: a CUDA graph.
class Graph {
 public:
  Graph() = default;
  ~Graph();
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;

  // Records what `work` launches on the stream that it is given; nothing runs. Anew, if there is something already.
  void record(const std::function<void(cudaStream_t)>& work);
  void start(cudaStream_t stream) const;
  // One run at a time, on whatever streams: `begin` lets a stream wait for what came before the last `end`.
  void begin(cudaStream_t stream) const;
  void end(cudaStream_t stream);

 private:
  void* runs_ = nullptr;   // cudaGraphExec_t
  void* ended_ = nullptr;  // cudaEvent_t
};

}  // namespace nnfast
