"""Which module runs the kernels. The only file that imports a device module.

`kernels` is that module: `_cpu`, or `reference`, its NumPy twin. They have the same functions with the same signatures,
so that switching the device is switching the module.
"""

import importlib
import operator
import threading
from typing import Any

from nnfast import _cpu

kernels: Any = _cpu
_name = "cpu"
_modules = {"cpu": "nnfast._cpu", "reference": "nnfast.reference", "cuda-emulator": "nnfast._emulator"}


def set_device(name: str) -> None:
    """Chooses what computes.

    Args:
        name: `"cpu"` (the C++ kernels), `"reference"` (plain NumPy, slow and obvious), or `"cuda-emulator"` (the CUDA
            kernels, block by block on the CPU: no GPU is needed, for tests and lessons).

    Raises:
        ValueError: another name, or a device that this build does not have.

    >>> import nnfast
    >>> nnfast.set_device("reference")
    >>> nnfast.ops.exp(0.0).item()
    1.0
    >>> nnfast.set_device("cpu")
    """
    global kernels, _name
    if not isinstance(name, str) or name not in _modules:
        known = ", ".join(repr(n) for n in _modules)
        raise ValueError(f"[set_device] unknown device. Known: {known}. Received: {name!r}")
    try:
        kernels = importlib.import_module(_modules[name])
    except ModuleNotFoundError as e:
        raise ValueError(f"[set_device] this build of nnfast has no {name!r}. Received: {name!r}. Use 'cpu'") from e
    _name = name


def get_device() -> str:
    """The name of the device in use."""
    return _name


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
    float64, and small products are float32. What a mode uses depends on the CPU: where no unit makes it faster than
    float32, it is float32, and `nnfast info` (or `nnfast.device.runtime_info()["matmul"]`) says so.

    Args:
        precision: what the error of a product a @ b of K terms stays below, relative to |a| @ |b|:
            `"highest"` (default): float32 arithmetic, K * 2^-24.
            `"high"`: each number as the sum of two bfloat16 numbers, 2^-15 + K * 2^-24.
            `"medium"`: each number rounded to bfloat16, 2^-7 + 2^-16 + K * 2^-24.
            Sums are float32 in each. Typical errors grow with the root of K. A product with NaN, Inf or numbers of 2^63
            and more (in "high" also of less than 2^-109) is one of float32. In "high" and "medium" convolutions of
            stride 1 go by Winograd's F(4x4, 3x3) in float32: what the error is relative to then takes the largest
            number of a tile's window in place of each of its numbers.

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
    """Gives the memory that no array uses back to the system. Returns how many bytes that were."""
    return _cpu.empty_cache()


def runtime_info() -> dict[str, object]:
    """ISA in use, ISAs that this CPU can run, threads, the allocator's bytes, and what multiplies float32 matrices at
    each precision."""
    matmul = {}
    for i, precision in enumerate(MATMUL_PRECISIONS):
        unit = _cpu.matmul_unit(i)
        matmul[precision] = f"{'two bfloat16 pieces' if i == 1 else 'bfloat16'} ({unit})" if unit else "float32"
    return {
        "isa": _cpu.isa(),
        "isas": _cpu.isas(),
        "threads": _cpu.num_threads(),
        "memory": _cpu.memory(),
        "matmul": matmul,
    }
