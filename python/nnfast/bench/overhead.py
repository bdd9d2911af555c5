"""What a step costs beyond its kernels: a training step by every way there is, and `predict` of one row. And whether
its speed holds: see `robust`.

- "step": `fit` of STEPS steps; the plan that it replays, alone, in one call for all (replay(n): C++ and nothing else)
  and in one call a step (replay(1)); the same with `train_on_batch`, and that with `run_eagerly=True`, where Python
  runs every op. Against PyTorch eager, JAX with one compiled call a step and with one for all, and Keras. What is more
  than replay(n) is Python.
- "predict of one row": against PyTorch's call and Keras's `predict`.

On a GPU a replay is a CUDA graph for each step, and PyTorch's graph is beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from nnfast.bench import fit, robust
from nnfast.bench.fit import NETS, Net
from nnfast.bench.peers import Remote, found, keras_kinds, load, on_gpu, tensor, torch_device
from nnfast.bench.timing import Bench, Contenders, Row
from nnfast.models.data import ArrayData, Pending
from nnfast.models.replay import Source

STEPS = 100
STEPPED = ("small 64-32-10", "mlp 784-512-10")


def run(bench: Bench) -> Iterator[Row]:
    large = {name: NETS[name] for name in STEPPED}
    nets = bench.pick(large, large, {"mlp 8-6-10": fit.TINY["mlp 8-6-10"]})
    count = bench.pick(STEPS, STEPS, 3)
    for name, net in nets.items():
        make = partial(steps, net, count)
        for row in bench.compare(f"step, {name}", make, rounds=9, rtol=0.05, per=count, wall=True):
            bench.notes.append(python_and_cpp(row))
            yield row
    for name, net in nets.items():
        yield from bench.compare(f"predict of one row, {name}", partial(one_row, net), wall=True)
    if not bench.gpu:
        yield from robust.run(bench)


def steps(net: Net, count: int = STEPS) -> Contenders:
    x, y, start = fit.data(net, count)
    replay = replay_of(fit.started(net, start), net, x, y)
    made: dict[str, Any] = {
        "nnfast": fit.ours(net, start, x, y),
        "nnfast replay(n)": partial(replay_all, replay, count),
        "nnfast replay(1)": partial(replay_each, replay, count, net.batch),
        "nnfast train_on_batch": step_by_step(fit.started(net, start), net, x, y),
        "nnfast eager": step_by_step(fit.started(net, start, run_eagerly=True), net, x, y),
    }
    if torch := load("torch"):
        made["torch"] = fit.torch_eager(torch, net, start, x, y)
        if torch_device() == "cuda":
            made["torch cuda graph"] = fit.torch_graph(torch, net, start, x, y)
    if found("jax"):
        made["jax jit"] = Remote("jax", fit.jax_jit, net, start, x, y)
        made["jax fori_loop"] = Remote("jax", fit.jax_loop, net, start, x, y)
    for kind in keras_kinds():
        made[kind.replace("keras", "keras fit")] = Remote(kind, fit.keras_fit, net, start, x, y)
    return made


def python_and_cpp(row: Row) -> str:
    """Where the time of a step goes."""
    cpp = row.timings["nnfast replay(n)"]

    def beyond(who: str) -> str:
        """What is more than C++, if the spread of the two leaves anything to say."""
        t = row.timings[who]
        more, noise = (t.seconds - cpp.seconds) * 1e6, (t.spread * t.seconds + cpp.spread * cpp.seconds) * 5e5
        return f"{more:.1f}" if more > noise else f"none beyond the noise of {noise:.1f}"

    ways = {"fit": "nnfast", "replay(1)": "nnfast replay(1)"}
    ways.update({"train_on_batch": "nnfast train_on_batch", "eager": "nnfast eager"})
    python = ", ".join(f"{beyond(who)} in {way}" for way, who in ways.items())
    who = f"{row.name}, {row.threads} thread{'s' * (row.threads > 1)}"
    return f"{who}: {cpp.seconds * 1e6:.1f} µs of {'the GPU' if on_gpu() else 'C++'}; µs of Python: {python}"


def replay_of(model: Any, net: Net, x: Any, y: Any) -> Callable[..., Any]:
    """Replays the plan of the model's training step on this data: (how many steps, start=from which sample on)."""
    x, y = fit.at_hand(x, y)
    model.fit(x, y, batch_size=net.batch, shuffle=False, verbose=0)
    data = ArrayData("fit", x, y, None, net.batch, False, model._x_dtypes)
    data.begin()
    (known,) = model._plans.values()
    return partial(known.plan.replay, bindings=list(zip(known.slots, Source(Pending(data, 0)).fed())))


def replay_all(replay: Callable[..., Any], count: int) -> None:
    replay(count, start=0)


def replay_each(replay: Callable[..., Any], count: int, batch: int) -> None:
    for i in range(count):
        replay(1, start=i * batch)


def step_by_step(model: Any, net: Net, x: Any, y: Any) -> Callable[[], float]:
    batches = [fit.at_hand(x[i : i + net.batch], y[i : i + net.batch]) for i in range(0, len(y), net.batch)]

    def train() -> float:
        model.reset_metrics()
        for xb, yb in batches:
            loss, _ = model.train_on_batch(xb, yb)
        return loss

    return train


def one_row(net: Net) -> Contenders:
    x, y, start = fit.data(net)
    x, there = x[:1], fit.at_hand(x[:1], y)[0]
    model = fit.started(net, start)
    made: dict[str, Any] = {
        "nnfast": partial(model.predict, there, verbose=0),
        "nnfast call": lambda: model(there, training=False).numpy(),
    }
    if torch := load("torch"):
        made["torch"] = _torch_row(torch, net, start, x)
    for kind in keras_kinds():
        made[kind.replace("keras", "keras predict")] = Remote(kind, keras_predict, net, start, x)
    return made


def _torch_row(torch: Any, net: Net, start: Any, x: Any) -> Callable[[], Any]:
    model = torch.nn.Sequential(*fit.torch_net(torch, net, start), torch.nn.Softmax(1)).to(torch_device())
    t = tensor(torch, x)

    def call() -> Any:
        with torch.inference_mode():
            return model(t).cpu().numpy()

    return call


def keras_predict(net: Net, start: Any, x: Any) -> Callable[[], Any]:
    return partial(fit.keras_net(net, start).predict, x, verbose=0)
