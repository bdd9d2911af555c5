// Folds: many elements become one, in an order that the shape alone decides, so results do not change from run to run.
// A block of threads makes some results; the threads of a result take elements in turn, then join their states by
// halves in shared memory. Where there are few results and many elements, blocks share a result, and a second kernel
// joins their states in order.
#pragma once
#include <algorithm>

#include "math.cuh"
#include "walk.cuh"

namespace nnfast {
namespace {

// ---- states: begin(), add(element, its position), join(a later state), result(how many elements) ----
template <class T>
struct SumState {
  T sum;
  __device__ void begin() { sum = 0; }
  __device__ void add(T x, int64_t) { sum += x; }
  __device__ void join(const SumState& o) { sum += o.sum; }
};
template <class T>
struct ProductState {
  T product;
  __device__ void begin() { product = 1; }
  __device__ void add(T x, int64_t) { product *= x; }
  __device__ void join(const ProductState& o) { product *= o.product; }
};
template <class T>
struct ZerosState {  // the product of what is not 0, and how many are
  T product, zeros;
  __device__ void begin() { product = 1, zeros = 0; }
  __device__ void add(T x, int64_t) { x == T(0) ? zeros += T(1) : product *= x; }
  __device__ void join(const ZerosState& o) { product *= o.product, zeros += o.zeros; }
};
// The largest or smallest element and the first place where it stands; the first NaN wins.
template <class T, bool LARGEST>
struct ExtremeState {
  T value;
  int64_t at;  // -1: nothing yet
  __device__ void begin() { value = T(0), at = -1; }
  __device__ bool beats(T x, int64_t x_at) const {  // does x at x_at win over what is here?
    if (at < 0) return true;
    if (x != x || value != value) return x != x && (value == value || x_at < at);
    if (x == value) return x_at < at;
    return LARGEST ? x > value : x < value;
  }
  __device__ void add(T x, int64_t x_at) {
    if (beats(x, x_at)) value = x, at = x_at;
  }
  __device__ void join(const ExtremeState& o) {
    if (o.at >= 0) add(o.value, o.at);
  }
};
// Mean and the sum of squared distances from it (T. F. Chan, G. H. Golub, R. J. LeVeque, 1979: "Updating formulae").
template <class T>
struct MomentsState {
  T n, mean, squares;
  __device__ void begin() { n = mean = squares = 0; }
  __device__ void add(T x, int64_t) {
    n += T(1);
    const T d = x - mean;
    mean += d / n;
    squares += d * (x - mean);
  }
  __device__ void join(const MomentsState& o) {
    const T all = n + o.n;
    if (all == T(0)) return;
    const T d = o.mean - mean, share = o.n / all;
    mean += d * share;
    squares += o.squares + d * d * n * share;
    n = all;
  }
};
// log(sum(exp(x))) as top + log(sum): in one pass ("online softmax", M. Milakov, N. Gimelshein, arXiv:1805.02867).
template <class T>
struct LogSumExpState {
  T top, sum;
  __device__ void begin() { top = -T(INFINITY), sum = 0; }
  __device__ void add(T x, int64_t) { join({x, T(1)}); }
  __device__ void join(const LogSumExpState& o) {
    if (o.top == -T(INFINITY) || is_nan(top)) return;
    if (is_nan(o.top)) {
      *this = o;
    } else if (o.top > top) {
      sum = o.sum + (top == -T(INFINITY) || sum == T(0) ? T(0) : sum * exp(top - o.top));
      top = o.top;
    } else {
      sum += top == o.top ? o.sum : o.sum * exp(o.top - top);
    }
  }
};

// ---- the shape of a fold ----
struct FoldPlan {
  Walk<3> kept;  // where the elements of a result begin in x, its number in C order, and its place in `other`
  Walk<1> cut;   // the elements of a result
  int64_t results = 1, per_result = 1;
  bool across = false;  // neighbouring threads take neighbouring results, not neighbouring elements
  int lanes = 1;        // threads of a block that share a result
  int64_t splits = 1, per_split = 1;

  int results_per_block() const { return FOLD_THREADS / lanes; }
  static constexpr int FOLD_THREADS = 256;
};

inline int power_of_two(int64_t n, int most) {  // the smallest that is at least n, at most `most`
  int p = 1;
  while (p < n && p < most) p *= 2;
  return p;
}

// `other` has the dimensions of x, of which only those that are kept are looked at; it may be absent.
inline FoldPlan plan_fold(const View& x, uint32_t axes, const View& other = View{}) {
  int64_t dense[MAX_DIMS], step = 1;
  int order[MAX_DIMS];  // largest stride first: neighbours in memory are neighbours in the walk
  for (int d = x.ndim - 1; d >= 0; --d) {
    dense[d] = step;
    if (!(axes >> d & 1)) step *= x.shape[d];
    order[d] = d;
  }
  const auto size = [](int64_t stride) { return stride < 0 ? -stride : stride; };
  std::stable_sort(order, order + x.ndim, [&](int a, int b) { return size(x.stride[a]) > size(x.stride[b]); });
  FoldPlan p;
  View kept = x, numbers = x, beside = x, cut = x;
  kept.ndim = numbers.ndim = beside.ndim = cut.ndim = 0;
  for (int i = 0; i < x.ndim; ++i) {
    const int d = order[i];
    const auto append = [&](View& v, int64_t stride) {
      v.shape[v.ndim] = x.shape[d];
      v.stride[v.ndim++] = stride;
    };
    if (axes >> d & 1) {
      append(cut, x.stride[d]);
    } else {
      append(kept, x.stride[d]);
      append(numbers, dense[d]);
      append(beside, other.given() ? other.stride[d] : 0);
    }
  }
  p.kept = walk_over(kept, numbers, beside);
  p.cut = walk_over(cut);
  p.results = kept.size(), p.per_result = cut.size();
  if (p.results == 0) return p;
  const int64_t along = p.cut.stride[0][p.cut.ndim - 1], aside = p.kept.stride[0][p.kept.ndim - 1];
  p.across = p.results > 1 && p.per_result > 1 ? size(aside) < size(along) : p.per_result <= 1;
  constexpr int THREADS = FoldPlan::FOLD_THREADS;
  if (p.across)
    p.lanes = THREADS / power_of_two(p.results, p.per_result < 64 ? THREADS : 32);
  else
    p.lanes = power_of_two(ceil_div(p.per_result, 4), THREADS);
  const int64_t blocks = ceil_div(p.results, p.results_per_block());
  int64_t splits = 264 / blocks;  // enough blocks for a large GPU, but at least eight elements for a thread
  if (splits > p.per_result / (8 * p.lanes)) splits = p.per_result / (8 * p.lanes);
  if (splits < 1) splits = 1;
  p.per_split = ceil_div(p.per_result, splits);
  p.splits = p.per_result ? ceil_div(p.per_result, p.per_split) : 1;
  return p;
}

template <class State>
size_t fold_scratch(const FoldPlan& p) {
  return p.splits > 1 ? static_cast<size_t>(p.splits * p.results) * sizeof(State) : 0;
}

// load(where in x, where in other) -> element; store(state, number of the result).
template <class State, class Load, class Store>
__global__ void __launch_bounds__(FoldPlan::FOLD_THREADS)
    fold_kernel(FoldPlan p, Load load, State* parts, Store store) {
  DYNAMIC_SHARED(State, states);
  const int per_block = FoldPlan::FOLD_THREADS / p.lanes, t = threadIdx.x;
  const int mine = p.across ? t % per_block : t / p.lanes, lane = p.across ? t / per_block : t % p.lanes;
  const int64_t begin = int64_t{blockIdx.y} * p.per_split;
  const int64_t end = begin + p.per_split < p.per_result ? begin + p.per_split : p.per_result;
  for (int64_t first = int64_t{blockIdx.x} * per_block; first < p.results; first += int64_t{gridDim.x} * per_block) {
    const int64_t r = first + mine;
    int64_t at[3] = {0, 0, 0};
    if (r < p.results) p.kept.at(r, at);
    State state;
    state.begin();
    if (r < p.results)
      for (int64_t e = begin + lane; e < end; e += p.lanes) {
        int64_t along[1];
        p.cut.at(e, along);
        state.add(load(at[0] + along[0], at[2]), e);
      }
    states[lane * per_block + mine] = state;
    __syncthreads();
    for (int half = p.lanes / 2; half > 0; half /= 2) {
      if (lane < half) states[lane * per_block + mine].join(states[(lane + half) * per_block + mine]);
      __syncthreads();
    }
    if (lane == 0 && r < p.results) {
      if (p.splits > 1)
        parts[blockIdx.y * p.results + r] = states[mine];
      else
        store(states[mine], at[1]);
    }
    __syncthreads();  // before the next results take the same places
  }
}

template <class State, class Store>
__global__ void __launch_bounds__(256) join_parts(FoldPlan p, const State* parts, Store store) {
  for (int64_t r = global_thread(); r < p.results; r += all_threads()) {
    State state = parts[r];
    for (int64_t s = 1; s < p.splits; ++s) state.join(parts[s * p.results + r]);
    int64_t at[3];
    p.kept.at(r, at);
    store(state, at[1]);
  }
}

template <class State, class Load, class Store>
void fold(const FoldPlan& p, Load load, Store store, void* scratch) {
  if (p.results == 0) return;
  State* parts = static_cast<State*>(scratch);
  const dim3 grid(blocks_for(p.results, p.results_per_block(), 1 << 16), static_cast<unsigned>(p.splits));
  launch(fold_kernel<State, Load, Store>, grid, FoldPlan::FOLD_THREADS, FoldPlan::FOLD_THREADS * sizeof(State),
         stream(), p, load, parts, store);
  if (p.splits > 1)
    launch(join_parts<State, Store>, blocks_for(p.results, 256, 1 << 16), 256, 0, stream(), p,
           static_cast<const State*>(parts), store);
}

}  // namespace
}  // namespace nnfast
