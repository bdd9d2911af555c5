// Optimizer steps on contiguous arrays of n elements: each array is read and written once. CMake compiles this file
// without contraction (a * b + c rounds twice): the limit is memory, and all ISAs give the same bits.
#include "../kernels.h"
#include "math.h"

namespace nnfast::NNFAST_ISA {

// Vectors of up to LANES elements: fn(i, count) where count < LANES only for the last.
template <class T, class F>
INLINE void for_vectors(ptrdiff_t n, F fn) {
  ptrdiff_t i = 0;
  for (; i + LANES<T> <= n; i += LANES<T>) fn(i, LANES<T>);
  if (i < n) fn(i, n - i);
}
template <class T>
INLINE Vec<T> get(const T* p, ptrdiff_t count) {
  return count == LANES<T> ? load(p) : load_some(p, count);
}
template <class T>
INLINE void put(T* p, Vec<T> v, ptrdiff_t count) {
  if (count == LANES<T>)
    store(p, v);
  else
    store_some(p, v, count);
}

// The gradient with that of an L2 penalty. Without one it stays as it is, whatever w is.
template <class T>
INLINE Vec<T> with_l2(Vec<T> g, Vec<T> w, T l2) {
  return l2 == T(0) ? g : g + l2 * w;
}

template <class T, bool MOMENTUM, bool NESTEROV>
static void sgd_of(const OptimizerArrays<T>& a, ptrdiff_t n, const SgdRates<T>& r) {
  for_vectors<T>(n, [&](ptrdiff_t i, ptrdiff_t count) __attribute__((always_inline)) {
    const Vec<T> w = get(a.w + i, count), step = r.in * with_l2(get(a.g + i, count), w, r.l2);
    const Vec<T> shrunk = w - w * r.decay;
    if constexpr (MOMENTUM) {
      const Vec<T> m = r.momentum * get(a.state[0] + i, count) + step;
      put(a.state[0] + i, m, count);
      put(a.w + i, shrunk + r.out * (NESTEROV ? r.momentum * m + step : m), count);
    } else {
      put(a.w + i, shrunk + r.out * step, count);
    }
  });
}
template <class T>
static void sgd(const OptimizerArrays<T>& a, ptrdiff_t n, const SgdRates<T>& r) {
  if (!a.state[0]) return sgd_of<T, false, false>(a, n, r);
  return r.nesterov ? sgd_of<T, true, true>(a, n, r) : sgd_of<T, true, false>(a, n, r);
}

template <class T, bool MOMENTUM, bool CENTERED>
static void rmsprop_of(const OptimizerArrays<T>& a, ptrdiff_t n, const RmspropRates<T>& r) {
  for_vectors<T>(n, [&](ptrdiff_t i, ptrdiff_t count) __attribute__((always_inline)) {
    const Vec<T> w = get(a.w + i, count), g = with_l2(get(a.g + i, count), w, r.l2);
    const Vec<T> v = r.rho * get(a.state[0] + i, count) + r.rest * g * g;
    put(a.state[0] + i, v, count);
    Vec<T> spread = v;
    if constexpr (CENTERED) {
      const Vec<T> mean = r.rho * get(a.state[2] + i, count) + r.rest * g;
      put(a.state[2] + i, mean, count);
      spread = v - mean * mean;
    }
    Vec<T> step = r.in * g / (sqrt(spread + r.inside) + r.outside);
    if constexpr (MOMENTUM) {
      step = r.momentum * get(a.state[1] + i, count) + step;
      put(a.state[1] + i, step, count);
    }
    put(a.w + i, w - w * r.decay - r.out * step, count);
  });
}
template <class T>
static void rmsprop(const OptimizerArrays<T>& a, ptrdiff_t n, const RmspropRates<T>& r) {
  if (a.state[1]) return a.state[2] ? rmsprop_of<T, true, true>(a, n, r) : rmsprop_of<T, true, false>(a, n, r);
  return a.state[2] ? rmsprop_of<T, false, true>(a, n, r) : rmsprop_of<T, false, false>(a, n, r);
}

template <class T, bool AMSGRAD>
static void adam_of(const OptimizerArrays<T>& a, ptrdiff_t n, const AdamRates<T>& r) {
  for_vectors<T>(n, [&](ptrdiff_t i, ptrdiff_t count) __attribute__((always_inline)) {
    const Vec<T> w = get(a.w + i, count), g = with_l2(get(a.g + i, count), w, r.l2);
    const Vec<T> m = get(a.state[0] + i, count), v = get(a.state[1] + i, count);
    const Vec<T> new_m = m + r.rest_1 * (g - m), new_v = v + r.rest_2 * (g * g - v);
    put(a.state[0] + i, new_m, count);
    put(a.state[1] + i, new_v, count);
    Vec<T> spread = new_v;
    if constexpr (AMSGRAD) {
      spread = max(get(a.state[2] + i, count), new_v);
      put(a.state[2] + i, spread, count);
    }
    put(a.w + i, w - w * r.decay - r.rate * new_m / (sqrt(spread) + r.epsilon), count);
  });
}
template <class T>
static void adam(const OptimizerArrays<T>& a, ptrdiff_t n, const AdamRates<T>& r) {
  return a.state[2] ? adam_of<T, true>(a, n, r) : adam_of<T, false>(a, n, r);
}

template <class T>
static void adagrad(const OptimizerArrays<T>& a, ptrdiff_t n, const AdagradRates<T>& r) {
  for_vectors<T>(n, [&](ptrdiff_t i, ptrdiff_t count) __attribute__((always_inline)) {
    const Vec<T> w = get(a.w + i, count), g = with_l2(get(a.g + i, count), w, r.l2);
    const Vec<T> sum = get(a.state[0] + i, count) + g * g;
    put(a.state[0] + i, sum, count);
    put(a.w + i, w - w * r.decay - r.out * (r.in * g / (sqrt(sum + r.inside) + r.outside)), count);
  });
}

template <class T>
static void adadelta(const OptimizerArrays<T>& a, ptrdiff_t n, const AdadeltaRates<T>& r) {
  for_vectors<T>(n, [&](ptrdiff_t i, ptrdiff_t count) __attribute__((always_inline)) {
    const Vec<T> w = get(a.w + i, count), g = get(a.g + i, count), moved = get(a.state[1] + i, count);
    const Vec<T> v = r.rho * get(a.state[0] + i, count) + r.rest * g * g;
    put(a.state[0] + i, v, count);
    const Vec<T> step = sqrt(moved + r.epsilon) * g / sqrt(v + r.epsilon);
    put(a.state[1] + i, r.rho * moved + r.rest * step * step, count);
    put(a.w + i, w - w * r.decay - r.rate * step, count);
  });
}

template <class T>
static void adamax(const OptimizerArrays<T>& a, ptrdiff_t n, const AdamaxRates<T>& r) {
  for_vectors<T>(n, [&](ptrdiff_t i, ptrdiff_t count) __attribute__((always_inline)) {
    const Vec<T> w = get(a.w + i, count), g = get(a.g + i, count), old_m = get(a.state[0] + i, count);
    const Vec<T> m = old_m + r.rest_1 * (g - old_m), u = max(r.beta_2 * get(a.state[1] + i, count), abs(g));
    put(a.state[0] + i, m, count);
    put(a.state[1] + i, u, count);
    put(a.w + i, w - w * r.decay - r.rate * m / (u + r.epsilon), count);
  });
}

template <class T>
static void nadam(const OptimizerArrays<T>& a, ptrdiff_t n, const NadamRates<T>& r) {
  for_vectors<T>(n, [&](ptrdiff_t i, ptrdiff_t count) __attribute__((always_inline)) {
    const Vec<T> w = get(a.w + i, count), g = get(a.g + i, count);
    const Vec<T> old_m = get(a.state[0] + i, count), old_v = get(a.state[1] + i, count);
    const Vec<T> m = old_m + r.rest_1 * (g - old_m), v = old_v + r.rest_2 * (g * g - old_v);
    put(a.state[0] + i, m, count);
    put(a.state[1] + i, v, count);
    const Vec<T> ahead = r.of_m * m + r.of_g * g;
    put(a.w + i, w - w * r.decay - ahead / (sqrt(v * r.of_v) + r.epsilon), count);
  });
}

template <class T>
static void lion(const OptimizerArrays<T>& a, ptrdiff_t n, const LionRates<T>& r) {
  for_vectors<T>(n, [&](ptrdiff_t i, ptrdiff_t count) __attribute__((always_inline)) {
    const Vec<T> w = get(a.w + i, count), g = get(a.g + i, count), m = get(a.state[0] + i, count);
    put(a.state[0] + i, r.beta_2 * m + r.rest_2 * g, count);
    put(a.w + i, w - w * r.decay - r.rate * sign(r.beta_1 * m + r.rest_1 * g), count);
  });
}

template <class T, bool ROOT>
static void ftrl_of(const OptimizerArrays<T>& a, ptrdiff_t n, const FtrlRates<T>& r) {
  const auto power = [&](Vec<T> x) __attribute__((always_inline)) {
    if constexpr (ROOT)
      return sqrt(x);
    else
      return pow(x, splat(r.power));
  };
  for_vectors<T>(n, [&](ptrdiff_t i, ptrdiff_t count) __attribute__((always_inline)) {
    const Vec<T> before = get(a.w + i, count), g = get(a.g + i, count), sum = get(a.state[0] + i, count);
    const Vec<T> w = before - before * r.decay, new_sum = sum + g * g, grown = power(new_sum);
    const Vec<T> linear = get(a.state[1] + i, count) + (g + r.shrinkage * w - (grown - power(sum)) / r.rate * w);
    put(a.state[0] + i, new_sum, count);
    put(a.state[1] + i, linear, count);
    put(a.w + i, (clamp(linear, -r.l1, r.l1) - linear) / (grown / r.rate + r.l2), count);
  });
}
template <class T>
static void ftrl(const OptimizerArrays<T>& a, ptrdiff_t n, const FtrlRates<T>& r) {
  return r.power == T(0.5) ? ftrl_of<T, true>(a, n, r) : ftrl_of<T, false>(a, n, r);
}

template <class T>
static void average_weights(const OptimizerArrays<T>& a, ptrdiff_t n, const AverageRates<T>& r) {
  for_vectors<T>(n, [&](ptrdiff_t i, ptrdiff_t count) __attribute__((always_inline)) {
    const Vec<T> mean = r.momentum * get(a.state[0] + i, count) + r.rest * get(a.w + i, count);
    put(a.state[0] + i, mean, count);
    if (r.overwrite) put(a.w + i, mean, count);
  });
}

template <class T>
static void mean_gradient(const OptimizerArrays<T>& a, ptrdiff_t n, T scale, T share, bool last) {
  for_vectors<T>(n, [&](ptrdiff_t i, ptrdiff_t count) __attribute__((always_inline)) {
    const Vec<T> sum = get(a.w + i, count) + scale * get(a.g + i, count);
    put(a.w + i, last ? Vec<T>{} : sum, count);
    put(a.state[0] + i, sum / share, count);
  });
}

template <class T>
static void clip(const T* g, T* y, ptrdiff_t n, T scale, T factor, T limit) {
  for_vectors<T>(n, [&](ptrdiff_t i, ptrdiff_t count) __attribute__((always_inline)) {
    put(y + i, clamp(scale * get(g + i, count), -limit, limit) * factor, count);
  });
}

// ---- sums: in double and in as many lanes on every ISA, so that all add in the same order ----
// The sum of term(i), i < n.
template <class F>
INLINE double sum_of(ptrdiff_t n, F term) {
  constexpr int WIDE = 16;
  double lane[WIDE] = {};
  ptrdiff_t i = 0;
  for (; i + WIDE <= n; i += WIDE)
    for (int l = 0; l < WIDE; ++l) lane[l] += term(i + l);
  for (int l = 0; i < n; ++i, ++l) lane[l] += term(i);
  for (int half = WIDE / 2; half > 0; half /= 2)
    for (int l = 0; l < half; ++l) lane[l] += lane[l + half];
  return lane[0];
}
template <class T>
static double squares(const T* x, ptrdiff_t n, T scale) {
  return sum_of(n, [=](ptrdiff_t i) __attribute__((always_inline)) {
    const double s = static_cast<double>(scale * x[i]);
    return s * s;
  });
}

// One row of g^2 + epsilon: columns += it; returns its sum.
template <class T>
static double adafactor_row(const T* g, ptrdiff_t n, T epsilon, double* columns) {
  for (ptrdiff_t i = 0; i < n; ++i) columns[i] += static_cast<double>(g[i] * g[i] + epsilon);
  return sum_of(n,
                [=](ptrdiff_t i) __attribute__((always_inline)) { return static_cast<double>(g[i] * g[i] + epsilon); });
}
// v from its factors or, columns == nullptr, as an average; returns the sum of (g / sqrt(v))^2.
template <class T>
static double adafactor_spread(const T* g, T* v, ptrdiff_t n, const T* columns, const AdafactorRates<T>& r) {
  if (columns)
    for_vectors<T>(n, [&](ptrdiff_t i, ptrdiff_t count)
                          __attribute__((always_inline)) { put(v + i, r.row * get(columns + i, count), count); });
  else
    for_vectors<T>(n, [&](ptrdiff_t i, ptrdiff_t count) __attribute__((always_inline)) {
      const Vec<T> here = get(g + i, count);
      put(v + i, r.beta * get(v + i, count) + r.rest * (here * here + r.epsilon), count);
    });
  return sum_of(n, [=](ptrdiff_t i) __attribute__((always_inline)) {
    const double x = static_cast<double>(g[i]);
    return x * x / static_cast<double>(v[i]);
  });
}
template <class T>
static void adafactor_move(T* w, const T* g, const T* v, ptrdiff_t n, T rate, T decay) {
  for_vectors<T>(n, [&](ptrdiff_t i, ptrdiff_t count) __attribute__((always_inline)) {
    const Vec<T> at = get(w + i, count);
    put(w + i, at - at * decay - rate * get(g + i, count) / sqrt(get(v + i, count)), count);
  });
}

extern const OptimizerKernels<float> optimizer_f32;
extern const OptimizerKernels<double> optimizer_f64;
constinit const OptimizerKernels<float> optimizer_f32 = {
    sgd<float>,           rmsprop<float>, adam<float>,    adagrad<float>,       adadelta<float>,
    adamax<float>,        nadam<float>,   lion<float>,    ftrl<float>,          average_weights<float>,
    mean_gradient<float>, clip<float>,    squares<float>, adafactor_row<float>, adafactor_spread<float>,
    adafactor_move<float>};
constinit const OptimizerKernels<double> optimizer_f64 = {
    sgd<double>,           rmsprop<double>, adam<double>,    adagrad<double>,       adadelta<double>,
    adamax<double>,        nadam<double>,   lion<double>,    ftrl<double>,          average_weights<double>,
    mean_gradient<double>, clip<double>,    squares<double>, adafactor_row<double>, adafactor_spread<double>,
    adafactor_move<double>};

}  // namespace nnfast::NNFAST_ISA
