// The kernels of tensor cores for lesson mode, called with sizes and layouts that tests/test_tensor_cores.py chooses.
#include "../../csrc/cuda/conv_pieces.cuh"
#include "../../csrc/cuda/gemm_pieces.cuh"
#include "nnfast_ladder.cuh"
using namespace nnfast;

int nnfast::pieces_for(Precision, bool) { return 0; }  // gemm.cu has it; here the pieces are an argument

namespace {
View matrix(const float* data, int64_t rows, int64_t columns, bool transposed) {
  View v;
  v.data = const_cast<float*>(data), v.ndim = 2;
  v.shape[0] = rows, v.shape[1] = columns;
  v.stride[0] = transposed ? 1 : columns, v.stride[1] = transposed ? rows : 1;
  return v;
}

// y[M,N] = a[M,K] b[K,N]; a and y may be transposed.
template <int SIDE, bool SEPARATE>
void multiply(const float* a, const float* b, float* y, unsigned char* scratch, long M, long N, long K, int pieces,
              bool transposed) {
  const View va = matrix(a, M, K, transposed), vb = matrix(b, K, N, false), vy = matrix(y, M, N, transposed);
  Product<float> p{};
  p.a = a, p.b = b, p.y = y, p.M = M, p.N = N, p.K = K;
  p.a_row = va.stride[0], p.a_col = va.stride[1], p.b_row = vb.stride[0], p.b_col = vb.stride[1];
  p.y_row = vy.stride[0], p.y_col = vy.stride[1];
  p.splits = 1, p.k_per_split = padded(K, PIECE_DEPTH);
  p.finish.alpha = 1;
  const PieceProduct m = pack_pieces(va, vb, p, vy, PieceRoom(va, vb, pieces), reinterpret_cast<char*>(scratch));
  launch(multiply_pieces<SIDE, SIDE, SEPARATE>, static_cast<unsigned>(ceil_div(M, SIDE) * ceil_div(N, SIDE)), 2 * SIDE,
         stages_bytes<SIDE, SIDE>(pieces), nullptr, m);
}
}  // namespace

void multiply_128(const float* a, const float* b, float* y, unsigned char* scratch, long M, long N, long K, int pieces,
                  bool transposed) {
  multiply<128, false>(a, b, y, scratch, M, N, K, pieces, transposed);
}
void multiply_64(const float* a, const float* b, float* y, unsigned char* scratch, long M, long N, long K, int pieces,
                 bool transposed) {
  multiply<64, true>(a, b, y, scratch, M, N, K, pieces, transposed);
}

// Filters of 3 x 3 on images of S x S, with a border of zeros. filter: w is dz, and out the filter's gradient.
void convolve(const float* x, const float* w, float* out, unsigned char* scratch, long n, long S, long C, long O,
              int pieces, int side, bool channels_first, bool filter) {
  Convolution<float> p{};
  p.n = n, p.I = p.J = p.H = p.W = S, p.A = p.B = 3, p.C = C, p.O = O, p.groups = 1;
  for (int d = 0; d < 2; ++d) p.step[d] = 1, p.from[d] = -1, p.reach[d] = 1, p.over[d] = 1;
  p.xn = C * S * S, p.xw = channels_first ? 1 : C, p.xh = S * p.xw, p.xc = channels_first ? S * S : 1;
  p.yn = O * S * S, p.yj = channels_first ? 1 : O, p.yi = S * p.yj, p.yo = channels_first ? S * S : 1;
  p.wa = 3 * C * O, p.wb = C * O, p.wc = O, p.wo = 1;
  p.x = x, p.other = w, p.out = out, p.finish.alpha = 1;
  PieceChoice how;
  how.pieces = pieces, how.side = side, how.splits = 1;
  p.splits = 1, p.per_split = filter ? n * S * S : 9 * C;
  p.set_dividers();
  start_pieces(p, filter, how, reinterpret_cast<unsigned*>(scratch));
}
