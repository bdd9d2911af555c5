// gemm on CUDA cores: y[M,N] = finish(a[M,K] * b[K,N]). A block computes a tile of y, a thread a small tile in
// registers; tiles of a and b pass through shared memory, the next one loaded while the present one is used. Any
// strides: threads load along whichever dimension lies in order. Where y is small and K long, blocks share the k of a
// tile, and a second kernel adds their parts in a fixed order. y overlaps nothing but, with beta, itself.
#include "product.cuh"

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
    if (k_begin < k_end) fetch(k_begin);
    int now = 0;
    for (int64_t k = k_begin; k < k_end; k += BK, now ^= 1) {
      tile_a.store(as[now], p.a_col == 1);
      tile_b.store(bs[now], p.b_row == 1);
      __syncthreads();  // two buffers: the one that is filled next was last read before this barrier
      if (k + BK < k_end) fetch(k + BK);
      sums.add(as[now], bs[now]);
    }
    __syncthreads();  // the next product of the batch begins with the same buffer

#pragma unroll
    for (int i = 0; i < TM; ++i)
#pragma unroll
      for (int j = 0; j < TN; ++j) p.put(sums.sum[i][j], split, z, at[0], i0 + Corner::row(i), j0 + Corner::column(j));
  }
}

struct Shape {
  int64_t M, N, K, batch;
  int64_t bm, bn;  // the block's tile
  int64_t splits, k_per_split;

  Shape(const View& a, const View& y)
      : M(y.shape[y.ndim - 2]), N(y.shape[y.ndim - 1]), K(a.shape[a.ndim - 1]), batch(batch_of(y).size()) {
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
  size_t scratch(DType dtype) const {
    return splits > 1 ? static_cast<size_t>(splits * batch * M * N * size_of(dtype)) : 0;
  }
};

template <class T>
void run(const Shape& s, Product<T>& p) {
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
  if (s.splits > 1) launch(add_parts<T>, blocks_for(s.batch * s.M * s.N, 256, 132 * 16), 256, 0, stream(), p);
}

template <class T>
Product<T> product_of(const Shape& s, const View& a, const View& b, const View& y, void* parts) {
  Product<T> p{};
  p.a = a.as<T>(), p.b = b.as<T>(), p.y = y.as<T>();
  p.M = s.M, p.N = s.N, p.K = s.K;
  p.a_row = a.stride[a.ndim - 2], p.a_col = a.stride[a.ndim - 1];
  p.b_row = b.stride[b.ndim - 2], p.b_col = b.stride[b.ndim - 1];
  p.y_row = y.stride[y.ndim - 2], p.y_col = y.stride[y.ndim - 1];
  p.batch = walk_over(batch_of(y), batch_of(a), batch_of(b));
  p.splits = s.splits, p.k_per_split = s.k_per_split;
  p.parts = static_cast<T*>(parts);
  return p;
}
}  // namespace

size_t gemm_scratch(const View& a, const View&, const View& y) { return Shape(a, y).scratch(y.dtype); }
size_t gemm_kept(const View&, const View&, const View&) { return 0; }  // strides are met where tiles are loaded

void gemm(const View& a, const View& b, const View& bias, double alpha, double beta, Activation activation,
          double slope, Precision, const View& y, void* scratch, KeptPanels*) {
  if (y.size() == 0) return;
  const Shape s(a, y);
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
    run(s, p);
  });
}

// The sum of d over its rows, for which `reduce` has its own scratch behind that of the product.
static size_t product_scratch(const View& a, const View& d) { return (Shape(a, d).scratch(d.dtype) + 255) / 256 * 256; }
size_t gemm_gradient_scratch(const View& a, const View&, const View& d) {
  return product_scratch(a, d) + reduce_scratch(d, 1, Reduction::sum);
}

void gemm_gradient(const View& a, const View& b, const View& y, Activation activation, double slope, Precision,
                   const View& d, const View& sum, void* scratch) {
  const Shape s(a, d);
  if (d.size() > 0)
    visit_float(d.dtype, [&](auto tag) {
      using T = typename decltype(tag)::type;
      Product<T> p = product_of<T>(s, a, b, d, scratch);
      p.finish = {T(1), T(0), T(slope), activation, nullptr, 0, nullptr, 0, 0};
      p.finish.activation = y.given() ? activation : Activation::linear;
      if (y.given()) p.finish.at = y.as<T>(), p.finish.at_row = y.stride[0], p.finish.at_col = y.stride[1];
      run(s, p);
    });
  if (sum.given()) reduce(d, 1, Reduction::sum, sum, static_cast<char*>(scratch) + product_scratch(a, d));
}

}  // namespace nnfast
