"""Three arms of a spiral: softmax regression reaches 0.49, one hidden layer divides them. With decision boundaries."""

import matplotlib.pyplot as plt
import numpy as np
from common import quick, save

import nnfast
from nnfast import layers, ops
from nnfast.models import Sequential


def gen_spiral_dataset(n=100, classes=3):
    np.random.seed(0)
    x, y = np.zeros((n * classes, 2)), np.zeros(n * classes, dtype="uint8")
    for j in range(classes):
        r, t = np.linspace(0.0, 1, n), np.linspace(j * 4, (j + 1) * 4, n) + np.random.randn(n) * 0.2
        x[n * j : n * (j + 1)] = np.c_[r * np.sin(t), r * np.cos(t)]
        y[n * j : n * (j + 1)] = j
    return x, y


def boundary(x, y, classify, name):
    h = 0.02
    low, high = x.min(0) - 0.5, x.max(0) + 0.5
    xx, yy = np.meshgrid(np.arange(low[0], high[0], h), np.arange(low[1], high[1], h))
    plt.contourf(xx, yy, classify(np.c_[xx.ravel(), yy.ravel()]).reshape(xx.shape), cmap=plt.cm.Spectral, alpha=0.3)
    plt.scatter(x[:, 0], x[:, 1], c=y, s=40, cmap=plt.cm.Spectral)
    save(name)


X, y = gen_spiral_dataset()
ones = np.hstack([np.ones((len(X), 1)), X])  # a column of ones: the bias
alpha, reg, loss_history = 1.0, 1e-3, []
w = nnfast.Variable(np.zeros((3, 3)))
for i in range(200):
    with nnfast.GradientTape() as tape:
        loss = ops.softmax_xent(ops.matmul(ones, w), y) + reg * ops.sum(ops.square(w))
    gradient = tape.gradient(loss, w)
    loss_history.append(loss.item())
    if np.abs(gradient.numpy()).max() < 1e-8:
        print("gradient is small enough! iterated num is:", i)
        break
    w.assign_sub(alpha * gradient)
print("every tenth part of the losses:", np.round(loss_history[: -1 : len(loss_history) // 10], 4))
accuracy = (ops.argmax(ops.matmul(ones, w), axis=1).numpy() == y).mean()
print(f"softmax regression: loss course 0.796, here {loss_history[-1]:.4f}; accuracy course 0.49, here {accuracy:.4f}")
plt.plot(loss_history, color="r")
save("spiral_loss")
boundary(X, y, lambda p: np.argmax(np.c_[np.ones(len(p)), p] @ w.numpy(), axis=1), "spiral_linear")

model = Sequential([nnfast.Input((2,)), layers.Dense(64, "relu"), layers.Dense(3, "softmax")])
model.compile(nnfast.optimizers.Adam(0.05), "sparse_categorical_crossentropy", metrics=["accuracy"])
model.fit(X, y, epochs=10 if quick else 100, verbose=0)
print(f"one hidden layer: accuracy {model.evaluate(X, y, verbose=0)[1]:.4f}")
boundary(X, y, lambda p: model.predict(p, batch_size=4096, verbose=0).argmax(1), "spiral_mlp")
