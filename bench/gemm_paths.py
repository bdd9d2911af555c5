"""`python bench/gemm_paths.py [--quick]`: the path that gemm's shape model takes, beside every other that is possible.

The choice is the column nnfast, and its name stands behind the shape. The ratio is the fastest other column's time over
its own: clearly below 1, a wrong choice. Each call pays for naming its path, 0.2 microseconds.
"""

import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from nnfast import _cpu
from nnfast.bench.gemm import SHAPES, turned
from nnfast.bench.report import table
from nnfast.bench.timing import Bench

PATHS = ("packed", "direct", "columns", "few rows")


def main() -> None:
    bench = Bench(quick="--quick" in sys.argv[1:])
    rng = np.random.default_rng(0)
    for name, (m, n, k, transposed) in SHAPES.items():
        shapes = [(m, k), (k, n)]
        stored = [
            rng.standard_normal(shape[::-1] if side in transposed else shape, np.float32)
            for side, shape in zip("ab", shapes)
        ]
        a, b = turned(stored[0], stored[1], transposed)
        contenders = {"nnfast": partial(product, "automatic", a, b), **possible(a, b)}
        _cpu.use_gemm_path("automatic")
        rows = bench.compare(f"{name} ({_cpu.gemm_path(a, b)})", contenders, gigaflop=2e-9 * m * n * k, limits=False)
        print(table(rows), flush=True)
    _cpu.use_gemm_path("automatic")


def product(path: str, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    _cpu.use_gemm_path(path)
    return _cpu.gemm(a, b)


def possible(a: np.ndarray, b: np.ndarray) -> dict[str, Callable[[], Any]]:
    """The paths that this product can take."""
    found = {}
    for path in PATHS:
        _cpu.use_gemm_path(path)
        if _cpu.gemm_path(a, b) == path:
            found[path] = partial(product, path, a, b)
    return found


if __name__ == "__main__":
    main()
