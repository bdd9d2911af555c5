"""Layers, by Keras's names."""

from nnfast.layers.dense import Dense
from nnfast.layers.layer import Layer

__all__ = ["Dense", "Layer"]
