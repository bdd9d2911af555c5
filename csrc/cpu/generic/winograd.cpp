// Winograd's F(MxM, 3x3): an MxM tile of a 3x3 convolution in (M+2)^2 products instead of 9 M^2,
//   y = A^T [(G g G^T) * (B^T d B)] A,   d: (M+2)x(M+2) cells, g: 3x3 weights, *: element by element,
// and, by the transposed form, the gradient of the weights from an MxM tile p of the gradient of y,
//   dg = G^T [(A p A^T) * (B^T d B)] G.
// Lavin and Gray, Fast Algorithms for Convolutional Neural Networks, 2015, https://arxiv.org/abs/1509.09308. The sums
// over channels, filters and tiles are products of matrices, one for each of the (M+2)^2 points: cpu/winograd.h. A
// matrix of points is stored plane by plane, `plane` elements apart.
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

// One dimension of each transform, of values `step` apart. F(2x2, 3x3): polynomials through 0, 1, -1 and infinity.
struct Two {
  static constexpr int TILE = 2;
  template <class V>
  static inline __attribute__((always_inline)) void input(const V* d, int step, V* to) {
    to[0] = d[0] - d[2 * step];
    to[1] = d[step] + d[2 * step];
    to[2] = d[2 * step] - d[step];
    to[3] = d[step] - d[3 * step];
  }
  template <class V>
  static inline __attribute__((always_inline)) void filter(const V* g, int step, V* to) {
    using T = ElementOf<V>;
    const V even = T(0.5) * (g[0] + g[2 * step]), odd = T(0.5) * g[step];
    to[0] = g[0];
    to[1] = even + odd;
    to[2] = even - odd;
    to[3] = g[2 * step];
  }
  template <class V>
  static inline __attribute__((always_inline)) void output(const V* m, int step, V* to) {
    to[0] = m[0] + m[step] + m[2 * step];
    to[1] = m[step] - m[2 * step] - m[3 * step];
  }
  template <class V>
  static inline __attribute__((always_inline)) void gradient(const V* p, int step, V* to) {
    to[0] = p[0];
    to[1] = p[0] + p[step];
    to[2] = p[0] - p[step];
    to[3] = -p[step];
  }
  template <class V>
  static inline __attribute__((always_inline)) void filter_gradient(const V* m, int step, V* to) {
    using T = ElementOf<V>;
    const V sum = T(0.5) * (m[step] + m[2 * step]);
    to[0] = m[0] + sum;
    to[1] = T(0.5) * (m[step] - m[2 * step]);
    to[2] = m[3 * step] + sum;
  }
};

// F(4x4, 3x3): through 0, a, -a, b, -b and infinity, a = 3/4 and b = 3/2. (With Lavin's 1 and 2 errors are 1.6 to 3
// times as large, and other pairs were no better: the largest error of 2000 tiles of 64 channels.)
struct Four {
  static constexpr int TILE = 4;
  static constexpr double A = 0.75, B = 1.5, A2 = A * A, B2 = B * B;
  static constexpr double N0 = 1 / (A2 * B2), NA = 1 / (2 * A2 * (A2 - B2)), NB = 1 / (2 * B2 * (B2 - A2));
  template <class V>
  static inline __attribute__((always_inline)) void input(const V* d, int step, V* to) {
    using T = ElementOf<V>;
    const V d1 = d[step], d2 = d[2 * step], d3 = d[3 * step], d4 = d[4 * step];
    const V even_a = d4 - T(B2) * d2, odd_a = T(A) * d3 - T(A * B2) * d1;
    const V even_b = d4 - T(A2) * d2, odd_b = T(B) * d3 - T(B * A2) * d1;
    to[0] = d4 + (T(A2 * B2) * d[0] - T(A2 + B2) * d2);
    to[1] = even_a + odd_a;
    to[2] = even_a - odd_a;
    to[3] = even_b + odd_b;
    to[4] = even_b - odd_b;
    to[5] = d[5 * step] + (T(A2 * B2) * d1 - T(A2 + B2) * d3);
  }
  template <class V>
  static inline __attribute__((always_inline)) void filter(const V* g, int step, V* to) {
    using T = ElementOf<V>;
    const V g0 = g[0], g1 = g[step], g2 = g[2 * step];
    const V even_a = T(NA) * g0 + T(NA * A2) * g2, odd_a = T(NA * A) * g1;
    const V even_b = T(NB) * g0 + T(NB * B2) * g2, odd_b = T(NB * B) * g1;
    to[0] = T(N0) * g0;
    to[1] = even_a + odd_a;
    to[2] = even_a - odd_a;
    to[3] = even_b + odd_b;
    to[4] = even_b - odd_b;
    to[5] = g2;
  }
  template <class V>
  static inline __attribute__((always_inline)) void output(const V* m, int step, V* to) {
    using T = ElementOf<V>;
    const V sum_a = m[step] + m[2 * step], less_a = m[step] - m[2 * step];
    const V sum_b = m[3 * step] + m[4 * step], less_b = m[3 * step] - m[4 * step];
    to[0] = m[0] + sum_a + sum_b;
    to[1] = T(A) * less_a + T(B) * less_b;
    to[2] = T(A2) * sum_a + T(B2) * sum_b;
    to[3] = T(A2 * A) * less_a + T(B2 * B) * less_b + m[5 * step];
  }
  template <class V>
  static inline __attribute__((always_inline)) void gradient(const V* p, int step, V* to) {
    using T = ElementOf<V>;
    const V p0 = p[0], p1 = p[step], p2 = p[2 * step], p3 = p[3 * step];
    const V even_a = p0 + T(A2) * p2, odd_a = T(A) * p1 + T(A2 * A) * p3;
    const V even_b = p0 + T(B2) * p2, odd_b = T(B) * p1 + T(B2 * B) * p3;
    to[0] = p0;
    to[1] = even_a + odd_a;
    to[2] = even_a - odd_a;
    to[3] = even_b + odd_b;
    to[4] = even_b - odd_b;
    to[5] = p3;
  }
  template <class V>
  static inline __attribute__((always_inline)) void filter_gradient(const V* m, int step, V* to) {
    using T = ElementOf<V>;
    const V sum_a = m[step] + m[2 * step], less_a = m[step] - m[2 * step];
    const V sum_b = m[3 * step] + m[4 * step], less_b = m[3 * step] - m[4 * step];
    to[0] = T(N0) * m[0] + T(NA) * sum_a + T(NB) * sum_b;
    to[1] = T(NA * A) * less_a + T(NB * B) * less_b;
    to[2] = T(NA * A2) * sum_a + T(NB * B2) * sum_b + m[5 * step];
  }
};

// to[point][c] = B^T d B for each c < n, d[cell] = cells[cell][c].
template <class F, class T>
static void winograd_input(const T* const* cells, ptrdiff_t from, ptrdiff_t n, T* to, ptrdiff_t plane) {
  constexpr int P = F::TILE + 2;
  for (ptrdiff_t c = 0; c < n; c += LANES<T>) {
    Vec<T> t[P][P];  // [column][row of the result]
#pragma GCC unroll 6
    for (int s = 0; s < P; ++s) {
      Vec<T> d[P];
#pragma GCC unroll 6
      for (int r = 0; r < P; ++r) d[r] = load_lanes(cells[r * P + s] + from + c, n - c);
      F::input(d, 1, t[s]);
    }
#pragma GCC unroll 6
    for (int r = 0; r < P; ++r) {
      Vec<T> v[P];
      F::input(&t[0][r], P, v);
#pragma GCC unroll 6
      for (int s = 0; s < P; ++s) store_lanes(to + (r * P + s) * plane + c, v[s], n - c);
    }
  }
}

// to[point][row][i] = G g G^T for each i of a panel of conv2d, g[tap] = taps[tap][row * steps[tap] + i].
template <class F, class T>
static void winograd_filter(const T* const* taps, const ptrdiff_t* steps, ptrdiff_t rows, T* to, ptrdiff_t plane) {
  constexpr int P = F::TILE + 2, NR = CONV_NV * LANES<T>;
  for (ptrdiff_t i = 0; i < rows * NR; i += LANES<T>) {
    Vec<T> t[3][P];
#pragma GCC unroll 3
    for (int s = 0; s < 3; ++s) {
      Vec<T> g[3];
#pragma GCC unroll 3
      for (int r = 0; r < 3; ++r) g[r] = load(taps[r * 3 + s] + i / NR * steps[r * 3 + s] + i % NR);
      F::filter(g, 1, t[s]);
    }
#pragma GCC unroll 6
    for (int r = 0; r < P; ++r) {
      Vec<T> u[P];
      F::filter(&t[0][r], P, u);
#pragma GCC unroll 6
      for (int s = 0; s < P; ++s) store(to + (r * P + s) * plane + i, u[s]);
    }
  }
}

// cells[pixel][f] = init[f] + A^T m A for each f < n, m[point] = from[point][f]. Gives 0, or NaN if a sum is not
// finite.
template <class F, class T>
static T winograd_output(const T* from, ptrdiff_t plane, ptrdiff_t n, const T* init, bool relu, T* const* cells) {
  constexpr int M = F::TILE, P = M + 2;
  Vec<T> zero = {};
  for (ptrdiff_t f = 0; f < n; f += LANES<T>) {
    Vec<T> t[P][M];
#pragma GCC unroll 6
    for (int s = 0; s < P; ++s) {
      Vec<T> m[P];
#pragma GCC unroll 6
      for (int r = 0; r < P; ++r) m[r] = load_lanes(from + (r * P + s) * plane + f, n - f);
      F::output(m, 1, t[s]);
    }
    const Vec<T> bias = load_lanes(init + f, n - f);
#pragma GCC unroll 4
    for (int r = 0; r < M; ++r) {
      Vec<T> y[M];
      F::output(&t[0][r], M, y);
#pragma GCC unroll 4
      for (int s = 0; s < M; ++s) {
        zero += y[s] - y[s];
        y[s] += bias;
        if (relu) y[s] = max_or_second(Vec<T>{}, y[s]);
        store_lanes(cells[r * M + s] + f, y[s], n - f);
      }
    }
  }
  return reduce_add(zero);
}

// to[point][f] = A p A^T for each f < n, and 0 up to width, a multiple of the lanes; p[pixel] = cells[pixel][f].
template <class F, class T>
static void winograd_gradient(const T* const* cells, ptrdiff_t n, ptrdiff_t width, T* to, ptrdiff_t plane) {
  constexpr int M = F::TILE, P = M + 2;
  for (ptrdiff_t f = 0; f < width; f += LANES<T>) {
    Vec<T> t[M][P];
#pragma GCC unroll 4
    for (int s = 0; s < M; ++s) {
      Vec<T> p[M];
#pragma GCC unroll 4
      for (int r = 0; r < M; ++r) p[r] = load_lanes(cells[r * M + s] + f, n - f);
      F::gradient(p, 1, t[s]);
    }
#pragma GCC unroll 6
    for (int r = 0; r < P; ++r) {
      Vec<T> z[P];
      F::gradient(&t[0][r], P, z);
#pragma GCC unroll 6
      for (int s = 0; s < P; ++s) store(to + (r * P + s) * plane + f, z[s]);
    }
  }
}

// taps[tap][f] = G^T m G for each f < n, m[point] = from[point][f]. Gives 0, or NaN if a result is not finite.
template <class F, class T>
static T winograd_filter_gradient(const T* from, ptrdiff_t plane, ptrdiff_t n, T* const* taps) {
  constexpr int P = F::TILE + 2;
  Vec<T> zero = {};
  for (ptrdiff_t f = 0; f < n; f += LANES<T>) {
    Vec<T> t[P][3];
#pragma GCC unroll 6
    for (int s = 0; s < P; ++s) {
      Vec<T> m[P];
#pragma GCC unroll 6
      for (int r = 0; r < P; ++r) m[r] = load_lanes(from + (r * P + s) * plane + f, n - f);
      F::filter_gradient(m, 1, t[s]);
    }
#pragma GCC unroll 3
    for (int r = 0; r < 3; ++r) {
      Vec<T> g[3];
      F::filter_gradient(&t[0][r], 3, g);
#pragma GCC unroll 3
      for (int s = 0; s < 3; ++s) {
        zero += g[s] - g[s];
        store_lanes(taps[r * 3 + s] + f, g[s], n - f);
      }
    }
  }
  return reduce_add(zero);
}

template <class F, class T>
static constexpr WinogradKernels<T> winograd_of = {
    F::TILE,
    winograd_input<F, T>,
    winograd_filter<F, T>,
    winograd_output<F, T>,
    winograd_gradient<F, T>,
    winograd_filter_gradient<F, T>,
};
extern const WinogradKernels<float> winograd_f32, winograd_wide;
extern const WinogradKernels<double> winograd_f64;
constinit const WinogradKernels<float> winograd_f32 = winograd_of<Two, float>;
constinit const WinogradKernels<double> winograd_f64 = winograd_of<Two, double>;
constinit const WinogradKernels<float> winograd_wide = winograd_of<Four, float>;

}  // namespace nnfast::NNFAST_ISA
