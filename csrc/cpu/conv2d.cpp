// conv2d and its gradients as implicit GEMM (patches.h): the rows of A are patches of the image where it lies, or of a
// copy of a block's window in cache; B, the filter, is packed into panels as in gemm. The gradient of the input is the
// same loop over the gradient of the output; the gradient of the filter is A^T B, summed over blocks of pixels.
#include "../ops.h"
#include "conv_grid.h"
#include "conv_pieces.h"
#include "slots.h"
#include "winograd.h"

namespace nnfast {
namespace {

constexpr int64_t BLOCK_PIXELS = 256;       // of a task
constexpr int64_t BLOCK_CACHE = 512 << 10;  // bytes of a block's copy: half of a usual L2
constexpr int64_t PANEL_CACHE = 24 << 10;   // bytes of a panel of B between two passes over the pixels: half of L1
constexpr int64_t TASKS = 24;  // enough to share among threads; below it, the columns of the result are shared too
constexpr int64_t PARTIAL_BYTES = 2 << 20;  // most that the partial sums of a filter's gradient may take
constexpr int64_t FEW_READS = 32;           // cells of a patch below which a gradient of pixels is read where it lies

// What a task of run_grid needs for itself.
template <class T>
struct Workspace {
  T* copy;          // of the block's window
  const T** patch;  // per pixel
  T** row;          // per pixel: where its results go
  T* results;       // [pixels][panels * NR], where the target cannot be written in rows
  T* line;          // a row of cells on its way to words

  Workspace(Arena arena, const Patches& p, int64_t width, int64_t cells)
      : copy(arena.take<T>(p.buffer + 16)),
        patch(arena.take<const T*>(p.block_pixels())),
        row(arena.take<T*>(p.block_pixels())),
        results(arena.take<T>(p.block_pixels() * width)),
        line(arena.take<T>(cells)) {}
  static size_t bytes(const Patches& p, int64_t width, int64_t cells) {
    Arena arena(nullptr);
    arena.take<T>(p.buffer + 16);
    arena.take<const T*>(p.block_pixels());
    arena.take<T*>(p.block_pixels());
    arena.take<T>(p.block_pixels() * width);
    arena.take<T>(cells);
    return arena.used();
  }
};

// The K loop of one block: pieces of K whose panels of B fit in L1, panels, tiles of pixels.
template <class T>
void multiply(const Grid<T>& g, const ConvKernels<T>& kernel, const ptrdiff_t* offsets, const T* b, int64_t panel0,
              int64_t panel1, const Block& block, const Workspace<T>& space, const T* init) {
  const Patches& p = g.patches;
  const int64_t NR = kernel.nr, pixels = block.pixels();
  const int64_t most = std::max<int64_t>(1, PANEL_CACHE / NR / static_cast<int64_t>(sizeof(T)));
  const int64_t segments = std::max<int64_t>(1, most / std::max<int64_t>(p.length, 1));
  const int64_t pieces = ceil_div(std::max<int64_t>(p.length, 1), most), piece = ceil_div(p.length, pieces);
  ConvRows<T> t{};
  t.rows = pixels;
  t.a = space.patch;
  t.c = space.row;
  for (int64_t s = 0; s < p.segments; s += segments)
    for (int64_t k = 0; k == 0 || k < p.length; k += std::max<int64_t>(piece, 1)) {
      const bool last = s + segments >= p.segments && k + piece >= p.length;
      t.segments = std::min(segments, p.segments - s);
      t.length = segments > 1 ? p.length : std::min(piece, p.length - k);
      t.offsets = offsets + s;
      t.shift = k;
      t.accumulate = s > 0 || k > 0;
      t.relu = last && g.activation == Activation::relu;
      for (int64_t panel = panel0; panel < panel1; ++panel) {
        t.b = b + ((panel * p.segments + s) * p.length + k) * NR;
        t.init = init + panel * NR;
        t.column = panel * NR;
        t.columns = std::min(NR, g.columns - panel * NR);
        kernel.rows(t);
      }
    }
}

// False: a cell does not fit into a piece, and nothing is computed.
template <class T>
bool run_block(const Grid<T>& g, const ConvKernels<T>& kernel, const PieceConv* pieces, const ptrdiff_t* offsets,
               const T* packed, const T* init, int64_t group, int64_t panel0, int64_t panel1, const Block& block,
               const Workspace<T>& space) {
  const int64_t NR = kernel.nr, width = g.panels(NR) * NR, pixels = block.pixels();
  const bool in_rows = g.target.c_stride == 1 || g.columns == 1;
  if (!pieces) {
    place_patches(g.patches, g.source, group * g.patches.channels, block, space.copy, space.patch);
  } else if constexpr (sizeof(T) == sizeof(float)) {
    const int64_t channels = g.source.c / g.groups;
    if (place_words(*pieces, g.patches, g.source, group * channels, channels, false, block, space.line, space.copy,
                    space.patch))
      return false;
  }
  if (in_rows)
    g.place_rows(block, group * g.columns, space.row);
  else
    for (int64_t i = 0; i < pixels; ++i) space.row[i] = space.results + i * width;
  multiply(g, kernel, offsets, packed + group * width * g.patches.taps() * g.patches.channels, panel0, panel1, block,
           space, init + group * width);
  const int64_t column0 = panel0 * NR, column1 = std::min(panel1 * NR, g.columns);
  if (g.activation != Activation::relu)
    for (int64_t i = 0; i < pixels; ++i) activate(space.row[i] + column0, column1 - column0, g.activation, g.slope);
  if (in_rows) return true;
  g.place_rows(block, group * g.columns, space.row);
  for (int64_t i = 0; i < pixels; ++i)
    for (int64_t c = column0; c < column1; ++c) space.row[i][c * g.target.c_stride] = space.results[i * width + c];
  return true;
}

// Tasks: blocks of pixels, groups and, where these are few, ranges of panels. Gives false if a number does not fit into
// a piece: the target holds nothing of use.
template <class T>
bool run_grid(Grid<T> g, const PieceConv* pieces, int threads, Arena arena, size_t& used) {
  ConvKernels<T> kernel = kernels().conv.get<T>();
  const Patches floats = g.patches;
  int64_t line = 0;
  if constexpr (sizeof(T) == sizeof(float))
    if (pieces) {
      kernel.rows = pieces->rows;
      g.patches = word_patches(floats, g.source, g.groups, BLOCK_PIXELS, BLOCK_CACHE);
      if (g.patches.place != Patches::Place::window) return false;  // mostly holes
      line = g.patches.window_columns * floats.channels;
    }
  const Patches& p = g.patches;
  const int64_t panels = g.panels(kernel.nr), width = panels * kernel.nr, blocks = p.blocks();
  ptrdiff_t* offsets = arena.take<ptrdiff_t>(p.segments);
  T* packed = arena.take<T>(g.groups * width * floats.taps() * floats.channels);
  T* words = pieces ? arena.take<T>(g.groups * width * p.taps() * p.channels) : packed;
  T* init = arena.take<T>(g.groups * width);
  const int64_t block_width = g.target.c_stride == 1 || g.columns == 1 ? 0 : width;
  Slots slots(arena, threads, Workspace<T>::bytes(p, block_width, line));
  used = std::max(used, arena.used());
  if (arena.measuring()) return false;
  place_segments(p, g.source, offsets);
  g.begin(init, width);
  pack_filter(g, floats.channels, kernel.nr, packed);
  if constexpr (sizeof(T) == sizeof(float))
    if (pieces && pack_words(*pieces, packed, g.groups * panels * p.taps(), floats.channels, words)) return false;
  const int64_t shares = std::clamp<int64_t>(ceil_div(TASKS, std::max<int64_t>(1, blocks * g.groups)), 1, panels);
  std::atomic<bool> fits{true};
  parallel_for_flushed(blocks * g.groups * shares, 1, [&](int64_t begin, int64_t end) {
    const Slots::Held slot(slots);
    const Workspace<T> space(Arena(slot.memory()), p, block_width, line);
    for (int64_t i = begin; i < end; ++i) {
      const int64_t share = i % shares, group = i / shares % g.groups;
      if (!run_block(g, kernel, pieces, offsets, words, init, group, share * panels / shares,
                     (share + 1) * panels / shares, p.block(i / shares / g.groups), space))
        fits.store(false, std::memory_order_relaxed);
    }
  });
  return fits.load(std::memory_order_relaxed);
}

// dw[(segment, cell), f] = sum over pixels of patch[pixel, (segment, cell)] * dz[pixel, f]. Tasks: groups, and shares
// of the pixels, which are summed apart and then added up, as many as PARTIAL_BYTES hold; then shares of the columns,
// then of the segments.
template <class T>
struct FilterGradient {
  Patches patches;
  Images<const T> x, dz;
  int64_t groups;
  T* dw;
  const PieceConv* pieces;  // a word of `patches`, which are in a copy then, is of two pixels

  struct Range {
    int64_t begin, end;
  };
  // Share `index` of `count` equal ones of [0, n).
  static Range share(int64_t n, int64_t index, int64_t count) { return {n * index / count, n * (index + 1) / count}; }

  // Gives false if a number does not fit into a piece: dw holds nothing of use.
  bool run(int threads, Arena arena, size_t& used) const {
    ConvKernels<T> kernel = kernels().conv.get<T>();
    if constexpr (sizeof(T) == sizeof(float))
      if (pieces) kernel.outer = pieces->outer, kernel.mr = pieces->mr;
    const int64_t line = pieces ? (patches.window_columns + patches.columns.step) * patches.channels : 0;
    const int64_t panels = ceil_div(dz.c / groups, kernel.nr), blocks = patches.blocks();
    const int64_t size = patches.taps() * patches.channels * dz.c;
    if (size == 0 || blocks == 0) {
      if (!arena.measuring()) zero_cells(dw, size);
      return true;
    }
    const int64_t room = PARTIAL_BYTES / static_cast<int64_t>(sizeof(T)) / size;
    const int64_t parts = std::clamp<int64_t>(std::min(blocks, room), 1, ceil_div(TASKS, groups));
    const int64_t across = std::clamp<int64_t>(TASKS / (groups * parts), 1, panels);
    const int64_t down = std::clamp<int64_t>(TASKS / (groups * parts * across), 1, patches.segments);
    ptrdiff_t* offsets = arena.take<ptrdiff_t>(patches.segments);
    T* partial = parts > 1 ? arena.take<T>(parts * size) : dw;
    Slots slots(arena, threads, Workspace<T>::bytes(patches, kernel.nr, line));
    used = std::max(used, arena.used());
    if (arena.measuring()) return false;
    place_segments(patches, x, offsets);
    std::atomic<bool> fits{true};
    parallel_for_flushed(parts * groups * across * down, 1, [&](int64_t begin, int64_t end) {
      const Slots::Held slot(slots);
      const Workspace<T> space(Arena(slot.memory()), patches, kernel.nr, line);
      for (int64_t i = begin; i < end; ++i) {
        const int64_t part = i / (groups * across * down);
        const Range mine = share(blocks, part, parts);
        for (int64_t b = mine.begin; b < mine.end; ++b)
          if (!add_block(kernel, i / (across * down) % groups, share(panels, i / down % across, across),
                         share(patches.segments, i % down, down), offsets, patches.block(b), b > mine.begin,
                         partial + part * size, space))
            fits.store(false, std::memory_order_relaxed);
      }
    });
    if (parts > 1) add_up(partial, parts, size, dw);
    return fits.load(std::memory_order_relaxed);
  }

  bool add_block(const ConvKernels<T>& kernel, int64_t group, Range panels, Range segments, const ptrdiff_t* offsets,
                 const Block& block, bool accumulate, T* to, const Workspace<T>& space) const {
    const int64_t columns = dz.c / groups, length = patches.length;
    ConvOuter<T> t{};
    t.pixels = block.pixels();
    bool extreme = false;
    if (!pieces) {
      place_patches(patches, x, group * patches.channels, block, space.copy, space.patch);
    } else if constexpr (sizeof(T) == sizeof(float)) {
      extreme = place_words(*pieces, patches, x, group * patches.channels, patches.channels, true, block, space.line,
                            space.copy, space.patch);
      t.pixels = block.n * block.i * ceil_div(block.j, 2);
    }
    t.a = space.patch;
    t.ldc = dz.c;
    t.accumulate = accumulate;
    t.neighbours = length > 1;
    for (int64_t panel = panels.begin; panel < panels.end; ++panel) {
      const int64_t column0 = group * columns + panel * kernel.nr;
      t.columns = std::min<int64_t>(kernel.nr, columns - panel * kernel.nr);
      const bool in_place = !pieces && read_in_place(block, t.columns);
      t.b = in_place ? dz.at(block.n0, block.i0, block.j0, column0) : space.results;
      t.b_row = in_place ? dz.w_stride : kernel.nr;
      if (!in_place) pack_pixels(block, column0, t.columns, kernel.nr, space.results);
      if constexpr (sizeof(T) == sizeof(float))
        if (pieces) extreme |= pair_pixels(*pieces, block.n * block.i, block.j, space.results);
      if (t.neighbours)
        for (int64_t s = segments.begin; s < segments.end; ++s)
          for_even(0, length, kernel.mr, [&](int64_t row, int64_t rows) {
            const ptrdiff_t offset = offsets[s] + row;
            add_rows(kernel, t, &offset, rows, to + (s * length + row) * dz.c + column0);
          });
      else
        for_even(segments.begin, segments.end, kernel.mr,
                 [&](int64_t s, int64_t rows) { add_rows(kernel, t, offsets + s, rows, to + s * dz.c + column0); });
    }
    return !extreme;
  }

  // fn(begin, size) for even shares of [begin, end), of at most `most`.
  template <class Fn>
  static void for_even(int64_t begin, int64_t end, int64_t most, const Fn& fn) {
    const int64_t n = end - begin, size = ceil_div(n, std::max<int64_t>(1, ceil_div(n, most)));
    for (int64_t i = 0; i < n; i += size) fn(begin + i, std::min(size, n - i));
  }
  static void add_rows(const ConvKernels<T>& kernel, ConvOuter<T>& t, const ptrdiff_t* offsets, int64_t rows, T* c) {
    t.offsets = offsets;
    t.rows = rows;
    t.c = c;
    kernel.outer(t);
  }

  // Copying a block of dz pays where its columns are read often. Besides, its pixels must lie at even steps, and
  // vectors must not reach beyond its columns.
  bool read_in_place(const Block& b, int64_t columns) const {
    const bool even_rows = b.i == 1 || dz.h_stride == b.j * dz.w_stride;
    const bool even_images = b.n == 1 || dz.n_stride == b.i * b.j * dz.w_stride;
    return patches.taps() * patches.channels <= FEW_READS && dz.c_stride == 1 && even_rows && even_images &&
           columns % kernels().gemm.get<T>().lanes == 0;
  }

  // to[pixel][NR] = dz[pixel, columns from column0 on].
  void pack_pixels(const Block& b, int64_t column0, int64_t columns, int64_t NR, T* to) const {
    const auto pack = kernels().gemm.get<T>().pack_b;
    for (int64_t n = 0; n < b.n; ++n)
      for (int64_t i = 0; i < b.i; ++i, to += b.j * NR)
        pack(dz.at(b.n0 + n, b.i0 + i, b.j0, column0), columns, dz.c_stride, b.j, dz.w_stride, to);
  }
};

// ---- depthwise: one channel a group, so nothing to sum over but the taps; vectors run along the channels ----

// A row of pixels in runs that see the same taps: one run inside, and single pixels where a patch hangs over an edge.
// fn(first pixel, pixels, taps, cell of each tap, number of each tap).
template <class T, class Fn>
void visit_runs(const Patches& p, const Images<const T>& source, int64_t n, int64_t i, const T** cell, int64_t* tap,
                const Fn& fn) {
  int64_t r0, r1, s0, s1, inside, outside;
  p.rows.within(i, r0, r1);
  p.columns.interior(inside, outside);
  for (int64_t j = 0; j < p.columns.out;) {
    const int64_t pixels = j == inside && outside > inside ? outside - inside : 1;
    p.columns.within(j, s0, s1);
    int64_t count = 0;
    for (int64_t r = r0; r < r1; ++r)
      for (int64_t s = s0; s < s1; ++s) {
        cell[count] = source.at(n, i * p.rows.step + p.rows.shift(r), j * p.columns.step + p.columns.shift(s), 0);
        tap[count++] = r * p.columns.taps + s;
      }
    fn(j, pixels, count);
    j += pixels;
  }
}

constexpr size_t depthwise_slot(int64_t taps) { return static_cast<size_t>(taps) * 24 + 256; }

template <class T>
void run_depthwise(const Grid<T>& g, int threads, Arena arena, size_t& used) {
  const ConvKernels<T>& kernel = kernels().conv.get<T>();
  const Patches& p = g.patches;
  const int64_t C = g.groups, taps = p.taps();
  T* filter = arena.take<T>(taps * C);
  T* init = arena.take<T>(C);
  Slots slots(arena, threads, depthwise_slot(taps));
  used = std::max(used, arena.used());
  if (arena.measuring()) return;
  g.begin(init, 1);
  for (int64_t t = 0; t < taps; ++t)
    for (int64_t c = 0; c < C; ++c)
      filter[t * C + c] =
          g.filter.data[p.rows.index(t / p.columns.taps) * g.filter.r_stride +
                        p.columns.index(t % p.columns.taps) * g.filter.s_stride + c * g.filter.group_stride];
  const int64_t lines = p.batch * p.rows.out, line = std::max<int64_t>(1, p.columns.out * C * taps);
  parallel_for_flushed(lines, ceil_div(1 << 20, line), [&](int64_t begin, int64_t end) {
    const Slots::Held slot(slots);
    Arena mine(slot.memory());
    const T** cell = mine.take<const T*>(taps);
    const T** weight = mine.take<const T*>(taps);
    int64_t* tap = mine.take<int64_t>(taps);
    ConvDepthwise<T> t{};
    t.channels = C;
    t.a = cell;
    t.b = weight;
    t.init = init;
    t.a_step = p.columns.step * g.source.w_stride;
    t.c_step = g.column_step * g.target.w_stride;
    t.a_ahead = p.rows.step < g.source.h ? p.rows.step * g.source.h_stride : 0;
    t.c_ahead = g.row_step < g.target.h ? g.row_step * g.target.h_stride : 0;
    for (int64_t l = begin; l < end; ++l) {
      const int64_t n = l / p.rows.out, i = l % p.rows.out;
      visit_runs(p, g.source, n, i, cell, tap, [&](int64_t j, int64_t pixels, int64_t count) {
        for (int64_t k = 0; k < count; ++k) weight[k] = filter + tap[k] * C;
        t.taps = count;
        t.pixels = pixels;
        t.row_taps = pixels > 1 && p.columns.step == p.columns.shift_step ? p.columns.taps : 1;
        t.c = g.target.at(n, g.row0 + i * g.row_step, g.column0 + j * g.column_step, 0);
        kernel.depthwise(t);
        for (int64_t q = 0; q < pixels; ++q) activate(t.c + q * t.c_step, C, g.activation, g.slope);
      });
    }
  });
}

template <class T>
void depthwise_filter_gradient(const Patches& p, const Images<const T>& x, const Images<const T>& dz, T* dw,
                               int threads, Arena& arena) {
  const ConvKernels<T>& kernel = kernels().conv.get<T>();
  const int64_t C = x.c, taps = p.taps(), lines = p.batch * p.rows.out;
  const int64_t parts = std::clamp<int64_t>(lines, 1, TASKS);
  T* partial = arena.take<T>(parts * taps * C);
  Slots slots(arena, threads, depthwise_slot(taps));
  if (arena.measuring()) return;
  parallel_for_flushed(parts, 1, [&](int64_t begin, int64_t end) {
    const Slots::Held slot(slots);
    Arena mine(slot.memory());
    const T** cell = mine.take<const T*>(taps);
    T** sum = mine.take<T*>(taps);
    int64_t* tap = mine.take<int64_t>(taps);
    ConvDepthwiseOuter<T> t{0, 0, C, cell, nullptr, sum, p.columns.step * x.w_stride, dz.w_stride};
    for (int64_t part = begin; part < end; ++part) {
      T* to = partial + part * taps * C;
      zero_cells(to, taps * C);
      for (int64_t l = part * lines / parts; l < (part + 1) * lines / parts; ++l) {
        const int64_t n = l / p.rows.out, i = l % p.rows.out;
        visit_runs(p, x, n, i, cell, tap, [&](int64_t j, int64_t pixels, int64_t count) {
          for (int64_t k = 0; k < count; ++k) sum[k] = to + tap[k] * C;
          t.taps = count;
          t.pixels = pixels;
          t.b = dz.at(n, i, j, 0);
          kernel.depthwise_outer(t);
        });
      }
    }
  });
  add_up(partial, parts, taps * C, dw);
}

// Images of contiguous cells: what vectors along the channels need.
template <class T>
Images<T> compact(T* data, int64_t n, int64_t h, int64_t w, int64_t c) {
  return {data, n, h, w, c, h * w * c, w * c, c, 1};
}

// The images in compact form, each channel `times` times in a row (as many as filters look at it); themselves if they
// are so already.
template <class T>
Images<const T> spread(const Images<const T>& from, int64_t times, Arena& arena) {
  if (times == 1 && from.c_stride == 1) return from;
  const Images<T> to =
      compact(arena.take<T>(from.n * from.h * from.w * from.c * times), from.n, from.h, from.w, from.c * times);
  const Images<const T> result = compact(static_cast<const T*>(to.data), to.n, to.h, to.w, to.c);
  if (arena.measuring()) return result;
  parallel_for(from.n * from.h, ceil_div(1 << 14, to.w * to.c + 1), [&](int64_t begin, int64_t end) {
    for (int64_t l = begin; l < end; ++l)
      for (int64_t c = 0; c < to.c; ++c) {
        const T* at = from.at(l / from.h, l % from.h, 0, c / times);
        for (int64_t w = 0; w < to.w; ++w) to.data[(l * to.w + w) * to.c + c] = at[w * from.w_stride];
      }
  });
  return result;
}

// The way back: each channel is the sum of `times` neighbouring ones.
template <class T>
void fold(const Images<T>& from, int64_t times, const Images<T>& to) {
  parallel_for_flushed(to.n * to.h, ceil_div(1 << 14, from.w * from.c + 1), [&](int64_t begin, int64_t end) {
    for (int64_t l = begin; l < end; ++l)
      for (int64_t c = 0; c < to.c; ++c) {
        const T* at = from.at(l / to.h, l % to.h, 0, c * times);
        T* into = to.at(l / to.h, l % to.h, 0, c);
        for (int64_t w = 0; w < to.w; ++w, at += from.w_stride, into += to.w_stride) {
          T sum = at[0];
          for (int64_t i = 1; i < times; ++i) sum += at[i];
          *into = sum;
        }
      }
  });
}

// ---- the ops ----

template <class T>
void run(const Grid<T>& g, int threads, Arena arena, size_t& used) {
  const bool dense = g.target.c_stride == 1 && g.row_step == 1 && g.column_step == 1;
  const bool winograd = dense && winograd_pays(g.patches, g.source, g.groups, g.columns);
  if (const PieceConv* pieces = conv_pieces<T>(g.patches, g.columns, g.precision, winograd))
    if (run_grid(g, pieces, threads, arena, used)) return;
  if (winograd)
    if (WinogradForward<T>{g, winograd_kernels<T>(g.patches, g.precision)}.run(threads, arena, used)) return;
  run_grid(g, nullptr, threads, arena, used);
}

// Filters for each channel of a depthwise convolution; 0 if it is none.
int64_t multiplier(int64_t channels, const View& w, const Conv2d& how) {
  return how.groups == channels && channels > 1 ? w.shape[3] / channels : 0;
}

template <class T>
Axis rows_of(const Images<const T>& x, const View& w, const View& z, const Conv2d& how) {
  return forward_axis(z.shape[how.channels_first ? 2 : 1], how.stride[0], x.h, w.shape[0], how.before[0],
                      how.dilation[0]);
}
template <class T>
Axis columns_of(const Images<const T>& x, const View& w, const View& z, const Conv2d& how) {
  return forward_axis(z.shape[how.channels_first ? 3 : 2], how.stride[1], x.w, w.shape[1], how.before[1],
                      how.dilation[1]);
}

template <class T>
size_t forward(const View& x_, const View& w, const View& bias, const Conv2d& how, Activation activation, double slope,
               const View& y_, void* scratch) {
  const auto x = images<const T>(x_, how.channels_first);
  const auto y = images<T>(y_, how.channels_first);
  if (y_.size() == 0) return 0;
  const int64_t times = multiplier(x.c, w, how), groups = times ? w.shape[3] : how.groups, F = w.shape[3] / groups;
  Arena arena(scratch);
  const auto source = times ? spread(x, times, arena) : x;
  const bool direct = !times || y.c_stride == 1;
  const auto target = direct ? y : compact(arena.take<T>(y_.size()), y.n, y.h, y.w, y.c);
  Grid<T> g{make_patches(source, rows_of(x, w, y_, how), columns_of(x, w, y_, how), groups, BLOCK_PIXELS, BLOCK_CACHE),
            source,
            target,
            0,
            1,
            0,
            1,
            {w.as<T>(), w.stride[0], w.stride[1], w.stride[2], w.stride[3], F * w.stride[3]},
            groups,
            F,
            bias.given() ? bias.as<T>() : nullptr,
            bias.stride[0],
            activation,
            T(slope),
            how.precision};
  size_t used = 0;
  times ? run_depthwise(g, how.threads, arena, used) : run(g, how.threads, arena, used);
  if (!direct && !arena.measuring()) fold(target, 1, y);
  return used;
}

template <class T>
size_t input_gradient(const View& dz_, const View& w, const Conv2d& how, const View& dx_, void* scratch) {
  const auto dx = images<T>(dx_, how.channels_first);
  if (dx_.size() == 0) return 0;
  const int64_t times = multiplier(dx.c, w, how), groups = times ? w.shape[3] : how.groups;
  Arena arena(scratch);
  auto dz = images<const T>(dz_, how.channels_first);
  if (times) dz = spread(dz, 1, arena);
  const bool direct = !times || (times == 1 && dx.c_stride == 1);
  const auto target = direct ? dx : compact(arena.take<T>(dx_.size() * times), dx.n, dx.h, dx.w, dx.c * times);
  const int64_t phases[2] = {std::min(how.stride[0], dx.h), std::min(how.stride[1], dx.w)};
  bool cleared = scratch == nullptr;
  size_t used = 0;
  for (int64_t row = 0; row < phases[0]; ++row)
    for (int64_t column = 0; column < phases[1]; ++column) {
      const Axis rows = gradient_axis(row, dx.h, how.stride[0], dz.h, w.shape[0], how.before[0], how.dilation[0]);
      const Axis columns = gradient_axis(column, dx.w, how.stride[1], dz.w, w.shape[1], how.before[1], how.dilation[1]);
      if (rows.taps == 0 || columns.taps == 0) {  // cells that no patch saw
        if (!cleared) zero_cells(target.data, target.n * target.h * target.w * target.c);
        cleared = true;
      }
    }
  for (int64_t row = 0; row < phases[0]; ++row)
    for (int64_t column = 0; column < phases[1]; ++column) {
      const Axis rows = gradient_axis(row, dx.h, how.stride[0], dz.h, w.shape[0], how.before[0], how.dilation[0]);
      const Axis columns = gradient_axis(column, dx.w, how.stride[1], dz.w, w.shape[1], how.before[1], how.dilation[1]);
      if (rows.taps == 0 || columns.taps == 0) continue;
      const Grid<T> g{
          make_patches(dz, rows, columns, groups, BLOCK_PIXELS, BLOCK_CACHE),
          dz,
          target,
          row,
          how.stride[0],
          column,
          how.stride[1],
          {w.as<T>(), w.stride[0], w.stride[1], w.stride[3], w.stride[2], w.shape[3] / groups * w.stride[3]},
          groups,
          target.c / groups,
          nullptr,
          0,
          Activation::linear,
          T(0),
          how.precision};
      times ? run_depthwise(g, how.threads, arena, used) : run(g, how.threads, arena, used);
    }
  used = std::max(used, arena.used());
  if (!direct && !arena.measuring()) fold(target, times, dx);
  return used;
}

template <class T>
size_t filter_gradient(const View& x_, const View& dz_, const Conv2d& how, const View& dw, void* scratch) {
  auto x = images<const T>(x_, how.channels_first), dz = images<const T>(dz_, how.channels_first);
  Arena arena(scratch);
  const int64_t times = multiplier(x.c, dw, how);
  if (times) x = spread(x, times, arena), dz = spread(dz, 1, arena);
  const Patches p = make_patches(x, rows_of(x, dw, dz_, how), columns_of(x, dw, dz_, how), times ? x.c : how.groups,
                                 BLOCK_PIXELS, BLOCK_CACHE);
  if (times) {
    depthwise_filter_gradient(p, x, dz, dw.as<T>(), how.threads, arena);
    return arena.used();
  }
  size_t used = 0;
  const bool winograd = dz.c_stride == 1 && winograd_pays(p, x, how.groups, dz.c);
  if (const PieceConv* pieces = conv_pieces<T>(p, dz.c / how.groups, how.precision, winograd)) {
    const Patches copied = make_patches(x, p.rows, p.columns, how.groups, BLOCK_PIXELS, BLOCK_CACHE, true);
    if (copied.length > 1 && copied.place == Patches::Place::window &&
        FilterGradient<T>{copied, x, dz, how.groups, dw.as<T>(), pieces}.run(how.threads, arena, used))
      return used;
  }
  if (winograd && WinogradFilterGradient<T>{p, x, dz, dw.as<T>(), winograd_kernels<T>(p, how.precision)}.run(
                      how.threads, arena, used, TASKS, PARTIAL_BYTES))
    return used;
  FilterGradient<T>{p, x, dz, how.groups, dw.as<T>(), nullptr}.run(how.threads, arena, used);
  return used;
}

// fn(T{}) for the dtype of v.
template <class F>
size_t by_type(const View& v, const F& fn) {
  return visit_float(v.dtype, [&](auto tag) { return fn(typename decltype(tag)::type{}); });
}
}  // namespace

size_t conv2d_scratch(const View& x, const View& w, const View& bias, const Conv2d& how, const View& y) {
  return by_type(x, [&](auto t) { return forward<decltype(t)>(x, w, bias, how, Activation::linear, 0, y, nullptr); });
}
void conv2d(const View& x, const View& w, const View& bias, const Conv2d& how, Activation activation, double slope,
            const View& y, void* scratch) {
  by_type(x, [&](auto t) { return forward<decltype(t)>(x, w, bias, how, activation, slope, y, scratch); });
}

size_t conv2d_input_gradient_scratch(const View& dz, const View& w, const Conv2d& how, const View& dx) {
  return by_type(dz, [&](auto t) { return input_gradient<decltype(t)>(dz, w, how, dx, nullptr); });
}
void conv2d_input_gradient(const View& dz, const View& w, const Conv2d& how, const View& dx, void* scratch) {
  by_type(dz, [&](auto t) { return input_gradient<decltype(t)>(dz, w, how, dx, scratch); });
}

size_t conv2d_filter_gradient_scratch(const View& x, const View& dz, const Conv2d& how, const View& dw) {
  return by_type(x, [&](auto t) { return filter_gradient<decltype(t)>(x, dz, how, dw, nullptr); });
}
void conv2d_filter_gradient(const View& x, const View& dz, const Conv2d& how, const View& dw, void* scratch) {
  by_type(x, [&](auto t) { return filter_gradient<decltype(t)>(x, dz, how, dw, scratch); });
}

}  // namespace nnfast
