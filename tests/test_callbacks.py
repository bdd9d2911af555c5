"""Callbacks: what they watch, write, change and put back; the same decisions as Keras where it has them."""

import csv
import math
import struct

import numpy as np
import pytest

import nnfast
from nnfast import callbacks, layers


@pytest.fixture
def xy(rng):
    x = rng.normal(size=(64, 4)).astype("float32")
    return x, (x @ np.array([[1.0], [-2.0], [0.5], [0.0]])).astype("float32")


def compiled(optimizer="sgd", rate=0.05, build=True, **options):
    nnfast.utils.set_random_seed(3)
    first = [layers.Input((4,))] if build else []
    model = nnfast.Sequential([*first, layers.Dense(8, "tanh", name="first"), layers.Dense(1, name="last")])
    model.compile(optimizer, "mse", **options)
    model.optimizer.learning_rate = rate
    return model


class Scripted(callbacks.Callback):
    """Puts given values of a metric into the logs, as if they had been measured."""

    def __init__(self, values, key="val_loss"):
        self.values, self.key = values, key

    def on_epoch_end(self, epoch, logs=None):
        logs[self.key] = self.values[epoch]


def fit(model, xy, values, callback, **options):
    return model.fit(*xy, epochs=len(values), verbose=0, callbacks=[Scripted(values), callback], **options).history


def test_reduce_on_plateau(xy, capsys):
    model = compiled(rate=1.0)
    values = [5.0, 4.0, 4.0, 4.0, 4.0, 3.0, 3.0, 3.0, 3.0, 3.0, 3.0]
    reduce = callbacks.ReduceLROnPlateau(factor=0.1, patience=2, min_lr=0.005, verbose=1, cooldown=1)
    rates = fit(model, xy, values, reduce)["learning_rate"]
    assert rates == pytest.approx([1, 1, 1, 1, 0.1, 0.1, 0.1, 0.1, 0.01, 0.01, 0.005])
    assert "Epoch 4: ReduceLROnPlateau reducing learning rate to 0.1" in capsys.readouterr().out
    with pytest.raises(ValueError, match=r"factor must be .*factor=1"):
        callbacks.ReduceLROnPlateau(factor=1)
    with pytest.raises(TypeError, match="epsilon"):
        callbacks.ReduceLROnPlateau(epsilon=1)


def test_directions():
    for name in ("val_accuracy", "acc", "auc", "val_precision", "recall", "f1_score", "r2_score", "top_k_accuracy"):
        assert callbacks.EarlyStopping(name).sign == 1, name
    for name in ("loss", "val_loss", "mse", "val_mean_absolute_error"):
        assert callbacks.EarlyStopping(name).sign == -1, name
    assert callbacks.ReduceLROnPlateau("val_acc", mode="min").sign == -1
    with pytest.raises(ValueError, match="'most'"):
        callbacks.ModelCheckpoint("a.keras", mode="most")


def test_a_metric_that_is_not_there(xy, caplog):
    model = compiled()
    model.fit(*xy, verbose=0, callbacks=[callbacks.ReduceLROnPlateau(), callbacks.EarlyStopping()])
    assert [r.getMessage().split("]")[0] for r in caplog.records] == ["[ReduceLROnPlateau", "[EarlyStopping"]
    assert "val_loss" in caplog.text and "Known: loss" in caplog.text


def test_checkpoints_of_the_best(xy, tmp_path, capsys):
    model = compiled()
    path = tmp_path / "deep" / "best-{epoch:02d}-{val_loss:.1f}.keras"
    fit(model, xy, [3.0, 2.0, 2.5, 1.0], callbacks.ModelCheckpoint(path, save_best_only=True, verbose=1))
    assert sorted(p.name for p in (tmp_path / "deep").iterdir()) == [
        "best-01-3.0.keras",
        "best-02-2.0.keras",
        "best-04-1.0.keras",
    ]
    again = nnfast.models.load_model(tmp_path / "deep" / "best-04-1.0.keras")
    np.testing.assert_array_equal(again.predict(xy[0], verbose=0), model.predict(xy[0], verbose=0))
    out = capsys.readouterr().out
    assert "improved from 3.00000 to 2.00000" in out and "Epoch 3: val_loss did not improve from 2.00000" in out


def test_checkpoints_of_weights_by_batches(xy, tmp_path):
    model = compiled()
    path = str(tmp_path / "{epoch}-{batch}.weights.h5")
    save = callbacks.ModelCheckpoint(path, save_weights_only=True, save_freq=3)
    model.fit(*xy, batch_size=16, epochs=2, verbose=0, callbacks=[save])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["1-3.weights.h5", "2-2.weights.h5"]
    other = compiled()
    other.load_weights(tmp_path / "2-2.weights.h5")
    assert not np.array_equal(other.get_weights()[0], compiled().get_weights()[0])


def test_checkpoint_threshold_and_messages(xy, tmp_path):
    model = compiled()
    path = tmp_path / "m.keras"
    keep = callbacks.ModelCheckpoint(path, save_best_only=True, initial_value_threshold=1.0)
    fit(model, xy, [3.0, 2.0], keep)
    assert not path.exists()
    with pytest.raises(ValueError, match=r"\.weights\.h5.*'m\.keras'"):
        callbacks.ModelCheckpoint("m.keras", save_weights_only=True)
    with pytest.raises(ValueError, match=r"\.keras or \.h5.*'m'"):
        callbacks.ModelCheckpoint("m")
    with pytest.raises(ValueError, match=r"save_freq.*'batch'"):
        callbacks.ModelCheckpoint("m.keras", save_freq="batch")
    with pytest.raises(KeyError, match=r"val_acc.*Known: epoch, loss"):
        model.fit(*xy, verbose=0, callbacks=[callbacks.ModelCheckpoint(tmp_path / "{val_acc}.keras")])


def test_csv_logger(xy, tmp_path):
    path, model = tmp_path / "log.csv", compiled(metrics=["mae"])
    model.fit(*xy, epochs=2, verbose=0, validation_split=0.25, callbacks=[callbacks.CSVLogger(path)])
    more = model.fit(
        *xy, epochs=1, verbose=0, validation_split=0.25, callbacks=[callbacks.CSVLogger(path, append=True)]
    )
    rows = list(csv.DictReader(path.read_text().splitlines()))
    assert list(rows[0]) == ["epoch", "loss", "mae", "val_loss", "val_mae"]
    assert [r["epoch"] for r in rows] == ["0", "1", "0"]
    assert float(rows[2]["val_mae"]) == more.history["val_mae"][0]
    model.fit(*xy, verbose=0, callbacks=[callbacks.CSVLogger(path, separator=";")])
    assert path.read_text().splitlines()[0] == "epoch;loss;mae;val_loss;val_mae" and ";NA;NA" in path.read_text()


def test_terminate_on_nan(xy, capsys):
    x, y = xy[0].copy(), xy[1]
    x[40] = np.inf
    model = compiled()
    history = model.fit(x, y, epochs=3, batch_size=8, verbose=0, shuffle=False, callbacks=[callbacks.TerminateOnNaN()])
    assert len(history.epoch) == 1 and "Batch 5: Invalid loss, terminating training" in capsys.readouterr().out
    assert model.check_finite is True
    with pytest.raises(RuntimeError, match=r"\[TerminateOnNaN\].*batch 5"):
        compiled().fit(
            x, y, batch_size=8, verbose=0, shuffle=False, callbacks=[callbacks.TerminateOnNaN(raise_error=True)]
        )


class Interrupted(Exception):
    pass


class Interrupt(callbacks.Callback):
    def __init__(self, epoch):
        self.epoch = epoch

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.epoch:
            raise Interrupted


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_backup_and_restore(xy, tmp_path, optimizer):
    """Interrupted and started again: the same bits as without the interruption."""

    def train(*more):
        model = nnfast.Sequential([layers.Input((4,)), layers.Dense(8, "relu"), layers.Dropout(0.2), layers.Dense(1)])
        model.compile(optimizer, "mse")
        history = model.fit(*xy, epochs=5, batch_size=16, verbose=0, callbacks=[backup, *more])
        return model, history

    backup = callbacks.BackupAndRestore(tmp_path / "b", double_checkpoint=True)
    nnfast.utils.set_random_seed(9)
    whole, _ = train()
    assert not (tmp_path / "b").exists()
    nnfast.utils.set_random_seed(9)
    with pytest.raises(Interrupted):
        train(Interrupt(3))
    assert (tmp_path / "b" / "previous.weights.h5").exists()
    nnfast.utils.set_random_seed(1)  # as in a new process
    resumed, history = train()
    assert history.epoch == [3, 4] and not (tmp_path / "b").exists()
    for a, b in zip(whole.get_weights(), resumed.get_weights()):
        np.testing.assert_array_equal(a, b)
    with pytest.raises(ValueError, match="must be built"):
        compiled(build=False).fit(*xy, verbose=0, callbacks=[backup])
    with pytest.raises(ValueError, match="backup_dir"):
        callbacks.BackupAndRestore("")


def test_backup_by_batches(xy, tmp_path):
    backup = callbacks.BackupAndRestore(tmp_path, save_freq=5, delete_checkpoint=False)
    compiled().fit(*xy, epochs=2, batch_size=16, verbose=0, callbacks=[backup])
    (tmp_path / "latest.weights.h5").rename(tmp_path / "previous.weights.h5")  # an interruption while it was written
    assert compiled().fit(*xy, epochs=3, batch_size=16, verbose=0, callbacks=[backup]).epoch == [1, 2]


def events(path):
    """(step, tag, value) of an event file, decoded by hand; sums of every record are checked."""
    from nnfast.callbacks.records import _masked_crc

    def fields(data):
        at = 0
        while at < len(data):
            key, at = varint(data, at)
            if key & 7 == 0:
                value, at = varint(data, at)
            else:
                n, at = varint(data, at) if key & 7 == 2 else ({1: 8, 5: 4}[key & 7], at)
                value, at = data[at : at + n], at + n
            yield key >> 3, value

    def varint(data, at):
        n = shift = 0
        while True:
            n |= (data[at] & 127) << shift
            shift, at = shift + 7, at + 1
            if not data[at - 1] & 128:
                return n, at

    data, at, found = path.read_bytes(), 0, []
    while at < len(data):
        (length,) = struct.unpack_from("<Q", data, at)
        body = data[at + 12 : at + 12 + length]
        assert data[at + 8 : at + 12] == _masked_crc(data[at : at + 8])
        assert data[at + 12 + length : at + 16 + length] == _masked_crc(body)
        at += 16 + length
        event = dict(fields(body))
        for number, value in fields(event.get(5, b"")):
            assert number == 1
            parts = dict(fields(value))
            got = struct.unpack("<f", parts[2])[0] if 2 in parts else dict(fields(parts[5]))
            found.append((event[2], parts[1].decode(), got))
    return found


def test_tensorboard(xy, tmp_path):
    model = compiled(metrics=["mae"])
    board = callbacks.TensorBoard(tmp_path, histogram_freq=1, update_freq=2, write_steps_per_second=True)
    history = model.fit(*xy, epochs=2, batch_size=16, verbose=0, validation_split=0.25, callbacks=[board]).history
    (train,), (held,) = (list((tmp_path / part).glob("events.out.tfevents.*")) for part in ("train", "validation"))
    scalars = [(step, tag, v) for step, tag, v in events(train) if not isinstance(v, dict)]
    losses = [v for _, tag, v in scalars if tag == "epoch_loss"]
    assert losses == pytest.approx(history["loss"], rel=1e-6)
    assert [step for step, tag, _ in scalars if tag == "batch_loss"] == [2, 4, 6]
    assert {tag for _, tag, _ in scalars} >= {"epoch_mae", "epoch_learning_rate", "epoch_steps_per_second", "batch_mae"}
    assert [v for _, tag, v in events(held) if tag == "epoch_mae"] == pytest.approx(history["val_mae"], rel=1e-6)
    kernels = [v for _, tag, v in events(train) if tag == "first/kernel/histogram"]
    assert len(kernels) == 2 and np.frombuffer(kernels[1][7], "<f8").sum() == 32
    assert struct.unpack("<d", kernels[1][2])[0] == model.get_weights()[0].max()
    with pytest.raises(ValueError, match="update_freq"):
        callbacks.TensorBoard(update_freq="step")


class Rates(callbacks.Callback):
    def on_train_begin(self, logs=None):
        self.rates = []

    def on_train_batch_end(self, batch, logs=None):
        self.rates.append(float(self.model.optimizer.learning_rate))


def test_cycles(xy):
    seen = Rates()
    cycle = callbacks.CyclicalLR(0.01, 0.05, step_size=4)
    history = compiled().fit(*xy, epochs=2, batch_size=8, verbose=0, callbacks=[cycle, seen]).history
    assert seen.rates == pytest.approx([0.01, 0.02, 0.03, 0.04, 0.05, 0.04, 0.03, 0.02] * 2)
    assert history["learning_rate"] == pytest.approx([0.02, 0.02])
    halves, shrinks = (callbacks.CyclicalLR(0.0, 1.0, 2, mode, 0.5) for mode in ("triangular2", "exp_range"))
    assert [halves.rate(s) for s in (2, 6, 10)] == [1, 0.5, 0.25]
    assert [shrinks.rate(s) for s in (0, 2, 6)] == [0, 0.25, 0.5**6]
    for options in ({"base_lr": 2, "max_lr": 1}, {"step_size": 0}, {"mode": "square"}):
        with pytest.raises(ValueError, match=rf"\[CyclicalLR\].*{list(options)[-1]}"):
            callbacks.CyclicalLR(**options)


def test_one_cycle(xy):
    seen = Rates()
    compiled().fit(*xy, epochs=2, batch_size=8, verbose=0, callbacks=[callbacks.OneCycle(0.1), seen])
    assert seen.rates[0] == pytest.approx(0.1 / 25) and seen.rates[-1] == pytest.approx(0.1 / 25e4)
    assert max(seen.rates) <= 0.1 and np.argmax(seen.rates) in (3, 4)
    with pytest.raises(ValueError, match="max_lr"):
        callbacks.OneCycle(0)


@pytest.mark.peers
@pytest.mark.parametrize("start", [0.3, 0.5])
def test_one_cycle_is_that_of_pytorch(start):
    torch = pytest.importorskip("torch")
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], 0.1)
    theirs = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.7, total_steps=20, pct_start=start)
    mine = callbacks.OneCycle(0.7, 20, start)
    for step in range(20):
        assert mine.rate(step) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9)
        if step < 19:
            optimizer.step()
            theirs.step()


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_lr_finder(xy, optimizer):
    model = compiled(optimizer)
    before, state = model.get_weights(), [v.numpy() for v in model.optimizer.variables]
    finder = callbacks.LRFinder(1e-6, 100.0)
    model.fit(*xy, epochs=30, batch_size=8, verbose=0, callbacks=[finder])
    assert finder.rates[0] == pytest.approx(1e-6) and len(finder.rates) == len(finder.losses) < 240
    assert np.allclose(np.diff(np.log(finder.rates)), math.log(1e8) / 239)
    assert finder.losses[-1] > 4 * min(finder.losses)  # it exploded
    assert 1e-4 < finder.suggestion() < finder.rates[-1]
    for a, b in zip(before, model.get_weights()):
        np.testing.assert_array_equal(a, b)
    assert float(model.optimizer.learning_rate) == 0.05 and int(model.optimizer.iterations) == 0
    assert len(state) <= len(model.optimizer.variables)
    assert not any(v.numpy().any() for v in model.optimizer.variables[2:])
    assert model.check_finite
    assert math.isnan(callbacks.LRFinder().suggestion())
    with pytest.raises(ValueError, match="start_lr"):
        callbacks.LRFinder(1.0, 0.1)


def test_lr_finder_limits(xy):
    finder = callbacks.LRFinder(1e-3, 1e-2, steps=5)
    compiled(build=False).fit(*xy, epochs=3, batch_size=8, verbose=0, callbacks=[finder])
    assert finder.rates == pytest.approx(np.geomspace(1e-3, 1e-2, 5))


def test_lr_finder_losses_are_those_of_the_batches(xy):
    """Without smoothing and with a rate that changes nothing: the loss of each batch."""
    model = compiled()
    finder = callbacks.LRFinder(1e-30, 1e-29, smoothing=0.0)
    model.fit(*xy, batch_size=10, verbose=0, shuffle=False, callbacks=[finder])
    p = model.predict(xy[0], verbose=0)
    expected = [np.mean((p - xy[1])[i : i + 10] ** 2) for i in range(0, 64, 10)]
    assert finder.losses == pytest.approx(expected, rel=1e-5)


def test_gradient_norms(xy):
    """Against the tape, for the first step; every second step; the hook is gone afterwards."""
    model = compiled()
    with nnfast.GradientTape() as tape:
        loss = model.compute_loss(xy[0], xy[1], model(xy[0]))
    grads = tape.gradient(loss, model.trainable_variables)
    watch = callbacks.GradientNorms(every=2)
    model.fit(*xy, batch_size=64, epochs=5, verbose=0, callbacks=[watch])
    assert watch.steps == [0, 2, 4]
    for layer, pair in (("first", grads[:2]), ("last", grads[2:])):
        assert watch.norms[layer][0] == pytest.approx(math.sqrt(sum((g.numpy() ** 2).sum() for g in pair)), rel=1e-5)
    assert "apply" not in vars(model.optimizer)
    with pytest.raises(ValueError, match="every"):
        callbacks.GradientNorms(0)
