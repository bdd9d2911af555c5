// softmax along one axis: rows, if the axis is the last, else columns side by side. x in any other layout is copied to
// the result first, and the kernel runs in place. Subnormals are flushed: exp() of a distant logit makes them, and each
// would cost a hundred cycles.
#include <algorithm>

#include "../ops.h"
#include "kernels.h"
#include "parallel.h"

namespace nnfast {
namespace {

constexpr int64_t PER_THREAD = 1 << 13;  // elements that are worth waking a thread for

// A contiguous array around its axis: [outer, n, inner].
struct Around {
  int64_t outer = 1, n, inner = 1;
  Around(const View& v, int axis) : n(v.shape[axis]) {
    for (int i = 0; i < axis; ++i) outer *= v.shape[i];
    for (int i = axis + 1; i < v.ndim; ++i) inner *= v.shape[i];
  }
};

// row(offset) for each row, or columns(offset, n) for each strip of columns.
template <class Row, class Columns>
void along(const Around& a, const Row& row, const Columns& columns) {
  if (a.outer * a.n * a.inner == 0) return;
  if (a.inner == 1) {
    parallel_for_flushed(a.outer, std::max<int64_t>(1, PER_THREAD / a.n), [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) row(r * a.n);
    });
    return;
  }
  const int64_t width = std::min<int64_t>(SOFTMAX_COLUMNS, a.inner), strips = (a.inner + width - 1) / width;
  parallel_for_flushed(a.outer * strips, std::max<int64_t>(1, PER_THREAD / (a.n * width)),
                       [&](int64_t begin, int64_t end) {
                         for (int64_t i = begin; i < end; ++i) {
                           const int64_t first = i % strips * width;
                           columns(i / strips * a.n * a.inner + first, std::min(width, a.inner - first));
                         }
                       });
}

}  // namespace

void softmax(const View& x, int axis, bool logarithm, const View& y) {
  if (!x.contiguous()) copy(x, y);
  visit_float(x.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const SoftmaxKernels<T>& k = kernels().softmax.get<T>();
    const T* from = (x.contiguous() ? x : y).as<T>();
    T* to = y.as<T>();
    const Around a(y, axis);
    along(
        a, [=](int64_t at) { k.row[logarithm](from + at, to + at, a.n); },
        [=](int64_t at, int64_t n) { k.columns[logarithm](from + at, to + at, a.n, a.inner, n); });
  });
}

size_t softmax_gradient_scratch(const View& y) {
  return y.contiguous() ? 0 : static_cast<size_t>(y.size()) * (y.dtype == DType::float64 ? 8 : 4);
}

void softmax_gradient(const View& dy, const View& y, int axis, bool logarithm, const View& dx, void* scratch) {
  if (!dy.contiguous()) copy(dy, dx);
  View dense = y;
  if (!y.contiguous()) {
    dense = dx;
    dense.data = scratch;
    copy(y, dense);
  }
  visit_float(y.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const SoftmaxKernels<T>& k = kernels().softmax.get<T>();
    const T *from = (dy.contiguous() ? dy : dx).as<T>(), *result = dense.as<T>();
    T* to = dx.as<T>();
    const Around a(dx, axis);
    along(
        a, [=](int64_t at) { k.row_gradient[logarithm](from + at, result + at, to + at, a.n); },
        [=](int64_t at, int64_t n) {
          k.columns_gradient[logarithm](from + at, result + at, to + at, a.n, a.inner, n);
        });
  });
}

}  // namespace nnfast
