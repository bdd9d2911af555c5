// The kernel of wgmma for lesson mode, called with sizes that tests/test_wgmma.py chooses.
#include "../../csrc/cuda/gemm_sm90.cu"
#include "../../csrc/cuda/pieces.cuh"

void (*nnfast::multiply_by_wgmma)(const void* piece_product) = nullptr;
int nnfast::multiprocessors() { return 2; }

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
