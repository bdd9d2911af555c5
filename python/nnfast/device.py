"""Which module runs the kernels. The only file that imports a device module.

`kernels` is that module: `_cpu`, its NumPy twin `reference`, `_cuda`, or `_emulator`, which runs those kernels on the
CPU. They have the same functions with the same signatures, so that switching the device is switching the module.

Arrays are NumPy's on every device but the GPU, where they are CuPy's. What converts between the two is here: `put`,
`host`, `write`, `for_life`, and `home`, which moves what outlives a switch.
"""

import functools
import importlib
import operator
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from nnfast import _cpu
from nnfast.gpu import Gpu, on_gpu

kernels: Any = _cpu
_name = "cpu"
_modules = {
    "cpu": "nnfast._cpu",
    "reference": "nnfast.reference",
    "cuda-emulator": "nnfast._emulator",
    "cuda": "nnfast._cuda",
}
_gpu: Gpu | None = None  # while it computes
_last: Gpu | None = None  # that was used: tensors may have stayed there
arrays: Any = np.ndarray  # the class of what kernels take; on the GPU two
operand: Any = None  # operand(x) is what an op on the GPU makes of an input that is no Tensor
moves = 0  # how often arrays have moved to the GPU or back
after_a_move: list[Callable[[], Any]] = []  # called then, by who keeps arrays


def set_device(name: str) -> None:
    """Chooses what computes.

    Variables, so models and optimizers too, move along: what was trained on the GPU goes on on the CPU. Other tensors
    stay where they are: the GPU copies what it is given from the CPU, and the CPU refuses what lies on the GPU.

    Args:
        name: `"cpu"` (the C++ kernels), `"reference"` (plain NumPy, slow and obvious), `"cuda"` (the current NVIDIA
            GPU, with arrays of CuPy), or `"cuda-emulator"` (the CUDA kernels, block by block on the CPU: no GPU is
            needed, for tests and lessons).

    Raises:
        ValueError: another name, or a device that this build does not have.
        RuntimeError: inside `fit`, `evaluate` or `predict` (a callback, another thread); `"cuda"` where there is no
            driver or GPU, or where CuPy cannot use it.
        ImportError: `"cuda"` without CuPy.
        MemoryError: the Variables do not fit on the GPU; the device is then as before.

    >>> import nnfast
    >>> nnfast.set_device("reference")
    >>> nnfast.ops.exp(0.0).item()
    1.0
    >>> nnfast.set_device("cpu")
    """
    if not isinstance(name, str) or name not in _modules:
        if isinstance(name, str) and name.startswith("cuda:"):
            raise ValueError(
                f"[set_device] 'cuda' is the first GPU that the process sees; a number cannot be chosen here. "
                f"Received: {name!r}. Start Python with CUDA_VISIBLE_DEVICES={name[5:] or 0} and use 'cuda'"
            )
        known = ", ".join(repr(n) for n in _modules)
        raise ValueError(f"[set_device] unknown device. Known: {known}. Received: {name!r}")
    if name == _name:
        return
    if _at_work:
        raise RuntimeError(
            f"[set_device] a model is at work in {_at_work[0]}, with its data on {_name!r}. Received: {name!r}. Change "
            "the device before or after that"
        )
    module = _module(name)
    check_data()
    gpu = Gpu(module) if name == "cuda" else None
    before = _name, kernels, _gpu
    _use(name, module if gpu is None else gpu.kernels, gpu)
    if (gpu is None) != (before[2] is None):
        try:
            _move_variables()
        except BaseException:
            _use(*before)
            raise


def _use(name: str, module: Any, gpu: Gpu | None) -> None:
    global kernels, arrays, operand, _name, _gpu, _last
    kernels, _name, _gpu, _last = module, name, gpu, gpu or _last
    arrays = np.ndarray if gpu is None else (np.ndarray, gpu.array)
    operand = None if gpu is None else gpu.operand


def _module(name: str) -> Any:
    try:
        return importlib.import_module(_modules[name])
    except ModuleNotFoundError as e:
        fix = "Use 'cpu'"
        if name == "cuda":
            fix = (
                "Build it where there is a CUDA compiler (nvcc): NNFAST_CUDA=ON pip install . in nnfast's sources. "
                "Without a GPU, 'cuda-emulator' runs the same kernels on the CPU"
            )
        raise ValueError(f"[set_device] this build of nnfast has no {name!r}. Received: {name!r}. {fix}") from e


_at_work: list[str] = []  # the methods of models that run, in any thread


@contextmanager
def kept(name: str) -> Iterator[None]:
    """Inside, the device cannot be changed: `name` is at work on it."""
    _at_work.append(name)
    try:
        yield
    finally:
        _at_work.remove(name)


def get_device() -> str:
    """The name of the device in use."""
    return _name


# ---- arrays, and where they lie ----
def put(a: Any) -> Any:
    """The array where the device computes: itself, or a copy on the GPU."""
    return a if _gpu is None else _gpu.put(a)


def host(a: Any) -> np.ndarray:
    """The array for NumPy: itself, or a copy of what lies on the GPU. That waits for the GPU, and raises what its
    kernels have found in data."""
    if isinstance(a, np.ndarray):
        return a
    if _last is None:
        raise TypeError(f"[host] expects an array of NumPy or of the device. Received: {type(a).__name__}")
    return _last.fetch(a)


def check_data() -> None:
    """Raises what kernels have found in data, where they could not wait for an answer: on the GPU."""
    if _gpu is not None:
        _gpu.module.check_data()


def write(array: Any, values: Any) -> None:
    """array[...] = values, past the kernels."""
    if _gpu is None:
        array[...] = values
    else:
        _gpu.write(array, values)


def empty(shape: Any, dtype: Any) -> Any:
    """A new array of the device, of any values, which belongs to no plan."""
    return np.empty(shape, dtype) if _gpu is None else kernels.empty(list(shape), dtype, for_life=True)


def for_life(values: Any, dtype: Any = None) -> Any:
    """A new array of the device with these values, which keeps its address and has a version."""
    values = values if dtype is None else np.asarray(values, dtype)
    array = kernels.empty(list(values.shape), values.dtype, for_life=True)
    write(array, values)
    return array


def home(a: Any) -> Any:
    """An array for life where the device computes: itself, or a copy if the device has changed."""
    if isinstance(a, np.ndarray) == (_gpu is None):
        return a
    return for_life(host(a) if _gpu is None else a)


def foreign(x: Any) -> bool:
    """Does x lie on a GPU, without being a Tensor?"""
    return not isinstance(x, (np.ndarray, np.generic, float, int, list, tuple)) and on_gpu(x)


def adopt(x: Any, name: str) -> Any:
    """The device's array over the memory of an array on the GPU, without a copy."""
    if _gpu is None:
        raise TypeError(
            f"[{name}] the array lies on a GPU, and the device is {_name!r}. Received: {type(x).__module__}."
            f"{type(x).__name__}. Use nnfast.set_device('cuda'), or copy it to the CPU: x.get() with CuPy, x.cpu() "
            "with PyTorch"
        )
    return _gpu.adopt(x)


def from_dlpack(x: Any) -> Any:
    """The device's array over the memory of an array that speaks DLPack; on the GPU a copy of one of the CPU."""
    where = x.__dlpack_device__()[0] if hasattr(x, "__dlpack_device__") else _DL_CPU
    if where == _DL_CUDA:
        if _gpu is None:
            return adopt(x, "from_dlpack")
        return _gpu.from_dlpack(x)
    return np.from_dlpack(x)


_DL_CPU, _DL_CUDA = 1, 2  # kDLCPU, kDLCUDA of dlpack.h

_variables: dict[int, Any] = {}  # weak references, by id: a Variable compares element by element


def moving(variable: Any) -> None:
    """Registers what has `data` (and perhaps `grad`) that shall move when the device changes."""
    key = id(variable)
    _variables[key] = weakref.ref(variable, functools.partial(_forget, key))


def _forget(key: int, _: Any) -> None:
    _variables.pop(key, None)


def _move_variables() -> None:
    global moves
    found = [v for v in (r() for r in list(_variables.values())) if v is not None]
    moved = [(v, home(v.data)) for v in found]
    grads = [(v.grad, home(v.grad.data)) for v in found if getattr(v, "grad", None) is not None]
    for owner, array in [*moved, *grads]:
        owner.data = array
    moves += 1
    for f in after_a_move:
        f()


def set_num_threads(n: int) -> None:
    """How many threads kernels may use from now on, the calling one included; above 1024 it is 1024.

    Results do not depend on it.
    """
    if isinstance(n, bool) or not hasattr(n, "__index__"):
        raise TypeError(f"[set_num_threads] n must be an integer. Received: n={n!r}")
    if operator.index(n) < 1:
        raise ValueError(f"[set_num_threads] at least one thread is needed. Received: n={n!r}")
    _cpu.set_num_threads(min(operator.index(n), 1024))


def get_num_threads() -> int:
    """How many threads kernels may use. At the start: `NNFAST_NUM_THREADS`, `OMP_NUM_THREADS`, or the cores that this
    process may run on (affinity and control group)."""
    return _cpu.num_threads()


MATMUL_PRECISIONS = ("highest", "high", "medium")  # by the number that kernels know (csrc/ops.h, Precision)


class _Settings(threading.local):
    matmul_precision = 0


settings = _Settings()


def set_matmul_precision(precision: str) -> None:
    """Chooses how this thread multiplies float32 numbers from now on, in `dense`, `matmul`, `gemm`, `attention` and
    convolutions.

    Each op keeps the precision of its forward for its gradient. Other threads begin with "highest"; float64 is always
    float64, and small products are float32. What a mode uses depends on the CPU or GPU: where no unit makes it faster
    than float32, it is float32, and `nnfast info` (or `nnfast.device.runtime_info()["matmul"]`) says so.

    Args:
        precision: what the error of a product a @ b of K terms stays below, relative to |a| @ |b|:
            `"highest"` (default): float32 arithmetic, K * 2^-24.
            `"high"`: each number as the sum of two bfloat16 numbers, 2^-15 + K * 2^-24.
            `"medium"`: each number rounded to bfloat16, 2^-7 + 2^-16 + K * 2^-24.
            Sums are float32 in each. Typical errors grow with the root of K. A product with NaN, Inf or numbers of 2^63
            and more (in "high" also of less than 2^-109) is one of float32. In "high" and "medium" convolutions of
            stride 1 go by Winograd's F(4x4, 3x3) in float32: their error stays below 20 * 2^-23 of |a| @ |b| with the
            largest number of a tile's window, and of the 3x3 weights of a channel, in place of each. On a GPU they stay
            within the bounds above, and `attention` is float32.

    Raises:
        ValueError: another name.

    >>> import nnfast
    >>> nnfast.set_matmul_precision("medium")
    >>> nnfast.get_matmul_precision()
    'medium'
    >>> nnfast.set_matmul_precision("highest")
    """
    if not isinstance(precision, str) or precision not in MATMUL_PRECISIONS:
        known = ", ".join(repr(p) for p in MATMUL_PRECISIONS)
        raise ValueError(f"[set_matmul_precision] the precision must be one of {known}. Received: {precision!r}")
    settings.matmul_precision = MATMUL_PRECISIONS.index(precision)


def get_matmul_precision() -> str:
    """The name that this thread gave to `set_matmul_precision`, or "highest".

    >>> import nnfast
    >>> nnfast.get_matmul_precision()
    'highest'
    """
    return MATMUL_PRECISIONS[settings.matmul_precision]


def empty_cache() -> int:
    """Gives the memory that no array uses back to the system (and the GPU's). Returns how many bytes that were."""
    return _cpu.empty_cache() + (0 if _gpu is None else kernels.empty_cache())


def cuda_state() -> str:
    """What `set_device("cuda")` would find, in a line."""
    try:
        module = importlib.import_module(_modules["cuda"])
    except ImportError:
        return "not built (NNFAST_CUDA=ON pip install . where nvcc is)"
    try:
        Gpu(module)
    except (RuntimeError, ImportError, MemoryError) as e:
        return f"{module.versions()}; not ready: {str(e).removeprefix('[cuda] ')}"
    return f"{module.versions()}; ready"


def runtime_info() -> dict[str, object]:
    """ISA in use, ISAs that this CPU can run, threads, the allocator's bytes, and what multiplies large matrices of
    float32 at each precision on the device in use."""
    matmul = {}
    matmul_unit = getattr(_module(_name), "matmul_unit", _cpu.matmul_unit)
    for i, precision in enumerate(MATMUL_PRECISIONS):
        unit, how = matmul_unit(i), ("three bfloat16 pieces", "two bfloat16 pieces", "bfloat16")[i]
        matmul[precision] = f"{how} ({unit})" if unit else "float32"
    return {
        "isa": _cpu.isa(),
        "isas": _cpu.isas(),
        "threads": _cpu.num_threads(),
        "memory": _cpu.memory(),
        "matmul": matmul,
    }
