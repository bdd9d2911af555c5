#include <algorithm>

#include "../ops.h"
#include "module.h"

namespace nnfast {
namespace {

const int64_t* key_in(Call& call, py::handle key_) {
  const View key = call.in_dtype(key_, "key", DType::int64);
  call.require(key.ndim == 1 && key.shape[0] == 2 && key.contiguous(),
               "key must be (seed, draw), contiguous, of shape (2,). Received: key.shape=", key);
  return key.as<int64_t>();
}

using Fill = void (*)(const int64_t* key, double a, double b, const View& y);

Array filled(const char* op, Fill fill, const Shape& shape, const py::object& dtype_, py::handle key_, double a,
             double b) {
  Call call(op);
  const int64_t* key = key_in(call, key_);
  const DType dtype = dtype_from(dtype_);
  if (dtype != DType::float32 && dtype != DType::float64)
    call.type_error("dtype must be float32 or float64. Received: ", dtype);
  View y;
  Array out = call.out(py::none(), shape, dtype, y);
  call.run([=] { fill(key, a, b, y); });
  return out;
}

Array uniform_(const Shape& shape, const py::object& dtype, py::handle key, double low, double high) {
  return filled("random_uniform", random_uniform, shape, dtype, key, low, high);
}
Array normal_(const Shape& shape, const py::object& dtype, py::handle key, double mean, double stddev) {
  return filled("random_normal", random_normal, shape, dtype, key, mean, stddev);
}
Array truncated_(const Shape& shape, const py::object& dtype, py::handle key, double mean, double stddev) {
  return filled("random_truncated_normal", random_truncated_normal, shape, dtype, key, mean, stddev);
}

Array permutation_(py::ssize_t n, py::handle key_) {
  Call call("permutation");
  call.require(n >= 0, "n must not be negative. Received: ", n);
  const int64_t* key = key_in(call, key_);
  View y;
  Array out = call.out(py::none(), {n}, DType::int64, y);
  void* scratch = call.scratch(permutation_scratch(n));
  call.run([=] { permutation(key, y, scratch); });
  return out;
}

Array dropout_(py::handle x_, py::handle key_, double rate, const std::optional<Shape>& noise_shape) {
  Call call("dropout");
  View x = call.in_float(x_, "x");
  call.require(rate >= 0 && rate <= 1, "rate must be in [0, 1]. Received: ", rate);
  const int64_t* key = key_in(call, key_);
  const Shape shape(x.shape, x.shape + x.ndim);
  if (!x.contiguous()) {  // its elements are numbered in C order
    const View dense = x.dense(call.scratch(static_cast<size_t>(x.size() * size_of(x.dtype))));
    call.run([=] { copy(x, dense); });
    x = dense;
  }
  View noise;
  if (noise_shape && *noise_shape != shape) {
    bool fits = noise_shape->size() == shape.size();
    for (size_t i = 0; fits && i < shape.size(); ++i) fits = (*noise_shape)[i] == 1 || (*noise_shape)[i] == shape[i];
    call.require(fits, "noise_shape must broadcast to x. Received: noise_shape=",
                 shape_text(*noise_shape, noise_shape->size()), ", x.shape=", x);
    noise = x;
    noise.dtype = DType::float32;
    std::copy(noise_shape->begin(), noise_shape->end(), noise.shape);
    noise = noise.dense(call.scratch(static_cast<size_t>(noise.size()) * sizeof(float)));
  }
  View y;
  Array out = call.out(py::none(), shape, x.dtype, y);
  call.run([=] { dropout(x, key, rate, noise, y); });
  return out;
}

}  // namespace

void bind_random(py::module_& m) {
  m.def("random_uniform", uniform_, py::arg("shape"), py::arg("dtype"), py::arg("key"), py::kw_only(),
        py::arg("low") = 0.0, py::arg("high") = 1.0);
  m.def("random_normal", normal_, py::arg("shape"), py::arg("dtype"), py::arg("key"), py::kw_only(),
        py::arg("mean") = 0.0, py::arg("stddev") = 1.0);
  m.def("random_truncated_normal", truncated_, py::arg("shape"), py::arg("dtype"), py::arg("key"), py::kw_only(),
        py::arg("mean") = 0.0, py::arg("stddev") = 1.0);
  m.def("permutation", permutation_, py::arg("n"), py::arg("key"));
  m.def("dropout", dropout_, py::arg("x"), py::arg("key"), py::kw_only(), py::arg("rate"),
        py::arg("noise_shape") = py::none());
}

}  // namespace nnfast
