#include <algorithm>

#include "../ops.h"
#include "module.h"

namespace nnfast {
namespace {

using Arrays = std::vector<py::object>;

// The lists of one step: variables, gradients, and up to three lists of state, all of the same lengths and shapes.
class Lists {
 public:
  Lists(Call& call, const Arrays& ws, const Arrays& gs) : call_(call), ws_(ws) {
    check_length(gs, "gs");
    for (size_t i = 0; i < ws.size(); ++i) {
      const View w = changed(ws[i], "ws", i);
      if (w.dtype != DType::float32 && w.dtype != DType::float64)
        call.type_error("ws must be float32 or float64. Received: ws[", i, "] of ", w.dtype);
      views_.push_back(w);
      parts_.push_back({w.data, nullptr, {}, w.size()});
      const View g = call.in(gs[i], "gs");
      check_like(g, "gs", i);
      parts_[i].g = g.contiguous() ? g.data : contiguous_copy(g);
    }
    std::vector<const void*> places;
    for (const OptimizerPart& p : parts_)
      if (p.size) places.push_back(p.w);
    std::sort(places.begin(), places.end());
    call.require(std::adjacent_find(places.begin(), places.end()) == places.end(),
                 "a variable stands in the list twice");
  }

  void state(int place, const std::optional<Arrays>& list, const char* name) {
    if (!list) return;
    check_length(*list, name);
    for (size_t i = 0; i < list->size(); ++i) {
      const View s = changed((*list)[i], name, i);
      check_like(s, name, i);
      parts_[i].state[place] = s.data;
    }
  }

  // One launch per run of variables of one dtype, at most OptimizerList::MOST.
  template <class Step>
  void run(const Step& step) {
    for (size_t i = 0; i < parts_.size();) {
      OptimizerList list;
      list.dtype = views_[i].dtype;
      while (i < parts_.size() && list.count < OptimizerList::MOST && views_[i].dtype == list.dtype)
        list.part[list.count++] = parts_[i++];
      call_.run([=] { step(list); });
    }
  }

 private:
  void* contiguous_copy(const View& g) {  // of a gradient that is transposed, sliced or repeated
    const View y = g.dense(call_.scratch(static_cast<size_t>(g.size() * size_of(g.dtype))));
    call_.run([=] { copy(g, y); });
    return y.data;
  }
  View changed(py::handle array, const char* name, size_t i) {
    const View v = call_.inout(array, name);
    call_.require(v.contiguous(), name, "[", i, "] must be contiguous: it is changed in place. Received: shape ", v);
    return v;
  }
  void check_length(const Arrays& list, const char* name) {
    call_.require(list.size() == ws_.size(), "one array per variable is needed. Received: ", ws_.size(), " variables, ",
                  list.size(), " ", name);
  }
  void check_like(const View& v, const char* name, size_t i) {
    const View& w = views_[i];
    bool equal = v.ndim == w.ndim;
    for (int d = 0; equal && d < v.ndim; ++d) equal = v.shape[d] == w.shape[d];
    call_.require(equal, name, "[", i, "] must have the shape of its variable, ", w, ". Received: ", v);
    if (v.dtype != w.dtype)
      call_.type_error(name, "[", i, "] must have the dtype of its variable, ", w.dtype, ". Received: ", v.dtype);
  }

  Call& call_;
  const Arrays& ws_;
  std::vector<View> views_;
  std::vector<OptimizerPart> parts_;
};

const double* rate_in(Call& call, py::handle lr_) {
  const View lr = call.in_dtype(lr_, "lr", DType::float64);
  call.require(lr.size() == 1, "lr must be one number. Received: lr.shape=", lr);
  return lr.as<double>();
}
const Status* status_in(Call& call, py::handle status) { return status.is_none() ? nullptr : call.status(status); }

void sgd_(const Arrays& ws, const Arrays& gs, const std::optional<Arrays>& ms, py::handle lr_, double momentum,
          bool nesterov, double weight_decay, py::handle status_) {
  Call call("sgd");
  Lists lists(call, ws, gs);
  lists.state(0, ms, "ms");
  const double* lr = rate_in(call, lr_);
  const Status* status = status_in(call, status_);
  lists.run([=](const OptimizerList& list) { sgd(list, lr, momentum, nesterov, weight_decay, status); });
}

void rmsprop_(const Arrays& ws, const Arrays& gs, const Arrays& vs, const std::optional<Arrays>& ms,
              const std::optional<Arrays>& means, py::handle lr_, double rho, double momentum, double epsilon,
              double weight_decay, py::handle status_) {
  Call call("rmsprop");
  Lists lists(call, ws, gs);
  lists.state(0, vs, "vs");
  lists.state(1, ms, "ms");
  lists.state(2, means, "means");
  const double* lr = rate_in(call, lr_);
  const Status* status = status_in(call, status_);
  lists.run([=](const OptimizerList& list) { rmsprop(list, lr, rho, momentum, epsilon, weight_decay, status); });
}

void adam_(const Arrays& ws, const Arrays& gs, const Arrays& ms, const Arrays& vs, const std::optional<Arrays>& vhats,
           py::handle lr_, py::handle step_, double beta_1, double beta_2, double epsilon, double weight_decay,
           py::handle status_) {
  Call call("adam");
  Lists lists(call, ws, gs);
  lists.state(0, ms, "ms");
  lists.state(1, vs, "vs");
  lists.state(2, vhats, "vhats");
  const double* lr = rate_in(call, lr_);
  const View steps = call.in_dtype(step_, "step", DType::int64);
  call.require(steps.size() == 1, "step must be one number. Received: step.shape=", steps);
  const int64_t* step = steps.as<int64_t>();
  const Status* status = status_in(call, status_);
  lists.run([=](const OptimizerList& list) { adam(list, lr, step, beta_1, beta_2, epsilon, weight_decay, status); });
}

}  // namespace

void bind_optimizer(py::module_& m) {
  const auto ws = py::arg("ws"), gs = py::arg("gs"), ms = py::arg("ms"), vs = py::arg("vs"), lr = py::arg("lr");
  m.def("sgd", sgd_, ws, gs, ms, lr, py::kw_only(), py::arg("momentum") = 0.0, py::arg("nesterov") = false,
        py::arg("weight_decay") = 0.0, py::arg("status") = py::none());
  m.def("rmsprop", rmsprop_, ws, gs, vs, ms, py::arg("means"), lr, py::kw_only(), py::arg("rho") = 0.9,
        py::arg("momentum") = 0.0, py::arg("epsilon") = 1e-7, py::arg("weight_decay") = 0.0,
        py::arg("status") = py::none());
  m.def("adam", adam_, ws, gs, ms, vs, py::arg("vhats"), lr, py::arg("step"), py::kw_only(), py::arg("beta_1") = 0.9,
        py::arg("beta_2") = 0.999, py::arg("epsilon") = 1e-7, py::arg("weight_decay") = 0.0,
        py::arg("status") = py::none());
}

}  // namespace nnfast
