// Rung 3: fused. All steps in one pass.
// Idea:    a number that is in a register already costs nothing to use again: memory is read once and written once.
// Changed: one pass with three steps instead of three passes.
// Removes: two thirds of the traffic.
#include "nnfast_ladder.h"
using namespace ladder;

// y = f(x), vector by vector.
template <class F>
static void each(int64_t n, const float* x, float* y, const F& f) {
  int64_t i = 0;
  for (; i + LANES <= n; i += LANES) store(y + i, f(load(x + i)));
  if (i < n) store_some(y + i, f(load_some(x + i, n - i)), n - i);
}

void elementwise(int64_t n, const float* x, float* y) {
  each(n, x, y, [](Vec v) {
    v = v / 6 + 0.5f;
    return v < 0 ? Vec{} : v > 1 ? 1 - Vec{} : v;
  });
}
