"""Element-wise kernels and ops against the reference: every op, ISA, dtype, layout and way of broadcasting."""

import itertools

import numpy as np
import pytest
from compare import assert_close, gradcheck
from hypothesis import given, settings
from hypothesis import strategies as st
from layouts import LAYOUTS

import nnfast
from nnfast import _cpu, ops, reference

PARAMETERS = {"clip": (-0.5, 0.75), "leaky_relu": (0.2,), "elu": (0.7,), "gelu": (0.0,)}
UNARY = [(name, PARAMETERS.get(name, ())) for name in reference.UNARY] + [("gelu", (1.0,))]
POSITIVE = {"log", "log1p", "sqrt", "rsqrt", "reciprocal"}
SIZES = [0, 1, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 63, 65, 257]


def values(name, shape, dtype, rng):
    x = rng.normal(size=shape) * 2
    return np.asarray(np.abs(x) + 0.1 if name in POSITIVE else x, dtype)


def exact(f, *args, dtype):
    """The reference in float64, rounded."""
    args = [a.astype(np.float64) if isinstance(a, np.ndarray) and a.dtype.kind == "f" else a for a in args]
    result = f(*args)
    if isinstance(result, tuple):
        return tuple(np.asarray(r, dtype) for r in result)
    return np.asarray(result, dtype)


@pytest.mark.parametrize("name, parameters", UNARY)
def test_unary(name, parameters, isa, dtype, rng):
    for n in SIZES:
        x, dy = values(name, n, dtype, rng), rng.normal(size=n).astype(dtype)
        y = getattr(_cpu, name)(x, *parameters)
        assert_close(y, exact(getattr(reference, name), x, *parameters, dtype=dtype), scale=4)
        s = y if name in reference.GRADIENT_FROM_RESULT else x
        gradient = name + "_gradient"
        dx = getattr(_cpu, gradient)(dy, s, *parameters)
        assert_close(dx, exact(getattr(reference, gradient), dy, s, *parameters, dtype=dtype), scale=4)


BINARY_SHAPES = [
    ((5, 70), (5, 70)),
    ((300,), ()),
    ((), (300,)),
    ((4, 200), (200,)),
    ((200,), (4, 200)),
    ((4, 200), (4, 1)),
    ((9, 10), (10,)),
    ((9, 10), (9, 1)),
    ((3, 1, 70), (1, 4, 1)),
    ((2, 3, 1, 5, 1, 2), (3, 2, 1, 3, 1)),
    ((1, 2, 1, 2, 1, 2, 1, 3), (2, 1, 2, 1, 2, 1, 2, 1)),
    ((0, 3), (3,)),
    ((1,), (1, 1)),
]


@pytest.mark.parametrize("name", reference.BINARY)
def test_binary(name, isa, dtype, rng):
    for shape_a, shape_b in BINARY_SHAPES:
        a = values("log" if name == "pow" else name, shape_a, dtype, rng)
        b = values("reciprocal" if name == "div" else name, shape_b, dtype, rng)
        y = getattr(_cpu, name)(a, b)
        assert_close(y, exact(getattr(reference, name), a, b, dtype=dtype), scale=4)
        dy = np.asarray(rng.normal(size=y.shape), dtype)
        got = getattr(_cpu, name + "_gradient")(dy, a, b)
        want = exact(getattr(reference, name + "_gradient"), dy, a, b, dtype=dtype)
        for d, expected in zip(got, want):
            assert_close(d, expected, scale=40)
        da, none = getattr(_cpu, name + "_gradient")(dy, a, b, needs_b=False)
        assert none is None
        np.testing.assert_array_equal(da, got[0])
        none, db = getattr(_cpu, name + "_gradient")(dy, a, b, needs_a=False)
        assert none is None
        np.testing.assert_array_equal(db, got[1])


@pytest.mark.parametrize("name", reference.COMPARISONS)
def test_comparison(name, isa, dtype, rng):
    for n in SIZES:
        a = rng.integers(-2, 3, n).astype(dtype)
        b = rng.integers(-2, 3, n).astype(dtype)
        a[: n // 8] = np.nan
        b[n // 2 : n // 2 + n // 8] = np.inf
        y = getattr(_cpu, name)(a, b)
        assert y.dtype == np.bool_
        np.testing.assert_array_equal(y, getattr(reference, name)(a, b))
        assert set(y.view(np.uint8).tolist()) <= {0, 1}


def test_where(isa, dtype, rng):
    for c, a, b in [
        ((70,), (70,), (70,)),
        ((4, 1), (300,), ()),
        ((300,), (4, 300), (4, 1)),
        ((5,), (), ()),
        ((0,), (1,), ()),
    ]:
        condition = rng.random(c) < 0.5
        a, b = np.asarray(rng.normal(size=a), dtype), np.asarray(rng.normal(size=b), dtype)
        y = _cpu.where(condition, a, b)
        np.testing.assert_array_equal(y, np.where(condition, a, b))
        dy = np.asarray(rng.normal(size=y.shape), dtype)
        want = exact(reference.where_gradient, dy, condition, a, b, dtype=dtype)
        for d, expected in zip(_cpu.where_gradient(dy, condition, a, b), want):
            assert_close(d, expected, scale=40)


@pytest.mark.parametrize("lay_a, lay_b", list(itertools.product(LAYOUTS, LAYOUTS)))
def test_layouts(lay_a, lay_b, dtype, rng):
    for shape in [(6, 70), (70, 6), (2, 3, 5), (9,)]:
        a, b = rng.normal(size=shape).astype(dtype), rng.normal(size=shape).astype(dtype)
        np.testing.assert_array_equal(_cpu.sub(lay_a(a), lay_b(b)), a - b)
        np.testing.assert_array_equal(_cpu.less(lay_a(a), lay_b(b)), a < b)
        np.testing.assert_array_equal(_cpu.where(lay_a(a > 0), lay_a(a), lay_b(b)), np.where(a > 0, a, b))
        np.testing.assert_array_equal(_cpu.neg(lay_a(a)), -a)
        np.testing.assert_array_equal(_cpu.square_gradient(lay_a(a), lay_b(b)), a * (2 * b))
        out = lay_b(np.zeros_like(a))
        if out.flags.writeable and out.flags.aligned:
            assert _cpu.mul(lay_a(a), b, out=out) is out
            np.testing.assert_array_equal(out, a * b)


def test_huge_and_repeated(isa, rng):
    """More than a chunk of parallel work; stride 0; rows and columns."""
    a = rng.normal(size=(301, 517)).astype(np.float32)
    row, column = a[0], a[:, :1]
    for b in (a, a.T[:301].T[:, :301], row, column, np.broadcast_to(np.float32(3), a.shape), a[::-1, ::-1]):
        if b.shape == (301, 301):
            np.testing.assert_array_equal(_cpu.add(a[:, :301], b), a[:, :301] + b)
        else:
            np.testing.assert_array_equal(_cpu.add(a, b), a + b)
    short = rng.normal(size=(40000, 3)).astype(np.float32)
    np.testing.assert_array_equal(_cpu.mul(short, short[:, 1:2]), short * short[:, 1:2])
    np.testing.assert_array_equal(_cpu.mul(short, short[7]), short * short[7])
    np.testing.assert_array_equal(_cpu.add(short.T, short[:, 0]), short.T + short[:, 0])


def test_threads_do_not_change_a_bit(rng):
    a, b = rng.normal(size=(300, 700)).astype(np.float32), rng.normal(size=(300, 1)).astype(np.float32)
    dy = rng.normal(size=a.shape).astype(np.float32)
    results = []
    for threads in (1, 2, 5):
        nnfast.set_num_threads(threads)
        results.append([_cpu.tanh(a), _cpu.pow(np.abs(a), b), *_cpu.mul_gradient(dy, a, b)])
    for other in results[1:]:
        for x, y in zip(results[0], other):
            np.testing.assert_array_equal(x, y)


def test_nan_and_special_values(isa, dtype):
    nan, inf = np.nan, np.inf
    x = np.array([nan, inf, -inf, 0.0, -0.0, np.finfo(dtype).smallest_subnormal], dtype)
    for name in ("relu", "sigmoid", "tanh", "softplus", "exp", "sqrt", "abs", "sign", "elu", "selu", "hard_sigmoid"):
        y = getattr(_cpu, name)(x, *PARAMETERS.get(name, ()))
        np.testing.assert_array_equal(y, getattr(reference, name)(x, *PARAMETERS.get(name, ())), err_msg=name)
    y = _cpu.relu(x)
    assert not np.signbit(y[3:]).any() and y[5] == x[5]
    np.testing.assert_array_equal(_cpu.clip(x, -1, 1), np.clip(x, dtype.type(-1), dtype.type(1)))
    a, b = np.meshgrid(x, x)
    for name in ("maximum", "minimum"):
        np.testing.assert_array_equal(getattr(_cpu, name)(a, b), getattr(np, name)(a, b))
    np.testing.assert_array_equal(_cpu.mul(x[5:], np.array([1], dtype)), x[5:])  # subnormals stay


def test_bad_arguments():
    x, y = np.ones((2, 3), np.float32), np.ones((2, 4), np.float32)
    with pytest.raises(ValueError, match=r"\[add\] the shapes do not broadcast.*\(2, 3\), \(2, 4\)"):
        _cpu.add(x, y)
    with pytest.raises(TypeError, match=r"\[add\] all operands must have one dtype.*float32 and float64"):
        _cpu.add(x, x.astype(np.float64))
    with pytest.raises(TypeError, match=r"\[exp\] x must be float32 or float64. Received: int64"):
        _cpu.exp(np.ones(2, np.int64))
    with pytest.raises(TypeError, match=r"\[where\] condition must be bool"):
        _cpu.where(x, x, x)
    with pytest.raises(ValueError, match=r"\[mul_gradient\] dy must have the shape of the result, \(2, 3\)"):
        _cpu.mul_gradient(y, x, x)
    with pytest.raises(ValueError, match=r"\[exp_gradient\] dy and s must have one shape"):
        _cpu.exp_gradient(y, x)
    with pytest.raises(ValueError, match="overlaps"):
        _cpu.add(x, x, out=x)
    with pytest.raises(ValueError, match="out must have the shape"):
        _cpu.add(x, x, out=y)
    with pytest.raises(ValueError, match="9 dimensions"):
        _cpu.exp(np.ones((1,) * 9, np.float32))


@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_any_shapes_and_strides(data):
    ndim = data.draw(st.integers(0, 5))
    full = data.draw(st.tuples(*[st.integers(0, 5)] * ndim))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    operands = []
    for _ in range(3):
        shape = [data.draw(st.sampled_from([n, 1])) for n in full][data.draw(st.integers(0, ndim)) :]
        a = np.asarray(rng.normal(size=[2 * n for n in shape]), np.float32)
        steps = [data.draw(st.sampled_from([1, 2, -1, -2])) for _ in shape]
        a = a[(*(slice(None, None, s) for s in steps), ...)][(*(slice(0, n) for n in shape), ...)]
        operands.append(a)
    c, a, b = operands
    np.testing.assert_array_equal(_cpu.add(a, b), a + b)
    np.testing.assert_array_equal(_cpu.where(np.asarray(c > 0), a, b), np.where(c > 0, a, b))
    np.testing.assert_array_equal(_cpu.greater(a, b), a > b)


# ---- ops ----


@pytest.mark.parametrize("name, parameters", UNARY)
def test_gradient_of_unary_op(name, parameters, rng):
    x = values(name, (2, 3), np.float64, rng)
    if name in ("relu", "abs", "leaky_relu", "elu", "selu", "sign", "clip", "hard_sigmoid"):
        x = np.array([[-2.7, -0.6, -0.3], [0.2, 0.5, 3.3]])  # away from the kinks
    f = getattr(ops, name)
    if name == "gelu":
        gradcheck(lambda v: f(v, approximate=bool(parameters[0])), x)
    else:
        gradcheck(lambda v: f(v, *parameters), x)


@pytest.mark.parametrize("name", reference.BINARY)
@pytest.mark.parametrize("shapes", [((2, 3), (2, 3)), ((2, 3), (3,)), ((2, 1), (3,)), ((), (2,)), ((2, 2), (1, 1))])
def test_gradient_of_binary_op(name, shapes, device, rng):
    a, b = (rng.uniform(0.5, 2, s) for s in shapes)
    gradcheck(getattr(ops, name), a, b)


@pytest.mark.parametrize(
    "shape_a, shape_b",
    [((301, 517), (517,)), ((301, 517), (301, 1)), ((), (301, 517)), ((70001, 2), (1, 2)), ((3, 1, 40001), (2, 1))],
)
def test_gradient_of_large_repeated_operands(shape_a, shape_b, dtype, rng):
    """Summed slab by slab."""
    a, b = (np.asarray(rng.normal(size=s), dtype) for s in (shape_a, shape_b))
    dy = np.asarray(rng.normal(size=np.broadcast_shapes(shape_a, shape_b)), dtype)
    want = exact(reference.mul_gradient, dy, a, b, dtype=dtype)
    got = _cpu.mul_gradient(dy, a, b)
    for d, expected in zip(got, want):
        assert_close(d, expected, scale=100)
    np.testing.assert_array_equal(_cpu.mul_gradient(dy, a, b, needs_a=False)[1], got[1])
    condition = rng.random(dy.shape[-1]) < 0.5
    for d, expected in zip(
        _cpu.where_gradient(dy, condition, a, b), exact(reference.where_gradient, dy, condition, a, b, dtype=dtype)
    ):
        assert_close(d, expected, scale=100)


def test_gradient_of_where(device, rng):
    condition = rng.random((2, 3)) < 0.5
    gradcheck(lambda a, b: ops.where(condition, a, b), rng.normal(size=(2, 3)), rng.normal(size=3))


def test_ties_share_the_gradient(device):
    a, b = nnfast.Variable([1.0, 2.0, 3.0]), nnfast.Variable([1.0, 3.0, 2.0])
    for op, da in ((ops.maximum, [0.5, 0, 1]), (ops.minimum, [0.5, 1, 0])):
        with nnfast.GradientTape() as tape:
            y = op(a, b)
        ga, gb = tape.gradient(y, [a, b])
        assert ga.tolist() == da and gb.tolist() == [1 - v for v in da]


def test_both_operands_the_same(device):
    x = nnfast.Variable([3.0, -2.0])
    with nnfast.GradientTape() as tape:
        y = x * x + x - x / x
    assert tape.gradient(y, x).tolist() == [7.0, -3.0]


def test_dtypes():
    f32, f64 = np.ones(2, np.float32), np.ones(2, np.float64)
    with pytest.raises(TypeError, match=r"\[add\].*float32 and float64"):
        ops.add(f32, f64)
    with pytest.raises(TypeError, match=r"\[where\].*float32 and float64"):
        ops.where([True, False], f32, f64)
    for weak in (2, 2.0, True, [2.0, 3.0], np.float64(2), np.array([1, 2]), np.array([True, False])):
        assert ops.add(f32, weak).dtype == np.float32
        assert ops.add(weak, f64).dtype == np.float64
    assert ops.add(1, 2.0).dtype == np.float32
    assert ops.add(1, 2).dtype == np.int64
    assert ops.div(np.array([1, 2]), np.array([2, 2])).tolist() == [0.5, 1.0]
    nnfast.config.set_floatx("float64")
    assert ops.add([1, 2], 2.0).dtype == np.float64
    for bad in (1j, "a", None, np.array(["x"])):
        with pytest.raises(TypeError, match=r"\[mul\]"):
            ops.mul(f32, bad)


def test_comparisons_of_integers_are_exact(device):
    a = np.array([2**53 - 1, 2**53 - 2, 16777217])
    assert ops.equal(a, a - 1).tolist() == [False] * 3
    assert ops.equal(np.array([16777217]), np.array([16777216], np.float32)).tolist() == [False]
    assert ops.greater(np.array([3, 4], np.uint8), 3).tolist() == [False, True]
    assert ops.less(np.array([1, 2]), 1.5).tolist() == [True, False]
    assert ops.less(1, 2).item() is True
    assert ops.equal(np.array([True, False]), True).tolist() == [True, False]
    assert ops.equal(nnfast.tensor([0.1]), 0.1).tolist() == [True]


def test_logic(device):
    a, b = [True, True, False, False], [True, False, True, False]
    assert ops.logical_and(a, b).tolist() == [True, False, False, False]
    assert ops.logical_or(a, b).tolist() == [True, True, True, False]
    assert ops.logical_xor(a, b).tolist() == [False, True, True, False]
    assert ops.logical_not(a).tolist() == [False, False, True, True]
    assert ops.logical_and([2, 0], 1).tolist() == [True, False]
    x = np.array([np.nan, np.inf, -np.inf, 1.0], np.float32)
    assert ops.isnan(x).tolist() == [True, False, False, False]
    assert ops.isinf(x).tolist() == [False, True, True, False]
    assert ops.isfinite(x).tolist() == [False, False, False, True]
    assert ops.where([1, 0], 5.0, 6.0).tolist() == [5.0, 6.0]


def test_clip_by_arrays_and_by_nothing(device):
    x = nnfast.tensor([-3.0, 0.0, 3.0])
    assert ops.clip(x, None, 1).tolist() == [-3.0, 0.0, 1.0]
    assert ops.clip(x, -1, None).tolist() == [-1.0, 0.0, 3.0]
    assert ops.clip(x, np.array([-1, 0.5, 0], np.float32), 1.0).tolist() == [-1.0, 0.5, 1.0]


def test_power_of_two_is_a_square(device):
    x = nnfast.Variable([-3.0, 2.0])
    with nnfast.GradientTape() as tape:
        y = x**2
    assert y.tolist() == [9.0, 4.0] and tape.gradient(y, x).tolist() == [-6.0, 4.0]
    assert (2.0 ** nnfast.tensor([3.0, -1.0])).tolist() == [8.0, 0.5]


def test_shapes_known_before_values():
    assert ops.elementwise._add.output_shape((None, 3), (3,)) == (None, 3)
    assert ops.elementwise._add.output_shape((None, 1), (1, 4)) == (None, 4)
    assert ops.elementwise._exp.output_shape((None, 3)) == (None, 3)
    with pytest.raises(ValueError, match=r"\[add\] the shapes do not broadcast"):
        ops.elementwise._add.output_shape((None, 3), (4,))


BIG = np.array([2**53 + 1, 5])
INTEGERS = [
    (lambda t: t + 1, np.int64, [2**53 + 2, 6]),
    (lambda t: 1 - t, np.int64, [-(2**53), -4]),
    (lambda t: t * t[1], np.int64, [5 * (2**53 + 1), 25]),
    (lambda t: -t, np.int64, [-(2**53) - 1, -5]),
    (lambda t: abs(-t), np.int64, BIG.tolist()),
    (lambda t: t[1:] ** 20, np.int64, [5**20]),
    (lambda t: t[1:] ** 2, np.int64, [25]),
    (lambda t: ops.maximum(t, 2**53), np.int64, [2**53 + 1, 2**53]),
    (lambda t: ops.minimum(t, 2**53), np.int64, [2**53, 5]),
    (lambda t: ops.where([True, False], t, 0), np.int64, [2**53 + 1, 0]),
    (lambda t: ops.clip(t, 7, None), np.int64, [2**53 + 1, 7]),
    (lambda t: t == 2**53, np.bool_, [False, False]),
    (lambda t: t > 2**53, np.bool_, [True, False]),
    (lambda t: t.sum(), np.int64, 2**53 + 6),
    (lambda t: t.max(), np.int64, 2**53 + 1),
    (lambda t: t[1:] + 1.5, np.float32, [6.5]),
    (lambda t: t[1:] / 2, np.float32, [2.5]),
    (lambda t: t[1:] + np.ones(1), np.float64, [6.0]),
    (lambda t: ops.mean([2**24 + 1, 2**24 + 3]), np.float32, 2**24 + 2),
    (lambda t: ops.var([2**24 + 1, 2**24 + 3]), np.float32, 1),
    (lambda t: nnfast.Tensor(np.array([200], np.uint8)) + np.array([100], np.uint8), np.uint8, [44]),
    (lambda t: nnfast.Tensor([True, False]) + 1, np.int64, [2, 1]),
]


@pytest.mark.parametrize("f, dtype, want", INTEGERS)
def test_integers_follow_numpy(f, dtype, want, device):
    got = f(nnfast.Tensor(BIG))
    assert got.dtype == dtype and got.tolist() == want


@pytest.mark.parametrize(
    "f, error, words",
    [
        (lambda t: t + nnfast.Tensor([1, 2, 3]), ValueError, r"\[add\].*\(3,\)"),
        (lambda t: t**-1, ValueError, r"\[pow\].*negative.*cast"),
        (lambda t: nnfast.Tensor([True]) - nnfast.Tensor([True]), TypeError, r"\[sub\].*cast"),
        (lambda t: ops.add(2**70, t), OverflowError, r"\[add\]"),
    ],
)
def test_what_integers_cannot_do(f, error, words):
    with pytest.raises(error, match=words):
        f(nnfast.Tensor(BIG))


def test_integer_variables_count(device):
    v = nnfast.Variable([2**53, 1], trainable=False)
    v.assign_add(1)
    v.assign_sub([0, 2])
    assert v.tolist() == [2**53 + 1, 0]
