"""Optimizer steps: kernels against the reference and against formulas written out by hand."""

import numpy as np
import pytest
from compare import assert_close
from layouts import misaligned, read_only, reversed_axes, stepped, transposed

from nnfast import _cpu, reference

SIZES = [0, 1, 3, 15, 16, 17, 31, 64, 67, 1000, 40000]

# name: (lists of state that it may have, options)
CASES = {
    "sgd": ("sgd", [None], {}),
    "sgd decay": ("sgd", [None], {"weight_decay": 0.1}),
    "momentum": ("sgd", ["m"], {"momentum": 0.9}),
    "nesterov": ("sgd", ["m"], {"momentum": 0.9, "nesterov": True, "weight_decay": 0.01}),
    "rmsprop": ("rmsprop", ["v", None, None], {}),
    "rmsprop momentum": ("rmsprop", ["v", "m", None], {"momentum": 0.8, "rho": 0.7, "epsilon": 1e-3}),
    "rmsprop centered": ("rmsprop", ["v", None, "mean"], {"weight_decay": 0.1}),
    "rmsprop both": ("rmsprop", ["v", "m", "mean"], {"momentum": 0.8}),
    "adam": ("adam", ["m", "v", None], {}),
    "adam decay": ("adam", ["m", "v", None], {"weight_decay": 0.1, "beta_1": 0.8, "beta_2": 0.9, "epsilon": 1e-4}),
    "amsgrad": ("adam", ["m", "v", "vhat"], {}),
}


@pytest.fixture(params=CASES)
def case(request):
    return CASES[request.param]


def make(rng, case, shapes, dtype):
    """(ws, gs, lists of state): random values that the state can have."""
    _, kinds, _ = case
    draw = lambda: [np.array(rng.normal(size=s), dtype) for s in shapes]  # noqa: E731
    state = []
    for kind in kinds:
        values = None if kind is None else draw()
        if kind in ("v", "vhat"):
            values = [np.array(np.abs(a) + 2, dtype) for a in values]  # above mean^2: a variance
        elif kind == "mean":
            values = [np.array(np.clip(a, -1, 1), dtype) for a in values]
        state.append(values)
    return draw(), draw(), state


def copies(lists):
    return [None if xs is None else [x.copy() for x in xs] for xs in lists]


def step(kernels, case, ws, gs, state, lr=0.01, count=3, **more):
    op, _, options = case
    counters = [np.array(lr)] + ([np.array(count)] if op == "adam" else [])
    getattr(kernels, op)(ws, gs, *state, *counters, **options, **more)


def check(got, want, scale=1.0):
    for xs, ys in zip(got, want):
        for x, y in zip(xs or [], ys or []):
            assert_close(x, y, scale=scale)


def test_steps_equal_the_reference(case, isa, dtype, rng):
    shapes = [(n,) for n in SIZES] + [(), (3, 5), (2, 3, 4)]
    ws, gs, state = make(rng, case, shapes, dtype)
    expected = copies([ws, *state])
    for count in range(3):
        step(_cpu, case, ws, gs, state, count=count)
        step(reference, case, expected[0], gs, expected[1:], count=count)
    check([ws, *state], expected)


def test_isas_threads_and_places_do_not_change_a_bit(case, dtype, rng):
    """The same bits on every ISA, for one and two threads, and for an element wherever it stands."""
    shapes = [(100_003,), (5,), (17,)]
    ws, gs, state = make(rng, case, shapes, dtype)
    results = []
    before = _cpu.isa()
    for isa in _cpu.isas():
        _cpu.use_isa(isa)
        for threads in (1, 2):
            _cpu.set_num_threads(threads)
            mine = copies([ws, *state])
            step(_cpu, case, mine[0], gs, mine[1:])
            results.append(mine)
    _cpu.use_isa(before)
    for other in results[1:]:
        for xs, ys in zip(results[0], other):
            for x, y in zip(xs or [], ys or []):
                np.testing.assert_array_equal(x, y)

    def tail(a):  # from element 1000 on, three elements off
        moved = np.zeros(a[0].size + 3, dtype)
        moved[3:] = a[0]
        return [moved[1003:]]

    moved = [None if xs is None else tail(xs) for xs in [ws, *state]]
    step(_cpu, case, moved[0], tail(gs), moved[1:])
    for xs, ys in zip(moved, results[0]):
        if xs:
            np.testing.assert_array_equal(xs[0], ys[0][1000:])


def test_lists_of_any_length(case, dtype, rng):
    for n in (0, 1, 15, 16, 17, 50):
        ws, gs, state = make(rng, case, [(i % 5, 3) for i in range(n)], dtype)
        expected = copies([ws, *state])
        step(_cpu, case, ws, gs, state)
        step(reference, case, expected[0], gs, expected[1:])
        check([ws, *state], expected)


def test_lists_may_mix_dtypes(case, rng):
    parts = [make(rng, case, [(7,), (2, 3)], dtype) for dtype in ("float32", "float64", "float32")]
    ws, gs = ([a for p in parts for a in p[i]] for i in (0, 1))
    state = [None if parts[0][2][i] is None else [a for p in parts for a in p[2][i]] for i in range(len(case[1]))]
    expected = copies([ws, *state])
    step(_cpu, case, ws, gs, state)
    step(reference, case, expected[0], gs, expected[1:])
    check([ws, *state], expected)


@pytest.mark.parametrize("layout", [transposed, stepped, reversed_axes, misaligned, read_only])
def test_gradients_of_any_layout(layout, dtype, rng):
    ws, gs, state = make(rng, CASES["adam"], [(30, 40), (5,)], dtype)
    expected = copies([ws, *state])
    step(_cpu, CASES["adam"], ws, [layout(g) for g in gs], state)
    step(reference, CASES["adam"], expected[0], gs, expected[1:])
    check([ws, *state], expected)
    w = np.ones((3, 4), dtype)
    _cpu.sgd([w], [np.broadcast_to(np.asarray(1, dtype), (3, 4))], None, np.array(0.5))
    np.testing.assert_array_equal(w, 0.5)


def test_a_set_status_stops_the_step(case, dtype, rng):
    ws, gs, state = make(rng, case, [(20,)], dtype)
    before = copies([ws, *state])
    status = np.array([4, 0, 0, 0, 0])
    step(_cpu, case, ws, gs, state, status=status)
    check([ws, *state], before, scale=0.0)
    status[0] = 0
    step(_cpu, case, ws, gs, state, status=status)
    assert not np.array_equal(ws[0], before[0][0])


def test_a_step_raises_versions(case):
    w, *state = [_cpu.empty([4], "float32", for_life=True) for _ in range(1 + len(case[1]))]
    for a in (w, *state):
        a[...] = 1
    state = [None if kind is None else [a] for kind, a in zip(case[1], state)]
    g = _cpu.empty([4], "float32", for_life=True)
    g[...] = 1
    step(_cpu, case, [w], [g], state)
    assert _cpu.version(w) == 1 and _cpu.version(g) == 0
    assert all(_cpu.version(s[0]) == 1 for s in state if s)


def test_subnormal_state_is_flushed(isa, dtype):
    """The state of a dead unit decays; once subnormal it would make every step slower."""
    tiny = np.finfo(dtype).tiny / 4
    w, m, v, g = np.ones(20, dtype), np.full(20, tiny, dtype), np.full(20, tiny, dtype), np.zeros(20, dtype)
    _cpu.adam([w], [g], [m], [v], None, np.array(0.01), np.array(5))
    assert (m == 0).all() and (v == 0).all()
    m[:] = tiny
    _cpu.sgd([w], [g], [m], np.array(0.01), momentum=0.9)
    assert (m == 0).all()
    v[:] = tiny
    _cpu.rmsprop([w], [g], [v], None, None, np.array(0.01))
    assert (v == 0).all()
    assert np.float64(5e-324) * 1.0 == 5e-324, "the switch must be off again"


def test_nan_and_inf_go_where_the_formula_sends_them(case, isa, dtype, rng):
    ws, gs, state = make(rng, case, [(40,)], dtype)
    gs[0][[0, 16, 39]] = np.nan, np.inf, -np.inf
    expected = copies([ws, *state])
    with np.errstate(all="ignore"):
        step(reference, case, expected[0], gs, expected[1:])
    step(_cpu, case, ws, gs, state)
    for xs, ys in zip([ws, *state], expected):
        for x, y in zip(xs or [], ys or []):
            assert_close(x, y)


def test_wrong_arguments_change_nothing():
    w, g, m = np.ones(3, "float32"), np.ones(3, "float32"), np.ones(3, "float32")
    lr, count = np.array(0.1), np.array(0)
    for error, message, f in [
        (ValueError, "one array per variable.*1 variables, 2 gs", lambda: _cpu.sgd([w], [g, g], None, lr)),
        (ValueError, "one array per variable.*1 variables, 0 ms", lambda: _cpu.sgd([w], [g], [], lr)),
        (ValueError, r"gs\[0\] must have the shape.*\(3,\).*\(1, 3\)", lambda: _cpu.sgd([w], [g[None]], None, lr)),
        (ValueError, r"ms\[0\] must have the shape", lambda: _cpu.sgd([w], [g], [np.ones(4, "float32")], lr)),
        (TypeError, r"gs\[0\] must have the dtype.*float32.*float64", lambda: _cpu.sgd([w], [np.ones(3)], None, lr)),
        (TypeError, r"vs\[0\] must have the dtype", lambda: _cpu.rmsprop([w], [g], [np.ones(3)], None, None, lr)),
        (
            TypeError,
            r"must be float32 or float64.*ws\[0\] of int64",
            lambda: _cpu.sgd([np.ones(3, int)], [g], None, lr),
        ),
        (ValueError, "ws is read-only", lambda: _cpu.sgd([read_only(w)], [g], None, lr)),
        (ValueError, r"ws\[0\] must be contiguous", lambda: _cpu.sgd([np.ones(6, "float32")[::2]], [g], None, lr)),
        (ValueError, "ws is misaligned", lambda: _cpu.sgd([misaligned(w)], [g], None, lr)),
        (ValueError, "stands in the list twice", lambda: _cpu.sgd([w, m, w], [g, g, g], None, lr)),
        (TypeError, "lr must be float64", lambda: _cpu.sgd([w], [g], None, np.array(0.1, "float32"))),
        (ValueError, "lr must be one number", lambda: _cpu.sgd([w], [g], None, np.ones(2))),
        (TypeError, "step must be int64", lambda: _cpu.adam([w], [g], [m], [m.copy()], None, lr, np.array(0.0))),
        (ValueError, "status must be", lambda: _cpu.sgd([w], [g], None, lr, status=np.zeros(3, int))),
    ]:
        with pytest.raises(error, match=message):
            f()
    np.testing.assert_array_equal(w, 1)
    _cpu.adam([w], [g], [m], [m.copy()], None, lr, count)
    assert (w != 1).all()


# ---- twenty steps in float64, by the formulas of Keras's documentation, written out ----


def gradients(rng, steps=20, n=37):
    return rng.normal(size=(steps, n)), rng.normal(size=n)


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_trajectory_of_sgd(momentum, nesterov, isa, rng):
    gs, w = gradients(rng)
    mine, m, mine_m = w.copy(), np.zeros_like(w), np.zeros_like(w)
    for t, g in enumerate(gs):
        lr = 0.1 / (1 + t)
        m = momentum * m - lr * g
        w = w + (momentum * m - lr * g if nesterov and momentum else m)
        _cpu.sgd([mine], [g], [mine_m] if momentum else None, np.array(lr), momentum=momentum, nesterov=nesterov)
    np.testing.assert_allclose(mine, w, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("centered", [False, True])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_trajectory_of_rmsprop(momentum, centered, isa, rng):
    gs, w = gradients(rng)
    mine, v, mean, m = w.copy(), *(np.zeros_like(w) for _ in range(3))
    mine_v, mine_mean, mine_m = (np.zeros_like(w) for _ in range(3))
    for g in gs:
        v = 0.9 * v + 0.1 * g**2
        mean = 0.9 * mean + 0.1 * g
        move = 0.01 * g / np.sqrt(v - (mean**2 if centered else 0) + 1e-7)
        m = momentum * m + move
        w = w - m
        lists = [mine_v], [mine_m] if momentum else None, [mine_mean] if centered else None
        _cpu.rmsprop([mine], [g], *lists, np.array(0.01), momentum=momentum)
    np.testing.assert_allclose(mine, w, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("amsgrad", [False, True])
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_trajectory_of_adam(amsgrad, weight_decay, isa, rng):
    gs, w = gradients(rng)
    mine, m, v, top = w.copy(), *(np.zeros_like(w) for _ in range(3))
    mine_m, mine_v, mine_top = (np.zeros_like(w) for _ in range(3))
    for t, g in enumerate(gs, 1):
        w = w - w * weight_decay * 0.01
        m = 0.9 * m + 0.1 * g
        v = 0.999 * v + 0.001 * g**2
        top = np.maximum(top, v)
        alpha = 0.01 * np.sqrt(1 - 0.999**t) / (1 - 0.9**t)
        w = w - alpha * m / (np.sqrt(top if amsgrad else v) + 1e-7)
        lists = [mine_m], [mine_v], [mine_top] if amsgrad else None
        _cpu.adam([mine], [g], *lists, np.array(0.01), np.array(t - 1), weight_decay=weight_decay)
    np.testing.assert_allclose(mine, w, rtol=1e-11, atol=1e-12)
