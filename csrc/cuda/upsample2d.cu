// Enlarging images by whole factors: a thread makes one element of the result, or 16 bytes of neighbouring channels. In
// the gradient it adds, in a fixed order, what comes back to its pixel of the input. y and dx are contiguous.
#include "images.cuh"

namespace nnfast {
namespace {

// An enlargement as kernels read it.
struct Enlarged : Upsample2d {
  Divider by[2], by_twice[2];
  Enlarged(const Upsample2d& how) : Upsample2d(how) {
    for (int i = 0; i < 2; ++i) by[i] = size[i], by_twice[i] = 2 * size[i];
  }
};

// Where a row or column of the result lies: (1 - t) of the way at `low`, t at `high`.
template <class T>
struct Tap {
  int64_t low, high;
  T t;
  // How much of it is the pixel `at`?
  __device__ T share(int64_t at) const { return (low == at ? T(1) - t : T(0)) + (high == at ? t : T(0)); }
};
template <class T>
__device__ inline Tap<T> tap_of(int64_t place, const Enlarged& how, int axis, int64_t n) {
  if (!how.bilinear) return {how.by[axis].of(place), how.by[axis].of(place), T(0)};
  const int64_t factor = how.size[axis];
  // place + 0.5 over factor - 0.5, as a fraction over 2 * factor
  const int64_t at = 2 * place + 1 - factor, last = 2 * factor * (n - 1);
  const int64_t inside = at < 0 ? 0 : at > last ? last : at, low = how.by_twice[axis].of(inside);
  const T t = static_cast<T>(static_cast<double>(inside - low * 2 * factor) / static_cast<double>(2 * factor));
  return {low, low + 1 < n ? low + 1 : low, t};
}

template <class T, int WIDTH>
__global__ void __launch_bounds__(PIXEL_THREADS)
    upsample_kernel(const T* x, Images xs, Enlarged how, T* y, Images ys, int64_t items) {
#pragma unroll 1
  for (int64_t i = global_thread(); i < items; i += all_threads()) {
    const Pixel p = pixel_of<WIDTH>(ys, i);
    const Tap<T> row = tap_of<T>(p.h, how, 0, xs.h);
    const Tap<T> col = tap_of<T>(p.w, how, 1, xs.w);
    auto out = load<WIDTH>(x + xs.at(p.n, row.low, col.low, p.c));
    if (row.t != T(0) || col.t != T(0)) {
      const auto b = load<WIDTH>(x + xs.at(p.n, row.low, col.high, p.c));
      const auto c = load<WIDTH>(x + xs.at(p.n, row.high, col.low, p.c));
      const auto d = load<WIDTH>(x + xs.at(p.n, row.high, col.high, p.c));
#pragma unroll
      for (int k = 0; k < WIDTH; ++k) {
        const T left = out.v[k] + row.t * (c.v[k] - out.v[k]), right = b.v[k] + row.t * (d.v[k] - b.v[k]);
        out.v[k] = left + col.t * (right - left);
      }
    }
    store<WIDTH>(y + ys.at(p.n, p.h, p.w, p.c), out);
  }
}

// The rows or columns of the result that use pixel `at` of the input: [begin, end).
__device__ inline int64_t users_begin(int64_t at, int64_t factor, bool bilinear) {
  return bilinear ? (at == 0 ? 0 : (at - 1) * factor + factor / 2) : at * factor;
}
__device__ inline int64_t users_end(int64_t at, int64_t factor, int64_t n, bool bilinear) {
  return bilinear ? (at == n - 1 ? n * factor : (at + 1) * factor + (factor + 1) / 2) : (at + 1) * factor;
}

template <class T, int WIDTH>
__global__ void __launch_bounds__(PIXEL_THREADS)
    upsample_gradient_kernel(const T* dy, Images ys, Enlarged how, T* dx, Images ds, int64_t items) {
#pragma unroll 1
  for (int64_t i = global_thread(); i < items; i += all_threads()) {
    const Pixel p = pixel_of<WIDTH>(ds, i);
    const int64_t row_end = users_end(p.h, how.size[0], ds.h, how.bilinear);
    const int64_t col_end = users_end(p.w, how.size[1], ds.w, how.bilinear);
    Several<T, WIDTH> sum{};
#pragma unroll 1
    for (int64_t h = users_begin(p.h, how.size[0], how.bilinear); h < row_end; ++h) {
      const T row = tap_of<T>(h, how, 0, ds.h).share(p.h);
#pragma unroll 1
      for (int64_t w = users_begin(p.w, how.size[1], how.bilinear); w < col_end; ++w) {
        const T share = row * tap_of<T>(w, how, 1, ds.w).share(p.w);
        if (share == T(0)) continue;
        const auto d = load<WIDTH>(dy + ys.at(p.n, h, w, p.c));
#pragma unroll
        for (int k = 0; k < WIDTH; ++k) sum.v[k] += share * d.v[k];
      }
    }
    store<WIDTH>(dx + ds.at(p.n, p.h, p.w, p.c), sum);
  }
}

bool packs(const Upsample2d& how, const View& a, const View& b) {
  const int width = static_cast<int>(16 / size_of(a.dtype));
  return !how.channels_first && Images(a, false).in_packs(a.data, width) && Images(b, false).in_packs(b.data, width);
}
}  // namespace

void upsample2d(const View& x, const Upsample2d& how, const View& y) {
  const Images xs(x, how.channels_first), ys(y, how.channels_first);
  if (ys.size() == 0) return;
  visit_width(x.dtype, packs(how, x, y), [&](auto tag, auto width) {
    using T = typename decltype(tag)::type;
    constexpr int N = decltype(width)::value;
    const int64_t items = ys.size() / N;
    launch(upsample_kernel<T, N>, pixel_blocks(items), PIXEL_THREADS, 0, stream(), x.as<T>(), xs, how, y.as<T>(), ys,
           items);
  });
}

void upsample2d_gradient(const View& dy, const Upsample2d& how, const View& dx) {
  const Images ys(dy, how.channels_first), ds(dx, how.channels_first);
  if (ds.size() == 0) return;
  visit_width(dx.dtype, packs(how, dy, dx), [&](auto tag, auto width) {
    using T = typename decltype(tag)::type;
    constexpr int N = decltype(width)::value;
    const int64_t items = ds.size() / N;
    launch(upsample_gradient_kernel<T, N>, pixel_blocks(items), PIXEL_THREADS, 0, stream(), dy.as<T>(), ys, how,
           dx.as<T>(), ds, items);
  });
}

}  // namespace nnfast
