"""What losses share: targets that fit predictions, the base class, weights, masks and the reduction."""

from collections.abc import Callable
from typing import Any

import numpy as np

from nnfast import config, graph, ops
from nnfast.naming import to_snake_case
from nnfast.tensor import Tensor, as_array

REDUCTIONS = ("sum_over_batch_size", "mean", "mean_with_sample_weight", "sum", "none", None)


def predictions(name: str, y_pred: Any) -> Tensor:
    """y_pred as a float Tensor; what it remembers (logits, mask) stays with it."""
    if isinstance(y_pred, Tensor):
        return y_pred if y_pred.dtype.kind == "f" else ops.cast(y_pred, config.floatx())
    a = as_array(y_pred, name=name)
    return Tensor(a if a.dtype.kind == "f" else a.astype(config.floatx()))


def matched(name: str, y_true: Any, y_pred: Any) -> tuple[Any, Tensor]:
    """y_true in the dtype and shape of y_pred.

    The one rank fix that Keras makes: ranks that differ by one, where the extra axis has size 1. Every other mismatch
    is an error that says what to do.
    """
    y_pred = predictions(name, y_pred)
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
        elif true.ndim == 2 < y_pred.ndim and true.shape[0] == y_pred.shape[0]:
            fix = " Is a Flatten() missing before the last Dense layers?"
        elif true.shape[:-1] == y_pred.shape[:-1]:
            fix = f" The last layer must give {true.shape[-1]} numbers, as many as y_true has."
        elif true.size == y_pred.size:
            fix = f" The sizes agree: y.reshape({y_pred.shape}) would fit."
        raise ValueError(
            f"[{name}] y_true and y_pred must have one shape: a loss does not broadcast. "
            f"Received: y_true.shape={true.shape}, y_pred.shape={y_pred.shape}.{fix}"
        )
    return true, y_pred


class Loss(graph.Watched):
    """Base class: subclasses define `call(y_true, y_pred)`, one value per sample.

    Args:
        name: shown in logs.
        reduction: of the values l with weights w: "sum_over_batch_size" or "mean", sum(w l) / number of values;
            "mean_with_sample_weight", sum(w l) / sum(w); "sum"; "none" or None, the values as they are. Masked values
            are left out, and out of the number.
        dtype: dtype that targets and predictions are cast to; default: that of the predictions.

    >>> import nnfast
    >>> class Cubed(nnfast.losses.Loss):
    ...     def call(self, y_true, y_pred):
    ...         return nnfast.ops.mean(nnfast.ops.abs(y_pred - y_true) ** 3, axis=-1)
    >>> Cubed()([[0.0]], nnfast.tensor([[2.0]])).item()
    8.0
    """

    def __init__(self, name: str | None = None, reduction: str | None = "sum_over_batch_size", dtype: Any = None):
        if reduction not in REDUCTIONS:
            raise ValueError(f"[{type(self).__name__}] reduction must be one of {REDUCTIONS}. Received: {reduction!r}")
        self.name = name or to_snake_case(type(self).__name__)
        self.reduction, self.dtype = reduction, None if dtype is None else np.dtype(dtype).name

    def call(self, y_true: Any, y_pred: Any) -> Tensor:
        raise NotImplementedError(f"[{type(self).__name__}] a loss must define call(y_true, y_pred)")

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Tensor:
        y_pred = self._cast(y_pred)
        return reduce_weighted(self.name, self.call(y_true, y_pred), sample_weight, self.reduction, mask_of(y_pred))

    def _cast(self, y_pred: Any) -> Any:
        if self.dtype is None:
            return y_pred
        y_pred = predictions(self.name, y_pred)
        return y_pred if y_pred.dtype == self.dtype else ops.cast(y_pred, self.dtype)

    def get_config(self) -> dict[str, Any]:
        """The arguments that make an equal loss."""
        return {"name": self.name, "reduction": self.reduction}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Loss":
        """The loss that `get_config` described."""
        return cls(**config)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} name={self.name}>"


def mask_of(x: Any) -> Any:
    """Which samples or steps count: the mask that a layer left on its result, or None."""
    return getattr(x, "_keras_mask", None)


def reduce_weighted(name: str, values: Tensor, sample_weight: Any, reduction: str | None, mask: Any = None) -> Tensor:
    """Weights and masks the values of a loss and reduces them, as `Loss` says."""
    if not isinstance(values, Tensor):
        values = Tensor(as_array(values, name=name))
    if sample_weight is None and mask is None:
        if reduction in ("none", None):
            return values
        return ops.sum(values) if reduction == "sum" else ops.mean(values)
    weights = (
        None if sample_weight is None else aligned(name, "sample_weight", sample_weight, values.shape, values.dtype)
    )
    counts = None if mask is None else aligned(name, "the mask", ops.cast(mask, "bool"), values.shape, values.dtype)
    if weights is None or counts is None:
        factor = counts if weights is None else weights
    else:
        factor = weights * counts
    # A masked value may be NaN or Inf: it is left out, not multiplied by 0.
    kept = values if counts is None else ops.where(ops.cast(counts, "bool"), values, 0.0)
    weighted = kept * factor
    if reduction in ("none", None):
        return weighted
    total = ops.sum(weighted)
    if reduction == "sum":
        return total
    if reduction == "mean_with_sample_weight":
        return _divided(total, ops.sum(ops.broadcast_to(factor, values.shape)))
    if counts is None:
        return total / float(max(values.size, 1))
    return _divided(total, ops.sum(ops.broadcast_to(counts, values.shape)))


def _divided(total: Tensor, by: Tensor) -> Tensor:
    """total / by, and 0 where nothing counts."""
    none = ops.equal(by, 0.0)
    return ops.where(none, 0.0, total / ops.where(none, 1.0, by))


def aligned(name: str, label: str, weights: Any, values: tuple[int, ...], dtype: Any = None) -> Tensor:
    """Weights that broadcast to values of a shape: (N,), (N, 1) or more axes of theirs, from the left."""
    w = weights if isinstance(weights, Tensor) else Tensor(as_array(weights, name=name))
    if dtype is not None and w.dtype != dtype:
        w = ops.cast(w, dtype)
    shape = w.shape
    if len(shape) > len(values) and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) > len(values) or any(n not in (1, m) for n, m in zip(shape, values)):
        word = label.split()[-1]
        raise ValueError(
            f"[{name}] {label} must have one weight per value. "
            f"Received: {word}.shape={w.shape}, values of shape {values}. "
            f"Use {word}.reshape({values[:1]}) for one weight per sample"
        )
    shape = (*shape, *(1 for _ in range(len(values) - len(shape))))
    return w if shape == w.shape else ops.reshape(w, shape)


class FunctionLoss(Loss):
    """A Loss over a function (y_true, y_pred, **options) -> one value per sample.

    Args:
        fn: the function.
        reduction, name, dtype: see `Loss`; the name is that of the function.
        **options: passed on to fn; they are attributes and belong to the config.
    """

    def __init__(
        self,
        fn: Callable[..., Any],
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
        **options: Any,
    ):
        super().__init__(name or getattr(fn, "__name__", None), reduction, dtype)
        self.fn, self._options = fn, options
        for key, value in options.items():
            setattr(self, key, value)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return self.fn(y_true, y_pred, **self._options)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **self._options}
