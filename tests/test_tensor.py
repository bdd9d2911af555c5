"""Tensor and Variable: operators, indices, protocols, errors; and the laws of the tape."""

import copy
import gc
import operator
import pickle
import resource
import sys
import threading

import numpy as np
import pytest
from compare import gradcheck

import nnfast
from nnfast import GradientTape, Tensor, Variable, ops, tensor


@pytest.fixture
def a(rng):
    return rng.normal(size=(3, 4)).astype(np.float32)


# ---- operators ----

ARITHMETIC = [operator.add, operator.sub, operator.mul, operator.truediv]
COMPARISONS = [operator.eq, operator.ne, operator.lt, operator.le, operator.gt, operator.ge]


@pytest.mark.parametrize("op", ARITHMETIC + COMPARISONS)
def test_operators_with_everything(op, a, device):
    b = a[::-1].copy()
    for left, right in [
        (tensor(a), tensor(b)),
        (tensor(a), b),
        (a, tensor(b)),
        (tensor(a), Variable(b)),
        (tensor(a), b.tolist()),
        (a.tolist(), tensor(b)),
    ]:
        y = op(left, right)
        assert type(y) is Tensor
        assert y.dtype == (np.bool_ if op in COMPARISONS else np.float32)
        np.testing.assert_allclose(y.numpy(), op(a, b), rtol=1e-6)
    for scalar in (2, 2.0, np.float32(2), np.float64(2), np.int64(2)):
        np.testing.assert_allclose(op(tensor(a), scalar).numpy(), op(a, np.float32(2)), rtol=1e-6)
        np.testing.assert_allclose(op(scalar, tensor(a)).numpy(), op(np.float32(2), a), rtol=1e-6)
        assert op(scalar, tensor(a)).dtype == y.dtype


def test_power_and_matmul(a, device):
    positive = np.abs(a) + 0.1
    np.testing.assert_allclose((tensor(positive) ** 1.5).numpy(), positive**1.5, rtol=1e-5)
    np.testing.assert_allclose((1.5 ** tensor(a)).numpy(), 1.5**a, rtol=1e-5)
    np.testing.assert_allclose((tensor(a) @ a.T).numpy(), a @ a.T, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose((a @ tensor(a).T).numpy(), a @ a.T, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal((-tensor(a)).numpy(), -a)
    np.testing.assert_array_equal(abs(tensor(a)).numpy(), np.abs(a))


def test_masks_combine(a):
    x = tensor(a)
    np.testing.assert_array_equal(((x > 0) & (x < 1)).numpy(), (a > 0) & (a < 1))
    np.testing.assert_array_equal(((a > 1) | (x < 0)).numpy(), (a > 1) | (a < 0))
    np.testing.assert_array_equal(((x > 0) ^ True).numpy(), ~(a > 0))
    np.testing.assert_array_equal((~(x > 0)).numpy(), ~(a > 0))
    with pytest.raises(TypeError, match=r"\[&\] only bool tensors"):
        x & (x > 0)
    with pytest.raises(TypeError, match=r"\[~\] only a bool tensor"):
        operator.invert(x)


def test_strangers_are_left_to_python(a):
    x = tensor(a)
    assert (x == None) is False and (x != None) is True and (x == "a") is False  # noqa: E711
    assert x in [None, x] and {x: 1}[x] == 1 and hash(x) == id(x)
    for other in (None, "a", object()):
        for op in [*ARITHMETIC, operator.pow, operator.matmul, operator.lt]:
            with pytest.raises(TypeError):
                op(x, other)
            with pytest.raises(TypeError):
                op(other, x)

    class Friend:
        def __radd__(self, other):
            return "friend"

    assert x + Friend() == "friend"


def test_in_place_spelling_makes_a_new_tensor(a):
    x = y = tensor(a.copy())
    x += 1
    assert x is not y and np.array_equal(y.numpy(), a)
    with pytest.raises(TypeError, match=r"\[setitem\]"):
        y[0] = 1


# ---- indices ----

KEYS = [
    0,
    -1,
    (1, 2),
    (1, -1, 0),
    slice(None),
    slice(1, 3),
    slice(None, None, -1),
    slice(None, None, 2),
    slice(5, 1),
    (slice(None), 1),
    (..., 0),
    (0, ...),
    (None, 1),
    (slice(None), None, slice(1, 3)),
    (..., None),
    (1, slice(None), slice(None, None, -2)),
    (),
    [0, 2],
    [-1, 0, 0],
    np.array([[0, 1], [2, 2]]),
    np.array([1, 2], np.uint8),
    np.int32(1),
    ([0, 2], [1, 3]),
    ([0, 2], 1),
    (1, [1, 3]),
    ([2, 0], slice(1, 3)),
    (np.array([0, 1]), ..., 0),
    [True, False, True],
    np.arange(12).reshape(3, 4) % 3 == 0,
    [],
]


@pytest.mark.parametrize("key", KEYS, ids=[str(i) for i in range(len(KEYS))])
def test_index_and_its_gradient(key, device, rng):
    a = rng.normal(size=(3, 4, 2))
    want = a[np.asarray(key, int) if isinstance(key, list) and not key else key]
    got = tensor(a)[key]
    assert got.shape == want.shape
    np.testing.assert_array_equal(got.numpy(), want)
    if want.size:
        gradcheck(lambda x: ops.square((x if isinstance(x, Tensor) else tensor(x))[key]), a)


def test_index_by_tensors(a):
    x = tensor(a)
    np.testing.assert_array_equal(x[tensor(1)].numpy(), a[1])
    np.testing.assert_array_equal(x[tensor([2, 0])].numpy(), a[[2, 0]])
    np.testing.assert_array_equal(x[x > 0].numpy(), a[a > 0])
    np.testing.assert_array_equal(x[tensor(1) : tensor(3)].numpy(), a[1:3])
    assert [row.shape for row in x] == [(4,)] * 3 and len(x) == 3
    assert np.shares_memory(x[1:].data, a)


def test_bad_indices(a):
    x = tensor(a)
    for key, error, message in [
        (3, IndexError, "out of bounds"),
        ([0, 3], IndexError, "index 3 is out of range"),
        ([0, -4], IndexError, "index -4 is out of range"),
        ((0, 0, 0), IndexError, "too many"),
        (([0], [0], [0]), IndexError, "too many"),
        ((slice(None), [0]), IndexError, "first axes"),
        ([True, False], IndexError, "mask"),
        (1.0, TypeError, "Received: float"),
        ("a", TypeError, "Received: str"),
        ([0.5], TypeError, "Received: an array of float32"),
    ]:
        with pytest.raises(error, match=rf"\[getitem\].*{message}"):
            x[key]


# ---- shape ----


def test_shape_methods(a, device):
    x = tensor(a)
    for got, want in [
        (x.reshape(4, 3), a.reshape(4, 3)),
        (x.reshape((2, -1)), a.reshape(2, -1)),
        (x.reshape(-1), a.reshape(-1)),
        (x.T.reshape(2, 6), a.T.reshape(2, 6)),
        (x.transpose(), a.T),
        (x.transpose(1, 0), a.T),
        (x.transpose((0, 1)), a),
        (x.T, a.T),
        (x.flatten(), a.ravel()),
        (x.swapaxes(0, -1), a.T),
        (x[None].squeeze(), a),
        (x[None].squeeze(0), a),
        (ops.expand_dims(x, (0, -1)), a[None, :, :, None]),
        (ops.moveaxis(x, 0, 1), a.T),
        (ops.broadcast_to(x[0], (2, 3, 4)), np.broadcast_to(a[0], (2, 3, 4))),
        (tensor(np.zeros((0, 3))).reshape(3, 0), np.zeros((3, 0))),
        (tensor(np.zeros((0, 3))).flatten(), np.zeros(0)),
        (x.astype("float64"), a.astype("float64")),
        (x.clip(-1, 1), a.clip(-1, 1)),
        (x.square(), a * a),
        (x.relu(), np.maximum(a, 0)),
    ]:
        assert got.shape == want.shape and got.dtype == want.dtype
        np.testing.assert_array_equal(got.numpy(), want)
    for name in ("sum", "mean", "max", "min"):
        np.testing.assert_allclose(getattr(x, name)(axis=0).numpy(), getattr(a, name)(axis=0), rtol=1e-5, atol=1e-6)
    assert x.argmax(axis=1).tolist() == a.argmax(axis=1).tolist()


def test_gradients_of_views(device, rng):
    x = rng.normal(size=(2, 3, 1))
    gradcheck(lambda v: ops.square(ops.reshape(v, (3, 2))), x)
    gradcheck(lambda v: ops.square(ops.reshape(ops.transpose(v), (-1,))), x)
    gradcheck(lambda v: ops.square(ops.transpose(v, (2, 0, 1))), x)
    gradcheck(lambda v: ops.square(ops.moveaxis(v, 0, 2)), x)
    gradcheck(lambda v: ops.square(ops.squeeze(v, -1)), x)
    gradcheck(lambda v: ops.square(ops.expand_dims(v, 1)), x)
    gradcheck(lambda v: ops.square(ops.broadcast_to(v, (2, 2, 3, 4))), x)


def test_views_share_memory_but_not_with_a_variable(a):
    for view in (lambda x: x[1:], lambda x: x.T, lambda x: x.reshape(-1), lambda x: ops.broadcast_to(x, (2, 3, 4))):
        assert np.shares_memory(view(tensor(a)).data, a)
        v = Variable(a)
        before = view(v)
        expected = before.numpy()
        v.assign(a + 1)
        np.testing.assert_array_equal(before.numpy(), expected)


def test_bad_shapes(a):
    x = tensor(a)
    for call in (
        lambda: x.reshape(5, -1),
        lambda: x.reshape(-1, -1),
        lambda: x.reshape(13),
        lambda: x.reshape(-2, 6),
        lambda: tensor(np.zeros((0, 3))).reshape(0, -1),
        lambda: x.transpose(0, 0),
        lambda: x.squeeze(0),
        lambda: ops.expand_dims(x, (0, 0)),
        lambda: ops.broadcast_to(x, (4,)),
        lambda: ops.broadcast_to(x, (2, 4)),
    ):
        with pytest.raises(ValueError, match="Received"):
            call()
    for call in (lambda: x.squeeze(2), lambda: x.swapaxes(0, 2**63 - 1), lambda: x.transpose(0, 5)):
        with pytest.raises(IndexError, match="axis is out of range"):
            call()


# ---- protocols ----


def test_array_protocol(a):
    x = tensor(a)
    assert np.asarray(x) is a
    assert not np.shares_memory(np.array(x), a)
    assert np.asarray(x, np.float64).dtype == np.float64
    assert not np.shares_memory(x.numpy(), a)
    with pytest.raises(ValueError, match=r"\[__array__\]"):
        x.__array__(np.float64, copy=False)
    v = Variable(a)
    assert not np.shares_memory(np.asarray(v), v.data)
    assert np.shares_memory(v.__array__(copy=False), v.data)
    assert np.mean(np.asarray(x)) == a.mean()


def test_dlpack_both_ways_without_a_copy(a):
    assert np.shares_memory(np.from_dlpack(tensor(a)), a)
    assert np.shares_memory(nnfast.from_dlpack(a).data, a)
    y = tensor(a) + 1  # memory of our allocator outlives the tensor
    exported = np.from_dlpack(y)
    expected = y.numpy()
    del y
    gc.collect()
    ops.add(a, 7.0)
    np.testing.assert_array_equal(exported, expected)


def test_dlpack_with_torch(a):
    torch = pytest.importorskip("torch")
    x = tensor(a)
    t = torch.from_dlpack(x)
    t[0, 0] = 5
    assert a[0, 0] == 5
    t = torch.arange(6, dtype=torch.float32).reshape(2, 3)
    y = nnfast.from_dlpack(t)
    t[1, 2] = -1
    assert y[1, 2].item() == -1


def test_numbers_and_text():
    x = tensor(2.5)
    assert float(x) == 2.5 and int(x) == 2 and bool(x) and x.item() == 2.5 and f"{x:.2f}" == "2.50"
    assert [10, 20][tensor(1)] == 20
    assert repr(tensor([1.0])) == "Tensor([1.], dtype=float32)"
    for call, error in [
        (lambda: bool(tensor([1, 2])), ValueError),
        (lambda: tensor([1, 2]).item(), ValueError),
        (lambda: len(x), TypeError),
        (lambda: iter(x), TypeError),
        (lambda: operator.index(x), TypeError),
    ]:
        with pytest.raises(error):
            call()


@pytest.mark.parametrize(
    "bad", [1j, "a", object(), np.array([1 + 2j]), np.array(["x"]), np.array(["2020"], "M8[D]"), np.zeros(2, "i4,f4")]
)
def test_no_tensor_of_what_is_no_number(bad):
    with pytest.raises(TypeError, match=r"\[Tensor\] expects numbers"):
        Tensor(bad)


def test_tensor_of_odd_arrays():
    with pytest.raises(ValueError, match="one length"):
        Tensor([[1, 2], [3]])
    big = np.array([1.0, 2.0], ">f4")
    assert Tensor(big).dtype.isnative and Tensor(big).tolist() == [1.0, 2.0]
    assert tensor([1.5]).dtype == np.float32 and tensor([1]).dtype == np.int64 and tensor(np.zeros(1)).dtype == float
    with pytest.raises(TypeError, match="float16"):
        Tensor(np.zeros(2, np.float16))


# ---- Variable ----


def test_variable_keeps_its_address(a):
    v = Variable(a, name="v")
    assert not np.shares_memory(v.data, a)
    address, version = v.data.ctypes.data, v.version
    v.assign(a + 1)
    v.assign_add(np.ones_like(a))
    v.assign_sub(1.0 * np.ones_like(a))
    assert v.data.ctypes.data == address and v.version == version + 3
    np.testing.assert_allclose(v.numpy(), a + 1, rtol=1e-6, atol=1e-6)
    with pytest.raises(ValueError, match=r"\[assign\] 'v' has shape \(3, 4\)"):
        v.assign(a[0])
    with pytest.raises(TypeError, match="only float Variables"):
        Variable([1, 2])
    assert not Variable([1, 2], trainable=False).trainable


# ---- the tape ----


def test_gradient_structures():
    x, y, z = Variable(2.0), Variable(3.0), Variable(4.0)
    with GradientTape(persistent=True) as tape:
        f = x * y
    assert tape.gradient(f, x).item() == 3
    assert [g if g is None else g.item() for g in tape.gradient(f, [x, z])] == [3, None]
    assert {k: g.item() for k, g in tape.gradient(f, {"a": x, "b": y}).items()} == {"a": 3, "b": 2}
    assert tape.gradient([f, f], x).item() == 6
    with pytest.raises(ValueError, match="shape of the target"):
        tape.gradient(f, x, output_gradients=np.ones(2))
    with pytest.raises(TypeError, match="sources must be"):
        tape.gradient(f, 2.0)


def test_backward_adds_to_grad():
    x = Variable([1.0, 2.0])
    (x * x).sum().backward()
    (x * 3.0).sum().backward()
    assert x.grad.tolist() == [5.0, 7.0]
    with pytest.raises(ValueError, match="must be a scalar"):
        (x * x).backward()
    with pytest.raises(RuntimeError, match="nothing to differentiate"):
        tensor([1.0]).sum().backward()


def test_second_pass_needs_persistent():
    x = Variable([1.0, 2.0])
    y = (x * x).sum()
    y.backward()
    with pytest.raises(RuntimeError, match="used up"):
        y.backward()
    y = (x * x).sum()
    y.backward(persistent=True)
    y.backward()
    assert x.grad.tolist() == [6.0, 12.0]
    with GradientTape() as tape:
        y = x * x
    tape.gradient(y, x)
    with pytest.raises(RuntimeError, match="persistent"):
        tape.gradient(y, x)


def test_changed_variable_is_an_error():
    x = Variable([1.0, 2.0], name="weights")
    for f in (lambda: x * x, lambda: x[0] * x[0], lambda: x.T * 2.0):
        with GradientTape() as tape:
            y = f()
        x.assign([5.0, 6.0])
        with pytest.raises(RuntimeError, match="'weights' was changed"):
            tape.gradient(y, x)


def test_watch_and_what_is_not_watched():
    x, v = tensor([3.0]), Variable([4.0])
    with GradientTape() as tape:
        tape.watch(x)
        y = x * v
    gx, gv = tape.gradient(y, [x, v])
    assert (gx.item(), gv.item()) == (4.0, 3.0)
    with GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(x)
        y = x * v
    gx, gv = tape.gradient(y, [x, v])
    assert gx.item() == 4.0 and gv is None
    with pytest.raises(TypeError, match="only float"):
        tape.watch(tensor([1]))
    with pytest.raises(TypeError, match="only Tensors"):
        tape.watch(np.ones(2))


def test_stop_recording_and_no_grad():
    x = Variable([3.0])
    with GradientTape() as tape:
        y = x * x
        with tape.stop_recording():
            z = y * x
        w = y + z
    assert z.node is None
    assert tape.gradient(w, x).item() == 6.0
    with nnfast.no_grad():
        assert (x * x).node is None
    assert (x * x).node is not None and (x * x).detach().node is None
    before = x * x  # outside of the tape: a constant to it
    with GradientTape() as tape:
        y = before * 2.0
    assert tape.gradient(y, x) is None


def test_second_derivative_raises():
    x = Variable(3.0)
    with GradientTape() as outer:
        with GradientTape() as inner:
            y = x * x * x
        g = inner.gradient(y, x)
    assert g.item() == 27.0
    with pytest.raises(NotImplementedError, match="second derivatives"):
        outer.gradient(g, x)


def test_gradient_of_what_is_not_connected():
    x, y = Variable(1.0), Variable(2.0)
    with GradientTape() as tape:
        z = x * 2.0
    assert tape.gradient(z, y) is None
    with GradientTape() as tape:
        z = ops.greater(x, 0.0)
    assert tape.gradient(z.astype("float32"), x) is None


def test_long_chains_do_not_recurse():
    x = Variable(1.0)
    y = x
    for _ in range(5000):
        y = y + 1.0
    y.backward()
    assert x.grad.item() == 1.0
    del y
    gc.collect()


def test_memory_stays_flat():
    """10,000 forwards that nobody differentiates."""
    x = Variable(np.ones((64, 64), np.float32))

    def forward(n):
        for _ in range(n):
            y = ops.tanh(x * 2.0 + x)[1:]
        return y

    forward(500)
    gc.collect()
    before = nnfast.device.runtime_info()["memory"], resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    gc.disable()  # nothing may need the cycle collector
    try:
        forward(10_000)
    finally:
        gc.enable()
    after = nnfast.device.runtime_info()["memory"], resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert after[1] - before[1] < 4096  # KiB
    for key, value in before[0].items():
        if "held" in key or "bytes" in key:
            assert after[0][key] <= value + (1 << 20), (key, before[0], after[0])


def test_threads_have_their_own_tape():
    x = Variable(np.arange(1000, dtype=np.float32))
    results, errors = {}, []

    def work(n):
        try:
            for _ in range(50):
                if n % 2:
                    with nnfast.no_grad():
                        assert (x * float(n)).node is None
                else:
                    with GradientTape() as tape:
                        y = x * float(n)
                    g = tape.gradient(y, x)
                    assert (g.data == n).all()
            results[n] = True
        except BaseException as e:
            errors.append(e)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not errors and len(results) == 8


def python_calls(f):
    names = []

    def note(frame, event, arg):
        if event == "call":
            names.append(frame.f_code.co_qualname if hasattr(frame.f_code, "co_qualname") else frame.f_code.co_name)

    sys.setprofile(note)
    try:
        f()
    finally:
        sys.setprofile(None)
    return names[1:]


@pytest.mark.parametrize(
    "f, most",
    [
        (lambda x, y: x + y, 10),
        (lambda x, y: x * 2.0, 10),
        (lambda x, y: ops.relu(x), 9),
        (lambda x, y: x[0], 12),
        (lambda x, y: x > y, 8),
    ],
)
def test_few_python_calls_per_op(f, most):
    x, y = Variable(np.ones((2, 2), np.float32)), tensor(np.ones((2, 2), np.float32))
    f(x, y)
    calls = python_calls(lambda: f(x, y))
    assert len(calls) <= most, calls


@pytest.mark.parametrize("target", [None, 3.0, [None]])
def test_what_cannot_be_differentiated(target):
    w = Variable([1.0])
    with nnfast.GradientTape() as tape:
        w * w
    with pytest.raises(TypeError, match=r"\[GradientTape.gradient\] target must be a Tensor.*Received: "):
        tape.gradient(target, w)


def test_one_output_gradient_per_target():
    w = Variable([1.0])
    with nnfast.GradientTape() as tape:
        y = [w * 2.0, w * 3.0]
    with pytest.raises(ValueError, match=r"\[GradientTape.gradient\] output_gradients.*1 for 2"):
        tape.gradient(y, w, output_gradients=[np.ones(1)])


def test_slice(device):
    v = Variable(np.arange(12.0, dtype=np.float32).reshape(3, 4))
    y = ops.slice(v, (1, 2), (2, 2))
    assert y.tolist() == [[6.0, 7.0], [10.0, 11.0]]
    (y * np.array([[1, 2], [3, 4]], np.float32)).sum().backward()
    want = np.zeros((3, 4), np.float32)
    want[1:, 2:] = [[1, 2], [3, 4]]
    assert v.grad.tolist() == want.tolist()
    assert ops.slice([1, 2, 3], 1, 2).tolist() == [2, 3] and ops.slice(5, (), ()).item() == 5
    assert ops.slice(v, np.array([3, 0]), (0, 4)).shape == (0, 4)


@pytest.mark.parametrize(
    "start, shape, error",
    [
        ((0,), (1, 1), ValueError),
        ((0, 0), (1, -1), ValueError),
        ((2, 0), (2, 1), IndexError),
        ((-1, 0), (1, 1), IndexError),
        ((0, 0.5), (1, 1), TypeError),
        ((0, True), (1, 1), TypeError),
        ((0, 2**63), (1, 1), IndexError),
    ],
)
def test_slices_that_do_not_fit(start, shape, error):
    with pytest.raises(error, match=r"\[slice\].*Received: "):
        ops.slice(np.zeros((3, 4)), start, shape)


def test_random_numbers_are_ops_too():
    for name in ("uniform", "normal", "truncated_normal", "permutation", "dropout"):
        assert getattr(ops, name) is getattr(ops.random, name) and name in ops.__all__


def test_gradients_go_to_what_was_differentiated_by_when_it_was_used():
    """trainable switched off and on, or watch() late, changes nothing about what was computed before."""
    g, d = Variable(np.float32(1.0)), Variable(np.float32(2.0))
    with GradientTape() as tape:
        loss = d * 3.0 * d + g * d * d
    d.trainable = False
    d.trainable = True
    assert [x.item() for x in tape.gradient(loss, [g, d])] == [4.0, 16.0]
    with GradientTape() as tape:
        loss = d * 3.0 * d + g * d * d
    d.trainable = False
    assert [x.item() for x in tape.gradient(loss, [g, d])] == [4.0, 16.0]
    w, x = Variable(np.float32(2.0)), Tensor(np.float32(3.0))
    with GradientTape() as tape:
        z = w * x * x
        tape.watch(x)
    dw, dx = tape.gradient(z, [w, x])
    assert dw.item() == 9.0 and dx is None


@pytest.mark.parametrize("alias", [Tensor, nnfast.tensor, ops.contiguous], ids=["Tensor", "tensor", "contiguous"])
def test_a_tensor_made_of_a_variable_keeps_its_values(alias):
    v, w = Variable([2.0], trainable=False), Variable([3.0])
    with GradientTape() as tape:
        kept = alias(v)
        loss = ops.sum(w * kept)
    v.assign([100.0])
    assert kept.tolist() == [2.0] and tape.gradient(loss, w).tolist() == [2.0]


def test_two_tapes_of_one_forward():
    """A generator and its discriminator, as tutorials write it: the first step comes between the two gradients."""
    g, d = Variable([2.0], name="g"), Variable([3.0], name="d")
    for _ in range(2):
        with GradientTape() as first, GradientTape() as second:
            fake = ops.tanh(g * 0.5)
            score = fake * d
            g_loss, d_loss = ops.sum(score), ops.sum(score * score)
        t, dv = np.tanh(g.item() * 0.5), d.item()
        dg = first.gradient(g_loss, g)
        g.assign_sub(dg)  # d's gradient does not pass through g
        np.testing.assert_allclose(dg.item(), dv * 0.5 * (1 - t * t), rtol=1e-5)
        np.testing.assert_allclose(second.gradient(d_loss, d).item(), 2 * t * t * dv, rtol=1e-5)
    assert score.node.saved is None  # the last tape has let go of it
    with pytest.raises(RuntimeError, match="once"):
        first.gradient(g_loss, g)


def test_an_outer_tape_goes_through_what_an_inner_one_has_used():
    x = Variable(3.0)
    with GradientTape() as outer:
        with GradientTape() as inner:
            y = x * x
        assert inner.gradient(y, x).item() == 6.0
        z = y * x
    assert outer.gradient(z, x).item() == 27.0
    with GradientTape(persistent=True) as outer:
        with GradientTape() as inner:
            y = x * x
        inner.gradient(y, x)
    assert [outer.gradient(y, x).item() for _ in range(2)] == [6.0, 6.0]


def test_a_tape_that_stays_open_keeps_no_inner_ones():
    x = Variable(3.0)
    with GradientTape() as outer:
        for _ in range(100):
            with GradientTape() as inner:
                y = x * x
            inner.gradient(y, x)
    assert len(outer._others) <= 2 and outer.gradient(y, x).item() == 6.0


def test_only_what_lies_on_the_way_is_visited():
    v, w, calls = Variable([2.0]), Variable([3.0]), []

    class Noting(type(ops.elementwise._exp)):
        def gradient(self, dy, saved, needs):
            calls.append(needs)
            return super().gradient(dy, saved, needs)

    exp = Noting("exp", from_result=True)
    with GradientTape(persistent=True) as tape:
        y = exp(v) * exp(w)
    v.assign([9.0])
    np.testing.assert_allclose(tape.gradient(y, w).item(), np.exp(5.0), rtol=1e-6)
    assert calls == [[True]]
    with pytest.raises(RuntimeError, match="was changed"):
        tape.gradient(y, [v, w])


def test_watching_a_frozen_variable_leaves_it_frozen():
    v = Variable([3.0], trainable=False)
    with GradientTape() as tape:
        tape.watch(v)
        y = v * v
    assert not v.trainable and (v * v).node is None and tape.gradient(y, v).item() == 6.0


def test_watched_probabilities():
    """A loss computes from the logits that probabilities remember: not past those that are watched."""
    x = Variable([[1.0, 2.0, 0.5]])
    for f, loss in (
        (ops.softmax, lambda p: nnfast.losses.CategoricalCrossentropy()([[1.0, 0.0, 0.0]], p)),
        (ops.sigmoid, lambda p: nnfast.losses.BinaryCrossentropy()([[1.0, 0.0, 0.0]], p)),
    ):
        with GradientTape() as tape:
            p = f(x)
            tape.watch(p)
            y = loss(p)
        dp, dx = tape.gradient(y, [p, x])
        with GradientTape() as tape:
            p = f(x)
        np.testing.assert_allclose(dx.numpy(), tape.gradient(p, x, dp).numpy(), rtol=1e-4, atol=1e-6)
        with GradientTape() as tape:
            y = loss(f(x))
        np.testing.assert_allclose(dx.numpy(), tape.gradient(y, x).numpy(), rtol=1e-4, atol=1e-6)


def test_a_call_that_raises_uses_nothing_up():
    x = Variable([2.0, 3.0])
    with GradientTape() as tape:
        y = x * x
    for wrong in (lambda: tape.gradient(y, "x"), lambda: tape.gradient(1.0, x), lambda: tape.gradient(y, x, [1.0])):
        with pytest.raises((TypeError, ValueError)):
            wrong()
    assert tape.gradient(y, x).tolist() == [4.0, 6.0]


_ones = np.ones((2, 2), np.float32)


@pytest.mark.parametrize(
    "f",
    [
        lambda v: ops.batch_norm(_ones, mean=v[0], variance=_ones[0]),
        lambda v: ops.batch_norm(_ones, mean=_ones[0], variance=v[0]),
        lambda v: ops.simple_rnn(_ones[None], _ones, _ones, drop=v[:1]),
        lambda v: ops.softmax_xent(_ones, [0, 1], sample_weight=v[0]),
        lambda v: ops.softmax_xent(_ones, [0, 1], class_weight=v[0]),
        lambda v: ops.softmax_xent(_ones, v),
    ],
)
def test_operands_without_a_gradient_say_so(f):
    v = Variable(np.full((2, 2), 0.5, np.float32))
    with pytest.raises(NotImplementedError, match="constant"), GradientTape() as tape:
        tape.gradient(ops.sum(f(v)), v)
    with nnfast.no_grad():
        f(v)


def test_output_gradients_may_change_later():
    x, weights = Variable([1.0, 2.0]), np.ones(2, np.float32)
    with GradientTape() as tape:
        y = x + 1.0
    g = tape.gradient(y, x, output_gradients=weights)
    weights[:] = 9
    assert g.tolist() == [1.0, 1.0]


@pytest.mark.parametrize(
    "f",
    [
        lambda x: x * 2.0,
        lambda x: x[:, 1:3],
        lambda x: ops.conv2d(x, np.ones((3, 3, 1, 2), np.float32)),
        lambda x: ops.max_pool2d(x, 2),
        lambda x: ops.softmax_xent(ops.reshape(x, (4, 4)), [0, 1, 2, 3]),
        lambda x: ops.batch_norm(x),
        lambda x: ops.layer_norm(x),
        lambda x: ops.lstm(x[..., 0], np.ones((4, 8), np.float32), np.ones((2, 8), np.float32)),
        lambda x: ops.attention(x, x, x),
    ],
)
def test_second_derivatives_raise_for_every_kind_of_op(f):
    x = Variable(np.ones((1, 4, 4, 1), np.float32))
    with GradientTape(persistent=True) as outer:
        with GradientTape() as inner:
            y = ops.sum(f(x))
        g = inner.gradient(y, x)
        z = ops.sum(g * g)
    assert outer.gradient(z, g) is not None  # by the gradient itself there is a derivative
    with pytest.raises(NotImplementedError, match="second derivatives"):
        outer.gradient(z, x)


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_copies_and_pickles(duplicate):
    v = Variable([1.0, 2.0], name="w")
    v.path, v.constraint = "layer/w", nnfast.constraints.NonNeg()
    c = duplicate(v)
    assert (c.name, c.path, c.trainable, type(c.constraint)) == ("w", "layer/w", True, nnfast.constraints.NonNeg)
    assert not duplicate(Variable([1.0], trainable=False)).trainable
    ops.sum(c * c).backward()
    assert c.grad.tolist() == [2.0, 4.0] and getattr(v, "grad", None) is None
    assert duplicate(c).grad.tolist() == [2.0, 4.0]
    with GradientTape() as tape:
        y = c * c
    c.assign([3.0, 4.0])
    assert v.tolist() == [1.0, 2.0]
    with pytest.raises(RuntimeError, match="was changed"):
        tape.gradient(y, c)
    t = duplicate(v * 2.0)  # values, without history
    assert t.tolist() == [2.0, 4.0] and t.node is None
