// Rung 2: im2col. Windows are copied side by side, so that a convolution is one matrix product.
// Idea:    columns[H*W, 9*C] times filters[9*C, F]: everything known about matrix products serves here too.
// Changed: a copy of each window, then the register tile of the gemm ladder, rung 4.
// Removes: the test for the edge and the walk across filters at each product, and scalar arithmetic.
#include "nnfast_ladder.h"
using namespace ladder;

constexpr int MR = LANES == 16 ? 12 : LANES == 8 ? 6 : 4, NV = 2, NR = NV * LANES;

// c[rows,cols] = a[rows,K] * b[K,cols], rows <= MR, cols <= NR. Where rows are missing the last one stands in for them.
template <bool WHOLE>
static void tile(int64_t K, const float* a, int64_t a_row, const float* b, int64_t b_row, float* c, int64_t c_row,
                 int64_t rows, int64_t cols) {
  const float* row[MR];
  for (int i = 0; i < MR; ++i) row[i] = a + min(i, rows - 1) * a_row;
  Vec sum[MR][NV] = {};
  for (int64_t k = 0; k < K; ++k, b += b_row) {
    Vec bv[NV];
    for (int v = 0; v < NV; ++v)
      bv[v] = WHOLE ? load(b + v * LANES) : load_some(b + v * LANES, max(cols - v * LANES, 0));
#pragma GCC unroll 16
    for (int i = 0; i < MR; ++i)
#pragma GCC unroll 4
      for (int v = 0; v < NV; ++v) sum[i][v] += row[i][k] * bv[v];
  }
#pragma GCC unroll 16
  for (int i = 0; i < MR; ++i)
#pragma GCC unroll 4
    for (int v = 0; v < NV; ++v)
      if (i < rows) store_some(c + i * c_row + v * LANES, sum[i][v], WHOLE ? LANES : max(cols - v * LANES, 0));
}

// to[H*W, 9*C]: row h * W + w is the window around pixel (h, w), zeros outside of the picture.
static void im2col(int64_t H, int64_t W, int64_t C, const float* x, float* to) {
  const size_t pixel = static_cast<size_t>(C) * sizeof(float);
  for (int64_t h = 0; h < H; ++h)
    for (int64_t w = 0; w < W; ++w)
      for (int64_t r = -1; r <= 1; ++r)
        for (int64_t s = -1; s <= 1; ++s, to += C) {
          const bool inside = h + r >= 0 && h + r < H && w + s >= 0 && w + s < W;
          inside ? memcpy(to, x + ((h + r) * W + w + s) * C, pixel) : memset(to, 0, pixel);
        }
}

void conv2d(int64_t N, int64_t H, int64_t W, int64_t C, int64_t F, const float* x, const float* filters, float* y) {
  const int64_t pixels = H * W, K = 9 * C;
  const Buffer columns(pixels * K);
  for (int64_t n = 0; n < N; ++n, x += pixels * C, y += pixels * F) {
    im2col(H, W, C, x, columns.data);
    for (int64_t f = 0; f < F; f += NR)
      for (int64_t p = 0; p < pixels; p += MR) {
        const auto fn = f + NR <= F ? tile<true> : tile<false>;
        fn(K, columns.data + p * K, K, filters + f, F, y + p * F + f, F, min(MR, pixels - p), min(NR, F - f));
      }
  }
}
