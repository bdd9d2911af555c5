"""conv2d and its gradients: every parameter, ISA and dtype against the reference, exact where the data is integers."""

import numpy as np
import pytest
from compare import assert_close, gradcheck
from hypothesis import given, settings
from hypothesis import strategies as st
from layouts import LAYOUTS

import nnfast
from nnfast import _cpu, ops, reference

NONE = ((0, 0), (0, 0))

# What goes by winograd.h, in the form of CASES below: images of even and odd sizes, one block of tiles and several,
# channels and filters around pieces and panels, padding without sense.
WINOGRAD = [
    (3, 9, 11, 70, 3, 3, 81, (1, 1), ((1, 1), (1, 1)), (1, 1), 1),
    (1, 17, 20, 20, 3, 3, 20, (1, 1), ((2, 0), (0, 1)), (1, 1), 1),
    (9, 3, 3, 21, 3, 3, 67, (1, 1), NONE, (1, 1), 1),
    (1, 1, 2, 130, 3, 3, 40, (1, 1), ((3, 3), (3, 4)), (1, 1), 1),
    (65, 2, 2, 20, 3, 3, 33, (1, 1), ((1, 1), (1, 1)), (1, 1), 1),
    (2, 7, 8, 33, 5, 5, 37, (1, 1), ((2, 2), (2, 1)), (1, 1), 1),
    (4, 9, 8, 70, 5, 6, 40, (1, 1), NONE, (1, 1), 1),
]

# N, H, W, C, R, S, F, strides, pads, dilation, groups: each value of each with each of the others at least once, tiles
# and panels that are full, one more and one less, and geometry without sense but with an answer.
CASES = [
    (2, 7, 6, 3, 3, 3, 32, (1, 1), ((1, 1), (1, 1)), (1, 1), 1),
    (1, 28, 28, 1, 3, 3, 5, (1, 1), NONE, (1, 1), 1),
    (3, 5, 9, 33, 1, 1, 31, (1, 1), NONE, (1, 1), 1),
    (2, 9, 8, 16, 1, 1, 17, (2, 2), NONE, (1, 1), 1),
    (2, 10, 11, 4, 3, 2, 65, (2, 1), ((0, 1), (0, 1)), (1, 1), 1),
    (1, 23, 19, 3, 7, 7, 8, (2, 2), ((3, 3), (3, 3)), (1, 1), 1),
    (5, 6, 6, 8, 5, 5, 16, (1, 1), ((2, 2), (2, 2)), (1, 1), 1),
    (2, 12, 9, 6, 3, 3, 4, (1, 2), ((2, 0), (1, 3)), (2, 3), 1),
    (1, 13, 13, 2, 3, 3, 3, (3, 3), ((1, 2), (0, 1)), (2, 2), 1),
    (1, 9, 9, 5, 2, 2, 3, (4, 5), NONE, (3, 1), 1),
    (2, 8, 8, 12, 3, 3, 18, (1, 1), ((1, 1), (1, 1)), (1, 1), 3),
    (2, 8, 7, 4, 3, 2, 8, (2, 2), ((1, 0), (1, 0)), (1, 2), 2),
    (2, 8, 9, 37, 3, 3, 37, (1, 1), ((1, 1), (1, 1)), (1, 1), 37),
    (1, 3, 20, 5, 2, 3, 5, (1, 1), ((4, 4), (4, 4)), (1, 1), 5),
    (1, 9, 8, 70, 3, 3, 70, (2, 2), ((0, 1), (0, 1)), (1, 1), 70),
    (2, 7, 7, 3, 3, 3, 6, (1, 1), ((1, 1), (1, 1)), (2, 1), 3),
    (1, 1, 400, 2, 1, 5, 3, (1, 1), ((0, 0), (2, 2)), (1, 1), 1),
    (1, 300, 2, 2, 4, 1, 3, (1, 1), ((3, 0), (0, 0)), (1, 1), 1),
    (1, 4, 4, 2, 3, 3, 2, (1, 1), ((50, 50), (60, 60)), (50, 60), 1),
    (1, 4, 5, 2, 2, 2, 3, (9, 9), ((7, 9), (9, 9)), (1, 1), 1),
    (0, 5, 5, 3, 3, 3, 4, (1, 1), NONE, (1, 1), 1),
    (2, 5, 5, 0, 3, 3, 4, (1, 1), NONE, (1, 1), 1),
    (2, 5, 5, 3, 3, 3, 0, (1, 1), NONE, (1, 1), 1),
    (2, 0, 4, 3, 2, 2, 4, (1, 1), ((1, 2), (0, 0)), (1, 1), 1),
    (2, 4, 0, 3, 1, 2, 6, (1, 1), ((0, 0), (1, 1)), (1, 1), 3),
    (2, 6, 5, 20, 3, 3, 60, (2, 1), ((1, 1), (1, 0)), (1, 1), 20),
    (1, 6, 6, 300, 2, 2, 40, (1, 1), NONE, (1, 1), 1),
    (2, 11, 6, 2, 5, 5, 33, (1, 1), ((2, 2), (2, 2)), (1, 1), 1),
    (3, 9, 9, 1, 3, 3, 32, (1, 1), ((1, 1), (1, 1)), (1, 1), 1),
    *WINOGRAD,
]


def operands(rng, case, dtype, channels_first, whole=True):
    n, h, w, c, r, s, f, strides, pads, dilation, groups = case
    make = (lambda *size: rng.integers(-4, 5, size)) if whole else (lambda *size: rng.standard_normal(size))
    x = make(n, c, h, w) if channels_first else make(n, h, w, c)
    options = {
        "strides": strides,
        "pads": pads,
        "dilation": dilation,
        "groups": groups,
        "channels_first": channels_first,
    }
    return x.astype(dtype), make(r, s, c // groups, f).astype(dtype), make(f).astype(dtype), options


def forward_and_gradients(k, x, w, b, dz, options):
    return (
        k.conv2d(x, w, b, **options),
        k.conv2d_input_gradient(dz, w, x.shape, **options),
        k.conv2d_filter_gradient(x, dz, w.shape, **options),
    )


@pytest.mark.parametrize("channels_first", [False, True])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_small_integers_are_exact(isa, dtype, rng, case, channels_first):
    x, w, b, options = operands(rng, case, dtype, channels_first)
    dz = rng.integers(-4, 5, reference.conv2d(x, w, **options).shape).astype(dtype)
    expected = forward_and_gradients(reference, x, w, b, dz, options)
    got = forward_and_gradients(_cpu, x, w, b, dz, options)
    for e, g in zip(expected, got):
        assert g.dtype == dtype and g.flags.c_contiguous
        np.testing.assert_array_equal(g, e)


@pytest.mark.parametrize("width", [1, 2, 7, 8, 9, 16, 19])
@pytest.mark.parametrize("kernel", [1, 2, 3, 5])
def test_depthwise_tiles(isa, dtype, rng, width, kernel):
    """Rows of pixels around the tile, channels around the vector, taps that share cells and taps that do not."""
    for channels in (2, 15, 17, 33):
        for step, dilation in ((1, 1), (1, 2), (2, 1), (2, 2)):
            w = (width - 1) * step + (kernel - 1) * dilation + 1  # so many pixels see the whole filter
            case = (1, 4, w, channels, 2, kernel, channels, (1, step), ((1, 0), (2, 1)), (1, dilation), channels)
            x, filters, b, options = operands(rng, case, dtype, False)
            dz = rng.integers(-4, 5, reference.conv2d(x, filters, **options).shape).astype(dtype)
            expected = forward_and_gradients(reference, x, filters, b, dz, options)
            for e, g in zip(expected, forward_and_gradients(_cpu, x, filters, b, dz, options)):
                np.testing.assert_array_equal(g, e)


@pytest.mark.parametrize("case", CASES[::4], ids=str)
def test_floats_are_close(isa, dtype, rng, case):
    x, w, b, options = operands(rng, case, dtype, False, whole=False)
    dz = rng.standard_normal(reference.conv2d(x, w, **options).shape).astype(dtype)
    exact = forward_and_gradients(reference, *(a.astype(np.float64) for a in (x, w, b, dz)), options)
    for e, g in zip(exact, forward_and_gradients(_cpu, x, w, b, dz, options)):
        assert_close(g, e.astype(dtype), scale=4)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("case", [CASES[0], CASES[3], CASES[10], CASES[12], WINOGRAD[0]], ids=str)
def test_any_layout(rng, dtype, case, layout):
    x, w, b, options = operands(rng, case, dtype, False)
    dz = rng.integers(-4, 5, reference.conv2d(x, w, **options).shape).astype(dtype)
    expected = forward_and_gradients(reference, x, w, b, dz, options)
    given_ = [layout(a) for a in (x, w, b, dz)]
    for e, g in zip(expected, forward_and_gradients(_cpu, *given_, options)):
        np.testing.assert_array_equal(g, e)
    for before, after in zip((x, w, b, dz), given_):
        np.testing.assert_array_equal(after, before)


def test_repeated_operands(rng):
    x = np.broadcast_to(rng.integers(-4, 5, (1, 6, 6, 1)).astype("float32"), (2, 6, 6, 8))
    w = np.broadcast_to(np.float32(2), (3, 3, 8, 40))
    dz = np.broadcast_to(np.float32(3), (2, 4, 4, 40))
    for e, g in zip(
        forward_and_gradients(reference, x, w, None, dz, {}), forward_and_gradients(_cpu, x, w, None, dz, {})
    ):
        np.testing.assert_array_equal(g, e)


@pytest.mark.parametrize("step", [1, 2])
def test_into_given_memory(rng, isa, step):
    x, w, b, options = operands(rng, CASES[0], "float32", False)
    expected = reference.conv2d(x, w, b, **options)
    big = np.full((*expected.shape[:3], step * expected.shape[3]), 7, "float32")
    out = big[..., ::step]
    assert _cpu.conv2d(x, w, b, out=out, **options) is out
    np.testing.assert_array_equal(out, expected)
    if step > 1:
        assert np.all(big[..., 1::2] == 7)
    with pytest.raises(ValueError, match="overlaps an input"):
        _cpu.conv2d(x, np.ones((1, 1, 3, 3), "float32"), out=x)


@pytest.mark.parametrize("activation", range(9))
@pytest.mark.parametrize("case", [CASES[0], CASES[12], WINOGRAD[2]], ids=str)
def test_fused_activations(isa, dtype, rng, activation, case):
    x, w, b, options = operands(rng, case, dtype, False, whole=False)
    w = w / 4
    expected = reference.conv2d(x, w, b, activation=activation, slope=0.3, **options)
    assert_close(_cpu.conv2d(x, w, b, activation=activation, slope=0.3, **options), expected, scale=4)


@pytest.mark.parametrize("activation", range(9))
def test_nan_propagates(isa, activation):
    x = np.full((1, 1, 1, 1), np.nan, "float32")
    assert np.isnan(_cpu.conv2d(x, np.ones((1, 1, 1, 1), "float32"), activation=activation, slope=0.1)).all()


@pytest.mark.parametrize(
    "case", [*CASES[:3], CASES[6], CASES[12], CASES[13], CASES[18], CASES[24], *WINOGRAD[:2]], ids=str
)
def test_any_number_of_threads_gives_the_same_bits(rng, case):
    x, w, b, options = operands(rng, (4, *case[1:]), "float32", False, whole=False)
    dz = rng.standard_normal(reference.conv2d(x, w, **options).shape).astype("float32")
    answers = []
    for count in (1, 2, 3, 8):
        _cpu.set_num_threads(count)
        answers.append([a.tobytes() for a in forward_and_gradients(_cpu, x, w, b, dz, options)])
    assert all(a == answers[0] for a in answers)


# ---- winograd.h ----


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("where", ["x", "w", "dz"])
def test_what_is_not_finite_goes_no_further_than_its_products(isa, rng, value, where):
    x, w, b, options = operands(rng, WINOGRAD[0], "float32", False)
    dz = rng.integers(-4, 5, reference.conv2d(x, w, **options).shape).astype("float32")
    {"x": x, "w": w, "dz": dz}[where].flat[1234] = value
    with np.errstate(invalid="ignore"):
        expected = forward_and_gradients(reference, x, w, b, dz, options)
    assert not np.isfinite(expected[0]).all() or where == "dz"
    for e, g in zip(expected, forward_and_gradients(_cpu, x, w, b, dz, options)):
        np.testing.assert_array_equal(g, e)
        if where == "w":  # its gradients go by products with padding, which the reference leaves out
            break


def test_the_largest_floats_do_not_overflow_on_the_way(isa):
    """Sums of them, which a transform needs and the result does not."""
    x = np.full((1, 8, 8, 32), np.finfo("float32").max, "float32")
    w = np.zeros((3, 3, 32, 32), "float32")
    w[1, 1] = np.eye(32)
    same = {"pads": ((1, 1), (1, 1))}
    np.testing.assert_array_equal(_cpu.conv2d(x, w, **same), x)
    np.testing.assert_array_equal(_cpu.conv2d_input_gradient(x, w, x.shape, **same), x)


@pytest.mark.parametrize("data", ["normal", "one-sided", "badly scaled", "one channel"])
@pytest.mark.parametrize("channels", [20, 512])
@pytest.mark.parametrize("precision", [0, 1], ids=["highest", "high"])
def test_errors_stay_in_the_stated_bound(isa, dtype, rng, channels, data, precision):
    """The bound of winograd.h: 6 epsilon (20 for tiles of 4x4) times the sum over channels and taps of the largest cell
    of the tile's window times the largest weight."""
    n, h, w_, f = 8, 6, 10, 32
    tile, bound = (4, 20) if precision and dtype == "float32" else (2, 6)
    x, w = rng.standard_normal((n, h, w_, channels)), rng.standard_normal((3, 3, channels, f))
    if data == "one-sided":
        x, w = np.abs(x) + 1, np.abs(w) + 1
    if data == "badly scaled":
        x, w = x * 10 ** rng.uniform(-6, 6, x.shape), w * 10 ** rng.uniform(-6, 6, w.shape)
    if data == "one channel":  # what a transform makes of others does not average its errors out
        x, w = np.sign(x) * rng.uniform(0.9, 1, x.shape), np.sign(w) * rng.uniform(0.9, 1, w.shape)
        x[..., 1:] = 0
    x, w = x.astype(dtype), w.astype(dtype)
    got = _cpu.conv2d(x, w, precision=precision)
    assert (got == _cpu.conv2d(x, w)).all() == (tile == 2)  # the wider tiles are used
    wide = np.float64 if dtype == "float32" else np.longdouble
    exact = reference.conv2d(x.astype(wide), w.astype(wide))
    largest = np.abs(w).max((0, 1)).astype(float)
    for i in range(0, h - 2, tile):
        for j in range(0, w_ - 2, tile):
            window = np.abs(x[:, i : i + tile + 2, j : j + tile + 2]).max((1, 2))
            error = np.abs(got - exact)[:, i : i + tile, j : j + tile].max((1, 2))
            assert np.all(error <= bound * 9 * np.finfo(dtype).eps * (window @ largest))


def test_subnormals_are_flushed(isa):
    tiny = np.full((1, 4, 4, 8), 1e-30, "float32")
    w = np.full((3, 3, 8, 4), 1e-15, "float32")
    assert not _cpu.conv2d(tiny, w).any()


# ---- the public op ----


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize(
    "options",
    [
        {"padding": "same", "activation": "tanh"},
        {"strides": (2, 1), "dilation": (1, 2), "padding": ((1, 0), (2, 1))},
        {"groups": 2, "padding": 1, "strides": 2},
        {"groups": 4, "activation": "sigmoid"},
    ],
    ids=str,
)
def test_gradients(device, rng, options, data_format):
    shape = (2, 5, 6, 4) if data_format == "channels_last" else (2, 4, 5, 6)
    x = rng.standard_normal(shape)
    w = rng.standard_normal((3, 2, 4 // options.get("groups", 1), 4))
    b = rng.standard_normal(4)
    gradcheck(lambda *a: ops.conv2d(*a, data_format=data_format, **options), x, w, b)


def test_gradients_only_of_what_is_asked(rng, monkeypatch):
    x, w = rng.standard_normal((1, 4, 4, 2)), nnfast.Variable(rng.standard_normal((3, 3, 2, 3)))
    monkeypatch.setattr(nnfast.device, "kernels", reference)
    monkeypatch.setattr(reference, "conv2d_input_gradient", None)
    with nnfast.GradientTape() as tape:
        y = ops.conv2d(x, w)
    assert tape.gradient(y, w).shape == w.shape


@pytest.mark.parametrize("size", [1, 2, 5, 6, 7, 28])
@pytest.mark.parametrize("kernel", [1, 2, 3, 4])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_same_padding(size, kernel, stride):
    x, w = np.ones((1, size, size, 1), "float32"), np.ones((kernel, kernel, 1, 1), "float32")
    y = ops.conv2d(x, w, strides=stride, padding="same")
    out = -(-size // stride)
    assert y.shape == (1, out, out, 1)
    total = max((out - 1) * stride + kernel - size, 0)  # the odd cell goes after
    pads = ((total // 2, total - total // 2),) * 2
    np.testing.assert_array_equal(y, reference.conv2d(x, w, strides=(stride, stride), pads=pads))


def test_output_shape():
    shape = ops.conv._conv2d.output_shape
    assert shape((None, 28, 28, 1), (3, 3, 1, 32), padding="same") == (None, 28, 28, 32)
    assert shape((None, None, 28, 1), (3, 3, 1, 32), strides=2) == (None, None, 13, 32)
    assert shape((None, 3, None, 9), (3, 3, 3, 6), data_format="channels_first") == (None, 6, None, 7)
    assert shape((8, None, None, 1), (3, 3, 1, 2), padding="same", strides=2) == (8, None, None, 2)
    with pytest.raises(ValueError, match="larger than the padded input"):
        shape((None, 2, 2, 1), (3, 3, 1, 4))


# The patch of the course's slide on convolution, a row of padding around it.
PATCH = np.array([[0, 0, 29], [0, 86, 255], [0, 170, 255], [197, 255, 255]], "float32")
KERNEL = np.array([[0, 0, 0], [1, 1, 1], [0, 0, 0]], "float32")


def test_numbers_of_the_course(device, isa):
    x, w = PATCH.reshape(1, 4, 3, 1), KERNEL.reshape(3, 3, 1, 1)
    assert ops.conv2d(x[:, :3], w).item() == 341
    y = ops.conv2d(x, w, padding=((1, 1), (0, 0)))
    assert y.numpy().ravel().tolist() == [29, 341, 425, 707]
    assert not ops.conv2d(np.zeros_like(x), w).numpy().any()
    assert ops.conv2d(np.ones((1, 28, 28, 1), "float32"), np.ones((3, 3, 1, 20), "float32"), padding="same").size == (
        20 * 28 * 28
    )


# ---- bad arguments ----

X, W = np.zeros((8, 28, 28, 1), "float32"), np.zeros((3, 3, 3, 32), "float32")
X3 = np.zeros((2, 6, 6, 3), "float32")
TOO_LARGE = (MemoryError, OverflowError)


def test_channels_that_differ():
    with pytest.raises(
        ValueError,
        match=r"\[conv2d\] w expects 3 input channels, x has 1. Received: x.shape=\(8, 28, 28, 1\), "
        r"w.shape=\(3, 3, 3, 32\)",
    ):
        ops.conv2d(X, W)


@pytest.mark.parametrize(
    ("error", "match", "options"),
    [
        (ValueError, "strides must be at least 1", {"strides": 0}),
        (ValueError, "strides must be at least 1", {"strides": (1, -1)}),
        (TypeError, "strides must be made of integers", {"strides": 1.5}),
        (TypeError, "strides must be made of integers", {"strides": (1.0, 1.0)}),
        (TypeError, "strides must be made of integers", {"strides": True}),
        (ValueError, "strides must be an integer or a pair", {"strides": (1, 1, 1)}),
        (OverflowError, "strides must be below", {"strides": 2**62}),
        (ValueError, "dilation must be at least 1", {"dilation": 0}),
        (TypeError, "dilation must be made of integers", {"dilation": "2"}),
        (ValueError, "groups must be at least 1", {"groups": 0}),
        (ValueError, "must divide the input channels", {"groups": 2}),
        (TypeError, "groups must be made of integers", {"groups": 1.0}),
        (ValueError, "padding must not be negative", {"padding": -1}),
        (ValueError, "padding must not be negative", {"padding": ((0, -1), (0, 0))}),
        (ValueError, "padding must be 'valid', 'same'", {"padding": "full"}),
        (ValueError, "padding must be 'valid', 'same'", {"padding": (1, 1)}),
        (OverflowError, "padding must be below", {"padding": 2**31}),
        (OverflowError, "padding must be below", {"padding": 2**62}),
        (OverflowError, "padding must be below", {"padding": 2**70}),
        (ValueError, "larger than the padded input", {"dilation": 3}),
        (ValueError, "data_format must be", {"data_format": "NHWC"}),
        (ValueError, "w expects 3 input channels, x has 6", {"data_format": "channels_first"}),
        (ValueError, "unknown activation", {"activation": "step"}),
    ],
    ids=str,
)
def test_bad_options(error, match, options):
    with pytest.raises(error, match=match) as caught:
        ops.conv2d(X3, W, **options)
    assert "[conv2d]" in str(caught.value) and "eceived" in str(caught.value)


@pytest.mark.parametrize(
    ("error", "match", "args"),
    [
        (ValueError, "larger than the padded input", (X3[:, :2], W)),
        (ValueError, "at least one row", (X3, W[:0])),
        (ValueError, "x must be", (X3[0], W)),
        (ValueError, "x must be", (X3, W[0])),
        (ValueError, "one value per filter", (X3, W, np.zeros(31, "float32"))),
        (ValueError, "one value per filter", (X3, W, np.zeros((1, 32), "float32"))),
        (TypeError, "float32 and float64", (X3, W.astype("float64"))),
        (TypeError, "complex", (X3.astype("complex64"), W)),
    ],
)
def test_bad_operands(error, match, args):
    with pytest.raises(error, match=match):
        ops.conv2d(*args)


@pytest.mark.parametrize(
    ("error", "options"),
    [
        (OverflowError, {"pads": ((2**31, 0), (0, 0))}),
        (OverflowError, {"pads": ((2**62, 2**62), (0, 0))}),
        (OverflowError, {"strides": (2**40, 1)}),
        (OverflowError, {"dilation": (2**62, 1)}),
        (TOO_LARGE, {"pads": ((2**31 - 1,) * 2,) * 2}),
        (ValueError, {"pads": ((-(2**62), 0), (0, 0))}),
        (TypeError, {"strides": (1.5, 1)}),
        (ValueError, {"groups": -1}),
    ],
    ids=str,
)
def test_kernels_check_for_themselves(error, options):
    with pytest.raises(error):
        _cpu.conv2d(X3, W, **options)
    dz = np.zeros((2, 4, 4, 32), "float32")
    with pytest.raises((ValueError, OverflowError, TypeError)):
        _cpu.conv2d_input_gradient(dz, W, X3.shape, **options)
    with pytest.raises((ValueError, OverflowError, TypeError)):
        _cpu.conv2d_filter_gradient(X3, dz, W.shape, **options)


def test_bad_gradient_shapes():
    dz = np.zeros((2, 4, 4, 31), "float32")
    with pytest.raises(ValueError, match=r"dz must have the shape of the output, \(2, 4, 4, 32\)"):
        _cpu.conv2d_input_gradient(dz, W, X3.shape)
    with pytest.raises(ValueError, match=r"dz must have the shape of the output"):
        _cpu.conv2d_filter_gradient(X3, dz, W.shape)
    with pytest.raises(ValueError, match="must not be negative"):
        _cpu.conv2d_input_gradient(dz, W, (-2, 6, 6, 3))
    with pytest.raises(ValueError, match="w expects 2 input channels"):
        _cpu.conv2d_filter_gradient(X3, dz, (3, 3, 2, 32))


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_geometry(data):
    draw = lambda low, high: data.draw(st.integers(low, high))  # noqa: E731
    groups = draw(1, 3)
    pads = tuple((draw(0, 3), draw(0, 3)) for _ in range(2))
    case = (
        *(draw(0, 2), draw(1, 9), draw(1, 9), groups * draw(1, 5)),
        *(draw(1, 4), draw(1, 4), groups * draw(1, 5)),
        *((draw(1, 4), draw(1, 4)), pads, (draw(1, 3), draw(1, 3)), groups),
    )
    x, w, b, options = operands(np.random.default_rng(draw(0, 1000)), case, "float32", data.draw(st.booleans()))
    try:
        y = _cpu.conv2d(x, w, b, **options)
    except ValueError as e:
        assert "larger than the padded input" in str(e)
        return
    dz = np.ones_like(y)
    for e, g in zip(
        forward_and_gradients(reference, x, w, b, dz, options), forward_and_gradients(_cpu, x, w, b, dz, options)
    ):
        np.testing.assert_array_equal(g, e)


def test_unknown_activation_numbers_are_refused():
    for number in (99, -1):
        with pytest.raises(ValueError, match="activation"):
            _cpu.conv2d(np.ones((1, 4, 4, 1), "f"), np.ones((1, 1, 1, 1), "f"), None, activation=number)
