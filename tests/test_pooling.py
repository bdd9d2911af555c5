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
