// AVX2 and FMA: 32-byte vectors, 16 registers.
#pragma once
enum : int { VECTOR_BYTES = 32, GEMM_MR = 6, GEMM_NV = 2, CONV_MR = 6, CONV_NV = 2 };
