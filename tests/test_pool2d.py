"""Pooling: kernels against the reference, its rules about padding, NaN and equals, gradients, errors."""

import itertools
import time

import numpy as np
import pytest
from compare import assert_close, gradcheck
from layouts import LAYOUTS, misaligned

import nnfast
from nnfast import _cpu, ops, reference

WINDOWS = {
    "2x2": {"pool": (2, 2), "strides": (2, 2)},
    "2x2, overlapping": {"pool": (2, 2), "strides": (1, 1)},
    "3x3": {"pool": (3, 3), "strides": (2, 2), "pads": ((1, 1), (1, 1))},
    "3x2, uneven padding": {"pool": (3, 2), "strides": (3, 1), "pads": ((0, 2), (1, 0))},
    "gaps": {"pool": (2, 1), "strides": (3, 4)},
    "dilated": {"pool": (2, 3), "strides": (1, 2), "dilation": (3, 2), "pads": ((1, 0), (2, 1))},
    "ceil": {"pool": (2, 3), "strides": (2, 2), "ceil_mode": True},
    "ceil and padding": {"pool": (3, 3), "strides": (2, 3), "pads": ((1, 0), (1, 1)), "ceil_mode": True},
    "4x5": {"pool": (4, 5), "strides": (2, 3)},
    "one cell": {"pool": (1, 1), "strides": (1, 1)},
}
SHAPES = [
    (2, 7, 9, 5),
    (1, 6, 8, 1),
    (2, 5, 67, 2),  # windows in whole vectors
    (1, 6, 64, 1),
    (3, 8, 6, 3),
    (1, 7, 7, 130),
    (17, 6, 6, 4),
    (2, 7, 6, 16),
    (0, 7, 7, 2),
    (2, 7, 7, 0),
]


@pytest.fixture(params=WINDOWS)
def window(request):
    return WINDOWS[request.param]


def images(rng, shape, dtype, channels_first):
    """Random values with equals among them."""
    x = rng.integers(-8, 8, shape).astype(dtype) / 2
    return np.ascontiguousarray(x.transpose(0, 3, 1, 2)) if channels_first else x


def same(got, want):
    assert got.dtype == want.dtype and got.shape == want.shape
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("channels_first", [False, True])
def test_max_pooling_equals_the_reference(window, channels_first, isa, dtype, rng):
    for shape in SHAPES:
        x = images(rng, shape, dtype, channels_first)
        want, at = reference.max_pool2d(x, **window, channels_first=channels_first, indices=True)
        same(_cpu.max_pool2d(x, **window, channels_first=channels_first), want)
        got = _cpu.max_pool2d(x, **window, channels_first=channels_first, indices=True)
        same(got[0], want)
        same(got[1], at)
        dy = rng.integers(-8, 8, want.shape).astype(dtype)
        want = reference.max_pool2d_gradient(dy, x, **window, channels_first=channels_first)
        same(_cpu.max_pool2d_gradient(dy, x, **window, channels_first=channels_first), want)


@pytest.mark.parametrize("channels_first", [False, True])
@pytest.mark.parametrize("count_include_pad", [False, True])
def test_mean_pooling_equals_the_reference(window, channels_first, count_include_pad, isa, dtype, rng):
    options = {**window, "channels_first": channels_first, "count_include_pad": count_include_pad}
    for shape in SHAPES:
        x = images(rng, shape, dtype, channels_first)
        want = reference.avg_pool2d(x, **options)
        same(_cpu.avg_pool2d(x, **options), want)  # sums of small integers are exact, and so is their division
        dy = rng.normal(size=want.shape).astype(dtype)
        got = _cpu.avg_pool2d_gradient(dy, x.shape, **options)
        assert_close(got, reference.avg_pool2d_gradient(dy, x.shape, **options))


@pytest.mark.parametrize("op", ["max", "avg"])
def test_all_layouts_and_threads_give_the_same_bits(op, window, dtype, rng):
    x = rng.normal(size=(3, 7, 9, 6)).astype(dtype)
    forward, backward = getattr(_cpu, f"{op}_pool2d"), getattr(_cpu, f"{op}_pool2d_gradient")
    y = forward(x, **window)
    dy = rng.normal(size=y.shape).astype(dtype)
    dx = backward(dy, x if op == "max" else x.shape, **window)
    for threads, layout in itertools.product((1, 2), LAYOUTS):
        _cpu.set_num_threads(threads)
        same(forward(layout(x), **window), y)
        same(backward(layout(dy), layout(x) if op == "max" else x.shape, **window), dx)
    first = lambda a: a.transpose(0, 3, 1, 2)  # noqa: E731
    for make in (first, lambda a: first(a).copy()):  # channels first, in either memory
        same(forward(make(x), **window, channels_first=True), first(y))
        got = backward(make(dy), make(x) if op == "max" else make(x).shape, **window, channels_first=True)
        same(got, first(dx))


def test_large_images_do_not_depend_on_threads(dtype, rng):
    x = rng.normal(size=(2, 40, 41, 70)).astype(dtype)
    for pool, strides in (((2, 2), (2, 2)), ((3, 3), (2, 2))):
        window = {"pool": pool, "strides": strides, "ceil_mode": True}
        dy = rng.normal(size=_cpu.max_pool2d(x, **window).shape).astype(dtype)
        results = []
        for threads in (1, 2, 3):
            _cpu.set_num_threads(threads)
            results.append(
                [
                    _cpu.max_pool2d(x, **window),
                    _cpu.avg_pool2d(x, **window),
                    _cpu.max_pool2d_gradient(dy, x, **window),
                    _cpu.avg_pool2d_gradient(dy, x.shape, **window),
                ]
            )
        for other in results[1:]:
            for a, b in zip(results[0], other):
                same(b, a)
        assert_close(results[0][2], reference.max_pool2d_gradient(dy, x, **window))


@pytest.mark.parametrize("channels", [1, 4, 19])
def test_nan_wins_and_padding_never_does(channels, isa, dtype):
    x = np.full((1, 4, 4, channels), -np.inf, dtype)
    x[0, 3, 3] = np.nan
    x[0, 2, 2] = np.inf
    x[0, 0, 1] = -1e30
    window = {"pool": (3, 3), "strides": (2, 2), "pads": ((1, 1), (1, 1))}
    y, at = _cpu.max_pool2d(x, **window, indices=True)
    same(y, _cpu.max_pool2d(x, **window))
    np.testing.assert_array_equal(y[0, :, :, 0], np.array([[-1e30, -1e30], [-np.inf, np.nan]], dtype))
    np.testing.assert_array_equal(at[0, :, :, 0], [[1, 1], [4, 15]])
    dx = _cpu.max_pool2d_gradient(np.ones_like(y), x, **window)
    expected = np.zeros((4, 4), dtype)
    expected[0, 1], expected[1, 0], expected[3, 3] = 2, 1, 1
    for c in range(channels):
        np.testing.assert_array_equal(dx[0, :, :, c], expected)


def test_the_first_of_equals_and_of_nans_gets_the_gradient(isa, dtype):
    for channels in (1, 8, 17):
        x = np.zeros((1, 2, 2, channels), dtype)
        x[0, 1] = np.nan
        dx = _cpu.max_pool2d_gradient(np.ones((1, 1, 1, channels), dtype), x, pool=(2, 2), strides=(2, 2))
        np.testing.assert_array_equal(dx[0, :, :, 0], [[0, 0], [1, 0]])
        dx = _cpu.max_pool2d_gradient(np.ones((1, 1, 1, channels), dtype), 0 * x[:, :1, :], pool=(1, 2), strides=(2, 2))
        np.testing.assert_array_equal(dx[0, :, :, channels - 1], [[1, 0]])


@pytest.mark.parametrize("width", [1, 7, 8, 19, 33])
@pytest.mark.parametrize("spare", [0, 1])  # a row and a column that no window has
def test_every_window_of_pairs_finds_its_winner(width, spare, isa, dtype, rng):
    cells = np.array(list(itertools.product([0, 1, 2, np.nan], repeat=4)), dtype)[rng.permutation(256)]
    cells = np.resize(cells, (2, 3, -(-256 // (6 * width)), width, 2, 2))
    x = np.zeros((*cells.shape[:2], 2 * cells.shape[2] + spare, 2 * width + spare), dtype)
    x[:, :, : 2 * cells.shape[2], : 2 * width] = cells.transpose(0, 1, 2, 4, 3, 5).reshape(2, 3, -1, 2 * width)
    dy = rng.standard_normal(cells.shape[:4]).astype(dtype)
    how = {"pool": (2, 2), "strides": (2, 2), "channels_first": True}
    wanted = reference.max_pool2d_gradient(dy, x, **how)
    same(_cpu.max_pool2d_gradient(dy, x, **how), wanted)
    same(_cpu.max_pool2d_gradient(dy, np.repeat(x, 2, axis=1)[:, ::2], **how), wanted)  # planes with gaps between them


def test_wrong_arguments():
    x = np.ones((1, 4, 5, 2), "float32")
    ok = {"pool": (2, 2), "strides": (2, 2)}
    for error, message, args, options in [
        (ValueError, "4 dimensions", (x[0],), ok),
        (ValueError, "at least 1.*pool 0", (x,), {**ok, "pool": (0, 2)}),
        (ValueError, "at least 1.*stride -1", (x,), {**ok, "strides": (1, -1)}),
        (ValueError, "at least 1.*dilation 0", (x,), {**ok, "dilation": (0, 1)}),
        (ValueError, "padding must not be negative", (x,), {**ok, "pads": ((0, -1), (0, 0))}),
        (ValueError, "larger than the padded input: it spans 5 rows, the input has 4", (x,), {**ok, "pool": (5, 1)}),
        (ValueError, "larger than the padded input", (x,), {**ok, "dilation": (1, 5)}),
        (ValueError, "in the padding alone", (x,), {**ok, "pads": ((2, 0), (0, 0))}),
        (ValueError, "in the padding alone", (x,), {**ok, "pads": ((0, 0), (0, 3))}),
        (
            ValueError,
            "in the padding alone",
            (x[:, :1],),
            {"pool": (2, 1), "strides": (1, 1), "dilation": (5, 1), "pads": ((3, 3), (0, 0))},
        ),
        (ValueError, "in the padding alone", (x[:, :0],), {**ok, "pads": ((1, 1), (0, 0))}),
        (OverflowError, "below 2\\*\\*31", (x,), {**ok, "pads": ((2**31, 0), (0, 0))}),
        (OverflowError, "below 2\\*\\*31", (x,), {**ok, "pool": (2**62, 1)}),
        (TypeError, "float32 or float64", (x.astype("int32"),), ok),
    ]:
        for op in (_cpu.max_pool2d, _cpu.avg_pool2d):
            with pytest.raises(error, match=message):
                op(*args, **options)
    dy = np.ones((1, 2, 2, 2), "float32")
    for f in (lambda d: _cpu.max_pool2d_gradient(d, x, **ok), lambda d: _cpu.avg_pool2d_gradient(d, x.shape, **ok)):
        assert f(dy).shape == x.shape
        with pytest.raises(
            ValueError, match=r"dy must have the shape of the result, \(1, 2, 2, 2\). Received: \(1, 2, 3, 2\)"
        ):
            f(np.ones((1, 2, 3, 2), "float32"))
    with pytest.raises(TypeError, match="one dtype"):
        _cpu.max_pool2d_gradient(dy.astype("float64"), x, **ok)
    with pytest.raises(ValueError, match="must not be negative"):
        _cpu.avg_pool2d_gradient(dy, (1, -4, 5, 2), **ok)
    with pytest.raises(TypeError):
        _cpu.max_pool2d(x, pool=(1.5, 2), strides=(1, 1))
    same(_cpu.max_pool2d(misaligned(x), **ok), np.ones_like(dy))


# ---- ops ----


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_gradients(data_format, device, rng):
    shape = (2, 5, 6, 3)
    x = rng.permutation(np.prod(shape)).reshape(shape) / 10.0  # no equals, and gaps above the step of the check
    x = x.transpose(0, 3, 1, 2) if data_format == "channels_first" else x
    for options in (
        {},
        {"strides": 1, "padding": "same"},
        {"strides": (2, 1), "padding": ((1, 0), (0, 1)), "ceil_mode": True},
        {"dilation": 2, "strides": 1},
    ):
        gradcheck(lambda v, o=options: ops.max_pool2d(v, (2, 3), data_format=data_format, **o), x)
        gradcheck(lambda v, o=options: ops.avg_pool2d(v, (2, 3), data_format=data_format, **o), x)
    gradcheck(lambda v: ops.avg_pool2d(v, 3, padding="same", count_include_pad=True, data_format=data_format), x)
    gradcheck(lambda v: ops.global_max_pool2d(v, data_format=data_format), x)
    gradcheck(lambda v: ops.global_avg_pool2d(v, keepdims=True, data_format=data_format), x)


def test_shapes_and_values(device, rng):
    x = rng.normal(size=(2, 7, 8, 3)).astype("float32")
    y, at = ops.max_pool2d(x, 2, return_indices=True)
    assert y.shape == at.shape == (2, 3, 4, 3) and at.dtype == "int64"
    np.testing.assert_array_equal(
        np.take_along_axis(x.reshape(2, 56, 3), at.numpy().reshape(2, 12, 3), 1), y.numpy().reshape(2, 12, 3)
    )
    for options in (
        {},
        {"padding": "same"},
        {"strides": 3, "padding": 1},
        {"ceil_mode": True},
        {"dilation": (2, 1), "strides": 1},
    ):
        for op, name in ((ops.max_pool2d, "MaxPool2D"), (ops.avg_pool2d, "AvgPool2D")):
            shape_of = getattr(ops.pool, name)().output_shape
            assert op(x, (3, 2), **options).shape == shape_of(x.shape, (3, 2), **options)
            shape = op(x.transpose(0, 3, 1, 2), (3, 2), data_format="channels_first", **options).shape
            assert shape == shape_of((2, 3, 7, 8), (3, 2), data_format="channels_first", **options)
            assert shape_of((None, 3, None, 8), (3, 2), data_format="channels_first", **options) == (
                None,
                3,
                None,
                shape[3],
            )
    assert ops.global_avg_pool2d(x).shape == (2, 3) and ops.global_max_pool2d(x, keepdims=True).shape == (2, 1, 1, 3)
    assert ops.max_pool2d(np.ones((1, 2, 2, 1), int), 2).dtype == nnfast.config.floatx()


def test_ops_check_their_arguments():
    x = np.ones((1, 4, 4, 1), "float32")
    for op in (ops.max_pool2d, ops.avg_pool2d):
        name = op.__name__
        for error, message, f in [
            (ValueError, "pool_size must be at least 1", lambda op=op: op(x, 0)),
            (TypeError, "strides must be made of integers", lambda op=op: op(x, 2, strides=1.5)),
            (ValueError, "padding must be 'valid'", lambda op=op: op(x, 2, padding="full")),
            (ValueError, "data_format must be", lambda op=op: op(x, 2, data_format="NCHW")),
            (ValueError, "x must be", lambda op=op: op(x[0], 2)),
            (ValueError, "larger than the padded input", lambda op=op: op(x, 5)),
            (OverflowError, "below 2\\*\\*31", lambda op=op: op(x, 2, padding=2**40)),
        ]:
            with pytest.raises(error, match=rf"\[{name}\] .*{message}"):
                f()
    with pytest.raises(ValueError, match=r"\[max_pool2d\] the window is larger"):
        ops.pool.MaxPool2D().output_shape((None, 4, 4, 1), 5)
    with pytest.raises(ValueError, match=r"\[global_max_pool2d\] x must be"):
        ops.global_max_pool2d(x[0])


def _sees(n, k, stride, d, before, after, ceil_mode):
    """Does every window along an axis read a cell, counted one by one? None: there is no window."""
    padded, span = n + before + after, (k - 1) * d + 1
    if span > padded:
        return None
    size = (padded - span + (stride - 1 if ceil_mode else 0)) // stride + 1
    if ceil_mode and (size - 1) * stride >= n + before:
        size -= 1
    return all(any(0 <= w * stride - before + j * d < n for j in range(k)) for w in range(size))


def test_windows_in_the_padding_alone_are_found(rng):
    found = {True: 0, False: 0}
    for _ in range(4000):
        n, k, stride, d = (int(rng.integers(1, m)) for m in (9, 6, 9, 13))
        before, after, ceil_mode = int(rng.integers(0, 30)), int(rng.integers(0, 12)), bool(rng.integers(2))
        want = _sees(n, k, stride, d, before, after, ceil_mode)
        if want is None:
            continue
        found[want] += 1
        how = {"pool": (k, 1), "strides": (stride, 1), "pads": ((before, after), (0, 0)), "dilation": (d, 1)}
        try:
            _cpu.max_pool2d(np.zeros((0, n, 1, 1), np.float32), **how, ceil_mode=ceil_mode)
            got = True
        except ValueError as e:
            assert "padding alone" in str(e)
            got = False
        assert got == want, (n, how, ceil_mode)
    assert min(found.values()) > 100


def test_the_check_of_huge_windows_takes_no_time():
    huge = 2**31 - 1
    how = {"pool": (2, 1), "strides": (1, 1), "dilation": (huge, 1)}
    begin = time.perf_counter()
    for pads in (((huge, huge), (0, 0)), ((huge, 0), (0, 0))):
        y = _cpu.max_pool2d(np.zeros((0, huge, 1, 1), np.float32), pads=pads, **how)
        assert y.shape == (0, sum(pads[0]), 1, 1)
        with pytest.raises(ValueError, match="padding alone"):  # of rows -1 and huge - 1 there is none
            _cpu.max_pool2d(np.zeros((0, huge - 1, 1, 1), np.float32), pads=((huge, huge), (0, 0)), **how)
    assert time.perf_counter() - begin < 1


# ---- behind a convolution: its activation is differentiated at the winners alone ----


def _pooled_gradients(activation, data_format, size, between, uses_twice=False, sources=None):
    rng = np.random.default_rng(5)
    shape = (2, 7, 9, 3) if data_format == "channels_last" else (2, 3, 7, 9)
    x, w, b = (nnfast.Variable(rng.standard_normal(s)) for s in (shape, (3, 3, 3, 4), (4,)))
    with nnfast.GradientTape(persistent=True) as tape:
        y = ops.conv2d(x, w, b, padding="same", activation=activation, slope=0.5, data_format=data_format)
        tape.watch(y)
        z = ops.reshape(y, y.shape) if between else y
        pooled = ops.max_pool2d(z, size, strides=2, data_format=data_format)
        loss = (pooled * pooled).sum() + (y.sum() if uses_twice else 0.0)
    names = {"x": x, "w": w, "b": b, "y": y}
    return [tape.gradient(loss, [names[s] for s in sources or ("x", "w", "b")]) for _ in range(2)]


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize("activation", ["linear", "relu", "leaky_relu", "elu", "selu", "sigmoid", "tanh", "softplus"])
def test_gradients_through_a_convolution(device, activation, data_format):
    for size in (2, 3):
        for uses_twice in (False, True):
            got = _pooled_gradients(activation, data_format, size, False, uses_twice)
            expected = _pooled_gradients(activation, data_format, size, True, uses_twice)
            for once in got:
                for g, e in zip(once, expected[0]):
                    np.testing.assert_allclose(g.numpy(), e.numpy(), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("sources", [("y",), ("y", "w"), ("w",), ("b",)])
def test_the_gradient_by_the_output_of_a_convolution_is_that_before_its_activation(device, sources):
    """As maps of class activation ask for it: not zero where relu is."""
    got = _pooled_gradients("relu", "channels_last", 2, False, sources=sources)[0]
    expected = _pooled_gradients("relu", "channels_last", 2, True, sources=sources)[0]
    for g, e in zip(got, expected):
        np.testing.assert_allclose(g.numpy(), e.numpy(), rtol=1e-9, atol=1e-12)


def test_the_activation_is_differentiated_at_the_winners_alone(monkeypatch, rng):
    seen = []
    plain = reference.bias_activation_gradient
    monkeypatch.setattr(nnfast.device, "kernels", reference)
    monkeypatch.setattr(
        reference, "bias_activation_gradient", lambda dy, *a, **how: seen.append(dy.shape) or plain(dy, *a, **how)
    )
    w = nnfast.Variable(rng.standard_normal((3, 3, 2, 5)))
    with nnfast.GradientTape() as tape:
        y = ops.max_pool2d(ops.conv2d(rng.standard_normal((1, 10, 8, 2)), w, activation="relu"), 2)
    tape.gradient(y, w)
    assert seen == [(1, 4, 3, 5)]
