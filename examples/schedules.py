"""Learning-rate schedules: what each does over 20 epochs, and how a network ends with it."""

import matplotlib.pyplot as plt
from common import digits, quick, save

from nnfast import layers
from nnfast.callbacks import Callback, LearningRateScheduler, ReduceLROnPlateau
from nnfast.models import Sequential
from nnfast.optimizers import SGD
from nnfast.optimizers import schedules as s

(x, y), (x_test, y_test) = digits()
count = 1000 if quick else 6000
x, y, x_test = x[:count] / 255, y[:count], x_test / 255
epochs = 2 if quick else 20
steps = epochs * -(-len(x) // 32)


class Watch(Callback):
    """The learning rate of each step."""

    def on_train_begin(self, logs=None):
        self.rates = []

    def on_train_batch_end(self, batch, logs=None):
        self.rates.append(float(self.model.optimizer.learning_rate))


for name, rate, callbacks in (
    ("constant", 0.1, []),
    ("exponential", s.ExponentialDecay(0.3, steps // 5 or 1, 0.6), []),
    ("cosine", s.CosineDecay(0.3, steps), []),
    ("steps", s.PiecewiseConstantDecay([steps // 2, steps * 3 // 4], [0.3, 0.03, 0.003]), []),
    ("by epoch", 0.3, [LearningRateScheduler(lambda epoch, lr: 0.3 / (1 + epoch))]),
    ("on a plateau", 0.3, [ReduceLROnPlateau(monitor="loss", patience=1, factor=0.3)]),
):
    model = Sequential([layers.Flatten(input_shape=(28, 28)), layers.Dense(64, "relu"), layers.Dense(10, "softmax")])
    model.compile(SGD(rate), "sparse_categorical_crossentropy", metrics=["accuracy"])
    watch = Watch()
    model.fit(x, y, epochs=epochs, verbose=0, callbacks=[*callbacks, watch])
    plt.plot(watch.rates, label=name)
    print(
        f"{name:13} ends at a rate of {watch.rates[-1]:.4f}, {model.evaluate(x_test, y_test, verbose=0)[1]:.4f} right"
    )
plt.xlabel("step")
plt.ylabel("learning rate")
plt.legend()
save("schedules")
