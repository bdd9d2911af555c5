"""The status word: how a kernel reports what it found in data, when its caller cannot wait for an answer.

`fit` keeps one status array per model. Inside `use_status` the ops that check data write to it instead of raising, and
those that change what outlives the step do nothing once it is set.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from nnfast import device, graph
from nnfast.tensor import Tensor

# Codes, as in csrc/view.h.
BAD_LABEL, BAD_LABEL_FLOAT, BAD_LABEL_ROW, BAD_INDEX, NON_FINITE_LOSS = 1, 2, 3, 4, 5


class _Local(threading.local):
    status: np.ndarray | None = None
    at_end: list[Callable[[], Any]] | None = None
    looks: list[Callable[[], Any]] | None = None


_local = _Local()


def new_status() -> np.ndarray:
    """A status array (code, step, sample, value, now), all 0."""
    return device.for_life(np.zeros(5, "int64"))


def current_status() -> np.ndarray | None:
    """The status array of the running step, or None: then ops raise at once."""
    return _local.status


@contextmanager
def use_status(status: np.ndarray, looks: list[Callable[[], Any]] | None = None) -> Iterator[None]:
    """Inside, a step runs: this thread's ops report to `status`, `at_end_of_step` waits for its end, and what
    `after_step` is given is put into looks, for the caller to call after the step, or dropped where that is None."""
    before = _local.status, _local.at_end, _local.looks
    _local.status, _local.at_end, _local.looks = status, [], looks
    try:
        yield
        for write in _local.at_end:
            write()
    finally:
        _local.status, _local.at_end, _local.looks = before


def current_step() -> Any:
    """An object that stands for the running step, or None."""
    return _local.at_end


def at_end_of_step(write: Callable[[], Any]) -> None:
    """Calls `write` when the running step ends, or now if none is running.

    What outlives a step is written at its end, after every kernel that may find fault with its data. A step that
    raises writes nothing.
    """
    if _local.at_end is None:
        write()
    else:
        _local.at_end.append(write)


def assign(variable: Tensor, value: Tensor) -> None:
    """variable = value, in place, unless a kernel of the running step has found fault with its data.

    >>> import nnfast
    >>> v = nnfast.Variable([1.0, 2.0])
    >>> nnfast.ops.assign(v, v * 2.0)
    >>> v.tolist()
    [2.0, 4.0]
    """
    device.kernels.copy(value.data, variable.data, status=_local.status)


def follow(variable: Tensor, value_at: Callable[[int], float], most: int = 256) -> None:
    """variable = value_at(0), a number that Python knows. A replay of n steps, of which there are at most `most`, asks
    for value_at(0), ..., value_at(n - 1) before, and gives each step its own."""
    with graph.outside():
        value = value_at(0)
        device.write(variable.data, value)
    if graph.capturing() is None:
        return
    k = device.kernels
    table, at = device.for_life(np.zeros(most, variable.dtype)), device.for_life(np.zeros(1, "int64"))

    def prepare(n: int) -> None:
        device.write(table[:n], [value_at(i) for i in range(n)])
        device.write(at, 0)

    device.write(table[:1], value)
    k.copy(k.next_rows(k.Slot(table), at, 1), variable.data.reshape(1))
    k.advance(at, 1)
    graph.before_replay(variable, prepare, most)


def after_step(look: Callable[[], Any]) -> None:
    """For warnings about data: calls `look`, which may read values, after the running step if its caller wants to look
    at this step (`fit` wants to at its first), or now if none is running. A step itself reads nothing."""
    if _local.at_end is None:
        look()
    elif _local.looks is not None:
        _local.looks.append(look)
