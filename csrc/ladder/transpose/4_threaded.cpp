// Rung 4: threaded. Stripes of 32 rows of x, which are columns of y, go to the threads.
// Idea:    a stripe of 32 columns is two cache lines wide: threads hardly ever write to the same line.
// Changed: the loop over stripes is shared; each thread goes along its own.
// Removes: all cores but one being idle; one core alone cannot use all of the memory's bandwidth.
#include "nnfast_ladder.h"
using namespace ladder;

constexpr int64_t T = 32;
typedef float Four __attribute__((vector_size(16)));

static inline void turn(const float* x, int64_t x_row, float* y, int64_t y_row) {
  Four v[4];
  for (int k = 0; k < 4; ++k) memcpy(&v[k], x + k * x_row, 16);
  const Four a = __builtin_shufflevector(v[0], v[2], 0, 4, 1, 5), b = __builtin_shufflevector(v[0], v[2], 2, 6, 3, 7);
  const Four c = __builtin_shufflevector(v[1], v[3], 0, 4, 1, 5), d = __builtin_shufflevector(v[1], v[3], 2, 6, 3, 7);
  v[0] = __builtin_shufflevector(a, c, 0, 4, 1, 5), v[1] = __builtin_shufflevector(a, c, 2, 6, 3, 7);
  v[2] = __builtin_shufflevector(b, d, 0, 4, 1, 5), v[3] = __builtin_shufflevector(b, d, 2, 6, 3, 7);
  for (int k = 0; k < 4; ++k) memcpy(y + k * y_row, &v[k], 16);
}

// One square of up to 32 x 32 numbers.
static void square(int64_t rows, int64_t cols, const float* x, int64_t x_row, float* y, int64_t y_row) {
  const int64_t whole_rows = rows / 4 * 4, whole_cols = cols / 4 * 4;
  for (int64_t j = 0; j < whole_cols; j += 4)
    for (int64_t i = 0; i < whole_rows; i += 4) turn(x + i * x_row + j, x_row, y + j * y_row + i, y_row);
  for (int64_t j = 0; j < cols; ++j)
    for (int64_t i = j < whole_cols ? whole_rows : 0; i < rows; ++i) y[j * y_row + i] = x[i * x_row + j];
}

void transpose(int64_t rows, int64_t cols, const float* x, float* y) {
  parallel_for(rows, T, [&](int64_t i, int64_t end) {
    for (int64_t j = 0; j < cols; j += T)
      square(end - i, min(T, cols - j), x + i * cols + j, cols, y + j * rows + i, rows);
  });
}
