"""Data before a model sees them, by the names of `keras.preprocessing`."""

from nnfast.preprocessing import image, sequence, text

__all__ = ["image", "sequence", "text"]
