"""Models as ONNX files (onnx.ai), for runtimes in other languages and on other devices.

A model becomes a graph of ONNX's operators in inference mode, opset 17. Its batch has any size. Images stay channels
last outside; around each convolution and pooling they are transposed, which runtimes fuse away.
"""

import dataclasses
import math
import os
from collections.abc import Callable
from typing import Any

import numpy as np

from nnfast import activations
from nnfast.saving.atomic import atomic_file

OPSET = 17
_Emit = Callable[["_Writer", Any, list["_Value"]], "_Value"]


@dataclasses.dataclass(frozen=True)
class _Value:
    """A tensor of the graph."""

    name: str
    rank: int
    dtype: np.dtype


class _Writer:
    """Collects nodes and constants."""

    def __init__(self, onnx: Any):
        self.onnx = onnx
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def const(self, value: Any, dtype: Any = None) -> str:
        name = f"constant_{len(self.constants)}"
        self.constants.append(self.onnx.numpy_helper.from_array(np.ascontiguousarray(value, dtype), name))
        return name

    def node(self, op: str, inputs: Any, rank: int | None = None, dtype: Any = None, **attributes: Any) -> _Value:
        """One operator. inputs: values, or names of constants; the first says rank and dtype of the result."""
        name = f"{op.lower()}_{len(self.nodes)}"
        names = [v.name if isinstance(v, _Value) else v for v in inputs]
        self.nodes.append(self.onnx.helper.make_node(op, names, [name], name=name, **attributes))
        return _Value(name, inputs[0].rank if rank is None else rank, inputs[0].dtype if dtype is None else dtype)

    def with_const(self, op: str, x: _Value, value: Any) -> _Value:
        return self.node(op, [x, self.const(value, x.dtype)])

    def transposed(self, x: _Value, order: Any) -> _Value:
        return self.node("Transpose", [x], perm=list(order))


def export_onnx(model: Any, filepath: Any) -> None:
    """Writes a built model as an ONNX file; see `Model.export_onnx`."""
    try:
        import onnx
    except ImportError as e:
        raise ImportError("[export_onnx] this needs the package onnx. Use pip install 'nnfast[onnx]'") from e
    path = os.fspath(filepath)
    if not model.built or not getattr(model, "inputs", None):
        raise ValueError(
            f"[export_onnx] the shape of the input of {model.name!r} is not known. Received: a model that is not "
            "built, or a subclass with its own call. Use Sequential or Model(inputs, outputs), and Input(shape=...)"
        )
    writer = _Writer(onnx)
    inputs, described = [], []
    for t in model.inputs:
        dtype = np.dtype(t.dtype)
        shape = ["batch" if i == 0 else n if n is not None else f"{t.name}_{i}" for i, n in enumerate(t.shape)]
        kind = onnx.helper.np_dtype_to_tensor_dtype(dtype)
        described.append(onnx.helper.make_tensor_value_info(t.name, kind, shape))
        inputs.append(_Value(t.name, len(t.shape), dtype))
    results = _run(writer, model, inputs)
    outputs = []
    for n, value in enumerate(results):
        name = "output" if len(results) == 1 else f"output_{n}"
        writer.nodes.append(onnx.helper.make_node("Identity", [value.name], [name]))
        shape = [None] * value.rank
        outputs.append(
            onnx.helper.make_tensor_value_info(name, onnx.helper.np_dtype_to_tensor_dtype(value.dtype), shape)
        )
    graph = onnx.helper.make_graph(writer.nodes, model.name, described, outputs, writer.constants)
    made = onnx.helper.make_model(
        graph, producer_name="nnfast", ir_version=8, opset_imports=[onnx.helper.make_opsetid("", OPSET)]
    )
    onnx.checker.check_model(made)
    with atomic_file(path) as file:
        file.write(made.SerializeToString())


def _run(writer: _Writer, model: Any, inputs: list[_Value]) -> list[_Value]:
    """The model's layers, written one after the other."""

    def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        given = [*args, *kwargs.values()]
        if len(given) == 1 and isinstance(given[0], (list, tuple)):
            given = list(given[0])
        if not all(isinstance(v, _Value) for v in given):
            raise _no_form(layer, "called with more than tensors")
        made = _layer(writer, layer, given)
        return made[0] if len(made) == 1 else made

    graph = getattr(model, "_graph", None)
    if graph is not None:
        made = graph.run(inputs, call)
        return list(made.values()) if isinstance(made, dict) else list(made) if isinstance(made, list) else [made]
    x = inputs[0]
    for layer in model.layers:
        x = call(layer, x)
    return [x]


def _layer(writer: _Writer, layer: Any, inputs: list[_Value]) -> list[_Value]:
    for cls in type(layer).__mro__:
        if cls.__name__ in ("Sequential", "Functional"):
            return _run(writer, layer, inputs)
    emit = _FORMS.get(type(layer).__name__)
    if emit is None or not type(layer).__module__.startswith("nnfast."):
        raise _no_form(layer)
    if type(layer).__name__ != "Embedding":
        inputs = [_as_float(writer, layer, v) for v in inputs]
    return [emit(writer, layer, inputs)]


def _no_form(layer: Any, why: str = "") -> NotImplementedError:
    return NotImplementedError(
        f"[export_onnx] {layer.name!r} ({type(layer).__name__}) has no ONNX form here{why and ': ' + why}. "
        f"Those that have: {', '.join(sorted(_FORMS))}"
    )


def _as_float(w: _Writer, layer: Any, v: _Value) -> _Value:
    if v.dtype.kind == "f" or not layer.cast_integers:
        return v
    dtype = np.dtype(layer.dtype)
    return w.node("Cast", [v], dtype=dtype, to=w.onnx.helper.np_dtype_to_tensor_dtype(dtype))


# ---- activations ----


def _activation(w: _Writer, layer: Any, function: Any, x: _Value) -> _Value:
    simple = {
        activations.relu: "Relu",
        activations.sigmoid: "Sigmoid",
        activations.tanh: "Tanh",
        activations.elu: "Elu",
        activations.selu: "Selu",
        activations.softplus: "Softplus",
        activations.softsign: "Softsign",
        activations.exponential: "Exp",
    }
    if function is activations.linear:
        return x
    if function in simple:
        return w.node(simple[function], [x])
    if function in (activations.softmax, activations.log_softmax):
        return w.node("Softmax" if function is activations.softmax else "LogSoftmax", [x], axis=-1)
    if function is activations.leaky_relu:
        return w.node("LeakyRelu", [x], alpha=0.2)
    if function is activations.relu6:
        return w.node("Clip", [x, w.const(0.0, x.dtype), w.const(6.0, x.dtype)])
    if function is activations.hard_sigmoid:
        return w.node("HardSigmoid", [x], alpha=1 / 6, beta=0.5)
    if function is activations.silu:
        return w.node("Mul", [x, w.node("Sigmoid", [x])])
    if function is activations.mish:
        return w.node("Mul", [x, w.node("Tanh", [w.node("Softplus", [x])])])
    if function is activations.gelu:  # x / 2 * (1 + erf(x / sqrt(2)))
        grown = w.with_const("Add", w.node("Erf", [w.with_const("Mul", x, math.sqrt(0.5))]), 1.0)
        return w.node("Mul", [w.with_const("Mul", x, 0.5), grown])
    raise _no_form(layer, f"activation {getattr(function, '__name__', function)!r}")


def _relu(w: _Writer, layer: Any, inputs: list[_Value]) -> _Value:
    if layer.threshold:
        raise _no_form(layer, f"threshold={layer.threshold}")
    y = w.node("LeakyRelu", inputs, alpha=layer.negative_slope) if layer.negative_slope else w.node("Relu", inputs)
    return y if layer.max_value is None else w.with_const("Min", y, layer.max_value)


def _prelu(w: _Writer, layer: Any, inputs: list[_Value]) -> _Value:
    return w.node("PRelu", [inputs[0], w.const(layer.alpha.data)])


def _softmax(w: _Writer, layer: Any, inputs: list[_Value]) -> _Value:
    if not isinstance(layer.axis, int):
        raise _no_form(layer, f"axis={layer.axis}")
    return w.node("Softmax", inputs, axis=layer.axis)


# ---- weights ----


def _dense(w: _Writer, layer: Any, inputs: list[_Value]) -> _Value:
    y = w.node("MatMul", [inputs[0], w.const(layer.kernel.data)])
    if layer.bias is not None:
        y = w.node("Add", [y, w.const(layer.bias.data)])
    return _activation(w, layer, layer.activation, y)


def _embedding(w: _Writer, layer: Any, inputs: list[_Value]) -> _Value:
    (x,) = inputs
    if x.dtype.kind == "f":
        x = w.node("Cast", [x], dtype=np.dtype("int64"), to=w.onnx.TensorProto.INT64)
    table = layer.embeddings.data
    return w.node("Gather", [w.const(table), x], rank=x.rank + 1, dtype=table.dtype, axis=0)


def _batch_norm(w: _Writer, layer: Any, inputs: list[_Value]) -> _Value:
    """(x - mean) * gamma / sqrt(variance + epsilon) + beta, as one product and one sum."""
    (x,) = inputs
    axis = (layer.axis[0] if isinstance(layer.axis, (list, tuple)) else layer.axis) % x.rank
    mean, variance = (v.data.astype("float64") for v in (layer.moving_mean, layer.moving_variance))
    scale = 1.0 / np.sqrt(variance + layer.epsilon)
    if layer.gamma is not None:
        scale = scale * layer.gamma.data
    offset = -mean * scale + (0.0 if layer.beta is None else layer.beta.data)
    shape = [-1] + [1] * (x.rank - 1 - axis)
    return w.with_const("Add", w.with_const("Mul", x, scale.reshape(shape)), offset.reshape(shape))


def _layer_norm(w: _Writer, layer: Any, inputs: list[_Value]) -> _Value:
    (x,) = inputs
    axes = [layer.axis] if isinstance(layer.axis, int) else list(layer.axis)
    if [a % x.rank for a in axes] != [x.rank - 1] or layer.gamma is None:
        raise _no_form(layer, "only the last axis, with scale")
    weights = [w.const(layer.gamma.data), *([] if layer.beta is None else [w.const(layer.beta.data)])]
    return w.node("LayerNormalization", [x, *weights], axis=-1, epsilon=layer.epsilon)


# ---- windows ----


def _channels_first(w: _Writer, layer: Any, x: _Value, inside: Callable[[_Value], _Value]) -> _Value:
    """What ONNX does to images with channels first, in the layer's own format."""
    if layer.data_format == "channels_first":
        return inside(x)
    size = range(1, x.rank - 1)
    y = inside(w.transposed(x, [0, x.rank - 1, *size]))
    return w.transposed(y, [0, *(i + 1 for i in size), 1])


def _pads(layer: Any) -> dict[str, Any]:
    if layer.padding == "causal":
        (k,), (d,) = layer.kernel_size, layer.dilation_rate
        return {"pads": [(k - 1) * d, 0]}
    dilation = _tuple(getattr(layer, "dilation_rate", 1))
    if layer.padding == "same" and set(dilation) != {1}:  # its strides are 1
        total = [(k - 1) * d for k, d in zip(layer.kernel_size, dilation)]
        return {"pads": [*(n // 2 for n in total), *(n - n // 2 for n in total)]}
    return {"auto_pad": "SAME_UPPER" if layer.padding == "same" else "VALID"}


def _tuple(value: Any) -> list[int]:
    return [value] if isinstance(value, int) else list(value)


def _conv_node(w: _Writer, layer: Any, x: _Value, kernel: np.ndarray, bias: Any, group: int) -> _Value:
    """kernel (out, in / group, *size)."""
    options: dict[str, Any] = {
        "strides": _tuple(layer.strides),
        "dilations": _tuple(layer.dilation_rate),
        "group": group,
    }
    weights = [w.const(kernel), *([] if bias is None else [w.const(bias.data)])]
    return w.node("Conv", [x, *weights], kernel_shape=list(kernel.shape[2:]), **options, **_pads(layer))


def _conv(w: _Writer, layer: Any, inputs: list[_Value]) -> _Value:
    kernel = np.moveaxis(layer.kernel.data, (-1, -2), (0, 1))
    y = _channels_first(
        w, layer, inputs[0], lambda x: _conv_node(w, layer, x, kernel, layer.bias, getattr(layer, "groups", 1))
    )
    return _activation(w, layer, layer.activation, y)


def _depthwise(kernel: np.ndarray) -> np.ndarray:
    """(rows, columns, C, m) as ONNX's (C * m, 1, rows, columns)."""
    rows, columns, channels, m = kernel.shape
    return kernel.transpose(2, 3, 0, 1).reshape(channels * m, 1, rows, columns)


def _depthwise_conv(w: _Writer, layer: Any, inputs: list[_Value]) -> _Value:
    kernel = layer.kernel.data
    y = _channels_first(
        w, layer, inputs[0], lambda x: _conv_node(w, layer, x, _depthwise(kernel), layer.bias, kernel.shape[2])
    )
    return _activation(w, layer, layer.activation, y)


def _pool(op: str) -> _Emit:
    def emit(w: _Writer, layer: Any, inputs: list[_Value]) -> _Value:
        options = {"kernel_shape": _tuple(layer.pool_size), "strides": _tuple(layer.strides), **_pads(layer)}
        return _channels_first(w, layer, inputs[0], lambda x: w.node(op, [x], **options))

    return emit


def _global_pool(op: str) -> _Emit:
    def emit(w: _Writer, layer: Any, inputs: list[_Value]) -> _Value:
        axes = list(layer._axes)
        rank = inputs[0].rank if layer.keepdims else inputs[0].rank - len(axes)
        return w.node(op, inputs, rank=rank, axes=axes, keepdims=int(layer.keepdims))

    return emit


def _zero_padding(w: _Writer, layer: Any, inputs: list[_Value]) -> _Value:
    (top, bottom), (left, right) = layer.padding
    first = [0, 0, top, left] if layer.data_format == "channels_first" else [0, top, left, 0]
    last = [0, 0, bottom, right] if layer.data_format == "channels_first" else [0, bottom, right, 0]
    return w.node("Pad", [inputs[0], w.const([*first, *last], "int64")])


# ---- shapes ----


def _flatten(w: _Writer, layer: Any, inputs: list[_Value]) -> _Value:
    (x,) = inputs
    if layer.data_format == "channels_first" and x.rank > 2:
        x = w.transposed(x, [0, *range(2, x.rank), 1])
    return w.node("Flatten", [x], rank=2, axis=1)


def _reshape(w: _Writer, layer: Any, inputs: list[_Value]) -> _Value:
    shape = [0, *layer.target_shape]  # 0: as it is
    return w.node("Reshape", [inputs[0], w.const(shape, "int64")], rank=len(shape))


def _permute(w: _Writer, layer: Any, inputs: list[_Value]) -> _Value:
    return w.transposed(inputs[0], [0, *layer.dims])


def _repeat(w: _Writer, layer: Any, inputs: list[_Value]) -> _Value:
    row = w.node("Unsqueeze", [inputs[0], w.const([1], "int64")], rank=3)
    return w.node("Tile", [row, w.const([1, layer.n, 1], "int64")])


def _rescaling(w: _Writer, layer: Any, inputs: list[_Value]) -> _Value:
    return w.with_const("Add", w.with_const("Mul", inputs[0], layer.scale), layer.offset)


def _same(w: _Writer, layer: Any, inputs: list[_Value]) -> _Value:
    return inputs[0]


# ---- several inputs ----


def _elementwise(op: str) -> _Emit:
    def emit(w: _Writer, layer: Any, inputs: list[_Value]) -> _Value:
        if len({v.rank for v in inputs}) > 1:
            raise _no_form(layer, "inputs of different ranks")
        return w.node(op, inputs)

    return emit


def _concatenate(w: _Writer, layer: Any, inputs: list[_Value]) -> _Value:
    return w.node("Concat", inputs, axis=layer.axis)


_FORMS: dict[str, _Emit] = {
    "Activation": lambda w, layer, inputs: _activation(w, layer, layer.activation, inputs[0]),
    "ActivityRegularization": _same,
    "Add": _elementwise("Sum"),
    "Average": _elementwise("Mean"),
    "AveragePooling1D": _pool("AveragePool"),
    "AveragePooling2D": _pool("AveragePool"),
    "BatchNormalization": _batch_norm,
    "Concatenate": _concatenate,
    "Conv1D": _conv,
    "Conv2D": _conv,
    "Dense": _dense,
    "DepthwiseConv2D": _depthwise_conv,
    "Dropout": _same,
    "ELU": lambda w, layer, inputs: w.node("Elu", inputs, alpha=layer.alpha),
    "Embedding": _embedding,
    "Flatten": _flatten,
    "GaussianNoise": _same,
    "GlobalAveragePooling1D": _global_pool("ReduceMean"),
    "GlobalAveragePooling2D": _global_pool("ReduceMean"),
    "GlobalMaxPooling1D": _global_pool("ReduceMax"),
    "GlobalMaxPooling2D": _global_pool("ReduceMax"),
    "Identity": _same,
    "LayerNormalization": _layer_norm,
    "LeakyReLU": lambda w, layer, inputs: w.node("LeakyRelu", inputs, alpha=layer.negative_slope),
    "MaxPooling1D": _pool("MaxPool"),
    "MaxPooling2D": _pool("MaxPool"),
    "Maximum": _elementwise("Max"),
    "Minimum": _elementwise("Min"),
    "Multiply": _elementwise("Mul"),
    "PReLU": _prelu,
    "Permute": _permute,
    "RandomFlip": _same,
    "ReLU": _relu,
    "RepeatVector": _repeat,
    "Rescaling": _rescaling,
    "Reshape": _reshape,
    "Softmax": _softmax,
    "SpatialDropout2D": _same,
    "Subtract": _elementwise("Sub"),
    "ZeroPadding2D": _zero_padding,
}
