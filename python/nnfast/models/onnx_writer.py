"""Writer: collects the nodes and constants of an ONNX graph, layer by layer.

A *form* is how a layer is written: form(writer, layer, inputs, **options) -> a Value, or a list of them. Inputs are the
tensors of the call in the order of the layer's arguments; options are its other arguments that are not None or False.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from nnfast.layers.layer import Layer
from nnfast.layers.nested import flatten

LAST = np.iinfo(np.int64).max  # a slice's end: that of the axis
Form = Callable[..., Any]


@dataclasses.dataclass(frozen=True)
class Value:
    """A tensor of the graph. mask: which steps of it count, a bool tensor (batch, time)."""

    name: str
    rank: int
    dtype: np.dtype
    mask: Value | None = None

    def masked(self, mask: Value | None) -> Value:
        return dataclasses.replace(self, mask=mask)


class Writer:
    """The graph under construction.

    Args:
        onnx: the package.
        forms: how each layer is written, by the name of its class.
        masked: the layers whose forms look at the masks of their inputs.
        operations: ONNX's names of the arithmetic on symbolic tensors.
    """

    def __init__(self, onnx: Any, forms: dict[str, Form], masked: set[str], operations: dict[str, str]):
        self.onnx, self.forms, self.with_masks, self.operations = onnx, forms, masked, operations
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    # ---- nodes ----
    def const(self, value: Any, dtype: Any = None) -> str:
        name = f"constant_{len(self.constants)}"
        value = np.asarray(value, dtype)
        self.constants.append(self.onnx.numpy_helper.from_array(np.ascontiguousarray(value).reshape(value.shape), name))
        return name

    def node(self, op: str, inputs: Any, rank: int | None = None, dtype: Any = None, **attributes: Any) -> Value:
        """One operator. inputs: Values, or names of constants; the first says rank and dtype of the result."""
        return self.several(op, inputs, [(rank, dtype)], **attributes)[0]

    def several(self, op: str, inputs: Any, results: Any, **attributes: Any) -> list[Value]:
        """One operator of several results, each (rank, dtype); None: those of the first input."""
        name = f"{op.lower()}_{len(self.nodes)}"
        names = [v.name if isinstance(v, Value) else v for v in inputs]
        outputs = [name if i == 0 else f"{name}_{i}" for i in range(len(results))]
        self.nodes.append(self.onnx.helper.make_node(op, names, outputs, name=name, **attributes))
        return [
            Value(out, inputs[0].rank if rank is None else rank, np.dtype(inputs[0].dtype if dtype is None else dtype))
            for out, (rank, dtype) in zip(outputs, results)
        ]

    def with_const(self, op: str, x: Value, value: Any) -> Value:
        return self.node(op, [x, self.const(value, x.dtype)])

    def compare(self, op: str, x: Value, value: Any) -> Value:
        """A bool tensor; value: another Value, or a constant."""
        return self.node(op, [x, value if isinstance(value, Value) else self.const(value, x.dtype)], dtype=bool)

    def where(self, mask: Value, x: Value, other: Any) -> Value:
        """x where the mask holds; the mask has the rank of x."""
        other = other if isinstance(other, Value) else self.const(other, x.dtype)
        return self.node("Where", [mask, x, other], x.rank, x.dtype)

    def cast(self, x: Value, dtype: Any) -> Value:
        dtype = np.dtype(dtype)
        return self.node("Cast", [x], dtype=dtype, to=self.onnx.helper.np_dtype_to_tensor_dtype(dtype))

    def transposed(self, x: Value, order: Any) -> Value:
        return self.node("Transpose", [x], perm=list(order))

    def unsqueezed(self, x: Value, *axes: int) -> Value:
        return self.node("Unsqueeze", [x, self.const(axes, "int64")], x.rank + len(axes))

    def squeezed(self, x: Value, axis: int) -> Value:
        return self.node("Squeeze", [x, self.const([axis], "int64")], x.rank - 1)

    def sliced(self, x: Value, axes: Any, starts: Any, ends: Any, steps: Any = None) -> Value:
        numbers = [self.const(v, "int64") for v in (starts, ends, axes, [1] * len(axes) if steps is None else steps)]
        return self.node("Slice", [x, *numbers])

    def reversed(self, x: Value, axis: int) -> Value:
        return self.sliced(x, [axis], [-1], [-LAST], [-1])

    def sizes(self, x: Value, start: int, end: int = LAST) -> Value:
        """Some of the sizes of x, as a vector."""
        return self.sliced(self.node("Shape", [x], 1, "int64"), [0], [start], [end])

    def positions(self, x: Value) -> Value:
        """0, 1, ... for the steps of x (batch, time, ...)."""
        steps = self.squeezed(self.sizes(x, 1, 2), 0)
        return self.node("Range", [self.const(0, "int64"), steps, self.const(1, "int64")], 1, "int64")

    # ---- layers ----
    def run(self, model: Any, inputs: list[Value]) -> list[Value]:
        """The model's layers, written one after the other; its outputs."""
        graph = getattr(model, "_graph", None)
        if graph is not None:
            return flatten(graph.run(inputs, self.call))
        x = inputs[0]
        for layer in model.layers:
            x = self.call(layer, x)
        return [x]

    def call(self, layer: Any, *args: Any, **kwargs: Any) -> Any:
        """One call of a layer, with Values for tensors."""
        if not isinstance(layer, Layer):
            return self._operation(layer, [*args, *kwargs.values()])
        inputs: list[Value] = []
        options = {}
        names = layer._call_names
        given = {**dict(zip(names, args)), **kwargs}
        for name in sorted(given, key=lambda n: names.index(n) if n in names else len(names)):
            value = given[name]
            leaves = flatten(value)
            tensors = [v for v in leaves if isinstance(v, Value)]
            if tensors and not name.endswith("mask"):
                if any(v is not None for v in leaves if not isinstance(v, Value)):
                    raise self.no_form(layer, f"{name} of tensors and others")
                inputs += tensors
            elif name != "training" and any(v is not None and v is not False for v in leaves):
                options[name] = value
        made = self.layer(layer, inputs, **options)
        return made[0] if len(made) == 1 else made

    def layer(self, layer: Any, inputs: list[Value], **options: Any) -> list[Value]:
        """A layer, as its form writes it; a model, as its layers are written."""
        if any(cls.__name__ in ("Sequential", "Functional") for cls in type(layer).__mro__):
            return self.run(layer, inputs)
        kind = type(layer).__name__
        form = self.forms.get(kind)
        if form is None or not type(layer).__module__.startswith("nnfast."):
            raise self.no_form(layer)
        for name in options:
            if name not in inspect.signature(form).parameters:
                raise self.no_form(layer, f"called with {name}")
        masks = [v.mask for v in inputs]
        if layer._takes_mask and any(masks) and kind not in self.with_masks:
            raise self.no_form(layer, "with masked steps")
        if kind != "Embedding":
            inputs = [self._as_float(layer, v) for v in inputs]
        made = form(self, layer, inputs, **options)
        made = made if isinstance(made, list) else [made]
        if layer.supports_masking and type(layer).compute_mask is Layer.compute_mask:
            return [v.masked(masks[0]) for v in made]
        return made

    def _operation(self, operation: Any, operands: list[Any]) -> Value:
        """Arithmetic on symbolic tensors, e.g. x + y or 1 - x, of floats of one dtype."""
        op = self.operations.get(type(operation).__name__)
        tensors = [v for v in operands if isinstance(v, Value)]
        dtypes = {v.dtype for v in tensors}
        if op is None or operation.options or len(dtypes) != 1 or tensors[0].dtype.kind != "f":
            raise self.no_form(operation, f"but {', '.join(sorted(self.operations))} of floats of one dtype")
        ranks = [v.rank if isinstance(v, Value) else np.ndim(v) for v in operands]
        if op == "MatMul" and min(ranks) < 2:
            raise self.no_form(operation, "a vector")
        dtype = tensors[0].dtype
        names = [v if isinstance(v, Value) else self.const(v, dtype) for v in operands]
        return self.node(op, names, max(ranks), dtype)

    def no_form(self, layer: Any, why: str = "") -> NotImplementedError:
        return NotImplementedError(
            f"[export_onnx] {layer.name!r} ({type(layer).__name__}) has no ONNX form here{why and ': ' + why}. "
            f"Those that have: {', '.join(sorted(self.forms))}"
        )

    def _as_float(self, layer: Any, v: Value) -> Value:
        if v.dtype.kind == "f" or not layer.cast_integers:
            return v
        return self.cast(v, layer.dtype).masked(v.mask)
