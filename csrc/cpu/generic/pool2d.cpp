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
template <class T, class Step>
INLINE Vec<T> get(const T* p, Step step, ptrdiff_t count) {
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
template <class T, class Step>
INLINE void put(T* p, Vec<T> v, Step step, ptrdiff_t count) {
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

template <class T>
static void max_line(PoolLine<const T> x, PoolCells cells, PoolLine<T> y, ptrdiff_t count, ptrdiff_t lanes) {
  with_size(x.lane, cells, [&](auto lane, auto rows, auto cols) {
    for (ptrdiff_t i = 0; i < count; ++i)
      for (ptrdiff_t c = 0; c < lanes; c += LANES<T>) {
        const T* window = x.at + i * x.step + c * lane;
        Vec<T> best = get(window, lane, lanes - c);
        for (ptrdiff_t r = 0; r < rows; ++r)
          for (ptrdiff_t s = 0; s < cols; ++s)
            best = max(best, get(window + r * cells.row + s * cells.col, lane, lanes - c));
        put(y.at + i * y.step + c * y.lane, best, y.lane, lanes - c);
      }
  });
}

template <class T>
static void mean_line(PoolLine<const T> x, PoolCells cells, T divisor, PoolLine<T> y, ptrdiff_t count,
                      ptrdiff_t lanes) {
  with_size(x.lane, cells, [&](auto lane, auto rows, auto cols) {
    for (ptrdiff_t i = 0; i < count; ++i)
      for (ptrdiff_t c = 0; c < lanes; c += LANES<T>) {
        const T* window = x.at + i * x.step + c * lane;
        Vec<T> sum = {};
        for (ptrdiff_t r = 0; r < rows; ++r)
          for (ptrdiff_t s = 0; s < cols; ++s) sum += get(window + r * cells.row + s * cells.col, lane, lanes - c);
        put(y.at + i * y.step + c * y.lane, sum / divisor, y.lane, lanes - c);
      }
  });
}

// The number of the winning cell in each lane: the first of equals, the first NaN above all.
template <class T, class Lane, class Rows, class Cols>
INLINE Bits<T> winners(const T* window, const PoolCells& cells, Lane lane, Rows rows, Cols cols, ptrdiff_t count) {
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
template <class T, class Lane, class Rows, class Cols, class Part>
INLINE void spread(T* window, const PoolCells& to, Lane lane, Rows rows, Cols cols, bool add, ptrdiff_t count,
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

// The same for max where windows lie in the lanes and may share cells: in their order, the winners' cells alone. place:
// of each cell of a window.
template <class T>
INLINE void scatter(PoolLine<T> window, const ptrdiff_t* place, Bits<T> winner, Vec<T> g, ptrdiff_t count) {
  Index<T> number[LANES<T>];
  T lane[LANES<T>];
  __builtin_memcpy(number, &winner, sizeof winner);
  store(lane, g);
  for (int i = 0; i < lanes_of<T>(count); ++i) window.at[i * window.lane + place[number[i]]] += lane[i];
}
// For windows of more cells than `place` has room for.
template <class T>
INLINE void scatter_far(PoolLine<T> window, const PoolCells& to, Bits<T> winner, Vec<T> g, ptrdiff_t count) {
  Index<T> number[LANES<T>];
  T lane[LANES<T>];
  __builtin_memcpy(number, &winner, sizeof winner);
  store(lane, g);
  for (int i = 0; i < lanes_of<T>(count); ++i)
    window.at[i * window.lane + number[i] / to.cols * to.row + number[i] % to.cols * to.col] += lane[i];
}

// dx (+)= dy at the winner of each window.
template <class T>
static void max_line_gradient(PoolLine<const T> x, PoolCells cells, PoolLine<const T> dy, PoolLine<T> dx, PoolCells to,
                              Spread how, ptrdiff_t count, ptrdiff_t lanes) {
  constexpr ptrdiff_t FEW = 64;
  ptrdiff_t place[FEW];
  const bool few = to.rows * to.cols <= FEW;
  for (ptrdiff_t i = 0; few && i < to.rows * to.cols; ++i) place[i] = i / to.cols * to.row + i % to.cols * to.col;
  with_size(x.lane, cells, [&](auto lane, auto rows, auto cols) {
    for (ptrdiff_t i = 0; i < count; ++i)
      for (ptrdiff_t c = 0; c < lanes; c += LANES<T>) {
        const Bits<T> winner = winners(x.at + i * x.step + c * lane, cells, lane, rows, cols, lanes - c);
        const Vec<T> g = get(dy.at + i * dy.step + c * dy.lane, dy.lane, lanes - c);
        const auto part = [&](ptrdiff_t number) {
          return select(winner == Bits<T>{} + static_cast<decltype(Bits<T>{}[0] + 0)>(number), g, Vec<T>{});
        };
        T* window = dx.at + i * dx.step + c * dx.lane;
        const bool add = how == Spread::add;
        if (how == Spread::scatter && few)
          scatter(PoolLine<T>{window, 0, dx.lane}, place, winner, g, lanes - c);
        else if (how == Spread::scatter)
          scatter_far(PoolLine<T>{window, 0, dx.lane}, to, winner, g, lanes - c);
        else if (dx.lane == lane)
          spread(window, to, lane, rows, cols, add, lanes - c, part);
        else
          spread(window, to, dx.lane, rows, cols, add, lanes - c, part);
      }
  });
}

// dx (+)= dy / divisor in every cell of each window.
template <class T>
static void mean_line_gradient(PoolLine<const T> dy, T divisor, PoolLine<T> dx, PoolCells to, bool add, ptrdiff_t count,
                               ptrdiff_t lanes) {
  with_size(dx.lane, to, [&](auto lane, auto rows, auto cols) {
    for (ptrdiff_t i = 0; i < count; ++i)
      for (ptrdiff_t c = 0; c < lanes; c += LANES<T>) {
        const Vec<T> share = get(dy.at + i * dy.step + c * dy.lane, dy.lane, lanes - c) / divisor;
        spread(dx.at + i * dx.step + c * lane, to, lane, rows, cols, add, lanes - c, [&](ptrdiff_t) { return share; });
      }
  });
}

extern const PoolKernels<float> pool_f32;
extern const PoolKernels<double> pool_f64;
constinit const PoolKernels<float> pool_f32 = {max_line<float>, mean_line<float>, max_line_gradient<float>,
                                               mean_line_gradient<float>};
constinit const PoolKernels<double> pool_f64 = {max_line<double>, mean_line<double>, max_line_gradient<double>,
                                                mean_line_gradient<double>};

}  // namespace nnfast::NNFAST_ISA
