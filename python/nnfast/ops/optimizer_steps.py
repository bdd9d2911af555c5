"""What optimizers and metrics do to buffers in place, one kernel call for a whole list of variables.

Everything here respects a status array: once it is set, nothing is changed. Arguments are Tensors, Variables or arrays.
"""

from collections.abc import Sequence
from typing import Any

from nnfast import device
from nnfast.tensor import Tensor, as_array, wrap


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
    dampening: float = 0.0,
    nesterov: bool = False,
    weight_decay: float = 0.0,
    l2: float = 0.0,
    pytorch: bool = False,
    status: Any = None,
) -> None:
    """m = momentum m - lr g; w += m, or with nesterov w += momentum m - lr g, for each variable.

    Args:
        ws: the variables; each w -= w * weight_decay * lr first.
        gs: their gradients, of the same shapes and dtypes; l2 * w is added to each.
        ms: their momenta; None without momentum.
        lr: float64 (), read when the step runs.
        momentum, nesterov, weight_decay, l2: see above.
        dampening: the step takes (1 - dampening) g; not with nesterov.
        pytorch: the momenta are without the rate, as in PyTorch: m = momentum m + g; w -= lr m.
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
        dampening=dampening,
        nesterov=nesterov,
        weight_decay=weight_decay,
        l2=l2,
        pytorch=pytorch,
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
    l2: float = 0.0,
    pytorch: bool = False,
    status: Any = None,
) -> None:
    """v = rho v + (1 - rho) g^2; step = lr g / sqrt(v + epsilon); w -= step, for each variable, as in Keras.

    Args:
        ws, gs, lr, weight_decay, l2, status: as in `sgd`.
        vs: the averages of g^2.
        ms: None, or momenta: m = momentum m + step; w -= m.
        means: None, or the averages of g, whose squares are subtracted from v.
        rho: how slowly the averages forget.
        momentum: see ms.
        epsilon: keeps the root away from 0.
        pytorch: step = g / (sqrt(v) + epsilon), and the rate after the momentum: w -= lr m.
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
        l2=l2,
        pytorch=pytorch,
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
    l2: float = 0.0,
    pytorch: bool = False,
    status: Any = None,
) -> None:
    """m += (1 - b1)(g - m); v += (1 - b2)(g^2 - v); w -= lr sqrt(1 - b2^t) / (1 - b1^t) m / (sqrt(v) + epsilon).

    Args:
        ws, gs, lr, weight_decay, l2, status: as in `sgd`.
        ms, vs: the averages of g and g^2.
        vhats: None, or the largest v so far, which takes v's place (amsgrad).
        step: int64 (), the steps done before this one: t = step + 1.
        beta_1, beta_2: how slowly the averages forget.
        epsilon: keeps the division away from 0.
        pytorch: epsilon is added to sqrt(v) after its correction, as in PyTorch.
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
        l2=l2,
        pytorch=pytorch,
        status=status,
    )


def adagrad(
    ws: Sequence[Any],
    gs: Sequence[Any],
    sums: Sequence[Any],
    lr: Any,
    *,
    epsilon: float = 1e-7,
    weight_decay: float = 0.0,
    l2: float = 0.0,
    pytorch: bool = False,
    status: Any = None,
) -> None:
    """sum += g^2; w -= lr g / sqrt(sum + epsilon), for each variable.

    Args:
        ws, gs, lr, weight_decay, l2, status: as in `sgd`.
        sums: the sums of g^2.
        epsilon: keeps the root away from 0.
        pytorch: epsilon is added to the root.
    """
    device.kernels.adagrad(
        _list(ws),
        _list(gs),
        _list(sums),
        _data(lr),
        epsilon=epsilon,
        weight_decay=weight_decay,
        l2=l2,
        pytorch=pytorch,
        status=status,
    )


def adadelta(
    ws: Sequence[Any],
    gs: Sequence[Any],
    vs: Sequence[Any],
    moves: Sequence[Any],
    lr: Any,
    *,
    rho: float = 0.95,
    epsilon: float = 1e-7,
    weight_decay: float = 0.0,
    status: Any = None,
) -> None:
    """v = rho v + (1 - rho) g^2; step = sqrt(move + epsilon) g / sqrt(v + epsilon); w -= lr step, for each variable.

    Args:
        ws, gs, lr, weight_decay, status: as in `sgd`.
        vs, moves: the averages of g^2 and of step^2.
        rho: how slowly the averages forget.
        epsilon: keeps the roots away from 0.
    """
    device.kernels.adadelta(
        _list(ws),
        _list(gs),
        _list(vs),
        _list(moves),
        _data(lr),
        rho=rho,
        epsilon=epsilon,
        weight_decay=weight_decay,
        status=status,
    )


def adamax(
    ws: Sequence[Any],
    gs: Sequence[Any],
    ms: Sequence[Any],
    us: Sequence[Any],
    lr: Any,
    step: Any,
    *,
    beta_1: float = 0.9,
    beta_2: float = 0.999,
    epsilon: float = 1e-7,
    weight_decay: float = 0.0,
    status: Any = None,
) -> None:
    """m += (1 - b1)(g - m); u = max(b2 u, |g|); w -= lr / (1 - b1^t) m / (u + epsilon), for each variable.

    Args: as in `adam`, with the largest gradients us in place of vs.
    """
    device.kernels.adamax(
        _list(ws),
        _list(gs),
        _list(ms),
        _list(us),
        _data(lr),
        _data(step),
        beta_1=beta_1,
        beta_2=beta_2,
        epsilon=epsilon,
        weight_decay=weight_decay,
        status=status,
    )


def nadam(
    ws: Sequence[Any],
    gs: Sequence[Any],
    ms: Sequence[Any],
    vs: Sequence[Any],
    product: Any,
    lr: Any,
    step: Any,
    *,
    beta_1: float = 0.9,
    beta_2: float = 0.999,
    epsilon: float = 1e-7,
    weight_decay: float = 0.0,
    status: Any = None,
) -> None:
    """Adam with a look ahead along the momentum, which grows with t: the formula stands in `nnfast.reference.nadam`.

    Args:
        ws, gs, ms, vs, lr, step, beta_1, beta_2, epsilon, weight_decay, status: as in `adam`.
        product: one float, the product of all momenta before this step. It is read; `nadam_advance` changes it.
    """
    device.kernels.nadam(
        _list(ws),
        _list(gs),
        _list(ms),
        _list(vs),
        _data(product),
        _data(lr),
        _data(step),
        beta_1=beta_1,
        beta_2=beta_2,
        epsilon=epsilon,
        weight_decay=weight_decay,
        status=status,
    )


def nadam_advance(
    product: Any,
    step: Any,
    *,
    beta_1: float = 0.9,
    status: Any = None,
) -> None:
    """product *= beta_1 (1 - 0.96^(step + 1) / 2): once, when all variables have had their step of nadam."""
    device.kernels.nadam_advance(
        _data(product),
        _data(step),
        beta_1=beta_1,
        status=status,
    )


def lion(
    ws: Sequence[Any],
    gs: Sequence[Any],
    ms: Sequence[Any],
    lr: Any,
    *,
    beta_1: float = 0.9,
    beta_2: float = 0.99,
    weight_decay: float = 0.0,
    status: Any = None,
) -> None:
    """w -= lr sign(b1 m + (1 - b1) g); m = b2 m + (1 - b2) g, for each variable.

    Args: as in `sgd`, but for beta_1 and beta_2: how slowly the direction and the momenta forget.
    """
    device.kernels.lion(
        _list(ws),
        _list(gs),
        _list(ms),
        _data(lr),
        beta_1=beta_1,
        beta_2=beta_2,
        weight_decay=weight_decay,
        status=status,
    )


def ftrl(
    ws: Sequence[Any],
    gs: Sequence[Any],
    sums: Sequence[Any],
    linears: Sequence[Any],
    lr: Any,
    *,
    power: float = -0.5,
    l1: float = 0.0,
    l2: float = 0.0,
    l2_shrinkage: float = 0.0,
    beta: float = 0.0,
    weight_decay: float = 0.0,
    status: Any = None,
) -> None:
    """Follow the regularised leader: the formula stands in `nnfast.reference.ftrl`.

    Args:
        ws, gs, lr, weight_decay, status: as in `sgd`.
        sums, linears: the sums of g^2, and the accumulated linear terms.
        power: of the sums, at most 0.
        l1, l2, l2_shrinkage, beta: strengths of regularisation.
    """
    device.kernels.ftrl(
        _list(ws),
        _list(gs),
        _list(sums),
        _list(linears),
        _data(lr),
        power=power,
        l1=l1,
        l2=l2,
        l2_shrinkage=l2_shrinkage,
        beta=beta,
        weight_decay=weight_decay,
        status=status,
    )


def adafactor(
    ws: Sequence[Any],
    gs: Sequence[Any],
    rows: Sequence[Any],
    columns: Sequence[Any],
    vs: Sequence[Any],
    lr: Any,
    step: Any,
    *,
    beta_2_decay: float = -0.8,
    epsilon_1: float = 1e-30,
    epsilon_2: float = 1e-3,
    clip_threshold: float = 1.0,
    weight_decay: float = 0.0,
    status: Any = None,
) -> None:
    """A step relative to the size of w, with the averages of g^2 kept by row and column only: see `nnfast.reference`.

    Args:
        ws, gs, lr, step, weight_decay, status: as in `adam`.
        rows, columns: the averages, of the shape of w without its last, and without its last but one dimension; not
            used for variables of fewer than two dimensions.
        vs: what the gradients are divided by, squared.
        beta_2_decay, epsilon_1, epsilon_2, clip_threshold: see `nnfast.optimizers.Adafactor`.
    """
    device.kernels.adafactor(
        _list(ws),
        _list(gs),
        _list(rows),
        _list(columns),
        _list(vs),
        _data(lr),
        _data(step),
        beta_2_decay=beta_2_decay,
        epsilon_1=epsilon_1,
        epsilon_2=epsilon_2,
        clip_threshold=clip_threshold,
        weight_decay=weight_decay,
        status=status,
    )


def every_nth(
    step: Any,
    n: int,
    turns: Any,
    gate: Any,
    *,
    status: Any = None,
) -> None:
    """turns = step // n; gate, a status array, lets through what is given it as status= in every nth step only."""
    device.kernels.every_nth(
        _data(step),
        n,
        _data(turns),
        _data(gate),
        status=status,
    )


def mean_gradients(
    sums: Sequence[Any],
    gs: Sequence[Any],
    step: Any,
    n: int,
    *,
    scale: float = 1.0,
    status: Any = None,
) -> list[Any]:
    """sums += scale * gs; gives sums / n. In every nth step the sums are 0 again afterwards.

    >>> import numpy as np, nnfast
    >>> total, g = nnfast.Variable([0.0]), np.ones(1, "float32")
    >>> [nnfast.ops.mean_gradients([total], [g], np.array(step), 2)[0].item() for step in range(2)]
    [0.5, 1.0]
    """
    return device.kernels.mean_gradients(
        _list(sums),
        _list(gs),
        _data(step),
        n,
        scale=scale,
        status=status,
    )


def clip_gradients(
    gs: Sequence[Any],
    *,
    scale: float = 1.0,
    value: float = 0.0,
    norm: float = 0.0,
    global_norm: float = 0.0,
    status: Any = None,
) -> list[Any]:
    """scale * g, with elements cut to [-value, value], or shrunk so that the norm of each, or of all, is bounded.

    Only one of value, norm and global_norm may be positive.

    >>> import numpy as np, nnfast
    >>> nnfast.ops.clip_gradients([np.array([3.0, 4.0])], norm=1.0)[0].tolist()
    [0.6000000000000001, 0.8]
    """
    return device.kernels.clip_gradients(
        _list(gs),
        scale=scale,
        value=value,
        norm=norm,
        global_norm=global_norm,
        status=status,
    )


def average_weights(
    ws: Sequence[Any],
    averages: Sequence[Any],
    step: Any,
    *,
    momentum: float = 0.99,
    overwrite_every: int = 0,
    status: Any = None,
) -> None:
    """averages = momentum averages + (1 - momentum) ws, or the ws in the first step; with status, as all here.

    Args:
        ws, averages: lists of variables, and of arrays like them.
        step: int64 (), the steps done before this one.
        momentum: how slowly the averages forget.
        overwrite_every: after so many steps the variables become their averages; 0 is never.
    """
    device.kernels.average_weights(
        _list(ws),
        _list(averages),
        _data(step),
        momentum=momentum,
        overwrite_every=overwrite_every,
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


def class_hits(predictions: Any, labels: Any) -> Tensor:
    """Whether the largest of each row of predictions (..., classes), the first of equals, is at its class number.

    Args:
        predictions: floats.
        labels: class numbers (...), integers or floats. What is no class is no hit.

    Returns:
        bool (...).

    >>> import nnfast
    >>> nnfast.ops.class_hits([[0.2, 0.8], [0.6, 0.4]], [1, 1]).tolist()
    [True, False]
    """
    return wrap(device.kernels.class_hits(_floats(predictions), as_array(labels, name="class_hits")))


def _floats(x: Any) -> Any:
    a = as_array(x, name="class_hits")
    return a if a.dtype.kind == "f" else device.kernels.cast(a, "float64")


def advance(counter: Any, amount: int = 1, *, status: Any = None) -> None:
    """counter (int64) += amount."""
    device.kernels.advance(_data(counter), amount, status=status)


def check_finite(x: Any, status: Any = None) -> None:
    """Sets the status, or without one raises ValueError, if x holds NaN or Inf."""
    device.kernels.check_finite(as_array(x, name="check_finite"), status=status)
    if status is None:
        device.check_data()
