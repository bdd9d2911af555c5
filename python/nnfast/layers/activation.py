"""Activations as layers of their own."""

from typing import Any

import numpy as np

from nnfast import activations, ops
from nnfast.layers.layer import ElementwiseLayer, Shape
from nnfast.layers.weights import add, keep_options
from nnfast.tensor import Tensor, Variable


def _not_negative(layer: str, name: str, value: Any) -> float:
    if value is None or not value >= 0:
        raise ValueError(f"[{layer}] {name} must be a number, not negative. Received: {name}={value!r}")
    return float(value)


class Activation(ElementwiseLayer):
    """An activation function as a layer.

    Args:
        activation: name or function.

    >>> import nnfast
    >>> nnfast.layers.Activation("relu")([-1.0, 2.0]).numpy()
    array([0., 2.], dtype=float32)
    """

    def __init__(self, activation: Any, **kwargs: Any):
        super().__init__(**kwargs)
        self.activation = activations.get(activation)

    def call(self, x: Tensor) -> Tensor:
        return self.activation(x)


class ReLU(ElementwiseLayer):
    """max(x, 0). In general: below threshold negative_slope * (x - threshold), from there x, at most max_value.

    Args:
        max_value: the cap, None: none.
        negative_slope: slope below the threshold.
        threshold: where it begins.
    """

    def __init__(
        self, max_value: float | None = None, negative_slope: float = 0.0, threshold: float = 0.0, **kwargs: Any
    ):
        super().__init__(**kwargs)
        self.max_value = None if max_value is None else _not_negative("ReLU", "max_value", max_value)
        self.negative_slope = _not_negative("ReLU", "negative_slope", negative_slope)
        self.threshold = _not_negative("ReLU", "threshold", threshold)

    def call(self, x: Tensor) -> Tensor:
        return activations.relu(x, self.negative_slope, self.max_value, self.threshold)


class LeakyReLU(ElementwiseLayer):
    """x where positive, else negative_slope * x.

    Args:
        negative_slope: 0.3 here, 0.2 in `activations.leaky_relu`, 0.01 in PyTorch: say which you mean. `alpha` is its
            old name.
    """

    def __init__(self, negative_slope: float = 0.3, **kwargs: Any):
        negative_slope = kwargs.pop("alpha", negative_slope)
        super().__init__(**kwargs)
        self.negative_slope = _not_negative("LeakyReLU", "negative_slope", negative_slope)

    def call(self, x: Tensor) -> Tensor:
        return activations.leaky_relu(x, self.negative_slope)


class PReLU(ElementwiseLayer):
    """x where positive, else alpha * x, with an alpha that is learned (He et al. 2015).

    Args:
        alpha_initializer, alpha_regularizer, alpha_constraint: of alpha.
        shared_axes: axes (1 is the first after the batch) along which alpha is one number; [1, 2] gives one per channel
            of an image.
    """

    def __init__(
        self,
        alpha_initializer: Any = "Zeros",
        alpha_regularizer: Any = None,
        alpha_constraint: Any = None,
        shared_axes: Any = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        keep_options(self, "alpha", alpha_initializer, alpha_regularizer, alpha_constraint)
        if any(isinstance(a, bool) for a in (shared_axes if isinstance(shared_axes, (list, tuple)) else [shared_axes])):
            raise ValueError(f"[PReLU] shared_axes are integers, from 1. Received: shared_axes={shared_axes!r}")
        self.shared_axes = [shared_axes] if isinstance(shared_axes, int) else shared_axes and list(shared_axes)
        self.alpha: Variable | None = None

    def _alpha_shape(self, shape: Shape) -> list[int | None]:
        sizes = list(shape[1:])
        for axis in self.shared_axes or ():
            if not 1 <= axis < len(shape):
                raise self._mismatch(f"has shared_axes={self.shared_axes}, from 1 to the last axis", shape)
            sizes[axis - 1] = 1
        return sizes

    def check_input(self, shape: Shape) -> None:
        sizes = self._alpha_shape(shape)
        if None in sizes:
            raise self._mismatch("needs every size that shared_axes does not name", shape)
        if self.alpha is not None and tuple(sizes) != self.alpha.shape:
            raise self._mismatch(f"was built with alpha of shape {self.alpha.shape}", shape)

    def build(self, input_shape: Any) -> None:
        self.alpha = add(self, "alpha", self._alpha_shape(input_shape))

    def call(self, x: Tensor) -> Tensor:
        return ops.relu(x) - self.alpha * ops.relu(-x)


class ELU(ElementwiseLayer):
    """x where positive, else alpha * (exp(x) - 1)."""

    def __init__(self, alpha: float = 1.0, **kwargs: Any):
        super().__init__(**kwargs)
        self.alpha = float(alpha)

    def call(self, x: Tensor) -> Tensor:
        return activations.elu(x, self.alpha)


class Softmax(ElementwiseLayer):
    """exp(x) / sum(exp(x)) along an axis, or several axes together.

    Called with mask= (bool, of a shape that broadcasts to x), what it does not hold for counts as minus infinity: 0.

    >>> import nnfast
    >>> nnfast.layers.Softmax()([[0.0, 0.0]]).numpy()
    array([[0.5, 0.5]], dtype=float32)
    """

    def __init__(self, axis: Any = -1, **kwargs: Any):
        super().__init__(**kwargs)
        self.axis = list(axis) if isinstance(axis, (list, tuple)) else axis

    def call(self, x: Tensor, mask: Any = None) -> Tensor:
        if mask is None:
            return self._softmax(x)
        mask = mask if mask.dtype == np.bool_ else ops.greater(mask, 0.5)
        return ops.where(mask, self._softmax(ops.where(mask, x, -1e9)), 0.0)

    def _softmax(self, x: Tensor) -> Tensor:
        if isinstance(self.axis, list):
            return ops.exp(x - ops.logsumexp(x, axis=tuple(self.axis), keepdims=True))
        return activations.softmax(x, self.axis)
