"""`keras.utils.np_utils`, which Keras 3 no longer has: the same functions as in `nnfast.utils`."""

from nnfast.utils.numerical import normalize, to_categorical

__all__ = ["normalize", "to_categorical"]
