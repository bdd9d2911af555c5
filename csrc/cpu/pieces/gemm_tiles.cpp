// Products of bfloat16 pieces in tiles of registers (AMX). high: x = x0 + x1, and a * b is a1 b0 + a0 b1 + a0 b0; what
// is left out, a1 b1, is 2^-16 of it. medium: a0 b0 alone.
#include "../kernels.h"
#include "pack.h"

namespace nnfast::NNFAST_ISA {

constexpr int SIDE = 2 * BLOCK;      // of the micro-tile: two tiles each way
constexpr int TILE = BLOCK * BLOCK;  // words of a tile
constexpr ptrdiff_t ROW_BYTES = SIDE * 4;

// Panels: [32 of k][piece][half of the rows][tile]; a tile of A is [row][pair], one of B [pair][column].
template <int PIECES, bool BY_ROW>
static bool pack(const float* from, ptrdiff_t rows, ptrdiff_t row_stride, ptrdiff_t k, ptrdiff_t k_stride, void* to) {
  const ptrdiff_t steps = (k + 2 * BLOCK - 1) / (2 * BLOCK);
  return pack_panels<PIECES, BY_ROW, SIDE>(
      from, rows, row_stride, k, k_stride,
      [&](ptrdiff_t panel, ptrdiff_t row, ptrdiff_t step, const PairBlock<PIECES>& block)
          __attribute__((always_inline)) {
            Word* words = static_cast<Word*>(to) + (panel * steps + step) * PIECES * 2 * TILE + row / BLOCK * TILE;
            for (int p = 0; p < PIECES; ++p)
              for (int i = 0; i < BLOCK; ++i) store_words(words + p * 2 * TILE + i * BLOCK, block.at[p][i]);
          });
}

// sum[32,32], tiles 0 to 3, from tiles 4, 5 (rows of A) and 6, 7 (columns of B). A load stands a product or two before
// its tile is needed.
template <int PIECES>
static void micro(ptrdiff_t k, const void* a_panel, const void* b_panel, float* sum) {
  const Word *a = static_cast<const Word*>(a_panel), *b = static_cast<const Word*>(b_panel);
  TILES(8);
  TILE_ZERO(0);
  TILE_ZERO(1);
  TILE_ZERO(2);
  TILE_ZERO(3);
  for (ptrdiff_t p = 0; p < k; p += 2 * BLOCK, a += PIECES * 2 * TILE, b += PIECES * 2 * TILE) {
    if constexpr (PIECES == 2) {
      TILE_LOAD(4, a + 2 * TILE);  // a1 b0
      TILE_LOAD(6, b);
      TILE_DOT(0, 4, 6);
      TILE_LOAD(7, b + TILE);
      TILE_DOT(1, 4, 7);
      TILE_LOAD(5, a + 3 * TILE);
      TILE_DOT(2, 5, 6);
      TILE_LOAD(4, a);
      TILE_DOT(3, 5, 7);
      TILE_LOAD(5, a + TILE);
      TILE_DOT(0, 4, 6);  // a0 b0
      TILE_DOT(2, 5, 6);
      TILE_LOAD(6, b + 2 * TILE);
      TILE_DOT(1, 4, 7);
      TILE_DOT(3, 5, 7);
      TILE_LOAD(7, b + 3 * TILE);  // a0 b1
    } else {
      TILE_LOAD(4, a);
      TILE_LOAD(6, b);
      TILE_LOAD(7, b + TILE);
      TILE_LOAD(5, a + TILE);
    }
    TILE_DOT(0, 4, 6);
    TILE_DOT(1, 4, 7);
    TILE_DOT(2, 5, 6);
    TILE_DOT(3, 5, 7);
  }
  TILE_STORE(0, sum, ROW_BYTES);
  TILE_STORE(1, sum + BLOCK, ROW_BYTES);
  TILE_STORE(2, sum + BLOCK * SIDE, ROW_BYTES);
  TILE_STORE(3, sum + BLOCK * SIDE + BLOCK, ROW_BYTES);
}

static void begin() { tiles_on(); }
static void end() { tiles_off(); }

template <int PIECES>
static constexpr PieceGemm pieces_of = {
    SIDE, SIDE, 2 * BLOCK, PIECES, micro<PIECES>, pack<PIECES, true>, pack<PIECES, false>, begin, end};
extern const PieceGemm gemm_high, gemm_medium;
constinit const PieceGemm gemm_high = pieces_of<2>;
constinit const PieceGemm gemm_medium = pieces_of<1>;

}  // namespace nnfast::NNFAST_ISA
