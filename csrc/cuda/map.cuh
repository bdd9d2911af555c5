// map: y = f(operands), element by element. Where rows of y lie in order, and those of each operand do or are one
// element (as in a sum with a bias), a kernel reads and writes 16 bytes at a time; other layouts go element by element.
#pragma once
#include "walk.cuh"

namespace nnfast {
namespace {

constexpr int THREADS = 256;

// y.v[i] = f(elements i of all operands).
template <class F, class T, class R, int N>
__device__ inline void each(const F& f, const Several<T, N> (&x)[1], Several<R, N>& y) {
#pragma unroll
  for (int i = 0; i < N; ++i) y.v[i] = f(x[0].v[i]);
}
template <class F, class T, class R, int N>
__device__ inline void each(const F& f, const Several<T, N> (&x)[2], Several<R, N>& y) {
#pragma unroll
  for (int i = 0; i < N; ++i) y.v[i] = f(x[0].v[i], x[1].v[i]);
}
template <class F, class T, class R, int N>
__device__ inline void each(const F& f, const Several<T, N> (&x)[3], Several<R, N>& y) {
#pragma unroll
  for (int i = 0; i < N; ++i) y.v[i] = f(x[0].v[i], x[1].v[i], x[2].v[i]);
}

template <class T, int COUNT>
struct Operands {
  const T* data[COUNT];
};
// N neighbours of each operand, the first at `at`; at step 0 they are one element.
template <class T, int N, int COUNT>
__device__ inline void fetch(const Operands<T, COUNT>& x, const Walk<COUNT + 1>& walk, const int64_t (&at)[COUNT + 1],
                             Several<T, N> (&in)[COUNT]) {
#pragma unroll
  for (int k = 0; k < COUNT; ++k) {
    if (walk.stride[k + 1][walk.ndim - 1] == 1) {
      in[k] = load<N>(x.data[k] + at[k + 1]);
    } else {
#pragma unroll
      for (int i = 0; i < N; ++i) in[k].v[i] = x.data[k][at[k + 1]];
    }
  }
}

// y = f(operands): f(several elements of each, several results). Array 0 of the walk is y. In packs: two of each
// operand are under way before a thread computes the first. Else a thread takes elements far apart, its neighbours
// those beside them.
template <class F, class T, class R, int COUNT>
__global__ void __launch_bounds__(THREADS)
    map_kernel(F f, Operands<T, COUNT> x, Walk<COUNT + 1> walk, bool packs, R* y) {
  constexpr int N = WIDE<T>;
  const int64_t items = (walk.size + N - 1) / N, step = all_threads();
#pragma unroll 1
  for (int64_t item = global_thread(); item < items; item += step) {
    Several<T, N> in[COUNT] = {}, next[COUNT] = {};
    Several<R, N> out = {};
    int64_t at[COUNT + 1] = {}, next_at[COUNT + 1] = {}, to[N] = {};
    const bool wide = packs && (item + 1) * N <= walk.size, two = wide && (item + step + 1) * N <= walk.size;
    const int64_t first = packs ? item * N : item, apart = packs ? 1 : items;
    if (wide) {
      walk.at(first, at);
      fetch(x, walk, at, in);
      if (two) {
        walk.at(first + step * N, next_at);
        fetch(x, walk, next_at, next);
      }
    } else {
#pragma unroll 1
      for (int j = 0; j < N && first + j * apart < walk.size; ++j) {
        walk.at(first + j * apart, at);
#pragma unroll
        for (int i = 0; i < N; ++i) {  // registers have no index
          if (i != j) continue;
          to[i] = at[0];
#pragma unroll
          for (int k = 0; k < COUNT; ++k) in[k].v[i] = x.data[k][at[k + 1]];
        }
      }
    }
    for (bool again = two;; again = false) {
      f(in, out);
      if (wide) {
        store<N>(y + at[0], out);
      } else {
#pragma unroll
        for (int j = 0; j < N; ++j)
          if (first + j * apart < walk.size) y[to[j]] = out.v[j];
      }
      if (!again) break;
      at[0] = next_at[0];
#pragma unroll
      for (int k = 0; k < COUNT; ++k) in[k] = next[k];
    }
    if (two) item += step;
  }
}

constexpr int64_t MOST_BLOCKS = 132 * 16;  // enough for every GPU; a loop in the kernel does the rest

// f is one function object for all ops of a kind: it chooses at run time, once for several elements, since a kernel for
// each op would make the module several times larger.
template <class T, class R, class F, class... Views>
void map(F f, const View& y, const Views&... operands) {
  constexpr int COUNT = sizeof...(Views), N = WIDE<T>;
  const Walk<COUNT + 1> walk = walk_over(y, operands...);
  if (walk.size == 0) return;
  const void* const data[] = {y.data, operands.data...};
  const int last = walk.ndim - 1;
  bool packs = N > 1 && walk.stride[0][last] == 1 && (last == 0 || walk.shape[last] % N == 0);
  for (int k = 0; k <= COUNT; ++k) {
    const int64_t along = walk.stride[k][last];
    packs = packs && (along == 0 || (along == 1 && aligned(data[k])));
    for (int d = 0; d < last; ++d) packs = packs && (along == 0 || walk.stride[k][d] % N == 0);
  }
  launch(map_kernel<F, T, R, COUNT>, blocks_for(walk.size, (packs ? 2 : 1) * N * THREADS, MOST_BLOCKS), THREADS, 0,
         stream(), f, Operands<T, COUNT>{{operands.template as<T>()...}}, walk, packs, y.as<R>());
}

}  // namespace
}  // namespace nnfast
