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
from nnfast.utils.gradients import gradcheck, numerical_gradient
from nnfast.utils.images import array_to_img, img_to_array, load_img, save_img
from nnfast.utils.numerical import normalize, to_categorical
from nnfast.utils.plot_model import model_to_dot, plot_model
from nnfast.utils.progbar import Progbar
from nnfast.utils.sequences import PyDataset, Sequence, pad_sequences, split_dataset

__all__ = [
    "CustomObjectScope",
    "Progbar",
    "PyDataset",
    "Sequence",
    "array_to_img",
    "clear_session",
    "custom_object_scope",
    "deserialize_keras_object",
    "get_custom_objects",
    "get_file",
    "get_registered_name",
    "get_registered_object",
    "gradcheck",
    "img_to_array",
    "load_img",
    "model_to_dot",
    "normalize",
    "np_utils",
    "numerical_gradient",
    "pad_sequences",
    "plot_model",
    "register_keras_serializable",
    "save_img",
    "serialize_keras_object",
    "set_random_seed",
    "split_dataset",
    "to_categorical",
]
