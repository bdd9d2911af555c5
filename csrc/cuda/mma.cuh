// The inner loop of products of bfloat16 pieces on tensor cores: a stage of both operands in shared memory, the part of
// a block's tile that a warp adds up in registers.
#pragma once
#include "ptx.cuh"
#include "split.cuh"

namespace nnfast {
namespace {

constexpr int STEP = 32;  // k of a stage: [piece][row][STEP] of a, then of b
// Where 8 numbers of a row begin. The parts of a row are exchanged so that eight rows, at one k, meet all banks.
__device__ inline int in_stage(int row, int part) { return row * STEP + (part ^ (row >> 1 & 3)) * 8; }

// BM x BN sums of a block of two warps down and BN / 32 across, in fragments of 16 x 8. SEPARATE: sums move to others
// every 128 of k, since tensor cores round the sum of each step towards zero; that costs as many registers again.
template <int BM, int BN, bool SEPARATE>
struct Fragments {
  static constexpr int THREADS = 2 * BN, DOWN = BM / 2 / 16, ACROSS = 32 / 8;
  float sum[DOWN][ACROSS][4], total[SEPARATE ? DOWN : 1][ACROSS][4];

  static __device__ int row() { return threadIdx.x / WARP % 2 * (BM / 2); }
  static __device__ int column() { return threadIdx.x / WARP / 2 * 32; }

  __device__ void clear() {
#pragma unroll
    for (int n = 0; n < DOWN * ACROSS * 4; ++n) {
      sum[n / 4 / ACROSS][n / 4 % ACROSS][n % 4] = 0.0f;
      if constexpr (SEPARATE) total[n / 4 / ACROSS][n / 4 % ACROSS][n % 4] = 0.0f;
    }
  }
  __device__ void move() {  // after the step that ends 128 of k
    if constexpr (SEPARATE) {
#pragma unroll
      for (int n = 0; n < DOWN * ACROSS * 4; ++n) {
        total[n / 4 / ACROSS][n / 4 % ACROSS][n % 4] += sum[n / 4 / ACROSS][n / 4 % ACROSS][n % 4];
        sum[n / 4 / ACROSS][n / 4 % ACROSS][n % 4] = 0.0f;
      }
    }
  }
  // sum += a stage. Its loops over pieces are not unrolled: one kernel serves all precisions.
  __device__ void add(const uint16_t* a, const uint16_t* b, int pieces) {
    const int lane = threadIdx.x % WARP;
#pragma unroll
    for (int k = 0; k < STEP / 8; k += 2) {
#pragma unroll 1
      for (int i = 0; i < pieces; ++i) {
        unsigned x[DOWN][4];
#pragma unroll
        for (int m = 0; m < DOWN; ++m)
          ldmatrix_x4(x[m], a + i * (BM * STEP) + in_stage(row() + m * 16 + lane % 16, k + lane / 16));
#pragma unroll 1
        for (int j = 0; i + j < pieces; ++j) {
          unsigned y[ACROSS][2];
#pragma unroll
          for (int n = 0; n < ACROSS; n += 2) {
            unsigned two[4];
            ldmatrix_x4(two,
                        b + j * (BN * STEP) + in_stage(column() + n * 8 + lane / 16 * 8 + lane % 8, k + lane / 8 % 2));
            y[n][0] = two[0], y[n][1] = two[1], y[n + 1][0] = two[2], y[n + 1][1] = two[3];
          }
#pragma unroll
          for (int m = 0; m < DOWN; ++m)
#pragma unroll
            for (int n = 0; n < ACROSS; ++n) mma_m16n8k16_bf16(sum[m][n], x[m], y[n]);
        }
      }
    }
  }
  // All sums to shared memory, float[BM][BN], as `staged` says.
  __device__ void leave(float* room) {
    move();
    const int lane = threadIdx.x % WARP;
#pragma unroll
    for (int m = 0; m < DOWN; ++m)
#pragma unroll
      for (int n = 0; n < ACROSS; ++n)
#pragma unroll
        for (int i = 0; i < 4; ++i)
          room[staged<BN>(row() + m * 16 + i / 2 * 8 + lane / 4, column() + n * 8 + lane % 4 * 2 + i % 2)] =
              SEPARATE ? total[SEPARATE ? m : 0][n][i] : sum[m][n][i];
  }
};

}  // namespace
}  // namespace nnfast
