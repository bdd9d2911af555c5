"""Weights that a replay packs once for all of its steps: the same bits as without, and never old ones."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import nnfast
from nnfast import _cpu, graph, layers, ops

# (M, N, K): around the tiles of each ISA, one and several blocks of k, one and several panels, more columns than a
# block of them; rows that go by columns of panels, and others.
SHAPES = [
    (4, 600, 40),
    (6, 17, 1100),
    (7, 512, 64),
    (14, 130, 385),
    (15, 257, 384),
    (32, 96, 1000),
    (33, 48, 769),
    (65, 600, 100),
    (128, 40, 800),
    (5, 4200, 33),
    (70, 4100, 12),
]

STEPS = 12  # that one call of replay must run to keep anything


def product(x, w, y, constant=True, between=None):
    """A plan of y = x @ w, and what `between` does afterwards."""
    with graph.capture(constant=constant) as plan:
        y.assign(ops.dense(x, w))
        if between:
            between()
    return plan


def variables(rng, m, n, k, dtype, turned=False):
    x = rng.normal(size=(m, k)).astype(dtype)
    w = nnfast.Variable(rng.normal(size=(n, k) if turned else (k, n)).astype(dtype))
    return x, w, nnfast.Variable(np.zeros((m, n), dtype))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_same_bits(shape, isa, dtype, rng):
    x, w, y = variables(rng, *shape, dtype)
    expected = ops.dense(x, w).numpy()
    plan = product(x, w, y)
    assert plan.kept >= w.data.nbytes
    for threads in (1, 2):
        nnfast.set_num_threads(threads)
        y.assign(np.zeros(y.shape, dtype))
        plan.replay(STEPS)
        assert np.array_equal(y.numpy(), expected)


@pytest.mark.parametrize("turned", [False, True])
def test_tied_weights(turned, isa, rng):
    """The panels are those of the operand as it lies, and each operand has its own."""
    x, w, y = variables(rng, 20, 320, 320, "float32")
    z = nnfast.Variable(np.zeros_like(y.numpy()))
    with graph.capture(constant=True) as plan:
        y.assign(ops.matmul(x, ops.transpose(w) if turned else w))
        z.assign(ops.matmul(y, w))
    plan.replay(STEPS)
    expected = ops.matmul(x, ops.transpose(w) if turned else w)
    assert np.array_equal(y.numpy(), expected.numpy())
    assert np.array_equal(z.numpy(), ops.matmul(expected, w).numpy())


def test_weights_used_at_every_step_of_a_loop(rng):
    """One room for all uses of the same weights, however many."""
    x, w, y = variables(rng, 20, 128, 128, "float32")
    w.assign(w.numpy() / 12)

    def steps():
        h = x
        for _ in range(5):
            h = ops.dense(h, w, None, "tanh")
        return h

    with graph.capture(constant=True) as plan:
        y.assign(steps())
    assert plan.kept == w.data.nbytes
    y.assign(np.zeros_like(y.numpy()))
    plan.replay(STEPS)
    assert np.array_equal(y.numpy(), steps().numpy())


def test_a_step_that_changes_its_weights_after_all(isa, rng):
    x, w, y = variables(rng, 32, 256, 256, "float32")
    first = w.numpy()
    plan = product(x, w, y, between=lambda: w.assign(ops.mul(w, np.float32(0.5))))
    assert plan.kept
    plan.replay(STEPS)
    assert np.array_equal(w.numpy(), first / 2 ** (STEPS + 1))
    assert np.array_equal(y.numpy(), ops.dense(x, first / 2**STEPS).numpy())


def test_weights_written_behind_nnfasts_back(rng):
    """Nothing is kept from one call of replay to the next."""
    x, w, y = variables(rng, 32, 256, 256, "float32")
    plan = product(x, w, y)
    plan.replay(STEPS)
    w.data[...] *= 3
    plan.replay(STEPS)
    assert np.array_equal(y.numpy(), ops.dense(x, w).numpy())


def test_another_instruction_set_between_replays(restore_settings, rng):
    x, w, y = variables(rng, 32, 256, 256, "float32")
    plan = product(x, w, y)
    for name in _cpu.isas():
        _cpu.use_isa(name)
        plan.replay(STEPS)
        assert np.array_equal(y.numpy(), ops.dense(x, w).numpy())


def test_memory_is_borrowed(rng):
    x, w, y = variables(rng, 32, 256, 256, "float32")
    plan = product(x, w, y)
    before = _cpu.memory()
    for n in (1, 30, STEPS):
        plan.replay(n)
        after = _cpu.memory()
        assert (after["live"], after["used"]) == (before["live"], before["used"])


def test_what_is_not_kept(rng):
    for m, n, k in [(1, 512, 512), (3, 512, 512), (512, 512, 512), (32, 10, 4096), (32, 16, 16)]:
        assert product(*variables(rng, m, n, k, "float32")).kept == 0
    x, w, y = variables(rng, 32, 256, 256, "float32")
    assert product(x, w, y, constant=False).kept == 0
    assert product(x, w.numpy(), y).kept == 0  # nobody knows when it is written
    with graph.capture(constant=True) as plan:
        y.assign(ops.dense(x, ops.mul(w, np.float32(2))))  # made in the step
    assert plan.kept == 0


def test_a_model_keeps_in_predict_and_evaluate_alone(rng):
    model = nnfast.Sequential([layers.Dense(128, "relu", input_shape=(200,)), layers.Dense(3)])
    model.compile("sgd", "mse")
    x, y = rng.normal(size=(160, 200)).astype("float32"), rng.normal(size=(160, 3)).astype("float32")
    eager = [model(x[i : i + 32]).numpy() for i in range(0, 160, 32)]
    assert np.array_equal(model.predict(x, batch_size=32, verbose=0), np.concatenate(eager))
    model.evaluate(x, y, batch_size=32, verbose=0)
    model.fit(x, y, batch_size=32, epochs=2, verbose=0)
    kept = {key[0]: made.plan.kept for key, made in model._plans.items()}
    assert kept["predict"] == kept["test"] == 4 * 128 * 200
    assert kept["train"] == 0
    now = np.concatenate([model(x[i : i + 32]).numpy() for i in range(0, 160, 32)])
    assert not np.array_equal(now, np.concatenate(eager))
    assert np.array_equal(model.predict(x, batch_size=32, verbose=0), now)


def test_weights_changed_between_predictions(tmp_path, rng):
    """By whatever way: the next replay packs anew."""
    model = nnfast.Sequential([layers.Dense(128, "relu", input_shape=(200,)), layers.Dense(70)])
    model.compile("sgd", "mse")
    x, y = rng.normal(size=(160, 200)).astype("float32"), rng.normal(size=(160, 70)).astype("float32")
    first = model.predict(x, batch_size=8, verbose=0)
    model.save_weights(str(tmp_path / "first.weights.h5"))
    other = nnfast.Sequential(list(model.layers))  # shares the weights
    other.compile("adam", "mse")

    def written():
        model.layers[1].kernel.data[...] *= 2

    changes = [
        lambda: model.set_weights([w * 3 for w in model.get_weights()]),
        lambda: other.fit(x, y, batch_size=8, epochs=2, verbose=0),
        written,
        lambda: model.layers[0].kernel.assign(model.layers[0].kernel.numpy() + 1),
        lambda: model.load_weights(str(tmp_path / "first.weights.h5")),
    ]
    last = first
    for change in changes:
        change()
        found = model.predict(x, batch_size=8, verbose=0)
        assert not np.array_equal(found, last)
        assert np.array_equal(found, np.concatenate([model(x[i : i + 8]).numpy() for i in range(0, 160, 8)]))
        last = found
    assert np.array_equal(last, first)


def test_eight_threads_in_one_predict(rng):
    model = nnfast.Sequential([layers.Dense(128, "relu", input_shape=(200,)), layers.Dense(70)])
    batches = [rng.normal(size=(160, 200)).astype("float32") for _ in range(8)]
    expected = [model.predict(x, batch_size=8, verbose=0) for x in batches]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(20):
            found = pool.map(lambda x: model.predict(x, batch_size=8, verbose=0), batches)
            assert all(np.array_equal(f, e) for f, e in zip(found, expected))
