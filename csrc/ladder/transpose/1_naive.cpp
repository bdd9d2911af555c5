// Rung 1: naive. Row by row of x; each number goes to its place in a column of y.
// Idea:    the definition.
// Changed: nothing yet: this is where we begin.
// Removes: every doubt about what the rungs above compute.
#include "nnfast_ladder.h"

void transpose(int64_t rows, int64_t cols, const float* x, float* y) {
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < cols; ++j) y[j * rows + i] = x[i * cols + j];  // each store needs another cache line
}
