"""`_cuda` for tests that know NumPy alone: arrays are copied to the GPU as they lie, strides and all, and back."""

import contextlib
import importlib
import importlib.util
import sys
from unittest import mock

import fake_gpu
import numpy as np
from conftest import GPU

import nnfast


def load():
    """The functions of `_cuda`: on the GPU, else those that were built over the emulator; None if there are neither."""
    if GPU:
        import cupy

        return Engine(importlib.import_module(nnfast.device._modules["cuda"]), cupy)
    if importlib.util.find_spec("nnfast._cuda_stand_in"):
        return Engine(importlib.import_module("nnfast._cuda_stand_in"), fake_gpu.CUPY)
    return None


class There:
    """Memory of the GPU with the bytes of an array of NumPy, from the lowest to the highest, in the same places."""

    def __init__(self, cupy, a):
        self.array = a
        if not a.flags.aligned:  # on the GPU that is an error: test_bindings_refuse_what_kernels_cannot_read
            a = a.copy()
        steps = [(n - 1) * s for n, s in zip(a.shape, a.strides)] if a.size else [0]
        low, high = sum(min(0, s) for s in steps), sum(max(0, s) for s in steps) + a.itemsize
        self._dtype, self._shape, self._strides, self._first = a.dtype, a.shape, a.strides, -low
        span = fake_gpu.over(a.ctypes.data + low, (high - low,), np.uint8, None) if a.size else np.zeros(0, np.uint8)
        self._bytes = cupy.asarray(span)

    @property
    def __cuda_array_interface__(self):
        begin = self._bytes.__cuda_array_interface__["data"][0]
        return {
            "shape": self._shape,
            "typestr": self._dtype.str,
            "strides": self._strides,
            "data": (begin + self._first if begin else 0, not self.array.flags.writeable),
            "version": 3,
        }

    def values(self):
        bytes_ = self._bytes.get()
        if not self.array.size:
            return self.array
        return fake_gpu.over(bytes_.ctypes.data + self._first, self._shape, self._dtype, self._strides).copy()

    def bring_back(self):
        """What a kernel has written. To what is read-only it may write nothing."""
        if self.array.flags.writeable:
            self.array[...] = self.values()
        else:
            np.testing.assert_array_equal(self.array, self.values())


class Engine:
    def __init__(self, module, cupy):
        self._module, self._cupy = module, cupy

    def __getattr__(self, name):
        kernel = getattr(self._module, name)

        def run(*args, **options):
            taken = []
            with mock.patch.dict(sys.modules, cupy=self._cupy) if not GPU else contextlib.nullcontext():
                args = [self._there(a, taken) for a in args]
                options = {k: self._there(v, taken) for k, v in options.items()}
                results = self._here(kernel(*args, **options))
                self._module.check_data()
                for a in taken:
                    a.bring_back()
            return results

        return run

    def _there(self, x, taken):
        if isinstance(x, (list, tuple)):
            return type(x)(self._there(v, taken) for v in x)
        if not isinstance(x, np.ndarray):
            return x
        taken.append(There(self._cupy, x))
        return taken[-1]

    def _here(self, x):
        if isinstance(x, (list, tuple)):
            return type(x)(map(self._here, x))
        if isinstance(x, There):
            return x.values()
        return x.get() if isinstance(x, self._cupy.ndarray) else x
