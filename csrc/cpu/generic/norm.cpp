// batch_norm and layer_norm: sums over, and maps of, elements with numbers of their own (each: one per element of the
// row) or one for all. No tail is special: the last vector goes through the same arithmetic. An output may be an input.
#include "../kernels.h"
#include "fold.h"
#include "vec.h"

namespace nnfast::NNFAST_ISA {

template <class T>
INLINE Vec<T> get(const T* p, ptrdiff_t count) {
  return count >= LANES<T> ? load(p) : load_some(p, count);
}
template <class T>
INLINE void put(T* p, Vec<T> v, ptrdiff_t count) {
  if (count >= LANES<T>)
    store(p, v);
  else
    store_some(p, v, count);
}
// f(j, count) for each vector of a row of n: count is a constant but for the last, so whole vectors need no masks.
template <class T, class F>
INLINE void each_vector(ptrdiff_t n, const F& f) {
  constexpr ptrdiff_t L = LANES<T>;
  ptrdiff_t j = 0;
  for (; j + L <= n; j += L) f(j, L);
  if (j < n) f(j, n - j);
}
#define INLINED __attribute__((always_inline))  // of a lambda

// y = (x - mean) * scale + shift, `rows` rows of n
template <class T, bool EACH>
static void normalize(ptrdiff_t rows, ptrdiff_t n, const T* x, T* y, const T* mean, const T* scale, const T* shift) {
  each_vector<T>(n, [=](ptrdiff_t j, ptrdiff_t count) INLINED {
    const Vec<T> m = EACH ? get(mean + j, count) : splat(*mean), s = EACH ? get(scale + j, count) : splat(*scale);
    const Vec<T> b = EACH ? get(shift + j, count) : splat(*shift);
    for (ptrdiff_t r = 0; r < rows; ++r) put(y + r * n + j, (get(x + r * n + j, count) - m) * s + b, count);
  });
}

// sum[j] += dy, product[j] += dy * (x - mean[j]) over ROWS rows, which lie `step` apart
template <class T, int ROWS>
INLINE void some_sums(ptrdiff_t n, ptrdiff_t step, const T* dy, const T* x, const T* mean, T* sum, T* product) {
  each_vector<T>(n, [=](ptrdiff_t j, ptrdiff_t count) INLINED {
    const Vec<T> m = get(mean + j, count);
    Vec<T> s = {}, p = {};
    for (ptrdiff_t r = 0; r < ROWS; ++r) {
      const Vec<T> d = get(dy + r * step + j, count);
      s += d;
      p += d * (get(x + r * step + j, count) - m);
    }
    put(sum + j, get(sum + j, count) + s, count);
    put(product + j, get(product + j, count) + p, count);
  });
}
template <class T>
static void sums(ptrdiff_t rows, ptrdiff_t n, ptrdiff_t step, const T* dy, const T* x, const T* mean, T* sum,
                 T* product) {
  for (; rows >= 4; rows -= 4, dy += 4 * step, x += 4 * step) some_sums<T, 4>(n, step, dy, x, mean, sum, product);
  for (; rows > 0; --rows, dy += step, x += step) some_sums<T, 1>(n, step, dy, x, mean, sum, product);
}

// The same for one run of n elements with one mean; gamma, if given, is a factor of each dy.
template <class T>
static void run_sums(ptrdiff_t n, const T* dy, const T* x, const T* gamma, T mean, T* sum, T* product) {
  constexpr int L = LANES<T>;
  const Vec<T> m = splat(mean);
  Vec<T> s[4] = {}, p[4] = {};
  const auto take = [&](int v, ptrdiff_t j, ptrdiff_t count) INLINED {
    Vec<T> d = get(dy + j, count);
    if (gamma) d *= get(gamma + j, count);
    s[v] += d;
    p[v] += d * (get(x + j, count) - m);  // beyond the end x - m is not 0, but d is
  };
  ptrdiff_t j = 0;
  for (; j + 4 * L <= n; j += 4 * L)
    for (int v = 0; v < 4; ++v) take(v, j + v * L, L);
  for (; j < n; j += L) take(0, j, n - j);
  *sum = joined_lanes<Plus>((s[0] + s[1]) + (s[2] + s[3]));
  *product = joined_lanes<Plus>((p[0] + p[1]) + (p[2] + p[3]));
}

// dx = a * dy + b * (x - mean) + c, `rows` rows of n
template <class T, bool EACH>
static void gradient(ptrdiff_t rows, ptrdiff_t n, const T* dy, const T* x, const T* mean, const T* a, const T* b,
                     const T* c, T* dx) {
  each_vector<T>(n, [=](ptrdiff_t j, ptrdiff_t left) INLINED {
    const Vec<T> m = EACH ? get(mean + j, left) : splat(*mean), av = EACH ? get(a + j, left) : splat(*a);
    const Vec<T> bv = EACH ? get(b + j, left) : splat(*b), cv = EACH ? get(c + j, left) : splat(*c);
    for (ptrdiff_t r = 0; r < rows; ++r) {
      const ptrdiff_t at = r * n + j;
      put(dx + at, av * get(dy + at, left) + (bv * (get(x + at, left) - m) + cv), left);
    }
  });
}

// layer_norm of one row: y = (x - mean) * rstd * gamma[j] + beta[j]; gamma, beta: may be absent
template <class T>
static void row(ptrdiff_t n, const T* x, T mean, T rstd, const T* gamma, const T* beta, T* y) {
  const Vec<T> m = splat(mean), s = splat(rstd);
  each_vector<T>(n, [=](ptrdiff_t j, ptrdiff_t count) INLINED {
    Vec<T> v = (get(x + j, count) - m) * s;
    if (gamma) v *= get(gamma + j, count);
    if (beta) v += get(beta + j, count);
    put(y + j, v, count);
  });
}

// The same of many short rows, with their means and rstd = 1 / sqrt(variance + epsilon).
template <class T>
static void rows(ptrdiff_t count, ptrdiff_t n, const T* x, const T* gamma, const T* beta, T epsilon, T* y, T* mean,
                 T* rstd) {
  constexpr int L = LANES<T>;
  for (ptrdiff_t r = 0; r < count; ++r, x += n, y += n) {
    Vec<T> s[2] = {}, p[2] = {};
    ptrdiff_t j = 0;
    for (; j + 2 * L <= n; j += 2 * L) s[0] += load(x + j), s[1] += load(x + j + L);
    for (; j < n; j += L) s[0] += get(x + j, n - j);
    const T m = joined_lanes<Plus>(s[0] + s[1]) / static_cast<T>(n);
    const Vec<T> centre = splat(m);
    for (j = 0; j + 2 * L <= n; j += 2 * L) {
      const Vec<T> a = load(x + j) - centre, b = load(x + j + L) - centre;
      p[0] += a * a, p[1] += b * b;
    }
    for (; j < n; j += L) {
      const Vec<T> a = n - j >= L ? load(x + j) - centre : load_some(x + j, n - j, m) - centre;
      p[0] += a * a;
    }
    const T variance = joined_lanes<Plus>(p[0] + p[1]) / static_cast<T>(n);
    mean[r] = m;
    rstd[r] = 1 / (sizeof(T) == 4 ? static_cast<T>(__builtin_sqrtf(static_cast<float>(variance + epsilon)))
                                  : static_cast<T>(__builtin_sqrt(static_cast<double>(variance + epsilon))));
    row(n, x, m, rstd[r], gamma, beta, y);
  }
}

// Its gradients: dx = rstd * gamma[j] * dy + b * (x - mean) + c; dgamma[j] += dy * (x - mean) * rstd; dbeta[j] += dy.
// dx, dgamma, dbeta: may be absent
template <class T>
static void row_gradient(ptrdiff_t n, const T* dy, const T* x, const T* gamma, T mean, T rstd, T b, T c, T* dx,
                         T* dgamma, T* dbeta) {
  const Vec<T> m = splat(mean), s = splat(rstd), bv = splat(b), cv = splat(c);
  each_vector<T>(n, [=](ptrdiff_t j, ptrdiff_t left) INLINED {
    const Vec<T> d = get(dy + j, left), centred = get(x + j, left) - m;
    if (dx) put(dx + j, (gamma ? d * get(gamma + j, left) : d) * s + (bv * centred + cv), left);
    if (dgamma) put(dgamma + j, get(dgamma + j, left) + d * (centred * s), left);
    if (dbeta) put(dbeta + j, get(dbeta + j, left) + d, left);
  });
}

// The same, b and c included, of ROWS short rows together: what lies across them is loaded once, and their sums do not
// wait for each other.
template <class T, int ROWS>
INLINE void some_rows_gradient(ptrdiff_t n, const T* dy, const T* x, const T* gamma, const T* mean, const T* rstd,
                               T* dx, T* dgamma, T* dbeta) {
  constexpr int L = LANES<T>;
  Vec<T> m[ROWS], scale[ROWS], b[ROWS], c[ROWS], sum[ROWS] = {}, product[ROWS] = {};
  for (int r = 0; r < ROWS; ++r) m[r] = splat(mean[r]), scale[r] = splat(rstd[r]);
  for (ptrdiff_t j = 0; dx && j < n; j += L) {
    const Vec<T> g = gamma ? get(gamma + j, n - j) : splat(T(1));
    for (int r = 0; r < ROWS; ++r) {
      const Vec<T> d = get(dy + r * n + j, n - j) * g;
      sum[r] += d;
      product[r] += d * (get(x + r * n + j, n - j) - m[r]);
    }
  }
  for (int r = 0; r < ROWS; ++r) {
    const double s = rstd[r], share = s / static_cast<double>(n);
    b[r] = splat(static_cast<T>(-share * s * s * static_cast<double>(joined_lanes<Plus>(product[r]))));
    c[r] = splat(static_cast<T>(-share * static_cast<double>(joined_lanes<Plus>(sum[r]))));
  }
  for (ptrdiff_t j = 0; j < n; j += L) {
    const ptrdiff_t left = n - j;
    const Vec<T> g = gamma ? get(gamma + j, left) : splat(T(1));
    Vec<T> of_gamma = dgamma ? get(dgamma + j, left) : Vec<T>{}, of_beta = dbeta ? get(dbeta + j, left) : Vec<T>{};
    for (int r = 0; r < ROWS; ++r) {
      const Vec<T> d = get(dy + r * n + j, left), centred = get(x + r * n + j, left) - m[r];
      if (dx) put(dx + r * n + j, (d * g) * scale[r] + (b[r] * centred + c[r]), left);
      of_gamma += d * (centred * scale[r]);
      of_beta += d;
    }
    if (dgamma) put(dgamma + j, of_gamma, left);
    if (dbeta) put(dbeta + j, of_beta, left);
  }
}
template <class T>
static void rows_gradient(ptrdiff_t count, ptrdiff_t n, const T* dy, const T* x, const T* gamma, const T* mean,
                          const T* rstd, T* dx, T* dgamma, T* dbeta) {
  ptrdiff_t r = 0;
  for (; r + 4 <= count; r += 4)
    some_rows_gradient<T, 4>(n, dy + r * n, x + r * n, gamma, mean + r, rstd + r, dx ? dx + r * n : nullptr, dgamma,
                             dbeta);
  for (; r < count; ++r)
    some_rows_gradient<T, 1>(n, dy + r * n, x + r * n, gamma, mean + r, rstd + r, dx ? dx + r * n : nullptr, dgamma,
                             dbeta);
}

template <class T>
constexpr NormKernels<T> norm_table = {
    {normalize<T, false>, normalize<T, true>},
    sums<T>,
    run_sums<T>,
    {gradient<T, false>, gradient<T, true>},
    row<T>,
    rows<T>,
    row_gradient<T>,
    rows_gradient<T>,
};
extern const NormKernels<float> norm_f32;
extern const NormKernels<double> norm_f64;
constinit const NormKernels<float> norm_f32 = norm_table<float>;
constinit const NormKernels<double> norm_f64 = norm_table<double>;

}  // namespace nnfast::NNFAST_ISA
