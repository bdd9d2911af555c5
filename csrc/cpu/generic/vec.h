// Vec<T>: one vector register of the ISA that this object is compiled for, on compiler vectors (GCC, Clang).
// Included by the bodies of generic/ alone. Everything is inside namespace nnfast::<isa> and static: a function shared
// with other objects would be a weak symbol that the linker may hand to a CPU that cannot run it.
#pragma once
#include <stddef.h>
#include <stdint.h>
#ifdef __SSE2__
#include <immintrin.h>  // for the isa headers, which lie inside a namespace
#endif

namespace nnfast::NNFAST_ISA {
#define INLINE static inline __attribute__((always_inline))
#include NNFAST_ISA_HEADER

template <class T>
struct VecOf;
template <>
struct VecOf<float> {
  typedef float type __attribute__((vector_size(VECTOR_BYTES)));
  typedef int32_t bits __attribute__((vector_size(VECTOR_BYTES)));
  typedef int32_t index;
};
template <>
struct VecOf<double> {
  typedef double type __attribute__((vector_size(VECTOR_BYTES)));
  typedef int64_t bits __attribute__((vector_size(VECTOR_BYTES)));
  typedef int64_t index;
};
template <class T>
using Vec = typename VecOf<T>::type;
template <class T>
using Bits = typename VecOf<T>::bits;  // integers of the same width: masks, exponents
template <class T>
using Index = typename VecOf<T>::index;  // an integer as wide as T
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
  return s - Vec<T>{};  // written so, -0 stays -0, and the compiler knows that it is s
}

// v, loaded once: GCC otherwise makes a load of each use, and two loads where the address is no multiple of a line.
template <class V>
INLINE V in_register(V v) {
#ifdef REGISTER
  asm("" : "+" REGISTER(v));
#endif
  return v;
}

// n as a number of lanes: any n may be asked for, and a mask is shifted by it.
template <class T>
INLINE int lanes_of(ptrdiff_t n) {
  return static_cast<int>(n < 0 ? 0 : n < LANES<T> ? n : LANES<T>);
}

// The first n lanes; the others are `rest`. Tails go through the same arithmetic as bodies. Only the n
// elements are touched.
template <class T>
INLINE Vec<T> load_some(const T* p, ptrdiff_t n, T rest = 0) {
#ifdef MASKED_MEMORY
  return load_first(p, lanes_of<T>(n), splat(rest));
#else
  T lane[LANES<T>];
  for (int i = 0; i < LANES<T>; ++i) lane[i] = i < n ? p[i] : rest;
  return load(lane);
#endif
}
template <class T>
INLINE void store_some(T* p, Vec<T> v, ptrdiff_t n) {
#ifdef MASKED_MEMORY
  store_first(p, v, lanes_of<T>(n));
#else
  T lane[LANES<T>];
  store(lane, v);
  for (int i = 0; i < LANES<T>; ++i)
    if (i < n) p[i] = lane[i];
#endif
}
template <class T>
INLINE Vec<T> select(Bits<T> mask, Vec<T> yes, Vec<T> no) {
  return mask ? yes : no;
}

// What follows takes the vector itself, V = Vec<T>, so that formulas need no <T>. Comparisons (a < b) give BitsOf<V>,
// all ones where they hold; & | ~ combine them. Scalars of type T mix with vectors: T(2) * x, x < T(0).
template <class V>
struct VecTraits;
template <>
struct VecTraits<Vec<float>> {
  using Element = float;
  typedef uint32_t Unsigned __attribute__((vector_size(VECTOR_BYTES)));
  static constexpr int MANTISSA = 23, BIAS = 127;
};
template <>
struct VecTraits<Vec<double>> {
  using Element = double;
  typedef uint64_t Unsigned __attribute__((vector_size(VECTOR_BYTES)));
  static constexpr int MANTISSA = 52, BIAS = 1023;
};
template <class V>
using ElementOf = typename VecTraits<V>::Element;
template <class V>
using BitsOf = Bits<ElementOf<V>>;
template <class V>
using UnsignedOf = typename VecTraits<V>::Unsigned;  // shifts to the right bring in zeros

template <class V>
INLINE BitsOf<V> bits_of(V v) {
  return (BitsOf<V>)v;  // the same bits: vector casts convert nothing
}
template <class V>
INLINE V from_bits(BitsOf<V> b) {
  return (V)b;
}
// yes and no: vectors or scalars of the element type.
template <class M, class A, class B>
INLINE auto select(M mask, A yes, B no) {
  return mask ? yes : no;
}
template <class V>
INLINE BitsOf<V> sign_bits(V v) {
  return bits_of(v) & bits_of(splat(ElementOf<V>(-0.0)));
}
template <class V>
INLINE V abs(V v) {
  return from_bits<V>(bits_of(v) & ~bits_of(splat(ElementOf<V>(-0.0))));
}
template <class V>
INLINE V copysign(V magnitude, V sign) {
  return from_bits<V>(bits_of(abs(magnitude)) | sign_bits(sign));
}
template <class V>
INLINE BitsOf<V> is_nan(V v) {
  return v != v;
}
// The larger and the smaller; the second if either is NaN.
template <class V>
INLINE V max_or_second(V a, V b) {
#ifdef NATIVE_EXTREMES
  return larger(a, b);
#else
  return a > b ? a : b;
#endif
}
template <class V>
INLINE V min_or_second(V a, V b) {
#ifdef NATIVE_EXTREMES
  return smaller(a, b);
#else
  return a < b ? a : b;
#endif
}
template <class V>
INLINE BitsOf<V> either_is_nan(V a, V b) {
#ifdef NATIVE_EXTREMES
  return (BitsOf<V>)unordered(a, b);
#else
  return (a != a) | (b != b);
#endif
}
// The larger and the smaller by NumPy's rule: NaN if either is.
template <class V>
INLINE V max(V a, V b) {
  return select(is_nan(a), a, max_or_second(a, b));
}
template <class V>
INLINE V min(V a, V b) {
  return select(is_nan(a), a, min_or_second(a, b));
}
// low <= v <= high, NaN stays.
template <class V>
INLINE V clamp(V v, ElementOf<V> low, ElementOf<V> high) {
  return min_or_second(splat(high), max_or_second(splat(low), v));
}
template <class V>
INLINE V sqrt(V v) {
  using T = ElementOf<V>;
  T lane[LANES<T>];
  store(lane, v);
  for (int i = 0; i < LANES<T>; ++i)
    if constexpr (sizeof(T) == 4)
      lane[i] = __builtin_sqrtf(lane[i]);
    else
      lane[i] = __builtin_sqrt(lane[i]);
  return load(lane);
}

// 1.5 * 2^MANTISSA: x + magic has the units of 1, so it rounds x (to even), and its low bits hold the integer.
template <class V>
constexpr ElementOf<V> MAGIC = ElementOf<V>(1.5) * static_cast<ElementOf<V>>(int64_t{1} << VecTraits<V>::MANTISSA);
// The nearest integer to x, |x| < 2^(MANTISSA - 2), as a float; and as an integer.
template <class V>
INLINE V nearest(V x, BitsOf<V>& integer) {
  const V shifted = x + MAGIC<V>;
  integer = bits_of(shifted) - bits_of(splat(MAGIC<V>));
  return shifted - MAGIC<V>;
}
template <class V>
INLINE V to_float(BitsOf<V> integer) {  // the way back, in the same range
  return from_bits<V>(integer + bits_of(splat(MAGIC<V>))) - MAGIC<V>;
}
// v * 2^n for -2 BIAS < n <= 2 BIAS, given as n + MAGIC: overflow and subnormal results come out right, rounded once.
template <class V>
INLINE V scale(V v, V shifted) {
#ifdef NATIVE_POWER
  return times_power(v, shifted - MAGIC<V>);
#else
  using Tr = VecTraits<V>;  // in two steps
  const BitsOf<V> n = bits_of(shifted) - bits_of(splat(MAGIC<V>));
  const UnsignedOf<V> biased = (UnsignedOf<V>)(n + 2 * Tr::BIAS), half = biased >> 1;
  return v * (V)(half << Tr::MANTISSA) * (V)((biased - half) << Tr::MANTISSA);
#endif
}
// 2^n for -BIAS < n <= BIAS, given as n + MAGIC.
template <class V>
INLINE V power_of_2(V shifted) {
  using Tr = VecTraits<V>;
  const BitsOf<V> n = bits_of(shifted) - (bits_of(splat(MAGIC<V>)) - Tr::BIAS);
  return (V)((UnsignedOf<V>)n << Tr::MANTISSA);
}

// The sum of all lanes, in the order of a tree: lane i + lane i + half, half by half.
template <class V>
INLINE ElementOf<V> reduce_add(V v) {
  using T = ElementOf<V>;
  T lane[LANES<T>];
  store(lane, v);
  for (int half = LANES<T> / 2; half > 0; half /= 2)
    for (int i = 0; i < half; ++i) lane[i] += lane[i + half];
  return lane[0];
}

// Masks to bytes 0 and 1, and back.
typedef uint8_t Byte;
template <class T>
struct BytesOf {
  typedef int8_t type __attribute__((vector_size(LANES<T>)));
};
template <class T>
INLINE void store_bools(Byte* p, Bits<T> mask) {
#ifdef NATIVE_MASK_BYTES
  const int64_t bytes =
      (sizeof(T) == 4 ? mask_bytes_32((__m256i)mask) : mask_bytes_64((__m256i)mask)) & 0x0101010101010101;
  __builtin_memcpy(p, &bytes, LANES<T>);
#else
  const auto bytes = __builtin_convertvector(mask, typename BytesOf<T>::type) & 1;
  __builtin_memcpy(p, &bytes, sizeof bytes);
#endif
}
template <class T>
INLINE Bits<T> load_bools(const Byte* p) {
  typename BytesOf<T>::type bytes;
  __builtin_memcpy(&bytes, p, sizeof bytes);
  return __builtin_convertvector(bytes, Bits<T>) != 0;
}

// A mask of the first n lanes.
template <class T>
INLINE Bits<T> first_lanes(ptrdiff_t n) {
  Bits<T> lane;
  for (int i = 0; i < LANES<T>; ++i) lane[i] = i;
  return lane < static_cast<Index<T>>(n);
}

}  // namespace nnfast::NNFAST_ISA
