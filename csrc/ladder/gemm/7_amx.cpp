// Rung 7: amx. A matrix unit multiplies tiles of bfloat16: 8192 products by one instruction.
// Idea:    a register that holds a matrix: 16 x 32 times 32 x 16 needs 1024 numbers of each and gives 16 times as much.
// Changed: packing also rounds to bfloat16 (8 bits of mantissa); the tile is 2 x 2 matrix registers.
// Removes: one broadcast of a for each row and k. The price is precision.
// Rounds:  bfloat16: factors keep 8 binary digits, sums are float32.
#include "nnfast_ladder.h"
#include "tiles.h"
using namespace ladder;

typedef uint16_t Half;
constexpr int64_t SIDE = 32, DEPTH = 32, BLOCK = 16 * DEPTH;  // a matrix register holds 16 x 32 numbers

static Half rounded(float x) {  // to nearest, halves to even
  uint32_t bits;
  memcpy(&bits, &x, 4);
  return static_cast<Half>(x != x ? 0x7fc0 : (bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

// to[part][k / 32][line % 16][k % 32] of lines `step` apart: 16 lines are a part. PAIRS: [k / 2 % 16][line % 16][k %
// 2].
template <bool PAIRS>
static void pack(const float* from, int64_t lines, int64_t step, int64_t K, int64_t along, Half* to) {
  for (int64_t part = 0; part < SIDE; part += 16)
    for (int64_t k0 = 0; k0 < K; k0 += DEPTH, to += BLOCK)
      for (int64_t k = 0; k < DEPTH; ++k)
        for (int64_t line = 0; line < 16; ++line) {
          const bool there = part + line < lines && k0 + k < K;
          const float x = there ? from[(part + line) * step + (k0 + k) * along] : 0;
          to[PAIRS ? k / 2 * 32 + line * 2 + k % 2 : line * DEPTH + k] = rounded(x);
        }
}

// c[32][32] = a[32][K] * b[K][32]; `half` is the distance of the two parts of a packed panel.
static void tile(int64_t K, const Half* a, const Half* b, int64_t half, float* c) {
  tile_zero(0);
  tile_zero(1);
  tile_zero(2);
  tile_zero(3);
  for (int64_t k = 0; k < K; k += DEPTH, a += BLOCK, b += BLOCK) {
    tile_load(4, a, 64);
    tile_load(5, a + half, 64);
    tile_load(6, b, 64);
    tile_load(7, b + half, 64);
    tile_multiply_add(0, 4, 6);
    tile_multiply_add(1, 4, 7);
    tile_multiply_add(2, 5, 6);
    tile_multiply_add(3, 5, 7);
  }
  tile_store(0, c, 4 * SIDE);
  tile_store(1, c + 16, 4 * SIDE);
  tile_store(2, c + 16 * SIDE, 4 * SIDE);
  tile_store(3, c + 16 * SIDE + 16, 4 * SIDE);
}

void gemm(int64_t M, int64_t N, int64_t K, const float* a, const float* b, float* c) {
  const int64_t half = 16 * round_up(K, DEPTH), panel = 2 * half;  // of a packed panel of 32 lines
  const Buffer packed(panel / 2 * (round_up(N, SIDE) / SIDE));     // two halves to a float
  Half* const packed_b = reinterpret_cast<Half*>(packed.data);
  parallel_for(N, SIDE,
               [&](int64_t j, int64_t end) { pack<true>(b + j, end - j, 1, K, N, packed_b + j / SIDE * panel); });
  parallel_for(M, SIDE, [&](int64_t i, int64_t end) {
    const Buffer own(panel / 2), corner(SIDE * SIDE);
    Half* const packed_a = reinterpret_cast<Half*>(own.data);
    pack<false>(a + i * K, end - i, K, K, 1, packed_a);
    tiles_begin();
    for (int64_t j = 0; j < N; j += SIDE) {
      tile(K, packed_a, packed_b + j / SIDE * panel, half, corner.data);
      for (int64_t r = 0; r < end - i; ++r)
        memcpy(c + (i + r) * N + j, corner.data + r * SIDE, static_cast<size_t>(min(SIDE, N - j)) * sizeof(float));
    }
    tiles_end();
  });
}
