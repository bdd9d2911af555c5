// Capture and replay. While a plan captures, every launch of its thread is recorded, and the arrays that kernels make
// come from the plan's pool. A replay runs the kernels again: no Python, no allocation.
#include "plan.h"

#include <pthread.h>

#include <atomic>
#include <limits>
#include <utility>

#include "../ops.h"
#include "module.h"

namespace nnfast {
namespace {
std::atomic<int> process_count{0};
const int at_fork = pthread_atfork(nullptr, nullptr, [] { process_count.fetch_add(1); });

void begin(PyPlan& plan, py::handle status, py::handle cursor, bool constant) {
  require(!plan.complete, "[capture] a plan captures once. Make a new one");
  if (capturing) throw std::runtime_error("[capture] a capture is already open in this thread");
  if (!status.is_none()) {
    Call checked("capture");
    plan.status = checked.status(status);
    plan.hold(status);
  }
  if (!cursor.is_none()) {
    Call checked("capture");
    const View v = checked.in_dtype(cursor, "cursor", DType::int64);
    checked.require(v.size() == 1, "cursor must be one number. Received: cursor.shape=", v);
    plan.cursor = v.as<int64_t>();
    plan.hold(cursor);
  }
  plan.constant = constant;
  capturing = &plan;
  thread_pool() = plan.pool();
}

// Returns how many of the arrays that were made during the capture are still alive: with one of them, no replay may
// run, for it would change what somebody holds.
size_t end(PyPlan& plan) {
  if (capturing == &plan) {
    capturing = nullptr;
    thread_pool() = nullptr;
    plan.complete = true;
  }
  return memory_stats(plan.pool()).live;
}

// Between these two, nothing is recorded.
void pause(PyPlan& plan) {
  require(capturing == &plan, "[capture] this plan does not capture in this thread");
  capturing = nullptr;
  thread_pool() = nullptr;
}
void resume(PyPlan& plan) {
  capturing = &plan;
  thread_pool() = plan.pool();
}

using Bindings = std::vector<std::pair<Slot*, py::object>>;

// A plan made ready to run, by one thread at a time: its slots bound, its cursor set to `start`, its status cleared.
// While it lives, the slots keep the user's arrays; if another thread runs the plan and wait is false, it is not ready.
class Run {
 public:
  Run(PyPlan& plan, const Bindings& bindings, int64_t start, bool wait)
      : bindings_(bindings), lock_(plan.running, std::defer_lock) {
    if (capturing) throw std::runtime_error("[replay] a replay inside a capture would not be recorded");
    require(plan.complete, "[replay] this plan has not been captured yet");
    if (!plan.spoiled.empty()) throw std::runtime_error("[replay] this plan cannot be replayed: " + plan.spoiled);
    lock(plan, wait);
    if (!ready()) return;
    std::vector<Slot::Binding> checked;
    checked.reserve(bindings.size());
    for (const auto& [slot, array] : bindings) checked.push_back(slot->check(array));
    for (size_t i = 0; i < checked.size(); ++i) bindings[i].first->bind(std::move(checked[i]));
    try {
      for (const View* slot : plan.slots) require(slot->given(), "[replay] a slot is not bound to an array");
    } catch (...) {
      unbind();
      throw;
    }
    try {
      plan.prepare(start);
    } catch (const DeviceError& e) {
      unbind();
      raise_device_error("[replay] ", e);
    }
  }
  ~Run() {
    if (ready()) unbind();
  }
  Run(const Run&) = delete;
  Run& operator=(const Run&) = delete;
  bool ready() const { return lock_.owns_lock(); }

 private:
  void lock(PyPlan& plan, bool wait) {
    const bool forked = plan.process != process_number();
    if (forked) {  // an idle plan works in the child, too; one that ran in another thread stopped half-way
      if (!lock_.try_lock())
        throw std::runtime_error("[replay] this plan was running when the process was forked. Make a new one");
      plan.process = process_number();
    } else if (!lock_.try_lock() && wait) {
      NoGil nogil;  // its runner may need the GIL to end
      lock_.lock();
    }
  }
  void unbind() {
    for (const auto& [slot, array] : bindings_) slot->unbind();
  }

  const Bindings& bindings_;
  std::unique_lock<std::mutex> lock_;
};

// What a plan that has run found in data, None if nothing.
py::object tuple_of(const Status& found) {
  if (found.code == OK) return py::none();
  return py::make_tuple(found.code, found.step, found.sample, found.value, found.now);
}

// Runs without the GIL what may fail on the device.
template <class F>
void on_device(const F& f) {
  try {
    NoGil nogil;
    f();
  } catch (const DeviceError& e) {
    raise_device_error("[replay] ", e);
  }
}

// Memory for packed weights, while several steps run. A product of few rows packs nothing, or on its way: (14,512,784)
// loses 15% in 4 steps, (32,768,3072) 8% in 8; in 40 they gain 0 to 50%. Zen 5, AVX-512.
constexpr int64_t STEPS_THAT_PAY = 12;
class Lend {
 public:
  Lend(PyPlan& plan, int64_t n) : plan_(plan) {
    if (n >= STEPS_THAT_PAY) plan_.lend();
  }
  ~Lend() { plan_.take_back(); }
  Lend(const Lend&) = delete;
  Lend& operator=(const Lend&) = delete;

 private:
  PyPlan& plan_;
};

// At most n steps, for at most `seconds`; fewer, if a step sets the status or Ctrl-C waits. Returns how many ended
// well, -1 if another thread is replaying this plan and wait is false; and what the status held if it was set.
std::pair<int64_t, py::object> replay(PyPlan& plan, int64_t n, double seconds, const Bindings& bindings, int64_t start,
                                      bool wait) {
  const Run run(plan, bindings, start, wait);
  if (!run.ready()) return {-1, py::none()};
  const Lend lend(plan, n);
  int64_t done = 0;
  Status found;
  on_device([&] { done = plan.steps(n, seconds, found); });
  return {done, tuple_of(found)};
}

// One step, and how long each of its kernels took: pairs (op, seconds).
std::pair<std::vector<std::pair<std::string, double>>, py::object> profile(PyPlan& plan, const Bindings& bindings,
                                                                           int64_t start) {
  const Run run(plan, bindings, start, true);
  std::vector<std::pair<std::string, double>> times;
  times.reserve(static_cast<size_t>(plan.launches()));
  Status found;
  on_device([&] { plan.time_each(times, found); });
  return {times, tuple_of(found)};
}

// ---- the kernels that only plans need ----

const View* slot_in(Call& call, py::handle object, const char* name) {
  const View* from = nullptr;
  in_or_slot(call, object, name, from);
  if (!from) call.type_error(name, " must be a Slot. Received: ", std::string(py::str(py::type::of(object))));
  return from;
}

const int64_t* cursor_in(Call& call, py::handle array) {
  const View v = call.in_dtype(array, "cursor", DType::int64);
  call.require(v.size() == 1, "cursor must be one number. Received: cursor.shape=", v);
  return v.as<int64_t>();
}

// The entries [cursor, cursor + count) of `order`.
Array next_rows_(py::handle order_, py::handle cursor_, py::ssize_t count) {
  Call call("next_rows");
  const View* order = slot_in(call, order_, "order");
  call.require(order->ndim == 1, "order must be a row of numbers. Received: ", *order);
  const int64_t* cursor = cursor_in(call, cursor_);
  View y;
  Array out = call.out(py::none(), Shape{count}, order->dtype, y);
  call.run([=] { next_rows(*order, cursor, y); });
  return out;
}

// Writes the rows of x into the rows [cursor, cursor + rows) of `to`.
void put_rows_(py::handle x_, py::handle to_, py::handle cursor_) {
  Call call("put_rows");
  const View x = call.in(x_, "x");
  const View* to = slot_in(call, to_, "to");
  const int64_t* cursor = cursor_in(call, cursor_);
  bool fits = x.ndim == to->ndim && x.ndim >= 1 && x.dtype == to->dtype;
  for (int i = 1; fits && i < x.ndim; ++i) fits = x.shape[i] == to->shape[i];
  call.require(fits, "the rows must have the shape and dtype of those of `to`. Received: ", x, " and ", *to);
  call.run([=] { put_rows(x, *to, cursor); });
}
}  // namespace

int process_number() { return process_count.load(); }

Slot::Slot(const py::object& array) {
  bind(check(array));
  like_ = view_;
}

Slot::Binding Slot::check(const py::object& array) const {
  struct NotHeld {  // by a plan that captures: what is in a slot changes
    Plan* plan = std::exchange(capturing, nullptr);
    ~NotHeld() { capturing = plan; }
  } not_held;
  Call checked("Slot");
  const View v = checked.in(array, "array");
  checked.require(v.ndim >= 1, "an array with rows is needed. Received: array.shape=", v);
  bool fits = !like_.given() || (v.ndim == like_.ndim && v.dtype == like_.dtype);
  for (int i = 1; fits && like_.given() && i < v.ndim; ++i) fits = v.shape[i] == like_.shape[i];
  checked.require(fits, "arrays of one slot have one dtype and rows of one shape. Received: ", v.dtype, " ", v,
                  " after ", like_.dtype, " ", like_);
  py::object kept = array;
  if (v.data != data_of(array)) {  // a misaligned array was copied
    kept = array.attr("copy")();
    return {kept, checked.in(kept, "array")};
  }
  return {kept, v};
}

void Slot::bind(Binding b) {
  view_ = b.view;
  array_ = std::move(b.array);
}

void Slot::unbind() {
  view_ = View{};
  array_ = py::none();
}

View in_or_slot(Call& call, py::handle object, const char* name, const View*& from) {
  from = nullptr;
  if (!py::isinstance<Slot>(object)) return call.in(object, name);
  const auto& slot = object.cast<const Slot&>();
  call.require(slot.view()->given(), name, " is a slot that is not bound to an array");
  from = slot.view();
  if (capturing) {
    auto* plan = static_cast<PyPlan*>(capturing);
    plan->hold(object);
    plan->slots.push_back(from);
  }
  return *from;
}

void bind_plan(py::module_& m) {
  py::class_<Slot>(m, "Slot", py::module_local(),
                   "A place for an array with rows, which a plan reaches when it is replayed.")
      .def(py::init<const py::object&>(), py::arg("array"))
      .def(
          "bind", [](Slot& s, const py::object& array) { s.bind(s.check(array)); }, py::arg("array"))
      .def("unbind", &Slot::unbind);
  py::class_<PyPlan>(m, "Plan", py::module_local(), "The kernels of a step, recorded while it ran, to be run again.")
      .def(py::init<>())
      .def("begin", begin, py::arg("status") = py::none(), py::arg("cursor") = py::none(), py::arg("constant") = false,
           "Records what this thread launches from now on.")
      .def("end", end, "Ends the recording; returns how many of the arrays made meanwhile are alive.")
      .def("pause", pause, "What follows is not recorded, until `resume`.")
      .def("resume", resume)
      .def("replay", replay, py::arg("n") = 1, py::arg("seconds") = std::numeric_limits<double>::max(),
           py::arg("bindings") = py::list(), py::arg("start") = -1, py::arg("wait") = true,
           "Runs the kernels n times. Returns how often they set no status (-1: busy), and what it held.")
      .def("profile", profile, py::arg("bindings") = py::list(), py::arg("start") = -1,
           "Runs the kernels once. Returns the time of each, as pairs (op, seconds), and what the status held.")
      .def("spoil", &PyPlan::spoil, py::arg("reason"), "Forbids replays.")
      .def_readonly("spoiled", &PyPlan::spoiled)
      .def_property_readonly("kept",
                             [](const PyPlan& p) {
                               size_t bytes = 0;
                               for (const Kept& k : p.kept) bytes += k.bytes;
                               return bytes;
                             })
      .def_property_readonly("launches", [](const PyPlan& p) { return p.launches(); })
      .def_property_readonly("bytes", [](const PyPlan& p) {
        const MemoryStats s = memory_stats(p.pool());
        return s.used + s.resting;
      });
  m.def("next_rows", next_rows_, py::arg("order"), py::arg("cursor"), py::arg("count"));
  m.def("put_rows", put_rows_, py::arg("x"), py::arg("to"), py::arg("cursor"));
}

}  // namespace nnfast
