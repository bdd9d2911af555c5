"""Files exchanged with Keras 3, both ways: every layer, every optimizer. Optional: `pytest -m peers`."""

import json
import os

import exchange_models
import numpy as np
import pytest

import nnfast
from nnfast import layers, losses, metrics, models, optimizers

os.environ.setdefault("KERAS_BACKEND", "torch")
keras = pytest.importorskip("keras")
pytestmark = [pytest.mark.peers, pytest.mark.filterwarnings("ignore")]

NAMES = exchange_models.names(layers)


def agree(a, b):
    a, b = (v if isinstance(v, (list, tuple)) else [v] for v in (a, b))
    assert len(a) == len(b)
    for x, y in zip(a, b):
        assert x.shape == y.shape
        np.testing.assert_allclose(x, y, rtol=1e-6, atol=1e-6 * max(1.0, float(np.abs(y).max())))


@pytest.mark.parametrize("ending", [".keras", ".h5"])
@pytest.mark.parametrize("name", NAMES)
def test_keras_opens_what_we_wrote(name, ending, tmp_path):
    model = exchange_models.build(name, nnfast)
    x = exchange_models.inputs(model)
    model.save(tmp_path / f"m{ending}")
    theirs = keras.models.load_model(tmp_path / f"m{ending}")
    agree(theirs.predict(x, verbose=0), model.predict(x, verbose=0))
    assert [layer.name for layer in theirs.layers] == [layer.name for layer in model.layers]


@pytest.mark.parametrize("ending", [".keras", ".h5"])
@pytest.mark.parametrize("name", NAMES)
def test_we_open_what_keras_wrote(name, ending, tmp_path):
    theirs = exchange_models.build(name, keras)
    x = exchange_models.inputs(theirs)
    theirs.save(tmp_path / f"m{ending}")
    model = models.load_model(tmp_path / f"m{ending}")
    agree(model.predict(x, verbose=0), theirs.predict(x, verbose=0))
    assert [layer.name for layer in theirs.layers] == [layer.name for layer in model.layers]


@pytest.mark.parametrize("name", NAMES)
def test_weights_alone(name, tmp_path):
    model, theirs = exchange_models.build(name, nnfast), exchange_models.build(name, keras)
    x = exchange_models.inputs(theirs)
    expected = theirs.predict(x, verbose=0)
    theirs.save_weights(tmp_path / "k.weights.h5")
    fresh = exchange_models.MODELS[name](nnfast)
    fresh.load_weights(tmp_path / "k.weights.h5")
    agree(fresh.predict(x, verbose=0), expected)
    model.save_weights(tmp_path / "n.weights.h5")
    other = exchange_models.MODELS[name](keras)
    other.load_weights(tmp_path / "n.weights.h5")
    agree(other.predict(x, verbose=0), expected)


@pytest.mark.parametrize("name", NAMES)
def test_json(name):
    model, theirs = exchange_models.build(name, nnfast), exchange_models.build(name, keras)
    for made in (keras.models.model_from_json(model.to_json()), models.model_from_json(theirs.to_json())):
        assert [w.shape for w in made.get_weights()] == [w.shape for w in model.get_weights()]


OPTIMIZERS = {
    "SGD": {"momentum": 0.9, "nesterov": True},
    "RMSprop": {"momentum": 0.5, "centered": True},
    "Adam": {"amsgrad": True, "clipnorm": 1.0},
    "AdamW": {},
    "Adadelta": {},
    "Adagrad": {},
    "Adamax": {},
    "Adafactor": {},
    "Nadam": {},
    "Ftrl": {},
    "Lion": {},
}


def train(model, epochs):
    x, y = np.random.default_rng(1).random((16, 6), "float32"), np.random.default_rng(2).random((16, 3), "float32")
    model.fit(x, y, batch_size=8, epochs=epochs, shuffle=False, verbose=0)


def mlp(K, optimizer, **options):
    model = K.Sequential([K.Input((6,)), K.layers.Dense(5, "tanh"), K.layers.BatchNormalization(), K.layers.Dense(3)])
    rng = np.random.default_rng(3)
    model.set_weights([rng.uniform(0.1, 0.5, w.shape).astype("f") for w in model.get_weights()])
    model.compile(getattr(K.optimizers, optimizer)(0.01, **options), "mse", metrics=["mae"])
    return model


@pytest.mark.parametrize("name", [n for n in OPTIMIZERS if hasattr(optimizers, n)])
def test_training_goes_on_in_the_other_package(name, tmp_path):
    """Two epochs here, one there, against three epochs in one package: the optimizer's state came along."""
    for first, second in ((nnfast, keras), (keras, nnfast)):
        model = mlp(first, name, **OPTIMIZERS[name])
        train(model, 2)
        model.save(tmp_path / "m.keras")
        other = second.models.load_model(tmp_path / "m.keras")
        assert int(other.optimizer.iterations) == int(model.optimizer.iterations) == 4
        train(model, 1)
        train(other, 1)
        for a, b in zip(model.get_weights(), other.get_weights()):
            np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-6)


def test_a_schedule_comes_along(tmp_path):
    if not hasattr(optimizers, "schedules"):
        pytest.skip("no schedules here")
    for first, second in ((nnfast, keras), (keras, nnfast)):
        rate = first.optimizers.schedules.ExponentialDecay(0.1, 2, 0.5, staircase=True)
        model = first.Sequential([first.Input((6,)), first.layers.Dense(3)])
        model.compile(first.optimizers.SGD(rate), "mse")
        train(model, 2)
        model.save(tmp_path / "m.keras")
        other = second.models.load_model(tmp_path / "m.keras")
        train(model, 1)
        train(other, 1)
        for a, b in zip(model.get_weights(), other.get_weights()):
            np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-6)


def made(room, name):
    """An object of a class with its default arguments, in both packages; None where arguments are needed."""
    ours, theirs = getattr(getattr(nnfast, room), name), getattr(getattr(keras, room), name)
    for arguments in ((), (0.5,), (2,)):
        try:
            return ours(*arguments), theirs(*arguments)
        except TypeError:
            continue
    return None


def classes(room):
    module, other = getattr(nnfast, room), getattr(keras, room)
    names = [n for n in dir(module) if n[0].isupper() and isinstance(getattr(module, n), type) and hasattr(other, n)]
    return [
        (room, n) for n in names if n not in ("Loss", "Metric", "Optimizer", "Initializer", "Regularizer", "Constraint")
    ]


ROOMS = ("losses", "metrics", "optimizers", "initializers", "regularizers", "constraints")


@pytest.mark.parametrize("room, name", [pair for room in ROOMS for pair in classes(room)])
def test_configs(room, name):
    """Every loss, metric, optimizer, initializer, regularizer and constraint: its config is understood both ways."""
    pair = made(room, name)
    if pair is None:
        assert name == "MeanMetricWrapper"
        return
    ours, theirs = pair
    mine = json.loads(json.dumps(getattr(nnfast, room).serialize(ours)))
    yours = json.loads(json.dumps(getattr(keras, room).serialize(theirs)))
    assert type(getattr(keras, room).deserialize(mine)).__name__ == type(theirs).__name__
    again = getattr(nnfast, room).deserialize(yours)
    assert type(again) is type(ours)
    assert again.get_config().keys() == ours.get_config().keys()


def test_losses_and_metrics_of_a_model(tmp_path):
    x, y = np.random.default_rng(0).random((8, 6), "float32"), np.eye(3, dtype="f")[np.arange(8) % 3]
    for first, second in ((nnfast, keras), (keras, nnfast)):
        model = first.Sequential([first.Input((6,)), first.layers.Dense(3, "softmax")])
        loss = first.losses.CategoricalCrossentropy(label_smoothing=0.1)
        extra = [first.metrics.CategoricalAccuracy(name="hit"), "accuracy", first.metrics.MeanSquaredError()]
        model.compile("adam", loss, metrics=extra)
        model.fit(x, y, verbose=0)
        for ending in (".keras", ".h5"):
            model.save(tmp_path / f"m{ending}")
            other = second.models.load_model(tmp_path / f"m{ending}")
            a, b = (m.evaluate(x, y, verbose=0, return_dict=True) for m in (model, other))
            assert a.keys() == b.keys()
            for key in a:
                assert a[key] == pytest.approx(b[key], rel=1e-5), key


def test_every_layer_is_in_the_table():
    """A new layer needs an entry in exchange_models.py."""
    base = {"Layer", "InputLayer", "Wrapper", "Lambda", "RNN"}
    own = {cls.__name__ for cls in layers.CLASSES.values() if hasattr(keras.layers, cls.__name__)} - base
    assert own <= {name.split()[0] for name in exchange_models.MODELS}
    assert losses and metrics


def test_course_003_16(tmp_path):
    """What Keras cannot do with its own file: an .h5 model compiled with 'mse'."""
    theirs = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    theirs.compile("sgd", "mse", metrics=["mse"])
    theirs.save(tmp_path / "m.h5")
    with pytest.raises(Exception, match="mse"):
        keras.models.load_model(tmp_path / "m.h5")
    x = np.ones((2, 3), "f")
    model = models.load_model(tmp_path / "m.h5")
    agree(model.predict(x, verbose=0), theirs.predict(x, verbose=0))
    assert model.loss == "mse"
