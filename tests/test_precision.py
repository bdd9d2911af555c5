"""`set_matmul_precision`: the bounds of high and medium, their arithmetic, the guard, and that every op listens."""

import threading

import numpy as np
import pytest
from layouts import LAYOUTS
from test_conv2d import CASES, NONE, WINOGRAD

import nnfast
from nnfast import _cpu, device, ops, reference

HIGH, MEDIUM = 1, 2
# Odd and even channels and pixels, strides, dilation, groups, padding without sense, nothing at all.
CONVOLUTIONS = [
    (2, 9, 8, 16, 1, 1, 17, (2, 2), NONE, (1, 1), 1),
    (2, 10, 11, 17, 3, 2, 65, (2, 1), ((0, 1), (0, 1)), (1, 1), 1),
    (2, 8, 8, 48, 3, 3, 72, (1, 1), ((1, 1), (1, 1)), (1, 1), 3),
    (5, 7, 6, 40, 3, 3, 33, (1, 1), ((1, 1), (1, 1)), (1, 1), 1),
    (1, 13, 13, 20, 3, 3, 30, (3, 3), ((1, 2), (0, 1)), (2, 2), 1),
    *CASES[:13:3],
    *CASES[16:29:3],
]
BOUND = {0: 0.0, HIGH: 2.0**-15, MEDIUM: 2.0**-7 + 2.0**-16}  # of the products; sums add one 2^-24 per term
SIZES = ((1, 1, 1), (3, 2, 0), (16, 16, 32), (17, 33, 65), (31, 31, 33), (33, 97, 130), (50, 70, 801), (2070, 40, 32))


def _units():
    before = _cpu.isa()
    found = []
    for isa in _cpu.isas():
        _cpu.use_isa(isa)
        found += [(isa, unit) for unit in _cpu.matmul_units()]
    _cpu.use_isa(before)
    return found


@pytest.fixture(params=_units(), ids=lambda p: p[1])
def unit(request):
    """Each unit that this machine has, and the simulated ones, for products of any shape."""
    before = _cpu.isa()
    _cpu.use_isa(request.param[0])
    _cpu.use_matmul_unit(request.param[1])
    _cpu.use_gemm_path("pieces")
    yield request.param[1]
    _cpu.use_gemm_path("automatic")
    _cpu.use_isa(before)


@pytest.fixture(params=[HIGH, MEDIUM], ids=["high", "medium"])
def precision(request):
    return request.param


def whole(rng, *shape):
    """Small integers: their products and sums are exact in pieces."""
    return rng.integers(-8, 9, shape).astype(np.float32)


@pytest.mark.parametrize("transposed", ["", "a", "b", "ab"])
@pytest.mark.parametrize("size", SIZES)
def test_exact_on_small_integers(unit, precision, size, transposed, rng):
    m, n, k = size
    a = whole(rng, k, m).T if "a" in transposed else whole(rng, m, k)
    b = whole(rng, n, k).T if "b" in transposed else whole(rng, k, n)
    bias, c = whole(rng, n), whole(rng, m, n)
    np.testing.assert_array_equal(_cpu.gemm(a, b, precision=precision), a @ b)
    got = _cpu.gemm(a, b, bias, alpha=2.0, beta=-3.0, activation=1, out=c.copy(), precision=precision)
    np.testing.assert_array_equal(got, np.maximum(2 * (a @ b) - 3 * c + bias, 0))
    y = np.maximum(whole(rng, m, n), 0)
    d, total = _cpu.gemm_gradient(a, b, y, activation=1, needs_sum=True, precision=precision)
    np.testing.assert_array_equal(d, np.where(y > 0, a @ b, 0))
    np.testing.assert_array_equal(total, np.where(y > 0, a @ b, 0).sum(0))


@pytest.mark.parametrize(("layout_a", "layout_b"), list(zip(LAYOUTS, LAYOUTS[2:] + LAYOUTS[:2])))
def test_layouts(unit, precision, layout_a, layout_b, rng):
    a, b = whole(rng, 37, 71), whole(rng, 71, 45)
    got = _cpu.gemm(layout_a(a), layout_b(b), precision=precision)
    np.testing.assert_array_equal(got, a @ b)


def test_batches_and_outputs_of_any_stride(unit, precision, rng):
    a, b = whole(rng, 3, 40, 36), whole(rng, 3, 36, 24)
    np.testing.assert_array_equal(_cpu.gemm(a, b, precision=precision), a @ b)
    np.testing.assert_array_equal(_cpu.gemm(a[:1], b, precision=precision), a[:1] @ b)
    out = np.zeros((24, 40), np.float32).T
    assert _cpu.gemm(a[0], b[0], out=out, precision=precision) is out
    np.testing.assert_array_equal(out, a[0] @ b[0])
    large = np.full((42, 30), 7, np.float32)
    _cpu.gemm(a[0], b[0], out=large[1:41, 3:27], precision=precision)
    np.testing.assert_array_equal(large[1:41, 3:27], a[0] @ b[0])
    large[1:41, 3:27] = 7
    assert (large == 7).all()


def _data(kind, rng, m, k, n):
    if kind == "one-sided":
        return rng.random((m, k), np.float32), rng.random((k, n), np.float32)
    a, b = rng.standard_normal((m, k), np.float32), rng.standard_normal((k, n), np.float32)
    if kind == "badly scaled":
        scale = 2.0 ** rng.integers(-30, 31, k)
        a, b = (a * scale).astype(np.float32), (b / scale[:, None] * 2.0 ** rng.integers(-8, 9, n)).astype(np.float32)
    return a, b


def _error(got, a, b):
    """The largest |error| relative to |a| |b|."""
    exact, size = a.astype(np.float64) @ b.astype(np.float64), np.abs(a).astype(np.float64) @ np.abs(b)
    return np.max(np.abs(got - exact) / size)


@pytest.mark.parametrize("k", [32, 784, 4096, 16384])
@pytest.mark.parametrize("kind", ["normal", "one-sided", "badly scaled"])
def test_error_stays_in_its_bound(unit, precision, kind, k, rng):
    a, b = _data(kind, rng, 33, k, 48)
    error = _error(_cpu.gemm(a, b, precision=precision), a, b)
    assert error <= BOUND[precision] + k * 2.0**-24  # the promise
    assert error <= BOUND[precision] + 16 * k**0.5 * 2.0**-24  # what sums of blocks reach
    assert _error(reference.gemm(a, b, precision=precision), a, b) <= BOUND[precision] + k * 2.0**-24


def test_arithmetic_is_that_of_the_reference(unit, precision, rng):
    """Apart from the order of the sums: so a piece that is left out, or taken twice, is found."""
    if not _cpu.matmul_unit(precision):
        pytest.skip(f"{unit} has no products of this precision: they are float32")
    for kind in ("normal", "one-sided", "badly scaled"):
        a, b = _data(kind, rng, 40, 300, 50)
        pieces = [reference._to_bfloat16(x).astype(np.float64) for x in (a, b)]
        exact = pieces[0] @ pieces[1]
        if precision == HIGH:
            left = [(x - p).astype(np.float32) for x, p in zip((a, b), pieces)]
            second = [reference._to_bfloat16(x).astype(np.float64) for x in left]
            exact += second[0] @ pieces[1] + pieces[0] @ second[1]
        size = np.abs(a).astype(np.float64) @ np.abs(b)
        assert np.max(np.abs(_cpu.gemm(a, b, precision=precision) - exact) / size) <= 40 * 2.0**-24
        assert np.max(np.abs(reference.gemm(a, b, precision=precision) - exact) / size) <= 40 * 2.0**-24


EXTREME = {
    "inf": np.inf,
    "minus inf": -np.inf,
    "nan": np.nan,
    "largest": np.finfo(np.float32).max,
    "2^63": 2.0**63,
    "minus 2^100": -(2.0**100),
}


@pytest.mark.parametrize("name", EXTREME)
@pytest.mark.parametrize("which", ["a", "b"])
def test_extreme_numbers_are_multiplied_as_float32(unit, precision, name, which, rng):
    a, b = rng.standard_normal((35, 100), np.float32), rng.standard_normal((100, 40), np.float32)
    (a if which == "a" else b)[34 if which == "a" else 99, 39] = EXTREME[name]
    np.testing.assert_array_equal(_cpu.gemm(a, b, precision=precision), _cpu.gemm(a, b))
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(reference.gemm(a, b, precision=precision), a @ b)


@pytest.mark.parametrize("order", ["C", "F"])
def test_small_numbers(unit, order, rng):
    """Below 2^-109 the second piece would be subnormal; medium has no second piece."""
    a = np.asarray(rng.standard_normal((35, 100), np.float32) * np.float32(2.0**-112), order=order)
    b = rng.standard_normal((100, 40), np.float32)
    np.testing.assert_array_equal(_cpu.gemm(a, b, precision=HIGH), _cpu.gemm(a, b))
    assert _error(_cpu.gemm(a, b, precision=MEDIUM), a, b) <= BOUND[MEDIUM] + 100 * 2.0**-24
    a[:, ::3] = 0  # zeros are no small numbers
    a[:, 1::3] = 1
    a[:, 2::3] = 2.0**-109
    assert _error(_cpu.gemm(a, b, precision=HIGH), a, b) <= BOUND[HIGH] + 100 * 2.0**-24


def test_one_extreme_number_in_a_long_sum(unit, precision, rng):
    """Blocks of k fall back one by one, and before any of them has written."""
    a, b = rng.standard_normal((33, 3000), np.float32), rng.standard_normal((3000, 40), np.float32)
    a[5, 1500] = np.inf
    for beta in (0.0, 1.0):
        out = np.full((33, 40), np.nan if beta == 0 else 0, np.float32)
        got = _cpu.gemm(a, b, beta=beta, out=out, precision=precision)
        np.testing.assert_array_equal(got[5], np.copysign(np.float32(np.inf), b[1500]))
        rest = np.delete(np.arange(33), 5)
        assert _error(got[rest], a[rest], b) <= BOUND[precision] + 3000 * 2.0**-24


def test_same_bits_for_any_number_of_threads(unit, precision, rng):
    a, b = rng.standard_normal((200, 900), np.float32), rng.standard_normal((900, 170), np.float32)
    results = []
    for threads in (1, 2, 3):
        nnfast.set_num_threads(threads)
        results.append(_cpu.gemm_gradient(a, b, needs_sum=True, precision=precision))
    for d, total in results[1:]:
        np.testing.assert_array_equal(d, results[0][0])
        np.testing.assert_array_equal(total, results[0][1])


def test_without_a_unit_it_is_float32(isa, precision, rng):
    _cpu.use_matmul_unit("")
    a, b = rng.standard_normal((40, 300), np.float32), rng.standard_normal((300, 50), np.float32)
    assert _cpu.matmul_unit(precision) == ""
    np.testing.assert_array_equal(_cpu.gemm(a, b, precision=precision), _cpu.gemm(a, b))
    with pytest.raises(ValueError, match=r"\[matmul unit\] it does not run here.*'abacus'"):
        _cpu.use_matmul_unit("abacus")


def test_float64_is_float64(unit, precision, rng):
    a, b = rng.standard_normal((40, 300)), rng.standard_normal((300, 50))
    np.testing.assert_array_equal(_cpu.gemm(a, b, precision=precision), _cpu.gemm(a, b))
    np.testing.assert_array_equal(reference.gemm(a, b, precision=precision), a @ b)


# ---- convolutions ----


def _conv(k, x, w, dz, **options):
    return (
        k.conv2d(x, w, **options),
        k.conv2d_input_gradient(dz, w, x.shape, **options),
        k.conv2d_filter_gradient(x, dz, w.shape, **options),
    )


def _conv_operands(make, case, channels_first=False):
    n, h, w, c, r, s, f, strides, pads, dilation, groups = case
    x, filters = make(*((n, c, h, w) if channels_first else (n, h, w, c))), make(r, s, c // groups, f)
    options = {"strides": strides, "pads": pads, "dilation": dilation, "groups": groups}
    options["channels_first"] = channels_first
    return x, filters, make(*reference.conv2d(x, filters, **options).shape), options


@pytest.mark.parametrize("channels_first", [False, True])
@pytest.mark.parametrize("case", CONVOLUTIONS, ids=str)
def test_convolutions_of_small_integers(unit, precision, case, channels_first, rng):
    """Exact where pieces are multiplied; elsewhere F(4x4), whose transforms round."""
    x, w, dz, options = _conv_operands(lambda *size: whole(rng, *size), case, channels_first)
    pieces = "bf16" in unit and precision == MEDIUM
    for e, g in zip(_conv(reference, x, w, dz, **options), _conv(_cpu, x, w, dz, precision=precision, **options)):
        assert g.dtype == np.float32 and g.flags.c_contiguous
        if pieces:
            np.testing.assert_array_equal(g, e)
        else:
            np.testing.assert_allclose(g, e, rtol=0, atol=4e-6 * max(1, np.abs(e).max(initial=0)))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_convolutions_of_any_layout(unit, precision, layout, rng):
    for case in (CONVOLUTIONS[1], CONVOLUTIONS[4], WINOGRAD[0]):
        x, w, dz, options = _conv_operands(lambda *size: whole(rng, *size), case)
        expected = _conv(_cpu, x, w, dz, precision=precision, **options)
        got = _conv(_cpu, layout(x), layout(w), layout(dz), precision=precision, **options)
        for e, g in zip(expected, got):  # F(4x4) wants channels side by side
            np.testing.assert_allclose(g, e, rtol=0, atol=4e-6 * np.abs(e).max())


@pytest.mark.parametrize("activation", [0, 1, 6])
def test_convolutions_with_bias_and_activation(unit, precision, activation, rng):
    for case in (CONVOLUTIONS[0], CONVOLUTIONS[3]):
        x, w, _, options = _conv_operands(lambda *size: rng.standard_normal(size, np.float32), case)
        w *= np.float32(0.2)
        how = {"activation": activation, "precision": precision, **options}
        b = rng.standard_normal(w.shape[3], np.float32)
        expected = reference.conv2d(x, w, b, **how)
        np.testing.assert_allclose(_cpu.conv2d(x, w, b, **how), expected, rtol=0, atol=0.05)


def _tile_bound(x, w, dz, options):
    """For each result the sum of |a| |b|, with the largest of a window in place of each number: a window is what a tile
    of 4x4 pixels looks at, wherever the tile lies."""
    size = [(np.pad(np.abs(a), ((0, 0), (5, 5), (5, 5), (0, 0)))).astype(np.float64) for a in (x, dz)]
    wide = [np.lib.stride_tricks.sliding_window_view(a, (11, 11), axis=(1, 2)).max((-2, -1)) for a in size]
    wide = [a[:, : b.shape[1], : b.shape[2]] for a, b in zip(wide, (x, dz))]
    filters = np.broadcast_to(np.abs(w).max((0, 1)), w.shape).astype(np.float64)
    return _conv(reference, wide[0], filters, wide[1], **options)


def _conv_data(kind, rng, case):
    if kind == "one-sided":
        return _conv_operands(lambda *size: rng.random(size, np.float32), case)
    x, w, dz, options = _conv_operands(lambda *size: rng.standard_normal(size, np.float32), case)
    if kind == "badly scaled":
        scale = 2.0 ** rng.integers(-30, 31, x.shape[3])
        x = (x * scale).astype(np.float32)
        w = (w / scale[:, None] * 2.0 ** rng.integers(-8, 9, w.shape[3])).astype(np.float32)
        dz = (dz * 2.0 ** rng.integers(-20, 21, dz.shape)).astype(np.float32)
    return x, w, dz, options


ERRORS = [
    (1, 9, 11, 96, 3, 3, 24, (1, 1), ((1, 1), (1, 1)), (1, 1), 1),  # F(4x4)
    (1, 9, 7, 40, 5, 5, 32, (1, 1), ((2, 2), (2, 2)), (1, 1), 1),
    (1, 9, 8, 70, 3, 3, 20, (2, 2), ((1, 1), (0, 1)), (1, 1), 1),
    (1, 5, 7, 784, 1, 1, 24, (1, 1), NONE, (1, 1), 1),
]


@pytest.mark.parametrize("path", ["automatic", "pieces"])
@pytest.mark.parametrize("case", ERRORS, ids=str)
@pytest.mark.parametrize("kind", ["normal", "one-sided", "badly scaled"])
def test_error_of_convolutions_stays_in_its_bound(unit, precision, kind, case, path, rng):
    """|a| |b| summed; where transforms mix the numbers of a tile, with the largest of its window."""
    _cpu.use_gemm_path(path)
    x, w, dz, options = _conv_data(kind, rng, case)
    wide = [a.astype(np.float64) for a in (x, w, dz)]
    exact = _conv(reference, *wide, **options)
    products = _conv(reference, *(np.abs(a) for a in wide), **options)
    windows = _tile_bound(x, w, dz, options)
    terms = [w[..., 0].size, w[:, :, 0].size, dz[..., 0].size]
    got = _conv(_cpu, x, w, dz, precision=precision, **options)
    told = _conv(reference, x, w, dz, precision=precision, **options)
    for e, g, t, p, size, k in zip(exact, got, told, products, windows, terms):
        assert np.all(np.abs(t - e) <= (BOUND[precision] + k * 2.0**-24) * p)
        pieces = (path == "pieces" or case is not ERRORS[0]) and "bf16" in unit and precision == MEDIUM
        limit = (BOUND[precision] + k * 2.0**-24) * p if pieces else (2.0**-15 + k * 2.0**-24) * size
        assert np.all(np.abs(g - e) <= limit)


@pytest.mark.parametrize("case", ERRORS, ids=str)
def test_typical_errors_of_convolutions(unit, precision, case, rng):
    """That they are small, and that lower precision is what runs: it differs from highest where it can."""
    x, w, dz, options = _conv_data("normal", rng, case)
    exact = _conv(reference, *(a.astype(np.float64) for a in (x, w, dz)), **options)
    pieces = "bf16" in unit and precision == MEDIUM
    f4 = case[7] == (1, 1) and case[4] > 1
    plain = _conv(_cpu, x, w, dz, **options)
    for e, g, h in zip(exact, _conv(_cpu, x, w, dz, precision=precision, **options), plain):
        error = np.sqrt(np.mean((g - e) ** 2) / np.mean(e**2))
        assert error < (5e-3 if pieces else 5e-6)
        assert (error > 1e-3) == pieces
        assert np.array_equal(g, h) == (not pieces and not f4)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("where", ["x", "w", "dz"])
def test_what_is_not_finite_stays_in_its_products(unit, precision, value, where, rng):
    for case in (ERRORS[0], CONVOLUTIONS[4]):
        x, w, dz, options = _conv_operands(lambda *size: whole(rng, *size), case)
        {"x": x, "w": w, "dz": dz}[where].flat[123] = value
        with np.errstate(invalid="ignore"):
            expected = _conv(_cpu, x, w, dz, **options)
        for e, g in zip(expected, _conv(_cpu, x, w, dz, precision=precision, **options)):
            finite = np.isfinite(e)
            np.testing.assert_array_equal(g[~finite], e[~finite])
            np.testing.assert_allclose(g[finite], e[finite], rtol=0, atol=4e-6 * np.abs(e[finite]).max(initial=0))


@pytest.mark.parametrize("value", [3e38, 2.0**63, -(2.0**100)])
def test_huge_numbers_in_convolutions(unit, precision, value, rng):
    """Too large for pieces, and some for transforms: the results that are finite are right."""
    for case in (ERRORS[0], CONVOLUTIONS[4]):
        x, w, _, options = _conv_operands(lambda *size: whole(rng, *size), case)
        x[0, 2, 3, 5] = value
        w[..., 5, :] = 0
        w[0, 0, 5, 7] = 1
        y = _cpu.conv2d(x, w, precision=precision, **options)
        exact = reference.conv2d(x.astype(np.float64), w.astype(np.float64), **options)
        assert np.isfinite(exact).all() and np.abs(exact).max() > 1e18
        assert np.all(np.abs(y - exact) <= 2.0**-15 * abs(value))


@pytest.mark.parametrize("case", [ERRORS[0], ERRORS[2], CONVOLUTIONS[2]], ids=str)
def test_convolutions_have_the_same_bits_for_any_number_of_threads(unit, precision, case, rng):
    x, w, dz, options = _conv_data("normal", rng, (5, *case[1:]))
    answers = []
    for threads in (1, 2, 3, 8):
        nnfast.set_num_threads(threads)
        answers.append([a.tobytes() for a in _conv(_cpu, x, w, dz, precision=precision, **options)])
    assert all(a == answers[0] for a in answers)


def test_convolutions_of_float64_are_float64(unit, precision, rng):
    x, w, dz, options = _conv_operands(lambda *size: rng.standard_normal(size), ERRORS[0])
    for e, g in zip(_conv(_cpu, x, w, dz, **options), _conv(_cpu, x, w, dz, precision=precision, **options)):
        np.testing.assert_array_equal(g, e)


def test_f4_on_each_instruction_set(isa, rng):
    """The wide transforms of every table, against highest; tiles that hang over, blocks of several images."""
    for case in [*WINOGRAD[:3], WINOGRAD[5], (20, 7, 7, 20, 3, 3, 24, (1, 1), ((1, 1), (1, 1)), (1, 1), 1)]:
        x, w, dz, options = _conv_operands(lambda *size: rng.standard_normal(size, np.float32), case)
        exact = _conv(reference, *(a.astype(np.float64) for a in (x, w, dz)), **options)
        for e, g in zip(exact, _conv(_cpu, x, w, dz, precision=HIGH, **options)):
            np.testing.assert_allclose(g, e, rtol=0, atol=1e-5 * np.abs(e).max())


# ---- the setting ----


@pytest.fixture
def medium():
    nnfast.set_matmul_precision("medium")
    yield
    nnfast.set_matmul_precision("highest")


OPS = {
    "dense": lambda x, w: ops.dense(x, w),
    "dense, bias and tanh": lambda x, w: ops.dense(x, w, np.ones(w.shape[1], "float32"), activation="tanh"),
    "matmul": lambda x, w: ops.matmul(x, w),
    "gemm": lambda x, w: ops.gemm(x, w, alpha=0.5),
    "attention": lambda x, w: ops.attention(x[None, :, None, :], w.T[None, :, None, :], w.T[None, :, None, :]),
}


WITH_PRECISIONS = pytest.mark.parametrize("device", ["cpu", "reference"], indirect=True)  # CUDA's gemm is float32


@WITH_PRECISIONS
@pytest.mark.parametrize("name", OPS)
def test_ops_listen_and_gradients_keep_the_precision_of_the_forward(name, device, medium, rng):
    """The error of medium shows, forward and backward; the gradient is computed in highest but remembers medium."""
    if device == "cpu":
        _cpu.use_isa("simulated")
        _cpu.use_gemm_path("pieces")
    try:
        x = nnfast.Variable(rng.standard_normal((48, 64), np.float32))
        w = nnfast.Variable(rng.standard_normal((64, 40), np.float32))

        def run():
            nnfast.set_matmul_precision("medium")
            with nnfast.GradientTape() as tape:
                y = OPS[name](x, w)
            nnfast.set_matmul_precision("highest")
            return [y.numpy(), *(g.numpy() for g in tape.gradient(y, [x, w]))]

        def plain():
            with nnfast.GradientTape() as tape:
                y = OPS[name](x, w)
            return [y.numpy(), *(g.numpy() for g in tape.gradient(y, [x, w]))]

        used, exact = run(), plain()
        for got, expected in zip(used, exact):
            difference = np.max(np.abs(got - expected)) / np.max(np.abs(expected))
            assert 1e-5 < difference < 0.1, difference
    finally:
        _cpu.use_isa(_cpu.isas()[0])
        _cpu.use_gemm_path("automatic")


@WITH_PRECISIONS
@pytest.mark.parametrize("name", ["conv2d", "conv2d_transpose"])
def test_convolution_ops_listen_and_gradients_keep_the_precision_of_the_forward(name, device, rng):
    if device == "cpu":
        _cpu.use_isa("simulated")
        _cpu.use_matmul_unit("simulated_bf16")
    x = nnfast.Variable(rng.standard_normal((2, 6, 6, 32), np.float32))
    w = nnfast.Variable(rng.standard_normal((3, 3, 32, 32), np.float32))

    def run(precision):
        nnfast.set_matmul_precision(precision)
        with nnfast.GradientTape() as tape:
            y = getattr(ops, name)(x, w, strides=2)
        nnfast.set_matmul_precision("highest")
        return [y.numpy(), *(g.numpy() for g in tape.gradient(y, [x, w]))]

    try:
        for got, expected in zip(run("medium"), run("highest")):
            difference = np.max(np.abs(got - expected)) / np.max(np.abs(expected))
            assert 1e-5 < difference < 0.1, difference
    finally:
        _cpu.use_isa(_cpu.isas()[0])


def test_small_products_stay_float32(rng):
    """Where packing pieces does not pay."""
    for m, n, k in ((128, 10, 512), (9800, 64, 288), (32, 768, 300), (64, 64, 64), (1, 512, 784)):
        a, b = rng.standard_normal((m, k), np.float32), rng.standard_normal((k, n), np.float32)
        np.testing.assert_array_equal(_cpu.gemm(a, b, precision=MEDIUM), _cpu.gemm(a, b))


def test_setting_is_of_its_thread(medium):
    seen = []
    thread = threading.Thread(target=lambda: seen.append(nnfast.get_matmul_precision()))
    thread.start()
    thread.join()
    assert seen == ["highest"] and nnfast.get_matmul_precision() == "medium"


@pytest.mark.parametrize("value", ["low", "", None, 1, ["high"]])
def test_unknown_precision(value):
    with pytest.raises(ValueError, match=r"\[set_matmul_precision\].*'highest', 'high', 'medium'. Received: "):
        nnfast.set_matmul_precision(value)
    assert nnfast.get_matmul_precision() == "highest"


def test_unknown_precision_of_a_kernel():
    x = np.ones((2, 2), "float32")
    with pytest.raises(ValueError, match=r"\[gemm\] precision must be 0 \(highest\).*Received: 3"):
        _cpu.gemm(x, x, precision=3)


def test_info_says_what_is_used(unit, precision):
    how = device.runtime_info()["matmul"]
    assert how["highest"] == "float32"
    for name, number in (("high", HIGH), ("medium", MEDIUM)):
        assert how[name] == "float32" or (unit in how[name] and _cpu.matmul_unit(number) == unit)
