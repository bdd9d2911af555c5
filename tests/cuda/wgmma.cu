// The kernels of wgmma for lesson mode, called with sizes that tests/test_wgmma.py chooses.
#include "../../csrc/cuda/conv2d_sm90.cu"
#include "../../csrc/cuda/gemm_sm90.cu"
#include "../../csrc/cuda/pieces.cuh"

void (*nnfast::multiply_by_wgmma)(const void* piece_product) = nullptr;
void (*nnfast::convolve_by_wgmma)(const void* plane_convolution) = nullptr;
int nnfast::multiprocessors() { return 2; }
int nnfast::pieces_for(Precision, bool) { return 1; }  // what choose() asks of gemm.cu
bool nnfast::wgmma_is_used() { return true; }

// y[M,N] = a[M,K] b[K,N]
void product(const float* a, const float* b, float* y, unsigned char* scratch, long M, long N, long K, int pieces) {
  using namespace nnfast;
  const auto matrix = [](const float* data, int64_t rows, int64_t columns) {
    View v;
    v.data = const_cast<float*>(data), v.ndim = 2;
    v.shape[0] = rows, v.shape[1] = columns, v.stride[0] = columns, v.stride[1] = 1;
    return v;
  };
  const View va = matrix(a, M, K), vb = matrix(b, K, N), vy = matrix(y, M, N);
  Product<float> p{};
  p.a = a, p.b = b, p.y = y, p.M = M, p.N = N, p.K = K;
  p.a_row = K, p.b_row = p.y_row = N, p.a_col = p.b_col = p.y_col = 1;
  p.finish.alpha = 1;
  PieceProduct m = pack_pieces(va, vb, p, vy, PieceRoom(va, vb, pieces), reinterpret_cast<char*>(scratch));
  m.y.splits = 1, m.y.k_per_split = padded(K, PIECE_DEPTH);
  multiply_by_wgmma(&m);
}

// Filters of 3 x 3, two apart, on images of S x S with a border of two zeros.
void convolve(const float* x, const float* w, float* y, unsigned char* scratch, long n, long S, long C, long O,
              int pieces, bool channels_first) {
  using namespace nnfast;
  Convolution<float> p{};
  p.n = n, p.I = p.J = p.H = p.W = S, p.A = p.B = 3, p.C = C, p.O = O, p.groups = 1;
  for (int d = 0; d < 2; ++d) p.step[d] = 1, p.from[d] = -2, p.reach[d] = 2, p.over[d] = 1;
  p.xn = C * S * S, p.xw = channels_first ? 1 : C, p.xh = S * p.xw, p.xc = channels_first ? S * S : 1;
  p.yn = O * S * S, p.yj = channels_first ? 1 : O, p.yi = S * p.yj, p.yo = channels_first ? S * S : 1;
  p.wa = 3 * C * O, p.wb = C * O, p.wc = O, p.wo = 1;
  p.x = x, p.other = w, p.out = y, p.finish.alpha = 1;
  PlaneConvolution q{p, PlaneChoice(p, pieces, Precision::high), reinterpret_cast<unsigned*>(scratch),
                     reinterpret_cast<char*>(scratch) + 256};
  q.how.splits = 1, q.how.per_split = q.how.depth;
  convolve_by_wgmma(&q);
}
