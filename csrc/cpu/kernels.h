// KernelTable: what one ISA offers. Plain functions on raw pointers and sizes: the loops of cpu/*.cpp call them,
// the bodies of generic/*.cpp provide them, once per ISA. Sizes and strides are in elements.
#pragma once
#include <stddef.h>
#include <stdint.h>

namespace nnfast {

// ---- gemm ----
template <class T>
struct GemmKernels {
  int mr, nr;  // micro-tile
  // C[mr,nr] (+)= A[k,mr packed] * B[k,nr packed]; accumulate == false never reads C
  void (*micro)(ptrdiff_t k, const T* a, const T* b, T* c, ptrdiff_t ldc, bool accumulate);
};

// ---- movement ----
template <class T>
struct MovementKernels {
  void (*convert)(int dtype, const void* from, T* to, ptrdiff_t n, double scale);  // to[n] = scale * from[n]
};

// ---- element-wise ----
// In the order of elementwise_ops.inl. All arrays are contiguous; bools are bytes 0 and 1.
// clang-format off
constexpr int UNARY_OPS = 0
#define UNARY(...) + 1
#include "../elementwise_ops.inl"
;
constexpr int BINARY_OPS = 0
#define BINARY(...) + 1
#include "../elementwise_ops.inl"
;
constexpr int COMPARISONS = 0
#define COMPARISON(...) + 1
#include "../elementwise_ops.inl"
;
// clang-format on
template <class T>
struct ElementwiseKernels {
  using Unary = void (*)(ptrdiff_t n, const T* x, T* y, T p, T q);
  using UnaryGradient = void (*)(ptrdiff_t n, const T* dy, const T* saved, T* dx, T p, T q);
  using Binary = void (*)(ptrdiff_t n, const T* a, const T* b, T* y);
  using BinaryGradient = void (*)(ptrdiff_t n, const T* dy, const T* a, const T* b, T* d);
  using Comparison = void (*)(ptrdiff_t n, const T* a, const T* b, uint8_t* y);
  Unary unary[UNARY_OPS];
  UnaryGradient unary_gradient[UNARY_OPS];
  Binary binary[BINARY_OPS];
  BinaryGradient gradient_a[BINARY_OPS], gradient_b[BINARY_OPS];
  Comparison comparison[COMPARISONS];
  void (*where)(ptrdiff_t n, const uint8_t* condition, const T* a, const T* b, T* y);
};

// One pointer to a family's kernels for each floating dtype.
template <template <class> class Family>
struct ByType {
  const Family<float>* f32;
  const Family<double>* f64;
  template <class T>
  const Family<T>& get() const {
    if constexpr (sizeof(T) == sizeof(double))
      return *f64;
    else
      return *f32;
  }
};

struct KernelTable {
  const char* name;
  int vector_bytes;
  ByType<GemmKernels> gemm;
  ByType<ElementwiseKernels> elementwise;
  ByType<MovementKernels> movement;
};

const KernelTable& kernels();    // the ISA in use: the best that this CPU runs, or NNFAST_ISA
void use_isa(const char* name);  // for tests and benchmarks; throws if this CPU cannot run it
struct IsaRow {
  const KernelTable* table;
  bool (*runs_here)();
  bool chosen_by_default;
};
extern const IsaRow isa_rows[];  // best first
extern const int isa_count;

}  // namespace nnfast
