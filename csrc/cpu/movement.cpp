// Data movement: copies and conversions between any strides and dtypes, rows by index and back, joining, padding.
// Limit: the bandwidth of memory. So whole cache lines are read and written, also where an array is transposed.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <type_traits>

#include "../ops.h"
#include "kernels.h"
#include "parallel.h"
#include "status.h"
#include "walk.h"

namespace nnfast {
namespace {

constexpr int64_t GRAIN = 1 << 15;  // elements in a chunk of parallel work: about 5 µs, far above the cost of a job
constexpr int64_t BLOCK = 512;      // elements that a conversion buffers

// Elements as plain bytes of one size: what has no arithmetic needs no dtype.
template <class Bits>
struct __attribute__((may_alias)) Cell {
  Bits bits;
};

template <class F>
void visit_cell(int64_t size, const F& fn) {
  switch (size) {
    case 1:
      return fn(TypeTag<Cell<uint8_t>>{});
    case 2:
      return fn(TypeTag<Cell<uint16_t>>{});
    case 4:
      return fn(TypeTag<Cell<uint32_t>>{});
    default:
      return fn(TypeTag<Cell<uint64_t>>{});
  }
}

char* at(const View& v, int64_t offset) { return v.as<char>() + offset * size_of(v.dtype); }

// ---- conversion ----

// Floats to integers truncate. What does not fit, NaN included, wraps or becomes the smallest int64, but is no
// undefined behaviour.
template <class To, class From>
To convert_one(From x) {
  if constexpr (std::is_same_v<To, bool>) {
    return x != From(0);
  } else if constexpr (std::is_floating_point_v<From> && std::is_integral_v<To>) {
    constexpr From two63 = 9223372036854775808.0;
    if (x >= -two63 && x < two63) return static_cast<To>(static_cast<int64_t>(x));
    if (std::is_same_v<To, uint64_t> && x >= two63 && x < 2 * two63) return static_cast<To>(static_cast<uint64_t>(x));
    return static_cast<To>(std::numeric_limits<int64_t>::min());
  } else {
    return static_cast<To>(x);
  }
}

// to[n] = from[n] in another dtype; times scale if that is a float.
void convert(DType from_dtype, const void* from, DType to_dtype, void* to, int64_t n, double scale) {
  if (from_dtype == to_dtype && scale == 1) {
    std::memcpy(to, from, static_cast<size_t>(n * size_of(to_dtype)));
    return;
  }
  visit_dtype(to_dtype, [&](auto to_tag) {
    using To = typename decltype(to_tag)::type;
    if constexpr (std::is_floating_point_v<To>) {
      kernels().movement.get<To>().convert(static_cast<int>(from_dtype), from, static_cast<To*>(to), n, scale);
    } else {
      visit_dtype(from_dtype, [&](auto from_tag) {
        using From = typename decltype(from_tag)::type;
        using Read = std::conditional_t<std::is_same_v<From, bool>, uint8_t, From>;
        const Read* x = static_cast<const Read*>(from);
        To* y = static_cast<To*>(to);
        for (int64_t i = 0; i < n; ++i) y[i] = convert_one<To>(x[i]);
      });
    }
  });
}

template <class C>
void gather(const void* from, int64_t stride, void* to, int64_t n) {
  const C* x = static_cast<const C*>(from);
  C* y = static_cast<C*>(to);
  for (int64_t i = 0; i < n; ++i) y[i] = x[i * stride];
}
template <class C>
void scatter(const void* from, void* to, int64_t stride, int64_t n) {
  const C* x = static_cast<const C*>(from);
  C* y = static_cast<C*>(to);
  for (int64_t i = 0; i < n; ++i) y[i * stride] = x[i];
}

struct Ends {
  DType from, to;
  double scale;
};

// n elements with strides, through a buffer where something has to be converted.
void copy_row(const Ends& ends, const char* x, int64_t x_stride, char* y, int64_t y_stride, int64_t n) {
  if (x_stride == 1 && y_stride == 1) return convert(ends.from, x, ends.to, y, n, ends.scale);
  const int64_t x_size = size_of(ends.from), y_size = size_of(ends.to);
  alignas(64) char wide[BLOCK * 8], made[BLOCK * 8];
  for (int64_t i = 0; i < n; i += BLOCK) {
    const int64_t count = std::min(BLOCK, n - i);
    const char* source = x + i * x_stride * x_size;
    char* target = y + i * y_stride * y_size;
    if (x_stride != 1) {
      const bool direct = y_stride == 1 && ends.from == ends.to && ends.scale == 1;
      visit_cell(x_size, [&](auto cell) {
        gather<typename decltype(cell)::type>(source, x_stride, direct ? target : wide, count);
      });
      if (direct) continue;
      source = wide;
    }
    if (y_stride == 1) {
      convert(ends.from, source, ends.to, target, count, ends.scale);
      continue;
    }
    if (ends.from != ends.to || ends.scale != 1) {
      convert(ends.from, source, ends.to, made, count, ends.scale);
      source = made;
    }
    visit_cell(y_size, [&](auto cell) { scatter<typename decltype(cell)::type>(source, target, y_stride, count); });
  }
}

// ---- transposed copies ----

constexpr int64_t TILE = 16;  // elements: a cache line of float32 on either side

// to[i * to_stride + j] = from[i + j * from_stride] for a full tile.
template <class C>
void transpose_tile(const C* from, int64_t from_stride, C* to, int64_t to_stride) {
  if constexpr (sizeof(C) == 4) {
    typedef uint32_t Four __attribute__((vector_size(16)));
    alignas(64) uint32_t turned[TILE * TILE];  // so that y gets whole lines: its rows may share a set of the cache
    for (int64_t j = 0; j < TILE; j += 4)
      for (int64_t i = 0; i < TILE; i += 4) {
        Four r[4];
        for (int k = 0; k < 4; ++k) std::memcpy(&r[k], from + (j + k) * from_stride + i, 16);
        const Four a = __builtin_shufflevector(r[0], r[1], 0, 4, 1, 5),
                   b = __builtin_shufflevector(r[2], r[3], 0, 4, 1, 5);
        const Four c = __builtin_shufflevector(r[0], r[1], 2, 6, 3, 7),
                   d = __builtin_shufflevector(r[2], r[3], 2, 6, 3, 7);
        const Four out[4] = {__builtin_shufflevector(a, b, 0, 1, 4, 5), __builtin_shufflevector(a, b, 2, 3, 6, 7),
                             __builtin_shufflevector(c, d, 0, 1, 4, 5), __builtin_shufflevector(c, d, 2, 3, 6, 7)};
        for (int k = 0; k < 4; ++k) std::memcpy(turned + (i + k) * TILE + j, &out[k], 16);
      }
    for (int64_t i = 0; i < TILE; ++i) std::memcpy(to + i * to_stride, turned + i * TILE, TILE * sizeof(C));
  } else {
    for (int64_t i = 0; i < TILE; ++i)
      for (int64_t j = 0; j < TILE; ++j) to[i * to_stride + j] = from[j * from_stride + i];
  }
}

// y[i * y_stride + j] = x[i + j * x_stride] for i < n, j < m: one tile, converted on the way.
template <class C>
void copy_tile(const Ends& ends, const char* x, int64_t x_stride, C* y, int64_t y_stride, int64_t n, int64_t m) {
  if (n == TILE && m == TILE && ends.from == ends.to && ends.scale == 1)
    return transpose_tile<C>(reinterpret_cast<const C*>(x), x_stride, y, y_stride);
  alignas(64) C tile[TILE * TILE];
  const int64_t x_size = size_of(ends.from);
  for (int64_t j = 0; j < m; ++j)
    convert(ends.from, x + j * x_stride * x_size, ends.to, tile + j * TILE, n, ends.scale);
  if (n == TILE && m == TILE) return transpose_tile<C>(tile, TILE, y, y_stride);
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j < m; ++j) y[i * y_stride + j] = tile[j * TILE + i];
}

// The last dimension of w is dense in y, dimension `d` is dense in x: tiles over these two, rows over the others.
void copy_tiles(const Ends& ends, const Walk& w, int d, const char* x, char* y) {
  Walk outer = w;  // all dimensions but d and the last; for_rows does not visit the last of a Walk
  for (int i = d; i + 2 < w.ndim; ++i) outer.swap(i, i + 1);
  outer.ndim = w.ndim - 1;
  const int last = w.ndim - 1;
  const int64_t n = w.shape[d], m = w.shape[last], stripes = (n + TILE - 1) / TILE;
  const int64_t grain = std::max<int64_t>(1, GRAIN / (TILE * m));
  visit_cell(size_of(ends.to), [&](auto tag) {
    using C = typename decltype(tag)::type;
    parallel_for(outer.rows() * stripes, grain, [&](int64_t begin, int64_t end) {
      for_rows(outer, begin / stripes, (end - 1) / stripes + 1, [&](int64_t x_row, int64_t y_row) {
        const int64_t stop = std::min(end, (begin / stripes + 1) * stripes);
        for (; begin < stop; ++begin) {
          const int64_t i = begin % stripes * TILE;
          for (int64_t j = 0; j < m; j += TILE)
            copy_tile<C>(ends, x + (x_row + i + j * w.from[last]) * size_of(ends.from), w.from[last],
                         reinterpret_cast<C*>(y) + y_row + i * w.to[d] + j, w.to[d], std::min(TILE, n - i),
                         std::min(TILE, m - j));
        }
      });
    });
  });
}

void copy_scaled(const View& x, double scale, const View& y) {
  if (y.size() == 0) return;
  const Ends ends{x.dtype, y.dtype, scale};
  const Walk w = walk(x, y);
  const int last = w.ndim - 1;
  if (w.to[last] == 1 && w.from[last] != 1 && w.shape[last] >= 4)
    for (int d = 0; d < last; ++d)
      if (w.from[d] == 1 && w.shape[d] >= 4) return copy_tiles(ends, w, d, x.as<char>(), y.as<char>());
  const int64_t length = w.shape[last], pieces = (length + GRAIN - 1) / GRAIN;
  parallel_for(w.rows() * pieces, std::max<int64_t>(1, GRAIN / length), [&](int64_t begin, int64_t end) {
    for_rows(w, begin / pieces, (end - 1) / pieces + 1, [&](int64_t x_row, int64_t y_row) {
      const int64_t stop = std::min(end, (begin / pieces + 1) * pieces);
      for (; begin < stop; ++begin) {
        const int64_t i = begin % pieces * GRAIN;
        copy_row(ends, at(x, x_row + i * w.from[last]), w.from[last], at(y, y_row + i * w.to[last]), w.to[last],
                 std::min(GRAIN, length - i));
      }
    });
  });
}

}  // namespace

void copy(const View& x, const View& y, const Status* status) {
  if (!stopped(status)) copy_scaled(x, 1, y);
}
void cast(const View& x, double scale, const View& y) { copy_scaled(x, scale, y); }

void full(double value, const View& y) {
  const int64_t size = size_of(y.dtype);
  uint64_t bits = 0;
  visit_dtype(y.dtype, [&](auto tag) {
    const auto v = convert_one<typename decltype(tag)::type>(value);
    std::memcpy(&bits, &v, sizeof v);
  });
  visit_cell(size, [&](auto tag) {
    using C = typename decltype(tag)::type;
    C cell;
    std::memcpy(&cell, &bits, sizeof cell);
    parallel_for(y.size(), GRAIN,
                 [&](int64_t begin, int64_t end) { std::fill(y.as<C>() + begin, y.as<C>() + end, cell); });
  });
}

// ---- rows by index ----

namespace {

// Integers of any dtype, in C order of any strides. An unsigned one beyond int64 comes out negative: out of range too.
struct Indices {
  explicit Indices(const View& v) : data(v.data), dtype(v.dtype), order(walk_in_order(v)) {}
  int64_t read(int64_t offset) const {
    int64_t index = 0;
    visit_dtype(dtype, [&](auto tag) {
      using T = typename decltype(tag)::type;
      index = static_cast<int64_t>(static_cast<const T*>(data)[offset]);
    });
    return index;
  }
  // fn(position, index) for the positions [begin, end).
  template <class F>
  void visit(int64_t begin, int64_t end, const F& fn) const {
    const int64_t length = order.shape[order.ndim - 1], step = order.from[order.ndim - 1];
    int64_t position = begin;
    int64_t i = begin % length;  // in its row
    for_rows(order, begin / length, (end - 1) / length + 1, [&](int64_t from, int64_t) {
      for (const int64_t stop = std::min(length, i + end - position); i < stop; ++i)
        fn(position++, read(from + i * step));
      i = 0;
    });
  }
  const void* data;
  DType dtype;
  Walk order;
};

}  // namespace

void take_rows(const View& x, const View& indices, double scale, const View& y, Status* status) {
  const int64_t n = indices.size(), rows = x.shape[0];
  if (n == 0) return;
  const Ends ends{x.dtype, y.dtype, scale};
  View x_row = x, y_row = y;  // one row of each, of the same shape
  x_row.ndim = y_row.ndim = static_cast<int8_t>(x.ndim - 1);
  for (int i = 0; i < x_row.ndim; ++i) {
    x_row.shape[i] = y_row.shape[i] = x.shape[i + 1];
    x_row.stride[i] = x.stride[i + 1];
    y_row.stride[i] = y.stride[y.ndim - x_row.ndim + i];
  }
  const int64_t size = y_row.size(), length_of_y = size * size_of(y.dtype);
  const Walk w = walk(x_row, y_row);
  const int last = w.ndim - 1;
  const bool bytes = x.dtype == y.dtype && scale == 1 && w.ndim == 1 && w.from[0] == 1;  // a row is a run of them
  const Indices index(indices);
  Lowest bad;
  parallel_for(n, std::max<int64_t>(1, GRAIN / std::max<int64_t>(1, size)), [&](int64_t begin, int64_t end) {
    index.visit(begin, end, [&](int64_t i, int64_t row) {
      char* to = y.as<char>() + i * length_of_y;
      if (row < 0 || row >= rows) {
        bad.add(i);
        std::memset(to, 0, static_cast<size_t>(length_of_y));
        return;
      }
      if (size == 0) return;
      const char* from = at(x, row * x.stride[0]);
      if (bytes && length_of_y == 8) {  // a label: in one move
        std::memcpy(to, from, 8);
      } else if (bytes) {
        std::memcpy(to, from, static_cast<size_t>(length_of_y));
      } else {
        for_rows(w, 0, w.rows(), [&](int64_t a, int64_t b) {
          copy_row(ends, from + a * size_of(x.dtype), w.from[last], to + b * size_of(y.dtype), 1, w.shape[last]);
        });
      }
    });
  });
  if (bad.found())
    index.visit(bad.at(), bad.at() + 1, [&](int64_t i, int64_t row) { report(status, BAD_INDEX, i, row); });
}

// ---- the rows of a step ----
namespace {
View rows_at(const View& table, int64_t first, int64_t count) {
  View part = table;
  part.data = table.as<char>() + first * table.stride[0] * size_of(table.dtype);
  part.shape[0] = count;
  return part;
}
}  // namespace
void next_rows(const View& table, const int64_t* cursor, const View& y) {
  copy(rows_at(table, *cursor, y.shape[0]), y, nullptr);
}
void put_rows(const View& x, const View& table, const int64_t* cursor) {
  copy(x, rows_at(table, *cursor, x.shape[0]), nullptr);
}

// Each chunk owns a range of rows of dx and looks through all indices for those that fall into it, so the sums have the
// order of the indices for any number of threads.
size_t take_rows_gradient_scratch(const View&) { return 0; }
void take_rows_gradient(const View& dy, const View& indices, const View& dx, void*, Status* status) {
  const int64_t n = indices.size(), rows = dx.shape[0], size = rows ? dx.size() / rows : 0;
  const Indices index(indices);
  if (n) {
    Lowest bad;
    parallel_for(n, GRAIN, [&](int64_t begin, int64_t end) {
      index.visit(begin, end, [&](int64_t i, int64_t row) {
        if (row < 0 || row >= rows) bad.add(i);
      });
    });
    if (bad.found())
      index.visit(bad.at(), bad.at() + 1, [&](int64_t i, int64_t row) { report(status, BAD_INDEX, i, row); });
  }
  constexpr int64_t SHARES = 16;  // chunks: each reads all indices
  const int64_t share = n * size < GRAIN ? rows : (rows + SHARES - 1) / SHARES;
  visit_float(dx.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    parallel_for(rows, share, [&](int64_t begin, int64_t end) {
      std::fill(dx.as<T>() + begin * size, dx.as<T>() + end * size, T(0));
      if (n == 0) return;
      index.visit(0, n, [&](int64_t i, int64_t row) {
        if (row < begin || row >= end) return;
        T* to = dx.as<T>() + row * size;
        const T* from = dy.as<T>() + i * size;
        for (int64_t j = 0; j < size; ++j) to[j] += from[j];
      });
    });
  });
}

void one_hot(const View& indices, const View& y, Status* status) {
  const int64_t n = indices.size(), classes = y.shape[y.ndim - 1], size = size_of(y.dtype);
  if (n == 0) return;
  uint64_t bits = 0;
  visit_dtype(y.dtype, [&](auto tag) {
    const auto one = static_cast<typename decltype(tag)::type>(1);
    std::memcpy(&bits, &one, sizeof one);
  });
  const Indices index(indices);
  Lowest bad;
  parallel_for(n, std::max<int64_t>(1, GRAIN / std::max<int64_t>(1, classes)), [&](int64_t begin, int64_t end) {
    std::memset(y.as<char>() + begin * classes * size, 0, static_cast<size_t>((end - begin) * classes * size));
    index.visit(begin, end, [&](int64_t i, int64_t hit) {
      if (hit < 0 || hit >= classes)
        bad.add(i);
      else
        std::memcpy(y.as<char>() + (i * classes + hit) * size, &bits, static_cast<size_t>(size));
    });
  });
  if (bad.found())
    index.visit(bad.at(), bad.at() + 1, [&](int64_t i, int64_t hit) { report(status, BAD_INDEX, i, hit); });
}

// ---- padding ----

// Row by row of y, each written once: all of it `value`, or some cells before, the row of x, some cells after.
void pad(const View& x, const Before& before, double value, const View& y) {
  if (y.size() == 0) return;
  if (y.ndim == 0) return copy(x, y);
  const int last = y.ndim - 1;
  const int64_t length = y.shape[last], first = before.cells[last], middle = x.shape[last];
  const int64_t x_size = size_of(x.dtype), rows = y.size() / length;
  uint64_t bits = 0;
  visit_dtype(y.dtype, [&](auto tag) {
    const auto v = convert_one<typename decltype(tag)::type>(value);
    std::memcpy(&bits, &v, sizeof v);
  });
  visit_cell(x_size, [&](auto tag) {
    using C = typename decltype(tag)::type;
    C cell;
    std::memcpy(&cell, &bits, sizeof cell);
    parallel_for(rows, std::max<int64_t>(1, GRAIN / length), [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        C* to = y.as<C>() + row * length;
        int64_t from = 0, rest = row;
        bool inside = middle > 0;
        for (int d = last - 1; d >= 0; --d) {
          const int64_t i = rest % y.shape[d] - before.cells[d];
          rest /= y.shape[d];
          inside &= i >= 0 && i < x.shape[d];
          from += i * x.stride[d];
        }
        if (!inside) {
          std::fill(to, to + length, cell);
          continue;
        }
        std::fill(to, to + first, cell);
        copy_row({x.dtype, y.dtype, 1}, at(x, from), x.stride[last], reinterpret_cast<char*>(to + first), 1, middle);
        std::fill(to + first + middle, to + length, cell);
      }
    });
  });
}

}  // namespace nnfast
