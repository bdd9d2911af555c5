// conv2d micro-kernels. The patches of an image overlap, so they are not copied into panels as gemm's rows are: a
// pixel of the output is a pointer to the first cell of its patch, and a patch is a list of segments, each of them
// `length` neighbouring cells at an offset that all patches share. Products read their scalars there.
#include "../kernels.h"
#include "vec.h"

namespace nnfast::NNFAST_ISA {

static_assert(CONV_NV == GEMM_NV, "panels are packed by gemm's pack_b");

// c[ROWS, NV vectors] = from[ROWS] + patches[ROWS, segments x length] * b[segments x length, NR packed], all of c in
// registers.
template <class T, int ROWS, int NV>
static void conv_rows(const ConvRows<T>& t, const T* const* from, T* const* to) {
  constexpr int L = LANES<T>, NR = CONV_NV * L;
  Vec<T> acc[ROWS][NV];
  for (int i = 0; i < ROWS; ++i)
    for (int v = 0; v < NV; ++v) acc[i][v] = load(from[i] + v * L);
  const T* b = t.b;
  for (ptrdiff_t s = 0; s < t.segments; ++s) {
    const T* a[ROWS];
    for (int i = 0; i < ROWS; ++i) a[i] = t.a[i] + t.offsets[s] + t.shift;
    for (ptrdiff_t k = 0; k < t.length; ++k, b += NR) {
      Vec<T> bv[NV];
      for (int v = 0; v < NV; ++v) bv[v] = load(b + v * L);
      for (int i = 0; i < ROWS; ++i)
        for (int v = 0; v < NV; ++v) acc[i][v] += a[i][k] * bv[v];
    }
  }
  for (int i = 0; i < ROWS; ++i)
    for (int v = 0; v < NV; ++v) store(to[i] + v * L, t.relu ? max_or_second(Vec<T>{}, acc[i][v]) : acc[i][v]);
}

// c[ROWS, NV vectors] (+)= cells[pixels, ROWS]^T * b[pixels, NR packed]: ROWS neighbouring cells of each patch.
template <class T, int ROWS, int NV>
static void conv_outer(const ConvOuter<T>& t, T* c, ptrdiff_t c_row) {
  constexpr int L = LANES<T>, NR = CONV_NV * L;
  Vec<T> acc[ROWS][NV] = {};
  const T* b = t.b;
  for (ptrdiff_t k = 0; k < t.pixels; ++k, b += NR) {
    const T* a = t.a[k] + t.offset;
    Vec<T> bv[NV];
    for (int v = 0; v < NV; ++v) bv[v] = load(b + v * L);
    for (int i = 0; i < ROWS; ++i)
      for (int v = 0; v < NV; ++v) acc[i][v] += a[i] * bv[v];
  }
  for (int i = 0; i < ROWS; ++i)
    for (int v = 0; v < NV; ++v) {
      T* to = c + i * c_row + v * L;
      store(to, t.accumulate ? load(to) + acc[i][v] : acc[i][v]);
    }
}

// The number of rows is a constant of each body, so that all of c stays in registers: one body per count.
template <class T, int ROWS, int NV>
static void conv_rows_of(const ConvRows<T>& t, const T* const* from, T* const* to) {
  if constexpr (ROWS > 1)
    if (t.rows != ROWS) return conv_rows_of<T, ROWS - 1, NV>(t, from, to);
  conv_rows<T, ROWS, NV>(t, from, to);
}
template <class T, int ROWS, int NV>
static void conv_outer_of(const ConvOuter<T>& t, T* c, ptrdiff_t c_row) {
  if constexpr (ROWS > 1)
    if (t.rows != ROWS) return conv_outer_of<T, ROWS - 1, NV>(t, c, c_row);
  conv_outer<T, ROWS, NV>(t, c, c_row);
}

// Columns that fill no vector go through a tile of their own.
template <class T>
static void conv_rows_any(const ConvRows<T>& t) {
  constexpr int L = LANES<T>, NR = CONV_NV * L;
  const bool part = t.columns % L != 0;
  T tile[CONV_MR * NR];
  const T* from[CONV_MR];
  T* to[CONV_MR];
  for (ptrdiff_t i = 0; i < t.rows; ++i) {
    to[i] = part ? tile + i * NR : t.c[i] + t.column;
    from[i] = t.accumulate ? to[i] : t.init;
    if (part && t.accumulate)
      for (ptrdiff_t j = 0; j < t.columns; ++j) to[i][j] = t.c[i][t.column + j];
  }
  (t.columns > L ? conv_rows_of<T, CONV_MR, CONV_NV> : conv_rows_of<T, CONV_MR, 1>)(t, from, to);
  if (part)
    for (ptrdiff_t i = 0; i < t.rows; ++i)
      for (ptrdiff_t j = 0; j < t.columns; ++j) t.c[i][t.column + j] = to[i][j];
}
template <class T>
static void conv_outer_any(const ConvOuter<T>& t) {
  constexpr int L = LANES<T>, NR = CONV_NV * L;
  const bool part = t.columns % L != 0;
  T tile[CONV_MR * NR];
  if (part && t.accumulate)
    for (ptrdiff_t i = 0; i < t.rows; ++i)
      for (ptrdiff_t j = 0; j < t.columns; ++j) tile[i * NR + j] = t.c[i * t.ldc + j];
  (t.columns > L ? conv_outer_of<T, CONV_MR, CONV_NV> : conv_outer_of<T, CONV_MR, 1>)(t, part ? tile : t.c,
                                                                                      part ? NR : t.ldc);
  if (part)
    for (ptrdiff_t i = 0; i < t.rows; ++i)
      for (ptrdiff_t j = 0; j < t.columns; ++j) t.c[i * t.ldc + j] = tile[i * NR + j];
}

// c[i] = init[i] + sum over taps of a[tap][i] * b[tap][i], for each channel i.
template <class T>
static void conv_depthwise(ptrdiff_t taps, const T* const* a, const T* const* b, const T* init, ptrdiff_t channels,
                           T* c) {
  constexpr int L = LANES<T>, NV = 4;
  ptrdiff_t i = 0;
  for (; i + NV * L <= channels; i += NV * L) {
    Vec<T> acc[NV];
    for (int v = 0; v < NV; ++v) acc[v] = load(init + i + v * L);
    for (ptrdiff_t t = 0; t < taps; ++t)
      for (int v = 0; v < NV; ++v) acc[v] += load(a[t] + i + v * L) * load(b[t] + i + v * L);
    for (int v = 0; v < NV; ++v) store(c + i + v * L, acc[v]);
  }
  for (; i < channels; i += L) {
    const ptrdiff_t n = channels - i < L ? channels - i : L;
    Vec<T> acc = load_some(init + i, n);
    for (ptrdiff_t t = 0; t < taps; ++t) acc += load_some(a[t] + i, n) * load_some(b[t] + i, n);
    store_some(c + i, acc, n);
  }
}

// c[tap][i] += a[tap][i] * b[i], for each channel i.
template <class T>
static void conv_depthwise_outer(ptrdiff_t taps, const T* const* a, const T* b, ptrdiff_t channels, T* const* c) {
  constexpr int L = LANES<T>;
  for (ptrdiff_t t = 0; t < taps; ++t) {
    const T* from = a[t];
    T* to = c[t];
    ptrdiff_t i = 0;
    for (; i + L <= channels; i += L) store(to + i, load(to + i) + load(from + i) * load(b + i));
    if (const ptrdiff_t n = channels - i)
      store_some(to + i, load_some(to + i, n) + load_some(from + i, n) * load_some(b + i, n), n);
  }
}

extern const ConvKernels<float> conv_f32;
extern const ConvKernels<double> conv_f64;
constinit const ConvKernels<float> conv_f32 = {CONV_MR,
                                               CONV_NV * LANES<float>,
                                               conv_rows_any<float>,
                                               conv_outer_any<float>,
                                               conv_depthwise<float>,
                                               conv_depthwise_outer<float>};
constinit const ConvKernels<double> conv_f64 = {CONV_MR,
                                                CONV_NV * LANES<double>,
                                                conv_rows_any<double>,
                                                conv_outer_any<double>,
                                                conv_depthwise<double>,
                                                conv_depthwise_outer<double>};

}  // namespace nnfast::NNFAST_ISA
