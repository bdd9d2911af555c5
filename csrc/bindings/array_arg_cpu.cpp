// Arrays of the CPU: NumPy's in, and out arrays of NumPy over blocks of our own allocator.
#include "array_arg_cpu.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "../cpu/memory.h"
#include "plan.h"

namespace nnfast {
namespace {
constexpr const char* CAPSULE = "nnfast";

// Nothing: a dtype that no kernel takes.
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

void* block_under(py::handle array) {  // where the allocator's block begins, or nullptr
  while (array && py::isinstance<py::array>(array)) array = py::handle(py::detail::array_proxy(array.ptr())->base);
  return array && PyCapsule_IsValid(array.ptr(), CAPSULE) ? PyCapsule_GetPointer(array.ptr(), CAPSULE) : nullptr;
}
}  // namespace

py::array new_array(const Shape& shape, DType dtype, bool for_life, const char* op) {
  // The C call itself: py::array() costs 200 ns more.
  auto& numpy = py::detail::npy_api::get();
  void* data = allocate_for(op, bytes_of(op, shape, dtype), for_life);
  PyObject* home = PyCapsule_New(data, CAPSULE, [](PyObject* c) { release(PyCapsule_GetPointer(c, CAPSULE)); });
  if (!home) {
    release(data);
    throw py::error_already_set();
  }
  constexpr int flags = py::detail::npy_api::NPY_ARRAY_WRITEABLE_ | py::detail::npy_api::NPY_ARRAY_ALIGNED_;
  PyObject* array = numpy.PyArray_NewFromDescr_(numpy.PyArray_Type_, py::dtype(dtype_object(dtype)).release().ptr(),
                                                static_cast<int>(shape.size()), const_cast<Py_intptr_t*>(shape.data()),
                                                nullptr, data, flags, nullptr);
  if (!array) {
    Py_DECREF(home);
    throw py::error_already_set();
  }
  numpy.PyArray_SetBaseObject_(array, home);  // takes the reference to home, also when it fails
  return py::reinterpret_steal<py::array>(array);
}

int64_t* version_under(py::handle array) {
  void* block = block_under(array);
  return block ? &version_of(block) : nullptr;
}

void hold(py::handle array) {
  void* block = block_under(array);
  if (!block || block_of(block)->home != capturing->pool()) static_cast<PyPlan*>(capturing)->hold(array);
}

void* data_of(const Array& array) { return const_cast<void*>(array.data()); }

Call::~Call() {
  for (void* p : scratch_) release(p);
}

void* Call::allocate_scratch(size_t bytes) {
  scratch_.push_back(nullptr);
  return scratch_.back() = allocate_for(op_, bytes, false);
}

bool Call::writeable(py::handle array) const { return py::reinterpret_borrow<py::array>(array).writeable(); }

Status* Call::own_status() {
  own_status_ = capturing ? capturing->status : nullptr;  // a replay has nobody who waits for this call
  if (own_status_ && own_status_->code != OK) {
    own_status_ = nullptr;
    return capturing->status;
  }
  if (!own_status_) own_status_ = static_cast<Status*>(scratch(sizeof(Status)));
  *own_status_ = Status{};
  return own_status_;
}

void Call::begin() const {}

void Call::end() {
  if (!own_status_ || own_status_->code == OK) return;
  const Status found = *own_status_;
  *own_status_ = Status{};
  raise(found);
}

View Call::view(py::handle object, const char* name, bool may_copy) {
  if (!py::isinstance<py::array>(object) && py::hasattr(object, "__cuda_array_interface__"))
    type_error(name, " lies on a GPU, and this device computes on the CPU. Received: ",
               std::string(py::str(py::type::of(object))),
               ". Use nnfast.set_device('cuda'), or copy it to the CPU, e.g. nnfast.tensor(x.numpy())");
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
    kept_.push_back(array);
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

KeptPanels* Call::keep(py::handle array, const View& b, size_t bytes) {
  auto* plan = static_cast<PyPlan*>(capturing);
  if (!plan || !plan->constant || bytes == 0) return nullptr;
  void* block = block_under(array);
  if (!block || block_of(block)->home == plan->pool()) return nullptr;  // what a step makes changes from step to step
  for (Kept& k : plan->kept)
    if (k.of == b) return &k;
  return &plan->kept.emplace_back(Kept{{bytes, &version_of(block)}, b});
}

void PyPlan::lend() noexcept {
  for (Kept& k : kept) try {
      k.panels = allocate_for_life(k.bytes);
      k.width = 0;
    } catch (const std::bad_alloc&) {
      return;
    }
}
void PyPlan::take_back() noexcept {
  for (Kept& k : kept) release(std::exchange(k.panels, nullptr));
}

}  // namespace nnfast
