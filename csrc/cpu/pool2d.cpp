// Pooling. Where channels are neighbours in memory, a line of windows at a time by vectors over channels; any other
// layout plane by plane, window by window. Cells outside the input are never read: every window has at least one
// inside.
#include <algorithm>
#include <cmath>
#include <type_traits>

#include "../ops.h"
#include "kernels.h"
#include "parallel.h"

namespace nnfast {
namespace {

constexpr int64_t GRAIN = 1 << 15;  // cells read in a chunk of parallel work

// The view of images (N, H, W, C), whatever the format.
View channels_last(const View& v, bool channels_first) {
  if (!channels_first) return v;
  View t = v;
  constexpr int from[] = {0, 2, 3, 1};
  for (int i = 0; i < 4; ++i) t.shape[i] = v.shape[from[i]], t.stride[i] = v.stride[from[i]];
  return t;
}

// Cells [begin, end) of a window that lie inside the input along one axis, and where the first one lies.
struct Inside {
  int64_t begin, end, at;
  int64_t size() const { return end - begin; }
  bool operator==(const Inside& o) const { return begin == o.begin && end == o.end; }
};

// The windows along one axis. Those of [first, last) have all their cells inside; it is only the others that divide.
class Axis {
 public:
  Axis(const Pool2d& how, int axis, const View& x, const View& y)
      : windows(y.shape[axis + 1]),
        n_(x.shape[axis + 1]),
        size_(how.size[axis]),
        step_(how.stride[axis]),
        dilation_(how.dilation[axis]),
        before_(how.before[axis]),
        padded_(n_ + before_ + how.after[axis]),
        include_pad_(how.include_pad) {
    const int64_t room = n_ - 1 - (size_ - 1) * dilation_ + before_;
    first = std::min(windows, (before_ + step_ - 1) / step_);
    last = std::clamp<int64_t>(room < 0 ? 0 : room / step_ + 1, first, windows);
  }

  Inside inside(int64_t window) const {
    const int64_t at = window * step_ - before_;
    if (whole(window)) return {0, size_, at};
    const int64_t begin = at >= 0 ? 0 : (dilation_ - 1 - at) / dilation_;
    const int64_t end = at + (size_ - 1) * dilation_ < n_ ? size_ : (n_ - at + dilation_ - 1) / dilation_;
    return {begin, end, at + begin * dilation_};
  }
  // How many cells of a window count: those inside, or with include_pad also those in the padding.
  int64_t counted(int64_t window) const {
    if (whole(window)) return size_;
    if (!include_pad_) return inside(window).size();
    return std::min(size_, (padded_ - window * step_ + dilation_ - 1) / dilation_);
  }
  // The windows [begin, end) in runs that have the same cells inside, or one by one: fn(first, count, inside, counted).
  template <class F>
  void for_runs(int64_t begin, int64_t end, bool one_by_one, const F& fn) const {
    while (begin < end) {
      const Inside cells = inside(begin);
      const int64_t count = counted(begin);
      int64_t next = whole(begin) && !one_by_one ? std::min(end, last) : begin + 1;
      while (!one_by_one && next < end && inside(next) == cells && counted(next) == count) ++next;
      fn(begin, next - begin, cells, count);
      begin = next;
    }
  }

  int64_t windows, first, last;

 private:
  bool whole(int64_t window) const { return window >= first && window < last; }

  int64_t n_, size_, step_, dilation_, before_, padded_;
  bool include_pad_;
};

// Do windows share cells? Then gradients are added up, in the order of the windows.
bool overlapping(const Pool2d& how) {
  return how.stride[0] <= (how.size[0] - 1) * how.dilation[0] || how.stride[1] <= (how.size[1] - 1) * how.dilation[1];
}
// Is every cell of the input in exactly one window? Then a gradient need not be cleared first.
bool tiled(const Pool2d& how, const View& x, const View& y) {
  for (int i = 0; i < 2; ++i)
    if (how.stride[i] != how.size[i] || how.dilation[i] != 1 || how.before[i] != 0 ||
        y.shape[i + 1] * how.stride[i] != x.shape[i + 1])
      return false;
  return true;
}

// Do channels lie in the lanes of vectors? They pay from a few of them on. Otherwise windows do.
bool by_channels(const View& a, const View& b) { return a.shape[3] >= 4 && a.stride[3] == 1 && b.stride[3] == 1; }

// Must a gradient take the lines one by one? With channels in the lanes the kernels have one line, and where windows
// share cells and a line has several runs, they would not come in their order.
bool line_by_line(const Pool2d& how, const Axis& cols, bool channel_lanes) {
  return channel_lanes || (overlapping(how) && cols.last - cols.first < cols.windows);
}

// Planes that lie one behind the other and are all windows are one tall plane: many small ones cost as little as it.
template <class... Views>
void stack_planes(const Pool2d& how, View& y, Views&... others) {
  const auto stack = [](View& v) {
    v.shape[1] *= v.shape[0] * v.shape[3];
    v.shape[0] = v.shape[3] = 1;
  };
  const auto stacked = [](const View& v) {
    return v.stride[3] == v.shape[1] * v.stride[1] && v.stride[0] == v.shape[3] * v.stride[3];
  };
  if ((tiled(how, others, y) && ...) && stacked(y) && (stacked(others) && ...)) stack(y), (stack(others), ...);
}

// fn(image, first channel, channels, first line, end line): independent pieces of y for any number of threads. With
// whole_images a piece has all lines: what the windows of an image write may overlap.
template <class F>
void for_pieces(const Pool2d& how, const View& y, bool channel_lanes, bool whole_images, const F& fn) {
  // Planes one by one; few images are cut by channels.
  const int64_t wide = !channel_lanes ? 1 : whole_images && y.shape[0] < 16 ? 64 : y.shape[3];
  const int64_t blocks = (y.shape[3] + wide - 1) / wide;
  const int64_t cells = std::max<int64_t>(1, y.shape[2] * wide * how.size[0] * how.size[1]);
  const int64_t some = channel_lanes ? 1 : std::max<int64_t>(1, GRAIN / cells);
  const int64_t height = whole_images ? y.shape[1] : std::min(some, y.shape[1]);
  const int64_t lines = height > 0 ? (y.shape[1] + height - 1) / height : 0;
  parallel_for(y.shape[0] * lines * blocks, std::max<int64_t>(1, GRAIN / std::max<int64_t>(1, cells * height)),
               [&](int64_t begin, int64_t end) {
                 for (int64_t i = begin; i < end; ++i) {
                   const int64_t c = i % blocks * wide, line = i / blocks % lines * height;
                   fn(i / blocks / lines, c, std::min(wide, y.shape[3] - c), line, std::min(line + height, y.shape[1]));
                 }
               });
}

// fn(n, c, p, q, rows, cols) for every window, planes in parallel.
template <class F>
void for_windows(const Pool2d& how, const Axis& down, const Axis& across, const View& y, const F& fn) {
  const int64_t plane = y.shape[1] * y.shape[2] * how.size[0] * how.size[1];
  parallel_for(y.shape[0] * y.shape[3], std::max<int64_t>(1, GRAIN / std::max<int64_t>(1, plane)),
               [&](int64_t begin, int64_t end) {
                 for (int64_t i = begin; i < end; ++i)
                   for (int64_t p = 0; p < y.shape[1]; ++p) {
                     const Inside rows = down.inside(p);
                     for (int64_t q = 0; q < y.shape[2]; ++q)
                       fn(i / y.shape[3], i % y.shape[3], p, q, rows, across.inside(q));
                   }
               });
}

int64_t place(const View& v, int64_t n, int64_t h, int64_t w, int64_t c) {
  return n * v.stride[0] + h * v.stride[1] + w * v.stride[2] + c * v.stride[3];
}
// The cells of a run of windows as the kernels walk them: by steps of the dilation.
PoolCells cells_of(const Pool2d& how, const View& v, const Inside& rows, const Inside& cols) {
  return {rows.size(), cols.size(), how.dilation[0] * v.stride[1], how.dilation[1] * v.stride[2]};
}
// The kernels' lines from the window at (n, h, w, c) on, rows * columns cells from one window to the next: with
// channels in the lanes the windows of one line, with windows in the lanes several lines.
template <class T>
PoolLine<T> line_of(const View& v, int64_t n, int64_t h, int64_t w, int64_t c, int64_t rows, int64_t columns,
                    bool channel_lanes) {
  T* at = v.as<std::remove_const_t<T>>() + place(v, n, h, w, c);
  const int64_t window = columns * v.stride[2];
  return channel_lanes ? PoolLine<T>{at, window, v.stride[3]} : PoolLine<T>{at, rows * v.stride[1], window};
}

// Row and column, counted in cells, of the winner of one window: the first of equals, NaN above all.
template <class T>
void find_winner(const T* x, const PoolCells& cells, int64_t& row, int64_t& col) {
  T best = *x;
  row = col = 0;
  for (int64_t r = 0; r < cells.rows; ++r)
    for (int64_t s = 0; s < cells.cols; ++s) {
      const T v = x[r * cells.row + s * cells.col];
      if (v > best || (std::isnan(v) && !std::isnan(best))) best = v, row = r, col = s;
    }
}

// dx = 0 for some channels of image n.
template <class T>
void clear(const View& dx, int64_t n, int64_t c, int64_t channels) {
  if (dx.stride[2] == 1 && dx.stride[1] == dx.shape[2]) {  // planes
    for (int64_t i = c; i < c + channels; ++i)
      std::fill_n(dx.as<T>() + place(dx, n, 0, 0, i), dx.shape[1] * dx.shape[2], T(0));
    return;
  }
  for (int64_t h = 0; h < dx.shape[1]; ++h)
    for (int64_t w = 0; w < dx.shape[2]; ++w) {
      T* cell = dx.as<T>() + place(dx, n, h, w, c);
      for (int64_t i = 0; i < channels; ++i) cell[i * dx.stride[3]] = 0;
    }
}

// The lines [line, end) of windows in blocks that have the same cells inside: fn(p, height, q, width, rows, cols,
// counted).
template <class F>
void for_blocks(const Axis& down, const Axis& across, int64_t line, int64_t end, bool one_by_one, const F& fn) {
  down.for_runs(line, end, one_by_one, [&](int64_t p, int64_t height, const Inside& rows, int64_t counted_rows) {
    across.for_runs(0, across.windows, false, [&](int64_t q, int64_t width, const Inside& cols, int64_t counted_cols) {
      fn(p, height, q, width, rows, cols, counted_rows * counted_cols);
    });
  });
}

}  // namespace

void max_pool2d(const View& x_, const Pool2d& how, const View& y_, const View& indices_) {
  View x = channels_last(x_, how.channels_first), y = channels_last(y_, how.channels_first);
  const bool lanes = by_channels(x, y);
  if (!lanes && !indices_.given()) stack_planes(how, y, x);
  const Axis down(how, 0, x, y), across(how, 1, x, y);
  visit_float(x.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    if (!indices_.given())
      return for_pieces(how, y, lanes, false, [&](int64_t n, int64_t c, int64_t channels, int64_t line, int64_t end) {
        for_blocks(
            down, across, line, end, lanes,
            [&](int64_t p, int64_t height, int64_t q, int64_t width, const Inside& rows, const Inside& cols, int64_t) {
              kernels().pool.get<T>().max(
                  line_of<const T>(x, n, rows.at, cols.at, c, how.stride[0], how.stride[1], lanes),
                  cells_of(how, x, rows, cols), line_of<T>(y, n, p, q, c, 1, 1, lanes), lanes ? width : height,
                  lanes ? channels : width);
            });
      });
    const View at = channels_last(indices_, how.channels_first);
    for_windows(how, down, across, y,
                [&](int64_t n, int64_t c, int64_t p, int64_t q, const Inside& rows, const Inside& cols) {
                  const PoolCells cells = cells_of(how, x, rows, cols);
                  const T* window = x.as<T>() + place(x, n, rows.at, cols.at, c);
                  int64_t r, s;
                  find_winner(window, cells, r, s);
                  y.as<T>()[place(y, n, p, q, c)] = window[r * cells.row + s * cells.col];
                  at.as<int64_t>()[place(at, n, p, q, c)] =
                      (rows.at + r * how.dilation[0]) * x.shape[2] + cols.at + s * how.dilation[1];
                });
  });
}

void avg_pool2d(const View& x_, const Pool2d& how, const View& y_) {
  View x = channels_last(x_, how.channels_first), y = channels_last(y_, how.channels_first);
  const bool lanes = by_channels(x, y);
  if (!lanes) stack_planes(how, y, x);
  const Axis down(how, 0, x, y), across(how, 1, x, y);
  visit_float(x.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    for_pieces(how, y, lanes, false, [&](int64_t n, int64_t c, int64_t channels, int64_t line, int64_t end) {
      for_blocks(down, across, line, end, lanes,
                 [&](int64_t p, int64_t height, int64_t q, int64_t width, const Inside& rows, const Inside& cols,
                     int64_t counted) {
                   kernels().pool.get<T>().mean(
                       line_of<const T>(x, n, rows.at, cols.at, c, how.stride[0], how.stride[1], lanes),
                       cells_of(how, x, rows, cols), T(counted), line_of<T>(y, n, p, q, c, 1, 1, lanes),
                       lanes ? width : height, lanes ? channels : width);
                 });
    });
  });
}

void max_pool2d_gradient(const View& dy_, const View& x_, const Pool2d& how, const View& dx_) {
  View x = channels_last(x_, how.channels_first), dy = channels_last(dy_, how.channels_first);
  View dx = channels_last(dx_, how.channels_first);
  const bool lanes = by_channels(x, dy) && dx.stride[3] == 1;
  if (!lanes) stack_planes(how, dy, x, dx);
  const Axis down(how, 0, x, dy), across(how, 1, x, dy);
  const bool shared = overlapping(how), one_by_one = line_by_line(how, across, lanes);
  const Spread spread = !shared ? Spread::set : lanes ? Spread::add : Spread::scatter;
  const bool cleared = spread != Spread::set || !tiled(how, x, dy);
  visit_float(x.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    for_pieces(how, dy, lanes, cleared, [&](int64_t n, int64_t c, int64_t channels, int64_t line, int64_t end) {
      if (cleared) clear<T>(dx, n, c, channels);
      for_blocks(
          down, across, line, end, one_by_one,
          [&](int64_t p, int64_t height, int64_t q, int64_t width, const Inside& rows, const Inside& cols, int64_t) {
            kernels().pool.get<T>().max_gradient(
                line_of<const T>(x, n, rows.at, cols.at, c, how.stride[0], how.stride[1], lanes),
                cells_of(how, x, rows, cols), line_of<const T>(dy, n, p, q, c, 1, 1, lanes),
                line_of<T>(dx, n, rows.at, cols.at, c, how.stride[0], how.stride[1], lanes),
                cells_of(how, dx, rows, cols), spread, lanes ? width : height, lanes ? channels : width);
          });
    });
  });
}

void avg_pool2d_gradient(const View& dy_, const Pool2d& how, const View& dx_) {
  View dy = channels_last(dy_, how.channels_first), dx = channels_last(dx_, how.channels_first);
  const bool lanes = by_channels(dx, dy);
  if (!lanes) stack_planes(how, dy, dx);
  const Axis down(how, 0, dx, dy), across(how, 1, dx, dy);
  const bool one_by_one = line_by_line(how, across, lanes);
  const bool add = overlapping(how), cleared = add || !tiled(how, dx, dy);
  visit_float(dx.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    for_pieces(how, dy, lanes, cleared, [&](int64_t n, int64_t c, int64_t channels, int64_t line, int64_t end) {
      if (cleared) clear<T>(dx, n, c, channels);
      for_blocks(down, across, line, end, one_by_one,
                 [&](int64_t p, int64_t height, int64_t q, int64_t width, const Inside& rows, const Inside& cols,
                     int64_t counted) {
                   kernels().pool.get<T>().mean_gradient(
                       line_of<const T>(dy, n, p, q, c, 1, 1, lanes), T(counted),
                       line_of<T>(dx, n, rows.at, cols.at, c, how.stride[0], how.stride[1], lanes),
                       cells_of(how, dx, rows, cols), add, lanes ? width : height, lanes ? channels : width);
                 });
    });
  });
}

}  // namespace nnfast
