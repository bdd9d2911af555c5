"""Sequential: a model that is a list of layers, each fed by the one before."""

from collections.abc import Iterator
from typing import Any

from nnfast import ops
from nnfast.layers.input_layer import InputLayer
from nnfast.layers.layer import Layer, Shape, serialized_dtype, standardize_shape
from nnfast.layers.nested import flatten
from nnfast.layers.symbolic import SymbolicTensor, shapes_of
from nnfast.models.model import Model
from nnfast.saving.serialization import deserialize_keras_object
from nnfast.saving.serialization import serialize_keras_object as serialize
from nnfast.tensor import Tensor


class Sequential(Model):
    """A list of layers.

    The weights are made as soon as the shape of the input is known: from an `Input` at the beginning, `input_shape=` of
    the first layer (later layers' is ignored), `build`, or the first data.

    Args:
        layers: the layers, in order; more can be added.
        trainable: do the weights learn?
        name: by default sequential, sequential_1, ...

    >>> import nnfast
    >>> model = nnfast.Sequential([nnfast.Input(shape=(784,)), nnfast.layers.Dense(10, activation="softmax")])
    >>> model.count_params()
    7850
    """

    _untracked = Model._untracked | {"_input", "_source", "_tensors"}

    def __init__(self, layers: Any = None, trainable: bool = True, name: str | None = None):
        super().__init__(trainable=trainable, name=name)
        self.autocast = False  # each layer casts to its own dtype
        self._layers: list[Layer] = []
        self._input: InputLayer | None = None
        self._batch_shape: Shape | None = None
        self._source: InputLayer | None = None  # where the graph begins: _input, or one that nobody wrote
        self._tensors: list[Any] = []  # the symbolic outputs of the first layers, as far as they are known
        if isinstance(layers, (Layer, SymbolicTensor)):
            raise TypeError(f"[Sequential] layers must be a list. Received: {layers!r}. Use Sequential([...])")
        for layer in layers or ():
            self.add(layer)

    # ---- building ----
    def add(self, layer: Any, rebuild: bool = True) -> None:
        """Appends a layer, and builds it if the shape of its input is known.

        Raises:
            TypeError: it is no layer.
            ValueError: its name is taken, or it does not fit behind the others; the model is then as it was.
        """
        if isinstance(layer, SymbolicTensor):
            if not isinstance(layer.node.layer, InputLayer):
                raise TypeError(
                    f"[Sequential] only layers can be added, or an Input first. Received: {layer!r}, what a call gave. "
                    "For a graph of layers use Model(inputs, outputs)"
                )
            layer = layer.node.layer
        if not isinstance(layer, Layer):
            fix = f". Did you mean {layer.__name__}(...)?" if isinstance(layer, type) else ""
            raise TypeError(f"[Sequential] only layers can be added. Received: {layer!r}{fix}")
        if isinstance(layer, InputLayer):
            self._add_input(layer)
            return
        if any(inner is self for inner in layer._flatten_layers()):
            raise ValueError(
                f"[Sequential] {self.name!r} cannot hold itself. Received: add({layer!r}). "
                "Use models.clone_model for a copy with weights of its own"
            )
        if any(layer is other for other in self._layers):
            raise ValueError(
                f"[Sequential] this layer is in {self.name!r} already. Received: {layer!r}, the same object again. "
                "Make a second layer; for one layer called twice, with shared weights, use Model(inputs, outputs)"
            )
        if any(layer.name == other.name for other in self._layers):
            raise ValueError(
                f"[Sequential] names of layers must be unique in {self.name!r}. Received: {layer!r}. "
                "Give it another name="
            )
        before = self._batch_shape
        if not self._layers and before is None:
            self._batch_shape = _shape_for(layer)
        self._layers.append(layer)
        try:
            self._extend()
        except Exception:
            self._layers.pop()
            self._batch_shape = before
            if before is None:
                self._source = None
            raise

    def _add_input(self, layer: InputLayer) -> None:
        if self._layers or self._input is not None:
            place = "the first element" if self._layers else f"only one; it has {self._input!r}"
            raise ValueError(f"[Sequential] in {self.name!r} an Input must be {place}. Received: {layer!r}")
        self._input, self._source, self._batch_shape = layer, layer, layer.batch_shape

    def pop(self, rebuild: bool = True) -> Layer:
        """Removes the last layer and returns it."""
        if not self._layers:
            raise IndexError(f"[Sequential] {self.name!r} has no layers. Received: pop()")
        layer = self._layers.pop()
        for t in self._tensors[len(self._layers) :]:
            ours = flatten(t)[0].node
            layer._nodes = [node for node in layer._nodes if node is not ours]
        del self._tensors[len(self._layers) :]
        if not self._layers:
            self._batch_shape = self._input.batch_shape if self._input is not None else None
            self._source = self._input
        self.built = bool(self._layers) and len(self._tensors) == len(self._layers)
        self._features = None
        return layer

    def build(self, input_shape: Any = None) -> None:
        """Makes all weights.

        Args:
            input_shape: of a batch, e.g. (None, 784); not needed if the model knows it.

        Raises:
            ValueError: there are no layers, the shape is not known, or it is not the one that the model has.
        """
        shape = self._batch_shape if input_shape is None else input_shape
        if not self._layers:
            raise ValueError(f"[Sequential] {self.name!r} has no layers. Received: nothing to build. Use add(layer)")
        if shape is None:
            raise ValueError(f"[build] the shape of the input is needed. Received: {shape}. E.g. build((None, 784))")
        known = self._batch_shape
        if known is not None and not _agree(known, shape):
            raise ValueError(f"[build] {self.name!r} is made for inputs of shape {known}. Received: {shape}")
        if known is None and isinstance(shape, tuple):
            self._batch_shape = shape
            try:
                self._extend()
            except Exception:
                self._batch_shape = self._source = None
                raise

    def _extend(self) -> None:
        """Builds the layers that are not, as far as shapes are known."""
        if self._batch_shape is not None:
            if self._source is None:
                self._source = InputLayer(batch_shape=self._batch_shape, dtype=self._x_dtype())
            x = self._tensors[-1] if self._tensors else self._source.output
            for layer in self._layers[len(self._tensors) :]:
                try:
                    y = layer(x)
                except NotImplementedError:  # a layer whose output shape only data can tell
                    break
                except ValueError as e:
                    self._place(e, layer, shapes_of(x))
                    raise
                self._tensors.append(y)
                x = y
        self.built = bool(self._layers) and len(self._tensors) == len(self._layers)
        self._build_shape, self._features = self._batch_shape, None

    def check_input(self, shape: Shape) -> None:
        if self._layers:
            self._layers[0].check_input(shape)

    def _place(self, e: Exception, layer: Layer | None, shape: Any) -> None:
        """Adds to an error which layer comes before the one that raised it."""
        at = next((i for i, other in enumerate(self._layers) if other is layer), 0)
        if not at or getattr(e, "_placed", False) or not e.args or not isinstance(e.args[0], str):
            return
        e._placed = True  # type: ignore[attr-defined]
        before = self._layers[at - 1]
        where = f"Before it comes {before.name!r} ({type(before).__name__}), with output shape {shape}."
        e.args = (f"{e.args[0]}\n{where}", *e.args[1:])

    # ---- calling ----
    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        x, layer = inputs, None
        try:
            for layer in self._layers:
                x = layer(x, training=training)
        except (ValueError, TypeError, IndexError, RuntimeError) as e:
            self._place(e, layer, getattr(x, "shape", None))
            raise
        return x

    def _cast(self, x: Any) -> Any:
        """Also makes (N,) an (N, 1), and the reverse, where the model's input has the other shape."""
        x = super()._cast(x)
        known = self._batch_shape
        if known is not None and isinstance(x, Tensor):
            shape = x.data.shape
            if len(shape) == len(known) - 1 and known[-1] == 1:
                return ops.reshape(x, (*shape, 1))
            if len(shape) == len(known) + 1 and shape[-1] == 1:
                return ops.reshape(x, shape[:-1])
        return x

    def compute_output_shape(self, input_shape: Any) -> Any:
        shape = standardize_shape(input_shape)
        for layer in self._layers:
            shape = layer.compute_output_shape(shape)
        return shape

    def _symbolic_outputs(self, args: Any, kwargs: Any) -> Any:
        x = args[0] if args else kwargs["inputs"]
        for layer in self._layers:
            x = layer._symbolic_outputs((x,), {})
        return x

    def _walk(self, x: Any) -> Iterator[tuple[Any, Any]]:
        for layer in self._layers:
            x = layer(x, training=True)
            yield layer, x

    def _x_dtype(self) -> str | None:
        if self._input is not None:
            return self._input.dtype
        for layer in self._layers:
            if layer.cast_integers is not None:
                return layer.dtype if layer.cast_integers else None
        return None

    def _x_dtypes(self, x: Any) -> list[str | None]:
        count = len(flatten(x))
        if isinstance(x, dict) and self._takes_one_array():
            raise ValueError(
                f"[{self.name}] x must be one array: a Sequential has one input, without a name. "
                f"Received: a dict with the keys {list(x)}. Give the array alone, e.g. x[{next(iter(x), None)!r}]"
            )
        if count > 1 and isinstance(self._batch_shape, tuple):
            raise ValueError(
                f"[{self.name}] x must be one array: a Sequential has one input. Received: a {type(x).__name__} of "
                f"{count} arrays. For a list of samples use numpy.stack(x), for several inputs Model(inputs, outputs)"
            )
        return [self._x_dtype()] * count

    def _takes_one_array(self) -> bool:
        if self._batch_shape is not None or not self._layers:
            return isinstance(self._batch_shape, tuple)
        first = self._layers[0]  # nothing is built: a layer of our own that converts its input takes one array
        return type(first).__module__.startswith("nnfast.layers.") and first.autocast

    # ---- facts ----
    @property
    def layers(self) -> list[Layer]:
        """The layers, without an Input."""
        return list(self._layers)

    def _known_outputs(self) -> list[str] | None:
        return [self._layers[-1].name] if self._layers else None

    def _known(self, what: str) -> None:
        if self._source is None or len(self._tensors) < len(self._layers):
            raise AttributeError(
                f"[{self.name}] the {what} is known once the model is built. Received: .{what}. "
                "Begin with Input(shape=...), or call build"
            )

    @property
    def input(self) -> Any:
        """The symbolic input."""
        self._known("input")
        assert self._source is not None
        return self._source.output

    @property
    def output(self) -> Any:
        """The symbolic output."""
        self._known("output")
        return self._tensors[-1] if self._tensors else self.input

    @property
    def input_names(self) -> list[str]:
        """The name of its Input, if it has one."""
        return [] if self._source is None else [self._source.name]

    @property
    def output_names(self) -> list[str]:
        """The name of its last layer."""
        return self._known_outputs() or []

    @property
    def input_shape(self) -> Any:
        """The shape of a batch of inputs."""
        if self._batch_shape is None:
            raise AttributeError(f"[{self.name}] the input shape is known once the model is built")
        return self._batch_shape

    @property
    def output_shape(self) -> Any:
        """The shape of a batch of outputs."""
        return self.compute_output_shape(self.input_shape)

    def get_config(self) -> dict[str, Any]:
        elements = [*([] if self._source is None else [self._source]), *self._layers]
        return {
            "name": self.name,
            "trainable": self.trainable,
            "dtype": serialized_dtype(self.dtype),
            "layers": [serialize(layer) for layer in elements],
            "build_input_shape": self._batch_shape,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None) -> "Sequential":
        """A new model from what `get_config` gave, with fresh weights; custom_objects: your own classes by name."""
        model = cls(trainable=config.get("trainable", True), name=config["name"])
        for layer in config["layers"]:
            model.add(deserialize_keras_object(layer, custom_objects))
        if config.get("build_input_shape") is not None and not model.built and model._layers:
            model.build(config["build_input_shape"])
        return model


def _shape_for(layer: Layer) -> Shape | None:
    """The shape of the input that a first layer asks for."""
    if isinstance(layer, Sequential):
        return layer._batch_shape
    if isinstance(layer, Model) and layer._graph is not None and len(layer.inputs) == 1:
        return layer.input_shape
    return layer._declared_shape


def _agree(known: Any, shape: Any) -> bool:
    """Are two shapes equal where both are known?"""
    return len(known) == len(shape) and all(a == b or a is None or b is None for a, b in zip(known, shape))
