// Rung 8: double-buffered. The next tile is on its way while this one is used.
// Idea:    a load takes hundreds of cycles, and the products of a tile as many: let both happen at once.
// Changed: two tiles of a and of b; loads into registers before the products, stores after them; one barrier a step.
// Removes: the wait for global memory at each step, and every second barrier.
#include "nnfast_ladder.cuh"

constexpr int BM = 64, BN = 128, BK = 8, THREADS = 128, LM = BM + 4;

__device__ inline float4 load4(const float* p, int64_t n, bool whole) {
  if (n >= 4 && whole) return *reinterpret_cast<const float4*>(p);
  return make_float4(n > 0 ? p[0] : 0, n > 1 ? p[1] : 0, n > 2 ? p[2] : 0, n > 3 ? p[3] : 0);
}
__device__ inline float4& at(float* p) { return *reinterpret_cast<float4*>(p); }

__global__ void __launch_bounds__(THREADS)
    double_buffered(int64_t M, int64_t N, int64_t K, const float* a, const float* b, float* c) {
  __shared__ __align__(16) float as[2][BK][LM], bs[2][BK][BN];
  const int tid = threadIdx.x, lane = tid % 32, warp = tid / 32;
  const int row = warp / 2 * 32 + lane / 8 * 4, column = warp % 2 * 64 + lane % 8 * 4;
  const int ar = tid / (BK / 4), ak = tid % (BK / 4) * 4, bk = tid / (BN / 4), bc = tid % (BN / 4) * 4;
  const int64_t i0 = int64_t{blockIdx.y} * BM, j0 = int64_t{blockIdx.x} * BN;
  float sum[8][8] = {};
  float4 next[3];  // of the tile of a, and of the upper and lower half of b's
  const auto fetch = [&](int64_t k0) {
    next[0] = load4(a + (i0 + ar) * K + k0 + ak, i0 + ar < M ? K - k0 - ak : 0, K % 4 == 0);
    for (int h = 0; h < 2; ++h) {
      const int64_t k = k0 + bk + h * 4;
      next[1 + h] = load4(b + k * N + j0 + bc, k < K ? N - j0 - bc : 0, N % 4 == 0);
    }
  };
  const auto put = [&](int buffer) {
    const float x[4] = {next[0].x, next[0].y, next[0].z, next[0].w};
    for (int i = 0; i < 4; ++i) as[buffer][ak + i][ar] = x[i];
    for (int h = 0; h < 2; ++h) at(&bs[buffer][bk + h * 4][bc]) = next[1 + h];
  };
  fetch(0);
  put(0);
  __syncthreads();
  for (int64_t k0 = 0, now = 0; k0 < K; k0 += BK, now ^= 1) {
    fetch(k0 + BK);  // beyond K: zeros
#pragma unroll
    for (int k = 0; k < BK; ++k) {
      const float4 x[2] = {at(&as[now][k][row]), at(&as[now][k][row + 16])};
      const float4 y[2] = {at(&bs[now][k][column]), at(&bs[now][k][column + 32])};
      const float xs[8] = {x[0].x, x[0].y, x[0].z, x[0].w, x[1].x, x[1].y, x[1].z, x[1].w};
      const float ys[8] = {y[0].x, y[0].y, y[0].z, y[0].w, y[1].x, y[1].y, y[1].z, y[1].w};
#pragma unroll
      for (int n = 0; n < 64; ++n) sum[n / 8][n % 8] += xs[n / 8] * ys[n % 8];
    }
    put(now ^ 1);     // the buffer that was read before the last barrier
    __syncthreads();  // it is whole, and nobody reads the other one
  }
#pragma unroll
  for (int n = 0; n < 16; ++n) {
    const int i = n / 2, j = n % 2 * 4;
    const int64_t r = i0 + row + i / 4 * 16 + i % 4, q = j0 + column + j * 8;
    if (r < M && q + 4 <= N && N % 4 == 0) {
      at(c + r * N + q) = make_float4(sum[i][j], sum[i][j + 1], sum[i][j + 2], sum[i][j + 3]);
    } else {
#pragma unroll
      for (int e = 0; e < 4; ++e)
        if (r < M && q + e < N) c[r * N + q + e] = sum[i][j + e];
    }
  }
}

void gemm(int64_t M, int64_t N, int64_t K, const float* a, const float* b, float* c) {
  if (M == 0 || N == 0) return;
  launch(double_buffered, dim3(ceil_div(N, BN), ceil_div(M, BM)), THREADS, 0, nullptr, M, N, K, a, b, c);
}
