#include "../ops.h"
#include "module.h"

namespace nnfast {
namespace {

// y[...,M,N] = activation(alpha * a[...,M,K] @ b[...,K,N] + beta * out + bias[N]); batch dimensions broadcast.
py::array gemm_(py::handle a_, py::handle b_, py::handle bias_, double alpha, double beta, int activation, double slope,
                py::handle out_) {
  Call call("gemm");
  const View a = call.in_float(a_, "a"), b = call.in_like(b_, "b", a);
  call.require(a.ndim >= 2 && b.ndim >= 2, "a and b must be matrices. Received: a.shape=", a, ", b.shape=", b);
  const int64_t M = a.shape[a.ndim - 2], K = a.shape[a.ndim - 1], N = b.shape[b.ndim - 1];
  call.require(b.shape[b.ndim - 2] == K, "the inner sizes differ: a has ", K, " columns, b has ", b.shape[b.ndim - 2],
               " rows. Received: a.shape=", a, ", b.shape=", b);
  const View bias = bias_.is_none() ? View{} : call.in_like(bias_, "bias", a);
  call.require(!bias.given() || (bias.ndim == 1 && bias.shape[0] == N), "bias must have one value per column, (", N,
               ",). Received: bias.shape=", bias);
  call.require(beta == 0 || !out_.is_none(), "beta needs out=, the matrix that is added to");
  Shape shape;
  const int batch = std::max(a.ndim, b.ndim) - 2;
  for (int i = 0; i < batch; ++i) {
    const int ia = i - (batch - (a.ndim - 2)), ib = i - (batch - (b.ndim - 2));
    const int64_t na = ia < 0 ? 1 : a.shape[ia], nb = ib < 0 ? 1 : b.shape[ib];
    call.require(na == nb || na == 1 || nb == 1, "batch dimensions do not broadcast. Received: a.shape=", a,
                 ", b.shape=", b);
    shape.push_back(na == 1 ? nb : na);
  }
  shape.push_back(M);
  shape.push_back(N);
  View y;
  py::array out = call.out(out_, shape, a.dtype, y);
  void* scratch = call.scratch(gemm_scratch(a, b, y));
  call.run([=] { gemm(a, b, bias, alpha, beta, static_cast<Activation>(activation), slope, y, scratch); });
  return out;
}

}  // namespace

void bind_gemm(py::module_& m) {
  m.def("gemm", gemm_, py::arg("a"), py::arg("b"), py::arg("bias") = py::none(), py::kw_only(), py::arg("alpha") = 1.0,
        py::arg("beta") = 0.0, py::arg("activation") = 0, py::arg("slope") = 0.0, py::arg("out") = py::none());
}

}  // namespace nnfast
