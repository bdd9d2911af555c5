"""How recurrent layers, their wrappers and attention are written in ONNX.

ONNX's LSTM, GRU and RNN know where each sequence of a batch ends, and no other masks. So the steps that count are moved
to the front of their sequence, and the outputs back to where they belong: a masked step has the output of the step
before it.
"""

import math
from typing import Any

import numpy as np

from nnfast import activations
from nnfast.device import host
from nnfast.models.onnx_layers import activation
from nnfast.models.onnx_writer import LAST, Form, Value, Writer

# name, and alpha and beta where ONNX's defaults are not ours
_INSIDE: dict[Any, tuple[str, list[float], list[float]]] = {
    activations.linear: ("Affine", [1.0], [0.0]),
    activations.relu: ("Relu", [], []),
    activations.sigmoid: ("Sigmoid", [], []),
    activations.tanh: ("Tanh", [], []),
    activations.hard_sigmoid: ("HardSigmoid", [1 / 6], [0.5]),
    activations.elu: ("Elu", [1.0], []),
    activations.leaky_relu: ("LeakyRelu", [0.2], []),
    activations.softplus: ("Softplus", [], []),
    activations.softsign: ("Softsign", [], []),
}


# ---- recurrent layers ----


def _functions(w: Writer, layer: Any, *functions: Any) -> dict[str, Any]:
    """The attributes of a recurrent operator for these activations."""
    for f in functions:
        if f not in _INSIDE:
            raise w.no_form(layer, f"activation {getattr(f, '__name__', f)!r}")
    names, alphas, betas = zip(*(_INSIDE[f] for f in functions))
    found: dict[str, Any] = {"activations": list(names)}
    if any(alphas):
        found["activation_alpha"] = [v for alpha in alphas for v in alpha]
    if any(betas):
        found["activation_beta"] = [v for beta in betas for v in beta]
    return found


def _attributes(w: Writer, layer: Any, op: str) -> dict[str, Any]:
    if op == "RNN":
        return _functions(w, layer, layer.activation)
    if op == "LSTM":
        return _functions(w, layer, layer.recurrent_activation, layer.activation, layer.activation)
    how = _functions(w, layer, layer.recurrent_activation, layer.activation)
    return {**how, "linear_before_reset": int(layer.reset_after)}


def _weights(w: Writer, layer: Any, order: list[int]) -> list[str]:
    """kernel, recurrent kernel and both biases, with ONNX's order of gates: (1, gates * units, ...)."""

    def turned(a: np.ndarray) -> np.ndarray:
        gates = np.split(a, len(order), axis=-1)
        return np.concatenate([gates[i] for i in order], axis=-1)

    kernels = [w.const(turned(host(v.data)).T[None]) for v in (layer.kernel, layer.recurrent_kernel)]
    if layer.bias is None:
        return [*kernels, ""]
    rows = host(layer.bias.data).reshape(-1, len(order) * layer.units)  # GRU may have two
    second = rows[1] if len(rows) == 2 else np.zeros_like(rows[0])
    return [*kernels, w.const(np.concatenate([turned(rows[0]), turned(second)])[None])]


def _mask_of(w: Writer, layer: Any, x: Value, mask: Any) -> Value | None:
    """The mask that a layer was given, or else that of its input."""
    if mask is None:
        return x.mask
    if not isinstance(mask, Value) or mask.dtype != bool:
        raise w.no_form(layer, "a mask that is no tensor of bools")
    return mask


def _recurrent(op: str, order: list[int]) -> Form:
    """order: for each gate of ONNX the number of ours."""

    def form(w: Writer, layer: Any, inputs: list[Value], mask: Any = None) -> Any:
        x, *states = inputs
        outside = mask = _mask_of(w, layer, x, mask)
        if layer.stateful:
            raise w.no_form(layer, "stateful")
        if layer.go_backwards:
            x = w.reversed(x, 1)
            mask = mask and w.reversed(mask, 1)
        counted = lengths = None
        if mask is not None:
            counted = w.cast(mask, "int64")
            lengths = w.cast(w.node("ReduceSum", [counted, w.const([1], "int64")], 1, keepdims=0), "int32")
            x = _to_the_front(w, x, counted)
        first: list[Any] = [w.unsqueezed(s, 0) for s in states] or [""] * layer._states
        time_first = w.transposed(x, [1, 0, 2])
        y, *ends = w.several(
            op,
            [time_first, *_weights(w, layer, order), lengths or "", *first],
            [(4, None), *[(3, None)] * layer._states],
            hidden_size=layer.units,
            **_attributes(w, layer, op),
        )
        ends = [w.squeezed(v, 0) for v in ends]
        if lengths is not None and states:  # runtimes end empty sequences with zeros
            some = w.unsqueezed(w.compare("Greater", lengths, 0), -1)
            ends = [w.where(some, end, state) for end, state in zip(ends, states)]
        if counted is not None or layer.return_sequences:
            y = w.transposed(w.squeezed(y, 1), [1, 0, 2])
        if counted is not None:
            y = _to_their_places(w, y, counted)
            if layer.zero_output_for_mask:
                y = w.where(w.unsqueezed(mask, -1), y, 0.0)
        if layer.return_sequences:
            y = y.masked(outside)
        else:
            y = ends[0] if counted is None else w.squeezed(w.sliced(y, [1], [-1], [LAST]), 1)
        return [y, *ends] if layer.return_state else y

    return form


def _to_the_front(w: Writer, x: Value, counted: Value) -> Value:
    """The steps of x that count, then the others, each in their order. counted: 0 or 1, (batch, time)."""
    # The largest keys are those of the first steps that count.
    keys = w.node("Sub", [w.with_const("Mul", counted, 2**40), w.positions(counted)])
    _, steps = w.several("TopK", [keys, w.sizes(counted, 1, 2)], [(2, None), (2, "int64")], axis=1)
    return w.node("GatherND", [x, w.unsqueezed(steps, -1)], batch_dims=1)


def _to_their_places(w: Writer, y: Value, counted: Value) -> Value:
    """The way back: step t gets the output of the last step up to t that counts, or else zeros."""
    y = w.node("Pad", [y, w.const([0, 1, 0, 0, 0, 0], "int64")])
    last = w.node("CumSum", [counted, w.const(1, "int64")])
    return w.node("GatherND", [y, w.unsqueezed(last, -1)], batch_dims=1)


def _bidirectional(w: Writer, layer: Any, inputs: list[Value], mask: Any = None) -> Any:
    x, *states = inputs
    x = x.masked(_mask_of(w, layer, x, mask))
    middle = len(states) // 2
    y, *first = w.layer(layer.forward_layer, [x, *states[:middle]])
    z, *second = w.layer(layer.backward_layer, [x, *states[middle:]])
    if layer.return_sequences:
        z = w.reversed(z, 1)  # in the order of time
    mode = layer.merge_mode
    if mode is None:
        merged = [y, z]
    elif mode == "concat":
        merged = [w.node("Concat", [y, z], axis=-1)]
    else:
        merged = [w.node({"sum": "Sum", "ave": "Mean", "mul": "Mul"}[mode], [y, z])]
    if layer.return_sequences:
        merged = [v.masked(x.mask) for v in merged]
    return [*merged, *first, *second]


def _time_distributed(w: Writer, layer: Any, inputs: list[Value]) -> Value:
    (x,) = inputs
    if x.mask is not None and layer.layer._takes_mask:
        raise w.no_form(layer, "with masked steps")
    rows = w.node("Concat", [w.const([-1], "int64"), w.sizes(x, 2)], 1, "int64", axis=0)
    made = w.layer(layer.layer, [w.node("Reshape", [x, rows], x.rank - 1)])
    if len(made) > 1:
        raise w.no_form(layer, "a layer of several outputs")
    shape = w.node("Concat", [w.sizes(x, 0, 2), w.sizes(made[0], 1)], axis=0)
    return w.node("Reshape", [made[0], shape], made[0].rank + 1).masked(x.mask)


# ---- attention ----


def _both(w: Writer, *masks: Value | None) -> Value | None:
    """Where all hold; None holds everywhere."""
    found = None
    for m in masks:
        found = m if found is None else found if m is None else w.node("And", [found, m], max(found.rank, m.rank))
    return found


def _weights_of_scores(w: Writer, scores: Value, seen: Value | None) -> Value:
    """Softmax over the keys that are seen; 0 for the others, also where none is."""
    if seen is None:
        return w.node("Softmax", [scores], axis=-1)
    hidden = float(np.finfo(scores.dtype).min / 2)
    return w.where(seen, w.node("Softmax", [w.where(seen, scores, hidden)], axis=-1), 0.0)


def _distances(w: Writer, query: Value, key: Value) -> Value:
    """Position of the query less that of the key, (T, S)."""
    return w.node("Sub", [w.unsqueezed(w.positions(query), 1), w.unsqueezed(w.positions(key), 0)])


def _attention(
    w: Writer,
    layer: Any,
    inputs: list[Value],
    mask: Any = None,
    use_causal_mask: bool = False,
    return_attention_scores: bool = False,
) -> Any:
    q, v, k = inputs[0], inputs[1], inputs[-1]
    given = [None, None] if mask is None else list(mask[:2])
    q_mask, v_mask = (_mask_of(w, layer, x, m) for x, m in zip((q, v), given))
    if layer.score_mode == "dot":
        scores = w.node("Einsum", [q, k], equation="btd,bsd->bts")
        if layer.scale is not None:
            scores = w.with_const("Mul", scores, host(layer.scale.data))
    else:
        sums = w.node("Add", [w.unsqueezed(q, 2), w.unsqueezed(k, 1)])
        if layer.scale is not None:
            sums = w.with_const("Mul", sums, host(layer.scale.data))
        sums = w.node("ReduceSum", [w.node("Tanh", [sums]), w.const([-1], "int64")], 3, keepdims=0)
        scores = w.with_const("Mul", sums, host(layer.concat_score_weight.data))
    seen = v_mask and w.unsqueezed(v_mask, 1)
    if use_causal_mask:
        seen = _both(w, w.compare("GreaterOrEqual", _distances(w, q, k), 0), seen)
    weights = _weights_of_scores(w, scores, seen)
    y = w.node("MatMul", [weights, v])
    if q_mask is not None:
        y = w.where(w.unsqueezed(q_mask, -1), y, 0.0)
    y = y.masked(q_mask)
    return [y, weights] if return_attention_scores else y


def _projected(w: Writer, layer: Any, x: Value, part: Any) -> Value:
    """(batch, time, features) times kernel (features, heads, size), and its bias."""
    y = w.node("Einsum", [x, w.const(host(part.kernel.data))], 4, equation="btd,dne->btne")
    if part.bias is not None:
        y = w.with_const("Add", y, host(part.bias.data))
    return activation(w, layer, part.activation, y)


def _multi_head_attention(
    w: Writer,
    layer: Any,
    inputs: list[Value],
    query_mask: Any = None,
    value_mask: Any = None,
    key_mask: Any = None,
    attention_mask: Any = None,
    use_causal_mask: bool = False,
    return_attention_scores: bool = False,
) -> Any:
    query, value, key = inputs[0], inputs[1], inputs[-1]
    if query.rank != 3 or layer._axes(3) != (1,):
        raise w.no_form(layer, "but for (batch, time, features)")
    q_mask, v_mask = _mask_of(w, layer, query, query_mask), _mask_of(w, layer, value, value_mask)
    k_mask = _mask_of(w, layer, key, key_mask) if len(inputs) == 3 or key_mask is not None else None
    seen = _both(w, *(m and w.unsqueezed(m, 1) for m in (v_mask, k_mask)))
    seen = _both(w, seen, q_mask and w.unsqueezed(q_mask, 2))
    if use_causal_mask:
        seen = _both(w, seen, w.compare("GreaterOrEqual", _distances(w, query, value), 0))
    if layer.sliding_window is not None:
        distance = w.node("Abs", [_distances(w, query, value)])
        seen = _both(w, seen, w.compare("Less", distance, layer.sliding_window))
    masks = [seen, _mask_of(w, layer, query, attention_mask) if attention_mask is not None else None]
    seen = _both(w, *(w.unsqueezed(m, 1) if m is not None and m.rank == 3 else m for m in masks))  # for all heads
    q, k, v = (
        _projected(w, layer, x, part)
        for x, part in ((query, layer.query_dense), (key, layer.key_dense), (value, layer.value_dense))
    )
    scores = w.node("Einsum", [w.with_const("Mul", q, 1 / math.sqrt(layer.key_dim)), k], equation="btne,bsne->bnts")
    weights = _weights_of_scores(w, scores, seen)
    y = w.node("Einsum", [weights, v], equation="bnts,bsnv->btnv")
    if layer.use_gate:
        y = w.node("Mul", [y, _projected(w, layer, query, layer._gate_dense)])
    last = layer.output_dense
    sizes = "opqrsuwxyz"[: len(last.outputs)]
    y = w.node("Einsum", [y, w.const(host(last.kernel.data))], 2 + len(sizes), equation=f"btnv,nv{sizes}->bt{sizes}")
    if last.bias is not None:
        y = w.with_const("Add", y, host(last.bias.data))
    y = y.masked(q_mask)
    return [y, weights] if return_attention_scores else y


FORMS: dict[str, Form] = {
    "Attention": _attention,
    "Bidirectional": _bidirectional,
    "GRU": _recurrent("GRU", [0, 1, 2]),
    "LSTM": _recurrent("LSTM", [0, 3, 1, 2]),  # ONNX: i, o, f, c; here i, f, c, o
    "MultiHeadAttention": _multi_head_attention,
    "SimpleRNN": _recurrent("RNN", [0]),
    "TimeDistributed": _time_distributed,
}
MASKED = set(FORMS)
