"""Data movement: copies, conversions, rows by index, joining, padding, against the reference."""

import itertools

import numpy as np
import pytest
from layouts import LAYOUTS, misaligned
from nnfast import _cpu, reference

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
@pytest.mark.parametrize("source", DTYPES)
def test_copy_converts_every_dtype_to_every_other(source, target, isa, rng):
    for n in (0, 1, 15, 16, 17, 67, 1025):
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
