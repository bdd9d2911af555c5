// gemm micro-kernel: C[MR,NR] (+)= A[k,MR packed] * B[k,NR packed], all of C in registers.
#include "../kernels.h"
#include "vec.h"

namespace nnfast::NNFAST_ISA {

template <class T>
static void gemm_micro(ptrdiff_t k, const T* a, const T* b, T* c, ptrdiff_t ldc, bool accumulate) {
  constexpr int MR = GEMM_MR, NV = GEMM_NV, L = LANES<T>;
  Vec<T> acc[MR][NV] = {};
  for (ptrdiff_t p = 0; p < k; ++p, a += MR, b += NV * L) {
    Vec<T> bv[NV];
    for (int v = 0; v < NV; ++v) bv[v] = load(b + v * L);
    for (int i = 0; i < MR; ++i)
      for (int v = 0; v < NV; ++v) acc[i][v] += a[i] * bv[v];  // written so, the broadcast folds into the product
  }
  for (int i = 0; i < MR; ++i)
    for (int v = 0; v < NV; ++v) {
      T* to = c + i * ldc + v * L;
      store(to, accumulate ? acc[i][v] + load(to) : acc[i][v]);
    }
}

extern const GemmKernels<float> gemm_f32;
extern const GemmKernels<double> gemm_f64;
constinit const GemmKernels<float> gemm_f32 = {GEMM_MR, GEMM_NV * LANES<float>, gemm_micro<float>};
constinit const GemmKernels<double> gemm_f64 = {GEMM_MR, GEMM_NV * LANES<double>, gemm_micro<double>};

}  // namespace nnfast::NNFAST_ISA
