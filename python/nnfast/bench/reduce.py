"""Reductions, softmax and its cross-entropy against NumPy and PyTorch, float32."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

import nnfast
from nnfast import device, ops
from nnfast.bench.peers import found, lay, load, tensor
from nnfast.bench.timing import Bench, Contenders, Row

# name: (shape, axes)
SUMS: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "sum of 10^7": ((10_000_000,), (0,)),
    "sum of 10^4": ((10_000,), (0,)),
    "row sums 4096,1000": ((4096, 1000), (1,)),
    "column sums 4096,1000": ((4096, 1000), (0,)),
    "column sums 128,512": ((128, 512), (0,)),
    "column sums 10^5,10": ((100_000, 10), (0,)),
    "sums over N,H,W 50,28,28,32": ((50, 28, 28, 32), (0, 1, 2)),
}
GPU_SUMS: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "sum of 2^26": ((1 << 26,), (0,)),
    "row sums 65536,1000": ((65_536, 1000), (1,)),
    "column sums 65536,1000": ((65_536, 1000), (0,)),
    "sums over N,H,W 64,112,112,64": ((64, 112, 112, 64), (0, 1, 2)),
}
TINY_SUMS: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "row sums 5,7": ((5, 7), (1,)),
    "sums over N,H,W 2,3,4,5": ((2, 3, 4, 5), (0, 1, 2)),
}
TABLE, GPU_TABLE, TINY_TABLE = (4096, 1000), (65_536, 1000), (6, 10)
# name: (nnfast's kernel, its axis, NumPy's method or None, PyTorch's function and its keywords)
OTHERS: dict[str, tuple[str, int, str | None, str, dict[str, Any]]] = {
    "row maxima": ("max", 1, "max", "amax", {}),
    "column maxima": ("max", 0, "max", "amax", {}),
    "row argmax": ("argmax", 1, "argmax", "argmax", {}),
    "row var": ("var", 1, "var", "var", {"correction": 0}),
    "column var": ("var", 0, "var", "var", {"correction": 0}),
    "row logsumexp": ("logsumexp", 1, None, "logsumexp", {}),
}
SOFTMAX, CROSS_ENTROPY = [(128, 10)], [(50, 10), (128, 10)]  # beside the table


def run(bench: Bench) -> Iterator[Row]:
    table = bench.pick(TABLE, GPU_TABLE, TINY_TABLE)
    for name, (shape, axes) in bench.pick(SUMS, GPU_SUMS, TINY_SUMS).items():
        yield from bench.compare(name, partial(sums, shape, axes), gigabyte=4e-9 * math.prod(shape), reading=True)
    for name in OTHERS:
        make, moved = partial(others, name, table), 4e-9 * math.prod(table)
        yield from bench.compare(f"{name} {table[0]},{table[1]}", make, gigabyte=moved, reading=True)
    small = bench.pick(SOFTMAX, [], [])
    for shape, axis in [*((s, 1) for s in small), (table, 1), (table, 0)]:
        name = f"softmax {shape[0]},{shape[1]} axis {axis}"
        yield from bench.compare(name, partial(softmax, shape, axis), gigabyte=8e-9 * math.prod(shape))
    for n, c in [*bench.pick(CROSS_ENTROPY, [], []), table]:
        name = f"softmax_xent and gradient {n},{c}"
        yield from bench.compare(name, partial(cross_entropy, n, c), gigabyte=8e-9 * n * c)


def sums(shape: tuple[int, ...], axes: tuple[int, ...]) -> Contenders:
    x = np.random.default_rng(0).random(shape, np.float32)
    made: dict[str, Any] = {"nnfast": partial(device.kernels.sum, lay(x), axes)}
    if found("numpy"):
        made["numpy"] = partial(x.sum, axes)
    if torch := load("torch"):
        made["torch"] = partial(torch.sum, tensor(torch, x), axes)
    return made


def others(name: str, table: tuple[int, int]) -> Contenders:
    ours, axis, numpy, theirs, keywords = OTHERS[name]
    x = np.random.default_rng(0).standard_normal(table, np.float32)
    given: Any = axis if ours == "argmax" else (axis,)
    made: dict[str, Any] = {"nnfast": partial(getattr(device.kernels, ours), lay(x), given)}
    if numpy is not None and found("numpy"):
        made["numpy"] = partial(getattr(x, numpy), axis)
    if torch := load("torch"):
        made["torch"] = partial(getattr(torch, theirs), tensor(torch, x), axis, **keywords)
    return made


def softmax(shape: tuple[int, int], axis: int) -> Contenders:
    x = np.random.default_rng(0).standard_normal(shape, np.float32)
    made = {"nnfast": partial(device.kernels.softmax, lay(x), axis)}
    if torch := load("torch"):
        made["torch"] = partial(torch.softmax, tensor(torch, x), axis)
    return made


def cross_entropy(n: int, c: int) -> Contenders:
    """Forward and gradient, eager, through the tape of each."""
    rng = np.random.default_rng(0)
    x, labels = rng.standard_normal((n, c), np.float32), rng.integers(0, c, n)
    v, ours_labels = nnfast.Variable(x), nnfast.tensor(labels)

    def ours() -> Any:
        v.grad = None
        ops.softmax_xent(v, ours_labels).backward()
        return v.grad

    made: dict[str, Callable[[], Any]] = {"nnfast": ours}
    if torch := load("torch"):
        t, y = tensor(torch, x).requires_grad_(), tensor(torch, labels)

        def theirs() -> Any:
            t.grad = None
            torch.nn.functional.cross_entropy(t, y).backward()
            return t.grad

        made["torch"] = theirs
    return made
