// Rung 4: register tile. A tile of c stays in vector registers while k runs.
// Idea:    MR * NR sums need only MR numbers of a and NR of b for each k: loads no longer limit the multiplications.
// Changed: the inner loops are a tile of rows and vectors, whose sums are local variables.
// Removes: a load and a store of c for each product.
#include "nnfast_ladder.h"
using namespace ladder;

// So many sums that they fill the registers, and that each is asked for again only after its last addition is done.
constexpr int MR = LANES == 16 ? 12 : LANES == 8 ? 6 : 4, NV = 2, NR = NV * LANES;
constexpr int64_t KC = 256;  // KC * NR floats of b stay in the L1 cache for all rows of a

// c[rows,cols] += a[rows,K] * b[K,cols], rows <= MR, cols <= NR. Where rows are missing the last one stands in for
// them.
template <bool WHOLE>
static void tile(int64_t K, const float* a, int64_t a_row, const float* b, int64_t b_row, float* c, int64_t c_row,
                 int64_t rows, int64_t cols) {
  const float* row[MR];
  for (int i = 0; i < MR; ++i) row[i] = a + min(i, rows - 1) * a_row;
  Vec sum[MR][NV] = {};
  for (int64_t k = 0; k < K; ++k, b += b_row) {
    Vec bv[NV];
    for (int v = 0; v < NV; ++v)
      bv[v] = WHOLE ? load(b + v * LANES) : load_some(b + v * LANES, max(cols - v * LANES, 0));
#pragma GCC unroll 16
    for (int i = 0; i < MR; ++i)
#pragma GCC unroll 4
      for (int v = 0; v < NV; ++v) sum[i][v] += row[i][k] * bv[v];
  }
#pragma GCC unroll 16
  for (int i = 0; i < MR; ++i)
#pragma GCC unroll 4
    for (int v = 0; v < NV; ++v) {
      if (i >= rows) continue;
      float* to = c + i * c_row + v * LANES;
      const int64_t n = WHOLE ? LANES : max(cols - v * LANES, 0);
      store_some(to, load_some(to, n) + sum[i][v], n);
    }
}

void gemm(int64_t M, int64_t N, int64_t K, const float* a, const float* b, float* c) {
  memset(c, 0, static_cast<size_t>(M * N) * sizeof(float));
  for (int64_t kc = 0; kc < K; kc += KC)
    for (int64_t j = 0; j < N; j += NR)
      for (int64_t i = 0; i < M; i += MR) {
        const int64_t rows = min(MR, M - i), cols = min(NR, N - j);
        const auto fn = cols == NR ? tile<true> : tile<false>;
        fn(min(KC, K - kc), a + i * K + kc, K, b + kc * N + j, N, c + i * N + j, N, rows, cols);
      }
}
