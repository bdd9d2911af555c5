// Rung 3: implicit. The tile reads windows where they lie in the picture; nothing is copied nine times.
// Idea:    the three pixels of a window's row are neighbours in memory: a window is three runs of 3*C numbers.
// Changed: a frame of zeros around the picture instead of im2col; the tile takes a pointer for each pixel.
// Removes: writing and reading nine copies of the picture, which do not stay in the caches.
#include "nnfast_ladder.h"
using namespace ladder;

constexpr int MR = LANES == 16 ? 12 : LANES == 8 ? 6 : 4, NV = 2, NR = NV * LANES;

// c[rows,cols] = windows[rows, 3 runs of `run` numbers] * b[3*run,cols]; a run begins `step` after the one before.
template <bool WHOLE>
static void tile(int64_t run, int64_t step, const float* const* window, const float* b, int64_t b_row, float* c,
                 int64_t c_row, int64_t rows, int64_t cols) {
  Vec sum[MR][NV] = {};
  for (int64_t r = 0; r < 3; ++r) {
    const float* row[MR];
    for (int i = 0; i < MR; ++i) row[i] = window[min(i, rows - 1)] + r * step;
    for (int64_t k = 0; k < run; ++k, b += b_row) {
      Vec bv[NV];
      for (int v = 0; v < NV; ++v)
        bv[v] = WHOLE ? load(b + v * LANES) : load_some(b + v * LANES, max(cols - v * LANES, 0));
#pragma GCC unroll 16
      for (int i = 0; i < MR; ++i)
#pragma GCC unroll 4
        for (int v = 0; v < NV; ++v) sum[i][v] += row[i][k] * bv[v];
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < MR; ++i)
#pragma GCC unroll 4
    for (int v = 0; v < NV; ++v)
      if (i < rows) store_some(c + i * c_row + v * LANES, sum[i][v], WHOLE ? LANES : max(cols - v * LANES, 0));
}

void conv2d(int64_t N, int64_t H, int64_t W, int64_t C, int64_t F, const float* x, const float* filters, float* y) {
  const int64_t pixels = H * W, wide = (W + 2) * C;  // a row of the picture with its frame
  const Buffer framed((H + 2) * wide);
  memset(framed.data, 0, static_cast<size_t>((H + 2) * wide) * sizeof(float));
  for (int64_t n = 0; n < N; ++n, x += pixels * C, y += pixels * F) {
    for (int64_t h = 0; h < H; ++h)
      memcpy(framed.data + (h + 1) * wide + C, x + h * W * C, static_cast<size_t>(W * C) * sizeof(float));
    for (int64_t f = 0; f < F; f += NR)
      for (int64_t p = 0; p < pixels; p += MR) {
        const int64_t rows = min(MR, pixels - p);
        const float* window[MR];
        for (int64_t i = 0; i < rows; ++i) window[i] = framed.data + (p + i) / W * wide + (p + i) % W * C;
        const auto fn = f + NR <= F ? tile<true> : tile<false>;
        fn(3 * C, wide, window, filters + f, F, y + p * F + f, F, rows, min(NR, F - f));
      }
  }
}
