// Rung 3: packed threads. The pairs are the same; the first threads of the block take them.
// Idea:    a warp runs as long as one of its 32 threads has work: 16 pairs in one warp cost half of 16 pairs in two.
// Changed: the index of the number that a thread adds to, instead of a test of the thread.
// Removes: warps in which few threads work. In their place come bank conflicts: pairs lie 2, 4, 8 words apart.
#include "nnfast_ladder.cuh"

constexpr int THREADS = 256, BLOCKS = 1024;
__device__ float partial[BLOCKS];

// The sum of a block's tiles, in its thread 0. Which they are depends on n alone, so the bits are always the same.
__device__ float sum_of(int64_t n, const float* x) {
  __shared__ float s[THREADS];
  const int t = threadIdx.x;
  float total = 0;
  for (int64_t i0 = int64_t{blockIdx.x} * THREADS; i0 < n; i0 += int64_t{gridDim.x} * THREADS) {
    s[t] = i0 + t < n ? x[i0 + t] : 0;
    for (int step = 1; step < THREADS; step *= 2) {
      __syncthreads();
      const int i = 2 * step * t;  // with a step of 16 each of a warp's words lies in bank 0
      if (i < THREADS) s[i] += s[i + step];
    }
    if (t == 0) total += s[0];
    __syncthreads();  // before the next tile takes its place
  }
  return total;
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
