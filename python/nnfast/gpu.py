"""Arrays of the GPU: CuPy's. Imported by `device` when the GPU is chosen; nothing else knows what such an array is.

A kernel of `_cuda` takes arrays that lie on the GPU. `Kernels` has the same functions for a caller who may also have
arrays of NumPy: they are copied to the GPU first. Work runs on CuPy's current stream and nobody waits for it, until
somebody reads values (`fetch`); there, what kernels have found in data is raised.
"""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

_SAME = {"contiguous"}  # may return its argument, which then has to be one that others may have
_PLAIN = {"ready", "problem", "versions", "check_data", "memory", "empty_cache", "empty", "version"}  # take no inputs
_CONSTANTS = 512  # numbers that stay on the GPU


class Gpu:
    """CuPy and the module of kernels.

    Args:
        module: `_cuda`.

    Raises:
        RuntimeError: there is no driver or no GPU, or CuPy cannot use it.
        ImportError: there is no CuPy.
    """

    def __init__(self, module: Any):
        module.ready()
        self.module, self.cupy = module, _usable_cupy()
        self.array: type = self.cupy.ndarray
        self._constants: dict[Any, Any] = {}
        self.kernels = Kernels(module, self._lend, self.put)

    def put(self, a: Any) -> Any:
        """The values on the GPU: the array itself if it lies there, else a copy."""
        return a if a.__class__ is self.array else self._upload(a)

    def operand(self, x: Any) -> Any:
        """x for an op: an array of NumPy is copied here, so once; a number stays, since kernels share one of each."""
        return self._upload(x) if isinstance(x, np.ndarray) and x.ndim else x

    def adopt(self, a: Any) -> Any:
        """CuPy's array over the memory of an array that shows `__cuda_array_interface__`."""
        return a if a.__class__ is self.array else self.cupy.asarray(a)

    def from_dlpack(self, x: Any) -> Any:
        """CuPy's array over the memory of an array on the GPU that speaks DLPack."""
        return self.cupy.from_dlpack(x)

    def write(self, array: Any, values: Any) -> None:
        """Sets the values of an array. No kernel does it."""
        if values.__class__ is self.array:
            self.module.copy(values, array)
        else:
            wanted = np.broadcast_to(np.asarray(values, array.dtype), array.shape)
            array.set(np.array(wanted, order="C"), stream=self.cupy.cuda.get_current_stream())

    def fetch(self, a: Any) -> np.ndarray:
        """A copy of the values for NumPy. Waits for the GPU, and raises what kernels have found in data."""
        if not a.flags.c_contiguous:
            a = self.module.contiguous(a)  # CuPy's way compiles a kernel, for which a driver is not enough
        values = a.get()
        self.module.check_data()
        return values

    def _upload(self, a: np.ndarray) -> Any:
        try:
            return self.cupy.asarray(a)
        except self.cupy.cuda.memory.OutOfMemoryError:
            raise MemoryError(
                f"[cuda] there is not enough memory on the GPU. Received: an array of {a.nbytes} bytes to copy there. "
                "Take a smaller one: a generator gives fit one batch after the other"
            ) from None

    def _lend(self, a: Any) -> Any:
        """What a kernel is given for an argument."""
        if isinstance(a, np.ndarray):
            return self._constant(a) if a.ndim == 0 else Lent(self._upload(a))
        if a.__class__ in (list, tuple) and any(isinstance(x, np.ndarray) for x in a):
            return a.__class__(self._lend(x) for x in a)
        return a

    def _constant(self, a: np.ndarray) -> Any:
        """A single number, such as the 2 of x * 2: copied once."""
        key = a.dtype, a.tobytes()
        known = self._constants.get(key)
        if known is None:
            if len(self._constants) >= _CONSTANTS:
                self._constants.clear()
            known = Lent(self._upload(a))
            self.cupy.cuda.get_current_stream().synchronize()  # other streams may use it
            self._constants[key] = known
        return known


class Lent:
    """A copy that a kernel may read, and not write: the array that it is a copy of would not change."""

    __slots__ = ("array",)

    def __init__(self, array: Any):
        self.array = array

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        about = dict(self.array.__cuda_array_interface__)
        return {**about, "data": (about["data"][0], True), "stream": None}


class Kernels:
    """The functions of `_cuda`, for arrays of the GPU and of NumPy."""

    def __init__(self, module: Any, lend: Callable[[Any], Any], own: Callable[[Any], Any]):
        for name in dir(module):
            if not name.startswith("_"):
                kernel = getattr(module, name)
                as_it_is = name in _PLAIN
                setattr(self, name, kernel if as_it_is else _lending(kernel, own if name in _SAME else lend))
        self.Plan, self.Slot = _plan(module.Plan, own), lambda array: module.Slot(own(array))


def _plan(made: Any, own: Callable[[Any], Any]) -> Any:
    """The class of plans, for arrays of the GPU and of NumPy."""

    class Plan(made):
        def replay(self, n: int, seconds: float, bindings: Any, start: int, wait: bool) -> Any:
            return super().replay(n, seconds, [(slot, own(a)) for slot, a in bindings], start, wait)

        def profile(self, bindings: Any, start: int) -> Any:
            return super().profile([(slot, own(a)) for slot, a in bindings], start)

    return Plan


def _lending(kernel: Callable[..., Any], lend: Callable[[Any], Any]) -> Callable[..., Any]:
    @functools.wraps(kernel)
    def run(*args: Any, **options: Any) -> Any:
        return kernel(*map(lend, args), **{k: lend(v) for k, v in options.items()})

    return run


def on_gpu(x: Any) -> bool:
    """Does x show memory of a GPU?"""
    try:
        return hasattr(x, "__cuda_array_interface__")
    except Exception:  # some libraries raise what they like: then NumPy is asked, who says so
        return False


def _usable_cupy() -> Any:
    """CuPy, after a look at whether it runs here."""
    import cupy

    fix = 'Install the one for your driver, alone: pip install "nnfast[cuda13]" or "nnfast[cuda12]"'
    runtime = cupy.cuda.runtime
    try:
        made_for, driver = runtime.runtimeGetVersion(), runtime.driverGetVersion()
        if made_for // 1000 > driver // 1000:
            raise RuntimeError(
                f"[cuda] this CuPy is made for CUDA {made_for // 1000}, the driver knows CUDA {driver // 1000}. {fix}"
            )
        cupy.zeros(1, "float32").get()
    except RuntimeError as e:  # CuPy's own errors are, too
        if str(e).startswith("[cuda]"):
            raise
        raise RuntimeError(f"[cuda] CuPy {cupy.__version__} cannot use the GPU: {e}. {fix}") from e
    return cupy
