// Recurrent layers, whole sequences at a time. Forward: the products x * w of all steps are one gemm; then rows of the
// batch, which know nothing of each other, walk through time in parallel, each piece of them with one small product
// h * u per step. u is packed once for all steps. Backward: the same walk from the end, which leaves the gradients of
// all sums; three gemms make dw, du and dx of them.
#include <algorithm>

#include "../ops.h"
#include "gemm_blocks.h"
#include "parallel.h"

namespace nnfast {
namespace {

struct Sizes {
  int64_t B, T, F, U, G, K;  // G: gates * U; K: elements of `saved` per step
  explicit Sizes(const RecurrentOperands& o)
      : B(o.x.shape[0]),
        T(o.x.shape[1]),
        F(o.x.shape[2]),
        U(o.u.shape[0]),
        G(U * recurrent_gates(o.cell)),
        K(U * recurrent_saved(o.cell)) {}
};

// Rows of the batch that walk together: enough to use what they read of u more than once, few enough that there is work
// for 16 threads. The problem and the ISA's tile decide, not the number of threads.
template <class T>
int64_t rows_of(int64_t B) {
  const int64_t mr = kernels().gemm.get<T>().mr, wanted = ceil_div(std::max<int64_t>(B, 1), 16);
  const int64_t least = std::min<int64_t>(8, mr);
  return std::min(std::max<int64_t>(B, 1), wanted <= least ? least : round_up(wanted, mr));
}

// Scratch, handed out piece by piece. With no memory it only counts.
template <class T>
class Arena {
 public:
  explicit Arena(void* memory) : at_(static_cast<T*>(memory)), counting_(!memory) {}
  T* take(int64_t n) {
    n = round_up(n, 64 / static_cast<int64_t>(sizeof(T)));
    used_ += n;
    if (counting_) return nullptr;
    T* p = at_;
    at_ += n;
    return p;
  }
  size_t bytes() const { return static_cast<size_t>(used_) * sizeof(T); }

 private:
  T* at_;
  int64_t used_ = 0;
  bool counting_;
};

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

// The product of a few rows with one matrix b[k,n], again and again: c = beta * c + a * b + bias.
template <class T>
class Fixed {
 public:
  Fixed(int64_t k, int64_t n, int64_t rows, Arena<T>& arena)
      : kernel_(kernels().gemm.get<T>()),
        k_(k),
        n_(n),
        few_(rows <= kernel_.few_rows),
        packed_(arena.take(k * round_up(n, kernel_.nr))),
        b_(packed_) {}

  static int64_t row_scratch(int64_t rows, int64_t k) { return round_up(rows, kernels().gemm.get<T>().mr) * k; }

  // A few rows use each element once: b is read where it lies, if its rows have no gaps.
  void pack(T* b, int64_t row, int64_t col) {
    if (!few_) return kernel_.pack_b(b, n_, col, k_, row, packed_);
    b_ = col == 1 ? b : packed_;
    b_row_ = col == 1 ? row : n_;
    if (col == 1) return;
    View from = matrix(b, k_, n_, row, sizeof(T) == sizeof(double) ? DType::float64 : DType::float32);
    from.stride[1] = col;
    copy(from, matrix(packed_, k_, n_, n_, sizeof(T) == sizeof(double) ? DType::float64 : DType::float32));
  }

  void run(const T* a, int64_t a_row, T* c, int64_t c_row, int64_t rows, T beta, const T* bias, T* scratch) const {
    GemmFinish<T> finish;
    finish.beta = beta;
    finish.bias = bias;
    if (few_) {
      kernel_.few(k_, a, a_row, 1, b_, b_row_, c, c_row, static_cast<int>(rows), n_, finish);
      return;
    }
    // Rows that a cache can hold side by side, though they may lie whole pages apart, are read where they lie.
    Panels<T> panels{a, kernel_.mr * a_row, a_row, 1};
    if (rows > 8 && a_row * static_cast<int64_t>(sizeof(T)) % 4096 == 0) {
      kernel_.pack_a(a, rows, a_row, k_, 1, scratch);
      panels = packed_panels<T>(scratch, kernel_.mr, k_);
    }
    multiply_block(kernel_, k_, panels, packed_panels<T>(packed_, kernel_.nr, k_), c, c_row, rows, n_,
                   {0, ceil_div(rows, kernel_.mr), 0, ceil_div(n_, kernel_.nr)}, finish);
  }

 private:
  const GemmKernels<T>& kernel_;
  int64_t k_, n_;
  bool few_;
  T *packed_, *b_;
  int64_t b_row_ = 0;
};

// x as [B*T,F], copied to `memory` first if it has gaps.
template <class T>
View flat_x(const RecurrentOperands& o, const Sizes& s, T* memory) {
  T* at = o.x.as<T>();
  if (!o.x.contiguous()) {
    if (memory) copy(o.x, o.x.dense(memory));
    at = memory;
  }
  return matrix(at, s.B * s.T, s.F, s.F, o.x.dtype);
}

template <class T>
const T* row_of(const View& v, int64_t b) {
  return v.given() ? v.as<T>() + b * v.stride[0] : nullptr;
}

bool is_on(const View& mask, int64_t b, int64_t t) {
  return !mask.given() || mask.as<bool>()[b * mask.stride[0] + t * mask.stride[1]];
}
// The first step of a row that is not masked.
int64_t first_on(const View& mask, int64_t b, int64_t T) {
  int64_t t = 0;
  while (t < T && !is_on(mask, b, t)) ++t;
  return t;
}

// ---- forward ----
template <class T>
class Forward {
 public:
  Forward(const RecurrentOperands& o, const RecurrentResults& r, void* scratch)
      : o_(o),
        r_(r),
        s_(o),
        arena_(scratch),
        rows_(rows_of<T>(s_.B)),
        after_(o.cell == Cell::gru && o.reset_after),
        u_(s_.U, o.cell == Cell::gru ? 2 * s_.U : s_.G, rows_, arena_),
        u_last_(s_.U, o.cell == Cell::gru ? s_.U : 0, rows_, arena_),
        bias_(arena_.take(2 * s_.G)),
        x_(arena_.take(o.x.contiguous() ? 0 : s_.B * s_.T * s_.F)),
        drop_(arena_.take(o.drop.given() && !o.drop.contiguous() ? s_.B * s_.U : 0)),
        tiles_(arena_.take(ceil_div(s_.B, rows_) * Fixed<T>::row_scratch(rows_, s_.U))),
        product_(arena_.take(0)) {}

  size_t bytes() {
    const View x = matrix(nullptr, s_.B * s_.T, s_.F, s_.F, o_.x.dtype);
    return arena_.bytes() + gemm_scratch(x, o_.w, sums(nullptr));
  }

  void run() {
    project();
    u_.pack(o_.u.as<T>(), o_.u.stride[0], o_.u.stride[1]);
    if (o_.cell == Cell::gru) u_last_.pack(o_.u.as<T>() + 2 * s_.U * o_.u.stride[1], o_.u.stride[0], o_.u.stride[1]);
    if (o_.drop.given() && !o_.drop.contiguous())
      copy(o_.drop, o_.drop.dense(drop_));
    else if (o_.drop.given())
      drop_ = o_.drop.as<T>();
    begin(o_.h, r_.h);
    if (o_.cell == Cell::lstm) begin(o_.c, r_.c);
    parallel_for_flushed(s_.B, rows_, [this](int64_t first, int64_t end) {
      T* tiles = tiles_ + first / rows_ * Fixed<T>::row_scratch(rows_, s_.U);
      for (int64_t t = 0; t < s_.T; ++t) step(first, end, t, tiles);
    });
  }

 private:
  View sums(T* at) const { return matrix(at, s_.B * s_.T, s_.G, s_.K, o_.x.dtype); }
  static void begin(const View& from, const View& to) { from.given() ? copy(from, to) : full(0, to); }

  // The sums of all steps that do not depend on the state, into `saved`.
  void project() {
    View bias = o_.bias;
    if (bias.given() && bias.ndim == 2) {  // of reset_after: that of u_n is added later
      const T* b = bias.as<T>();
      for (int64_t j = 0; j < s_.G; ++j) {
        const T at_u = b[bias.stride[0] + j * bias.stride[1]];
        bias_[j] = b[j * bias.stride[1]] + (j < 2 * s_.U ? at_u : T(0));
        bias_[s_.G + j] = at_u;
      }
      bias.data = bias_;
      bias.ndim = 1;
      bias.shape[0] = s_.G;
      bias.stride[0] = 1;
    }
    gemm(flat_x<T>(o_, s_, x_), o_.w, bias, 1, 0, Activation::linear, 0, Precision::highest, sums(r_.saved.as<T>()),
         product_);
  }

  void step(int64_t first, int64_t end, int64_t t, T* tiles) const {
    const int64_t U = s_.U, each = s_.T * s_.K, rows = end - first;
    T* saved = r_.saved.as<T>() + first * each + t * s_.K;
    const int64_t met = o_.cell == Cell::simple ? U : o_.cell == Cell::lstm ? 5 * U : 4 * U;
    for (int64_t i = 0; i < rows; ++i)
      k_.multiply(U, state(first + i), o_.drop.given() ? drop_ + (first + i) * U : nullptr, saved + i * each + met);
    u_.run(saved + met, each, saved, each, rows, T(1), nullptr, tiles);
    if (after_)
      u_last_.run(saved + met, each, saved + 3 * U, each, rows, T(0), o_.bias.given() ? bias_ + s_.G + 2 * U : nullptr,
                  tiles);
    if (o_.cell == Cell::gru) {
      for (int64_t i = 0; i < rows; ++i) {
        T* at = saved + i * each;
        k_.gru_gates(U, rec_, at, after_ ? nullptr : at + met, at + 3 * U);
        std::copy_n(state(first + i), U, at + 5 * U);
      }
      if (!after_) u_last_.run(saved + 3 * U, each, saved + 2 * U, each, rows, T(1), nullptr, tiles);
    }
    for (int64_t b = first; b < end; ++b) finish(b, t, saved + (b - first) * each);
  }

  // The new state of a row, and its output.
  void finish(int64_t b, int64_t t, T* saved) const {
    const int64_t U = s_.U;
    T* y = r_.y.as<T>() + (b * s_.T + t) * U;
    const bool on = is_on(o_.mask, b, t);
    if (!on) {
      std::fill_n(saved, o_.cell == Cell::simple ? U : 4 * U, T(0));
    } else if (o_.cell == Cell::simple) {
      k_.simple(U, act_, saved, state(b));
    } else if (o_.cell == Cell::lstm) {
      k_.lstm(U, act_, rec_, saved, r_.c.as<T>() + b * U, state(b));
    } else {
      k_.gru(U, act_, saved, after_ ? saved + 3 * U : nullptr, state(b));
    }
    if (o_.cell == Cell::lstm) std::copy_n(r_.c.as<T>() + b * U, U, saved + 4 * U);
    if (on)
      std::copy_n(state(b), U, y);
    else if (o_.zero_masked || t == 0)
      std::fill_n(y, U, T(0));
    else
      std::copy_n(y - U, U, y);
  }

  T* state(int64_t b) const { return r_.h.as<T>() + b * s_.U; }

  const RecurrentOperands& o_;
  const RecurrentResults& r_;
  const Sizes s_;
  const RecurrentKernels<T>& k_ = kernels().recurrent.get<T>();
  const int act_ = static_cast<int>(o_.activation), rec_ = static_cast<int>(o_.recurrent);
  Arena<T> arena_;
  const int64_t rows_;
  const bool after_;  // GRU with reset_after
  Fixed<T> u_, u_last_;
  T *bias_, *x_, *drop_, *tiles_, *product_;
};

// ---- backward ----
template <class T>
class Backward {
 public:
  Backward(const RecurrentOperands& o, const RecurrentGradients& g, void* scratch)
      : o_(o),
        g_(g),
        s_(o),
        arena_(scratch),
        rows_(rows_of<T>(s_.B)),
        gru_(o.cell == Cell::gru),
        after_(gru_ && o.reset_after),
        back_(gru_ && !after_ ? 2 * s_.U : s_.G, s_.U, rows_, arena_),
        back_last_(s_.U, gru_ && !after_ ? s_.U : 0, rows_, arena_),
        dz_(arena_.take(s_.B * s_.T * s_.G)),
        dz_u_(after_ ? arena_.take(s_.B * s_.T * s_.G) : dz_),
        x_(arena_.take(o.x.contiguous() ? 0 : s_.B * s_.T * s_.F)),
        drop_(arena_.take(o.drop.given() && !o.drop.contiguous() ? s_.B * s_.U : 0)),
        dense_dy_(arena_.take(g.dy.given() && !g.dy.contiguous() ? g.dy.size() : 0)),
        dense_c_(arena_.take(o.c.given() && !o.c.contiguous() ? s_.B * s_.U : 0)),
        pass_(arena_.take(s_.B * s_.U)),
        back_sum_(arena_.take(s_.B * s_.U)),
        dh_(arena_.take(s_.B * s_.U)),
        dc_(arena_.take(o.cell == Cell::lstm ? s_.B * s_.U : 0)),
        first_on_(reinterpret_cast<int64_t*>(arena_.take(o.mask.given() ? 2 * s_.B : 0))),
        tiles_(arena_.take(ceil_div(s_.B, rows_) * Fixed<T>::row_scratch(rows_, s_.G))),
        product_(arena_.take(0)) {}

  size_t bytes() {
    const View x = matrix(nullptr, s_.B * s_.T, s_.F, s_.F, o_.x.dtype), dz = sums(nullptr, 0, s_.G);
    const View met = saved(0, s_.U);
    size_t most = std::max(gemm_scratch(transposed(x), dz, g_.dw), gemm_scratch(transposed(met), dz, g_.du));
    if (g_.dx.given()) most = std::max(most, gemm_scratch(dz, transposed(o_.w), x));
    return arena_.bytes() + std::max(most, bias_activation_gradient_scratch(dz, 1));
  }

  void run() {
    back_.pack(o_.u.as<T>(), o_.u.stride[1], o_.u.stride[0]);
    if (gru_ && !after_) back_last_.pack(o_.u.as<T>() + 2 * s_.U * o_.u.stride[1], o_.u.stride[1], o_.u.stride[0]);
    drop_ = dense(o_.drop, drop_);
    dy_ = dense(g_.dy, dense_dy_);
    first_cell_ = dense(o_.c, dense_c_);
    begin(g_.dh, pass_);
    if (o_.cell == Cell::lstm) begin(g_.dc, dc_);
    std::fill_n(back_sum_, s_.B * s_.U, T(0));
    parallel_for_flushed(s_.B, rows_, [this](int64_t first, int64_t end) {
      T* tiles = tiles_ + first / rows_ * Fixed<T>::row_scratch(rows_, s_.G);
      for (int64_t b = first; b < end && o_.mask.given(); ++b) first_on_[b] = first_on(o_.mask, b, s_.T);
      for (int64_t t = s_.T - 1; t >= 0; --t) step(first, end, t, tiles);
      for (int64_t b = first; b < end; ++b) {
        k_.gather(s_.U, nullptr, pass_ + b * s_.U, back_sum_ + b * s_.U, drop_of(b), g_.d0.as<T>() + b * s_.U);
        if (o_.cell == Cell::lstm) std::copy_n(dc_ + b * s_.U, s_.U, g_.e0.as<T>() + b * s_.U);
      }
    });
    products();
  }

 private:
  View sums(T* at, int64_t column, int64_t columns) const {
    return matrix(at + column, s_.B * s_.T, columns, s_.G, o_.x.dtype);
  }
  View saved(int64_t column, int64_t columns) const {
    return matrix(g_.saved.as<T>() + column, s_.B * s_.T, columns, s_.K, o_.x.dtype);
  }
  static T* dense(const View& v, T* memory) {
    if (!v.given() || v.contiguous()) return v.given() ? v.as<T>() : nullptr;
    copy(v, v.dense(memory));
    return memory;
  }
  void begin(const View& from, T* to) const {
    const View target = g_.d0.dense(to);
    from.given() ? copy(from, target) : full(0, target);
  }
  const T* drop_of(int64_t b) const { return o_.drop.given() ? drop_ + b * s_.U : nullptr; }

  // The gradient of the output of a step that reaches its state: none, if the output was set to zero.
  const T* dy_of(int64_t b, int64_t t) const {
    const int64_t steps = dy_ ? g_.dy.shape[1] : 0, at = t - (s_.T - steps);
    if (at < 0) return nullptr;
    if (!is_on(o_.mask, b, t) && (o_.zero_masked || t < first_on_[b])) return nullptr;
    return dy_ + (b * steps + at) * s_.U;
  }

  void step(int64_t first, int64_t end, int64_t t, T* tiles) const {
    const int64_t U = s_.U, each = s_.T * s_.G, rows = end - first;
    T* dz = dz_ + first * each + t * s_.G;
    T* sum = back_sum_ + first * U;
    for (int64_t b = first; b < end; ++b) gates(b, t, dz + (b - first) * each);
    if (!gru_ || after_) {
      const T* from = after_ ? dz_u_ + first * each + t * s_.G : dz;
      back_.run(from, each, sum, U, rows, T(0), nullptr, tiles);
      return;
    }
    back_last_.run(dz + 2 * U, each, sum, U, rows, T(0), nullptr, tiles);
    for (int64_t b = first; b < end; ++b) {
      const T* at = g_.saved.as<T>() + (b * s_.T + t) * s_.K;
      k_.gru_back_reset(U, rec_, at, at + 4 * U, back_sum_ + b * U, dz + (b - first) * each);
    }
    back_.run(dz, each, sum, U, rows, T(1), nullptr, tiles);
  }

  // The gradients of the sums of one row at one step.
  void gates(int64_t b, int64_t t, T* dz) const {
    const int64_t U = s_.U;
    const T* at = g_.saved.as<T>() + (b * s_.T + t) * s_.K;
    T *dh = dh_ + b * U, *pass = pass_ + b * U;
    k_.gather(U, dy_of(b, t), pass, back_sum_ + b * U, drop_of(b), dh);
    T* dz_u = after_ ? dz_u_ + (b * s_.T + t) * s_.G : nullptr;
    if (!is_on(o_.mask, b, t)) {
      std::copy_n(dh, U, pass);
      std::fill_n(dz, s_.G, T(0));
      if (dz_u) std::fill_n(dz_u, s_.G, T(0));
      return;
    }
    if (o_.cell == Cell::gru) {
      k_.gru_back(U, act_, rec_, {at, at + 3 * U, at + 5 * U, dh, pass, dz, dz_u});
      return;
    }
    std::fill_n(pass, U, T(0));
    if (o_.cell == Cell::simple) return k_.simple_back(U, act_, at, dh, dz);
    const T* before = t > 0 ? at - s_.K + 4 * U : first_cell_ ? first_cell_ + b * U : nullptr;
    k_.lstm_back(U, act_, rec_, {at, at + 4 * U, before, dh, dc_ + b * U, dz});
  }

  void products() const {
    const int64_t U = s_.U, met = o_.cell == Cell::simple ? U : o_.cell == Cell::lstm ? 5 * U : 4 * U;
    const View x = flat_x<T>(o_, s_, x_), dz = sums(dz_, 0, s_.G), dz_u = sums(dz_u_, 0, s_.G);
    product(transposed(x), dz, g_.dw);
    if (gru_ && !after_) {
      View left = g_.du, right = g_.du;
      left.shape[1] = 2 * U;
      right.shape[1] = U;
      right.data = g_.du.as<T>() + 2 * U;
      product(transposed(saved(met, U)), sums(dz_, 0, 2 * U), left);
      product(transposed(saved(3 * U, U)), sums(dz_, 2 * U, U), right);
    } else {
      product(transposed(saved(met, U)), dz_u, g_.du);
    }
    if (g_.dx.given()) product(dz, transposed(o_.w), matrix(g_.dx.as<T>(), s_.B * s_.T, s_.F, s_.F, g_.dx.dtype));
    View db = g_.dbias;
    db.ndim = 1;
    db.shape[0] = s_.G;
    db.stride[0] = 1;
    bias_activation_gradient(dz, View{}, Activation::linear, 0, 1, View{}, db, product_);
    if (!after_) return;
    db.data = db.as<T>() + s_.G;
    bias_activation_gradient(dz_u, View{}, Activation::linear, 0, 1, View{}, db, product_);
  }
  void product(const View& a, const View& b, const View& y) const {
    gemm(a, b, View{}, 1, 0, Activation::linear, 0, Precision::highest, y, product_);
  }

  const RecurrentOperands& o_;
  const RecurrentGradients& g_;
  const Sizes s_;
  const RecurrentKernels<T>& k_ = kernels().recurrent.get<T>();
  const int act_ = static_cast<int>(o_.activation), rec_ = static_cast<int>(o_.recurrent);
  Arena<T> arena_;
  const int64_t rows_;
  const bool gru_, after_;
  Fixed<T> back_, back_last_;
  T *dz_, *dz_u_, *x_, *drop_, *dense_dy_, *dense_c_, *pass_, *back_sum_, *dh_, *dc_;
  int64_t* first_on_;
  T *tiles_, *product_;
  const T *dy_ = nullptr, *first_cell_ = nullptr;
};

}  // namespace

int64_t recurrent_gates(Cell cell) { return cell == Cell::simple ? 1 : cell == Cell::lstm ? 4 : 3; }
int64_t recurrent_saved(Cell cell) { return cell == Cell::simple ? 2 : 6; }

size_t recurrent_scratch(const RecurrentOperands& o, const RecurrentResults& r) {
  return visit_float(o.x.dtype, [&](auto tag) { return Forward<typename decltype(tag)::type>(o, r, nullptr).bytes(); });
}
void recurrent(const RecurrentOperands& o, const RecurrentResults& r, void* scratch) {
  visit_float(o.x.dtype, [&](auto tag) { Forward<typename decltype(tag)::type>(o, r, scratch).run(); });
}
size_t recurrent_gradient_scratch(const RecurrentOperands& o, const RecurrentGradients& g) {
  return visit_float(o.x.dtype,
                     [&](auto tag) { return Backward<typename decltype(tag)::type>(o, g, nullptr).bytes(); });
}
void recurrent_gradient(const RecurrentOperands& o, const RecurrentGradients& g, void* scratch) {
  visit_float(o.x.dtype, [&](auto tag) { Backward<typename decltype(tag)::type>(o, g, scratch).run(); });
}

}  // namespace nnfast
