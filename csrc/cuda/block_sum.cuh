// The sum of many terms by one block of threads, in an order that their number alone decides.
#pragma once
#include "common.cuh"

namespace nnfast {
namespace {

// The sum of term(i), i < n; every thread gets it. room: THREADS doubles of shared memory.
template <int THREADS, class Term>
__device__ double block_sum(int64_t n, double* room, const Term& term) {
  double sum = 0;
  for (int64_t i = threadIdx.x; i < n; i += THREADS) sum += term(i);
  room[threadIdx.x] = sum;
  __syncthreads();
#pragma unroll 1
  for (int half = THREADS / 2; half > 0; half /= 2) {
    if (threadIdx.x < half) room[threadIdx.x] += room[threadIdx.x + half];
    __syncthreads();
  }
  sum = room[0];
  __syncthreads();  // before the room is used again
  return sum;
}

}  // namespace
}  // namespace nnfast
