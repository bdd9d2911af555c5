"""How often predictions are right: functions with one value per sample, and the metrics that are their means."""

from typing import Any

from nnfast import config, losses, ops
from nnfast.metrics.means import MeanMetricWrapper
from nnfast.metrics.metric import tensors
from nnfast.tensor import Tensor


def _equal(y_true: Any, y_pred: Any) -> Tensor:
    return ops.equal(*losses.matched("accuracy", y_true, y_pred))


def _categorical(y_true: Any, y_pred: Any) -> Tensor:
    t, p = tensors(y_true, y_pred)
    if t.shape != p.shape:
        raise ValueError(
            f"[categorical_accuracy] one-hot targets have the shape of the predictions. "
            f"Received: y_true.shape={t.shape}, y_pred.shape={p.shape}. "
            "For class numbers use sparse_categorical_accuracy"
        )
    return ops.class_hits(p, ops.argmax(t, axis=-1))


def _labels(name: str, other: str, y_true: Any, y_pred: Any) -> tuple[Tensor, Tensor]:
    """Class numbers (...) and predictions (..., classes)."""
    t, p = tensors(y_true, y_pred)
    if t.ndim == p.ndim and t.shape[-1] == 1:
        t = ops.reshape(t, t.shape[:-1])
    if t.shape != p.shape[:-1]:
        raise ValueError(
            f"[{name}] one class number per row of y_pred is needed. "
            f"Received: y_true.shape={t.shape}, y_pred.shape={p.shape}. For one-hot targets use {other}"
        )
    return t, p


def _sparse(y_true: Any, y_pred: Any) -> Tensor:
    t, p = _labels("sparse_categorical_accuracy", "categorical_accuracy", y_true, y_pred)
    return ops.class_hits(p, t)


def _binary(y_true: Any, y_pred: Any, threshold: float = 0.5) -> Tensor:
    t, p = losses.matched("binary_accuracy", y_true, y_pred)
    return ops.equal(t, ops.cast(ops.greater(p, threshold), p.dtype))


def _among_first(t: Tensor, p: Tensor, k: int) -> Tensor:
    """Are fewer than k predictions larger than that of class t? Ties are in favour; NaN is not."""
    t = ops.cast(ops.reshape(t, (*t.shape, 1)), "float64")
    here = ops.equal(t, ops.cast(Tensor([*range(p.shape[-1])]), "float64"))
    its = ops.max(ops.where(here, p, float("-inf")), axis=-1, keepdims=True)
    behind = ops.sum(ops.cast(ops.less_equal(p, its), p.dtype), axis=-1)
    return ops.logical_and(ops.greater(behind, float(p.shape[-1] - k)), ops.max(ops.cast(here, p.dtype), axis=-1))


def _top_k(y_true: Any, y_pred: Any, k: int = 5) -> Tensor:
    t, p = losses.matched("top_k_categorical_accuracy", y_true, y_pred)
    return _among_first(ops.argmax(t, axis=-1), p, k)


def _sparse_top_k(y_true: Any, y_pred: Any, k: int = 5, from_sorted_ids: bool = False) -> Tensor:
    t, p = _labels("sparse_top_k_categorical_accuracy", "top_k_categorical_accuracy", y_true, y_pred)
    if not from_sorted_ids:
        return _among_first(t, losses.predictions("sparse_top_k_categorical_accuracy", p), k)
    t = ops.cast(ops.reshape(t, (*t.shape, 1)), "float64")
    return ops.max(ops.cast(ops.equal(t, ops.cast(p[..., :k], "float64")), "float32"), axis=-1)


def _floats(hits: Tensor) -> Tensor:
    return ops.cast(hits, config.floatx())


def accuracy(y_true: Any, y_pred: Any) -> Tensor:
    """1 where y_pred equals y_true, else 0.

    >>> import nnfast
    >>> nnfast.metrics.accuracy([1.0, 2.0], [1.0, 3.0]).numpy()
    array([1., 0.], dtype=float32)
    """
    return _floats(_equal(y_true, y_pred))


def categorical_accuracy(y_true: Any, y_pred: Any) -> Tensor:
    """1 where the largest prediction (the first of equals) is where the one-hot target has its 1, else 0.

    >>> import nnfast
    >>> nnfast.metrics.categorical_accuracy([[0, 1], [1, 0]], [[0.2, 0.8], [0.1, 0.9]]).numpy()
    array([1., 0.], dtype=float32)
    """
    return _floats(_categorical(y_true, y_pred))


def sparse_categorical_accuracy(y_true: Any, y_pred: Any) -> Tensor:
    """1 where the largest prediction is at the class number y_true, (...) or (..., 1), else 0.

    >>> import nnfast
    >>> nnfast.metrics.sparse_categorical_accuracy([1, 0], [[0.2, 0.8], [0.1, 0.9]]).numpy()
    array([1., 0.], dtype=float32)
    """
    return _floats(_sparse(y_true, y_pred))


def binary_accuracy(y_true: Any, y_pred: Any, threshold: float = 0.5) -> Tensor:
    """1 where (y_pred > threshold) equals y_true, else 0.

    >>> import nnfast
    >>> nnfast.metrics.binary_accuracy([1, 0, 0], [0.9, 0.5, 0.6]).numpy()
    array([1., 1., 0.], dtype=float32)
    """
    return _floats(_binary(y_true, y_pred, threshold))


def top_k_categorical_accuracy(y_true: Any, y_pred: Any, k: int = 5) -> Tensor:
    """1 where the class of the one-hot target is among the k largest predictions (ties count), else 0.

    >>> import nnfast
    >>> nnfast.metrics.top_k_categorical_accuracy([[0, 1, 0]], [[0.5, 0.3, 0.2]], k=2).numpy()
    array([1.], dtype=float32)
    """
    return _floats(_top_k(y_true, y_pred, k))


def sparse_top_k_categorical_accuracy(y_true: Any, y_pred: Any, k: int = 5, from_sorted_ids: bool = False) -> Tensor:
    """1 where class number y_true is among the k largest predictions (ties count), else 0.

    Args:
        y_true: class numbers.
        y_pred: predictions (..., classes), or with from_sorted_ids class numbers, the best first.
        k: how many are looked at.
        from_sorted_ids: see y_pred.

    >>> import nnfast
    >>> nnfast.metrics.sparse_top_k_categorical_accuracy([2], [[0.5, 0.3, 0.2]], k=2).numpy()
    array([0.], dtype=float32)
    """
    return _floats(_sparse_top_k(y_true, y_pred, k, from_sorted_ids))


class Accuracy(MeanMetricWrapper):
    """How often predictions equal targets."""

    def __init__(self, name: str = "accuracy", dtype: Any = None):
        super().__init__(_equal, name, dtype)


class CategoricalAccuracy(MeanMetricWrapper):
    """Accuracy with one-hot targets, see `categorical_accuracy`."""

    def __init__(self, name: str = "categorical_accuracy", dtype: Any = None):
        super().__init__(_categorical, name, dtype)


class SparseCategoricalAccuracy(MeanMetricWrapper):
    """Accuracy with class numbers, see `sparse_categorical_accuracy`."""

    def __init__(self, name: str = "sparse_categorical_accuracy", dtype: Any = None):
        super().__init__(_sparse, name, dtype)


class BinaryAccuracy(MeanMetricWrapper):
    """Accuracy of yes/no predictions, see `binary_accuracy`."""

    def __init__(self, name: str = "binary_accuracy", dtype: Any = None, threshold: float = 0.5):
        super().__init__(_binary, name, dtype, threshold=threshold)


class TopKCategoricalAccuracy(MeanMetricWrapper):
    """How often the class is among the k largest predictions, see `top_k_categorical_accuracy`."""

    def __init__(self, k: int = 5, name: str = "top_k_categorical_accuracy", dtype: Any = None):
        super().__init__(_top_k, name, dtype, k=k)


class SparseTopKCategoricalAccuracy(MeanMetricWrapper):
    """The same with class numbers, see `sparse_top_k_categorical_accuracy`."""

    def __init__(
        self,
        k: int = 5,
        name: str = "sparse_top_k_categorical_accuracy",
        dtype: Any = None,
        from_sorted_ids: bool = False,
    ):
        super().__init__(_sparse_top_k, name, dtype, k=k, from_sorted_ids=from_sorted_ids)


class ByShape(MeanMetricWrapper):
    """'accuracy' and 'crossentropy': which metric it is shows when the first shapes are seen (Keras's rule).

    Predictions with a last axis of 1 are binary; targets of lower rank, or with a last axis of 1, are class numbers;
    everything else is one-hot.
    """

    def __init__(self, name: str, functions: tuple[Any, Any, Any]):
        super().__init__(self._values, name)
        self._functions = functions

    def _values(self, y_true: Any, y_pred: Any) -> Tensor:
        t, p = tensors(y_true, y_pred)
        binary, sparse, categorical = self._functions
        if p.ndim == 0 or p.shape[-1] == 1:
            return binary(t, y_pred)
        return (sparse if t.ndim < p.ndim or t.shape[-1] == 1 else categorical)(t, y_pred)


ACCURACY = (_binary, _sparse, _categorical)
CROSSENTROPY = (losses.binary_crossentropy, losses.sparse_categorical_crossentropy, losses.categorical_crossentropy)
