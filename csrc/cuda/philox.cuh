// Philox 4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011): the same words as on the CPU.
// key = (seed, draw); block i of a draw is the counter (i, draw) under the key `seed`, and gives four 32-bit words: the
// elements 4i .. 4i + 3 of float32, 2i and 2i + 1 of float64 (two words each, the low one first).
#pragma once
#include "common.cuh"

namespace nnfast {
namespace {

struct Key {
  uint64_t seed, draw;
};
__device__ inline Key read_key(const int64_t* key) {
  return {static_cast<uint64_t>(key[0]), static_cast<uint64_t>(key[1])};
}

struct Words {
  unsigned v[4];
};
__device__ inline Words philox(Key key, uint64_t block) {
  unsigned c0 = static_cast<unsigned>(block), c1 = static_cast<unsigned>(block >> 32);
  unsigned c2 = static_cast<unsigned>(key.draw), c3 = static_cast<unsigned>(key.draw >> 32);
  unsigned k0 = static_cast<unsigned>(key.seed), k1 = static_cast<unsigned>(key.seed >> 32);
#pragma unroll
  for (int round = 0; round < 10; ++round) {
    const unsigned high0 = __umulhi(0xD2511F53u, c0), low0 = 0xD2511F53u * c0;
    const unsigned high1 = __umulhi(0xCD9E8D57u, c2), low1 = 0xCD9E8D57u * c2;
    c0 = high1 ^ c1 ^ k0;
    c1 = low1;
    c2 = high0 ^ c3 ^ k1;
    c3 = low0;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return {{c0, c1, c2, c3}};
}
__device__ inline uint64_t word_64(const Words& w, int i) { return w.v[2 * i] | uint64_t{w.v[2 * i + 1]} << 32; }

// The numbers in [0, 1) of a block: four of float32, two of float64.
__device__ inline void units(const Words& w, float (&u)[4]) {
#pragma unroll
  for (int i = 0; i < 4; ++i) u[i] = static_cast<float>(w.v[i] >> 8) * 0x1p-24f;
}
__device__ inline void units(const Words& w, double (&u)[2]) {
#pragma unroll
  for (int i = 0; i < 2; ++i) u[i] = static_cast<double>(word_64(w, i) >> 11) * 0x1p-53;
}

// Products and sums that are not fused to one rounding: the same bits as on the CPU.
__device__ inline float rounded_product(float a, float b) { return __fmul_rn(a, b); }
__device__ inline double rounded_product(double a, double b) { return __dmul_rn(a, b); }
__device__ inline float rounded_sum(float a, float b) { return __fadd_rn(a, b); }
__device__ inline double rounded_sum(double a, double b) { return __dadd_rn(a, b); }

}  // namespace
}  // namespace nnfast
