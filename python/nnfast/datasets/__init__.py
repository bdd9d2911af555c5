"""Data sets: `digits` comes with the package; the others are found on this machine or downloaded."""

import importlib
from typing import Any

__all__ = ["california_housing", "cifar10", "digits", "fashion_mnist", "imdb", "mnist"]


def __getattr__(name: str) -> Any:
    """Import a data set when it is first asked for, so that `import nnfast` does not pay for it."""
    if name in __all__:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
