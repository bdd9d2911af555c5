"""Adafactor: like RMSprop, with a matrix of averages kept as its row and column means."""

from collections.abc import Sequence
from typing import Any

from nnfast import ops
from nnfast.optimizers.optimizer import Optimizer
from nnfast.tensor import Variable


class Adafactor(Optimizer):
    """Steps relative to the size of the weights; of the averages of g^2, rows and columns alone are remembered.

    w -= a * u / max(1, rms(u) / clip_threshold), where u = g / sqrt(v) and
    a = max(epsilon_2, rms(w)) * min(learning_rate, 1 / sqrt(t)). v averages g^2 + epsilon_1 with
    beta = 1 - t^beta_2_decay; for w of two dimensions or more it is r / mean(r) * c, the averages of its rows and
    columns. N. Shazeer, M. Stern (arXiv:1804.04235).

    Args:
        learning_rate: a float, a schedule, or a function without arguments.
        beta_2_decay: negative: how fast beta nears 1.
        epsilon_1, epsilon_2: keep v, and the size of the weights, away from 0.
        clip_threshold: the largest root mean square of u.
        relative_step: kept in configurations. It has no effect, as in Keras 3.15.1, where the rate is the smaller of
            learning_rate and 1 / sqrt(t) in any case.
        weight_decay, ..., **kwargs: see `Optimizer`.
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta_2_decay: float = -0.8,
        epsilon_1: float = 1e-30,
        epsilon_2: float = 1e-3,
        clip_threshold: float = 1.0,
        relative_step: bool = True,
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
        if not clip_threshold > 0:
            raise ValueError(f"[Adafactor] clip_threshold must be positive. Received: clip_threshold={clip_threshold}")
        self.beta_2_decay, self.epsilon_1, self.epsilon_2 = beta_2_decay, epsilon_1, epsilon_2
        self.clip_threshold, self.relative_step = clip_threshold, relative_step

    def build(self, variables: Sequence[Variable]) -> None:
        if not self.built:
            super().build(variables)
            rows, columns, vs = [], [], []
            for v in self._trainable:
                rows.append(self._factor(v, -1))
                columns.append(self._factor(v, -2))
                vs.append(self.add_variable_from_reference(v, "velocity"))
            for slot, made in (("r", rows), ("c", columns), ("velocity", vs)):
                self._keep(slot, made)

    def _factor(self, v: Variable, without: int) -> Variable:
        """Of a matrix, its averages without one of the last two dimensions; of a vector a placeholder, as in Keras."""
        if v.ndim >= 2:
            shape = list(v.shape)
            del shape[without]
            return self.add_variable(shape, dtype=v.dtype, name=v.name)
        made = self.add_variable((), dtype="int32", name=v.name)
        made.path = v.name
        return made

    def _step(self, at: list[int], gs: list[Any], lr: Any, **common: Any) -> None:
        ops.adafactor(
            self._ws(at),
            gs,
            self._arrays("r", at) or [],
            self._arrays("c", at) or [],
            self._arrays("velocity", at) or [],
            lr,
            self._turns,
            beta_2_decay=self.beta_2_decay,
            epsilon_1=self.epsilon_1,
            epsilon_2=self.epsilon_2,
            clip_threshold=self.clip_threshold,
            **common,
        )

    def get_config(self) -> dict[str, Any]:
        own = ("beta_2_decay", "epsilon_1", "epsilon_2", "clip_threshold", "relative_step")
        return {**super().get_config(), **{name: getattr(self, name) for name in own}}
