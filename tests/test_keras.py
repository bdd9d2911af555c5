"""Layers, initializers, regularizers and constraints against Keras itself, where it is installed with a backend."""

import inspect
import json
import os

import numpy as np
import pytest
from layer_cases import CASES, IMAGE

import nnfast
from nnfast import ops

os.environ.setdefault("KERAS_BACKEND", "torch")
pytest.importorskip("torch")
keras = pytest.importorskip("keras")
pytestmark = [pytest.mark.peers, pytest.mark.filterwarnings("ignore")]

LORA = {"lora_rank", "lora_alpha", "quantization_config"}


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
