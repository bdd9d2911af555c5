// Not ops: what only the module of the GPU has.
#include "../cuda/gpu.h"
#include "gpu_checks.h"
#include "module.h"
#include "tensor_cores.h"

namespace nnfast {

void require_gpu() {
  const std::string problem = gpu_problem();
  if (!problem.empty()) throw std::runtime_error("[cuda] " + problem);
}

py::module_ import_cupy() {
  try {
    return py::module_::import("cupy");
  } catch (py::error_already_set& e) {
    if (!e.matches(PyExc_ImportError)) throw;
    const std::string text =
        "[cuda] the arrays of the GPU are CuPy's, and CuPy cannot be imported (" +
        std::string(py::str(e.value())).substr(0, 200) +
        "). Install it for the CUDA version of your driver: pip install \"nnfast[cuda13]\" or \"nnfast[cuda12]\"";
    py::set_error(PyExc_ImportError, text.c_str());
    throw py::error_already_set();
  }
}

void bind_runtime(py::module_& m) {
  bind_tensor_cores(m);
  m.def(
      "ready",
      [] {
        require_gpu();
        import_cupy();
      },
      "Raises, with what helps, if the GPU cannot be used.");
  m.def("problem", gpu_problem, "Why no GPU can be used; '' if one can.");
  m.def("versions", cuda_versions);
  m.def("check_data", check_data, "Waits for the GPU and raises what kernels have found in data.");
}

}  // namespace nnfast
