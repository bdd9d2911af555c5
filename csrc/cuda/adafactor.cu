// Adafactor: a step whose size depends on norms, so it walks over a variable four times: the norm of w; the means of
// g^2 by rows and columns; v from them, and the norm of g / sqrt(v); the step. N. Shazeer, M. Stern, arXiv:1804.04235.
// Sums are in double, by blocks whose parts a later kernel adds in order.
#include <algorithm>

#include "block_sum.cuh"
#include "math.cuh"
#include "status.cuh"

namespace nnfast {
namespace {

constexpr int THREADS = 256;
constexpr int64_t CHUNK = 1 << 13;    // elements whose squares a block adds
constexpr int64_t MOST_STRIPES = 64;  // of rows in one matrix: each has column sums of its own
constexpr int64_t MOST_BLOCKS = 132 * 8;

struct Plan {
  int64_t size, chunks;              // the variable as one range
  int64_t stripes, rows_per_stripe;  // of one matrix
  explicit Plan(const AdafactorPart& p) : size(p.batch * p.rows * p.columns), chunks(ceil_div(size, CHUNK)) {
    stripes = rows_per_stripe = 0;
    if (!p.row || size == 0) return;
    rows_per_stripe = std::max<int64_t>(16, ceil_div(p.rows, MOST_STRIPES));
    stripes = ceil_div(p.rows, rows_per_stripe);
  }
};

// What the kernels share. Scratch: the sums of each chunk, of w and of the step; the column sums of each stripe; the
// mean of the rows' factors of each matrix.
struct Step {
  AdafactorPart part;
  Plan plan;
  Adafactor how;
  const double* lr;
  const int64_t* step;
  double weight_decay;
  const Status* status;
  double *norms, *spreads, *columns, *means;

  __device__ double t() const { return static_cast<double>(*step) + 1; }
  __device__ double beta() const { return 1 - ::pow(t(), how.beta_2_decay); }
  __device__ double decay() const { return weight_decay * *lr; }
};

__device__ inline double square(double x) { return x * x; }

// norms[chunk] = the sum of the squares of the decayed w.
template <class T>
__global__ void __launch_bounds__(THREADS) norm_kernel(Step s) {
  __shared__ double room[THREADS];
  if (stopped(s.status)) return;
  const T shrink = T(1 - s.decay());
#pragma unroll 1
  for (int64_t chunk = blockIdx.x; chunk < s.plan.chunks; chunk += gridDim.x) {
    const int64_t from = chunk * CHUNK, n = s.plan.size - from < CHUNK ? s.plan.size - from : CHUNK;
    const T* w = static_cast<const T*>(s.part.w) + from;
    const double sum = block_sum<THREADS>(n, room, [=](int64_t i) { return square(shrink * w[i]); });
    if (threadIdx.x == 0) s.norms[chunk] = sum;
  }
}

// A factor of each row: a block per row.
template <class T>
__global__ void __launch_bounds__(THREADS) rows_kernel(Step s) {
  __shared__ double room[THREADS];
  if (stopped(s.status)) return;
  const AdafactorPart& p = s.part;
  const double beta = s.beta();
  const T old = T(beta), rest = T(1 - beta), epsilon = T(s.how.epsilon_1);
#pragma unroll 1
  for (int64_t row = blockIdx.x; row < p.batch * p.rows; row += gridDim.x) {
    const T* g = static_cast<const T*>(p.g) + row * p.columns;
    const double sum = block_sum<THREADS>(p.columns, room, [=](int64_t i) { return double(g[i] * g[i] + epsilon); });
    T& factor = static_cast<T*>(p.row)[row];
    if (threadIdx.x == 0) factor = old * factor + rest * T(sum / p.columns);
  }
}

// The mean of the rows' factors of each matrix, which all its elements divide by.
template <class T>
__global__ void __launch_bounds__(THREADS) means_kernel(Step s) {
  __shared__ double room[THREADS];
  if (stopped(s.status)) return;
#pragma unroll 1
  for (int64_t matrix = blockIdx.x; matrix < s.part.batch; matrix += gridDim.x) {
    const T* row = static_cast<const T*>(s.part.row) + matrix * s.part.rows;
    const double sum = block_sum<THREADS>(s.part.rows, room, [=](int64_t i) { return static_cast<double>(row[i]); });
    if (threadIdx.x == 0) s.means[matrix] = sum / s.part.rows;
  }
}

// Column sums of a stripe of rows: a thread per column, so that a warp reads along a row.
template <class T>
__global__ void __launch_bounds__(THREADS) stripes_kernel(Step s) {
  if (stopped(s.status)) return;
  const AdafactorPart& p = s.part;
  const T epsilon = T(s.how.epsilon_1);
#pragma unroll 1
  for (int64_t i = global_thread(); i < p.batch * s.plan.stripes * p.columns; i += all_threads()) {
    const int64_t column = i % p.columns, stripe = i / p.columns % s.plan.stripes;
    const int64_t matrix = i / p.columns / s.plan.stripes;
    const int64_t begin = stripe * s.plan.rows_per_stripe, end = begin + s.plan.rows_per_stripe;
    const T* g = static_cast<const T*>(p.g) + matrix * p.rows * p.columns + column;
    double sum = 0;
    for (int64_t row = begin; row < end && row < p.rows; ++row)
      sum += static_cast<double>(g[row * p.columns] * g[row * p.columns] + epsilon);
    s.columns[i] = sum;
  }
}
// A factor of each column.
template <class T>
__global__ void __launch_bounds__(THREADS) columns_kernel(Step s) {
  if (stopped(s.status)) return;
  const AdafactorPart& p = s.part;
  const double beta = s.beta();
#pragma unroll 1
  for (int64_t i = global_thread(); i < p.batch * p.columns; i += all_threads()) {
    const int64_t matrix = i / p.columns, column = i % p.columns;
    double sum = 0;
#pragma unroll 1
    for (int64_t k = 0; k < s.plan.stripes; ++k) sum += s.columns[(matrix * s.plan.stripes + k) * p.columns + column];
    T& factor = static_cast<T*>(p.column)[i];
    factor = T(beta) * factor + T(1 - beta) * T(sum / p.rows);
  }
}

// v from its factors or, without them, as an average; spreads[chunk] = the sum of (g / sqrt(v))^2.
template <class T>
__global__ void __launch_bounds__(THREADS) spread_kernel(Step s) {
  __shared__ double room[THREADS];
  if (stopped(s.status)) return;
  const AdafactorPart& p = s.part;
  const double beta = s.beta();
  const T old = T(beta), rest = T(1 - beta), epsilon = T(s.how.epsilon_1);
  const T *g = static_cast<const T*>(p.g), *rows = static_cast<const T*>(p.row);
  const T* columns = static_cast<const T*>(p.column);
  T* v = static_cast<T*>(p.v);
#pragma unroll 1
  for (int64_t chunk = blockIdx.x; chunk < s.plan.chunks; chunk += gridDim.x) {
    const int64_t from = chunk * CHUNK, n = s.plan.size - from < CHUNK ? s.plan.size - from : CHUNK;
    const double sum = block_sum<THREADS>(n, room, [&](int64_t k) {
      const int64_t i = from + k;
      const T here = g[i];
      T now;
      if (rows) {
        const int64_t row = i / p.columns, matrix = row / p.rows;
        now = T(static_cast<double>(rows[row]) / s.means[matrix]) * columns[matrix * p.columns + i % p.columns];
      } else {
        now = old * v[i] + rest * (here * here + epsilon);
      }
      v[i] = now;
      return square(static_cast<double>(here)) / static_cast<double>(now);
    });
    if (threadIdx.x == 0) s.spreads[chunk] = sum;
  }
}

template <class T>
__global__ void __launch_bounds__(THREADS) move_kernel(Step s) {
  __shared__ double room[THREADS];
  if (stopped(s.status)) return;
  const double size =
      ::sqrt(block_sum<THREADS>(s.plan.chunks, room, [&](int64_t i) { return s.norms[i]; }) / s.plan.size);
  const double spread = block_sum<THREADS>(s.plan.chunks, room, [&](int64_t i) { return s.spreads[i]; });
  const double over = ::sqrt(spread / s.plan.size) / s.how.clip_threshold, most = 1 / ::sqrt(s.t());
  const double rate = (size <= s.how.epsilon_2 ? s.how.epsilon_2 : size) * (*s.lr < most ? *s.lr : most);
  const T move = T(rate / (over <= 1 ? 1 : over)), decay = T(s.decay());  // written so that NaN stays
  T* w = static_cast<T*>(s.part.w);
  const T *g = static_cast<const T*>(s.part.g), *v = static_cast<const T*>(s.part.v);
#pragma unroll 1
  for (int64_t i = global_thread(); i < s.plan.size; i += all_threads())
    w[i] = w[i] - w[i] * decay - move * g[i] / sqrt(v[i]);
}

}  // namespace

size_t adafactor_scratch(const AdafactorPart& p) {
  const Plan plan(p);
  return sizeof(double) * static_cast<size_t>(2 * plan.chunks + p.batch * (plan.stripes * p.columns + 1));
}

void adafactor(const AdafactorPart& part, const double* lr, const int64_t* step, const Adafactor& how,
               double weight_decay, void* scratch, const Status* status) {
  const Plan plan(part);
  if (plan.size == 0) return;
  Step s{part, plan, how, lr, step, weight_decay, status, static_cast<double*>(scratch), nullptr, nullptr, nullptr};
  s.spreads = s.norms + plan.chunks;
  s.columns = s.spreads + plan.chunks;
  s.means = s.columns + part.batch * plan.stripes * part.columns;
  const auto blocks = [](int64_t items, int64_t each) { return blocks_for(items, each, MOST_BLOCKS); };
  visit_float(part.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    launch(norm_kernel<T>, blocks(plan.chunks, 1), THREADS, 0, stream(), s);
    if (part.row) {
      launch(rows_kernel<T>, blocks(part.batch * part.rows, 1), THREADS, 0, stream(), s);
      launch(means_kernel<T>, blocks(part.batch, 1), THREADS, 0, stream(), s);
      launch(stripes_kernel<T>, blocks(part.batch * plan.stripes * part.columns, THREADS), THREADS, 0, stream(), s);
      launch(columns_kernel<T>, blocks(part.batch * part.columns, THREADS), THREADS, 0, stream(), s);
    }
    launch(spread_kernel<T>, blocks(plan.chunks, 1), THREADS, 0, stream(), s);
    launch(move_kernel<T>, blocks(plan.size, 4 * THREADS), THREADS, 0, stream(), s);
  });
}

}  // namespace nnfast
