"""Ops whose limit is memory: optimizer steps, pooling, rows by index, transposed copies, random numbers, float32.

`nnfast bound` copies as many bytes as the op reads and writes: (bound's time / nnfast's time) is the share of copy
bandwidth. It is no peer.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from bench.timing import Row, compare
from nnfast import _cpu

try:
    import torch
    from torch.nn import functional
except ImportError:
    torch = None

RNG = np.random.default_rng(0)


def draw(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape, np.float32)


def bound(size: int) -> Callable[[], None]:
    """A copy that reads and writes `size` floats in all."""
    source, target = draw(size // 2), np.empty(size // 2, np.float32)
    return lambda: np.copyto(target, source)


def case(name: str, floats: int, ours: Any, numpy: Any = None, theirs: Any = None) -> list[Row]:
    contenders = {"nnfast": ours, "nnfast bound": bound(floats)}
    if numpy is not None:
        contenders["numpy"] = numpy
    if torch is not None and theirs is not None:
        contenders["torch"] = theirs
    return compare(name, contenders)


def optimizers() -> list[Row]:
    rows = []
    for n in (400_000, 4_000_000):
        w, g, m, v = (np.abs(draw(n)) for _ in range(4))
        lr, step = np.array(1e-6), np.array(3)
        adam = sgd = None
        if torch is not None:
            parameters = [torch.nn.Parameter(torch.from_numpy(w.copy())) for _ in range(2)]
            for p in parameters:
                p.grad = torch.from_numpy(g)
            adam = torch.optim.Adam(parameters[:1], lr=1e-6, fused=True).step
            sgd = torch.optim.SGD(parameters[1:], lr=1e-6, momentum=0.9, fused=True).step
        rows += case(f"sgd, momentum {n}", 5 * n, lambda: _cpu.sgd([w], [g], [m], lr, momentum=0.9), None, sgd)  # noqa: B023
        rows += case(f"rmsprop {n}", 5 * n, lambda: _cpu.rmsprop([w], [g], [v], None, None, lr))  # noqa: B023
        rows += case(f"adam {n}", 7 * n, lambda: _cpu.adam([w], [g], [m], [v], None, lr, step), None, adam)  # noqa: B023
    return rows


def pooling() -> list[Row]:
    rows = []
    for shape in ((50, 28, 28, 32), (50, 14, 14, 64), (8, 112, 112, 64)):
        for first in (False, True):
            x = draw(*shape)
            x = np.ascontiguousarray(x.transpose(0, 3, 1, 2)) if first else x
            window = {"pool": (2, 2), "strides": (2, 2), "channels_first": first}
            dy = _cpu.max_pool2d(x, **window)
            forward = backward = None
            if torch is not None:
                order = (0, 1, 2, 3) if first else (0, 3, 1, 2)
                t, dt = torch.from_numpy(x).permute(order), torch.from_numpy(dy).permute(order)
                back = (0, 1, 2, 3) if first else (0, 2, 3, 1)
                leaf = t.detach().requires_grad_()
                y = functional.max_pool2d(leaf, 2)
                forward = lambda: functional.max_pool2d(t, 2).permute(back)  # noqa: B023, E731
                backward = lambda: torch.autograd.grad(y, leaf, dt, retain_graph=True)[0].permute(back)  # noqa: B023, E731
            name = f"{','.join(map(str, x.shape))}{' channels first' if first else ''}"
            size = x.size + dy.size
            rows += case(f"max_pool2d {name}", size, lambda: _cpu.max_pool2d(x, **window), None, forward)  # noqa: B023
            gradient = lambda: _cpu.max_pool2d_gradient(dy, x, **window)  # noqa: B023, E731
            rows += case(f"max_pool2d gradient {name}", size + x.size, gradient, None, backward)
    return rows


def movement() -> list[Row]:
    rows = []
    for shape in ((784, 128), (1024, 1024), (1000, 3000)):
        x = draw(*shape)
        t = None if torch is None else torch.from_numpy(x).T
        name = f"transposed copy {shape[0]}x{shape[1]}"
        theirs = lambda: t.contiguous()  # noqa: B023, E731
        rows += case(name, 2 * x.size, lambda: _cpu.contiguous(x.T), lambda: np.ascontiguousarray(x.T), theirs)  # noqa: B023
    x, indices = draw(20_000, 784), RNG.permutation(20_000)[:128]
    pixels = RNG.integers(0, 256, (20_000, 784)).astype(np.uint8)
    scaled = lambda: _cpu.take_rows(pixels, indices, dtype="float32", scale=1 / 255)  # noqa: E731
    if torch is not None:
        t, ti, tp = torch.from_numpy(x), torch.from_numpy(indices), torch.from_numpy(pixels)
    rows += case(
        "take_rows 128x784", 2 * 128 * 784, lambda: _cpu.take_rows(x, indices), lambda: x[indices], lambda: t[ti]
    )
    rows += case(
        "take_rows 128x784 of bytes, scaled",
        5 * 128 * 784 // 4,
        scaled,
        lambda: pixels[indices] * np.float32(1 / 255),
        lambda: tp[ti] * (1 / 255),
    )
    return rows


def random() -> list[Row]:
    n, key = 1_000_000, np.array([1, 2])
    x = draw(n)
    rows = []
    cases = {
        "random_uniform 10^6": (lambda: _cpu.random_uniform([n], "float32", key), lambda: torch.rand(n)),
        "random_normal 10^6": (lambda: _cpu.random_normal([n], "float32", key), lambda: torch.randn(n)),
        "permutation 60000": (lambda: _cpu.permutation(60_000, key), lambda: torch.randperm(60_000)),
        "dropout 10^6": (lambda: _cpu.dropout(x, key, rate=0.5), lambda: functional.dropout(torch.from_numpy(x), 0.5)),
    }
    for name, (ours, theirs) in cases.items():
        contenders = {"nnfast": ours} if torch is None else {"nnfast": ours, "torch": theirs}
        rows += compare(name, contenders, check=_same_shape)  # other streams of numbers: only their size is checked
    return rows


def _same_shape(answers: dict[str, np.ndarray]) -> None:
    shapes = {a.shape for a in answers.values()}
    assert len(shapes) == 1, shapes


def run() -> list[Row]:
    return optimizers() + pooling() + movement() + random()
