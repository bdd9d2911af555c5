// The micro-kernels of generic/conv2d.cpp on words, pairs of bfloat16 that lie where those have floats: twice the
// products of one instruction. One piece only, as in gemm_dot.cpp.
#include "../kernels.h"
#include "pack.h"

namespace nnfast::NNFAST_ISA {

constexpr int MR = 12, NV = 2, NR = NV * BLOCK;

INLINE Words load_words(const float* from) {
  Words v;
  __builtin_memcpy(&v, from, sizeof v);
  return v;
}
INLINE Words splat_from(const float* from) {
  Word w;
  __builtin_memcpy(&w, from, sizeof w);
  return splat_word(w);
}

#define EACH_VECTOR \
  _Pragma("GCC unroll 16") for (int i = 0; i < ROWS; ++i) _Pragma("GCC unroll 4") for (int v = 0; v < VECTORS; ++v)

// Vector v of a line of c, whose last vector has `rest` columns.
template <int VECTORS>
INLINE Vec<float> get(const float* c, int v, ptrdiff_t rest) {
  return v < VECTORS - 1 || rest == BLOCK ? load(c + v * BLOCK) : load_some(c + v * BLOCK, rest);
}
template <int VECTORS>
INLINE void put(float* c, Vec<float> x, int v, ptrdiff_t rest) {
  if (v < VECTORS - 1 || rest == BLOCK)
    store(c + v * BLOCK, x);
  else
    store_some(c + v * BLOCK, x, rest);
}

// c[ROWS, columns] = (init or c) + patches * b, as conv_rows of generic/conv2d.cpp.
template <int ROWS, int VECTORS>
static void rows_tile(const ConvRows<float>& t, ptrdiff_t row) {
  const ptrdiff_t rest = t.columns - (VECTORS - 1) * BLOCK;
  Vec<float> acc[ROWS][VECTORS];
  if (t.accumulate) {
    EACH_VECTOR acc[i][v] = get<VECTORS>(t.c[row + i] + t.column, v, rest);
  } else {
    EACH_VECTOR acc[i][v] = load(t.init + v * BLOCK);
  }
  const float* b = t.b;
  for (ptrdiff_t s = 0; s < t.segments; ++s) {
    const ptrdiff_t offset = t.offsets[s] + t.shift;
    const float* a[ROWS];
#pragma GCC unroll 16
    for (int i = 0; i < ROWS; ++i) a[i] = t.a[row + i] + offset;
    for (ptrdiff_t k = 0; k < t.length; ++k, b += NR) {
      Words bv[VECTORS];
#pragma GCC unroll 4
      for (int v = 0; v < VECTORS; ++v) bv[v] = load_words(b + v * BLOCK);
#pragma GCC unroll 16
      for (int i = 0; i < ROWS; ++i) {
        const Words av = splat_from(a[i] + k);
#pragma GCC unroll 4
        for (int v = 0; v < VECTORS; ++v) acc[i][v] = dot_pairs(acc[i][v], av, bv[v]);
      }
    }
  }
  if (t.relu) {
    EACH_VECTOR acc[i][v] = max_or_second(Vec<float>{}, acc[i][v]);
  }
  EACH_VECTOR put<VECTORS>(t.c[row + i] + t.column, acc[i][v], v, rest);
}

// c[ROWS, columns] (+)= cells^T * b, as conv_outer of generic/conv2d.cpp; a word of a is of two pixels, and so is one
// of b.
template <int ROWS, int VECTORS>
static void outer_tile(const ConvOuter<float>& t) {
  const ptrdiff_t rest = t.columns - (VECTORS - 1) * BLOCK;
  Vec<float> acc[ROWS][VECTORS];
  EACH_VECTOR acc[i][v] = Vec<float>{};
  const float* b = t.b;
  for (ptrdiff_t k = 0; k < t.pixels; ++k, b += t.b_row) {
    const float* a = t.a[k] + t.offsets[0];
    Words bv[VECTORS];
#pragma GCC unroll 4
    for (int v = 0; v < VECTORS; ++v) bv[v] = load_words(b + v * BLOCK);
#pragma GCC unroll 16
    for (int i = 0; i < ROWS; ++i) {
      const Words av = splat_from(a + i);
#pragma GCC unroll 4
      for (int v = 0; v < VECTORS; ++v) acc[i][v] = dot_pairs(acc[i][v], av, bv[v]);
    }
  }
  if (t.accumulate) {
    EACH_VECTOR acc[i][v] += get<VECTORS>(t.c + i * t.ldc, v, rest);
  }
  EACH_VECTOR put<VECTORS>(t.c + i * t.ldc, acc[i][v], v, rest);
}

// The body for so many rows.
template <int ROWS, int VECTORS>
static void rows_of(const ConvRows<float>& t, ptrdiff_t row, ptrdiff_t rows) {
  if constexpr (ROWS > 1)
    if (rows != ROWS) return rows_of<ROWS - 1, VECTORS>(t, row, rows);
  for (; row + ROWS <= t.rows; row += ROWS) rows_tile<ROWS, VECTORS>(t, row);
}
template <int ROWS, int VECTORS>
static void outer_of(const ConvOuter<float>& t) {
  if constexpr (ROWS > 1)
    if (t.rows != ROWS) return outer_of<ROWS - 1, VECTORS>(t);
  outer_tile<ROWS, VECTORS>(t);
}

static void rows(const ConvRows<float>& t) {
  const auto run = t.columns > BLOCK ? rows_of<MR, NV> : rows_of<MR, 1>;
  const ptrdiff_t tiles = (t.rows + MR - 1) / MR, each = (t.rows + tiles - 1) / tiles, rest = t.rows % each;
  run(t, 0, each);
  if (rest > 0) run(t, t.rows - rest, rest);
}
static void outer(const ConvOuter<float>& t) { t.columns > BLOCK ? outer_of<MR, NV>(t) : outer_of<MR, 1>(t); }

// words[i] = the pair (from[2i], from[2i + 1]); the last may lack its second number.
static bool along(const float* from, ptrdiff_t n, float* words) {
  Range range;
  for (ptrdiff_t i = 0; i < n; i += 2 * BLOCK) {
    const Vec<float> first = load_some(from + i, n - i);
    const Vec<float> second = n - i > BLOCK ? load_some(from + i + BLOCK, n - i - BLOCK) : Vec<float>{};
    range.meet((Words)first);
    range.meet((Words)second);
    store_some(words + i / 2, (Vec<float>)pairs_along(rounded(first), rounded(second)), (n - i + 1) / 2);
  }
  return range.extreme<1>();
}
// words[i] = the pair (even[i], odd[i]); without odd its numbers are 0.
static bool across(const float* even, const float* odd, ptrdiff_t n, float* words) {
  Range range;
  for (ptrdiff_t i = 0; i < n; i += BLOCK) {
    const Vec<float> first = load_some(even + i, n - i), second = odd ? load_some(odd + i, n - i) : Vec<float>{};
    range.meet((Words)first);
    range.meet((Words)second);
    store_some(words + i, (Vec<float>)pairs_of(rounded(first), rounded(second)), n - i);
  }
  return range.extreme<1>();
}

extern const PieceConv conv_medium;
constinit const PieceConv conv_medium = {MR, NR, rows, outer, along, across};

}  // namespace nnfast::NNFAST_ISA
