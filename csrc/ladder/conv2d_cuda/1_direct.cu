// Rung 1: direct. A thread for each number of the output; neighbouring threads take neighbouring pixels.
// Idea:    the loops over pictures, pixels and filters become threads; the sums over windows and channels are left.
// Changed: nothing yet: the loops of the CPU's rung 1 are a kernel.
// Removes: one sum after the other: tens of thousands are under way at once.
#include "nnfast_ladder.cuh"

// Pixel p of all N * H * W, and its neighbours p + (r - 1) * W + s - 1, as far as they lie in the same picture.
__global__ void direct(int64_t pixels, int64_t H, int64_t W, int64_t C, int64_t F, const float* x, const float* filters,
                       float* y) {
  const int64_t p = int64_t{blockIdx.x} * blockDim.x + threadIdx.x, h = p / W % H, w = p % W;
  const int64_t f = int64_t{blockIdx.y} * blockDim.y + threadIdx.y;
  if (p >= pixels || f >= F) return;
  float sum = 0;
  for (int r = 0; r < 3; ++r)
    for (int s = 0; s < 3; ++s) {
      if (h + r < 1 || h + r > H || w + s < 1 || w + s > W) continue;  // outside of the picture all is zero
      const float* pixel = x + (p + (r - 1) * W + s - 1) * C;          // the lanes of a warp: C numbers apart
      for (int64_t c = 0; c < C; ++c) sum += pixel[c] * filters[((r * 3 + s) * C + c) * F + f];
    }
  y[p * F + f] = sum;
}

void conv2d(int64_t N, int64_t H, int64_t W, int64_t C, int64_t F, const float* x, const float* filters, float* y) {
  const int64_t pixels = N * H * W;
  if (pixels == 0 || F == 0) return;
  const dim3 block(32, 8), grid(ceil_div(pixels, 32), ceil_div(F, 8));
  launch(direct, grid, block, 0, nullptr, pixels, H, W, C, F, x, filters, y);
}
