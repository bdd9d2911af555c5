// AVX-512 F, BW, VL, DQ: 64-byte vectors, 32 registers.
#pragma once
enum : int { VECTOR_BYTES = 64, GEMM_MR = 14, GEMM_NV = 2, CONV_MR = 12, CONV_NV = 2 };

#ifdef __AVX512F__  // this file also gives its sizes to `simulated`
// a > b ? a : b, a < b ? a : b, a != a || b != b: GCC 12 makes more instructions of these. times_power: v * 2^n in one
// rounding, n whole. With masks of all lanes, which vanish: GCC 12 takes the plain ones' undefined rest for an
// uninitialized variable.
#define NATIVE_EXTREMES
INLINE __m512 larger(__m512 a, __m512 b) { return _mm512_maskz_max_ps(0xFFFF, a, b); }
INLINE __m512d larger(__m512d a, __m512d b) { return _mm512_maskz_max_pd(0xFF, a, b); }
INLINE __m512 smaller(__m512 a, __m512 b) { return _mm512_maskz_min_ps(0xFFFF, a, b); }
INLINE __m512d smaller(__m512d a, __m512d b) { return _mm512_maskz_min_pd(0xFF, a, b); }
INLINE __m512i unordered(__m512 a, __m512 b) { return _mm512_movm_epi32(_mm512_cmp_ps_mask(a, b, _CMP_UNORD_Q)); }
INLINE __m512i unordered(__m512d a, __m512d b) { return _mm512_movm_epi64(_mm512_cmp_pd_mask(a, b, _CMP_UNORD_Q)); }
#define NATIVE_POWER
INLINE __m512 times_power(__m512 v, __m512 n) { return _mm512_maskz_scalef_ps(0xFFFF, v, n); }
INLINE __m512d times_power(__m512d v, __m512d n) { return _mm512_maskz_scalef_pd(0xFF, v, n); }

// The products of the low halves of 64-bit lanes.
#define NATIVE_HALF_PRODUCT
typedef __m512i HalfProduct;
INLINE __m512i half_product(__m512i a, __m512i b) { return _mm512_maskz_mul_epu32(0xFF, a, b); }

// The first n lanes of memory in one instruction: GCC makes a branch for each lane of a loop that says so, now and
// then.
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
