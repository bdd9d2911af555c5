"""Lives of things that a process shows: fork, threads, exit, memory that stays flat."""

import gc
import os
import subprocess
import sys
import textwrap
import threading

import numpy as np
import pytest

import nnfast
from nnfast import _cpu, layers, models


def small_model():
    nnfast.utils.set_random_seed(3)
    model = models.Sequential(
        [layers.Dense(32, activation="relu", input_shape=(16,)), layers.Dense(4, activation="softmax")]
    )
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def run(code, **environment):
    """Runs code in a new interpreter; returns what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, f"exit status {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_fork_after_use(rng):
    """The child of a process that has computed with threads computes too."""
    out = run(
        """
        import os, signal, numpy as np, nnfast
        nnfast.set_num_threads(2)
        a = np.random.default_rng(0).standard_normal((400, 400)).astype("float32")
        first = nnfast.ops.matmul(a, a).numpy()
        pid = os.fork()
        if pid == 0:
            signal.alarm(60)
            same = np.array_equal(nnfast.ops.matmul(a, a).numpy(), first)
            os._exit(0 if same else 1)
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status))
        """
    )
    assert out.strip() == "0"


def test_daemon_thread_at_exit():
    """A thread that is still computing when the interpreter ends does not abort the process."""
    run(
        """
        import threading, time, numpy as np, nnfast
        a = np.ones((300, 300), "float32")
        def work():
            while True:
                nnfast.ops.matmul(a, a)
        threading.Thread(target=work, daemon=True).start()
        time.sleep(0.2)
        """
    )


def test_arrays_alive_at_exit():
    run(
        """
        import nnfast, numpy as np
        keep = nnfast.ops.exp(np.ones(1000, "float32"))
        cycle = [keep]; cycle.append(cycle)
        model = nnfast.models.Sequential([nnfast.layers.Dense(3, input_shape=(4,))])
        """
    )


def test_eight_threads_predict_on_one_model(rng):
    model = small_model()
    x = rng.standard_normal((64, 16)).astype("float32")
    expected = model.predict(x, verbose=0)
    wrong = []

    def work():
        for _ in range(20):
            if not np.array_equal(model.predict(x, verbose=0), expected):
                wrong.append(1)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


def test_eight_threads_build_one_model(rng):
    """The first call builds the layers once, whoever comes first."""
    x = rng.standard_normal((8, 16)).astype("float32")
    for _ in range(5):
        model = models.Sequential([layers.Dense(32), layers.Dense(4)])
        results = [None] * 8
        barrier = threading.Barrier(8)

        def work(i, model=model, results=results, barrier=barrier):
            barrier.wait()
            results[i] = model.predict(x, verbose=0)

        threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        assert len(model.weights) == 4
        assert all(np.array_equal(r, results[0]) for r in results)


def live_blocks():
    gc.collect()
    return _cpu.memory()["live"]


def test_forwards_that_nobody_differentiates_keep_memory_flat(rng):
    layer = layers.Dense(8, activation="relu")
    x = nnfast.tensor(rng.standard_normal((4, 8)).astype("float32"))
    layer(x)
    before = live_blocks()
    y = x
    for _ in range(10_000):
        y = layer(x)
    del y
    assert live_blocks() == before


def test_failing_calls_leak_nothing(rng):
    a = rng.standard_normal((4, 5)).astype("float32")
    before = live_blocks()
    for _ in range(2000):
        with pytest.raises(ValueError):
            nnfast.ops.matmul(a, a)
    assert live_blocks() == before


def test_training_leaks_nothing(rng):
    x, y = rng.standard_normal((64, 16)).astype("float32"), rng.integers(0, 4, 64)
    model = small_model()
    model.fit(x, y, epochs=2, verbose=0)
    before = live_blocks()
    model.fit(x, y, epochs=30, verbose=0)
    assert live_blocks() == before


def test_cache_off():
    """NNFAST_CACHE=0: each array has its own block, and training gives the same bits."""
    code = """
        import numpy as np, nnfast
        from nnfast import layers, models
        nnfast.utils.set_random_seed(3)
        m = models.Sequential([layers.Dense(8, activation="relu", input_shape=(5,)), layers.Dense(2)])
        m.compile("sgd", "mse")
        r = np.random.default_rng(1)
        m.fit(r.standard_normal((40, 5)).astype("float32"), r.standard_normal((40, 2)).astype("float32"), verbose=0)
        print([w.tobytes().hex() for w in m.get_weights()])
    """
    assert run(code, NNFAST_CACHE="0") == run(code)


def test_threads_give_the_same_bits(rng):
    """One training run, bit for bit, with one, two and five threads."""
    x, y = rng.standard_normal((600, 16)).astype("float32"), rng.integers(0, 4, 600)
    weights = []
    for threads in (1, 2, 5):
        nnfast.set_num_threads(threads)
        model = small_model()
        model.fit(x, y, epochs=2, batch_size=128, verbose=0)
        weights.append(model.get_weights())
    for other in weights[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(weights[0], other))


@pytest.mark.parametrize("name, value", [("NNFAST_ISA", "z80")])
def test_unknown_isa_is_an_error(name, value):
    done = subprocess.run(
        [sys.executable, "-c", "import nnfast; nnfast.ops.exp(1.0)"],
        capture_output=True,
        text=True,
        env={**os.environ, name: value},
    )
    assert done.returncode != 0 and "[isa]" in done.stderr and "portable" in done.stderr


def test_forced_isa_really_runs():
    for isa in _cpu.isas():
        assert run("from nnfast import _cpu; print(_cpu.isa())", NNFAST_ISA=isa).strip() == isa


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_fork_while_another_thread_holds_a_lock():
    from nnfast.layers import layer
    from nnfast.ops import random

    held, release = threading.Event(), threading.Event()

    def hold():
        with layer._build_lock, random._lock:
            held.set()
            release.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    child = os.fork()
    if child == 0:
        threading.Timer(30, os._exit, (3,)).start()  # a lock that is never given back would wait for ever
        os._exit(0 if small_model().predict(np.ones((2, 16), np.float32), verbose=0).shape == (2, 4) else 1)
    release.set()
    thread.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
