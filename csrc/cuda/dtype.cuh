// visit_dtype of view.h for kernels: fn(TypeTag<T>) with the C++ type of an element that only the run time knows.
#pragma once
#include "common.cuh"

namespace nnfast {
namespace {

template <class F>
__device__ inline auto visit_element(DType dtype, const F& fn) {
  switch (dtype) {
    case DType::boolean:
      return fn(TypeTag<bool>{});
    case DType::int8:
      return fn(TypeTag<int8_t>{});
    case DType::uint8:
      return fn(TypeTag<uint8_t>{});
    case DType::int16:
      return fn(TypeTag<int16_t>{});
    case DType::uint16:
      return fn(TypeTag<uint16_t>{});
    case DType::int32:
      return fn(TypeTag<int32_t>{});
    case DType::uint32:
      return fn(TypeTag<uint32_t>{});
    case DType::int64:
      return fn(TypeTag<int64_t>{});
    case DType::uint64:
      return fn(TypeTag<uint64_t>{});
    case DType::float64:
      return fn(TypeTag<double>{});
    default:
      return fn(TypeTag<float>{});
  }
}
// Element `at` as a T, by C++'s conversion.
template <class T>
__device__ inline T element(DType dtype, const void* x, int64_t at) {
  return visit_element(dtype, [=](auto tag) {
    using From = typename decltype(tag)::type;
    return static_cast<T>(static_cast<const From*>(x)[at]);
  });
}

}  // namespace
}  // namespace nnfast
