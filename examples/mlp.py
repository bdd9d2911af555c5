"""One layer of perceptrons (7,850 parameters) and an MLP (316,810) on digits, with validation."""

from common import digits, quick, save

import nnfast as keras
from nnfast.layers import Dense, Flatten
from nnfast.models import Sequential

(x_train, y_train), (x_valid, y_valid) = digits()
x_train, x_valid = x_train / 255.0, x_valid / 255.0
one_layer = Sequential([Flatten(input_shape=x_train.shape[1:]), Dense(units=10, activation="softmax")])
one_layer.summary()
mlp = Sequential(
    [
        Flatten(input_shape=x_train.shape[1:]),
        Dense(units=300, activation="relu"),
        Dense(units=200, activation="relu"),
        Dense(units=100, activation="relu"),
        Dense(units=10, activation="softmax"),
    ]
)
mlp.summary()
print(f"parameters: course 7,850 and 316,810, here {one_layer.count_params():,} and {mlp.count_params():,}")
trainings = {}
for name, model, optimizer in (
    ("one layer, 'sgd'", one_layer, "sgd"),
    ("MLP, SGD(0.01)", mlp, keras.optimizers.SGD(learning_rate=0.01)),
):
    model.compile(loss="sparse_categorical_crossentropy", optimizer=optimizer, metrics=["accuracy"])
    epochs = 1 if quick else 20
    train = trainings[name] = model.fit(x_train, y_train, epochs=epochs, validation_data=(x_valid, y_valid), verbose=0)
    print(f"{name}: {train.history['val_accuracy'][-1]:.4f} of the validation digits")
save("mlp_history", keras.plot.history(trainings))
