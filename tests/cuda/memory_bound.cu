// Kernels that wait for memory, for lesson mode: tests/test_lesson.py counts what they move.
#include "../../csrc/cuda/fold.cuh"
#include "../../csrc/cuda/map.cuh"
#include "nnfast_ladder.cuh"
using namespace nnfast;

namespace {
View matrix(const float* data, long rows, long columns) {
  View v;
  v.ndim = 2, v.shape[0] = rows, v.shape[1] = columns;
  return v.dense(const_cast<float*>(data));
}
struct Add {
  template <int N>
  __device__ void operator()(const Several<float, N> (&x)[2], Several<float, N>& y) const {
    each([](float a, float b) { return a + b; }, x, y);
  }
};
struct AddElement {
  static constexpr bool FAST = true, PACKS = true;
  const float* x;
  __device__ void operator()(SumState<float>& s, const int64_t (&at)[2], int64_t) const { s.sum += x[at[0]]; }
  __device__ void pack(SumState<float>& s, const int64_t (&at)[2], int64_t) const {
    const auto few = load<4>(x + at[0]);
#pragma unroll
    for (const float v : few.v) s.sum += v;
  }
};
struct StoreSum {
  float* y;
  __device__ void operator()(const SumState<float>& s, const int64_t (&at)[2]) const { y[at[1]] = s.sum; }
};
void sum(const float* x, float* y, float* scratch, long rows, long columns, uint32_t axis) {
  const View vx = matrix(x, rows, columns);
  View vy = matrix(y, axis == 1 ? 1 : rows, axis == 1 ? columns : 1);
  const Rows<2> r = rows_over(axis, vx, vy);
  fold(r, SumState<float>{}, AddElement{x}, StoreSum{y}, scratch, in_packs(r, 1, 4, {x, nullptr}));
}
}  // namespace

void add_bias(const float* x, const float* bias, float* y, long rows, long columns) {
  map<float, float>(Add{}, matrix(y, rows, columns), matrix(x, rows, columns), matrix(bias, 1, columns));
}
void sum_of_rows(const float* x, float* y, float* scratch, long rows, long columns) {
  sum(x, y, scratch, rows, columns, 2);
}
void sum_of_columns(const float* x, float* y, float* scratch, long rows, long columns) {
  sum(x, y, scratch, rows, columns, 1);
}
