"""Which module runs the kernels. The only file that imports a device module.

`kernels` is that module: `_cpu`, or `reference`, its NumPy twin. They have the same functions with the same signatures,
so that switching the device is switching the module.
"""

import importlib
import operator
from typing import Any

from nnfast import _cpu

kernels: Any = _cpu
_name = "cpu"
_modules = {"cpu": "nnfast._cpu", "reference": "nnfast.reference"}


def set_device(name: str) -> None:
    """Chooses what computes: `"cpu"` (the C++ kernels) or `"reference"` (plain NumPy, slow and obvious).

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
    kernels = importlib.import_module(_modules[name])
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


def empty_cache() -> int:
    """Gives the memory that no array uses back to the system. Returns how many bytes that were."""
    return _cpu.empty_cache()


def runtime_info() -> dict[str, object]:
    """ISA in use, ISAs that this CPU can run, threads, and the allocator's bytes."""
    return {"isa": _cpu.isa(), "isas": _cpu.isas(), "threads": _cpu.num_threads(), "memory": _cpu.memory()}
