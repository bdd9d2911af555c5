// Rung 6: swizzled. Rows of the tile are 32 words again; their words change places, in each row in another way.
// Idea:    column j of row i lies at j xor i: the 32 words of a column lie in 32 banks, and so do those of a row.
// Changed: an exclusive or instead of the padding.
// Removes: the words that nobody uses; and rows begin at multiples of 16 bytes, which the next rung needs.
#include "nnfast_ladder.cuh"

constexpr int T = 32, STEP = 8;  // a thread's numbers lie STEP rows apart

__global__ void __launch_bounds__(T* STEP) swizzled(int64_t rows, int64_t cols, const float* x, float* y) {
  __shared__ float tile[T][T];
  const int tx = threadIdx.x, ty = threadIdx.y;
  const int64_t i0 = int64_t{blockIdx.y} * T, j0 = int64_t{blockIdx.x} * T;
#pragma unroll
  for (int k = ty; k < T; k += STEP)
    if (i0 + k < rows && j0 + tx < cols) tile[k][tx ^ k] = x[(i0 + k) * cols + j0 + tx];
  __syncthreads();
#pragma unroll
  for (int k = ty; k < T; k += STEP)
    if (j0 + k < cols && i0 + tx < rows) y[(j0 + k) * rows + i0 + tx] = tile[tx][k ^ tx];  // a column of the tile
}

void transpose(int64_t rows, int64_t cols, const float* x, float* y) {
  if (rows == 0 || cols == 0) return;
  launch(swizzled, dim3(ceil_div(cols, T), ceil_div(rows, T)), dim3(T, STEP), 0, nullptr, rows, cols, x, y);
}
