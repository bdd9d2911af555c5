// Pooling: a thread makes one element of the result, or 16 bytes of neighbouring channels; gradients too, by looking
// which windows hold their cell, so nothing is added by two threads. Cells outside the input are never read: every
// window has at least one inside. x and y have any strides; nothing overlaps.
#include "images.cuh"
#include "math.cuh"

namespace nnfast {
namespace {

// A pooling as kernels read it.
struct Windows : Pool2d {
  Divider by_stride[2], by_dilation[2];
  Windows(const Pool2d& how) : Pool2d(how) {
    for (int i = 0; i < 2; ++i) by_stride[i] = stride[i], by_dilation[i] = dilation[i];
  }
};

// Cells [begin, end) of a window that lie inside the input along one axis, and where the first one lies.
struct Inside {
  int64_t begin, end, at;
};
__device__ inline Inside inside(const Windows& how, int axis, int64_t n, int64_t window) {
  const int64_t k = how.size[axis], d = how.dilation[axis], first = window * how.stride[axis] - how.before[axis];
  const int64_t begin = first >= 0 ? 0 : how.by_dilation[axis].of(d - 1 - first);
  const int64_t end = first + (k - 1) * d < n ? k : how.by_dilation[axis].of(n - first + d - 1);
  return {begin, end, first + begin * d};
}
// How many cells of a window count along one axis: those inside, or with include_pad also those in the padding.
__device__ inline int64_t counted(const Windows& how, int axis, int64_t n, int64_t window) {
  if (!how.include_pad) {
    const Inside i = inside(how, axis, n, window);
    return i.end - i.begin;
  }
  const int64_t d = how.dilation[axis], first = window * how.stride[axis];
  const int64_t room = how.by_dilation[axis].of(n + how.before[axis] + how.after[axis] - first + d - 1);
  return room < how.size[axis] ? room : how.size[axis];
}
// The windows that hold a cell along one axis, in rising order: fn(window).
template <class F>
__device__ inline void for_windows(const Windows& how, int axis, int64_t windows, int64_t cell, const F& fn) {
#pragma unroll 1
  for (int64_t k = how.size[axis] - 1; k >= 0; --k) {
    const int64_t first = cell + how.before[axis] - k * how.dilation[axis];
    if (first < 0) continue;
    const int64_t window = how.by_stride[axis].of(first);
    if (window < windows && window * how.stride[axis] == first) fn(window);
  }
}

template <class T>
__device__ inline bool wins(T x, T best) {  // over what came before
  return x > best || (is_nan(x) && !is_nan(best));
}

// The largest of each channel of a window, and h * W + w of it, the first of equals.
template <class T, int WIDTH>
struct Winner {
  Several<T, WIDTH> value;
  int64_t at[WIDTH];
};
template <class T, int WIDTH>
__device__ inline Winner<T, WIDTH> winner(const T* x, const Images& images, const Windows& how, const Inside& rows,
                                          const Inside& cols, int64_t n, int64_t c) {
  Winner<T, WIDTH> best;
  bool first = true;
  int64_t h = rows.at;
#pragma unroll 1
  for (int64_t r = rows.begin; r < rows.end; ++r, h += how.dilation[0]) {
    int64_t w = cols.at;
#pragma unroll 1
    for (int64_t s = cols.begin; s < cols.end; ++s, w += how.dilation[1], first = false) {
      const auto cell = load<WIDTH>(x + images.at(n, h, w, c));
#pragma unroll
      for (int i = 0; i < WIDTH; ++i)
        if (first || wins(cell.v[i], best.value.v[i])) best.value.v[i] = cell.v[i], best.at[i] = h * images.w + w;
    }
  }
  return best;
}

template <class T, int WIDTH>
__global__ void __launch_bounds__(PIXEL_THREADS)
    max_kernel(const T* x, Images xs, Windows how, T* y, Images ys, int64_t* indices, Images is, int64_t items) {
#pragma unroll 1
  for (int64_t i = global_thread(); i < items; i += all_threads()) {
    const Pixel p = pixel_of<WIDTH>(ys, i);
    const Inside rows = inside(how, 0, xs.h, p.h), cols = inside(how, 1, xs.w, p.w);
    const auto best = winner<T, WIDTH>(x, xs, how, rows, cols, p.n, p.c);
    store<WIDTH>(y + ys.at(p.n, p.h, p.w, p.c), best.value);
    if (indices)
#pragma unroll 1
      for (int k = 0; k < WIDTH; ++k) indices[is.at(p.n, p.h, p.w, p.c + k)] = best.at[k];
  }
}

// Windows without common cells: each gives its dy to its winner. What dx has elsewhere is 0 already.
template <class T, int WIDTH>
__global__ void __launch_bounds__(PIXEL_THREADS)
    give_kernel(const T* dy, Images ys, const T* x, Images xs, Windows how, T* dx, Images ds, int64_t items) {
#pragma unroll 1
  for (int64_t i = global_thread(); i < items; i += all_threads()) {
    const Pixel p = pixel_of<WIDTH>(ys, i);
    const Inside rows = inside(how, 0, xs.h, p.h), cols = inside(how, 1, xs.w, p.w);
    const auto best = winner<T, WIDTH>(x, xs, how, rows, cols, p.n, p.c);
    const auto d = load<WIDTH>(dy + ys.at(p.n, p.h, p.w, p.c));
#pragma unroll 1
    for (int64_t r = rows.begin, h = rows.at; r < rows.end; ++r, h += how.dilation[0])
#pragma unroll 1
      for (int64_t s = cols.begin, w = cols.at; s < cols.end; ++s, w += how.dilation[1]) {
        Several<T, WIDTH> cell;
#pragma unroll
        for (int k = 0; k < WIDTH; ++k) cell.v[k] = best.at[k] == h * xs.w + w ? d.v[k] : T(0);
        store<WIDTH>(dx + ds.at(p.n, h, w, p.c), cell);
      }
  }
}

// Windows that share cells: each cell asks the windows that hold it whether it won.
template <class T, int WIDTH>
__global__ void __launch_bounds__(PIXEL_THREADS)
    ask_kernel(const T* dy, Images ys, const T* x, Images xs, Windows how, T* dx, Images ds, int64_t items) {
#pragma unroll 1
  for (int64_t i = global_thread(); i < items; i += all_threads()) {
    const Pixel p = pixel_of<WIDTH>(ds, i);
    Several<T, WIDTH> sum{};
    for_windows(how, 0, ys.h, p.h, [&](int64_t row) {
      for_windows(how, 1, ys.w, p.w, [&](int64_t column) {
        const Inside rows = inside(how, 0, xs.h, row), cols = inside(how, 1, xs.w, column);
        const auto best = winner<T, WIDTH>(x, xs, how, rows, cols, p.n, p.c);
        const auto d = load<WIDTH>(dy + ys.at(p.n, row, column, p.c));
#pragma unroll
        for (int k = 0; k < WIDTH; ++k)
          if (best.at[k] == p.h * xs.w + p.w) sum.v[k] += d.v[k];
      });
    });
    store<WIDTH>(dx + ds.at(p.n, p.h, p.w, p.c), sum);
  }
}

template <class T, int WIDTH>
__global__ void __launch_bounds__(PIXEL_THREADS)
    mean_kernel(const T* x, Images xs, Windows how, T* y, Images ys, int64_t items) {
#pragma unroll 1
  for (int64_t i = global_thread(); i < items; i += all_threads()) {
    const Pixel p = pixel_of<WIDTH>(ys, i);
    const Inside rows = inside(how, 0, xs.h, p.h), cols = inside(how, 1, xs.w, p.w);
    Several<T, WIDTH> sum{};
#pragma unroll 1
    for (int64_t r = rows.begin, h = rows.at; r < rows.end; ++r, h += how.dilation[0])
#pragma unroll 1
      for (int64_t s = cols.begin, w = cols.at; s < cols.end; ++s, w += how.dilation[1]) {
        const auto cell = load<WIDTH>(x + xs.at(p.n, h, w, p.c));
#pragma unroll
        for (int k = 0; k < WIDTH; ++k) sum.v[k] += cell.v[k];
      }
    const T count = static_cast<T>(counted(how, 0, xs.h, p.h) * counted(how, 1, xs.w, p.w));
#pragma unroll
    for (int k = 0; k < WIDTH; ++k) sum.v[k] /= count;
    store<WIDTH>(y + ys.at(p.n, p.h, p.w, p.c), sum);
  }
}

template <class T, int WIDTH>
__global__ void __launch_bounds__(PIXEL_THREADS)
    mean_gradient_kernel(const T* dy, Images ys, Windows how, T* dx, Images ds, int64_t items) {
#pragma unroll 1
  for (int64_t i = global_thread(); i < items; i += all_threads()) {
    const Pixel p = pixel_of<WIDTH>(ds, i);
    Several<T, WIDTH> sum{};
    for_windows(how, 0, ys.h, p.h, [&](int64_t row) {
      const int64_t count = counted(how, 0, ds.h, row);
      for_windows(how, 1, ys.w, p.w, [&](int64_t column) {
        const auto d = load<WIDTH>(dy + ys.at(p.n, row, column, p.c));
        const T cells = static_cast<T>(count * counted(how, 1, ds.w, column));
#pragma unroll
        for (int k = 0; k < WIDTH; ++k) sum.v[k] += d.v[k] / cells;
      });
    });
    store<WIDTH>(dx + ds.at(p.n, p.h, p.w, p.c), sum);
  }
}

// Do windows share cells?
bool overlapping(const Pool2d& how) {
  return how.stride[0] <= (how.size[0] - 1) * how.dilation[0] || how.stride[1] <= (how.size[1] - 1) * how.dilation[1];
}
// Is every cell of the input in exactly one window?
bool tiled(const Pool2d& how, const Images& x, const Images& y) {
  const int64_t in[] = {x.h, x.w}, out[] = {y.h, y.w};
  for (int i = 0; i < 2; ++i)
    if (how.stride[i] != how.size[i] || how.dilation[i] != 1 || how.before[i] != 0 || out[i] * how.stride[i] != in[i])
      return false;
  return true;
}
template <class... V>
bool packs(const Pool2d& how, const V&... views) {
  if (how.channels_first) return false;
  return (... && Images(views, false).in_packs(views.data, static_cast<int>(16 / size_of(views.dtype))));
}
}  // namespace

void max_pool2d(const View& x, const Pool2d& how, const View& y, const View& indices) {
  const Images xs(x, how.channels_first), ys(y, how.channels_first);
  const Images is = indices.given() ? Images(indices, how.channels_first) : ys;
  if (ys.size() == 0) return;
  visit_width(x.dtype, packs(how, x, y), [&](auto tag, auto width) {
    using T = typename decltype(tag)::type;
    constexpr int N = decltype(width)::value;
    const int64_t items = ys.size() / N;
    launch(max_kernel<T, N>, pixel_blocks(items), PIXEL_THREADS, 0, stream(), x.as<T>(), xs, how, y.as<T>(), ys,
           indices.given() ? indices.as<int64_t>() : nullptr, is, items);
  });
}

void max_pool2d_gradient(const View& dy, const View& x, const Pool2d& how, const View& dx) {
  const Images ys(dy, how.channels_first), xs(x, how.channels_first), ds(dx, how.channels_first);
  if (ds.size() == 0) return;
  const bool share = overlapping(how);
  if (!share && !tiled(how, xs, ys)) full(0.0, dx);
  const int64_t all = share ? ds.size() : ys.size();
  if (all == 0) return;
  visit_width(x.dtype, packs(how, dy, x, dx), [&](auto tag, auto width) {
    using T = typename decltype(tag)::type;
    constexpr int N = decltype(width)::value;
    launch(share ? ask_kernel<T, N> : give_kernel<T, N>, pixel_blocks(all / N), PIXEL_THREADS, 0, stream(), dy.as<T>(),
           ys, x.as<T>(), xs, how, dx.as<T>(), ds, all / N);
  });
}

void avg_pool2d(const View& x, const Pool2d& how, const View& y) {
  const Images xs(x, how.channels_first), ys(y, how.channels_first);
  if (ys.size() == 0) return;
  visit_width(x.dtype, packs(how, x, y), [&](auto tag, auto width) {
    using T = typename decltype(tag)::type;
    constexpr int N = decltype(width)::value;
    const int64_t items = ys.size() / N;
    launch(mean_kernel<T, N>, pixel_blocks(items), PIXEL_THREADS, 0, stream(), x.as<T>(), xs, how, y.as<T>(), ys,
           items);
  });
}

void avg_pool2d_gradient(const View& dy, const Pool2d& how, const View& dx) {
  const Images ys(dy, how.channels_first), ds(dx, how.channels_first);
  if (ds.size() == 0) return;
  visit_width(dx.dtype, packs(how, dy, dx), [&](auto tag, auto width) {
    using T = typename decltype(tag)::type;
    constexpr int N = decltype(width)::value;
    const int64_t items = ds.size() / N;
    launch(mean_gradient_kernel<T, N>, pixel_blocks(items), PIXEL_THREADS, 0, stream(), dy.as<T>(), ys, how, dx.as<T>(),
           ds, items);
  });
}

}  // namespace nnfast
