// Rung 3: online. The largest and the sum in one pass: when a larger number comes, the sum is scaled down to it.
// Idea:    two such pairs join, too: sum * exp(m - M) for both, M the larger m. Milakov, arxiv.org/abs/1805.02867.
// Changed: a pair in each thread, one tree of pairs; the second pass computes the exponentials anew and writes.
// Removes: a third of the reads, half of the writes, and one of two trees; exp is cheaper than memory.
#include "nnfast_ladder.cuh"

constexpr int THREADS = 128;

struct Pair {
  float m, sum;  // the largest so far, and the sum of exp(x - m)
};
__device__ inline Pair join(Pair a, Pair b) {
  const float m = max(a.m, b.m);
  if (m == -INFINITY) return a;  // nothing yet: -inf - -inf is not a number
  return {m, a.sum * expf(a.m - m) + b.sum * expf(b.m - m)};
}

__global__ void __launch_bounds__(THREADS) online(int64_t cols, const float* x, float* y) {
  __shared__ Pair s[THREADS];
  const int t = threadIdx.x;
  x += blockIdx.x * cols, y += blockIdx.x * cols;
  Pair mine{-INFINITY, 0};
  for (int64_t j = t; j < cols; j += THREADS) mine = join(mine, {x[j], 1});
  s[t] = mine;
  for (int step = THREADS / 2; step > 0; step /= 2) {
    __syncthreads();
    if (t < step) s[t] = join(s[t], s[t + step]);
  }
  __syncthreads();
  const float m = s[0].m, scale = 1 / s[0].sum;
  for (int64_t j = t; j < cols; j += THREADS) y[j] = expf(x[j] - m) * scale;
}

void softmax(int64_t rows, int64_t cols, const float* x, float* y) {
  if (rows == 0 || cols == 0) return;
  launch(online, rows, THREADS, 0, nullptr, cols, x, y);
}
