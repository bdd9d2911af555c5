"""Graph: the calls of layers between the inputs and the outputs of a functional model, in the order to run them."""

from collections.abc import Callable
from typing import Any

from nnfast import ops
from nnfast.layers.input_layer import InputLayer
from nnfast.layers.layer import Layer
from nnfast.layers.nested import flatten, map_structure, pack
from nnfast.layers.symbolic import OPERATIONS, Node, SymbolicTensor
from nnfast.saving.serialization import deserialize_keras_object, serialize_keras_object
from nnfast.tensor import Tensor, as_array


class _Slot:
    """Stands for a tensor among the arguments of a step."""

    def __init__(self, number: int):
        self.number = number


class Graph:
    """What connects symbolic inputs to symbolic outputs.

    Args:
        inputs, outputs: symbolic tensors, or structures of them. An input need not come from `Input`: the model then
            begins in the middle of another one.

    Attributes:
        nodes: the calls, each after those that it needs.
        operations: the layers and Operations that are called, in Keras's order: inputs first.

    Raises:
        ValueError: an output depends on an Input that is not among inputs, two layers have one name, or an input is
            given twice.
        TypeError: something else than symbolic tensors was given.
    """

    def __init__(self, inputs: Any, outputs: Any):
        self.input, self.output = inputs, outputs
        _check_symbols("inputs", inputs)
        _check_symbols("outputs", outputs)
        if any(t.node.args or t.node.kwargs for t in flatten(inputs)):
            inputs, outputs = _begin_here(inputs, outputs)
        self.input_structure, self.output_structure = inputs, outputs
        self.inputs: list[SymbolicTensor] = flatten(inputs)
        self.outputs: list[SymbolicTensor] = flatten(outputs)
        if len({id(t) for t in self.inputs}) < len(self.inputs):
            raise ValueError(f"[Model] each input can be given once. Received: inputs={[t.name for t in self.inputs]}")
        self.nodes = _sorted_nodes(self.inputs, self.outputs)
        self.depths, self.operations = _by_depth(self.nodes, self.inputs, self.outputs)
        _check_names(self.operations)
        self.input_names = _keys_of(inputs) or [t.name for t in self.inputs]
        self.output_names = [t.node.layer.name for t in self.outputs]
        self._plan()

    @property
    def layers(self) -> list[Layer]:
        """The layers that are called; arithmetic is no layer."""
        return [layer for layer in self.operations if isinstance(layer, Layer)]

    def nodes_of(self, layer: Any) -> list[Node]:
        """The calls of a layer in this graph."""
        return [n for n in self.nodes if n.layer is layer]

    # ---- running ----
    def _plan(self) -> None:
        """The steps: (layer, its arguments with slots for tensors, slots of its outputs, slots that end there)."""
        slots: dict[int, int] = {}
        for t in self.inputs:
            slots[id(t)] = len(slots)
        steps: list[list[Any]] = []
        last: dict[int, int] = {}

        def slot(v: Any) -> Any:
            if not isinstance(v, SymbolicTensor):
                return v
            last[slots[id(v)]] = len(steps)
            return _Slot(slots[id(v)])

        for node in self.nodes:
            if isinstance(node.layer, InputLayer):
                continue
            args, kwargs = map_structure(slot, (tuple(node.args), node.kwargs))
            for t in node.outputs:
                slots[id(t)] = len(slots)
            single = args[0].number if len(args) == 1 and isinstance(args[0], _Slot) and not kwargs else None
            steps.append([node.layer, single, args, kwargs, [slots[id(t)] for t in node.outputs], []])
        self._results = [slots[id(t)] for t in self.outputs]
        for number, step in last.items():
            if number not in self._results:
                steps[step][5].append(number)
        self._steps, self._size = steps, len(slots)

    def run(self, inputs: list[Any], call: Callable[..., Any] | None = None, visit: Any = None) -> Any:
        """The outputs for the inputs, in the structure of the model.

        Args:
            inputs: the leaves, as `arrange` gives them.
            call: call(layer, *args, **kwargs) instead of layer(*args, **kwargs).
            visit: visit(layer, outputs) after each layer.
        """
        values: list[Any] = [*inputs, *[None] * (self._size - len(inputs))]
        for layer, single, args, kwargs, results, ended in self._steps:
            if single is not None and call is None:
                y = layer(values[single])
            else:

                def real(v: Any) -> Any:
                    return values[v.number] if isinstance(v, _Slot) else v

                given, named = map_structure(real, (args, kwargs))
                y = layer(*given, **named) if call is None else call(layer, *given, **named)
            if visit is not None:
                visit(layer, y)
            made = (y,) if len(results) == 1 and not isinstance(y, (list, tuple, dict)) else flatten(y)
            if len(made) != len(results):
                raise ValueError(
                    f"[{layer.name}] it gave {len(results)} outputs on an Input. Received: {len(made)} outputs now"
                )
            for number, value in zip(results, made):
                values[number] = value
            for number in ended:
                values[number] = None
        return unpacked(pack(self.output_structure, [values[i] for i in self._results]))

    # ---- inputs ----
    def arrange(self, inputs: Any, name: str) -> list[Any]:
        """The leaves of what a model is called with, in the order of its inputs.

        Raises:
            ValueError: an input is missing, or there are too few or too many.
        """
        n = len(self.inputs)
        if isinstance(inputs, dict) and not any(isinstance(v, (dict, list, tuple)) for v in inputs.values()):
            keys = self.input_names if set(self.input_names) <= set(inputs) else [t.name for t in self.inputs]
            missing = [k for k in keys if k not in inputs]
            if missing:
                raise ValueError(
                    f"[{name}] the input {missing[0]!r} is missing. Received: a dict with the keys "
                    f"{list(inputs)}. The inputs of {name!r} are {_described(self)}"
                )
            return [inputs[k] for k in keys]
        leaves = _arrays(inputs) if n > 1 or isinstance(inputs, (list, tuple, dict)) else [inputs]
        if len(leaves) != n:
            fix = " Numbers in lists need numpy.array(...)." if n == 1 and isinstance(inputs, list) else ""
            raise ValueError(
                f"[{name}] it has {n} input{'s' if n > 1 else ''}: {_described(self)}. Received: {len(leaves)} arrays "
                f"of shapes {[tuple(getattr(v, 'shape', ())) for v in leaves[:8]]}.{fix}"
            )
        return leaves

    def check_structure(self, x: Any, name: str) -> None:
        """Raises a ValueError if data of this structure (its leaves None) lacks an input, or has too many."""
        count = len(flatten(x))
        if isinstance(x, dict):
            self.arrange(x, name)
        elif count != len(self.inputs):
            fix = ". For a list of samples use numpy.stack(x)" if len(self.inputs) == 1 else ""
            raise ValueError(
                f"[{name}] it has {len(self.inputs)} input{'s' if len(self.inputs) > 1 else ''}: {_described(self)}. "
                f"Received: {count} array{'s' if count > 1 else ''} in x{fix}"
            )

    def dtypes(self, x: Any) -> list[str | None]:
        """The dtype to which each leaf of the data is converted; None where a dict has more than the model needs."""
        if isinstance(x, dict):
            known = {
                **{t.name: t.dtype for t in self.inputs},
                **dict(zip(self.input_names, (t.dtype for t in self.inputs))),
            }
            return flatten({k: map_structure(lambda _, k=k: known.get(k), v) for k, v in x.items()})
        leaves = flatten(x)
        if len(leaves) == len(self.inputs):
            return [t.dtype for t in self.inputs]
        return [None] * len(leaves)

    def convert(self, inputs: Any, name: str) -> list[Any]:
        """The leaves of real inputs as tensors of the right dtype and rank.

        Raises:
            ValueError: a shape is not that of the Input.
        """
        return [_converted(v, t, name) for v, t in zip(self.arrange(inputs, name), self.inputs)]

    # ---- configs ----
    def get_config(self) -> dict[str, Any]:
        """The layers and their calls, as Keras 3's files have them."""
        from nnfast.models.functional import Functional

        def place(t: SymbolicTensor, calls_only: bool) -> list[Any]:
            layer, at = t.node.layer, self.nodes_of(t.node.layer).index(t.node)
            # In input_layers and output_layers Keras counts the nodes of a functional model from 1.
            return [layer.name, at + (not calls_only and isinstance(layer, Functional)), t.index]

        def history(v: Any) -> Any:
            if not isinstance(v, SymbolicTensor):
                return v
            about = {"shape": list(v.shape), "dtype": v.dtype, "keras_history": place(v, True)}
            return {"class_name": "__keras_tensor__", "config": about}

        layers = []
        for layer in self.operations:
            calls = []
            for node in self.nodes_of(layer):
                if node.inputs:
                    args, kwargs = map_structure(history, (list(node.args), node.kwargs))
                    calls.append(serialize_keras_object({"args": args, "kwargs": kwargs}))
            layers.append({**serialize_keras_object(layer), "name": layer.name, "inbound_nodes": calls})
        return {
            "layers": layers,
            "input_layers": map_structure(lambda t: place(t, False), self.input_structure),
            "output_layers": map_structure(lambda t: place(t, False), self.output_structure),
        }


def from_config(config: dict[str, Any], custom_objects: Any = None) -> tuple[Any, Any]:
    """The symbolic inputs and outputs that `Graph.get_config` (or Keras 3 or 2) described, with new layers between."""
    made: dict[str, Any] = {}
    waiting: list[tuple[str, Any]] = []
    for part in config["layers"]:
        if part.get("class_name") in OPERATIONS and "module" not in part and "trainable" not in part["config"]:
            part = {**part, "module": "keras.src.ops"}  # Keras's .h5 names no module, and Mean is a metric, too
        layer = deserialize_keras_object(part, custom_objects=custom_objects)
        name = part.get("name") or part["config"]["name"]
        made[name] = layer
        waiting += [(name, call) for call in part.get("inbound_nodes", ())]
    nodes: dict[str, list[Node]] = {
        name: layer._nodes[:1] if isinstance(layer, InputLayer) else [] for name, layer in made.items()
    }

    def tensor(name: str, node: int, index: int) -> SymbolicTensor:
        if name not in made:
            raise ValueError(f"[from_config] the config names a layer that it does not hold. Received: {name!r}")
        return nodes[name][node].outputs[index]

    while waiting:
        left: list[tuple[str, Any]] = []
        blocked: set[str] = set()
        for name, call in waiting:
            ready = None if name in blocked else _arguments(call, tensor)  # a layer's calls keep their order
            if ready is None:
                blocked.add(name)
                left.append((name, call))
                continue
            made[name](*ready[0], **ready[1])
            nodes[name].append(made[name]._nodes[-1])
        if len(left) == len(waiting):
            raise ValueError(f"[from_config] the calls of layers form no graph. Received: calls of {sorted(blocked)}")
        waiting = left

    def structure(v: Any) -> Any:
        if isinstance(v, dict):
            return {k: structure(u) for k, u in v.items()}
        if len(v) == 3 and isinstance(v[0], str):
            return tensor(v[0], v[1] - (1 if v[1] >= len(nodes.get(v[0], ())) else 0), v[2])
        return [structure(u) for u in v]

    inputs, outputs = structure(config["input_layers"]), structure(config["output_layers"])
    return unpacked(inputs), unpacked(outputs)


def _arguments(call: Any, tensor: Callable[..., SymbolicTensor]) -> tuple[Any, Any] | None:
    """args and kwargs of a call; None while a tensor is missing."""
    try:
        if isinstance(call, dict):
            return _revived(call.get("args", []), tensor), _revived(call.get("kwargs", {}), tensor)
        found = [tensor(*entry[:3]) for entry in call]  # Keras 2: [[name, node, index, kwargs], ...]
        options = call[0][3] if call and len(call[0]) > 3 else {}
        return (unpacked(found),), _revived(options, tensor)
    except IndexError:
        return None


def _revived(v: Any, tensor: Callable[..., SymbolicTensor]) -> Any:
    if isinstance(v, dict):
        if v.get("class_name") == "__keras_tensor__":
            return tensor(*v["config"]["keras_history"])
        if "class_name" in v:
            return deserialize_keras_object(v)
        return {k: _revived(u, tensor) for k, u in v.items()}
    return [_revived(u, tensor) for u in v] if isinstance(v, (list, tuple)) else v


def unpacked(v: Any) -> Any:
    """The only element of a list or tuple, else the value itself: what Keras makes of a list of one output."""
    return v[0] if isinstance(v, (list, tuple)) and len(v) == 1 else v


def _check_symbols(what: str, structure: Any) -> None:
    leaves = flatten(structure)
    if not leaves:
        raise ValueError(f"[Model] {what} must not be empty. Received: {what}={structure!r}")
    for t in leaves:
        if not isinstance(t, SymbolicTensor) or t.node is None:
            fix = "Begin with x = Input(shape=...), and call the layers on x"
            if isinstance(t, Layer):
                fix = f"A layer is called on a tensor: {t.name}(x), or use {t.name}.output"
            raise TypeError(f"[Model] {what} must be symbolic tensors. Received: {t!r}. {fix}")


def _sorted_nodes(inputs: list[SymbolicTensor], outputs: list[SymbolicTensor]) -> list[Node]:
    """The nodes between inputs and outputs, those of inputs included, each after those that it needs."""
    given = {id(t.node) for t in inputs}
    done: dict[int, Node] = {}
    open_: set[int] = set()
    stack: list[tuple[Node, bool]] = [(t.node, False) for t in reversed(outputs)]
    while stack:
        node, finished = stack.pop()
        if finished:
            done.setdefault(id(node), node)
            continue
        if id(node) in done or id(node) in open_:
            continue
        open_.add(id(node))
        if isinstance(node.layer, InputLayer) and id(node) not in given:
            raise ValueError(
                f"[Model] the outputs depend on the Input {node.layer.name!r}, which is not among the inputs. "
                f"Received: inputs={[t.name for t in inputs]}. Add it there, or leave it out of what is computed"
            )
        stack.append((node, True))
        if id(node) not in given:
            stack += [(t.node, False) for t in reversed(node.inputs)]
    for t in inputs:
        done.setdefault(id(t.node), t.node)
    return list(done.values())


def _by_depth(
    nodes: list[Node], inputs: list[SymbolicTensor], outputs: list[SymbolicTensor]
) -> tuple[dict[int, list[Node]], list[Any]]:
    """Keras's order of layers: by the longest way to an output, farthest first, then as a walk from the outputs finds
    them. Also the nodes of each depth."""
    found: dict[int, int] = {}  # layer -> number in which a walk from the outputs meets it
    seen: set[int] = set()
    stack = [t.node for t in reversed(outputs)]
    while stack:
        node = stack.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        found.setdefault(id(node.layer), len(found))
        stack += [t.node for t in reversed(node.inputs)]
    node_depth: dict[int, int] = {}
    layer_depth: dict[int, int] = {}
    for node in reversed(nodes):
        depth = max(node_depth.get(id(node), 0), layer_depth.get(id(node.layer), 0))
        node_depth[id(node)] = layer_depth[id(node.layer)] = depth
        for t in node.inputs:
            node_depth[id(t.node)] = max(depth + 1, node_depth.get(id(t.node), 0))
    by_depth: dict[int, list[Node]] = {}
    layers: dict[int, Any] = {}
    for node in nodes:
        by_depth.setdefault(node_depth[id(node)], []).append(node)
        layers.setdefault(id(node.layer), node.layer)
    order = sorted(layers, key=lambda i: (-layer_depth[i], found.get(i, -1)))
    return dict(sorted(by_depth.items(), reverse=True)), [layers[i] for i in order]


def _check_names(operations: list[Any]) -> None:
    seen: dict[str, Any] = {}
    for layer in operations:
        if layer.name in seen:
            raise ValueError(
                f"[Model] the names of layers must be unique. Received: two layers named {layer.name!r} "
                f"({type(seen[layer.name]).__name__}, {type(layer).__name__}). Give one of them another name="
            )
        seen[layer.name] = layer


def _begin_here(inputs: Any, outputs: Any) -> tuple[Any, Any]:
    """The same graph with an Input in place of each input that comes from a layer; its calls are copied."""
    new: dict[int, SymbolicTensor] = {}
    for t in flatten(inputs):
        if t.node.args or t.node.kwargs:
            new[id(t)] = InputLayer(batch_shape=t.shape, dtype=t.dtype, name=t.name).output
        else:
            new[id(t)] = t

    def swap(v: Any) -> Any:
        return new.get(id(v), v) if isinstance(v, SymbolicTensor) else v

    for node in _nodes_after(flatten(inputs), flatten(outputs)):
        args, kwargs = map_structure(swap, (node.args, node.kwargs))
        copies = [SymbolicTensor(t.shape, t.dtype, t.name) for t in node.outputs]
        Node(node.layer, args, kwargs, pack(node.structure, copies))
        for t, copy in zip(node.outputs, copies):
            new.setdefault(id(t), copy)
    return map_structure(swap, inputs), map_structure(swap, outputs)


def _nodes_after(inputs: list[SymbolicTensor], outputs: list[SymbolicTensor]) -> list[Node]:
    """The nodes to run once the tensors `inputs` are known."""
    known = {id(t) for t in inputs}
    done: dict[int, Node] = {}
    stack: list[tuple[SymbolicTensor, bool]] = [(t, False) for t in reversed(outputs)]
    while stack:
        t, finished = stack.pop()
        if finished:
            done.setdefault(id(t.node), t.node)
        elif id(t) not in known and id(t.node) not in done:
            if not t.node.args and not t.node.kwargs:
                raise ValueError(
                    f"[Model] the outputs depend on the Input {t.name!r}, and not only through the inputs. Received: "
                    f"inputs={[i.name for i in inputs]}. Add it to inputs, or begin where all ways pass"
                )
            stack.append((t, True))
            stack += [(u, False) for u in reversed(t.node.inputs)]
    return list(done.values())


def _keys_of(structure: Any) -> list[str] | None:
    """The keys by which a dict of inputs is fed, in the order of the leaves."""
    if isinstance(structure, dict) and all(isinstance(t, SymbolicTensor) for t in structure.values()):
        return flatten({k: k for k in structure})
    return None


def _described(graph: Graph) -> str:
    return ", ".join(f"{n!r} {t.shape}" for n, t in zip(graph.input_names, graph.inputs))


def _arrays(inputs: Any) -> list[Any]:
    """The leaves of a structure of arrays; a list of numbers is one leaf."""
    if isinstance(inputs, dict):
        return [leaf for v in (inputs[k] for k in sorted(inputs)) for leaf in _arrays(v)]
    if isinstance(inputs, (list, tuple)) and any(
        hasattr(v, "shape") or isinstance(v, (dict, list, tuple)) for v in inputs
    ):
        return [leaf for v in inputs for leaf in _arrays(v)]
    return [inputs]


def _converted(v: Any, t: SymbolicTensor, name: str) -> Any:
    if isinstance(v, SymbolicTensor):
        return v
    x = v if isinstance(v, Tensor) else Tensor(as_array(v, name=name))
    mask = getattr(x, "_keras_mask", None)
    if x.dtype.name != t.dtype:
        x = ops.cast(x, t.dtype)
    shape, known = x.shape, t.shape
    if len(shape) == len(known) - 1 and known and known[-1] == 1:
        x = ops.reshape(x, (*shape, 1))
    elif len(shape) == len(known) + 1 and shape[-1] == 1:
        x = ops.reshape(x, shape[:-1])
    if len(x.shape) != len(known) or any(n not in (None, m) for n, m in zip(known[1:], x.shape[1:])):
        missing = len(shape) == len(known) - 1 and all(n in (None, m) for n, m in zip(known[1:], shape))
        fix = ". For one sample use x[None]" if missing else ""
        raise ValueError(f"[{name}] the input {t.name!r} has shape {known}. Received: shape {shape}{fix}")
    if mask is not None:
        x._keras_mask = mask
    return x
