"""Ops whose limit is memory: optimizer steps, pooling, rows by index, transposed copies, random numbers, float32."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from nnfast import device
from nnfast.bench.peers import load
from nnfast.bench.timing import Bench, Contenders, Row

FLOATS = 4e-9  # gigabytes in a float32
POOLED = [(50, 28, 28, 32), (50, 14, 14, 64), (8, 112, 112, 64)]
TRANSPOSED = [(784, 128), (1024, 1024), (1000, 3000)]


def run(bench: Bench) -> Iterator[Row]:
    for n in (400_000, 4_000_000):
        for rule, arrays in (("sgd, momentum", 5), ("rmsprop", 5), ("adam", 7)):
            yield from bench.compare(f"{rule} {n}", partial(optimizer, rule, n), gigabyte=FLOATS * arrays * n)
    for shape in POOLED:
        for first in (False, True):
            yield from pooling(bench, shape, first)
    for rows, columns in TRANSPOSED:
        make = partial(transposed, rows, columns)
        name = f"transposed copy {rows}x{columns}"
        yield from bench.compare(name, make, gigabyte=2 * FLOATS * rows * columns)
    size = 128 * 784
    yield from bench.compare("take_rows 128x784", taken_rows, gigabyte=2 * FLOATS * size)
    yield from bench.compare("take_rows 128x784 of bytes, scaled", taken_bytes, gigabyte=5e-9 * size)
    for name, count in (("random_uniform", 10**6), ("random_normal", 10**6), ("dropout", 10**6)):
        moved = FLOATS * count * (2 if name == "dropout" else 1)
        made = partial(random, name, count)
        yield from bench.compare(f"{name} 10^6", made, gigabyte=moved, check=_same_shape)
    yield from bench.compare("permutation 60000", partial(random, "permutation", 60_000), check=_same_shape)


def draw(*shape: int) -> Any:
    return np.random.default_rng(0).standard_normal(shape, np.float32)


def optimizer(rule: str, n: int) -> Contenders:
    w, g, m, v = (np.abs(draw(n)) for _ in range(4))
    lr, step, k = np.array(1e-6), np.array(3), device.kernels
    ours = {
        "sgd, momentum": lambda: k.sgd([w], [g], [m], lr, momentum=0.9),
        "rmsprop": lambda: k.rmsprop([w], [g], [v], None, None, lr),
        "adam": lambda: k.adam([w], [g], [m], [v], None, lr, step),
    }
    made: dict[str, Callable[[], Any]] = {"nnfast": ours[rule]}
    if torch := load("torch"):
        p = torch.nn.Parameter(torch.from_numpy(w.copy()))
        p.grad = torch.from_numpy(g)
        rules = {
            "sgd, momentum": partial(torch.optim.SGD, momentum=0.9, fused=True),
            "rmsprop": torch.optim.RMSprop,
            "adam": partial(torch.optim.Adam, fused=True),
        }
        made["torch"] = rules[rule]([p], lr=1e-6).step
    return made


def pooling(bench: Bench, shape: tuple[int, ...], first: bool) -> Iterator[Row]:
    """The largest of 2x2, and where its gradient goes. first: the channels come first."""
    n, h, w, c = shape
    name = f"{n},{c},{h},{w} channels first" if first else f"{n},{h},{w},{c}"
    size, pooled = n * h * w * c, n * (h // 2) * (w // 2) * c
    forward, gradient = (partial(pooled_contenders, shape, first, which) for which in (0, 1))
    yield from bench.compare(f"max_pool2d {name}", forward, gigabyte=FLOATS * (size + pooled))
    yield from bench.compare(f"max_pool2d gradient {name}", gradient, gigabyte=FLOATS * (2 * size + pooled))


def pooled_contenders(shape: tuple[int, ...], first: bool, which: int) -> Contenders:
    """which: 0 forward, 1 gradient."""
    x = draw(*shape)
    x = np.ascontiguousarray(x.transpose(0, 3, 1, 2)) if first else x
    window = {"pool": (2, 2), "strides": (2, 2), "channels_first": first}
    k = device.kernels
    dy = k.max_pool2d(x, **window)
    ours = [lambda: k.max_pool2d(x, **window), lambda: k.max_pool2d_gradient(dy, x, **window)]
    made: dict[str, Callable[[], Any]] = {"nnfast": ours[which]}
    if torch := load("torch"):
        order, back = ((0, 1, 2, 3), (0, 1, 2, 3)) if first else ((0, 3, 1, 2), (0, 2, 3, 1))
        pool = partial(torch.nn.functional.max_pool2d, kernel_size=2)
        t, dt = torch.from_numpy(x).permute(order), torch.from_numpy(dy).permute(order)
        leaf = t.detach().requires_grad_()
        y = pool(leaf)
        theirs = [
            lambda: pool(t).permute(back),
            lambda: torch.autograd.grad(y, leaf, dt, retain_graph=True)[0].permute(back),
        ]
        made["torch"] = theirs[which]
    return made


def transposed(rows: int, columns: int) -> Contenders:
    x = draw(rows, columns)
    made: dict[str, Any] = {
        "nnfast": lambda: device.kernels.contiguous(x.T),
        "numpy": lambda: np.ascontiguousarray(x.T),
    }
    if torch := load("torch"):
        made["torch"] = torch.from_numpy(x).T.contiguous
    return made


def taken_rows() -> Contenders:
    x, indices = draw(20_000, 784), np.random.default_rng(0).permutation(20_000)[:128]
    made: dict[str, Any] = {
        "nnfast": lambda: device.kernels.take_rows(x, indices),
        "numpy": lambda: x[indices],
    }
    if torch := load("torch"):
        t, ti = torch.from_numpy(x), torch.from_numpy(indices)
        made["torch"] = lambda: t[ti]
    return made


def taken_bytes() -> Contenders:
    rng = np.random.default_rng(0)
    pixels, indices = rng.integers(0, 256, (20_000, 784), np.uint8), rng.permutation(20_000)[:128]
    made: dict[str, Any] = {
        "nnfast": lambda: device.kernels.take_rows(pixels, indices, dtype="float32", scale=1 / 255),
        "numpy": lambda: pixels[indices] * np.float32(1 / 255),
    }
    if torch := load("torch"):
        t, ti = torch.from_numpy(pixels), torch.from_numpy(indices)
        made["torch"] = lambda: t[ti] * (1 / 255)
    return made


def random(name: str, n: int) -> Contenders:
    """Other streams of numbers: only their size is compared."""
    k, key, x = device.kernels, np.array([1, 2]), draw(n)
    ours = {
        "random_uniform": lambda: k.random_uniform([n], "float32", key),
        "random_normal": lambda: k.random_normal([n], "float32", key),
        "permutation": lambda: k.permutation(n, key),
        "dropout": lambda: k.dropout(x, key, rate=0.5),
    }
    made: dict[str, Callable[[], Any]] = {"nnfast": ours[name]}
    if torch := load("torch"):
        t = torch.from_numpy(x)
        theirs = {
            "random_uniform": lambda: torch.rand(n),
            "random_normal": lambda: torch.randn(n),
            "permutation": lambda: torch.randperm(n),
            "dropout": lambda: torch.nn.functional.dropout(t, 0.5),
        }
        made["torch"] = theirs[name]
    return made


def _same_shape(answers: dict[str, np.ndarray]) -> None:
    shapes = {a.shape for a in answers.values()}
    if len(shapes) != 1:
        raise ValueError(f"[bench] answers of several shapes: {shapes}")
