// Arrays of the GPU: CuPy's, or whatever shows __cuda_array_interface__ (PyTorch, JAX, Numba), in; CuPy's out. Kernels
// run on CuPy's current stream, and nothing here waits for them: what a kernel finds in data stands in a status word on
// the device, and is raised when somebody reads values (check_data).
#include "array_arg_cuda.h"

#include <pybind11/gil_safe_call_once.h>

#include <cstring>
#include <mutex>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "../cpu/memory.h"
#include "../cuda/gpu.h"
#include "../cuda/stream.h"
#include "gpu_checks.h"
#include "plan.h"

namespace nnfast {

// ---- CuPy, imported when the first array is made ----
namespace {
struct CuPy {
  py::object ndarray, alloc, current_stream, pool, zeros, out_of_memory;
};
// A thread that waits for another one to finish this lets go of the GIL meanwhile.
const CuPy& cupy() {
  PYBIND11_CONSTINIT static py::gil_safe_call_once_and_store<CuPy> all;
  return all
      .call_once_and_store_result([] {
        require_gpu();
        const py::module_ module = import_cupy(), cuda = module.attr("cuda");
        return CuPy{module.attr("ndarray"),  cuda.attr("alloc"),   cuda.attr("get_current_stream"),
                    cuda.attr("MemoryPool"), module.attr("zeros"), cuda.attr("memory").attr("OutOfMemoryError")};
      })
      .get_stored();
}

thread_local cudaStream_t stream_of_call = nullptr;
}  // namespace

cudaStream_t stream() { return stream_of_call; }
void set_stream(cudaStream_t s) { stream_of_call = s; }
cudaStream_t current_stream() {
  return reinterpret_cast<cudaStream_t>(cupy().current_stream().attr("ptr").cast<uintptr_t>());
}

// ---- memory: CuPy's pool, and one for each plan, whose blocks every replay writes again ----
struct Pool {
  py::object pool;
  std::unordered_set<uintptr_t> blocks;  // where those begin that it has handed out
};
Pool* make_pool() { return new Pool{cupy().pool(), {}}; }
void retire(Pool* pool) noexcept { delete pool; }
Pool*& thread_pool() {
  thread_local Pool* pool = nullptr;
  return pool;
}
MemoryStats memory_stats(const Pool* pool) {
  const py::object p = pool ? pool->pool : import_cupy().attr("get_default_memory_pool")();
  const auto used = p.attr("used_bytes")().cast<size_t>(), total = p.attr("total_bytes")().cast<size_t>();
  return {used ? size_t{1} : size_t{0}, used, total - used, total};
}
size_t empty_cache() noexcept {
  try {
    const py::object pool = import_cupy().attr("get_default_memory_pool")();
    const auto resting = pool.attr("free_bytes")().cast<size_t>();
    pool.attr("free_all_blocks")();
    return resting;
  } catch (const std::exception&) {
    return 0;
  }
}

namespace {
py::object allocate_on_gpu(const char* op, size_t bytes, bool for_life) {
  try {
    Pool* const plan = for_life ? nullptr : thread_pool();
    if (!plan) return cupy().alloc(bytes);
    py::object memory = plan->pool.attr("malloc")(bytes);
    plan->blocks.insert(memory.attr("ptr").cast<uintptr_t>());
    return memory;
  } catch (py::error_already_set& e) {
    if (!e.matches(cupy().out_of_memory)) throw;
    const std::string text = "[" + std::string(op) + "] there is not enough memory on the GPU. Received: a result or " +
                             "scratch space of " + std::to_string(bytes) + " bytes. Take a smaller batch";
    py::set_error(PyExc_MemoryError, text.c_str());
    throw py::error_already_set();
  }
}

// The versions of Variables, by where their memory begins. An entry stays: the pool hands the same places out again.
std::mutex versions_mutex;
std::unordered_map<uintptr_t, int64_t*>& versions() {
  static auto* map = new std::unordered_map<uintptr_t, int64_t*>;
  return *map;
}
}  // namespace

Array new_array(const Shape& shape, DType dtype, bool for_life, const char* op) {
  const size_t bytes = bytes_of(op, shape, dtype);
  const py::object memory = allocate_on_gpu(op, bytes, for_life);
  if (for_life) {
    const auto begin = memory.attr("ptr").cast<uintptr_t>();  // Python may run another thread: not under a lock
    const std::lock_guard lock(versions_mutex);
    int64_t*& version = versions()[begin];
    if (!version) version = new int64_t;
    *version = 0;
  }
  return cupy().ndarray(py::cast(shape), dtype_object(dtype), memory);
}

namespace {
// Where the memory begins in which CuPy's array lies; 0: it is none of CuPy's.
uintptr_t block_under(py::handle array) {
  if (!py::isinstance(array, cupy().ndarray)) return 0;
  return array.attr("data").attr("mem").attr("ptr").cast<uintptr_t>();
}
}  // namespace

int64_t* version_under(py::handle array) {
  const uintptr_t begin = block_under(array);
  if (!begin) return nullptr;
  const std::lock_guard lock(versions_mutex);
  const auto found = versions().find(begin);
  return found == versions().end() ? nullptr : found->second;
}

void hold(py::handle array) {
  const uintptr_t block = block_under(array);
  if (!block || !capturing->pool()->blocks.contains(block)) static_cast<PyPlan*>(capturing)->hold(array);
}

void* data_of(const Array& array) { return reinterpret_cast<void*>(array.attr("data").attr("ptr").cast<uintptr_t>()); }

// ---- Views ----
namespace {
std::optional<DType> dtype_of(const std::string& typestr) {  // "<f4"
  if (typestr.size() < 3 || typestr[0] == '>') return {};
  const char kind = typestr[1];
  const int bytes = std::atoi(typestr.c_str() + 2);
  for (int i = 0; i < 13; ++i) {
    const auto d = static_cast<DType>(i);
    if (d == DType::float16 || d == DType::bfloat16 || size_of(d) != bytes) continue;
    const char* name = name_of(d);
    const char wanted = d == DType::boolean ? 'b' : name[0];  // int8, uint8, float32
    if (kind == wanted) return d;
  }
  return {};
}
}  // namespace

// An object that is none of CuPy's may say on which stream its data come to be: 1 is the default stream, 2 that of the
// thread, for the runtime as well; else it is a handle.
static void wait_for_data(const Call& call, py::handle object, const py::dict& about, const char* name) {
  if (!about.contains("stream") || py::isinstance(object, cupy().ndarray)) return;
  const py::object said = about["stream"];
  if (said.is_none()) return;
  const auto stream = said.cast<uintptr_t>(), now = reinterpret_cast<uintptr_t>(current_stream());
  call.require(stream != 0, name,
               " says that its data come on stream 0, which __cuda_array_interface__ forbids: None, ",
               "1 (the default stream), 2 (that of the thread) or a handle");
  if (stream != (now == 0 ? 1 : now))
    order_after(reinterpret_cast<cudaStream_t>(stream), reinterpret_cast<cudaStream_t>(now));
}

View Call::view(py::handle object, const char* name, bool) {
  if (!py::hasattr(object, "__cuda_array_interface__")) {
    require_gpu();  // without one, this is what is missing
    type_error(name, " must be an array on the GPU. Received: ", std::string(py::str(py::type::of(object))),
               ". Make a tensor of it, nnfast.tensor(x), after nnfast.set_device('cuda')");
  }
  const py::dict about = object.attr("__cuda_array_interface__");
  const auto typestr = about["typestr"].cast<std::string>();
  const auto dtype = dtype_of(typestr);
  if (!dtype)
    type_error(name, " has dtype ", typestr,
               ". nnfast computes with bool, integers, float32 and float64 of native byte order: use astype()");
  const py::tuple shape = about["shape"];
  if (shape.size() > MAX_DIMS)
    throw std::invalid_argument(
        message(name, " has ", shape.size(), " dimensions, at most ", MAX_DIMS, " are possible"));
  const int64_t item = size_of(*dtype);
  View v;
  v.data = reinterpret_cast<void*>(about["data"].cast<py::tuple>()[0].cast<uintptr_t>());
  v.ndim = static_cast<int8_t>(shape.size());
  v.dtype = *dtype;
  const py::object strides = about.contains("strides") ? py::object(about["strides"]) : py::none();
  int64_t dense = 1;
  for (int i = v.ndim - 1; i >= 0; --i) {
    v.shape[i] = shape[static_cast<size_t>(i)].cast<int64_t>();
    int64_t step = dense * item;
    if (!strides.is_none()) step = strides.cast<py::tuple>()[static_cast<size_t>(i)].cast<int64_t>();
    if (step % item != 0)
      throw std::invalid_argument(message(name, " has a stride of ", step, " bytes, which is no whole number of its ",
                                          "elements. Copy it: x.copy()"));
    v.stride[i] = v.shape[i] == 1 ? 0 : step / item;  // the stride of a single row means nothing
    dense *= v.shape[i];
  }
  if (v.size() > 0) {
    require(reinterpret_cast<uintptr_t>(v.data) % static_cast<uintptr_t>(item) == 0, name,
            " does not begin at a multiple of the size of its elements. Copy it: x.copy()");
    const int there = gpu_of(v.data), here = current_gpu();
    require(there == here, name, " lies on GPU ", there, ", the current one is ", here,
            ". Copy it, or work inside `with cupy.cuda.Device(", there, ")`");
  }
  if (v.size() > 0) wait_for_data(*this, object, about, name);
  if (capturing) hold(object);
  return v;
}

bool Call::writeable(py::handle array) const {
  const py::dict about = array.attr("__cuda_array_interface__");
  return !about["data"].cast<py::tuple>()[1].cast<bool>();
}

// ---- calls ----
Call::~Call() = default;

void* Call::allocate_scratch(size_t bytes) {  // given back to the pool when the call ends, in the order of the stream
  kept_.push_back(allocate_on_gpu(op_, bytes, false));
  return reinterpret_cast<void*>(kept_.back().attr("ptr").cast<uintptr_t>());
}

// Kernels of the GPU meet strides where they load tiles: no op asks for panels.
KeptPanels* Call::keep(py::handle, const View&, size_t) { return nullptr; }
void PyPlan::lend() noexcept {}
void PyPlan::take_back() noexcept {}

void Call::begin() const { set_stream(current_stream()); }

// What the kernels of an op found in data stands in a status of its own for each op, number of classes and stream,
// until somebody reads values. All lie in one array, so that one copy brings them.
namespace {
constexpr size_t MOST_STATUSES = 1024;
constexpr size_t WORDS = sizeof(Status) / sizeof(int64_t);
struct Found {
  const char* op;
  int64_t classes;
  cudaStream_t stream;
};
std::mutex found_mutex;
std::vector<Found>& found() {
  static auto* all = new std::vector<Found>;
  return *all;
}
const py::object& found_words() {
  PYBIND11_CONSTINIT static py::gil_safe_call_once_and_store<py::object> all;
  return all
      .call_once_and_store_result([] {
        py::object words = cupy().zeros(MOST_STATUSES * WORDS, "int64");
        cupy().current_stream().attr("synchronize")();  // kernels on other streams will write there
        return words;
      })
      .get_stored();
}
py::object words_between(size_t first, size_t end) {
  return found_words()[py::slice(static_cast<py::ssize_t>(first * WORDS), static_cast<py::ssize_t>(end * WORDS), 1)];
}
}  // namespace

// Streams come and go; where there is no room for another one, it shares the status of the op.
Status* Call::own_status() {
  if (capturing && capturing->status) return capturing->status;
  auto* const statuses = static_cast<Status*>(data_of(found_words()));
  const cudaStream_t here = current_stream();
  const std::lock_guard lock(found_mutex);
  auto& known = found();
  size_t shared = MOST_STATUSES;
  for (size_t i = 0; i < known.size(); ++i) {
    if (std::strcmp(known[i].op, op_) != 0 || known[i].classes != classes_) continue;
    if (known[i].stream == here) return statuses + i;
    shared = i;
  }
  if (known.size() == MOST_STATUSES) {
    if (shared == MOST_STATUSES) throw std::logic_error(message("more ops look at data than there is room for"));
    return statuses + shared;
  }
  known.push_back({op_, classes_, here});
  return statuses + known.size() - 1;
}

void Call::end() {}

// Raises one of them; the others wait for the next look.
void check_data() {
  const std::vector<Found> known = [] {
    const std::lock_guard lock(found_mutex);
    return found();
  }();
  if (known.empty()) return;
  const py::array words = words_between(0, known.size()).attr("get")();
  const auto* const statuses = static_cast<const Status*>(words.data());
  for (size_t i = 0; i < known.size(); ++i) {
    if (statuses[i].code == OK) continue;
    words_between(i, i + 1).attr("fill")(0);
    Call call(known[i].op);
    call.classes(known[i].classes);
    call.raise(statuses[i]);
  }
}

}  // namespace nnfast
