"""The first values of weights, by Keras's names. Random ones come from kernels: a seed means the same everywhere.

Variance scaling: a layer that adds up n inputs keeps their variance if its weights have variance 1 / n. For tanh Glorot
and Bengio (2010) take the mean of fan_in and fan_out; for relu He et al. (2015) take variance 2 / fan_in.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from nnfast import config
from nnfast.ops import random
from nnfast.saving.serialization import from_identifier, publish
from nnfast.saving.serialization import serialize as serialize
from nnfast.tensor import Tensor

Axes = int | Sequence[int] | None


class Initializer:
    """A function (shape, dtype) -> values. Override `__call__`, and `get_config` if it takes arguments."""

    def __call__(self, shape: Any, dtype: Any = None) -> Any:
        raise NotImplementedError(
            f"[Initializer] {type(self).__name__} needs a method __call__(self, shape, dtype=None)"
        )

    def get_config(self) -> dict[str, Any]:
        """The arguments that make one like this."""
        return {}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Initializer":
        """A new one from what `get_config` gave."""
        return cls(**config)


def _shape_dtype(shape: Any, dtype: Any) -> tuple[tuple[int, ...], str]:
    return tuple(int(n) for n in shape), np.dtype(dtype or config.floatx()).name


class Zeros(Initializer):
    """All 0."""

    def __call__(self, shape: Any, dtype: Any = None) -> Tensor:
        return Tensor(np.zeros(*_shape_dtype(shape, dtype)))


class Ones(Initializer):
    """All 1."""

    def __call__(self, shape: Any, dtype: Any = None) -> Tensor:
        return Tensor(np.ones(*_shape_dtype(shape, dtype)))


class Constant(Initializer):
    """All `value`: a number, or an array that broadcasts to the shape.

    >>> import nnfast
    >>> nnfast.initializers.Constant(0.5)((2,)).numpy()
    array([0.5, 0.5], dtype=float32)
    """

    def __init__(self, value: Any = 0.0):
        self.value = value

    def __call__(self, shape: Any, dtype: Any = None) -> Tensor:
        shape, dtype = _shape_dtype(shape, dtype)
        return Tensor(np.full(shape, self.value, dtype))

    def get_config(self) -> dict[str, Any]:
        return {"value": self.value.tolist() if hasattr(self.value, "tolist") else self.value}


class Identity(Initializer):
    """gain on the diagonal of a matrix, else 0."""

    def __init__(self, gain: float = 1.0):
        self.gain = gain

    def __call__(self, shape: Any, dtype: Any = None) -> Tensor:
        shape, dtype = _shape_dtype(shape, dtype)
        if len(shape) != 2:
            raise ValueError(f"[Identity] only a matrix can be the identity. Received: shape {shape}")
        return Tensor(np.asarray(self.gain * np.eye(*shape), dtype))

    def get_config(self) -> dict[str, Any]:
        return {"gain": self.gain}


class _Random(Initializer):
    """One with a seed: an int gives the same values on every call; None new ones, that `set_random_seed` decides."""

    seed: Any = None

    def _take_seed(self, seed: Any) -> None:
        if seed is not None and (isinstance(seed, bool) or not hasattr(seed, "__index__")):
            raise TypeError(f"[{type(self).__name__}] seed must be an integer or None. Received: seed={seed!r}")
        self.seed = None if seed is None else int(seed)

    def _values(self, draw: Any, shape: Any, dtype: Any, a: float, b: float) -> Tensor:
        """A draw of this shape with its two parameters: (low, high) or (mean, stddev)."""
        shape, dtype = _shape_dtype(shape, dtype)
        generator = None if self.seed is None else random.Generator(self.seed)
        return draw(shape, a, b, dtype, generator=generator)


class RandomUniform(_Random):
    """Uniform in [minval, maxval)."""

    def __init__(self, minval: float = -0.05, maxval: float = 0.05, seed: Any = None):
        self.minval, self.maxval = minval, maxval
        self._take_seed(seed)

    def __call__(self, shape: Any, dtype: Any = None) -> Tensor:
        return self._values(random.uniform, shape, dtype, self.minval, self.maxval)

    def get_config(self) -> dict[str, Any]:
        return {"minval": self.minval, "maxval": self.maxval, "seed": self.seed}


class RandomNormal(_Random):
    """Normal with the given mean and standard deviation."""

    def __init__(self, mean: float = 0.0, stddev: float = 0.05, seed: Any = None):
        self.mean, self.stddev = mean, stddev
        self._take_seed(seed)

    def __call__(self, shape: Any, dtype: Any = None) -> Tensor:
        return self._values(random.normal, shape, dtype, self.mean, self.stddev)

    def get_config(self) -> dict[str, Any]:
        return {"mean": self.mean, "stddev": self.stddev, "seed": self.seed}


class TruncatedNormal(RandomNormal):
    """Normal, but values beyond two standard deviations are drawn again."""

    def __call__(self, shape: Any, dtype: Any = None) -> Tensor:
        return self._values(random.truncated_normal, shape, dtype, self.mean, self.stddev)


def compute_fans(shape: Sequence[int], input_axes: Axes = None, output_axes: Axes = None) -> tuple[float, float]:
    """How many inputs reach one output, and how many outputs one input. Matrices are (in, out), filters (..., in, out).

    >>> compute_fans((3, 3, 32, 64))
    (288.0, 576.0)
    """
    shape = tuple(shape)
    if input_axes is None and output_axes is None:
        if len(shape) < 2:
            n = float(shape[0]) if shape else 1.0
            return n, n
        field = math.prod(shape[:-2])
        return float(field * shape[-2]), float(field * shape[-1])

    def group(axes: Axes, default: int) -> set[int]:
        axes = (default,) if axes is None else (axes,) if isinstance(axes, int) else tuple(axes)
        return {a % len(shape) for a in axes}

    inputs, outputs = group(input_axes, -2), group(output_axes, -1)
    field = math.prod(n for i, n in enumerate(shape) if i not in inputs | outputs)
    return float(field * math.prod(shape[i] for i in inputs)), float(field * math.prod(shape[i] for i in outputs))


class VarianceScaling(_Random):
    """Variance scale / n, with n = fan_in, fan_out or their mean.

    Args:
        scale: a positive number.
        mode: "fan_in", "fan_out" or "fan_avg".
        distribution: "uniform", "truncated_normal" or "untruncated_normal".
        seed: see the module.
        input_axes, output_axes: which axes of the weight are inputs and outputs, if not the last two.
    """

    def __init__(
        self,
        scale: float = 1.0,
        mode: str = "fan_in",
        distribution: str = "truncated_normal",
        seed: Any = None,
        input_axes: Axes = None,
        output_axes: Axes = None,
    ):
        distribution = "truncated_normal" if distribution == "normal" else distribution
        if not scale > 0:
            raise ValueError(f"[VarianceScaling] scale must be positive. Received: scale={scale!r}")
        if mode not in ("fan_in", "fan_out", "fan_avg"):
            raise ValueError(f"[VarianceScaling] mode must be fan_in, fan_out or fan_avg. Received: mode={mode!r}")
        if distribution not in ("uniform", "truncated_normal", "untruncated_normal"):
            raise ValueError(
                "[VarianceScaling] distribution must be uniform, truncated_normal or untruncated_normal. "
                f"Received: distribution={distribution!r}"
            )
        self.scale, self.mode, self.distribution = scale, mode, distribution
        self.input_axes, self.output_axes = input_axes, output_axes
        self._take_seed(seed)

    def __call__(self, shape: Any, dtype: Any = None) -> Tensor:
        fan_in, fan_out = compute_fans(shape, self.input_axes, self.output_axes)
        n = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[self.mode]
        variance = self.scale / max(1.0, n)
        if self.distribution == "uniform":
            limit = math.sqrt(3 * variance)  # a uniform in [-a, a) has variance a^2 / 3
            return self._values(random.uniform, shape, dtype, -limit, limit)
        if self.distribution == "untruncated_normal":
            return self._values(random.normal, shape, dtype, 0.0, math.sqrt(variance))
        # A normal cut at two standard deviations has only 0.8796 of its standard deviation left.
        return self._values(random.truncated_normal, shape, dtype, 0.0, math.sqrt(variance) / 0.87962566103423978)

    def get_config(self) -> dict[str, Any]:
        return {
            "scale": self.scale,
            "mode": self.mode,
            "distribution": self.distribution,
            "seed": self.seed,
            "input_axes": self.input_axes,
            "output_axes": self.output_axes,
        }


class _Scaled(VarianceScaling):
    """VarianceScaling with its first three arguments fixed."""

    _fixed: tuple[float, str, str]

    def __init__(self, seed: Any = None, input_axes: Axes = None, output_axes: Axes = None):
        super().__init__(*self._fixed, seed=seed, input_axes=input_axes, output_axes=output_axes)

    def get_config(self) -> dict[str, Any]:
        return {"seed": self.seed, "input_axes": self.input_axes, "output_axes": self.output_axes}


class GlorotUniform(_Scaled):
    """Uniform within sqrt(6 / (fan_in + fan_out)).

    >>> import nnfast
    >>> w = nnfast.initializers.GlorotUniform(seed=1)((2, 4)).numpy()
    >>> bool((abs(w) <= 1).all())
    True
    """

    _fixed = (1.0, "fan_avg", "uniform")


class GlorotNormal(_Scaled):
    """Truncated normal with variance 2 / (fan_in + fan_out)."""

    _fixed = (1.0, "fan_avg", "truncated_normal")


class HeUniform(_Scaled):
    """Uniform within sqrt(6 / fan_in)."""

    _fixed = (2.0, "fan_in", "uniform")


class HeNormal(_Scaled):
    """Truncated normal with variance 2 / fan_in."""

    _fixed = (2.0, "fan_in", "truncated_normal")


class LecunUniform(_Scaled):
    """Uniform within sqrt(3 / fan_in)."""

    _fixed = (1.0, "fan_in", "uniform")


class LecunNormal(_Scaled):
    """Truncated normal with variance 1 / fan_in."""

    _fixed = (1.0, "fan_in", "truncated_normal")


class Orthogonal(_Random):
    """gain times a matrix with orthonormal columns (or rows, if it is wide): the Q of a random normal matrix.

    Weights with more than two dimensions are seen as (product of all but the last, last). Saxe et al. 2013.
    """

    def __init__(self, gain: float = 1.0, seed: Any = None):
        self.gain = gain
        self._take_seed(seed)

    def __call__(self, shape: Any, dtype: Any = None) -> Tensor:
        shape, dtype = _shape_dtype(shape, dtype)
        if len(shape) < 2:
            raise ValueError(f"[Orthogonal] expects at least 2 dimensions. Received: shape {shape}")
        rows, columns = math.prod(shape[:-1]), shape[-1]
        tall = (max(rows, columns), min(rows, columns))
        normal = self._values(random.normal, tall, "float64", 0.0, 1.0).numpy()
        q, r = np.linalg.qr(normal)
        q = q * np.where(np.diag(r) < 0, -1.0, 1.0)  # makes Q unique, and uniform among the orthogonal matrices
        return Tensor(np.asarray(self.gain * (q if rows >= columns else q.T), dtype).reshape(shape))

    def get_config(self) -> dict[str, Any]:
        return {"gain": self.gain, "seed": self.seed}


_CLASSES: tuple[type[Initializer], ...] = (
    Zeros,
    Ones,
    Constant,
    Identity,
    RandomUniform,
    RandomNormal,
    TruncatedNormal,
    VarianceScaling,
    GlorotUniform,
    GlorotNormal,
    HeUniform,
    HeNormal,
    LecunUniform,
    LecunNormal,
    Orthogonal,
)
_TABLE: dict[str, Any] = {c.__name__: c for c in _CLASSES} | {
    "uniform": RandomUniform,  # Keras's short names
    "normal": RandomNormal,
    "zero": Zeros,
    "one": Ones,
    "eye": Identity,
    "IdentityInitializer": Identity,
    "OrthogonalInitializer": Orthogonal,
}
zeros, ones, constant, identity, orthogonal = Zeros, Ones, Constant, Identity, Orthogonal
random_uniform, random_normal, truncated_normal = RandomUniform, RandomNormal, TruncatedNormal
variance_scaling, glorot_uniform, glorot_normal = VarianceScaling, GlorotUniform, GlorotNormal
he_uniform, he_normal, lecun_uniform, lecun_normal = HeUniform, HeNormal, LecunUniform, LecunNormal

publish("initializers", _TABLE)


def get(identifier: Any) -> Any:
    """The initializer that a name, config or array means; None stays None, and a function (shape, dtype) is itself.

    >>> import nnfast
    >>> type(nnfast.initializers.get("he_normal")).__name__
    'HeNormal'
    """
    if identifier is None:
        return None
    if isinstance(identifier, (np.ndarray, Tensor)):
        values = np.array(identifier)
        return lambda shape, dtype=None: values.astype(dtype or config.floatx())
    found = from_identifier("initializer", identifier, _TABLE)
    if not callable(found):
        raise TypeError(f"[initializer] a name, a config or a function is expected. Received: {identifier!r}")
    return found


def deserialize(config: Any, custom_objects: dict[str, Any] | None = None) -> Any:
    """The initializer that `serialize` described; names in custom_objects come first."""
    return None if config is None else from_identifier("initializer", config, _TABLE, custom_objects)
