// What a GPU can do at best: arithmetic in registers alone, copying, and reading. The ladder's limits; each function
// queues one kernel. What is computed goes to y, so that no compiler leaves it out.
#include "nnfast_ladder.cuh"

namespace {
constexpr int THREADS = 256, SUMS = 8, LOADS = 4;

// SUMS products with a sum in each round, which do not wait for each other.
__global__ void __launch_bounds__(THREADS) products(int rounds, float a, float b, float* y) {
  float sum[SUMS];
  for (int i = 0; i < SUMS; ++i) sum[i] = static_cast<float>(threadIdx.x + i);
#pragma unroll 16
  for (int r = 0; r < rounds; ++r)
#pragma unroll
    for (int i = 0; i < SUMS; ++i) sum[i] = sum[i] * a + b;
  float total = 0;
  for (int i = 0; i < SUMS; ++i) total += sum[i];
  y[int64_t{blockIdx.x} * THREADS + threadIdx.x] = total;
}

__global__ void __launch_bounds__(THREADS) copies(int64_t n, const float4* x, float4* y) {
  const int64_t step = int64_t{gridDim.x} * THREADS;
  for (int64_t i = int64_t{blockIdx.x} * THREADS + threadIdx.x; i < n; i += LOADS * step) {
    float4 v[LOADS];
#pragma unroll
    for (int k = 0; k < LOADS; ++k)
      if (i + k * step < n) v[k] = x[i + k * step];
#pragma unroll
    for (int k = 0; k < LOADS; ++k)
      if (i + k * step < n) y[i + k * step] = v[k];
  }
}

__global__ void __launch_bounds__(THREADS) reads(int64_t n, const float4* x, float* y) {
  const int64_t step = int64_t{gridDim.x} * THREADS;
  float sum = 0;
  for (int64_t i = int64_t{blockIdx.x} * THREADS + threadIdx.x; i < n; i += LOADS * step) {
    float4 v[LOADS] = {};
#pragma unroll
    for (int k = 0; k < LOADS; ++k)
      if (i + k * step < n) v[k] = x[i + k * step];
#pragma unroll
    for (int k = 0; k < LOADS; ++k) sum += (v[k].x + v[k].y) + (v[k].z + v[k].w);
  }
  y[int64_t{blockIdx.x} * THREADS + threadIdx.x] = sum;
}
}  // namespace

#define EXPORT extern "C" __attribute__((visibility("default"))) void

// 2 * SUMS * THREADS operations in each round of each block; y[blocks * THREADS]
EXPORT multiply_add(int64_t blocks, int64_t rounds, float* y) {
  launch(products, blocks, THREADS, 0, nullptr, rounds, 0.5f, 1.0f, y);
}
// y[n] = x[n]; 4 divides n
EXPORT copy_numbers(int64_t blocks, int64_t n, const float* x, float* y) {
  launch(copies, blocks, THREADS, 0, nullptr, n / 4, reinterpret_cast<const float4*>(x), reinterpret_cast<float4*>(y));
}
// Reads x[n]; 4 divides n; y[blocks * THREADS]
EXPORT read_numbers(int64_t blocks, int64_t n, const float* x, float* y) {
  launch(reads, blocks, THREADS, 0, nullptr, n / 4, reinterpret_cast<const float4*>(x), y);
}
