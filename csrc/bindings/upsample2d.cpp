#include <array>

#include "../ops.h"
#include "module.h"

namespace nnfast {
namespace {

using Pair = std::array<int64_t, 2>;
constexpr int64_t LIMIT = int64_t{1} << 31;

// Checks the arguments and gives the shape of the result.
Shape checked(const Call& call, const Shape& x, const Pair& size, bool bilinear, bool channels_first, Upsample2d& how) {
  call.require(x.size() == 4,
               "x must be (N, H, W, C) or, channels first, (N, C, H, W). Received: ", shape_text(x, x.size()));
  how = {{size[0], size[1]}, bilinear, channels_first};
  Shape shape = x;
  for (size_t i = 0; i < 2; ++i) {
    auto& n = shape[i + (channels_first ? 2 : 1)];
    call.require(n >= 0 && size[i] > 0, "size must be at least 1. Received: size=", shape_text(size, 2),
                 ", x.shape=", shape_text(x, x.size()));
    if (n >= LIMIT || size[i] >= LIMIT) throw std::overflow_error(call.message("sizes must be below 2**31"));
    n *= size[i];
  }
  return shape;
}

Array upsample2d_(py::handle x_, const Pair& size, bool bilinear, bool channels_first) {
  Call call("upsample2d");
  const View x = call.in_float(x_, "x");
  Upsample2d how;
  const Shape shape = checked(call, Shape(x.shape, x.shape + x.ndim), size, bilinear, channels_first, how);
  View y;
  Array out = call.out(py::none(), shape, x.dtype, y);
  call.run([=] { upsample2d(x, how, y); });
  return out;
}

Array upsample2d_gradient_(py::handle dy_, const Shape& x_shape, const Pair& size, bool bilinear, bool channels_first) {
  Call call("upsample2d_gradient");
  const View dy = call.in_float(dy_, "dy");
  Upsample2d how;
  const Shape shape = checked(call, x_shape, size, bilinear, channels_first, how);
  call.require(Shape(dy.shape, dy.shape + dy.ndim) == shape, "dy must have the shape of the result, ",
               shape_text(shape, shape.size()), ". Received: ", dy);
  View dx;
  Array out = call.out(py::none(), x_shape, dy.dtype, dx);
  call.run([=] { upsample2d_gradient(dy, how, dx); });
  return out;
}

}  // namespace

void bind_upsample2d(py::module_& m) {
  const auto size = py::arg("size");
  const auto bilinear = py::arg("bilinear") = false, first = py::arg("channels_first") = false;
  m.def("upsample2d", upsample2d_, py::arg("x"), py::kw_only(), size, bilinear, first);
  m.def("upsample2d_gradient", upsample2d_gradient_, py::arg("dy"), py::arg("x_shape"), py::kw_only(), size, bilinear,
        first);
}

}  // namespace nnfast
