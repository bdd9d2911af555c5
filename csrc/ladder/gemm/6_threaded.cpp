// Rung 6: threaded. Each thread takes blocks of rows.
// Idea:    rows of c do not depend on each other, so threads need no agreement but on who takes which.
// Changed: the loop over blocks of rows is shared; packed b serves all threads, packed a is each thread's own.
// Removes: all cores but one being idle.
#include "nnfast_ladder.h"
using namespace ladder;

constexpr int MR = LANES == 16 ? 12 : LANES == 8 ? 6 : 4, NV = 2, NR = NV * LANES;
constexpr int64_t KC = 256, MC = 5 * MR, NC = 4096;  // smaller blocks of rows: more of them to share

// c[rows,cols] += a[rows,K] * b[K,cols] of packed panels a[K][MR] and b[K][NR], which have zeros where rows and columns
// are missing.
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

// to[panel][k][unit] from `across` lines of K numbers: lines `step` apart, numbers of a line `along` apart.
static void pack(const float* from, int64_t across, int64_t step, int64_t K, int64_t along, int64_t unit, float* to) {
  for (int64_t p = 0; p < across; p += unit)
    for (int64_t k = 0; k < K; ++k, to += unit)
      for (int64_t i = 0; i < unit; ++i) to[i] = p + i < across ? from[(p + i) * step + k * along] : 0;
}

void gemm(int64_t M, int64_t N, int64_t K, const float* a, const float* b, float* c) {
  memset(c, 0, static_cast<size_t>(M * N) * sizeof(float));
  const Buffer packed_b(KC * round_up(min(N, NC), NR));
  for (int64_t jc = 0; jc < N; jc += NC)
    for (int64_t kc = 0; kc < K; kc += KC) {
      const int64_t cols = min(NC, N - jc), depth = min(KC, K - kc);
      parallel_for(round_up(cols, NR) / NR, 4, [&](int64_t begin, int64_t end) {
        const int64_t j = begin * NR;
        pack(b + kc * N + jc + j, min(end * NR, cols) - j, 1, depth, N, NR, packed_b.data + j * depth);
      });
      parallel_for(M, MC, [&](int64_t ic, int64_t i_end) {
        const Buffer packed_a(MC * KC);
        const int64_t rows = i_end - ic;
        pack(a + ic * K + kc, rows, K, depth, 1, MR, packed_a.data);
        for (int64_t j = 0; j < cols; j += NR)
          for (int64_t i = 0; i < rows; i += MR)
            tile(depth, packed_a.data + i * depth, packed_b.data + j * depth, c + (ic + i) * N + jc + j, N,
                 min(MR, rows - i), min(NR, cols - j));
      });
    }
}
