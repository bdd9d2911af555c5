"""Every metric beside Keras 3, over several weighted batches. Optional: `pytest -m peers`."""

import inspect
import os

import numpy as np
import pytest
from metric_cases import CASES, IDS, batch

import nnfast

pytestmark = [pytest.mark.peers, pytest.mark.filterwarnings("ignore")]
os.environ.setdefault("KERAS_BACKEND", "torch")
keras = pytest.importorskip("keras")


@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weights"])
@pytest.mark.parametrize("name, options, kind", CASES, ids=IDS)
def test_metric(name, options, kind, weighted):
    t, y = batch(kind)
    weights = np.linspace(0.5, 2, len(y), dtype="float32") if weighted else None
    mine, other = getattr(nnfast.metrics, name)(**options), getattr(keras.metrics, name)(**options)
    for some in (slice(0, 2), slice(2, None)):
        for metric in (mine, other):
            metric.update_state(t[some], y[some], None if weights is None else weights[some])
    got, expected = np.asarray(mine.result()), np.asarray(other.result().detach().cpu())
    assert got.shape == expected.shape
    np.testing.assert_allclose(got, expected, rtol=3e-6, atol=1e-6)
    mine.reset_state()
    mine.update_state(t, y)
    other.reset_state()
    other.update_state(t, y)
    np.testing.assert_allclose(np.asarray(mine.result()), np.asarray(other.result().detach()), rtol=3e-6, atol=1e-6)


@pytest.mark.parametrize("count", [1000])
@pytest.mark.parametrize("name", ["Precision", "Recall", "AUC", "TruePositives"])
def test_rounded_scores(name, count, rng):
    """Predictions that lie on the thresholds fall on the same side."""
    t, y = rng.integers(0, 2, count).astype("float32"), (rng.integers(0, 200, count) / 199).astype("float32")
    options = {} if name == "AUC" else {"thresholds": [i / 10 for i in range(11)]}
    mine, other = getattr(nnfast.metrics, name)(**options), getattr(keras.metrics, name)(**options)
    np.testing.assert_allclose(np.asarray(mine(t, y)), np.asarray(other(t, y)), rtol=1e-5)


@pytest.mark.parametrize("name, options", [(n, o) for n, o, _ in CASES], ids=IDS)
def test_signature_and_config(name, options):
    def spelled(room):
        return [(p.name, p.default) for p in inspect.signature(getattr(room, name)).parameters.values()]

    assert spelled(nnfast.metrics) == spelled(keras.metrics)
    mine, theirs = (getattr(m, name)(**options).get_config() for m in (nnfast.metrics, keras.metrics))
    assert set(theirs) - {"_direction"} <= set(mine) | {"from_sorted_ids", "fn"}


@pytest.mark.parametrize(
    "name, kind",
    [
        ("categorical_accuracy", "one_hot"),
        ("sparse_categorical_accuracy", "classes"),
        ("binary_accuracy", "binary"),
        ("top_k_categorical_accuracy", "one_hot"),
        ("sparse_top_k_categorical_accuracy", "classes"),
    ],
)
def test_functions(name, kind):
    t, y = batch(kind)
    options = {"k": 2} if "top" in name else {}
    got, expected = (np.asarray(getattr(m, name)(t, y, **options)) for m in (nnfast.metrics, keras.metrics))
    assert got.shape == expected.shape and got.dtype == expected.dtype
    np.testing.assert_array_equal(got, expected)
