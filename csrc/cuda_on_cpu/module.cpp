// What the emulator has of its own beside the ops: nothing to switch, and the stream that it does not need.
#include "../bindings/module.h"
#include "../cuda/stream.h"

namespace nnfast {

cudaStream_t stream() { return nullptr; }

void bind_runtime(py::module_&) {}

}  // namespace nnfast
