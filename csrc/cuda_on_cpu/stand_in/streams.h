// Streams for tests: what is started on one waits in line until somebody waits for it. The default stream has no line.
#pragma once
#include <cstdint>
#include <functional>

#include "../../cuda/stream.h"

namespace nnfast::stand_in {

bool put_off(cudaStream_t stream, std::function<void()> work);  // false: the stream has no line, do it at once
void run(cudaStream_t stream);                                  // all that waits there

// What was in line on a stream at some time.
struct Event {
  cudaStream_t stream = nullptr;
  int64_t place = 0;
};
Event now(cudaStream_t stream);
void wait(const Event& event);  // runs until then

}  // namespace nnfast::stand_in
