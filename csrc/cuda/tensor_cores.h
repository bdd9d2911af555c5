// What the host knows of tensor cores.
#pragma once
#include "../ops.h"

namespace nnfast {

int compute_capability();  // of the GPU in use, 80 for 8.0; the emulator says 90
int multiprocessors();     // of the GPU in use; the emulator says 4

// Products of bfloat16 pieces are for large products, and of six pieces for nobody yet. always: for any size;
// always_six: for `highest`, too; always_wgmma: that, by wgmma. For tests and benchmarks.
enum class PiecePath { automatic, always, always_six, always_wgmma };
void use_pieces(PiecePath path);
// The pieces of a number in a product of float32, 1 to 3, where they pay; 0: CUDA cores multiply. In gemm.cu.
int pieces_for(Precision precision, bool pays);
int pieces_at(Precision precision);  // the pieces of a number in large products at this precision; 0: none

// Multiplies a PieceProduct (pieces.cuh) on a Hopper GPU; gemm_sm90.cu sets it where it is linked. Else nullptr.
extern void (*multiply_by_wgmma)(const void* piece_product);
extern void (*convolve_by_wgmma)(const void* plane_convolution);  // conv_planes.cuh, conv2d_sm90.cu
bool wgmma_is_used();

}  // namespace nnfast
