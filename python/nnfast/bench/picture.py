"""Results as a picture: kernels on the roofline, ops by their share of the limit, fits and steps as bars.

Needs matplotlib: `pip install 'nnfast[plot]'`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nnfast.bench.report import rows_of
from nnfast.bench.timing import Row

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ROOFS = ("gemm", "conv2d")
LIMITED = (*ROOFS, "ops")  # are drawn against the limits of the machine


def draw(result: dict[str, Any]) -> Figure:
    """A Figure with one part for each section, of the largest number of threads that was measured."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ValueError("[bench] --plot needs matplotlib: pip install 'nnfast[plot]'") from None
    parts = {}
    for name in result["sections"]:
        rows = [row for (part, _, _), row in rows_of(result).items() if part == name]
        needs = {"gigaflops", "gigabytes"} if name in ROOFS else set()
        held = [r for r in rows if name not in LIMITED or (r.peaks and needs <= r.peaks.keys())]
        shown = [r for r in held if r.threads == max(r.threads for r in rows)]
        if shown:
            parts[name] = shown
    if not parts:
        raise ValueError("[bench] --plot has nothing to draw: no row was held to the limits of the machine")
    heights = [5.0 if name in ROOFS else 1.2 + 0.24 * _bars(name, rows) for name, rows in parts.items()]
    figure = Figure(figsize=(9, sum(heights)), layout="constrained")
    axes = figure.subplots(len(parts), 1, squeeze=False, gridspec_kw={"height_ratios": heights})[:, 0]
    m = result["machine"]
    figure.suptitle(m["gpu"] if "gpu" in m else f"{m['cpu']}, {m['isa']}", fontsize=10)
    for (name, rows), one in zip(parts.items(), axes):
        if name in ROOFS:
            _roofline(one, name, rows)
        elif name == "ops":
            _shares(one, rows)
        else:
            _times(one, name, rows)
    return figure


def _bars(name: str, rows: list[Row]) -> int:
    return len(rows) if name == "ops" else sum(len(r.timings) + 1 for r in rows)


def _title(name: str, rows: list[Row]) -> str:
    return f"{name}, {rows[0].threads} thread{'s' * (rows[0].threads > 1)}"


def _roofline(axes: Any, name: str, rows: list[Row]) -> None:
    """Across: operations for each byte that must move. Up: GFLOP/s of nnfast and of the best peer."""
    shown = [r for r in rows if r.gigaflop and r.gigabyte]
    across = np.array([r.gigaflop / r.gigabyte for r in shown])  # type: ignore[operator]
    span = np.logspace(np.log10(across.min() / 2), np.log10(across.max() * 2), 100)
    top = float(np.median([r.peaks["gigaflops"] for r in shown]))
    for label, choose in (("slowest copy", min), ("fastest copy", max)):
        bytes_ = choose(r.peaks["gigabytes"] for r in shown)
        axes.plot(span, np.minimum(top, span * bytes_), lw=1, label=f"limit, {label}: {bytes_:.0f} GB/s")
    peers = [r for r in shown if r.best_peer]
    axes.plot(
        [r.gigaflop / r.gigabyte for r in peers],  # type: ignore[operator]
        [r.gigaflop / r.timings[r.best_peer or ""].seconds for r in peers],  # type: ignore[operator]
        "D", color="tab:red", markersize=4, linestyle="none", label="best peer",
    )  # fmt: skip
    speeds = [r.gigaflop / r.timings["nnfast"].seconds for r in shown]  # type: ignore[operator]
    axes.plot(across, speeds, "o", color="black", markersize=5, linestyle="none", label="nnfast")
    if len(shown) <= 20:
        for r, x, y in zip(shown, across, speeds):
            axes.annotate(r.name, (x, y), (4, 4), textcoords="offset points", fontsize=6)
    axes.set(xscale="log", yscale="log", xlabel="operations per byte", ylabel="GFLOP/s", title=_title(name, shown))
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right", fontsize=7)


def _shares(axes: Any, rows: list[Row]) -> None:
    """How much of the limit nnfast and the best peer reach, row by row."""
    shown = [r for r in rows if r.share is not None][::-1]
    places = np.arange(len(shown))
    axes.barh(places, [r.share for r in shown], color="tab:blue", height=0.7, label="nnfast")
    peers = [(i, r.share / r.ratio) for i, r in enumerate(shown) if r.share and r.ratio]
    axes.plot([s for _, s in peers], [i for i, _ in peers], "D", color="tab:red", markersize=4, label="best peer")
    axes.axvline(1, color="black", lw=1)
    axes.set_yticks(places, [r.name for r in shown], fontsize=6)
    axes.set(xlabel="share of the measured limit", title=_title("ops", rows), ylim=(-0.7, len(shown) - 0.3))
    axes.legend(fontsize=7)


def _times(axes: Any, name: str, rows: list[Row]) -> None:
    """A bar for each contender, in microseconds."""
    at, ticks = 0, []
    for r in reversed(rows):
        for who, t in sorted(r.timings.items(), key=lambda item: -item[1].seconds):
            ours = who.startswith("nnfast")
            axes.barh(at, t.seconds * 1e6, xerr=t.seconds * 5e5 * t.spread, color="tab:blue" if ours else "tab:gray")
            ticks.append((at, f"{r.name}: {who}"))
            at += 1
        at += 1
    axes.set_yticks([a for a, _ in ticks], [text for _, text in ticks], fontsize=6)
    axes.set(xscale="log", xlabel="µs for a step", title=_title(name, rows))
    axes.grid(alpha=0.3, axis="x")
