// Pooling: lines of `count` windows of rows x cols cells, side by side in the lanes of vectors. What lies in the lanes,
// neighbouring channels or neighbouring windows, is the caller's choice: *_lane is the step from one to the next.
// No tail is special: the last vector goes through the same arithmetic. Outputs overlap no input.
#include "../kernels.h"
#include "vec.h"

namespace nnfast::NNFAST_ISA {

template <int N>
struct Constant {
  constexpr operator ptrdiff_t() const { return N; }
};

template <class Size>
constexpr int CONSTANT = 0;  // the number, or 0 if it is none
template <int N>
constexpr int CONSTANT<Constant<N>> = N;

// The numbers 0, 1, ..., N - 1 as template arguments.
template <int... I>
struct Numbers {};
template <int N, int... I>
struct CountTo : CountTo<N - 1, N - 1, I...> {};
template <int... I>
struct CountTo<0, I...> {
  using type = Numbers<I...>;
};
// p[2 * i] for each lane i < count, 0 for the others, from p[0..L) and p[L - 1..2L - 1): nothing beyond the last of
// them is read.
template <class T, int... I>
INLINE Vec<T> load_every_second(const T* p, ptrdiff_t count, Numbers<I...>) {
  constexpr int L = LANES<T>;
  const bool whole = count >= L;
  const Vec<T> low = whole ? load(p) : load_some(p, 2 * count - 1);
  const Vec<T> high = whole ? load(p + L - 1) : load_some(p + L - 1, 2 * count - L);
  return __builtin_shufflevector(low, high, (2 * I < L ? 2 * I : 2 * I + 1)...);
}

// Up to LANES elements, `step` apart; what is missing is 0.
template <class T, class Step, class Count>
INLINE Vec<T> get(const T* p, Step step, Count count) {
  if (step == 1) return count >= LANES<T> ? load(p) : load_some(p, count);
  if (step == 2) return load_every_second(p, count, typename CountTo<LANES<T>>::type());
  T lane[LANES<T>] = {};
  if (count >= LANES<T>)
    for (int i = 0; i < LANES<T>; ++i) lane[i] = p[i * step];
  else
    for (int i = 0; i < count; ++i) lane[i] = p[i * step];
  return load(lane);
}
// p[2 * i] = even[i], p[2 * i + 1] = odd[i] for each lane i < count.
template <class T, int... I>
INLINE void put_pairs(T* p, Vec<T> even, Vec<T> odd, ptrdiff_t count, Numbers<I...>) {
  constexpr int L = LANES<T>;
  const Vec<T> low = __builtin_shufflevector(even, odd, (I / 2 + I % 2 * L)...);
  const Vec<T> high = __builtin_shufflevector(even, odd, (L / 2 + I / 2 + I % 2 * L)...);
  if (count >= L) {
    store(p, low);
    store(p + L, high);
  } else {
    store_some(p, low, 2 * count);
    store_some(p + L, high, 2 * count - L);
  }
}
template <class T, class Step, class Count>
INLINE void put(T* p, Vec<T> v, Step step, Count count) {
  if (step == 1) {
    if (count >= LANES<T>)
      store(p, v);
    else
      store_some(p, v, count);
    return;
  }
  T lane[LANES<T>];
  store(lane, v);
  for (int i = 0; i < LANES<T> && i < count; ++i) p[i * step] = lane[i];
}

// Calls fn(lane, rows, cols) with constants for the usual steps and windows, so that loops unroll.
template <class F>
INLINE void with_size(ptrdiff_t lane, const PoolCells& cells, const F& fn) {
  const bool two = cells.rows == 2 && cells.cols == 2, three = cells.rows == 3 && cells.cols == 3;
  if (lane == 1 && two)
    fn(Constant<1>(), Constant<2>(), Constant<2>());
  else if (lane == 1 && three)
    fn(Constant<1>(), Constant<3>(), Constant<3>());
  else if (lane == 1)
    fn(Constant<1>(), cells.rows, cells.cols);
  else if (lane == 2 && two)
    fn(Constant<2>(), Constant<2>(), Constant<2>());
  else if (lane == 2 && three)
    fn(Constant<2>(), Constant<3>(), Constant<3>());
  else
    fn(lane, cells.rows, cells.cols);
}

// fn(first lane, lanes) for each vector of a line: how many is a constant in all but the last.
template <class T, class F>
INLINE void for_vectors(ptrdiff_t lanes, const F& fn) {
  ptrdiff_t c = 0;
  for (; c + LANES<T> <= lanes; c += LANES<T>) fn(c, Constant<LANES<T>>());
  if (c < lanes) fn(c, lanes - c);
}

template <class T>
static void max_line(PoolLine<const T> x, PoolCells cells, PoolLine<T> y, ptrdiff_t count, ptrdiff_t lanes) {
  with_size(x.lane, cells, [&](auto lane, auto rows, auto cols) {
    for (ptrdiff_t i = 0; i < count; ++i)
      for_vectors<T>(lanes, [&](ptrdiff_t c, auto n) {
        const T* window = x.at + i * x.step + c * lane;
        Vec<T> best = get(window, lane, n);
        for (ptrdiff_t r = 0; r < rows; ++r)
          for (ptrdiff_t s = 0; s < cols; ++s) best = max(best, get(window + r * cells.row + s * cells.col, lane, n));
        put(y.at + i * y.step + c * y.lane, best, y.lane, n);
      });
  });
}

template <class T>
static void mean_line(PoolLine<const T> x, PoolCells cells, T divisor, PoolLine<T> y, ptrdiff_t count,
                      ptrdiff_t lanes) {
  with_size(x.lane, cells, [&](auto lane, auto rows, auto cols) {
    for (ptrdiff_t i = 0; i < count; ++i)
      for_vectors<T>(lanes, [&](ptrdiff_t c, auto n) {
        const T* window = x.at + i * x.step + c * lane;
        Vec<T> sum = {};
        for (ptrdiff_t r = 0; r < rows; ++r)
          for (ptrdiff_t s = 0; s < cols; ++s) sum += get(window + r * cells.row + s * cells.col, lane, n);
        put(y.at + i * y.step + c * y.lane, sum / divisor, y.lane, n);
      });
  });
}

// The number of the winning cell in each lane: the first of equals, the first NaN above all.
template <class T, class Lane, class Rows, class Cols, class Count>
INLINE Bits<T> winners(const T* window, const PoolCells& cells, Lane lane, Rows rows, Cols cols, Count count) {
  Vec<T> best = get(window, lane, count);
  Bits<T> winner = {}, number = {};
  for (ptrdiff_t r = 0; r < rows; ++r)
    for (ptrdiff_t s = 0; s < cols; ++s, number += 1) {
      const Vec<T> v = get(window + r * cells.row + s * cells.col, lane, count);
      const Bits<T> wins = ~(v <= best) & (best == best);
      best = select(wins, v, best);
      winner = wins ? number : winner;
    }
  return winner;
}

// dx (+)= the part of dy that each cell of a window gets. Columns go backwards: where windows share a cell, it gets its
// parts in the order of the windows, also when neighbouring windows lie in one vector.
template <class T, class Lane, class Rows, class Cols, class Count, class Part>
INLINE void spread(T* window, const PoolCells& to, Lane lane, Rows rows, Cols cols, bool add, Count count,
                   const Part& part) {
  for (ptrdiff_t r = 0; r < rows; ++r) {
    if (lane == 2 && cols == 2 && to.col == 1 && !add) {  // side by side: they fill the row
      put_pairs(window + r * to.row, part(r * cols), part(r * cols + 1), count, typename CountTo<LANES<T>>::type());
      continue;
    }
    for (ptrdiff_t s = cols - 1; s >= 0; --s) {
      T* cell = window + r * to.row + s * to.col;
      const Vec<T> share = part(r * cols + s);
      put(cell, add ? get(cell, lane, count) + share : share, lane, count);
    }
  }
}

// The part of g that each cell of a window of N cells gets, the winner's or 0: as in winners(), but nothing is counted.
template <class T, int ROWS, int COLS, class Lane, class Count>
INLINE void parts_of(const T* window, const PoolCells& cells, Lane lane, Count count, Vec<T> g, Vec<T>* part) {
  Vec<T> best = get(window, lane, count);
  Bits<T> wins[ROWS * COLS];
#pragma GCC unroll 9
  for (int i = 1; i < ROWS * COLS; ++i) {
    const Vec<T> v = get(window + i / COLS * cells.row + i % COLS * cells.col, lane, count);
    wins[i] = ~(v <= best) & (best == best);
    best = select(wins[i], v, best);
  }
#pragma GCC unroll 9
  for (int i = ROWS * COLS - 1; i > 0; --i) {
    part[i] = select(wins[i], g, Vec<T>{});
    g = select(wins[i], Vec<T>{}, g);
  }
  part[0] = g;
}

// The same for max where windows lie in the lanes and may share cells: dx += dy at the winners alone, window by window.
// The winners of some lines are found first: a load of one lane stalls right behind the store of a vector.
template <class T>
static void max_line_scatter(PoolLine<const T> x, PoolCells cells, PoolLine<const T> dy, PoolLine<T> dx, PoolCells to,
                             ptrdiff_t count, ptrdiff_t lanes) {
  constexpr ptrdiff_t FEW = 64, MOST = 512;
  Index<T> winner[MOST];
  ptrdiff_t place[FEW];
  const bool few = to.rows * to.cols <= FEW;
  const auto place_of = [&](ptrdiff_t i) { return i / to.cols * to.row + i % to.cols * to.col; };
  for (ptrdiff_t r = 0, i = 0; few && r < to.rows; ++r)
    for (ptrdiff_t s = 0; s < to.cols; ++s) place[i++] = r * to.row + s * to.col;
  const ptrdiff_t width = lanes < MOST ? (lanes + LANES<T> - 1) / LANES<T> * LANES<T> : MOST, lines = MOST / width;
  for (ptrdiff_t line = 0; line < count; line += lines)
    for (ptrdiff_t first = 0; first < lanes; first += width) {
      const ptrdiff_t windows = lanes - first < width ? lanes - first : width;
      const ptrdiff_t end = count - line < lines ? count : line + lines;
      with_size(x.lane, cells, [&](auto lane, auto rows, auto cols) {
        for (ptrdiff_t i = line; i < end; ++i)
          for_vectors<T>(windows, [&](ptrdiff_t c, auto n) {
            const Bits<T> w = winners(x.at + i * x.step + (first + c) * lane, cells, lane, rows, cols, n);
            __builtin_memcpy(winner + (i - line) * width + c, &w, sizeof w);
          });
      });
      for (ptrdiff_t i = line; i < end; ++i) {
        const Index<T>* number = winner + (i - line) * width;
        const T* from = dy.at + i * dy.step + first * dy.lane;
        T* window = dx.at + i * dx.step + first * dx.lane;
        if (few)
          for (ptrdiff_t c = 0; c < windows; ++c) window[c * dx.lane + place[number[c]]] += from[c * dy.lane];
        else
          for (ptrdiff_t c = 0; c < windows; ++c) window[c * dx.lane + place_of(number[c])] += from[c * dy.lane];
      }
    }
}

// p[i / 2] for each lane i < count, 0 for the others.
template <class T, class Count, int... I>
INLINE Vec<T> load_twice(const T* p, Count count, Numbers<I...>) {
  const Vec<T> v = load_some(p, lanes_of<T>(count) / 2);
  return __builtin_shufflevector(v, v, (I / 2)...);
}
// The left, or the right (SIDE 0, 1) cell of each pair, in both lanes; or that lane alone, 0 in the other.
template <class T, int SIDE, int... I>
INLINE Vec<T> both(Vec<T> v, Numbers<I...>) {
  return __builtin_shufflevector(v, v, (I / 2 * 2 + SIDE)...);
}
template <class T, int SIDE, int... I>
INLINE Vec<T> alone(Vec<T> v, Numbers<I...>) {
  return __builtin_shufflevector(v, Vec<T>{}, (I % 2 == SIDE ? I : LANES<T> + I)...);
}

// Where is the second the winner of two? Only if it is larger, or the first NaN.
template <class V>
INLINE BitsOf<V> wins_over(V second, V first) {
  return ~(second <= first) & (first == first);
}

// dx = dy at the winner, 0 elsewhere, of windows of two rows and two columns side by side: the pair of a row stays in
// its two lanes. WHOLE: all lanes are used, otherwise the first `cells` of them.
template <class T, bool WHOLE>
INLINE void pair_gradient(const T* x, ptrdiff_t x_row, const T* dy, T* dx, ptrdiff_t dx_row, ptrdiff_t cells) {
  constexpr typename CountTo<LANES<T>>::type lanes = {};
  const Vec<T> above = WHOLE ? load(x) : load_some(x, cells), none = {};
  const Vec<T> below = WHOLE ? load(x + x_row) : load_some(x + x_row, cells);
  const Vec<T> g = load_twice(dy, cells, lanes), left = alone<T, 0>(g, lanes), right = alone<T, 1>(g, lanes);
  const Vec<T> a = both<T, 0>(above, lanes), b = both<T, 1>(above, lanes);
  const Vec<T> c = both<T, 0>(below, lanes), d = both<T, 1>(below, lanes);
  const Bits<T> b_wins = wins_over(b, a), d_wins = wins_over(d, c);
  const Bits<T> below_wins = wins_over(select(d_wins, d, c), select(b_wins, b, a));
  const Vec<T> first = select(below_wins, none, select(b_wins, right, left));
  const Vec<T> second = select(below_wins, select(d_wins, right, left), none);
  if (WHOLE) {
    store(dx, first);
    store(dx + dx_row, second);
  } else {
    store_some(dx, first, cells);
    store_some(dx + dx_row, second, cells);
  }
}
template <class T>
__attribute__((noinline)) static void pair_line_gradient(PoolLine<const T> x, ptrdiff_t x_row, PoolLine<const T> dy,
                                                         PoolLine<T> dx, ptrdiff_t dx_row, ptrdiff_t count,
                                                         ptrdiff_t lanes) {
  constexpr int L = LANES<T>;
  const ptrdiff_t whole = 2 * lanes / L * L;
  const int rest = static_cast<int>(2 * lanes - whole);
  for (; count > 0; --count, x.at += x.step, dy.at += dy.step, dx.at += dx.step) {
    for (ptrdiff_t c = 0; c < whole; c += L)
      pair_gradient<T, true>(x.at + c, x_row, dy.at + c / 2, dx.at + c, dx_row, L);
    if (rest > 0) pair_gradient<T, false>(x.at + whole, x_row, dy.at + whole / 2, dx.at + whole, dx_row, rest);
  }
}

// dx (+)= dy at the winner of each window.
template <class T>
static void max_line_gradient(PoolLine<const T> x, PoolCells cells, PoolLine<const T> dy, PoolLine<T> dx, PoolCells to,
                              Spread how, ptrdiff_t count, ptrdiff_t lanes) {
  if (how == Spread::scatter) return max_line_scatter(x, cells, dy, dx, to, count, lanes);
  const bool add = how == Spread::add;
  if (how == Spread::set && cells.rows == 2 && cells.cols == 2 && cells.col == 1 && to.col == 1 && x.lane == 2 &&
      dy.lane == 1 && dx.lane == 2)
    return pair_line_gradient(x, cells.row, dy, dx, to.row, count, lanes);
  with_size(x.lane, cells, [&](auto lane, auto rows, auto cols) {
    constexpr int R = CONSTANT<decltype(rows)>, C = CONSTANT<decltype(cols)>;
    for (ptrdiff_t i = 0; i < count; ++i)
      for_vectors<T>(lanes, [&](ptrdiff_t c, auto n) {
        const Vec<T> g = get(dy.at + i * dy.step + c * dy.lane, dy.lane, n);
        const T* from = x.at + i * x.step + c * lane;
        if constexpr (R > 0) {
          if (dx.lane == lane) {
            Vec<T> parts[R * C];
            parts_of<T, R, C>(from, cells, lane, n, g, parts);
            spread(dx.at + i * dx.step + c * lane, to, lane, rows, cols, add, n, [&](ptrdiff_t k) { return parts[k]; });
            return;
          }
        }
        const Bits<T> winner = winners(from, cells, lane, rows, cols, n);
        const auto part = [&](ptrdiff_t number) {
          return select(winner == Bits<T>{} + static_cast<decltype(Bits<T>{}[0] + 0)>(number), g, Vec<T>{});
        };
        T* window = dx.at + i * dx.step + c * dx.lane;
        if (dx.lane == lane)
          spread(window, to, lane, rows, cols, add, n, part);
        else
          spread(window, to, dx.lane, rows, cols, add, n, part);
      });
  });
}

// dx += dy / divisor in every cell of each window, window by window.
template <class T>
static void mean_line_add(PoolLine<const T> dy, T divisor, PoolLine<T> dx, PoolCells to, ptrdiff_t count,
                          ptrdiff_t lanes) {
  with_size(dx.lane, to, [&](auto lane, auto rows, auto cols) {
    for (ptrdiff_t i = 0; i < count; ++i)
      for (ptrdiff_t c = 0; c < lanes; ++c) {
        const T share = dy.at[i * dy.step + c * dy.lane] / divisor;
        T* window = dx.at + i * dx.step + c * lane;
        for (ptrdiff_t r = 0; r < rows; ++r)
          for (ptrdiff_t s = 0; s < cols; ++s) window[r * to.row + s * to.col] += share;
      }
  });
}

// dx (+)= dy / divisor in every cell of each window. Sums in lanes that are apart would load vectors right after their
// lanes were stored, which stalls.
template <class T>
static void mean_line_gradient(PoolLine<const T> dy, T divisor, PoolLine<T> dx, PoolCells to, bool add, ptrdiff_t count,
                               ptrdiff_t lanes) {
  if (add && dx.lane != 1) return mean_line_add(dy, divisor, dx, to, count, lanes);
  with_size(dx.lane, to, [&](auto lane, auto rows, auto cols) {
    for (ptrdiff_t i = 0; i < count; ++i)
      for_vectors<T>(lanes, [&](ptrdiff_t c, auto n) {
        const Vec<T> share = get(dy.at + i * dy.step + c * dy.lane, dy.lane, n) / divisor;
        spread(dx.at + i * dx.step + c * lane, to, lane, rows, cols, add, n, [&](ptrdiff_t) { return share; });
      });
  });
}

extern const PoolKernels<float> pool_f32;
extern const PoolKernels<double> pool_f64;
constinit const PoolKernels<float> pool_f32 = {max_line<float>, mean_line<float>, max_line_gradient<float>,
                                               mean_line_gradient<float>};
constinit const PoolKernels<double> pool_f64 = {max_line<double>, mean_line<double>, max_line_gradient<double>,
                                                mean_line_gradient<double>};

}  // namespace nnfast::NNFAST_ISA
