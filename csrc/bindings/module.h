// What module.cpp binds, one function per family.
#pragma once
#include "../ops.h"
#include "call.h"

namespace nnfast {
inline Precision precision_of(const Call& call, int number) {
  call.require(number >= 0 && number <= 2, "precision must be 0 (highest), 1 (high) or 2 (medium). Received: ", number);
  return static_cast<Precision>(number);
}
void bind_runtime(py::module_&);  // what only this device has
void bind_arrays(py::module_&);
void bind_plan(py::module_&);
void bind_gemm(py::module_&);
void bind_conv2d(py::module_&);
void bind_elementwise(py::module_&);
void bind_movement(py::module_&);
void bind_metrics(py::module_&);
void bind_optimizer(py::module_&);
void bind_reduce(py::module_&);
void bind_random(py::module_&);
void bind_pool2d(py::module_&);
void bind_softmax(py::module_&);
void bind_norm(py::module_&);
void bind_upsample2d(py::module_&);
void bind_recurrent(py::module_&);
void bind_attention(py::module_&);
// Next families here, one line each, in the order of module.cpp.
}  // namespace nnfast
