"""How everything here is timed: one answer checked first, then interleaved rounds, then medians.

    rows = compare("relu", {"nnfast": f, "torch": g}, gigaflop=0.002)
    print(table(rows))
    save("elementwise", rows)

- `compare` calls each contender once and holds its answer to the first peer's before anything is timed.
- Rounds go A B A B; a sample is a run of calls long enough for the clock. A round in which another process took one of
  our cores is dropped.
- Each row has the medians, the spread (quartiles over the median) and the minor page faults per call: a peer that pays
  for fresh memory is not a slow kernel. So peers may keep their memory (`keep_memory`), unless `--faults` is given.
- Every comparison is made with one thread and with all. With several, each sample begins with a pause, in which the
  threads of the contender before fall asleep, and a few calls that are not timed, which wake our contender's own.
"""

import ctypes
import json
import math
import os
import platform
import re
import resource
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from nnfast import _cpu

RESULTS = Path(__file__).parent / "results"
QUICK = False  # set by `--quick`: fewer and shorter rounds, nothing is saved


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

    @property
    def best_peer(self) -> str | None:
        """The fastest contender other than nnfast (variants of our own are named nnfast...)."""
        peers = [p for p in self.timings if not p.startswith("nnfast")]
        return min(peers, key=lambda p: self.timings[p].seconds) if peers else None

    @property
    def ratio(self) -> float:
        """Best peer's time / nnfast's time: above 1, nnfast is faster. NaN without a peer."""
        peer = self.best_peer
        return self.timings[peer].seconds / self.timings["nnfast"].seconds if peer else math.nan

    @property
    def fastest_ratio(self) -> float:
        """The same of the fastest samples."""
        peers = [t.fastest for p, t in self.timings.items() if not p.startswith("nnfast")]
        return min(peers) / self.timings["nnfast"].fastest if peers else math.nan


def compare(
    name: str,
    contenders: dict[str, Callable[[], Any]],
    *,
    check: Callable[[dict[str, np.ndarray]], None] | None = None,
    rtol: float = 1e-4,
    gigaflop: float | None = None,
    threads: Sequence[int] | None = None,
    rounds: int | None = None,
) -> list[Row]:
    """Times the contenders, once with one thread and once with all.

    Args:
        contenders: functions without arguments by name, "nnfast" among them; each returns its answer.
        check: gets all the answers as arrays and raises if one is wrong. Default: each must agree with the first
            peer's, to rtol times the largest magnitude. A contender that returns None is not compared.
        gigaflop: work of one call, to print GFLOP/s.
        threads: default (1, all cores that this process may use).
        rounds: default 25, quick 5.
    """
    _assert_answers(name, contenders, check, rtol)
    rounds = rounds or (5 if QUICK else 25)
    rows = []
    for count in threads or sorted({1, cores()}):
        set_threads(count)
        calls = {who: _calls_per_sample(f) for who, f in contenders.items()}
        samples: dict[str, list[tuple[float, float]]] = {who: [] for who in contenders}
        dropped = 0
        while len(next(iter(samples.values()))) < rounds:
            before = _involuntary_switches()
            one = {who: _sample_after_rest(f, calls[who], count) for who, f in contenders.items()}
            if _involuntary_switches() > before + 1 and dropped < 2 * rounds:
                dropped += 1
                continue
            for who, s in one.items():
                samples[who].append(s)
        rows.append(Row(name, count, rounds, dropped, {who: _summary(s) for who, s in samples.items()}, gigaflop))
    set_threads(cores())
    return rows


def _assert_answers(name: str, contenders: dict[str, Callable[[], Any]], check: Any, rtol: float) -> None:
    answers = {who: np.array(a) for who, f in contenders.items() if (a := f()) is not None}
    if check is not None:
        check(answers)
        return
    truth = next((a for who, a in answers.items() if not who.startswith("nnfast")), None)
    for who, a in answers.items():
        if truth is None:
            break
        assert a.shape == truth.shape, f"{name}: {who} gives shape {a.shape}, expected {truth.shape}"
        worst = np.max(np.abs(a.astype(np.float64) - truth), initial=0) if a.size else 0.0
        assert worst <= rtol * np.max(np.abs(truth), initial=1e-30), f"{name}: {who} is off by {worst}"


def _sample(f: Callable[[], Any], calls: int) -> tuple[float, float]:
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    start = time.perf_counter()
    for _ in range(calls):
        f()
    seconds = time.perf_counter() - start
    return seconds / calls, (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - faults) / calls


def _sample_after_rest(f: Callable[[], Any], calls: int, threads: int) -> tuple[float, float]:
    """A sample with the previous contender's threads asleep and our contender's awake, where there are several."""
    if threads > 1:
        time.sleep(0.001)  # longer than an idle thread may spin here: see bench/__init__.py
        awake = time.perf_counter() + 0.002
        while time.perf_counter() < awake:
            f()
    return _sample(f, calls)


def _calls_per_sample(f: Callable[[], Any]) -> int:
    """So many that one sample takes about 10 ms (quick: 2 ms)."""
    calls, target = 1, 0.002 if QUICK else 0.01
    while (seconds := _sample(f, calls)[0] * calls) < target:
        calls = max(2 * calls, min(int(calls * target / max(seconds, 1e-9)), 100 * calls))
    return calls


def _summary(samples: list[tuple[float, float]]) -> Timing:
    seconds = sorted(s for s, _ in samples)
    median = statistics.median(seconds)
    low, _, high = statistics.quantiles(seconds, n=4)
    return Timing(median, (high - low) / median, seconds[0], statistics.median(f for _, f in samples))


def _involuntary_switches() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw


def geomean(rows: Sequence[Row], threads: int | None = None) -> float:
    """Geometric mean of the ratios of rows that have a peer."""
    logs = [math.log(r.ratio) for r in rows if r.best_peer and threads in (None, r.threads)]
    return math.exp(sum(logs) / len(logs)) if logs else math.nan


# ---- the machine ----


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def set_threads(count: int) -> None:
    """For nnfast, and for NumPy's OpenBLAS and PyTorch where they are loaded."""
    _cpu.set_num_threads(count)
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(count)
    for path in _openblas():
        library = ctypes.CDLL(path)
        for symbol in ("scipy_openblas_set_num_threads64_", "openblas_set_num_threads64_", "openblas_set_num_threads"):
            if hasattr(library, symbol):
                getattr(library, symbol)(ctypes.c_int(count))
                break


def _openblas() -> list[str]:
    maps = Path("/proc/self/maps")
    if not maps.exists():
        return []
    return sorted({line.split()[-1] for line in maps.read_text().splitlines() if "openblas" in line})


def keep_memory() -> None:
    """Makes this process's malloc keep what is freed, so that peers do not pay for fresh pages at each call."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD
        libc.mallopt(-4, 0)  # M_MMAP_MAX: no block is a mapping of its own


def machine() -> dict[str, Any]:
    """What the figures depend on."""
    versions = {"python": platform.python_version()}
    for package in ("nnfast", "numpy", "torch", "jax", "keras", "tensorflow-cpu"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return {"cpu": _cpu_name(), "cores": cores(), "isa": _cpu.isa(), "isas": _cpu.isas(), "versions": versions}


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    if not info.exists():
        return platform.processor() or platform.machine()
    field = dict(re.findall(r"^([\w ]+?)\s*: (.*)$", info.read_text().split("\n\n")[0], re.M))
    numbers = f"family {field['cpu family']} model {field['model']}" if "cpu family" in field else ""
    return f"{field.get('model name', platform.machine())} {numbers}".strip()


def results_file() -> Path:
    """bench/results/<machine>-<isa>.json."""
    m = machine()
    name = re.sub(r"[^a-z0-9]+", "-", f"{m['cpu']} {m['cores']} cores".lower()).strip("-")
    return RESULTS / f"{name}-{m['isa']}.json"


# ---- tables and files ----


def table(rows: Sequence[Row]) -> str:
    """The rows as text: time of each contender, GFLOP/s of nnfast, ratio to the best peer; geomeans at the end."""
    names = list(dict.fromkeys(who for r in rows for who in r.timings))
    width = max((len(r.name) for r in rows), default=4)
    lines = [
        f"{'':{width}}  thr "
        + " ".join(f"{n + ' µs':>18}" for n in names)
        + "  GFLOP/s  ratio (of fastest)  best peer   faults/call"
    ]
    for r in rows:
        cells = [
            f"{t.seconds * 1e6:11.1f} ±{t.spread * 50:3.0f}% " if (t := r.timings.get(n)) else " " * 18 for n in names
        ]
        speed = f"{r.gigaflop / r.timings['nnfast'].seconds:7.1f}" if r.gigaflop else " " * 7
        faults = "/".join(f"{t.faults:.0f}" for t in r.timings.values())
        ratios = f"{r.ratio:5.2f} ({r.fastest_ratio:10.2f})  {r.best_peer or '':10}"
        lines.append(f"{r.name:{width}}  {r.threads:3d} {' '.join(cells)}  {speed}  {ratios}  {faults}")
    for count in sorted({r.threads for r in rows}):
        if not math.isnan(g := geomean(rows, count)):
            lines.append(f"{'geomean':{width}}  {count:3d}  ratio {g:.2f}")
    return "\n".join(lines)


def save(section: str, rows: Sequence[Row]) -> Path:
    """Writes the section into the file of this machine and ISA; the other sections in it stay."""
    path = results_file()
    data = json.loads(path.read_text()) if path.exists() else {}
    data["machine"] = machine()
    entries = [{**asdict(r), "best_peer": r.best_peer, "ratio": None if math.isnan(r.ratio) else r.ratio} for r in rows]
    data.setdefault("sections", {})[section] = {
        "date": time.strftime("%Y-%m-%d"),
        "geomean": {str(n): g for n in sorted({r.threads for r in rows}) if not math.isnan(g := geomean(rows, n))},
        "rows": entries,
    }
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(data, indent=1) + "\n")
    return path
