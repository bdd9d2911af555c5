"""Layers that scale their input, or leave it alone."""

from typing import Any

import numpy as np

from nnfast.layers.layer import ElementwiseLayer
from nnfast.tensor import Tensor


class Identity(ElementwiseLayer):
    """Its input."""

    cast_integers = None

    def call(self, x: Any) -> Any:
        return x


class Rescaling(ElementwiseLayer):
    """x * scale + offset, e.g. scale=1/255 for images of bytes.

    Args:
        scale, offset: numbers, or one per channel (the last axis).

    >>> import nnfast
    >>> nnfast.layers.Rescaling(0.5, offset=1.0)([2.0, 4.0]).numpy()
    array([2., 3.], dtype=float32)
    """

    def __init__(self, scale: Any, offset: Any = 0.0, **kwargs: Any):
        super().__init__(**kwargs)
        self.scale, self.offset = scale, offset

    def call(self, x: Tensor) -> Tensor:
        scale, offset = np.asarray(self.scale, self.dtype), np.asarray(self.offset, self.dtype)
        return x * scale + offset
