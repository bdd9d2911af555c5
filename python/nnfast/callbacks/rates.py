"""Callbacks that lead the learning rate: schedules by epoch, cycles by step, and the search for a good one."""

import inspect
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from nnfast.callbacks.callback import Callback, Logs


class LearningRateScheduler(Callback):
    """Sets the learning rate at the start of each epoch to `schedule(epoch, learning_rate)`, or to `schedule(epoch)`
    if it takes one argument alone."""

    def __init__(self, schedule: Callable[..., float], verbose: int = 0):
        self.schedule, self.verbose = schedule, verbose
        self._takes_rate = _accepts(schedule, 2)
        if not (self._takes_rate or _accepts(schedule, 1)):
            raise TypeError(
                f"[LearningRateScheduler] schedule must be callable with (epoch, learning_rate) or (epoch). "
                f"Received: {schedule!r}"
            )

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        now = float(self.model.optimizer.learning_rate)
        rate = self.schedule(epoch, now) if self._takes_rate else self.schedule(epoch)
        self.model.optimizer.learning_rate = rate
        if self.verbose:
            print(f"\nEpoch {epoch + 1}: LearningRateScheduler setting learning rate to {float(rate)}.")

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        if isinstance(logs, dict):
            logs["learning_rate"] = float(self.model.optimizer.learning_rate)


def _accepts(f: Any, count: int) -> bool:
    """Can f be called with so many positional arguments? Yes where Python cannot tell (some built-in functions)."""
    try:
        inspect.signature(f).bind(*range(count))
    except ValueError:
        return True
    except TypeError:
        return False
    return True


class _PerStep(Callback):
    """Sets the learning rate before each step to `rate(step)`, step counted from the start of training."""

    step = 0

    def rate(self, step: int) -> float:
        """The learning rate of a step."""
        raise NotImplementedError(f"[{type(self).__name__}] a callback per step must define rate(step)")

    def on_train_begin(self, logs: Logs = None) -> None:
        self.step = 0

    def on_train_batch_begin(self, batch: int, logs: Logs = None) -> None:
        self.model.optimizer.learning_rate = self.rate(self.step)
        self.step += 1

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        if isinstance(logs, dict):
            logs["learning_rate"] = float(self.model.optimizer.learning_rate)


class CyclicalLR(_PerStep):
    """The learning rate goes up and down between two values. L. Smith, Cyclical Learning Rates for Training Neural
    Networks (2017).

    Args:
        base_lr, max_lr: the two values.
        step_size: steps from one to the other: a cycle has twice as many. Smith: 2 to 8 epochs.
        mode: "triangular"; "triangular2" halves the height after each cycle; "exp_range" shrinks it by gamma per step.
        gamma: see mode.

    >>> import nnfast
    >>> cycle = nnfast.callbacks.CyclicalLR(0.1, 0.5, step_size=2)
    >>> [round(cycle.rate(step), 2) for step in range(6)]
    [0.1, 0.3, 0.5, 0.3, 0.1, 0.3]
    """

    def __init__(
        self,
        base_lr: float = 1e-3,
        max_lr: float = 6e-3,
        step_size: int = 2000,
        mode: str = "triangular",
        gamma: float = 0.99994,
    ):
        if not 0 <= base_lr < max_lr:
            raise ValueError(f"[CyclicalLR] base_lr must be below max_lr. Received: base_lr={base_lr}, max_lr={max_lr}")
        if step_size < 1:
            raise ValueError(f"[CyclicalLR] step_size must be at least 1. Received: step_size={step_size}")
        if mode not in ("triangular", "triangular2", "exp_range"):
            raise ValueError(f"[CyclicalLR] mode must be triangular, triangular2 or exp_range. Received: mode={mode!r}")
        self.base_lr, self.max_lr, self.step_size, self.mode, self.gamma = base_lr, max_lr, step_size, mode, gamma

    def rate(self, step: int) -> float:
        """The learning rate of a step."""
        cycle = step // (2 * self.step_size)
        height = 1 - abs(step / self.step_size - 2 * cycle - 1)  # 0 to 1 to 0
        if self.mode == "triangular2":
            height /= 2**cycle
        elif self.mode == "exp_range":
            height *= self.gamma**step
        return self.base_lr + (self.max_lr - self.base_lr) * height


class OneCycle(_PerStep):
    """One rise to max_lr, then a long fall to almost nothing, both along a cosine. L. Smith and N. Topin,
    Super-Convergence (2018); the numbers are those of PyTorch's OneCycleLR.

    Args:
        max_lr: the highest learning rate; about a tenth of where `LRFinder` sees the loss explode.
        total_steps: steps of the cycle; default: those of `fit`.
        pct_start: the share of the steps that rises.
        div_factor: it starts at max_lr / div_factor.
        final_div_factor: it ends at the start / final_div_factor.

    >>> import nnfast
    >>> cycle = nnfast.callbacks.OneCycle(1.0, total_steps=11, pct_start=0.5)
    >>> [round(cycle.rate(step), 4) for step in (0, 4, 10)]
    [0.04, 0.9711, 0.0]
    """

    def __init__(
        self,
        max_lr: float,
        total_steps: int | None = None,
        pct_start: float = 0.3,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
    ):
        if not max_lr > 0:
            raise ValueError(f"[OneCycle] max_lr must be positive. Received: max_lr={max_lr}")
        if not 0 <= pct_start <= 1:
            raise ValueError(f"[OneCycle] pct_start must be from 0 to 1. Received: pct_start={pct_start}")
        self.max_lr, self.total_steps, self.pct_start = max_lr, total_steps, pct_start
        self.start, self.end = max_lr / div_factor, max_lr / div_factor / final_div_factor
        self._steps = total_steps or 0

    def on_train_begin(self, logs: Logs = None) -> None:
        super().on_train_begin(logs)
        if self.total_steps is None:
            steps = self.params.get("steps")
            if steps is None:
                raise ValueError("[OneCycle] the data do not say how many steps there are. Give total_steps=")
            self._steps = steps * self.params.get("epochs", 1)

    def rate(self, step: int) -> float:
        """The learning rate of a step; after the last one it stays."""
        top, last = self.pct_start * self._steps - 1, self._steps - 1
        if step < top:
            return self._cosine(self.start, self.max_lr, step / top)
        return self._cosine(self.max_lr, self.end, min((step - top) / max(last - top, 1e-12), 1.0))

    @staticmethod
    def _cosine(start: float, end: float, share: float) -> float:
        return end + (start - end) / 2 * (1 + math.cos(math.pi * share))


class LRFinder(Callback):
    """Range test: the learning rate grows with each step of `fit`; where the loss falls fastest is a good one.
    `nnfast.plot.lr_finder` draws it.

    Afterwards weights and optimizer are as before (of a model that was not built: as after the first step). Training
    stops when the loss explodes or the steps are done.

    Args:
        start_lr, end_lr: from where to where it grows, by one factor per step.
        steps: how many steps; default: those of `fit`.
        smoothing: of the loss, 0 to 1: how much of the average stays at each step.
        explosion: it stops when the smoothed loss is so many times the smallest one.

    Attributes:
        rates, losses: per step: the learning rate and the smoothed loss of the batch.

    >>> import numpy as np, nnfast
    >>> model = nnfast.Sequential([nnfast.layers.Dense(1)])
    >>> model.compile("sgd", "mse")
    >>> x = np.linspace(-1, 1, 64)[:, None]
    >>> finder = nnfast.callbacks.LRFinder()
    >>> history = model.fit(x, 3 * x, epochs=20, batch_size=8, verbose=0, callbacks=[finder])
    >>> 1e-3 < finder.suggestion() < 10
    True
    """

    def __init__(
        self,
        start_lr: float = 1e-7,
        end_lr: float = 10.0,
        steps: int | None = None,
        smoothing: float = 0.9,
        explosion: float = 4.0,
    ):
        if not 0 < start_lr < end_lr:
            raise ValueError(f"[LRFinder] start_lr must be below end_lr. Received: {start_lr}, {end_lr}")
        if not 0 <= smoothing < 1:
            raise ValueError(f"[LRFinder] smoothing must be from 0 to below 1. Received: smoothing={smoothing}")
        self.start_lr, self.end_lr, self.steps = start_lr, end_lr, steps
        self.smoothing, self.explosion = smoothing, explosion
        self.rates: list[float] = []
        self.losses: list[float] = []

    def on_train_begin(self, logs: Logs = None) -> None:
        steps = self.steps
        if steps is None and self.params.get("steps") is not None:
            steps = self.params["steps"] * self.params.get("epochs", 1)
        self._factor = (self.end_lr / self.start_lr) ** (1 / max((steps or 100) - 1, 1))
        self._limit = steps or 100
        self.rates, self.losses, self._average = [], [], 0.0
        model = self.model
        self._rate = float(model.optimizer.learning_rate)
        self._before: list[Any] | None = None
        if model.built:
            if len(model.optimizer.variables) <= 2:  # its state is made by the first step
                model.optimizer.build(model.trainable_variables)
            self._before = self._state()
        self._finite, model.check_finite = model.check_finite, False

    def _state(self) -> list[Any]:
        """Copies of what training changes."""
        return [(v, v.numpy()) for v in (*self.model.weights, *self.model.optimizer.variables)]

    def _sums(self) -> np.ndarray:
        """The sum of the losses so far, and the number of samples."""
        return next(m for m in self.model.metrics if m.name == "loss").sums.numpy()

    def on_train_batch_begin(self, batch: int, logs: Logs = None) -> None:
        self.model.optimizer.learning_rate = self.start_lr * self._factor ** len(self.rates)
        self._seen = self._sums()

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        if self._before is None:  # the first batch has built the model, and moved it by start_lr
            self._before = self._state()
        total, count = self._sums() - self._seen
        loss = float(total / count) if count else math.nan
        if not math.isfinite(loss):
            self.model.stop_training = True
            return
        self.rates.append(float(self.model.optimizer.learning_rate))
        self._average = self.smoothing * self._average + (1 - self.smoothing) * loss
        self.losses.append(self._average / (1 - self.smoothing ** len(self.rates)))
        exploded = len(self.rates) > 5 and self.losses[-1] > self.explosion * min(self.losses)
        if exploded or len(self.rates) >= self._limit:
            self.model.stop_training = True

    def on_train_end(self, logs: Logs = None) -> None:
        for v, value in self._before or ():
            v.assign(value)
        self.model.optimizer.learning_rate = self._rate
        self.model.check_finite = self._finite

    def suggestion(self) -> float:
        """Where the smoothed loss falls fastest, before its minimum. NaN if there were fewer than three steps."""
        if len(self.losses) < 3:
            return math.nan
        losses = np.array(self.losses[: max(int(np.argmin(self.losses)), 2) + 1])
        half = max(len(losses) // 8, 1)  # over so many steps to either side, that the noise of batches does not decide
        return self.rates[half + int(np.argmin(losses[2 * half :] - losses[: -2 * half]))]
