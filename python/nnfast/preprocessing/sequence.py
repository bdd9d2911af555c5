"""Sequences: the function of `nnfast.utils` under its old address."""

from nnfast.utils.sequences import pad_sequences

__all__ = ["pad_sequences"]
