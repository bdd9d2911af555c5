"""Pooling of images: the largest or the mean of each window, or of each channel as a whole."""

from typing import Any

from nnfast import device
from nnfast.ops import reduce
from nnfast.ops import shape as shapes
from nnfast.ops._op import Op, float_operands
from nnfast.ops._window import pads, pair, single
from nnfast.ops.conv import channels_first
from nnfast.tape import Deferred
from nnfast.tensor import Tensor, wrap


def _output_size(n: int | None, k: int, stride: int, pad: Any, dilation: int, ceil_mode: bool) -> int | None:
    """Windows along one axis: `pool_output_size` of reference.py, with sizes that may be unknown."""
    if n is None:
        return None
    span = n + pad[0] + pad[1] - (k - 1) * dilation - 1
    size = (-(-span // stride) if ceil_mode else span // stride) + 1
    return size - 1 if ceil_mode and (size - 1) * stride >= n + pad[0] else size


class _Pool(Op):
    def output_shape(
        self,
        x: Any,
        pool_size: Any,
        *,
        strides: Any = None,
        padding: Any = "valid",
        dilation: Any = 1,
        ceil_mode: bool = False,
        data_format: str = "channels_last",
        **_: Any,
    ) -> tuple[int | None, ...]:
        """Of x (N, H, W, C), or (N, C, H, W); N, H and W may be None (not known yet)."""
        window = _window(self.name, x, pool_size, strides, padding, dilation, ceil_mode, data_format)
        first = window["channels_first"]
        size = tuple(x[2:4] if first else x[1:3])
        rows, columns = (
            _output_size(n, k, stride, pad, d, ceil_mode)
            for n, k, stride, pad, d in zip(size, window["pool"], window["strides"], window["pads"], window["dilation"])
        )
        for n in (rows, columns):
            if n is not None and n < 1:
                raise ValueError(
                    f"[{self.name}] the window is larger than the padded input. Received: x.shape={tuple(x)}, "
                    f"pool_size={pool_size}, padding={padding!r}, dilation={dilation}"
                )
        return (x[0], x[1], rows, columns) if first else (x[0], rows, columns, x[3])


class _Unpooled(Deferred):
    """The gradient by x of y = max_pool2d(x): dy at the winner of each window, else 0."""

    def __init__(self, dy: Any, x: Any, y: Any, window: dict[str, Any]):
        self.dy, self.x, self.y, self.window = dy, x, y, window

    def value(self) -> Any:
        return device.kernels.max_pool2d_gradient(self.dy, self.x, **self.window)

    def through(self, activation: int, slope: float, needs_db: bool) -> tuple[Any, Any]:
        """dz and db, where x = activation(z + b). Only winners have a gradient, and their x is y: so the activation's
        slope and the sums are taken on y and dy, a quarter of the numbers for windows of 2x2."""
        k = device.kernels
        how = {"activation": activation, "slope": slope, "axis": 1 if self.window["channels_first"] else 3}
        dy, db = k.bias_activation_gradient(self.dy, self.y if activation else None, needs_db=needs_db, **how)
        return k.max_pool2d_gradient(dy, self.x, **self.window), db


class MaxPool2D(_Pool):
    """The largest of each window."""

    name = "max_pool2d"

    def forward(self, k: Any, x: Any, **window: Any) -> tuple[Any, Any]:
        y = k.max_pool2d(x, **window)
        return y, (x, y, window)

    def gradient(self, dy: Any, saved: Any, needs: list[bool]) -> tuple[Any, ...]:
        return (_Unpooled(dy, *saved),)


class AvgPool2D(_Pool):
    """The mean of each window."""

    name = "avg_pool2d"

    def forward(self, k: Any, x: Any, **window: Any) -> tuple[Any, Any]:
        return k.avg_pool2d(x, **window), (x.shape, window)

    def gradient(self, dy: Any, saved: Any, needs: list[bool]) -> tuple[Any, ...]:
        shape, window = saved
        return (device.kernels.avg_pool2d_gradient(dy, shape, **window),)


_max_pool2d, _avg_pool2d = MaxPool2D(), AvgPool2D()


def _window(
    name: str, shape: Any, pool_size: Any, strides: Any, padding: Any, dilation: Any, ceil_mode: bool, data_format: str
) -> dict[str, Any]:
    """What the kernels are told."""
    if len(shape) != 4:
        raise ValueError(
            f"[{name}] x must be (N, H, W, C) or, channels first, (N, C, H, W). Received: x.shape={tuple(shape)}"
        )
    first = channels_first(name, data_format)
    pool, dilation = pair(name, "pool_size", pool_size), pair(name, "dilation", dilation)
    strides = pool if strides is None else pair(name, "strides", strides)
    around = pads(name, padding, shape[2:4] if first else shape[1:3], pool, strides, dilation)
    return {
        "pool": pool,
        "strides": strides,
        "pads": around,
        "dilation": dilation,
        "ceil_mode": bool(ceil_mode),
        "channels_first": first,
    }


def _prepared(op: Op, x: Any, *window: Any) -> tuple[Any, dict[str, Any]]:
    (x,) = float_operands(op.name, x)
    return x, _window(op.name, x.shape, *window)


def max_pool2d(
    x: Any,
    pool_size: Any,
    *,
    strides: Any = None,
    padding: Any = "valid",
    dilation: Any = 1,
    ceil_mode: bool = False,
    data_format: str = "channels_last",
    return_indices: bool = False,
) -> Any:
    """The largest of each window. Padding never wins, NaN always does.

    Args:
        x: (N, H, W, C); with data_format="channels_first" (N, C, H, W).
        pool_size: (rows, columns) of a window, or one integer for both.
        strides: steps between windows. Default: pool_size.
        padding: "valid" (none); "same" (an output of ceil(size / stride), the odd cell goes after); an integer; or
            ((top, bottom), (left, right)).
        dilation: steps between the cells of a window.
        ceil_mode: also a last window that hangs over the edge, if it begins inside.
        data_format: see x.
        return_indices: also the position h * W + w (int64) of each winner, the first of equals.

    Returns:
        (N, P, Q, C), or (N, C, P, Q); with return_indices a pair of them.

    Raises:
        ValueError: a window is larger than the padded input, or lies in the padding alone.

    >>> import numpy as np, nnfast
    >>> nnfast.ops.max_pool2d(np.arange(16.0).reshape(1, 4, 4, 1), 2).data[0, :, :, 0].tolist()
    [[5.0, 7.0], [13.0, 15.0]]
    """
    x, window = _prepared(_max_pool2d, x, pool_size, strides, padding, dilation, ceil_mode, data_format)
    y = _max_pool2d.apply(x, **window)
    if not return_indices:
        return y
    return y, wrap(device.kernels.max_pool2d(x.data if isinstance(x, Tensor) else x, **window, indices=True)[1])


def avg_pool2d(
    x: Any,
    pool_size: Any,
    *,
    strides: Any = None,
    padding: Any = "valid",
    dilation: Any = 1,
    ceil_mode: bool = False,
    count_include_pad: bool = False,
    data_format: str = "channels_last",
) -> Tensor:
    """The mean of each window, over its cells inside the input.

    Args:
        x, pool_size, strides, padding, dilation, ceil_mode, data_format: as in `max_pool2d`.
        count_include_pad: cells in the padding count as zeros (what hangs over it never counts).

    >>> import numpy as np, nnfast
    >>> nnfast.ops.avg_pool2d(np.arange(16.0).reshape(1, 4, 4, 1), 2).data[0, :, :, 0].tolist()
    [[2.5, 4.5], [10.5, 12.5]]
    """
    x, window = _prepared(_avg_pool2d, x, pool_size, strides, padding, dilation, ceil_mode, data_format)
    return _avg_pool2d.apply(x, **window, count_include_pad=bool(count_include_pad))


def _of_sequences(name: str, pool: Any, x: Any, pool_size: Any, strides: Any, padding: Any, data_format: str) -> Tensor:
    """Pooling of sequences, as images with one row."""
    (x,) = float_operands(name, x)
    if x.ndim != 3:
        raise ValueError(
            f"[{name}] x must be (N, steps, C) or, channels first, (N, C, steps). Received: x.shape={x.shape}"
        )
    size = single(name, "pool_size", pool_size)
    stride = size if strides is None else single(name, "strides", strides)
    axis = 2 if channels_first(name, data_format) else 1
    if not isinstance(padding, str):
        padding = ((0, 0), tuple(padding) if isinstance(padding, (tuple, list)) else (padding, padding))
    y = pool(shapes.expand_dims(x, axis), (1, size), strides=(1, stride), padding=padding, data_format=data_format)
    return shapes.squeeze(y, axis)


def max_pool1d(
    x: Any, pool_size: Any, *, strides: Any = None, padding: Any = "valid", data_format: str = "channels_last"
) -> Tensor:
    """The largest of each window of steps. x: (N, steps, C) or (N, C, steps); arguments as in `max_pool2d`.

    >>> import numpy as np, nnfast
    >>> nnfast.ops.max_pool1d(np.arange(4.0).reshape(1, 4, 1), 2).data.ravel().tolist()
    [1.0, 3.0]
    """
    return _of_sequences("max_pool1d", max_pool2d, x, pool_size, strides, padding, data_format)


def avg_pool1d(
    x: Any, pool_size: Any, *, strides: Any = None, padding: Any = "valid", data_format: str = "channels_last"
) -> Tensor:
    """The mean of each window of steps, over its cells inside. Arguments as in `max_pool1d`.

    >>> import numpy as np, nnfast
    >>> nnfast.ops.avg_pool1d(np.arange(4.0).reshape(1, 4, 1), 2).data.ravel().tolist()
    [0.5, 2.5]
    """
    return _of_sequences("avg_pool1d", avg_pool2d, x, pool_size, strides, padding, data_format)


def _global(name: str, reduction: Any, x: Any, keepdims: bool, data_format: str) -> Tensor:
    (x,) = float_operands(name, x)
    if x.ndim != 4:
        raise ValueError(
            f"[{name}] x must be (N, H, W, C) or, channels first, (N, C, H, W). Received: x.shape={x.shape}"
        )
    return reduction(x, axis=(2, 3) if channels_first(name, data_format) else (1, 2), keepdims=keepdims)


def global_max_pool2d(x: Any, *, keepdims: bool = False, data_format: str = "channels_last") -> Tensor:
    """The largest of each channel: (N, H, W, C) -> (N, C), or (N, 1, 1, C) with keepdims.

    >>> import numpy as np, nnfast
    >>> nnfast.ops.global_max_pool2d(np.arange(8.0).reshape(1, 2, 2, 2)).tolist()
    [[6.0, 7.0]]
    """
    return _global("global_max_pool2d", reduce.max, x, keepdims, data_format)


def global_avg_pool2d(x: Any, *, keepdims: bool = False, data_format: str = "channels_last") -> Tensor:
    """The mean of each channel: (N, H, W, C) -> (N, C), or (N, 1, 1, C) with keepdims.

    >>> import numpy as np, nnfast
    >>> nnfast.ops.global_avg_pool2d(np.arange(8.0).reshape(1, 2, 2, 2)).tolist()
    [[3.0, 4.0]]
    """
    return _global("global_avg_pool2d", reduce.mean, x, keepdims, data_format)
