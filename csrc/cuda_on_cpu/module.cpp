// What the emulator has of its own beside the ops, and the stream that it does not need.
#include "../bindings/module.h"
#include "../bindings/tensor_cores.h"
#include "../cuda/stream.h"
#include "../cuda/tensor_cores.h"

namespace nnfast {

cudaStream_t stream() { return nullptr; }
int compute_capability() { return 90; }
int multiprocessors() { return 4; }

void bind_runtime(py::module_& m) { bind_tensor_cores(m); }

}  // namespace nnfast
