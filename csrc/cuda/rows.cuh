// Rows: a team of threads goes over the elements of a row twice or more, with what they joined from all of it between.
// A row is what lies along some axes of an array, and may have any strides. The order in which a team adds depends on
// the shapes alone.
#pragma once
#include <algorithm>
#include <array>
#include <tuple>

#include "math.cuh"
#include "walk.cuh"

namespace nnfast {
namespace {

constexpr int ROW_THREADS = 256;

inline int power_of_two(int64_t n, int most) {  // the smallest that is at least n, at most `most`
  int p = 1;
  while (p < n && p < most) p *= 2;
  return p;
}

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
    const State other = state_of_lane(state, half);
    const bool upper = team.lane & half;  // the lower lane's elements come first
    State low = upper ? other : state;
    low.join(upper ? state : other);
    state = low;
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
#pragma unroll 1
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
#pragma unroll 1
  for (int64_t first = blockIdx.x * teams; first < r.rows; first += gridDim.x * teams) {
    int64_t at[N] = {};
    const bool real = first + team.mine < r.rows;
    if (real) r.kept.at(first + team.mine, at);
    fn(real, at, first + team.mine);
  }
}

}  // namespace
}  // namespace nnfast
