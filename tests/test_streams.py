"""Two streams and eight threads on a GPU, or its stand-in, whose streams keep their work in line (fake_streams.py)."""

import sys
import threading

import numpy as np
import pytest
from conftest import EMULATOR, GPU
from small_models import convolutional, perceptron, recurrent

import nnfast
from nnfast import layers, models, ops, optimizers

pytestmark = pytest.mark.skipif(not (EMULATOR or GPU), reason="neither a GPU nor the emulator")
stand_in = pytest.mark.skipif(GPU, reason="looks into the lines of the stand-in's streams")


def cupy():
    return sys.modules["cupy"]


@pytest.fixture
def streams(cuda):
    """Two, on which nothing waits for the default stream; the device "cuda"."""
    nnfast.set_device("cuda")
    made = [cupy().cuda.Stream(non_blocking=True) for _ in range(2)]
    yield made
    for stream in made:
        stream.synchronize()
        if not GPU:
            stream.close()


def after(first, then):
    """What is started on `then` from now on waits for what `first` has now."""
    event = cupy().cuda.Event()
    event.record(first)
    then.wait_event(event)


def test_results_are_right_when_events_order_them(streams, rng):
    a, b = streams
    x = rng.normal(size=(64, 48)).astype("float32")
    w = rng.normal(size=(48, 32)).astype("float32")
    with a:
        y = ops.tanh(ops.matmul(nnfast.tensor(x), w))
    after(a, b)
    with b:
        z = ops.sum(y * 2.0 + 1.0, axis=0)
        got = z.numpy()
    np.testing.assert_allclose(got, (2 * np.tanh(x @ w) + 1).sum(0), rtol=1e-4, atol=1e-4)


@stand_in
def test_each_call_is_put_on_the_current_stream(streams):
    a, b = streams
    x = nnfast.tensor(np.ones((4, 3), "float32"))
    with a:
        y = x + 1.0
        assert a.waiting > 0 and b.waiting == 0
        with b:
            z = ops.softmax(x)
            assert b.waiting > 0
    assert np.isnan(y.data._a).all() and np.isnan(z.data._a).all()  # nothing has run yet
    before = a.waiting
    ops.exp(x)  # on the default stream again
    assert a.waiting == before
    a.synchronize()
    assert (y.data._a == 2).all() and np.isnan(z.data._a).all()


@stand_in
def test_a_missing_event_is_seen(streams):
    """So the tests above could fail."""
    a, b = streams
    with a:
        y = nnfast.tensor(np.ones(5, "float32")) * 3.0
    with b:
        assert np.isnan((y + 1.0).numpy()).all()
    after(a, b)
    with b:
        assert (y + 1.0).tolist() == [4] * 5


class Foreign:
    """Another library's array, that shows memory of the GPU."""

    def __init__(self, array, **more):
        about = {k: v for k, v in array.__cuda_array_interface__.items() if k != "stream"}
        self.array, self.__cuda_array_interface__ = array, {**about, **more}


@stand_in
def test_an_array_that_names_its_stream_is_waited_for(streams):
    a, b = streams
    kernels = sys.modules["nnfast._cuda"]
    with a:
        y = (nnfast.tensor(np.ones(5, "float32")) * 3.0).data
    with b:
        for more in ({}, {"stream": None}, {"stream": b.ptr}, {"stream": 1}, {"stream": 2}):
            assert np.isnan(kernels.neg(Foreign(y, **more)).get()).all()
        assert kernels.neg(Foreign(y, stream=a.ptr)).get().tolist() == [-3] * 5
        with pytest.raises(ValueError, match=r"\[neg\] x says that its data come on stream 0"):
            kernels.neg(Foreign(y, stream=0))
    with a:
        y = (nnfast.tensor(np.ones(5, "float32")) * 4.0).data
    assert kernels.neg(Foreign(y, stream=a.ptr)).get().tolist() == [-4] * 5  # by the default stream


@stand_in
def test_memory_given_back_too_early_is_seen(streams):
    """On the stream where it was allocated that is as it should be; another one has to wait."""
    a, b = streams
    with a:
        assert ops.sum(nnfast.tensor(np.ones(8, "float32")) + 1.0).item() == 16  # what lay between is gone by now
        x = nnfast.tensor(np.ones(8, "float32"))
        a.synchronize()
    with b:
        y = x + 1.0
    del x
    a.synchronize()
    with b:
        assert np.isnan(y.numpy()).all()


@stand_in
@pytest.mark.parametrize("make", [perceptron, convolutional, recurrent], ids=lambda f: f.__name__)
def test_nothing_waits_in_a_step(make, streams, rng):
    """Forward, loss, gradients and optimizer, by hand: all in line, and nobody has waited."""
    stream = streams[0]
    with stream:
        model, optimizer = make(), optimizers.Adam(0.01)
        loss_of = nnfast.losses.SparseCategoricalCrossentropy()
        x = nnfast.tensor(rng.normal(size=(8, *model.input_shape[1:])).astype("float32"))
        y = nnfast.tensor(rng.integers(0, 4, 8))
        losses, default = [], cupy().cuda.Stream.null.syncs
        for i in range(3):
            before = stream.waiting, stream.syncs
            with nnfast.GradientTape() as tape:
                loss = loss_of(y, model(x, training=True))
            optimizer.apply(tape.gradient(loss, model.trainable_variables), model.trainable_variables)
            losses.append(loss)
            if i > 0:  # the first uploads constants, and waits for them
                assert stream.syncs == before[1] and stream.waiting > before[0]
        assert cupy().cuda.Stream.null.syncs == default
        assert float(losses[0]) > float(losses[-1]) > 0


@pytest.mark.parametrize("make", [perceptron, convolutional, recurrent], ids=lambda f: f.__name__)
def test_training_on_a_stream_is_that_on_the_default_stream(make, streams, rng):
    """fit with its replays, evaluate and predict, bit for bit."""
    x, y = rng.normal(size=(40, *make().input_shape[1:])).astype("float32"), rng.integers(0, 4, 40)
    ends = []
    for stream in (cupy().cuda.Stream.null, *streams):
        with stream:
            nnfast.utils.set_random_seed(3)
            model = make()
            model.compile(optimizers.Adam(0.01), "sparse_categorical_crossentropy", metrics=["accuracy"])
            history = model.fit(x, y, batch_size=8, epochs=3, validation_data=(x[:16], y[:16]), verbose=0).history
            ends.append([*history.values(), *model.get_weights(), model.predict(x, verbose=0)])
    for other in ends[1:]:
        for a, b in zip(ends[0], other):
            np.testing.assert_array_equal(a, b)


def test_a_model_goes_on_on_another_stream(streams, rng):
    """Each step of training on another stream, ordered by events: as if there were one."""
    x, y = rng.normal(size=(16, 20)).astype("float32"), rng.integers(0, 4, 16)

    def train(lines):
        nnfast.utils.set_random_seed(5)
        model, now = None, lines[0]
        for i in range(6):
            after(now, lines[i % len(lines)])
            now = lines[i % len(lines)]
            with now:
                if model is None:
                    model = perceptron()
                    model.compile(optimizers.RMSprop(0.01), "sparse_categorical_crossentropy")
                model.train_on_batch(x, y)
        with now:
            return model.get_weights()

    for a, b in zip(train(streams[:1]), train(streams)):
        np.testing.assert_array_equal(a, b)


@stand_in
def test_a_bad_label_is_found_on_the_stream_that_met_it(streams):
    a, b = streams
    with a:
        loss = ops.softmax_xent(np.zeros((2, 3), "float32"), np.array([0, 7]))
    with b:
        assert nnfast.tensor([1.0]).item() == 1  # nobody has waited for a yet
    with a, pytest.raises(ValueError, match=r"\[softmax_xent\] the label of sample 1 is none of the 3 classes"):
        loss.item()


def in_threads(work, count=8):
    """work(0) to work(count - 1), all at once. Their results."""
    results, errors, start = [None] * count, [], threading.Barrier(count)

    def run(i):
        try:
            start.wait()
            results[i] = work(i)
        except BaseException as e:
            errors.append(e)

    threads = [threading.Thread(target=run, args=(i,)) for i in range(count)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(300)
    assert not any(t.is_alive() for t in threads), "they wait for each other"
    if errors:
        raise errors[0]
    return results


@pytest.fixture
def gpu(cuda):
    nnfast.set_device("cuda")


def test_eight_threads_compute_at_once(gpu, rng):
    x, w = rng.normal(size=(33, 20)).astype("float32"), rng.normal(size=(20, 17)).astype("float32")
    labels = rng.integers(0, 17, 33)

    def work(_):
        results = []
        for i in range(4):
            v = nnfast.Variable(w)
            with nnfast.GradientTape() as tape:
                z = ops.dense(x, v, activation="tanh") * (i + 1.0)
                loss = ops.mean(ops.softmax_xent(z, labels))
            drawn = ops.random.uniform((5,), generator=ops.random.Generator(i))
            results += [tape.gradient(loss, v).numpy(), loss.numpy(), drawn.numpy()]
        return results

    alone = work(0)
    for results in in_threads(work):
        for a, b in zip(alone, results):
            np.testing.assert_array_equal(a, b)


def small():
    return models.Sequential([layers.Input((12,)), layers.Dense(9, "relu"), layers.Dense(4, "softmax")])


def test_eight_threads_train_models_of_their_own(gpu, rng):
    x, y = rng.normal(size=(24, 12)).astype("float32"), rng.integers(0, 4, 24)
    start = small().get_weights()

    def work(_):
        model = small()
        model.set_weights(start)
        model.compile(optimizers.SGD(0.1, momentum=0.9), "sparse_categorical_crossentropy", metrics=["accuracy"])
        history = model.fit(x, y, batch_size=8, epochs=3, shuffle=False, verbose=0).history
        return [*history.values(), *model.get_weights(), model.predict(x, verbose=0)]

    alone = work(0)
    for results in in_threads(work):
        for a, b in zip(alone, results):
            np.testing.assert_array_equal(a, b)


def test_eight_threads_share_a_model(gpu, rng):
    x = rng.normal(size=(24, 12)).astype("float32")
    model = small()
    alone = model.predict(x, verbose=0)
    for results in in_threads(lambda i: [model.predict(x, batch_size=4 + i, verbose=0) for _ in range(3)]):
        for result in results:
            np.testing.assert_allclose(result, alone, atol=1e-6)
