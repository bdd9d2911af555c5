"""This machine: what it is, what it does at best, and what the system says that a piece of code cost."""

from __future__ import annotations

import ctypes
import platform
import re
import sys
import time
from collections.abc import Callable
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from nnfast import device
from nnfast.ladder import rungs
from nnfast.ladder.rungs import cores
from nnfast.ladder.timing import cpu_name

try:
    import resource as _resource

    resource: ModuleType | None = _resource
except ImportError:  # Windows
    resource = None

PACKAGES = ("nnfast", "numpy", "cupy-cuda13x", "cupy-cuda12x", "torch", "jax", "keras", "tensorflow", "tensorflow-cpu")
COPIES = {"256 KB": 1 << 18, "4 MB": 1 << 22, "256 MB": 1 << 28}  # bytes read and written in all


def describe() -> dict[str, Any]:
    """What the figures depend on."""
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    here = device.runtime_info()
    return {
        "cpu": cpu_name(),
        "cores": cores(),
        "isa": here["isa"],
        "isas": here["isas"],
        "versions": versions,
        "blas": _blas(),
    }


def _blas() -> str:
    """NumPy's, which is what its matrix products measure."""
    config: Any = np.show_config(mode="dicts")
    found = config.get("Build Dependencies", {}).get("blas", {})
    return f"{found.get('name', 'unknown')} {found.get('version', '')}".strip()


def title(machine: dict[str, Any]) -> str:
    """What was measured: the GPU, or the CPU."""
    if "gpu" in machine:
        return f"{machine['gpu']}, {machine['multiprocessors']} multiprocessors, {machine['arch']}"
    return f"{machine['cpu']}, {machine['cores']} cores, {machine['isa']}"


def file_name(machine: dict[str, Any]) -> str:
    """<gpu>.json or <cpu>-<cores>-cores-<isa>.json: one file of results for each kind of machine."""
    what = machine["gpu"] if "gpu" in machine else f"{machine['cpu']} {machine['cores']} cores {machine['isa']}"
    return re.sub(r"[^a-z0-9]+", "-", what.lower()).strip("-") + ".json"


def set_threads(count: int) -> None:
    """For nnfast, and for NumPy's OpenBLAS and PyTorch where they are loaded."""
    rungs.set_num_threads(count)
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(count)


def keep_memory() -> None:
    """Makes this process's malloc keep what is freed, so that peers do not pay for fresh pages at each call."""
    if hasattr(libc := ctypes.CDLL(None), "mallopt"):
        libc.mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD
        libc.mallopt(-4, 0)  # M_MMAP_MAX: no block is a mapping of its own


class Usage(NamedTuple):
    """What the system counts for this process: minor page faults, and how often another took its core."""

    faults: int
    switches: int


def usage() -> Usage:
    if resource is None:
        return Usage(0, 0)
    used = resource.getrusage(resource.RUSAGE_SELF)
    return Usage(used.ru_minflt, used.ru_nivcsw)


class Roof:
    """What these threads could reach at best on a problem of this size. Measured in every round, beside the others.

    Args:
        gigaflop: arithmetic of one call, against multiplications and additions in registers alone; None: not measured.
        gigabyte: what one call must read and write, against a copy of as many bytes; None: not measured.
        reading: it only reads: against reading as many bytes.
    """

    def __init__(
        self, threads: int, gigaflop: float | None = None, gigabyte: float | None = None, reading: bool = False
    ):
        self._threads, self._arithmetic = threads, gigaflop is not None
        self._isa, self._move = rungs.instruction_set(), None
        if gigabyte is not None:
            moved = int(gigabyte * 1e9)
            self._move = rungs.reader(self._isa, moved) if reading else rungs.copier(moved)
        self._best: dict[str, float] = {}

    def measure(self) -> None:
        if self._arithmetic:
            self._add("gigaflops", partial(rungs.multiply_adds, self._isa, self._threads))
        if self._move is not None:
            move, moved = self._move
            calls = max(1, int(2e6 / moved))

            def several() -> float:
                for _ in range(calls):
                    move()
                return calls * moved

            self._add("gigabytes", several)

    def _add(self, kind: str, work: Callable[[], float]) -> None:
        self._best[kind] = max(self._best.get(kind, 0.0), _most(work, 1) / 1e9)

    def peaks(self) -> dict[str, float]:
        """Per second: "gigaflops", "gigabytes". The most that was seen: who is interrupted does not set the limit."""
        return dict(self._best)


def peaks(threads: list[int], rounds: int = 9) -> dict[str, dict[str, dict[str, float]]]:
    """The limits of the machine: {"gigaflops": {instruction set: {threads: ...}}, "gigabytes": {size: {...}}}."""
    arithmetic: dict[str, dict[str, float]] = {}
    for isa in rungs.instruction_sets():
        arithmetic[isa] = {}
        for count in threads:
            rungs.set_num_threads(count)
            arithmetic[isa][str(count)] = _most(partial(rungs.multiply_adds, isa, count), rounds) / 1e9
    copies: dict[str, dict[str, float]] = {}
    for size, moved in COPIES.items():
        copies[size] = {}
        for count in threads:
            roof = Roof(count, None, moved / 1e9)
            rungs.set_num_threads(count)
            for _ in range(rounds):
                roof.measure()
            copies[size][str(count)] = roof.peaks()["gigabytes"]
    return {"gigaflops": arithmetic, "gigabytes": copies}


def _most(work: Callable[[], float], rounds: int) -> float:
    """Work done per second."""
    work()
    speeds = []
    for _ in range(rounds):
        start = time.perf_counter()
        done = work()
        speeds.append(done / (time.perf_counter() - start))
    return max(speeds)
