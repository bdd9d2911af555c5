"""Layers, initializers, regularizers and constraints against Keras itself, where it is installed with a backend."""

import json
import os

import numpy as np
import pytest

import nnfast
from nnfast import ops

os.environ.setdefault("KERAS_BACKEND", "torch")
pytest.importorskip("torch")
keras = pytest.importorskip("keras")
pytestmark = [pytest.mark.peers, pytest.mark.filterwarnings("ignore")]

FUNCTIONS = sorted(nnfast.activations._TABLE)
IMAGE = (9, 8, 4)
CASES = [
    ("Dense", (5,), {"units": 3, "activation": "softmax", "activity_regularizer": "l2", "kernel_regularizer": "l1"}),
    ("Dense", (2, 5), {"units": 3, "activation": "relu", "bias_initializer": "ones", "bias_regularizer": "l2"}),
    ("Conv2D", IMAGE, {"filters": 6, "kernel_size": (3, 2), "strides": 2, "padding": "same", "groups": 2}),
    (
        "Conv2D",
        IMAGE,
        {"filters": 6, "kernel_size": 3, "dilation_rate": (2, 1), "padding": "same", "activation": "elu"},
    ),
    ("Conv2D", IMAGE, {"filters": 6, "kernel_size": 3, "dilation_rate": (2, 1), "activity_regularizer": "l1"}),
    ("MaxPooling2D", IMAGE, {"pool_size": (3, 2), "strides": 2, "padding": "same"}),
    ("AveragePooling2D", IMAGE, {"pool_size": (3, 2), "strides": 2, "padding": "same"}),
    ("AveragePooling2D", IMAGE, {"pool_size": (3, 2)}),
    ("GlobalMaxPooling2D", IMAGE, {"keepdims": True}),
    ("GlobalAveragePooling2D", IMAGE, {}),
    ("BatchNormalization", (5,), {"epsilon": 0.1, "gamma_regularizer": "l2", "moving_mean_initializer": "ones"}),
    ("BatchNormalization", IMAGE, {"axis": 1, "scale": False}),
    ("LayerNormalization", IMAGE, {"gamma_initializer": "he_normal"}),
    ("LayerNormalization", IMAGE, {"axis": [1, 3], "epsilon": 0.1}),
    ("ReLU", (5,), {"max_value": 1.0, "negative_slope": 0.1, "threshold": 0.2}),
    ("LeakyReLU", (5,), {}),
    ("PReLU", (4, 3, 2), {"shared_axes": [1], "alpha_initializer": "ones"}),
    ("ELU", (5,), {"alpha": 0.3}),
    ("Softmax", (5, 3), {"axis": 1}),
    ("Softmax", (5, 3), {"axis": [1, 2]}),
    ("Flatten", (3, 4, 5), {}),
    ("Reshape", (3, 4), {"target_shape": (2, -1)}),
    ("Permute", (3, 4), {"dims": (2, 1)}),
    ("Rescaling", (3,), {"scale": 2.0, "offset": 1.0}),
    *(("Activation", (5,), {"activation": name}) for name in FUNCTIONS),
]


@pytest.mark.parametrize("name, shape, options", CASES, ids=str)
def test_layers(name, shape, options, device, rng):
    """The same weights give the same outputs, losses, shapes and names; a config of Keras makes the same layer."""
    theirs = getattr(keras.layers, name)(**options)
    x = rng.standard_normal((6, *shape)).astype("float32")
    y = theirs(x).detach().numpy()
    mine = getattr(nnfast.layers, name).from_config(json.loads(json.dumps(theirs.get_config())))
    mine.build((None, *shape))
    mine.set_weights(theirs.get_weights())
    got = np.asarray(mine(x))
    assert got.shape == y.shape and got.dtype == y.dtype
    np.testing.assert_allclose(got, y, rtol=2e-5, atol=2e-6)
    np.testing.assert_allclose([v.item() for v in mine.losses], [float(v) for v in theirs.losses], rtol=1e-4)
    assert mine.compute_output_shape((None, *shape)) == tuple(theirs.compute_output_shape((None, *shape)))
    assert [w.name for w in mine.weights] == [w.path.split("/")[-1] for w in theirs.weights]


@pytest.mark.parametrize("axis", [-1, 1])
def test_batch_normalization_in_training(axis, device, rng):
    """Several steps: outputs, gradients by PyTorch's autograd, and what the layer remembers."""
    theirs, mine = (k.layers.BatchNormalization(axis, momentum=0.8) for k in (keras, nnfast))
    for _ in range(3):
        x = (3 * rng.standard_normal((6, *IMAGE)) + 1).astype("float32")
        other = keras.ops.convert_to_tensor(x).requires_grad_()
        y = theirs(other, training=True)
        y.pow(3).sum().backward()
        own = nnfast.Variable(x)
        with nnfast.GradientTape() as tape:
            z = mine(own, training=True)
            loss = ops.sum(z * z * z)
        np.testing.assert_allclose(z.numpy(), y.detach().numpy(), rtol=1e-4, atol=1e-5)
        dx, dgamma = tape.gradient(loss, [own, mine.gamma])
        np.testing.assert_allclose(dx.numpy(), other.grad.numpy(), rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(dgamma.numpy(), theirs.gamma.value.grad.numpy(), rtol=1e-3, atol=1e-2)
        theirs.gamma.value.grad = None
    for a, b in zip(mine.get_weights(), theirs.get_weights()):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["MaxNorm", "NonNeg", "UnitNorm", "MinMaxNorm"])
def test_constraints(name, device, rng):
    w = (3 * rng.standard_normal((4, 5))).astype("float32")
    wanted = np.asarray(getattr(keras.constraints, name)()(keras.ops.convert_to_tensor(w)))
    np.testing.assert_allclose(np.asarray(getattr(nnfast.constraints, name)()(w)), wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "name, options",
    [("L1", {}), ("L2", {}), ("L1L2", {"l1": 0.1, "l2": 0.3}), ("OrthogonalRegularizer", {"mode": "columns"})],
)
def test_regularizers(name, options, device, rng):
    w = rng.standard_normal((4, 5)).astype("float32")
    wanted = float(getattr(keras.regularizers, name)(**options)(keras.ops.convert_to_tensor(w)))
    np.testing.assert_allclose(getattr(nnfast.regularizers, name)(**options)(w).item(), wanted, rtol=1e-4)


@pytest.mark.parametrize("name", sorted({c.__name__ for c in nnfast.initializers._CLASSES} - {"Identity"}))
def test_initializers_have_the_same_configs(name):
    """But Identity, whose gain Keras 3.15.1 forgets."""
    theirs, mine = getattr(keras.initializers, name)(), getattr(nnfast.initializers, name)()
    assert mine.get_config() == theirs.get_config()


def test_summary_and_config_of_a_model(device, rng, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    k = keras.layers
    keras.utils.clear_session()
    theirs = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            k.Conv2D(4, 3, activation="relu", kernel_regularizer="l2"),
            k.PReLU(),
            k.Dropout(0.3),
            k.Flatten(),
            k.Dense(3, kernel_constraint="max_norm", name="a_name_that_is_much_too_long_for_its_column"),
        ],
        name="both",
    )
    mine = nnfast.Sequential.from_config(json.loads(json.dumps(theirs.get_config())))
    mine.set_weights(theirs.get_weights())
    x = rng.standard_normal((2, 8, 8, 1)).astype("float32")
    np.testing.assert_allclose(np.asarray(mine(x)), theirs(x).detach().numpy(), rtol=1e-5, atol=1e-6)
    texts = []
    for options in ({}, {"show_trainable": True}, {"line_length": 70}, {"positions": [0.3, 0.6, 1.0]}):
        theirs.summary(print_fn=texts.append, **options)
        mine.summary(print_fn=texts.append, **options)
        assert texts[-1] == texts[-2]
