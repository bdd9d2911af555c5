"""Convolutions: filters slide over images or sequences."""

from typing import Any

from nnfast import activations, ops
from nnfast.layers.images import Spatial, integers, padding_mode, windows
from nnfast.layers.layer import Shape
from nnfast.layers.weights import add, keep_options, positive_int
from nnfast.ops import _window
from nnfast.tensor import Tensor, Variable


class _Windows(Spatial):
    """What all convolutions share: windows that must fit, kernels that were built for some channels."""

    _weight = "kernel"  # the one that says how many channels come in
    kernel_size: tuple[int, ...]
    strides: tuple[int, ...]
    dilation_rate: tuple[int, ...]
    padding: str
    activation: Any
    groups = 1

    def _keep_windows(self, kernel_size: Any, strides: Any, padding: Any, dilation_rate: Any, *more: str) -> None:
        self.kernel_size = integers(self, "kernel_size", kernel_size, self._dims)
        self.strides = integers(self, "strides", strides, self._dims)
        self.padding = padding_mode(self, padding, *more)
        self.dilation_rate = integers(self, "dilation_rate", dilation_rate, self._dims)

    def _input_channels(self) -> int | None:
        """Those of which it was built; None before."""
        weight = getattr(self, self._weight)
        return None if weight is None else weight.shape[-2] * self.groups

    def check_input(self, shape: Shape) -> None:
        super().check_input(shape)
        channels, wanted = shape[self._channels_axis], self._input_channels()
        if channels is None:
            raise self._mismatch("needs the number of channels", shape, "Give it in input_shape=")
        if wanted is not None and channels != wanted:
            other = "channels_first" if self.data_format == "channels_last" else "channels_last"
            raise self._mismatch(
                f"was built for {wanted} input channels ({self.data_format})",
                shape,
                f"If the channels stand elsewhere, give data_format={other!r}",
            )
        if any(n is not None and n < 1 for n in self._output_size(self._size(shape))):
            raise self._mismatch(
                f"has kernel_size={self.kernel_size}, dilation_rate={self.dilation_rate}, larger than its input",
                shape,
                "Use padding='same' or a smaller kernel",
            )

    def _output_size(self, size: Any) -> tuple[int | None, ...]:
        axes = zip(size, self.kernel_size, self.strides, self.dilation_rate)
        return tuple(windows(n, k, s, self.padding, d) for n, k, s, d in axes)

    def get_config(self) -> dict[str, Any]:
        return {"activity_regularizer": None, **super().get_config()}  # Keras writes it for convolutions, even if None

    def _activated(self, convolve: Any, *operands: Any, **options: Any) -> Tensor:
        """convolve(...), with the activation in the same pass where the kernel knows it."""
        fused = activations.FUSED.get(self.activation)
        activation, slope = fused or ("linear", 0.0)
        y = convolve(*operands, data_format=self.data_format, activation=activation, slope=slope, **options)
        return y if fused else self.activation(y)


def _of_keras_1(layer: str, kernel_size: Any, strides: Any, kwargs: dict[str, Any]) -> None:
    """The error for Conv2D(64, 3, 3, border_mode="same"), which were filters, rows, columns and padding once."""
    if "border_mode" not in kwargs:
        return
    mode = kwargs["border_mode"]
    raise TypeError(
        f"[{layer}] unknown argument. Received: border_mode={mode!r}. It is called padding now, and rows and columns "
        f"of the kernel are one argument: {layer}(filters, ({kernel_size}, {strides}), padding={mode!r})"
    )


class _Convolution(_Windows):
    _paddings: tuple[str, ...] = ()  # beside valid and same
    _convolve: Any = None

    def __init__(
        self,
        filters: int,
        kernel_size: Any,
        strides: Any = 1,
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: Any = 1,
        groups: int = 1,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        **kwargs: Any,
    ):
        _of_keras_1(type(self).__name__, kernel_size, strides, kwargs)
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        self.filters = positive_int(self, "filters", filters)
        self._keep_windows(kernel_size, strides, padding, dilation_rate, *self._paddings)
        self._keep_format(data_format)
        self.groups = positive_int(self, "groups", groups)
        if self.filters % self.groups:
            raise ValueError(
                f"[{type(self).__name__}] filters must be a multiple of groups. "
                f"Received: filters={filters}, groups={groups}"
            )
        self.activation = activations.get(activation)
        self.use_bias = use_bias
        keep_options(self, "kernel", kernel_initializer, kernel_regularizer, kernel_constraint)
        keep_options(self, "bias", bias_initializer, bias_regularizer, bias_constraint)
        self.kernel: Variable | None = None
        self.bias: Variable | None = None

    def check_input(self, shape: Shape) -> None:
        super().check_input(shape)
        channels = shape[self._channels_axis]
        if channels % self.groups:  # type: ignore[operator]
            raise self._mismatch(f"has groups={self.groups}, which {channels} channels are no multiple of", shape)

    def build(self, input_shape: Any) -> None:
        channels = input_shape[self._channels_axis]
        self.kernel = add(self, "kernel", (*self.kernel_size, channels // self.groups, self.filters))
        if self.use_bias:
            self.bias = add(self, "bias", (self.filters,))

    def call(self, x: Tensor) -> Tensor:
        return self._activated(
            self._convolve,
            x,
            self.kernel,
            self.bias,
            strides=self.strides,
            padding=self.padding,
            dilation=self.dilation_rate,
            groups=self.groups,
        )

    def _output_channels(self, channels: int | None) -> int | None:
        return self.filters


class Conv2D(_Convolution):
    """y = activation(conv2d(x, kernel) + bias).

    Args:
        filters: the number F of output channels.
        kernel_size: (rows, columns) of a filter, or one integer for both.
        strides: steps between windows.
        padding: "valid" (none) or "same" (the output is ceil(size / stride); the odd cell goes after).
        data_format: "channels_last" (N, H, W, C) or "channels_first" (N, C, H, W).
        dilation_rate: distance between the cells of a filter.
        groups: channels are split into so many groups, each with filters of its own.
        activation: name or function; None: linear.
        use_bias: is a bias added?
        kernel_initializer, bias_initializer: the first values.
        kernel_regularizer, bias_regularizer, activity_regularizer: what kernel, bias and output cost.
        kernel_constraint, bias_constraint: what they must fulfil after every step.

    Kernel (rows, columns, C / groups, F), bias (F,).

    >>> import numpy as np, nnfast
    >>> nnfast.layers.Conv2D(32, 3, padding="same", activation="relu")(np.ones((1, 28, 28, 1))).shape
    (1, 28, 28, 32)
    """

    _convolve = staticmethod(ops.conv2d)


class Conv1D(_Convolution):
    """A convolution of sequences (N, steps, C), or channels first (N, C, steps).

    Args:
        padding: "valid", "same" or "causal": so many cells before the first step that output t sees none after t.
        others: as in `Conv2D`, with integers in place of pairs.

    Kernel (steps, C / groups, F), bias (F,).

    >>> import numpy as np, nnfast
    >>> nnfast.layers.Conv1D(8, 3, padding="causal")(np.ones((1, 10, 4))).shape
    (1, 10, 8)
    """

    _dims = 1
    _paddings = ("causal",)
    _convolve = staticmethod(ops.conv1d)


class DepthwiseConv2D(_Windows):
    """A convolution of each channel for itself: depth_multiplier filters give as many output channels for each.

    Args:
        kernel_size, strides, padding, data_format, dilation_rate, activation, use_bias: as in `Conv2D`.
        depth_multiplier: the number M of filters per channel.
        depthwise_initializer, depthwise_regularizer, depthwise_constraint: of the kernel.
        bias_initializer, bias_regularizer, bias_constraint, activity_regularizer: as in `Conv2D`.

    Kernel (rows, columns, C, M), bias (C * M,).

    >>> import numpy as np, nnfast
    >>> nnfast.layers.DepthwiseConv2D(3, depth_multiplier=2)(np.ones((1, 8, 8, 3))).shape
    (1, 6, 6, 6)
    """

    def __init__(
        self,
        kernel_size: Any,
        strides: Any = (1, 1),
        padding: str = "valid",
        depth_multiplier: int = 1,
        data_format: str | None = None,
        dilation_rate: Any = (1, 1),
        activation: Any = None,
        use_bias: bool = True,
        depthwise_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        depthwise_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        depthwise_constraint: Any = None,
        bias_constraint: Any = None,
        **kwargs: Any,
    ):
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        self._keep_windows(kernel_size, strides, padding, dilation_rate)
        self.depth_multiplier = positive_int(self, "depth_multiplier", depth_multiplier)
        self._keep_format(data_format)
        self.activation = activations.get(activation)
        self.use_bias = use_bias
        keep_options(self, "depthwise", depthwise_initializer, depthwise_regularizer, depthwise_constraint)
        keep_options(self, "bias", bias_initializer, bias_regularizer, bias_constraint)
        self.kernel: Variable | None = None
        self.bias: Variable | None = None

    def build(self, input_shape: Any) -> None:
        channels = input_shape[self._channels_axis]
        shape = (*self.kernel_size, channels, self.depth_multiplier)
        self.kernel = add(self, "depthwise", shape, name="kernel")
        if self.use_bias:
            self.bias = add(self, "bias", (channels * self.depth_multiplier,))

    def call(self, x: Tensor) -> Tensor:
        return self._activated(
            ops.depthwise_conv2d,
            x,
            self.kernel,
            self.bias,
            strides=self.strides,
            padding=self.padding,
            dilation=self.dilation_rate,
        )

    def _output_channels(self, channels: int | None) -> int | None:
        return None if channels is None else channels * self.depth_multiplier


class SeparableConv2D(_Windows):
    """A depthwise convolution, then a mix of its channels (a convolution with a kernel of one cell).

    Args:
        filters: the number F of output channels.
        kernel_size, strides, padding, data_format, dilation_rate, activation, use_bias: as in `Conv2D`.
        depth_multiplier: the number M of depthwise filters per channel.
        depthwise_initializer, pointwise_initializer, bias_initializer: the first values.
        depthwise_regularizer, pointwise_regularizer, bias_regularizer, activity_regularizer: as in `Conv2D`.
        depthwise_constraint, pointwise_constraint, bias_constraint: as in `Conv2D`.

    Depthwise kernel (rows, columns, C, M), pointwise kernel (1, 1, C * M, F), bias (F,).

    >>> import numpy as np, nnfast
    >>> nnfast.layers.SeparableConv2D(8, 3)(np.ones((1, 8, 8, 3))).shape
    (1, 6, 6, 8)
    """

    _weight = "depthwise_kernel"

    def __init__(
        self,
        filters: int,
        kernel_size: Any,
        strides: Any = (1, 1),
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: Any = (1, 1),
        depth_multiplier: int = 1,
        activation: Any = None,
        use_bias: bool = True,
        depthwise_initializer: Any = "glorot_uniform",
        pointwise_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        depthwise_regularizer: Any = None,
        pointwise_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        depthwise_constraint: Any = None,
        pointwise_constraint: Any = None,
        bias_constraint: Any = None,
        **kwargs: Any,
    ):
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        self.filters = positive_int(self, "filters", filters)
        self._keep_windows(kernel_size, strides, padding, dilation_rate)
        self._keep_format(data_format)
        self.depth_multiplier = positive_int(self, "depth_multiplier", depth_multiplier)
        self.activation = activations.get(activation)
        self.use_bias = use_bias
        keep_options(self, "depthwise", depthwise_initializer, depthwise_regularizer, depthwise_constraint)
        keep_options(self, "pointwise", pointwise_initializer, pointwise_regularizer, pointwise_constraint)
        keep_options(self, "bias", bias_initializer, bias_regularizer, bias_constraint)
        self.depthwise_kernel: Variable | None = None
        self.pointwise_kernel: Variable | None = None
        self.bias: Variable | None = None

    def build(self, input_shape: Any) -> None:
        channels, m = input_shape[self._channels_axis], self.depth_multiplier
        self.depthwise_kernel = add(self, "depthwise", (*self.kernel_size, channels, m), name="depthwise_kernel")
        self.pointwise_kernel = add(self, "pointwise", (1, 1, channels * m, self.filters), name="pointwise_kernel")
        if self.use_bias:
            self.bias = add(self, "bias", (self.filters,))

    def call(self, x: Tensor) -> Tensor:
        x = ops.depthwise_conv2d(
            x,
            self.depthwise_kernel,
            strides=self.strides,
            padding=self.padding,
            dilation=self.dilation_rate,
            data_format=self.data_format,
        )
        return self._activated(ops.conv2d, x, self.pointwise_kernel, self.bias)

    def _output_channels(self, channels: int | None) -> int | None:
        return self.filters


class Conv2DTranspose(_Windows):
    """The way back through a `Conv2D`: each input pixel adds its multiple of the kernel to the larger output.

    Args:
        filters: the number F of output channels.
        kernel_size, strides, data_format, dilation_rate, activation, use_bias: as in `Conv2D`.
        padding: "valid": an output of (size - 1) * stride + max(kernel, stride); "same": of size * stride.
        output_padding: sets the size of the output, below the strides: (size - 1) * stride + kernel + output_padding,
            with padding="same" less 2 * (kernel // 2).
        kernel_initializer, ..., bias_constraint: as in `Conv2D`.

    Kernel (rows, columns, F, C), bias (F,).

    >>> import numpy as np, nnfast
    >>> nnfast.layers.Conv2DTranspose(8, 3, strides=2, padding="same")(np.ones((1, 7, 7, 4))).shape
    (1, 14, 14, 8)
    """

    def __init__(
        self,
        filters: int,
        kernel_size: Any,
        strides: Any = (1, 1),
        padding: str = "valid",
        output_padding: Any = None,
        data_format: str | None = None,
        dilation_rate: Any = (1, 1),
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        **kwargs: Any,
    ):
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        self.filters = positive_int(self, "filters", filters)
        self._keep_windows(kernel_size, strides, padding, dilation_rate)
        self._keep_format(data_format)
        self.output_padding = None
        if output_padding is not None:
            self.output_padding = integers(self, "output_padding", output_padding, 2, least=0)
            if any(extra >= stride for extra, stride in zip(self.output_padding, self.strides)):
                raise ValueError(
                    "[Conv2DTranspose] output_padding must be below strides. "
                    f"Received: output_padding={output_padding}, strides={strides}"
                )
        if max(self.strides) > 1 and max(self.dilation_rate) > 1:
            raise ValueError(
                "[Conv2DTranspose] strides and dilation_rate do not go together. "
                f"Received: strides={strides}, dilation_rate={dilation_rate}"
            )
        self.activation = activations.get(activation)
        self.use_bias = use_bias
        keep_options(self, "kernel", kernel_initializer, kernel_regularizer, kernel_constraint)
        keep_options(self, "bias", bias_initializer, bias_regularizer, bias_constraint)
        self.kernel: Variable | None = None
        self.bias: Variable | None = None

    def _input_channels(self) -> int | None:
        return None if self.kernel is None else self.kernel.shape[3]

    def build(self, input_shape: Any) -> None:
        self.kernel = add(self, "kernel", (*self.kernel_size, self.filters, input_shape[self._channels_axis]))
        if self.use_bias:
            self.bias = add(self, "bias", (self.filters,))

    def call(self, x: Tensor) -> Tensor:
        y = ops.conv2d_transpose(
            x,
            self.kernel,
            self.bias,
            strides=self.strides,
            padding=self.padding,
            output_padding=self.output_padding,
            dilation=self.dilation_rate,
            data_format=self.data_format,
        )
        return self.activation(y)

    def _output_size(self, size: Any) -> tuple[int | None, ...]:
        extra = self.output_padding or (None, None)
        axes = zip(size, self.kernel_size, self.strides, self.dilation_rate, extra)
        return tuple(_window.transposed(n, k, s, self.padding, d, e)[0] for n, k, s, d, e in axes)

    def _output_channels(self, channels: int | None) -> int | None:
        return self.filters
