// Convolutions of stride 1 by Winograd's F(2x2, 3x3) or F(4x4, 3x3) (generic/winograd.cpp), forward and both gradients:
// blocks of tiles of pixels are transformed piece by piece into a few hundred kB that stay in L2, multiplied there
// point by point with conv2d's micro-kernels, and transformed back. A larger filter is the sum of several of 3x3 taps,
// each of which looks further on.
//
// Error. The products are of sums over a tile's window: up to 512 channels the error is within 6 epsilon (F(4x4): 20)
// times the sum over channels and taps of the largest |x| in the window times the largest |w|. The test holds them to
// that; the worst found is 4.4 of 512 channels of one sign, and 14 of one channel of numbers that are nearly 1 and -1.
// Small integers stay exact in F(2x2), which alone serves `highest`; not in F(4x4), whose typical error is ten times
// that of products one by one, and a tenth of what `high` promises. What is not finite would spread in a tile; but a
// sum that is wrong is not finite either: every sum is checked, and if one fails, all is computed again the other way.
#pragma once
#include <atomic>

#include "conv_grid.h"
#include "slots.h"

namespace nnfast {

constexpr int64_t WINOGRAD_TAPS = 3;          // along each axis
constexpr int64_t WINOGRAD_TILE_PIXELS = 16;  // at most
constexpr int64_t WINOGRAD_TILES = 64;        // of a block; of 4x4 pixels half as many
constexpr int64_t WINOGRAD_DEPTH = 64;        // channels of a piece
constexpr int64_t WINOGRAD_COLUMNS = 64;      // of a task

// Does it pay? Measured on Zen 5, direct time / this time, forward and both gradients, AVX-512 and AVX2: 64 -> 64
// channels and more 1.2 to 1.8; 32 -> 32 1.4 and 1.6; 20 -> 20 1.2 and 1.3; 16 -> 32 1.0 and 1.1; 16 -> 16 0.5 to 0.8
// and 1.0 (a panel half of which is nothing); 9 tiles 1.2 to 1.5, 4 tiles 0.9 to 1.4; 5x5 64 -> 64 1.1 and 1.5, 24 ->
// 24 1.0.
template <class T>
bool winograd_pays(const Patches& p, const Images<const T>& source, int64_t groups, int64_t columns) {
  const auto plain = [](const Axis& a) { return a.taps > 1 && a.step == 1 && a.shift_step == 1; };
  const int64_t parts = ceil_div(p.rows.taps, WINOGRAD_TAPS) * ceil_div(p.columns.taps, WINOGRAD_TAPS);
  const int64_t tiles = p.batch * ceil_div(p.rows.out, 2) * ceil_div(p.columns.out, 2);
  const int64_t lanes = kernels().gemm.get<T>().lanes, width = kernels().conv.get<T>().nr;
  return plain(p.rows) && plain(p.columns) && groups == 1 && source.c_stride == 1 && 6 * parts <= p.taps() &&
         tiles >= 8 && p.channels >= (parts > 1 ? 32 : 20) && columns >= (parts > 1 ? 32 : 20) &&
         4 * round_up(columns, lanes) >= 3 * round_up(columns, width);
}

// Which of the two: F(4x4) where the precision allows its error (float64 is float64) and it has clearly fewer products.
// Zen 5, time of F(2x2) / time of F(4x4), forward and both gradients, AVX-512 and AVX2: images of 28x28, 56x56 1.3 to
// 1.4; 14x14 1.1 to 1.3 (a fifth of their tiles hangs over the edge); 7x7 and 11x11 1.3 to 1.6; 5x5 filters 1.3 to 1.5.
template <class T>
const WinogradKernels<T>& winograd_kernels(const Patches& p, Precision precision) {
  const auto products = [&](int64_t tile) {
    return ceil_div(p.rows.out, tile) * ceil_div(p.columns.out, tile) * (tile + 2) * (tile + 2);
  };
  if constexpr (sizeof(T) == sizeof(float))
    if (precision != Precision::highest && 8 * products(4) <= 7 * products(2)) return *kernels().winograd_wide;
  return kernels().winograd.get<T>();
}

// How the work is cut: tiles of an image and blocks of them, 3x3 parts of the filter, pieces of the channels, panels of
// NR columns.
struct WinogradPlan {
  int64_t tile, side, points;                  // a tile's side, its window's, and the cells of the window
  int64_t down, across, tiles, blocks, block;  // block: tiles of one
  int64_t part_columns, parts;
  int64_t depth, NR, panels, width;  // panels, width: of a task

  WinogradPlan(const Patches& p, int64_t nr, int64_t tile_side)
      : tile(tile_side),
        side(tile + WINOGRAD_TAPS - 1),
        points(side * side),
        down(ceil_div(p.rows.out, tile)),
        across(ceil_div(p.columns.out, tile)),
        tiles(p.batch * down * across),
        blocks(ceil_div(tiles, tile == 2 ? WINOGRAD_TILES : WINOGRAD_TILES / 2)),
        block(ceil_div(tiles, blocks)),
        part_columns(ceil_div(p.columns.taps, WINOGRAD_TAPS)),
        parts(ceil_div(p.rows.taps, WINOGRAD_TAPS) * part_columns),
        depth(ceil_div(p.channels, ceil_div(p.channels, WINOGRAD_DEPTH))),
        NR(nr),
        panels(std::max<int64_t>(1, WINOGRAD_COLUMNS / nr)),
        width(panels * nr) {}

  int64_t begin(int64_t index) const { return std::min(tiles, index * block); }    // first tile of a block
  int64_t row(int64_t part) const { return part / part_columns * WINOGRAD_TAPS; }  // first tap of a part
  int64_t column(int64_t part) const { return part % part_columns * WINOGRAD_TAPS; }
  // fn(image, row, column) of the first pixel of tile `index`.
  template <class Fn>
  void locate(int64_t index, const Fn& fn) const {
    fn(index / across / down, index / across % down * tile, index % across * tile);
  }
  // fn(tap of the filter or -1, i) for the taps i of a part.
  template <class Fn>
  void for_taps(const Patches& p, int64_t part, const Fn& fn) const {
    for (int64_t i = 0; i < WINOGRAD_TAPS * WINOGRAD_TAPS; ++i) {
      const int64_t r = row(part) + i / WINOGRAD_TAPS, s = column(part) + i % WINOGRAD_TAPS;
      fn(r < p.rows.taps && s < p.columns.taps ? r * p.columns.taps + s : -1, i);
    }
  }
};

// The cells that each tile of a block sees with one part of the filter; outside the image they are zeros.
template <class T>
void place_windows(const Patches& p, const WinogradPlan& plan, int64_t part, const Images<const T>& source,
                   int64_t begin, int64_t end, const T* zeros, const T** cells) {
  const int64_t h0 = p.rows.shift0 + plan.row(part), w0 = p.columns.shift0 + plan.column(part);
  for (int64_t t = begin; t < end; ++t)
    plan.locate(t, [&](int64_t n, int64_t i, int64_t j) {
      const int64_t left = w0 + j, right = left + plan.side;
      for (int64_t h = h0 + i; h < h0 + i + plan.side; ++h) {
        const bool inside = h >= 0 && h < source.h;
        const int64_t first = inside ? std::clamp<int64_t>(0, left, right) : right;
        const int64_t last = std::clamp(source.w, first, right);
        for (int64_t w = left; w < first; ++w) *cells++ = zeros;
        const T* cell = first < last ? source.at(n, h, first, 0) : zeros;
        for (int64_t w = first; w < last; ++w, cell += source.w_stride) *cells++ = cell;
        for (int64_t w = last; w < right; ++w) *cells++ = zeros;
      }
    });
}

// Planes of all points. Their distance is no power of two, or they would meet in the same sets of the cache.
template <class T>
struct Points {
  int64_t plane;
  T* data;
  Points(Arena& arena, int64_t points, int64_t size)
      : plane(round_up(size, 16) + 16), data(arena.take<T>(points * plane)) {}
};

// What a task needs for itself: transformed cells [tile][channel], what they are multiplied by, and the sums.
template <class T>
struct WinogradSpace {
  Points<T> cells, others, sums;
  const T **window, **patch;
  T **row, *trash;

  WinogradSpace(Arena&& arena, const WinogradPlan& plan, int64_t others_size, int64_t sums_size)
      : cells(arena, plan.points, plan.block * plan.depth),
        others(arena, plan.points, others_size),
        sums(arena, plan.points, sums_size),
        window(arena.take<const T*>(plan.block * plan.points)),
        patch(arena.take<const T*>(plan.block)),
        row(arena.take<T*>(plan.block)),
        trash(arena.take<T>(plan.width)),
        bytes(arena.used()) {}
  size_t bytes;
};

// Cells of the windows that were placed, channels [c0, c0 + c): transformed, and where each tile of them begins.
template <class T>
void transform_cells(const WinogradKernels<T>& kernel, const WinogradPlan& plan, int64_t tiles, int64_t c0, int64_t c,
                     const WinogradSpace<T>& space) {
  for (int64_t t = 0; t < tiles; ++t) {
    T* to = space.cells.data + t * c;
    space.patch[t] = to;
    kernel.input(space.window + t * plan.points, c0, c, to, space.cells.plane);
  }
}

template <class T>
struct WinogradForward {
  const Grid<T>& g;
  const WinogradKernels<T>& kernel;
  const ConvKernels<T>& conv = kernels().conv.get<T>();
  const WinogradPlan plan = WinogradPlan(g.patches, conv.nr, kernel.tile);

  WinogradSpace<T> space(void* memory) const {
    return {Arena(memory), plan, plan.depth * plan.NR, plan.block * plan.width};
  }

  // Can the filter be read where it lies?
  bool in_place() const { return g.filter.column_stride == 1 && g.columns % plan.NR == 0; }

  // Tasks: blocks of tiles by groups of columns. Gives false if a sum was not finite: the target holds nothing of use.
  bool run(int threads, Arena arena, size_t& used) const {
    const int64_t columns = g.panels(plan.NR) * plan.NR, groups = ceil_div(g.columns, plan.width);
    const int64_t nothing = std::max(g.patches.channels, plan.NR);
    T* packed = in_place() ? nullptr : arena.take<T>(columns * g.patches.taps() * g.patches.channels);
    T* init = arena.take<T>(columns);
    T* zeros = arena.take<T>(nothing);
    Slots slots(arena, threads, space(nullptr).bytes);
    used = std::max(used, arena.used());
    if (arena.measuring()) return false;
    g.begin(init, columns);
    zero_cells(zeros, nothing);
    if (packed) pack_filter(g, g.patches.channels, plan.NR, packed);
    std::atomic<bool> finite{true};
    parallel_for_flushed(plan.blocks * groups, 1, [&](int64_t begin, int64_t end) {
      const Slots::Held slot(slots);
      const WinogradSpace<T> mine = space(slot.memory());
      for (int64_t i = begin; i < end; ++i)
        if (!run_task(i / groups, i % groups * plan.panels, packed, init, zeros, mine)) finite = false;
    });
    return finite;
  }

  bool run_task(int64_t block, int64_t panel0, const T* packed, const T* init, const T* zeros,
                const WinogradSpace<T>& space) const {
    const Patches& p = g.patches;
    const int64_t first = plan.begin(block), tiles = plan.begin(block + 1) - first;
    const int64_t panel1 = std::min(panel0 + plan.panels, g.panels(plan.NR));
    for (int64_t t = 0; t < tiles; ++t) space.row[t] = space.sums.data + t * plan.width;
    for (int64_t part = 0; part < plan.parts; ++part) {
      place_windows(p, plan, part, g.source, first, first + tiles, zeros, space.window);
      for (int64_t c0 = 0; c0 < p.channels; c0 += plan.depth) {
        const int64_t c = std::min(plan.depth, p.channels - c0);
        transform_cells(kernel, plan, tiles, c0, c, space);
        for (int64_t panel = panel0; panel < panel1; ++panel) {
          transform_filter(packed, part, panel, c0, c, zeros, space);
          multiply(tiles, c, part > 0 || c0 > 0, (panel - panel0) * plan.NR, zeros, space);
        }
      }
    }
    return finish(first, tiles, panel0 * plan.NR, std::min(g.columns, panel1 * plan.NR), init, space);
  }

  // others[point][c][NR]: rows [c0, c0 + c) of one panel.
  void transform_filter(const T* packed, int64_t part, int64_t panel, int64_t c0, int64_t c, const T* zeros,
                        const WinogradSpace<T>& space) const {
    const Patches& p = g.patches;
    const Filter<T>& f = g.filter;
    const T* taps[WINOGRAD_TAPS * WINOGRAD_TAPS];
    ptrdiff_t steps[WINOGRAD_TAPS * WINOGRAD_TAPS];
    plan.for_taps(p, part, [&](int64_t tap, int64_t i) {
      const int64_t r = tap / p.columns.taps, s = tap % p.columns.taps;
      steps[i] = tap < 0 ? 0 : packed ? plan.NR : f.k_stride;
      taps[i] = tap < 0  ? zeros
                : packed ? packed + ((panel * p.taps() + tap) * p.channels + c0) * plan.NR
                         : f.data + p.rows.index(r) * f.r_stride + p.columns.index(s) * f.s_stride + c0 * f.k_stride +
                               panel * plan.NR;
    });
    kernel.filter(taps, steps, c, space.others.data, space.others.plane);
  }

  // sums[point][tile, NR columns] (+)= cells[point][tile, c] * weights[point][c, NR].
  void multiply(int64_t tiles, int64_t c, bool accumulate, int64_t column, const T* zeros,
                const WinogradSpace<T>& space) const {
    ConvRows<T> t{};
    t.rows = tiles;
    t.columns = plan.NR;
    t.segments = 1;
    t.length = c;
    t.a = space.patch;
    t.c = space.row;
    t.init = zeros;
    t.accumulate = accumulate;
    for (int64_t point = 0; point < plan.points; ++point) {
      const ptrdiff_t offset = point * space.cells.plane;
      t.offsets = &offset;
      t.b = space.others.data + point * space.others.plane;
      t.column = point * space.sums.plane + column;
      conv.rows(t);
    }
  }

  bool finish(int64_t first, int64_t tiles, int64_t column0, int64_t column1, const T* init,
              const WinogradSpace<T>& space) const {
    const bool relu = g.activation == Activation::relu;
    T zero = 0;
    for (int64_t t = 0; t < tiles; ++t)
      plan.locate(first + t, [&](int64_t n, int64_t i, int64_t j) {
        T* cells[WINOGRAD_TILE_PIXELS];
        const int64_t pixels = plan.tile * plan.tile;
        for (int64_t q = 0; q < pixels; ++q) {
          const int64_t row = i + q / plan.tile, column = j + q % plan.tile;
          const bool inside = row < g.patches.rows.out && column < g.patches.columns.out;
          cells[q] = inside ? g.target.at(n, row, column, column0) : space.trash;
        }
        zero += kernel.output(space.row[t], space.sums.plane, column1 - column0, init + column0, relu, cells);
        for (int64_t q = 0; q < pixels && !relu; ++q) activate(cells[q], column1 - column0, g.activation, g.slope);
      });
    return zero == 0;
  }
};

// dw[tap, c, f] = sum over pixels of x[pixel + tap, c] * dz[pixel, f].
template <class T>
struct WinogradFilterGradient {
  const Patches& p;
  Images<const T> x, dz;
  T* dw;
  const WinogradKernels<T>& kernel;
  const ConvKernels<T>& conv = kernels().conv.get<T>();
  const WinogradPlan plan = WinogradPlan(p, conv.nr, kernel.tile);

  WinogradSpace<T> space(void* memory) const {
    return {Arena(memory), plan, plan.block * plan.width, plan.depth * plan.width};
  }

  // Tasks: parts of the filter, pieces of the channels, groups of columns, and shares of the tiles, which are summed
  // apart and then added up: so many that there are `tasks`, if so many bytes hold them.
  bool run(int threads, Arena arena, size_t& used, int64_t tasks, int64_t partial_bytes) const {
    const int64_t C = p.channels, F = dz.c, size = p.taps() * C * F, nothing = std::max(C, F);
    const int64_t pieces = ceil_div(C, plan.depth), groups = ceil_div(F, plan.width),
                  each = plan.parts * pieces * groups;
    const int64_t room = partial_bytes / static_cast<int64_t>(sizeof(T)) / size;
    const int64_t shares = std::max<int64_t>(1, std::min({plan.blocks, room, ceil_div(tasks, each)}));
    T* partial = shares > 1 ? arena.take<T>(shares * size) : dw;
    T* zeros = arena.take<T>(nothing);
    Slots slots(arena, threads, space(nullptr).bytes);
    used = std::max(used, arena.used());
    if (arena.measuring()) return false;
    zero_cells(zeros, nothing);
    std::atomic<bool> finite{true};
    parallel_for_flushed(shares * each, 1, [&](int64_t begin, int64_t end) {
      const Slots::Held slot(slots);
      const WinogradSpace<T> mine = space(slot.memory());
      for (int64_t i = begin; i < end; ++i) {
        const int64_t share = i / each, part = i / groups / pieces % plan.parts;
        const int64_t b0 = plan.blocks * share / shares, b1 = plan.blocks * (share + 1) / shares;
        if (!run_task(b0, b1, part, i / groups % pieces * plan.depth, i % groups * plan.width, partial + share * size,
                      zeros, mine))
          finite = false;
      }
    });
    if (shares > 1) add_up(partial, shares, size, dw);
    return finite;
  }

  bool run_task(int64_t b0, int64_t b1, int64_t part, int64_t c0, int64_t f0, T* to, const T* zeros,
                const WinogradSpace<T>& space) const {
    const int64_t C = p.channels, F = dz.c, c = std::min(plan.depth, C - c0), f = std::min(plan.width, F - f0);
    for (int64_t b = b0; b < b1; ++b) {
      const int64_t first = plan.begin(b), tiles = plan.begin(b + 1) - first;
      place_windows(p, plan, part, x, first, first + tiles, zeros, space.window);
      transform_cells(kernel, plan, tiles, c0, c, space);
      for (int64_t t = 0; t < tiles; ++t) transform_gradient(first + t, t, tiles, f0, f, zeros, space);
      multiply(tiles, c, ceil_div(f, plan.NR), b > b0, space);
    }
    T zero = 0;
    for (int64_t i = 0; i < c; ++i) {
      T* taps[WINOGRAD_TAPS * WINOGRAD_TAPS];
      plan.for_taps(
          p, part, [&](int64_t tap, int64_t k) { taps[k] = tap < 0 ? space.trash : to + (tap * C + c0 + i) * F + f0; });
      zero += kernel.filter_gradient(space.sums.data + i * plan.width, space.sums.plane, f, taps);
    }
    return zero == 0;
  }

  // others[point][panel][tile][NR] of tile `index` of all, t of the block.
  void transform_gradient(int64_t index, int64_t t, int64_t tiles, int64_t f0, int64_t f, const T* zeros,
                          const WinogradSpace<T>& space) const {
    const int64_t NR = plan.NR;
    plan.locate(index, [&](int64_t n, int64_t i, int64_t j) {
      for (int64_t column = 0; column < f; column += NR) {
        const T* cells[WINOGRAD_TILE_PIXELS];
        for (int64_t q = 0; q < plan.tile * plan.tile; ++q) {
          const int64_t h = i + q / plan.tile, w = j + q % plan.tile;
          cells[q] = h < dz.h && w < dz.w ? dz.at(n, h, w, f0 + column) : zeros;
        }
        kernel.gradient(cells, std::min(NR, f - column), NR, space.others.data + column * tiles + t * NR,
                        space.others.plane);
      }
    });
  }

  // sums[point][c, f] (+)= cells[point][tile, c]^T * others[point][tile, f].
  void multiply(int64_t tiles, int64_t c, int64_t panels, bool accumulate, const WinogradSpace<T>& space) const {
    const int64_t rows = ceil_div(c, ceil_div(c, conv.mr));
    ConvOuter<T> t{};
    t.columns = plan.NR;
    t.pixels = tiles;
    t.a = space.patch;
    t.neighbours = true;
    t.b_row = plan.NR;
    t.ldc = plan.width;
    t.accumulate = accumulate;
    for (int64_t point = 0; point < plan.points; ++point)
      for (int64_t panel = 0; panel < panels; ++panel)
        for (int64_t row = 0; row < c; row += rows) {
          const ptrdiff_t offset = point * space.cells.plane + row;
          t.offsets = &offset;
          t.rows = std::min(rows, c - row);
          t.b = space.others.data + point * space.others.plane + panel * tiles * plan.NR;
          t.c = space.sums.data + point * space.sums.plane + row * plan.width + panel * plan.NR;
          conv.outer(t);
        }
  }
};

}  // namespace nnfast
