// Rung 6: vectorised. Four neighbouring numbers with one instruction.
// Idea:    a load of 16 bytes does the work of four: fewer instructions, addresses and requests for the same bytes.
// Changed: float4 on every way; a lies transposed in shared memory, so that a thread's four rows are neighbours.
// Removes: three of four memory instructions.
#include "nnfast_ladder.cuh"

constexpr int BM = 64, BN = 64, BK = 8, TM = 4, TN = 4, ACROSS = BN / TN, THREADS = BM / TM * ACROSS;
constexpr int LM = BM + 4;  // rows four apart begin 16 banks apart: a warp stores without conflicts

// Four numbers, of which the first n are there; one load if `whole` says that rows begin at multiples of 16 bytes.
__device__ inline float4 load4(const float* p, int64_t n, bool whole) {
  if (n >= 4 && whole) return *reinterpret_cast<const float4*>(p);
  return make_float4(n > 0 ? p[0] : 0, n > 1 ? p[1] : 0, n > 2 ? p[2] : 0, n > 3 ? p[3] : 0);
}
__device__ inline float4& at(float* p) { return *reinterpret_cast<float4*>(p); }

__global__ void __launch_bounds__(THREADS)
    vectorised(int64_t M, int64_t N, int64_t K, const float* a, const float* b, float* c) {
  __shared__ __align__(16) float as[BK][LM], bs[BK][BN];
  const int tid = threadIdx.x, row = tid / ACROSS * TM, column = tid % ACROSS * TN;
  const int64_t i0 = int64_t{blockIdx.y} * BM, j0 = int64_t{blockIdx.x} * BN;
  float4 sum[TM] = {};
  for (int64_t k0 = 0; k0 < K; k0 += BK) {
    for (int n = tid; n < BM * BK / 4; n += THREADS) {  // two lanes a row: a whole sector
      const int r = n / (BK / 4), k = n % (BK / 4) * 4;
      const float4 x = load4(a + (i0 + r) * K + k0 + k, i0 + r < M ? K - k0 - k : 0, K % 4 == 0);
      as[k][r] = x.x, as[k + 1][r] = x.y, as[k + 2][r] = x.z, as[k + 3][r] = x.w;
    }
    for (int n = tid; n < BK * BN / 4; n += THREADS) {
      const int k = n / (BN / 4), j = n % (BN / 4) * 4;
      at(&bs[k][j]) = load4(b + (k0 + k) * N + j0 + j, k0 + k < K ? N - j0 - j : 0, N % 4 == 0);
    }
    __syncthreads();
#pragma unroll
    for (int k = 0; k < BK; ++k) {
      const float4 p = at(&as[k][row]), q = at(&bs[k][column]);
      const float xs[TM] = {p.x, p.y, p.z, p.w};
#pragma unroll
      for (int i = 0; i < TM; ++i) {
        sum[i].x += xs[i] * q.x, sum[i].y += xs[i] * q.y;
        sum[i].z += xs[i] * q.z, sum[i].w += xs[i] * q.w;
      }
    }
    __syncthreads();
  }
#pragma unroll
  for (int i = 0; i < TM; ++i) {
    if (i0 + row + i >= M) continue;
    float* to = c + (i0 + row + i) * N + j0 + column;
    const float s[TN] = {sum[i].x, sum[i].y, sum[i].z, sum[i].w};
    if (j0 + column + TN <= N && N % 4 == 0)
      at(to) = sum[i];
    else
      for (int j = 0; j < TN; ++j)
        if (j0 + column + j < N) to[j] = s[j];
  }
}

void gemm(int64_t M, int64_t N, int64_t K, const float* a, const float* b, float* c) {
  if (M == 0 || N == 0) return;
  launch(vectorised, dim3(ceil_div(N, BN), ceil_div(M, BM)), THREADS, 0, nullptr, M, N, K, a, b, c);
}
