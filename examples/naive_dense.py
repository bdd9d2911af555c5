"""The first network from scratch: NaiveDense, NaiveSequential and BatchGenerator over a tape and nothing else."""

import numpy as np
from common import digits, quick

import nnfast
from nnfast import ops


class NaiveDense:
    def __init__(self, inputs, outputs, activation):
        self.activation = activation
        self.W = nnfast.Variable(np.random.uniform(0, 0.1, (inputs, outputs)).astype("float32"))
        self.b = nnfast.Variable(np.zeros(outputs, "float32"))

    def __call__(self, x):
        return self.activation(ops.matmul(x, self.W) + self.b)

    @property
    def weights(self):
        return [self.W, self.b]


class NaiveSequential:
    def __init__(self, layers):
        self.layers = layers

    def __call__(self, x):
        for layer in self.layers:
            x = layer(x)
        return x

    @property
    def weights(self):
        return [w for layer in self.layers for w in layer.weights]


class BatchGenerator:
    def __init__(self, images, labels, batch_size=128):
        self.images, self.labels, self.batch_size, self.index = images, labels, batch_size, 0
        self.num_batches = -(-len(images) // batch_size)

    def next(self):
        rows = slice(self.index, self.index + self.batch_size)
        self.index += self.batch_size
        return self.images[rows], self.labels[rows]


def one_training_step(model, images, labels, learning_rate=0.5):
    with nnfast.GradientTape() as tape:
        loss = ops.mean(nnfast.losses.sparse_categorical_crossentropy(labels, model(images)))
    for w, g in zip(model.weights, tape.gradient(loss, model.weights)):
        w.assign_sub(learning_rate * g)
    return loss.item()


(x, y), (x_test, y_test) = digits()
x, x_test = (v.reshape(len(v), 784).astype("float32") / 255 for v in (x, x_test))
model = NaiveSequential([NaiveDense(784, 512, ops.relu), NaiveDense(512, 10, ops.softmax)])
for epoch in range(1 if quick else 10):
    batches = BatchGenerator(x, y)
    for counter in range(batches.num_batches):
        loss = one_training_step(model, *batches.next())
        if counter % 100 == 0:
            print(f"epoch {epoch}, loss at batch {counter}: {loss:.2f}")
right = ops.argmax(model(x_test), axis=1).numpy() == y_test
print(f"accuracy: {right.mean():.3f}")
