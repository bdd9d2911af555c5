"""Optimizers, by Keras's rules: their state, their options, and one kernel call per step.

The arithmetic of a step is in the kernels `sgd`, `rmsprop` and `adam`; the learning rate and the step count are buffers
that the kernels read, so that a schedule or a callback can change them between steps.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from nnfast import ops
from nnfast.saving.serialization import from_identifier, publish
from nnfast.saving.serialization import serialize as serialize
from nnfast.tape import no_grad
from nnfast.tensor import Tensor, Variable

_NOT_YET = {
    "use_ema": False,
    "ema_momentum": 0.99,
    "ema_overwrite_frequency": None,
    "loss_scale_factor": None,
    "gradient_accumulation_steps": None,
}


class Optimizer:
    """What all optimizers share.

    Args:
        learning_rate: a positive float.
        weight_decay: None, or the rate at which weights shrink: w -= w * weight_decay * learning_rate before each step.
        clipnorm: the norm of each variable's gradient is cut to this.
        clipvalue: each element of a gradient is cut to [-clipvalue, clipvalue].
        global_clipnorm: the norm of all gradients together is cut to this. Only one of the three clippings may be set.
        name: shown in saved configurations.
        **kwargs: `lr` (old spelling of learning_rate); `jit_compile`, accepted and without effect.
    """

    slots: tuple[str, ...] = ()
    _paired: tuple[str, ...] = ()  # slots of which Keras's files have one after the other for each variable

    def __init__(
        self,
        learning_rate: float,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        name: str | None = None,
        **kwargs: Any,
    ):
        tag = type(self).__name__
        if "lr" in kwargs:
            learning_rate = kwargs.pop("lr")
        if kwargs.pop("decay", 0.0):
            raise ValueError(
                f"[{tag}] decay= (Keras 1) is not supported. Use a callback that sets optimizer.learning_rate per epoch"
            )
        kwargs.pop("jit_compile", None)
        for option, default in _NOT_YET.items():
            if kwargs.pop(option, default) not in (default, None):
                raise ValueError(f"[{tag}] {option}= is not supported. Leave it at its default, {default!r}")
        if kwargs:
            raise TypeError(f"[{tag}] unknown argument. Received: {', '.join(kwargs)}")
        if sum(v is not None for v in (clipnorm, clipvalue, global_clipnorm)) > 1:
            raise ValueError(
                f"[{tag}] only one of clipnorm, clipvalue and global_clipnorm can be set. "
                f"Received: clipnorm={clipnorm}, clipvalue={clipvalue}, global_clipnorm={global_clipnorm}"
            )
        for option, value in (("clipnorm", clipnorm), ("clipvalue", clipvalue), ("global_clipnorm", global_clipnorm)):
            if value is not None and not value > 0:
                raise ValueError(f"[{tag}] {option} must be positive. Received: {value}")
        self.weight_decay, self.clipnorm, self.clipvalue = weight_decay, clipnorm, clipvalue
        self.global_clipnorm = global_clipnorm
        self.name = name or tag.lower()
        self._learning_rate = Variable(_rate(tag, learning_rate), False, "float64", "learning_rate")
        self._iterations = Variable(0, False, "int64", "iteration")
        self._variables: list[Variable] | None = None
        self._state: dict[str, list[Variable]] = {}

    # ---- state ----
    @property
    def learning_rate(self) -> Variable:
        """The learning rate, a float64 Variable. Assigning a number changes it from the next step on."""
        return self._learning_rate

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        self._learning_rate.assign(_rate(type(self).__name__, value))

    lr = learning_rate

    @property
    def iterations(self) -> Variable:
        """How many steps were done, an int64 Variable."""
        return self._iterations

    @property
    def variables(self) -> list[Variable]:
        """Iterations, learning rate, and the state of each variable, in the order of Keras's files."""
        together = [slot for slot in self._paired if slot in self._state]
        pairs = [v for vs in zip(*(self._state[slot] for slot in together)) for v in vs]
        rest = [v for slot, vs in self._state.items() if slot not in together for v in vs]
        return [self._iterations, self._learning_rate, *pairs, *rest]

    def build(self, variables: Sequence[Variable]) -> None:
        """Makes the state for these variables. Called by the first `apply`."""
        self._variables = list(variables)
        self._state = {
            slot: [Variable(np.zeros(v.shape, v.dtype), False, name=f"{v.path}_{slot}") for v in self._variables]
            for slot in self.slots
            if self._uses(slot)
        }

    def _uses(self, slot: str) -> bool:
        return True

    def _arrays(self, slot: str) -> list[Any] | None:
        return [v.data for v in self._state[slot]] if slot in self._state else None

    # ---- a step ----
    def apply(self, grads: Sequence[Tensor | None], trainable_variables: Sequence[Variable] | None = None) -> None:
        """One step: changes the variables by their gradients.

        Args:
            grads: one gradient per variable, of its shape; None leaves the variable out (at least one must be given).
            trainable_variables: the variables. They must be the same ones in every call.
        """
        tag = type(self).__name__
        if trainable_variables is None:
            if self._variables is None:
                raise ValueError(f"[{tag}] the first apply() needs trainable_variables=")
            trainable_variables = self._variables
        if self._variables is None:
            self.build(trainable_variables)
        assert self._variables is not None
        if len(self._variables) != len(trainable_variables) or any(
            a is not b for a, b in zip(self._variables, trainable_variables)
        ):
            raise ValueError(
                f"[{tag}] this optimizer was built for other variables: {[v.path for v in self._variables]}. "
                f"Received: {[v.path for v in trainable_variables]}. Make a new optimizer, or compile the model again"
            )
        if len(grads) != len(trainable_variables):
            raise ValueError(
                f"[{tag}] one gradient per variable is needed. "
                f"Received: {len(grads)} gradients, {len(trainable_variables)} variables"
            )
        picked = [i for i, g in enumerate(grads) if g is not None]
        if not picked:
            raise ValueError(
                f"[{tag}] no gradient was given: the loss depends on none of {[v.path for v in trainable_variables]}"
            )
        gs = self._clip([g for g in grads if g is not None])
        self._step(picked, [trainable_variables[i].data for i in picked], [getattr(g, "data", g) for g in gs])
        for i in picked:
            v = trainable_variables[i]
            if v.constraint is not None and not _stopped():
                v.assign(v.constraint(v))
        ops.advance(self._iterations, status=ops.current_status())

    def apply_gradients(self, grads_and_vars: Iterable[tuple[Any, Variable]]) -> None:
        """The same from pairs (gradient, variable), e.g. `apply_gradients(zip(grads, model.trainable_variables))`."""
        pairs = list(grads_and_vars)
        self.apply([g for g, _ in pairs], [v for _, v in pairs])

    def _clip(self, grads: list[Any]) -> list[Any]:
        with no_grad():
            if self.clipvalue is not None:
                return [ops.clip(g, -self.clipvalue, self.clipvalue) for g in grads]
            if self.clipnorm is not None:
                return [_scaled_to(g, ops.sqrt(ops.sum(ops.square(g))), self.clipnorm) for g in grads]
            if self.global_clipnorm is not None:
                total = ops.sum(ops.square(grads[0]))
                for g in grads[1:]:
                    total = total + ops.sum(ops.square(g))
                norm = ops.sqrt(total)
                return [_scaled_to(g, norm, self.global_clipnorm) for g in grads]
        return grads

    def _step(self, picked: list[int], ws: list[Any], gs: list[Any]) -> None:
        raise NotImplementedError(f"[{type(self).__name__}] an optimizer must define _step(picked, ws, gs)")

    def _pick(self, slot: str, picked: list[int]) -> Any:
        arrays = self._arrays(slot)
        return None if arrays is None else [arrays[i] for i in picked]

    # ---- configuration ----
    def get_config(self) -> dict[str, Any]:
        """The arguments that make an equal optimizer."""
        return {
            "name": self.name,
            "learning_rate": float(self._learning_rate),
            "weight_decay": self.weight_decay,
            "clipnorm": self.clipnorm,
            "clipvalue": self.clipvalue,
            "global_clipnorm": self.global_clipnorm,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Optimizer":
        """The optimizer that `get_config` described."""
        return cls(**config)


def _stopped() -> bool:
    status = ops.current_status()
    return status is not None and bool(status[0])


def _rate(tag: str, value: Any) -> float:
    try:
        rate = float(value)
    except (TypeError, ValueError):
        raise TypeError(f"[{tag}] learning_rate must be a number. Received: {value!r}") from None
    if not rate >= 0:
        raise ValueError(f"[{tag}] learning_rate must not be negative. Received: {value!r}")
    return rate


def _scaled_to(g: Any, norm: Tensor, limit: float) -> Tensor:
    return g * (limit / ops.maximum(norm, limit))


def _unit_interval(tag: str, **values: float) -> None:
    for name, value in values.items():
        if not 0 <= value <= 1:
            raise ValueError(f"[{tag}] {name} must be between 0 and 1. Received: {value}")


class SGD(Optimizer):
    """Gradient descent: m = momentum * m - learning_rate * g; w += m (nesterov: w += momentum * m - learning_rate * g).

    Args:
        learning_rate: default 0.01.
        momentum: 0 for plain gradient descent.
        nesterov: look ahead along the momentum.
        **kwargs: see `Optimizer`.

    >>> import nnfast
    >>> w = nnfast.Variable([1.0])
    >>> nnfast.optimizers.SGD(0.5).apply([nnfast.tensor([1.0])], [w])
    >>> w.numpy()
    array([0.5], dtype=float32)
    """

    slots = ("momentum",)

    def __init__(self, learning_rate: float = 0.01, momentum: float = 0.0, nesterov: bool = False, **kwargs: Any):
        super().__init__(learning_rate, **kwargs)
        _unit_interval("SGD", momentum=momentum)
        self.momentum, self.nesterov = momentum, nesterov

    def _uses(self, slot: str) -> bool:
        return self.momentum != 0

    def _step(self, picked: list[int], ws: list[Any], gs: list[Any]) -> None:
        ops.sgd(
            ws,
            gs,
            self._pick("momentum", picked),
            self._learning_rate,
            momentum=self.momentum,
            nesterov=self.nesterov,
            weight_decay=self.weight_decay or 0.0,
            status=ops.current_status(),
        )

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "momentum": self.momentum, "nesterov": self.nesterov}


class RMSprop(Optimizer):
    """v = rho * v + (1 - rho) * g^2; w -= learning_rate * g / sqrt(v + epsilon): epsilon inside the root, as in Keras.

    Args:
        learning_rate: default 0.001.
        rho: how slowly v forgets.
        momentum: m = momentum * m + the step above; w -= m.
        epsilon: keeps the root away from 0.
        centered: subtract the squared mean of the gradient from v.
        **kwargs: see `Optimizer`.
    """

    slots = ("velocity", "momentum", "average_gradient")

    def __init__(
        self,
        learning_rate: float = 0.001,
        rho: float = 0.9,
        momentum: float = 0.0,
        epsilon: float = 1e-7,
        centered: bool = False,
        **kwargs: Any,
    ):
        super().__init__(learning_rate, **kwargs)
        _unit_interval("RMSprop", rho=rho, momentum=momentum)
        self.rho, self.momentum, self.epsilon, self.centered = rho, momentum, epsilon, centered

    def _uses(self, slot: str) -> bool:
        return slot == "velocity" or (slot == "momentum" and self.momentum != 0) or (slot[0] == "a" and self.centered)

    def _step(self, picked: list[int], ws: list[Any], gs: list[Any]) -> None:
        ops.rmsprop(
            ws,
            gs,
            self._pick("velocity", picked),
            self._pick("momentum", picked),
            self._pick("average_gradient", picked),
            self._learning_rate,
            rho=self.rho,
            momentum=self.momentum,
            epsilon=self.epsilon,
            weight_decay=self.weight_decay or 0.0,
            status=ops.current_status(),
        )

    def get_config(self) -> dict[str, Any]:
        own = {"rho": self.rho, "momentum": self.momentum, "epsilon": self.epsilon, "centered": self.centered}
        return {**super().get_config(), **own}


class Adam(Optimizer):
    """m and v average g and g^2; w -= learning_rate * sqrt(1 - beta_2^t) / (1 - beta_1^t) * m / (sqrt(v) + epsilon).

    Kingma & Ba, "Adam: a method for stochastic optimization" (arXiv:1412.6980), with epsilon as in its section 2.

    Args:
        learning_rate: default 0.001.
        beta_1, beta_2: how slowly m and v forget.
        epsilon: keeps the division away from 0.
        amsgrad: divide by the largest v so far.
        **kwargs: see `Optimizer`.
    """

    slots = ("momentum", "velocity", "velocity_hat")
    _paired = ("momentum", "velocity")

    def __init__(
        self,
        learning_rate: float = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        amsgrad: bool = False,
        **kwargs: Any,
    ):
        super().__init__(learning_rate, **kwargs)
        _unit_interval("Adam", beta_1=beta_1, beta_2=beta_2)
        self.beta_1, self.beta_2, self.epsilon, self.amsgrad = beta_1, beta_2, epsilon, amsgrad

    def _uses(self, slot: str) -> bool:
        return slot != "velocity_hat" or self.amsgrad

    def _step(self, picked: list[int], ws: list[Any], gs: list[Any]) -> None:
        ops.adam(
            ws,
            gs,
            self._pick("momentum", picked),
            self._pick("velocity", picked),
            self._pick("velocity_hat", picked),
            self._learning_rate,
            self._iterations,
            beta_1=self.beta_1,
            beta_2=self.beta_2,
            epsilon=self.epsilon,
            weight_decay=self.weight_decay or 0.0,
            status=ops.current_status(),
        )

    def get_config(self) -> dict[str, Any]:
        own = {"beta_1": self.beta_1, "beta_2": self.beta_2, "epsilon": self.epsilon, "amsgrad": self.amsgrad}
        return {**super().get_config(), **own}


_BY_NAME = {c.__name__.lower(): c for c in (SGD, RMSprop, Adam)}

publish("optimizers", {c.__name__: c for c in (*_BY_NAME.values(), Optimizer)})


def deserialize(config: Any, custom_objects: dict[str, Any] | None = None) -> Any:
    """The Optimizer that `serialize` described; names in custom_objects come first."""
    return from_identifier("optimizer", config, None, custom_objects)


def get(identifier: Any) -> Optimizer:
    """An optimizer from a name (`"adam"`), a config dict, or an optimizer (returned as it is)."""
    if isinstance(identifier, Optimizer):
        return identifier
    if isinstance(identifier, dict):
        return deserialize(identifier)
    if isinstance(identifier, str):
        return _class_of(identifier)()
    if isinstance(identifier, type) and issubclass(identifier, Optimizer):
        return identifier()  # type: ignore[call-arg]
    raise ValueError(f"[optimizers] an optimizer is a name, a config or an Optimizer. Received: {identifier!r}")


def _class_of(name: str) -> Any:
    if name.lower() not in _BY_NAME:
        known = ", ".join(repr(n) for n in _BY_NAME)
        raise ValueError(f"[optimizers] unknown optimizer. Known: {known}. Received: {name!r}")
    return _BY_NAME[name.lower()]
