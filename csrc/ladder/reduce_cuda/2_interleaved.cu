// Rung 2: interleaved. Blocks of 256 threads add up tiles as a tree: neighbours first, then pairs two apart, then four.
// Idea:    the two numbers of a pair do not wait for other pairs; half as many sums are left after each round.
// Changed: a tile of 256 numbers in shared memory, a barrier in each round; a second kernel adds the blocks' sums.
// Removes: one addition after the other, on a processor that could do thousands at once.
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
      if (t % (2 * step) == 0) s[t] += s[t + step];  // every second thread works, then every fourth: in the same warps
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
