// batch_norm and layer_norm. Statistics are gathered in pieces that stay in the cache, each with its own mean and its
// squared distances from it, and the pieces are joined in double precision (Chan, Golub, LeVeque 1979): x is read from
// memory once for its statistics, and a large mean costs no digits. A second pass over x writes y. An operand that is
// not contiguous is copied first.
#include <algorithm>
#include <cmath>

#include "../ops.h"
#include "kernels.h"
#include "parallel.h"
#include "slots.h"
#include "status.h"
#include "walk.h"

namespace nnfast {
namespace {

constexpr int64_t CHUNK = 1 << 15;        // elements that are worth waking a thread for
constexpr int64_t BLOCK = 1 << 16;        // elements of one task of the first pass
constexpr int64_t MOST_BLOCKS = 256;      // of tasks per channel: bounds the scratch
constexpr int64_t STRIP = 512;            // columns side by side: their totals stay in L1
constexpr int64_t WIDE = 256;             // a row so wide keeps the vectors busy
constexpr int64_t LEAST_RUN = 64;         // elements that are worth calls of their own
constexpr int64_t PIECE = 1 << 12;        // of a run, gathered at once
constexpr int64_t STRIP_PIECE = 1 << 14;  // the same of a strip
constexpr int64_t FLUSH = 64;             // rows of layer_norm whose gradients are added up before they meet the totals

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

template <class T>
const T* dense(const View& v, Arena& arena) {  // v in C order
  if (!v.given()) return nullptr;
  if (v.contiguous()) return v.as<T>();
  T* at = arena.take<T>(v.size());
  if (!arena.measuring()) copy(v, v.dense(at));
  return at;
}
template <class T>
T at(const View& v, int64_t c, T absent) {
  return v.given() ? v.as<T>()[c * v.stride[0]] : absent;
}

// x as [outer, channels, inner]. Long inner runs are walked one by one; otherwise vectors run across channels, along
// rows of `width` elements, which are `fold` rows of the outer dimension side by side.
struct Layout {
  int64_t outer = 1, channels = 1, inner = 1;
  bool columns;
  int64_t fold = 1, width, rows, left;               // columns: `rows` rows of `width`, then `left` of width / fold
  int64_t strip = 1, strips = 1, block = 1, blocks;  // a task of the first pass: a strip of columns, or a channel

  Layout(const View& x, int axis) {
    for (int d = 0; d < x.ndim; ++d) (d < axis ? outer : d > axis ? inner : channels) *= x.shape[d];
    columns = inner < LEAST_RUN;
    const int64_t row = std::max<int64_t>(1, channels * inner);
    if (columns && row < WIDE) fold = std::max<int64_t>(1, std::min(WIDE / row, outer));
    width = fold * row, rows = outer / fold, left = outer % fold;
    if (columns) {
      strip = fold > 1 ? width : STRIP / std::max<int64_t>(1, inner) * std::max<int64_t>(1, inner);
      strips = ceil_div(width, strip);
      block = std::max(ceil_div(BLOCK, std::min(strip, width)), ceil_div(rows, MOST_BLOCKS));
      blocks = ceil_div(rows, block) + (left > 0);
    } else {
      block = std::max(ceil_div(BLOCK, std::min(inner, PIECE)), ceil_div(pieces(), MOST_BLOCKS));
      blocks = ceil_div(pieces(), block);
    }
  }
  int64_t pieces() const { return outer * ceil_div(inner, PIECE); }  // of a channel
  int64_t count() const { return outer * inner; }                    // elements of a channel
  int64_t numbers() const { return columns ? width : channels; }     // of parameters, as the second pass wants them
  bool empty() const { return outer == 0 || channels == 0 || inner == 0; }
  template <class T, class F>
  const T* spread(T* to, const F& of_channel) const {
    for (int64_t j = 0; !empty() && j < numbers(); ++j)
      to[j] = static_cast<T>(of_channel(columns ? j / inner % channels : j));
    return to;
  }
};

// What is gathered of n elements: two numbers.
struct Part {
  double a = 0, b = 0, n = 0;
};

// The mean and the sum of squared distances from it.
template <class T>
struct Moments {
  using Element = T;
  const ReduceKernels<T>& k;
  const T* x;

  void columns(int64_t from, int64_t rows, int64_t step, int64_t, int64_t n, T* a, T* b) const {
    std::fill_n(a, n, T(0));
    std::fill_n(b, n, T(0));
    k.columns[SUM](a, x + from, rows, step, n, nullptr);
    for (int64_t j = 0; j < n; ++j) a[j] /= static_cast<T>(rows);
    k.columns[SQUARES](b, x + from, rows, step, n, a);
  }
  Part run(int64_t from, int64_t n, int64_t) const {
    const T mean = k.run[SUM](x + from, n, T(0)) / static_cast<T>(n);
    return {mean, k.run[SQUARES](x + from, n, mean), static_cast<double>(n)};
  }
  // The pieces a, b of `more` elements join the totals of `have` elements.
  template <class U>
  static void join(double* total_a, double* total_b, const U* a, const U* b, int64_t n, double have, double more) {
    const double share = more / (have + more), spread = have * share;
    for (int64_t j = 0; j < n; ++j) {
      const double d = a[j] - total_a[j];
      total_a[j] += d * share;
      total_b[j] += b[j] + d * d * spread;
    }
  }
};

// The sums of dy and of dy * (x - mean).
template <class T>
struct Products {
  using Element = T;
  const NormKernels<T>& k;
  const T *dy, *x, *mean;  // mean: of each column, or of each channel

  void columns(int64_t from, int64_t rows, int64_t step, int64_t first, int64_t n, T* a, T* b) const {
    std::fill_n(a, n, T(0));
    std::fill_n(b, n, T(0));
    k.sums(rows, n, step, dy + from, x + from, mean + first, a, b);
  }
  Part run(int64_t from, int64_t n, int64_t channel) const {
    T sum, product;
    k.run_sums(n, dy + from, x + from, nullptr, mean[channel], &sum, &product);
    return {sum, product, static_cast<double>(n)};
  }
  template <class U>
  static void join(double* total_a, double* total_b, const U* a, const U* b, int64_t n, double, double) {
    for (int64_t j = 0; j < n; ++j) total_a[j] += a[j], total_b[j] += b[j];
  }
};

template <class G>
void join(Part& total, const Part& part) {
  if (part.n == 0) return;
  G::join(&total.a, &total.b, &part.a, &part.b, 1, total.n, part.n);
  total.n += part.n;
}

// parts[channel] of one strip of columns and one block of rows.
template <class G>
void gather_strip(const Layout& l, const G& g, int64_t strip, int64_t block, Part* parts) {
  using T = typename G::Element;
  const bool rest = l.left > 0 && block == l.blocks - 1;  // rows that did not fill a folded one
  const int64_t width = rest ? l.width / l.fold : l.width, first = strip * l.strip;
  const int64_t begin = rest ? 0 : block * l.block, end = rest ? l.left : std::min(l.rows, begin + l.block);
  const int64_t from = (rest ? l.rows * l.width : 0) + first, n = std::min(l.strip, width - first);
  const int64_t piece = std::max<int64_t>(32, STRIP_PIECE / n);
  alignas(64) T a[STRIP], b[STRIP];
  double total_a[STRIP] = {}, total_b[STRIP] = {};
  for (int64_t r = begin; r < end; r += piece) {
    const int64_t some = std::min(piece, end - r);
    g.columns(from + r * width, some, width, first, n, a, b);
    G::join(total_a, total_b, a, b, n, static_cast<double>(r - begin), static_cast<double>(some));
  }
  for (int64_t j = 0; j < n; ++j) {
    Part& part = parts[(first + j) / l.inner % l.channels];
    if ((first + j) < l.channels * l.inner && j % l.inner == 0) part = {};
    join<G>(part, {total_a[j], total_b[j], static_cast<double>(end - begin)});
  }
}

// Of one channel and one block of the pieces of its runs.
template <class G>
Part gather_runs(const Layout& l, const G& g, int64_t channel, int64_t block) {
  const int64_t per_run = ceil_div(l.inner, PIECE);
  Part total;
  for (int64_t p = block * l.block; p < std::min(l.pieces(), (block + 1) * l.block); ++p) {
    const int64_t first = p % per_run * PIECE, n = std::min(PIECE, l.inner - first);
    join<G>(total, g.run((p / per_run * l.channels + channel) * l.inner + first, n, channel));
  }
  return total;
}

// parts[blocks][channels] is scratch; finish(channel, total) is called for each channel.
template <class G, class Finish>
void gather(const Layout& l, const G& g, Part* parts, const Finish& finish) {
  const int64_t across = l.columns ? l.strips : l.channels;
  const int64_t cost = l.columns ? std::min(l.strip, l.width) * std::min(l.block, l.rows)
                                 : std::min(l.block, l.pieces()) * std::min(l.inner, PIECE);
  if (!l.empty())
    parallel_for(across * l.blocks, std::max<int64_t>(1, CHUNK / std::max<int64_t>(1, cost)),
                 [&](int64_t begin, int64_t end) {
                   for (int64_t i = begin; i < end; ++i) {
                     const int64_t block = i / across, which = i % across;
                     if (l.columns)
                       gather_strip(l, g, which, block, parts + block * l.channels);
                     else
                       parts[block * l.channels + which] = gather_runs(l, g, which, block);
                   }
                 });
  for (int64_t c = 0; c < l.channels; ++c) {
    Part total;
    for (int64_t block = 0; !l.empty() && block < l.blocks; ++block) join<G>(total, parts[block * l.channels + c]);
    finish(c, total);
  }
}

// fn(each, from, rows, n, p): rows of n elements from element `from` on, with parameters from number p on.
template <class F>
void for_elements(const Layout& l, const F& fn) {
  if (l.empty()) return;
  if (!l.columns) {
    const int64_t pieces = ceil_div(l.inner, CHUNK), each = std::min(l.inner, CHUNK);
    return parallel_for(l.outer * l.channels * pieces, CHUNK / each, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t first = i % pieces * CHUNK, run = i / pieces;
        fn(false, run * l.inner + first, 1, std::min(CHUNK, l.inner - first), run % l.channels);
      }
    });
  }
  constexpr int64_t ROWS = 4;  // share the parameters that they load
  parallel_for(l.rows, std::max(ROWS, CHUNK / l.width / ROWS * ROWS), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; r += ROWS) fn(true, r * l.width, std::min(ROWS, end - r), l.width, int64_t{0});
  });
  const int64_t row = l.width / l.fold;
  for (int64_t r = 0; r < l.left; ++r) fn(true, l.rows * l.width + r * row, int64_t{1}, row, int64_t{0});
}

// What both forms of batch_norm do once they know mean and variance.
template <class T>
void normalize(const Layout& l, const T* x, const View& gamma, const View& beta, const View& mean, const View& variance,
               double epsilon, T* y, Arena& arena) {
  T *m = arena.take<T>(l.numbers()), *s = arena.take<T>(l.numbers()), *b = arena.take<T>(l.numbers());
  if (arena.measuring()) return;
  l.spread(m, [&](int64_t c) { return at<T>(mean, c, 0); });
  l.spread(s, [&](int64_t c) { return at<T>(gamma, c, 1) / std::sqrt(double(at<T>(variance, c, 0)) + epsilon); });
  l.spread(b, [&](int64_t c) { return at<T>(beta, c, 0); });
  const NormKernels<T>& k = kernels().norm.get<T>();
  for_elements(l, [&](bool each, int64_t from, int64_t rows, int64_t n, int64_t p) {
    k.normalize[each](rows, n, x + from, y + from, m + p, s + p, b + p);
  });
}

template <class T>
void forward(const View& x_, const View& gamma, const View& beta, const View& mean, const View& variance, bool gathers,
             int axis, double epsilon, const View& y, Arena& arena) {
  const Layout l(x_, axis);
  const T* x = dense<T>(x_, arena);
  Part* parts = gathers ? arena.take<Part>(l.blocks * l.channels) : nullptr;
  if (gathers && !arena.measuring())
    gather(l, Moments<T>{kernels().reduce.get<T>(), x}, parts, [&](int64_t c, const Part& total) {
      mean.as<T>()[c * mean.stride[0]] = static_cast<T>(total.a);
      variance.as<T>()[c * variance.stride[0]] = static_cast<T>(total.b / std::max(1.0, total.n));
    });
  normalize(l, x, gamma, beta, mean, variance, epsilon, y.as<T>(), arena);
}

template <class T>
void backward(const View& dy_, const View& x_, const View& gamma, const View& mean, const View& variance, int axis,
              double epsilon, bool through_statistics, const View& dx, const View& dgamma, const View& dbeta,
              Arena& arena) {
  const Layout l(dy_, axis);
  const T *dy = dense<T>(dy_, arena), *x = dense<T>(x_, arena);
  Part *parts = arena.take<Part>(l.blocks * l.channels), *total = arena.take<Part>(l.channels);
  T *m = arena.take<T>(l.numbers()), *a = arena.take<T>(l.numbers());
  T *b = arena.take<T>(l.numbers()), *c = arena.take<T>(l.numbers());
  if (arena.measuring()) return;
  const auto rstd = [&](int64_t i) { return 1 / std::sqrt(double(at<T>(variance, i, 0)) + epsilon); };
  const auto slope = [&](int64_t i) { return at<T>(gamma, i, 1) * rstd(i); };
  l.spread(m, [&](int64_t i) { return at<T>(mean, i, 0); });
  if (dgamma.given() || dbeta.given() || through_statistics)
    gather(l, Products<T>{kernels().norm.get<T>(), dy, x, m}, parts, [&](int64_t i, const Part& sums) {
      total[i] = sums;
      if (dgamma.given()) dgamma.as<T>()[i] = static_cast<T>(sums.b * rstd(i));
      if (dbeta.given()) dbeta.as<T>()[i] = static_cast<T>(sums.a);
    });
  if (!dx.given()) return;
  T* to = dx.as<T>();
  const NormKernels<T>& k = kernels().norm.get<T>();
  l.spread(a, slope);
  if (!through_statistics) {
    std::fill_n(m, l.numbers(), T(0));
    return for_elements(l, [&](bool each, int64_t from, int64_t rows, int64_t n, int64_t p) {
      k.normalize[each](rows, n, dy + from, to + from, m + p, a + p, m + p);
    });
  }
  const auto count = static_cast<double>(l.count());
  l.spread(b, [&](int64_t i) { return -slope(i) * rstd(i) * rstd(i) * total[i].b / count; });
  l.spread(c, [&](int64_t i) { return -slope(i) * total[i].a / count; });
  for_elements(l, [&](bool each, int64_t from, int64_t rows, int64_t n, int64_t p) {
    k.gradient[each](rows, n, dy + from, x + from, m + p, a + p, b + p, c + p, to + from);
  });
}

// ---- layer_norm ----
struct Rows {
  int64_t rows = 1, length = 1;
  Rows(const View& x, int axis) {
    for (int d = 0; d < x.ndim; ++d) (d < axis ? rows : length) *= x.shape[d];
  }
  int64_t grain() const { return std::max<int64_t>(1, CHUNK / std::max<int64_t>(1, length)); }
  // Of rows whose gradients by gamma and beta are added up; each has totals of its own to fill.
  int64_t blocks() const { return std::clamp<int64_t>(std::min(rows * length / BLOCK, rows / 16), 1, 16); }
};

template <class T>
void forward_rows(const Rows& l, const T* x, const T* gamma, const T* beta, double epsilon, T* y, T* mean, T* rstd) {
  const Moments<T> moments{kernels().reduce.get<T>(), x};
  const NormKernels<T>& k = kernels().norm.get<T>();
  parallel_for(l.rows, l.grain(), [&](int64_t begin, int64_t end) {
    const int64_t first = begin * l.length;
    if (l.length > 0 && l.length <= PIECE)
      return k.rows(end - begin, l.length, x + first, gamma, beta, static_cast<T>(epsilon), y + first, mean + begin,
                    rstd + begin);
    for (int64_t r = begin; r < end; ++r) {
      Part total;
      for (int64_t j = 0; j < l.length; j += PIECE)
        join<Moments<T>>(total, moments.run(r * l.length + j, std::min(PIECE, l.length - j), 0));
      mean[r] = static_cast<T>(total.a);
      rstd[r] = static_cast<T>(1 / std::sqrt(total.b / std::max(1.0, total.n) + epsilon));
      k.row(l.length, x + r * l.length, mean[r], rstd[r], gamma, beta, y + r * l.length);
    }
  });
}

// Rows [begin, end): dx, and the sums for gamma and beta. sums[2][length] are added to totals[2][length] now and then.
template <class T>
struct RowsBackward {
  const Rows& l;
  const T *dy, *x, *gamma, *mean, *rstd;
  T* dx;
  bool wants_gamma, wants_beta;

  void operator()(int64_t begin, int64_t end, T* sums, double* totals) const {
    const NormKernels<T>& k = kernels().norm.get<T>();
    const bool wants = wants_gamma || wants_beta;
    if (wants) {
      std::fill_n(sums, 2 * l.length, T(0));
      std::fill_n(totals, 2 * l.length, 0.0);
    }
    const bool few = l.length <= PIECE;
    for (int64_t r = begin; r < end;) {
      const int64_t count = wants ? std::min(FLUSH, end - r) : end - r;
      T *of_gamma = wants_gamma ? sums : nullptr, *of_beta = wants_beta ? sums + l.length : nullptr;
      if (few)
        k.rows_gradient(count, l.length, dy + r * l.length, x + r * l.length, gamma, mean + r, rstd + r,
                        dx ? dx + r * l.length : nullptr, of_gamma, of_beta);
      for (int64_t i = r; !few && i < r + count; ++i) long_row(i, of_gamma, of_beta);
      r += count;
      if (!wants) continue;
      for (int64_t j = 0; j < 2 * l.length; ++j) totals[j] += sums[j];
      std::fill_n(sums, 2 * l.length, T(0));
    }
  }

  void long_row(int64_t r, T* of_gamma, T* of_beta) const {
    const NormKernels<T>& k = kernels().norm.get<T>();
    const T *d = dy + r * l.length, *from = x + r * l.length;
    double sum = 0, product = 0;
    for (int64_t j = 0; dx && j < l.length; j += PIECE) {
      T s, p;
      k.run_sums(std::min(PIECE, l.length - j), d + j, from + j, gamma ? gamma + j : nullptr, mean[r], &s, &p);
      sum += s, product += p;
    }
    const double scale = rstd[r] / static_cast<double>(l.length);
    k.row_gradient(l.length, d, from, gamma, mean[r], rstd[r], static_cast<T>(-scale * rstd[r] * rstd[r] * product),
                   static_cast<T>(-scale * sum), dx ? dx + r * l.length : nullptr, of_gamma, of_beta);
  }
};

template <class T>
void backward_rows(const View& dy, const View& x, const View& gamma, const View& mean, const View& rstd, int axis,
                   const View& dx, const View& dgamma, const View& dbeta, Arena& arena) {
  const Rows l(dy, axis);
  const T *dense_dy = dense<T>(dy, arena), *dense_x = dense<T>(x, arena), *dense_gamma = dense<T>(gamma, arena);
  const T *dense_mean = dense<T>(mean, arena), *dense_rstd = dense<T>(rstd, arena);
  const int64_t blocks = l.blocks(), block = std::max<int64_t>(1, ceil_div(l.rows, blocks));
  auto* totals = arena.take<double>(2 * l.length * blocks);
  T* sums = arena.take<T>(2 * l.length * blocks);
  if (arena.measuring()) return;
  const RowsBackward<T> rows{l,
                             dense_dy,
                             dense_x,
                             dense_gamma,
                             dense_mean,
                             dense_rstd,
                             dx.given() ? dx.as<T>() : nullptr,
                             dgamma.given(),
                             dbeta.given()};
  if (!dgamma.given() && !dbeta.given())
    return parallel_for(l.rows, l.grain(), [&](int64_t begin, int64_t end) { rows(begin, end, nullptr, nullptr); });
  parallel_for(l.rows, block, [&](int64_t begin, int64_t end) {
    rows(begin, end, sums + begin / block * 2 * l.length, totals + begin / block * 2 * l.length);
  });
  const int64_t used = ceil_div(l.rows, block);
  for (int which = 0; which < 2; ++which) {
    const View& to = which == 0 ? dgamma : dbeta;
    for (int64_t j = 0; to.given() && j < l.length; ++j) {
      double total = 0;
      for (int64_t i = 0; i < used; ++i) total += totals[(2 * i + which) * l.length + j];
      to.as<T>()[j] = static_cast<T>(total);
    }
  }
}

}  // namespace

void batch_norm(const View& x, const View& gamma, const View& beta, int axis, double epsilon, const View& y,
                const View& mean, const View& variance, void* scratch) {
  visit_float(x.dtype, [&](auto tag) {
    Arena arena(scratch);
    forward<typename decltype(tag)::type>(x, gamma, beta, mean, variance, true, axis, epsilon, y, arena);
  });
}
void batch_norm_inference(const View& x, const View& gamma, const View& beta, const View& mean, const View& variance,
                          int axis, double epsilon, const View& y, void* scratch) {
  visit_float(x.dtype, [&](auto tag) {
    Arena arena(scratch);
    forward<typename decltype(tag)::type>(x, gamma, beta, mean, variance, false, axis, epsilon, y, arena);
  });
}
size_t batch_norm_scratch(const View& x, int axis) {
  return visit_float(x.dtype, [&](auto tag) {
    Arena arena(nullptr);
    forward<typename decltype(tag)::type>(x, {}, {}, {}, {}, true, axis, 0, {}, arena);
    return arena.used();
  });
}

void batch_norm_gradient(const View& dy, const View& x, const View& gamma, const View& mean, const View& variance,
                         int axis, double epsilon, bool through_statistics, const View& dx, const View& dgamma,
                         const View& dbeta, void* scratch) {
  visit_float(dy.dtype, [&](auto tag) {
    Arena arena(scratch);
    backward<typename decltype(tag)::type>(dy, x, gamma, mean, variance, axis, epsilon, through_statistics, dx, dgamma,
                                           dbeta, arena);
  });
}
size_t batch_norm_gradient_scratch(const View& dy, const View& x, int axis) {
  return visit_float(dy.dtype, [&](auto tag) {
    Arena arena(nullptr);
    backward<typename decltype(tag)::type>(dy, x, {}, {}, {}, axis, 0, true, {}, {}, {}, arena);
    return arena.used();
  });
}

void layer_norm(const View& x, const View& gamma, const View& beta, int axis, double epsilon, const View& y,
                const View& mean, const View& rstd, void* scratch) {
  visit_float(x.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    Arena arena(scratch);
    const T *from = dense<T>(x, arena), *g = dense<T>(gamma, arena), *b = dense<T>(beta, arena);
    forward_rows(Rows(x, axis), from, g, b, epsilon, y.as<T>(), mean.as<T>(), rstd.as<T>());
  });
}
size_t layer_norm_scratch(const View& x, const View& gamma, const View& beta) {
  return visit_float(x.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    Arena arena(nullptr);
    for (const View* v : {&x, &gamma, &beta}) dense<T>(*v, arena);
    return arena.used();
  });
}

void layer_norm_gradient(const View& dy, const View& x, const View& gamma, const View& mean, const View& rstd, int axis,
                         const View& dx, const View& dgamma, const View& dbeta, void* scratch) {
  visit_float(dy.dtype, [&](auto tag) {
    Arena arena(scratch);
    backward_rows<typename decltype(tag)::type>(dy, x, gamma, mean, rstd, axis, dx, dgamma, dbeta, arena);
  });
}
size_t layer_norm_gradient_scratch(const View& dy, const View& x, const View& gamma, const View& mean, const View& rstd,
                                   int axis) {
  return visit_float(dy.dtype, [&](auto tag) {
    Arena arena(nullptr);
    backward_rows<typename decltype(tag)::type>(dy, x, gamma, mean, rstd, axis, {}, {}, {}, arena);
    return arena.used();
  });
}

void moving_average(const View& average, const View& value, double momentum, double scale, const Status* status) {
  if (stopped(status) || average.size() == 0) return;
  visit_float(average.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const Walk w = walk(value, average);
    const int64_t last = w.ndim - 1;
    const T keep = T(momentum), take = T((1 - momentum) * scale);
    for_rows(w, 0, w.rows(), [&](int64_t from, int64_t to) {
      for (int64_t i = 0; i < w.shape[last]; ++i) {
        T& a = average.as<T>()[to + i * w.to[last]];
        a = keep * a + take * value.as<T>()[from + i * w.from[last]];
      }
    });
  });
}

}  // namespace nnfast
