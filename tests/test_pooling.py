"""Pooling layers: each argument against windows taken one by one."""

import numpy as np
import pytest
from arrays import near, x32

from nnfast import layers


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize(
    "options",
    [{}, {"pool_size": 3}, {"pool_size": (2, 3), "strides": (1, 2)}, {"pool_size": 3, "strides": 2, "padding": "same"}],
)
@pytest.mark.parametrize("cls", [layers.MaxPooling2D, layers.AveragePooling2D])
def test_pooling_arguments(cls, options, data_format, device):
    options = {"pool_size": (2, 2), **options}
    last = x32(2, 7, 6, 3)
    layer = cls(**options, data_format=data_format)
    y = np.asarray(layer(last if data_format == "channels_last" else last.transpose(0, 3, 1, 2)))
    assert layer.output_shape == (None, *y.shape[1:])
    got = y if data_format == "channels_last" else y.transpose(0, 2, 3, 1)
    (ph, pw), strides = np.broadcast_to(options["pool_size"], 2), np.broadcast_to(layer.strides, 2)
    pads = [0, 0]
    if options.get("padding") == "same":
        pads = [max((-(-n // s) - 1) * s + k - n, 0) // 2 for n, s, k in zip((7, 6), strides, (ph, pw))]
    wanted = np.zeros(got.shape, "float32")
    for p, q in np.ndindex(*got.shape[1:3]):
        top, left = p * strides[0] - pads[0], q * strides[1] - pads[1]
        window = last[:, max(top, 0) : top + ph, max(left, 0) : left + pw]
        wanted[:, p, q] = window.max((1, 2)) if cls is layers.MaxPooling2D else window.mean((1, 2))
    near(got, wanted)


def test_pooling_defaults():
    assert layers.MaxPooling2D().pool_size == layers.MaxPooling2D().strides == (2, 2)
    assert layers.MaxPool2D is layers.MaxPooling2D and layers.AvgPool2D is layers.AveragePooling2D
    assert layers.MaxPooling2D().compute_output_shape((None, None, 5, 3)) == (None, None, 2, 3)
    with pytest.raises(TypeError):
        layers.AveragePooling2D()


@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_global_pooling(keepdims, data_format, device):
    x = x32(2, 4, 5, 3)
    axes = (1, 2) if data_format == "channels_last" else (2, 3)
    for cls, f in ((layers.GlobalMaxPooling2D, np.max), (layers.GlobalAveragePooling2D, np.mean)):
        layer = cls(data_format=data_format, keepdims=keepdims)
        y = layer(x)
        near(y, f(x, axes, keepdims=keepdims))
        assert layer.output_shape == (None, *y.shape[1:])
    assert layers.GlobalMaxPool2D is layers.GlobalMaxPooling2D
    assert layers.GlobalAvgPool2D is layers.GlobalAveragePooling2D


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize("options", [{}, {"strides": 2}, {"strides": 2, "padding": "same"}])
def test_pooling_of_sequences(options, data_format, device):
    """As of images with one row."""
    x = x32(2, 7, 3)
    for one, two in ((layers.MaxPooling1D, layers.MaxPooling2D), (layers.AveragePooling1D, layers.AveragePooling2D)):
        layer = one(3, **options, data_format=data_format)
        y = layer(x if data_format == "channels_last" else x.transpose(0, 2, 1)).numpy()
        assert layer.output_shape == (None, *y.shape[1:])
        wide = two((1, 3), **{**options, "strides": (1, options.get("strides", 3))})(x[:, None]).numpy()[:, 0]
        assert np.array_equal(y if data_format == "channels_last" else y.transpose(0, 2, 1), wide)


def test_global_pooling_of_sequences(device):
    x, mask = x32(2, 5, 3), np.array([[1, 1, 0, 0, 0], [0, 1, 1, 1, 1]], bool)
    near(layers.GlobalMaxPooling1D()(x), x.max(1))
    near(layers.GlobalAveragePooling1D("channels_first", keepdims=True)(x), x.mean(2, keepdims=True))
    wanted = np.stack([x[0, :2].mean(0), x[1, 1:].mean(0)])
    near(layers.GlobalAveragePooling1D()(x, mask=mask), wanted)
    with pytest.raises(ValueError, match=r"expects sequences \(batch, steps, channels\)"):
        layers.MaxPooling1D()(x32(2, 5))
