// 64-bit ARM: 16-byte vectors, 32 registers. The tile is 12 x 8: 24 sums, 2 vectors of B, one element of A at a time.
// Not measured: tested under an emulator alone (tools/arm.sh).
#pragma once
enum : int { VECTOR_BYTES = 16, GEMM_MR = 12, GEMM_NV = 2, CONV_MR = 12, CONV_NV = 2 };

#define REGISTER "w"  // the constraint of an asm operand that is a vector
