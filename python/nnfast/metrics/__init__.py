"""Metrics, by Keras's names: what is measured over the samples seen since the last reset."""

from typing import Any

from nnfast.losses import (
    binary_crossentropy,
    binary_focal_crossentropy,
    categorical_crossentropy,
    categorical_focal_crossentropy,
    categorical_hinge,
    hinge,
    huber,
    kl_divergence,
    log_cosh,
    mean_absolute_error,
    mean_absolute_percentage_error,
    mean_squared_error,
    mean_squared_logarithmic_error,
    poisson,
    sparse_categorical_crossentropy,
    squared_hinge,
)
from nnfast.metrics.accuracy import (
    ACCURACY,
    CROSSENTROPY,
    Accuracy,
    BinaryAccuracy,
    ByShape,
    CategoricalAccuracy,
    SparseCategoricalAccuracy,
    SparseTopKCategoricalAccuracy,
    TopKCategoricalAccuracy,
    accuracy,
    binary_accuracy,
    categorical_accuracy,
    sparse_categorical_accuracy,
    sparse_top_k_categorical_accuracy,
    top_k_categorical_accuracy,
)
from nnfast.metrics.confusion import (
    AUC,
    FalseNegatives,
    FalsePositives,
    Precision,
    Recall,
    TrueNegatives,
    TruePositives,
)
from nnfast.metrics.means import (
    BinaryCrossentropy,
    CategoricalCrossentropy,
    CategoricalHinge,
    CosineSimilarity,
    Hinge,
    KLDivergence,
    LogCoshError,
    Mean,
    MeanAbsoluteError,
    MeanAbsolutePercentageError,
    MeanMetricWrapper,
    MeanSquaredError,
    MeanSquaredLogarithmicError,
    Poisson,
    RootMeanSquaredError,
    SparseCategoricalCrossentropy,
    SquaredHinge,
    Sum,
)
from nnfast.metrics.metric import Metric
from nnfast.metrics.scores import F1Score, FBetaScore, R2Score
from nnfast.naming import to_snake_case
from nnfast.saving.serialization import from_identifier, publish, serialize

_CLASSES: tuple[type[Metric], ...] = (
    *(Mean, Sum, Accuracy, CategoricalAccuracy, SparseCategoricalAccuracy, BinaryAccuracy),
    *(TopKCategoricalAccuracy, SparseTopKCategoricalAccuracy),
    *(MeanSquaredError, RootMeanSquaredError, MeanAbsoluteError, MeanAbsolutePercentageError),
    *(MeanSquaredLogarithmicError, LogCoshError, CosineSimilarity, KLDivergence, Poisson),
    *(Hinge, SquaredHinge, CategoricalHinge),
    *(CategoricalCrossentropy, SparseCategoricalCrossentropy, BinaryCrossentropy),
    *(TruePositives, FalsePositives, TrueNegatives, FalseNegatives, Precision, Recall, AUC),
    *(FBetaScore, F1Score, R2Score),
)
_FUNCTIONS: tuple[Any, ...] = (
    *(accuracy, categorical_accuracy, sparse_categorical_accuracy, binary_accuracy),
    *(top_k_categorical_accuracy, sparse_top_k_categorical_accuracy),
)
_TABLE: dict[str, Any] = {to_snake_case(c.__name__): c for c in _CLASSES} | {
    "mse": MeanSquaredError,  # Keras's short and old names
    "rmse": RootMeanSquaredError,
    "mae": MeanAbsoluteError,
    "mape": MeanAbsolutePercentageError,
    "msle": MeanSquaredLogarithmicError,
    "bce": BinaryCrossentropy,
    "kld": KLDivergence,
    "logcosh": LogCoshError,
    "log_cosh": LogCoshError,
    "huber": huber,
    "binary_focal_crossentropy": binary_focal_crossentropy,
    "categorical_focal_crossentropy": categorical_focal_crossentropy,
}
publish(
    "metrics", {c.__name__: c for c in (*_CLASSES, Metric, MeanMetricWrapper)} | {f.__name__: f for f in _FUNCTIONS}
)


def deserialize(config: Any, custom_objects: dict[str, Any] | None = None) -> Any:
    """The metric or function that `serialize` described; names in custom_objects come first.

    >>> import nnfast
    >>> nnfast.metrics.deserialize(nnfast.metrics.serialize(nnfast.metrics.Precision(top_k=2))).top_k
    2
    """
    return from_identifier("metric", config, None, custom_objects)


def get(identifier: Any) -> Metric:
    """A Metric from a name, a class, a config, a function (y_true, y_pred) or a Metric (returned as it is).

    `"accuracy"`, `"acc"`, `"crossentropy"` and `"ce"` choose by the shapes that they see; the key in the history is the
    name as given.

    >>> import nnfast
    >>> nnfast.metrics.get("auc")
    <AUC name=auc>
    """
    if isinstance(identifier, Metric):
        return identifier
    if identifier in ("accuracy", "acc"):
        return ByShape(identifier, ACCURACY)
    if identifier in ("crossentropy", "ce"):
        return ByShape(identifier, CROSSENTROPY)
    found = from_identifier("metric", identifier, _TABLE)
    if isinstance(found, Metric):
        if isinstance(identifier, str) and identifier.lower() in ("mse", "mae", "rmse", "mape", "msle", "bce", "kld"):
            found.name = identifier
        return found
    if callable(found):
        return MeanMetricWrapper(found)
    raise TypeError(f"[metric] a metric is a name, a config, a function or a Metric. Received: {identifier!r}")


__all__ = [
    "AUC",
    "Accuracy",
    "BinaryAccuracy",
    "BinaryCrossentropy",
    "CategoricalAccuracy",
    "CategoricalCrossentropy",
    "CategoricalHinge",
    "CosineSimilarity",
    "F1Score",
    "FBetaScore",
    "FalseNegatives",
    "FalsePositives",
    "Hinge",
    "KLDivergence",
    "LogCoshError",
    "Mean",
    "MeanAbsoluteError",
    "MeanAbsolutePercentageError",
    "MeanMetricWrapper",
    "MeanSquaredError",
    "MeanSquaredLogarithmicError",
    "Metric",
    "Poisson",
    "Precision",
    "R2Score",
    "Recall",
    "RootMeanSquaredError",
    "SparseCategoricalAccuracy",
    "SparseCategoricalCrossentropy",
    "SparseTopKCategoricalAccuracy",
    "SquaredHinge",
    "Sum",
    "TopKCategoricalAccuracy",
    "TrueNegatives",
    "TruePositives",
    "accuracy",
    "binary_accuracy",
    "binary_crossentropy",
    "binary_focal_crossentropy",
    "categorical_accuracy",
    "categorical_crossentropy",
    "categorical_focal_crossentropy",
    "categorical_hinge",
    "deserialize",
    "get",
    "hinge",
    "huber",
    "kl_divergence",
    "log_cosh",
    "mean_absolute_error",
    "mean_absolute_percentage_error",
    "mean_squared_error",
    "mean_squared_logarithmic_error",
    "poisson",
    "serialize",
    "sparse_categorical_accuracy",
    "sparse_categorical_crossentropy",
    "sparse_top_k_categorical_accuracy",
    "squared_hinge",
    "top_k_categorical_accuracy",
]
