"""Embedding, and Masking: how a sequence begins, and which of its steps count."""

import warnings
from typing import Any

import numpy as np

from nnfast import device, ops
from nnfast.layers.layer import ElementwiseLayer, Layer, Shape, standardize_shape
from nnfast.layers.weights import add, keep_options, positive_int
from nnfast.tensor import Tensor, Variable, as_array


class Embedding(Layer):
    """A table of vectors, one for each number from 0 to input_dim - 1: the word's number goes in, its vector comes out.

    Args:
        input_dim: how many numbers there are: the largest, and one more.
        output_dim: the size of a vector.
        embeddings_initializer, embeddings_regularizer, embeddings_constraint: of the table.
        mask_zero: is 0 no word but padding, which later layers pass over?
        weights: the first values of the table.
        lora_rank, lora_alpha, quantization_config: not supported; None.

    Input: integers (batch, ...), output (batch, ..., output_dim), embeddings (input_dim, output_dim).

    Raises:
        IndexError: a number outside [0, input_dim); it names the sample.

    >>> import numpy as np, nnfast
    >>> nnfast.layers.Embedding(1000, 8)(np.array([[4, 20], [7, 0]])).shape
    (2, 2, 8)
    """

    cast_integers = None

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        embeddings_initializer: Any = "uniform",
        embeddings_regularizer: Any = None,
        embeddings_constraint: Any = None,
        mask_zero: bool = False,
        weights: Any = None,
        lora_rank: Any = None,
        lora_alpha: Any = None,
        quantization_config: Any = None,
        **kwargs: Any,
    ):
        kwargs.update(lora_rank=lora_rank, lora_alpha=lora_alpha, quantization_config=quantization_config)
        if kwargs.pop("input_length", None) is not None:
            warnings.warn("[Embedding] input_length has no effect any more. Leave it out", stacklevel=2)
        kwargs["autocast"] = False
        super().__init__(**kwargs)
        self.input_dim = positive_int(self, "input_dim", input_dim)
        self.output_dim = positive_int(self, "output_dim", output_dim)
        keep_options(self, "embeddings", embeddings_initializer, embeddings_regularizer, embeddings_constraint)
        self.mask_zero = self.supports_masking = bool(mask_zero)
        self.embeddings: Variable | None = None
        if weights is not None:
            self.build()
            self.set_weights(weights if isinstance(weights, list) and len(weights) == 1 else [weights])

    def build(self, input_shape: Any = None) -> None:
        if self.embeddings is None:
            self.embeddings = add(self, "embeddings", (self.input_dim, self.output_dim))

    def call(self, inputs: Tensor) -> Tensor:
        if inputs.dtype.kind not in "iu":
            inputs = ops.cast(inputs, "int32")
        status = ops.current_status()
        if status is not None and device.host(status)[0] == ops.BAD_INDEX:  # a bad batch is looked at again
            self._check_numbers(device.host(inputs.data))
        try:
            return ops.take_rows(self.embeddings, inputs)
        except IndexError:
            self._check_numbers(device.host(inputs.data))
            raise

    def _check_numbers(self, numbers: np.ndarray) -> None:
        bad = np.argwhere((numbers < 0) | (numbers >= self.input_dim))
        if not len(bad):
            return
        at = tuple(bad[0].tolist())
        where = f"sample {at[0]}" + (f", position {', '.join(map(str, at[1:]))}" if at[1:] else "")
        fix = f"Give input_dim={int(numbers.max()) + 1} or more"
        raise IndexError(
            f"[{self.name}] Embedding has numbers from 0 to {self.input_dim - 1}. Received: {numbers[at]} in {where}. "
            + ("Negative numbers have no vector" if numbers[at] < 0 else fix)
        ) from None

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        """With mask_zero: where the input is not 0."""
        if not self.mask_zero:
            return None
        return ops.cast(inputs if isinstance(inputs, Tensor) else as_array(inputs, name=self.name), "bool")

    def compute_output_shape(self, input_shape: Any) -> Shape:
        return (*standardize_shape(input_shape), self.output_dim)


class Masking(ElementwiseLayer):
    """Says that steps whose features are all mask_value do not count: later layers pass over them.

    Args:
        mask_value: the value that marks them. The output is 0 there.

    >>> import numpy as np, nnfast
    >>> nnfast.layers.Masking(9.0)(np.array([[[9.0, 9.0], [9.0, 1.0]]])).numpy()
    array([[[0., 0.],
            [9., 1.]]], dtype=float32)
    """

    supports_masking = True

    def __init__(self, mask_value: float = 0.0, **kwargs: Any):
        super().__init__(**kwargs)
        self.mask_value = mask_value

    def _counts(self, inputs: Any) -> Tensor:
        x = inputs if isinstance(inputs, Tensor) else Tensor(as_array(inputs, name=self.name))
        other = ops.cast(ops.not_equal(x, np.asarray(self.mask_value, x.dtype)), self.dtype)
        return ops.cast(ops.max(other, axis=-1), "bool")

    def check_input(self, shape: Shape) -> None:
        if len(shape) < 2:
            raise self._mismatch("expects (batch, time, features)", shape)

    def call(self, inputs: Tensor) -> Tensor:
        return ops.where(self._counts(inputs)[..., None], inputs, np.zeros((), inputs.dtype))

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        """bool (batch, time): where a feature is not mask_value."""
        return self._counts(inputs)
