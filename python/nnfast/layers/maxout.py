"""Maxout: the largest of several linear maps."""

from typing import Any

from nnfast import ops
from nnfast.layers.layer import Layer, Shape, standardize_shape
from nnfast.layers.weights import add, keep_options, positive_int
from nnfast.tensor import Tensor, Variable


class Maxout(Layer):
    """y = max(x @ kernel_1 + bias_1, x @ kernel_2 + bias_2, ...): an activation that is learned.

    Goodfellow et al. 2013. Not in Keras.

    Args:
        units: the size N of the output.
        pieces: how many linear maps, P.
        use_bias: do they have biases?
        kernel_initializer, bias_initializer: the first values.
        kernel_regularizer, bias_regularizer, activity_regularizer, kernel_constraint, bias_constraint: as in `Dense`.

    Input (batch, ..., K), kernel (K, P * N), bias (P * N,): the pieces one after another. Output (batch, ..., N).

    >>> import numpy as np, nnfast
    >>> nnfast.layers.Maxout(3)(np.ones((2, 4))).shape
    (2, 3)
    """

    cast_integers = True

    def __init__(
        self,
        units: int,
        pieces: int = 2,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        **kwargs: Any,
    ):
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        self.units = positive_int(self, "units", units)
        self.pieces = positive_int(self, "pieces", pieces)
        self.use_bias = use_bias
        keep_options(self, "kernel", kernel_initializer, kernel_regularizer, kernel_constraint)
        keep_options(self, "bias", bias_initializer, bias_regularizer, bias_constraint)
        self.kernel: Variable | None = None
        self.bias: Variable | None = None

    def check_input(self, shape: Shape) -> None:
        if len(shape) < 2 or shape[-1] is None:
            raise self._mismatch("expects (batch, ..., features)", shape, "For one sample use x.reshape(1, -1)")
        if self.kernel is not None and shape[-1] != self.kernel.shape[0]:
            raise self._mismatch(f"was built for inputs of shape (..., {self.kernel.shape[0]})", shape)

    def build(self, input_shape: Any) -> None:
        self.kernel = add(self, "kernel", (input_shape[-1], self.pieces * self.units))
        if self.use_bias:
            self.bias = add(self, "bias", (self.pieces * self.units,))

    def call(self, x: Tensor) -> Tensor:
        y = ops.dense(x, self.kernel, self.bias)
        return ops.max(ops.reshape(y, (*y.shape[:-1], self.pieces, self.units)), axis=-2)

    def compute_output_shape(self, input_shape: Any) -> Shape:
        shape = standardize_shape(input_shape)
        self.check_input(shape)
        return (*shape[:-1], self.units)
