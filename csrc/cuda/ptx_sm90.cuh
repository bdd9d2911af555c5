// Instructions of sm_90a: mbarriers, copies by TMA, and wgmma, the products of four warps. As in ptx.cuh each is a
// named function; the sections named are those of the PTX ISA. They were never run on a GPU. Kernels that use them lie
// in *_sm90.cu, which is compiled for sm_90a alone; compiled for another architecture they trap.
//
// A copy and a product run on their own ("asynchronously"), through the async proxy: another way to shared memory than
// that of loads and stores. Three things order them: an mbarrier says that a copy has landed; wgmma_wait, that products
// have read and written all; fence_async, that what threads stored is seen by copies and products after it.
#pragma once
#include "ptx.cuh"

#ifdef __CUDACC__
#include <cuda.h>  // types of the driver; its one function is found at run time
#endif
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define PTX_90(...) asm volatile(__VA_ARGS__)
#elif defined(__CUDA_ARCH__)
#define PTX_90(...) __trap()
#else
#define PTX_90(...)
#endif

namespace nnfast {

// ---- mbarriers: "Parallel synchronization and communication instructions: mbarrier" ----
// A word of shared memory that counts arrivals and bytes. When all arrivals that it was made for, and all bytes that
// were announced, have come, its phase ends and the next begins: phases 0, 1, 2, ... have the parities 0, 1, 0, ...

__device__ inline void mbarrier_init(uint64_t* barrier, unsigned arrivals PTX_LINE) {
  IN_EMULATOR(mbarrier_init(barrier, arrivals, where));
  PTX_90("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(barrier)), "r"(arrivals) : "memory");
}
// One thread, after it has made all mbarriers: TMA sees them, too. The others see them after __syncthreads.
__device__ inline void fence_mbarrier_init() {
  PTX_90("fence.mbarrier_init.release.cluster;" :: : "memory");
  PTX_90("fence.proxy.async.shared::cta;" :: : "memory");
}
__device__ inline void mbarrier_arrive(uint64_t* barrier PTX_LINE) {
  IN_EMULATOR(mbarrier_arrive(barrier, 0, where));
  PTX_90("mbarrier.arrive.release.cta.shared::cta.b64 _, [%0];" ::"r"(shared_address(barrier)) : "memory");
}
// Announces bytes that copies will bring, and arrives.
__device__ inline void mbarrier_arrive_expect(uint64_t* barrier, unsigned bytes PTX_LINE) {
  IN_EMULATOR(mbarrier_arrive(barrier, bytes, where));
  PTX_90("mbarrier.arrive.expect_tx.release.cta.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(barrier)),
         "r"(bytes) : "memory");
}
// Returns when the phase of that parity has ended. Of a new mbarrier the phase "before", of parity 1, has.
__device__ inline void mbarrier_wait(uint64_t* barrier, unsigned parity PTX_LINE) {
  IN_EMULATOR(mbarrier_wait(barrier, parity, where));
  PTX_90(
      "{ .reg .pred ended; again: mbarrier.try_wait.parity.acquire.cta.shared::cta.b64 ended, [%0], %1;"
      " @!ended bra again; }" ::"r"(shared_address(barrier)),
      "r"(parity) : "memory");
}
// What this thread stored in shared memory before is seen by copies and products that are begun after a barrier.
__device__ inline void fence_async() { PTX_90("fence.proxy.async.shared::cta;" :: : "memory"); }

// ---- TMA: "Data movement and conversion instructions: cp.async.bulk.tensor", "Tensors" ----
// A tensor map describes a matrix in global memory, and the box of it that one copy takes: here always of 64 16-bit
// columns, 128 bytes. A kernel takes it as `const __grid_constant__ TensorMap`.
#ifdef __CUDACC__
using TensorMap = CUtensorMap;
#else
using TensorMap = emulator::TensorMap;
#endif

#ifdef __CUDACC__
// A function of the driver, by its name: nothing of the driver is linked.
template <class F>
F* driver_function(const char* name) {
  void* found = nullptr;
  cudaDriverEntryPointQueryResult result;
  check_cuda(cudaGetDriverEntryPointByVersion(name, &found, 12000, cudaEnableDefault, &result));
  if (result != cudaDriverEntryPointSuccess) throw DeviceError(std::string("[tma] the driver lacks ") + name);
  return reinterpret_cast<F*>(found);
}
inline void check_map(CUresult result) {
  if (result != CUDA_SUCCESS) throw DeviceError("[tma] the driver refuses a tensor map");
}
#endif

// [rows, columns] of bfloat16, whose rows begin `pitch` bytes apart, and boxes of box_rows <= 256. Data begin at a
// multiple of 16 bytes, and so do rows. Copies fill with zeros what lies outside.
inline TensorMap tensor_map(const void* data, int64_t rows, int64_t columns, int64_t pitch, int box_rows) {
#ifdef __CUDACC__
  static auto* const encode = driver_function<decltype(cuTensorMapEncodeTiled)>("cuTensorMapEncodeTiled");
  const cuuint64_t shape[] = {static_cast<cuuint64_t>(columns), static_cast<cuuint64_t>(rows)};
  const cuuint64_t pitches[] = {static_cast<cuuint64_t>(pitch)};
  const cuuint32_t box[] = {64, static_cast<cuuint32_t>(box_rows)}, every[] = {1, 1};
  CUtensorMap map;
  check_map(encode(&map, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 2, const_cast<void*>(data), shape, pitches, box, every,
                   CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_L2_128B,
                   CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE));
  return map;
#else
  return {data, rows, columns, pitch, box_rows, 64};
#endif
}

// Images [N,H,W,C] of bfloat16 in order, C a multiple of 8 ("im2col mode"). A copy takes 64 channels of `pixels` pixels
// that a filter's corner meets: it goes from lower[] in steps of step[] while it is below the size + upper[], along W,
// then H, then from image to image. [0]: along H, [1]: along W. Corners are -128 to 127, steps 1 to 8.
struct PixelBox {
  int64_t n, size[2], channels;
  int lower[2], upper[2], step[2], pixels;
};
inline TensorMap image_map(const void* data, const PixelBox& b) {
#ifdef __CUDACC__
  static auto* const encode = driver_function<decltype(cuTensorMapEncodeIm2col)>("cuTensorMapEncodeIm2col");
  const auto u64 = [](int64_t n) { return static_cast<cuuint64_t>(n); };
  const auto u32 = [](int n) { return static_cast<cuuint32_t>(n); };
  const cuuint64_t shape[] = {u64(b.channels), u64(b.size[1]), u64(b.size[0]), u64(b.n)};
  const cuuint64_t pixel = shape[0] * 2, pitches[] = {pixel, pixel * shape[1], pixel * shape[1] * shape[2]};
  const cuuint32_t every[] = {1, u32(b.step[1]), u32(b.step[0]), 1};
  const int lower[] = {b.lower[1], b.lower[0]}, upper[] = {b.upper[1], b.upper[0]};
  CUtensorMap map;
  check_map(encode(&map, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 4, const_cast<void*>(data), shape, pitches, lower, upper, 64,
                   u32(b.pixels), every, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
                   CU_TENSOR_MAP_L2_PROMOTION_L2_128B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE));
  return map;
#else
  return emulator::image_map({data,
                              b.n * b.size[0] * b.size[1],
                              b.channels,
                              b.channels * 2,
                              b.pixels,
                              64,
                              true,
                              {b.size[1], b.size[0]},
                              {b.lower[1], b.lower[0]},
                              {b.upper[1], b.upper[0]},
                              {b.step[1], b.step[0]}});
#endif
}

// Begins to copy the box whose first element is [row, column] to shared memory at a multiple of 1024 bytes. There row r
// lies at 128 r, and its eight parts of 16 bytes change places: part i lies at i ^ (r % 8) ("Swizzling modes"), so that
// eight rows of one part, which wgmma reads together, lie in different banks. All bytes of the box, zeros included,
// arrive at the mbarrier. One thread calls it.
__device__ inline void tma_load(void* shared, const TensorMap& map, int column, int row, uint64_t* barrier PTX_LINE) {
  IN_EMULATOR(tma_load(shared, map, column, row, barrier, where));
  PTX_90(
      "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4}], [%2];" ::"r"(
          shared_address(shared)),
      "l"(&map), "r"(shared_address(barrier)), "r"(column), "r"(row) : "memory");
}

// The same for an image_map: pixels that the filter's corner meets from [n, h, w] on, each moved by `down` and `right`
// (0 to 255), where the filter's tap lies; channels from `channel` on.
__device__ inline void tma_load_pixels(void* shared, const TensorMap& map, int channel, int w, int h, int n, int right,
                                       int down, uint64_t* barrier PTX_LINE) {
  IN_EMULATOR(tma_load_pixels(shared, map, {channel, w, h, n}, {right, down}, barrier, where));
  PTX_90(
      "cp.async.bulk.tensor.4d.shared::cluster.global.im2col.mbarrier::complete_tx::bytes"
      " [%0], [%1, {%3, %4, %5, %6}], [%2], {%7, %8};" ::"r"(shared_address(shared)),
      "l"(&map), "r"(shared_address(barrier)), "r"(channel), "r"(w), "r"(h), "r"(n), "h"(static_cast<uint16_t>(right)),
      "h"(static_cast<uint16_t>(down)) : "memory");
}

// ---- wgmma: "Asynchronous warpgroup level matrix instructions" ----
// A warpgroup is four warps, the first a multiple of four. All its threads call these functions together.

// How wgmma finds a tile that tma_load has brought ("Matrix descriptor format"): its address, the distance of eight
// rows, the swizzle; 4 bits of addresses and distances are left out. The field of the "leading dimension" counts only
// where k is longer than a swizzled row. The 16 k after the first ones are 32 bytes further: + WGMMA_NEXT_K.
constexpr uint64_t WGMMA_NEXT_K = 32 >> 4;
__device__ inline uint64_t wgmma_operand(const void* tile) {
  return uint64_t{(shared_address(tile) & 0x3ffff) >> 4} | uint64_t{1} << 16 | uint64_t{1024 >> 4} << 32 |
         uint64_t{1} << 62;
}

// Keeps the compiler from moving what is done to registers across this place.
template <int N>
__device__ inline void wgmma_registers([[maybe_unused]] float (&d)[N]) {
#pragma unroll
  for (int i = 0; i < N; ++i) PTX_90("" : "+f"(d[i])::"memory");
}
// Before the first product, and before the next one when the threads have touched the registers d.
template <int N>
__device__ inline void wgmma_fence(float (&d)[N]) {
  IN_EMULATOR(wgmma_fence());
  wgmma_registers(d);
  PTX_90("wgmma.fence.sync.aligned;" :: : "memory");
}
// Products since the last commit form a group.
__device__ inline void wgmma_commit() {
  IN_EMULATOR(wgmma_commit());
  PTX_90("wgmma.commit_group.sync.aligned;" :: : "memory");
}
// Waits for all groups; then d may be read, and for this warp's part of the products, shared memory overwritten.
template <int N>
__device__ inline void wgmma_wait(float (&d)[N] PTX_LINE) {
  IN_EMULATOR(wgmma_wait(0, where));
  PTX_90("wgmma.wait_group.sync.aligned 0;" :: : "memory");
  wgmma_registers(d);
}

// d[64,N] += a[64,16] * b[N,16]^T of bfloat16 in shared memory. Lane 4 g + t of warp w holds in d[4 j + 2 h + i] the
// element of row 16 w + 8 h + g and column 8 j + 2 t + i ("Register fragments for wgmma.mma_async.m64nNk16").
// clang-format off
#define WGMMA_8(d, i) \
  "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3]), "+f"(d[i + 4]), "+f"(d[i + 5]), "+f"(d[i + 6]), "+f"(d[i + 7])
__device__ inline void wgmma_m64n128k16_bf16(float (&d)[64], uint64_t a, uint64_t b PTX_LINE) {
  IN_EMULATOR(wgmma(d, 128, a, b, where));
  PTX_90(
      "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {"
      "%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,"
      "%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31,"
      "%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47,"
      "%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63"
      "}, %64, %65, 1, 1, 1, 0, 0;"
      : WGMMA_8(d, 0), WGMMA_8(d, 8), WGMMA_8(d, 16), WGMMA_8(d, 24), WGMMA_8(d, 32), WGMMA_8(d, 40),
        WGMMA_8(d, 48), WGMMA_8(d, 56)
      : "l"(a), "l"(b));
}
__device__ inline void wgmma_m64n256k16_bf16(float (&d)[128], uint64_t a, uint64_t b PTX_LINE) {
  IN_EMULATOR(wgmma(d, 256, a, b, where));
  PTX_90(
      "wgmma.mma_async.sync.aligned.m64n256k16.f32.bf16.bf16 {"
      "%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,"
      "%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31,"
      "%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47,"
      "%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63,"
      "%64,%65,%66,%67,%68,%69,%70,%71,%72,%73,%74,%75,%76,%77,%78,%79,"
      "%80,%81,%82,%83,%84,%85,%86,%87,%88,%89,%90,%91,%92,%93,%94,%95,"
      "%96,%97,%98,%99,%100,%101,%102,%103,%104,%105,%106,%107,%108,%109,%110,%111,"
      "%112,%113,%114,%115,%116,%117,%118,%119,%120,%121,%122,%123,%124,%125,%126,%127"
      "}, %128, %129, 1, 1, 1, 0, 0;"
      : WGMMA_8(d, 0), WGMMA_8(d, 8), WGMMA_8(d, 16), WGMMA_8(d, 24), WGMMA_8(d, 32), WGMMA_8(d, 40),
        WGMMA_8(d, 48), WGMMA_8(d, 56), WGMMA_8(d, 64), WGMMA_8(d, 72), WGMMA_8(d, 80), WGMMA_8(d, 88),
        WGMMA_8(d, 96), WGMMA_8(d, 104), WGMMA_8(d, 112), WGMMA_8(d, 120)
      : "l"(a), "l"(b));
}
// clang-format on

// ---- the rest ----

// The registers of each thread of this warpgroup become so many ("setmaxnreg"); all its warps call it. What some give
// back, others take; a multiple of eight.
template <int REGISTERS>
__device__ inline void give_registers_back() {
  PTX_90("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(REGISTERS));
}
template <int REGISTERS>
__device__ inline void take_registers() {
  PTX_90("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(REGISTERS));
}
// The bits of the nearest bfloat16, to even ("cvt").
__device__ inline uint16_t bfloat16_bits(float x) {
  uint16_t bits = 0;
  PTX_90("cvt.rn.bf16.f32 %0, %1;" : "=h"(bits) : "f"(x));
#ifndef __CUDACC__
  bits = emulator::bfloat16_bits(x);
#endif
  return bits;
}
// __syncthreads for some warps of the block ("bar"): `threads` of them, at barrier 1 to 15.
__device__ inline void barrier_sync(int barrier, int threads PTX_LINE) {
  IN_EMULATOR(named_barrier(barrier, threads, where));
  PTX_90("bar.sync %0, %1;" ::"r"(barrier), "r"(threads) : "memory");
}

}  // namespace nnfast
