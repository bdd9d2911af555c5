// Normalisation. batch_norm: moments of each channel by a fold, which leaves what every element needs of its channel in
// scratch, then one pass over the elements. layer_norm: a team of threads per row, moments and results in one launch.
// Mean and squared distances are updated together, so a mean far from 0 costs no digits. x, dy and the parameters have
// any strides; y and dx are contiguous and overlap nothing.
#include "fold.cuh"

namespace nnfast {
namespace {

// ---- batch_norm ----
uint32_t all_but(const View& v, int axis) { return ((1u << v.ndim) - 1) & ~(1u << axis); }
// v[C] as an array of the dimensions of x, of size 1 but along `axis`.
View along(const View& v, const View& x, int axis) {
  if (!v.given()) return v;
  View w = v;
  w.ndim = x.ndim;
  for (int d = 0; d < x.ndim; ++d) w.shape[d] = d == axis ? x.shape[d] : 1, w.stride[d] = d == axis ? v.stride[0] : 0;
  return w;
}
View numbers(const View& x, int axis) {  // element c of an array of channels without gaps
  View v;
  v.ndim = 1;
  v.shape[0] = x.shape[axis];
  return along(v.dense(nullptr), x, axis);
}

// What an element needs of its channel: y = (x - mean) * scale + shift, or dx = dy * scale + (x - mean) * slope +
// shift.
template <class T>
struct Channels {
  T *mean, *scale, *shift, *slope;  // [C], in scratch
  Channels(void* scratch, int64_t channels) {
    T* const at = static_cast<T*>(scratch);
    const int64_t each = ceil_div(channels, 32) * 32;  // so that packs of each are aligned
    mean = at, scale = at + each, shift = at + 2 * each, slope = at + 3 * each;
  }
};
size_t channels_bytes(const View& x, int axis) {
  return static_cast<size_t>(ceil_div(x.shape[axis], 32) * 32 * 4 * size_of(x.dtype));
}

template <class T>
struct Parameters {
  const T *gamma, *beta;  // or nullptr
  int64_t gamma_step, beta_step;
  T epsilon;
};
template <class T>
T* data(const View& v) {
  return v.given() ? v.as<T>() : nullptr;
}

template <class T>
struct AddMoments {
  static constexpr bool FAST = sizeof(T) == 4, PACKS = false;
  const T* x;
  __device__ void operator()(MomentsState<T>& s, const int64_t (&at)[2], int64_t) const { s.add(x[at[0]], 0); }
};
// The rows are of x and of channel numbers.
template <class T>
struct StoreMoments {
  Parameters<T> p;
  Channels<T> to;
  T *mean, *variance;
  int64_t mean_step, variance_step;
  __device__ void operator()(const MomentsState<T>& s, const int64_t (&at)[2]) const {
    const int64_t c = at[1];
    const T v = s.n > T(0) ? s.squares / s.n : T(0);
    mean[c * mean_step] = s.mean;
    variance[c * variance_step] = v;
    to.mean[c] = s.mean;
    to.scale[c] = (p.gamma ? p.gamma[c * p.gamma_step] : T(1)) / sqrt(v + p.epsilon);
    to.shift[c] = p.beta ? p.beta[c * p.beta_step] : T(0);
  }
};
template <class T>
__global__ void __launch_bounds__(256) prepare_kernel(Parameters<T> p, Channels<T> to, const T* mean, const T* variance,
                                                      int64_t mean_step, int64_t variance_step, int64_t channels) {
#pragma unroll 1
  for (int64_t c = global_thread(); c < channels; c += all_threads()) {
    to.mean[c] = mean[c * mean_step];
    to.scale[c] = (p.gamma ? p.gamma[c * p.gamma_step] : T(1)) / sqrt(variance[c * variance_step] + p.epsilon);
    to.shift[c] = p.beta ? p.beta[c * p.beta_step] : T(0);
    to.slope[c] = T(0);
  }
}

// WIDTH neighbours of an array of channels, or one channel for all of them.
template <int WIDTH, class T>
__device__ inline Several<T, WIDTH> channels_at(const T* p, int64_t c, bool one) {
  if (!one) return load<WIDTH>(p + c);
  Several<T, WIDTH> x;
#pragma unroll
  for (int i = 0; i < WIDTH; ++i) x.v[i] = p[c];
  return x;
}

// The walk: result, x, channel numbers, dy (absent: y = (x - mean) * scale + shift).
template <class T, int WIDTH>
__global__ void __launch_bounds__(256)
    apply_kernel(Walk<4> walk, Channels<T> of, const T* x, const T* dy, bool with_x, T* to) {
  const bool one = WIDTH == 1 || walk.stride[2][walk.ndim - 1] == 0;
#pragma unroll 1
  for (int64_t i = global_thread() * WIDTH; i < walk.size; i += all_threads() * WIDTH) {
    int64_t at[4];
    walk.at(i, at);
    Several<T, WIDTH> out;
    const auto scale = channels_at<WIDTH>(of.scale, at[2], one), shift = channels_at<WIDTH>(of.shift, at[2], one);
    if (!dy) {
      const auto in = load<WIDTH>(x + at[1]), mean = channels_at<WIDTH>(of.mean, at[2], one);
#pragma unroll
      for (int k = 0; k < WIDTH; ++k) out.v[k] = (in.v[k] - mean.v[k]) * scale.v[k] + shift.v[k];
    } else {
      const auto d = load<WIDTH>(dy + at[3]);
#pragma unroll
      for (int k = 0; k < WIDTH; ++k) out.v[k] = d.v[k] * scale.v[k];
      if (with_x) {
        const auto in = load<WIDTH>(x + at[1]), mean = channels_at<WIDTH>(of.mean, at[2], one);
        const auto slope = channels_at<WIDTH>(of.slope, at[2], one);
#pragma unroll
        for (int k = 0; k < WIDTH; ++k) out.v[k] += (in.v[k] - mean.v[k]) * slope.v[k] + shift.v[k];
      }
    }
    store<WIDTH>(to + at[0], out);
  }
}

template <class T>
void apply(const Channels<T>& of, const View& x, const View& dy, bool with_x, int axis, const View& to) {
  const auto walk = walk_over(to, x, numbers(x, axis), dy);
  if (walk.size == 0) return;
  constexpr int N = WIDE<T>;
  const int last = walk.ndim - 1;
  bool packs = walk.shape[last] % N == 0 && (walk.stride[2][last] == 0 || walk.stride[2][last] == 1);
  const View arrays[] = {to, x, View{}, dy};
  for (int k = 0; k < 4; ++k) {
    if (!arrays[k].given()) continue;
    packs = packs && aligned(arrays[k].data) && walk.stride[k][last] == 1;
    for (int d = 0; d < last; ++d) packs = packs && walk.stride[k][d] % N == 0;
  }
  launch(packs ? apply_kernel<T, N> : apply_kernel<T, 1>, blocks_for(packs ? walk.size / N : walk.size, 256, 132 * 16),
         256, 0, stream(), walk, of, x.as<T>(), data<T>(dy), with_x, to.as<T>());
}

template <class T>
struct SlopesState {  // sums of dy and of dy * (x - mean) / sqrt(variance + epsilon)
  T beta, gamma;
  __host__ __device__ void begin() { beta = gamma = 0; }
  __device__ void join(const SlopesState& o) { beta += o.beta, gamma += o.gamma; }
};
// The rows are of x, dy and channel numbers.
template <class T>
struct AddSlopes {
  static constexpr bool FAST = sizeof(T) == 4, PACKS = false;
  const T *x, *dy, *mean;
  int64_t mean_step;
  __device__ void operator()(SlopesState<T>& s, const int64_t (&at)[3], int64_t) const {
    const T d = dy[at[1]];
    s.beta += d;
    s.gamma += d * (x[at[0]] - mean[at[2] * mean_step]);  // the root comes when all is added
  }
};
template <class T>
struct StoreSlopes {
  Parameters<T> p;
  Channels<T> to;
  const T *mean, *variance;
  int64_t mean_step, variance_step;
  T count;
  T *dgamma, *dbeta;  // contiguous, or nullptr
  __device__ void operator()(const SlopesState<T>& s, const int64_t (&at)[3]) const {
    const int64_t c = at[2];
    const T rstd = T(1) / sqrt(variance[c * variance_step] + p.epsilon);
    if (dgamma) dgamma[c] = s.gamma * rstd;
    if (dbeta) dbeta[c] = s.beta;
    const T scale = (p.gamma ? p.gamma[c * p.gamma_step] : T(1)) * rstd;
    to.mean[c] = mean[c * mean_step];
    to.scale[c] = scale;
    to.slope[c] = -scale * s.gamma * rstd * rstd / count;
    to.shift[c] = -scale * s.beta / count;
  }
};
size_t parts_bytes(size_t bytes) { return (bytes + 255) / 256 * 256; }
}  // namespace

size_t batch_norm_scratch(const View& x, int axis) {
  return parts_bytes(channels_bytes(x, axis)) +
         fold_scratch<MomentsState<double>>(rows_over(all_but(x, axis), x, numbers(x, axis)));
}

void batch_norm(const View& x, const View& gamma, const View& beta, int axis, double epsilon, const View& y,
                const View& mean, const View& variance, void* scratch) {
  visit_float(x.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const Channels<T> channels(scratch, x.shape[axis]);
    const Parameters<T> p{data<T>(gamma), data<T>(beta), gamma.stride[0], beta.stride[0], T(epsilon)};
    const StoreMoments<T> store{p, channels, mean.as<T>(), variance.as<T>(), mean.stride[0], variance.stride[0]};
    fold(rows_over(all_but(x, axis), x, numbers(x, axis)), MomentsState<T>{}, AddMoments<T>{x.as<T>()}, store,
         static_cast<char*>(scratch) + parts_bytes(channels_bytes(x, axis)));
    apply(channels, x, View{}, true, axis, y);
  });
}

void batch_norm_inference(const View& x, const View& gamma, const View& beta, const View& mean, const View& variance,
                          int axis, double epsilon, const View& y, void* scratch) {
  if (x.size() == 0) return;
  visit_float(x.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const int64_t C = x.shape[axis];
    const Channels<T> channels(scratch, C);
    const Parameters<T> p{data<T>(gamma), data<T>(beta), gamma.stride[0], beta.stride[0], T(epsilon)};
    launch(prepare_kernel<T>, blocks_for(C, 256), 256, 0, stream(), p, channels, mean.as<T>(), variance.as<T>(),
           mean.stride[0], variance.stride[0], C);
    apply(channels, x, View{}, true, axis, y);
  });
}

size_t batch_norm_gradient_scratch(const View& dy, const View& x, int axis) {
  return parts_bytes(channels_bytes(x, axis)) +
         fold_scratch<SlopesState<double>>(rows_over(all_but(x, axis), x, dy, numbers(x, axis)));
}

void batch_norm_gradient(const View& dy, const View& x, const View& gamma, const View& mean, const View& variance,
                         int axis, double epsilon, bool through_statistics, const View& dx, const View& dgamma,
                         const View& dbeta, void* scratch) {
  const int64_t C = x.shape[axis];
  if (C == 0) return;
  visit_float(x.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const Channels<T> channels(scratch, C);
    const Parameters<T> p{data<T>(gamma), nullptr, gamma.stride[0], 0, T(epsilon)};
    const int64_t mean_step = mean.stride[0], variance_step = variance.stride[0];
    if ((dx.given() && through_statistics) || dgamma.given() || dbeta.given()) {
      const auto rows = rows_over(all_but(x, axis), x, dy, numbers(x, axis));
      const StoreSlopes<T> store{p,
                                 channels,
                                 mean.as<T>(),
                                 variance.as<T>(),
                                 mean_step,
                                 variance_step,
                                 T(rows.length),
                                 data<T>(dgamma),
                                 data<T>(dbeta)};
      fold(rows, SlopesState<T>{}, AddSlopes<T>{x.as<T>(), dy.as<T>(), mean.as<T>(), mean_step}, store,
           static_cast<char*>(scratch) + parts_bytes(channels_bytes(x, axis)));
    } else {
      launch(prepare_kernel<T>, blocks_for(C, 256), 256, 0, stream(), p, channels, mean.as<T>(), variance.as<T>(),
             mean_step, variance_step, C);
    }
    if (dx.given()) apply(channels, x, dy, through_statistics, axis, dx);
  });
}

// ---- layer_norm: the rows are of x, y, gamma, beta, and what there is one of per row ----
namespace {
uint32_t from(const View& x, int axis) { return ((1u << x.ndim) - 1) & ~((1u << axis) - 1); }
View per_row(const View& v, const View& x) {  // v, of the axes before the row, as an array of the dimensions of x
  View w = v;
  w.ndim = x.ndim;
  for (int d = v.ndim; d < x.ndim; ++d) w.shape[d] = 1, w.stride[d] = 0;
  return w;
}

template <class T, int WIDTH>
__global__ void __launch_bounds__(ROW_THREADS)
    layer_norm_kernel(Rows<5> rows, const T* x, const T* gamma, const T* beta, T epsilon, T* y, T* mean, T* rstd) {
  const Team team = team_of(rows);
  for_rows(rows, team, [&](bool real, const int64_t (&at)[5], int64_t) {
    MomentsState<T> state;
    state.begin();
    if (real)
      for_elements<WIDTH>(rows, team, at, [&](int64_t, const int64_t (&here)[5]) {
        const auto in = load<WIDTH>(x + here[0]);
        MomentsState<T> few{T(WIDTH), T(0), T(0)};  // one division for all of them
#pragma unroll
        for (int i = 0; i < WIDTH; ++i) few.mean += in.v[i] * T(1.0 / WIDTH);
#pragma unroll
        for (int i = 0; i < WIDTH; ++i) few.squares += (in.v[i] - few.mean) * (in.v[i] - few.mean);
        state.join(few);
      });
    state = join_team(state, team);
    if (!real) return;
    const T m = state.mean, r = T(1) / sqrt((state.n > T(0) ? state.squares / state.n : T(0)) + epsilon);
    if (team.lane == 0) mean[at[4]] = m, rstd[at[4]] = r;
    for_elements<WIDTH>(rows, team, at, [&](int64_t, const int64_t (&here)[5]) {
      auto out = load<WIDTH>(x + here[0]);
#pragma unroll
      for (int i = 0; i < WIDTH; ++i) out.v[i] = (out.v[i] - m) * r;
      if (gamma) {
        const auto g = load<WIDTH>(gamma + here[2]);
#pragma unroll
        for (int i = 0; i < WIDTH; ++i) out.v[i] *= g.v[i];
      }
      if (beta) {
        const auto b = load<WIDTH>(beta + here[3]);
#pragma unroll
        for (int i = 0; i < WIDTH; ++i) out.v[i] += b.v[i];
      }
      store<WIDTH>(y + here[1], out);
    });
  });
}

// dx = rstd (d - mean(d) - centred mean(d centred)), d = dy gamma. The rows are of x, dx, dy, gamma, mean, rstd.
template <class T, int WIDTH>
__global__ void __launch_bounds__(ROW_THREADS)
    layer_norm_dx_kernel(Rows<6> rows, const T* x, const T* dy, const T* gamma, const T* mean, const T* rstd, T* dx) {
  const Team team = team_of(rows);
  for_rows(rows, team, [&](bool real, const int64_t (&at)[6], int64_t) {
    SlopesState<T> sums;
    sums.begin();
    const T m = real ? mean[at[4]] : T(0), r = real ? rstd[at[5]] : T(0);
    const auto slopes = [&](const int64_t (&here)[6]) {
      auto d = load<WIDTH>(dy + here[2]);
      if (gamma) {
        const auto g = load<WIDTH>(gamma + here[3]);
#pragma unroll
        for (int i = 0; i < WIDTH; ++i) d.v[i] *= g.v[i];
      }
      return d;
    };
    if (real)
      for_elements<WIDTH>(rows, team, at, [&](int64_t, const int64_t (&here)[6]) {
        const auto d = slopes(here), in = load<WIDTH>(x + here[0]);
#pragma unroll
        for (int i = 0; i < WIDTH; ++i) sums.beta += d.v[i], sums.gamma += d.v[i] * ((in.v[i] - m) * r);
      });
    sums = join_team(sums, team);
    if (!real) return;
    const T count = static_cast<T>(rows.length), one = sums.beta / count, two = sums.gamma / count;
    for_elements<WIDTH>(rows, team, at, [&](int64_t, const int64_t (&here)[6]) {
      auto d = slopes(here);
      const auto in = load<WIDTH>(x + here[0]);
#pragma unroll
      for (int i = 0; i < WIDTH; ++i) d.v[i] = r * (d.v[i] - one - (in.v[i] - m) * r * two);
      store<WIDTH>(dx + here[1], d);
    });
  });
}

// Columns of all rows: x, dy, mean, rstd, and the numbers of the elements of a row.
template <class T>
struct AddColumn {
  static constexpr bool FAST = sizeof(T) == 4, PACKS = false;
  const T *x, *dy, *mean, *rstd;
  __device__ void operator()(SlopesState<T>& s, const int64_t (&at)[5], int64_t) const {
    const T d = dy[at[1]];
    s.beta += d;
    s.gamma += d * ((x[at[0]] - mean[at[2]]) * rstd[at[3]]);
  }
};
template <class T>
struct StoreColumn {
  T *dgamma, *dbeta;  // contiguous, or nullptr
  __device__ void operator()(const SlopesState<T>& s, const int64_t (&at)[5]) const {
    if (dgamma) dgamma[at[4]] = s.gamma;
    if (dbeta) dbeta[at[4]] = s.beta;
  }
};
Rows<5> columns_over(const View& x, const View& dy, const View& mean, const View& rstd, int axis) {
  View row;
  row.ndim = static_cast<int8_t>(x.ndim - axis);
  for (int d = axis; d < x.ndim; ++d) row.shape[d - axis] = x.shape[d];
  return rows_over((1u << axis) - 1, x, dy, per_row(mean, x), per_row(rstd, x), row.dense(nullptr));
}
}  // namespace

size_t layer_norm_scratch(const View&, const View&, const View&) { return 0; }

void layer_norm(const View& x, const View& gamma, const View& beta, int axis, double epsilon, const View& y,
                const View& mean, const View& rstd, void*) {
  const auto rows = rows_over(from(x, axis), x, y, gamma, beta, per_row(mean, x));
  if (rows.rows == 0) return;
  visit_float(x.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    constexpr int N = WIDE<T>;
    const uint32_t arrays = 3u | (gamma.given() ? 4u : 0) | (beta.given() ? 8u : 0);
    const bool packs = in_packs(rows, arrays, N, {x.data, y.data, gamma.data, beta.data, nullptr});
    launch(packs ? layer_norm_kernel<T, N> : layer_norm_kernel<T, 1>, rows.blocks(), ROW_THREADS, 0, stream(), rows,
           x.as<T>(), data<T>(gamma), data<T>(beta), T(epsilon), y.as<T>(), mean.as<T>(), rstd.as<T>());
  });
}

size_t layer_norm_gradient_scratch(const View& dy, const View& x, const View&, const View& mean, const View& rstd,
                                   int axis) {
  return fold_scratch<SlopesState<double>>(columns_over(x, dy, mean, rstd, axis));
}

void layer_norm_gradient(const View& dy, const View& x, const View& gamma, const View& mean, const View& rstd, int axis,
                         const View& dx, const View& dgamma, const View& dbeta, void* scratch) {
  visit_float(x.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    constexpr int N = WIDE<T>;
    if (dx.given() && x.size() > 0) {
      const auto rows = rows_over(from(x, axis), x, dx, dy, gamma, per_row(mean, x), per_row(rstd, x));
      const bool packs =
          in_packs(rows, gamma.given() ? 15u : 7u, N, {x.data, dx.data, dy.data, gamma.data, nullptr, nullptr});
      launch(packs ? layer_norm_dx_kernel<T, N> : layer_norm_dx_kernel<T, 1>, rows.blocks(), ROW_THREADS, 0, stream(),
             rows, x.as<T>(), dy.as<T>(), data<T>(gamma), mean.as<T>(), rstd.as<T>(), dx.as<T>());
    }
    if (dgamma.given() || dbeta.given())
      fold(columns_over(x, dy, mean, rstd, axis), SlopesState<T>{},
           AddColumn<T>{x.as<T>(), dy.as<T>(), mean.as<T>(), rstd.as<T>()},
           StoreColumn<T>{data<T>(dgamma), data<T>(dbeta)}, scratch);
  });
}

}  // namespace nnfast
