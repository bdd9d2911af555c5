"""Layers that are random in training: some numbers are missing, or off."""

from typing import Any

from nnfast import ops
from nnfast.layers.images import Spatial
from nnfast.layers.layer import ElementwiseLayer, Layer, Shape
from nnfast.tensor import Tensor


def _fraction(layer: Layer, name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
        raise ValueError(f"[{type(layer).__name__}] {name} must be a number from 0 to 1. Received: {name}={value!r}")
    return float(value)


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
        self.rate = _fraction(self, "rate", rate)
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


class SpatialDropout2D(Spatial):
    """Dropout of whole channels of images: neighbouring pixels say much the same (Tompson et al. 2014).

    Args:
        rate: from 0 to 1, the share of channels that go.
        data_format: "channels_last" (N, H, W, C) or "channels_first" (N, C, H, W).
        seed: as in `Dropout`.
    """

    def __init__(
        self, rate: float, data_format: str | None = None, seed: int | None = None, name: Any = None, dtype: Any = None
    ):
        super().__init__(name=name, dtype=dtype)
        self.rate = _fraction(self, "rate", rate)
        self._keep_format(data_format)
        self.seed = seed
        self._generator = None if seed is None else ops.random.Generator(seed)

    def call(self, x: Tensor, training: bool = False) -> Tensor:
        if not training or self.rate == 0:
            return x
        whole = self._shape(None, (1, 1), None)
        return ops.dropout(x, self.rate, noise_shape=whole, generator=self._generator)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        del config["trainable"]
        return config


class GaussianNoise(ElementwiseLayer):
    """In training, adds normal numbers to its input; otherwise passes it on.

    Args:
        stddev: their standard deviation, from 0 to 1.
        seed: as in `Dropout`.

    >>> import numpy as np, nnfast
    >>> nnfast.layers.GaussianNoise(0.5)(np.ones(3, "float32")).numpy()
    array([1., 1., 1.], dtype=float32)
    """

    def __init__(self, stddev: float, seed: int | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.stddev = _fraction(self, "stddev", stddev)
        self.seed = seed
        self._generator = None if seed is None else ops.random.Generator(seed)

    def call(self, x: Tensor, training: bool = False) -> Tensor:
        if not training or self.stddev == 0:
            return x
        return x + ops.random.normal(x.shape, 0.0, self.stddev, x.dtype, generator=self._generator)


class RReLU(ElementwiseLayer):
    """x where positive, else slope * x: in training each number has a slope of its own, drawn evenly from lower to
    upper; otherwise the slope is their mean (Xu et al. 2015).

    Not in Keras; as in PyTorch. In the form x / a, a lies between 1 / upper and 1 / lower: 3 and 8.

    Args:
        lower, upper: the range of slopes.
        seed: as in `Dropout`.

    >>> import nnfast
    >>> nnfast.layers.RReLU(0.1, 0.3)([-1.0, 1.0]).numpy()
    array([-0.2,  1. ], dtype=float32)
    """

    def __init__(self, lower: float = 1 / 8, upper: float = 1 / 3, seed: int | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.lower, self.upper = _fraction(self, "lower", lower), _fraction(self, "upper", upper)
        if self.lower > self.upper:
            raise ValueError(f"[RReLU] lower must not exceed upper. Received: lower={lower}, upper={upper}")
        self.seed = seed
        self._generator = None if seed is None else ops.random.Generator(seed)

    def call(self, x: Tensor, training: bool = False) -> Tensor:
        if not training:
            return ops.leaky_relu(x, (self.lower + self.upper) / 2)
        slope = ops.random.uniform(x.shape, self.lower, self.upper, x.dtype, generator=self._generator)
        return ops.where(ops.greater(x, 0.0), x, x * slope)
