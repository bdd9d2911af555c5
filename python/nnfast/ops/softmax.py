"""Softmax, its logarithm, and the cross-entropies on logits: fused with their gradients, never clipped."""

from typing import Any

import numpy as np

from nnfast import device
from nnfast.ops._op import Op, float_operands, given, integer
from nnfast.ops.reduce import axes_of
from nnfast.ops.status import current_status
from nnfast.tape import is_unit, local
from nnfast.tensor import Tensor, as_array, wrap

Shape = tuple[int | None, ...]


class Softmax(Op):
    """y = exp(x) / sum(exp(x))"""

    name = "softmax"

    def forward(self, k: Any, x: Any, axis: int) -> tuple[Any, Any]:
        y = k.softmax(x, axis)
        return y, (y, axis)

    def gradient(self, dy: Any, saved: Any, needs: list[bool]) -> tuple[Any, ...]:
        return (device.kernels.softmax_gradient(dy, *saved),)

    def output_shape(self, x: Shape, *_: Any, **__: Any) -> Shape:
        return x


class LogSoftmax(Op):
    """y = x - log(sum(exp(x)))"""

    name = "log_softmax"

    def forward(self, k: Any, x: Any, axis: int) -> tuple[Any, Any]:
        y = k.log_softmax(x, axis)
        return y, (y, axis)

    def gradient(self, dy: Any, saved: Any, needs: list[bool]) -> tuple[Any, ...]:
        return (device.kernels.log_softmax_gradient(dy, *saved),)

    def output_shape(self, x: Shape, *_: Any, **__: Any) -> Shape:
        return x


class SoftmaxXent(Op):
    """Cross-entropy of labels with softmax(logits). The kernel gives loss and gradient in one pass over the logits,
    or the loss alone where nothing is recorded."""

    name = "softmax_xent"

    def forward(self, k: Any, logits: Any, labels: Any, correct: list[Any], **options: Any) -> tuple[Any, Any]:
        shape = logits.shape
        if len(shape) != 2:
            logits, labels = k.contiguous(logits).reshape(-1, shape[-1]), k.contiguous(labels)
            labels = labels.reshape(-1) if labels.ndim < len(shape) else labels.reshape(-1, shape[-1])
        loss, dlogits, hits = k.softmax_xent(logits, labels, **options)
        correct.append(hits)
        return (loss.reshape(shape[:-1]) if loss.ndim else loss), (dlogits, shape)

    def gradient(self, dy: Any, saved: Any, needs: list[bool]) -> tuple[Any, ...]:
        dlogits, shape = saved
        if not is_unit(dy):
            k = device.kernels
            dlogits = k.mul(dlogits, k.contiguous(dy).reshape(-1, 1) if dy.ndim else dy)
        return dlogits.reshape(shape), None

    def output_shape(self, logits: Shape, *_: Any, reduction: str = "mean", **__: Any) -> Shape:
        return logits[:-1] if reduction == "none" else ()


class SigmoidXent(Op):
    """Cross-entropy of targets with sigmoid(logits), for each element."""

    name = "sigmoid_xent"

    def forward(self, k: Any, logits: Any, targets: Any) -> tuple[Any, Any]:
        loss, dlogits = k.sigmoid_xent(logits, targets)
        return loss, (dlogits, logits)

    def gradient(self, dy: Any, saved: Any, needs: list[bool]) -> tuple[Any, ...]:
        dlogits, logits = saved
        k = device.kernels
        return (k.mul(dlogits, dy) if needs[0] else None), (k.neg(k.mul(logits, dy)) if needs[1] else None)

    def output_shape(self, logits: Shape, *_: Any) -> Shape:
        return logits


_softmax, _log_softmax, _softmax_xent, _sigmoid_xent = Softmax(), LogSoftmax(), SoftmaxXent(), SigmoidXent()


def _along(op: Op, x: Any, axis: Any) -> tuple[Tensor, Any, bool]:
    (x,) = float_operands(op.name, x)
    (axis,) = axes_of(op.name, (axis,), x.ndim)
    return op.apply(x, axis=axis), x, axis == x.ndim - 1


def softmax(x: Any, axis: int = -1) -> Tensor:
    """exp(x) / sum(exp(x)) along axis, from the distances to the largest element, so nothing overflows.

    The result remembers its logits as `.logits` (axis -1 only): the cross-entropy losses compute from them, so that a
    probability that rounds to 0 costs what it should.

    >>> import nnfast
    >>> nnfast.ops.softmax([[1000.0, 1000.0]]).numpy()
    array([[0.5, 0.5]], dtype=float32)
    """
    y, x, last = _along(_softmax, x, axis)
    if last:
        y.logits = x if isinstance(x, Tensor) else wrap(x)
    return y


def log_softmax(x: Any, axis: int = -1) -> Tensor:
    """log(softmax(x)) along axis, without the loss of digits of taking the logarithm of a small number.

    >>> import nnfast
    >>> nnfast.ops.log_softmax([[0.0, -1000.0]]).numpy()
    array([[    0., -1000.]], dtype=float32)
    """
    return _along(_log_softmax, x, axis)[0]


def softmax_xent(
    logits: Any,
    labels: Any,
    *,
    sample_weight: Any = None,
    class_weight: Any = None,
    ignore_class: int | None = None,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
    status: Any = None,
) -> Tensor:
    """Cross-entropy of labels with softmax(logits): loss_i = -weight_i * sum_c t_ic log(softmax(logits_i)_c).

    Args:
        logits: (..., C): whatever the softmax would be taken of. Not clipped: a row of 1e4 has a finite loss.
        labels: class numbers (...) of any integer or float dtype, or rows of probabilities (..., C); constants.
        sample_weight: (...), a weight for each row.
        class_weight: (C,), a weight for each class.
        ignore_class: rows with this class number have no loss and no gradient, and are not counted in the mean.
        label_smoothing: e mixes the targets with the uniform distribution: (1 - e) t + e / C.
        reduction: "mean" (over the rows that count, also where weights are given), "sum", or "none": (...).
        status: a status array that a bad label is reported to (`ops.use_status` sets the default). Default: raise.

    Raises:
        ValueError: a label that is no class, naming the first such sample; shapes that do not fit.

    >>> import nnfast
    >>> nnfast.ops.softmax_xent([[0.0, 0.0], [0.0, 100.0]], [0, 0], reduction="none").numpy()
    array([  0.6931472, 100.       ], dtype=float32)
    """
    return softmax_xent_with_correct(
        logits,
        labels,
        sample_weight=sample_weight,
        class_weight=class_weight,
        ignore_class=ignore_class,
        label_smoothing=label_smoothing,
        reduction=reduction,
        status=status,
    )[0]


def softmax_xent_with_correct(
    logits: Any,
    labels: Any,
    *,
    sample_weight: Any = None,
    class_weight: Any = None,
    ignore_class: int | None = None,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
    status: Any = None,
) -> tuple[Tensor, Tensor]:
    """`softmax_xent`, and the number of rows (int64) whose largest logit is at their label (the first of equals).

    >>> import nnfast
    >>> loss, correct = nnfast.ops.softmax_xent_with_correct([[3.0, 0.0], [3.0, 0.0]], [0, 1])
    >>> correct.item()
    1
    """
    name = "softmax_xent"
    given(name, logits)
    (logits,) = float_operands(name, logits)
    labels = _labels(logits, labels)
    weights = [
        None if w is None else _weights(what, w, shape, logits)
        for what, w, shape in (
            ("sample_weight", sample_weight, logits.shape[:-1]),
            ("class_weight", class_weight, logits.shape[-1:]),
        )
    ]
    if ignore_class is not None and not -(2**63) <= integer("softmax_xent", "ignore_class", ignore_class) < 2**63:
        raise ValueError(f"[softmax_xent] ignore_class must fit into int64. Received: ignore_class={ignore_class}")
    if not isinstance(label_smoothing, (int, float, np.number)):
        raise TypeError(f"[softmax_xent] label_smoothing must be a number. Received: {label_smoothing!r}")
    correct: list[Any] = []
    loss = _softmax_xent.apply(
        logits,
        labels,
        correct=correct,
        sample_weight=weights[0],
        class_weight=weights[1],
        ignore_class=ignore_class,
        label_smoothing=label_smoothing,
        reduction=reduction,
        status=current_status() if status is None else status,
        gradient=local.recording and isinstance(logits, Tensor) and logits.node is not None,
    )
    return loss, wrap(correct[0])


def _labels(logits: Any, labels: Any) -> Any:
    if labels is None:
        raise TypeError("[softmax_xent] labels must be class numbers or rows of probabilities. Received: labels=None")
    if logits.ndim == 0:
        raise ValueError("[softmax_xent] logits must be (..., classes). Received: logits.shape=()")
    _constant("labels", labels)
    operand, labels = labels, as_array(labels, name="softmax_xent")
    if labels.shape == logits.shape:
        return as_array(float_operands("softmax_xent", logits, operand)[1])
    if labels.shape == logits.shape[:-1]:
        return labels
    fix = ""
    if labels.shape == (*logits.shape[:-1], 1):
        fix = f". Class numbers need no last axis: labels.reshape{logits.shape[:-1]}"
    raise ValueError(
        f"[softmax_xent] labels must be class numbers, {logits.shape[:-1]}, or rows of probabilities, {logits.shape}. "
        f"Received: labels.shape={labels.shape}, logits.shape={logits.shape}{fix}"
    )


def _constant(name: str, x: Any) -> None:
    if local.recording and isinstance(x, Tensor) and x.node is not None:
        how = f"{name}.detach()"
        if name == "sample_weight":
            how += ', or multiply: softmax_xent(..., reduction="none") * sample_weight'
        raise NotImplementedError(
            f"[softmax_xent] {name} must be a constant: there is no gradient by it. Received: a tensor that is "
            f"differentiated. Use {how}"
        )


def _weights(name: str, w: Any, shape: tuple[int, ...], logits: Any) -> Any:
    _constant(name, w)
    w = as_array(float_operands("softmax_xent", logits, w)[1])
    if w.shape != shape:
        raise ValueError(
            f"[softmax_xent] {name} must have shape {shape}. Received: {name}.shape={w.shape}, "
            f"logits.shape={logits.shape}"
        )
    return device.kernels.contiguous(w).reshape(-1)


def sigmoid_xent(logits: Any, targets: Any) -> Tensor:
    """Cross-entropy of targets with sigmoid(logits), element by element: log(1 + exp(x)) - x t, computed as
    max(x, 0) - x t + log(1 + exp(-|x|)), which loses no digits for any x.

    Args:
        logits: of any shape.
        targets: 0, 1, or probabilities between, of the same shape.

    >>> import nnfast
    >>> nnfast.ops.sigmoid_xent([0.0, 100.0], [1.0, 0.0]).numpy()
    array([  0.6931472, 100.       ], dtype=float32)
    """
    given("sigmoid_xent", logits, targets)
    logits, targets = float_operands("sigmoid_xent", logits, targets)
    if logits.shape != targets.shape:
        raise ValueError(
            f"[sigmoid_xent] targets must have the shape of the logits. "
            f"Received: targets.shape={targets.shape}, logits.shape={logits.shape}"
        )
    return _sigmoid_xent.apply(logits, targets)
