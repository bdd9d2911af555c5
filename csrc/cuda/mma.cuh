// The inner loop of products of bfloat16 pieces on tensor cores: a stage of both operands in shared memory, the part of
// a block's tile that a warp adds up in registers.
#pragma once
#include "pieces.cuh"
#include "ptx.cuh"

#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 800
#define TENSOR_CORES 1  // else kernels that need them are empty, so that they cost no room
#endif

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

// Stages in shared memory: as many as fit into the 99 KB that every GPU with these instructions has.
__host__ __device__ inline int stages_of(int pieces) { return 5 - pieces; }
template <int BM, int BN>
size_t stages_bytes(int pieces) {
  const int stages = stages_of(pieces) * pieces * (BM + BN) * STEP * 2, sums = BM * BN * 4;
  return static_cast<size_t>(stages > sums ? stages : sums);
}

// The multiply kernel of planes for sm_80 and up: stages come by cp.async while earlier ones are multiplied.
template <int BM, int BN, bool SEPARATE>
__global__ void __launch_bounds__(2 * BN) multiply_pieces(const __grid_constant__ PieceProduct p) {
#ifdef TENSOR_CORES
  using Part = Fragments<BM, BN, SEPARATE>;
  DYNAMIC_SHARED(uint16_t, room);  // stages; in the end, sums on their way out
  if (p.y.is_other_kernels()) return;
  const int t = threadIdx.x, stages = stages_of(p.pieces), stage = p.pieces * (BM + BN) * STEP;
  const int64_t row_tiles = ceil_div(p.y.M, BM);
  const int64_t split = blockIdx.y, i0 = blockIdx.x % row_tiles * BM, j0 = blockIdx.x / row_tiles * BN;
  const int64_t k_begin = split * p.y.k_per_split;
  const int64_t k_end = k_begin + p.y.k_per_split < p.depth ? k_begin + p.y.k_per_split : p.depth;
  const int steps = static_cast<int>((k_end - k_begin) / STEP);

  for (int64_t z = blockIdx.z; z < p.y.batch.size; z += gridDim.z) {
    int64_t at[3];
    p.y.batch.at(z, at);
    const uint16_t* a = p.a + (at[1] * p.rows + i0) * p.depth + k_begin;
    const uint16_t* b = p.b + (at[2] * p.columns + j0) * p.depth + k_begin;
    Part part;
    part.clear();

    int next = 0, slot = 0;
    const auto fetch = [&] {
      if (next < steps) {
        uint16_t* to = room + slot * stage;
#pragma unroll 1
        for (int piece = 0; piece < p.pieces; ++piece, to += BM * STEP)
#pragma unroll
          for (int i = 0; i < BM * STEP / 8 / Part::THREADS; ++i) {
            const int n = i * Part::THREADS + t;
            cp_async16(to + in_stage(n / 4, n % 4), a + piece * p.a_plane + n / 4 * p.depth + next * STEP + n % 4 * 8);
          }
#pragma unroll 1
        for (int piece = 0; piece < p.pieces; ++piece, to += BN * STEP)
#pragma unroll
          for (int i = 0; i < BN * STEP / 8 / Part::THREADS; ++i) {
            const int n = i * Part::THREADS + t;
            cp_async16(to + in_stage(n / 4, n % 4), b + piece * p.b_plane + n / 4 * p.depth + next * STEP + n % 4 * 8);
          }
      }
      cp_async_commit();  // a group for each step, an empty one behind the last
      ++next;
      slot = slot + 1 < stages ? slot + 1 : 0;
    };
    for (int i = 0; i < stages - 1; ++i) fetch();
    for (int step = 0, now = 0; step < steps; ++step, now = now + 1 < stages ? now + 1 : 0) {
      if (stages == 4)  // the stage of this step is here
        cp_async_wait<2>();
      else if (stages == 3)
        cp_async_wait<1>();
      else
        cp_async_wait<0>();
      __syncthreads();  // for all threads; and nobody reads the stage that is filled next
      fetch();
      part.add(room + now * stage, room + now * stage + p.pieces * BM * STEP, p.pieces);
      if (step % (128 / STEP) == 128 / STEP - 1) part.move();
    }
    cp_async_wait<0>();
    __syncthreads();
    float* sums = reinterpret_cast<float*>(room);
    part.leave(sums);
    __syncthreads();
    put_staged<BM, BN, Part::THREADS>(p.y, sums, split, z, at[0], i0, j0);
    __syncthreads();  // the next product of the batch begins with the same room
  }
#endif
}

}  // namespace
}  // namespace nnfast
