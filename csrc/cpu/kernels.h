// KernelTable: what one ISA offers. Plain functions on raw pointers and sizes: the loops of cpu/*.cpp call them,
// the bodies of generic/*.cpp provide them, once per ISA. Sizes and strides are in elements.
#pragma once
#include <stddef.h>
#include <stdint.h>

namespace nnfast {

// ---- gemm ----
// What happens to a tile of C once its sums are known: C = activation(alpha * sum + beta * C + bias).
template <class T>
struct GemmFinish {
  T alpha = 1, beta = 0;    // beta == 0 never reads C
  const T* bias = nullptr;  // of the tile's first column on, unit stride; nullptr: none
  int activation = 0;       // Activation of ops.h
  T slope = 0;
};
template <class T>
struct GemmKernels {
  int mr, nr;  // the micro-tile: what the registers hold
  int lanes;   // of one vector: a narrow panel of B, for products of so few columns
  // C[rows,cols] = finish(A[rows,k] * B[k,cols]), rows <= mr, cols <= nr. A panel of packed A has a_row = 1, a_col =
  // mr; other strides are possible if rows == mr or a_row == 1. B has nr readable columns; b_row = nr in a packed
  // panel.
  void (*micro)(ptrdiff_t k, const T* a, ptrdiff_t a_row, ptrdiff_t a_col, const T* b, ptrdiff_t b_row, T* c,
                ptrdiff_t c_row, int rows, int cols, const GemmFinish<T>& finish);
  // The same for packed A and nr columns; and packed[k][nr] = B, the panel for the next rows.
  void (*micro_packing)(ptrdiff_t k, const T* a, const T* b, ptrdiff_t b_row, T* packed, T* c, ptrdiff_t c_row,
                        int rows, const GemmFinish<T>& finish);
  // The same as micro for rows <= few_rows and any number of columns, reading B where it lies, each element once.
  int few_rows;
  void (*few)(ptrdiff_t k, const T* a, ptrdiff_t a_row, ptrdiff_t a_col, const T* b, ptrdiff_t b_row, T* c,
              ptrdiff_t c_row, int rows, ptrdiff_t cols, const GemmFinish<T>& finish);
  // to[panel][k][mr or nr] = from[row,k]: the rows of a panel side by side; beyond the last, anything.
  void (*pack_a)(const T* from, ptrdiff_t rows, ptrdiff_t row_stride, ptrdiff_t k, ptrdiff_t k_stride, T* to);
  void (*pack_b)(const T* from, ptrdiff_t rows, ptrdiff_t row_stride, ptrdiff_t k, ptrdiff_t k_stride, T* to);
  void (*pack_narrow)(const T* from, ptrdiff_t rows, ptrdiff_t row_stride, ptrdiff_t k, ptrdiff_t k_stride, T* to);
  // Backwards through y = activation(z): dz = dy * slope at y, and sum[col] += dz over the rows. Without activation y
  // is not read; dz == nullptr: not written (dz may be dy); sum == nullptr: not wanted.
  void (*backward)(ptrdiff_t rows, ptrdiff_t cols, const T* dy, ptrdiff_t dy_row, const T* y, ptrdiff_t y_row, T* dz,
                   ptrdiff_t dz_row, int activation, T slope, T* sum);
  // C[rows,cols] = finish(sum[rows,cols]), for sums that another kernel has computed.
  void (*finish)(const T* sum, ptrdiff_t sum_row, T* c, ptrdiff_t c_row, ptrdiff_t rows, ptrdiff_t cols,
                 const GemmFinish<T>& finish);
  // The same as backward for one row of n elements; returns their sum.
  T (*backward_row)(ptrdiff_t n, const T* dy, const T* y, T* dz, int activation, T slope);
};

// ---- gemm of bfloat16 pieces ---- (pieces/: float32 matrices, products of pieces summed in float32)
struct PieceGemm {
  int mr, nr;  // the micro-tile
  int step;    // k is rounded up to a multiple of it, with zeros
  int pieces;  // of a number
  void (*micro)(ptrdiff_t k, const void* a, const void* b, float* sum);  // sum[mr,nr] = A * B, of packed panels
  // Panels of mr rows of A, of nr columns of B. True: an element is not finite, or too large or small for its pieces.
  bool (*pack_a)(const float* from, ptrdiff_t rows, ptrdiff_t row_stride, ptrdiff_t k, ptrdiff_t k_stride, void* to);
  bool (*pack_b)(const float* from, ptrdiff_t rows, ptrdiff_t row_stride, ptrdiff_t k, ptrdiff_t k_stride, void* to);
  void (*begin)();  // on each thread, before and after a run of micro; may be nullptr
  void (*end)();
  // Words of 32 bits of one row of a panel.
  constexpr ptrdiff_t words(ptrdiff_t k) const { return (k + step - 1) / step * step * pieces / 2; }
};
// ---- conv2d ---- (generic/conv2d.cpp says what they compute)
template <class T>
struct ConvRows {
  ptrdiff_t rows, columns;     // of c: any number, at most nr
  ptrdiff_t segments, length;  // of a patch; length 1: single cells, which have a loop of their own
  const ptrdiff_t* offsets;    // [segments]
  ptrdiff_t shift;             // added to every offset
  const T* const* a;           // [rows]: where patches begin
  const T* b;                  // [segments * length][nr]
  T* const* c;                 // [rows]: where results begin
  ptrdiff_t column;            // added to each of them
  const T* init;               // [nr]: what sums begin with, unless they go on from c
  bool accumulate, relu;
};
template <class T>
struct ConvOuter {
  ptrdiff_t rows, columns, pixels;
  const T* const* a;         // [pixels]: where patches begin
  const ptrdiff_t* offsets;  // of the rows' cells or, if they are neighbours, of the first
  bool neighbours;
  const T* b;       // [pixels], nr readable columns each
  ptrdiff_t b_row;  // to the next pixel
  T* c;
  ptrdiff_t ldc;
  bool accumulate;
};
template <class T>
struct ConvDepthwise {
  ptrdiff_t taps, pixels, channels;
  ptrdiff_t row_taps;          // in groups of so many, each tap looks at what the next pixel sees with the one before
  const T* const* a;           // [taps]: what the first pixel sees
  const T* const* b;           // [taps]: the weights
  const T* init;               // [channels]
  T* c;                        // of the first pixel
  ptrdiff_t a_step, c_step;    // to the next pixel
  ptrdiff_t a_ahead, c_ahead;  // from the last tap, and from c, to what is fetched into the cache for the next row
};
template <class T>
struct ConvDepthwiseOuter {
  ptrdiff_t taps, pixels, channels;
  const T* const* a;  // [taps]: what the first pixel sees
  const T* b;         // of the first pixel
  T* const* c;        // [taps]
  ptrdiff_t a_step, b_step;
};
template <class T>
struct ConvKernels {
  int mr, nr;
  void (*rows)(const ConvRows<T>&);
  void (*outer)(const ConvOuter<T>&);
  void (*depthwise)(const ConvDepthwise<T>&);
  void (*depthwise_outer)(const ConvDepthwiseOuter<T>&);
};

// ---- conv2d of bfloat16 pieces ---- (pieces/: one piece; a word of 32 bits, a pair, lies where ConvKernels have a
// float)
struct PieceConv {
  int mr, nr;  // nr: that of the ISA's own panels
  void (*rows)(const ConvRows<float>&);
  void (*outer)(const ConvOuter<float>&);  // of neighbours alone; a pair is of two pixels
  // words[i] = the pair (from[2i], from[2i + 1]) of n numbers, or (even[i], odd[i]), odd may be nullptr: zeros. True: a
  // number is not finite, or too large.
  bool (*along)(const float* from, ptrdiff_t n, float* words);
  bool (*across)(const float* even, const float* odd, ptrdiff_t n, float* words);
};
// What multiplies pieces. nullptr where float32 itself is at least as fast.
struct PieceUnit {
  const char* name;
  const PieceGemm *high, *medium;
  const PieceConv* conv_medium;
};

// ---- winograd ---- (generic/winograd.cpp says what they compute; `from` is added to every cell)
template <class T>
struct WinogradKernels {
  int tile;  // its side: F(tile x tile, 3x3)
  void (*input)(const T* const* cells, ptrdiff_t from, ptrdiff_t n, T* to, ptrdiff_t plane);
  void (*filter)(const T* const* taps, const ptrdiff_t* steps, ptrdiff_t rows, T* to, ptrdiff_t plane);
  T (*output)(const T* from, ptrdiff_t plane, ptrdiff_t n, const T* init, bool relu, T* const* cells);
  void (*gradient)(const T* const* cells, ptrdiff_t n, ptrdiff_t width, T* to, ptrdiff_t plane);
  T (*filter_gradient)(const T* from, ptrdiff_t plane, ptrdiff_t n, T* const* taps);
};

// ---- movement ----
template <class T>
struct MovementKernels {
  void (*convert)(int dtype, const void* from, T* to, ptrdiff_t n, double scale);  // to[n] = scale * from[n]
};

// ---- reduce ----
// What is gathered from the elements x: their sum, product, largest, smallest (NaN wins); with a number s for each
// result, the sums of (x - s)^2, of exp(x - s), and of (x == s); the product of those that are not zero.
enum Fold : int { SUM, PROD, MAX, MIN, SQUARES, EXP, EQUAL, PROD_NONZERO, FOLDS };
// How a gradient is shared out: by equality (max, min), prod, var, exp (logsumexp). See generic/reduce.cpp.
enum Share : int { SHARE_EQUAL, SHARE_PROD, SHARE_VAR, SHARE_EXP, SHARES };
template <class T>
struct ReduceKernels {
  T (*run[FOLDS])(const T* x, ptrdiff_t n, T s);
  // acc[j] joined with x[r * row_step + j], r < rows, for j < n; s may be null where the fold has none
  void (*columns[FOLDS])(T* acc, const T* x, ptrdiff_t rows, ptrdiff_t row_step, ptrdiff_t n, const T* s);
  // dx[i] from x[i], i < n, and a[i], b[i] (each) or *a, *b
  void (*share[SHARES])(T* dx, const T* x, ptrdiff_t n, const T* a, const T* b, bool each);
  // the first i with x[i] == wanted (both may be NaN), or n
  ptrdiff_t (*find)(const T* x, ptrdiff_t n, T wanted);
};

// ---- element-wise ----
// In the order of elementwise_ops.inl. All arrays are contiguous; bools are bytes 0 and 1.
// clang-format off
constexpr int UNARY_OPS = 0
#define UNARY(...) + 1
#include "../elementwise_ops.inl"
;
constexpr int BINARY_OPS = 0
#define BINARY(...) + 1
#include "../elementwise_ops.inl"
;
constexpr int COMPARISONS = 0
#define COMPARISON(...) + 1
#include "../elementwise_ops.inl"
;
// clang-format on
// What a kernel reads: elements one after the other (step 1), or equal ones, of which a vector's worth is there (step
// 0).
template <class T>
struct In {
  const T* at;
  ptrdiff_t step;
};
template <class T>
struct ElementwiseKernels {
  using Unary = void (*)(ptrdiff_t n, In<T> x, T* y, T p, T q);
  using UnaryGradient = void (*)(ptrdiff_t n, In<T> dy, In<T> saved, T* dx, T p, T q);
  using Binary = void (*)(ptrdiff_t n, In<T> a, In<T> b, T* y);
  using BinaryGradient = void (*)(ptrdiff_t n, In<T> dy, In<T> a, In<T> b, T* d);
  using Comparison = void (*)(ptrdiff_t n, In<T> a, In<T> b, uint8_t* y);
  Unary unary[UNARY_OPS];
  UnaryGradient unary_gradient[UNARY_OPS];
  Binary binary[BINARY_OPS];
  BinaryGradient gradient_a[BINARY_OPS], gradient_b[BINARY_OPS];
  Comparison comparison[COMPARISONS];
  void (*where)(ptrdiff_t n, In<uint8_t> condition, In<T> a, In<T> b, T* y);
};

// ---- optimizer ----
// One variable, or a piece of it: its gradient and its state (what the op has none of is nullptr).
template <class T>
struct OptimizerArrays {
  T* w;
  const T* g;
  T* state[3];  // as in OptimizerPart of ops.h
};
// decay: weight_decay * rate. l2: the gradient is g + l2 * w. Steps enter the momentum times `in` and leave it times
// `out`: one of the two holds the rate. Roots are sqrt(v + inside) + outside.
template <class T>
struct SgdRates {
  T in, out, momentum, decay, l2;
  bool nesterov;
};
template <class T>
struct RmspropRates {
  T in, out, rho, rest, momentum, inside, outside, decay, l2;  // rest: 1 - rho
};
template <class T>
struct AdamRates {
  T rate, rest_1, rest_2, epsilon, decay, l2;  // the rate with its corrections; 1 - beta_1, 1 - beta_2
};
template <class T>
struct AdagradRates {
  T in, out, inside, outside, decay, l2;
};
template <class T>
struct AdadeltaRates {
  T rate, rho, rest, epsilon, decay;
};
template <class T>
struct AdamaxRates {
  T rate, rest_1, beta_2, epsilon, decay;  // the rate with its correction
};
template <class T>
struct NadamRates {
  T of_m, of_g, of_v, rest_1, rest_2, epsilon, decay;  // step: (of_m m + of_g g) / (sqrt(of_v v) + epsilon)
};
template <class T>
struct LionRates {
  T rate, beta_1, rest_1, beta_2, rest_2, decay;
};
template <class T>
struct FtrlRates {
  T rate, power, l1, l2, shrinkage, decay;  // power: of the sums, positive; l2 and shrinkage: twice the strengths
};
template <class T>
struct AverageRates {
  T momentum, rest;
  bool overwrite;  // the variable with its average
};
template <class T>
struct AdafactorRates {
  T beta, rest, epsilon;  // of an average that is not factored
  T row;                  // of factors: what this row multiplies the columns by
};
template <class T>
struct OptimizerKernels {
  void (*sgd)(const OptimizerArrays<T>&, ptrdiff_t n, const SgdRates<T>&);
  void (*rmsprop)(const OptimizerArrays<T>&, ptrdiff_t n, const RmspropRates<T>&);
  void (*adam)(const OptimizerArrays<T>&, ptrdiff_t n, const AdamRates<T>&);
  void (*adagrad)(const OptimizerArrays<T>&, ptrdiff_t n, const AdagradRates<T>&);
  void (*adadelta)(const OptimizerArrays<T>&, ptrdiff_t n, const AdadeltaRates<T>&);
  void (*adamax)(const OptimizerArrays<T>&, ptrdiff_t n, const AdamaxRates<T>&);
  void (*nadam)(const OptimizerArrays<T>&, ptrdiff_t n, const NadamRates<T>&);
  void (*lion)(const OptimizerArrays<T>&, ptrdiff_t n, const LionRates<T>&);
  void (*ftrl)(const OptimizerArrays<T>&, ptrdiff_t n, const FtrlRates<T>&);
  void (*average_weights)(const OptimizerArrays<T>&, ptrdiff_t n, const AverageRates<T>&);  // state: the averages
  // sum (in w) += scale * g; mean (in state) = sum / share; after the last of them the sum is 0 again.
  void (*mean_gradient)(const OptimizerArrays<T>&, ptrdiff_t n, T scale, T share, bool last);
  // y = factor * (scale * g, cut to [-limit, limit])
  void (*clip)(const T* g, T* y, ptrdiff_t n, T scale, T factor, T limit);
  double (*squares)(const T* x, ptrdiff_t n, T scale);  // the sum of (scale * x)^2
  // columns += g^2 + epsilon of one row; returns the sum of the row.
  double (*adafactor_row)(const T* g, ptrdiff_t n, T epsilon, double* columns);
  // v = row * columns or, without columns, the average of g^2 + epsilon; returns the sum of g^2 / v.
  double (*adafactor_spread)(const T* g, T* v, ptrdiff_t n, const T* columns, const AdafactorRates<T>&);
  void (*adafactor_move)(T* w, const T* g, const T* v, ptrdiff_t n, T rate, T decay);
};

// ---- pool2d ----
struct PoolCells {
  ptrdiff_t rows, cols;  // cells of a window
  ptrdiff_t row, col;    // elements from one cell to the next
};
// How a gradient comes to the cells of a window: set in all of them (windows share none); added to all of them; added
// to the winners alone, of dx that was cleared.
enum class Spread { set, add, scatter };
// Lines of `count` windows, `lanes` of which lie side by side in vectors. See generic/pool2d.cpp.
template <class T>
struct PoolLine {
  T* at;
  ptrdiff_t step, lane;  // elements from one window to the next, and from one lane to the next
};
template <class T>
struct PoolKernels {
  void (*max)(PoolLine<const T> x, PoolCells cells, PoolLine<T> y, ptrdiff_t count, ptrdiff_t lanes);
  void (*mean)(PoolLine<const T> x, PoolCells cells, T divisor, PoolLine<T> y, ptrdiff_t count, ptrdiff_t lanes);
  void (*max_gradient)(PoolLine<const T> x, PoolCells cells, PoolLine<const T> dy, PoolLine<T> dx, PoolCells to,
                       Spread how, ptrdiff_t count, ptrdiff_t lanes);
  void (*mean_gradient)(PoolLine<const T> dy, T divisor, PoolLine<T> dx, PoolCells to, bool add, ptrdiff_t count,
                        ptrdiff_t lanes);
};

// ---- random ----
// y[n]: the elements from number `first` on of the draw that key = (seed, draw) names. `first` is a multiple of 64.
template <class T>
struct RandomKernels {
  void (*uniform)(const int64_t* key, int64_t first, ptrdiff_t n, T* y, T low, T range);
  void (*normal)(const int64_t* key, int64_t first, ptrdiff_t n, T* y, T mean, T stddev);
  void (*truncated_normal)(const int64_t* key, int64_t first, ptrdiff_t n, T* y, T mean, T stddev);
  void (*dropout)(const int64_t* key, int64_t first, ptrdiff_t n, const T* x, T* y, float rate, T scale);
  void (*words)(const int64_t* key, int64_t first, ptrdiff_t n, uint64_t* y);
};

// ---- softmax ----
constexpr int SOFTMAX_COLUMNS = 128;  // side by side: their largest elements and sums stay in L1
constexpr int XENT_ROWS = 64;         // rows of one call
template <class T>
struct XentRows {
  ptrdiff_t rows, n;
  const T* x;  // logits
  ptrdiff_t x_step;
  const T* soft;  // rows of probabilities; null: labels alone
  ptrdiff_t soft_step;
  const int64_t* label;     // of each row; -1: it has no loss
  const T *weight, *total;  // of each row; total: the sum of its probabilities
  T keep, spread, scale;    // target = keep * target + spread; the gradient is also times scale
  T *dx, *loss;             // [rows, n] contiguous (may be x) or null: not wanted, [rows]
};
template <class T>
struct SoftmaxKernels {  // [0]: softmax, [1]: its logarithm; an output may be an input
  void (*row[2])(const T* x, T* y, ptrdiff_t n);
  void (*row_gradient[2])(const T* dy, const T* y, T* dx, ptrdiff_t n);
  // down the columns of x[r * step + j], r < rows, j < n <= SOFTMAX_COLUMNS
  void (*columns[2])(const T* x, T* y, ptrdiff_t rows, ptrdiff_t step, ptrdiff_t n);
  void (*columns_gradient[2])(const T* dy, const T* y, T* dx, ptrdiff_t rows, ptrdiff_t step, ptrdiff_t n);
  ptrdiff_t (*xent)(const XentRows<T>&);  // gives how many rows have their largest logit at their label
  void (*sigmoid_xent)(const T* x, const T* t, T* loss, T* dx, ptrdiff_t n);
};

// ---- norm ---- (generic/norm.cpp says what they compute; [0]: one number for all, [1]: one for each element)
template <class T>
struct NormKernels {
  void (*normalize[2])(ptrdiff_t rows, ptrdiff_t n, const T* x, T* y, const T* mean, const T* scale, const T* shift);
  void (*sums)(ptrdiff_t rows, ptrdiff_t n, ptrdiff_t step, const T* dy, const T* x, const T* mean, T* sum, T* product);
  void (*run_sums)(ptrdiff_t n, const T* dy, const T* x, const T* gamma, T mean, T* sum, T* product);
  void (*gradient[2])(ptrdiff_t rows, ptrdiff_t n, const T* dy, const T* x, const T* mean, const T* a, const T* b,
                      const T* c, T* dx);
  void (*row)(ptrdiff_t n, const T* x, T mean, T rstd, const T* gamma, const T* beta, T* y);
  void (*rows)(ptrdiff_t count, ptrdiff_t n, const T* x, const T* gamma, const T* beta, T epsilon, T* y, T* mean,
               T* rstd);
  void (*row_gradient)(ptrdiff_t n, const T* dy, const T* x, const T* gamma, T mean, T rstd, T b, T c, T* dx, T* dgamma,
                       T* dbeta);
  void (*rows_gradient)(ptrdiff_t count, ptrdiff_t n, const T* dy, const T* x, const T* gamma, const T* mean,
                        const T* rstd, T* dx, T* dgamma, T* dbeta);
};

// ---- recurrent ----
// One step of one row of n units; gates lie n apart. act, rec: numbers of ops.h's Activation.
template <class T>
struct LstmBack {
  const T *gates, *cell, *before;  // before: nullptr if zero
  const T* dh;
  T *dcell, *dz;  // dcell: of this step's cell, then of the one before
};
template <class T>
struct GruBack {
  const T *gates, *inner, *before, *dh;
  T *pass, *dz, *dz_u;  // pass: what goes straight to the state before; dz_u: nullptr without reset_after
};
template <class T>
struct RecurrentKernels {
  void (*simple)(ptrdiff_t n, int act, T* z, T* h);
  void (*simple_back)(ptrdiff_t n, int act, const T* y, const T* dh, T* dz);
  void (*lstm)(ptrdiff_t n, int act, int rec, T* gates, T* cell, T* h);
  void (*lstm_back)(ptrdiff_t n, int act, int rec, const LstmBack<T>& p);
  void (*gru_gates)(ptrdiff_t n, int rec, T* gates, const T* met, T* inner);  // inner = r * met, if met is given
  void (*gru)(ptrdiff_t n, int act, T* gates, const T* inner, T* h);          // inner: nullptr without reset_after
  void (*gru_back)(ptrdiff_t n, int act, int rec, const GruBack<T>& p);
  // Without reset_after: dinner[n] becomes what it adds to the gradient of `met`, and dz[1] is made.
  void (*gru_back_reset)(ptrdiff_t n, int rec, const T* gates, const T* met, T* dinner, T* dz);
  void (*multiply)(ptrdiff_t n, const T* a, const T* b, T* y);  // b: nullptr copies
  void (*gather)(ptrdiff_t n, const T* dy, const T* pass, const T* back, const T* drop,
                 T* dh);  // dy + pass + back * drop
};

// One pointer to a family's kernels for each floating dtype.
template <template <class> class Family>
struct ByType {
  const Family<float>* f32;
  const Family<double>* f64;
  template <class T>
  const Family<T>& get() const {
    if constexpr (sizeof(T) == sizeof(double))
      return *f64;
    else
      return *f32;
  }
};

struct KernelTable {
  const char* name;
  int vector_bytes;
  ByType<GemmKernels> gemm;
  ByType<ConvKernels> conv;
  ByType<WinogradKernels> winograd;             // F(2x2, 3x3)
  const WinogradKernels<float>* winograd_wide;  // F(4x4, 3x3)
  ByType<ElementwiseKernels> elementwise;
  ByType<MovementKernels> movement;
  ByType<OptimizerKernels> optimizer;
  ByType<ReduceKernels> reduce;
  ByType<RandomKernels> random;
  ByType<PoolKernels> pool;
  ByType<SoftmaxKernels> softmax;
  ByType<NormKernels> norm;
  ByType<RecurrentKernels> recurrent;
};

const KernelTable& kernels();    // the ISA in use: the best that this CPU runs, or NNFAST_ISA
void use_isa(const char* name);  // for tests and benchmarks; throws if this CPU cannot run it
// The unit in use beside the ISA in use, or nullptr: then all products are those of float32.
const PieceUnit* piece_unit();
void use_piece_unit(const char* name);  // for tests and benchmarks; "" means none, until the next use_isa
struct PieceRow {
  const PieceUnit* unit;
  const KernelTable* beside;  // the ISA whose kernels do the rest
  bool (*runs_here)();
  bool (*chosen_by_default)();
};
extern const PieceRow piece_rows[];  // best first
extern const int piece_count;
struct IsaRow {
  const KernelTable* table;
  bool (*runs_here)();
  bool chosen_by_default;
};
extern const IsaRow isa_rows[];  // best first
extern const int isa_count;

}  // namespace nnfast
