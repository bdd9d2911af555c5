#include "gpu.h"

#include <cuda_runtime_api.h>

#include <atomic>

#include "tensor_cores.h"

namespace nnfast {
namespace {
std::string version(int number) { return std::to_string(number / 1000) + "." + std::to_string(number % 1000 / 10); }
}  // namespace

std::string cuda_versions() {
  int runtime = 0, driver = 0;
  cudaRuntimeGetVersion(&runtime);
  cudaDriverGetVersion(&driver);
  return "CUDA " + version(runtime) + (driver ? ", driver for CUDA " + version(driver) : ", no driver");
}

std::string gpu_problem() {
  int driver = 0, count = 0;
  cudaDriverGetVersion(&driver);
  if (driver == 0)
    return "there is no NVIDIA driver on this machine. Install one, or use set_device('cuda-emulator'), which runs the "
           "same kernels on the CPU";
  const cudaError_t code = cudaGetDeviceCount(&count);
  if (code == cudaErrorInsufficientDriver)
    return "the NVIDIA driver is too old: " + cuda_versions() +
           ". Update the driver, or build nnfast with an older CUDA toolkit";
  if (code != cudaSuccess) return std::string("CUDA says: ") + cudaGetErrorString(code);
  if (count == 0) return "the driver sees no GPU. Is CUDA_VISIBLE_DEVICES set?";
  return "";
}

int gpu_of(const void* data) {
  cudaPointerAttributes about{};
  if (cudaPointerGetAttributes(&about, data) != cudaSuccess || about.type == cudaMemoryTypeUnregistered ||
      about.type == cudaMemoryTypeHost)
    return -1;
  return about.device;
}

int current_gpu() {
  int device = 0;
  cudaGetDevice(&device);
  return device;
}

int compute_capability() {
  static std::atomic<int> known[64];  // 0: not asked yet
  const int gpu = current_gpu();
  std::atomic<int>& answer = known[gpu & 63];
  if (answer == 0 || gpu > 63) {
    int major = 0, minor = 0;
    cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, gpu);
    cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, gpu);
    answer = major * 10 + minor;
  }
  return answer;
}

}  // namespace nnfast
