"""float32 matrix products against NumPy (OpenBLAS) and PyTorch (MKL): the shapes of a course's networks."""

import numpy as np

from bench.timing import Row, compare
from nnfast import _cpu

try:
    import torch
except ImportError:
    torch = None

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


def run() -> list[Row]:
    rng = np.random.default_rng(0)
    rows = []
    for name, (m, n, k, transposed) in SHAPES.items():
        a = rng.standard_normal((k, m) if transposed == "a" else (m, k), np.float32)
        b = rng.standard_normal((n, k) if transposed == "b" else (k, n), np.float32)
        if transposed == "a":
            a = a.T
        if transposed == "b":
            b = b.T
        y = np.empty((m, n), np.float32)
        contenders = {"nnfast": lambda: _cpu.gemm(a, b), "numpy": lambda: np.matmul(a, b, out=y)}  # noqa: B023
        if torch is not None:
            ta, tb, ty = torch.from_numpy(a), torch.from_numpy(b), torch.empty(m, n)
            contenders["torch"] = lambda: torch.mm(ta, tb, out=ty)  # noqa: B023
        rows += compare(name, contenders, gigaflop=2e-9 * m * n * k)
    return rows
