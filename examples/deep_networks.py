"""Vanishing and exploding gradients in twelve layers, layer by layer, and the remedies: each on its own."""

import matplotlib.pyplot as plt
import numpy as np
from common import quick, save

import nnfast
from nnfast import layers
from nnfast.callbacks import GradientNorms
from nnfast.models import Sequential
from nnfast.optimizers import SGD, Adam

rng = np.random.default_rng(0)
x = rng.standard_normal((512, 10)).astype("float32")
y = (x[:, 0] * x[:, 1] > 0).astype("int32")


def train(activation="sigmoid", initializer="glorot_uniform", normal=False, optimizer=None):
    nnfast.utils.set_random_seed(0)
    model = Sequential([nnfast.Input((10,))])
    for i in range(12):
        model.add(layers.Dense(16, kernel_initializer=initializer, name=f"layer_{i + 1}"))
        if normal:
            model.add(layers.BatchNormalization())
        model.add(layers.Activation(activation))
    model.add(layers.Dense(2, activation="softmax", name="layer_13"))
    model.compile(optimizer or SGD(0.05), "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.check_finite = False
    norms = GradientNorms()
    history = model.fit(x, y, epochs=2 if quick else 40, verbose=0, callbacks=[norms])
    return history.history["loss"][-1], norms


for name, options in {
    "sigmoid: gradients vanish": {},
    "weights too large: gradients explode": {
        "activation": "relu", "initializer": nnfast.initializers.RandomNormal(stddev=1.0),
    },
    "  the same, gradients clipped": {
        "activation": "relu", "initializer": nnfast.initializers.RandomNormal(stddev=1.0),
        "optimizer": SGD(0.05, clipnorm=1.0),
    },
    "ReLU and He's weights": {"activation": "relu", "initializer": "he_normal"},
    "SELU and LeCun's weights": {"activation": "selu", "initializer": "lecun_normal"},
    "batch normalization": {"normal": True},
    "a faster optimizer: Adam": {"optimizer": Adam(0.01)},
}.items():  # fmt: skip
    with np.errstate(all="ignore"):
        loss, norms = train(**options)
    first = {layer: lengths[0] for layer, lengths in norms.norms.items() if layer.startswith("layer")}
    values = [first[f"layer_{i}"] for i in range(1, 14)]
    plt.semilogy(range(1, 14), values, label=name.strip())
    print(f"{name:38} gradient of layer 1: {values[0]:9.2g}, of layer 13: {values[-1]:9.2g}, loss {loss:.4f}")
plt.xlabel("layer")
plt.ylabel("length of the gradient, first step")
plt.legend(fontsize=7)
save("gradient_norms")
