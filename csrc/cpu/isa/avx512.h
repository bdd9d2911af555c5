// AVX-512 F, BW, VL, DQ: 64-byte vectors, 32 registers.
#pragma once
enum : int { VECTOR_BYTES = 64, GEMM_MR = 14, GEMM_NV = 2, CONV_MR = 12, CONV_NV = 2 };
