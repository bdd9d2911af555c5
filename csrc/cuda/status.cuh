// How kernels read and write a Status. Of all problems in one array the lowest position is reported, whatever the order
// of blocks: each thread notes what it finds, and when all are done one thread makes the report.
#pragma once
#include "common.cuh"

namespace nnfast {
namespace {

__device__ inline bool stopped(const Status* status) { return status && status->code != OK; }

// While the code is OK, `sample` holds ~position of the lowest problem noted, 0 if there is none.
__device__ inline void note(Status* status, int64_t position) {
  if (status->code == OK)
    atomicMax(reinterpret_cast<unsigned long long*>(&status->sample), ~static_cast<unsigned long long>(position));
}

// By one thread, when all others have noted. value_at(position): what was found there. What lies beyond value_at.size()
// was noted by the same op on another stream, which will settle it.
template <class ValueAt>
__device__ inline void settle(Status* status, StatusCode code, const ValueAt& value_at) {
  if (status->code != OK) return;
  // atomicMax with 0 reads past the L1 cache, where an older value may lie.
  const unsigned long long noted = atomicMax(reinterpret_cast<unsigned long long*>(&status->sample), 0ULL);
  if (noted == 0) return;
  const int64_t position = static_cast<int64_t>(~noted);
  if (position >= value_at.size()) return;
  status->step = status->now;
  status->sample = position;
  status->value = value_at(position);
  status->code = code;
}

template <class ValueAt>
__global__ void settle_kernel(Status* status, StatusCode code, ValueAt value_at) {
  settle(status, code, value_at);
}

}  // namespace
}  // namespace nnfast
