"""Data sets: `digits` comes with the package, `mnist` is found on this machine or downloaded."""

from nnfast.datasets import digits

__all__ = ["digits"]
