// Walk: how a kernel goes over N arrays of one shape, or broadcast to it. Dimensions of size 1 go, and neighbours that
// all arrays step through evenly become one, so most ops walk along one dimension.
#pragma once
#include "common.cuh"

namespace nnfast {
namespace {

template <int N>
struct Walk {
  int64_t size = 1;
  int ndim = 0;
  Divider shape[MAX_DIMS];
  int64_t stride[N][MAX_DIMS];

  // Where element i of the walk lies in each array. The loop is short, and not unrolled: that would make modules half
  // as large again.
  __device__ void at(int64_t i, int64_t (&offset)[N]) const {
#pragma unroll
    for (int k = 0; k < N; ++k) offset[k] = 0;
#pragma unroll 1
    for (int d = ndim - 1; d > 0; --d) {
      const int64_t whole = shape[d].of(i), index = i - whole * shape[d].by;
#pragma unroll
      for (int k = 0; k < N; ++k) offset[k] += index * stride[k][d];
      i = whole;
    }
#pragma unroll
    for (int k = 0; k < N; ++k) offset[k] += i * stride[k][0];
  }
  bool dense(int k) const { return ndim == 1 && stride[k][0] == 1; }     // its elements in order, without gaps
  bool repeated(int k) const { return ndim == 1 && stride[k][0] == 0; }  // one element
};

// The first array has the shape of the walk; the others broadcast to it. An absent one takes part with stride 0.
template <class... Views>
Walk<sizeof...(Views)> walk_over(const Views&... views) {
  constexpr int N = sizeof...(Views);
  const View* const list[] = {&views...};
  const View& like = *list[0];
  Walk<N> w;
  w.size = like.size();
  for (int d = 0; d < like.ndim; ++d) {
    if (like.shape[d] == 1) continue;
    int64_t step[N];
    bool joins = w.ndim > 0;
    for (int k = 0; k < N; ++k) {
      const int at = d - (like.ndim - list[k]->ndim);
      step[k] = !list[k]->given() || at < 0 || list[k]->shape[at] == 1 ? 0 : list[k]->stride[at];
      joins = joins && w.stride[k][w.ndim - 1] == step[k] * like.shape[d];
    }
    if (joins)
      w.shape[w.ndim - 1] = w.shape[w.ndim - 1] * like.shape[d];
    else
      w.shape[w.ndim++] = like.shape[d];
    for (int k = 0; k < N; ++k) w.stride[k][w.ndim - 1] = step[k];
  }
  if (w.ndim == 0) {  // one element
    w.ndim = 1;
    w.shape[0] = 1;
    for (int k = 0; k < N; ++k) w.stride[k][0] = 1;
  }
  return w;
}

}  // namespace
}  // namespace nnfast
