// What Python sees of capture and replay: a plan that keeps the arrays that it uses, and slots, through which a plan
// reaches arrays that change from replay to replay.
#pragma once
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "../ops.h"
#include "call.h"

namespace nnfast {

int process_number();  // another one in each forked child

struct Kept : KeptPanels {
  View of;  // what is in the panels
};

struct PyPlan : Plan {
  std::unordered_map<PyObject*, py::object> held;
  std::vector<const View*> slots;  // what must be bound before a replay
  std::string spoiled;             // why this plan must not be replayed; empty: it may
  int64_t* cursor = nullptr;       // where the rows of a step begin, in the arrays of the slots
  std::mutex running;
  int process = process_number();
  bool complete = false;  // captured to the end
  bool constant = false;  // its steps change no Variable
  std::deque<Kept> kept;  // panels of its weights; kernels point to them

  // Memory for what is kept between the steps of a call of replay, which begins and ends here. What there is no memory
  // for is not kept.
  void lend() noexcept;
  void take_back() noexcept;

  // A replay, as each device does it: plan_cpu.cpp, plan_cuda.cpp. Only `prepare` needs the GIL.
  void prepare(int64_t start);  // sets the cursor, if start is none below 0, and clears the status
  // At most n steps for at most `seconds`, up to the one that sets the status; returns how many ended well, and leaves
  // the status clear, with what was in it in `found`.
  int64_t steps(int64_t n, double seconds, Status& found);
  void time_each(std::vector<std::pair<std::string, double>>& times, Status& found);  // one step
  std::shared_ptr<void> of_device;  // what a device keeps from replay to replay

  void hold(py::handle object) { held.try_emplace(object.ptr(), py::reinterpret_borrow<py::object>(object)); }
  void spoil(const std::string& reason) {
    if (spoiled.empty()) spoiled = reason;
  }
};

// A place for an array with rows. Kernels that take a slot look into it when they run, so a replay reads what is bound
// then. Arrays of one slot have one dtype and one shape but for the number of rows.
class Slot {
 public:
  explicit Slot(const py::object& array);
  Slot(const Slot&) = delete;
  Slot& operator=(const Slot&) = delete;

  struct Binding {
    py::object array;
    View view;
  };
  Binding check(const py::object& array) const;
  void bind(Binding b);
  void unbind();
  const View* view() const { return &view_; }
  const View& like() const { return like_; }

 private:
  View like_;         // the first array that was bound: dtype and shape of the others
  View view_;         // what kernels read; no data: nothing is bound
  py::object array_;  // keeps it
};

// A slot or an array as an input of `call`; `from` points to the View in the slot, or is nullptr.
View in_or_slot(Call& call, py::handle object, const char* name, const View*& from);

}  // namespace nnfast
