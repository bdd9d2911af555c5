// A convolution as the kernels of conv2d.cu are given it, and where the rows and depths of its product lie.
#pragma once
#include "tile.cuh"

namespace nnfast {
namespace {

// out[n,i,j,o] = finish(sum over a, b, c of x[n, i step + from + a reach, (columns alike), c] w[a,b,c,o]), per group.
template <class T>
struct Convolution {
  int64_t n, I, J, A, B, C, O, groups;
  int64_t step[2], from[2], reach[2], over[2];  // over: where the place in x is divided by it, and must be divisible
  int64_t H, W, xn, xh, xw, xc;                 // x: sizes, strides
  int64_t yn, yi, yj, yo, wa, wb, wc, wo;       // strides of the pixels' and the taps' arrays
  const T* x;
  const T* other;  // w; of the filter's gradient dz
  T* out;          // y; of the filter's gradient dw
  int64_t x_group, other_group, out_group;
  int64_t splits, per_split;
  T* parts;  // [splits, groups, rows, O], if splits > 1
  Finish<T> finish;
  const unsigned* unfit;  // the kernel is for what tensor cores found unfit for them; nullptr: for all
  bool filter;            // the gradient of the filter, whose rows are taps
  Divider by_I, by_J, by_B, by_C, by_O, by_over[2], by_channels;

  void set_dividers() {
    by_I = I, by_J = J, by_B = B, by_C = C, by_O = O, by_channels = groups * O;
    by_over[0] = over[0], by_over[1] = over[1];
  }

  __host__ __device__ int64_t pixels() const { return n * I * J; }
  __host__ __device__ int64_t taps() const { return A * B * C; }
  __device__ bool is_done() const { return unfit && *unfit == 0; }
};

constexpr int NOWHERE = -(1 << 30);  // no sum of it and a real place lies in an image
constexpr int64_t SMALL = 1 << 28;   // places below it: their sums are int
struct Place {
  int64_t at, other;  // in x; in the array of the pixels or taps
  int h, w;
};
template <class T>
__device__ inline Place place_of_pixel(const Convolution<T>& p, int64_t m, int64_t end) {
  if (m >= end) return {0, 0, NOWHERE, 0};
  const int64_t line = p.by_J.of(m), n = p.by_I.of(line), j = m - line * p.J, i = line - n * p.I;
  const int64_t h = i * p.step[0] + p.from[0], w = j * p.step[1] + p.from[1];
  return {n * p.xn + h * p.xh + w * p.xw, n * p.yn + i * p.yi + j * p.yj, static_cast<int>(h), static_cast<int>(w)};
}
template <class T>
__device__ inline Place place_of_tap(const Convolution<T>& p, int64_t k, int64_t end) {
  if (k >= end) return {0, 0, NOWHERE, 0};
  const int64_t ab = p.by_C.of(k), a = p.by_B.of(ab), c = k - ab * p.C, b = ab - a * p.B;
  const int64_t h = a * p.reach[0], w = b * p.reach[1];
  return {h * p.xh + w * p.xw + c * p.xc, a * p.wa + b * p.wb + c * p.wc, static_cast<int>(h), static_cast<int>(w)};
}
// Rows of the product are pixels, and taps are summed; `filter`: rows are taps, and pixels are summed.
template <class T>
__device__ inline Place place_of_row(const Convolution<T>& p, bool filter, int64_t i, int64_t end) {
  return filter ? place_of_tap(p, i, end) : place_of_pixel(p, i, end);
}
template <class T>
__device__ inline Place place_of_depth(const Convolution<T>& p, bool filter, int64_t k, int64_t end) {
  return place_of_row(p, !filter, k, end);
}
// A sum to where it belongs; `at`: of its row.
template <class T>
__device__ inline void put_sum(const Convolution<T>& p, T sum, int64_t g, int64_t rows, int64_t row, int64_t column,
                               int64_t at) {
  if (p.splits > 1)
    p.parts[((blockIdx.y * p.groups + g) * rows + row) * p.O + column] = sum;
  else
    p.out[g * p.out_group + at] = p.finish(sum, nullptr, row, g * p.O + column);
}

}  // namespace
}  // namespace nnfast
