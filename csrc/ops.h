// THE contract: every op that a device offers. No code.
// Shapes stand in the comments; [...] are batch dimensions. The gradient of `x` is `dx`. Views carry any strides: a
// transposed, sliced, reversed or repeated (stride 0) operand is an ordinary operand. An output never overlaps an
// input, unless the comment says so. Arguments have been checked by the binding; data is checked here, through Status.
// An absent operand is a View that is not given(). Scratch comes from the binding: `<op>_scratch` says how many bytes.
#pragma once
#include <cstddef>
#include <cstdint>

#include "view.h"

namespace nnfast {

// The activations that gemm and conv2d can apply to what they have just computed. All can be differentiated from
// their result alone, so nothing else is kept for the gradient.
enum class Activation : int { linear, relu, leaky_relu, elu, selu, sigmoid, tanh, softplus, exp };

// How float32 matrices are multiplied. highest: in float32. high and medium: as bfloat16 numbers, the sum of two pieces
// or one, whose products are summed in float32, where a unit for that is faster (cpu/dispatch.cpp, cuda/split.cuh);
// elsewhere, and where an element is not finite or too large or small for pieces, as highest. float64 is float64.
// |error| <= (C + terms of a sum * 2^-24) * |a| |b|, C = 2^-15 (high) or 2^-7 + 2^-16 (medium).
enum class Precision : int { highest, high, medium };

// ---- gemm ----
// The panels of b, packed once for all steps of a call of replay and for all products by this b, as long as its
// version stays the same. The plan owns this, and lends memory while several steps run.
struct KeptPanels {
  size_t bytes;              // of the panels
  const int64_t* b_version;  // beside b: raised by whatever writes it
  void* panels = nullptr;    // nullptr: there is no memory now
  int64_t version = 0;       // that they were packed from
  int width = 0;             // of a panel; 0: not packed yet
};

// y[...,M,N] = activation(alpha * a[...,M,K] * b[...,K,N] + beta * y + bias[N]); beta == 0 never reads y; K == 0 gives
// activation(beta * y + bias). slope: of leaky_relu and elu. Without `kept` b is packed here.
void gemm(const View& a, const View& b, const View& bias, double alpha, double beta, Activation activation,
          double slope, Precision precision, const View& y, void* scratch, KeptPanels* kept = nullptr);
size_t gemm_scratch(const View& a, const View& b, const View& y, Precision precision = Precision::highest);
size_t gemm_kept(const View& a, const View& b, const View& y);  // bytes of the panels; 0: they do not pay

// d[M,N] = (a[M,K] * b[K,N]) * activation'(from its result y[M,N]); sum[N] = the sum of d over its rows. y is absent if
// activation is linear, sum if nobody wants it.
void gemm_gradient(const View& a, const View& b, const View& y, Activation activation, double slope,
                   Precision precision, const View& d, const View& sum, void* scratch);
size_t gemm_gradient_scratch(const View& a, const View& b, const View& d, Precision precision);

// Backwards through y = activation(z + bias), bias along `axis`: dz = dy * activation'(from y), of the shape of dy;
// db[C] = the sum of dz over all other axes. Absent: y and dz if activation is linear, db if nobody wants it.
void bias_activation_gradient(const View& dy, const View& y, Activation activation, double slope, int axis,
                              const View& dz, const View& db, void* scratch);
size_t bias_activation_gradient_scratch(const View& dy, int axis);

// ---- data movement ----
// Any dtypes and strides. Floats to integers truncate; anything but 0 is true.
// y = x, of one shape; with a status set, nothing happens.
void copy(const View& x, const View& y, const Status* status = nullptr);
void cast(const View& x, double scale, const View& y);  // y = x * scale, in y's dtype; only a float is scaled
void full(double value, const View& y);                 // y, contiguous, = value
// y[indices..., ...] = scale * x[index, ...], in y's dtype. An index outside [0, rows) is reported and gives zeros.
void take_rows(const View& x, const View& indices, double scale, const View& y, Status* status);
// dx[rows, ...] = the sum of the dy[indices..., ...] that were taken from each row, in the order of the indices. An
// index outside [0, rows) is reported, and its dy left out.
void take_rows_gradient(const View& dy, const View& indices, const View& dx, void* scratch, Status* status);
size_t take_rows_gradient_scratch(const View& dx);
// The rows of a step, which begin at the cursor: y = rows [*cursor, *cursor + rows of y) of the table, and the other
// way.
void next_rows(const View& table, const int64_t* cursor, const View& y);
void put_rows(const View& x, const View& table, const int64_t* cursor);
struct Before {
  int64_t cells[MAX_DIMS];
};
void pad(const View& x, const Before& before, double value, const View& y);  // y = x, with cells of `value` around it
void one_hot(const View& indices, const View& y, Status* status);            // y[..., classes]: 1 at the index, else 0

// ---- pool2d ----
// x[N,H,W,C] -> y[N,P,Q,C], or channels first. Every window has a cell inside the input. size, stride, ...: rows,
// columns. Padding never wins a maximum, NaN always does.
struct Pool2d {
  int64_t size[2], stride[2], dilation[2];
  int64_t before[2], after[2];  // padding
  bool channels_first, include_pad;
};
// indices (int64, optional): h * W + w of each winner, the first of equals.
void max_pool2d(const View& x, const Pool2d& how, const View& y, const View& indices);
void max_pool2d_gradient(const View& dy, const View& x, const Pool2d& how, const View& dx);
// The mean over the cells inside the input or, include_pad, inside the padded input.
void avg_pool2d(const View& x, const Pool2d& how, const View& y);
void avg_pool2d_gradient(const View& dy, const Pool2d& how, const View& dx);

// ---- upsample2d ----
// x[N,H,W,C] -> y[N,size0*H,size1*W,C], or channels first: each pixel of y that of x in which its centre lies or,
// bilinear, what lies between the centres of the four around it; edges repeat. y and dx are contiguous.
struct Upsample2d {
  int64_t size[2];
  bool bilinear, channels_first;
};
void upsample2d(const View& x, const Upsample2d& how, const View& y);
void upsample2d_gradient(const View& dy, const Upsample2d& how, const View& dx);

// ---- optimizer steps ----
// In place, for a list of contiguous variables of one dtype, by Keras's rules: the formulas stand in reference.py. The
// learning rate and the count of steps done before are read when the kernel runs. With a status set, nothing happens.
// l2: adds l2 * w to the gradient. pytorch: PyTorch's places for epsilon (outside the root, after the corrections) and
// for the rate (the momentum is without it).
struct OptimizerPart {
  void *w, *g;
  // sgd, lion: momentum; rmsprop: average of g^2, momentum, average of g; adam: m, v, largest v; adagrad: sum of g^2;
  // adadelta: averages of g^2 and of the squared steps; adamax: m, u; nadam: m, v; ftrl: sum of g^2, linear;
  // average_weights: the average; mean_gradients (w: the sum) and clip_gradients: the result
  void* state[3];
  int64_t size;
};
struct OptimizerList {
  static constexpr int MOST = 16;  // so a closure stays below 1 KB; longer lists take several launches
  OptimizerPart part[MOST];
  int count = 0;
  DType dtype = DType::float32;
};
void sgd(const OptimizerList& list, const double* lr, double momentum, double dampening, bool nesterov,
         double weight_decay, double l2, bool pytorch, const Status* status);
void rmsprop(const OptimizerList& list, const double* lr, double rho, double momentum, double epsilon,
             double weight_decay, double l2, bool pytorch, const Status* status);
void adam(const OptimizerList& list, const double* lr, const int64_t* step, double beta_1, double beta_2,
          double epsilon, double weight_decay, double l2, bool pytorch, const Status* status);
void adagrad(const OptimizerList& list, const double* lr, double epsilon, double weight_decay, double l2, bool pytorch,
             const Status* status);
void adadelta(const OptimizerList& list, const double* lr, double rho, double epsilon, double weight_decay,
              const Status* status);
void adamax(const OptimizerList& list, const double* lr, const int64_t* step, double beta_1, double beta_2,
            double epsilon, double weight_decay, const Status* status);
void lion(const OptimizerList& list, const double* lr, double beta_1, double beta_2, double weight_decay,
          const Status* status);
// product (one float): of the momenta of all steps before. nadam reads it; at the end of a step nadam_advance, once
// for all variables, multiplies it by this step's.
void nadam(const OptimizerList& list, const View& product, const double* lr, const int64_t* step, double beta_1,
           double beta_2, double epsilon, double weight_decay, const Status* status);
void nadam_advance(const View& product, const int64_t* step, double beta_1, const Status* status);
struct Ftrl {
  double power, l1, l2, l2_shrinkage, beta;
};
void ftrl(const OptimizerList& list, const double* lr, const Ftrl& how, double weight_decay, const Status* status);
// One variable w[batch,rows,columns], its factors row[batch,rows] and column[batch,columns], and v[batch,rows,columns];
// without row and column (nullptr), w[1,1,columns] has v alone.
struct AdafactorPart {
  void *w, *g, *row, *column, *v;
  int64_t batch, rows, columns;
  DType dtype;
};
struct Adafactor {
  double beta_2_decay, epsilon_1, epsilon_2, clip_threshold;
};
void adafactor(const AdafactorPart& part, const double* lr, const int64_t* step, const Adafactor& how,
               double weight_decay, void* scratch, const Status* status);
size_t adafactor_scratch(const AdafactorPart& part);

// What a step does before and after. every_nth: turns = step / n, and the gate (a Status) lets what comes after it run
// in every nth step only: it is WAITING in the others, and as `status` is when that is set.
void every_nth(const int64_t* step, int64_t n, int64_t* turns, Status* gate, const Status* status);
// sums += scale * g; results = sums / n; in every nth step the sums are 0 again afterwards.
void mean_gradients(const OptimizerList& list, const int64_t* step, int64_t n, double scale, const Status* status);
// results = scale * g, cut to [-limit, limit], or shrunk so that each one's norm, or that of all of them, is at most
// limit. The norms come from sums of squares: gradient_squares writes one per chunk of each gradient, for all launches.
enum class Clip : int { none, value, norm, global_norm };
struct ClipHow {
  Clip clip;
  double limit, scale;
  double* sums;                       // of all chunks
  int64_t all_chunks, chunks_before;  // before this list
};
void gradient_squares(const OptimizerList& list, const ClipHow& how, const Status* status);
void clip_gradients(const OptimizerList& list, const ClipHow& how, const Status* status);
int64_t gradient_chunks(int64_t size);
// averages = momentum * averages + (1 - momentum) * ws, or in the first step the ws; after every `overwrite_every`
// steps (0: never) the ws become their averages.
void average_weights(const OptimizerList& list, const int64_t* step, double momentum, int64_t overwrite_every,
                     const Status* status);

// ---- random ----
// key = (seed, draw), read when the kernel runs. The stream of numbers is defined in reference.py. y is contiguous.
void random_uniform(const int64_t* key, double low, double high, const View& y);
void random_normal(const int64_t* key, double mean, double stddev, const View& y);
void random_truncated_normal(const int64_t* key, double mean, double stddev, const View& y);
void permutation(const int64_t* key, const View& y, void* scratch);  // y[n] (int64): 0 .. n - 1 in random order
size_t permutation_scratch(int64_t n);
// y = x / (1 - rate) where u >= rate, else 0; x and y contiguous. noise (float32, scratch, broadcast to x): where the
// u are kept, if one u serves several elements.
void dropout(const View& x, const int64_t* key, double rate, const View& noise, const View& y);

// ---- what a step writes at its end ----
// sums[2] += scale * (sum of weights * values, sum of weights); weights have the shape of values (often stride 0).
void accumulate(const View& sums, const View& values, const View& weights, double scale, const Status* status);
// y[...] (bool): is the first largest of the row x[..., :] at the class number labels[...]? NaN counts as largest.
void class_hits(const View& x, const View& labels, const View& y);
// average = momentum * average + (1 - momentum) * scale * value, of one shape and dtype
void moving_average(const View& average, const View& value, double momentum, double scale, const Status* status);
void advance(const View& counter, int64_t amount, const Status* status);  // counter += amount
void check_finite(const View& x, Status* status);                         // reports the first NaN or Inf

// ---- reduce ----
// y = the elements of x along `axes` (bit i: axis i) made one, by sum, mean, ...; y is contiguous and has the other
// dimensions of x. Integers and bool: sum, prod, max, min, in the dtype of x. var is biased. NaN wins max and min; the
// binding refuses max and min of nothing.
enum class Reduction : int { sum, mean, max, min, prod, var, logsumexp };
void reduce(const View& x, uint32_t axes, Reduction reduction, const View& y, void* scratch);
size_t reduce_scratch(const View& x, uint32_t axes, Reduction reduction);
// dx of max, min, prod, var, logsumexp; contiguous. dy and y have the shape of x with the reduced axes as size 1.
void reduce_gradient(const View& dy, const View& x, const View& y, uint32_t axes, Reduction reduction, const View& dx,
                     void* scratch);
size_t reduce_gradient_scratch(const View& x, uint32_t axes);
// y (int64, contiguous) = where the first largest or smallest element along the axis stands; the first NaN wins.
void arg_reduce(const View& x, int axis, bool largest, const View& y, void* scratch);
size_t arg_reduce_scratch(const View& x, int axis);

// ---- softmax ----
// y = softmax of x along the axis, or its logarithm; y, dx contiguous, of the shape of x.
void softmax(const View& x, int axis, bool logarithm, const View& y);
void softmax_gradient(const View& dy, const View& y, int axis, bool logarithm, const View& dx, void* scratch);
size_t softmax_gradient_scratch(const View& y);

// ---- softmax_xent ----
// loss_i = weight_i * -sum_c t_ic log(softmax(logits)_ic), its gradient by the logits, and how many rows have their
// largest logit (the first of equals) at their label. labels[N]: class numbers of any dtype; labels[N,C]:
// probabilities. weight_i = sample_weight[N]_i * class_weight[C] at the label (probabilities: sum_c t_ic
// class_weight_c). t = (1 - label_smoothing) t + label_smoothing / C. Rows of the ignored class have no loss and no
// gradient. mean: divided by the other rows. A label that is no class is reported, and counts as class 0.
enum class LossReduction : int { mean, sum, none };
struct IgnoreClass {
  bool given;
  int64_t value;
};
struct XentOperands {
  View logits, labels, sample_weight, class_weight;
  IgnoreClass ignore;
  double label_smoothing;
  LossReduction reduction;
};
struct XentResults {
  View loss, dlogits, correct;  // [] or, without reduction, [N]; [N,C]; [] int64; contiguous. dlogits may be absent
};
void softmax_xent(const XentOperands& operands, const XentResults& results, void* scratch, Status* status);
size_t softmax_xent_scratch(const XentOperands& operands);
// loss = log(1 + exp(logits)) - logits * targets, element by element; dlogits = sigmoid(logits) - targets.
void sigmoid_xent(const View& logits, const View& targets, const View& loss, const View& dlogits);

// ---- norm ----
// y = (x - mean) / sqrt(variance + epsilon) * gamma[C] + beta[C], per channel: the C entries of x along `axis`. mean
// and variance[C] are those of the batch (biased, and 0 of nothing), and results; or given: batch_norm_inference. gamma
// and beta may be absent. y and dx are contiguous, of the shape of x.
void batch_norm(const View& x, const View& gamma, const View& beta, int axis, double epsilon, const View& y,
                const View& mean, const View& variance, void* scratch);
void batch_norm_inference(const View& x, const View& gamma, const View& beta, const View& mean, const View& variance,
                          int axis, double epsilon, const View& y, void* scratch);
size_t batch_norm_scratch(const View& x, int axis);
// through_statistics: mean and variance are those of x, so x moves them too. Absent: what nobody wants.
void batch_norm_gradient(const View& dy, const View& x, const View& gamma, const View& mean, const View& variance,
                         int axis, double epsilon, bool through_statistics, const View& dx, const View& dgamma,
                         const View& dbeta, void* scratch);
size_t batch_norm_gradient_scratch(const View& dy, const View& x, int axis);
// The same per row: the elements of x along the axes from `axis` on. mean and rstd (1 / sqrt(variance + epsilon)) have
// the axes before, gamma and beta those of the row.
void layer_norm(const View& x, const View& gamma, const View& beta, int axis, double epsilon, const View& y,
                const View& mean, const View& rstd, void* scratch);
size_t layer_norm_scratch(const View& x, const View& gamma, const View& beta);
void layer_norm_gradient(const View& dy, const View& x, const View& gamma, const View& mean, const View& rstd, int axis,
                         const View& dx, const View& dgamma, const View& dbeta, void* scratch);
size_t layer_norm_gradient_scratch(const View& dy, const View& x, const View& gamma, const View& mean, const View& rstd,
                                   int axis);

// ---- element-wise ----
// clang-format off
enum class Unary : int {
#define UNARY(op, ...) op,
#include "elementwise_ops.inl"
};
enum class Binary : int {
#define BINARY(op, ...) op,
#include "elementwise_ops.inl"
};
enum class Comparison : int {
#define COMPARISON(op, ...) op,
#include "elementwise_ops.inl"
};
// clang-format on
// y = op(x), of one shape; p and q are the op's parameters. dx = dy * op'(x), from `saved`: x or y, as the list says.
void unary(Unary op, const View& x, double p, double q, const View& y);
void unary_gradient(Unary op, const View& dy, const View& saved, double p, double q, const View& dx);
// y = op(a, b), broadcast to the shape of y. The gradients da and db, of which one may be absent, are contiguous and
// have the shape of their operand: summed over the axes along which it was repeated.
void binary(Binary op, const View& a, const View& b, const View& y);
void binary_gradient(Binary op, const View& dy, const View& a, const View& b, const View& da, const View& db,
                     void* scratch);
size_t binary_gradient_scratch(const View& dy, const View& da, const View& db);  // of where_gradient, too
void compare(Comparison op, const View& a, const View& b, const View& y);        // y is bool
void where(const View& condition, const View& a, const View& b, const View& y);  // condition is bool
// da is dy where condition holds, else 0; db the opposite.
void where_gradient(const View& dy, const View& condition, const View& da, const View& db, void* scratch);

// ---- conv2d ----
// Images are [N,H,W,C] and [N,P,Q,F], or channels_first [N,C,H,W] and [N,F,P,Q]; filters [R,S,C/groups,F].
// y[n,p,q,f] = activation(sum_{r,s,c} x[n, p*stride + r*dilation - top, q*stride + s*dilation - left, c] w[r,s,c,f]
// + bias[f]); outside x is zero. before: top and left; the padding after is what P and Q leave. dz: the gradient of the
// sum. dx and dw are contiguous.
struct Conv2d {
  int64_t stride[2], before[2], dilation[2], groups;
  bool channels_first;
  Precision precision;
  int threads;  // how many pieces of scratch: one for each thread that may work on it
};
void conv2d(const View& x, const View& w, const View& bias, const Conv2d& how, Activation activation, double slope,
            const View& y, void* scratch);
size_t conv2d_scratch(const View& x, const View& w, const View& bias, const Conv2d& how, const View& y);
void conv2d_input_gradient(const View& dz, const View& w, const Conv2d& how, const View& dx, void* scratch);
size_t conv2d_input_gradient_scratch(const View& dz, const View& w, const Conv2d& how, const View& dx);
void conv2d_filter_gradient(const View& x, const View& dz, const Conv2d& how, const View& dw, void* scratch);
size_t conv2d_filter_gradient_scratch(const View& x, const View& dz, const Conv2d& how, const View& dw);

// ---- recurrent ----
// x[B,T,F] walks through time with a state h[B,U]: the formulas, the gates' order and `saved` stand in reference.py. w
// [F,G*U], u[U,G*U]: G gates side by side. activation, recurrent: linear, relu, sigmoid, tanh. All results are
// contiguous.
enum class Cell : int { simple, lstm, gru };
struct RecurrentOperands {
  View x, w, u, bias;  // bias[G*U], of the GRU with reset_after [2,G*U]
  View h, c;           // [B,U] first states: zeros if absent; c: of lstm alone
  View mask, drop;     // bool [B,T]: a step without it keeps the state; [B,U]: factors of the h that meets u
  Cell cell;
  Activation activation, recurrent;
  bool reset_after, zero_masked;
};
struct RecurrentResults {
  View y, h, c, saved;  // [B,T,U]; [B,U] last states; [B,T,recurrent_saved * U]
};
struct RecurrentGradients {
  View dy, dh, dc, saved;          // given: dy[B,T,U], or [B,1,U] of the last output; may be absent
  View dx, dw, du, dbias, d0, e0;  // wanted: those of the operands and of the first h and c; dx may be absent
};
int64_t recurrent_gates(Cell cell);
int64_t recurrent_saved(Cell cell);
void recurrent(const RecurrentOperands& operands, const RecurrentResults& results, void* scratch);
size_t recurrent_scratch(const RecurrentOperands& operands, const RecurrentResults& results);
void recurrent_gradient(const RecurrentOperands& operands, const RecurrentGradients& gradients, void* scratch);
size_t recurrent_gradient_scratch(const RecurrentOperands& operands, const RecurrentGradients& gradients);

// ---- attention ----
// y[B,T,H,E] = dropout(softmax(scale * q k^T)) v for each batch and head: q[B,T,H,D], k[B,S,H,D], v[B,S,H,E]. mask:
// bool [B,H,T,S], often with strides 0: keys without it, and with `causal` those after the query's position, do not
// count; a query without any key gives zeros. key: of the dropout (the numbers of a row begin at a multiple of 64),
// read when the kernel runs; nullptr: none. The scores are not kept: the gradient computes them again, a block of rows
// at a time.
struct AttentionOperands {
  View q, k, v, mask;
  const int64_t* key;
  double scale, rate;
  bool causal;
  Precision precision;  // of all products
};
void attention(const AttentionOperands& operands, const View& y, void* scratch);
size_t attention_scratch(const AttentionOperands& operands);
// All three gradients, contiguous.
void attention_gradient(const View& dy, const AttentionOperands& operands, const View& dq, const View& dk,
                        const View& dv, void* scratch);
size_t attention_gradient_scratch(const AttentionOperands& operands);

}  // namespace nnfast
