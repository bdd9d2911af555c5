"""The progress bar: Keras's look; plain characters where the terminal has no others; one line where there is none."""

import sys
import time
from collections.abc import Sequence
from typing import Any

import numpy as np


class Progbar:
    """Shows how far a loop is.

    Args:
        target: steps in all, None if unknown.
        width: characters of the bar.
        verbose: 0 nothing, 1 a moving bar (on a terminal or in a notebook; elsewhere one line at the end), 2 one line
            at the end.
        interval: seconds between two drawings.
        stateful_metrics, stateless_metrics: accepted for Keras's sake; values are shown as given.
        unit_name: what a step is called in the time, "step" or "epoch".
    """

    def __init__(
        self,
        target: int | None,
        width: int = 20,
        verbose: int = 1,
        interval: float = 0.05,
        stateful_metrics: Any = None,
        stateless_metrics: Any = None,
        unit_name: str = "step",
    ):
        self.target, self.width, self.verbose, self.interval, self.unit_name = (
            target,
            width,
            verbose,
            interval,
            unit_name,
        )
        self.seen = 0
        self._values: dict[str, Any] = {}
        self._begin = time.perf_counter()
        self._drawn = 0.0
        self._length = 0
        out = sys.stdout
        self._moving = verbose == 1 and (bool(getattr(out, "isatty", lambda: False)()) or "ipykernel" in sys.modules)
        self._done, self._rest = ("━", "━") if _can_print("━", out) else ("=", ".")
        self._colour = self._moving and _can_print("━", out) and "ipykernel" not in sys.modules

    def title(self, text: str) -> None:
        """A line above the bar."""
        if self.verbose:
            print(text, flush=True)

    def due(self, current: int) -> bool:
        """Is it time to draw again? Reading the metrics can wait until it is."""
        self.seen = current
        if not self._moving:
            return False
        return time.perf_counter() - self._drawn >= self.interval or current == self.target

    def add(self, n: int, values: Sequence[tuple[str, Any]] | None = None) -> None:
        """n more steps are done."""
        self.update(self.seen + n, values)

    def update(
        self, current: int, values: Sequence[tuple[str, Any]] | None = None, finalize: bool | None = None
    ) -> None:
        """`current` steps are done; values are pairs (name, number)."""
        self.seen = current
        self._values.update(values or ())
        if finalize is None:
            finalize = self.target is not None and current >= self.target
        now = time.perf_counter()
        if not self.verbose or (not finalize and (not self._moving or now - self._drawn < self.interval)):
            return
        self._drawn = now
        line = self._line(current, now - self._begin, finalize)
        if self._moving:
            padding = " " * max(self._length - len(line), 0)
            self._length = len(line)
            sys.stdout.write("\r" + (self._painted(line, current) if self._colour else line) + padding)
            if finalize:
                sys.stdout.write("\n")
        elif finalize:
            sys.stdout.write(line + "\n")
        sys.stdout.flush()

    def abandon(self) -> None:
        """Leaves the line as it is and begins a new one."""
        if self._moving and self._length:
            sys.stdout.write("\n")
            sys.stdout.flush()

    def _line(self, current: int, elapsed: float, finalize: bool) -> str:
        count = f"{current}/{self.target}" if self.target is not None else f"{current}/Unknown"
        per_step = elapsed / max(current, 1)
        parts = [count]
        if self.target and self.verbose == 1:
            done = int(self.width * min(current / self.target, 1))
            parts.append(self._done * done + self._rest * (self.width - done))
        if finalize or self.target is None or not current:
            parts.append(f"{_duration(elapsed)} {_short(per_step)}/{self.unit_name}")
        else:
            parts.append(f"{_duration(per_step * (self.target - current))} {_short(per_step)}/{self.unit_name}")
        line = " ".join(parts)
        for name, value in self._values.items():
            line += f" - {name}: {_number(value)}"
        return line

    def _painted(self, line: str, current: int) -> str:
        """The bar in colour: green what is done, grey what is left."""
        if not self.target:
            return line
        bar = self._done * self.width
        done = int(self.width * min(current / self.target, 1))
        painted = f"\x1b[32m{self._done * done}\x1b[0m\x1b[37m{self._rest * (self.width - done)}\x1b[0m"
        return line.replace(bar, painted, 1)


def _can_print(text: str, stream: Any) -> bool:
    try:
        text.encode(getattr(stream, "encoding", None) or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def _number(value: Any) -> str:
    if isinstance(value, str):
        return value
    value = float(np.mean(value))
    return f"{value:.4f}" if abs(value) > 1e-3 or value == 0 else f"{value:.4e}"


def _duration(seconds: float) -> str:
    if seconds >= 3600:
        return f"{int(seconds // 3600)}:{int(seconds % 3600 // 60):02d}:{int(seconds % 60):02d}"
    return f"{int(seconds // 60)}:{int(seconds % 60):02d}" if seconds >= 60 else f"{int(seconds)}s"


def _short(seconds: float) -> str:
    if seconds >= 1:
        return f"{seconds:.0f}s"
    return f"{seconds * 1e3:.0f}ms" if seconds >= 1e-3 else f"{seconds * 1e6:.0f}us"
