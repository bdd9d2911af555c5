#include "../ops.h"
#include "module.h"

namespace nnfast {
namespace {

Activation activation_of(const Call& call, const char* name, int number) {
  const auto a = static_cast<Activation>(number);
  call.require(a == Activation::linear || a == Activation::relu || a == Activation::sigmoid || a == Activation::tanh,
               name, " must be 0 (linear), 1 (relu), 5 (sigmoid) or 6 (tanh). Received: ", number);
  return a;
}

View state_of(Call& call, py::handle array, const char* name, const View& x, int64_t units) {
  if (array.is_none()) return {};
  const View v = call.in_like(array, name, x);
  call.require(v.ndim == 2 && v.shape[0] == x.shape[0] && v.shape[1] == units, name, " must be (batch, units), (",
               x.shape[0], ", ", units, "). Received: ", name, ".shape=", v);
  return v;
}

struct Options {
  int activation, recurrent;
  bool reset_after, zero_masked;
};

// What forward and backward have in common; `bias` belongs to forward alone.
RecurrentOperands operands_of(Call& call, Cell cell, py::handle x_, py::handle w_, py::handle u_, py::handle mask_,
                              py::handle drop_, const Options& options) {
  RecurrentOperands o;
  o.cell = cell;
  o.x = call.in_float(x_, "x");
  call.require(o.x.ndim == 3, "x must be (batch, time, features). Received: x.shape=", o.x);
  o.w = call.in_like(w_, "w", o.x);
  o.u = call.in_like(u_, "u", o.x);
  const int64_t gates = recurrent_gates(cell);
  call.require(o.u.ndim == 2 && o.u.shape[0] > 0 && o.u.shape[1] == gates * o.u.shape[0], "u must be (units, ", gates,
               " * units). Received: u.shape=", o.u);
  call.require(o.w.ndim == 2 && o.w.shape[0] == o.x.shape[2] && o.w.shape[1] == o.u.shape[1], "w must be (features, ",
               gates, " * units). Received: w.shape=", o.w, ", x.shape=", o.x, ", u.shape=", o.u);
  if (!mask_.is_none()) {
    o.mask = call.in_dtype(mask_, "mask", DType::boolean);
    call.require(o.mask.ndim == 2 && o.mask.shape[0] == o.x.shape[0] && o.mask.shape[1] == o.x.shape[1],
                 "mask must be (batch, time). Received: mask.shape=", o.mask, ", x.shape=", o.x);
  }
  o.drop = state_of(call, drop_, "drop", o.x, o.u.shape[0]);
  o.activation = activation_of(call, "activation", options.activation);
  o.recurrent = activation_of(call, "recurrent_activation", options.recurrent);
  o.reset_after = options.reset_after;
  o.zero_masked = options.zero_masked;
  return o;
}

View bias_of(Call& call, py::handle bias_, const RecurrentOperands& o) {
  if (bias_.is_none()) return {};
  const View bias = call.in_like(bias_, "bias", o.x);
  const int64_t sums = o.u.shape[1];
  if (o.cell == Cell::gru && o.reset_after)
    call.require(bias.ndim == 2 && bias.shape[0] == 2 && bias.shape[1] == sums,
                 "with reset_after, bias must be (2, 3 * units). Received: bias.shape=", bias);
  else
    call.require(bias.ndim == 1 && bias.shape[0] == sums, "bias must be (", sums, ",). Received: bias.shape=", bias);
  return bias;
}

py::tuple forward(const char* op, Cell cell, py::handle x, py::handle w, py::handle u, py::handle bias, py::handle h,
                  py::handle c, py::handle mask, py::handle drop, const Options& options) {
  Call call(op);
  RecurrentOperands o = operands_of(call, cell, x, w, u, mask, drop, options);
  const int64_t B = o.x.shape[0], T = o.x.shape[1], U = o.u.shape[0];
  o.bias = bias_of(call, bias, o);
  o.h = state_of(call, h, "h", o.x, U);
  o.c = state_of(call, c, "c", o.x, U);
  RecurrentResults r;
  Array y_ = call.out(py::none(), {B, T, U}, o.x.dtype, r.y), h_ = call.out(py::none(), {B, U}, o.x.dtype, r.h);
  py::object c_ = py::none();
  if (cell == Cell::lstm) c_ = call.out(py::none(), {B, U}, o.x.dtype, r.c);
  Array saved_ = call.out(py::none(), {B, T, recurrent_saved(cell) * U}, o.x.dtype, r.saved);
  void* scratch = call.scratch(recurrent_scratch(o, r));
  call.run([=] { recurrent(o, r, scratch); });
  if (cell == Cell::lstm) return py::make_tuple(y_, h_, c_, saved_);
  return py::make_tuple(y_, h_, saved_);
}

struct Given {
  py::handle dy, dh, dc, saved;
};

py::tuple gradient(const char* op, Cell cell, const Given& given, py::handle x, py::handle w, py::handle u,
                   py::handle c, py::handle mask, py::handle drop, const Options& options, bool needs_x) {
  Call call(op);
  RecurrentOperands o = operands_of(call, cell, x, w, u, mask, drop, options);
  const int64_t B = o.x.shape[0], T = o.x.shape[1], F = o.x.shape[2], U = o.u.shape[0], K = recurrent_saved(cell) * U;
  const DType dtype = o.x.dtype;
  o.c = state_of(call, c, "c", o.x, U);
  RecurrentGradients g;
  g.saved = call.in_like(given.saved, "saved", o.x);
  call.require(g.saved.ndim == 3 && g.saved.shape[0] == B && g.saved.shape[1] == T && g.saved.shape[2] == K,
               "saved must be what the forward pass gave. Received: saved.shape=", g.saved);
  if (!given.dy.is_none()) {
    g.dy = call.in_like(given.dy, "dy", o.x);
    call.require(g.dy.ndim == 3 && g.dy.shape[0] == B && g.dy.shape[2] == U &&
                     (g.dy.shape[1] == T || (g.dy.shape[1] == 1 && T > 0)),
                 "dy must be (batch, time, units), or (batch, 1, units) of the last step. Received: dy.shape=", g.dy);
  }
  g.dh = state_of(call, given.dh, "dh", o.x, U);
  g.dc = state_of(call, given.dc, "dc", o.x, U);
  const bool two = cell == Cell::gru && o.reset_after, lstm = cell == Cell::lstm;
  const int64_t G = o.u.shape[1];
  py::object dx_ = py::none(), e0_ = py::none();
  if (needs_x) dx_ = call.out(py::none(), {B, T, F}, dtype, g.dx);
  Array dw_ = call.out(py::none(), {F, G}, dtype, g.dw), du_ = call.out(py::none(), {U, G}, dtype, g.du);
  Array db_ = call.out(py::none(), two ? Shape{2, G} : Shape{G}, dtype, g.dbias);
  Array d0_ = call.out(py::none(), {B, U}, dtype, g.d0);
  if (lstm) e0_ = call.out(py::none(), {B, U}, dtype, g.e0);
  if (!g.saved.contiguous()) {
    const View dense = g.saved.dense(call.scratch(static_cast<size_t>(g.saved.size() * size_of(dtype)))),
               from = g.saved;
    call.run([=] { copy(from, dense); });
    g.saved = dense;
  }
  void* scratch = call.scratch(recurrent_gradient_scratch(o, g));
  call.run([=] { recurrent_gradient(o, g, scratch); });
  if (lstm) return py::make_tuple(dx_, dw_, du_, db_, d0_, e0_);
  return py::make_tuple(dx_, dw_, du_, db_, d0_);
}

constexpr int SIGMOID = static_cast<int>(Activation::sigmoid), TANH = static_cast<int>(Activation::tanh);

}  // namespace

void bind_recurrent(py::module_& m) {
  using H = py::handle;
  const py::none none;
  m.def(
      "simple_rnn",
      [](H x, H w, H u, H bias, H h, H mask, H drop, int activation, bool zero_masked) {
        return forward("simple_rnn", Cell::simple, x, w, u, bias, h, py::none(), mask, drop,
                       {activation, 0, false, zero_masked});
      },
      py::arg("x"), py::arg("w"), py::arg("u"), py::arg("bias") = none, py::arg("h") = none, py::arg("mask") = none,
      py::arg("drop") = none, py::kw_only(), py::arg("activation") = TANH, py::arg("zero_masked") = false);
  m.def(
      "simple_rnn_gradient",
      [](H dy, H dh, H x, H w, H u, H saved, H mask, H drop, int activation, bool zero_masked, bool needs_x) {
        return gradient("simple_rnn_gradient", Cell::simple, {dy, dh, py::none(), saved}, x, w, u, py::none(), mask,
                        drop, {activation, 0, false, zero_masked}, needs_x);
      },
      py::arg("dy"), py::arg("dh"), py::arg("x"), py::arg("w"), py::arg("u"), py::arg("saved"), py::arg("mask") = none,
      py::arg("drop") = none, py::kw_only(), py::arg("activation") = TANH, py::arg("zero_masked") = false,
      py::arg("needs_x") = true);
  m.def(
      "lstm",
      [](H x, H w, H u, H bias, H h, H c, H mask, H drop, int activation, int recurrent, bool zero_masked) {
        return forward("lstm", Cell::lstm, x, w, u, bias, h, c, mask, drop,
                       {activation, recurrent, false, zero_masked});
      },
      py::arg("x"), py::arg("w"), py::arg("u"), py::arg("bias") = none, py::arg("h") = none, py::arg("c") = none,
      py::arg("mask") = none, py::arg("drop") = none, py::kw_only(), py::arg("activation") = TANH,
      py::arg("recurrent_activation") = SIGMOID, py::arg("zero_masked") = false);
  m.def(
      "lstm_gradient",
      [](H dy, H dh, H dc, H x, H w, H u, H saved, H c, H mask, H drop, int activation, int recurrent, bool zero_masked,
         bool needs_x) {
        return gradient("lstm_gradient", Cell::lstm, {dy, dh, dc, saved}, x, w, u, c, mask, drop,
                        {activation, recurrent, false, zero_masked}, needs_x);
      },
      py::arg("dy"), py::arg("dh"), py::arg("dc"), py::arg("x"), py::arg("w"), py::arg("u"), py::arg("saved"),
      py::arg("c") = none, py::arg("mask") = none, py::arg("drop") = none, py::kw_only(), py::arg("activation") = TANH,
      py::arg("recurrent_activation") = SIGMOID, py::arg("zero_masked") = false, py::arg("needs_x") = true);
  m.def(
      "gru",
      [](H x, H w, H u, H bias, H h, H mask, H drop, int activation, int recurrent, bool reset_after,
         bool zero_masked) {
        return forward("gru", Cell::gru, x, w, u, bias, h, py::none(), mask, drop,
                       {activation, recurrent, reset_after, zero_masked});
      },
      py::arg("x"), py::arg("w"), py::arg("u"), py::arg("bias") = none, py::arg("h") = none, py::arg("mask") = none,
      py::arg("drop") = none, py::kw_only(), py::arg("activation") = TANH, py::arg("recurrent_activation") = SIGMOID,
      py::arg("reset_after") = true, py::arg("zero_masked") = false);
  m.def(
      "gru_gradient",
      [](H dy, H dh, H x, H w, H u, H saved, H mask, H drop, int activation, int recurrent, bool reset_after,
         bool zero_masked, bool needs_x) {
        return gradient("gru_gradient", Cell::gru, {dy, dh, py::none(), saved}, x, w, u, py::none(), mask, drop,
                        {activation, recurrent, reset_after, zero_masked}, needs_x);
      },
      py::arg("dy"), py::arg("dh"), py::arg("x"), py::arg("w"), py::arg("u"), py::arg("saved"), py::arg("mask") = none,
      py::arg("drop") = none, py::kw_only(), py::arg("activation") = TANH, py::arg("recurrent_activation") = SIGMOID,
      py::arg("reset_after") = true, py::arg("zero_masked") = false, py::arg("needs_x") = true);
}

}  // namespace nnfast
