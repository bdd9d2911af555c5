// Data movement: copies and conversions between any strides and dtypes, rows by index and back, padding. Limit: the
// bandwidth of memory. What is not converted moves as cells of up to 16 bytes, whatever they mean; a transposed copy
// goes through a tile in shared memory, so that both sides see whole rows of it.
#include <algorithm>
#include <cstring>

#include "dtype.cuh"
#include "status.cuh"
#include "walk.cuh"

namespace nnfast {
namespace {

constexpr int THREADS = 256;
constexpr int64_t MOST_BLOCKS = 132 * 16;  // enough for every GPU; a loop in the kernel does the rest

// ---- conversion of one element ----

// Floats to integers truncate. What does not fit, NaN included, wraps or becomes the smallest int64.
template <class To, class From>
__host__ __device__ To convert_one(From x) {
  if constexpr (std::is_same_v<To, bool>) {
    return x != From(0);
  } else if constexpr (std::is_floating_point_v<From> && std::is_integral_v<To>) {
    constexpr From two63 = 9223372036854775808.0;
    if (x >= -two63 && x < two63) return static_cast<To>(static_cast<int64_t>(x));
    if (std::is_same_v<To, uint64_t> && x >= two63 && x < 2 * two63) return static_cast<To>(static_cast<uint64_t>(x));
    return static_cast<To>(static_cast<int64_t>(uint64_t{1} << 63));
  } else {
    return static_cast<To>(x);
  }
}

template <class T>
__host__ __device__ uint64_t bits_of_one(T x) {
  uint64_t bits = 0;
  memcpy(&bits, &x, sizeof x);
  return bits;
}

struct Ends {
  DType from, to;
  double scale;
  int64_t cell;  // bytes of what moves at once: an element of y, or several neighbours that are not converted
  Ends(const View& x, double scale_, const View& y)
      : from(x.dtype), to(y.dtype), scale(scale_), cell(size_of(y.dtype)) {}
  __host__ __device__ bool same() const { return from == to && scale == 1; }
};

// The bits of element `at` of x in the dtype of y: 121 conversions.
__device__ OUT_OF_LINE uint64_t converted(const Ends& ends, const void* x, int64_t at) {
  return visit_element(ends.to, [&](auto to) {
    using To = typename decltype(to)::type;
    const To y = visit_element(ends.from, [&](auto from) {
      using From = typename decltype(from)::type;
      using Read = std::conditional_t<std::is_same_v<From, bool>, uint8_t, From>;
      return convert_one<To>(static_cast<const Read*>(x)[at]);
    });
    if constexpr (std::is_floating_point_v<To>) return bits_of_one(y * static_cast<To>(ends.scale));
    return bits_of_one(y);
  });
}
// A cell on its way: one of 1 to 16 bytes, or an element that is converted. Kernels choose as they run: they wait for
// memory anyway, and a kernel for each size would make the module larger.
struct alignas(16) Cell {
  uint64_t low, high;
};
__device__ inline Cell take_cell(const Ends& ends, const void* x, int64_t at) {
  if (!ends.same()) return {converted(ends, x, at), 0};
  if (ends.cell == 16) return static_cast<const Cell*>(x)[at];
  if (ends.cell == 8) return {static_cast<const uint64_t*>(x)[at], 0};
  if (ends.cell == 4) return {static_cast<const uint32_t*>(x)[at], 0};
  if (ends.cell == 2) return {static_cast<const uint16_t*>(x)[at], 0};
  return {static_cast<const uint8_t*>(x)[at], 0};
}
__device__ inline void put_cell(int64_t bytes, void* y, int64_t at, const Cell& cell) {
  if (bytes == 16)
    static_cast<Cell*>(y)[at] = cell;
  else if (bytes == 8)
    static_cast<uint64_t*>(y)[at] = cell.low;
  else if (bytes == 4)
    static_cast<uint32_t*>(y)[at] = static_cast<uint32_t>(cell.low);
  else if (bytes == 2)
    static_cast<uint16_t*>(y)[at] = static_cast<uint16_t>(cell.low);
  else
    static_cast<uint8_t*>(y)[at] = static_cast<uint8_t>(cell.low);
}
uint64_t bits_of(double value, DType dtype) {
  return visit_dtype(dtype, [&](auto tag) { return bits_of_one(convert_one<typename decltype(tag)::type>(value)); });
}

// ---- copies ----

// Arrays in order: 16 bytes at a time, four loads under way; then what fills none.
__global__ void __launch_bounds__(THREADS) copy_packs(const char* x, char* y, int64_t bytes, const Status* status) {
  if (stopped(status)) return;
  constexpr int UNROLL = 4;
  const int64_t packs = bytes / 16, step = all_threads();
#pragma unroll 1
  for (int64_t first = global_thread(); first < packs; first += step * UNROLL) {
    uint4 cell[UNROLL];
#pragma unroll
    for (int j = 0; j < UNROLL; ++j)
      if (first + j * step < packs) cell[j] = reinterpret_cast<const uint4*>(x)[first + j * step];
#pragma unroll
    for (int j = 0; j < UNROLL; ++j)
      if (first + j * step < packs) reinterpret_cast<uint4*>(y)[first + j * step] = cell[j];
  }
  const int64_t i = packs * 16 + global_thread();
  if (i < bytes) y[i] = x[i];
}

// The conversions of arrays in order that training needs: four elements per thread.
template <class T>
struct alignas(sizeof(T) * 4 < 16 ? sizeof(T) * 4 : 16) Four {
  T v[4];
};
template <class From, class To>
__device__ inline void convert_four(const From* x, To* y, int64_t four, To scale) {
  const Four<From> in = reinterpret_cast<const Four<From>*>(x)[four];
  Four<To> out;
#pragma unroll
  for (int k = 0; k < 4; ++k) out.v[k] = static_cast<To>(in.v[k]) * scale;
  reinterpret_cast<Four<To>*>(y)[four] = out;
}
template <class From, class To>
__global__ void __launch_bounds__(THREADS)
    convert_packs(const From* x, To* y, int64_t size, To scale, const Status* status) {
  if (stopped(status)) return;
#pragma unroll 1
  for (int64_t i = global_thread(); i < size / 4; i += all_threads()) convert_four(x, y, i, scale);
  const int64_t i = size / 4 * 4 + global_thread();
  if (i < size) y[i] = static_cast<To>(x[i]) * scale;
}

// Any strides. The walk: y, x.
__global__ void __launch_bounds__(THREADS)
    copy_walk(Ends ends, const void* x, Walk<2> walk, void* y, const Status* status) {
  if (stopped(status)) return;
#pragma unroll 1
  for (int64_t i = global_thread(); i < walk.size; i += all_threads()) {
    int64_t at[2];
    walk.at(i, at);
    put_cell(ends.cell, y, at[0], take_cell(ends, x, at[1]));
  }
}

// A transposed copy: y[outer, i, j] = x[outer, i, j], where j lies in order in y and i in x. 32 x 32 elements at a time
// pass through shared memory; the 33rd column puts the rows of a column in different banks.
constexpr int TILE = 32, TILE_ROWS = THREADS / TILE;
struct Transposed {
  Walk<2> outer;
  int64_t n, m;              // of i, j
  int64_t y_step, x_step;    // from i to i in y, from j to j in x
  int64_t n_tiles, m_tiles;  // of one matrix
};
template <class C>
struct Move {  // of float32, the most usual
  __device__ static C take(const Ends&, const void* x, int64_t at) { return static_cast<const C*>(x)[at]; }
  __device__ static void put(const Ends&, void* y, int64_t at, C cell) { static_cast<C*>(y)[at] = cell; }
};
template <>
struct Move<uint64_t> {  // of all else
  __device__ static uint64_t take(const Ends& ends, const void* x, int64_t at) { return take_cell(ends, x, at).low; }
  __device__ static void put(const Ends& ends, void* y, int64_t at, uint64_t cell) {
    put_cell(ends.cell, y, at, {cell, 0});
  }
};
template <class C>
__global__ void __launch_bounds__(THREADS)
    copy_tiles(Ends ends, const void* x, Transposed t, void* y, const Status* status) {
  __shared__ C tile[TILE][TILE + 1];
  if (stopped(status)) return;
  const int column = threadIdx.x % TILE, row = threadIdx.x / TILE;
  const int64_t each = t.n_tiles * t.m_tiles;
#pragma unroll 1
  for (int64_t b = blockIdx.x; b < each * t.outer.size; b += gridDim.x) {
    int64_t at[2];
    t.outer.at(b / each, at);
    const int64_t i0 = b % each % t.n_tiles * TILE, j0 = b % each / t.n_tiles * TILE;
    for (int k = row; k < TILE; k += TILE_ROWS)
      if (i0 + column < t.n && j0 + k < t.m)
        tile[k][column] = Move<C>::take(ends, x, at[1] + i0 + column + (j0 + k) * t.x_step);
    __syncthreads();
    for (int k = row; k < TILE; k += TILE_ROWS)
      if (i0 + k < t.n && j0 + column < t.m)
        Move<C>::put(ends, y, at[0] + (i0 + k) * t.y_step + j0 + column, tile[column][k]);
    __syncthreads();  // before the next tile takes its place
  }
}

// Dimensions by their steps in y, the longest first: the order of a copy is free.
void sort_by_steps(View& y, View& x) {
  int order[MAX_DIMS];
  for (int d = 0; d < y.ndim; ++d) order[d] = d;
  const auto size = [&](int d) { return y.stride[d] < 0 ? -y.stride[d] : y.stride[d]; };
  std::stable_sort(order, order + y.ndim, [&](int a, int b) { return size(a) > size(b); });
  const View old_y = y, old_x = x;
  for (int d = 0; d < y.ndim; ++d) {
    y.shape[d] = x.shape[d] = old_y.shape[order[d]];
    y.stride[d] = old_y.stride[order[d]];
    x.stride[d] = old_x.stride[order[d]];
  }
}

// Makes neighbours one cell of up to 16 bytes, where all rows of the walk allow it; returns the bytes of a cell.
template <int N>
int64_t widen(Walk<N>& w, int64_t size, const void* x, const void* y) {
  const int last = w.ndim - 1;
  for (int k = 0; k < N; ++k)
    if (w.stride[k][last] != 1) return size;
  for (int64_t bytes = 16; bytes > size; bytes /= 2) {
    const int64_t each = bytes / size;
    bool fits = (reinterpret_cast<uintptr_t>(x) | reinterpret_cast<uintptr_t>(y)) % static_cast<uintptr_t>(bytes) == 0;
    fits = fits && w.shape[last] % each == 0;
    for (int k = 0; k < N; ++k)
      for (int d = 0; d < last; ++d) fits = fits && w.stride[k][d] % each == 0;
    if (!fits) continue;
    w.shape[last] = w.shape[last] / each;
    w.size /= each;
    for (int k = 0; k < N; ++k)
      for (int d = 0; d < last; ++d) w.stride[k][d] /= each;
    return bytes;
  }
  return size;
}

bool start_tiles(const Ends& ends, const Walk<2>& w, const View& x, const View& y, const Status* status) {
  const int last = w.ndim - 1;
  if (w.stride[0][last] != 1 || w.stride[1][last] == 1 || w.shape[last] < 8) return false;
  int d = last - 1;
  while (d >= 0 && (w.stride[1][d] != 1 || w.shape[d] < 8)) --d;
  if (d < 0) return false;
  Transposed t{w, w.shape[d], w.shape[last], w.stride[0][d], w.stride[1][last], 0, 0};
  t.n_tiles = ceil_div(t.n, TILE), t.m_tiles = ceil_div(t.m, TILE);
  t.outer.size = w.size / (t.n * t.m);
  t.outer.ndim = 0;
  for (int i = 0; i < last; ++i) {
    if (i == d) continue;
    t.outer.shape[t.outer.ndim] = w.shape[i];
    for (int k = 0; k < 2; ++k) t.outer.stride[k][t.outer.ndim] = w.stride[k][i];
    ++t.outer.ndim;
  }
  if (t.outer.ndim == 0) t.outer.ndim = 1, t.outer.shape[0] = 1, t.outer.stride[0][0] = t.outer.stride[1][0] = 0;
  launch(ends.same() && ends.cell == 4 ? copy_tiles<uint32_t> : copy_tiles<uint64_t>,
         blocks_for(t.n_tiles * t.m_tiles * t.outer.size, 1), THREADS, 0, stream(), ends, x.data, t, y.data, status);
  return true;
}

template <class From, class To>
void start_packs(const View& x, double scale, const View& y, const Status* status) {
  launch(convert_packs<From, To>, blocks_for(y.size(), 4 * THREADS, MOST_BLOCKS), THREADS, 0, stream(), x.as<From>(),
         y.as<To>(), y.size(), static_cast<To>(scale), status);
}
bool start_packs(const Ends& ends, const View& x, const View& y, const Status* status) {
  if (!aligned(x.data) || !aligned(y.data)) return false;
  if (ends.same()) {
    const int64_t bytes = y.size() * size_of(y.dtype);
    launch(copy_packs, blocks_for(bytes, 64 * THREADS, MOST_BLOCKS), THREADS, 0, stream(), x.as<char>(), y.as<char>(),
           bytes, status);
  } else if (ends.to == DType::float32 && (ends.from == DType::uint8 || ends.from == DType::boolean)) {
    start_packs<uint8_t, float>(x, ends.scale, y, status);
  } else if (ends.to == DType::float32 && ends.from == DType::float64) {
    start_packs<double, float>(x, ends.scale, y, status);
  } else if (ends.to == DType::float64 && ends.from == DType::float32) {
    start_packs<float, double>(x, ends.scale, y, status);
  } else {
    return false;
  }
  return true;
}

void copy_scaled(View x, double scale, View y, const Status* status) {
  if (y.size() == 0) return;
  Ends ends(x, scale, y);
  sort_by_steps(y, x);
  Walk<2> w = walk_over(y, x);
  if (w.dense(0) && w.dense(1) && start_packs(ends, x, y, status)) return;
  if (start_tiles(ends, w, x, y, status)) return;
  if (ends.same()) ends.cell = widen(w, ends.cell, x.data, y.data);
  launch(copy_walk, blocks_for(w.size, THREADS, MOST_BLOCKS), THREADS, 0, stream(), ends, x.data, w, y.data, status);
}

// y = the bits, again and again: 16 bytes at a time if it begins so.
__global__ void __launch_bounds__(THREADS) fill_kernel(char* y, int64_t bytes, uint64_t bits, bool packs) {
  const unsigned low = static_cast<unsigned>(bits), high = static_cast<unsigned>(bits >> 32);
  const uint4 cell = make_uint4(low, high, low, high);
  const int64_t whole = packs ? bytes / 16 : 0;
#pragma unroll 1
  for (int64_t i = global_thread(); i < whole; i += all_threads()) reinterpret_cast<uint4*>(y)[i] = cell;
#pragma unroll 1
  for (int64_t i = whole * 16 + global_thread(); i < bytes; i += all_threads())
    y[i] = static_cast<char>(bits >> i % 8 * 8);
}

}  // namespace

void copy(const View& x, const View& y, const Status* status) { copy_scaled(x, 1, y, status); }
void cast(const View& x, double scale, const View& y) { copy_scaled(x, scale, y, nullptr); }

void full(double value, const View& y) {
  const int64_t size = size_of(y.dtype), bytes = y.size() * size;
  if (bytes == 0) return;
  uint64_t bits = bits_of(value, y.dtype);
  for (int64_t n = size; n < 8; n *= 2) bits |= bits << n * 8;
  launch(fill_kernel, blocks_for(bytes, 16 * THREADS, MOST_BLOCKS), THREADS, 0, stream(), y.as<char>(), bytes, bits,
         aligned(y.data));
}

// ---- rows by index ----

namespace {

// Integers of any dtype, in C order of any strides. An unsigned one beyond int64 comes out negative: out of range too.
struct Indices {
  const void* data;
  DType dtype;
  Walk<1> order;
  explicit Indices(const View& v) : data(v.data), dtype(v.dtype), order(walk_over(v)) {}

  __device__ int64_t size() const { return order.size; }
  __device__ int64_t operator()(int64_t position) const {
    int64_t at[1];
    order.at(position, at);
    return element<int64_t>(dtype, data, at[0]);
  }
};

void report(Status* status, const Indices& index) {
  launch(settle_kernel<Indices>, 1, 1, 0, stream(), status, BAD_INDEX, index);
}

struct Rows {
  int64_t n, rows;  // indices; rows of x
  Divider size;     // cells of a row
  int64_t x_row;    // from row to row of x
  Walk<1> cells;    // of a row of x
};
// One cell of y per thread and round.
__global__ void __launch_bounds__(THREADS)
    take_rows_kernel(Ends ends, const void* x, Indices index, Rows r, void* y, Status* status) {
#pragma unroll 1
  for (int64_t i = global_thread(); i < r.n * r.size; i += all_threads()) {
    int64_t at[1];
    const int64_t position = r.size.of(i), cell = i - position * r.size, row = index(position);
    const bool bad = row < 0 || row >= r.rows;
    if (bad && cell == 0) note(status, position);
    Cell found{};
    if (!bad) {
      r.cells.at(cell, at);
      found = take_cell(ends, x, row * r.x_row + at[0]);
    }
    put_cell(ends.cell, y, i, found);
  }
}
// Rows of bytes, such as images, as float32: four elements per thread and round. Here size and x_row count fours.
__global__ void __launch_bounds__(THREADS)
    take_bytes_kernel(const uint8_t* x, Indices index, Rows r, float scale, float* y, Status* status) {
#pragma unroll 1
  for (int64_t i = global_thread(); i < r.n * r.size; i += all_threads()) {
    const int64_t position = r.size.of(i), four = i - position * r.size, row = index(position);
    const bool bad = row < 0 || row >= r.rows;
    if (bad && four == 0) note(status, position);
    if (bad)
      reinterpret_cast<Four<float>*>(y)[i] = Four<float>{};
    else
      convert_four(x + row * r.x_row * 4, y + (i - four) * 4, four, scale);
  }
}
__global__ void __launch_bounds__(THREADS) check_indices(Indices index, int64_t n, int64_t rows, Status* status) {
#pragma unroll 1
  for (int64_t i = global_thread(); i < n; i += all_threads())
    if (index(i) < 0 || index(i) >= rows) note(status, i);
}

}  // namespace

void take_rows(const View& x, const View& indices, double scale, const View& y, Status* status) {
  Rows r{};
  r.n = indices.size(), r.rows = x.shape[0];
  if (r.n == 0) return;
  const Indices index(indices);
  Ends ends(x, scale, y);
  View row = x;
  row.ndim = static_cast<int8_t>(x.ndim - 1);
  std::copy(x.shape + 1, x.shape + x.ndim, row.shape);
  std::copy(x.stride + 1, x.stride + x.ndim, row.stride);
  r.cells = walk_over(row);
  r.size = r.cells.size, r.x_row = x.stride[0];
  const auto blocks = [&] { return blocks_for(r.n * r.size, THREADS, MOST_BLOCKS); };
  if (r.size == 0) {
    launch(check_indices, blocks_for(r.n, THREADS, MOST_BLOCKS), THREADS, 0, stream(), index, r.n, r.rows, status);
  } else if (ends.from == DType::uint8 && ends.to == DType::float32 && r.cells.dense(0) && r.size % 4 == 0 &&
             r.x_row % 4 == 0 && reinterpret_cast<uintptr_t>(x.data) % 4 == 0 && aligned(y.data)) {
    r.size = r.size / 4, r.x_row /= 4;
    const unsigned grid = blocks();
    launch(take_bytes_kernel, grid, THREADS, 0, stream(), x.as<uint8_t>(), index, r, static_cast<float>(scale),
           y.as<float>(), status);
  } else {
    if (ends.same() && r.cells.dense(0)) {
      Walk<1> all = r.cells;  // rows of x, so that their distance counts too
      all.ndim = 2, all.shape[1] = r.size, all.stride[0][1] = 1, all.shape[0] = 1, all.stride[0][0] = r.x_row;
      ends.cell = widen(all, ends.cell, x.data, y.data);
      r.size = r.cells.size = all.shape[1], r.cells.shape[0] = all.shape[1], r.x_row = all.stride[0][0];
    }
    const unsigned grid = blocks();
    launch(take_rows_kernel, grid, THREADS, 0, stream(), ends, x.data, index, r, y.data, status);
  }
  report(status, index);
}

// ---- the rows of a step ----

namespace {

// The walk: y, x. Both begin at the cursor, in steps of y_row and x_row.
__global__ void __launch_bounds__(THREADS) copy_at_cursor(Ends ends, const void* x, int64_t x_row, void* y,
                                                          int64_t y_row, Walk<2> walk, const int64_t* cursor) {
  const int64_t x_begin = *cursor * x_row, y_begin = *cursor * y_row;
#pragma unroll 1
  for (int64_t i = global_thread(); i < walk.size; i += all_threads()) {
    int64_t at[2];
    walk.at(i, at);
    put_cell(ends.cell, y, y_begin + at[0], take_cell(ends, x, x_begin + at[1]));
  }
}

void start_at_cursor(const View& x, int64_t x_row, const View& y, int64_t y_row, const int64_t* cursor) {
  if (y.size() == 0) return;
  const Walk<2> walk = walk_over(y, x);
  launch(copy_at_cursor, blocks_for(walk.size, THREADS, MOST_BLOCKS), THREADS, 0, stream(), Ends(x, 1, y), x.data,
         x_row, y.data, y_row, walk, cursor);
}

View with_rows(View table, int64_t rows) {
  table.shape[0] = rows;
  return table;
}
}  // namespace

void next_rows(const View& table, const int64_t* cursor, const View& y) {
  start_at_cursor(with_rows(table, y.shape[0]), table.stride[0], y, 0, cursor);
}
void put_rows(const View& x, const View& table, const int64_t* cursor) {
  start_at_cursor(x, 0, with_rows(table, x.shape[0]), table.stride[0], cursor);
}

namespace {

// Where each row is taken first and last: its gradient is the business of the block of its first position.
__global__ void __launch_bounds__(THREADS) find_ends(Indices index, int64_t n, int64_t rows, unsigned long long* first,
                                                     unsigned long long* last, Status* status) {
#pragma unroll 1
  for (int64_t i = global_thread(); i < n; i += all_threads()) {
    const int64_t row = index(i);
    if (row < 0 || row >= rows) {
      note(status, i);
    } else {
      atomicMin(first + row, static_cast<unsigned long long>(i));
      atomicMax(last + row, static_cast<unsigned long long>(i));
    }
  }
}

// A block adds up one row, a thread one of its columns; together they look for the positions that took it, THREADS at a
// time, up to the last one.
template <class T>
__global__ void __launch_bounds__(THREADS)
    add_rows(const T* dy, Indices index, int64_t n, int64_t rows, int64_t size, const unsigned long long* first,
             const unsigned long long* last, T* dx) {
  __shared__ unsigned hits[THREADS / WARP];
#pragma unroll 1
  for (int64_t i = blockIdx.x; i < n; i += gridDim.x) {
    const int64_t row = index(i);
    if (row < 0 || row >= rows || static_cast<int64_t>(first[row]) != i) continue;  // all threads alike
    const int64_t end = static_cast<int64_t>(last[row]) + 1;
#pragma unroll 1
    for (int64_t j0 = int64_t{blockIdx.y} * THREADS; j0 < size; j0 += int64_t{gridDim.y} * THREADS) {
      const int64_t j = j0 + threadIdx.x;
      T sum = j < size ? dy[i * size + j] : T(0);
#pragma unroll 1
      for (int64_t p0 = i + 1; p0 < end; p0 += THREADS) {
        const int64_t p = p0 + threadIdx.x;
        const unsigned mine = __ballot_sync(~0u, p < end && index(p) == row);
        if (threadIdx.x % WARP == 0) hits[threadIdx.x / WARP] = mine;
        __syncthreads();
#pragma unroll 1
        for (int w = 0; w < THREADS / WARP; ++w)
#pragma unroll 1
          for (unsigned left = hits[w]; left; left &= left - 1) {
            const int64_t hit = p0 + w * WARP + __ffs(static_cast<int>(left)) - 1;
            if (j < size) sum += dy[hit * size + j];
          }
        __syncthreads();  // before the next hits
      }
      if (j < size) dx[row * size + j] = sum;
    }
  }
}
}  // namespace

size_t take_rows_gradient_scratch(const View& dx) { return static_cast<size_t>(dx.shape[0]) * 2 * sizeof(int64_t); }

void take_rows_gradient(const View& dy, const View& indices, const View& dx, void* scratch, Status* status) {
  const int64_t n = indices.size(), rows = dx.shape[0], size = rows ? dx.size() / rows : 0;
  full(0, dx);
  if (n == 0) return;
  const Indices index(indices);
  auto* const first = static_cast<unsigned long long*>(scratch);
  auto* const last = first + rows;
  full(-1, int64s(first, rows));  // unsigned: the largest number
  full(0, int64s(last, rows));
  launch(find_ends, blocks_for(n, THREADS, MOST_BLOCKS), THREADS, 0, stream(), index, n, rows, first, last, status);
  report(status, index);
  if (size == 0) return;
  const dim3 grid(blocks_for(n, 1), blocks_for(size, THREADS, 65535));
  visit_float(dx.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    launch(add_rows<T>, grid, THREADS, 0, stream(), dy.as<T>(), index, n, rows, size, first, last, dx.as<T>());
  });
}

// ---- padding, one-hot rows ----

namespace {

struct Padding {
  int ndim;
  int64_t size;
  Divider y_shape[MAX_DIMS];
  int64_t x_shape[MAX_DIMS], x_stride[MAX_DIMS], before[MAX_DIMS];
};
// Each cell of y looks for itself whether it lies in x.
__global__ void __launch_bounds__(THREADS) pad_kernel(Ends ends, const void* x, Padding p, uint64_t value, void* y) {
#pragma unroll 1
  for (int64_t i = global_thread(); i < p.size; i += all_threads()) {
    int64_t rest = i, from = 0;
    bool inside = true;
#pragma unroll 1
    for (int d = p.ndim - 1; d >= 0; --d) {
      const int64_t whole = p.y_shape[d].of(rest), at = rest - whole * p.y_shape[d] - p.before[d];
      rest = whole;
      inside = inside && at >= 0 && at < p.x_shape[d];
      from += at * p.x_stride[d];
    }
    put_cell(ends.cell, y, i, inside ? take_cell(ends, x, from) : Cell{value, 0});
  }
}

__global__ void __launch_bounds__(THREADS)
    one_hot_kernel(Indices index, int64_t n, Divider classes, uint64_t one, int64_t bytes, void* y, Status* status) {
#pragma unroll 1
  for (int64_t i = global_thread(); i < n * classes; i += all_threads()) {
    const int64_t position = classes.of(i), c = i - position * classes, hit = index(position);
    if (c == 0 && (hit < 0 || hit >= classes)) note(status, position);
    put_cell(bytes, y, i, {hit == c ? one : 0, 0});
  }
}

}  // namespace

void pad(const View& x, const Before& before, double value, const View& y) {
  Padding p{};
  p.ndim = y.ndim, p.size = y.size();
  if (p.size == 0) return;
  std::copy(y.shape, y.shape + y.ndim, p.y_shape);
  std::copy(x.shape, x.shape + y.ndim, p.x_shape);
  std::copy(x.stride, x.stride + y.ndim, p.x_stride);
  std::copy(before.cells, before.cells + y.ndim, p.before);
  launch(pad_kernel, blocks_for(p.size, THREADS, MOST_BLOCKS), THREADS, 0, stream(), Ends(x, 1, y), x.data, p,
         bits_of(value, y.dtype), y.data);
}

void one_hot(const View& indices, const View& y, Status* status) {
  const int64_t n = indices.size(), classes = y.shape[y.ndim - 1];
  if (n == 0) return;
  const Indices index(indices);
  if (classes == 0) {
    launch(check_indices, blocks_for(n, THREADS, MOST_BLOCKS), THREADS, 0, stream(), index, n, classes, status);
  } else {
    launch(one_hot_kernel, blocks_for(n * classes, THREADS, MOST_BLOCKS), THREADS, 0, stream(), index, n, classes,
           bits_of(1, y.dtype), size_of(y.dtype), y.data, status);
  }
  report(status, index);
}

}  // namespace nnfast
