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
    "adagrad": ("adagrad", ["v"], {"weight_decay": 0.1}),
    "sgd l2": ("sgd", [None], {"l2": 0.1, "weight_decay": 0.2}),
    "rmsprop l2": ("rmsprop", ["v", None, None], {"l2": 0.1}),
    "adam l2": ("adam", ["m", "v", None], {"l2": 0.1}),
    "adagrad l2": ("adagrad", ["v"], {"l2": 0.1}),
    "pytorch sgd": ("sgd", [None], {"pytorch": True, "l2": 0.1}),
    "pytorch momentum": ("sgd", ["m"], {"pytorch": True, "momentum": 0.9, "dampening": 0.5, "l2": 0.1}),
    "pytorch nesterov": ("sgd", ["m"], {"pytorch": True, "momentum": 0.9, "nesterov": True}),
    "pytorch rmsprop": ("rmsprop", ["v", None, None], {"pytorch": True, "l2": 0.1}),
    "pytorch rmsprop both": ("rmsprop", ["v", "m", "mean"], {"pytorch": True, "momentum": 0.8, "epsilon": 1e-3}),
    "pytorch adam": ("adam", ["m", "v", None], {"pytorch": True, "epsilon": 0.1, "weight_decay": 0.1}),
    "pytorch amsgrad": ("adam", ["m", "v", "vhat"], {"pytorch": True, "epsilon": 0.1, "l2": 0.1}),
    "pytorch adagrad": ("adagrad", ["v"], {"pytorch": True, "epsilon": 0.1, "l2": 0.1}),
    "adadelta": ("adadelta", ["v", "v"], {"weight_decay": 0.1, "rho": 0.8}),
    "adamax": ("adamax", ["m", "v"], {"weight_decay": 0.1, "beta_2": 0.9}),
    "nadam": ("nadam", ["m", "v"], {"weight_decay": 0.1, "beta_1": 0.8}),
    "lion": ("lion", ["m"], {"weight_decay": 0.1}),
    "ftrl": ("ftrl", ["v", "m"], {"weight_decay": 0.1, "l1": 0.5}),
    "ftrl power": ("ftrl", ["v", "m"], {"power": -0.6, "l2": 0.1, "l2_shrinkage": 0.1, "beta": 0.1}),
    "adafactor": ("adafactor", ["rows", "columns", "v"], {"weight_decay": 0.1}),
    "average": ("average_weights", ["m"], {"momentum": 0.7, "overwrite_every": 2}),
}
COUNTING = ("adam", "adamax", "nadam", "adafactor", "average_weights")  # they read the step


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
        elif kind in ("rows", "columns"):
            axis = -1 if kind == "rows" else -2
            values = [np.array(rng.uniform(1, 2, np.delete(s, axis) if np.size(s) > 1 else ()), dtype) for s in shapes]
        state.append(values)
    return draw(), draw(), state


def copies(lists):
    return [None if xs is None else [x.copy() for x in xs] for xs in lists]


def step(kernels, case, ws, gs, state, lr=0.01, count=3, **more):
    op, _, options = case
    if op == "ftrl":
        lr = 0.5  # it divides differences of powers by the rate: a small one shows every rounding
    counters = [np.array(lr)] + ([np.array(count)] if op in COUNTING else [])
    if op == "nadam":
        counters = [np.array(0.4, np.result_type(*ws) if ws else "float32"), *counters]
    if op == "average_weights":  # it takes no gradients and no rate
        getattr(kernels, op)(ws, *state, *counters[1:], **options, **more)
    else:
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


@pytest.mark.parametrize("label", [n for n, c in CASES.items() if c[0] in ("sgd", "rmsprop", "adam", "adagrad")])
def test_rules_of_keras_and_pytorch_have_the_bits_of_the_reference(label, isa, dtype, rng):
    ws, gs, state = make(rng, CASES[label], [(n,) for n in SIZES], dtype)
    expected = copies([ws, *state])
    for count in range(3):
        step(_cpu, CASES[label], ws, gs, state, count=count)
        step(reference, CASES[label], expected[0], gs, expected[1:], count=count)
    check([ws, *state], expected, scale=0.0)


@pytest.mark.parametrize("label", ["sgd", "momentum", "rmsprop", "adam", "adagrad"])
def test_without_l2_the_weights_do_not_reach_the_gradient(label, isa, dtype):
    one = CASES[label]
    w, g = np.full(20, np.inf, dtype), np.ones(20, dtype)
    state = [None if kind is None else [np.ones(20, dtype)] for kind in one[1]]
    step(_cpu, (*one[:2], {}), [w], [g], state)
    assert all(np.isfinite(s[0]).all() for s in state if s)


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

    if case[0] == "adafactor":
        return  # its steps depend on norms, so on the neighbours

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
    unused = ("rows", "columns")  # of a vector
    assert all(_cpu.version(s[0]) == (kind not in unused) for s, kind in zip(state, case[1]) if s)


@pytest.mark.parametrize("label", ["momentum", "rmsprop", "adam", "adadelta", "adamax", "nadam", "lion", "average"])
def test_subnormal_state_is_flushed(label, isa, dtype):
    """The state of a dead unit decays; once subnormal it would make every step slower."""
    one = CASES[label]
    tiny = np.finfo(dtype).tiny / 4
    start = 0 if label == "average" else 1
    w, g = np.full(20, start, dtype), np.zeros(20, dtype)
    state = [None if kind is None else [np.full(20, tiny, dtype)] for kind in one[1]]
    step(_cpu, one, [w], [g], state, count=5)
    for kind, s in zip(one[1], state):
        assert s is None or (s[0] == 0).all(), kind
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
        (
            ValueError,
            "nesterov is without dampening.*0.5",
            lambda: _cpu.sgd([w], [g], [m], lr, momentum=0.9, nesterov=True, dampening=0.5),
        ),
        (TypeError, "step must be int64", lambda: _cpu.adam([w], [g], [m], [m.copy()], None, lr, np.array(0.0))),
        (ValueError, "status must be", lambda: _cpu.sgd([w], [g], None, lr, status=np.zeros(3, int))),
    ]:
        with pytest.raises(error, match=message):
            f()
    np.testing.assert_array_equal(w, 1)
    _cpu.adam([w], [g], [m], [m.copy()], None, lr, count)
    assert (w != 1).all()


# ---- Adafactor, what stands before and after a step ----

SHAPES = [(40, 30), (3, 70), (70, 3), (2, 5, 7), (3, 3, 4, 6), (257, 129), (1, 1), (0, 3), (3, 0), (2, 0, 4), (50,), ()]


def test_adafactor_of_any_shape(isa, dtype, rng):
    ws, gs, state = make(rng, CASES["adafactor"], SHAPES, dtype)
    for i, s in enumerate(SHAPES):
        for k, axis in ((0, -1), (1, -2)):
            state[k][i] = np.array(rng.uniform(1, 2, np.delete(s, axis) if len(s) > 1 else ()), dtype)
    expected = copies([ws, *state])
    for count in range(3):
        step(_cpu, CASES["adafactor"], ws, gs, state, count=count)
        step(reference, CASES["adafactor"], expected[0], gs, expected[1:], count=count)
    check([ws, *state], expected, scale=4)


def test_adafactor_and_norms_have_the_same_bits_everywhere(dtype, rng):
    """Sums of squares are taken in the same order on every ISA and for any number of threads."""
    shapes = [(301, 257), (70_001,), (3, 3, 40, 50)]
    ws, gs, state = make(rng, CASES["adafactor"], shapes, dtype)
    for i, s in enumerate(shapes):
        for k, axis in ((0, -1), (1, -2)):
            state[k][i] = np.array(rng.uniform(1, 2, np.delete(s, axis) if len(s) > 1 else ()), dtype)
    results, before = [], _cpu.isa()
    for isa in _cpu.isas():
        _cpu.use_isa(isa)
        for threads in (1, 2, 3):
            _cpu.set_num_threads(threads)
            mine = copies([ws, *state])
            step(_cpu, CASES["adafactor"], mine[0], gs, mine[1:])
            clipped = [_cpu.clip_gradients(gs, **{kind: 0.5}) for kind in ("norm", "global_norm")]
            results.append([a.tobytes() for xs in (*mine, *clipped) for a in xs])
    _cpu.use_isa(before)
    assert all(r == results[0] for r in results)


@pytest.mark.parametrize("kind", ["value", "norm", "global_norm"])
def test_clipping_of_any_list(kind, isa, dtype, rng):
    for n in (0, 1, 15, 16, 17, 40):
        gs = [np.array(rng.normal(size=(i * 7 % 50, 3)), dtype) for i in range(n)]
        if n > 15:
            gs[3] = np.array(rng.normal(size=40_000), dtype)
        for limit in (0.5, 1e6):
            got = _cpu.clip_gradients(gs, **{kind: limit})
            check([got], [reference.clip_gradients(gs, **{kind: limit})])
            if limit > 1:
                assert all(np.array_equal(a, b) for a, b in zip(got, gs)), "within the limit nothing changes"


def test_norms_of_extremes(isa):
    """Squares in double do not overflow; an infinite norm gives what Keras gives."""
    huge = np.array([3e30, 4e30], "float32")
    np.testing.assert_allclose(_cpu.clip_gradients([huge], norm=1.0)[0], [0.6, 0.8], rtol=1e-6)
    np.testing.assert_allclose(_cpu.clip_gradients([huge], global_norm=1.0)[0], [0.6, 0.8], rtol=1e-6)
    bad = np.array([1.0, np.inf], "float32")
    np.testing.assert_array_equal(_cpu.clip_gradients([bad], norm=1.0)[0], [0, np.nan])
    assert np.isnan(_cpu.clip_gradients([np.ones(2, "float32"), bad], global_norm=1.0)[0]).all()
    assert np.isnan(_cpu.clip_gradients([np.array([1, np.nan])], norm=1.0)[0]).all()
    np.testing.assert_array_equal(_cpu.clip_gradients([np.array([9, np.nan])], value=1.0)[0], [1, np.nan])
    np.testing.assert_array_equal(_cpu.clip_gradients([np.zeros(3)], global_norm=1.0)[0], 0)


@pytest.mark.parametrize("layout", [transposed, stepped, reversed_axes, misaligned, read_only])
def test_gradients_of_any_layout_are_clipped_and_averaged(layout, dtype, rng):
    gs = [np.array(rng.normal(size=s), dtype) for s in ((30, 40), (5,))]
    check([_cpu.clip_gradients([layout(g) for g in gs], norm=1.0)], [_cpu.clip_gradients(gs, norm=1.0)], scale=0)
    sums, more = [[np.ones_like(g) for g in gs] for _ in "ab"]
    got = _cpu.mean_gradients(sums, [layout(g) for g in gs], np.array(0), 4)
    check([got, sums], [_cpu.mean_gradients(more, gs, np.array(0), 4), more], scale=0)


def test_the_gate_opens_in_every_nth_step():
    for kernels in (_cpu, reference):
        turns, gate = np.array(9), np.zeros(5, np.int64)
        seen = []
        for count in range(6):
            kernels.every_nth(np.array(count), 3, turns, gate)
            seen.append((int(turns), bool(gate[0])))
        assert seen == [(0, True), (0, True), (0, False), (1, True), (1, True), (1, False)]
        status = np.array([2, 7, 5, 3, 1])
        kernels.every_nth(np.array(2), 3, turns, gate, status=status)
        np.testing.assert_array_equal(gate, status)


def test_wrong_arguments_of_the_others():
    w, g, lr, count = np.ones((2, 3), "float32"), np.ones((2, 3), "float32"), np.array(0.1), np.array(0)
    rows, columns, flag = np.ones(2, "float32"), np.ones(3, "float32"), np.zeros(5, int)
    factored = lambda r, c: _cpu.adafactor([w], [g], r, c, [g.copy()], lr, count)  # noqa: E731
    for error, message, f in [
        (ValueError, r"rows\[0\] must be contiguous, of dtype float32.*\(3,\)", lambda: factored([columns], [columns])),
        (ValueError, r"columns\[0\].*float64", lambda: factored([rows], [np.ones(3)])),
        (ValueError, "one array per variable.*0 rows", lambda: factored([], [columns])),
        (TypeError, "step must be int64", lambda: _cpu.adamax([w], [g], [g.copy()], [g.copy()], lr, lr)),
        (TypeError, "product must be float", lambda: _cpu.nadam([w], [g], [w.copy()], [w.copy()], count, lr, count)),
        (ValueError, "product must be one number", lambda: _cpu.nadam_advance(rows, count)),
        (ValueError, "n must be at least 1", lambda: _cpu.every_nth(count, 0, np.array(0), flag)),
        (ValueError, "turns must be one int64", lambda: _cpu.every_nth(count, 2, rows, flag)),
        (ValueError, "gate must be", lambda: _cpu.every_nth(count, 2, np.array(0), None)),
        (ValueError, "n must be at least 1", lambda: _cpu.mean_gradients([w], [g], count, 0)),
        (ValueError, "only one of value, norm", lambda: _cpu.clip_gradients([g], value=1.0, norm=1.0)),
        (TypeError, r"gs\[0\] of int64", lambda: _cpu.clip_gradients([np.ones(3, int)])),
        (ValueError, "overwrite_every", lambda: _cpu.average_weights([w], [g.copy()], count, overwrite_every=-1)),
        (ValueError, "ws is read-only", lambda: _cpu.average_weights([read_only(w)], [g.copy()], count)),
    ]:
        with pytest.raises(error, match=message):
            f()
    np.testing.assert_array_equal(w, 1)


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


@pytest.mark.parametrize("name", ["sgd", "nesterov", "rmsprop", "adam", "adagrad"])
def test_trajectory_of_pytorchs_rule(name, isa, rng):
    """L2 in the gradient, epsilon outside the root, and momentum of gradients, as the rate falls."""
    gs, w = gradients(rng)
    mine, m, v, mean = w.copy(), *(np.zeros_like(w) for _ in range(3))
    states = [np.zeros_like(w) for _ in range(3)]
    common = {"l2": 0.3, "pytorch": True}
    for t, g in enumerate(gs):
        lr = 0.1 / (1 + t)
        rate = np.array(lr)
        loss_g = g + 0.3 * w
        if name == "sgd":
            m = 0.9 * m + 0.75 * loss_g
            w = w - lr * m
            _cpu.sgd([mine], [g], states[:1], rate, momentum=0.9, dampening=0.25, **common)
        elif name == "nesterov":
            m = 0.9 * m + loss_g
            w = w - lr * (loss_g + 0.9 * m)
            _cpu.sgd([mine], [g], states[:1], rate, momentum=0.9, nesterov=True, **common)
        elif name == "rmsprop":
            v, mean = 0.8 * v + 0.2 * loss_g**2, 0.8 * mean + 0.2 * loss_g
            m = 0.9 * m + loss_g / (np.sqrt(v - mean**2) + 0.1)
            w = w - lr * m
            lists = [[s] for s in states]
            _cpu.rmsprop([mine], [g], *lists, rate, rho=0.8, momentum=0.9, epsilon=0.1, **common)
        elif name == "adam":
            m, v = 0.9 * m + 0.1 * loss_g, 0.99 * v + 0.01 * loss_g**2
            w = w - lr * m / (1 - 0.9 ** (t + 1)) / (np.sqrt(v / (1 - 0.99 ** (t + 1))) + 0.1)
            lists = [states[0]], [states[1]], None
            _cpu.adam([mine], [g], *lists, rate, np.array(t), beta_2=0.99, epsilon=0.1, **common)
        else:
            v = v + loss_g**2
            w = w - lr * loss_g / (np.sqrt(v) + 0.1)
            _cpu.adagrad([mine], [g], states[:1], rate, epsilon=0.1, **common)
    np.testing.assert_allclose(mine, w, rtol=1e-11, atol=1e-12)


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
