"""Means and sums over what was seen since the last reset, and the means of functions (y_true, y_pred).

A mean keeps two sums in a buffer that one kernel adds to, so that a training step never waits for a value; `result()`
reads them.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from nnfast import device, losses, ops
from nnfast.metrics.metric import Metric, Result, spread
from nnfast.tape import no_grad
from nnfast.tensor import Tensor, Variable, as_array


class Mean(Metric):
    """The weighted mean of the values seen.

    >>> import nnfast
    >>> m = nnfast.metrics.Mean()
    >>> m.update_state([1.0, 3.0])
    >>> m.result()
    2.0
    """

    def __init__(self, name: str = "mean", dtype: Any = None):
        super().__init__(dtype, name)
        self.sums = Variable(np.zeros(2), False, "float64", f"{self.name}_sums")  # sum of w v, sum of w

    def update_state(self, values: Any, sample_weight: Any = None, scale: float = 1.0) -> None:
        """Adds values (any shape), each weighing sample_weight (of their leading shape), the whole `scale` times."""
        values = values if isinstance(values, Tensor) else Tensor(as_array(values, name=self.name))
        if sample_weight is not None:
            sample_weight = spread(self.name, sample_weight, values.shape)
        ops.accumulate(self.sums, values, sample_weight, scale=scale, status=ops.current_status())

    def result(self) -> Any:
        """The mean so far, 0 before anything was seen."""
        total, weight = device.host(self.sums.data).tolist()
        return Result(total / weight if weight else 0.0)


class Sum(Mean):
    """The weighted sum of the values seen.

    >>> import nnfast
    >>> nnfast.metrics.Sum()([1.0, 3.0])
    4.0
    """

    def __init__(self, name: str = "sum", dtype: Any = None):
        super().__init__(name, dtype)

    def result(self) -> Any:
        return Result(device.host(self.sums.data).tolist()[0])


class MeanMetricWrapper(Mean):
    """The mean of a function (y_true, y_pred) -> one value per sample. What y_pred masks is left out.

    Args:
        fn: the function.
        name: key in logs; default: the function's name.
        **kwargs: passed on to fn.
    """

    def __init__(self, fn: Callable[..., Any], name: str | None = None, dtype: Any = None, **kwargs: Any):
        super().__init__(str(name or getattr(fn, "__name__", "metric")), dtype)
        self._fn, self._kwargs = fn, kwargs

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:  # type: ignore[override]
        with no_grad():
            values = self._fn(y_true, y_pred, **self._kwargs)
            mask = losses.mask_of(y_pred)
            if mask is not None:
                values, sample_weight = self._masked(values, sample_weight, mask)
        super().update_state(values, sample_weight)

    def _masked(self, values: Any, sample_weight: Any, mask: Any) -> tuple[Tensor, Tensor]:
        values = ops.cast(values, "float64")
        counts = spread(self.name, ops.cast(mask, "bool"), values.shape, "float64")
        weights = (
            counts if sample_weight is None else counts * spread(self.name, sample_weight, values.shape, "float64")
        )
        return ops.where(ops.cast(counts, "bool"), values, 0.0), weights

    def get_config(self) -> dict[str, Any]:
        fn = {"fn": self._fn} if type(self) is MeanMetricWrapper else {}
        return {**super().get_config(), **fn, **self._kwargs}


class MeanSquaredError(MeanMetricWrapper):
    """Mean of squared errors."""

    def __init__(self, name: str = "mean_squared_error", dtype: Any = None):
        super().__init__(losses.mean_squared_error, name, dtype)


class RootMeanSquaredError(MeanSquaredError):
    """Root of the mean of squared errors."""

    def __init__(self, name: str = "root_mean_squared_error", dtype: Any = None):
        super().__init__(name, dtype)

    def result(self) -> float:
        return Result(super().result() ** 0.5)


class MeanAbsoluteError(MeanMetricWrapper):
    """Mean of absolute errors."""

    def __init__(self, name: str = "mean_absolute_error", dtype: Any = None):
        super().__init__(losses.mean_absolute_error, name, dtype)


class CategoricalCrossentropy(MeanMetricWrapper):
    """Mean cross-entropy with one-hot targets."""

    def __init__(
        self,
        name: str = "categorical_crossentropy",
        dtype: Any = None,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
    ):
        options = {"from_logits": from_logits, "label_smoothing": label_smoothing, "axis": axis}
        super().__init__(losses.categorical_crossentropy, name, dtype, **options)


class SparseCategoricalCrossentropy(MeanMetricWrapper):
    """Mean cross-entropy with class numbers."""

    def __init__(
        self,
        name: str = "sparse_categorical_crossentropy",
        dtype: Any = None,
        from_logits: bool = False,
        ignore_class: int | None = None,
        axis: int = -1,
    ):
        options = {"from_logits": from_logits, "ignore_class": ignore_class, "axis": axis}
        super().__init__(losses.sparse_categorical_crossentropy, name, dtype, **options)


class BinaryCrossentropy(MeanMetricWrapper):
    """Mean cross-entropy of yes/no targets."""

    def __init__(
        self,
        name: str = "binary_crossentropy",
        dtype: Any = None,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
    ):
        options = {"from_logits": from_logits, "label_smoothing": label_smoothing}
        super().__init__(losses.binary_crossentropy, name, dtype, **options)


class Hinge(MeanMetricWrapper):
    """Mean of `nnfast.losses.hinge`."""

    def __init__(self, name: str = "hinge", dtype: Any = None):
        super().__init__(losses.hinge, name, dtype)


class SquaredHinge(MeanMetricWrapper):
    """Mean of `nnfast.losses.squared_hinge`."""

    def __init__(self, name: str = "squared_hinge", dtype: Any = None):
        super().__init__(losses.squared_hinge, name, dtype)


class CategoricalHinge(MeanMetricWrapper):
    """Mean of `nnfast.losses.categorical_hinge`."""

    def __init__(self, name: str = "categorical_hinge", dtype: Any = None):
        super().__init__(losses.categorical_hinge, name, dtype)


class MeanAbsolutePercentageError(MeanMetricWrapper):
    """Mean of relative errors in percent."""

    def __init__(self, name: str = "mean_absolute_percentage_error", dtype: Any = None):
        super().__init__(losses.mean_absolute_percentage_error, name, dtype)


class MeanSquaredLogarithmicError(MeanMetricWrapper):
    """Mean of squared errors of the logarithms."""

    def __init__(self, name: str = "mean_squared_logarithmic_error", dtype: Any = None):
        super().__init__(losses.mean_squared_logarithmic_error, name, dtype)


class LogCoshError(MeanMetricWrapper):
    """Mean of `nnfast.losses.log_cosh`."""

    def __init__(self, name: str = "logcosh", dtype: Any = None):
        super().__init__(losses.log_cosh, name, dtype)


class KLDivergence(MeanMetricWrapper):
    """Mean of `nnfast.losses.kl_divergence`."""

    def __init__(self, name: str = "kl_divergence", dtype: Any = None):
        super().__init__(losses.kl_divergence, name, dtype)


class Poisson(MeanMetricWrapper):
    """Mean of `nnfast.losses.poisson`."""

    def __init__(self, name: str = "poisson", dtype: Any = None):
        super().__init__(losses.poisson, name, dtype)


def _cosine(y_true: Any, y_pred: Any, axis: int = -1) -> Tensor:
    return -losses.cosine_similarity(y_true, y_pred, axis)


class CosineSimilarity(MeanMetricWrapper):
    """Mean cosine of the angle between target and prediction: 1 for one direction (the loss is minus that)."""

    def __init__(self, name: str = "cosine_similarity", dtype: Any = None, axis: int = -1):
        super().__init__(_cosine, name, dtype, axis=axis)
