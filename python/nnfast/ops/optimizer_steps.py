"""What optimizers and metrics do to buffers in place, one kernel call for a whole list of variables.

Everything here respects a status array: once it is set, nothing is changed. Arguments are Tensors, Variables or arrays.
"""

from collections.abc import Sequence
from typing import Any

from nnfast import device
from nnfast.tensor import Tensor, as_array


def _data(x: Any) -> Any:
    return x.data if isinstance(x, Tensor) else x


def _list(xs: Sequence[Any] | None) -> list[Any] | None:
    return None if xs is None else [_data(x) for x in xs]


def sgd(
    ws: Sequence[Any],
    gs: Sequence[Any],
    ms: Sequence[Any] | None,
    lr: Any,
    *,
    momentum: float = 0.0,
    nesterov: bool = False,
    weight_decay: float = 0.0,
    status: Any = None,
) -> None:
    """m = momentum m - lr g; w += m, or with nesterov w += momentum m - lr g, for each variable.

    Args:
        ws: the variables; each w -= w * weight_decay * lr first.
        gs: their gradients, of the same shapes and dtypes.
        ms: their momenta; None without momentum.
        lr: float64 (), read when the step runs.
        momentum, nesterov, weight_decay: see above.
        status: once set, nothing happens.

    >>> import numpy as np, nnfast
    >>> w = nnfast.Variable([1.0])
    >>> nnfast.ops.sgd([w], [np.ones(1, "float32")], None, np.array(0.25))
    >>> w.item()
    0.75
    """
    device.kernels.sgd(
        _list(ws),
        _list(gs),
        _list(ms),
        _data(lr),
        momentum=momentum,
        nesterov=nesterov,
        weight_decay=weight_decay,
        status=status,
    )


def rmsprop(
    ws: Sequence[Any],
    gs: Sequence[Any],
    vs: Sequence[Any],
    ms: Sequence[Any] | None,
    means: Sequence[Any] | None,
    lr: Any,
    *,
    rho: float = 0.9,
    momentum: float = 0.0,
    epsilon: float = 1e-7,
    weight_decay: float = 0.0,
    status: Any = None,
) -> None:
    """v = rho v + (1 - rho) g^2; step = lr g / sqrt(v + epsilon); w -= step, for each variable, as in Keras.

    Args:
        ws, gs, lr, weight_decay, status: as in `sgd`.
        vs: the averages of g^2.
        ms: None, or momenta: m = momentum m + step; w -= m.
        means: None, or the averages of g, whose squares are subtracted from v.
        rho: how slowly the averages forget.
        momentum: see ms.
        epsilon: keeps the root away from 0.
    """
    device.kernels.rmsprop(
        _list(ws),
        _list(gs),
        _list(vs),
        _list(ms),
        _list(means),
        _data(lr),
        rho=rho,
        momentum=momentum,
        epsilon=epsilon,
        weight_decay=weight_decay,
        status=status,
    )


def adam(
    ws: Sequence[Any],
    gs: Sequence[Any],
    ms: Sequence[Any],
    vs: Sequence[Any],
    vhats: Sequence[Any] | None,
    lr: Any,
    step: Any,
    *,
    beta_1: float = 0.9,
    beta_2: float = 0.999,
    epsilon: float = 1e-7,
    weight_decay: float = 0.0,
    status: Any = None,
) -> None:
    """m += (1 - b1)(g - m); v += (1 - b2)(g^2 - v); w -= lr sqrt(1 - b2^t) / (1 - b1^t) m / (sqrt(v) + epsilon).

    Args:
        ws, gs, lr, weight_decay, status: as in `sgd`.
        ms, vs: the averages of g and g^2.
        vhats: None, or the largest v so far, which takes v's place (amsgrad).
        step: int64 (), the steps done before this one: t = step + 1.
        beta_1, beta_2: how slowly the averages forget.
        epsilon: keeps the division away from 0.
    """
    device.kernels.adam(
        _list(ws),
        _list(gs),
        _list(ms),
        _list(vs),
        _list(vhats),
        _data(lr),
        _data(step),
        beta_1=beta_1,
        beta_2=beta_2,
        epsilon=epsilon,
        weight_decay=weight_decay,
        status=status,
    )


def accumulate(sums: Any, values: Any, weights: Any = None, *, scale: float = 1.0, status: Any = None) -> None:
    """sums (float64, (2,)) += (scale * sum(weights * values), scale * sum(weights)); without weights each counts 1.

    >>> import numpy as np, nnfast
    >>> sums = nnfast.Variable(np.zeros(2), trainable=False)
    >>> nnfast.ops.accumulate(sums, [1.0, 2.0, 3.0])
    >>> sums.tolist()
    [6.0, 3.0]
    """
    k = device.kernels
    if weights is not None:
        weights = as_array(weights, name="accumulate")
        if weights.dtype.kind != "f":
            weights = k.cast(weights, "float64")
    k.accumulate(_data(sums), as_array(values, name="accumulate"), weights, scale=scale, status=status)


def advance(counter: Any, amount: int = 1, *, status: Any = None) -> None:
    """counter (int64) += amount."""
    device.kernels.advance(_data(counter), amount, status=status)


def check_finite(x: Any, status: Any = None) -> None:
    """Sets the status, or without one raises ValueError, if x holds NaN or Inf."""
    device.kernels.check_finite(as_array(x, name="check_finite"), status=status)
