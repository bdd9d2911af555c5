"""The ladder on the roofline of this machine. Needs matplotlib: `pip install 'nnfast[plot]'`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from nnfast.ladder.timing import Race, who

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def roofline(race: Race) -> Figure:
    """A Figure: what each number of threads can do at best, and where the rungs stand.

    Horizontal: operations per byte that must move. Vertical: GFLOP/s. Both logarithmic. Left of the corner memory is
    the roof, right of it arithmetic.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ValueError("[ladder] --plot needs matplotlib: pip install 'nnfast[plot]'") from None
    figure = Figure(figsize=(8, 6), layout="constrained")
    axes: Any = figure.subplots()
    here = race.operations / race.traffic
    span = np.logspace(np.log10(min(here, 0.1) / 2), np.log10(max(here, 30) * 12), 200)
    for count, peak in race.peaks.items():
        roof = np.minimum(peak["operations"], span * peak["bytes"]) / 1e9
        axes.plot(span, roof, label=f"limit of {who(count)}")
    slowest, fastest = (f(r.seconds for r in race.results) for f in (max, min))
    gap = 0.06 + 0.025 * math.log10(slowest / fastest)
    for ours, side in ((True, 1), (False, -1)):  # the rungs' names to the right, NumPy and a student's file to the left
        results = sorted((r for r in race.results if (r.number is not None) == ours), key=lambda r: -r.seconds)
        heights = _apart([math.log10(race.operations / r.seconds / 1e9) for r in results], gap)
        for r, height in zip(results, heights):
            speed = race.operations / r.seconds / 1e9
            color = "black" if ours else "tab:red"
            axes.plot([here], [speed], marker="o" if ours else "D", color=color, linestyle="none", markersize=5)
            axes.annotate(
                f"{r.number} {r.title}" if ours else r.title,
                (here, speed),
                (here * 10 ** (0.2 * side), 10**height),
                va="center",
                ha="left" if ours else "right",
                fontsize=8,
                color=color,
                arrowprops={"arrowstyle": "-", "linewidth": 0.5, "color": color},
            )
    axes.set(xscale="log", yscale="log", xlabel="operations per byte", ylabel="GFLOP/s")
    axes.set_title(f"{race.op} {' x '.join(map(str, race.sizes))}, float32: {race.cpu}, {race.isa}", fontsize=10)
    axes.grid(alpha=0.3)
    axes.legend(loc="upper left")
    return figure


def _apart(heights: list[float], gap: float) -> list[float]:
    """Rising numbers, moved up where they are closer than the gap."""
    moved: list[float] = []
    for height in heights:
        moved.append(max(height, moved[-1] + gap) if moved else height)
    return moved
