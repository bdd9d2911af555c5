"""Metrics: numbers (Keras's own, stored), weights, masks, state, names, user subclasses, metrics in fit."""

import json

import numpy as np
import pytest
from metric_cases import CASES, IDS, batch

import nnfast
from nnfast import layers, metrics, ops

# What Keras 3.15.1 gives for the cases, in one unweighted batch.
KERAS = {
    "Accuracy-labels": 0.5,
    "CategoricalAccuracy-one_hot": 0.5,
    "SparseCategoricalAccuracy-classes": 0.5,
    "BinaryAccuracy-binary": 0.3333333432674408,
    "BinaryAccuracy-binary-('threshold', 0.3)": 0.375,
    "TopKCategoricalAccuracy-one_hot-('k', 2)": 0.5,
    "SparseTopKCategoricalAccuracy-classes-('k', 2)": 0.5,
    "SparseTopKCategoricalAccuracy-classes_logits-('k', 3)": 0.8333333134651184,
    "MeanSquaredError-numbers": 5.78031587600708,
    "RootMeanSquaredError-numbers": 2.404228687286377,
    "MeanAbsoluteError-numbers": 1.8523955345153809,
    "MeanAbsolutePercentageError-numbers": 362.6927490234375,
    "MeanSquaredLogarithmicError-positive": 0.3639697730541229,
    "LogCoshError-numbers": 1.3137351274490356,
    "CosineSimilarity-numbers": 0.015851154923439026,
    "KLDivergence-distributions": 0.3688373267650604,
    "Poisson-positive": 1.580755591392517,
    "Hinge-signs": 1.3347233533859253,
    "SquaredHinge-signs": 3.556779623031616,
    "CategoricalHinge-one_hot": 1.0189635753631592,
    "CategoricalCrossentropy-one_hot": 1.5382517576217651,
    "CategoricalCrossentropy-one_hot_logits-('from_logits', True)-('label_smoothing', 0.1)": 2.08722186088562,
    "SparseCategoricalCrossentropy-classes": 1.5382517576217651,
    "SparseCategoricalCrossentropy-classes_logits-('from_logits', True)": 2.0804507732391357,
    "BinaryCrossentropy-binary": 0.9609110355377197,
    "BinaryCrossentropy-binary_logits-('from_logits', True)-('label_smoothing', 0.1)": 1.237277865409851,
    "TruePositives-binary": 3.0,
    "FalsePositives-binary-('thresholds', [0.2, 0.5, 0.7])": [11.0, 10.0, 3.0],
    "TrueNegatives-binary-('thresholds', [0.0, 0.5, 1.0])": [0.0, 5.0, 15.0],
    "FalseNegatives-binary": 6.0,
    "Precision-binary": 0.23076923191547394,
    "Precision-binary-('thresholds', [0.3, 0.6])": [0.3125, 0.25],
    "Precision-binary-('top_k', 2)": 0.1666666716337204,
    "Precision-binary-('class_id', 1)-('thresholds', 0.4)": 0.0,
    "Recall-binary": 0.3333333432674408,
    "Recall-binary-('top_k', 2)-('class_id', 2)": 0.3333333432674408,
    "AUC-binary": 0.40000003576278687,
    "AUC-binary-('curve', 'PR')": 0.40486451983451843,
    "AUC-binary-('curve', 'PR')-('summation_method', 'majoring')": 0.4298582077026367,
    "AUC-binary-('curve', 'PRGAIN')": -0.4039987623691559,
    "AUC-binary-('summation_method', 'minoring')-('num_thresholds', 17)": 0.3481481373310089,
    "AUC-binary-('thresholds', [0.1, 0.35, 0.8])": 0.4000000059604645,
    "AUC-binary-('multi_label', True)": 0.4722222089767456,
    "AUC-binary-('multi_label', True)-('curve', 'PR')-('label_weights', [1.0, 2.0, 0.5, 1.0])": 0.46726787090301514,
    "AUC-binary-('label_weights', [1.0, 2.0, 0.5, 1.0])": 0.3233082592487335,
    "AUC-binary_logits-('from_logits', True)": 0.3359375,
    "FBetaScore-binary-('beta', 2.0)-('threshold', 0.5)": [
        0.6249999403953552,
        0.0,
        0.3333333134651184,
        0.3333333134651184,
    ],
    "FBetaScore-binary-('beta', 0.5)-('average', 'micro')-('threshold', 0.4)": 0.2898550033569336,
    "F1Score-one_hot": [0.666666567325592, 0.9999998211860657, 0.4999999403953552, 0.0],
    "F1Score-one_hot-('average', 'macro')": 0.541666567325592,
    "F1Score-binary-('average', 'weighted')-('threshold', 0.5)": 0.26666662096977234,
    "R2Score-numbers": -3.4144625663757324,
    "R2Score-numbers-('class_aggregation', None)": [
        -1.7091515064239502,
        -10.39396858215332,
        -0.4535689353942871,
        -1.1011614799499512,
    ],
    "R2Score-numbers-('class_aggregation', 'variance_weighted_average')-('num_regressors', 2)": -1.925788402557373,
}


def expected(name, options, kind):
    return np.asarray(KERAS[IDS[CASES.index((name, options, kind))]])


@pytest.mark.parametrize("name, options, kind", CASES, ids=IDS)
def test_values_of_keras(name, options, kind, device):
    t, y = batch(kind)
    metric = getattr(metrics, name)(**options)
    for _ in range(2):  # the second time after a reset
        for at in range(len(y)):
            metric.update_state(t[at : at + 1], y[at : at + 1])
        np.testing.assert_allclose(np.asarray(metric.result()), expected(name, options, kind), rtol=3e-6, atol=1e-6)
        metric.reset_state()
        assert not any(v.numpy().any() for v in metric.variables)


@pytest.mark.parametrize("name, options, kind", [c for c in CASES if "num_regressors" not in c[1]])
def test_whole_weights_are_repetitions(name, options, kind):
    """A sample of weight 2 counts as two samples; of weight 0, not at all. (But adjusted R2 counts samples.)"""
    t, y = batch(kind, "float64")
    weights = np.arange(len(y)) % 3
    weighted, repeated = (getattr(metrics, name)(**options) for _ in range(2))
    weighted.update_state(t, y, weights)
    rows = np.repeat(np.arange(len(y)), weights)
    repeated.update_state(t[rows], y[rows])
    np.testing.assert_allclose(np.asarray(weighted.result()), np.asarray(repeated.result()), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name, options, kind", CASES, ids=IDS)
def test_config(name, options, kind):
    metric = getattr(metrics, name)(**options, name="mine")
    config = json.loads(json.dumps(metrics.serialize(metric)))
    again = metrics.deserialize(config)
    assert type(again) is type(metric) and again.get_config() == metric.get_config()
    t, y = batch(kind)
    np.testing.assert_array_equal(np.asarray(again(t, y)), np.asarray(metric(t, y)))
    assert metrics.get(config).name == "mine"


@pytest.mark.parametrize("name, options, kind", [c for c in CASES if issubclass(getattr(metrics, c[0]), metrics.Mean)])
def test_masked_samples_are_left_out(name, options, kind):
    t, y = batch(kind)
    keep = np.arange(len(y)) % 3 != 1
    p = nnfast.tensor(y)
    p._keras_mask = nnfast.tensor(keep)
    masked, short = (getattr(metrics, name)(**options) for _ in range(2))
    masked.update_state(t, p)
    short.update_state(t[keep], y[keep])
    assert masked.result() == pytest.approx(short.result(), rel=1e-6)


def test_large_batches_are_cut(monkeypatch, rng):
    from nnfast.metrics import confusion

    t, y = rng.integers(0, 2, (300, 3)), rng.uniform(size=(300, 3))
    for options in ({}, {"multi_label": True}):
        whole = metrics.AUC(**options)(t, y)
        monkeypatch.setattr(confusion, "_CELLS", 5000)
        assert metrics.AUC(**options)(t, y) == pytest.approx(whole, rel=1e-6)
        monkeypatch.undo()


def test_auc_is_the_probability_of_the_right_order(rng):
    """For two classes without ties the area is the share of pairs that are in order."""
    t, y = np.repeat([0, 1], 200), np.concatenate([rng.beta(2, 4, 200), rng.beta(4, 2, 200)])
    pairs = (y[t == 1][:, None] > y[t == 0]).mean()
    assert metrics.AUC(num_thresholds=2000)(t, y) == pytest.approx(pairs, abs=1e-3)


def test_top_k_with_ties_and_nan():
    p = np.array([[1.0, 1.0, 0.0], [np.nan, 1.0, 0.0], [0.5, 0.2, 0.1]])
    got = metrics.sparse_top_k_categorical_accuracy([1, 0, 7], p, k=1).numpy()
    assert got.tolist() == [1, 0, 0]  # a tie counts; NaN and a class that is none do not
    ids = metrics.SparseTopKCategoricalAccuracy(k=2, from_sorted_ids=True)
    assert ids([3, 1], [[5, 3, 1], [5, 3, 1]]) == 0.5
    with pytest.raises(ValueError, match="top_k_categorical_accuracy"):
        metrics.sparse_top_k_categorical_accuracy(np.eye(3), p)


@pytest.mark.parametrize(
    "name, cls",
    [
        ("mse", "MeanSquaredError"),
        ("auc", "AUC"),
        ("AUC", "AUC"),
        ("f1_score", "F1Score"),
        ("precision", "Precision"),
        ("TopKCategoricalAccuracy", "TopKCategoricalAccuracy"),
        ("top_k_categorical_accuracy", "TopKCategoricalAccuracy"),
        ("cosine_similarity", "CosineSimilarity"),
        ("hinge", "Hinge"),
    ],
)
def test_names(name, cls):
    found = metrics.get(name)
    assert type(found).__name__ == cls and metrics.get(found) is found
    assert type(metrics.get(getattr(metrics, cls))) is type(found)


def test_results_are_numbers():
    m = metrics.Mean()
    m.update_state([1.0, 2.0])
    assert (
        m.result() == 1.5 and m.result().numpy() == 1.5 and m.result().item() == 1.5 and f"{m.result():.2f}" == "1.50"
    )
    assert json.dumps(m.result()) == "1.5"


class Hits(metrics.Metric):
    """As in Keras's guide."""

    def __init__(self, name="hits", **kwargs):
        super().__init__(name=name, **kwargs)
        self.hits = self.add_weight(shape=(), name="hits", initializer="zeros")
        self.inner = metrics.Mean()

    def update_state(self, y_true, y_pred, sample_weight=None):
        hits = ops.cast(metrics.sparse_categorical_accuracy(y_true, y_pred), self.dtype)
        self.inner.update_state(hits)
        self.hits.assign_add(ops.sum(hits))

    def result(self):
        return self.hits


def test_user_metrics():
    m = Hits()
    assert [v.shape for v in m.variables] == [(), (2,)] and m.dtype == "float32"
    assert float(m([1, 0], [[0.1, 0.9], [0.2, 0.8]])) == 1
    m.reset_state()
    assert float(m.result()) == 0 and m.inner.result() == 0
    assert Hits.from_config({"name": "x", "dtype": "float64"}).hits.dtype == np.float64
    with pytest.raises(NotImplementedError, match="must define result"):
        metrics.Metric().result()


def test_in_fit(rng):
    """History has a value per epoch; evaluate gives what the metrics give on the predictions."""
    x, labels = rng.normal(size=(60, 5)).astype("float32"), rng.integers(0, 3, 60)
    y = np.eye(3, dtype="float32")[labels]
    model = nnfast.Sequential([layers.Dense(3, activation="softmax")])
    names = ["accuracy", "auc", "precision", "recall", "f1_score", "top_k_categorical_accuracy", "mse"]
    model.compile("sgd", "categorical_crossentropy", metrics=[*names, metrics.F1Score("macro", name="f1")])
    history = model.fit(x, y, epochs=2, verbose=0, validation_split=0.2).history
    assert {*names, "f1", "val_auc"} <= set(history) and len(history["auc"]) == 2
    assert np.shape(history["f1_score"][0]) == (3,)
    got = model.evaluate(x, y, verbose=0, return_dict=True)
    p = model.predict(x, verbose=0)
    for name in names[1:]:
        np.testing.assert_allclose(got[name], np.asarray(metrics.get(name)(y, p)), rtol=1e-6)


def test_user_metrics_in_fit(rng, capsys):
    x, y = rng.normal(size=(20, 5)).astype("float32"), rng.integers(0, 3, 20)
    model = nnfast.Sequential([layers.Dense(3, activation="softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=[Hits()], weighted_metrics=["acc"])
    history = model.fit(x, y, epochs=3, batch_size=7, sample_weight=np.ones(20)).history
    assert history["hits"] == pytest.approx([20 * a for a in history["acc"]])
    assert "hits: " in capsys.readouterr().out


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: metrics.Precision(thresholds=1.5), ["[precision]", "thresholds", "0 to 1", "1.5"]),
        (lambda: metrics.AUC(curve="CAP"), ["[AUC]", "'CAP'", "ROC"]),
        (lambda: metrics.AUC(summation_method="sum"), ["summation_method", "'sum'"]),
        (lambda: metrics.AUC(num_thresholds=1), ["num_thresholds", "1"]),
        (lambda: metrics.AUC(num_labels=3), ["num_labels", "multi_label"]),
        (lambda: metrics.F1Score("all"), ["average", "'all'"]),
        (lambda: metrics.F1Score(threshold=0), ["threshold"]),
        (lambda: metrics.FBetaScore(beta=-1), ["beta"]),
        (lambda: metrics.R2Score("sum"), ["class_aggregation", "'sum'"]),
        (lambda: metrics.F1Score()([1, 0], [0.5, 0.5]), ["[f1_score]", "(N, classes)", "(2,)"]),
        (lambda: metrics.AUC()([1, 0], np.zeros((2, 3))), ["[auc]", "(2,)", "(2, 3)"]),
        (lambda: metrics.AUC()([1, 0], [0.1, 0.2], [1, 2, 3]), ["[auc]", "sample_weight", "(3,)", "(2,)"]),
        (lambda: metrics.Precision(class_id=1)([1, 0], [0.1, 0.2]), ["class_id", "(2,)"]),
        (lambda: metrics.get("acuracy"), ["'acuracy'", "accuracy"]),
    ],
)
def test_messages(call, words):
    with pytest.raises(ValueError) as caught:
        call()
    for word in words:
        assert word in str(caught.value)


def test_r2_without_enough_samples():
    m = metrics.R2Score(num_regressors=5)
    m.update_state([[1.0], [2.0]], [[1.0], [2.5]])
    with pytest.warns(UserWarning, match="num_regressors=5"):
        assert m.result() == pytest.approx(0.5)
