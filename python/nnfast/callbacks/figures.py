"""Figures of callbacks: matplotlib is imported only when one is drawn, and needs no screen."""

from typing import Any


def new_figure(name: str) -> tuple[Any, Any]:
    """A Figure and its axes."""
    try:
        from matplotlib.figure import Figure
    except ImportError as e:
        raise ImportError(f"[{name}] matplotlib is not installed. Run: pip install 'nnfast[plot]'") from e
    figure = Figure(figsize=(6, 4), layout="constrained")
    return figure, figure.subplots()
