// softmax, its logarithm and their gradients: a team of threads joins what it must know of a row in one pass and writes
// the row in a second. Any strides and any axis; y and dx are contiguous and may not overlap x, dy or y.
#include "fold.cuh"

namespace nnfast {
namespace {

template <class T, int WIDTH>
__global__ void __launch_bounds__(ROW_THREADS) softmax_kernel(Rows<2> rows, const T* x, bool logarithm, T* y) {
  const Team team = team_of(rows);
  for_rows(rows, team, [&](bool real, const int64_t (&at)[2], int64_t) {
    LogSumExpState<T> state;
    state.begin();
    if (real) {
      for_elements<WIDTH>(rows, team, at, [&](int64_t, const int64_t (&here)[2]) {
        const auto in = load<WIDTH>(x + here[0]);
        state.add_few(in);
      });
    }
    state = join_team(state, team);
    if (!real) return;
    const T top = state.top, sum = state.sum + (top - top);  // an infinite one gives NaN
    const T low = log(sum), share = T(1) / sum;
    for_elements<WIDTH>(rows, team, at, [&](int64_t, const int64_t (&here)[2]) {
      auto out = load<WIDTH>(x + here[0]);
#pragma unroll
      for (int i = 0; i < WIDTH; ++i) out.v[i] = logarithm ? out.v[i] - top - low : exp(out.v[i] - top) * share;
      store<WIDTH>(y + here[1], out);
    });
  });
}

// dx = y (dy - sum(dy y)), or of the logarithm dy - exp(y) sum(dy). The rows are of dx, dy, y.
template <class T, int WIDTH>
__global__ void __launch_bounds__(ROW_THREADS)
    softmax_gradient_kernel(Rows<3> rows, const T* dy, const T* y, bool logarithm, T* dx) {
  const Team team = team_of(rows);
  for_rows(rows, team, [&](bool real, const int64_t (&at)[3], int64_t) {
    SumState<T> state;
    state.begin();
    if (real) {
      for_elements<WIDTH>(rows, team, at, [&](int64_t e, const int64_t (&here)[3]) {
        const auto d = load<WIDTH>(dy + here[1]), f = load<WIDTH>(y + here[2]);
#pragma unroll
        for (int i = 0; i < WIDTH; ++i) state.add(logarithm ? d.v[i] : d.v[i] * f.v[i], e + i);
      });
    }
    const T sum = join_team(state, team).sum;
    if (!real) return;
    for_elements<WIDTH>(rows, team, at, [&](int64_t, const int64_t (&here)[3]) {
      const auto d = load<WIDTH>(dy + here[1]), f = load<WIDTH>(y + here[2]);
      Several<T, WIDTH> out;
#pragma unroll
      for (int i = 0; i < WIDTH; ++i) out.v[i] = logarithm ? d.v[i] - exp(f.v[i]) * sum : f.v[i] * (d.v[i] - sum);
      store<WIDTH>(dx + here[0], out);
    });
  });
}
}  // namespace

void softmax(const View& x, int axis, bool logarithm, const View& y) {
  if (x.size() == 0) return;
  const auto rows = rows_over(1u << axis, x, y);
  visit_float(x.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    constexpr int N = WIDE<T>;
    const bool packs = in_packs(rows, 3, N, {x.data, y.data});
    launch(packs ? softmax_kernel<T, N> : softmax_kernel<T, 1>, rows.blocks(), ROW_THREADS, 0, stream(), rows,
           x.as<T>(), logarithm, y.as<T>());
  });
}

size_t softmax_gradient_scratch(const View&) { return 0; }
void softmax_gradient(const View& dy, const View& y, int axis, bool logarithm, const View& dx, void*) {
  if (dx.size() == 0) return;
  const auto rows = rows_over(1u << axis, dx, dy, y);
  visit_float(y.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    constexpr int N = WIDE<T>;
    const bool packs = in_packs(rows, 7, N, {dx.data, dy.data, y.data});
    launch(packs ? softmax_gradient_kernel<T, N> : softmax_gradient_kernel<T, 1>, rows.blocks(), ROW_THREADS, 0,
           stream(), rows, dy.as<T>(), y.as<T>(), logarithm, dx.as<T>());
  });
}

}  // namespace nnfast
