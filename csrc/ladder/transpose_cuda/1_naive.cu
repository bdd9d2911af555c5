// Rung 1: naive. A thread moves one number; neighbouring threads read neighbours.
// Idea:    the definition.
// Changed: nothing yet: the loops over rows and columns are threads.
// Removes: every doubt about what the rungs above compute.
#include "nnfast_ladder.cuh"

__global__ void naive(int64_t rows, int64_t cols, const float* x, float* y) {
  const int64_t i = int64_t{blockIdx.y} * blockDim.y + threadIdx.y;
  const int64_t j = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i < rows && j < cols) y[j * rows + i] = x[i * cols + j];  // a warp reads 4 sectors, and writes to 32
}

void transpose(int64_t rows, int64_t cols, const float* x, float* y) {
  if (rows == 0 || cols == 0) return;
  launch(naive, dim3(ceil_div(cols, 32), ceil_div(rows, 8)), dim3(32, 8), 0, nullptr, rows, cols, x, y);
}
