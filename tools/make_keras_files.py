"""Writes tests/data/keras_*: models saved by Keras 3.15.1 (on PyTorch), and what they predict.

    KERAS_BACKEND=torch python tools/make_keras_files.py

The files of Keras 2 are put together here by hand, through h5py, from the layout that tf.keras 2.15 writes: dtypes that
are strings, `batch_input_shape`, weights named `dense/kernel:0`, inbound_nodes that are lists. What they predict is
computed with the same weights by Keras 3.
"""

import json
import os
import sys
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "torch")

import h5py
import keras
import numpy as np
from keras import layers

DATA = Path(__file__).parents[1] / "tests" / "data"
LIMIT = 60_000  # bytes of a file


def wave(shape, scale=1.0, shift=0.0):
    """Numbers that need no generator."""
    n = int(np.prod(shape))
    return (scale * np.sin(1.7 * np.arange(n) + shift)).astype("float32").reshape(shape)


def fill(model):
    """Weights by formula; those that must be positive are."""
    values = [0.4 * wave(w.shape, shift=i) for i, w in enumerate(model.weights)]
    names = [w.path for w in model.weights]
    model.set_weights([abs(v) + 0.5 if "variance" in n else v for v, n in zip(values, names)])
    return model


def cnn():
    model = keras.Sequential(
        [
            keras.Input((10, 8, 2)),
            layers.Rescaling(2.0, offset=-0.5),
            layers.Conv2D(4, 3, padding="same", activation="relu", kernel_regularizer="l2"),
            layers.BatchNormalization(),
            layers.MaxPooling2D(),
            layers.Conv2D(6, (3, 2), strides=2, use_bias=False),
            layers.LeakyReLU(negative_slope=0.1),
            layers.GlobalAveragePooling2D(),
            layers.Dropout(0.25),
            layers.Dense(5, activation="softmax", bias_initializer="ones", kernel_constraint="max_norm"),
        ],
        name="cnn",
    )
    model.compile(
        keras.optimizers.Adam(keras.optimizers.schedules.ExponentialDecay(0.01, 10, 0.5)),
        keras.losses.SparseCategoricalCrossentropy(),
        metrics=["accuracy"],
    )
    model.fit(wave((8, 10, 8, 2)), np.arange(8) % 5, batch_size=4, verbose=0)
    return fill(model)


def mlp():
    model = keras.Sequential([keras.Input((6,)), layers.Dense(5, "tanh"), layers.Dense(2)], name="mlp")
    model.compile(keras.optimizers.SGD(0.05, momentum=0.9), "mse", metrics=["mae"])
    model.fit(wave((8, 6)), wave((8, 2)), batch_size=4, verbose=0)
    return fill(model)


def sequence():
    model = keras.Sequential(
        [
            keras.Input((7,), dtype="int32"),
            layers.Embedding(12, 4),
            layers.Bidirectional(layers.LSTM(3, return_sequences=True)),
            layers.GRU(4),
            layers.Dense(1, activation="sigmoid"),
        ],
        name="sequence",
    )
    return fill(model)


def functional():
    a, b = keras.Input((4,), name="a"), keras.Input((3,), name="b")
    shared = layers.Dense(3, "relu", name="shared")
    left, right = shared(a), layers.Dense(4, name="widen")(b)
    both = layers.Concatenate(name="both")([left, shared(right)])
    outputs = [layers.Dense(1, "sigmoid", name="yes")(both), layers.Add(name="sum")([left, shared(right)])]
    model = keras.Model([a, b], outputs, name="two_inputs")
    model.compile("rmsprop", {"yes": "binary_crossentropy", "sum": "mse"}, loss_weights={"yes": 1.0, "sum": 0.5})
    return fill(model)


# ---- Keras 2, by hand ----

ZEROS = {"class_name": "Zeros", "config": {}}
GLOROT = {"class_name": "GlorotUniform", "config": {"seed": None}}


def old_layer(kind, name, **config):
    """A layer as tf.keras 2.15 describes it."""
    return {"class_name": kind, "config": {"name": name, "trainable": True, "dtype": "float32", **config}}


def old_dense(name, units, activation, **config):
    nothing = dict.fromkeys(
        ("kernel_regularizer", "bias_regularizer", "activity_regularizer", "kernel_constraint", "bias_constraint")
    )
    init = {"kernel_initializer": GLOROT, "bias_initializer": ZEROS}
    return old_layer("Dense", name, units=units, activation=activation, use_bias=True, **init, **nothing, **config)


def old_conv(name, filters):
    config = {"filters": filters, "kernel_size": [3, 3], "strides": [1, 1], "padding": "valid", "groups": 1}
    config |= {"data_format": "channels_last", "dilation_rate": [1, 1], "activation": "relu", "use_bias": True}
    return old_layer("Conv2D", name, **config, kernel_initializer=GLOROT, bias_initializer=ZEROS)


def write_old(path, config, training, model, prefix=True):
    """An .h5 file with the weights of a Keras 3 model, laid out as by Keras 2."""
    with h5py.File(path, "w") as f:
        f.attrs["backend"], f.attrs["keras_version"] = "tensorflow", "2.15.0"
        f.attrs["model_config"] = json.dumps(config)
        if training is not None:
            f.attrs["training_config"] = json.dumps(training)
        group = f.create_group("model_weights")
        group.attrs["backend"], group.attrs["keras_version"] = b"tensorflow", b"2.15.0"
        group.attrs["layer_names"] = [layer.name.encode() for layer in model.layers]
        group.create_group("top_level_model_weights").attrs["weight_names"] = np.zeros(0, "S1")
        for layer in model.layers:
            part = group.create_group(layer.name)
            weights = [*layer.trainable_weights, *layer.non_trainable_weights]
            names = [f"{layer.name}/{w.path.split('/', 1)[1].removeprefix(layer.name + '/')}:0" for w in weights]
            part.attrs["weight_names"] = [n.encode() for n in names] if names else np.zeros(0, "S1")
            for name, w in zip(names, weights):
                part.create_dataset(name, data=w.numpy())


def keras2_cnn(path):
    model = keras.Sequential(
        [
            keras.Input((8, 6, 1)),
            layers.Conv2D(3, 3, activation="relu", name="conv2d"),
            layers.BatchNormalization(name="batch_normalization"),
            layers.Flatten(name="flatten"),
            layers.Dropout(0.5, name="dropout"),
            layers.Dense(4, activation="softmax", name="dense"),
        ],
        name="sequential",
    )
    fill(model)
    shape = [None, 8, 6, 1]
    start = {"batch_input_shape": shape, "dtype": "float32", "sparse": False, "ragged": False, "name": "conv2d_input"}
    norm = {"axis": [3], "momentum": 0.99, "epsilon": 0.001, "center": True, "scale": True}
    norm |= {"beta_initializer": ZEROS, "gamma_initializer": {"class_name": "Ones", "config": {}}}
    conv = old_conv("conv2d", 3)
    conv["config"]["batch_input_shape"] = shape
    config = {
        "class_name": "Sequential",
        "config": {
            "name": "sequential",
            "layers": [
                {"class_name": "InputLayer", "config": start},
                conv,
                old_layer("BatchNormalization", "batch_normalization", **norm),
                old_layer("Flatten", "flatten", data_format="channels_last"),
                old_layer("Dropout", "dropout", rate=0.5, noise_shape=None, seed=None),
                old_dense("dense", 4, "softmax"),
            ],
        },
    }
    accuracy = {"name": "accuracy", "dtype": "float32", "fn": "sparse_categorical_accuracy"}
    optimizer = {"name": "Adam", "learning_rate": 0.002, "decay": 0.0, "beta_1": 0.9, "beta_2": 0.999}
    optimizer |= {"epsilon": 1e-07, "amsgrad": False, "jit_compile": False, "is_legacy_optimizer": False}
    loss = {"reduction": "auto", "name": "sparse_categorical_crossentropy", "from_logits": False, "ignore_class": None}
    training = {
        "loss": {"class_name": "SparseCategoricalCrossentropy", "config": loss | {"fn": loss["name"]}},
        "metrics": [[{"class_name": "MeanMetricWrapper", "config": accuracy}]],
        "weighted_metrics": None,
        "loss_weights": None,
        "optimizer_config": {"class_name": "Custom>Adam", "config": optimizer},
    }
    write_old(path, config, training, model)
    return model


def keras2_functional(path):
    a, b = keras.Input((4,), name="input_1"), keras.Input((4,), name="input_2")
    shared = layers.Dense(3, "relu", name="dense")
    both = layers.Concatenate(name="concatenate")([shared(a), shared(b)])
    model = fill(keras.Model([a, b], layers.Dense(2, name="dense_1")(both), name="model"))

    def start(name):
        config = {"batch_input_shape": [None, 4], "dtype": "float32", "sparse": False, "ragged": False, "name": name}
        return {"class_name": "InputLayer", "config": config, "name": name, "inbound_nodes": []}

    nodes = {
        "dense": [[["input_1", 0, 0, {}]], [["input_2", 0, 0, {}]]],
        "concatenate": [[["dense", 0, 0, {}], ["dense", 1, 0, {}]]],
        "dense_1": [[["concatenate", 0, 0, {}]]],
    }
    stack = [old_dense("dense", 3, "relu"), old_layer("Concatenate", "concatenate", axis=-1)]
    stack.append(old_dense("dense_1", 2, "linear"))
    inner = [layer | {"name": layer["config"]["name"]} for layer in stack]
    config = {
        "class_name": "Functional",
        "config": {
            "name": "model",
            "trainable": True,
            "layers": [start("input_1"), start("input_2"), *(x | {"inbound_nodes": nodes[x["name"]]} for x in inner)],
            "input_layers": [["input_1", 0, 0], ["input_2", 0, 0]],
            "output_layers": [["dense_1", 0, 0]],
        },
    }
    write_old(path, config, None, model)
    return model


def main():
    made = {
        "keras_cnn.keras": cnn(),
        "keras_mlp.h5": mlp(),
        "keras_sequence.keras": sequence(),
        "keras_functional.keras": functional(),
        "keras_functional.h5": functional(),
    }
    for name, model in made.items():
        model.save(DATA / name)
    made["keras_cnn.weights.h5"] = made["keras_cnn.keras"]
    made["keras_cnn.weights.h5"].save_weights(DATA / "keras_cnn.weights.h5")
    made["keras2_cnn.h5"] = keras2_cnn(DATA / "keras2_cnn.h5")
    made["keras2_functional.h5"] = keras2_functional(DATA / "keras2_functional.h5")
    expected = {}
    for name, model in made.items():
        integers = "int" in str(model.inputs[0].dtype)
        x = (
            [np.arange(3 * 7).reshape(3, 7) % 12]
            if integers
            else [wave((3, *t.shape[1:]), shift=5) for t in model.inputs]
        )
        y = model.predict(x if len(x) > 1 else x[0], verbose=0)
        outputs = [v.tolist() for v in (y if isinstance(y, list) else [y])]
        expected[name] = {"inputs": [v.shape for v in x], "integers": integers, "outputs": outputs}
        size = (DATA / name).stat().st_size
        print(f"{name}: {size} bytes")
        if size > LIMIT:
            sys.exit(f"{name} is larger than {LIMIT} bytes")
    (DATA / "keras_files.json").write_text(json.dumps(expected) + "\n")


if __name__ == "__main__":
    main()
