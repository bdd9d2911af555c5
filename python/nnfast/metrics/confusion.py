"""Metrics of the confusion matrix: how many positives and negatives are found, at one threshold or at many."""

from typing import Any

import numpy as np

from nnfast import config, losses, ops
from nnfast.metrics.metric import Metric, result, spread
from nnfast.tape import no_grad
from nnfast.tensor import Tensor, Variable

_CELLS = 1 << 22  # comparisons (thresholds times samples) at a time: 16 MB


def _thresholds(name: str, thresholds: Any, default: float) -> list[float]:
    if thresholds is None:
        return [default]
    found = [float(t) for t in np.reshape(thresholds, -1)]
    if not found or not all(0 <= t <= 1 for t in found):
        raise ValueError(f"[{name}] thresholds must lie in 0 to 1. Received: thresholds={thresholds!r}")
    return found


def _evenly(thresholds: Any) -> bool:
    """Are they 0, 1/n, 2/n ... 1?"""
    n = len(thresholds)
    return n >= 3 and bool(np.allclose(thresholds, np.arange(n) / (n - 1), atol=config.epsilon()))


def _divided(a: Any, b: Any) -> np.ndarray:
    """a / b, and 0 where b is 0."""
    return np.divide(a, b, out=np.zeros(np.shape(a)), where=np.asarray(b) != 0)


def _only_first(p: Tensor, k: int) -> Tensor:
    """p where it is among the k largest of its row (of equals the first), else -1e10."""
    mine, others = ops.expand_dims(p, -1), ops.expand_dims(p, -2)
    earlier = np.tri(p.shape[-1], k=-1, dtype=bool)
    before = ops.logical_or(ops.greater(others, mine), ops.logical_and(ops.equal(others, mine), Tensor(earlier)))
    return ops.where(ops.less(ops.sum(ops.cast(before, p.dtype), axis=-1), float(k)), p, -1e10)


class _Confusion(Metric):
    """A metric that counts at thresholds: `_count` adds a batch to the Variables that there are.

    A prediction is positive if it exceeds the threshold. Where thresholds are 0, 1/n ... 1, Keras compares n p with
    whole numbers, and so does this, in float32: the same predictions fall on the same side.
    """

    thresholds: list[float]
    true_positives: Variable
    false_positives: Variable
    true_negatives: Variable
    false_negatives: Variable

    def _make(self, names: Any, shape: Any) -> None:
        for name in names:
            setattr(self, name, self.add_weight(shape, dtype="float64", name=name))

    def _marks(self) -> tuple[np.ndarray, float]:
        """What the predictions, times a number, are compared with."""
        n = len(self.thresholds)
        if not _evenly(self.thresholds):
            return np.array(self.thresholds, "float32"), 0.0
        marks = np.arange(n, dtype="float32")
        if self.thresholds[0] < 0:
            marks[0] = -1
        return marks, n - 1.0

    def _count(
        self,
        y_true: Any,
        y_pred: Any,
        sample_weight: Any,
        top_k: int | None = None,
        class_id: int | None = None,
        label_weights: Any = None,
        by_label: bool = False,
    ) -> None:
        with no_grad():
            t, p = losses.matched(self.name, y_true, y_pred)
            weights = None if sample_weight is None else spread(self.name, sample_weight, p.shape, "float32")
            p, t = ops.cast(p, "float32"), ops.cast(ops.not_equal(t, 0.0), "float32")
            if top_k is not None:
                p = _only_first(p, top_k)
            if class_id is not None:
                if p.ndim < 2:
                    raise ValueError(f"[{self.name}] class_id needs predictions (N, classes). Received: {p.shape}")
                one = slice(class_id, class_id + 1)
                p, t, weights = p[..., one], t[..., one], None if weights is None else weights[..., one]
            if label_weights is not None:
                label_weights = ops.broadcast_to(Tensor(label_weights), p.shape)
                weights = label_weights if weights is None else weights * label_weights
            positive, negative = (t, 1.0 - t) if weights is None else (t * weights, (1.0 - t) * weights)
            marks, scale = self._marks()
            if scale:
                p = ops.clip(p, 0.0, 1.0) * scale
            columns = p.shape[-1] if by_label else 1
            p, positive, negative = (ops.reshape(x, (-1, columns)) for x in (p, positive, negative))
            self._add(p, positive, negative, marks, by_label)

    def _add(self, p: Tensor, positive: Tensor, negative: Tensor, marks: np.ndarray, by_label: bool) -> None:
        """Samples and labels (N, L), weights of positives and of negatives; a slice of the samples at a time."""
        rows = max(1, _CELLS // (len(marks) * max(p.shape[-1], 1)))
        line = Tensor(marks.reshape(-1, 1, 1))
        for at in range(0, p.shape[0], rows):
            some = slice(at, at + rows)
            above = ops.cast(ops.greater(ops.expand_dims(p[some], 0), line), "float32")  # (T, n, L)
            for found, missed, w in (
                ("true_positives", "false_negatives", positive[some]),
                ("false_positives", "true_negatives", negative[some]),
            ):
                if not hasattr(self, found) and not hasattr(self, missed):
                    continue
                hits = ops.sum(above * w, axis=1)  # (T, L)
                for name, count in ((found, hits), (missed, ops.sum(w, axis=0) - hits)):
                    if hasattr(self, name):
                        getattr(self, name).assign_add(count if by_label else ops.reshape(count, (-1,)))


class _Count(_Confusion):
    """One cell of the confusion matrix."""

    _cell = ""

    def __init__(self, thresholds: Any = None, name: str | None = None, dtype: Any = None):
        super().__init__(dtype, name)
        self.init_thresholds, self.thresholds = thresholds, _thresholds(self.name, thresholds, 0.5)
        self._make([self._cell], (len(self.thresholds),))

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Counts a batch."""
        self._count(y_true, y_pred, sample_weight)

    def result(self) -> Any:
        """The count, or one per threshold."""
        found = getattr(self, self._cell).numpy()
        return result(found[0] if len(found) == 1 else found)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "thresholds": self.init_thresholds}


class TruePositives(_Count):
    """The weight of positives that are predicted (y_pred > threshold).

    >>> import nnfast
    >>> nnfast.metrics.TruePositives()([0, 1, 1, 1], [1.0, 0.0, 0.9, 0.8])
    2.0
    """

    _cell = "true_positives"


class FalsePositives(_Count):
    """The weight of negatives that are predicted to be positive.

    >>> import nnfast
    >>> nnfast.metrics.FalsePositives()([0, 1, 0, 0], [1.0, 0.0, 0.9, 0.2])
    2.0
    """

    _cell = "false_positives"


class TrueNegatives(_Count):
    """The weight of negatives that are predicted.

    >>> import nnfast
    >>> nnfast.metrics.TrueNegatives()([0, 1, 0, 0], [1.0, 0.0, 0.9, 0.2])
    1.0
    """

    _cell = "true_negatives"


class FalseNegatives(_Count):
    """The weight of positives that are missed.

    >>> import nnfast
    >>> nnfast.metrics.FalseNegatives()([0, 1, 1, 1], [1.0, 0.0, 0.9, 0.2])
    2.0
    """

    _cell = "false_negatives"


class _Ratio(_Confusion):
    """true positives / (true positives + something else)."""

    _other = ""

    def __init__(
        self,
        thresholds: Any = None,
        top_k: int | None = None,
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ):
        super().__init__(dtype, name)
        self.init_thresholds, self.top_k, self.class_id = thresholds, top_k, class_id
        self.thresholds = _thresholds(self.name, thresholds, 0.5 if top_k is None else -1e10)
        self._make(["true_positives", self._other], (len(self.thresholds),))

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Counts a batch."""
        self._count(y_true, y_pred, sample_weight, self.top_k, self.class_id)

    def result(self) -> Any:
        """The ratio, or one per threshold; 0 where there is nothing to divide by."""
        hits = self.true_positives.numpy()
        found = _divided(hits, hits + getattr(self, self._other).numpy())
        return result(found[0] if len(found) == 1 else found)

    def get_config(self) -> dict[str, Any]:
        own = {"thresholds": self.init_thresholds, "top_k": self.top_k, "class_id": self.class_id}
        return {**super().get_config(), **own}


class Precision(_Ratio):
    """How many of those predicted to be positive are: true positives / (true positives + false positives).

    Args:
        thresholds: one or several in 0 to 1; default 0.5. A prediction above it is positive.
        top_k: only the k largest predictions of a row may be positive; then there is no threshold by default.
        class_id: look at this class alone.

    >>> import nnfast
    >>> round(nnfast.metrics.Precision()([0, 1, 1, 1], [1.0, 0.0, 0.9, 0.8]), 4)
    0.6667
    """

    _other = "false_positives"


class Recall(_Ratio):
    """How many of the positives are found: true positives / (true positives + false negatives).

    Args:
        thresholds, top_k, class_id: see `Precision`.

    >>> import nnfast
    >>> round(nnfast.metrics.Recall()([0, 1, 1, 1], [1.0, 0.0, 0.9, 0.8]), 4)
    0.6667
    """

    _other = "false_negatives"


class AUC(_Confusion):
    """The area under a curve that runs through all thresholds, as a Riemann sum.

    Args:
        num_thresholds: how many thresholds, evenly from 0 to 1.
        curve: "ROC" (recall over the rate of false positives), "PR" (precision over recall), "PRGAIN".
        summation_method: "interpolation" (trapezoids; for PR Davis and Goadrich 2006), "minoring" or "majoring".
        thresholds: these, with 0 and 1 added, instead of num_thresholds.
        multi_label: a curve per label, (N, labels), and the mean of the areas?
        num_labels: how many; default: seen in the first batch.
        label_weights: weight of each label.
        from_logits: take the sigmoid first?

    >>> import nnfast
    >>> nnfast.metrics.AUC(num_thresholds=3)([0, 0, 1, 1], [0.0, 0.5, 0.3, 0.9])
    0.75
    """

    def __init__(
        self,
        num_thresholds: int = 200,
        curve: str = "ROC",
        summation_method: str = "interpolation",
        name: str | None = None,
        dtype: Any = None,
        thresholds: Any = None,
        multi_label: bool = False,
        num_labels: int | None = None,
        label_weights: Any = None,
        from_logits: bool = False,
    ):
        super().__init__(dtype, name)
        self.curve, self.summation_method = str(curve).upper(), str(summation_method).lower()
        if self.curve not in ("ROC", "PR", "PRGAIN"):
            raise ValueError(f"[AUC] curve must be 'ROC', 'PR' or 'PRGAIN'. Received: curve={curve!r}")
        if self.summation_method not in ("interpolation", "minoring", "majoring"):
            raise ValueError(
                "[AUC] summation_method must be 'interpolation', 'minoring' or 'majoring'. "
                f"Received: {summation_method!r}"
            )
        if num_labels and not multi_label:
            raise ValueError(f"[AUC] num_labels is for multi_label=True. Received: num_labels={num_labels}")
        self._given = None if thresholds is None else sorted(_thresholds("AUC", thresholds, 0.5))
        if self._given is None and num_thresholds <= 1:
            raise ValueError(f"[AUC] num_thresholds must be at least 2. Received: num_thresholds={num_thresholds}")
        inner = self._given
        if inner is None:
            inner = [(i + 1) / (num_thresholds - 1) for i in range(num_thresholds - 2)]
        self.num_thresholds = len(inner) + 2
        self.thresholds = [-config.epsilon(), *inner, 1.0 + config.epsilon()]  # 0 and 1 fall inside
        self.multi_label, self.num_labels, self.from_logits = multi_label, num_labels, from_logits
        self.label_weights = None if label_weights is None else np.asarray(label_weights, "float32")
        if not multi_label or num_labels:
            self._build(num_labels)

    def _build(self, labels: int | None) -> None:
        shape = (self.num_thresholds, labels) if self.multi_label else (self.num_thresholds,)
        self._make(("true_positives", "false_positives", "true_negatives", "false_negatives"), shape)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Counts a batch."""
        p = losses.predictions(self.name, y_pred)
        if self.from_logits:
            p = ops.sigmoid(p)
        if self.multi_label:
            if p.ndim != 2:
                raise ValueError(f"[AUC] multi_label=True needs predictions (N, labels). Received: {p.shape}")
            if not hasattr(self, "true_positives"):
                self._build(p.shape[1])
            self._count(y_true, p, sample_weight, by_label=True)
        else:
            self._count(y_true, p, sample_weight, label_weights=self.label_weights)

    def result(self) -> Any:
        """The area."""
        if not hasattr(self, "true_positives"):
            return result(0.0)
        tp, fp = self.true_positives.numpy(), self.false_positives.numpy()
        tn, fn = self.true_negatives.numpy(), self.false_negatives.numpy()
        if self.curve == "PR" and self.summation_method == "interpolation":
            return self._mean(_pr_area(tp, fp, fn))
        recall = _divided(tp, tp + fn)
        if self.curve == "ROC":
            x, y = _divided(fp, fp + tn), recall
        elif self.curve == "PR":
            x, y = recall, _divided(tp, tp + fp)
        else:  # P. Flach and M. Kull, Precision-Recall-Gain Curves (2015)
            scale = _divided(tp + fn, tn + fp)
            x = np.maximum(np.where(tp == 0, 0.0, 1.0 - scale * _divided(fn, tp)), 0.0)
            y = np.where(tp == 0, 1.0, 1.0 - scale * _divided(fp, tp))
        join = {"minoring": np.minimum, "majoring": np.maximum}.get(self.summation_method)
        heights = (y[:-1] + y[1:]) / 2 if join is None else join(y[:-1], y[1:])
        return self._mean(((x[:-1] - x[1:]) * heights).sum(axis=0))

    def _mean(self, areas: Any) -> Any:
        if not self.multi_label:
            return result(areas)
        if self.label_weights is None:
            return result(np.mean(areas))
        return result(_divided((areas * self.label_weights).sum(), self.label_weights.sum()))

    def get_config(self) -> dict[str, Any]:
        own = {
            "num_thresholds": self.num_thresholds,
            "curve": self.curve,
            "summation_method": self.summation_method,
            "multi_label": self.multi_label,
            "num_labels": self.num_labels,
            "label_weights": None if self.label_weights is None else self.label_weights.tolist(),
            "from_logits": self.from_logits,
        }
        if self._given is not None:
            own["thresholds"] = self._given
        return {**super().get_config(), **own}


def _pr_area(tp: np.ndarray, fp: np.ndarray, fn: np.ndarray) -> np.ndarray:
    """Between two thresholds true positives are linear in positives, so precision is not: J. Davis and M. Goadrich,
    The Relationship Between Precision-Recall and ROC Curves (2006)."""
    p = tp + fp
    dtp, dp = tp[:-1] - tp[1:], p[:-1] - p[1:]
    slope = _divided(dtp, np.maximum(dp, 0))
    intercept = tp[1:] - slope * p[1:]
    both = (p[:-1] > 0) & (p[1:] > 0)
    ratio = np.where(both, _divided(p[:-1], np.maximum(p[1:], 0)), 1.0)
    return _divided(slope * (dtp + intercept * np.log(ratio)), np.maximum(tp[1:] + fn[1:], 0)).sum(axis=0)
