"""Hinge losses, of which support vector machines are made: only what is on the wrong side of a margin of 1 costs."""

from typing import Any

from nnfast import ops
from nnfast.losses.loss import FunctionLoss, matched
from nnfast.tensor import Tensor


def _signs(t: Any) -> Tensor:
    """Targets -1 and 1 as they are; if all are 0 or 1, they become -1 and 1 (Keras's rule)."""
    other = ops.logical_not(ops.logical_or(ops.equal(t, 0.0), ops.equal(t, 1.0)))
    return ops.where(ops.max(ops.cast(other, t.dtype)), t, t * 2.0 - 1.0) if t.size else t


def hinge(y_true: Any, y_pred: Any) -> Tensor:
    """mean(max(1 - y_true y_pred, 0)) over the last axis. Targets are -1 and 1; a batch of only 0 and 1 is converted.

    >>> import nnfast
    >>> nnfast.losses.hinge([[-1.0, 1.0]], [[0.5, 2.0]]).numpy()
    array([0.75], dtype=float32)
    """
    t, p = matched("hinge", y_true, y_pred)
    return ops.mean(ops.relu(1.0 - _signs(t) * p), axis=-1)


def squared_hinge(y_true: Any, y_pred: Any) -> Tensor:
    """mean(max(1 - y_true y_pred, 0)^2) over the last axis. Targets as in `hinge`.

    >>> import nnfast
    >>> nnfast.losses.squared_hinge([[-1.0, 1.0]], [[1.0, 2.0]]).numpy()
    array([2.], dtype=float32)
    """
    t, p = matched("squared_hinge", y_true, y_pred)
    return ops.mean(ops.square(ops.relu(1.0 - _signs(t) * p)), axis=-1)


def categorical_hinge(y_true: Any, y_pred: Any) -> Tensor:
    """max(1 + the largest prediction of a wrong class - that of the right one, 0), for one-hot rows.

    >>> import nnfast
    >>> nnfast.losses.categorical_hinge([[0.0, 1.0]], [[0.25, 0.75]]).numpy()
    array([0.5], dtype=float32)
    """
    t, p = matched("categorical_hinge", y_true, y_pred)
    return ops.relu(ops.max((1.0 - t) * p, axis=-1) - ops.sum(t * p, axis=-1) + 1.0)


class Hinge(FunctionLoss):
    """The loss of support vector machines, see `hinge`."""

    def __init__(self, reduction: Any = "sum_over_batch_size", name: str = "hinge", dtype: Any = None):
        super().__init__(hinge, reduction, name, dtype)


class SquaredHinge(FunctionLoss):
    """Hinge, squared, see `squared_hinge`."""

    def __init__(self, reduction: Any = "sum_over_batch_size", name: str = "squared_hinge", dtype: Any = None):
        super().__init__(squared_hinge, reduction, name, dtype)


class CategoricalHinge(FunctionLoss):
    """Hinge for one-hot targets, see `categorical_hinge`."""

    def __init__(self, reduction: Any = "sum_over_batch_size", name: str = "categorical_hinge", dtype: Any = None):
        super().__init__(categorical_hinge, reduction, name, dtype)
