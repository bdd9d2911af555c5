"""The contract for bad input, row by row: a clean error that names the op, the rule and what it received, or the right
answer. Arguments stay as they were."""

import gc
import re

import numpy as np
import pytest
from layouts import LAYOUTS, misaligned, read_only

import nnfast
from nnfast import _cpu, layers, losses, models, ops
from nnfast.models import Sequential

BIG = 2**62


class Arrays:
    """Makes arguments, and can say afterwards whether they are as they were."""

    def __init__(self):
        self.made = []

    def __call__(self, *shape, dtype="float32", layout=None):
        a = np.asarray(np.random.default_rng(len(self.made)).uniform(1, 2, shape)).astype(dtype)
        return self.keep(a if layout is None else layout(a))

    def keep(self, values, dtype=None):
        a = np.asarray(values, dtype)
        self.made.append((a, a.copy()))
        return a

    def check(self):
        for a, before in self.made:
            assert a.tobytes() == before.tobytes(), "an argument was changed"


def refuses(call, errors, *words, tag=None):
    """call(arrays) must raise one of `errors`, with an [op] tag, all words, and what it received."""
    arrays = Arrays()
    with pytest.raises(errors) as caught:
        call(arrays)
    arrays.check()
    text = str(caught.value.args[0])
    assert re.match(r"\[\w[\w. ]*\] ", text), f"no [op] tag: {text}"
    assert tag is None or text.startswith(f"[{tag}] "), text
    for word in words:
        assert str(word) in text, f"{word!r} is missing: {text}"
    return text


def rows(*table):
    """Parametrises a test over (name, call, errors, *words); the name begins with the op's tag."""
    return pytest.mark.parametrize("row", table, ids=[r[0] for r in table])


def check_row(row):
    name, call, errors, *words = row
    text = refuses(call, errors, *words, tag=name.split(":")[0])
    assert "Received" in text or words, text


# ---- dtypes ----


@rows(
    ("add: two floats", lambda a: ops.add(a(3), a(3, dtype="float64")), TypeError, "float32", "float64"),
    ("div: two floats", lambda a: a(3) / nnfast.tensor(a(3, dtype="float64")), TypeError, "float32", "float64"),
    ("matmul: two floats", lambda a: ops.matmul(a(2, 3), a(3, 2, dtype="float64")), TypeError, "float32", "float64"),
    ("dense: two floats", lambda a: ops.dense(a(2, 3), a(3, 2), a(2, dtype="float64")), TypeError, "float64"),
    ("where: two floats", lambda a: ops.where([True], a(1), a(1, dtype="float64")), TypeError, "float32", "float64"),
    ("concat: two floats", lambda a: ops.concat([a(3), a(3, dtype="float64")]), TypeError, "float32", "float64"),
    (
        "conv2d: two floats",
        lambda a: ops.conv2d(a(1, 4, 4, 1), a(3, 3, 1, 2, dtype="float64")),
        TypeError,
        "float32",
        "float64",
    ),
)
def test_float32_with_float64(row):
    check_row(row)


TAKES_NUMBERS = {
    "exp": ops.exp,
    "add": lambda x: ops.add(x, 1.0),
    "sum": ops.sum,
    "argmax": lambda x: ops.argmax(x, axis=0),
    "matmul": lambda x: ops.matmul(x, np.ones((3, 2), "float32")),
    "softmax": lambda x: ops.softmax(x),
    "softmax_xent": lambda x: ops.softmax_xent(x, [0, 1, 2]),
    "max_pool2d": lambda x: ops.max_pool2d(x.reshape(1, 3, 3, 1), 2),
    "conv2d": lambda x: ops.conv2d(x.reshape(1, 1, 3, 3), np.ones((1, 1, 3, 1), "float32")),
    "take_rows": lambda x: ops.take_rows(x, [0]),
    "cast": lambda x: ops.cast(x, "float32"),
    "concat": lambda x: ops.concat([x, x]),
    "pad": lambda x: ops.pad(x, 1),
    "reshape": lambda x: ops.reshape(x, -1),
    "one_hot": lambda x: ops.one_hot(x, 3),
    "Tensor": nnfast.Tensor,
    "Variable": nnfast.Variable,
    "mean_squared_error": lambda x: losses.mean_squared_error(x, x),
}
BAD_DTYPES = {
    "complex": np.ones((3, 3), np.complex64),
    "object": np.array([[object()] * 3] * 3),
    "string": np.array([["1", "2", "3"]] * 3),
    "bytes": np.array([[b"1"] * 3] * 3),
    "datetime": np.zeros((3, 3), "datetime64[s]"),
    "structured": np.zeros((3, 3), [("a", "f4"), ("b", "i4")]),
    "long double": np.ones((3, 3), np.longdouble),
    "half": np.ones((3, 3), np.float16),
}


@pytest.mark.parametrize("bad", BAD_DTYPES)
@pytest.mark.parametrize("op", TAKES_NUMBERS)
def test_what_is_no_number(op, bad):
    """Never a reinterpretation of the bytes."""
    x = BAD_DTYPES[bad]
    name = "float16" if bad == "half" else str(x.dtype)[:6].strip("'<>|[")
    refuses(lambda a: TAKES_NUMBERS[op](x), TypeError, name)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32"])
def test_big_endian_arrays_are_converted(dtype, rng, device):
    x = rng.integers(1, 9, (3, 4)).astype(dtype)
    swapped = x.astype(x.dtype.newbyteorder(">"))
    for f in (ops.exp, ops.sum, lambda v: ops.add(v, v), lambda v: ops.take_rows(v, [2]), nnfast.tensor):
        np.testing.assert_array_equal(f(swapped).numpy(), f(x).numpy())
        assert f(swapped).dtype.isnative
    np.testing.assert_array_equal(ops.one_hot(swapped[0].astype(">i4") % 3, 3), ops.one_hot(x[0].astype("i4") % 3, 3))


def test_integers_and_bools_take_the_other_dtype(device):
    for dtype in ("float32", "float64"):
        x = np.ones(3, dtype)
        for other in (np.arange(3), np.array([True, False, True]), 2, 2.5, np.float64(2.5), [1, 2, 3], np.uint8(3)):
            assert ops.add(x, other).dtype == dtype
            assert ops.mul(other, x).dtype == dtype


# ---- layouts ----


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda f: f.__name__)
def test_any_layout_gives_the_same_answer(layout, rng):
    x, w = rng.standard_normal((2, 6, 5, 3)).astype("float32"), rng.standard_normal((3, 3, 3, 4)).astype("float32")
    for f in (
        lambda x, w: ops.conv2d(x, w),
        lambda x, w: ops.matmul(x[0], w[0, :, :, 0].T),
        lambda x, w: ops.softmax(x),
        lambda x, w: ops.sum(x, axis=(0, 2)),
        lambda x, w: ops.max_pool2d(x, 2),
        lambda x, w: ops.mul(x, w[0, 0, :, 0]),
    ):
        np.testing.assert_allclose(f(layout(x), layout(w)), f(x, w), rtol=2e-6, atol=2e-6)


def test_repeated_operands(rng):
    x = rng.standard_normal((1, 5)).astype("float32")
    repeated = np.broadcast_to(x, (4, 5))
    np.testing.assert_allclose(ops.exp(repeated), np.exp(repeated), rtol=1e-6)
    np.testing.assert_allclose(ops.matmul(repeated, repeated.T), repeated @ repeated.T, rtol=1e-5)


# ---- out= of the kernels ----

OUT = {
    "relu": lambda x, out: _cpu.relu(x, out=out),
    "add": lambda x, out: _cpu.add(x, x, out=out),
    "gemm": lambda x, out: _cpu.gemm(x, np.ones((3, 3), "float32"), out=out),
    "where": lambda x, out: _cpu.where(x > 0, x, x, out=out),
}


@pytest.mark.parametrize("op", OUT)
def test_out_that_cannot_be_used(op):
    f = OUT[op]
    refuses(lambda a: f(a(3, 3), a(3, 3, layout=read_only)), ValueError, "read-only", tag=op)
    refuses(lambda a: f(a(3, 3), a(3, 3, layout=misaligned)), ValueError, "misaligned", tag=op)
    refuses(lambda a: f(a(3, 3), a(3, 4)), ValueError, "(3, 3)", "(3, 4)", tag=op)
    refuses(lambda a: f(a(3, 3), a(3, 3, dtype="float64")), TypeError, "float32", "float64", tag=op)
    refuses(lambda a: f(a(3, 3), np.broadcast_to(a(3), (3, 3)).copy()[:, ::-1].tolist()), TypeError, "array", tag=op)

    def repeats(a):
        base = a(1, 3)
        f(a(3, 3), np.lib.stride_tricks.as_strided(base, (3, 3), (0, 4), writeable=True))

    refuses(repeats, ValueError, "stride 0", tag=op)

    def overlapping(a):
        both = a(4, 3)
        f(both[:3], both[1:])

    refuses(overlapping, ValueError, "overlaps", tag=op)


# ---- shapes, ranks, axes ----

HUGE_AXIS = 2**63 - 1


@rows(
    ("add: shapes", lambda a: ops.add(a(2, 3), a(4, 3)), ValueError, "(2, 3)", "(4, 3)"),
    ("where: shapes", lambda a: ops.where(a(2) > 0, a(3), a(3)), ValueError, "(2,)", "(3,)"),
    ("matmul: inner sizes", lambda a: ops.matmul(a(2, 3), a(4, 5)), ValueError, "(2, 3)", "(4, 5)"),
    ("gemm: batches of matmul", lambda a: ops.matmul(a(2, 2, 3), a(3, 3, 5)), ValueError, "(2, 2, 3)", "(3, 3, 5)"),
    ("matmul: a number", lambda a: ops.matmul(a(2, 3), 2.0), ValueError, "()"),
    ("gemm: inner sizes of dense", lambda a: ops.dense(a(2, 3), a(4, 5)), ValueError, "(2, 3)", "(4, 5)"),
    ("gemm: bias of dense", lambda a: ops.dense(a(2, 3), a(3, 5), a(4)), ValueError, "(4,)"),
    ("gemm: kernel of one dimension", lambda a: ops.dense(a(2, 3), a(3)), ValueError, "(3,)"),
    ("gemm: a number for dense", lambda a: ops.dense(a(), a(3, 2)), ValueError, "()"),
    ("dense: activation", lambda a: ops.dense(a(2, 3), a(3, 5), None, "rleu"), ValueError, "rleu", "relu"),
    ("conv2d: rank", lambda a: ops.conv2d(a(5, 5, 1), a(3, 3, 1, 2)), ValueError, "(5, 5, 1)", "(3, 3, 1, 2)"),
    (
        "conv2d: channels",
        lambda a: ops.conv2d(a(1, 5, 5, 1), a(3, 3, 3, 2)),
        ValueError,
        "(1, 5, 5, 1)",
        "(3, 3, 3, 2)",
    ),
    ("conv2d: bias", lambda a: ops.conv2d(a(1, 5, 5, 1), a(3, 3, 1, 2), a(3)), ValueError, "(3,)"),
    ("conv2d: groups and filters", lambda a: ops.conv2d(a(1, 5, 5, 4), a(3, 3, 2, 3), groups=2), ValueError, "groups"),
    ("conv2d: groups and channels", lambda a: ops.conv2d(a(1, 5, 5, 3), a(3, 3, 1, 4), groups=2), ValueError, "groups"),
    (
        "conv2d: kernel too large",
        lambda a: ops.conv2d(a(1, 2, 9, 1), a(3, 3, 1, 2)),
        ValueError,
        "spans 3 rows",
        "has 2",
    ),
    ("conv2d: format", lambda a: ops.conv2d(a(1, 5, 5, 1), a(3, 3, 1, 2), data_format="nhwc"), ValueError, "nhwc"),
    ("max_pool2d: rank", lambda a: ops.max_pool2d(a(5, 5), 2), ValueError, "(5, 5)"),
    ("max_pool2d: window too large", lambda a: ops.max_pool2d(a(1, 3, 9, 1), 4), ValueError, "4 rows", "has 3"),
    ("avg_pool2d: rank", lambda a: ops.avg_pool2d(a(5), 2), ValueError, "(5,)"),
    ("avg_pool2d: window too large", lambda a: ops.avg_pool2d(a(1, 9, 3, 1), 4), ValueError, "4 columns", "has 3"),
    ("concat: shapes", lambda a: ops.concat([a(2, 3), a(3, 2)], 0), ValueError, "(2, 3)", "(3, 2)"),
    ("concat: nothing", lambda a: ops.concat([]), ValueError),
    ("stack: shapes", lambda a: ops.stack([a(2), a(3)]), ValueError, "(2,)", "(3,)"),
    ("stack: nothing", lambda a: ops.stack([]), ValueError),
    ("reshape: size", lambda a: ops.reshape(a(2, 3), (4, 2)), ValueError, "(2, 3)", "(4, 2)"),
    ("reshape: two unknown", lambda a: ops.reshape(a(2, 3), (-1, -1)), ValueError, "(2, 3)"),
    ("squeeze: size", lambda a: ops.squeeze(a(2, 3), 1), ValueError, "(2, 3)"),
    ("broadcast_to: size", lambda a: ops.broadcast_to(a(2, 3), (2, 4)), ValueError, "(2, 3)", "(2, 4)"),
    ("transpose: twice", lambda a: ops.transpose(a(2, 3), (0, 0)), ValueError, "(2, 3)"),
    ("expand_dims: twice", lambda a: ops.expand_dims(a(2, 3), (0, 0)), ValueError, "(2, 3)"),
    ("pad: widths", lambda a: ops.pad(a(2, 3), [(1, 1), (1, 1), (1, 1)]), ValueError, "(2, 3)"),
    ("pad: negative", lambda a: ops.pad(a(2, 3), -1), ValueError, "-1"),
    ("dropout: noise", lambda a: ops.dropout(a(2, 3), 0.5, noise_shape=(2, 2)), ValueError, "(2, 3)", "(2, 2)"),
    ("dropout: rate", lambda a: ops.dropout(a(2, 3), 40), ValueError, "40"),
    ("sum: repeated axis", lambda a: ops.sum(a(2, 3), axis=(0, -2)), ValueError, "(0, -2)"),
    ("softmax_xent: rank", lambda a: ops.softmax_xent(a(), 0), ValueError, "()"),
    ("gradient: seed", lambda a: nnfast.Variable(a(3)).backward(a(2)), ValueError, "(2,)", "(3,)"),
    ("assign: shape", lambda a: nnfast.Variable(a(3)).assign(a(2)), ValueError, "(3,)", "(2,)"),
)
def test_shapes_that_do_not_fit(row):
    check_row(row)


@pytest.mark.parametrize("axis", [2, -3, HUGE_AXIS, -(2**63), 2**64], ids=str)
@pytest.mark.parametrize(
    "op", ["sum", "mean", "max", "min", "prod", "var", "logsumexp", "argmax", "argmin", "softmax", "log_softmax"]
)
def test_axis_out_of_range(op, axis):
    refuses(lambda a: getattr(ops, op)(a(2, 3), axis=axis), IndexError, str(axis), tag=op)


@pytest.mark.parametrize("axis", [4, HUGE_AXIS, 2**64], ids=str)
def test_axis_out_of_range_of_views(axis):
    for op, call in {
        "concat": lambda a: ops.concat([a(2, 3), a(2, 3)], axis),
        "stack": lambda a: ops.stack([a(2, 3), a(2, 3)], axis),
        "squeeze": lambda a: ops.squeeze(a(2, 3), axis),
        "expand_dims": lambda a: ops.expand_dims(a(2, 3), axis),
        "transpose": lambda a: ops.transpose(a(2, 3), (0, axis)),
        "swapaxes": lambda a: ops.swapaxes(a(2, 3), 0, axis),
        "moveaxis": lambda a: ops.moveaxis(a(2, 3), axis, 0),
    }.items():
        refuses(call, IndexError, str(axis), tag=op)


@pytest.mark.parametrize("axis", [0.5, "0", [1.0]], ids=repr)
def test_axis_that_is_no_integer(axis):
    for op in ("sum", "softmax", "argmax"):
        refuses(lambda a, op=op: getattr(ops, op)(a(2, 3), axis=axis), TypeError, "axis", tag=op)


# ---- windows ----

WINDOWED = {
    "conv2d": lambda a, **k: ops.conv2d(a(1, 6, 6, 2), a(3, 3, 2, 2), **k),
    "max_pool2d": lambda a, pool_size=2, **k: ops.max_pool2d(a(1, 6, 6, 2), pool_size, **k),
    "avg_pool2d": lambda a, pool_size=2, **k: ops.avg_pool2d(a(1, 6, 6, 2), pool_size, **k),
}
LAYERS = {
    "Conv2D": lambda kernel_size=3, **k: layers.Conv2D(2, kernel_size, **k),
    "MaxPooling2D": lambda kernel_size=2, **k: layers.MaxPooling2D(kernel_size, **k),
    "AveragePooling2D": lambda kernel_size=2, **k: layers.AveragePooling2D(kernel_size, **k),
}


@pytest.mark.parametrize("value", [0, -1, (1, 0), (2, -3), -BIG], ids=str)
@pytest.mark.parametrize("name", ["strides", "dilation"])
@pytest.mark.parametrize("op", WINDOWED)
def test_strides_and_dilation_are_positive(op, name, value):
    refuses(lambda a: WINDOWED[op](a, **{name: value}), ValueError, name, value, tag=op)


@pytest.mark.parametrize("value", [1.5, (1, 2.0), "2", True, None, np.float32(2)], ids=repr)
@pytest.mark.parametrize("name", ["strides", "dilation", "pool_size"])
@pytest.mark.parametrize("op", WINDOWED)
def test_strides_and_dilation_are_integers(op, name, value):
    if (op == "conv2d" and name == "pool_size") or (value is None and name == "strides" and op != "conv2d"):
        return  # no such argument; a pool's strides=None means its size
    refuses(lambda a: WINDOWED[op](a, **{name: value}), TypeError, name, tag=op)


@pytest.mark.parametrize("value", [(1, 2, 3), (), [1]], ids=str)
@pytest.mark.parametrize("op", WINDOWED)
def test_strides_are_one_or_two(op, value):
    refuses(lambda a: WINDOWED[op](a, strides=value), ValueError, "strides", value, tag=op)


@pytest.mark.parametrize("value", [-1, ((0, -1), (0, 0)), "wide", (1, 2), ((1, 1), (1, 1), (1, 1))], ids=str)
@pytest.mark.parametrize("op", WINDOWED)
def test_padding(op, value):
    refuses(lambda a: WINDOWED[op](a, padding=value), ValueError, "padding", tag=op)


@pytest.mark.parametrize("value", [2**31, BIG, 2**64, ((0, BIG), (BIG, 0))], ids=str)
@pytest.mark.parametrize("op", WINDOWED)
def test_padding_beyond_memory(op, value):
    refuses(lambda a: WINDOWED[op](a, padding=value), (OverflowError, MemoryError), tag=op)


@pytest.mark.parametrize("value", [2**31, BIG, 2**64], ids=str)
@pytest.mark.parametrize("name", ["strides", "dilation"])
@pytest.mark.parametrize("op", WINDOWED)
def test_steps_beyond_reason(op, name, value):
    refuses(lambda a: WINDOWED[op](a, **{name: value}), (OverflowError, ValueError), tag=op)


@pytest.mark.parametrize("groups", [0, -1, 3, 2**31, BIG, -BIG], ids=str)
def test_groups(groups):
    refuses(lambda a: WINDOWED["conv2d"](a, groups=groups), (ValueError, OverflowError), "groups", tag="conv2d")


@pytest.mark.parametrize("groups", [1.0, "1", None, True], ids=repr)
def test_groups_are_integers(groups):
    refuses(lambda a: WINDOWED["conv2d"](a, groups=groups), TypeError, "groups", tag="conv2d")


@pytest.mark.parametrize("value", [0, -2, (2, 0)], ids=str)
def test_windows_of_layers_are_positive(value):
    for name, make in LAYERS.items():
        refuses(lambda a, make=make: make(value), ValueError, value, tag=name)
        refuses(lambda a, make=make: make(strides=value), ValueError, "strides", value, tag=name)


def test_kernel_without_cells():
    refuses(lambda a: ops.conv2d(a(1, 5, 5, 1), a(0, 3, 1, 2)), ValueError, "0 rows", tag="conv2d")


# ---- nothing, and too much ----


def test_no_rows_give_no_rows(device):
    a = Arrays()
    assert ops.matmul(a(0, 3), a(3, 2)).shape == (0, 2)
    assert ops.dense(a(0, 3), a(3, 2), a(2), "relu").shape == (0, 2)
    assert ops.conv2d(a(0, 5, 5, 2), a(3, 3, 2, 4)).shape == (0, 3, 3, 4)
    assert ops.max_pool2d(a(0, 4, 4, 2), 2).shape == (0, 2, 2, 2)
    assert ops.softmax(a(0, 3)).shape == (0, 3)
    assert ops.sum(a(0, 3), axis=1).shape == (0,)
    assert ops.take_rows(a(4, 3), np.zeros(0, int)).shape == (0, 3)
    assert ops.exp(a(0)).shape == (0,)
    for layer in (layers.Dense(2), layers.Flatten(), layers.Dropout(0.5)):
        assert len(layer(a(0, 3))) == 0


def test_no_inner_size_gives_zeros(device):
    a = Arrays()
    np.testing.assert_array_equal(ops.matmul(a(2, 0), a(0, 3)), np.zeros((2, 3)))
    bias = a(3)
    np.testing.assert_array_equal(ops.dense(a(2, 0), a(0, 3), bias), np.broadcast_to(bias, (2, 3)))
    np.testing.assert_array_equal(ops.conv2d(a(1, 4, 4, 0), a(3, 3, 0, 2)), np.zeros((1, 2, 2, 2)))
    np.testing.assert_array_equal(ops.sum(a(2, 0), axis=1), np.zeros(2))
    np.testing.assert_array_equal(ops.prod(a(2, 0), axis=1), np.ones(2))
    assert np.isnan(ops.mean(a(2, 0), axis=1).numpy()).all()


@pytest.mark.parametrize("op", ["max", "min", "argmax", "argmin"])
def test_nothing_to_choose_from(op):
    refuses(lambda a: getattr(ops, op)(a(2, 0), axis=1), ValueError, "(2, 0)", tag=op)
    refuses(lambda a: getattr(ops, op)(a(0)), ValueError, tag=op)
    assert getattr(ops, op)(Arrays()(0, 3), axis=1).shape == (0,)


TOO_MUCH = (MemoryError, OverflowError, ValueError)


@pytest.mark.parametrize("size", [2**50, BIG, 2**63, 2**70], ids=str)
def test_more_than_there_is(size):
    for name, call in {
        "zeros": lambda a: ops.zeros((size,)),
        "full": lambda a: ops.full((3, size), 1.0),
        "overflow": lambda a: ops.zeros((2**33, 2**33, size)),
        "uniform": lambda a: ops.random.uniform((size,)),
        "normal": lambda a: ops.random.normal((size, 2)),
        "permutation": lambda a: ops.permutation(size),
        "pad": lambda a: ops.pad(a(3), size),
        "pad both": lambda a: ops.pad(a(3), (size, size)),
        "one_hot": lambda a: ops.one_hot([0], size),
        "broadcast": lambda a: ops.exp(ops.broadcast_to(a(1, 1), (size, 2**20))),
        "concat": lambda a: ops.concat([ops.broadcast_to(a(1), (size,))] * 9),
        "dense": lambda a: layers.Dense(size)(a(2, 3)),
        "conv": lambda a: layers.Conv2D(size, 3)(a(1, 5, 5, 1)),
    }.items():
        before = _cpu.memory()
        refuses(call, TOO_MUCH)
        assert before.keys() == _cpu.memory().keys(), name


@rows(
    ("zeros: negative", lambda a: ops.zeros((2, -1)), ValueError, "-1"),
    ("random_uniform: negative", lambda a: ops.random.uniform((2, -1)), ValueError, "-1"),
    ("permutation: negative", lambda a: ops.permutation(-1), ValueError, "-1"),
    ("permutation: no integer", lambda a: ops.permutation(2.5), TypeError, "2.5"),
    ("one_hot: negative", lambda a: ops.one_hot([0], -1), ValueError, "-1"),
    ("empty: many dimensions", lambda a: ops.zeros((1,) * 9), ValueError, "9"),
)
def test_sizes(row):
    _, call, errors, *words = row
    refuses(call, errors, *words)


def test_too_many_dimensions():
    refuses(lambda a: ops.exp(a(*(1,) * 9)), ValueError, "9 dimensions", tag="exp")


# ---- labels and indices ----

LABELS = {
    "negative": (np.array([0, 1, -1, 2]), 2, "-1"),
    "classes": (np.array([0, 3, 1, 2]), 1, "3"),
    "2^40": (np.array([0, 1, 2, 2**40]), 3, str(2**40)),
    "lowest": (np.array([np.iinfo(np.int64).min, 1, 1, 2]), 0, str(-(2**63))),
    "uint64": (np.array([0, 1, 2**64 - 1, 2], np.uint64), 2, ""),
    "nan": (np.array([0.0, np.nan, 1, 2]), 1, "nan"),
    "inf": (np.array([0.0, 1, np.inf, 2], np.float32), 2, "inf"),
    "fraction": (np.array([0.0, 1, 1.5, 2]), 2, "1.5"),
    "first of several": (np.array([0, 9, -7, 8]), 1, "9"),
}


@pytest.mark.parametrize("label", LABELS)
def test_labels_that_are_no_class(label):
    labels, sample, value = LABELS[label]
    refuses(lambda a: ops.softmax_xent(a(4, 3), labels), ValueError, f"sample {sample}", value, tag="softmax_xent")
    text = refuses(lambda a: losses.SparseCategoricalCrossentropy(True)(labels, a(4, 3)), ValueError)
    assert f"sample {sample}" in text and value in text


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "bool"])
def test_labels_of_any_integer_dtype(dtype, device):
    logits = np.eye(2, dtype="float32")
    expected = ops.softmax_xent(logits, np.array([0, 1])).item()
    assert ops.softmax_xent(logits, np.array([0, 1]).astype(dtype)).item() == expected
    assert ops.softmax_xent(logits, np.array([0.0, 1.0])).item() == expected


@rows(
    ("softmax_xent: length", lambda a: ops.softmax_xent(a(4, 3), [0, 1]), ValueError, "(4, 3)", "(2,)"),
    ("softmax_xent: wide rows", lambda a: ops.softmax_xent(a(4, 3), a(4, 2)), ValueError, "(4, 3)", "(4, 2)"),
    ("softmax_xent: weights", lambda a: ops.softmax_xent(a(4, 3), [0] * 4, sample_weight=a(3)), ValueError, "(3,)"),
    (
        "softmax_xent: class weights",
        lambda a: ops.softmax_xent(a(4, 3), [0] * 4, class_weight=a(4)),
        ValueError,
        "(4,)",
    ),
    ("softmax_xent: reduction", lambda a: ops.softmax_xent(a(4, 3), [0] * 4, reduction="avg"), ValueError, "avg"),
    ("softmax_xent: smoothing", lambda a: ops.softmax_xent(a(4, 3), [0] * 4, label_smoothing=2.0), ValueError, "2"),
    (
        "softmax_xent: negative row",
        lambda a: ops.softmax_xent(a(2, 3), np.array([[1, 0, 0], [0, -1, 2]], "float32")),
        ValueError,
        "sample 1",
    ),
    (
        "softmax_xent: NaN row",
        lambda a: ops.softmax_xent(a(2, 3), np.array([[1, 0, 0], [0, np.nan, 0]], "float32")),
        ValueError,
        "sample 1",
    ),
    (
        "sparse_categorical_crossentropy: one-hot",
        lambda a: losses.SparseCategoricalCrossentropy()(np.eye(3), a(3, 3)),
        ValueError,
        "(3, 3)",
        "categorical_crossentropy",
        "argmax",
    ),
    (
        "categorical_crossentropy: class numbers",
        lambda a: losses.CategoricalCrossentropy()(np.arange(3), a(3, 3)),
        ValueError,
        "(3,)",
        "(3, 3)",
        "to_categorical",
    ),
    (
        "mean_squared_error: (N,) and (N, 2)",
        lambda a: losses.mean_squared_error(a(4), a(4, 2)),
        ValueError,
        "(4,)",
        "(4, 2)",
    ),
    (
        "mean_squared_error: (N, 1) and (1, N)",
        lambda a: losses.mean_squared_error(a(4, 1), a(1, 4)),
        ValueError,
        "reshape((1, 4))",
    ),
    ("mean_squared_error: a number", lambda a: losses.mean_squared_error(a(), a(4, 2)), ValueError, "()", "(4, 2)"),
    ("binary_crossentropy: shapes", lambda a: losses.binary_crossentropy(a(4, 3), a(4, 2)), ValueError, "(4, 3)"),
)
def test_labels_of_the_wrong_shape(row):
    check_row(row)


@pytest.mark.parametrize("index", [4, -1, 2**40, np.iinfo(np.int64).min, np.iinfo(np.int64).max], ids=str)
def test_indices_out_of_range(index):
    for op, call in {
        "take_rows": lambda a: ops.take_rows(a(4, 3), [0, 1, index]),
        "one_hot": lambda a: ops.one_hot([0, 1, index], 4),
    }.items():
        refuses(call, IndexError, str(index), "2", tag=op)


@pytest.mark.parametrize("index", [4, -5, 2**40, 2**63, -(2**70)], ids=str)
def test_getitem_out_of_range(index):
    refuses(lambda a: nnfast.tensor(a(4, 3))[index], IndexError, tag="getitem")
    refuses(lambda a: nnfast.tensor(a(4, 3))[:, index], IndexError, tag="getitem")
    if abs(index) < 2**63:
        refuses(lambda a: nnfast.tensor(a(4, 3))[[0, index]], IndexError, tag="getitem")


@pytest.mark.parametrize("indices", [[0.5], np.array([0.0, 1.0]), ["0"], [None]], ids=str)
def test_indices_are_integers(indices):
    for op in ("take_rows", "one_hot"):
        refuses(
            lambda a, op=op: getattr(ops, op)(*([a(4, 3), indices] if op[0] == "t" else [indices, 4])),
            TypeError,
            tag=op,
        )
    refuses(lambda a: nnfast.tensor(a(4, 3))[np.array([0.5])], TypeError, tag="getitem")


# ---- NaN and Inf go through ----


def test_nan_and_inf_propagate(dtype, device):
    nan, inf = np.array([np.nan, 1, -1], dtype), np.array([np.inf, -np.inf, 0], dtype)
    for op in ("relu", "exp", "tanh", "sigmoid", "abs", "neg", "square", "softplus", "silu", "gelu", "elu", "selu"):
        got = getattr(ops, op)(nan).numpy()
        assert np.isnan(got[0]) and np.isfinite(got[1:]).all(), op
    assert ops.relu(inf).tolist() == [np.inf, 0, 0]
    assert ops.exp(inf).tolist() == [np.inf, 0, 1]
    assert ops.sigmoid(inf).tolist() == [1, 0, 0.5]
    assert ops.tanh(inf).tolist() == [1, -1, 0]
    for op in ("add", "mul", "maximum", "minimum", "sub"):
        assert np.isnan(getattr(ops, op)(nan, np.ones(3, dtype)).numpy()[0]), op
        assert np.isnan(getattr(ops, op)(np.ones(3, dtype), nan).numpy()[0]), op
    for op in ("sum", "mean", "max", "min", "prod", "var"):
        assert np.isnan(getattr(ops, op)(nan).item()), op
    assert ops.argmax(np.array([3, np.nan, 9], dtype)).item() == 1
    assert np.isnan(ops.clip(nan, 0, 1).numpy()[0])
    a = np.ones((3, 4), dtype)
    a[1, 2] = np.nan
    got = ops.matmul(a, np.ones((4, 5), dtype)).numpy()
    assert np.isnan(got[1]).all() and (got[[0, 2]] == 4).all()
    zero_times_nan = ops.matmul(a, np.zeros((4, 5), dtype)).numpy()
    assert np.isnan(zero_times_nan[1]).all() and (zero_times_nan[0] == 0).all()


def test_nan_wins_a_pool_and_reaches_a_convolution(dtype, device):
    x = np.ones((1, 4, 4, 1), dtype)
    x[0, 1, 0] = np.nan
    pooled = ops.max_pool2d(x, 2).numpy()[0, :, :, 0]
    assert np.isnan(pooled[0, 0]) and (pooled[[0, 1, 1], [1, 0, 1]] == 1).all()
    got = ops.conv2d(x, np.ones((2, 2, 1, 1), dtype)).numpy()[0, :, :, 0]
    assert np.isnan(got[:2, 0]).all() and np.isfinite(got[2]).all() and np.isfinite(got[:, 1:]).all()


def test_large_logits_have_a_finite_loss(dtype, device):
    logits = np.array([[1e4, -1e4, 0], [-1e4, 1e4, 1e4]], dtype)
    assert ops.softmax_xent(logits, [0, 1]).item() == pytest.approx(np.log(2) / 2, rel=1e-6)
    assert ops.softmax_xent(logits, [1, 1]).item() == pytest.approx((2e4 + np.log(2)) / 2, rel=1e-6)
    np.testing.assert_allclose(ops.softmax(logits).numpy(), [[1, 0, 0], [0, 0.5, 0.5]], atol=1e-7)


# ---- the one rank fix of losses ----


@pytest.mark.parametrize("loss", [losses.mean_squared_error, losses.mean_absolute_error, losses.binary_crossentropy])
def test_one_rank_is_mended_and_no_other(loss, device):
    true, predicted = np.array([0.0, 1, 1]), np.array([[0.2], [0.7], [0.9]])
    expected = loss(true[:, None], predicted).numpy()
    assert expected.shape == (3,)
    np.testing.assert_array_equal(loss(true, predicted), expected)
    for wrong in (true[None, :], true[:, None, None, None], np.stack([true, true], 1), true[:2]):
        with pytest.raises(ValueError, match=r"does not broadcast.*Received"):
            loss(wrong, predicted)


# ---- many failing calls ----


def resident_bytes():
    with open("/proc/self/statm") as f:
        return int(f.read().split()[1]) * 4096


def test_thousands_of_failing_calls_take_no_memory():
    x, y = np.ones((64, 64), "float32"), np.ones((63, 64), "float32")
    images, filters = np.ones((1, 8, 8, 2), "float32"), np.ones((3, 3, 3, 2), "float32")
    labels = np.full(64, 99)
    failing = [
        lambda: ops.add(x, y),
        lambda: ops.matmul(x, y),
        lambda: ops.exp(x.astype(complex)),
        lambda: ops.conv2d(images, filters),
        lambda: ops.max_pool2d(images, 9),
        lambda: ops.take_rows(x, labels),
        lambda: ops.softmax_xent(x, labels),
        lambda: ops.sum(x, axis=7),
        lambda: ops.zeros((2**40, 2**40)),
        lambda: nnfast.Variable(x).assign(y),
    ]

    def fail(times):
        for _ in range(times):
            for f in failing:
                with pytest.raises((ValueError, TypeError, IndexError, MemoryError, OverflowError)):
                    f()

    fail(50)
    gc.collect()
    before, held = resident_bytes(), _cpu.memory()
    fail(400)
    gc.collect()
    assert resident_bytes() - before < 4 * 2**20
    assert _cpu.memory()["used"] <= held["used"] + 4096


# ---- the classroom ----


def dense_model(units=10, loss="categorical_crossentropy", **compile_options):
    model = Sequential([nnfast.Input(shape=(784,)), layers.Dense(16, "relu"), layers.Dense(units, "softmax")])
    model.compile("sgd", loss, **compile_options)
    return model


IMAGES = np.zeros((8, 28, 28), "float32")
PIXELS = IMAGES.reshape(8, 784)
CLASSES = np.arange(8) % 10
ONE_HOT = np.eye(10, dtype="float32")[CLASSES]


def deep_pools():
    blocks = [layer for _ in range(4) for layer in (layers.Conv2D(4, 3, activation="relu"), layers.MaxPooling2D())]
    return Sequential([nnfast.Input(shape=(28, 28, 1)), *blocks])


def exploding():
    model = Sequential([nnfast.Input(shape=(4,)), layers.Dense(8, name="first"), layers.Dense(1)])
    model.compile(nnfast.optimizers.SGD(1e30), "mse")
    model.fit(np.ones((64, 4), "float32"), np.ones((64, 1)), batch_size=4, epochs=3, verbose=0)


def uncompiled():
    return Sequential([nnfast.Input(shape=(784,)), layers.Dense(10)])


def read_twice():
    w = nnfast.Variable(2.0)
    with nnfast.GradientTape() as tape:
        y = w * w
    tape.gradient(y, w)
    tape.gradient(y, w)


CLASSROOM = {
    "fit before compile": (lambda: uncompiled().fit(PIXELS, ONE_HOT, verbose=0), ["compile("]),
    "evaluate before compile": (lambda: uncompiled().evaluate(PIXELS, ONE_HOT, verbose=0), ["compile("]),
    "class numbers with categorical_crossentropy": (
        lambda: dense_model().fit(PIXELS, CLASSES, verbose=0),
        ["to_categorical", "sparse_categorical_crossentropy"],
    ),
    "one-hot with sparse_categorical_crossentropy": (
        lambda: dense_model(loss="sparse_categorical_crossentropy").fit(PIXELS, ONE_HOT, verbose=0),
        ["argmax", "categorical_crossentropy"],
    ),
    "images for a dense model": (
        lambda: dense_model().fit(IMAGES, ONE_HOT, verbose=0),
        ["(..., 784)", "28, 28", "reshape"],
    ),
    "one sample without its batch": (lambda: dense_model().predict(PIXELS[0], verbose=0), ["reshape(1, -1)"]),
    "too few units": (
        lambda: dense_model(5, "sparse_categorical_crossentropy").fit(PIXELS, CLASSES, shuffle=False, verbose=0),
        ["sample 5", "is 5", "below 5"],
    ),
    "classes that count from 1": (
        lambda: dense_model(8, "sparse_categorical_crossentropy").fit(
            PIXELS, np.arange(1, 9), shuffle=False, verbose=0
        ),
        ["sample 7", "is 8", "from 0", "below 8"],
    ),
    "targets of another width": (lambda: dense_model(9).fit(PIXELS, ONE_HOT, verbose=0), ["(8, 10)", "(8, 9)"]),
    "x and y of different lengths": (
        lambda: dense_model().fit(PIXELS, ONE_HOT[:5], verbose=0),
        ["(8, 784)", "(5, 10)", "one row per sample"],
    ),
    "images without channels": (
        lambda: Sequential([layers.Conv2D(4, 3)])(IMAGES),
        ["Conv2D", "28, 28)", "reshape(-1, 28, 28, 1)"],
    ),
    "channels first for channels last": (
        lambda: Sequential([nnfast.Input(shape=(28, 28, 3)), layers.Conv2D(4, 3)])(np.zeros((2, 3, 28, 28), "float32")),
        ["conv2d", "(2, 3, 28, 28)", "data_format"],
    ),
    "one pool too many": (deep_pools, ["max_pooling2d", "larger than its input", "Before it comes"]),
    "a class instead of a layer": (lambda: Sequential([layers.Dense]), ["Dense(...)"]),
    "layers not in a list": (lambda: Sequential(layers.Dense(3)), ["Sequential([...])"]),
    "two layers of one name": (
        lambda: Sequential([layers.Dense(3, name="a"), layers.Dense(3, name="a")]),
        ["name=a", "unique", "another name="],
    ),
    "a loss misspelt": (lambda: dense_model(loss="categorical_crossentrpy"), ["categorical_crossentropy"]),
    "an optimizer misspelt": (lambda: uncompiled().compile("adma", "mse"), ["'adma'", "'adam'"]),
    "an activation misspelt": (lambda: layers.Dense(3, "rleu"), ["rleu", "relu"]),
    "a metric misspelt": (lambda: dense_model(metrics=["accurracy"]), ["accurracy", "accuracy"]),
    "an initializer misspelt": (lambda: layers.Dense(3, kernel_initializer="he"), ["HeNormal"]),
    "an argument misspelt": (lambda: layers.Dense(3, activaton="relu"), ["activaton"]),
    "units that are no number": (lambda: layers.Dense("10"), ["units", "'10'"]),
    "dropout in percent": (lambda: layers.Dropout(40), ["from 0 to 1", "40"]),
    "a padding of Keras 1": (lambda: layers.Conv2D(4, 3, padding="full"), ["padding", "full", "same"]),
    "words as targets": (
        lambda: dense_model().fit(PIXELS, np.array(["cat", "dog"] * 4), verbose=0),
        ["expects numbers", "<U3"],
    ),
    "rows of different lengths": (lambda: nnfast.tensor([[1, 2], [3]]), ["one length"]),
    "a list of images": (
        lambda: dense_model().fit([IMAGES[0], IMAGES[1]], ONE_HOT[:2], verbose=0),
        ["numpy.stack"],
    ),
    "NaN in the data": (
        lambda: dense_model().fit(np.full((8, 784), np.nan, "float32"), ONE_HOT, verbose=0),
        ["the input holds NaN", "batch 0", "epoch 1"],
    ),
    "a learning rate that explodes": (exploding, ["batch", "Lower the learning rate"]),
    "weights of another shape": (
        lambda: dense_model().set_weights([np.zeros((784, 15)), np.zeros(16), np.zeros((16, 10)), np.zeros(10)]),
        ["(784, 16)", "(784, 15)"],
    ),
    "too few weights": (lambda: dense_model().set_weights([np.zeros((784, 16))]), ["4", "1"]),
    "a product in the wrong order": (
        lambda: nnfast.tensor(np.ones((784, 16))) @ np.ones((8, 784)),
        ["(784, 16)", "(8, 784)"],
    ),
    "a gradient of many numbers": (lambda: (nnfast.Variable([1.0, 2.0]) * 2).backward(), ["scalar", "mean()"]),
    "a gradient of a constant": (lambda: nnfast.tensor([1.0]).backward(), ["no trainable Variable"]),
    "a tape read twice": (read_twice, ["persistent=True"]),
    "an if about many numbers": (lambda: bool(nnfast.tensor([1, 2])), ["one element", "(2,)"]),
    "writing to a tensor": (lambda: nnfast.tensor([1, 2]).__setitem__(0, 5), ["Variable.assign"]),
    "batch_size of zero": (lambda: dense_model().fit(PIXELS, ONE_HOT, batch_size=0, verbose=0), ["batch_size", "0"]),
    "no samples": (lambda: dense_model().fit(PIXELS[:0], ONE_HOT[:0], verbose=0), ["at least one sample", "(0, 784)"]),
    "validation_split of 80": (
        lambda: dense_model().fit(PIXELS, ONE_HOT, validation_split=80, verbose=0),
        ["between 0 and 1", "80"],
    ),
    "a dtype that layers lack": (lambda: layers.Dense(3, dtype="float16"), ["float32", "float16"]),
    "an input shape with the batch": (
        lambda: Sequential([nnfast.Input(shape=(None, 784)), layers.Dense(3), layers.Flatten(), layers.Dense(2)]),
        ["last dimension"],
    ),
    "an unknown device": (lambda: nnfast.set_device("gpu"), ["'gpu'", "'cpu'"]),
}


@pytest.mark.parametrize("mistake", CLASSROOM)
def test_classroom_mistakes(mistake):
    """Each message names the place and says what to do; the model, where there is one, can still be used."""
    call, words = CLASSROOM[mistake]
    refuses(lambda a: call(), (ValueError, TypeError, RuntimeError), *words)


def test_a_bad_label_leaves_the_model_as_it_was():
    model = dense_model(loss="sparse_categorical_crossentropy")
    before = model.get_weights()
    with pytest.raises(ValueError, match=r"\[fit\].*sample 3"):
        model.fit(PIXELS, np.array([0, 1, 2, 77, 4, 5, 6, 7]), batch_size=8, shuffle=False, verbose=0)
    for a, b in zip(before, model.get_weights()):
        np.testing.assert_array_equal(a, b)
    assert np.isfinite(model.fit(PIXELS, CLASSES, verbose=0).history["loss"]).all()


MASKED = np.ma.array([[1.0, 2.0]], mask=[[False, True]])


@pytest.mark.parametrize(
    "f",
    [
        nnfast.Tensor,
        nnfast.Variable,
        lambda x: ops.add(x, 1.0),
        lambda x: ops.add(np.ones((1, 2)), x),
        lambda x: ops.matmul(x, np.ones((2, 1))),
        lambda x: ops.where(x > 1, 1.0, 0.0),
        lambda x: ops.sum(x),
        lambda x: nnfast.tensor(np.ones((1, 2))) + x,
        lambda x: ops.maximum(x.astype(int), 1),
    ],
)
def test_a_mask_is_not_ignored(f):
    with pytest.raises(TypeError, match=r"\[\w+\].*mask would be ignored.*x\.filled\(0\)"):
        f(MASKED)
    f(np.ma.array(MASKED.filled(0)))  # nothing is masked: an ordinary array


def test_byte_orders_meet(device):
    big, native = np.arange(3, dtype=">f4"), np.ones(3, np.float32)
    assert ops.add(big, native).tolist() == ops.add(native, big).tolist() == [1, 2, 3]
    with pytest.raises(TypeError, match="float32 and float64"):
        ops.add(big, np.ones(3))
    for made in (nnfast.Tensor(big), nnfast.Tensor([1.0], ">f4"), nnfast.Variable([1.0], dtype=">f4")):
        assert made.dtype == np.float32 and made.dtype.isnative


def test_dtypes_that_tensors_do_not_have():
    for dtype in ("complex64", "float16", "U3", object):
        with pytest.raises(TypeError, match=r"\[Tensor\] dtype must be .*Received: dtype="):
            nnfast.Tensor([1.0], dtype)


@pytest.mark.parametrize(
    "f",
    [
        lambda m: m.fit(np.ones((4, 2)), np.ones((4, 1)), batch_size=True),
        lambda m: m.fit(np.ones((4, 2)), np.ones((4, 1)), epochs=True),
        lambda m: m.fit(np.ones((4, 2)), np.ones((4, 1)), initial_epoch=False),
        lambda m: m.fit(np.ones((4, 2)), np.ones((4, 1)), steps_per_epoch=True),
        lambda m: m.fit(np.ones((4, 2)), np.ones((4, 1)), validation_freq=True),
        lambda m: m.fit(np.ones((4, 2)), np.ones((4, 1)), validation_freq=[True]),
        lambda m: m.evaluate(np.ones((4, 2)), np.ones((4, 1)), steps=True),
        lambda m: m.predict(np.ones((4, 2)), batch_size=True),
        lambda m: layers.Dense(True),
        lambda m: layers.Conv2D(True, 3),
        lambda m: layers.Conv2D(3, True),
        lambda m: layers.MaxPooling2D(True),
        lambda m: layers.Reshape((True,)),
        lambda m: layers.Dense(1, input_shape=(True,)),
        lambda m: layers.Dense(1, input_dim=True),
        lambda m: layers.Dense(1, input_shape=True),
        lambda m: layers.PReLU(shared_axes=True),
        lambda m: layers.PReLU(shared_axes=[True]),
        lambda m: layers.Softmax(axis=True)(np.ones((2, 2), np.float32)),
        lambda m: ops.sum(np.ones((2, 2)), axis=True),
    ],
)
def test_bools_are_no_integers(f):
    model = models.Sequential([layers.Dense(1, input_shape=(2,))])
    model.compile("sgd", "mse")
    with pytest.raises((TypeError, ValueError), match=r"True|False"):
        f(model)


# ---- arguments of the wrong kind ----


@rows(
    ("sign: bools", lambda a: ops.sign(np.array([True])), TypeError, "bool (1,)"),
    ("gemm: alpha", lambda a: ops.gemm(a(2, 2), a(2, 2), alpha="a"), TypeError, "alpha='a'"),
    ("gemm: beta", lambda a: ops.gemm(a(2, 2), a(2, 2), beta=[1], c=a(2, 2)), TypeError, "beta=[1]"),
    ("gemm: slope", lambda a: ops.gemm(a(2, 2), a(2, 2), slope="a"), TypeError, "slope='a'"),
    ("dense: slope", lambda a: ops.dense(a(2, 2), a(2, 2), slope="a"), TypeError, "slope='a'"),
    ("dense: a list", lambda a: ops.dense(a(2, 2), a(2, 2), activation=["relu"]), ValueError, "['relu']"),
    ("gemm: a list", lambda a: ops.gemm(a(2, 2), a(2, 2), activation=["relu"]), ValueError, "['relu']"),
    ("conv2d: a list", lambda a: ops.conv2d(a(1, 3, 3, 1), a(3, 3, 1, 1), activation=["a"]), ValueError, "['a']"),
    (
        "simple_rnn: a list",
        lambda a: ops.simple_rnn(a(1, 2, 3), a(3, 4), a(4, 4), activation=["tanh"]),
        ValueError,
        "['tanh']",
    ),
    ("reshape: floats", lambda a: ops.reshape(a(4), np.array([2.0, 2.0])), TypeError, "2.0"),
    ("full: bools", lambda a: ops.zeros(np.array([True])), TypeError, "True"),
    ("expand_dims: floats", lambda a: ops.expand_dims(a(4), np.array([0.5])), TypeError, "axis=0.5"),
    ("swapaxes: an array", lambda a: ops.swapaxes(a(2, 2), np.array([0, 1]), 0), TypeError, "array([0, 1])"),
    ("concat: an array", lambda a: ops.concat([a(2, 2)], axis=np.array([0, 1])), TypeError, "array([0, 1])"),
    ("transpose: a number", lambda a: ops.transpose(a(2, 2), 1), ValueError, "axes=1"),
    ("permutation: an array", lambda a: ops.permutation(np.array([3])), TypeError, "n=array([3])"),
    ("set_num_threads: float", lambda a: nnfast.set_num_threads(1.5), TypeError, "n=1.5"),
    ("set_num_threads: bool", lambda a: nnfast.set_num_threads(True), TypeError, "n=True"),
    ("set_num_threads: none", lambda a: nnfast.set_num_threads(-(2**40)), ValueError, "n=-1099511627776"),
    ("set_device: list", lambda a: nnfast.set_device(["cpu"]), ValueError, "['cpu']"),
    ("set_epsilon: text", lambda a: nnfast.config.set_epsilon("a"), TypeError, "'a'"),
    ("set_epsilon: bool", lambda a: nnfast.config.set_epsilon(True), TypeError, "True"),
    ("set_epsilon: infinite", lambda a: nnfast.config.set_epsilon(np.inf), ValueError, "inf"),
    ("mnist.load_data: number", lambda a: nnfast.datasets.mnist.load_data(3), TypeError, "path=3"),
    ("EarlyStopping: bool", lambda a: nnfast.callbacks.EarlyStopping(patience=True), TypeError, "patience=True"),
    ("ReduceLROnPlateau: text", lambda a: nnfast.callbacks.ReduceLROnPlateau(patience="2"), TypeError, "patience='2'"),
    ("to_categorical: bool", lambda a: nnfast.utils.to_categorical([0], True), TypeError, "num_classes=True"),
    ("to_categorical: float", lambda a: nnfast.utils.to_categorical([0], 2.5), TypeError, "num_classes=2.5"),
    ("softmax_xent: no labels", lambda a: ops.softmax_xent(a(2, 2), None), TypeError, "labels=None"),
    ("softmax_xent: no logits", lambda a: ops.softmax_xent(None, [0]), TypeError, "None"),
    ("sigmoid_xent: no targets", lambda a: ops.sigmoid_xent(a(2, 2), None), TypeError, "None"),
    (
        "take_rows: index",
        lambda a: ops.take_rows(a(2, 3), [0, 4]),
        IndexError,
        "4",
        "2 rows",
        "Received: x.shape=(2, 3)",
    ),
    ("one_hot: index", lambda a: ops.one_hot([0, 4], 3), IndexError, "4", "Received: classes=3"),
)
def test_arguments_of_the_wrong_kind(row):
    check_row(row)


def test_arrays_and_tensors_of_integers_are_shapes_and_axes():
    x = np.arange(4.0)
    for several in (np.array, nnfast.tensor):
        assert ops.reshape(x, several([2, 2])).shape == (2, 2)
        assert ops.zeros(several([2, 3])).shape == (2, 3)
        assert ops.expand_dims(x, several([0, 2])).shape == (1, 4, 1)
        assert ops.squeeze(x[None], several([0])).shape == (4,)
        assert ops.transpose(x[None], several([1, 0])).shape == (4, 1)
        assert ops.slice(x, several([1]), several([2])).tolist() == [1.0, 2.0]


def test_more_threads_than_the_limit():
    nnfast.set_num_threads(2**40)
    assert nnfast.get_num_threads() == 1024
