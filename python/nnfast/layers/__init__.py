"""Layers, by Keras's names."""

from typing import Any

from nnfast.layers.activation import ELU, Activation, LeakyReLU, PReLU, ReLU, Softmax
from nnfast.layers.attention import Attention, MultiHeadAttention
from nnfast.layers.convolution import Conv1D, Conv2D, Conv2DTranspose, DepthwiseConv2D, SeparableConv2D
from nnfast.layers.dense import Dense
from nnfast.layers.embedding import Embedding, Masking
from nnfast.layers.identity import ActivityRegularization, Identity
from nnfast.layers.input_layer import Input, InputLayer
from nnfast.layers.input_spec import InputSpec
from nnfast.layers.lambda_layer import Lambda
from nnfast.layers.layer import Layer
from nnfast.layers.maxout import Maxout
from nnfast.layers.merging import (
    Add,
    Average,
    Concatenate,
    Dot,
    Maximum,
    Minimum,
    Multiply,
    Subtract,
    add,
    average,
    concatenate,
    dot,
    maximum,
    minimum,
    multiply,
    subtract,
)
from nnfast.layers.noise import Dropout, GaussianNoise, RReLU, SpatialDropout2D
from nnfast.layers.normalization import BatchNormalization, LayerNormalization
from nnfast.layers.pooling import (
    AveragePooling1D,
    AveragePooling2D,
    AvgPool1D,
    AvgPool2D,
    GlobalAveragePooling1D,
    GlobalAveragePooling2D,
    GlobalAvgPool1D,
    GlobalAvgPool2D,
    GlobalMaxPool1D,
    GlobalMaxPool2D,
    GlobalMaxPooling1D,
    GlobalMaxPooling2D,
    MaxPool1D,
    MaxPool2D,
    MaxPooling1D,
    MaxPooling2D,
)
from nnfast.layers.preprocessing import Normalization, RandomFlip, Rescaling
from nnfast.layers.recurrent import GRU, LSTM, SimpleRNN
from nnfast.layers.reshaping import Cropping2D, Flatten, Permute, RepeatVector, Reshape, UpSampling2D, ZeroPadding2D
from nnfast.layers.wrappers import Bidirectional, TimeDistributed
from nnfast.saving.serialization import from_identifier, publish, published
from nnfast.saving.serialization import serialize as serialize

Convolution1D, Convolution2D = Conv1D, Conv2D

__all__ = [
    "ELU",
    "GRU",
    "LSTM",
    "Activation",
    "ActivityRegularization",
    "Add",
    "Attention",
    "Average",
    "AveragePooling1D",
    "AveragePooling2D",
    "AvgPool1D",
    "AvgPool2D",
    "BatchNormalization",
    "Bidirectional",
    "Concatenate",
    "Conv1D",
    "Conv2D",
    "Conv2DTranspose",
    "Convolution1D",
    "Convolution2D",
    "Cropping2D",
    "Dense",
    "DepthwiseConv2D",
    "Dot",
    "Dropout",
    "Embedding",
    "Flatten",
    "GaussianNoise",
    "GlobalAveragePooling1D",
    "GlobalAveragePooling2D",
    "GlobalAvgPool1D",
    "GlobalAvgPool2D",
    "GlobalMaxPool1D",
    "GlobalMaxPool2D",
    "GlobalMaxPooling1D",
    "GlobalMaxPooling2D",
    "Identity",
    "Input",
    "InputLayer",
    "InputSpec",
    "Lambda",
    "Layer",
    "LayerNormalization",
    "LeakyReLU",
    "Masking",
    "MaxPool1D",
    "MaxPool2D",
    "MaxPooling1D",
    "MaxPooling2D",
    "Maximum",
    "Maxout",
    "Minimum",
    "MultiHeadAttention",
    "Multiply",
    "Normalization",
    "PReLU",
    "Permute",
    "RReLU",
    "RandomFlip",
    "ReLU",
    "RepeatVector",
    "Rescaling",
    "Reshape",
    "SeparableConv2D",
    "SimpleRNN",
    "Softmax",
    "SpatialDropout2D",
    "Subtract",
    "TimeDistributed",
    "UpSampling2D",
    "ZeroPadding2D",
    "add",
    "average",
    "concatenate",
    "deserialize",
    "dot",
    "maximum",
    "minimum",
    "multiply",
    "serialize",
    "subtract",
]

CLASSES: dict[str, Any] = {
    name: value for name, value in globals().items() if isinstance(value, type) and issubclass(value, Layer)
}
publish("layers", CLASSES)


def deserialize(config: Any, custom_objects: dict[str, Any] | None = None) -> Layer:
    """A layer from what `serialize` gave, without its weights.

    Args:
        config: `{"class_name": ..., "config": ...}`.
        custom_objects: classes of your own by name; they come first.

    >>> import nnfast
    >>> nnfast.layers.deserialize(nnfast.layers.serialize(nnfast.layers.Dense(2, name="a"))).name
    'a'
    """
    return from_identifier("layer", config, {**CLASSES, **published("models")}, custom_objects)  # a model is a layer


def __getattr__(name: str) -> Any:
    import difflib  # only mistakes need it

    close = difflib.get_close_matches(name.lower(), {n.lower(): n for n in CLASSES}, 1, 0.6)
    hint = f". Did you mean {next(n for n in CLASSES if n.lower() == close[0])!r}?" if close else ""
    raise AttributeError(f"[layers] there is no such layer. Received: layers.{name}{hint}")
