// Arrays of the GPU are CuPy's, with memory of CuPy's pool; any object with __cuda_array_interface__ is taken as input.
#pragma once
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include "../cuda/stream.h"

namespace nnfast {
namespace py = pybind11;
using Array = py::object;  // what kernels of this device take and return

cudaStream_t current_stream();  // CuPy's
void set_stream(cudaStream_t);  // what `stream()` is from now on, in this thread
}  // namespace nnfast
