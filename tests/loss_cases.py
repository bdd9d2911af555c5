"""Every loss with the options and the kind of data that it is tried on; shared by everyday and peer tests."""

import numpy as np

N, C = 6, 4


def data(kind, dtype="float32"):
    """(y_true, y_pred) of a kind: numbers, positive numbers, probabilities, one-hot, class numbers, yes/no, signs."""
    rng = np.random.default_rng(11)
    p = rng.uniform(0.05, 0.95, (N, C))
    rows = p / p.sum(-1, keepdims=True)
    labels = rng.integers(0, C, N)
    logits = rng.normal(0, 2, (N, C))
    kinds = {
        "numbers": (rng.normal(0, 2, (N, C)), logits),
        "positive": (rng.uniform(0.1, 3, (N, C)), rng.uniform(0.1, 3, (N, C))),
        "distributions": (rows[::-1], rows),
        "one_hot": (np.eye(C)[labels], rows),
        "one_hot_logits": (np.eye(C)[labels], logits),
        "classes": (labels, rows),
        "classes_logits": (labels, logits),
        "binary": (rng.integers(0, 2, (N, C)), p),
        "binary_logits": (rng.integers(0, 2, (N, C)), logits),
        "signs": (rng.choice([-1.0, 1.0], (N, C)), logits),
    }
    t, y = kinds[kind]
    return np.asarray(t, "int64" if kind.startswith("classes") else dtype), np.asarray(y, dtype)


CASES = [
    ("MeanSquaredError", {}, "numbers"),
    ("MeanAbsoluteError", {}, "numbers"),
    ("MeanAbsolutePercentageError", {}, "numbers"),
    ("MeanSquaredLogarithmicError", {}, "positive"),
    ("MeanSquaredLogarithmicError", {}, "numbers"),
    ("Huber", {}, "numbers"),
    ("Huber", {"delta": 0.3}, "numbers"),
    ("LogCosh", {}, "numbers"),
    ("Poisson", {}, "positive"),
    ("CosineSimilarity", {}, "numbers"),
    ("CosineSimilarity", {"axis": 0}, "numbers"),
    ("Hinge", {}, "signs"),
    ("Hinge", {}, "binary_logits"),
    ("SquaredHinge", {}, "signs"),
    ("SquaredHinge", {}, "binary_logits"),
    ("CategoricalHinge", {}, "one_hot_logits"),
    ("CategoricalCrossentropy", {}, "one_hot"),
    ("CategoricalCrossentropy", {"from_logits": True}, "one_hot_logits"),
    ("CategoricalCrossentropy", {"label_smoothing": 0.2}, "one_hot"),
    ("SparseCategoricalCrossentropy", {}, "classes"),
    ("SparseCategoricalCrossentropy", {"from_logits": True}, "classes_logits"),
    ("SparseCategoricalCrossentropy", {"ignore_class": 1}, "classes"),
    ("BinaryCrossentropy", {}, "binary"),
    ("BinaryCrossentropy", {"from_logits": True}, "binary_logits"),
    ("BinaryCrossentropy", {"label_smoothing": 0.1}, "binary"),
    ("BinaryFocalCrossentropy", {}, "binary"),
    ("BinaryFocalCrossentropy", {"apply_class_balancing": True, "alpha": 0.4, "gamma": 1.5}, "binary"),
    ("BinaryFocalCrossentropy", {"from_logits": True, "label_smoothing": 0.1}, "binary_logits"),
    ("CategoricalFocalCrossentropy", {}, "one_hot"),
    ("CategoricalFocalCrossentropy", {"from_logits": True, "gamma": 1.0, "label_smoothing": 0.1}, "one_hot_logits"),
    ("KLDivergence", {}, "distributions"),
]
IDS = ["-".join([n, k, *map(str, o)]) for n, o, k in CASES]
REDUCTIONS = ["sum_over_batch_size", "mean", "mean_with_sample_weight", "sum", None]
