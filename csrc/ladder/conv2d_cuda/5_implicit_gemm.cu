// Rung 5: implicit gemm. The convolution is a matrix product whose left factor exists only tile by tile.
// Idea:    y[pixels,F] = windows[pixels,9*C] * filters[9*C,F]: all that is known about matrix products serves here too.
// Changed: gemm's shared tile, rung 3 there; its numbers of a are looked up in the picture.
// Removes: rims, and blocks that hang over the edges of small pictures; it opens the way to larger tiles.
#include "nnfast_ladder.cuh"

constexpr int T = 32;
struct Picture {
  int64_t pixels, H, W, C;
  const float* x;
};

// Number k of the window around pixel p: channel k % C of tap k / C. Zero outside of the picture.
__device__ inline float window(const Picture& q, int64_t p, int64_t k) {
  const int64_t row = nnfast::divide(p, q.W), tap = nnfast::divide(k, q.C), down = tap / 3 - 1, right = tap % 3 - 1;
  const int64_t h = row - nnfast::divide(row, q.H) * q.H + down, w = p - row * q.W + right;
  if (p >= q.pixels || tap >= 9 || h < 0 || h >= q.H || w < 0 || w >= q.W) return 0;
  return q.x[(p + down * q.W + right) * q.C + k - tap * q.C];
}

__global__ void __launch_bounds__(T* T) implicit_gemm(Picture q, int64_t F, const float* filters, float* y) {
  __shared__ float as[T][T], bs[T][T];
  const int tx = threadIdx.x, ty = threadIdx.y;
  const int64_t p = int64_t{blockIdx.x} * T + ty, f = int64_t{blockIdx.y} * T + tx, K = 9 * q.C;
  float sum = 0;
  for (int64_t k0 = 0; k0 < K; k0 += T) {
    as[ty][tx] = window(q, p, k0 + tx);
    bs[ty][tx] = k0 + ty < K && f < F ? filters[(k0 + ty) * F + f] : 0;
    __syncthreads();
    for (int k = 0; k < T; ++k) sum += as[ty][k] * bs[k][tx];
    __syncthreads();
  }
  if (p < q.pixels && f < F) y[p * F + f] = sum;
}

void conv2d(int64_t N, int64_t H, int64_t W, int64_t C, int64_t F, const float* x, const float* filters, float* y) {
  const Picture q{N * H * W, H, W, C, x};
  if (q.pixels == 0 || F == 0) return;
  launch(implicit_gemm, dim3(ceil_div(q.pixels, T), ceil_div(F, T)), dim3(T, T), 0, nullptr, q, F, filters, y);
}
