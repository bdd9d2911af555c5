"""Lambda: a function as a layer."""

from collections.abc import Callable
from typing import Any

from nnfast.layers.layer import Layer, _parameters, standardize_shape
from nnfast.saving.serialization import deserialize_keras_object, get_registered_object, serialize_keras_object


class Lambda(Layer):
    """Calls a function of your own on its input, e.g. `Lambda(lambda x: ops.max(x, axis=1))`.

    A function has no weights that a layer could find: for these write a subclass of `Layer`. A file keeps the
    function's name, not its code: define it with def, and give it to `load_model` in custom_objects, or register it.

    Args:
        function: function(x, **arguments); with an argument `training` or `mask` it is told that too.
        output_shape: the shape of one sample of the output, or a function of the input's shape; default: found by
            running the function on zeros.
        mask: the mask of the output, or a function (inputs, mask) that gives it.
        arguments: further arguments of function, a dict.

    >>> import numpy as np, nnfast
    >>> nnfast.layers.Lambda(lambda x: x**2)(np.array([[1.0, 3.0]])).numpy()
    array([[1., 9.]], dtype=float32)
    """

    def __init__(
        self,
        function: Callable[..., Any],
        output_shape: Any = None,
        mask: Any = None,
        arguments: dict[str, Any] | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        if not callable(function):
            raise TypeError(f"[Lambda] function must be a function of the input. Received: function={function!r}")
        self.function, self.mask, self.arguments = function, mask, dict(arguments or {})
        self._output_shape = output_shape
        names = _parameters(function)[0] if hasattr(function, "__self__") else _names(function)
        self._passes_mask, self._passes_training = "mask" in names, "training" in names
        self.supports_masking = mask is not None

    def call(self, inputs: Any, mask: Any = None, training: bool = False) -> Any:
        kwargs = dict(self.arguments)
        if self._passes_mask:
            kwargs["mask"] = mask
        if self._passes_training:
            kwargs["training"] = training
        return self.function(inputs, **kwargs)

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        return self.mask(inputs, previous_mask) if callable(self.mask) else self.mask

    def _symbolic_outputs(self, args: Any, kwargs: Any) -> Any:
        return self._infer(args, kwargs) if self._output_shape is None else super()._symbolic_outputs(args, kwargs)

    def compute_output_shape(self, input_shape: Any) -> Any:
        if self._output_shape is None:
            return super().compute_output_shape(input_shape)
        if callable(self._output_shape):
            return standardize_shape(self._output_shape(input_shape))
        first = input_shape
        while isinstance(first, (list, dict)):
            first = first[0] if isinstance(first, list) else next(iter(first.values()))
        return (first[0], *standardize_shape(self._output_shape))

    def get_config(self) -> dict[str, Any]:
        config = {
            "name": self.name,
            "trainable": self.trainable,
            "dtype": serialize_keras_object(self.dtype),
            "function": serialize_keras_object(self.function),
        }
        for key, value in (("output_shape", self._output_shape), ("mask", self.mask)):
            if value is not None:
                config[key] = serialize_keras_object(value)
        return {**config, "arguments": serialize_keras_object(self.arguments)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Lambda":
        """A layer from what `get_config` gave; the functions are looked up by their names."""
        config = dict(config)
        for key in ("function", "output_shape", "mask"):
            value = config.get(key)
            if isinstance(value, dict):
                config[key] = deserialize_keras_object(value)
            elif isinstance(value, str):
                config[key] = get_registered_object(value) or deserialize_keras_object(_by_name(value))
        config["arguments"] = deserialize_keras_object(config.get("arguments"))
        return cls(**config)


def _by_name(name: str) -> dict[str, Any]:
    return {"module": "builtins", "class_name": "function", "config": name, "registered_name": "function"}


def _names(function: Any) -> tuple[str, ...]:
    code = getattr(function, "__code__", None)
    return () if code is None else code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
