// Call: one call of an op from Python. It turns arrays into Views, makes the outputs and the scratch, releases the GIL
// and launches the kernel. A wrong dtype is an error, never a silent copy; a misaligned array is read through an
// aligned copy, since no kernel may touch it. What an array is says NNFAST_ARRAY_ARG, the header of the device.
#pragma once
#include NNFAST_ARRAY_ARG

#include <pybind11/stl.h>

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "../check.h"
#include "../cpu/launch.h"
#include "../device_error.h"
#include "nogil.h"

namespace nnfast {
struct KeptPanels;
using Shape = std::vector<py::ssize_t>;

const py::dtype& dtype_object(DType);
DType dtype_from(const py::object& name);  // from what Python users write: "float32", np.float32, ...
Array new_array(const Shape&, DType, bool for_life = false, const char* op = "empty");
void* data_of(const Array&);
[[noreturn]] void raise_device_error(const std::string& op, const DeviceError&);  // MemoryError or RuntimeError
bool overlap(const View&, const View&);                                           // do they reach the same addresses?
int64_t* version_under(py::handle array);  // of the Variable that owns this memory, or nullptr
void hold(py::handle array);               // while this thread captures: the plan keeps what it does not own
size_t bytes_of(const char* op, const Shape&, DType);  // of a new array, multiplied with care

class Call {
 public:
  explicit Call(const char* op) : op_(op) {}
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;
  ~Call();

  View in(py::handle array, const char* name);                          // any dtype
  View in_float(py::handle array, const char* name);                    // float32 or float64
  View in_like(py::handle array, const char* name, const View& other);  // the dtype of `other`
  View in_dtype(py::handle array, const char* name, DType dtype);
  View in_or_absent(py::handle array, const char* name);  // None gives an absent View
  // What a kernel changes in place: writable, aligned, and no copy. Raises the version of the Variable that it belongs
  // to.
  View inout(py::handle array, const char* name);
  // out=None makes a new array; otherwise `out` must fit, be writable, and overlap no input.
  Array out(py::handle out, const Shape& shape, DType dtype, View& view);
  void* scratch(size_t bytes);  // lives until the call ends
  // Room for the panels of a Variable, of which b is a view, in a plan whose steps change none; one for all uses of the
  // same view. nullptr: `array` is none, or there is no such plan.
  KeptPanels* keep(py::handle array, const View& b, size_t bytes);
  Status* status(py::handle array);          // None: this call's own, checked when the kernel is done
  void classes(int64_t n) { classes_ = n; }  // for the message about a bad label

  template <class... Parts>
  void require(bool holds, const Parts&... parts) const {
    if (!holds) throw std::invalid_argument(message(parts...));
  }
  template <class... Parts>
  [[noreturn]] void type_error(const Parts&... parts) const {
    throw py::type_error(message(parts...));
  }
  template <class... Parts>
  std::string message(const Parts&... parts) const {
    std::string s = "[";
    s += op_;
    s += "] ";
    ((s += text(parts)), ...);
    return s;
  }
  const char* op() const { return op_; }
  bool copied() const { return !kept_.empty(); }  // was an input misaligned? Before scratch is asked for
  [[noreturn]] void raise(const Status&) const;

  template <class Kernel>
  void run(const Kernel& kernel) {
    begin();
    try {
      NoGil nogil;
      launch(kernel, op_);
      raise_versions();
    } catch (const DeviceError& e) {
      raise_device_error(message(), e);
    }
    end();
  }

 private:
  // Each device has its own:
  View view(py::handle array, const char* name, bool may_copy);
  bool writeable(py::handle array) const;
  void* allocate_scratch(size_t bytes);
  Status* own_status();
  // Of the Variables that the kernel has changed; a replay raises them too.
  void raise_versions() const {
    struct Some {
      int64_t* at[8];
      size_t count;
    };
    for (size_t first = 0; first < versions_.size(); first += 8) {
      Some some{{}, std::min<size_t>(8, versions_.size() - first)};
      std::copy_n(versions_.begin() + static_cast<ptrdiff_t>(first), some.count, some.at);
      const auto raise_some = [some] {
        for (size_t i = 0; i < some.count; ++i) ++*some.at[i];
      };
      launch(raise_some, RAISES_VERSIONS);
    }
  }
  void begin() const;  // before a launch
  void end();          // after it

  const char* op_;
  std::vector<View> inputs_;      // what an out= may not overlap
  std::vector<py::object> kept_;  // aligned copies, and on some devices scratch
  std::vector<void*> scratch_;
  std::vector<int64_t*> versions_;
  Status* own_status_ = nullptr;
  int64_t classes_ = -1;  // unknown
};

}  // namespace nnfast
