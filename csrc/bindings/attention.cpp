#include "../ops.h"
#include "module.h"

namespace nnfast {
namespace {

AttentionOperands operands_of(Call& call, py::handle q_, py::handle k_, py::handle v_, py::handle mask_,
                              py::handle key_, double scale, bool causal, double rate, int precision) {
  AttentionOperands o{};
  o.q = call.in_float(q_, "q");
  o.k = call.in_like(k_, "k", o.q);
  o.v = call.in_like(v_, "v", o.q);
  call.require(o.q.ndim == 4 && o.k.ndim == 4 && o.v.ndim == 4,
               "q, k and v must be (batch, positions, heads, features). Received: q.shape=", o.q, ", k.shape=", o.k,
               ", v.shape=", o.v);
  const bool one = o.k.shape[0] == o.q.shape[0] && o.v.shape[0] == o.q.shape[0] && o.k.shape[2] == o.q.shape[2] &&
                   o.v.shape[2] == o.q.shape[2];
  call.require(one && o.k.shape[3] == o.q.shape[3] && o.v.shape[1] == o.k.shape[1],
               "q, k and v must have one batch and as many heads, q and k as many features, k and v as many positions. "
               "Received: q.shape=",
               o.q, ", k.shape=", o.k, ", v.shape=", o.v);
  if (!mask_.is_none()) {
    o.mask = call.in_dtype(mask_, "mask", DType::boolean);
    const int64_t wanted[] = {o.q.shape[0], o.q.shape[2], o.q.shape[1], o.k.shape[1]};
    bool fits = o.mask.ndim == 4;
    for (int i = 0; fits && i < 4; ++i) fits = o.mask.shape[i] == wanted[i];
    call.require(fits, "mask must be (batch, heads, queries, keys). Received: mask.shape=", o.mask, ", q.shape=", o.q,
                 ", k.shape=", o.k);
  }
  call.require(rate >= 0 && rate <= 1, "rate must be in [0, 1]. Received: ", rate);
  call.require(rate == 0 || !key_.is_none(), "dropout needs a key");
  if (rate > 0) {
    const View key = call.in_dtype(key_, "key", DType::int64);
    call.require(key.ndim == 1 && key.shape[0] == 2 && key.contiguous(),
                 "key must be (seed, draw), contiguous, of shape (2,). Received: key.shape=", key);
    o.key = key.as<int64_t>();
  }
  o.scale = scale;
  o.rate = rate;
  o.causal = causal;
  o.precision = precision_of(call, precision);
  return o;
}

Shape shape_of(const View& v) { return Shape(v.shape, v.shape + v.ndim); }

Array attention_(py::handle q, py::handle k, py::handle v, py::handle mask, py::handle key, double scale, bool causal,
                 double rate, int precision) {
  Call call("attention");
  const AttentionOperands o = operands_of(call, q, k, v, mask, key, scale, causal, rate, precision);
  View y;
  Array out = call.out(py::none(), {o.q.shape[0], o.q.shape[1], o.q.shape[2], o.v.shape[3]}, o.q.dtype, y);
  void* scratch = call.scratch(attention_scratch(o));
  call.run([=] { attention(o, y, scratch); });
  return out;
}

py::tuple attention_gradient_(py::handle dy_, py::handle q, py::handle k, py::handle v, py::handle mask, py::handle key,
                              double scale, bool causal, double rate, int precision) {
  Call call("attention_gradient");
  const AttentionOperands o = operands_of(call, q, k, v, mask, key, scale, causal, rate, precision);
  const View dy = call.in_like(dy_, "dy", o.q);
  call.require(dy.ndim == 4 && dy.shape[0] == o.q.shape[0] && dy.shape[1] == o.q.shape[1] &&
                   dy.shape[2] == o.q.shape[2] && dy.shape[3] == o.v.shape[3],
               "dy must have the shape of the result. Received: dy.shape=", dy, ", q.shape=", o.q, ", v.shape=", o.v);
  View dq, dk, dv;
  Array dq_ = call.out(py::none(), shape_of(o.q), o.q.dtype, dq);
  Array dk_ = call.out(py::none(), shape_of(o.k), o.q.dtype, dk);
  Array dv_ = call.out(py::none(), shape_of(o.v), o.q.dtype, dv);
  void* scratch = call.scratch(attention_gradient_scratch(o));
  call.run([=] { attention_gradient(dy, o, dq, dk, dv, scratch); });
  return py::make_tuple(dq_, dk_, dv_);
}

}  // namespace

void bind_attention(py::module_& m) {
  m.def("attention", attention_, py::arg("q"), py::arg("k"), py::arg("v"), py::arg("mask") = py::none(),
        py::arg("key") = py::none(), py::kw_only(), py::arg("scale") = 1.0, py::arg("causal") = false,
        py::arg("rate") = 0.0, py::arg("precision") = 0);
  m.def("attention_gradient", attention_gradient_, py::arg("dy"), py::arg("q"), py::arg("k"), py::arg("v"),
        py::arg("mask") = py::none(), py::arg("key") = py::none(), py::kw_only(), py::arg("scale") = 1.0,
        py::arg("causal") = false, py::arg("rate") = 0.0, py::arg("precision") = 0);
}

}  // namespace nnfast
