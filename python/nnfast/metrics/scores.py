"""Scores from sums over all samples: F and R squared."""

import warnings
from typing import Any

import numpy as np

from nnfast import config, losses, ops
from nnfast.metrics.metric import Metric, result, spread
from nnfast.tape import no_grad
from nnfast.tensor import Tensor


class FBetaScore(Metric):
    """(1 + beta^2) precision recall / (beta^2 precision + recall), of each class.

    Args:
        average: None (one score per class), "macro" (their mean), "weighted" (by how frequent the class is), or
            "micro" (one score from the counts of all classes).
        beta: how much more recall matters than precision.
        threshold: what is above is positive; None: the largest of the row is.

    >>> import nnfast
    >>> m = nnfast.metrics.FBetaScore(average="macro", beta=2.0, threshold=0.5)
    >>> round(m([[1, 1], [0, 1]], [[0.9, 0.2], [0.1, 0.8]]), 4)
    0.7778
    """

    def __init__(
        self,
        average: str | None = None,
        beta: float = 1.0,
        threshold: float | None = None,
        name: str | None = "fbeta_score",
        dtype: Any = None,
    ):
        super().__init__(dtype, name)
        if average not in (None, "micro", "macro", "weighted"):
            raise ValueError(f"[{name}] average must be None, 'micro', 'macro' or 'weighted'. Received: {average!r}")
        if not beta > 0:
            raise ValueError(f"[{name}] beta must be positive. Received: beta={beta!r}")
        if threshold is not None and not 0 < threshold <= 1:
            raise ValueError(f"[{name}] threshold must be above 0 and at most 1. Received: threshold={threshold!r}")
        self.average, self.beta, self.threshold = average, beta, threshold
        self.counts: Any = None  # (3, classes): true positives, false positives, false negatives

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Counts a batch (N, classes)."""
        with no_grad():
            t, p = losses.matched(self.name, y_true, y_pred)
            if p.ndim != 2:
                raise ValueError(f"[{self.name}] expects (N, classes). Received: y_pred.shape={p.shape}")
            if self.counts is None:
                self.counts = self.add_weight((3, p.shape[1]), dtype="float64", name="counts")
            if self.threshold is None:
                largest = ops.greater_equal(p, ops.max(p, axis=-1, keepdims=True))
                chosen = ops.logical_and(largest, ops.greater(ops.abs(p), 1e-9))
            else:
                chosen = ops.greater(p, self.threshold)
            found = ops.cast(chosen, p.dtype)
            parts = [found * t, found * (1.0 - t), (1.0 - found) * t]
            if sample_weight is not None:
                weights = spread(self.name, sample_weight, p.shape, p.dtype)
                parts = [x * weights for x in parts]
            self.counts.assign_add(ops.stack([ops.sum(x, axis=0) for x in parts]))

    def result(self) -> Any:
        """The score, or one per class."""
        if self.counts is None:
            return result(0.0)
        counts = self.counts.numpy()
        tp, fp, fn = counts.sum(axis=1) if self.average == "micro" else counts
        eps, beta = config.epsilon(), self.beta**2
        precision, recall = tp / (tp + fp + eps), tp / (tp + fn + eps)
        score = (1 + beta) * precision * recall / (beta * precision + recall + eps)
        if self.average == "weighted":
            return result((score * (tp + fn) / ((tp + fn).sum() + eps)).sum())
        return result(score if self.average is None else np.mean(score))

    def get_config(self) -> dict[str, Any]:
        own = {"average": self.average, "beta": self.beta, "threshold": self.threshold}
        return {**super().get_config(), **own}


class F1Score(FBetaScore):
    """2 precision recall / (precision + recall), of each class: `FBetaScore` with beta 1.

    >>> import nnfast
    >>> m = nnfast.metrics.F1Score(threshold=0.5)
    >>> m([[1, 1], [0, 1]], [[0.9, 0.2], [0.1, 0.8]]).numpy().round(4)
    array([1.    , 0.6667], dtype=float32)
    """

    def __init__(
        self,
        average: str | None = None,
        threshold: float | None = None,
        name: str | None = "f1_score",
        dtype: Any = None,
    ):
        super().__init__(average, 1.0, threshold, name, dtype)

    def get_config(self) -> dict[str, Any]:
        return {k: v for k, v in super().get_config().items() if k != "beta"}


class R2Score(Metric):
    """1 - sum((y_true - y_pred)^2) / sum((y_true - mean)^2): the share of the variance that is explained.

    Args:
        class_aggregation: "uniform_average" (mean over outputs), "variance_weighted_average", or None: one per output.
        num_regressors: of the model, for the adjusted score; 0: not adjusted.

    >>> import nnfast
    >>> round(nnfast.metrics.R2Score()([[1.0], [4.0], [3.0]], [[2.0], [4.0], [4.0]]), 4)
    0.5714
    """

    def __init__(
        self,
        class_aggregation: str | None = "uniform_average",
        num_regressors: int = 0,
        name: str = "r2_score",
        dtype: Any = None,
    ):
        super().__init__(dtype, name)
        if class_aggregation not in (None, "uniform_average", "variance_weighted_average"):
            raise ValueError(
                "[R2Score] class_aggregation must be None, 'uniform_average' or 'variance_weighted_average'. "
                f"Received: {class_aggregation!r}"
            )
        if num_regressors < 0:
            raise ValueError(f"[R2Score] num_regressors must not be negative. Received: {num_regressors}")
        self.class_aggregation, self.num_regressors = class_aggregation, num_regressors
        self.num_samples = self.add_weight(dtype="float64", name="num_samples")
        self.sums: Any = None  # (4, outputs): of w, w y, w y^2 and of w (y - p)^2

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Adds a batch (N, outputs)."""
        with no_grad():
            t, p = losses.matched(self.name, y_true, y_pred)
            if p.ndim != 2:
                raise ValueError(f"[R2Score] expects (N, outputs). Received: y_pred.shape={p.shape}")
            if self.sums is None:
                self.sums = self.add_weight((4, p.shape[1]), dtype="float64", name="sums")
            t, p = ops.cast(t, "float64"), ops.cast(p, "float64")  # squares minus squares: float32 would not do
            parts = [ops.ones_like(t), t, t * t, ops.square(t - p)]
            if sample_weight is not None:
                weights = spread(self.name, sample_weight, p.shape, "float64")
                parts = [x * weights for x in parts]
            self.sums.assign_add(ops.stack([ops.sum(x, axis=0) for x in parts]))
            self.num_samples.assign_add(Tensor(np.float64(t.size)))

    def result(self) -> Any:
        """The score, or one per output."""
        if self.sums is None:
            return result(0.0)
        count, total, squares, residual = self.sums.numpy()
        with np.errstate(divide="ignore", invalid="ignore"):
            variance = squares - total * total / count
            score = 1 - residual / variance
        score = np.where(np.isinf(score), 0.0, score)
        if self.class_aggregation == "uniform_average":
            score = np.mean(score)
        elif self.class_aggregation is not None:
            score = (variance * score).sum() / variance.sum()
        n, p = float(self.num_samples), self.num_regressors
        if p and p >= n - 1:
            warnings.warn(
                f"[R2Score] the adjusted score needs more than num_regressors + 1 samples. Received: {n:.0f} samples, "
                f"num_regressors={p}. The score is not adjusted",
                UserWarning,
                stacklevel=2,
            )
        elif p:
            score = 1 - (1 - score) * (n - 1) / (n - p - 1)
        return result(score)

    def get_config(self) -> dict[str, Any]:
        own = {"class_aggregation": self.class_aggregation, "num_regressors": self.num_regressors}
        return {**super().get_config(), **own}
