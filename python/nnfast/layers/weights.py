"""What layers say about their weights: how they begin, what their size costs, what they must fulfil."""

from typing import Any

from nnfast import constraints, initializers, regularizers
from nnfast.layers.layer import Layer
from nnfast.tensor import Variable


def keep_options(layer: Layer, weight: str, initializer: Any, regularizer: Any = None, constraint: Any = None) -> None:
    """Keeps what is said about a weight as <weight>_initializer, <weight>_regularizer and <weight>_constraint."""
    setattr(layer, f"{weight}_initializer", initializers.get(initializer))
    setattr(layer, f"{weight}_regularizer", regularizers.get(regularizer))
    setattr(layer, f"{weight}_constraint", constraints.get(constraint))


def add(layer: Layer, weight: str, shape: Any, name: str | None = None) -> Variable:
    """The weight that these options describe; `name`, if another than `weight`."""
    initializer, regularizer, constraint = (
        getattr(layer, f"{weight}_{option}") for option in ("initializer", "regularizer", "constraint")
    )
    return layer.add_weight(shape, initializer, regularizer=regularizer, constraint=constraint, name=name or weight)


def positive_int(layer: Layer, name: str, value: Any) -> int:
    """The argument as an int of at least 1."""
    if isinstance(value, bool) or not hasattr(value, "__index__") or value < 1:
        raise ValueError(f"[{type(layer).__name__}] {name} must be a positive integer. Received: {name}={value!r}")
    return int(value)
