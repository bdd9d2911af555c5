// Rung 7: tensor core. A warp multiplies a 16 x 8 matrix with an 8 x 8 one in one instruction.
// Idea:    once the convolution is a matrix product, gemm's rung 9 does it: only the copies of a know of windows.
// Changed: mma.sync on fragments; cp.async brings windows to shared memory, and zeros for what lies outside.
// Removes: most arithmetic instructions, and most loads from shared memory.
// Rounds:  tf32: of the factors' fractions 10 bits count.
// Needs:   sm_80: a GPU from 2020 on.
#include "nnfast_ladder.cuh"
using namespace nnfast;

constexpr int BM = 64, BN = 64, BK = 16, THREADS = 128;  // four warps, a tile of 32 x 32 each
constexpr int LA = BK + 4, LB = BN + 8;  // ldmatrix's rows, and the lanes of a fragment of b, lie in different banks
struct Picture {
  int64_t pixels, H, W, C;
  const float* x;
};

// Where number k of the window around pixel p lies; nullptr outside of the picture.
__device__ inline const float* window(const Picture& q, int64_t p, int64_t k) {
  const int64_t row = divide(p, q.W), tap = divide(k, q.C), down = tap / 3 - 1, right = tap % 3 - 1;
  const int64_t h = row - divide(row, q.H) * q.H + down, w = p - row * q.W + right;
  if (p >= q.pixels || tap >= 9 || h < 0 || h >= q.H || w < 0 || w >= q.W) return nullptr;
  return q.x + (p + down * q.W + right) * q.C + k - tap * q.C;
}

__global__ void __launch_bounds__(THREADS) tensor_core(Picture q, int64_t F, const float* filters, float* y) {
  __shared__ __align__(16) float as[2][BM][LA], bs[2][BK][LB];
  const int tid = threadIdx.x, lane = tid % 32, warp = tid / 32, g = lane / 4, t = lane % 4;
  const int row = warp / 2 * 32, column = warp % 2 * 32;
  const int64_t p0 = int64_t{blockIdx.x} * BM, f0 = int64_t{blockIdx.y} * BN, K = 9 * q.C;
  const auto copy = [](float* to, const float* from, const float* any) {  // one number, or a zero
    cp_async4(to, from ? from : any, from ? 4 : 0);
  };
  const auto fetch = [&](int buffer, int64_t k0) {
    if (k0 >= K) return cp_async_commit();
    for (int n = tid; n < BM * BK / 4; n += THREADS) {
      const int r = n / (BK / 4), k = n % (BK / 4) * 4;
      const float* from = window(q, p0 + r, k0 + k);
      if (q.C % 4 == 0)  // the four are channels of one tap
        cp_async16(&as[buffer][r][k], from ? from : q.x, from ? 16 : 0);
      else
        for (int i = 0; i < 4; ++i) copy(&as[buffer][r][k + i], window(q, p0 + r, k0 + k + i), q.x);
    }
    for (int n = tid; n < BK * BN; n += THREADS) {
      const int64_t k = k0 + n / BN, f = f0 + n % BN;
      copy(&bs[buffer][n / BN][n % BN], k < K && f < F ? filters + k * F + f : nullptr, filters);
    }
    cp_async_commit();
  };
  float sum[2][4][4] = {};  // fragments of 16 x 8
  fetch(0, 0);
  for (int64_t k0 = 0, now = 0; k0 < K; k0 += BK, now ^= 1) {
    fetch(static_cast<int>(now ^ 1), k0 + BK);
    cp_async_wait<1>();  // the tile of this step is here
    __syncthreads();
#pragma unroll
    for (int k = 0; k < BK; k += 8) {
      unsigned a[2][4], b[4][2];
      for (int i = 0; i < 2; ++i) ldmatrix_x4(a[i], &as[now][row + i * 16 + lane % 16][k + lane / 16 * 4]);
      for (int n = 0; n < 8; ++n) b[n / 2][n % 2] = __float_as_uint(bs[now][k + t + n % 2 * 4][column + n / 2 * 8 + g]);
      for (int n = 0; n < 8; ++n) mma_m16n8k8_tf32(sum[n / 4][n % 4], a[n / 4], b[n % 4]);
    }
    __syncthreads();  // nobody reads the tile that the next step overwrites
  }
  cp_async_wait<0>();
  for (int n = 0; n < 32; ++n) {  // pixel g or g + 8, filter 2 t or 2 t + 1 of each fragment
    const int64_t p = p0 + row + n / 16 * 16 + n / 2 % 2 * 8 + g, f = f0 + column + n / 4 % 4 * 8 + t * 2 + n % 2;
    if (p < q.pixels && f < F) y[p * F + f] = sum[n / 16][n / 4 % 4][n % 4];
  }
}

void conv2d(int64_t N, int64_t H, int64_t W, int64_t C, int64_t F, const float* x, const float* filters, float* y) {
  const Picture q{N * H * W, H, W, C, x};
  if (q.pixels == 0 || F == 0) return;
  launch(tensor_core, dim3(ceil_div(q.pixels, BM), ceil_div(F, BN)), THREADS, 0, nullptr, q, F, filters, y);
}
