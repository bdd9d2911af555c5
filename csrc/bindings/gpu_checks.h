// What must be there before the GPU can be used; each error says what to do.
#pragma once
#include <pybind11/pybind11.h>

namespace nnfast {

void require_gpu();               // a driver that is new enough, and a GPU
pybind11::module_ import_cupy();  // of the CUDA version of the driver
void check_data();                // waits for the GPU and raises what kernels found in data since the last time

}  // namespace nnfast
