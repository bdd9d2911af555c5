#include "../ops.h"
#include "module.h"

namespace nnfast {
namespace {

using Axes = std::vector<int64_t>;

uint32_t mask_of(const Call& call, const View& x, const Axes& axes) {
  uint32_t mask = 0;
  for (const int64_t axis : axes) {
    if (axis < 0 || axis >= x.ndim)
      throw py::index_error(call.message("axis ", axis, " is out of range. Received: x.shape=", x));
    call.require(!(mask >> axis & 1), "axis ", axis, " is repeated. Received: axes=", shape_text(axes, axes.size()));
    mask |= 1u << axis;
  }
  return mask;
}

// The shape of the result; what is reduced away is left out, or 1.
Shape reduced(const View& x, uint32_t axes, bool keepdims) {
  Shape shape;
  for (int i = 0; i < x.ndim; ++i)
    if (!(axes >> i & 1) || keepdims) shape.push_back(axes >> i & 1 ? 1 : x.shape[i]);
  return shape;
}

void refuse_nothing(const Call& call, const View& x, uint32_t axes) {
  int64_t results = 1, each = 1;
  for (int i = 0; i < x.ndim; ++i) (axes >> i & 1 ? each : results) *= x.shape[i];
  call.require(each > 0 || results == 0, "nothing to choose from: the axis is empty. Received: x.shape=", x);
}

Array reduce_as(const char* op, Reduction reduction, py::handle x_, const Axes& axes_, bool keepdims) {
  Call call(op);
  const bool any_dtype = reduction == Reduction::sum || reduction == Reduction::prod || reduction == Reduction::max ||
                         reduction == Reduction::min;
  const View x = any_dtype ? call.in(x_, "x") : call.in_float(x_, "x");
  const uint32_t axes = mask_of(call, x, axes_);
  if (reduction == Reduction::max || reduction == Reduction::min) refuse_nothing(call, x, axes);
  View y;
  Array out = call.out(py::none(), reduced(x, axes, keepdims), x.dtype, y);
  void* scratch = call.scratch(reduce_scratch(x, axes, reduction));
  call.run([=] { reduce(x, axes, reduction, y, scratch); });
  return out;
}

Array arg_as(const char* op, bool largest, py::handle x_, int64_t axis, bool keepdims) {
  Call call(op);
  const View x = call.in(x_, "x");
  const uint32_t axes = mask_of(call, x, {axis});
  refuse_nothing(call, x, axes);
  View y;
  Array out = call.out(py::none(), reduced(x, axes, keepdims), DType::int64, y);
  void* scratch = call.scratch(arg_reduce_scratch(x, static_cast<int>(axis)));
  call.run([=] { arg_reduce(x, static_cast<int>(axis), largest, y, scratch); });
  return out;
}

// A view of dy or y with the reduced axes as size 1, whether it came with them or without.
View with_axes(const Call& call, const View& v, const char* name, const View& x, uint32_t axes) {
  const bool has_them = v.ndim == x.ndim;
  View full = x;
  bool fits = true;
  int from = 0;
  for (int i = 0; i < x.ndim; ++i) {
    const bool cut = axes >> i & 1;
    if (cut) full.shape[i] = 1;
    full.stride[i] = 0;
    if (cut && !has_them) continue;
    fits = fits && from < v.ndim && v.shape[from] == full.shape[i];
    if (fits && !cut) full.stride[i] = v.stride[from];
    ++from;
  }
  call.require(fits && from == v.ndim, name, " must have the shape of the result. Received: ", name, ".shape=", v,
               ", x.shape=", x);
  full.data = v.data;
  return full;
}

Array gradient_as(const char* op, Reduction reduction, py::handle dy_, py::handle x_, py::handle y_,
                  const Axes& axes_) {
  Call call(op);
  const View x = call.in_float(x_, "x");
  const uint32_t axes = mask_of(call, x, axes_);
  const View dy = with_axes(call, call.in_like(dy_, "dy", x), "dy", x, axes);
  const View y = y_ ? with_axes(call, call.in_like(y_, "y", x), "y", x, axes) : View{};
  View dx;
  Array out = call.out(py::none(), Shape(x.shape, x.shape + x.ndim), x.dtype, dx);
  void* scratch = call.scratch(reduce_gradient_scratch(x, axes));
  call.run([=] { reduce_gradient(dy, x, y, axes, reduction, dx, scratch); });
  return out;
}

py::object sum_to(py::object x_, const Shape& shape) {
  Call call("sum_to");
  const View x = call.in(x_, "x");
  const int lead = x.ndim - static_cast<int>(shape.size());
  uint32_t axes = 0;
  bool fits = lead >= 0, same = lead == 0;
  for (int i = 0; fits && i < x.ndim; ++i) {
    const int64_t wanted = i < lead ? 1 : shape[static_cast<size_t>(i - lead)];
    if (i < lead || (wanted == 1 && x.shape[i] != 1)) axes |= 1u << i;
    fits = i < lead || wanted == 1 || wanted == x.shape[i];
    same = same && wanted == x.shape[i];
  }
  call.require(fits, "an array of shape ", shape_text(shape, shape.size()), " does not broadcast to ", x);
  if (same) return x_;
  View y;
  Array out = call.out(py::none(), shape, x.dtype, y);
  void* scratch = call.scratch(reduce_scratch(x, axes, Reduction::sum));
  call.run([=] { reduce(x, axes, Reduction::sum, y, scratch); });
  return out;
}

template <Reduction R>
void bind_reduction(py::module_& m, const char* name) {
  m.def(
      name, [=](py::handle x, const Axes& axes, bool keepdims) { return reduce_as(name, R, x, axes, keepdims); },
      py::arg("x"), py::arg("axes"), py::arg("keepdims") = false);
}

}  // namespace

void bind_reduce(py::module_& m) {
  m.def("sum_to", sum_to, py::arg("x"), py::arg("shape"));
  bind_reduction<Reduction::sum>(m, "sum");
  bind_reduction<Reduction::mean>(m, "mean");
  bind_reduction<Reduction::max>(m, "max");
  bind_reduction<Reduction::min>(m, "min");
  bind_reduction<Reduction::prod>(m, "prod");
  bind_reduction<Reduction::var>(m, "var");
  bind_reduction<Reduction::logsumexp>(m, "logsumexp");
  for (const bool largest : {true, false}) {
    const char* name = largest ? "argmax" : "argmin";
    m.def(
        name, [=](py::handle x, int64_t axis, bool keepdims) { return arg_as(name, largest, x, axis, keepdims); },
        py::arg("x"), py::arg("axis"), py::arg("keepdims") = false);
  }
  m.def(
      "extremum_gradient",
      [](py::handle dy, py::handle x, py::handle y, const Axes& axes) {
        return gradient_as("extremum_gradient", Reduction::max, dy, x, y, axes);
      },
      py::arg("dy"), py::arg("x"), py::arg("y"), py::arg("axes"));
  m.def(
      "prod_gradient",
      [](py::handle dy, py::handle x, const Axes& axes) {
        return gradient_as("prod_gradient", Reduction::prod, dy, x, {}, axes);
      },
      py::arg("dy"), py::arg("x"), py::arg("axes"));
  m.def(
      "var_gradient",
      [](py::handle dy, py::handle x, const Axes& axes) {
        return gradient_as("var_gradient", Reduction::var, dy, x, {}, axes);
      },
      py::arg("dy"), py::arg("x"), py::arg("axes"));
  m.def(
      "logsumexp_gradient",
      [](py::handle dy, py::handle x, py::handle y, const Axes& axes) {
        return gradient_as("logsumexp_gradient", Reduction::logsumexp, dy, x, y, axes);
      },
      py::arg("dy"), py::arg("x"), py::arg("y"), py::arg("axes"));
}

}  // namespace nnfast
