// A float32 number as a sum of bfloat16 pieces, and what all kernels that multiply pieces share.
#pragma once
#include "common.cuh"
#include "tensor_cores.h"

#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 800
#define TENSOR_CORES 1  // else kernels that need them are empty, so that they cost no room
#endif

namespace nnfast {
namespace {

// A number of 2^63 and more, Inf or NaN could become Inf or NaN in a sum of products where float32 has a number. Where
// the last piece would be subnormal, what is lost must stay below its error: 2^-17 of a number in two pieces, 2^-25 in
// three. One piece has no such limit.
__device__ inline bool fits_pieces(float x, int pieces) {
  const unsigned size = __float_as_uint(x) & 0x7fffffffu;
  const unsigned least = pieces == 1 ? 0u : (pieces == 2 ? 127u - 109u : 127u - 101u) << 23;
  return size < (127u + 63u) << 23 && (size == 0 || size >= least);
}
// The bits of the nearest bfloat16, to even, in their upper half; x becomes what is left.
__device__ inline unsigned take_piece(float& x) {
  const unsigned bits = __float_as_uint(x), piece = (bits + 0x7fffu + (bits >> 16 & 1u)) & 0xffff0000u;
  x -= __uint_as_float(piece);
  return piece;
}
__device__ inline unsigned take_pieces(float& even, float& odd) {  // of two neighbours, as a word
  const unsigned low = take_piece(even) >> 16;
  return low | take_piece(odd);
}

__global__ void clear_word(unsigned* word) { *word = 0; }

// Sums leave a kernel through shared memory, float[rows][WIDTH], so that neighbouring threads write neighbours of y
// whichever dimension lies in order. Columns are exchanged within a row: then lanes that write fragments of mma (lane
// 4 g + t: row g, column 2 t), a row, or a column meet different banks, without padding.
template <int WIDTH>
__device__ inline int staged(int row, int column) {
  return row * WIDTH + (column ^ ((row & 3) << 3 | (row >> 2 & 7)));
}

}  // namespace
}  // namespace nnfast
