"""Schedulers by PyTorch's names and rules: `scheduler.step()` after an epoch (OneCycleLR: a step) sets the rates."""

import math
from collections.abc import Callable
from typing import Any

from nnfast.optim.optimizer import Optimizer


class LRScheduler:
    """Base class: `get_lr` gives the rate of each group from `last_epoch`, the number of steps done, and `base_lrs`."""

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1):
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"[{type(self).__name__}] takes an optimizer. Received: {type(optimizer).__name__}")
        self.optimizer, self.last_epoch = optimizer, last_epoch
        for group in optimizer.param_groups:
            group.setdefault("initial_lr", group["lr"])
        self.base_lrs = [group["initial_lr"] for group in optimizer.param_groups]
        self.step()

    def get_lr(self) -> list[float]:
        """The rate of each group after `last_epoch` steps."""
        raise NotImplementedError(f"[{type(self).__name__}] a scheduler must define get_lr")

    def get_last_lr(self) -> list[float]:
        """The rate of each group now."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def step(self) -> None:
        """Goes on by one."""
        self.last_epoch += 1
        for group, lr in zip(self.optimizer.param_groups, self.get_lr()):
            group["lr"] = lr

    def state_dict(self) -> dict[str, Any]:
        """Where it stands."""
        return {"last_epoch": self.last_epoch, "base_lrs": list(self.base_lrs)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on from there."""
        self.__dict__.update(state_dict)


class LambdaLR(LRScheduler):
    """base * lr_lambda(t), t counted from 0."""

    def __init__(self, optimizer: Optimizer, lr_lambda: Any, last_epoch: int = -1):
        groups = len(optimizer.param_groups)
        self.lr_lambdas: list[Callable[[int], float]] = (
            list(lr_lambda) if isinstance(lr_lambda, (list, tuple)) else [lr_lambda] * groups
        )
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        return [base * f(self.last_epoch) for base, f in zip(self.base_lrs, self.lr_lambdas)]


class StepLR(LRScheduler):
    """base * gamma^(t // step_size).

    >>> from nnfast import nn, optim
    >>> optimizer = optim.SGD([nn.Parameter([1.0])], lr=1.0)
    >>> scheduler = optim.lr_scheduler.StepLR(optimizer, step_size=2)
    >>> for _ in range(2): scheduler.step()
    >>> scheduler.get_last_lr()
    [0.1]
    """

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1):
        self.step_size, self.gamma = step_size, gamma
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        return [base * self.gamma ** (self.last_epoch // self.step_size) for base in self.base_lrs]


class MultiStepLR(LRScheduler):
    """base * gamma^(how many milestones are reached)."""

    def __init__(self, optimizer: Optimizer, milestones: Any, gamma: float = 0.1, last_epoch: int = -1):
        self.milestones, self.gamma = sorted(milestones), gamma
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        reached = sum(m <= self.last_epoch for m in self.milestones)
        return [base * self.gamma**reached for base in self.base_lrs]


class ExponentialLR(LRScheduler):
    """base * gamma^t."""

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1):
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        return [base * self.gamma**self.last_epoch for base in self.base_lrs]


class CosineAnnealingLR(LRScheduler):
    """From base to eta_min along half a cosine of T_max steps (Loshchilov and Hutter, 2017)."""

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1):
        self.T_max, self.eta_min = T_max, eta_min
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        share = (1 + math.cos(math.pi * self.last_epoch / self.T_max)) / 2
        return [self.eta_min + (base - self.eta_min) * share for base in self.base_lrs]


class OneCycleLR(LRScheduler):
    """Up from max_lr / div_factor to max_lr, then down to a final_div_factor-th of the first, step by step of training
    (Smith and Topin, 2018); the momentum goes the opposite way.

    Args:
        optimizer: whose rates it sets.
        max_lr: the largest rate, or one for each group.
        total_steps: of training; or epochs and steps_per_epoch.
        pct_start: share of the steps that go up.
        anneal_strategy: "cos" or "linear".
        cycle_momentum: also move the momentum (Adam: its first beta) between base_momentum and max_momentum.
        base_momentum, max_momentum, div_factor, final_div_factor: see above.
        three_phase: down to the first rate as fast as up, and further in a third phase.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: Any,
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        cycle_momentum: bool = True,
        base_momentum: float = 0.85,
        max_momentum: float = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        last_epoch: int = -1,
    ):
        if total_steps is None and epochs is not None and steps_per_epoch is not None:
            total_steps = epochs * steps_per_epoch
        if total_steps is None or total_steps < 1:
            raise ValueError(
                "[OneCycleLR] total_steps, or epochs and steps_per_epoch, must be given. "
                f"Received: total_steps={total_steps}, epochs={epochs}, steps_per_epoch={steps_per_epoch}"
            )
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(f"[OneCycleLR] anneal_strategy must be 'cos' or 'linear'. Received: {anneal_strategy!r}")
        self.total_steps, self.linear, self.cycle_momentum = total_steps, anneal_strategy == "linear", cycle_momentum
        self.max_lrs = list(max_lr) if isinstance(max_lr, (list, tuple)) else [max_lr] * len(optimizer.param_groups)
        self.div_factor, self.final_div_factor = div_factor, final_div_factor
        up = pct_start * total_steps - 1
        low, high = base_momentum, max_momentum
        # Each phase: its last step, the rates at its ends, the momenta at its ends.
        if three_phase:
            self.phases = [(up, "low", "max", high, low), (2 * up, "max", "low", low, high),
                           (total_steps - 1, "low", "final", high, high)]  # fmt: skip
        else:
            self.phases = [(up, "low", "max", high, low), (total_steps - 1, "max", "final", low, high)]
        super().__init__(optimizer, last_epoch)

    def _between(self, start: float, end: float, share: float) -> float:
        if self.linear:
            return start + (end - start) * share
        return end + (start - end) / 2 * (1 + math.cos(math.pi * share))

    def get_lr(self) -> list[float]:
        t = self.last_epoch
        if t > self.total_steps:
            raise ValueError(f"[OneCycleLR] it ends after {self.total_steps} steps. Received: step {t}")
        at = next((i for i, phase in enumerate(self.phases) if t <= phase[0]), len(self.phases) - 1)
        end, lr_0, lr_1, m_0, m_1 = self.phases[at]
        start = self.phases[at - 1][0] if at else 0.0
        share = (t - start) / (end - start) if end != start else 1.0
        rates = []
        for group, top in zip(self.optimizer.param_groups, self.max_lrs):
            low = top / self.div_factor
            named = {"low": low, "max": top, "final": low / self.final_div_factor}
            rates.append(self._between(named[lr_0], named[lr_1], share))
            if self.cycle_momentum:
                momentum = self._between(m_0, m_1, share)
                if "betas" in group:
                    group["betas"] = (momentum, *group["betas"][1:])
                elif "momentum" in group:
                    group["momentum"] = momentum
        return rates


class ReduceLROnPlateau:
    """lr *= factor when the watched number has not improved for more than `patience` steps: `scheduler.step(val_loss)`.

    Args:
        optimizer: whose rates it sets.
        mode: "min" or "max": what is better?
        factor, patience: see above.
        threshold, threshold_mode: better by how much: a share ("rel") or a number ("abs").
        cooldown: steps after a reduction in which nothing is counted.
        min_lr: never below this; one for all groups or a list.
        eps: smaller changes are not made.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: Any = 0,
        eps: float = 1e-8,
    ):
        if not factor < 1:
            raise ValueError(f"[ReduceLROnPlateau] factor must be below 1. Received: factor={factor}")
        if mode not in ("min", "max") or threshold_mode not in ("rel", "abs"):
            raise ValueError(
                "[ReduceLROnPlateau] mode must be 'min' or 'max', threshold_mode 'rel' or 'abs'. "
                f"Received: mode={mode!r}, threshold_mode={threshold_mode!r}"
            )
        self.optimizer, self.mode, self.factor, self.patience = optimizer, mode, factor, patience
        self.threshold, self.threshold_mode, self.cooldown, self.eps = threshold, threshold_mode, cooldown, eps
        self.min_lrs = list(min_lr) if isinstance(min_lr, (list, tuple)) else [min_lr] * len(optimizer.param_groups)
        self.best = math.inf if mode == "min" else -math.inf
        self.num_bad_epochs = self.cooldown_counter = self.last_epoch = 0

    def _better(self, value: float) -> bool:
        sign = -1 if self.mode == "min" else 1
        if self.threshold_mode == "abs":
            return sign * value > sign * self.best + self.threshold
        return sign * value > sign * self.best * (1 + sign * self.threshold)

    def step(self, metrics: Any) -> None:
        """Takes the watched number of one more epoch."""
        value = float(metrics)
        self.last_epoch += 1
        if self._better(value):
            self.best, self.num_bad_epochs = value, 0
        else:
            self.num_bad_epochs += 1
        if self.cooldown_counter > 0:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            for group, least in zip(self.optimizer.param_groups, self.min_lrs):
                lr = max(group["lr"] * self.factor, least)
                if group["lr"] - lr > self.eps:
                    group["lr"] = lr
            self.cooldown_counter, self.num_bad_epochs = self.cooldown, 0

    def get_last_lr(self) -> list[float]:
        """The rate of each group now."""
        return [group["lr"] for group in self.optimizer.param_groups]
