"""Optimizers and schedules beside Keras itself, and beside PyTorch where the rules differ on purpose."""

import inspect
import json
import os

import numpy as np
import pytest
from keras_optimizers import AT, CASES, PATHS, SCHEDULES, STEPS, gradient, make_weights

import nnfast
from nnfast import optimizers
from nnfast.optimizers import schedules

os.environ.setdefault("KERAS_BACKEND", "torch")
torch = pytest.importorskip("torch")
keras = pytest.importorskip("keras")
pytestmark = [pytest.mark.peers, pytest.mark.filterwarnings("ignore")]


@pytest.fixture(autouse=True)
def restore_floatx():
    yield
    keras.config.set_floatx("float32")


def options_for(room, options):
    options = dict(options)
    if isinstance(options.get("learning_rate"), tuple):
        name, arguments = options["learning_rate"]
        options["learning_rate"] = getattr(room.schedules, name)(**arguments)
    return options


def make_pair(label, dtype="float32"):
    """((Keras's optimizer, its weights), (ours, our weights))"""
    keras.config.set_floatx(dtype)
    name, options = CASES[label]
    theirs = getattr(keras.optimizers, name)(**options_for(keras.optimizers, options))
    mine = getattr(optimizers, name)(**options_for(optimizers, options))
    start = {n: w.astype(dtype) for n, w in make_weights().items()}
    return (
        (theirs, [keras.Variable(w, name=n, dtype=dtype) for n, w in start.items()]),
        (mine, [nnfast.Variable(w, name=n) for n, w in start.items()]),
    )


def run(optimizer, weights, steps):
    tensor = nnfast.tensor if isinstance(optimizer, optimizers.Optimizer) else keras.ops.convert_to_tensor
    for step in steps:
        gs = [gradient(step, i, tuple(w.shape)).astype(str(w.dtype)) for i, w in enumerate(weights)]
        optimizer.apply([tensor(g) for g in gs], weights)


def values(v):
    return v.numpy() if isinstance(v, nnfast.Tensor) else keras.ops.convert_to_numpy(v.value)


def close(mine, theirs, rtol, atol):
    for a, b in zip(mine, theirs, strict=True):
        np.testing.assert_allclose(values(a), values(b), rtol=rtol, atol=atol, err_msg=a.path)


# Keras computes 1 - beta^t and the like in float32, which is off by 1e-5 in the first steps, and a little even in
# float64 (Adafactor's powers, the factor of global_clipnorm).
BOUNDS = {"float32": (1e-5, 1e-5), "float64": (1e-5, 3e-7)}


@pytest.mark.parametrize("dtype", BOUNDS)
@pytest.mark.parametrize("label", CASES)
def test_twenty_steps(label, dtype):
    """Weights, all state, learning rate and step count, and what the end of fit makes of the weights."""
    theirs, mine = make_pair(label, dtype)
    run(*theirs, range(STEPS))
    run(*mine, range(STEPS))
    assert float(mine[0].learning_rate) == pytest.approx(float(values_of_rate(theirs[0])), rel=1e-6)
    assert int(mine[0].iterations) == int(theirs[0].iterations)
    close(mine[1], theirs[1], *BOUNDS[dtype])
    for a, b in zip(mine[0].variables, theirs[0].variables, strict=True):
        assert a.shape == tuple(b.shape)
        size = max(1.0, float(np.abs(values(b)).max(initial=0)))
        np.testing.assert_allclose(values(a) / size, values(b) / size, *BOUNDS[dtype], err_msg=a.path)
    mine[0].finalize_variable_values(mine[1])
    theirs[0].finalize_variable_values(theirs[1])
    close(mine[1], theirs[1], *BOUNDS[dtype])


def values_of_rate(theirs):
    rate = theirs.learning_rate
    return rate.value if isinstance(rate, keras.Variable) else rate


@pytest.mark.parametrize("label", PATHS)
def test_state_crosses_over(label):
    """After seven steps each takes the other's state, by the store of a .keras file, and goes on as the other."""
    theirs, mine = make_pair(label)
    run(*theirs, range(7))
    run(*mine, range(7))
    saved, our_store = {}, {}
    theirs[0].save_own_variables(saved)
    mine[0].save_own_variables(our_store)
    for (target, weights), (_, source), store in (
        (make_pair(label)[1], theirs, saved),
        (make_pair(label)[0], mine, our_store),
    ):
        target.build(weights)
        target.load_own_variables(store)
        for w, v in zip(weights, source):
            w.assign(values(v))
        run(target, weights, range(7, STEPS))
        store["weights"] = weights
    run(*theirs, range(7, STEPS))
    run(*mine, range(7, STEPS))
    close(saved["weights"], theirs[1], *BOUNDS["float32"])
    close(mine[1], our_store["weights"], *BOUNDS["float32"])


@pytest.mark.parametrize("label", CASES)
def test_configs_cross_over(label):
    (theirs, _), (mine, _) = make_pair(label)
    plain = lambda c: json.loads(json.dumps({**c, "learning_rate": None, "name": None}))  # noqa: E731
    for made in (
        optimizers.deserialize(json.loads(json.dumps(keras.optimizers.serialize(theirs)))),
        keras.optimizers.deserialize(json.loads(json.dumps(optimizers.serialize(mine)))),
    ):
        assert plain(made.get_config()) == plain(theirs.get_config()) == plain(mine.get_config())
        assert list(made.get_config()) == list(theirs.get_config())
        assert float(values_of_rate(made)) == pytest.approx(float(values_of_rate(theirs)))


@pytest.mark.parametrize("name", sorted({name for name, _ in CASES.values()}))
def test_signatures_and_names(name):
    theirs, mine = (inspect.signature(getattr(room, name)).parameters for room in (keras.optimizers, optimizers))
    assert {k: p.default for k, p in mine.items()} == {k: p.default for k, p in theirs.items()}
    assert list(mine) == list(theirs)
    keras.utils.clear_session()
    nnfast.utils.clear_session()
    assert getattr(optimizers, name)().name == getattr(keras.optimizers, name)().name


@pytest.mark.parametrize("name, options", SCHEDULES, ids=str)
def test_schedules(name, options):
    theirs, mine = (getattr(room.schedules, name)(**options) for room in (keras.optimizers, optimizers))
    np.testing.assert_allclose([float(mine(s)) for s in AT], [float(theirs(s)) for s in AT], rtol=2e-5, atol=1e-7)
    assert mine.get_config() == theirs.get_config()
    assert list(inspect.signature(type(mine)).parameters) == list(inspect.signature(type(theirs)).parameters)
    again = keras.optimizers.schedules.deserialize(schedules.serialize(mine))
    assert again.get_config() == theirs.get_config()


# ---- where nnfast differs from Keras, on purpose ----


def test_old_arguments_that_keras_refuses_or_ignores():
    with pytest.raises(ValueError, match="jit_compile"):
        keras.optimizers.SGD(jit_compile=True)
    optimizers.SGD(jit_compile=True)
    with pytest.raises(ValueError, match="lr"):
        keras.optimizers.SGD(lr=0.5)
    assert float(optimizers.SGD(lr=0.5).learning_rate) == 0.5
    ignored, used = keras.optimizers.SGD(0.5, decay=0.5), optimizers.SGD(0.5, decay=0.5)
    w, v = keras.Variable([0.0]), nnfast.Variable([0.0])
    for _ in range(2):
        ignored.apply([keras.ops.ones(1)], [w])
        used.apply([nnfast.tensor([1.0])], [v])
    assert values(w)[0] == -1.0 and v.item() == pytest.approx(-0.5 - 0.5 / 1.5)


# ---- where Keras's rules, and so ours, are not PyTorch's ----

RULES = {  # equal without epsilon, different with a large one: it stands elsewhere
    "RMSprop": (
        lambda e: optimizers.RMSprop(0.1, epsilon=e),
        lambda p, e: torch.optim.RMSprop(p, 0.1, alpha=0.9, eps=e),
    ),
    "Adam": (lambda e: optimizers.Adam(0.1, epsilon=e), lambda p, e: torch.optim.Adam(p, 0.1, eps=e)),
    "Adagrad": (
        lambda e: optimizers.Adagrad(0.1, 0.0, epsilon=e),
        lambda p, e: torch.optim.Adagrad(p, 0.1, eps=e),
    ),
}


def beside_torch(ours, theirs, rng, steps=5, between=lambda step, ours, theirs: None):
    start = rng.standard_normal(7)
    mine, other = nnfast.Variable(start), torch.tensor(start, requires_grad=True)
    a, b = ours(), theirs([other])
    for step in range(steps):
        between(step, a, b)
        g = rng.standard_normal(7) + 0.5
        a.apply([nnfast.tensor(g)], [mine])
        other.grad = torch.tensor(g)
        b.step()
    return mine.numpy(), other.detach().numpy()


@pytest.mark.parametrize("name", RULES)
def test_epsilon_stands_elsewhere_in_torch(name, rng):
    ours, theirs = RULES[name]
    np.testing.assert_allclose(*beside_torch(lambda: ours(1e-30), lambda p: theirs(p, 0.0), rng), rtol=1e-8)
    a, b = beside_torch(lambda: ours(0.1), lambda p: theirs(p, 0.1), rng)
    assert np.abs(a - b).max() > 1e-3


def test_adam_epsilon_is_hat_free(rng):
    """Algorithm 1 has sqrt(v / (1 - b2^t)) + e: ours with e sqrt(1 - b2^t) in the first step."""
    a, b = beside_torch(
        lambda: optimizers.Adam(0.1, epsilon=0.1 * np.sqrt(1 - 0.999)),
        lambda p: torch.optim.Adam(p, 0.1, eps=0.1),
        rng,
        steps=1,
    )
    np.testing.assert_allclose(a, b, rtol=1e-8)


def test_momentum_differs_once_the_rate_changes(rng):
    """Keras keeps lr inside the momentum, PyTorch outside: the same path until lr changes."""

    def change(step, ours, theirs):
        if step == 3:
            ours.learning_rate = 0.01
            theirs.param_groups[0]["lr"] = 0.01

    ours, theirs = lambda: optimizers.SGD(0.1, 0.9), lambda p: torch.optim.SGD(p, 0.1, momentum=0.9)
    np.testing.assert_allclose(*beside_torch(ours, theirs, rng), rtol=1e-8)
    a, b = beside_torch(ours, theirs, rng, between=change)
    assert np.abs(a - b).max() > 1e-2


def test_adadelta_default_rate_hides_it(rng):
    ours, theirs = lambda: optimizers.Adadelta(1.0), lambda p: torch.optim.Adadelta(p, 1.0, rho=0.95, eps=1e-7)
    np.testing.assert_allclose(*beside_torch(ours, theirs, rng), rtol=1e-8)
    assert optimizers.Adadelta().get_config()["learning_rate"] == 0.001
