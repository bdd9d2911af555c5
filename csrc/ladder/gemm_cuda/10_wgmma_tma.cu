// Rung 10: wgmma and TMA. Four warps multiply out of shared memory, and a copy engine fills it behind their backs.
// Idea:    one warpgroup only asks for tiles and two only multiply; mbarriers tell each when the other is done.
// Changed: the factors become bfloat16 first; TMA copies tiles and wgmma reads them where they lie, in a ring of four.
// Removes: fragments in registers, addresses, copies, and all else that threads did between two products.
// Rounds:  bfloat16: of the factors' fractions 7 bits count.
// Needs:   sm_90a: a Hopper GPU.
#include "cuda/ptx_sm90.cuh"
#include "nnfast_ladder.cuh"
using namespace nnfast;

constexpr int T = 128, BK = 64, STAGES = 4, THREADS = 384, CONSUMER_WARPS = 8;
using Tiles = uint16_t[2][T][BK];  // of a and of b: rows of 128 bytes, swizzled

// y[rows,pitch] = x, whose rows lie `across` apart and whose k `along`, in bfloat16; zeros from K on.
__global__ void to_bfloat16(int64_t rows, int64_t K, int64_t pitch, const float* x, int64_t across, int64_t along,
                            uint16_t* y) {
  __shared__ float tile[32][33];
  const int64_t r0 = int64_t{blockIdx.x} * 32, k0 = int64_t{blockIdx.y} * 32;
  for (int i = threadIdx.y; i < 32; i += 8) {
    const int r = along == 1 ? i : threadIdx.x, k = along == 1 ? threadIdx.x : i;
    tile[r][k] = r0 + r < rows && k0 + k < K ? x[(r0 + r) * across + (k0 + k) * along] : 0;
  }
  __syncthreads();
  for (int i = threadIdx.y; i < 32 && r0 + i < rows; i += 8)
    if (k0 + threadIdx.x < pitch) y[(r0 + i) * pitch + k0 + threadIdx.x] = bfloat16_bits(tile[i][threadIdx.x]);
}

__global__ void __launch_bounds__(THREADS, 1)
    wgmma_tma(const __grid_constant__ TensorMap a, const __grid_constant__ TensorMap b, int64_t M, int64_t N,
              int64_t steps, float* c) {
  DYNAMIC_SHARED(unsigned char, room);
  __shared__ uint64_t full[STAGES], empty[STAGES];
  Tiles* const ring = reinterpret_cast<Tiles*>(room + (1024 - shared_address(room) % 1024) % 1024);
  const int group = threadIdx.x / 128, t = threadIdx.x % 128, half = (group - 1) * 64;
  const int64_t i0 = int64_t{blockIdx.y} * T, j0 = int64_t{blockIdx.x} * T;
  if (threadIdx.x == 0) {
    for (int s = 0; s < STAGES; ++s) mbarrier_init(&full[s], 1), mbarrier_init(&empty[s], CONSUMER_WARPS);
    fence_mbarrier_init();
  }
  __syncthreads();
  if (group == 0) {
    give_registers_back<40>();
    for (int64_t n = 0, s = 0; n < steps && t == 0; ++n, s = n % STAGES) {
      mbarrier_wait(&empty[s], n / STAGES % 2 ^ 1);  // at once in the first round
      mbarrier_arrive_expect(&full[s], sizeof(Tiles));
      tma_load(ring[s][0], a, n * BK, i0, &full[s]);
      tma_load(ring[s][1], b, n * BK, j0, &full[s]);
    }
    return;
  }
  take_registers<232>();
  float sum[T / 2] = {};
  for (int64_t n = 0, s = 0; n < steps; ++n, s = n % STAGES) {
    mbarrier_wait(&full[s], n / STAGES % 2);
    const uint64_t x = wgmma_operand(ring[s][0][half]), y = wgmma_operand(ring[s][1]);
    wgmma_fence(sum);
    for (int k = 0; k < BK / 16; ++k) wgmma_m64n128k16_bf16(sum, x + k * WGMMA_NEXT_K, y + k * WGMMA_NEXT_K);
    wgmma_commit();
    wgmma_wait(sum);
    if (t % 32 == 0) mbarrier_arrive(&empty[s]);
  }
#pragma unroll
  for (int n = 0; n < T / 2; n += 2) {
    const int64_t i = i0 + half + t / 32 * 16 + n / 2 % 2 * 8 + t % 32 / 4, j = j0 + n / 4 * 8 + t % 4 * 2;
    if (i < M && j < N && N % 2 == 0) *reinterpret_cast<float2*>(c + i * N + j) = make_float2(sum[n], sum[n + 1]);
    for (int h = 0; h < 2 && N % 2; ++h)
      if (i < M && j + h < N) c[i * N + j + h] = sum[n + h];
  }
}

void gemm(int64_t M, int64_t N, int64_t K, const float* a, const float* b, float* c) {
  if (M == 0 || N == 0) return;
  const int64_t pitch = K ? ceil_div(K, 8) * 8 : 8;  // rows begin at multiples of 16 bytes
  const Scratch<uint16_t> x(M * pitch), y(N * pitch);
  launch(to_bfloat16, dim3(M / 32 + 1, pitch / 32 + 1), dim3(32, 8), 0, nullptr, M, K, pitch, a, K, 1, x.data);
  launch(to_bfloat16, dim3(N / 32 + 1, pitch / 32 + 1), dim3(32, 8), 0, nullptr, N, K, pitch, b, 1, N, y.data);
  const TensorMap of_a = tensor_map(x.data, M, pitch, pitch * 2, T), of_b = tensor_map(y.data, N, pitch, pitch * 2, T);
  launch(wgmma_tma, dim3(ceil_div(N, T), ceil_div(M, T)), THREADS, STAGES * sizeof(Tiles) + 1024, nullptr, of_a, of_b,
         M, N, ceil_div(pitch, BK), c);
}
