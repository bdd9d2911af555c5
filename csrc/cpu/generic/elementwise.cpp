// Element-wise kernels, made from elementwise_ops.inl: n contiguous elements each.
#include "../kernels.h"
#include "math.h"
#include "vec.h"

namespace nnfast::NNFAST_ISA {

#define FORMULA __attribute__((always_inline))  // of a lambda: a call would pass vectors through memory

// to = formula(from...). A tail goes through the same formula as the body: a value does not depend on its position.
template <class T, class F, class... From>
INLINE void map(ptrdiff_t n, T* to, const F& formula, In<From>... from) {
  constexpr int L = LANES<T>;
  for (; n >= L; n -= L, to += L) {
    store(to, formula(load(from.at)...));
    ((from.at += from.step * L), ...);
  }
  if (n > 0) store_some(to, formula(load_some(from.at, n)...), n);
}

#define UNARY(op, parameters, y_of_x, saved, dx_of_saved)                                                            \
  template <class T>                                                                                                 \
  static void op##_forward(ptrdiff_t n, In<T> from, T* to, [[maybe_unused]] T p, [[maybe_unused]] T q) {             \
    map(n, to, [=](Vec<T> x) FORMULA { return y_of_x; }, from);                                                      \
  }                                                                                                                  \
  template <class T>                                                                                                 \
  static void op##_gradient(ptrdiff_t n, In<T> dys, In<T> from, T* to, [[maybe_unused]] T p, [[maybe_unused]] T q) { \
    map(n, to, [=](Vec<T> dy, [[maybe_unused]] Vec<T> saved) FORMULA { return dx_of_saved; }, dys, from);            \
  }
#define BINARY(op, y_of_ab, da_of_ab, db_of_ab)                                                                       \
  template <class T>                                                                                                  \
  static void op##_forward(ptrdiff_t n, In<T> as, In<T> bs, T* to) {                                                  \
    map(n, to, [](Vec<T> a, Vec<T> b) FORMULA { return y_of_ab; }, as, bs);                                           \
  }                                                                                                                   \
  template <class T>                                                                                                  \
  static void op##_gradient_a(ptrdiff_t n, In<T> dys, In<T> as, In<T> bs, T* to) {                                    \
    map(                                                                                                              \
        n, to, [](Vec<T> dy, [[maybe_unused]] Vec<T> a, [[maybe_unused]] Vec<T> b) FORMULA { return da_of_ab; }, dys, \
        as, bs);                                                                                                      \
  }                                                                                                                   \
  template <class T>                                                                                                  \
  static void op##_gradient_b(ptrdiff_t n, In<T> dys, In<T> as, In<T> bs, T* to) {                                    \
    map(                                                                                                              \
        n, to, [](Vec<T> dy, [[maybe_unused]] Vec<T> a, [[maybe_unused]] Vec<T> b) FORMULA { return db_of_ab; }, dys, \
        as, bs);                                                                                                      \
  }
#define COMPARISON(op, mask_of_ab)                                           \
  template <class T>                                                         \
  static void op##_forward(ptrdiff_t n, In<T> as, In<T> bs, Byte* to) {      \
    const auto mask = [](Vec<T> a, Vec<T> b) FORMULA { return mask_of_ab; }; \
    constexpr int L = LANES<T>;                                              \
    for (; n >= L; n -= L, to += L) {                                        \
      store_bools<T>(to, mask(load(as.at), load(bs.at)));                    \
      as.at += as.step * L;                                                  \
      bs.at += bs.step * L;                                                  \
    }                                                                        \
    if (n == 0) return;                                                      \
    Byte bytes[L];                                                           \
    store_bools<T>(bytes, mask(load_some(as.at, n), load_some(bs.at, n)));   \
    for (ptrdiff_t i = 0; i < n; ++i) to[i] = bytes[i];                      \
  }
#include "../../elementwise_ops.inl"

template <class T>
static void where(ptrdiff_t n, In<Byte> condition, In<T> a, In<T> b, T* y) {
  constexpr int L = LANES<T>;
  for (; n >= L; n -= L, y += L) {
    store(y, select(load_bools<T>(condition.at), load(a.at), load(b.at)));
    condition.at += condition.step * L;
    a.at += a.step * L;
    b.at += b.step * L;
  }
  for (ptrdiff_t i = 0; i < n; ++i) y[i] = condition.at[i] ? a.at[i] : b.at[i];
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
