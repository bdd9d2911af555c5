"""Reductions: sum, mean, extremes, products, variance, log-sum-exp over any axes.

`axis` is None (all of them), an integer or a tuple of integers; negative ones count from the end. `keepdims=True` keeps
what is reduced away as size 1. Sums, products and extremes of integers are integers; everything else is a float.
"""

import math
import operator
from typing import Any

import numpy as np

from nnfast import config, device
from nnfast.ops._op import Op, float_operands
from nnfast.tensor import Tensor, as_array, wrap

Shape = tuple[int | None, ...]


def axes_of(name: str, axis: Any, ndim: int) -> tuple[int, ...]:
    """The axes as distinct non-negative numbers, or IndexError, ValueError or TypeError under the tag `name`."""
    if axis is None:
        return tuple(range(ndim))
    axes = []
    for a in axis if isinstance(axis, (tuple, list)) else (axis,):
        try:
            if isinstance(a, bool):
                raise TypeError
            i = operator.index(a)
        except TypeError:
            raise TypeError(f"[{name}] axis must be an integer, a tuple of integers or None. Received: {a!r}") from None
        if not -ndim <= i < ndim:
            raise IndexError(f"[{name}] axis is out of range. Received: axis={a}, an input of {ndim} dimensions")
        axes.append(i % ndim)
    if len(set(axes)) != len(axes):
        raise ValueError(f"[{name}] an axis is repeated. Received: axis={axis}, an input of {ndim} dimensions")
    return tuple(axes)


def spread(dy: Any, shape: tuple[int, ...], axes: tuple[int, ...]) -> Any:
    """dy, one number per result, as a view with the shape of the operand: it repeats itself along the axes."""
    if dy.ndim != len(shape):
        dy = np.expand_dims(dy, axes)
    return np.broadcast_to(dy, shape)


class Reduction(Op):
    """What reductions share: the shape of the result."""

    def output_shape(self, x: Any, axes: tuple[int, ...], keepdims: bool) -> Shape:
        return tuple(1 if i in axes else n for i, n in enumerate(x) if keepdims or i not in axes)


class Sum(Reduction):
    """The sum over the axes."""

    name = "sum"

    def forward(self, k: Any, x: Any, axes: tuple[int, ...], keepdims: bool) -> tuple[Any, Any]:
        return k.sum(x, axes, keepdims), (x.shape, axes)

    def gradient(self, dy: Any, saved: Any, needs: list[bool]) -> tuple[Any, ...]:
        return (spread(dy, *saved),)


class Mean(Reduction):
    """The sum over the axes, divided by how many there are."""

    name = "mean"

    def forward(self, k: Any, x: Any, axes: tuple[int, ...], keepdims: bool) -> tuple[Any, Any]:
        return k.mean(x, axes, keepdims), (x.shape, axes)

    def gradient(self, dy: Any, saved: Any, needs: list[bool]) -> tuple[Any, ...]:
        shape, axes = saved
        count = math.prod(shape[i] for i in axes)
        share = device.kernels.cast(dy, dy.dtype.name, 1 / count) if count else dy
        return (spread(share, shape, axes),)


class Max(Reduction):
    """The largest element; NaN if there is one. Equals share the gradient."""

    name = "max"

    def forward(self, k: Any, x: Any, axes: tuple[int, ...], keepdims: bool) -> tuple[Any, Any]:
        y = k.max(x, axes, keepdims)
        return y, (x, y, axes)

    def gradient(self, dy: Any, saved: Any, needs: list[bool]) -> tuple[Any, ...]:
        return (device.kernels.extremum_gradient(dy, *saved),)


class Min(Max):
    """The smallest element; NaN if there is one. Equals share the gradient."""

    name = "min"

    def forward(self, k: Any, x: Any, axes: tuple[int, ...], keepdims: bool) -> tuple[Any, Any]:
        y = k.min(x, axes, keepdims)
        return y, (x, y, axes)


class Prod(Reduction):
    """The product over the axes. The gradient is right where elements are zero, too."""

    name = "prod"

    def forward(self, k: Any, x: Any, axes: tuple[int, ...], keepdims: bool) -> tuple[Any, Any]:
        return k.prod(x, axes, keepdims), (x, axes)

    def gradient(self, dy: Any, saved: Any, needs: list[bool]) -> tuple[Any, ...]:
        return (device.kernels.prod_gradient(dy, *saved),)


class Var(Reduction):
    """The mean squared distance from the mean."""

    name = "var"

    def forward(self, k: Any, x: Any, axes: tuple[int, ...], keepdims: bool) -> tuple[Any, Any]:
        return k.var(x, axes, keepdims), (x, axes)

    def gradient(self, dy: Any, saved: Any, needs: list[bool]) -> tuple[Any, ...]:
        return (device.kernels.var_gradient(dy, *saved),)


class Std(Reduction):
    """The square root of the variance."""

    name = "std"

    def forward(self, k: Any, x: Any, axes: tuple[int, ...], keepdims: bool) -> tuple[Any, Any]:
        y = k.sqrt(k.var(x, axes, keepdims))
        return y, (x, y, axes)

    def gradient(self, dy: Any, saved: Any, needs: list[bool]) -> tuple[Any, ...]:
        x, y, axes = saved
        k = device.kernels
        return (k.var_gradient(k.sqrt_gradient(dy, y), x, axes),)


class LogSumExp(Reduction):
    """log(sum(exp(x))), which neither overflows nor loses small terms to rounding."""

    name = "logsumexp"

    def forward(self, k: Any, x: Any, axes: tuple[int, ...], keepdims: bool) -> tuple[Any, Any]:
        y = k.logsumexp(x, axes, keepdims)
        return y, (x, y, axes)

    def gradient(self, dy: Any, saved: Any, needs: list[bool]) -> tuple[Any, ...]:
        return (device.kernels.logsumexp_gradient(dy, *saved),)


_sum, _mean, _max, _min, _prod = Sum(), Mean(), Max(), Min(), Prod()
_var, _std, _logsumexp = Var(), Std(), LogSumExp()


def _apply(op: Op, x: Any, axis: Any, keepdims: bool) -> Tensor:
    if not isinstance(x, Tensor):
        x = as_array(x, name=op.name)
    exact = x.dtype.kind != "f"  # integers: computed in float64, which holds them up to 2^53
    if exact:
        x = device.kernels.cast(as_array(x), "float64")
    else:
        (x,) = float_operands(op.name, x)
    y = op.apply(x, axes=axes_of(op.name, axis, x.ndim), keepdims=bool(keepdims))
    return wrap(device.kernels.cast(y.data, config.floatx())) if exact else y


def _apply_any(op: Op, x: Any, axis: Any, keepdims: bool, widen: bool) -> Tensor:
    """The same for ops that leave integers integers; widen: in 64 bits."""
    if not isinstance(x, Tensor):
        x = as_array(x, name=op.name)
    if x.dtype.kind == "f":
        return _apply(op, x, axis, keepdims)
    axes = axes_of(op.name, axis, x.ndim)
    if widen and x.dtype.itemsize < 8:
        x = device.kernels.cast(as_array(x), "int64")
    return op.apply(x, axes=axes, keepdims=bool(keepdims))


def sum(x: Any, axis: Any = None, keepdims: bool = False) -> Tensor:
    """The sum of the elements along axis. Nothing sums to 0; integers sum to int64.

    float32 elements are added in blocks and the blocks in double precision, in an order that does not depend on the
    number of threads.

    >>> import nnfast
    >>> nnfast.ops.sum([[1.0, 2.0], [3.0, 4.0]], axis=0).numpy()
    array([4., 6.], dtype=float32)
    """
    return _apply_any(_sum, x, axis, keepdims, True)


def mean(x: Any, axis: Any = None, keepdims: bool = False) -> Tensor:
    """The mean of the elements along axis, NaN of nothing.

    >>> import nnfast
    >>> nnfast.ops.mean([[1.0, 2.0], [3.0, 4.0]]).item()
    2.5
    """
    return _apply(_mean, x, axis, keepdims)


def max(x: Any, axis: Any = None, keepdims: bool = False) -> Tensor:
    """The largest element along axis; NaN if there is one. Its gradient goes to the elements that equal it, in equal
    shares.

    Raises:
        ValueError: there is nothing to choose from.

    >>> import nnfast
    >>> nnfast.ops.max([[1.0, 2.0], [4.0, 3.0]], axis=1).numpy()
    array([2., 4.], dtype=float32)
    """
    return _apply_any(_max, x, axis, keepdims, False)


def min(x: Any, axis: Any = None, keepdims: bool = False) -> Tensor:
    """The smallest element along axis; NaN if there is one. Its gradient goes to the elements that equal it, in equal
    shares.

    Raises:
        ValueError: there is nothing to choose from.

    >>> import nnfast
    >>> nnfast.ops.min([[1.0, 2.0], [4.0, 3.0]], axis=1).numpy()
    array([1., 3.], dtype=float32)
    """
    return _apply_any(_min, x, axis, keepdims, False)


def prod(x: Any, axis: Any = None, keepdims: bool = False) -> Tensor:
    """The product of the elements along axis. Of nothing it is 1; of integers it is int64.

    >>> import nnfast
    >>> nnfast.ops.prod([[1.0, 2.0], [3.0, 4.0]], axis=1).numpy()
    array([ 2., 12.], dtype=float32)
    """
    return _apply_any(_prod, x, axis, keepdims, True)


def var(x: Any, axis: Any = None, keepdims: bool = False) -> Tensor:
    """The mean squared distance from the mean along axis (biased: divided by n, as in NumPy and Keras).

    >>> import nnfast
    >>> nnfast.ops.var([1.0, 3.0]).item()
    1.0
    """
    return _apply(_var, x, axis, keepdims)


def std(x: Any, axis: Any = None, keepdims: bool = False) -> Tensor:
    """The square root of `var`.

    >>> import nnfast
    >>> nnfast.ops.std([1.0, 5.0]).item()
    2.0
    """
    return _apply(_std, x, axis, keepdims)


def logsumexp(x: Any, axis: Any = None, keepdims: bool = False) -> Tensor:
    """log(sum(exp(x))) along axis, computed from the distances to the largest element, so nothing overflows.

    >>> import nnfast
    >>> nnfast.ops.logsumexp([1000.0, 1000.0]).item() - 1000
    0.69317626953125
    """
    return _apply(_logsumexp, x, axis, keepdims)


def _arg(name: str, x: Any, axis: Any, keepdims: bool) -> Tensor:
    a = x.data if isinstance(x, Tensor) else as_array(x, name=name)
    kernel = getattr(device.kernels, name)
    if axis is None:
        y = kernel(a.reshape(-1), 0)
        return wrap(y.reshape((1,) * a.ndim) if keepdims else y)
    return wrap(kernel(a, *axes_of(name, (axis,), a.ndim), bool(keepdims)))


def argmax(x: Any, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """Where the first largest element along axis stands (int64); the first NaN wins. None: in the flattened array.

    Raises:
        ValueError: there is nothing to choose from.

    >>> import nnfast
    >>> nnfast.ops.argmax([[1.0, 2.0], [4.0, 3.0]], axis=1).numpy()
    array([1, 0])
    """
    return _arg("argmax", x, axis, keepdims)


def argmin(x: Any, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """Where the first smallest element along axis stands (int64); the first NaN wins. None: in the flattened array.

    Raises:
        ValueError: there is nothing to choose from.

    >>> import nnfast
    >>> nnfast.ops.argmin([[1.0, 2.0], [4.0, 3.0]], axis=1).numpy()
    array([0, 1])
    """
    return _arg("argmin", x, axis, keepdims)
