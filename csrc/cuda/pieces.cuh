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
#include "packing.cuh"
#include "piece_product.cuh"

namespace nnfast {

namespace {

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
  const auto source = [&](const View& v, int64_t rows, int64_t across, int64_t along, size_t at, int64_t plane) {
    const int64_t to_rows = padded(rows, PIECE_ROWS), depth = padded(y.K, PIECE_DEPTH);
    return PieceSource{v.as<float>(),
                       rows,
                       y.K,
                       across,
                       along,
                       walk_over(own_batch(v)),
                       reinterpret_cast<uint16_t*>(scratch + at),
                       to_rows,
                       depth,
                       depth,
                       to_rows * depth,
                       plane};
  };
  p.a = source(a, y.M, y.a_row, y.a_col, room.a, room.a_plane);
  p.b = source(b, y.N, y.b_col, y.b_row, room.b, room.b_plane);
  launch(clear_word, 1, 1, 0, stream(), p.unfit);
  launch(pack_kernel, static_cast<unsigned>(p.a.tiles() + p.b.tiles()), 256, 0, stream(), p);

  PieceProduct m{};
  m.y = y;
  m.y.unfit = p.unfit, m.y.if_unfit = false;
  m.y.batch = walk_over(batch_of(y_view), own_batch(a).dense(nullptr), own_batch(b).dense(nullptr));
  m.a = p.a.to, m.b = p.b.to, m.a_plane = room.a_plane, m.b_plane = room.b_plane;
  m.rows = p.a.to_rows, m.columns = p.b.to_rows, m.depth = p.a.to_depth;
  m.pieces = room.pieces;
  return m;
}

}  // namespace
}  // namespace nnfast
