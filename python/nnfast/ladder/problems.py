"""What each ladder computes: its arguments, the exact answer, how far a rung may be from it, and the awkward shapes.

The answers are formulas in float64. Inputs of small integers have sums and products that float32 holds exactly, in any
order: there a rung must give the answer itself, and one product too many or too few shows.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]
EPSILON = 2.0**-24  # what one rounding of float32 may cost, relative


class Edge(NamedTuple):
    """One awkward shape, why it is awkward, and what the inputs hold."""

    sizes: tuple[int, ...]
    why: str
    data: str = "integers"


class Problem:
    """One ladder. A rung is a function of `inputs` that fills, or in Python returns, one `output`."""

    name: ClassVar[str]
    formula: ClassVar[str]  # with the names of `dimensions`
    dimensions: ClassVar[tuple[str, ...]]
    arguments: ClassVar[tuple[str, ...]]  # of the function, the output last
    default: ClassVar[tuple[int, ...]]
    edges: ClassVar[list[Edge]]
    bound_by: ClassVar[str]  # "arithmetic", "copying" or "reading"
    numpy: ClassVar[Callable[..., Array] | None] = None  # how NumPy does it

    def sizes(self, given: list[int]) -> tuple[int, ...]:
        """All sizes from what the user gave: all of them, or one."""
        if len(given) == len(self.dimensions):
            return tuple(given)
        if len(given) == 1:
            return (given[0], *self.default[1:])
        wanted = ",".join(self.dimensions)
        raise ValueError(f"[ladder] --size of {self.name} expects one number, or {wanted}. Received: {given}")

    def shapes(self, sizes: tuple[int, ...]) -> list[tuple[int, ...]]:
        """Of the inputs and, last, the output."""
        raise NotImplementedError

    def make(self, sizes: tuple[int, ...], data: str, rng: np.random.Generator) -> list[Array]:
        """The inputs."""
        shapes = self.shapes(sizes)[:-1]
        if data == "integers":
            return [rng.integers(-4, 5, shape).astype(np.float32) for shape in shapes]
        return [rng.standard_normal(shape, np.float32) for shape in shapes]

    def exact(self, inputs: list[Array]) -> Array:
        """The answer in float64."""
        raise NotImplementedError

    def allowed(self, inputs: list[Array], rounding: float) -> Array | float:
        """How far an element of the output may be from the exact one; factors are rounded to `rounding`."""
        raise NotImplementedError

    def operations(self, sizes: tuple[int, ...]) -> float:
        """Additions, multiplications, comparisons, exponentials; where there are none, numbers moved."""
        raise NotImplementedError

    def traffic(self, sizes: tuple[int, ...]) -> float:
        """Bytes that must be read or written at least: each input and the output once."""
        return 4.0 * sum(math.prod(shape) for shape in self.shapes(sizes))


class Gemm(Problem):
    name = "gemm"
    formula = "c[M,N] = a[M,K] b[K,N]"
    dimensions = ("M", "N", "K")
    arguments = ("a", "b", "c")
    default = (512, 512, 512)
    bound_by = "arithmetic"
    numpy = staticmethod(np.matmul)
    edges: ClassVar = [
        Edge((1, 1, 1), "the smallest product: one number"),
        Edge((2, 3, 4), "all sides differ: an index or a stride of the wrong matrix shows"),
        Edge((3, 5, 0), "K is 0: a sum of nothing is 0, and c must still be written"),
        Edge((0, 5, 3), "no rows: there is nothing to write"),
        Edge((5, 0, 3), "no columns: there is nothing to write"),
        Edge((4, 4, 1), "K is 1: each sum has one product"),
        Edge((1, 37, 64), "one row: fewer than any tile"),
        Edge((37, 1, 64), "one column: rows of b and c are one number long"),
        Edge((17, 19, 23), "primes: every tile and vector leaves a rest"),
        Edge((64, 64, 64), "powers of two: no rest anywhere, but rows far apart in memory share cache lines' places"),
        Edge((63, 65, 66), "one less and a little more than a power of two: a rest of one, and of all but one"),
        Edge((65, 130, 257), "a little more than a block on every side: the last block is tiny"),
        Edge((130, 33, 300), "several blocks of rows and of K, few columns: sums go on from block to block"),
    ]

    def sizes(self, given: list[int]) -> tuple[int, ...]:
        return (given[0],) * 3 if len(given) == 1 else super().sizes(given)

    def shapes(self, sizes: tuple[int, ...]) -> list[tuple[int, ...]]:
        m, n, k = sizes
        return [(m, k), (k, n), (m, n)]

    def exact(self, inputs: list[Array]) -> Array:
        a, b = inputs
        return a.astype(np.float64) @ b.astype(np.float64)

    def allowed(self, inputs: list[Array], rounding: float) -> Array | float:
        a, b = (np.abs(x).astype(np.float64) for x in inputs)
        return (2 * rounding + (a.shape[1] + 2) * EPSILON) * (a @ b)

    def operations(self, sizes: tuple[int, ...]) -> float:
        return 2.0 * math.prod(sizes)


class Conv2D(Problem):
    name = "conv2d"
    formula = "y[N,H,W,F] = x[N,H,W,C] * filters[3,3,C,F], zeros around the pictures"
    dimensions = ("N", "H", "W", "C", "F")
    arguments = ("x", "filters", "y")
    default = (16, 28, 28, 32, 64)
    bound_by = "arithmetic"
    edges: ClassVar = [
        Edge((1, 1, 1, 1, 1), "one pixel: eight of the nine taps lie outside of the picture"),
        Edge((1, 2, 3, 1, 1), "every pixel lies at an edge"),
        Edge(
            (2, 5, 4, 3, 2),
            "all sizes differ: an index of the wrong side shows; two pictures: the second has its own edges",
        ),
        Edge((1, 1, 7, 2, 3), "one line of pixels: the taps above and below lie outside"),
        Edge((1, 7, 1, 2, 3), "one column of pixels: the taps left and right lie outside"),
        Edge((0, 4, 4, 2, 2), "no pictures: there is nothing to write"),
        Edge((1, 4, 4, 0, 3), "no channels: sums of nothing are 0, and y must still be written"),
        Edge((1, 6, 6, 1, 16), "one channel, as in a first layer"),
        Edge((1, 5, 5, 16, 1), "one filter"),
        Edge((1, 7, 9, 5, 17), "odd sides, and one filter more than a vector: every tile leaves a rest"),
        Edge((2, 8, 8, 16, 32), "multiples of any tile: no rest anywhere"),
        Edge((1, 13, 11, 33, 65), "a little more than a block of channels and of filters"),
    ]

    def shapes(self, sizes: tuple[int, ...]) -> list[tuple[int, ...]]:
        n, h, w, c, f = sizes
        return [(n, h, w, c), (3, 3, c, f), (n, h, w, f)]

    def exact(self, inputs: list[Array]) -> Array:
        x, filters = (v.astype(np.float64) for v in inputs)
        n, h, w, _ = x.shape
        padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
        y = np.zeros((n, h, w, filters.shape[3]))
        for r in range(3):
            for s in range(3):
                y += padded[:, r : r + h, s : s + w] @ filters[r, s]
        return y

    def allowed(self, inputs: list[Array], rounding: float) -> Array | float:
        x, filters = (np.abs(v) for v in inputs)
        return (2 * rounding + (9 * x.shape[3] + 2) * EPSILON) * self.exact([x, filters])

    def operations(self, sizes: tuple[int, ...]) -> float:
        return 18.0 * math.prod(sizes)


class Softmax(Problem):
    name = "softmax"
    formula = "y[rows,cols] = exp(x - largest of its row) / their sum"
    dimensions = ("rows", "cols")
    arguments = ("x", "y")
    default = (16384, 1000)
    bound_by = "copying"
    edges: ClassVar = [
        Edge((1, 1), "one number: its share is 1"),
        Edge((3, 2), "two classes"),
        Edge((0, 5), "no rows: there is nothing to write"),
        Edge((5, 0), "rows of nothing: there is nothing to write"),
        Edge((2, 16), "a row is a vector or a whole number of them"),
        Edge((3, 17), "a row is one number longer than a vector: rows begin anywhere"),
        Edge((4, 15), "a row is one number shorter than a vector"),
        Edge((2, 10), "numbers around 1000: exp overflows unless the largest is taken away first", "high"),
        Edge((2, 10), "numbers around -1000: all exp are 0 unless the largest is taken away first", "low"),
        Edge((2, 33), "equal numbers: each has the same share", "equal"),
        Edge((3, 40), "the largest comes last: what was summed before belongs to another largest", "rising"),
        Edge((2, 1000), "long rows: many blocks and a rest"),
    ]

    @staticmethod
    def numpy(x: Array) -> Array:
        e = np.exp(x - x.max(1, keepdims=True))
        return e / e.sum(1, keepdims=True)

    def shapes(self, sizes: tuple[int, ...]) -> list[tuple[int, ...]]:
        return [sizes, sizes]

    def make(self, sizes: tuple[int, ...], data: str, rng: np.random.Generator) -> list[Array]:
        x = 3 * rng.standard_normal(sizes, np.float32)
        if data == "equal":
            x[:] = 2.5
        elif data == "rising":
            x.sort(1)
        return [x + {"high": 1000, "low": -1000}.get(data, 0)]

    def exact(self, inputs: list[Array]) -> Array:
        x = inputs[0].astype(np.float64)
        if x.size == 0:
            return x
        e = np.exp(x - x.max(1, keepdims=True))
        return e / e.sum(1, keepdims=True)

    def allowed(self, inputs: list[Array], rounding: float) -> Array | float:
        cols = inputs[0].shape[1]
        return (2 * rounding + (cols + 16) * EPSILON) * self.exact(inputs) + 1e-37

    def operations(self, sizes: tuple[int, ...]) -> float:
        return 5.0 * math.prod(sizes)  # compare, subtract, exp, add, multiply


LENGTHS = [
    (0, "nothing"),
    (1, "one number"),
    (2, "two numbers"),
    (3, "fewer than a vector"),
    (7, "one less than a vector of 8"),
    (8, "a vector of 8"),
    (15, "one less than a vector of 16"),
    (16, "a vector of 16"),
    (17, "one more than a vector of 16"),
    (33, "one more than two vectors"),
    (63, "one less than four vectors"),
    (127, "one less than a power of two"),
    (128, "a power of two"),
    (129, "one more than a power of two"),
    (1000, "many vectors and a rest"),
    (4097, "one more than a block"),
    (100_003, "a prime: many blocks, and a rest of every kind"),
]


class Reduce(Problem):
    name = "reduce"
    formula = "sum = x[0] + x[1] + ... + x[n-1]"
    dimensions = ("n",)
    arguments = ("x", "sum")
    default = (1 << 24,)
    bound_by = "reading"
    numpy = staticmethod(np.sum)
    edges: ClassVar = [Edge((n,), why) for n, why in LENGTHS]

    def shapes(self, sizes: tuple[int, ...]) -> list[tuple[int, ...]]:
        return [sizes, (1,)]

    def make(self, sizes: tuple[int, ...], data: str, rng: np.random.Generator) -> list[Array]:
        if data == "integers":
            return [rng.integers(-8, 9, sizes).astype(np.float32)]
        return [rng.random(sizes, np.float32)]  # of one sign: what a long sum loses shows

    def exact(self, inputs: list[Array]) -> Array:
        return np.array([inputs[0].sum(dtype=np.float64)])

    def allowed(self, inputs: list[Array], rounding: float) -> Array | float:
        x = inputs[0]
        return min(x.size * EPSILON, 0.01) * float(np.abs(x).sum(dtype=np.float64))

    def operations(self, sizes: tuple[int, ...]) -> float:
        return float(sizes[0])


class Transpose(Problem):
    name = "transpose"
    formula = "y[cols,rows] = x[rows,cols], rows become columns"
    dimensions = ("rows", "cols")
    arguments = ("x", "y")
    default = (4096, 4096)
    bound_by = "copying"
    edges: ClassVar = [
        Edge((1, 1), "the smallest matrix: one number"),
        Edge((2, 3), "the sides differ: an index or a stride of the wrong matrix shows"),
        Edge((0, 5), "no rows: there is nothing to write"),
        Edge((5, 0), "no columns: there is nothing to write"),
        Edge((1, 37), "one row: it becomes a column"),
        Edge((37, 1), "one column: it becomes a row"),
        Edge((32, 32), "a tile: no rest anywhere"),
        Edge((33, 31), "one more and one less than a tile"),
        Edge((17, 23), "primes: less than a tile, and a rest of every vector"),
        Edge((64, 36), "multiples of four, but not of a tile"),
        Edge((130, 67), "several tiles and a rest on every side"),
        Edge((257, 128), "rows far apart in memory share cache lines' places"),
    ]

    @staticmethod
    def numpy(x: Array) -> Array:
        return np.ascontiguousarray(x.T)

    def shapes(self, sizes: tuple[int, ...]) -> list[tuple[int, ...]]:
        return [sizes, sizes[::-1]]

    def make(self, sizes: tuple[int, ...], data: str, rng: np.random.Generator) -> list[Array]:
        if data == "integers":  # each its own: which element has gone astray shows
            return [np.arange(math.prod(sizes), dtype=np.float32).reshape(sizes)]
        return super().make(sizes, data, rng)

    def exact(self, inputs: list[Array]) -> Array:
        return inputs[0].T.astype(np.float64)

    def allowed(self, inputs: list[Array], rounding: float) -> Array | float:
        return 0.0

    def operations(self, sizes: tuple[int, ...]) -> float:
        return float(math.prod(sizes))  # a number moved


class Elementwise(Problem):
    name = "elementwise"
    formula = "y = min(max(x / 6 + 1/2, 0), 1), Keras's hard_sigmoid"
    dimensions = ("n",)
    arguments = ("x", "y")
    default = (1 << 23,)
    bound_by = "copying"
    edges: ClassVar = [Edge((n,), why) for n, why in LENGTHS]

    @staticmethod
    def numpy(x: Array) -> Array:
        return np.minimum(np.maximum(x / 6 + np.float32(0.5), 0), 1)

    def shapes(self, sizes: tuple[int, ...]) -> list[tuple[int, ...]]:
        return [sizes, sizes]

    def make(self, sizes: tuple[int, ...], data: str, rng: np.random.Generator) -> list[Array]:
        if data == "integers":
            return [rng.integers(-5, 6, sizes).astype(np.float32)]  # -3 and 3 are the two corners
        return [3 * rng.standard_normal(sizes, np.float32)]

    def exact(self, inputs: list[Array]) -> Array:
        return np.clip(inputs[0].astype(np.float64) / 6 + 0.5, 0, 1)

    def allowed(self, inputs: list[Array], rounding: float) -> Array | float:
        return 2 * rounding + 4 * EPSILON

    def operations(self, sizes: tuple[int, ...]) -> float:
        return 4.0 * sizes[0]


PROBLEMS: dict[str, Problem] = {p.name: p for p in (Gemm(), Conv2D(), Softmax(), Reduce(), Transpose(), Elementwise())}
