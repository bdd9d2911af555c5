"""All layers: their configs, and that they are the same on every device."""

import json

import pytest
from arrays import near, x32

import nnfast
from nnfast import initializers, layers, reference

MADE = [
    layers.Dense(3, "tanh", False, "he_normal", kernel_regularizer="l2", kernel_constraint="non_neg", name="d"),
    layers.Conv2D(4, (3, 2), 2, "same", "channels_first", groups=2, activation="relu", bias_regularizer="l1"),
    layers.MaxPooling2D(3, 2, "same", "channels_first"),
    layers.AveragePooling2D(3),
    layers.GlobalMaxPooling2D("channels_first", True),
    layers.GlobalAveragePooling2D(keepdims=True),
    layers.BatchNormalization(1, 0.9, 1e-4, False, gamma_regularizer="l2", moving_mean_initializer="ones"),
    layers.LayerNormalization([1, 2], 1e-4, gamma_constraint="non_neg"),
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
