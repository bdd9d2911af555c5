"""Dense: a matrix, a bias, an activation."""

from typing import Any

from nnfast import activations, ops
from nnfast.layers.layer import Layer, Shape
from nnfast.layers.weights import add, keep_options, positive_int
from nnfast.tensor import Tensor, Variable


class Dense(Layer):
    """y = activation(x @ kernel + bias).

    Args:
        units: the size N of the output.
        activation: name or function; None: linear.
        use_bias: is a bias added?
        kernel_initializer, bias_initializer: the first values.
        kernel_regularizer, bias_regularizer, activity_regularizer: what kernel, bias and output cost.
        kernel_constraint, bias_constraint: what they must fulfil after every step.

    Input (batch, ..., K), kernel (K, N), bias (N,), output (batch, ..., N).

    Raises:
        ValueError: units is no positive integer; or an input does not end in K.

    >>> import numpy as np, nnfast
    >>> nnfast.layers.Dense(3, activation="relu")(np.ones((2, 4))).shape
    (2, 3)
    """

    cast_integers = True
    supports_masking = True

    def __init__(
        self,
        units: int,
        activation: Any = None,
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
        self.activation = activations.get(activation)
        self.use_bias = use_bias
        keep_options(self, "kernel", kernel_initializer, kernel_regularizer, kernel_constraint)
        keep_options(self, "bias", bias_initializer, bias_regularizer, bias_constraint)
        self.kernel: Variable | None = None
        self.bias: Variable | None = None

    def check_input(self, shape: Shape) -> None:
        if len(shape) < 2:
            raise self._mismatch(
                "expects (batch, ..., features)", shape, "For one sample use x.reshape(1, -1), for one feature (-1, 1)"
            )
        if shape[-1] is None:
            raise self._mismatch("needs the last dimension of its input", shape, "Give it in input_shape=")
        if self.kernel is not None and shape[-1] != self.kernel.shape[0]:
            k = self.kernel.shape[0]
            size = 1
            for n in shape[1:]:
                size *= n or 0
            fix = f"Put Flatten() before it, or use x.reshape(-1, {k})" if size == k else ""
            fix = fix or f"If the data is right, the first layer needs input_shape={tuple(shape[1:])}"
            raise self._mismatch(f"was built for inputs of shape (..., {k})", shape, fix)

    def build(self, input_shape: Any) -> None:
        self.kernel = add(self, "kernel", (input_shape[-1], self.units))
        if self.use_bias:
            self.bias = add(self, "bias", (self.units,))

    def call(self, x: Tensor) -> Tensor:
        fused = activations.FUSED.get(self.activation)
        if fused is None:
            return self.activation(ops.dense(x, self.kernel, self.bias))
        return ops.dense(x, self.kernel, self.bias, *fused)

    def compute_output_shape(self, input_shape: Any) -> Shape:
        return (*input_shape[:-1], self.units)
