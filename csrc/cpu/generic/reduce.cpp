// reduce: folds of a run of elements or of rows of columns, and the gradients that give each element its share.
#include "../kernels.h"
#include "fold.h"
#include "math.h"

namespace nnfast::NNFAST_ISA {

// A fold adds to a way of joining what an element contributes; s is a number of the result that it goes into.
struct Sum : Plus {
  template <class T>
  INLINE Vec<T> element(Vec<T> x, Vec<T>) {
    return x;
  }
};
struct Prod : Times {
  template <class T>
  INLINE Vec<T> element(Vec<T> x, Vec<T>) {
    return x;
  }
};
struct Max : Largest {
  template <class T>
  INLINE Vec<T> element(Vec<T> x, Vec<T>) {
    return x;
  }
};
struct Min : Smallest {
  template <class T>
  INLINE Vec<T> element(Vec<T> x, Vec<T>) {
    return x;
  }
};
struct Squares : Plus {
  template <class T>
  INLINE Vec<T> element(Vec<T> x, Vec<T> s) {
    return (x - s) * (x - s);
  }
};
struct Exp : Plus {
  template <class T>
  INLINE Vec<T> element(Vec<T> x, Vec<T> s) {
    return exp(x - s);
  }
};
struct Equal : Plus {
  template <class T>
  INLINE Vec<T> element(Vec<T> x, Vec<T> s) {
    return select<T>(x == s, splat<T>(1), splat<T>(0));
  }
};
struct ProdNonzero : Times {
  template <class T>
  INLINE Vec<T> element(Vec<T> x, Vec<T>) {
    return select<T>(x == T(0), splat<T>(1), x);
  }
};

template <class F, class T>
static T run(const T* x, ptrdiff_t n, T s) {
  constexpr int L = LANES<T>;
  const Vec<T> shift = splat(s), identity = splat<T>(T(F::IDENTITY));
  Vec<T> part[4] = {identity, identity, identity, identity};
  ptrdiff_t i = 0;
  for (; i + 4 * L <= n; i += 4 * L)
    for (int v = 0; v < 4; ++v) part[v] = F::join(part[v], F::template element<T>(load(x + i + v * L), shift));
  for (; i + L <= n; i += L) part[0] = F::join(part[0], F::template element<T>(load(x + i), shift));
  if (i < n) {
    const Vec<T> last = F::template element<T>(load_some(x + i, n - i), shift);
    part[1] = F::join(part[1], select<T>(first_lanes<T>(n - i), last, identity));
  }
  return joined_lanes<F>(F::join(F::join(part[0], part[1]), F::join(part[2], part[3])));
}

// The same for Max and Min: NaN is looked for beside, two vectors at a time, which takes half the instructions.
template <class F, class T>
static T extreme_run(const T* x, ptrdiff_t n, T) {
  constexpr int L = LANES<T>;
  const Vec<T> identity = splat<T>(T(F::IDENTITY));
  Vec<T> part[4] = {identity, identity, identity, identity};
  Bits<T> nan = {};
  ptrdiff_t i = 0;
  for (; i + 4 * L <= n; i += 4 * L) {
    const Vec<T> v[4] = {load(x + i), load(x + i + L), load(x + i + 2 * L), load(x + i + 3 * L)};
    for (int k = 0; k < 4; ++k) part[k] = F::join_numbers(part[k], v[k]);
    nan |= either_is_nan(v[0], v[1]) | either_is_nan(v[2], v[3]);
  }
  for (; i < n; i += L) {
    const Vec<T> v = load_some(x + i, n - i, T(F::IDENTITY));
    part[0] = F::join_numbers(part[0], v);
    nan |= is_nan(v);
  }
  const Vec<T> best = F::join_numbers(F::join_numbers(part[0], part[1]), F::join_numbers(part[2], part[3]));
  return joined_lanes<F>(select(nan, splat(T(__builtin_nan(""))), best));
}

// ROWS rows at a time: as many streams, added up pairwise before they meet what was there.
template <class F, class T, int ROWS>
INLINE void some_rows(T* acc, const T* x, ptrdiff_t row_step, ptrdiff_t n, const T* s) {
  constexpr int L = LANES<T>;
  const auto together = [](Vec<T>* row) {
    for (int half = ROWS / 2; half > 0; half /= 2)
      for (int r = 0; r < half; ++r) row[r] = F::join(row[r], row[r + half]);
    return row[0];
  };
  Vec<T> row[ROWS];
  ptrdiff_t j = 0;
  for (; j + L <= n; j += L) {
    const Vec<T> shift = s ? load(s + j) : Vec<T>{};
    for (int r = 0; r < ROWS; ++r) row[r] = F::template element<T>(load(x + r * row_step + j), shift);
    store(acc + j, F::join(load(acc + j), together(row)));
  }
  if (j < n) {
    const Vec<T> shift = s ? load_some(s + j, n - j) : Vec<T>{};
    for (int r = 0; r < ROWS; ++r) row[r] = F::template element<T>(load_some(x + r * row_step + j, n - j), shift);
    store_some(acc + j, F::join(load_some(acc + j, n - j), together(row)), n - j);
  }
}
template <class F, class T>
static void columns(T* acc, const T* x, ptrdiff_t rows, ptrdiff_t row_step, ptrdiff_t n, const T* s) {
  constexpr int ROWS = __is_same(F, Exp) ? 2 : 8;  // exp needs the registers for itself
  for (; rows >= ROWS; rows -= ROWS, x += ROWS * row_step) some_rows<F, T, ROWS>(acc, x, row_step, n, s);
  for (; rows > 0; --rows, x += row_step) some_rows<F, T, 1>(acc, x, row_step, n, s);
}

// Shares: dx of one element from x and two numbers a, b of the result that it went into.
struct ShareEqual {  // b is dy / (how many are equal); without any (NaN) it is not finite, and so is b * 0
  template <class T>
  INLINE Vec<T> of(Vec<T> x, Vec<T> a, Vec<T> b) {
    return select<T>(x == a, b, b * T(0));
  }
};
struct ShareProd {  // a is dy * (product of those that are not zero), b how many are zero
  template <class T>
  INLINE Vec<T> of(Vec<T> x, Vec<T> a, Vec<T> b) {
    const Vec<T> zero = splat<T>(0);
    return select<T>(b == T(0), a / x, select<T>((b == T(1)) & (x == T(0)), a, zero));
  }
};
struct ShareVar {  // a is the mean, b is 2 dy / count
  template <class T>
  INLINE Vec<T> of(Vec<T> x, Vec<T> a, Vec<T> b) {
    return (x - a) * b;
  }
};
struct ShareExp {  // a is log(sum(exp(x))), b is dy
  template <class T>
  INLINE Vec<T> of(Vec<T> x, Vec<T> a, Vec<T> b) {
    return exp(x - a) * b;
  }
};

template <class S, class T, bool EACH>
INLINE void share_of(T* dx, const T* x, ptrdiff_t n, const T* a, const T* b) {
  constexpr int L = LANES<T>;
  ptrdiff_t i = 0;
  for (; i + L <= n; i += L) {
    const Vec<T> av = EACH ? load(a + i) : splat(*a), bv = EACH ? load(b + i) : splat(*b);
    store(dx + i, S::template of<T>(load(x + i), av, bv));
  }
  if (i < n) {
    const Vec<T> av = EACH ? load_some(a + i, n - i) : splat(*a), bv = EACH ? load_some(b + i, n - i) : splat(*b);
    store_some(dx + i, S::template of<T>(load_some(x + i, n - i), av, bv), n - i);
  }
}
template <class S, class T>
static void share(T* dx, const T* x, ptrdiff_t n, const T* a, const T* b, bool each) {
  each ? share_of<S, T, true>(dx, x, n, a, b) : share_of<S, T, false>(dx, x, n, a, b);
}

template <class T>
constexpr ReduceKernels<T> reduce_table = {
    {run<Sum, T>, run<Prod, T>, extreme_run<Max, T>, extreme_run<Min, T>, run<Squares, T>, run<Exp, T>, run<Equal, T>,
     run<ProdNonzero, T>},
    {columns<Sum, T>, columns<Prod, T>, columns<Max, T>, columns<Min, T>, columns<Squares, T>, columns<Exp, T>,
     columns<Equal, T>, columns<ProdNonzero, T>},
    {share<ShareEqual, T>, share<ShareProd, T>, share<ShareVar, T>, share<ShareExp, T>},
    find<T>,
};
extern const ReduceKernels<float> reduce_f32;
extern const ReduceKernels<double> reduce_f64;
constinit const ReduceKernels<float> reduce_f32 = reduce_table<float>;
constinit const ReduceKernels<double> reduce_f64 = reduce_table<double>;

}  // namespace nnfast::NNFAST_ISA
