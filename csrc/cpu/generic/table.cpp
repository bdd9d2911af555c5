// The KernelTable of the ISA that this object is compiled for.
#include "../kernels.h"
#include "vec.h"

#define TEXT_OF(x) #x
#define TEXT(x) TEXT_OF(x)

namespace nnfast::NNFAST_ISA {
extern const GemmKernels<float> gemm_f32;
extern const GemmKernels<double> gemm_f64;
extern const ConvKernels<float> conv_f32;
extern const ConvKernels<double> conv_f64;
extern const WinogradKernels<float> winograd_f32, winograd_wide;
extern const WinogradKernels<double> winograd_f64;
extern const ElementwiseKernels<float> elementwise_f32;
extern const ElementwiseKernels<double> elementwise_f64;
extern const MovementKernels<float> movement_f32;
extern const MovementKernels<double> movement_f64;
extern const OptimizerKernels<float> optimizer_f32;
extern const OptimizerKernels<double> optimizer_f64;
extern const ReduceKernels<float> reduce_f32;
extern const ReduceKernels<double> reduce_f64;
extern const RandomKernels<float> random_f32;
extern const RandomKernels<double> random_f64;
extern const PoolKernels<float> pool_f32;
extern const PoolKernels<double> pool_f64;
extern const SoftmaxKernels<float> softmax_f32;
extern const SoftmaxKernels<double> softmax_f64;
extern const NormKernels<float> norm_f32;
extern const NormKernels<double> norm_f64;
extern const RecurrentKernels<float> recurrent_f32;
extern const RecurrentKernels<double> recurrent_f64;

extern const KernelTable table;
constinit const KernelTable table = {
    TEXT(NNFAST_ISA),
    VECTOR_BYTES,
    {&gemm_f32, &gemm_f64},
    {&conv_f32, &conv_f64},
    {&winograd_f32, &winograd_f64},
    &winograd_wide,
    {&elementwise_f32, &elementwise_f64},
    {&movement_f32, &movement_f64},
    {&optimizer_f32, &optimizer_f64},
    {&reduce_f32, &reduce_f64},
    {&random_f32, &random_f64},
    {&pool_f32, &pool_f64},
    {&softmax_f32, &softmax_f64},
    {&norm_f32, &norm_f64},
    {&recurrent_f32, &recurrent_f64},
};
}  // namespace nnfast::NNFAST_ISA
