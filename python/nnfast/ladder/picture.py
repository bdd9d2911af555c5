"""The ladder on the roofline of this machine. Needs matplotlib: `pip install 'nnfast[plot]'`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nnfast.ladder.timing import Race

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
    span = np.logspace(np.log10(min(here, 0.1) / 2), np.log10(max(here, 100) * 4), 200)
    for count, peak in race.peaks.items():
        roof = np.minimum(peak["operations"], span * peak["bytes"]) / 1e9
        axes.plot(span, roof, label=f"limit of {count} thread{'s' if count != '1' else ''}")
    for r in race.results:
        speed = race.operations / r.seconds / 1e9
        ours = r.number is not None
        style = {"marker": "o", "color": "black"} if ours else {"marker": "D", "color": "tab:red"}
        axes.plot([here], [speed], linestyle="none", markersize=5, **style)
        label, offset, side = (f"{r.number} {r.title}", 8, "left") if ours else (r.title, -8, "right")
        axes.annotate(label, (here, speed), (offset, 0), textcoords="offset points", va="center", ha=side, fontsize=8)
    axes.set(xscale="log", yscale="log", xlabel="operations per byte", ylabel="GFLOP/s")
    axes.set_title(f"{race.op} {' x '.join(map(str, race.sizes))}, float32: {race.cpu}, {race.isa}", fontsize=10)
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    return figure
