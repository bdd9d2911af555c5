// Matrices as sums of bfloat16 pieces, for tensor cores: x = x0 + x1 + x2, each piece the nearest bfloat16 to what is
// left. A product takes those products of pieces a_i b_j for which i + j < pieces: one of one piece (`medium`), three
// of two (`high`: what is left out is 2^-16 of the product), six of three (as good as float32).
//
// First pack_kernel writes the pieces of both operands as planes, padded so that who multiplies them asks for no
// bounds:
//   [piece][matrix][rows, a multiple of 128][k, a multiple of 64], k in order; beyond the ends zeros.
// The rows of a are those of y, the rows of b are the columns of y, so both lie alike. If a number does not fit, it
// sets the word `unfit`. Then a multiply kernel runs on the planes and leaves at once if the word is set; the kernel of
// CUDA cores is launched too, and leaves at once if it is not. The host reads nothing and waits for nothing.
#pragma once
#include "piece_product.cuh"

namespace nnfast {

namespace {

constexpr int64_t PIECE_ROWS = 128, PIECE_DEPTH = 64;  // what rows and k are padded to
constexpr int64_t padded(int64_t n, int64_t to) { return ceil_div(n, to) * to; }

// ---- packing ----
struct PieceSource {  // an operand, and where its pieces go
  const float* from;
  int64_t rows, depth, across, along;  // across: the distance of its rows, along: from k to k
  Walk<1> batch;                       // its own matrices
  uint16_t* to;

  __host__ __device__ int64_t tiles() const { return batch.size * (padded_rows() / 64) * (padded_depth() / 64); }
  __host__ __device__ int64_t padded_rows() const { return ceil_div(rows, PIECE_ROWS) * PIECE_ROWS; }
  __host__ __device__ int64_t padded_depth() const { return ceil_div(depth, PIECE_DEPTH) * PIECE_DEPTH; }
  __host__ __device__ int64_t plane() const { return batch.size * padded_rows() * padded_depth(); }  // elements
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
  const int64_t depth = s.padded_depth();
  const unsigned k_tiles = static_cast<unsigned>(depth / 64), row_tiles = static_cast<unsigned>(s.padded_rows() / 64);
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
    float v[8];
#pragma unroll
    for (int j = 0; j < 8; ++j) v[j] = tile[r][k + j];
    uint16_t* to = s.to + (z * s.padded_rows() + r0 + r) * depth + k0 + k;
#pragma unroll 1
    for (int piece = 0; piece < p.pieces; ++piece, to += s.plane()) {
      Several<unsigned, 4> words;
#pragma unroll
      for (int j = 0; j < 4; ++j) words.v[j] = take_pieces(v[2 * j], v[2 * j + 1]);
      store<4>(reinterpret_cast<unsigned*>(to), words);
    }
  }
#endif
}

// ---- the host's side: where all of it lies in scratch ----
// The matrices of an operand, each once: [matrices] as a view in which repeated ones are one.
View own_batch(const View& v) {
  View b = batch_of(v);
  for (int d = 0; d < b.ndim; ++d)
    if (b.stride[d] == 0) b.shape[d] = 1;
  return b;
}

struct PieceRoom {
  int pieces;        // 0: nothing lies there
  size_t a, b, end;  // bytes from the start of scratch; first comes the word `unfit`
  int64_t a_plane, b_plane;

  PieceRoom(const View& a_, const View& b_, int pieces_) : pieces(pieces_), a(0), b(0), end(0), a_plane(0), b_plane(0) {
    if (pieces == 0) return;
    const int64_t depth = padded(a_.shape[a_.ndim - 1], PIECE_DEPTH);
    a_plane = own_batch(a_).size() * padded(a_.shape[a_.ndim - 2], PIECE_ROWS) * depth;
    b_plane = own_batch(b_).size() * padded(b_.shape[b_.ndim - 1], PIECE_ROWS) * depth;
    a = 256;
    b = a + static_cast<size_t>(pieces * a_plane) * 2;
    end = b + static_cast<size_t>(pieces * b_plane) * 2;  // all multiples of 256
  }
};

// Packs a[...,M,K] and b[...,K,N] into scratch, which begins at a multiple of 16 bytes.
PieceProduct pack_pieces(const View& a, const View& b, const Product<float>& y, const View& y_view,
                         const PieceRoom& room, char* scratch) {
  Packing p{};
  p.pieces = room.pieces;
  p.unfit = reinterpret_cast<unsigned*>(scratch);
  p.a = {a.as<float>(),
         y.M,
         y.K,
         y.a_row,
         y.a_col,
         walk_over(own_batch(a)),
         reinterpret_cast<uint16_t*>(scratch + room.a)};
  p.b = {b.as<float>(),
         y.N,
         y.K,
         y.b_col,
         y.b_row,
         walk_over(own_batch(b)),
         reinterpret_cast<uint16_t*>(scratch + room.b)};
  launch(clear_word, 1, 1, 0, stream(), p.unfit);
  launch(pack_kernel, static_cast<unsigned>(p.a.tiles() + p.b.tiles()), 256, 0, stream(), p);

  PieceProduct m{};
  m.y = y;
  m.y.unfit = p.unfit, m.y.if_unfit = false;
  m.y.batch = walk_over(batch_of(y_view), own_batch(a).dense(nullptr), own_batch(b).dense(nullptr));
  m.a = p.a.to, m.b = p.b.to, m.a_plane = room.a_plane, m.b_plane = room.b_plane;
  m.rows = p.a.padded_rows(), m.columns = p.b.padded_rows(), m.depth = p.a.padded_depth();
  m.pieces = room.pieces;
  return m;
}

}  // namespace
}  // namespace nnfast
