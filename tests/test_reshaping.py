"""Layers that change the shape and nothing else."""

import numpy as np
import pytest
from arrays import x32, x64
from compare import gradcheck

from nnfast import layers, ops


def test_flatten(device):
    x = x32(2, 3, 4, 5)
    assert np.array_equal(layers.Flatten()(x).numpy(), x.reshape(2, 60))
    first = layers.Flatten(data_format="channels_first")(x).numpy()
    assert np.array_equal(first, x.transpose(0, 2, 3, 1).reshape(2, 60))
    assert layers.Flatten()(x32(4)).shape == (4, 1) and layers.Flatten()(np.zeros((0, 3, 4))).shape == (0, 12)
    assert layers.Flatten().compute_output_shape((None, 3, None)) == (None, None)
    assert layers.Flatten().compute_output_shape((None, 3, 5)) == (None, 15)
    with pytest.raises(ValueError, match="batch"):
        layers.Flatten()(1.0)


def test_reshape(device):
    x = x32(2, 3, 4)
    for target, shape in [((12,), (2, 12)), ((-1, 2), (2, 6, 2)), ((4, 3), (2, 4, 3)), ((2, -1, 3), (2, 2, 2, 3))]:
        layer = layers.Reshape(target)
        assert np.array_equal(layer(x).numpy(), x.reshape(shape)) and layer.output_shape == (None, *shape[1:])
    assert layers.Reshape((-1, 2)).compute_output_shape((None, None, 4)) == (None, None, 2)
    assert layers.Reshape((5, 0))(np.zeros((2, 0))).shape == (2, 5, 0)
    for wrong, says in [
        (lambda: layers.Reshape((-1, -1)), "one of which may be -1"),
        (lambda: layers.Reshape((5,))(x), "12 numbers do not fill"),
        (lambda: layers.Reshape((-1, 5))(x), "12 numbers do not fill"),
    ]:
        with pytest.raises(ValueError, match=says):
            wrong()


def test_permute(device):
    x = x32(2, 3, 4, 5)
    layer = layers.Permute((3, 1, 2))
    assert np.array_equal(layer(x).numpy(), x.transpose(0, 3, 1, 2)) and layer.output_shape == (None, 5, 3, 4)
    for wrong in (lambda: layers.Permute((0, 1)), lambda: layers.Permute((1, 1)), lambda: layers.Permute((2, 1))(x)):
        with pytest.raises(ValueError, match="dims"):
            wrong()


@pytest.mark.parametrize(
    "layer", [layers.Flatten(), layers.Reshape((2, -1)), layers.Permute((2, 1)), layers.Rescaling(3.0)]
)
def test_gradients_through_shapes(layer, device):
    layer.dtype = "float64"
    gradcheck(lambda x: layer(x) * 1.0, x64(2, 3, 4))


def test_repeat_vector(device):
    x = x32(2, 3)
    layer = layers.RepeatVector(4)
    assert np.array_equal(layer(x).numpy(), np.repeat(x[:, None], 4, 1)) and layer.output_shape == (None, 4, 3)
    for wrong, error in (
        (lambda: layers.RepeatVector(0), ValueError),
        (lambda: layers.RepeatVector(1.5), TypeError),
        (lambda: layer(x32(2, 3, 4)), ValueError),
    ):
        with pytest.raises(error, match="Received"):
            wrong()


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_padding_and_cropping(data_format, device):
    x = x32(2, 4, 5, 3) if data_format == "channels_last" else x32(2, 3, 4, 5)
    move = (lambda v: v) if data_format == "channels_last" else (lambda v: v.transpose(0, 2, 3, 1))
    padded = layers.ZeroPadding2D(((1, 2), (0, 3)), data_format)(x).numpy()
    assert np.array_equal(move(padded), np.pad(move(x), ((0, 0), (1, 2), (0, 3), (0, 0))))
    assert np.array_equal(layers.Cropping2D(((1, 2), (0, 3)), data_format)(padded).numpy(), x)
    assert layers.ZeroPadding2D(2).padding == layers.ZeroPadding2D((2, 2)).padding == ((2, 2), (2, 2))
    assert layers.Cropping2D()(x).shape == x.shape


@pytest.mark.parametrize(
    "wrong, says",
    [
        (lambda: layers.ZeroPadding2D((1, 2, 3)), r"padding=\(1, 2, 3\)"),
        (lambda: layers.ZeroPadding2D(-1), "at least 0"),
        (lambda: layers.ZeroPadding2D(1.5), "integer"),
        (lambda: layers.ZeroPadding2D()(x32(2, 3, 4)), "expects images"),
        (lambda: layers.Cropping2D(((1, 2), (3, -1))), "at least 0"),
        (lambda: layers.UpSampling2D(0), "size=0"),
        (lambda: layers.UpSampling2D(interpolation="bicubic"), "bicubic"),
        (lambda: layers.UpSampling2D()(x32(2, 3)), "expects images"),
        (lambda: ops.upsample2d(x32(1, 2, 2, 1), interpolation="area"), "area"),
        (lambda: layers.Cropping2D(2)(x32(1, 4, 9, 1)), "leaves nothing"),
    ],
)
def test_wrong_edges(wrong, says):
    with pytest.raises(ValueError, match=says):
        wrong()
