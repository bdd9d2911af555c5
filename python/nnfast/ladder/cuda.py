"""The CUDA ladder. Without a GPU each rung runs on the emulator, is checked there, and its use of memory is counted;
with one the rungs are timed (gpu.py).

The emulator's times say nothing about a GPU's, so none are taken. The counts explain the order of the rungs: how many
bytes of global memory and how many wavefronts of shared memory the arithmetic has to wait for; or, where an op only
moves numbers, how many bytes more than it must.
"""

from __future__ import annotations

import importlib
import math
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nnfast import device
from nnfast.ladder import gpu, rungs
from nnfast.ladder.check import UNWRITTEN, check_edges, compare, described
from nnfast.ladder.lessons import Library, Report, check_memory, compile_kernels, gcc
from nnfast.ladder.mine import check_name
from nnfast.ladder.mine import run as run_mine
from nnfast.ladder.problems import PROBLEMS, Array, Problem
from nnfast.ladder.rungs import Rung
from nnfast.ladder.timing import Race, race, short

SECTOR = 32  # bytes
COUNTED = {  # sizes, if the user gives none
    "gemm": (128, 128, 128), "conv2d": (1, 16, 16, 16, 64), "softmax": (64, 1000), "reduce": (1 << 19,),
    "transpose": (256, 256),
}  # fmt: skip


@dataclass(frozen=True)
class Counted:
    """A rung, and what it did."""

    number: int | None  # None: not a rung of ours
    title: str
    adds: str
    operations: float
    traffic: float  # bytes that must move
    report: Report  # without launches: nnfast's own kernels, which are not counted

    @property
    def requests(self) -> int:
        """Memory instructions of warps."""
        return self.report.total("requests", False) + self.report.total("requests", True)

    @property
    def intensity(self) -> float:
        """Operations for each byte of global memory that is moved."""
        return self.operations / max(self.report.total("moved", False) * SECTOR, 1)

    @property
    def per_wavefront(self) -> float | None:
        """Operations for each wavefront of shared memory; None if it uses none."""
        moved = self.report.total("moved", True)
        return self.operations / moved if moved else None

    @property
    def excess(self) -> float:
        """Bytes of global memory that are moved, for each that must."""
        return self.report.total("moved", False) * SECTOR / self.traffic

    @property
    def lanes(self) -> float:
        """Threads that take part in a request."""
        return (self.report.total("lanes", False) + self.report.total("lanes", True)) / max(self.requests, 1)

    def per_request(self, shared: bool) -> float | None:
        """Sectors of a global request, or wavefronts of a shared one."""
        requests = self.report.total("requests", shared)
        return self.report.total("moved", shared) / requests if requests else None


@dataclass(frozen=True)
class Counts:
    """A ladder, counted."""

    op: str
    sizes: tuple[int, ...]
    operations: float
    traffic: float  # bytes that must move
    bound_by: str
    results: list[Counted]
    notes: list[str]

    def json(self) -> dict[str, Any]:
        """Everything, for a file."""
        results = []
        for r in self.results:
            sums = {f"{space}_{what}": r.report.total(what, space == "shared")
                    for space in ("global", "shared") for what in ("requests", "moved", "ideal")}  # fmt: skip
            sums["barriers"] = r.report.barriers
            lines = [asdict(line) for line in r.report.lines]
            row: dict[str, Any] = {
                "number": r.number,
                "title": r.title,
                "adds": r.adds,
                "counted": bool(r.report.launches),
            }
            results.append({**row, **sums, "lines": lines})
        about: dict[str, Any] = {
            "op": self.op,
            "sizes": self.sizes,
            "operations": self.operations,
            "traffic": self.traffic,
        }
        return {**about, "results": results, "notes": self.notes}


def count(
    problem: Problem,
    sizes: tuple[int, ...] | None,
    mine: Path | None,
    limit: float,
    tell: Callable[[str], None],
) -> Counts:
    """Runs every CUDA rung of an op, and a student's file, on one size.

    Raises:
        ValueError: the op has no CUDA rungs; a rung or the file has a fault or is wrong.
    """
    name = _ladder_name(problem, mine)
    sizes = sizes or COUNTED[problem.name]
    *read, written = (4 * math.prod(shape) for shape in problem.shapes(sizes))
    check_memory(sum(read), written, f"[ladder] {problem.name} of {described(problem, sizes)}:")
    notes: list[str] = []
    todo = [rung for rung in rungs.ladder(name) if _runs_here(rung, notes, tell)]
    if mine is not None:
        own = rungs.student(name, mine)
        tell(f"compiling {mine.name}")
        library = compile_kernels(mine)
        check(own, library, problem, limit, tell)
        todo.append(own)
    inputs = problem.make(sizes, "normal", np.random.default_rng(0))

    def one(rung: Rung) -> Counted:
        tell(f"counting {rung.title}")
        if rung.path.suffix == ".py":
            report = Report([], [], [], [], {})
        else:
            kernels = library if mine is not None and rung.number is None else compile_kernels(rung.path)
            report = run(rung, kernels, problem, sizes, inputs, limit)
        adds = rung.about.get("changed", "")
        return Counted(rung.number, rung.title, adds, problem.operations(sizes), problem.traffic(sizes), report)

    results = [one(todo[0])]  # it also compiles the emulator, once for all
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results += pool.map(one, todo[1:])
    operations, traffic = problem.operations(sizes), problem.traffic(sizes)
    return Counts(problem.name, sizes, operations, traffic, problem.bound_by, results, notes)


def _ladder_name(problem: Problem, mine: Path | None) -> str:
    """That of the CUDA rungs.

    Raises:
        ValueError: the op has none; the file is none, or is no .cu.
    """
    name = f"{problem.name}_cuda"
    if not (rungs.sources() / name).is_dir():
        known = sorted(p.name.removesuffix("_cuda") for p in rungs.sources().glob("*_cuda"))
        raise ValueError(f"[ladder] {problem.name} has no CUDA rungs; these have: {', '.join(known)}")
    if mine is not None:
        check_name(mine, (".cu",), "in .cu beside --cuda")
    return name


def climb(
    problem: Problem,
    sizes: tuple[int, ...] | None,
    mine: Path | None,
    limit: float,
    tell: Callable[[str], None],
    budget: float | None,
) -> Race:
    """Times every CUDA rung of an op, and a student's file, on the GPU.

    Raises:
        ValueError: the op has no CUDA rungs; there is no GPU, no nvcc or too little memory; a rung or the file is
            wrong.
    """
    _ladder_name(problem, mine)
    sizes = sizes or gpu.SIZES[problem.name]
    try:
        driver = gpu.Driver()
    except LookupError as e:
        raise ValueError(f"[ladder] {e}: `nnfast ladder {problem.name} --cuda` counts on the CPU then") from None
    gpu.nvcc()
    try:
        if mine is None:
            machine = gpu.Machine(driver)
            try:
                return race(problem, sizes, machine, None, tell, budget)
            finally:
                machine.leave()
        if _observed():
            own = rungs.student(problem.name, mine)
            tell(f"compiling {mine.name}")
            check(own, compile_kernels(mine), problem, limit, tell)
        return run_mine(mine, problem, sizes, 0, limit, tell, budget)
    except MemoryError as e:
        raise ValueError(f"[ladder] these sizes need more memory than there is: {e}. Received: {list(sizes)}") from None


def _observed() -> bool:
    """Whether lesson mode can be had here."""
    try:
        gcc()
    except ValueError:
        return False
    return True


def _runs_here(rung: Rung, notes: list[str], tell: Callable[[str], None]) -> bool:
    """Whether the emulator can run a rung; nnfast's own kernels are checked here, for they run in this process."""
    if rung.path.suffix != ".py":
        return True
    tell(f"checking {rung.title}")
    try:
        check_shipped(rung)
    except ModuleNotFoundError:
        notes.append(f"rung {rung.number}, {rung.title}: this build of nnfast has no emulator")
        return False
    notes.append(f"rung {rung.number}, {rung.title}: nnfast's own kernels, checked and not counted")
    return True


def check_shipped(rung: Rung) -> None:
    """Runs the awkward shapes on nnfast's own CUDA kernels.

    Raises:
        ValueError: the first wrong answer, in words.
        ModuleNotFoundError: nnfast was built without the emulator.
    """
    importlib.import_module("nnfast._emulator")
    before = device.get_device()
    device.set_device("cuda-emulator")
    try:
        problem = PROBLEMS[rung.op.removesuffix("_cuda")]
        if wrong := check_edges(rungs.from_python(problem, rung.path), rung.rounding):
            raise ValueError(f"[ladder] rung {rung.number}, {rung.title}: {wrong}")
    finally:
        device.set_device(before)


def check(rung: Rung, library: Library, problem: Problem, limit: float, tell: Callable[[str], None]) -> None:
    """Runs the awkward shapes of a ladder.

    Raises:
        ValueError: the first that has a fault or a wrong answer, in words.
    """
    *names, output = problem.arguments
    parameters = [("int64_t", d) for d in problem.dimensions] + [("const float*", n) for n in names]
    library.check_parameters(problem.name, [*parameters, ("float*", output)])
    for edge in problem.edges:
        where = f"{problem.name} of {described(problem, edge.sizes)}"
        tell(f"checking {where}")
        inputs = problem.make(edge.sizes, edge.data, np.random.default_rng(sum(edge.sizes)))
        try:
            run(rung, library, problem, edge.sizes, inputs, limit)
        except ValueError as e:
            raise ValueError(f"{e}\nWhy this shape: {edge.why}.") from None


def run(
    rung: Rung, library: Library, problem: Problem, sizes: tuple[int, ...], inputs: list[Array], limit: float
) -> Report:
    """One size; the report of a run without faults and with the right answer."""
    *names, output = problem.arguments
    arguments: dict[str, Any] = dict(zip(problem.dimensions, sizes))
    arguments |= dict(zip(names, inputs))
    arguments[output] = np.full(problem.shapes(sizes)[-1], UNWRITTEN)
    report = library.run(problem.name, arguments, [output], limit, names)
    where = f"[ladder] {rung.path.name}: {problem.name} of {described(problem, sizes)}: "
    if report.faults:
        raise ValueError(where + "\n".join(str(f) for f in report.faults))
    if not report.launches and report.arrays[output].size:
        raise ValueError(
            f"{where}it launches no kernel: {problem.name} is called on the host, and is to call "
            "launch(kernel, grid, block, shared_bytes, stream, arguments...)"
        )
    if wrong := compare(problem, report.arrays[output], inputs, rung.rounding):
        raise ValueError(where + wrong)
    return report


# ---- as text ----

# A column: two words of its head, and the number. Global memory, then shared, then how well they are used.
Column = tuple[str, str, Callable[[Counted], float | None]]
COLUMNS: list[Column] = [
    ("memory", "requests", lambda r: r.requests),
    ("sectors", "a request", lambda r: r.per_request(False)),
    ("wavefronts", "a request", lambda r: r.per_request(True)),
    ("", "barriers", lambda r: r.report.barriers or None),
    ("bytes", "of the least", lambda r: r.excess),
]
OF_ARITHMETIC: list[Column] = [
    ("operations", "a byte", lambda r: r.intensity),
    ("operations", "a wavefront", lambda r: r.per_wavefront),
]
OF_MOVING: list[Column] = [("lanes", "a request", lambda r: r.lanes)]


def table(counts: Counts) -> str:
    """The ladder as a table of counts."""
    sizes = " x ".join(f"{n:,}" for n in counts.sizes)
    arithmetic = counts.bound_by == "arithmetic"
    work = f"{counts.operations:,.0f} operations" if arithmetic else f"{counts.traffic:,.0f} bytes to move"
    lines = [f"{counts.op}, {sizes}, float32, on the emulator: {work}. Counted, not timed."]
    width = max(20, *(len(r.title) + 4 for r in counts.results))
    columns = COLUMNS + (OF_ARITHMETIC if arithmetic else OF_MOVING)
    lines.append("")
    lines.append(" " * width + "".join(f"{above:>13}" for above, _, _ in columns))
    lines.append(f"{'rung':<{width}}" + "".join(f"{below:>13}" for _, below, _ in columns) + "  what it added")
    for r in counts.results:
        name = f"{r.number} {r.title}" if r.number is not None else f"  {r.title}"
        cells = "".join(f"{_number(number(r) if r.report.launches else None):>13}" for _, _, number in columns)
        lines.append(f"{name:<{width}}{cells}  {short(r.adds)}")
    lines.append("")
    lines.append("requests: memory instructions of warps; sectors: 32 bytes of global memory, at best 4 a request of")
    lines.append(
        "floats and 16 of float4; wavefronts: of shared memory, at best 1 a request of floats and 4 of float4;"
    )
    lines.append("barriers: of all blocks; bytes: of all sectors, for each that must be read or written once")
    return "\n".join([*lines, *counts.notes])


def _number(x: float | None) -> str:
    if x is None:
        return "-"
    return f"{x:,}" if isinstance(x, int) else f"{x:,.2f}" if x < 1000 else f"{x:,.0f}"


def place(counts: Counts) -> str:
    """What a student's file did well, where it stands, and which lines cost most."""
    own = counts.results[-1]
    others = [r for r in counts.results[:-1] if r.report.launches]
    text = f"{own.title} is right on every awkward shape, and no fault was found."
    if counts.bound_by == "arithmetic":
        for what, value, of in (
            ("operations a byte of global memory", own.intensity, lambda r: r.intensity),
            ("operations a wavefront of shared memory", own.per_wavefront, lambda r: r.per_wavefront),
        ):
            if value is None:
                continue
            below = [r for r in others if (least := of(r)) is not None and least <= value * 1.001]
            best = max(below, key=lambda r: of(r) or 0, default=None)
            text += f"\n{value:,.2f} {what}: " + (
                f"as much as rung {best.number} ({best.title}) or more." if best else "fewer than every rung."
            )
    else:
        above = [r for r in others if r.excess >= own.excess / 1.001]
        best = min(above, key=lambda r: r.excess, default=None)
        text += f"\n{own.excess:,.2f} times the bytes that must move: " + (
            f"as few as rung {best.number} ({best.title}) or fewer." if best else "more than every rung."
        )
    costly = sorted((n for n in own.report.lines if n.remark), key=lambda n: n.ideal - n.moved)[:3]
    for n in costly:
        unit = "wavefronts" if n.shared else "sectors"
        text += f"\n{n.file}:{n.line}: {n.remark}: {n.array} takes {n.per_request:.2f} {unit} a request, "
        text += f"{n.ideal / n.requests:.2f} would do.\n    {n.source}"
    return f"{text}\n\n{own.report}"
