"""The rungs: their sources, their heads, and how one is called. The only file that imports the module `_ladder`."""

from __future__ import annotations

import ctypes
import difflib
import inspect
import math
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from nnfast import _ladder, device
from nnfast.ladder.problems import PROBLEMS, Array, Problem

HEADER = "nnfast_ladder.h"
Run = Callable[[], Any]
STDERR = 2  # where the output of a student's process goes: ours may be JSON


def sources() -> Path:
    """The folder of the rungs: beside the compiled module, or in the tree that it was built from."""
    beside = Path(_ladder.__file__).parent / "ladder" / "sources"
    return beside if beside.exists() else Path(__file__).parents[3] / "csrc" / "ladder"


@dataclass(frozen=True)
class Rung:
    """One step of a ladder: a short file. Its first four lines say what it is about."""

    op: str
    number: int | None  # None: not a rung of ours
    title: str
    path: Path
    about: dict[str, str]  # summary, idea, changed, removes, ...

    @property
    def source(self) -> str:
        return self.path.read_text(encoding="utf-8", errors="replace")

    @property
    def threaded(self) -> bool:
        """Whether it uses several threads."""
        several = r"parallel_for|from nnfast import|std::thread|#pragma omp|np\.(dot|matmul|einsum|tensordot)| @ "
        return self.about.get("threads") == "all" or bool(re.search(several, self.source))

    @property
    def rounding(self) -> float:
        """How far it may round its factors, relative; 0 for float32. A line of its head says so."""
        to = self.about.get("rounds", "")
        return 2.0**-8 if to.startswith("bfloat16") else 2.0**-10 if to.startswith("tf32") else 0.0

    @property
    def needs(self) -> str:
        """The architecture of the GPU that it needs, as nvcc names it: sm_80, or sm_90a for that one alone."""
        return self.about.get("needs", "").partition(":")[0]


def ladder(op: str) -> list[Rung]:
    """The rungs of an op, lowest first; those of "gemm_cuda" and its like are for GPUs."""
    files = [p for p in (sources() / op).iterdir() if re.match(r"\d+_\w+\.(cpp|cu|py)$", p.name)]
    return sorted((_rung(op, p) for p in files), key=lambda rung: rung.number or 0)


def _rung(op: str, path: Path) -> Rung:
    about = _head(path)
    title, _, about["summary"] = about.pop("rung").partition(". ")
    return Rung(op, int(path.name.split("_")[0]), title, path, about)


def student(op: str, path: Path) -> Rung:
    """Somebody's own file."""
    return Rung(op, None, path.name, path, {**_head(path), "changed": "yours"})


def _head(path: Path) -> dict[str, str]:
    head = re.findall(r"^(?://|#) (\w+)(?: \d+)?:\s+(.*)$", path.read_text(encoding="utf-8", errors="replace"), re.M)
    return {key.lower(): text for key, text in head}


def difference(rung: Rung, before: Rung) -> str:
    """What was changed, line by line."""
    lines = difflib.unified_diff(
        before.source.splitlines(), rung.source.splitlines(), before.path.name, rung.path.name, lineterm="", n=2
    )
    return "\n".join(lines)


# ---- calling one ----


class Function:
    """A rung, or a student's function, that can be bound to arrays and then run without further ado."""

    def __init__(self, problem: Problem, call: Callable[..., Any], compiled: bool):
        self.problem, self.call, self.compiled = problem, call, compiled

    def bind(self, sizes: tuple[int, ...], inputs: list[Array], output: Array) -> Run:
        """A function without arguments that computes and returns the output. Compiled ones write it into `output`."""
        if self.compiled:
            pointers = [ctypes.c_void_p(x.ctypes.data) for x in (*inputs, output)]
            call, arguments = self.call, [*map(ctypes.c_int64, sizes), *pointers]

            def run() -> Array:
                call(*arguments)
                return output
        else:
            python = self.call

            def run() -> Array:
                return np.asarray(python(*inputs))

        return run


def at_address(problem: Problem, address: int) -> Function:
    """A compiled function with the signature of the header."""
    kinds = [*[ctypes.c_int64] * len(problem.dimensions), *[ctypes.c_void_p] * len(problem.arguments)]
    return Function(problem, ctypes.CFUNCTYPE(None, *kinds)(address), True)


def from_python(problem: Problem, path: Path) -> Function:
    """The function of the op's name that a Python file defines."""
    module = ModuleType(path.stem)
    module.__file__ = str(path)
    try:
        code = compile(path.read_bytes(), str(path), "exec")
    except SyntaxError as e:
        raise ValueError(f"[ladder] {path.name} is no Python: line {e.lineno}: {e.msg}") from None
    exec(code, module.__dict__)
    call = getattr(module, problem.name, None)
    *inputs, output = problem.arguments
    fix = f"Write: def {problem.name}({', '.join(inputs)}), which returns {output}"
    if not callable(call):
        raise ValueError(f"[ladder] {path.name} defines no function {problem.name}. {fix}")
    try:
        signature = inspect.signature(call)
    except (TypeError, ValueError):  # some functions of C have none
        return Function(problem, call, False)
    try:
        signature.bind(*inputs)
    except TypeError as e:
        given = "one array" if len(inputs) == 1 else f"{len(inputs)} arrays"
        raise ValueError(
            f"[ladder] {problem.name} is called with {given}: {e}. {fix}. Received: def {problem.name}{signature}"
        ) from None
    return Function(problem, call, False)


def from_library(problem: Problem, path: Path) -> Function:
    """The function of the op's name in a student's compiled file."""
    library = ctypes.CDLL(str(path))
    try:
        threads = ctypes.c_void_p.in_dll(library, "nnfast_parallel")
        threads.value = _ladder.parallel()
    except ValueError:  # it uses no threads of ours
        pass
    address = ctypes.cast(getattr(library, problem.name), ctypes.c_void_p).value
    function = at_address(problem, address or 0)
    function.library = library  # type: ignore[attr-defined]  # stays loaded
    return function


def function_of(rung: Rung, isa: str | None = None) -> Function:
    """The rung as it runs here; `isa` forces an instruction set. AMX's own build is taken where there is one."""
    problem = PROBLEMS[rung.op]
    if rung.path.suffix == ".py":
        return from_python(problem, rung.path)
    built = {i: address for op, n, i, address in _ladder.rungs() if (op, n) == (rung.op, rung.number)}
    return at_address(problem, built[isa or ("amx" if "amx" in built else instruction_set())])


def stands_in(rung: Rung) -> bool:
    """Whether loops stand in for instructions that this CPU lacks: right, but no measure of anything."""
    return "tiles.h" in rung.source and not _ladder.has_amx()


def instruction_set() -> str:
    """The one in use by nnfast's kernels, or the best if the rungs are not built for it."""
    here: list[str] = _ladder.isas()
    wanted = str(device.runtime_info()["isa"])
    return wanted if wanted in here else here[0]


def instruction_sets() -> list[str]:
    """All that this CPU runs, best first."""
    return list(_ladder.isas())


MOST_THREADS = 1024  # that nnfast can have


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def set_num_threads(count: int) -> None:
    """For the rungs, for nnfast, and for NumPy's OpenBLAS where it is that."""
    _ladder.set_num_threads(count)
    device.set_num_threads(count)
    for path in _openblas():
        library = ctypes.CDLL(path)
        for symbol in ("scipy_openblas_set_num_threads64_", "openblas_set_num_threads64_", "openblas_set_num_threads"):
            if hasattr(library, symbol):
                getattr(library, symbol)(ctypes.c_int(count))
                break


def _openblas() -> list[str]:
    try:
        maps = Path("/proc/self/maps").read_text(encoding="utf-8")
    except OSError:
        return []
    return sorted({line.split()[-1] for line in maps.splitlines() if "openblas" in line})


# ---- the limits of this machine ----


def multiply_adds(isa: str, threads: int) -> float:
    """Some milliseconds of multiplications and additions in registers; returns how many operations. More threads than
    there are cores can do no more than as many."""
    return _ladder.multiply_add(isa, min(threads, cores()), 1 << 15)


def mover(isa: str, problem: Problem, sizes: tuple[int, ...]) -> tuple[Run, float]:
    """A function that moves as many bytes as the problem must, and nothing else; and how many those are."""
    count = max(int(problem.traffic(sizes)) // 8 * 2, 1 << 14) // 2
    return reader(isa, 8 * count) if problem.bound_by == "reading" else copier(8 * count)


def copier(traffic: int) -> tuple[Run, float]:
    """A function that copies, so that about as many bytes are read and written in all; and how many those are."""
    count = max(traffic // 8, 16)
    x, y = aligned((count,)), aligned((count,))
    return lambda: _ladder.copy_bytes(x, y), 8.0 * count


def reader(isa: str, traffic: int) -> tuple[Run, float]:
    """The same, only reading."""
    x = aligned((max(traffic // 4, 32),))
    return lambda: _ladder.read_bytes(isa, x), float(x.nbytes)


def aligned(shape: tuple[int, ...]) -> Array:
    """A float32 array at a multiple of 64 bytes, each of its pages touched."""
    count = math.prod(shape)
    room = np.full(count + 16, 0.5, np.float32)
    start = -(room.ctypes.data // 4) % 16
    return room[start : start + count].reshape(shape)
