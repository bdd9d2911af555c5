// Element-wise ops, made from elementwise_ops.inl.
#include "../ops.h"
#include "module.h"

namespace nnfast {
namespace {

// The shape that the operands broadcast to, by NumPy's rules.
template <class... Views>
Shape broadcast_shape(const Call& call, const Views&... operands) {
  int ndim = 0;
  ((ndim = std::max<int>(ndim, operands.ndim)), ...);
  Shape shape(static_cast<size_t>(ndim), 1);
  const auto merge = [&](const View& v) {
    for (int i = 0; i < v.ndim; ++i) {
      py::ssize_t& size = shape[static_cast<size_t>(i + ndim - v.ndim)];
      if (size == 1) size = v.shape[i];
      if (v.shape[i] == 1 || v.shape[i] == size) continue;
      std::string shapes;
      ((shapes += (shapes.empty() ? "" : ", ") + text(operands)), ...);
      throw std::invalid_argument(call.message(
          "the shapes do not broadcast: aligned at the right, sizes must be equal or 1. Received: ", shapes));
    }
  };
  (merge(operands), ...);
  return shape;
}

Shape shape_of(const View& v) { return Shape(v.shape, v.shape + v.ndim); }
bool same_shape(const View& v, const Shape& shape) {
  return shape.size() == static_cast<size_t>(v.ndim) && std::equal(shape.begin(), shape.end(), v.shape);
}

Array run_unary(const char* name, Unary op, py::handle x_, double p, double q, py::handle out_) {
  Call call(name);
  const View x = call.in_float(x_, "x");
  View y;
  Array out = call.out(out_, shape_of(x), x.dtype, y);
  call.run([=] { unary(op, x, p, q, y); });
  return out;
}

Array run_unary_gradient(const char* name, Unary op, py::handle dy_, py::handle s_, double p, double q) {
  Call call(name);
  const View dy = call.in_float(dy_, "dy"), s = call.in_like(s_, "s", dy);
  call.require(same_shape(dy, shape_of(s)), "dy and s must have one shape. Received: dy.shape=", dy, ", s.shape=", s);
  View dx;
  Array out = call.out(py::none(), shape_of(s), s.dtype, dx);
  call.run([=] { unary_gradient(op, dy, s, p, q, dx); });
  return out;
}

Array run_binary(const char* name, Binary op, py::handle a_, py::handle b_, py::handle out_) {
  Call call(name);
  const View a = call.in_float(a_, "a"), b = call.in_like(b_, "b", a);
  View y;
  Array out = call.out(out_, broadcast_shape(call, a, b), a.dtype, y);
  call.run([=] { binary(op, a, b, y); });
  return out;
}

py::tuple run_binary_gradient(const char* name, Binary op, py::handle dy_, py::handle a_, py::handle b_, bool needs_a,
                              bool needs_b) {
  Call call(name);
  const View dy = call.in_float(dy_, "dy"), a = call.in_like(a_, "a", dy), b = call.in_like(b_, "b", dy);
  const Shape shape = broadcast_shape(call, a, b);
  call.require(same_shape(dy, shape), "dy must have the shape of the result, ", shape_text(shape, shape.size()),
               ". Received: dy.shape=", dy);
  View da, db;
  const py::object da_ = needs_a ? call.out(py::none(), shape_of(a), dy.dtype, da) : py::object(py::none());
  const py::object db_ = needs_b ? call.out(py::none(), shape_of(b), dy.dtype, db) : py::object(py::none());
  void* scratch = call.scratch(binary_gradient_scratch(dy, da, db));
  if (needs_a || needs_b) call.run([=] { binary_gradient(op, dy, a, b, da, db, scratch); });
  return py::make_tuple(da_, db_);
}

Array run_comparison(const char* name, Comparison op, py::handle a_, py::handle b_, py::handle out_) {
  Call call(name);
  const View a = call.in_float(a_, "a"), b = call.in_like(b_, "b", a);
  View y;
  Array out = call.out(out_, broadcast_shape(call, a, b), DType::boolean, y);
  call.run([=] { compare(op, a, b, y); });
  return out;
}

Array where_(py::handle condition_, py::handle a_, py::handle b_, py::handle out_) {
  Call call("where");
  const View condition = call.in_dtype(condition_, "condition", DType::boolean), a = call.in_float(a_, "a"),
             b = call.in_like(b_, "b", a);
  View y;
  Array out = call.out(out_, broadcast_shape(call, condition, a, b), a.dtype, y);
  call.run([=] { where(condition, a, b, y); });
  return out;
}

py::tuple where_gradient_(py::handle dy_, py::handle condition_, py::handle a_, py::handle b_, bool needs_a,
                          bool needs_b) {
  Call call("where_gradient");
  const View dy = call.in_float(dy_, "dy"), a = call.in_like(a_, "a", dy), b = call.in_like(b_, "b", dy),
             condition = call.in_dtype(condition_, "condition", DType::boolean);
  const Shape shape = broadcast_shape(call, condition, a, b);
  call.require(same_shape(dy, shape), "dy must have the shape of the result, ", shape_text(shape, shape.size()),
               ". Received: dy.shape=", dy);
  View da, db;
  const py::object da_ = needs_a ? call.out(py::none(), shape_of(a), dy.dtype, da) : py::object(py::none());
  const py::object db_ = needs_b ? call.out(py::none(), shape_of(b), dy.dtype, db) : py::object(py::none());
  void* scratch = call.scratch(binary_gradient_scratch(dy, da, db));
  if (needs_a || needs_b) call.run([=] { where_gradient(dy, condition, da, db, scratch); });
  return py::make_tuple(da_, db_);
}

// Numbers after x: as many as the op has parameters.
void bind_unary(py::module_& m, const char* name, const char* gradient, Unary op, int parameters) {
  const py::arg x("x"), dy("dy"), s("s");
  const py::arg_v out("out", py::none());
  if (parameters == 0) {
    m.def(name, [=](py::handle v, py::handle o) { return run_unary(name, op, v, 0, 0, o); }, x, py::kw_only(), out);
    m.def(gradient, [=](py::handle d, py::handle v) { return run_unary_gradient(gradient, op, d, v, 0, 0); }, dy, s);
  } else if (parameters == 1) {
    m.def(
        name, [=](py::handle v, double p, py::handle o) { return run_unary(name, op, v, p, 0, o); }, x, py::arg("p"),
        py::kw_only(), out);
    m.def(
        gradient, [=](py::handle d, py::handle v, double p) { return run_unary_gradient(gradient, op, d, v, p, 0); },
        dy, s, py::arg("p"));
  } else {
    m.def(
        name, [=](py::handle v, double p, double q, py::handle o) { return run_unary(name, op, v, p, q, o); }, x,
        py::arg("p"), py::arg("q"), py::kw_only(), out);
    m.def(
        gradient,
        [=](py::handle d, py::handle v, double p, double q) { return run_unary_gradient(gradient, op, d, v, p, q); },
        dy, s, py::arg("p"), py::arg("q"));
  }
}

void bind_binary(py::module_& m, const char* name, const char* gradient, Binary op) {
  m.def(
      name, [=](py::handle a, py::handle b, py::handle out) { return run_binary(name, op, a, b, out); }, py::arg("a"),
      py::arg("b"), py::arg("out") = py::none());
  m.def(
      gradient,
      [=](py::handle dy, py::handle a, py::handle b, bool needs_a, bool needs_b) {
        return run_binary_gradient(gradient, op, dy, a, b, needs_a, needs_b);
      },
      py::arg("dy"), py::arg("a"), py::arg("b"), py::arg("needs_a") = true, py::arg("needs_b") = true);
}

void bind_comparison(py::module_& m, const char* name, Comparison op) {
  m.def(
      name, [=](py::handle a, py::handle b, py::handle out) { return run_comparison(name, op, a, b, out); },
      py::arg("a"), py::arg("b"), py::arg("out") = py::none());
}
}  // namespace

void bind_elementwise(py::module_& m) {
#define UNARY(op, parameters, ...) bind_unary(m, #op, #op "_gradient", Unary::op, parameters);
#define BINARY(op, ...) bind_binary(m, #op, #op "_gradient", Binary::op);
#define COMPARISON(op, ...) bind_comparison(m, #op, Comparison::op);
#include "../elementwise_ops.inl"
  m.def("where", where_, py::arg("condition"), py::arg("a"), py::arg("b"), py::arg("out") = py::none());
  m.def("where_gradient", where_gradient_, py::arg("dy"), py::arg("condition"), py::arg("a"), py::arg("b"),
        py::arg("needs_a") = true, py::arg("needs_b") = true);
}

}  // namespace nnfast
