// AMX BF16: eight tiles of 16 rows of 64 bytes. Tile numbers are constants, so these are macros. Has not met real
// hardware yet: its arithmetic runs as simulated_amx, and nobody gets it who did not ask (dispatch.cpp).
#pragma once
#include "avx512.h"

#ifdef __AMX_BF16__
#define TILES(count)
#define TILE_ZERO(t) _tile_zero(t)
#define TILE_LOAD(t, from) _tile_loadd(t, from, 64)
#define TILE_DOT(sum, a, b) _tile_dpbf16ps(sum, a, b)
#define TILE_STORE(t, to, bytes) _tile_stored(t, to, bytes)

// Every tile has 16 rows of 64 bytes, on this thread until tiles_off.
INLINE void tiles_on() {
  struct {
    unsigned char palette = 1, first_row = 0, none[14] = {};
    unsigned short row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
    unsigned char rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
  } __attribute__((aligned(64))) shape;
  _tile_loadconfig(&shape);
}
INLINE void tiles_off() { _tile_release(); }
#endif
