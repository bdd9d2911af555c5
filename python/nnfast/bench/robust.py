"""Does the speed hold? Rows of `overhead`, in which nnfast is held to itself where nothing is in its way: the ratio is
the undisturbed time / nnfast's, and each has a bar.

- "step 5000": a network half of whose hidden units died, after thousands of steps, against one that has made 50. And
  with subnormal numbers all through the optimizer's state of the dead units: a kernel that kept them would be slow for
  hundreds of steps. An optimizer each.
- "beside a busy process": against the machine to itself. With one more thread than cores to run, each has its share.
- "more threads than cores": against as many as there are cores.
- "two threads or one": a small net has nothing to share out, and may not lose by it.
- memory: a note, since it is no time.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np

from nnfast import optimizers
from nnfast.bench import fit, machine
from nnfast.bench.fit import NETS, Net
from nnfast.bench.peers import Local
from nnfast.bench.timing import Bench, Row, Sample, summary

Way = tuple[Callable[[], Any], Callable[[], Any]]  # what brings a circumstance about, and a call of fit.STEPS steps

LATE = 5000
SMALL, MLP = "small 64-32-10", "mlp 784-512-10"
RULES: dict[str, Callable[[], Any]] = {
    "rmsprop": lambda: optimizers.RMSprop(1e-3),
    "adam": lambda: optimizers.Adam(1e-3),
    "momentum": lambda: optimizers.SGD(1e-2, momentum=0.9),
}


def run(bench: Bench) -> Iterator[Row]:
    for rule in RULES:
        yield from late(bench, rule)
        yield from subnormal(bench, rule)
    for name in (SMALL, MLP):
        yield from beside_a_busy_process(bench, name)
        yield from more_threads_than_cores(bench, name)
    yield from two_threads_or_one(bench)
    if bench.wanted("memory"):
        bench.notes.append(memory(bench))


def in_turns(bench: Bench, name: str, threads: int, ways: dict[str, Way], bar: float) -> Row:
    """A row of nnfast under several circumstances, A B A B."""
    bench.tell(f"{name}, {threads} thread{'s' * (threads > 1)}")
    samples: dict[str, list[Sample]] = {who: [] for who in ways}
    calls = {}
    for who, (prepare, call) in ways.items():
        prepare()
        one = Local(call)
        one.warm(0.02)
        calls[who] = max(1, round(0.05 / one.sample(1).seconds)) if not bench.quick else 1
    for _ in range(5 if bench.quick else 25):
        for who, (prepare, call) in ways.items():
            prepare()
            call()
            samples[who].append(Local(call).sample(calls[who]))
    machine.set_threads(machine.cores())
    timings = {who: summary(s, fit.STEPS) for who, s in samples.items()}
    return Row(name, threads, len(samples["nnfast"]), 0, timings, bar=bar)


def trained(net: Net, rule: str) -> tuple[Any, Callable[[], Any]]:
    """A network, and a call that trains it for fit.STEPS steps."""
    x, y, start = fit.data(net)
    made = fit.started(net, start)
    made.compile(RULES[rule](), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return made, lambda: made.fit(x, y, batch_size=net.batch, shuffle=False, verbose=0)


def kill(model: Any) -> None:
    """Half of the hidden units never give anything but 0 again."""
    bias = model.layers[0].bias
    bias.assign(np.where(np.arange(bias.size) % 2, -1e3, bias.numpy()))


def late(bench: Bench, rule: str) -> Iterator[Row]:
    count = 500 if bench.quick else LATE
    name = f"step {count}, {MLP}, {rule}, dead units"
    for threads in bench.threads if bench.wanted(name) else ():
        machine.set_threads(threads)
        (old, train_old), (_, train_young) = (trained(NETS[MLP], rule) for _ in range(2))
        train_old()
        kill(old)
        for _ in range(count // fit.STEPS):
            train_old()
        young = [train_young]
        ways: dict[str, Way] = {
            "nnfast": (_nothing, train_old),
            "at step 50": (partial(_renew, young, rule), partial(_first, young)),
        }
        yield in_turns(bench, name, threads, ways, 1 / 1.05)


def _nothing() -> None: ...


def _renew(young: list[Callable[[], Any]], rule: str) -> None:
    _, young[0] = trained(NETS[MLP], rule)
    young[0]()


def _first(calls: list[Callable[[], Any]]) -> Any:
    return calls[0]()


def subnormal(bench: Bench, rule: str) -> Iterator[Row]:
    name = f"subnormal state, {MLP}, {rule}, dead units"
    for threads in bench.threads if bench.wanted(name) else ():
        machine.set_threads(threads)
        ways: dict[str, Way] = {}
        for who, value in (("nnfast", 1e-39), ("normal numbers", 1e-20)):
            model, train = trained(NETS[MLP], rule)
            train()
            kill(model)
            ways[who] = (partial(_fill, model, value), train)
        yield in_turns(bench, name, threads, ways, 1 / 1.05)


def _fill(model: Any, value: float) -> None:
    """Puts a number into the optimizer's state of the dead units' weights."""
    for v in model.optimizer.variables:
        if v.shape == model.layers[0].kernel.shape:
            v.data[:, 1::2] = value


@contextmanager
def busy_process() -> Iterator[tuple[Callable[[], None], Callable[[], None]]]:
    """A process that computes without end while it is let: how to let it, and how to stop it."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        os.kill(process.pid, signal.SIGSTOP)
        yield lambda: os.kill(process.pid, signal.SIGCONT), lambda: os.kill(process.pid, signal.SIGSTOP)
    finally:
        process.kill()
        process.wait()


def beside_a_busy_process(bench: Bench, net: str) -> Iterator[Row]:
    name, cores = f"beside a busy process, {net}", machine.cores()
    for threads in bench.threads if bench.wanted(name) and hasattr(signal, "SIGSTOP") else ():
        machine.set_threads(threads)
        _, train = trained(NETS[net], "rmsprop")
        train()
        with busy_process() as (go_on, stop):
            share = min(1.0, cores / (threads + 1))
            yield in_turns(bench, name, threads, {"nnfast": (go_on, train), "alone": (stop, train)}, 0.9 * share)


def more_threads_than_cores(bench: Bench, net: str) -> Iterator[Row]:
    for times in (2, 4):
        name, cores = f"{times} threads for each core, {net}", machine.cores()
        if not bench.wanted(name):
            continue
        _, train = trained(NETS[net], "rmsprop")
        ways: dict[str, Way] = {
            "nnfast": (partial(machine.set_threads, times * cores), train),
            "one for each core": (partial(machine.set_threads, cores), train),
        }
        yield in_turns(bench, name, times * cores, ways, 0.9)


def two_threads_or_one(bench: Bench) -> Iterator[Row]:
    name = f"two threads or one, {SMALL}"
    if machine.cores() > 1 and bench.wanted(name):
        _, train = trained(NETS[SMALL], "rmsprop")
        ways: dict[str, Way] = {
            "nnfast": (partial(machine.set_threads, 2), train),
            "one thread": (partial(machine.set_threads, 1), train),
        }
        yield in_turns(bench, name, 2, ways, 0.97)


def memory(bench: Bench) -> str:
    """What a process holds after many epochs, and after many plans."""
    epochs, plans = (100, 50) if bench.quick else (2000, 1000)
    x, y, start = fit.data(NETS[SMALL])
    model, train = trained(NETS[SMALL], "rmsprop")
    sizes = []
    for i in range(epochs + epochs // 10):
        train()
        if i == epochs // 10:
            sizes.append(resident())
    sizes.append(resident())
    for i in range(plans + plans // 10):
        model = fit.started(NETS[SMALL], start)
        model.fit(x[:128], y[:128], verbose=0)
        if i == plans // 10:
            sizes.append(resident())
    sizes.append(resident())
    grown = [(b - a) / 2**20 for a, b in zip(sizes[::2], sizes[1::2])]
    return (
        f"memory, {SMALL}: {grown[0]:+.1f} MiB in {epochs} epochs, {grown[1]:+.1f} MiB in {plans} models with a plan "
        "each (bar: 2 MiB)"
    )


def resident() -> int:
    """Bytes of memory that this process holds."""
    with open("/proc/self/statm", encoding="ascii") as f:
        return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
