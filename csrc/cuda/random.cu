// Random numbers: each from its own position and the key, which is read when the kernel runs, so that a replay draws
// anew. A thread makes what one Philox block gives: 16 bytes.
#include "math.cuh"
#include "philox.cuh"
#include "walk.cuh"

namespace nnfast {
namespace {

constexpr int THREADS = 256;
constexpr int64_t MOST_BLOCKS = 132 * 16;

template <class T>
struct Uniform {
  T low, range;
  __device__ void operator()(Key key, int64_t block, T (&y)[Pack<T>::N]) const {
    units(philox(key, static_cast<uint64_t>(block)), y);
#pragma unroll
    for (T& v : y) v = rounded_sum(low, rounded_product(range, v));
  }
};

__device__ inline void sincos_turn(float turn, float& sine, float& cosine) { sincospif(2 * turn, &sine, &cosine); }
__device__ inline void sincos_turn(double turn, double& sine, double& cosine) { sincospi(2 * turn, &sine, &cosine); }

// Standard normals, by Box and Muller from pairs (u, v): sqrt(-2 log(1 - u)) times cos and sin of 2 pi v.
template <class T>
__device__ inline void normals(Key key, int64_t block, T (&z)[Pack<T>::N]) {
  units(philox(key, static_cast<uint64_t>(block)), z);
#pragma unroll
  for (int i = 0; i < Pack<T>::N; i += 2) {
    const T radius = sqrt(T(-2) * log(T(1) - z[i]));
    T sine, cosine;
    sincos_turn(z[i + 1], sine, cosine);
    z[i] = rounded_product(radius, cosine);
    z[i + 1] = rounded_product(radius, sine);
  }
}
template <class T>
struct Normal {
  T mean, stddev;
  __device__ void operator()(Key key, int64_t block, T (&y)[Pack<T>::N]) const {
    normals(key, block, y);
#pragma unroll
    for (T& v : y) v = rounded_sum(mean, rounded_product(stddev, v));
  }
};

// Each element is the first of the draws `draw` + 2^32 j, j = 0, 1, ..., that is within two standard deviations.
template <class T>
struct TruncatedNormal {
  T mean, stddev;
  __device__ void operator()(Key key, int64_t block, T (&y)[Pack<T>::N]) const {
    normals(key, block, y);
    for (;;) {
      bool outside = false;
#pragma unroll
      for (const T v : y) outside = outside || v < T(-2) || v > T(2);
      if (!outside) break;
      key.draw += uint64_t{1} << 32;
      T again[Pack<T>::N];
      normals(key, block, again);
#pragma unroll
      for (int i = 0; i < Pack<T>::N; ++i) y[i] = y[i] < T(-2) || y[i] > T(2) ? again[i] : y[i];
    }
#pragma unroll
    for (T& v : y) v = rounded_sum(mean, rounded_product(stddev, v));
  }
};

// y[size] = make(key, block of N elements). packs: y begins at a multiple of 16 bytes.
template <class T, class Make>
__global__ void __launch_bounds__(THREADS) fill_kernel(const int64_t* key, Make make, int64_t size, bool packs, T* y) {
  constexpr int N = Pack<T>::N;
  const Key k = read_key(key);
#pragma unroll 1
  for (int64_t block = global_thread(); block * N < size; block += all_threads()) {
    Pack<T> made;
    make(k, block, made.v);
    if (packs && block * N + N <= size) {
      reinterpret_cast<Pack<T>*>(y)[block] = made;
    } else {
#pragma unroll
      for (int i = 0; i < N; ++i)
        if (block * N + i < size) y[block * N + i] = made.v[i];
    }
  }
}
template <class T, class Make>
void fill(const int64_t* key, const Make& make, const View& y) {
  if (y.size() == 0) return;
  launch(fill_kernel<T, Make>, blocks_for(y.size(), THREADS * Pack<T>::N, MOST_BLOCKS), THREADS, 0, stream(), key, make,
         y.size(), aligned(y.data), y.as<T>());
}

}  // namespace

void random_uniform(const int64_t* key, double low, double high, const View& y) {
  visit_float(y.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    fill<T>(key, Uniform<T>{T(low), T(high - low)}, y);
  });
}
void random_normal(const int64_t* key, double mean, double stddev, const View& y) {
  visit_float(y.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    fill<T>(key, Normal<T>{T(mean), T(stddev)}, y);
  });
}
void random_truncated_normal(const int64_t* key, double mean, double stddev, const View& y) {
  visit_float(y.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    fill<T>(key, TruncatedNormal<T>{T(mean), T(stddev)}, y);
  });
}

// ---- dropout ----

namespace {

// Four elements per thread, for they share a Philox block: the numbers are float32 whatever x is.
template <class T>
struct alignas(16) Four {
  T v[4];
};
template <class T>
__global__ void __launch_bounds__(THREADS)
    dropout_kernel(const T* x, const int64_t* key, float rate, T scale, int64_t size, bool packs, T* y) {
  const Key k = read_key(key);
#pragma unroll 1
  for (int64_t block = global_thread(); block * 4 < size; block += all_threads()) {
    float u[4];
    units(philox(k, static_cast<uint64_t>(block)), u);
    if (packs && block * 4 + 4 <= size) {
      Four<T> v = reinterpret_cast<const Four<T>*>(x)[block];
#pragma unroll
      for (int i = 0; i < 4; ++i) v.v[i] = u[i] >= rate ? v.v[i] * scale : T(0);
      reinterpret_cast<Four<T>*>(y)[block] = v;
    } else {
#pragma unroll
      for (int i = 0; i < 4; ++i)
        if (block * 4 + i < size) y[block * 4 + i] = u[i] >= rate ? x[block * 4 + i] * scale : T(0);
    }
  }
}

// One number for several elements. The walk: y (and x), noise.
template <class T>
__global__ void __launch_bounds__(THREADS)
    dropout_noise_kernel(const T* x, const float* noise, float rate, T scale, Walk<2> walk, T* y) {
#pragma unroll 1
  for (int64_t i = global_thread(); i < walk.size; i += all_threads()) {
    int64_t at[2];
    walk.at(i, at);
    y[at[0]] = noise[at[1]] >= rate ? x[at[0]] * scale : T(0);
  }
}

}  // namespace

void dropout(const View& x, const int64_t* key, double rate, const View& noise, const View& y) {
  if (y.size() == 0) return;
  const float limit = static_cast<float>(rate);
  if (noise.given()) random_uniform(key, 0, 1, noise);
  visit_float(x.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const T scale = rate < 1 ? T(1 / (1 - rate)) : T(0);
    if (noise.given()) {
      const Walk<2> walk = walk_over(y, noise);
      launch(dropout_noise_kernel<T>, blocks_for(walk.size, THREADS, MOST_BLOCKS), THREADS, 0, stream(), x.as<T>(),
             noise.as<float>(), limit, scale, walk, y.as<T>());
    } else {
      launch(dropout_kernel<T>, blocks_for(y.size(), 4 * THREADS, MOST_BLOCKS), THREADS, 0, stream(), x.as<T>(), key,
             limit, scale, y.size(), aligned(x.data) && aligned(y.data), y.as<T>());
    }
  });
}

// ---- permutation: numbers sorted by their random words ----
// Random words fall evenly into buckets by their leading bits, in any order; then a block sorts each bucket in shared
// memory by (word, number), so the order of arrival is forgotten.

namespace {

constexpr int ROOM = 1024;  // numbers that a block can sort
// Buckets get 256 to 512 numbers each, so a bucket with more than ROOM would be 20 standard deviations from the mean.
int bucket_bits(int64_t n) {
  int bits = 0;
  while ((int64_t{512} << bits) < n) ++bits;
  return bits;
}
__device__ inline int64_t bucket_of(uint64_t word, int bits) {
  return bits ? static_cast<int64_t>(word >> (64 - bits)) : 0;
}

struct Numbered {
  uint64_t word;
  int64_t number;
};
struct Buckets {
  Numbered* sorted;            // [n], by bucket
  unsigned long long* counts;  // [buckets]: how many; then where the next one goes, in the end where the bucket ends
  int bits;
  int64_t count() const { return int64_t{1} << bits; }
};

__global__ void __launch_bounds__(THREADS) clear_counts(Buckets b, int64_t count) {
#pragma unroll 1
  for (int64_t i = global_thread(); i < count; i += all_threads()) b.counts[i] = 0;
}
__global__ void __launch_bounds__(THREADS) count_words(const int64_t* key, int64_t n, Buckets b) {
  const Key k = read_key(key);
#pragma unroll 1
  for (int64_t block = global_thread(); block * 2 < n; block += all_threads()) {
    const Words w = philox(k, static_cast<uint64_t>(block));
    for (int i = 0; i < 2; ++i)
      if (block * 2 + i < n) atomicAdd(b.counts + bucket_of(word_64(w, i), b.bits), 1ULL);
  }
}
// counts become the places where buckets begin: one block, whose threads take runs of neighbours.
__global__ void __launch_bounds__(THREADS) place_buckets(Buckets b, int64_t count) {
  __shared__ unsigned long long sums[THREADS];
  const int t = threadIdx.x;
  const int64_t each = ceil_div(count, THREADS), begin = t * each, end = begin + each < count ? begin + each : count;
  unsigned long long sum = 0;
#pragma unroll 1
  for (int64_t i = begin; i < end; ++i) sum += b.counts[i];
  sums[t] = sum;
  __syncthreads();
  unsigned long long before = 0;
#pragma unroll 1
  for (int i = 0; i < t; ++i) before += sums[i];
#pragma unroll 1
  for (int64_t i = begin; i < end; ++i) {
    const unsigned long long here = b.counts[i];
    b.counts[i] = before;
    before += here;
  }
}
__global__ void __launch_bounds__(THREADS) spread_words(const int64_t* key, int64_t n, Buckets b) {
  const Key k = read_key(key);
#pragma unroll 1
  for (int64_t block = global_thread(); block * 2 < n; block += all_threads()) {
    const Words w = philox(k, static_cast<uint64_t>(block));
    for (int i = 0; i < 2; ++i)
      if (block * 2 + i < n)
        b.sorted[atomicAdd(b.counts + bucket_of(word_64(w, i), b.bits), 1ULL)] = {word_64(w, i), block * 2 + i};
  }
}
// A bitonic sort (K. Batcher, "Sorting networks and their applications", 1968) of each bucket.
__global__ void __launch_bounds__(THREADS) sort_buckets(Buckets b, int64_t count, int64_t* y) {
  __shared__ uint64_t words[ROOM];
  __shared__ int64_t numbers[ROOM];
#pragma unroll 1
  for (int64_t bucket = blockIdx.x; bucket < count; bucket += gridDim.x) {
    const int64_t begin = bucket ? static_cast<int64_t>(b.counts[bucket - 1]) : 0;
    const int64_t end = static_cast<int64_t>(b.counts[bucket]);
    const int n = static_cast<int>(end - begin < ROOM ? end - begin : ROOM);
    int size = 2;
    while (size < n) size *= 2;
#pragma unroll 1
    for (int i = threadIdx.x; i < size; i += THREADS) {
      words[i] = i < n ? b.sorted[begin + i].word : ~uint64_t{0};
      numbers[i] = i < n ? b.sorted[begin + i].number : (~uint64_t{0} >> 1);  // after all others
    }
    __syncthreads();
#pragma unroll 1
    for (int run = 2; run <= size; run *= 2)
#pragma unroll 1
      for (int apart = run / 2; apart > 0; apart /= 2) {
#pragma unroll 1
        for (int pair = threadIdx.x; pair < size / 2; pair += THREADS) {
          const int i = pair / apart * 2 * apart + pair % apart, j = i + apart;
          const bool wrong = words[i] != words[j] ? words[i] > words[j] : numbers[i] > numbers[j];
          if (wrong != ((i & run) != 0)) {
            const uint64_t word = words[i];
            const int64_t number = numbers[i];
            words[i] = words[j], numbers[i] = numbers[j];
            words[j] = word, numbers[j] = number;
          }
        }
        __syncthreads();
      }
#pragma unroll 1
    for (int i = threadIdx.x; i < n; i += THREADS) y[begin + i] = numbers[i];
    __syncthreads();  // before the next bucket takes its place
  }
}

}  // namespace

size_t permutation_scratch(int64_t n) {
  return static_cast<size_t>(n) * sizeof(Numbered) + (sizeof(unsigned long long) << bucket_bits(n));
}

void permutation(const int64_t* key, const View& y, void* scratch) {
  const int64_t n = y.shape[0];
  if (n == 0) return;
  Buckets b;
  b.bits = bucket_bits(n);
  b.sorted = static_cast<Numbered*>(scratch);
  b.counts = reinterpret_cast<unsigned long long*>(b.sorted + n);
  const unsigned blocks = blocks_for(n, 2 * THREADS, MOST_BLOCKS);
  launch(clear_counts, blocks_for(b.count(), THREADS, MOST_BLOCKS), THREADS, 0, stream(), b, b.count());
  launch(count_words, blocks, THREADS, 0, stream(), key, n, b);
  launch(place_buckets, 1, THREADS, 0, stream(), b, b.count());
  launch(spread_words, blocks, THREADS, 0, stream(), key, n, b);
  launch(sort_buckets, blocks_for(b.count(), 1, 1 << 16), THREADS, 0, stream(), b, b.count(), y.as<int64_t>());
}

}  // namespace nnfast
