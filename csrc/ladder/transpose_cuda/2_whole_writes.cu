// Rung 2: whole writes. Neighbouring threads write neighbours, and read far apart.
// Idea:    a sector that was read in part stays in a cache for the next warp; one that is written in part costs twice.
// Changed: threadIdx.x counts rows of x, the columns of y.
// Removes: sectors that are written four bytes at a time. As many are read so: the counts are the same.
#include "nnfast_ladder.cuh"

__global__ void whole_writes(int64_t rows, int64_t cols, const float* x, float* y) {
  const int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  const int64_t j = int64_t{blockIdx.y} * blockDim.y + threadIdx.y;
  if (i < rows && j < cols) y[j * rows + i] = x[i * cols + j];  // a warp reads 32 sectors, and writes 4
}

void transpose(int64_t rows, int64_t cols, const float* x, float* y) {
  if (rows == 0 || cols == 0) return;
  launch(whole_writes, dim3(ceil_div(rows, 32), ceil_div(cols, 8)), dim3(32, 8), 0, nullptr, rows, cols, x, y);
}
