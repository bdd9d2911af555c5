"""set_device("cuda"): what Python does around the GPU's kernels, on a GPU or on its stand-in (fake_gpu.py).

The ops themselves are tested by every test with the fixture `device`.
"""

import copy
import importlib
import importlib.util
import pickle
import sys
import types

import fake_gpu
import fake_streams
import numpy as np
import pytest
from compare import assert_close
from conftest import EMULATOR, GPU
from small_models import convolutional, perceptron, recurrent

import nnfast
from nnfast import callbacks, layers, models, ops, optimizers

pytestmark = pytest.mark.skipif(not (EMULATOR or GPU), reason="neither a GPU nor the emulator")
stand_in = pytest.mark.skipif(GPU, reason="how the stand-in is prepared")


@pytest.fixture
def gpu(cuda):
    """The device "cuda", chosen."""
    nnfast.set_device("cuda")
    return cuda


def cupy():
    return sys.modules["cupy"] if not GPU else importlib.import_module("cupy")


# ---- tensors ----


def test_a_tensor_lies_on_the_gpu_and_is_read_back(gpu):
    x = nnfast.tensor([[1.0, 2.0], [3.0, 4.0]])
    assert type(x.data) is cupy().ndarray and x.dtype == "float32" and x.shape == (2, 2)
    y = x @ x + 1.0
    assert type(y.data) is cupy().ndarray
    np.testing.assert_array_equal(y.numpy(), [[8, 11], [16, 23]])
    np.testing.assert_array_equal(np.asarray(y), y.numpy())
    assert np.asarray(y, "float64").dtype == "float64" and np.array(y).shape == (2, 2)
    assert float(y[0, 0]) == 8 and int(y[0, 1]) == 11 and y[1].tolist() == [16, 23] and y[1, 1].item() == 23
    assert bool(y[0, 0] > 7) and f"{y[0, 0]:.1f}" == "8.0"
    assert repr(y) == "Tensor([[ 8., 11.],\n        [16., 23.]], dtype=float32)"
    assert [float(row.sum()) for row in y] == [19, 39]
    with pytest.raises(ValueError, match="lies on the GPU: NumPy needs a copy"):
        y.__array__(copy=False)


def test_what_comes_from_numpy_is_copied_once(gpu):
    if GPU:
        pytest.skip("counts the copies of the stand-in")
    a = np.ones((30, 20), "float32")
    x = nnfast.tensor(a)
    assert gpu.copies.count(a.nbytes) == 1
    for _ in range(3):
        x = x * 2.0 + 1.0
    assert gpu.copies.count(a.nbytes) == 1 and gpu.copies.count(4) == 2  # each number once, too
    with nnfast.GradientTape() as tape:
        w = nnfast.Variable(np.ones((20, 3), "float32"))
        y = ops.sum(ops.matmul(a, w))
    tape.gradient(y, w)
    assert gpu.copies.count(a.nbytes) == 2


def test_results_do_not_change_when_the_numpy_array_does(gpu):
    a = np.ones(3, "float32")
    x = nnfast.tensor(a)
    a[:] = 5
    assert x.tolist() == [1, 1, 1]


def test_integers_slices_and_picks(gpu):
    x = nnfast.tensor(np.arange(12).reshape(3, 4))
    assert (x + 1).tolist() == (np.arange(12).reshape(3, 4) + 1).tolist() and type((x + 1).data) is cupy().ndarray
    assert x[1:, ::2].tolist() == [[4, 6], [8, 10]] and x[[2, 0], 1].tolist() == [9, 1]
    assert x[nnfast.tensor([True, False, True])].tolist() == [[0, 1, 2, 3], [8, 9, 10, 11]]
    assert ops.where(x > 5, x, 0).numpy().sum() == sum(range(6, 12))
    assert ops.take(x, nnfast.tensor([-1]), axis=0).tolist() == [[8, 9, 10, 11]]


def test_variables_change_in_place(gpu):
    v = nnfast.Variable([1.0, 2.0], name="v")
    where = v.data.__cuda_array_interface__["data"][0]
    v.assign([3.0, 4.0])
    v.assign_add(nnfast.tensor([1.0, 1.0]))
    v.assign_sub(np.array([0.5, 0.5], "float32"))
    count = nnfast.Variable(3, trainable=False)
    count.assign_add(2)
    assert v.tolist() == [3.5, 4.5] and count.item() == 5
    assert v.data.__cuda_array_interface__["data"][0] == where
    assert "name='v'" in repr(v) and "3.5" in repr(v)


def test_gradients(gpu, rng):
    a = rng.normal(size=(4, 3)).astype("float32")
    w = nnfast.Variable(rng.normal(size=(3, 2)).astype("float32"))
    with nnfast.GradientTape() as tape:
        y = ops.mean(ops.tanh(ops.matmul(a, w)) * 3.0 + w[0])
    g = tape.gradient(y, w)
    assert type(g.data) is cupy().ndarray
    there = g.numpy()
    weights = np.array([1.0, 2.0], "float32")
    for given in (weights, nnfast.tensor(weights), cupy().asarray(weights), cupy().asarray(weights.astype("float64"))):
        w.grad = None
        ops.sum(w * w, axis=0).backward(given)
        assert_close(w.grad, 2 * w.numpy() * weights)
    nnfast.set_device("cpu")
    with nnfast.GradientTape() as tape:
        y = ops.mean(ops.tanh(ops.matmul(a, w)) * 3.0 + w[0])
    assert_close(tape.gradient(y, w), there, scale=4)


def test_what_is_not_in_order_is_read_and_moved(gpu):
    x = nnfast.tensor(np.arange(6.0).reshape(2, 3))
    v = nnfast.Variable(np.zeros((3, 2)))
    ops.sum(ops.transpose(v) * 2.0).backward()
    v.grad = x.T
    np.testing.assert_array_equal(x.T.numpy(), x.numpy().T)
    np.testing.assert_array_equal(np.asarray(x[:, ::2]), [[0, 2], [3, 5]])
    nnfast.set_device("cpu")
    assert type(v.grad.data) is np.ndarray
    np.testing.assert_array_equal(v.grad.numpy(), x.numpy().T)  # x stayed there
    np.testing.assert_array_equal(x.numpy()[1], [3, 4, 5])


def test_copies_and_pickles(gpu):
    v = nnfast.Variable([1.0, 2.0], name="v")
    for again in (copy.deepcopy(v), pickle.loads(pickle.dumps(v))):
        assert type(again.data) is cupy().ndarray and again.tolist() == [1, 2] and again.name == "v"
        v.assign(v + 1.0)
        assert again.tolist() == [1, 2]
        v.assign([1.0, 2.0])
    text = pickle.dumps(nnfast.tensor([3.0]))
    nnfast.set_device("cpu")
    assert type(pickle.loads(text).data) is np.ndarray


# ---- hand-over without a copy ----


def test_arrays_of_the_gpu_come_and_go_without_a_copy(gpu):
    address = lambda a: a.__cuda_array_interface__["data"][0]  # noqa: E731
    a = cupy().asarray(np.arange(6, dtype="float32").reshape(2, 3))
    x = nnfast.tensor(a)
    assert address(x) == address(x.data) == address(a)
    y = nnfast.from_dlpack(a)
    assert address(y) == address(a) and y.tolist() == [[0, 1, 2], [3, 4, 5]]
    back = cupy().from_dlpack(x)
    assert address(back) == address(a) and x.__dlpack_device__() == a.__dlpack_device__()
    assert address(cupy().asarray(x)) == address(a)
    np.testing.assert_array_equal(ops.add(a, 1.0).numpy(), x.numpy() + 1)  # and ops take it as it is
    np.testing.assert_array_equal((x + a).numpy(), 2 * x.numpy())
    np.testing.assert_array_equal(ops.sum(a.T, axis=1).numpy(), x.numpy().sum(0))
    assert nnfast.from_dlpack(np.ones(2)).tolist() == [1, 1]  # one of the CPU is copied


def test_any_object_that_shows_memory_of_the_gpu(gpu):
    a = cupy().asarray(np.arange(6, dtype="int32"))

    class Other:
        __cuda_array_interface__ = a.__cuda_array_interface__

    x = nnfast.tensor(Other(), "float64")
    assert x.dtype == "float64" and x.tolist() == list(range(6))
    np.testing.assert_array_equal(ops.cast(Other(), "float32").numpy(), np.arange(6))
    halves = cupy().asarray(np.ones(2, "float16"))
    with pytest.raises(TypeError, match=r"\[Tensor\] expects bool, integers, float32 or float64. Received: .*float16"):
        nnfast.tensor(halves)


def test_on_the_cpu_an_array_of_the_gpu_is_refused(gpu):
    a, x = cupy().asarray(np.ones(2, "float32")), nnfast.tensor([1.0, 2.0])
    nnfast.set_device("cpu")
    for f in (nnfast.tensor, nnfast.from_dlpack, ops.exp):
        with pytest.raises(TypeError, match=r"lies on a GPU, and the device is 'cpu'.*set_device\('cuda'\)"):
            f(a)
    with pytest.raises(TypeError, match="GPU"):
        ops.exp(x)
    assert x.tolist() == [1, 2]  # but it can be read
    assert not hasattr(nnfast.tensor([1.0]), "__cuda_array_interface__")


# ---- data that kernels find fault with ----


def test_a_bad_label_is_raised_when_values_are_read(gpu):
    for read in (float, repr, np.asarray, lambda t: t.numpy(), lambda t: t.item(), lambda t: t.tolist(), bool):
        loss = ops.softmax_xent(np.zeros((2, 3), "float32"), np.array([0, 7]))
        message = r"\[softmax_xent\] the label of sample 1 is none of the 3 classes.*Received: 7"
        with pytest.raises(ValueError, match=message):
            read(loss)
    assert float(ops.softmax_xent(np.zeros((1, 3), "float32"), np.array([2]))) > 0  # once


def test_a_bad_label_is_raised_before_the_device_changes(gpu):
    ops.softmax_xent(np.zeros((2, 3), "float32"), np.array([0, 7]))
    with pytest.raises(ValueError, match="Received: 7"):
        nnfast.set_device("cpu")
    nnfast.set_device("cpu")


def test_fit_names_the_row_of_a_bad_label_and_keeps_the_weights(gpu, rng):
    model = perceptron()
    model.compile("sgd", "sparse_categorical_crossentropy")
    x, y = rng.normal(size=(40, 20)).astype("float32"), rng.integers(0, 4, 40)
    model.fit(x[:8], y[:8], verbose=0)
    before = model.get_weights()
    y[21] = 9
    with pytest.raises(
        ValueError, match=r"\(row 21 of the data\).*is 9, but targets are class numbers from 0, below 4"
    ):
        model.fit(x, y, batch_size=40, shuffle=False, verbose=0)
    for a, b in zip(before, model.get_weights()):
        np.testing.assert_array_equal(a, b)
    x[3, 2] = np.nan
    y[21] = 1
    with pytest.raises(ValueError, match="the input holds NaN or Inf"):
        model.fit(x, y, batch_size=40, shuffle=False, verbose=0)


# ---- models ----


def attentive():
    return models.Sequential(
        [
            layers.Input((6,)),
            layers.Embedding(30, 8),
            layers.GRU(8, return_sequences=True),
            layers.GlobalAveragePooling1D(),
            layers.LayerNormalization(),
            layers.Dense(4, "softmax"),
        ]
    )


def inputs_of(model, rng, n):
    shape = model.input_shape[1:]
    x = rng.integers(1, 30, (n, *shape)) if shape == (6,) else rng.normal(size=(n, *shape)).astype("float32")
    return x, rng.integers(0, 4, n)


@pytest.mark.parametrize("make", [perceptron, convolutional, recurrent, attentive], ids=lambda f: f.__name__)
def test_a_network_trains_as_on_the_cpu(make, cuda, rng):
    """The same losses, metrics, weights and predictions, within what the order of sums can change."""
    x, y = inputs_of(make(), rng, 60)
    results = []
    for device in ("cpu", "cuda"):
        nnfast.set_device(device)
        nnfast.utils.set_random_seed(3)
        model = make()
        model.compile(optimizers.Adam(0.01), "sparse_categorical_crossentropy", metrics=["accuracy"])
        history = model.fit(x, y, batch_size=16, epochs=2, validation_data=(x[:20], y[:20]), verbose=0).history
        results.append(
            (history, model.get_weights(), model.predict(x[:10], verbose=0), model.evaluate(x, y, verbose=0))
        )
    (history, weights, predictions, scores), (their_history, their_weights, their_predictions, their_scores) = results
    assert history.keys() == their_history.keys()
    assert np.allclose(history["loss"], their_history["loss"], rtol=1e-4)
    for a, b in zip(weights, their_weights):
        assert type(b) is np.ndarray and np.allclose(a, b, rtol=1e-2, atol=2e-3)
    assert type(their_predictions) is np.ndarray and np.allclose(predictions, their_predictions, atol=2e-3)
    assert np.allclose(scores, their_scores, atol=0.05)


@pytest.mark.parametrize("there, back", [("cuda", "cpu"), ("cpu", "cuda"), ("cuda", "reference")])
def test_a_model_moves_between_devices(there, back, cuda, rng):
    """Weights and the optimizer's state go along, so the steps after the move are those without it."""
    x, y = inputs_of(recurrent(), rng, 24)
    results = []
    for second in (there, back):
        nnfast.set_device(there)
        nnfast.utils.set_random_seed(3)
        model = recurrent()
        model.compile(optimizers.Adam(0.01, use_ema=True), "sparse_categorical_crossentropy", metrics=["accuracy"])
        model.fit(x, y, batch_size=8, epochs=2, shuffle=False, verbose=0)
        nnfast.set_device(second)
        history = model.fit(x, y, batch_size=8, epochs=2, shuffle=False, verbose=0)
        results.append((history.history["loss"], model.get_weights(), model.predict(x, verbose=0)))
        assert type(model.weights[0].data) is (np.ndarray if second in ("cpu", "reference") else cupy().ndarray)
    (losses, weights, outputs), (their_losses, their_weights, their_outputs) = results
    assert np.allclose(losses, their_losses, rtol=1e-4) and np.allclose(outputs, their_outputs, atol=2e-3)
    for a, b in zip(weights, their_weights):
        assert np.allclose(a, b, rtol=1e-2, atol=2e-3)


def test_random_numbers_go_on_where_they_were(cuda):
    numbers = []
    for switch in (False, True):
        nnfast.set_device("cpu")
        nnfast.utils.set_random_seed(5)
        generator = ops.random.Generator(7)
        drawn = []
        for i in range(4):
            nnfast.set_device("cuda" if switch and i % 2 else "cpu")
            drawn += ops.random.uniform((5,)).tolist() + ops.random.uniform((5,), generator=generator).tolist()
        numbers.append(drawn)
    assert numbers[0] == numbers[1]


@pytest.mark.parametrize("name", ["model.keras", "model.h5", "model.weights.h5", "model.safetensors"])
def test_files_hold_the_same_on_every_device(name, gpu, rng, tmp_path):
    """Trained and saved on the GPU, loaded and continued on the CPU, and back."""
    x, y = inputs_of(convolutional(), rng, 16)
    model = convolutional()
    model.compile(optimizers.Adam(0.01), "sparse_categorical_crossentropy")
    model.fit(x, y, verbose=0)
    path, whole = tmp_path / name, name in ("model.keras", "model.h5")
    model.save(path) if whole else model.save_weights(path)
    there = model.predict(x, verbose=0)
    for device in ("cpu", "cuda"):
        nnfast.set_device(device)
        if whole:
            again = models.load_model(path)
            assert int(again.optimizer.iterations) == 1
        else:
            again = convolutional()
            again.load_weights(path)
        assert np.allclose(again.predict(x, verbose=0), there, atol=1e-5)
    again.set_weights(model.get_weights())
    assert all(type(w) is np.ndarray for w in again.get_weights())


def test_training_goes_on_elsewhere_from_a_file(gpu, rng, tmp_path):
    """Saved after two epochs on the GPU: the next two on the CPU are those that the GPU would have run."""
    x, y = inputs_of(convolutional(), rng, 24)
    model = convolutional()
    model.compile(optimizers.Adam(0.01), "sparse_categorical_crossentropy")
    model.fit(x, y, batch_size=8, epochs=2, shuffle=False, verbose=0)
    model.save(tmp_path / "model.keras")
    there = model.fit(x, y, batch_size=8, epochs=2, shuffle=False, verbose=0).history["loss"]
    nnfast.set_device("cpu")
    again = models.load_model(tmp_path / "model.keras")
    here = again.fit(x, y, batch_size=8, epochs=2, shuffle=False, verbose=0).history["loss"]
    assert np.allclose(here, there, rtol=1e-3)
    for a, b in zip(again.get_weights(), model.get_weights()):
        assert np.allclose(a, b, rtol=1e-2, atol=2e-3)


def test_callbacks_metrics_and_schedules(gpu, rng, capsys, tmp_path):
    x, y = inputs_of(perceptron(), rng, 48)
    model = perceptron()
    rate = optimizers.schedules.ExponentialDecay(0.01, 3, 0.5)
    model.compile(
        optimizers.SGD(rate, momentum=0.9, clipnorm=1.0, gradient_accumulation_steps=2),
        "categorical_crossentropy",
        metrics=["accuracy", "AUC", nnfast.metrics.TopKCategoricalAccuracy(2), nnfast.metrics.F1Score()],
    )
    seen = []
    history = model.fit(
        x,
        nnfast.utils.to_categorical(y, 4),
        batch_size=8,
        epochs=3,
        validation_split=0.25,
        callbacks=[
            callbacks.EarlyStopping("loss", patience=1, restore_best_weights=True),
            callbacks.ModelCheckpoint(tmp_path / "best.keras", "loss", save_best_only=True),
            callbacks.CSVLogger(tmp_path / "log.csv"),
            callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: seen.append(logs["loss"])),
        ],
    )
    assert len(seen) == 5 * len(history.epoch) and all(type(v) is float for v in seen)
    assert "accuracy" in capsys.readouterr().out and (tmp_path / "best.keras").exists()
    assert np.isfinite(history.history["val_loss"]).all()


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW", "RMSprop", "Adagrad", "Adadelta", "Adamax", "Nadam", "Ftrl"])
def test_optimizers_step_as_on_the_cpu(name, cuda):
    ends = []
    for device in ("cpu", "cuda"):
        nnfast.set_device(device)
        v, optimizer = nnfast.Variable([1.0, -2.0, 3.0]), getattr(optimizers, name)(0.1)
        for _ in range(3):
            optimizer.apply([nnfast.tensor([0.5, -0.25, 1.0])], [v])
        ends.append(v.numpy())
    assert_close(ends[1], ends[0], scale=4)


def test_a_training_loop_by_hand(gpu, rng):
    """Nothing but ops, a tape and an optimizer; a generator for predict; batches by hand."""
    model = perceptron()
    optimizer, loss = optimizers.Adam(0.05), nnfast.losses.SparseCategoricalCrossentropy()
    x, y = inputs_of(model, rng, 32)
    losses = []
    for _ in range(10):
        with nnfast.GradientTape() as tape:
            value = loss(y, model(x, training=False))
        optimizer.apply(tape.gradient(value, model.trainable_variables), model.trainable_variables)
        losses.append(float(value))
    assert losses[-1] < losses[0]
    model.compile("sgd", "sparse_categorical_crossentropy")
    assert np.isfinite(model.train_on_batch(x, y)) and model.predict_on_batch(x).shape == (32, 4)
    batches = model.predict((x[i : i + 8] for i in range(0, 32, 8)), verbose=0)
    assert_close(batches, model.predict(cupy().asarray(x), verbose=0))


@pytest.mark.parametrize("make", [perceptron, convolutional, recurrent])
def test_replayed_steps_are_the_eager_ones(make, gpu, rng):
    x, y = inputs_of(make(), rng, 42)

    def trained(eager):
        nnfast.utils.set_random_seed(3)
        model = make()
        model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"], run_eagerly=eager)
        history = model.fit(x, y, batch_size=8, epochs=2, verbose=0).history
        results = [history["loss"], history["accuracy"], model.evaluate(x, y, batch_size=8, verbose=0)]
        one = [model.predict(x[:1], verbose=0) for _ in range(3)]
        return [*results, model.predict(x, batch_size=8, verbose=0), *one, *model.get_weights()], model

    (eager, _), (replayed, model) = trained(True), trained(False)
    for a, b in zip(eager, replayed, strict=True):
        np.testing.assert_array_equal(a, b)
    assert {key[0] for key in model._plans} == {"train", "test", "predict"} and model._eager is None


def test_a_graph_follows_what_it_is_fed(gpu, rng):
    """Other arrays, batches given one by one, a changed weight: the plan stays, and sees them, at one address."""
    model = perceptron()
    model.compile("sgd", "sparse_categorical_crossentropy")
    kept, alive, addresses = model.get_weights(), [], set()
    for _ in range(3):
        for k in range(4):
            x, y = inputs_of(model, np.random.default_rng(k), 8)
            alive.append(nnfast.tensor(x))
            model.train_on_batch(alive[-1], y)
            for known in model._plans.values():
                addresses.add(tuple(a.data.ptr for a in known.places))
    there = model.get_weights()
    assert len(model._plans) == 1 and len(addresses - {()}) == 1
    eager = models.clone_model(model)
    eager.set_weights(kept)
    eager.compile("sgd", "sparse_categorical_crossentropy", run_eagerly=True)
    assert model.layers[1].rate == eager.layers[1].rate
    x, _ = inputs_of(model, rng, 8)
    before = [model.predict_on_batch(x) for _ in range(3)]
    model.set_weights([2 * w for w in there])
    after = model.predict_on_batch(x)
    eager.set_weights([2 * w for w in there])
    np.testing.assert_array_equal(after, eager.predict_on_batch(x))
    assert np.abs(after - before[-1]).max() > 1e-3


@pytest.mark.parametrize("at", [0, 9, 37, 69])
def test_a_bad_label_among_replayed_steps(at, gpu, rng):
    model = perceptron()
    model.compile("adam", "sparse_categorical_crossentropy")
    x, y = inputs_of(model, rng, 80)
    bad = y.copy()
    bad[at] = 5

    def run(eager):
        nnfast.utils.set_random_seed(3)
        model = perceptron()
        model.compile("adam", "sparse_categorical_crossentropy", run_eagerly=eager)
        model.fit(x, y, batch_size=8, epochs=1, verbose=0, shuffle=False)
        with pytest.raises(ValueError) as caught:
            model.fit(x, bad, batch_size=8, epochs=2, verbose=0, shuffle=False)
        assert f"row {at} of the data" in str(caught.value) and f"batch {at // 8} of epoch 1" in str(caught.value)
        left = model.get_weights()
        model.fit(x, y, batch_size=8, epochs=1, verbose=0)
        return [*left, *model.get_weights()]

    for a, b in zip(run(True), run(False), strict=True):
        np.testing.assert_array_equal(a, b)


def test_capture_and_replay_by_hand(gpu):
    v, w = nnfast.Variable([1.0, 2.0]), nnfast.Variable([1.0])
    with nnfast.graph.capture() as plan:
        v.assign(v * 3.0)
    assert plan.replay(2) == (2, None) and v.tolist() == [27, 54]
    assert plan.launches >= 2 and plan.bytes >= 8
    assert [op for op, _ in plan.profile()[0]] and v.tolist() == [81, 162]
    with nnfast.GradientTape() as tape:
        y = v * v
        plan.replay()
    with pytest.raises(RuntimeError, match="changed"):
        tape.gradient(y, v)
    kept = []
    with pytest.raises(nnfast.graph.CaptureError, match="still in use"), nnfast.graph.capture():
        kept.append(ops.exp(w))
    with pytest.raises(nnfast.graph.CaptureError, match="reads a value"), nnfast.graph.capture():
        float(w.sum())


def test_rates_and_random_numbers_go_on_in_replays(gpu, rng):
    """A schedule gives each step its own rate, and dropout each step its own mask."""
    x, y = inputs_of(perceptron(), rng, 80)

    def trained(eager):
        nnfast.utils.set_random_seed(3)
        model = perceptron()
        rate = optimizers.schedules.ExponentialDecay(0.1, 3, 0.5)
        model.compile(optimizers.SGD(rate, momentum=0.9), "sparse_categorical_crossentropy", run_eagerly=eager)
        model.fit(x, y, batch_size=8, epochs=3, verbose=0)
        return model.get_weights()

    for a, b in zip(trained(True), trained(False), strict=True):
        np.testing.assert_array_equal(a, b)


def test_plans_of_the_cpu_know_that_the_weights_have_moved(cuda, rng):
    """A plan writes to memory; after a round trip to the GPU the weights lie elsewhere."""
    nnfast.set_device("cpu")
    model = recurrent()
    model.compile("sgd", "sparse_categorical_crossentropy")
    x, y = inputs_of(model, rng, 40)
    model.fit(x, y, batch_size=8, verbose=0)
    model.predict(x, verbose=0)
    model.predict(x, verbose=0)
    nnfast.set_device("cuda")
    model.fit(x, y, batch_size=8, epochs=2, verbose=0)
    there = model.predict(x, verbose=0)
    nnfast.set_device("cpu")
    for _ in range(3):
        assert np.allclose(model.predict(x, verbose=0), there, atol=1e-5)
    before = model.get_weights()
    model.fit(x, y, batch_size=8, epochs=2, verbose=0)
    assert not np.array_equal(before[0], model.get_weights()[0])


# ---- what can be missing ----


def test_a_build_without_cuda(monkeypatch):
    monkeypatch.setitem(nnfast.device._modules, "cuda", "nnfast._cuda_that_is_not_built")
    with pytest.raises(ValueError, match=r"no 'cuda'.*NNFAST_CUDA=ON pip install \..*'cuda-emulator'"):
        nnfast.set_device("cuda")
    assert nnfast.get_device() == "cpu"


@pytest.mark.parametrize("name", ["cuda:1", "cuda:x", "cuda:"])
def test_a_number_of_a_gpu(name):
    with pytest.raises(ValueError, match=r"\[set_device\] 'cuda' is the first GPU.*CUDA_VISIBLE_DEVICES"):
        nnfast.set_device(name)


@stand_in
def test_no_driver(monkeypatch, cuda):
    def ready():
        raise RuntimeError("[cuda] there is no NVIDIA driver on this machine")

    monkeypatch.setattr(sys.modules["nnfast._cuda"], "ready", ready)
    with pytest.raises(RuntimeError, match="no NVIDIA driver"):
        nnfast.set_device("cuda")
    assert nnfast.get_device() == "cpu" and nnfast.tensor([1.0]).tolist() == [1]


def test_no_cupy(cuda, monkeypatch):
    if not GPU and not hasattr(sys.modules["nnfast._cuda"], "__file__"):
        pytest.skip("built without NNFAST_CUDA_STAND_IN")
    monkeypatch.setitem(sys.modules, "cupy", None)  # importing it is an ImportError
    with pytest.raises(
        ImportError, match=r"arrays of the GPU are CuPy's, and CuPy cannot be imported.*nnfast\[cuda13\]"
    ):
        nnfast.set_device("cuda")
    assert nnfast.get_device() == "cpu"


@stand_in
def test_a_cupy_for_another_cuda(cuda):
    cuda.made_for = 13000
    with pytest.raises(RuntimeError, match=r'made for CUDA 13, the driver knows CUDA 12.*"nnfast\[cuda12\]"'):
        nnfast.set_device("cuda")
    assert nnfast.get_device() == "cpu"


@stand_in
def test_a_cupy_that_cannot_run(cuda, monkeypatch):
    def zeros(*args):
        raise RuntimeError("cudaErrorNoKernelImageForDevice")

    monkeypatch.setattr(cuda, "zeros", zeros)
    with pytest.raises(
        RuntimeError, match=r'CuPy 13.0 cannot use the GPU: cudaErrorNo.*pip install "nnfast\[cuda13\]"'
    ):
        nnfast.set_device("cuda")


@stand_in
def test_too_little_memory(cuda):
    v = nnfast.Variable(np.ones(1 << 20, "float32"))
    cuda.room = 1 << 20
    with pytest.raises(MemoryError, match="not enough memory on the GPU"):
        nnfast.set_device("cuda")
    assert nnfast.get_device() == "cpu" and (v + 1.0).numpy().max() == 2  # as before
    cuda.room = 1 << 23
    nnfast.set_device("cuda")
    cuda.room = 100
    with pytest.raises(MemoryError, match=r"\[cuda\] there is not enough memory on the GPU. Received: an array of 800"):
        nnfast.tensor(np.ones(100))
    nnfast.set_device("cpu")
    assert v.numpy().max() == 1


@stand_in
def test_a_kernel_takes_no_array_of_the_cpu(cuda):
    with pytest.raises(TypeError, match="must be an array on the GPU"):
        sys.modules["nnfast._cuda"].exp(np.ones(2, "float32"))


def test_what_a_kernel_would_write_is_no_copy(gpu):
    """An array of NumPy is read through a copy; to write to that would be lost."""
    with pytest.raises(ValueError, match="read-only"):
        nnfast.device.kernels.copy(nnfast.tensor([1.0]).data, np.zeros(1, "float32"))
    with pytest.raises(ValueError, match="read-only"):
        nnfast.device.kernels.advance(np.array(1))


def test_unknown_devices_are_named():
    with pytest.raises(ValueError, match=r"Known: 'cpu', 'reference', 'cuda-emulator', 'cuda'. Received: 'gpu'"):
        nnfast.set_device("gpu")


def test_the_module_is_looked_for_only_when_it_is_wanted():
    assert isinstance(fake_gpu.make_cupy(), types.ModuleType)
    assert nnfast.device.arrays is np.ndarray and nnfast.device.put(np.ones(2)).__class__ is np.ndarray


# ---- the bindings of _cuda, where they were built over the emulator (-DNNFAST_CUDA_STAND_IN=ON), or on a GPU ----

bindings = pytest.mark.skipif(
    not (GPU or importlib.util.find_spec("nnfast._cuda_stand_in")), reason="built without NNFAST_CUDA_STAND_IN"
)


@bindings
def test_bindings_refuse_what_kernels_cannot_read(gpu):
    kernels = sys.modules["nnfast._cuda"]
    a = cupy().asarray(np.arange(8, dtype="float32"))

    class Shown:
        def __init__(self, **changes):
            self.__cuda_array_interface__ = {**a.__cuda_array_interface__, **changes}

    address = a.__cuda_array_interface__["data"][0]
    for shown, error, message in [
        (np.ones(2, "float32"), TypeError, r"x must be an array on the GPU.*numpy.*nnfast.tensor\(x\)"),
        (Shown(typestr="<f2"), TypeError, "x has dtype <f2"),
        (Shown(typestr=">f4"), TypeError, "x has dtype >f4"),
        (Shown(shape=(2,), strides=(6,)), ValueError, "x has a stride of 6 bytes"),
        (Shown(shape=(2,), data=(address + 2, False)), ValueError, "x does not begin at a multiple"),
        (Shown(shape=(1,) * 20, strides=None), ValueError, "x has 20 dimensions"),
    ]:
        with pytest.raises(error, match=message):
            kernels.exp(shown)
    with pytest.raises(ValueError, match="read-only"):
        kernels.copy(a, Shown(data=(address, True)))
    backwards = Shown(strides=(-4,), data=(address + 28, False))
    np.testing.assert_array_equal(cupy().asarray(kernels.neg(backwards)).get(), -np.arange(8)[::-1])


@bindings
def test_arrays_on_two_gpus(gpu):
    a = cupy().asarray(np.ones(4, "float32"))
    if GPU:
        if cupy().cuda.runtime.getDeviceCount() < 2:
            pytest.skip("there is one GPU")
        with cupy().cuda.Device(1):
            b = cupy().asarray(np.ones(4, "float32"))
    else:
        b = cupy().asarray(np.ones(4, "float32"))
        fake_streams.library().stand_in_elsewhere(b.data.ptr, b.nbytes)
    try:
        with pytest.raises(ValueError, match=r"\[add\] b lies on GPU 1, the current one is 0. Copy it, or work inside"):
            ops.add(a, b)
    finally:
        if not GPU:
            fake_streams.library().stand_in_elsewhere(0, 0)
    assert ops.add(a, a).tolist() == [2] * 4


@bindings
def test_out_of_memory_names_the_op(gpu):
    column, row = nnfast.tensor(np.ones((1 << 20, 1), "float32")), nnfast.tensor(np.ones((1, 1 << 22), "float32"))
    with pytest.raises(
        MemoryError, match=r"\[add\] there is not enough memory on the GPU. Received: a result .* bytes"
    ):
        column + row  # 16 TB
    with pytest.raises(MemoryError, match=r"\[matmul\]|\[gemm\]"):
        ops.matmul(column, row)
    assert (column + 1.0).numpy().max() == 2  # and everything goes on


@bindings
@stand_in
def test_a_launch_that_fails_names_the_op(gpu):
    x, v = nnfast.tensor(np.ones(3, "float32")), nnfast.Variable([1.0])
    fail = fake_streams.library().stand_in_fail
    for how, error, message in [(1, RuntimeError, r"\] CUDA says"), (2, MemoryError, r"\] there is not enough mem")]:
        with pytest.raises(error, match=r"\[exp" + message):
            fail(how)
            ops.exp(x)
        assert ops.exp(x * 0.0).tolist() == [1] * 3
        with nnfast.graph.capture() as plan:
            v.assign(v * 3.0)
        with pytest.raises(error, match=r"\[replay" + message):
            fail(how)
            plan.profile()


def test_what_another_stream_noted_is_left_to_it(cuda):
    """A position beyond this call's data, in a status that two calls share: nothing is read there."""
    emulator = importlib.import_module("nnfast._emulator")
    for run in (
        lambda s: emulator.take_rows(np.ones((2, 2), "float32"), np.array([0, 1]), status=s),
        lambda s: emulator.check_finite(np.ones(3, "float32"), status=s),
    ):
        status = np.array([0, 0, ~5, 0, 0])
        run(status)
        assert status.tolist() == [0, 0, ~5, 0, 0]


def test_a_full_gpu_is_told_of(cuda, monkeypatch):
    def full(module):
        raise MemoryError("[cuda] there is not enough memory on the GPU")

    monkeypatch.setattr(nnfast.device, "Gpu", full)
    assert "not ready: there is not enough memory" in nnfast.device.cuda_state()


@pytest.mark.skipif(not GPU, reason="needs a GPU")
def test_pytorch_shares_memory(gpu):
    torch = pytest.importorskip("torch")
    t = torch.arange(6, dtype=torch.float32, device="cuda").reshape(2, 3)
    for x in (nnfast.tensor(t), nnfast.from_dlpack(t)):
        assert x.data.data.ptr == t.data_ptr() and x.tolist() == t.tolist()
    back = torch.from_dlpack(nnfast.tensor(t))
    assert back.data_ptr() == t.data_ptr() and torch.equal(back, t)
    assert torch.as_tensor(nnfast.tensor(t).data, device="cuda").data_ptr() == t.data_ptr()
    assert ops.sum(t.T, axis=1).tolist() == t.sum(0).tolist()


@pytest.mark.skipif(not GPU, reason="needs a GPU")
def test_jax_shares_memory(gpu):
    jax = pytest.importorskip("jax")
    a = jax.device_put(jax.numpy.arange(6.0))
    if a.platform() == "cpu":
        pytest.skip("JAX sees no GPU")
    assert nnfast.from_dlpack(a).tolist() == list(range(6))
    assert jax.dlpack.from_dlpack(nnfast.tensor([1.0, 2.0])).tolist() == [1, 2]


@bindings
def test_nothing_that_was_found_is_lost_or_taken_for_another(gpu):
    """Several errors come one after the other; each has the classes of its own call."""
    labels = np.array([9])
    ops.softmax_xent(np.zeros((1, 3), "float32"), labels)
    ops.take_rows(np.ones((2, 2), "float32"), [0, 77])
    ops.softmax_xent(np.zeros((1, 100), "float32"), labels)
    said = []
    for _ in range(2):
        with pytest.raises((ValueError, IndexError)) as caught:
            nnfast.tensor([1.0]).numpy()
        said.append(str(caught.value))
    assert any("none of the 3 classes: labels count from 0 to 2. Received: 9" in s for s in said)
    assert any("[take_rows] index 77 at position 1" in s for s in said)
    assert nnfast.tensor([1.0]).tolist() == [1]


@bindings
def test_each_op_says_what_it_found_in_data(gpu):
    """Several ops, one copy back; what one of them has found does not hide what the next one finds."""
    ops.take_rows(np.ones((2, 2), "float32"), [0, 9])
    with pytest.raises(IndexError, match=r"\[take_rows\] index 9 at position 1"):
        ops.softmax_xent(np.zeros((1, 3), "float32"), np.array([1])).item()
    with pytest.raises(ValueError, match=r"\[softmax_xent\] the label of sample 0 is none of the 3 classes"):
        ops.softmax_xent(np.zeros((1, 3), "float32"), np.array([5])).item()
    assert ops.take_rows(np.ones((2, 2), "float32"), [0, 1]).tolist() == [[1, 1], [1, 1]]
