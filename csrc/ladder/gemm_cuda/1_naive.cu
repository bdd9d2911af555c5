// Rung 1: naive. A thread for each element of c.
// Idea:    the loops over i and j become threads, and only the sum over k is left to each.
// Changed: the loop nest of the formula is a kernel and a launch.
// Removes: one element after the other: tens of thousands of sums are under way at once.
#include "nnfast_ladder.cuh"

__global__ void naive(int64_t M, int64_t N, int64_t K, const float* a, const float* b, float* c) {
  const int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  const int64_t j = int64_t{blockIdx.y} * blockDim.y + threadIdx.y;
  if (i >= M || j >= N) return;
  float sum = 0;
  for (int64_t k = 0; k < K; ++k) sum += a[i * K + k] * b[k * N + j];  // a warp reads 32 rows of a: 32 sectors
  c[i * N + j] = sum;
}

void gemm(int64_t M, int64_t N, int64_t K, const float* a, const float* b, float* c) {
  if (M == 0 || N == 0) return;
  const dim3 block(32, 8), grid(ceil_div(M, 32), ceil_div(N, 8));
  launch(naive, grid, block, 0, nullptr, M, N, K, a, b, c);
}
