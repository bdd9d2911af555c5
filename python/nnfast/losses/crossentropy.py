"""Cross-entropies: how many nats it costs to code the targets by the predicted probabilities.

Results of softmax and sigmoid remember their logits, and everything here computes from those: nothing is clipped, and a
probability that rounds to 0 costs what it should. Bare probabilities are clipped to [1e-7, 1 - 1e-7], as in Keras.
"""

import sys
import warnings
from typing import Any

from nnfast import config, ops
from nnfast.losses.loss import FunctionLoss, mask_of, matched, predictions, reduce_weighted
from nnfast.tensor import Tensor, as_array


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

    >>> import nnfast
    >>> nnfast.losses.categorical_crossentropy([[0.0, 1.0]], [[0.5, 0.5]]).numpy().round(4)
    array([0.6931], dtype=float32)
    """
    logits, true = _one_hot_rows("categorical_crossentropy", y_true, y_pred, from_logits, axis)
    return ops.softmax_xent(logits, true, label_smoothing=label_smoothing, reduction="none")


def sparse_categorical_crossentropy(
    y_true: Any, y_pred: Any, from_logits: bool = False, ignore_class: int | None = None, axis: int = -1
) -> Tensor:
    """-log(p[y_true]): y_true holds class numbers, (...) or (..., 1).

    Args:
        y_true: class numbers from 0.
        y_pred, from_logits, axis: see `categorical_crossentropy`.
        ignore_class: rows with this class number cost 0 and are not counted in means.

    >>> import nnfast
    >>> nnfast.losses.sparse_categorical_crossentropy([1], [[0.5, 0.5]]).numpy().round(4)
    array([0.6931], dtype=float32)
    """
    logits, true = _class_numbers("sparse_categorical_crossentropy", y_true, y_pred, from_logits, axis)
    return ops.softmax_xent(logits, true, ignore_class=ignore_class, reduction="none")


def _logits(p: Tensor, from_logits: bool) -> Any:
    known = getattr(p, "logits", None)
    if from_logits and known is not None:
        message = (
            "[crossentropy] with from_logits=True y_pred must be logits. Received: the result of a softmax or sigmoid, "
            "which is applied twice now. Leave from_logits out, or the activation of the last layer"
        )
        ops.after_step(lambda: _warn(message))
    return p if from_logits else known


def _classes_last(p: Tensor, axis: int) -> tuple[list[int] | None, Tensor]:
    """The order of axes that puts the classes last, or None, and p in that order."""
    if axis in (-1, p.ndim - 1):
        return None, p
    order = [i for i in range(p.ndim) if i != axis % p.ndim] + [axis % p.ndim]
    return order, ops.transpose(p, order)


def _check_probabilities(p: Tensor) -> None:
    """A warning if bare probabilities are none: a negative number, or one above 1."""
    p = p.detach()

    def look() -> None:
        low, high = ops.min(p).item(), ops.max(p).item()
        if low < 0 or high > 1.001:
            _warn(
                f"[crossentropy] y_pred must be probabilities. Received: values from {low:.3g} to {high:.3g}. "
                "Give the last layer activation='softmax' (one unit: 'sigmoid'), or the loss from_logits=True"
            )

    if p.size:
        ops.after_step(look)


def _warn(message: str) -> None:
    """Warns at the line outside the package that led here."""
    frame, level = sys._getframe(), 1
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == "nnfast":
        frame, level = frame.f_back, level + 1
    warnings.warn(message, stacklevel=level)


def _log_probabilities(p: Tensor) -> Tensor:
    """log of probabilities, made to sum to one and clipped: logits whose softmax they are."""
    eps = config.epsilon()
    _check_probabilities(p)
    p = p / ops.sum(p, axis=-1, keepdims=True)
    return ops.log(ops.clip(p, eps, 1.0 - eps))


def _one_hot_rows(name: str, y_true: Any, y_pred: Any, from_logits: bool, axis: int) -> tuple[Tensor, Tensor]:
    """Logits and targets, both (..., classes)."""
    p = predictions(name, y_pred)
    true = y_true if isinstance(y_true, Tensor) else as_array(y_true, name=name)
    logits = _logits(p, from_logits)
    order, p = _classes_last(p, axis)
    if order is not None:
        true = ops.transpose(true, order)
        logits = None if logits is None else ops.transpose(logits, order)
    _several_classes(name, p)
    if true.ndim + 1 == p.ndim or (true.ndim == p.ndim and true.shape[-1] == 1 and p.shape[-1] > 1):
        raise ValueError(
            f"[{name}] y_true must be one-hot rows. Received: y_true.shape={true.shape}, y_pred.shape={p.shape}. "
            f"For class numbers use sparse_categorical_crossentropy, or to_categorical(y, {p.shape[-1]})"
        )
    true, p = matched(name, true, p)
    return (_log_probabilities(p) if logits is None else logits), true


def _several_classes(name: str, p: Tensor) -> None:
    if p.ndim and p.shape[-1] == 1:
        raise ValueError(
            f"[{name}] there must be more than one class. Received: y_pred.shape={p.shape}. One unit with "
            "activation='sigmoid' belongs to binary_crossentropy; for this loss use one unit per class, with 'softmax'"
        )


def _class_numbers(name: str, y_true: Any, y_pred: Any, from_logits: bool, axis: int) -> tuple[Tensor, Any]:
    """Logits, (..., classes), and class numbers, (...)."""
    p = predictions(name, y_pred)
    true = y_true if isinstance(y_true, Tensor) else as_array(y_true, name=name)
    logits = _logits(p, from_logits)
    if true.ndim == p.ndim and true.ndim and true.shape[axis] == 1:
        true = ops.squeeze(true, axis=axis) if axis not in (-1, p.ndim - 1) else ops.reshape(true, true.shape[:-1])
    order, p = _classes_last(p, axis)
    if order is not None and logits is not None:
        logits = ops.transpose(logits, order)
    if true.shape != p.shape[:-1]:
        fix = ""
        if true.shape == p.shape:
            fix = " One-hot rows belong to categorical_crossentropy; for this loss use y.argmax(-1)."
        elif true.ndim + 1 < p.ndim:
            fix = " Is a Flatten() missing before the last Dense layers?"
        raise ValueError(
            f"[{name}] y_true must hold one class number per row of y_pred. "
            f"Received: y_true.shape={true.shape}, y_pred.shape={p.shape}.{fix}"
        )
    return (_log_probabilities(p) if logits is None else logits), true


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

    >>> import nnfast
    >>> nnfast.losses.binary_crossentropy([[1.0]], [[0.5]]).numpy().round(4)
    array([0.6931], dtype=float32)
    """
    return ops.mean(_binary("binary_crossentropy", y_true, y_pred, from_logits, label_smoothing)[0], axis=axis)


def _binary(
    name: str, y_true: Any, y_pred: Any, from_logits: bool, label_smoothing: float
) -> tuple[Tensor, Tensor, Tensor]:
    """The cross-entropy of each element, the smoothed targets, and the probabilities."""
    p = predictions(name, y_pred)
    logits = _logits(p, from_logits)
    t, p = matched(name, y_true, p)
    if label_smoothing:
        t = t * (1.0 - label_smoothing) + 0.5 * label_smoothing
    if logits is not None:
        return ops.sigmoid_xent(logits, t), t, p
    _check_probabilities(p)
    eps = config.epsilon()
    p = ops.clip(p, eps, 1.0 - eps)
    return -(t * ops.log(p) + (1.0 - t) * ops.log(1.0 - p)), t, p


def binary_focal_crossentropy(
    y_true: Any,
    y_pred: Any,
    apply_class_balancing: bool = False,
    alpha: float = 0.25,
    gamma: float = 2.0,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
) -> Tensor:
    """Binary cross-entropy, times (1 - p)^gamma, p the probability of the target: what is easy hardly counts.

    Args:
        y_true, y_pred, from_logits, label_smoothing, axis: see `binary_crossentropy`.
        apply_class_balancing: weigh targets of 1 by alpha and of 0 by 1 - alpha?
        alpha, gamma: see above. T.-Y. Lin et al., Focal Loss for Dense Object Detection (2017).

    >>> import nnfast
    >>> nnfast.losses.binary_focal_crossentropy([[1.0]], [[0.5]]).numpy().round(4)
    array([0.1733], dtype=float32)
    """
    cost, t, p = _binary("binary_focal_crossentropy", y_true, y_pred, from_logits, label_smoothing)
    if from_logits:
        p = ops.sigmoid(p)
    cost = ops.pow(1.0 - (t * p + (1.0 - t) * (1.0 - p)), gamma) * cost
    if apply_class_balancing:
        cost = (t * alpha + (1.0 - t) * (1.0 - alpha)) * cost
    return ops.mean(cost, axis=axis)


def categorical_focal_crossentropy(
    y_true: Any,
    y_pred: Any,
    alpha: Any = 0.25,
    gamma: float = 2.0,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
) -> Tensor:
    """-sum(alpha (1 - p)^gamma y_true log(p)) over the classes: what is easy hardly counts.

    Args:
        y_true, y_pred, from_logits, label_smoothing, axis: see `categorical_crossentropy`.
        alpha: a number, or one per class.
        gamma: see above.

    >>> import nnfast
    >>> nnfast.losses.categorical_focal_crossentropy([[0.0, 1.0]], [[0.5, 0.5]]).numpy().round(4)
    array([0.0433], dtype=float32)
    """
    logits, t = _one_hot_rows("categorical_focal_crossentropy", y_true, y_pred, from_logits, axis)
    if label_smoothing:
        t = t * (1.0 - label_smoothing) + label_smoothing / t.shape[-1]
    log_p = ops.log_softmax(logits)
    return ops.sum(ops.pow(1.0 - ops.exp(log_p), gamma) * -t * log_p * alpha, axis=-1)


def kl_divergence(y_true: Any, y_pred: Any) -> Tensor:
    """sum(y_true log(y_true / y_pred)) over the last axis, both clipped to [1e-7, 1].

    >>> import nnfast
    >>> nnfast.losses.kl_divergence([[0.5, 0.5]], [[0.5, 0.5]]).numpy()
    array([0.], dtype=float32)
    """
    t, p = matched("kl_divergence", y_true, y_pred)
    t, p = ops.clip(t, config.epsilon(), 1.0), ops.clip(p, config.epsilon(), 1.0)
    return ops.sum(t * ops.log(t / p), axis=-1)


class _SoftmaxLoss(FunctionLoss):
    """What the categorical cross-entropies share: loss, weights and reduction in one kernel where that is possible."""

    sparse: bool
    from_logits: bool
    axis: int
    label_smoothing = 0.0
    ignore_class: int | None = None

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Tensor:
        y_pred = self._cast(y_pred)
        mask, by_weight = mask_of(y_pred), self.reduction == "mean_with_sample_weight" and sample_weight is not None
        if mask is not None or by_weight or self.reduction in ("none", None):
            return self._unfused(y_true, y_pred, sample_weight, mask)
        prepare = _class_numbers if self.sparse else _one_hot_rows
        logits, true = prepare(self.name, y_true, y_pred, self.from_logits, self.axis)
        if sample_weight is not None:
            rows = logits.shape[:-1]
            w = sample_weight if isinstance(sample_weight, Tensor) else as_array(sample_weight, name=self.name)
            if w.shape not in (rows, (*rows, 1)):
                return self._unfused(y_true, y_pred, sample_weight, None)
            sample_weight = ops.reshape(ops.cast(w, logits.dtype), rows)
        return ops.softmax_xent(
            logits,
            true,
            sample_weight=sample_weight,
            ignore_class=self.ignore_class,
            label_smoothing=self.label_smoothing,
            reduction="sum" if self.reduction == "sum" else "mean",
        )

    def _unfused(self, y_true: Any, y_pred: Any, sample_weight: Any, mask: Any) -> Tensor:
        """Weights and masks that the kernel does not know; ignored rows are masked, too."""
        values = self.call(y_true, y_pred)
        if self.ignore_class is not None:
            true = y_true if isinstance(y_true, Tensor) else as_array(y_true, name=self.name)
            counts = ops.not_equal(ops.reshape(true, values.shape), self.ignore_class)
            mask = counts if mask is None else ops.logical_and(counts, mask)
        return reduce_weighted(self.name, values, sample_weight, self.reduction, mask)


class CategoricalCrossentropy(_SoftmaxLoss):
    """Cross-entropy with one-hot targets, see `categorical_crossentropy`."""

    sparse = False

    def __init__(
        self,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: Any = "sum_over_batch_size",
        name: str = "categorical_crossentropy",
        dtype: Any = None,
    ):
        options = {"from_logits": from_logits, "label_smoothing": label_smoothing, "axis": axis}
        super().__init__(categorical_crossentropy, reduction, name, dtype, **options)


class SparseCategoricalCrossentropy(_SoftmaxLoss):
    """Cross-entropy with class numbers, see `sparse_categorical_crossentropy`."""

    sparse = True

    def __init__(
        self,
        from_logits: bool = False,
        ignore_class: int | None = None,
        reduction: Any = "sum_over_batch_size",
        axis: int = -1,
        name: str = "sparse_categorical_crossentropy",
        dtype: Any = None,
    ):
        options = {"from_logits": from_logits, "ignore_class": ignore_class, "axis": axis}
        super().__init__(sparse_categorical_crossentropy, reduction, name, dtype, **options)


class BinaryCrossentropy(FunctionLoss):
    """Cross-entropy of yes/no targets, see `binary_crossentropy`."""

    def __init__(
        self,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: Any = "sum_over_batch_size",
        name: str = "binary_crossentropy",
        dtype: Any = None,
    ):
        options = {"from_logits": from_logits, "label_smoothing": label_smoothing, "axis": axis}
        super().__init__(binary_crossentropy, reduction, name, dtype, **options)


class BinaryFocalCrossentropy(FunctionLoss):
    """Binary cross-entropy in which easy samples hardly count, see `binary_focal_crossentropy`."""

    def __init__(
        self,
        apply_class_balancing: bool = False,
        alpha: float = 0.25,
        gamma: float = 2.0,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: Any = "sum_over_batch_size",
        name: str = "binary_focal_crossentropy",
        dtype: Any = None,
    ):
        options = {"apply_class_balancing": apply_class_balancing, "alpha": alpha, "gamma": gamma}
        more = {"from_logits": from_logits, "label_smoothing": label_smoothing, "axis": axis}
        super().__init__(binary_focal_crossentropy, reduction, name, dtype, **options, **more)


class CategoricalFocalCrossentropy(FunctionLoss):
    """Cross-entropy in which easy samples hardly count, see `categorical_focal_crossentropy`."""

    def __init__(
        self,
        alpha: Any = 0.25,
        gamma: float = 2.0,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: Any = "sum_over_batch_size",
        name: str = "categorical_focal_crossentropy",
        dtype: Any = None,
    ):
        options = {"alpha": alpha, "gamma": gamma, "from_logits": from_logits}
        super().__init__(
            categorical_focal_crossentropy,
            reduction,
            name,
            dtype,
            **options,
            label_smoothing=label_smoothing,
            axis=axis,
        )


class KLDivergence(FunctionLoss):
    """The Kullback-Leibler divergence of probabilities, see `kl_divergence`."""

    def __init__(self, reduction: Any = "sum_over_batch_size", name: str = "kl_divergence", dtype: Any = None):
        super().__init__(kl_divergence, reduction, name, dtype)
