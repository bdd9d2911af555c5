// Rung 1: seven loops. The formula of a convolution, word by word.
// Idea:    each number of the output is the sum of a 3 x 3 window of pixels, over all channels, times one filter.
// Changed: nothing yet: this is where we begin.
// Removes: every doubt about what the rungs above compute.
#include "nnfast_ladder.h"

void conv2d(int64_t N, int64_t H, int64_t W, int64_t C, int64_t F, const float* x, const float* filters, float* y) {
  for (int64_t n = 0; n < N; ++n)
    for (int64_t h = 0; h < H; ++h)
      for (int64_t w = 0; w < W; ++w)
        for (int64_t f = 0; f < F; ++f) {
          float sum = 0;
          for (int64_t r = 0; r < 3; ++r)
            for (int64_t s = 0; s < 3; ++s) {
              const int64_t i = h + r - 1, j = w + s - 1;
              if (i < 0 || i >= H || j < 0 || j >= W) continue;  // outside of the picture all is zero
              for (int64_t c = 0; c < C; ++c)
                sum += x[((n * H + i) * W + j) * C + c] * filters[((r * 3 + s) * C + c) * F + f];
            }
          y[((n * H + h) * W + w) * F + f] = sum;
        }
}
