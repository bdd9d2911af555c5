// Recurrent layers, whole sequences at a time. Forward: the products x * w of all steps are one gemm; then each step is
// one launch, which multiplies the states by u and makes the gates and the new states of the sums while they are in
// registers (the GRU with the reset before its product takes two). Backward: the same walk from the end, which leaves
// the gradients of all sums; gemms make dw, du and dx of them. A step writes what the next one multiplies to a place of
// its own, in `saved` or among the gradients, so no block reads what another one is writing.
#include <algorithm>

#include "math.cuh"
#include "status.cuh"

namespace nnfast {
namespace {

constexpr int THREADS = 256;
constexpr int64_t MOST_BLOCKS = 132 * 16;

// ---- a product with the gates beside each other: sum[g] = a[row, :] * b[:, g, unit] ----
constexpr int UNITS = 32, DEPTH = 32, EACH = 2, ROWS = THREADS / UNITS * EACH;  // of a block; EACH: rows of a thread

template <class T>
struct Product {
  const T *a, *b;
  int64_t a_row, b_depth, b_unit, b_gate;  // steps; a lies in order along its depth
  int64_t rows, units, depth;
};

// finish(row, unit, sums): what becomes of the sums of one unit.
template <class T, int GATES, class Finish>
__global__ void __launch_bounds__(THREADS) step_kernel(Product<T> p, Finish finish) {
  __shared__ T as[DEPTH][ROWS + 1];
  __shared__ T bs[GATES][DEPTH][UNITS + 1];
  constexpr int A_LOADS = ROWS * DEPTH / THREADS, B_LOADS = UNITS * DEPTH / THREADS;
  const int64_t unit_blocks = ceil_div(p.units, UNITS);
  const int64_t j0 = blockIdx.x % unit_blocks * UNITS, row0 = blockIdx.x / unit_blocks * ROWS;
  const int low = threadIdx.x % UNITS, high = threadIdx.x / UNITS;
  const bool unit_first = p.b_unit == 1;  // load along whichever dimension of b lies in order
  T a[A_LOADS], b[GATES][B_LOADS], sum[EACH][GATES] = {};

  const auto fetch = [&](int64_t k0) {
#pragma unroll
    for (int i = 0; i < A_LOADS; ++i) {
      const int64_t row = row0 + high + i * (THREADS / DEPTH), k = k0 + low;
      a[i] = row < p.rows && k < p.depth ? p.a[row * p.a_row + k] : T(0);
    }
#pragma unroll
    for (int i = 0; i < B_LOADS; ++i) {
      const int other = high + i * (THREADS / UNITS);
      const int64_t j = j0 + (unit_first ? low : other), k = k0 + (unit_first ? other : low);
#pragma unroll
      for (int g = 0; g < GATES; ++g)
        b[g][i] = j < p.units && k < p.depth ? p.b[k * p.b_depth + j * p.b_unit + g * p.b_gate] : T(0);
    }
  };
#pragma unroll 1
  for (int64_t k0 = 0; k0 < p.depth + DEPTH; k0 += DEPTH) {  // the next tiles are on their way while these are used
    if (k0 < p.depth) fetch(k0);
    if (k0 > 0) {
#pragma unroll 8
      for (int k = 0; k < DEPTH; ++k)
#pragma unroll
        for (int g = 0; g < GATES; ++g)
#pragma unroll
          for (int e = 0; e < EACH; ++e) sum[e][g] += as[k][high * EACH + e] * bs[g][k][low];
    }
    __syncthreads();
    if (k0 >= p.depth) break;
#pragma unroll
    for (int i = 0; i < A_LOADS; ++i) as[low][high + i * (THREADS / DEPTH)] = a[i];
#pragma unroll
    for (int i = 0; i < B_LOADS; ++i) {
      const int other = high + i * (THREADS / UNITS);
#pragma unroll
      for (int g = 0; g < GATES; ++g) bs[g][unit_first ? other : low][unit_first ? low : other] = b[g][i];
    }
    __syncthreads();
  }
#pragma unroll 1
  for (int e = 0; e < EACH; ++e) {
    const int64_t row = row0 + high * EACH + e, unit = j0 + low;
    if (row < p.rows && unit < p.units) finish(row, unit, sum[0]);
#pragma unroll
    for (int g = 0; g < GATES; ++g)  // registers have no index: the next sums move up
#pragma unroll
      for (int i = 1; i < EACH; ++i) sum[i - 1][g] = sum[i][g];
  }
}

template <int GATES, class T, class Finish>
void start_step(const Product<T>& p, const Finish& finish) {
  const int64_t blocks = ceil_div(p.units, UNITS) * ceil_div(p.rows, ROWS);
  launch(step_kernel<T, GATES, Finish>, static_cast<unsigned>(blocks), THREADS, 0, stream(), p, finish);
}

// ---- what all kernels of a call know ----
template <class T>
struct Matrix {  // rows of the batch by units, or an absent one
  const T* data = nullptr;
  int64_t row = 0, col = 0;
  Matrix() = default;
  explicit Matrix(const View& v) {
    if (v.given()) data = v.as<T>(), row = v.stride[0], col = v.stride[1];
  }
  __device__ T at(int64_t i, int64_t j, T absent) const { return data ? data[i * row + j * col] : absent; }
};

template <class T>
struct Common {
  int64_t B, T_, F, U, G, K;  // T_: steps; G: gates * U; K: elements of `saved` per step
  int64_t met;                // where the state that met u lies in a step of `saved`
  Cell cell;
  Activation act, rec;
  bool after, zero_masked;  // after: of a GRU with reset_after
  Matrix<T> u, drop;
  Matrix<bool> mask;

  explicit Common(const RecurrentOperands& o)
      : B(o.x.shape[0]),
        T_(o.x.shape[1]),
        F(o.x.shape[2]),
        U(o.u.shape[0]),
        G(U * recurrent_gates(o.cell)),
        K(U * recurrent_saved(o.cell)),
        met(o.cell == Cell::simple ? U
            : o.cell == Cell::lstm ? 5 * U
                                   : 4 * U),
        cell(o.cell),
        act(o.activation),
        rec(o.recurrent),
        after(o.cell == Cell::gru && o.reset_after),
        zero_masked(o.zero_masked),
        u(o.u),
        drop(o.drop),
        mask(o.mask) {}
  __device__ bool on(int64_t b, int64_t t) const { return mask.at(b, t, true); }
};
template <class T>
__device__ inline T gate(Activation activation, T x) {
  return activate(activation, x, T(0));
}
template <class T>
__device__ inline T slope(Activation activation, T y) {
  return slope_from_result(activation, y, T(0));
}

View matrix(void* data, int64_t rows, int64_t cols, int64_t row, DType dtype) {
  View v;
  v.data = data;
  v.ndim = 2;
  v.dtype = dtype;
  v.shape[0] = rows, v.shape[1] = cols;
  v.stride[0] = row, v.stride[1] = 1;
  return v;
}
View transposed(View v) {
  std::swap(v.shape[0], v.shape[1]);
  std::swap(v.stride[0], v.stride[1]);
  return v;
}

// Scratch, handed out piece by piece. With no memory it only counts.
class Arena {
 public:
  explicit Arena(void* memory) : base_(static_cast<char*>(memory)) {}
  template <class T>
  T* take(int64_t n) {
    char* const p = base_ ? base_ + used_ : nullptr;
    used_ += (static_cast<size_t>(n) * sizeof(T) + 255) / 256 * 256;
    return reinterpret_cast<T*>(p);
  }
  size_t used() const { return used_; }

 private:
  char* base_;
  size_t used_ = 0;
};

// x as [B*T,F], copied to `memory` first if its rows are not evenly apart.
bool is_flat(const View& x) { return x.shape[0] <= 1 || x.shape[1] <= 1 || x.stride[0] == x.shape[1] * x.stride[1]; }
View flat(const View& x, void* memory) {
  View v = is_flat(x) ? x : x.dense(memory);
  if (memory && !is_flat(x)) copy(x, v);
  v.ndim = 2;
  v.shape[0] = x.shape[0] * x.shape[1], v.shape[1] = x.shape[2];
  v.stride[0] = x.shape[1] == 1 ? v.stride[0] : v.stride[1], v.stride[1] = v.stride[2];
  return v;
}

// ---- forward ----
template <class T>
struct Forward : Common<T> {
  T *h = nullptr, *c = nullptr, *y = nullptr, *saved = nullptr;
  Matrix<T> inner_bias;  // of reset_after: b'[3U], a matrix of one row

  explicit Forward(const Common<T>& common) : Common<T>(common) {}  // of a gradient
  Forward(const RecurrentOperands& o, const RecurrentResults& r)
      : Common<T>(o),
        h(r.h.as<T>()),
        c(o.cell == Cell::lstm ? r.c.as<T>() : nullptr),
        y(r.y.as<T>()),
        saved(r.saved.as<T>()) {
    if (!this->after || !o.bias.given()) return;
    inner_bias = Matrix<T>(o.bias);
    inner_bias.data += inner_bias.row;
  }
  __device__ T* at(int64_t b, int64_t t) const { return saved + (b * this->T_ + t) * this->K; }
  // The state goes to where the next step finds it.
  __device__ void hand_on(int64_t b, int64_t t, int64_t j, T state) const {
    h[b * this->U + j] = state;
    if (t >= this->T_) return;
    at(b, t)[this->met + j] = state * this->drop.at(b, j, T(1));
    if (this->cell == Cell::gru) at(b, t)[5 * this->U + j] = state;
  }
  __device__ void output(int64_t b, int64_t t, int64_t j, bool on) const {
    T* const to = y + (b * this->T_ + t) * this->U + j;
    *to = on ? h[b * this->U + j] : this->zero_masked || t == 0 ? T(0) : to[-this->U];
  }
};

template <class T>
__global__ void __launch_bounds__(THREADS) begin_forward(Forward<T> f, Matrix<T> h, Matrix<T> c) {
#pragma unroll 1
  for (int64_t i = global_thread(); i < f.B * f.U; i += all_threads()) {
    const int64_t b = divide(i, f.U), j = i - b * f.U;
    if (f.c) f.c[i] = c.at(b, j, T(0));
    f.hand_on(b, 0, j, h.at(b, j, T(0)));
  }
}

template <class T>
struct SimpleStep {
  Forward<T> f;
  int64_t t;
  __device__ void operator()(int64_t b, int64_t j, const T (&sum)[1]) const {
    T* const at = f.at(b, t) + j;
    const bool on = f.on(b, t);
    const T now = gate(f.act, at[0] + sum[0]);
    at[0] = on ? now : T(0);
    f.hand_on(b, t + 1, j, on ? now : f.h[b * f.U + j]);
    f.output(b, t, j, on);
  }
};

template <class T>
struct LstmStep {
  Forward<T> f;
  int64_t t;
  __device__ void operator()(int64_t b, int64_t j, const T (&sum)[4]) const {
    T* const at = f.at(b, t) + j;
    const int64_t U = f.U;
    const bool on = f.on(b, t);
    const T i = gate(f.rec, at[0] + sum[0]), forget = gate(f.rec, at[U] + sum[1]);
    const T g = gate(f.act, at[2 * U] + sum[2]), o = gate(f.rec, at[3 * U] + sum[3]);
    T& cell = f.c[b * U + j];
    if (on) cell = forget * cell + i * g;
    at[0] = on ? i : T(0);
    at[U] = on ? forget : T(0);
    at[2 * U] = on ? g : T(0);
    at[3 * U] = on ? o : T(0);
    at[4 * U] = cell;
    f.hand_on(b, t + 1, j, on ? o * gate(f.act, cell) : f.h[b * U + j]);
    f.output(b, t, j, on);
  }
};

// The GRU's new state, once z and n are known.
template <class T>
__device__ inline void finish_gru(const Forward<T>& f, int64_t b, int64_t t, int64_t j, bool on, T z, T n) {
  f.at(b, t)[2 * f.U + j] = on ? n : T(0);
  const T before = f.h[b * f.U + j];
  f.hand_on(b, t + 1, j, on ? z * before + (T(1) - z) * n : before);
  f.output(b, t, j, on);
}
template <class T>
struct GruStep {  // reset_after
  Forward<T> f;
  int64_t t;
  __device__ void operator()(int64_t b, int64_t j, const T (&sum)[3]) const {
    T* const at = f.at(b, t) + j;
    const int64_t U = f.U;
    const bool on = f.on(b, t);
    const T z = gate(f.rec, at[0] + sum[0] + f.inner_bias.at(0, j, T(0)));
    const T r = gate(f.rec, at[U] + sum[1] + f.inner_bias.at(0, U + j, T(0)));
    const T inner = sum[2] + f.inner_bias.at(0, 2 * U + j, T(0));
    const T n = gate(f.act, at[2 * U] + r * inner);
    at[0] = on ? z : T(0);
    at[U] = on ? r : T(0);
    at[3 * U] = on ? inner : T(0);
    finish_gru(f, b, t, j, on, z, n);
  }
};
template <class T>
struct GruGates {  // reset before: z, r, and r * h, which the second launch multiplies; j: a unit of z, or U + one of r
  Forward<T> f;
  int64_t t;
  __device__ void operator()(int64_t b, int64_t j, const T (&sum)[1]) const {
    T* const at = f.at(b, t) + j;
    const bool on = f.on(b, t);
    const T now = gate(f.rec, at[0] + sum[0]);
    at[0] = on ? now : T(0);
    if (j >= f.U) at[2 * f.U] = on ? now * at[3 * f.U] : T(0);
  }
};
template <class T>
struct GruLast {
  Forward<T> f;
  int64_t t;
  __device__ void operator()(int64_t b, int64_t j, const T (&sum)[1]) const {
    const T* const at = f.at(b, t) + j;
    finish_gru(f, b, t, j, f.on(b, t), at[0], gate(f.act, at[2 * f.U] + sum[0]));
  }
};

// ---- backward ----
template <class T>
struct Backward : Common<T> {
  T *dz = nullptr, *dz_u = nullptr;  // [B,T,G]: of the sums that x and u make; one array unless reset_after
  T *pass = nullptr, *dc = nullptr;  // [B,U]: what reaches the state other than through u; of the cell
  T* inner_back = nullptr;           // [B,U]: reset before: what reaches the state through r * h
  int64_t* first_on = nullptr;       // [B]: the first step that is not masked
  const T* saved = nullptr;
  Matrix<T> first_cell = {};
  const T* dy = nullptr;
  int64_t dy_steps = 0, dy_row = 0, dy_time = 0, dy_col = 0;
  T *d0 = nullptr, *e0 = nullptr;

  // The gradient of the output of a step that reaches its state: none, if the output was set to zero.
  __device__ T dy_at(int64_t b, int64_t t, int64_t j, bool on) const {
    const int64_t at = t - (this->T_ - dy_steps);
    if (!dy || at < 0 || (!on && (this->zero_masked || t < first_on[b]))) return T(0);
    return dy[b * dy_row + at * dy_time + j * dy_col];
  }
};

template <class T>
__global__ void __launch_bounds__(THREADS) begin_backward(Backward<T> g, Matrix<T> dh, Matrix<T> dc) {
#pragma unroll 1
  for (int64_t i = global_thread(); i < g.B * g.U; i += all_threads()) {
    const int64_t b = divide(i, g.U), j = i - b * g.U;
    g.pass[i] = dh.at(b, j, T(0));
    if (g.dc) g.dc[i] = dc.at(b, j, T(0));
    if (g.inner_back) g.inner_back[i] = T(0);
    if (j > 0 || !g.mask.data) continue;
    int64_t t = 0;
#pragma unroll 1
    while (t < g.T_ && !g.on(b, t)) ++t;
    g.first_on[b] = t;
  }
}

// sum: what comes back through u from the step after. At t == -1 only the gradients of the first states are left.
template <class T>
struct BackStep {
  Backward<T> g;
  int64_t t;
  __device__ void operator()(int64_t b, int64_t j, const T (&sum)[1]) const {
    const int64_t U = g.U, i = b * U + j;
    const T back = g.inner_back ? sum[0] + g.inner_back[i] : sum[0];
    T d = back * g.drop.at(b, j, T(1)) + g.pass[i];
    if (t < 0) {
      g.d0[i] = d;
      if (g.cell == Cell::lstm) g.e0[i] = g.dc[i];
      return;
    }
    const bool on = g.on(b, t);
    d += g.dy_at(b, t, j, on);
    const T* const at = g.saved + (b * g.T_ + t) * g.K + j;
    T* const dz = g.dz + (b * g.T_ + t) * g.G + j;
    T* const dz_u = g.after ? g.dz_u + (b * g.T_ + t) * g.G + j : nullptr;
    if (!on) {
      g.pass[i] = d;
#pragma unroll 1
      for (int64_t k = 0; k < g.G; k += U) {
        dz[k] = T(0);
        if (dz_u) dz_u[k] = T(0);
      }
    } else if (g.cell == Cell::simple) {
      g.pass[i] = T(0);
      dz[0] = d * slope(g.act, at[0]);
    } else if (g.cell == Cell::lstm) {
      const T in = at[0], forget = at[U], new_cell = at[2 * U], out = at[3 * U];
      const T y = gate(g.act, at[4 * U]), through = g.dc[i] + d * out * slope(g.act, y);
      const T before = t > 0 ? at[4 * U - g.K] : g.first_cell.at(b, j, T(0));
      dz[0] = through * new_cell * slope(g.rec, in);
      dz[U] = through * before * slope(g.rec, forget);
      dz[2 * U] = through * in * slope(g.act, new_cell);
      dz[3 * U] = d * y * slope(g.rec, out);
      g.dc[i] = through * forget;
      g.pass[i] = T(0);
    } else {
      const T z = at[0], r = at[U], n = at[2 * U];
      const T of_z = d * (at[5 * U] - n) * slope(g.rec, z), of_n = d * (T(1) - z) * slope(g.act, n);
      g.pass[i] = d * z;
      dz[0] = of_z;
      dz[2 * U] = of_n;
      if (!dz_u) return;  // reset before: the second launch makes that of r
      const T of_r = of_n * at[3 * U] * slope(g.rec, r);
      dz[U] = dz_u[U] = of_r;
      dz_u[0] = of_z;
      dz_u[2 * U] = of_n * r;
    }
  }
};
template <class T>
struct GruBackReset {  // reset before; sum: the gradient of r * h
  Backward<T> g;
  int64_t t;
  __device__ void operator()(int64_t b, int64_t j, const T (&sum)[1]) const {
    const T* const at = g.saved + (b * g.T_ + t) * g.K + j;
    const T r = at[g.U];
    g.dz[(b * g.T_ + t) * g.G + g.U + j] = sum[0] * at[4 * g.U] * slope(g.rec, r);
    g.inner_back[b * g.U + j] = sum[0] * r;
  }
};

// What the launches with one sum for each unit do: they share a kernel, which chooses as it runs.
enum class OneSum { simple, gru_gates, gru_last, back, back_reset };
template <class T>
struct OneSumStep {
  OneSum kind;
  Forward<T> f;   // or
  Backward<T> g;  // this
  int64_t t;
  OneSumStep(OneSum kind_, const Forward<T>& f_, int64_t t_) : kind(kind_), f(f_), g{f_}, t(t_) {}
  OneSumStep(OneSum kind_, const Backward<T>& g_, int64_t t_) : kind(kind_), f(g_), g(g_), t(t_) {}

  __device__ void operator()(int64_t b, int64_t j, const T (&sum)[1]) const {
    switch (kind) {
      case OneSum::simple:
        return SimpleStep<T>{f, t}(b, j, sum);
      case OneSum::gru_gates:
        return GruGates<T>{f, t}(b, j, sum);
      case OneSum::gru_last:
        return GruLast<T>{f, t}(b, j, sum);
      case OneSum::back:
        return BackStep<T>{g, t}(b, j, sum);
      case OneSum::back_reset:
        return GruBackReset<T>{g, t}(b, j, sum);
    }
  }
};

template <class T>
size_t run_forward(const RecurrentOperands& o, const RecurrentResults& r, void* scratch) {
  const Forward<T> f(o, r);
  Arena arena(scratch);
  T* const x_copy = arena.take<T>(is_flat(o.x) ? 0 : o.x.size());
  void* const for_gemm = arena.take<char>(0);
  const View sums = matrix(r.saved.data, f.B * f.T_, f.G, f.K, o.x.dtype);
  if (!scratch) return arena.used() + gemm_scratch(flat(o.x, nullptr), o.w, sums);

  View bias = o.bias;
  if (bias.given() && bias.ndim == 2) bias.ndim = 1, bias.shape[0] = f.G, bias.stride[0] = bias.stride[1];
  gemm(flat(o.x, x_copy), o.w, bias, 1, 0, Activation::linear, 0, Precision::highest, sums, for_gemm);
  if (f.B == 0) return 0;
  launch(begin_forward<T>, blocks_for(f.B * f.U, THREADS, MOST_BLOCKS), THREADS, 0, stream(), f, Matrix<T>(o.h),
         Matrix<T>(o.c));
  const auto product = [&](int64_t t, int64_t column, int64_t first_gate, int64_t units) {
    const int64_t col = f.u.col;
    return Product<T>{f.saved + t * f.K + column,
                      f.u.data + first_gate * f.U * col,
                      f.T_ * f.K,
                      f.u.row,
                      col,
                      f.U * col,
                      f.B,
                      units,
                      f.U};
  };
  for (int64_t t = 0; t < f.T_; ++t) {
    if (f.cell == Cell::simple) {
      start_step<1>(product(t, f.met, 0, f.U), OneSumStep<T>(OneSum::simple, f, t));
    } else if (f.cell == Cell::lstm) {
      start_step<4>(product(t, f.met, 0, f.U), LstmStep<T>{f, t});
    } else if (f.after) {
      start_step<3>(product(t, f.met, 0, f.U), GruStep<T>{f, t});
    } else {
      start_step<1>(product(t, f.met, 0, 2 * f.U), OneSumStep<T>(OneSum::gru_gates, f, t));
      start_step<1>(product(t, 3 * f.U, 2, f.U), OneSumStep<T>(OneSum::gru_last, f, t));
    }
  }
  return 0;
}

template <class T>
void walk_back(const Backward<T>& g) {
  // Through the gates [first, first + depth / U) of step t; of the last step's successor there are none.
  const auto product = [&](int64_t t, int64_t first, int64_t depth) {
    return Product<T>{g.dz_u + t * g.G + first * g.U,
                      g.u.data + first * g.U * g.u.col,
                      g.T_ * g.G,
                      g.u.col,
                      g.u.row,
                      0,
                      g.B,
                      g.U,
                      t < g.T_ ? depth : 0};
  };
  const bool twice = g.cell == Cell::gru && !g.after;
  for (int64_t t = g.T_ - 1; t >= -1; --t) {
    const Product<T> p = product(t + 1, 0, twice ? 2 * g.U : g.G);
    start_step<1>(p, OneSumStep<T>(OneSum::back, g, t));
    if (twice && t >= 0) start_step<1>(product(t, 2, g.U), OneSumStep<T>(OneSum::back_reset, g, t));
  }
}

template <class T>
size_t run_backward(const RecurrentOperands& o, const RecurrentGradients& r, void* scratch) {
  Backward<T> g{Common<T>(o),
                nullptr,
                nullptr,
                nullptr,
                nullptr,
                nullptr,
                nullptr,
                r.saved.as<T>(),
                Matrix<T>(o.c),
                r.dy.given() ? r.dy.as<T>() : nullptr,
                r.dy.given() ? r.dy.shape[1] : 0,
                r.dy.stride[0],
                r.dy.stride[1],
                r.dy.stride[2],
                r.d0.as<T>(),
                o.cell == Cell::lstm ? r.e0.as<T>() : nullptr};
  const int64_t steps = g.B * g.T_, states = g.B * g.U, U = g.U;
  Arena arena(scratch);
  const bool twice = o.cell == Cell::gru && !g.after;
  g.dz = arena.take<T>(steps * g.G);
  g.dz_u = g.after ? arena.take<T>(steps * g.G) : g.dz;
  g.pass = arena.take<T>(states);
  if (o.cell == Cell::lstm) g.dc = arena.take<T>(states);
  if (twice) g.inner_back = arena.take<T>(states);
  g.first_on = arena.take<int64_t>(g.B);
  T* const x_copy = arena.take<T>(is_flat(o.x) ? 0 : o.x.size());
  void* const rest = arena.take<char>(0);

  const auto sums = [&](T* at, int64_t first, int64_t columns) {
    return matrix(at ? at + first : nullptr, steps, columns, g.G, o.x.dtype);
  };
  const auto met = [&](int64_t column) {
    return transposed(matrix(r.saved.as<T>() + column, steps, U, g.K, o.x.dtype));
  };
  const View dz = sums(g.dz, 0, g.G), dz_u = sums(g.dz_u, 0, g.G);
  if (!scratch) {
    const View x = flat(o.x, nullptr);
    size_t most = std::max(gemm_scratch(transposed(x), dz, r.dw), gemm_scratch(met(0), dz, r.du));
    if (twice) {
      View left = r.du, right = r.du;
      left.shape[1] = 2 * U, right.shape[1] = U;
      most = std::max({most, gemm_scratch(met(0), sums(nullptr, 0, 2 * U), left),
                       gemm_scratch(met(0), sums(nullptr, 0, U), right)});
    }
    if (r.dx.given()) most = std::max(most, gemm_scratch(dz, transposed(o.w), x));
    return arena.used() + std::max(most, reduce_scratch(dz, 1, Reduction::sum));
  }

  if (g.B > 0) {
    launch(begin_backward<T>, blocks_for(states, THREADS, MOST_BLOCKS), THREADS, 0, stream(), g, Matrix<T>(r.dh),
           Matrix<T>(r.dc));
    walk_back(g);
  }
  const auto product = [&](const View& a, const View& b, const View& y) {
    gemm(a, b, View{}, 1, 0, Activation::linear, 0, Precision::highest, y, rest);
  };
  product(transposed(flat(o.x, x_copy)), dz, r.dw);
  if (twice) {
    View left = r.du, right = r.du;
    left.shape[1] = 2 * U, right.shape[1] = U;
    right.data = r.du.as<T>() + 2 * U;
    product(met(g.met), sums(g.dz, 0, 2 * U), left);
    product(met(3 * U), sums(g.dz, 2 * U, U), right);
  } else {
    product(met(g.met), dz_u, r.du);
  }
  if (r.dx.given()) product(dz, transposed(o.w), matrix(r.dx.data, steps, g.F, g.F, o.x.dtype));
  View db = r.dbias;
  db.ndim = 1, db.shape[0] = g.G, db.stride[0] = 1;
  reduce(dz, 1, Reduction::sum, db, rest);
  if (!g.after) return 0;
  db.data = db.as<T>() + g.G;
  reduce(dz_u, 1, Reduction::sum, db, rest);
  return 0;
}

}  // namespace

int64_t recurrent_gates(Cell cell) { return cell == Cell::simple ? 1 : cell == Cell::lstm ? 4 : 3; }
int64_t recurrent_saved(Cell cell) { return cell == Cell::simple ? 2 : 6; }

size_t recurrent_scratch(const RecurrentOperands& o, const RecurrentResults& r) {
  return 256 +
         visit_float(o.x.dtype, [&](auto tag) { return run_forward<typename decltype(tag)::type>(o, r, nullptr); });
}
void recurrent(const RecurrentOperands& o, const RecurrentResults& r, void* scratch) {
  visit_float(o.x.dtype, [&](auto tag) { run_forward<typename decltype(tag)::type>(o, r, scratch); });
}
size_t recurrent_gradient_scratch(const RecurrentOperands& o, const RecurrentGradients& g) {
  return 256 +
         visit_float(o.x.dtype, [&](auto tag) { return run_backward<typename decltype(tag)::type>(o, g, nullptr); });
}
void recurrent_gradient(const RecurrentOperands& o, const RecurrentGradients& g, void* scratch) {
  visit_float(o.x.dtype, [&](auto tag) { run_backward<typename decltype(tag)::type>(o, g, scratch); });
}

}  // namespace nnfast
