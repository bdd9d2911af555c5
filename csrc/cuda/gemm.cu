// gemm on CUDA cores: y[M,N] = finish(a[M,K] * b[K,N]). A block computes a tile of y, a thread a small tile in
// registers; tiles of a and b pass through shared memory, the next one loaded while the present one is used. Any
// strides: threads load along whichever dimension lies in order. Where y is small and K long, blocks share the k of a
// tile, and a second kernel adds their parts in a fixed order. y overlaps nothing but, with beta, itself. Large
// products of `high` and `medium` are made by tensor cores, of pieces (pieces.cuh, gemm_pieces.cuh).
#include <atomic>
#include <cstdlib>
#include <cstring>

#include "gemm_pieces.cuh"

namespace nnfast {
namespace {

// BM x BN: the block's tile, TM x TN: a thread's.
template <class T, int BM, int BN, int BK, int TM, int TN>
__global__ void __launch_bounds__(BM / TM * BN / TN) gemm_kernel(Product<T> p) {
  using Corner = Sums<T, BM, BN, BK, TM, TN>;
  using TileA = Tile<T, BM, BK, Corner::THREADS>;
  using TileB = Tile<T, BN, BK, Corner::THREADS>;
  __shared__ __align__(16) T as[2][BK][TileA::LINE];
  __shared__ __align__(16) T bs[2][BK][TileB::LINE];

  if (p.is_other_kernels()) return;
  const int64_t row_tiles = ceil_div(p.M, BM);
  const int64_t split = blockIdx.y, i0 = blockIdx.x % row_tiles * BM, j0 = blockIdx.x / row_tiles * BN;
  const int64_t k_begin = split * p.k_per_split;
  const int64_t k_end = k_begin + p.k_per_split < p.K ? k_begin + p.k_per_split : p.K;

  for (int64_t z = blockIdx.z; z < p.batch.size; z += gridDim.z) {
    int64_t at[3];
    p.batch.at(z, at);
    const T* a = p.a + at[1] + i0 * p.a_row;
    const T* b = p.b + at[2] + j0 * p.b_col;
    TileA tile_a;
    TileB tile_b;
    Corner sums;
    sums.clear();

    const auto fetch = [&](int64_t k) {
      tile_a.load(a + k * p.a_col, p.a_row, p.a_col, p.M - i0, k_end - k);
      tile_b.load(b + k * p.b_row, p.b_col, p.b_row, p.N - j0, k_end - k);
    };
    // In each round a tile is multiplied and the next one fetched; in the first there is nothing to multiply yet.
    int now = 1;
#pragma unroll 1
    for (int64_t k = k_begin - BK; k < k_end; k += BK, now ^= 1) {
      if (k >= k_begin) {
        tile_a.store(as[now], p.a_col == 1);
        tile_b.store(bs[now], p.b_row == 1);
      }
      __syncthreads();  // two buffers: the one that is filled next was last read before this barrier
      if (k + BK < k_end) fetch(k + BK);
      if (k >= k_begin) sums.add(as[now], bs[now]);
    }
    // Out through shared memory, a row of each thread at a time, so that neighbouring threads write neighbours; and
    // their code is there once, not once for each sum.
    constexpr int ROWS = BM / TM, APART = BM / (TM / Corner::GM);
    static_assert(sizeof as >= ROWS * (BN + 1) * sizeof(T));
    T* const room = &as[0][0][0];
    const bool down = p.y_row == 1 && p.splits == 1;
#pragma unroll 1
    for (int pass = 0; pass < TM; ++pass) {
      __syncthreads();
#pragma unroll
      for (int i = 0; i < TM; ++i)
#pragma unroll
        for (int j = 0; j < TN; ++j)
          if (i == pass) room[threadIdx.x / Corner::ACROSS * (BN + 1) + Corner::column(j)] = sums.sum[i][j];
      __syncthreads();
      const int64_t first = i0 + pass / Corner::GM * APART + pass % Corner::GM;
#pragma unroll 1
      for (int n = threadIdx.x; n < ROWS * BN; n += Corner::THREADS) {
        const int i = down ? n % ROWS : n / BN, j = down ? n / ROWS : n % BN;
        p.put(room[i * (BN + 1) + j], split, z, at[0], first + i * Corner::GM, j0 + j);
      }
    }
    __syncthreads();  // the next product of the batch begins with the same room
  }
}

// ---- which kernel ----
// Tensor cores want tiles of 128; where these are few, tiles of 64, which wgmma does not have. Splits as below, in
// parts of at least 256 k; one block fills a processor by wgmma, two otherwise.
struct PieceShape {
  int pieces;  // 0: none
  bool wgmma;
  int64_t side, splits, k_per_split;

  PieceShape(int64_t M, int64_t N, int64_t K, int64_t batch, int pieces_)
      : pieces(pieces_), wgmma(pieces_ > 0 && wgmma_is_used()) {
    const bool large = M > 64 && N > 64 && ceil_div(M, 128) * ceil_div(N, 128) * batch >= 96;
    side = large || wgmma ? 128 : 64;
    const int64_t blocks = ceil_div(M, side) * ceil_div(N, side) * batch;
    const int64_t wanted = blocks ? (wgmma ? 132 : 264) / blocks : 1;
    splits = wanted < K / 256 ? wanted : K / 256;
    if (splits < 1) splits = 1;
    k_per_split = padded(ceil_div(K, splits), PIECE_DEPTH);
    splits = K ? ceil_div(K, k_per_split) : 1;
  }
};

struct Shape {
  int64_t M, N, K, batch;
  int64_t bm, bn;  // the block's tile
  int64_t splits, k_per_split;
  PieceShape with_pieces;
  PieceRoom room;

  Shape(const View& a, const View& b, const View& y, Precision precision)
      : M(y.shape[y.ndim - 2]),
        N(y.shape[y.ndim - 1]),
        K(a.shape[a.ndim - 1]),
        batch(batch_of(y).size()),
        with_pieces(M, N, K, batch, pieces_of(y.dtype, precision)),
        room(a, b, with_pieces.pieces) {
    const bool large =
        y.dtype == DType::float32 && M >= 128 && N >= 128 && ceil_div(M, 128) * ceil_div(N, 128) * batch >= 96;
    const bool middle = M >= 48 && N >= 48;
    bm = bn = large ? 128 : middle ? 64 : 32;
    // Enough blocks for a large GPU, but parts of at least 128 k.
    const int64_t blocks = ceil_div(M, bm) * ceil_div(N, bn) * batch, wanted = blocks ? 264 / blocks : 1;
    splits = wanted < K / 128 ? wanted : K / 128;
    if (splits < 1) splits = 1;
    k_per_split = ceil_div(ceil_div(K, splits), 32) * 32;
    splits = K ? ceil_div(K, k_per_split) : 1;
  }
  size_t scratch(DType dtype) const {  // first what pieces need, then parts
    int64_t parts = splits > 1 ? splits : 0;
    if (room.pieces && with_pieces.splits > 1 && with_pieces.splits > parts) parts = with_pieces.splits;
    return room.end + static_cast<size_t>(parts * batch * M * N * size_of(dtype));
  }

 private:
  // Packing and the launches beside the product cost more than tensor cores save on small products. What is saved is
  // about 1e-13 s of each multiplication (14 TFLOP/s on CUDA cores against 200 on tensor cores, of an A100: 3 pieces
  // save 0.8, 1 piece 1.3); packing moves 8 bytes and more of each number at 1.5 TB/s, 5e-12 s; launches take 6e-6 s.
  // So M N K must be above 50 (M + N) K, and above 1e8. A model from data sheets: nothing of it was measured.
  int pieces_of(DType dtype, Precision precision) const {
    if (dtype != DType::float32 || M * N * K * batch == 0) return 0;
    const bool pays = K >= 64 && M * N >= 64 * (M + N) && M * N >= (int64_t{1} << 27) / K / batch;
    return pieces_for(precision, pays);
  }
};

template <class T>
void split_parts(const Shape& s, const Product<T>& p) {
  launch(add_parts<T>, blocks_for(s.batch * s.M * s.N, 256, 132 * 16), 256, 0, stream(), p);
}

// By tensor cores. If a number does not fit into pieces, `p` is told so, and its kernel computes the product.
void run_pieces(const Shape& s, const View& a, const View& b, const View& y, Product<float>& p, void* scratch) {
  const PieceShape& how = s.with_pieces;
  PieceProduct m = pack_pieces(a, b, p, y, s.room, static_cast<char*>(scratch));
  m.y.splits = how.splits, m.y.k_per_split = how.k_per_split;
  const auto start = [&](auto kernel, unsigned threads, size_t bytes) {
    launch(kernel,
           dim3(static_cast<unsigned>(ceil_div(s.M, how.side) * ceil_div(s.N, how.side)),
                static_cast<unsigned>(how.splits), static_cast<unsigned>(s.batch < 65535 ? s.batch : 65535)),
           threads, bytes, stream(), m);
  };
  if (how.wgmma)
    multiply_by_wgmma(&m);
  else if (how.side == 64)
    start(multiply_pieces<64, 64, true>, 128, stages_bytes<64, 64>(how.pieces));
  else if (how.pieces == 3)
    start(multiply_pieces<128, 128, true>, 256, stages_bytes<128, 128>(how.pieces));
  else
    start(multiply_pieces<128, 128, false>, 256, stages_bytes<128, 128>(how.pieces));
  if (how.splits > 1) split_parts(s, m.y);
  p.unfit = m.y.unfit, p.if_unfit = true;
}

template <class T>
void run(const Shape& s, const View& a, const View& b, const View& y, Product<T>& p, void* scratch) {
  if constexpr (sizeof(T) == 4)
    if (s.room.pieces) run_pieces(s, a, b, y, p, scratch);
  const auto start = [&](auto kernel, unsigned threads) {
    launch(kernel,
           dim3(static_cast<unsigned>(ceil_div(s.M, s.bm) * ceil_div(s.N, s.bn)), static_cast<unsigned>(s.splits),
                static_cast<unsigned>(s.batch < 65535 ? s.batch : 65535)),
           threads, 0, stream(), p);
  };
  if constexpr (sizeof(T) == 4)  // float64 has not the registers
    if (s.bm == 128) start(gemm_kernel<T, 128, 128, 8, 8, 8>, 256);
  if (s.bm == 64) start(gemm_kernel<T, 64, 64, 16, 4, 4>, 256);
  if (s.bm == 32) start(gemm_kernel<T, 32, 32, 32, 4, 2>, 128);
  if (s.splits > 1) split_parts(s, p);
}

template <class T>
Product<T> product_of(const Shape& s, const View& a, const View& b, const View& y, void* scratch) {
  Product<T> p{};
  p.a = a.as<T>(), p.b = b.as<T>(), p.y = y.as<T>();
  p.M = s.M, p.N = s.N, p.K = s.K;
  p.a_row = a.stride[a.ndim - 2], p.a_col = a.stride[a.ndim - 1];
  p.b_row = b.stride[b.ndim - 2], p.b_col = b.stride[b.ndim - 1];
  p.y_row = y.stride[y.ndim - 2], p.y_col = y.stride[y.ndim - 1];
  p.batch = walk_over(batch_of(y), batch_of(a), batch_of(b));
  p.splits = s.splits, p.k_per_split = s.k_per_split;
  p.parts = reinterpret_cast<T*>(static_cast<char*>(scratch) + s.room.end);
  return p;
}
}  // namespace

// ---- pieces or not ----
static bool is_set(const char* name) {
  const char* value = std::getenv(name);
  return value && std::strcmp(value, "1") == 0;
}
static std::atomic<PiecePath> piece_path{PiecePath::automatic};
void use_pieces(PiecePath path) { piece_path.store(path, std::memory_order_relaxed); }

// The code that the GPU in use runs may come from PTX of an older architecture, for which the kernels of tensor cores
// are empty, however new the GPU is.
static bool has_tensor_cores() {
  return compute_capability() >= 80 && architecture_of(multiply_pieces<64, 64, true>) >= 80;
}

// Six products are as good as float32, and faster by the model at Shape::pieces_of; until a GPU has shown that, they
// wait for NNFAST_CUDA_PIECES=1.
int pieces_for(Precision precision, bool pays) {
  static const bool six_wanted = is_set("NNFAST_CUDA_PIECES");
  const PiecePath path = piece_path.load(std::memory_order_relaxed);
  if (!pays && path == PiecePath::automatic) return 0;
  if (precision == Precision::highest && !six_wanted && path < PiecePath::always_six) return 0;
  if (!has_tensor_cores()) return 0;
  return precision == Precision::highest ? 3 : precision == Precision::high ? 2 : 1;
}
// wgmma was never run on a GPU, so it waits for NNFAST_WGMMA=1.
void (*multiply_by_wgmma)(const void* piece_product) = nullptr;
bool wgmma_is_used() {
  static const bool wanted = is_set("NNFAST_WGMMA");
  const bool forced = piece_path.load(std::memory_order_relaxed) == PiecePath::always_wgmma;
  return multiply_by_wgmma && (forced || wanted) && compute_capability() == 90 && has_tensor_cores();
}
int pieces_at(Precision precision) { return pieces_for(precision, true); }

size_t gemm_scratch(const View& a, const View& b, const View& y, Precision precision) {
  return Shape(a, b, y, precision).scratch(y.dtype);
}
size_t gemm_kept(const View&, const View&, const View&) { return 0; }  // strides are met where tiles are loaded

void gemm(const View& a, const View& b, const View& bias, double alpha, double beta, Activation activation,
          double slope, Precision precision, const View& y, void* scratch, KeptPanels*) {
  if (y.size() == 0) return;
  const Shape s(a, b, y, precision);
  visit_float(y.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    Product<T> p = product_of<T>(s, a, b, y, scratch);
    p.finish = {T(alpha),
                T(beta),
                T(slope),
                activation,
                bias.given() ? bias.as<T>() : nullptr,
                bias.given() ? bias.stride[0] : 0,
                nullptr,
                0,
                0};
    run(s, a, b, y, p, scratch);
  });
}

// The sum of d over its rows, for which `reduce` has its own scratch behind that of the product.
static size_t product_scratch(const Shape& s, const View& d) { return (s.scratch(d.dtype) + 255) / 256 * 256; }
size_t gemm_gradient_scratch(const View& a, const View& b, const View& d, Precision precision) {
  return product_scratch(Shape(a, b, d, precision), d) + reduce_scratch(d, 1, Reduction::sum);
}

void gemm_gradient(const View& a, const View& b, const View& y, Activation activation, double slope,
                   Precision precision, const View& d, const View& sum, void* scratch) {
  const Shape s(a, b, d, precision);
  if (d.size() > 0)
    visit_float(d.dtype, [&](auto tag) {
      using T = typename decltype(tag)::type;
      Product<T> p = product_of<T>(s, a, b, d, scratch);
      p.finish = {T(1), T(0), T(slope), activation, nullptr, 0, nullptr, 0, 0};
      p.finish.activation = y.given() ? activation : Activation::linear;
      if (y.given()) p.finish.at = y.as<T>(), p.finish.at_row = y.stride[0], p.finish.at_col = y.stride[1];
      run(s, a, b, d, p, scratch);
    });
  if (sum.given()) reduce(d, 1, Reduction::sum, sum, static_cast<char*>(scratch) + product_scratch(s, d));
}

}  // namespace nnfast
