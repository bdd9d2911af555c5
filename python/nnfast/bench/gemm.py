"""float32 matrix products against NumPy (OpenBLAS), PyTorch (MKL) and JAX (XLA): the shapes of a course's networks.

And the same with `set_matmul_precision("high")` and `("medium")`, where this CPU has a unit for them: against those,
and medium also against PyTorch's own "medium".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from nnfast import device
from nnfast.bench.peers import Remote, found, load
from nnfast.bench.timing import Bench, Contenders, Row

# name: (M, N, K, which operand is stored transposed)
SHAPES = {
    "512^3": (512, 512, 512, ""),
    "1024^3": (1024, 1024, 1024, ""),
    "2048^3": (2048, 2048, 2048, ""),
    "Dense forward 128,512,784": (128, 512, 784, ""),
    "Dense dw 784,512,128": (784, 512, 128, "a"),
    "Dense dx 128,784,512": (128, 784, 512, "b"),
    "thin 128,10,512": (128, 10, 512, ""),
    "thin dw 784,10,128": (784, 10, 128, "a"),
    "conv 39200,32,9": (39200, 32, 9, ""),
    "conv 9800,64,288": (9800, 64, 288, ""),
    "conv 2450,128,576": (2450, 128, 576, ""),
    "64^3": (64, 64, 64, ""),
    "one row 1,512,784": (1, 512, 784, ""),
    "wide 32,768,3072": (32, 768, 3072, ""),
}
PRECISE = ("512^3", "1024^3", "2048^3", "Dense forward 128,512,784", "Dense dw 784,512,128", "conv 9800,64,288")


def run(bench: Bench) -> Iterator[Row]:
    for name, (m, n, k, transposed) in SHAPES.items():
        make = partial(contenders, m, n, k, transposed)
        moved = 4e-9 * (m * k + k * n + m * n)
        yield from bench.compare(name, make, gigaflop=2e-9 * m * n * k, gigabyte=moved)
    for precision, rtol in (("high", 1e-4), ("medium", 2e-2)):
        if precision not in units():
            if bench.wanted(precision):
                bench.notes.append(f"{precision}: this CPU has no unit for it, it is float32")
            continue
        for name in PRECISE:
            m, n, k, transposed = SHAPES[name]
            make = partial(contenders, m, n, k, transposed, precision)
            yield from bench.compare(f"{name} {precision}", make, gigaflop=2e-9 * m * n * k, rtol=rtol, limits=False)


def units() -> list[str]:
    """The precisions below "highest" that are faster here."""
    matmul: Any = device.runtime_info()["matmul"]
    return [precision for precision, unit in matmul.items() if unit != "float32"]


def contenders(m: int, n: int, k: int, transposed: str, precision: str = "highest") -> Contenders:
    rng = np.random.default_rng(0)
    stored = [rng.standard_normal(shape, np.float32) for shape in ((m, k), (k, n))]
    if transposed:
        i = "ab".index(transposed)
        stored[i] = np.ascontiguousarray(stored[i].T)
    a, b = turned(stored[0], stored[1], transposed)
    y = np.empty((m, n), np.float32)
    made: dict[str, Any] = {
        "nnfast": partial(device.kernels.gemm, a, b, precision=device.MATMUL_PRECISIONS.index(precision)),
        "numpy": partial(np.matmul, a, b, out=y),
    }
    if torch := load("torch"):
        product = partial(torch.mm, torch.from_numpy(a), torch.from_numpy(b), out=torch.empty(m, n))
        made["torch"] = product
        if precision == "medium":
            made["torch medium"] = partial(torch_medium, torch, product)
    if found("jax"):
        made["jax"] = Remote("jax", jax_product, *stored, transposed)
    return made


def turned(a: Any, b: Any, transposed: str) -> tuple[Any, Any]:
    """The operands, of which one may be stored transposed."""
    return (a.T if transposed == "a" else a), (b.T if transposed == "b" else b)


def torch_medium(torch: Any, product: Callable[[], Any]) -> Any:
    torch.set_float32_matmul_precision("medium")
    try:
        return product()
    finally:
        torch.set_float32_matmul_precision("highest")


def jax_product(a: Any, b: Any, transposed: str) -> Callable[[], Any]:
    import jax

    product = jax.jit(lambda a, b: jax.numpy.matmul(*turned(a, b, transposed)))
    a, b = jax.numpy.asarray(a), jax.numpy.asarray(b)
    return lambda: product(a, b).block_until_ready()
