// AVX-512 F, BW, VL, DQ: 64-byte vectors, 32 registers.
#pragma once
enum : int { VECTOR_BYTES = 64, GEMM_MR = 14, GEMM_NV = 2, CONV_MR = 12, CONV_NV = 2 };

// The first n lanes of memory in one instruction: GCC makes a branch for each lane of a loop that says so, now and
// then.
#ifdef __AVX512F__  // this file also gives its sizes to `simulated`
#define MASKED_MEMORY
#define REGISTER "v"  // the constraint of an asm operand that is a vector
INLINE __m512 load_first(const float* p, int n, __m512 rest) {
  return _mm512_mask_loadu_ps(rest, static_cast<__mmask16>((1u << n) - 1), p);
}
INLINE __m512d load_first(const double* p, int n, __m512d rest) {
  return _mm512_mask_loadu_pd(rest, static_cast<__mmask8>((1u << n) - 1), p);
}
INLINE void store_first(float* p, __m512 v, int n) {
  _mm512_mask_storeu_ps(p, static_cast<__mmask16>((1u << n) - 1), v);
}
INLINE void store_first(double* p, __m512d v, int n) {
  _mm512_mask_storeu_pd(p, static_cast<__mmask8>((1u << n) - 1), v);
}
#endif
