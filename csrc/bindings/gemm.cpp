#include "../ops.h"
#include "module.h"

namespace nnfast {
namespace {

constexpr int ACTIVATIONS = static_cast<int>(Activation::exp) + 1;

Activation activation_of(const Call& call, int number) {
  call.require(number >= 0 && number < ACTIVATIONS, "activation must be a number from 0 to ", ACTIVATIONS - 1,
               ". Received: ", number);
  return static_cast<Activation>(number);
}

// The matrices a[...,M,K] and b[...,K,N]; gives the shape of their product.
Shape product_shape(const Call& call, const View& a, const View& b) {
  call.require(a.ndim >= 2 && b.ndim >= 2, "a and b must be matrices. Received: a.shape=", a, ", b.shape=", b);
  const int64_t K = a.shape[a.ndim - 1];
  call.require(b.shape[b.ndim - 2] == K, "the inner sizes differ: a has ", K, " columns, b has ", b.shape[b.ndim - 2],
               " rows. Received: a.shape=", a, ", b.shape=", b);
  Shape shape;
  const int batch = std::max(a.ndim, b.ndim) - 2;
  for (int i = 0; i < batch; ++i) {
    const int ia = i - (batch - (a.ndim - 2)), ib = i - (batch - (b.ndim - 2));
    const int64_t na = ia < 0 ? 1 : a.shape[ia], nb = ib < 0 ? 1 : b.shape[ib];
    call.require(na == nb || na == 1 || nb == 1, "batch dimensions do not broadcast. Received: a.shape=", a,
                 ", b.shape=", b);
    shape.push_back(na == 1 ? nb : na);
  }
  shape.push_back(a.shape[a.ndim - 2]);
  shape.push_back(b.shape[b.ndim - 1]);
  return shape;
}

// y[...,M,N] = activation(alpha * a[...,M,K] @ b[...,K,N] + beta * out + bias[N]); batch dimensions broadcast.
Array gemm_(py::handle a_, py::handle b_, py::handle bias_, double alpha, double beta, int activation_, double slope,
            py::handle out_, int precision_) {
  Call call("gemm");
  const View a = call.in_float(a_, "a"), b = call.in_like(b_, "b", a);
  const Shape shape = product_shape(call, a, b);
  const View bias = bias_.is_none() ? View{} : call.in_like(bias_, "bias", a);
  call.require(!bias.given() || (bias.ndim == 1 && bias.shape[0] == shape.back()),
               "bias must have one value per column, (", shape.back(), ",). Received: bias.shape=", bias);
  call.require(beta == 0 || !out_.is_none(), "beta needs out=, the matrix that is added to");
  const Activation activation = activation_of(call, activation_);
  View y;
  Array out = call.out(out_, shape, a.dtype, y);
  const Precision precision = precision_of(call, precision_);
  void* scratch = call.scratch(gemm_scratch(a, b, y, precision));
  KeptPanels* kept = call.keep(b_, b, gemm_kept(a, b, y));
  call.run([=] { gemm(a, b, bias, alpha, beta, activation, slope, precision, y, scratch, kept); });
  return out;
}

// d = (a[M,K] @ b[K,N]) * activation'(from its result y[M,N]), and the sum of d over its rows, or None.
py::tuple gemm_gradient_(py::handle a_, py::handle b_, py::handle y_, int activation_, double slope, bool needs_sum,
                         int precision_) {
  Call call("gemm_gradient");
  const View a = call.in_float(a_, "a"), b = call.in_like(b_, "b", a);
  const Shape shape = product_shape(call, a, b);
  call.require(shape.size() == 2, "a and b must be matrices. Received: a.shape=", a, ", b.shape=", b);
  const Activation activation = activation_of(call, activation_);
  call.require(activation == Activation::linear || !y_.is_none(), "an activation needs y, its result");
  const View y = activation == Activation::linear ? View{} : call.in_like(y_, "y", a);
  call.require(!y.given() || (y.ndim == 2 && y.shape[0] == shape[0] && y.shape[1] == shape[1]),
               "y must have the shape of the product, ", shape_text(shape, 2), ". Received: y.shape=", y);
  View d, sum;
  Array d_ = call.out(py::none(), shape, a.dtype, d);
  py::object sum_ = needs_sum ? py::object(call.out(py::none(), {shape[1]}, a.dtype, sum)) : py::none();
  const Precision precision = precision_of(call, precision_);
  void* scratch = call.scratch(gemm_gradient_scratch(a, b, d, precision));
  call.run([=] { gemm_gradient(a, b, y, activation, slope, precision, d, sum, scratch); });
  return py::make_tuple(d_, sum_);
}

// Backwards through y = activation(z + bias): dz (dy itself without activation), and its sum over all axes but one.
py::tuple bias_activation_gradient_(py::handle dy_, py::handle y_, int activation_, double slope, int axis,
                                    bool needs_db) {
  Call call("bias_activation_gradient");
  const View dy = call.in_float(dy_, "dy");
  const Activation activation = activation_of(call, activation_);
  const bool linear = activation == Activation::linear;
  call.require(linear || !y_.is_none(), "an activation needs y, its result");
  const View y = linear ? View{} : call.in_like(y_, "y", dy);
  const Shape shape(dy.shape, dy.shape + dy.ndim);
  call.require(linear || (y.ndim == dy.ndim && std::equal(shape.begin(), shape.end(), y.shape)),
               "dy and y must have one shape. Received: dy.shape=", dy, ", y.shape=", y);
  if (axis < -dy.ndim || axis >= dy.ndim)
    throw py::index_error(call.message("axis is out of range for ", dy.ndim, " dimensions. Received: ", axis));
  axis = axis < 0 ? axis + dy.ndim : axis;
  View dz, db;
  py::object dz_ = linear ? py::reinterpret_borrow<py::object>(dy_) : call.out(py::none(), shape, dy.dtype, dz);
  py::object db_ = py::none();
  if (needs_db) db_ = call.out(py::none(), {shape[static_cast<size_t>(axis)]}, dy.dtype, db);
  if (linear && !needs_db) return py::make_tuple(dz_, db_);
  void* scratch = call.scratch(needs_db ? bias_activation_gradient_scratch(dy, axis) : 0);
  call.run([=] { bias_activation_gradient(dy, y, activation, slope, axis, dz, db, scratch); });
  return py::make_tuple(dz_, db_);
}

}  // namespace

void bind_gemm(py::module_& m) {
  m.def("gemm", gemm_, py::arg("a"), py::arg("b"), py::arg("bias") = py::none(), py::kw_only(), py::arg("alpha") = 1.0,
        py::arg("beta") = 0.0, py::arg("activation") = 0, py::arg("slope") = 0.0, py::arg("out") = py::none(),
        py::arg("precision") = 0);
  m.def("gemm_gradient", gemm_gradient_, py::arg("a"), py::arg("b"), py::arg("y") = py::none(), py::kw_only(),
        py::arg("activation") = 0, py::arg("slope") = 0.0, py::arg("needs_sum") = false, py::arg("precision") = 0);
  m.def("bias_activation_gradient", bias_activation_gradient_, py::arg("dy"), py::arg("y"), py::kw_only(),
        py::arg("activation") = 0, py::arg("slope") = 0.0, py::arg("axis") = -1, py::arg("needs_db") = true);
}

}  // namespace nnfast
