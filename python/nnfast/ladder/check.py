"""Is it right? Runs a function on the awkward shapes and says, in words, what is wrong where.

Outputs begin as a NaN of their own, so what is not written shows. Around each array lies a fence of a known pattern, so
a write outside of it shows. A second pass puts each array at the edge of a page that may not be touched: there a read
outside of it is a fault of the process, which only a process of its own survives.
"""

from __future__ import annotations

import ctypes
import math
import mmap
import os
from typing import Any

import numpy as np

from nnfast.ladder.problems import Array, Edge, Problem
from nnfast.ladder.rungs import Function

FENCE = 1024  # floats on either side
PATTERN = 0x7FA5C3B1  # a NaN that no arithmetic makes
QUIET = 1 << 22  # arithmetic sets this bit of a NaN, and leaves the others
# Another, which outputs hold before: x86 and ARM carry it through sums and products, so `c += ...` shows, too.
UNWRITTEN = np.uint32(0x7FE5C3B2).view(np.float32)


class Memory:
    """Where the arrays of a rung lie: here, in NumPy's. On a GPU it is gpu.Machine."""

    def put(self, x: Array) -> Any:
        return x

    def part(self, x: Any, offset: int, shape: tuple[int, ...]) -> Any:
        """Some of its numbers, which lie together."""
        return x.reshape(-1)[offset : offset + math.prod(shape)].reshape(shape)

    def fetch(self, x: Any) -> Array:
        array: Array = x
        return array


def check_edges(
    function: Function, rounding: float = 0.0, most: float = math.inf, memory: Memory | None = None
) -> str | None:
    """The awkward shapes of a ladder with at most so many operations; the first failure in words, or None."""
    for edge in function.problem.edges:
        small = function.problem.operations(edge.sizes) <= most
        if small and (wrong := check_edge(function, edge, rounding, memory)):
            return wrong
    return None


def check_edge(function: Function, edge: Edge, rounding: float = 0.0, memory: Memory | None = None) -> str | None:
    """One awkward shape, with fences around the arrays."""
    problem, memory = function.problem, memory or Memory()
    inputs = problem.make(edge.sizes, edge.data, np.random.default_rng(sum(edge.sizes)))
    arrays = [*inputs, np.full(problem.shapes(edge.sizes)[-1], UNWRITTEN)]
    rooms = [memory.put(_fenced(x)) for x in arrays]
    *inner, result = [memory.part(room, FENCE, x.shape) for room, x in zip(rooms, arrays)]
    answer = memory.fetch(function.bind(edge.sizes, inner, result)())
    where = f"{problem.name} of {described(problem, edge.sizes)}"
    after = [memory.fetch(room) for room in rooms]
    now = [x[FENCE : x.size - FENCE].reshape(given.shape) for x, given in zip(after, inputs)]
    wrong = _outside(problem, after) or changed(problem, now, inputs) or compare(problem, answer, inputs, rounding)
    return f"{where}: {wrong}\nWhy this shape: {edge.why}." if wrong else None


class Known:
    """The exact answer, and how far one may be from it: computed once for all rungs."""

    def __init__(self, problem: Problem, inputs: list[Array]):
        self._problem, self._inputs = problem, inputs
        self.exact = problem.exact(inputs)
        self._allowed: dict[float, Array | float] = {}
        self.whole = all(np.array_equal(x, np.rint(x)) for x in inputs) and problem.name in ("gemm", "conv2d", "reduce")

    def allowed(self, rounding: float) -> Array | float:
        if self.whole:
            return 0.0
        if rounding not in self._allowed:
            self._allowed[rounding] = self._problem.allowed(self._inputs, rounding)
        return self._allowed[rounding]


def described(problem: Problem, sizes: tuple[int, ...]) -> str:
    """M=1, N=37, K=64"""
    return ", ".join(f"{d}={n}" for d, n in zip(problem.dimensions, sizes))


def compare(
    problem: Problem, answer: Array, inputs: list[Array], rounding: float, known: Known | None = None
) -> str | None:
    """What is wrong with the answer, or None."""
    known = known or Known(problem, inputs)
    name, exact = problem.arguments[-1], known.exact
    if answer.dtype == object and answer.size == 1 and answer.item() is None:
        return f"it returns nothing: end it with `return {name}`."
    if answer.dtype.kind not in "fiu" or answer.size != exact.size:
        return f"{name} has shape {answer.shape} of {answer.dtype}, expected {exact.shape} of float32."
    answer = answer.reshape(exact.shape)
    with np.errstate(all="ignore"):  # whatever it holds
        got = answer.astype(np.float64)
    bad = ~(np.abs(got - exact) <= known.allowed(rounding))  # written so that NaN is bad
    if not bad.any():
        return None
    first = tuple(int(i) for i in np.argwhere(bad)[0])
    element = f"{name}[{','.join(map(str, first))}]"
    text = f"{element} is {got[first]:.9g}, expected {exact[first]:.9g}."
    if bad.size > 1:
        text += f" {bad.sum()} of {bad.size} elements are wrong{_region(bad)}."
    if np.isnan(got[bad]).any():
        text += _nan(name, answer[bad])
    elif known.whole and not np.array_equal(got[bad], np.rint(got[bad])):
        text += " The inputs are small integers, so the answer is one: something else was read."
    return text


def _nan(name: str, wrong: Array) -> str:
    """Where a NaN comes from: some have payloads of ours."""
    bits = wrong.view(np.uint32) if wrong.dtype == np.float32 else np.zeros(wrong.shape, np.uint32)
    if before := int((bits == UNWRITTEN.view(np.uint32)).sum()):
        which = "" if before == wrong.size else f" in {before} of them"
        return f" NaN lay there before{which}: it was never written, or {name} was added to without being set first."
    if ((bits | QUIET) == PATTERN | QUIET).any():
        return " It comes from memory outside of an array, where NaN lies: something else was read."
    return " It computed NaN, or read numbers that nobody had written: 0 / 0, inf - inf, inf * 0 and log(-1) are NaN."


def _region(bad: Array) -> str:
    """, all in columns 16 to 18"""
    parts = []
    for axis, length in enumerate(bad.shape):
        hit = np.flatnonzero(bad.any(axis=tuple(i for i in range(bad.ndim) if i != axis)))
        low, high = int(hit[0]), int(hit[-1])
        if high - low + 1 < length:
            kind = {(0, 2): "rows", (1, 2): "columns"}.get((axis, bad.ndim), f"indices of axis {axis}")
            parts.append(f"{kind} {low} to {high}" if high > low else f"{kind.rstrip('s')} {low}")
    return ", all in " + " and ".join(parts) if parts else ""


# ---- fences ----


def _fenced(array: Array) -> Array:
    room = np.full(array.size + 2 * FENCE, PATTERN, np.uint32).view(np.float32)
    room[FENCE : FENCE + array.size] = array.reshape(-1)
    return room


def _outside(problem: Problem, rooms: list[Array]) -> str | None:
    for name, room in zip(problem.arguments, rooms):
        size = room.size - 2 * FENCE
        hit = np.flatnonzero(room.view(np.uint32) != PATTERN) - FENCE
        before, after = hit[hit < 0], hit[hit >= size]
        if before.size:
            return (
                f"it writes before the beginning of {name}: {before.size} numbers, the farthest {-before[0]} before it."
            )
        if after.size:
            last = after[-1] - size + 1
            return f"it writes past the end of {name}: {after.size} numbers, the farthest {last} past it."
    return None


def changed(problem: Problem, inner: list[Array], inputs: list[Array]) -> str | None:
    """Which input is no longer what it was, or None."""
    for name, now, before in zip(problem.arguments, inner, inputs):
        if not np.array_equal(now, before):
            at = tuple(int(i) for i in np.argwhere(now != before)[0])
            return f"it changes its input: {name}[{','.join(map(str, at))}] was {before[at]:.9g}, is {now[at]:.9g}."
    return None


# ---- pages that may not be touched ----


class Guarded:
    """A copy of an array that ends, or begins, at a page that may not be touched. Posix alone."""

    possible = os.name == "posix"

    def __init__(self, array: Array, at_end: bool):
        page = mmap.PAGESIZE
        size = -(-array.nbytes // page) * page
        self._map: Any = mmap.mmap(-1, size + 2 * page)
        start = ctypes.addressof(ctypes.c_char.from_buffer(self._map))
        libc = ctypes.CDLL(None, use_errno=True)
        for forbidden in (start, start + page + size):
            if libc.mprotect(ctypes.c_void_p(forbidden), ctypes.c_size_t(page), 0) != 0:
                raise OSError(ctypes.get_errno(), "[ladder] a page could not be protected")
        offset = page + (size - array.nbytes if at_end else 0)
        self.array = np.frombuffer(self._map, np.float32, array.size, offset).reshape(array.shape)
        self.array[...] = array


def check_reads(function: Function, edge: Edge, argument: int, at_end: bool) -> None:
    """Runs one shape with one of its arrays at a forbidden page. Returns if the function touches none."""
    problem = function.problem
    arrays = problem.make(edge.sizes, edge.data, np.random.default_rng(0))
    arrays.append(np.full(problem.shapes(edge.sizes)[-1], UNWRITTEN))
    guarded = Guarded(arrays[argument], at_end)
    arrays[argument] = guarded.array
    function.bind(edge.sizes, arrays[:-1], arrays[-1])()


def guards(problem: Problem) -> list[tuple[Edge, int, bool]]:
    """What check_reads is run on: each array, at each end, at the shapes that are small but not empty."""
    if not Guarded.possible:
        return []
    shapes = {edge.sizes: edge for edge in problem.edges if 0 < math.prod(edge.sizes) < 2_000_000}
    return [(edge, i, end) for edge in shapes.values() for i in range(len(problem.arguments)) for end in (True, False)]
