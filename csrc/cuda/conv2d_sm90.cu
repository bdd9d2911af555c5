// conv2d and its input gradient on Hopper GPUs: the planes of conv_planes.cuh, multiplied as multiply_sm90.cuh says.
#include "conv_planes.cuh"
#include "multiply_sm90.cuh"
#include "packing.cuh"

namespace nnfast {
namespace {

struct PixelRows {
  int images, parts, taps;  // images of a plane; times 64 channels of a tap; taps in a row of the filter
  int from[2], step[2], reach[2];
  Divider by_I, by_J;
  int64_t yn, yi, yj;

  struct From {  // the filter's corner at the first pixel; the tap, and its channels
    int n, h, w, down, right, channel;
  };
  __device__ From start(const PieceProduct&, const TilePlace& at) const {
    const int64_t line = by_J.of(at.i0), n = by_I.of(line);
    const int i = static_cast<int>(line - n * by_I.by), j = static_cast<int>(at.i0 - line * by_J.by);
    return {static_cast<int>(n), i * step[0] + from[0], j * step[1] + from[1], 0, 0, 0};
  }
  __device__ void go_to(From& f, int k) const {
    const unsigned part = static_cast<unsigned>(k) / DEPTH, tap = part / parts, a = tap / taps;
    f.channel = static_cast<int>(part - tap * parts) * DEPTH;
    f.down = static_cast<int>(a) * reach[0], f.right = static_cast<int>(tap - a * taps) * reach[1];
  }
  __device__ void copy(void* to, const TensorMap& map, const From& f, int piece, uint64_t* full) const {
    tma_load_pixels(to, map, f.channel, f.w, f.h, piece * images + f.n, f.right, f.down, full);
  }
  __device__ int64_t line(const Product<float>&, int64_t, int64_t row) const {
    const int64_t line = by_J.of(row), n = by_I.of(line);
    return n * yn + (line - n * by_I.by) * yi + (row - line * by_J.by) * yj;
  }
};

View places(int64_t rows, int64_t columns, int64_t row_step, int64_t column_step) {
  View v;
  v.ndim = 2;
  v.shape[0] = rows, v.shape[1] = columns, v.stride[0] = row_step, v.stride[1] = column_step;
  return v;
}

// Lines of pixels that follow each other evenly are packed as one.
PieceSource image_source(const Convolution<float>& p, const PlaneChoice& how, uint16_t* to) {
  const bool lines_join = p.H == 1 || p.xh == p.W * p.xw, images_join = p.n == 1 || p.xn == p.H * p.W * p.xw;
  const int64_t rows = !lines_join ? p.W : images_join ? p.n * p.H * p.W : p.H * p.W;
  PieceSource s{};
  s.from = p.x, s.rows = s.to_rows = rows, s.depth = p.C, s.across = p.xw, s.along = p.xc;
  s.batch = walk_over(places(lines_join && images_join ? 1 : p.n, lines_join ? 1 : p.H, p.xn, p.xh));
  s.to = to, s.to_depth = s.to_across = how.channels, s.to_matrix = rows * how.channels, s.to_piece = how.image_plane;
  return s;
}

PieceSource filter_source(const Convolution<float>& p, const PlaneChoice& how, bool down, bool right, uint16_t* to) {
  PieceSource s{};
  s.from = p.other + (down ? (p.A - 1) * p.wa : 0) + (right ? (p.B - 1) * p.wb : 0);
  s.rows = p.O, s.depth = p.C, s.across = p.wo, s.along = p.wc;
  s.batch = walk_over(places(p.A, p.B, down ? -p.wa : p.wa, right ? -p.wb : p.wb));
  s.to = to, s.to_rows = how.filter_plane / how.depth, s.to_depth = s.to_matrix = padded(p.C, PIECE_DEPTH);
  s.to_across = how.depth, s.to_piece = how.filter_plane;
  return s;
}

void convolve(const void* convolution) {
  const auto& [p, how, unfit, planes] = *static_cast<const PlaneConvolution*>(convolution);
  const PlaneAxis axes[] = {{p, 0}, {p, 1}};
  auto* const images = reinterpret_cast<uint16_t*>(planes);
  auto* const filters = reinterpret_cast<uint16_t*>(planes + how.image_bytes());
  const Packing packing{image_source(p, how, images), filter_source(p, how, axes[0].turned, axes[1].turned, filters),
                        how.pieces, unfit};
  launch(clear_word, 1, 1, 0, stream(), unfit);
  launch(pack_kernel, static_cast<unsigned>(packing.a.tiles() + packing.b.tiles()), 256, 0, stream(), packing);

  PieceProduct m{};
  m.y.y = p.out, m.y.M = p.pixels(), m.y.N = p.O, m.y.K = how.depth, m.y.y_row = p.yj, m.y.y_col = p.yo;
  m.y.batch = walk_over(View{.ndim = 0}, View{.ndim = 0}, View{.ndim = 0});
  m.y.splits = how.splits, m.y.k_per_split = how.per_split, m.y.parts = p.parts;
  m.y.finish = p.finish, m.y.unfit = unfit, m.y.if_unfit = false;
  m.b = filters, m.b_plane = how.filter_plane;
  m.columns = how.filter_plane / how.depth, m.depth = how.depth, m.pieces = how.pieces;

  const auto small = [](int64_t n) { return static_cast<int>(n); };
  PixelRows rows{};
  rows.images = small(p.n), rows.parts = small(how.depth / (p.A * p.B) / DEPTH), rows.taps = small(p.B);
  rows.by_I = p.I, rows.by_J = p.J, rows.yn = p.yn, rows.yi = p.yi, rows.yj = p.yj;
  PixelBox box{how.pieces * p.n, {p.H, p.W}, how.channels, {}, {}, {}, BM};
  for (int d = 0; d < 2; ++d) {
    const PlaneAxis& axis = axes[d];
    rows.from[d] = box.lower[d] = small(axis.from), box.upper[d] = small(axis.upper);
    rows.step[d] = box.step[d] = small(axis.step), rows.reach[d] = small(axis.reach);
  }
  multiply_by_rows(m, rows, image_map(images, box));
}

// This file is linked where the module has code for sm_90a, and says so here.
[[maybe_unused]] const bool can_convolve = (convolve_by_wgmma = convolve, true);

}  // namespace
}  // namespace nnfast
