// A module with one function, compute(ms), that sleeps inside NoGil as a kernel would compute.
#include "../../csrc/bindings/nogil.h"

namespace {

PyObject* compute(PyObject*, PyObject* ms) {
  const long wait = PyLong_AsLong(ms);
  {
    const nnfast::NoGil nogil;
    usleep(static_cast<useconds_t>(wait * 1000));
  }
  return PyBool_FromLong(nnfast::closing());
}

PyMethodDef methods[] = {{"compute", compute, METH_O, nullptr}, {nullptr, nullptr, 0, nullptr}};
PyModuleDef module = {PyModuleDef_HEAD_INIT, "nogil_module", nullptr, -1, methods, nullptr, nullptr, nullptr, nullptr};

}  // namespace

PyMODINIT_FUNC PyInit_nogil_module() {
  nnfast::register_at_exit();
  return PyModule_Create(&module);
}
