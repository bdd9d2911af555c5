#include "../ops.h"
#include "module.h"

namespace nnfast {
namespace {

int checked_axis(const Call& call, const View& x, int64_t axis) {
  if (axis < -x.ndim || axis >= x.ndim)
    throw py::index_error(call.message("axis ", axis, " is out of range. Received: x.shape=", x));
  return static_cast<int>(axis < 0 ? axis + x.ndim : axis);
}

Array forward(const char* op, bool logarithm, py::handle x_, int64_t axis_) {
  Call call(op);
  const View x = call.in_float(x_, "x");
  const int axis = checked_axis(call, x, axis_);
  View y;
  Array out = call.out(py::none(), Shape(x.shape, x.shape + x.ndim), x.dtype, y);
  call.run([=] { softmax(x, axis, logarithm, y); });
  return out;
}

Array gradient(const char* op, bool logarithm, py::handle dy_, py::handle y_, int64_t axis_) {
  Call call(op);
  const View y = call.in_float(y_, "y"), dy = call.in_like(dy_, "dy", y);
  const int axis = checked_axis(call, y, axis_);
  bool same = dy.ndim == y.ndim;
  for (int i = 0; same && i < y.ndim; ++i) same = dy.shape[i] == y.shape[i];
  call.require(same, "dy must have the shape of y. Received: dy.shape=", dy, ", y.shape=", y);
  View dx;
  Array out = call.out(py::none(), Shape(y.shape, y.shape + y.ndim), y.dtype, dx);
  void* scratch = call.scratch(softmax_gradient_scratch(y));
  call.run([=] { softmax_gradient(dy, y, axis, logarithm, dx, scratch); });
  return out;
}

View vector_of(Call& call, py::handle array, const char* name, int64_t n, const char* what, const View& logits) {
  if (array.is_none()) return {};
  const View v = call.in_like(array, name, logits);
  call.require(v.ndim == 1 && v.shape[0] == n, name, " must have one value per ", what, ", (", n,
               ",). Received: ", name, ".shape=", v, ", logits.shape=", logits);
  return v;
}

void check_labels(Call& call, const View& labels, const View& logits) {
  const int64_t N = logits.shape[0], C = logits.shape[1];
  if (labels.ndim == 2) {
    call.require(labels.shape[1] != 1 || C == 1, "labels of shape ", labels,
                 " are one class number per row: use labels.reshape(-1). Rows of probabilities would have shape ",
                 logits);
    call.require(labels.shape[0] == N && labels.shape[1] == C,
                 "rows of probabilities must have the shape of the logits", ". Received: labels.shape=", labels,
                 ", logits.shape=", logits);
    if (labels.dtype != logits.dtype)
      call.type_error("rows of probabilities must have the dtype of the logits. Received: labels ", labels.dtype,
                      ", logits ", logits.dtype, ". Use astype()");
  } else {
    call.require(labels.ndim == 1 && labels.shape[0] == N, "labels must be one class number per row, (", N,
                 ",), or a row of probabilities for each, ", logits, ". Received: labels.shape=", labels,
                 ", logits.shape=", logits);
  }
}

py::tuple xent(py::handle logits_, py::handle labels_, py::handle sample_weight_, py::handle class_weight_,
               std::optional<int64_t> ignore_class, double label_smoothing, const std::string& reduction,
               py::handle status_, bool gradient) {
  Call call("softmax_xent");
  XentOperands o;
  o.logits = call.in_float(logits_, "logits");
  call.require(o.logits.ndim == 2, "logits must be (samples, classes). Received: logits.shape=", o.logits);
  const int64_t N = o.logits.shape[0], C = o.logits.shape[1];
  call.require(C > 0 || N == 0, "logits have no classes. Received: logits.shape=", o.logits);
  o.labels = call.in(labels_, "labels");
  check_labels(call, o.labels, o.logits);
  call.require(!ignore_class || o.labels.ndim == 1,
               "ignore_class needs class numbers. Received: labels.shape=", o.labels);
  o.ignore = {ignore_class.has_value(), ignore_class.value_or(0)};
  o.sample_weight = vector_of(call, sample_weight_, "sample_weight", N, "row", o.logits);
  o.class_weight = vector_of(call, class_weight_, "class_weight", C, "class", o.logits);
  call.require(label_smoothing >= 0 && label_smoothing <= 1,
               "label_smoothing must lie in [0, 1]. Received: ", label_smoothing);
  o.label_smoothing = label_smoothing;
  call.require(reduction == "mean" || reduction == "sum" || reduction == "none",
               "reduction must be 'mean', 'sum' or 'none'. Received: '", reduction, "'");
  o.reduction = reduction == "mean"  ? LossReduction::mean
                : reduction == "sum" ? LossReduction::sum
                                     : LossReduction::none;
  XentResults r;
  const bool each = o.reduction == LossReduction::none;
  Array loss = call.out(py::none(), each ? Shape{N} : Shape{}, o.logits.dtype, r.loss);
  py::object dlogits = py::none();
  if (gradient) dlogits = call.out(py::none(), {N, C}, o.logits.dtype, r.dlogits);
  Array correct = call.out(py::none(), {}, DType::int64, r.correct);
  void* scratch = call.scratch(softmax_xent_scratch(o));
  call.classes(C);
  Status* status = call.status(status_);
  call.run([=] { softmax_xent(o, r, scratch, status); });
  return py::make_tuple(loss, dlogits, correct);
}

py::tuple sigmoid(py::handle logits_, py::handle targets_) {
  Call call("sigmoid_xent");
  const View logits = call.in_float(logits_, "logits"), targets = call.in_like(targets_, "targets", logits);
  bool same = logits.ndim == targets.ndim;
  for (int i = 0; same && i < logits.ndim; ++i) same = logits.shape[i] == targets.shape[i];
  call.require(same, "targets must have the shape of the logits. Received: targets.shape=", targets,
               ", logits.shape=", logits);
  const Shape shape(logits.shape, logits.shape + logits.ndim);
  View loss, dlogits;
  Array losses = call.out(py::none(), shape, logits.dtype, loss);
  Array gradient = call.out(py::none(), shape, logits.dtype, dlogits);
  call.run([=] { sigmoid_xent(logits, targets, loss, dlogits); });
  return py::make_tuple(losses, gradient);
}

}  // namespace

void bind_softmax(py::module_& m) {
  for (const bool logarithm : {false, true}) {
    const char* name = logarithm ? "log_softmax" : "softmax";
    const char* gradient_name = logarithm ? "log_softmax_gradient" : "softmax_gradient";
    m.def(
        name, [=](py::handle x, int64_t axis) { return forward(name, logarithm, x, axis); }, py::arg("x"),
        py::arg("axis") = -1);
    m.def(
        gradient_name,
        [=](py::handle dy, py::handle y, int64_t axis) { return gradient(gradient_name, logarithm, dy, y, axis); },
        py::arg("dy"), py::arg("y"), py::arg("axis") = -1);
  }
  m.def("softmax_xent", xent, py::arg("logits"), py::arg("labels"), py::kw_only(),
        py::arg("sample_weight") = py::none(), py::arg("class_weight") = py::none(),
        py::arg("ignore_class") = py::none(), py::arg("label_smoothing") = 0.0, py::arg("reduction") = "mean",
        py::arg("status") = py::none(), py::arg("gradient") = true);
  m.def("sigmoid_xent", sigmoid, py::arg("logits"), py::arg("targets"));
}

}  // namespace nnfast
