// Rung 4: warp a row. 32 threads share a row, and join their pairs by shuffles.
// Idea:    the lanes of a warp run together: they need no shared memory and no barrier to know of each other.
// Changed: four rows a block, one for each warp; five shuffles instead of a tree in shared memory.
// Removes: shared memory and barriers, at which a whole block waits for its slowest warp.
#include "nnfast_ladder.cuh"

constexpr int WARPS = 4;

struct Pair {
  float m, sum;  // the largest so far, and the sum of exp(x - m)
};
__device__ inline Pair join(Pair a, Pair b) {
  const float m = max(a.m, b.m);
  if (m == -INFINITY) return a;  // nothing yet: -inf - -inf is not a number
  return {m, a.sum * expf(a.m - m) + b.sum * expf(b.m - m)};
}

__global__ void __launch_bounds__(32 * WARPS) warp_a_row(int64_t rows, int64_t cols, const float* x, float* y) {
  const int lane = threadIdx.x % 32;
  const int64_t i = int64_t{blockIdx.x} * WARPS + threadIdx.x / 32;
  if (i >= rows) return;  // the whole warp
  x += i * cols, y += i * cols;
  Pair all{-INFINITY, 0};
  for (int64_t j = lane; j < cols; j += 32) all = join(all, {x[j], 1});
  for (int step = 16; step > 0; step /= 2)
    all = join(all, {__shfl_xor_sync(~0u, all.m, step), __shfl_xor_sync(~0u, all.sum, step)});
  const float scale = 1 / all.sum;
  for (int64_t j = lane; j < cols; j += 32) y[j] = expf(x[j] - all.m) * scale;
}

void softmax(int64_t rows, int64_t cols, const float* x, float* y) {
  if (rows == 0 || cols == 0) return;
  launch(warp_a_row, ceil_div(rows, WARPS), 32 * WARPS, 0, nullptr, rows, cols, x, y);
}
