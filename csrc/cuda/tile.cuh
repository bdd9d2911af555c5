// What matrix products on CUDA cores are made of: tiles on their way to shared memory, the part of a tile that a thread
// adds up in registers, and what becomes of a sum.
#pragma once
#include "math.cuh"

namespace nnfast {
namespace {

// What becomes of a sum.
template <class T>
struct Finish {
  T alpha, beta, slope;
  Activation activation;
  const T* bias;  // or nullptr
  int64_t bias_step;
  const T* at;  // gradient: the sum is multiplied by activation'(from its result at[M,N]); or nullptr
  int64_t at_row, at_col;

  __device__ T operator()(T sum, const T* y, int64_t i, int64_t j) const {
    if (at) return sum * slope_from_result(activation, at[i * at_row + j * at_col], slope);
    T x = alpha * sum;
    if (beta != T(0)) x += beta * *y;
    if (bias) x += bias[j * bias_step];
    return activate(activation, x, slope);
  }
};

// A tile of ROWS x DEPTH elements on its way: from memory to registers, from registers to shared memory [DEPTH][ROWS].
// `across`: the distance of its rows, `along`: from k to k. Outside the matrix are zeros.
template <class T, int ROWS, int DEPTH, int THREADS>
struct Tile {
  static constexpr int EACH = ROWS * DEPTH / THREADS, LINE = ROWS + 4;  // 4: rows begin at different banks
  T kept[EACH];

  // Where its element i belongs. k_first: neighbouring threads take neighbours in depth, else neighbouring rows.
  static __device__ int row(int i, bool k_first) {
    const int n = i * THREADS + threadIdx.x;
    return k_first ? n / DEPTH : n % ROWS;
  }
  static __device__ int depth(int i, bool k_first) {
    const int n = i * THREADS + threadIdx.x;
    return k_first ? n % DEPTH : n / ROWS;
  }
  __device__ void load(const T* from, int64_t across, int64_t along, int64_t rows, int64_t depths) {
    const bool k_first = along == 1;
#pragma unroll
    for (int i = 0; i < EACH; ++i) {
      const int r = row(i, k_first), k = depth(i, k_first);
      kept[i] = r < rows && k < depths ? from[r * across + k * along] : T(0);
    }
  }
  __device__ void store(T (*to)[LINE], bool k_first) const {
#pragma unroll
    for (int i = 0; i < EACH; ++i) to[depth(i, k_first)][row(i, k_first)] = kept[i];
  }
};

// TM x TN sums of a thread, of a block's BM x BN. Its rows lie four together, so that it reads them from shared memory
// with one load, and its groups of four BM / (TM / 4) apart; so its columns.
template <class T, int BM, int BN, int BK, int TM, int TN>
struct Sums {
  static constexpr int THREADS = BM / TM * BN / TN, ACROSS = BN / TN;
  static constexpr int GM = TM < 4 ? TM : 4, GN = TN < 4 ? TN : 4;  // sizes of groups
  T sum[TM][TN];

  static __device__ int row(int i) { return i / GM * (BM / (TM / GM)) + threadIdx.x / ACROSS * GM + i % GM; }
  static __device__ int column(int j) { return j / GN * (BN / (TN / GN)) + threadIdx.x % ACROSS * GN + j % GN; }
  __device__ void clear() {
#pragma unroll
    for (int i = 0; i < TM; ++i)
#pragma unroll
      for (int j = 0; j < TN; ++j) sum[i][j] = T(0);
  }
  __device__ void add(const T (*a)[BM + 4], const T (*b)[BN + 4]) {
#pragma unroll
    for (int k = 0; k < BK; ++k) {
      T x[TM], y[TN];
#pragma unroll
      for (int i = 0; i < TM; ++i) x[i] = a[k][row(i)];
#pragma unroll
      for (int j = 0; j < TN; ++j) y[j] = b[k][column(j)];
#pragma unroll
      for (int i = 0; i < TM; ++i)
#pragma unroll
        for (int j = 0; j < TN; ++j) sum[i][j] += x[i] * y[j];
    }
  }
};

}  // namespace
}  // namespace nnfast
