#include "../ops.h"
#include "module.h"

namespace nnfast {
namespace {

bool is_float(DType d) { return d == DType::float32 || d == DType::float64; }

void copy_(py::handle source_, py::handle target_) {
  Call call("copy");
  View source = call.in(source_, "source");
  const View target = call.inout(target_, "target");
  bool equal = source.ndim == target.ndim;
  for (int i = 0; equal && i < target.ndim; ++i) equal = source.shape[i] == target.shape[i];
  call.require(equal, "source and target must have one shape. Received: source.shape=", source,
               ", target.shape=", target);
  for (int i = 0; i < target.ndim; ++i)
    call.require(target.stride[i] != 0 || target.shape[i] <= 1 || target.size() == 0,
                 "target repeats its elements (stride 0) and cannot be written");
  if (target.size() && overlap(source, target)) {  // as if the source were copied first
    View between = source;
    int64_t step = 1;
    for (int i = between.ndim - 1; i >= 0; --i) {
      between.stride[i] = step;
      step *= between.shape[i];
    }
    between.data = call.scratch(static_cast<size_t>(step * size_of(between.dtype)));
    call.run([=] {
      copy(source, between);
      copy(between, target);
    });
  } else {
    call.run([=] { copy(source, target); });
  }
}

py::array full_(const Shape& shape, const py::object& dtype, double value) {
  Call call("full");
  View y;
  py::array out = call.out(py::none(), shape, dtype_from(dtype), y);
  call.run([=] { full(value, y); });
  return out;
}

py::array contiguous_(py::handle x_) {
  Call call("contiguous");
  const View x = call.in(x_, "x");
  if (x.contiguous() && x.data == py::detail::array_proxy(x_.ptr())->data)  // not so, if it was misaligned
    return py::reinterpret_borrow<py::array>(x_);
  View y;
  py::array out = call.out(py::none(), Shape(x.shape, x.shape + x.ndim), x.dtype, y);
  call.run([=] { copy(x, y); });
  return out;
}

py::array cast_(py::handle x_, const py::object& dtype, double scale) {
  Call call("cast");
  const View x = call.in(x_, "x");
  const DType to = dtype_from(dtype);
  call.require(scale == 1 || is_float(to), "only floats can be scaled. Received: dtype=", to, ", scale=", scale);
  View y;
  py::array out = call.out(py::none(), Shape(x.shape, x.shape + x.ndim), to, y);
  call.run([=] { cast(x, scale, y); });
  return out;
}

}  // namespace

void bind_movement(py::module_& m) {
  m.def("copy", copy_, py::arg("source"), py::arg("target"));
  m.def("full", full_, py::arg("shape"), py::arg("dtype"), py::arg("value"));
  m.def("contiguous", contiguous_, py::arg("x"));
  m.def("cast", cast_, py::arg("x"), py::arg("dtype"), py::arg("scale") = 1.0);
}

}  // namespace nnfast
