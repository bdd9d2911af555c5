"""Losses: numbers (Keras's own, stored), gradients, reductions, weights, masks, names, messages."""

import json

import numpy as np
import pytest
from compare import assert_close, gradcheck
from loss_cases import CASES, IDS, REDUCTIONS, data

import nnfast
from nnfast import losses, ops

# What Keras 3.15.1 gives for the cases, unweighted, by "sum".
KERAS = {
    "MeanSquaredError-numbers": 34.6818962097168,
    "MeanAbsoluteError-numbers": 11.114373207092285,
    "MeanAbsolutePercentageError-numbers": 2176.156494140625,
    "MeanSquaredLogarithmicError-positive": 2.1838185787200928,
    "MeanSquaredLogarithmicError-numbers": 1.9584171772003174,
    "Huber-numbers": 8.53484058380127,
    "Huber-numbers-delta": 3.0793378353118896,
    "LogCosh-numbers": 7.882411003112793,
    "Poisson-positive": 9.484533309936523,
    "CosineSimilarity-numbers": -0.09510692954063416,
    "CosineSimilarity-numbers-axis": 0.6520060300827026,
    "Hinge-signs": 8.008339881896973,
    "Hinge-binary_logits": 10.203800201416016,
    "SquaredHinge-signs": 21.34067726135254,
    "SquaredHinge-binary_logits": 28.999425888061523,
    "CategoricalHinge-one_hot_logits": 16.318620681762695,
    "CategoricalCrossentropy-one_hot": 9.229510307312012,
    "CategoricalCrossentropy-one_hot_logits-from_logits": 12.482705116271973,
    "CategoricalCrossentropy-one_hot-label_smoothing": 9.246803283691406,
    "SparseCategoricalCrossentropy-classes": 9.229510307312012,
    "SparseCategoricalCrossentropy-classes_logits-from_logits": 12.482705116271973,
    "SparseCategoricalCrossentropy-classes-ignore_class": 8.808643341064453,
    "BinaryCrossentropy-binary": 5.765466213226318,
    "BinaryCrossentropy-binary_logits-from_logits": 7.5818586349487305,
    "BinaryCrossentropy-binary-label_smoothing": 5.721470355987549,
    "BinaryFocalCrossentropy-binary": 3.0802838802337646,
    "BinaryFocalCrossentropy-binary-apply_class_balancing-alpha-gamma": 1.8001630306243896,
    "BinaryFocalCrossentropy-binary_logits-from_logits-label_smoothing": 4.515542030334473,
    "CategoricalFocalCrossentropy-one_hot": 1.586519718170166,
    "CategoricalFocalCrossentropy-one_hot_logits-from_logits-gamma-label_smoothing": 2.8234262466430664,
    "KLDivergence-distributions": 2.2130239009857178,
}


@pytest.mark.parametrize("name, options, kind", CASES, ids=IDS)
def test_values_of_keras(name, options, kind):
    t, y = data(kind)
    got = getattr(losses, name)(reduction="sum", **options)(t, y)
    assert got.dtype == np.float32
    assert got.item() == pytest.approx(KERAS[IDS[CASES.index((name, options, kind))]], rel=2e-6)


@pytest.mark.parametrize("reduction", REDUCTIONS, ids=str)
@pytest.mark.parametrize("name, options, kind", CASES, ids=IDS)
def test_reductions_by_hand(name, options, kind, reduction, dtype):
    """From the values of one sample each: sums, means, by weights, without what is masked."""
    t, y = data(kind, dtype)
    make = getattr(losses, name)
    values = make(**options, reduction=None)(t, y).numpy().astype(np.float64)
    ignored = (t == options["ignore_class"]) if "ignore_class" in options else np.zeros(len(values), bool)
    w, kept = np.linspace(0.5, 2, len(values)), np.arange(len(values)) % 3 != 1
    for weights, mask in ((None, None), (w, None), (None, kept), (w, kept)):
        p = nnfast.tensor(y)
        if mask is not None:
            p._keras_mask = nnfast.tensor(mask)
        got = make(**options, reduction=reduction)(t, p, sample_weight=weights)
        counts = ~ignored if mask is None else mask & ~ignored
        factor = counts * (1.0 if weights is None else weights)
        total = (values * factor).sum()
        expected = {
            None: values * factor,
            "sum": total,
            "mean_with_sample_weight": total / factor.sum(),
        }.get(reduction, total / counts.sum())
        assert_close(got.numpy(), np.asarray(expected, dtype), scale=2 if dtype == np.float32 else 100)


@pytest.mark.parametrize("name, options, kind", CASES, ids=IDS)
def test_gradients(name, options, kind):
    t, y = data(kind, "float64")
    gradcheck(lambda p: getattr(losses, name)(**options, reduction=None)(t, p), y)


@pytest.mark.parametrize("name, options, kind", CASES, ids=IDS)
def test_reference_device(name, options, kind, device):
    t, y = data(kind)
    got = getattr(losses, name)(**options, reduction="sum")(t, y).item()
    assert got == pytest.approx(KERAS[IDS[CASES.index((name, options, kind))]], rel=2e-6)


@pytest.mark.parametrize("name, options, kind", CASES, ids=IDS)
def test_config(name, options, kind):
    """Through JSON and back it is the same loss; the config has Keras's keys."""
    loss = getattr(losses, name)(**options, reduction="sum", name="mine")
    config = json.loads(json.dumps(losses.serialize(loss)))
    again = losses.deserialize(config)
    t, y = data(kind)
    assert type(again) is type(loss) and again.get_config() == loss.get_config()
    assert again(t, y).item() == loss(t, y).item()
    assert losses.get(config).name == "mine"


def test_rows_of_steps():
    """(N, T, C): one value per step; weights per sample or per step; a mask of steps."""
    rng = np.random.default_rng(3)
    labels, logits = rng.integers(0, 5, (4, 3)), rng.normal(size=(4, 3, 5))
    loss = losses.SparseCategoricalCrossentropy(from_logits=True)
    values = losses.sparse_categorical_crossentropy(labels, logits, from_logits=True).numpy()
    assert values.shape == (4, 3)
    per_sample, per_step = rng.uniform(size=4), rng.uniform(size=(4, 3))
    assert loss(labels, logits).item() == pytest.approx(values.mean())
    assert loss(labels, logits, per_sample).item() == pytest.approx((values * per_sample[:, None]).mean())
    assert loss(labels, logits, per_step).item() == pytest.approx((values * per_step).mean())
    p = nnfast.tensor(logits)
    p._keras_mask = nnfast.tensor(per_step > 0.5)
    assert loss(labels, p).item() == pytest.approx(values[per_step > 0.5].mean())
    mse = losses.MeanSquaredError()(np.zeros((4, 3, 2)), np.ones((4, 3, 2)), per_sample).item()
    assert mse == pytest.approx(per_sample.mean())


def test_a_masked_value_may_be_infinite():
    p = nnfast.Variable(np.array([[1.0], [np.inf]]))
    with nnfast.GradientTape() as tape:
        q = p * 1.0
        q._keras_mask = nnfast.tensor([True, False])
        loss = losses.MeanSquaredError()(np.zeros((2, 1)), q)
    assert loss.item() == 1
    assert tape.gradient(loss, p).numpy()[0] == 2
    q = nnfast.tensor(np.ones((2, 1)))
    q._keras_mask = nnfast.tensor([False, False])
    assert losses.MeanSquaredError()(np.zeros((2, 1)), q).item() == 0


def test_other_axes(rng):
    """Classes along axis 1, with remembered logits and without."""
    logits, labels = rng.normal(size=(5, 4, 3)), rng.integers(0, 4, (5, 3))
    rows = np.moveaxis(np.eye(4)[labels], -1, 1)
    expected = losses.sparse_categorical_crossentropy(labels, np.moveaxis(logits, 1, -1), from_logits=True).numpy()
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    for got in (
        losses.categorical_crossentropy(rows, logits, True, axis=1),
        losses.categorical_crossentropy(rows, p, axis=1),
        losses.sparse_categorical_crossentropy(labels, p, axis=1),
        losses.sparse_categorical_crossentropy(labels[:, None], p, axis=1),
    ):
        np.testing.assert_allclose(got.numpy(), expected, rtol=1e-6)


def test_remembered_logits_are_not_clipped():
    z = nnfast.tensor([[0.0, 60.0]])
    one_hot = [[1.0, 0.0]]
    assert losses.CategoricalCrossentropy()(one_hot, ops.softmax(z)).item() == pytest.approx(60)
    assert losses.CategoricalFocalCrossentropy()(one_hot, ops.softmax(z)).item() == pytest.approx(15)
    assert losses.BinaryFocalCrossentropy()([[0.0]], ops.sigmoid([[60.0]])).item() == pytest.approx(60)
    assert losses.CategoricalCrossentropy(dtype="float32")(one_hot, ops.softmax(z)).item() == pytest.approx(60)


@pytest.mark.parametrize("short", ["mse", "MSE", "mae", "mape", "msle", "bce", "kld", "huber", "log_cosh", "hinge"])
def test_names(short):
    loss = losses.get(short)
    assert isinstance(loss, losses.Loss) and losses.get(loss) is loss
    assert losses.get(type(loss)).name == loss.name
    assert losses.get({"class_name": type(loss).__name__, "config": {}}).name == loss.name


def test_user_losses():
    def cubes(y_true, y_pred):
        return ops.mean(ops.abs(y_true - y_pred) ** 3, axis=-1)

    assert losses.get(cubes)(np.zeros((2, 1)), np.full((2, 1), 2.0)).item() == 8
    assert losses.get(cubes).name == "cubes"
    with pytest.raises(NotImplementedError, match="must define call"):
        losses.Loss()([1.0], [1.0])
    with pytest.raises(TypeError, match=r"\[loss\] a loss is a name"):
        losses.get(3)


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: losses.Huber()(np.zeros(3), np.zeros((3, 2))), ["[huber]", "(3,)", "(3, 2)", "to_categorical"]),
        (lambda: losses.Hinge()(np.zeros((2, 3)), np.zeros((3, 2))), ["[hinge]", "(2, 3)", "(3, 2)", "reshape"]),
        (lambda: losses.MeanSquaredError("average"), ["reduction", "'average'", "sum_over_batch_size"]),
        (
            lambda: losses.MeanSquaredError()(np.zeros((4, 2)), np.zeros((4, 2)), np.ones(3)),
            ["[mean_squared_error]", "sample_weight", "(3,)", "(4,)"],
        ),
        (lambda: losses.get("hubber"), ["'hubber'", "huber"]),
    ],
)
def test_messages(call, words):
    with pytest.raises(ValueError) as caught:
        call()
    for word in words:
        assert word in str(caught.value)
