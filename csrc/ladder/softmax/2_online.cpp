// Rung 2: online. The largest and the sum in one pass: when a larger number comes, the sum so far is scaled down to it.
// Idea:    the sum of exp(x - old) times exp(old - new) is the sum of exp(x - new). Milakov, arxiv.org/abs/1805.02867.
// Changed: two passes instead of three; each exp is computed twice instead of kept.
// Removes: a pass over memory. It pays where exp is cheap and rows do not stay in a cache: on a GPU, in attention.
#include "nnfast_ladder.h"

void softmax(int64_t rows, int64_t cols, const float* x, float* y) {
  for (int64_t i = 0; i < rows; ++i, x += cols, y += cols) {
    float m = -INFINITY, sum = 0;
    for (int64_t j = 0; j < cols; ++j)
      if (x[j] > m) {
        sum = sum * expf(m - x[j]) + 1;
        m = x[j];
      } else {
        sum += expf(x[j] - m);
      }
    const float scale = 1 / sum;
    for (int64_t j = 0; j < cols; ++j) y[j] = expf(x[j] - m) * scale;
  }
}
