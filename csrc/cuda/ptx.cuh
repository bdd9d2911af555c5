// One named function per PTX instruction that C++ cannot spell: inline assembly under nvcc, a call in the emulator. The
// layouts of registers are those of the PTX ISA, chapter "Warp-level matrix instructions". All 32 lanes of a warp call
// one together, but for the copies. What an architecture lacks must not be launched on it, and traps.
#pragma once
#include "common.cuh"

#ifdef __CUDACC__
#define PTX_LINE  // the emulator names the line that calls
#define IN_EMULATOR(call)
#else
#define PTX_LINE , FROM_HERE
#define IN_EMULATOR(call) emulator::call
#endif
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 750
#define PTX_75(...) asm volatile(__VA_ARGS__)
#elif defined(__CUDA_ARCH__)
#define PTX_75(...) __trap()
#else
#define PTX_75(...)
#endif
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
#define PTX_80(...) asm volatile(__VA_ARGS__)
#elif defined(__CUDA_ARCH__)
#define PTX_80(...) __trap()
#else
#define PTX_80(...)
#endif

namespace nnfast {

// The address of shared memory as instructions want it: 32 bits.
__device__ inline unsigned shared_address(const void* p) {
#ifdef __CUDACC__
  return static_cast<unsigned>(__cvta_generic_to_shared(p));
#else
  return static_cast<unsigned>(reinterpret_cast<uintptr_t>(p));
#endif
}

// d[16,8] += a[16,16] * b[16,8], of pairs of bfloat16. Lane 4 g + t holds of d: rows g and g + 8, columns 2 t, 2 t + 1;
// of a: (g, 2 t), (g + 8, 2 t), (g, 2 t + 8), (g + 8, 2 t + 8); of b: (2 t, g), (2 t + 8, g). sm_80.
__device__ inline void mma_m16n8k16_bf16(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2] PTX_LINE) {
  IN_EMULATOR(mma_m16n8k16_bf16(d, a, b, where));
  PTX_80(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};" : "+"
                                                                                                                    "f"(d[0]),
      "+f"(d[1]), "+f"(d[2]), "+f"(d[3]) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// d[16,8] += a[16,8] * b[8,8], of floats of which 19 bits count. d as above; of a: (g, t), (g + 8, t), (g, t + 4),
// (g + 8, t + 4); of b: (t, g), (t + 4, g). sm_80.
__device__ inline void mma_m16n8k8_tf32(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2] PTX_LINE) {
  IN_EMULATOR(mma_m16n8k8_tf32(d, a, b, where));
  PTX_80(
      "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};" : "+f"(
          d[0]),
      "+f"(d[1]), "+f"(d[2]), "+f"(d[3]) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// Matrices of 8x8 16-bit elements from shared memory: lane 8 i + r gives the address of row r of matrix i; lane 4 g + t
// gets elements 2 t and 2 t + 1 of row g of matrix i in r[i], or of column g where it is transposed. sm_75.
__device__ inline void ldmatrix_x4(unsigned (&r)[4], const void* row PTX_LINE) {
  IN_EMULATOR(ldmatrix(r, 4, false, row, where));
  PTX_75("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];" : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]),
         "=r"(r[3]) : "r"(shared_address(row)) : "memory");
}
__device__ inline void ldmatrix_x4_trans(unsigned (&r)[4], const void* row PTX_LINE) {
  IN_EMULATOR(ldmatrix(r, 4, true, row, where));
  PTX_75("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];" : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]),
         "=r"(r[3]) : "r"(shared_address(row)) : "memory");
}
// Two matrices: the addresses of lanes 16 to 31 are not used.
__device__ inline void ldmatrix_x2(unsigned (&r)[2], const void* row PTX_LINE) {
  IN_EMULATOR(ldmatrix(r, 2, false, row, where));
  PTX_75("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0,%1}, [%2];" : "=r"(r[0]),
         "=r"(r[1]) : "r"(shared_address(row)) : "memory");
}
__device__ inline void ldmatrix_x2_trans(unsigned (&r)[2], const void* row PTX_LINE) {
  IN_EMULATOR(ldmatrix(r, 2, true, row, where));
  PTX_75("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0,%1}, [%2];" : "=r"(r[0]),
         "=r"(r[1]) : "r"(shared_address(row)) : "memory");
}

// 16 bytes from global to shared memory, both at multiples of 16, on their way while the thread goes on; of the source
// only `valid` bytes are read (all by default), and zeros follow. Committed copies form a group, and cp_async_wait<N>
// returns when at most N groups of this thread are on their way; other threads see the data after a barrier. sm_80.
__device__ inline void cp_async16(void* shared, const void* global, int valid = 16 PTX_LINE) {
  IN_EMULATOR(cp_async(shared, global, 16, valid, where));
  PTX_80("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(shared)), "l"(global),
         "r"(valid) : "memory");
}
// The same with 4 bytes, for what is not aligned.
__device__ inline void cp_async4(void* shared, const void* global, int valid = 4 PTX_LINE) {
  IN_EMULATOR(cp_async(shared, global, 4, valid, where));
  PTX_80("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(shared_address(shared)), "l"(global),
         "r"(valid) : "memory");
}
__device__ inline void cp_async_commit() {
  IN_EMULATOR(cp_async_commit());
  PTX_80("cp.async.commit_group;");
}
template <int N>
__device__ inline void cp_async_wait() {
  IN_EMULATOR(cp_async_wait(N));
  PTX_80("cp.async.wait_group %0;" ::"n"(N) : "memory");
}

}  // namespace nnfast
