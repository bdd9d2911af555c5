"""Input: what a model expects, before there is data."""

from typing import Any

import numpy as np

from nnfast import config
from nnfast.layers.layer import Layer, Shape
from nnfast.layers.symbolic import Node, SymbolicTensor
from nnfast.tensor import Tensor


class InputLayer(Layer):
    """The first element of a model: says which shape comes in, and passes it on.

    Args:
        shape: of one sample.
        batch_size: usually None, any.
        dtype: of the input; None: `nnfast.config.floatx()`.
        batch_shape: instead of shape and batch_size.
        name: by default input_layer, input_layer_1, ...

    >>> import nnfast
    >>> nnfast.layers.InputLayer(shape=(784,)).batch_shape
    (None, 784)
    """

    def __init__(
        self,
        shape: Any = None,
        batch_size: int | None = None,
        dtype: Any = None,
        sparse: Any = None,
        ragged: Any = None,
        batch_shape: Any = None,
        input_tensor: Any = None,
        optional: bool = False,
        name: str | None = None,
        **kwargs: Any,
    ):
        if batch_shape is not None:
            kwargs["batch_shape"] = batch_shape
        elif shape is not None:
            kwargs["input_shape"], kwargs["batch_size"] = shape, batch_size
        super().__init__(name=name, **kwargs)
        for key, value in (("sparse", sparse), ("ragged", ragged), ("input_tensor", input_tensor)):
            if value is not None and value is not False:
                raise ValueError(f"[Input] {key} is not supported. Received: {key}={value!r}. Inputs are dense arrays")
        if optional:
            raise ValueError("[Input] optional inputs are not supported. Received: optional=True")
        if self._declared_shape is None:
            raise ValueError("[Input] the shape of a sample is needed. Received: shape=None. E.g. Input(shape=(784,))")
        if any(n is not None and n < 1 for n in self._declared_shape):
            raise ValueError(f"[Input] sizes must be positive or None. Received: shape={self._declared_shape}")
        self.batch_shape: Shape = self._declared_shape
        self._np_dtype = np.dtype(config.floatx() if dtype is None else dtype)
        if self._np_dtype.kind not in "biuf":
            raise ValueError(f"[Input] the dtype must be that of numbers. Received: dtype={dtype!r}")
        self.built = True
        self._build_shape = self.batch_shape

        tensor = SymbolicTensor(self.batch_shape, self.dtype, self.name)
        self._nodes.append(Node(self, (), {}, tensor))

    def call(self, x: Tensor) -> Tensor:
        return x

    def compute_output_shape(self, input_shape: Any = None) -> Shape:
        return self.batch_shape

    def get_config(self) -> dict[str, Any]:
        shape = {"batch_shape": self.batch_shape, "dtype": self.dtype, "sparse": False, "ragged": False}
        return {**shape, "name": self.name, "optional": False}


def Input(
    shape: Any = None,
    batch_size: int | None = None,
    dtype: Any = None,
    sparse: Any = None,
    ragged: Any = None,
    batch_shape: Any = None,
    name: str | None = None,
    tensor: Any = None,
    optional: bool = False,
) -> SymbolicTensor:
    """A placeholder for an input of a model: a symbolic tensor, for `Model(inputs=, outputs=)` and for `Sequential`.

    Args:
        shape: of one sample; batch_shape, instead, includes the batch.
        batch_size: usually None, any.
        dtype: of the input; None: `nnfast.config.floatx()`.
        name: by default input_layer, input_layer_1, ...

    >>> import nnfast
    >>> nnfast.Input(shape=(28, 28)).shape
    (None, 28, 28)
    """
    layer = InputLayer(shape, batch_size, dtype, sparse, ragged, batch_shape, tensor, optional, name)
    return layer.output
