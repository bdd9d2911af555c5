// Folds: many elements become one, in an order that the shape alone decides, so results do not change from run to run.
// A team of threads takes the elements of a row in turn and joins what its lanes found. Where there are few rows and
// many elements, blocks share a row, and a second launch joins their states.
#pragma once
#include "rows.cuh"

namespace nnfast {
namespace {

// ---- states: begin(), add(element, its position), join(a later state), result(how many elements) ----
template <class T>
struct SumState {
  T sum;
  __host__ __device__ void begin() { sum = 0; }
  __device__ void add(T x, int64_t) { sum += x; }
  __device__ void join(const SumState& o) { sum += o.sum; }
};
template <class T>
struct ProductState {
  T product;
  __host__ __device__ void begin() { product = 1; }
  __device__ void add(T x, int64_t) { product *= x; }
  __device__ void join(const ProductState& o) { product *= o.product; }
};
template <class T>
struct ZerosState {  // the product of what is not 0, and how many are
  T product, zeros;
  __host__ __device__ void begin() { product = 1, zeros = 0; }
  __device__ void add(T x, int64_t) { x == T(0) ? zeros += T(1) : product *= x; }
  __device__ void join(const ZerosState& o) { product *= o.product, zeros += o.zeros; }
};
// The largest element and the first place where it stands; the first NaN wins.
template <class T>
struct ExtremeState {
  T value;
  int64_t at;  // -1: nothing yet
  __host__ __device__ void begin() { value = T(0), at = -1; }
  __device__ bool beats(T x, int64_t x_at) const {  // does x at x_at win over what is here?
    if (at < 0) return true;
    if (x != x || value != value) return x != x && (value == value || x_at < at);
    return x > value || (x == value && x_at < at);
  }
  __device__ void add(T x, int64_t x_at) {  // a later element: of equals the first stays
    if (at < 0 || x > value || (x != x && value == value)) value = x, at = x_at;
  }
  __device__ void join(const ExtremeState& o) {
    if (o.at >= 0 && beats(o.value, o.at)) value = o.value, at = o.at;
  }
};
// Mean and the sum of squared distances from it (T. F. Chan, G. H. Golub, R. J. LeVeque, 1979: "Updating formulae").
template <class T>
struct MomentsState {
  T n, mean, squares;
  __host__ __device__ void begin() { n = mean = squares = 0; }
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
  __host__ __device__ void begin() { top = -T(INFINITY), sum = 0; }
  __device__ void add(T x, int64_t) { join({x, T(1)}); }
  __device__ void join(const LogSumExpState& o) {
    if (o.top == -T(INFINITY)) return;
    const T apart = o.top - top, share = exp(-abs(apart));  // of the smaller one
    sum = apart > T(0) ? sum * share + o.sum : sum + o.sum * share;
    top = max(top, o.top);  // an infinite one makes the sum NaN, which nobody reads then
  }
  template <int WIDTH>
  __device__ void add_few(const Several<T, WIDTH>& x) {
    T most = x.v[0];
#pragma unroll
    for (int i = 1; i < WIDTH; ++i) most = max(most, x.v[i]);
    T of_few = 0;
#pragma unroll
    for (int i = 0; i < WIDTH; ++i) of_few += WIDTH == 1 ? T(1) : exp(x.v[i] - most);
    join({most, of_few});
  }
};

// ---- folds of rows of one or more arrays ----
struct Splits {
  int64_t count = 1, each;
  bool joins = false;  // the launch that joins the states of blocks
  bool packs = false;  // 16 bytes at a time
};
template <int N>
Splits splits_of(const Rows<N>& r) {
  if (r.rows == 0) return {1, r.length};
  int64_t n = 132 * 8 / ceil_div(r.rows, r.teams());  // enough blocks for a large GPU, eight elements for a thread
  if (n > r.length / (8 * r.lanes)) n = r.length / (8 * r.lanes);
  const int64_t each = ceil_div(ceil_div(r.length, n < 1 ? 1 : n), 4) * 4;  // whole packs
  return {each ? ceil_div(r.length, each) : 1, each};
}
template <class State, int N>
size_t fold_scratch(const Rows<N>& r) {
  const Splits s = splits_of(r);
  return s.count > 1 ? static_cast<size_t>(s.count * r.rows) * sizeof(State) : 0;
}

// add(state, where in each array, number of the element) for each element; store(state, where the row begins in each
// array). Add::FAST: a loop of its own for rows whose elements are evenly apart, as nearly all are: four loads under
// way. Add::PACKS: and one for those in order, 16 bytes at a time, by add.pack.
template <class State, int N, class Add, class Store>
__global__ void __launch_bounds__(ROW_THREADS)
    fold_kernel(Rows<N> r, Splits splits, State nothing, Add add, State* parts, Store store) {
  const Team team = team_of(r);
  const int64_t begin = blockIdx.y * splits.each, last = begin + splits.each, end = last < r.length ? last : r.length;
  for_rows(r, team, [&](bool real, const int64_t (&at)[N], int64_t row) {
    State state = nothing;
    const auto evenly = [&](int64_t e, int64_t (&here)[N]) {
#pragma unroll
      for (int k = 0; k < N; ++k) here[k] = at[k] + e * r.cut.stride[k][0];
    };
    const auto add_all = [&] {
      if constexpr (Add::PACKS) {
        if (splits.packs) {
#pragma unroll 2
          for (int64_t e = begin + team.lane * 4; e < end; e += team.lanes * 4) {
            int64_t here[N];
            evenly(e, here);
            add.pack(state, here, e);
          }
          return;
        }
      }
      if constexpr (Add::FAST) {
        if (r.cut.ndim == 1) {
#pragma unroll 4
          for (int64_t e = begin + team.lane; e < end; e += team.lanes) {
            int64_t here[N];
            evenly(e, here);
            add(state, here, e);
          }
          return;
        }
      }
      for_elements<1>(r, team, begin, end, at, [&](int64_t e, const int64_t (&here)[N]) { add(state, here, e); });
    };
    if (real && splits.joins) {
#pragma unroll 1
      for (int64_t s = team.lane; s < splits.count; s += team.lanes) state.join(parts[s * r.rows + row]);
    } else if (real) {
      add_all();
    }
    state = join_team(state, team);
    if (!real || team.lane != 0) return;
    if (splits.count > 1 && !splits.joins)
      parts[blockIdx.y * r.rows + row] = state;
    else
      store(state, at);
  });
}
template <class State, int N, class Add, class Store>
void fold(Rows<N> r, State state, Add add, Store store, void* scratch, bool packs = false) {
  if (r.rows == 0) return;
  state.begin();
  Splits splits = splits_of(r);
  splits.packs = packs;
  const auto start = [&](unsigned blocks) {
    launch(fold_kernel<State, N, Add, Store>, dim3(r.blocks(), blocks), ROW_THREADS, 0, stream(), r, splits, state, add,
           static_cast<State*>(scratch), store);
  };
  start(static_cast<unsigned>(splits.count));
  if (splits.count == 1) return;
  splits.joins = true;
  r.across = r.rows > 1;  // states of neighbouring rows are neighbours
  r.lanes = r.across ? ROW_THREADS / power_of_two(r.rows, WARP) : power_of_two(splits.count, ROW_THREADS);
  start(1);
}

}  // namespace
}  // namespace nnfast
