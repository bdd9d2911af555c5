"""RMSprop and what it grew from: steps divided by the size of past gradients."""

from collections.abc import Sequence
from typing import Any

from nnfast import initializers, ops
from nnfast.optimizers.optimizer import Optimizer, unit_interval
from nnfast.tensor import Variable


class RMSprop(Optimizer):
    """v = rho * v + (1 - rho) * g^2; w -= learning_rate * g / sqrt(v + epsilon): epsilon inside the root, as in Keras.

    Args:
        learning_rate: a float, a schedule, or a function without arguments.
        rho: how slowly v forgets.
        momentum: m = momentum * m + the step above; w -= m.
        epsilon: keeps the root away from 0.
        centered: subtract the squared mean of the gradient from v.
        weight_decay, ..., **kwargs: see `Optimizer`.
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        rho: float = 0.9,
        momentum: float = 0.0,
        epsilon: float = 1e-7,
        centered: bool = False,
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
        unit_interval("RMSprop", rho=rho, momentum=momentum)
        self.rho, self.momentum, self.epsilon, self.centered = rho, momentum, epsilon, centered

    def build(self, variables: Sequence[Variable]) -> None:
        if not self.built:
            super().build(variables)
            self._slots("velocity")
            if self.momentum:
                self._slots("momentum")
            if self.centered:
                self._slots("average_gradient")

    def _step(self, at: list[int], gs: list[Any], lr: Any, **common: Any) -> None:
        ops.rmsprop(
            self._ws(at),
            gs,
            self._arrays("velocity", at) or [],
            self._arrays("momentum", at),
            self._arrays("average_gradient", at),
            lr,
            rho=self.rho,
            momentum=self.momentum,
            epsilon=self.epsilon,
            **common,
        )

    def get_config(self) -> dict[str, Any]:
        own = ("rho", "momentum", "epsilon", "centered")
        return {**super().get_config(), **{name: getattr(self, name) for name in own}}


class Adagrad(Optimizer):
    """a += g^2; w -= learning_rate * g / sqrt(a + epsilon): the rate of a weight falls with all its gradients so far.

    J. Duchi, E. Hazan, Y. Singer, JMLR 12 (2011). In Keras a begins at 0.1, and epsilon stands inside the root.

    Args:
        learning_rate: a float, a schedule, or a function without arguments.
        initial_accumulator_value: where a begins.
        epsilon: keeps the root away from 0.
        weight_decay, ..., **kwargs: see `Optimizer`.
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        initial_accumulator_value: float = 0.1,
        epsilon: float = 1e-7,
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
        if not initial_accumulator_value >= 0:
            raise ValueError(
                "[Adagrad] initial_accumulator_value must not be negative. "
                f"Received: initial_accumulator_value={initial_accumulator_value}"
            )
        self.initial_accumulator_value, self.epsilon = initial_accumulator_value, epsilon

    def build(self, variables: Sequence[Variable]) -> None:
        if not self.built:
            super().build(variables)
            self._slots("accumulator", initializer=initializers.Constant(self.initial_accumulator_value))

    def _step(self, at: list[int], gs: list[Any], lr: Any, **common: Any) -> None:
        ops.adagrad(
            self._ws(at),
            gs,
            self._arrays("accumulator", at) or [],
            lr,
            epsilon=self.epsilon,
            **common,
        )

    def get_config(self) -> dict[str, Any]:
        own = ("initial_accumulator_value", "epsilon")
        return {**super().get_config(), **{name: getattr(self, name) for name in own}}


class Adadelta(Optimizer):
    """Steps whose size comes from past steps: d = sqrt(e + epsilon) * g / sqrt(v + epsilon); w -= learning_rate * d.

    v and e average g^2 and d^2. M. Zeiler (arXiv:1212.5701) has a learning rate of 1; Keras's default of 0.001 is so
    small that nothing seems to happen: give `learning_rate=1.0`.

    Args:
        learning_rate: a float, a schedule, or a function without arguments.
        rho: how slowly the averages forget.
        epsilon: keeps the roots away from 0, and starts the steps.
        weight_decay, ..., **kwargs: see `Optimizer`.
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        rho: float = 0.95,
        epsilon: float = 1e-7,
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
        unit_interval("Adadelta", rho=rho)
        self.rho, self.epsilon = rho, epsilon

    def build(self, variables: Sequence[Variable]) -> None:
        if not self.built:
            super().build(variables)
            self._slots("accumulated_grad", "accumulated_delta_var")

    def _step(self, at: list[int], gs: list[Any], lr: Any, **common: Any) -> None:
        ops.adadelta(
            self._ws(at),
            gs,
            self._arrays("accumulated_grad", at) or [],
            self._arrays("accumulated_delta_var", at) or [],
            lr,
            rho=self.rho,
            epsilon=self.epsilon,
            **common,
        )

    def get_config(self) -> dict[str, Any]:
        own = ("rho", "epsilon")
        return {**super().get_config(), **{name: getattr(self, name) for name in own}}
