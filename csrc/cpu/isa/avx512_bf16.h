// AVX-512 BF16: the sizes of avx512, and products of pairs of bfloat16 summed in float32.
#pragma once
#include "avx512.h"

#ifdef __AVX512BF16__
// sum + a[2i] * b[2i] + a[2i+1] * b[2i+1] in each lane i of 32 bits.
typedef int PairWords __attribute__((vector_size(64)));
INLINE __m512 dot_pairs(__m512 sum, PairWords a, PairWords b) {
  return _mm512_dpbf16_ps(sum, (__m512bh)a, (__m512bh)b);
}
#endif
