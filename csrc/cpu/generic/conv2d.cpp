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
// registers, for the rows from `row` on. SINGLE: length is 1.
template <class T, int ROWS, int NV, bool SINGLE>
INLINE void conv_rows(const ConvRows<T>& t, ptrdiff_t row) {
  constexpr int L = LANES<T>, NR = CONV_NV * L;
  const T* const* patch = t.a + row;
  T* const* c = t.c + row;
  Vec<T> acc[ROWS][NV];
  if (t.accumulate) {
    EACH_VECTOR acc[i][v] = load(c[i] + t.column + v * L);
  } else {
    EACH_VECTOR acc[i][v] = load(t.init + v * L);
  }
  const T* b = t.b;
  const T* a[ROWS];
  if constexpr (SINGLE) {
#pragma GCC unroll 16
    for (int i = 0; i < ROWS; ++i) a[i] = patch[i];
  }
  for (ptrdiff_t s = 0; SINGLE && s < t.segments; ++s, b += NR) {
    const ptrdiff_t k = t.offsets[s] + t.shift;
    Vec<T> bv[NV];
#pragma GCC unroll 4
    for (int v = 0; v < NV; ++v) bv[v] = load(b + v * L);
    EACH_VECTOR acc[i][v] += a[i][k] * bv[v];
  }
  for (ptrdiff_t s = 0; !SINGLE && s < t.segments; ++s) {
    const ptrdiff_t offset = t.offsets[s] + t.shift;
#pragma GCC unroll 16
    for (int i = 0; i < ROWS; ++i) a[i] = patch[i] + offset;
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
  EACH_VECTOR store(c[i] + t.column + v * L, acc[i][v]);
}

// c[ROWS, NV vectors] (+)= cells[pixels, ROWS]^T * b[pixels, NV vectors]: ROWS cells of each patch, NEIGHBOURS or not.
template <class T, int ROWS, int NV, bool NEIGHBOURS>
static void conv_outer(const ConvOuter<T>& t) {
  constexpr int L = LANES<T>;
  ptrdiff_t cell[ROWS];
  for (int i = 0; i < ROWS; ++i) cell[i] = NEIGHBOURS ? t.offsets[0] + i : t.offsets[i];
  Vec<T> acc[ROWS][NV];
  EACH_VECTOR acc[i][v] = Vec<T>{};
  const T* b = t.b;
  for (ptrdiff_t k = 0; k < t.pixels; ++k, b += t.b_row) {
    const T* a = t.a[k];
    Vec<T> bv[NV];
#pragma GCC unroll 4
    for (int v = 0; v < NV; ++v) bv[v] = load(b + v * L);
    EACH_VECTOR acc[i][v] += a[cell[i]] * bv[v];
  }
  if (t.accumulate) {
    EACH_VECTOR acc[i][v] += load(t.c + i * t.ldc + v * L);
  }
  EACH_VECTOR store(t.c + i * t.ldc + v * L, acc[i][v]);
}

// The number of rows is a constant of each body, so that all of c stays in registers: one body per count.
template <class T, int ROWS, int NV, bool SINGLE>
static void conv_rows_of(const ConvRows<T>& t, ptrdiff_t row, ptrdiff_t rows) {
  if constexpr (ROWS > 1)
    if (rows != ROWS) return conv_rows_of<T, ROWS - 1, NV, SINGLE>(t, row, rows);
  for (; row + ROWS <= t.rows; row += ROWS) conv_rows<T, ROWS, NV, SINGLE>(t, row);
}
// All rows of c, tile by tile, each an even share.
template <class T, int NV>
static void conv_rows_with(const ConvRows<T>& t) {
  const auto run = t.length == 1 ? conv_rows_of<T, CONV_MR, NV, true> : conv_rows_of<T, CONV_MR, NV, false>;
  const ptrdiff_t tiles = (t.rows + CONV_MR - 1) / CONV_MR, rows = (t.rows + tiles - 1) / tiles, rest = t.rows % rows;
  run(t, 0, rows);
  if (rest > 0) run(t, t.rows - rest, rest);
}
template <class T, int ROWS, int NV, bool NEIGHBOURS>
static void conv_outer_of(const ConvOuter<T>& t) {
  if constexpr (ROWS > 1)
    if (t.rows != ROWS) return conv_outer_of<T, ROWS - 1, NV, NEIGHBOURS>(t);
  conv_outer<T, ROWS, NV, NEIGHBOURS>(t);
}
template <class T, int NV>
static void conv_outer_with(const ConvOuter<T>& t) {
  t.neighbours ? conv_outer_of<T, CONV_MR, NV, true>(t) : conv_outer_of<T, CONV_MR, NV, false>(t);
}

// Columns that fill no vector go through a tile of their own.
template <class T>
static void conv_rows_any(const ConvRows<T>& t) {
  constexpr int L = LANES<T>, NR = CONV_NV * L;
  constexpr ptrdiff_t MR = CONV_MR;
  const auto run = t.columns > L ? conv_rows_with<T, CONV_NV> : conv_rows_with<T, 1>;
  if (t.columns % L == 0) return run(t);
  T tile[CONV_MR * NR];
  T* row[CONV_MR];
  for (int i = 0; i < CONV_MR; ++i) row[i] = tile + i * NR;
  ConvRows<T> some = t;
  some.c = row;
  some.column = 0;
  const size_t bytes = static_cast<size_t>(t.columns) * sizeof(T);
  for (ptrdiff_t first = 0; first < t.rows; first += CONV_MR) {
    some.rows = t.rows - first < MR ? t.rows - first : MR;
    some.a = t.a + first;
    for (ptrdiff_t i = 0; i < some.rows && t.accumulate; ++i)
      __builtin_memcpy(row[i], t.c[first + i] + t.column, bytes);
    run(some);
    for (ptrdiff_t i = 0; i < some.rows; ++i) __builtin_memcpy(t.c[first + i] + t.column, row[i], bytes);
  }
}
template <class T>
static void conv_outer_any(const ConvOuter<T>& t) {
  constexpr int L = LANES<T>, NR = CONV_NV * L;
  const auto run = t.columns > L ? conv_outer_with<T, CONV_NV> : conv_outer_with<T, 1>;
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

// PIXELS by one vector of channels, or its first n: groups of TAPS taps, each of which looks one pixel further than the
// one before, so that a cell is loaded once for all of a group that look at it.
template <class T, int PIXELS, int TAPS, bool WHOLE>
INLINE void depthwise_tile(const ConvDepthwise<T>& t, ptrdiff_t pixel, ptrdiff_t channel, ptrdiff_t n) {
  const ptrdiff_t taps = t.taps, a_step = t.a_step, c_step = t.c_step, from = pixel * a_step + channel;
  const T *const *a = t.a, *const *b = t.b;
  T* c = t.c + pixel * c_step + channel;
  for (int p = 0; p < PIXELS && taps > 0; ++p) {  // for 25 MB of images 15% to 40% faster than without (Zen 5)
    __builtin_prefetch(a[taps - 1] + t.a_ahead + from + p * a_step);
    __builtin_prefetch(c + t.c_ahead + p * c_step, 1);
  }
  Vec<T> acc[PIXELS];
  const Vec<T> init = load_lanes<T, WHOLE>(t.init + channel, n);
  for (int p = 0; p < PIXELS; ++p) acc[p] = init;
  for (ptrdiff_t k = 0; k < taps; k += TAPS) {
    const T* cell = a[k] + from;
    Vec<T> weight[TAPS];
    for (int s = 0; s < TAPS; ++s) weight[s] = load_lanes<T, WHOLE>(b[k + s] + channel, n);
#pragma GCC unroll 16
    for (int q = 0; q < PIXELS + TAPS - 1; ++q, cell += a_step) {
      const Vec<T> v = in_register(load_lanes<T, WHOLE>(cell, n));
#pragma GCC unroll 16
      for (int s = 0; s < TAPS; ++s)
        if (q - s >= 0 && q - s < PIXELS) acc[q - s] += v * weight[s];
    }
  }
  for (int p = 0; p < PIXELS; ++p, c += c_step) store_lanes<T, WHOLE>(c, acc[p], n);
}

template <class T, int PIXELS, int TAPS>
static void depthwise_pixels(const ConvDepthwise<T>& t, ptrdiff_t pixel) {
  constexpr int L = LANES<T>;
  ptrdiff_t c = 0;
  for (; c + L <= t.channels; c += L) depthwise_tile<T, PIXELS, TAPS, true>(t, pixel, c, L);
  if (c < t.channels) depthwise_tile<T, PIXELS, TAPS, false>(t, pixel, c, t.channels - c);
}

// The last tile may cover pixels of the one before: it gives them the same values again.
template <class T, int TAPS>
static void depthwise_of(const ConvDepthwise<T>& t) {
  constexpr int PIXELS = 8;
  if (t.pixels >= PIXELS)
    for (ptrdiff_t p = 0; p < t.pixels; p += PIXELS)
      depthwise_pixels<T, PIXELS, TAPS>(t, p + PIXELS <= t.pixels ? p : t.pixels - PIXELS);
  else
    for (ptrdiff_t p = 0; p < t.pixels; ++p) depthwise_pixels<T, 1, TAPS>(t, p);
}
// c[pixel][channel] = init[channel] + sum over taps of a[tap][pixel][channel] * b[tap][channel].
template <class T>
static void depthwise(const ConvDepthwise<T>& t) {
  if (t.row_taps == 3) return depthwise_of<T, 3>(t);
  if (t.row_taps == 5) return depthwise_of<T, 5>(t);
  return depthwise_of<T, 1>(t);
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
