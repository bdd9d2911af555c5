// For tests only: the tiles of amx.h as arrays, their products as loops, on any machine.
#pragma once
#include "avx512.h"

typedef float TileRow __attribute__((vector_size(64)));
typedef int TileWords __attribute__((vector_size(64)));
struct Tile {
  TileWords row[16];
};
INLINE void load_tile(Tile& t, const void* from) { __builtin_memcpy(&t, from, sizeof t); }
INLINE void store_tile(const Tile& t, char* to, ptrdiff_t bytes) {
  for (int i = 0; i < 16; ++i) __builtin_memcpy(to + i * bytes, &t.row[i], 64);
}
// sum[16,16] += a[16,32] * b[32,16]; a row of b holds two k side by side for each of its 16 columns.
INLINE void multiply_tiles(Tile& sum, const Tile& a, const Tile& b) {
  for (int i = 0; i < 16; ++i)
    for (int p = 0; p < 16; ++p) {
      const TileWords pair = a.row[i][p] - TileWords{};
      TileRow total = (TileRow)sum.row[i];
      total += (TileRow)(pair << 16) * (TileRow)(b.row[p] << 16);
      total += (TileRow)(pair & static_cast<int>(0xffff0000)) * (TileRow)(b.row[p] & static_cast<int>(0xffff0000));
      sum.row[i] = (TileWords)total;
    }
}
#define TILES(count) Tile tile[count]
#define TILE_ZERO(t) \
  tile[t] = Tile {}
#define TILE_LOAD(t, from) load_tile(tile[t], from)
#define TILE_DOT(sum, a, b) multiply_tiles(tile[sum], tile[a], tile[b])
#define TILE_STORE(t, to, bytes) store_tile(tile[t], reinterpret_cast<char*>(to), bytes)
INLINE void tiles_on() {}
INLINE void tiles_off() {}
