"""Defaults that layers and ops fall back on: float type, epsilon, image data format."""

import math
import numbers

from nnfast import graph

_floatx = "float32"
_epsilon = 1e-7
_image_data_format = "channels_last"


def floatx() -> str:
    """The default float dtype, `"float32"` unless `set_floatx` changed it.

    >>> import nnfast
    >>> nnfast.config.floatx()
    'float32'
    """
    return _floatx


def set_floatx(value: str) -> None:
    """Sets the default float dtype of layers, losses and initializers to `"float32"` or `"float64"`."""
    global _floatx
    if value not in ("float32", "float64"):
        raise ValueError(f"[set_floatx] the float type must be 'float32' or 'float64'. Received: {value!r}")
    _floatx = value
    graph.changed()


def epsilon() -> float:
    """The fuzz factor that losses use against log(0), 1e-7 unless changed."""
    return _epsilon


def set_epsilon(value: float) -> None:
    """Sets the fuzz factor, a positive number."""
    global _epsilon
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"[set_epsilon] epsilon must be a number. Received: {value!r}")
    if not 0 < value < math.inf:
        raise ValueError(f"[set_epsilon] epsilon must be positive and finite. Received: {value!r}")
    _epsilon = float(value)
    graph.changed()


def image_data_format() -> str:
    """`"channels_last"` (N, H, W, C) or `"channels_first"` (N, C, H, W)."""
    return _image_data_format


def set_image_data_format(data_format: str) -> None:
    """Sets the data format that convolution and pooling layers use when none is given."""
    global _image_data_format
    _image_data_format = standardize_data_format("set_image_data_format", data_format)


def standardize_data_format(name: str, data_format: str | None) -> str:
    """The checked data format; None means the default. `name` is the tag of the error."""
    if data_format is None:
        return _image_data_format
    if data_format not in ("channels_last", "channels_first"):
        raise ValueError(f"[{name}] data_format must be 'channels_last' or 'channels_first'. Received: {data_format!r}")
    return data_format
