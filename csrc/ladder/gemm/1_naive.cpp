// Rung 1: naive. The three loops of the formula.
// Idea:    each element of c is a row of a times a column of b.
// Changed: compiled C++ instead of interpreted Python.
// Removes: the interpreter, which spends a hundred instructions on each product.
#include "nnfast_ladder.h"

void gemm(int64_t M, int64_t N, int64_t K, const float* a, const float* b, float* c) {
  for (int64_t i = 0; i < M; ++i)
    for (int64_t j = 0; j < N; ++j) {
      float sum = 0;
      for (int64_t k = 0; k < K; ++k) sum += a[i * K + k] * b[k * N + j];  // b: from row to row, a cache line each
      c[i * N + j] = sum;
    }
}
