// gemm on Hopper GPUs: the planes of pieces.cuh, multiplied as multiply_sm90.cuh says.
#include "multiply_sm90.cuh"

namespace nnfast {
namespace {

struct MatrixRows {
  int plane;  // rows from piece to piece
  struct From {
    int row, k;
  };
  __device__ From start(const PieceProduct& p, const TilePlace& at) const {
    return {static_cast<int>(at.at[1] * p.rows) + at.i0, 0};
  }
  __device__ void go_to(From& f, int k) const { f.k = k; }
  __device__ void copy(void* to, const TensorMap& map, const From& f, int piece, uint64_t* full) const {
    tma_load(to, map, f.k, piece * plane + f.row, full);
  }
  __device__ int64_t line(const Product<float>& y, int64_t y_at, int64_t row) const { return y_at + row * y.y_row; }
};

void multiply(const void* product) {
  const PieceProduct& p = *static_cast<const PieceProduct*>(product);
  const int64_t rows = p.a_plane / p.depth;
  multiply_by_rows(p, MatrixRows{static_cast<int>(rows)}, tensor_map(p.a, p.pieces * rows, p.depth, p.depth * 2, BM));
}

// This file is linked where the module has code for sm_90a, and says so here.
[[maybe_unused]] const bool can_multiply = (multiply_by_wgmma = multiply, true);

}  // namespace
}  // namespace nnfast
