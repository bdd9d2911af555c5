// For tests only: avx512_bf16 in plain arithmetic, on any machine.
#pragma once
#include "avx512.h"

typedef int PairWords __attribute__((vector_size(64)));
typedef float PairSums __attribute__((vector_size(64)));
INLINE PairSums dot_pairs(PairSums sum, PairWords a, PairWords b) {
  sum += (PairSums)(a & static_cast<int>(0xffff0000)) * (PairSums)(b & static_cast<int>(0xffff0000));
  return sum + (PairSums)(a << 16) * (PairSums)(b << 16);
}
