// AMX: eight tile registers of 16 rows of 64 bytes, and one instruction that multiplies two of them as matrices of
// bfloat16 and adds to a third. Where the CPU has none, loops do the same arithmetic, so that it can be read and
// tested. The register is a literal number: tile_load(3, p, stride).
#pragma once
#include <stdint.h>
#include <string.h>

#if defined(__AMX_TILE__) && defined(__AMX_BF16__)
#include <immintrin.h>
#define tile_zero(t) _tile_zero(t)
#define tile_load(t, from, bytes_per_row)                                        \
  do {                                                                           \
    asm volatile("" ::: "memory"); /* GCC's does not say that it reads memory */ \
    _tile_loadd(t, from, bytes_per_row);                                         \
  } while (0)
#define tile_store(t, to, bytes_per_row) _tile_stored(t, to, bytes_per_row)
#define tile_multiply_add(c, a, b) _tile_dpbf16ps(c, a, b)
static inline void tiles_begin() {  // all eight at their full size
  struct {
    uint8_t palette = 1, start_row = 0, unused[14] = {};
    uint16_t bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
    uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
  } config;
  _tile_loadconfig(&config);
}
static inline void tiles_end() { _tile_release(); }
#else
namespace {
thread_local char matrix[8][16][64];
inline void tiles_begin() {}
inline void tiles_end() {}
inline void tile_zero(int t) { memset(matrix[t], 0, sizeof matrix[t]); }
inline void tile_load(int t, const void* from, int64_t bytes_per_row) {
  for (int r = 0; r < 16; ++r) memcpy(matrix[t][r], static_cast<const char*>(from) + r * bytes_per_row, 64);
}
inline void tile_store(int t, void* to, int64_t bytes_per_row) {
  for (int r = 0; r < 16; ++r) memcpy(static_cast<char*>(to) + r * bytes_per_row, matrix[t][r], 64);
}
// c[16][16] += a[16][16 pairs] * b[16 pairs][16]: b has the two rows of a pair side by side, b[pair][column][2].
inline void tile_multiply_add(int c, int a, int b) {
  const auto widen = [](const char* at) {
    uint16_t half;
    memcpy(&half, at, 2);
    const uint32_t bits = static_cast<uint32_t>(half) << 16;
    float x;
    memcpy(&x, &bits, 4);
    return x;
  };
  for (int i = 0; i < 16; ++i)
    for (int j = 0; j < 16; ++j) {
      float sum;
      memcpy(&sum, matrix[c][i] + 4 * j, 4);
      for (int k = 0; k < 32; ++k) sum += widen(matrix[a][i] + 2 * k) * widen(matrix[b][k / 2] + 4 * j + 2 * (k % 2));
      memcpy(matrix[c][i] + 4 * j, &sum, 4);
    }
}
}  // namespace
#endif
