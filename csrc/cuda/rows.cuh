// Rows: a team of threads goes over the elements of a row twice or more, with what they joined from all of it between.
// A row is what lies along some axes of an array, and may have any strides. The order in which a team adds depends on
// the shapes alone.
#pragma once
#include <algorithm>
#include <array>
#include <tuple>

#include "fold.cuh"

namespace nnfast {
namespace {

constexpr int ROW_THREADS = 256;

template <int N>
struct Rows {
  Walk<N> kept, cut;  // where rows begin in the arrays, and their elements lie
  int64_t rows = 1, length = 1;
  bool across = false;  // neighbouring threads have neighbouring rows, not neighbouring elements
  int lanes = 1;        // threads of a team

  int teams() const { return ROW_THREADS / lanes; }
  unsigned blocks() const { return blocks_for(rows, teams(), 1 << 16); }
};

// Rows of x and the arrays beside it, which broadcast to its shape. An absent one takes part with stride 0.
template <class... Views>
Rows<1 + sizeof...(Views)> rows_over(uint32_t axes, const View& x, const Views&... beside) {
  constexpr int N = 1 + sizeof...(Views);
  const View* const list[] = {&x, &beside...};
  const auto size = [](int64_t stride) { return stride < 0 ? -stride : stride; };
  int order[MAX_DIMS];  // largest stride first: neighbours in memory are neighbours in the walk
  for (int d = 0; d < x.ndim; ++d) order[d] = d;
  std::stable_sort(order, order + x.ndim, [&](int a, int b) { return size(x.stride[a]) > size(x.stride[b]); });
  std::array<View, N> kept, cut;
  for (int k = 0; k < N; ++k) {
    kept[k].ndim = cut[k].ndim = 0;
    for (int i = 0; i < x.ndim; ++i) {
      const int d = order[i], at = d - (x.ndim - list[k]->ndim);
      View& v = axes >> d & 1 ? cut[k] : kept[k];
      v.shape[v.ndim] = x.shape[d];
      v.stride[v.ndim++] = !list[k]->given() || at < 0 || list[k]->shape[at] == 1 ? 0 : list[k]->stride[at];
    }
  }
  Rows<N> r;
  r.kept = std::apply([](const auto&... v) { return walk_over(v...); }, kept);
  r.cut = std::apply([](const auto&... v) { return walk_over(v...); }, cut);
  r.rows = r.kept.size, r.length = r.cut.size;
  const int64_t along = r.cut.stride[0][r.cut.ndim - 1], aside = r.kept.stride[0][r.kept.ndim - 1];
  r.across = r.rows > 1 && r.length > 1 && size(aside) < size(along);
  if (r.across)
    r.lanes = ROW_THREADS / power_of_two(r.rows, r.length < 64 ? ROW_THREADS : WARP);
  else
    r.lanes = power_of_two(ceil_div(r.length, 4), r.rows >= 2048 && r.length <= 4096 ? WARP : ROW_THREADS);
  return r;
}

// Can the elements of rows be loaded `width` at a time in those arrays (bit k: array k) that all threads walk through?
template <int N>
bool in_packs(const Rows<N>& r, uint32_t arrays, int width, const void* const (&data)[N]) {
  if (r.across || r.length % width) return false;
  for (int k = 0; k < N; ++k) {
    if (!(arrays >> k & 1)) continue;
    if (!r.cut.dense(k) || !aligned(data[k])) return false;
    for (int d = 0; d < r.kept.ndim; ++d)
      if (r.kept.shape[d] > 1 && r.kept.stride[k][d] % width) return false;
  }
  return true;
}

struct Team {
  int lanes, mine, lane;  // mine: number of the team in the block
  bool across;
};
template <int N>
__device__ inline Team team_of(const Rows<N>& r) {
  const int teams = ROW_THREADS / r.lanes, t = threadIdx.x;
  return {r.lanes, r.across ? t % teams : t / r.lanes, r.across ? t / teams : t % r.lanes, r.across};
}

template <class State>
__device__ inline State state_of_lane(const State& state, int bits) {  // of the lane whose number differs in these bits
  constexpr int WORDS = sizeof(State) / 4;
  unsigned words[WORDS];
  memcpy(words, &state, sizeof state);
#pragma unroll
  for (int i = 0; i < WORDS; ++i) words[i] = __shfl_xor_sync(~0u, words[i], bits);
  State other;
  memcpy(&other, words, sizeof other);
  return other;
}

// What all lanes of a team have joined, for each of them. All threads of the block come here together.
template <class State>
__device__ State join_team(State state, const Team& team) {
  __shared__ __align__(16) unsigned char room[ROW_THREADS * sizeof(State)];
  State* const states = reinterpret_cast<State*>(room);
  if (team.across) {  // the lanes of a team lie in several warps
    const int teams = ROW_THREADS / team.lanes;
    states[team.lane * teams + team.mine] = state;
    __syncthreads();
#pragma unroll 1
    for (int half = team.lanes / 2; half > 0; half /= 2) {
      if (team.lane < half) states[team.lane * teams + team.mine].join(states[(team.lane + half) * teams + team.mine]);
      __syncthreads();
    }
    state = states[team.mine];
    __syncthreads();  // before the next row takes the same place
    return state;
  }
#pragma unroll 1
  for (int half = 1; half < team.lanes && half < WARP; half *= 2) {
    State other = state_of_lane(state, half);
    if (team.lane & half) {  // the lower lane's elements come first
      other.join(state);
      state = other;
    } else {
      state.join(other);
    }
  }
  if (team.lanes > WARP) {
    const int warp = threadIdx.x / WARP, warps = team.lanes / WARP;
    if (threadIdx.x % WARP == 0) states[warp] = state;
    __syncthreads();
    state = states[warp / warps * warps];
#pragma unroll 1
    for (int i = 1; i < warps; ++i) state.join(states[warp / warps * warps + i]);
    __syncthreads();
  }
  return state;
}

// fn(element, where it lies in each array), for the elements [begin, end) of a row whose beginnings are `at`: lane by
// lane, WIDTH neighbours by one thread. WIDTH > 1: only where in_packs() holds.
template <int WIDTH, int N, class F>
__device__ inline void for_elements(const Rows<N>& r, const Team& team, int64_t begin, int64_t end,
                                    const int64_t (&at)[N], const F& fn) {
#pragma unroll(WIDTH > 1 ? 2 : 1)
  for (int64_t e = begin + team.lane * WIDTH; e < end; e += team.lanes * WIDTH) {
    int64_t here[N];
    if constexpr (WIDTH > 1) {
#pragma unroll
      for (int k = 0; k < N; ++k) here[k] = at[k] + e * r.cut.stride[k][0];
    } else {
      r.cut.at(e, here);
#pragma unroll
      for (int k = 0; k < N; ++k) here[k] += at[k];
    }
    fn(e, here);
  }
}
template <int WIDTH, int N, class F>
__device__ inline void for_elements(const Rows<N>& r, const Team& team, const int64_t (&at)[N], const F& fn) {
  for_elements<WIDTH>(r, team, 0, r.length, at, fn);
}

// fn(is it a row, where it begins in each array, its number), for one row of each team after the other; all threads of
// the block together.
template <int N, class F>
__device__ inline void for_rows(const Rows<N>& r, const Team& team, const F& fn) {
  const int64_t teams = ROW_THREADS / r.lanes;
  for (int64_t first = blockIdx.x * teams; first < r.rows; first += gridDim.x * teams) {
    int64_t at[N] = {};
    const bool real = first + team.mine < r.rows;
    if (real) r.kept.at(first + team.mine, at);
    fn(real, at, first + team.mine);
  }
}

// ---- folds of rows of several arrays: blocks may share a row, and a second kernel joins their states in order ----
struct Splits {
  int64_t count = 1, each;
};
template <int N>
Splits splits_of(const Rows<N>& r) {
  if (r.rows == 0) return {1, r.length};
  int64_t n = 264 / ceil_div(r.rows, r.teams());  // enough blocks for a large GPU, eight elements for a thread
  if (n > r.length / (8 * r.lanes)) n = r.length / (8 * r.lanes);
  const int64_t each = ceil_div(r.length, n < 1 ? 1 : n);
  return {each ? ceil_div(r.length, each) : 1, each};
}
template <class State, int N>
size_t row_fold_scratch(const Rows<N>& r) {
  const Splits s = splits_of(r);
  return s.count > 1 ? static_cast<size_t>(s.count * r.rows) * sizeof(State) : 0;
}

// add(state, where in each array) for each element; store(state, where the row begins in each array).
template <class State, int N, class Add, class Store>
__global__ void __launch_bounds__(ROW_THREADS)
    fold_rows_kernel(Rows<N> r, Splits splits, Add add, State* parts, Store store) {
  const Team team = team_of(r);
  const int64_t begin = blockIdx.y * splits.each, end = begin + splits.each;
  for_rows(r, team, [&](bool real, const int64_t (&at)[N], int64_t row) {
    State state;
    state.begin();
    if (real)
      for_elements<1>(r, team, begin, end < r.length ? end : r.length, at,
                      [&](int64_t, const int64_t (&here)[N]) { add(state, here); });
    state = join_team(state, team);
    if (!real || team.lane != 0) return;
    if (splits.count > 1)
      parts[blockIdx.y * r.rows + row] = state;
    else
      store(state, at);
  });
}
template <class State, int N, class Store>
__global__ void __launch_bounds__(256) join_rows_kernel(Rows<N> r, Splits splits, const State* parts, Store store) {
  for (int64_t row = global_thread(); row < r.rows; row += all_threads()) {
    State state = parts[row];
    for (int64_t s = 1; s < splits.count; ++s) state.join(parts[s * r.rows + row]);
    int64_t at[N];
    r.kept.at(row, at);
    store(state, at);
  }
}
template <class State, int N, class Add, class Store>
void fold_rows(const Rows<N>& r, Add add, Store store, void* scratch) {
  if (r.rows == 0) return;
  const Splits splits = splits_of(r);
  State* const parts = static_cast<State*>(scratch);
  launch(fold_rows_kernel<State, N, Add, Store>, dim3(r.blocks(), static_cast<unsigned>(splits.count)), ROW_THREADS, 0,
         stream(), r, splits, add, parts, store);
  if (splits.count > 1)
    launch(join_rows_kernel<State, N, Store>, blocks_for(r.rows, 256), 256, 0, stream(), r, splits,
           static_cast<const State*>(parts), store);
}

}  // namespace
}  // namespace nnfast
