#include <algorithm>

#include "../ops.h"
#include "module.h"

namespace nnfast {
namespace {

using Arrays = std::vector<py::object>;

// The lists of one step: variables, gradients, and up to three lists of state, all of the same lengths and shapes.
class Lists {
 public:
  Lists(Call& call, const Arrays& ws, const Arrays& gs, const char* name = "ws") : Lists(call, ws, name) {
    check_length(gs, "gs");
    for (size_t i = 0; i < ws.size(); ++i) {
      const View g = call.in(gs[i], "gs");
      check_like(g, "gs", i);
      parts_[i].g = contiguous(g);
    }
  }
  Lists(Call& call, const Arrays& ws, const char* name) : call_(call), ws_(ws) {
    for (size_t i = 0; i < ws.size(); ++i) {
      const View w = changed(ws[i], name, i);
      check_float(w, name, i);
      views_.push_back(w);
      parts_.push_back({w.data, nullptr, {}, w.size()});
    }
    std::vector<const void*> places;
    for (const OptimizerPart& p : parts_)
      if (p.size) places.push_back(p.w);
    std::sort(places.begin(), places.end());
    call.require(std::adjacent_find(places.begin(), places.end()) == places.end(),
                 "a variable stands in the list twice");
  }
  explicit Lists(Call& call, const Arrays& gs) : call_(call), ws_(gs) {  // gradients alone
    for (size_t i = 0; i < gs.size(); ++i) {
      const View g = call.in(gs[i], "gs");
      check_float(g, "gs", i);
      views_.push_back(g);
      parts_.push_back({nullptr, contiguous(g), {}, g.size()});
    }
  }

  py::list results() {  // new arrays like the variables, in place 0 of the state
    py::list made;
    for (size_t i = 0; i < parts_.size(); ++i) {
      View y;
      made.append(call_.out(py::none(), Shape(views_[i].shape, views_[i].shape + views_[i].ndim), views_[i].dtype, y));
      parts_[i].state[0] = y.data;
    }
    return made;
  }
  const View& view(size_t i) const { return views_[i]; }
  const std::vector<OptimizerPart>& parts() const { return parts_; }

  void state(int place, const std::optional<Arrays>& list, const char* name) {
    if (!list) return;
    check_length(*list, name);
    for (size_t i = 0; i < list->size(); ++i) {
      const View s = changed((*list)[i], name, i);
      check_like(s, name, i);
      parts_[i].state[place] = s.data;
    }
  }

  // One launch per run of variables of one dtype, at most OptimizerList::MOST. before: the chunks of earlier lists.
  template <class Step>
  void run_numbered(const Step& step) {
    int64_t chunks = 0;
    for (size_t i = 0; i < parts_.size();) {
      OptimizerList list;
      list.dtype = views_[i].dtype;
      const int64_t before = chunks;
      while (i < parts_.size() && list.count < OptimizerList::MOST && views_[i].dtype == list.dtype) {
        chunks += gradient_chunks(parts_[i].size);
        list.part[list.count++] = parts_[i++];
      }
      call_.run([=] { step(list, before); });
    }
  }
  template <class Step>
  void run(const Step& step) {
    run_numbered([=](const OptimizerList& list, int64_t) { step(list); });
  }

 private:
  void* contiguous(const View& g) {  // a gradient that is transposed, sliced or repeated is copied
    if (g.contiguous()) return g.data;
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
  void check_float(const View& v, const char* name, size_t i) {
    if (v.dtype != DType::float32 && v.dtype != DType::float64)
      call_.type_error(name, " must be float32 or float64. Received: ", name, "[", i, "] of ", v.dtype);
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
const int64_t* count_in(Call& call, py::handle count, const char* name) {
  const View v = call.in_dtype(count, name, DType::int64);
  call.require(v.size() == 1, name, " must be one number. Received: ", name, ".shape=", v);
  return v.as<int64_t>();
}
const Status* status_in(Call& call, py::handle status) { return status.is_none() ? nullptr : call.status(status); }

void sgd_(const Arrays& ws, const Arrays& gs, const std::optional<Arrays>& ms, py::handle lr_, double momentum,
          double dampening, bool nesterov, double weight_decay, double l2, bool pytorch, py::handle status_) {
  Call call("sgd");
  Lists lists(call, ws, gs);
  lists.state(0, ms, "ms");
  const double* lr = rate_in(call, lr_);
  const Status* status = status_in(call, status_);
  call.require(!nesterov || dampening == 0, "nesterov is without dampening. Received: dampening=", dampening);
  lists.run([=](const OptimizerList& list) {
    sgd(list, lr, momentum, dampening, nesterov, weight_decay, l2, pytorch, status);
  });
}

void rmsprop_(const Arrays& ws, const Arrays& gs, const Arrays& vs, const std::optional<Arrays>& ms,
              const std::optional<Arrays>& means, py::handle lr_, double rho, double momentum, double epsilon,
              double weight_decay, double l2, bool pytorch, py::handle status_) {
  Call call("rmsprop");
  Lists lists(call, ws, gs);
  lists.state(0, vs, "vs");
  lists.state(1, ms, "ms");
  lists.state(2, means, "means");
  const double* lr = rate_in(call, lr_);
  const Status* status = status_in(call, status_);
  lists.run(
      [=](const OptimizerList& list) { rmsprop(list, lr, rho, momentum, epsilon, weight_decay, l2, pytorch, status); });
}

void adam_(const Arrays& ws, const Arrays& gs, const Arrays& ms, const Arrays& vs, const std::optional<Arrays>& vhats,
           py::handle lr_, py::handle step_, double beta_1, double beta_2, double epsilon, double weight_decay,
           double l2, bool pytorch, py::handle status_) {
  Call call("adam");
  Lists lists(call, ws, gs);
  lists.state(0, ms, "ms");
  lists.state(1, vs, "vs");
  lists.state(2, vhats, "vhats");
  const double* lr = rate_in(call, lr_);
  const int64_t* step = count_in(call, step_, "step");
  const Status* status = status_in(call, status_);
  lists.run([=](const OptimizerList& list) {
    adam(list, lr, step, beta_1, beta_2, epsilon, weight_decay, l2, pytorch, status);
  });
}

void adagrad_(const Arrays& ws, const Arrays& gs, const Arrays& sums, py::handle lr_, double epsilon,
              double weight_decay, double l2, bool pytorch, py::handle status_) {
  Call call("adagrad");
  Lists lists(call, ws, gs);
  lists.state(0, sums, "sums");
  const double* lr = rate_in(call, lr_);
  const Status* status = status_in(call, status_);
  lists.run([=](const OptimizerList& list) { adagrad(list, lr, epsilon, weight_decay, l2, pytorch, status); });
}

void adadelta_(const Arrays& ws, const Arrays& gs, const Arrays& vs, const Arrays& moves, py::handle lr_, double rho,
               double epsilon, double weight_decay, py::handle status_) {
  Call call("adadelta");
  Lists lists(call, ws, gs);
  lists.state(0, vs, "vs");
  lists.state(1, moves, "moves");
  const double* lr = rate_in(call, lr_);
  const Status* status = status_in(call, status_);
  lists.run([=](const OptimizerList& list) { adadelta(list, lr, rho, epsilon, weight_decay, status); });
}

void adamax_(const Arrays& ws, const Arrays& gs, const Arrays& ms, const Arrays& us, py::handle lr_, py::handle step_,
             double beta_1, double beta_2, double epsilon, double weight_decay, py::handle status_) {
  Call call("adamax");
  Lists lists(call, ws, gs);
  lists.state(0, ms, "ms");
  lists.state(1, us, "us");
  const double* lr = rate_in(call, lr_);
  const int64_t* step = count_in(call, step_, "step");
  const Status* status = status_in(call, status_);
  lists.run([=](const OptimizerList& list) { adamax(list, lr, step, beta_1, beta_2, epsilon, weight_decay, status); });
}

View one_float(Call& call, const View& v, const char* name) {
  if (v.dtype != DType::float32 && v.dtype != DType::float64)
    call.type_error(name, " must be float32 or float64. Received: ", v.dtype);
  call.require(v.size() == 1, name, " must be one number. Received: ", name, ".shape=", v);
  return v;
}

void nadam_(const Arrays& ws, const Arrays& gs, const Arrays& ms, const Arrays& vs, py::handle product_, py::handle lr_,
            py::handle step_, double beta_1, double beta_2, double epsilon, double weight_decay, py::handle status_) {
  Call call("nadam");
  Lists lists(call, ws, gs);
  lists.state(0, ms, "ms");
  lists.state(1, vs, "vs");
  const View product = one_float(call, call.in(product_, "product"), "product");
  const double* lr = rate_in(call, lr_);
  const int64_t* step = count_in(call, step_, "step");
  const Status* status = status_in(call, status_);
  lists.run([=](const OptimizerList& list) {
    nadam(list, product, lr, step, beta_1, beta_2, epsilon, weight_decay, status);
  });
}

void nadam_advance_(py::handle product_, py::handle step_, double beta_1, py::handle status_) {
  Call call("nadam_advance");
  const View product = one_float(call, call.inout(product_, "product"), "product");
  const int64_t* step = count_in(call, step_, "step");
  const Status* status = status_in(call, status_);
  call.run([=] { nadam_advance(product, step, beta_1, status); });
}

void lion_(const Arrays& ws, const Arrays& gs, const Arrays& ms, py::handle lr_, double beta_1, double beta_2,
           double weight_decay, py::handle status_) {
  Call call("lion");
  Lists lists(call, ws, gs);
  lists.state(0, ms, "ms");
  const double* lr = rate_in(call, lr_);
  const Status* status = status_in(call, status_);
  lists.run([=](const OptimizerList& list) { lion(list, lr, beta_1, beta_2, weight_decay, status); });
}

void ftrl_(const Arrays& ws, const Arrays& gs, const Arrays& sums, const Arrays& linears, py::handle lr_, double power,
           double l1, double l2, double l2_shrinkage, double beta, double weight_decay, py::handle status_) {
  Call call("ftrl");
  Lists lists(call, ws, gs);
  lists.state(0, sums, "sums");
  lists.state(1, linears, "linears");
  const double* lr = rate_in(call, lr_);
  const Status* status = status_in(call, status_);
  const Ftrl how{power, l1, l2, l2_shrinkage, beta};
  lists.run([=](const OptimizerList& list) { ftrl(list, lr, how, weight_decay, status); });
}

// A factor of w[..., rows, columns]: its shape is that of w without one of the last two dimensions.
void* factor_in(Call& call, py::handle array, const char* name, size_t i, const View& w, int without) {
  const View f = call.inout(array, name);
  bool fits = f.ndim == w.ndim - 1 && f.dtype == w.dtype && f.contiguous();
  for (int d = 0; fits && d < f.ndim; ++d) fits = f.shape[d] == w.shape[d < without ? d : d + 1];
  call.require(fits, name, "[", i, "] must be contiguous, of dtype ", w.dtype, ", and have the shape of its variable, ",
               w, ", without dimension ", without, ". Received: ", f.dtype, ", shape ", f);
  return f.data;
}

void adafactor_(const Arrays& ws, const Arrays& gs, const Arrays& rows, const Arrays& columns, const Arrays& vs,
                py::handle lr_, py::handle step_, double beta_2_decay, double epsilon_1, double epsilon_2,
                double clip_threshold, double weight_decay, py::handle status_) {
  Call call("adafactor");
  Lists lists(call, ws, gs);
  lists.state(0, vs, "vs");
  for (const auto* factors : {&rows, &columns})
    call.require(factors->size() == ws.size(), "one array per variable is needed. Received: ", ws.size(),
                 " variables, ", factors->size(), factors == &rows ? " rows" : " columns");
  const double* lr = rate_in(call, lr_);
  const int64_t* step = count_in(call, step_, "step");
  const Status* status = status_in(call, status_);
  const Adafactor how{beta_2_decay, epsilon_1, epsilon_2, clip_threshold};
  std::vector<AdafactorPart> parts;
  for (size_t i = 0; i < ws.size(); ++i) {
    const View& w = lists.view(i);
    const OptimizerPart& p = lists.parts()[i];
    AdafactorPart part{p.w, p.g, nullptr, nullptr, p.state[0], 1, 1, p.size, w.dtype};
    if (w.ndim >= 2) {
      part.row = factor_in(call, rows[i], "rows", i, w, w.ndim - 1);
      part.column = factor_in(call, columns[i], "columns", i, w, w.ndim - 2);
      part.rows = w.shape[w.ndim - 2];
      part.columns = w.shape[w.ndim - 1];
      for (int d = 0; d < w.ndim - 2; ++d) part.batch *= w.shape[d];
    }
    parts.push_back(part);
  }
  for (const AdafactorPart& part : parts) {
    void* scratch = call.scratch(adafactor_scratch(part));
    call.run([=] { adafactor(part, lr, step, how, weight_decay, scratch, status); });
  }
}

void every_nth_(py::handle step_, int64_t n, py::handle turns_, py::handle gate_, py::handle status_) {
  Call call("every_nth");
  const int64_t* step = count_in(call, step_, "step");
  call.require(n >= 1, "n must be at least 1. Received: ", n);
  const View turns = call.inout(turns_, "turns");
  call.require(turns.dtype == DType::int64 && turns.size() == 1, "turns must be one int64. Received: ", turns.dtype,
               ", shape ", turns);
  call.require(!gate_.is_none(), "gate must be an int64 array of shape (5,)");
  Status* gate = call.status(gate_);
  const Status* status = status_in(call, status_);
  int64_t* turn = turns.as<int64_t>();
  call.run([=] { every_nth(step, n, turn, gate, status); });
}

py::list mean_gradients_(const Arrays& sums, const Arrays& gs, py::handle step_, int64_t n, double scale,
                         py::handle status_) {
  Call call("mean_gradients");
  Lists lists(call, sums, gs, "sums");
  py::list results = lists.results();
  const int64_t* step = count_in(call, step_, "step");
  call.require(n >= 1, "n must be at least 1. Received: ", n);
  const Status* status = status_in(call, status_);
  lists.run([=](const OptimizerList& list) { mean_gradients(list, step, n, scale, status); });
  return results;
}

py::list clip_gradients_(const Arrays& gs, double scale, double value, double norm, double global_norm,
                         py::handle status_) {
  Call call("clip_gradients");
  Lists lists(call, gs);
  py::list results = lists.results();
  call.require((value > 0) + (norm > 0) + (global_norm > 0) <= 1,
               "only one of value, norm and global_norm can be set. Received: value=", value, ", norm=", norm,
               ", global_norm=", global_norm);
  const Status* status = status_in(call, status_);
  ClipHow how{Clip::none, value + norm + global_norm, scale, nullptr, 0, 0};
  how.clip = value > 0 ? Clip::value : norm > 0 ? Clip::norm : global_norm > 0 ? Clip::global_norm : Clip::none;
  if (how.clip == Clip::norm || how.clip == Clip::global_norm) {
    for (const OptimizerPart& p : lists.parts()) how.all_chunks += gradient_chunks(p.size);
    how.sums = static_cast<double*>(call.scratch(static_cast<size_t>(how.all_chunks) * sizeof(double)));
    lists.run_numbered([=](const OptimizerList& list, int64_t before) {
      ClipHow here = how;
      here.chunks_before = before;
      gradient_squares(list, here, status);
    });
  }
  lists.run_numbered([=](const OptimizerList& list, int64_t before) {
    ClipHow here = how;
    here.chunks_before = before;
    clip_gradients(list, here, status);
  });
  return results;
}

void average_weights_(const Arrays& ws, const Arrays& averages, py::handle step_, double momentum,
                      int64_t overwrite_every, py::handle status_) {
  Call call("average_weights");
  Lists lists(call, ws, "ws");
  lists.state(0, averages, "averages");
  const int64_t* step = count_in(call, step_, "step");
  call.require(overwrite_every >= 0, "overwrite_every must not be negative. Received: ", overwrite_every);
  const Status* status = status_in(call, status_);
  lists.run([=](const OptimizerList& list) { average_weights(list, step, momentum, overwrite_every, status); });
}

}  // namespace

void bind_optimizer(py::module_& m) {
  const auto ws = py::arg("ws"), gs = py::arg("gs"), ms = py::arg("ms"), vs = py::arg("vs"), lr = py::arg("lr");
  const auto step = py::arg("step");
  const auto decay = py::arg("weight_decay") = 0.0, status = py::arg("status") = py::none();
  const auto beta_1 = py::arg("beta_1") = 0.9, beta_2 = py::arg("beta_2") = 0.999, epsilon = py::arg("epsilon") = 1e-7;
  const auto momentum = py::arg("momentum") = 0.0, l2 = py::arg("l2") = 0.0, pytorch = py::arg("pytorch") = false;
  m.def("sgd", sgd_, ws, gs, ms, lr, py::kw_only(), momentum, py::arg("dampening") = 0.0, py::arg("nesterov") = false,
        decay, l2, pytorch, status);
  m.def("rmsprop", rmsprop_, ws, gs, vs, ms, py::arg("means"), lr, py::kw_only(), py::arg("rho") = 0.9, momentum,
        epsilon, decay, l2, pytorch, status);
  m.def("adam", adam_, ws, gs, ms, vs, py::arg("vhats"), lr, step, py::kw_only(), beta_1, beta_2, epsilon, decay, l2,
        pytorch, status);
  m.def("adagrad", adagrad_, ws, gs, py::arg("sums"), lr, py::kw_only(), epsilon, decay, l2, pytorch, status);
  m.def("adadelta", adadelta_, ws, gs, vs, py::arg("moves"), lr, py::kw_only(), py::arg("rho") = 0.95, epsilon, decay,
        status);
  m.def("adamax", adamax_, ws, gs, ms, py::arg("us"), lr, step, py::kw_only(), beta_1, beta_2, epsilon, decay, status);
  m.def("nadam", nadam_, ws, gs, ms, vs, py::arg("product"), lr, step, py::kw_only(), beta_1, beta_2, epsilon, decay,
        status);
  m.def("nadam_advance", nadam_advance_, py::arg("product"), step, py::kw_only(), beta_1, status);
  m.def("lion", lion_, ws, gs, ms, lr, py::kw_only(), beta_1, py::arg("beta_2") = 0.99, decay, status);
  m.def("ftrl", ftrl_, ws, gs, py::arg("sums"), py::arg("linears"), lr, py::kw_only(), py::arg("power") = -0.5,
        py::arg("l1") = 0.0, py::arg("l2") = 0.0, py::arg("l2_shrinkage") = 0.0, py::arg("beta") = 0.0, decay, status);
  m.def("adafactor", adafactor_, ws, gs, py::arg("rows"), py::arg("columns"), vs, lr, step, py::kw_only(),
        py::arg("beta_2_decay") = -0.8, py::arg("epsilon_1") = 1e-30, py::arg("epsilon_2") = 1e-3,
        py::arg("clip_threshold") = 1.0, decay, status);
  m.def("every_nth", every_nth_, step, py::arg("n"), py::arg("turns"), py::arg("gate"), py::kw_only(), status);
  m.def("mean_gradients", mean_gradients_, py::arg("sums"), gs, step, py::arg("n"), py::kw_only(),
        py::arg("scale") = 1.0, status);
  m.def("clip_gradients", clip_gradients_, gs, py::kw_only(), py::arg("scale") = 1.0, py::arg("value") = 0.0,
        py::arg("norm") = 0.0, py::arg("global_norm") = 0.0, status);
  m.def("average_weights", average_weights_, ws, py::arg("averages"), step, py::kw_only(), py::arg("momentum") = 0.99,
        py::arg("overwrite_every") = 0, status);
}

}  // namespace nnfast
