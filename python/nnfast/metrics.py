"""Metrics: running means over the samples seen since the last reset, by Keras's rules.

A metric keeps two sums in a buffer that one kernel adds to, so that a training step never waits for a value; `result()`
reads them.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from nnfast import losses, ops
from nnfast.naming import to_snake_case
from nnfast.saving.serialization import from_identifier, publish
from nnfast.saving.serialization import serialize as serialize
from nnfast.tape import no_grad
from nnfast.tensor import Tensor, Variable, as_array


class Metric:
    """Base class: subclasses define `update_state`, `result`, `reset_state`.

    Args:
        dtype: accepted for Keras's sake; sums are always float64.
        name: key in logs and history.
    """

    def __init__(self, dtype: Any = None, name: str | None = None):
        self.name, self.dtype = name or to_snake_case(type(self).__name__), dtype

    def update_state(self, *args: Any, **kwargs: Any) -> None:
        raise NotImplementedError(f"[{type(self).__name__}] a metric must define update_state")

    def result(self) -> Any:
        raise NotImplementedError(f"[{type(self).__name__}] a metric must define result")

    def reset_state(self) -> None:
        raise NotImplementedError(f"[{type(self).__name__}] a metric must define reset_state")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Updates with these values and returns the result so far."""
        self.update_state(*args, **kwargs)
        return self.result()

    def get_config(self) -> dict[str, Any]:
        """The arguments that make an equal metric."""
        return {"name": self.name}


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
            sample_weight = _spread(self.name, sample_weight, values.shape)
        ops.accumulate(self.sums, values, sample_weight, scale=scale, status=ops.current_status())

    def result(self) -> float:
        """The mean so far, 0 before anything was seen."""
        total, weight = self.sums.data.tolist()
        return total / weight if weight else 0.0

    def reset_state(self) -> None:
        """Forgets what was seen."""
        self.sums.assign(np.zeros(2))


class Sum(Mean):
    """The weighted sum of the values seen."""

    def __init__(self, name: str = "sum", dtype: Any = None):
        super().__init__(name, dtype)

    def result(self) -> float:
        return self.sums.data.tolist()[0]


def _spread(name: str, weight: Any, shape: tuple[int, ...]) -> Tensor:
    """Weights of the shape of the values: (N,), (N, 1) or the full shape."""
    w = weight if isinstance(weight, Tensor) else Tensor(as_array(weight, name=name))
    if w.ndim == len(shape) + 1 and w.shape[-1] == 1:
        w = ops.reshape(w, w.shape[:-1])
    if w.shape != shape[: w.ndim]:
        raise ValueError(
            f"[{name}] sample_weight must have one weight per sample. "
            f"Received: sample_weight.shape={w.shape}, values of shape {shape}"
        )
    w = ops.reshape(w, (*w.shape, *(1 for _ in shape[w.ndim :])))
    return ops.broadcast_to(w, shape)


class MeanMetricWrapper(Mean):
    """The mean of a function (y_true, y_pred) -> one value per sample.

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
        super().update_state(values, sample_weight)

    def get_config(self) -> dict[str, Any]:
        return {"name": self.name, **self._kwargs}


# ---- functions: one value per sample ----


def _pair(y_true: Any, y_pred: Any) -> tuple[Any, Any]:
    t, p = (v if isinstance(v, Tensor) else Tensor(as_array(v)) for v in (y_true, y_pred))
    return t, p


def _class_numbers(p: Tensor, dtype: Any) -> Tensor:
    """Where the largest of each row stands, as floats: kernels compare them, as everything in a training step."""
    return ops.cast(ops.argmax(p, axis=-1), dtype)


def accuracy(y_true: Any, y_pred: Any) -> Tensor:
    """1 where y_pred equals y_true, else 0."""
    return ops.equal(*losses.matched("accuracy", y_true, y_pred))


def categorical_accuracy(y_true: Any, y_pred: Any) -> Tensor:
    """Is the largest prediction where the one-hot target has its 1? (the first of equals)"""
    t, p = _pair(y_true, y_pred)
    if t.shape != p.shape:
        raise ValueError(
            f"[categorical_accuracy] one-hot targets have the shape of the predictions. "
            f"Received: y_true.shape={t.shape}, y_pred.shape={p.shape}. "
            "For class numbers use sparse_categorical_accuracy"
        )
    return ops.equal(_class_numbers(t, "float64"), _class_numbers(p, "float64"))


def sparse_categorical_accuracy(y_true: Any, y_pred: Any) -> Tensor:
    """Is the largest prediction at the class number y_true, (...) or (..., 1)?"""
    t, p = _pair(y_true, y_pred)
    if t.ndim == p.ndim and t.shape[-1] == 1:
        t = ops.reshape(t, t.shape[:-1])
    if t.shape != p.shape[:-1]:
        raise ValueError(
            f"[sparse_categorical_accuracy] one class number per row of y_pred is needed. "
            f"Received: y_true.shape={t.shape}, y_pred.shape={p.shape}. For one-hot targets use categorical_accuracy"
        )
    return ops.equal(t, _class_numbers(p, t.dtype if t.dtype.kind == "f" else "float64"))


def binary_accuracy(y_true: Any, y_pred: Any, threshold: float = 0.5) -> Tensor:
    """Is (y_pred > threshold) equal to y_true? Mean over the last axis."""
    t, p = losses.matched("binary_accuracy", y_true, y_pred)
    hit = ops.cast(ops.equal(t, ops.cast(ops.greater(p, threshold), p.dtype)), p.dtype)
    return ops.mean(hit, axis=-1)


# ---- classes ----


class Accuracy(MeanMetricWrapper):
    """How often predictions equal targets."""

    def __init__(self, name: str = "accuracy", dtype: Any = None):
        super().__init__(accuracy, name, dtype)


class CategoricalAccuracy(MeanMetricWrapper):
    """Accuracy with one-hot targets."""

    def __init__(self, name: str = "categorical_accuracy", dtype: Any = None):
        super().__init__(categorical_accuracy, name, dtype)


class SparseCategoricalAccuracy(MeanMetricWrapper):
    """Accuracy with class numbers."""

    def __init__(self, name: str = "sparse_categorical_accuracy", dtype: Any = None):
        super().__init__(sparse_categorical_accuracy, name, dtype)


class BinaryAccuracy(MeanMetricWrapper):
    """Accuracy of yes/no predictions."""

    def __init__(self, name: str = "binary_accuracy", dtype: Any = None, threshold: float = 0.5):
        super().__init__(binary_accuracy, name, dtype, threshold=threshold)


class MeanSquaredError(MeanMetricWrapper):
    """Mean of squared errors."""

    def __init__(self, name: str = "mean_squared_error", dtype: Any = None):
        super().__init__(losses.mean_squared_error, name, dtype)


class RootMeanSquaredError(MeanSquaredError):
    """Root of the mean of squared errors."""

    def __init__(self, name: str = "root_mean_squared_error", dtype: Any = None):
        super().__init__(name, dtype)

    def result(self) -> float:
        return super().result() ** 0.5


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


class _ByShape(Mean):
    """'accuracy' and 'crossentropy': which metric it is shows when the first shapes are seen (Keras's rule).

    Predictions with a last axis of 1 are binary; targets of lower rank, or with a last axis of 1, are class numbers;
    everything else is one-hot.
    """

    def __init__(self, name: str, functions: tuple[Any, Any, Any]):
        super().__init__(name)
        self._functions = functions

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:  # type: ignore[override]
        t, p = _pair(y_true, y_pred)
        binary, sparse, categorical = self._functions
        if p.ndim == 0 or p.shape[-1] == 1:
            f = binary
        elif t.ndim < p.ndim or t.shape[-1] == 1:
            f = sparse
        else:
            f = categorical
        with no_grad():
            values = f(t, y_pred)
        super().update_state(values, sample_weight)


_CLASSES = (
    Mean,
    Sum,
    Accuracy,
    CategoricalAccuracy,
    SparseCategoricalAccuracy,
    BinaryAccuracy,
    MeanSquaredError,
    RootMeanSquaredError,
    MeanAbsoluteError,
    CategoricalCrossentropy,
    SparseCategoricalCrossentropy,
    BinaryCrossentropy,
)
_BY_NAME: dict[str, Any] = {c.__name__: c for c in _CLASSES} | {to_snake_case(c.__name__): c for c in _CLASSES}
_SHORT = {"mse": MeanSquaredError, "mae": MeanAbsoluteError, "rmse": RootMeanSquaredError}
_ACCURACY = (binary_accuracy, sparse_categorical_accuracy, categorical_accuracy)
_CROSSENTROPY = (
    losses.binary_crossentropy,
    losses.sparse_categorical_crossentropy,
    losses.categorical_crossentropy,
)

publish("metrics", {c.__name__: c for c in (*_CLASSES, Metric, MeanMetricWrapper)})
publish(
    "metrics",
    {f.__name__: f for f in (accuracy, categorical_accuracy, sparse_categorical_accuracy, binary_accuracy)},
)


def deserialize(config: Any, custom_objects: dict[str, Any] | None = None) -> Any:
    """The Metric or function that `serialize` described; names in custom_objects come first."""
    return from_identifier("metric", config, None, custom_objects)


def get(identifier: Any) -> Metric:
    """A Metric from a name, a config, a function (y_true, y_pred) or a Metric (returned as it is).

    `"accuracy"`, `"acc"`, `"crossentropy"` and `"ce"` choose by the shapes that they see; the key in the history is the
    name as given.
    """
    if isinstance(identifier, Metric):
        return identifier
    if isinstance(identifier, str):
        if identifier in ("accuracy", "acc"):
            return _ByShape(identifier, _ACCURACY)
        if identifier in ("crossentropy", "ce"):
            return _ByShape(identifier, _CROSSENTROPY)
        if identifier.lower() in _SHORT:
            return _SHORT[identifier.lower()](name=identifier)
        if identifier in _BY_NAME:
            return _BY_NAME[identifier]()
        known = ", ".join(sorted(to_snake_case(c.__name__) for c in _CLASSES))
        raise ValueError(f"[metrics] unknown metric. Known: accuracy, acc, {known}, mse, mae. Received: {identifier!r}")
    if isinstance(identifier, dict):
        return get(deserialize(identifier))
    if isinstance(identifier, type) and issubclass(identifier, Metric):
        return identifier()
    if callable(identifier):
        return MeanMetricWrapper(identifier)
    raise ValueError(f"[metrics] a metric is a name, a function or a Metric. Received: {identifier!r}")
