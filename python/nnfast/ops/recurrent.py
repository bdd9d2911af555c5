"""Recurrent layers, whole sequences at a time: simple_rnn, lstm, gru. The formulas stand in reference.py."""

from collections.abc import Callable
from typing import Any

import numpy as np

from nnfast import device
from nnfast.ops import elementwise, linalg, movement
from nnfast.ops._op import Op, float_operands, given
from nnfast.tensor import Tensor, as_array

# The activations that the kernels fuse, by the number that they know (csrc/ops.h, Activation).
FUSED_ACTIVATIONS = {"linear": 0, "relu": 1, "sigmoid": 5, "tanh": 6}
_FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "linear": lambda x: x,
    "relu": elementwise.relu,
    "sigmoid": elementwise.sigmoid,
    "tanh": elementwise.tanh,
}
_GATES = {"simple_rnn": 1, "lstm": 4, "gru": 3}


class Recurrent(Op):
    """A whole sequence. result: "sequence" (B,T,U), "last" (B,U), or "states": the sequence, and below it h (and c)."""

    def __init__(self, name: str):
        self.name = name

    def forward(
        self, k: Any, x: Any, w: Any, u: Any, bias: Any, h: Any, c: Any, mask: Any, drop: Any, result: str,
        reverse: bool, options: Any,
    ) -> tuple[Any, Any]:  # fmt: skip
        if reverse:
            x, mask = x[:, ::-1], None if mask is None else mask[:, ::-1]
        first = (h, c) if self.name == "lstm" else (h,)
        y, *states, saved = getattr(k, self.name)(x, w, u, bias, *first, mask, drop, **options)
        if result == "last":
            y = k.contiguous(y[:, -1]) if y.shape[1] else states[0]
        elif result == "states":
            y = k.concat([y, *(s[:, None] for s in states)], 1)
        return y, (x, w, u, c, mask, drop, saved, result, reverse, options)

    def gradient(self, dy: Any, saved: Any, needs: list[bool]) -> tuple[Any, ...]:
        k = device.kernels
        x, w, u, c, mask, drop, kept, result, reverse, options = saved
        steps, lstm = x.shape[1], self.name == "lstm"
        dys, dh, dc = dy, None, None
        if result == "last":
            dys, dh = (dy[:, None], None) if steps else (None, dy)
        elif result == "states":
            dys, dh, dc = dy[:, :steps], dy[:, steps], dy[:, steps + 1] if lstm else None
        last, first = ((dh, dc), (c,)) if lstm else ((dh,), ())
        dx, dw, du, db, dh, *dc = getattr(k, self.name + "_gradient")(
            dys, *last, x, w, u, kept, *first, mask, drop, needs_x=needs[0], **options
        )
        if reverse and dx is not None:
            dx = dx[:, ::-1]
        return dx, dw, du, db, dh, dc[0] if dc else None, None, None

    def output_shape(self, x: Any, w: Any, u: Any, *_: Any, result: str = "sequence", **__: Any) -> Any:
        rows = {"sequence": (x[1],), "last": (), "states": (x[1] + (2 if self.name == "lstm" else 1),)}[result]
        return (x[0], *rows, u[0])


_ops = {name: Recurrent(name) for name in _GATES}


def _run(
    name: str,
    x: Any,
    w: Any,
    u: Any,
    bias: Any,
    h: Any,
    c: Any,
    mask: Any,
    drop: Any,
    result: str,
    go_backwards: bool,
    zero_masked: bool,
    activations: dict[str, Any],
    reset_after: bool | None = None,
) -> Any:
    given(name, x, w, u)
    if result not in ("sequence", "last", "states"):
        raise ValueError(f"[{name}] result must be 'sequence', 'last' or 'states'. Received: result={result!r}")
    for key, value in activations.items():
        if not callable(value) and not (isinstance(value, str) and value in FUSED_ACTIVATIONS):
            raise ValueError(
                f"[{name}] {key} must be a function, or one of {', '.join(FUSED_ACTIVATIONS)}. Received: {value!r}"
            )
    x, w, u, bias, h, c, drop = float_operands(name, x, w, u, bias, h, c, drop)
    if x.ndim != 3:
        raise ValueError(f"[{name}] x must be (batch, time, features). Received: x.shape={x.shape}")
    if mask is not None:
        mask = as_array(mask, name=name)
        if mask.dtype != np.bool_:
            mask = device.kernels.cast(mask, "bool")
    if any(callable(a) for a in activations.values()):
        functions = {key: a if callable(a) else _FUNCTIONS[a] for key, a in activations.items()}
        return _composed(
            name, x, w, u, bias, h, c, mask, drop, result, go_backwards, zero_masked, functions, reset_after
        )
    options: dict[str, Any] = {key: FUSED_ACTIVATIONS[a] for key, a in activations.items()}
    options["zero_masked"] = bool(zero_masked)
    if reset_after is not None:
        options["reset_after"] = bool(reset_after)
    y = _ops[name].apply(
        x, w, u, bias, h, c, mask, drop, result=result, reverse=bool(go_backwards), options=options
    )  # fmt: skip
    if result != "states":
        return y
    steps = x.shape[1]
    return (y[:, :steps], y[:, steps]) + ((y[:, steps + 1],) if name == "lstm" else ())


def _composed(
    name: str, x: Any, w: Any, u: Any, bias: Any, h: Any, c: Any, mask: Any, drop: Any, result: str,
    go_backwards: bool, zero_masked: bool, functions: dict[str, Any], reset_after: bool | None,
) -> Any:  # fmt: skip
    """The same, step by step, of other ops: for activations that no kernel knows."""
    (batch, steps, _), units = x.shape, u.shape[0]
    x, w, u = (a if isinstance(a, Tensor) else Tensor(a) for a in (x, w, u))
    zero = movement.zeros((batch, units), x.dtype)
    h, c = (zero if s is None else s for s in (h, c))
    act, rec = functions["activation"], functions.get("recurrent_activation")
    b, b_u = (bias[0], bias[1]) if bias is not None and bias.ndim == 2 else (bias, None)
    y, outputs = zero, []
    for t in reversed(range(steps)) if go_backwards else range(steps):
        met = h if drop is None else h * drop
        z = linalg.dense(x[:, t], w, b)
        if name == "simple_rnn":
            new_h, new_c = act(z + linalg.matmul(met, u)), c
        elif name == "lstm":
            new_h, new_c = _lstm_step(z + linalg.matmul(met, u), c, units, act, rec)
        else:
            new_h, new_c = _gru_step(z, met, h, u, b_u, act, rec, reset_after), c
        if mask is None:
            h, c, y = new_h, new_c, new_h
        else:
            on = mask[:, t, None]
            y = elementwise.where(on, new_h, zero if zero_masked else y)
            h, c = elementwise.where(on, new_h, h), elementwise.where(on, new_c, c)
        outputs.append(y)
    if result == "last":
        return y if steps else h
    y = movement.stack(outputs, 1) if outputs else movement.zeros((batch, 0, units), x.dtype)
    return y if result == "sequence" else (y, h, c) if name == "lstm" else (y, h)


def _lstm_step(z: Any, c: Any, units: int, act: Any, rec: Any) -> Any:
    i, f, g, o = (z[:, n * units : (n + 1) * units] for n in range(4))
    c = rec(f) * c + rec(i) * act(g)
    return rec(o) * act(c), c


def _gru_step(sums: Any, met: Any, h: Any, u: Any, bias: Any, act: Any, rec: Any, reset_after: bool | None) -> Any:
    units = u.shape[0]
    gates = linalg.dense(met, u[:, : 2 * units], None if bias is None else bias[: 2 * units])
    z, r = rec(sums[:, :units] + gates[:, :units]), rec(sums[:, units : 2 * units] + gates[:, units:])
    last = u[:, 2 * units :]
    if reset_after:
        inner = r * linalg.dense(met, last, None if bias is None else bias[2 * units :])
    else:
        inner = linalg.matmul(r * met, last)
    return z * h + (1.0 - z) * act(sums[:, 2 * units :] + inner)


def simple_rnn(
    x: Any,
    w: Any,
    u: Any,
    bias: Any = None,
    h: Any = None,
    *,
    mask: Any = None,
    drop: Any = None,
    activation: Any = "tanh",
    zero_masked: bool = False,
    go_backwards: bool = False,
    result: str = "sequence",
) -> Any:
    """h_t = activation(x_t w + h_{t-1} u + bias), for all steps of a sequence (Elman 1990).

    Args:
        x: (batch, time, features).
        w: (features, units).
        u: (units, units).
        bias: (units,) or None.
        h: (batch, units), the state before the first step; None: zeros.
        mask: bool (batch, time). Where it is False the state stays, and the last output is repeated.
        drop: (batch, units), factors of the h that meets u, the same at every step.
        activation: "tanh", "relu", "sigmoid", "linear": one kernel for the whole sequence; or a function of a Tensor:
            then the steps are composed of other ops, which is several times slower.
        zero_masked: give zeros instead of the last output where the mask is False.
        go_backwards: begin with the last step. The outputs are in the order in which they are computed.
        result: "sequence", "last" or "states".

    Returns:
        (batch, time, units); the last output (batch, units); or the sequence and the last state.

    Raises:
        ValueError: shapes that do not fit; an unknown activation.

    >>> import numpy as np, nnfast
    >>> nnfast.ops.simple_rnn(np.ones((2, 5, 3)), np.ones((3, 4)), np.ones((4, 4))).shape
    (2, 5, 4)
    """
    options = {"activation": activation}
    return _run("simple_rnn", x, w, u, bias, h, None, mask, drop, result, go_backwards, zero_masked, options)


def lstm(
    x: Any,
    w: Any,
    u: Any,
    bias: Any = None,
    h: Any = None,
    c: Any = None,
    *,
    mask: Any = None,
    drop: Any = None,
    activation: Any = "tanh",
    recurrent_activation: Any = "sigmoid",
    zero_masked: bool = False,
    go_backwards: bool = False,
    result: str = "sequence",
) -> Any:
    """Long short-term memory (Hochreiter and Schmidhuber 1997; with the forget gate of Gers et al. 2000).

    i, f, g, o = x_t w + h_{t-1} u + bias, cut into four; c_t = f c_{t-1} + i g, h_t = o activation(c_t), after
    `activation` of g and `recurrent_activation` of i, f, o.

    Args:
        w: (features, 4 * units). PyTorch keeps the same order of gates, transposed.
        u: (units, 4 * units).
        bias: (4 * units,) or None.
        h, c: (batch, units), the states before the first step; None: zeros.
        x, mask, drop, activation, zero_masked, go_backwards, result: as in `simple_rnn`.
        recurrent_activation: like activation.

    Returns:
        As `simple_rnn`; with result="states" the sequence, h and c.

    >>> import numpy as np, nnfast
    >>> y, h, c = nnfast.ops.lstm(np.ones((2, 5, 3)), np.ones((3, 16)), np.ones((4, 16)), result="states")
    >>> y.shape, h.shape, c.shape
    ((2, 5, 4), (2, 4), (2, 4))
    """
    options = {"activation": activation, "recurrent_activation": recurrent_activation}
    return _run("lstm", x, w, u, bias, h, c, mask, drop, result, go_backwards, zero_masked, options)


def gru(
    x: Any,
    w: Any,
    u: Any,
    bias: Any = None,
    h: Any = None,
    *,
    mask: Any = None,
    drop: Any = None,
    activation: Any = "tanh",
    recurrent_activation: Any = "sigmoid",
    reset_after: bool = True,
    zero_masked: bool = False,
    go_backwards: bool = False,
    result: str = "sequence",
) -> Any:
    """Gated recurrent unit (Cho et al. 2014): h_t = z h_{t-1} + (1 - z) n.

    z, r = recurrent_activation(x_t w + b + h_{t-1} u + b'), their parts; n = activation(x_t w_n + b_n + r (h_{t-1} u_n
    + b'_n)) with reset_after (as PyTorch), else activation(x_t w_n + b_n + (r h_{t-1}) u_n).

    Args:
        w: (features, 3 * units), for z, r, n in this order. PyTorch has r, z, n.
        u: (units, 3 * units).
        bias: (2, 3 * units) with reset_after, else (3 * units,); or None.
        reset_after: where the reset gate acts.
        x, h, mask, drop, activation, zero_masked, go_backwards, result: as in `simple_rnn`.
        recurrent_activation: like activation.

    >>> import numpy as np, nnfast
    >>> nnfast.ops.gru(np.ones((2, 5, 3)), np.ones((3, 12)), np.ones((4, 12)), result="last").shape
    (2, 4)
    """
    options = {"activation": activation, "recurrent_activation": recurrent_activation}
    return _run(
        "gru", x, w, u, bias, h, None, mask, drop, result, go_backwards, zero_masked, options, bool(reset_after)
    )
