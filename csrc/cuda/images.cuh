// What pooling and enlarging share: images as [N,H,W,C] in either format, and the order in which threads take pixels.
#pragma once
#include "common.cuh"

namespace nnfast {
namespace {

struct Images {
  int64_t n;
  Divider h, w, c, fours;  // sizes; fours: c / 4
  int64_t sn, sh, sw, sc;  // strides
  bool channels_first;

  Images(const View& v, bool first) : channels_first(first) {
    const int at[] = {0, first ? 2 : 1, first ? 3 : 2, first ? 1 : 3};
    n = v.shape[at[0]], h = v.shape[at[1]], w = v.shape[at[2]], c = v.shape[at[3]], fours = c / 4;
    sn = v.stride[at[0]], sh = v.stride[at[1]], sw = v.stride[at[2]], sc = v.stride[at[3]];
  }
  int64_t size() const { return n * h * w * c; }
  // Can `width` channels be loaded at once?
  bool in_packs(const void* data, int width) const {
    return aligned(data) && sc == 1 && c % width == 0 && sn % width == 0 && sh % width == 0 && sw % width == 0;
  }
  __device__ int64_t at(int64_t in, int64_t ih, int64_t iw, int64_t ic) const {
    return in * sn + ih * sh + iw * sw + ic * sc;
  }
};

// Element i of images in the order in which they lie in memory, WIDTH channels taken as one.
struct Pixel {
  int64_t n, h, w, c;
};
template <int WIDTH>
__device__ inline Pixel pixel_of(const Images& v, int64_t i) {
  const auto part = [&](const Divider& size) {
    const int64_t whole = size.of(i), rest = i - whole * size;
    i = whole;
    return rest;
  };
  Pixel p;
  if (v.channels_first) {
    p.w = part(v.w), p.h = part(v.h), p.c = part(v.c);
  } else {
    p.c = part(WIDTH == 4 ? v.fours : v.c) * WIDTH, p.w = part(v.w), p.h = part(v.h);
  }
  p.n = i;
  return p;
}

constexpr int PIXEL_THREADS = 256;
inline unsigned pixel_blocks(int64_t items) { return blocks_for(items, PIXEL_THREADS, 132 * 32); }

// fn(tag of T, width): width is a constant, the channels that all these arrays allow at once: 16 bytes of them, or 1.
template <int N>
struct Width {
  static constexpr int value = N;
};
template <class F>
void visit_width(DType dtype, bool packs, const F& fn) {
  visit_float(dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    if (packs)
      fn(tag, Width<WIDE<T>>{});
    else
      fn(tag, Width<1>{});
  });
}

}  // namespace
}  // namespace nnfast
