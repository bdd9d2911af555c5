"""The base class of metrics, and what they share: numbers that a kernel keeps, weights, targets."""

from typing import Any

import numpy as np

from nnfast import config, graph, initializers, ops
from nnfast.losses.loss import aligned
from nnfast.naming import to_snake_case
from nnfast.tensor import Tensor, Variable, as_array


class Result(float):
    """A number that may also be asked for `.numpy()`, as the results of Keras's metrics are."""

    __slots__ = ()

    def numpy(self) -> np.float64:
        """The number as NumPy's."""
        return np.float64(self)

    def item(self) -> float:
        """The number as Python's."""
        return float(self)


def result(value: Any) -> Any:
    """One number as a `Result`, several as a Tensor of `config.floatx()`."""
    value = np.asarray(value)
    return Result(value) if value.size == 1 and value.ndim == 0 else Tensor(value.astype(config.floatx()))


class Metric(graph.Watched):
    """Base class: subclasses make their state with `add_weight`, and define `update_state` and `result`.

    Args:
        dtype: of the state that `add_weight` makes, default `config.floatx()`. Metrics of the package count in float64.
        name: key in logs and history; default: the class's name in snake case.

    >>> import nnfast
    >>> class Largest(nnfast.metrics.Metric):
    ...     def __init__(self, name="largest", **kwargs):
    ...         super().__init__(name=name, **kwargs)
    ...         self.seen = self.add_weight(name="seen", initializer="zeros")
    ...     def update_state(self, y_true, y_pred, sample_weight=None):
    ...         self.seen.assign(nnfast.ops.maximum(self.seen, nnfast.ops.max(y_pred)))
    ...     def result(self):
    ...         return self.seen
    >>> m = Largest()
    >>> float(m([0.0], nnfast.tensor([3.0]))), float(m([0.0], nnfast.tensor([2.0])))
    (3.0, 3.0)
    """

    def __init__(self, dtype: Any = None, name: str | None = None):
        self.name = name or to_snake_case(type(self).__name__)
        self.dtype: Any = np.dtype(dtype or config.floatx()).name

    def add_variable(
        self, shape: Any, initializer: Any = None, dtype: Any = None, aggregation: str = "sum", name: str | None = None
    ) -> Variable:
        """A Variable that `reset_state` sets to 0; not trainable. (aggregation is accepted for Keras's sake.)"""
        shape = (shape,) if isinstance(shape, int) else tuple(shape)
        make = initializers.get("zeros" if initializer is None else initializer)
        dtype = dtype or getattr(self, "dtype", None) or config.floatx()
        return Variable(np.asarray(make(shape, dtype=dtype)), False, dtype, f"{self.name}_{name or 'variable'}")

    def add_weight(
        self, shape: Any = (), initializer: Any = None, dtype: Any = None, name: str | None = None
    ) -> Variable:
        """The same as `add_variable`."""
        return self.add_variable(shape, initializer, dtype, name=name)

    @property
    def variables(self) -> list[Variable]:
        """The state: Variables that are attributes, and those of metrics that are."""
        found: list[Variable] = []
        for value in vars(self).values():
            for v in value if isinstance(value, (list, tuple)) else (value,):
                if isinstance(v, Metric):
                    found += v.variables
                elif isinstance(v, Variable):
                    found.append(v)
        return list({id(v): v for v in found}.values())

    def update_state(self, *args: Any, **kwargs: Any) -> None:
        raise NotImplementedError(f"[{type(self).__name__}] a metric must define update_state")

    def result(self) -> Any:
        raise NotImplementedError(f"[{type(self).__name__}] a metric must define result")

    def reset_state(self) -> None:
        """Forgets what was seen."""
        for v in self.variables:
            v.assign(np.zeros(v.shape))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Updates with these values and returns the result so far."""
        self.update_state(*args, **kwargs)
        return self.result()

    def get_config(self) -> dict[str, Any]:
        """The arguments that make an equal metric."""
        return {"name": self.name, "dtype": self.dtype}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Metric":
        """The metric that `get_config` described."""
        return cls(**config)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} name={self.name}>"


def tensors(*values: Any) -> tuple[Tensor, ...]:
    """Each as a Tensor."""
    return tuple(v if isinstance(v, Tensor) else Tensor(as_array(v)) for v in values)


def spread(name: str, weights: Any, shape: tuple[int, ...], dtype: Any = None) -> Tensor:
    """Weights (N,), (N, 1) or more axes, repeated to the shape of the values."""
    return ops.broadcast_to(aligned(name, "sample_weight", weights, shape, dtype), shape)
