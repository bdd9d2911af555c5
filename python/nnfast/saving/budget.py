"""What a file may ask for: while a model is made from one, its weights are no larger than what the file holds.

Nothing is allocated, and no initial value is drawn, for a size that only the file's word stands for.
"""

import contextlib
import contextvars
import math
from collections.abc import Iterator
from typing import Any

import numpy as np


class _Budget:
    def __init__(self, numbers: int):
        self.left = numbers


_current: contextvars.ContextVar[_Budget | None] = contextvars.ContextVar("budget", default=None)


@contextlib.contextmanager
def limited(numbers: int) -> Iterator[None]:
    """Inside of it, weights begin as zeros, and all together have at most so many numbers."""
    token = _current.set(_Budget(numbers))
    try:
        yield
    finally:
        _current.reset(token)


def blank(shape: tuple[int, ...], dtype: Any) -> np.ndarray | None:
    """Zeros for a weight that a file will fill; None where no file is being loaded.

    Raises:
        ValueError: the file does not hold so many numbers.
    """
    budget = _current.get()
    if budget is None:
        return None
    budget.left -= math.prod(shape)
    if budget.left < 0:
        raise ValueError(
            "[load] the model in the file has more weights than the file holds values. "
            f"Received: a weight of shape {shape}"
        )
    return np.zeros(shape, dtype)
