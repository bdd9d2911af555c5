#include "array_arg_cpu.h"

#include <bit>
#include <cstdio>
#include <cstring>

#include "plan.h"

namespace nnfast {
namespace {
constexpr const char* CAPSULE = "nnfast";

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

bool overlap(const View& a, const View& b) {
  const Extent x = extent(a), y = extent(b);
  return x.low < y.high && y.low < x.high;
}

const py::dtype& dtype_object(DType d) { return dtype_objects()[static_cast<int>(d)]; }

std::optional<DType> dtype_of(const py::array& a) {
  const auto* descr = py::detail::array_descriptor_proxy(py::detail::array_proxy(a.ptr())->descr);
  if (descr->byteorder == (std::endian::native == std::endian::little ? '>' : '<')) return {};
  switch (descr->kind) {
    case 'b':
      return DType::boolean;
    case 'f': {
      const auto size = a.itemsize();
      if (size == 4) return DType::float32;
      if (size == 8 && descr->type_num == 12) return DType::float64;
      return {};
    }
    case 'i':
      switch (a.itemsize()) {
        case 1:
          return DType::int8;
        case 2:
          return DType::int16;
        case 4:
          return DType::int32;
        case 8:
          return DType::int64;
      }
      return {};
    case 'u':
      switch (a.itemsize()) {
        case 1:
          return DType::uint8;
        case 2:
          return DType::uint16;
        case 4:
          return DType::uint32;
        case 8:
          return DType::uint64;
      }
      return {};
  }
  return {};
}

DType dtype_from(const py::object& name) {
  const py::dtype wanted = py::dtype::from_args(name);
  for (int i = 0; i < 13; ++i) {
    const auto d = static_cast<DType>(i);
    if (d != DType::float16 && d != DType::bfloat16 && wanted.equal(dtype_object(d))) return d;
  }
  throw py::type_error("[dtype] nnfast has bool, integers, float32 and float64, in native byte order. Received: " +
                       std::string(py::str(wanted)));
}

namespace {
// Tells a MemoryError what could not be had.
class OutOfMemory : public std::bad_alloc {
 public:
  explicit OutOfMemory(std::string text) : text_(std::move(text)) {}
  const char* what() const noexcept override { return text_.c_str(); }

 private:
  std::string text_;
};

void* allocate_for(const char* op, size_t bytes, bool for_life) {
  try {
    return for_life ? allocate_for_life(bytes) : allocate(bytes);
  } catch (const std::bad_alloc&) {
    throw OutOfMemory("[" + std::string(op) + "] there is not enough memory. Received: a result or scratch space of " +
                      std::to_string(bytes) + " bytes");
  }
}
}  // namespace

py::array new_array(const Shape& shape, DType dtype, bool for_life, const char* op) {
  if (shape.size() > MAX_DIMS)
    throw std::invalid_argument("[" + std::string(op) + "] at most " + std::to_string(MAX_DIMS) +
                                " dimensions are possible. Received: " + std::to_string(shape.size()));
  // The C call itself: py::array() costs 200 ns more. Sizes are multiplied with care: a product that wraps round would
  // make a small block for a large shape.
  auto& numpy = py::detail::npy_api::get();
  const py::dtype& descr = dtype_object(dtype);
  size_t bytes = static_cast<size_t>(descr.itemsize());
  bool empty = false;
  for (const auto s : shape) empty |= s == 0;
  for (const auto s : shape)
    if (!empty && (s < 0 || __builtin_mul_overflow(bytes, static_cast<size_t>(s), &bytes) || bytes > PTRDIFF_MAX))
      throw std::overflow_error("[" + std::string(op) + "] the result does not fit in memory. Received: its shape " +
                                shape_text(shape, shape.size()));
  if (empty) bytes = 0;
  void* data = allocate_for(op, bytes, for_life);
  PyObject* home = PyCapsule_New(data, CAPSULE, [](PyObject* c) { release(PyCapsule_GetPointer(c, CAPSULE)); });
  if (!home) {
    release(data);
    throw py::error_already_set();
  }
  constexpr int flags = py::detail::npy_api::NPY_ARRAY_WRITEABLE_ | py::detail::npy_api::NPY_ARRAY_ALIGNED_;
  PyObject* array =
      numpy.PyArray_NewFromDescr_(numpy.PyArray_Type_, py::dtype(descr).release().ptr(), static_cast<int>(shape.size()),
                                  const_cast<Py_intptr_t*>(shape.data()), nullptr, data, flags, nullptr);
  if (!array) {
    Py_DECREF(home);
    throw py::error_already_set();
  }
  numpy.PyArray_SetBaseObject_(array, home);  // takes the reference to home, also when it fails
  return py::reinterpret_steal<py::array>(array);
}

void* block_under(py::handle array) {
  while (array && py::isinstance<py::array>(array)) array = py::handle(py::detail::array_proxy(array.ptr())->base);
  return array && PyCapsule_IsValid(array.ptr(), CAPSULE) ? PyCapsule_GetPointer(array.ptr(), CAPSULE) : nullptr;
}

void hold(py::handle array) {
  void* block = block_under(array);
  if (!block || block_of(block)->home != capturing->pool()) static_cast<PyPlan*>(capturing)->hold(array);
}

Call::~Call() {
  for (void* p : scratch_) release(p);
}

View Call::view(py::handle object, const char* name, bool may_copy) {
  if (!py::isinstance<py::array>(object))
    type_error(name, " must be an array. Received: ", std::string(py::str(py::type::of(object))));
  auto array = py::reinterpret_borrow<py::array>(object);
  const auto dtype = dtype_of(array);
  if (!dtype)
    type_error(name, " has dtype ", std::string(py::str(array.dtype())),
               ". nnfast computes with bool, integers, float32 and float64 of native byte order: use astype()");
  if (array.ndim() > MAX_DIMS)
    throw std::invalid_argument(
        message(name, " has ", array.ndim(), " dimensions, at most ", MAX_DIMS, " are possible"));
  const auto item = array.itemsize();
  bool aligned = array.flags() & py::detail::npy_api::NPY_ARRAY_ALIGNED_;
  for (py::ssize_t i = 0; i < array.ndim(); ++i) aligned &= array.strides(i) % item == 0;
  if (!aligned) {
    require(may_copy, name, " is misaligned and cannot be written in place");
    if (capturing) static_cast<PyPlan*>(capturing)->spoil(message(name, " is misaligned: a copy would not be renewed"));
    array = array.attr("copy")();
    copies_.push_back(array);
  }
  View v;
  v.data = const_cast<void*>(array.data());
  v.ndim = static_cast<int8_t>(array.ndim());
  v.dtype = *dtype;
  for (int i = 0; i < v.ndim; ++i) {
    v.shape[i] = array.shape(i);
    v.stride[i] = v.shape[i] == 1 ? 0 : array.strides(i) / item;  // the stride of a single row means nothing
  }
  if (capturing) hold(array);
  return v;
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
  require(py::reinterpret_borrow<py::array>(array).writeable(), name, " is read-only and cannot be written in place");
  if (void* block = block_under(array)) versions_.push_back(&version_of(block));
  return v;
}

py::array Call::out(py::handle given, const Shape& shape, DType dtype, View& v) {
  if (given.is_none()) {
    py::array made = new_array(shape, dtype, false, op_);
    v.data = const_cast<void*>(made.data());
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
  return py::reinterpret_borrow<py::array>(given);
}

void* Call::scratch(size_t bytes) {
  scratch_.push_back(nullptr);
  return scratch_.back() = allocate_for(op_, bytes, false);
}

KeptPanels* Call::keep(py::handle array, const View& b, size_t bytes) {
  auto* plan = static_cast<PyPlan*>(capturing);
  if (!plan || !plan->constant || bytes == 0) return nullptr;
  void* block = block_under(array);
  if (!block || block_of(block)->home == plan->pool()) return nullptr;  // what a step makes changes from step to step
  for (Kept& k : plan->kept)
    if (k.of.data == b.data && k.of.dtype == b.dtype && k.of.ndim == b.ndim &&
        std::equal(b.shape, b.shape + b.ndim, k.of.shape) && std::equal(b.stride, b.stride + b.ndim, k.of.stride))
      return &k;
  return &plan->kept.emplace_back(Kept{{bytes, &version_of(block)}, b});
}

Status* Call::status(py::handle array) {
  if (array.is_none()) {
    own_status_ = capturing ? capturing->status : nullptr;  // a replay has nobody who waits for this call
    if (own_status_ && own_status_->code != OK) {
      own_status_ = nullptr;
      return capturing->status;
    }
    if (!own_status_) own_status_ = static_cast<Status*>(scratch(sizeof(Status)));
    *own_status_ = Status{};
    return own_status_;
  }
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
