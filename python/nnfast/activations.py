"""Activation functions, by Keras's names. Each takes a tensor and returns one of its shape."""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from nnfast import ops
from nnfast.saving.serialization import from_identifier, publish
from nnfast.saving.serialization import serialize as serialize
from nnfast.tensor import Tensor


def linear(x: Any) -> Any:
    """x itself."""
    return x


def relu(x: Any, negative_slope: float = 0.0, max_value: float | None = None, threshold: float = 0.0) -> Tensor:
    """max(x, 0); in general negative_slope * (x - threshold) below threshold, x from there to max_value, which caps it.

    >>> import nnfast
    >>> nnfast.activations.relu([-1.0, 0.5, 9.0], max_value=6.0).numpy()
    array([0. , 0.5, 6. ], dtype=float32)
    """
    if max_value is not None and max_value < 0:
        raise ValueError(f"[relu] max_value must not be negative. Received: max_value={max_value}")
    if threshold == 0:
        y = ops.leaky_relu(x, negative_slope) if negative_slope else ops.relu(x)
    else:
        x = ops.cast(x, x.dtype) if isinstance(x, Tensor) else ops.convert_to_tensor(x)
        y = ops.where(ops.greater_equal(x, threshold), x, (x - threshold) * negative_slope)
    return y if max_value is None else ops.minimum(y, max_value)


def leaky_relu(x: Any, negative_slope: float = 0.2) -> Tensor:
    """x where positive, else negative_slope * x. (The layer LeakyReLU has slope 0.3.)"""
    return ops.leaky_relu(x, negative_slope)


def relu6(x: Any) -> Tensor:
    """min(max(x, 0), 6)."""
    return ops.clip(x, 0.0, 6.0)


def elu(x: Any, alpha: float = 1.0) -> Tensor:
    """x where positive, else alpha * (exp(x) - 1)."""
    return ops.elu(x, alpha)


def selu(x: Any) -> Tensor:
    """1.0507 * elu(x, 1.67326): keeps mean 0 and variance 1 (Klambauer et al. 2017)."""
    return ops.selu(x)


def sigmoid(x: Any) -> Tensor:
    """1 / (1 + exp(-x)). The result remembers x, so that cross-entropies lose no digits."""
    return ops.sigmoid(x)


def hard_sigmoid(x: Any) -> Tensor:
    """min(max(x / 6 + 0.5, 0), 1)."""
    return ops.hard_sigmoid(x)


def tanh(x: Any) -> Tensor:
    """(exp(x) - exp(-x)) / (exp(x) + exp(-x))."""
    return ops.tanh(x)


def softmax(x: Any, axis: int = -1) -> Tensor:
    """exp(x) / sum(exp(x)) along axis. The result remembers x, so that cross-entropies lose no digits."""
    if axis in (-1, np.ndim(x) - 1) and np.shape(x)[-1:] == (1,):
        warnings.warn(
            f"[softmax] of one number is always 1. Received: input shape {np.shape(x)}. "
            "For two classes with one unit use activation='sigmoid'",
            stacklevel=2,
        )
    return ops.softmax(x, axis)


def log_softmax(x: Any, axis: int = -1) -> Tensor:
    """x - log(sum(exp(x))) along axis."""
    return ops.log_softmax(x, axis)


def softplus(x: Any) -> Tensor:
    """log(1 + exp(x))."""
    return ops.softplus(x)


def softsign(x: Any) -> Tensor:
    """x / (1 + |x|)."""
    return ops.softsign(x)


def exponential(x: Any) -> Tensor:
    """exp(x)."""
    return ops.exp(x)


def gelu(x: Any, approximate: bool = False) -> Tensor:
    """x * P(X <= x), X normal; approximate: by tanh (Hendrycks and Gimpel 2016)."""
    return ops.gelu(x, approximate)


def silu(x: Any) -> Tensor:
    """x * sigmoid(x), also called swish."""
    return ops.silu(x)


def mish(x: Any) -> Tensor:
    """x * tanh(softplus(x)) (Misra 2019)."""
    x = ops.convert_to_tensor(x)
    return x * ops.tanh(ops.softplus(x))


swish = silu

_FUNCTIONS = (
    linear,
    relu,
    leaky_relu,
    relu6,
    elu,
    selu,
    sigmoid,
    hard_sigmoid,
    tanh,
    softmax,
    log_softmax,
    softplus,
    softsign,
    exponential,
    gelu,
    silu,
    mish,
)
_TABLE: dict[str, Any] = {f.__name__: f for f in _FUNCTIONS} | {"swish": silu}
publish("activations", _TABLE)

# The functions that ops.dense and ops.conv2d compute in the same pass: (activation, slope). Not sigmoid and softmax,
# whose results remember their inputs.
FUSED: dict[Any, tuple[str, float]] = {
    linear: ("linear", 0.0),
    relu: ("relu", 0.0),
    leaky_relu: ("leaky_relu", 0.2),
    elu: ("elu", 1.0),
    selu: ("selu", 0.0),
    tanh: ("tanh", 0.0),
    softplus: ("softplus", 0.0),
    exponential: ("exponential", 0.0),
}


def get(identifier: Any) -> Callable[..., Any]:
    """The function that a name means; None is `linear`, and a callable is itself.

    >>> import nnfast
    >>> nnfast.activations.get("relu").__name__
    'relu'
    """
    if identifier is None:
        return linear
    found = from_identifier("activation", identifier, _TABLE)
    if not callable(found):
        raise TypeError(f"[activation] a name or a function is expected. Received: {identifier!r}")
    return found


def deserialize(config: Any, custom_objects: dict[str, Any] | None = None) -> Callable[..., Any]:
    """The function that `serialize` described; names in custom_objects come first."""
    return linear if config is None else from_identifier("activation", config, _TABLE, custom_objects)
