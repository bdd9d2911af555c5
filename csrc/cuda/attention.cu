// Attention without keeping the scores (T. Dao et al., "FlashAttention", arXiv:2205.14135). A block of threads owns a
// tile of queries (or, for dk and dv, of keys) of one head, walks over the tiles of the other side, and makes each
// tile of scores in registers when it needs it. Forward, the softmax is made on the way: when a larger score turns up,
// what was summed so far shrinks. The gradient first walks once for the numbers that a row of scores shares: its top,
// the sum of its exponentials, and the sum of p * dp. Then dq, dk and dv each have a walk of their own, so that every
// sum has one owner and one order. A result with more features than a tile takes several blocks.
#include "math.cuh"
#include "philox.cuh"

namespace nnfast {
namespace {

constexpr int SIDE = 16, THREADS = SIDE * SIDE;  // threads of a block: SIDE x SIDE small tiles
constexpr int DEPTH = 16;                        // features in shared memory at a time

template <class T>
constexpr int EACH = sizeof(T) == 4 ? 4 : 2;  // a thread's tile is EACH x EACH
template <class T>
constexpr int TILE = SIDE * EACH<T>;

template <class T>
struct Side {  // the rows of one head
  const T* data;
  int64_t row, col, rows, width;
};
template <class T>
struct Heads {  // [B,rows,H,width]
  const T* data = nullptr;
  int64_t stride[4] = {}, rows = 0, width = 0;
  Heads() = default;
  explicit Heads(const View& v) : data(v.as<T>()), rows(v.shape[1]), width(v.shape[3]) {
    for (int i = 0; i < 4; ++i) stride[i] = v.stride[i];
  }
  __device__ Side<T> of(int64_t b, int64_t h) const {
    return {data + b * stride[0] + h * stride[2], stride[1], stride[3], rows, width};
  }
};

template <class T>
struct Problem {
  Heads<T> q, k, v, dy;
  const bool* mask;
  int64_t mask_stride[4];
  int64_t B, T_, H, S;
  T scale;
  bool causal;
  const int64_t* key;
  float rate;
  T drop_scale;
  T* stats;  // [3][B,H,T]: of each query the top score, 1 / the sum of exponentials, the sum of p * dp

  explicit Problem(const AttentionOperands& o)
      : q(o.q),
        k(o.k),
        v(o.v),
        mask(o.mask.given() ? o.mask.as<bool>() : nullptr),
        B(o.q.shape[0]),
        T_(o.q.shape[1]),
        H(o.q.shape[2]),
        S(o.k.shape[1]),
        scale(static_cast<T>(o.scale)),
        causal(o.causal),
        key(o.key),
        rate(static_cast<float>(o.rate)),
        drop_scale(o.rate < 1 ? T(1 / (1 - o.rate)) : T(0)),
        stats(nullptr) {
    for (int i = 0; i < 4; ++i) mask_stride[i] = o.mask.given() ? o.mask.stride[i] : 0;
  }
  __device__ const bool* mask_row(int64_t b, int64_t h, int64_t query) const {
    return mask && query < T_ ? mask + b * mask_stride[0] + h * mask_stride[1] + query * mask_stride[2] : nullptr;
  }
  __device__ bool sees(const bool* row, int64_t query, int64_t key_at) const {
    if (query >= T_ || key_at >= S || (causal && key_at > query)) return false;
    return !row || row[key_at * mask_stride[3]];
  }
  __device__ int64_t line(int64_t b, int64_t h, int64_t query) const { return (b * H + h) * T_ + query; }
};

// Dropout is rare: its numbers come from one copy of their code.
__device__ OUT_OF_LINE inline Words words_of(Key key, int64_t block) {
  return philox(key, static_cast<uint64_t>(block));
}
// What dropout multiplies a probability by. Neighbours share a Philox block, so the last one is kept.
template <class T>
struct Drop {
  bool on;
  Key key;
  float rate;
  T scale;
  int64_t step;  // from row to row of the scores: a multiple of 64
  int64_t block = -1;
  Words words{};

  __device__ explicit Drop(const Problem<T>& p)
      : on(p.key),
        key(p.key ? read_key(p.key) : Key{}),
        rate(p.rate),
        scale(p.drop_scale),
        step((p.S + 63) / 64 * 64) {}
  __device__ T factor(int64_t line, int64_t column) {
    if (!on) return T(1);
    const int64_t element = line * step + column;
    if (element / 4 != block) {
      block = element / 4;
      words = words_of(key, block);
    }
    const unsigned even = element & 2 ? words.v[2] : words.v[0], odd = element & 2 ? words.v[3] : words.v[1];
    return static_cast<float>((element & 1 ? odd : even) >> 8) * 0x1p-24f >= rate ? scale : T(0);
  }
};

// ---- products of tiles ----
template <class T>
struct Room {  // shared memory. Rows are 4 longer than a tile: they begin at different banks, and at 16 bytes
  T a[DEPTH][TILE<T> + 4], b[DEPTH][TILE<T> + 4];
  T weights[TILE<T>][TILE<T> + 4], values[TILE<T>][TILE<T> + 4];
};

// to[feature][row] = rows [first, first + TILE) and features [f0, f0 + DEPTH) of one side; zeros outside.
template <class T>
__device__ inline void load_features(const Side<T>& from, int64_t first, int64_t f0, T (*to)[TILE<T> + 4]) {
  const bool features_first = from.col == 1;
#pragma unroll
  for (int i = 0; i < TILE<T> * DEPTH / THREADS; ++i) {
    const int n = i * THREADS + threadIdx.x;
    const int r = features_first ? n / DEPTH : n % TILE<T>, f = features_first ? n % DEPTH : n / TILE<T>;
    const bool inside = first + r < from.rows && f0 + f < from.width;
    to[f][r] = inside ? from.data[(first + r) * from.row + (f0 + f) * from.col] : T(0);
  }
}

// sum[i][j] = a[a0 + ty * EACH + i, :] * b[b0 + tx * EACH + j, :].
template <class T>
__device__ OUT_OF_LINE void multiply(const Side<T>& a, int64_t a0, const Side<T>& b, int64_t b0, Room<T>& room,
                                     T (&sum)[EACH<T>][EACH<T>]) {
  constexpr int N = EACH<T>;
  const int ty = threadIdx.x / SIDE, tx = threadIdx.x % SIDE;
  T s[N][N] = {};
#pragma unroll 1
  for (int64_t f0 = 0; f0 < a.width; f0 += DEPTH) {
    load_features(a, a0, f0, room.a);
    load_features(b, b0, f0, room.b);
    __syncthreads();
#pragma unroll
    for (int f = 0; f < DEPTH; ++f) {
      T x[N], y[N];
#pragma unroll
      for (int i = 0; i < N; ++i) x[i] = room.a[f][ty * N + i], y[i] = room.b[f][tx * N + i];
#pragma unroll
      for (int i = 0; i < N; ++i)
#pragma unroll
        for (int j = 0; j < N; ++j) s[i][j] += x[i] * y[j];
    }
    __syncthreads();  // before the next features take their places
  }
#pragma unroll
  for (int i = 0; i < N; ++i)
#pragma unroll
    for (int j = 0; j < N; ++j) sum[i][j] = s[i][j];
}

// sum[i][e] += weights[row ty * EACH + i, :] * values[c0 .., e0 + tx * EACH + e], the weights from registers.
template <class T>
__device__ OUT_OF_LINE void add_weighted(const T (&weights)[EACH<T>][EACH<T>], const Side<T>& values, int64_t c0,
                                         int64_t e0, Room<T>& room, T (&sum)[EACH<T>][EACH<T>]) {
  constexpr int N = EACH<T>;
  const int ty = threadIdx.x / SIDE, tx = threadIdx.x % SIDE;
#pragma unroll
  for (int i = 0; i < N; ++i)
#pragma unroll
    for (int j = 0; j < N; ++j) room.weights[tx * N + j][ty * N + i] = weights[i][j];
#pragma unroll 4
  for (int n = threadIdx.x; n < TILE<T> * TILE<T>; n += THREADS) {
    const int c = n / TILE<T>, e = n % TILE<T>;
    const bool inside = c0 + c < values.rows && e0 + e < values.width;
    room.values[c][e] = inside ? values.data[(c0 + c) * values.row + (e0 + e) * values.col] : T(0);
  }
  __syncthreads();
#pragma unroll 8
  for (int c = 0; c < TILE<T>; ++c) {
    T x[N], y[N];
#pragma unroll
    for (int i = 0; i < N; ++i) x[i] = room.weights[c][ty * N + i], y[i] = room.values[c][tx * N + i];
#pragma unroll
    for (int i = 0; i < N; ++i)
#pragma unroll
      for (int e = 0; e < N; ++e) sum[i][e] += x[i] * y[e];
  }
  __syncthreads();  // before the next tile takes their places
}

// The SIDE threads of a row lie side by side in a warp; each gets the result.
template <class T>
__device__ inline T row_largest(T x) {
#pragma unroll
  for (int apart = SIDE / 2; apart > 0; apart /= 2) x = max(x, __shfl_xor_sync(~0u, x, apart, SIDE));
  return x;
}
template <class T>
__device__ inline T row_sum(T x) {
#pragma unroll
  for (int apart = SIDE / 2; apart > 0; apart /= 2) x += __shfl_xor_sync(~0u, x, apart, SIDE);
  return x;
}

// ---- forward, and the first walk of the gradient ----
struct Place {  // of a block: a head, and the first row of its tile
  int64_t b, h, first;
};
template <class T>
__device__ inline Place place(const Problem<T>& p, int64_t rows) {
  const int64_t tiles = ceil_div(rows, TILE<T>), head = blockIdx.x / tiles;
  return {head / p.H, head % p.H, blockIdx.x % tiles * TILE<T>};
}

// y = dropout(softmax(scores)) v; or, without y, what the gradient needs of each row. Scores pass through memory of the
// thread on their way out of multiply() anyway, so the loop over rows is not unrolled.
template <class T>
__global__ void __launch_bounds__(THREADS) rows_kernel(Problem<T> p, T* y) {
  constexpr int N = EACH<T>;
  __shared__ __align__(16) Room<T> room;
  const Place at = place(p, p.T_);
  const int64_t i0 = at.first, e0 = int64_t{blockIdx.y} * TILE<T>;
  const int ty = threadIdx.x / SIDE, tx = threadIdx.x % SIDE;
  const Side<T> q = p.q.of(at.b, at.h), k = p.k.of(at.b, at.h), v = p.v.of(at.b, at.h);
  const bool stats = !y;
  Drop<T> drop(p);
  T top[N], total[N], sum[N][N] = {};  // stats: sum[i][0] is that of p * dp
#pragma unroll
  for (int i = 0; i < N; ++i) top[i] = -T(INFINITY), total[i] = T(0);

  const int64_t end = p.causal && i0 + TILE<T> < p.S ? i0 + TILE<T> : p.S;
#pragma unroll 1
  for (int64_t j0 = 0; j0 < end; j0 += TILE<T>) {
    T s[N][N], dp[N][N] = {};
    multiply(q, i0, k, j0, room, s);
    if (stats) multiply(p.dy.of(at.b, at.h), i0, v, j0, room, dp);
#pragma unroll 1
    for (int i = 0; i < N; ++i) {
      const int64_t query = i0 + ty * N + i;
      const bool* const seen = p.mask_row(at.b, at.h, query);
      T largest = top[i];
#pragma unroll
      for (int j = 0; j < N; ++j) {
        s[i][j] = p.sees(seen, query, j0 + tx * N + j) ? s[i][j] * p.scale : -T(INFINITY);
        largest = max(largest, s[i][j]);
      }
      largest = row_largest(largest);
      const bool nothing = largest == -T(INFINITY);
      const T shrink = nothing ? T(1) : exp(top[i] - largest);
      top[i] = largest;
      total[i] *= shrink;
#pragma unroll
      for (int e = 0; e < N; ++e) sum[i][e] *= shrink;
#pragma unroll
      for (int j = 0; j < N; ++j) {
        const T weight = nothing ? T(0) : exp(s[i][j] - largest);
        s[i][j] = weight * drop.factor(p.line(at.b, at.h, query), j0 + tx * N + j);
        total[i] += weight;
        sum[i][0] += s[i][j] * dp[i][j];  // of y: nothing
      }
    }
    if (!stats) add_weighted(s, v, j0, e0, room, sum);
  }

#pragma unroll 1
  for (int i = 0; i < N; ++i) {
    const T all = row_sum(total[i]), share = all == T(0) ? T(0) : T(1) / all;
    const T products = row_sum(sum[i][0]);
    const int64_t query = i0 + ty * N + i, line = p.line(at.b, at.h, query), lines = p.B * p.H * p.T_;
    if (query >= p.T_) continue;
    if (stats) {
      if (tx > 0) continue;
      p.stats[line] = top[i] == -T(INFINITY) ? T(0) : top[i];
      p.stats[lines + line] = share;
      p.stats[2 * lines + line] = products * share;
    } else {
#pragma unroll
      for (int e = 0; e < N; ++e) {
        const int64_t feature = e0 + tx * N + e;
        if (feature < v.width) y[((at.b * p.T_ + query) * p.H + at.h) * v.width + feature] = sum[i][e] * share;
      }
    }
  }
}

// ---- the second walk of the gradient: one of dq, dk, dv, [B,rows,H,width] ----
enum class Wanted { dq, dk, dv };

template <class T>
__global__ void __launch_bounds__(THREADS) gradient_kernel(Problem<T> p, Wanted wanted, T* result) {
  constexpr int N = EACH<T>;
  __shared__ __align__(16) Room<T> room;
  const bool keys = wanted != Wanted::dq;  // the rows of the tile are keys, its columns queries
  const Place at = place(p, keys ? p.S : p.T_);
  const int64_t r0 = at.first, e0 = int64_t{blockIdx.y} * TILE<T>, lines = p.B * p.H * p.T_;
  const int ty = threadIdx.x / SIDE, tx = threadIdx.x % SIDE;
  const Side<T> q = p.q.of(at.b, at.h), k = p.k.of(at.b, at.h), v = p.v.of(at.b, at.h), dy = p.dy.of(at.b, at.h);
  const Side<T> values = wanted == Wanted::dq ? k : wanted == Wanted::dk ? q : dy;
  Drop<T> drop(p);
  T sum[N][N] = {};

  const int64_t columns = keys ? p.T_ : p.S;
  const int64_t begin = keys && p.causal ? r0 : 0;  // a query sees the keys up to its own position
  const int64_t end = !keys && p.causal && r0 + TILE<T> < columns ? r0 + TILE<T> : columns;
#pragma unroll 1
  for (int64_t c0 = begin; c0 < end; c0 += TILE<T>) {
    T s[N][N], dp[N][N];
    multiply(keys ? k : q, r0, keys ? q : k, c0, room, s);
    if (wanted != Wanted::dv) multiply(keys ? v : dy, r0, keys ? dy : v, c0, room, dp);
#pragma unroll 1
    for (int a = 0; a < N; ++a) {
      const int64_t query = keys ? c0 + tx * N + a : r0 + ty * N + a, line = p.line(at.b, at.h, query);
      const bool there = query < p.T_;
      const bool* const seen = p.mask_row(at.b, at.h, query);
      const T top = there ? p.stats[line] : T(0), share = there ? p.stats[lines + line] : T(0);
      const T products = there ? p.stats[2 * lines + line] : T(0);
#pragma unroll
      for (int b = 0; b < N; ++b) {
        const int64_t key = keys ? r0 + ty * N + b : c0 + tx * N + b;
        const int i = keys ? b : a, j = keys ? a : b;
        const T probability = p.sees(seen, query, key) ? exp(s[i][j] * p.scale - top) * share : T(0);
        const T factor = drop.factor(line, key);
        if (wanted == Wanted::dv)
          s[i][j] = probability * factor;
        else
          s[i][j] = probability * (dp[i][j] * factor - products) * p.scale;
      }
    }
    add_weighted(s, values, c0, e0, room, sum);
  }
  const int64_t rows = keys ? p.S : p.T_;
#pragma unroll
  for (int i = 0; i < N; ++i)
#pragma unroll
    for (int e = 0; e < N; ++e) {
      const int64_t row = r0 + ty * N + i, feature = e0 + tx * N + e;
      if (row < rows && feature < values.width)
        result[((at.b * rows + row) * p.H + at.h) * values.width + feature] = sum[i][e];
    }
}

// A block for each head and tile of rows, and for each tile of the features of the result.
template <class T>
dim3 grid_of(const Problem<T>& p, int64_t rows, int64_t features) {
  return dim3(static_cast<unsigned>(p.B * p.H * ceil_div(rows, TILE<T>)),
              static_cast<unsigned>(ceil_div(features, TILE<T>)));
}

}  // namespace

size_t attention_scratch(const AttentionOperands&) { return 0; }

void attention(const AttentionOperands& o, const View& y, void*) {
  if (y.size() == 0) return;
  visit_float(o.q.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const Problem<T> p(o);
    launch(rows_kernel<T>, grid_of(p, p.T_, p.v.width), THREADS, 0, stream(), p, y.as<T>());
  });
}

size_t attention_gradient_scratch(const AttentionOperands& o) {
  return static_cast<size_t>(3 * o.q.shape[0] * o.q.shape[1] * o.q.shape[2] * size_of(o.q.dtype));
}

void attention_gradient(const View& dy, const AttentionOperands& o, const View& dq, const View& dk, const View& dv,
                        void* scratch) {
  visit_float(o.q.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    Problem<T> p(o);
    p.dy = Heads<T>(dy);
    p.stats = static_cast<T*>(scratch);
    if (p.B * p.H * p.T_ > 0)
      launch(rows_kernel<T>, grid_of(p, p.T_, 1), THREADS, 0, stream(), p, static_cast<T*>(nullptr));
    const auto start = [&](Wanted wanted, const View& d) {
      if (d.size())
        launch(gradient_kernel<T>, grid_of(p, d.shape[1], d.shape[3]), THREADS, 0, stream(), p, wanted, d.as<T>());
    };
    start(Wanted::dq, dq);
    start(Wanted::dk, dk);
    start(Wanted::dv, dv);
  });
}

}  // namespace nnfast
