"""Convolutions: filters slide over images or sequences."""

from typing import Any

from nnfast import activations, ops
from nnfast.layers.images import Spatial, integers, padding_mode, windows
from nnfast.layers.layer import Shape
from nnfast.layers.weights import add, keep_options, positive_int
from nnfast.tensor import Tensor, Variable


class _Convolution(Spatial):
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
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        self.filters = positive_int(self, "filters", filters)
        self.kernel_size = integers(self, "kernel_size", kernel_size, self._dims)
        self.strides = integers(self, "strides", strides, self._dims)
        self.padding = padding_mode(self, padding, *self._paddings)
        self._keep_format(data_format)
        self.dilation_rate = integers(self, "dilation_rate", dilation_rate, self._dims)
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
        if channels is None:
            raise self._mismatch("needs the number of channels", shape, "Give it in input_shape=")
        if channels % self.groups:
            raise self._mismatch(f"has groups={self.groups}, which {channels} channels are no multiple of", shape)
        if self.kernel is not None and channels != self.kernel.shape[-2] * self.groups:
            other = "channels_first" if self.data_format == "channels_last" else "channels_last"
            raise self._mismatch(
                f"was built for {self.kernel.shape[-2] * self.groups} input channels ({self.data_format})",
                shape,
                f"If the channels stand elsewhere, give data_format={other!r}",
            )
        if any(n is not None and n < 1 for n in self._output_size(self._size(shape))):
            raise self._mismatch(
                f"has kernel_size={self.kernel_size}, dilation_rate={self.dilation_rate}, larger than its input",
                shape,
                "Use padding='same' or a smaller kernel",
            )

    def build(self, input_shape: Any) -> None:
        channels = input_shape[self._channels_axis]
        self.kernel = add(self, "kernel", (*self.kernel_size, channels // self.groups, self.filters))
        if self.use_bias:
            self.bias = add(self, "bias", (self.filters,))

    def call(self, x: Tensor) -> Tensor:
        fused = activations.FUSED.get(self.activation)
        activation, slope = fused or ("linear", 0.0)
        y = self._convolve(
            x,
            self.kernel,
            self.bias,
            strides=self.strides,
            padding=self.padding,
            dilation=self.dilation_rate,
            groups=self.groups,
            data_format=self.data_format,
            activation=activation,
            slope=slope,
        )
        return y if fused else self.activation(y)

    def _output_size(self, size: Any) -> tuple[int | None, ...]:
        axes = zip(size, self.kernel_size, self.strides, self.dilation_rate)
        return tuple(windows(n, k, s, self.padding, d) for n, k, s, d in axes)

    def _output_channels(self, channels: int | None) -> int:
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
