// Planted faults, each a natural mistake, and beside each its clean twin. tests/test_lesson.py finds lines by the
// marks.
#include "nnfast_ladder.cuh"

namespace {
// A neighbour's word is read before anybody made sure that it is there.
template <bool CLEAN>
__global__ void missing_barrier(float* y) {
  __shared__ float s[64];
  s[threadIdx.x] = threadIdx.x;  // mark: barrier store
  if (CLEAN) __syncthreads();
  y[threadIdx.x] = s[63 - threadIdx.x];  // mark: barrier load
}

// A tile is overwritten while others still read it.
template <bool CLEAN>
__global__ void missing_second_barrier(const float* x, float* y, int n) {
  __shared__ float tile[64];
  float sum = 0;
  for (int k = 0; k < n; k += 64) {
    tile[threadIdx.x] = x[k + threadIdx.x];  // mark: tile store
    __syncthreads();
    for (int i = 0; i < 64; ++i) sum += tile[i];  // mark: tile load
    if (CLEAN) __syncthreads();
  }
  y[threadIdx.x] = sum;
}

// A shuffle or the warp's habit to run together orders no memory; __syncwarp does.
template <bool CLEAN>
__global__ void missing_syncwarp(float* y) {
  __shared__ float s[48];
  const int t = threadIdx.x;
  s[t] = t;  // mark: warp store
  if (t < 16) s[t + 32] = 0;
  if (CLEAN) __syncwarp();
  const float neighbour = s[t + 16];  // mark: warp load
  if (CLEAN) __syncwarp();
  s[t] += neighbour;  // mark: warp add
  y[t] = s[t];
}

// All blocks add to one number.
template <bool CLEAN>
__global__ void block_race(float* y) {
  if (threadIdx.x != 0) return;
  if (CLEAN)
    atomicAdd(y, 1.0f);
  else
    *y += 1;  // mark: block add
}

// The last block sums what the others left: __threadfence before the atomic hands it over.
template <bool CLEAN>
__global__ void last_block(float* parts, unsigned* done, float* y) {
  if (threadIdx.x != 0) return;
  parts[blockIdx.x] = 1;  // mark: part store
  if (CLEAN) __threadfence();
  if (atomicAdd(done, 1u) + 1 < gridDim.x) return;
  float sum = 0;
  for (unsigned i = 0; i < gridDim.x; ++i) sum += parts[i];  // mark: part load
  *y = sum;
}

// The word that all add to is set by one, and nobody waits for that.
template <bool CLEAN>
__global__ void atomic_race(float* y) {
  __shared__ float total;
  if (threadIdx.x == 0) total = 0;  // mark: total store
  if (CLEAN) __syncthreads();
  atomicAdd(&total, 1.0f);  // mark: total add
  __syncthreads();
  if (threadIdx.x == 0) *y = total;
}

// <= n.
__global__ void out_of_bounds(const float* x, float* y, int n) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i <= n) y[i] = 1;  // mark: outside store
  if (i < n) y[i] = x[i];
}

// One before the first.
__global__ void before_the_beginning(const float* x, float* y) {
  y[threadIdx.x] = x[static_cast<int>(threadIdx.x) - 1];  // mark: before load
}

__global__ void shared_index(float* y, int n) {
  __shared__ float s[64];
  for (int i = threadIdx.x; i < n; i += 64) s[i] = i;  // mark: index
  __syncthreads();
  y[threadIdx.x] = s[threadIdx.x];
}

// So much dynamic shared memory as the launch gave, and no more.
__global__ void dynamic_outside(float* y) {
  DYNAMIC_SHARED(float, room);
  room[threadIdx.x] = 1;  // mark: room store
  __syncthreads();
  y[threadIdx.x] = room[threadIdx.x];
}

__global__ void atomic_outside(float* y, int n) { atomicAdd(&y[n], 1.0f); }  // mark: atomic outside

template <bool CLEAN>
__global__ void uninitialised(float* y) {
  __shared__ float s[64];
  if (CLEAN || threadIdx.x < 63) s[threadIdx.x] = 1;
  __syncthreads();
  y[threadIdx.x] = s[threadIdx.x];  // mark: uninitialised
}

__global__ void never_stored(float* y) {
  __shared__ float s[64];
  y[threadIdx.x] = s[threadIdx.x];  // mark: never stored
}

// The output holds rubbish until it is set.
template <bool CLEAN>
__global__ void adds_to_rubbish(float* y) {
  if (CLEAN) y[threadIdx.x] = 0;
  y[threadIdx.x] += 1;  // mark: rubbish
}

__global__ void vector_copy(const float* x, float* y, int offset) {
  reinterpret_cast<float4*>(y)[threadIdx.x] =
      *reinterpret_cast<const float4*>(x + 4 * threadIdx.x + offset);  // mark: vector
}

__global__ void writes_input(const float* x) { const_cast<float*>(x)[threadIdx.x] = 0; }  // mark: input

template <bool CLEAN>
__global__ void left_before_barrier(float* y, int n) {
  const int i = threadIdx.x;
  if (!CLEAN && i >= n) return;
  __shared__ float s[64];
  s[i] = i;
  __syncthreads();  // mark: left
  if (i < n) y[i] = s[i];
}

// cp.async: read before it is waited for; and overwritten while a neighbour still reads.
template <bool CLEAN>
__global__ void copy_not_awaited(const float* x, float* y) {
  __shared__ __align__(16) float s[128];
  nnfast::cp_async16(&s[4 * threadIdx.x], x + 4 * threadIdx.x);  // mark: copy
  nnfast::cp_async_commit();
  if (CLEAN) nnfast::cp_async_wait<0>();
  __syncthreads();
  y[threadIdx.x] = s[threadIdx.x];  // mark: copy load
}

// ldmatrix reads rows that other lanes have stored.
template <bool CLEAN>
__global__ void matrix_race(unsigned* y) {
  __shared__ __align__(16) unsigned short rows[32][8];
  for (int i = 0; i < 8; ++i) rows[(threadIdx.x + 1) % 32][i] = i;  // mark: rows store
  if (CLEAN) __syncwarp();
  unsigned r[4];
  nnfast::ldmatrix_x4(r, rows[threadIdx.x]);  // mark: rows load
  y[threadIdx.x] = r[0];
}

__global__ void endless(float* y) {
  volatile float* p = y;
  while (p[threadIdx.x] == 0) p[threadIdx.x] = 0;  // mark: endless
}

__global__ void divides(int* y, int n) { y[threadIdx.x] = 100 / n; }  // mark: divides

// ---- what the emulator finds without hooks ----

__global__ void divergent_barrier(float* y) {
  if (threadIdx.x < 40) {
    y[threadIdx.x] = 1;
    __syncthreads();  // mark: one barrier
  } else {
    y[threadIdx.x] = 2;
    __syncthreads();  // mark: other barrier
  }
}

// clang-format off
__global__ void barriers_of_one_line(float* y) {
  if (threadIdx.x < 40) { y[threadIdx.x] = 1; __syncthreads(); } else { __syncthreads(); }  // mark: barriers of one line
}
// clang-format on

__global__ void shared_room(float* y) {
  __shared__ float some[1024];
  DYNAMIC_SHARED(float, room);
  some[threadIdx.x] = room[threadIdx.x] = 1;
  y[threadIdx.x] = some[threadIdx.x] + room[threadIdx.x];
}

__global__ void barrier_against_shuffle(float* y) {
  float v = threadIdx.x;
  if (threadIdx.x % 32 < 16) v += __shfl_xor_sync(~0u, v, 1);  // mark: deadlock shuffle
  __syncthreads();                                             // mark: deadlock barrier
  y[threadIdx.x] = v;
}

__global__ void mismatched_masks(float* y) {
  const int lane = threadIdx.x % 32;
  y[threadIdx.x] = __shfl_xor_sync(lane < 8 ? 0x0000ffffu : ~0u, static_cast<float>(lane), 1);  // mark: masks
}

__global__ void lane_left(float* y, int n) {
  if (static_cast<int>(threadIdx.x) >= n) return;
  y[threadIdx.x] = __shfl_down_sync(~0u, static_cast<float>(threadIdx.x), 1);  // mark: lane left
}

__global__ void not_in_mask(float* y) { y[threadIdx.x] = __shfl_sync(2u, 1.0f, 0); }  // mark: not in mask

// ---- what is counted ----

__global__ void strided_copy(const float* x, float* y, int stride, int offset) {
  y[threadIdx.x] = x[threadIdx.x * stride + offset];  // mark: strided
}

template <int PAD>
__global__ void transpose(const float* x, float* y) {
  __shared__ float tile[32][32 + PAD];
  tile[threadIdx.y][threadIdx.x] = x[threadIdx.y * 32 + threadIdx.x];
  __syncthreads();
  y[threadIdx.y * 32 + threadIdx.x] = tile[threadIdx.x][threadIdx.y];  // mark: transpose
}

__global__ void broadcast(const float* x, float* y) { y[threadIdx.x] = x[0]; }  // mark: broadcast

__global__ void partial_warp(const float* x, float* y) {
  if (threadIdx.x < 10) y[threadIdx.x] = x[threadIdx.x];  // mark: partial
}

__global__ void one_word(float* y) {
  __shared__ float total;
  if (threadIdx.x == 0) total = 0;
  __syncthreads();
  atomicAdd(&total, 1.0f);  // mark: one word
  __syncthreads();
  if (threadIdx.x == 0) *y = total;
}

template <class... P, class... A>
void run(void (*kernel)(P...), dim3 grid, dim3 block, A... arguments) {
  launch(kernel, grid, block, 0, nullptr, arguments...);
}
}  // namespace

#define BOTH(name, parameters, grid, block, ...)                                \
  void name##_faulty parameters { run(name<false>, grid, block, __VA_ARGS__); } \
  void name##_clean parameters { run(name<true>, grid, block, __VA_ARGS__); }
BOTH(missing_barrier, (float* y), 1, 64, y)
BOTH(missing_second_barrier, (const float* x, float* y, int n), 1, 64, x, y, n)
BOTH(missing_syncwarp, (float* y), 1, 32, y)
BOTH(block_race, (float* y), 3, 32, y)
BOTH(last_block, (float* parts, unsigned* done, float* y), 3, 32, parts, done, y)
BOTH(atomic_race, (float* y), 1, 64, y)
BOTH(uninitialised, (float* y), 1, 64, y)
BOTH(adds_to_rubbish, (float* y), 1, 64, y)
BOTH(left_before_barrier, (float* y, int n), 1, 64, y, n)
BOTH(copy_not_awaited, (const float* x, float* y), 1, 32, x, y)
BOTH(matrix_race, (unsigned* y), 1, 32, y)

void run_out_of_bounds(const float* x, float* y, int n) { run(out_of_bounds, 2, 128, x, y, n); }
void run_before_the_beginning(const float* x, float* y) { run(before_the_beginning, 1, 32, x, y); }
void run_shared_index(float* y, int n) { run(shared_index, 1, 64, y, n); }
void run_dynamic_outside(float* y, int words) { launch(dynamic_outside, 1, 64, words * 4, nullptr, y); }
void run_atomic_outside(float* y, int n) { run(atomic_outside, 1, 1, y, n); }
void run_vector_copy(const float* x, float* y, int offset) { run(vector_copy, 1, 32, x, y, offset); }
void run_writes_input(const float* x) { run(writes_input, 1, 32, x); }
void run_endless(float* y) { run(endless, 1, 32, y); }
void run_divides(int* y, int n) { run(divides, 1, 32, y, n); }
void run_divergent_barrier(float* y) { run(divergent_barrier, 1, 64, y); }
void run_barriers_of_one_line(float* y) { run(barriers_of_one_line, 1, 64, y); }
void run_shared_room(float* y, int bytes) { launch(shared_room, 1, 64, bytes, nullptr, y); }
void run_never_stored(float* y) { run(never_stored, 1, 64, y); }
void run_host_stores(const float* x, float* y) {
  run(broadcast, 1, 32, x, y + 32);
  y[3] = 1;  // mark: host stores
}
void run_host_loads(float* y) {
  Scratch<float> scratch(64);
  run(vector_copy, 1, 1, y, scratch.data, 0);
  if (scratch.data[1] == 0) run(one_word, 1, 32, y);  // mark: host loads
}
void run_large_scratch(float* y, int gigabytes) {
  Scratch<float> scratch(size_t(gigabytes) << 28);
  run(broadcast, 1, 32, y, scratch.data);
}
void run_barrier_against_shuffle(float* y) { run(barrier_against_shuffle, 1, 64, y); }
void run_mismatched_masks(float* y) { run(mismatched_masks, 1, 32, y); }
void run_lane_left(float* y, int n) { run(lane_left, 1, 32, y, n); }
void run_not_in_mask(float* y) { run(not_in_mask, 1, 32, y); }
void run_too_many_threads(float* y) { run(broadcast, 1, 2048, y, y); }
void run_strided_copy(const float* x, float* y, int stride, int offset) {
  run(strided_copy, 1, 32, x, y, stride, offset);
}
void run_transpose(const float* x, float* y, bool padded) {
  if (padded)
    run(transpose<1>, 1, dim3(32, 32), x, y);
  else
    run(transpose<0>, 1, dim3(32, 32), x, y);
}
void run_broadcast(const float* x, float* y) { run(broadcast, 1, 32, x, y); }
void run_partial_warp(const float* x, float* y) { run(partial_warp, 1, 32, x, y); }
void run_one_word(float* y) { run(one_word, 1, 32, y); }
void takes_everything(const float* x, float* y, int n, float scale, double, bool yes, long long) {
  run(strided_copy, 1, yes ? n : 0, x, y, 1, scale > 1 ? 1 : 0);
}
