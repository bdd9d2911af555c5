"""Conv2D: filters slide over images."""

from typing import Any

from nnfast import activations, config, constraints, initializers, ops, regularizers
from nnfast.layers.dense import positive_int
from nnfast.layers.layer import Layer, Shape, standardize_shape
from nnfast.ops import _window
from nnfast.tensor import Tensor, Variable


class Conv2D(Layer):
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

    cast_integers = True

    def __init__(
        self,
        filters: int,
        kernel_size: Any,
        strides: Any = (1, 1),
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: Any = (1, 1),
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
        self.kernel_size = _window.pair("Conv2D", "kernel_size", kernel_size)
        self.strides = _window.pair("Conv2D", "strides", strides)
        self.padding = standardize_padding("Conv2D", padding)
        self.data_format = config.standardize_data_format("Conv2D", data_format)
        self.dilation_rate = _window.pair("Conv2D", "dilation_rate", dilation_rate)
        self.groups = positive_int(self, "groups", groups)
        if self.filters % self.groups:
            raise ValueError(
                f"[Conv2D] filters must be a multiple of groups. Received: filters={filters}, groups={groups}"
            )
        self.activation = activations.get(activation)
        self.use_bias = use_bias
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.bias_initializer = initializers.get(bias_initializer)
        self.kernel_regularizer = regularizers.get(kernel_regularizer)
        self.bias_regularizer = regularizers.get(bias_regularizer)
        self.kernel_constraint = constraints.get(kernel_constraint)
        self.bias_constraint = constraints.get(bias_constraint)
        self.kernel: Variable | None = None
        self.bias: Variable | None = None

    def check_input(self, shape: Shape) -> None:
        channels = check_images(self, shape)
        if channels is None:
            raise self._mismatch("needs the number of channels", shape, "Give it in input_shape=")
        if channels % self.groups:
            raise self._mismatch(f"has groups={self.groups}, which {channels} channels are no multiple of", shape)
        if self.kernel is not None and channels != self.kernel.shape[2] * self.groups:
            raise self._mismatch(
                f"was built for {self.kernel.shape[2] * self.groups} input channels ({self.data_format})",
                shape,
                _channels_hint(self.data_format),
            )
        if any(n is not None and n < 1 for n in self._size(shape)):
            raise self._mismatch(
                f"has kernel_size={self.kernel_size}, dilation_rate={self.dilation_rate}, larger than its input",
                shape,
                "Use padding='same' or a smaller kernel",
            )

    def build(self, input_shape: Any) -> None:
        channels = input_shape[channels_axis(self.data_format)]
        self.kernel = self.add_weight(
            (*self.kernel_size, channels // self.groups, self.filters),
            self.kernel_initializer,
            regularizer=self.kernel_regularizer,
            constraint=self.kernel_constraint,
            name="kernel",
        )
        if self.use_bias:
            self.bias = self.add_weight(
                (self.filters,),
                self.bias_initializer,
                regularizer=self.bias_regularizer,
                constraint=self.bias_constraint,
                name="bias",
            )

    def call(self, x: Tensor) -> Tensor:
        fused = activations.FUSED.get(self.activation)
        activation, slope = fused or ("linear", 0.0)
        y = ops.conv2d(
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

    def _size(self, shape: Shape) -> tuple[int | None, int | None]:
        """Rows and columns of the output."""
        return window_size(shape, self.kernel_size, self.strides, self.padding, self.data_format, self.dilation_rate)

    def compute_output_shape(self, input_shape: Any) -> Shape:
        shape = standardize_shape(input_shape)
        self.check_input(shape)
        return image_shape(shape[0], self._size(shape), self.filters, self.data_format)


def standardize_padding(name: str, padding: Any) -> str:
    """ "valid" or "same", in lower case."""
    mode = padding.lower() if isinstance(padding, str) else padding
    if mode not in ("valid", "same"):
        raise ValueError(f"[{name}] padding must be 'valid' or 'same'. Received: padding={padding!r}")
    return mode


def channels_axis(data_format: str) -> int:
    """Where the channels of a batch of images are."""
    return 1 if data_format == "channels_first" else 3


def image_shape(batch: int | None, size: Any, channels: int | None, data_format: str) -> Shape:
    """The shape of a batch of images."""
    return (batch, channels, *size) if data_format == "channels_first" else (batch, *size, channels)


def window_size(shape: Shape, window: Any, strides: Any, padding: str, data_format: str, dilation: Any) -> Any:
    """Rows and columns of the output for the shape of a batch of images; None where the input's are."""
    size = shape[2:] if data_format == "channels_first" else shape[1:3]
    pads = _window.pads("Conv2D", padding, size, window, strides, dilation)
    return tuple(map(_window.output_size, size, window, strides, pads, dilation))


def check_images(layer: Any, shape: Shape) -> int | None:
    """The number of channels, if the shape is that of a batch of images; else the error that says what is missing."""
    last = layer.data_format == "channels_last"
    wanted = "(batch, height, width, channels)" if last else "(batch, channels, height, width)"
    if len(shape) != 4:
        fix = ""
        if len(shape) == 3:
            new = ("-1", *map(str, shape[1:]), "1") if last else ("-1", "1", *map(str, shape[1:]))
            fix = f"For images with one channel use x.reshape({', '.join(new)})"
        elif len(shape) == 2:
            fix = "Flattened images need reshaping first, e.g. x.reshape(-1, 28, 28, 1)"
        raise layer._mismatch(f"expects images {wanted}", shape, fix)
    return shape[channels_axis(layer.data_format)]


def _channels_hint(data_format: str) -> str:
    other = "channels_first" if data_format == "channels_last" else "channels_last"
    return f"If the channels stand elsewhere, give data_format={other!r}"
