// Convolutions of bfloat16 pieces: patches, filters and gradients as words, pairs of bfloat16 that lie where conv2d.cpp
// has floats. A word is two neighbouring channels or, in the gradient of the filter, two neighbouring pixels.
#pragma once
#include <atomic>

#include "conv_grid.h"

namespace nnfast {

// The patches of a grid in words: ceil(channels / 2) of them to a cell, in a copy.
inline Patches word_patches(const Patches& p, Images<const float> source, int64_t groups, int64_t most, int64_t cache) {
  source.c = groups * ceil_div(p.channels, 2);
  return make_patches(source, p.rows, p.columns, groups, most, cache, true);
}

// The copy of a block whose cells have `channels` numbers and p.channels words, and where the patches of its pixels
// begin, or with `pairs` those of every second pixel of a line: then a word holds a number and that of the next pixel.
// line: room for one row of the window. True: a number does not fit into a piece.
inline bool place_words(const PieceConv& pieces, const Patches& p, const Images<const float>& source, int64_t c0,
                        int64_t channels, bool pairs, const Block& b, float* line, float* buffer, const float** patch) {
  const Axis &R = p.rows, &C = p.columns;
  const int64_t h0 = b.i0 * R.step + R.shift0, w0 = b.j0 * C.step + C.shift0, span = C.span(b.j);
  const int64_t row = p.window_columns * p.channels, step = (pairs ? 2 : 1) * C.step * p.channels;
  bool extreme = false;
  for (int64_t n = 0; n < b.n; ++n, buffer += p.window_rows * row) {
    for (int64_t h = 0; h < R.span(b.i); ++h) {
      float* to = buffer + h * row;
      copy_row(source, b.n0 + n, h0 + h, w0, span + (pairs ? C.step : 0), c0, channels, line);
      if (pairs)
        extreme |= pieces.across(line, line + C.step * channels, span * channels, to);
      else if (channels % 2 == 0)
        extreme |= pieces.along(line, span * channels, to);
      else
        for (int64_t w = 0; w < span; ++w) extreme |= pieces.along(line + w * channels, channels, to + w * p.channels);
    }
    for (int64_t i = 0; i < b.i; ++i)
      for (int64_t j = 0; j < b.j; j += pairs ? 2 : 1)
        *patch++ = buffer + i * R.step * row + j / (pairs ? 2 : 1) * step;
  }
  return extreme;
}

// The panels of pack_filter, [taps][channels][NR], in words: [taps][pairs of channels][NR].
inline bool pack_words(const PieceConv& pieces, const float* packed, int64_t taps, int64_t channels, float* words) {
  const int64_t pairs = ceil_div(channels, 2), NR = pieces.nr;
  std::atomic<bool> extreme{false};
  parallel_for(taps, ceil_div(16384, channels * NR + 1), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin * pairs; i < end * pairs; ++i) {
      const int64_t c = i % pairs * 2;
      const float* even = packed + (i / pairs * channels + c) * NR;
      if (pieces.across(even, c + 1 < channels ? even + NR : nullptr, NR, words + i * NR))
        extreme.store(true, std::memory_order_relaxed);
    }
  });
  return extreme.load(std::memory_order_relaxed);
}

// In place: lines of `pixels` rows of NR numbers become lines of ceil(pixels / 2) rows of NR words.
inline bool pair_pixels(const PieceConv& pieces, int64_t lines, int64_t pixels, float* rows) {
  const int64_t NR = pieces.nr;
  float* to = rows;
  bool extreme = false;
  for (int64_t l = 0; l < lines; ++l, rows += pixels * NR)
    for (int64_t j = 0; j < pixels; j += 2, to += NR)
      extreme |= pieces.across(rows + j * NR, j + 1 < pixels ? rows + (j + 1) * NR : nullptr, NR, to);
  return extreme;
}

// The kernels for this precision, or nullptr: float32. `patches`: those of floats; winograd: is it possible? Then
// F(4x4) of float32 is as fast or faster for filters of 3x3. Zen 5, time of float32 (F(2x2) where it pays) / of pieces
// and, in brackets, / of F(4x4): 3x3 28x28 128 -> 128 1.3 (1.4), 7x7 512 -> 512 1.0 (1.5), 14x14 32 -> 64 1.2 (1.2);
// stride 2 64 -> 128 1.7, its filter gradient 1.3; 1x1 64 -> 256 1.3, 1.6 and 1.1; 5x5 64 -> 64 1.5 (1.4).
template <class T>
const PieceConv* conv_pieces(const Patches& patches, int64_t columns, Precision precision, bool winograd) {
  const PieceUnit* unit = precision == Precision::medium && sizeof(T) == sizeof(float) ? piece_unit() : nullptr;
  if (!unit || patches.channels == 0) return nullptr;
  const bool worth = patches.channels >= 16 && columns >= 16 && !(winograd && patches.taps() <= 9);
  return worth || forced_gemm_path() == GemmPath::pieces ? unit->conv_medium : nullptr;
}

}  // namespace nnfast
