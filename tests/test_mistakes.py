"""Classroom mistakes: each gets an error (or, where training could go on, a warning) that names the layer or the
argument, what was expected, what came, and the fix. A message is part of the interface: these words must stay."""

import warnings

import numpy as np
import pytest

import nnfast
from nnfast import layers, losses, optimizers
from nnfast.models import Sequential

RNG = np.random.default_rng(0)
IMAGES = RNG.random((40, 28, 28)).astype("float32")
ROWS = IMAGES.reshape(40, 784)
LABELS = np.arange(40) % 10
YES = (LABELS > 4).astype("float32")


def mlp(units=10, activation="softmax", shape=(784,)):
    return Sequential(
        [
            nnfast.Input(shape),
            layers.Dense(16, "relu", name="hidden"),
            layers.Dense(units, activation=activation, name="scores"),
        ]
    )


def cnn(*last):
    return Sequential([layers.Conv2D(4, 3, input_shape=(28, 28, 1), name="conv"), *last])


def words(count):
    return Sequential(
        [layers.Embedding(count, 4, name="words"), layers.GlobalAveragePooling1D(), layers.Dense(10, "softmax")]
    )


def fit(model, x, y, loss="sparse_categorical_crossentropy", **options):
    model.compile("sgd", loss, metrics=["accuracy"])
    model.fit(x, y, verbose=0, **options)


ERRORS = {
    "input_shape is not that of the data": (
        lambda: fit(mlp(shape=(100,)), ROWS, LABELS),
        ["hidden", "Dense", "(..., 100)", "(32, 784)", "input_shape=(784,)"],
    ),
    "input_dim is not that of the data": (
        lambda: fit(Sequential([layers.Dense(10, input_dim=28, name="first")]), ROWS, LABELS),
        ["first", "(..., 28)", "784", "input_shape=(784,)"],
    ),
    "one-hot rows with the sparse loss": (
        lambda: fit(mlp(), ROWS, np.eye(10)[LABELS]),
        ["scores", "sparse_categorical_crossentropy", "(32, 10)", "categorical_crossentropy", "y.argmax(-1)"],
    ),
    "class numbers with the categorical loss": (
        lambda: fit(mlp(), ROWS, LABELS, "categorical_crossentropy"),
        ["scores", "one-hot", "(32,)", "(32, 10)", "sparse_categorical_crossentropy", "to_categorical(y, 10)"],
    ),
    "labels from 1 to 10": (
        lambda: fit(mlp(), ROWS, LABELS + 1),
        ["row ", "of the data", "is 10", "from 0, below 10", "use y - 1", "weights are those before"],
    ),
    "labels that are no whole numbers": (
        lambda: fit(mlp(), ROWS, LABELS + 0.5),
        ["sample", ".5", "class numbers from 0, below 10"],
    ),
    "more channels than were declared": (
        lambda: fit(cnn(layers.Flatten(), layers.Dense(10, "softmax")), np.repeat(IMAGES[..., None], 3, 3), LABELS),
        ["conv", "Conv2D", "(32, 28, 28, 3)", "channel"],
    ),
    "images without an axis of channels": (
        lambda: fit(Sequential([layers.Conv2D(4, 3, name="conv"), layers.Flatten(), layers.Dense(10)]), IMAGES, LABELS),
        ["conv", "Conv2D", ", 28, 28)", "x.reshape(-1, 28, 28, 1)"],
    ),
    "Flatten forgotten before a Dense": (
        lambda: fit(mlp(), IMAGES, LABELS),
        ["hidden", "(..., 784)", "(32, 28, 28)", "Flatten()", "x.reshape(-1, 784)"],
    ),
    "Flatten forgotten after a convolution": (
        lambda: fit(cnn(layers.Dense(10, "softmax", name="scores")), IMAGES[..., None], LABELS),
        ["scores", "(32,)", "(32, 26, 26, 10)", "Flatten()"],
    ),
    "one sigmoid unit with the categorical loss": (
        lambda: fit(mlp(1, "sigmoid"), ROWS, YES[:, None], "categorical_crossentropy"),
        ["scores", "more than one class", "(32, 1)", "binary_crossentropy"],
    ),
    "targets (N,) for three outputs": (
        lambda: fit(mlp(3, None), ROWS, RNG.random(40), "mse"),
        ["scores", "(32,)", "(32, 3)", "does not broadcast", "one unit"],
    ),
    "word numbers beyond the Embedding": (
        lambda: fit(words(20), RNG.integers(0, 50, (40, 12)), LABELS),
        ["words", "Embedding", "from 0 to 19", "in sample", "input_dim=", "or more", "batch 0 of epoch 1, row "],
    ),
    "negative word numbers": (
        lambda: fit(words(20), -np.ones((40, 12), "int64"), LABELS),
        ["words", "Embedding", "Received: -1 in sample 0, position 0", "Negative numbers", "weights are those before"],
    ),
    "word numbers of the validation data beyond the Embedding": (
        lambda: fit(words(20), np.ones((40, 12)), LABELS, validation_data=(np.full((9, 12), 20), LABELS[:9])),
        ["words", "Received: 20", "input_dim=21", "(batch 0, row 0 of the data)", "validation_data"],
    ),
    "rows of targets of another length": (
        lambda: fit(mlp(), ROWS, np.eye(3)[LABELS % 3], "categorical_crossentropy"),
        ["scores", "(32, 3)", "(32, 10)", "must give 3 numbers"],
    ),
    "Flatten forgotten, with one-hot rows": (
        lambda: fit(cnn(layers.Dense(10, name="scores")), IMAGES[..., None], np.eye(10)[LABELS], "mse"),
        ["scores", "(32, 10)", "(32, 26, 26, 10)", "Flatten()"],
    ),
    "a list of inputs for a layer of one": (
        lambda: layers.Dense(3, name="one")([ROWS, ROWS]),
        ["one", "Dense", "one input", "[(None, 784), (None, 784)]", "Concatenate()"],
    ),
    "a list of Inputs for a layer of one": (
        lambda: layers.Conv2D(3, 3, name="one")([nnfast.Input((8, 8, 1)), nnfast.Input((8, 8, 1))]),
        ["one", "Conv2D", "one input", "[(None, 8, 8, 1), (None, 8, 8, 1)]", "Concatenate()"],
    ),
    "a loss that leaves the tape": (
        lambda: fit(mlp(), ROWS, LABELS, lambda y, p: np.mean(p.numpy()[:, 0])),
        ["no gradient", "hidden/kernel", "NumPy", "nnfast.ops"],
    ),
    "NumPy's function as activation": (
        lambda: layers.Dense(3, activation=np.tanh, name="one")(ROWS),
        ["one", "Dense", "NumPy's functions", "a Tensor", "ops.tanh", "no gradient"],
    ),
    "NumPy's function in a loss": (
        lambda: fit(mlp(), ROWS, LABELS, lambda y, p: np.log(p)),
        ["NumPy's functions", "a Tensor", "nnfast.ops"],
    ),
    "a callback's class for a callback": (
        lambda: fit(mlp(), ROWS, LABELS, callbacks=[nnfast.callbacks.EarlyStopping]),
        ["Callback object", "Did you mean EarlyStopping(...)?"],
    ),
    "a method of Keras 2": (
        lambda: mlp().predict_classes(ROWS),
        ["Sequential", ".predict_classes", "model.predict(x).argmax(axis=-1)"],
    ),
    "an argument of an optimizer misspelt": (
        lambda: optimizers.Adam(learnin_rate=0.1),
        ["Adam", "learnin_rate", "Did you mean learning_rate=?"],
    ),
    "words where numbers of words belong": (
        lambda: nnfast.utils.pad_sequences([["a", "b"]]),
        ["pad_sequences", "sequences[0]=['a', 'b']", "Tokenizer"],
    ),
    "text as data": (lambda: fit(mlp(), np.array([["a", "b"]] * 40), LABELS), ["numbers", "<U1", "text"]),
    "text as labels": (
        lambda: fit(mlp(), ROWS, np.array(["cat", "dog"] * 20)),
        ["numbers", "<U3", "numpy.unique(y, return_inverse=True)"],
    ),
    "lists of several lengths": (
        lambda: fit(mlp(), [[1.0, 2.0], [3.0]], [0, 1]),
        ["one length", "inhomogeneous", "pad_sequences"],
    ),
    "not compiled": (lambda: mlp().fit(ROWS, LABELS), ["fit", "not been compiled", "compile(optimizer="]),
    "weights of a model that is not built": (
        lambda: Sequential([layers.Dense(3)]).count_params(),
        ["not built", "build(input_shape)"],
    ),
    "setting weights of a layer that is not built": (
        lambda: layers.Dense(3, name="late").set_weights([np.ones((2, 3)), np.ones(3)]),
        ["late", "0 weights", "2 arrays", "build(input_shape)"],
    ),
    "x and y of different lengths": (
        lambda: fit(mlp(), ROWS, LABELS[:30]),
        ["one row per sample", "(40, 784)", "(30,)"],
    ),
    "no samples": (lambda: fit(mlp(), ROWS[:0], LABELS[:0]), ["at least one sample", "(0, 784)"]),
    "one sample without an axis of samples": (
        lambda: mlp().predict(ROWS[0], verbose=0),
        ["hidden", "(batch, ..., features)", "reshape(1, -1)"],
    ),
    "batch_size 0": (lambda: fit(mlp(), ROWS, LABELS, batch_size=0), ["batch_size", "positive", "0"]),
    "epochs that are no integer": (lambda: fit(mlp(), ROWS, LABELS, epochs=1.5), ["epochs", "integer", "1.5"]),
    "unknown loss": (
        lambda: mlp().compile("sgd", "sparse_categorical_crossentropi"),
        ["loss", "sparse_categorical_crossentropi", "Did you mean 'sparse_categorical_crossentropy'"],
    ),
    "unknown optimizer": (lambda: mlp().compile("addam", "mse"), ["optimizer", "'addam'", "Did you mean 'adam'"]),
    "unknown metric": (
        lambda: mlp().compile("sgd", "mse", metrics=["acuracy"]),
        ["metric", "'acuracy'", "Did you mean 'accuracy'"],
    ),
    "unknown activation": (lambda: layers.Dense(3, activation="rellu"), ["activation", "'rellu'", "'relu'"]),
    "unknown layer": (lambda: layers.Conv2d, ["layers.Conv2d", "'Conv2D'"]),
    "unknown layer name": (lambda: mlp().get_layer("hiden"), ["'hiden'", "hidden, scores"]),
    "an argument misspelt": (lambda: layers.Dense(3, activaton="relu"), ["Dense", "activaton", "activation="]),
    "a class for a layer": (lambda: Sequential([layers.Flatten]), ["Flatten", "Did you mean Flatten(...)?"]),
    "units that are no integer": (lambda: layers.Dense(3.5), ["Dense", "units", "positive integer", "3.5"]),
    "a rate in percent": (lambda: layers.Dropout(50), ["Dropout", "rate", "50"]),
    "padding misspelt": (lambda: layers.Conv2D(3, 3, padding="smae"), ["padding", "'same'", "'smae'"]),
}


@pytest.mark.parametrize("name", ERRORS)
def test_the_message_has_what_helps(name):
    mistake, words = ERRORS[name]
    with pytest.raises((ValueError, TypeError, IndexError, AttributeError)) as caught:
        mistake()
    text = str(caught.value)
    assert text.startswith("["), f"no [op] tag: {text}"
    for word in words:
        assert word in text, f"{word!r} is missing: {text}"
    assert "Received" in text or name in ("not compiled", "labels from 1 to 10", "labels that are no whole numbers")
    assert len(text) < 900, "a message is no dump"


def test_data_that_are_not_scaled():
    """The loss runs away: training stops at the batch, the layer is named, the weights are those before."""
    model = Sequential([nnfast.Input((784,)), layers.Dense(1, name="scores")])
    model.compile(optimizers.SGD(0.1), "mse")
    with pytest.raises(ValueError) as caught:
        model.fit(ROWS * 255, LABELS, epochs=50, verbose=0)
    text = str(caught.value)
    for word in ("the loss is ", "at batch", "Lower the learning rate", "scale the inputs"):
        assert word in text, text
    assert all(np.isfinite(w).all() for w in model.get_weights())


WARNINGS = {
    "softmax with from_logits=True": (
        lambda: fit(mlp(), ROWS, LABELS, losses.SparseCategoricalCrossentropy(from_logits=True)),
        r"from_logits=True.*result of a softmax.*twice",
    ),
    "sigmoid with from_logits=True": (
        lambda: fit(mlp(1, "sigmoid"), ROWS, YES, losses.BinaryCrossentropy(from_logits=True)),
        r"from_logits=True.*twice",
    ),
    "scores without softmax": (
        lambda: fit(mlp(10, None), ROWS, LABELS),
        r"must be probabilities.*values from -.*activation='softmax'.*from_logits=True",
    ),
    "one unit with softmax": (
        lambda: fit(mlp(1, "softmax"), ROWS, YES, "binary_crossentropy"),
        r"softmax.*one number is always 1.*sigmoid",
    ),
}


@pytest.mark.parametrize("name", WARNINGS)
def test_what_is_legal_and_surely_wrong_warns(name):
    mistake, words = WARNINGS[name]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        mistake()
    found = [str(w.message) for w in caught]
    assert found, "no warning"
    with pytest.warns(UserWarning, match=words):
        warnings.warn(found[0], UserWarning, stacklevel=1)


def test_what_is_right_does_not_warn():
    """The usual heads and losses, float labels with whole values, (N,) for one unit, images for a declared channel."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit(mlp(), ROWS, LABELS)
        fit(mlp(), ROWS, LABELS.astype("float64"))
        fit(mlp(10, None), ROWS, LABELS, losses.SparseCategoricalCrossentropy(from_logits=True))
        fit(mlp(1, "sigmoid"), ROWS, YES, "binary_crossentropy")
        fit(mlp(1, None), ROWS, YES, "mse")
        fit(cnn(layers.Flatten(), layers.Dense(10, "softmax")), IMAGES, LABELS)
