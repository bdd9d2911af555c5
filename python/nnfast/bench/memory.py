"""Ops whose limit is memory: optimizer steps, pooling, rows by index, transposed copies, random numbers, float32."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from nnfast import device
from nnfast.bench.peers import found, lay, load, tensor
from nnfast.bench.timing import Bench, Contenders, Row

FLOATS = 4e-9  # gigabytes in a float32
WEIGHTS, GPU_WEIGHTS = [400_000, 4_000_000], [32 << 20]
POOLED, GPU_POOLED = [(50, 28, 28, 32), (50, 14, 14, 64), (8, 112, 112, 64)], [(64, 112, 112, 64)]
TRANSPOSED, GPU_TRANSPOSED = [(784, 128), (1024, 1024), (1000, 3000)], [(8192, 4096)]
TAKEN, GPU_TAKEN = (128, 20_000, 784), (65_536, 80_000, 784)  # so many rows of so many, of this length
DRAWN, GPU_DRAWN = {"10^6": 10**6}, {"2^25": 1 << 25}
SHUFFLED, GPU_SHUFFLED = 60_000, 10**6


def run(bench: Bench) -> Iterator[Row]:
    for n in bench.pick(WEIGHTS, GPU_WEIGHTS, [60]):
        for rule, arrays in (("sgd, momentum", 5), ("rmsprop", 5), ("adam", 7)):
            yield from bench.compare(f"{rule} {n}", partial(optimizer, rule, n), gigabyte=FLOATS * arrays * n)
    for shape in bench.pick(POOLED, GPU_POOLED, [(2, 6, 6, 4)]):
        for first in (False, True):
            yield from pooling(bench, shape, first)
    for rows, columns in bench.pick(TRANSPOSED, GPU_TRANSPOSED, [(9, 20)]):
        make = partial(transposed, rows, columns)
        name = f"transposed copy {rows}x{columns}"
        yield from bench.compare(name, make, gigabyte=2 * FLOATS * rows * columns)
    picked = bench.pick(TAKEN, GPU_TAKEN, (5, 8, 12))
    name, size = f"take_rows {picked[0]}x{picked[2]}", picked[0] * picked[2]
    yield from bench.compare(name, partial(taken_rows, *picked), gigabyte=2 * FLOATS * size)
    yield from bench.compare(f"{name} of bytes, scaled", partial(taken_bytes, *picked), gigabyte=5e-9 * size)
    for size_name, count in bench.pick(DRAWN, GPU_DRAWN, {"30": 30}).items():
        for kind in ("random_uniform", "random_normal", "dropout"):
            moved = FLOATS * count * (2 if kind == "dropout" else 1)
            made = partial(random, kind, count)
            yield from bench.compare(f"{kind} {size_name}", made, gigabyte=moved, check=_same_shape)
    count = bench.pick(SHUFFLED, GPU_SHUFFLED, 30)
    yield from bench.compare(f"permutation {count}", partial(random, "permutation", count), check=_same_shape)


def draw(*shape: int) -> Any:
    return np.random.default_rng(0).standard_normal(shape, np.float32)


def optimizer(rule: str, n: int) -> Contenders:
    """Each answers with its weights; those after the first step are compared."""
    start, gradient = draw(n), np.abs(draw(n)) + np.float32(0.01)
    w, g, m, v = (lay(a) for a in (start.copy(), gradient, np.zeros_like(start), np.zeros_like(start)))
    lr, step, k = lay(np.array(1e-3)), lay(np.array(0)), device.kernels
    steps = {
        "sgd, momentum": lambda: k.sgd([w], [g], [m], lr, momentum=0.9),
        "rmsprop": lambda: k.rmsprop([w], [g], [v], None, None, lr),
        "adam": lambda: k.adam([w], [g], [m], [v], None, lr, step),
    }
    made: dict[str, Callable[[], Any]] = {"nnfast": _then(steps[rule], w)}
    if torch := load("torch"):
        p = torch.nn.Parameter(tensor(torch, start))
        p.grad = tensor(torch, gradient)
        rules = {
            "sgd, momentum": partial(torch.optim.SGD, momentum=0.9, fused=True),
            "rmsprop": partial(torch.optim.RMSprop, alpha=0.9),
            "adam": partial(torch.optim.Adam, fused=True),
        }
        made["torch"] = _then(rules[rule]([p], lr=1e-3).step, p)
    return made


def _then(call: Callable[[], Any], answer: Any) -> Callable[[], Any]:
    def run() -> Any:
        call()
        return answer

    return run


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
    k, t = device.kernels, x
    x = lay(x)
    dy = k.max_pool2d(x, **window)
    ours = [lambda: k.max_pool2d(x, **window), lambda: k.max_pool2d_gradient(dy, x, **window)]
    made: dict[str, Callable[[], Any]] = {"nnfast": ours[which]}
    if torch := load("torch"):
        order, back = ((0, 1, 2, 3), (0, 1, 2, 3)) if first else ((0, 3, 1, 2), (0, 2, 3, 1))
        pool = partial(torch.nn.functional.max_pool2d, kernel_size=2)
        t, dt = tensor(torch, t).permute(order), tensor(torch, device.host(dy)).permute(order)
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
    turned = lay(x).T
    made: dict[str, Any] = {"nnfast": lambda: device.kernels.contiguous(turned)}
    if found("numpy"):
        made["numpy"] = lambda: np.ascontiguousarray(x.T)
    if torch := load("torch"):
        made["torch"] = tensor(torch, x).T.contiguous
    return made


def taken_rows(count: int, rows: int, columns: int) -> Contenders:
    x, indices = draw(rows, columns), np.random.default_rng(0).permutation(rows)[:count]
    ours, i = lay(x), lay(indices)
    made: dict[str, Any] = {"nnfast": lambda: device.kernels.take_rows(ours, i)}
    if found("numpy"):
        made["numpy"] = lambda: x[indices]
    if torch := load("torch"):
        t, ti = tensor(torch, x), tensor(torch, indices)
        made["torch"] = lambda: t[ti]
    return made


def taken_bytes(count: int, rows: int, columns: int) -> Contenders:
    rng = np.random.default_rng(0)
    pixels, indices = rng.integers(0, 256, (rows, columns), np.uint8), rng.permutation(rows)[:count]
    ours, i = lay(pixels), lay(indices)
    made: dict[str, Any] = {"nnfast": lambda: device.kernels.take_rows(ours, i, dtype="float32", scale=1 / 255)}
    if found("numpy"):
        made["numpy"] = lambda: pixels[indices] * np.float32(1 / 255)
    if torch := load("torch"):
        t, ti = tensor(torch, pixels), tensor(torch, indices)
        made["torch"] = lambda: t[ti] * (1 / 255)
    return made


def random(name: str, n: int) -> Contenders:
    """Other streams of numbers: only their size is compared."""
    k, key, x = device.kernels, lay(np.array([1, 2])), draw(n)
    ours_x = lay(x)
    ours = {
        "random_uniform": lambda: k.random_uniform([n], "float32", key),
        "random_normal": lambda: k.random_normal([n], "float32", key),
        "permutation": lambda: k.permutation(n, key),
        "dropout": lambda: k.dropout(ours_x, key, rate=0.5),
    }
    made: dict[str, Callable[[], Any]] = {"nnfast": ours[name]}
    if torch := load("torch"):
        t = tensor(torch, x)
        where = t.device
        theirs = {
            "random_uniform": lambda: torch.rand(n, device=where),
            "random_normal": lambda: torch.randn(n, device=where),
            "permutation": lambda: torch.randperm(n, device=where),
            "dropout": lambda: torch.nn.functional.dropout(t, 0.5),
        }
        made["torch"] = theirs[name]
    return made


def _same_shape(answers: dict[str, np.ndarray]) -> None:
    shapes = {a.shape for a in answers.values()}
    if len(shapes) != 1:
        raise ValueError(f"[bench] answers of several shapes: {shapes}")
