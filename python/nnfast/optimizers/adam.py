"""Adam and its family."""

from collections.abc import Sequence
from typing import Any

from nnfast import ops
from nnfast.optimizers.optimizer import Optimizer, unit_interval
from nnfast.tensor import Variable


class Adam(Optimizer):
    """m and v average g and g^2; w -= learning_rate * sqrt(1 - beta_2^t) / (1 - beta_1^t) * m / (sqrt(v) + epsilon).

    D. Kingma, J. Ba, "Adam: a method for stochastic optimization" (arXiv:1412.6980), with epsilon as in its section 2.

    Args:
        learning_rate: a float, a schedule, or a function without arguments.
        beta_1, beta_2: how slowly m and v forget.
        epsilon: keeps the division away from 0.
        amsgrad: divide by the largest v so far.
        weight_decay, ..., **kwargs: see `Optimizer`.
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        amsgrad: bool = False,
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
        unit_interval("Adam", beta_1=beta_1, beta_2=beta_2)
        self.beta_1, self.beta_2, self.epsilon = beta_1, beta_2, epsilon
        self.amsgrad = amsgrad

    def build(self, variables: Sequence[Variable]) -> None:
        if not self.built:
            super().build(variables)
            self._slots("momentum", "velocity")
            if self.amsgrad:
                self._slots("velocity_hat")

    def _step(self, at: list[int], gs: list[Any], lr: Any, **common: Any) -> None:
        ops.adam(
            self._ws(at),
            gs,
            self._arrays("momentum", at) or [],
            self._arrays("velocity", at) or [],
            self._arrays("velocity_hat", at),
            lr,
            self._turns,
            beta_1=self.beta_1,
            beta_2=self.beta_2,
            epsilon=self.epsilon,
            **common,
        )

    def get_config(self) -> dict[str, Any]:
        own = ("beta_1", "beta_2", "epsilon", "amsgrad")
        return {**super().get_config(), **{name: getattr(self, name) for name in own}}


class AdamW(Adam):
    """Adam with weight decay beside the gradient: w -= w * weight_decay * learning_rate before each step.

    I. Loshchilov, F. Hutter, "Decoupled weight decay regularization" (arXiv:1711.05101).

    Args: as in `Adam`; weight_decay must be a number. `exclude_from_weight_decay` leaves variables out.
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        weight_decay: float = 0.004,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        amsgrad: bool = False,
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
        if weight_decay is None:
            raise ValueError("[AdamW] weight_decay must be a number. Received: None. Use Adam for none")
        super().__init__(
            learning_rate,
            beta_1,
            beta_2,
            epsilon,
            amsgrad,
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


class Adamax(Optimizer):
    """Adam with u = max(beta_2 * u, |g|) for v: w -= learning_rate / (1 - beta_1^t) * m / (u + epsilon).

    Section 7.1 of arXiv:1412.6980; epsilon is Keras's.

    Args:
        learning_rate: a float, a schedule, or a function without arguments.
        beta_1, beta_2: how slowly m and u forget.
        epsilon: keeps the division away from 0.
        weight_decay, ..., **kwargs: see `Optimizer`.
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
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
        unit_interval("Adamax", beta_1=beta_1, beta_2=beta_2)
        self.beta_1, self.beta_2, self.epsilon = beta_1, beta_2, epsilon

    def build(self, variables: Sequence[Variable]) -> None:
        if not self.built:
            super().build(variables)
            self._slots("momentum", "norm")

    def _step(self, at: list[int], gs: list[Any], lr: Any, **common: Any) -> None:
        ops.adamax(
            self._ws(at),
            gs,
            self._arrays("momentum", at) or [],
            self._arrays("norm", at) or [],
            lr,
            self._turns,
            beta_1=self.beta_1,
            beta_2=self.beta_2,
            epsilon=self.epsilon,
            **common,
        )

    def get_config(self) -> dict[str, Any]:
        own = ("beta_1", "beta_2", "epsilon")
        return {**super().get_config(), **{name: getattr(self, name) for name in own}}


class Nadam(Optimizer):
    """Adam that looks ahead along its momentum, which grows with t: u_t = beta_1 * (1 - 0.96^t / 2).

    w -= learning_rate * a / (sqrt(v / (1 - beta_2^t)) + epsilon), with P_t the product of u_1 ... u_t and
    a = u_(t+1) * m / (1 - P_(t+1)) + (1 - u_t) * g / (1 - P_t). T. Dozat, "Incorporating Nesterov momentum into Adam".

    Args:
        learning_rate: a float, a schedule, or a function without arguments.
        beta_1, beta_2: how slowly m and v forget.
        epsilon: keeps the division away from 0.
        weight_decay, ..., **kwargs: see `Optimizer`.
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
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
        unit_interval("Nadam", beta_1=beta_1, beta_2=beta_2)
        self.beta_1, self.beta_2, self.epsilon = beta_1, beta_2, epsilon

    def build(self, variables: Sequence[Variable]) -> None:
        if not self.built:
            super().build(variables)
            self._slots("momentum", "velocity")
            dtype = self._trainable[0].dtype if self._trainable else None
            self._product = self.add_variable((), "ones", dtype)
            self._product.path = self._product.name  # as in Keras

    def _step(self, at: list[int], gs: list[Any], lr: Any, **common: Any) -> None:
        ops.nadam(
            self._ws(at),
            gs,
            self._arrays("momentum", at) or [],
            self._arrays("velocity", at) or [],
            self._product,
            lr,
            self._turns,
            beta_1=self.beta_1,
            beta_2=self.beta_2,
            epsilon=self.epsilon,
            **common,
        )

    def _finish_step(self, status: Any) -> None:
        ops.nadam_advance(self._product, self._turns, beta_1=self.beta_1, status=status)

    def get_config(self) -> dict[str, Any]:
        own = ("beta_1", "beta_2", "epsilon")
        return {**super().get_config(), **{name: getattr(self, name) for name in own}}
