"""gemm, its gradients, and the ops on top, on every ISA: exact on small integers, close on the rest, the same bits for
any number of threads."""

import itertools

import numpy as np
import pytest
from compare import assert_close, gradcheck
from hypothesis import given, settings
from hypothesis import strategies as st
from layouts import LAYOUTS, misaligned, read_only, reversed_axes, stepped, transposed

import nnfast
from nnfast import _cpu, ops, reference

# Tiles are 14x32 (avx512 and simulated, float32), 14x16 (float64), 6x16, 6x8 (avx2), 4x8, 4x4 (portable); KC is 384.
SIZES = [
    (1, 1, 1),
    (3, 5, 2),
    (5, 7, 17),
    (6, 16, 8),
    (7, 17, 9),
    (13, 31, 16),
    (14, 32, 33),
    (15, 33, 64),
    (29, 65, 7),
]
DEPTHS = [383, 384, 385, 769]
EXACT_ACTIVATIONS = (0, 1, 2)  # linear, relu, leaky_relu with slope 0.5


def integers(rng, shape, dtype):
    return rng.integers(-4, 5, shape).astype(dtype)


def distribution(rng, shape, dtype):
    return rng.standard_normal(shape).astype(dtype)


@pytest.mark.parametrize("m,n,k", SIZES)
def test_exact_on_integers(isa, dtype, rng, m, n, k):
    a, b, bias, c = (integers(rng, s, dtype) for s in ((m, k), (k, n), (n,), (m, n)))
    np.testing.assert_array_equal(_cpu.gemm(a, b), a @ b)
    for activation in EXACT_ACTIVATIONS:
        options = {"alpha": 2.0, "beta": 3.0, "activation": activation, "slope": 0.5}
        expected = reference.gemm(a, b, bias, **options, out=c.copy())
        np.testing.assert_array_equal(_cpu.gemm(a, b, bias, **options, out=c.copy()), expected)


@pytest.mark.parametrize("k", DEPTHS)
def test_depths_around_a_block(isa, dtype, rng, k):
    a, b, bias = integers(rng, (16, k), dtype), integers(rng, (k, 35), dtype), integers(rng, 35, dtype)
    np.testing.assert_array_equal(_cpu.gemm(a, b, bias, activation=1), np.maximum(a @ b + bias, 0))


@pytest.mark.parametrize("m,n,k", [(2060, 40, 300), (20, 4100, 5), (300, 260, 270)])
def test_sizes_around_the_outer_blocks(dtype, rng, m, n, k):
    a, b = integers(rng, (m, k), dtype), integers(rng, (k, n), dtype)
    np.testing.assert_array_equal(_cpu.gemm(a, b), a @ b)
    d, total = _cpu.gemm_gradient(a, b, needs_sum=True)
    np.testing.assert_array_equal(d, a @ b)
    np.testing.assert_array_equal(total, (a @ b).sum(0))


@pytest.mark.parametrize("m", [1, 2, 3, 4, 14, 15])
@pytest.mark.parametrize("n", [1, 10, 16, 17, 130, 300])
def test_few_rows_and_columns(isa, dtype, rng, m, n):
    a, b, bias = integers(rng, (m, 37), dtype), integers(rng, (37, n), dtype), integers(rng, n, dtype)
    expected = np.maximum(a @ b + bias, 0)
    for left, right in itertools.product((a, transposed(a)), (b, transposed(b))):
        np.testing.assert_array_equal(_cpu.gemm(left, right, bias, activation=1), expected)


@pytest.mark.parametrize("layout_a", LAYOUTS, ids=lambda f: f.__name__)
@pytest.mark.parametrize("layout_b", LAYOUTS, ids=lambda f: f.__name__)
def test_layouts(isa, dtype, rng, layout_a, layout_b):
    a, b, bias = integers(rng, (17, 19), dtype), integers(rng, (19, 35), dtype), integers(rng, 35, dtype)
    keep = a.copy(), b.copy()
    got = _cpu.gemm(layout_a(a), layout_b(b), layout_a(bias))
    np.testing.assert_array_equal(got, a @ b + bias)
    np.testing.assert_array_equal(a, keep[0])
    np.testing.assert_array_equal(b, keep[1])


@pytest.mark.parametrize("layout", [transposed, stepped, reversed_axes], ids=lambda f: f.__name__)
@pytest.mark.parametrize("beta", [0.0, 1.0, 2.0])
def test_out_of_any_layout(isa, dtype, rng, layout, beta):
    a, b, c, bias = (integers(rng, s, dtype) for s in ((17, 300), (300, 35), (17, 35), (35,)))
    out = layout(c)
    assert _cpu.gemm(a, b, bias, beta=beta, activation=1, out=out) is out
    np.testing.assert_array_equal(out, np.maximum(a @ b + beta * c + bias, 0))


def test_repeated_operands(isa, dtype, rng):
    """Strides of 0."""
    row, column = integers(rng, (1, 20), dtype), integers(rng, (20, 1), dtype)
    a, b = np.broadcast_to(row, (15, 20)), np.broadcast_to(column, (20, 33))
    bias = np.broadcast_to(dtype.type(3), (33,))
    np.testing.assert_array_equal(_cpu.gemm(a, b, bias), np.full((15, 33), (row @ column).item() + 3, dtype))


@pytest.mark.parametrize("m,n,k", [(0, 3, 4), (3, 0, 4), (3, 4, 0), (0, 0, 0), (1, 5, 0), (0, 5, 0), (20, 40, 0)])
def test_zero_sizes(isa, dtype, m, n, k):
    a, b, bias = np.ones((m, k), dtype), np.ones((k, n), dtype), np.full(n, 2, dtype)
    np.testing.assert_array_equal(_cpu.gemm(a, b), np.zeros((m, n), dtype))
    np.testing.assert_array_equal(_cpu.gemm(a, b, bias), np.full((m, n), 2 + k, dtype))
    out = np.full((m, n), 5, dtype)
    np.testing.assert_array_equal(_cpu.gemm(a, b, bias, beta=2.0, out=out), np.full((m, n), 12 + k, dtype))
    d, total = _cpu.gemm_gradient(a, b, needs_sum=True)
    np.testing.assert_array_equal(total, np.zeros(n, dtype))
    assert d.shape == (m, n)


@pytest.mark.parametrize("m,n", [(1, 40), (17, 35), (40, 10)])
def test_beta_zero_never_reads_out(isa, dtype, rng, m, n):
    a, b = integers(rng, (m, 300), dtype), integers(rng, (300, n), dtype)
    for out in (np.full((m, n), np.nan, dtype), transposed(np.full((m, n), np.nan, dtype))):
        np.testing.assert_array_equal(_cpu.gemm(a, b, beta=0.0, out=out), a @ b)


def test_nan_and_infinity_propagate(isa, dtype):
    a = np.eye(20, dtype=dtype)
    b = np.ones((20, 33), dtype)
    b[3, 4], b[5, 6] = np.nan, np.inf
    got = _cpu.gemm(a, b, activation=1)
    assert np.isnan(got[:, 4]).all()  # 0 * NaN
    assert np.isnan(got[0, 6]) and got[5, 6] == np.inf
    assert np.isfinite(np.delete(got, [4, 6], axis=1)).all()


@pytest.mark.parametrize("activation", range(9))
def test_activations(isa, dtype, rng, activation):
    """Also in a column that is no whole vector, and with NaN."""
    x = distribution(rng, (19, 37), dtype) * 3
    x[2, 3] = np.nan
    got = _cpu.gemm(np.eye(19, dtype=dtype), np.nan_to_num(x), activation=activation, slope=0.3)
    expected = reference.gemm(np.eye(19, dtype=dtype), np.nan_to_num(x), activation=activation, slope=0.3)
    assert_close(got, expected, scale=4)
    assert np.isnan(_cpu.gemm(np.ones((1, 1), dtype), x[2:3, 3:4], activation=activation, slope=0.3)).all()


def test_subnormals_are_flushed(isa):
    tiny = np.full((20, 20), 1e-30, np.float32)
    if nnfast._cpu.gemm(tiny[:, :1], tiny[:1] * np.float32(1e-9)).any():
        pytest.skip("this CPU has no switch for subnormals")  # neither x86-64 nor aarch64
    assert not _cpu.gemm(tiny, np.full((20, 20), 1e-10, np.float32)).any()
    assert not _cpu.gemm(tiny[:1], np.full((20, 20), 1e-10, np.float32)).any()
    assert np.float32(1e-30) * np.float32(1e-10) != 0  # the caller's arithmetic is as it was


BATCHES = [((3,), ()), ((), (3,)), ((3,), (3,)), ((2, 3), (3,)), ((2, 1), (1, 3)), ((0,), ()), ((2, 0), (1,))]


@pytest.mark.parametrize("batch_a,batch_b", BATCHES)
@pytest.mark.parametrize("m,n,k", [(1, 1, 1), (5, 33, 7), (16, 10, 20)])
def test_batches(isa, dtype, rng, batch_a, batch_b, m, n, k):
    a, b = integers(rng, (*batch_a, m, k), dtype), integers(rng, (*batch_b, k, n), dtype)
    np.testing.assert_array_equal(_cpu.gemm(a, b), a @ b)
    np.testing.assert_array_equal(_cpu.gemm(a.swapaxes(-1, -2).copy().swapaxes(-1, -2), b), a @ b)
    out = np.full(np.matmul(a, b).shape, 2, dtype)
    np.testing.assert_array_equal(_cpu.gemm(a, b, beta=1.0, out=out), a @ b + 2)


@pytest.mark.parametrize(
    "m,n,k", [(130, 70, 300), (1000, 10, 40), (1, 600, 800), (3, 300, 500), (33, 770, 400), (300, 300, 300)]
)
def test_bitwise_equal_for_any_number_of_threads(isa, dtype, rng, m, n, k):
    a, b, y = distribution(rng, (m, k), dtype), distribution(rng, (k, n), dtype), distribution(rng, (m, n), dtype)
    results = []
    for threads in (1, 2, 5):
        nnfast.set_num_threads(threads)
        d, total = _cpu.gemm_gradient(a, b, y, activation=6, needs_sum=True)
        dz, db = _cpu.bias_activation_gradient(y, y, activation=5)
        results.append((_cpu.gemm(a, b, activation=5), _cpu.gemm(a[None], b), d, total, dz, db))
    for other in results[1:]:
        for x, z in zip(results[0], other):
            assert x.tobytes() == z.tobytes()


def test_close_to_float64(isa, rng):
    a, b = distribution(rng, (100, 3000), np.float32), distribution(rng, (3000, 60), np.float32)
    exact = a.astype(np.float64) @ b.astype(np.float64)
    error = np.abs(_cpu.gemm(a, b) - exact)
    bound = np.finfo(np.float32).eps * (np.abs(a.astype(np.float64)) @ np.abs(b.astype(np.float64)))
    assert np.all(error <= bound)  # far below the worst case of K roundings


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.tuples(*[st.integers(0, 70)] * 3),
    layouts=st.tuples(*[st.sampled_from(LAYOUTS)] * 3),
    options=st.tuples(st.integers(-2, 2), st.integers(0, 2), st.sampled_from(EXACT_ACTIVATIONS), st.booleans()),
    name=st.sampled_from(_cpu.isas()),
    float64=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_any_shape_and_layout(sizes, layouts, options, name, float64, seed):
    (m, n, k), (alpha, beta, activation, with_bias) = sizes, options
    rng, dtype = np.random.default_rng(seed), np.float64 if float64 else np.float32
    a, b, c, bias = (integers(rng, s, dtype) for s in ((m, k), (k, n), (m, n), (n,)))
    if layouts[2] in (misaligned, read_only):
        layouts = (*layouts[:2], stepped)
    before = _cpu.isa()
    _cpu.use_isa(name)
    try:
        keywords = {"alpha": alpha, "beta": beta, "activation": activation, "slope": 0.5}
        expected = reference.gemm(a, b, bias if with_bias else None, **keywords, out=c.copy())
        out = layouts[2](c)
        _cpu.gemm(layouts[0](a), layouts[1](b), layouts[0](bias) if with_bias else None, **keywords, out=out)
        np.testing.assert_array_equal(out, expected)
    finally:
        _cpu.use_isa(before)


# ---- errors ----


@pytest.mark.parametrize(
    "call,error,words",
    [
        (lambda a: _cpu.gemm(a, a), ValueError, "inner sizes differ.*\\(2, 3\\)"),
        (lambda a: _cpu.gemm(a[0], a.T), ValueError, "must be matrices"),
        (lambda a: _cpu.gemm(a, a.T.astype("float64")), TypeError, "float32 and float64"),
        (lambda a: _cpu.gemm(a.astype("int32"), a.T), TypeError, "float32 or float64"),
        (lambda a: _cpu.gemm(a.astype("complex64"), a.T), TypeError, "complex64"),
        (lambda a: _cpu.gemm(a, a.T, np.ones(3, "float32")), ValueError, "one value per column"),
        (lambda a: _cpu.gemm(a, a.T, beta=1.0), ValueError, "beta needs out="),
        (lambda a: _cpu.gemm(a, a.T, activation=9), ValueError, "activation must be a number"),
        (lambda a: _cpu.gemm(a, a.T, out=np.empty((2, 3), "float32")), ValueError, "shape of the result"),
        (lambda a: _cpu.gemm(a, a.T, out=np.empty((2, 2))), TypeError, "dtype of the result"),
        (lambda a: _cpu.gemm(a, a.T, out=a[:, :2]), ValueError, "overlaps"),
        (lambda a: _cpu.gemm(a[:, :2], a[:, :2], out=a[:, 1:]), ValueError, "overlaps"),
        (lambda a: _cpu.gemm(np.stack([a] * 3), np.stack([a.T] * 2)), ValueError, "do not broadcast"),
        (lambda a: _cpu.gemm_gradient(a, a.T, activation=1), ValueError, "needs y"),
        (lambda a: _cpu.gemm_gradient(a, a.T, a, activation=1), ValueError, "shape of the product"),
        (lambda a: _cpu.gemm_gradient(a[None], a.T), ValueError, "must be matrices"),
        (lambda a: _cpu.bias_activation_gradient(a, None, activation=1), ValueError, "needs y"),
        (lambda a: _cpu.bias_activation_gradient(a, a.T, activation=1), ValueError, "one shape"),
        (lambda a: _cpu.bias_activation_gradient(a, None, axis=2), IndexError, "axis"),
        (lambda a: ops.matmul(a, a), ValueError, r"\[matmul\] the inner sizes differ"),
        (lambda a: ops.matmul(a, 2.0), ValueError, r"\[matmul\].*use \*"),
        (lambda a: ops.matmul(a, a.T.astype("float64")), TypeError, r"\[matmul\]"),
        (lambda a: ops.matmul(a, "text"), TypeError, r"\[matmul\]"),
        (lambda a: ops.dot(a, np.ones((1, 3, 3), "float32")), ValueError, r"\[dot\]"),
        (lambda a: ops.dot(a, np.ones(2, "float32")), ValueError, r"\[dot\] the inner sizes"),
        (lambda a: ops.gemm(a, a.T, beta=1.0), ValueError, r"\[gemm\] beta needs c"),
        (lambda a: ops.gemm(a, a.T, activation="step"), ValueError, r"\[gemm\] unknown activation"),
        (lambda a: ops.dense(a, a.T, activation="step"), ValueError, r"\[dense\] unknown activation"),
    ],
)
def test_errors(call, error, words):
    a = np.ones((2, 3), np.float32)
    with pytest.raises(error, match=words):
        call(a)
    np.testing.assert_array_equal(a, 1)


def test_out_that_cannot_be_written(dtype):
    a = np.ones((2, 2), dtype)
    with pytest.raises(ValueError, match="read-only"):
        _cpu.gemm(a, a, out=read_only(np.empty((2, 2), dtype)))
    with pytest.raises(ValueError, match="misaligned"):
        _cpu.gemm(a, a, out=misaligned(np.empty((2, 2), dtype)))


# ---- gradients ----


@pytest.mark.parametrize("activation", range(9))
@pytest.mark.parametrize("shape,axis", [((7, 33), -1), ((3, 5, 4, 6), 1), ((40, 3), 0), ((5,), 0), ((4, 1, 6), 1)])
def test_bias_activation_gradient(isa, dtype, rng, activation, shape, axis):
    dy, y = distribution(rng, shape, dtype), np.abs(distribution(rng, shape, dtype))
    y[..., ::2] *= -0.5
    dz, db = _cpu.bias_activation_gradient(dy, y, activation=activation, slope=0.3, axis=axis)
    expected, total = reference.bias_activation_gradient(dy, y, activation=activation, slope=0.3, axis=axis)
    assert_close(dz, expected, scale=4)
    assert_close(db, total, scale=16)
    assert (dz is dy) == (activation == 0)
    assert _cpu.bias_activation_gradient(dy, y, activation=activation, axis=axis, needs_db=False)[1] is None


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda f: f.__name__)
@pytest.mark.parametrize("axis", [0, 1, 2, 3])
def test_bias_activation_gradient_of_any_layout(isa, dtype, rng, layout, axis):
    dy, y = integers(rng, (3, 4, 5, 300), dtype), integers(rng, (3, 4, 5, 300), dtype)
    dz, db = _cpu.bias_activation_gradient(layout(dy), y, activation=1, axis=axis)
    expected, total = reference.bias_activation_gradient(dy, y, activation=1, axis=axis)
    np.testing.assert_array_equal(dz, expected)
    np.testing.assert_array_equal(db, total)
    np.testing.assert_array_equal(
        _cpu.bias_activation_gradient(dy, layout(y), activation=1, axis=axis, needs_db=False)[0], expected
    )
    repeated = np.broadcast_to(dy[:1, :, :, :1], dy.shape)
    np.testing.assert_array_equal(
        _cpu.bias_activation_gradient(repeated, None, axis=axis)[1],
        repeated.sum(tuple(i for i in range(4) if i != axis)),
    )


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0,), (2, 0, 4)])
def test_bias_activation_gradient_of_nothing(isa, dtype, shape):
    for axis in range(len(shape)):
        dz, db = _cpu.bias_activation_gradient(np.ones(shape, dtype), np.ones(shape, dtype), activation=1, axis=axis)
        assert dz.shape == shape
        np.testing.assert_array_equal(db, np.zeros(shape[axis], dtype))


@pytest.mark.parametrize("activation", range(9))
@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda f: f.__name__)
def test_gemm_gradient(isa, dtype, rng, activation, layout):
    a, b = integers(rng, (17, 40), dtype), integers(rng, (40, 70), dtype)
    y = np.where(integers(rng, (17, 70), dtype) > 0, dtype.type(0.5), dtype.type(-0.25))
    d, total = _cpu.gemm_gradient(a, b, layout(y), activation=activation, slope=0.5, needs_sum=True)
    expected, sums = reference.gemm_gradient(a, b, y, activation=activation, slope=0.5, needs_sum=True)
    assert_close(d, expected, scale=4)
    assert_close(total, sums, scale=64)
    assert _cpu.gemm_gradient(a, b, y, activation=activation)[1] is None


MATMUL_SHAPES = [
    ((3,), (3,)),
    ((3,), (3, 2)),
    ((2, 3), (3,)),
    ((2, 3), (3, 4)),
    ((2, 3, 4), (4, 2)),
    ((3, 4), (2, 4, 2)),
    ((2, 1, 3, 4), (3, 4, 2)),
    ((2, 3, 4), (4,)),
    ((4,), (2, 4, 3)),
]


@pytest.mark.parametrize("shape_a,shape_b", MATMUL_SHAPES)
def test_matmul(device, rng, shape_a, shape_b):
    a, b = integers(rng, shape_a, "float32"), integers(rng, shape_b, "float32")
    got, expected = ops.matmul(a, b), np.matmul(a, b)
    assert got.shape == expected.shape == ops.linalg._matmul.output_shape(shape_a, shape_b)
    np.testing.assert_array_equal(got, expected)
    gradcheck(ops.matmul, rng.standard_normal(shape_a), rng.standard_normal(shape_b))


def test_gradients_of_linear_ops_are_exact(device, rng):
    x, w, dy = (
        integers(rng, (50, 40), "float32"),
        integers(rng, (40, 30), "float32"),
        integers(rng, (50, 30), "float32"),
    )
    w, b = nnfast.Variable(w), nnfast.Variable(integers(rng, 30, "float32"))
    with nnfast.GradientTape() as tape:
        y = ops.dense(x, w, b)
    dw, db = tape.gradient(y, [w, b], output_gradients=dy)
    np.testing.assert_array_equal(dw, x.T @ dy)
    np.testing.assert_array_equal(db, dy.sum(0))


@pytest.mark.parametrize("activation", ops.linalg.FUSED_ACTIVATIONS)
def test_dense_gradients(device, rng, activation):
    for shape in ((4, 5), (2, 3, 5)):
        arrays = rng.standard_normal(shape), rng.standard_normal((5, 3)), rng.standard_normal(3)
        gradcheck(lambda x, w, b: ops.dense(x, w, b, activation, slope=0.3), *arrays)
    gradcheck(lambda x, w: ops.dense(x, w, None, activation, slope=0.3), *arrays[:2])


@pytest.mark.parametrize("activation", ["linear", "tanh"])
def test_gemm_op(device, rng, activation):
    a, b, bias, c = (rng.standard_normal(s) for s in ((2, 4, 5), (5, 3), (3,), (2, 4, 3)))
    options = {"alpha": 0.5, "beta": -2.0, "activation": activation}
    got = ops.gemm(a, b, bias, c=c, **options)
    z = 0.5 * (a @ b) - 2 * c + bias
    assert_close(got.numpy(), np.tanh(z) if activation == "tanh" else z)
    assert got.shape == ops.linalg._gemm.output_shape(a.shape, b.shape)
    gradcheck(lambda a, b, bias, c: ops.gemm(a, b, bias, c=c, **options), a, b, bias, c)
    c[...] = np.nan
    assert np.isfinite(ops.gemm(a, b, bias, c=c).numpy()).all()


def test_dot_and_outer(device, rng):
    a, b = integers(rng, (2, 3, 4), "float32"), integers(rng, (4, 5), "float32")
    np.testing.assert_array_equal(ops.dot(a, b), np.dot(a, b))
    np.testing.assert_array_equal(ops.dot(a, b[:, 0]), np.dot(a, b[:, 0]))
    np.testing.assert_array_equal(ops.outer(a, b), np.outer(a, b))
    assert ops.linalg._outer.output_shape(a.shape, b.shape) == (24, 20)
    gradcheck(ops.dot, rng.standard_normal(4), rng.standard_normal(4))
    gradcheck(ops.outer, rng.standard_normal((2, 3)), rng.standard_normal(4))


def test_dtypes(device):
    """Lists and integers take the float dtype of the other operand; integers among themselves become floatx."""
    assert ops.matmul([[1, 2]], [[3], [4]]).dtype == np.float32
    assert ops.matmul(np.array([[1, 2]]), np.ones((2, 2))).dtype == np.float64
    assert ops.matmul([[1.0, 2.0]], np.ones((2, 2))).dtype == np.float64
    assert ops.matmul(np.array([[True, False]]), np.array([[1], [2]])).item() == 1.0


def test_course_numbers(device):
    """COURSE rows 000-15 and 003-3."""
    assert ops.dot([2, 3], [2, 4]).item() == 16
    assert ops.dot([1, 3, 2], [[1, 0], [2, 4], [5, 1]]).tolist() == [17, 14]
    assert ops.dot([[2, 5, 1], [4, 3, 1]], [[1, 0, 0], [0, 2, 0], [2, 3, 1]]).tolist() == [[4, 13, 1], [6, 9, 1]]
    assert ops.matmul([[1, 2], [3, 4]], [[5, 6], [7, 8]]).tolist() == [[19, 22], [43, 50]]
    assert (nnfast.tensor([[8.0, 7.0], [6.0, 3.0]]) * 4).tolist() == [[32, 28], [24, 12]]


@pytest.mark.parametrize("path", ["packed", "direct", "columns", "few rows"])
def test_every_path_gives_the_same_values(isa, path, rng):
    """Whatever the shape model chooses: forced, where it is possible, on shapes around tiles and blocks of k."""
    used = set()
    try:
        _cpu.use_gemm_path(path)
        for m, n, k in (
            (1, 9, 70),
            (2, 300, 5),
            (15, 17, 1),
            (29, 33, 400),
            (32, 270, 801),
            (61, 300, 0),
            (64, 99, 390),
        ):
            a, b = small_integers(rng, (m, k)), small_integers(rng, (k, n))
            bias, y = small_integers(rng, (n,)), np.maximum(small_integers(rng, (m, n)), 0)
            for left, right in ((a, b), (np.asfortranarray(a), np.asfortranarray(b))):
                used.add(_cpu.gemm_path(left, right))
                np.testing.assert_array_equal(_cpu.gemm(left, right, bias, activation=1), np.maximum(a @ b + bias, 0))
                out = np.ones((m, n), np.float32)
                np.testing.assert_array_equal(_cpu.gemm(left, right, beta=2.0, out=out), a @ b + 2)
                d, total = _cpu.gemm_gradient(left, right, y, activation=1, needs_sum=True)
                np.testing.assert_array_equal(d, np.where(y > 0, a @ b, 0))
                np.testing.assert_array_equal(total, np.where(y > 0, a @ b, 0).sum(0))
    finally:
        _cpu.use_gemm_path("automatic")
    assert path in used
    with pytest.raises(ValueError, match=r"unknown\. Received: 'scenic'"):
        _cpu.use_gemm_path("scenic")


def small_integers(rng, shape):
    return rng.integers(-8, 9, shape).astype(np.float32)
