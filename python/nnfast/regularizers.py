"""What weights and outputs may cost: penalties added to the loss, by Keras's names."""

import math
from typing import Any

from nnfast import graph, ops
from nnfast.saving.serialization import from_identifier, publish
from nnfast.saving.serialization import serialize as serialize
from nnfast.tensor import Tensor


class Regularizer(graph.Watched):
    """A function of a tensor that gives a scalar cost. Override `__call__`, and `get_config` if it takes arguments."""

    def __call__(self, x: Any) -> Any:
        raise NotImplementedError(f"[Regularizer] {type(self).__name__} needs a method __call__(self, x)")

    def get_config(self) -> dict[str, Any]:
        """The arguments that make one like this."""
        return {}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Regularizer":
        """A new one from what `get_config` gave."""
        return cls(**config)


def _factor(name: str, value: Any) -> float:
    if value is None:
        return 0.0
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or value < 0:
        raise ValueError(f"[regularizer] {name} must be a finite number, not negative. Received: {name}={value!r}")
    return float(value)


class L1L2(Regularizer):
    """l1 * sum(|x|) + l2 * sum(x^2).

    >>> import nnfast
    >>> nnfast.regularizers.L1L2(l1=0.5, l2=0.25)([1.0, -2.0]).item()
    2.75
    """

    def __init__(self, l1: float = 0.0, l2: float = 0.0):
        self.l1, self.l2 = _factor("l1", l1), _factor("l2", l2)

    def __call__(self, x: Any) -> Tensor:
        cost = None
        if self.l1:
            cost = ops.sum(ops.abs(x)) * self.l1
        if self.l2:
            squares = ops.sum(ops.square(x)) * self.l2
            cost = squares if cost is None else cost + squares
        return ops.sum(x) * 0.0 if cost is None else cost

    def get_config(self) -> dict[str, Any]:
        return {"l1": self.l1, "l2": self.l2}


class L1(L1L2):
    """l1 * sum(|x|)."""

    def __init__(self, l1: float = 0.01):
        super().__init__(l1=l1)

    def get_config(self) -> dict[str, Any]:
        return {"l1": self.l1}


class L2(L1L2):
    """l2 * sum(x^2)."""

    def __init__(self, l2: float = 0.01):
        super().__init__(l2=l2)

    def get_config(self) -> dict[str, Any]:
        return {"l2": self.l2}


class OrthogonalRegularizer(Regularizer):
    """factor * mean |cosine| between different rows (or columns) of a matrix: small if they are orthogonal."""

    def __init__(self, factor: float = 0.01, mode: str = "rows"):
        if mode not in ("rows", "columns"):
            raise ValueError(f"[OrthogonalRegularizer] mode must be 'rows' or 'columns'. Received: mode={mode!r}")
        self.factor, self.mode = _factor("factor", factor), mode

    def __call__(self, x: Any) -> Tensor:
        if len(x.shape) != 2:
            raise ValueError(f"[OrthogonalRegularizer] expects a matrix. Received: shape {tuple(x.shape)}")
        v = x if self.mode == "rows" else ops.transpose(x)
        v = v / ops.sqrt(ops.maximum(ops.sum(ops.square(v), axis=1, keepdims=True), 1e-12))
        n = v.shape[0]
        products = ops.abs(ops.matmul(v, ops.transpose(v)))  # (n, n), the diagonal is 1
        pairs = n * (n - 1) / 2
        off = ops.sum(products) - ops.sum(ops.sqrt(ops.sum(ops.square(v), axis=1)))
        return off * (self.factor * 0.5 / max(pairs, 1.0))

    def get_config(self) -> dict[str, Any]:
        return {"factor": self.factor, "mode": self.mode}


l1, l2, l1_l2 = L1, L2, L1L2

_TABLE: dict[str, Any] = {
    "L1": L1,
    "L2": L2,
    "L1L2": L1L2,
    "OrthogonalRegularizer": OrthogonalRegularizer,
}

publish("regularizers", _TABLE)


def get(identifier: Any) -> Any:
    """The regularizer that a name or config means; None stays None, and a callable is itself.

    >>> import nnfast
    >>> nnfast.regularizers.get("l2").l2
    0.01
    """
    if identifier is None:
        return None
    found = from_identifier("regularizer", identifier, _TABLE)
    if not callable(found):
        raise TypeError(f"[regularizer] a name, a config or a function is expected. Received: {identifier!r}")
    return found


def deserialize(config: Any, custom_objects: dict[str, Any] | None = None) -> Any:
    """The regularizer that `serialize` described; names in custom_objects come first."""
    return None if config is None else from_identifier("regularizer", config, _TABLE, custom_objects)
