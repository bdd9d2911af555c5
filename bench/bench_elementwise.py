"""Element-wise ops against NumPy and PyTorch, both writing into memory that they already have, and against a copy.

`nnfast bound` copies as many bytes as the op reads and writes: (bound's time / nnfast's time) is the share of copy
bandwidth. It is no peer. The small arrays stay in the L2 cache, the large ones go through memory.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from bench.timing import Row, compare
from nnfast import _cpu

try:
    import torch
except ImportError:
    torch = None

SIZES = {"128x512": (128, 512), "2048x2048": (2048, 2048)}


def cases(a: Any, b: Any, row: Any, column: Any, y: Any) -> dict[str, tuple[int, Callable[[], Any], Any, str]]:
    """name: (arrays read and written, nnfast, NumPy or None, name and operands of PyTorch's function)"""
    return {
        "add": (3, lambda: _cpu.add(a, b), lambda: np.add(a, b, out=y), "add a b"),
        "mul": (3, lambda: _cpu.mul(a, b), lambda: np.multiply(a, b, out=y), "mul a b"),
        "add row": (2, lambda: _cpu.add(a, row), lambda: np.add(a, row, out=y), "add a row"),
        "add column": (2, lambda: _cpu.add(a, column), lambda: np.add(a, column, out=y), "add a column"),
        "relu": (2, lambda: _cpu.relu(a), lambda: np.maximum(a, 0, out=y), "relu a"),
        "exp": (2, lambda: _cpu.exp(a), lambda: np.exp(a, out=y), "exp a"),
        "log": (2, lambda: _cpu.log(b), lambda: np.log(b, out=y), "log b"),
        "tanh": (2, lambda: _cpu.tanh(a), lambda: np.tanh(a, out=y), "tanh a"),
        "sigmoid": (2, lambda: _cpu.sigmoid(a), None, "sigmoid a"),
        "gelu": (2, lambda: _cpu.gelu(a, 0.0), None, "gelu a"),
        "pow": (3, lambda: _cpu.pow(b, a), lambda: np.power(b, a, out=y), "pow b a"),
        "greater": (2, lambda: _cpu.greater(a, b), lambda: np.greater(a, b), "gt a b"),
        "tanh gradient": (3, lambda: _cpu.tanh_gradient(a, b), None, "tanh_backward a b"),
        "mul gradient": (5, lambda: _cpu.mul_gradient(a, a, b)[0], None, ""),
        "mul gradient, row": (3, lambda: _cpu.mul_gradient(a, b, row)[1], lambda: (a * b).sum(0), ""),
    }


def run() -> list[Row]:
    rng = np.random.default_rng(0)
    rows = []
    for size, shape in SIZES.items():
        a = rng.standard_normal(shape, np.float32)
        b = rng.random(shape, np.float32) + np.float32(0.1)
        row, column, y = b[0].copy(), b[:, :1].copy(), np.empty_like(a)
        for name, (arrays, ours, numpy, peer) in cases(a, b, row, column, y).items():
            source = np.resize(a, arrays * a.size // 2)
            target = np.empty_like(source)
            contenders = {"nnfast": ours, "nnfast bound": lambda: np.copyto(target, source)}  # noqa: B023
            if numpy is not None:
                contenders["numpy"] = numpy
            if torch is not None and peer:
                contenders["torch"] = _torch(peer, {"a": a, "b": b, "row": row, "column": column})
            rows += compare(f"{name} {size}", contenders)
    return rows


def _torch(peer: str, arrays: dict[str, Any]) -> Callable[[], Any]:
    function, *names = peer.split()
    operands = [torch.from_numpy(arrays[n]) for n in names]
    if function in ("relu", "tanh_backward"):  # have no out=
        f = getattr(torch.ops.aten, function)
        return lambda: f(*operands)
    f = torch._C._nn.gelu if function == "gelu" else getattr(torch, function)
    out = torch.empty(0) if function != "gt" else torch.empty(0, dtype=torch.bool)
    f(*operands, out=out)
    return lambda: f(*operands, out=out)
