// gemm: micro-kernels, packing, and what happens to a tile before it leaves the registers or the cache.
#include "../../ops.h"
#include "../kernels.h"
#include "math.h"
#include "vec.h"

namespace nnfast::NNFAST_ISA {

// 0, ..., N - 1 as a parameter pack.
template <int... I>
struct Indices {};
template <int N, int... I>
struct CountTo : CountTo<N - 1, N - 1, I...> {};
template <int... I>
struct CountTo<0, I...> {
  using type = Indices<I...>;
};

// ---- activations, and their slopes from the result ----

constexpr double SELU_SCALE = 1.0507009873554805, SELU_ALPHA = 1.6732632423543772;

template <class T>
INLINE Vec<T> activate(Vec<T> x, Activation activation, T slope) {
  const Vec<T> zero = {};
  switch (activation) {
    case Activation::relu:
      return max_or_second(zero, x);  // NaN stays
    case Activation::leaky_relu:
      return select(x > zero, x, slope * x);
    case Activation::elu:
      return select(x > zero, x, slope * expm1(min_or_second(zero, x)));
    case Activation::selu:
      return T(SELU_SCALE) * select(x > zero, x, T(SELU_ALPHA) * expm1(min_or_second(zero, x)));
    case Activation::sigmoid:
      return sigmoid(x);
    case Activation::tanh:
      return tanh(x);
    case Activation::softplus:
      return max_or_second(zero, x) + log1p(exp(-abs(x)));
    case Activation::exp:
      return exp(x);
    default:
      return x;
  }
}

template <class T>
INLINE Vec<T> slope_at(Vec<T> y, Activation activation, T slope) {
  const Vec<T> zero = {}, one = splat<T>(1);
  switch (activation) {
    case Activation::relu:
      return select(y > zero, one, zero);
    case Activation::leaky_relu:
      return select(y > zero, one, splat<T>(slope));
    case Activation::elu:
      return select(y > zero, one, y + slope);
    case Activation::selu:
      return select(y > zero, splat<T>(SELU_SCALE), y + T(SELU_SCALE * SELU_ALPHA));
    case Activation::sigmoid:
      return y * (one - y);
    case Activation::tanh:
      return one - y * y;
    case Activation::softplus:
      return -expm1(-y);
    default:
      return y;  // exp
  }
}

// ---- C[rows,cols] = finish(sum[rows,cols]), for what the micro-kernels do not do in registers ----

template <class T>
static void finish_rows(const T* sum, ptrdiff_t sum_row, T* c, ptrdiff_t c_row, ptrdiff_t rows, ptrdiff_t cols,
                        const GemmFinish<T>& f) {
  constexpr int L = LANES<T>;
  const Activation activation = static_cast<Activation>(f.activation);
  for (ptrdiff_t i = 0; i < rows; ++i, sum += sum_row, c += c_row)
    for (ptrdiff_t j = 0; j < cols; j += L) {
      const ptrdiff_t n = cols - j < L ? cols - j : L;
      const bool whole = n == L;
      Vec<T> x = f.alpha * (whole ? load(sum + j) : load_some(sum + j, n));
      if (f.beta != 0) x += f.beta * (whole ? load(c + j) : load_some(c + j, n));
      if (f.bias) x += whole ? load(f.bias + j) : load_some(f.bias + j, n);
      x = activate<T>(x, activation, f.slope);
      if (whole)
        store(c + j, x);
      else
        store_some(c + j, x, n);
    }
}

// ---- the micro-kernel: C[ROWS, NV vectors] stays in registers while k runs ----
// A by (a_row, a_col); UNIT: a_row == 1, as in a packed panel. Other rows are addressed in threes, from one pointer
// each: x86 has base + stride and base + 2 * stride for free.
// PACKING: B is packed on the way, and AHEAD rows of it are asked for, since they may lie a page apart, where no
// hardware does. (32,768,3072) in GFLOP/s, Zen 5, avx512: 190 without, 217 with 16, 223 with 32, 224 with 64; avx2: 98
// with 16, 106, 110.

constexpr int AHEAD = 64;

static_assert(GEMM_NV <= 2, "only the last vector of a row may be incomplete: with fewer columns NV is 1");

template <class T, int ROWS, int NV, bool UNIT, bool PACKING = false>
static void micro_tile(ptrdiff_t k, const T* a, ptrdiff_t a_row, ptrdiff_t a_col, const T* b, ptrdiff_t b_row, T* c,
                       ptrdiff_t c_row, int cols, const GemmFinish<T>& f, [[maybe_unused]] T* packed) {
  constexpr int L = LANES<T>, GROUPS = UNIT ? 1 : (ROWS + 2) / 3;
  Vec<T> acc[ROWS][NV];
#pragma GCC unroll 16
  for (int i = 0; i < ROWS; ++i)
#pragma GCC unroll 4
    for (int v = 0; v < NV; ++v) acc[i][v] = Vec<T>{};
#pragma GCC unroll 16
  for (int i = 0; i < ROWS; ++i)  // every line of C's tile: 3% of 2048^3 on avx512
    for (int v = 0; v < NV * VECTOR_BYTES; v += 64)
      __builtin_prefetch(c + i * c_row + v / static_cast<int>(sizeof(T)), 1);
  const T* group[GROUPS];
  for (int g = 0; g < GROUPS; ++g) group[g] = a + 3 * g * a_row;
  for (ptrdiff_t p = 0; p < k; ++p, b += b_row) {
    Vec<T> bv[NV];
#pragma GCC unroll 4
    for (int v = 0; v < NV; ++v) {
      bv[v] = load(b + v * L);
      if constexpr (PACKING) {
        store(packed + v * L, bv[v]);
        __builtin_prefetch(b + AHEAD * b_row + v * L);
      }
    }
    if constexpr (PACKING) packed += NV * L;
#pragma GCC unroll 16
    for (int i = 0; i < ROWS; ++i) {
      const Vec<T> av = splat<T>(UNIT ? group[0][i] : group[i / 3][i % 3 * a_row]);
#pragma GCC unroll 4
      for (int v = 0; v < NV; ++v) acc[i][v] += av * bv[v];
    }
    for (int g = 0; g < GROUPS; ++g) group[g] += a_col;
  }
  if (f.activation > static_cast<int>(Activation::relu) || f.alpha != 1) {
    T sum[ROWS * NV * L];
#pragma GCC unroll 16
    for (int i = 0; i < ROWS; ++i)
#pragma GCC unroll 4
      for (int v = 0; v < NV; ++v) store(sum + (i * NV + v) * L, acc[i][v]);
    return finish_rows<T>(sum, NV * L, c, c_row, ROWS, cols, f);
  }
  const auto finish = [&](bool whole) __attribute__((always_inline)) {
    const ptrdiff_t rest = cols - (NV - 1) * L;  // columns of the last vector
    const auto each = [&](const auto& fn) __attribute__((always_inline)) {
#pragma GCC unroll 16
      for (int i = 0; i < ROWS; ++i)
#pragma GCC unroll 4
        for (int v = 0; v < NV; ++v) fn(acc[i][v], c + i * c_row + v * L, v, whole || v < NV - 1);
    };
    if (f.beta != 0)
      each([&](Vec<T>& x, T* to, int, bool all) { x += f.beta * (all ? load(to) : load_some(to, rest)); });
    if (f.bias)
      each([&](Vec<T>& x, T*, int v, bool all) { x += all ? load(f.bias + v * L) : load_some(f.bias + v * L, rest); });
    if (f.activation) each([&](Vec<T>& x, T*, int, bool) { x = activate<T>(x, Activation::relu, 0); });
    each([&](Vec<T>& x, T* to, int, bool all) { all ? store(to, x) : store_some(to, x, rest); });
  };
  cols == NV* L ? finish(true) : finish(false);
}

template <class T>
using MicroTile = void (*)(ptrdiff_t, const T*, ptrdiff_t, ptrdiff_t, const T*, ptrdiff_t, T*, ptrdiff_t, int,
                           const GemmFinish<T>&, T*);
template <class T, bool UNIT, int... ROWS>
INLINE MicroTile<T> micro_for(int rows, bool wide, Indices<ROWS...>) {
  static constexpr MicroTile<T> tiles[][2] = {
      {micro_tile<T, ROWS + 1, 1, UNIT>, micro_tile<T, ROWS + 1, GEMM_NV, UNIT>}...};
  return tiles[rows - 1][wide];
}

template <class T>
static void micro(ptrdiff_t k, const T* a, ptrdiff_t a_row, ptrdiff_t a_col, const T* b, ptrdiff_t b_row, T* c,
                  ptrdiff_t c_row, int rows, int cols, const GemmFinish<T>& finish) {
  const bool wide = cols > LANES<T>;  // one vector may be enough: no sums that nobody wants
  using Rows = typename CountTo<GEMM_MR>::type;
  const MicroTile<T> tile =
      a_row == 1 ? micro_for<T, true>(rows, wide, Rows{}) : micro_for<T, false>(rows, wide, Rows{});
  tile(k, a, a_row, a_col, b, b_row, c, c_row, cols, finish, nullptr);
}

template <class T, int... ROWS>
INLINE MicroTile<T> packing_for(int rows, Indices<ROWS...>) {
  static constexpr MicroTile<T> tiles[] = {micro_tile<T, ROWS + 1, GEMM_NV, true, true>...};
  return tiles[rows - 1];
}
template <class T>
static void micro_packing(ptrdiff_t k, const T* a, const T* b, ptrdiff_t b_row, T* packed, T* c, ptrdiff_t c_row,
                          int rows, const GemmFinish<T>& finish) {
  const MicroTile<T> tile = packing_for<T>(rows, typename CountTo<GEMM_MR>::type{});
  tile(k, a, 1, GEMM_MR, b, b_row, c, c_row, GEMM_NV * LANES<T>, finish, packed);
}

// ---- few rows: B streams by once, unpacked, DEPTH of its rows side by side; the sums of a strip stay in L1 ----

constexpr int FEW_ROWS = 3, STRIP = 512;

template <class T, int ROWS, int DEPTH>
INLINE void few_step(const T* a, ptrdiff_t a_row, ptrdiff_t a_col, const T* b, ptrdiff_t b_row, ptrdiff_t cols,
                     T (*sum)[STRIP]) {
  constexpr int L = LANES<T>;
  Vec<T> av[ROWS][DEPTH];
#pragma GCC unroll 4
  for (int i = 0; i < ROWS; ++i)
#pragma GCC unroll 8
    for (int p = 0; p < DEPTH; ++p) av[i][p] = splat<T>(a[i * a_row + p * a_col]);
  const auto columns = [&](ptrdiff_t j, auto&& load_b) __attribute__((always_inline)) {
    Vec<T> acc[ROWS];
#pragma GCC unroll 4
    for (int i = 0; i < ROWS; ++i) acc[i] = load(sum[i] + j);
#pragma GCC unroll 8
    for (int p = 0; p < DEPTH; ++p) {
      const Vec<T> bv = load_b(b + p * b_row + j);
#pragma GCC unroll 4
      for (int i = 0; i < ROWS; ++i) acc[i] += av[i][p] * bv;
    }
#pragma GCC unroll 4
    for (int i = 0; i < ROWS; ++i) store(sum[i] + j, acc[i]);
  };
  ptrdiff_t j = 0;
  for (; j + L <= cols; j += L) columns(j, [](const T* at) { return load(at); });
  if (j < cols) columns(j, [=](const T* at) { return load_some(at, cols - j); });
}

template <class T, int ROWS>
static void few_rows(ptrdiff_t k, const T* a, ptrdiff_t a_row, ptrdiff_t a_col, const T* b, ptrdiff_t b_row, T* c,
                     ptrdiff_t c_row, ptrdiff_t cols, GemmFinish<T> f) {
  constexpr int DEPTH = ROWS == 1 ? 8 : 4;  // its broadcasts of a take half of the registers
  for (ptrdiff_t j = 0; j < cols; j += STRIP) {
    const ptrdiff_t n = cols - j < STRIP ? cols - j : STRIP;
    T sum[ROWS][STRIP] = {};
    ptrdiff_t p = 0;
    for (; p + DEPTH <= k; p += DEPTH)
      few_step<T, ROWS, DEPTH>(a + p * a_col, a_row, a_col, b + p * b_row + j, b_row, n, sum);
    for (; p < k; ++p) few_step<T, ROWS, 1>(a + p * a_col, a_row, a_col, b + p * b_row + j, b_row, n, sum);
    finish_rows<T>(sum[0], STRIP, c + j, c_row, ROWS, n, f);
    if (f.bias) f.bias += n;
  }
}

template <class T>
static void few(ptrdiff_t k, const T* a, ptrdiff_t a_row, ptrdiff_t a_col, const T* b, ptrdiff_t b_row, T* c,
                ptrdiff_t c_row, int rows, ptrdiff_t cols, const GemmFinish<T>& f) {
  static_assert(FEW_ROWS == 3 && STRIP % LANES<T> == 0);
  (rows == 1   ? few_rows<T, 1>
   : rows == 2 ? few_rows<T, 2>
               : few_rows<T, 3>)(k, a, a_row, a_col, b, b_row, c, c_row, cols, f);
}

// ---- packing ----

// a0 b0 a1 b1 ...: the lower halves, or (HIGH) the upper halves, interleaved.
template <class T, bool HIGH, int... I>
INLINE Vec<T> interleave(Vec<T> a, Vec<T> b, Indices<I...>) {
  constexpr int L = LANES<T>;
  return __builtin_shufflevector(a, b, ((I + (HIGH ? L : 0)) / 2 + (I % 2) * L)...);
}

// Transposes L rows of L: after log2(L) rounds of interleaving row i with row i + L/2, rows are columns.
template <class T>
INLINE void transpose(Vec<T>* row) {
  constexpr int L = LANES<T>;
  using All = typename CountTo<L>::type;
#pragma GCC unroll 4
  for (int round = 1; round < L; round *= 2) {
    Vec<T> next[L];
#pragma GCC unroll 8
    for (int i = 0; i < L / 2; ++i) {
      next[2 * i] = interleave<T, false>(row[i], row[i + L / 2], All{});
      next[2 * i + 1] = interleave<T, true>(row[i], row[i + L / 2], All{});
    }
#pragma GCC unroll 16
    for (int i = 0; i < L; ++i) row[i] = next[i];
  }
}

template <int N, class T>
INLINE void store_first(T* p, Vec<T> v) {
  __builtin_memcpy(p, &v, N * sizeof(T));
}

// Rows side by side in memory: for each k copy WIDTH of them to each of `panels` panels. Several panels at a time, so
// that memory is read in long pieces.
template <class T, int WIDTH>
static void pack_columns(const T* from, ptrdiff_t panels, ptrdiff_t k, ptrdiff_t k_stride, T* to) {
  for (ptrdiff_t p = 0; p < k; ++p, from += k_stride, to += WIDTH)
    for (ptrdiff_t g = 0; g < panels; ++g) __builtin_memcpy(to + g * k * WIDTH, from + g * WIDTH, WIDTH * sizeof(T));
}

// The same for the last panel, of fewer than WIDTH rows; zeros beyond.
template <class T, int WIDTH>
static void pack_last_columns(const T* from, ptrdiff_t rows, ptrdiff_t k, ptrdiff_t k_stride, T* to) {
  constexpr int L = LANES<T>, WHOLE = WIDTH / L, REST = WIDTH % L;
  for (ptrdiff_t p = 0; p < k; ++p, from += k_stride, to += WIDTH) {
    for (int v = 0; v < WHOLE; ++v) store(to + v * L, load_some(from + v * L, rows - v * L));
    if constexpr (REST > 0) store_first<REST>(to + WHOLE * L, load_some(from + WHOLE * L, rows - WHOLE * L));
  }
}

// Each row contiguous: L rows by L k at a time through the registers. Beyond the last row, that row again.
template <class T, int WIDTH>
static void pack_rows(const T* from, ptrdiff_t rows, ptrdiff_t row_stride, ptrdiff_t k, T* to) {
  constexpr int L = LANES<T>;
  const T* at[WIDTH];
  for (int i = 0; i < WIDTH; ++i) at[i] = from + (i < rows ? i : rows - 1) * row_stride;
  ptrdiff_t p = 0;
  for (; p + L <= k; p += L)
    for (int i = 0; i < WIDTH; i += L) {
      constexpr int REST = WIDTH % L;
      const bool part = REST > 0 && i + L > WIDTH;
      Vec<T> row[L];
#pragma GCC unroll 16
      for (int r = 0; r < L; ++r) row[r] = load(at[part && r >= REST ? WIDTH - 1 : i + r] + p);
      transpose<T>(row);
#pragma GCC unroll 16
      for (int j = 0; j < L; ++j) {
        T* line = to + (p + j) * WIDTH + i;
        if (part)
          store_first<REST>(line, row[j]);
        else
          store(line, row[j]);
      }
    }
  for (; p < k; ++p)
    for (int i = 0; i < WIDTH; ++i) to[p * WIDTH + i] = at[i][p];
}

template <class T, int WIDTH>
static void pack(const T* from, ptrdiff_t rows, ptrdiff_t row_stride, ptrdiff_t k, ptrdiff_t k_stride, T* to) {
  const ptrdiff_t whole = rows / WIDTH;
  if (row_stride == 1) {
    constexpr int GROUP = 1024 / (WIDTH * sizeof(T)) + 1;
    for (ptrdiff_t g = 0; g < whole; g += GROUP)
      pack_columns<T, WIDTH>(from + g * WIDTH, whole - g < GROUP ? whole - g : GROUP, k, k_stride, to + g * k * WIDTH);
    if (whole * WIDTH < rows)
      pack_last_columns<T, WIDTH>(from + whole * WIDTH, rows - whole * WIDTH, k, k_stride, to + whole * k * WIDTH);
    return;
  }
  for (ptrdiff_t r = 0; r < rows; r += WIDTH, to += k * WIDTH) {
    const T* panel = from + r * row_stride;
    if (k_stride == 1) {
      pack_rows<T, WIDTH>(panel, rows - r, row_stride, k, to);
    } else {
      for (ptrdiff_t p = 0; p < k; ++p)
        for (int i = 0; i < WIDTH; ++i) to[p * WIDTH + i] = i < rows - r ? panel[i * row_stride + p * k_stride] : T(0);
    }
  }
}

// ---- backwards through the activation ----

template <class T>
INLINE Vec<T> backward_lanes(const T* dy, const T* y, T* dz, ptrdiff_t n, Activation activation, T slope) {
  const bool whole = n == LANES<T>;
  Vec<T> d = whole ? load(dy) : load_some(dy, n);
  if (activation != Activation::linear) d *= slope_at<T>(whole ? load(y) : load_some(y, n), activation, slope);
  if (dz && whole) store(dz, d);
  if (dz && !whole) store_some(dz, d, n);
  return d;
}

template <class T>
static void backward(ptrdiff_t rows, ptrdiff_t cols, const T* dy, ptrdiff_t dy_row, const T* y, ptrdiff_t y_row, T* dz,
                     ptrdiff_t dz_row, int activation, T slope, T* sum) {
  constexpr int L = LANES<T>;
  for (ptrdiff_t j = 0; j < cols; j += L) {
    const ptrdiff_t n = cols - j < L ? cols - j : L;
    Vec<T> total = {};
    for (ptrdiff_t i = 0; i < rows; ++i)
      total += backward_lanes<T>(dy + i * dy_row + j, y + i * y_row + j, dz ? dz + i * dz_row + j : nullptr, n,
                                 static_cast<Activation>(activation), slope);
    if (!sum) continue;
    if (n == L)
      store(sum + j, load(sum + j) + total);
    else
      store_some(sum + j, load_some(sum + j, n) + total, n);
  }
}

template <class T>
static T backward_row(ptrdiff_t n, const T* dy, const T* y, T* dz, int activation, T slope) {
  constexpr int L = LANES<T>;
  Vec<T> total = {};
  for (ptrdiff_t j = 0; j < n; j += L)
    total += backward_lanes<T>(dy + j, y + j, dz ? dz + j : nullptr, n - j < L ? n - j : L,
                               static_cast<Activation>(activation), slope);
  T sum = 0;
  for (int i = 0; i < L; ++i) sum += total[i];
  return sum;
}

template <class T>
static constexpr GemmKernels<T> kernels_of = {
    GEMM_MR,
    GEMM_NV * LANES<T>,
    LANES<T>,
    micro<T>,
    micro_packing<T>,
    FEW_ROWS,
    few<T>,
    pack<T, GEMM_MR>,
    pack<T, GEMM_NV * LANES<T>>,
    pack<T, LANES<T>>,
    backward<T>,
    finish_rows<T>,
    backward_row<T>,
};
extern const GemmKernels<float> gemm_f32;
extern const GemmKernels<double> gemm_f64;
constinit const GemmKernels<float> gemm_f32 = kernels_of<float>;
constinit const GemmKernels<double> gemm_f64 = kernels_of<double>;

}  // namespace nnfast::NNFAST_ISA
