"""Normalization: by the statistics of a batch, or of each row."""

from typing import Any

from nnfast import device
from nnfast.ops import shape as shapes
from nnfast.ops._op import Op, float_operands
from nnfast.ops.reduce import axes_of
from nnfast.ops.status import at_end_of_step, current_status
from nnfast.tensor import Tensor, wrap


class BatchNorm(Op):
    """y = (x - mean) / sqrt(variance + epsilon) * gamma + beta, with mean and variance of x per channel."""

    name = "batch_norm"

    def forward(self, k: Any, x: Any, gamma: Any, beta: Any, axis: int, epsilon: float, seen: Any) -> tuple[Any, Any]:
        y, mean, variance = k.batch_norm(x, gamma, beta, axis=axis, epsilon=epsilon)
        seen += mean, variance
        return y, (x, gamma, mean, variance, axis, epsilon)

    def gradient(self, dy: Any, saved: Any, needs: list[bool]) -> tuple[Any, ...]:
        return _gradient(dy, saved, needs, True)

    def output_shape(self, x: Any, *_: Any, **__: Any) -> tuple[int | None, ...]:
        return x


class BatchNormInference(Op):
    """The same with mean and variance that are given."""

    name = "batch_norm"

    def forward(
        self, k: Any, x: Any, gamma: Any, beta: Any, mean: Any, variance: Any, axis: int, epsilon: float
    ) -> tuple[Any, Any]:
        y = k.batch_norm_inference(x, gamma, beta, mean, variance, axis=axis, epsilon=epsilon)
        return y, (x, gamma, mean, variance, axis, epsilon)

    def gradient(self, dy: Any, saved: Any, needs: list[bool]) -> tuple[Any, ...]:
        return *_gradient(dy, saved, needs, False), None, None

    def output_shape(self, x: Any, *_: Any, **__: Any) -> tuple[int | None, ...]:
        return x


def _gradient(dy: Any, saved: Any, needs: list[bool], through_statistics: bool) -> tuple[Any, ...]:
    x, gamma, mean, variance, axis, epsilon = saved
    wanted = dict(zip(("needs_dx", "needs_dgamma", "needs_dbeta"), needs))
    return device.kernels.batch_norm_gradient(
        dy, x, gamma, mean, variance, axis=axis, epsilon=epsilon, through_statistics=through_statistics, **wanted
    )


class LayerNorm(Op):
    """The elements of each row, the axes from `axis` on, get mean 0 and variance 1; then times gamma, plus beta."""

    name = "layer_norm"

    def forward(self, k: Any, x: Any, gamma: Any, beta: Any, axis: int, epsilon: float) -> tuple[Any, Any]:
        y, mean, rstd = k.layer_norm(x, gamma, beta, axis=axis, epsilon=epsilon)
        return y, (x, gamma, mean, rstd, axis)

    def gradient(self, dy: Any, saved: Any, needs: list[bool]) -> tuple[Any, ...]:
        x, gamma, mean, rstd, axis = saved
        wanted = dict(zip(("needs_dx", "needs_dgamma", "needs_dbeta"), needs))
        return device.kernels.layer_norm_gradient(dy, x, gamma, mean, rstd, axis=axis, **wanted)

    def output_shape(self, x: Any, *_: Any, **__: Any) -> tuple[int | None, ...]:
        return x


_batch_norm, _batch_norm_inference, _layer_norm = BatchNorm(), BatchNormInference(), LayerNorm()


def batch_norm(
    x: Any,
    gamma: Any = None,
    beta: Any = None,
    mean: Any = None,
    variance: Any = None,
    *,
    axis: int = -1,
    epsilon: float = 1e-3,
    statistics: bool = False,
) -> Any:
    """(x - mean) / sqrt(variance + epsilon) * gamma + beta, channel by channel (Ioffe and Szegedy, 2015).

    Args:
        x: of any shape.
        gamma, beta: (C,), one number per channel; None: 1 and 0.
        mean, variance: (C,); None: those of x over all axes but one, and x's gradient goes through them.
        axis: which axis of x has the C channels.
        epsilon: keeps the root away from 0.
        statistics: also return the mean and the (biased) variance that were used, as tensors without gradient.

    Returns:
        y, of the shape of x; with statistics (y, mean, variance).

    >>> import numpy as np, nnfast
    >>> nnfast.ops.batch_norm(np.array([[1.0], [3.0]]), epsilon=0.0).tolist()
    [[-1.0], [1.0]]
    """
    x, gamma, beta, mean, variance = float_operands("batch_norm", x, gamma, beta, mean, variance)
    if (mean is None) != (variance is None):
        raise ValueError("[batch_norm] mean and variance are given together. Received: one of them")
    (axis,) = axes_of("batch_norm", axis, x.ndim)
    if mean is None:
        seen: list[Any] = []
        y = _batch_norm.apply(x, gamma, beta, axis=axis, epsilon=float(epsilon), seen=seen)
        return (y, *map(wrap, seen)) if statistics else y
    y = _batch_norm_inference.apply(x, gamma, beta, mean, variance, axis=axis, epsilon=float(epsilon))
    return (y, mean, variance) if statistics else y


def layer_norm(x: Any, gamma: Any = None, beta: Any = None, *, axis: Any = -1, epsilon: float = 1e-3) -> Tensor:
    """The elements along the axes get mean 0 and variance 1, then times gamma, plus beta (Ba et al., 2016).

    Args:
        x: of any shape.
        gamma, beta: of the sizes of x along the axes, in rising order; None: 1 and 0.
        axis: an axis, or several that are normalized together.
        epsilon: added to the variance.

    >>> import numpy as np, nnfast
    >>> nnfast.ops.layer_norm(np.array([[1.0, 3.0], [2.0, 6.0]]), epsilon=0.0).tolist()
    [[-1.0, 1.0], [-1.0, 1.0]]
    """
    x, gamma, beta = float_operands("layer_norm", x, gamma, beta)
    axes = sorted(axes_of("layer_norm", axis, x.ndim))
    if not axes:
        raise ValueError(f"[layer_norm] at least one axis is needed. Received: axis={axis}")
    others = [i for i in range(x.ndim) if i not in axes]
    order = (*others, *axes)
    moved = order != tuple(range(x.ndim))
    y = _layer_norm.apply(
        shapes.transpose(x, order) if moved else x, gamma, beta, axis=len(others), epsilon=float(epsilon)
    )
    return shapes.transpose(y, sorted(range(x.ndim), key=order.__getitem__)) if moved else y


def moving_average(average: Tensor, value: Any, momentum: float, *, scale: float = 1.0) -> None:
    """average = momentum * average + (1 - momentum) * scale * value, in place, at the end of the running step.

    Args:
        average: a Variable.
        value: of its shape and dtype.
        momentum: from 0 to 1.
        scale: n / (n - 1) makes a variance of n numbers unbiased.

    >>> import nnfast
    >>> v = nnfast.Variable([1.0, 2.0])
    >>> nnfast.ops.moving_average(v, nnfast.tensor([3.0, 2.0]), 0.5)
    >>> v.tolist()
    [2.0, 2.0]
    """
    new = value.data if isinstance(value, Tensor) else value
    k = device.kernels

    def write() -> None:
        k.moving_average(average.data, new, momentum=momentum, scale=scale, status=current_status())

    at_end_of_step(write)
