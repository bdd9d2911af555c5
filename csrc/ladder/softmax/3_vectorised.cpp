// Rung 3: vectorised. Each lane has its own largest and sum; exp is a polynomial, computed in all lanes at once.
// Idea:    exp(x) = 2^n * exp(r), n the nearest integer to x / log 2: a shift into the exponent, and a short series.
// Changed: vectors and an exp of our own; one rescaling for each block of eight; lanes are joined at the end of a row.
// Removes: calls into the C library, one number at a time, and the branch at each new largest.
#include "nnfast_ladder.h"
using namespace ladder;

constexpr int64_t VECTORS = 8, BLOCK = VECTORS * LANES;

static inline Vec larger(Vec a, Vec b) { return a > b ? a : b; }

// exp(x) for x <= 0, to 2 units in the last place; 0 below -87, where float32 would be subnormal.
static inline Vec exp_(Vec given) {
  const Vec x = larger(given, -88.0f - Vec{});
  const Vec magic = 12582912.0f - Vec{};  // 1.5 * 2^23: adding it rounds to an integer, which is then in the low bits
  const Vec shifted = x * 1.44269504f + magic, n = shifted - magic;
  const Vec r = (x - n * 0.693359375f) + n * 2.12194440e-4f;  // x - n log 2, in two parts
  Vec p = r * (1 / 720.0f) + 1 / 120.0f;
  p = ((p * r + 1 / 24.0f) * r + 1 / 6.0f) * r + 0.5f;
  p = (p * r * r + r) + 1;
  const Ints bits = (Ints)p + ((Ints)shifted << 23);
  return x < -87.0f ? Vec{} : (Vec)bits;
}

void softmax(int64_t rows, int64_t cols, const float* x, float* y) {
  const Vec lowest = -1e30f - Vec{};
  for (int64_t i = 0; i < rows; ++i, x += cols, y += cols) {
    Vec m = lowest, sum = {};
    for (int64_t j = 0; j < cols; j += BLOCK) {
      Vec v[VECTORS], top = m;
      const bool whole = j + BLOCK <= cols;
      for (int k = 0; k < VECTORS; ++k) {
        v[k] = whole ? load(x + j + k * LANES) : load_some(x + j + k * LANES, max(cols - j - k * LANES, 0), -1e30f);
        top = larger(top, v[k]);
      }
      sum *= exp_(m - top);
      for (int k = 0; k < VECTORS; ++k) sum += exp_(v[k] - top);
      m = top;
    }
    float all = m[0], total = 0;
    for (int k = 1; k < LANES; ++k) all = m[k] > all ? m[k] : all;
    sum *= exp_(m - all);
    for (int k = 0; k < LANES; ++k) total += sum[k];
    const float scale = 1 / total;
    int64_t j = 0;
    for (; j + LANES <= cols; j += LANES) store(y + j, exp_(load(x + j) - all) * scale);
    if (j < cols) store_some(y + j, exp_(load_some(x + j, cols - j) - all) * scale, cols - j);
  }
}
