"""Initial values, in place, by PyTorch's names and rules; the numbers come from nnfast's generators."""

import math
from typing import Any

from nnfast import ops
from nnfast.tape import no_grad


def _fans(tensor: Any) -> tuple[int, int]:
    """(inputs, outputs) of weights (out, in, ...)."""
    if tensor.ndim < 2:
        raise ValueError(f"[init] fan in and fan out need at least two dimensions. Received: shape {tensor.shape}")
    field = math.prod(tensor.shape[2:])
    return tensor.shape[1] * field, tensor.shape[0] * field


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """What an activation's derivative makes up for."""
    gains = {"linear": 1.0, "sigmoid": 1.0, "conv1d": 1.0, "conv2d": 1.0, "tanh": 5 / 3, "relu": math.sqrt(2)}
    gains |= {"selu": 0.75, "leaky_relu": math.sqrt(2 / (1 + (0.01 if param is None else param) ** 2))}
    if nonlinearity not in gains:
        raise ValueError(f"[calculate_gain] known are {', '.join(gains)}. Received: {nonlinearity!r}")
    return gains[nonlinearity]


def _assign(tensor: Any, value: Any) -> Any:
    with no_grad():
        return tensor.copy_(value)


def uniform_(tensor: Any, a: float = 0.0, b: float = 1.0) -> Any:
    """Uniform in [a, b).

    >>> from nnfast import nn
    >>> w = nn.init.uniform_(nn.Parameter([[0.0, 0.0]]), 2.0, 3.0)
    >>> bool((w >= 2).all())
    True
    """
    return _assign(tensor, ops.uniform(tensor.shape, a, b, dtype=tensor.dtype.name))


def normal_(tensor: Any, mean: float = 0.0, std: float = 1.0) -> Any:
    """Normal with mean and standard deviation."""
    return _assign(tensor, ops.normal(tensor.shape, mean, std, dtype=tensor.dtype.name))


def trunc_normal_(tensor: Any, mean: float = 0.0, std: float = 1.0) -> Any:
    """Normal, cut at two standard deviations."""
    return _assign(tensor, ops.truncated_normal(tensor.shape, mean, std, dtype=tensor.dtype.name))


def constant_(tensor: Any, val: float) -> Any:
    """One number."""
    return _assign(tensor, ops.full(tensor.shape, val, tensor.dtype.name))


def zeros_(tensor: Any) -> Any:
    """Zeros."""
    return constant_(tensor, 0.0)


def ones_(tensor: Any) -> Any:
    """Ones."""
    return constant_(tensor, 1.0)


def xavier_uniform_(tensor: Any, gain: float = 1.0) -> Any:
    """Uniform to gain * sqrt(6 / (in + out)) (Glorot and Bengio, 2010)."""
    limit = gain * math.sqrt(6 / sum(_fans(tensor)))
    return uniform_(tensor, -limit, limit)


def xavier_normal_(tensor: Any, gain: float = 1.0) -> Any:
    """Normal with deviation gain * sqrt(2 / (in + out))."""
    return normal_(tensor, 0.0, gain * math.sqrt(2 / sum(_fans(tensor))))


def _he(tensor: Any, a: float, mode: str, nonlinearity: str) -> float:
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f"[init] mode must be 'fan_in' or 'fan_out'. Received: mode={mode!r}")
    return calculate_gain(nonlinearity, a) / math.sqrt(_fans(tensor)[mode == "fan_out"])


def kaiming_uniform_(tensor: Any, a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu") -> Any:
    """Uniform to gain * sqrt(3 / fan) (He et al., 2015)."""
    limit = math.sqrt(3.0) * _he(tensor, a, mode, nonlinearity)
    return uniform_(tensor, -limit, limit)


def kaiming_normal_(tensor: Any, a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu") -> Any:
    """Normal with deviation gain / sqrt(fan)."""
    return normal_(tensor, 0.0, _he(tensor, a, mode, nonlinearity))
