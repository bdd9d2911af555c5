// Rung 9: tensor core. A warp multiplies a 16 x 8 matrix with an 8 x 8 one in one instruction.
// Idea:    mma.sync makes 1024 products of 6 registers a thread, which a warp would make with 32 instructions.
// Changed: fragments instead of numbers; cp.async brings the tiles to shared memory without passing registers.
// Removes: most arithmetic instructions, and most loads from shared memory.
// Rounds:  tf32: of the factors' fractions 10 bits count.
// Needs:   sm_80: a GPU from 2020 on.
#include "nnfast_ladder.cuh"
using namespace nnfast;

constexpr int BM = 64, BN = 128, BK = 16, THREADS = 128;  // four warps, a tile of 32 x 64 each
constexpr int LA = BK + 4, LB = BN + 8;  // ldmatrix's rows, and the lanes of a fragment of b, lie in different banks

// Four numbers on their way, of which the first n are there.
__device__ inline void copy4(float* to, const float* from, int64_t n, bool whole) {
  if (whole) return cp_async16(to, from, n >= 4 ? 16 : n > 0 ? static_cast<int>(n) * 4 : 0);
  for (int i = 0; i < 4; ++i) cp_async4(to + i, from + i, i < n ? 4 : 0);
}

__global__ void __launch_bounds__(THREADS)
    tensor_core(int64_t M, int64_t N, int64_t K, const float* a, const float* b, float* c) {
  __shared__ __align__(16) float as[2][BM][LA], bs[2][BK][LB];
  const int tid = threadIdx.x, lane = tid % 32, warp = tid / 32, g = lane / 4, t = lane % 4;
  const int row = warp / 2 * 32, column = warp % 2 * 64;
  const int64_t i0 = int64_t{blockIdx.y} * BM, j0 = int64_t{blockIdx.x} * BN;
  const auto fetch = [&](int buffer, int64_t k0) {
    for (int n = tid; n < BM * BK / 4; n += THREADS) {
      const int r = n / (BK / 4), k = n % (BK / 4) * 4;
      copy4(&as[buffer][r][k], a + (i0 + r) * K + k0 + k, i0 + r < M ? K - k0 - k : 0, K % 4 == 0);
    }
    for (int n = tid; n < BK * BN / 4; n += THREADS) {
      const int k = n / (BN / 4), j = n % (BN / 4) * 4;
      copy4(&bs[buffer][k][j], b + (k0 + k) * N + j0 + j, k0 + k < K ? N - j0 - j : 0, N % 4 == 0);
    }
    cp_async_commit();
  };
  float sum[2][8][4] = {};  // fragments of 16 x 8
  fetch(0, 0);
  for (int64_t k0 = 0, now = 0; k0 < K; k0 += BK, now ^= 1) {
    fetch(static_cast<int>(now ^ 1), k0 + BK);
    cp_async_wait<1>();  // the tile of this step is here: one group, the next tile, may still be on its way
    __syncthreads();
#pragma unroll
    for (int k = 0; k < BK; k += 8) {
      unsigned x[2][4], y[8][2];
#pragma unroll
      for (int i = 0; i < 2; ++i) ldmatrix_x4(x[i], &as[now][row + i * 16 + lane % 16][k + lane / 16 * 4]);
#pragma unroll
      for (int j = 0; j < 8; ++j)
        for (int h = 0; h < 2; ++h) y[j][h] = __float_as_uint(bs[now][k + t + h * 4][column + j * 8 + g]);
#pragma unroll
      for (int n = 0; n < 16; ++n) mma_m16n8k8_tf32(sum[n / 8][n % 8], x[n / 8], y[n % 8]);
    }
    __syncthreads();  // nobody reads the tile that the next step overwrites
  }
  cp_async_wait<0>();
#pragma unroll
  for (int n = 0; n < 32; ++n) {
    const int i = n / 16, j = n / 2 % 8, h = n % 2;
    const int64_t r = i0 + row + i * 16 + h * 8 + g, q = j0 + column + j * 8 + t * 2;
    const float x = sum[i][j][h * 2], y = sum[i][j][h * 2 + 1];
    if (r >= M || q >= N) continue;
    if (N % 2 == 0) {  // both columns are there
      *reinterpret_cast<float2*>(c + r * N + q) = make_float2(x, y);
    } else {
      c[r * N + q] = x;
      if (q + 1 < N) c[r * N + q + 1] = y;
    }
  }
}

void gemm(int64_t M, int64_t N, int64_t K, const float* a, const float* b, float* c) {
  if (M == 0 || N == 0) return;
  launch(tensor_core, dim3(ceil_div(N, BN), ceil_div(M, BM)), THREADS, 0, nullptr, M, N, K, a, b, c);
}
