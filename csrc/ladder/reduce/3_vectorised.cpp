// Rung 3: vectorised. Leaves of the tree are blocks, added up in eight vectors that do not wait for each other.
// Idea:    64 or 128 running sums side by side: one load and one addition for 8 or 16 numbers.
// Changed: leaves are blocks of vectors instead of 16 numbers; vectors and lanes are a small tree at the end.
// Removes: one instruction for each number, and the calls.
#include "nnfast_ladder.h"
using namespace ladder;

constexpr int64_t SUMS = 8, STEP = SUMS * LANES, BLOCK = 32 * STEP;

static float block(int64_t n, const float* x) {
  Vec s[SUMS] = {};
  int64_t i = 0;
  for (; i + STEP <= n; i += STEP)
    for (int k = 0; k < SUMS; ++k) s[k] += load(x + i + k * LANES);
  for (int k = 0; i < n; i += LANES, ++k) s[k] += load_some(x + i, n - i);
  for (int half = SUMS / 2; half > 0; half /= 2)
    for (int k = 0; k < half; ++k) s[k] += s[k + half];
  float lane[LANES];
  store(lane, s[0]);
  for (int64_t half = LANES / 2; half > 0; half /= 2)
    for (int64_t k = 0; k < half; ++k) lane[k] += lane[k + half];
  return lane[0];
}

static float sum_of(int64_t n, const float* x) {
  if (n <= BLOCK) return block(n, x);
  const int64_t half = round_up(n / 2, BLOCK);
  return sum_of(half, x) + sum_of(n - half, x + half);
}

void reduce(int64_t n, const float* x, float* sum) { sum[0] = sum_of(n, x); }
