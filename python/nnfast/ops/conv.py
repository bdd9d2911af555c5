"""Convolution of images with a bank of filters."""

from typing import Any

from nnfast import device
from nnfast.ops import shape as shapes
from nnfast.ops._op import Op, float_operands, given
from nnfast.ops._window import output_size, pads, pair, positive, single, transposed
from nnfast.ops.elementwise import add
from nnfast.ops.linalg import FUSED_ACTIVATIONS
from nnfast.tape import Deferred
from nnfast.tensor import Tensor


class Conv2D(Op):
    """y = activation(convolution of x with w, + b), in one pass over y."""

    name = "conv2d"
    takes_deferred = True

    def forward(self, k: Any, x: Any, w: Any, b: Any, activation: int, slope: float, **window: Any) -> tuple[Any, Any]:
        if device.settings.matmul_precision:
            window["precision"] = device.settings.matmul_precision  # the gradients' too
        y = k.conv2d(x, w, b, activation=activation, slope=slope, **window)
        return y, (x, w, y if activation else None, activation, slope, window)

    def gradient(self, dy: Any, saved: Any, needs: list[bool]) -> tuple[Any, ...]:
        k = device.kernels
        x, w, y, activation, slope, window = saved
        if isinstance(dy, Deferred):  # of max_pool2d
            dz, db = dy.through(activation, slope, needs[2])
        else:
            axis = 1 if window["channels_first"] else 3
            dz, db = k.bias_activation_gradient(dy, y, activation=activation, slope=slope, axis=axis, needs_db=needs[2])
        dx = k.conv2d_input_gradient(dz, w, x.shape, **window) if needs[0] else None
        dw = k.conv2d_filter_gradient(x, dz, w.shape, **window) if needs[1] else None
        return dx, dw, db

    def output_shape(
        self,
        x: Any,
        w: Any,
        *_: Any,
        strides: Any = 1,
        padding: Any = "valid",
        dilation: Any = 1,
        data_format: str = "channels_last",
        **__: Any,
    ) -> tuple[int | None, ...]:
        """Of x (N, H, W, C), or (N, C, H, W), and w (R, S, C / groups, F); N, H and W may be None (not known yet)."""
        strides, dilation = pair("conv2d", "strides", strides), pair("conv2d", "dilation", dilation)
        first = channels_first("conv2d", data_format)
        size = tuple(x[2:4] if first else x[1:3])
        around = pads("conv2d", padding, size, w[:2], strides, dilation)
        rows, columns = (output_size(*axis) for axis in zip(size, w[:2], strides, around, dilation))
        for n in (rows, columns):
            if n is not None and n < 1:
                raise ValueError(
                    f"[conv2d] the kernel is larger than the padded input. Received: x.shape={tuple(x)}, "
                    f"w.shape={tuple(w)}, padding={padding!r}, dilation={dilation}"
                )
        return (x[0], w[3], rows, columns) if first else (x[0], rows, columns, w[3])


_conv2d = Conv2D()


def channels_first(name: str, data_format: str) -> bool:
    """Whether data_format is "channels_first"; a ValueError if it is neither of the two."""
    if data_format not in ("channels_last", "channels_first"):
        raise ValueError(
            f"[{name}] data_format must be 'channels_last' or 'channels_first'. Received: data_format={data_format!r}"
        )
    return data_format == "channels_first"


def conv2d(
    x: Any,
    w: Any,
    b: Any = None,
    *,
    strides: Any = 1,
    padding: Any = "valid",
    dilation: Any = 1,
    groups: int = 1,
    data_format: str = "channels_last",
    activation: str = "linear",
    slope: float = 0.0,
) -> Tensor:
    """activation(convolution of the images x with the filters w, + b).

    y[n,p,q,f] is the sum of x[n, p*stride + r*dilation - top, q*stride + s*dilation - left, c] * w[r,s,c,f] over r, s
    and c, where x is zero outside its edges (a cross-correlation, as everywhere in this field). With groups, filter f
    sees only the channels of its group.

    Args:
        x: (N, H, W, C); with data_format="channels_first" (N, C, H, W).
        w: (R, S, C / groups, F), rows and columns of the kernel first, whatever the data format.
        b: (F,) or None.
        strides, dilation: an integer, or one for rows and one for columns.
        padding: "valid" (none); "same" (an output of ceil(size / stride), the odd cell goes after); an integer; or
            ((top, bottom), (left, right)).
        groups: divides both C and F. groups == C is a depthwise convolution.
        activation: a name in `ops.FUSED_ACTIVATIONS`.
        slope: of leaky_relu and elu.

    Returns:
        (N, P, Q, F), or (N, F, P, Q), with P = (H + top + bottom - (R - 1) * dilation - 1) // stride + 1.

    Raises:
        ValueError: shapes or numbers that do not fit together.
        TypeError: dtypes that differ; strides, dilation or padding that are not integers.
        OverflowError: sizes beyond 2**31.

    >>> import numpy as np, nnfast
    >>> nnfast.ops.conv2d(np.ones((1, 28, 28, 1), "float32"), np.ones((3, 3, 1, 32), "float32"), padding="same").shape
    (1, 28, 28, 32)
    """
    if not isinstance(activation, str) or activation not in FUSED_ACTIVATIONS:
        known = ", ".join(FUSED_ACTIVATIONS)
        raise ValueError(f"[conv2d] unknown activation. Known: {known}. Received: {activation!r}")
    given("conv2d", x, w)
    x, w, b = float_operands("conv2d", x, w, b)
    if x.ndim != 4 or w.ndim != 4:
        raise ValueError(
            "[conv2d] x must be (N, H, W, C), or channels first (N, C, H, W), and w (rows, columns, C / groups, "
            f"filters). Received: x.shape={x.shape}, w.shape={w.shape}"
        )
    strides, dilation = pair("conv2d", "strides", strides), pair("conv2d", "dilation", dilation)
    first = channels_first("conv2d", data_format)
    around = pads("conv2d", padding, x.shape[2:4] if first else x.shape[1:3], w.shape[:2], strides, dilation)
    return _conv2d.apply(
        x,
        w,
        b,
        activation=FUSED_ACTIVATIONS[activation],
        slope=slope,
        strides=strides,
        pads=around,
        dilation=dilation,
        groups=positive("conv2d", "groups", groups),
        channels_first=first,
    )


def conv1d(
    x: Any,
    w: Any,
    b: Any = None,
    *,
    strides: Any = 1,
    padding: Any = "valid",
    dilation: Any = 1,
    groups: int = 1,
    data_format: str = "channels_last",
    activation: str = "linear",
    slope: float = 0.0,
) -> Tensor:
    """activation(convolution of the sequences x with the filters w, + b): `conv2d` of images with one row.

    Args:
        x: (N, steps, C); with data_format="channels_first" (N, C, steps).
        w: (K, C / groups, F).
        padding: as in `conv2d`; "causal": (K - 1) * dilation cells before the first step; a pair (before, after).
        b, strides, dilation, groups, activation, slope: as in `conv2d`, with integers in place of pairs.

    >>> import numpy as np, nnfast
    >>> nnfast.ops.conv1d(np.ones((1, 4, 1)), np.ones((2, 1, 1)), padding="causal").data.ravel().tolist()
    [1.0, 2.0, 2.0, 2.0]
    """
    given("conv1d", x, w)
    x, w, b = float_operands("conv1d", x, w, b)
    if x.ndim != 3 or w.ndim != 3:
        raise ValueError(
            "[conv1d] x must be (N, steps, C), or channels first (N, C, steps), and w (steps, C / groups, filters). "
            f"Received: x.shape={x.shape}, w.shape={w.shape}"
        )
    stride, dilation = single("conv1d", "strides", strides), single("conv1d", "dilation", dilation)
    if padding == "causal":
        padding = ((0, 0), ((w.shape[0] - 1) * dilation, 0))
    elif not isinstance(padding, str):
        padding = ((0, 0), tuple(padding) if isinstance(padding, (tuple, list)) else (padding, padding))
    axis = 2 if channels_first("conv1d", data_format) else 1
    y = conv2d(
        shapes.expand_dims(x, axis),
        shapes.expand_dims(w, 0),
        b,
        strides=(1, stride),
        padding=padding,
        dilation=(1, dilation),
        groups=groups,
        data_format=data_format,
        activation=activation,
        slope=slope,
    )
    return shapes.squeeze(y, axis)


def depthwise_conv2d(x: Any, w: Any, b: Any = None, *, data_format: str = "channels_last", **options: Any) -> Tensor:
    """A convolution of each channel with filters of its own: output channel c * M + m comes from channel c.

    Args:
        x: (N, H, W, C); with data_format="channels_first" (N, C, H, W).
        w: (R, S, C, M).
        b: (C * M,) or None.
        options: strides, padding, dilation, activation and slope as in `conv2d`.

    >>> import numpy as np, nnfast
    >>> nnfast.ops.depthwise_conv2d(np.ones((1, 4, 4, 3)), np.ones((2, 2, 3, 2))).shape
    (1, 3, 3, 6)
    """
    given("depthwise_conv2d", x, w)
    x, w, b = float_operands("depthwise_conv2d", x, w, b)
    axis = 1 if channels_first("depthwise_conv2d", data_format) else 3
    if x.ndim != 4 or w.ndim != 4 or x.shape[axis] != w.shape[2]:
        raise ValueError(
            "[depthwise_conv2d] x must be (N, H, W, C), or channels first (N, C, H, W), and w (rows, columns, C, "
            f"filters per channel). Received: x.shape={x.shape}, w.shape={w.shape}"
        )
    rows, columns, channels, each = w.shape
    flat = shapes.reshape(w, (rows, columns, 1, channels * each))
    return conv2d(x, flat, b, groups=channels, data_format=data_format, **options)


class Conv2DTranspose(Op):
    """The gradient of conv2d by its input, taken of x."""

    name = "conv2d_transpose"

    def forward(self, k: Any, x: Any, w: Any, shape: Any, **window: Any) -> tuple[Any, Any]:
        if device.settings.matmul_precision:
            window["precision"] = device.settings.matmul_precision
        return k.conv2d_input_gradient(x, w, shape, **window), (x, w, window)

    def gradient(self, dy: Any, saved: Any, needs: list[bool]) -> tuple[Any, ...]:
        k = device.kernels
        x, w, window = saved
        dx = k.conv2d(dy, w, None, **window) if needs[0] else None
        return dx, k.conv2d_filter_gradient(dy, x, w.shape, **window) if needs[1] else None

    def output_shape(self, x: Any, w: Any, shape: Any, **_: Any) -> tuple[int | None, ...]:
        return shape


_conv2d_transpose = Conv2DTranspose()


def conv2d_transpose(
    x: Any,
    w: Any,
    b: Any = None,
    *,
    strides: Any = 1,
    padding: str = "valid",
    output_padding: Any = None,
    dilation: Any = 1,
    data_format: str = "channels_last",
) -> Tensor:
    """The way back through a convolution, + b: each pixel of x adds its multiple of the filters to the output.

    Args:
        x: (N, H, W, C); with data_format="channels_first" (N, C, H, W).
        w: (R, S, F, C): the filters of the convolution from F to C channels whose way back it is.
        b: (F,) or None.
        strides, dilation: of that convolution.
        padding: "valid": an output of (H - 1) * stride + max(span, stride) rows, span = (R - 1) * dilation + 1;
            "same": of H * stride.
        output_padding: one integer or a pair, which then set the size: (H - 1) * stride + span + output_padding, with
            padding="same" less 2 * (span // 2).

    >>> import numpy as np, nnfast
    >>> nnfast.ops.conv2d_transpose(np.ones((1, 7, 7, 2)), np.ones((3, 3, 5, 2)), strides=2, padding="same").shape
    (1, 14, 14, 5)
    """
    given("conv2d_transpose", x, w)
    x, w, b = float_operands("conv2d_transpose", x, w, b)
    if x.ndim != 4 or w.ndim != 4:
        raise ValueError(
            "[conv2d_transpose] x must be (N, H, W, C), or channels first (N, C, H, W), and w (rows, columns, filters, "
            f"C). Received: x.shape={x.shape}, w.shape={w.shape}"
        )
    if padding not in ("valid", "same"):
        raise ValueError(f"[conv2d_transpose] padding must be 'valid' or 'same'. Received: padding={padding!r}")
    strides = pair("conv2d_transpose", "strides", strides)
    dilation = pair("conv2d_transpose", "dilation", dilation)
    first = channels_first("conv2d_transpose", data_format)
    extra = output_padding if isinstance(output_padding, (tuple, list)) else (output_padding, output_padding)
    size = x.shape[2:4] if first else x.shape[1:3]
    axes = [transposed(n, k, s, padding, d, e) for n, k, s, d, e in zip(size, w.shape[:2], strides, dilation, extra)]
    rows, columns = (n for n, _ in axes)
    y = _conv2d_transpose.apply(
        x,
        w,
        shape=(x.shape[0], w.shape[2], rows, columns) if first else (x.shape[0], rows, columns, w.shape[2]),
        strides=strides,
        pads=tuple((before, max(after, 0)) for _, (before, after) in axes),
        dilation=dilation,
        groups=1,
        channels_first=first,
    )
    if b is None:
        return y
    return add(y, shapes.reshape(b, (-1, 1, 1)) if first else b)
