"""`keras.backend`: settings, and functions on tensors, by Keras's names; config and ops have them too."""

from typing import Any

from nnfast import ops
from nnfast.config import epsilon, floatx, image_data_format, set_epsilon, set_floatx, set_image_data_format
from nnfast.naming import clear_session
from nnfast.ops import *  # noqa: F403
from nnfast.tensor import Tensor, Variable, as_array

variable, constant, concatenate = Variable, Tensor, ops.concat  # in Keras's backend the last axis is the default


def backend() -> str:
    """The name of what computes: "nnfast"."""
    return "nnfast"


def shape(x: Any) -> tuple[int, ...]:
    """The shape of an array or a tensor.

    >>> shape([[1, 2, 3]])
    (1, 3)
    """
    return tuple(x.shape) if hasattr(x, "shape") else as_array(x).shape


def int_shape(x: Any) -> tuple[int, ...]:
    """The shape of an array or a tensor."""
    return shape(x)


def eval(x: Any) -> Any:
    """The values of a tensor as a NumPy array."""
    return x.numpy() if hasattr(x, "numpy") else as_array(x)


def get_value(x: Any) -> Any:
    """The values of a Variable as a NumPy array."""
    return eval(x)


def set_value(x: Variable, value: Any) -> None:
    """Copies new values into a Variable."""
    x.assign(value)


__all__ = [
    "backend",
    "clear_session",
    "constant",
    "epsilon",
    "eval",
    "floatx",
    "get_value",
    "image_data_format",
    "int_shape",
    "set_epsilon",
    "set_floatx",
    "set_image_data_format",
    "set_value",
    "shape",
    "variable",
    *ops.__all__,
]
