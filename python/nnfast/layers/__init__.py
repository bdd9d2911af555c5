"""Layers, by Keras's names."""

from typing import Any

from nnfast.layers.activation import ELU, Activation, LeakyReLU, PReLU, ReLU, Softmax
from nnfast.layers.attention import Attention, MultiHeadAttention
from nnfast.layers.convolution import Conv2D
from nnfast.layers.dense import Dense
from nnfast.layers.dropout import Dropout
from nnfast.layers.embedding import Embedding, Masking
from nnfast.layers.input_layer import Input, InputLayer
from nnfast.layers.layer import Layer
from nnfast.layers.normalization import BatchNormalization, LayerNormalization
from nnfast.layers.pooling import (
    AveragePooling2D,
    AvgPool2D,
    GlobalAveragePooling2D,
    GlobalAvgPool2D,
    GlobalMaxPool2D,
    GlobalMaxPooling2D,
    MaxPool2D,
    MaxPooling2D,
)
from nnfast.layers.recurrent import GRU, LSTM, SimpleRNN
from nnfast.layers.rescaling import Identity, Rescaling
from nnfast.layers.reshaping import Flatten, Permute, Reshape
from nnfast.layers.wrappers import Bidirectional, TimeDistributed
from nnfast.saving.serialization import from_identifier, publish
from nnfast.saving.serialization import serialize as serialize

Convolution2D = Conv2D

__all__ = [
    "ELU",
    "GRU",
    "LSTM",
    "Activation",
    "Attention",
    "AveragePooling2D",
    "AvgPool2D",
    "BatchNormalization",
    "Bidirectional",
    "Conv2D",
    "Convolution2D",
    "Dense",
    "Dropout",
    "Embedding",
    "Flatten",
    "GlobalAveragePooling2D",
    "GlobalAvgPool2D",
    "GlobalMaxPool2D",
    "GlobalMaxPooling2D",
    "Identity",
    "Input",
    "InputLayer",
    "Layer",
    "LayerNormalization",
    "LeakyReLU",
    "Masking",
    "MaxPool2D",
    "MaxPooling2D",
    "MultiHeadAttention",
    "PReLU",
    "Permute",
    "ReLU",
    "Rescaling",
    "Reshape",
    "SimpleRNN",
    "Softmax",
    "TimeDistributed",
    "deserialize",
    "serialize",
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
    return from_identifier("layer", config, CLASSES, custom_objects)
