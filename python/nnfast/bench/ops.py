"""Single ops other than matrix products and convolutions: element-wise, reductions, what memory limits, recurrence."""

from __future__ import annotations

from collections.abc import Iterator

from nnfast.bench import elementwise, memory, normalization, recurrent, reduce
from nnfast.bench.timing import Bench, Row


def run(bench: Bench) -> Iterator[Row]:
    for room in (elementwise, reduce, normalization, memory, recurrent):
        yield from room.run(bench)
