"""How layers are written in ONNX, all but those of sequences (`onnx_sequences`).

Images stay channels last outside; around each convolution and pooling they are transposed, which runtimes fuse away.
"""

import math
from collections.abc import Callable
from functools import reduce
from typing import Any

import numpy as np

from nnfast import activations
from nnfast.device import host
from nnfast.models.onnx_writer import LAST, Form, Value, Writer
from nnfast.ops import _window

# ---- activations ----


def activation(w: Writer, layer: Any, function: Any, x: Value) -> Value:
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
    raise w.no_form(layer, f"activation {getattr(function, '__name__', function)!r}")


def _relu(w: Writer, layer: Any, inputs: list[Value]) -> Value:
    (x,) = inputs
    if layer.threshold:
        below = w.with_const("Mul", w.with_const("Sub", x, layer.threshold), layer.negative_slope)
        y = w.where(w.compare("GreaterOrEqual", x, layer.threshold), x, below)
    else:
        y = w.node("LeakyRelu", [x], alpha=layer.negative_slope) if layer.negative_slope else w.node("Relu", [x])
    return y if layer.max_value is None else w.with_const("Min", y, layer.max_value)


def _prelu(w: Writer, layer: Any, inputs: list[Value]) -> Value:
    return w.node("PRelu", [inputs[0], w.const(host(layer.alpha.data))])


def _softmax(w: Writer, layer: Any, inputs: list[Value]) -> Value:
    if not isinstance(layer.axis, int):
        raise w.no_form(layer, f"axis={layer.axis}")
    return w.node("Softmax", inputs, axis=layer.axis)


# ---- weights ----


def _dense(w: Writer, layer: Any, inputs: list[Value]) -> Value:
    y = w.node("MatMul", [inputs[0], w.const(host(layer.kernel.data))])
    if layer.bias is not None:
        y = w.node("Add", [y, w.const(host(layer.bias.data))])
    return activation(w, layer, layer.activation, y)


def _embedding(w: Writer, layer: Any, inputs: list[Value]) -> Value:
    (x,) = inputs
    if x.dtype.kind == "f":
        x = w.cast(x, "int64")
    table = host(layer.embeddings.data)
    y = w.node("Gather", [w.const(table), x], rank=x.rank + 1, dtype=table.dtype, axis=0)
    return y.masked(w.node("Not", [w.compare("Equal", x, 0)])) if layer.mask_zero else y


def _masking(w: Writer, layer: Any, inputs: list[Value]) -> Value:
    (x,) = inputs
    other = w.cast(w.node("Not", [w.compare("Equal", x, layer.mask_value)]), "int64")
    counts = w.cast(w.node("ReduceMax", [other], axes=[-1], keepdims=1), bool)
    return w.where(counts, x, 0.0).masked(w.squeezed(counts, -1))


def _batch_norm(w: Writer, layer: Any, inputs: list[Value]) -> Value:
    """(x - mean) * gamma / sqrt(variance + epsilon) + beta, as one product and one sum."""
    (x,) = inputs
    axis = (layer.axis[0] if isinstance(layer.axis, (list, tuple)) else layer.axis) % x.rank
    mean, variance = (host(v.data).astype("float64") for v in (layer.moving_mean, layer.moving_variance))
    scale = 1.0 / np.sqrt(variance + layer.epsilon)
    if layer.gamma is not None:
        scale = scale * host(layer.gamma.data)
    offset = -mean * scale + (0.0 if layer.beta is None else host(layer.beta.data))
    shape = [-1] + [1] * (x.rank - 1 - axis)
    return w.with_const("Add", w.with_const("Mul", x, scale.reshape(shape)), offset.reshape(shape))


def _layer_norm(w: Writer, layer: Any, inputs: list[Value]) -> Value:
    (x,) = inputs
    axes = [layer.axis] if isinstance(layer.axis, int) else list(layer.axis)
    if [a % x.rank for a in axes] != [x.rank - 1] or layer.gamma is None:
        raise w.no_form(layer, "only the last axis, with scale")
    weights = [w.const(host(layer.gamma.data)), *([] if layer.beta is None else [w.const(host(layer.beta.data))])]
    return w.node("LayerNormalization", [x, *weights], axis=-1, epsilon=layer.epsilon)


# ---- windows ----


def _channels_first(w: Writer, layer: Any, x: Value, inside: Callable[[Value], Value]) -> Value:
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


def _conv_node(w: Writer, layer: Any, x: Value, kernel: np.ndarray, bias: Any, group: int) -> Value:
    """kernel (out, in / group, *size)."""
    options: dict[str, Any] = {
        "strides": _tuple(layer.strides),
        "dilations": _tuple(layer.dilation_rate),
        "group": group,
    }
    weights = [w.const(kernel), *([] if bias is None else [w.const(host(bias.data))])]
    return w.node("Conv", [x, *weights], kernel_shape=list(kernel.shape[2:]), **options, **_pads(layer))


def _conv(w: Writer, layer: Any, inputs: list[Value]) -> Value:
    kernel = np.moveaxis(host(layer.kernel.data), (-1, -2), (0, 1))
    y = _channels_first(
        w, layer, inputs[0], lambda x: _conv_node(w, layer, x, kernel, layer.bias, getattr(layer, "groups", 1))
    )
    return activation(w, layer, layer.activation, y)


def _depthwise(kernel: np.ndarray) -> np.ndarray:
    """(rows, columns, C, m) as ONNX's (C * m, 1, rows, columns)."""
    rows, columns, channels, m = kernel.shape
    return kernel.transpose(2, 3, 0, 1).reshape(channels * m, 1, rows, columns)


def _depthwise_conv(w: Writer, layer: Any, inputs: list[Value]) -> Value:
    kernel = host(layer.kernel.data)
    y = _channels_first(
        w, layer, inputs[0], lambda x: _conv_node(w, layer, x, _depthwise(kernel), layer.bias, kernel.shape[2])
    )
    return activation(w, layer, layer.activation, y)


def _separable_conv(w: Writer, layer: Any, inputs: list[Value]) -> Value:
    depthwise, pointwise = host(layer.depthwise_kernel.data), host(layer.pointwise_kernel.data)

    def inside(x: Value) -> Value:
        y = _conv_node(w, layer, x, _depthwise(depthwise), None, depthwise.shape[2])
        weights = [
            w.const(pointwise.transpose(3, 2, 0, 1)),
            *([] if layer.bias is None else [w.const(host(layer.bias.data))]),
        ]
        return w.node("Conv", [y, *weights], kernel_shape=[1, 1])

    return activation(w, layer, layer.activation, _channels_first(w, layer, inputs[0], inside))


def _conv_transpose(w: Writer, layer: Any, inputs: list[Value]) -> Value:
    extra = layer.output_padding or (None, None)
    axes = zip(layer.kernel_size, layer.strides, layer.dilation_rate, extra)
    cuts = [_window.transposed(None, k, s, layer.padding, d, e)[1] for k, s, d, e in axes]
    weights = [w.const(host(layer.kernel.data).transpose(3, 2, 0, 1))]
    if layer.bias is not None:
        weights.append(w.const(host(layer.bias.data)))
    y = _channels_first(
        w,
        layer,
        inputs[0],
        lambda x: w.node(
            "ConvTranspose",
            [x, *weights],
            kernel_shape=list(layer.kernel_size),
            strides=list(layer.strides),
            dilations=list(layer.dilation_rate),
            pads=[*(before for before, _ in cuts), *(max(after, 0) for _, after in cuts)],
            output_padding=[max(-after, 0) for _, after in cuts],
        ),
    )
    return activation(w, layer, layer.activation, y)


def _pool(op: str) -> Form:
    def emit(w: Writer, layer: Any, inputs: list[Value]) -> Value:
        options = {"kernel_shape": _tuple(layer.pool_size), "strides": _tuple(layer.strides), **_pads(layer)}
        return _channels_first(w, layer, inputs[0], lambda x: w.node(op, [x], **options))

    return emit


def _global_pool(op: str) -> Form:
    def emit(w: Writer, layer: Any, inputs: list[Value]) -> Value:
        axes = list(layer._axes)
        rank = inputs[0].rank if layer.keepdims else inputs[0].rank - len(axes)
        return w.node(op, inputs, rank=rank, axes=axes, keepdims=int(layer.keepdims))

    return emit


def _mean_of_steps(w: Writer, layer: Any, inputs: list[Value]) -> Value:
    (x,) = inputs
    if x.mask is None:
        return _global_pool("ReduceMean")(w, layer, inputs)
    seen, axis = w.unsqueezed(x.mask, layer._channels_axis), w.const(list(layer._axes), "int64")
    sums = (
        w.node("ReduceSum", [v, axis], x.rank if layer.keepdims else x.rank - 1, keepdims=int(layer.keepdims))
        for v in (w.where(seen, x, 0.0), w.cast(seen, x.dtype))
    )
    return w.node("Div", list(sums))


def _upsampling(w: Writer, layer: Any, inputs: list[Value]) -> Value:
    scales = [1, *layer.size, 1] if layer.data_format == "channels_last" else [1, 1, *layer.size]
    how: dict[str, Any] = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    if layer.interpolation == "bilinear":
        how = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
    if layer.data_format == "channels_first" or layer.interpolation == "nearest":
        return w.node("Resize", [inputs[0], "", w.const(scales, "float32")], **how)
    scales = [1, 1, *layer.size]
    return _channels_first(
        w, layer, inputs[0], lambda x: w.node("Resize", [x, "", w.const(scales, "float32")], **how)
    )  # fmt: skip


def _zero_padding(w: Writer, layer: Any, inputs: list[Value]) -> Value:
    (top, bottom), (left, right) = layer.padding
    first = [0, 0, top, left] if layer.data_format == "channels_first" else [0, top, left, 0]
    last = [0, 0, bottom, right] if layer.data_format == "channels_first" else [0, bottom, right, 0]
    return w.node("Pad", [inputs[0], w.const([*first, *last], "int64")])


def _cropping(w: Writer, layer: Any, inputs: list[Value]) -> Value:
    starts, ends = zip(*layer.cropping)
    return w.sliced(inputs[0], list(layer._axes), starts, [-n or LAST for n in ends])


# ---- shapes ----


def _flatten(w: Writer, layer: Any, inputs: list[Value]) -> Value:
    (x,) = inputs
    if layer.data_format == "channels_first" and x.rank > 2:
        x = w.transposed(x, [0, *range(2, x.rank), 1])
    return w.node("Flatten", [x], rank=2, axis=1)


def _reshape(w: Writer, layer: Any, inputs: list[Value]) -> Value:
    shape = [0, *layer.target_shape]  # 0: as it is
    return w.node("Reshape", [inputs[0], w.const(shape, "int64")], rank=len(shape))


def _permute(w: Writer, layer: Any, inputs: list[Value]) -> Value:
    return w.transposed(inputs[0], [0, *layer.dims])


def _repeat(w: Writer, layer: Any, inputs: list[Value]) -> Value:
    row = w.node("Unsqueeze", [inputs[0], w.const([1], "int64")], rank=3)
    return w.node("Tile", [row, w.const([1, layer.n, 1], "int64")])


def _rescaling(w: Writer, layer: Any, inputs: list[Value]) -> Value:
    return w.with_const("Add", w.with_const("Mul", inputs[0], layer.scale), layer.offset)


def _normalization(w: Writer, layer: Any, inputs: list[Value]) -> Value:
    mean, variance = (host(v.data).astype("float64") for v in layer._statistics(inputs[0].rank))
    spread = np.maximum(np.sqrt(variance), 1e-7)
    if layer.invert:
        return w.with_const("Add", w.with_const("Mul", inputs[0], spread), mean)
    return w.with_const("Div", w.with_const("Sub", inputs[0], mean), spread)


def _same(w: Writer, layer: Any, inputs: list[Value]) -> Value:
    return inputs[0]


# ---- several inputs ----


def _either(w: Writer, inputs: list[Value]) -> Value | None:
    """A step counts that counts in one of the inputs; all count if an input has no mask."""
    masks = [v.mask for v in inputs if v.mask is not None]
    return reduce(lambda a, b: w.node("Or", [a, b]), masks) if len(masks) == len(inputs) else None


def _elementwise(op: str) -> Form:
    def emit(w: Writer, layer: Any, inputs: list[Value]) -> Value:
        if len({v.rank for v in inputs}) > 1:
            raise w.no_form(layer, "inputs of different ranks")
        return w.node(op, inputs).masked(_either(w, inputs))

    return emit


def _concatenate(w: Writer, layer: Any, inputs: list[Value]) -> Value:
    y = w.node("Concat", inputs, axis=layer.axis)
    axis = layer.axis % y.rank
    if not any(v.mask for v in inputs) or axis == y.rank - 1 > 1:
        return y.masked(_either(w, inputs))
    if axis != 1 or not all(v.mask for v in inputs):
        raise w.no_form(layer, "with masked steps, but along time, all inputs masked, or along features")
    return y.masked(w.node("Concat", [v.mask for v in inputs], axis=1))


def _dot(w: Writer, layer: Any, inputs: list[Value]) -> Value:
    pair = layer.axes if isinstance(layer.axes, (list, tuple)) else [layer.axes] * 2
    axes = [axis % x.rank for axis, x in zip(pair, inputs)]
    if layer.normalize:
        inputs = [_unit(w, x, axis) for x, axis in zip(inputs, axes)]
    letters = iter("defghijklmnopqrstuvwxyz")
    names = [["b" if i == 0 else "a" if i == axis else next(letters) for i in range(x.rank)] for x, axis in
             zip(inputs, axes)]  # fmt: skip
    kept = [n for name in names for n in name if n not in "ab"]
    equation = f"{','.join(map(''.join, names))}->b{''.join(kept)}"
    y = w.node("Einsum", inputs, 1 + len(kept), equation=equation)
    return y if kept else w.unsqueezed(y, 1)


def _unit(w: Writer, x: Value, axis: int) -> Value:
    squares = w.node("ReduceSumSquare", [x], axes=[axis], keepdims=1)
    return w.node("Div", [x, w.node("Sqrt", [w.with_const("Max", squares, 1e-12)])])


FORMS: dict[str, Form] = {
    "Activation": lambda w, layer, inputs: activation(w, layer, layer.activation, inputs[0]),
    "ActivityRegularization": _same,
    "Add": _elementwise("Sum"),
    "Average": _elementwise("Mean"),
    "AveragePooling1D": _pool("AveragePool"),
    "AveragePooling2D": _pool("AveragePool"),
    "BatchNormalization": _batch_norm,
    "Concatenate": _concatenate,
    "Conv1D": _conv,
    "Conv2D": _conv,
    "Conv2DTranspose": _conv_transpose,
    "Cropping2D": _cropping,
    "Dense": _dense,
    "DepthwiseConv2D": _depthwise_conv,
    "Dot": _dot,
    "Dropout": _same,
    "ELU": lambda w, layer, inputs: w.node("Elu", inputs, alpha=layer.alpha),
    "Embedding": _embedding,
    "Flatten": _flatten,
    "GaussianNoise": _same,
    "GlobalAveragePooling1D": _mean_of_steps,
    "GlobalAveragePooling2D": _global_pool("ReduceMean"),
    "GlobalMaxPooling1D": _global_pool("ReduceMax"),
    "GlobalMaxPooling2D": _global_pool("ReduceMax"),
    "Identity": _same,
    "LayerNormalization": _layer_norm,
    "LeakyReLU": lambda w, layer, inputs: w.node("LeakyRelu", inputs, alpha=layer.negative_slope),
    "Masking": _masking,
    "MaxPooling1D": _pool("MaxPool"),
    "MaxPooling2D": _pool("MaxPool"),
    "Maximum": _elementwise("Max"),
    "Minimum": _elementwise("Min"),
    "Multiply": _elementwise("Mul"),
    "Normalization": _normalization,
    "PReLU": _prelu,
    "Permute": _permute,
    "RandomFlip": _same,
    "ReLU": _relu,
    "RepeatVector": _repeat,
    "Rescaling": _rescaling,
    "Reshape": _reshape,
    "SeparableConv2D": _separable_conv,
    "Softmax": _softmax,
    "SpatialDropout2D": _same,
    "Subtract": _elementwise("Sub"),
    "UpSampling2D": _upsampling,
    "ZeroPadding2D": _zero_padding,
}
MASKED = {"BatchNormalization", "GlobalAveragePooling1D"}  # those that take masks and may get one here
OPERATIONS = {  # arithmetic on symbolic tensors
    **{n: n for n in ("Add", "Exp", "Log", "Sqrt", "Tanh", "Relu", "Sigmoid", "Softplus", "Softsign", "Erf")},
    "Subtract": "Sub",
    "Multiply": "Mul",
    "Divide": "Div",
    "TrueDivide": "Div",
    "Power": "Pow",
    "Matmul": "MatMul",
    "Maximum": "Max",
    "Minimum": "Min",
    "Negative": "Neg",
    "Absolute": "Abs",
}
