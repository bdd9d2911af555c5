// gemm: pack both operands into micro-panels (any strides become unit strides), then one micro-kernel call per tile of
// y.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "../ops.h"
#include "kernels.h"
#include "parallel.h"

namespace nnfast {
namespace {

int64_t round_up(int64_t n, int64_t unit) { return (n + unit - 1) / unit * unit; }

template <class T>
T activate(T x, Activation activation, T slope) {
  switch (activation) {
    case Activation::relu:
      return x > 0 || std::isnan(x) ? x : T(0);
    case Activation::leaky_relu:
      return x > 0 ? x : slope * x;
    case Activation::elu:
      return x > 0 ? x : slope * std::expm1(x);
    case Activation::selu:
      return T(1.0507009873554805) * (x > 0 ? x : T(1.6732632423543772) * std::expm1(x));
    case Activation::sigmoid:
      return 1 / (1 + std::exp(-x));
    case Activation::tanh:
      return std::tanh(x);
    case Activation::softplus:
      return std::max(x, T(0)) + std::log1p(std::exp(-std::abs(x)));
    case Activation::exp:
      return std::exp(x);
    default:
      return x;
  }
}

// to[panel][k][width] = from[row, k], rows of a panel side by side, zeros beyond the last row.
template <class T>
void pack(const T* from, int64_t rows, int64_t row_stride, int64_t k, int64_t k_stride, int64_t width, T* to) {
  for (int64_t r = 0; r < rows; r += width)
    for (int64_t p = 0; p < k; ++p)
      for (int64_t i = 0; i < width; ++i) *to++ = r + i < rows ? from[(r + i) * row_stride + p * k_stride] : T(0);
}

template <class T>
struct Problem {
  int64_t M, N, K;
  const T *a, *b, *bias;
  int64_t a_row, a_col, b_row, b_col, y_row, y_col, bias_stride;
  T alpha, beta, slope;
  Activation activation;
  T* y;
};

template <class T>
void gemm_one(const Problem<T>& p, T* scratch) {
  const GemmKernels<T>& kernel = kernels().gemm.get<T>();
  const int64_t MR = kernel.mr, NR = kernel.nr;
  T* packed_a = scratch;
  T* packed_b = packed_a + round_up(p.M, MR) * p.K;
  pack(p.a, p.M, p.a_row, p.K, p.a_col, MR, packed_a);
  pack(p.b, p.N, p.b_col, p.K, p.b_row, NR, packed_b);
  parallel_for(round_up(p.M, MR) / MR, 1, [&](int64_t begin, int64_t end) {
    alignas(64) T tile[14 * 64];
    for (int64_t i = begin * MR; i < std::min(end * MR, p.M); i += MR)
      for (int64_t j = 0; j < p.N; j += NR) {
        kernel.micro(p.K, packed_a + i * p.K, packed_b + j * p.K, tile, NR, false);
        for (int64_t r = 0; r < std::min(MR, p.M - i); ++r)
          for (int64_t c = 0; c < std::min(NR, p.N - j); ++c) {
            T* y = p.y + (i + r) * p.y_row + (j + c) * p.y_col;
            T sum = p.alpha * tile[r * NR + c];
            if (p.beta != 0) sum += p.beta * *y;
            if (p.bias) sum += p.bias[(j + c) * p.bias_stride];
            *y = activate(sum, p.activation, p.slope);
          }
      }
  });
}

// Offset of batch entry `index` of y in an operand whose batch dimensions broadcast to those of y.
int64_t batch_offset(const View& v, const View& y, int64_t index) {
  int64_t offset = 0;
  for (int d = y.ndim - 3, i = v.ndim - 3; d >= 0; --d, --i) {
    const int64_t at = index % y.shape[d];
    index /= y.shape[d];
    if (i >= 0 && v.shape[i] != 1) offset += at * v.stride[i];
  }
  return offset;
}
}  // namespace

size_t gemm_scratch(const View& a, const View& b, const View& y) {
  const int64_t M = y.shape[y.ndim - 2], N = y.shape[y.ndim - 1], K = a.shape[a.ndim - 1];
  return visit_float(b.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const GemmKernels<T>& kernel = kernels().gemm.get<T>();
    return static_cast<size_t>((round_up(M, kernel.mr) + round_up(N, kernel.nr)) * K) * sizeof(T);
  });
}

void gemm(const View& a, const View& b, const View& bias, double alpha, double beta, Activation activation,
          double slope, const View& y, void* scratch) {
  visit_float(a.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    Problem<T> p{y.shape[y.ndim - 2],
                 y.shape[y.ndim - 1],
                 a.shape[a.ndim - 1],
                 nullptr,
                 nullptr,
                 bias.given() ? bias.as<T>() : nullptr,
                 a.stride[a.ndim - 2],
                 a.stride[a.ndim - 1],
                 b.stride[b.ndim - 2],
                 b.stride[b.ndim - 1],
                 y.stride[y.ndim - 2],
                 y.stride[y.ndim - 1],
                 bias.given() ? bias.stride[0] : 0,
                 T(alpha),
                 T(beta),
                 T(slope),
                 activation,
                 nullptr};
    int64_t batch = 1;
    for (int i = 0; i < y.ndim - 2; ++i) batch *= y.shape[i];
    for (int64_t i = 0; i < batch; ++i) {
      p.a = a.as<T>() + batch_offset(a, y, i);
      p.b = b.as<T>() + batch_offset(b, y, i);
      p.y = y.as<T>() + batch_offset(y, y, i);
      gemm_one(p, static_cast<T*>(scratch));
    }
  });
}

}  // namespace nnfast
