// bias_activation_gradient: one pass over dy that gives dz and, in a fixed order, the sums for the bias.
#include <algorithm>

#include "../ops.h"
#include "kernels.h"
#include "parallel.h"

namespace nnfast {
namespace {

constexpr int64_t CHUNK = 1 << 15;  // elements that one thread takes at a time
constexpr int64_t LEAST_ROWS = 32;  // of a chunk, which bounds the number of partial sums
constexpr int64_t LINE = 256;       // elements gathered at once where the last stride is not 1

int64_t grain_of(int64_t channels) { return std::max(LEAST_ROWS, CHUNK / std::max<int64_t>(channels, 1)); }

// dy, y and dz over the same dimensions: without those of size 1, neighbours merged where all three allow it, the axis
// kept apart.
struct Layout {
  int ndim = 0, axis = 0;
  int64_t shape[MAX_DIMS + 1] = {}, dy[MAX_DIMS + 1] = {}, y[MAX_DIMS + 1] = {}, dz[MAX_DIMS + 1] = {};
  int64_t before = 1, channels = 1, after = 1;

  Layout(const View& dy_, const View& y_, const View& dz_, int axis_) {
    for (int d = 0; d < dy_.ndim; ++d) {
      const int64_t n = dy_.shape[d];
      (d < axis_ ? before : d > axis_ ? after : channels) *= n;
      if (n == 1 && d != axis_) continue;
      const int64_t steps[] = {dy_.stride[d], y_.given() ? y_.stride[d] : 0, dz_.given() ? dz_.stride[d] : 0};
      const int p = ndim - 1;  // may it be merged into the one before?
      if (p >= 0 && d != axis_ && !(d > axis_ && p == axis) && dy[p] == n * steps[0] && y[p] == n * steps[1] &&
          dz[p] == n * steps[2]) {
        shape[p] *= n;
        dy[p] = steps[0], y[p] = steps[1], dz[p] = steps[2];
        continue;
      }
      if (d == axis_) axis = ndim;
      shape[ndim] = n;
      dy[ndim] = steps[0], y[ndim] = steps[1], dz[ndim] = steps[2];
      ++ndim;
    }
  }
  // Offset of line `index` (all dimensions in [first, end), in order) by the strides of one of the three.
  int64_t offset(const int64_t* strides, int first, int end, int64_t index) const {
    int64_t at = 0;
    for (int d = end - 1; d >= first; --d) {
      at += index % shape[d] * strides[d];
      index /= shape[d];
    }
    return at;
  }
};

template <class T>
struct Work {
  const GemmKernels<T>& kernel;
  const Layout& l;
  const T *dy, *y;
  T* dz;
  int activation;
  T slope;

  // Calls fn(dy, y, dz, n, j) for pieces of one line, gathered if their elements do not lie side by side.
  template <class F>
  void pieces(const T* from, const T* at, T* to, const F& fn) const {
    const int last = l.ndim - 1;
    const int64_t n = l.shape[last];
    const bool gather_dy = l.dy[last] != 1 && n > 1, gather_y = at && l.y[last] != 1 && n > 1;
    if (!gather_dy && !gather_y) return fn(from, at ? at : from, to, n, int64_t{0});
    T line_dy[LINE], line_y[LINE];
    for (int64_t j = 0; j < n; j += LINE) {
      const int64_t count = std::min(LINE, n - j);
      for (int64_t i = 0; i < count; ++i) line_dy[i] = from[(j + i) * l.dy[last]];
      if (at)
        for (int64_t i = 0; i < count; ++i) line_y[i] = at[(j + i) * l.y[last]];
      fn(line_dy, at ? line_y : line_dy, to ? to + j : nullptr, count, j);
    }
  }

  // Rows [begin, end) of (before, channels), the channels last.
  void rows(int64_t begin, int64_t end, T* sum) const {
    const int last = l.ndim - 1;
    const bool plain = l.ndim <= 2 && (l.shape[last] == 1 || (l.dy[last] == 1 && (!y || l.y[last] == 1)));
    for (int64_t r = begin; r < end; r += plain ? end - begin : 1) {
      const T* from = dy + l.offset(l.dy, 0, l.axis, r);
      const T* at = y ? y + l.offset(l.y, 0, l.axis, r) : nullptr;
      T* to = dz ? dz + l.offset(l.dz, 0, l.axis, r) : nullptr;
      if (plain)
        kernel.backward(end - begin, l.channels, from, l.dy[0], at ? at : from, at ? l.y[0] : l.dy[0], to, l.dz[0],
                        activation, slope, sum);
      else
        pieces(from, at, to, [&](const T* d, const T* s, T* z, int64_t n, int64_t j) {
          kernel.backward(1, n, d, 0, s, 0, z, 0, activation, slope, sum ? sum + j : nullptr);
        });
    }
  }

  // All of entry o of (before, channels, after): sums[channels].
  void planes(int64_t o, T* sums) const {
    const int64_t lines = l.after / l.shape[l.ndim - 1];
    for (int64_t c = 0; c < l.channels; ++c) {
      T total = 0;
      for (int64_t i = 0; i < lines; ++i) {
        const auto offset = [&](const int64_t* strides) {
          return l.offset(strides, 0, l.axis, o) + c * strides[l.axis] + l.offset(strides, l.axis + 1, l.ndim - 1, i);
        };
        pieces(dy + offset(l.dy), y ? y + offset(l.y) : nullptr, dz ? dz + offset(l.dz) : nullptr,
               [&](const T* d, const T* s, T* z, int64_t n, int64_t) {
                 total += kernel.backward_row(n, d, s, z, activation, slope);
               });
      }
      if (sums) sums[c] = total;
    }
  }
};
}  // namespace

size_t bias_activation_gradient_scratch(const View& dy, int axis) {
  const Layout l(dy, View{}, View{}, axis);
  const int64_t partial = l.after == 1 ? l.before / LEAST_ROWS + 1 : l.before;
  return static_cast<size_t>(partial * l.channels) * (dy.dtype == DType::float64 ? sizeof(double) : sizeof(float));
}

void bias_activation_gradient(const View& dy, const View& y, Activation activation, double slope, int axis,
                              const View& dz, const View& db, void* scratch) {
  const Layout l(dy, y, dz, axis);
  visit_float(dy.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const Work<T> work{kernels().gemm.get<T>(),
                       l,
                       dy.as<T>(),
                       y.given() ? y.as<T>() : nullptr,
                       dz.given() ? dz.as<T>() : nullptr,
                       static_cast<int>(activation),
                       static_cast<T>(slope)};
    T* partial = db.given() ? static_cast<T*>(scratch) : nullptr;
    const bool last = l.after == 1;  // the channels are the last dimension
    const int64_t grain =
        last ? grain_of(l.channels) : std::max<int64_t>(1, CHUNK / std::max<int64_t>(1, l.channels * l.after));
    if (dy.size() > 0)
      parallel_for_flushed(l.before, grain, [&](int64_t begin, int64_t end) {
        if (last) {
          T* sum = partial ? partial + begin / grain * l.channels : nullptr;
          if (sum) std::fill_n(sum, l.channels, T(0));
          return work.rows(begin, end, sum);
        }
        for (int64_t o = begin; o < end; ++o) work.planes(o, partial ? partial + o * l.channels : nullptr);
      });
    if (!db.given()) return;
    std::fill_n(db.as<T>(), l.channels, T(0));
    if (dy.size() == 0) return;
    const int64_t count = last ? (l.before - 1) / grain + 1 : l.before;
    work.kernel.backward(count, l.channels, partial, l.channels, partial, l.channels, nullptr, 0, 0, 0, db.as<T>());
  });
}

}  // namespace nnfast
