"""Three small trainings, fixed to the last bit of their input: test_golden.py compares, tools/make_golden.py stores."""

import nnfast
from nnfast import layers, optimizers, regularizers
from nnfast.datasets import digits

STEPS, BATCH = 10, 32


def mlp():
    model = nnfast.Sequential(
        [nnfast.Input(shape=(28, 28)), layers.Flatten(), layers.Dense(64, "relu"), layers.Dense(10, "softmax")]
    )
    model.compile("rmsprop", "sparse_categorical_crossentropy")
    return model


def cnn():
    model = nnfast.Sequential(
        [
            nnfast.Input(shape=(28, 28)),
            layers.Reshape((28, 28, 1)),
            layers.Conv2D(8, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(16, 3, strides=2, activation="relu"),
            layers.AveragePooling2D(2),
            layers.Flatten(),
            layers.Dropout(0.1),
            layers.Dense(10, "softmax"),
        ]
    )
    model.compile(optimizers.Adam(0.02), "sparse_categorical_crossentropy")
    return model


def momentum():
    model = nnfast.Sequential(
        [
            nnfast.Input(shape=(28, 28)),
            layers.Flatten(),
            layers.Dense(32, "tanh", kernel_regularizer=regularizers.L2(1e-3)),
            layers.Dense(10, activity_regularizer=regularizers.L1(1e-5)),
        ]
    )
    loss = nnfast.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizers.SGD(0.05, momentum=0.9, nesterov=True), loss)
    return model


MODELS = {"mlp_rmsprop": mlp, "cnn_adam_dropout": cnn, "sgd_momentum_regularizer": momentum}


def train(name):
    """The loss of each of ten steps, before its update, and the weights in the end."""
    nnfast.utils.set_random_seed(11)
    (x, y), _ = digits.load_data()
    model = MODELS[name]()
    found = []
    for step in range(STEPS):
        rows = slice(step * BATCH, (step + 1) * BATCH)
        model.reset_metrics()
        found.append(model.train_on_batch((x[rows] / 255).astype("float32"), y[rows]))
    return found, model.get_weights()
