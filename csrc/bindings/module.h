// What module.cpp binds, one function per family.
#pragma once
#include "array_arg_cpu.h"

namespace nnfast {
void bind_runtime(py::module_&);
void bind_gemm(py::module_&);
}  // namespace nnfast
