"""FTRL: for sparse linear models, with L1 regularisation that gives exact zeros."""

from collections.abc import Sequence
from typing import Any

from nnfast import initializers, ops
from nnfast.optimizers.optimizer import Optimizer
from nnfast.tensor import Variable


class Ftrl(Optimizer):
    """Follow the regularised leader: H. McMahan et al., "Ad click prediction: a view from the trenches" (KDD 2013).

    n' = n + g^2; z += g + 2 * l2_shrinkage * w - (n'^p - n^p) / learning_rate * w, where p = -learning_rate_power;
    w = (clip(z, -l1, l1) - z) / (n'^p / learning_rate + 2 * l2 + beta / learning_rate).

    Args:
        learning_rate: a float, a schedule, or a function without arguments.
        learning_rate_power: at most 0; 0 makes the rate constant.
        initial_accumulator_value: where n begins.
        l1_regularization_strength, l2_regularization_strength: l1 and l2.
        l2_shrinkage_regularization_strength: l2_shrinkage: a penalty on large weights, not on n.
        beta: the paper's beta.
        weight_decay, ..., **kwargs: see `Optimizer`.
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        learning_rate_power: float = -0.5,
        initial_accumulator_value: float = 0.1,
        l1_regularization_strength: float = 0.0,
        l2_regularization_strength: float = 0.0,
        l2_shrinkage_regularization_strength: float = 0.0,
        beta: float = 0.0,
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
        strengths = {
            "initial_accumulator_value": initial_accumulator_value,
            "l1_regularization_strength": l1_regularization_strength,
            "l2_regularization_strength": l2_regularization_strength,
            "l2_shrinkage_regularization_strength": l2_shrinkage_regularization_strength,
        }
        for option, value in strengths.items():
            if not value >= 0:
                raise ValueError(f"[Ftrl] {option} must not be negative. Received: {option}={value}")
        if not learning_rate_power <= 0:
            raise ValueError(
                f"[Ftrl] learning_rate_power must not be positive. Received: learning_rate_power={learning_rate_power}"
            )
        self.learning_rate_power, self.beta = learning_rate_power, beta
        self.initial_accumulator_value = initial_accumulator_value
        self.l1_regularization_strength = l1_regularization_strength
        self.l2_regularization_strength = l2_regularization_strength
        self.l2_shrinkage_regularization_strength = l2_shrinkage_regularization_strength

    def build(self, variables: Sequence[Variable]) -> None:
        if not self.built:
            super().build(variables)
            start = initializers.Constant(self.initial_accumulator_value)
            self._slots("accumulator", "linear", initializer=[start, "zeros"])

    def _step(self, at: list[int], gs: list[Any], lr: Any, **common: Any) -> None:
        ops.ftrl(
            self._ws(at),
            gs,
            self._arrays("accumulator", at) or [],
            self._arrays("linear", at) or [],
            lr,
            power=self.learning_rate_power,
            l1=self.l1_regularization_strength,
            l2=self.l2_regularization_strength,
            l2_shrinkage=self.l2_shrinkage_regularization_strength,
            beta=self.beta,
            **common,
        )

    def get_config(self) -> dict[str, Any]:
        own = (
            "learning_rate_power",
            "initial_accumulator_value",
            "l1_regularization_strength",
            "l2_regularization_strength",
            "l2_shrinkage_regularization_strength",
            "beta",
        )
        return {**super().get_config(), **{name: getattr(self, name) for name in own}}
