"""Dropout: some numbers are missing in training."""

from typing import Any

from nnfast import ops
from nnfast.layers.layer import ElementwiseLayer, Shape
from nnfast.tensor import Tensor


class Dropout(ElementwiseLayer):
    """In training, sets each number to 0 with probability rate and multiplies the others by 1 / (1 - rate), so that the
    mean stays; otherwise passes its input on (Srivastava et al. 2014).

    Args:
        rate: from 0 to 1.
        noise_shape: shape of the mask, which is broadcast; None in it means the input's size. (None, 1, None) drops
            whole columns of (batch, steps, features).
        seed: an integer makes this layer's masks the same in every run; None: `set_random_seed` decides.

    >>> import numpy as np, nnfast
    >>> nnfast.layers.Dropout(0.5)(np.ones(3, "float32")).numpy()
    array([1., 1., 1.], dtype=float32)
    """

    def __init__(self, rate: float, noise_shape: Any = None, seed: int | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        if isinstance(rate, bool) or not isinstance(rate, (int, float)) or not 0 <= rate <= 1:
            raise ValueError(f"[Dropout] rate must be a number from 0 to 1. Received: rate={rate!r}")
        self.rate = float(rate)
        self.noise_shape = None if noise_shape is None else tuple(noise_shape)
        self.seed = seed
        self._generator = None if seed is None else ops.random.Generator(seed)

    def check_input(self, shape: Shape) -> None:
        noise = self.noise_shape
        if noise is not None and (
            len(noise) != len(shape) or any(k not in (None, 1, n) and n is not None for k, n in zip(noise, shape))
        ):
            raise self._mismatch(f"has noise_shape={noise}, which must broadcast to its input", shape)

    def call(self, x: Tensor, training: bool = False) -> Tensor:
        if not training or self.rate == 0:
            return x
        return ops.dropout(x, self.rate, noise_shape=self.noise_shape, generator=self._generator)
