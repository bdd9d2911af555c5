"""The training step through `fit`: the course's MLP (784-512-10, batch 128, RMSprop), its CNN (003-18, batch 50, Adam)
and a small net (64-32-10, batch 32), against PyTorch eager and compiled, JAX jit, and Keras's fit on each backend.

A call is a run of STEPS steps on random data with the same start for everyone; times are those of one step. Before
anything is timed, the losses of the first steps are held to each other, to 5 %: PyTorch's RMSprop and Adam put epsilon
elsewhere than Keras's. PyTorch starts anew at each call: see `restart`.

"nnfast high" and "nnfast medium" are the same with `set_matmul_precision`, where this CPU has a unit for it, and for
the CNN on every CPU.

On a GPU, where the data lies there from the start for everyone: against PyTorch eager and compiled, and against a CUDA
graph of PyTorch's whole step, with its picks of rows, metrics and optimizer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np

import nnfast
from nnfast import layers, models, optimizers
from nnfast.bench import gemm
from nnfast.bench.peers import Remote, found, keras_kinds, load, on_gpu, tensor, torch_device
from nnfast.bench.timing import Bench, Contenders, Row

STEPS, GPU_STEPS = 20, 200


class Net(NamedTuple):
    shape: tuple[int, ...]
    batch: int
    optimizer: str


NETS = {
    "mlp 784-512-10": Net((784,), 128, "rmsprop"),
    "cnn 003-18": Net((28, 28, 1), 50, "adam"),
    "small 64-32-10": Net((64,), 32, "rmsprop"),
}


TINY = {
    "mlp 8-6-10": Net((8,), 6, "rmsprop"),
    "cnn": Net((28, 28, 1), 2, "adam"),
}


def run(bench: Bench) -> Iterator[Row]:
    steps = bench.pick(STEPS, GPU_STEPS, 3)
    for name, net in bench.pick(NETS, NETS, TINY).items():
        make = partial(contenders, net, steps, compiled=not bench.tiny)
        yield from bench.compare(name, make, rounds=9, rtol=0.05, per=steps, wall=True)


def contenders(net: Net, steps: int = STEPS, compiled: bool = True) -> Contenders:
    x, y, start = data(net, steps)
    made: dict[str, Any] = {"nnfast": ours(net, start, x, y)}
    lower = gemm.units() if len(net.shape) == 1 else ["high", "medium"]  # convolutions gain on every CPU
    made.update({f"nnfast {p}": at_precision(p, ours(net, start, x, y)) for p in lower})
    if torch := load("torch"):
        made["torch"] = torch_eager(torch, net, start, x, y)
        if len(net.shape) == 3:
            made["torch channels_last"] = torch_eager(torch, net, start, x, y, channels_last=True)
        if torch_device() == "cuda":
            made["torch cuda graph"] = torch_graph(torch, net, start, x, y)
        if compiled and torch_device() == "cuda":
            made["torch compile"] = torch_compiled(net, start, x, y)
        elif compiled and not on_gpu():
            made["torch compile"] = Remote("torch", torch_compiled, net, start, x, y)
    if found("jax") and len(net.shape) == 1:
        made["jax jit"] = Remote("jax", jax_jit, net, start, x, y)
        made["jax fori_loop"] = Remote("jax", jax_loop, net, start, x, y)
    for kind in keras_kinds():
        made[kind.replace("keras", "keras fit")] = Remote(kind, keras_fit, net, start, x, y)
    return made


def data(net: Net, steps: int = STEPS) -> tuple[Any, Any, list[Any]]:
    """Random data, and the weights that everyone starts with."""
    rng = np.random.default_rng(0)
    x = rng.random((steps * net.batch, *net.shape), dtype=np.float32)
    return x, rng.integers(0, 10, steps * net.batch), model(net).get_weights()


def model(net: Net, **options: Any) -> Any:
    """As the course writes it."""
    parts: list[Any] = []
    if len(net.shape) == 3:
        for i, filters in enumerate((32, 64, 128)):
            first: dict[str, Any] = {"input_shape": net.shape} if i == 0 else {}
            parts += [
                layers.Conv2D(filters, 3, padding="same", activation="relu", **first),
                layers.MaxPooling2D(),
            ]
        parts += [layers.Flatten(), layers.Dense(200, activation="relu")]
    else:
        hidden = 512 if net.shape[0] == 784 else 32
        parts = [layers.Dense(hidden, activation="relu", input_shape=net.shape)]
    made = models.Sequential([*parts, layers.Dense(10, activation="softmax")])
    chosen = optimizers.RMSprop() if net.optimizer == "rmsprop" else optimizers.Adam()
    made.compile(chosen, "sparse_categorical_crossentropy", metrics=["accuracy"], **options)
    return made


def started(net: Net, start: Any, **options: Any) -> Any:
    made = model(net, **options)
    made.set_weights(start)
    return made


def at_hand(x: Any, y: Any) -> tuple[Any, Any]:
    """The data where nnfast computes."""
    return (nnfast.tensor(x), nnfast.tensor(y)) if on_gpu() else (x, y)


def ours(net: Net, start: Any, x: Any, y: Any) -> Callable[[], float]:
    x, y = at_hand(x, y)
    return partial(_fit, started(net, start), x, y, net.batch)


def _fit(made: Any, x: Any, y: Any, batch: int) -> float:
    return made.fit(x, y, batch_size=batch, shuffle=False, verbose=0).history["loss"][0]


def at_precision(precision: str, call: Callable[[], float]) -> Callable[[], float]:
    """The call with other matrix products."""

    def run() -> float:
        nnfast.set_matmul_precision(precision)
        try:
            return call()
        finally:
            nnfast.set_matmul_precision("highest")

    return run


# ---- PyTorch ----


def torch_net(torch: Any, net: Net, start: Any) -> Any:
    """The same network with the same weights."""
    nn = torch.nn
    if len(net.shape) == 3:
        blocks = [
            part
            for a, b in ((1, 32), (32, 64), (64, 128))
            for part in (nn.Conv2d(a, b, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
        ]
        made = nn.Sequential(*blocks, nn.Flatten(), nn.Linear(1152, 200), nn.ReLU(), nn.Linear(200, 10))
    else:
        hidden = start[0].shape[1]
        made = nn.Sequential(nn.Linear(net.shape[0], hidden), nn.ReLU(), nn.Linear(hidden, 10))
    with torch.no_grad():
        for p, w in zip(made.parameters(), start):
            if w.ndim == 4:
                w = w.transpose(3, 2, 0, 1)
            elif w.shape[0] == 1152:  # the rows of the first dense layer follow (H, W, C); PyTorch flattens (C, H, W)
                w = w.reshape(3, 3, 128, -1).transpose(2, 0, 1, 3).reshape(1152, -1).T
            elif w.ndim == 2:
                w = w.T
            p.copy_(torch.from_numpy(np.ascontiguousarray(w)))
    return made


def torch_compiled(net: Net, start: Any, x: Any, y: Any) -> Callable[[], float]:
    """With forward, loss, backward and the optimizer's step compiled; in a process of its own, for it starts others."""
    import torch

    return torch_eager(torch, net, start, x, y, compiled=torch.compile)


def torch_eager(
    torch: Any, net: Net, start: Any, x: Any, y: Any, channels_last: bool = False, compiled: Any = lambda f: f
) -> Callable[[], float]:
    made, inputs, labels = torch_start(torch, net, start, x, y)
    if channels_last:
        made, inputs = (a.to(memory_format=torch.channels_last) for a in (made, inputs))
    loss_function, step = torch.nn.CrossEntropyLoss(), torch_optimizer(torch, net, made)

    @compiled
    def loss_of(xb: Any, yb: Any) -> Any:
        z = made(xb)
        return loss_function(z, yb), z

    change = compiled(step.step)
    restart = torch_restart(made, step)

    def train() -> float:
        restart()
        sums = torch.zeros(2, device=inputs.device)  # of losses, and how many rows were right
        for i in range(0, len(labels), net.batch):
            xb, yb = inputs[i : i + net.batch], labels[i : i + net.batch]
            step.zero_grad(set_to_none=True)
            loss, z = loss_of(xb, yb)
            loss.backward()
            change()
            sums[0] += loss.detach()
            sums[1] += (z.argmax(1) == yb).sum()
        return sums.tolist()[0] * net.batch / len(labels)

    return train


def torch_start(torch: Any, net: Net, start: Any, x: Any, y: Any) -> tuple[Any, Any, Any]:
    """The network and the data, where nnfast computes."""
    inputs = np.ascontiguousarray(x.transpose(0, 3, 1, 2)) if x.ndim == 4 else x
    return torch_net(torch, net, start).to(torch_device()), tensor(torch, inputs), tensor(torch, y)


def torch_optimizer(torch: Any, net: Net, made: Any, **options: Any) -> Any:
    if net.optimizer == "rmsprop":
        return torch.optim.RMSprop(made.parameters(), lr=1e-3, alpha=0.9, eps=1e-7, **options)
    return torch.optim.Adam(made.parameters(), lr=1e-3, eps=1e-7, **options)


def torch_restart(made: Any, step: Any) -> Callable[[], None]:
    first = [p.detach().clone() for p in made.parameters()]

    def restart() -> None:
        """PyTorch does not flush subnormals: after 700 steps on the same data one takes twice as long (Zen 5)."""
        for p, w in zip(made.parameters(), first):
            p.detach().copy_(w)
        for state in step.state.values():
            for value in state.values():
                value.zero_()

    return restart


def torch_graph(torch: Any, net: Net, start: Any, x: Any, y: Any) -> Callable[[], float]:
    """All of a step in one CUDA graph: rows of the data, loss, backward, optimizer, metrics. A call a step."""
    made, inputs, labels = torch_start(torch, net, start, x, y)
    step = torch_optimizer(torch, net, made, capturable=torch_device() == "cuda")
    loss_function = torch.nn.CrossEntropyLoss()
    rows = torch.arange(net.batch, device=inputs.device)
    sums, here = torch.zeros(2, device=inputs.device), rows.clone()

    def one() -> None:
        step.zero_grad(set_to_none=True)
        xb, yb = inputs.index_select(0, here), labels.index_select(0, here)
        z = made(xb)
        loss = loss_function(z, yb)
        loss.backward()
        step.step()
        sums[0] += loss.detach()
        sums[1] += (z.argmax(1) == yb).sum()
        here.add_(net.batch)

    restart, replay = torch_restart(made, step), graphed(torch, one)

    def train() -> float:
        restart()
        here.copy_(rows)
        sums.zero_()
        for _ in range(0, len(labels), net.batch):
            replay()
        return sums.tolist()[0] * net.batch / len(labels)

    return train


def graphed(torch: Any, work: Callable[[], None]) -> Callable[[], None]:
    """The work as a CUDA graph, after the first runs that PyTorch asks for, on another stream."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            work()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        work()
    return graph.replay


# ---- JAX ----


def jax_step(net: Net) -> Callable[..., Any]:
    """A step of RMSprop: (weights, means of squares, batch) -> the same after it, and the loss."""
    import jax

    jnp = jax.numpy

    def loss_of(p: Any, xb: Any, yb: Any) -> Any:
        z = jax.nn.relu(xb @ p[0] + p[1]) @ p[2] + p[3]
        return -jnp.mean(jax.nn.log_softmax(z)[jnp.arange(net.batch), yb])

    def step(p: Any, v: Any, xb: Any, yb: Any) -> Any:
        loss, g = jax.value_and_grad(loss_of)(p, xb, yb)
        v = [0.9 * a + 0.1 * b * b for a, b in zip(v, g)]
        return [a - 1e-3 * b / jnp.sqrt(c + 1e-7) for a, b, c in zip(p, g, v)], v, loss

    return step


def jax_jit(net: Net, start: Any, x: Any, y: Any) -> Callable[[], float]:
    """One compiled call for each step; the old weights are given up to it."""
    import jax

    jnp = jax.numpy
    step = jax.jit(jax_step(net), donate_argnums=(0, 1))
    state = [[jnp.array(w) for w in start], [jnp.zeros_like(w) for w in start]]
    batches = [
        (jnp.asarray(x[i : i + net.batch]), jnp.asarray(y[i : i + net.batch])) for i in range(0, len(y), net.batch)
    ]

    def train() -> float:
        losses = []
        for xb, yb in batches:
            state[0], state[1], loss = step(*state, xb, yb)
            losses.append(loss)
        return sum(float(v) for v in losses) / len(losses)

    return train


def jax_loop(net: Net, start: Any, x: Any, y: Any) -> Callable[[], float]:
    """One compiled call for all steps."""
    import jax

    jnp = jax.numpy
    step, count = jax_step(net), len(y) // net.batch

    def one(i: Any, carried: Any) -> Any:
        p, v, total, xs, ys = carried
        xb = jax.lax.dynamic_slice_in_dim(xs, i * net.batch, net.batch)
        yb = jax.lax.dynamic_slice_in_dim(ys, i * net.batch, net.batch)
        p, v, loss = step(p, v, xb, yb)
        return p, v, total + loss, xs, ys

    def every(p: Any, v: Any, xs: Any, ys: Any) -> Any:
        return jax.lax.fori_loop(0, count, one, (p, v, jnp.float32(0), xs, ys))[:3]

    run_all = jax.jit(every, donate_argnums=(0, 1))
    state = [[jnp.array(w) for w in start], [jnp.zeros_like(w) for w in start]]
    xs, ys = jnp.asarray(x), jnp.asarray(y)

    def train() -> float:
        state[0], state[1], total = run_all(*state, xs, ys)
        return float(total) / count

    return train


# ---- Keras ----


def keras_net(net: Net, start: Any) -> Any:
    import keras

    k = keras.layers
    parts: list[Any] = [keras.Input(net.shape)]
    if len(net.shape) == 3:
        for filters in (32, 64, 128):
            parts += [k.Conv2D(filters, 3, padding="same", activation="relu"), k.MaxPooling2D()]
        parts += [k.Flatten(), k.Dense(200, activation="relu")]
    else:
        parts.append(k.Dense(start[0].shape[1], activation="relu"))
    made = keras.Sequential([*parts, k.Dense(10, activation="softmax")])
    made.set_weights(start)
    made.compile(net.optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    return made


def keras_fit(net: Net, start: Any, x: Any, y: Any) -> Callable[[], float]:
    return partial(_fit, keras_net(net, start), x, y, net.batch)
