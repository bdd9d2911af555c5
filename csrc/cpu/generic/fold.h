// How parts of a reduction join, and the lanes of a vector among themselves.
#pragma once
#include "vec.h"

namespace nnfast::NNFAST_ISA {

// `join` serves vectors of any width and scalars.
struct Plus {
  static constexpr int IDENTITY = 0;
  template <class V>
  INLINE V join(V a, V b) {
    return a + b;
  }
};
struct Times {
  static constexpr int IDENTITY = 1;
  template <class V>
  INLINE V join(V a, V b) {
    return a * b;
  }
};
struct Largest {
  static constexpr double IDENTITY = -__builtin_inf();
  template <class V>
  INLINE V join(V a, V b) {
    return ((b > a) | (b != b)) ? b : a;  // once a is NaN it stays
  }
  template <class V>
  INLINE V join_numbers(V a, V b) {  // a if b is NaN; whole vectors only
    return max_or_second(b, a);
  }
};
struct Smallest {
  static constexpr double IDENTITY = __builtin_inf();
  template <class V>
  INLINE V join(V a, V b) {
    return ((b < a) | (b != b)) ? b : a;
  }
  template <class V>
  INLINE V join_numbers(V a, V b) {
    return min_or_second(b, a);
  }
};

// The upper half of a vector, as a vector; of two lanes, the lanes swapped.
template <class V>
INLINE auto upper_half(V v) {
  constexpr int N = sizeof(V) / sizeof(v[0]);
  if constexpr (N == 16)
    return __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15);
  else if constexpr (N == 8)
    return __builtin_shufflevector(v, v, 4, 5, 6, 7);
  else if constexpr (N == 4)
    return __builtin_shufflevector(v, v, 2, 3);
  else
    return __builtin_shufflevector(v, v, 1, 0);
}
template <class V>
INLINE auto lower_half(V v) {
  constexpr int N = sizeof(V) / sizeof(v[0]);
  if constexpr (N == 16)
    return __builtin_shufflevector(v, v, 0, 1, 2, 3, 4, 5, 6, 7);
  else if constexpr (N == 8)
    return __builtin_shufflevector(v, v, 0, 1, 2, 3);
  else if constexpr (N == 4)
    return __builtin_shufflevector(v, v, 0, 1);
  else
    return v;
}
// The lanes of one vector, joined by halves; in vectors to the end, since a scalar maximum becomes a branch.
template <class F, class V>
INLINE auto joined_lanes(V v) {
  if constexpr (sizeof(V) == 2 * sizeof(v[0]))
    return F::join(v, upper_half(v))[0];
  else
    return joined_lanes<F>(F::join(lower_half(v), upper_half(v)));
}

// The first of n elements that is `wanted` (NaN: the first NaN), or n. Groups that hold it nowhere are passed over.
template <class T>
static ptrdiff_t find(const T* x, ptrdiff_t n, T wanted) {
  constexpr int L = LANES<T>, GROUP = 8;
  const bool nan = wanted != wanted;
  const Vec<T> all = splat(wanted);
  ptrdiff_t i = 0;
  for (; i + GROUP * L <= n; i += GROUP * L) {
    Bits<T> hit = {};
    for (int v = 0; v < GROUP; ++v) {
      const Vec<T> here = load(x + i + v * L);
      hit |= nan ? here != here : here == all;
    }
    uint64_t words[VECTOR_BYTES / 8], any = 0;
    __builtin_memcpy(words, &hit, sizeof words);
    for (int w = 0; w < VECTOR_BYTES / 8; ++w) any |= words[w];
    if (any) break;
  }
  for (; i < n; ++i)
    if (nan ? x[i] != x[i] : x[i] == wanted) break;
  return i;
}

}  // namespace nnfast::NNFAST_ISA
