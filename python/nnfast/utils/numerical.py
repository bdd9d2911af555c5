"""Small NumPy helpers for preparing data."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from nnfast import config

__all__ = ["normalize", "to_categorical"]


def to_categorical(x: Any, num_classes: int | None = None) -> np.ndarray:
    """One-hot rows from class numbers.

    Args:
        x: class numbers from 0, of any shape; a last dimension of size 1 is dropped. Floats must be whole numbers.
        num_classes: the length of a row; by default the largest number plus one.

    Returns:
        A new array of shape ``x.shape + (num_classes,)`` and of the default float type, float32. (Keras returns
        float64; but labels are there to meet predictions, and in nnfast float64 with float32 is an error.)

    Raises:
        ValueError: a value is negative, too large, NaN or not whole: the first such sample is named; or `x` is empty
            and `num_classes` is not given.
        TypeError: `x` does not hold numbers, or `num_classes` is not an integer.

    >>> to_categorical([0, 2, 1])
    array([[1., 0., 0.],
           [0., 0., 1.],
           [0., 1., 0.]], dtype=float32)
    """
    labels = np.asarray(x)
    if labels.size and labels.dtype.kind not in "biuf":
        raise TypeError(f"[to_categorical] x must hold class numbers. Received: dtype {labels.dtype}")
    if labels.ndim > 1 and labels.shape[-1] == 1:
        labels = labels[..., 0]
    if num_classes is not None:
        if isinstance(num_classes, (bool, np.bool_)) or not hasattr(num_classes, "__index__"):
            raise TypeError(f"[to_categorical] num_classes must be an integer. Received: num_classes={num_classes!r}")
        num_classes = operator.index(num_classes)
        if num_classes < 1:
            raise ValueError(f"[to_categorical] num_classes must be at least 1. Received: num_classes={num_classes}")
    elif not labels.size:
        raise ValueError(f"[to_categorical] without num_classes, x must not be empty. Received: x.shape={labels.shape}")
    limit = num_classes or 1 << 31  # a class number beyond int32 is a mistake, not a row of that length
    _refuse(labels, ~((labels >= 0) & (labels < limit)), f"must lie in 0 to {limit - 1}")  # NaN fails both
    if labels.dtype.kind == "f":
        _refuse(labels, labels != np.floor(labels), "must be a whole number")
    labels = labels.astype(np.int64)
    rows = num_classes or int(labels.max()) + 1
    one_hot = np.zeros((labels.size, rows), config.floatx())
    one_hot[np.arange(labels.size), labels.reshape(-1)] = 1
    return one_hot.reshape(*labels.shape, rows)


def _refuse(labels: np.ndarray, wrong: np.ndarray, rule: str) -> None:
    """Raise for the first label that is marked wrong."""
    if wrong.any():
        at = np.unravel_index(int(np.argmax(wrong)), wrong.shape)
        sample = ", ".join(map(str, at)) or "0"
        raise ValueError(f"[to_categorical] a class number {rule}. Received: x[{sample}]={labels[at]}")


def normalize(x: Any, axis: int = -1, order: float = 2) -> np.ndarray:
    """Divide by the vector norm along one axis; where the norm is 0, values stay as they are.

    Args:
        x: numbers of any shape with at least one dimension.
        axis: the axis along which a vector lies.
        order: the order of the norm, as in `numpy.linalg.norm`.

    Returns:
        A new array of x's shape and float dtype (float64 for integers). The norm is computed in float64, so float32
        values whose squares overflow are right as well.

    Raises:
        IndexError: `axis` is out of range (NumPy's AxisError, also a ValueError).
        TypeError: `x` does not hold real numbers, or `axis` is not one integer.

    >>> normalize([[3.0, 4.0], [0.0, 0.0]])
    array([[0.6, 0.8],
           [0. , 0. ]])
    """
    values = np.asarray(x)
    if values.dtype.kind not in "biuf":
        raise TypeError(f"[normalize] x must hold real numbers. Received: dtype {values.dtype}")
    norm = np.linalg.norm(values.astype(np.float64), order, operator.index(axis), keepdims=True)
    norm[norm == 0] = 1
    return (values / norm).astype(values.dtype if values.dtype.kind == "f" else np.float64)
