// What a call of the CUDA runtime returned, as an exception.
#pragma once
#include <cuda_runtime_api.h>

#include <string>

#include "../device_error.h"

namespace nnfast {

// Did it work? What failed is forgotten: the runtime would say it again after the next launch.
inline bool succeeded(cudaError_t code) {
  if (code != cudaSuccess) cudaGetLastError();
  return code == cudaSuccess;
}

inline void check_cuda(cudaError_t code) {
  if (succeeded(code)) return;
  if (code == cudaErrorMemoryAllocation) throw DeviceMemoryError();
  std::string text = std::string("CUDA says: ") + cudaGetErrorString(code) + " (" + cudaGetErrorName(code) + ")";
#ifdef NNFAST_BUILT_FOR  // the architectures of a module; rungs of the ladder are compiled one by one
  if (code == cudaErrorNoKernelImageForDevice)
    text += ". nnfast was built for the architectures " NNFAST_BUILT_FOR
            ". Build it for this GPU: set NNFAST_CUDA_ARCHS, or leave it unset where the GPU is";
#endif
  throw DeviceError(text);
}

}  // namespace nnfast
