"""Layers that are random in training."""

import numpy as np
import pytest

import nnfast
from nnfast import layers


def test_dropout(device):
    layer = layers.Dropout(0.4)
    x = np.ones((200, 50), "float32")
    assert layer(x).tolist() == x.tolist() and layer(x, training=False).tolist() == x.tolist()
    y = layer(x, training=True).numpy()
    assert set(np.unique(y)) == {np.float32(0), np.float32(1 / 0.6)}
    assert abs((y == 0).mean() - 0.4) < 0.02
    assert not np.array_equal(y, layer(x, training=True).numpy())
    assert layers.Dropout(0)(x, training=True).tolist() == x.tolist()
    assert not layers.Dropout(1)(x, training=True).numpy().any()


def test_dropout_noise_shape(device):
    x = np.ones((6, 40, 3), "float32")
    y = layers.Dropout(0.5, noise_shape=(None, 1, 3))(x, training=True).numpy()
    assert (y == y[:, :1]).all() and 0 < (y == 0).mean() < 1
    with pytest.raises(ValueError, match="noise_shape"):
        layers.Dropout(0.5, noise_shape=(6, 7, 3))(x, training=True)


def test_dropout_seed(device):
    x = np.ones((20, 20), "float32")
    a, b = layers.Dropout(0.5, seed=3), layers.Dropout(0.5, seed=3)
    first = a(x, training=True).numpy()
    assert np.array_equal(first, b(x, training=True).numpy())
    assert not np.array_equal(first, a(x, training=True).numpy())  # one stream, not one mask
    free = layers.Dropout(0.5)
    nnfast.utils.set_random_seed(1)
    first = free(x, training=True).numpy()
    nnfast.utils.set_random_seed(1)
    assert np.array_equal(first, free(x, training=True).numpy())


def test_dropout_gradient_is_its_mask(device):
    x = nnfast.Variable(np.ones((10, 10), "float32"))
    layer = layers.Dropout(0.5)
    with nnfast.GradientTape() as tape:
        y = layer(x, training=True)
    assert np.array_equal(tape.gradient(y, x).numpy(), y.numpy())


@pytest.mark.parametrize("rate", [-0.1, 1.1, "a", None, True, float("nan")])
def test_wrong_rate(rate):
    with pytest.raises(ValueError, match="rate"):
        layers.Dropout(rate)
