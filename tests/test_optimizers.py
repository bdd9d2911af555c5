"""Optimizers as objects: rules, options, state, configurations, classes of users, schedules."""

import inspect
import json
import re
from pathlib import Path

import numpy as np
import pytest
from keras_optimizers import CASES, PATHS, SCHEDULES, STEPS, gradient, make_weights

import nnfast
from nnfast import layers, ops, optimizers
from nnfast.optimizers import schedules

STORED = json.loads((Path(__file__).parent / "data" / "optimizers.json").read_text(encoding="utf-8"))
ALL = ("SGD", "RMSprop", "Adam", "AdamW", "Adadelta", "Adagrad", "Adamax", "Adafactor", "Nadam", "Ftrl", "Lion")


def schedule(name, options):
    return getattr(schedules, name)(**options)


def optimizer(name, options):
    """The optimizer of a case: a schedule stands in its options as (name, options)."""
    options = dict(options)
    if isinstance(options.get("learning_rate"), tuple):
        options["learning_rate"] = schedule(*options["learning_rate"])
    return getattr(optimizers, name)(**options)


def trajectory(name, options, dtype="float32"):
    """The weights after 20 steps, as one list; and the optimizer."""
    weights = [nnfast.Variable(w, name=n, dtype=dtype) for n, w in make_weights().items()]
    o = optimizer(name, options)
    for step in range(STEPS):
        o.apply([nnfast.tensor(gradient(step, i, w.shape).astype(dtype)) for i, w in enumerate(weights)], weights)
    o.finalize_variable_values(weights)
    return weights, o


def flat(arrays):
    return np.concatenate([np.asarray(a, np.float64).ravel() for a in arrays])


# ---- twenty steps, as in Keras ----


@pytest.mark.parametrize("label", CASES)
def test_twenty_steps_give_keras_numbers(label, device, dtype):
    """The stored numbers are those of Keras in float64, a few of which it computes in float32 even then."""
    weights, o = trajectory(*CASES[label], dtype=dtype)
    rounded = "Adafactor" in label or "global" in label
    rtol, atol = (1e-5, 4e-6) if dtype == np.float32 else (1e-5, 3e-7) if rounded else (1e-6, 1e-8)
    stored = STORED["steps"][label]
    np.testing.assert_allclose(flat(w.numpy() for w in weights), stored["weights"], rtol=rtol, atol=atol)
    state = flat(v.numpy() for v in o.variables[1:])
    np.testing.assert_allclose([state.sum(), np.abs(state).sum()], stored["state"], rtol=3 * rtol, atol=1e-5)


@pytest.mark.parametrize("label", PATHS)
def test_state_has_keras_order_and_paths(label):
    _, o = trajectory(*CASES[label])
    paths = [v.path.split("/")[-1] for v in o.variables]
    assert [re.sub(r"^variable(_\d+)?$", "variable", p) for p in paths] == STORED["paths"][label]
    assert all(v.path.startswith(o.name + "/") or "/" not in v.path for v in o.variables)


@pytest.mark.parametrize("name, options", SCHEDULES, ids=str)
def test_schedules_give_keras_numbers(name, options):
    rate = schedule(name, options)
    steps = STORED["schedules"][f"{name} {options}"]
    np.testing.assert_allclose([float(rate(int(s))) for s in steps], list(steps.values()), rtol=2e-5, atol=1e-7)
    np.testing.assert_allclose(rate(np.array([int(s) for s in steps])), list(steps.values()), rtol=2e-5, atol=1e-7)
    again = schedules.deserialize(json.loads(json.dumps(schedules.serialize(rate))))
    assert type(again) is type(rate) and again.get_config() == rate.get_config()


# ---- making them ----


@pytest.mark.parametrize("name", ALL)
def test_by_class_by_name_and_by_config(name):
    made = [getattr(optimizers, name)(), *map(optimizers.get, (name, name.lower(), name.upper()))]
    made.append(optimizers.get(getattr(optimizers, name)))
    made.append(optimizers.get(json.loads(json.dumps(optimizers.serialize(made[0])))))
    made.append(optimizers.deserialize({"class_name": name.lower(), "config": made[0].get_config()}))
    configs = [{**o.get_config(), "name": None} for o in made]
    assert {type(o).__name__ for o in made} == {name} and all(c == configs[0] for c in configs)
    assert optimizers.get(made[0]) is made[0]
    x, y = np.ones((4, 3), "float32"), np.zeros((4, 1), "float32")
    model = nnfast.Sequential([layers.Dense(1)])
    model.compile(name.lower(), "mse")
    model.fit(x, y, verbose=0)
    assert int(model.optimizer.iterations) == 1


@pytest.mark.parametrize("name", ALL)
def test_signatures_are_keras(name):
    mine = inspect.signature(getattr(optimizers, name)).parameters.values()
    text = ", ".join(str(p) if p.kind is p.VAR_KEYWORD else f"{p.name}={p.default!r}" for p in mine)
    assert text.split(": ")[0] == STORED["signatures"][name]


def test_automatic_names():
    nnfast.utils.clear_session()
    names = [optimizers.get(n).name for n in ("rmsprop", "adam", "adamw", "adam", "sgd")]
    assert names == ["rm_sprop", "adam", "adam_w", "adam_1", "sgd"]  # Keras's rule
    assert optimizers.Adam(name="mine").name == "mine"


def test_configs_carry_every_option():
    options = {
        "learning_rate": 0.25,
        "weight_decay": 0.5,
        "clipnorm": 2.0,
        "use_ema": True,
        "ema_momentum": 0.5,
        "ema_overwrite_frequency": 3,
        "loss_scale_factor": 8.0,
        "gradient_accumulation_steps": 4,
        "name": "mine",
    }
    for name in ALL:
        config = getattr(optimizers, name)(**options).get_config()
        assert {k: config[k] for k in options} == options
        assert getattr(optimizers, name).from_config(config).get_config() == config
    falling = optimizers.SGD(schedules.CosineDecay(0.5, 10))
    again = optimizers.deserialize(json.loads(json.dumps(optimizers.serialize(falling))))
    assert again.get_config()["learning_rate"] == falling.get_config()["learning_rate"]
    old = {"name": "Adam", "learning_rate": 0.1, "decay": 0.0, "jit_compile": True, "is_legacy_optimizer": False}
    assert optimizers.Adam.from_config(old).get_config()["learning_rate"] == 0.1  # of Keras 2


def test_what_they_refuse():
    for wrong, error, message in [
        (lambda: optimizers.SGD(-1), ValueError, "learning_rate"),
        (lambda: optimizers.SGD("fast"), TypeError, "learning_rate"),
        (lambda: optimizers.Adam(clipnorm=1, clipvalue=1), ValueError, "only one"),
        (lambda: optimizers.Adam(clipnorm=1, global_clipnorm=1), ValueError, "only one"),
        (lambda: optimizers.Adam(clipvalue=-1), ValueError, "clipvalue must be positive"),
        (lambda: optimizers.Adam(loss_scale_factor=0), ValueError, "loss_scale_factor"),
        (lambda: optimizers.SGD(speed=1), TypeError, "speed"),
        (lambda: optimizers.SGD(0.1, lr=0.2), TypeError, "both"),
        (lambda: optimizers.SGD(schedules.CosineDecay(1.0, 3), decay=0.1), TypeError, "decay"),
        (lambda: optimizers.get("newton"), ValueError, "Known"),
        (lambda: optimizers.get(3), ValueError, "Received: 3"),
        (lambda: optimizers.SGD(momentum=2.0), ValueError, "momentum"),
        (lambda: optimizers.Adam(use_ema=True, ema_momentum=2), ValueError, "ema_momentum"),
        (lambda: optimizers.Adam(use_ema=True, ema_overwrite_frequency=0.5), ValueError, "ema_overwrite_frequency"),
        (lambda: optimizers.Adam(gradient_accumulation_steps=1), ValueError, "gradient_accumulation_steps"),
        (lambda: optimizers.AdamW(weight_decay=None), ValueError, "weight_decay"),
        (lambda: optimizers.Lion(beta_1=0.0), ValueError, "beta_1"),
        (lambda: optimizers.Ftrl(learning_rate_power=0.5), ValueError, "learning_rate_power"),
        (lambda: optimizers.Ftrl(l1_regularization_strength=-1.0), ValueError, "l1_regularization_strength"),
        (lambda: optimizers.Adagrad(initial_accumulator_value=-1.0), ValueError, "initial_accumulator_value"),
        (lambda: optimizers.Adafactor(clip_threshold=0.0), ValueError, "clip_threshold"),
        (lambda: schedules.ExponentialDecay(0.1, 0, 0.5), ValueError, "decay_steps"),
        (lambda: schedules.PiecewiseConstantDecay([1], [1.0]), ValueError, "one value more"),
        (lambda: schedules.PiecewiseConstantDecay([2, 1], [1.0, 2.0, 3.0]), ValueError, "must rise"),
        (lambda: schedules.LearningRateSchedule()(0), NotImplementedError, "__call__"),
        (lambda: schedules.LearningRateSchedule().get_config(), NotImplementedError, "get_config"),
    ]:
        with pytest.raises(error, match=message):
            wrong()


def test_old_spellings():
    with pytest.warns(DeprecationWarning, match="learning_rate=") as caught:
        o = optimizers.SGD(lr=0.5, jit_compile=True)
    assert float(o.learning_rate) == 0.5 and caught[0].filename == __file__
    with pytest.warns(DeprecationWarning, match="InverseTimeDecay"):
        o = optimizers.SGD(0.5, decay=0.25)
    w = nnfast.Variable([0.0])
    rates = []
    for _ in range(3):
        rates.append(float(o.learning_rate))
        o.apply([nnfast.tensor([1.0])], [w])
    np.testing.assert_allclose(rates, [0.5, 0.4, 0.5 / 1.5], rtol=1e-6)
    np.testing.assert_allclose(w.numpy(), -sum(rates), rtol=1e-6)
    assert optimizers.SGD(0.5, decay=0.0).get_config()["learning_rate"] == 0.5


# ---- learning rates ----


def test_a_schedule_writes_the_buffer_that_kernels_read():
    rate = schedules.PiecewiseConstantDecay([1, 2], [0.5, 0.25, 0.125])
    o, w = optimizers.SGD(rate), nnfast.Variable([0.0])
    seen = []
    for _ in range(5):
        before = w.item()
        o.apply([nnfast.tensor([1.0])], [w])
        seen.append(before - w.item())
    assert seen == [0.5, 0.5, 0.25, 0.125, 0.125]
    assert [v.name for v in o.variables] == ["iteration"]
    with pytest.raises(TypeError, match="follows"):
        o.learning_rate = 0.1
    o.learning_rate = schedules.PiecewiseConstantDecay([1], [1.0, 2.0])
    assert float(o.learning_rate) == 2.0


def test_a_rate_may_be_a_function_or_a_class_of_users():
    rates = iter([0.5, 0.25])
    o, w = optimizers.SGD(lambda: next(rates)), nnfast.Variable([0.0])
    for _ in range(2):
        o.apply([nnfast.tensor([1.0])], [w])
    assert w.item() == -0.75

    class Halving(schedules.LearningRateSchedule):
        def __init__(self, start):
            self.start = start

        def __call__(self, step):
            return self.start / (ops.cast(step, "float32") + 1.0)

        def get_config(self):
            return {"start": self.start}

    o, w = optimizers.SGD(Halving(0.5)), nnfast.Variable([0.0])
    for _ in range(2):
        o.apply([nnfast.tensor([1.0])], [w])
    assert w.item() == -0.75
    config = optimizers.serialize(o)
    again = optimizers.deserialize(config, custom_objects={"Halving": Halving})
    assert float(again.learning_rate) == 0.5
    with pytest.raises(ValueError, match="Halving"):
        optimizers.deserialize(config)


def test_a_callback_sees_and_changes_the_rate():
    x, y = np.ones((8, 2), "float32"), np.zeros((8, 1), "float32")
    seen = []

    class Look(nnfast.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            seen.append(float(self.model.optimizer.learning_rate))

    model = nnfast.Sequential([layers.Dense(1)])
    model.compile(optimizers.SGD(schedules.PolynomialDecay(0.5, 4, 0.0)), "mse")
    model.fit(x, y, batch_size=2, verbose=0, callbacks=[Look()])
    assert seen == [0.5, 0.375, 0.25, 0.125]
    o = optimizers.SGD(0.5)
    o.learning_rate = 0.25
    o.learning_rate.assign(o.learning_rate * 0.5)
    assert o.get_config()["learning_rate"] == 0.125 and o.lr is o.learning_rate


# ---- options ----


def test_weight_decay_leaves_out_what_is_excluded():
    for cls in (optimizers.SGD, optimizers.Nadam, optimizers.Adafactor):
        plain, decayed = [[nnfast.Variable([[2.0, 3.0]], name=n) for n in ("kernel", "bias", "gamma")] for _ in "ab"]
        gs = [nnfast.tensor([[1.0, -1.0]])] * 3
        for ws, decay in ((plain, None), (decayed, 0.5)):
            o = cls(0.125, weight_decay=decay)
            o.exclude_from_weight_decay(var_list=[ws[2]], var_names=["bias"])
            for _ in range(2):
                o.apply(gs, ws)
        assert decayed[0].numpy().max() < plain[0].numpy().max() - 0.1
        for i in (1, 2):
            np.testing.assert_array_equal(decayed[i].numpy(), plain[i].numpy())
        with pytest.raises(ValueError, match="before the optimizer is built"):
            o.exclude_from_weight_decay(var_names=["kernel"])


def test_accumulation_is_a_step_with_the_mean(device, dtype, rng):
    """Four calls are one: same weights, same state; in between nothing moves, not even with momentum or decay."""
    gs = rng.standard_normal((3, 4, 5)).astype(dtype)
    for options in ({}, {"clipnorm": 0.1}, {"weight_decay": 0.1}, {"global_clipnorm": 0.5, "loss_scale_factor": 4.0}):
        w, v = nnfast.Variable(np.ones(5, dtype)), nnfast.Variable(np.ones(5, dtype))
        many, one = (optimizers.Nadam(0.1, **options, gradient_accumulation_steps=4), optimizers.Nadam(0.1, **options))
        for turn in range(3):
            for i in range(4):
                before = w.numpy()
                many.apply([nnfast.tensor(gs[turn, i])], [w])
                assert (w.numpy() == before).all() == (i < 3)
            one.apply([nnfast.tensor(gs[turn].mean(axis=0, dtype="float64").astype(dtype))], [v])
            np.testing.assert_allclose(w.numpy(), v.numpy(), rtol=1e-5)
        assert int(many.iterations) == int(one.iterations) == 3 and int(many.variables[0]) == 12
        assert not many.variables[2].numpy().any(), "the accumulator is empty after a step"


def test_loss_scale_changes_nothing_but_the_range():
    x, y = np.ones((4, 2), "float32"), np.zeros((4, 1), "float32")
    found = []
    for factor in (None, 1024.0):
        nnfast.utils.set_random_seed(3)
        model = nnfast.Sequential([layers.Dense(1)])
        model.compile(optimizers.Adam(0.1, loss_scale_factor=factor, clipnorm=0.5), "mse")
        history = model.fit(x, y, epochs=3, verbose=0)
        found.append((history.history["loss"], model.get_weights()))
    assert found[0][0] == found[1][0]
    for a, b in zip(found[0][1], found[1][1]):
        np.testing.assert_array_equal(a, b)


def test_averages_replace_the_weights_at_the_end_of_fit():
    x, y = np.ones((8, 2), "float32"), np.zeros((8, 1), "float32")
    seen = []

    class Look(nnfast.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            seen.append(self.model.get_weights()[0])

    model = nnfast.Sequential([layers.Dense(1, use_bias=False)])
    model.compile(optimizers.SGD(0.05, use_ema=True, ema_momentum=0.75), "mse")
    model.fit(x, y, batch_size=2, verbose=0, callbacks=[Look()])
    mean = seen[0]
    for w in seen[1:]:
        mean = 0.75 * mean + 0.25 * w
    np.testing.assert_allclose(model.get_weights()[0], mean, rtol=1e-6)
    assert not np.allclose(model.get_weights()[0], seen[-1])


def test_averages_overwrite_every_so_often():
    o, w = optimizers.SGD(1.0, use_ema=True, ema_momentum=0.5, ema_overwrite_frequency=2), nnfast.Variable([0.0])
    seen = []
    for _ in range(4):
        o.apply([nnfast.tensor([1.0])], [w])
        seen.append(w.item())
    assert seen == [-1.0, -1.5, -2.5, -2.75]  # averages: -1, -1.5, -2, -2.75


def test_a_status_stops_every_part_of_a_step():
    """Weights, state, averages, accumulators and counters stay as they were before the bad batch."""
    for name in ALL:
        for options in ({"use_ema": True, "clipnorm": 1.0}, {"gradient_accumulation_steps": 2, "use_ema": True}):
            w = nnfast.Variable(np.ones((3, 2), "float32"))
            o = getattr(optimizers, name)(0.5, **options)
            g = nnfast.tensor(np.ones((3, 2), "float32"))
            o.apply([g], [w])
            before = [v.numpy() for v in (w, *o.variables)]
            status = ops.new_status()
            status[0] = ops.BAD_LABEL
            with ops.use_status(status):
                o.apply([g], [w])
            for a, b in zip(before, (w, *o.variables)):
                np.testing.assert_array_equal(a, b.numpy())
            o.apply([g], [w])
            assert (w.numpy() != 1).all()


# ---- state ----


@pytest.mark.parametrize("name", ALL)
def test_saved_state_continues_bit_for_bit(name):
    options = {"use_ema": True, "gradient_accumulation_steps": 2, "weight_decay": 0.01}

    def run(o, w, steps):
        for s in steps:
            o.apply([nnfast.tensor(gradient(s, 0, w.shape).astype("float32"))], [w])

    w, v = [nnfast.Variable(make_weights()["kernel"].astype("float32")) for _ in range(2)]
    o = getattr(optimizers, name)(0.05, **options)
    run(o, w, range(7))
    store = {}
    o.save_own_variables(store)
    assert list(store) == [str(i) for i in range(len(o.variables))]
    v.assign(w)
    again = getattr(optimizers, name).from_config(o.get_config())
    again.build([v])
    again.load_own_variables(store)
    run(o, w, range(7, 15))
    run(again, v, range(7, 15))
    np.testing.assert_array_equal(w.numpy(), v.numpy())
    again.set_weights([a.numpy() for a in o.variables])
    with pytest.raises(ValueError, match="expects arrays of shapes"):
        again.set_weights([np.zeros(3)])
    fresh = getattr(optimizers, name)()
    with pytest.raises(ValueError, match="no state yet"):
        fresh.set_weights(list(store.values()))
    with pytest.warns(UserWarning, match="Build the optimizer before"):
        fresh.load_own_variables(store)


@pytest.mark.parametrize("ending", [".keras", ".h5", ".safetensors"])
@pytest.mark.parametrize("name", ALL)
def test_training_goes_on_from_a_file(name, ending, tmp_path):
    x, y = make_weights()["kernel"].astype("float32"), np.array([0, 1, 2, 1])
    for options in (
        {"use_ema": True, "gradient_accumulation_steps": 3, "weight_decay": 0.01, "clipnorm": 1.0},
        {"learning_rate": schedules.CosineDecay(0.1, 50)},
    ):
        model = nnfast.Sequential([nnfast.Input((3,)), layers.Dense(3, "softmax")])
        model.compile(getattr(optimizers, name)(**options), "sparse_categorical_crossentropy")
        model.fit(x, y, batch_size=2, epochs=2, verbose=0, shuffle=False)
        model.save(tmp_path / f"model{ending}")
        again = nnfast.models.load_model(tmp_path / f"model{ending}")
        for m in (model, again):
            m.fit(x, y, batch_size=2, epochs=4, verbose=0, shuffle=False)
        for a, b in zip(model.weights + model.optimizer.variables, again.weights + again.optimizer.variables):
            np.testing.assert_array_equal(a.numpy(), b.numpy())


def test_variables_may_come_in_parts_and_any_order():
    a, b, stranger = (nnfast.Variable([1.0], name=n) for n in "abc")
    g = nnfast.tensor([1.0])
    o = optimizers.SGD(0.5, momentum=0.5)
    o.apply([g, g], [a, b])
    o.apply([g], [b])
    with pytest.warns(UserWarning, match=r"no gradient and stay as they are: \['a'\]"):
        o.apply([g, None], [b, a])
    o.apply([g], [b])
    o.apply_gradients(zip([g, g], [b, a]))
    assert int(o.iterations) == 5 and a.item() == pytest.approx(1 - 0.5 - 0.75)
    with pytest.raises(ValueError, match="built for other variables"):
        o.apply([g], [stranger])
    with pytest.raises(ValueError, match="no gradient was given"):
        o.apply([None, None])
    with pytest.raises(ValueError, match="one gradient per variable"):
        o.apply([g])
    with pytest.raises(ValueError, match="trainable_variables="):
        optimizers.SGD().apply([g])
    with pytest.raises(ValueError, match="given twice"):
        optimizers.SGD().build([a, a])
    o.apply([])
    assert int(o.iterations) == 5


# ---- classes of users ----


class Momentum(optimizers.Optimizer):
    """As in Keras's documentation."""

    def __init__(self, learning_rate=0.01, momentum=0.9, **kwargs):
        super().__init__(learning_rate, **kwargs)
        self.momentum = momentum

    def build(self, variables):
        super().build(variables)
        self.momentums = [self.add_variable_from_reference(v, name="momentum") for v in variables]

    def update_step(self, gradient, variable, learning_rate):
        learning_rate = ops.cast(learning_rate, variable.dtype)
        m = self.momentums[self._get_variable_index(variable)]
        self.assign(m, m * self.momentum - gradient * learning_rate)
        self.assign_add(variable, m)

    def get_config(self):
        return {**super().get_config(), "momentum": self.momentum}


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"weight_decay": 0.1, "clipnorm": 0.5},
        {"use_ema": True, "ema_overwrite_frequency": 3},
        {"gradient_accumulation_steps": 3, "loss_scale_factor": 2.0},
    ],
    ids=str,
)
def test_a_class_of_users_gets_every_option(options, device):
    pairs = [(Momentum(0.05, 0.8, **options), []), (optimizers.SGD(0.05, 0.8, **options), [])]
    for o, ws in pairs:
        ws += [nnfast.Variable(w.astype("float32"), name=n) for n, w in make_weights().items()]
        for step in range(9):
            o.apply([nnfast.tensor(gradient(step, i, w.shape).astype("float32")) for i, w in enumerate(ws)], ws)
    np.testing.assert_allclose(*(flat(w.numpy() for w in ws) for _, ws in pairs), rtol=1e-5, atol=1e-6)
    mine, theirs = ([v.path.split("/")[-1] for v in o.variables] for o, _ in pairs)
    assert mine == theirs
    again = optimizers.deserialize(optimizers.serialize(pairs[0][0]), {"Momentum": Momentum})
    assert again.get_config() == pairs[0][0].get_config()


def test_a_class_of_users_may_extend_a_rule():
    class Timid(optimizers.Adam):
        def update_step(self, gradient, variable, learning_rate):
            super().update_step(gradient * 2.0, variable, float(learning_rate) * 0.5)

    g, ws = nnfast.tensor([3.0, -1.0]), [nnfast.Variable([1.0, 2.0]) for _ in range(2)]
    timid, plain = Timid(0.5, weight_decay=0.1), optimizers.Adam(0.25, weight_decay=0.2)
    for _ in range(3):
        timid.apply([g], [ws[0]])
        plain.apply([g * 2.0], [ws[1]])
    np.testing.assert_allclose(ws[0].numpy(), ws[1].numpy(), rtol=1e-6)
    with pytest.raises(NotImplementedError, match="update_step"):
        optimizers.Optimizer(0.1).apply([g], [ws[0]])
    with pytest.raises(TypeError, match="unknown argument"):
        timid.add_variable((2,), colour="red")


def test_a_bad_label_does_not_reach_a_class_of_users():
    model = nnfast.Sequential([layers.Dense(3, "softmax")])
    model.compile(Momentum(0.5), "sparse_categorical_crossentropy")
    x = np.ones((4, 2), "float32")
    model.fit(x, [0, 1, 2, 0], verbose=0)
    before = [w.copy() for w in model.get_weights()]
    with pytest.raises(ValueError, match="7"):
        model.fit(x, [0, 1, 7, 0], verbose=0)
    for a, b in zip(before, model.get_weights()):
        np.testing.assert_array_equal(a, b)
