"""Streams, events and memory of the stand-in for CuPy.

On the default stream everything is done at once. On any other it waits in line, kernels and copies alike, until
somebody waits for it; so work on two streams that nobody has ordered runs in the wrong order, and what is read too
early is poison: NaN, or -1. Memory is poison before it is written, and again when it has been given back, in the order
of the stream on which it was allocated.

Lines need the bindings of `_cuda` over the emulator (-DNNFAST_CUDA_STAND_IN=ON).
"""

import ctypes
import functools
import importlib
import importlib.util
import itertools
import sys
import threading
import time

import numpy as np
import pytest

POISON = 255
_threads = threading.local()
_numbers = itertools.count()
_work = {}  # what waits in line, by number
_open = []  # the streams that have a line


@ctypes.CFUNCTYPE(None, ctypes.c_int64)
def _run(number):
    _work.pop(number)()


def library():
    """The functions of csrc/cuda_on_cpu/stand_in/ that are for tests."""
    if not importlib.util.find_spec("nnfast._cuda_stand_in"):
        pytest.skip("streams need the bindings over the emulator (NNFAST_CUDA_STAND_IN)")
    found = ctypes.CDLL(importlib.import_module("nnfast._cuda_stand_in").__file__)
    found.stand_in_stream.restype = ctypes.c_void_p
    for name in ("close", "run", "call", "now", "wait", "waiting"):
        getattr(found, f"stand_in_{name}").restype = ctypes.c_int64 if name in ("now", "waiting") else None
    found.stand_in_close.argtypes = found.stand_in_run.argtypes = [ctypes.c_void_p]
    found.stand_in_now.argtypes = found.stand_in_waiting.argtypes = [ctypes.c_void_p]
    found.stand_in_call.argtypes = [ctypes.c_void_p, type(_run), ctypes.c_int64]
    found.stand_in_wait.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64]
    found.stand_in_fail.argtypes = [ctypes.c_int]
    found.stand_in_fail.restype = None
    found.stand_in_elsewhere.argtypes = [ctypes.c_size_t, ctypes.c_size_t]
    found.stand_in_elsewhere.restype = None
    return found


class Stream:
    """cupy.cuda.Stream, one that does not wait for the default stream."""

    null = None

    def __init__(self, null=False, non_blocking=True):
        assert non_blocking or null, "the stand-in has no stream that waits for the default stream"
        self.syncs = 0  # how often somebody has waited
        self.ptr = 0
        if not null:
            self._library = library()
            self.ptr = self._library.stand_in_stream()
            _open.append(self)

    def close(self):
        _open.remove(self)
        self._library.stand_in_close(self.ptr)
        bury()

    @property
    def waiting(self):
        """How much is in line."""
        return self._library.stand_in_waiting(self.ptr) if self.ptr else 0

    def then(self, work):
        """Does the work when all before it is done."""
        if not self.ptr:
            work()
            return
        number = next(_numbers)
        _work[number] = work
        self._library.stand_in_call(self.ptr, _run, number)

    def synchronize(self):
        self.syncs += 1
        if self.ptr:
            self._library.stand_in_run(self.ptr)
            bury()

    def record(self, event=None):
        event = event or Event()
        event.record(self)
        return event

    def wait_event(self, event):
        if event.stream.ptr:
            event.stream._library.stand_in_wait(self.ptr, event.stream.ptr, event.place)

    def __enter__(self):
        _stack().append(self)
        return self

    def __exit__(self, *_):
        _stack().pop()


def _stack():
    if not hasattr(_threads, "stack"):
        _threads.stack = [Stream.null]
    return _threads.stack


Stream.null = Stream(null=True)


def current():
    return _stack()[-1]


class Event:
    """cupy.cuda.Event. Its time is that at which the CPU passed by."""

    def record(self, stream=None):
        self.stream, self.at = stream or current(), time.perf_counter()
        self.place = self.stream._library.stand_in_now(self.stream.ptr) if self.stream.ptr else 0

    def synchronize(self):
        Stream.null.wait_event(self)


# ---- memory ----
_buried = []  # blocks to which something in line may still write


def bury():
    if not any(s.waiting for s in _open):
        _buried.clear()


class Block:
    """Memory of so many bytes, for work on the current stream. What a pool has handed out goes back there."""

    mem = property(lambda self: self)

    def __init__(self, size, pool=None):
        self.size, self.pool, self._stream = max(size, 1), pool, current()
        free = pool.free.get(self.size) if pool is not None else None
        if free:
            self._bytes = free.pop()
        else:
            self._bytes = np.empty(self.size + 512, np.uint8)
            self._bytes.fill(POISON)
        self.ptr = (self._bytes.ctypes.data + 511) // 512 * 512
        if pool is not None:
            pool.used += self.size

    def __del__(self):
        if sys is None or sys.is_finalizing() or not hasattr(self, "ptr"):
            return
        if self._stream.ptr:
            _buried.append(self._bytes)
        self._stream.then(functools.partial(self._bytes.fill, POISON))
        if self.pool is not None:
            self.pool.used -= self.size
            self.pool.free.setdefault(self.size, []).append(self._bytes)

    def copy_from_device_async(self, source, size, stream=None):
        to, begin = self.ptr, source.ptr
        (stream or current()).then(lambda: ctypes.memmove(to, begin, size))


class Pool:
    """cupy.cuda.MemoryPool"""

    def __init__(self):
        self.used, self.free = 0, {}

    def malloc(self, size):
        return Block(size, self)

    def used_bytes(self):
        return self.used

    def free_bytes(self):
        return sum(size * len(blocks) for size, blocks in self.free.items())

    def total_bytes(self):
        return self.used_bytes() + self.free_bytes()

    def free_all_blocks(self):
        self.free.clear()
