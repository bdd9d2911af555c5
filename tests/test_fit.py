"""The training loop: what fit, evaluate and predict do with data, weights, callbacks, bad batches."""

import json

import numpy as np
import pytest

import nnfast
from nnfast import callbacks, layers, losses, metrics, models, ops, optimizers
from nnfast.layers import nested


def blobs(n=240, classes=3, features=6, seed=0):
    """Points around one centre per class: easy to learn."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, classes, n)
    centres = 3 * rng.standard_normal((classes, features))
    return (centres[y] + rng.standard_normal((n, features))).astype("float32"), y


def classifier(optimizer="adam", loss="sparse_categorical_crossentropy", seed=1, **options):
    nnfast.utils.set_random_seed(seed)
    model = models.Sequential(
        [layers.Dense(16, activation="relu", input_shape=(6,)), layers.Dense(3, activation="softmax")]
    )
    model.compile(optimizer=optimizer, loss=loss, metrics=["accuracy"], **options)
    return model


def same(a, b):
    return all(np.array_equal(x, y) for x, y in zip(a, b))


def test_it_learns(device):
    x, y = blobs()
    model = classifier(optimizers.Adam(0.02))
    history = model.fit(x, y, epochs=8, batch_size=32, verbose=0)
    assert history.history["loss"][-1] < 0.3 * history.history["loss"][0]
    assert model.evaluate(x, y, verbose=0)[1] > 0.95
    assert history.epoch == list(range(8)) and sorted(history.history) == ["accuracy", "loss"]
    assert model.history is history


def test_the_device_stays_while_a_model_is_at_work():
    x, y = blobs(32)
    model = classifier()

    class Switch(callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            with pytest.raises(RuntimeError, match=r"\[set_device\] a model is at work in fit, with its data on 'cpu'"):
                nnfast.set_device("reference")

    model.fit(x, y, epochs=2, verbose=0, callbacks=[Switch()])
    with pytest.raises(ValueError):
        model.fit(x, y + 7, verbose=0)
    nnfast.set_device("reference")
    assert model.predict(x, verbose=0).shape == (32, 3)


def test_one_hot_and_class_numbers_train_alike():
    x, y = blobs()
    a, b = classifier(), classifier(loss="categorical_crossentropy")
    a.fit(x, y, epochs=2, shuffle=False, verbose=0)
    b.fit(x, nnfast.utils.to_categorical(y), epochs=2, shuffle=False, verbose=0)
    for u, v in zip(a.get_weights(), b.get_weights()):
        np.testing.assert_allclose(u, v, rtol=1e-5, atol=1e-6)


def test_a_seed_repeats_a_run_bit_for_bit():
    x, y = blobs()
    runs = []
    for _ in range(2):
        model = classifier()
        model.fit(x, y, epochs=2, verbose=0)
        runs.append(model.get_weights())
    assert same(*runs)
    other = classifier(seed=2)
    other.fit(x, y, epochs=2, verbose=0)
    assert not same(runs[0], other.get_weights())


def test_numpy_seed_is_honoured():
    nnfast.ops.random.default_generator.seed(None)  # as at the start: nobody has called set_random_seed
    runs = []
    for seed in (10, 10, 11):
        np.random.seed(seed)
        model = models.Sequential([layers.Dense(3, activation="softmax", input_shape=(6,))])
        runs.append(model.get_weights()[0])
    assert np.array_equal(runs[0], runs[1]) and not np.array_equal(runs[0], runs[2])


def test_updates_are_those_of_the_formula():
    """Two steps of SGD with momentum on least squares, against float64 NumPy."""
    rng = np.random.default_rng(3)
    x, y = rng.standard_normal((8, 3)), rng.standard_normal((8, 2))
    nnfast.config.set_floatx("float64")
    model = models.Sequential([layers.Dense(2, input_shape=(3,))])
    model.compile(optimizers.SGD(0.1, momentum=0.9), "mse")
    w, b = model.get_weights()
    mw, mb = np.zeros_like(w), np.zeros_like(b)
    for _ in range(2):
        d = 2 * (x @ w + b - y) / y.size
        mw, mb = 0.9 * mw - 0.1 * x.T @ d, 0.9 * mb - 0.1 * d.sum(0)
        w, b = w + mw, b + mb
        model.train_on_batch(x, y)
    for got, expected in zip(model.get_weights(), (w, b)):
        np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-14)


def test_batches_cover_every_sample_once():
    seen = []

    class Recorder(models.Sequential):
        def train_step(self, data):
            seen.append(np.asarray(data[0])[:, 0].tolist())
            return super().train_step(data)

    model = Recorder([layers.Dense(1, input_shape=(1,))])
    model.compile("sgd", "mse")
    x = np.arange(10, dtype="float32").reshape(-1, 1)
    model.fit(x, x, batch_size=4, epochs=2, verbose=0)
    assert [len(b) for b in seen] == [4, 4, 2] * 2
    first, second = np.concatenate(seen[:3]).tolist(), np.concatenate(seen[3:]).tolist()
    assert sorted(first) == sorted(second) == x[:, 0].tolist()
    assert first != second
    seen.clear()
    model.fit(x, x, batch_size=4, shuffle=False, verbose=0)
    assert np.concatenate(seen).tolist() == x[:, 0].tolist()


@pytest.mark.parametrize("kind", ["uint8", "float64", "int64", "float32"])
def test_inputs_of_any_type_are_cast_once(kind):
    x, y = blobs()
    x = np.abs(x * 10).astype(kind)
    model = classifier()
    model.fit(x, y, verbose=0)
    assert model.predict(x, verbose=0).dtype == np.float32


def test_history_loss_is_the_mean_over_samples():
    x, y = blobs(50)
    model = classifier(optimizers.SGD(0.0))
    logs = model.fit(x, y, batch_size=32, verbose=0).history
    assert logs["loss"][0] == pytest.approx(model.evaluate(x, y, batch_size=7, verbose=0)[0], rel=1e-5)
    assert logs["accuracy"][0] == pytest.approx(model.evaluate(x, y, verbose=0)[1])


def test_validation_split_is_the_tail():
    x, y = blobs(100)
    model = classifier(optimizers.SGD(0.0))
    logs = model.fit(x, y, validation_split=0.2, verbose=0).history
    assert logs["val_loss"][0] == pytest.approx(model.evaluate(x[80:], y[80:], verbose=0)[0], rel=1e-6)
    assert logs["loss"][0] == pytest.approx(model.evaluate(x[:80], y[:80], verbose=0)[0], rel=1e-5)


def test_validation_data_and_frequency():
    x, y = blobs()
    logs = classifier().fit(x, y, epochs=4, validation_data=(x, y), validation_freq=2, verbose=0).history
    assert len(logs["loss"]) == 4 and len(logs["val_loss"]) == 2 and len(logs["val_accuracy"]) == 2


def test_sample_weight_zero_means_absent():
    x, y = blobs(64)
    weight = np.ones(64, "float32")
    weight[32:] = 0
    a, b = classifier(optimizers.SGD(0.1)), classifier(optimizers.SGD(0.1))
    a.fit(x, y, sample_weight=weight, batch_size=64, shuffle=False, verbose=0)
    b.fit(x[:32], y[:32], sample_weight=np.full(32, 0.5, "float32"), batch_size=32, shuffle=False, verbose=0)
    for u, v in zip(a.get_weights(), b.get_weights()):
        np.testing.assert_allclose(u, v, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("one_hot", [False, True])
def test_class_weight_is_a_sample_weight(one_hot):
    x, y = blobs(64)
    loss = "categorical_crossentropy" if one_hot else "sparse_categorical_crossentropy"
    t = nnfast.utils.to_categorical(y) if one_hot else y
    a, b = classifier("sgd", loss), classifier("sgd", loss)
    table = {0: 2.0, 2: 0.25}
    a.fit(x, t, class_weight=table, shuffle=False, verbose=0)
    b.fit(x, t, sample_weight=np.array([table.get(int(c), 1.0) for c in y], "float32"), shuffle=False, verbose=0)
    assert same(a.get_weights(), b.get_weights())


def test_weighted_metrics_alone_see_the_weights():
    x, y = blobs(40)
    model = classifier(weighted_metrics=["acc"])
    weight = (y == 0).astype("float32")
    found = model.evaluate(x, y, sample_weight=weight, verbose=0, return_dict=True)
    correct = model.predict(x, verbose=0).argmax(1) == y
    assert found["accuracy"] == pytest.approx(correct.mean())
    assert found["acc"] == pytest.approx(correct[y == 0].mean())


def test_generators():
    x, y = blobs(96)

    def endless():
        while True:
            for i in range(0, 96, 32):
                yield x[i : i + 32], y[i : i + 32]

    a, b = classifier(), classifier()
    a.fit(endless(), steps_per_epoch=3, epochs=2, verbose=0)
    b.fit(x, y, batch_size=32, epochs=2, shuffle=False, verbose=0)
    assert same(a.get_weights(), b.get_weights())
    assert a.evaluate(((x[i : i + 32], y[i : i + 32]) for i in (0, 32, 64)), verbose=0) == b.evaluate(x, y, verbose=0)
    with pytest.warns(UserWarning, match="ran out"):
        a.fit(((x, y) for _ in range(3)), steps_per_epoch=2, epochs=5, verbose=0)


def test_sequence_of_batches():
    x, y = blobs(96)

    class Batches:
        ended = 0

        def __len__(self):
            return 3

        def __getitem__(self, i):
            return x[32 * i : 32 * i + 32], y[32 * i : 32 * i + 32]

        def on_epoch_end(self):
            self.ended += 1

    data = Batches()
    a, b = classifier(), classifier()
    a.fit(data, epochs=2, verbose=0)
    b.fit(x, y, batch_size=32, epochs=2, shuffle=False, verbose=0)
    assert same(a.get_weights(), b.get_weights()) and data.ended == 2


def test_predict_gives_rows_of_its_own():
    x, _ = blobs(70)
    model = classifier()
    first = model.predict(x, verbose=0)
    assert first.shape == (70, 3) and first.flags.writeable
    np.testing.assert_allclose(first.sum(1), 1, rtol=1e-5)
    kept = first.copy()
    model.fit(*blobs(), verbose=0)
    assert np.array_equal(first, kept)
    assert np.array_equal(model.predict(x, batch_size=70, verbose=0), model.predict_on_batch(x))


def test_train_on_batch_counts_on():
    x, y = blobs(32)
    model = classifier()
    model.reset_metrics()
    loss, accuracy = model.train_on_batch(x, y)
    assert model.optimizer.iterations.item() == 1
    named = model.test_on_batch(x, y, return_dict=True)
    assert set(named) == {"loss", "accuracy"} and 0 <= accuracy <= 1 and loss > 0


# ---- bad batches ----


def test_bad_label_stops_with_sample_and_value_and_clean_weights():
    x, y = blobs(96)
    y[70] = 11
    model, clean = classifier(), classifier()
    with pytest.raises(ValueError, match=r"sample 6 \(row 70 of the data\) in batch 2 of epoch 1 is 11"):
        model.fit(x, y, batch_size=32, shuffle=False, verbose=0)
    clean.fit(x[:64], y[:64], batch_size=32, shuffle=False, verbose=0)
    assert same(model.get_weights(), clean.get_weights())
    assert model.optimizer.iterations.item() == 2
    y[70] = 0
    model.fit(x, y, verbose=0)  # and it goes on


@pytest.mark.parametrize("label", [-1, 3, 2**40, -(2**63), float("nan"), 1.5])
def test_every_impossible_label(label):
    x, y = blobs(32)
    y = y.astype("float64" if isinstance(label, float) else "int64")
    y[5] = label
    model = classifier()
    before = model.get_weights()
    with pytest.raises(ValueError, match="sample 5"):
        model.fit(x, y, shuffle=False, verbose=0)
    assert same(before, model.get_weights())


def test_nan_in_the_data_names_the_input():
    x, y = blobs(96)
    x[40, 2] = np.nan
    model = classifier()
    with pytest.raises(ValueError, match=r"batch 1 of epoch 1.*the input holds NaN"):
        model.fit(x, y, shuffle=False, verbose=0)
    assert all(np.isfinite(w).all() for w in model.get_weights())


def test_overflow_names_the_layer():
    x, y = blobs(32)
    model = classifier()
    model.set_weights([np.full_like(w, 3e38) if w.ndim == 2 else w for w in model.get_weights()])
    with pytest.raises(ValueError, match="first layer to give NaN or Inf is 'dense"):
        model.fit(x, y, verbose=0)


def test_check_finite_can_be_switched_off():
    x, y = blobs(32)
    x[0] = np.nan
    model = classifier()
    model.check_finite = False
    assert np.isnan(model.fit(x, y, verbose=0).history["loss"][0])


def test_bad_data_is_an_error_before_anything_happens():
    x, y = blobs(32)
    model = classifier()
    for wrong, message in [
        (lambda: model.fit(x, y[:-1]), "one row per sample"),
        (lambda: model.fit(x, y, batch_size=0), "batch_size"),
        (lambda: model.fit(x[:0], y[:0]), "at least one sample"),
        (lambda: model.fit(x, y, validation_split=1.5), "validation_split"),
        (lambda: model.fit([x, x], y), "must be one array"),
        (lambda: model.fit(x), "needs targets"),
        (lambda: model.fit(x, y, verbose=7), "verbose"),
        (lambda: model.fit(x, y, sample_weight=np.ones(3)), "one row per sample"),
        (lambda: model.fit(x[:, :4], y, verbose=0), "dense"),
        (lambda: models.Sequential([layers.Dense(1)]).fit(x, y), "compile"),
        (lambda: model.compile(loss="mse", loss_weights=[1.0, 2.0]), "loss_weights"),
    ]:
        with pytest.raises(ValueError, match=message):
            wrong()


def test_targets_of_the_wrong_shape_say_what_to_do():
    x, y = blobs(32)
    with pytest.raises(ValueError, match="sparse_categorical_crossentropy"):
        classifier(loss="categorical_crossentropy").fit(x, y, verbose=0)
    with pytest.raises(ValueError, match="categorical_crossentropy"):
        classifier().fit(x, nnfast.utils.to_categorical(y), verbose=0)
    with pytest.raises(ValueError, match="does not broadcast"):
        classifier(loss="mse").fit(x, y, verbose=0)


def test_one_rank_is_mended():
    """y of shape (N,) against predictions (N, 1)."""
    x, y = blobs(32)
    model = models.Sequential([layers.Dense(1, input_shape=(6,))])
    model.compile("sgd", "mse")
    flat = model.evaluate(x, y.astype("float32"), verbose=0)
    assert flat == pytest.approx(model.evaluate(x, y.reshape(-1, 1).astype("float32"), verbose=0))


# ---- lives of things ----


def test_fit_set_weights_fit():
    x, y = blobs()
    model = classifier(optimizers.SGD(0.1))
    start = model.get_weights()
    model.fit(x, y, shuffle=False, verbose=0)
    once = model.get_weights()
    model.set_weights(start)
    model.fit(x, y, shuffle=False, verbose=0)
    assert same(once, model.get_weights())


def test_second_fit_on_other_arrays():
    model = classifier()
    model.fit(*blobs(100), verbose=0)
    model.fit(*blobs(33, seed=5), batch_size=10, verbose=0)
    assert model.optimizer.iterations.item() == 4 + 4


def test_callback_changes_the_learning_rate():
    x, y = blobs(32)
    model = classifier(optimizers.SGD(0.5))
    rates = []

    class Halve(callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            self.model.optimizer.learning_rate = 0.5 / 2**epoch

        def on_train_batch_end(self, batch, logs=None):
            rates.append(float(self.model.optimizer.learning_rate))

    model.fit(x, y, epochs=3, verbose=0, callbacks=[Halve()])
    assert rates == [0.5, 0.25, 0.125]
    before = model.get_weights()
    model.optimizer.learning_rate.assign(0.0)
    model.fit(x, y, verbose=0)
    assert same(before, model.get_weights())


def test_predict_inside_a_callback():
    x, y = blobs(64)
    plain, watched = classifier(), classifier()
    seen = []
    watch = callbacks.LambdaCallback(on_train_batch_end=lambda b, logs: seen.append(watched.predict(x[:2], verbose=0)))
    plain.fit(x, y, epochs=2, shuffle=False, verbose=0)
    watched.fit(x, y, epochs=2, shuffle=False, verbose=0, callbacks=[watch])
    assert same(plain.get_weights(), watched.get_weights()) and len(seen) == 4


def test_keyboard_interrupt_leaves_a_usable_model():
    x, y = blobs()

    class Stop(callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 1:
                raise KeyboardInterrupt

    model = classifier()
    with pytest.raises(KeyboardInterrupt):
        model.fit(x, y, epochs=9, verbose=0, callbacks=[callbacks.History(), Stop()])
    assert len(model.history.history["loss"]) == 2
    model.fit(x, y, verbose=0)
    assert np.isfinite(model.evaluate(x, y, verbose=0)[0])


# ---- callbacks ----


def test_hooks_are_called_in_order():
    calls = []

    class Spy(callbacks.Callback):
        def __getattribute__(self, name):
            return super().__getattribute__(name)

    for hook in [n for n in dir(callbacks.Callback) if n.startswith("on_") and "batch_" not in n] + [
        "on_train_batch_begin",
        "on_train_batch_end",
        "on_test_batch_begin",
        "on_test_batch_end",
    ]:
        setattr(Spy, hook, lambda self, *a, hook=hook, **k: calls.append(hook[3:]))
    x, y = blobs(32)
    classifier().fit(x, y, validation_data=(x, y), verbose=0, callbacks=[Spy()])
    assert calls == [
        "train_begin",
        "epoch_begin",
        "train_batch_begin",
        "train_batch_end",
        "test_begin",
        "test_batch_begin",
        "test_batch_end",
        "test_end",
        "epoch_end",
        "train_end",
    ]


def test_batch_logs_are_true_values():
    x, y = blobs(64)
    model = classifier(optimizers.SGD(0.0))
    logs = []
    model.fit(
        x,
        y,
        shuffle=False,
        verbose=0,
        callbacks=[callbacks.LambdaCallback(on_train_batch_end=lambda b, got: logs.append(dict(got)))],
    )
    assert logs[0]["loss"] == pytest.approx(model.evaluate(x[:32], y[:32], verbose=0)[0], rel=1e-5)
    assert logs[1]["loss"] == pytest.approx(model.evaluate(x, y, verbose=0)[0], rel=1e-5)


@pytest.mark.parametrize(
    "values, mode, patience, stops_after, best",
    [
        ([3, 2, 2.5, 2.6, 1], "auto", 2, 4, 2),
        ([3, 2, 1, 0.5, 0.4], "min", 0, 5, 5),
        ([0.1, 0.3, 0.2, 0.1, 0.9], "max", 1, 3, 2),
    ],
)
def test_early_stopping(values, mode, patience, stops_after, best):
    """The weights of the best epoch come back; epochs end where patience does."""
    x, y = blobs(32)
    model = classifier()
    weights = []

    class Report(callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            logs["score"] = values[epoch]
            weights.append(self.model.get_weights())

    stop = callbacks.EarlyStopping("score", patience=patience, mode=mode, restore_best_weights=True)
    history = model.fit(x, y, epochs=len(values), verbose=0, callbacks=[Report(), stop])
    assert len(history.epoch) == stops_after
    assert same(model.get_weights(), weights[best - 1])


def test_lambda_callback_refuses_unknown_hooks():
    with pytest.raises(TypeError, match="on_lunch"):
        callbacks.LambdaCallback(on_lunch=print)


@pytest.mark.parametrize("verbose, lines", [(0, 0), (1, 4), (2, 4)])
def test_progress_in_a_file_is_one_line_per_epoch(capsys, verbose, lines):
    x, y = blobs(64)
    classifier().fit(x, y, epochs=2, verbose=verbose)
    out = capsys.readouterr().out
    assert len(out.splitlines()) == lines
    if lines:
        assert "Epoch 1/2" in out and "2/2" in out and "accuracy: " in out and "loss: " in out and "\r" not in out


def test_progress_bar_without_unicode(monkeypatch):
    import io
    import sys

    raw = io.BytesIO()
    narrow = io.TextIOWrapper(raw, encoding="cp950")
    narrow.isatty = lambda: True
    monkeypatch.setattr(sys, "stdout", narrow)
    bar = nnfast.utils.Progbar(10, interval=0)
    for i in range(11):
        bar.update(i, [("loss", 0.5)])
    narrow.flush()
    text = raw.getvalue().decode("cp950")
    assert text.endswith("\n") and "10/10 ====================" in text and "loss: 0.5000" in text


# ---- custom training ----


def test_own_train_step():
    class Mine(models.Sequential):
        def train_step(self, data):
            x, y = data
            with nnfast.GradientTape() as tape:
                loss = losses.mean_squared_error(y, self(x, training=True)).mean()
            grads = tape.gradient(loss, self.trainable_variables)
            self.optimizer.apply_gradients(zip(grads, self.trainable_variables))
            return {"mine": loss}

    model = Mine([layers.Dense(1, input_shape=(2,))])
    model.compile(optimizers.SGD(0.05), "mse")
    x = np.random.default_rng(0).standard_normal((64, 2)).astype("float32")
    history = model.fit(x, x.sum(1, keepdims=True), epochs=30, verbose=0).history
    assert list(history) == ["mine"] and history["mine"][-1] < 0.1 * history["mine"][0]


def test_class_weight_of_a_sequence():
    """Batches by index weigh as those of a generator, and as arrays."""
    x, y = blobs(60)
    weights = {0: 1.0, 1: 3.0, 2: 0.5}

    class Batches(nnfast.utils.PyDataset):
        def __len__(self):
            return 3

        def __getitem__(self, i):
            return x[i * 20 : i * 20 + 20], y[i * 20 : i * 20 + 20]

    def trained(*data, **options):
        model = classifier()
        model.fit(*data, class_weight=weights, verbose=0, **options)
        return model.get_weights()

    expected = trained(x, y, batch_size=20, shuffle=False)
    assert same(trained(Batches()), expected) and same(trained(iter([Batches()[i] for i in range(3)])), expected)
    with pytest.raises(ValueError, match="class_weight needs targets"):
        trained(x)


def test_steps_are_given_what_fit_was_given():
    """As Keras packs it: x alone, (x, y), (x, y, sample_weight); a list of inputs alone is (x,)."""
    seen = []

    class Recorder(models.Model):
        def call(self, x):
            return x

        def train_step(self, data):
            seen.append(nested.map_structure(lambda t: t.shape, data))
            return {}

        test_step = train_step

        def predict_step(self, data):
            self.train_step(data)
            return super().predict_step(data)

    model = Recorder()
    model.compile("sgd")
    x, y, w = np.ones((4, 3), np.float32), np.ones((4, 1), np.float32), np.ones(4, np.float32)
    model.fit(x, verbose=0)
    model.fit(x, y, verbose=0)
    model.fit(x, y, sample_weight=w, verbose=0)
    model.fit([x, y], verbose=0)
    model.fit({"a": x}, y, verbose=0)
    model.fit(iter([(x, y)]), verbose=0)
    model.evaluate(x, y, verbose=0)
    model.predict(x, verbose=0)
    model.train_on_batch(x, y)
    model.predict_on_batch(x)
    a, b = (4, 3), (4, 1)
    pair = (a, b)
    assert seen == [a, pair, (*pair, (4,)), ([a, b],), ({"a": a}, b), pair, pair, a, pair, a]


def test_subclassed_model():
    class Net(models.Model):
        def __init__(self):
            super().__init__()
            self.hidden, self.out = layers.Dense(8, activation="tanh"), layers.Dense(3, activation="softmax")

        def call(self, x, training=False):
            return self.out(self.hidden(x))

    x, y = blobs()
    model = Net()
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    history = model.fit(x, y, epochs=3, verbose=0).history
    assert history["loss"][-1] < history["loss"][0] and len(model.trainable_variables) == 4


def test_regularizers_are_in_the_loss():
    model = models.Sequential([layers.Dense(2, input_shape=(3,), kernel_regularizer="l2")])
    model.compile(optimizers.SGD(0.1), "mse")
    x, y = np.zeros((4, 3), "float32"), np.zeros((4, 2), "float32")
    w = model.get_weights()[0]
    assert model.evaluate(x, y, verbose=0) == pytest.approx(0.01 * (w**2).sum(), rel=1e-5)
    model.fit(x, y, verbose=0)
    np.testing.assert_allclose(model.get_weights()[0], w - 0.1 * 0.02 * w, rtol=1e-5)


# ---- losses, metrics, optimizers ----


def test_losses_by_hand():
    t, p = np.array([[0.0, 1.0], [1.0, 0.0]]), np.array([[0.25, 0.75], [0.5, 0.5]])
    cases = {
        "mse": ((t - p) ** 2).mean(),
        "mae": np.abs(t - p).mean(),
        "categorical_crossentropy": -(np.log(0.75) + np.log(0.5)) / 2,
        "binary_crossentropy": -(t * np.log(p) + (1 - t) * np.log(1 - p)).mean(),
    }
    for name, expected in cases.items():
        assert losses.get(name)(t, p).item() == pytest.approx(expected, rel=1e-6), name
    assert losses.get("sparse_categorical_crossentropy")([1, 0], p).item() == pytest.approx(
        cases["categorical_crossentropy"], rel=1e-6
    )


def test_loss_reductions_and_weights():
    t, p = np.zeros((4, 2)), np.ones((4, 2)) * np.array([[1.0], [2.0], [3.0], [4.0]])
    w = np.array([1.0, 0.0, 2.0, 1.0])
    per_sample = np.array([1.0, 4.0, 9.0, 16.0])
    assert losses.MeanSquaredError("none")(t, p).numpy().tolist() == per_sample.tolist()
    assert losses.MeanSquaredError("sum")(t, p, w).item() == (w * per_sample).sum()
    assert losses.MeanSquaredError()(t, p, w).item() == (w * per_sample).sum() / 4
    assert losses.MeanSquaredError("mean_with_sample_weight")(t, p, w).item() == (w * per_sample).sum() / w.sum()


def test_cross_entropy_of_a_softmax_is_not_clipped():
    """The result of softmax remembers its logits; bare probabilities are clipped, as in Keras."""
    z = np.array([[0.0, 100.0]])
    assert losses.sparse_categorical_crossentropy([0], nnfast.ops.softmax(z)).item() == pytest.approx(100)
    assert losses.sparse_categorical_crossentropy([0], z, from_logits=True).item() == pytest.approx(100)
    clipped = losses.sparse_categorical_crossentropy([0], np.array([[0.0, 1.0]])).item()
    assert clipped == pytest.approx(-np.log(1e-7 / (1e-7 + 1 - 1e-7)), rel=1e-6)
    assert losses.binary_crossentropy([[0.0]], nnfast.ops.sigmoid(np.array([[60.0]]))).item() == pytest.approx(60)


@pytest.mark.parametrize("name", ["accuracy", "acc"])
@pytest.mark.parametrize(
    "y_true, y_pred, expected",
    [
        ([[0, 1], [1, 0]], [[0.1, 0.9], [0.2, 0.8]], 0.5),
        ([1, 0], [[0.1, 0.9], [0.2, 0.8]], 0.5),
        ([[1], [0]], [[0.1, 0.9], [0.9, 0.1]], 1.0),
        ([[1], [0], [1]], [[0.6], [0.4], [0.5]], 2 / 3),
        ([1, 0], [[0.6], [0.4]], 1.0),
    ],
)
def test_accuracy_chooses_by_shapes(name, y_true, y_pred, expected):
    metric = metrics.get(name)
    metric.update_state(np.array(y_true), np.array(y_pred))
    assert metric.result() == pytest.approx(expected) and metric.name == name


def test_metrics_are_running_means():
    metric = metrics.MeanSquaredError()
    metric.update_state([[0.0], [0.0]], [[1.0], [3.0]])
    metric.update_state([[0.0]], [[2.0]], sample_weight=[2.0])
    assert metric.result() == pytest.approx((1 + 9 + 2 * 4) / 4)
    metric.reset_state()
    assert metric.result() == 0


@pytest.mark.parametrize("g", [[-3.0, 1.0, 0.1], [0.1, 0.2, 0.3]])
def test_clipping(g):
    g = np.array(g)
    cut = {"clipvalue": np.clip(g, -0.5, 0.5), "clipnorm": g / max(1, np.linalg.norm(g) / 0.5)}
    for option, expected in cut.items():
        w = nnfast.Variable(np.zeros(3))
        optimizers.SGD(1.0, **{option: 0.5}).apply([nnfast.tensor(g)], [w])
        np.testing.assert_allclose(-w.numpy(), expected)


def test_global_clipnorm():
    a, b = nnfast.Variable(np.zeros(2)), nnfast.Variable(np.zeros(1))
    optimizers.SGD(1.0, global_clipnorm=1.0).apply(
        [nnfast.tensor(np.array([3.0, 0.0])), nnfast.tensor(np.array([4.0]))], [a, b]
    )
    np.testing.assert_allclose(a.numpy(), [-0.6, 0])
    np.testing.assert_allclose(b.numpy(), [-0.8])


def test_configs_make_equals():
    for o in (
        optimizers.SGD(0.1, 0.9, True),
        optimizers.RMSprop(0.2, centered=True),
        optimizers.Adam(0.3, amsgrad=True),
    ):
        assert type(o).from_config(o.get_config()).get_config() == o.get_config()
    for loss in (losses.BinaryCrossentropy(label_smoothing=0.1), losses.SparseCategoricalCrossentropy(ignore_class=2)):
        assert type(loss).from_config(loss.get_config()).get_config() == loss.get_config()


# ---- what a first reading found ----


def test_what_an_exception_left_behind_does_not_stop_the_next_fit():
    x, y = blobs(32)
    bad = y.copy()
    bad[5] = 77

    def broken(y_true, y_pred):
        raise ZeroDivisionError

    model = classifier()
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=[broken])
    with pytest.raises(ZeroDivisionError):
        model.fit(x, bad, verbose=0)
    model.compile("sgd", "sparse_categorical_crossentropy")
    model.fit(x, y, verbose=0)


def test_a_bad_batch_applies_no_constraint():
    model = models.Sequential([layers.Dense(3, input_shape=(6,), kernel_constraint="non_neg")])
    model.compile("sgd", losses.SparseCategoricalCrossentropy(from_logits=True))
    before = model.get_weights()
    with pytest.raises(ValueError, match="77"):
        model.fit(blobs(8)[0], np.full(8, 77), verbose=0)
    assert same(before, model.get_weights()) and (before[0] < 0).any()


def test_the_row_is_named_also_in_a_pass_over_two_epochs():
    x, y = blobs(100)
    y[65] = 9
    with pytest.raises(ValueError, match="row 65 of the data"):
        classifier().fit(x, y, shuffle=False, batch_size=10, steps_per_epoch=5, epochs=2, verbose=0)


@pytest.mark.parametrize("label", [-1, 2**40, 2**62, float("nan")])
def test_class_weight_leaves_bad_labels_to_the_loss(label):
    x, y = blobs(32)
    y = y.astype("float64" if isinstance(label, float) else "int64")
    y[5] = label
    with pytest.raises(ValueError, match="sample 5"):
        classifier().fit(x, y, class_weight={0: 2.0}, shuffle=False, verbose=0)
    with pytest.raises(ValueError, match="class numbers"):
        classifier().fit(x, y, class_weight={10**12: 2.0}, verbose=0)


def test_a_generator_that_ended_ends_the_training():
    x, y = blobs(32)
    with pytest.warns(UserWarning, match="ran out"):
        history = classifier().fit(((x, y) for _ in range(5)), epochs=3, verbose=0)
    assert history.epoch == [0]


def test_set_weights_changes_all_or_nothing():
    model = classifier()
    before = model.get_weights()
    with pytest.raises(TypeError):
        model.set_weights([before[0] + 1, np.array(["a"] * 16), *before[2:]])
    assert same(before, model.get_weights())


def test_detached_variables_and_gradients_of_gradients():
    v = nnfast.Variable([1.0, 2.0])
    kept = v.detach()
    v.assign([5.0, 6.0])
    assert kept.numpy().tolist() == [1.0, 2.0]
    w = nnfast.Variable([3.0])
    with nnfast.GradientTape() as tape:
        (w * w * w).sum().backward()
        y = (w.grad * w).sum()
    with pytest.raises(NotImplementedError):
        tape.gradient(y, w)


def test_epochs_and_frequency_are_checked():
    x, y = blobs(8)
    for options in ({"epochs": 1.5}, {"epochs": -1}, {"epochs": "3"}, {"validation_freq": 0}):
        with pytest.raises(ValueError, match=next(iter(options))):
            classifier().fit(x, y, verbose=0, **options)


def _classifier():
    model = models.Sequential([layers.Dense(3, activation="softmax", input_shape=(2,))])
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def test_bad_validation_data_is_named_so():
    x, y = np.ones((4, 2), np.float32), np.zeros(4, np.int64)
    bad = np.array([0, 0, 7, 0])
    with pytest.raises(ValueError, match=r"^\[fit\] validation_data: the target of sample 2 .* batch 0 is 7") as e:
        _classifier().fit(x, y, verbose=0, validation_data=(x, bad))
    assert "weights" not in str(e.value)
    with pytest.raises(ValueError, match=r"^\[fit\] validation_data: x and y must have one row"):
        _classifier().fit(x, y, verbose=0, validation_data=(x, bad[:2]))
    with pytest.raises(ValueError, match=r"^\[evaluate\] the target of sample 2"):
        _classifier().evaluate(x, bad, verbose=0)


def test_nan_is_never_better():
    class Saw(callbacks.Callback):
        def __init__(self, values):
            self.values = values

        def on_epoch_end(self, epoch, logs=None):
            logs["val"] = self.values[epoch]

    nan = float("nan")
    x, y = np.ones((4, 2), np.float32), np.zeros(4, np.int64)
    for values, epochs, best in (((nan, 1.0, 0.5, 0.7, 0.8), 5, 2), ((1.0, nan, nan, 0.5), 3, 0)):
        stop = callbacks.EarlyStopping("val", patience=2)
        history = _classifier().fit(x, y, epochs=len(values), verbose=0, callbacks=[Saw(values), stop])
        assert len(history.epoch) == epochs and stop.best_epoch == best and stop.best == values[best]
    stop = callbacks.EarlyStopping("val", patience=1)
    assert len(_classifier().fit(x, y, epochs=4, verbose=0, callbacks=[Saw([nan] * 4), stop]).epoch) == 2


def test_schedules_are_called_by_their_signature():
    x, y = np.ones((4, 2), np.float32), np.zeros(4, np.int64)

    def run(schedule):
        model = _classifier()
        model.fit(x, y, epochs=2, verbose=0, callbacks=callbacks.LearningRateScheduler(schedule))
        return float(model.optimizer.learning_rate)

    assert run(lambda epoch: 0.5 / (epoch + 1)) == 0.25
    assert run(lambda epoch, lr: lr / 2) == pytest.approx(0.0025)
    assert run(lambda epoch, factor=0.5: factor * 2) == pytest.approx(0.04)  # as Keras: what it can take, it gets

    def broken(epoch, lr=0.0):
        return "a" + 1

    with pytest.raises(TypeError, match=r"concatenate|unsupported"):
        run(broken)
    for wrong in (lambda: 0.1, 0.1):
        with pytest.raises(TypeError, match=r"\[LearningRateScheduler\] schedule must be"):
            callbacks.LearningRateScheduler(wrong)


def test_batch_logs_are_dicts():
    seen = []

    class First(callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            logs["mine"] = 1.5
            seen.append(json.loads(json.dumps(logs)))

    class Second(callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            assert type(logs) is dict and logs.copy() == dict(logs) == {**logs} == logs | {}
            assert logs["mine"] == 1.5 and logs.get("none") is None and set(logs) == {"accuracy", "loss", "mine"}

        def on_test_batch_end(self, batch, logs=None):
            assert type(logs) is dict and set(logs) == {"accuracy", "loss"}

    x, y = np.ones((4, 2), np.float32), np.zeros(4, np.int64)
    model = _classifier()
    history = model.fit(x, y, 2, 2, verbose=0, callbacks=[First(), Second()], validation_data=(x, y))
    assert len(seen) == 4 and seen[-1]["loss"] == history.history["loss"][-1] and "mine" not in history.history


def test_own_train_step_changes_the_logs():
    class Mine(models.Sequential):
        def train_step(self, data):
            logs = super().train_step(data)
            logs["mine"] = 2.0
            del logs["accuracy"]
            return logs.copy() if self.copied else logs

    x, y = np.ones((4, 2), np.float32), np.zeros(4, np.int64)
    for copied in (True, False):
        model = Mine([layers.Dense(3, activation="softmax", input_shape=(2,))])
        model.copied = copied
        model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
        assert set(model.fit(x, y, verbose=0).history) == {"loss", "mine"}


# ---- what a second reading found ----


def _normalised():
    nnfast.utils.set_random_seed(4)
    model = models.Sequential(
        [
            layers.Dense(8, input_shape=(4,)),
            layers.BatchNormalization(),
            layers.Dropout(0.5),
            layers.Dropout(0.5, seed=3),
            layers.Dense(1),
        ]
    )
    model.compile("adam", "mse")
    return model


def test_looking_for_the_bad_layer_changes_nothing():
    """The batch is run again in training: neither moving statistics nor streams of random numbers go on."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((16, 4)).astype("float32"), rng.standard_normal(16).astype("float32")
    y[15] = 3e38
    model, blamed = _normalised(), []
    clean = _normalised()
    clean.fit(x[:8], y[:8], batch_size=8, shuffle=False, verbose=0)
    nnfast.utils.set_random_seed(5)
    model = _normalised()
    look = model._first_non_finite

    def watched(*args):
        generators = [ops.random.default_generator, model.layers[3]._generator]
        before = [g.state for g in generators]
        blamed.append(look(*args))
        assert [g.state for g in generators] == before
        return blamed[-1]

    model._first_non_finite = watched
    with pytest.raises(ValueError, match="batch 1"):
        model.fit(x, y, batch_size=8, shuffle=False, verbose=0)
    assert len(blamed) == 1
    assert same(model.get_weights(), clean.get_weights())


def test_bad_weights_are_named():
    x, y = blobs(32)
    w = np.ones(32, "float32")
    w[7] = np.nan
    with pytest.raises(ValueError, match=r"the sample_weight of sample 7 \(row 7 of the data\) is nan"):
        classifier().fit(x, y, sample_weight=w, shuffle=False, verbose=0)
    with pytest.raises(ValueError, match=r"the weight of a class must be a finite number. Received: nan for class 1"):
        classifier().fit(x, y, class_weight={0: 1.0, 1: float("nan")}, verbose=0)


@pytest.mark.parametrize("table", [{1.5: 1.0}, {"a": 1.0}, {1: "a"}, {-1: 1.0}, {1: None}, {float("nan"): 1.0}])
def test_class_weight_is_of_numbers(table):
    x, y = blobs(8)
    with pytest.raises(ValueError, match=r"^\[fit\] the (keys of class_weight|weight of a class)"):
        classifier().fit(x, y, class_weight=table, verbose=0)


def test_class_weight_takes_the_numbers_of_numpy():
    x, y = blobs(8)
    classifier().fit(x, y, class_weight={np.int64(0): np.float32(2), np.float64(1): 1}, verbose=0)


def test_validation_split_is_a_number():
    with pytest.raises(ValueError, match=r"validation_split must be a number between 0 and 1. Received: '0.1'"):
        classifier().fit(*blobs(8), validation_split="0.1", verbose=0)


def test_rows_that_are_no_probabilities():
    x, y = blobs(8)
    rows = nnfast.utils.to_categorical(y, 3)
    rows[2] = -5
    with pytest.raises(ValueError, match=r"target of sample 2 .* holds -5, but a row of targets must be one-hot"):
        classifier(loss="categorical_crossentropy").fit(x, rows, shuffle=False, verbose=0)


def test_looking_for_the_bad_layer_moves_no_states():
    model = models.Sequential([layers.GRU(3, stateful=True, batch_input_shape=(2, 4, 1)), layers.Dense(1)])
    model.compile("sgd", "mse")
    x = np.ones((2, 4, 1), "float32")
    expected = model.layers[0](x).numpy()
    model.layers[0].reset_state()
    model.predict(x, verbose=0)
    with pytest.raises(ValueError, match="batch 0"):
        model.fit(x, np.full(2, 3e38, "float32"), verbose=0)
    assert np.array_equal(model.layers[0].states[0].numpy(), expected)


def test_probabilities_are_looked_at_once_after_the_first_step(monkeypatch):
    """A reshaped softmax has no logits. Its values are read once per compile, and the warning names the user's line."""
    read, minimum = [], ops.min
    monkeypatch.setattr(ops, "min", lambda *args: read.append(ops.current_status()) or minimum(*args))
    x, y = blobs(64)
    model = models.Sequential([layers.Dense(3, "softmax", input_shape=(6,)), layers.Reshape((3,))])
    model.compile("sgd", "sparse_categorical_crossentropy")
    model.fit(x, y, epochs=2, batch_size=8, verbose=0)
    model.fit(x, y, validation_split=0.5, verbose=0)
    assert read == [None]
    model = models.Sequential([layers.Dense(3, input_shape=(6,))])
    model.compile("sgd", "sparse_categorical_crossentropy")
    with pytest.warns(UserWarning, match="must be probabilities") as caught:
        model.fit(x, y, epochs=2, batch_size=8, verbose=0)
    assert [w.filename for w in caught] == [__file__] and read == [None, None]
    with pytest.warns(UserWarning, match="must be probabilities"):
        losses.binary_crossentropy([[1.0]], [[3.0]])


def test_a_fit_inside_a_callback_gets_its_own_history():
    x, y = blobs(8)
    model, inner = classifier(), []
    begin = callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: inner or inner.append(1) or inner.append(model.fit(x, y, epochs=1, verbose=0))
    )
    history = model.fit(x, y, epochs=3, verbose=0, callbacks=[begin])
    assert len(history.epoch) == 3 and len(inner[1].epoch) == 1
    assert model.history is history


@pytest.mark.parametrize("steps", [0, -1, 1.5, "2", None])
def test_steps_per_execution_is_checked(steps):
    with pytest.raises(ValueError, match="steps_per_execution must be a positive integer"):
        classifier(steps_per_execution=steps)


def test_a_learning_rate_is_no_text():
    with pytest.raises(TypeError, match=r"\[SGD\] learning_rate must be a number.*'0.1'"):
        optimizers.SGD("0.1")


def test_messages_name_the_method_and_the_data():
    x, y = blobs(8)
    with pytest.raises(ValueError, match=r"^\[evaluate\] the compiled loss needs targets"):
        classifier().evaluate(x, verbose=0)
    with pytest.raises(ValueError, match=r"^\[fit\] the compiled loss needs targets"):
        classifier().fit(x, verbose=0)
    with pytest.raises(ValueError, match=r"^\[fit\] validation_data: the compiled loss needs targets"):
        classifier().fit(x, y, validation_data=(x,), verbose=0)
    with pytest.raises(ValueError, match=r"(?s)dense.*This came up with validation_data\."):
        classifier().fit(x, y, validation_data=(x[:, :4], y), verbose=0)


def test_a_dict_for_one_input():
    x, y = blobs(8)
    for model in (classifier(), models.Sequential([layers.Dense(3, "softmax")])):
        model.compile("sgd", "sparse_categorical_crossentropy")
        with pytest.raises(ValueError, match=r"one input, without a name. Received: a dict with the keys \['a'\]"):
            model.fit({"a": x}, y, verbose=0)


def test_a_last_step_that_breaks_the_weights_is_an_error():
    """The loss is finite, its gradient is not, and no further batch would show it."""

    def broken(y_true, y_pred):
        return ops.mean(ops.sqrt((y_pred - y_pred) * y_true), axis=-1)

    model = models.Sequential([layers.Dense(1, input_shape=(2,))])
    model.compile("sgd", broken)
    x, y = np.ones((4, 2), "float32"), np.ones((4, 1), "float32")
    with pytest.raises(ValueError, match=r"^\[fit\] the weight '.*kernel' holds NaN or Inf after the last batch"):
        model.fit(x, y, verbose=0)
    model = models.Sequential([layers.Dense(1, input_shape=(2,))])
    model.compile("sgd", broken)
    model.check_finite = False
    model.fit(x, y, verbose=0)


def test_targets_of_a_binary_cross_entropy():
    x, y = np.ones((8, 6), "float32"), np.arange(8) % 2
    model = models.Sequential([layers.Dense(1, "sigmoid", input_shape=(6,))])
    model.compile("sgd", "binary_crossentropy")
    before = model.get_weights()
    for value, fix in ((5, "sparse_categorical"), (2, "sparse_categorical"), (-1, r"\(y \+ 1\) / 2")):
        bad = y.copy()
        bad[3] = value
        for kind in (bad, bad[:, None].astype("float32")):
            with pytest.raises(ValueError, match=rf"^\[fit\] the target of sample 3 is {value}.*{fix}"):
                model.fit(x, kind, verbose=0)
        with pytest.raises(ValueError, match=r"^\[evaluate\] the target of sample 3"):
            model.evaluate(x, bad, verbose=0)
        with pytest.raises(ValueError, match=r"^\[fit\] validation_data: the target of sample 3"):
            model.fit(x, y, validation_data=(x, bad), epochs=0, verbose=0)
    assert same(before, model.get_weights())
    for good in (y, y.astype(bool), y * 0.5):
        model.fit(x, good, verbose=0)
    model.fit(x, bad, sample_weight=(bad >= 0).astype("float32"), verbose=0)  # hidden by its weight
