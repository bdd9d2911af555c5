"""Layers that pass their input on."""

from typing import Any

from nnfast import regularizers
from nnfast.layers.layer import ElementwiseLayer
from nnfast.tensor import Tensor


class Identity(ElementwiseLayer):
    """Its input."""

    cast_integers = None

    def call(self, x: Any) -> Any:
        return x


class ActivityRegularization(ElementwiseLayer):
    """Passes its input on and adds what its size costs, l1 * sum(|x|) + l2 * sum(x^2) per sample, to the loss."""

    def __init__(self, l1: float = 0.0, l2: float = 0.0, **kwargs: Any):
        super().__init__(activity_regularizer=regularizers.L1L2(l1, l2), **kwargs)
        self.l1, self.l2 = float(l1), float(l2)

    def call(self, x: Tensor) -> Tensor:
        return x

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        del config["activity_regularizer"]  # made of l1 and l2
        return config
