"""Helpers around training, by Keras's names."""

from nnfast.utils.naming import clear_session
from nnfast.utils.numerical import normalize, to_categorical

__all__ = ["clear_session", "normalize", "to_categorical"]
