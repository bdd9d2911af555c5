"""Optimizers and learning-rate schedules, by Keras's names, rules and defaults. docs/optimizers.md has the rules."""

from collections.abc import Mapping
from typing import Any

from nnfast.optimizers import schedules
from nnfast.optimizers.adafactor import Adafactor
from nnfast.optimizers.adam import Adam, Adamax, AdamW, Nadam
from nnfast.optimizers.ftrl import Ftrl
from nnfast.optimizers.optimizer import Optimizer
from nnfast.optimizers.rmsprop import Adadelta, Adagrad, RMSprop
from nnfast.optimizers.sgd import SGD, Lion
from nnfast.saving.serialization import from_identifier, publish, serialize_keras_object

__all__ = [
    "SGD",
    "Adadelta",
    "Adafactor",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Ftrl",
    "Lion",
    "Nadam",
    "Optimizer",
    "RMSprop",
    "deserialize",
    "get",
    "schedules",
    "serialize",
]

_CLASSES = (SGD, RMSprop, Adam, AdamW, Adadelta, Adagrad, Adamax, Adafactor, Nadam, Ftrl, Lion)
_BY_NAME: dict[str, Any] = {c.__name__.lower(): c for c in _CLASSES}
publish("optimizers", {c.__name__: c for c in (*_CLASSES, Optimizer)})


def serialize(optimizer: Optimizer) -> dict[str, Any]:
    """The config from which `deserialize`, here or in Keras, makes an equal optimizer without its state.

    >>> import nnfast
    >>> nnfast.optimizers.serialize(nnfast.optimizers.Adam(0.1))["class_name"]
    'Adam'
    """
    return serialize_keras_object(optimizer)


def deserialize(config: Any, custom_objects: Mapping[str, Any] | None = None) -> Any:
    """The optimizer that a config `{"class_name": ..., "config": ...}` describes, whatever the case of the name.

    Args:
        config: what `serialize` gave.
        custom_objects: classes of users by name; they come first.
    """
    return from_identifier("optimizer", config, None, custom_objects)


def get(identifier: Any) -> Any:
    """An optimizer from a name (`"adam"`), a class, a config, or an optimizer (returned as it is); None gives None.

    >>> import nnfast
    >>> nnfast.optimizers.get("SGD").momentum
    0.0
    """
    if identifier is None or isinstance(identifier, Optimizer):
        return identifier
    if isinstance(identifier, Mapping):
        return deserialize(identifier)
    if isinstance(identifier, str) or (isinstance(identifier, type) and issubclass(identifier, Optimizer)):
        return from_identifier("optimizer", identifier, _BY_NAME)
    raise ValueError(
        f"[optimizers] an optimizer is a name, a class, a config or an Optimizer. Received: {identifier!r}"
    )
