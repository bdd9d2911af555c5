// Random numbers: each element from its own position and the key, so chunks need not know of each other. The key is
// read here, from its buffer, so that a replay draws anew.
#include <algorithm>

#include "../ops.h"
#include "kernels.h"
#include "parallel.h"
#include "walk.h"

namespace nnfast {
namespace {

constexpr int64_t GRAIN = 1 << 13;  // elements: a multiple of the pieces of generic/random.cpp

// Buckets by the leading bits of a word, about one for every two numbers: few enough for the cache.
int bucket_bits(int64_t n) {
  int bits = 0;
  while (bits < 20 && (int64_t{2} << bits) < n) ++bits;
  return bits;
}
// Numbers below n fit into so many bits.
int number_bits(int64_t n) {
  int bits = 0;
  while ((int64_t{1} << bits) < n) ++bits;
  return bits;
}

// Sorts keys that are few places away from their own. First each of two carried keys is left where a smaller one comes,
// without a branch; that puts most in order, and leaves little for branches that cannot be foretold.
void sort_nearly(uint64_t* key, int64_t n) {
  if (n < 3) {
    if (n == 2 && key[1] < key[0]) std::swap(key[0], key[1]);
    return;
  }
  uint64_t first = std::max(key[0], key[1]), second = std::min(key[0], key[1]);
  for (int64_t i = 2; i < n; ++i) {
    const uint64_t x = key[i], y = x < first ? x : first;
    first = x < first ? first : x;
    key[i - 2] = y < second ? y : second;
    second = y < second ? second : y;
  }
  key[n - 2] = std::min(first, second);
  key[n - 1] = std::max(first, second);
  for (int64_t i = 1; i < n; ++i) {
    const uint64_t x = key[i];
    int64_t j = i;
    for (; j > 0 && key[j - 1] > x; --j) key[j] = key[j - 1];
    key[j] = x;
  }
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
  return static_cast<size_t>(n) * sizeof(uint64_t) + (sizeof(int64_t) << bucket_bits(n)) + sizeof(int64_t);
}

// The order of random words. They fall evenly into buckets by their leading bits; then each bucket, of a few, is
// sorted. What is sorted are words whose last bits are replaced by their numbers; where the bits that are left are
// equal, which is rare, the words are made again and compared.
void permutation(const int64_t* key, const View& y, void* scratch) {
  const int64_t n = y.shape[0];
  const int bits = bucket_bits(n), low = number_bits(n);
  const int64_t buckets = int64_t{1} << bits;
  const uint64_t mask = (uint64_t{1} << low) - 1;
  uint64_t* sorted = static_cast<uint64_t*>(scratch);
  int64_t* end_of = reinterpret_cast<int64_t*>(sorted + n);  // [b]: where bucket b begins, and later where it ends
  int64_t* order = y.as<int64_t>();
  uint64_t* words = y.as<uint64_t>();  // until they are in buckets
  const auto make = kernels().random.get<float>().words;
  parallel_for(n, GRAIN, [&](int64_t begin, int64_t end) { make(key, begin, end - begin, words + begin); });
  const auto bucket = [bits](uint64_t word) { return static_cast<int64_t>(word >> 1 >> (63 - bits)); };
  std::fill(end_of, end_of + buckets + 1, 0);
  for (int64_t i = 0; i < n; ++i) ++end_of[bucket(words[i]) + 1];
  for (int64_t b = 0; b < buckets; ++b) end_of[b + 1] += end_of[b];
  for (int64_t i = 0; i < n; ++i) sorted[end_of[bucket(words[i])]++] = (words[i] & ~mask) | static_cast<uint64_t>(i);
  const auto before = [&](uint64_t a, uint64_t b) {
    if ((a ^ b) > mask) return a < b;
    uint64_t of_a[2], of_b[2];  // from an even one on
    make(key, static_cast<int64_t>(a & mask & ~uint64_t{1}), 2, of_a);
    make(key, static_cast<int64_t>(b & mask & ~uint64_t{1}), 2, of_b);
    const uint64_t word_a = of_a[a & 1], word_b = of_b[b & 1];
    return word_a != word_b ? word_a < word_b : a < b;
  };
  parallel_for(buckets, std::max<int64_t>(1, GRAIN / (n / buckets + 1)), [&](int64_t begin, int64_t end) {
    const int64_t from = begin ? end_of[begin - 1] : 0, to = end_of[end - 1];
    if (n / buckets <= 32)
      sort_nearly(sorted + from, to - from);
    else
      std::sort(sorted + from, sorted + to);
    bool equal = false;
    for (int64_t i = from + 1; i < to; ++i) equal |= (sorted[i] ^ sorted[i - 1]) <= mask;
    if (equal) std::sort(sorted + from, sorted + to, before);
    for (int64_t i = from; i < to; ++i) order[i] = static_cast<int64_t>(sorted[i] & mask);
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
