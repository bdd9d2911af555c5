"""Helpers around training, by Keras's names."""

from nnfast.naming import clear_session
from nnfast.ops.random import set_random_seed
from nnfast.saving.serialization import (
    CustomObjectScope,
    custom_object_scope,
    deserialize_keras_object,
    get_custom_objects,
    get_registered_name,
    get_registered_object,
    register_keras_serializable,
    serialize_keras_object,
)
from nnfast.utils import np_utils
from nnfast.utils.files import get_file
from nnfast.utils.numerical import normalize, to_categorical
from nnfast.utils.progbar import Progbar

__all__ = [
    "CustomObjectScope",
    "Progbar",
    "clear_session",
    "custom_object_scope",
    "deserialize_keras_object",
    "get_custom_objects",
    "get_file",
    "get_registered_name",
    "get_registered_object",
    "normalize",
    "np_utils",
    "register_keras_serializable",
    "serialize_keras_object",
    "set_random_seed",
    "to_categorical",
]
