"""The training step through `fit`: the course's MLP (784-512-10, batch 128, RMSprop), its CNN (003-18, batch 50, Adam)
and a small net (64-32-10, batch 32), against PyTorch eager, JAX jit and Keras's fit, where they are installed.

A call is a run of steps on random data with the same start for everyone. Before anything is timed, the losses of the
first steps are held to each other, to 5 %: PyTorch's RMSprop and Adam put epsilon elsewhere than Keras's.
"""

import importlib.util
import os
from collections.abc import Callable
from typing import Any

import numpy as np

from bench.timing import Row, compare
from nnfast import layers, models, optimizers

STEPS = 20
NETS = {  # name: input shape, batch, optimizer
    "mlp 784-512-10": ((784,), 128, "rmsprop"),
    "cnn 003-18": ((28, 28, 1), 50, "adam"),
    "small 64-32-10": ((64,), 32, "rmsprop"),
}


def run() -> list[Row]:
    rows = []
    for name, (shape, batch, optimizer) in NETS.items():
        rng = np.random.default_rng(0)
        x = rng.random((STEPS * batch, *shape), dtype=np.float32)
        y = rng.integers(0, 10, STEPS * batch)
        start = _model(shape, optimizer).get_weights()
        makers: dict[str, Callable[..., Any]] = {"nnfast": _nnfast}
        if importlib.util.find_spec("torch"):
            makers["torch"] = _torch
            if len(shape) == 3:
                makers["torch channels_last"] = lambda *a: _torch(*a, channels_last=True)
        if importlib.util.find_spec("jax") and len(shape) == 1:
            makers["jax jit"] = _jax
        if importlib.util.find_spec("keras") and importlib.util.find_spec("jax"):
            makers["keras fit (jax)"] = _keras
        contenders = {}
        losses = {}
        for who, make in makers.items():
            contenders[who] = make(shape, batch, optimizer, start, x, y)
            losses[who] = contenders[who]()
        for who, loss in losses.items():
            assert abs(loss - losses["nnfast"]) < 0.05 * loss, (
                f"{name}: {who} has loss {loss}, nnfast {losses['nnfast']}"
            )
        timed = {who: (lambda f=f: f() and None) for who, f in contenders.items()}
        rows += compare(f"{name}, {STEPS} steps", timed, rounds=9)
    return rows


def _model(shape: tuple[int, ...], optimizer: str) -> models.Sequential:
    if len(shape) == 3:
        parts: list[Any] = []
        for i, filters in enumerate((32, 64, 128)):
            first = {"input_shape": shape} if i == 0 else {}
            parts += [
                layers.Conv2D(filters, 3, padding="same", activation="relu", **first),
                layers.MaxPooling2D(),
            ]
        parts += [layers.Flatten(), layers.Dense(200, activation="relu"), layers.Dense(10, activation="softmax")]
    else:
        hidden = 512 if shape[0] == 784 else 32
        parts = [layers.Dense(hidden, activation="relu", input_shape=shape), layers.Dense(10, activation="softmax")]
    model = models.Sequential(parts)
    chosen = optimizers.RMSprop() if optimizer == "rmsprop" else optimizers.Adam()
    model.compile(chosen, "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def _nnfast(shape: Any, batch: int, optimizer: str, start: Any, x: Any, y: Any) -> Callable[[], float]:
    model = _model(shape, optimizer)
    model.set_weights(start)
    return lambda: model.fit(x, y, batch_size=batch, shuffle=False, verbose=0).history["loss"][0]


def _torch(
    shape: Any, batch: int, optimizer: str, start: Any, x: Any, y: Any, channels_last: bool = False
) -> Callable[[], float]:
    import torch
    from torch import nn

    if len(shape) == 3:
        net = nn.Sequential(
            *(
                m
                for a, b in ((1, 32), (32, 64), (64, 128))
                for m in (nn.Conv2d(a, b, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
            ),
            nn.Flatten(),
            nn.Linear(1152, 200),
            nn.ReLU(),
            nn.Linear(200, 10),
        )
        inputs = torch.from_numpy(np.ascontiguousarray(x.transpose(0, 3, 1, 2)))
    else:
        net = nn.Sequential(nn.Linear(shape[0], start[0].shape[1]), nn.ReLU(), nn.Linear(start[0].shape[1], 10))
        inputs = torch.from_numpy(x)
    with torch.no_grad():
        for p, w in zip(net.parameters(), start):
            if w.ndim == 4:
                w = w.transpose(3, 2, 0, 1)
            elif w.shape[0] == 1152:  # the rows of the first dense layer follow (H, W, C); PyTorch flattens (C, H, W)
                w = w.reshape(3, 3, 128, -1).transpose(2, 0, 1, 3).reshape(1152, -1).T
            elif w.ndim == 2:
                w = w.T
            p.copy_(torch.from_numpy(np.ascontiguousarray(w)))
    if channels_last:
        net, inputs = net.to(memory_format=torch.channels_last), inputs.to(memory_format=torch.channels_last)
    labels = torch.from_numpy(y)
    loss_function = nn.CrossEntropyLoss()
    if optimizer == "rmsprop":
        step = torch.optim.RMSprop(net.parameters(), lr=1e-3, alpha=0.9, eps=1e-7)
    else:
        step = torch.optim.Adam(net.parameters(), lr=1e-3, eps=1e-7)

    def train() -> float:
        total, correct = 0.0, 0
        for i in range(0, len(labels), batch):
            xb, yb = inputs[i : i + batch], labels[i : i + batch]
            step.zero_grad(set_to_none=True)
            z = net(xb)
            loss = loss_function(z, yb)
            loss.backward()
            step.step()
            total += loss.item()
            correct += (z.argmax(1) == yb).sum().item()
        return total * batch / len(labels)

    return train


def _jax(shape: Any, batch: int, optimizer: str, start: Any, x: Any, y: Any) -> Callable[[], float]:
    import jax
    import jax.numpy as jnp

    def loss_of(p: Any, xb: Any, yb: Any) -> Any:
        z = jax.nn.relu(xb @ p[0] + p[1]) @ p[2] + p[3]
        return -jnp.mean(jax.nn.log_softmax(z)[jnp.arange(batch), yb])

    @jax.jit
    def step(p: Any, v: Any, xb: Any, yb: Any) -> Any:
        loss, g = jax.value_and_grad(loss_of)(p, xb, yb)
        v = [0.9 * a + 0.1 * b * b for a, b in zip(v, g)]
        return [a - 1e-3 * b / jnp.sqrt(c + 1e-7) for a, b, c in zip(p, g, v)], v, loss

    state = {"p": [jnp.asarray(w) for w in start], "v": [jnp.zeros_like(w) for w in start]}
    xs, ys = (
        [jnp.asarray(x[i : i + batch]) for i in range(0, len(y), batch)],
        [jnp.asarray(y[i : i + batch]) for i in range(0, len(y), batch)],
    )

    def train() -> float:
        losses = []
        for xb, yb in zip(xs, ys):
            state["p"], state["v"], loss = step(state["p"], state["v"], xb, yb)
            losses.append(loss)
        jax.block_until_ready(state["p"])
        return float(sum(float(v) for v in losses)) * batch / len(y)

    return train


def _keras(shape: Any, batch: int, optimizer: str, start: Any, x: Any, y: Any) -> Callable[[], float]:
    os.environ.setdefault("KERAS_BACKEND", "jax")
    import keras

    ours = _model(shape, optimizer)
    net = keras.Sequential([keras.Input(shape)])
    for layer in ours.layers:
        kind = type(layer).__name__
        if kind == "Conv2D":
            net.add(keras.layers.Conv2D(layer.filters, 3, padding="same", activation="relu"))
        elif kind == "Dense":
            last = layer is ours.layers[-1]
            net.add(keras.layers.Dense(layer.units, activation="softmax" if last else "relu"))
        else:
            net.add(getattr(keras.layers, kind)())
    net.set_weights(start)
    net.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    return lambda: net.fit(x, y, batch_size=batch, shuffle=False, verbose=0).history["loss"][0]
