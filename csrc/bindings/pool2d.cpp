#include <algorithm>
#include <array>
#include <utility>

#include "../ops.h"
#include "module.h"

namespace nnfast {
namespace {

using Pair = std::array<int64_t, 2>;
using Pads = std::array<Pair, 2>;            // ((top, bottom), (left, right))
constexpr int64_t LIMIT = int64_t{1} << 31;  // sums and products of two below it cannot wrap round

// sum of floor((a i + b) / m) for 0 <= i < n, modulo 2^64, in O(log m) steps: what a and b hold of m is taken out, then
// the points below the line are counted along the other axis. All below 2^32.
uint64_t floor_sum(uint64_t n, uint64_t m, uint64_t a, uint64_t b) {
  uint64_t sum = 0;
  for (;;) {
    if (n == 0) return sum;
    sum += n * (n - 1) / 2 * (a / m) + n * (b / m);
    a %= m, b %= m;
    const uint64_t top = a * n + b;
    if (top < m) return sum;
    n = top / m, b = top % m;
    std::swap(m, a);
  }
}

// Does every window along an axis read a cell of the input, [0, n)? A window without one has no largest one and no
// mean. Window w reads first + j dilation, j < k, with first = w stride - before.
bool every_window_sees_a_cell(int64_t n, int64_t size, int64_t k, int64_t stride, int64_t dilation, int64_t before) {
  if ((size - 1) * stride - before >= n) return false;  // the last one begins behind the input
  if (before > (k - 1) * dilation) return false;        // the first one ends in front of it
  // The windows that begin in front of it: each reads the cell first mod dilation, unless that is n or more.
  const int64_t front = std::min(size, (before + stride - 1) / stride);
  if (front == 0 || dilation <= n) return true;
  const auto d = static_cast<uint64_t>(dilation), step = static_cast<uint64_t>(stride % dilation);
  const auto start = static_cast<uint64_t>((dilation - before % dilation) % dilation);
  // x mod d >= n just where floor((x + d - n) / d) is one more than floor(x / d)
  const auto count = static_cast<uint64_t>(front);
  return floor_sum(count, d, step, start + d - static_cast<uint64_t>(n)) == floor_sum(count, d, step, start);
}

// Checks everything and gives the shape of the result. x: the shape of the images, in their format.
Shape checked(const Call& call, const Shape& x, const Pair& pool, const Pair& strides, const Pads& pads,
              const Pair& dilation, bool ceil_mode, Pool2d& how) {
  call.require(x.size() == 4, "images have 4 dimensions, (N, H, W, C) or, channels first, (N, C, H, W). Received: ",
               shape_text(x, x.size()));
  for (const auto n : x) call.require(n >= 0, "sizes must not be negative. Received: ", shape_text(x, x.size()));
  Shape shape = x;
  for (int i = 0; i < 2; ++i) {
    const char* axis = i == 0 ? "rows" : "columns";
    const int64_t n = x[static_cast<size_t>(i + (how.channels_first ? 2 : 1))], k = pool[i], stride = strides[i];
    const int64_t d = dilation[i], before = pads[i][0], after = pads[i][1];
    call.require(k > 0 && stride > 0 && d > 0, "pool, strides and dilation must be at least 1. Received: ", axis,
                 ": pool ", k, ", stride ", stride, ", dilation ", d);
    call.require(before >= 0 && after >= 0, "padding must not be negative. Received: ", axis, ": (", before, ", ",
                 after, ")");
    for (const int64_t v : {n, k, stride, d, before, after})
      if (v >= LIMIT) throw std::overflow_error(call.message("sizes must be below 2**31. Received: ", v, " ", axis));
    const int64_t padded = n + before + after, span = (k - 1) * d + 1;
    call.require(span <= padded, "the window is larger than the padded input: it spans ", span, " ", axis,
                 ", the input has ", padded, ". Received: pool ", k, ", dilation ", d, ", padding (", before, ", ",
                 after, ")");
    int64_t size = (padded - span + (ceil_mode ? stride - 1 : 0)) / stride + 1;
    if (ceil_mode && (size - 1) * stride >= n + before) --size;
    call.require(n > 0 && every_window_sees_a_cell(n, size, k, stride, d, before),
                 "a window lies in the padding alone. Received: ", axis, ": input ", n, ", pool ", k, ", dilation ", d,
                 ", padding (", before, ", ", after, ")");
    how.size[i] = k, how.stride[i] = stride, how.dilation[i] = d, how.before[i] = before, how.after[i] = after;
    shape[static_cast<size_t>(i + (how.channels_first ? 2 : 1))] = size;
  }
  return shape;
}

Shape shape_of(const View& v) { return Shape(v.shape, v.shape + v.ndim); }

void check_dy(const Call& call, const View& dy, const Shape& shape) {
  call.require(shape_of(dy) == shape, "dy must have the shape of the result, ", shape_text(shape, shape.size()),
               ". Received: ", dy);
}

py::object max_pool2d_(py::handle x_, const Pair& pool, const Pair& strides, const Pads& pads, const Pair& dilation,
                       bool ceil_mode, bool channels_first, bool indices) {
  Call call("max_pool2d");
  const View x = call.in_float(x_, "x");
  Pool2d how{};
  how.channels_first = channels_first;
  const Shape shape = checked(call, shape_of(x), pool, strides, pads, dilation, ceil_mode, how);
  View y, at;
  Array out = call.out(py::none(), shape, x.dtype, y);
  if (!indices) {
    call.run([=] { max_pool2d(x, how, y, View{}); });
    return out;
  }
  Array places = call.out(py::none(), shape, DType::int64, at);
  call.run([=] { max_pool2d(x, how, y, at); });
  return py::make_tuple(out, places);
}

Array max_pool2d_gradient_(py::handle dy_, py::handle x_, const Pair& pool, const Pair& strides, const Pads& pads,
                           const Pair& dilation, bool ceil_mode, bool channels_first) {
  Call call("max_pool2d_gradient");
  const View x = call.in_float(x_, "x"), dy = call.in_like(dy_, "dy", x);
  Pool2d how{};
  how.channels_first = channels_first;
  check_dy(call, dy, checked(call, shape_of(x), pool, strides, pads, dilation, ceil_mode, how));
  View dx;
  Array out = call.out(py::none(), shape_of(x), x.dtype, dx);
  call.run([=] { max_pool2d_gradient(dy, x, how, dx); });
  return out;
}

Array avg_pool2d_(py::handle x_, const Pair& pool, const Pair& strides, const Pads& pads, const Pair& dilation,
                  bool ceil_mode, bool count_include_pad, bool channels_first) {
  Call call("avg_pool2d");
  const View x = call.in_float(x_, "x");
  Pool2d how{};
  how.channels_first = channels_first, how.include_pad = count_include_pad;
  const Shape shape = checked(call, shape_of(x), pool, strides, pads, dilation, ceil_mode, how);
  View y;
  Array out = call.out(py::none(), shape, x.dtype, y);
  call.run([=] { avg_pool2d(x, how, y); });
  return out;
}

Array avg_pool2d_gradient_(py::handle dy_, const Shape& x_shape, const Pair& pool, const Pair& strides,
                           const Pads& pads, const Pair& dilation, bool ceil_mode, bool count_include_pad,
                           bool channels_first) {
  Call call("avg_pool2d_gradient");
  const View dy = call.in_float(dy_, "dy");
  Pool2d how{};
  how.channels_first = channels_first, how.include_pad = count_include_pad;
  check_dy(call, dy, checked(call, x_shape, pool, strides, pads, dilation, ceil_mode, how));
  View dx;
  Array out = call.out(py::none(), x_shape, dy.dtype, dx);
  call.run([=] { avg_pool2d_gradient(dy, how, dx); });
  return out;
}

}  // namespace

void bind_pool2d(py::module_& m) {
  const Pads none{{{0, 0}, {0, 0}}};
  const Pair one{1, 1};
  const auto pool = py::arg("pool"), strides = py::arg("strides");
  const auto pads = py::arg("pads") = none, dilation = py::arg("dilation") = one;
  const auto ceil_mode = py::arg("ceil_mode") = false, include = py::arg("count_include_pad") = false;
  const auto first = py::arg("channels_first") = false;
  m.def("max_pool2d", max_pool2d_, py::arg("x"), py::kw_only(), pool, strides, pads, dilation, ceil_mode, first,
        py::arg("indices") = false);
  m.def("max_pool2d_gradient", max_pool2d_gradient_, py::arg("dy"), py::arg("x"), py::kw_only(), pool, strides, pads,
        dilation, ceil_mode, first);
  m.def("avg_pool2d", avg_pool2d_, py::arg("x"), py::kw_only(), pool, strides, pads, dilation, ceil_mode, include,
        first);
  m.def("avg_pool2d_gradient", avg_pool2d_gradient_, py::arg("dy"), py::arg("x_shape"), py::kw_only(), pool, strides,
        pads, dilation, ceil_mode, include, first);
}

}  // namespace nnfast
