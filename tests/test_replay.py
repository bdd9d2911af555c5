"""Capture and replay: the same bits as eager steps for everything that the package has, and the lives of plans."""

import gc
import os
import threading
import warnings
import weakref

import exchange_models
import keras_optimizers
import loss_cases
import metric_cases
import numpy as np
import pytest

import nnfast
from nnfast import graph, layers, ops
from nnfast.layers.nested import flatten, map_structure


@pytest.fixture(autouse=True)
def strict():
    """A step that cannot be captured is a failure here, not a warning."""
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*steps run one by one.*")
        yield


def state(model):
    """All that a step may change."""
    found = [v.numpy() for v in model.weights]
    if model.optimizer is not None:
        found += [v.numpy() for v in model.optimizer.variables]
    return found


def equal(a, b):
    a, b = flatten(a), flatten(b)
    return len(a) == len(b) and all(
        u == v if isinstance(u, str) else np.array_equal(u, v, equal_nan=True) for u, v in zip(a, b)
    )


def replays(model):
    """How many plans a model has; each was captured to the end."""
    return sum(p.plan.current for p in model._plans.values())


def both(build, compile, x, y, batch_size=4, epochs=3, sample_weight=None, **fit):
    """Trains, evaluates and predicts eagerly and by replay, and compares all that is left."""
    results = []
    for eager in (True, False):
        nnfast.utils.set_random_seed(5)
        nnfast.backend.clear_session()  # the same names
        model = build()
        compile(model, run_eagerly=eager)
        options = {"batch_size": batch_size, "verbose": 0}
        history = model.fit(x, y, epochs=epochs, sample_weight=sample_weight, **options, **fit).history
        values = model.evaluate(x, y, return_dict=True, sample_weight=sample_weight, **options)
        results.append((history, values, model.predict(x, **options), state(model), model))
    (ha, va, pa, sa, _), (hb, vb, pb, sb, model) = results
    assert ha.keys() == hb.keys() and all(np.array_equal(ha[k], hb[k], equal_nan=True) for k in ha)
    assert all(np.array_equal(va[k], vb[k], equal_nan=True) for k in va)
    assert equal(pa, pb)
    assert equal(sa, sb)
    assert model._eager is None
    kinds = {key[0] for key in model._plans}
    assert kinds == {"train", "test", "predict"}, kinds
    return model


def rows(model, n, rng):
    """Random inputs for a model; whole numbers where it wants them."""
    made = []
    for t in model.inputs:
        shape = (n, *t.shape[1:])
        made.append(rng.normal(size=shape).astype(t.dtype) if t.dtype.startswith("f") else rng.integers(0, 7, shape))
    return made[0] if len(made) == 1 else made


@pytest.mark.parametrize("name", exchange_models.MODELS)
def test_every_layer(name, rng):
    def build():
        model = exchange_models.build(name, nnfast)
        for v in model.weights:
            v.assign(np.random.default_rng(len(v.shape)).normal(0, 0.3, v.shape))
        return model

    model = build()
    x = rows(model, 14, rng)
    y = map_structure(lambda t: rng.normal(size=t.shape).astype(t.dtype), model(x))
    if any(t.dtype.kind != "f" for t in flatten(y)):
        pytest.skip(f"{name} gives integers, which no loss takes")
    both(build, lambda m, **o: m.compile(nnfast.optimizers.SGD(0.01), "mse", **o), x, y)


@pytest.mark.parametrize("label", keras_optimizers.CASES)
def test_every_optimizer(label, rng):
    def build():
        return nnfast.Sequential([layers.Dense(5, "tanh", input_shape=(3,)), layers.Dense(2)])

    def compile(model, **options):
        name, arguments = keras_optimizers.CASES[label]
        arguments = {
            k: getattr(nnfast.optimizers.schedules, v[0])(**v[1]) if isinstance(v, tuple) else v
            for k, v in arguments.items()
        }
        model.compile(getattr(nnfast.optimizers, name)(**arguments), "mse", **options)

    x, y = rng.normal(size=(22, 3)).astype("float32"), rng.normal(size=(22, 2)).astype("float32")
    both(build, compile, x, y)


def _identity(c):
    return nnfast.Sequential([layers.Dense(c, use_bias=False, kernel_initializer="identity", input_shape=(c,))])


@pytest.mark.parametrize("case", loss_cases.CASES, ids=loss_cases.IDS)
def test_every_loss(case):
    name, options, kind = case
    t, y = (np.concatenate([a, a[::-1], a[1:]]) for a in loss_cases.data(kind))

    def compile(model, **o):
        model.compile(nnfast.optimizers.SGD(1e-3), getattr(nnfast.losses, name)(**options), **o)

    both(lambda: _identity(y.shape[1]), compile, y, t)


@pytest.mark.parametrize("case", metric_cases.CASES, ids=metric_cases.IDS)
def test_every_metric(case):
    name, options, kind = case
    t, y = (np.concatenate([a, a[::-1], a[1:]]) for a in metric_cases.batch(kind)[:2])
    if y.ndim == 1:
        t, y = t[:, None], y[:, None]

    def compile(model, **o):
        loss = "mse"
        if kind.startswith("classes"):
            loss = nnfast.losses.SparseCategoricalCrossentropy(from_logits=kind.endswith("logits"))
        model.compile(nnfast.optimizers.SGD(1e-3), loss, metrics=[getattr(nnfast.metrics, name)(**options)], **o)

    both(lambda: _identity(y.shape[-1]), compile, y, t)


# ---- what may happen between replays ----


def mlp(dropout=0.3, classes=5):
    return nnfast.Sequential(
        [layers.Dense(16, "relu", input_shape=(8,)), layers.Dropout(dropout), layers.Dense(classes, "softmax")]
    )


def sample(rng, n=70, classes=5):
    return rng.normal(size=(n, 8)).astype("float32"), rng.integers(0, classes, n)


def compiled(eager=False, optimizer="adam", seed=3, make=mlp, **options):
    nnfast.utils.set_random_seed(seed)
    nnfast.backend.clear_session()  # the same names
    model = make()
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"], run_eagerly=eager, **options)
    return model


def same(action, **options):
    """`action(model)` leaves the same state, and returns the same, eagerly and by replay."""
    found = []
    for eager in (True, False):
        model = compiled(eager, **options)
        found.append((action(model), state(model), model))
    assert equal(found[0][0], found[1][0])
    assert equal(found[0][1], found[1][1])
    assert found[1][2]._eager is None
    return found[1][2]


def test_replays_do_happen(rng, monkeypatch):
    x, y = sample(rng)
    model = compiled()
    calls = []
    step = model.train_step
    monkeypatch.setattr(type(model), "train_step", lambda self, data: calls.append(1) or step(data))
    model.fit(x, y, batch_size=8, epochs=5, verbose=0)
    assert len(calls) == 4  # of 45: the first of each shape, and its capture
    assert int(model.optimizer.iterations) == 45


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_any_number_of_threads_gives_the_same(threads, rng):
    x, y = sample(rng)
    nnfast.set_num_threads(threads)
    same(lambda m: m.fit(x, y, batch_size=8, epochs=3, verbose=0).history["loss"])


def test_the_isa_does_not_matter(isa, rng):
    x, y = sample(rng)
    same(lambda m: m.fit(x, y, batch_size=8, epochs=3, verbose=0).history["loss"])


def test_images_of_bytes_class_weights_and_sample_weights(rng):
    x, y = rng.integers(0, 255, (33, 6, 6, 1), "uint8"), rng.integers(0, 3, 33)

    def make():
        stack = [layers.Rescaling(1 / 255, input_shape=(6, 6, 1)), layers.Conv2D(4, 3, activation="relu")]
        return nnfast.Sequential([*stack, layers.BatchNormalization(), layers.Flatten(), layers.Dense(3, "softmax")])

    weights = {"class_weight": {0: 2.0, 2: 0.5}, "sample_weight": rng.uniform(size=33)}
    same(lambda m: m.fit(x, y, batch_size=8, epochs=4, verbose=0, **weights).history["loss"], make=make)


def test_generators_and_sequences(rng):
    x, y = sample(rng)

    def batches():
        while True:
            for i in range(0, 64, 16):
                yield x[i : i + 16], y[i : i + 16]

    same(lambda m: m.fit(batches(), steps_per_epoch=5, epochs=3, verbose=0).history["loss"])


def test_a_batch_whose_parts_do_not_fit(rng):
    x, y = sample(rng)

    def batches():
        for _ in range(4):
            yield x[:8], y[:8]
        yield x[:8], y[:7]

    def run(model):
        with pytest.raises(ValueError) as caught:
            model.fit(batches(), verbose=0)
        return [str(caught.value)]

    same(run)


def test_steps_per_epoch_and_validation(rng):
    x, y = sample(rng)
    options = {"batch_size": 8, "epochs": 5, "verbose": 0, "steps_per_epoch": 5, "validation_data": (x[:20], y[:20])}
    same(lambda m: [*m.fit(x, y, **options).history["val_loss"]])


def test_train_on_batch_and_its_like(rng):
    x, y = sample(rng)

    def run(model):
        found = [model.train_on_batch(x[i : i + 10], y[i : i + 10], return_dict=True)["loss"] for i in range(0, 60, 10)]
        found += [model.test_on_batch(x[i : i + 10], y[i : i + 10])[0] for i in range(0, 60, 10)]
        return [*found, *(model.predict_on_batch(x[i : i + 10]) for i in range(0, 60, 10))]

    model = same(run)
    assert replays(model) == 3


def test_set_weights_and_new_data_between_fits(rng):
    (x, y), (u, v) = sample(rng), sample(rng, 40)

    def run(model):
        first = model.fit(x, y, batch_size=8, epochs=2, verbose=0).history["loss"]
        model.set_weights([w * 0.5 for w in model.get_weights()])
        return (
            first + model.fit(u, v, batch_size=8, epochs=3, verbose=0).history["loss"] + [model.predict(x, verbose=0)]
        )

    model = same(run)
    assert [key[0] for key in model._plans].count("train") == 2  # batches of 8, and of 6: 40 leaves no rest


@pytest.mark.parametrize(
    "change",
    [
        lambda m: setattr(m.optimizer, "learning_rate", 0.05),
        lambda m: setattr(m.optimizer, "weight_decay", 0.1),
        lambda m: setattr(m.layers[0], "trainable", False),
        lambda m: setattr(m.layers[1], "rate", 0.8),
        lambda m: m.layers[0].kernel.assign(m.layers[0].kernel * 0.5),
        lambda m: np.random.seed(4),
        lambda m: nnfast.utils.set_random_seed(8),
        lambda m: m.predict(np.ones((3, 8), "float32"), verbose=0),
        lambda m: m.evaluate(np.ones((3, 8), "float32"), np.zeros(3, int), verbose=0),
    ],
    ids=["rate", "decay", "frozen", "dropout", "weights", "numpy", "seed", "predict", "evaluate"],
)
@pytest.mark.parametrize("when", ["on_epoch_end", "on_train_batch_end"])
def test_callbacks_change_things(change, when, rng):
    x, y = sample(rng)

    def run(model):
        seen = []

        def hook(at, logs):
            seen.append(logs["loss"])
            if at == 2:
                change(model)

        callback = nnfast.callbacks.LambdaCallback()
        setattr(callback, when, hook)
        model.fit(x, y, batch_size=8, epochs=5, verbose=0, callbacks=[callback])
        return seen

    same(run)


@pytest.mark.parametrize(
    "change",
    [
        lambda kernel: setattr(kernel.regularizer, "l2", 0.5),
        lambda kernel: setattr(kernel, "regularizer", nnfast.regularizers.L1(0.1)),
        lambda kernel: setattr(kernel, "regularizer", None),
        lambda kernel: setattr(kernel.constraint, "max_value", 0.1),
        lambda kernel: setattr(kernel, "constraint", nnfast.constraints.NonNeg()),
    ],
)
def test_what_weights_cost_and_must_fulfil_changes(change, rng):
    x, y = sample(rng)

    def run(model):
        kernel = model.layers[0].kernel
        kernel.regularizer, kernel.constraint = nnfast.regularizers.L2(0.01), nnfast.constraints.MaxNorm(2.0)
        first = model.fit(x, y, batch_size=8, epochs=2, verbose=0).history["loss"]
        change(kernel)
        return first + model.fit(x, y, batch_size=8, epochs=2, verbose=0).history["loss"]

    same(run)


def test_an_unseeded_generator_follows_numpy(rng):
    x, y = sample(rng)

    def run(model):
        nnfast.ops.random.default_generator.seed(None)
        np.random.seed(10)
        callback = nnfast.callbacks.LambdaCallback(on_train_batch_end=lambda i, logs: i == 5 and np.random.seed(11))
        return model.fit(x, y, batch_size=8, epochs=3, verbose=0, callbacks=[callback]).history["loss"]

    same(run)


def test_a_learning_rate_that_is_a_function_is_asked_before_each_step(rng):
    x, y = sample(rng)
    asked = []

    def rate():
        asked.append(1)
        return 0.01 / len(asked)

    def run(model):
        asked.clear()
        model.compile(nnfast.optimizers.SGD(rate), "sparse_categorical_crossentropy", run_eagerly=model.run_eagerly)
        return [*model.fit(x, y, batch_size=8, epochs=3, verbose=0).history["loss"], len(asked)]

    same(run)


def test_a_bar_of_ones_own_sees_each_batch(rng):
    x, y = sample(rng)
    seen = []

    class Bar(nnfast.callbacks.ProgbarLogger):
        def on_train_batch_end(self, batch, logs=None):
            seen.append(batch)

    compiled().fit(x, y, batch_size=8, epochs=3, verbose=0, callbacks=[Bar()])
    assert seen == list(range(9)) * 3


# ---- bad data ----


@pytest.mark.parametrize("at", [0, 9, 37, 69])
def test_a_bad_label_in_the_middle(at, rng):
    x, y = sample(rng)
    bad = y.copy()
    bad[at] = 5

    def run(model):
        model.fit(x, y, batch_size=8, epochs=2, verbose=0, shuffle=False)
        with pytest.raises(ValueError) as caught:
            model.fit(x, bad, batch_size=8, epochs=2, verbose=0, shuffle=False)
        assert f"row {at} of the data" in str(caught.value) and f"batch {at // 8} of epoch 1" in str(caught.value)
        text = str(caught.value)
        model.fit(x, y, batch_size=8, epochs=1, verbose=0)
        return [text]

    assert replays(same(run)) >= 2


def test_a_nan_in_the_middle_leaves_the_weights_before_that_batch(rng):
    x, y = sample(rng)
    broken = x.copy()
    broken[37] = np.nan

    def run(model):
        model.fit(x, y, batch_size=8, epochs=2, verbose=0, shuffle=False)
        with pytest.raises(ValueError, match="the input holds NaN") as caught:
            model.fit(broken, y, batch_size=8, epochs=2, verbose=0, shuffle=False)
        return [str(caught.value), *model.get_weights()]

    model = same(run)
    other = compiled()
    other.fit(x, y, batch_size=8, epochs=2, verbose=0, shuffle=False)
    other.fit(x[:32], y[:32], batch_size=8, epochs=1, verbose=0, shuffle=False)  # the batches before the bad one
    assert equal(state(model), state(other))


def test_an_overflow_names_the_layer(rng):
    x, y = sample(rng)

    def run(model):
        model.fit(x, y, batch_size=8, epochs=2, verbose=0)
        model.layers[0].kernel.assign(np.full((8, 16), 1e30, "float32"))
        model.layers[1].kernel.assign(np.full((16, 9), 1e30, "float32"))
        with pytest.raises(ValueError, match="the first layer to give NaN or Inf is 'wide'") as caught:
            model.fit(x, y, batch_size=8, epochs=2, verbose=0)
        return [str(caught.value)]

    def make():
        stack = [layers.Dense(16, input_shape=(8,), name="first"), layers.Dense(9, name="wide")]
        return nnfast.Sequential([*stack, layers.Dense(5, "softmax")])

    same(run, make=make)


def test_a_number_that_an_embedding_does_not_have(rng):
    x, y = rng.integers(0, 6, (70, 4)), rng.integers(0, 5, 70)
    bad = x.copy()
    bad[37, 2] = 6

    def make():
        stack = [layers.Embedding(6, 3, input_shape=(4,), name="words"), layers.Flatten()]
        return nnfast.Sequential([*stack, layers.Dense(5, "softmax")])

    def run(model):
        model.fit(x, y, batch_size=8, epochs=2, verbose=0)
        model.predict(x, batch_size=8, verbose=0)
        texts = []
        for action in (
            lambda: model.fit(bad, y, batch_size=8, epochs=2, verbose=0, shuffle=False),
            lambda: model.evaluate(bad, y, batch_size=8, verbose=0),
            lambda: model.predict(bad, batch_size=8, verbose=0),
        ):
            with pytest.raises(IndexError, match=r"\[words\] Embedding has numbers from 0 to 5. Received: 6") as caught:
                action()
            texts.append(str(caught.value))
        return texts

    same(run, make=make)


# ---- what cannot be captured ----


class Doubled(layers.Layer):
    def call(self, x):
        return x * 2.0


class Peeking(layers.Layer):
    def call(self, x):
        return x * float(ops.max(x))


def test_code_of_users_stays_eager_unless_it_is_to_be_captured(rng):
    x, y = sample(rng)

    def make():
        return nnfast.Sequential([layers.Dense(8, input_shape=(8,)), Doubled(), layers.Dense(5, "softmax")])

    model = compiled(make=make)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.fit(x, y, batch_size=8, epochs=3, verbose=0)
    assert not model._plans
    options = {"make": make, "jit_compile": True}
    assert replays(same(lambda m: m.fit(x, y, batch_size=8, epochs=3, verbose=0).history["loss"], **options)) == 2


def test_a_step_that_reads_values_cannot_be_compiled_and_names_the_line(rng):
    x, y = sample(rng)
    model = compiled(
        make=lambda: nnfast.Sequential([layers.Dense(8, input_shape=(8,)), Peeking(), layers.Dense(5, "softmax")]),
        jit_compile=True,
    )
    with pytest.raises(graph.CaptureError, match=r"jit_compile=True.*item\(\) reads a value.*test_replay.py, line"):
        model.fit(x, y, batch_size=8, epochs=3, verbose=0)


@pytest.mark.parametrize(
    "make, options",
    [
        (lambda: nnfast.Sequential([layers.Lambda(lambda x: x * 2), layers.Dense(5)]), {}),
        (lambda: nnfast.Sequential([layers.Dense(5, lambda x: x * x)]), {}),
        (lambda: nnfast.Sequential([layers.Dense(5, kernel_regularizer=lambda w: ops.sum(w))]), {}),
        (lambda: nnfast.Sequential([layers.Dense(5)]), {"loss": lambda y, p: ops.mean(p)}),
        (lambda: nnfast.Sequential([layers.Dense(5)]), {"metrics": [lambda y, p: ops.mean(p)]}),
    ],
)
def test_functions_of_users_are_not_frozen(make, options, rng):
    model = make()
    model.compile(**{"loss": "mse", **options})
    x = rng.normal(size=(40, 5)).astype("float32")
    model.fit(x, x, batch_size=8, epochs=3, verbose=0)
    assert not any(key[0] == "train" for key in model._plans)


def test_what_is_kept_from_a_capture_forbids_replays():
    kept = []
    rule = "1 arrays that were made inside the capture are still in use"
    with pytest.raises(graph.CaptureError, match=rule), graph.capture():
        kept.append(ops.exp([1.0]))
    with graph.capture(strict=False) as plan:
        kept.append(ops.exp([1.0]))
    with pytest.raises(graph.CaptureError, match="cannot be replayed"):
        plan.replay()


@pytest.mark.parametrize(
    "read",
    [float, bool, np.asarray, repr, lambda t: t.numpy(), lambda t: t.tolist(), lambda t: nnfast.tensor([1, 2])[t]],
)
def test_reading_a_value_names_the_line(read):
    one = nnfast.tensor(1)
    with pytest.raises(graph.CaptureError, match=r"reads a value.*test_replay\.py, line"), graph.capture():
        read(one)


def test_captures_and_replays_do_not_nest():
    with graph.capture() as plan:
        pass
    with pytest.raises(graph.CaptureError, match="already open"), graph.capture(), graph.capture():
        pass
    with pytest.raises(RuntimeError, match="inside a capture"), graph.capture():
        plan.replay()
    assert plan.replay(3) == (3, None)


def test_a_device_that_does_not_capture():
    nnfast.set_device("reference")
    with pytest.raises(graph.CaptureError, match="'reference' does not capture"), graph.capture():
        pass


def test_an_error_inside_a_capture_closes_it():
    with pytest.raises(ZeroDivisionError), graph.capture():
        raise ZeroDivisionError
    assert graph.capturing() is None
    v = nnfast.Variable([1.0])
    with graph.capture() as plan:
        v.assign(v * 2.0)
    plan.replay(3)
    assert v.tolist() == [16.0]


# ---- the lives of plans ----


def test_eight_threads_predict_on_one_model(rng):
    model = compiled()
    data = [rng.normal(size=(24, 8)).astype("float32") for _ in range(8)]
    expected = [model.predict(d, batch_size=8, verbose=0) for d in data]
    wrong = []

    def work(i):
        for _ in range(60):
            if not np.array_equal(model.predict(data[i], batch_size=8, verbose=0), expected[i]):
                wrong.append(i)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


def test_predict_of_one_batch_in_one_call(rng):
    model = compiled()
    x = rng.normal(size=(3, 8)).astype("float32")
    first = model.predict(x, verbose=0)
    for _ in range(4):
        y = model.predict(x, verbose=0)
        assert np.array_equal(y, first) and y.flags.owndata
    assert np.array_equal(model.predict(x[::-1], verbose=0), first[::-1])
    assert model._at_once
    model.set_weights([w * 2 for w in model.get_weights()])
    assert not np.array_equal(model.predict(x, verbose=0), first)
    model.layers[0].activation = nnfast.activations.tanh  # a plan holds the old one
    changed = model.predict(x, verbose=0)
    assert np.array_equal(changed, model(x).numpy())
    with pytest.raises(ValueError, match="batch_size must be a positive integer"):
        model.predict(x, batch_size=0, verbose=0)
    assert model.predict(x, batch_size=2, verbose=0).shape == (3, 5)


def test_the_precision_is_that_of_each_call(rng):
    model = nnfast.Sequential([layers.Dense(32, input_shape=(64,))])
    x = rng.normal(size=(48, 64)).astype("float32")
    try:
        found = []
        for _ in range(4):
            for precision in ("highest", "medium"):
                nnfast.set_matmul_precision(precision)
                found.append(model.predict(x, batch_size=48, verbose=0))
                assert np.array_equal(found[-1], model(x).numpy())
    finally:
        nnfast.set_matmul_precision("highest")
    assert equal(found[:2] * 4, found)


def test_the_time_of_each_kernel(rng):
    x, y = sample(rng)
    model = compiled()
    model.fit(x, y, batch_size=8, epochs=2, verbose=0, shuffle=False)
    known = next(k for k in model._plans.values() if k.rows == 8)
    weights = model.get_weights()
    bindings = list(zip(known.slots, (np.arange(len(x)), x, y)))
    times, found = known.plan.profile(bindings, start=0)
    assert found is None and len(times) == known.plan.launches
    assert {"gemm", "take_rows", "advance"} <= {op for op, _ in times} and all(t >= 0 for _, t in times)
    assert any((a != b).any() for a, b in zip(weights, model.get_weights()))  # it is a step
    with pytest.raises(ValueError, match="not bound"):
        known.plan.profile()


def test_models_and_data_are_let_go(rng):
    x, y = sample(rng)
    model = compiled()
    model.fit(x, y, batch_size=8, epochs=3, verbose=0)
    model.predict(x, batch_size=8, verbose=0)
    assert replays(model) >= 2
    data, gone = weakref.ref(x), weakref.ref(model)
    plan = next(iter(model._plans.values())).plan
    del x, model
    gc.collect()
    assert data() is None and gone() is None
    assert plan.launches > 5
    del plan


def test_memory_is_flat_over_a_thousand_plans(rng):
    v = nnfast.Variable(rng.normal(size=(50, 50)).astype("float32"))

    def capture():
        with graph.capture() as plan:
            v.assign(ops.tanh(v @ v))
        plan.replay(2)

    for _ in range(20):
        capture()
    before = nnfast._cpu.memory()
    for _ in range(1000):
        capture()
    after = nnfast._cpu.memory()
    assert after["live"] == before["live"] and after["used"] == before["used"]
    assert after["resting"] <= before["resting"] + 65536


def test_a_model_keeps_few_plans(rng):
    model = compiled()
    for n in range(1, 40):
        for _ in range(3):
            model.predict(np.ones((n, 8), "float32"), verbose=0)
    assert len(model._plans) == 8


def test_replay_in_a_forked_child(rng):
    x, y = sample(rng)
    model = compiled()
    model.fit(x, y, batch_size=8, epochs=3, verbose=0)
    pid = os.fork()
    if pid == 0:
        try:
            model.fit(x, y, batch_size=8, epochs=2, verbose=0)
            os._exit(0 if replays(model) else 3)
        except BaseException:
            os._exit(1)
    assert os.waitpid(pid, 0)[1] == 0
