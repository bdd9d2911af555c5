// Table of contents of a device module. Each family of ops has a file beside this one.
#include "module.h"

#include "nogil.h"

// NNFAST_MODULE: its name, _cpu or _emulator.
PYBIND11_MODULE(NNFAST_MODULE, m, pybind11::mod_gil_not_used()) {
  using namespace nnfast;
  m.doc() = "Kernels of nnfast for one device. Every function takes and returns its arrays.";
  register_at_exit();
  bind_runtime(m);
  bind_arrays(m);
  bind_plan(m);
  bind_gemm(m);
  bind_conv2d(m);
  bind_elementwise(m);
  bind_movement(m);
  bind_metrics(m);
  bind_optimizer(m);
  bind_reduce(m);
  bind_random(m);
  bind_pool2d(m);
  bind_softmax(m);
  bind_norm(m);
  bind_upsample2d(m);
  bind_recurrent(m);
  bind_attention(m);
}
