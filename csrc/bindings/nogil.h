// NoGil: runs the rest of a scope without the GIL. After it, nothing of Python may be touched.
// An interpreter that shuts down ends a thread that asks for the GIL by unwinding it, through a noexcept destructor:
// abort. So at Python's exit we wait until no thread is inside a NoGil, and park those that come later (daemon
// threads) until the process ends. A module calls register_at_exit() once, in its init.
#pragma once
#include <pthread.h>
#include <Python.h>
#include <unistd.h>

#include <atomic>
#include <stdexcept>

namespace nnfast {

namespace nogil {
inline std::atomic<int> inside{0};
inline std::atomic<bool> closing{false};
inline pthread_t closer;  // written before closing is set
}  // namespace nogil

class NoGil {
 public:
  NoGil() {
    nogil::inside.fetch_add(1);  // while we still hold the GIL, so close() cannot miss us
    state_ = PyEval_SaveThread();
    if (nogil::closing.load() && !pthread_equal(nogil::closer, pthread_self())) {
      nogil::inside.fetch_sub(1);
      for (;;) pause();
    }
  }
  ~NoGil() {
    PyEval_RestoreThread(state_);
    nogil::inside.fetch_sub(1);
  }
  NoGil(const NoGil&) = delete;
  NoGil& operator=(const NoGil&) = delete;

 private:
  PyThreadState* state_;
};

// True once Python is shutting down: a loop of many kernels should end.
inline bool closing() { return nogil::closing.load(std::memory_order_relaxed); }

namespace nogil {
inline PyObject* close(PyObject*, PyObject*) {
  closer = pthread_self();
  closing.store(true);
  PyThreadState* state = PyEval_SaveThread();
  while (inside.load() > 0) usleep(50);
  PyEval_RestoreThread(state);
  Py_RETURN_NONE;
}
}  // namespace nogil

inline void register_at_exit() {
  // The threads that were inside at a fork do not exist in the child, and the one that forked held the GIL.
  pthread_atfork(nullptr, nullptr, [] { nogil::inside.store(0); });
  static PyMethodDef close{"nnfast_close", nogil::close, METH_NOARGS, nullptr};
  PyObject* module = PyImport_ImportModule("atexit");
  PyObject* function = module ? PyCFunction_New(&close, nullptr) : nullptr;
  PyObject* done = function ? PyObject_CallMethod(module, "register", "O", function) : nullptr;
  Py_XDECREF(function);
  Py_XDECREF(module);
  if (!done) {
    PyErr_Clear();
    throw std::runtime_error("[nnfast] atexit.register failed");
  }
  Py_DECREF(done);
}

}  // namespace nnfast
