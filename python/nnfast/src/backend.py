"""`keras.src.backend` is `keras.backend`."""

from nnfast.backend import *  # noqa: F403
from nnfast.backend import __all__ as __all__
