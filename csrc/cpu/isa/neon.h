// 64-bit ARM: 16-byte vectors, 32 registers. The tile is 6 x 16: 24 sums, and each vector of B is used six times.
// Not measured: tested under an emulator alone (tools/arm.sh).
#pragma once
enum : int { VECTOR_BYTES = 16, GEMM_MR = 6, GEMM_NV = 4, CONV_MR = 6, CONV_NV = 4 };

#define REGISTER "w"  // the constraint of an asm operand that is a vector
