"""clone_model: the same architecture with fresh weights."""

from collections.abc import Callable
from typing import Any

from nnfast.layers.input_layer import InputLayer
from nnfast.layers.nested import flatten, pack
from nnfast.layers.symbolic import is_symbolic
from nnfast.models.model import Model
from nnfast.models.sequential import Sequential


def clone_model(
    model: Model,
    input_tensors: Any = None,
    clone_function: Callable[[Any], Any] | None = None,
    call_function: Callable[..., Any] | None = None,
    recursive: bool = False,
) -> Any:
    """A new model of the same layers, with fresh weights.

    Args:
        model: a model.
        input_tensors: symbolic tensors to begin with instead of new Inputs.
        clone_function: clone_function(layer) gives the layer to use instead of each layer, Inputs excepted. Default:
            one made from its config.
        call_function: call_function(layer, *args, **kwargs) calls a layer of the new model; functional models only.
        recursive: go into the models inside the model, too.

    Raises:
        ValueError: the model is a subclass, and an argument is given that needs to know its layers.

    >>> import nnfast
    >>> model = nnfast.Sequential([nnfast.Input(shape=(3,)), nnfast.layers.Dense(2)])
    >>> nnfast.models.clone_model(model).count_params()
    8
    """

    def clone(layer: Any) -> Any:
        if recursive and isinstance(layer, Model):
            return clone_model(layer, None, clone_function, call_function, True)
        if clone_function is None or isinstance(layer, InputLayer):
            return clone_model(layer) if isinstance(layer, Model) else type(layer).from_config(layer.get_config())
        return clone_function(layer)

    if input_tensors is not None and not is_symbolic(input_tensors):
        raise ValueError(f"[clone_model] input_tensors must be symbolic tensors. Received: {input_tensors!r}")
    if isinstance(model, Sequential):
        return _clone_sequential(model, input_tensors, clone, call_function)
    if model._graph is not None:
        return _clone_functional(model, input_tensors, clone, call_function)
    if input_tensors is not None or clone_function is not None or call_function is not None:
        raise ValueError(
            f"[clone_model] a subclass of Model is cloned by its config. Received: {model!r}. Use Sequential or a "
            "functional model for input_tensors, clone_function and call_function"
        )
    return type(model).from_config(model.get_config())


def _clone_sequential(model: Sequential, input_tensors: Any, clone: Any, call_function: Any) -> Sequential:
    if call_function is not None:
        raise ValueError("[clone_model] call_function is for functional models. Received: a Sequential")
    made = Sequential(name=model.name)
    if input_tensors is not None:
        made.add(flatten(input_tensors)[0])
    elif model._source is not None:
        made.add(InputLayer.from_config(model._source.get_config()))
    for layer in model.layers:
        made.add(clone(layer))
    made.trainable = model.trainable
    return made


def _clone_functional(model: Any, input_tensors: Any, clone: Any, call_function: Any) -> Any:
    graph = model._graph
    if input_tensors is None:
        inputs = [type(t.node.layer).from_config(t.node.layer.get_config()).output for t in graph.inputs]
    else:
        inputs = flatten(input_tensors)
        if len(inputs) != len(graph.inputs):
            raise ValueError(
                f"[clone_model] the model has {len(graph.inputs)} inputs. Received: {len(inputs)} input_tensors"
            )
    copies: dict[int, Any] = {}

    def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        if id(layer) not in copies:
            copies[id(layer)] = clone(layer)
        new = copies[id(layer)]
        return new(*args, **kwargs) if call_function is None else call_function(new, *args, **kwargs)

    outputs = graph.run(inputs, call)
    made = type(model)(inputs=pack(graph.input_structure, inputs), outputs=outputs, name=model.name)
    if not model.trainable:
        made.trainable = False
    return made
