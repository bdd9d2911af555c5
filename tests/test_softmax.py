"""Softmax and cross-entropies: kernels against the reference in float64, bad labels, gradients, course numbers."""

import itertools

import numpy as np
import pytest
from compare import assert_close, gradcheck
from layouts import LAYOUTS

import nnfast
from nnfast import _cpu, ops, reference

# around one vector, two vectors, one piece of a long row, one strip of columns
SHAPES = [(1,), (10,), (33,), (3, 16), (5, 17), (2, 1100), (70, 3), (3, 4, 5), (2, 90, 7), (2, 3, 300)]


def wide(a):
    return a.astype(np.float64) if isinstance(a, np.ndarray) and a.dtype == np.float32 else a


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_softmax_agrees_with_the_reference(name, shape, isa, dtype, rng):
    a = rng.normal(0, 3, shape).astype(dtype)
    dy = rng.standard_normal(shape).astype(dtype)
    for axis, make in itertools.product(range(-1, len(shape)), LAYOUTS):
        x = make(a)
        y = getattr(_cpu, name)(x, axis)
        want = getattr(reference, name)(wide(a), axis)
        assert_close(y, want.astype(dtype))
        gradient = getattr(reference, name + "_gradient")(wide(dy), want, axis).astype(dtype)
        size = max(1.0, np.abs(gradient).max())
        assert_close(getattr(_cpu, name + "_gradient")(make(dy), make(y), axis) / size, gradient / size)


def test_softmax_of_extremes(isa, dtype):
    inf, nan = np.inf, np.nan
    x = np.array([[1e4, 1e4, -1e4], [-inf, 0, 0], [nan, 0, 0], [0, 1e30, 0]], dtype)
    want = np.array([[0.5, 0.5, 0], [0, 0.5, 0.5], [nan] * 3, [0, 1, 0]], dtype)
    np.testing.assert_array_equal(_cpu.softmax(x, -1), want)
    np.testing.assert_array_equal(_cpu.softmax(np.ascontiguousarray(x.T), 0).T, want)
    long = np.tile(x, (1, 20))
    np.testing.assert_allclose(_cpu.softmax(long), np.tile(want / 20, (1, 20)), rtol=1e-6)
    assert _cpu.log_softmax(x)[0, 2] == -20000 - np.log(dtype.type(2))
    assert np.isnan(_cpu.log_softmax(x)[2]).all()


def test_softmax_of_nothing(device, dtype):
    for shape, axis in [((0, 3), -1), ((3, 0), -1), ((3, 0), 0), ((2, 0, 3), 2)]:
        for f in (ops.softmax, ops.log_softmax):
            assert f(np.zeros(shape, dtype), axis).shape == shape


def case(rng, n, c, soft, dtype, weights):
    logits = rng.normal(0, 3, (n, c)).astype(dtype)
    logits[::3] = np.round(logits[::3])  # with equals
    if soft:
        labels = rng.dirichlet(np.ones(c), n).astype(dtype)
        labels[::4] = np.eye(c, dtype=dtype)[rng.integers(0, c, len(labels[::4]))]
    else:
        labels = rng.integers(0, c, n)
    options = {}
    if weights:
        options["sample_weight"] = rng.uniform(0, 2, n).astype(dtype)
        options["class_weight"] = rng.uniform(0.5, 2, c).astype(dtype)
    return logits, labels, options


def expected_xent(logits, labels, options):
    return reference.softmax_xent(wide(logits), wide(labels), **{k: wide(v) for k, v in options.items()})


@pytest.mark.parametrize("size", [(0, 5), (1, 1), (5, 3), (50, 10), (65, 16), (70, 17), (9, 33), (3, 1100)], ids=str)
@pytest.mark.parametrize("soft", [False, True])
def test_xent_agrees_with_the_reference(size, soft, isa, dtype, rng):
    logits, labels, weights = case(rng, *size, soft, dtype, True)
    kinds = itertools.product(["mean", "sum", "none"], [{}, weights], [0.0, 0.2], [None] if soft else [None, 0])
    for i, (reduction, w, smoothing, ignore) in enumerate(kinds):
        options = {**w, "label_smoothing": smoothing, "reduction": reduction, "ignore_class": ignore}
        make = LAYOUTS[i % len(LAYOUTS)]
        placed = {k: make(v) if isinstance(v, np.ndarray) else v for k, v in options.items()}
        loss, dlogits, correct = _cpu.softmax_xent(make(logits), make(labels), **placed)
        want_loss, want_gradient, want_correct = expected_xent(logits, labels, options)
        assert_close(loss, want_loss.astype(dtype), scale=3 if reduction == "sum" else 1)
        assert_close(dlogits, want_gradient.astype(dtype))
        assert correct.shape == () and correct == want_correct


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint8", "int16", "int32", "uint32", "uint64", "float32", "float64"])
def test_class_numbers_of_every_dtype(dtype, device, rng):
    logits, labels, _ = case(rng, 20, 2, False, np.float32, False)
    got = [a.numpy() for a in ops.softmax_xent_with_correct(logits, labels.astype(dtype))]
    want = expected_xent(logits, labels, {})
    assert_close(got[0], want[0].astype(np.float32))
    assert got[1] == want[2]


@pytest.mark.parametrize("n", [3, 40])
def test_correct_takes_the_first_of_equals_and_the_first_nan(n, isa, dtype):
    logits = np.zeros((4, n), dtype)
    logits[2, [1, 2]] = np.nan
    logits[3, [1, 2]] = np.inf
    for labels, want in [([0, 0, 1, 1], 4), ([0, 1, 2, 2], 1), ([n - 1] * 4, 0)]:
        assert _cpu.softmax_xent(logits, np.array(labels))[2] == want


@pytest.mark.parametrize(
    "bad",
    [-1, 5, 2**40, -(2**63), 2**63 - 1, np.uint64(2**64 - 1), np.nan, 1.5, np.inf, -np.inf, 1e30, -0.5],
    ids=str,
)
@pytest.mark.parametrize("threads", [1, 2])
def test_the_first_bad_label_is_named(bad, threads, isa):
    _cpu.set_num_threads(threads)
    n, c = 5000, 5
    labels = np.zeros(n, np.asarray(bad).dtype)
    labels[[1234, 1235, 4999]] = bad, labels.dtype.type(7), bad
    logits = np.zeros((n, c), np.float32)
    shown = f"{float(bad):.15g}" if isinstance(bad, float) or bad == 2**64 - 1 else str(bad)
    pattern = rf"\[softmax_xent\] the label of sample 1234 is none of the 5 classes: .*0 to 4.*Received: {shown}$"
    with pytest.raises(ValueError, match=pattern.replace("+", r"\+")):
        _cpu.softmax_xent(logits, labels)
    status = np.zeros(5, np.int64)
    status[4] = 17
    _, gradient, _ = _cpu.softmax_xent(logits, labels, status=status)
    value = np.float64(bad).view(np.int64) if isinstance(bad, float) or bad == 2**64 - 1 else bad
    code = ops.BAD_LABEL_FLOAT if isinstance(bad, float) or bad == 2**64 - 1 else ops.BAD_LABEL
    assert status.tolist() == [code, 17, 1234, value, 17]
    assert np.isfinite(gradient).all()
    _cpu.softmax_xent(logits, labels[::-1].copy(), status=status)
    assert status[2] == 1234  # what was found first stays


@pytest.mark.parametrize("bad", [np.nan, -0.25, np.inf])
def test_the_first_bad_row_is_named(bad, isa, dtype):
    n, c = 3000, 7
    labels = np.full((n, c), 1 / c, dtype)
    labels[2999, 0] = labels[1001, 5] = bad
    for threads in (1, 2):
        _cpu.set_num_threads(threads)
        with pytest.raises(ValueError, match=f"label row of sample 1001 holds {bad:.15g}"):
            _cpu.softmax_xent(np.zeros((n, c), dtype), labels)
        status = np.zeros(5, np.int64)
        _cpu.softmax_xent(np.zeros((n, c), dtype), labels, status=status)
        assert status[:4].tolist() == [ops.BAD_LABEL_ROW, 0, 1001, np.float64(bad).view(np.int64)]


def test_ignored_rows_may_hold_anything_and_leave_the_mean(device, dtype):
    logits = np.array([[1, 2], [np.nan, np.inf], [3, 1]], dtype)
    loss, correct = ops.softmax_xent_with_correct(logits, [1, -100, 1], ignore_class=-100)
    assert correct.item() == 1
    np.testing.assert_allclose(loss.item(), (np.log1p(np.exp(-1)) + np.log1p(np.exp(2))) / 2, rtol=1e-6)
    assert ops.softmax_xent(logits, [-100] * 3, ignore_class=-100).item() == 0
    labels = np.array([1, np.nan, 1], dtype)
    with pytest.raises(ValueError, match="sample 1"):
        ops.softmax_xent(logits, labels, ignore_class=-100).item()


def test_logits_are_not_clipped(isa, dtype):
    rows = np.array([[1e4, 0, 0], [0, 1e4, 0], [0, -np.inf, 5]], dtype)
    loss, gradient, _ = _cpu.softmax_xent(rows, np.array([1, 1, 2]), reduction="none")
    np.testing.assert_allclose(loss, [1e4, 0, np.log1p(np.exp(-5))], rtol=1e-6)
    np.testing.assert_allclose(gradient[0], [1, -1, 0])
    soft = np.eye(3, dtype=dtype)[[1, 1, 2]]
    np.testing.assert_array_equal(_cpu.softmax_xent(rows, soft, reduction="none")[0], loss)


@pytest.mark.parametrize("soft", [False, True])
def test_xent_does_not_depend_on_the_threads(soft, isa, rng):
    logits, labels, options = case(rng, 3000, 37, soft, np.float32, True)
    results = []
    for threads in (1, 2, 5):
        _cpu.set_num_threads(threads)
        results.append([a.tobytes() for a in _cpu.softmax_xent(logits, labels, **options)])
    assert results[0] == results[1] == results[2]
    want = expected_xent(logits, labels, options)
    assert_close(np.frombuffer(results[0][0], np.float32)[0], want[0].astype(np.float32))


@pytest.mark.parametrize("axis", [-1, 0, 1])
def test_softmax_gradients(axis, device, rng):
    x = rng.standard_normal((3, 4, 5))
    gradcheck(lambda v: ops.softmax(v, axis), x)
    gradcheck(lambda v: ops.log_softmax(v, axis), x)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("soft", [False, True])
def test_xent_gradients(reduction, soft, device, rng):
    logits, labels, options = case(rng, 6, 4, soft, np.float64, True)
    gradcheck(lambda v: ops.softmax_xent(v, labels, reduction=reduction), logits)
    gradcheck(lambda v: ops.softmax_xent(v, labels, reduction=reduction, label_smoothing=0.1, **options), logits)
    labels = labels.reshape(2, 3, *labels.shape[1:])
    gradcheck(lambda v: ops.softmax_xent(v, labels, reduction=reduction), logits.reshape(2, 3, 4))
    assert ops.softmax_xent(logits[0], labels[0, 0], reduction=reduction).shape == ()


def test_sigmoid_xent(device, isa, dtype, rng):
    for shape, make in itertools.product([(5,), (3, 17), (40, 3)], LAYOUTS):
        x, t = np.asarray(rng.normal(0, 9, shape)).astype(dtype), np.asarray(rng.random(shape)).astype(dtype)
        want = wide(x), wide(t)
        loss = ops.sigmoid_xent(make(x), make(t))
        assert_close(loss.numpy(), np.asarray(reference.sigmoid_xent(*want)[0]).astype(dtype))
    x = np.array([1e4, -1e4, 40, -40, 0], dtype)
    loss = ops.sigmoid_xent(x, np.array([1, 0, 1, 0, 1], dtype)).numpy()
    np.testing.assert_allclose(loss, [0, 0, np.exp(-40.0), np.exp(-40.0), np.log(2)], rtol=1e-6)
    gradcheck(ops.sigmoid_xent, rng.standard_normal((3, 4)), rng.random((3, 4)))
    with pytest.raises(ValueError, match=r"\[sigmoid_xent\] targets must have the shape"):
        ops.sigmoid_xent(np.zeros((3, 1)), np.zeros(3))


def test_the_tapes_own_one_costs_no_pass():
    logits = nnfast.Variable(np.arange(6.0).reshape(2, 3), dtype="float64")
    loss = ops.softmax_xent(logits, [0, 1])
    saved = loss.node.saved[0]
    loss.backward(persistent=True)
    assert np.shares_memory(logits.grad.data, saved)
    with nnfast.GradientTape() as tape:
        loss = ops.softmax_xent(logits, [0, 1])
    doubled = tape.gradient(loss, logits, output_gradients=2.0)
    np.testing.assert_array_equal(doubled.numpy(), 2 * saved)
    with nnfast.GradientTape() as tape:
        loss = 2 * ops.softmax_xent(logits, [0, 1])
    np.testing.assert_array_equal(tape.gradient(loss, logits).numpy(), 2 * saved)


def test_softmax_and_sigmoid_remember_their_logits():
    x = nnfast.tensor([[1.0, 2.0]])
    assert ops.softmax(x).logits is x and ops.softmax(x, 1).logits is x and ops.sigmoid(x).logits is x
    assert ops.softmax([[1.0, 2.0]]).logits.tolist() == [[1, 2]]
    assert not hasattr(ops.softmax(x, 0), "logits") and not hasattr(ops.relu(x), "logits")
    assert not hasattr(ops.softmax(x) * 1, "logits")


def test_use_status_keeps_ops_from_raising(device):
    status = ops.new_status()
    with ops.use_status(status):
        ops.softmax_xent(np.zeros((3, 2), np.float32), [0, 1, 2])
    assert status[:4].tolist() == [ops.BAD_LABEL, 0, 2, 2]


def test_wrong_arguments(device):
    logits = np.zeros((4, 3), np.float32)
    for labels, message in [
        (np.zeros((4, 1), int), r"Class numbers need no last axis: labels.reshape\(4,\)"),
        (np.zeros(3, int), r"labels must be class numbers, \(4,\), or rows of probabilities, \(4, 3\)"),
        (np.zeros((3, 4)), r"labels must be class numbers"),
    ]:
        with pytest.raises(ValueError, match=message):
            ops.softmax_xent(logits, labels)
    with pytest.raises(TypeError, match="float32 and float64"):
        ops.softmax_xent(logits, np.zeros((4, 3)))
    assert ops.softmax_xent(logits, np.eye(3, dtype=int)[[0, 1, 2, 0]]).item() == pytest.approx(np.log(3))
    good = np.zeros(4, int)
    for options in [
        {"sample_weight": np.ones(3, np.float32)},
        {"class_weight": np.ones(4, np.float32)},
    ]:
        with pytest.raises(ValueError, match=next(iter(options))):
            ops.softmax_xent(logits, good, **options)
    with pytest.raises(ValueError, match="ignore_class"):
        ops.softmax_xent(logits, logits, ignore_class=0)
    with pytest.raises(ValueError, match="classes"):
        ops.softmax_xent(np.zeros((4, 0), np.float32), good)
    with pytest.raises(ValueError, match="classes"):
        ops.softmax_xent(1.0, 0)
    with pytest.raises(NotImplementedError, match="detach"):
        ops.softmax_xent(logits, nnfast.Variable(logits))
    for axis in (2, -3, 2**63 - 1):
        with pytest.raises(IndexError, match=r"\[softmax\] axis is out of range"):
            ops.softmax(logits, axis)


def test_the_binding_checks_for_itself():
    logits, labels = np.zeros((4, 3), np.float32), np.zeros(4, int)
    for options in [{"label_smoothing": 1.5}, {"label_smoothing": float("nan")}, {"reduction": "max"}]:
        with pytest.raises(ValueError, match=next(iter(options))):
            _cpu.softmax_xent(logits, labels, **options)
    for bad in (np.zeros((4, 1), int), np.zeros(3, int), np.zeros((4, 4), np.float32)):
        with pytest.raises(ValueError, match="labels"):
            _cpu.softmax_xent(logits, bad)
    for options in ({"sample_weight": np.ones(3, np.float32)}, {"class_weight": np.ones((3, 1), np.float32)}):
        with pytest.raises(ValueError, match=next(iter(options))):
            _cpu.softmax_xent(logits, labels, **options)
    for call in (
        lambda: _cpu.softmax_xent(logits, logits.astype(float)),
        lambda: _cpu.softmax_xent(logits, labels, sample_weight=np.ones(4)),
        lambda: _cpu.softmax_xent(labels, labels),
        lambda: _cpu.softmax(labels),
        lambda: _cpu.softmax_gradient(logits.astype(float), logits),
        lambda: _cpu.sigmoid_xent(logits, logits.astype(float)),
    ):
        with pytest.raises(TypeError):
            call()
    with pytest.raises(ValueError, match="shape"):
        _cpu.softmax_gradient(logits[:3], logits)
    with pytest.raises(ValueError, match="no classes"):
        _cpu.softmax_xent(np.zeros((4, 0), np.float32), labels)
    with pytest.raises(IndexError):
        _cpu.softmax(logits, 2)
    with pytest.raises(ValueError, match="status"):
        _cpu.softmax_xent(logits, labels, status=np.zeros(4, np.int64))


# ---- the numbers printed in the course, 004-1 to 004-7 ----

Z, Y = np.array([[2.0, 25, 13], [54, 3, 11]]), np.array([2, 1])


def test_course_cross_entropy_of_probabilities(device):
    f = np.array([[0.2, 0.5, 0.3], [0.2, 0.6, 0.2]])
    one_hot = ops.one_hot(Y, 3, dtype="float64")
    each = -ops.sum(one_hot * ops.log(f), axis=1)
    assert ops.mean(each).item() == pytest.approx(0.8573992140459634, rel=1e-15)
    assert ops.sum(each).item() == pytest.approx(2 * 0.8573992140459634, rel=1e-15)


def test_course_softmax_cross_entropy(device):
    assert ops.softmax_xent(Z, Y).item() == pytest.approx(31.500003072148047, rel=1e-15)
    assert ops.softmax_xent(Z, np.eye(3)[Y]).item() == pytest.approx(31.500003072148047, rel=1e-15)
    z = nnfast.Variable(Z)
    ops.softmax_xent(z, Y).backward()
    want = [[5.13093e-11, 0.49999693, -0.49999693], [0.5, -0.5, 1.05756e-19]]
    np.testing.assert_allclose(z.grad.numpy(), want, rtol=2e-5)
    gradcheck(lambda v: ops.softmax_xent(v, Y), Z)


def test_course_softmax_regression_with_penalty(device):
    x, reg = np.array([[2.0, 3], [4, 5]]), 0.2
    w = nnfast.Variable([[0.1, 0.2, 0.3], [0.4, 0.2, 0.8]], dtype="float64")
    loss = ops.softmax_xent(x @ w, Y) + reg * ops.sum(w * w)
    loss.backward()
    assert loss.item() == pytest.approx(2.0863049636282662, rel=1e-14)
    want = [[0.3021, -1.7578, 1.6957], [0.5254, -2.1919, 2.2265]]
    np.testing.assert_allclose(w.grad.numpy(), want, atol=5e-5)


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("n, c", [(0, 3), (5, 1), (70, 10), (9, 33)])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_xent_without_gradient_has_the_same_bits(n, c, soft, smoothing, isa, dtype, rng):
    logits = rng.normal(size=(n, c)).astype(dtype)
    labels = rng.dirichlet(np.ones(c), n).astype(dtype) if soft else rng.integers(0, c, n)
    options = {"label_smoothing": smoothing, **({} if soft else {"ignore_class": 0})}
    loss, gradient, correct = _cpu.softmax_xent(logits, labels, **options)
    alone, nothing, again = _cpu.softmax_xent(logits, labels, gradient=False, **options)
    assert (
        gradient is not None and nothing is None and reference.softmax_xent(logits, labels, gradient=False)[1] is None
    )
    assert alone.tobytes() == loss.tobytes() and again == correct


def test_evaluation_computes_no_gradient_of_the_loss(monkeypatch):
    asked = []
    kernel = _cpu.softmax_xent
    monkeypatch.setattr(_cpu, "softmax_xent", lambda *a, **o: asked.append(o["gradient"]) or kernel(*a, **o))
    v = nnfast.Variable(np.zeros((2, 3), np.float32))
    ops.softmax_xent(v, [0, 1])
    ops.softmax_xent(v.detach(), [0, 1])
    with nnfast.no_grad():
        ops.softmax_xent(v, [0, 1])
    assert asked == [True, False, False]
