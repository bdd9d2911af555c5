"""Layers that shrink images by taking the largest, or the mean, of each window."""

from typing import Any

from nnfast import ops
from nnfast.layers.images import Spatial, integers, padding_mode, windows
from nnfast.layers.layer import Shape
from nnfast.tensor import Tensor


class _Pooling(Spatial):
    _pool: Any = None

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
        self.pool_size = integers(self, "pool_size", pool_size, self._dims)
        self.strides = self.pool_size if strides is None else integers(self, "strides", strides, self._dims)
        self.padding = padding_mode(self, padding)
        self._keep_format(data_format)

    def check_input(self, shape: Shape) -> None:
        super().check_input(shape)
        if any(n is not None and n < 1 for n in self._output_size(self._size(shape))):
            raise self._mismatch(
                f"has pool_size={self.pool_size}, larger than its input", shape, "Use padding='same' or fewer pools"
            )

    def _output_size(self, size: Any) -> tuple[int | None, ...]:
        return tuple(windows(n, k, s, self.padding) for n, k, s in zip(size, self.pool_size, self.strides))

    def call(self, x: Tensor) -> Tensor:
        return self._pool(x, self.pool_size, strides=self.strides, padding=self.padding, data_format=self.data_format)


class _MaxPooling(_Pooling):
    def __init__(
        self,
        pool_size: Any = 2,
        strides: Any = None,
        padding: str = "valid",
        data_format: str | None = None,
        name: str | None = None,
        **kwargs: Any,
    ):
        super().__init__(pool_size, strides, padding, data_format, name, **kwargs)


class MaxPooling2D(_MaxPooling):
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

    _pool = staticmethod(ops.max_pool2d)


class AveragePooling2D(_Pooling):
    """The mean of each window, over the cells inside the image. Arguments as `MaxPooling2D`; pool_size is needed."""

    _pool = staticmethod(ops.avg_pool2d)


class MaxPooling1D(_MaxPooling):
    """The largest of each window of a sequence (N, steps, C). Arguments as `MaxPooling2D`, with integers for pairs."""

    _dims = 1
    _pool = staticmethod(ops.max_pool1d)


class AveragePooling1D(_Pooling):
    """The mean of each window of a sequence (N, steps, C). Arguments as `MaxPooling1D`; pool_size is needed."""

    _dims = 1
    _pool = staticmethod(ops.avg_pool1d)


class _GlobalPooling(Spatial):
    _reduce: Any = None

    def __init__(self, data_format: str | None = None, keepdims: bool = False, **kwargs: Any):
        super().__init__(**kwargs)
        self._keep_format(data_format)
        self.keepdims = bool(keepdims)

    def compute_output_shape(self, input_shape: Any) -> Shape:
        shape = super().compute_output_shape(input_shape)
        return shape if self.keepdims else (shape[0], shape[self._channels_axis])

    def _output_size(self, size: Any) -> tuple[int | None, ...]:
        return (1,) * self._dims

    def call(self, x: Tensor) -> Tensor:
        return self._reduce(x, axis=self._axes, keepdims=self.keepdims)


class GlobalMaxPooling2D(_GlobalPooling):
    """The largest of each channel: (N, H, W, C) -> (N, C), or (N, 1, 1, C) with keepdims."""

    _reduce = staticmethod(ops.max)


class GlobalAveragePooling2D(_GlobalPooling):
    """The mean of each channel: (N, H, W, C) -> (N, C), or (N, 1, 1, C) with keepdims."""

    _reduce = staticmethod(ops.mean)


class GlobalMaxPooling1D(_GlobalPooling):
    """The largest of each channel: (N, steps, C) -> (N, C), or (N, 1, C) with keepdims."""

    _dims = 1
    _reduce = staticmethod(ops.max)


class GlobalAveragePooling1D(_GlobalPooling):
    """The mean of each channel: (N, steps, C) -> (N, C), or (N, 1, C) with keepdims. With mask= (N, steps), the mean
    of the steps where it holds."""

    _dims = 1
    _reduce = staticmethod(ops.mean)

    def call(self, x: Tensor, mask: Any = None) -> Tensor:
        if mask is None:
            return super().call(x)
        seen = ops.expand_dims(ops.cast(mask, "bool"), self._channels_axis)
        total = ops.sum(ops.where(seen, x, 0.0), self._axes, self.keepdims)
        return total / ops.sum(ops.cast(seen, x.dtype), self._axes, self.keepdims)


MaxPool1D, AvgPool1D = MaxPooling1D, AveragePooling1D
GlobalMaxPool1D, GlobalAvgPool1D = GlobalMaxPooling1D, GlobalAveragePooling1D
MaxPool2D, AvgPool2D = MaxPooling2D, AveragePooling2D
GlobalMaxPool2D, GlobalAvgPool2D = GlobalMaxPooling2D, GlobalAveragePooling2D
