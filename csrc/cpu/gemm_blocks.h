// What gemm and conv2d (as a product of patches and filters) share: panels, and the two loops around the micro-kernel.
#pragma once
#include <algorithm>
#include <cstdint>

#include "../view.h"
#include "kernels.h"

namespace nnfast {

constexpr int64_t ceil_div(int64_t n, int64_t unit) { return (n + unit - 1) / unit; }
constexpr int64_t round_up(int64_t n, int64_t unit) { return ceil_div(n, unit) * unit; }

// How gemm can go about a product: A's panels packed or read where they lie, columns of panels on their own, or few
// rows against all of B. The shape model chooses, unless a benchmark forces a path (where it is possible). `pieces`,
// for tests: whatever the shape, bfloat16 pieces if the precision asks for them.
enum class GemmPath : int { automatic, packed, direct, columns, few_rows, pieces };
void force_gemm_path(GemmPath path);
GemmPath forced_gemm_path();
GemmPath gemm_path(const View& a, const View& b, const View& y, void* scratch);  // what it takes

// One operand of a product as the micro-kernel wants it, mr rows of A or nr columns of B at a time. Panel p begins at
// first + p * step; its elements are `across` apart within a k and `along` apart from k to k. The last, incomplete
// panel lies packed at `last`, unless that is nullptr.
template <class T>
struct Panels {
  const T* first;
  int64_t step, across, along;
  const T* last = nullptr;
};
template <class T>
Panels<T> packed_panels(const T* data, int64_t width, int64_t k) {
  return {data, width * k, 1, width};
}

// A rectangle of tiles, [i, i_end) x [j, j_end).
struct TileBlock {
  int64_t i, i_end, j, j_end;
};

// C = finish(A * B) on the tiles of a block; C[rows,cols] has unit column stride. Two loops around the micro-kernel:
// B's panel stays in L1 while the panels of A, which stay in L2, pass by it.
template <class T>
void multiply_block(const GemmKernels<T>& kernel, int64_t k, const Panels<T>& a, const Panels<T>& b, T* c,
                    int64_t c_row, int64_t rows, int64_t cols, const TileBlock& block, const GemmFinish<T>& finish) {
  const int64_t MR = kernel.mr, NR = kernel.nr;
  for (int64_t j = block.j; j < block.j_end; ++j) {
    const int64_t width = std::min(NR, cols - j * NR);
    const bool b_last = width < NR && b.last;
    GemmFinish<T> f = finish;
    if (f.bias) f.bias += j * NR;
    for (int64_t i = block.i; i < block.i_end; ++i) {
      const int64_t height = std::min(MR, rows - i * MR);
      kernel.micro(k, a.first + i * a.step, a.across, a.along, b_last ? b.last : b.first + j * b.step,
                   b_last ? NR : b.along, c + i * MR * c_row + j * NR, c_row, static_cast<int>(height),
                   static_cast<int>(width), f);
    }
  }
}

// How many tiles one chunk of work covers: as many as keep the caches busy, but at least 16 chunks if the work is worth
// it. Depends on the problem alone, so results do not depend on the number of threads.
struct ChunkShape {
  int64_t i, j;
};
ChunkShape chunk_shape(int64_t mr, int64_t nr, int64_t row_tiles, int64_t col_tiles, int64_t k);

}  // namespace nnfast
