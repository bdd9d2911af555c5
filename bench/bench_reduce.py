"""Reductions, softmax and its cross-entropy against NumPy and PyTorch, float32."""

import numpy as np

import nnfast
from bench.timing import Row, compare
from nnfast import _cpu, ops

try:
    import torch
except ImportError:
    torch = None

# name: (shape, axes)
SUMS = {
    "sum of 10^7": ((10_000_000,), (0,)),
    "sum of 10^4": ((10_000,), (0,)),
    "row sums 4096,1000": ((4096, 1000), (1,)),
    "column sums 4096,1000": ((4096, 1000), (0,)),
    "column sums 128,512": ((128, 512), (0,)),
    "column sums 10^5,10": ((100_000, 10), (0,)),
    "sums over N,H,W 50,28,28,32": ((50, 28, 28, 32), (0, 1, 2)),
}


def sums() -> list[Row]:
    rng = np.random.default_rng(0)
    rows = []
    for name, (shape, axes) in SUMS.items():
        x = rng.random(shape, np.float32)
        contenders = {"nnfast": lambda: _cpu.sum(x, axes), "numpy": lambda: x.sum(axes)}  # noqa: B023
        if torch is not None:
            t = torch.from_numpy(x)
            contenders["torch"] = lambda: torch.sum(t, axes)  # noqa: B023
        rows += compare(name, contenders)
    return rows


def others() -> list[Row]:
    rng = np.random.default_rng(0)
    rows = []
    x = rng.standard_normal((4096, 1000), np.float32)
    t = None if torch is None else torch.from_numpy(x)
    for name, ours, numpy, theirs in [
        ("row maxima 4096,1000", lambda: _cpu.max(x, (1,)), lambda: x.max(1), lambda: torch.amax(t, 1)),
        ("column maxima 4096,1000", lambda: _cpu.max(x, (0,)), lambda: x.max(0), lambda: torch.amax(t, 0)),
        ("row argmax 4096,1000", lambda: _cpu.argmax(x, 1), lambda: x.argmax(1), lambda: torch.argmax(t, 1)),
        ("row var 4096,1000", lambda: _cpu.var(x, (1,)), lambda: x.var(1), lambda: torch.var(t, 1, correction=0)),
        ("column var 4096,1000", lambda: _cpu.var(x, (0,)), lambda: x.var(0), lambda: torch.var(t, 0, correction=0)),
        ("row logsumexp 4096,1000", lambda: _cpu.logsumexp(x, (1,)), None, lambda: torch.logsumexp(t, 1)),
    ]:
        contenders = {"nnfast": ours}
        if numpy is not None:
            contenders["numpy"] = numpy
        if t is not None:
            contenders["torch"] = theirs
        rows += compare(name, contenders)
    return rows


def softmax() -> list[Row]:
    rng = np.random.default_rng(0)
    rows = []
    for shape, axis in [((128, 10), 1), ((4096, 1000), 1), ((4096, 1000), 0)]:
        x = rng.standard_normal(shape, np.float32)
        contenders = {"nnfast": lambda: _cpu.softmax(x, axis)}  # noqa: B023
        if torch is not None:
            t = torch.from_numpy(x)
            contenders["torch"] = lambda: torch.softmax(t, axis)  # noqa: B023
        rows += compare(f"softmax {shape[0]},{shape[1]} axis {axis}", contenders)
    return rows


def cross_entropy() -> list[Row]:
    """Forward and gradient, eager, through the tape of each."""
    rng = np.random.default_rng(0)
    rows = []
    for n, c in [(50, 10), (128, 10), (4096, 1000)]:
        x, labels = rng.standard_normal((n, c), np.float32), rng.integers(0, c, n)
        v = nnfast.Variable(x)

        def ours():
            v.grad = None  # noqa: B023
            ops.softmax_xent(v, labels).backward()  # noqa: B023
            return v.grad  # noqa: B023

        contenders = {"nnfast": ours}
        if torch is not None:
            t, y = torch.from_numpy(x).requires_grad_(), torch.from_numpy(labels)

            def theirs():
                t.grad = None  # noqa: B023
                torch.nn.functional.cross_entropy(t, y).backward()  # noqa: B023
                return t.grad  # noqa: B023

            contenders["torch"] = theirs
        rows += compare(f"softmax_xent and gradient {n},{c}", contenders)
    return rows


def run() -> list[Row]:
    return sums() + others() + softmax() + cross_entropy()
