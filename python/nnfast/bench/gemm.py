"""float32 matrix products against NumPy (OpenBLAS), PyTorch (MKL) and JAX (XLA): the shapes of a course's networks.

And the same with `set_matmul_precision("high")` and `("medium")`, where this CPU has a unit for them: against those,
and medium also against PyTorch's own "medium".

On a GPU: large products and those of few rows, in float32 against cuBLAS (by PyTorch and CuPy), `high` against TF32,
`medium` also against operands that are bfloat16 from the start.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from nnfast import device
from nnfast.bench.peers import Remote, found, lay, load, on_gpu, tensor, values
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
ROWS = (32, 64, 128, 256, 512)
GPU_SHAPES = {
    "4096^3": (4096, 4096, 4096, ""),
    "8192^3": (8192, 8192, 8192, ""),
    **{f"rows {m},4096,4096": (m, 4096, 4096, "") for m in ROWS},
    **{f"rows {m},512,784": (m, 512, 784, "") for m in ROWS},
    "Dense dw 784,512,128": (784, 512, 128, "a"),
    "Dense dx 128,784,512": (128, 784, 512, "b"),
    "thin 128,10,512": (128, 10, 512, ""),
}
TINY = {
    "9^3": (9, 9, 9, ""),
    "forward 9,10,11": (9, 10, 11, ""),
    "dw 12,9,8": (12, 9, 8, "a"),
    "dx 8,12,9": (8, 12, 9, "b"),
}
TOLERANCES = {"highest": 1e-4, "high": 2e-3, "medium": 2e-2}  # of float32, against TF32 and bfloat16
PRECISE = ("512^3", "1024^3", "2048^3", "Dense forward 128,512,784", "Dense dw 784,512,128", "conv 9800,64,288")


def run(bench: Bench) -> Iterator[Row]:
    if bench.gpu:
        yield from on_a_gpu(bench)
        return
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


def on_a_gpu(bench: Bench) -> Iterator[Row]:
    for precision, unit in zip(TOLERANCES, ("float32", "TF32", "bfloat16")):
        for name, (m, n, k, transposed) in bench.pick(GPU_SHAPES, GPU_SHAPES, TINY).items():
            make = partial(contenders, m, n, k, transposed, precision)
            work, moved = 2e-9 * m * n * k, 4e-9 * (m * k + k * n + m * n)
            name = name if precision == "highest" else f"{name} {precision}"
            rtol = TOLERANCES[precision]
            measured = bench.compare(name, make, gigaflop=work, gigabyte=moved, rtol=rtol, unit=unit)
            yield from measured
            if measured and m == n == k:
                bench.notes.append(f"{name}: rms of |error| / |a| |b|: {errors(m, n, k, make())}")


def errors(m: int, n: int, k: int, contenders: Contenders) -> str:
    """How far each contender is from float64, in some rows."""
    a, b = (x.astype(np.float64) for x in operands(m, n, k))
    rows = np.linspace(0, m - 1, 64).astype(int)
    exact, magnitude = a[rows] @ b, np.abs(a[rows]) @ np.abs(b)
    found = []
    for who, product in contenders.items():
        if callable(product):
            off = (values(product())[rows] - exact) / magnitude
            found.append(f"{who} {np.sqrt(np.mean(off * off)):.1e}")
    return ", ".join(found)


def operands(m: int, n: int, k: int) -> list[Any]:
    rng = np.random.default_rng(0)
    return [rng.standard_normal(shape, np.float32) for shape in ((m, k), (k, n))]


def units() -> list[str]:
    """The precisions below "highest" that are faster here."""
    if on_gpu():
        return ["high", "medium"]
    matmul: Any = device.runtime_info()["matmul"]
    return [precision for precision, unit in matmul.items() if unit != "float32"]


def contenders(m: int, n: int, k: int, transposed: str, precision: str = "highest") -> Contenders:
    stored = operands(m, n, k)
    if transposed:
        i = "ab".index(transposed)
        stored[i] = np.ascontiguousarray(stored[i].T)
    a, b = turned(lay(stored[0]), lay(stored[1]), transposed)
    number = device.MATMUL_PRECISIONS.index(precision)
    made: dict[str, Any] = {"nnfast": partial(device.kernels.gemm, a, b, precision=number)}
    if found("numpy"):
        made["numpy"] = partial(np.matmul, a, b, out=np.empty((m, n), np.float32))
    if torch := load("torch"):
        ta, tb = turned(tensor(torch, stored[0]), tensor(torch, stored[1]), transposed)
        made["torch"] = product = partial(torch.mm, ta, tb, out=ta.new_empty(m, n))
        if on_gpu() and precision != "highest":
            made["torch TF32"] = partial(torch_at, torch, "high", product)
        if on_gpu() and precision == "medium":
            made["torch bfloat16"] = partial(torch.mm, ta.bfloat16(), tb.bfloat16())
            made["torch bfloat16 of float32"] = lambda: torch.mm(ta.bfloat16(), tb.bfloat16()).float()
        elif precision == "medium":
            made["torch medium"] = partial(torch_at, torch, "medium", product)
    if (cupy := load("cupy")) and precision == "highest":
        made["cupy"] = partial(cupy.matmul, a, b)
    if found("jax"):
        made["jax"] = Remote("jax", jax_product, *stored, transposed)
    return made


def turned(a: Any, b: Any, transposed: str) -> tuple[Any, Any]:
    """The operands, of which one may be stored transposed."""
    return (a.T if transposed == "a" else a), (b.T if transposed == "b" else b)


def best_products(n: int) -> dict[str, Callable[[], Any]]:
    """Large products of the peers, whose speeds are the limits of a GPU."""
    a, b = (np.random.default_rng(i).standard_normal((n, n), np.float32) for i in range(2))
    if torch := load("torch"):
        ta, tb = tensor(torch, a), tensor(torch, b)
        product = partial(torch.mm, ta, tb, out=ta.new_empty(n, n))
        halves = partial(torch.mm, ta.bfloat16(), tb.bfloat16())
        return {"float32": product, "TF32": partial(torch_at, torch, "high", product), "bfloat16": halves}
    cupy = load("cupy")
    return {"float32": partial(cupy.matmul, lay(a), lay(b))}


def torch_at(torch: Any, precision: str, product: Callable[[], Any]) -> Any:
    torch.set_float32_matmul_precision(precision)
    try:
        return product()
    finally:
        torch.set_float32_matmul_precision("highest")


def jax_product(a: Any, b: Any, transposed: str) -> Callable[[], Any]:
    import jax

    product = jax.jit(lambda a, b: jax.numpy.matmul(*turned(a, b, transposed)))
    a, b = jax.numpy.asarray(a), jax.numpy.asarray(b)
    return lambda: product(a, b).block_until_ready()
