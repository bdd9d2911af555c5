// Not ops: arrays and the memory behind them.
#include "../cpu/memory.h"
#include "module.h"

namespace nnfast {

void bind_arrays(py::module_& m) {
  m.def(
      "empty",
      [](const Shape& shape, const py::object& dtype, bool for_life) {
        return new_array(shape, dtype_from(dtype), for_life);
      },
      py::arg("shape"), py::arg("dtype"), py::arg("for_life") = false,
      "A new array, not initialised. for_life: the memory of a Variable, which keeps its address and has a version.");
  m.def(
      "version",
      [](py::handle array) {
        const int64_t* version = version_under(array);
        return version ? *version : int64_t{0};
      },
      py::arg("array"), "How often kernels have written to the Variable that owns this memory.");
  m.def(
      "memory",
      [] {
        const auto s = memory_stats();
        return py::dict(py::arg("live") = s.live, py::arg("used") = s.used, py::arg("resting") = s.resting,
                        py::arg("peak") = s.peak);
      },
      "Blocks in use; bytes in use, at rest in the cache, and at the highest.");
  m.def("empty_cache", empty_cache, "Gives the memory at rest back to the system; returns how many bytes.");
}

}  // namespace nnfast
