// What a kernel that multiplies planes of pieces (pieces.cuh) is given, and how its sums leave.
#pragma once
#include "product.cuh"
#include "split.cuh"

namespace nnfast {
namespace {

// A block makes a tile of y: blockIdx.x counts row tiles first, blockIdx.y is the split of k, blockIdx.z strides over
// the batch. k_per_split is a multiple of 64.
struct PieceProduct {
  Product<float> y;              // its a and b are not used; its batch walks over y in elements, a and b in matrices
  const uint16_t *a, *b;         // planes
  int64_t a_plane, b_plane;      // elements from piece to piece
  int64_t rows, columns, depth;  // padded
  int pieces;
};

// Sums as `staged` lays them in shared memory, to where they belong. line(row): where a row begins in y.
template <int ROWS, int WIDTH, int THREADS, class Line>
__device__ inline void put_staged(const Product<float>& y, const float* room, int64_t split, int64_t z,
                                  const Line& line, int64_t i0, int64_t j0, int thread) {
  const bool down = y.splits == 1 && y.y_col != 1 && y.y_row == 1;
#pragma unroll 1
  for (int n = thread; n < ROWS * WIDTH; n += THREADS) {
    const int i = down ? n % ROWS : n / WIDTH, j = down ? n / ROWS : n % WIDTH;
    y.put_in(line(i0 + i), room[staged<WIDTH>(i, j)], split, z, i0 + i, j0 + j);
  }
}

}  // namespace
}  // namespace nnfast
