"""Overfitting on 300 digits, and what is done about it: a smaller network, L2, dropout, more data."""

import matplotlib.pyplot as plt
import numpy as np
from common import digits, quick, save

from nnfast import layers, regularizers
from nnfast.models import Sequential

(x, y), (x_test, y_test) = digits()
x, x_test = x / 255, x_test / 255
few, epochs = slice(0, 300), 3 if quick else 60


def network(units=256, penalty=None, dropout=0.0):
    model = Sequential([layers.Flatten(input_shape=(28, 28))])
    for _ in range(2):
        model.add(layers.Dense(units, "relu", kernel_regularizer=penalty))
        model.add(layers.Dropout(dropout))
    model.add(layers.Dense(10, "softmax"))
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


for name, model, rows in (
    ("large", network(), few),
    ("small", network(units=12), few),
    ("L2", network(penalty=regularizers.L2(1e-3)), few),
    ("dropout", network(dropout=0.5), few),
    ("more data", network(), slice(0, 1000 if quick else 6000)),
):
    history = model.fit(
        x[rows], y[rows], epochs=max(1, epochs // (1 if rows is few else 10)), verbose=0,
        validation_data=(x_test, y_test),
    ).history  # fmt: skip
    (line,) = plt.plot(history["val_loss"], label=name)
    plt.plot(history["loss"], "--", color=line.get_color())
    right = history["val_accuracy"][-1]
    print(
        f"{name:9} training loss {history['loss'][-1]:.4f}, test loss {history['val_loss'][-1]:.4f}, right {right:.3f}"
    )
plt.xlabel("epoch (dashed: training)")
plt.ylim(0, 2)
plt.legend()
save("overfitting")

kept = layers.Dropout(0.4)(np.ones((1, 10), "float32"), training=True).numpy()[0]
print("dropout of 0.4 on ones (the rest is divided by 0.6):", kept.round(2))
layer = layers.Dense(
    units=64,
    kernel_regularizer=regularizers.L1L2(l1=1e-5, l2=1e-4),
    bias_regularizer=regularizers.L2(1e-4),
    activity_regularizer=regularizers.L2(1e-5),
)
layer(np.ones((5, 10), "float32"))
print("three penalties of a layer:", [round(v.item(), 6) for v in layer.losses])
