"""Model files: what is written comes back, training goes on as if never stopped, damaged files say what is wrong."""

import io
import json
import os
import pickle
import struct
import subprocess
import sys
import warnings
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest

import nnfast
from nnfast import layers, losses, metrics, models, optimizers, saving, utils

DATA = Path(__file__).parent / "data"
WHOLE = [".keras", ".h5", ".safetensors"]
WEIGHTS = [".weights.h5", ".h5", ".safetensors"]


def data(rows=48, seed=3):
    rng = np.random.default_rng(seed)
    return rng.random((rows, 6, 6, 1), "float32"), rng.integers(0, 3, rows)


def network(optimizer="adam", **compiled):
    model = nnfast.Sequential(
        [
            nnfast.Input((6, 6, 1)),
            layers.Conv2D(
                4, 3, activation="relu", kernel_regularizer="l2", kernel_constraint=nnfast.constraints.MaxNorm(3)
            ),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dropout(0.3),
            layers.Dense(5, activation=nnfast.activations.leaky_relu, bias_initializer="ones"),
            layers.Dropout(0.2, seed=5),
            layers.Dense(3, "softmax"),
        ]
    )
    model.compile(optimizer, **({"loss": "sparse_categorical_crossentropy", "metrics": ["accuracy"]} | compiled))
    return model


def same_weights(a, b):
    left, right = a.get_weights(), b.get_weights()
    return len(left) == len(right) and all(np.array_equal(x, y) for x, y in zip(left, right))


@pytest.fixture
def path(tmp_path):
    return lambda ending: str(tmp_path / f"model{ending}")


# ---- there and back ----


@pytest.mark.parametrize("ending", WHOLE)
def test_there_and_back(ending, path):
    x, y = data()
    model = network()
    model.fit(x, y, verbose=0)
    model.save(path(ending))
    again = models.load_model(path(ending))
    assert same_weights(model, again)
    assert np.array_equal(model.predict(x, verbose=0), again.predict(x, verbose=0))
    assert model.evaluate(x, y, verbose=0) == again.evaluate(x, y, verbose=0)
    assert again.get_config() == model.get_config()
    assert [layer.name for layer in again.layers] == [layer.name for layer in model.layers]
    assert again.metrics_names == model.metrics_names and again.loss == model.loss
    assert again.optimizer.get_config() == model.optimizer.get_config()
    for a, b in zip(model.optimizer.variables, again.optimizer.variables):
        assert a.dtype == b.dtype and np.array_equal(a.numpy(), b.numpy())
    bare = models.load_model(path(ending), compile=False)
    assert same_weights(model, bare) and bare.optimizer is None


OPTIMIZERS = {
    "momentum": lambda: optimizers.SGD(0.1, momentum=0.9, nesterov=True),
    "rmsprop": lambda: optimizers.RMSprop(0.01, momentum=0.5, centered=True, clipnorm=1.0),
    "adam": lambda: optimizers.Adam(0.01, amsgrad=True, weight_decay=0.01),
}


@pytest.mark.parametrize("ending", WHOLE)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_training_goes_on_as_if_never_stopped(name, ending, path):
    """Dropout with and without a seed, shuffling, a learning rate that was changed: the same to the last bit."""
    x, y = data()

    def begin():
        utils.clear_session()
        utils.set_random_seed(4)
        model = network(OPTIMIZERS[name]())
        model.fit(x, y, batch_size=7, verbose=0)
        model.optimizer.learning_rate = 0.0123456789012345
        return model

    whole = begin()
    history = whole.fit(x, y, batch_size=7, initial_epoch=1, epochs=3, verbose=0).history
    begin().save(path(ending))
    utils.set_random_seed(99)
    resumed = models.load_model(path(ending))
    assert resumed.fit(x, y, batch_size=7, initial_epoch=1, epochs=3, verbose=0).history == history
    assert same_weights(whole, resumed)


def test_the_seed_that_follows_numpy_goes_on_in_a_new_process(path):
    """Nobody seeded nnfast, NumPy was: the file brings the stream, and a later np.random.seed is honoured."""
    x, y = data()
    np.random.seed(10)
    nnfast.ops.random.default_generator.seed(None)
    model = network()
    model.fit(x, y, batch_size=8, verbose=0)
    model.save(path(".keras"))
    model.fit(x, y, batch_size=8, initial_epoch=1, epochs=2, verbose=0)
    np.save(path(".npy"), model.get_weights()[0])
    code = f"""if True:
        import numpy as np, nnfast
        model = nnfast.models.load_model({path(".keras")!r})
        state = nnfast.ops.random.default_generator.state
        x, y = np.load({path(".x.npy")!r}), np.load({path(".y.npy")!r})
        model.fit(x, y, batch_size=8, initial_epoch=1, epochs=2, verbose=0)
        assert np.array_equal(model.get_weights()[0], np.load({path(".npy")!r}))
        np.random.seed(11)
        assert nnfast.ops.random.default_generator.next_key()[0] != state[0]
        """
    np.save(path(".x.npy"), x)
    np.save(path(".y.npy"), y)
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, timeout=100)


@pytest.mark.parametrize("ending", WEIGHTS)
def test_weights_alone(ending, path):
    model, other = network(), network()
    model.save_weights(path(ending))
    assert not same_weights(model, other)
    other.load_weights(path(ending))
    assert same_weights(model, other)


@pytest.mark.parametrize("ending", WHOLE)
def test_weights_from_a_whole_model(ending, path):
    model, other = network(), network()
    model.save(path(ending))
    other.load_weights(path(ending))
    assert same_weights(model, other)


def test_load_weights_by_name(path):
    first = nnfast.Sequential([nnfast.Input((3,)), layers.Dense(4, name="a"), layers.Dense(2, name="b")])
    first.save_weights(path(".h5"))
    other = nnfast.Sequential([nnfast.Input((4,)), layers.Dense(5, name="new"), layers.Dense(2, name="c")])
    other.add(layers.Dense(4, name="x"))
    with pytest.raises(ValueError, match=r"holds 2 layers with weights .a, b., but the model has 3"):
        other.load_weights(path(".h5"))
    third = nnfast.Sequential([nnfast.Input((4,)), layers.Dense(2, name="b"), layers.Dense(7, name="c")])
    before = third.layers[1].get_weights()
    third.load_weights(path(".h5"), by_name=True)
    assert np.array_equal(third.layers[0].get_weights()[0], first.layers[1].get_weights()[0])
    assert np.array_equal(third.layers[1].get_weights()[0], before[0])


@pytest.mark.parametrize("ending", WEIGHTS)
def test_mismatch_changes_nothing(ending, path):
    def two(units):
        return nnfast.Sequential(
            [nnfast.Input((3,)), layers.Dense(4, name="a"), layers.Dense(units, name="b", use_bias=False)], name="s"
        )

    model, other = two(2), two(5)
    model.save_weights(path(ending))
    before = other.get_weights()
    with pytest.raises(ValueError, match=r"b/kernel.*\(4, 5\)"):
        other.load_weights(path(ending))
    assert all(np.array_equal(a, b) for a, b in zip(before, other.get_weights()))
    with pytest.warns(UserWarning, match=r"skipped.*b/kernel"):
        other.load_weights(path(ending), skip_mismatch=True)
    assert np.array_equal(other.get_weights()[0], model.get_weights()[0])
    assert np.array_equal(other.get_weights()[2], before[2])


class Block(layers.Layer):
    """A layer of layers, in attributes, lists and dicts."""

    def __init__(self, units=3, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.many = [layers.Dense(units), [layers.Dense(units)], {"a": layers.Dense(units)}]
        self._hidden = layers.Dense(units)
        self.last = layers.Dense(units)

    def build(self, input_shape):
        self.scale = self.add_weight((self.units,), "ones", name="scale")

    def call(self, x):
        y = self.many[2]["a"](self.many[1][0](self.many[0](x)))
        return self.last(self._hidden(y)) * self.scale

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.units)


@pytest.mark.parametrize("ending", WEIGHTS)
def test_layers_of_layers(ending, path):
    x = np.random.default_rng(0).random((4, 5), "float32")

    def build():
        model = nnfast.Sequential([nnfast.Input((5,)), Block(name="block")])
        model(x)
        return model

    model, other = build(), build()
    model.save_weights(path(ending))
    other.load_weights(path(ending))
    assert np.array_equal(model(x).numpy(), other(x).numpy())


def test_paths_are_those_of_keras(path):
    model = nnfast.Sequential([nnfast.Input((5,)), Block(), layers.Dense(2), layers.Dense(2)])
    model(np.ones((1, 5), "float32"))
    model.save_weights(path(".weights.h5"))
    with h5py.File(path(".weights.h5")) as f:
        found = []
        f.visititems(lambda n, o: found.append(n) if isinstance(o, h5py.Dataset) else None)
    block = "layers/block"
    assert set(found) == {
        *(f"{block}/{p}/vars/{n}" for p in ("last", "many/dense", "_hidden") for n in (0, 1)),
        *(f"{block}/many/container/dense/vars/{n}" for n in (0, 1)),
        *(f"{block}/many/container_1/dense/vars/{n}" for n in (0, 1)),
        f"{block}/vars/0",
        *(f"layers/{d}/vars/{n}" for d in ("dense", "dense_1") for n in (0, 1)),
    }


class Own(nnfast.Model):
    def __init__(self, units=4, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.one, self.two = layers.Dense(units, "relu"), layers.Dense(2)

    def call(self, x):
        return self.two(self.one(x))


@pytest.mark.parametrize("ending", WHOLE)
def test_a_model_of_your_own(ending, path):
    x = np.random.default_rng(0).random((8, 5), "float32")
    model = Own(6)
    model.compile("sgd", "mse")
    model.fit(x, x[:, :2], verbose=0)
    model.save(path(ending))
    with pytest.raises(ValueError, match=r"custom_objects=.*'Own'"):
        models.load_model(path(ending))
    again = models.load_model(path(ending), custom_objects={"Own": Own})
    assert type(again) is Own and again.units == 6
    assert np.array_equal(model.predict(x, verbose=0), again.predict(x, verbose=0))


# ---- what compile was told ----

COMPILED = {
    "names": {"loss": "mse", "metrics": ["mae", "acc"]},
    "objects": {
        "loss": losses.CategoricalCrossentropy(label_smoothing=0.1),
        "metrics": [metrics.CategoricalAccuracy(name="hit"), metrics.RootMeanSquaredError()],
    },
    "functions": {"loss": losses.mean_absolute_error, "metrics": [losses.mean_squared_error]},
    "weighted": {"loss": "mae", "weighted_metrics": ["mse", metrics.MeanAbsoluteError()]},
    "one metric": {"loss": "mse", "metrics": "mae"},
}


@pytest.mark.parametrize("ending", WHOLE)
@pytest.mark.parametrize("name", COMPILED)
def test_compile_is_kept(name, ending, path):
    x, y = data()
    y = np.eye(3, dtype="float32")[y]
    model = network(optimizers.SGD(0.05), **({"metrics": None} | COMPILED[name]))
    model.save(path(ending))
    again = models.load_model(path(ending))
    assert again.metrics_names == model.metrics_names
    expected = model.evaluate(x, y, verbose=0, sample_weight=np.linspace(0, 1, len(x)))
    assert again.evaluate(x, y, verbose=0, sample_weight=np.linspace(0, 1, len(x))) == expected
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again.fit(x, y, verbose=0)


def test_mse_in_h5(path):
    """The course's 003-16: Keras 3.15.1 writes this file and cannot open it."""
    model = nnfast.Sequential([layers.Dense(1, input_shape=(2,))])
    model.compile("sgd", "mse", metrics=["mse"])
    model.save(path(".h5"))
    assert models.load_model(path(".h5")).loss == "mse"


def test_not_compiled(path):
    model = nnfast.Sequential([nnfast.Input((3,)), layers.Dense(2)])
    model.save(path(".keras"))
    assert models.load_model(path(".keras")).optimizer is None
    x, y = data()
    trained = network()
    trained.fit(x, y, verbose=0)
    trained.save(path(".h5"), include_optimizer=False)
    again = models.load_model(path(".h5"))
    assert again.optimizer is None and same_weights(trained, again)


def scaled(y_true, y_pred):
    return losses.mean_squared_error(y_true, y_pred) * 2.0


@pytest.mark.parametrize("ending", WHOLE)
def test_functions_of_your_own(ending, path):
    model = nnfast.Sequential([nnfast.Input((3,)), layers.Dense(2, activation=scaled_relu)])
    model.compile("sgd", scaled, metrics=[scaled])
    model.save(path(ending))
    with pytest.raises(ValueError, match=r"'scaled(_relu)?'"):
        models.load_model(path(ending))
    own = {"scaled": scaled, "scaled_relu": scaled_relu}
    again = models.load_model(path(ending), custom_objects=own)
    assert again.layers[0].activation is scaled_relu and again.loss is scaled
    with utils.custom_object_scope(own):
        assert models.load_model(path(ending)).loss is scaled


@pytest.mark.parametrize("ending", WHOLE)
def test_two_inputs_and_outputs_go_on(ending, path):
    """A functional model with a shared layer, a schedule, losses, weights and metrics by output."""
    a, b = nnfast.Input((6,), name="a"), nnfast.Input((6,), name="b")
    shared = layers.Dense(4, "relu")
    both = layers.Concatenate()([layers.Dropout(0.3)(shared(a)), shared(b)])
    model = nnfast.Model([a, b], [layers.Dense(2, name="one")(both), layers.Dense(3, "softmax", name="two")(both)])
    model.compile(
        optimizers.Adam(optimizers.schedules.ExponentialDecay(0.1, 2, 0.5)),
        {"one": "mse", "two": "sparse_categorical_crossentropy"},
        loss_weights={"one": 1.0, "two": 0.5},
        metrics={"one": ["mae"], "two": "accuracy"},
    )
    rng = np.random.default_rng(0)
    x = [rng.random((16, 6), "float32"), rng.random((16, 6), "float32")]
    y = [rng.random((16, 2), "float32"), rng.integers(0, 3, 16)]
    model.fit(x, y, batch_size=5, verbose=0)
    model.save(path(ending))
    history = model.fit(x, y, batch_size=5, initial_epoch=1, epochs=3, verbose=0).history
    resumed = models.load_model(path(ending))
    assert resumed.fit(x, y, batch_size=5, initial_epoch=1, epochs=3, verbose=0).history == history
    assert same_weights(model, resumed)


@pytest.mark.filterwarnings("ignore:.save. a lambda")
def test_lambdas(path):
    """A lambda has no name: the file is written, and it is passed again under its layer's name."""
    model = nnfast.Sequential([nnfast.Input((3,)), layers.Lambda(lambda t: t * 2, name="twice")])
    model.save(path(".keras"))
    with pytest.raises(ValueError, match=r"'<lambda>'.*custom_objects=\{'<lambda>'"):
        models.load_model(path(".keras"))
    for name in ("twice", "<lambda>"):
        again = models.load_model(path(".keras"), custom_objects={name: lambda t: t * 2})
        assert again.predict(np.ones((1, 3)), verbose=0).tolist() == [[2.0, 2.0, 2.0]]


def scaled_relu(x):
    return nnfast.ops.relu(x) * 0.5


# ---- serialization ----


def test_registered_names(monkeypatch):
    monkeypatch.setattr(saving.serialization, "_REGISTERED", {})
    monkeypatch.setattr(saving.serialization, "_REGISTERED_NAMES", {})

    @utils.register_keras_serializable("shop", "Price")
    class Cost(layers.Layer):
        def __init__(self, factor=1, **kwargs):
            super().__init__(**kwargs)
            self.factor = factor

    @utils.register_keras_serializable()
    def halve(x):
        return x * 0.5

    config = utils.serialize_keras_object(Cost(3))
    assert config["registered_name"] == "shop>Price" and config["class_name"] == "Cost"
    assert utils.get_registered_name(Cost) == "shop>Price" and utils.get_registered_object("shop>Price") is Cost
    assert utils.get_custom_objects() == {"shop>Price": Cost, "Custom>halve": halve}
    again = utils.deserialize_keras_object(json.loads(json.dumps(config)))
    assert type(again) is Cost and again.factor == 3
    assert layers.Activation(halve).get_config()["activation"]["config"] == "Custom>halve"
    assert utils.deserialize_keras_object(layers.serialize(layers.Activation(halve))).activation is halve
    with pytest.raises(ValueError, match="get_config"):
        utils.register_keras_serializable()(dict)


VALUES = [
    None,
    True,
    3,
    2.5,
    "text",
    b"bytes",
    (1, (2, 3)),
    [1, [2, None]],
    {"a": {"b": [1.5]}},
    slice(1, None, 2),
    ...,
]


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_values(value):
    made = utils.serialize_keras_object(value)
    assert utils.deserialize_keras_object(made) == value
    json.dumps(made)


def test_arrays():
    for dtype in ("float32", "float64", "int64", "uint8", "bool"):
        a = np.arange(6).reshape(2, 3).astype(dtype)
        again = utils.deserialize_keras_object(json.loads(json.dumps(utils.serialize_keras_object(a))))
        assert again.dtype == a.dtype and np.array_equal(again, a)
    assert utils.serialize_keras_object(np.float32(0.5)) == 0.5
    assert utils.serialize_keras_object(np.dtype("int32")) == utils.serialize_keras_object(np.int32) == "int32"
    tensor = utils.serialize_keras_object(nnfast.tensor([1.0, 2.0]))
    assert tensor == {"class_name": "__tensor__", "config": {"value": [1.0, 2.0], "dtype": "float32"}}
    with pytest.raises(TypeError, match="get_config"):
        utils.serialize_keras_object(object())


ROOMS = {
    "initializers": ["he_normal", nnfast.initializers.Constant(0.5), nnfast.initializers.RandomUniform(-1, 1, seed=3)],
    "regularizers": ["l1", nnfast.regularizers.L1L2(0.1, 0.2)],
    "constraints": ["non_neg", nnfast.constraints.MinMaxNorm(0.1, 0.9)],
    "losses": ["mse", losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=2)],
    "metrics": ["mae", metrics.BinaryAccuracy(threshold=0.3)],
    "optimizers": ["adam", optimizers.SGD(0.5, momentum=0.25)],
    "layers": [layers.Dense(3, "relu", name="d"), layers.Conv2D(2, (3, 1), strides=2)],
}


@pytest.mark.parametrize("room", ROOMS)
def test_rooms_serialize_alike(room):
    module = getattr(nnfast, room)
    for value in ROOMS[room]:
        made = value if not isinstance(value, str) else module.get(value)
        config = json.loads(json.dumps(module.serialize(made)))
        assert config["module"] == f"keras.{room}" and config["class_name"] == type(made).__name__
        again = module.deserialize(config)
        assert type(again) is type(made)
        assert module.serialize(again) == module.serialize(made)
        assert type(utils.deserialize_keras_object(config)) is type(made)
        if room != "layers":
            assert type(module.get(config)) is type(made)
            old = {"class_name": config["class_name"], "config": config["config"]}
            assert module.serialize(module.get(old)) == module.serialize(made)


def test_a_scope_ends_where_it_ends():
    with utils.custom_object_scope({"scaled_relu": scaled_relu}):
        with utils.CustomObjectScope({"other": scaled}):
            assert nnfast.activations.get("scaled_relu") is scaled_relu
        with pytest.raises(ValueError, match="'other'"):
            nnfast.activations.get("other")
    with pytest.raises(ValueError, match="'scaled_relu'"):
        nnfast.activations.get("scaled_relu")


def test_json():
    model = network()
    text = model.to_json(indent=1)
    again = models.model_from_json(text)
    assert again.get_config() == model.get_config() and not same_weights(model, again)
    with pytest.raises(ValueError, match="no JSON"):
        models.model_from_json(text[:-5])


BAD_CONFIGS = {
    "a module to import": ({"module": "os", "class_name": "system", "config": "true"}, "'system' of module 'os'"),
    "a function to import": ({"module": "os", "class_name": "function", "config": "system"}, "function.*'system'"),
    "a builtin": ({"module": "builtins", "class_name": "function", "config": "eval"}, "'eval'"),
    "bytecode": ({"class_name": "__lambda__", "config": {"value": "4wEA", "code": "4wEA"}}, "bytecode.*never runs"),
    "own class of the name of ours": ({"module": None, "class_name": "Dense", "config": {"units": 2}}, "'Dense'"),
    "own class in a module": ({"module": "shop.parts", "class_name": "Dense", "config": {}}, "custom_objects"),
    "no dict": ({"class_name": "Dense", "config": 3}, "must be a dict"),
    "objects in arrays": ({"class_name": "__numpy__", "config": {"value": ["a"], "dtype": "object"}}, "dtype object"),
    "another kind": ({"class_name": "__typespec__", "config": {}}, "__typespec__"),
}


@pytest.mark.parametrize("name", BAD_CONFIGS)
@pytest.mark.parametrize("safe", [True, False])
def test_configs_bring_no_code(name, safe):
    config, words = BAD_CONFIGS[name]
    with pytest.raises(ValueError, match=words):
        utils.deserialize_keras_object(config, safe_mode=safe)


# ---- endings and overwriting ----


def test_endings(path):
    model = network()
    for name in ("model", "model.pkl", "model.h5.txt"):
        with pytest.raises(ValueError, match=r"must end in .keras"):
            model.save(path(name))
        with pytest.raises(ValueError, match=r"must end in .weights.h5"):
            model.save_weights(path(name))
    with pytest.raises(ValueError, match="save_weights"):
        model.save(path(".weights.h5"))
    model.save(path(".HDF5"))
    assert same_weights(models.load_model(path(".HDF5")), model)
    with pytest.raises(ValueError, match="there already"):
        model.save(path(".HDF5"), overwrite=False)
    with pytest.raises(ValueError, match="not built"):
        nnfast.Sequential([layers.Dense(2)]).save_weights(path(".h5"))
    with pytest.warns(UserWarning, match="not built"):
        nnfast.Sequential([layers.Dense(2)]).save(path(".keras"))
    assert not models.load_model(path(".keras"), compile=False).built


@pytest.mark.parametrize("ending", WHOLE)
def test_an_interrupted_save_leaves_the_old_file(ending, path, monkeypatch):
    model = network()
    model.save(path(ending))
    before = Path(path(ending)).read_bytes()

    def stop(fd):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", stop)
    with pytest.raises(KeyboardInterrupt):
        network().save(path(ending))
    assert Path(path(ending)).read_bytes() == before
    assert len(os.listdir(os.path.dirname(path(ending)))) == 1


def test_a_folder_that_is_not_there(path):
    with pytest.raises(FileNotFoundError):
        network().save(path("/none/model.keras"))
    with pytest.raises(FileNotFoundError):
        models.load_model(path(".keras"))


def test_names_that_are_paths(tmp_path):
    network().save(tmp_path / "é 模型.keras")
    assert models.load_model(tmp_path / "é 模型.keras").built


# ---- damaged and hostile files ----


def saved(path, ending):
    model = network()
    model.save(path(ending))
    return model, Path(path(ending)).read_bytes()


def refused(path, ending, content, words, weights=True):
    """Loading fails with a ValueError that names the file; so does loading its weights, if they are damaged."""
    file = path(f".bad{ending}")
    Path(file).write_bytes(content)
    for load in (models.load_model, network().load_weights)[: 1 + weights]:
        with pytest.raises(ValueError) as caught:
            load(file)
        assert f".bad{ending}" in str(caught.value)
    with pytest.raises(ValueError, match=words):
        models.load_model(file)


@pytest.mark.parametrize("ending", WHOLE)
def test_cut_off_files(ending, path):
    _, content = saved(path, ending)
    model = network()
    before = model.get_weights()
    for length in {0, 1, 7, 8, 9, 100, len(content) // 3, len(content) // 2, len(content) - 100, len(content) - 1}:
        refused(path, ending, content[:length], "model.bad")
        Path(path(ending)).write_bytes(content[:length])
        with pytest.raises(ValueError):
            model.load_weights(path(ending))
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights()))


def test_foreign_files(path, tmp_path):
    refused(path, ".keras", b"hello, I am no model at all", "it is no model")
    refused(path, ".keras", pickle.dumps({"a": 1}), "pickle.*may run code")
    refused(path, ".h5", (DATA / "golden.json").read_bytes()[:500], "it is no model")
    buffer = io.BytesIO()
    np.savez(buffer, a=np.zeros(3))
    refused(path, ".keras", buffer.getvalue(), "no member 'metadata.json'")
    with pytest.raises(ValueError, match="folder"):
        models.load_model(tmp_path)


def rezip(content, change):
    """The .keras file with its members (name -> bytes) changed."""
    with zipfile.ZipFile(io.BytesIO(content)) as z:
        members = {n: z.read(n) for n in z.namelist()}
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as z:
        for name, value in change(members).items():
            z.writestr(name, value)
    return out.getvalue()


def test_zip_members(path):
    model, content = saved(path, ".keras")

    def but(**changed):
        return rezip(content, lambda m: m | {k.replace("_", ".", 1): v for k, v in changed.items()})

    Path(path(".extra.keras")).write_bytes(rezip(content, lambda m: m | {"assets/notes.txt": b"hello"}))
    assert same_weights(models.load_model(path(".extra.keras")), model)
    for name in ("../evil.py", "/etc/evil", "a/../../b", "C:evil"):
        refused(path, ".keras", rezip(content, lambda m, name=name: m | {name: b"x"}), "points out of the archive")
    refused(path, ".keras", but(config_json=b"{"), "damaged", weights=False)
    refused(path, ".keras", but(config_json=b"[" * 100000), "nested too deeply|damaged", weights=False)
    refused(path, ".keras", but(config_json=b"[1]"), "not that of a model", weights=False)
    refused(path, ".keras", but(config_json=b"\xff\xfe"), "damaged", weights=False)
    for gone in ("config.json", "model.weights.h5", "metadata.json"):
        refused(path, ".keras", rezip(content, lambda m, g=gone: {k: v for k, v in m.items() if k != g}), f"'{gone}'")
    refused(path, ".keras", rezip(content, _no_hdf5), "damaged")
    refused(path, ".keras", rezip(content, lambda m: m | {"model.weights.h5": bytes(2**28 + 10**6)}), "says it unpacks")
    twice = io.BytesIO(content)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with zipfile.ZipFile(twice, "a") as z:
            z.writestr("config.json", "{}")
    refused(path, ".keras", twice.getvalue(), "twice")
    flipped = bytearray(content)
    flipped[content.index(b"Sequential")] ^= 1
    refused(path, ".keras", bytes(flipped), "CRC")


def _no_hdf5(members):
    return members | {"model.weights.h5": b"\x00" * 3000}


def edited(path, ending, edit):
    """The whole-model file, its HDF5 part (or its config, for "config") changed in place."""
    _, content = saved(path, ending)
    if ending == ".h5":
        with h5py.File(path(ending), "r+") as f:
            edit(f)
        return Path(path(ending)).read_bytes()

    def change(members):
        inner = io.BytesIO(members["model.weights.h5"])
        with h5py.File(inner, "r+") as f:
            edit(f)
        return members | {"model.weights.h5": inner.getvalue()}

    return rezip(content, change)


def where(f):
    """The dataset of the first kernel, in either layout."""
    if "layers" in f:
        return f["layers/conv2d/vars"], "0"
    kernel = []
    f["model_weights"].visititems(lambda n, o: kernel.append(o) if n.endswith("kernel") and o.ndim == 4 else None)
    return kernel[0].parent, "kernel"


def _replace(make):
    def edit(f):
        group, name = where(f)
        old = group[name][()]
        del group[name]
        make(f, group, name, old)

    return edit


def _external(f, group, name, old):
    group[name] = h5py.ExternalLink("/etc/passwd", "/x")


def _virtual(f, group, name, old):
    layout = h5py.VirtualLayout(shape=old.shape, dtype="f4")
    layout[...] = h5py.VirtualSource("/tmp/other.h5", "x", shape=old.shape)
    group.create_virtual_dataset(name, layout)


HOSTILE = {
    "NaN": (lambda f, g, n, old: g.create_dataset(n, data=old * np.nan), "NaN"),
    "another shape": (lambda f, g, n, old: g.create_dataset(n, data=old[:1]), "shape"),
    "strings": (lambda f, g, n, old: g.create_dataset(n, data=np.full(old.shape, b"a")), "no array of numbers"),
    "a group": (lambda f, g, n, old: g.create_group(n), "not a dataset"),
    "missing": (lambda f, g, n, old: None, "not there|holds 1 weights"),
    "a soft link": (lambda f, g, n, old: g.__setitem__(n, h5py.SoftLink("/elsewhere")), "is a link"),
    "another file": (_external, "is a link"),
    "a virtual dataset": (_virtual, "another file"),
    "raw bytes of another file": (
        lambda f, g, n, old: g.create_dataset(n, old.shape, "f4", external=[("/etc/passwd", 0, 144)]),
        "another file",
    ),
    "nothing behind a huge shape": (lambda f, g, n, old: g.create_dataset(n, (10**6, 10**6), "f4"), "bytes, but"),
    "a bomb": (lambda f, g, n, old: g.create_dataset(n, (2**15, 2**15), "f4", compression=9), "bytes, but"),
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("ending", [".keras", ".h5"])
def test_hostile_hdf5(name, ending, path):
    make, words = HOSTILE[name]
    refused(path, ending, edited(path, ending, _replace(make)), words)


def test_a_model_larger_than_its_weights(path):
    """A config may claim what it likes: nothing is allocated that the file does not hold."""
    _, content = saved(path, ".keras")

    def change(members):
        config = json.loads(members["config.json"])
        config["config"]["layers"][-1]["config"]["units"] = 10**12
        return members | {"config.json": json.dumps(config)}

    file = path(".big.keras")
    Path(file).write_bytes(rezip(content, change))
    with pytest.raises(ValueError, match="more weights than the file holds"):
        models.load_model(file)


def test_hdf5_attributes(path):
    def change(name, value):
        def edit(f):
            f.attrs[name] = value

        return edit

    refused(path, ".h5", edited(path, ".h5", change("model_config", "{")), "damaged", weights=False)
    refused(path, ".h5", edited(path, ".h5", change("model_config", 3.5)), "must be a string", weights=False)
    refused_model = edited(path, ".h5", lambda f: f.attrs.__delitem__("model_config"))
    Path(path(".h5")).write_bytes(refused_model)
    with pytest.raises(ValueError, match="weights alone"):
        models.load_model(path(".h5"))
    refused(path, ".h5", edited(path, ".h5", lambda f: f.__delitem__("model_weights")), "model_weights")

    def twice(f):
        group = next(g for g in f["model_weights"].values() if len(g.attrs.get("weight_names", ())) == 2)
        group.attrs["weight_names"] = [group.attrs["weight_names"][0]] * 2

    refused(path, ".h5", edited(path, ".h5", twice), "twice")


def safetensors(header, body=b"", length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + body


F32 = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
BAD_TENSORS = {
    "length past the end": (safetensors({"a": F32}, bytes(8), 1000), "it is no model"),
    "no JSON": (safetensors(b"{'a': 1}"), "damaged"),
    "bytes missing": (safetensors({"a": F32}, bytes(7)), "shape or place of 'a'"),
    "negative size": (safetensors({"a": F32 | {"shape": [-2]}}, bytes(8)), "shape or place of 'a'"),
    "shape that lies": (safetensors({"a": F32 | {"shape": [2**62, 2**62]}}, bytes(8)), "shape or place of 'a'"),
    "backwards": (safetensors({"a": F32 | {"data_offsets": [8, 0]}}, bytes(8)), "shape or place of 'a'"),
    "not a size": (safetensors({"a": F32 | {"shape": [2.0]}}, bytes(8)), "shape or place of 'a'"),
    "unknown dtype": (safetensors({"a": F32 | {"dtype": "F8"}}, bytes(8)), "not that of an array"),
    "no entry": (safetensors({"a": 3}, bytes(8)), "not that of an array"),
    "a name twice": (safetensors(b'{"a":' + json.dumps(F32).encode() + b',"a":1}', bytes(8)), "twice"),
    "metadata": (safetensors({"__metadata__": {"a": 1}}), "strings"),
    "no model": (safetensors({"a": F32}, bytes(8)), "weights alone"),
}


@pytest.mark.parametrize("name", BAD_TENSORS)
def test_bad_safetensors(name, path):
    content, words = BAD_TENSORS[name]
    refused(path, ".safetensors", content, words)


def test_safetensors_layout(path):
    """As the format's description says, so that every reader of it agrees."""
    model = nnfast.Sequential([nnfast.Input((3,)), layers.Dense(2, name="d")])
    model.save_weights(path(".safetensors"))
    content = Path(path(".safetensors")).read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    assert length % 8 == 0
    header = json.loads(content[8 : 8 + length])
    begin, end = header["dense/kernel"]["data_offsets"]
    assert header["dense/kernel"]["dtype"] == "F32" and header["dense/kernel"]["shape"] == [3, 2]
    kernel = np.frombuffer(content[8 + length :][begin:end], "<f4").reshape(3, 2)
    assert np.array_equal(kernel, model.get_weights()[0])


@pytest.mark.parametrize("ending", WHOLE)
def test_flipped_bits(ending, path):
    """Each damage is refused, or harmless: no crash, no other exception, and no file but our own is touched."""
    _, content = saved(path, ending)
    rng = np.random.default_rng(5)
    code = """if True:
        import sys, warnings, nnfast
        warnings.simplefilter("ignore")
        for line in sys.stdin:
            path = line.strip()
            try:
                nnfast.models.load_model(path)
            except ValueError as e:
                assert "model" in str(e), e
        print("alive")
        """
    files = []
    for n in range(60):
        bad = bytearray(content)
        for at in rng.integers(0, min(len(content), 20000), rng.integers(1, 4)):
            bad[at] ^= 1 << rng.integers(8)
        files.append(path(f"{n}{ending}"))
        Path(files[-1]).write_bytes(bad)
    done = subprocess.run(
        [sys.executable, "-c", code], input="\n".join(files), capture_output=True, text=True, timeout=120
    )
    assert done.stdout.strip() == "alive", done.stderr[-2000:]


def test_h5py_is_imported_when_needed():
    code = "import sys, nnfast; assert 'h5py' not in sys.modules and 'zipfile' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


# ---- files that Keras wrote: tools/make_keras_files.py ----

GOLDEN = json.loads((DATA / "keras_files.json").read_text())


def golden_inputs(entry):
    if entry["integers"]:
        return np.arange(21, dtype="int32").reshape(3, 7) % 12
    waves = [np.sin(1.7 * np.arange(np.prod(s)) + 5).astype("float32").reshape(s) for s in entry["inputs"]]
    return waves if len(waves) > 1 else waves[0]


def predicts_as_keras(model, entry):
    found = model.predict(golden_inputs(entry), verbose=0)
    for y, expected in zip(found if isinstance(found, list) else [found], entry["outputs"]):
        expected = np.array(expected)
        assert y.shape == expected.shape
        np.testing.assert_allclose(y, expected, rtol=1e-6, atol=1e-6 * max(1.0, abs(expected).max()))


@pytest.mark.parametrize("name", [n for n in GOLDEN if not n.endswith(".weights.h5")])
def test_files_of_keras(name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore" if "2" in name else "error")  # the optimizer's state of Keras 2 is left out
        model = models.load_model(DATA / name)
    predicts_as_keras(model, GOLDEN[name])


def test_weights_of_keras():
    model = models.load_model(DATA / "keras_cnn.keras", compile=False)
    model.set_weights([np.zeros_like(w) for w in model.get_weights()])
    model.load_weights(DATA / "keras_cnn.weights.h5")
    predicts_as_keras(model, GOLDEN["keras_cnn.keras"])


def test_how_keras_compiled_them():
    model = models.load_model(DATA / "keras_cnn.keras")
    assert type(model.optimizer) is optimizers.Adam and int(model.optimizer.iterations) == 2
    assert type(model.loss) is losses.SparseCategoricalCrossentropy
    assert abs(model.optimizer.variables[-1].numpy()).max() > 0
    model = models.load_model(DATA / "keras_mlp.h5")
    assert model.loss == "mse" and model.optimizer.momentum == 0.9 and int(model.optimizer.iterations) == 2
    assert float(model.optimizer.learning_rate) == pytest.approx(0.05)
    model = models.load_model(DATA / "keras2_cnn.h5")
    assert type(model.optimizer) is optimizers.Adam and float(model.optimizer.learning_rate) == 0.002
    x = golden_inputs(GOLDEN["keras2_cnn.h5"])
    model.fit(x, np.array([0, 1, 2]), verbose=0)
    assert model.metrics_names[1] == "accuracy"


def test_a_class_without_kwargs_says_what_to_add(tmp_path):
    class Plain(nnfast.Model):
        def __init__(self):
            super().__init__()
            self.out = layers.Dense(2)

        def call(self, x):
            return self.out(x)

    model = Plain()
    model.predict(np.ones((3, 4)), verbose=0)
    model.save(tmp_path / "m.keras")
    with pytest.raises(
        ValueError, match=r"Plain.__init__\(\) got an unexpected.*\*\*kwargs.*super\(\).__init__\(\*\*kwargs\)"
    ):
        models.load_model(tmp_path / "m.keras", custom_objects={"Plain": Plain})


def test_a_folder_that_is_not_there_is_named(tmp_path):
    model = nnfast.Sequential([nnfast.Input((4,)), layers.Dense(2)])
    for save in (lambda: model.save(tmp_path / "no" / "m.keras"), lambda: model.save_weights(tmp_path / "no" / "m.h5")):
        with pytest.raises(FileNotFoundError, match=r"the folder does not exist. Make it first.*no'$"):
            save()


class TwoLayers(nnfast.Model):
    """A functional model that is made in __init__."""

    def __init__(self, units=3, **kwargs):
        x = nnfast.Input((4,))
        super().__init__(inputs=x, outputs=layers.Dense(2)(layers.Dense(units)(x)), **kwargs)


@pytest.mark.parametrize("ending", [".keras", ".h5"])
def test_models_that_are_made_in_init_and_models_in_layers(ending, tmp_path):
    x = np.random.default_rng(0).random((5, 4)).astype("float32")
    model = TwoLayers(6, name="mine")
    model.compile("adam", "mse")
    model.fit(x, x[:, :2], verbose=0)
    model.save(tmp_path / f"m{ending}")
    again = models.load_model(tmp_path / f"m{ending}", custom_objects={"TwoLayers": TwoLayers})
    assert type(again) is TwoLayers and again.name == "mine" and again.count_params() == 44
    assert (again.predict(x, verbose=0) == model.predict(x, verbose=0)).all()
    for inner in (model, nnfast.Sequential([nnfast.Input((4,)), layers.Dense(3)])):
        outer = nnfast.Sequential([nnfast.Input((5, 4)), layers.TimeDistributed(inner)])
        outer.save(tmp_path / f"o{ending}")
        with utils.custom_object_scope({"TwoLayers": TwoLayers}):
            again = models.load_model(tmp_path / f"o{ending}")
        assert (again.predict(x[None], verbose=0) == outer.predict(x[None], verbose=0)).all()
