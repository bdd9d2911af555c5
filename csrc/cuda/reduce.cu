// reduce, its gradients, argmax and argmin: folds (fold.cuh) with a state for each kind. y is contiguous and may not
// overlap x. Elements along the reduced axes join in an order that depends on the shape alone.
#include "fold.cuh"

namespace nnfast {
namespace {

// What integers are summed and multiplied in: it wraps round.
template <class T>
struct Wide {
  using type = uint64_t;
};
template <>
struct Wide<float> {
  using type = float;
};
template <>
struct Wide<double> {
  using type = double;
};

template <class T, class W>
struct Load {
  const T* x;
  __device__ W operator()(int64_t at, int64_t) const { return static_cast<W>(x[at]); }
};

template <class T>
struct StoreSum {
  T* y;
  __device__ void operator()(const SumState<typename Wide<T>::type>& s, int64_t at) const {
    y[at] = static_cast<T>(s.sum);
  }
};
template <class T>
struct StoreMean {
  T* y;
  T n;
  __device__ void operator()(const SumState<T>& s, int64_t at) const { y[at] = s.sum / n; }
};
template <class T>
struct StoreProduct {
  T* y;
  __device__ void operator()(const ProductState<typename Wide<T>::type>& s, int64_t at) const {
    y[at] = static_cast<T>(s.product);
  }
};
template <class T>
struct StoreExtreme {
  T* y;
  template <class State>
  __device__ void operator()(const State& s, int64_t at) const {
    y[at] = s.value;
  }
};
struct StorePlace {
  int64_t* y;
  template <class State>
  __device__ void operator()(const State& s, int64_t at) const {
    y[at] = s.at;
  }
};
template <class T>
struct StoreVariance {
  T* y;
  T n;
  __device__ void operator()(const MomentsState<T>& s, int64_t at) const { y[at] = s.squares / n; }
};
template <class T>
struct StoreLogSumExp {
  T* y;
  __device__ void operator()(const LogSumExpState<T>& s, int64_t at) const {
    y[at] = s.top == -T(INFINITY) || s.top == T(INFINITY) || is_nan(s.top) ? s.top : log(s.sum) + s.top;
  }
};
template <class State>
struct StoreState {
  State* to;
  __device__ void operator()(const State& s, int64_t at) const { to[at] = s; }
};

// The widest state that a fold of this dtype may need.
size_t state_bytes(const FoldPlan& p) { return fold_scratch<ExtremeState<double, true>>(p); }
}  // namespace

size_t reduce_scratch(const View& x, uint32_t axes, Reduction) { return state_bytes(plan_fold(x, axes)) * 2; }

void reduce(const View& x, uint32_t axes, Reduction reduction, const View& y, void* scratch) {
  const FoldPlan p = plan_fold(x, axes);
  visit_dtype(x.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    using W = typename Wide<T>::type;
    T* const to = y.as<T>();
    const Load<T, T> load{x.as<T>()};
    const Load<T, W> wide{x.as<T>()};
    switch (reduction) {
      case Reduction::sum:
        return fold<SumState<W>>(p, wide, StoreSum<T>{to}, scratch);
      case Reduction::prod:
        return fold<ProductState<W>>(p, wide, StoreProduct<T>{to}, scratch);
      case Reduction::max:
        return fold<ExtremeState<T, true>>(p, load, StoreExtreme<T>{to}, scratch);
      case Reduction::min:
        return fold<ExtremeState<T, false>>(p, load, StoreExtreme<T>{to}, scratch);
      default:
        break;
    }
    if constexpr (std::is_floating_point_v<T>) {
      const T n = static_cast<T>(p.per_result);
      if (reduction == Reduction::mean) return fold<SumState<T>>(p, load, StoreMean<T>{to, n}, scratch);
      if (reduction == Reduction::var) return fold<MomentsState<T>>(p, load, StoreVariance<T>{to, n}, scratch);
      return fold<LogSumExpState<T>>(p, load, StoreLogSumExp<T>{to}, scratch);
    }
  });
}

size_t arg_reduce_scratch(const View& x, int axis) { return state_bytes(plan_fold(x, 1u << axis)); }

void arg_reduce(const View& x, int axis, bool largest, const View& y, void* scratch) {
  const FoldPlan p = plan_fold(x, 1u << axis);
  visit_dtype(x.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const Load<T, T> load{x.as<T>()};
    const StorePlace store{y.as<int64_t>()};
    if (largest)
      fold<ExtremeState<T, true>>(p, load, store, scratch);
    else
      fold<ExtremeState<T, false>>(p, load, store, scratch);
  });
}

// ---- gradients: what a result needs to be shared out (hits, product, mean) is folded first ----
namespace {
template <class T>
struct Hits {  // 1 for each element that equals the result
  const T *x, *y;
  __device__ T operator()(int64_t at, int64_t y_at) const { return x[at] == y[y_at] ? T(1) : T(0); }
};

// The walk: dx, x, dy, y, states.
template <class T, class State, class Slope>
__global__ void __launch_bounds__(256)
    gradient_kernel(Walk<5> walk, T* dx, const T* x, const T* dy, const T* y, const State* states, Slope slope) {
  for (int64_t i = global_thread(); i < walk.size; i += all_threads()) {
    int64_t at[5];
    walk.at(i, at);
    dx[at[0]] = slope(x[at[1]], dy[at[2]], y ? y[at[3]] : T(0), states ? states[at[4]] : State{});
  }
}

template <class T>
struct ExtremumSlope {
  __device__ T operator()(T x, T dy, T y, SumState<T> hits) const { return (x == y ? T(1) : T(0)) * dy / hits.sum; }
};
template <class T>
struct ProductSlope {
  __device__ T operator()(T x, T dy, T, ZerosState<T> s) const {
    const T others = s.zeros == T(0) ? s.product / x : s.zeros == T(1) && x == T(0) ? s.product : T(0);
    return dy * others;
  }
};
template <class T>
struct VarianceSlope {
  T n;
  __device__ T operator()(T x, T dy, T, MomentsState<T> s) const { return dy * T(2) * (x - s.mean) / n; }
};
template <class T>
struct LogSumExpSlope {
  __device__ T operator()(T x, T dy, T y, SumState<T>) const { return dy * exp(x - y); }
};

View dense_results(const View& x, uint32_t axes) {  // a state for each result, with the reduced axes as stride 0
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
size_t states_bytes(const FoldPlan& p) {
  return (static_cast<size_t>(p.results) * sizeof(MomentsState<double>) + 255) / 256 * 256;
}
}  // namespace

size_t reduce_gradient_scratch(const View& x, uint32_t axes) {
  const FoldPlan p = plan_fold(x, axes);
  return states_bytes(p) + fold_scratch<MomentsState<double>>(p);
}

void reduce_gradient(const View& dy, const View& x, const View& y, uint32_t axes, Reduction reduction, const View& dx,
                     void* scratch) {
  if (x.size() == 0) return;
  visit_float(x.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const auto walk = walk_over(dx, x, dy, y, dense_results(x, axes));
    const auto start = [&](auto* states, auto slope) {
      using State = std::remove_cv_t<std::remove_reference_t<decltype(*states)>>;
      launch(gradient_kernel<T, State, decltype(slope)>, blocks_for(walk.size, 256, 132 * 16), 256, 0, stream(), walk,
             dx.as<T>(), x.as<T>(), dy.as<T>(), y.as<T>(), states, slope);
    };
    const FoldPlan p = plan_fold(x, axes);
    void* const rest = static_cast<char*>(scratch) + states_bytes(p);
    if (reduction == Reduction::max || reduction == Reduction::min) {
      auto* states = static_cast<SumState<T>*>(scratch);
      fold<SumState<T>>(plan_fold(x, axes, y), Hits<T>{x.as<T>(), y.as<T>()}, StoreState<SumState<T>>{states}, rest);
      start(states, ExtremumSlope<T>{});
    } else if (reduction == Reduction::prod) {
      auto* states = static_cast<ZerosState<T>*>(scratch);
      fold<ZerosState<T>>(p, Load<T, T>{x.as<T>()}, StoreState<ZerosState<T>>{states}, rest);
      start(states, ProductSlope<T>{});
    } else if (reduction == Reduction::var) {
      auto* states = static_cast<MomentsState<T>*>(scratch);
      fold<MomentsState<T>>(p, Load<T, T>{x.as<T>()}, StoreState<MomentsState<T>>{states}, rest);
      start(states, VarianceSlope<T>{static_cast<T>(p.per_result)});
    } else if (reduction == Reduction::logsumexp) {
      start(static_cast<SumState<T>*>(nullptr), LogSumExpSlope<T>{});
    }
  });
}

}  // namespace nnfast
