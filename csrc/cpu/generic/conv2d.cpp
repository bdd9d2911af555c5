// conv2d micro-kernels. The patches of an image overlap, so they are not copied into panels as gemm's rows are: a
// pixel of the output is a pointer to the first cell of its patch, and a patch is a list of segments, each of them
// `length` neighbouring cells at an offset that all patches share. Products read their scalars there.
#include "../kernels.h"
#include "vec.h"

namespace nnfast::NNFAST_ISA {

static_assert(CONV_NV == GEMM_NV, "panels are packed by gemm's pack_b");

// For each of the ROWS x NV vectors of c. Unrolled before all else, or they would begin on the stack.
#define EACH_VECTOR \
  _Pragma("GCC unroll 16") for (int i = 0; i < ROWS; ++i) _Pragma("GCC unroll 4") for (int v = 0; v < NV; ++v)

// c[ROWS, NV vectors] = (init or c) + patches[ROWS, segments x length] * b[segments x length, NR packed], all of c in
// registers.
template <class T, int ROWS, int NV>
static void conv_rows(const ConvRows<T>& t) {
  constexpr int L = LANES<T>, NR = CONV_NV * L;
  Vec<T> acc[ROWS][NV];
  if (t.accumulate) {
    EACH_VECTOR acc[i][v] = load(t.c[i] + t.column + v * L);
  } else {
    EACH_VECTOR acc[i][v] = load(t.init + v * L);
  }
  const T* b = t.b;
  for (ptrdiff_t s = 0; s < t.segments; ++s) {
    const T* a[ROWS];
    const ptrdiff_t offset = t.offsets[s] + t.shift;
#pragma GCC unroll 16
    for (int i = 0; i < ROWS; ++i) a[i] = t.a[i] + offset;
    for (ptrdiff_t k = 0; k < t.length; ++k, b += NR) {
      Vec<T> bv[NV];
#pragma GCC unroll 4
      for (int v = 0; v < NV; ++v) bv[v] = load(b + v * L);
      EACH_VECTOR acc[i][v] += a[i][k] * bv[v];
    }
  }
  if (t.relu) {
    EACH_VECTOR acc[i][v] = max_or_second(Vec<T>{}, acc[i][v]);  // NaN stays
  }
  EACH_VECTOR store(t.c[i] + t.column + v * L, acc[i][v]);
}

// c[ROWS, NV vectors] (+)= cells[pixels, ROWS]^T * b[pixels, NR packed]: ROWS neighbouring cells of each patch.
template <class T, int ROWS, int NV>
static void conv_outer(const ConvOuter<T>& t) {
  constexpr int L = LANES<T>, NR = CONV_NV * L;
  Vec<T> acc[ROWS][NV];
  EACH_VECTOR acc[i][v] = Vec<T>{};
  const T* b = t.b;
  for (ptrdiff_t k = 0; k < t.pixels; ++k, b += NR) {
    const T* a = t.a[k] + t.offset;
    Vec<T> bv[NV];
#pragma GCC unroll 4
    for (int v = 0; v < NV; ++v) bv[v] = load(b + v * L);
    EACH_VECTOR acc[i][v] += a[i] * bv[v];
  }
  if (t.accumulate) {
    EACH_VECTOR acc[i][v] += load(t.c + i * t.ldc + v * L);
  }
  EACH_VECTOR store(t.c + i * t.ldc + v * L, acc[i][v]);
}

// The number of rows is a constant of each body, so that all of c stays in registers: one body per count.
template <class T, int ROWS, int NV>
static void conv_rows_of(const ConvRows<T>& t) {
  if constexpr (ROWS > 1)
    if (t.rows != ROWS) return conv_rows_of<T, ROWS - 1, NV>(t);
  conv_rows<T, ROWS, NV>(t);
}
template <class T, int ROWS, int NV>
static void conv_outer_of(const ConvOuter<T>& t) {
  if constexpr (ROWS > 1)
    if (t.rows != ROWS) return conv_outer_of<T, ROWS - 1, NV>(t);
  conv_outer<T, ROWS, NV>(t);
}

// Columns that fill no vector go through a tile of their own.
template <class T>
static void conv_rows_any(const ConvRows<T>& t) {
  constexpr int L = LANES<T>, NR = CONV_NV * L;
  const auto run = t.columns > L ? conv_rows_of<T, CONV_MR, CONV_NV> : conv_rows_of<T, CONV_MR, 1>;
  if (t.columns % L == 0) return run(t);
  T tile[CONV_MR * NR];
  T* row[CONV_MR];
  for (ptrdiff_t i = 0; i < t.rows; ++i) {
    row[i] = tile + i * NR;
    if (t.accumulate) __builtin_memcpy(row[i], t.c[i] + t.column, static_cast<size_t>(t.columns) * sizeof(T));
  }
  ConvRows<T> whole = t;
  whole.c = row;
  whole.column = 0;
  run(whole);
  for (ptrdiff_t i = 0; i < t.rows; ++i)
    __builtin_memcpy(t.c[i] + t.column, row[i], static_cast<size_t>(t.columns) * sizeof(T));
}
template <class T>
static void conv_outer_any(const ConvOuter<T>& t) {
  constexpr int L = LANES<T>, NR = CONV_NV * L;
  const auto run = t.columns > L ? conv_outer_of<T, CONV_MR, CONV_NV> : conv_outer_of<T, CONV_MR, 1>;
  if (t.columns % L == 0) return run(t);
  T tile[CONV_MR * NR];
  for (ptrdiff_t i = 0; i < t.rows && t.accumulate; ++i)
    __builtin_memcpy(tile + i * NR, t.c + i * t.ldc, static_cast<size_t>(t.columns) * sizeof(T));
  ConvOuter<T> whole = t;
  whole.c = tile;
  whole.ldc = NR;
  run(whole);
  for (ptrdiff_t i = 0; i < t.rows; ++i)
    __builtin_memcpy(t.c + i * t.ldc, tile + i * NR, static_cast<size_t>(t.columns) * sizeof(T));
}

// ---- depthwise: pixels of a row that see the same taps ----

// A vector, or its first n lanes.
template <class T, bool WHOLE>
INLINE Vec<T> load_lanes(const T* p, ptrdiff_t n) {
  return WHOLE ? load(p) : load_some(p, n);
}
template <class T, bool WHOLE>
INLINE void store_lanes(T* p, Vec<T> v, ptrdiff_t n) {
  if (WHOLE)
    store(p, v);
  else
    store_some(p, v, n);
}

// PIXELS by NV vectors of channels at once, so that a weight serves several pixels; or, not WHOLE, the
// last n channels.
template <class T, int PIXELS, int NV, bool WHOLE>
static void depthwise_tile(const ConvDepthwise<T>& t, ptrdiff_t pixel, ptrdiff_t channel, ptrdiff_t n) {
  constexpr int L = LANES<T>;
  Vec<T> acc[PIXELS][NV];
  for (int v = 0; v < NV; ++v) {
    const Vec<T> init = load_lanes<T, WHOLE>(t.init + channel + v * L, n);
    for (int p = 0; p < PIXELS; ++p) acc[p][v] = init;
  }
  for (ptrdiff_t k = 0; k < t.taps; ++k) {
    const T *a = t.a[k] + pixel * t.a_step + channel, *b = t.b[k] + channel;
    for (int v = 0; v < NV; ++v) {
      const Vec<T> weight = load_lanes<T, WHOLE>(b + v * L, n);
      for (int p = 0; p < PIXELS; ++p) acc[p][v] += load_lanes<T, WHOLE>(a + p * t.a_step + v * L, n) * weight;
    }
  }
  for (int p = 0; p < PIXELS; ++p)
    for (int v = 0; v < NV; ++v) store_lanes<T, WHOLE>(t.c + (pixel + p) * t.c_step + channel + v * L, acc[p][v], n);
}

template <class T, int PIXELS>
static void depthwise_pixels(const ConvDepthwise<T>& t, ptrdiff_t pixel) {
  constexpr int L = LANES<T>;
  ptrdiff_t c = 0;
  for (; c + 2 * L <= t.channels; c += 2 * L) depthwise_tile<T, PIXELS, 2, true>(t, pixel, c, L);
  for (; c + L <= t.channels; c += L) depthwise_tile<T, PIXELS, 1, true>(t, pixel, c, L);
  if (c < t.channels) depthwise_tile<T, PIXELS, 1, false>(t, pixel, c, t.channels - c);
}

// c[pixel][channel] = init[channel] + sum over taps of a[tap][pixel][channel] * b[tap][channel].
template <class T>
static void depthwise(const ConvDepthwise<T>& t) {
  ptrdiff_t p = 0;
  for (; p + 4 <= t.pixels; p += 4) depthwise_pixels<T, 4>(t, p);
  for (; p < t.pixels; ++p) depthwise_pixels<T, 1>(t, p);
}

// TAPS by NV vectors of channels at once, so that a value of b serves several taps.
template <class T, int TAPS, int NV, bool WHOLE>
static void depthwise_outer_tile(const ConvDepthwiseOuter<T>& t, ptrdiff_t tap, ptrdiff_t channel, ptrdiff_t n) {
  constexpr int L = LANES<T>;
  Vec<T> acc[TAPS][NV];
  const T* a[TAPS];
  for (int k = 0; k < TAPS; ++k) {
    a[k] = t.a[tap + k] + channel;
    for (int v = 0; v < NV; ++v) acc[k][v] = load_lanes<T, WHOLE>(t.c[tap + k] + channel + v * L, n);
  }
  for (ptrdiff_t p = 0; p < t.pixels; ++p)
    for (int v = 0; v < NV; ++v) {
      const Vec<T> b = load_lanes<T, WHOLE>(t.b + p * t.b_step + channel + v * L, n);
      for (int k = 0; k < TAPS; ++k) acc[k][v] += load_lanes<T, WHOLE>(a[k] + p * t.a_step + v * L, n) * b;
    }
  for (int k = 0; k < TAPS; ++k)
    for (int v = 0; v < NV; ++v) store_lanes<T, WHOLE>(t.c[tap + k] + channel + v * L, acc[k][v], n);
}

template <class T, int TAPS>
static void depthwise_outer_taps(const ConvDepthwiseOuter<T>& t, ptrdiff_t tap) {
  constexpr int L = LANES<T>, NV = 3;
  ptrdiff_t c = 0;
  for (; c + NV * L <= t.channels; c += NV * L) depthwise_outer_tile<T, TAPS, NV, true>(t, tap, c, L);
  for (; c + L <= t.channels; c += L) depthwise_outer_tile<T, TAPS, 1, true>(t, tap, c, L);
  if (c < t.channels) depthwise_outer_tile<T, TAPS, 1, false>(t, tap, c, t.channels - c);
}

// c[tap][channel] += sum over pixels of a[tap][pixel][channel] * b[pixel][channel].
template <class T>
static void depthwise_outer(const ConvDepthwiseOuter<T>& t) {
  ptrdiff_t k = 0;
  for (; k + 3 <= t.taps; k += 3) depthwise_outer_taps<T, 3>(t, k);
  for (; k < t.taps; ++k) depthwise_outer_taps<T, 1>(t, k);
}

template <class T>
static constexpr ConvKernels<T> conv_of = {
    CONV_MR, CONV_NV * LANES<T>, conv_rows_any<T>, conv_outer_any<T>, depthwise<T>, depthwise_outer<T>,
};
extern const ConvKernels<float> conv_f32;
extern const ConvKernels<double> conv_f64;
constinit const ConvKernels<float> conv_f32 = conv_of<float>;
constinit const ConvKernels<double> conv_f64 = conv_of<double>;

}  // namespace nnfast::NNFAST_ISA
