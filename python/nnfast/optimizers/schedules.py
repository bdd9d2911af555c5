"""Learning rates that change with the step: give one to an optimizer in the place of a number.

A schedule is called with the count of steps done, a number or a tensor of them, and gives a tensor of rates.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nnfast import config
from nnfast.saving.serialization import from_identifier, publish, serialize_keras_object
from nnfast.tensor import Tensor


class LearningRateSchedule:
    """Base class: subclass it and define `__call__(step)`; `get_config` too, if the optimizer is to be saved.

    >>> import nnfast
    >>> class Falling(nnfast.optimizers.schedules.LearningRateSchedule):
    ...     def __call__(self, step):
    ...         return 0.5 / (step + 1)
    >>> float(nnfast.optimizers.SGD(Falling()).learning_rate)
    0.5
    """

    def __call__(self, step: Any) -> Any:
        """The learning rate after so many steps."""
        raise NotImplementedError(f"[{type(self).__name__}] a schedule must define __call__(step)")

    def get_config(self) -> dict[str, Any]:
        """The arguments that make an equal schedule."""
        raise NotImplementedError(f"[{type(self).__name__}] a schedule must define get_config() to be saved")

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Any:
        """The schedule that `get_config` described."""
        return cls(**config)


class _Formula(LearningRateSchedule):
    """A schedule by a formula: `_rates` maps steps, float64, to rates. _config: the names of the arguments."""

    _config: tuple[str, ...] = ()
    name: str

    def __call__(self, step: Any) -> Tensor:
        steps = np.asarray(step, np.float64)
        return Tensor(np.asarray(self._rates(steps), config.floatx()))

    def _rates(self, step: np.ndarray) -> Any:
        raise NotImplementedError

    def get_config(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self._config}

    def _positive(self, **values: Any) -> None:
        for name, value in values.items():
            if not value > 0:
                raise ValueError(f"[{type(self).__name__}] {name} must be positive. Received: {name}={value!r}")


class ExponentialDecay(_Formula):
    """initial_learning_rate * decay_rate^(step / decay_steps).

    Args:
        initial_learning_rate: the rate at step 0.
        decay_steps: after so many steps the rate has been multiplied by decay_rate once.
        decay_rate: see above.
        staircase: round step / decay_steps down.
        name: kept in configurations.

    >>> import nnfast
    >>> float(nnfast.optimizers.schedules.ExponentialDecay(0.5, 10, 0.25)(20))
    0.03125
    """

    _config = ("initial_learning_rate", "decay_steps", "decay_rate", "staircase", "name")

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: int,
        decay_rate: float,
        staircase: bool = False,
        name: str = "ExponentialDecay",
    ):
        self._positive(decay_steps=decay_steps)
        self.initial_learning_rate, self.decay_steps = initial_learning_rate, decay_steps
        self.decay_rate, self.staircase, self.name = decay_rate, staircase, name

    def _rates(self, step: np.ndarray) -> Any:
        p = step / self.decay_steps
        return self.initial_learning_rate * self.decay_rate ** (np.floor(p) if self.staircase else p)


class InverseTimeDecay(_Formula):
    """initial_learning_rate / (1 + decay_rate * step / decay_steps).

    Args:
        initial_learning_rate: the rate at step 0.
        decay_steps, decay_rate: see above.
        staircase: round step / decay_steps down.
        name: kept in configurations.

    >>> import nnfast
    >>> float(nnfast.optimizers.schedules.InverseTimeDecay(0.5, 1, 1.0)(3))
    0.125
    """

    _config = ExponentialDecay._config

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: int,
        decay_rate: float,
        staircase: bool = False,
        name: str = "InverseTimeDecay",
    ):
        self._positive(decay_steps=decay_steps)
        self.initial_learning_rate, self.decay_steps = initial_learning_rate, decay_steps
        self.decay_rate, self.staircase, self.name = decay_rate, staircase, name

    def _rates(self, step: np.ndarray) -> Any:
        p = step / self.decay_steps
        return self.initial_learning_rate / (1 + self.decay_rate * (np.floor(p) if self.staircase else p))


class PiecewiseConstantDecay(_Formula):
    """values[0] up to and including step boundaries[0], values[1] up to boundaries[1], ..., then values[-1].

    Args:
        boundaries: rising step numbers.
        values: rates, one more than boundaries.
        name: kept in configurations.

    >>> import nnfast
    >>> rate = nnfast.optimizers.schedules.PiecewiseConstantDecay([10, 20], [1.0, 0.5, 0.25])
    >>> rate([10, 11, 99]).tolist()
    [1.0, 0.5, 0.25]
    """

    _config = ("boundaries", "values", "name")

    def __init__(self, boundaries: Sequence[float], values: Sequence[float], name: str = "PiecewiseConstant"):
        if len(boundaries) != len(values) - 1:
            raise ValueError(
                "[PiecewiseConstantDecay] there must be one value more than boundaries. "
                f"Received: {len(boundaries)} boundaries, {len(values)} values"
            )
        if not len(boundaries) or any(np.diff(boundaries) <= 0):
            raise ValueError(f"[PiecewiseConstantDecay] boundaries must rise. Received: boundaries={boundaries}")
        self.boundaries, self.values, self.name = boundaries, values, name

    def _rates(self, step: np.ndarray) -> Any:
        return np.asarray(self.values, np.float64)[np.searchsorted(self.boundaries, step, side="left")]


class PolynomialDecay(_Formula):
    """(initial_learning_rate - end_learning_rate) * (1 - step / decay_steps)^power + end_learning_rate.

    Args:
        initial_learning_rate, end_learning_rate: the rates at step 0, and from step decay_steps on.
        decay_steps, power: see above.
        cycle: instead of staying at the end, go on with the next multiple of decay_steps.
        name: kept in configurations.

    >>> import nnfast
    >>> float(nnfast.optimizers.schedules.PolynomialDecay(1.0, 10, 0.0)(5))
    0.5
    """

    _config = ("initial_learning_rate", "decay_steps", "end_learning_rate", "power", "cycle", "name")

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: int,
        end_learning_rate: float = 0.0001,
        power: float = 1.0,
        cycle: bool = False,
        name: str = "PolynomialDecay",
    ):
        self._positive(decay_steps=decay_steps)
        self.initial_learning_rate, self.decay_steps = initial_learning_rate, decay_steps
        self.end_learning_rate, self.power, self.cycle, self.name = end_learning_rate, power, cycle, name

    def _rates(self, step: np.ndarray) -> Any:
        length: Any = self.decay_steps
        if self.cycle:
            length = length * np.maximum(1, np.ceil(step / length))
        share = np.minimum(step, length) / length
        return (self.initial_learning_rate - self.end_learning_rate) * (
            1 - share
        ) ** self.power + self.end_learning_rate


class CosineDecay(_Formula):
    """From initial_learning_rate down to alpha times it, along half a cosine; before that, optionally, a straight rise.

    I. Loshchilov, F. Hutter, "SGDR" (arXiv:1608.03983).

    Args:
        initial_learning_rate: the rate at step 0.
        decay_steps: how many steps the cosine takes.
        alpha: the last rate, as a share of the first (with a warmup, of warmup_target).
        name: kept in configurations.
        warmup_target: None, or the rate to which warmup_steps steps rise before the cosine begins.
        warmup_steps: see there.

    >>> import nnfast
    >>> rate = nnfast.optimizers.schedules.CosineDecay(0.0, 10, warmup_target=1.0, warmup_steps=4)
    >>> rate([0, 2, 4, 14]).tolist()
    [0.0, 0.5, 1.0, 0.0]
    """

    _config = ("initial_learning_rate", "decay_steps", "alpha", "name", "warmup_target", "warmup_steps")

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: int,
        alpha: float = 0.0,
        name: str = "CosineDecay",
        warmup_target: float | None = None,
        warmup_steps: int = 0,
    ):
        self._positive(decay_steps=decay_steps)
        self.initial_learning_rate, self.decay_steps, self.alpha = initial_learning_rate, decay_steps, alpha
        self.name, self.warmup_target, self.warmup_steps = name, warmup_target, warmup_steps

    def _rates(self, step: np.ndarray) -> Any:
        start, before = self.initial_learning_rate, 0
        if self.warmup_target is not None:
            start, before = self.warmup_target, self.warmup_steps
        cosine = _half_cosine(np.clip((step - before) / self.decay_steps, 0, 1))
        falling = start * ((1 - self.alpha) * cosine + self.alpha)
        if not before:
            return falling
        rising = self.initial_learning_rate + (start - self.initial_learning_rate) * step / before
        return np.where(step < before, rising, falling)


class CosineDecayRestarts(_Formula):
    """Cosines one after the other, each t_mul times as long and beginning m_mul times as high as the one before.

    I. Loshchilov, F. Hutter, "SGDR" (arXiv:1608.03983).

    Args:
        initial_learning_rate: the rate at step 0.
        first_decay_steps: how many steps the first cosine takes.
        t_mul, m_mul: see above.
        alpha: the lowest rate, as a share of the first.
        name: kept in configurations.

    >>> import nnfast
    >>> nnfast.optimizers.schedules.CosineDecayRestarts(1.0, 2)([0, 1, 2, 4, 6]).tolist()
    [1.0, 0.5, 1.0, 0.5, 1.0]
    """

    _config = ("initial_learning_rate", "first_decay_steps", "t_mul", "m_mul", "alpha", "name")

    def __init__(
        self,
        initial_learning_rate: float,
        first_decay_steps: int,
        t_mul: float = 2.0,
        m_mul: float = 1.0,
        alpha: float = 0.0,
        name: str = "SGDRDecay",
    ):
        self._positive(first_decay_steps=first_decay_steps, t_mul=t_mul)
        self.initial_learning_rate, self.first_decay_steps = initial_learning_rate, first_decay_steps
        self.t_mul, self.m_mul, self.alpha, self.name = t_mul, m_mul, alpha, name

    def _rates(self, step: np.ndarray) -> Any:
        done = step / self.first_decay_steps  # in lengths of the first cosine
        if self.t_mul == 1:
            number = np.floor(done)
            share = done - number
        else:  # the n-th cosine begins at (t_mul^n - 1) / (t_mul - 1); the log may miss a whole number by one bit
            number = np.floor(np.log(1 + done * (self.t_mul - 1)) / math.log(self.t_mul) + 1e-12)
            length = self.t_mul**number
            share = (done - (length - 1) / (self.t_mul - 1)) / length
        cosine = self.m_mul**number * _half_cosine(share)
        return self.initial_learning_rate * ((1 - self.alpha) * cosine + self.alpha)


def _half_cosine(share: Any) -> Any:
    return 0.5 * (1 + np.cos(math.pi * share))


_CLASSES = (
    ExponentialDecay,
    InverseTimeDecay,
    PiecewiseConstantDecay,
    PolynomialDecay,
    CosineDecay,
    CosineDecayRestarts,
)


publish("schedules", {c.__name__: c for c in (*_CLASSES, LearningRateSchedule)}, "keras.optimizers.schedules")


def serialize(learning_rate_schedule: Any) -> Any:
    """The config from which `deserialize`, here or in Keras, makes an equal schedule; of a function, its name."""
    return serialize_keras_object(learning_rate_schedule)


def deserialize(config: Any, custom_objects: Mapping[str, Any] | None = None) -> Any:
    """The schedule that a config `{"class_name": ..., "config": ...}` describes; names in custom_objects come first.

    >>> import nnfast
    >>> schedules = nnfast.optimizers.schedules
    >>> schedules.deserialize(schedules.serialize(schedules.CosineDecay(0.1, 10))).decay_steps
    10
    """
    return from_identifier("schedule", config, None, custom_objects)
