// CUDA C++ as a C++ compiler can read it: the words that kernels use, over the scheduler of emulator.cpp.
// cuda/common.cuh includes it where nvcc does not compile. What it lacks, no kernel here may use: clusters, grid
// barriers, textures, and waiting in a loop for another thread.
#pragma once
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <source_location>
#include <type_traits>

#include "../cuda/stream.h"

#define __global__
#define __device__
#define __host__
#define __constant__ static
// One block runs at a time, so plain memory is the block's. Used: GCC would read what is never stored to as zeros.
#define __shared__ static __attribute__((used))
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __grid_constant__
#define __align__(n) __attribute__((aligned(n)))
#define DYNAMIC_SHARED(T, name) T* const name = static_cast<T*>(emulator::dynamic_shared())

struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};
struct uint3 {
  unsigned x, y, z;
};
#define VECTOR2(T, name, bytes) \
  struct alignas(bytes) name {  \
    T x, y;                     \
  };                            \
  inline name make_##name(T x, T y) { return {x, y}; }
#define VECTOR4(T, name)    \
  struct alignas(16) name { \
    T x, y, z, w;           \
  };                        \
  inline name make_##name(T x, T y, T z, T w) { return {x, y, z, w}; }
VECTOR2(float, float2, 8)
VECTOR2(double, double2, 16)
VECTOR2(int, int2, 8)
VECTOR2(unsigned, uint2, 8)
VECTOR4(float, float4)
VECTOR4(int, int4)
VECTOR4(unsigned, uint4)
#undef VECTOR2
#undef VECTOR4

namespace emulator {
struct Where {  // in a kernel
  const char* file = nullptr;
  int line = 0, column = 0;
};
struct Thread {
  uint3 thread, block;
  int id, lane, warp;  // id: of the block
  unsigned char state;
  Where where;    // it waits here
  unsigned mask;  // of the warp operation in which it waits
  const void* kind;
  void* argument;
  void* fibre;
  unsigned warp_epoch;    // counts __syncwarp
  const char* waits_for;  // if it is suspended
};
struct Launch {
  dim3 grid, block;
  size_t shared_bytes;
};
extern Thread* self;
extern Launch* config;

// What a function of the emulator does to memory for a kernel. A copy begins when it is asked for, and lands when it is
// waited for.
enum class Access : unsigned char { load, store, atomic, copy_begins, copy_lands };
void observe(const void*, size_t bytes, Access, Where);

void* dynamic_shared();
void* allocate(size_t bytes);  // global memory, between launches
void release(void*);
void barrier(Where);
// A meeting of the lanes in `mask`: each leaves a pointer and sleeps; the last to come runs `complete` for all of them.
using Complete = void(unsigned mask, void* const* arguments);
void collective(unsigned mask, Complete* complete, void* argument, Where);
struct Grid {  // a launch
  dim3 grid, block;
  size_t shared_bytes;
  void (*run)(void* closure);  // what each thread does
  void* closure;               // plain bytes: the kernel's arguments
  size_t closure_bytes;
  const void* kernel;
};
void run_grid(cudaStream_t stream, const Grid&);

// Lesson mode compiles kernels with a hook at each load and store; these templates are not the kernel's own accesses.
#define NOT_OBSERVED __attribute__((no_sanitize("thread")))

template <class T>
struct Exchange {
  T value, result;
  int source;
};
template <class T>
NOT_OBSERVED T exchange(unsigned mask, T value, int source, Where where) {
  Exchange<T> mine{value, value, source};
  collective(
      mask,
      [](unsigned m, void* const* lanes) NOT_OBSERVED {
        for (int i = 0; i < 32; ++i) {
          if (!(m >> i & 1)) continue;
          auto* e = static_cast<Exchange<T>*>(lanes[i]);
          if (m >> e->source & 1) e->result = static_cast<Exchange<T>*>(lanes[e->source])->value;
        }
      },
      &mine, where);
  return mine.result;
}
unsigned ballot(unsigned mask, bool vote, Where);

// tensor_core.cpp
void mma_m16n8k16_bf16(float* d, const unsigned* a, const unsigned* b, Where);
void mma_m16n8k8_tf32(float* d, const unsigned* a, const unsigned* b, Where);
void ldmatrix(unsigned* r, int count, bool transposed, const void* row, Where);
void cp_async(void* shared, const void* global, int bytes, int valid, Where);
void cp_async_commit();
void cp_async_wait(int pending);

// warpgroup.cpp
struct TensorMap {  // a matrix [rows, columns] of 16-bit elements, rows `pitch` bytes apart; what a copy takes of it
  const void* data;
  int64_t rows, columns, pitch;
  int box_rows, box_columns;
  // Of images, whose rows are pixels [N,H,W] and columns channels, dimensions in the order of the instruction, W, H:
  bool is_images = false;
  int64_t size[2] = {};
  int lower[2] = {}, upper[2] = {}, step[2] = {};
};
TensorMap image_map(const TensorMap&);  // the same, if the driver would take it
void mbarrier_init(const uint64_t* barrier, unsigned arrivals, Where);
void mbarrier_arrive(const uint64_t* barrier, unsigned expect_bytes, Where);
void mbarrier_wait(const uint64_t* barrier, unsigned parity, Where);
void tma_load(void* shared, const TensorMap&, int column, int row, const uint64_t* barrier, Where);
void tma_load_pixels(void* shared, const TensorMap&, const int (&from)[4], const int (&offset)[2],
                     const uint64_t* barrier, Where);
void wgmma_fence();
void wgmma(float* d, int n, uint64_t a, uint64_t b, Where);  // d[64,n] += a[64,16] * b[16,n]
void wgmma_commit();
void wgmma_wait(int pending, Where);
uint16_t bfloat16_bits(float);
void named_barrier(int id, int threads, Where);
}  // namespace emulator

#define threadIdx (emulator::self->thread)
#define blockIdx (emulator::self->block)
#define blockDim (emulator::config->block)
#define gridDim (emulator::config->grid)
constexpr int warpSize = 32;

// The last argument of what waits: the place in the kernel, without debug information.
#ifdef __clang__
#define COLUMN __builtin_COLUMN()
#else
#define COLUMN static_cast<int>(std::source_location::current().column())
#endif
#define FROM_HERE emulator::Where where = {__builtin_FILE(), __builtin_LINE(), COLUMN}

inline void __syncthreads(FROM_HERE) { emulator::barrier(where); }
inline void __syncwarp(unsigned mask = ~0u, FROM_HERE) {
  emulator::collective(mask, [](unsigned, void* const*) {}, nullptr, where);
}
template <class T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32, FROM_HERE) {
  const int lane = emulator::self->lane;
  return emulator::exchange(mask, value, (lane & ~(width - 1)) | (source & (width - 1)), where);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int bits, int width = 32, FROM_HERE) {
  const int lane = emulator::self->lane, source = lane ^ bits;
  return emulator::exchange(mask, value, source / width > lane / width ? lane : source, where);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32, FROM_HERE) {
  const int lane = emulator::self->lane, d = static_cast<int>(delta);
  return emulator::exchange(mask, value, lane % width + d < width ? lane + d : lane, where);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32, FROM_HERE) {
  const int lane = emulator::self->lane, d = static_cast<int>(delta);
  return emulator::exchange(mask, value, lane % width >= d ? lane - d : lane, where);
}
inline unsigned __ballot_sync(unsigned mask, int vote, FROM_HERE) { return emulator::ballot(mask, vote, where); }
inline int __any_sync(unsigned mask, int vote, FROM_HERE) { return emulator::ballot(mask, vote, where) != 0; }
inline int __all_sync(unsigned mask, int vote, FROM_HERE) { return emulator::ballot(mask, !vote, where) == 0; }
inline unsigned __activemask() { return 1u << emulator::self->lane; }  // any set with this lane is a right answer

namespace emulator {  // not observed, for they lie in emulator.cpp
int atomic_add(int*, int);
unsigned atomic_add(unsigned*, unsigned);
unsigned long long atomic_add(unsigned long long*, unsigned long long);
float atomic_add(float*, float);
double atomic_add(double*, double);
int atomic_min(int*, int);
int atomic_max(int*, int);
unsigned atomic_min(unsigned*, unsigned);
unsigned atomic_max(unsigned*, unsigned);
unsigned long long atomic_min(unsigned long long*, unsigned long long);
unsigned long long atomic_max(unsigned long long*, unsigned long long);
int atomic_exchange(int*, int);
unsigned atomic_exchange(unsigned*, unsigned);
int atomic_cas(int*, int, int);
unsigned atomic_cas(unsigned*, unsigned, unsigned);
unsigned long long atomic_cas(unsigned long long*, unsigned long long, unsigned long long);
}  // namespace emulator
template <class T>
T atomicAdd(T* p, std::type_identity_t<T> v, FROM_HERE) {
  emulator::observe(p, sizeof(T), emulator::Access::atomic, where);
  return emulator::atomic_add(p, v);
}
template <class T>
T atomicMin(T* p, std::type_identity_t<T> v, FROM_HERE) {
  emulator::observe(p, sizeof(T), emulator::Access::atomic, where);
  return emulator::atomic_min(p, v);
}
template <class T>
T atomicMax(T* p, std::type_identity_t<T> v, FROM_HERE) {
  emulator::observe(p, sizeof(T), emulator::Access::atomic, where);
  return emulator::atomic_max(p, v);
}
template <class T>
T atomicExch(T* p, std::type_identity_t<T> v, FROM_HERE) {
  emulator::observe(p, sizeof(T), emulator::Access::atomic, where);
  return emulator::atomic_exchange(p, v);
}
template <class T>
T atomicCAS(T* p, std::type_identity_t<T> expected, std::type_identity_t<T> v, FROM_HERE) {
  emulator::observe(p, sizeof(T), emulator::Access::atomic, where);
  return emulator::atomic_cas(p, expected, v);
}
inline void __threadfence() { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
inline void __threadfence_block() {}

template <class T>
inline T __ldg(const T* p) {
  return *p;
}
// CUDA's min and max for any two numbers: integers compare, floats drop NaN as fmin and fmax do.
#define MIN_MAX(T)                                 \
  inline T min(T a, T b) { return b < a ? b : a; } \
  inline T max(T a, T b) { return a < b ? b : a; }
MIN_MAX(int)
MIN_MAX(unsigned)
MIN_MAX(long)
MIN_MAX(unsigned long)
MIN_MAX(long long)
MIN_MAX(unsigned long long)
#undef MIN_MAX
inline float min(float a, float b) { return std::fmin(a, b); }
inline float max(float a, float b) { return std::fmax(a, b); }
inline double min(double a, double b) { return std::fmin(a, b); }
inline double max(double a, double b) { return std::fmax(a, b); }
inline float rsqrtf(float x) { return 1.0f / std::sqrt(x); }
inline double rsqrt(double x) { return 1.0 / std::sqrt(x); }
inline float __fdividef(float a, float b) { return a / b; }
inline float __fmaf_rn(float a, float b, float c) { return std::fma(a, b, c); }
inline float __fmul_rn(float a, float b) { return a * b; }  // a product that no compiler fuses with a sum
inline float __fadd_rn(float a, float b) { return a + b; }
inline double __dmul_rn(double a, double b) { return a * b; }
inline double __dadd_rn(double a, double b) { return a + b; }
// Sine and cosine of pi x: x is brought near 0 by half turns and quarters of one, which is exact.
inline void sincospi(double x, double* sine, double* cosine) {
  const double quarter = std::nearbyint(2 * x), rest = M_PI * (x - quarter / 2);
  const int k = static_cast<int>(std::fmod(quarter, 4)) & 3;
  const double s = std::sin(rest), c = std::cos(rest);
  *sine = k == 0 ? s : k == 1 ? c : k == 2 ? -s : -c;
  *cosine = k == 0 ? c : k == 1 ? -s : k == 2 ? -c : s;
}
inline void sincospif(float x, float* sine, float* cosine) {
  double s, c;
  sincospi(x, &s, &c);
  *sine = static_cast<float>(s), *cosine = static_cast<float>(c);
}
inline int __popc(unsigned x) { return std::popcount(x); }
inline int __ffs(int x) { return x ? std::countr_zero(static_cast<unsigned>(x)) + 1 : 0; }
inline int __clz(int x) { return std::countl_zero(static_cast<unsigned>(x)); }
inline unsigned __float_as_uint(float x) { return std::bit_cast<unsigned>(x); }
inline float __uint_as_float(unsigned x) { return std::bit_cast<float>(x); }
inline int __float_as_int(float x) { return std::bit_cast<int>(x); }
inline float __int_as_float(int x) { return std::bit_cast<float>(x); }
inline long long __double_as_longlong(double x) { return std::bit_cast<long long>(x); }
inline double __longlong_as_double(long long x) { return std::bit_cast<double>(x); }
inline uint64_t __umul64hi(uint64_t a, uint64_t b) {
  return static_cast<uint64_t>(static_cast<unsigned __int128>(a) * b >> 64);
}
inline unsigned __umulhi(unsigned a, unsigned b) { return static_cast<unsigned>(uint64_t{a} * b >> 32); }

// kernel<<<grid, block, shared_bytes, stream>>>(arguments...): the two compilers have one spelling.
template <class... P, class... A>
void launch(void (*kernel)(P...), dim3 grid, dim3 block, size_t shared_bytes, cudaStream_t stream, A... arguments) {
  auto body = [=] NOT_OBSERVED { kernel(static_cast<P>(arguments)...); };
  static_assert(std::is_trivially_copyable_v<decltype(body)>, "arguments of a kernel are plain bytes");
  emulator::run_grid(
      stream, {grid, block, shared_bytes, [](void* f) NOT_OBSERVED { (*static_cast<decltype(body)*>(f))(); }, &body,
               sizeof body, reinterpret_cast<const void*>(kernel)});
}
