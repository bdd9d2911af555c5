"""Models, by Keras's names."""

from nnfast.models.model import Model
from nnfast.models.sequential import Sequential
from nnfast.saving.files import load_model, model_from_json, save_model
from nnfast.saving.serialization import publish

__all__ = ["Model", "Sequential", "clone_model", "load_model", "model_from_json", "save_model"]

publish("models", {"Model": Model, "Sequential": Sequential}, module="keras")


def clone_model(model: Model) -> Model:
    """A new model of the same layers, with fresh weights.

    >>> import nnfast
    >>> model = nnfast.Sequential([nnfast.Input(shape=(3,)), nnfast.layers.Dense(2)])
    >>> nnfast.models.clone_model(model).count_params()
    8
    """
    return type(model).from_config(model.get_config())
