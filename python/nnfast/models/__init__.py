"""Models, by Keras's names."""

from nnfast.models.cloning import clone_model
from nnfast.models.functional import Functional
from nnfast.models.model import Model
from nnfast.models.sequential import Sequential
from nnfast.saving.files import load_model, model_from_json, save_model
from nnfast.saving.serialization import publish

__all__ = ["Functional", "Model", "Sequential", "clone_model", "load_model", "model_from_json", "save_model"]

publish("models", {"Model": Model, "Sequential": Sequential}, module="keras")
publish("models", {"Functional": Functional}, module="keras.src.models.functional")
