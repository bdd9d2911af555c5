"""All layers: Keras's numbers, shapes, gradients, configs; and that they are the same on every device."""

import json
from pathlib import Path

import numpy as np
import pytest
from arrays import near, x32
from compare import gradcheck
from layer_cases import CASES, IMAGE, STEPS, some, wave, weights

import nnfast
from nnfast import activations, initializers, layers, reference

NUMBERS = json.loads((Path(__file__).parent / "data" / "layer_numbers.json").read_text())


@pytest.mark.parametrize("case", CASES, ids=str)
def test_numbers_of_keras(case, device):
    name, shape, options = case
    layer = getattr(layers, name)(**options)
    layer.build((None, *shape))
    layer.set_weights(weights([(w.name, w.shape) for w in layer.weights]))
    y, wanted = layer(wave((2, *shape))), NUMBERS[str(case)]
    assert list(y.shape) == wanted["shape"]
    np.testing.assert_allclose(some(y.numpy()), wanted["numbers"], rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("case", [c for c in CASES if c[1] in (IMAGE, STEPS)], ids=str)
def test_shapes_are_known_beforehand(case):
    """compute_output_shape agrees with call for odd and even sizes, channels first and last, and unknown sizes."""
    name, shape, options = case
    sizes = [(5, 6), (6, 7), (7, 5), (8, 8)] if shape == IMAGE else [(n,) for n in range(5, 10)]
    for size in sizes:
        layer = getattr(layers, name)(**options)
        x = np.ones((3, *size, shape[-1]), "float32")
        assert layer(x).shape == (3, *layer.compute_output_shape((None, *size, shape[-1]))[1:])
        if not hasattr(layer, "data_format"):
            continue
        other = getattr(layers, name)(**options, data_format="channels_first")
        y = other(np.moveaxis(x, -1, 1))
        assert y.shape == (3, *other.compute_output_shape((None, shape[-1], *size))[1:])
        unknown = layer.compute_output_shape((None, *(None for _ in size), shape[-1]))
        assert len(unknown) == y.ndim and unknown[-1] == (y.shape[1])


@pytest.mark.parametrize("case", CASES, ids=str)
def test_gradients(case):
    """Of the input and of every weight that learns, in float64."""
    name, shape, options = case
    if shape in (IMAGE, STEPS):
        shape = (5,) * (len(shape) - 1) + shape[-1:]
    layer = getattr(layers, name)(**options, dtype="float64")
    layer.build((None, *shape))
    layer.set_weights(weights([(w.name, w.shape) for w in layer.weights]))
    learning = [(key, v) for key, v in vars(layer).items() if any(v is w for w in layer.trainable_weights)]

    def f(x, *values):
        for (key, _), value in zip(learning, values):
            setattr(layer, key, value)
        return layer(x) * 1.0

    gradcheck(f, wave((1, *shape), 0.3), *(v.numpy() for _, v in learning))


MADE = [
    layers.Dense(3, "tanh", False, "he_normal", kernel_regularizer="l2", kernel_constraint="non_neg", name="d"),
    layers.Conv2D(4, (3, 2), 2, "same", "channels_first", groups=2, activation="relu", bias_regularizer="l1"),
    layers.MaxPooling2D(3, 2, "same", "channels_first"),
    layers.AveragePooling2D(3),
    layers.GlobalMaxPooling2D("channels_first", True),
    layers.GlobalAveragePooling2D(keepdims=True),
    layers.BatchNormalization(1, 0.9, 1e-4, False, gamma_regularizer="l2", moving_mean_initializer="ones"),
    layers.LayerNormalization([1, 2], 1e-4, gamma_constraint="non_neg"),
    layers.Conv1D(4, 3, 2, "causal", dilation_rate=1, activation="relu", bias_constraint="non_neg"),
    layers.DepthwiseConv2D(3, (2, 2), "same", 2, depthwise_regularizer="l2"),
    layers.SeparableConv2D(4, 3, depth_multiplier=2, pointwise_constraint="non_neg"),
    layers.Conv2DTranspose(4, 3, 2, "same", (1, 0), "channels_first", use_bias=False),
    layers.MaxPooling1D(3, 2, "same", "channels_first"),
    layers.AveragePooling1D(3),
    layers.GlobalMaxPooling1D("channels_first", True),
    layers.GlobalAveragePooling1D(),
    layers.ZeroPadding2D(((1, 2), (0, 3))),
    layers.Cropping2D((1, 2), "channels_first"),
    layers.RepeatVector(3),
    layers.UpSampling2D((1, 2), "channels_first", "bilinear"),
    layers.SpatialDropout2D(0.3, "channels_first", 4),
    layers.GaussianNoise(0.3, 4),
    layers.RReLU(0.1, 0.2, 3),
    layers.Maxout(3, 4, False, "he_normal"),
    layers.ActivityRegularization(0.1, 0.2),
    layers.Normalization(None, 1.0, 2.0, True),
    layers.RandomFlip("vertical", 3, "channels_first"),
    layers.Embedding(5, 3, mask_zero=True),
    layers.Masking(1.0),
    layers.SimpleRNN(3, return_sequences=True),
    layers.LSTM(3, dropout=0.1),
    layers.GRU(3, reset_after=False),
    layers.Bidirectional(layers.LSTM(3), "sum"),
    layers.TimeDistributed(layers.Dense(3)),
    layers.Attention(True, dropout=0.1),
    layers.MultiHeadAttention(2, 3, dropout=0.1),
    layers.Activation("gelu"),
    layers.ReLU(6.0, 0.1, 0.2),
    layers.LeakyReLU(0.1),
    layers.PReLU("ones", "l1", "non_neg", [1]),
    layers.ELU(0.3),
    layers.Softmax([1, 2]),
    layers.Dropout(0.3, (None, 1), 4, dtype="float64"),
    layers.Flatten("channels_first"),
    layers.Reshape((-1, 2), input_shape=(4,)),
    layers.Permute((2, 1)),
    layers.Rescaling(0.1, 2.0),
    layers.Identity(),
    layers.Lambda(activations.relu, arguments={"max_value": 3.0}),
    layers.Add(),
    layers.Subtract(),
    layers.Multiply(),
    layers.Average(),
    layers.Maximum(),
    layers.Minimum(),
    layers.Concatenate(1),
    layers.Dot((1, 2), True),
    layers.InputLayer((3,), name="in"),
]


@pytest.mark.parametrize("layer", MADE, ids=lambda m: type(m).__name__)
def test_configs_come_back(layer):
    config = layers.serialize(layer)
    again = layers.deserialize(json.loads(json.dumps(config)))
    assert type(again) is type(layer) and json.dumps(layers.serialize(again)) == json.dumps(config)


def test_every_layer_is_in_the_table_above():
    assert {type(m) for m in MADE} == set(layers.CLASSES.values()) - {layers.Layer}


def test_unknown_layers():
    with pytest.raises(ValueError, match="Did you mean 'Dense'"):
        layers.deserialize({"class_name": "Dnse", "config": {}})

    class Mine(layers.Layer):
        pass

    assert type(layers.deserialize({"class_name": "Mine", "config": {}}, custom_objects={"Mine": Mine})) is Mine


def test_reference_agrees_with_the_module_that_computes():
    """A network of every kind of layer gives the same on every device, within float32."""
    stack = [
        layers.Rescaling(0.5),
        layers.Conv2D(4, 3, padding="same", activation="relu", kernel_initializer=initializers.HeNormal(seed=1)),
        layers.MaxPooling2D(),
        layers.PReLU(shared_axes=[1, 2]),
        layers.AveragePooling2D(2),
        layers.Flatten(),
        layers.Dense(5, "softmax", kernel_initializer=initializers.GlorotUniform(seed=2)),
    ]
    results = []
    for name in ("cpu", "reference"):
        nnfast.set_device(name)
        y = x32(3, 8, 8, 2)
        for layer in stack:
            y = layer(y)
        results.append(y.numpy())
    near(results[0], results[1])
    assert reference.gemm is not None
