// Rung 4: shared picture. A block computes 4 x 8 pixels, and shares the 6 x 10 that their windows cover.
// Idea:    the windows of neighbours overlap: nine taps of 32 pixels are 288 reads of 60 pixels.
// Changed: pixels of a block are a rectangle; with its rim it lies in shared memory, zeros outside of the picture.
// Removes: four of five reads of the picture, and the question at each tap whether it lies inside.
#include "nnfast_ladder.cuh"

constexpr int TH = 4, TW = 8, FILTERS = 32, CHANNELS = 8, THREADS = TH * TW * FILTERS;

__global__ void __launch_bounds__(THREADS)
    shared_picture(int64_t H, int64_t W, int64_t C, int64_t F, const float* x, const float* filters, float* y) {
  __shared__ float part[9][CHANNELS][FILTERS], picture[TH + 2][TW + 2][CHANNELS];
  const int tx = threadIdx.x, ty = threadIdx.y, tid = ty * FILTERS + tx;
  const int64_t blocks = (F + FILTERS - 1) / FILTERS, n = blockIdx.z / blocks;
  const int64_t h0 = int64_t{blockIdx.y} * TH, w0 = int64_t{blockIdx.x} * TW, f = blockIdx.z % blocks * FILTERS + tx;
  float sum = 0;
  for (int64_t c0 = 0; c0 < C; c0 += CHANNELS) {
    for (int i = ty; i < 9 * CHANNELS; i += TH * TW) {
      const int tap = i / CHANNELS, c = i % CHANNELS;
      part[tap][c][tx] = c0 + c < C && f < F ? filters[(tap * C + c0 + c) * F + f] : 0;
    }
    for (int i = tid; i < (TH + 2) * (TW + 2) * CHANNELS; i += THREADS) {
      const int c = i % CHANNELS, s = i / CHANNELS % (TW + 2), r = i / CHANNELS / (TW + 2);
      const int64_t h = h0 + r - 1, w = w0 + s - 1;
      const bool inside = h >= 0 && h < H && w >= 0 && w < W && c0 + c < C;
      picture[r][s][c] = inside ? x[((n * H + h) * W + w) * C + c0 + c] : 0;
    }
    __syncthreads();
    for (int r = 0; r < 3; ++r)
      for (int s = 0; s < 3; ++s)
#pragma unroll
        for (int c = 0; c < CHANNELS; ++c) sum += picture[ty / TW + r][ty % TW + s][c] * part[r * 3 + s][c][tx];
    __syncthreads();
  }
  const int64_t h = h0 + ty / TW, w = w0 + ty % TW;
  if (h < H && w < W && f < F) y[((n * H + h) * W + w) * F + f] = sum;
}

void conv2d(int64_t N, int64_t H, int64_t W, int64_t C, int64_t F, const float* x, const float* filters, float* y) {
  if (N * H * W == 0 || F == 0) return;
  const dim3 block(FILTERS, TH * TW), grid(ceil_div(W, TW), ceil_div(H, TH), N * ceil_div(F, FILTERS));
  launch(shared_picture, grid, block, 0, nullptr, H, W, C, F, x, filters, y);
}
