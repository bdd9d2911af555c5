"""SimpleRNN, LSTM and GRU: layers that walk through a sequence with a state."""

from typing import Any

import numpy as np

from nnfast import activations, initializers, ops
from nnfast.layers.layer import Layer, Shape, standardize_shape
from nnfast.layers.weights import keep_options, positive_int
from nnfast.tensor import Tensor, Variable, as_array

# The activations that the kernels know by name; others are composed of ops, step by step.
_FUSED = {
    activations.linear: "linear",
    activations.relu: "relu",
    activations.sigmoid: "sigmoid",
    activations.tanh: "tanh",
}


def _rate(layer: Layer, name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, np.number)) or not 0 <= value <= 1:
        raise ValueError(f"[{type(layer).__name__}] {name} must be a number from 0 to 1. Received: {name}={value!r}")
    return float(value)


def as_mask(layer: Layer, mask: Any, shape: Any) -> Any:
    """A mask as an array of bools, of this shape."""
    if mask is None:
        return None
    mask = as_array(mask, name=layer.name)
    if mask.shape != tuple(shape):
        raise ValueError(
            f"[{layer.name}] {type(layer).__name__} needs a mask of shape {tuple(shape)}. "
            f"Received: mask.shape={mask.shape}"
        )
    return mask if mask.dtype == np.bool_ else ops.cast(mask, "bool").data


class RNN(Layer):
    """What SimpleRNN, LSTM and GRU share. Subclasses say which kernel, how many gates and how many states."""

    cast_integers = True
    supports_masking = True
    zero_output_for_mask = False
    _untracked = Layer._untracked | {"states", "_moved"}  # states are no weights
    _saved_under = "cell"  # where Keras's files have the weights
    _gates, _states, _cell = 1, 1, ""

    def __init__(
        self,
        units: Any,
        weights_say: dict[str, tuple[Any, Any, Any]],
        activation: Any,
        use_bias: Any,
        dropout: Any,
        recurrent_dropout: Any,
        flags: dict[str, Any],
        seed: Any,
        kwargs: dict[str, Any],
    ):
        self.zero_output_for_mask = bool(kwargs.pop("zero_output_for_mask", False))
        kwargs.pop("implementation", None)  # Keras: how its cells multiply
        kwargs.pop("time_major", None)
        super().__init__(**kwargs)
        self.units = positive_int(self, "units", units)
        self.activation = activations.get(activation)
        self.use_bias = bool(use_bias)
        for weight, (initializer, regularizer, constraint) in weights_say.items():
            keep_options(self, weight, initializer, regularizer, constraint)
        self.dropout = _rate(self, "dropout", dropout)
        self.recurrent_dropout = _rate(self, "recurrent_dropout", recurrent_dropout)
        for name, value in flags.items():
            setattr(self, name, bool(value))
        self.seed = seed
        self._generator = None if seed is None else ops.random.Generator(seed)
        self.kernel: Variable | None = None
        self.recurrent_kernel: Variable | None = None
        self.bias: Variable | None = None
        self.states: list[Variable] | None = None
        self._moved: Any = None  # by the running step: see _move

    _takes_several = True  # the sequences, and states to begin with
    return_sequences: bool
    return_state: bool
    go_backwards: bool
    stateful: bool
    unroll: bool

    def check_input(self, shape: Shape) -> None:
        name = type(self).__name__
        if len(shape) != 3:
            fix = ""
            if len(shape) == 2:
                fix = (
                    "One feature per step: x[..., None]; one step per sample: x[:, None, :]; numbers of words: put "
                    "Embedding before it"
                )
            elif len(shape) > 3:
                fix = "To give each step a vector, put TimeDistributed(Flatten()) before it"
            raise self._mismatch("expects (batch, time, features)", shape, fix)
        if shape[2] is None:
            raise self._mismatch("needs the number of features", shape, "Give it in input_shape=")
        if self.kernel is not None and shape[2] != self.kernel.shape[0]:
            raise self._mismatch(
                f"was built for {self.kernel.shape[0]} features, (batch, time, {self.kernel.shape[0]})", shape
            )
        if self.unroll and shape[1] is None and name:
            raise self._mismatch("has unroll=True, and needs the number of steps", shape, "Leave unroll out")

    def build(self, input_shape: Any) -> None:
        width = self._gates * self.units
        self.kernel = self._add("kernel", (input_shape[2], width))
        self.recurrent_kernel = self._add("recurrent_kernel", (self.units, width))
        if self.use_bias:
            self.bias = self._add("bias", self._bias_shape())

    def _bias_shape(self) -> tuple[int, ...]:
        return (self._gates * self.units,)

    def _add(self, name: str, shape: Any) -> Variable:
        option = "recurrent" if name == "recurrent_kernel" else name
        weight = self.add_weight(
            shape,
            self._bias_initializer() if name == "bias" else getattr(self, f"{option}_initializer"),
            regularizer=getattr(self, f"{option}_regularizer"),
            constraint=getattr(self, f"{option}_constraint"),
            name=name,
        )
        weight.path = f"{self.name}/{self._cell}/{name}"  # as Keras names it
        return weight

    def _bias_initializer(self) -> Any:
        return self.bias_initializer  # type: ignore[attr-defined]

    # ---- states ----
    def get_initial_state(self, batch_size: int) -> list[Tensor]:
        """Zeros, one (batch, units) for each state."""
        return [ops.zeros((batch_size, self.units), self.dtype) for _ in range(self._states)]

    def reset_state(self) -> None:
        """Sets the states that a stateful layer keeps to zero."""
        for v in self.states or ():
            v.assign(np.zeros(v.shape, self.dtype))

    def reset_states(self) -> None:
        """The same as `reset_state`."""
        self.reset_state()

    def _first_states(self, initial_state: Any, batch: int) -> list[Any]:
        if initial_state is not None:
            states = list(initial_state) if isinstance(initial_state, (list, tuple)) else [initial_state]
            if len(states) != self._states:
                raise ValueError(
                    f"[{self.name}] {type(self).__name__} has {self._states} state(s). "
                    f"Received: initial_state of {len(states)}"
                )
            states = [self._cast_array(s if isinstance(s, Tensor) else as_array(s, self.dtype)) for s in states]
            for s in states:
                if s.shape != (batch, self.units):
                    raise ValueError(
                        f"[{self.name}] a state of {type(self).__name__} must be (batch, units), "
                        f"({batch}, {self.units}). Received: initial_state of shape {s.shape}"
                    )
            return states
        if not self.stateful:
            return [None] * self._states
        if self.states is None:
            self.states = [
                Variable(np.zeros((batch, self.units)), False, self.dtype, "rnn_state") for _ in range(self._states)
            ]
        if self.states[0].shape[0] != batch:
            raise ValueError(
                f"[{self.name}] {type(self).__name__} is stateful: every batch must have the size of the first, "
                f"{self.states[0].shape[0]}. Received: a batch of {batch}. Give batch_size= to fit and predict, or "
                "leave the rest of the data out"
            )
        if self._moved is not None and self._moved[0] is ops.current_step() is not None:
            return [s.detach() for s in self._moved[1]]
        return [v.detach() for v in self.states]  # copies: they change before the gradient is taken

    # ---- calling ----
    def call(
        self, sequences: Tensor, initial_state: Any = None, mask: Any = None, training: bool = False
    ) -> Any:  # fmt: skip
        batch, steps, features = sequences.shape
        states = self._first_states(initial_state, batch)
        mask = as_mask(self, mask, (batch, steps))
        drop = None
        if training and self.dropout:
            sequences = ops.dropout(
                sequences, self.dropout, noise_shape=(batch, 1, features), generator=self._generator
            )  # fmt: skip
        if training and self.recurrent_dropout:
            drop = ops.dropout(
                np.ones((batch, self.units), self.dtype), self.recurrent_dropout, generator=self._generator
            )
        every = self.stateful or self.return_state
        result = "states" if every else "sequence" if self.return_sequences else "last"
        y = self._run(
            sequences,
            states,
            mask=mask,
            drop=drop,
            activation=_FUSED.get(self.activation, self.activation),
            zero_masked=self.zero_output_for_mask,
            go_backwards=self.go_backwards,
            result=result,
        )
        if not every:
            return y
        y, *new = y
        if self.stateful:
            assert self.states is not None or initial_state is not None
            if self.states is None:
                self.states = [Variable(s.numpy(), False, self.dtype, "rnn_state") for s in new]
            else:
                self._move(new)
        if not self.return_sequences:
            y = y[:, -1] if steps else new[0]
        return (y, *new) if self.return_state else y

    def _move(self, new: list[Any]) -> None:
        """The states from now on. They are written at the end of the running step, unless it has found bad data; until
        then another call in the same step finds them here."""
        self._moved = ops.current_step(), new

        def write() -> None:
            if self._moved is not None and self._moved[1] is new:
                for v, s in zip(self.states or (), new):
                    ops.assign(v, s)
                self._moved = None

        ops.at_end_of_step(write)

    def _run(self, x: Any, states: list[Any], **options: Any) -> Any:
        raise NotImplementedError

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        """The mask of the outputs: that of the steps, if there are any."""
        mask = previous_mask[0] if isinstance(previous_mask, (list, tuple)) else previous_mask
        mask = mask if self.return_sequences else None
        return [mask] + [None] * self._states if self.return_state else mask

    def compute_output_shape(self, sequences_shape: Any, initial_state_shape: Any = None) -> Any:
        shape = standardize_shape(sequences_shape)
        if isinstance(shape, list):
            shape = shape[0]
        self.check_input(shape)
        y = (*shape[:2], self.units) if self.return_sequences else (shape[0], self.units)
        return (y, *[(shape[0], self.units)] * self._states) if self.return_state else y

    def _saved_groups(self) -> dict[str, list[Variable]]:
        """Keras keeps the weights in a cell of the layer."""
        own = (self.kernel, self.recurrent_kernel, self.bias)
        return {"": [], "cell": [v for v in own if v is not None]}

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        config.pop("use_cudnn", None)
        config["zero_output_for_mask"] = self.zero_output_for_mask
        return config


class SimpleRNN(RNN):
    """h_t = activation(x_t kernel + h_{t-1} recurrent_kernel + bias): the output of a step is the state of the next.

    Args:
        units: the size U of the state.
        activation: name or function. tanh, relu, sigmoid and linear run in one kernel for the whole sequence, others
            step by step.
        use_bias: is a bias added?
        kernel_initializer, recurrent_initializer, bias_initializer: the first values.
        kernel_regularizer, recurrent_regularizer, bias_regularizer, activity_regularizer: what weights and output cost.
        kernel_constraint, recurrent_constraint, bias_constraint: what weights must fulfil after every step.
        dropout: share of the inputs that are dropped in training, the same ones at every step.
        recurrent_dropout: share of the state that is dropped where it meets recurrent_kernel. One mask for all gates,
            the same at every step (Gal and Ghahramani 2016); Keras draws one for each gate.
        return_sequences: give the outputs of all steps, (batch, time, U), or that of the last, (batch, U)?
        return_state: give the last state too?
        go_backwards: begin with the last step; the outputs are in the order in which they are computed.
        stateful: begin with the state in which the last batch ended (`reset_state` makes it zero).
        unroll: accepted; the results are the same.
        seed: an integer makes the dropout masks the same in every run.
        zero_output_for_mask: masked steps give zeros instead of the last output.

    Input (batch, time, F), kernel (F, U), recurrent_kernel (U, U), bias (U,). Called with `initial_state` (batch, U)
    and `mask` (batch, time), bool: where it is False the state stays.

    Raises:
        ValueError: units is no positive integer; the input is not (batch, time, F).

    >>> import numpy as np, nnfast
    >>> nnfast.layers.SimpleRNN(4)(np.ones((2, 5, 3))).shape
    (2, 4)
    """

    _gates, _states, _cell = 1, 1, "simple_rnn_cell"

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        seed: int | None = None,
        **kwargs: Any,
    ):
        weights = {
            "kernel": (kernel_initializer, kernel_regularizer, kernel_constraint),
            "recurrent": (recurrent_initializer, recurrent_regularizer, recurrent_constraint),
            "bias": (bias_initializer, bias_regularizer, bias_constraint),
        }
        flags = {
            "return_sequences": return_sequences,
            "return_state": return_state,
            "go_backwards": go_backwards,
            "stateful": stateful,
            "unroll": unroll,
        }
        kwargs["activity_regularizer"] = activity_regularizer
        super().__init__(units, weights, activation, use_bias, dropout, recurrent_dropout, flags, seed, kwargs)

    def _run(self, x: Any, states: list[Any], **options: Any) -> Any:
        return ops.simple_rnn(x, self.kernel, self.recurrent_kernel, self.bias, *states, **options)


def _check_use_cudnn(layer: Layer, value: Any) -> Any:
    if value not in ("auto", True, False):
        raise ValueError(
            f"[{type(layer).__name__}] use_cudnn must be 'auto', True or False. Received: use_cudnn={value!r}"
        )
    return value


class _ForgetGateOpen(initializers.Initializer):
    """A bias of four gates i, f, g, o: ones for f, the given initializer for the others."""

    def __init__(self, others: Any):
        self.others = others

    def __call__(self, shape: Any, dtype: Any = None, **_: Any) -> Any:
        units = shape[0] // 4
        parts = [self.others((units,), dtype=dtype), np.ones(units, dtype), self.others((2 * units,), dtype=dtype)]
        return np.concatenate([np.asarray(p, dtype) for p in parts])


class LSTM(RNN):
    """Long short-term memory: gates decide what the cell c forgets, what it takes in, and what it shows.

    i, f, g, o = x_t kernel + h_{t-1} recurrent_kernel + bias, cut into four parts, then recurrent_activation (i, f, o)
    and activation (g); c_t = f c_{t-1} + i g; h_t = o activation(c_t) (Hochreiter and Schmidhuber 1997).

    Args:
        units: the size U of h and c.
        activation: as in `SimpleRNN`.
        recurrent_activation: of the gates.
        unit_forget_bias: begin with a bias of 1 in the forget gate (Jozefowicz et al. 2015).
        use_cudnn: accepted; there is one way to compute it.
        others: as in `SimpleRNN`.

    Input (batch, time, F), kernel (F, 4 U), recurrent_kernel (U, 4 U), bias (4 U,). `initial_state` is [h, c]; with
    return_state the result is (output, h, c).

    >>> import numpy as np, nnfast
    >>> nnfast.layers.LSTM(4, return_sequences=True)(np.ones((2, 5, 3))).shape
    (2, 5, 4)
    """

    _gates, _states, _cell = 4, 2, "lstm_cell"

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        unit_forget_bias: bool = True,
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: int | None = None,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        use_cudnn: Any = "auto",
        **kwargs: Any,
    ):
        weights = {
            "kernel": (kernel_initializer, kernel_regularizer, kernel_constraint),
            "recurrent": (recurrent_initializer, recurrent_regularizer, recurrent_constraint),
            "bias": (bias_initializer, bias_regularizer, bias_constraint),
        }
        flags = {
            "return_sequences": return_sequences,
            "return_state": return_state,
            "go_backwards": go_backwards,
            "stateful": stateful,
            "unroll": unroll,
        }
        kwargs["activity_regularizer"] = activity_regularizer
        super().__init__(units, weights, activation, use_bias, dropout, recurrent_dropout, flags, seed, kwargs)
        self.recurrent_activation = activations.get(recurrent_activation)
        self.unit_forget_bias = bool(unit_forget_bias)
        self.use_cudnn = _check_use_cudnn(self, use_cudnn)

    def _bias_initializer(self) -> Any:
        return _ForgetGateOpen(self.bias_initializer) if self.unit_forget_bias else self.bias_initializer  # type: ignore[attr-defined]

    def _run(self, x: Any, states: list[Any], **options: Any) -> Any:
        rec = _FUSED.get(self.recurrent_activation, self.recurrent_activation)
        return ops.lstm(
            x, self.kernel, self.recurrent_kernel, self.bias, *states, recurrent_activation=rec, **options
        )  # fmt: skip


class GRU(RNN):
    """Gated recurrent unit: h_t = z h_{t-1} + (1 - z) n, where gates z and r decide what stays (Cho et al. 2014).

    z, r = recurrent_activation of their parts of x_t kernel + h_{t-1} recurrent_kernel + bias; n = activation of x_t
    kernel_n + r (h_{t-1} recurrent_kernel_n + its bias) with reset_after, else of x_t kernel_n + (r h_{t-1})
    recurrent_kernel_n.

    Args:
        units: the size U of the state.
        activation: as in `SimpleRNN`.
        recurrent_activation: of the gates.
        reset_after: where the reset gate acts: on the product (as PyTorch and cuDNN, with two biases) or on the state.
        use_cudnn: accepted; there is one way to compute it.
        others: as in `SimpleRNN`.

    Input (batch, time, F), kernel (F, 3 U) for z, r, n, recurrent_kernel (U, 3 U), bias (2, 3 U) or, without
    reset_after, (3 U,).

    >>> import numpy as np, nnfast
    >>> nnfast.layers.GRU(4, return_state=True)(np.ones((2, 5, 3)))[1].shape
    (2, 4)
    """

    _gates, _states, _cell = 3, 1, "gru_cell"

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: int | None = None,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        reset_after: bool = True,
        use_cudnn: Any = "auto",
        **kwargs: Any,
    ):
        weights = {
            "kernel": (kernel_initializer, kernel_regularizer, kernel_constraint),
            "recurrent": (recurrent_initializer, recurrent_regularizer, recurrent_constraint),
            "bias": (bias_initializer, bias_regularizer, bias_constraint),
        }
        flags = {
            "return_sequences": return_sequences,
            "return_state": return_state,
            "go_backwards": go_backwards,
            "stateful": stateful,
            "unroll": unroll,
        }
        kwargs["activity_regularizer"] = activity_regularizer
        super().__init__(units, weights, activation, use_bias, dropout, recurrent_dropout, flags, seed, kwargs)
        self.recurrent_activation = activations.get(recurrent_activation)
        self.reset_after = bool(reset_after)
        self.use_cudnn = _check_use_cudnn(self, use_cudnn)

    def _bias_shape(self) -> tuple[int, ...]:
        return (2, 3 * self.units) if self.reset_after else (3 * self.units,)

    def _run(self, x: Any, states: list[Any], **options: Any) -> Any:
        rec = _FUSED.get(self.recurrent_activation, self.recurrent_activation)
        return ops.gru(
            x,
            self.kernel,
            self.recurrent_kernel,
            self.bias,
            *states,
            recurrent_activation=rec,
            reset_after=self.reset_after,
            **options,
        )
