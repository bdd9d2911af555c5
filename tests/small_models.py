"""Small networks that every device can train in a moment."""

from nnfast import layers, models


def perceptron():
    return models.Sequential(
        [layers.Input((20,)), layers.Dense(16, "relu"), layers.Dropout(0.2), layers.Dense(4, "softmax")]
    )


def convolutional():
    return models.Sequential(
        [
            layers.Input((8, 8, 1)),
            layers.Conv2D(4, 3, activation="relu", padding="same"),
            layers.MaxPooling2D(),
            layers.BatchNormalization(),
            layers.Flatten(),
            layers.Dense(4, "softmax"),
        ]
    )


def recurrent():
    return models.Sequential([layers.Input((5, 4)), layers.LSTM(6), layers.Dense(4, "softmax")])
