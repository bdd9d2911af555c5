// Rung 3: cache blocks. The same loops over a part of b at a time.
// Idea:    a block of b that fits in the L2 cache serves all rows of a before the next block is fetched.
// Changed: two loops around the three, over blocks of k and of j.
// Removes: all of b travelling from a far cache, or from memory, once for each row of a.
#include "nnfast_ladder.h"
using namespace ladder;

constexpr int64_t KC = 64, NC = 1024;  // KC * NC floats = 256 KB: a part of the L2 cache

void gemm(int64_t M, int64_t N, int64_t K, const float* a, const float* b, float* c) {
  memset(c, 0, static_cast<size_t>(M * N) * sizeof(float));
  for (int64_t jc = 0; jc < N; jc += NC)
    for (int64_t kc = 0; kc < K; kc += KC) {
      const int64_t j_end = min(jc + NC, N), k_end = min(kc + KC, K);
      for (int64_t i = 0; i < M; ++i)
        for (int64_t k = kc; k < k_end; ++k) {
          const float s = a[i * K + k];
          for (int64_t j = jc; j < j_end; ++j) c[i * N + j] += s * b[k * N + j];
        }
    }
}
