"""A network of 2, 4 and 3 units: numbers of the notes, gradients by differences and backwards, and what each costs."""

import time

import numpy as np
from common import quick

import nnfast
from nnfast import ops

X, y, reg = np.array([[1.0, 2], [3, 4], [5, 6]]), np.array([2, 0, 1]), 1e-3


def initialize_parameters(nx, nh, no):
    np.random.seed(2)
    w1 = np.random.randn(nx, nh) * 0.01
    return [w1, np.zeros((1, nh)), np.random.randn(nh, no) * 0.01, np.zeros((1, no))]


def loss_of(x, labels, w1, b1, w2, b2):
    z2 = ops.matmul(ops.tanh(ops.matmul(x, w1) + b1), w2) + b2
    return ops.softmax_xent(z2, labels) + reg * (ops.sum(ops.square(w1)) + ops.sum(ops.square(w2)))


def backwards(x, labels, values):
    variables = [nnfast.Variable(v) for v in values]
    with nnfast.GradientTape() as tape:
        loss = loss_of(x, labels, *variables)
    return [g.numpy() for g in tape.gradient(loss, variables)]


def differences(x, labels, values, eps=1e-6, most=None):
    """(f(w + eps) - f(w - eps)) / 2 eps for each number; `most`: of the first so many of each array."""
    found = []
    for v in values:
        g = np.zeros_like(v)
        for at in list(np.ndindex(v.shape))[:most]:
            kept, ends = v[at], []
            for step in (eps, -eps):
                v[at] = kept + step
                ends.append(loss_of(x, labels, *values).item())
            v[at] = kept
            g[at] = (ends[0] - ends[1]) / (2 * eps)
        found.append(g)
    return found


values = initialize_parameters(2, 4, 3)
print("W1 =", values[0])
print("loss: course 1.098427770814438, here", loss_of(X, y, *values).item())
numerical, analytic = differences(X, y, values), backwards(X, y, values)
print("dW1[0]: course [ .0095681 -.0077328 .0037513 .0050651 ], here", analytic[0][0].round(7))
print("db2: course [ -.00014298 .00025054 -.00010756 ], here", analytic[3][0].round(8))
print("largest difference:", max(np.abs(a - b).max() for a, b in zip(numerical, analytic)))

losses = []
for _ in range(20 if quick else 100):
    losses.append(loss_of(X, y, *values).item())
    for v, g in zip(values, backwards(X, y, values)):
        v -= 0.5 * g
print(f"gradient descent: loss {losses[0]:.4f} to {losses[-1]:.4f}")

# MNIST's size: 784 to 100 to 10 and a batch of 500. The notes count 2 * 70,510 forwards; it is 2 * 79,510.
rng = np.random.default_rng(0)
big = [rng.standard_normal(s) * 0.01 for s in ((784, 100), (1, 100), (100, 10), (1, 10))]
count = sum(v.size for v in big)
images, labels = rng.random((500, 784)), rng.integers(0, 10, 500)
start = time.perf_counter()
backwards(images, labels, big)
back = time.perf_counter() - start
start = time.perf_counter()
differences(images, labels, big, most=2)
forwards = (time.perf_counter() - start) / (2 * sum(min(2, v.size) for v in big))
print(f"{count:,} parameters: {2 * count:,} forwards of {1e3 * forwards:.2f} ms are {2 * count * forwards:.0f} s; "
      f"backwards {1e3 * back:.2f} ms")  # fmt: skip
