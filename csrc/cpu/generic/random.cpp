// Philox 4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011) and what is made of its words.
// key = (seed, draw); block i of a draw is the counter (i, draw) under the key `seed`, and gives four 32-bit words:
// the elements 4i .. 4i + 3 of float32, 2i and 2i + 1 of float64 (two words each, the low one first).
// CMake compiles this file without contraction (a * b + c rounds twice), so all ISAs give the same bits.
#include "../kernels.h"
#include "math.h"
#include "vec.h"

namespace nnfast::NNFAST_ISA {

typedef uint64_t Wide __attribute__((vector_size(VECTOR_BYTES)));
constexpr int GROUP = VECTOR_BYTES / 8;  // blocks computed side by side
constexpr int PIECE = 64;                // elements computed at a time
static_assert(PIECE / 4 % (2 * GROUP) == 0, "a piece is pairs of groups, of float32 and of float64");

INLINE Wide product_of_low_halves(Wide a, Wide b) {
#ifdef NATIVE_HALF_PRODUCT
  return (Wide)half_product((HalfProduct)a, (HalfProduct)b);
#else
  constexpr uint64_t LOW = 0xFFFFFFFF;
  return (a & LOW) * (b & LOW);
#endif
}
// to = a[0], b[0], a[1], b[1], ...
template <class W>
INLINE void store_alternating(uint64_t* to, W a, W b) {
  constexpr int N = sizeof(W) / sizeof(uint64_t);
  W lower, upper;
  if constexpr (N == 8) {
    lower = __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11);
    upper = __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15);
  } else if constexpr (N == 4) {
    lower = __builtin_shufflevector(a, b, 0, 4, 1, 5);
    upper = __builtin_shufflevector(a, b, 2, 6, 3, 7);
  } else {
    lower = __builtin_shufflevector(a, b, 0, 2);
    upper = __builtin_shufflevector(a, b, 1, 3);
  }
  __builtin_memcpy(to, &lower, sizeof lower);
  __builtin_memcpy(to + N, &upper, sizeof upper);
}

// The words of `blocks` blocks, a multiple of 2 GROUP, two in each of `words`, the first one low. A lane of 64 bits
// holds one word of a block; above it stands what nobody reads, until the end. Two groups at a time hide each other's
// latency.
static void philox(uint64_t seed, uint64_t draw, uint64_t first, int blocks, uint64_t* words) {
  constexpr uint64_t LOW = 0xFFFFFFFF;
  Wide lane;  // apart from `first`, so that it is a constant
  for (int i = 0; i < GROUP; ++i) lane[i] = static_cast<uint64_t>(i);
  Wide counter = lane + first;
  for (int b = 0; b < blocks; b += 2 * GROUP) {
    Wide c0[2], c1[2], c2[2], c3[2];
    for (int g = 0; g < 2; ++g, counter += GROUP) {
      c0[g] = counter;
      c1[g] = counter >> 32;
      c2[g] = draw - Wide{};
      c3[g] = (draw >> 32) - Wide{};
    }
    uint64_t k0 = seed & LOW, k1 = seed >> 32;
    for (int round = 0; round < 10; ++round) {
      for (int g = 0; g < 2; ++g) {
        const Wide p0 = product_of_low_halves(c0[g], uint64_t{0xD2511F53} - Wide{});
        const Wide p1 = product_of_low_halves(c2[g], uint64_t{0xCD9E8D57} - Wide{});
        c0[g] = (p1 >> 32) ^ c1[g] ^ k0;
        c1[g] = p1;
        c2[g] = (p0 >> 32) ^ c3[g] ^ k1;
        c3[g] = p0;
      }
      k0 += 0x9E3779B9;
      k1 += 0xBB67AE85;
    }
    for (int g = 0; g < 2; ++g, words += 2 * GROUP)
      store_alternating(words, (c0[g] & LOW) | c1[g] << 32, (c2[g] & LOW) | c3[g] << 32);
  }
}

struct Key {
  uint64_t seed, draw;
};
static Key read(const int64_t* key) { return {static_cast<uint64_t>(key[0]), static_cast<uint64_t>(key[1])}; }

// PIECE words of 64 bits, from the first-th of a draw on (a multiple of 2).
static void words_64(Key key, uint64_t first, uint64_t* words) {
  philox(key.seed, key.draw, first / 2, PIECE / 2, words);
}

// PIECE numbers in [0, 1), from element `first` on (a multiple of 4).
static void units(Key key, uint64_t first, float* u) {
  uint64_t pairs[PIECE / 2];
  uint32_t words[PIECE];  // the low one first, as it lies in memory
  philox(key.seed, key.draw, first / 4, PIECE / 4, pairs);
  __builtin_memcpy(words, pairs, sizeof words);
  for (int i = 0; i < PIECE; ++i) u[i] = static_cast<float>(static_cast<int32_t>(words[i] >> 8)) * 0x1p-24f;
}
static void units(Key key, uint64_t first, double* u) {
  uint64_t words[PIECE];
  words_64(key, first, words);
  for (int i = 0; i < PIECE; ++i) u[i] = static_cast<double>(static_cast<int64_t>(words[i] >> 11)) * 0x1p-53;
}

// PIECE standard normals, by Box and Muller from pairs (u, v): sqrt(-2 log(1 - u)) times cos and sin of 2 pi v.
template <class T>
static void normals(Key key, uint64_t first, T* z) {
  T u[PIECE], even[PIECE / 2], odd[PIECE / 2];
  units(key, first, u);
  for (int i = 0; i < PIECE / 2; ++i) {
    even[i] = u[2 * i];
    odd[i] = u[2 * i + 1];
  }
  for (int i = 0; i < PIECE / 2; i += LANES<T>) {
    const Vec<T> radius = sqrt(T(-2) * log(T(1) - load(even + i)));
    Vec<T> cosine;
    const Vec<T> sine = sincos_turn(load(odd + i), cosine);
    store(even + i, radius * cosine);
    store(odd + i, radius * sine);
  }
  for (int i = 0; i < PIECE / 2; ++i) {
    z[2 * i] = even[i];
    z[2 * i + 1] = odd[i];
  }
}

// Calls fill(position, numbers[PIECE]) for each piece of the n elements from `first` on, and puts a + b * numbers in y.
template <class T, class F>
INLINE void fill_pieces(uint64_t first, ptrdiff_t n, T* y, T a, T b, const F& fill) {
  T piece[PIECE];
  for (ptrdiff_t i = 0; i < n; i += PIECE) {
    fill(first + static_cast<uint64_t>(i), piece);
    const int count = static_cast<int>(n - i < PIECE ? n - i : PIECE);
    if (count == PIECE)
      for (int j = 0; j < PIECE; ++j) y[i + j] = a + b * piece[j];
    else
      for (int j = 0; j < count; ++j) y[i + j] = a + b * piece[j];
  }
}

template <class T>
static void uniform(const int64_t* key, int64_t first, ptrdiff_t n, T* y, T low, T range) {
  const Key k = read(key);
  fill_pieces(static_cast<uint64_t>(first), n, y, low, range, [=](uint64_t at, T* u) { units(k, at, u); });
}

template <class T>
static void normal(const int64_t* key, int64_t first, ptrdiff_t n, T* y, T mean, T stddev) {
  const Key k = read(key);
  fill_pieces(static_cast<uint64_t>(first), n, y, mean, stddev, [=](uint64_t at, T* z) { normals(k, at, z); });
}

// Each element is the first of the draws `draw` + 2^32 j, j = 0, 1, ..., that is within two standard deviations.
template <class T>
static void truncated_normal(const int64_t* key, int64_t first, ptrdiff_t n, T* y, T mean, T stddev) {
  const Key k = read(key);
  fill_pieces(static_cast<uint64_t>(first), n, y, mean, stddev, [=](uint64_t at, T* z) {
    normals(k, at, z);
    for (uint64_t j = 1;; ++j) {
      int outside = 0;
      for (int i = 0; i < PIECE; ++i) outside += z[i] < T(-2) || z[i] > T(2);
      if (!outside) return;
      T again[PIECE];
      normals({k.seed, k.draw + (j << 32)}, at, again);
      for (int i = 0; i < PIECE; ++i) z[i] = z[i] < T(-2) || z[i] > T(2) ? again[i] : z[i];
    }
  });
}

template <class T>
static void dropout(const int64_t* key, int64_t first, ptrdiff_t n, const T* x, T* y, float rate, T scale) {
  const Key k = read(key);
  float u[PIECE];
  for (ptrdiff_t i = 0; i < n; i += PIECE) {
    units(k, static_cast<uint64_t>(first + i), u);
    const int count = static_cast<int>(n - i < PIECE ? n - i : PIECE);
    for (int j = 0; j < count; ++j) {
      const T kept = x[i + j] * scale;
      y[i + j] = u[j] >= rate ? kept : T(0);
    }
  }
}

static void words(const int64_t* key, int64_t first, ptrdiff_t n, uint64_t* y) {
  uint64_t piece[PIECE];
  for (ptrdiff_t i = 0; i < n; i += PIECE) {
    words_64(read(key), static_cast<uint64_t>(first + i), piece);
    for (ptrdiff_t j = 0; j < PIECE && i + j < n; ++j) y[i + j] = piece[j];
  }
}

extern const RandomKernels<float> random_f32;
extern const RandomKernels<double> random_f64;
constinit const RandomKernels<float> random_f32 = {uniform<float>, normal<float>, truncated_normal<float>,
                                                   dropout<float>, words};
constinit const RandomKernels<double> random_f64 = {uniform<double>, normal<double>, truncated_normal<double>,
                                                    dropout<double>, words};

}  // namespace nnfast::NNFAST_ISA
