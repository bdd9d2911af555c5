// Rung 4: winograd. Four outputs for the price of sixteen multiplications instead of thirty-six: F(2x2, 3x3).
// Idea:    transformed 4 x 4 pixels times a transformed filter, number by number, is a transformed 2 x 2 of the output.
// Changed: 16 small products of matrices, one for each place in the 4 x 4; sums and differences before and after.
// Removes: 5 of 9 multiplications. Lavin and Gray, arxiv.org/abs/1509.09308; B, G and A are those of its section 4.1.
#include "nnfast_ladder.h"
using namespace ladder;

constexpr int MR = LANES == 16 ? 12 : LANES == 8 ? 6 : 4, NV = 2, NR = NV * LANES;
// c[rows,NR] = a[rows,K] * b[K,NR], rows <= MR. Where rows are missing the last one stands in for them.
static void tile(int64_t K, const float* a, int64_t a_row, const float* b, int64_t width, float* c, int64_t rows) {
  const float* row[MR];
  for (int i = 0; i < MR; ++i) row[i] = a + min(i, rows - 1) * a_row;
  Vec sum[MR][NV] = {};
  for (int64_t k = 0; k < K; ++k, b += width) {
    const Vec bv[NV] = {load(b), load(b + LANES)};
#pragma GCC unroll 16
    for (int i = 0; i < MR; ++i)
#pragma GCC unroll 4
      for (int v = 0; v < NV; ++v) sum[i][v] += row[i][k] * bv[v];
  }
#pragma GCC unroll 16
  for (int i = 0; i < MR; ++i)
    for (int v = 0; v < NV && i < rows; ++v) store(c + i * width + v * LANES, sum[i][v]);
}

// One line of a transform, of vectors `step` apart: pixels (B), filters (G), output (A).
static void pixels4(Vec* d, int step) {
  const Vec a = d[0], b = d[step], c = d[2 * step], e = d[3 * step];
  d[0] = a - c, d[step] = b + c, d[2 * step] = c - b, d[3 * step] = b - e;
}
static void filter3(Vec* g, int step) {
  const Vec a = g[0], b = g[step], c = g[2 * step];
  g[step] = (a + b + c) * 0.5f, g[2 * step] = (a - b + c) * 0.5f, g[3 * step] = c;
}
static void output4(Vec* m, int step) {
  const Vec a = m[0], b = m[step], c = m[2 * step], e = m[3 * step];
  m[0] = a + b + c, m[step] = b - c - e;
}

void conv2d(int64_t N, int64_t H, int64_t W, int64_t C, int64_t F, const float* x, const float* filters, float* y) {
  const int64_t th = (H + 1) / 2, tw = (W + 1) / 2, tiles = th * tw, wide = round_up(F, NR), deep = round_up(C, LANES);
  const Buffer u(16 * C * wide), v(16 * tiles * deep), m(16 * tiles * wide);  // [place][C][F], [place][tile][...]
  for (int64_t c = 0; c < C; ++c)
    for (int64_t f = 0; f < wide; f += LANES) {
      Vec g[16] = {};
      for (int64_t t = 0; t < 9 && f < F; ++t) g[t / 3 * 4 + t % 3] = load_some(filters + (t * C + c) * F + f, F - f);
      for (int s = 0; s < 3; ++s) filter3(g + s, 4);
      for (int r = 0; r < 4; ++r) filter3(g + 4 * r, 1);
      for (int p = 0; p < 16; ++p) store(u.data + (p * C + c) * wide + f, g[p]);
    }
  for (int64_t n = 0; n < N; ++n, x += H * W * C, y += H * W * F) {
    for (int64_t t = 0; t < tiles; ++t)
      for (int64_t c = 0; c < C; c += LANES) {
        Vec d[16] = {};
        for (int p = 0; p < 16; ++p) {
          const int64_t h = t / tw * 2 + p / 4 - 1, w = t % tw * 2 + p % 4 - 1;
          if (h >= 0 && h < H && w >= 0 && w < W) d[p] = load_some(x + (h * W + w) * C + c, C - c);
        }
        for (int s = 0; s < 4; ++s) pixels4(d + s, 4);
        for (int r = 0; r < 4; ++r) pixels4(d + 4 * r, 1);
        for (int p = 0; p < 16; ++p) store(v.data + (p * tiles + t) * deep + c, d[p]);
      }
    for (int64_t p = 0; p < 16; ++p)
      for (int64_t f = 0; f < wide; f += NR)
        for (int64_t t = 0; t < tiles; t += MR)
          tile(C, v.data + (p * tiles + t) * deep, deep, u.data + p * C * wide + f, wide,
               m.data + (p * tiles + t) * wide + f, min(MR, tiles - t));
    for (int64_t t = 0; t < tiles; ++t)
      for (int64_t f = 0; f < F; f += LANES) {
        Vec o[16];
        for (int p = 0; p < 16; ++p) o[p] = load(m.data + (p * tiles + t) * wide + f);
        for (int s = 0; s < 4; ++s) output4(o + s, 4);
        for (int r = 0; r < 2; ++r) output4(o + 4 * r, 1);
        for (int p = 0; p < 4; ++p) {
          const int64_t h = t / tw * 2 + p / 2, w = t % tw * 2 + p % 2;
          if (h < H && w < W) store_some(y + (h * W + w) * F + f, o[p / 2 * 4 + p % 2], F - f);
        }
      }
  }
}
