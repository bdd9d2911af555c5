"""How everything here is timed: the answer is checked, then come interleaved rounds, then medians.

- `Bench.compare` asks each contender for its answer and holds it to the first peer's before anything is timed.
- Rounds go A B A B; a sample is a run of calls long enough for the clock. A round in which another process took one of
  our cores is dropped.
- Each row has the medians, the spread (quartiles over the median) and the minor page faults per call: a peer that pays
  for fresh memory is not a slow kernel. So peers may keep their memory, unless that is switched off.
- Every comparison is made with one thread and with all. With several, each sample begins with a pause, in which the
  threads of the contender before fall asleep, and a few calls that are not timed, which wake our contender's own.
- Beside the contenders, every round measures what the machine can do at best on a problem of this size.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, TypeVar

import numpy as np

from nnfast.bench import machine
from nnfast.bench.peers import Local, PeerError, Process, Remote, Sample, values
from nnfast.ladder import rungs

Contenders = Mapping[str, Callable[[], Any] | Remote]
Sizes = TypeVar("Sizes")


@dataclass
class Timing:
    """What one contender took for one call."""

    seconds: float  # median
    spread: float  # distance of the quartiles / median
    fastest: float  # seconds; on a busy machine the fastest sample says more than the median
    faults: float  # minor page faults per call


@dataclass
class Row:
    """One comparison with one number of threads."""

    name: str
    threads: int
    rounds: int  # that count
    dropped: int  # in which another process took a core
    timings: dict[str, Timing]
    gigaflop: float | None = None  # of one call
    gigabyte: float | None = None  # that one call must read and write
    peaks: dict[str, float] = field(default_factory=dict)  # at best, per second: "gigaflops", "gigabytes"
    bar: float | None = None  # what the ratio should reach

    @property
    def best_peer(self) -> str | None:
        """The fastest contender other than nnfast (variants of our own are named nnfast...)."""
        peers = [p for p in self.timings if not p.startswith("nnfast")]
        return min(peers, key=lambda p: self.timings[p].seconds) if peers else None

    @property
    def ratio(self) -> float | None:
        """Best peer's time / nnfast's time: above 1, nnfast is faster."""
        peer = self.best_peer
        return self.timings[peer].seconds / self.timings["nnfast"].seconds if peer else None

    @property
    def fastest_ratio(self) -> float | None:
        """The same of the fastest samples."""
        peers = [t.fastest for p, t in self.timings.items() if not p.startswith("nnfast")]
        return min(peers) / self.timings["nnfast"].fastest if peers else None

    @property
    def share(self) -> float | None:
        """Of what the machine can do at best: the least time that the work can take / nnfast's time."""
        work = {"gigaflops": self.gigaflop, "gigabytes": self.gigabyte}
        least = [done / self.peaks[kind] for kind, done in work.items() if done and kind in self.peaks]
        return max(least) / self.timings["nnfast"].seconds if least else None

    def json(self) -> dict[str, Any]:
        return {**asdict(self), "best_peer": self.best_peer, "ratio": self.ratio, "share": self.share}

    @staticmethod
    def from_json(entry: dict[str, Any]) -> Row:
        kept = {k: v for k, v in entry.items() if k in Row.__dataclass_fields__ and k != "timings"}
        return Row(timings={who: Timing(**t) for who, t in entry["timings"].items()}, **kept)


class Stopped(RuntimeError):
    """Nothing more can be measured; what was, holds."""


class Bench:
    """The settings of one run, and the processes of its peers.

    Args:
        quick: few short rounds.
        threads: numbers of threads; default: one, and all cores that this process may use.
        rows: only rows whose names contain this.
        tell: is told what happens.
        keep: let peers keep the memory that they free.
        tiny: problems so small that their times say nothing: a check that every row runs.
    """

    gpu = False

    def __init__(
        self,
        quick: bool = False,
        threads: Sequence[int] | None = None,
        rows: str = "",
        tell: Callable[[str], None] = lambda text: None,
        keep: bool = True,
        tiny: bool = False,
    ):
        self.quick, self.rows, self.tell, self.keep, self.tiny = quick, rows, tell, keep, tiny
        self.threads = sorted(set(threads or (1, machine.cores())))
        if not 1 <= self.threads[0] <= self.threads[-1] <= rungs.MOST_THREADS:
            raise ValueError(f"[bench] threads are numbers from 1 to {rungs.MOST_THREADS}. Received: {self.threads}")
        self.notes: list[str] = []
        self.failed: list[str] = []  # rows that could not be measured, and why
        self._processes: dict[tuple[str, int], Process] = {}

    def wanted(self, name: str) -> bool:
        return self.rows in name

    def pick(self, cpu: Sizes, gpu: Sizes, tiny: Sizes) -> Sizes:
        """The problems for this run."""
        return tiny if self.tiny else gpu if self.gpu else cpu

    def compare(
        self,
        name: str,
        contenders: Contenders | Callable[[], Contenders],
        *,
        check: Callable[[dict[str, np.ndarray]], None] | None = None,
        rtol: float = 1e-4,
        gigaflop: float | None = None,
        gigabyte: float | None = None,
        reading: bool = False,
        limits: bool = True,
        rounds: int = 25,
        per: int = 1,
        unit: str = "float32",
        wall: bool = False,
    ) -> list[Row]:
        """Times the contenders, with each number of threads.

        Args:
            contenders: functions without arguments, or Remotes, by name, "nnfast" among them; each returns its answer.
                Or a function that makes them, called once for each number of threads.
            check: gets all the answers as arrays and raises if one is wrong. Default: each must agree with the first
                peer's, to rtol times the largest magnitude. A contender that returns None is not compared.
            gigaflop, gigabyte: arithmetic of a call, and what it must read and write: for the share of the limit.
            reading: it writes next to nothing.
            limits: measure those of the machine. They are those of float32.
            rounds: with quick they are 5.
            per: how many steps a call makes: times are those of one.
            unit: which limit of a GPU holds: that of "float32", "TF32" or "bfloat16" products.
            wall: on a GPU, take the time until the answer is there, and not that of the kernels alone.

        Returns:
            A row for each number of threads; none if the name is not wanted.
        """
        if not self.wanted(name):
            return []
        rows = []
        for count in self.threads:
            self.tell(f"{name}, {count} thread{'s' * (count > 1)}")
            machine.set_threads(count)
            made = contenders() if callable(contenders) else contenders
            machine.set_threads(count)  # of what has just been loaded, too
            ready = self._ready(name, made, count, check, rtol)
            roof = machine.Roof(count, gigaflop, gigabyte, reading) if limits else machine.Roof(count)
            samples, dropped = self._samples(ready, count, roof, 5 if self.quick else rounds)
            timings = {who: summary(s, per) for who, s in samples.items()}
            done = len(samples["nnfast"])
            rows.append(Row(name, count, done, dropped, timings, gigaflop, gigabyte, roof.peaks()))
        machine.set_threads(machine.cores())
        return rows

    def _ready(
        self, name: str, contenders: Contenders, count: int, check: Any, rtol: float
    ) -> dict[str, Local | Remote]:
        """The contenders that work here and give the right answer."""
        ready: dict[str, Local | Remote] = {}
        answers = {}
        for key, process in list(self._processes.items()):
            try:
                process.ask("clear")
            except PeerError:  # it has died since
                self._processes.pop(key).close()
        for who, contender in contenders.items():
            try:
                if isinstance(contender, Remote):
                    contender.enter(self._process(contender.kind, count))
                    ready[who] = contender
                else:
                    ready[who] = Local(contender)
                if (answer := ready[who].answer()) is not None:
                    answers[who] = values(answer)
            except PeerError as e:
                ready.pop(who, None)
                self.notes.append(f"{name}: {who} left out: {e}")
        (check or agree(name, rtol))(answers)
        return ready

    def _process(self, kind: str, count: int) -> Process:
        """The one that runs this kind of peer with this many threads."""
        if (kind, count) not in self._processes:
            self._processes[kind, count] = Process(kind, count, self.keep)
        return self._processes[kind, count]

    def _samples(
        self, contenders: Mapping[str, Local | Remote], count: int, roof: machine.Roof, rounds: int
    ) -> tuple[dict[str, list[Sample]], int]:
        target = 0.002 if self.quick else 0.01
        pause = count > 1 or any(isinstance(c, Remote) for c in contenders.values())
        calls = {who: _calls_per_sample(c, target) for who, c in contenders.items()}
        samples: dict[str, list[Sample]] = {who: [] for who in contenders}
        dropped = 0
        while len(samples["nnfast"]) < rounds:
            one = {}
            for who, contender in contenders.items():
                if pause:
                    time.sleep(0.001)  # longer than an idle thread may spin: see SETTINGS
                    contender.warm(0.002)
                one[who] = contender.sample(calls[who])
            if sum(s.switches for s in one.values()) > 1 and dropped < 2 * rounds:
                dropped += 1
                continue
            for who, s in one.items():
                samples[who].append(s)
            roof.measure()
        return samples, dropped

    def close(self) -> None:
        """Ends the processes of the peers."""
        for process in self._processes.values():
            process.close()
        self._processes.clear()


def agree(name: str, rtol: float) -> Callable[[dict[str, np.ndarray]], None]:
    def check(answers: dict[str, np.ndarray]) -> None:
        truth = next((a for who, a in answers.items() if not who.startswith("nnfast")), None)
        for who, a in answers.items():
            if truth is None:
                break
            if a.shape != truth.shape:
                raise ValueError(f"[bench] {name}: {who} gives shape {a.shape}, its peer {truth.shape}")
            worst = largest_difference(a, truth)
            if not worst <= rtol * np.max(np.abs(truth), initial=1e-30):
                raise ValueError(f"[bench] {name}: {who} is off by {worst}, more than {rtol} of the largest")

    return check


def largest_difference(a: np.ndarray, b: np.ndarray) -> float:
    """Block by block: arrays of a GPU can be large. NaN where one of them has NaN."""
    a, b = a.ravel(), b.ravel()
    step = 1 << 20
    each = [np.max(np.abs(a[i : i + step].astype(np.float64) - b[i : i + step])) for i in range(0, a.size, step)]
    return float(np.max(each, initial=0))


def _calls_per_sample(contender: Local | Remote, target: float) -> int:
    """So many that one sample takes about `target` seconds."""
    calls = 1
    while (seconds := contender.sample(calls).seconds * calls) < target:
        calls = max(2 * calls, min(int(calls * target / max(seconds, 1e-9)), 100 * calls))
    return calls


def summary(samples: list[Sample], per: int) -> Timing:
    seconds = sorted(s.seconds / per for s in samples)
    median = statistics.median(seconds)
    low, _, high = statistics.quantiles(seconds, n=4)
    return Timing(median, (high - low) / median, seconds[0], statistics.median(s.faults for s in samples) / per)


def geomean(rows: Sequence[Row], threads: int | None = None) -> float | None:
    """Geometric mean of the ratios of rows that have a peer."""
    logs = [math.log(r.ratio) for r in rows if r.ratio and threads in (None, r.threads)]
    return math.exp(sum(logs) / len(logs)) if logs else None
