"""Keras's private path, which editors put into scripts by accident: `from keras.src.backend import shape`."""

from nnfast.src import backend

__all__ = ["backend"]
