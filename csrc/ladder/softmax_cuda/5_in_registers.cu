// Rung 5: in registers. A lane keeps the numbers that it has read until it writes their shares.
// Idea:    32 registers in each of 32 lanes hold a row of 1024 numbers: nothing has to be read twice.
// Changed: the first 1024 numbers are kept; of these the largest comes first, then one exp for each. Others as before.
// Removes: the second read of each number, and its second exp: no kernel can move fewer bytes.
#include "nnfast_ladder.cuh"

constexpr int WARPS = 4, KEPT = 32;  // numbers in each lane

struct Pair {
  float m, sum;  // the largest so far, and the sum of exp(x - m)
};
__device__ inline Pair join(Pair a, Pair b) {
  const float m = max(a.m, b.m);
  if (m == -INFINITY) return a;  // nothing yet: -inf - -inf is not a number
  return {m, a.sum * expf(a.m - m) + b.sum * expf(b.m - m)};
}

__global__ void __launch_bounds__(32 * WARPS) in_registers(int64_t rows, int64_t cols, const float* x, float* y) {
  const int lane = threadIdx.x % 32;
  const int64_t i = int64_t{blockIdx.x} * WARPS + threadIdx.x / 32;
  if (i >= rows) return;  // the whole warp
  x += i * cols, y += i * cols;
  float v[KEPT];
  Pair mine{-INFINITY, 0};
#pragma unroll
  for (int k = 0; k < KEPT; ++k) {
    v[k] = 32 * k + lane < cols ? x[32 * k + lane] : -INFINITY;
    mine.m = max(mine.m, v[k]);
  }
  const float own = mine.m;
#pragma unroll
  for (int k = 0; k < KEPT; ++k)
    if (32 * k + lane < cols) mine.sum += v[k] = expf(v[k] - own);
  for (int64_t j = 32 * KEPT + lane; j < cols; j += 32) mine = join(mine, {x[j], 1});
  Pair all = mine;
  for (int step = 16; step > 0; step /= 2)
    all = join(all, {__shfl_xor_sync(~0u, all.m, step), __shfl_xor_sync(~0u, all.sum, step)});
  const float scale = 1 / all.sum, kept = expf(own - all.m) * scale;
#pragma unroll
  for (int k = 0; k < KEPT; ++k)
    if (32 * k + lane < cols) y[32 * k + lane] = v[k] * kept;
  for (int64_t j = 32 * KEPT + lane; j < cols; j += 32) y[j] = expf(x[j] - all.m) * scale;
}

void softmax(int64_t rows, int64_t cols, const float* x, float* y) {
  if (rows == 0 || cols == 0) return;
  launch(in_registers, ceil_div(rows, WARPS), 32 * WARPS, 0, nullptr, rows, cols, x, y);
}
