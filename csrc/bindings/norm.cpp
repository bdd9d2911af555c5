#include "../ops.h"
#include "module.h"

namespace nnfast {
namespace {

Shape shape_of(const View& v) { return Shape(v.shape, v.shape + v.ndim); }

int checked_axis(const Call& call, const View& x, int64_t axis) {
  if (axis < -x.ndim || axis >= x.ndim)
    throw py::index_error(call.message("axis ", axis, " is out of range. Received: x.shape=", x));
  return static_cast<int>(axis < 0 ? axis + x.ndim : axis);
}
// An operand of the dtype of x and a shape that follows from x; None gives an absent one.
View part_of(Call& call, py::handle array, const char* name, const View& x, const Shape& shape) {
  if (array.is_none()) return {};
  const View v = call.in_like(array, name, x);
  call.require(shape_of(v) == shape, name, " must have shape ", shape_text(shape, shape.size()), ". Received: ", name,
               ".shape=", v, ", x.shape=", x);
  return v;
}
Shape channels_of(const View& x, int axis) { return {x.shape[axis]}; }
Shape before(const View& x, int axis) { return Shape(x.shape, x.shape + axis); }
Shape row_of(const View& x, int axis) { return Shape(x.shape + axis, x.shape + x.ndim); }

// The result of this shape, or None if nobody wants it.
py::object wanted(Call& call, bool needed, const Shape& shape, const View& x, View& v) {
  if (!needed) return py::none();
  return call.out(py::none(), shape, x.dtype, v);
}

py::tuple batch_norm_(py::handle x_, py::handle gamma_, py::handle beta_, int64_t axis_, double epsilon) {
  Call call("batch_norm");
  const View x = call.in_float(x_, "x");
  const int axis = checked_axis(call, x, axis_);
  const Shape channels = channels_of(x, axis);
  const View gamma = part_of(call, gamma_, "gamma", x, channels), beta = part_of(call, beta_, "beta", x, channels);
  View y, mean, variance;
  Array out = call.out(py::none(), shape_of(x), x.dtype, y);
  Array out_mean = call.out(py::none(), channels, x.dtype, mean);
  Array out_variance = call.out(py::none(), channels, x.dtype, variance);
  void* scratch = call.scratch(batch_norm_scratch(x, axis));
  call.run([=] { batch_norm(x, gamma, beta, axis, epsilon, y, mean, variance, scratch); });
  return py::make_tuple(out, out_mean, out_variance);
}

Array batch_norm_inference_(py::handle x_, py::handle gamma_, py::handle beta_, py::handle mean_, py::handle variance_,
                            int64_t axis_, double epsilon) {
  Call call("batch_norm_inference");
  const View x = call.in_float(x_, "x");
  const int axis = checked_axis(call, x, axis_);
  const Shape channels = channels_of(x, axis);
  const View gamma = part_of(call, gamma_, "gamma", x, channels), beta = part_of(call, beta_, "beta", x, channels);
  const View mean = part_of(call, mean_, "mean", x, channels);
  const View variance = part_of(call, variance_, "variance", x, channels);
  call.require(mean.given() && variance.given(), "mean and variance are needed. Received: None");
  View y;
  Array out = call.out(py::none(), shape_of(x), x.dtype, y);
  void* scratch = call.scratch(batch_norm_scratch(x, axis));
  call.run([=] { batch_norm_inference(x, gamma, beta, mean, variance, axis, epsilon, y, scratch); });
  return out;
}

py::tuple batch_norm_gradient_(py::handle dy_, py::handle x_, py::handle gamma_, py::handle mean_, py::handle variance_,
                               int64_t axis_, double epsilon, bool through_statistics, bool needs_dx, bool needs_dgamma,
                               bool needs_dbeta) {
  Call call("batch_norm_gradient");
  const View x = call.in_float(x_, "x"), dy = part_of(call, dy_, "dy", x, shape_of(x));
  const int axis = checked_axis(call, x, axis_);
  const Shape channels = channels_of(x, axis);
  const View gamma = part_of(call, gamma_, "gamma", x, channels), mean = part_of(call, mean_, "mean", x, channels);
  const View variance = part_of(call, variance_, "variance", x, channels);
  call.require(dy.given() && mean.given() && variance.given(), "dy, mean and variance are needed. Received: None");
  View dx, dgamma, dbeta;
  py::object out = wanted(call, needs_dx, shape_of(x), x, dx);
  py::object out_gamma = wanted(call, needs_dgamma, channels, x, dgamma);
  py::object out_beta = wanted(call, needs_dbeta, channels, x, dbeta);
  void* scratch = call.scratch(batch_norm_gradient_scratch(dy, x, axis));
  call.run([=] {
    batch_norm_gradient(dy, x, gamma, mean, variance, axis, epsilon, through_statistics, dx, dgamma, dbeta, scratch);
  });
  return py::make_tuple(out, out_gamma, out_beta);
}

py::tuple layer_norm_(py::handle x_, py::handle gamma_, py::handle beta_, int64_t axis_, double epsilon) {
  Call call("layer_norm");
  const View x = call.in_float(x_, "x");
  const int axis = checked_axis(call, x, axis_);
  const Shape row = row_of(x, axis);
  const View gamma = part_of(call, gamma_, "gamma", x, row), beta = part_of(call, beta_, "beta", x, row);
  View y, mean, rstd;
  Array out = call.out(py::none(), shape_of(x), x.dtype, y);
  Array out_mean = call.out(py::none(), before(x, axis), x.dtype, mean);
  Array out_rstd = call.out(py::none(), before(x, axis), x.dtype, rstd);
  void* scratch = call.scratch(layer_norm_scratch(x, gamma, beta));
  call.run([=] { layer_norm(x, gamma, beta, axis, epsilon, y, mean, rstd, scratch); });
  return py::make_tuple(out, out_mean, out_rstd);
}

py::tuple layer_norm_gradient_(py::handle dy_, py::handle x_, py::handle gamma_, py::handle mean_, py::handle rstd_,
                               int64_t axis_, bool needs_dx, bool needs_dgamma, bool needs_dbeta) {
  Call call("layer_norm_gradient");
  const View x = call.in_float(x_, "x"), dy = part_of(call, dy_, "dy", x, shape_of(x));
  const int axis = checked_axis(call, x, axis_);
  const Shape row = row_of(x, axis), rows = before(x, axis);
  const View gamma = part_of(call, gamma_, "gamma", x, row), mean = part_of(call, mean_, "mean", x, rows);
  const View rstd = part_of(call, rstd_, "rstd", x, rows);
  call.require(dy.given() && mean.given() && rstd.given(), "dy, mean and rstd are needed. Received: None");
  View dx, dgamma, dbeta;
  py::object out = wanted(call, needs_dx, shape_of(x), x, dx);
  py::object out_gamma = wanted(call, needs_dgamma, row, x, dgamma);
  py::object out_beta = wanted(call, needs_dbeta, row, x, dbeta);
  void* scratch = call.scratch(layer_norm_gradient_scratch(dy, x, gamma, mean, rstd, axis));
  call.run([=] { layer_norm_gradient(dy, x, gamma, mean, rstd, axis, dx, dgamma, dbeta, scratch); });
  return py::make_tuple(out, out_gamma, out_beta);
}

void moving_average_(py::handle average_, py::handle value_, double momentum, double scale, py::handle status_) {
  Call call("moving_average");
  const View average = call.inout(average_, "average");
  if (average.dtype != DType::float32 && average.dtype != DType::float64)
    call.type_error("average must be float32 or float64. Received: ", average.dtype);
  const View value = call.in_like(value_, "value", average);
  call.require(shape_of(value) == shape_of(average), "value must have the shape of the average, ", average,
               ". Received: ", value);
  const Status* status = status_.is_none() ? nullptr : call.status(status_);
  call.run([=] { moving_average(average, value, momentum, scale, status); });
}

}  // namespace

void bind_norm(py::module_& m) {
  const auto x = py::arg("x"), dy = py::arg("dy"), gamma = py::arg("gamma"), beta = py::arg("beta");
  const auto mean = py::arg("mean"), variance = py::arg("variance"), axis = py::arg("axis"), eps = py::arg("epsilon");
  const auto needs_dx = py::arg("needs_dx") = true, needs_dgamma = py::arg("needs_dgamma") = true;
  const auto needs_dbeta = py::arg("needs_dbeta") = true;
  m.def("batch_norm", batch_norm_, x, gamma, beta, py::kw_only(), axis, eps);
  m.def("batch_norm_inference", batch_norm_inference_, x, gamma, beta, mean, variance, py::kw_only(), axis, eps);
  m.def("batch_norm_gradient", batch_norm_gradient_, dy, x, gamma, mean, variance, py::kw_only(), axis, eps,
        py::arg("through_statistics") = true, needs_dx, needs_dgamma, needs_dbeta);
  m.def("layer_norm", layer_norm_, x, gamma, beta, py::kw_only(), axis, eps);
  m.def("layer_norm_gradient", layer_norm_gradient_, dy, x, gamma, mean, py::arg("rstd"), py::kw_only(), axis, needs_dx,
        needs_dgamma, needs_dbeta);
  m.def("moving_average", moving_average_, py::arg("average"), py::arg("value"), py::kw_only(), py::arg("momentum"),
        py::arg("scale") = 1.0, py::arg("status") = py::none());
}

}  // namespace nnfast
