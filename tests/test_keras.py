"""Layers, initializers, regularizers and constraints against Keras itself, where it is installed with a backend."""

import inspect
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

LORA = {"lora_rank", "lora_alpha", "quantization_config"}
FUNCTIONS = sorted(nnfast.activations._TABLE)
IMAGE = (9, 8, 4)
STEPS = (9, 4)
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
    ("Conv1D", STEPS, {"filters": 6, "kernel_size": 3, "padding": "causal", "dilation_rate": 2, "activation": "relu"}),
    ("Conv1D", STEPS, {"filters": 6, "kernel_size": 4, "strides": 2, "padding": "same", "groups": 2}),
    ("Conv1D", STEPS, {"filters": 6, "kernel_size": 4, "strides": 2, "bias_initializer": "ones"}),
    ("DepthwiseConv2D", IMAGE, {"kernel_size": 3, "depth_multiplier": 2, "padding": "same", "activation": "tanh"}),
    ("DepthwiseConv2D", IMAGE, {"kernel_size": (2, 3), "strides": 2, "depthwise_regularizer": "l2"}),
    ("SeparableConv2D", IMAGE, {"filters": 5, "kernel_size": 3, "depth_multiplier": 2, "activation": "elu"}),
    ("SeparableConv2D", IMAGE, {"filters": 5, "kernel_size": 3, "strides": 2, "padding": "same", "use_bias": False}),
    *(
        ("Conv2DTranspose", IMAGE, {"filters": 5, "kernel_size": k, "strides": s, "padding": p, **more})
        for p in ("valid", "same")
        for k, s, more in (
            (3, 1, {}),
            (3, 2, {"activation": "relu", "bias_initializer": "ones"}),
            ((2, 4), 2, {"output_padding": 1}),
            ((1, 5), (3, 2), {"output_padding": (2, 0)}),
            ((2, 1), 3, {}),
            ((3, 2), 1, {"dilation_rate": (2, 3)}),
        )
    ),
    ("MaxPooling1D", STEPS, {"pool_size": 3, "strides": 2, "padding": "same"}),
    ("MaxPooling1D", STEPS, {}),
    ("AveragePooling1D", STEPS, {"pool_size": 3, "strides": 2, "padding": "same"}),
    ("GlobalMaxPooling1D", STEPS, {}),
    ("GlobalAveragePooling1D", STEPS, {"keepdims": True}),
    ("ZeroPadding2D", IMAGE, {"padding": ((1, 2), (0, 3))}),
    ("Cropping2D", IMAGE, {"cropping": (1, 2)}),
    ("RepeatVector", (5,), {"n": 3}),
    ("SpatialDropout2D", IMAGE, {"rate": 0.5}),
    ("GaussianNoise", (5,), {"stddev": 0.5}),
    ("Dropout", (5,), {"rate": 0.5, "noise_shape": (None, 1)}),
    ("ActivityRegularization", (5,), {"l1": 0.1, "l2": 0.2}),
    ("Normalization", (5,), {"mean": [1.0, 2.0, 3.0, 4.0, 5.0], "variance": [1.0, 2.0, 3.0, 4.0, 5.0]}),
    ("Normalization", (3, 5), {"axis": [1, 2], "mean": 1.0, "variance": 2.0, "invert": True}),
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
    assert set(mine.get_config()) == set(theirs.get_config()) - LORA


FIRST = [case for case in CASES if len(case[1]) == len(IMAGE) and case[0] not in ("PReLU", "LayerNormalization")]


@pytest.mark.parametrize("name, shape, options", FIRST, ids=str)
def test_channels_first(name, shape, options, rng):
    """The same numbers as channels last, with the channels moved; Keras's shapes."""
    first = {"axis": 1} if name == "BatchNormalization" else {"data_format": "channels_first"}
    if "data_format" not in inspect.signature(getattr(keras.layers, name)).parameters and name != "BatchNormalization":
        return
    if "axis" in options:
        first = {"axis": {1: 2}[options["axis"]]}
    one, other = getattr(nnfast.layers, name)(**options), getattr(nnfast.layers, name)(**{**options, **first})
    x = rng.standard_normal((6, *shape)).astype("float32")
    y = one(x).numpy()
    z = other(x.transpose(0, 3, 1, 2)) if one.weights == [] else None
    if z is None:
        other.build((None, shape[2], *shape[:2]))
        other.set_weights(one.get_weights())
        z = other(x.transpose(0, 3, 1, 2))
    np.testing.assert_allclose(z.numpy(), np.moveaxis(y, -1, 1) if y.ndim == 4 else y, rtol=2e-5, atol=2e-6)
    theirs = getattr(keras.layers, name)(**{**options, **first})
    shape_first = (None, shape[2], *shape[:2])
    assert other.compute_output_shape(shape_first) == tuple(theirs.compute_output_shape(shape_first))


OTHERS = {"RReLU", "Maxout", "Layer", "Identity"}  # not in Keras; without a signature of their own there
MINE = sorted({c.__name__ for c in nnfast.layers.CLASSES.values()} - OTHERS)


@pytest.mark.parametrize("name", MINE)
def test_signatures(name):
    """The parameters of Keras in its order, with its defaults; (1, 1) and 1 mean the same."""

    def parameters(cls):
        found = inspect.signature(cls).parameters.values()
        plain = lambda v: v[0] if isinstance(v, tuple) and len(set(v)) == 1 else v  # noqa: E731
        return [(p.name, plain(p.default), p.kind) for p in found if p.name not in LORA]

    assert parameters(getattr(nnfast.layers, name)) == parameters(getattr(keras.layers, name))


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
