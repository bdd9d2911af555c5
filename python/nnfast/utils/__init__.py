"""Helpers around training, by Keras's names."""

from nnfast.utils.numerical import normalize, to_categorical

__all__ = ["normalize", "to_categorical"]
