// Compiled once per instruction set. Neither function gives a result: empty asm statements keep the work.
#include "peaks.h"

#include "nnfast_ladder.h"
using namespace ladder;

#define PEAKS_(isa) peaks_##isa
#define PEAKS(isa) PEAKS_(isa)
extern "C" const nnfast::Peaks PEAKS(NNFAST_ISA);

#ifdef __aarch64__
#define IN_REGISTER "w"
#elif defined(__AVX512F__)
#define IN_REGISTER "v"
#else
#define IN_REGISTER "x"
#endif

// 12 sums that do not wait for each other: an addition takes 4 or 5 steps, and two are begun at each.
constexpr int SUMS = 12, REPEATS = 8;

static void multiply_add(int64_t rounds) {
  Vec sum[SUMS] = {}, x = 0.5f - Vec{}, y = 0.25f - Vec{};
  asm("" : "+" IN_REGISTER(x), "+" IN_REGISTER(y));
  for (int s = 0; s < SUMS; ++s) asm("" : "+" IN_REGISTER(sum[s]));  // or one sum would do for all that are equal
  for (int64_t r = 0; r < rounds; ++r)
#pragma GCC unroll 8
    for (int i = 0; i < REPEATS; ++i)
#pragma GCC unroll 12
      for (int s = 0; s < SUMS; ++s) sum[s] = sum[s] * x + y;
  for (int s = 0; s < SUMS; ++s) asm volatile("" ::IN_REGISTER(sum[s]));
}

static void read(const float* x, int64_t n) {
  Ints seen[8] = {};
  for (int64_t i = 0; i + 8 * LANES <= n; i += 8 * LANES)
#pragma GCC unroll 8
    for (int s = 0; s < 8; ++s) seen[s] |= (Ints)load(x + i + s * LANES);
  for (int s = 0; s < 8; ++s) asm volatile("" ::IN_REGISTER(seen[s]));
}

constinit const nnfast::Peaks PEAKS(NNFAST_ISA) = {2.0 * SUMS * REPEATS * LANES, multiply_add, read};
