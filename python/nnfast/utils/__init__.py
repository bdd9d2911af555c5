"""Helpers around training, by Keras's names."""

from nnfast.naming import clear_session
from nnfast.ops.random import set_random_seed
from nnfast.utils.files import get_file
from nnfast.utils.numerical import normalize, to_categorical
from nnfast.utils.progbar import Progbar

__all__ = ["Progbar", "clear_session", "get_file", "normalize", "set_random_seed", "to_categorical"]
