"""Spatial: what layers on images, and on sequences as images with one row, know about their shapes."""

import operator
from typing import Any

from nnfast import config
from nnfast.layers.layer import Layer, Shape, standardize_shape

_AXES = {1: ("steps",), 2: ("height", "width")}


class Spatial(Layer):
    """A layer on batches (batch, *size, channels) or, channels first, (batch, channels, *size)."""

    cast_integers: bool | None = True
    data_format: str
    _dims = 2  # how many sizes: 2 for images, 1 for sequences

    def _keep_format(self, data_format: str | None) -> None:
        self.data_format = config.standardize_data_format(type(self).__name__, data_format)

    @property
    def _channels_axis(self) -> int:
        return 1 if self.data_format == "channels_first" else self._dims + 1

    @property
    def _axes(self) -> tuple[int, ...]:
        """The axes of the size."""
        first = 2 if self.data_format == "channels_first" else 1
        return tuple(range(first, first + self._dims))

    def _size(self, shape: Shape) -> tuple[int | None, ...]:
        return tuple(shape[axis] for axis in self._axes)

    def _shape(self, batch: int | None, size: Any, channels: int | None) -> Shape:
        return (batch, channels, *size) if self.data_format == "channels_first" else (batch, *size, channels)

    def check_input(self, shape: Shape) -> None:
        last = self.data_format == "channels_last"
        if len(shape) == self._dims + 2:
            return
        wanted = ", ".join(self._shape("batch", _AXES[self._dims], "channels"))  # type: ignore[arg-type]
        what, fix = "images" if self._dims == 2 else "sequences", ""
        if len(shape) == self._dims + 1:
            new = ["-1", *map(str, shape[1:]), "1"] if last else ["-1", "1", *map(str, shape[1:])]
            fix = f"For {what} with one channel use x.reshape({', '.join(new)})"
        elif len(shape) == 2:
            fix = "Flattened images need reshaping first, e.g. x.reshape(-1, 28, 28, 1)"
        raise self._mismatch(f"expects {what} ({wanted})", shape, fix)

    def _output_size(self, size: Any) -> tuple[int | None, ...]:
        """The size of the output for that of the input; None where it is not known."""
        return size

    def _output_channels(self, channels: int | None) -> int | None:
        return channels

    def compute_output_shape(self, input_shape: Any) -> Shape:
        shape = standardize_shape(input_shape)
        self.check_input(shape)
        return self._shape(
            shape[0], self._output_size(self._size(shape)), self._output_channels(shape[self._channels_axis])
        )


def integers(layer: Layer, name: str, value: Any, count: int, least: int = 1) -> tuple[int, ...]:
    """One integer of at least `least` for each axis, from a single one or a sequence of them."""
    values = tuple(value) if isinstance(value, (tuple, list)) else (value,) * count
    kind = type(layer).__name__
    if len(values) != count or any(isinstance(v, bool) or not hasattr(v, "__index__") for v in values):
        raise ValueError(
            f"[{kind}] {name} must be an integer{' or a pair of them' * (count == 2)}. Received: {name}={value!r}"
        )
    if min(values) < least:
        raise ValueError(f"[{kind}] {name} must be at least {least}. Received: {name}={value!r}")
    return tuple(operator.index(v) for v in values)


def padding_mode(layer: Layer, padding: Any, *more: str) -> str:
    """ "valid", "same" or one of `more`, in lower case."""
    mode = padding.lower() if isinstance(padding, str) else padding
    known = ("valid", "same", *more)
    if mode not in known:
        names = " or ".join(map(repr, known))
        raise ValueError(f"[{type(layer).__name__}] padding must be {names}. Received: padding={padding!r}")
    return mode


def windows(n: int | None, window: int, stride: int, padding: str, dilation: int = 1) -> int | None:
    """How many windows lie along an axis of n cells; below 1 if none fits; None if n is.

    >>> windows(28, 3, 2, "valid"), windows(28, 3, 2, "same")
    (13, 14)
    """
    if n is None:
        return None
    return -(-(n - (window - 1) * dilation if padding == "valid" else n) // stride)
