"""nnfast.utils: to_categorical and normalize."""

import numpy as np
import pytest
from nnfast.utils import normalize, to_categorical


class TestToCategorical:
    def test_rows(self):
        got = to_categorical([3, 0, 1])
        assert got.dtype == np.float32
        np.testing.assert_array_equal(got, [[0, 0, 0, 1], [1, 0, 0, 0], [0, 1, 0, 0]])

    @pytest.mark.parametrize("dtype", ["u1", "i1", ">i2", "i4", "u8", "f4", ">f8", "bool"])
    def test_dtypes(self, dtype):
        np.testing.assert_array_equal(to_categorical(np.array([1, 0, 1], dtype), 3), np.eye(3)[[1, 0, 1]])

    @pytest.mark.parametrize(
        "shape, result",
        [((), (5,)), ((1,), (1, 5)), ((4, 1), (4, 5)), ((2, 3), (2, 3, 5)), ((2, 3, 1), (2, 3, 5)), ((1, 1), (1, 5))],
    )
    def test_shapes(self, shape, result):
        x = np.arange(np.prod(shape, dtype=int)).reshape(shape) % 5
        got = to_categorical(x, 5)
        assert got.shape == result
        np.testing.assert_array_equal(got.argmax(-1).reshape(shape), x)
        np.testing.assert_array_equal(got.sum(-1), np.ones(result[:-1]))

    def test_strided_and_read_only(self):
        x = np.arange(10, dtype=np.uint8)[::-2]
        x.flags.writeable = False
        np.testing.assert_array_equal(to_categorical(x), np.eye(10)[[9, 7, 5, 3, 1]])

    def test_empty_needs_num_classes(self):
        assert to_categorical([], 3).shape == (0, 3)
        assert to_categorical(np.zeros((0, 1), int), 3).shape == (0, 3)
        with pytest.raises(ValueError, match=r"must not be empty. Received: x.shape=\(0,\)"):
            to_categorical([])

    @pytest.mark.parametrize(
        "x, num_classes, message",
        [
            ([0, 1, -1, -2], None, r"lie in 0 to 2147483647. Received: x\[2\]=-1"),
            ([0, 9, 10, 11], 10, r"lie in 0 to 9. Received: x\[2\]=10"),
            ([[0, 1], [2, 1 << 40]], None, r"x\[1, 1\]=1099511627776"),
            (np.array([1, 2**64 - 1], np.uint64), 5, r"x\[1\]=18446744073709551615"),
            ([0, np.iinfo(np.int64).min], 5, r"x\[1\]=-9223372036854775808"),
            ([0.0, np.nan], 5, r"x\[1\]=nan"),
            ([0.0, np.inf], None, r"x\[1\]=inf"),
            ([0.0, 1.5], 5, r"whole number. Received: x\[1\]=1.5"),
            (-3, 5, r"x\[0\]=-3"),
            ([0], 0, "num_classes=0"),
            ([0], -4, "num_classes=-4"),
        ],
    )
    def test_bad_values_are_named(self, x, num_classes, message):
        with pytest.raises(ValueError, match=message):
            to_categorical(x, num_classes)

    @pytest.mark.parametrize("x", [["a"], [1j], [None], np.array(["2020-01-01"], "M8[D]")])
    def test_no_numbers(self, x):
        with pytest.raises(TypeError, match="dtype"):
            to_categorical(x)

    def test_num_classes_is_an_integer(self):
        with pytest.raises(TypeError):
            to_categorical([1], 3.0)


class TestNormalize:
    @pytest.mark.parametrize("axis", [0, 1, 2, -1, -3])
    @pytest.mark.parametrize("order", [1, 2, 3, np.inf])
    def test_norm_is_one(self, axis, order):
        x = np.random.default_rng(0).normal(size=(3, 4, 5)).astype(np.float32)
        got = normalize(x, axis, order)
        assert got.dtype == np.float32 and got.shape == x.shape
        np.testing.assert_allclose(np.linalg.norm(got, order, axis), 1, rtol=4 * np.finfo(np.float32).eps)
        np.testing.assert_array_equal(np.sign(got), np.sign(x))

    def test_zero_integer_and_huge_rows(self):
        got = normalize([[3, 4], [0, 0]])
        assert got.dtype == np.float64
        np.testing.assert_array_equal(got, [[0.6, 0.8], [0, 0]])
        np.testing.assert_allclose(normalize(np.float32([3e30, 4e30])), [0.6, 0.8], rtol=2 * np.finfo(np.float32).eps)
        assert normalize(np.zeros((0, 3))).shape == (0, 3)

    def test_argument_is_untouched(self):
        x = np.array([3.0, 4.0])
        normalize(x)
        np.testing.assert_array_equal(x, [3, 4])

    def test_bad_arguments(self):
        with pytest.raises(IndexError):
            normalize([1.0, 2.0], axis=1)
        with pytest.raises(TypeError):
            normalize([[1.0, 2.0]], axis=(0, 1))
        with pytest.raises(TypeError, match="complex128"):
            normalize([1j])
