"""Gradient descent, with momentum or without, and steps by sign."""

from collections.abc import Sequence
from typing import Any

from nnfast import ops
from nnfast.optimizers.optimizer import Optimizer, unit_interval
from nnfast.tensor import Variable


class SGD(Optimizer):
    """Gradient descent: m = momentum * m - learning_rate * g; w += m (nesterov: w += momentum * m - learning_rate * g).

    Args:
        learning_rate: a float, a schedule, or a function without arguments.
        momentum: 0 for plain gradient descent.
        nesterov: look ahead along the momentum.
        weight_decay, ..., **kwargs: see `Optimizer`.

    >>> import nnfast
    >>> w = nnfast.Variable([1.0])
    >>> nnfast.optimizers.SGD(0.5).apply([nnfast.tensor([1.0])], [w])
    >>> w.numpy()
    array([0.5], dtype=float32)
    """

    def __init__(
        self,
        learning_rate: Any = 0.01,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
        ema_overwrite_frequency: int | None = None,
        loss_scale_factor: float | None = None,
        gradient_accumulation_steps: int | None = None,
        name: str | None = None,
        **kwargs: Any,
    ):
        super().__init__(
            learning_rate,
            weight_decay,
            clipnorm,
            clipvalue,
            global_clipnorm,
            use_ema,
            ema_momentum,
            ema_overwrite_frequency,
            loss_scale_factor,
            gradient_accumulation_steps,
            name,
            **kwargs,
        )
        unit_interval("SGD", momentum=momentum)
        self.momentum, self.nesterov = momentum, nesterov

    def build(self, variables: Sequence[Variable]) -> None:
        if not self.built:
            super().build(variables)
            if self.momentum:
                self._slots("momentum")

    def _step(self, at: list[int], gs: list[Any], lr: Any, **common: Any) -> None:
        ops.sgd(
            self._ws(at),
            gs,
            self._arrays("momentum", at),
            lr,
            momentum=self.momentum,
            nesterov=self.nesterov,
            **common,
        )

    def get_config(self) -> dict[str, Any]:
        own = ("momentum", "nesterov")
        return {**super().get_config(), **{name: getattr(self, name) for name in own}}


class Lion(Optimizer):
    """w -= learning_rate * sign(beta_1 * m + (1 - beta_1) * g); m = beta_2 * m + (1 - beta_2) * g.

    X. Chen et al., "Symbolic discovery of optimization algorithms" (arXiv:2302.06675). It wants a learning rate 3 to 10
    times smaller, and a weight decay as much larger, than Adam.

    Args:
        learning_rate: how far every weight moves in a step.
        beta_1, beta_2: how slowly the direction and the momentum forget; beta_1 must not be 0.
        weight_decay, ..., **kwargs: see `Optimizer`.
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.99,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
        ema_overwrite_frequency: int | None = None,
        loss_scale_factor: float | None = None,
        gradient_accumulation_steps: int | None = None,
        name: str | None = None,
        **kwargs: Any,
    ):
        super().__init__(
            learning_rate,
            weight_decay,
            clipnorm,
            clipvalue,
            global_clipnorm,
            use_ema,
            ema_momentum,
            ema_overwrite_frequency,
            loss_scale_factor,
            gradient_accumulation_steps,
            name,
            **kwargs,
        )
        unit_interval("Lion", beta_1=beta_1, beta_2=beta_2)
        if beta_1 == 0:
            raise ValueError("[Lion] beta_1 must be above 0: without it, m has no effect. Received: beta_1=0")
        self.beta_1, self.beta_2 = beta_1, beta_2

    def build(self, variables: Sequence[Variable]) -> None:
        if not self.built:
            super().build(variables)
            self._slots("momentum")

    def _step(self, at: list[int], gs: list[Any], lr: Any, **common: Any) -> None:
        ops.lion(
            self._ws(at),
            gs,
            self._arrays("momentum", at) or [],
            lr,
            beta_1=self.beta_1,
            beta_2=self.beta_2,
            **common,
        )

    def get_config(self) -> dict[str, Any]:
        own = ("beta_1", "beta_2")
        return {**super().get_config(), **{name: getattr(self, name) for name in own}}
