"""float32 LSTM and GRU over whole sequences, forward and with all gradients, and attention, against PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

import nnfast
from nnfast import ops
from nnfast.bench.peers import lay, load, tensor, torch_device
from nnfast.bench.timing import Bench, Contenders, Row

# batch, time, features, units
SEQUENCES = {
    "32,100,32->64": (32, 100, 32, 64),
    "32,80,128->128": (32, 80, 128, 128),
    "64,50,64->256": (64, 50, 64, 256),
    "1,100,64->128": (1, 100, 64, 128),
    "128,28,28->128": (128, 28, 28, 128),
}
TINY_SEQUENCES = {"2,3,4->5": (2, 3, 4, 5)}
# batch, positions, heads, features
ATTENTION = {"8,128,4,32": (8, 128, 4, 32), "4,512,8,64": (4, 512, 8, 64)}
TINY_ATTENTION = {"2,5,2,4": (2, 5, 2, 4)}
GATES = {"lstm": 4, "gru": 3}
STEPS = {"forward": 1, "training": 3}  # and how many times the arithmetic of the forward pass
Calls = dict[str, Callable[[], Any]]


def run(bench: Bench) -> Iterator[Row]:
    for cell, gates in GATES.items():
        for name, (b, t, f, u) in bench.pick(SEQUENCES, SEQUENCES, TINY_SEQUENCES).items():
            for step, times in STEPS.items():
                make = partial(cells, cell, (b, t, f, u), step)
                work = times * 2e-9 * b * t * (f + u) * gates * u
                yield from bench.compare(f"{cell} {name} {step}", make, gigaflop=work)
    for name, (b, t, h, f) in bench.pick(ATTENTION, ATTENTION, TINY_ATTENTION).items():
        for step, times in STEPS.items():
            make = partial(attention, (b, t, h, f), step)
            yield from bench.compare(f"attention {name} {step}", make, gigaflop=times * 4e-9 * b * t * t * h * f)


def cells(cell: str, size: tuple[int, int, int, int], step: str) -> Contenders:
    b, t, f, u = size
    gates, rng = GATES[cell], np.random.default_rng(0)
    shapes = [(b, t, f), (f, gates * u), (u, gates * u), (2, gates * u)]
    x, w, v, bias = (rng.standard_normal(s, np.float32) / np.float32(np.sqrt(u)) for s in shapes)
    made = {"nnfast": _nnfast(cell, [x, w, v, bias if cell == "gru" else bias.sum(0)])[step]}
    if torch := load("torch"):
        made["torch"] = _torch(torch, cell, x, w, v, bias)[step]
    return made


def attention(size: tuple[int, int, int, int], step: str) -> Contenders:
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(size, np.float32) for _ in range(3)]
    made = {"nnfast": _nnfast("attention", arrays)[step]}
    if torch := load("torch"):
        made["torch"] = _torch_attention(torch, arrays)[step]
    return made


def _nnfast(op: str, arrays: list[Any]) -> Calls:
    variables = [nnfast.Variable(a) for a in arrays]

    def forward() -> Any:
        with nnfast.no_grad():
            return getattr(ops, op)(*variables)

    seed = lay(np.ones(forward().shape, np.float32))

    def training() -> Any:
        with nnfast.GradientTape() as tape:
            y = getattr(ops, op)(*variables)
        return tape.gradient(y, variables, output_gradients=seed)[0]

    return {"forward": forward, "training": training}


def _torch(torch: Any, cell: str, x: Any, w: Any, u: Any, bias: Any) -> Calls:
    """The same weights in PyTorch's order: the GRU's gates are r, z, n there."""
    units = u.shape[0]
    layer = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[cell](x.shape[2], units, batch_first=True)
    order = np.r_[units : 2 * units, 0:units, 2 * units : 3 * units] if cell == "gru" else slice(None)
    with torch.no_grad():
        for parameter, array in zip(layer.parameters(), (w.T, u.T, bias[0], bias[1])):
            parameter.copy_(torch.from_numpy(np.ascontiguousarray(array[order])))
    layer, x = layer.to(torch_device()), tensor(torch, x).requires_grad_()
    return _torch_calls(torch, lambda: layer(x)[0], [x, *layer.parameters()])


def _torch_attention(torch: Any, arrays: list[Any]) -> Calls:
    variables = [tensor(torch, a).requires_grad_() for a in arrays]

    def compute() -> Any:
        heads_first = (x.transpose(1, 2) for x in variables)
        return torch.nn.functional.scaled_dot_product_attention(*heads_first).transpose(1, 2)

    return _torch_calls(torch, compute, variables)


def _torch_calls(torch: Any, compute: Callable[[], Any], variables: Any) -> Calls:
    def forward() -> Any:
        with torch.no_grad():
            return compute()

    seed = torch.ones_like(forward())
    return {"forward": forward, "training": lambda: torch.autograd.grad(compute(), variables, seed)[0]}
