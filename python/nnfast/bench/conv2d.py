"""float32 convolutions, forward and both gradients, against PyTorch (oneDNN) with contiguous and channels_last images:
the layers of the course's networks and of ResNet.

On a GPU against cuDNN with TF32 off: the layers of ResNet-50, with channels last and first (NCHW); the fastest of
PyTorch's layouts is the peer of both. And some with TF32 on against `high`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from nnfast import device
from nnfast.bench.peers import lay, load, tensor
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
GPU_LAYERS: dict[str, Layer] = {
    "32,224,224,3->64 7x7 /2": (32, 224, 224, 3, 64, 7, 2, 3, 1),
    "32,56,56,64->64 1x1": (32, 56, 56, 64, 64, 1, 1, 0, 1),
    "32,56,56,64->64": (32, 56, 56, 64, 64, 3, 1, 1, 1),
    "32,56,56,64->256 1x1": (32, 56, 56, 64, 256, 1, 1, 0, 1),
    "32,56,56,256->64 1x1": (32, 56, 56, 256, 64, 1, 1, 0, 1),
    "32,56,56,128->128 /2": (32, 56, 56, 128, 128, 3, 2, 1, 1),
    "32,56,56,256->512 1x1 /2": (32, 56, 56, 256, 512, 1, 2, 0, 1),
    "32,28,28,128->128": (32, 28, 28, 128, 128, 3, 1, 1, 1),
    "32,28,28,128->512 1x1": (32, 28, 28, 128, 512, 1, 1, 0, 1),
    "32,28,28,512->128 1x1": (32, 28, 28, 512, 128, 1, 1, 0, 1),
    "32,14,14,256->256": (32, 14, 14, 256, 256, 3, 1, 1, 1),
    "32,14,14,256->1024 1x1": (32, 14, 14, 256, 1024, 1, 1, 0, 1),
    "32,14,14,1024->256 1x1": (32, 14, 14, 1024, 256, 1, 1, 0, 1),
    "32,7,7,512->512": (32, 7, 7, 512, 512, 3, 1, 1, 1),
    "32,7,7,512->2048 1x1": (32, 7, 7, 512, 2048, 1, 1, 0, 1),
    "32,7,7,2048->512 1x1": (32, 7, 7, 2048, 512, 1, 1, 0, 1),
}
TINY: dict[str, Layer] = {
    "2,9,9,3->4 /2": (2, 9, 9, 3, 4, 3, 2, 1, 1),
    "2,5,5,4->8 1x1": (2, 5, 5, 4, 8, 1, 1, 0, 1),
}
# Nobody asks for the gradient of images.
FIRST = {"50,28,28,1->32", "32,28,28,1->32 valid", "8,224,224,3->64 7x7 /2", "32,224,224,3->64 7x7 /2"}


def run(bench: Bench) -> Iterator[Row]:
    rtol = bench.pick(1e-4, 5e-4, 5e-4)  # cuDNN may choose Winograd's way
    for name, layer in bench.pick(LAYERS, GPU_LAYERS, TINY).items():
        n, h, w, c, f, k, stride, pad, groups = layer
        out = n * f * ((h + 2 * pad - k) // stride + 1) * ((w + 2 * pad - k) // stride + 1)
        gigaflop = 2e-9 * out * k * k * (c // groups)
        gigabyte = 4e-9 * (n * h * w * c + k * k * (c // groups) * f + out)
        steps = ["forward", "dw"] if name in FIRST else ["forward", "dx", "dw"]
        for step in steps:
            make = partial(contenders, layer, [step])
            yield from bench.compare(f"{name} {step}", make, gigaflop=gigaflop, gigabyte=gigabyte, rtol=rtol)
            if bench.gpu:
                make = partial(contenders, layer, [step], channels_first=True)
                yield from bench.compare(f"{name} {step} NCHW", make, gigaflop=gigaflop, gigabyte=gigabyte, rtol=rtol)
        if bench.gpu and k == 3:
            make = partial(contenders, layer, ["forward"], precision="high")
            work: dict[str, Any] = {"gigaflop": gigaflop, "gigabyte": gigabyte, "unit": "TF32", "rtol": 2e-3}
            yield from bench.compare(f"{name} forward high", make, **work)
        if bench.gpu:
            continue
        done, moved = gigaflop * len(steps), gigabyte * len(steps)
        yield from bench.compare(f"{name} all", partial(contenders, layer, steps), gigaflop=done, gigabyte=moved)


def contenders(layer: Layer, steps: list[str], channels_first: bool = False, precision: str = "highest") -> Contenders:
    n, h, w, c, f, k, stride, pad, groups = layer
    rng = np.random.default_rng(0)
    x = rng.standard_normal((n, h, w, c), np.float32)
    filters = rng.standard_normal((k, k, c // groups, f), np.float32)
    window = {"strides": (stride,) * 2, "pads": ((pad, pad),) * 2, "groups": groups}
    size = [(length + 2 * pad - k) // stride + 1 for length in (h, w)]
    dz = rng.standard_normal((n, *size, f), np.float32)
    made = {"nnfast": _nnfast(x, filters, dz, window, channels_first, precision)}
    if torch := load("torch"):
        for layout in ("contiguous", "channels_last"):
            made[f"torch {layout}"] = _torch(torch, x, filters, dz, layer, layout)
        if precision != "highest":
            theirs = [made[f"torch {layout}"] for layout in ("contiguous", "channels_last")]
            for layout, calls in zip(("contiguous", "channels_last"), theirs):
                made[f"torch {layout} TF32"] = {step: partial(with_tf32, torch, c) for step, c in calls.items()}
    return {who: _all([calls[step] for step in steps]) for who, calls in made.items()}


def _all(calls: list[Callable[[], Any]]) -> Callable[[], Any]:
    if len(calls) == 1:
        return calls[0]

    def run_all() -> None:
        for call in calls:
            call()

    return run_all


def with_tf32(torch: Any, call: Callable[[], Any]) -> Any:
    torch.backends.cudnn.allow_tf32 = True
    try:
        return call()
    finally:
        torch.backends.cudnn.allow_tf32 = False


def _nnfast(
    x: Any, w: Any, dz: Any, window: dict[str, Any], first: bool, precision: str
) -> dict[str, Callable[[], Any]]:
    """first: the channels come first; the answers have them last, as views."""
    kernels = device.kernels
    options = {**window, "channels_first": first, "precision": device.MATMUL_PRECISIONS.index(precision)}
    x, dz = (lay(np.ascontiguousarray(a.transpose(0, 3, 1, 2)) if first else a) for a in (x, dz))
    w, back = lay(w), (0, 2, 3, 1) if first else (0, 1, 2, 3)
    return {
        "forward": lambda: kernels.conv2d(x, w, **options).transpose(back),
        "dx": lambda: kernels.conv2d_input_gradient(dz, w, x.shape, **options).transpose(back),
        "dw": lambda: kernels.conv2d_filter_gradient(x, dz, w.shape, **options),
    }


def _torch(torch: Any, x: Any, w: Any, dz: Any, layer: Layer, layout: str) -> dict[str, Callable[[], Any]]:
    """The same in PyTorch's order of axes; the answers as views in ours."""
    stride, pad, groups = layer[6:]
    order = getattr(torch, f"{layout}_format" if layout == "contiguous" else layout)
    x, dz = (tensor(torch, a).permute(0, 3, 1, 2).contiguous(memory_format=order) for a in (x, dz))
    w = tensor(torch, w).permute(3, 2, 0, 1).contiguous(memory_format=order)

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
