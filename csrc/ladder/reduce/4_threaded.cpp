// Rung 4: threaded. Pieces of fixed size go to the threads, and their sums are added in the order of the pieces.
// Idea:    pieces depend on n alone: whoever adds one up, the rounding and so the bits of the result are the same.
// Changed: a sum for each piece, and one tree over these sums at the end.
// Removes: all cores but one being idle; one core alone cannot use all of the memory's bandwidth.
#include "nnfast_ladder.h"
using namespace ladder;

constexpr int64_t SUMS = 8, STEP = SUMS * LANES, BLOCK = 32 * STEP, PIECE = 64 * BLOCK;

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

void reduce(int64_t n, const float* x, float* sum) {
  const int64_t pieces = round_up(n, PIECE) / PIECE;
  const Buffer sums(pieces);
  parallel_for(n, PIECE,
               [&](int64_t begin, int64_t end) { sums.data[begin / PIECE] = sum_of(end - begin, x + begin); });
  sum[0] = sum_of(pieces, sums.data);
}
