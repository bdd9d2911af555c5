// Products of bfloat16 pieces by an instruction that multiplies pairs and sums them in float32 (avx512_bf16). One piece
// only: on Zen 5 the instruction does twice the multiplications of a float32 FMA (490 against 257 GFLOP/s of one core),
// so the three products of two pieces would take one and a half times as long as float32 itself.
#include "../kernels.h"
#include "pack.h"

namespace nnfast::NNFAST_ISA {

constexpr int MR = 14, NV = 2, NR = NV * BLOCK;

// Panels: [pair of k][MR or NR].
template <int WIDTH>
static bool pack(const float* from, ptrdiff_t rows, ptrdiff_t row_stride, ptrdiff_t k, ptrdiff_t k_stride, void* to) {
  const ptrdiff_t pairs = (k + 1) / 2;
  return pack_panels<1, false, WIDTH>(
      from, rows, row_stride, k, k_stride,
      [&](ptrdiff_t panel, ptrdiff_t row, ptrdiff_t k_block, const PairBlock<1>& block) __attribute__((always_inline)) {
        Word* line = static_cast<Word*>(to) + (panel * pairs + k_block * BLOCK) * WIDTH + row;
        const ptrdiff_t lines = pairs - k_block * BLOCK < BLOCK ? pairs - k_block * BLOCK : BLOCK;
        const ptrdiff_t words = WIDTH - row < BLOCK ? WIDTH - row : BLOCK;
        for (ptrdiff_t i = 0; i < lines; ++i, line += WIDTH) {
          if (words == BLOCK)
            store_words(line, block.at[0][i]);
          else
            store_some(reinterpret_cast<float*>(line), (Vec<float>)block.at[0][i], words);
        }
      });
}

static void micro(ptrdiff_t k, const void* a_panel, const void* b_panel, float* sum) {
  const Word *a = static_cast<const Word*>(a_panel), *b = static_cast<const Word*>(b_panel);
  Vec<float> acc[MR][NV];
#pragma GCC unroll 16
  for (int i = 0; i < MR; ++i)
#pragma GCC unroll 4
    for (int v = 0; v < NV; ++v) acc[i][v] = Vec<float>{};
  for (ptrdiff_t pair = 0; pair < (k + 1) / 2; ++pair, a += MR, b += NR) {
    Words bv[NV];
#pragma GCC unroll 4
    for (int v = 0; v < NV; ++v) __builtin_memcpy(&bv[v], b + v * BLOCK, sizeof bv[v]);
#pragma GCC unroll 16
    for (int i = 0; i < MR; ++i) {
      const Words av = splat_word(a[i]);
#pragma GCC unroll 4
      for (int v = 0; v < NV; ++v) acc[i][v] = dot_pairs(acc[i][v], av, bv[v]);
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < MR; ++i)
#pragma GCC unroll 4
    for (int v = 0; v < NV; ++v) store(sum + i * NR + v * BLOCK, acc[i][v]);
}

extern const PieceGemm gemm_medium;
constinit const PieceGemm gemm_medium = {MR, NR, 2, 1, micro, pack<MR>, pack<NR>, nullptr, nullptr};

}  // namespace nnfast::NNFAST_ISA
