// The multiply kernel of planes (pieces.cuh) for sm_80 and up: stages come by cp.async while earlier ones are
// multiplied.
#pragma once
#include "mma.cuh"
#include "pieces.cuh"

namespace nnfast {
namespace {

// Stages in shared memory: as many as fit into the 99 KB that every GPU with these instructions has.
__host__ __device__ inline int stages_of(int pieces) { return 5 - pieces; }
template <int BM, int BN>
size_t stages_bytes(int pieces) {
  const int stages = stages_of(pieces) * pieces * (BM + BN) * STEP * 2, sums = BM * BN * 4;
  return static_cast<size_t>(stages > sums ? stages : sums);
}

template <int BM, int BN, bool SEPARATE>
__global__ void __launch_bounds__(2 * BN) multiply_pieces(const __grid_constant__ PieceProduct p) {
#ifdef TENSOR_CORES
  using Part = Fragments<BM, BN, SEPARATE>;
  DYNAMIC_SHARED(uint16_t, room);  // stages; in the end, sums on their way out
  if (p.y.is_other_kernels()) return;
  const int t = threadIdx.x, stages = stages_of(p.pieces), stage = p.pieces * (BM + BN) * STEP;
  const unsigned row_tiles = static_cast<unsigned>(ceil_div(p.y.M, BM));
  const int64_t split = blockIdx.y, i0 = int64_t{blockIdx.x % row_tiles} * BM,
                j0 = int64_t{blockIdx.x / row_tiles} * BN;
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
            cp_async16(to + in_stage(n / 4, n % 4),
                       a + piece * p.a_plane + n / 4 * p.depth + int64_t{next} * STEP + n % 4 * 8);
          }
#pragma unroll 1
        for (int piece = 0; piece < p.pieces; ++piece, to += BN * STEP)
#pragma unroll
          for (int i = 0; i < BN * STEP / 8 / Part::THREADS; ++i) {
            const int n = i * Part::THREADS + t;
            cp_async16(to + in_stage(n / 4, n % 4),
                       b + piece * p.b_plane + n / 4 * p.depth + int64_t{next} * STEP + n % 4 * 8);
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
    const auto line = [&](int64_t row) { return at[0] + row * p.y.y_row; };
    put_staged<BM, BN, Part::THREADS>(p.y, sums, split, z, line, i0, j0, t);
    __syncthreads();  // the next product of the batch begins with the same room
  }
#endif
}

}  // namespace
}  // namespace nnfast
