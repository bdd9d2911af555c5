// Optimizer steps on contiguous arrays of n elements: each array is read and written once. CMake compiles this file
// without contraction (a * b + c rounds twice): the limit is memory, and all ISAs give the same bits.
#include "../kernels.h"
#include "vec.h"

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

template <class T, bool MOMENTUM, bool NESTEROV>
static void sgd_of(const OptimizerArrays<T>& a, ptrdiff_t n, const SgdRates<T>& r) {
  for_vectors<T>(n, [&](ptrdiff_t i, ptrdiff_t count) __attribute__((always_inline)) {
    const Vec<T> w = get(a.w + i, count), step = r.rate * get(a.g + i, count);
    const Vec<T> shrunk = w - w * r.decay;
    if constexpr (MOMENTUM) {
      const Vec<T> m = r.momentum * get(a.state[0] + i, count) - step;
      put(a.state[0] + i, m, count);
      put(a.w + i, NESTEROV ? shrunk + (r.momentum * m - step) : shrunk + m, count);
    } else {
      put(a.w + i, shrunk - step, count);
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
    const Vec<T> w = get(a.w + i, count), g = get(a.g + i, count);
    const Vec<T> v = r.rho * get(a.state[0] + i, count) + r.rest * g * g;
    put(a.state[0] + i, v, count);
    Vec<T> spread = v;
    if constexpr (CENTERED) {
      const Vec<T> mean = r.rho * get(a.state[2] + i, count) + r.rest * g;
      put(a.state[2] + i, mean, count);
      spread = v - mean * mean;
    }
    Vec<T> step = r.rate * g / sqrt(spread + r.epsilon);
    if constexpr (MOMENTUM) {
      step = r.momentum * get(a.state[1] + i, count) + step;
      put(a.state[1] + i, step, count);
    }
    put(a.w + i, w - w * r.decay - step, count);
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
    const Vec<T> w = get(a.w + i, count), g = get(a.g + i, count);
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

extern const OptimizerKernels<float> optimizer_f32;
extern const OptimizerKernels<double> optimizer_f64;
constinit const OptimizerKernels<float> optimizer_f32 = {sgd<float>, rmsprop<float>, adam<float>};
constinit const OptimizerKernels<double> optimizer_f64 = {sgd<double>, rmsprop<double>, adam<double>};

}  // namespace nnfast::NNFAST_ISA
