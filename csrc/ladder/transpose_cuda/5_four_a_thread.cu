// Rung 5: four a thread. A block of 256 threads moves the same tile, four rows apart in each thread.
// Idea:    four loads that do not wait for each other are on their way at once; and what is computed once serves four.
// Changed: 32 x 8 threads, and a loop of four around each side of the barrier.
// Removes: three of four threads, with their indices and barriers, and the wait for each single load.
#include "nnfast_ladder.cuh"

constexpr int T = 32, STEP = 8;  // a thread's numbers lie STEP rows apart

__global__ void __launch_bounds__(T* STEP) four_a_thread(int64_t rows, int64_t cols, const float* x, float* y) {
  __shared__ float tile[T][T + 1];
  const int tx = threadIdx.x, ty = threadIdx.y;
  const int64_t i0 = int64_t{blockIdx.y} * T, j0 = int64_t{blockIdx.x} * T;
#pragma unroll
  for (int k = ty; k < T; k += STEP)
    if (i0 + k < rows && j0 + tx < cols) tile[k][tx] = x[(i0 + k) * cols + j0 + tx];
  __syncthreads();
#pragma unroll
  for (int k = ty; k < T; k += STEP)
    if (j0 + k < cols && i0 + tx < rows) y[(j0 + k) * rows + i0 + tx] = tile[tx][k];  // a column of the tile
}

void transpose(int64_t rows, int64_t cols, const float* x, float* y) {
  if (rows == 0 || cols == 0) return;
  launch(four_a_thread, dim3(ceil_div(cols, T), ceil_div(rows, T)), dim3(T, STEP), 0, nullptr, rows, cols, x, y);
}
