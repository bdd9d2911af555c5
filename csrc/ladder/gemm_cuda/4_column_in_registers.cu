// Rung 4: column in registers. A thread computes eight elements of a column of c.
// Idea:    a number of b that is in a register serves eight sums: nine loads for eight products instead of sixteen.
// Changed: a tile of 64 x 64 for 512 threads, and a thread's sums are an array of eight.
// Removes: almost half of the loads from shared memory, which had become the limit.
#include "nnfast_ladder.cuh"

constexpr int BM = 64, BN = 64, BK = 8, TM = 8, THREADS = BM / TM * BN;
static_assert(BM * BK == THREADS && BK * BN == THREADS, "each thread loads one number of a and one of b");

__global__ void __launch_bounds__(THREADS)
    column_in_registers(int64_t M, int64_t N, int64_t K, const float* a, const float* b, float* c) {
  __shared__ float as[BM][BK], bs[BK][BN];
  const int tid = threadIdx.x, column = tid % BN, row = tid / BN * TM;
  const int64_t i0 = int64_t{blockIdx.y} * BM, j0 = int64_t{blockIdx.x} * BN;
  float sum[TM] = {};
  for (int64_t k0 = 0; k0 < K; k0 += BK) {
    const int ar = tid / BK, ak = tid % BK, bk = tid / BN, bc = tid % BN;
    as[ar][ak] = i0 + ar < M && k0 + ak < K ? a[(i0 + ar) * K + k0 + ak] : 0;
    bs[bk][bc] = k0 + bk < K && j0 + bc < N ? b[(k0 + bk) * N + j0 + bc] : 0;
    __syncthreads();
#pragma unroll
    for (int k = 0; k < BK; ++k) {
      const float y = bs[k][column];
#pragma unroll
      for (int i = 0; i < TM; ++i) sum[i] += as[row + i][k] * y;  // one word for the whole warp
    }
    __syncthreads();
  }
#pragma unroll
  for (int i = 0; i < TM; ++i)
    if (i0 + row + i < M && j0 + column < N) c[(i0 + row + i) * N + j0 + column] = sum[i];
}

void gemm(int64_t M, int64_t N, int64_t K, const float* a, const float* b, float* c) {
  if (M == 0 || N == 0) return;
  launch(column_in_registers, dim3(ceil_div(N, BN), ceil_div(M, BM)), THREADS, 0, nullptr, M, N, K, a, b, c);
}
