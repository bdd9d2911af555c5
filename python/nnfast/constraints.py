"""What weights must fulfil: after every optimizer step, `w = constraint(w)`. By Keras's names."""

from typing import Any

from nnfast import config, graph, ops
from nnfast.saving.serialization import from_identifier, publish
from nnfast.saving.serialization import serialize as serialize
from nnfast.tensor import Tensor


class Constraint(graph.Watched):
    """A function of a weight that gives its new value. Override `__call__`, and `get_config` if it takes arguments."""

    def __call__(self, w: Any) -> Any:
        raise NotImplementedError(f"[Constraint] {type(self).__name__} needs a method __call__(self, w)")

    def get_config(self) -> dict[str, Any]:
        """The arguments that make one like this."""
        return {}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Constraint":
        """A new one from what `get_config` gave."""
        return cls(**config)


def _norms(w: Any, axis: Any) -> Tensor:
    return ops.sqrt(ops.sum(ops.square(w), axis=axis, keepdims=True))


class MaxNorm(Constraint):
    """Shrinks vectors that are longer than max_value.

    Args:
        max_value: the largest norm.
        axis: along which axes a vector lies: 0 for Dense (the weights into one unit), [0, 1, 2] for Conv2D.
    """

    def __init__(self, max_value: float = 2, axis: Any = 0):
        self.max_value, self.axis = max_value, axis

    def __call__(self, w: Any) -> Tensor:
        norms = _norms(w, self.axis)
        return w * (ops.clip(norms, 0.0, self.max_value) / (norms + config.epsilon()))

    def get_config(self) -> dict[str, Any]:
        return {"max_value": self.max_value, "axis": self.axis}


class NonNeg(Constraint):
    """Sets negative weights to 0."""

    def __call__(self, w: Any) -> Tensor:
        return ops.relu(w)


class UnitNorm(Constraint):
    """Makes every vector one long (as `MaxNorm`, axis tells along which axes a vector lies)."""

    def __init__(self, axis: Any = 0):
        self.axis = axis

    def __call__(self, w: Any) -> Tensor:
        return w / (_norms(w, self.axis) + config.epsilon())

    def get_config(self) -> dict[str, Any]:
        return {"axis": self.axis}


class MinMaxNorm(Constraint):
    """Moves the norm of every vector towards [min_value, max_value].

    Args:
        min_value, max_value: the range of norms.
        rate: how much of the way each step goes: 1 is all of it.
        axis: along which axes a vector lies.
    """

    def __init__(self, min_value: float = 0.0, max_value: float = 1.0, rate: float = 1.0, axis: Any = 0):
        self.min_value, self.max_value, self.rate, self.axis = min_value, max_value, rate, axis

    def __call__(self, w: Any) -> Tensor:
        norms = _norms(w, self.axis)
        wanted = ops.clip(norms, self.min_value, self.max_value) * self.rate + norms * (1 - self.rate)
        return w * (wanted / (norms + config.epsilon()))

    def get_config(self) -> dict[str, Any]:
        return {"min_value": self.min_value, "max_value": self.max_value, "rate": self.rate, "axis": self.axis}


_TABLE: dict[str, Any] = {"MaxNorm": MaxNorm, "NonNeg": NonNeg, "UnitNorm": UnitNorm, "MinMaxNorm": MinMaxNorm}
max_norm, non_neg, unit_norm, min_max_norm = MaxNorm, NonNeg, UnitNorm, MinMaxNorm

publish("constraints", _TABLE)


def get(identifier: Any) -> Any:
    """The constraint that a name or config means; None stays None, and a callable is itself.

    >>> import nnfast
    >>> nnfast.constraints.get("max_norm").max_value
    2
    """
    if identifier is None:
        return None
    found = from_identifier("constraint", identifier, _TABLE)
    if not callable(found):
        raise TypeError(f"[constraint] a name, a config or a function is expected. Received: {identifier!r}")
    return found


def deserialize(config: Any, custom_objects: dict[str, Any] | None = None) -> Any:
    """The constraint that `serialize` described; names in custom_objects come first."""
    return None if config is None else from_identifier("constraint", config, _TABLE, custom_objects)
