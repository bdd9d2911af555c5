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
from nnfast.ladder.check import UNWRITTEN, Known, Memory, changed, check_edges, compare
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
    threads: int  # 0: a GPU
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
    inputs: list[Any]
    output: Any
    error: float
    calls: int = 1
    samples: list[float] = field(default_factory=list)


class Cpu(Memory):
    """The machine on which rungs race, here with some threads. On a GPU it is gpu.Machine."""

    def __init__(self, threads: int):
        self.threads, self.name, self.isa = threads, cpu_name(), rungs.instruction_set()

    def contenders(
        self, problem: Problem, mine: tuple[Rung, Function] | None, notes: list[str]
    ) -> list[tuple[Rung, Function]]:
        return _all(problem, mine, notes)

    def put(self, x: Array) -> Any:
        y = rungs.aligned(x.shape)
        y[...] = x
        return y

    def fill(self, x: Any, value: np.float32) -> None:
        x[...] = value

    def uses(self, rung: Rung) -> int:
        """Threads."""
        return self.threads if rung.threaded else 1

    def turn(self, threads: int) -> None:
        """The next calls use so many threads."""
        rungs.set_num_threads(threads)

    def sample(self, run: Callable[[], Any], calls: int, threads: int) -> float:
        """Seconds of a call."""
        return _sample(run, calls, threads)

    def rest(self, c: Contender) -> None:
        """Until nobody works on what was timed last."""
        if c.rung.about.get("threads") == "all" and self.threads > 1 and c.samples[-1] * c.calls > 0.001:
            time.sleep(BLAS_SPINS)

    def once(self, run: Callable[[], Any]) -> tuple[Any, float]:
        """The answer, and about how many seconds it took."""
        start = time.perf_counter()
        answer = run()
        return answer, time.perf_counter() - start

    def limits(self, problem: Problem, sizes: tuple[int, ...]) -> Any:
        return _limits(problem, sizes, self.threads)


def race(
    problem: Problem,
    sizes: tuple[int, ...],
    machine: Any,
    mine: tuple[Rung, Function] | None = None,
    tell: Callable[[str], None] = lambda text: None,
    budget: float | None = None,
) -> Race:
    """Checks and times every rung of a ladder, a peer, and a student's function, on a Cpu or a gpu.Machine. `budget`:
    seconds for each.

    Raises:
        ValueError: a rung gives a wrong answer.
    """
    budget = budget or BUDGET
    rng = np.random.default_rng(0)
    given = problem.make(sizes, "normal", rng)
    arrays = [machine.put(x) for x in (*given, np.zeros(problem.shapes(sizes)[-1], np.float32))]
    course = _Course(problem, sizes, machine, given, arrays)
    notes: list[str] = []
    contenders = []
    for rung, function in machine.contenders(problem, mine, notes):
        tell(rung.title)
        contenders.append(_prepared(rung, function, course, budget))
    limits = machine.limits(problem, sizes)
    for _ in range(ROUNDS):
        for c in contenders:
            spent = sum(c.samples) * c.calls
            if len(c.samples) < LEAST or spent < budget:
                tell(c.rung.title)
                machine.turn(c.threads)
                c.samples.append(machine.sample(c.run, c.calls, c.threads))
                machine.rest(c)
        limits.measure()
    if mine is not None:
        tell(mine[0].title)
        _check_again(contenders[-1], course)
    machine.turn(machine.threads)
    operations, traffic = problem.operations(sizes), problem.traffic(sizes)
    peaks = limits.peaks()
    results = [_result(c, peaks, operations, traffic) for c in contenders]
    date = time.strftime("%Y-%m-%d")
    return Race(
        problem.name, sizes, machine.isa, machine.name, machine.threads, date, operations, traffic, problem.bound_by,
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


class _Course:
    """The work of a race: what the arrays hold, where they lie, and the exact answer for its first parts."""

    def __init__(self, problem: Problem, sizes: tuple[int, ...], machine: Any, given: list[Array], arrays: list[Any]):
        self.problem, self.sizes, self.machine = problem, sizes, machine
        self._given, self._arrays = given, arrays
        self._known: dict[int, Known] = {}

    def part(self, lead: int) -> tuple[int, ...]:
        """The sizes of the first part of the work."""
        return (lead, *self.sizes[1:])

    def given(self, lead: int) -> list[Array]:
        """What its inputs hold: its numbers lie together at their beginning."""
        return [Memory().part(x, 0, shape) for x, shape in zip(self._given, self.problem.shapes(self.part(lead)))]

    def arrays(self, lead: int) -> list[Any]:
        """Its inputs and its output, on the machine."""
        shapes = self.problem.shapes(self.part(lead))
        return [self.machine.part(x, 0, shape) for x, shape in zip(self._arrays, shapes)]

    def known(self, lead: int) -> Known:
        if lead not in self._known:
            self._known[lead] = Known(self.problem, self.given(lead))
        return self._known[lead]


def _prepared(rung: Rung, function: Function, course: _Course, budget: float) -> Contender:
    """Bound to the whole work, or to the first part of it if the whole would last too long; its answer is checked."""
    problem, machine, lead, whole = function.problem, course.machine, 1, course.sizes[0]
    threads = machine.uses(rung)
    machine.turn(threads)
    while True:
        *some, out = course.arrays(lead)
        machine.fill(out, UNWRITTEN)
        run = function.bind(course.part(lead), some, out)
        answer, seconds = machine.once(run)
        if lead >= whole or seconds * min(8, whole / lead) > budget:
            break
        lead = min(whole, lead * 8)
    answer, known = machine.fetch(answer), course.known(lead)
    if wrong := compare(problem, answer, course.given(lead), rung.rounding, known):
        raise ValueError(f"[ladder] {rung.title}, timed shape: {wrong}")
    exact = known.exact
    error = float(np.max(np.abs(answer.reshape(exact.shape) - exact), initial=0) / np.max(np.abs(exact), initial=1e-30))
    seconds = min(seconds, machine.once(run)[1])
    done = problem.operations(course.part(lead)) / max(problem.operations(course.sizes), 1.0)
    calls = max(1, int(budget / 200 / max(seconds, 1e-7)))
    return Contender(rung, function, threads, run, done, lead, some, out, error, calls)


def _check_again(c: Contender, course: _Course) -> None:
    """A student's file may go wrong after some calls, or return at once because its answer lies there already."""
    problem, machine, given = c.function.problem, course.machine, course.given(c.lead)
    machine.turn(c.threads)
    machine.fill(c.output, UNWRITTEN)
    answer = machine.fetch(c.run())
    now = [machine.fetch(x) for x in c.inputs]
    wrong = changed(problem, now, given) or compare(problem, answer, given, c.rung.rounding, course.known(c.lead))
    if wrong:
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
        lines.append(f"measured limits, {who(count)}: {speeds}")
    threads = "threads" if race.threads else ""
    head = f"{'rung':<24}{threads:>8}{'ms':>12}{'':>6}{unit:>10}{'limit':>8}{'gain':>8}{'error':>8}  what it added"
    lines += ["", head]
    before = None
    for r in sorted(race.results, key=lambda r: (r.number is None, r.number)):
        name = f"{r.number} {r.title}" if r.number is not None else f"  {r.title}"
        gain = f"{before / r.seconds:.2f}x" if before and r.number is not None else ""
        estimated = "~" if r.part < 1 else ""
        lines.append(
            f"{name:<24}{r.threads or '':>8}{estimated + format(r.seconds * 1e3, ',.3f'):>12} ±{r.spread:>3.0%}"
            f"{work / r.seconds / 1e9:>11.3f}{r.share:>8.1%}{gain:>8}{r.error:>8.0e}  {short(r.adds)}"
        )
        before = r.seconds if r.number is not None else before
    if any(r.part < 1 for r in race.results):
        lines.append("~ timed on the first part of the work, and scaled")
    return "\n".join([*lines, *race.notes])


def who(threads: int | str) -> str:
    """What the threads of a result are called."""
    return {"0": "the GPU", "1": "1 thread"}.get(str(threads), f"{threads} threads")


def short(text: str) -> str:
    """The first part of a sentence."""
    return re.split(r"[;:,.]( |$)", text)[0]
