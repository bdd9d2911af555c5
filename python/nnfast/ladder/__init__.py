"""The ladder: from the loop of the formula to the kernel that nnfast ships, one idea at a time.

The command `nnfast ladder gemm` checks, times and explains every rung; this is what it calls. Ladders: gemm, conv2d,
softmax, reduce, transpose, elementwise.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from nnfast.ladder import cuda as _cuda
from nnfast.ladder import gpu as _gpu
from nnfast.ladder import mine as _mine
from nnfast.ladder import rungs as _rungs
from nnfast.ladder.cuda import Counts
from nnfast.ladder.lessons import Fault, Launch, Line, Report, lesson
from nnfast.ladder.problems import PROBLEMS, Problem
from nnfast.ladder.timing import Cpu, Race, race, table

__all__ = [
    "OPS", "Counts", "Fault", "Launch", "Line", "Race", "Report", "climb", "count", "lesson", "listing", "roofline",
    "show", "table",
]  # fmt: skip

OPS = tuple(PROBLEMS)


def climb(
    op: str,
    size: list[int] | None = None,
    threads: int | None = None,
    mine: str | Path | None = None,
    limit: float = 30.0,
    tell: Callable[[str], None] = lambda text: None,
    budget: float | None = None,
    cuda: bool = False,
) -> Race:
    """Checks every rung of a ladder against the exact answer and times it.

    Args:
        op: "gemm", "conv2d", "softmax", "reduce", "transpose" or "elementwise".
        size: one number, or all sizes of the op; default: those of the lesson.
        threads: of the rungs that use several; default: all cores that this process may use.
        mine: your own file, .cpp or .py, which takes part: `table(...)` shows it beside the rungs. It runs in a process
            of its own, which may take 8 GiB of memory more than the arrays need.
        limit: seconds that one step of your file may last.
        tell: is told what happens.
        budget: seconds for each rung (default 1).
        cuda: the rungs for a GPU, on the one of this machine; `mine` is then a .cu file, at which lesson mode looks
            first where there is GCC.

    Returns:
        A Race: results with seconds, share of the machine's limit, error; the limits; `json()`.

    Raises:
        ValueError: an unknown op or size; your file does not compile, crashes, hangs or is wrong; with `cuda`, there is
            no GPU or no nvcc.

    >>> result = climb("reduce", [1000], threads=1, budget=0.01)
    >>> [r.title for r in result.results if r.number == 1]
    ['serial']
    """
    problem = _problem(op)
    if cuda:
        if threads is not None:
            raise ValueError(f"[ladder] threads are for the rungs on the CPU. Received: {threads}")
        return _cuda.climb(problem, _sizes(problem, size, limit), _path(mine), limit, tell, budget)
    sizes = _sizes(problem, size, limit) or problem.default
    threads = _rungs.device.get_num_threads() if threads is None else threads
    if not 1 <= threads <= _rungs.MOST_THREADS:
        raise ValueError(f"[ladder] threads is a number from 1 to {_rungs.MOST_THREADS}. Received: {threads}")
    if mine is None:
        try:
            return race(problem, sizes, Cpu(threads), None, tell, budget)
        except MemoryError:
            raise ValueError(f"[ladder] these sizes need more memory than there is. Received: {list(sizes)}") from None
    return _mine.run(Path(mine), problem, sizes, threads, limit, tell, budget)


place = _mine.place


def count(
    op: str,
    size: list[int] | None = None,
    mine: str | Path | None = None,
    limit: float = 60.0,
    tell: Callable[[str], None] = lambda text: None,
) -> Counts:
    """Runs the CUDA rungs of an op on the CPU, checks them, and counts what they would ask of a GPU's memory.

    Args:
        op: "gemm" or another op that has CUDA rungs.
        size: one number, or all sizes of the op; default: small ones, for the emulator takes its time.
        mine: your own .cu file, with a function of the header nnfast_ladder.cuh; it is run on all awkward shapes first.
        limit: seconds that one run may last.
        tell: is told what happens.

    Returns:
        Counts: results with a Report each; `print(ladder.counts_table(...))` shows them.

    Raises:
        ValueError: no GCC on Linux; an unknown op or size; your file does not compile, has a fault or is wrong.
    """
    problem = _problem(op)
    return _cuda.count(problem, _sizes(problem, size, limit), _path(mine), limit, tell)


has_gpu = _gpu.has
counts_table = _cuda.table
counts_place = _cuda.place


def show(op: str, number: int, cuda: bool = False) -> str:
    """The source of a rung, and what was changed since the one before.

    >>> print(show("gemm", 2).splitlines()[0])
    // Rung 2: loop order. The same sums, with the loop over columns inside.
    """
    ladder = _rungs.ladder(_problem(op).name + ("_cuda" if cuda else ""))
    at = next((i for i, rung in enumerate(ladder) if rung.number == number), None)
    if at is None:
        have = ", ".join(str(rung.number) for rung in ladder)
        raise ValueError(f"[ladder] {op} has no such rung. Rungs: {have}. Received: {number}")
    text = ladder[at].source.rstrip()
    if at == 0:
        return text
    before = ladder[at - 1]
    return (
        f"{text}\n\nWhat changed since rung {before.number}, {before.title}:\n\n{_rungs.difference(ladder[at], before)}"
    )


def listing() -> str:
    """All ladders with their rungs and ideas."""
    parts = []
    for op, problem in PROBLEMS.items():
        parts.append(f"{op}: {problem.formula}")
        parts += [f"  {r.number} {r.title:<18} {r.about['idea']}" for r in _rungs.ladder(op)]
        if (_rungs.sources() / f"{op}_cuda").is_dir():
            parts.append(f"{op} --cuda: the same for a GPU")
            parts += [f"  {r.number} {r.title:<18} {r.about['idea']}" for r in _rungs.ladder(f"{op}_cuda")]
    return "\n".join(parts)


def roofline(result: Race, path: str | Path) -> None:
    """Draws a Race into a file. Needs matplotlib."""
    from nnfast.ladder.picture import roofline as draw

    draw(result).savefig(path, dpi=150)


def _problem(op: str) -> Problem:
    if op not in PROBLEMS:
        raise ValueError(f"[ladder] unknown ladder. Known: {', '.join(OPS)}. Received: {op!r}")
    return PROBLEMS[op]


def _sizes(problem: Problem, size: list[int] | None, limit: float) -> tuple[int, ...] | None:
    """Those that were given, if any."""
    if not limit > 0:
        raise ValueError(f"[ladder] limit is a number of seconds above 0. Received: {limit}")
    sizes = None if size is None else problem.sizes(size)
    if sizes is not None and min(sizes) < 1:
        raise ValueError(f"[ladder] sizes are numbers from 1 up. Received: {list(sizes)}")
    return sizes


def _path(mine: str | Path | None) -> Path | None:
    return None if mine is None else Path(mine)
