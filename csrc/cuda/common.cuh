// What every kernel file includes: CUDA itself under nvcc, the emulator of cuda_on_cpu/ under a C++ compiler. The same
// sources serve both, by three conventions: a kernel starts with launch(), dynamic shared memory is DYNAMIC_SHARED(T,
// name), and an instruction that only PTX can spell is a function of ptx.cuh.
#pragma once
#include "../ops.h"
#include "stream.h"

#ifdef __CUDACC__
#include <cuda_runtime.h>

#include "failure.h"

#define DYNAMIC_SHARED(T, name)                                     \
  extern __shared__ __align__(128) unsigned char dynamic_shared_[]; \
  T* const name = reinterpret_cast<T*>(dynamic_shared_)

// More dynamic shared memory than every launch may have: all that the GPU has for this kernel, whatever this launch
// needs, so that threads with other needs do not lower it between here and the launch.
inline void allow_shared(const void* kernel, size_t shared_bytes) {
  cudaFuncAttributes now{};
  nnfast::check_cuda(cudaFuncGetAttributes(&now, kernel));
  if (now.maxDynamicSharedSizeBytes >= static_cast<int>(shared_bytes)) return;
  int gpu = 0, most = 0;
  nnfast::check_cuda(cudaGetDevice(&gpu));
  nnfast::check_cuda(cudaDeviceGetAttribute(&most, cudaDevAttrMaxSharedMemoryPerBlockOptin, gpu));
  nnfast::check_cuda(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                          most - static_cast<int>(now.sharedSizeBytes)));
}

// kernel<<<grid, block, shared_bytes, stream>>>(arguments...), checked. What fails later, on the device, shows at the
// next synchronisation.
template <class... P, class... A>
void launch(void (*kernel)(P...), dim3 grid, dim3 block, size_t shared_bytes, cudaStream_t stream, A... arguments) {
  if (shared_bytes > 48 * 1024) allow_shared(reinterpret_cast<const void*>(kernel), shared_bytes);
  kernel<<<grid, block, shared_bytes, stream>>>(static_cast<P>(arguments)...);
  nnfast::check_cuda(cudaGetLastError());
}

// What a kernel was compiled for, of what the GPU in use runs: 80 for sm_80, 75 where it comes from PTX for sm_75.
template <class... P>
int architecture_of(void (*kernel)(P...)) {
  cudaFuncAttributes code{};
  if (!nnfast::succeeded(cudaFuncGetAttributes(&code, kernel))) return 0;
  return code.ptxVersion < code.binaryVersion ? code.ptxVersion : code.binaryVersion;
}
#else
#include "../cuda_on_cpu/cuda.h"

template <class... P>
int architecture_of(void (*)(P...)) {
  return 90;
}
#endif

// A function that a kernel calls in several places: one copy in each kernel, for nvcc shares none between kernels.
#define OUT_OF_LINE __attribute__((noinline))

namespace nnfast {

constexpr int WARP = 32;

__host__ __device__ constexpr int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// a / b for numbers that are not negative: in 32 bits where they fit, which is several times faster.
__device__ inline int64_t divide(int64_t a, int64_t b) {
  return (a | b) >> 32 == 0 ? static_cast<unsigned>(a) / static_cast<unsigned>(b) : a / b;
}

// A number above 0 that the host knows and kernels divide by: one multiplication and a shift (T. Granlund, P. L.
// Montgomery, "Division by invariant integers using multiplication", 1994), where the division of 64 bits is a hundred
// instructions in every kernel. With 2^shift the power of two at or above d: factor = floor(2^(63 + shift) / d) + 1,
// and n / d = floor(n * factor / 2^(63 + shift)) for 0 <= n < 2^63.
struct Divider {
  int64_t by = 1;
  uint64_t factor = (uint64_t{1} << 63) + 1;
  int shift = 0;

  Divider() = default;
  Divider(int64_t d) : by(d) {
    if (d < 2) return;
    while (int64_t{1} << shift < d) ++shift;
    factor = static_cast<uint64_t>((static_cast<unsigned __int128>(1) << (63 + shift)) / static_cast<uint64_t>(d)) + 1;
  }
  __host__ __device__ operator int64_t() const { return by; }
  __device__ int64_t of(int64_t n) const {  // n / by
    return static_cast<int64_t>(__umul64hi(static_cast<uint64_t>(n) * 2, factor) >> shift);
  }
};

// How many blocks of `per_block` items each; a grid-stride loop does the rest of a larger number.
inline unsigned blocks_for(int64_t items, int64_t per_block, int64_t most = 1 << 20) {
  const int64_t n = ceil_div(items, per_block);
  return static_cast<unsigned>(n < 1 ? 1 : n < most ? n : most);
}

__device__ inline int64_t global_thread() { return int64_t{blockIdx.x} * blockDim.x + threadIdx.x; }
__device__ inline int64_t all_threads() { return int64_t{gridDim.x} * blockDim.x; }

// How many neighbours the kernels of memory-bound ops take at once: 16 bytes of float32. float64 goes one by one: a GPU
// for graphics computes one of it for 32 or 64 of float32, and more kernels would make the module larger.
template <class T>
constexpr int WIDE = sizeof(T) == 4 ? 4 : 1;
// Several neighbours that one instruction loads or stores: 16 bytes.
template <class T>
struct alignas(16) Pack {
  static constexpr int N = 16 / sizeof(T);
  T v[N];
};
// WIDTH neighbours that are loaded or stored at once.
template <class T, int WIDTH>
struct alignas(sizeof(T) * WIDTH) Several {
  T v[WIDTH];
};
template <int WIDTH, class T>
__device__ inline Several<T, WIDTH> load(const T* p) {
  return *reinterpret_cast<const Several<T, WIDTH>*>(p);
}
template <int WIDTH, class T>
__device__ inline void store(T* p, const Several<T, WIDTH>& x) {
  *reinterpret_cast<Several<T, WIDTH>*>(p) = x;
}
inline bool aligned(const void* p) { return reinterpret_cast<uintptr_t>(p) % 16 == 0; }

}  // namespace nnfast
