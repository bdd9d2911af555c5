"""Layers that change the shape and nothing else."""

import math
from typing import Any

from nnfast import config, ops
from nnfast.layers.images import Spatial, integers
from nnfast.layers.layer import Layer, Shape, standardize_shape
from nnfast.layers.weights import positive_int
from nnfast.tensor import Tensor


class Flatten(Layer):
    """(batch, ...) -> (batch, product of the rest).

    Args:
        data_format: with "channels_first" the channels are moved to the end first, so that weights behind it fit both.

    >>> import numpy as np, nnfast
    >>> nnfast.layers.Flatten()(np.ones((5, 28, 28))).shape
    (5, 784)
    """

    cast_integers = None

    def __init__(self, data_format: str | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.data_format = config.standardize_data_format("Flatten", data_format)

    def check_input(self, shape: Shape) -> None:
        if not shape:
            raise self._mismatch("expects a batch", shape, "For one sample use x.reshape(1, -1)")

    def call(self, x: Tensor) -> Tensor:
        shape = x.data.shape
        if self.data_format == "channels_first" and len(shape) > 2:
            x = ops.transpose(x, (0, *range(2, len(shape)), 1))
        return ops.reshape(x, (shape[0], math.prod(shape[1:])))

    def compute_output_shape(self, input_shape: Any) -> Shape:
        shape = standardize_shape(input_shape)
        return (shape[0], None if None in shape[1:] else math.prod(shape[1:]))


class Reshape(Layer):
    """(batch, ...) -> (batch, *target_shape).

    Args:
        target_shape: of one sample; one size may be -1, whatever is left.
    """

    cast_integers = None

    def __init__(self, target_shape: Any, **kwargs: Any):
        super().__init__(**kwargs)
        self.target_shape: Any = standardize_shape(target_shape)
        if (
            not isinstance(self.target_shape, tuple)
            or self.target_shape.count(-1) > 1
            or any(n is None or n < -1 for n in self.target_shape)
        ):
            raise ValueError(
                "[Reshape] target_shape is made of sizes, one of which may be -1. "
                f"Received: target_shape={target_shape!r}"
            )

    def _sample_shape(self, shape: Any) -> Any:
        """The shape of one output; -1 computed, or None where the input has an unknown size."""
        if None in shape[1:]:
            return tuple(None if n == -1 else n for n in self.target_shape)
        size = math.prod(n or 0 for n in shape[1:])
        known = math.prod(n for n in self.target_shape if n != -1)
        fits = size % known == 0 if known and -1 in self.target_shape else size == known and -1 not in self.target_shape
        if not fits:
            raise self._mismatch(f"has target_shape={self.target_shape}, which {size} numbers do not fill", shape)
        return tuple(size // known if n == -1 else n for n in self.target_shape)

    def check_input(self, shape: Shape) -> None:
        self._sample_shape(shape)

    def call(self, x: Tensor) -> Tensor:
        shape = x.data.shape
        return ops.reshape(x, (shape[0], *self._sample_shape(shape)))

    def compute_output_shape(self, input_shape: Any) -> Shape:
        shape = standardize_shape(input_shape)
        return (shape[0], *self._sample_shape(shape))


class Permute(Layer):
    """Reorders the axes of each sample.

    Args:
        dims: the new order; 1 is the first axis after the batch. (2, 1) transposes a matrix.
    """

    cast_integers = None

    def __init__(self, dims: Any, **kwargs: Any):
        super().__init__(**kwargs)
        self.dims = tuple(dims)
        if sorted(self.dims) != list(range(1, len(self.dims) + 1)):
            raise ValueError(f"[Permute] dims must be 1, 2, ..., n in some order. Received: dims={self.dims}")

    def check_input(self, shape: Shape) -> None:
        if len(shape) != len(self.dims) + 1:
            raise self._mismatch(f"has dims={self.dims}, and expects as many axes after the batch", shape)

    def call(self, x: Tensor) -> Tensor:
        return ops.transpose(x, (0, *self.dims))

    def compute_output_shape(self, input_shape: Any) -> Shape:
        shape = standardize_shape(input_shape)
        self.check_input(shape)
        return (shape[0], *(shape[i] for i in self.dims))


class RepeatVector(Layer):
    """(batch, features) -> (batch, n, features), n times the same.

    >>> import nnfast
    >>> nnfast.layers.RepeatVector(2)([[1.0, 2.0]]).tolist()
    [[[1.0, 2.0], [1.0, 2.0]]]
    """

    cast_integers = None

    def __init__(self, n: int, **kwargs: Any):
        super().__init__(**kwargs)
        if isinstance(n, bool) or not hasattr(n, "__index__"):
            raise TypeError(f"[RepeatVector] n must be an integer. Received: n={n!r}")
        self.n = positive_int(self, "n", n)

    def check_input(self, shape: Shape) -> None:
        if len(shape) != 2:
            raise self._mismatch("expects (batch, features)", shape)

    def call(self, x: Tensor) -> Tensor:
        return ops.broadcast_to(ops.expand_dims(x, 1), (x.shape[0], self.n, x.shape[1]))

    def compute_output_shape(self, input_shape: Any) -> Shape:
        shape = standardize_shape(input_shape)
        self.check_input(shape)
        return (shape[0], self.n, shape[1])


def _edges(layer: Layer, name: str, value: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """((top, bottom), (left, right)) from one integer, (rows, columns) or all four."""
    pair = tuple(value) if isinstance(value, (tuple, list)) else (value, value)
    if len(pair) != 2:
        raise ValueError(
            f"[{type(layer).__name__}] {name} is an integer, (rows, columns) or ((top, bottom), (left, right)). "
            f"Received: {name}={value!r}"
        )
    rows, columns = (integers(layer, name, v, 2, least=0) for v in pair)
    return rows, columns


class UpSampling2D(Spatial):
    """Images with size times as many rows and columns.

    Args:
        size: factors of rows and columns, or one for both.
        data_format: "channels_last" (N, H, W, C) or "channels_first" (N, C, H, W).
        interpolation: "nearest" or "bilinear"; no others are supported.

    >>> import numpy as np, nnfast
    >>> nnfast.layers.UpSampling2D()(np.ones((1, 7, 7, 3))).shape
    (1, 14, 14, 3)
    """

    def __init__(
        self, size: Any = (2, 2), data_format: str | None = None, interpolation: str = "nearest", **kwargs: Any
    ):
        super().__init__(**kwargs)
        self._keep_format(data_format)
        self.size = integers(self, "size", size, 2)
        self.interpolation = interpolation.lower()
        if self.interpolation not in ("nearest", "bilinear"):
            raise ValueError(
                "[UpSampling2D] interpolation must be 'nearest' or 'bilinear'. "
                f"Received: interpolation={interpolation!r}"
            )

    def call(self, x: Tensor) -> Tensor:
        return ops.upsample2d(x, self.size, interpolation=self.interpolation, data_format=self.data_format)

    def _output_size(self, size: Any) -> tuple[int | None, ...]:
        return tuple(None if n is None else n * factor for n, factor in zip(size, self.size))


class ZeroPadding2D(Spatial):
    """Images with cells of 0 around them.

    Args:
        padding: how many: one integer, (rows, columns) or ((top, bottom), (left, right)).
        data_format: "channels_last" (N, H, W, C) or "channels_first" (N, C, H, W).

    >>> import numpy as np, nnfast
    >>> nnfast.layers.ZeroPadding2D(((1, 2), (0, 3)))(np.ones((1, 4, 4, 1))).shape
    (1, 7, 7, 1)
    """

    cast_integers = None

    def __init__(self, padding: Any = (1, 1), data_format: str | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.padding = _edges(self, "padding", padding)
        self._keep_format(data_format)

    def call(self, x: Tensor) -> Tensor:
        widths: Any = self._shape((0, 0), self.padding, (0, 0))  # type: ignore[arg-type]
        return ops.pad(x, widths)

    def _output_size(self, size: Any) -> tuple[int | None, ...]:
        return tuple(None if n is None else n + sum(p) for n, p in zip(size, self.padding))


class Cropping2D(Spatial):
    """Images without their edges.

    Args:
        cropping: how many rows and columns go: one integer, (rows, columns) or ((top, bottom), (left, right)).
        data_format: "channels_last" (N, H, W, C) or "channels_first" (N, C, H, W).

    >>> import numpy as np, nnfast
    >>> nnfast.layers.Cropping2D(1)(np.ones((1, 4, 5, 1))).shape
    (1, 2, 3, 1)
    """

    cast_integers = None

    def __init__(self, cropping: Any = ((0, 0), (0, 0)), data_format: str | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.cropping = _edges(self, "cropping", cropping)
        self._keep_format(data_format)

    def check_input(self, shape: Shape) -> None:
        super().check_input(shape)
        if any(n is not None and n < 1 for n in self._output_size(self._size(shape))):
            raise self._mismatch(f"has cropping={self.cropping}, which leaves nothing of its input", shape)

    def call(self, x: Tensor) -> Tensor:
        size = tuple(
            slice(before, (n or 0) - after) for n, (before, after) in zip(self._size(x.data.shape), self.cropping)
        )
        return x[self._shape(slice(None), size, slice(None))]  # type: ignore[arg-type]

    def _output_size(self, size: Any) -> tuple[int | None, ...]:
        return tuple(None if n is None else n - sum(c) for n, c in zip(size, self.cropping))
