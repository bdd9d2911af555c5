"""Capture and replay: a step that runs once in Python, and from then on as one call of C++.

While a capture is open, every kernel that its thread launches is also recorded, with its arguments, in a `Plan`.
`Plan.replay` runs the recorded kernels again, on the same memory: no Python, no allocation. What changes from step to
step lies in memory that kernels read and write: Variables, the learning rate, counters of random numbers, and slots,
places for arrays that are bound before a replay.

What Python reads while a plan is captured would be frozen in it, so reading the value of a tensor is an error inside a
capture.
"""

import gc
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from nnfast import device


class _Local(threading.local):
    plan: "Plan | None" = None


_local = _Local()


class CaptureError(RuntimeError):
    """Something inside a capture cannot be recorded."""


class Plan:
    """The kernels of a captured computation. Made by `capture`.

    Attributes:
        reason: why it cannot be replayed; empty: it can.
        most: how many times one call of `replay` may run it.
        launches: how many kernels it holds.
        bytes: how much memory it holds for them.
        kept: how much more it borrows, while it replays several steps, for packed weights.
    """

    def __init__(self, strict: bool = True):
        if not available():
            raise CaptureError(
                f"[capture] the device {device.get_device()!r} does not capture: its steps run one by one in Python. "
                "Received: a capture. Use it on the device 'cpu'"
            )
        self._plan = device.kernels.Plan()
        self._strict = strict
        self._hooks: dict[Any, Callable[[int], Any]] = {}
        self.most = sys.maxsize
        self._generation = generation()
        self.reason = ""

    @property
    def launches(self) -> int:
        return self._plan.launches

    @property
    def bytes(self) -> int:
        return self._plan.bytes

    @property
    def kept(self) -> int:
        """How much memory a replay of several steps borrows for packed weights."""
        return self._plan.kept

    @property
    def current(self) -> bool:
        """Is everything that was frozen in it still as it was?"""
        return self._generation == generation()

    def spoil(self, reason: str) -> None:
        """Forbids replays; in a strict capture, an error."""
        self.reason = self.reason or reason
        if self._strict:
            raise CaptureError(f"[capture] {reason}")

    def replay(
        self,
        n: int = 1,
        *,
        seconds: float = sys.float_info.max,
        bindings: list[tuple[Any, Any]] | None = None,
        start: int = -1,
        wait: bool = True,
    ) -> tuple[int, Any]:
        """Runs the recorded kernels again.

        Args:
            n: how many times, at most.
            seconds: for how long, at most; looked at between two of them.
            bindings: pairs (slot, array) to bind before.
            start: what to set the plan's cursor to before.
            wait: for another thread that replays this plan to end?

        Returns:
            How many times; -1 if another thread replays this plan, and wait is False. And None, or what the plan's
            status held: then what outlives the step is as before the step that set it.

        Raises:
            CaptureError: the plan cannot be replayed.
        """
        n = self._prepared(min(n, self.most))
        return self._plan.replay(n, seconds, bindings or (), start, wait)

    def profile(self, bindings: list[tuple[Any, Any]] | None = None, start: int = -1) -> Any:
        """Runs the recorded kernels once more, and times each.

        Args:
            bindings, start: as in `replay`.

        Returns:
            Pairs (op, seconds), in order; a look at the clock adds some 30 ns to each, on a GPU a wait some 10 us. And
            None, or what the plan's status held.
        """
        self._prepared(1)
        return self._plan.profile(bindings or (), start)

    def _prepared(self, n: int) -> int:
        if self.reason:
            raise CaptureError(f"[replay] this plan cannot be replayed: {self.reason}")
        for prepare in self._hooks.values():
            prepare(n)
        return n


def available() -> bool:
    """Does the device capture?"""
    return hasattr(device.kernels, "Plan")


@contextmanager
def capture(status: Any = None, cursor: Any = None, strict: bool = True, constant: bool = False) -> Iterator[Plan]:
    """Runs what is inside and records its kernels in a new Plan.

    Args:
        status: the status array (`ops.new_status`) in which kernels report bad data; a replay stops at the step that
            sets it.
        cursor: an int64 array of one number, which `replay(start=)` sets.
        strict: if False, what cannot be recorded raises nothing: `plan.reason` says it, and the plan is of no use.
        constant: the step changes no Variable. A replay of several steps then packs weights once, not in each step.

    Raises:
        CaptureError: a value was read inside, an array made inside is still alive at the end, or the device does not
            capture.

    >>> import nnfast
    >>> v = nnfast.Variable([1.0, 2.0])
    >>> with nnfast.graph.capture() as plan:
    ...     v.assign(v * 3.0)
    >>> plan.replay(2)
    (2, None)
    >>> v.tolist()
    [27.0, 54.0]
    """
    if _local.plan is not None:
        raise CaptureError("[capture] a capture is already open in this thread")
    plan = Plan(strict)
    plan._plan.begin(status, cursor, constant)
    _local.plan = plan
    try:
        yield plan
    finally:
        _local.plan = None
        alive = plan._plan.end()
    if alive and not plan.reason:
        gc.collect()
        alive = plan._plan.end()
    if plan._plan.spoiled:
        plan.spoil(plan._plan.spoiled)
    if alive:
        plan.spoil(
            f"{alive} arrays that were made inside the capture are still in use, and a replay would write to them. "
            "Keep copies, e.g. with Variable.assign, or put_rows into a slot"
        )


@contextmanager
def outside() -> Iterator[None]:
    """Inside, nothing is recorded, and values may be read: for what Python does once for a plan, or between replays."""
    plan = _local.plan
    if plan is None:
        yield
        return
    _local.plan = None
    plan._plan.pause()
    try:
        yield
    finally:
        plan._plan.resume()
        _local.plan = plan


def capturing() -> Plan | None:
    """The plan that this thread captures, or None."""
    return _local.plan


def reading(what: str) -> None:
    """Called by whoever is about to read the value of a tensor in Python: no plan can hold that."""
    plan = _local.plan
    if plan is not None and not (plan.reason and not plan._strict):
        plan.spoil(f"{what} reads a value, which a replay would not read again: {_line()}")


def before_replay(key: Any, prepare: Callable[[int], Any], most: int = sys.maxsize) -> None:
    """Inside a capture: `prepare(n)` is called before each replay of n steps, of which there are at most `most`; once
    per key. Outside: nothing."""
    plan = _local.plan
    if plan is not None:
        plan._hooks[key] = prepare
        plan.most = min(plan.most, most)


_generation = 0


def generation() -> int:
    """A number that rises whenever something changes that plans hold as a constant."""
    return _generation


def changed() -> None:
    """Makes all plans outdated: an attribute of a layer or optimizer, a setting, the device has changed."""
    global _generation
    _generation += 1


device.after_a_move.append(changed)


class Watched:
    """Base of what plans hold as constants: changing a public attribute makes plans outdated."""

    _unwatched: frozenset[str] = frozenset()  # names that no step looks at

    def __setattr__(self, name: str, value: Any) -> None:
        if not name.startswith("_") and name not in self._unwatched:
            old = self.__dict__.get(name, _MISSING)
            if old is _MISSING:
                old = getattr(type(self), name, _MISSING)
            if old is not _MISSING and old is not value and not isinstance(old, property):
                changed()
        object.__setattr__(self, name, value)

    def __delattr__(self, name: str) -> None:
        changed()
        object.__delattr__(self, name)


_MISSING = object()
_QUIET = ("nnfast.graph", "nnfast.tensor", "nnfast.tape")


def _line() -> str:
    """File and line of who asked: of the user's code if a step has called it, else of nnfast's."""
    frame = sys._getframe(2)
    while frame.f_back is not None and frame.f_globals.get("__name__") in _QUIET:
        frame = frame.f_back
    caller: Any = frame
    while caller is not None and caller.f_globals.get("__name__", "").partition(".")[0] == "nnfast":
        caller = None if caller.f_globals["__name__"] == "nnfast.models.replay" else caller.f_back
    frame = caller or frame
    return f"{frame.f_code.co_filename}, line {frame.f_lineno}, in {frame.f_code.co_name}"


__all__ = [
    "CaptureError",
    "Plan",
    "Watched",
    "available",
    "before_replay",
    "capture",
    "capturing",
    "changed",
    "generation",
    "outside",
    "reading",
]
