// conv2d on Hopper GPUs: when, and what conv2d.cu gives conv2d_sm90.cu. The images are packed once, as planes of
// bfloat16 pieces (pieces.cuh)
//   [piece][n, H, W][C, a multiple of 8],
// the filters as [piece][O, a multiple of 128][tap][C, a multiple of 64]. Pixels of the result are rows of a product;
// its k are taps, and 64 channels of each at a time, which TMA gathers from the images by itself ("im2col mode").
#pragma once
#include "convolution.cuh"
#include "tensor_cores.h"

namespace nnfast {
namespace {

// One axis, as TMA goes along it: taps lie `reach` behind each other, the first where the filter's corner is. Filters
// of input gradients, which go backwards, are turned round.
struct PlaneAxis {
  int64_t from, upper, step, reach;  // corners: from, from + step, ... below the size + upper
  bool turned;

  PlaneAxis(const Convolution<float>& p, int d) : from(p.from[d]), step(p.step[d]), reach(p.reach[d]) {
    turned = reach < 0;
    if (turned) from += (taps(p, d) - 1) * reach, reach = -reach;
    upper = from + ((d == 0 ? p.I : p.J) - 1) * step + 1 - (d == 0 ? p.H : p.W);
  }
  static int64_t taps(const Convolution<float>& p, int d) { return d == 0 ? p.A : p.B; }
  bool fits(int64_t taps) const {  // the fields of TMA
    return from >= -128 && from <= 127 && upper >= -128 && upper <= 127 && step <= 8 && (taps - 1) * reach <= 255;
  }
};

struct PlaneChoice {
  int pieces = 0;                                                      // 0: not by this kernel
  int64_t channels = 0, depth = 0, image_plane = 0, filter_plane = 0;  // padded; elements
  int64_t splits = 0, per_split = 0;

  PlaneChoice() = default;
  // Where pieces pay (PieceChoice). Few channels would be mostly padding, and packing is to be worth 64 products of
  // each number, as for gemm: guesses, not measured.
  PlaneChoice(const Convolution<float>& p, int pieces_, Precision precision) {
    if (pieces_ == 0 || p.filter || p.groups > 1 || !convolve_by_wgmma || !wgmma_is_used()) return;
    const bool pays = p.C >= 32 && p.O >= 64 && p.A * p.B * p.O >= 64 * p.step[0] * p.step[1];
    if (pieces_for(precision, pays) == 0) return;
    for (int d = 0; d < 2; ++d)
      if (!PlaneAxis(p, d).fits(PlaneAxis::taps(p, d))) return;
    channels = ceil_div(p.C, 8) * 8;
    depth = p.A * p.B * ceil_div(p.C, 64) * 64;
    const int64_t columns = ceil_div(p.O, 128) * 128, sizes[] = {p.pixels(), depth, pieces_ * p.n, pieces_ * columns};
    for (const int64_t size : sizes)
      if (size >= SMALL) return;
    pieces = pieces_;
    image_plane = p.n * p.H * p.W * channels, filter_plane = columns * depth;
    const int64_t wanted = 132 / (ceil_div(p.pixels(), 128) * (columns / 128));
    splits = wanted < depth / 256 ? wanted : depth / 256;
    if (splits < 1) splits = 1;
    per_split = ceil_div(ceil_div(depth, splits), 64) * 64;
    splits = ceil_div(depth, per_split);
  }
  size_t image_bytes() const { return static_cast<size_t>(ceil_div(pieces * image_plane * 2, 256) * 256); }
  size_t bytes() const { return image_bytes() + static_cast<size_t>(pieces * filter_plane * 2); }
};

struct PlaneConvolution {
  Convolution<float> c;  // has its splits and its parts
  PlaneChoice how;
  unsigned* unfit;
  char* planes;  // how.bytes(), at a multiple of 16
};

}  // namespace
}  // namespace nnfast
