// What a rung of the ladder may use, and what your own file must define: one of the functions below.
//     nnfast ladder gemm --mine my_gemm.cpp
// includes this header for you, compiles the file, checks it and places it among the rungs, which are such files too:
//     nnfast ladder gemm --show 4
#pragma once
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#ifdef NNFAST_RUNG  // inside nnfast each rung gets a name of its own for each instruction set: gemm_4_avx2
#define NNFAST_JOIN(op, rung, isa) op##_##rung##_##isa
#define NNFAST_NAME(op, rung, isa) NNFAST_JOIN(op, rung, isa)
#define gemm NNFAST_NAME(gemm, NNFAST_RUNG, NNFAST_ISA)
#define conv2d NNFAST_NAME(conv2d, NNFAST_RUNG, NNFAST_ISA)
#define softmax NNFAST_NAME(softmax, NNFAST_RUNG, NNFAST_ISA)
#define transpose NNFAST_NAME(transpose, NNFAST_RUNG, NNFAST_ISA)
#define reduce NNFAST_NAME(reduce, NNFAST_RUNG, NNFAST_ISA)
#define elementwise NNFAST_NAME(elementwise, NNFAST_RUNG, NNFAST_ISA)
#define NNFAST_HOOK extern
#else
#define NNFAST_HOOK __attribute__((visibility("default"))) inline
#endif

// ---- what to define ----
// Arrays are float32, the last index fastest, without gaps; they overlap nowhere and need not be aligned. Any size may
// be 0. An output holds rubbish before; outside of it nothing may be written, and inputs may not be changed.
extern "C" {
// c[M,N] = a[M,K] * b[K,N]; zeros if K is 0
void gemm(int64_t M, int64_t N, int64_t K, const float* a, const float* b, float* c);
// y[n,h,w,f] = sum over r, s < 3 and c < C of x[n, h+r-1, w+s-1, c] * filters[r,s,c,f], where x is 0 outside of
// x[N,H,W,C]; filters[3,3,C,F], y[N,H,W,F]
void conv2d(int64_t N, int64_t H, int64_t W, int64_t C, int64_t F, const float* x, const float* filters, float* y);
// y[i,j] = exp(x[i,j] - m[i]) / (the sum over j of it), where m[i] is the largest of row i; x and y: [rows,cols]
void softmax(int64_t rows, int64_t cols, const float* x, float* y);
// y[j,i] = x[i,j]; x[rows,cols], y[cols,rows]
void transpose(int64_t rows, int64_t cols, const float* x, float* y);
// sum[0] = x[0] + x[1] + ... + x[n-1]; 0 if n is 0
void reduce(int64_t n, const float* x, float* sum);
// y[i] = min(max(x[i] / 6 + 1/2, 0), 1): Keras's hard_sigmoid
void elementwise(int64_t n, const float* x, float* y);

// The threads of nnfast; set by whoever loads the file.
typedef void NnfastChunk(const void* fn, int64_t begin, int64_t end);
NNFAST_HOOK void (*nnfast_parallel)(NnfastChunk* run, const void* fn, int64_t n, int64_t grain);
}

// ---- what may help: `using namespace ladder;` ----
namespace ladder {
namespace {  // each file has its own

[[maybe_unused]] inline int64_t min(int64_t a, int64_t b) { return a < b ? a : b; }
[[maybe_unused]] inline int64_t max(int64_t a, int64_t b) { return a > b ? a : b; }

// One vector register: + - * / and comparisons work on all lanes, and a number is repeated in all: 2 * v.
#if defined(__AVX512F__)
constexpr int64_t LANES = 16;
#elif defined(__AVX__)
constexpr int64_t LANES = 8;
#else
constexpr int64_t LANES = 4;
#endif
typedef float Vec __attribute__((vector_size(4 * LANES)));
typedef int32_t Ints __attribute__((vector_size(4 * LANES)));

[[maybe_unused]] inline Vec load(const float* p) {
  Vec v;
  memcpy(&v, p, sizeof v);
  return v;
}
[[maybe_unused]] inline void store(float* p, Vec v) { memcpy(p, &v, sizeof v); }
// The first n lanes, for the end of a row; `rest` in the others.
[[maybe_unused]] inline Vec load_some(const float* p, int64_t n, float rest = 0) {
  Vec v = rest - Vec{};
  memcpy(&v, p, static_cast<size_t>(min(n, LANES)) * 4);
  return v;
}
[[maybe_unused]] inline void store_some(float* p, Vec v, int64_t n) {
  memcpy(p, &v, static_cast<size_t>(min(n, LANES)) * 4);
}

[[maybe_unused]] inline int64_t round_up(int64_t n, int64_t unit) { return (n + unit - 1) / unit * unit; }

// In the body of a loop: the compiler makes no vectors of it.
#define ONE_BY_ONE asm volatile("")

// Room for n floats, aligned to a cache line, until the end of the block.
struct Buffer {
  explicit Buffer(int64_t n) : data(static_cast<float*>(aligned_alloc(64, static_cast<size_t>(round_up(n, 16)) * 4))) {
    if (!data) abort();
  }
  ~Buffer() { free(data); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  float* const data;
};

// fn(begin, end) for each piece of `grain` numbers of [0, n), shared among the threads.
template <class F>
inline void parallel_for(int64_t n, int64_t grain, const F& fn) {
  if (n > 0)
    nnfast_parallel([](const void* f, int64_t begin, int64_t end) { (*static_cast<const F*>(f))(begin, end); }, &fn, n,
                    grain);
}

}  // namespace
}  // namespace ladder
