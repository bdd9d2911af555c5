// View: what a kernel sees of an array. Non-owning, plain bytes, so that closures copy it.
#pragma once
#include <cstdint>
#include <type_traits>

namespace nnfast {

enum class DType : int8_t {
  boolean,
  int8,
  uint8,
  int16,
  uint16,
  int32,
  uint32,
  int64,
  uint64,
  float16,
  bfloat16,  // reserved: no kernel takes them yet
  float32,
  float64,
};

constexpr int64_t size_of(DType d) {  // bytes of an element
  constexpr int8_t sizes[] = {1, 1, 1, 2, 2, 4, 4, 8, 8, 2, 2, 4, 8};
  return sizes[static_cast<int>(d)];
}

constexpr int MAX_DIMS = 8;

struct View {
  void* data = nullptr;
  int64_t shape[MAX_DIMS] = {};
  int64_t stride[MAX_DIMS] = {};  // in elements; 0 repeats, negative walks back
  int8_t ndim = -1;               // -1: no array was given
  DType dtype = DType::float32;

  bool given() const { return ndim >= 0; }
  template <class T>
  T* as() const {
    return static_cast<T*>(data);
  }
  int64_t size() const {
    int64_t n = 1;
    for (int i = 0; i < ndim; ++i) n *= shape[i];
    return n;
  }
  View dense(void* at) const {  // a view of this shape and dtype in C order, without gaps
    View v = *this;
    v.data = at;
    int64_t step = 1;
    for (int i = ndim - 1; i >= 0; --i) {
      v.stride[i] = step;
      step *= shape[i];
    }
    return v;
  }
  bool operator==(const View& o) const {  // the same elements in the same order
    bool same = data == o.data && dtype == o.dtype && ndim == o.ndim;
    for (int i = 0; same && i < ndim; ++i) same = shape[i] == o.shape[i] && stride[i] == o.stride[i];
    return same;
  }
  bool contiguous() const {  // C order, without gaps
    int64_t step = 1;
    for (int i = ndim - 1; i >= 0; --i) {
      if (shape[i] != 1 && stride[i] != step) return size() == 0;
      step *= shape[i];
    }
    return true;
  }
};
static_assert(std::is_trivially_copyable_v<View>);

inline View int64s(void* data, int64_t n) {  // so many numbers, in order
  View v;
  v.ndim = 1;
  v.dtype = DType::int64;
  v.shape[0] = n;
  return v.dense(data);
}

template <class T>
struct TypeTag {
  using type = T;
};

// fn(TypeTag<T>) with the C++ type of a floating dtype. The binding has checked that it is one of these two.
template <class F>
auto visit_float(DType dtype, const F& fn) {
  return dtype == DType::float64 ? fn(TypeTag<double>{}) : fn(TypeTag<float>{});
}

// The same for every dtype that an array may have.
template <class F>
auto visit_dtype(DType dtype, const F& fn) {
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

// The first problem that a kernel found in data. Sticky: it stays until it is read. While `code` is set, kernels that
// change what outlives a step (variables, metric sums, counters) do nothing.
struct Status {
  int64_t code = 0;    // a StatusCode
  int64_t step = 0;    // the value of `now` when it was found
  int64_t sample = 0;  // row of the batch, or position of the index
  int64_t value = 0;   // the integer found, or the bits of the float64 found
  int64_t now = 0;     // the running step, advanced by the last kernel of a step
};
enum StatusCode : int64_t { OK = 0, BAD_LABEL, BAD_LABEL_FLOAT, BAD_LABEL_ROW, BAD_INDEX, NON_FINITE_LOSS, WAITING };

}  // namespace nnfast
