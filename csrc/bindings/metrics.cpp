#include "../ops.h"
#include "module.h"

namespace nnfast {
namespace {

void accumulate_(py::handle sums_, py::handle values_, py::handle weights_, double scale, py::handle status_) {
  Call call("accumulate");
  const View sums = call.inout(sums_, "sums");
  call.require(sums.dtype == DType::float64 && sums.ndim == 1 && sums.shape[0] == 2,
               "sums must be float64 of shape (2,). Received: ", sums.dtype, ", shape ", sums);
  const View values = call.in(values_, "values");
  View weights = weights_.is_none() ? View{} : call.in_float(weights_, "weights");
  if (weights.given()) {  // as an operand of values' shape, repeated with stride 0
    bool fits = weights.ndim <= values.ndim;
    View wide = values;
    wide.data = weights.data;
    wide.dtype = weights.dtype;
    for (int i = 0; fits && i < values.ndim; ++i) {
      const int from = i - (values.ndim - weights.ndim);
      wide.stride[i] = from < 0 || weights.shape[from] == 1 ? 0 : weights.stride[from];
      fits = from < 0 || weights.shape[from] == 1 || weights.shape[from] == values.shape[i];
    }
    call.require(fits, "weights must broadcast to values. Received: values.shape=", values,
                 ", weights.shape=", weights);
    weights = wide;
  }
  const Status* status = status_.is_none() ? nullptr : call.status(status_);
  call.run([=] { accumulate(sums, values, weights, scale, status); });
}

Array class_hits_(py::handle x_, py::handle labels_) {
  Call call("class_hits");
  const View x = call.in_float(x_, "x"), labels = call.in(labels_, "labels");
  bool fits = x.ndim >= 1 && labels.ndim == x.ndim - 1;
  for (int i = 0; fits && i < labels.ndim; ++i) fits = labels.shape[i] == x.shape[i];
  call.require(fits, "labels must have the shape of x without its last axis. Received: x.shape=", x,
               ", labels.shape=", labels);
  View y;
  const Shape shape(labels.shape, labels.shape + labels.ndim);
  Array out = call.out(py::none(), shape, DType::boolean, y);
  call.require(x.shape[labels.ndim] > 0 || y.size() == 0, "there are no classes. Received: x.shape=", x);
  call.run([=] { class_hits(x, labels, y); });
  return out;
}

void advance_(py::handle counter_, int64_t amount, py::handle status_) {
  Call call("advance");
  const View counter = call.inout(counter_, "counter");
  if (counter.dtype != DType::int64) call.type_error("counter must be int64. Received: ", counter.dtype);
  const Status* status = status_.is_none() ? nullptr : call.status(status_);
  call.run([=] { advance(counter, amount, status); });
}

void check_finite_(py::handle x_, py::handle status_) {
  Call call("check_finite");
  const View x = call.in_float(x_, "x");
  Status* status = call.status(status_);
  call.run([=] { check_finite(x, status); });
}

}  // namespace

void bind_metrics(py::module_& m) {
  m.def("accumulate", accumulate_, py::arg("sums"), py::arg("values"), py::arg("weights") = py::none(), py::kw_only(),
        py::arg("scale") = 1.0, py::arg("status") = py::none());
  m.def("class_hits", class_hits_, py::arg("x"), py::arg("labels"));
  m.def("advance", advance_, py::arg("counter"), py::arg("amount") = 1, py::kw_only(), py::arg("status") = py::none());
  m.def("check_finite", check_finite_, py::arg("x"), py::kw_only(), py::arg("status"));
}

}  // namespace nnfast
