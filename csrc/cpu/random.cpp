// Random numbers: each element from its own position and the key, so chunks need not know of each other. The key is
// read here, from its buffer, so that a replay draws anew.
#include <algorithm>
#include <cstring>

#include "../ops.h"
#include "kernels.h"
#include "parallel.h"
#include "walk.h"

namespace nnfast {
namespace {

constexpr int64_t GRAIN = 1 << 13;  // elements: a multiple of the pieces of generic/random.cpp

struct Numbered {
  uint64_t word;
  int64_t number;
  bool operator<(const Numbered& other) const { return word != other.word ? word < other.word : number < other.number; }
};

// Buckets by the leading bits of a word, about one for every four numbers.
int bucket_bits(int64_t n) {
  int bits = 0;
  while (bits < 16 && (int64_t{4} << bits) < n) ++bits;
  return bits;
}

}  // namespace

void random_uniform(const int64_t* key, double low, double high, const View& y) {
  visit_float(y.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    parallel_for(y.size(), GRAIN, [&](int64_t begin, int64_t end) {
      kernels().random.get<T>().uniform(key, begin, end - begin, y.as<T>() + begin, T(low), T(high - low));
    });
  });
}

void random_normal(const int64_t* key, double mean, double stddev, const View& y) {
  visit_float(y.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    parallel_for(y.size(), GRAIN, [&](int64_t begin, int64_t end) {
      kernels().random.get<T>().normal(key, begin, end - begin, y.as<T>() + begin, T(mean), T(stddev));
    });
  });
}

void random_truncated_normal(const int64_t* key, double mean, double stddev, const View& y) {
  visit_float(y.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    parallel_for(y.size(), GRAIN, [&](int64_t begin, int64_t end) {
      kernels().random.get<T>().truncated_normal(key, begin, end - begin, y.as<T>() + begin, T(mean), T(stddev));
    });
  });
}

size_t permutation_scratch(int64_t n) {
  return static_cast<size_t>(n) * sizeof(Numbered) + (sizeof(int64_t) << bucket_bits(n)) + sizeof(int64_t);
}

// Random words fall evenly into buckets by their leading bits; then each bucket, of a few numbers, is sorted.
void permutation(const int64_t* key, const View& y, void* scratch) {
  const int64_t n = y.shape[0];
  const int bits = bucket_bits(n);
  const int64_t buckets = int64_t{1} << bits;
  Numbered* sorted = static_cast<Numbered*>(scratch);
  int64_t* end_of = reinterpret_cast<int64_t*>(sorted + n);  // [b]: where bucket b begins, and later where it ends
  int64_t* order = y.as<int64_t>();
  uint64_t* words = y.as<uint64_t>();  // until the order is known
  parallel_for(n, GRAIN, [&](int64_t begin, int64_t end) {
    kernels().random.get<float>().words(key, begin, end - begin, words + begin);
  });
  const auto bucket = [bits](uint64_t word) { return bits ? static_cast<int64_t>(word >> (64 - bits)) : 0; };
  std::fill(end_of, end_of + buckets + 1, 0);
  for (int64_t i = 0; i < n; ++i) ++end_of[bucket(words[i]) + 1];
  for (int64_t b = 0; b < buckets; ++b) end_of[b + 1] += end_of[b];
  for (int64_t i = 0; i < n; ++i) sorted[end_of[bucket(words[i])]++] = {words[i], i};
  parallel_for(buckets, std::max<int64_t>(1, GRAIN / (n / buckets + 1)), [&](int64_t begin, int64_t end) {
    int64_t from = begin ? end_of[begin - 1] : 0;
    for (int64_t b = begin; b < end; ++b) {
      std::sort(sorted + from, sorted + end_of[b]);
      for (; from < end_of[b]; ++from) order[from] = sorted[from].number;
    }
  });
}

void dropout(const View& x, const int64_t* key, double rate, const View& noise, const View& y) {
  if (y.size() == 0) return;
  visit_float(x.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const T scale = rate < 1 ? T(1 / (1 - rate)) : T(0);
    const float limit = static_cast<float>(rate);
    if (!noise.given()) {
      parallel_for(y.size(), GRAIN, [&](int64_t begin, int64_t end) {
        kernels().random.get<T>().dropout(key, begin, end - begin, x.as<T>() + begin, y.as<T>() + begin, limit, scale);
      });
      return;
    }
    random_uniform(key, 0, 1, noise);
    View spread = y;  // the noise, repeated to the shape of x; x is contiguous like y
    spread.data = noise.data;
    for (int i = 0; i < y.ndim; ++i) spread.stride[i] = noise.shape[i] == y.shape[i] ? noise.stride[i] : 0;
    const Walk w = walk(spread, y);
    const int64_t length = w.shape[w.ndim - 1], step = w.from[w.ndim - 1];
    parallel_for(w.rows(), std::max<int64_t>(1, GRAIN / length), [&](int64_t begin, int64_t end) {
      for_rows(w, begin, end, [&](int64_t from, int64_t to) {
        const float* u = noise.as<float>() + from;
        for (int64_t i = 0; i < length; ++i)
          y.as<T>()[to + i] = u[i * step] >= limit ? x.as<T>()[to + i] * scale : T(0);
      });
    });
  });
}

}  // namespace nnfast
