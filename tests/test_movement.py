"""Data movement: copies, conversions, rows by index, joining, padding, against the reference."""

import itertools

import numpy as np
import pytest
from compare import gradcheck
from layouts import LAYOUTS, misaligned

import nnfast
from nnfast import _cpu, ops, reference

DTYPES = ["bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64"]


@pytest.fixture(params=[1, 2])
def threads(request):
    _cpu.set_num_threads(request.param)
    return request.param


def numbers(rng, shape, dtype):
    """Values that every dtype with the sign can hold, so that no conversion is out of range."""
    low = 0 if np.dtype(dtype).kind in "ub" else -100
    if np.dtype(dtype).kind == "f":
        return rng.uniform(0, 100, shape).astype(dtype)
    return rng.integers(low, 2 if dtype == "bool" else 100, shape).astype(dtype)


def channels_first(a):
    """The last axis lies first in memory."""
    return np.moveaxis(np.moveaxis(a, -1, 0).copy(), 0, -1)


def layouts(a):
    return [make(a) for make in [*LAYOUTS, channels_first]] if a.ndim else [a]


@pytest.mark.parametrize("target", DTYPES)
def test_copy_converts_every_dtype_to_every_other(target, isa, rng):
    for source, n in itertools.product(DTYPES, (0, 1, 15, 16, 17, 67, 1025)):
        x = numbers(rng, n, source)
        y = np.full(n + 2, 1, target)
        _cpu.copy(x, y[1:-1])
        want = np.full(n + 2, 1, target)
        want[1:-1] = x
        assert y.dtype == target
        np.testing.assert_array_equal(y, want)


@pytest.mark.parametrize(
    "shape", [(), (1,), (5,), (16, 16), (33, 18), (3, 1, 40), (4, 17, 35), (2, 3, 20, 5), (7, 0, 3)]
)
@pytest.mark.parametrize(
    "dtypes",
    [
        ("float32", "float32"),
        ("float64", "float32"),
        ("uint8", "float64"),
        ("int16", "int16"),
        ("float64", "uint8"),
        ("bool", "int64"),
        ("float64", "float64"),
    ],
)
def test_copy_between_all_layouts(shape, dtypes, rng):
    x = numbers(rng, shape, dtypes[0])
    for a, b in itertools.product(layouts(x), layouts(np.zeros(shape, dtypes[1]))):
        if not b.flags.writeable or not b.flags.aligned:
            continue
        _cpu.copy(a, b)
        np.testing.assert_array_equal(b, x.astype(dtypes[1]))


def test_transposed_copies_of_large_arrays_do_not_depend_on_threads(threads, rng):
    for dtype in ("uint8", "int16", "float32", "float64"):
        x = numbers(rng, (259, 530), dtype)
        np.testing.assert_array_equal(_cpu.contiguous(x.T), x.T)
        np.testing.assert_array_equal(_cpu.cast(x.T, "float32", 0.5), x.T.astype("float32") * np.float32(0.5))
        images = numbers(rng, (9, 30, 31, 19), dtype)
        y = _cpu.contiguous(images.transpose(0, 3, 1, 2))
        assert y.flags.c_contiguous
        np.testing.assert_array_equal(y, images.transpose(0, 3, 1, 2))
        np.testing.assert_array_equal(_cpu.contiguous(images[:, ::2, ::-1]), images[:, ::2, ::-1])


def test_copy_repeats_a_source_of_stride_zero(rng):
    x = rng.normal(size=(1, 40)).astype("float32")
    y = np.empty((30, 40), "float32")
    _cpu.copy(np.broadcast_to(x, (30, 40)), y)
    np.testing.assert_array_equal(y, np.repeat(x, 30, 0))


def test_copy_of_overlapping_memory_is_as_if_copied_first(rng):
    x = np.arange(100.0)
    _cpu.copy(x[::-1], x)
    np.testing.assert_array_equal(x, np.arange(100.0)[::-1])
    m = rng.normal(size=(50, 50))
    want = m.T.copy()
    _cpu.copy(m.T, m)
    np.testing.assert_array_equal(m, want)


def test_copy_raises_the_version_of_a_variable():
    v = _cpu.empty([3], "float32", for_life=True)
    before = _cpu.version(v)
    _cpu.copy(np.ones(3), v)
    assert _cpu.version(v) == before + 1
    np.testing.assert_array_equal(v, 1)
    _cpu.copy(v, np.empty(3))
    assert _cpu.version(v) == before + 1


def test_copy_refuses_what_it_cannot_write():
    locked = np.zeros(3)
    locked.flags.writeable = False
    with pytest.raises(ValueError, match=r"\[copy\] target is read-only"):
        _cpu.copy(np.ones(3), locked)
    with pytest.raises(ValueError, match=r"\[copy\] source and target must have one shape.*\(3,\).*\(4,\)"):
        _cpu.copy(np.ones(3), np.ones(4))
    with pytest.raises(ValueError, match=r"\[copy\] target is misaligned"):
        _cpu.copy(np.ones(3), misaligned(np.ones(3)))
    with pytest.raises(ValueError, match="stride 0"):
        repeated = np.lib.stride_tricks.as_strided(np.zeros(1), (3,), (0,))
        _cpu.copy(np.ones(3), repeated)
    with pytest.raises(TypeError, match="complex128"):
        _cpu.copy(np.ones(3, complex), np.ones(3))


def test_cast_of_floats_truncates_and_never_crashes(isa):
    x = np.array([2.9, -2.9, 0.0, -0.0, 0.5, np.nan, np.inf, -np.inf, 1e300, -1e300])
    np.testing.assert_array_equal(_cpu.cast(x[:5], "int32"), [2, -2, 0, 0, 0])
    np.testing.assert_array_equal(_cpu.cast(x, "bool"), [1, 1, 0, 0, 1, 1, 1, 1, 1, 1])
    for dtype in DTYPES[1:9]:
        assert _cpu.cast(x, dtype).dtype == dtype
    big = np.array([2**63, 2**64 - 1], np.uint64)
    np.testing.assert_array_equal(_cpu.cast(np.array([2.0**63, 1.5 * 2**63]), "uint64"), [2**63, 3 * 2**62])
    np.testing.assert_array_equal(_cpu.cast(big, "float32"), big.astype("float32"))
    np.testing.assert_array_equal(_cpu.cast(np.array([2**53 + 1, -(2**63)]), "float64"), [2.0**53, -(2.0**63)])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("target", ["float32", "float64"])
def test_cast_with_a_scale(dtype, target, isa, rng):
    x = numbers(rng, (7, 33), dtype)
    for a in layouts(x):
        y = _cpu.cast(a, target, 1 / 255)
        assert y.dtype == target
        np.testing.assert_array_equal(y, reference.cast(x, target, 1 / 255))
    assert np.shares_memory(_cpu.cast(x, target), x) is False


def test_cast_refuses_unknown_dtypes_and_scaled_integers():
    with pytest.raises(TypeError, match="float16"):
        _cpu.cast(np.ones(3), "float16")
    with pytest.raises(ValueError, match=r"\[cast\] only floats can be scaled"):
        _cpu.cast(np.ones(3), "int32", 0.5)


@pytest.mark.parametrize("dtype", DTYPES)
def test_full(dtype):
    for shape in [(), (0,), (3,), (5, 4), (70000,)]:
        for value in (0, 1, 3) if dtype != "bool" else (0, 1):
            y = _cpu.full(shape, dtype, value)
            assert y.dtype == dtype and y.shape == shape
            np.testing.assert_array_equal(y, reference.full(shape, dtype, value))
    if np.dtype(dtype).kind == "f":
        assert np.isnan(_cpu.full((2,), dtype, np.nan)).all()


def test_full_refuses_sizes_beyond_memory():
    for shape in [(2**40, 2**40), (2**62, 2), (2**63 - 1,), (-1,)]:
        with pytest.raises(OverflowError):
            _cpu.full(shape, "float32", 0)
    with pytest.raises((MemoryError, OverflowError)):
        _cpu.full((2**60,), "float32", 0)


def test_contiguous_gives_itself_or_a_copy_in_c_order(rng):
    x = rng.normal(size=(5, 7))
    assert _cpu.contiguous(x) is x
    for a in layouts(x):
        y = _cpu.contiguous(a)
        assert y.flags.c_contiguous and y.flags.aligned
        np.testing.assert_array_equal(y, x)


# ---- rows by index ----

INTEGERS = DTYPES[1:9]


def same(got, want):
    assert got.dtype == want.dtype and got.shape == want.shape
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("index_dtype", INTEGERS)
@pytest.mark.parametrize("shape", [(5,), (7, 3), (4, 784), (6, 5, 4), (3, 0), (1, 1)])
def test_take_rows(shape, index_dtype, rng):
    for dtype in ("uint8", "float32", "float64"):
        x = numbers(rng, shape, dtype)
        for index_shape in [(0,), (1,), (129,), (4, 9), ()]:
            indices = rng.integers(0, shape[0], index_shape).astype(index_dtype)
            for a in layouts(x):
                same(_cpu.take_rows(a, indices), reference.take_rows(x, indices))
        for a in layouts(indices):
            same(_cpu.take_rows(x, a), reference.take_rows(x, indices))


@pytest.mark.parametrize("dtype", DTYPES)
def test_take_rows_converts_and_scales_in_one_pass(dtype, isa, threads, rng):
    x = numbers(rng, (300, 201), dtype)
    indices = rng.permutation(300)
    for target in ("float32", "float64"):
        for a in layouts(x):
            same(
                _cpu.take_rows(a, indices, dtype=target, scale=1 / 255),
                reference.take_rows(x, indices, dtype=target, scale=1 / 255),
            )
    same(_cpu.take_rows(x, indices, dtype="int64"), reference.take_rows(x, indices, dtype="int64"))


def status_of(kernels, op, *args, **options):
    status = np.zeros(5, np.int64)
    status[4] = 7
    return getattr(kernels, op)(*args, status=status, **options), status


@pytest.mark.parametrize("bad", [-1, 6, 2**31, 2**40, -(2**63), 2**63 - 1])
def test_a_bad_index_is_named_and_reads_nothing(bad, threads, rng):
    x = rng.normal(size=(6, 90)).astype("float32")
    indices = rng.integers(0, 6, 5000)
    indices[[321, 322, 4000]] = bad, bad, -5
    for f in (lambda: _cpu.take_rows(x, indices), lambda: _cpu.one_hot(indices, 6, "float32")):
        with pytest.raises(IndexError, match=rf"index {bad} at position 321 is out of range"):
            f()
    with pytest.raises(IndexError, match=rf"\[take_rows_gradient\] index {bad} at position 321"):
        _cpu.take_rows_gradient(np.ones(5000), indices, 6)
    for module in (_cpu, reference):
        status = np.zeros(5, np.int64)
        dx = module.take_rows_gradient(np.ones(5000), indices, 6, status=status)
        assert status[[0, 2, 3]].tolist() == [4, 321, bad] and dx.sum() == ((indices >= 0) & (indices < 6)).sum()
    for op, args in (("take_rows", (x, indices)), ("one_hot", (indices, 6, "float32"))):
        got, status = status_of(_cpu, op, *args)
        want, expected = status_of(reference, op, *args)
        same(got, want)
        np.testing.assert_array_equal(status, expected)
        np.testing.assert_array_equal(status, [4, 7, 321, bad, 7])
        status[:4] = 1, 2, 3, 4  # a status that is set stays as it is
        getattr(_cpu, op)(*args, status=status)
        np.testing.assert_array_equal(status, [1, 2, 3, 4, 7])


def test_unsigned_indices_beyond_int64_are_out_of_range():
    with pytest.raises(IndexError, match="position 1"):
        _cpu.take_rows(np.ones((3, 2)), np.array([0, 2**64 - 1], np.uint64))
    with pytest.raises(IndexError, match="position 0"):
        _cpu.take_rows(np.ones((0, 2)), np.array([0]))


def test_indices_are_integers():
    for bad in (np.array([True, False]), np.array([0.0, 1.0])):
        for f in (
            lambda b=bad: _cpu.take_rows(np.ones((3, 2)), b),
            lambda b=bad: _cpu.one_hot(b, 3, "float32"),
            lambda b=bad: _cpu.take_rows_gradient(np.ones((2, 2)), b, 3),
        ):
            with pytest.raises(TypeError, match="indices must be integers"):
                f()
    with pytest.raises(ValueError, match="must have rows"):
        _cpu.take_rows(np.array(1.0), np.array([0]))
    with pytest.raises(ValueError, match="status must be int64"):
        _cpu.take_rows(np.ones((3, 2)), np.array([0]), status=np.zeros(4, np.int64))


@pytest.mark.parametrize("shape", [(5,), (7, 3), (40, 2100), (6, 5, 4), (3, 0), (0, 4)])
def test_take_rows_gradient(shape, dtype, threads, rng):
    for index_shape in [(0,), (1,), (130,), (4, 9)]:
        if not shape[0] and np.prod(index_shape):
            continue
        indices = rng.integers(0, max(shape[0], 1), index_shape)
        dy = rng.normal(size=(*index_shape, *shape[1:])).astype(dtype)
        for a in layouts(dy):
            same(_cpu.take_rows_gradient(a, indices, shape[0]), reference.take_rows_gradient(dy, indices, shape[0]))
    with pytest.raises(ValueError, match="dy must have a row per index"):
        _cpu.take_rows_gradient(np.ones((3, 2)), np.zeros(4, np.int64), 5)
    with pytest.raises(ValueError, match="rows must not be negative"):
        _cpu.take_rows_gradient(np.ones((3, 2)), np.zeros(3, np.int64), -1)


def test_one_hot(rng):
    for dtype in ("float32", "float64", "bool", "uint8", "int64"):
        for shape, classes in [((), 3), ((0,), 3), ((50,), 10), ((4, 5), 1), ((3000,), 100), ((0,), 0)]:
            indices = rng.integers(0, max(classes, 1), shape)
            for a in layouts(np.asarray(indices)):
                same(_cpu.one_hot(a, classes, dtype), reference.one_hot(np.asarray(indices), classes, dtype))
    with pytest.raises(ValueError, match="classes must not be negative"):
        _cpu.one_hot(np.array([0]), -1, "float32")


# ---- joining and padding ----


@pytest.mark.parametrize("dtype", ["float32", "int64", "bool"])
def test_concat(dtype, rng):
    for axis, shapes in [
        (0, [(3, 4), (1, 4), (0, 4), (5, 4)]),
        (1, [(3, 4, 2), (3, 1, 2), (3, 0, 2)]),
        (-1, [(3, 4), (3, 40)]),
        (0, [(4,)]),
        (-2, [(2, 3, 4)] * 30),
        (1, [(1, 1), (1, 1)]),
    ]:
        arrays = [numbers(rng, shape, dtype) for shape in shapes]
        want = reference.concat(arrays, axis)
        for make in [*LAYOUTS, channels_first]:
            same(_cpu.concat([make(a) for a in arrays], axis), want)


def test_concat_checks_its_arguments():
    a, b = np.ones((2, 3)), np.ones((2, 4))
    with pytest.raises(ValueError, match=r"\[concat\] all sizes but that of axis 0 .*\(2, 3\) and \(2, 4\)"):
        _cpu.concat([a, b], 0)
    with pytest.raises(ValueError, match="at least one array"):
        _cpu.concat([], 0)
    with pytest.raises(TypeError, match="float64 and float32"):
        _cpu.concat([a, a.astype("float32")], 0)
    for axis in (2, -3, 2**62):
        with pytest.raises(IndexError, match="axis is out of range"):
            _cpu.concat([a, a], axis)
    with pytest.raises(IndexError, match="axis is out of range"):
        _cpu.concat([np.array(1.0)], 0)


@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8", "bool"])
def test_pad(dtype, threads, rng):
    for shape, widths in [
        ((), []),
        ((5,), [(2, 3)]),
        ((0,), [(2, 3)]),
        ((3, 4), [(0, 0), (0, 0)]),
        ((3, 4), [(1, 2), (0, 3)]),
        ((3, 0), [(1, 2), (1, 1)]),
        ((2, 9, 8, 3), [(0, 0), (1, 2), (2, 1), (0, 0)]),
        ((40, 50, 60), [(1, 0), (0, 1), (3, 3)]),
    ]:
        x = numbers(rng, shape, dtype)
        for value in (0, 1):
            for a in layouts(x):
                same(_cpu.pad(a, widths, value), reference.pad(x, widths, value))


def test_pad_checks_its_arguments():
    x = np.ones((2, 3))
    with pytest.raises(ValueError, match="for each of 2 axes"):
        _cpu.pad(x, [(1, 1)])
    with pytest.raises(ValueError, match="must not be negative"):
        _cpu.pad(x, [(1, 1), (0, -1)])
    for n in (2**62, 2**63 - 1):
        with pytest.raises((OverflowError, MemoryError)):
            _cpu.pad(x, [(0, 0), (n, n)])
    with pytest.raises((OverflowError, MemoryError)):
        _cpu.pad(x, [(2**40, 0), (2**40, 0)])


# ---- what a step writes at its end ----


def test_accumulate(threads, rng):
    for shape, weight_shape in [
        ((), None),
        ((7,), None),
        ((7,), (7,)),
        ((6, 5), (5,)),
        ((6, 5), (6, 1)),
        ((6, 5), ()),
        ((0,), None),
        ((100000,), (100000,)),
        ((300, 401), (300, 1)),
    ]:
        for dtype in ("float32", "float64", "bool", "int64"):
            values = numbers(rng, shape, dtype)
            for weight_dtype in ("float32", "float64"):
                weights = None if weight_shape is None else rng.uniform(size=weight_shape).astype(weight_dtype)
                for a in layouts(np.asarray(values)):
                    got, want = np.array([1.5, 2.5]), np.array([1.5, 2.5])
                    _cpu.accumulate(got, a, weights, scale=0.25)
                    reference.accumulate(want, values, weights, scale=0.25)
                    np.testing.assert_allclose(got, want, rtol=1e-13)


def test_accumulate_and_advance_stop_when_a_status_is_set():
    status = np.zeros(5, np.int64)
    sums, counter = np.zeros(2), np.array(4)
    _cpu.accumulate(sums, np.ones(3), status=status)
    _cpu.advance(counter, 3, status=status)
    np.testing.assert_array_equal(sums, [3, 3])
    assert counter == 7
    status[0] = 5
    _cpu.accumulate(sums, np.ones(3), status=status)
    _cpu.advance(counter, status=status)
    np.testing.assert_array_equal(sums, [3, 3])
    assert counter == 7
    grid = np.arange(12).reshape(3, 4)
    _cpu.advance(grid[:, ::2], 100)
    np.testing.assert_array_equal(grid, [[100, 1, 102, 3], [104, 5, 106, 7], [108, 9, 110, 11]])


def test_accumulate_and_advance_check_their_arguments():
    for sums in (np.zeros(2, "float32"), np.zeros(3), np.zeros((1, 2))):
        with pytest.raises(ValueError, match=r"sums must be float64 of shape \(2,\)"):
            _cpu.accumulate(sums, np.ones(3))
    with pytest.raises(ValueError, match=r"must broadcast.*\(3,\).*\(4,\)"):
        _cpu.accumulate(np.zeros(2), np.ones(3), np.ones(4))
    with pytest.raises(ValueError, match="must broadcast"):
        _cpu.accumulate(np.zeros(2), np.ones(3), np.ones((1, 3)))
    with pytest.raises(TypeError, match="weights must be float32 or float64"):
        _cpu.accumulate(np.zeros(2), np.ones(3), np.ones(3, int))
    with pytest.raises(TypeError, match="counter must be int64"):
        _cpu.advance(np.zeros(1))


def test_check_finite(dtype, threads, rng):
    for shape in [(), (5,), (300, 700), (3, 4, 5)]:
        for bad in (np.nan, np.inf, -np.inf):
            x = rng.normal(size=shape).astype(dtype)
            status = np.zeros(5, np.int64)
            _cpu.check_finite(x, status=status)
            assert not status.any()
            x.reshape(-1)[[-1, x.size // 2]] = bad
            for a in layouts(np.asarray(x)):
                got, want = np.array([0, 0, 0, 0, 9]), np.array([0, 0, 0, 0, 9])
                _cpu.check_finite(a, status=got)
                reference.check_finite(x, status=want)
                np.testing.assert_array_equal(got[[0, 1, 2, 4]], want[[0, 1, 2, 4]])
                np.testing.assert_array_equal(got[3:4].view(float), bad)
    huge = np.full(3000, np.finfo(dtype).max, dtype)
    status = np.zeros(5, np.int64)
    _cpu.check_finite(huge, status=status)
    _cpu.check_finite(huge[:0], status=status)
    assert not status.any()
    with pytest.raises(ValueError, match=r"\[check_finite\] the loss is not finite at sample 2"):
        _cpu.check_finite(np.array([1, 2, np.inf, np.nan], dtype), status=None)


# ---- ops ----


def test_take_rows_of_tensors(device, dtype, rng):
    x, indices = rng.normal(size=(6, 3)), np.array([[1, 5, 1], [0, 1, 2]])
    y = ops.take_rows(x.astype(dtype), indices, scale=0.5)
    same(y.numpy(), (x.astype(dtype) * dtype.type(0.5))[indices])
    gradcheck(lambda v: ops.take_rows(v, indices, scale=0.5), x)
    gradcheck(lambda v: ops.take_rows(v, [3]), x)
    w = nnfast.Variable(x.astype("float32"))
    with nnfast.GradientTape() as tape:
        y = ops.take_rows(w, indices, dtype="float64")
    g = tape.gradient(y, w)
    assert g.dtype == "float32" and g.tolist() == [[n] * 3 for n in (1, 3, 1, 0, 0, 1)]
    assert ops.movement.TakeRows().output_shape((6, 3), (None, 4)) == (None, 4, 3)


def test_take_rows_reports_to_the_status_in_use(device):
    status = ops.new_status()
    with ops.use_status(status):
        ops.take_rows(np.ones((2, 2)), [0, 7])
        ops.one_hot([9], 3)
    np.testing.assert_array_equal(nnfast.device.host(status)[:4], [ops.BAD_INDEX, 0, 1, 7])
    with pytest.raises(IndexError):
        ops.take_rows(np.ones((2, 2)), [0, 7]).numpy()


def test_joining_and_padding_of_tensors(device, rng):
    a, b, c = rng.normal(size=(2, 3)), rng.normal(size=(2, 1)), rng.normal(size=(2, 3))
    gradcheck(lambda u, v: ops.concat([u, v], 1), a, b)
    gradcheck(lambda u, v: ops.concatenate([u, v], axis=-2), a, c)
    for axis in (0, 1, -1):
        same(ops.stack([a, c], axis).numpy(), np.stack([a, c], axis))
        gradcheck(lambda u, v, axis=axis: ops.stack([u, v], axis), a, c)
    gradcheck(lambda u: ops.stack([u[0] * u[1], ops.sum(u)]), np.array([2.0, 3.0]))  # numbers
    gradcheck(lambda u: ops.pad(u, [(1, 0), (2, 3)], 5.0), a)
    same(ops.pad(a, 1).numpy(), np.pad(a, 1))
    same(ops.pad(a, (1, 2)).numpy(), np.pad(a, (1, 2)))
    assert ops.movement.Concat().output_shape((None, 2), (None, 3), axis=-1) == (None, 5)
    assert ops.movement.Concat().output_shape((None, 2), (4, 2), axis=0) == (None, 2)
    assert ops.movement.Stack().output_shape((None, 2), (None, 2), axis=1) == (None, 2, 2)
    assert ops.movement.Pad().output_shape((None, 2), [(1, 1), (0, 3)]) == (None, 5)
    for bad in (lambda: ops.stack([]), lambda: ops.stack([a, b]), lambda: ops.pad(a, [(1, 2, 3)])):
        with pytest.raises(ValueError, match=r"\[(stack|pad)\]"):
            bad()
    with pytest.raises(IndexError, match=r"\[stack\] axis"):
        ops.stack([a, c], 3)


def test_conversions_of_tensors(device, rng):
    x = rng.normal(size=(2, 3))
    gradcheck(lambda u: ops.cast(u, "float64", 3.0), x)
    gradcheck(lambda u: ops.contiguous(u), x)
    w = nnfast.Variable(x)
    with nnfast.GradientTape() as tape:
        y = ops.cast(w, "float32", 2.0)
    g = tape.gradient(y, w)
    assert g.dtype == "float64" and (g.numpy() == 2).all()
    assert ops.cast(w, "int32").node is None and ops.cast(w, "float64") is w
    assert ops.cast([1, 0], bool).tolist() == [True, False]


def test_arrays_of_one_value(device):
    assert ops.zeros((2, 3)).dtype == "float32" and ops.ones(4, "float64").tolist() == [1.0] * 4
    assert ops.full((), 7).item() == 7
    like = ops.full_like(np.zeros((2, 1), "int16"), 3)
    assert like.dtype == "int16" and like.shape == (2, 1) and like.tolist() == [[3], [3]]
    assert ops.zeros_like(like, "bool").dtype == bool and ops.ones_like(like).tolist() == [[1], [1]]
    nnfast.config.set_floatx("float64")
    assert ops.zeros(3).dtype == "float64" and ops.one_hot([1], 2).dtype == "float64"


def test_metric_sums_and_counters_of_tensors(device):
    sums, count = nnfast.Variable(np.zeros(2), trainable=False), nnfast.Variable(np.array(3), trainable=False)
    before = sums.version
    ops.accumulate(sums, nnfast.tensor([True, False]), np.array([2, 3]))
    ops.accumulate(sums, 0.5, scale=4.0)
    ops.advance(count, 2)
    np.testing.assert_array_equal(sums.numpy(), [4, 9])
    assert count.item() == 5 and sums.version > before
    with pytest.raises(ValueError, match="finite"):
        ops.check_finite(nnfast.tensor([1.0, np.nan]))


def test_the_default_axes_of_joining():
    """That of `concatenate` is Keras's and NumPy's, that of `concat` and of Keras's backend the last."""
    a, b = np.ones((2, 3)), np.zeros((2, 3))
    assert ops.concatenate([a, b]).shape == (4, 3)
    assert ops.concat([a, b]).shape == nnfast.backend.concatenate([a, b]).shape == (2, 6)
