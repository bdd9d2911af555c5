// AVX2 and FMA: 32-byte vectors, 16 registers.
#pragma once
enum : int { VECTOR_BYTES = 32, GEMM_MR = 6, GEMM_NV = 2, CONV_MR = 6, CONV_NV = 2 };

#define REGISTER "x"  // the constraint of an asm operand that is a vector
// a > b ? a : b, a < b ? a : b, a != a || b != b: GCC 12 makes more instructions of these.
#define NATIVE_EXTREMES
INLINE __m256 larger(__m256 a, __m256 b) { return _mm256_max_ps(a, b); }
INLINE __m256d larger(__m256d a, __m256d b) { return _mm256_max_pd(a, b); }
INLINE __m256 smaller(__m256 a, __m256 b) { return _mm256_min_ps(a, b); }
INLINE __m256d smaller(__m256d a, __m256d b) { return _mm256_min_pd(a, b); }
INLINE __m256 unordered(__m256 a, __m256 b) { return _mm256_cmp_ps(a, b, _CMP_UNORD_Q); }
INLINE __m256d unordered(__m256d a, __m256d b) { return _mm256_cmp_pd(a, b, _CMP_UNORD_Q); }

// The low bytes of 32-bit or 64-bit masks, side by side: GCC 12 takes the lanes out one by one.
#define NATIVE_MASK_BYTES
INLINE int64_t mask_bytes_32(__m256i mask) {
  const __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(mask), _mm256_extracti128_si256(mask, 1));
  return _mm_cvtsi128_si64(_mm_packs_epi16(words, words));
}
INLINE int64_t mask_bytes_64(__m256i mask) {
  const __m256i words = _mm256_permutevar8x32_epi32(mask, _mm256_setr_epi32(0, 2, 4, 6, 0, 2, 4, 6));
  return mask_bytes_32(words);
}

// The products of the low halves of 64-bit lanes.
#define NATIVE_HALF_PRODUCT
typedef __m256i HalfProduct;
INLINE __m256i half_product(__m256i a, __m256i b) { return _mm256_mul_epu32(a, b); }

// The first n lanes of memory in one instruction: GCC makes a branch for each lane of a loop that says so, now and
// then.
#define MASKED_MEMORY
INLINE __m256i first_floats(int n) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
INLINE __m256i first_doubles(int n) {
  return _mm256_cmpgt_epi64(_mm256_set1_epi64x(n), _mm256_setr_epi64x(0, 1, 2, 3));
}
INLINE __m256 load_first(const float* p, int n, __m256 rest) {
  const __m256i mask = first_floats(n);
  return _mm256_blendv_ps(rest, _mm256_maskload_ps(p, mask), _mm256_castsi256_ps(mask));
}
INLINE __m256d load_first(const double* p, int n, __m256d rest) {
  const __m256i mask = first_doubles(n);
  return _mm256_blendv_pd(rest, _mm256_maskload_pd(p, mask), _mm256_castsi256_pd(mask));
}
INLINE void store_first(float* p, __m256 v, int n) { _mm256_maskstore_ps(p, first_floats(n), v); }
INLINE void store_first(double* p, __m256d v, int n) { _mm256_maskstore_pd(p, first_doubles(n), v); }
