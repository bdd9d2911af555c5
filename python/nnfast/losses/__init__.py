"""Losses, by Keras's rules: a value per sample, then the reduction. A loss never broadcasts."""

from typing import Any

from nnfast.losses.crossentropy import (
    BinaryCrossentropy,
    BinaryFocalCrossentropy,
    CategoricalCrossentropy,
    CategoricalFocalCrossentropy,
    KLDivergence,
    SparseCategoricalCrossentropy,
    binary_crossentropy,
    binary_focal_crossentropy,
    categorical_crossentropy,
    categorical_focal_crossentropy,
    kl_divergence,
    sparse_categorical_crossentropy,
)
from nnfast.losses.hinge import CategoricalHinge, Hinge, SquaredHinge, categorical_hinge, hinge, squared_hinge
from nnfast.losses.loss import FunctionLoss, Loss, mask_of, matched, predictions, reduce_weighted
from nnfast.losses.regression import (
    CosineSimilarity,
    Huber,
    LogCosh,
    MeanAbsoluteError,
    MeanAbsolutePercentageError,
    MeanSquaredError,
    MeanSquaredLogarithmicError,
    Poisson,
    cosine_similarity,
    huber,
    log_cosh,
    mean_absolute_error,
    mean_absolute_percentage_error,
    mean_squared_error,
    mean_squared_logarithmic_error,
    poisson,
)
from nnfast.naming import to_snake_case
from nnfast.saving.serialization import from_identifier, publish, serialize

_CLASSES: tuple[type[Loss], ...] = (
    MeanSquaredError,
    MeanAbsoluteError,
    MeanAbsolutePercentageError,
    MeanSquaredLogarithmicError,
    Huber,
    LogCosh,
    Poisson,
    CosineSimilarity,
    Hinge,
    SquaredHinge,
    CategoricalHinge,
    CategoricalCrossentropy,
    SparseCategoricalCrossentropy,
    BinaryCrossentropy,
    BinaryFocalCrossentropy,
    CategoricalFocalCrossentropy,
    KLDivergence,
)
_TABLE: dict[str, Any] = {to_snake_case(c.__name__): c for c in _CLASSES} | {
    "mse": MeanSquaredError,  # Keras's short and old names
    "mae": MeanAbsoluteError,
    "mape": MeanAbsolutePercentageError,
    "msle": MeanSquaredLogarithmicError,
    "bce": BinaryCrossentropy,
    "kld": KLDivergence,
    "kullback_leibler_divergence": KLDivergence,
}

_FUNCTIONS: tuple[Any, ...] = (
    mean_squared_error,
    mean_absolute_error,
    mean_absolute_percentage_error,
    mean_squared_logarithmic_error,
    huber,
    log_cosh,
    poisson,
    cosine_similarity,
    hinge,
    squared_hinge,
    categorical_hinge,
    categorical_crossentropy,
    sparse_categorical_crossentropy,
    binary_crossentropy,
    binary_focal_crossentropy,
    categorical_focal_crossentropy,
    kl_divergence,
)
publish("losses", {c.__name__: c for c in (*_CLASSES, Loss)} | {f.__name__: f for f in _FUNCTIONS})


def get(identifier: Any) -> Loss | None:
    """A Loss from a name (`"mse"`), a class, a config dict, a function (y_true, y_pred), or a Loss (as it is).

    >>> import nnfast
    >>> nnfast.losses.get("mse")
    <MeanSquaredError name=mean_squared_error>
    """
    if identifier is None or isinstance(identifier, Loss):
        return identifier
    found = from_identifier("loss", identifier, _TABLE)
    if isinstance(found, Loss):
        return found
    if callable(found):
        return FunctionLoss(found)
    raise TypeError(f"[loss] a loss is a name, a config, a function or a Loss. Received: {identifier!r}")


def deserialize(name: Any, custom_objects: dict[str, Any] | None = None) -> Any:
    """The loss or function that `serialize` described; names in custom_objects come first.

    >>> import nnfast
    >>> nnfast.losses.deserialize(nnfast.losses.serialize(nnfast.losses.Huber(2.0))).delta
    2.0
    """
    return from_identifier("loss", name, None, custom_objects)


__all__ = [
    "BinaryCrossentropy",
    "BinaryFocalCrossentropy",
    "CategoricalCrossentropy",
    "CategoricalFocalCrossentropy",
    "CategoricalHinge",
    "CosineSimilarity",
    "FunctionLoss",
    "Hinge",
    "Huber",
    "KLDivergence",
    "LogCosh",
    "Loss",
    "MeanAbsoluteError",
    "MeanAbsolutePercentageError",
    "MeanSquaredError",
    "MeanSquaredLogarithmicError",
    "Poisson",
    "SparseCategoricalCrossentropy",
    "SquaredHinge",
    "binary_crossentropy",
    "binary_focal_crossentropy",
    "categorical_crossentropy",
    "categorical_focal_crossentropy",
    "categorical_hinge",
    "cosine_similarity",
    "deserialize",
    "get",
    "hinge",
    "huber",
    "kl_divergence",
    "log_cosh",
    "mask_of",
    "matched",
    "mean_absolute_error",
    "mean_absolute_percentage_error",
    "mean_squared_error",
    "mean_squared_logarithmic_error",
    "poisson",
    "predictions",
    "reduce_weighted",
    "serialize",
    "sparse_categorical_crossentropy",
    "squared_hinge",
]
