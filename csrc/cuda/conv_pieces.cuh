// conv2d on tensor cores, for sm_80 and up: the implicit product of conv2d.cu, of bfloat16 pieces. Threads gather
// float32 numbers, as the kernel of CUDA cores does, split them in registers, and lay the pieces where tensor cores
// read them; nothing is packed before. A number that does not fit into pieces sets a word, and then the kernel of CUDA
// cores, which else leaves at once, computes the whole convolution again.
//
// It is the gathering that limits `medium`: each number costs a thread as much as 30 to 60 products. Where the channels
// of x lie in order and their number is a multiple of 4, four come with one load.
#pragma once
#include "convolution.cuh"
#include "mma.cuh"

namespace nnfast {
namespace {

struct PieceConvolution {
  Convolution<float> c;
  int pieces;
  bool filter;  // rows are taps
  bool four;    // four depths that follow each other are neighbours in x, at a multiple of 16 bytes
  unsigned* unfit;
};

// ROWS x STEP numbers on their way to a stage, four depths of a row in a unit.
template <int ROWS, int THREADS>
struct Units {
  static constexpr int EACH = ROWS * STEP / 4 / THREADS;
  float kept[EACH][4];

  // k_first: neighbouring threads take neighbours in depth, else neighbouring rows.
  static __device__ int row(int i, bool k_first) {
    const int n = i * THREADS + threadIdx.x;
    return k_first ? n / (STEP / 4) : n % ROWS;
  }
  static __device__ int depth(int i, bool k_first) {
    const int n = i * THREADS + threadIdx.x;
    return (k_first ? n % (STEP / 4) : n / ROWS) * 4;
  }
  // As pieces to [piece][ROWS][STEP]. Do all fit?
  __device__ bool leave(uint16_t* to, bool k_first, int pieces) {
    bool fits = true;
#pragma unroll
    for (int i = 0; i < EACH; ++i)
#pragma unroll
      for (int j = 0; j < 4; ++j) fits = fits && fits_pieces(kept[i][j], pieces);
#pragma unroll 1
    for (int piece = 0; piece < pieces; ++piece, to += ROWS * STEP)
#pragma unroll
      for (int i = 0; i < EACH; ++i) {
        const int k = depth(i, k_first);
        Several<unsigned, 2> words;
        words.v[0] = take_pieces(kept[i][0], kept[i][1]);
        words.v[1] = take_pieces(kept[i][2], kept[i][3]);
        store<2>(reinterpret_cast<unsigned*>(to + in_stage(row(i, k_first), k / 8) + k % 8), words);
      }
    return fits;
  }
};

template <int BM, int BN>
__global__ void __launch_bounds__(2 * BN) conv_pieces(const __grid_constant__ PieceConvolution q) {
#ifdef TENSOR_CORES
  using Part = Fragments<BM, BN, BM == 64>;
  constexpr int THREADS = Part::THREADS;
  using UnitsA = Units<BM, THREADS>;
  using UnitsB = Units<BN, THREADS>;
  DYNAMIC_SHARED(uint16_t, room);  // two stages; in the end, sums on their way out
  __shared__ Place rows[BM], depths[2][STEP];

  const Convolution<float>& p = q.c;
  const int t = threadIdx.x, stage = q.pieces * (BM + BN) * STEP;
  const int64_t M = q.filter ? p.taps() : p.pixels(), K = q.filter ? p.pixels() : p.taps();
  const unsigned column_tiles = static_cast<unsigned>(ceil_div(p.O, BN));
  const int64_t i0 = int64_t{blockIdx.x / column_tiles} * BM, j0 = int64_t{blockIdx.x % column_tiles} * BN;
  const int64_t k_begin = blockIdx.y * p.per_split, k_end = k_begin + p.per_split < K ? k_begin + p.per_split : K;
  const int64_t out_step = q.filter ? p.wo : p.yo, other_step = q.filter ? p.yo : p.wo;
  const bool a_k_first = (p.xc == 1) != q.filter, b_k_first = other_step != 1;  // depths lie in order
  bool fits = true;

  for (int i = t; i < BM; i += THREADS) {
    const Place place = place_of_row(p, q.filter, i0 + i, M);
    rows[i] = place;
  }
  __syncthreads();
  Place mine[UnitsA::EACH];
#pragma unroll
  for (int i = 0; i < UnitsA::EACH; ++i) mine[i] = rows[UnitsA::row(i, a_k_first)];

  for (int64_t g = blockIdx.z; g < p.groups; g += gridDim.z) {
    const float *x = p.x + g * p.x_group, *other = p.other + g * p.other_group + j0 * other_step;
    UnitsA a;
    UnitsB b;
    Part part;
    part.clear();

    // The warps take turns with the places of the next depths: their divisions cost as much as many products.
    const auto look_up = [&](int64_t k, int to) {
      if ((k / STEP) % (THREADS / WARP) == t / WARP)
        depths[to][t % WARP] = place_of_depth(p, q.filter, k + t % WARP, k_end);
    };
    const auto lies_inside = [&](const Place& row, const Place& d) {
      return static_cast<unsigned>(row.h + d.h) < static_cast<unsigned>(p.H) &&
             static_cast<unsigned>(row.w + d.w) < static_cast<unsigned>(p.W);
    };
    const auto fetch = [&](const Place* depth) {
#pragma unroll
      for (int i = 0; i < UnitsA::EACH; ++i) {
        const Place* first = depth + UnitsA::depth(i, a_k_first);
        if (q.four) {
          Several<float, 4> v{};
          if (lies_inside(mine[i], *first)) v = load<4>(x + mine[i].at + first->at);
#pragma unroll
          for (int j = 0; j < 4; ++j) a.kept[i][j] = v.v[j];
        } else {
#pragma unroll
          for (int j = 0; j < 4; ++j)
            a.kept[i][j] = lies_inside(mine[i], first[j]) ? x[mine[i].at + first[j].at] : 0.0f;
        }
      }
#pragma unroll
      for (int i = 0; i < UnitsB::EACH; ++i) {
        const Place* first = depth + UnitsB::depth(i, b_k_first);
        const int column = UnitsB::row(i, b_k_first);
#pragma unroll
        for (int j = 0; j < 4; ++j)
          b.kept[i][j] =
              first[j].h != NOWHERE && column < p.O - j0 ? other[first[j].other + column * other_step] : 0.0f;
      }
    };
    // In each round a step is multiplied and the next one gathered; in the first there is nothing to multiply yet.
    int now = 1;
#pragma unroll 1
    for (int64_t k = k_begin - STEP; k < k_end; k += STEP, now ^= 1) {
      uint16_t *as = room + now * stage, *bs = as + q.pieces * BM * STEP;
      if (k >= k_begin) {
        fits = a.leave(as, a_k_first, q.pieces) && fits;
        fits = b.leave(bs, b_k_first, q.pieces) && fits;
      }
      if (k + STEP < k_end) look_up(k + STEP, now ^ 1);
      __syncthreads();  // two stages: the one that is filled next was last read before this barrier
      if (k + STEP < k_end) fetch(depths[now ^ 1]);
      if (k >= k_begin) part.add(as, bs, q.pieces);
      if ((k - k_begin) % 128 == 128 - STEP) part.move();
    }
    __syncthreads();
    float* sums = reinterpret_cast<float*>(room);
    part.leave(sums);
    __syncthreads();
#pragma unroll 1
    for (int n = t; n < BM * BN; n += THREADS) {
      const int i = out_step == 1 ? n / BN : n % BM, j = out_step == 1 ? n % BN : n / BM;
      if (i0 + i < M && j0 + j < p.O)
        put_sum(p, sums[staged<BN>(i, j)], g, M, i0 + i, j0 + j, rows[i].other + (j0 + j) * out_step);
    }
    __syncthreads();  // the next group begins with the same room
  }
  if (!fits) atomicExch(q.unfit, 1u);
#endif
}

// Tensor cores pay for convolutions of more than 1e8 multiplications (two more launches) that fill half a tile: a guess
// by data sheets, not measured. Six products have no room for two stages of 128 x 128 on every GPU.
struct PieceChoice {
  int pieces = 0;
  int64_t side = 0, splits = 0, per_split = 0;

  PieceChoice() = default;
  PieceChoice(int64_t M, int64_t N, int64_t K, int64_t groups, Precision precision) {
    if (M * N * K * groups == 0) return;
    const bool pays = M >= 32 && N >= 32 && K >= 32 && M * N >= (int64_t{1} << 27) / K / groups;
    pieces = pieces_for(precision, pays);
    if (pieces == 0) return;
    const bool large = pieces < 3 && M > 64 && N > 64 && ceil_div(M, 128) * ceil_div(N, 128) * groups >= 96;
    side = large ? 128 : 64;
    const int64_t wanted = 264 / (ceil_div(M, side) * ceil_div(N, side) * groups);
    splits = wanted < K / 256 ? wanted : K / 256;
    if (splits < 1) splits = 1;
    per_split = ceil_div(ceil_div(K, splits), STEP) * STEP;
    splits = ceil_div(K, per_split);
  }
};

// p has its splits and its parts.
void start_pieces(const Convolution<float>& p, bool filter, const PieceChoice& how, unsigned* unfit) {
  PieceConvolution q{p, how.pieces, filter, false, unfit};
  const int64_t strides[] = {p.C, p.xn, p.xh, p.xw};
  q.four = !filter && p.xc == 1 && aligned(p.x);
  for (const int64_t stride : strides) q.four = q.four && stride % 4 == 0;
  launch(clear_word, 1, 1, 0, stream(), unfit);
  const int64_t M = filter ? p.taps() : p.pixels();
  const auto start = [&](auto kernel, unsigned threads) {
    const int64_t stages = 2 * how.pieces * 2 * how.side * STEP * 2, sums = how.side * how.side * 4;
    launch(kernel,
           dim3(static_cast<unsigned>(ceil_div(M, how.side) * ceil_div(p.O, how.side)),
                static_cast<unsigned>(how.splits), static_cast<unsigned>(p.groups < 65535 ? p.groups : 65535)),
           threads, static_cast<size_t>(stages > sums ? stages : sums), stream(), q);
  };
  if (how.side == 128)
    start(conv_pieces<128, 128>, 256);
  else
    start(conv_pieces<64, 64>, 128);
}

}  // namespace
}  // namespace nnfast
