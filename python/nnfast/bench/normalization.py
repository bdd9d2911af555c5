"""Batch and layer normalization, forward and with all gradients, against PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from nnfast import device
from nnfast.bench.peers import lay, load, tensor
from nnfast.bench.timing import Bench, Contenders, Row

EPSILON = 1e-3
IMAGES = [(50, 28, 28, 32), (50, 14, 14, 64), (8, 56, 56, 64)]
TABLES = [(128, 512), (4096, 768)]
GPU_IMAGES, GPU_TABLES = [(64, 56, 56, 256)], [(65_536, 768)]
TINY_IMAGES, TINY_TABLES = [(2, 3, 4, 8)], [(5, 12)]


def run(bench: Bench) -> Iterator[Row]:
    images = bench.pick(IMAGES, GPU_IMAGES, TINY_IMAGES)
    tables = bench.pick(TABLES, GPU_TABLES, TINY_TABLES)
    kinds: list[tuple[str, Sequence[tuple[int, ...]]]] = [("batch_norm", images), ("layer_norm", tables)]
    for kind, shapes in kinds:
        for shape in shapes:
            name, size = f"{kind} {','.join(map(str, shape))}", int(np.prod(shape))
            yield from bench.compare(name, partial(contenders, kind, shape, 0), gigabyte=8e-9 * size, rtol=1e-3)
            gradient = partial(contenders, kind, shape, 1)
            yield from bench.compare(f"{name} gradient", gradient, gigabyte=12e-9 * size, rtol=1e-3)


def contenders(kind: str, shape: tuple[int, ...], which: int) -> Contenders:
    """which: 0 forward, 1 gradient."""
    rng = np.random.default_rng(0)
    x, dy = (rng.standard_normal(shape, np.float32) for _ in range(2))
    gamma, beta = (rng.random(shape[-1], np.float32) + np.float32(0.5) for _ in range(2))
    forward, backward = getattr(device.kernels, kind), getattr(device.kernels, f"{kind}_gradient")
    options = {"axis": -1, "epsilon": EPSILON}
    arrays = x, dy, gamma, beta
    x, dy, gamma, beta = map(lay, arrays)
    _, *statistics = forward(x, gamma, beta, **options)
    back = options if kind == "batch_norm" else {"axis": -1}
    ours: list[Callable[[], Any]] = [
        lambda: forward(x, gamma, beta, **options)[0],
        lambda: backward(dy, x, gamma, *statistics, **back)[0],
    ]
    made = {"nnfast": ours[which]}
    if torch := load("torch"):
        made["torch"] = _torch(torch, kind, *arrays)[which]
    return made


def _torch(torch: Any, kind: str, x: Any, dy: Any, gamma: Any, beta: Any) -> list[Callable[[], Any]]:
    """Images go in as channels_last, which is our layout."""
    f = torch.nn.functional
    to, fro = ((0, 3, 1, 2), (0, 2, 3, 1)) if kind == "batch_norm" else ((0, 1), (0, 1))
    x, dy = (tensor(torch, a).permute(to).requires_grad_() for a in (x, dy))
    w, b = (tensor(torch, a).requires_grad_() for a in (gamma, beta))
    if kind == "batch_norm":
        compute = partial(f.batch_norm, x, None, None, w, b, True, 0.1, EPSILON)
    else:
        compute = partial(f.layer_norm, x, w.shape, w, b, EPSILON)

    def forward() -> Any:
        with torch.no_grad():
            return compute().permute(fro)

    y = compute()
    return [forward, lambda: torch.autograd.grad(y, (x, w, b), dy, retain_graph=True)[0].permute(fro)]
