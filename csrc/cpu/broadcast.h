// Broadcasting, planned once: for_blocks(plan, begin, end, fn) hands fn runs of elements that lie one after the other
// in every operand, so that a kernel needs no strides. An operand that already lies so is read and written in place; of
// one that is the same all along the block there is a vector's worth; any other (repeated, reversed, transposed) passes
// through a buffer of a few KiB, which stays in the L1 cache.
#pragma once
#include <algorithm>
#include <cstring>

#include "../view.h"
#include "kernels.h"

namespace nnfast {

template <int N>
struct Broadcast {
  enum Kind : int8_t {
    DIRECT,    // in the order of the loop, without gaps
    CONSTANT,  // one element
    STRIDED,
  };
  int ndim = 1;
  int outputs = 1;   // the first operands are written
  int64_t most = 0;  // elements in a block
  int64_t size = 1, shape[MAX_DIMS] = {1};
  int64_t stride[N][MAX_DIMS] = {};  // in elements; 0 where the operand is repeated
  char* data[N];
  int64_t item[N];  // bytes of an element
  Kind kind[N];
  bool by_rows = false;  // rows are long: no block goes beyond the end of one
  // Read or written where it lies, or the same all along a block.
  bool in_place(int k) const {
    const int64_t step = stride[k][ndim - 1];
    return kind[k] != STRIDED || (by_rows && (step == 1 || (step == 0 && k >= outputs)));
  }
};
// What fn gets: n elements of each operand.
struct Stretch {
  int64_t n;
  char* const* at;
  const ptrdiff_t* step;
  template <class T>
  T* out(int k) const {
    return reinterpret_cast<T*>(at[k]);
  }
  template <class T>
  In<T> in(int k) const {
    return {reinterpret_cast<const T*>(at[k]), step[k]};
  }
};

constexpr int64_t BUFFER_BYTES = 4096;  // of one operand; five of them fit into any L1
constexpr int64_t LONG_ROW = 64;        // elements that are worth a call of the kernel
constexpr int64_t VECTOR = 16;          // elements of the widest vector of any instruction set

// `like` has the shape of the loop; operands[i] broadcast to it, and the first `outputs` have its shape. A block has at
// most `most` elements.
template <int N>
Broadcast<N> plan_broadcast(const View& like, const View* const (&operands)[N], int outputs, int64_t most) {
  Broadcast<N> b;
  b.outputs = outputs;
  b.size = like.size();
  int last = -1;  // dimensions of size 1 go; neighbours that all operands step through evenly become one
  for (int d = 0; d < like.ndim; ++d) {
    if (like.shape[d] == 1) continue;
    int64_t step[N];
    bool joins = last >= 0;
    for (int k = 0; k < N; ++k) {
      const int at = d - (like.ndim - operands[k]->ndim);
      step[k] = at < 0 || operands[k]->shape[at] == 1 ? 0 : operands[k]->stride[at];
      joins = joins && b.stride[k][last] == step[k] * like.shape[d];
    }
    if (joins)
      b.shape[last] *= like.shape[d];
    else
      b.shape[++last] = like.shape[d];
    for (int k = 0; k < N; ++k) b.stride[k][last] = step[k];
  }
  b.ndim = std::max(last, 0) + 1;
  int64_t item = 1;
  for (int k = 0; k < N; ++k) {
    b.data[k] = operands[k]->template as<char>();
    b.item[k] = size_of(operands[k]->dtype);
    item = std::max(item, b.item[k]);
    bool direct = true, constant = true;
    int64_t step = 1;
    for (int d = b.ndim - 1; d >= 0; --d) {
      direct = direct && (b.stride[k][d] == step || b.shape[d] == 1);
      constant = constant && b.stride[k][d] == 0;
      step *= b.shape[d];
    }
    b.kind[k] = direct ? Broadcast<N>::DIRECT : constant ? Broadcast<N>::CONSTANT : Broadcast<N>::STRIDED;
    b.by_rows = b.by_rows || (b.kind[k] == Broadcast<N>::STRIDED && b.shape[b.ndim - 1] >= LONG_ROW);
  }
  b.most = most;
  for (int k = 0; k < N; ++k)
    if (!b.in_place(k)) b.most = std::min(most, BUFFER_BYTES / item);
  return b;
}

// to[i * to_step] = from[i * from_step], in elements of `item` bytes.
inline void copy_steps(char* to, int64_t to_step, const char* from, int64_t from_step, int64_t n, int64_t item) {
  const auto copy = [&](auto word) {
    if (to_step == 1 && from_step == 0) {  // apart from the rest, so that the compiler makes vectors of it
      std::memcpy(&word, from, sizeof word);
      for (int64_t i = 0; i < n; ++i) std::memcpy(to + i * int64_t{sizeof word}, &word, sizeof word);
      return;
    }
    for (int64_t i = 0; i < n; ++i)
      std::memcpy(to + i * to_step * int64_t{sizeof word}, from + i * from_step * int64_t{sizeof word}, sizeof word);
  };
  if (to_step == 1 && from_step == 1)
    std::memcpy(to, from, static_cast<size_t>(n * item));
  else if (item == 8)
    copy(uint64_t{});
  else if (item == 4)
    copy(uint32_t{});
  else
    copy(uint8_t{});
}

// Where an element of the loop lies in every operand.
template <int N>
struct Place {
  int64_t index[MAX_DIMS] = {}, offset[N] = {};

  Place(const Broadcast<N>& b, int64_t position) {
    for (int d = b.ndim - 1; d >= 0; --d) {
      index[d] = position % b.shape[d];
      position /= b.shape[d];
      for (int k = 0; k < N; ++k) offset[k] += index[d] * b.stride[k][d];
    }
  }
  // n elements on, at most to the end of the row.
  void advance(const Broadcast<N>& b, int64_t n) {
    int d = b.ndim - 1;
    index[d] += n;
    for (int k = 0; k < N; ++k) offset[k] += n * b.stride[k][d];
    for (; d > 0 && index[d] == b.shape[d]; --d) {
      index[d] = 0;
      ++index[d - 1];
      for (int k = 0; k < N; ++k) offset[k] += b.stride[k][d - 1] - b.shape[d] * b.stride[k][d];
    }
  }
};

// fn(stretch), one after the other, from element `begin` to `end`.
template <int N, class F>
void for_blocks(const Broadcast<N>& b, int64_t begin, int64_t end, const F& fn) {
  using B = Broadcast<N>;
  alignas(64) char buffer[N][BUFFER_BYTES];
  char* p[N];
  ptrdiff_t step[N];
  const int last = b.ndim - 1;
  for (int k = 0; k < N; ++k) {
    p[k] = buffer[k];
    step[k] = b.kind[k] == B::DIRECT || !b.in_place(k) || b.stride[k][last] != 0;
    if (b.kind[k] == B::CONSTANT) copy_steps(buffer[k], 1, b.data[k], 0, VECTOR, b.item[k]);
  }
  Place<N> place(b, begin);
  while (begin < end) {
    int64_t n = std::min(b.most, end - begin);
    if (b.by_rows) n = std::min(n, b.shape[last] - place.index[last]);
    const Place<N> start = place;
    for (int64_t done = 0; done < n;) {  // the parts of the block that lie in one row
      const int64_t part = std::min(n - done, b.shape[last] - place.index[last]);
      for (int k = 0; k < N; ++k) {
        if (b.kind[k] != B::STRIDED) continue;
        char* from = b.data[k] + place.offset[k] * b.item[k];
        if (b.by_rows && b.stride[k][last] == 1)
          p[k] = from;
        else if (step[k] == 0)
          copy_steps(buffer[k], 1, from, 0, VECTOR, b.item[k]);
        else if (k >= b.outputs)
          copy_steps(buffer[k] + done * b.item[k], 1, from, b.stride[k][last], part, b.item[k]);
      }
      place.advance(b, part);
      done += part;
    }
    for (int k = 0; k < N; ++k)
      if (b.kind[k] == B::DIRECT) p[k] = b.data[k] + begin * b.item[k];
    fn(Stretch{n, p, step});
    for (int k = 0; k < b.outputs; ++k) {
      if (p[k] != buffer[k]) continue;
      Place<N> back = start;
      for (int64_t done = 0; done < n;) {
        const int64_t part = std::min(n - done, b.shape[last] - back.index[last]);
        copy_steps(b.data[k] + back.offset[k] * b.item[k], b.stride[k][last], buffer[k] + done * b.item[k], 1, part,
                   b.item[k]);
        back.advance(b, part);
        done += part;
      }
    }
    begin += n;
  }
}

}  // namespace nnfast
