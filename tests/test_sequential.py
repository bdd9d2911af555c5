"""Sequential: building early or late, adding and removing, summary, configs, and errors that say where."""

import copy
import io
import json
import pickle
import sys

import numpy as np
import pytest

import nnfast
from nnfast import Input, Sequential, layers, models


def ones(*shape):
    return np.ones(shape, "float32")


def summary(model, **options):
    texts = []
    model.summary(print_fn=texts.append, **options)
    assert len(texts) == 1  # the whole text at once
    return texts[0]


# ---- the course's networks ----


def perceptron():  # 002-4
    return Sequential([layers.Flatten(input_shape=(28, 28)), layers.Dense(units=10, activation="softmax")])


def multilayer():  # 002-6, 002-35
    model = Sequential()
    model.add(layers.Flatten(input_shape=(28, 28)))
    for units in (300, 200, 100):
        model.add(layers.Dense(units=units, activation="relu"))
    model.add(layers.Dense(units=10, activation="softmax"))
    return model


def network():  # 000-2
    network = models.Sequential()
    network.add(layers.Dense(512, activation="relu", input_shape=(28 * 28,)))
    network.add(layers.Dense(10, activation="softmax"))
    return network


def redundant():  # 003-12: input_dim on every layer
    model = Sequential()
    for units, inputs in ((800, 784), (800, 800)):
        model.add(layers.Dense(units, input_dim=inputs))
        model.add(layers.Activation("sigmoid"))
        model.add(layers.Dropout(0.4))
    model.add(layers.Dense(10, input_dim=800))
    model.add(layers.Activation("softmax"))
    return model


def convolutional():  # 003-18: the input_dim of the last two is wrong, and ignored
    model = Sequential()
    model.add(layers.Conv2D(32, (3, 3), padding="same", input_shape=(28, 28, 1)))
    model.add(layers.Activation("relu"))
    model.add(layers.MaxPooling2D(pool_size=(2, 2)))
    for filters in (64, 128):
        model.add(layers.Conv2D(filters, (3, 3), padding="same"))
        model.add(layers.Activation("relu"))
        model.add(layers.MaxPooling2D(pool_size=(2, 2)))
    model.add(layers.Flatten())
    model.add(layers.Dense(200, input_dim=28 * 28))
    model.add(layers.Activation("relu"))
    model.add(layers.Dense(10, input_dim=200))
    model.add(layers.Activation("softmax"))
    return model


def named():  # 002-33
    model = Sequential(name="my_example_model")
    model.add(layers.Dense(64, activation="relu", name="my_first_layer"))
    model.add(layers.Dense(10, activation="softmax", name="my_last_layer"))
    return model


@pytest.mark.parametrize(
    "make, count, shape",
    [
        (perceptron, 7_850, (28, 28)),
        (multilayer, 316_810, (28, 28)),
        (network, 407_050, (784,)),
        (redundant, 1_276_810, (784,)),
        (convolutional, 325_282, (28, 28, 1)),
    ],
)
def test_parameters_of_the_course(make, count, shape, device):
    model = make()
    assert model.built and model.count_params() == count
    assert f" Total params: {count:,} (" in summary(model)
    assert f" Trainable params: {count:,} (" in summary(model)
    assert " Non-trainable params: 0 (0.00 B)" in summary(model)
    assert model.input_shape == (None, *shape) and model.output_shape == (None, 10)
    y = model(np.random.default_rng(0).random((3, *shape)))
    assert y.shape == (3, 10) and np.allclose(y.numpy().sum(1), 1, atol=1e-5)


def test_shapes_of_the_course():
    shapes = [layer.output_shape for layer in convolutional().layers if not isinstance(layer, layers.Activation)]
    assert shapes == [
        (None, 28, 28, 32),
        (None, 14, 14, 32),
        (None, 14, 14, 64),
        (None, 7, 7, 64),
        (None, 7, 7, 128),
        (None, 3, 3, 128),
        (None, 1152),
        (None, 200),
        (None, 10),
    ]


def test_deferred_build_of_the_course(device):
    model = named()
    assert not model.built and model.weights == []
    model.build((None, 3))
    assert model.built and model.count_params() == 906
    second = Sequential([Input(shape=(3,)), layers.Dense(64), layers.Dense(10)])
    assert second.built and second.count_params() == 906
    assert [layer.name for layer in named().layers] == ["my_first_layer", "my_last_layer"]


# ---- building ----


@pytest.mark.parametrize(
    "make",
    [
        lambda: Sequential([Input(shape=(5,)), layers.Dense(3), layers.Dense(2)]),
        lambda: Sequential([layers.InputLayer(shape=(5,)), layers.Dense(3), layers.Dense(2)]),
        lambda: Sequential([layers.Dense(3, input_shape=(5,)), layers.Dense(2)]),
        lambda: Sequential([layers.Dense(3, input_dim=5), layers.Dense(2)]),
        lambda: Sequential([layers.Dense(3, batch_input_shape=(None, 5)), layers.Dense(2, input_shape=(77,))]),
    ],
)
def test_ways_to_say_the_shape(make):
    model = make()
    assert model.built and model.count_params() == 26 and len(model.layers) == 2
    assert model.input_shape == (None, 5) and model.output_shape == (None, 2)


def test_built_by_data(device):
    model = Sequential([layers.Dense(3), layers.Dense(2)])
    with pytest.raises(AttributeError, match="input shape"):
        model.input_shape  # noqa: B018
    assert model(np.ones((4, 5))).shape == (4, 2)
    assert model.built and model.input_shape == (None, 5) and model.count_params() == 26


def test_built_twice():
    model = Sequential([layers.Dense(3)])
    model.build((None, 5))
    kernel = model.layers[0].kernel
    model.build((None, 5))
    model.build()
    model.build((8, 5))
    assert model.layers[0].kernel is kernel
    for wrong in ((None, 6), (None, 5, 5)):
        with pytest.raises(ValueError, match="for inputs of shape"):
            model.build(wrong)


def test_wrong_builds():
    with pytest.raises(ValueError, match="no layers"):
        Sequential().build((None, 3))
    with pytest.raises(ValueError, match="no layers"):
        Sequential()(ones(2, 3))
    with pytest.raises(ValueError, match="shape of the input is needed"):
        Sequential([layers.Dense(3)]).build()
    model = Sequential([layers.Dense(3), layers.Conv2D(3, 3)])
    with pytest.raises(ValueError, match="expects images"):
        model.build((None, 5))
    assert not model.built


def test_add_and_pop(device):
    model = Sequential([layers.Dense(3, input_shape=(5,))])
    model.add(layers.Dense(2, name="end"))
    assert model.output_shape == (None, 2) and model.layers[1].built
    y = model(ones(4, 5)).numpy()
    end = model.pop()
    assert end.name == "end" and model.output_shape == (None, 3) and model.built
    assert model(ones(4, 5)).shape == (4, 3)
    model.add(end)
    assert np.array_equal(model(ones(4, 5)).numpy(), y)  # with the weights that it had
    model.pop()
    model.pop()
    assert not model.built and model.layers == []
    with pytest.raises(IndexError, match="no layers"):
        model.pop()
    model.add(layers.Dense(1, input_shape=(7,)))
    assert model.input_shape == (None, 7)


def test_input_alone():
    model = Sequential([Input(shape=(5,))])
    assert not model.built and model.layers == []
    model.add(layers.Dense(2))
    assert model.built
    model.pop()
    model.add(layers.Dense(3))
    assert model.input_shape == (None, 5) and model.count_params() == 18


@pytest.mark.parametrize(
    "wrong, error, says",
    [
        (lambda m: m.add(3), TypeError, "Received: 3"),
        (lambda m: m.add(layers.Dense), TypeError, r"Did you mean Dense\(...\)"),
        (lambda m: m.add(layers.Dense(2, name="first")), ValueError, "names of layers must be unique"),
        (lambda m: m.add(Input(shape=(3,))), ValueError, "must be the first"),
        (lambda m: m.add(layers.Conv2D(2, 2, name="c")), ValueError, r"Before it comes 'first' \(Dense\)"),
        (lambda m: Sequential([Input(shape=(3,)), Input(shape=(3,))]), ValueError, "only one"),
        (lambda m: Sequential(layers.Dense(3)), TypeError, "must be a list"),
        (lambda m: m.get_layer("x"), ValueError, "The layers are first"),
        (lambda m: m.get_layer(index=1), ValueError, "has 1 layers"),
        (lambda m: m.get_layer(), ValueError, "name= or index="),
        (lambda m: m.get_layer("first", 0), ValueError, "name= or index="),
    ],
)
def test_wrong_elements(wrong, error, says):
    model = Sequential([layers.Dense(3, input_shape=(5,), name="first")], name="m")
    with pytest.raises(error, match=says):
        wrong(model)
    assert [layer.name for layer in model.layers] == ["first"] and model.built and model.count_params() == 18


def test_get_layer():
    model = named()
    assert model.get_layer("my_last_layer") is model.get_layer(index=1) is model.get_layer(index=-1)


def test_layers_cannot_be_set():
    with pytest.raises(AttributeError):
        Sequential().layers = []


def test_nested(device):
    inner = Sequential([layers.Dense(4, activation="relu"), layers.Dense(3)], name="inner")
    model = Sequential([Input(shape=(5,)), inner, layers.Dense(2)])
    assert inner.built and model.count_params() == 24 + 15 + 8
    assert model(ones(2, 5)).shape == (2, 2) and len(model.weights) == 6
    first = Sequential([Sequential([layers.Dense(4, input_shape=(5,))]), layers.Dense(2)])
    assert first.built and first.input_shape == (None, 5)


def test_shared_layer(device):
    shared = layers.Dense(4)
    a = Sequential([Input(shape=(4,)), shared, layers.Dense(2)])
    b = Sequential([Input(shape=(4,)), shared])
    shared.bias.assign([1.0, 2.0, 3.0, 4.0])
    assert a.weights[1] is b.weights[1] and a.count_params() == 30


class Unknown(layers.Layer):
    """Its output shape depends on the data."""

    def call(self, x):
        return x * 1.0

    def compute_output_shape(self, input_shape):
        raise NotImplementedError


def test_layer_whose_output_shape_is_not_known(device):
    model = Sequential([Input(shape=(4,)), Unknown(), layers.Dense(2)])
    assert not model.built
    assert "0 (unbuilt)" in summary(model)
    assert model(ones(3, 4)).shape == (3, 2)
    assert model.layers[1].built and model.count_params() == 10


# ---- calling ----


def test_training_reaches_every_layer(device):
    model = Sequential([Input(shape=(50,)), layers.Dropout(0.5), Sequential([layers.Dropout(0.5)])])
    x = ones(20, 50)
    assert np.array_equal(model(x).numpy(), x) and np.array_equal(model(x, training=False).numpy(), x)
    y = model(x, training=True).numpy()
    assert set(np.unique(y)) == {0, 4}
    assert set(np.unique(model.call(nnfast.tensor(x), training=True).numpy())) == {0, 4}


def test_ranks_meet(device):
    """(N,) and (N, 1) are taken for each other where the model says which it wants."""
    line = Sequential([layers.Dense(1, input_shape=[1], kernel_initializer="ones")])
    assert line(np.arange(3.0)).tolist() == [[0], [1], [2]]
    flat = Sequential([layers.Flatten(input_shape=(2, 2)), layers.Dense(1, kernel_initializer="ones")])
    assert flat(ones(3, 2, 2, 1)).tolist() == [[4], [4], [4]]


def test_dtypes_in_a_model(device):
    model = Sequential([Input(shape=(3,)), layers.Dense(2, dtype="float64"), layers.Dense(2, dtype="float64")])
    assert model(np.ones((1, 3))).dtype == np.float64
    mixed = Sequential([Input(shape=(3,)), layers.Dense(2, dtype="float64"), layers.Dense(2)])
    assert mixed(np.ones((1, 3))).dtype == np.float32
    nnfast.config.set_floatx("float64")
    assert perceptron()(np.zeros((2, 28, 28), "uint8")).dtype == np.float64


def test_losses_of_a_model(device):
    model = Sequential(
        [
            layers.Dense(3, kernel_regularizer="l2", activity_regularizer="l1", input_shape=(4,)),
            layers.Dense(2, bias_regularizer="l1", bias_initializer="ones"),
        ]
    )
    assert len(model.losses) == 2  # no output yet
    model(ones(5, 4))
    assert len(model.losses) == 3
    assert abs(model.losses[2].item() - 0.02) < 1e-7
    model(ones(5, 4))
    assert len(model.losses) == 3


def test_errors_say_where(device):
    model = Sequential(
        [
            layers.Dense(8, input_shape=(5,), name="in"),
            layers.Dense(784, name="mid"),
            layers.Reshape((28, 28, 1), name="r"),
        ]
    )
    with pytest.raises(ValueError) as e:
        model(ones(2, 28, 28))
    assert "[in] Dense was built for inputs of shape (..., 5)" in str(e.value)
    with pytest.raises(ValueError) as e:
        model.add(layers.Conv2D(2, 40, name="big"))
    assert "[big]" in str(e.value) and "Before it comes 'r' (Reshape), with output shape (None, 28, 28, 1)." in str(
        e.value
    )

    class Breaks(layers.Layer):
        def call(self, x):
            return nnfast.ops.dense(x, ones(2, 2))

    deferred = Sequential([layers.Dense(3, name="a"), Breaks(name="b")])
    with pytest.raises(ValueError) as e:
        deferred(ones(2, 5))
    assert "In the layer 'b' (Breaks)" in str(e.value) and "Before it comes 'a' (Dense)" in str(e.value)


def test_frozen_model(device):
    model = perceptron()
    model.trainable = False
    assert model.trainable_weights == [] and len(model.non_trainable_weights) == 2
    assert " Trainable params: 0 (0.00 B)" in summary(model)
    assert " Non-trainable params: 7,850 (30.66 KB)" in summary(model)
    assert model(ones(1, 28, 28)).node is None
    frozen = Sequential([layers.Dense(2, input_shape=(3,))], trainable=False)
    assert not frozen.trainable and frozen.trainable_weights == []


def test_weights_round_trip(device):
    a, b = network(), network()
    assert not np.array_equal(a.get_weights()[0], b.get_weights()[0])
    b.set_weights(a.get_weights())
    x = np.random.default_rng(0).random((4, 784))
    assert np.array_equal(a(x).numpy(), b(x).numpy())
    with pytest.raises(ValueError, match="has 4 weights"):
        b.set_weights(a.get_weights()[:3])


# ---- configs ----


@pytest.mark.parametrize("make", [perceptron, multilayer, network, redundant, convolutional, named])
def test_configs_come_back(make):
    model = make()
    config = json.loads(json.dumps(model.get_config()))
    again = Sequential.from_config(config)
    assert json.dumps(again.get_config()) == json.dumps(model.get_config())
    assert again.built == model.built and [w.shape for w in again.weights] == [w.shape for w in model.weights]


def test_configs_of_nested_and_own_layers(device):
    model = Sequential(
        [Input(shape=(4,), name="start"), Sequential([layers.Dense(3)], name="inner"), Unknown(name="own")]
    )
    config = model.get_config()
    again = Sequential.from_config(config, custom_objects={"Unknown": Unknown})
    assert again.get_config() == config and again.count_params() == 15
    with pytest.raises(ValueError, match="Received: 'Unknown'"):
        Sequential.from_config(config)


def test_configs_keep_what_is_frozen():
    model = Sequential([Input((3,)), layers.Dense(2, name="a"), layers.Dense(2, name="b")])
    model.layers[0].trainable = False
    again = Sequential.from_config(model.get_config())
    assert again.trainable and [w.path for w in again.trainable_weights] == ["b/kernel", "b/bias"]
    model.trainable = False
    frozen = Sequential.from_config(model.get_config())
    assert not frozen.trainable and frozen.trainable_weights == []
    assert not Sequential.from_config(Sequential(trainable=False).get_config()).trainable


def test_clone(device):
    model = convolutional()
    clone = models.clone_model(model)
    assert clone is not model and clone.count_params() == model.count_params()
    assert not np.array_equal(clone.get_weights()[0], model.get_weights()[0])


# ---- summary ----

PERCEPTRON = """\
Model: "sequential"
┏━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━━━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━━━━━━━━━┓
┃ Layer (type)                         ┃ Output Shape                ┃         Param # ┃
┡━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━╇━━━━━━━━━━━━━━━━━━━━━━━━━━━━━╇━━━━━━━━━━━━━━━━━┩
│ flatten (Flatten)                    │ (None, 784)                 │               0 │
├──────────────────────────────────────┼─────────────────────────────┼─────────────────┤
│ dense (Dense)                        │ (None, 10)                  │           7,850 │
└──────────────────────────────────────┴─────────────────────────────┴─────────────────┘
 Total params: 7,850 (30.66 KB)
 Trainable params: 7,850 (30.66 KB)
 Non-trainable params: 0 (0.00 B)
"""

# What Keras 3.15.1 prints, for each of the options.
UNBUILT = """\
Model: "my_example_model"
┏━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━━━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━━━━━━━━━┓
┃ Layer (type)                         ┃ Output Shape                ┃         Param # ┃
┡━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━╇━━━━━━━━━━━━━━━━━━━━━━━━━━━━━╇━━━━━━━━━━━━━━━━━┩
│ my_first_layer (Dense)               │ ?                           │     0 (unbuilt) │
├──────────────────────────────────────┼─────────────────────────────┼─────────────────┤
│ my_last_layer (Dense)                │ ?                           │     0 (unbuilt) │
└──────────────────────────────────────┴─────────────────────────────┴─────────────────┘
 Total params: 0 (0.00 B)
 Trainable params: 0 (0.00 B)
 Non-trainable params: 0 (0.00 B)
"""

TRAINABLE = """\
Model: "my_example_model"
┏━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━━━━━━━━┳━━━━━━━━━┓
┃ Layer (type)                          ┃ Output Shape                  ┃        Param # ┃ Traina… ┃
┡━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━╇━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━╇━━━━━━━━━━━━━━━━╇━━━━━━━━━┩
│ my_first_layer (Dense)                │ (None, 64)                    │            256 │    N    │
├───────────────────────────────────────┼───────────────────────────────┼────────────────┼─────────┤
│ my_last_layer (Dense)                 │ (None, 10)                    │            650 │    Y    │
└───────────────────────────────────────┴───────────────────────────────┴────────────────┴─────────┘
 Total params: 906 (3.54 KB)
 Trainable params: 650 (2.54 KB)
 Non-trainable params: 256 (1.00 KB)
"""

NESTED = """\
┡━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━╇━━━━━━━━━━━━━━━━━━━━━━━━━━━━━╇━━━━━━━━━━━━━━━━━┩
│ inner (Sequential)                   │ (None, 5)                   │              41 │
├──────────────────────────────────────┼─────────────────────────────┼─────────────────┤
│    └ dense (Dense)                   │ (None, 4)                   │              16 │
├──────────────────────────────────────┼─────────────────────────────┼─────────────────┤
│    └ dense_1 (Dense)                 │ (None, 5)                   │              25 │
├──────────────────────────────────────┼─────────────────────────────┼─────────────────┤
│ a_very_long_layer_name_that_is_too_… │ (None, 2)                   │              12 │
│ (Dense)                              │                             │                 │
└──────────────────────────────────────┴─────────────────────────────┴─────────────────┘
"""

NARROW = """\
┏━━━━━━━━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━━━┓
┃ Layer (type)             ┃ Output Shape      ┃   Param # ┃
┡━━━━━━━━━━━━━━━━━━━━━━━━━━╇━━━━━━━━━━━━━━━━━━━╇━━━━━━━━━━━┩
│ inner (Sequential)       │ (None, 5)         │        41 │
├──────────────────────────┼───────────────────┼───────────┤
│ a_very_long_layer_name_… │ (None, 2)         │        12 │
│ (Dense)                  │                   │           │
└──────────────────────────┴───────────────────┴───────────┘
"""

POSITIONS = """\
┏━━━━━━━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━┓
┃ Layer (type)            ┃ Output Shape           ┃                           Param # ┃
"""


@pytest.fixture
def wide(monkeypatch):
    """A wide terminal and fresh names."""
    monkeypatch.setenv("COLUMNS", "120")
    nnfast.utils.clear_session()


def long_named():
    inner = Sequential([layers.Dense(4), layers.Dense(5)], name="inner")
    end = layers.Dense(2, name="a_very_long_layer_name_that_is_too_wide_for_its_column")
    return Sequential([Input((3,)), inner, end])


def test_summary_is_that_of_keras(wide):
    assert summary(perceptron()) == PERCEPTRON
    model = named()
    assert summary(model) == UNBUILT
    model.build((None, 3))
    model.layers[0].trainable = False
    assert summary(model, show_trainable=True) == TRAINABLE


def test_summary_options(wide):
    model = long_named()
    assert NESTED in summary(model, expand_nested=True)
    assert NARROW in summary(model, line_length=60)
    assert POSITIONS in summary(model, positions=[0.3, 0.6, 1.0])
    assert POSITIONS in summary(model, positions=[26, 52, 88])
    only = summary(model, layer_range=("inner", "inner"))
    assert "inner (Sequential)" in only and "a_very" not in only and " Total params: 53 (212.00 B)" in only
    assert "a_very" in summary(model, layer_range=("in.*", "a_v"))
    assert summary(perceptron(), show_trainable=True).count("    -    ") == 1  # Flatten has no weights
    for wrong in (
        {"layer_range": ("x", "inner")},
        {"layer_range": ("inner",)},
        {"line_length": 10},
        {"positions": [0.5, 1.0]},
        {"positions": [0.5, 0.5, 1.0]},
    ):
        with pytest.raises(ValueError, match="summary"):
            summary(model, **wrong)


def test_summary_in_a_small_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "70")
    widths = {len(line) for line in summary(perceptron()).splitlines() if line[0] in "┏┃┡│├└"}
    assert widths == {66}


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "cp950", "utf-8"])
def test_summary_in_other_encodings(encoding, wide, monkeypatch):
    """Where the box cannot be printed, there is one that can."""
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding=encoding))
    long_named().summary(expand_nested=True)
    sys.stdout.flush()
    lines = raw.getvalue().decode(encoding).splitlines()
    assert lines[0].startswith('Model: "sequential') and " Total params: 53 (212.00 B)" in lines
    if encoding == "ascii":
        assert lines[1] == "+" + "-" * 38 + "+" + "-" * 29 + "+" + "-" * 17 + "+"
        assert "|    + dense (Dense)" in "\n".join(lines) and "too_~ |" in "\n".join(lines)
    if encoding == "utf-8":
        assert lines[1].startswith("┏━")


def test_chinese_names(wide, monkeypatch):
    model = Sequential(
        [Input((3,)), layers.Dense(2, name="隱藏層"), layers.Dense(1, name="輸出層" * 12)], name="感知器"
    )
    lines = summary(model).splitlines()
    assert lines[0] == 'Model: "感知器"'
    table = lines[1:8]
    assert [len(line) + sum(ord(c) > 0x4E00 for c in line) for line in table] == [88] * 7  # two columns per character
    assert "│ 隱藏層 (Dense)" in table[3] and "│ " + "輸出層" * 5 + "輸出… " in table[5]
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="cp1252"))
    model.summary()
    sys.stdout.flush()
    assert b'Model: "???"' in raw.getvalue() and b" Total params: 11 (44.00 B)" in raw.getvalue()


def test_sizes_in_the_summary(wide):
    model = Sequential([layers.Conv2D(1_000_000, 3, input_shape=(None, 28, 1), kernel_initializer="zeros")])
    text = summary(model)
    assert "(None, None, 26, 1000000)" in text and " Total params: 10,000,000 (38.15 MB)" in text


def test_summary_of_nothing(wide):
    text = summary(Sequential())
    assert text.count("\n") == 8 and " Total params: 0 (0.00 B)" in text


def test_summary_of_a_subclassed_model(wide, device):
    class Two(nnfast.Model):
        def __init__(self):
            super().__init__(name="two")
            self.a, self.b = layers.Dense(3, name="a"), layers.Dense(2, name="b")

        def call(self, x):
            return self.b(self.a(x))

    model = Two()
    assert summary(model).count("0 (unbuilt)") == 2 and [m.name for m in model.layers] == ["a", "b"]
    model(ones(2, 4))
    text = summary(model)
    assert "│ a (Dense)" in text and "│ (None, 3)" in text and " Total params: 23 (92.00 B)" in text
    assert model.get_layer("b") is model.b


def test_eight_threads_call_one_new_model():
    import threading

    model = Sequential([layers.Dense(6, activation="relu"), layers.Dense(2)])
    x = np.random.default_rng(1).random((5, 4)).astype("float32")
    results, gate = [], threading.Barrier(8)

    def call():
        gate.wait()
        results.extend(model(x).numpy() for _ in range(20))

    threads = [threading.Thread(target=call) for _ in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(results) == 160 and all(np.array_equal(r, results[0]) for r in results)
    assert len(model.weights) == 4 and model.count_params() == 44


def test_a_layer_is_added_once_and_no_model_to_itself():
    model, layer = models.Sequential(), layers.Dense(2)
    model.add(layer)
    with pytest.raises(ValueError, match=r"this layer is in .* already.*the same object again"):
        model.add(layer)
    with pytest.raises(ValueError, match="cannot hold itself"):
        model.add(model)
    with pytest.raises(ValueError, match="cannot hold itself"):
        model.add(models.Sequential([model]))
    assert model.layers == [layer]


def test_input_dim_and_input_shape_agree():
    with pytest.raises(ValueError, match=r"input_dim=4, input_shape=\(5,\)"):
        layers.Dense(1, input_dim=4, input_shape=(5,))
    assert layers.Dense(1, input_dim=4, input_shape=(4,))._declared_shape == (None, 4)


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
@pytest.mark.parametrize("fitted", [False, True])
def test_copies_and_pickles_train_on_their_own(duplicate, fitted, rng):
    x, y = rng.normal(size=(64, 3)).astype(np.float32), rng.integers(0, 2, 64)
    frozen = layers.Dense(5, activation="tanh")
    model = Sequential([Input((3,)), frozen, layers.BatchNormalization(), layers.Dense(2)])
    frozen.trainable = False
    adam = nnfast.optimizers.AdamW(0.01, gradient_accumulation_steps=2)
    adam.exclude_from_weight_decay([model.trainable_variables[0]])
    model.compile(adam, nnfast.losses.SparseCategoricalCrossentropy(from_logits=True))
    if fitted:
        model.fit(x, y, verbose=0, shuffle=False)
    twin = duplicate(model)
    before = model.get_weights()
    twin.fit(x, y, verbose=0, shuffle=False, epochs=2)
    for a, b in zip(before, model.get_weights()):
        np.testing.assert_array_equal(a, b)
    model.fit(x, y, verbose=0, shuffle=False, epochs=2)
    for a, b in zip(model.get_weights(), twin.get_weights()):
        np.testing.assert_array_equal(a, b)
    assert any((a != b).any() for a, b in zip(before, model.get_weights()))
    for m in (model, twin):
        m.layers[0].trainable = True
        assert len(m.trainable_variables) == 6
