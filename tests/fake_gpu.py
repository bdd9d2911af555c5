"""A stand-in for a GPU: CuPy's arrays over memory of the CPU, and `_cuda`'s functions over the emulator's kernels.

It is as strict as the real ones: an array of this CuPy never becomes one of NumPy unless somebody says `get()`, kernels
take no array of NumPy, nothing is raised about data before `check_data`. Streams and memory are those of
fake_streams.py. What it cannot show: that memory of the GPU is out of reach.
"""

import ctypes
import functools
import importlib
import importlib.util
import math
import sys
import types

import fake_streams
import numpy as np
import pytest

import nnfast

KERNELS = nnfast.device._modules["cuda-emulator"]


class OutOfMemoryError(MemoryError):
    """As in cupy.cuda.memory."""


def over(address, shape, dtype, strides, writeable=True, owner=None):
    """NumPy's array over some memory, which lives as long as its owner."""
    dtype = np.dtype(dtype)
    if 0 in shape or not address:
        return np.empty(shape, dtype)
    strides = strides or np.empty(shape, dtype).strides
    low = sum(min(0, (n - 1) * s) for n, s in zip(shape, strides))
    high = sum(max(0, (n - 1) * s) for n, s in zip(shape, strides)) + dtype.itemsize
    block = (ctypes.c_char * (high - low)).from_address(address + low)
    block.owner = owner
    a = np.ndarray(shape, dtype, block, -low, strides)
    a.flags.writeable = writeable
    return a


ROOM, DRIVER = 1 << 40, 12090
VIEWS = {"expand_dims", "broadcast_to", "moveaxis", "transpose", "swapaxes", "squeeze", "reshape", "flip"}


class Place:
    """cupy.cuda.MemoryPointer: an address in a block."""

    __slots__ = ("mem", "ptr")
    copy_from_device_async = fake_streams.Block.copy_from_device_async

    def __init__(self, ptr, mem):
        self.ptr, self.mem = ptr, mem


class Flags:
    def __init__(self, a):
        self.c_contiguous, self.f_contiguous = a.flags.c_contiguous, a.flags.f_contiguous


class ndarray:
    """cupy.ndarray, as far as nnfast may use it: shapes, views and copies. It computes nothing: kernels do.

    CuPy could compute, but compiles what it needs, and for that a driver is not enough.
    """

    __slots__ = ("__weakref__", "_a", "_kept")

    def __init__(self, shape, dtype=np.float32, memory=None):
        self._kept = memory
        if memory is None:
            self._a = np.empty(shape, dtype)
        else:
            self._a = over(memory.ptr, tuple(shape), dtype, None, owner=memory)

    shape = property(lambda self: self._a.shape)
    dtype = property(lambda self: self._a.dtype)
    strides = property(lambda self: self._a.strides)
    ndim = property(lambda self: self._a.ndim)
    size = property(lambda self: self._a.size)
    nbytes = property(lambda self: self._a.nbytes)
    itemsize = property(lambda self: self._a.itemsize)
    flags = property(lambda self: Flags(self._a))
    T = property(lambda self: of(self._a.T, self))

    def get(self):
        if not self.flags.c_contiguous:
            raise TypeError(
                "CuPy would have to compile a kernel, for which the driver is not enough: contiguous() first"
            )
        return self._ready().copy()

    def _ready(self):
        """The values, when the current stream has done its work."""
        fake_streams.current().synchronize()
        return self._a

    def set(self, values, stream=None):
        if not isinstance(values, np.ndarray):
            raise TypeError("Only numpy.ndarray can be set to cupy.ndarray")
        if values.dtype != self.dtype or values.shape != self.shape:
            raise ValueError(f"{values.dtype} {values.shape} cannot be set to {self.dtype} {self.shape}")
        if not (self.flags.c_contiguous or self.flags.f_contiguous):
            raise RuntimeError("Cannot set to non-contiguous array")
        (stream or fake_streams.current()).then(functools.partial(np.copyto, self._a, values.copy()))

    def fill(self, value):
        fake_streams.current().then(functools.partial(self._a.fill, value))

    def item(self):
        return self._ready().item()

    def tolist(self):
        return self._ready().tolist()

    def reshape(self, *shape):
        return of(self._a.reshape(*shape), self)

    def transpose(self, *axes):
        if any(isinstance(a, np.ndarray) for a in axes):
            raise TypeError("axes are integers, in a tuple or list")
        return of(self._a.transpose(*axes), self)

    def swapaxes(self, a, b):
        return of(self._a.swapaxes(a, b), self)

    def __getitem__(self, key):
        keys = key if isinstance(key, tuple) else (key,)
        if any(isinstance(k, (ndarray, np.ndarray, list)) for k in keys):
            raise TypeError("picked by arrays: CuPy can, but take_rows is nnfast's kernel for that")
        return of(self._a[key], self)

    def __setitem__(self, key, value):
        raise TypeError("values are set by kernels or by set()")

    def __len__(self):
        return len(self._a)

    def __bool__(self):
        return bool(self._ready())

    def __int__(self):
        return int(self._ready())

    def __float__(self):
        return float(self._ready())

    def __array__(self, *args, **kwargs):
        raise TypeError(
            "Implicit conversion to a NumPy array is not allowed. "
            "Please use `.get()` to construct a NumPy array explicitly."
        )

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        raise TypeError(f"numpy.{ufunc.__name__} of an array of the GPU")

    def __array_function__(self, function, types, args, kwargs):
        if function.__name__ not in VIEWS:
            raise TypeError(f"numpy.{function.__name__} of an array of the GPU")
        return of(function(*(a._a if isinstance(a, ndarray) else a for a in args), **kwargs), self)

    @property
    def __cuda_array_interface__(self):
        a = self._a
        return {
            "shape": a.shape,
            "typestr": a.dtype.str,
            "descr": a.dtype.descr,
            "stream": 1,
            "version": 3,
            "strides": None if a.flags.c_contiguous else a.strides,
            "data": (a.ctypes.data if a.size else 0, False),
        }

    def __dlpack__(self, **kwargs):
        return self._a.__dlpack__()

    def __dlpack_device__(self):
        return 2, 0

    @property
    def data(self):
        """Where it begins, and in whose block."""
        base = self._a
        while isinstance(base.base, np.ndarray):
            base = base.base
        block = self._kept.mem if self._kept is not None else types.SimpleNamespace(ptr=base.ctypes.data)

        return Place(self._a.ctypes.data, block)


def of(a, parent=None):
    """This CuPy's array over one of NumPy; numbers become arrays without dimensions, as with CuPy."""
    made = ndarray.__new__(ndarray)
    made._a = np.asarray(a)
    made._kept = parent._kept if parent is not None else None
    return made


class Capsule:
    def __init__(self, capsule):
        self.capsule = capsule

    def __dlpack__(self, **kwargs):
        return self.capsule

    def __dlpack_device__(self):
        return 1, 0


def make_cupy():
    """The module. `room` is how many bytes a copy may have; `made_for` and `driver` the versions of CUDA."""
    cupy = types.ModuleType("cupy")
    cupy.__version__ = "13.0"
    cupy.room, cupy.made_for, cupy.driver = ROOM, DRIVER, DRIVER
    cupy.ndarray = ndarray
    cupy.copies = []  # from the CPU: their sizes

    def asarray(x, dtype=None):
        if isinstance(x, ndarray):
            return x
        if hasattr(x, "__cuda_array_interface__"):
            about = x.__cuda_array_interface__
            made = of(over(about["data"][0], about["shape"], about["typestr"], about.get("strides")))
            made._kept = types.SimpleNamespace(mem=types.SimpleNamespace(ptr=about["data"][0]), owner=x)
            return made
        a = np.array(x, dtype)
        made = ndarray(a.shape, a.dtype, alloc(a.nbytes))
        cupy.copies.append(a.nbytes)
        made.set(a)
        return made

    def zeros(shape, dtype=np.float32):
        made = ndarray((shape,) if isinstance(shape, int) else shape, dtype, alloc(np.zeros(shape, dtype).nbytes))
        made.fill(0)
        return made

    def alloc(size, pool=None):
        if size > cupy.room:
            raise OutOfMemoryError(f"Out of memory allocating {size} bytes")
        return fake_streams.Block(size, pool)

    class Pool(fake_streams.Pool):
        def malloc(self, size):
            return alloc(size, self)

    def from_dlpack(x):
        if x.__dlpack_device__()[0] != 2:
            raise RuntimeError("this DLPack tensor lies on the CPU")
        return of(np.from_dlpack(Capsule(x.__dlpack__())))

    cupy.asarray, cupy.from_dlpack, cupy.zeros = asarray, from_dlpack, zeros
    pool = Pool()
    cupy.get_default_memory_pool = lambda: pool
    cuda = cupy.cuda = types.ModuleType("cupy.cuda")
    cuda.alloc, cuda.MemoryPool = alloc, Pool
    cuda.Stream, cuda.Event, cuda.get_current_stream = fake_streams.Stream, fake_streams.Event, fake_streams.current
    cuda.memory = types.SimpleNamespace(OutOfMemoryError=OutOfMemoryError)
    cuda.runtime = types.SimpleNamespace(
        runtimeGetVersion=lambda: cupy.made_for,
        driverGetVersion=lambda: cupy.driver,
        getDeviceCount=lambda: 1,
        getDevice=lambda: 0,
        getDeviceProperties=lambda number: {
            "name": b"Stand-in",
            "multiProcessorCount": 1,
            "major": 8,
            "minor": 0,
            "totalGlobalMem": cupy.room,
            "l2CacheSize": 1 << 20,
        },
    )
    cuda.get_elapsed_time = lambda a, b: 1000 * (b.at - a.at)
    cupy.matmul = lambda a, b: asarray(np.matmul(a._ready(), b._ready()))  # cuBLAS's, for the benchmark
    return cupy


class Cuda:
    """`_cuda` over the emulator: its functions, for arrays of the GPU alone."""

    def __init__(self, emulator):
        self._pending = []
        for name in dir(emulator):
            if not name.startswith("_"):
                value = getattr(emulator, name)
                plain = isinstance(value, type) or name in ("memory", "empty_cache")
                setattr(self, name, value if plain else self._wrapped(name, value))

        self.empty = self._with_room(self.empty)
        self.Slot, self.Plan = lambda array: emulator.Slot(inner(array)), _plan(emulator.Plan)

    def _with_room(self, empty):
        def run(shape, dtype, for_life=False):
            if math.prod(shape) * np.dtype(dtype).itemsize > sys.modules["cupy"].room:
                raise MemoryError("[empty] there is not enough memory on the GPU")
            return empty(shape, dtype, for_life)

        return run

    def ready(self):
        sys.modules["cupy"]  # what the real one imports

    def problem(self):
        return ""

    def versions(self):
        return "CUDA 12.9, a stand-in"

    def check_data(self):
        pending, self._pending[:] = list(self._pending), []
        for status, again in pending:
            if status[0]:
                again()
                raise AssertionError("a kernel found fault with its data, and not when it ran again")

    def _wrapped(self, name, kernel):
        reports = "status" in (kernel.__doc__ or "").split("->")[0]

        def run(*args, **options):
            given = args
            args, options = [inner(a) for a in args], {k: inner(v) for k, v in options.items()}
            if reports and options.get("status") is None and name != "advance":
                status = np.zeros(5, np.int64)
                copies = [a.copy() if isinstance(a, np.ndarray) else a for a in args]
                self._pending.append((status, lambda: kernel(*copies, **{**options, "status": None})))
                options["status"] = status
            result = kernel(*args, **options)
            same = next((x for x in given if isinstance(x, ndarray) and x._a is result), None)  # contiguous
            return outer(result) if same is None else same

        run.__doc__ = kernel.__doc__
        return run


def _plan(made):
    class Plan(made):
        def begin(self, status=None, cursor=None, constant=False):
            super().begin(inner(status), inner(cursor), constant)

        def replay(self, n=1, seconds=sys.float_info.max, bindings=(), start=-1, wait=True):
            return super().replay(n, seconds, [(slot, inner(a)) for slot, a in bindings], start, wait)

        def profile(self, bindings=(), start=-1):
            return super().profile([(slot, inner(a)) for slot, a in bindings], start)

    return Plan


def inner(x):
    """What the emulator takes for an argument."""
    if isinstance(x, ndarray):
        return x._a
    if isinstance(x, np.ndarray):
        raise TypeError(f"x must be an array on the GPU. Received: {type(x)}")
    if hasattr(x, "__cuda_array_interface__"):
        about = x.__cuda_array_interface__
        address, read_only = about["data"]
        return over(address, about["shape"], about["typestr"], about.get("strides"), not read_only)
    return type(x)(inner(v) for v in x) if isinstance(x, (list, tuple)) else x


def outer(x):
    """What a caller of `_cuda` is given for a result."""
    if isinstance(x, np.ndarray):
        return of(x)
    return type(x)(outer(v) for v in x) if isinstance(x, (list, tuple)) else x


CUPY = make_cupy()


def install(monkeypatch):
    """Makes the stand-in the device "cuda" until the test ends. Returns its CuPy.

    Where the bindings of `_cuda` were built over the emulator (-DNNFAST_CUDA_STAND_IN=ON), it is they that run.
    """
    if importlib.util.find_spec("nnfast._cuda_stand_in"):
        module, cupy = importlib.import_module("nnfast._cuda_stand_in"), CUPY  # they keep what they know of CuPy
        cupy.room, cupy.made_for, cupy.copies[:] = ROOM, DRIVER, []
    else:
        module, cupy = (
            Cuda(pytest.importorskip(KERNELS, reason="built without the emulator (NNFAST_EMULATOR)")),
            make_cupy(),
        )
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    monkeypatch.setitem(sys.modules, "nnfast._cuda", module)
    return cupy
