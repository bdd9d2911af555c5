// The kernel that packs float32 matrices, or images, as planes of bfloat16 pieces (pieces.cuh).
#pragma once
#include "split.cuh"
#include "walk.cuh"

namespace nnfast {
namespace {

constexpr int64_t PIECE_ROWS = 128, PIECE_DEPTH = 64;  // what rows and k are padded to
constexpr int64_t padded(int64_t n, int64_t to) { return ceil_div(n, to) * to; }

struct PieceSource {  // matrices, and where their pieces go
  const float* from;
  int64_t rows, depth, across, along;  // across: the distance of rows, along: from k to k
  Walk<1> batch;                       // from matrix to matrix
  uint16_t* to;
  int64_t to_rows, to_depth;               // with padding; to_depth is a multiple of 8
  int64_t to_across, to_matrix, to_piece;  // distances of rows, matrices, planes; multiples of 8

  __host__ __device__ int64_t tiles() const { return batch.size * ceil_div(to_rows, 64) * ceil_div(to_depth, 64); }
};
struct Packing {
  PieceSource a, b;
  int pieces;
  unsigned* unfit;
};

// A block takes 64 rows by 64 k of a or of b, read along whichever lies in order and written along k, 16 bytes a
// thread.
__global__ void __launch_bounds__(256) pack_kernel(const __grid_constant__ Packing p) {
#ifdef TENSOR_CORES
  __shared__ float tile[64][65];
  const bool second = blockIdx.x >= p.a.tiles();
  const PieceSource& s = second ? p.b : p.a;
  const unsigned k_tiles = static_cast<unsigned>(ceil_div(s.to_depth, 64));
  const unsigned row_tiles = static_cast<unsigned>(ceil_div(s.to_rows, 64));
  const unsigned block = second ? blockIdx.x - static_cast<unsigned>(p.a.tiles()) : blockIdx.x, line = block / k_tiles;
  const int64_t z = line / row_tiles, r0 = line % row_tiles * 64, k0 = block % k_tiles * 64;
  int64_t at[1];
  s.batch.at(z, at);

  // A thread reads every fourth number of a line across what lies in order.
  const bool k_first = s.along == 1;
  const int t = threadIdx.x, inner = t % 64, outer = t / 64;
  const int64_t inner_step = k_first ? s.along : s.across, outer_step = k_first ? s.across : s.along;
  const bool there = inner < (k_first ? s.depth - k0 : s.rows - r0);
  const int64_t left = (k_first ? s.rows - r0 : s.depth - k0) - outer;
  const float* from = s.from + at[0] + r0 * s.across + k0 * s.along + inner * inner_step + outer * outer_step;
  float* to_tile = k_first ? &tile[outer][inner] : &tile[inner][outer];
  const int tile_step = k_first ? 4 * 65 : 4;

  float x[16];
#pragma unroll
  for (int i = 0; i < 16; ++i) x[i] = there && 4 * i < left ? from[4 * i * outer_step] : 0.0f;
  bool fits = true;
#pragma unroll
  for (int i = 0; i < 16; ++i) {
    fits = fits && fits_pieces(x[i], p.pieces);
    to_tile[i * tile_step] = x[i];
  }
  if (!fits) atomicExch(p.unfit, 1u);
  __syncthreads();

#pragma unroll 1
  for (int half = 0; half < 64; half += 32) {
    const int r = t / 4, k = half + t % 4 * 8;
    if (r0 + r >= s.to_rows || k0 + k >= s.to_depth) continue;
    float v[8];
#pragma unroll
    for (int j = 0; j < 8; ++j) v[j] = tile[r][k + j];
    uint16_t* to = s.to + z * s.to_matrix + (r0 + r) * s.to_across + k0 + k;
#pragma unroll 1
    for (int piece = 0; piece < p.pieces; ++piece, to += s.to_piece) {
      Several<unsigned, 4> words;
#pragma unroll
      for (int j = 0; j < 4; ++j) words.v[j] = take_pieces(v[2 * j], v[2 * j + 1]);
      store<4>(reinterpret_cast<unsigned*>(to), words);
    }
  }
#endif
}

}  // namespace
}  // namespace nnfast
