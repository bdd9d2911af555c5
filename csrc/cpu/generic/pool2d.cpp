// Pooling, vectors over channels: lines of `count` windows, each of rows x cols cells of C neighbouring channels.
// No tail is special: the last vector goes through the same arithmetic. Outputs overlap no input.
#include "../kernels.h"
#include "vec.h"

namespace nnfast::NNFAST_ISA {

template <class T>
INLINE Vec<T> get(const T* p, ptrdiff_t count) {
  return count >= LANES<T> ? load(p) : load_some(p, count);
}
template <class T>
INLINE void put(T* p, Vec<T> v, ptrdiff_t count) {
  if (count >= LANES<T>)
    store(p, v);
  else
    store_some(p, v, count);
}

// Calls fn(rows, cols) with constants for the usual windows, so that their loops unroll.
template <class F>
INLINE void with_size(const PoolCells& cells, const F& fn) {
  struct Two {
    constexpr operator ptrdiff_t() const { return 2; }
  };
  struct Three {
    constexpr operator ptrdiff_t() const { return 3; }
  };
  if (cells.rows == 2 && cells.cols == 2)
    fn(Two(), Two());
  else if (cells.rows == 3 && cells.cols == 3)
    fn(Three(), Three());
  else
    fn(cells.rows, cells.cols);
}

// The larger of what a window had so far and x; NaN wins, and the first of equals stays.
template <class V>
INLINE BitsOf<V> wins(V x, V best) {
  return (x > best) | (is_nan(x) & ~is_nan(best));
}

template <class T>
static void max_line(const T* x, ptrdiff_t x_step, PoolCells cells, T* y, ptrdiff_t y_step, ptrdiff_t count,
                     ptrdiff_t channels) {
  with_size(cells, [&](auto rows, auto cols) {
    for (ptrdiff_t i = 0; i < count; ++i, x += x_step, y += y_step)
      for (ptrdiff_t c = 0; c < channels; c += LANES<T>) {
        Vec<T> best = get(x + c, channels - c);
        for (ptrdiff_t r = 0; r < rows; ++r)
          for (ptrdiff_t s = 0; s < cols; ++s) {
            const Vec<T> v = get(x + r * cells.row + s * cells.col + c, channels - c);
            best = select(wins(v, best), v, best);
          }
        put(y + c, best, channels - c);
      }
  });
}

template <class T>
static void mean_line(const T* x, ptrdiff_t x_step, PoolCells cells, T divisor, T* y, ptrdiff_t y_step, ptrdiff_t count,
                      ptrdiff_t channels) {
  with_size(cells, [&](auto rows, auto cols) {
    for (ptrdiff_t i = 0; i < count; ++i, x += x_step, y += y_step)
      for (ptrdiff_t c = 0; c < channels; c += LANES<T>) {
        Vec<T> sum = {};
        for (ptrdiff_t r = 0; r < rows; ++r)
          for (ptrdiff_t s = 0; s < cols; ++s) sum += get(x + r * cells.row + s * cells.col + c, channels - c);
        put(y + c, sum / divisor, channels - c);
      }
  });
}

// dx (+)= dy at the winner of each window; without `add` the windows share no cell, and the others get 0.
template <class T>
static void max_line_gradient(const T* x, ptrdiff_t x_step, PoolCells cells, const T* dy, ptrdiff_t dy_step, T* dx,
                              ptrdiff_t dx_step, PoolCells to, bool add, ptrdiff_t count, ptrdiff_t channels) {
  using V = Vec<T>;
  with_size(cells, [&](auto rows, auto cols) {
    for (ptrdiff_t i = 0; i < count; ++i, x += x_step, dy += dy_step, dx += dx_step)
      for (ptrdiff_t c = 0; c < channels; c += LANES<T>) {
        V best = get(x + c, channels - c);
        Bits<T> winner = {};
        Bits<T> number = {};
        for (ptrdiff_t r = 0; r < rows; ++r)
          for (ptrdiff_t s = 0; s < cols; ++s, number += 1) {
            const V v = get(x + r * cells.row + s * cells.col + c, channels - c);
            const Bits<T> won = wins(v, best);
            best = select(won, v, best);
            winner = won ? number : winner;
          }
        const V g = get(dy + c, channels - c);
        number = Bits<T>{};
        for (ptrdiff_t r = 0; r < rows; ++r)
          for (ptrdiff_t s = 0; s < cols; ++s, number += 1) {
            T* cell = dx + r * to.row + s * to.col + c;
            const V share = select(winner == number, g, V{});
            put(cell, add ? get(cell, channels - c) + share : share, channels - c);
          }
      }
  });
}

// dx (+)= dy / divisor in every cell of each window.
template <class T>
static void mean_line_gradient(const T* dy, ptrdiff_t dy_step, T divisor, T* dx, ptrdiff_t dx_step, PoolCells to,
                               bool add, ptrdiff_t count, ptrdiff_t channels) {
  with_size(to, [&](auto rows, auto cols) {
    for (ptrdiff_t i = 0; i < count; ++i, dy += dy_step, dx += dx_step)
      for (ptrdiff_t c = 0; c < channels; c += LANES<T>) {
        const Vec<T> share = get(dy + c, channels - c) / divisor;
        for (ptrdiff_t r = 0; r < rows; ++r)
          for (ptrdiff_t s = 0; s < cols; ++s) {
            T* cell = dx + r * to.row + s * to.col + c;
            put(cell, add ? get(cell, channels - c) + share : share, channels - c);
          }
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
