"""Layers around a layer: Bidirectional and TimeDistributed."""

from typing import Any

from nnfast import ops
from nnfast.layers.layer import Layer, Shape, standardize_shape
from nnfast.saving.serialization import serialize
from nnfast.tensor import Tensor, as_array


def _layer_of(value: Any, custom_objects: Any = None) -> Any:
    """The layer that a config describes; a layer is itself."""
    if isinstance(value, Layer):
        return value
    from nnfast.layers import deserialize  # the package imports this module

    return deserialize(value, custom_objects)


class Bidirectional(Layer):
    """A recurrent layer that reads its input twice, from the front and from the back.

    Args:
        layer: a recurrent layer; a copy of it reads forward. Its weights are not copied.
        merge_mode: how the two outputs become one: "concat", "sum", "mul", "ave"; None: both are given.
        weights: the first values of all weights, those of the forward layer first.
        backward_layer: what reads backward; None: another copy.

    >>> import numpy as np, nnfast
    >>> nnfast.layers.Bidirectional(nnfast.layers.LSTM(4))(np.ones((2, 5, 3))).shape
    (2, 8)
    """

    cast_integers = True
    supports_masking = True

    def __init__(
        self,
        layer: Any,
        merge_mode: str | None = "concat",
        weights: Any = None,
        backward_layer: Any = None,
        **kwargs: Any,
    ):
        if not isinstance(layer, Layer) or not hasattr(layer, "go_backwards"):
            raise ValueError(f"[Bidirectional] a recurrent layer is expected. Received: layer={layer!r}")
        if merge_mode not in ("concat", "sum", "mul", "ave", None):
            raise ValueError(
                f"[Bidirectional] merge_mode must be 'concat', 'sum', 'mul', 'ave' or None. Received: {merge_mode!r}"
            )
        super().__init__(**kwargs)
        self.merge_mode = merge_mode
        self.forward_layer = self._copy(layer, "forward_", layer.go_backwards)
        if backward_layer is None:
            backward_layer = self._copy(layer, "backward_", not layer.go_backwards)
        self.backward_layer = backward_layer
        self._check_pair()
        for half in (self.forward_layer, self.backward_layer):
            if hasattr(half, "zero_output_for_mask"):
                half.zero_output_for_mask = half.return_sequences
        if weights is not None:
            middle = len(weights) // 2
            self.forward_layer._initial_weights = list(weights[:middle])
            self.backward_layer._initial_weights = list(weights[middle:])
        self.return_sequences: bool = self.forward_layer.return_sequences
        self.return_state: bool = self.forward_layer.return_state
        self.stateful: bool = self.forward_layer.stateful

    @staticmethod
    def _copy(layer: Any, prefix: str, go_backwards: bool) -> Any:
        config = layer.get_config()
        config.update(name=prefix + layer.name.removeprefix(prefix), go_backwards=go_backwards)
        return type(layer).from_config(config)

    def _check_pair(self) -> None:
        forward, backward = self.forward_layer, self.backward_layer
        if not isinstance(backward, Layer) or not hasattr(backward, "go_backwards"):
            raise ValueError(f"[Bidirectional] a recurrent layer is expected. Received: backward_layer={backward!r}")
        if forward.go_backwards == backward.go_backwards:
            raise ValueError(
                "[Bidirectional] the layers must read in opposite directions. Received: go_backwards="
                f"{forward.go_backwards} for both. Give backward_layer go_backwards=True"
            )
        for name in ("stateful", "return_sequences", "return_state"):
            if getattr(forward, name) != getattr(backward, name):
                raise ValueError(
                    f"[Bidirectional] both layers must have the same {name}. Received: {getattr(forward, name)} and "
                    f"{getattr(backward, name)}"
                )

    _takes_several = True  # the sequences, and states to begin with

    def check_input(self, shape: Shape) -> None:
        self.forward_layer.check_input(shape)

    def build(self, input_shape: Any) -> None:
        for half in (self.forward_layer, self.backward_layer):
            if not half.built:
                half.build(input_shape)

    def call(self, sequences: Tensor, initial_state: Any = None, mask: Any = None, training: Any = None) -> Any:
        first, second = None, None
        if initial_state is not None:
            middle = len(initial_state) // 2
            first, second = initial_state[:middle], initial_state[middle:]
        y = self.forward_layer(sequences, initial_state=first, mask=mask, training=training)
        z = self.backward_layer(sequences, initial_state=second, mask=mask, training=training)
        states: tuple[Any, ...] = ()
        if self.return_state:
            (y, *first), (z, *second) = y, z
            states = (*first, *second)
        if self.return_sequences:
            z = z[:, ::-1]  # in the order of time
        merged = self._merge(y, z)
        if self.return_state:
            return (*merged, *states) if self.merge_mode is None else (merged, *states)
        return merged

    def _merge(self, y: Tensor, z: Tensor) -> Any:
        if self.merge_mode == "concat":
            return ops.concat([y, z], -1)
        if self.merge_mode == "sum":
            return y + z
        if self.merge_mode == "ave":
            return (y + z) * 0.5
        if self.merge_mode == "mul":
            return y * z
        return y, z

    def reset_state(self) -> None:
        """Sets the states of a stateful layer to zero."""
        if not self.stateful:
            raise AttributeError(f"[{self.name}] Bidirectional keeps no state. Give its layer stateful=True")
        self.forward_layer.reset_state()
        self.backward_layer.reset_state()

    def reset_states(self) -> None:
        """The same as `reset_state`."""
        self.reset_state()

    @property
    def states(self) -> Any:
        """The states of both layers, or None."""
        first, second = self.forward_layer.states, self.backward_layer.states
        return (*first, *second) if first and second else None

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        """The mask of the outputs: that of the steps, if there are any."""
        mask = previous_mask[0] if isinstance(previous_mask, (list, tuple)) else previous_mask
        mask = mask if self.return_sequences else None
        masks = [mask, mask] if self.merge_mode is None else [mask]
        if self.return_state:
            masks += [None] * 2 * self.forward_layer._states
        return masks if len(masks) > 1 else mask

    def compute_output_shape(self, sequences_shape: Any, initial_state_shape: Any = None) -> Any:
        shape = self.forward_layer.compute_output_shape(sequences_shape)
        shape, states = (shape[0], tuple(shape[1:])) if self.return_state else (shape, ())
        if self.merge_mode == "concat":
            shape = (*shape[:-1], 2 * shape[-1])
        outputs = (shape, shape) if self.merge_mode is None else (shape,)
        every = (*outputs, *states, *states)
        return every if len(every) > 1 else shape

    def get_config(self) -> dict[str, Any]:
        self.__dict__.update(layer=None)
        try:
            config = super().get_config()
        finally:
            del self.__dict__["layer"]
        return {**config, "layer": serialize(self.forward_layer), "backward_layer": serialize(self.backward_layer)}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> "Bidirectional":
        config = dict(config)
        for key in ("layer", "backward_layer"):
            if config.get(key) is not None:
                config[key] = _layer_of(config[key], custom_objects)
        return cls(**config)


class TimeDistributed(Layer):
    """A layer that is applied to every step of a sequence, with the same weights.

    The steps become rows of one large batch: one call of the layer. (Keras calls it once per step, which differs for
    layers that look at the whole batch, such as BatchNormalization in training.)

    Args:
        layer: what is applied. Input (batch, time, ...), output (batch, time, ...).

    >>> import numpy as np, nnfast
    >>> nnfast.layers.TimeDistributed(nnfast.layers.Dense(4))(np.ones((2, 5, 3))).shape
    (2, 5, 4)
    """

    cast_integers = None
    supports_masking = True

    def __init__(self, layer: Any, **kwargs: Any):
        if not isinstance(layer, Layer):
            raise ValueError(f"[TimeDistributed] a layer is expected. Received: layer={layer!r}")
        super().__init__(**kwargs)
        self.layer = layer

    def check_input(self, shape: Shape) -> None:
        if len(shape) < 3:
            raise self._mismatch("expects (batch, time, ...), three dimensions or more", shape)

    def build(self, input_shape: Any) -> None:
        if not self.layer.built:
            self.layer.build((input_shape[0], *input_shape[2:]))

    def call(self, inputs: Tensor, training: Any = None, mask: Any = None) -> Any:
        batch, steps = inputs.shape[:2]
        rows = ops.reshape(inputs, (batch * steps, *inputs.shape[2:]))
        options = {}
        if mask is not None:
            mask = as_array(mask, name=self.name)
            if mask.shape[:2] != (batch, steps):
                raise ValueError(
                    f"[{self.name}] the mask of TimeDistributed must begin with (batch, time), ({batch}, {steps}). "
                    f"Received: mask.shape={mask.shape}"
                )
            if "mask" in self.layer.call.__code__.co_varnames:
                options["mask"] = mask.reshape((batch * steps, *mask.shape[2:]))
        y = self.layer(rows, training=training, **options)
        return ops.reshape(y, (batch, steps, *y.shape[1:]))

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        """The mask that came in."""
        return previous_mask

    def compute_output_shape(self, input_shape: Any) -> Shape:
        shape = standardize_shape(input_shape)
        self.check_input(shape)
        inner = self.layer.compute_output_shape((shape[0], *shape[2:]))
        return (inner[0], shape[1], *inner[1:])

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> "TimeDistributed":
        return cls(**{**config, "layer": _layer_of(config["layer"], custom_objects)})
