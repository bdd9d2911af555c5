"""Losses for numbers: one value per sample, the mean (or sum) over the last axis."""

import math
from typing import Any

from nnfast import config, ops
from nnfast.losses.loss import FunctionLoss, matched
from nnfast.tensor import Tensor


def mean_squared_error(y_true: Any, y_pred: Any) -> Tensor:
    """mean((y_true - y_pred)^2) over the last axis. No factor 1/2.

    >>> import nnfast
    >>> nnfast.losses.mean_squared_error([[0.0, 1.0]], [[0.0, 0.0]]).numpy()
    array([0.5], dtype=float32)
    """
    t, p = matched("mean_squared_error", y_true, y_pred)
    return ops.mean(ops.square(p - t), axis=-1)


def mean_absolute_error(y_true: Any, y_pred: Any) -> Tensor:
    """mean(|y_true - y_pred|) over the last axis.

    >>> import nnfast
    >>> nnfast.losses.mean_absolute_error([[0.0, 1.0]], [[0.0, 3.0]]).numpy()
    array([1.], dtype=float32)
    """
    t, p = matched("mean_absolute_error", y_true, y_pred)
    return ops.mean(ops.abs(p - t), axis=-1)


def mean_absolute_percentage_error(y_true: Any, y_pred: Any) -> Tensor:
    """100 mean(|y_true - y_pred| / max(|y_true|, 1e-7)) over the last axis: a target of 0 makes it huge.

    >>> import nnfast
    >>> nnfast.losses.mean_absolute_percentage_error([[2.0, 4.0]], [[1.0, 4.0]]).numpy()
    array([25.], dtype=float32)
    """
    t, p = matched("mean_absolute_percentage_error", y_true, y_pred)
    return ops.mean(ops.abs((t - p) / ops.maximum(ops.abs(t), config.epsilon())), axis=-1) * 100.0


def mean_squared_logarithmic_error(y_true: Any, y_pred: Any) -> Tensor:
    """mean((log(1 + y_true) - log(1 + y_pred))^2) over the last axis; negative values count as 0.

    >>> import nnfast
    >>> nnfast.losses.mean_squared_logarithmic_error([[0.0]], [[1.718282]]).numpy().round(6)
    array([1.], dtype=float32)
    """
    t, p = matched("mean_squared_logarithmic_error", y_true, y_pred)
    eps = config.epsilon()
    return ops.mean(ops.square(ops.log1p(ops.maximum(p, eps)) - ops.log1p(ops.maximum(t, eps))), axis=-1)


def huber(y_true: Any, y_pred: Any, delta: float = 1.0) -> Tensor:
    """e^2 / 2 where the error e is at most delta, else delta (|e| - delta / 2); mean over the last axis.

    >>> import nnfast
    >>> nnfast.losses.huber([[0.0, 0.0]], [[1.0, 3.0]]).numpy()
    array([1.5], dtype=float32)
    """
    t, p = matched("huber", y_true, y_pred)
    distance = ops.abs(p - t)
    near = ops.less_equal(distance, delta)
    return ops.mean(ops.where(near, ops.square(p - t) * 0.5, distance * delta - 0.5 * delta * delta), axis=-1)


def log_cosh(y_true: Any, y_pred: Any) -> Tensor:
    """mean(log(cosh(e))) over the last axis: e^2 / 2 for small errors e, |e| - log(2) for large ones.

    >>> import nnfast
    >>> nnfast.losses.log_cosh([[0.0]], [[1000.0]]).numpy().round(3)
    array([999.307], dtype=float32)
    """
    t, p = matched("log_cosh", y_true, y_pred)
    e = ops.abs(p - t)
    return ops.mean(e + ops.softplus(e * -2.0) - math.log(2.0), axis=-1)


def poisson(y_true: Any, y_pred: Any) -> Tensor:
    """mean(y_pred - y_true log(y_pred + 1e-7)) over the last axis: for counts, without the terms of y_true alone.

    >>> import nnfast
    >>> nnfast.losses.poisson([[3.0]], [[1.0]]).numpy().round(5)
    array([1.], dtype=float32)
    """
    t, p = matched("poisson", y_true, y_pred)
    return ops.mean(p - t * ops.log(p + config.epsilon()), axis=-1)


def cosine_similarity(y_true: Any, y_pred: Any, axis: int = -1) -> Tensor:
    """Minus the cosine of the angle between the vectors along axis: -1 for one direction, 1 for opposite ones.

    >>> import nnfast
    >>> nnfast.losses.cosine_similarity([[1.0, 0.0]], [[5.0, 0.0]]).numpy()
    array([-1.], dtype=float32)
    """
    t, p = matched("cosine_similarity", y_true, y_pred)
    return -ops.sum(_unit(t, axis) * _unit(p, axis), axis=axis)


def _unit(x: Any, axis: int) -> Tensor:
    return x * ops.rsqrt(ops.maximum(ops.sum(ops.square(x), axis=axis, keepdims=True), config.epsilon() ** 2))


class MeanSquaredError(FunctionLoss):
    """Mean of squared errors, see `mean_squared_error`."""

    def __init__(self, reduction: Any = "sum_over_batch_size", name: str = "mean_squared_error", dtype: Any = None):
        super().__init__(mean_squared_error, reduction, name, dtype)


class MeanAbsoluteError(FunctionLoss):
    """Mean of absolute errors, see `mean_absolute_error`."""

    def __init__(self, reduction: Any = "sum_over_batch_size", name: str = "mean_absolute_error", dtype: Any = None):
        super().__init__(mean_absolute_error, reduction, name, dtype)


class MeanAbsolutePercentageError(FunctionLoss):
    """Mean of relative errors in percent, see `mean_absolute_percentage_error`."""

    def __init__(
        self, reduction: Any = "sum_over_batch_size", name: str = "mean_absolute_percentage_error", dtype: Any = None
    ):
        super().__init__(mean_absolute_percentage_error, reduction, name, dtype)


class MeanSquaredLogarithmicError(FunctionLoss):
    """Mean of squared errors of the logarithms, see `mean_squared_logarithmic_error`."""

    def __init__(
        self, reduction: Any = "sum_over_batch_size", name: str = "mean_squared_logarithmic_error", dtype: Any = None
    ):
        super().__init__(mean_squared_logarithmic_error, reduction, name, dtype)


class Huber(FunctionLoss):
    """Squared for small errors, linear for large ones, see `huber`."""

    def __init__(
        self,
        delta: float = 1.0,
        reduction: Any = "sum_over_batch_size",
        name: str = "huber_loss",
        dtype: Any = None,
    ):
        super().__init__(huber, reduction, name, dtype, delta=delta)


class LogCosh(FunctionLoss):
    """The logarithm of the hyperbolic cosine of the error, see `log_cosh`."""

    def __init__(self, reduction: Any = "sum_over_batch_size", name: str = "log_cosh", dtype: Any = None):
        super().__init__(log_cosh, reduction, name, dtype)


class Poisson(FunctionLoss):
    """For counts, see `poisson`."""

    def __init__(self, reduction: Any = "sum_over_batch_size", name: str = "poisson", dtype: Any = None):
        super().__init__(poisson, reduction, name, dtype)


class CosineSimilarity(FunctionLoss):
    """Minus the cosine of the angle between target and prediction, see `cosine_similarity`."""

    def __init__(
        self,
        axis: int = -1,
        reduction: Any = "sum_over_batch_size",
        name: str = "cosine_similarity",
        dtype: Any = None,
    ):
        super().__init__(cosine_similarity, reduction, name, dtype, axis=axis)
