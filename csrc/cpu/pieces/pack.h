// Packing for products of bfloat16 pieces: x = x0 + x1 + ..., each piece the nearest bfloat16 to what is left. Two
// pieces of neighbouring k share a word of 32 bits, the even k in its lower half: a pair.
//
// Both layouts are made of blocks of 16 rows (of A, or columns of B) by 16 pairs, in registers. A block is read in the
// direction in which memory is contiguous, and transposed if the layout wants the other one.
#pragma once
#include "../generic/vec.h"

namespace nnfast::NNFAST_ISA {

typedef int32_t Word;
typedef int32_t Words __attribute__((vector_size(64)));
typedef int16_t Halves __attribute__((vector_size(64)));
static_assert(VECTOR_BYTES == 64, "blocks are 16 words wide");
constexpr int BLOCK = 16;

INLINE void store_words(Word* to, Words v) { __builtin_memcpy(to, &v, sizeof v); }
INLINE Words splat_word(Word w) { return w - Words{}; }

// What the pieces cannot hold. A number of 2^63 and more, Inf or NaN could become Inf or NaN in a sum of products where
// float32 has a number. A second piece lies up to 17 binary places below its number, and must not be subnormal.
constexpr Word TOO_LARGE = (127 + 63) << 23, TOO_SMALL = (127 - 109) << 23;
class Range {
 public:
  inline __attribute__((always_inline)) void meet(Words bits) {
    const Words size = bits & 0x7fffffff;
    largest_ = size > largest_ ? size : largest_;
    const Words nonzero = size == 0 ? splat_word(TOO_LARGE) : size;
    smallest_ = nonzero < smallest_ ? nonzero : smallest_;
  }
  template <int PIECES>
  inline __attribute__((always_inline)) bool extreme() const {
    Word any = 0;
    for (int i = 0; i < BLOCK; ++i) any |= largest_[i] >= TOO_LARGE || (PIECES > 1 && smallest_[i] < TOO_SMALL);
    return any != 0;
  }

 private:
  Words largest_ = {}, smallest_ = splat_word(TOO_LARGE);
};

// x rounded to the nearest bfloat16, to even: as a float.
INLINE Vec<float> rounded(Vec<float> x) {
  const Words bits = (Words)x;
  return (Vec<float>)((bits + 0x7fff + ((bits >> 16) & 1)) & static_cast<Word>(0xffff0000));
}
INLINE Words pairs_of(Vec<float> even, Vec<float> odd) {
  typedef uint32_t Unsigned __attribute__((vector_size(64)));
  return (Words)((Unsigned)even >> 16) | (Words)odd;
}
INLINE Words pairs_along(Vec<float> first, Vec<float> second) {  // 32 numbers that follow each other
  return (Words)__builtin_shufflevector((Halves)first, (Halves)second, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25,
                                        27, 29, 31, 33, 35, 37, 39, 41, 43, 45, 47, 49, 51, 53, 55, 57, 59, 61, 63);
}

template <bool HIGH, class V>
INLINE V interleave(V a, V b) {
  return HIGH ? __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31)
              : __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
}
INLINE void transpose(Words (&row)[BLOCK]) {
#pragma GCC unroll 4
  for (int round = 0; round < 4; ++round) {
    Words next[BLOCK];
#pragma GCC unroll 8
    for (int i = 0; i < BLOCK / 2; ++i) {
      next[2 * i] = interleave<false>(row[i], row[i + BLOCK / 2]);
      next[2 * i + 1] = interleave<true>(row[i], row[i + BLOCK / 2]);
    }
#pragma GCC unroll 16
    for (int i = 0; i < BLOCK; ++i) row[i] = next[i];
  }
}

// A block: [row][pair] (by_row) or [pair][row], for each piece. Rows and k beyond the ends are zeros.
template <int PIECES>
struct PairBlock {
  Words at[PIECES][BLOCK];
};

struct Source {
  const float* first;
  ptrdiff_t row, k;  // strides
  ptrdiff_t rows, depth;
};

template <int PIECES>
INLINE void split(Vec<float> (&x)[2], Words (&pairs)[PIECES], bool along) {
#pragma GCC unroll 2
  for (int p = 0; p < PIECES; ++p) {
    const Vec<float> even = rounded(x[0]), odd = rounded(x[1]);
    pairs[p] = along ? pairs_along(even, odd) : pairs_of(even, odd);
    x[0] -= even;
    x[1] -= odd;
  }
}

template <int PIECES, bool BY_ROW>
static void read_block(const Source& s, PairBlock<PIECES>& block, Range& range) {
  const auto take = [&](int i, Vec<float> first, Vec<float> second, bool along) __attribute__((always_inline)) {
    range.meet((Words)first);
    range.meet((Words)second);
    Vec<float> x[2] = {first, second};
    Words pairs[PIECES];
    split<PIECES>(x, pairs, along);
#pragma GCC unroll 2
    for (int p = 0; p < PIECES; ++p) block.at[p][i] = pairs[p];
  };
  const bool whole = s.rows >= BLOCK && s.depth >= 2 * BLOCK;
  if (s.row == 1) {  // a pair of k at a time
    for (int i = 0; i < BLOCK; ++i) {
      const float* from = s.first + 2 * i * s.k;
      const auto line = [&](int k) __attribute__((always_inline)) {
        if (whole) return load(from + k * s.k);
        return 2 * i + k < s.depth ? load_some(from + k * s.k, s.rows) : Vec<float>{};
      };
      take(i, line(0), line(1), false);
    }
  } else {  // a row at a time
    for (int i = 0; i < BLOCK; ++i) {
      const float* from = s.first + i * s.row;
      float gathered[2 * BLOCK];
      if (s.k != 1 && i < s.rows) {
        for (ptrdiff_t k = 0; k < 2 * BLOCK && k < s.depth; ++k) gathered[k] = from[k * s.k];
        from = gathered;
      }
      const auto part = [&](ptrdiff_t k) __attribute__((always_inline)) {
        if (whole) return load(from + k);
        return i < s.rows ? load_some(from + k, s.depth - k) : Vec<float>{};
      };
      take(i, part(0), part(BLOCK), true);
    }
  }
  if ((s.row == 1) == BY_ROW)
    for (int p = 0; p < PIECES; ++p) transpose(block.at[p]);
}

// Packs the rows [0, rows) of `from`, WIDTH at a time. put(panel, block of rows, block of k, PairBlock) stores.
template <int PIECES, bool BY_ROW, int WIDTH, class Put>
INLINE bool pack_panels(const float* from, ptrdiff_t rows, ptrdiff_t row_stride, ptrdiff_t k, ptrdiff_t k_stride,
                        const Put& put) {
  Range range;
  PairBlock<PIECES> block;
  for (ptrdiff_t panel = 0; panel * WIDTH < rows; ++panel)
    for (ptrdiff_t p = 0; p < k; p += 2 * BLOCK)
      for (ptrdiff_t r = 0; r < WIDTH; r += BLOCK) {
        const ptrdiff_t first = panel * WIDTH + r;
        const ptrdiff_t mine = rows - first < WIDTH - r ? rows - first : WIDTH - r;  // rows of this panel from here on
        read_block<PIECES, BY_ROW>({from + first * row_stride + p * k_stride, row_stride, k_stride, mine, k - p}, block,
                                   range);
        put(panel, r, p / (2 * BLOCK), block);
      }
  return range.extreme<PIECES>();
}

}  // namespace nnfast::NNFAST_ISA
