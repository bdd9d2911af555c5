// Rung 1: serial. One number after the other is added to one sum.
// Idea:    the definition.
// Changed: nothing yet: this is where we begin.
// Removes: every doubt about what the rungs above compute.
#include "nnfast_ladder.h"

void reduce(int64_t n, const float* x, float* sum) {
  float total = 0;
  for (int64_t i = 0; i < n; ++i)
    total += x[i];  // each addition waits for the one before; a large total swallows small x
  sum[0] = total;
}
