// What a step writes at its end: metric sums, averages, counters, and the check that its loss is a number.
#include "dtype.cuh"
#include "status.cuh"
#include "walk.cuh"

namespace nnfast {
namespace {

constexpr int THREADS = 256;
constexpr int64_t MOST_BLOCKS = 132 * 16;

// One block: a batch has few values, and so no scratch and no order of blocks. The walk: values, weights.
constexpr int SUM_THREADS = 512;
__global__ void __launch_bounds__(SUM_THREADS)
    accumulate_kernel(double* sums, int64_t sums_step, Walk<2> walk, DType dtype, const void* values,
                      DType weights_dtype, const void* weights, double scale, const Status* status) {
  __shared__ double of_values[SUM_THREADS], of_weights[SUM_THREADS];
  if (stopped(status)) return;
  const int t = threadIdx.x;
  double v = 0, w = 0;
#pragma unroll 1
  for (int64_t i = t; i < walk.size; i += SUM_THREADS) {
    int64_t at[2];
    walk.at(i, at);
    const double weight = weights ? element<double>(weights_dtype, weights, at[1]) : 1.0;
    v += element<double>(dtype, values, at[0]) * weight;
    w += weight;
  }
  of_values[t] = v, of_weights[t] = w;
  __syncthreads();
#pragma unroll 1
  for (int half = SUM_THREADS / 2; half > 0; half /= 2) {
    if (t < half) of_values[t] += of_values[t + half], of_weights[t] += of_weights[t + half];
    __syncthreads();
  }
  if (t == 0) {
    sums[0] += scale * of_values[0];
    sums[sums_step] += scale * of_weights[0];
  }
}

// Does element c with value v come before the row's element `label`? As with NumPy's argmax, the first largest wins,
// and the first NaN over all.
template <class T>
__device__ bool beats(T v, int64_t c, T value, int64_t label) {
  if (c == label) return false;
  if (value != value) return c < label && v != v;
  return c < label ? !(v < value) : !(v <= value);
}

// A warp for each row. The walk: where rows of x begin, labels.
template <class T>
__global__ void __launch_bounds__(THREADS) class_hits_kernel(const T* x, int64_t step, int64_t classes, Walk<2> rows,
                                                             DType dtype, const void* labels, bool* hits) {
  const int lane = threadIdx.x % WARP;
#pragma unroll 1
  for (int64_t r = global_thread() / WARP; r < rows.size; r += all_threads() / WARP) {
    int64_t at[2];
    rows.at(r, at);
    const double wanted = element<double>(dtype, labels, at[1]);
    const bool known = wanted >= 0 && wanted < static_cast<double>(classes) && wanted == floor(wanted);
    const int64_t label = known ? static_cast<int64_t>(wanted) : 0;
    const T* row = x + at[0];
    const T value = row[label * step];
    bool beaten = !known;
#pragma unroll 1
    for (int64_t c = lane; c < classes && !beaten; c += WARP) beaten = beats(row[c * step], c, value, label);
    beaten = __any_sync(~0u, beaten);
    if (lane == 0) hits[r] = !beaten;
  }
}

template <class T>
__global__ void __launch_bounds__(THREADS)
    moving_average_kernel(T* average, const T* value, Walk<2> walk, T keep, T take, const Status* status) {
  if (stopped(status)) return;
#pragma unroll 1
  for (int64_t i = global_thread(); i < walk.size; i += all_threads()) {
    int64_t at[2];
    walk.at(i, at);
    average[at[0]] = keep * average[at[0]] + take * value[at[1]];
  }
}

__global__ void __launch_bounds__(THREADS)
    advance_kernel(int64_t* counter, Walk<1> walk, int64_t amount, const Status* status) {
  if (stopped(status)) return;
#pragma unroll 1
  for (int64_t i = global_thread(); i < walk.size; i += all_threads()) {
    int64_t at[1];
    walk.at(i, at);
    counter[at[0]] += amount;
  }
}

template <class T>
struct BitsAt {  // of the float64 found
  const T* x;
  Walk<1> walk;
  __device__ int64_t size() const { return walk.size; }
  __device__ int64_t operator()(int64_t position) const {
    int64_t at[1];
    walk.at(position, at);
    return __double_as_longlong(x[at[0]]);
  }
};
template <class T>
__global__ void __launch_bounds__(THREADS) check_finite_kernel(BitsAt<T> x, Status* status) {
#pragma unroll 1
  for (int64_t i = global_thread(); i < x.walk.size; i += all_threads()) {
    int64_t at[1];
    x.walk.at(i, at);
    const T v = x.x[at[0]];
    if (v - v != T(0)) note(status, i);  // Inf - Inf and NaN - NaN are NaN
  }
  if (gridDim.x > 1) return;
  __syncthreads();
  if (threadIdx.x == 0) settle(status, NON_FINITE_LOSS, x);
}

}  // namespace

void accumulate(const View& sums, const View& values, const View& weights, double scale, const Status* status) {
  launch(accumulate_kernel, 1, SUM_THREADS, 0, stream(), sums.as<double>(), sums.stride[0], walk_over(values, weights),
         values.dtype, values.data, weights.dtype, weights.given() ? weights.data : nullptr, scale, status);
}

void class_hits(const View& x, const View& labels, const View& y) {
  if (y.size() == 0) return;
  const int last = x.ndim - 1;
  View first = x;  // of each row
  first.ndim = last;
  const Walk<2> rows = walk_over(first, labels);
  visit_float(x.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    launch(class_hits_kernel<T>, blocks_for(rows.size * WARP, THREADS, MOST_BLOCKS), THREADS, 0, stream(), x.as<T>(),
           x.stride[last], x.shape[last], rows, labels.dtype, labels.data, y.as<bool>());
  });
}

void moving_average(const View& average, const View& value, double momentum, double scale, const Status* status) {
  const Walk<2> walk = walk_over(average, value);
  if (walk.size == 0) return;
  visit_float(average.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    launch(moving_average_kernel<T>, blocks_for(walk.size, THREADS, MOST_BLOCKS), THREADS, 0, stream(), average.as<T>(),
           value.as<T>(), walk, static_cast<T>(momentum), static_cast<T>((1 - momentum) * scale), status);
  });
}

void advance(const View& counter, int64_t amount, const Status* status) {
  const Walk<1> walk = walk_over(counter);
  if (walk.size == 0) return;
  launch(advance_kernel, blocks_for(walk.size, THREADS, MOST_BLOCKS), THREADS, 0, stream(), counter.as<int64_t>(), walk,
         amount, status);
}

void check_finite(const View& x, Status* status) {
  if (x.size() == 0) return;
  visit_float(x.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const BitsAt<T> all{x.as<T>(), walk_over(x)};
    const unsigned blocks = blocks_for(all.walk.size, 4 * THREADS, MOST_BLOCKS);  // one of them reports at once
    launch(check_finite_kernel<T>, blocks, THREADS, 0, stream(), all, status);
    if (blocks > 1) launch(settle_kernel<BitsAt<T>>, 1, 1, 0, stream(), status, NON_FINITE_LOSS, all);
  });
}

}  // namespace nnfast
