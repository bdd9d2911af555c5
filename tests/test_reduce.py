"""Reductions: kernels against the reference in float64, gradients, argument checks."""

import itertools

import numpy as np
import pytest
from compare import assert_close, gradcheck
from layouts import LAYOUTS

import nnfast
from nnfast import _cpu, ops, reference

FLOAT_OPS = ["sum", "mean", "max", "min", "prod", "var", "logsumexp"]
# around one vector, four vectors, one strip of columns, one piece of a run
SHAPES = [(1,), (15,), (16, 17), (65, 3), (3, 65), (2, 1, 33), (4, 5, 6), (2, 3, 4, 5), (130, 9), (1100,), (3, 1030)]


def all_axes(ndim):
    return itertools.chain.from_iterable(itertools.combinations(range(ndim), n) for n in range(ndim + 1))


def repeated(a):
    """The first row again and again: stride 0."""
    return np.broadcast_to(a[:1], a.shape)


def expected(name, x, axes, keepdims=False):
    with np.errstate(all="ignore"):
        return getattr(reference, name)(x.astype(np.float64), axes, keepdims).astype(x.dtype)


@pytest.mark.parametrize("name", FLOAT_OPS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_reductions_agree_with_the_reference(name, shape, isa, dtype, rng):
    a = rng.uniform(0.5, 1.5, shape).astype(dtype)
    for number, axes in enumerate(all_axes(a.ndim)):
        make = [*LAYOUTS, repeated][(number + len(shape) + shape[0]) % (len(LAYOUTS) + 1)]
        for x in (a, make(a)):
            want = expected(name, x, axes)
            scale = 30 if name == "prod" else 1
            assert_close(getattr(_cpu, name)(x, axes), want, scale=scale)
            kept = getattr(_cpu, name)(x, axes, True)
            assert_close(kept, expected(name, x, axes, True), scale=scale)


@pytest.mark.parametrize("make", [*LAYOUTS, repeated], ids=lambda f: f.__name__)
@pytest.mark.parametrize("name", FLOAT_OPS)
def test_every_layout(name, make, dtype, rng):
    x = make(rng.standard_normal((9, 18, 7)).astype(dtype))
    for axes in all_axes(3):
        if name == "prod" and len(axes) > 1:
            continue  # a product of hundreds is 0
        assert_close(getattr(_cpu, name)(x, axes), expected(name, x, axes))


@pytest.mark.parametrize("name", ["extremum", "prod", "var", "logsumexp"])
def test_gradient_kernels_agree_with_the_reference(name, isa, dtype, rng):
    for shape, make in itertools.product([(17,), (3, 18), (40, 2), (2, 3, 19), (2, 1100)], [*LAYOUTS, repeated]):
        x = make(np.round(rng.uniform(0.5, 3.5, shape) * 4).astype(dtype) / 4)  # with equals
        for axes in all_axes(x.ndim):
            if name == "prod" and np.prod([shape[i] for i in axes]) > 60:
                continue
            forward = "max" if name == "extremum" else name
            y = expected(forward, x, axes)
            dy = np.asarray(rng.standard_normal(y.shape)).astype(dtype)
            args = (dy, x, axes) if name in ("prod", "var") else (dy, x, y, axes)
            wide = [a.astype(np.float64) if isinstance(a, np.ndarray) else a for a in args]
            want = getattr(reference, name + "_gradient")(*wide).astype(dtype)
            size = max(1.0, float(np.abs(want).max(initial=0)))
            assert_close(getattr(_cpu, name + "_gradient")(*args) / size, want / size)
            kept = [np.expand_dims(a, axes) if a is dy or a is y else a for a in args]
            assert_close(getattr(_cpu, name + "_gradient")(*kept) / size, want / size)


def test_prod_gradient_with_zeros(isa, dtype, rng):
    x = rng.standard_normal((4, 20)).astype(dtype)
    x[1, 3] = 0
    x[2, [0, 19]] = 0
    dy = rng.standard_normal(4).astype(dtype)
    got, want = _cpu.prod_gradient(dy, x, (1,)), reference.prod_gradient(dy, x, (1,))
    assert_close(got, want)
    assert got[1, 3] != 0 and np.count_nonzero(got[1]) == 1 and not got[2].any()


@pytest.mark.parametrize("shape", [(1,), (17,), (1030,), (5, 70), (70, 5), (3, 4, 18), (600, 2)], ids=str)
def test_argmax_takes_the_first_of_equals(shape, isa, dtype, rng):
    a = rng.integers(-3, 4, shape).astype(dtype)
    for make, axis in itertools.product([*LAYOUTS, repeated], range(a.ndim)):
        x = make(a)
        for name in ("argmax", "argmin"):
            got = getattr(_cpu, name)(x, axis)
            assert got.dtype == np.int64
            np.testing.assert_array_equal(got, getattr(np, name)(x, axis))
            np.testing.assert_array_equal(getattr(_cpu, name)(x, axis, True), np.expand_dims(got, axis))


@pytest.mark.parametrize("n", [3, 40, 3000, 200_000])
def test_nan_wins_and_the_first_nan_is_found(n, isa, dtype, rng):
    x = rng.standard_normal(n).astype(dtype)
    for first in (0, n // 2, n - 1):
        y = x.copy()
        y[first] = y[n - 1] = np.nan
        y[n // 3] = np.inf if n // 3 != first else y[n // 3]
        for z in (y, np.repeat(y[:, None], 3, 1)):
            for name in ("max", "min"):
                assert np.isnan(getattr(_cpu, name)(z, (0,))).all()
                assert (getattr(_cpu, "arg" + name)(z, 0) == first).all()


def test_argmax_along_a_long_axis_of_a_transposed_array(isa, dtype, rng):
    x = rng.standard_normal((2, 3, 150_000)).astype(dtype)
    for order in itertools.permutations(range(3)):
        y = x.transpose(order)
        for z in (y, y[::-1, ::-1, ::-1]):
            np.testing.assert_array_equal(_cpu.argmax(z, order.index(2)), z.argmax(order.index(2)))


def test_infinities(isa, dtype):
    inf = np.inf
    x = np.array([[inf, 1, 2], [-inf, inf, 0], [-inf, -inf, -inf], [3e38, 3e38, -3e38]], dtype)
    with np.errstate(all="ignore"):
        for name in ("sum", "mean", "max", "min", "logsumexp"):
            np.testing.assert_allclose(getattr(_cpu, name)(x, (1,)), expected(name, x, (1,)), rtol=1e-6)


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint8", "int32", "uint64", "int64"])
def test_integers_stay_exact(dtype, rng):
    a = rng.integers(0, 2 if dtype == "bool" else 100, (5, 40, 3)).astype(dtype)
    for make in LAYOUTS:
        x = make(a)
        for name, axes in itertools.product(("sum", "prod", "max", "min"), all_axes(3)):
            want = getattr(reference, name)(x, axes)
            got = getattr(_cpu, name)(x, axes)
            assert got.dtype == want.dtype
            np.testing.assert_array_equal(got, want)
        for axis in range(3):
            np.testing.assert_array_equal(_cpu.argmax(x, axis), np.argmax(x, axis))
            np.testing.assert_array_equal(_cpu.argmin(x, axis), np.argmin(x, axis))


@pytest.mark.parametrize("layout", ["run", "columns", "narrow columns", "rows"])
def test_long_sums_stay_accurate_and_do_not_depend_on_the_threads(layout, isa, rng):
    flat = rng.random(1_200_000, np.float32)
    shape, axes = {
        "run": ((1_200_000,), (0,)),
        "columns": ((12_000, 100), (0,)),
        "narrow columns": ((120_000, 10), (0,)),
        "rows": ((4, 300_000), (1,)),
    }[layout]
    x = flat.reshape(shape)
    exact = x.sum(axes, dtype=np.float64)
    results = []
    for threads in (1, 2, 5):
        _cpu.set_num_threads(threads)
        results.append([getattr(_cpu, name)(x, axes) for name in ("sum", "mean", "var", "logsumexp", "max")])
    for other in results[1:]:
        for first, second in zip(results[0], other):
            assert first.tobytes() == second.tobytes()
    assert np.max(np.abs(results[0][0] - exact) / exact) < 1.2e-7  # one rounding, as if added in float64
    assert_close(results[0][2], x.astype(np.float64).var(axes).astype(np.float32))


def test_sum_to_undoes_broadcasting(isa, dtype, rng):
    x = rng.standard_normal((4, 1, 3, 17)).astype(dtype)
    for shape in [(4, 1, 3, 17), (3, 17), (1, 17), (17,), (1,), (), (4, 1, 1, 1), (4, 1, 1, 17), (1, 1, 3, 1)]:
        assert_close(_cpu.sum_to(x, shape), reference.sum_to(x.astype(np.float64), shape).astype(dtype))
    assert _cpu.sum_to(x, x.shape) is x
    for shape in [(2, 17), (4, 4, 1, 3, 17), (3, 1, 3, 17), (18,)]:
        with pytest.raises(ValueError, match=r"\[sum_to\] .*does not broadcast"):
            _cpu.sum_to(x, shape)


def test_nothing(device, dtype):
    empty = np.zeros((3, 0), dtype)
    assert ops.sum(empty, 1).tolist() == [0, 0, 0] and ops.prod(empty, 1).tolist() == [1, 1, 1]
    assert np.isneginf(ops.logsumexp(empty, 1).numpy()).all()
    for f in (ops.mean, ops.var):
        with np.errstate(all="ignore"):
            assert np.isnan(f(empty, 1).numpy()).all()
    for f in (ops.max, ops.min, ops.argmax, ops.argmin):
        with pytest.raises(ValueError):
            f(empty, 1)
        assert f(empty, 0).shape == (0,)
    for f in (ops.sum, ops.mean, ops.max, ops.var, ops.prod, ops.logsumexp):
        assert f(np.zeros((0, 3), dtype), 1).shape == (0,)


AXES = [None, 0, -1, (0, 2), (-1, 0), ()]


@pytest.mark.parametrize("name", ["sum", "mean", "max", "min", "prod", "var", "std", "logsumexp"])
@pytest.mark.parametrize("axis", AXES, ids=str)
def test_ops_and_their_gradients(name, axis, device, rng):
    x = rng.permutation(24).reshape(2, 3, 4) / 8 - 1.1
    f = getattr(ops, name)
    if name != "logsumexp":
        assert_close(f(x, axis).numpy(), np.asarray(getattr(np, name)(x, axis)))
    assert f(x, axis, keepdims=True).ndim == 3
    if not (axis == () and name in ("var", "std")):  # of one element: constant
        gradcheck(lambda v: f(v, axis), x)
        gradcheck(lambda v: f(v, axis, keepdims=True), x)


def test_integers_in_ops(device):
    x = np.array([[1, 2], [4, 3]], np.uint8)
    for y, want, dtype in [
        (ops.sum(x), 10, "int64"),
        (ops.prod(x), 24, "int64"),
        (ops.max(x), 4, "uint8"),
        (ops.mean(x), 2.5, "float32"),
        (ops.var(x), 1.25, "float32"),
        (ops.sum(x > 1), 3, "int64"),
        (ops.argmax(x), 2, "int64"),
    ]:
        assert y.item() == want and y.dtype == dtype
    assert ops.argmax(x, keepdims=True).shape == (1, 1)
    assert ops.argmin(x, axis=-1, keepdims=True).tolist() == [[0], [1]]
    assert ops.sum(nnfast.tensor(x), axis=0).tolist() == [5, 5]


@pytest.mark.parametrize("name", ["sum", "mean", "max", "prod", "var", "std", "logsumexp", "argmax"])
def test_wrong_axes(name, device):
    f, x = getattr(ops, name), np.ones((2, 3), np.float32)
    for axis in (2, -3, 2**63 - 1, -(2**63), 2**70):
        with pytest.raises(IndexError, match=rf"\[{name}\] axis is out of range. Received: axis=-?\d+"):
            f(x, axis)
    with pytest.raises(TypeError, match=rf"\[{name}\] axis must be an integer"):
        f(x, 1.0)
    if name != "argmax":
        with pytest.raises(ValueError, match="repeated"):
            f(x, (1, -1))
    with pytest.raises(TypeError):
        f(np.ones(3, complex))


def test_the_binding_checks_for_itself():
    x = np.ones((2, 3), np.float32)
    with pytest.raises(IndexError):
        _cpu.sum(x, (2,))
    with pytest.raises(ValueError, match="repeated"):
        _cpu.sum(x, (1, 1))
    with pytest.raises(TypeError):
        _cpu.mean(x.astype(int), (0,))
    with pytest.raises(ValueError, match="shape of the result"):
        _cpu.var_gradient(np.ones(2, np.float32), x, (0,))
    with pytest.raises(TypeError):
        _cpu.var_gradient(np.ones(3), x, (0,))
