"""A perceptron on four points: sign(X w), w += lr * X'(y - out) / N, until all signs are right. And the sigmoid."""

import matplotlib.pyplot as plt
import numpy as np
from common import save

from nnfast import ops

X = np.array([[1.0, 3, 3], [1, 4, 31], [1, 1, 1], [1, 0, 2]])  # the slide's matrix ends in [1, 0, 3], its code in this
y = np.array([[1.0], [1], [-1], [-1]])
print("with w = (0.61, -0.96, 0.02):", ops.sign(ops.dot(X, np.array([[0.61], [-0.96], [0.02]]))).numpy().ravel())

np.random.seed(0)
w = (np.random.random([3, 1]) - 0.5) * 2
updates, out = 0, ops.sign(ops.dot(X, w))
while (out.numpy() != y).any():
    w = w + 0.11 * ops.dot(X.T, y - out).numpy() / X.shape[0]
    out, updates = ops.sign(ops.dot(X, w)), updates + 1
print(f"updates until all are right: course 11, here {updates}; w = {w.ravel().round(3)}")

plt.scatter(X[:, 1], X[:, 2], c=y.ravel())
x1 = np.array([-0.5, 4.5])
plt.plot(x1, -(w[0] + w[1] * x1) / w[2])
save("perceptron")
z = np.arange(-7, 7, 0.1)
plt.plot(z, ops.sigmoid(z).numpy())
plt.axvline(0.0, color="k")
plt.xlabel("z")
plt.ylabel(r"$\phi(z)$")
save("sigmoid")
