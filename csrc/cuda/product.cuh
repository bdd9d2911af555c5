// A batch of matrix products as the kernels of gemm.cu are given it: y[M,N] = finish(a[M,K] * b[K,N]).
#pragma once
#include "tile.cuh"
#include "walk.cuh"

namespace nnfast {
namespace {

template <class T>
struct Product {
  const T *a, *b;
  T* y;
  int64_t M, N, K, a_row, a_col, b_row, b_col, y_row, y_col;
  Walk<3> batch;  // of y, a, b
  int64_t splits, k_per_split;
  T* parts;  // [splits, batch, M, N], if splits > 1
  Finish<T> finish;
  // Of a product that two kernels are launched for, one leaves at once: which, only the numbers say (pieces.cuh).
  const unsigned* unfit;  // nullptr: there is no other
  bool if_unfit;

  __device__ bool is_other_kernels() const { return unfit && (*unfit != 0) != if_unfit; }

  // A sum over the k of one split, to where it belongs; `line`: where its row begins in y.
  __device__ void put_in(int64_t line, T sum, int64_t split, int64_t z, int64_t row, int64_t column) const {
    if (row >= M || column >= N) return;
    if (splits > 1) {
      parts[((split * batch.size + z) * M + row) * N + column] = sum;
    } else {
      T* to = y + line + column * y_col;
      *to = finish(sum, to, row, column);
    }
  }
  __device__ void put(T sum, int64_t split, int64_t z, int64_t y_at, int64_t row, int64_t column) const {
    put_in(y_at + row * y_row, sum, split, z, row, column);
  }
};

// y = finish(the sum of the parts, in their order).
template <class T>
__global__ void __launch_bounds__(256) add_parts(Product<T> p) {
  if (p.is_other_kernels()) return;
  const int64_t each = p.M * p.N, all = each * p.batch.size;
  for (int64_t n = global_thread(); n < all; n += all_threads()) {
    const int64_t z = n / each, row = n % each / p.N, column = n % p.N;
    T sum = 0;
    for (int64_t s = 0; s < p.splits; ++s) sum += p.parts[s * all + n];
    int64_t at[3];
    p.batch.at(z, at);
    T* y = p.y + at[0] + row * p.y_row + column * p.y_col;
    *y = p.finish(sum, y, row, column);
  }
}

// A view of the batch dimensions alone, of which there may be none.
View batch_of(const View& v) {
  View b = v;
  b.ndim = static_cast<int8_t>(v.ndim - 2);
  return b;
}

}  // namespace
}  // namespace nnfast
