"""The learning-rate finder, and what a rate too small, too large, found, and cyclical does."""

from common import digits, quick, save

from nnfast import layers, plot
from nnfast.callbacks import CyclicalLR, LRFinder
from nnfast.models import Sequential
from nnfast.optimizers import SGD

(x, y), _ = digits()
x, y = (x[:1000], y[:1000]) if quick else (x[:6000], y[:6000])
x = x / 255


def network(rate):
    model = Sequential([layers.Flatten(input_shape=(28, 28)), layers.Dense(64, "relu"), layers.Dense(10, "softmax")])
    model.compile(SGD(rate), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


finder = LRFinder(1e-4, 100.0)
network(0.01).fit(x, y, epochs=2, batch_size=32, verbose=0, callbacks=[finder])
found = finder.suggestion()
print(f"suggested learning rate: {found:.3g}")
save("lr_finder", plot.lr_finder(finder))
for name, rate, callbacks in (
    ("too small", found / 300, []),
    ("found", found, []),
    ("cyclical", found, [CyclicalLR(found / 10, found, step_size=50)]),
):
    loss = network(rate).fit(x, y, epochs=2 if quick else 5, verbose=0, callbacks=callbacks).history["loss"]
    print(f"{name:10} {rate:8.3g}: losses {[round(v, 3) for v in loss]}")
for batch_size in (len(x), 32, 1):
    model = network(0.01)
    part = x[: 64 if quick else 512] if batch_size == 1 else x
    model.fit(part, y[: len(part)], batch_size=batch_size, epochs=1, verbose=0)
    print(f"batch_size {batch_size}: {int(model.optimizer.iterations)} steps for {len(part)} samples")
