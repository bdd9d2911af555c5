#include <array>

#include "../cpu/parallel.h"
#include "../ops.h"
#include "module.h"

namespace nnfast {
namespace {

using Pair = std::array<int64_t, 2>;
using Pads = std::array<Pair, 2>;            // ((top, bottom), (left, right))
constexpr int64_t LIMIT = int64_t{1} << 31;  // sums and products of two below it cannot wrap round

std::string text_of(const Pair& p) { return shape_text(p, 2); }

// What all three ops are told, checked for itself.
Conv2d checked(const Call& call, const Pair& strides, const Pads& pads, const Pair& dilation, int64_t groups,
               bool channels_first, int precision) {
  for (int i = 0; i < 2; ++i) {
    call.require(strides[i] > 0, "strides must be at least 1. Received: strides=", text_of(strides));
    call.require(dilation[i] > 0, "dilation must be at least 1. Received: dilation=", text_of(dilation));
    call.require(pads[i][0] >= 0 && pads[i][1] >= 0, "padding must not be negative. Received: pads=(", text_of(pads[0]),
                 ", ", text_of(pads[1]), ")");
    for (const int64_t n : {strides[i], dilation[i], pads[i][0], pads[i][1]})
      if (n >= LIMIT)
        throw std::overflow_error(call.message("strides, padding and dilation must be below 2**31. Received: ", n));
  }
  call.require(groups > 0, "groups must be at least 1. Received: groups=", groups);
  return {{strides[0], strides[1]},
          {pads[0][0], pads[1][0]},
          {dilation[0], dilation[1]},
          groups,
          channels_first,
          precision_of(call, precision),
          num_threads()};
}

// Pixels along rows (axis 0) or columns (1), with n cells of input and k of the filter.
int64_t output_size(const Call& call, int axis, int64_t n, int64_t k, const Conv2d& how, const Pads& pads) {
  const char* what = axis == 0 ? "rows" : "columns";
  call.require(k > 0, "w must have at least one row and one column. Received: ", k, " ", what);
  if (n >= LIMIT || k >= LIMIT)
    throw std::overflow_error(call.message("images and filters must have below 2**31 ", what));
  const int64_t padded = n + pads[axis][0] + pads[axis][1], span = (k - 1) * how.dilation[axis] + 1;
  call.require(span <= padded, "w is larger than the padded input: it spans ", span, " ", what, ", the input has ",
               padded, ". Received: dilation=", how.dilation[axis], ", padding=", text_of(pads[axis]));
  return (padded - span) / how.stride[axis] + 1;
}

struct Sizes {
  int64_t n, c, f, p, q;
};

// Checks the shapes of x and w against each other; sizes of the output.
Sizes sizes_of(const Call& call, const Shape& x, const Shape& w, const Conv2d& how, const Pads& pads) {
  const auto received = [&] { return "x.shape=" + shape_text(x, x.size()) + ", w.shape=" + shape_text(w, w.size()); };
  call.require(x.size() == 4 && w.size() == 4, "x must be (N, H, W, C) or, channels first, (N, C, H, W), and w ",
               "(rows, columns, C / groups, filters). Received: ", received());
  for (const Shape* s : {&x, &w})
    for (const auto n : *s) call.require(n >= 0, "sizes must not be negative. Received: ", received());
  const int h = how.channels_first ? 2 : 1;
  const int64_t C = x[how.channels_first ? 1 : 3], F = w[3];
  call.require(C % how.groups == 0 && F % how.groups == 0, "groups=", how.groups, " must divide the input channels, ",
               C, ", and the filters, ", F, ". Received: ", received());
  call.require(w[2] == C / how.groups, "w expects ", w[2] * how.groups, " input channels, x has ", C,
               ". Received: ", received(), how.groups > 1 ? ", groups=" + std::to_string(how.groups) : "");
  return {x[0], C, F, output_size(call, 0, x[h], w[0], how, pads), output_size(call, 1, x[h + 1], w[1], how, pads)};
}

Shape shape_of(const View& v) { return Shape(v.shape, v.shape + v.ndim); }
Shape output_shape(const Sizes& s, bool channels_first) {
  return channels_first ? Shape{s.n, s.f, s.p, s.q} : Shape{s.n, s.p, s.q, s.f};
}
void require_gradient(const Call& call, const View& dz, const Shape& wanted) {
  call.require(shape_of(dz) == wanted, "dz must have the shape of the output, ", shape_text(wanted, wanted.size()),
               ". Received: dz.shape=", dz);
}

// y[n,p,q,f] = activation(sum over r, s, c of x[...] * w[r,s,c,f] + b[f])
Array conv2d_(py::handle x_, py::handle w_, py::handle b_, const Pair& strides, const Pads& pads, const Pair& dilation,
              int64_t groups, bool channels_first, int activation, double slope, py::handle out_, int precision) {
  Call call("conv2d");
  const View x = call.in_float(x_, "x"), w = call.in_like(w_, "w", x);
  const Conv2d how = checked(call, strides, pads, dilation, groups, channels_first, precision);
  const Sizes s = sizes_of(call, shape_of(x), shape_of(w), how, pads);
  const View b = b_.is_none() ? View{} : call.in_like(b_, "b", x);
  call.require(!b.given() || (b.ndim == 1 && b.shape[0] == s.f), "b must have one value per filter, (", s.f,
               ",). Received: b.shape=", b);
  constexpr int LAST = static_cast<int>(Activation::exp);
  call.require(activation >= 0 && activation <= LAST, "activation must be a number from 0 to ", LAST,
               ". Received: ", activation);
  View y;
  Array out = call.out(out_, output_shape(s, channels_first), x.dtype, y);
  void* scratch = call.scratch(conv2d_scratch(x, w, b, how, y));
  call.run([=] { conv2d(x, w, b, how, static_cast<Activation>(activation), slope, y, scratch); });
  return out;
}

Array conv2d_input_gradient_(py::handle dz_, py::handle w_, const Shape& x_shape, const Pair& strides, const Pads& pads,
                             const Pair& dilation, int64_t groups, bool channels_first, int precision) {
  Call call("conv2d_input_gradient");
  const View dz = call.in_float(dz_, "dz"), w = call.in_like(w_, "w", dz);
  const Conv2d how = checked(call, strides, pads, dilation, groups, channels_first, precision);
  require_gradient(call, dz, output_shape(sizes_of(call, x_shape, shape_of(w), how, pads), channels_first));
  View dx;
  Array out = call.out(py::none(), x_shape, dz.dtype, dx);
  void* scratch = call.scratch(conv2d_input_gradient_scratch(dz, w, how, dx));
  call.run([=] { conv2d_input_gradient(dz, w, how, dx, scratch); });
  return out;
}

Array conv2d_filter_gradient_(py::handle x_, py::handle dz_, const Shape& w_shape, const Pair& strides,
                              const Pads& pads, const Pair& dilation, int64_t groups, bool channels_first,
                              int precision) {
  Call call("conv2d_filter_gradient");
  const View x = call.in_float(x_, "x"), dz = call.in_like(dz_, "dz", x);
  const Conv2d how = checked(call, strides, pads, dilation, groups, channels_first, precision);
  require_gradient(call, dz, output_shape(sizes_of(call, shape_of(x), w_shape, how, pads), channels_first));
  View dw;
  Array out = call.out(py::none(), w_shape, x.dtype, dw);
  void* scratch = call.scratch(conv2d_filter_gradient_scratch(x, dz, how, dw));
  call.run([=] { conv2d_filter_gradient(x, dz, how, dw, scratch); });
  return out;
}

}  // namespace

void bind_conv2d(py::module_& m) {
  const Pair one{1, 1};
  const Pads none{};
  m.def("conv2d", conv2d_, py::arg("x"), py::arg("w"), py::arg("b") = py::none(), py::kw_only(),
        py::arg("strides") = one, py::arg("pads") = none, py::arg("dilation") = one, py::arg("groups") = 1,
        py::arg("channels_first") = false, py::arg("activation") = 0, py::arg("slope") = 0.0,
        py::arg("out") = py::none(), py::arg("precision") = 0);
  m.def("conv2d_input_gradient", conv2d_input_gradient_, py::arg("dz"), py::arg("w"), py::arg("x_shape"), py::kw_only(),
        py::arg("strides") = one, py::arg("pads") = none, py::arg("dilation") = one, py::arg("groups") = 1,
        py::arg("channels_first") = false, py::arg("precision") = 0);
  m.def("conv2d_filter_gradient", conv2d_filter_gradient_, py::arg("x"), py::arg("dz"), py::arg("w_shape"),
        py::kw_only(), py::arg("strides") = one, py::arg("pads") = none, py::arg("dilation") = one,
        py::arg("groups") = 1, py::arg("channels_first") = false, py::arg("precision") = 0);
}

}  // namespace nnfast
