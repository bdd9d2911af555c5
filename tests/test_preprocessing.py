"""Layers that prepare data."""

import numpy as np
import pytest
from arrays import near, x32

from nnfast import layers


def test_rescaling(device):
    image = np.array([[[[0, 255]]]], "uint8")
    near(layers.Rescaling(1 / 255)(image), np.array([[[[0, 1]]]], "float32"))
    near(layers.Rescaling(1 / 127.5, offset=-1)(image), np.array([[[[-1, 1]]]], "float32"))
    assert layers.Rescaling([1.0, 2.0], offset=[0.0, 1.0])(np.ones((1, 2))).tolist() == [[1, 3]]


@pytest.mark.parametrize("axis, others", [(-1, (0, 1)), (None, (0, 1, 2)), ((1, 2), (0,)), (1, (0, 2))])
def test_normalization_adapts(axis, others, device):
    x = (x32(50, 4, 3) * 3 + 5).astype("float32")
    layer = layers.Normalization(axis)
    layer.adapt(x)
    wanted = (x - x.mean(others, keepdims=True)) / x.std(others, keepdims=True)
    np.testing.assert_allclose(layer(x).numpy(), wanted, rtol=1e-4, atol=1e-5)
    back = layers.Normalization(axis, invert=True)
    back.adapt(x)
    np.testing.assert_allclose(back(wanted.astype("float32")).numpy(), x, rtol=1e-4, atol=1e-4)
    in_batches = layers.Normalization(axis)
    in_batches.adapt([x[:7], x[7:30], x[30:]])
    for a, b in zip(in_batches.get_weights()[:2], layer.get_weights()):
        np.testing.assert_allclose(a, b, rtol=1e-5)
    assert [w.name for w in layer.weights] == ["mean", "variance", "count"] and layer.trainable_weights == []
    np.testing.assert_allclose(layer.mean, x.mean(others, keepdims=True), rtol=1e-5)
    np.testing.assert_allclose(layer.variance, x.var(others, keepdims=True), rtol=1e-4)


@pytest.mark.parametrize(
    "wrong, says",
    [
        (lambda: layers.Normalization(mean=1.0), "together"),
        (lambda: layers.Normalization(mean=1.0, variance=[1.0]), "one shape"),
        (lambda: layers.Normalization(mean=1.0, variance=1.0).adapt(x32(2, 3)), "given its mean"),
        (lambda: layers.Normalization().adapt([]), "no data"),
        (lambda: layers.Normalization(axis=4)(x32(2, 3)), "axis"),
        (lambda: layers.Normalization().build((None, None)), "sizes of its axes"),
        (lambda: layers.RandomFlip("sideways"), "mode='sideways'"),
        (lambda: layers.RandomFlip()(x32(2, 3)), "expects images"),
    ],
)
def test_wrong_arguments(wrong, says):
    with pytest.raises(ValueError, match=says):
        wrong()


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize("mode, axes", [("horizontal", [2]), ("vertical", [1]), ("horizontal_and_vertical", [1, 2])])
def test_random_flip(mode, axes, data_format, device):
    x = x32(200, 3, 4, 2)
    first = data_format == "channels_first"
    layer = layers.RandomFlip(mode, seed=1, data_format=data_format)
    given = x.transpose(0, 3, 1, 2) if first else x
    y = layer(given, training=True).numpy()
    y = y.transpose(0, 2, 3, 1) if first else y
    flipped = np.flip(x, axes)
    kept = (y == x).all((1, 2, 3))
    assert np.array_equal(y[~kept], flipped[~kept]) and 70 < kept.sum() < 130
    assert np.array_equal(layer(given, training=False).numpy(), given)
    assert layer(given[0]).shape == given[0].shape and layer.compute_output_shape(given.shape) == given.shape


def test_identity_and_activity_regularization(device):
    x = x32(4, 3)
    layer = layers.ActivityRegularization(0.1, 0.2)
    assert np.array_equal(layer(x).numpy(), x) and np.array_equal(layers.Identity()(x).numpy(), x)
    np.testing.assert_allclose(layer.losses[0].item(), (0.1 * np.abs(x).sum() + 0.2 * (x**2).sum()) / 4, rtol=1e-5)
