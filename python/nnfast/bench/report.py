"""What was measured: as a table, as JSON, and held against what was measured before."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nnfast.bench import machine
from nnfast.bench.timing import Row, geomean

SECTIONS = ("gemm", "conv2d", "ops", "fit", "overhead")

# ---- as text ----


def head(result: dict[str, Any]) -> str:
    """The machine, its limits, and who takes part."""
    m = result["machine"]
    versions = ", ".join([*([m["cuda"]] if "gpu" in m else []), *(f"{k} {v}" for k, v in m["versions"].items())])
    lines = [f"{machine.title(m)}; {versions}"]
    products = "GFLOP/s" if "gpu" in m else "GFLOP/s in registers"
    for kind, unit in (("gigaflops", products), ("gigabytes", "GB/s copying")):
        for what, speeds in m["peaks"][kind].items():
            each = ", ".join(f"{speed:,.1f} with {n} thread{'s' * (n != '1')}" for n, speed in speeds.items())
            each = f"{speeds['1']:,.1f}" if "gpu" in m else each
            lines.append(f"limit, {what}: {each} {unit}")
    return "\n".join(lines)


def table(rows: Sequence[Row]) -> str:
    """The rows as text: time of each contender, speed, share of the limit, ratio to the best peer; geomeans last."""
    names = list(dict.fromkeys(who for r in rows for who in r.timings))
    if len(names) > 5:
        return "\n".join(map(_block, rows))
    width = max((len(r.name) for r in rows), default=4)
    columns = [max(len(n) + 3, 16) for n in names]
    titles = " ".join(f"{n + ' µs':>{w}}" for n, w in zip(names, columns))
    lines = [f"{'':{width}} thr {titles}      speed  limit  ratio (fastest)  best peer  faults/call"]
    for r in rows:
        times = " ".join(f"{_time(r.timings.get(n)):>{w}}" for n, w in zip(names, columns))
        share = f"{r.share:5.0%}" if r.share is not None else ""
        ratio = f"{r.ratio:6.2f} ({r.fastest_ratio:7.2f})" if r.ratio is not None else ""
        faults = "/".join(f"{t.faults:.0f}" for t in r.timings.values())
        lines.append(
            f"{r.name:{width}} {r.threads:3d} {times} {_speed(r):>10} {share:>6} {ratio:16}  {r.best_peer or '':10} "
            f"{faults} {_bar(r)}".rstrip()
        )
    for count in sorted({r.threads for r in rows}):
        if mean := geomean(rows, count):
            lines.append(f"{'geometric mean':{width}} {count:3d} ratio {mean:.2f}")
    return "\n".join(lines)


def _block(r: Row) -> str:
    """A row with a line for each contender."""
    ratio = f": ratio {r.ratio:.2f} to {r.best_peer} (of the fastest samples {r.fastest_ratio:.2f})" if r.ratio else ""
    ratio += f", {_bar(r)}" if r.bar else ""
    lines = [f"{r.name}, {r.threads} thread{'s' * (r.threads > 1)}{ratio}"]
    for who, t in r.timings.items():
        lines.append(f"    {who:26} {t.seconds * 1e6:12,.1f} µs ±{t.spread / 2:3.0%}  {t.faults:.0f} page faults")
    return "\n".join(lines)


def _bar(r: Row) -> str:
    """What the ratio should reach, and whether it does."""
    return f"bar {r.bar:.2f}{'' if r.ratio and r.ratio >= r.bar else ': MISSED'}" if r.bar else ""


def _time(t: Any) -> str:
    return f"{t.seconds * 1e6:,.1f} ±{t.spread / 2:3.0%}" if t else ""


def _speed(r: Row) -> str:
    seconds = r.timings["nnfast"].seconds
    if r.gigaflop:
        return f"{r.gigaflop / seconds:.1f} GF/s"
    return f"{r.gigabyte / seconds:.1f} GB/s" if r.gigabyte else ""


# ---- as JSON ----


def section(rows: Sequence[Row], date: str, notes: Sequence[str] = ()) -> dict[str, Any]:
    means = {str(n): geomean(rows, n) for n in sorted({r.threads for r in rows})}
    return {
        "date": date,
        "geomean": {n: g for n, g in means.items() if g},
        "rows": [r.json() for r in rows],
        "notes": list(notes),
    }


def rows_of(result: dict[str, Any]) -> dict[tuple[str, str, int], Row]:
    """By section, name and number of threads."""
    found = {}
    for name, part in result["sections"].items():
        for entry in part["rows"]:
            row = Row.from_json(entry)
            found[name, row.name, row.threads] = row
    return found


def read(path: str | Path) -> dict[str, Any]:
    """A file of results.

    Raises:
        ValueError: it is not one.
    """
    try:
        result = json.loads(Path(path).read_text(encoding="utf-8"))
        rows_of(result)
        result["machine"]["cpu"], result["machine"]["cores"], result["machine"]["isa"]
    except OSError as e:
        raise ValueError(f"[bench] cannot read {path}: {e.strerror}") from None
    except (ValueError, KeyError, TypeError):
        raise ValueError(f"[bench] {path} holds no results of `nnfast bench --json` or `--save`") from None
    return result


def write(result: dict[str, Any], path: str | Path) -> None:
    Path(path).write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def folder() -> Path:
    """Of the results, in the sources that we are in.

    Raises:
        ValueError: we are not in nnfast's sources.
    """
    here = Path.cwd()
    roots = [p for p in (here, *here.parents) if (p / "csrc" / "ops.h").exists() and (p / "bench").is_dir()]
    if not roots:
        raise ValueError(
            "[bench] --save writes into bench/results of nnfast's sources. "
            f"Received: the folder {here}, which is not in them. Elsewhere use --json FILE"
        )
    return roots[0] / "bench" / "results"


def save(result: dict[str, Any]) -> Path:
    """Puts the sections into this kind of machine's file in the sources that we are in; its other sections stay."""
    results = folder()
    results.mkdir(exist_ok=True)
    path = results / machine.file_name(result["machine"])
    parts = {**(read(path)["sections"] if path.exists() else {}), **result["sections"]}
    write({"machine": result["machine"], "sections": {name: parts[name] for name in SECTIONS if name in parts}}, path)
    return path


# ---- against what was measured before ----


@dataclass
class Verdict:
    """What a comparison of two results found."""

    compared: int = 0
    worse: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def check(old: dict[str, Any], new: dict[str, Any], tolerance: float = 0.1) -> Verdict:
    """Which rows are slower than before, beside a peer that was measured both times.

    The ratio peer's time / nnfast's time may fall by the tolerance, or by twice what the spreads of the four times
    explain, if that is more, though never by more than half. Bare times are never compared: a machine may be busy,
    or slower, today.

    Raises:
        ValueError: the results are of two kinds of machine, or have no row with a common peer.
    """
    for what in ("gpu",) if "gpu" in old["machine"] else ("gpu", "cpu", "cores", "isa"):
        a, b = old["machine"].get(what), new["machine"].get(what)
        if a != b:
            raise ValueError(
                f"[bench] --check compares results of one kind of machine. Received: {what} {a!r} and {b!r}"
            )
    verdict = Verdict()
    versions = [r["machine"].get("versions", {}) for r in (old, new)]
    for peer in sorted(set(versions[0]) & set(versions[1]) - {"nnfast"}):
        if versions[0][peer] != versions[1][peer]:
            verdict.notes.append(f"{peer} was {versions[0][peer]}, is {versions[1][peer]}")
    before, now = rows_of(old), rows_of(new)
    ran = {name for name, _, _ in now}
    missing = [key for key in before if key[0] in ran and key not in now]
    if missing:
        verdict.notes.append(f"{len(missing)} rows of before were not measured now, the first: {_named(missing[0])}")
    for key in before.keys() & now.keys():
        peers = [p for p in before[key].timings if p in now[key].timings and not p.startswith("nnfast")]
        if peers:
            verdict.compared += 1
            peer = min(peers, key=lambda p: before[key].timings[p].seconds)
            verdict.worse += _regression(key, before[key], now[key], peer, tolerance)
    if not verdict.compared:
        raise ValueError("[bench] --check found no row with a peer that was measured both times")
    verdict.worse.sort()
    return verdict


def _regression(key: tuple[str, str, int], before: Row, now: Row, peer: str, tolerance: float) -> list[str]:
    ratios = [row.timings[peer].seconds / row.timings["nnfast"].seconds for row in (before, now)]
    noise = math.sqrt(sum((row.timings[who].spread / 2) ** 2 for row in (before, now) for who in (peer, "nnfast")))
    allowed = max(tolerance, min(2 * noise, 0.5))
    if ratios[1] >= ratios[0] * (1 - allowed):  # NaN is worse
        return []
    return [f"{_named(key)}: {ratios[0]:.2f} of {peer} before, {ratios[1]:.2f} now ({allowed:.0%} is allowed)"]


def _named(key: tuple[str, str, int]) -> str:
    return f"{key[0]}, {key[1]}, {key[2]} thread{'s' * (key[2] > 1)}"
