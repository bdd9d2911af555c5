// How kernels report what they find in data. The lowest offending sample is reported, whatever the number of threads.
#pragma once
#include <atomic>
#include <cstdint>
#include <limits>

#include "../view.h"

namespace nnfast {

inline bool stopped(const Status* status) { return status && status->code != OK; }

inline void report(Status* status, StatusCode code, int64_t sample, int64_t value) {
  if (status->code == OK) *status = Status{code, status->now, sample, value, status->now};
}

// The smallest position that any chunk of a parallel_for has named.
class Lowest {
 public:
  void add(int64_t position) {
    int64_t seen = at_.load(std::memory_order_relaxed);
    while (position < seen && !at_.compare_exchange_weak(seen, position, std::memory_order_relaxed)) {
    }
  }
  bool found() const { return at() != std::numeric_limits<int64_t>::max(); }
  int64_t at() const { return at_.load(std::memory_order_relaxed); }

 private:
  std::atomic<int64_t> at_{std::numeric_limits<int64_t>::max()};
};

}  // namespace nnfast
