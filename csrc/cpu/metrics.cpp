// What a step writes at its end: metric sums, counters, and the check that its loss is a number.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "../ops.h"
#include "parallel.h"
#include "status.h"
#include "walk.h"

namespace nnfast {
namespace {

constexpr int64_t GRAIN = 1 << 15, MOST_CHUNKS = 64;

struct Sums {
  double values = 0, weights = 0;
};

template <class T, class W>
Sums add_row(const T* v, int64_t v_step, const W* w, int64_t w_step, int64_t n) {
  Sums s;
  for (int64_t i = 0; i < n; ++i) {
    const double weight = static_cast<double>(w[i * w_step]);
    s.values += static_cast<double>(v[i * v_step]) * weight;
    s.weights += weight;
  }
  return s;
}

// Both sums, of chunks that depend on the size alone, added up in order.
template <class T, class W>
Sums add_all(const View& values, const View& weights) {
  const Walk w = walk(values, weights);
  const int64_t length = w.shape[w.ndim - 1], rows = w.rows();
  const int64_t pieces = std::min(MOST_CHUNKS, (length + GRAIN - 1) / GRAIN);
  const int64_t piece = (length + pieces - 1) / pieces;
  Sums part[MOST_CHUNKS], total;
  for_rows(w, 0, rows, [&](int64_t v, int64_t u) {
    parallel_for(length, piece, [&](int64_t begin, int64_t end) {
      part[begin / piece] = add_row(values.as<T>() + v + begin * w.from[w.ndim - 1], w.from[w.ndim - 1],
                                    weights.as<W>() + u + begin * w.to[w.ndim - 1], w.to[w.ndim - 1], end - begin);
    });
    for (int64_t i = 0; i * piece < length; ++i) {
      total.values += part[i].values;
      total.weights += part[i].weights;
    }
  });
  return total;
}

// Is `label` the first largest of the row? As NumPy's argmax, with which the first NaN wins.
template <class T>
bool is_hit(const T* row, int64_t step, int64_t classes, int64_t label) {
  const T value = row[label * step];
  bool beaten = false;
  if (value != value) {
    for (int64_t c = 0; c < label; ++c) beaten |= row[c * step] != row[c * step];
  } else {
    for (int64_t c = 0; c < label; ++c) beaten |= !(row[c * step] < value);
    for (int64_t c = label + 1; c < classes; ++c) beaten |= !(row[c * step] <= value);
  }
  return !beaten;
}

// Offset of element `index` in C order of the first ndim dimensions.
int64_t offset_of(const View& v, int ndim, int64_t index) {
  int64_t at = 0;
  for (int d = ndim - 1; d > 0; --d) {
    at += index % v.shape[d] * v.stride[d];
    index /= v.shape[d];
  }
  return ndim ? at + index * v.stride[0] : 0;
}

template <class T, class L>
void find_hits(const View& x, const View& labels, const View& y) {
  const int last = x.ndim - 1;
  const int64_t classes = x.shape[last];
  parallel_for(y.size(), std::max<int64_t>(1, GRAIN / classes), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const L label = labels.as<L>()[offset_of(labels, last, r)];
      const bool known = label >= L(0) && static_cast<double>(label) < static_cast<double>(classes) &&
                         static_cast<L>(static_cast<int64_t>(label)) == label;
      const T* row = x.as<T>() + offset_of(x, last, r);
      y.as<bool>()[r] = known && is_hit(row, x.stride[last], classes, static_cast<int64_t>(label));
    }
  });
}

// Position, in C order of x, of the first element of [begin, end) that is NaN or Inf, or `end`.
template <class T>
int64_t first_bad(const T* x, int64_t step, int64_t begin, int64_t end) {
  constexpr int64_t BLOCK = 256;
  for (int64_t i = begin; i < end; i += BLOCK) {
    const int64_t stop = std::min(end, i + BLOCK);
    T zero = 0;  // stays 0 while all are finite: Inf - Inf and NaN - NaN are NaN
    for (int64_t j = i; j < stop; ++j) zero += x[j * step] - x[j * step];
    if (zero == 0) continue;
    for (int64_t j = i; j < stop; ++j)
      if (!std::isfinite(x[j * step])) return j;
  }
  return end;
}

}  // namespace

void accumulate(const View& sums, const View& values, const View& weights, double scale, const Status* status) {
  if (stopped(status)) return;
  static constexpr double one = 1;
  View each = weights;
  if (!weights.given()) {
    each = values;
    each.data = const_cast<double*>(&one);
    each.dtype = DType::float64;
    std::fill(each.stride, each.stride + MAX_DIMS, 0);
  }
  Sums s;
  if (values.size())
    visit_dtype(values.dtype, [&](auto v) {
      visit_float(each.dtype,
                  [&](auto w) { s = add_all<typename decltype(v)::type, typename decltype(w)::type>(values, each); });
    });
  sums.as<double>()[0] += scale * s.values;
  sums.as<double>()[sums.stride[0]] += scale * s.weights;
}

void class_hits(const View& x, const View& labels, const View& y) {
  if (y.size() == 0) return;
  visit_float(x.dtype, [&](auto t) {
    visit_dtype(labels.dtype,
                [&](auto l) { find_hits<typename decltype(t)::type, typename decltype(l)::type>(x, labels, y); });
  });
}

void advance(const View& counter, int64_t amount, const Status* status) {
  if (stopped(status) || counter.size() == 0) return;
  const Walk w = walk(counter, counter);
  for_rows(w, 0, w.rows(), [&](int64_t from, int64_t) {
    int64_t* row = counter.as<int64_t>() + from;
    for (int64_t i = 0; i < w.shape[w.ndim - 1]; ++i) row[i * w.from[w.ndim - 1]] += amount;
  });
}

void check_finite(const View& x, Status* status) {
  if (x.size() == 0) return;
  const Walk w = walk_in_order(x);
  const int64_t length = w.shape[w.ndim - 1], step = w.from[w.ndim - 1];
  visit_float(x.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    Lowest bad;
    parallel_for(w.rows(), std::max<int64_t>(1, GRAIN / length), [&](int64_t begin, int64_t end) {
      for_rows(w, begin, end, [&](int64_t from, int64_t position) {
        parallel_for(length, GRAIN, [&](int64_t a, int64_t b) {
          const int64_t i = first_bad(x.as<T>() + from, step, a, b);
          if (i < b) bad.add(position + i);
        });
      });
    });
    if (!bad.found()) return;
    for_rows(w, bad.at() / length, bad.at() / length + 1, [&](int64_t from, int64_t) {
      const double found = x.as<T>()[from + bad.at() % length * step];
      int64_t bits;
      std::memcpy(&bits, &found, sizeof bits);
      report(status, NON_FINITE_LOSS, bad.at(), bits);
    });
  });
}

}  // namespace nnfast
