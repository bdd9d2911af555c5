"""How fast is it? Each rung is checked, then all take turns, so that what else the machine does hits all alike."""

from __future__ import annotations

import math
import platform
import re
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from nnfast.ladder import rungs
from nnfast.ladder.check import UNWRITTEN, changed, check_edges, compare
from nnfast.ladder.problems import Array, Problem
from nnfast.ladder.rungs import Function, Rung

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

BUDGET = 1.0  # seconds for each contender; a call that would last longer is timed on the first part of the work
ROUNDS, LEAST = 15, 3  # samples of each, at most and at least
BLAS_SPINS = 0.12  # seconds for which idle threads of OpenBLAS keep a core busy (0.1 measured)
ATTEMPTS = 4  # at a sample that nobody interrupts


@dataclass
class Result:
    """What one contender reached."""

    number: int | None
    title: str
    threads: int
    seconds: float  # of one call: the median
    spread: float  # half the distance of the quartiles, relative
    error: float  # largest |got - exact| / largest |exact|
    share: float = 0.0  # of what these threads can do at best
    part: float = 1.0  # of the work that was timed
    adds: str = ""


@dataclass
class Race:
    """A ladder with its times on this machine."""

    op: str
    sizes: tuple[int, ...]
    isa: str
    cpu: str
    threads: int
    date: str
    operations: float
    traffic: float
    bound_by: str
    peaks: dict[str, dict[str, float]]  # by number of threads, at most one a core: operations and bytes per second
    results: list[Result]
    notes: list[str] = field(default_factory=list)

    def json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass
class Contender:
    rung: Rung
    function: Function
    threads: int
    run: Callable[[], Any]
    part: float  # of the work
    lead: int  # of the first axis: that part
    inputs: list[Array]
    output: Array
    error: float
    calls: int = 1
    samples: list[float] = field(default_factory=list)


def race(
    problem: Problem,
    sizes: tuple[int, ...],
    threads: int,
    mine: tuple[Rung, Function] | None = None,
    tell: Callable[[str], None] = lambda text: None,
    budget: float | None = None,
) -> Race:
    """Checks and times every rung of a ladder, NumPy, and a student's function. `budget`: seconds for each.

    Raises:
        ValueError: a rung gives a wrong answer.
    """
    budget = budget or BUDGET
    rng = np.random.default_rng(0)
    inputs = [_copy(x) for x in problem.make(sizes, "normal", rng)]
    output = rungs.aligned(problem.shapes(sizes)[-1])
    notes: list[str] = []
    contenders = []
    for rung, function in _all(problem, mine, notes):
        tell(rung.title)
        uses = threads if rung.threaded else 1
        rungs.set_num_threads(uses)
        contenders.append(_prepared(rung, function, uses, sizes, inputs, output, budget))
    limits = _limits(problem, sizes, threads)
    for _ in range(ROUNDS):
        for c in contenders:
            spent = sum(c.samples) * c.calls
            if len(c.samples) < LEAST or spent < budget:
                tell(c.rung.title)
                rungs.set_num_threads(c.threads)
                c.samples.append(_sample(c.run, c.calls, c.threads))
                if c.rung.about.get("threads") == "all" and threads > 1 and c.samples[-1] * c.calls > 0.001:
                    time.sleep(BLAS_SPINS)
        limits.measure()
    if mine is not None:
        tell(mine[0].title)
        _check_again(contenders[-1], sizes)
    rungs.set_num_threads(threads)
    operations, traffic = problem.operations(sizes), problem.traffic(sizes)
    peaks = limits.peaks()
    results = [_result(c, peaks, operations, traffic) for c in contenders]
    date = time.strftime("%Y-%m-%d")
    return Race(
        problem.name, sizes, rungs.instruction_set(), cpu_name(), threads, date, operations, traffic, problem.bound_by,
        {str(n): p for n, p in peaks.items()}, results, notes,
    )  # fmt: skip


def _all(problem: Problem, mine: tuple[Rung, Function] | None, notes: list[str]) -> list[tuple[Rung, Function]]:
    """Who takes part. A rung that is wrong ends the race; one that only imitates an instruction is left out."""
    found = []
    if problem.numpy:  # first: the lowest rungs come next, which have one thread
        about = {"changed": "how NumPy does it"} | ({"threads": "all"} if problem.name == "gemm" else {})
        numpy = Rung(problem.name, None, "numpy", Path(__file__), about)
        found.append((numpy, Function(problem, problem.numpy, False)))
    for rung in rungs.ladder(problem.name):
        function = rungs.function_of(rung)
        most = 6e5 if rung.number == 0 else math.inf  # Python loops take their time
        if wrong := check_edges(function, rung.rounding, most):
            raise ValueError(f"[ladder] rung {rung.number}, {rung.title}: {wrong}")
        if rungs.stands_in(rung):
            why = "this CPU has no AMX; checked with simulated tiles, not timed"
            notes.append(f"rung {rung.number}, {rung.title}: {why}")
        else:
            found.append((rung, function))
    return found + ([mine] if mine else [])


def _prepared(
    rung: Rung,
    function: Function,
    threads: int,
    sizes: tuple[int, ...],
    inputs: list[Array],
    output: Array,
    budget: float,
) -> Contender:
    """Bound to the whole work, or to the first part of it if the whole would last too long; its answer is checked."""
    problem, lead, whole = function.problem, 1, sizes[0]
    while True:
        part = (lead, *sizes[1:])
        *some, out = _first([*inputs, output], problem.shapes(part))
        out[...] = UNWRITTEN
        run = function.bind(part, some, out)
        start = time.perf_counter()
        answer = run()
        seconds = time.perf_counter() - start
        if lead >= whole or seconds * min(8, whole / lead) > budget:
            break
        lead = min(whole, lead * 8)
    if wrong := compare(problem, answer, some, rung.rounding):
        raise ValueError(f"[ladder] {rung.title}, timed shape: {wrong}")
    exact = problem.exact(some)
    error = float(np.max(np.abs(answer.reshape(exact.shape) - exact), initial=0) / np.max(np.abs(exact), initial=1e-30))
    start = time.perf_counter()
    run()
    seconds = min(seconds, time.perf_counter() - start)
    done = problem.operations(part) / max(problem.operations(sizes), 1.0)
    calls = max(1, int(budget / 200 / max(seconds, 1e-7)))
    return Contender(rung, function, threads, run, done, lead, some, out, error, calls)


def _first(arrays: list[Array], shapes: list[tuple[int, ...]]) -> list[Array]:
    """The arrays of the first part of the work: its numbers lie together at their beginning."""
    return [x.reshape(-1)[: math.prod(shape)].reshape(shape) for x, shape in zip(arrays, shapes)]


def _check_again(c: Contender, sizes: tuple[int, ...]) -> None:
    """A student's file may go wrong after some calls, or return at once because its answer lies there already."""
    problem = c.function.problem
    inputs = _first(problem.make(sizes, "normal", np.random.default_rng(0)), problem.shapes((c.lead, *sizes[1:])))
    rungs.set_num_threads(c.threads)
    c.output[...] = UNWRITTEN
    answer = c.run()
    if wrong := changed(problem, c.inputs, inputs) or compare(problem, answer, inputs, c.rung.rounding):
        raise ValueError(f"[ladder] {c.rung.title}, timed shape, called once more after the timing: {wrong}")


def _sample(run: Callable[[], Any], calls: int, threads: int) -> float:
    """Seconds of a call. With several threads, those of the contender before sleep first, then our own wake."""
    if threads > 1:
        time.sleep(0.001)
        awake = time.perf_counter() + 0.002
        while time.perf_counter() < awake:
            run()
    for _ in range(ATTEMPTS):
        before = _interruptions()
        start = time.perf_counter()
        for _ in range(calls):
            run()
        seconds = (time.perf_counter() - start) / calls
        if _interruptions() == before:
            break
    return seconds


def _interruptions() -> int:
    """How often the system has taken a core from this process to give it to another."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw if resource else 0


class _limits:
    """What this machine does at best, with one thread and with all, measured in every round beside the rungs."""

    def __init__(self, problem: Problem, sizes: tuple[int, ...], threads: int):
        self._isa = rungs.instruction_set()
        self._counts = sorted({1, min(threads, rungs.cores())})
        self._move, self._bytes = rungs.mover(self._isa, problem, sizes)
        self._seen: dict[int, tuple[list[float], list[float]]] = {n: ([], []) for n in self._counts}

    def measure(self) -> None:
        calls = 1 + int(2e7 / self._bytes)  # some milliseconds, as of a rung
        for count, (operations, moved) in self._seen.items():
            rungs.set_num_threads(count)
            done = rungs.multiply_adds(self._isa, count)
            seconds = _sample(partial(rungs.multiply_adds, self._isa, count), 4, count)
            operations.append(done / seconds)
            self._move()
            moved.append(self._bytes / _sample(self._move, calls, count))

    def peaks(self) -> dict[int, dict[str, float]]:
        return {n: {"operations": max(o), "bytes": max(b)} for n, (o, b) in self._seen.items()}


def _result(c: Contender, peaks: dict[int, dict[str, float]], operations: float, traffic: float) -> Result:
    ordered = sorted(s / c.part for s in c.samples)
    seconds = statistics.median(ordered)
    low, _, high = statistics.quantiles(ordered, n=4)
    peak = peaks[min(c.threads, max(peaks))]
    least = max(operations / peak["operations"], traffic / peak["bytes"])  # the roof: what even the best must spend
    return Result(
        c.rung.number, c.rung.title, c.threads, seconds, (high - low) / 2 / seconds, c.error, least / seconds, c.part,
        c.rung.about.get("changed", ""),
    )  # fmt: skip


def _copy(x: Array) -> Array:
    y = rungs.aligned(x.shape)
    y[...] = x
    return y


def cpu_name() -> str:
    """The model, as the system names it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").split("\n\n")[0].splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    field_of = {k.strip(): v.strip() for k, _, v in (line.partition(":") for line in lines)}
    numbers = f" family {field_of['cpu family']} model {field_of['model']}" if "cpu family" in field_of else ""
    return field_of.get("model name", platform.machine()) + numbers


# ---- as text ----


def table(race: Race) -> str:
    """The ladder as a table, and what it is measured against."""
    arithmetic = race.bound_by == "arithmetic"
    work, unit = (race.operations, "GFLOP/s") if arithmetic else (race.traffic, "GB/s")
    moving = "copying" if arithmetic else race.bound_by
    sizes = " x ".join(f"{n:,}" for n in race.sizes)
    lines = [f"{race.op}, {sizes}, float32: {race.cpu}, {race.isa}"]
    for count, p in race.peaks.items():
        speeds = f"{p['operations'] / 1e9:.1f} GFLOP/s in registers, {p['bytes'] / 1e9:.1f} GB/s {moving} as many bytes"
        lines.append(f"measured limits, {count} thread{'' if count == '1' else 's'}: {speeds}")
    head = f"{'rung':<20}{'threads':>8}{'ms':>12}{'':>6}{unit:>10}{'limit':>8}{'gain':>8}{'error':>8}  what it added"
    lines += ["", head]
    before = None
    for r in sorted(race.results, key=lambda r: (r.number is None, r.number)):
        name = f"{r.number} {r.title}" if r.number is not None else f"  {r.title}"
        gain = f"{before / r.seconds:.2f}x" if before and r.number is not None else ""
        estimated = "~" if r.part < 1 else ""
        lines.append(
            f"{name:<20}{r.threads:>8}{estimated + format(r.seconds * 1e3, ',.3f'):>12} ±{r.spread:>3.0%}"
            f"{work / r.seconds / 1e9:>11.3f}{r.share:>8.1%}{gain:>8}{r.error:>8.0e}  {short(r.adds)}"
        )
        before = r.seconds if r.number is not None else before
    if any(r.part < 1 for r in race.results):
        lines.append("~ timed on the first part of the work, and scaled")
    return "\n".join([*lines, *race.notes])


def short(text: str) -> str:
    """The first part of a sentence."""
    return re.split(r"[;:,.]( |$)", text)[0]
