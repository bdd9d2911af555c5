// What Call does on every device.
#include "call.h"

#include <cstdio>
#include <cstring>

namespace nnfast {
namespace {
// Names of the dtypes as NumPy spells them, in the order of DType.
const py::dtype* dtype_objects() {
  static const auto* all = [] {
    auto* list = new py::dtype[13];
    for (int i = 0; i < 13; ++i) {
      const auto d = static_cast<DType>(i);
      if (d != DType::bfloat16) list[i] = py::dtype(name_of(d));
    }
    return list;
  }();
  return all;
}

// Lowest and highest address that a view reaches, in bytes.
struct Extent {
  intptr_t low, high;
};
Extent extent(const View& v) {
  const auto item = static_cast<int64_t>(dtype_objects()[static_cast<int>(v.dtype)].itemsize());
  auto low = reinterpret_cast<intptr_t>(v.data), high = low + item;
  for (int i = 0; i < v.ndim; ++i) {
    if (v.shape[i] == 0) return {low, low};
    (v.stride[i] < 0 ? low : high) += (v.shape[i] - 1) * v.stride[i] * item;
  }
  return {low, high};
}
}  // namespace

void raise_device_error(const std::string& op, const DeviceError& e) {
  if (!dynamic_cast<const DeviceMemoryError*>(&e)) throw std::runtime_error(op + e.what());
  py::set_error(PyExc_MemoryError, (op + e.what()).c_str());
  throw py::error_already_set();
}

bool overlap(const View& a, const View& b) {
  const Extent x = extent(a), y = extent(b);
  return x.low < y.high && y.low < x.high;
}

const py::dtype& dtype_object(DType d) { return dtype_objects()[static_cast<int>(d)]; }

DType dtype_from(const py::object& name) {
  const py::dtype wanted = py::dtype::from_args(name);
  for (int i = 0; i < 13; ++i) {
    const auto d = static_cast<DType>(i);
    if (d != DType::float16 && d != DType::bfloat16 && wanted.equal(dtype_object(d))) return d;
  }
  throw py::type_error("[dtype] nnfast has bool, integers, float32 and float64, in native byte order. Received: " +
                       std::string(py::str(wanted)));
}

size_t bytes_of(const char* op, const Shape& shape, DType dtype) {
  if (shape.size() > MAX_DIMS)
    throw std::invalid_argument("[" + std::string(op) + "] at most " + std::to_string(MAX_DIMS) +
                                " dimensions are possible. Received: " + std::to_string(shape.size()));
  // A product that wraps round would make a small block for a large shape.
  size_t bytes = static_cast<size_t>(size_of(dtype));
  bool empty = false;
  for (const auto s : shape) empty |= s == 0;
  for (const auto s : shape)
    if (!empty && (s < 0 || __builtin_mul_overflow(bytes, static_cast<size_t>(s), &bytes) || bytes > PTRDIFF_MAX))
      throw std::overflow_error("[" + std::string(op) + "] the result does not fit in memory. Received: its shape " +
                                shape_text(shape, shape.size()));
  return empty ? 0 : bytes;
}

View Call::in(py::handle array, const char* name) {
  inputs_.push_back(view(array, name, true));
  return inputs_.back();
}

View Call::in_float(py::handle array, const char* name) {
  const View v = in(array, name);
  if (v.dtype != DType::float32 && v.dtype != DType::float64)
    type_error(name, " must be float32 or float64. Received: ", v.dtype, ". Use ops.cast() or astype()");
  return v;
}

View Call::in_dtype(py::handle array, const char* name, DType dtype) {
  const View v = in(array, name);
  if (v.dtype != dtype) type_error(name, " must be ", dtype, ". Received: ", v.dtype);
  return v;
}

View Call::in_like(py::handle array, const char* name, const View& other) {
  const View v = in(array, name);
  if (v.dtype != other.dtype)
    type_error("all operands must have one dtype. Received: ", other.dtype, " and ", v.dtype, " (", name,
               "). Cast one of them, e.g. ops.cast(x, '", other.dtype, "')");
  return v;
}

View Call::in_or_absent(py::handle array, const char* name) { return array.is_none() ? View{} : in(array, name); }

View Call::inout(py::handle array, const char* name) {
  const View v = view(array, name, false);
  require(writeable(array), name, " is read-only and cannot be written in place");
  if (int64_t* version = version_under(array)) versions_.push_back(version);
  return v;
}

Array Call::out(py::handle given, const Shape& shape, DType dtype, View& v) {
  if (given.is_none()) {
    Array made = new_array(shape, dtype, false, op_);
    v.data = data_of(made);
    v.ndim = static_cast<int8_t>(shape.size());
    v.dtype = dtype;
    int64_t step = 1;
    for (int i = v.ndim - 1; i >= 0; --i) {
      v.shape[i] = shape[static_cast<size_t>(i)];
      v.stride[i] = v.shape[i] == 1 ? 0 : step;
      step *= v.shape[i];
    }
    return made;
  }
  v = inout(given, "out");
  bool fits = static_cast<size_t>(v.ndim) == shape.size();
  for (int i = 0; fits && i < v.ndim; ++i) fits = v.shape[i] == shape[static_cast<size_t>(i)];
  require(fits, "out must have the shape of the result, ", shape_text(shape, shape.size()),
          ". Received: out.shape=", v);
  if (v.dtype != dtype) type_error("out must have the dtype of the result, ", dtype, ". Received: ", v.dtype);
  for (const View& input : inputs_)
    require(v.size() == 0 || input.size() == 0 || !overlap(v, input),
            "out overlaps an input. Give it memory of its own");
  for (int i = 0; i < v.ndim; ++i)
    require(v.shape[i] == 1 || v.stride[i] != 0 || v.size() == 0,
            "out repeats its elements (stride 0) and cannot be written");
  return py::reinterpret_borrow<Array>(given);
}

void* Call::scratch(size_t bytes) { return allocate_scratch(bytes); }

Status* Call::status(py::handle array) {
  if (array.is_none()) return own_status();
  const View v = view(array, "status", false);
  require(v.dtype == DType::int64 && v.ndim == 1 && v.shape[0] == 5 && v.contiguous(),
          "status must be int64 of shape (5,)");
  return v.as<Status>();
}

void Call::raise(const Status& s) const {
  double bits = 0;
  std::memcpy(&bits, &s.value, sizeof bits);
  char number[32];
  std::snprintf(number, sizeof number, "%.15g", bits);
  const std::string classes =
      classes_ < 0 ? " is no class" : " is none of the " + std::to_string(classes_) + " classes";
  const std::string range =
      classes_ > 0 ? "labels count from 0 to " + std::to_string(classes_ - 1) : std::string("labels count from 0");
  switch (s.code) {
    case BAD_INDEX:
      throw std::out_of_range(message("index ", s.value, " at position ", s.sample, " is out of range"));
    case BAD_LABEL:
      throw std::invalid_argument(
          message("the label of sample ", s.sample, classes, ": ", range, ". Received: ", s.value));
    case BAD_LABEL_FLOAT:
      throw std::invalid_argument(
          message("the label of sample ", s.sample, classes, ": ", range, ", in whole numbers. Received: ", number));
    case BAD_LABEL_ROW:
      throw std::invalid_argument(message("the label row of sample ", s.sample, " holds ", number,
                                          ", which is no probability: labels of two ",
                                          "dimensions are one-hot rows or probabilities"));
    default:
      throw std::invalid_argument(message("the loss is not finite at sample ", s.sample));
  }
}

}  // namespace nnfast
