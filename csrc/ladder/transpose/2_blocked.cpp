// Rung 2: blocked. Square after square of 32 x 32 numbers.
// Idea:    the 32 cache lines of y that a square's rows need stay in the cache until they are full.
// Changed: two loops around the two, in steps of 32.
// Removes: cache lines that are fetched for one number, and thrown out before the next one comes.
#include "nnfast_ladder.h"
using namespace ladder;

constexpr int64_t T = 32;

void transpose(int64_t rows, int64_t cols, const float* x, float* y) {
  for (int64_t i0 = 0; i0 < rows; i0 += T)
    for (int64_t j0 = 0; j0 < cols; j0 += T)
      for (int64_t j = j0; j < min(j0 + T, cols); ++j)
        for (int64_t i = i0; i < min(i0 + T, rows); ++i) y[j * rows + i] = x[i * cols + j];
}
