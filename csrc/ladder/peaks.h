// What an instruction set can do at best on one core: arithmetic in registers alone, and reading.
#pragma once
#include <cstdint>

namespace nnfast {
struct Peaks {
  double operations;  // of one round of multiply_add: a multiplication and an addition are two
  void (*multiply_add)(int64_t rounds);
  void (*read)(const float* x, int64_t n);
};
}  // namespace nnfast
