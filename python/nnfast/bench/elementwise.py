"""Element-wise ops against NumPy and PyTorch, both writing into memory that they already have.

The small arrays stay in the L2 cache, the large ones go through memory. On a GPU all do, against PyTorch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from nnfast import device
from nnfast.bench.peers import found, lay, load, tensor
from nnfast.bench.timing import Bench, Contenders, Row

SIZES = {"128x512": (128, 512), "2048x2048": (2048, 2048)}
GPU_SIZES = {"8192x4096": (8192, 4096)}
TINY = {"8x12": (8, 12)}


class Case(NamedTuple):
    arrays: int  # of the full size, read and written
    ours: Callable[[], Any]
    numpy: Callable[[], Any] | None
    torch: str  # name and operands of PyTorch's function


def cases(a: Any, b: Any, row: Any, column: Any, y: Any) -> dict[str, Case]:
    k = device.kernels
    return {
        "add": Case(3, lambda: k.add(a, b), lambda: np.add(a, b, out=y), "add a b"),
        "mul": Case(3, lambda: k.mul(a, b), lambda: np.multiply(a, b, out=y), "mul a b"),
        "add row": Case(2, lambda: k.add(a, row), lambda: np.add(a, row, out=y), "add a row"),
        "add column": Case(2, lambda: k.add(a, column), lambda: np.add(a, column, out=y), "add a column"),
        "relu": Case(2, lambda: k.relu(a), lambda: np.maximum(a, 0, out=y), "relu a"),
        "exp": Case(2, lambda: k.exp(a), lambda: np.exp(a, out=y), "exp a"),
        "log": Case(2, lambda: k.log(b), lambda: np.log(b, out=y), "log b"),
        "tanh": Case(2, lambda: k.tanh(a), lambda: np.tanh(a, out=y), "tanh a"),
        "sigmoid": Case(2, lambda: k.sigmoid(a), None, "sigmoid a"),
        "gelu": Case(2, lambda: k.gelu(a, 0.0), None, "gelu a"),
        "pow": Case(3, lambda: k.pow(b, a), lambda: np.power(b, a, out=y), "pow b a"),
        "greater": Case(2, lambda: k.greater(a, b), lambda: np.greater(a, b), "gt a b"),
        "tanh gradient": Case(3, lambda: k.tanh_gradient(a, b), None, "tanh_backward a b"),
        "mul gradient": Case(5, lambda: k.mul_gradient(a, a, b)[0], None, ""),
        "mul gradient, row": Case(3, lambda: k.mul_gradient(a, b, row)[1], lambda: (a * b).sum(0), ""),
    }


NAMES = list(cases(*[None] * 5))


def run(bench: Bench) -> Iterator[Row]:
    for size, shape in bench.pick(SIZES, GPU_SIZES, TINY).items():
        for name in NAMES:
            arrays = cases(*[None] * 5)[name].arrays
            moved = 4e-9 * arrays * shape[0] * shape[1]
            yield from bench.compare(f"{name} {size}", partial(contenders, shape, name), gigabyte=moved)


def contenders(shape: tuple[int, int], name: str) -> Contenders:
    rng = np.random.default_rng(0)
    a = rng.standard_normal(shape, np.float32)
    b = rng.random(shape, np.float32) + np.float32(0.1)
    row, column = b[0].copy(), b[:, :1].copy()
    case = cases(lay(a), lay(b), lay(row), lay(column), np.empty_like(a))[name]
    made = {"nnfast": case.ours}
    if case.numpy is not None and found("numpy"):
        made["numpy"] = case.numpy
    if case.torch and (torch := load("torch")):
        made["torch"] = _torch(torch, case.torch, {"a": a, "b": b, "row": row, "column": column})
    return made


def _torch(torch: Any, call: str, arrays: dict[str, Any]) -> Callable[[], Any]:
    function, *names = call.split()
    operands = [tensor(torch, arrays[n]) for n in names]
    if function in ("relu", "tanh_backward"):  # have no out=
        return partial(getattr(torch.ops.aten, function), *operands)
    f = torch._C._nn.gelu if function == "gelu" else getattr(torch, function)
    out = operands[0].new_empty(0, dtype=torch.bool if function == "gt" else torch.float32)
    f(*operands, out=out)
    return partial(f, *operands, out=out)
