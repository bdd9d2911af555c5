// Any CPU: 16-byte vectors, which the compiler maps to what the baseline has (SSE2, NEON).
#pragma once
enum : int { VECTOR_BYTES = 16, GEMM_MR = 4, GEMM_NV = 2, CONV_MR = 4, CONV_NV = 2 };
