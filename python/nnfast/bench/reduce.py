"""Reductions, softmax and its cross-entropy against NumPy and PyTorch, float32."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

import nnfast
from nnfast import device, ops
from nnfast.bench.peers import load
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
TABLE = (4096, 1000)
# name: (axis of nnfast's kernel, NumPy's method or None, PyTorch's function and its keywords)
OTHERS: dict[str, tuple[str, int, str | None, str, dict[str, Any]]] = {
    "row maxima 4096,1000": ("max", 1, "max", "amax", {}),
    "column maxima 4096,1000": ("max", 0, "max", "amax", {}),
    "row argmax 4096,1000": ("argmax", 1, "argmax", "argmax", {}),
    "row var 4096,1000": ("var", 1, "var", "var", {"correction": 0}),
    "column var 4096,1000": ("var", 0, "var", "var", {"correction": 0}),
    "row logsumexp 4096,1000": ("logsumexp", 1, None, "logsumexp", {}),
}
SOFTMAX = [((128, 10), 1), (TABLE, 1), (TABLE, 0)]
CROSS_ENTROPY = [(50, 10), (128, 10), TABLE]


def run(bench: Bench) -> Iterator[Row]:
    for name, (shape, axes) in SUMS.items():
        yield from bench.compare(name, partial(sums, shape, axes), gigabyte=4e-9 * math.prod(shape), reading=True)
    for name in OTHERS:
        yield from bench.compare(name, partial(others, name), gigabyte=4e-9 * math.prod(TABLE), reading=True)
    for shape, axis in SOFTMAX:
        name = f"softmax {shape[0]},{shape[1]} axis {axis}"
        yield from bench.compare(name, partial(softmax, shape, axis), gigabyte=8e-9 * math.prod(shape))
    for n, c in CROSS_ENTROPY:
        name = f"softmax_xent and gradient {n},{c}"
        yield from bench.compare(name, partial(cross_entropy, n, c), gigabyte=8e-9 * n * c)


def sums(shape: tuple[int, ...], axes: tuple[int, ...]) -> Contenders:
    x = np.random.default_rng(0).random(shape, np.float32)
    made: dict[str, Any] = {"nnfast": partial(device.kernels.sum, x, axes), "numpy": partial(x.sum, axes)}
    if torch := load("torch"):
        made["torch"] = partial(torch.sum, torch.from_numpy(x), axes)
    return made


def others(name: str) -> Contenders:
    ours, axis, numpy, theirs, keywords = OTHERS[name]
    x = np.random.default_rng(0).standard_normal(TABLE, np.float32)
    given: Any = axis if ours == "argmax" else (axis,)
    made: dict[str, Any] = {"nnfast": partial(getattr(device.kernels, ours), x, given)}
    if numpy is not None:
        made["numpy"] = partial(getattr(x, numpy), axis)
    if torch := load("torch"):
        made["torch"] = partial(getattr(torch, theirs), torch.from_numpy(x), axis, **keywords)
    return made


def softmax(shape: tuple[int, int], axis: int) -> Contenders:
    x = np.random.default_rng(0).standard_normal(shape, np.float32)
    made = {"nnfast": partial(device.kernels.softmax, x, axis)}
    if torch := load("torch"):
        made["torch"] = partial(torch.softmax, torch.from_numpy(x), axis)
    return made


def cross_entropy(n: int, c: int) -> Contenders:
    """Forward and gradient, eager, through the tape of each."""
    rng = np.random.default_rng(0)
    x, labels = rng.standard_normal((n, c), np.float32), rng.integers(0, c, n)
    v = nnfast.Variable(x)

    def ours() -> Any:
        v.grad = None
        ops.softmax_xent(v, labels).backward()
        return v.grad

    made: dict[str, Callable[[], Any]] = {"nnfast": ours}
    if torch := load("torch"):
        t, y = torch.from_numpy(x).requires_grad_(), torch.from_numpy(labels)

        def theirs() -> Any:
            t.grad = None
            torch.nn.functional.cross_entropy(t, y).backward()
            return t.grad

        made["torch"] = theirs
    return made
