"""`set_matmul_precision`: the bounds of high and medium, their arithmetic, the guard, and that every op listens."""

import threading

import numpy as np
import pytest
from layouts import LAYOUTS

import nnfast
from nnfast import _cpu, device, ops, reference

HIGH, MEDIUM = 1, 2
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
