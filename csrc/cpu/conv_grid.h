// What the ways to compute a convolution share: a grid of pixels, the filter that each of them is multiplied by, in
// panels, and sums of partial results.
#pragma once
#include "../ops.h"
#include "kernels.h"
#include "parallel.h"
#include "patches.h"

namespace nnfast {

// In place, on n neighbouring values. (relu is part of the micro-kernel.)
template <class T>
void activate(T* y, int64_t n, Activation activation, T slope) {
  constexpr Unary ops[] = {Unary::relu,    Unary::relu, Unary::leaky_relu, Unary::elu, Unary::selu,
                           Unary::sigmoid, Unary::tanh, Unary::softplus,   Unary::exp};
  if (activation == Activation::linear) return;
  kernels().elementwise.get<T>().unary[static_cast<int>(ops[static_cast<int>(activation)])](n, {y, 1}, y, slope, 0);
}

// The filter as B of a gemm: w[r, s, k, column], with the strides of whichever axes play k and column.
template <class T>
struct Filter {
  const T* data;
  int64_t r_stride, s_stride, k_stride, column_stride, group_stride;
};

// One grid of pixels: target[pixel, column] = activation(bias[column] + patch(pixel) * filter[:, column]).
template <class T>
struct Grid {
  Patches patches;
  Images<const T> source;
  Images<T> target;
  int64_t row0, row_step, column0, column_step;  // pixel (i, j) of the grid is cell (row0 + i * row_step, ...)
  Filter<T> filter;
  int64_t groups, columns;  // columns: of one group
  const T* bias;            // [groups * columns], or nullptr
  int64_t bias_stride;
  Activation activation;
  T slope;
  Precision precision;

  int64_t panels(int64_t NR) const { return ceil_div(columns, NR); }
  // What sums begin with, to[groups][width]: the bias or zeros.
  void begin(T* to, int64_t width) const {
    for (int64_t g = 0; g < groups; ++g)
      for (int64_t c = 0; c < width; ++c) *to++ = bias && c < columns ? bias[(g * columns + c) * bias_stride] : T(0);
  }
  // Where the results of each pixel of a block go, from `column` on.
  void place_rows(const Block& b, int64_t column, T** row) const {
    for (int64_t n = 0; n < b.n; ++n)
      for (int64_t i = 0; i < b.i; ++i) {
        T* to = target.at(b.n0 + n, row0 + (b.i0 + i) * row_step, column0 + b.j0 * column_step, column);
        for (int64_t j = 0; j < b.j; ++j, to += column_step * target.w_stride) *row++ = to;
      }
  }
};

// B of all groups: [group][panel][tap][channel][NR].
template <class T>
void pack_filter(const Grid<T>& g, int64_t channels, int64_t NR, T* packed) {
  const Patches& p = g.patches;
  const int64_t panels = g.panels(NR), tap = channels * NR;
  const auto pack = kernels().gemm.get<T>().pack_b;
  parallel_for(
      g.groups * panels * p.rows.taps, ceil_div(16384, std::max<int64_t>(1, p.columns.taps * tap)),
      [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
          const int64_t r = i % p.rows.taps, panel = i / p.rows.taps % panels, group = i / p.rows.taps / panels;
          const int64_t columns = std::min(NR, g.columns - panel * NR);
          for (int64_t s = 0; s < p.columns.taps; ++s) {
            const Filter<T>& f = g.filter;
            const T* from = f.data + p.rows.index(r) * f.r_stride + p.columns.index(s) * f.s_stride +
                            group * f.group_stride + panel * NR * f.column_stride;
            pack(from, columns, f.column_stride, channels, f.k_stride, packed + (i * p.columns.taps + s) * tap);
          }
        }
      });
}

// The sum of `count` partial results, in their order.
template <class T>
void add_up(const T* partial, int64_t count, int64_t size, T* to) {
  parallel_for_flushed(size, 8192, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) to[i] = partial[i];
    for (int64_t s = 1; s < count; ++s)
      for (int64_t i = begin; i < end; ++i) to[i] += partial[s * size + i];
  });
}

}  // namespace nnfast
