// conv2d on CUDA cores, as matrix products whose operand is gathered from the images while tiles are loaded (implicit
// GEMM). A result pixel and a tap of the filter each say where they lie in x, and an element lies at the sum of both;
// outside the image it is zero. Forward, pixels are the rows of the product and taps are summed; for the filter's
// gradient taps are the rows and pixels are summed. The gradient of x is a convolution for each remainder of row and
// column by the strides. Groups of few channels (depthwise) go through kernels of their own. Where results are few and
// sums long, blocks share a sum, and a last kernel adds their parts in a fixed order. Large convolutions of `high` and
// `medium` are made by tensor cores (conv_pieces.cuh; on Hopper GPUs conv_planes.cuh). Nothing overlaps.
#include <numeric>

#include "conv_pieces.cuh"
#include "conv_planes.cuh"

namespace nnfast {
namespace {

template <class T, int BM, int BN, int BK, int TM, int TN>
__global__ void __launch_bounds__(BM / TM * BN / TN) conv_kernel(Convolution<T> p) {
  using Corner = Sums<T, BM, BN, BK, TM, TN>;
  constexpr int THREADS = Corner::THREADS, GROUPS = TM / Corner::GM, STAGE = BM / GROUPS;  // rows written at once
  using TileA = Tile<T, BM, BK, THREADS>;
  using TileB = Tile<T, BN, BK, THREADS>;
  constexpr int TILES = 2 * BK * (TileA::LINE + TileB::LINE), STAGED = STAGE * (BN + 1);
  __shared__ __align__(16) T room[TILES > STAGED ? TILES : STAGED];  // tiles; in the end, sums on their way out
  __shared__ Place rows[BM], depths[2][BK];
  T(*const as)[BK][TileA::LINE] = reinterpret_cast<T(*)[BK][TileA::LINE]>(room);
  T(*const bs)[BK][TileB::LINE] = reinterpret_cast<T(*)[BK][TileB::LINE]>(room + 2 * BK * TileA::LINE);

  if (p.is_done()) return;
  const int t = threadIdx.x;
  const int64_t M = p.filter ? p.taps() : p.pixels(), K = p.filter ? p.pixels() : p.taps();
  const int64_t column_tiles = ceil_div(p.O, BN);
  const int64_t i0 = blockIdx.x / column_tiles * BM, j0 = blockIdx.x % column_tiles * BN;
  const int64_t k_begin = blockIdx.y * p.per_split, k_end = k_begin + p.per_split < K ? k_begin + p.per_split : K;
  const int64_t out_step = p.filter ? p.wo : p.yo, other_step = p.filter ? p.yo : p.wo;
  const bool a_k_first = (p.xc == 1) != p.filter, b_k_first = other_step != 1;  // depths lie in order

#pragma unroll 1
  for (int i = t; i < BM; i += THREADS) rows[i] = place_of_row(p, p.filter, i0 + i, M);
  __syncthreads();
  Place mine[TileA::EACH];
#pragma unroll
  for (int i = 0; i < TileA::EACH; ++i) mine[i] = rows[TileA::row(i, a_k_first)];

  for (int64_t g = blockIdx.z; g < p.groups; g += gridDim.z) {
    const T *x = p.x + g * p.x_group, *other = p.other + g * p.other_group + j0 * other_step;
    TileA tile_a;
    TileB tile_b;
    Corner sums;
    sums.clear();

    // The warps take turns with the places of the next depths: their divisions cost as much as many products.
    const auto look_up = [&](int64_t k, int to) {
      const int lane = t % WARP;
      if ((k / BK) % (THREADS / WARP) == t / WARP && lane < BK)
        depths[to][lane] = place_of_depth(p, p.filter, k + lane, k_end);
    };
    const auto fetch = [&](const Place* depth) {
#pragma unroll
      for (int i = 0; i < TileA::EACH; ++i) {
        const Place d = depth[TileA::depth(i, a_k_first)];
        const bool inside = static_cast<unsigned>(mine[i].h + d.h) < static_cast<unsigned>(p.H) &&
                            static_cast<unsigned>(mine[i].w + d.w) < static_cast<unsigned>(p.W);
        tile_a.kept[i] = inside ? x[mine[i].at + d.at] : T(0);
      }
#pragma unroll
      for (int i = 0; i < TileB::EACH; ++i) {
        const Place d = depth[TileB::depth(i, b_k_first)];
        const int column = TileB::row(i, b_k_first);
        tile_b.kept[i] = d.h != NOWHERE && column < p.O - j0 ? other[d.other + column * other_step] : T(0);
      }
    };
    if (k_begin < k_end) look_up(k_begin, 0);
    __syncthreads();
    if (k_begin < k_end) fetch(depths[0]);
    int now = 0;
    for (int64_t k = k_begin; k < k_end; k += BK, now ^= 1) {
      tile_a.store(as[now], a_k_first);
      tile_b.store(bs[now], b_k_first);
      if (k + BK < k_end) look_up(k + BK, now ^ 1);
      __syncthreads();  // two buffers: the one that is filled next was last read before this barrier
      if (k + BK < k_end) fetch(depths[now ^ 1]);
      sums.add(as[now], bs[now]);
    }

    // Out through shared memory, so that neighbouring threads write neighbours, whichever dimension lies in order.
#pragma unroll
    for (int group = 0; group < GROUPS; ++group) {
      __syncthreads();
#pragma unroll
      for (int i = 0; i < Corner::GM; ++i)
#pragma unroll
        for (int j = 0; j < TN; ++j)
          room[(Corner::row(i) * (BN + 1)) + Corner::column(j)] = sums.sum[group * Corner::GM + i][j];
      __syncthreads();
#pragma unroll 1
      for (int n = t; n < STAGE * BN; n += THREADS) {
        const int i = out_step == 1 ? n / BN : n % STAGE, j = out_step == 1 ? n % BN : n / STAGE;
        const int64_t row = i0 + group * STAGE + i, column = j0 + j;
        if (row >= M || column >= p.O) continue;
        put_sum(p, room[i * (BN + 1) + j], g, M, row, column, rows[group * STAGE + i].other + column * out_step);
      }
    }
    __syncthreads();  // the next group begins with the same buffers
  }
}

// out = finish(the sum of the parts, in their order).
template <class T>
__global__ void __launch_bounds__(256) add_parts(Convolution<T> p) {
  if (p.is_done()) return;
  const int64_t M = p.filter ? p.taps() : p.pixels(), all = p.groups * M * p.O;
#pragma unroll 1
  for (int64_t n = global_thread(); n < all; n += all_threads()) {
    const int64_t line = p.by_O.of(n), g = divide(line, M), row = line - g * M, column = n - line * p.O;
    T sum = 0;
#pragma unroll 4
    for (int64_t s = 0; s < p.splits; ++s) sum += p.parts[s * all + n];
    p.out[g * p.out_group + place_of_row(p, p.filter, row, M).other + column * (p.filter ? p.wo : p.yo)] =
        p.finish(sum, nullptr, row, g * p.O + column);
  }
}

// ---- groups of few channels: a thread makes one result, or WIDTH neighbouring channels that are groups of one ----
// Where place h of the results meets tap a in x along an axis, or -1.
template <class T>
__device__ inline int64_t meets(const Convolution<T>& p, int axis, int64_t i, int64_t a) {
  const int64_t place = i * p.step[axis] + p.from[axis] + a * p.reach[axis];
  if (place < 0) return -1;
  const int64_t h = p.by_over[axis].of(place);
  return h * p.over[axis] == place && h < (axis == 0 ? p.H : p.W) ? h : -1;
}

template <class T, int WIDTH>
__global__ void __launch_bounds__(256) direct_kernel(Convolution<T> p, Divider by_packs) {
  const int64_t channels = p.groups * p.O, items = p.pixels() * (channels / WIDTH);
#pragma unroll 1
  for (int64_t item = global_thread(); item < items; item += all_threads()) {
    int64_t rest = item;
    const auto part = [&](const Divider& size) {
      const int64_t whole = size.of(rest), index = rest - whole * size;
      rest = whole;
      return index;
    };
    const bool last = p.yo == 1;  // channels lie in order
    int64_t channel = last ? part(by_packs) * WIDTH : 0;
    const int64_t j = part(p.by_J), i = part(p.by_I);
    if (!last) channel = part(p.by_channels);
    const int64_t n = rest, g = p.by_O.of(channel), o = channel - g * p.O;
    const T *x = p.x + n * p.xn + g * p.x_group, *w = p.other + g * p.other_group + o * p.wo;
    Several<T, WIDTH> sum{};
#pragma unroll 1
    for (int64_t a = 0; a < p.A; ++a) {
      const int64_t h = meets(p, 0, i, a);
      if (h < 0) continue;
#pragma unroll 1
      for (int64_t b = 0; b < p.B; ++b) {
        const int64_t v = meets(p, 1, j, b);
        if (v < 0) continue;
        const T *from = x + h * p.xh + v * p.xw, *tap = w + a * p.wa + b * p.wb;
        for (int64_t c = 0; c < p.C; ++c) {
          const auto in = load<WIDTH>(from + c * p.xc), factor = load<WIDTH>(tap + c * p.wc);
#pragma unroll
          for (int k = 0; k < WIDTH; ++k) sum.v[k] += in.v[k] * factor.v[k];
        }
      }
    }
#pragma unroll
    for (int k = 0; k < WIDTH; ++k) sum.v[k] = p.finish(sum.v[k], nullptr, 0, channel + k);
    store<WIDTH>(p.out + n * p.yn + i * p.yi + j * p.yj + channel * p.yo, sum);
  }
}

// The gradient of such filters. A block sums one tap of some channels: where channels lie in order, neighbouring
// threads take 32 of them and a warp a line of pixels; else a warp takes one channel, its threads the pixels of a line.
constexpr int DIRECT_THREADS = 256;
__host__ __device__ inline int direct_channels(bool in_order) { return in_order ? WARP : DIRECT_THREADS / WARP; }
template <class T>
__global__ void __launch_bounds__(DIRECT_THREADS) direct_filter_kernel(Convolution<T> p) {
  __shared__ T sums[DIRECT_THREADS];
  const bool in_order = p.yo == 1;
  const int each = direct_channels(in_order), lanes = DIRECT_THREADS / each;
  const int mine = in_order ? threadIdx.x % each : threadIdx.x / lanes;
  const int lane = in_order ? threadIdx.x / each : threadIdx.x % lanes;
  const int64_t channels = p.groups * p.O, lines = p.n * p.I, tiles = ceil_div(channels, each);
  const int64_t begin = blockIdx.y * p.per_split, end = begin + p.per_split < lines ? begin + p.per_split : lines;
  for (int64_t block = blockIdx.x; block < tiles * p.taps(); block += gridDim.x) {
    const int64_t tap = divide(block, tiles), channel = (block - tap * tiles) * each + mine;
    const int64_t ab = p.by_C.of(tap), a = p.by_B.of(ab), c = tap - ab * p.C, b = ab - a * p.B;
    const int64_t g = p.by_O.of(channel), o = channel - g * p.O;
    T sum = 0;
    if (channel < channels)
      for (int64_t line = begin + (in_order ? lane : 0); line < end; line += in_order ? lanes : 1) {
        const int64_t n = p.by_I.of(line), i = line - n * p.I, h = meets(p, 0, i, a);
        if (h < 0) continue;
        const T* x = p.x + g * p.x_group + n * p.xn + h * p.xh + c * p.xc;
        const T* dz = p.other + channel * p.yo + n * p.yn + i * p.yi;
        for (int64_t j = in_order ? 0 : lane; j < p.J; j += in_order ? 1 : lanes) {
          const int64_t v = j * p.step[1] + p.from[1] + b * p.reach[1];
          if (v >= 0 && v < p.W) sum += x[v * p.xw] * dz[j * p.yj];
        }
      }
    sums[lane * each + mine] = sum;
    __syncthreads();
    for (int half = lanes / 2; half > 0; half /= 2) {
      if (lane < half) sums[lane * each + mine] += sums[(lane + half) * each + mine];
      __syncthreads();
    }
    if (lane == 0 && channel < channels) {
      if (p.splits > 1)
        p.parts[((blockIdx.y * p.groups + g) * p.taps() + tap) * p.O + o] = sums[mine];
      else
        p.out[g * p.out_group + a * p.wa + b * p.wb + c * p.wc + o * p.wo] = sums[mine];
    }
    __syncthreads();
  }
}

// ---- which kernel ----
struct Choice {
  bool direct;
  int64_t bm, bn;  // the block's tile
  int64_t splits, per_split;
  PieceChoice with_pieces;
  PlaneChoice with_planes;  // instead, on Hopper GPUs
  size_t scratch;           // with pieces first comes the word `unfit`, then planes; then parts
};
constexpr size_t UNFIT_BYTES = 256;
constexpr int64_t BLOCKS = 264;  // enough for a large GPU

// Is it a matter for the direct kernels? Groups have few channels, or places are too large for 32 bits.
template <class T>
bool is_direct(const Convolution<T>& p) {
  int64_t far = p.H > p.W ? p.H : p.W;
  for (int d = 0; d < 2; ++d) {
    const int64_t last = (d == 0 ? p.I : p.J) * p.step[d], reach = (d == 0 ? p.A : p.B) * p.reach[d];
    const int64_t places[] = {last, p.from[d], reach, -p.from[d], -reach};
    for (const int64_t at : places) far = at > far ? at : far;
  }
  return (p.groups > 1 && (p.C < 8 || p.O < 8)) || far >= SMALL;
}

template <class T>
Choice choose(const Convolution<T>& p, Precision precision) {
  const bool filter = p.filter;
  const int64_t M = filter ? p.taps() : p.pixels(), K = filter ? p.pixels() : p.taps(), N = p.O;
  Choice c{};
  c.direct = is_direct(p) || p.over[0] * p.over[1] > 1;
  if (c.direct && !filter) {
    c.splits = 1;
    return c;
  }
  int64_t blocks, wanted, length, least;  // blocks without splits, with them; what is split, the least of a split
  if (c.direct) {
    length = p.n * p.I, least = 8;
    blocks = ceil_div(p.groups * p.O, direct_channels(p.yo == 1)) * p.taps(), wanted = 4 * BLOCKS;
  } else {
    const bool large = sizeof(T) == 4 && M >= 128 && N >= 96;  // float64 has not the registers
    c.bm = large && (filter || ceil_div(M, 128) * ceil_div(N, 128) * p.groups >= 96) ? 128 : 64;
    c.bn = c.bm == 128 ? 128 : sizeof(T) == 4 && N <= 32 ? 32 : 64;
    length = K, least = 128;
    blocks = ceil_div(M, c.bm) * ceil_div(N, c.bn) * p.groups, wanted = BLOCKS;
  }
  c.splits = blocks ? wanted / blocks : 1;
  if (c.splits > length / least) c.splits = length / least;
  if (c.splits < 1) c.splits = 1;
  c.per_split = ceil_div(ceil_div(length, c.splits), 32) * 32;
  if (c.direct) c.per_split = ceil_div(length, c.splits);
  c.splits = length ? ceil_div(length, c.per_split) : 1;
  if constexpr (sizeof(T) == 4)
    if (!c.direct) {
      c.with_pieces = PieceChoice(M, N, K, p.groups, precision);
      c.with_planes = PlaneChoice(p, c.with_pieces.pieces, precision);
    }
  const int64_t others = c.with_planes.pieces ? c.with_planes.splits : c.with_pieces.splits;
  const int64_t splits = c.splits > others ? c.splits : others;
  c.scratch = splits > 1 ? static_cast<size_t>(splits * p.groups * M * N) * sizeof(T) : 0;
  if (c.with_pieces.pieces) c.scratch += UNFIT_BYTES + c.with_planes.bytes();
  return c;
}

template <class T>
void run(Convolution<T> p, Precision precision, void* scratch) {
  const int64_t M = p.filter ? p.taps() : p.pixels(), results = p.groups * M * p.O;
  if (results == 0) return;
  const Choice c = choose(p, precision);
  p.set_dividers();
  p.parts = static_cast<T*>(scratch);
  const auto finish = [&] {
    if (p.splits > 1) launch(add_parts<T>, blocks_for(results, 256, 132 * 16), 256, 0, stream(), p);
  };
  if constexpr (sizeof(T) == 4)
    if (c.with_pieces.pieces) {
      auto* unfit = static_cast<unsigned*>(scratch);
      char* const planes = static_cast<char*>(scratch) + UNFIT_BYTES;
      p.parts = reinterpret_cast<T*>(planes + c.with_planes.bytes());
      if (c.with_planes.pieces) {
        p.splits = c.with_planes.splits, p.per_split = c.with_planes.per_split;
        const PlaneConvolution q{p, c.with_planes, unfit, planes};
        convolve_by_wgmma(&q);
      } else {
        p.splits = c.with_pieces.splits, p.per_split = c.with_pieces.per_split;
        start_pieces(p, p.filter, c.with_pieces, unfit);
      }
      finish();
      p.unfit = unfit;
    }
  p.splits = c.splits, p.per_split = c.per_split;
  const auto splits = static_cast<unsigned>(c.splits);
  if (c.direct && p.filter) {
    const int64_t blocks = ceil_div(p.groups * p.O, direct_channels(p.yo == 1)) * p.taps();
    launch(direct_filter_kernel<T>, dim3(blocks_for(blocks, 1), splits), DIRECT_THREADS, 0, stream(), p);
  } else if (c.direct) {
    constexpr int N = WIDE<T>;
    bool packs = p.C == 1 && p.O == 1 && p.yo == 1 && p.x_group == 1 && p.other_group == 1 && p.groups % N == 0;
    packs = packs && aligned(p.x) && aligned(p.other) && aligned(p.out);
    const int64_t strides[] = {p.xn, p.xh, p.xw, p.yn, p.yi, p.yj, p.wa, p.wb};
    for (const int64_t stride : strides) packs = packs && stride % N == 0;
    launch(packs ? direct_kernel<T, N> : direct_kernel<T, 1>, blocks_for(packs ? results / N : results, 256, 132 * 64),
           256, 0, stream(), p, Divider(p.groups * p.O / (packs ? N : 1)));
  } else {
    const auto start = [&](auto kernel, unsigned threads) {
      launch(kernel,
             dim3(static_cast<unsigned>(ceil_div(M, c.bm) * ceil_div(p.O, c.bn)), splits,
                  static_cast<unsigned>(p.groups < 65535 ? p.groups : 65535)),
             threads, 0, stream(), p);
    };
    if constexpr (sizeof(T) == 4)
      if (c.bm == 128) start(conv_kernel<T, 128, 128, 8, 8, 8>, 256);
    if (c.bm == 64 && c.bn == 64) start(conv_kernel<T, 64, 64, 16, 4, 4>, 256);
    if constexpr (sizeof(T) == 4)
      if (c.bn == 32) start(conv_kernel<T, 64, 32, 16, 4, 2>, 256);
  }
  finish();
}

// ---- the three ops as Convolutions ----
struct Images {  // sizes and strides of [N,H,W,C] in either format
  int64_t n, h, w, c, sn, sh, sw, sc;
  Images(const View& v, bool first) {
    const int at[] = {0, first ? 2 : 1, first ? 3 : 2, first ? 1 : 3};
    n = v.shape[at[0]], h = v.shape[at[1]], w = v.shape[at[2]], c = v.shape[at[3]];
    sn = v.stride[at[0]], sh = v.stride[at[1]], sw = v.stride[at[2]], sc = v.stride[at[3]];
  }
};

// Forward, from images x to images y, but for the arrays themselves.
template <class T>
Convolution<T> forward(const View& x_, const View& w, const Conv2d& how, const View& y_) {
  const Images x(x_, how.channels_first), y(y_, how.channels_first);
  Convolution<T> p{};
  p.n = y.n, p.I = y.h, p.J = y.w, p.groups = how.groups;
  p.A = w.shape[0], p.B = w.shape[1], p.C = w.shape[2], p.O = w.shape[3] / how.groups;
  for (int d = 0; d < 2; ++d)
    p.step[d] = how.stride[d], p.from[d] = -how.before[d], p.reach[d] = how.dilation[d], p.over[d] = 1;
  p.H = x.h, p.W = x.w, p.xn = x.sn, p.xh = x.sh, p.xw = x.sw, p.xc = x.sc;
  p.yn = y.sn, p.yi = y.sh, p.yj = y.sw, p.yo = y.sc;
  p.wa = w.stride[0], p.wb = w.stride[1], p.wc = w.stride[2], p.wo = w.stride[3];
  p.x_group = p.C * p.xc;
  p.finish.alpha = T(1), p.finish.activation = Activation::linear;
  return p;
}

// The gradient of x: fn(a convolution of dz) for each remainder of the row and column of x by the strides. Taps of one
// remainder meet rows of dz without gaps. Strides too large for that: one that divides as it goes.
template <class T, class F>
void for_input_gradients(const View& dz_, const View& w, const Conv2d& how, const View& dx_, const F& fn) {
  const Images dz(dz_, how.channels_first), dx(dx_, how.channels_first);
  Convolution<T> p = forward<T>(dz_, w, how, dx_);
  p.C = w.shape[3] / how.groups, p.O = w.shape[2];  // filters are summed, channels made
  p.wc = w.stride[3], p.wo = w.stride[2];
  p.x_group = p.C * p.xc, p.other_group = p.C * p.wc, p.out_group = p.O * p.yo;
  p.x = dz_.as<T>(), p.other = w.as<T>(), p.out = dx_.as<T>();
  for (int d = 0; d < 2; ++d)
    p.step[d] = 1, p.from[d] = how.before[d], p.reach[d] = -how.dilation[d], p.over[d] = how.stride[d];
  if (is_direct(p) || how.stride[0] * how.stride[1] > 64) return fn(p);

  const int64_t sizes[] = {dx.h, dx.w};
  for (int64_t row = 0; row < how.stride[0] && row < dx.h; ++row)
    for (int64_t column = 0; column < how.stride[1] && column < dx.w; ++column) {
      Convolution<T> q = p;
      const int64_t first[] = {row, column};
      int64_t* const count[] = {&q.A, &q.B};
      int64_t* const results[] = {&q.I, &q.J};
      int64_t* const tap_step[] = {&q.wa, &q.wb};
      for (int d = 0; d < 2; ++d) {
        const int64_t s = how.stride[d], between = s / std::gcd(s, how.dilation[d]);  // taps of one remainder
        int64_t tap = 0;                                                              // the first of them
        while (tap < between && (first[d] + how.before[d] - tap * how.dilation[d]) % s != 0) ++tap;
        q.other += tap < between && tap < *count[d] ? tap * *tap_step[d] : 0;
        q.from[d] = (first[d] + how.before[d] - tap * how.dilation[d]) / s;
        *count[d] = tap < between && tap < *count[d] ? ceil_div(*count[d] - tap, between) : 0;
        *results[d] = ceil_div(sizes[d] - first[d], s);
        *tap_step[d] *= between;
        q.reach[d] = -(between * how.dilation[d] / s), q.over[d] = 1;
      }
      q.out += row * q.yi + column * q.yj;
      q.yi *= how.stride[0], q.yj *= how.stride[1];
      fn(q);
    }
}
}  // namespace

void (*convolve_by_wgmma)(const void* plane_convolution) = nullptr;

size_t conv2d_scratch(const View& x, const View& w, const View&, const Conv2d& how, const View& y) {
  return visit_float(x.dtype, [&](auto tag) {
    return choose(forward<typename decltype(tag)::type>(x, w, how, y), how.precision).scratch;
  });
}

void conv2d(const View& x, const View& w, const View& bias, const Conv2d& how, Activation activation, double slope,
            const View& y, void* scratch) {
  visit_float(x.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    Convolution<T> p = forward<T>(x, w, how, y);
    p.x = x.as<T>(), p.other = w.as<T>(), p.out = y.as<T>();
    p.other_group = p.O * p.wo, p.out_group = p.O * p.yo;
    p.finish.activation = activation, p.finish.slope = T(slope);
    if (bias.given()) p.finish.bias = bias.as<T>(), p.finish.bias_step = bias.stride[0];
    run(p, how.precision, scratch);
  });
}

size_t conv2d_input_gradient_scratch(const View& dz, const View& w, const Conv2d& how, const View& dx) {
  return visit_float(dz.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    size_t most = 0;
    for_input_gradients<T>(dz, w, how, dx, [&](const Convolution<T>& p) {
      const size_t bytes = choose(p, how.precision).scratch;
      most = bytes > most ? bytes : most;
    });
    return most;
  });
}

void conv2d_input_gradient(const View& dz, const View& w, const Conv2d& how, const View& dx, void* scratch) {
  visit_float(dz.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    for_input_gradients<T>(dz, w, how, dx, [&](const Convolution<T>& p) { run(p, how.precision, scratch); });
  });
}

size_t conv2d_filter_gradient_scratch(const View& x, const View& dz, const Conv2d& how, const View& dw) {
  return visit_float(x.dtype, [&](auto tag) {
    auto p = forward<typename decltype(tag)::type>(x, dw, how, dz);
    p.filter = true;
    return choose(p, how.precision).scratch;
  });
}

void conv2d_filter_gradient(const View& x, const View& dz, const Conv2d& how, const View& dw, void* scratch) {
  visit_float(x.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    Convolution<T> p = forward<T>(x, dw, how, dz);
    p.x = x.as<T>(), p.other = dz.as<T>(), p.out = dw.as<T>();
    p.other_group = p.O * p.yo, p.out_group = p.O * p.wo;
    p.filter = true;
    run(p, how.precision, scratch);
  });
}

}  // namespace nnfast
