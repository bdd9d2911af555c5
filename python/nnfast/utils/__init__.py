"""Helpers around training, by Keras's names."""

from nnfast.utils.files import get_file
from nnfast.naming import clear_session
from nnfast.utils.numerical import normalize, to_categorical

__all__ = ["clear_session", "get_file", "normalize", "to_categorical"]
