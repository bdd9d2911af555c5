// softmax: rows that lie in memory one after another, columns side by side, their gradients, and rows with their
// cross-entropy. Everything is computed from the distances to the largest element, so nothing overflows.
// An output may be the input itself.
#include "../kernels.h"
#include "fold.h"
#include "math.h"

namespace nnfast::NNFAST_ISA {

constexpr ptrdiff_t PIECE = 1024;  // elements that are added up in T before they go into a double

template <class T>
INLINE T largest(const T* x, ptrdiff_t n) {
  constexpr int L = LANES<T>;
  const T lowest = -T(__builtin_inf());
  Vec<T> a = splat(lowest), b = a;
  ptrdiff_t i = 0;
  for (; i + 2 * L <= n; i += 2 * L) {
    a = Largest::join(a, load(x + i));
    b = Largest::join(b, load(x + i + L));
  }
  for (; i < n; i += L) a = Largest::join(a, load_some(x + i, n - i < L ? n - i : L, lowest));
  return joined_lanes<Largest>(Largest::join(a, b));
}

// The sum of value(i, count) over the vectors of a row: the elements from i on, `count` of them, zeros beyond.
template <class T, class Value>
INLINE double sum_of(ptrdiff_t n, const Value& value) {
  constexpr int L = LANES<T>;
  double total = 0;
  for (ptrdiff_t begin = 0; begin < n; begin += PIECE) {
    const ptrdiff_t end = n - begin < PIECE ? n : begin + PIECE;
    Vec<T> a = {}, b = {};
    ptrdiff_t i = begin;
    for (; i + 2 * L <= end; i += 2 * L) {
      a += value(i, L);
      b += value(i + L, L);
    }
    for (; i < end; i += L) {
      const ptrdiff_t count = end - i < L ? end - i : L;
      a += count == L ? value(i, L) : select<T>(first_lanes<T>(count), value(i, count), Vec<T>{});
    }
    total += joined_lanes<Plus>(a + b);
  }
  return total;
}
// y[i...] = value(i, count)
template <class T, class Value>
INLINE void fill_row(T* y, ptrdiff_t n, const Value& value) {
  constexpr int L = LANES<T>;
  ptrdiff_t i = 0;
  for (; i + L <= n; i += L) store(y + i, value(i, L));
  if (i < n) store_some(y + i, value(i, n - i), n - i);
}
template <class T>
INLINE Vec<T> part(const T* x, ptrdiff_t count) {
  return count == LANES<T> ? load(x) : load_some(x, count);
}
template <class T>
INLINE void put(T* y, Vec<T> v, ptrdiff_t count) {
  if (count == LANES<T>)
    store(y, v);
  else
    store_some(y, v, count);
}

// y = exp(x - max) / sum
template <class T>
static void softmax_row(const T* x, T* y, ptrdiff_t n) {
  if (n <= LANES<T>) {  // one vector, which stays in its register
    const Vec<T> v = load_some(x, n, -T(__builtin_inf())), e = exp(v - splat(joined_lanes<Largest>(v)));
    return store_some(y, e * splat(T(1) / joined_lanes<Plus>(e)), n);
  }
  const Vec<T> top = splat(largest(x, n));
  const double sum = sum_of<T>(n, [&](ptrdiff_t i, ptrdiff_t count) {
    const Vec<T> e = exp(part(x + i, count) - top);
    put(y + i, e, count);
    return e;
  });
  const Vec<T> scale = splat(T(1 / sum));
  fill_row(y, n, [&](ptrdiff_t i, ptrdiff_t count) { return part(y + i, count) * scale; });
}
// y = x - max - log(sum(exp(x - max)))
template <class T>
static void log_softmax_row(const T* x, T* y, ptrdiff_t n) {
  const Vec<T> top = splat(largest(x, n));
  const double sum = sum_of<T>(n, [&](ptrdiff_t i, ptrdiff_t count) { return exp(part(x + i, count) - top); });
  const Vec<T> less = splat(T(__builtin_log(sum)));
  fill_row(y, n, [&](ptrdiff_t i, ptrdiff_t count) { return part(x + i, count) - top - less; });
}
// dx = y * (dy - sum(dy * y))
template <class T>
static void softmax_row_gradient(const T* dy, const T* y, T* dx, ptrdiff_t n) {
  const Vec<T> dot =
      splat(T(sum_of<T>(n, [&](ptrdiff_t i, ptrdiff_t count) { return part(dy + i, count) * part(y + i, count); })));
  fill_row(dx, n, [&](ptrdiff_t i, ptrdiff_t count) { return part(y + i, count) * (part(dy + i, count) - dot); });
}
// dx = dy - exp(y) * sum(dy)
template <class T>
static void log_softmax_row_gradient(const T* dy, const T* y, T* dx, ptrdiff_t n) {
  const Vec<T> sum = splat(T(sum_of<T>(n, [&](ptrdiff_t i, ptrdiff_t count) { return part(dy + i, count); })));
  fill_row(dx, n, [&](ptrdiff_t i, ptrdiff_t count) { return part(dy + i, count) - exp(part(y + i, count)) * sum; });
}

// Columns: x[r * step + j], j < n <= SOFTMAX_COLUMNS, are `rows` rows; the softmax runs down each column.
// For each row and vector of it: fn(offset, j, count).
template <class T, class Fn>
INLINE void for_columns(ptrdiff_t rows, ptrdiff_t step, ptrdiff_t n, const Fn& fn) {
  constexpr int L = LANES<T>;
  for (ptrdiff_t r = 0; r < rows; ++r) {
    ptrdiff_t j = 0;
    for (; j + L <= n; j += L) fn(r * step + j, j, L);
    if (j < n) fn(r * step + j, j, n - j);
  }
}
// sum[j] = value(offset, j, count) down each column, PIECE / 16 rows at a time.
template <class T, class Value>
INLINE void sum_columns(T* sum, ptrdiff_t rows, ptrdiff_t step, ptrdiff_t n, const Value& value) {
  constexpr ptrdiff_t SOME = PIECE / 16;
  T block[SOFTMAX_COLUMNS + LANES<T>];
  for (ptrdiff_t j = 0; j < n; ++j) sum[j] = 0;
  for (ptrdiff_t begin = 0; begin < rows; begin += SOME) {
    for (ptrdiff_t j = 0; j < n; ++j) block[j] = 0;
    for_columns<T>(rows - begin < SOME ? rows - begin : SOME, step, n, [&](ptrdiff_t at, ptrdiff_t j, ptrdiff_t count) {
      put(block + j, part(block + j, count) + value(begin * step + at, j, count), count);
    });
    for (ptrdiff_t j = 0; j < n; ++j) sum[j] += block[j];
  }
}
template <class T>
INLINE void largest_columns(T* top, const T* x, ptrdiff_t rows, ptrdiff_t step, ptrdiff_t n) {
  for (ptrdiff_t j = 0; j < n; ++j) top[j] = -T(__builtin_inf());
  for_columns<T>(rows, step, n, [&](ptrdiff_t at, ptrdiff_t j, ptrdiff_t count) {
    put(top + j, Largest::join(part(top + j, count), part(x + at, count)), count);
  });
}
template <class T>
static void softmax_columns(const T* x, T* y, ptrdiff_t rows, ptrdiff_t step, ptrdiff_t n) {
  T top[SOFTMAX_COLUMNS], sum[SOFTMAX_COLUMNS];
  largest_columns(top, x, rows, step, n);
  sum_columns(sum, rows, step, n, [&](ptrdiff_t at, ptrdiff_t j, ptrdiff_t count) {
    const Vec<T> e = exp(part(x + at, count) - part(top + j, count));
    put(y + at, e, count);
    return e;
  });
  for (ptrdiff_t j = 0; j < n; ++j) sum[j] = 1 / sum[j];
  for_columns<T>(rows, step, n, [&](ptrdiff_t at, ptrdiff_t j, ptrdiff_t count) {
    put(y + at, part(y + at, count) * part(sum + j, count), count);
  });
}
template <class T>
static void log_softmax_columns(const T* x, T* y, ptrdiff_t rows, ptrdiff_t step, ptrdiff_t n) {
  T top[SOFTMAX_COLUMNS], sum[SOFTMAX_COLUMNS];
  largest_columns(top, x, rows, step, n);
  sum_columns(sum, rows, step, n, [&](ptrdiff_t at, ptrdiff_t j, ptrdiff_t count) {
    return exp(part(x + at, count) - part(top + j, count));
  });
  fill_row(sum, n, [&](ptrdiff_t j, ptrdiff_t count) { return log(part(sum + j, count)); });
  for_columns<T>(rows, step, n, [&](ptrdiff_t at, ptrdiff_t j, ptrdiff_t count) {
    put(y + at, part(x + at, count) - part(top + j, count) - part(sum + j, count), count);
  });
}
template <class T>
static void softmax_columns_gradient(const T* dy, const T* y, T* dx, ptrdiff_t rows, ptrdiff_t step, ptrdiff_t n) {
  T dot[SOFTMAX_COLUMNS];
  sum_columns(dot, rows, step, n,
              [&](ptrdiff_t at, ptrdiff_t, ptrdiff_t count) { return part(dy + at, count) * part(y + at, count); });
  for_columns<T>(rows, step, n, [&](ptrdiff_t at, ptrdiff_t j, ptrdiff_t count) {
    put(dx + at, part(y + at, count) * (part(dy + at, count) - part(dot + j, count)), count);
  });
}
template <class T>
static void log_softmax_columns_gradient(const T* dy, const T* y, T* dx, ptrdiff_t rows, ptrdiff_t step, ptrdiff_t n) {
  T sum[SOFTMAX_COLUMNS];
  sum_columns(sum, rows, step, n, [&](ptrdiff_t at, ptrdiff_t, ptrdiff_t count) { return part(dy + at, count); });
  for_columns<T>(rows, step, n, [&](ptrdiff_t at, ptrdiff_t j, ptrdiff_t count) {
    put(dx + at, part(dy + at, count) - exp(part(y + at, count)) * part(sum + j, count), count);
  });
}

template <class T>
INLINE Bits<T> only_lane(ptrdiff_t n) {
  Bits<T> lane;
  for (int i = 0; i < LANES<T>; ++i) lane[i] = i;
  return lane == static_cast<Index<T>>(n);
}

// Cross-entropy. The target t of a row is keep at its label and spread elsewhere (keep + spread at the label), or
// keep * soft + spread. With p = softmax(x) and T = sum(t):
//   loss = weight * (T log(sum(exp(x - max))) - sum(t (x - max))),   dx = weight * scale * (T p - t).
// HARD: spread is 0.
enum Target { HARD, SMOOTH, SOFT };

// sum(t (x - max)) without the label's keep, and exp(x - max) into dx, for a row longer than a vector.
// dx null: the exponentials are summed alone.
template <class T, Target TARGET>
INLINE double exp_row(const XentRows<T>& q, const T* x, const T* soft, T top, T* dx, double& dot) {
  dot = 0;
  if (TARGET != HARD)
    dot = sum_of<T>(q.n, [&](ptrdiff_t i, ptrdiff_t count) {
      const Vec<T> d = part(x + i, count) - top;
      if (TARGET == SMOOTH) return d * q.spread;
      const Vec<T> t = part(soft + i, count) * q.keep + q.spread;
      return select<T>(t != T(0), t * d, Vec<T>{});  // a logit of -Inf costs nothing where its target is 0
    });
  return sum_of<T>(q.n, [&](ptrdiff_t i, ptrdiff_t count) {
    const Vec<T> e = exp(part(x + i, count) - top);
    if (dx) put(dx + i, e, count);
    return e;
  });
}

template <class T, Target TARGET>
static ptrdiff_t xent(const XentRows<T>& q) {
  constexpr int L = LANES<T>;
  T sum[XENT_ROWS], rest[XENT_ROWS];  // of each row: sum(exp(x - max)), sum(t (x - max))
  ptrdiff_t correct = 0;
  for (ptrdiff_t r = 0; r < q.rows; ++r) {
    const T* x = q.x + r * q.x_step;
    const T* soft = TARGET == SOFT ? q.soft + r * q.soft_step : nullptr;
    T* dx = q.dx ? q.dx + r * q.n : nullptr;
    const ptrdiff_t label = q.label[r];
    sum[r] = 1;
    rest[r] = 0;
    if (label < 0) {  // a row without loss
      if (dx) fill_row(dx, q.n, [](ptrdiff_t, ptrdiff_t) { return Vec<T>{}; });
      continue;
    }
    const T at_label = x[label], factor = q.weight[r] * q.scale;
    const T total = TARGET == SOFT ? q.keep * q.total[r] + q.spread * static_cast<T>(q.n) : T(1);
    if (q.n <= L && TARGET != SOFT) {  // one vector, which stays in its register
      const Vec<T> v = load_some(x, q.n, -T(__builtin_inf()));
      const T top = joined_lanes<Largest>(v);
      if (at_label == top || top != top) correct += find(x, label + 1, top) == label;
      const Vec<T> e = exp(v - top);
      sum[r] = joined_lanes<Plus>(e);
      rest[r] = q.keep * (at_label - top);
      if (TARGET == SMOOTH) rest[r] += q.spread * joined_lanes<Plus>(select<T>(first_lanes<T>(q.n), v - top, Vec<T>{}));
      if (!dx) continue;
      const Vec<T> t = select<T>(only_lane<T>(label), splat(q.spread + q.keep), splat(q.spread));
      store_some(dx, e * (factor / sum[r]) - t * factor, q.n);
    } else {
      const T top = largest(x, q.n);
      if (at_label == top || top != top) correct += find(x, label + 1, top) == label;
      double dot;
      const double all = exp_row<T, TARGET>(q, x, soft, top, dx, dot);
      sum[r] = T(all);
      rest[r] = T(TARGET == SOFT ? dot : dot + q.keep * (at_label - top));
      if (!dx) continue;
      const Vec<T> scale = splat(T(factor * total / all)), less = splat(factor * q.spread);
      fill_row(dx, q.n, [&](ptrdiff_t i, ptrdiff_t count) {
        const Vec<T> e = part(dx + i, count) * scale;
        if (TARGET == HARD) return e;
        if (TARGET == SMOOTH) return e - less;
        return e - (part(soft + i, count) * q.keep + q.spread) * factor;
      });
      if (TARGET != SOFT) dx[label] -= factor * q.keep;
    }
  }
  fill_row(sum, q.rows, [&](ptrdiff_t i, ptrdiff_t count) { return log(part(sum + i, count)); });
  for (ptrdiff_t r = 0; r < q.rows; ++r) {
    const T total = TARGET == SOFT ? q.keep * q.total[r] + q.spread * static_cast<T>(q.n) : T(1);
    q.loss[r] = q.label[r] < 0 ? 0 : q.weight[r] * (total * sum[r] - rest[r]);
  }
  return correct;
}
template <class T>
static ptrdiff_t xent_rows(const XentRows<T>& q) {
  if (q.soft) return xent<T, SOFT>(q);
  return q.spread != 0 ? xent<T, SMOOTH>(q) : xent<T, HARD>(q);
}

// loss = log(1 + exp(x)) - x t, dx = sigmoid(x) - t. Outputs may be the inputs.
template <class T>
static void sigmoid_xent(const T* x, const T* t, T* loss, T* dx, ptrdiff_t n) {
  for (ptrdiff_t i = 0; i < n; i += LANES<T>) {
    const ptrdiff_t count = n - i < LANES<T> ? n - i : LANES<T>;
    const Vec<T> v = part(x + i, count), target = part(t + i, count), e = exp(-abs(v));
    put(loss + i, max_or_second(v, Vec<T>{}) - v * target + log1p(e), count);
    put(dx + i, select(v < T(0), e, T(1)) / (e + T(1)) - target, count);
  }
}

template <class T>
constexpr SoftmaxKernels<T> softmax_table = {
    {softmax_row<T>, log_softmax_row<T>},
    {softmax_row_gradient<T>, log_softmax_row_gradient<T>},
    {softmax_columns<T>, log_softmax_columns<T>},
    {softmax_columns_gradient<T>, log_softmax_columns_gradient<T>},
    xent_rows<T>,
    sigmoid_xent<T>,
};
extern const SoftmaxKernels<float> softmax_f32;
extern const SoftmaxKernels<double> softmax_f64;
constinit const SoftmaxKernels<float> softmax_f32 = softmax_table<float>;
constinit const SoftmaxKernels<double> softmax_f64 = softmax_table<double>;

}  // namespace nnfast::NNFAST_ISA
