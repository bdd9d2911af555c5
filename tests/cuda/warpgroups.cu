// What tests/test_warpgroup.py looks at: single instructions of ptx_sm90.cuh, and mistakes in their use.
#include "cuda/ptx_sm90.cuh"
#include "nnfast_ladder.cuh"
using namespace nnfast;

namespace {
constexpr int ROWS = 64, DEPTH = 64;

template <class T>
__device__ T* aligned_room(T* room) {  // tiles begin at multiples of 1024 bytes
  return reinterpret_cast<T*>(reinterpret_cast<char*>(room) + (1024 - shared_address(room) % 1024) % 1024);
}

// Every 16-bit word of shared memory after a copy.
__global__ void copy_tile(const __grid_constant__ TensorMap map, int64_t column, int64_t row, uint16_t* y) {
  DYNAMIC_SHARED(uint16_t, room);
  __shared__ uint64_t landed;
  uint16_t* const tile = aligned_room(room);
  if (threadIdx.x == 0) {
    mbarrier_init(&landed, 1);
    fence_mbarrier_init();
  }
  __syncthreads();
  if (threadIdx.x == 0) {
    mbarrier_arrive_expect(&landed, ROWS * DEPTH * 2);
    tma_load(tile, map, column, row, &landed);
  }
  mbarrier_wait(&landed, 0);
  for (int n = threadIdx.x; n < ROWS * DEPTH; n += blockDim.x) y[n] = tile[n];
}

// The same of pixels.
__global__ void copy_images(const __grid_constant__ TensorMap map, int channel, int n, int h, int w, int down,
                            int right, uint16_t* y) {
  DYNAMIC_SHARED(uint16_t, room);
  __shared__ uint64_t landed;
  uint16_t* const tile = aligned_room(room);
  if (threadIdx.x == 0) {
    mbarrier_init(&landed, 1);
    fence_mbarrier_init();
  }
  __syncthreads();
  if (threadIdx.x == 0) {
    mbarrier_arrive_expect(&landed, ROWS * DEPTH * 2);
    tma_load_pixels(tile, map, channel, w, h, n, right, down, &landed);
  }
  mbarrier_wait(&landed, 0);
  for (int i = threadIdx.x; i < ROWS * DEPTH; i += blockDim.x) y[i] = tile[i];
}

// The registers of each thread after a product of [64,64] and [N,64].
template <int N>
__global__ void product(const __grid_constant__ TensorMap a, const __grid_constant__ TensorMap b, float* y) {
  DYNAMIC_SHARED(uint16_t, room);
  __shared__ uint64_t landed;
  uint16_t *const tile_a = aligned_room(room), *const tile_b = tile_a + ROWS * DEPTH;
  if (threadIdx.x == 0) {
    mbarrier_init(&landed, 1);
    fence_mbarrier_init();
    mbarrier_arrive_expect(&landed, (ROWS + N) * DEPTH * 2);
    tma_load(tile_a, a, 0, 0, &landed);
    tma_load(tile_b, b, 0, 0, &landed);
  }
  __syncthreads();
  mbarrier_wait(&landed, 0);
  float d[N / 2];
  for (int i = 0; i < N / 2; ++i) d[i] = i;
  wgmma_fence(d);
  for (int k = 0; k < DEPTH / 16; ++k) {
    const uint64_t x = wgmma_operand(tile_a) + k * WGMMA_NEXT_K, z = wgmma_operand(tile_b) + k * WGMMA_NEXT_K;
    if constexpr (N == 128)
      wgmma_m64n128k16_bf16(d, x, z);
    else
      wgmma_m64n256k16_bf16(d, x, z);
  }
  wgmma_commit();
  for (int i = 0; i < N / 2; ++i) y[threadIdx.x * N + i] = d[i];  // too early: the products may not have begun
  wgmma_wait(d);
  for (int i = 0; i < N / 2; ++i) y[threadIdx.x * N + N / 2 + i] = d[i];
}

// Two warps hand a number to two others and back, many times: what one reads is what the other wrote.
__global__ void hand_over(int rounds, int* y) {
  __shared__ uint64_t there, taken;
  __shared__ int number;
  if (threadIdx.x == 0) {
    mbarrier_init(&there, 64);
    mbarrier_init(&taken, 64);
    fence_mbarrier_init();
  }
  __syncthreads();
  int sum = 0;
  for (int n = 0; n < rounds; ++n) {
    if (threadIdx.x < 64) {
      mbarrier_wait(&taken, n % 2 ^ 1);
      if (threadIdx.x == 5) number = n * n;
      mbarrier_arrive(&there);
    } else {
      mbarrier_wait(&there, n % 2);
      sum += number;
      barrier_sync(1, 64);
      mbarrier_arrive(&taken);
    }
  }
  if (threadIdx.x >= 64) y[threadIdx.x - 64] = sum;
}

enum Mistake {
  none,
  no_initialisation,
  no_arrival,
  too_many_arrivals,
  too_few_bytes,
  no_fence,
  other_operands,
  crooked_tile,
  crooked_operand,
  outside,
  too_deep,
  waits_alone
};

__global__ void mistake(int kind, const __grid_constant__ TensorMap map, float* y) {
  DYNAMIC_SHARED(uint16_t, room);
  __shared__ uint64_t landed, other;
  uint16_t* const tile = aligned_room(room);
  float d[64] = {};
  if (threadIdx.x == 0) {
    mbarrier_init(&landed, 1);
    fence_mbarrier_init();
    if (kind == no_initialisation) mbarrier_arrive(&other);
    if (kind != no_arrival) mbarrier_arrive_expect(&landed, ROWS * DEPTH * (kind == too_few_bytes ? 1 : 2));
    if (kind == too_many_arrivals) mbarrier_arrive(&landed);
    tma_load(tile + (kind == crooked_tile ? 64 : 0), map, 0, 0, &landed);
  }
  __syncthreads();
  mbarrier_wait(&landed, 0);
  if (kind != no_fence) wgmma_fence(d);
  uint64_t x = wgmma_operand(tile);
  if (kind == other_operands && threadIdx.x >= 96) x += WGMMA_NEXT_K;
  if (kind == crooked_operand) x += 128 >> 4;
  if (kind == outside) x += 16384 >> 4;
  if (kind == too_deep) x += 112 >> 4;
  wgmma_m64n128k16_bf16(d, x, wgmma_operand(tile));
  wgmma_commit();
  if (kind == waits_alone && threadIdx.x >= 32) barrier_sync(2, 128);
  wgmma_wait(d);
  y[threadIdx.x] = d[0];
}

TensorMap map_of(const uint16_t* x, int64_t rows, int64_t columns, int box_rows) {
  return tensor_map(x, rows, columns, (columns + 7) / 8 * 16, box_rows);
}
}  // namespace

void run_copy(int64_t rows, int64_t columns, int64_t column, int64_t row, const uint16_t* x, uint16_t* y) {
  launch(copy_tile, 1, 64, ROWS * DEPTH * 2 + 1024, nullptr, map_of(x, rows, columns, ROWS), column, row, y);
}
// Images of [N,H,W,C]; the others are of H, then W.
void run_pixels(int64_t N, int64_t H, int64_t W, int64_t C, int lower_h, int lower_w, int upper_h, int upper_w,
                int step_h, int step_w, int channel, int n, int h, int w, int offset_h, int offset_w, const uint16_t* x,
                uint16_t* y) {
  const PixelBox box{N, {H, W}, C, {lower_h, lower_w}, {upper_h, upper_w}, {step_h, step_w}, ROWS};
  launch(copy_images, 1, 64, ROWS * DEPTH * 2 + 1024, nullptr, image_map(x, box), channel, n, h, w, offset_h, offset_w,
         y);
}
void run_product_128(const uint16_t* a, const uint16_t* b, float* y) {
  launch(product<128>, 1, 128, (64 + 128) * 128 + 1024, nullptr, map_of(a, 64, 64, 64), map_of(b, 128, 64, 128), y);
}
void run_product_256(const uint16_t* a, const uint16_t* b, float* y) {
  launch(product<256>, 1, 128, (64 + 256) * 128 + 1024, nullptr, map_of(a, 64, 64, 64), map_of(b, 256, 64, 256), y);
}
void run_hand_over(int rounds, int* y) { launch(hand_over, 1, 128, 0, nullptr, rounds, y); }
void run_mistake(int kind, const uint16_t* x, float* y) {
  launch(mistake, 1, 128, 16384 + 1024, nullptr, kind, map_of(x, 128, 64, 64), y);
}
