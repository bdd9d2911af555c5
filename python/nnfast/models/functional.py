"""Functional: the model that `Model(inputs, outputs)` makes."""

from nnfast.models.model import Model


class Functional(Model):
    """A model made of the calls between symbolic inputs and outputs; written `Model(inputs=..., outputs=...)`.

    >>> import nnfast
    >>> x = nnfast.Input(shape=(3,))
    >>> type(nnfast.Model(x, nnfast.layers.Dense(2)(x))).__name__
    'Functional'
    """
