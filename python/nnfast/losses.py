"""Losses, by Keras's rules: a value per sample, then the reduction. A loss never broadcasts."""

from collections.abc import Callable
from typing import Any

import numpy as np

from nnfast import config, ops
from nnfast.saving.serialization import from_identifier, publish
from nnfast.saving.serialization import serialize as serialize
from nnfast.tensor import Tensor, as_array

_REDUCTIONS = ("sum_over_batch_size", "sum", "mean", "none", None)


def matched(name: str, y_true: Any, y_pred: Any) -> tuple[Any, Tensor]:
    """y_true in the dtype and shape of y_pred.

    The one rank fix that Keras makes: ranks that differ by one, where the extra axis has size 1. Every other mismatch
    is an error that says what to do.
    """
    if not isinstance(y_pred, Tensor):
        y_pred = Tensor(_floats(name, y_pred))
    true = y_true if isinstance(y_true, Tensor) else Tensor(as_array(y_true, name=name))
    if true.dtype != y_pred.dtype:
        true = ops.cast(true, y_pred.dtype)
    if true.shape != y_pred.shape:
        if true.ndim == y_pred.ndim + 1 and true.shape[-1] == 1:
            true = ops.reshape(true, true.shape[:-1])
        elif true.ndim + 1 == y_pred.ndim and y_pred.shape[-1] == 1:
            true = ops.reshape(true, (*true.shape, 1))
    if true.shape != y_pred.shape:
        fix = ""
        if true.ndim == 1 and y_pred.ndim == 2 and y_pred.shape[0] == true.shape[0]:
            fix = (
                " Labels that are class numbers need to_categorical(y), or a sparse_categorical_crossentropy loss; "
                "one value per sample needs a last layer with one unit, or y.reshape(-1, 1)."
            )
        elif true.size == y_pred.size:
            fix = f" The sizes agree: y.reshape({y_pred.shape}) would fit."
        raise ValueError(
            f"[{name}] y_true and y_pred must have one shape: a loss does not broadcast. "
            f"Received: y_true.shape={true.shape}, y_pred.shape={y_pred.shape}.{fix}"
        )
    return true, y_pred


def _floats(name: str, x: Any) -> np.ndarray:
    a = as_array(x, name=name)
    return a if a.dtype.kind == "f" else a.astype(config.floatx())


# ---- functions: one value per sample ----


def mean_squared_error(y_true: Any, y_pred: Any) -> Tensor:
    """mean((y_true - y_pred)^2) over the last axis. No factor 1/2.

    >>> import nnfast
    >>> nnfast.losses.mean_squared_error([[0.0, 1.0]], [[0.0, 0.0]]).numpy()
    array([0.5], dtype=float32)
    """
    t, p = matched("mean_squared_error", y_true, y_pred)
    return ops.mean(ops.square(p - t), axis=-1)


def mean_absolute_error(y_true: Any, y_pred: Any) -> Tensor:
    """mean(|y_true - y_pred|) over the last axis."""
    t, p = matched("mean_absolute_error", y_true, y_pred)
    return ops.mean(ops.abs(p - t), axis=-1)


def categorical_crossentropy(
    y_true: Any, y_pred: Any, from_logits: bool = False, label_smoothing: float = 0.0, axis: int = -1
) -> Tensor:
    """-sum(y_true * log(p)) over the classes.

    Args:
        y_true: one-hot rows (or probabilities), (..., classes).
        y_pred: logits, or probabilities. The result of a softmax remembers its logits, and they are used without
            clipping; bare probabilities are divided by their sum and clipped to [1e-7, 1 - 1e-7].
        from_logits: is y_pred logits?
        label_smoothing: e mixes the targets with the uniform distribution: (1 - e) t + e / classes.
        axis: of the classes.
    """
    return _cross_entropy("categorical_crossentropy", y_true, y_pred, from_logits, label_smoothing, axis, None, "none")


def sparse_categorical_crossentropy(
    y_true: Any, y_pred: Any, from_logits: bool = False, ignore_class: int | None = None, axis: int = -1
) -> Tensor:
    """-log(p[y_true]): y_true holds class numbers, (...) or (..., 1). For the rest see `categorical_crossentropy`."""
    return _cross_entropy(
        "sparse_categorical_crossentropy", y_true, y_pred, from_logits, 0.0, axis, ignore_class, "none", sparse=True
    )


def _cross_entropy(
    name: str,
    y_true: Any,
    y_pred: Any,
    from_logits: bool,
    label_smoothing: float,
    axis: int,
    ignore_class: int | None,
    reduction: str,
    sparse: bool = False,
    sample_weight: Any = None,
) -> Tensor:
    p = y_pred if isinstance(y_pred, Tensor) else Tensor(_floats(name, y_pred))
    if axis not in (-1, p.ndim - 1):
        order = [i for i in range(p.ndim) if i != axis % p.ndim] + [axis % p.ndim]
        p = ops.transpose(p, order)
        if not sparse:
            y_true = ops.transpose(y_true, order)
    if sparse:
        true = _class_numbers(name, y_true, p)
    else:
        true = y_true if isinstance(y_true, Tensor) else as_array(y_true, name=name)
        if true.ndim + 1 == p.ndim or (true.ndim == p.ndim and true.shape[-1] == 1 and p.shape[-1] > 1):
            raise ValueError(
                f"[{name}] y_true must be one-hot rows. Received: y_true.shape={true.shape}, y_pred.shape={p.shape}. "
                f"For class numbers use sparse_categorical_crossentropy, or to_categorical(y, {p.shape[-1]})"
            )
        true, p_same = matched(name, true, p)
        p = _keep_logits(p, p_same)
    logits = p if from_logits else getattr(p, "logits", None)
    if logits is None:
        logits = _log_probabilities(p)
    return ops.softmax_xent(
        logits,
        true,
        sample_weight=sample_weight,
        ignore_class=ignore_class,
        label_smoothing=label_smoothing,
        reduction=reduction,
        status=ops.current_status(),
    )


def _keep_logits(p: Tensor, same: Tensor) -> Tensor:
    return p if same.shape == p.shape else same


def _log_probabilities(p: Tensor) -> Tensor:
    """log of probabilities, made to sum to one and clipped: logits whose softmax they are."""
    eps = config.epsilon()
    p = p / ops.sum(p, axis=-1, keepdims=True)
    return ops.log(ops.clip(p, eps, 1.0 - eps))


def _class_numbers(name: str, y_true: Any, p: Tensor) -> Any:
    true = y_true if isinstance(y_true, Tensor) else as_array(y_true, name=name)
    if true.ndim == p.ndim and true.shape[-1] == 1:
        true = ops.reshape(true, true.shape[:-1])
    if true.shape != p.shape[:-1]:
        fix = ""
        if true.shape == p.shape:
            fix = " One-hot rows belong to categorical_crossentropy; for this loss use y.argmax(-1)."
        raise ValueError(
            f"[{name}] y_true must hold one class number per row of y_pred. "
            f"Received: y_true.shape={true.shape}, y_pred.shape={p.shape}.{fix}"
        )
    return true


def binary_crossentropy(
    y_true: Any, y_pred: Any, from_logits: bool = False, label_smoothing: float = 0.0, axis: int = -1
) -> Tensor:
    """mean(-y log(p) - (1 - y) log(1 - p)) over the last axis.

    Args:
        y_true: 0 or 1 (or probabilities), of the shape of y_pred.
        y_pred: logits, or probabilities. The result of a sigmoid remembers its logits, which are used without clipping;
            bare probabilities are clipped to [1e-7, 1 - 1e-7].
        from_logits: is y_pred logits?
        label_smoothing: e moves the targets towards 1/2: (1 - e) y + e / 2.
        axis: over which the mean is taken.
    """
    p = y_pred if isinstance(y_pred, Tensor) else Tensor(_floats("binary_crossentropy", y_pred))
    logits = p if from_logits else getattr(p, "logits", None)
    t, _ = matched("binary_crossentropy", y_true, p)
    if label_smoothing:
        t = t * (1.0 - label_smoothing) + 0.5 * label_smoothing
    if logits is not None:
        return ops.mean(ops.sigmoid_xent(logits, t), axis=axis)
    eps = config.epsilon()
    p = ops.clip(p, eps, 1.0 - eps)
    return ops.mean(-(t * ops.log(p) + (1.0 - t) * ops.log(1.0 - p)), axis=axis)


# ---- classes: with weights and a reduction ----


class Loss:
    """Base class: subclasses define `call(y_true, y_pred)`, one value per sample.

    Args:
        name: shown in logs.
        reduction: "sum_over_batch_size" (mean over all values, also where weights are given), "sum", "mean" (Keras: the
            weighted mean), "none".
        dtype: dtype that targets and predictions are cast to; default: that of the predictions.
    """

    def __init__(self, name: str | None = None, reduction: str | None = "sum_over_batch_size", dtype: Any = None):
        if reduction not in _REDUCTIONS:
            raise ValueError(f"[{type(self).__name__}] reduction must be one of {_REDUCTIONS}. Received: {reduction!r}")
        self.name = name or _snake(type(self).__name__)
        self.reduction, self.dtype = reduction or "none", dtype

    def call(self, y_true: Any, y_pred: Any) -> Tensor:
        raise NotImplementedError(f"[{type(self).__name__}] a loss must define call(y_true, y_pred)")

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Tensor:
        if self.dtype is not None:
            y_pred = ops.cast(y_pred, self.dtype)
        return reduce_weighted(self.name, self.call(y_true, y_pred), sample_weight, self.reduction)

    def get_config(self) -> dict[str, Any]:
        """The arguments that make an equal loss."""
        return {"name": self.name, "reduction": self.reduction}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Loss":
        """The loss that `get_config` described."""
        return cls(**config)


def reduce_weighted(name: str, values: Tensor, sample_weight: Any, reduction: str) -> Tensor:
    """Keras's reduction: sum(w * l) / number of values; "mean" divides by sum(w); "sum"; "none"."""
    if sample_weight is not None:
        w = sample_weight if isinstance(sample_weight, Tensor) else Tensor(as_array(sample_weight, name=name))
        if w.dtype != values.dtype:
            w = ops.cast(w, values.dtype)
        if w.ndim == values.ndim + 1 and w.shape[-1] == 1:
            w = ops.reshape(w, w.shape[:-1])
        if w.shape != values.shape[: w.ndim]:
            raise ValueError(
                f"[{name}] sample_weight must have one weight per value of the loss. "
                f"Received: sample_weight.shape={w.shape}, losses of shape {values.shape}"
            )
        w = ops.reshape(w, (*w.shape, *(1 for _ in range(values.ndim - w.ndim))))
        values = values * w
        if reduction == "mean":
            repeats = values.size // w.size if w.size else 1
            return ops.sum(values) / (ops.sum(w) * float(repeats))
    if reduction == "none":
        return values
    return ops.sum(values) if reduction == "sum" else ops.mean(values)


def _snake(name: str) -> str:
    return "".join("_" + c.lower() if c.isupper() and i else c.lower() for i, c in enumerate(name))


class _FunctionLoss(Loss):
    """A Loss over a function (y_true, y_pred) -> one value per sample."""

    def __init__(self, function: Callable[..., Tensor], name: str | None = None, **kwargs: Any):
        super().__init__(name=name or getattr(function, "__name__", "loss"), **kwargs)
        self.function = function

    def call(self, y_true: Any, y_pred: Any) -> Tensor:
        return self.function(y_true, y_pred)


class MeanSquaredError(Loss):
    """Mean of squared errors, see `mean_squared_error`."""

    def __init__(self, reduction: str = "sum_over_batch_size", name: str = "mean_squared_error", dtype: Any = None):
        super().__init__(name, reduction, dtype)

    def call(self, y_true: Any, y_pred: Any) -> Tensor:
        return mean_squared_error(y_true, y_pred)


class MeanAbsoluteError(Loss):
    """Mean of absolute errors, see `mean_absolute_error`."""

    def __init__(self, reduction: str = "sum_over_batch_size", name: str = "mean_absolute_error", dtype: Any = None):
        super().__init__(name, reduction, dtype)

    def call(self, y_true: Any, y_pred: Any) -> Tensor:
        return mean_absolute_error(y_true, y_pred)


class _CrossEntropy(Loss):
    """What both cross-entropies share: loss, weights and reduction in one kernel where that is possible."""

    sparse = False
    label_smoothing = 0.0
    ignore_class: int | None = None
    from_logits = False
    axis = -1

    def _values(self, y_true: Any, y_pred: Any, reduction: str, sample_weight: Any = None) -> Tensor:
        return _cross_entropy(
            self.name,
            y_true,
            y_pred,
            self.from_logits,
            self.label_smoothing,
            self.axis,
            self.ignore_class,
            reduction,
            self.sparse,
            sample_weight,
        )

    def call(self, y_true: Any, y_pred: Any) -> Tensor:
        return self._values(y_true, y_pred, "none")

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Tensor:
        fused = {"sum_over_batch_size": "mean", "sum": "sum"}.get(self.reduction)
        if fused is None or (self.reduction == "mean" and sample_weight is not None):
            if self.reduction == "mean" and sample_weight is None:
                fused = "mean"
            else:
                return super().__call__(y_true, y_pred, sample_weight)
        if self.dtype is not None:
            y_pred = ops.cast(y_pred, self.dtype)
        return self._values(y_true, y_pred, fused, sample_weight)


class CategoricalCrossentropy(_CrossEntropy):
    """Cross-entropy with one-hot targets, see `categorical_crossentropy`."""

    def __init__(
        self,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str = "sum_over_batch_size",
        name: str = "categorical_crossentropy",
        dtype: Any = None,
    ):
        super().__init__(name, reduction, dtype)
        self.from_logits, self.label_smoothing, self.axis = from_logits, label_smoothing, axis

    def get_config(self) -> dict[str, Any]:
        own = {"from_logits": self.from_logits, "label_smoothing": self.label_smoothing, "axis": self.axis}
        return {**super().get_config(), **own}


class SparseCategoricalCrossentropy(_CrossEntropy):
    """Cross-entropy with class numbers, see `sparse_categorical_crossentropy`."""

    sparse = True

    def __init__(
        self,
        from_logits: bool = False,
        ignore_class: int | None = None,
        reduction: str = "sum_over_batch_size",
        axis: int = -1,
        name: str = "sparse_categorical_crossentropy",
        dtype: Any = None,
    ):
        super().__init__(name, reduction, dtype)
        self.from_logits, self.ignore_class, self.axis = from_logits, ignore_class, axis

    def get_config(self) -> dict[str, Any]:
        own = {"from_logits": self.from_logits, "ignore_class": self.ignore_class, "axis": self.axis}
        return {**super().get_config(), **own}


class BinaryCrossentropy(Loss):
    """Cross-entropy of yes/no targets, see `binary_crossentropy`."""

    def __init__(
        self,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str = "sum_over_batch_size",
        name: str = "binary_crossentropy",
        dtype: Any = None,
    ):
        super().__init__(name, reduction, dtype)
        self.from_logits, self.label_smoothing, self.axis = from_logits, label_smoothing, axis

    def call(self, y_true: Any, y_pred: Any) -> Tensor:
        return binary_crossentropy(y_true, y_pred, self.from_logits, self.label_smoothing, self.axis)

    def get_config(self) -> dict[str, Any]:
        own = {"from_logits": self.from_logits, "label_smoothing": self.label_smoothing, "axis": self.axis}
        return {**super().get_config(), **own}


_CLASSES = (
    MeanSquaredError,
    MeanAbsoluteError,
    CategoricalCrossentropy,
    SparseCategoricalCrossentropy,
    BinaryCrossentropy,
)
_BY_NAME: dict[str, Any] = {c.__name__: c for c in _CLASSES} | {_snake(c.__name__): c for c in _CLASSES}
_BY_NAME |= {"mse": MeanSquaredError, "MSE": MeanSquaredError, "mae": MeanAbsoluteError, "MAE": MeanAbsoluteError}
_BY_NAME |= {"bce": BinaryCrossentropy, "BCE": BinaryCrossentropy}

publish("losses", {c.__name__: c for c in (*_CLASSES, Loss)})
publish(
    "losses",
    {
        f.__name__: f
        for f in (
            mean_squared_error,
            mean_absolute_error,
            categorical_crossentropy,
            sparse_categorical_crossentropy,
            binary_crossentropy,
        )
    },
)


def deserialize(config: Any, custom_objects: dict[str, Any] | None = None) -> Any:
    """The Loss or function that `serialize` described; names in custom_objects come first."""
    return from_identifier("loss", config, None, custom_objects)


def get(identifier: Any) -> Loss | None:
    """A Loss from a name (`"mse"`), a config dict, a function (y_true, y_pred), or a Loss (returned as it is)."""
    if identifier is None or isinstance(identifier, Loss):
        return identifier
    if isinstance(identifier, str):
        if identifier not in _BY_NAME:
            known = ", ".join(sorted({_snake(c.__name__) for c in _CLASSES}))
            raise ValueError(f"[losses] unknown loss. Known: {known}, mse, mae, bce. Received: {identifier!r}")
        return _BY_NAME[identifier]()
    if isinstance(identifier, dict):
        return get(deserialize(identifier))
    if isinstance(identifier, type) and issubclass(identifier, Loss):
        return identifier()
    if callable(identifier):
        return _FunctionLoss(identifier)
    raise ValueError(f"[losses] a loss is a name, a config, a function or a Loss. Received: {identifier!r}")
