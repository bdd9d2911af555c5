// Rung 7: warp tile. A warp computes 32 x 64 elements, a thread 8 x 8 of them.
// Idea:    a tile per warp between those of the block and of the thread: its 4 x 8 threads want few different words.
// Changed: 64 sums a thread, in four squares, so that neighbouring lanes still read neighbouring float4.
// Removes: half of the loads from shared memory, once more; more sums than this do not fit into the registers.
#include "nnfast_ladder.cuh"

constexpr int BM = 64, BN = 128, BK = 8, WM = 32, WN = 64, THREADS = BM / WM * (BN / WN) * 32;
constexpr int LM = BM + 4;
static_assert(BM * BK == 4 * THREADS && BK * BN == 8 * THREADS, "each thread loads one float4 of a and two of b");

__device__ inline float4 load4(const float* p, int64_t n, bool whole) {
  if (n >= 4 && whole) return *reinterpret_cast<const float4*>(p);
  return make_float4(n > 0 ? p[0] : 0, n > 1 ? p[1] : 0, n > 2 ? p[2] : 0, n > 3 ? p[3] : 0);
}
__device__ inline float4& at(float* p) { return *reinterpret_cast<float4*>(p); }

__global__ void __launch_bounds__(THREADS)
    warp_tile(int64_t M, int64_t N, int64_t K, const float* a, const float* b, float* c) {
  __shared__ __align__(16) float as[BK][LM], bs[BK][BN];
  const int tid = threadIdx.x, lane = tid % 32, warp = tid / 32;
  const int row = warp / (BN / WN) * WM + lane / 8 * 4;     // and 16 below: two groups of four
  const int column = warp % (BN / WN) * WN + lane % 8 * 4;  // and 32 further
  const int64_t i0 = int64_t{blockIdx.y} * BM, j0 = int64_t{blockIdx.x} * BN;
  float sum[8][8] = {};
  for (int64_t k0 = 0; k0 < K; k0 += BK) {
    const int ar = tid / (BK / 4), ak = tid % (BK / 4) * 4;
    const float4 v = load4(a + (i0 + ar) * K + k0 + ak, i0 + ar < M ? K - k0 - ak : 0, K % 4 == 0);
    as[ak][ar] = v.x, as[ak + 1][ar] = v.y, as[ak + 2][ar] = v.z, as[ak + 3][ar] = v.w;
    for (int n = tid; n < BK * BN / 4; n += THREADS) {
      const int k = n / (BN / 4), j = n % (BN / 4) * 4;
      at(&bs[k][j]) = load4(b + (k0 + k) * N + j0 + j, k0 + k < K ? N - j0 - j : 0, N % 4 == 0);
    }
    __syncthreads();
#pragma unroll
    for (int k = 0; k < BK; ++k) {
      const float4 x[2] = {at(&as[k][row]), at(&as[k][row + 16])};
      const float4 y[2] = {at(&bs[k][column]), at(&bs[k][column + 32])};
      const float xs[8] = {x[0].x, x[0].y, x[0].z, x[0].w, x[1].x, x[1].y, x[1].z, x[1].w};
      const float ys[8] = {y[0].x, y[0].y, y[0].z, y[0].w, y[1].x, y[1].y, y[1].z, y[1].w};
#pragma unroll
      for (int i = 0; i < 8; ++i)
#pragma unroll
        for (int j = 0; j < 8; ++j) sum[i][j] += xs[i] * ys[j];
    }
    __syncthreads();
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
  launch(warp_tile, dim3(ceil_div(N, BN), ceil_div(M, BM)), THREADS, 0, nullptr, M, N, K, a, b, c);
}
