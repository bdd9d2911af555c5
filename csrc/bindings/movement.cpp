#include "../ops.h"
#include "module.h"
#include "plan.h"

namespace nnfast {
namespace {

bool is_float(DType d) { return d == DType::float32 || d == DType::float64; }

void copy_(py::handle source_, py::handle target_, py::handle status_) {
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
  const Status* status = status_.is_none() ? nullptr : call.status(status_);
  if (target.size() && overlap(source, target)) {  // as if the source were copied first
    const View between = source.dense(call.scratch(static_cast<size_t>(source.size() * size_of(source.dtype))));
    call.run([=] {
      copy(source, between, status);
      copy(between, target, status);
    });
  } else {
    call.run([=] { copy(source, target, status); });
  }
}

Array full_(const Shape& shape, const py::object& dtype, double value) {
  Call call("full");
  View y;
  Array out = call.out(py::none(), shape, dtype_from(dtype), y);
  call.run([=] { full(value, y); });
  return out;
}

Array contiguous_(py::handle x_) {
  Call call("contiguous");
  const View x = call.in(x_, "x");
  if (x.contiguous() && !call.copied()) return py::reinterpret_borrow<Array>(x_);
  View y;
  Array out = call.out(py::none(), Shape(x.shape, x.shape + x.ndim), x.dtype, y);
  call.run([=] { copy(x, y); });
  return out;
}

Array cast_(py::handle x_, const py::object& dtype, double scale) {
  Call call("cast");
  const View x = call.in(x_, "x");
  const DType to = dtype_from(dtype);
  call.require(scale == 1 || is_float(to), "only floats can be scaled. Received: dtype=", to, ", scale=", scale);
  View y;
  Array out = call.out(py::none(), Shape(x.shape, x.shape + x.ndim), to, y);
  call.run([=] { cast(x, scale, y); });
  return out;
}

// Indices count rows, so they are integers: bool would be a mask, and floats a mistake.
View indices_in(Call& call, py::handle array) {
  const View v = call.in(array, "indices");
  if (v.dtype == DType::boolean || is_float(v.dtype)) call.type_error("indices must be integers. Received: ", v.dtype);
  return v;
}

Array take_rows_(py::handle x_, py::handle indices_, const py::object& dtype_, double scale, py::handle status_) {
  Call call("take_rows");
  const View* slot = nullptr;
  const View x = in_or_slot(call, x_, "x", slot), indices = indices_in(call, indices_);
  call.require(x.ndim >= 1, "x must have rows. Received: x.shape=", x);
  call.require(indices.ndim + x.ndim - 1 <= MAX_DIMS, "the result would have more than ", MAX_DIMS,
               " dimensions. Received: x.shape=", x, ", indices.shape=", indices);
  const DType dtype = dtype_.is_none() ? x.dtype : dtype_from(dtype_);
  call.require(scale == 1 || is_float(dtype), "only floats can be scaled. Received: dtype=", dtype, ", scale=", scale);
  Shape shape(indices.shape, indices.shape + indices.ndim);
  shape.insert(shape.end(), x.shape + 1, x.shape + x.ndim);
  View y;
  Array out = call.out(py::none(), shape, dtype, y);
  Status* status = call.status(status_);
  call.run([=] { take_rows(slot ? *slot : x, indices, scale, y, status); });
  return out;
}

// Reads dy densely: a strided one is copied first.
Array take_rows_gradient_(py::handle dy_, py::handle indices_, py::ssize_t rows, py::handle status_) {
  Call call("take_rows_gradient");
  const Array dense = contiguous_(dy_);
  const View dy = call.in_float(dense, "dy"), indices = indices_in(call, indices_);
  bool fits = dy.ndim >= indices.ndim;
  for (int i = 0; fits && i < indices.ndim; ++i) fits = dy.shape[i] == indices.shape[i];
  call.require(fits, "dy must have a row per index. Received: dy.shape=", dy, ", indices.shape=", indices);
  call.require(rows >= 0, "rows must not be negative. Received: ", rows);
  Shape shape{rows};
  shape.insert(shape.end(), dy.shape + indices.ndim, dy.shape + dy.ndim);
  View dx;
  Array out = call.out(py::none(), shape, dy.dtype, dx);
  Status* status = call.status(status_);
  void* scratch = call.scratch(take_rows_gradient_scratch(dx));
  call.run([=] { take_rows_gradient(dy, indices, dx, scratch, status); });
  return out;
}

// One copy per array, each into its place in the result.
Array concat_(const std::vector<py::object>& arrays, int64_t axis) {
  Call call("concat");
  call.require(!arrays.empty(), "at least one array is needed");
  std::vector<View> views;
  for (const py::object& a : arrays) {
    views.push_back(call.in(a, "arrays[0]"));
    const View &first = views[0], &v = views.back();
    if (v.dtype != first.dtype)
      call.type_error("all arrays must have one dtype. Received: ", first.dtype, " and ", v.dtype,
                      ". Cast one of them, e.g. ops.cast(x, '", first.dtype, "')");
    if (axis < -first.ndim || axis >= first.ndim)
      throw std::out_of_range(
          call.message("axis is out of range. Received: axis=", axis, ", arrays of ", first.ndim, " dimensions"));
    bool fits = v.ndim == first.ndim;
    for (int i = 0; fits && i < v.ndim; ++i)
      fits = v.shape[i] == first.shape[i] || i == (axis < 0 ? axis + first.ndim : axis);
    call.require(fits, "all sizes but that of axis ", axis, " must be equal. Received: shapes ", first, " and ", v);
  }
  const size_t d = static_cast<size_t>(axis < 0 ? axis + views[0].ndim : axis);
  Shape shape(views[0].shape, views[0].shape + views[0].ndim);
  shape[d] = 0;
  for (const View& v : views)
    if (__builtin_add_overflow(shape[d], v.shape[d], &shape[d]))
      throw std::overflow_error(call.message("the result does not fit in memory"));
  View y;
  Array out = call.out(py::none(), shape, views[0].dtype, y);
  int64_t step = 1;  // also where the result has one row, and its View no stride
  for (size_t i = d + 1; i < shape.size(); ++i) step *= shape[i];
  int64_t place = 0;
  for (const View& x : views) {
    View part = y;
    part.shape[d] = x.shape[d];
    part.data = y.as<char>() + place * step * size_of(y.dtype);
    place += x.shape[d];
    call.run([=] { copy(x, part); });
  }
  return out;
}

Array pad_(py::handle x_, const std::vector<std::pair<int64_t, int64_t>>& widths, double value) {
  Call call("pad");
  const View x = call.in(x_, "x");
  call.require(static_cast<int>(widths.size()) == x.ndim, "widths needs (before, after) for each of ", x.ndim,
               " axes. Received: ", widths.size(), " pairs");
  Shape shape;
  Before before{};
  for (int i = 0; i < x.ndim; ++i) {
    const auto [first, after] = widths[static_cast<size_t>(i)];
    call.require(first >= 0 && after >= 0, "widths must not be negative. Received: (", first, ", ", after,
                 ") for axis ", i);
    int64_t n;
    if (__builtin_add_overflow(x.shape[i], first, &n) || __builtin_add_overflow(n, after, &n))
      throw std::overflow_error(
          call.message("the result does not fit in memory. Received: widths (", first, ", ", after, ") for axis ", i));
    shape.push_back(n);
    before.cells[i] = first;
  }
  View y;
  Array out = call.out(py::none(), shape, x.dtype, y);
  call.run([=] { pad(x, before, value, y); });
  return out;
}

Array one_hot_(py::handle indices_, py::ssize_t classes, const py::object& dtype, py::handle status_) {
  Call call("one_hot");
  const View indices = indices_in(call, indices_);
  call.require(classes >= 0, "classes must not be negative. Received: ", classes);
  call.require(indices.ndim < MAX_DIMS, "the result would have more than ", MAX_DIMS, " dimensions");
  Shape shape(indices.shape, indices.shape + indices.ndim);
  shape.push_back(classes);
  View y;
  Array out = call.out(py::none(), shape, dtype_from(dtype), y);
  Status* status = call.status(status_);
  call.run([=] { one_hot(indices, y, status); });
  return out;
}

}  // namespace

void bind_movement(py::module_& m) {
  m.def("copy", copy_, py::arg("source"), py::arg("target"), py::kw_only(), py::arg("status") = py::none());
  m.def("full", full_, py::arg("shape"), py::arg("dtype"), py::arg("value"));
  m.def("contiguous", contiguous_, py::arg("x"));
  m.def("cast", cast_, py::arg("x"), py::arg("dtype"), py::arg("scale") = 1.0);
  m.def("take_rows", take_rows_, py::arg("x"), py::arg("indices"), py::kw_only(), py::arg("dtype") = py::none(),
        py::arg("scale") = 1.0, py::arg("status") = py::none());
  m.def("take_rows_gradient", take_rows_gradient_, py::arg("dy"), py::arg("indices"), py::arg("rows"), py::kw_only(),
        py::arg("status") = py::none());
  m.def("concat", concat_, py::arg("arrays"), py::arg("axis"));
  m.def("pad", pad_, py::arg("x"), py::arg("widths"), py::arg("value") = 0.0);
  m.def("one_hot", one_hot_, py::arg("indices"), py::arg("classes"), py::arg("dtype"), py::kw_only(),
        py::arg("status") = py::none());
}

}  // namespace nnfast
