// Products of bfloat16 pieces on Hopper GPUs. One warpgroup copies tiles of the planes to shared memory by TMA, two
// multiply them there by wgmma, each 64 rows of a tile; mbarriers hand the stages of a ring to and fro. As many blocks
// as the GPU has processors take the tiles of y in turn, so that copies for the next tile come while the last one is
// written. What the rows of a are, a class says: those of a matrix (gemm_sm90.cu) or pixels of images
// (conv2d_sm90.cu). Never run on a GPU: it waits for NNFAST_WGMMA=1 (gemm.cu).
#pragma once
#include "piece_product.cuh"
#include "ptx_sm90.cuh"
#include "tensor_cores.h"

namespace nnfast {
namespace {

constexpr int BM = 128, DEPTH = 64;          // a block's tile has BM rows; a stage DEPTH of k, 128 bytes
constexpr int THREADS = 384, CONSUMERS = 2;  // warpgroups: one that copies, two that multiply
constexpr int WARPGROUP = 128, MOST_STAGES = 6;
constexpr int WIDTH = 32;  // columns of sums on their way out
constexpr int OUT_BYTES = CONSUMERS * 64 * WIDTH * 4, ROOM = 227 * 1024 - 256, ALIGNMENT = 1024;
constexpr int SEPARATE_STEPS = 128 / DEPTH;

// Stages in shared memory: a [piece][BM][DEPTH], then b [piece][columns][DEPTH], rows swizzled.
int stage_bytes(int pieces, int columns) { return pieces * (BM + columns) * DEPTH * 2; }

template <class Rows>
struct Sm90Product {
  PieceProduct p;
  Rows rows;
  int stages, plane_b;                             // plane_b: rows from piece to piece
  unsigned row_tiles, column_tiles, batch, items;  // items: tiles of all splits of all products of the batch
};

// Where an item lies. Tiles that run at one time share rows and columns, which then come from the cache: eight tiles
// down, then to the right.
struct TilePlace {
  unsigned split, z;
  int i0, j0, k0, steps;
  int64_t at[3];

  template <class Rows>
  __device__ TilePlace(const Sm90Product<Rows>& s, unsigned item, int columns) {
    constexpr unsigned DOWN = 8;
    const unsigned tiles = s.row_tiles * s.column_tiles, product = item / tiles, tile = item % tiles;
    const unsigned first = tile / (DOWN * s.column_tiles) * DOWN, within = tile - first * s.column_tiles;
    const unsigned height = min(DOWN, s.row_tiles - first);
    split = product / s.batch, z = product % s.batch;
    i0 = static_cast<int>(first + within % height) * BM, j0 = static_cast<int>(within / height) * columns;
    const int64_t begin = split * s.p.y.k_per_split;
    k0 = static_cast<int>(begin);
    steps = static_cast<int>(min(s.p.y.k_per_split, s.p.depth - begin) / DEPTH);
    s.p.y.batch.at(z, at);
  }
};

// A ring of stages as one side of it goes round.
struct Turn {
  int slot = 0;
  unsigned round = 0;

  __device__ void next(int stages) {
    if (++slot < stages) return;
    slot = 0;
    round ^= 1;
  }
};

template <int N>
__device__ inline void multiply_k16(float (&sum)[N / 2], uint64_t a, uint64_t b) {
  if constexpr (N == 256)
    wgmma_m64n256k16_bf16(sum, a, b);
  else
    wgmma_m64n128k16_bf16(sum, a, b);
}

// BN: columns of a tile. SEPARATE: sums move to others every 128 of k, since tensor cores round the sum of each step
// towards zero; that costs as many registers again. Rows: `start` gives what is remembered of a tile's first row, which
// `go_to` moves to a k and `copy` brings, BM rows of one piece; `line` says where a row begins in y.
template <int BN, bool SEPARATE, class Rows>
__global__ void __launch_bounds__(THREADS, 1)
    multiply_sm90(const __grid_constant__ TensorMap map_a, const __grid_constant__ TensorMap map_b,
                  const __grid_constant__ Sm90Product<Rows> s) {
  DYNAMIC_SHARED(unsigned char, room);
  __shared__ uint64_t full[MOST_STAGES], empty[MOST_STAGES];
  const PieceProduct& p = s.p;
  if (p.y.is_other_kernels()) return;
  unsigned char* const ring = room + (ALIGNMENT - shared_address(room) % ALIGNMENT) % ALIGNMENT;
  const int a_bytes = BM * DEPTH * 2, b_bytes = BN * DEPTH * 2, bytes = p.pieces * (a_bytes + b_bytes);
  const int group = __shfl_sync(~0u, threadIdx.x / WARPGROUP, 0), t = threadIdx.x % WARPGROUP;  // known to be alike
  if (threadIdx.x == 0) {
    for (int i = 0; i < s.stages; ++i) {
      mbarrier_init(&full[i], 1);
      mbarrier_init(&empty[i], CONSUMERS * WARPGROUP / WARP);  // a warp may be done with a stage before another
    }
    fence_mbarrier_init();
  }
  __syncthreads();
  Turn turn;

  if (group == CONSUMERS) {
    give_registers_back<40>();
    for (unsigned item = blockIdx.x; item < s.items && t == 0; item += gridDim.x) {
      const TilePlace at(s, item, BN);
      typename Rows::From from = s.rows.start(p, at);
      const int row_b = static_cast<int>(at.at[2] * p.columns) + at.j0;
      const int halves = p.columns - at.j0 < BN ? 1 : BN / 128;  // of a tile that the padding cuts, the first
#pragma unroll 1
      for (int step = 0; step < at.steps; ++step, turn.next(s.stages)) {
        unsigned char* const a = ring + turn.slot * bytes;
        unsigned char* const b = a + p.pieces * a_bytes;
        const int k = at.k0 + step * DEPTH;
        s.rows.go_to(from, k);
        mbarrier_wait(&empty[turn.slot], turn.round ^ 1);
        mbarrier_arrive_expect(&full[turn.slot], p.pieces * (a_bytes + halves * 128 * DEPTH * 2));
#pragma unroll 1
        for (int i = 0; i < p.pieces; ++i) {
          s.rows.copy(a + i * a_bytes, map_a, from, i, &full[turn.slot]);
          for (int h = 0; h < halves; ++h)
            tma_load(b + i * b_bytes + h * (128 * DEPTH * 2), map_b, k, i * s.plane_b + row_b + h * 128,
                     &full[turn.slot]);
        }
      }
    }
    return;
  }

  take_registers<232>();
  float* const out = reinterpret_cast<float*>(ring + s.stages * bytes) + group * (64 * WIDTH);
  for (unsigned item = blockIdx.x; item < s.items; item += gridDim.x) {
    const TilePlace at(s, item, BN);
    float sum[BN / 2], total[SEPARATE ? BN / 2 : 1];
#pragma unroll
    for (int n = 0; n < BN / 2; ++n) {
      sum[n] = 0.0f;
      if constexpr (SEPARATE) total[n] = 0.0f;
    }
    const auto move = [&] {
#pragma unroll
      for (int n = 0; n < BN / 2; ++n)
        if constexpr (SEPARATE) {
          total[n] += sum[n];
          sum[n] = 0.0f;
        }
    };
    for (int step = 0; step < at.steps; ++step, turn.next(s.stages)) {
      const unsigned char* const a = ring + turn.slot * bytes + group * (a_bytes / CONSUMERS);
      const unsigned char* const b = ring + turn.slot * bytes + p.pieces * a_bytes;
      mbarrier_wait(&full[turn.slot], turn.round);
#pragma unroll 1
      for (int i = 0, j = 0; i < p.pieces;) {  // all pieces for which i + j < pieces
        const uint64_t x = wgmma_operand(a + i * a_bytes), y = wgmma_operand(b + j * b_bytes);
        wgmma_fence(sum);
#pragma unroll
        for (int k = 0; k < DEPTH / 16; ++k) multiply_k16<BN>(sum, x + k * WGMMA_NEXT_K, y + k * WGMMA_NEXT_K);
        wgmma_commit();
        if (i + ++j == p.pieces) ++i, j = 0;
      }
      wgmma_wait(sum);
      if (t % WARP == 0) mbarrier_arrive(&empty[turn.slot]);
      if (step % SEPARATE_STEPS == SEPARATE_STEPS - 1) move();
    }
    move();
    const auto line = [&](int64_t row) { return s.rows.line(p.y, at.at[0], row); };
    // WIDTH columns at a time: registers cannot be chosen at run time, so each asks whether it is its turn.
#pragma unroll 1
    for (int part = 0; part < BN / WIDTH; ++part) {
#pragma unroll
      for (int n = 0; n < BN / 2; ++n)
        if (n / (WIDTH / 2) == part)
          out[staged<WIDTH>(t / WARP * 16 + n / 2 % 2 * 8 + t % WARP / 4, n / 4 % 4 * 8 + t % 4 * 2 + n % 2)] =
              SEPARATE ? total[SEPARATE ? n : 0] : sum[n];
      barrier_sync(1 + group, WARPGROUP);
      put_staged<64, WIDTH, WARPGROUP>(p.y, out, at.split, at.z, line, at.i0 + group * 64, at.j0 + part * WIDTH, t);
      barrier_sync(1 + group, WARPGROUP);
    }
  }
}

template <int BN, bool SEPARATE, class Rows>
void start(const PieceProduct& p, const Rows& rows, const TensorMap& map_a) {
  const auto count = [](int64_t n) { return static_cast<unsigned>(n); };
  Sm90Product<Rows> s{p,
                      rows,
                      0,
                      static_cast<int>(p.b_plane / p.depth),
                      count(ceil_div(p.y.M, BM)),
                      count(ceil_div(p.y.N, BN)),
                      count(p.y.batch.size),
                      0};
  s.items = s.row_tiles * s.column_tiles * s.batch * count(p.y.splits);
  const int bytes = stage_bytes(p.pieces, BN), most = (ROOM - OUT_BYTES - ALIGNMENT) / bytes;
  s.stages = most < MOST_STAGES ? most : MOST_STAGES;
  const TensorMap map_b = tensor_map(p.b, p.pieces * p.b_plane / p.depth, p.depth, p.depth * 2, 128);
  const unsigned processors = count(multiprocessors());
  launch(multiply_sm90<BN, SEPARATE, Rows>, processors < s.items ? processors : s.items, THREADS,
         static_cast<size_t>(s.stages * bytes + OUT_BYTES + ALIGNMENT), stream(), map_a, map_b, s);
}

// map_a: of boxes of 64 k by BM rows.
template <class Rows>
void multiply_by_rows(const PieceProduct& p, const Rows& rows, const TensorMap& map_a) {
  // Wide tiles take fewer bytes for each product; but three pieces leave no registers for them.
  const bool wide = p.y.N > 128 && ceil_div(p.y.M, BM) * ceil_div(p.y.N, 256) * p.y.batch.size >= multiprocessors();
  if (p.pieces == 3)
    start<128, true>(p, rows, map_a);
  else if (wide)
    start<256, false>(p, rows, map_a);
  else
    start<128, false>(p, rows, map_a);
}

}  // namespace
}  // namespace nnfast
