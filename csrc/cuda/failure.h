// What a call of the CUDA runtime returned, as an exception.
#pragma once
#include <cuda_runtime_api.h>

#include <new>
#include <string>

#include "../device_error.h"

namespace nnfast {

inline void check_cuda(cudaError_t code) {
  if (code == cudaSuccess) return;
  if (code == cudaErrorMemoryAllocation) throw std::bad_alloc();
  throw DeviceError(std::string("CUDA says: ") + cudaGetErrorString(code) + " (" + cudaGetErrorName(code) + ")");
}

}  // namespace nnfast
