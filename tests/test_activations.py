"""Activation functions, and the layers that apply them."""

import math

import numpy as np
import pytest
from arrays import FORMULAS, near, x32
from compare import gradcheck

from nnfast import activations, constraints, initializers, layers

POINTS = np.array([[-7.3, -2.9, -0.6, -0.1], [0.2, 0.9, 3.1, 7.7]])


@pytest.mark.parametrize("name", FORMULAS)
def test_activation_functions(name, device, dtype):
    f = activations.get(name)
    near(f(POINTS.astype(dtype)), FORMULAS[name](POINTS).astype(dtype), scale=2)
    near(layers.Activation(name, dtype=dtype.name)(POINTS), FORMULAS[name](POINTS).astype(dtype), scale=2)
    assert activations.get(activations.serialize(f)) is f and activations.get(name.title().replace("_", "")) is f


@pytest.mark.parametrize("name", sorted(FORMULAS))
def test_activation_gradients(name, device):
    gradcheck(lambda x: activations.get(name)(x) * 1.0, POINTS)


def test_activation_arguments(device):
    x = POINTS
    near(activations.relu(x, 0.1, 5.0, 0.5), np.where(x >= 0.5, np.minimum(x, 5), 0.1 * (x - 0.5)))
    near(activations.relu(x, max_value=0.5), np.clip(x, 0, 0.5))
    near(activations.relu(x, negative_slope=0.3), np.where(x > 0, x, 0.3 * x))
    near(activations.leaky_relu(x, 0.01), np.where(x > 0, x, 0.01 * x))
    near(activations.elu(x, 2.0), np.where(x > 0, x, 2 * (np.exp(x) - 1)))
    near(activations.softmax(x, axis=0), np.exp(x) / np.exp(x).sum(0))
    near(activations.log_softmax(x, axis=0), x - np.log(np.exp(x).sum(0)))
    tanh = 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    near(activations.gelu(x, approximate=True), tanh)
    assert activations.get(None) is activations.linear
    for wrong, error in [
        (lambda: activations.get("rleu"), ValueError),
        (lambda: activations.get(3), TypeError),
        (lambda: activations.relu(x, max_value=-1), ValueError),
    ]:
        with pytest.raises(error, match="Received"):
            wrong()
    f = lambda t: t  # noqa: E731
    assert activations.get(f) is f and activations.deserialize("mine", {"mine": f}) is f


def test_relu_layer(device):
    x = POINTS
    for layer, wanted in [
        (layers.ReLU(), np.maximum(x, 0)),
        (layers.ReLU(max_value=2.0), np.clip(x, 0, 2)),
        (layers.ReLU(negative_slope=0.2), np.where(x > 0, x, 0.2 * x)),
        (layers.ReLU(threshold=1.0), np.where(x >= 1, x, 0)),
        (layers.ReLU(3.0, 0.1, 1.0), np.where(x >= 1, np.minimum(x, 3), 0.1 * (x - 1))),
    ]:
        near(layer(x), wanted.astype("float32"))
    for name in ("max_value", "negative_slope", "threshold"):
        with pytest.raises(ValueError, match=f"{name}=-1"):
            layers.ReLU(**{name: -1})
    with pytest.raises(ValueError, match="threshold=None"):
        layers.ReLU(threshold=None)


def test_slopes_differ(device):
    """0.3 in the layer, 0.2 in the function, as in Keras."""
    assert layers.LeakyReLU()([-1.0]).item() == np.float32(-0.3)
    assert activations.leaky_relu([-1.0]).item() == np.float32(-0.2)
    assert layers.LeakyReLU(0.1)([-1.0]).item() == layers.LeakyReLU(alpha=0.1)([-1.0]).item() == np.float32(-0.1)
    with pytest.raises(ValueError, match="negative_slope=None"):
        layers.LeakyReLU(None)


def test_elu_and_softmax_layers(device):
    near(layers.ELU(0.5)(POINTS), np.where(POINTS > 0, POINTS, 0.5 * (np.exp(POINTS) - 1)).astype("float32"))
    near(layers.Softmax()(POINTS), FORMULAS["softmax"](POINTS).astype("float32"))
    near(layers.Softmax(axis=0)(POINTS), (np.exp(POINTS) / np.exp(POINTS).sum(0)).astype("float32"))
    near(layers.Softmax(axis=(0, 1))(POINTS), (np.exp(POINTS) / np.exp(POINTS).sum()).astype("float32"))


def test_prelu(device):
    layer = layers.PReLU(
        alpha_initializer=initializers.Constant(0.5), alpha_regularizer="l1", alpha_constraint="non_neg"
    )
    near(layer(POINTS), np.where(POINTS > 0, POINTS, 0.5 * POINTS).astype("float32"))
    assert layer.alpha.shape == (4,) and layer.alpha.regularizer.l1 == 0.01
    assert isinstance(layer.alpha.constraint, constraints.NonNeg) and abs(layer.losses[0].item() - 0.02) < 1e-6
    assert layers.PReLU()(POINTS).tolist() == np.maximum(POINTS, 0).astype("float32").tolist()
    shared = layers.PReLU(shared_axes=[1, 2])
    shared(x32(2, 5, 4, 3))
    assert shared.alpha.shape == (1, 1, 3) and shared(x32(2, 7, 6, 3)).shape == (2, 7, 6, 3)
    one = layers.PReLU(shared_axes=1)
    one.build((None, None, 3))
    assert one.alpha.shape == (1, 3)
    for make, says in [
        (lambda: layer(x32(2, 5)), "alpha of shape"),
        (lambda: layers.PReLU(shared_axes=[3])(x32(2, 5)), "shared_axes"),
        (lambda: layers.PReLU().build((None, None)), "every size"),
    ]:
        with pytest.raises(ValueError, match=says):
            make()

    def f(x, alpha):
        layer.alpha = alpha
        return layer(x)

    layer.dtype = "float64"
    gradcheck(f, POINTS, np.array([0.1, 0.2, 0.3, 0.4]))


def test_softmax_with_a_mask(device):
    x, mask = POINTS, np.array([[True, False, True, True], [False, False, False, False]])
    y = layers.Softmax()(x, mask=mask).numpy()
    kept = np.exp(x[0, mask[0]])
    np.testing.assert_allclose(y[0, mask[0]], kept / kept.sum(), rtol=1e-5)
    assert y[0, 1] == 0 and not y[1].any()
    near(layers.Softmax()(x, mask=mask.astype("float32")), y)


def test_maxout(device):
    """Course 000-18: max(w1 x + b1, w2 x + b2)."""
    layer = layers.Maxout(3, 4, bias_initializer="glorot_uniform", dtype="float64")
    x = np.array([[1.0, -2.0], [0.5, 3.0], [0.0, 0.0]])
    y = layer(x).numpy()
    w, b = (v.numpy() for v in layer.weights)
    near(y, np.stack([x @ w[:, i : i + 3] + b[i : i + 3] for i in range(0, 12, 3)]).max(0))
    assert layer.output_shape == (None, 3) and layers.Maxout(3)(np.ones((2, 5, 4))).shape == (2, 5, 3)

    def f(x, w, b):
        layer.kernel, layer.bias = w, b
        return layer(x)

    gradcheck(f, x + 0.1, w, b)
    for wrong in (lambda: layers.Maxout(0), lambda: layers.Maxout(2, 0), lambda: layer(np.ones((2, 3)))):
        with pytest.raises(ValueError, match="Received"):
            wrong()
