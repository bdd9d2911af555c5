"""`python bench/gemm_paths.py [--quick]`: the path that gemm's shape model takes, beside every other that is possible.

And then, for the rows of a small batch, replays of 8 products with weights packed once and packed each time.

The choice is the column nnfast, and its name stands behind the shape. The ratio is the fastest other column's time over
its own: clearly below 1, a wrong choice. Each call pays for naming its path, 0.2 microseconds.
"""

import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from nnfast import Variable, _cpu, graph, ops
from nnfast.bench.gemm import SHAPES, turned
from nnfast.bench.report import table
from nnfast.bench.timing import Bench

STEPS = 8
WEIGHTS = ((784, 512), (768, 3072), (3072, 768))
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
    for k, n in WEIGHTS:
        w = Variable(rng.standard_normal((k, n), np.float32))
        for m in (4, 8, 16, 32, 64, 128, 256):
            x = rng.standard_normal((m, k), np.float32)
            plans = {"nnfast": replays(x, w, False), "nnfast, weights kept": replays(x, w, True)}
            rows = bench.compare(f"{m},{n},{k}", plans, gigaflop=2e-9 * m * n * k, limits=False, per=STEPS)
            print(table(rows), flush=True)


def replays(x: np.ndarray, w: Variable, kept: bool) -> Callable[[], None]:
    """A function that multiplies several times."""
    with graph.capture(constant=kept) as plan:
        ops.dense(x, w)

    def run() -> None:
        plan.replay(STEPS)

    return run


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
