// Arrays of the CPU are NumPy's, with memory of our own allocator.
#pragma once
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

namespace nnfast {
namespace py = pybind11;
using Array = py::array;  // what kernels of this device take and return
}  // namespace nnfast
