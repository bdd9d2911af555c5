// Any CPU: 16-byte vectors, which the compiler maps to what the baseline has (SSE2, NEON).
#pragma once
enum : int { VECTOR_BYTES = 16, GEMM_MR = 4, GEMM_NV = 2, CONV_MR = 4, CONV_NV = 2 };

#ifdef __SSE2__
// The products of the low halves of 64-bit lanes.
#define NATIVE_HALF_PRODUCT
typedef __m128i HalfProduct;
INLINE __m128i half_product(__m128i a, __m128i b) { return _mm_mul_epu32(a, b); }
#endif
