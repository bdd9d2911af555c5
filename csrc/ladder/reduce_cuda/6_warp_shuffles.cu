// Rung 6: warp shuffles. The lanes of a warp hand each other their sums from register to register.
// Idea:    32 lanes run together: __shfl_xor_sync adds what the partner has, without memory and without barriers.
// Changed: five shuffles in each warp, a word of shared memory for each, five shuffles for these; one barrier in all.
// Removes: most of the tree's shared memory, and seven of its eight barriers.
#include "nnfast_ladder.cuh"

constexpr int THREADS = 256, BLOCKS = 1024;
__device__ float partial[BLOCKS];

// Of a warp: the sum of all lanes, in each of them.
__device__ float sum_of_warp(float x) {
  for (int step = 16; step > 0; step /= 2) x += __shfl_xor_sync(~0u, x, step);
  return x;
}

// The sum of a block's tiles, in its first warp. Which they are depends on n alone, so the bits are always the same.
__device__ float sum_of(int64_t n, const float* x) {
  __shared__ float s[THREADS / 32];
  const int t = threadIdx.x, lane = t % 32, warp = t / 32;
  float total = 0;
  for (int64_t i = int64_t{blockIdx.x} * THREADS + t; i < n; i += int64_t{gridDim.x} * THREADS) total += x[i];
  total = sum_of_warp(total);
  if (lane == 0) s[warp] = total;
  __syncthreads();
  return warp == 0 ? sum_of_warp(lane < THREADS / 32 ? s[lane] : 0) : 0;
}

__global__ void of_blocks(int64_t n, const float* x) {
  const float total = sum_of(n, x);
  if (threadIdx.x == 0) partial[blockIdx.x] = total;
}
__global__ void of_partial_sums(int64_t n, float* sum) {
  const float total = sum_of(n, partial);
  if (threadIdx.x == 0) sum[0] = total;
}

void reduce(int64_t n, const float* x, float* sum) {
  const int64_t tiles = ceil_div(n, THREADS), blocks = tiles < 1 ? 1 : tiles < BLOCKS ? tiles : BLOCKS;
  launch(of_blocks, blocks, THREADS, 0, nullptr, n, x);
  launch(of_partial_sums, 1, THREADS, 0, nullptr, blocks, sum);
}
