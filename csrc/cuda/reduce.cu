// reduce, its gradients, argmax and argmin: folds (fold.cuh) with a state for each kind. y is contiguous and may not
// overlap x. Elements along the reduced axes join in an order that depends on the shape alone. Kernels are for float32,
// for float64, and for integers of all types, which they read by their dtype.
#include "dtype.cuh"
#include "fold.cuh"

namespace nnfast {
namespace {

View dense_results(const View& x, uint32_t axes) {  // a number for each result, with the reduced axes as stride 0
  View v = x;
  int64_t step = 1;
  for (int d = x.ndim - 1; d >= 0; --d) {
    const bool cut = axes >> d & 1;
    v.stride[d] = cut ? 0 : step;
    if (cut)
      v.shape[d] = 1;
    else
      step *= x.shape[d];
  }
  return v;
}
// The rows of a reduction are of x, of the results, and of what elements are compared with.
Rows<3> rows_of(const View& x, uint32_t axes, const View& compared = View{}) {
  return rows_over(axes, x, dense_results(x, axes), compared);
}

// float32 has kernels of its own for sums and for extremes; all else shares one for each W: float, double, and int64_t
// for integers, whose sums and products wrap round.
enum class Kind { sum, product, extreme, zeros, moments, log_sum_exp };
template <class W>
struct AnyState {
  Kind kind;
  union {
    SumState<std::conditional_t<std::is_floating_point_v<W>, W, uint64_t>> sum;
    ProductState<std::conditional_t<std::is_floating_point_v<W>, W, uint64_t>> product;
    ExtremeState<W> extreme;
    ZerosState<W> zeros;
    MomentsState<W> moments;
    LogSumExpState<W> log_sum_exp;
  };
  static constexpr bool FLOAT32 = std::is_same_v<W, float>, WHOLE = std::is_integral_v<W>;

  // fn(pointer to the member).
  template <class F>
  __host__ __device__ void visit(const F& fn) const {
    if (kind == Kind::product) return fn(&AnyState::product);
    if constexpr (!FLOAT32) {
      if (kind == Kind::sum) return fn(&AnyState::sum);
      if (kind == Kind::extreme) return fn(&AnyState::extreme);
    }
    if constexpr (!WHOLE) {
      if (kind == Kind::zeros) return fn(&AnyState::zeros);
      if (kind == Kind::moments) return fn(&AnyState::moments);
      fn(&AnyState::log_sum_exp);
    }
  }
  __host__ __device__ void begin() {
    visit([this](auto member) { (this->*member).begin(); });
  }
  __device__ void add(W x, int64_t at) {
    visit([=, this](auto member) { (this->*member).add(x, at); });
  }
  __device__ void join(const AnyState& o) {
    visit([&, this](auto member) { (this->*member).join(o.*member); });
  }
};

template <class W, class State>
struct AddElement {
  const void* x;
  DType dtype;
  bool smallest;      // it is looked for: elements are compared the other way round
  const W* compared;  // nullptr, or a sum counts the elements that equal it
  int64_t flip;       // the top bit where uint64 is compared: it begins where int64 does

  static constexpr bool FAST = !std::is_same_v<State, AnyState<W>>, PACKS = FAST;

  // What is compared in place of an element, and back.
  __device__ W turned(W v) const {
    if constexpr (std::is_floating_point_v<W>) {
      return smallest ? -v : v;
    } else {
      return v ^ (smallest ? ~flip : flip);
    }
  }
  __device__ void operator()(State& s, const int64_t (&at)[3], int64_t e) const {
    W v;
    if constexpr (std::is_floating_point_v<W>) {
      v = static_cast<const W*>(x)[at[0]];
      if (compared) v = v == compared[at[2]] ? W(1) : W(0);
    } else {
      v = element<W>(dtype, x, at[0]);
    }
    s.add(turned(v), e);
  }
  __device__ void pack(State& s, const int64_t (&at)[3], int64_t e) const {
    const auto v = load<4>(static_cast<const W*>(x) + at[0]);
#pragma unroll
    for (int i = 0; i < 4; ++i) s.add(turned(v.v[i]), e + i);
  }
};

// What becomes of a state.
enum class As { value, place, state };
template <class W, class State>
struct StoreResult {
  void* y;
  AddElement<W, State> from;
  As as;
  W divisor;

  __device__ void operator()(const State& s, const int64_t (&at)[3]) const {
    if constexpr (std::is_same_v<State, AnyState<W>>)
      s.visit([&](auto member) { store(s.*member, at[1]); });
    else
      store(s, at[1]);
  }
  template <class S>
  __device__ void store(const S& s, int64_t i) const {
    if (as == As::state)
      static_cast<S*>(y)[i] = s;
    else
      put(s, i);
  }
  __device__ void put(const SumState<W>& s, int64_t i) const { number(s.sum / divisor, i); }
  __device__ void put(const SumState<uint64_t>& s, int64_t i) const { number(static_cast<W>(s.sum), i); }
  template <class P>
  __device__ void put(const ProductState<P>& s, int64_t i) const {
    number(static_cast<W>(s.product), i);
  }
  __device__ void put(const ExtremeState<W>& s, int64_t i) const {
    if (as == As::place)
      static_cast<int64_t*>(y)[i] = s.at;
    else
      number(from.turned(s.value), i);
  }
  __device__ void put(const ZerosState<W>&, int64_t) const {}  // only their state is asked for
  __device__ void put(const MomentsState<W>& s, int64_t i) const { number(s.squares / divisor, i); }
  __device__ void put(const LogSumExpState<W>& s, int64_t i) const {
    number(s.top == -W(INFINITY) || s.top == W(INFINITY) || is_nan(s.top) ? s.top : log(s.sum) + s.top, i);
  }
  __device__ void number(W v, int64_t i) const {
    if constexpr (std::is_floating_point_v<W>) {
      static_cast<W*>(y)[i] = v;
    } else {
      visit_element(from.dtype, [=, this](auto tag) {
        using To = typename decltype(tag)::type;
        static_cast<To*>(y)[i] = static_cast<To>(v);
      });
    }
  }
};

struct Request {
  const View& x;
  uint32_t axes;
  void *y, *scratch;
  Kind kind;
  As as = As::value;
  bool smallest = false, mean = false;  // mean: divided by the number of elements
  View compared = View{};
};
template <class W, class State>
void run(const Request& q, const State& state) {
  const Rows<3> rows = rows_of(q.x, q.axes, q.compared);
  const AddElement<W, State> add{q.x.data, q.x.dtype, q.smallest, q.compared.given() ? q.compared.as<W>() : nullptr,
                                 q.kind == Kind::extreme && q.x.dtype == DType::uint64 ? INT64_MIN : 0};
  const bool packs = !q.compared.given() && in_packs(rows, 1, 4, {q.x.data, nullptr, nullptr});
  fold(rows, state, add, StoreResult<W, State>{q.y, add, q.as, q.mean ? static_cast<W>(rows.length) : W(1)}, q.scratch,
       packs);
}
void run(const Request& q) {
  const auto any = [&](auto tag) {
    using W = typename decltype(tag)::type;
    AnyState<W> state;
    state.kind = q.kind;
    run<W>(q, state);
  };
  if (q.x.dtype == DType::float64) return any(TypeTag<double>{});
  if (q.x.dtype != DType::float32) return any(TypeTag<int64_t>{});
  if (q.kind == Kind::sum) return run<float>(q, SumState<float>{});
  if (q.kind == Kind::extreme) return run<float>(q, ExtremeState<float>{});
  any(TypeTag<float>{});
}

// The widest state that a fold may need.
size_t state_bytes(const Rows<3>& rows) { return fold_scratch<AnyState<double>>(rows); }
}  // namespace

size_t reduce_scratch(const View& x, uint32_t axes, Reduction) { return state_bytes(rows_of(x, axes)); }

void reduce(const View& x, uint32_t axes, Reduction reduction, const View& y, void* scratch) {
  Request q{x, axes, y.data, scratch, Kind::sum};
  q.mean = reduction == Reduction::mean || reduction == Reduction::var;
  q.smallest = reduction == Reduction::min;
  if (q.smallest || reduction == Reduction::max) q.kind = Kind::extreme;
  if (reduction == Reduction::prod) q.kind = Kind::product;
  if (reduction == Reduction::var) q.kind = Kind::moments;
  if (reduction == Reduction::logsumexp) q.kind = Kind::log_sum_exp;
  run(q);
}

size_t arg_reduce_scratch(const View& x, int axis) { return state_bytes(rows_of(x, 1u << axis)); }

void arg_reduce(const View& x, int axis, bool largest, const View& y, void* scratch) {
  run({x, 1u << axis, y.data, scratch, Kind::extreme, As::place, !largest});
}

// ---- gradients: what a result needs to be shared out (hits, product, mean) is folded first ----
namespace {
// The walk: dx, x, dy, y, numbers of results. states: of each result, the words of its state.
template <class T>
__global__ void __launch_bounds__(256) gradient_kernel(Walk<5> walk, Reduction reduction, T* dx, const T* x,
                                                       const T* dy, const T* y, const T* states, T count) {
#pragma unroll 1
  for (int64_t i = global_thread(); i < walk.size; i += all_threads()) {
    int64_t at[5];
    walk.at(i, at);
    const T here = x[at[1]], d = dy[at[2]];
    T slope;
    if (reduction == Reduction::prod) {
      const ZerosState<T> s = reinterpret_cast<const ZerosState<T>*>(states)[at[4]];
      slope = s.zeros == T(0) ? s.product / here : s.zeros == T(1) && here == T(0) ? s.product : T(0);
      slope *= d;
    } else if (reduction == Reduction::var) {
      slope = d * T(2) * (here - reinterpret_cast<const MomentsState<T>*>(states)[at[4]].mean) / count;
    } else if (reduction == Reduction::logsumexp) {
      slope = d * exp(here - y[at[3]]);
    } else {
      slope = (here == y[at[3]] ? T(1) : T(0)) * d / states[at[4]];
    }
    dx[at[0]] = slope;
  }
}

size_t states_bytes(const Rows<3>& rows) {
  return (static_cast<size_t>(rows.rows) * sizeof(MomentsState<double>) + 255) / 256 * 256;
}
}  // namespace

size_t reduce_gradient_scratch(const View& x, uint32_t axes) {
  const Rows<3> rows = rows_of(x, axes);
  return states_bytes(rows) + state_bytes(rows);
}

void reduce_gradient(const View& dy, const View& x, const View& y, uint32_t axes, Reduction reduction, const View& dx,
                     void* scratch) {
  if (x.size() == 0 || reduction == Reduction::sum || reduction == Reduction::mean) return;
  visit_float(x.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const Rows<3> rows = rows_of(x, axes);
    void* const rest = static_cast<char*>(scratch) + states_bytes(rows);
    if (reduction == Reduction::prod)
      run({x, axes, scratch, rest, Kind::zeros, As::state});
    else if (reduction == Reduction::var)
      run({x, axes, scratch, rest, Kind::moments, As::state});
    else if (reduction != Reduction::logsumexp)
      run({x, axes, scratch, rest, Kind::sum, As::value, false, false, y});
    const auto walk = walk_over(dx, x, dy, y, dense_results(x, axes));
    launch(gradient_kernel<T>, blocks_for(walk.size, 256, 132 * 16), 256, 0, stream(), walk, reduction, dx.as<T>(),
           x.as<T>(), dy.as<T>(), y.as<T>(), static_cast<const T*>(scratch), static_cast<T>(rows.length));
  });
}

}  // namespace nnfast
