"""`nnfast bench --cuda`: how kernels of a GPU are timed, and what the GPU can do at best.

- The answer is checked, then come rounds A B A B, as on the CPU (`timing`).
- Times are those of the GPU, read from its events. Before each sample it is given copies to do, long enough that all
  calls of the sample wait in line behind them: so it goes from kernel to kernel, and a slow caller costs nothing. Rows
  that are timed by the clock (`wall`: training) take the time from the call to the answer.
- Rows whose limit is memory move several times what the L2 cache holds. Small products find their operands there, as in
  a network.
- Limits come first: large copies, and the fastest large products of the peers, in float32, TF32 and bfloat16.
- A row that fails is reported at the end, and the others go on.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from nnfast import device
from nnfast.bench import gemm, machine
from nnfast.bench.peers import Sample, load, values
from nnfast.bench.timing import Bench, Contenders, Row, Stopped, agree, summary

PRODUCT, COPY = (8192, 128), (1 << 30, 1 << 12)  # edges and bytes of the limits: as they are, and tiny
MOST_CALLS = 100  # of a sample: the line of waiting kernels has room for about a thousand

Work = Callable[[], Any]


class Card:
    """What the benchmark asks CUDA for, through CuPy."""

    def __init__(self, cupy: Any, copied: int):
        self._cuda, self.copied = cupy.cuda, copied
        key = device.put(np.array([1, 2]))
        draw = partial(device.kernels.random_uniform, [copied // 4], "float32", key)
        self._from, self._to = draw(), draw()
        self._copy_seconds = 1.0

    def describe(self) -> dict[str, Any]:
        about = self._cuda.runtime.getDeviceProperties(self._cuda.runtime.getDevice())
        return {
            "gpu": about["name"].decode(),
            "multiprocessors": about["multiProcessorCount"],
            "arch": f"sm_{about['major']}{about['minor']}",
            "memory": about["totalGlobalMem"],
            "l2": about["l2CacheSize"],
        }

    def wait(self) -> None:
        """Until the GPU has done everything."""
        self._cuda.get_current_stream().synchronize()

    def copy(self) -> None:
        self._to.data.copy_from_device_async(self._from.data, self.copied, self._cuda.get_current_stream())

    def copy_speed(self, rounds: int) -> float:
        """Bytes read and written per second by a large copy, at best."""
        self._copy_seconds = self.sample(self.copy, 4, 0)
        self._copy_seconds = min(self.sample(self.copy, 4, 2 * self._copy_seconds) for _ in range(rounds))
        return 2 * self.copied / self._copy_seconds

    def sample(self, work: Work, calls: int, ahead: float) -> float:
        """Seconds of the GPU for one of so many calls, which are made while it is busy for `ahead` seconds."""
        for _ in range(math.ceil(ahead / self._copy_seconds)):
            self.copy()
        start, end = self._cuda.Event(), self._cuda.Event()
        start.record()
        for _ in range(calls):
            work()
        end.record()
        end.synchronize()
        return float(self._cuda.get_elapsed_time(start, end)) * 1e-3 / calls

    def wall(self, work: Work, calls: int) -> float:
        """Seconds by the clock for one of so many calls."""
        self.wait()
        start = time.perf_counter()
        for _ in range(calls):
            work()
        self.wait()
        return (time.perf_counter() - start) / calls


class Pace(NamedTuple):
    """How a contender is sampled."""

    calls: int
    ahead: float  # for so many seconds the GPU is kept busy first


class GpuBench(Bench):
    """The settings of one run on a GPU. `rooms` yield the same rows, of other sizes."""

    gpu = True

    def __init__(
        self, quick: bool = False, rows: str = "", tell: Callable[[str], None] = lambda text: None, tiny: bool = False
    ):
        super().__init__(quick, [1], rows, tell, tiny=tiny)
        self.card = Card(load("cupy"), COPY[tiny])
        if torch := load("torch"):
            float32_means_float32(torch)
        self.limits: dict[str, float] = {}  # of products, in GFLOP/s, by unit
        self.copies = 0.0  # GB/s

    def describe(self) -> dict[str, Any]:
        """The machine, with its limits, which are measured here."""
        rounds = 3 if self.quick or self.tiny else 9
        self.tell("the limits of this GPU")
        self.copies = self.card.copy_speed(rounds) * 1e-9
        n = PRODUCT[self.tiny]
        for unit, product in gemm.best_products(n).items():
            pace = self._pace(product, False)
            seconds = min(self.card.sample(product, *pace) for _ in range(rounds))
            self.limits[unit] = 2e-9 * n**3 / seconds
        peaks = {
            "gigaflops": {f"{unit}, product of {n}^3": {"1": speed} for unit, speed in self.limits.items()},
            "gigabytes": {f"{2 * self.card.copied / 2**20:,.0f} MB": {"1": self.copies}},
        }
        return {**machine.describe(), **self.card.describe(), "cuda": device.kernels.versions(), "peaks": peaks}

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
        if not self.wanted(name):
            return []
        self.tell(name)
        try:
            made = contenders() if callable(contenders) else contenders
            ready = self._answering(name, made, check or agree(name, rtol))
            rounds = 3 if self.tiny else 5 if self.quick else rounds
            timings = {who: summary(s, per) for who, s in self._rounds(ready, rounds, wall).items()}
        except Exception as e:  # the other rows can still be measured, if the GPU answers
            self.failed.append(f"{name}: {type(e).__name__}: {e}".splitlines()[0])
            try:
                self.card.wait()
            except Exception as broken:
                raise Stopped(f"[bench] the GPU does not answer any more: {broken}") from e
            return []
        peaks = {"gigabytes": self.copies, "gigaflops": self.limits.get(unit)} if limits else {}
        return [Row(name, 1, rounds, 0, timings, gigaflop, gigabyte, {k: v for k, v in peaks.items() if v})]

    def _answering(self, name: str, contenders: Contenders, check: Any) -> dict[str, Work]:
        """The contenders that work here, when all have given the right answer. A peer may fail, nnfast may not."""
        ready: dict[str, Work] = {}
        answers = {}
        for who, work in contenders.items():
            assert callable(work), who  # no peer has a process of its own here
            try:
                answer = work()
                if answer is not None:
                    answers[who] = values(answer)
                ready[who] = work
            except Exception as e:
                if who.startswith("nnfast"):
                    raise
                self.notes.append(f"{name}: {who} left out: {type(e).__name__}: {e}".splitlines()[0][:200])
        check(answers)
        return ready

    def _rounds(self, ready: Mapping[str, Work], rounds: int, wall: bool) -> dict[str, list[Sample]]:
        paces = {who: self._pace(work, wall) for who, work in ready.items()}
        samples: dict[str, list[Sample]] = {who: [] for who in ready}
        for _ in range(rounds):
            for who, work in ready.items():
                pace = paces[who]
                seconds = self.card.wall(work, pace.calls) if wall else self.card.sample(work, *pace)
                samples[who].append(Sample(seconds, 0.0, 0))
        return samples

    def _pace(self, work: Work, wall: bool) -> Pace:
        """From a first look, when everything has been compiled and chosen."""
        for _ in range(1 if wall else 3):
            work()
        self.card.wait()
        target = 0.0 if self.tiny else 0.002 if self.quick else 0.01
        if wall:
            seconds = self.card.wall(work, 1)
            return Pace(_calls(10 * target, seconds), 0.0)
        start = time.perf_counter()
        for _ in range(3):
            work()
        of_the_caller = (time.perf_counter() - start) / 3
        self.card.wait()
        calls = _calls(target, self.card.sample(work, 3, 0.0 if self.tiny else 6 * of_the_caller))
        return Pace(calls, 0.0 if self.tiny else 2 * calls * of_the_caller)


def _calls(target: float, seconds: float) -> int:
    return max(1, min(round(target / max(seconds, 1e-9)), MOST_CALLS))


def float32_means_float32(torch: Any) -> None:
    """PyTorch multiplies float32 by TF32 in convolutions, unless it is told not to; and it may try what is fastest."""
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = True
    torch.set_float32_matmul_precision("highest")
