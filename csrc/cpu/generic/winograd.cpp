// Winograd's F(2x2, 3x3): a 2x2 tile of a 3x3 convolution in 16 products instead of 36,
//   y = A^T [(G g G^T) * (B^T d B)] A,   d: 4x4 cells, g: 3x3 weights, *: element by element,
// and, by the transposed form, the gradient of the weights from a 2x2 tile p of the gradient of y,
//   dg = G^T [(A p A^T) * (B^T d B)] G.
// Lavin and Gray, Fast Algorithms for Convolutional Neural Networks, 2015, https://arxiv.org/abs/1509.09308. The sums
// over channels, filters and tiles are products of matrices, one for each of the 16 points: cpu/winograd.h. A matrix of
// points is stored plane by plane, `plane` elements apart.
#include "../kernels.h"
#include "vec.h"

namespace nnfast::NNFAST_ISA {

template <class T>
INLINE Vec<T> load_lanes(const T* p, ptrdiff_t n) {
  return n >= LANES<T> ? load(p) : load_some(p, n);
}
template <class T>
INLINE void store_lanes(T* p, Vec<T> v, ptrdiff_t n) {
  if (n >= LANES<T>)
    store(p, v);
  else
    store_some(p, v, n);
}

// One dimension of each transform, of values `step` apart.
template <class V>
INLINE void input_line(const V* d, int step, V* to) {
  to[0] = d[0] - d[2 * step];
  to[1] = d[step] + d[2 * step];
  to[2] = d[2 * step] - d[step];
  to[3] = d[step] - d[3 * step];
}
template <class V>
INLINE void filter_line(const V* g, int step, V* to) {
  using T = ElementOf<V>;
  const V even = T(0.5) * (g[0] + g[2 * step]), odd = T(0.5) * g[step];
  to[0] = g[0];
  to[1] = even + odd;
  to[2] = even - odd;
  to[3] = g[2 * step];
}
template <class V>
INLINE void output_line(const V* m, int step, V* to) {
  to[0] = m[0] + m[step] + m[2 * step];
  to[1] = m[step] - m[2 * step] - m[3 * step];
}
template <class V>
INLINE void gradient_line(const V* p, int step, V* to) {
  to[0] = p[0];
  to[1] = p[0] + p[step];
  to[2] = p[0] - p[step];
  to[3] = -p[step];
}
template <class V>
INLINE void filter_gradient_line(const V* m, int step, V* to) {
  using T = ElementOf<V>;
  const V sum = T(0.5) * (m[step] + m[2 * step]);
  to[0] = m[0] + sum;
  to[1] = T(0.5) * (m[step] - m[2 * step]);
  to[2] = m[3 * step] + sum;
}

// to[point][c] = B^T d B for each c < n, d[cell] = cells[cell][c].
template <class T>
static void winograd_input(const T* const* cells, ptrdiff_t from, ptrdiff_t n, T* to, ptrdiff_t plane) {
  for (ptrdiff_t c = 0; c < n; c += LANES<T>) {
    Vec<T> t[4][4];  // [column][row of the result]
#pragma GCC unroll 4
    for (int s = 0; s < 4; ++s) {
      Vec<T> d[4];
#pragma GCC unroll 4
      for (int r = 0; r < 4; ++r) d[r] = load_lanes(cells[r * 4 + s] + from + c, n - c);
      input_line(d, 1, t[s]);
    }
#pragma GCC unroll 4
    for (int r = 0; r < 4; ++r) {
      Vec<T> v[4];
      input_line(&t[0][r], 4, v);
#pragma GCC unroll 4
      for (int s = 0; s < 4; ++s) store_lanes(to + (r * 4 + s) * plane + c, v[s], n - c);
    }
  }
}

// to[point][row][i] = G g G^T for each i of a panel of conv2d, g[tap] = taps[tap][row * steps[tap] + i].
template <class T>
static void winograd_filter(const T* const* taps, const ptrdiff_t* steps, ptrdiff_t rows, T* to, ptrdiff_t plane) {
  constexpr int NR = CONV_NV * LANES<T>;
  for (ptrdiff_t i = 0; i < rows * NR; i += LANES<T>) {
    Vec<T> t[3][4];
#pragma GCC unroll 3
    for (int s = 0; s < 3; ++s) {
      Vec<T> g[3];
#pragma GCC unroll 3
      for (int r = 0; r < 3; ++r) g[r] = load(taps[r * 3 + s] + i / NR * steps[r * 3 + s] + i % NR);
      filter_line(g, 1, t[s]);
    }
#pragma GCC unroll 4
    for (int r = 0; r < 4; ++r) {
      Vec<T> u[4];
      filter_line(&t[0][r], 4, u);
#pragma GCC unroll 4
      for (int s = 0; s < 4; ++s) store(to + (r * 4 + s) * plane + i, u[s]);
    }
  }
}

// cells[pixel][f] = init[f] + A^T m A for each f < n, m[point] = from[point][f]. Gives 0, or NaN if a sum is not
// finite.
template <class T>
static T winograd_output(const T* from, ptrdiff_t plane, ptrdiff_t n, const T* init, bool relu, T* const* cells) {
  Vec<T> zero = {};
  for (ptrdiff_t f = 0; f < n; f += LANES<T>) {
    Vec<T> t[4][2];
#pragma GCC unroll 4
    for (int s = 0; s < 4; ++s) {
      Vec<T> m[4];
#pragma GCC unroll 4
      for (int r = 0; r < 4; ++r) m[r] = load_lanes(from + (r * 4 + s) * plane + f, n - f);
      output_line(m, 1, t[s]);
    }
    const Vec<T> bias = load_lanes(init + f, n - f);
#pragma GCC unroll 2
    for (int r = 0; r < 2; ++r) {
      Vec<T> y[2];
      output_line(&t[0][r], 2, y);
#pragma GCC unroll 2
      for (int s = 0; s < 2; ++s) {
        zero += y[s] - y[s];
        y[s] += bias;
        if (relu) y[s] = max_or_second(Vec<T>{}, y[s]);
        store_lanes(cells[r * 2 + s] + f, y[s], n - f);
      }
    }
  }
  return reduce_add(zero);
}

// to[point][f] = A p A^T for each f < n, and 0 up to width, a multiple of the lanes; p[pixel] = cells[pixel][f].
template <class T>
static void winograd_gradient(const T* const* cells, ptrdiff_t n, ptrdiff_t width, T* to, ptrdiff_t plane) {
  for (ptrdiff_t f = 0; f < width; f += LANES<T>) {
    Vec<T> t[2][4];
#pragma GCC unroll 2
    for (int s = 0; s < 2; ++s) {
      Vec<T> p[2];
#pragma GCC unroll 2
      for (int r = 0; r < 2; ++r) p[r] = load_lanes(cells[r * 2 + s] + f, n - f);
      gradient_line(p, 1, t[s]);
    }
#pragma GCC unroll 4
    for (int r = 0; r < 4; ++r) {
      Vec<T> z[4];
      gradient_line(&t[0][r], 4, z);
#pragma GCC unroll 4
      for (int s = 0; s < 4; ++s) store(to + (r * 4 + s) * plane + f, z[s]);
    }
  }
}

// taps[tap][f] = G^T m G for each f < n, m[point] = from[point][f]. Gives 0, or NaN if a result is not finite.
template <class T>
static T winograd_filter_gradient(const T* from, ptrdiff_t plane, ptrdiff_t n, T* const* taps) {
  Vec<T> zero = {};
  for (ptrdiff_t f = 0; f < n; f += LANES<T>) {
    Vec<T> t[4][3];
#pragma GCC unroll 4
    for (int s = 0; s < 4; ++s) {
      Vec<T> m[4];
#pragma GCC unroll 4
      for (int r = 0; r < 4; ++r) m[r] = load_lanes(from + (r * 4 + s) * plane + f, n - f);
      filter_gradient_line(m, 1, t[s]);
    }
#pragma GCC unroll 3
    for (int r = 0; r < 3; ++r) {
      Vec<T> g[3];
      filter_gradient_line(&t[0][r], 3, g);
#pragma GCC unroll 3
      for (int s = 0; s < 3; ++s) {
        zero += g[s] - g[s];
        store_lanes(taps[r * 3 + s] + f, g[s], n - f);
      }
    }
  }
  return reduce_add(zero);
}

template <class T>
static constexpr WinogradKernels<T> winograd_of = {
    winograd_input<T>, winograd_filter<T>, winograd_output<T>, winograd_gradient<T>, winograd_filter_gradient<T>,
};
extern const WinogradKernels<float> winograd_f32;
extern const WinogradKernels<double> winograd_f64;
constinit const WinogradKernels<float> winograd_f32 = winograd_of<float>;
constinit const WinogradKernels<double> winograd_f64 = winograd_of<double>;

}  // namespace nnfast::NNFAST_ISA
