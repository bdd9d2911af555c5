"""A GPU as the ladder needs it: arrays, a clock, a name. Functions of CUDA's driver library alone, which every machine
with an NVIDIA GPU has; kernels come from libraries that nvcc made, and work in the same context."""

from __future__ import annotations

import ctypes
import math
from typing import Any

import numpy as np

from nnfast.ladder.problems import Array

LIBRARY = "libcuda.so.1"
MAJOR, MINOR, PROCESSORS = 75, 76, 16  # CUdevice_attribute
OUT_OF_MEMORY = 2  # CUresult


class GpuArray:
    """Float32 on the GPU, in order. Lives as long as somebody has it, or a part of it."""

    def __init__(self, driver: Driver, pointer: int, shape: tuple[int, ...], owner: Any = None):
        self.driver, self.pointer, self.shape, self._owner = driver, pointer, shape, owner

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        pointer = self.pointer if self.size else 0
        return {"shape": self.shape, "typestr": "<f4", "data": (pointer, False), "strides": None, "version": 3}


class _Memory:
    """Is given back when nobody has it any more."""

    def __init__(self, driver: Driver, size: int):
        self._driver, self.pointer = driver, ctypes.c_void_p()
        driver.call("cuMemAlloc_v2", ctypes.byref(self.pointer), ctypes.c_size_t(size))

    def __del__(self) -> None:
        if self.pointer:
            self._driver.library.cuMemFree_v2(self.pointer)


class Driver:
    """The first GPU that this process sees.

    Raises:
        LookupError: there is no driver, or no GPU.
    """

    def __init__(self) -> None:
        try:
            self.library = ctypes.CDLL(LIBRARY)
        except OSError:
            raise LookupError("there is no driver of NVIDIA's") from None
        device, context, count = ctypes.c_int(), ctypes.c_void_p(), ctypes.c_int()
        if self.library.cuInit(0) or self.library.cuDeviceGetCount(ctypes.byref(count)) or not count.value:
            raise LookupError("there is a driver of NVIDIA's, and it finds no GPU")
        self.call("cuDeviceGet", ctypes.byref(device), 0)
        self.call("cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
        self.call("cuCtxSetCurrent", context)
        name = ctypes.create_string_buffer(200)
        self.call("cuDeviceGetName", name, len(name), device)
        self.name = name.value.decode(errors="replace")

        def attribute(number: int) -> int:
            value = ctypes.c_int()
            self.call("cuDeviceGetAttribute", ctypes.byref(value), number, device)
            return value.value

        self.capability = 10 * attribute(MAJOR) + attribute(MINOR)
        self.processors = attribute(PROCESSORS)
        self._events = ctypes.c_void_p(), ctypes.c_void_p()
        for event in self._events:
            self.call("cuEventCreate", ctypes.byref(event), 0)

    def call(self, function: str, *arguments: Any) -> None:
        """One function of the driver.

        Raises:
            MemoryError: the GPU has not enough.
            ValueError: the driver says no: also of a kernel that went wrong before.
        """
        code = getattr(self.library, function)(*arguments)
        if code == OUT_OF_MEMORY:
            raise MemoryError("the GPU has not enough memory")
        if code:
            text = ctypes.c_char_p()
            self.library.cuGetErrorString(code, ctypes.byref(text))
            raise ValueError(f"[ladder] CUDA says: {(text.value or b'an unknown error').decode()} ({function}: {code})")

    # ---- arrays ----

    def empty(self, shape: tuple[int, ...]) -> GpuArray:
        memory = _Memory(self, max(4 * math.prod(shape), 16))
        return GpuArray(self, memory.pointer.value or 0, shape, memory)

    def put(self, x: Array) -> GpuArray:
        """A copy of an array of float32."""
        to = self.empty(x.shape)
        self.write(to, x)
        return to

    def write(self, to: GpuArray, x: Array) -> None:
        x = np.ascontiguousarray(x, np.float32)
        if x.size:
            source = ctypes.c_void_p(x.ctypes.data)
            self.call("cuMemcpyHtoD_v2", ctypes.c_void_p(to.pointer), source, ctypes.c_size_t(x.nbytes))

    def fill(self, to: GpuArray, value: np.float32) -> None:
        if to.size:
            bits = ctypes.c_uint(int(np.float32(value).view(np.uint32)))
            self.call("cuMemsetD32_v2", ctypes.c_void_p(to.pointer), bits, ctypes.c_size_t(to.size))

    def part(self, x: GpuArray, offset: int, shape: tuple[int, ...]) -> GpuArray:
        """A part of it, in the same memory."""
        return GpuArray(self, x.pointer + 4 * offset, shape, x)

    def fetch(self, x: Any) -> Array:
        """The values of what shows its memory on the GPU; waits for all work there."""
        about = x.__cuda_array_interface__
        shape, dtype = tuple(about["shape"]), np.dtype(about["typestr"])
        if about.get("strides") is not None and math.prod(shape):
            steps = [math.prod(shape[i + 1 :]) * dtype.itemsize for i in range(len(shape))]
            if any(n > 1 and a != b for n, a, b in zip(shape, about["strides"], steps)):
                raise ValueError("[ladder] an array on the GPU has gaps: its rows do not follow each other")
        values = np.empty(shape, dtype)
        if values.size:
            to, source = ctypes.c_void_p(values.ctypes.data), ctypes.c_void_p(about["data"][0])
            self.call("cuMemcpyDtoH_v2", to, source, ctypes.c_size_t(values.nbytes))
        else:
            self.call("cuCtxSynchronize")
        return values

    # ---- the clock: of the GPU itself, on the default stream ----

    def start(self) -> None:
        self.call("cuEventRecord", self._events[0], None)

    def stop(self) -> float:
        """Seconds since `start` that the GPU has taken for what was queued; waits for it."""
        milliseconds = ctypes.c_float()
        self.call("cuEventRecord", self._events[1], None)
        self.call("cuEventSynchronize", self._events[1])
        self.call("cuEventElapsedTime", ctypes.byref(milliseconds), *self._events)
        return max(milliseconds.value, 1e-6) / 1e3
