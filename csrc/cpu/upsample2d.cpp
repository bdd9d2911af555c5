// Enlarging images by whole factors. Each pixel of the result lies between two rows and two columns of the input: taps,
// which are computed for a block of columns and serve all its rows. Backwards an image is one task, so that what its
// pixels add up comes in a fixed order.
#include <algorithm>
#include <cmath>

#include "../ops.h"
#include "parallel.h"

namespace nnfast {
namespace {

constexpr int64_t GRAIN = 1 << 15;  // numbers written in a chunk of parallel work
constexpr int64_t BLOCK = 128;      // columns whose taps are kept

struct Layout {
  int64_t n, h, w, c;      // sizes
  int64_t sn, sh, sw, sc;  // strides
  Layout(const View& v, bool channels_first) {
    const int a[] = {0, channels_first ? 2 : 1, channels_first ? 3 : 2, channels_first ? 1 : 3};
    n = v.shape[a[0]], h = v.shape[a[1]], w = v.shape[a[2]], c = v.shape[a[3]];
    sn = v.stride[a[0]], sh = v.stride[a[1]], sw = v.stride[a[2]], sc = v.stride[a[3]];
  }
};

// Where a row or column of the result lies: (1 - t) of the way at `low`, t at `high`.
template <class T>
struct Tap {
  int64_t low, high;
  T t;
};
template <class T>
Tap<T> tap_of(int64_t place, int64_t factor, int64_t n, bool bilinear) {
  if (!bilinear) return {place / factor, place / factor, 0};
  const double at = (static_cast<double>(place) + 0.5) / static_cast<double>(factor) - 0.5;
  const double inside = std::clamp(at, 0.0, static_cast<double>(n - 1));
  const auto low = static_cast<int64_t>(inside);
  return {low, std::min(low + 1, n - 1), static_cast<T>(inside - static_cast<double>(low))};
}

// fn(i) for i < n, with a constant step of 1 where it is 1, so that the loop becomes vectors.
template <class F>
void along(int64_t n, int64_t step_x, int64_t step_y, const F& fn) {
  if (step_x == 1 && step_y == 1)
    for (int64_t i = 0; i < n; ++i) fn(i, i);
  else
    for (int64_t i = 0; i < n; ++i) fn(i * step_x, i * step_y);
}

// fn(row tap, p, column tap, q) for rows [begin, end) of a result of `width` columns.
template <class T, class F>
void for_pixels(const Upsample2d& how, const Layout& x, int64_t begin, int64_t end, const F& fn) {
  Tap<T> taps[BLOCK];
  for (int64_t first = 0; first < x.w * how.size[1]; first += BLOCK) {
    const int64_t count = std::min(BLOCK, x.w * how.size[1] - first);
    for (int64_t q = 0; q < count; ++q) taps[q] = tap_of<T>(first + q, how.size[1], x.w, how.bilinear);
    for (int64_t p = begin; p < end; ++p) {
      const Tap<T> row = tap_of<T>(p, how.size[0], x.h, how.bilinear);
      for (int64_t q = 0; q < count; ++q) fn(row, p, taps[q], first + q);
    }
  }
}

}  // namespace

void upsample2d(const View& x_, const Upsample2d& how, const View& y_) {
  const Layout x(x_, how.channels_first), y(y_, how.channels_first);
  visit_float(x_.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const int64_t grain = std::max<int64_t>(1, GRAIN / std::max<int64_t>(1, y.w * y.c));
    parallel_for(x.n * y.h, grain, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end;) {
        const int64_t n = row / y.h, first = row % y.h, last = std::min(y.h, first + end - row);
        const T* from = x_.as<T>() + n * x.sn;
        T* to = y_.as<T>() + n * y.sn;
        for_pixels<T>(how, x, first, last, [&](const Tap<T>& r, int64_t p, const Tap<T>& s, int64_t q) {
          const T *a = from + r.low * x.sh, *b = from + r.high * x.sh;
          T* pixel = to + p * y.sh + q * y.sw;
          if (r.t == 0 && s.t == 0)
            return along(x.c, x.sc, y.sc, [&](int64_t i, int64_t j) { pixel[j] = a[s.low * x.sw + i]; });
          along(x.c, x.sc, y.sc, [&](int64_t i, int64_t j) {
            const T left = a[s.low * x.sw + i] + r.t * (b[s.low * x.sw + i] - a[s.low * x.sw + i]);
            const T right = a[s.high * x.sw + i] + r.t * (b[s.high * x.sw + i] - a[s.high * x.sw + i]);
            pixel[j] = left + s.t * (right - left);
          });
        });
        row += last - first;
      }
    });
  });
}

void upsample2d_gradient(const View& dy_, const Upsample2d& how, const View& dx_) {
  const Layout dy(dy_, how.channels_first), dx(dx_, how.channels_first);
  visit_float(dy_.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    std::fill_n(dx_.as<T>(), dx_.size(), T(0));
    const int64_t grain = std::max<int64_t>(1, GRAIN / std::max<int64_t>(1, dy.h * dy.w * dy.c));
    parallel_for(dx.n, grain, [&](int64_t begin, int64_t end) {
      for (int64_t n = begin; n < end; ++n) {
        const T* from = dy_.as<T>() + n * dy.sn;
        T* to = dx_.as<T>() + n * dx.sn;
        for_pixels<T>(how, dx, 0, dy.h, [&](const Tap<T>& r, int64_t p, const Tap<T>& s, int64_t q) {
          const T* d = from + p * dy.sh + q * dy.sw;
          const auto add = [&](int64_t h, int64_t w, T share) {
            T* cell = to + h * dx.sh + w * dx.sw;
            if (share != 0) along(dx.c, dy.sc, dx.sc, [&](int64_t i, int64_t j) { cell[j] += share * d[i]; });
          };
          add(r.low, s.low, (1 - r.t) * (1 - s.t));
          add(r.low, s.high, (1 - r.t) * s.t);
          add(r.high, s.low, r.t * (1 - s.t));
          add(r.high, s.high, r.t * s.t);
        });
      }
    });
  });
}

}  // namespace nnfast
