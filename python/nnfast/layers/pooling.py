"""Layers that shrink images by taking the largest, or the mean, of each window."""

from typing import Any

from nnfast import config, ops
from nnfast.layers.conv2d import channels_axis, check_images, image_shape, standardize_padding, window_size
from nnfast.layers.layer import Layer, Shape, standardize_shape
from nnfast.ops import _window
from nnfast.tensor import Tensor


class _Pooling2D(Layer):
    cast_integers = True

    def __init__(
        self,
        pool_size: Any,
        strides: Any = None,
        padding: str = "valid",
        data_format: str | None = None,
        name: str | None = None,
        **kwargs: Any,
    ):
        super().__init__(name=name, **kwargs)
        kind = type(self).__name__
        self.pool_size = _window.pair(kind, "pool_size", pool_size)
        self.strides = self.pool_size if strides is None else _window.pair(kind, "strides", strides)
        self.padding = standardize_padding(kind, padding)
        self.data_format = config.standardize_data_format(kind, data_format)

    def check_input(self, shape: Shape) -> None:
        check_images(self, shape)
        if any(n is not None and n < 1 for n in self._size(shape)):
            raise self._mismatch(
                f"has pool_size={self.pool_size}, larger than its input", shape, "Use padding='same' or fewer pools"
            )

    def _size(self, shape: Shape) -> tuple[int | None, int | None]:
        """Rows and columns of the output."""
        return window_size(shape, self.pool_size, self.strides, self.padding, self.data_format, (1, 1))

    def compute_output_shape(self, input_shape: Any) -> Shape:
        shape = standardize_shape(input_shape)
        self.check_input(shape)
        return image_shape(shape[0], self._size(shape), shape[channels_axis(self.data_format)], self.data_format)


class MaxPooling2D(_Pooling2D):
    """The largest of each window.

    Args:
        pool_size: (rows, columns) of a window, or one integer for both.
        strides: steps between windows; None: pool_size.
        padding: "valid" (windows lie inside the image) or "same" (ceil(size / stride) windows; padding never wins).
        data_format: "channels_last" (N, H, W, C) or "channels_first" (N, C, H, W).

    >>> import numpy as np, nnfast
    >>> nnfast.layers.MaxPooling2D()(np.ones((1, 28, 28, 3))).shape
    (1, 14, 14, 3)
    """

    def __init__(
        self,
        pool_size: Any = (2, 2),
        strides: Any = None,
        padding: str = "valid",
        data_format: str | None = None,
        name: str | None = None,
        **kwargs: Any,
    ):
        super().__init__(pool_size, strides, padding, data_format, name, **kwargs)

    def call(self, x: Tensor) -> Tensor:
        return ops.max_pool2d(
            x, self.pool_size, strides=self.strides, padding=self.padding, data_format=self.data_format
        )


class AveragePooling2D(_Pooling2D):
    """The mean of each window, over the cells inside the image. Arguments as `MaxPooling2D`; pool_size is needed."""

    def __init__(
        self,
        pool_size: Any,
        strides: Any = None,
        padding: str = "valid",
        data_format: str | None = None,
        name: str | None = None,
        **kwargs: Any,
    ):
        super().__init__(pool_size, strides, padding, data_format, name, **kwargs)

    def call(self, x: Tensor) -> Tensor:
        return ops.avg_pool2d(
            x, self.pool_size, strides=self.strides, padding=self.padding, data_format=self.data_format
        )


class _GlobalPooling2D(Layer):
    cast_integers = True

    def __init__(self, data_format: str | None = None, keepdims: bool = False, **kwargs: Any):
        super().__init__(**kwargs)
        self.data_format = config.standardize_data_format(type(self).__name__, data_format)
        self.keepdims = bool(keepdims)

    @property
    def _axes(self) -> tuple[int, int]:
        return (2, 3) if self.data_format == "channels_first" else (1, 2)

    def check_input(self, shape: Shape) -> None:
        check_images(self, shape)

    def compute_output_shape(self, input_shape: Any) -> Shape:
        shape = standardize_shape(input_shape)
        channels = check_images(self, shape)
        return image_shape(shape[0], (1, 1), channels, self.data_format) if self.keepdims else (shape[0], channels)


class GlobalMaxPooling2D(_GlobalPooling2D):
    """The largest of each channel: (N, H, W, C) -> (N, C), or (N, 1, 1, C) with keepdims."""

    def call(self, x: Tensor) -> Tensor:
        return ops.max(x, axis=self._axes, keepdims=self.keepdims)


class GlobalAveragePooling2D(_GlobalPooling2D):
    """The mean of each channel: (N, H, W, C) -> (N, C), or (N, 1, 1, C) with keepdims."""

    def call(self, x: Tensor) -> Tensor:
        return ops.mean(x, axis=self._axes, keepdims=self.keepdims)


MaxPool2D, AvgPool2D = MaxPooling2D, AveragePooling2D
GlobalMaxPool2D, GlobalAvgPool2D = GlobalMaxPooling2D, GlobalAveragePooling2D
