// What a call of the CUDA runtime returned, as an exception. The binding adds the name of the op.
#pragma once
#include <cuda_runtime_api.h>

#include <new>
#include <stdexcept>
#include <string>

namespace nnfast {

inline void check_cuda(cudaError_t code) {
  if (code == cudaSuccess) return;
  if (code == cudaErrorMemoryAllocation) throw std::bad_alloc();
  throw std::runtime_error(std::string("CUDA says: ") + cudaGetErrorString(code) + " (" + cudaGetErrorName(code) + ")");
}

}  // namespace nnfast
