"""Random shapes, strides, values and arguments: a call is right, or a clean Python error. Never a crash, never rubbish.

The same examples every time (derandomized). More of them: pytest -m full.
"""

import re

import numpy as np
import pytest
from compare import assert_close
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import nnfast
from nnfast import ops, reference

QUIET = {"deadline": None, "derandomize": True, "suppress_health_check": list(HealthCheck), "database": None}
CLEAN = (ValueError, TypeError, IndexError, OverflowError, MemoryError, NotImplementedError)

sizes = st.integers(0, 9) | st.sampled_from([15, 16, 17, 31, 33])
dtypes = st.sampled_from([np.float32, np.float64])
seeds = st.integers(0, 2**32 - 1)


def fuzz(everyday, full, **strategies):
    """Two tests from one: some examples every day, many with -m full."""

    def make(f):
        few = settings(max_examples=everyday, **QUIET)(given(**strategies)(f))
        many = settings(max_examples=full, **QUIET)(given(**strategies)(f))

        @pytest.mark.parametrize(
            "run", [pytest.param(few, id="everyday"), pytest.param(many, id="full", marks=pytest.mark.full)]
        )
        def test(run):
            run()

        return test

    return make


def laid_out(rng, shape, dtype, low=-2.0, high=2.0):
    """Values in memory of random strides: permuted, stepped, reversed, repeated, off by a byte."""
    order = rng.permutation(len(shape))
    steps = rng.choice([1, 1, 2, 3], len(shape))
    big = rng.uniform(low, high, [shape[i] * steps[i] for i in order]).astype(dtype)
    view = big.transpose(np.argsort(order))[tuple(slice(None, None, s) for s in steps)]
    view = view[tuple(slice(None, None, -1 if rng.random() < 0.3 else 1) for _ in shape)]
    if shape and rng.random() < 0.2:
        view = np.broadcast_to(view[:1], shape) if shape[0] else view
    if rng.random() < 0.15:
        raw = np.zeros(view.nbytes + 1, np.uint8)
        moved = raw[1:].view(dtype).reshape(view.shape)
        moved[...] = view
        view = moved
    assert view.shape == tuple(shape)
    return view


def both(call, scale=1.0, refusal="$^"):
    """The call on the kernels against the twin in float64. It may only be refused with a message that has `refusal`."""
    try:
        got = call(lambda a: a).numpy()
    except CLEAN as e:
        assert re.search(refusal, str(e)), e
        return
    nnfast.set_device("reference")
    try:
        with np.errstate(all="ignore"):
            want = call(lambda a: a.astype(np.float64) if a.dtype == np.float32 else a).numpy()
    except ValueError:  # NumPy's maximum of (0, 0) along one axis
        assert got.size == 0
        return
    finally:
        nnfast.set_device("cpu")
    if want.dtype.kind == "f":
        want = want.astype(got.dtype)
        top = max(1.0, float(np.abs(want[np.isfinite(want)]).max(initial=0)))
        assert_close(got / got.dtype.type(top), want / want.dtype.type(top), scale=scale)
    else:
        np.testing.assert_array_equal(got, want)


@fuzz(150, 3000, shape=st.lists(sizes, min_size=0, max_size=4), data=st.data(), dtype=dtypes, seed=seeds)
def test_elementwise(shape, data, dtype, seed):
    rng = np.random.default_rng(seed)
    name = data.draw(st.sampled_from([*reference.BINARY, *reference.COMPARISONS]))
    shapes = []
    for _ in range(2):
        kept = [n if data.draw(st.booleans()) else 1 for n in shape]
        shapes.append(kept[data.draw(st.integers(0, len(kept))) :])
    low = 0.3 if name in ("pow", "div") else -2
    a, b = (laid_out(rng, s, dtype, low) for s in shapes)
    if name in reference.COMPARISONS:
        a, b = np.round(a), np.round(b)
    both(lambda f: getattr(ops, name)(f(a), f(b)), scale=2)


@fuzz(100, 2000, shape=st.lists(sizes, min_size=0, max_size=4), data=st.data(), dtype=dtypes, seed=seeds)
def test_reductions(shape, data, dtype, seed):
    x = laid_out(np.random.default_rng(seed), shape, dtype, 0.7, 1.3)
    name = data.draw(st.sampled_from(["sum", "mean", "max", "min", "prod", "var", "logsumexp"]))
    axes = data.draw(st.none() | st.lists(st.integers(-len(shape), max(len(shape) - 1, 0)), max_size=3).map(tuple))
    both(lambda f: getattr(ops, name)(f(x), axis=axes, keepdims=bool(seed % 2)), scale=8, refusal="axis|nothing|choose")


@fuzz(100, 2000, m=sizes, n=sizes, k=sizes, batch=st.lists(st.integers(1, 3), max_size=2), dtype=dtypes, seed=seeds)
def test_matmul(m, n, k, batch, dtype, seed):
    rng = np.random.default_rng(seed)
    a, b = laid_out(rng, (*batch, m, k), dtype), laid_out(rng, (*batch[len(batch) // 2 :], k, n), dtype)
    both(lambda f: ops.matmul(f(a), f(b)), scale=4)


@fuzz(80, 2000, data=st.data(), dtype=dtypes, seed=seeds)
def test_conv2d(data, dtype, seed):
    rng = np.random.default_rng(seed)
    small = st.integers(1, 3)
    n, h, w = data.draw(st.integers(0, 2)), data.draw(st.integers(1, 12)), data.draw(st.integers(1, 12))
    r, s, groups = data.draw(small), data.draw(small), data.draw(small)
    cg, fg = data.draw(st.integers(1, 6)), data.draw(st.integers(1, 9))
    options = {
        "strides": (data.draw(small), data.draw(small)),
        "dilation": (data.draw(small), data.draw(small)),
        "groups": groups,
        "padding": data.draw(st.sampled_from(["valid", "same", 1, ((0, 2), (1, 0))])),
        "data_format": data.draw(st.sampled_from(["channels_last", "channels_first"])),
    }
    c = cg * groups
    x = laid_out(rng, (n, c, h, w) if options["data_format"] == "channels_first" else (n, h, w, c), dtype)
    filters, bias = laid_out(rng, (r, s, cg, fg * groups), dtype), laid_out(rng, (fg * groups,), dtype)
    both(lambda f: ops.conv2d(f(x), f(filters), f(bias), activation="relu", **options), scale=4, refusal="larger than")


@fuzz(80, 2000, data=st.data(), dtype=dtypes, seed=seeds)
def test_pooling(data, dtype, seed):
    small = st.integers(1, 3)
    n, h, w, c = data.draw(st.integers(0, 2)), *(data.draw(st.integers(1, 12)) for _ in range(2)), data.draw(sizes)
    options = {
        "pool_size": (data.draw(small), data.draw(small)),
        "strides": (data.draw(small), data.draw(small)),
        "dilation": (data.draw(small), data.draw(small)),
        "padding": data.draw(st.sampled_from(["valid", "same", 1, ((0, 1), (1, 0))])),
        "ceil_mode": data.draw(st.booleans()),
    }
    x = laid_out(np.random.default_rng(seed), (n, h, w, c), dtype)
    op = ops.max_pool2d if seed % 2 else ops.avg_pool2d
    both(lambda f: op(f(x), **options), refusal="larger than|lies in the padding")


@fuzz(80, 2000, rows=sizes, classes=st.integers(1, 20), data=st.data(), dtype=dtypes, seed=seeds)
def test_softmax_xent(rows, classes, data, dtype, seed):
    rng = np.random.default_rng(seed)
    logits = laid_out(rng, (rows, classes), dtype, -30, 30)
    spread = data.draw(st.sampled_from([classes, classes, classes, classes + 1]))  # sometimes one too many
    labels = rng.integers(0, spread, rows).astype(data.draw(st.sampled_from(["int8", "int32", "uint16", "float32"])))
    options = {
        "label_smoothing": data.draw(st.sampled_from([0.0, 0.1])),
        "reduction": data.draw(st.sampled_from(["mean", "sum", "none"])),
        "ignore_class": data.draw(st.sampled_from([None, 0, classes])),
    }
    weights = None if data.draw(st.booleans()) else laid_out(rng, (rows,), dtype, 0, 1)
    weighted = lambda f: {} if weights is None else {"sample_weight": f(weights)}  # noqa: E731
    both(lambda f: ops.softmax_xent(f(logits), labels, **options, **weighted(f)), scale=8, refusal="sample")
    both(lambda f: ops.softmax(f(logits)), scale=4)


# ---- absurd arguments ----

NUMBERS = [0, 1, 2, 3, -1, -2, 7, 2**31 - 1, 2**31, 2**32, 2**62, 2**63 - 1, 2**63, 2**64, -(2**31), -(2**63), 10**30]
OTHERS = [
    1.5,
    float("nan"),
    float("inf"),
    -0.0,
    True,
    None,
    "same",
    "",
    b"x",
    {},
    np.int8(3),
    np.float32(2),
    np.ones(2),
]
SEVERAL = [(), (1,), (1, 2), [2, 2], (1, 2, 3), (-1, 2), (2**62, 2**62), ((1, 1), (2, 2)), ((2**62, 0), (0, 0))]
EVERY = [*NUMBERS, *OTHERS, *SEVERAL]
absurd = st.sampled_from(EVERY)
IMAGES = np.ones((2, 6, 6, 4), np.float32)
FILTERS = np.ones((3, 3, 4, 2), np.float32)
X = np.ones((4, 3), np.float32)
ABSURD = {
    "conv2d strides": lambda v: ops.conv2d(IMAGES, FILTERS, strides=v),
    "conv2d padding": lambda v: ops.conv2d(IMAGES, FILTERS, padding=v),
    "conv2d dilation": lambda v: ops.conv2d(IMAGES, FILTERS, dilation=v),
    "conv2d groups": lambda v: ops.conv2d(IMAGES, FILTERS, groups=v),
    "conv2d format": lambda v: ops.conv2d(IMAGES, FILTERS, data_format=v),
    "conv2d activation": lambda v: ops.conv2d(IMAGES, FILTERS, activation=v),
    "conv2d bias": lambda v: ops.conv2d(IMAGES, FILTERS, v),
    "max_pool2d size": lambda v: ops.max_pool2d(IMAGES, v),
    "max_pool2d strides": lambda v: ops.max_pool2d(IMAGES, 2, strides=v),
    "avg_pool2d padding": lambda v: ops.avg_pool2d(IMAGES, 2, padding=v),
    "avg_pool2d dilation": lambda v: ops.avg_pool2d(IMAGES, 2, dilation=v),
    "sum axis": lambda v: ops.sum(X, axis=v),
    "argmax axis": lambda v: ops.argmax(X, axis=v),
    "softmax axis": lambda v: ops.softmax(X, axis=v),
    "concat axis": lambda v: ops.concat([X, X], v),
    "stack axis": lambda v: ops.stack([X, X], v),
    "squeeze axis": lambda v: ops.squeeze(X, v),
    "expand_dims axis": lambda v: ops.expand_dims(X, v),
    "transpose axes": lambda v: ops.transpose(X, v),
    "swapaxes": lambda v: ops.swapaxes(X, v, 0),
    "moveaxis": lambda v: ops.moveaxis(X, 0, v),
    "reshape": lambda v: ops.reshape(X, v),
    "broadcast_to": lambda v: ops.broadcast_to(X, v),
    "pad widths": lambda v: ops.pad(X, v),
    "take_rows": lambda v: ops.take_rows(X, v),
    "one_hot indices": lambda v: ops.one_hot(v, 5),
    "getitem": lambda v: nnfast.tensor(X)[v],
    "getitem second": lambda v: nnfast.tensor(X)[:, v],
    "dropout rate": lambda v: ops.dropout(X, v),
    "dropout noise": lambda v: ops.dropout(X, 0.5, noise_shape=v),
    "labels": lambda v: ops.softmax_xent(X, v),
    "sample_weight": lambda v: ops.softmax_xent(X, [0, 1, 2, 0], sample_weight=v),
    "class_weight": lambda v: ops.softmax_xent(X, [0, 1, 2, 0], class_weight=v),
    "ignore_class": lambda v: ops.softmax_xent(X, [0, 1, 2, 0], ignore_class=v),
    "label_smoothing": lambda v: ops.softmax_xent(X, [0, 1, 2, 0], label_smoothing=v),
    "clip": lambda v: ops.clip(X, v, v),
    "add": lambda v: ops.add(X, v),
    "matmul": lambda v: ops.matmul(X, v),
    "where": lambda v: ops.where(v, X, X),
    "cast": lambda v: ops.cast(X, v),
    "tensor": lambda v: nnfast.tensor(v),
    "exp": lambda v: ops.exp(v),
    "Dense": lambda v: nnfast.layers.Dense(v),
    "Conv2D filters": lambda v: nnfast.layers.Conv2D(v, 3),
    "Conv2D kernel": lambda v: nnfast.layers.Conv2D(2, v),
    "Reshape": lambda v: nnfast.layers.Reshape(v)(X),
    "Input": lambda v: nnfast.Input(shape=v),
}
SIZED = {  # where a large number is a request for memory
    "zeros": lambda v: ops.zeros(v),
    "uniform": lambda v: ops.random.uniform(v),
    "normal": lambda v: ops.random.normal(v),
    "permutation": lambda v: ops.permutation(v),
    "one_hot classes": lambda v: ops.one_hot([0], v),
}
MODERATE = {2**31 - 1, 2**31, 2**32}  # there may be so much memory: no error then, but a long wait


def clean_or_right(call, value):
    try:
        y = call(value)
    except CLEAN as e:
        text = str(e)
        assert text and "incompatible function arguments" not in text, f"{value!r}: {text}"
        return
    except Exception as e:
        raise AssertionError(f"{value!r}: {type(e).__name__}: {e}") from e
    if isinstance(y, nnfast.Tensor):
        assert y.size < 2**20
        assert y.dtype.kind in "biuf"


@pytest.mark.parametrize("op", ABSURD)
def test_absurd_arguments(op):
    for value in EVERY:
        clean_or_right(ABSURD[op], value)
        assert (X == 1).all() and (IMAGES == 1).all() and (FILTERS == 1).all(), value


@pytest.mark.parametrize("op", SIZED)
def test_absurd_sizes(op):
    for value in EVERY:
        if type(value) is not int or value not in MODERATE:
            clean_or_right(SIZED[op], value)


@fuzz(60, 1000, a=absurd, b=absurd, c=absurd)
def test_absurd_together(a, b, c):
    for call in (
        lambda: ops.conv2d(IMAGES, FILTERS, strides=a, padding=b, dilation=c),
        lambda: ops.max_pool2d(IMAGES, a, strides=b, padding=c),
        lambda: ops.avg_pool2d(IMAGES, 2, strides=a, padding=b, dilation=c, ceil_mode=True),
    ):
        clean_or_right(lambda _, call=call: call(), None)
