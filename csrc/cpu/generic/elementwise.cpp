// Element-wise kernels, made from elementwise_ops.inl: n contiguous elements each.
#include "../kernels.h"
#include "math.h"
#include "vec.h"

namespace nnfast::NNFAST_ISA {

#define FORMULA __attribute__((always_inline))  // of a lambda: a call would pass vectors through memory

// to = formula(from...). A tail goes through the same formula as the body: a value does not depend on its position.
template <class T, class F, class... From>
INLINE void map(ptrdiff_t n, T* to, const F& formula, const From*... from) {
  constexpr int L = LANES<T>;
  ptrdiff_t i = 0;
  for (; i + L <= n; i += L) store(to + i, formula(load(from + i)...));
  if (i < n) store_some(to + i, formula(load_some(from + i, n - i)...), n - i);
}

#define UNARY(op, parameters, y_of_x, saved, dx_of_saved)                                                   \
  template <class T>                                                                                        \
  static void op##_forward(ptrdiff_t n, const T* from, T* to, [[maybe_unused]] T p, [[maybe_unused]] T q) { \
    map(n, to, [=](Vec<T> x) FORMULA { return y_of_x; }, from);                                             \
  }                                                                                                         \
  template <class T>                                                                                        \
  static void op##_gradient(ptrdiff_t n, const T* dys, const T* from, T* to, [[maybe_unused]] T p,          \
                            [[maybe_unused]] T q) {                                                         \
    map(n, to, [=](Vec<T> dy, [[maybe_unused]] Vec<T> saved) FORMULA { return dx_of_saved; }, dys, from);   \
  }
#define BINARY(op, y_of_ab, da_of_ab, db_of_ab)                                                                       \
  template <class T>                                                                                                  \
  static void op##_forward(ptrdiff_t n, const T* as, const T* bs, T* to) {                                            \
    map(n, to, [](Vec<T> a, Vec<T> b) FORMULA { return y_of_ab; }, as, bs);                                           \
  }                                                                                                                   \
  template <class T>                                                                                                  \
  static void op##_gradient_a(ptrdiff_t n, const T* dys, const T* as, const T* bs, T* to) {                           \
    map(                                                                                                              \
        n, to, [](Vec<T> dy, [[maybe_unused]] Vec<T> a, [[maybe_unused]] Vec<T> b) FORMULA { return da_of_ab; }, dys, \
        as, bs);                                                                                                      \
  }                                                                                                                   \
  template <class T>                                                                                                  \
  static void op##_gradient_b(ptrdiff_t n, const T* dys, const T* as, const T* bs, T* to) {                           \
    map(                                                                                                              \
        n, to, [](Vec<T> dy, [[maybe_unused]] Vec<T> a, [[maybe_unused]] Vec<T> b) FORMULA { return db_of_ab; }, dys, \
        as, bs);                                                                                                      \
  }
#define COMPARISON(op, mask_of_ab)                                                       \
  template <class T>                                                                     \
  static void op##_forward(ptrdiff_t n, const T* as, const T* bs, Byte* to) {            \
    const auto mask = [](Vec<T> a, Vec<T> b) FORMULA { return mask_of_ab; };             \
    constexpr int L = LANES<T>;                                                          \
    ptrdiff_t i = 0;                                                                     \
    for (; i + L <= n; i += L) store_bools<T>(to + i, mask(load(as + i), load(bs + i))); \
    if (i == n) return;                                                                  \
    Byte bytes[L];                                                                       \
    store_bools<T>(bytes, mask(load_some(as + i, n - i), load_some(bs + i, n - i)));     \
    for (const Byte* byte = bytes; i < n; ++i) to[i] = *byte++;                          \
  }
#include "../../elementwise_ops.inl"

template <class T>
static void where(ptrdiff_t n, const Byte* condition, const T* a, const T* b, T* y) {
  constexpr int L = LANES<T>;
  ptrdiff_t i = 0;
  for (; i + L <= n; i += L) store(y + i, select(load_bools<T>(condition + i), load(a + i), load(b + i)));
  for (; i < n; ++i) y[i] = condition[i] ? a[i] : b[i];
}

template <class T>
constexpr ElementwiseKernels<T> elementwise_of = {
    {
#define UNARY(op, ...) op##_forward<T>,
#include "../../elementwise_ops.inl"
    },
    {
#define UNARY(op, ...) op##_gradient<T>,
#include "../../elementwise_ops.inl"
    },
    {
#define BINARY(op, ...) op##_forward<T>,
#include "../../elementwise_ops.inl"
    },
    {
#define BINARY(op, ...) op##_gradient_a<T>,
#include "../../elementwise_ops.inl"
    },
    {
#define BINARY(op, ...) op##_gradient_b<T>,
#include "../../elementwise_ops.inl"
    },
    {
#define COMPARISON(op, ...) op##_forward<T>,
#include "../../elementwise_ops.inl"
    },
    where<T>,
};

extern const ElementwiseKernels<float> elementwise_f32;
extern const ElementwiseKernels<double> elementwise_f64;
constinit const ElementwiseKernels<float> elementwise_f32 = elementwise_of<float>;
constinit const ElementwiseKernels<double> elementwise_f64 = elementwise_of<double>;

}  // namespace nnfast::NNFAST_ISA
