// map: y = f(operands), element by element. Where all arrays lie in order (or are one element) a kernel reads and
// writes 16 bytes at a time; other layouts go element by element.
#pragma once
#include "walk.cuh"

namespace nnfast {
namespace {

constexpr int THREADS = 256;
constexpr int UNROLL = 2;  // packs of each operand that a thread has under way before it computes

// COUNT operands of one type: arrays in order, or one element for all.
template <class T, int COUNT>
struct Operands {
  const T* data[COUNT];
  bool repeated[COUNT];
};
template <class F, class T>
__device__ inline auto apply(const F& f, const T (&x)[1]) {
  return f(x[0]);
}
template <class F, class T>
__device__ inline auto apply(const F& f, const T (&x)[2]) {
  return f(x[0], x[1]);
}
template <class F, class T>
__device__ inline auto apply(const F& f, const T (&x)[3]) {
  return f(x[0], x[1], x[2]);
}

// y = f(operands).
template <class F, class T, class R, int COUNT>
__global__ void __launch_bounds__(THREADS) map_packs(F f, Operands<T, COUNT> x, int64_t size, R* y) {
  constexpr int N = Pack<T>::N;
  const int64_t packs = size / N, step = all_threads();
  for (int64_t first = global_thread(); first < packs; first += step * UNROLL) {
    Pack<T> in[COUNT][UNROLL];
#pragma unroll
    for (int k = 0; k < COUNT; ++k)
#pragma unroll
      for (int j = 0; j < UNROLL; ++j) {
        if (first + j * step >= packs) break;
        if (!x.repeated[k]) {
          in[k][j] = reinterpret_cast<const Pack<T>*>(x.data[k])[first + j * step];
        } else {
#pragma unroll
          for (int i = 0; i < N; ++i) in[k][j].v[i] = x.data[k][0];
        }
      }
#pragma unroll
    for (int j = 0; j < UNROLL; ++j) {
      if (first + j * step >= packs) break;
      Several<R, N> out;
#pragma unroll
      for (int i = 0; i < N; ++i) {
        T v[COUNT];
#pragma unroll
        for (int k = 0; k < COUNT; ++k) v[k] = in[k][j].v[i];
        out.v[i] = apply(f, v);
      }
      reinterpret_cast<Several<R, N>*>(y)[first + j * step] = out;
    }
  }
  const int64_t i = packs * N + global_thread();  // what fills no pack
  if (i < size) {
    T v[COUNT];
#pragma unroll
    for (int k = 0; k < COUNT; ++k) v[k] = x.data[k][x.repeated[k] ? 0 : i];
    y[i] = apply(f, v);
  }
}

// The same for any strides: one element per thread and round. array 0 of the walk is y.
template <class F, class T, class R, int COUNT>
__global__ void __launch_bounds__(THREADS) map_walk(F f, Operands<T, COUNT> x, Walk<COUNT + 1> walk, R* y) {
  for (int64_t i = global_thread(); i < walk.size; i += all_threads()) {
    int64_t at[COUNT + 1];
    walk.at(i, at);
    T v[COUNT];
#pragma unroll
    for (int k = 0; k < COUNT; ++k) v[k] = x.data[k][at[k + 1]];
    y[at[0]] = apply(f, v);
  }
}

constexpr int64_t MOST_BLOCKS = 132 * 16;  // enough for every GPU; a loop in the kernel does the rest

// walk_with: the function object for other layouts and for float64, of which a GPU for graphics computes one for 64 of
// float32; it chooses its op at run time, since a kernel for each op would make the module several times larger.
template <class T, class R, class F, class G, class... Views>
void map(F f, G walk_with, const View& y, const Views&... operands) {
  constexpr int COUNT = sizeof...(Views);
  const Walk<COUNT + 1> walk = walk_over(y, operands...);
  if (walk.size == 0) return;
  Operands<T, COUNT> x{{operands.template as<T>()...}, {}};
  if constexpr (sizeof(T) == 4) {
    bool in_order = walk.dense(0) && aligned(y.data);
    for (int k = 0; k < COUNT; ++k) {
      x.repeated[k] = walk.repeated(k + 1);
      in_order = in_order && (x.repeated[k] || (walk.dense(k + 1) && aligned(x.data[k])));
    }
    if (in_order)
      return launch(map_packs<F, T, R, COUNT>, blocks_for(walk.size, UNROLL * Pack<T>::N * THREADS, MOST_BLOCKS),
                    THREADS, 0, stream(), f, x, walk.size, y.as<R>());
  }
  launch(map_walk<G, T, R, COUNT>, blocks_for(walk.size, THREADS, MOST_BLOCKS), THREADS, 0, stream(), walk_with, x,
         walk, y.as<R>());
}

}  // namespace
}  // namespace nnfast
