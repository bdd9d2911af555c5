"""float32 convolutions, forward and both gradients, against PyTorch (oneDNN) with contiguous and channels_last images:
the layers of the course's networks and of ResNet."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from nnfast import device
from nnfast.bench.peers import load
from nnfast.bench.timing import Bench, Contenders, Row

# N, H, W, C, filters, kernel, stride, padding, groups
Layer = tuple[int, int, int, int, int, int, int, int, int]
LAYERS: dict[str, Layer] = {
    "50,28,28,1->32": (50, 28, 28, 1, 32, 3, 1, 1, 1),
    "50,14,14,32->64": (50, 14, 14, 32, 64, 3, 1, 1, 1),
    "50,7,7,64->128": (50, 7, 7, 64, 128, 3, 1, 1, 1),
    "32,28,28,1->32 valid": (32, 28, 28, 1, 32, 3, 1, 0, 1),
    "32,13,13,32->64 valid": (32, 13, 13, 32, 64, 3, 1, 0, 1),
    "8,56,56,64->64": (8, 56, 56, 64, 64, 3, 1, 1, 1),
    "8,56,56,64->128 /2": (8, 56, 56, 64, 128, 3, 2, 1, 1),
    "8,28,28,128->128": (8, 28, 28, 128, 128, 3, 1, 1, 1),
    "8,14,14,256->256": (8, 14, 14, 256, 256, 3, 1, 1, 1),
    "8,7,7,512->512": (8, 7, 7, 512, 512, 3, 1, 1, 1),
    "8,56,56,64->256 1x1": (8, 56, 56, 64, 256, 1, 1, 0, 1),
    "8,224,224,3->64 7x7 /2": (8, 224, 224, 3, 64, 7, 2, 3, 1),
    "16,32,32,64->64 5x5": (16, 32, 32, 64, 64, 5, 1, 2, 1),
    "8,56,56,128 depthwise": (8, 56, 56, 128, 128, 3, 1, 1, 128),
}
FIRST = {"50,28,28,1->32", "32,28,28,1->32 valid", "8,224,224,3->64 7x7 /2"}  # nobody asks for the gradient of images


def run(bench: Bench) -> Iterator[Row]:
    for name, layer in LAYERS.items():
        n, h, w, c, f, k, stride, pad, groups = layer
        out = n * f * ((h + 2 * pad - k) // stride + 1) * ((w + 2 * pad - k) // stride + 1)
        gigaflop = 2e-9 * out * k * k * (c // groups)
        gigabyte = 4e-9 * (n * h * w * c + k * k * (c // groups) * f + out)
        steps = ["forward", "dw"] if name in FIRST else ["forward", "dx", "dw"]
        for step in steps:
            make = partial(contenders, layer, [step])
            yield from bench.compare(f"{name} {step}", make, gigaflop=gigaflop, gigabyte=gigabyte)
        work, moved = gigaflop * len(steps), gigabyte * len(steps)
        yield from bench.compare(f"{name} all", partial(contenders, layer, steps), gigaflop=work, gigabyte=moved)


def contenders(layer: Layer, steps: list[str]) -> Contenders:
    n, h, w, c, f, k, stride, pad, groups = layer
    rng = np.random.default_rng(0)
    x = rng.standard_normal((n, h, w, c), np.float32)
    filters = rng.standard_normal((k, k, c // groups, f), np.float32)
    window = {"strides": (stride,) * 2, "pads": ((pad, pad),) * 2, "groups": groups}
    dz = rng.standard_normal(device.kernels.conv2d(x, filters, **window).shape, np.float32)
    made = {"nnfast": _nnfast(x, filters, dz, window)}
    if torch := load("torch"):
        for layout in ("contiguous", "channels_last"):
            made[f"torch {layout}"] = _torch(torch, x, filters, dz, layer, layout)
    return {who: _all([calls[step] for step in steps]) for who, calls in made.items()}


def _all(calls: list[Callable[[], Any]]) -> Callable[[], Any]:
    if len(calls) == 1:
        return calls[0]

    def run_all() -> None:
        for call in calls:
            call()

    return run_all


def _nnfast(x: Any, w: Any, dz: Any, window: dict[str, Any]) -> dict[str, Callable[[], Any]]:
    kernels = device.kernels
    return {
        "forward": lambda: kernels.conv2d(x, w, **window),
        "dx": lambda: kernels.conv2d_input_gradient(dz, w, x.shape, **window),
        "dw": lambda: kernels.conv2d_filter_gradient(x, dz, w.shape, **window),
    }


def _torch(torch: Any, x: Any, w: Any, dz: Any, layer: Layer, layout: str) -> dict[str, Callable[[], Any]]:
    """The same in PyTorch's order of axes; the answers as views in ours."""
    stride, pad, groups = layer[6:]
    order = getattr(torch, f"{layout}_format" if layout == "contiguous" else layout)
    x, dz = (torch.from_numpy(a).permute(0, 3, 1, 2).contiguous(memory_format=order) for a in (x, dz))
    w = torch.from_numpy(w).permute(3, 2, 0, 1).contiguous(memory_format=order)

    def forward() -> Any:
        return torch.nn.functional.conv2d(x, w, stride=stride, padding=pad, groups=groups).permute(0, 2, 3, 1)

    def backward(*wanted: bool) -> Any:
        return torch.ops.aten.convolution_backward(
            dz, x, w, None, [stride] * 2, [pad] * 2, [1, 1], False, [0, 0], groups, [*wanted, False]
        )

    return {
        "forward": forward,
        "dx": lambda: backward(True, False)[0].permute(0, 2, 3, 1),
        "dw": lambda: backward(False, True)[1].permute(2, 3, 1, 0),
    }
