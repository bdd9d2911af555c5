// Patches: what conv2d multiplies by its filter, as pointers into an image instead of rows of a matrix.
// One description serves the forward pass and both gradients: pixels of a grid, a patch of cells for each.
#pragma once
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <numeric>

#include "../view.h"
#include "gemm_blocks.h"

namespace nnfast {

// An image batch as (n, h, w, c), whichever layout it has.
template <class T>
struct Images {
  T* data;
  int64_t n, h, w, c;
  int64_t n_stride, h_stride, w_stride, c_stride;
  T* at(int64_t in, int64_t ih, int64_t iw, int64_t ic) const {
    return data + in * n_stride + ih * h_stride + iw * w_stride + ic * c_stride;
  }
};

template <class T>
Images<T> images(const View& v, bool channels_first) {
  const int h = channels_first ? 2 : 1, w = h + 1, c = channels_first ? 1 : 3;
  return {v.as<T>(),   v.shape[0],  v.shape[h],  v.shape[w], v.shape[c],
          v.stride[0], v.stride[h], v.stride[w], v.stride[c]};
}

// Along rows or along columns: pixel i of the grid looks, with tap t, at cell i * step + shift(t) of the source, where
// the filter's row is index(t). Cells outside [0, size) are zero. Shifts rise with t.
struct Axis {
  int64_t out, step, size, taps;
  int64_t index0, index_step;
  int64_t shift0, shift_step;
  int64_t index(int64_t t) const { return index0 + t * index_step; }
  int64_t shift(int64_t t) const { return shift0 + t * shift_step; }
  int64_t span(int64_t pixels) const { return (pixels - 1) * step + shift(taps - 1) - shift0 + 1; }
  bool inside() const { return shift0 >= 0 && (out - 1) * step + shift(taps - 1) < size; }
  // The pixels [first, last) all of whose taps look at cells of the source.
  void interior(int64_t& first, int64_t& last) const {
    const int64_t room = size - 1 - shift(taps - 1);
    first = std::min(out, shift0 >= 0 ? 0 : ceil_div(-shift0, step));
    last = std::clamp<int64_t>(room < 0 ? 0 : room / step + 1, first, out);
  }
  // The taps [first, last) of pixel i that look at a cell of the source.
  void within(int64_t i, int64_t& first, int64_t& last) const {
    const int64_t at = i * step + shift0;
    first = at >= 0 ? 0 : std::min(taps, ceil_div(-at, shift_step));
    last = at >= size ? first : std::min(taps, (size - 1 - at) / shift_step + 1);
    last = std::max(last, first);
  }
};

inline Axis forward_axis(int64_t out, int64_t stride, int64_t size, int64_t kernel, int64_t before, int64_t dilation) {
  return {out, stride, size, kernel, 0, 1, -before, dilation};
}

// The gradient of the input gathers: cell h was seen by row r of the filter in pixel p, where p * stride = h + before -
// r * dilation. Only some r leave no remainder, the same for all cells of equal h % stride: a phase. Within a phase, r
// and p are arithmetic series. Source: the gradient of the output, of `size` pixels.
inline Axis gradient_axis(int64_t phase, int64_t cells, int64_t stride, int64_t size, int64_t kernel, int64_t before,
                          int64_t dilation) {
  const int64_t common = std::gcd(stride, dilation), period = stride / common;
  int64_t r = 0;
  const int64_t most = std::min(kernel, period);
  while (r < most && (phase + before - r * dilation) % stride != 0) ++r;
  const int64_t out = ceil_div(cells - phase, stride);
  if (r == most) return {out, 1, size, 0, 0, 0, 0, 1};
  const int64_t taps = (kernel - 1 - r) / period + 1, last = r + (taps - 1) * period;
  return {out, 1, size, taps, last, -period, (phase + before - last * dilation) / stride, dilation / common};
}

// A block of pixels: images [n0, n0 + n), rows [i0, i0 + i), columns [j0, j0 + j).
struct Block {
  int64_t n0, n, i0, i, j0, j;
  int64_t pixels() const { return n * i * j; }
};

// How the patches of one grid are laid out, block by block of pixels.
struct Patches {
  // Where a block's cells are: in the source itself; in a copy of the window that the block sees, with its padding; or,
  // where windows would be mostly holes (strides or dilation larger than the filter), patch after patch.
  enum class Place { source, window, packed };
  Axis rows, columns;
  int64_t batch, channels;  // channels: those of one group
  Place place;
  int64_t n, i, j;                      // sizes of a block
  int64_t window_rows, window_columns;  // of a block's copy
  int64_t segments, length;             // a patch is `segments` runs of `length` cells; short runs are cut into cells
  int64_t buffer;                       // elements of a block's copy

  int64_t taps() const { return rows.taps * columns.taps; }
  int64_t block_pixels() const { return n * i * j; }
  int64_t blocks() const {
    return batch == 0 || rows.out == 0 || columns.out == 0
               ? 0
               : ceil_div(batch, n) * ceil_div(rows.out, i) * ceil_div(columns.out, j);
  }
  Block block(int64_t index) const {
    const int64_t across = ceil_div(columns.out, j), down = ceil_div(rows.out, i);
    const int64_t j0 = index % across * j, i0 = index / across % down * i, n0 = index / across / down * n;
    return {n0, std::min(n, batch - n0), i0, std::min(i, rows.out - i0), j0, std::min(j, columns.out - j0)};
  }
  void cut(int64_t pixels) {
    const int64_t image = rows.out * columns.out;
    const auto even = [](int64_t all, int64_t most) {
      return ceil_div(all, ceil_div(all, std::max<int64_t>(most, 1)));
    };
    j = even(columns.out, pixels);
    i = even(rows.out, pixels / j);
    n = i == rows.out && j == columns.out ? even(batch, pixels / image) : 1;
    window_rows = rows.span(i);
    window_columns = columns.span(j);
    const double window = static_cast<double>(window_rows) * static_cast<double>(window_columns) * n;
    const double packed = static_cast<double>(block_pixels()) * static_cast<double>(taps());
    if (place != Place::source) place = window <= packed ? Place::window : Place::packed;
    buffer = place == Place::source ? 0 : static_cast<int64_t>(std::min(window, packed)) * channels;
  }
};

// Runs of a patch up to this length are cut into cells: one loop over all cells is faster than many short ones, and a
// filter's gradient holds the cells of several runs in registers. (Images of one channel, 3x3 -> 32, on Zen 5: forward
// 10% to 50% faster, filter gradient 1.8 times with AVX-512 and with AVX2.)
constexpr int64_t SHORT = 8;

// `most` and `cache`: a block has at most so many pixels, and fewer (but not below a quarter) if its copy would not fit
// in so many bytes. `copy`: not in place, even if that were possible.
template <class T>
Patches make_patches(const Images<const T>& source, const Axis& rows, const Axis& columns, int64_t groups, int64_t most,
                     int64_t cache, bool copy = false) {
  Patches p{};
  p.rows = rows;
  p.columns = columns;
  p.batch = source.n;
  p.channels = source.c / groups;
  const bool in_place = !copy && (source.c_stride == 1 || p.channels == 1) && rows.inside() && columns.inside();
  p.place = in_place ? Patches::Place::source : Patches::Place::window;
  if (p.batch == 0 || rows.out == 0 || columns.out == 0) return p;
  for (int64_t pixels = most; pixels >= most / 4; pixels /= 2) {
    p.cut(pixels);
    if (p.buffer * static_cast<int64_t>(sizeof(T)) <= cache) break;
  }
  const bool neighbours =
      columns.taps == 1 || (columns.shift_step == 1 && (!in_place || source.w_stride == p.channels));
  p.segments = p.place == Patches::Place::packed ? 1 : neighbours ? rows.taps : p.taps();
  p.length = p.taps() * p.channels / p.segments;
  if (p.segments > 1 && p.length > 0 && p.length <= SHORT) p.segments *= p.length, p.length = 1;
  return p;
}

// `count` cells of `channels` values, packed side by side.
template <class T>
void copy_cells(const T* from, int64_t w_stride, int64_t c_stride, int64_t count, int64_t channels, T* to) {
  if (c_stride == 1 && w_stride == channels) {
    std::memcpy(to, from, static_cast<size_t>(count * channels) * sizeof(T));
  } else if (c_stride == 1 && channels >= 8) {
    for (int64_t w = 0; w < count; ++w)
      std::memcpy(to + w * channels, from + w * w_stride, static_cast<size_t>(channels) * sizeof(T));
  } else {
    for (int64_t w = 0; w < count; ++w)
      for (int64_t c = 0; c < channels; ++c) to[w * channels + c] = from[w * w_stride + c * c_stride];
  }
}

template <class T>
void zero_cells(T* to, int64_t count) {
  std::memset(to, 0, static_cast<size_t>(count) * sizeof(T));
}

// Row h, columns [w0, w0 + count) of an image; what lies outside is zero.
template <class T>
void copy_row(const Images<const T>& source, int64_t n, int64_t h, int64_t w0, int64_t count, int64_t c0,
              int64_t channels, T* to) {
  const int64_t first = std::clamp<int64_t>(-w0, 0, count), last = std::clamp<int64_t>(source.w - w0, first, count);
  if (h < 0 || h >= source.h || first == last) return zero_cells(to, count * channels);
  zero_cells(to, first * channels);
  copy_cells(source.at(n, h, w0 + first, c0), source.w_stride, source.c_stride, last - first, channels,
             to + first * channels);
  zero_cells(to + last * channels, (count - last) * channels);
}

// The copy of a block, and where the patch of each of its pixels begins.
template <class T>
void place_patches(const Patches& p, const Images<const T>& source, int64_t c0, const Block& b, T* buffer,
                   const T** patch) {
  const Axis &R = p.rows, &C = p.columns;
  const int64_t h0 = b.i0 * R.step + R.shift0, w0 = b.j0 * C.step + C.shift0;
  const int64_t cell = p.channels, row = p.window_columns * cell, image = p.window_rows * row;
  for (int64_t n = 0; n < b.n; ++n) {
    if (p.place == Patches::Place::window)
      for (int64_t h = 0; h < R.span(b.i); ++h)
        copy_row(source, b.n0 + n, h0 + h, w0, C.span(b.j), c0, cell, buffer + n * image + h * row);
    for (int64_t i = 0; i < b.i; ++i) {
      if (p.place != Patches::Place::packed) {
        const bool in_place = p.place == Patches::Place::source;
        const T* at = in_place ? source.at(b.n0 + n, h0 + i * R.step, w0, c0) : buffer + n * image + i * R.step * row;
        const int64_t step = C.step * (in_place ? source.w_stride : cell);
        for (int64_t j = 0; j < b.j; ++j, at += step) *patch++ = at;
        continue;
      }
      for (int64_t j = 0; j < b.j; ++j) {
        *patch++ = buffer;
        for (int64_t r = 0; r < R.taps; ++r)
          for (int64_t s = 0; s < C.taps; ++s, buffer += cell)
            copy_row(source, b.n0 + n, h0 + i * R.step + r * R.shift_step, w0 + j * C.step + s * C.shift_step, 1, c0,
                     cell, buffer);
      }
    }
  }
}

// Where each segment of a patch begins, counted from the patch.
template <class T>
void place_segments(const Patches& p, const Images<const T>& source, ptrdiff_t* offsets) {
  const bool in_place = p.place == Patches::Place::source;
  const int64_t row = in_place ? source.h_stride : p.window_columns * p.channels;
  const int64_t cell = in_place ? source.w_stride : p.channels;
  const int64_t each = p.segments == 1 ? 1 : p.segments / p.rows.taps;  // segments of one row of the filter
  const int64_t deep = p.length == 1 ? p.channels : 1;                  // and of one tap
  for (int64_t s = 0; s < p.segments; ++s)
    offsets[s] = s / each * p.rows.shift_step * row + s % each / deep * p.columns.shift_step * cell + s % deep;
}

}  // namespace nnfast
