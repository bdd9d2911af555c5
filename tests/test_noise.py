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


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_spatial_dropout_drops_whole_channels(data_format, device):
    x = np.ones((6, 5, 4, 20) if data_format == "channels_last" else (6, 20, 5, 4), "float32")
    layer = layers.SpatialDropout2D(0.5, data_format)
    y = layer(x, training=True).numpy()
    axes = (1, 2) if data_format == "channels_last" else (2, 3)
    assert set(np.unique(y)) == {0, 2} and set(np.unique(y.mean(axes))) == {0, 2}
    assert np.array_equal(layer(x).numpy(), x)
    with pytest.raises(ValueError, match="expects images"):
        layer(np.ones((2, 3)))


def test_gaussian_noise(device):
    x = np.full((200, 50), 3, "float32")
    layer = layers.GaussianNoise(0.5, seed=1)
    y = layer(x, training=True).numpy()
    assert abs(y.mean() - 3) < 0.02 and abs(y.std() - 0.5) < 0.02 and np.array_equal(layer(x).numpy(), x)
    assert np.array_equal(y, layers.GaussianNoise(0.5, seed=1)(x, training=True).numpy())
    assert not np.array_equal(y, layer(x, training=True).numpy())
    with pytest.raises(ValueError, match="stddev"):
        layers.GaussianNoise(-1)


def test_rrelu(device):
    """Course 002-11: random in training, fixed in the test."""
    x = np.concatenate([-np.ones(2000), np.ones(10)]).astype("float32")
    layer = layers.RReLU(0.1, 0.3, seed=2)
    np.testing.assert_allclose(layer(x).numpy(), np.where(x > 0, x, 0.2 * x), rtol=1e-6)
    v = nnfast.Variable(x)
    with nnfast.GradientTape() as tape:
        y = layer(v, training=True)
    slopes = -y.numpy()[:2000]
    assert (slopes >= 0.1).all() and (slopes < 0.3).all() and abs(slopes.mean() - 0.2) < 0.01
    np.testing.assert_allclose(tape.gradient(y, v).numpy(), np.where(x > 0, 1, y.numpy() / x))
    assert np.array_equal(y.numpy()[2000:], x[2000:])
    with pytest.raises(ValueError, match="lower must not exceed"):
        layers.RReLU(0.5, 0.1)
