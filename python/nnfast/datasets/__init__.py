"""Data sets: `digits` comes with the package; others are found on this machine or downloaded, or made by a formula."""

import importlib
from typing import Any

_GENERATORS = ("blobs", "moons", "spiral")

__all__ = [
    "blobs",
    "california_housing",
    "cifar10",
    "digits",
    "fashion_mnist",
    "generators",
    "imdb",
    "mnist",
    "moons",
    "spiral",
]


def __getattr__(name: str) -> Any:
    """Import a data set when it is first asked for, so that `import nnfast` does not pay for it."""
    if name in _GENERATORS:
        return getattr(importlib.import_module(f"{__name__}.generators"), name)
    if name in __all__:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
