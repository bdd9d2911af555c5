// Vec<T>: one vector register of the ISA that this object is compiled for, on compiler vectors (GCC, Clang).
// Included by the bodies of generic/ alone. Everything is inside namespace nnfast::<isa> and static: a function shared
// with other objects would be a weak symbol that the linker may hand to a CPU that cannot run it.
#pragma once
#include <stddef.h>
#include <stdint.h>

namespace nnfast::NNFAST_ISA {
#include NNFAST_ISA_HEADER

#define INLINE static inline __attribute__((always_inline))

template <class T>
struct VecOf;
template <>
struct VecOf<float> {
  typedef float type __attribute__((vector_size(VECTOR_BYTES)));
  typedef int32_t bits __attribute__((vector_size(VECTOR_BYTES)));
};
template <>
struct VecOf<double> {
  typedef double type __attribute__((vector_size(VECTOR_BYTES)));
  typedef int64_t bits __attribute__((vector_size(VECTOR_BYTES)));
};
template <class T>
using Vec = typename VecOf<T>::type;
template <class T>
using Bits = typename VecOf<T>::bits;  // integers of the same width: masks, exponents
template <class T>
constexpr int LANES = VECTOR_BYTES / static_cast<int>(sizeof(T));

template <class T>
INLINE Vec<T> load(const T* p) {
  Vec<T> v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}
template <class T>
INLINE void store(T* p, Vec<T> v) {
  __builtin_memcpy(p, &v, sizeof v);
}
template <class T>
INLINE Vec<T> splat(T s) {
  return Vec<T>{} + s;
}

// The first n lanes; the others are `rest`. Tails go through the same arithmetic as bodies.
template <class T>
INLINE Vec<T> load_some(const T* p, ptrdiff_t n, T rest = 0) {
  T lane[LANES<T>];
  for (int i = 0; i < LANES<T>; ++i) lane[i] = i < n ? p[i] : rest;
  return load(lane);
}
template <class T>
INLINE void store_some(T* p, Vec<T> v, ptrdiff_t n) {
  T lane[LANES<T>];
  store(lane, v);
  for (int i = 0; i < n; ++i) p[i] = lane[i];
}
template <class T>
INLINE Vec<T> select(Bits<T> mask, Vec<T> yes, Vec<T> no) {
  return mask ? yes : no;
}

}  // namespace nnfast::NNFAST_ISA
