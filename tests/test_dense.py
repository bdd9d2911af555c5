"""Dense, argument by argument."""

import numpy as np
import pytest
from arrays import FORMULAS, near, x32, x64
from compare import gradcheck

from nnfast import activations, constraints, initializers, layers


def test_dense_is_its_formula(device, dtype):
    x = x64(5, 7).astype(dtype)
    layer = layers.Dense(4, bias_initializer="ones", dtype=dtype.name)
    near(layer(x), x @ layer.kernel.numpy() + 1)
    steps = x64(2, 3, 7).astype(dtype)
    near(layer(steps), steps @ layer.kernel.numpy() + 1)
    assert layer.compute_output_shape((None, None, 7)) == (None, None, 4)


@pytest.mark.parametrize(
    "name", ["relu", "tanh", "elu", "selu", "softplus", "exponential", "leaky_relu", "sigmoid", "gelu"]
)
def test_dense_activation(name, device):
    x = x64(5, 7)
    layer = layers.Dense(4, activation=name, dtype="float64")
    y = layer(x)
    near(y, FORMULAS[name](x @ layer.kernel.numpy()), scale=10)


def test_dense_keeps_logits(device):
    for name in ("softmax", "sigmoid"):
        layer = layers.Dense(3, activation=name)
        y = layer(x32(2, 4))
        near(y.logits, layers.Dense(3, weights=layer.get_weights())(x32(2, 4)))


def test_dense_activation_can_be_changed(device):
    layer = layers.Dense(3, activation="relu")
    linear = layers.Dense(3)
    layer(x32(2, 4))
    linear(x32(2, 4))
    linear.set_weights(layer.get_weights())
    layer.activation = activations.tanh
    near(layer(x32(2, 4)), np.tanh(linear(x32(2, 4)).numpy()))
    leaky = layers.Dense(3, activation=layers.LeakyReLU(0.5), weights=layer.get_weights())
    near(leaky(x32(2, 4)), activations.leaky_relu(linear(x32(2, 4)), 0.5))
    assert layers.Dense(1, activation=lambda t: t * 2, kernel_initializer="ones")(np.ones((1, 3))).item() == 6


def test_dense_arguments():
    """002-7: each has its effect."""
    assert layers.Dense(2, use_bias=False)(x32(1, 3)).shape == (1, 2)
    layer = layers.Dense(
        2,
        use_bias=True,
        kernel_initializer="zeros",
        bias_initializer=initializers.Constant(3.0),
        kernel_regularizer="l1",
        bias_regularizer="l2",
        activity_regularizer="l1",
        kernel_constraint="non_neg",
        bias_constraint=constraints.MaxNorm(1),
    )
    assert layer(np.ones((2, 3))).tolist() == [[3, 3], [3, 3]]
    assert layer.kernel.regularizer.l1 == 0.01 and layer.bias.regularizer.l2 == 0.01
    assert isinstance(layer.kernel.constraint, constraints.NonNeg) and layer.bias.constraint.max_value == 1
    np.testing.assert_allclose([v.item() for v in layer.losses], [0.01 * 6, 0, 0.01 * 18], rtol=1e-6)
    no_bias = layers.Dense(2, use_bias=False)
    no_bias.build((None, 3))
    assert no_bias.bias is None and len(no_bias.weights) == 1
    for wrong in (0, -1, 2.5, "3", True, None):
        with pytest.raises(ValueError, match="units"):
            layers.Dense(wrong)


def test_dense_gradients(device):
    w, b = x64(4, 3), x64(3, seed=1)
    layer = layers.Dense(3, "tanh", dtype="float64")
    layer.build((None, 4))

    def f(x, w, b):
        layer.kernel, layer.bias = w, b
        return layer(x)

    gradcheck(f, x64(5, 4, seed=2), w, b)


def test_dense_shape_errors(device):
    layer = layers.Dense(3, name="head")
    layer.build((None, 784))
    for shape, says in [
        ((2, 28, 28), ["head", "(..., 784)", "(2, 28, 28)", "Flatten()", "reshape(-1, 784)"]),
        ((2, 783), ["head", "(..., 784)", "(2, 783)"]),
        ((784,), ["head", "(batch, ..., features)", "reshape(1, -1)"]),
    ]:
        with pytest.raises(ValueError) as e:
            layer(np.zeros(shape))
        assert all(s in str(e.value) for s in says), str(e.value)
    with pytest.raises(ValueError, match="last dimension"):
        layers.Dense(3).build((None, None))
    assert layer(np.zeros((2, 784))).shape == (2, 3)


def test_dense_without_samples(device):
    assert layers.Dense(3)(np.zeros((0, 4))).shape == (0, 3)
