"""The CUDA kernels on the CPU: a network trains on them as on the CPU, and plans replay there."""

import inspect

import numpy as np
import pytest
from compare import assert_close
from small_models import convolutional, perceptron, recurrent

import nnfast
from nnfast import _cpu, optimizers

_emulator = pytest.importorskip("nnfast._emulator", reason="built without the emulator (NNFAST_EMULATOR)")

CPU_ALONE = {"isa", "isas", "use_isa", "set_num_threads", "num_threads", "gemm_path"}
CPU_ALONE |= {"matmul_units", "use_matmul_unit"}


def test_the_same_functions():
    """Switching the device is switching the module."""
    public = lambda module: {n for n in dir(module) if not n.startswith("_")}  # noqa: E731
    assert public(_cpu) - CPU_ALONE == public(_emulator)
    for name in public(_emulator):
        mine, theirs = getattr(_emulator, name), getattr(_cpu, name)
        if callable(mine) and not inspect.isclass(mine):
            assert mine.__doc__.split("->")[0] == theirs.__doc__.split("->")[0], name


@pytest.mark.parametrize("make", [perceptron, convolutional, recurrent], ids=lambda f: f.__name__)
@pytest.mark.parametrize("eager", [False, True], ids=["replay", "eager"])
def test_a_network_trains_as_on_the_cpu(make, eager, rng):
    """The same losses, weights and predictions, within what the order of sums can change."""
    shape = make().input_shape[1:]
    x, y = rng.normal(size=(60, *shape)).astype("float32"), rng.integers(0, 4, 60)
    results = []
    for device in ("cpu", "cuda-emulator"):
        nnfast.set_device(device)
        nnfast.utils.set_random_seed(3)
        model = make()
        model.compile(optimizers.Adam(0.01), "sparse_categorical_crossentropy", metrics=["accuracy"], run_eagerly=eager)
        history = model.fit(x, y, batch_size=16, epochs=2, verbose=0)
        results.append((history.history["loss"], model.get_weights(), model.predict(x[:10], verbose=0)))
    (losses, weights, predictions), (their_losses, their_weights, their_predictions) = results
    assert np.allclose(losses, their_losses, rtol=1e-4)
    for a, b in zip(weights, their_weights):
        assert np.allclose(a, b, rtol=1e-2, atol=2e-3)
    assert np.allclose(predictions, their_predictions, atol=2e-3)


def test_a_model_moves_between_devices(rng):
    """Trained on one, used on the other: weights lie in the same arrays."""
    nnfast.set_device("cuda-emulator")
    x = rng.normal(size=(12, 20)).astype("float32")
    model = perceptron()
    model.compile("sgd", "sparse_categorical_crossentropy")
    model.fit(x, rng.integers(0, 4, 12), verbose=0)
    there = model.predict(x, verbose=0)
    nnfast.set_device("cpu")
    assert_close(model.predict(x, verbose=0), there)


def test_a_bad_label_is_named():
    nnfast.set_device("cuda-emulator")
    with pytest.raises(
        ValueError, match=r"\[softmax_xent\] the label of sample 1 is none of the 3 classes.*Received: 7"
    ):
        nnfast.ops.softmax_xent(np.zeros((2, 3), "float32"), np.array([0, 7]))


def test_random_bits_are_those_of_the_cpu():
    numbers = []
    for device in ("cpu", "cuda-emulator"):
        nnfast.set_device(device)
        nnfast.utils.set_random_seed(5)
        numbers.append([nnfast.ops.random.uniform((37,)).numpy(), nnfast.ops.random.permutation(50).numpy()])
    for a, b in zip(*numbers):
        assert np.array_equal(a, b)


def test_two_threads_take_turns(rng):
    """One grid at a time: results do not mix."""
    import threading

    nnfast.set_device("cuda-emulator")
    a = rng.integers(-3, 4, (40, 30)).astype("float32")
    right = a @ a.T
    wrong = []

    def work():
        for _ in range(5):
            if not np.array_equal(nnfast.ops.matmul(a, a.T).numpy(), right):
                wrong.append(1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong
