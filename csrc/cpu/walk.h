// Walk: two arrays of one shape, visited together in the order of the second one's memory, with as few dimensions as
// possible. Sizes and strides are in elements of each.
#pragma once
#include <cstdlib>
#include <utility>

#include "../view.h"

namespace nnfast {

struct Walk {
  int ndim = 0;  // at least 1 when made by walk()
  int64_t shape[MAX_DIMS] = {}, from[MAX_DIMS] = {}, to[MAX_DIMS] = {};

  int64_t rows() const {  // all but the last dimension
    int64_t n = 1;
    for (int i = 0; i + 1 < ndim; ++i) n *= shape[i];
    return n;
  }
  void swap(int i, int j) {
    std::swap(shape[i], shape[j]);
    std::swap(from[i], from[j]);
    std::swap(to[i], to[j]);
  }
};

// x and y have one shape. Dimensions of size 1 go, neighbours that both arrays step through evenly become one, and the
// last dimension is the one in which y's elements lie closest together.
inline Walk walk(const View& x, const View& y) {
  Walk w;
  for (int i = 0; i < y.ndim; ++i) {
    if (y.shape[i] == 1) continue;
    int at = w.ndim++;
    w.shape[at] = y.shape[i], w.from[at] = x.stride[i], w.to[at] = y.stride[i];
    for (; at > 0 && std::abs(w.to[at - 1]) < std::abs(w.to[at]); --at) w.swap(at - 1, at);
  }
  int last = 0;
  for (int i = 1; i < w.ndim; ++i) {
    if (w.from[last] == w.from[i] * w.shape[i] && w.to[last] == w.to[i] * w.shape[i])
      w.shape[last] *= w.shape[i];
    else
      w.shape[++last] = w.shape[i];
    w.from[last] = w.from[i], w.to[last] = w.to[i];
  }
  w.ndim = last + 1;
  if (w.shape[0] == 0) w.shape[0] = w.from[0] = w.to[0] = 1;  // a single element
  return w;
}

// One array, in the order of its indices.
inline Walk walk_in_order(const View& x) { return walk(x, x.dense(nullptr)); }

// Calls fn(from, to) with the offsets of rows [begin, end), that is of all but the last dimension of w.
template <class F>
void for_rows(const Walk& w, int64_t begin, int64_t end, const F& fn) {
  int64_t at[MAX_DIMS] = {}, from = 0, to = 0;
  for (int64_t d = w.ndim - 2, rest = begin; d >= 0; --d) {
    at[d] = rest % w.shape[d];
    rest /= w.shape[d];
    from += at[d] * w.from[d];
    to += at[d] * w.to[d];
  }
  for (int64_t row = begin; row < end; ++row) {
    fn(from, to);
    for (int d = w.ndim - 2; d >= 0; --d) {
      from += w.from[d];
      to += w.to[d];
      if (++at[d] < w.shape[d]) break;
      from -= w.from[d] * w.shape[d];
      to -= w.to[d] * w.shape[d];
      at[d] = 0;
    }
  }
}

}  // namespace nnfast
