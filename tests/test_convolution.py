"""Convolution layers: each argument against a convolution by definition."""

import numpy as np
import pytest
from arrays import FORMULAS, near, x32, x64
from compare import gradcheck

from nnfast import constraints, initializers, layers, ops

CONV = [
    {},
    {"strides": 2},
    {"strides": (2, 1), "padding": "same"},
    {"padding": "SAME", "kernel_size": (2, 4)},
    {"dilation_rate": (2, 1), "kernel_size": (3, 2)},
    {"groups": 2},
    {"groups": 4, "filters": 8},
    {"use_bias": False},
    {"activation": "relu"},
    {"activation": "sigmoid", "padding": "same"},
]


@pytest.mark.parametrize("options", CONV, ids=str)
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_conv2d_arguments(options, data_format, device):
    """Against a convolution by definition, in float64."""
    arguments = {"filters": 6, "kernel_size": 3, "bias_initializer": "ones", **options}
    last = x64(2, 7, 6, 4)
    layer = layers.Conv2D(**arguments, data_format=data_format, dtype="float64")
    x = last if data_format == "channels_last" else last.transpose(0, 3, 1, 2)
    y = np.asarray(layer(x))
    assert layer.output_shape == (None, *y.shape[1:])
    got = y if data_format == "channels_last" else y.transpose(0, 2, 3, 1)
    w = layer.kernel.numpy()
    strides, dilation = (np.broadcast_to(arguments.get(n, 1), 2) for n in ("strides", "dilation_rate"))
    groups, pads = arguments.get("groups", 1), []
    for i in (0, 1):
        n, k = last.shape[1 + i], (w.shape[i] - 1) * dilation[i] + 1
        same = arguments.get("padding", "valid").lower() == "same"
        total = max((-(-n // strides[i]) - 1) * strides[i] + k - n, 0) if same else 0
        pads.append((total // 2, total - total // 2))
    padded = np.pad(last, ((0, 0), *pads, (0, 0)))
    wanted = np.zeros(got.shape)
    per_group = layer.filters // groups
    for p, q, f in np.ndindex(*got.shape[1:]):
        g = f // per_group
        patch = padded[:, p * strides[0] :, q * strides[1] :][:, : (w.shape[0] - 1) * dilation[0] + 1 : dilation[0]]
        patch = patch[:, :, : (w.shape[1] - 1) * dilation[1] + 1 : dilation[1], g * w.shape[2] : (g + 1) * w.shape[2]]
        wanted[:, p, q, f] = (patch * w[..., f]).sum((1, 2, 3)) + layer.use_bias
    near(got, FORMULAS[arguments.get("activation", "linear")](wanted))


def test_conv2d_weights(device):
    layer = layers.Conv2D(
        32,
        (3, 3),
        padding="same",
        kernel_initializer=initializers.Constant(0.5),
        bias_initializer="ones",
        kernel_regularizer="l1",
        bias_regularizer="l2",
        activity_regularizer="l2",
        kernel_constraint="non_neg",
        bias_constraint="unit_norm",
    )
    y = layer(np.ones((1, 3, 3, 1)))
    assert layer.count_params() == 320 and y.numpy()[0, 1, 1, 0] == 5.5
    assert layer.kernel.shape == (3, 3, 1, 32) and layer.bias.shape == (32,)
    assert isinstance(layer.kernel.constraint, constraints.NonNeg) and isinstance(
        layer.bias.constraint, constraints.UnitNorm
    )
    wanted = [0.01 * (y.numpy() ** 2).sum(), 0.01 * 0.5 * 288, 0.01 * 32]
    np.testing.assert_allclose([v.item() for v in layer.losses], wanted, rtol=1e-5)
    assert layers.Convolution2D is layers.Conv2D


@pytest.mark.parametrize("options", [{}, {"strides": 2, "padding": "same", "groups": 2, "activation": "tanh"}], ids=str)
def test_conv2d_gradients(options, device):
    layer = layers.Conv2D(2, 2, dtype="float64", **options)
    layer.build((None, 4, 3, 2))
    shape = layer.kernel.shape

    def f(x, w, b):
        layer.kernel, layer.bias = w, b
        return layer(x)

    gradcheck(f, x64(2, 4, 3, 2), x64(*shape, seed=1), x64(2, seed=2))


@pytest.mark.parametrize(
    "wrong, error, says",
    [
        (lambda: layers.Conv2D(0, 3), ValueError, "filters=0"),
        (lambda: layers.Conv2D(4, (3, 3, 3)), ValueError, "kernel_size"),
        (lambda: layers.Conv2D(4, 3, strides=0), ValueError, "strides"),
        (lambda: layers.Conv2D(4, 3, padding="full"), ValueError, "padding='full'"),
        (lambda: layers.Conv2D(4, 3, data_format="NHWC"), ValueError, "data_format"),
        (lambda: layers.Conv2D(4, 3, dilation_rate=0), ValueError, "dilation_rate"),
        (lambda: layers.Conv2D(4, 3, groups=3), ValueError, "multiple of groups"),
        (lambda: layers.Conv2D(4, 3, groups=2)(x32(1, 5, 5, 3)), ValueError, "groups=2"),
        (lambda: layers.Conv2D(4, 3)(x32(2, 28, 28)), ValueError, r"reshape\(-1, 28, 28, 1\)"),
        (lambda: layers.Conv2D(4, 3, data_format="channels_first")(x32(2, 28, 28)), ValueError, r"\(-1, 1, 28, 28\)"),
        (lambda: layers.Conv2D(4, 3)(x32(2, 784)), ValueError, "reshaping first"),
        (lambda: layers.Conv2D(4, 3)(x32(2, 2, 5, 1)), ValueError, "larger than its input"),
        (lambda: layers.Conv2D(4, 3).build((None, 5, 5, None)), ValueError, "number of channels"),
        (lambda: layers.MaxPooling2D(0), ValueError, "pool_size"),
        (lambda: layers.MaxPooling2D(3)(x32(1, 2, 5, 1)), ValueError, "larger than its input"),
        (lambda: layers.MaxPooling2D()(x32(1, 2, 5)), ValueError, "expects images"),
        (lambda: layers.AveragePooling2D(2, padding="some"), ValueError, "padding"),
        (lambda: layers.GlobalAveragePooling2D()(x32(1, 2)), ValueError, "expects images"),
    ],
)
def test_wrong_images(wrong, error, says):
    with pytest.raises(error, match=says):
        wrong()


def test_wrong_channels():
    layer = layers.Conv2D(4, 3, name="c")
    layer.build((None, 8, 8, 3))
    with pytest.raises(ValueError, match="built for 3 input channels") as e:
        layer(x32(2, 3, 8, 8))
    assert "c" in str(e.value) and "channels_first" in str(e.value)


@pytest.mark.parametrize("dilation", [1, 2])
def test_causal_convolutions_do_not_look_ahead(dilation, device):
    layer = layers.Conv1D(2, 3, padding="causal", dilation_rate=dilation, dtype="float64")
    x = x64(1, 9, 3)
    y, w = layer(x).numpy(), layer.kernel.numpy()
    padded = np.concatenate([np.zeros((1, 2 * dilation, 3)), x], 1)
    near(y, sum(padded[:, k * dilation : k * dilation + 9] @ w[k] for k in range(3)), scale=4)
    x[:, 5:] = 7
    near(layer(x).numpy()[:, :5], y[:, :5])


def test_transposed_convolution_is_the_way_back(device):
    """<conv(a), b> = <a, conv_transpose(b)> for the same kernel."""
    a, w = x64(2, 9, 7, 3), x64(3, 2, 3, 4, seed=1)
    forward = ops.conv2d(a, w, strides=2, padding="valid")
    b = x64(*forward.shape, seed=2)
    back = ops.conv2d_transpose(b, w, strides=2).numpy()
    assert back.shape == (2, 9, 6, 3)  # the last column of a is in no window
    np.testing.assert_allclose((forward.numpy() * b).sum(), (a[:, :, :6] * back).sum(), rtol=1e-12)


def test_separable_is_depthwise_then_pointwise(device):
    layer = layers.SeparableConv2D(5, 3, depth_multiplier=2, dtype="float64")
    x = x64(2, 6, 5, 3)
    y = layer(x)
    each = np.concatenate(
        [ops.conv2d(x[..., c : c + 1], layer.depthwise_kernel[:, :, c : c + 1]).numpy() for c in range(3)], -1
    )
    near(y, each @ layer.pointwise_kernel.numpy()[0, 0], scale=4)


@pytest.mark.parametrize(
    "wrong, error, says",
    [
        (lambda: layers.Convolution2D(64, 3, 3, border_mode="same"), TypeError, r"Conv2D\(filters, \(3, 3\), padding"),
        (lambda: layers.Conv1D(4, 3, padding="full"), ValueError, "'causal'"),
        (lambda: layers.Conv1D(4, 3)(x32(2, 5)), ValueError, r"sequences.*reshape\(-1, 5, 1\)"),
        (lambda: layers.Conv1D(4, 7)(x32(2, 5, 1)), ValueError, "larger than its input"),
        (lambda: layers.Conv2D(4, 3, padding="causal"), ValueError, "padding='causal'"),
        (lambda: layers.DepthwiseConv2D(3)(x32(2, 28, 28)), ValueError, r"reshape\(-1, 28, 28, 1\)"),
        (lambda: layers.DepthwiseConv2D(3, depth_multiplier=0), ValueError, "depth_multiplier=0"),
        (lambda: layers.SeparableConv2D(4, 3).build((None, 5, 5, None)), ValueError, "number of channels"),
        (lambda: layers.Conv2DTranspose(4, 3, 2, output_padding=2), ValueError, "below strides"),
        (lambda: layers.Conv2DTranspose(4, 3, 2, dilation_rate=2), ValueError, "do not go together"),
        (lambda: layers.Conv2DTranspose(4, 3)(x32(2, 28, 28)), ValueError, "expects images"),
        (lambda: ops.conv1d(x32(2, 3), x32(2, 3, 4)), ValueError, "steps"),
        (lambda: ops.depthwise_conv2d(x32(1, 5, 5, 3), x32(2, 2, 2, 1)), ValueError, "filters per channel"),
        (lambda: ops.conv2d_transpose(x32(1, 5, 5, 3), x32(2, 2, 4, 3), padding=1), ValueError, "'valid' or 'same'"),
    ],
)
def test_wrong_arguments(wrong, error, says):
    with pytest.raises(error, match=says):
        wrong()


@pytest.mark.parametrize(
    "make",
    [
        lambda: layers.Conv1D(4, 3, name="c"),
        lambda: layers.DepthwiseConv2D(3, name="c"),
        lambda: layers.SeparableConv2D(4, 3, name="c"),
        lambda: layers.Conv2DTranspose(4, 3, name="c"),
    ],
)
def test_other_channels_than_built_for(make):
    layer = make()
    size = (8,) * layer._dims
    layer(x32(2, *size, 3))
    with pytest.raises(ValueError, match=r"\[c\].*built for 3 input channels.*channels_first"):
        layer(x32(2, 3, *size))
