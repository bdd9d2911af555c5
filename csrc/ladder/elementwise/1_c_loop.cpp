// Rung 1: c loop. Each step of the formula is a loop over the array, as NumPy does it.
// Idea:    compiled code needs a few instructions for a number.
// Changed: C++ instead of Python; three passes: divide, add, clip.
// Removes: the interpreter, which makes an object of every number.
#include "nnfast_ladder.h"

void elementwise(int64_t n, const float* x, float* y) {
  for (int64_t i = 0; i < n; ++i) {
    ONE_BY_ONE;
    y[i] = x[i] / 6;
  }
  for (int64_t i = 0; i < n; ++i) {
    ONE_BY_ONE;
    y[i] = y[i] + 0.5f;
  }
  for (int64_t i = 0; i < n; ++i) {
    ONE_BY_ONE;
    const float v = y[i] > 0 ? y[i] : 0;  // so written, both choices are an instruction and no branch
    y[i] = v < 1 ? v : 1;
  }
}
