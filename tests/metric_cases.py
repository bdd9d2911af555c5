"""Every metric with the options and the kind of data that it is tried on; shared by everyday and peer tests."""

from loss_cases import data

CASES = [
    ("Accuracy", {}, "labels"),
    ("CategoricalAccuracy", {}, "one_hot"),
    ("SparseCategoricalAccuracy", {}, "classes"),
    ("BinaryAccuracy", {}, "binary"),
    ("BinaryAccuracy", {"threshold": 0.3}, "binary"),
    ("TopKCategoricalAccuracy", {"k": 2}, "one_hot"),
    ("SparseTopKCategoricalAccuracy", {"k": 2}, "classes"),
    ("SparseTopKCategoricalAccuracy", {"k": 3}, "classes_logits"),
    ("MeanSquaredError", {}, "numbers"),
    ("RootMeanSquaredError", {}, "numbers"),
    ("MeanAbsoluteError", {}, "numbers"),
    ("MeanAbsolutePercentageError", {}, "numbers"),
    ("MeanSquaredLogarithmicError", {}, "positive"),
    ("LogCoshError", {}, "numbers"),
    ("CosineSimilarity", {}, "numbers"),
    ("KLDivergence", {}, "distributions"),
    ("Poisson", {}, "positive"),
    ("Hinge", {}, "signs"),
    ("SquaredHinge", {}, "signs"),
    ("CategoricalHinge", {}, "one_hot"),
    ("CategoricalCrossentropy", {}, "one_hot"),
    ("CategoricalCrossentropy", {"from_logits": True, "label_smoothing": 0.1}, "one_hot_logits"),
    ("SparseCategoricalCrossentropy", {}, "classes"),
    ("SparseCategoricalCrossentropy", {"from_logits": True}, "classes_logits"),
    ("BinaryCrossentropy", {}, "binary"),
    ("BinaryCrossentropy", {"from_logits": True, "label_smoothing": 0.1}, "binary_logits"),
    ("TruePositives", {}, "binary"),
    ("FalsePositives", {"thresholds": [0.2, 0.5, 0.7]}, "binary"),
    ("TrueNegatives", {"thresholds": [0.0, 0.5, 1.0]}, "binary"),
    ("FalseNegatives", {}, "binary"),
    ("Precision", {}, "binary"),
    ("Precision", {"thresholds": [0.3, 0.6]}, "binary"),
    ("Precision", {"top_k": 2}, "binary"),
    ("Precision", {"class_id": 1, "thresholds": 0.4}, "binary"),
    ("Recall", {}, "binary"),
    ("Recall", {"top_k": 2, "class_id": 2}, "binary"),
    ("AUC", {}, "binary"),
    ("AUC", {"curve": "PR"}, "binary"),
    ("AUC", {"curve": "PR", "summation_method": "majoring"}, "binary"),
    ("AUC", {"curve": "PRGAIN"}, "binary"),
    ("AUC", {"summation_method": "minoring", "num_thresholds": 17}, "binary"),
    ("AUC", {"thresholds": [0.1, 0.35, 0.8]}, "binary"),
    ("AUC", {"multi_label": True}, "binary"),
    ("AUC", {"multi_label": True, "curve": "PR", "label_weights": [1.0, 2.0, 0.5, 1.0]}, "binary"),
    ("AUC", {"label_weights": [1.0, 2.0, 0.5, 1.0]}, "binary"),
    ("AUC", {"from_logits": True}, "binary_logits"),
    ("FBetaScore", {"beta": 2.0, "threshold": 0.5}, "binary"),
    ("FBetaScore", {"beta": 0.5, "average": "micro", "threshold": 0.4}, "binary"),
    ("F1Score", {}, "one_hot"),
    ("F1Score", {"average": "macro"}, "one_hot"),
    ("F1Score", {"average": "weighted", "threshold": 0.5}, "binary"),
    ("R2Score", {}, "numbers"),
    ("R2Score", {"class_aggregation": None}, "numbers"),
    ("R2Score", {"class_aggregation": "variance_weighted_average", "num_regressors": 2}, "numbers"),
]
IDS = ["-".join([n, k, *map(str, o.items())]) for n, o, k in CASES]


def batch(kind, dtype="float32"):
    if kind == "labels":
        t, y = data("classes", dtype)
        return t.astype(dtype), y.argmax(-1).astype(dtype)
    return data(kind, dtype)
