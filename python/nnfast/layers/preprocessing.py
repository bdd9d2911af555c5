"""Layers that prepare data: scales, statistics, flipped images."""

from typing import Any

import numpy as np

from nnfast import ops
from nnfast.layers.images import Spatial
from nnfast.layers.layer import ElementwiseLayer, Shape, standardize_shape
from nnfast.tensor import Tensor, as_array


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


class Normalization(ElementwiseLayer):
    """(x - mean) / sqrt(variance), with statistics that `adapt` takes from data, or that are given.

    Args:
        axis: the axes that have a mean and a variance for each entry; None: one for all. -1: one per feature.
        mean, variance: given together, numbers or arrays of the sizes of the axes; then there is nothing to adapt.
        invert: the way back, x * sqrt(variance) + mean.

    >>> import numpy as np, nnfast
    >>> layer = nnfast.layers.Normalization()
    >>> layer.adapt(np.array([[0.0, 7.0], [2.0, 9.0]]))
    >>> layer(np.array([[0.0, 9.0]])).numpy().tolist()
    [[-1.0, 1.0]]
    """

    def __init__(self, axis: Any = -1, mean: Any = None, variance: Any = None, invert: bool = False, **kwargs: Any):
        super().__init__(**kwargs)
        axes = () if axis is None else tuple(axis) if isinstance(axis, (list, tuple)) else (axis,)
        if any(isinstance(a, bool) or not hasattr(a, "__index__") for a in axes):
            raise TypeError(f"[Normalization] axis is an integer, several, or None. Received: axis={axis!r}")
        self.axis = tuple(int(a) for a in axes)
        if (mean is None) != (variance is None):
            raise ValueError(
                f"[Normalization] mean and variance are given together. Received: mean={mean}, variance={variance}"
            )
        if np.shape(mean) != np.shape(variance):
            raise ValueError(
                "[Normalization] mean and variance must have one shape. "
                f"Received: {np.shape(mean)} and {np.shape(variance)}"
            )
        self.input_mean, self.input_variance, self.invert = mean, variance, bool(invert)
        self._sizes: Any = None
        self.adapt_mean: Any = None
        self.adapt_variance: Any = None
        self.count: Any = None

    def _axes(self, shape: Shape) -> list[int]:
        if any(not -len(shape) <= a < len(shape) for a in self.axis):
            raise self._mismatch(f"has axis={self.axis}, which its input has not", shape)
        return sorted(a % len(shape) for a in self.axis)

    def check_input(self, shape: Shape) -> None:
        sizes = tuple(shape[a] for a in self._axes(shape))
        if None in sizes:
            raise self._mismatch(f"needs the sizes of its axes {self.axis}", shape, "Give them in input_shape=")
        if self._sizes is not None and sizes != self._sizes:
            raise self._mismatch(f"was built for sizes {self._sizes} of the axes {self.axis}", shape)

    def build(self, input_shape: Any) -> None:
        self._sizes = tuple(input_shape[a] for a in self._axes(input_shape))
        if self.input_mean is None:
            self.adapt_mean = self.add_weight(self._sizes, "zeros", trainable=False, name="mean")
            self.adapt_variance = self.add_weight(self._sizes, "ones", trainable=False, name="variance")
            self.count = self.add_weight((), "zeros", "int32", trainable=False, name="count")  # in the files of Keras

    def adapt(self, data: Any) -> None:
        """Takes mean and variance from data: an array, or an iterable of batches."""
        if self.input_mean is not None:
            raise ValueError("[adapt] this layer was given its mean and variance. Leave them out to adapt it")
        batches = [data] if isinstance(data, (np.ndarray, Tensor)) else data
        mean: Any = 0.0
        variance: Any = 0.0
        seen = 0
        for batch in batches:
            x = ops.cast(as_array(batch[0] if isinstance(batch, tuple) else batch, name="adapt"), self.dtype)
            if not self.built:
                self.build((None, *x.shape[1:]))
            self.check_input(x.shape)
            kept = self._axes(x.shape)
            others = tuple(i for i in range(x.ndim) if i not in kept)
            count = int(np.prod([x.shape[i] for i in others], dtype=np.int64))
            if count == 0:
                continue
            seen += count
            share = count / seen  # of this batch; the squares of what the means differ by are joined (Chan et al. 1979)
            step = ops.mean(x, others).numpy().astype(np.float64) - mean
            variance = (1 - share) * (variance + share * step**2) + share * ops.var(x, others).numpy()
            mean = mean + share * step
        if seen == 0:
            raise ValueError("[adapt] there is no data to adapt to. Received: nothing, or empty batches")
        self.adapt_mean.assign(np.asarray(mean, self.dtype))
        self.adapt_variance.assign(np.asarray(variance, self.dtype))

    def _statistics(self, ndim: int) -> tuple[Any, Any]:
        """mean and variance, ready to broadcast to inputs of so many axes."""
        kept = sorted(a % ndim for a in self.axis)
        shape = [1] * ndim
        for a, n in zip(kept, self._sizes):
            shape[a] = n
        if self.input_mean is None:
            return ops.reshape(self.adapt_mean, shape), ops.reshape(self.adapt_variance, shape)
        given = (np.asarray(v, self.dtype) for v in (self.input_mean, self.input_variance))
        mean, variance = (Tensor(np.broadcast_to(v, self._sizes).reshape(shape)) for v in given)
        return mean, variance

    @property
    def mean(self) -> Any:
        """The mean in use, ready to broadcast to inputs; None before the layer is built."""
        return self._statistics(len(self.input_shape))[0].numpy() if self.built else None

    @property
    def variance(self) -> Any:
        """The variance in use; None before the layer is built."""
        return self._statistics(len(self.input_shape))[1].numpy() if self.built else None

    def call(self, x: Tensor) -> Tensor:
        mean, variance = self._statistics(x.ndim)
        spread = ops.maximum(ops.sqrt(variance), 1e-7)
        return x * spread + mean if self.invert else (x - mean) / spread

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        config["mean"], config["variance"] = (np.array(v).tolist() for v in (self.input_mean, self.input_variance))
        return config


class RandomFlip(Spatial):
    """In training, and where it is called outside of a model, mirrors every second image, chosen at random.

    Args:
        mode: "horizontal" (left and right change places), "vertical", or "horizontal_and_vertical": then an image is
            mirrored both ways or not at all.
        seed: an integer makes this layer's choices the same in every run; None: `set_random_seed` decides.
        data_format: "channels_last" ((N,) H, W, C) or "channels_first" ((N,) C, H, W).
    """

    def __init__(
        self,
        mode: str = "horizontal_and_vertical",
        seed: int | None = None,
        data_format: str | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        if mode not in ("horizontal", "vertical", "horizontal_and_vertical"):
            raise ValueError(
                "[RandomFlip] mode must be 'horizontal', 'vertical' or 'horizontal_and_vertical'. "
                f"Received: mode={mode!r}"
            )
        self.mode, self.seed = mode, seed
        self._keep_format(data_format)
        self._generator = None if seed is None else ops.random.Generator(seed)

    def check_input(self, shape: Shape) -> None:
        if len(shape) != 3:  # one image
            super().check_input(shape)

    def compute_output_shape(self, input_shape: Any) -> Shape:
        shape = standardize_shape(input_shape)
        self.check_input(shape)
        return shape

    def call(self, x: Tensor, training: bool = True) -> Tensor:
        if not training:
            return x
        one = x.ndim == 3
        rows, columns = (a - one for a in self._axes)
        back = [slice(None)] * x.ndim
        if self.mode != "vertical":
            back[columns] = slice(None, None, -1)
        if self.mode != "horizontal":
            back[rows] = slice(None, None, -1)
        shape = (1,) * 3 if one else (x.shape[0], 1, 1, 1)
        chosen = ops.less_equal(ops.random.uniform(shape, generator=self._generator), 0.5)
        return ops.where(chosen, x[tuple(back)], x)
