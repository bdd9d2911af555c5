// What a CUDA rung of the ladder may use, and what your own .cu file must define: one of the functions below.
//     nnfast ladder gemm --mine my_gemm.cu
// compiles the file for the CPU, checks each access to memory, and counts what a GPU's memory would do. The same file
// compiles with nvcc. Three conventions make that possible: kernels are started with launch(kernel, grid, block,
// shared_bytes, stream, arguments...), dynamic shared memory is DYNAMIC_SHARED(float, name), and the instructions of
// tensor cores and of cp.async are functions of cuda/ptx.cuh, those that only Hopper GPUs have of cuda/ptx_sm90.cuh.
#pragma once
#include "cuda/ptx.cuh"

using nnfast::ceil_div;

// Memory of the GPU, until the work that is queued in the life of this object is done.
template <class T>
struct Scratch {
  T* data;

#ifdef __CUDACC__
  explicit Scratch(size_t count) { nnfast::check_cuda(cudaMallocAsync(&data, count * sizeof(T), nullptr)); }
  ~Scratch() { cudaFreeAsync(data, nullptr); }
#else
  explicit Scratch(size_t count) : data(static_cast<T*>(emulator::allocate(count * sizeof(T)))) {}
  ~Scratch() { emulator::release(data); }
#endif
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
};

// The pointers are those of the GPU; work is queued on the default stream, nullptr. Otherwise as in nnfast_ladder.h:
// arrays are float32 without gaps, any size may be 0, the output holds rubbish before.
extern "C" {
// c[M,N] = a[M,K] * b[K,N]; zeros if K is 0
void gemm(int64_t M, int64_t N, int64_t K, const float* a, const float* b, float* c);
// y[n,h,w,f] = sum over r, s < 3 and c < C of x[n, h+r-1, w+s-1, c] * filters[r,s,c,f], where x is 0 outside
void conv2d(int64_t N, int64_t H, int64_t W, int64_t C, int64_t F, const float* x, const float* filters, float* y);
// y[i,j] = exp(x[i,j] - m[i]) / (the sum over j of it), where m[i] is the largest of row i; x and y: [rows,cols]
void softmax(int64_t rows, int64_t cols, const float* x, float* y);
// y[j,i] = x[i,j]; x[rows,cols], y[cols,rows]
void transpose(int64_t rows, int64_t cols, const float* x, float* y);
// sum[0] = x[0] + x[1] + ... + x[n-1]; 0 if n is 0
void reduce(int64_t n, const float* x, float* sum);
// y[i] = min(max(x[i] / 6 + 1/2, 0), 1)
void elementwise(int64_t n, const float* x, float* y);
}
