"""Attention: each query takes the values whose keys fit it."""

import math
from typing import Any

import numpy as np

from nnfast import activations, constraints, initializers, ops, regularizers
from nnfast.layers.layer import Layer, Shape, standardize_shape
from nnfast.layers.recurrent import _rate
from nnfast.layers.weights import positive_int
from nnfast.tensor import Tensor, Variable, as_array


def _bools(layer: Layer, mask: Any) -> Any:
    """A mask as an array of bools; None stays."""
    if mask is None:
        return None
    mask = as_array(mask, name=layer.name)
    return mask if mask.dtype == np.bool_ else ops.cast(mask, "bool").data


def _both(a: Any, b: Any) -> Any:
    """a and b, where None allows everything."""
    return b if a is None else a if b is None else a & b


class Attention(Layer):
    """softmax(q k^T) v: for each query the mean of the values, weighted by the fit of their keys (Luong et al. 2015).

    Args:
        use_scale: are the scores multiplied by a number that is learned?
        score_mode: "dot": q k^T; "concat": a learned weight times the sum of tanh(q + k).
        dropout: share of the weights that are dropped in training.
        seed: an integer makes this layer's masks the same in every run.

    Called with [query, value] or [query, value, key], (batch, T, D), (batch, S, E), (batch, S, D); `mask`: a list of
    bool (batch, T) and (batch, S); `use_causal_mask`: position i sees 0 .. i; `return_attention_scores`: gives the
    weights (batch, T, S) too. A query that sees no key gives zeros (Keras: the mean of all values).

    >>> import numpy as np, nnfast
    >>> q, v = np.ones((2, 3, 4)), np.ones((2, 5, 4))
    >>> nnfast.layers.Attention()([q, v]).shape
    (2, 3, 4)
    """

    cast_integers = True
    supports_masking = True

    def __init__(
        self,
        use_scale: bool = False,
        score_mode: str = "dot",
        dropout: float = 0.0,
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        if score_mode not in ("dot", "concat"):
            raise ValueError(f"[Attention] score_mode must be 'dot' or 'concat'. Received: score_mode={score_mode!r}")
        self.use_scale = bool(use_scale)
        self.score_mode = score_mode
        self.dropout = _rate(self, "dropout", dropout)
        self.seed = seed
        self._generator = None if seed is None else ops.random.Generator(seed)
        self.scale: Variable | None = None
        self.concat_score_weight: Variable | None = None

    def _check(self, inputs: Any, what: str) -> None:
        if not isinstance(inputs, (list, tuple)) or len(inputs) not in (2, 3):
            raise ValueError(
                f"[{self.name}] Attention is called with a list, [query, value] or [query, value, key]. "
                f"Received: {what} {inputs!r:.80}"
            )

    def build(self, input_shape: Any) -> None:
        self._check(input_shape, "input shape")
        if self.use_scale:
            self.scale = self.add_weight((), "ones", name="scale")
        if self.score_mode == "concat":
            self.concat_score_weight = self.add_weight((), "ones", name="concat_score_weight")

    def call(
        self,
        inputs: Any,
        mask: Any = None,
        training: bool = False,
        return_attention_scores: bool = False,
        use_causal_mask: bool = False,
    ) -> Any:
        self._check(inputs, "inputs")
        q, v, k = inputs[0], inputs[1], inputs[-1]
        for x in (q, k, v):
            if x.ndim != 3:
                raise ValueError(
                    f"[{self.name}] Attention takes (batch, positions, features). "
                    f"Received: {', '.join(str(x.shape) for x in inputs)}"
                )
        q_mask, v_mask = (_bools(self, m) for m in (list(mask)[:2] if mask is not None else (None, None)))
        rate = self.dropout if training else 0.0
        if self.score_mode == "dot" and not return_attention_scores:
            q = q if self.scale is None else q * self.scale
            seen = None if v_mask is None else v_mask[:, None, None, :]
            y = ops.attention(
                *(x[:, :, None] for x in (q, k, v)),
                mask=seen,
                scale=1.0,
                causal=use_causal_mask,
                dropout=rate,
                generator=self._generator,
            )[:, :, 0]
            weights = None
        else:
            y, weights = self._step_by_step(q, k, v, v_mask, use_causal_mask, rate)
        if q_mask is not None:
            y = ops.where(q_mask[:, :, None], y, np.zeros((), y.dtype))
        return (y, weights) if return_attention_scores else y

    def _step_by_step(self, q: Any, k: Any, v: Any, v_mask: Any, causal: bool, rate: float) -> Any:
        """The same of single ops, with the weights as a result."""
        if self.score_mode == "dot":
            scores = ops.matmul(q, ops.swapaxes(k, -1, -2))
            scores = scores if self.scale is None else scores * self.scale
        else:
            sums = ops.expand_dims(q, 2) + ops.expand_dims(k, 1)
            sums = sums if self.scale is None else sums * self.scale
            scores = ops.sum(ops.tanh(sums), axis=-1) * self.concat_score_weight
        seen = None if v_mask is None else v_mask[:, None, :]
        if causal:
            seen = _both(seen, _causal(*scores.shape[1:]))
        weights = masked_softmax(scores, seen)
        if rate:
            weights = ops.dropout(weights, rate, generator=self._generator)
        return ops.matmul(weights, v), weights

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        """The mask of the queries."""
        return None if previous_mask is None else previous_mask[0]

    def _symbolic_outputs(self, args: Any, kwargs: Any) -> Any:
        return _with_scores(self, args, kwargs) or super()._symbolic_outputs(args, kwargs)

    def compute_output_shape(self, input_shape: Any) -> Shape:
        shapes = standardize_shape(input_shape)
        self._check(shapes, "input shape")
        return (*shapes[0][:-1], shapes[1][-1])


def _with_scores(layer: Layer, args: Any, kwargs: Any) -> Any:
    """The symbolic outputs, found by a trial, of a call that asks for the weights too; None for other calls."""
    asked = {**dict(zip(layer._call_names, args)), **kwargs}.get("return_attention_scores")
    return layer._infer(args, kwargs) if asked else None


def _causal(queries: int, keys: int) -> np.ndarray:
    return np.arange(queries)[:, None] >= np.arange(keys)


def masked_softmax(scores: Tensor, seen: Any) -> Tensor:
    """Softmax over the last axis, of the scores where `seen` holds; zeros elsewhere."""
    if seen is None:
        return ops.softmax(scores)
    seen = np.broadcast_to(seen, scores.shape)
    hidden = np.asarray(np.finfo(scores.dtype).min / 2, scores.dtype)
    return ops.where(seen, ops.softmax(ops.where(seen, scores, hidden)), np.zeros((), scores.dtype))


class _Projection(Layer):
    """x[..., in] times kernel (in..., out...), plus bias (out...): what Keras makes of EinsumDense in attention."""

    cast_integers = True
    supports_masking = True

    def __init__(self, bound: int, outputs: tuple[int, ...], options: dict[str, Any], activation: Any, name: str):
        super().__init__(name=name, dtype=options["dtype"])
        self.bound, self.outputs, self.options = bound, outputs, options
        self.activation = activations.get(activation)
        self.kernel: Variable | None = None
        self.bias: Variable | None = None

    def build(self, input_shape: Any) -> None:
        o = self.options
        self.kernel = self.add_weight(
            (*input_shape[-self.bound :], *self.outputs),
            o["kernel_initializer"],
            regularizer=o["kernel_regularizer"],
            constraint=o["kernel_constraint"],
            name="kernel",
        )
        if o["use_bias"]:
            self.bias = self.add_weight(
                self.outputs,
                o["bias_initializer"],
                regularizer=o["bias_regularizer"],
                constraint=o["bias_constraint"],
                name="bias",
            )

    def call(self, x: Tensor) -> Tensor:
        assert self.kernel is not None
        width = math.prod(self.kernel.shape[: self.bound])
        kernel = ops.reshape(self.kernel, (width, math.prod(self.outputs)))
        bias = None if self.bias is None else ops.reshape(self.bias, (-1,))
        lead = x.shape[: x.ndim - self.bound]
        y = ops.dense(ops.reshape(x, (*lead, width)), kernel, bias)
        return self.activation(ops.reshape(y, (*lead, *self.outputs)))

    def compute_output_shape(self, input_shape: Any) -> Shape:
        return (*input_shape[: -self.bound], *self.outputs)


class MultiHeadAttention(Layer):
    """Attention of several heads, each on projections of its own (Vaswani et al. 2017).

    y = attention_output(softmax(q k^T / sqrt(key_dim)) v), q, k, v the projections of query, key and value.

    Args:
        num_heads: the number N of heads.
        key_dim: the size of a query and a key in each head.
        value_dim: the size of a value in each head; None: key_dim.
        dropout: share of the weights that are dropped in training.
        use_bias: do the projections have a bias?
        output_shape: of the result after batch and positions; None: that of the query.
        attention_axes: the axes that hold positions; None: all between batch and features.
        sliding_window: a query sees keys closer than this; None: all.
        flash_attention: accepted; scores are never held as a whole unless they are asked for.
        kernel_initializer, bias_initializer, kernel_regularizer, bias_regularizer, activity_regularizer,
            kernel_constraint, bias_constraint: of every projection.
        use_gate: multiply what the heads give by a sigmoid of a projection of the query?
        seed: an integer makes this layer's dropout the same in every run.

    Weights, each a kernel and a bias: query (D, N, key_dim), key, value (E, N, value_dim), attention_output (N,
    value_dim, output). Called as `layer(query, value, key=value)` with (batch, T, D), (batch, S, E), (batch, S, D);
    `query_mask`, `value_mask`, `key_mask`: bool (batch, positions); `attention_mask`: bool (batch, T, S);
    `use_causal_mask`; `return_attention_scores`: gives the weights (batch, N, T, S) too.

    >>> import numpy as np, nnfast
    >>> x = np.ones((2, 5, 8))
    >>> nnfast.layers.MultiHeadAttention(2, 4)(x, x).shape
    (2, 5, 8)
    """

    cast_integers = True
    supports_masking = True

    def __init__(
        self,
        num_heads: int,
        key_dim: int,
        value_dim: int | None = None,
        dropout: float = 0.0,
        use_bias: bool = True,
        output_shape: Any = None,
        attention_axes: Any = None,
        sliding_window: int | None = None,
        flash_attention: Any = None,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        use_gate: bool = False,
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        self.num_heads = positive_int(self, "num_heads", num_heads)
        self.key_dim = positive_int(self, "key_dim", key_dim)
        self.value_dim = self.key_dim if value_dim is None else positive_int(self, "value_dim", value_dim)
        self.dropout = _rate(self, "dropout", dropout)
        self.use_bias, self.use_gate = bool(use_bias), bool(use_gate)
        self._output_shape = None if output_shape is None else standardize_shape(output_shape)
        self.attention_axes = (attention_axes,) if isinstance(attention_axes, int) else attention_axes
        if self.attention_axes is not None:
            self.attention_axes = tuple(self.attention_axes)
        self.sliding_window = None if sliding_window is None else positive_int(self, "sliding_window", sliding_window)
        self.flash_attention = flash_attention
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.bias_initializer = initializers.get(bias_initializer)
        self.kernel_regularizer = regularizers.get(kernel_regularizer)
        self.bias_regularizer = regularizers.get(bias_regularizer)
        self.kernel_constraint = constraints.get(kernel_constraint)
        self.bias_constraint = constraints.get(bias_constraint)
        self.seed = seed
        self._generator = None if seed is None else ops.random.Generator(seed)

    def check_input(self, shape: Shape) -> None:
        if len(shape) < 3:
            raise self._mismatch("expects (batch, positions, features)", shape, "For one sequence use x[None]")
        if shape[-1] is None:
            raise self._mismatch("needs the number of features", shape)

    # ---- weights ----
    def _projection(self, name: str, bound: int, outputs: tuple[int, ...], activation: Any = None) -> _Projection:
        options = {
            "dtype": self.dtype,
            "use_bias": self.use_bias,
            "kernel_initializer": _fresh(self.kernel_initializer),
            "bias_initializer": _fresh(self.bias_initializer),
            "kernel_regularizer": self.kernel_regularizer,
            "bias_regularizer": self.bias_regularizer,
            "kernel_constraint": self.kernel_constraint,
            "bias_constraint": self.bias_constraint,
        }
        return _Projection(bound, outputs, options, activation, name)

    def build(self, query_shape: Any, value_shape: Any = None, key_shape: Any = None) -> None:
        """Makes the projections. value_shape and key_shape: by default those of the query and of the value."""
        value_shape = query_shape if value_shape is None else value_shape
        key_shape = value_shape if key_shape is None else key_shape
        heads, value_heads = (self.num_heads, self.key_dim), (self.num_heads, self.value_dim)
        self.query_dense = self._projection("query", 1, heads)
        self.key_dense = self._projection("key", 1, heads)
        if self.use_gate:
            self._gate_dense = self._projection("gate", 1, value_heads, "sigmoid")
        self.value_dense = self._projection("value", 1, value_heads)
        self.output_dense = self._projection("attention_output", 2, self._output_shape or (query_shape[-1],))
        self.query_dense.build(query_shape)
        self.key_dense.build(key_shape)
        if self.use_gate:
            self._gate_dense.build(query_shape)
        self.value_dense.build(value_shape)
        self.output_dense.build((None, *value_heads))

    def _saved_groups(self) -> dict[str, list[Variable]]:
        """Keras's names of the projections."""
        names = {"key_dense": "_key_dense", "output_dense": "_output_dense", "query_dense": "_query_dense"}
        names |= {"value_dense": "_value_dense", "_gate_dense": "_gate_dense"}
        parts = {name: getattr(self, attribute, None) for name, attribute in names.items()}
        return {"": []} | {name: part.weights for name, part in parts.items() if part is not None}

    def _axes(self, ndim: int) -> tuple[int, ...]:
        """The axes of positions in an input of so many dimensions."""
        if self.attention_axes is None:
            return tuple(range(1, ndim - 1))
        return tuple(a % ndim for a in self.attention_axes)

    # ---- calling ----
    def __call__(self, *args: Any, training: bool | None = None, **kwargs: Any) -> Any:
        """The attention of query to value: `layer(query, value, key=value, ...)`; see `call`."""
        names = ("query", "value", "key")
        inputs = dict(zip(names, args)) | {name: kwargs.pop(name) for name in names if name in kwargs}
        if inputs.get("query") is None or inputs.get("value") is None:
            raise TypeError(
                f"[{self.name}] MultiHeadAttention is called with query and value. Received: {list(inputs)}"
            )
        query, value, key = (inputs.get(name) for name in names)
        query, value, key = (as_array(x) if isinstance(x, (list, tuple)) else x for x in (query, value, key))
        return super().__call__(query, value, key, *args[3:], training=training, **kwargs)

    def call(
        self,
        query: Tensor,
        value: Tensor,
        key: Tensor | None = None,
        query_mask: Any = None,
        value_mask: Any = None,
        key_mask: Any = None,
        attention_mask: Any = None,
        return_attention_scores: bool = False,
        training: bool = False,
        use_causal_mask: bool = False,
    ) -> Any:
        key = value if key is None else key
        for x, what in ((value, "value"), (key, "key")):
            if x.ndim != query.ndim:
                raise ValueError(
                    f"[{self.name}] query and {what} must have as many dimensions. "
                    f"Received: query {query.shape}, {what} {x.shape}"
                )
        q, k, v = self.query_dense(query), self.key_dense(key), self.value_dense(value)
        axes = self._axes(query.ndim)
        several = len(axes) > 1 or query.ndim > 3
        mask = self._mask(query, value, query_mask, value_mask, key_mask, attention_mask, use_causal_mask and several)
        rate = self.dropout if training else 0.0
        q4, k4, v4 = (_to_positions(x, axes) for x in (q, k, v))
        if mask is not None:
            mask = self._spread(mask, q.shape, k.shape, axes)
        causal = bool(use_causal_mask) and not several
        weights = None
        if return_attention_scores:
            y, weights = self._with_weights(q4, k4, v4, mask, causal, rate)
            lead = [n for i, n in enumerate(q.shape[:-2]) if i not in axes]
            weights = ops.reshape(
                weights, (*lead, self.num_heads, *(q.shape[a] for a in axes), *(k.shape[a] for a in axes))
            )  # fmt: skip
        else:
            y = ops.attention(q4, k4, v4, mask=mask, causal=causal, dropout=rate, generator=self._generator)
        y = _from_positions(y, q.shape, axes)
        if self.use_gate:
            y = y * self._gate_dense(query)
        y = self.output_dense(y)
        return (y, weights) if return_attention_scores else y

    def _with_weights(self, q: Any, k: Any, v: Any, mask: Any, causal: bool, rate: float) -> Any:
        """(batch, T, heads, E) and the weights (batch, heads, T, S), of single ops."""
        q, v = ops.transpose(q, (0, 2, 1, 3)), ops.transpose(v, (0, 2, 1, 3))
        scores = ops.matmul(q * (1 / math.sqrt(self.key_dim)), ops.transpose(k, (0, 2, 3, 1)))
        if causal:
            mask = _both(mask, _causal(*scores.shape[2:]))
        weights = masked_softmax(scores, mask)
        kept = ops.dropout(weights, rate, generator=self._generator) if rate else weights
        return ops.transpose(ops.matmul(kept, v), (0, 2, 1, 3)), weights

    def _mask(self, query: Any, value: Any, q: Any, v: Any, k: Any, mask: Any, causal: bool) -> Any:
        """All masks as one: bool, to be broadcast to (batch, T, S); None: everything is seen."""
        q, v, k, mask = (_bools(self, m) for m in (q, v, k, mask))
        seen = None if q is None else q[..., None]
        for m in (v, k):
            seen = _both(seen, None if m is None else m[..., None, :])
        size = query.shape[1], value.shape[1]
        if causal:
            seen = _both(seen, _causal(*size)[None])
        if self.sliding_window is not None:
            distance = np.abs(np.arange(size[0])[:, None] - np.arange(size[1]))
            seen = _both(seen, (distance < self.sliding_window)[None])
        return _both(mask, seen)

    def _spread(self, mask: Any, q_shape: Any, k_shape: Any, axes: tuple[int, ...]) -> np.ndarray:
        """The mask as (batch, heads, T, S), every batch and position axis made one."""
        lead = [n for i, n in enumerate(q_shape[:-2]) if i not in axes]
        rows, cols = [q_shape[a] for a in axes], [k_shape[a] for a in axes]
        full = (*lead, self.num_heads, *rows, *cols)
        at = mask.ndim - 2 * len(axes)  # the axis of heads is missing, unless there are that many dimensions
        while mask.ndim < len(full):
            mask = np.expand_dims(mask, max(at, 0))
        try:
            mask = np.broadcast_to(mask, full)
        except ValueError:
            raise ValueError(
                f"[{self.name}] the masks of MultiHeadAttention do not fit its scores, {full}. "
                f"Received: a mask of shape {mask.shape}"
            ) from None
        if len(full) == 4:
            return mask
        return mask.reshape(math.prod(lead), self.num_heads, math.prod(rows), math.prod(cols))

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        """The mask of the query."""
        return previous_mask[0] if isinstance(previous_mask, (list, tuple)) else previous_mask

    def _symbolic_outputs(self, args: Any, kwargs: Any) -> Any:
        return _with_scores(self, args, kwargs) or super()._symbolic_outputs(args, kwargs)

    def compute_output_shape(self, query_shape: Any, value_shape: Any = None, key_shape: Any = None) -> Shape:
        shape = standardize_shape(query_shape)
        shape = shape[0] if isinstance(shape, list) else shape
        return (*shape[:-1], *self._output_shape) if self._output_shape else shape

    @property
    def output_shape(self) -> Any:
        """The shape of its output for the query that it was built for; before that, the argument."""
        return super().output_shape if self.built else self._output_shape

    def get_config(self) -> dict[str, Any]:
        config = {**super().get_config(), "output_shape": self._output_shape}
        del config["flash_attention"]
        return config


def _fresh(initializer: Any) -> Any:
    """Another initializer of the same kind, so that no two weights begin alike."""
    if isinstance(initializer, initializers.Initializer):
        return type(initializer).from_config(initializer.get_config())
    return initializer


def _to_positions(x: Tensor, axes: tuple[int, ...]) -> Tensor:
    """(batch..., positions..., heads, features) as (batch, positions, heads, features)."""
    if x.ndim == 4 and axes == (1,):
        return x
    lead = [i for i in range(x.ndim - 2) if i not in axes]
    x = ops.transpose(x, (*lead, *axes, x.ndim - 2, x.ndim - 1))
    sizes = x.shape
    return ops.reshape(x, (math.prod(sizes[: len(lead)]), math.prod(sizes[len(lead) : -2]), *sizes[-2:]))


def _from_positions(y: Tensor, shape: Any, axes: tuple[int, ...]) -> Tensor:
    """The way back, to the order of `shape` (its features aside)."""
    if len(shape) == 4 and axes == (1,):
        return y
    lead = [i for i in range(len(shape) - 2) if i not in axes]
    order = (*lead, *axes, len(shape) - 2, len(shape) - 1)
    y = ops.reshape(y, (*(shape[i] for i in order[:-1]), y.shape[-1]))
    return ops.transpose(y, tuple(np.argsort(order).tolist()))
