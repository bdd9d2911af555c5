// Rung 1: three passes. The largest, then the exponentials and their sum, then the division.
// Idea:    exp(x - m) / sum is the same for every m; with the largest for m nothing overflows.
// Changed: nothing yet: this is where we begin.
// Removes: inf / inf, which the formula without m gives for numbers above 88.
#include "nnfast_ladder.h"

void softmax(int64_t rows, int64_t cols, const float* x, float* y) {
  for (int64_t i = 0; i < rows; ++i, x += cols, y += cols) {
    float m = -INFINITY, sum = 0;
    for (int64_t j = 0; j < cols; ++j) m = x[j] > m ? x[j] : m;
    for (int64_t j = 0; j < cols; ++j) sum += y[j] = expf(x[j] - m);
    for (int64_t j = 0; j < cols; ++j) y[j] /= sum;
  }
}
