// reduce: every result gathers the elements of x along the reduced axes. The axes are sorted by stride and merged, then
// the vectors run along the smallest stride: along reduced elements ("runs"), or across neighbouring results
// ("columns"). Elements are gathered in pieces of fixed size and the pieces in double precision with the rounding error
// carried along, so a sum of ten million float32 is as exact as its pieces, and does not depend on the threads.
#include <algorithm>
#include <cmath>
#include <limits>

#include "../ops.h"
#include "kernels.h"
#include "parallel.h"

namespace nnfast {
namespace {

constexpr int64_t RUN = 1024;        // elements per piece of a run
constexpr int64_t ROWS = 128;        // rows per piece of columns
constexpr int64_t COLUMNS = 1024;    // columns side by side: their totals stay in L1; long enough to prefetch
constexpr int64_t APART = 256;       // the same where they must be copied side by side first
constexpr int64_t RUN_SEGMENT = 64;  // pieces per segment; segments of one result may run on different threads
constexpr int64_t COLUMN_SEGMENT = 2;
constexpr int64_t PER_THREAD = 1 << 15;  // elements that are worth waking a thread for

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// A sum in two parts: what was lost to rounding is carried along (Knuth's two-sum). Other folds use `value` alone.
struct Total {
  double value, carry;
};
double identity(Fold fold) {
  if (fold == MAX) return -std::numeric_limits<double>::infinity();
  if (fold == MIN) return std::numeric_limits<double>::infinity();
  return fold == PROD || fold == PROD_NONZERO;
}
inline void add(double& value, double& carry, double part) {
  const double sum = value + part, shown = sum - value;
  carry += (value - (sum - shown)) + (part - shown);
  value = sum;
}
inline void join(Fold fold, double& value, double& carry, double part) {
  switch (fold) {
    case PROD:
    case PROD_NONZERO:
      value *= part;
      return;
    case MAX:
      value = part > value || std::isnan(part) ? part : value;
      return;
    case MIN:
      value = part < value || std::isnan(part) ? part : value;
      return;
    default:
      add(value, carry, part);
  }
}
void join(Fold fold, Total& total, const Total& part) {
  join(fold, total.value, total.carry, part.value);
  total.carry += part.carry;
}
double value_of(const Total& t) {
  const double exact = t.value + t.carry;
  return std::isfinite(exact) ? exact : t.value;  // beyond the largest number the carry is NaN
}

struct Dim {
  int64_t size = 1, x = 0, y = 0;  // strides in x and in the result
};
struct Dims {
  Dim dim[MAX_DIMS];
  int count = 0;
  int64_t size() const {
    int64_t n = 1;
    for (int i = 0; i < count; ++i) n *= dim[i].size;
    return n;
  }
  // Where entry `index` of all but the last dimension begins.
  Dim at(int64_t index) const {
    Dim where;
    for (int i = count - 2; i >= 0; --i) {
      const int64_t k = index % dim[i].size;
      index /= dim[i].size;
      where.x += k * dim[i].x;
      where.y += k * dim[i].y;
    }
    return where;
  }
  const Dim& last() const { return dim[count - 1]; }
  void add(const Dim& d) { dim[count++] = d; }
  // Largest stride first; neighbours that walk like one become one. At least one dimension remains.
  void sort_and_merge() {
    std::stable_sort(dim, dim + count, [](const Dim& a, const Dim& b) { return a.x > b.x; });
    int kept = 0;
    for (int i = 1; i < count; ++i) {
      Dim& outer = dim[kept];
      const Dim& inner = dim[i];
      if (outer.x == inner.x * inner.size && outer.y == inner.y * inner.size)
        outer = {outer.size * inner.size, inner.x, inner.y};
      else
        dim[++kept] = inner;
    }
    count = kept + 1;
  }
};

struct Plan {
  Dims kept, cut;
  int64_t x_begin = 0, y_begin = 0;
  int64_t results = 1, per_result = 1;
  bool columns = false;
  int64_t folded = 1;  // rows that lie side by side, because a row alone would not fill the vectors
  int64_t piece = 1, pieces_per_run = 1, pieces = 1, segment = 1, segments = 1;
};

Plan make_plan(const View& x, uint32_t axes) {
  Plan p;
  int64_t y_stride = 1;
  for (int i = x.ndim - 1; i >= 0; --i) {
    const bool cut = axes >> i & 1;
    Dim d{x.shape[i], x.stride[i], cut ? 0 : y_stride};
    if (!cut) y_stride *= d.size;
    (cut ? p.per_result : p.results) *= d.size;
    if (d.size == 1) continue;
    if (d.x < 0 && d.size > 0) {  // walk forwards: the order of the elements does not matter
      p.x_begin += (d.size - 1) * d.x;
      p.y_begin += (d.size - 1) * d.y;
      d.x = -d.x;
      d.y = -d.y;
    }
    (cut ? p.cut : p.kept).add(d);
  }
  if (p.kept.count == 0) p.kept.add({});
  if (p.cut.count == 0) p.cut.add({});
  if (p.results == 0 || p.per_result == 0) return p;
  p.kept.sort_and_merge();
  p.cut.sort_and_merge();
  const Dim &across = p.kept.last(), &along = p.cut.last();
  // A short run in a long row of results is better walked across, though its columns must be copied side by side first.
  const bool short_runs = p.per_result <= 16 && across.size >= 16;
  p.columns = across.size > 1 && (across.x < along.x || short_runs);
  if (p.columns && p.cut.count == 1 && across.x == 1 && along.x == across.size && across.size <= COLUMNS / 8)
    p.folded = std::max<int64_t>(1, std::min(COLUMNS / across.size, along.size / 8));
  p.piece = p.columns ? ROWS : RUN;
  p.pieces_per_run = ceil_div(along.size / p.folded, p.piece);
  p.pieces = p.cut.size() / along.size * p.pieces_per_run;
  p.segment = p.columns ? COLUMN_SEGMENT : RUN_SEGMENT;
  p.segments = ceil_div(p.pieces, p.segment);
  return p;
}

struct Piece {
  int64_t x, size;  // where it begins, and its elements (runs) or rows (columns)
};
Piece piece_at(const Plan& p, int64_t index) {
  const int64_t first = index % p.pieces_per_run * p.piece;
  const int64_t length = p.cut.last().size / p.folded;
  return {p.cut.at(index / p.pieces_per_run).x + first * p.cut.last().x * p.folded, std::min(p.piece, length - first)};
}

// Side by side, for the vectors.
template <class T>
const T* gathered(const T* x, int64_t n, int64_t step, T* buffer) {
  if (step == 1) return x;
  for (int64_t i = 0; i < n; ++i) buffer[i] = x[i * step];
  return buffer;
}

template <class T>
Total run_segment(const Plan& p, const T* x, Fold fold, double shift, int64_t segment) {
  const ReduceKernels<T>& k = kernels().reduce.get<T>();
  alignas(64) T buffer[RUN];
  Total total{identity(fold), 0};
  const int64_t step = p.cut.last().x;
  for (int64_t i = segment * p.segment; i < std::min(p.pieces, (segment + 1) * p.segment); ++i) {
    const Piece piece = piece_at(p, i);
    join(fold, total.value, total.carry,
         k.run[fold](gathered(x + piece.x, piece.size, step, buffer), piece.size, T(shift)));
  }
  return total;
}

// parts[result][segment], where there is more than one, in their order.
template <class Finish>
void join_segments(const Plan& p, Fold fold, const Total* parts, const Finish& finish) {
  for (int64_t r = 0; p.segments > 1 && r < p.results; ++r, parts += p.segments) {
    Total total = parts[0];
    for (int64_t s = 1; s < p.segments; ++s) join(fold, total, parts[s]);
    finish(r, value_of(total));
  }
}

// Results of one piece each, numbers [begin, end): most calls are such, of short rows, so nothing is divided or added
// up.
template <class T, class Finish>
void short_runs(const Plan& p, const T* x, Fold fold, const double* shifts, int64_t begin, int64_t end,
                const Finish& finish) {
  const auto run = kernels().reduce.get<T>().run[fold];
  const Dim &across = p.kept.last(), &along = p.cut.last();
  alignas(64) T buffer[RUN];
  while (begin < end) {
    const int64_t first = begin % across.size, count = std::min(end - begin, across.size - first);
    const Dim where = p.kept.at(begin / across.size);
    const T* from = x + p.x_begin + where.x + first * across.x;
    int64_t to = p.y_begin + where.y + first * across.y;
    for (int64_t i = 0; i < count; ++i, from += across.x, to += across.y)
      finish(to, static_cast<double>(
                     run(gathered(from, along.size, along.x, buffer), along.size, shifts ? T(shifts[to]) : T(0))));
    begin += count;
  }
}

// finish(result, total) is called once for each result.
template <class T, class Finish>
void reduce_runs(const Plan& p, const T* x, Fold fold, const double* shifts, Total* parts, const Finish& finish) {
  const Dim& across = p.kept.last();
  const auto place = [&](int64_t result) {
    Dim where = p.kept.at(result / across.size);
    where.x += result % across.size * across.x + p.x_begin;
    where.y += result % across.size * across.y + p.y_begin;
    return where;
  };
  const int64_t cost = std::min(p.per_result, RUN_SEGMENT * std::min(RUN, p.cut.last().size));
  parallel_for(p.results * p.segments, std::max<int64_t>(1, PER_THREAD / cost), [&](int64_t begin, int64_t end) {
    if (p.pieces == 1) return short_runs(p, x, fold, shifts, begin, end, finish);
    for (int64_t i = begin; i < end; ++i) {
      const Dim where = place(i / p.segments);
      const Total part = run_segment(p, x + where.x, fold, shifts ? shifts[where.y] : 0.0, i % p.segments);
      if (p.segments == 1)
        finish(where.y, value_of(part));
      else
        parts[where.y * p.segments + i % p.segments] = part;
    }
  });
  join_segments(p, fold, parts, finish);
}

// One strip of columns: n of them (times p.folded rows side by side), one segment of the rows.
template <class T>
struct Strip {
  alignas(64) T acc[COLUMNS];
  T shift[COLUMNS];
  alignas(64) T buffer[8 * APART];
  double value[COLUMNS], carry[COLUMNS];
  Fold fold;
  int64_t n;

  void start(Fold f, int64_t width) {
    fold = f;
    n = width;
    std::fill_n(value, n, identity(f));
    std::fill_n(carry, n, 0.0);
  }
  void gather(const T* x, int64_t rows, int64_t row_step, int64_t width, int64_t step, const T* shifts) {
    const ReduceKernels<T>& k = kernels().reduce.get<T>();
    std::fill_n(acc, width, T(identity(fold)));
    if (step == 1) {
      k.columns[fold](acc, x, rows, row_step, width, shifts);
    } else {
      for (int64_t r = 0; r < rows; r += 8) {
        const int64_t some = std::min<int64_t>(8, rows - r);
        for (int64_t i = 0; i < some; ++i) gathered(x + (r + i) * row_step, width, step, buffer + i * APART);
        k.columns[fold](acc, buffer, some, APART, width, shifts);
      }
    }
    if (fold == SUM)  // a loop of its own, which the compiler turns into vectors
      for (int64_t j = 0; j < width; ++j) add(value[j], carry[j], acc[j]);
    else
      for (int64_t j = 0; j < width; ++j) join(fold, value[j], carry[j], acc[j]);
  }
  // The first `count` columns take in those from `from` on.
  void join_columns(int64_t from, int64_t count) {
    double *v = value + from, *c = carry + from;
    if (fold == SUM)
      for (int64_t j = 0; j < count; ++j) add(value[j], carry[j], v[j]);
    else
      for (int64_t j = 0; j < count; ++j) join(fold, value[j], carry[j], v[j]);
    for (int64_t j = 0; j < count; ++j) carry[j] += c[j];
  }
};

template <class T, class Finish>
void reduce_columns(const Plan& p, const T* x, Fold fold, const double* shifts, Total* parts, const Finish& finish) {
  const Dim &across = p.kept.last(), &along = p.cut.last();
  const int64_t width = across.x == 1 ? COLUMNS : APART, strips = ceil_div(across.size, width);
  const int64_t outer = p.kept.size() / across.size;
  const int64_t cost = std::min(p.per_result, COLUMN_SEGMENT * ROWS * p.folded) * std::min(across.size, width);
  parallel_for(outer * strips * p.segments, std::max<int64_t>(1, PER_THREAD / cost), [&](int64_t begin, int64_t end) {
    Strip<T> strip;
    for (int64_t i = begin; i < end; ++i) {
      const int64_t segment = i % p.segments, first = i / p.segments % strips * width;
      const Dim where = p.kept.at(i / p.segments / strips);
      const int64_t n = std::min(width, across.size - first);
      const T* from = x + where.x + p.x_begin + first * across.x;
      const int64_t to = where.y + p.y_begin + first * across.y;
      strip.start(fold, n * p.folded);
      if (shifts)
        for (int64_t j = 0; j < strip.n; ++j) strip.shift[j] = T(shifts[to + j % n * across.y]);
      const T* shift = shifts ? strip.shift : nullptr;
      for (int64_t k = segment * p.segment; k < std::min(p.pieces, (segment + 1) * p.segment); ++k) {
        const Piece piece = piece_at(p, k);
        strip.gather(from + piece.x, piece.size, along.x * p.folded, strip.n, across.x, shift);
      }
      const int64_t left = along.size % p.folded;  // rows that did not fill a folded one
      if (left && segment == 0) strip.gather(from + (along.size - left) * along.x, left, along.x, n, 1, shift);
      for (int64_t f = 1; f < p.folded; ++f) strip.join_columns(f * n, n);
      for (int64_t j = 0; j < n; ++j) {
        const Total total{strip.value[j], strip.carry[j]};
        if (p.segments == 1)
          finish(to + j * across.y, value_of(total));
        else
          parts[(to + j * across.y) * p.segments + segment] = total;
      }
    }
  });
  join_segments(p, fold, parts, finish);
}

template <class T, class Finish>
void gather(const Plan& p, const T* x, Fold fold, const double* shifts, Total* parts, const Finish& finish) {
  if (p.per_result == 0) {
    for (int64_t r = 0; r < p.results; ++r) finish(r, identity(fold));
  } else if (p.results == 0) {
    return;
  } else if (p.columns) {
    reduce_columns(p, x, fold, shifts, parts, finish);
  } else {
    reduce_runs(p, x, fold, shifts, parts, finish);
  }
}

// Scratch: the parts of results that are gathered in several segments, then per result a number of the first pass.
struct Scratch {
  Total* parts;
  double *first, *second;
};
int64_t parts_of(const Plan& p) { return p.segments > 1 ? p.results * p.segments : 0; }
Scratch divide(const Plan& p, void* scratch) {
  auto* parts = static_cast<Total*>(scratch);
  auto* first = reinterpret_cast<double*>(parts + parts_of(p));
  return {parts, first, first + p.results};
}
size_t scratch_bytes(const Plan& p, int numbers) {
  return static_cast<size_t>(parts_of(p)) * sizeof(Total) + static_cast<size_t>(numbers * p.results) * sizeof(double);
}

template <class T>
void reduce_float(const View& x, uint32_t axes, Reduction reduction, T* y, void* scratch) {
  const Plan p = make_plan(x, axes);
  const T* from = x.as<T>();
  const auto [parts, first, second] = divide(p, scratch);
  const auto count = static_cast<double>(p.per_result);
  const auto plain = [&](Fold fold) {
    gather(p, from, fold, nullptr, parts, [=](int64_t r, double v) { y[r] = T(v); });
  };
  switch (reduction) {
    case Reduction::sum:
      return plain(SUM);
    case Reduction::prod:
      return plain(PROD);
    case Reduction::max:
      return plain(MAX);
    case Reduction::min:
      return plain(MIN);
    case Reduction::mean:
      return gather(p, from, SUM, nullptr, parts, [=](int64_t r, double v) { y[r] = T(v / count); });
    case Reduction::var:
      gather(p, from, SUM, nullptr, parts, [=, first = first](int64_t r, double v) { first[r] = v / count; });
      return gather(p, from, SQUARES, first, parts, [=](int64_t r, double v) { y[r] = T(v / count); });
    case Reduction::logsumexp:
      gather(p, from, MAX, nullptr, parts,
             [=, first = first](int64_t r, double v) { first[r] = std::isinf(v) ? 0.0 : v; });
      return gather(p, from, EXP, first, parts,
                    [=, first = first](int64_t r, double v) { y[r] = T(std::log(v) + first[r]); });
  }
}

// The elements of x that go into result r begin here; the result is contiguous and has the kept dimensions of x.
int64_t begin_of(const View& x, uint32_t axes, int64_t r) {
  int64_t at = 0;
  for (int i = x.ndim - 1; i >= 0; --i) {
    if (axes >> i & 1) continue;
    at += r % x.shape[i] * x.stride[i];
    r /= x.shape[i];
  }
  return at;
}

// Where the first `best` (or NaN) stands along one axis. `from`: it is not before this element.
template <class T>
int64_t find_along(const T* x, int64_t from, int64_t n, int64_t step, T best) {
  alignas(64) T buffer[RUN];
  const ReduceKernels<T>& k = kernels().reduce.get<T>();
  for (int64_t i = from; i < n; i += RUN) {
    const int64_t some = std::min(RUN, n - i), at = k.find(gathered(x + i * step, some, step, buffer), some, best);
    if (at < some) return i + at;
  }
  return n - 1;  // never: best is one of them
}

// The same for n columns side by side, row by row.
template <class T>
void find_in_columns(const T* x, int64_t rows, int64_t row_step, int64_t n, int64_t step, const double* best,
                     int64_t* y) {
  T wanted[COLUMNS];
  for (int64_t j = 0; j < n; ++j) wanted[j] = T(best[j]);
  std::fill_n(y, n, int64_t{-1});
  for (int64_t r = 0, missing = n; missing > 0 && r < rows; ++r, x += row_step)
    for (int64_t j = 0; j < n; ++j) {
      const T v = x[j * step];
      if ((v == wanted[j] || std::isnan(v)) && y[j] < 0) {
        y[j] = r;
        --missing;
      }
    }
}

template <class T>
void arg_float(const View& x, int axis, bool largest, int64_t* y, void* scratch) {
  const uint32_t axes = 1u << axis;
  const Plan p = make_plan(x, axes);
  if (p.results == 0) return;
  const auto [parts, best, second] = divide(p, scratch);
  const int64_t n = x.shape[axis], step = x.stride[axis], last = x.ndim - 1;
  const bool at_once = !p.columns && p.segments == 1;  // look for it while the run is in the cache
  gather(p, x.as<T>(), largest ? MAX : MIN, nullptr, parts, [=, &x, best = best](int64_t r, double v) {
    best[r] = v;
    if (at_once) y[r] = find_along(x.as<T>() + begin_of(x, axes, r), 0, n, step, T(v));
  });
  if (at_once) return;
  const bool in_columns = axis != last && x.shape[last] > 1;
  const int64_t width = in_columns ? std::min(COLUMNS, x.shape[last]) : 1;
  const int64_t row = in_columns ? x.shape[last] : 1, strips = ceil_div(row, width);
  const bool in_segments = p.segments > 1 && !p.columns && step > 0;
  parallel_for(p.results / row * strips, std::max<int64_t>(1, PER_THREAD / (n * width)),
               [&, parts = parts, best = best](int64_t begin, int64_t end) {
                 for (int64_t i = begin; i < end; ++i) {
                   const int64_t first = i % strips * width, r = i / strips * row + first;
                   const T* from = x.as<T>() + begin_of(x, axes, r);
                   if (in_columns) {
                     find_in_columns(from, n, step, std::min(width, row - first), x.stride[last], best + r, y + r);
                     continue;
                   }
                   int64_t segment = 0;  // the first that holds it
                   const auto holds = [&](double v) { return v == best[r] || std::isnan(v); };
                   while (in_segments && !holds(parts[r * p.segments + segment].value)) ++segment;
                   y[r] = find_along(from, segment * p.segment * RUN, n, step, T(best[r]));
                 }
               });
}

template <class T>
void arg_integers(const View& x, int axis, bool largest, int64_t* y) {
  const uint32_t axes = 1u << axis;
  const int64_t n = x.shape[axis], step = x.stride[axis], results = n ? x.size() / n : 0;
  parallel_for(results, std::max<int64_t>(1, PER_THREAD / std::max<int64_t>(1, n)), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const T* from = x.as<T>() + begin_of(x, axes, r);
      int64_t best = 0;
      for (int64_t i = 1; i < n; ++i)
        if (largest ? from[i * step] > from[best * step] : from[i * step] < from[best * step]) best = i;
      y[r] = best;
    }
  });
}

// A contiguous copy of dy, which has the shape of the result with the reduced axes as size 1.
template <class T>
void flatten(const View& dy, T* to) {
  const int64_t n = dy.size();
  for (int64_t r = 0; r < n; ++r) to[r] = dy.as<T>()[begin_of(dy, 0, r)];
}

// dx from x and two numbers per result.
template <class T>
void share_out(const View& x, uint32_t axes, Share share, const T* a, const T* b, T* dx) {
  Dims dims;  // in the order of memory of dx
  int64_t y_stride = 1;
  for (int i = x.ndim - 1; i >= 0; --i) {
    const bool cut = axes >> i & 1;
    const Dim d{x.shape[i], x.stride[i], cut ? 0 : y_stride};
    if (!cut) y_stride *= d.size;
    if (d.size == 1) continue;
    Dim* inner = dims.count ? &dims.dim[dims.count - 1] : nullptr;
    if (inner && d.x == inner->x * inner->size && d.y == inner->y * inner->size)
      inner->size *= d.size;
    else
      dims.add(d);
  }
  if (dims.count == 0) dims.add({});
  std::reverse(dims.dim, dims.dim + dims.count);
  const Dim last = dims.last();
  if (dims.size() == 0) return;
  const ReduceKernels<T>& k = kernels().reduce.get<T>();
  const int64_t pieces = ceil_div(last.size, RUN), rows = dims.size() / last.size;
  const int64_t grain = std::max<int64_t>(1, PER_THREAD / std::min(last.size, RUN));
  parallel_for(rows * pieces, grain, [&](int64_t begin, int64_t end) {
    alignas(64) T buffer[RUN];
    for (int64_t i = begin; i < end; ++i) {
      const Dim where = dims.at(i / pieces);
      const int64_t first = i % pieces * RUN, n = std::min(RUN, last.size - first), r = where.y + first * last.y;
      const T* from = gathered(x.as<T>() + where.x + first * last.x, n, last.x, buffer);
      k.share[share](dx + i / pieces * last.size + first, from, n, a + r, b + r, last.y != 0);
    }
  });
}

template <class T>
void gradient(const View& dy, const View& x, const View& y, uint32_t axes, Reduction reduction, T* dx, void* scratch) {
  const Plan p = make_plan(x, axes);
  const T* from = x.as<T>();
  const auto [parts, first, second] = divide(p, scratch);
  T *a = reinterpret_cast<T*>(second + p.results), *b = a + p.results;
  const auto count = static_cast<double>(p.per_result);
  flatten(dy, b);
  switch (reduction) {
    case Reduction::prod:
      gather(p, from, PROD_NONZERO, nullptr, parts, [=, first = first](int64_t r, double v) { first[r] = v; });
      for (int64_t r = 0; r < p.results; ++r) a[r] = T(b[r] * first[r]);
      std::fill_n(second, p.results, 0.0);
      gather(p, from, EQUAL, second, parts, [=](int64_t r, double v) { b[r] = T(v); });
      return share_out(x, axes, SHARE_PROD, a, b, dx);
    case Reduction::var:
      gather(p, from, SUM, nullptr, parts, [=](int64_t r, double v) { a[r] = T(v / count); });
      for (int64_t r = 0; r < p.results; ++r) b[r] = T(2 * double(b[r]) / count);
      return share_out(x, axes, SHARE_VAR, a, b, dx);
    case Reduction::logsumexp:
      flatten(y, a);
      return share_out(x, axes, SHARE_EXP, a, b, dx);
    default:  // max, min
      flatten(y, a);
      for (int64_t r = 0; r < p.results; ++r) second[r] = a[r];
      gather(p, from, EQUAL, second, parts, [=, first = first](int64_t r, double v) { first[r] = v; });
      for (int64_t r = 0; r < p.results; ++r) b[r] = T(b[r] / first[r]);
      return share_out(x, axes, SHARE_EQUAL, a, b, dx);
  }
}

// Integers and bool: exact, one by one, in 64 bits that wrap round.
template <class T>
void reduce_integers(const View& x, uint32_t axes, Reduction reduction, T* y) {
  const Plan p = make_plan(x, axes);
  if (p.results == 0) return;
  const Dim &across = p.kept.last(), &along = p.cut.last();
  const int64_t cost = std::max<int64_t>(1, p.per_result);
  parallel_for(p.results, std::max<int64_t>(1, PER_THREAD / cost), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const Dim where = p.kept.at(r / across.size);
      const T* from = x.as<T>() + where.x + p.x_begin + r % across.size * across.x;
      T* to = y + where.y + p.y_begin + r % across.size * across.y;
      uint64_t total = reduction == Reduction::prod;
      T best = p.per_result ? *from : T(0);
      for (int64_t i = 0; p.per_result && i < p.per_result / along.size; ++i) {
        const T* run = from + p.cut.at(i).x;
        for (int64_t j = 0; j < along.size; ++j) {
          const T v = run[j * along.x];
          if (reduction == Reduction::sum) total += static_cast<uint64_t>(v);
          if (reduction == Reduction::prod) total *= static_cast<uint64_t>(v);
          if (reduction == Reduction::max ? v > best : v < best) best = v;
        }
      }
      const bool extreme = reduction == Reduction::max || reduction == Reduction::min;
      *to = extreme ? best : static_cast<T>(total);
    }
  });
}
}  // namespace

size_t reduce_scratch(const View& x, uint32_t axes, Reduction reduction) {
  const bool two_passes = reduction == Reduction::var || reduction == Reduction::logsumexp;
  return scratch_bytes(make_plan(x, axes), two_passes);
}

void reduce(const View& x, uint32_t axes, Reduction reduction, const View& y, void* scratch) {
  visit_dtype(x.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    if constexpr (std::is_floating_point_v<T>)
      reduce_float(x, axes, reduction, y.as<T>(), scratch);
    else
      reduce_integers(x, axes, reduction, y.as<T>());
  });
}

size_t arg_reduce_scratch(const View& x, int axis) { return scratch_bytes(make_plan(x, 1u << axis), 1); }

void arg_reduce(const View& x, int axis, bool largest, const View& y, void* scratch) {
  visit_dtype(x.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    if constexpr (std::is_floating_point_v<T>)
      arg_float<T>(x, axis, largest, y.as<int64_t>(), scratch);
    else
      arg_integers<T>(x, axis, largest, y.as<int64_t>());
  });
}

size_t reduce_gradient_scratch(const View& x, uint32_t axes) { return scratch_bytes(make_plan(x, axes), 4); }

void reduce_gradient(const View& dy, const View& x, const View& y, uint32_t axes, Reduction reduction, const View& dx,
                     void* scratch) {
  visit_float(x.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    gradient(dy, x, y, axes, reduction, dx.as<T>(), scratch);
  });
}

}  // namespace nnfast
