// Rung 5: packed. Blocks of a and b are copied into the order in which the tile reads them.
// Idea:    a copy costs M*K + K*N steps and serves M*N*K products; afterwards every read is the next one in memory.
// Changed: packing before the tile; blocks of rows, so that packed a stays in the L2 cache.
// Removes: rows that are a power of two apart, which push each other out of the cache, and a page for each row.
#include "nnfast_ladder.h"
using namespace ladder;

constexpr int MR = LANES == 16 ? 12 : LANES == 8 ? 6 : 4, NV = 2, NR = NV * LANES;
constexpr int64_t KC = 512, MC = 10 * MR, NC = 4096;  // floats: KC * MR in L1, KC * MC in L2, KC * NC in L3

// c[rows,cols] += a[rows,K] * b[K,cols] of packed panels a[K][MR] and b[K][NR], rows <= MR, cols <= NR.
static void tile(int64_t K, const float* a, const float* b, float* c, int64_t c_row, int64_t rows, int64_t cols) {
  Vec sum[MR][NV] = {};
  for (int64_t k = 0; k < K; ++k, a += MR, b += NR) {
    Vec bv[NV];
    for (int v = 0; v < NV; ++v) bv[v] = load(b + v * LANES);
#pragma GCC unroll 16
    for (int i = 0; i < MR; ++i)
#pragma GCC unroll 4
      for (int v = 0; v < NV; ++v) sum[i][v] += a[i] * bv[v];
  }
#pragma GCC unroll 16
  for (int i = 0; i < MR; ++i)
#pragma GCC unroll 4
    for (int v = 0; v < NV; ++v) {
      if (i >= rows) continue;
      float* to = c + i * c_row + v * LANES;
      const int64_t n = max(cols - v * LANES, 0);
      n >= LANES ? store(to, load(to) + sum[i][v]) : store_some(to, load_some(to, n) + sum[i][v], n);
    }
}

// to[panel][k][MR] from rows of K numbers, `step` apart. Where rows are missing the last one stands in for them.
static void pack_a(const float* from, int64_t rows, int64_t step, int64_t K, float* to) {
  for (int64_t p = 0; p < rows; p += MR) {
    const float* row[MR];
    for (int i = 0; i < MR; ++i) row[i] = from + min(p + i, rows - 1) * step;
    for (int64_t k = 0; k < K; ++k, to += MR)
      for (int i = 0; i < MR; ++i) to[i] = row[i][k];
  }
}

// to[panel][k][NR] from K rows of `cols` numbers, `step` apart. Zeros where columns are missing.
static void pack_b(const float* from, int64_t cols, int64_t step, int64_t K, float* to) {
  for (int64_t p = 0; p < cols; p += NR)
    for (int64_t k = 0; k < K; ++k, to += NR)
      for (int v = 0; v < NV; ++v)
        if (const float* at = from + k * step + p + v * LANES; p + NR <= cols)
          store(to + v * LANES, load(at));
        else
          store(to + v * LANES, load_some(at, max(cols - p - v * LANES, 0)));
}

void gemm(int64_t M, int64_t N, int64_t K, const float* a, const float* b, float* c) {
  memset(c, 0, static_cast<size_t>(M * N) * sizeof(float));
  const Buffer packed_a(MC * KC), packed_b(KC * round_up(min(N, NC), NR));
  for (int64_t jc = 0; jc < N; jc += NC)
    for (int64_t kc = 0; kc < K; kc += KC) {
      const int64_t cols = min(NC, N - jc), depth = min(KC, K - kc);
      pack_b(b + kc * N + jc, cols, N, depth, packed_b.data);
      for (int64_t ic = 0; ic < M; ic += MC) {
        const int64_t rows = min(MC, M - ic);
        pack_a(a + ic * K + kc, rows, K, depth, packed_a.data);
        for (int64_t j = 0; j < cols; j += NR)
          for (int64_t i = 0; i < rows; i += MR)
            tile(depth, packed_a.data + i * depth, packed_b.data + j * depth, c + (ic + i) * N + jc + j, N,
                 min(MR, rows - i), min(NR, cols - j));
      }
    }
}
