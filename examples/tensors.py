"""Tensor operations: loops, broadcasting and products; how long a loop in Python takes, and a kernel."""

import time

import matplotlib.pyplot as plt
import numpy as np
from common import quick, save

import nnfast
from nnfast import ops

print("16 =", (nnfast.tensor([2.0, 3.0]) @ [2.0, 4.0]).item())
print("[17 14] =", ops.matmul(np.array([1.0, 3, 2]), np.array([[1.0, 0], [2, 4], [5, 1]])).numpy())
left, right = np.array([[2.0, 5, 1], [4, 3, 1]]), np.array([[1.0, 0, 0], [0, 2, 0], [2, 3, 1]])
print("[[4 13 1] [6 9 1]] =", ops.matmul(left, right).tolist())
print("[[19 22] [43 50]] =", ops.matmul(np.array([[1.0, 2], [3, 4]]), np.array([[5.0, 6], [7, 8]])).tolist())
try:
    ops.matmul(left, left)
except ValueError as error:
    print("sizes that do not fit:", error)


def naive_relu(x):
    x = x.copy()
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            x[i, j] = max(x[i, j], 0)
    return x


def naive_dot(a, b):
    y = np.zeros((a.shape[0], b.shape[1]))
    for i in range(a.shape[0]):
        for j in range(b.shape[1]):
            for k in range(a.shape[1]):
                y[i, j] += a[i, k] * b[k, j]
    return y


n = 40 if quick else 120
a, b = np.random.default_rng(0).standard_normal((2, n, n)).astype("float32")
print(f"{n} x {n}, milliseconds:")
for name, contenders in {
    "relu": {"loops": lambda: naive_relu(a), "NumPy": lambda: np.maximum(a, 0), "nnfast": lambda: ops.relu(a)},
    "dot": {"loops": lambda: naive_dot(a, b), "NumPy (BLAS)": lambda: a @ b, "nnfast": lambda: ops.matmul(a, b)},
}.items():
    for contender, f in contenders.items():
        np.testing.assert_allclose(
            f(), contenders["NumPy" if name == "relu" else "NumPy (BLAS)"](), rtol=1e-3, atol=1e-3
        )
        times = []
        for _ in range(3):
            start = time.perf_counter()
            f()
            times.append(time.perf_counter() - start)
        print(f"  {name:5} {contender:13} {1e3 * min(times):10.3f}")

# Geometry: turn, stretch, shift. Affine maps after one another are one affine map, so layers need activations.
square = np.array([[0.0, 0], [1, 0], [1, 1], [0, 1], [0, 0]])
angle = np.pi / 6
turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
stretch, shift = np.diag([2.0, 0.5]), np.array([1.0, 1.0])
turned = ops.matmul(square, turn.T)
both = ops.matmul(turned, stretch.T) + shift
np.testing.assert_allclose(both, square @ (stretch @ turn).T + shift)
for points, label in ((square, "square"), (turned, "turned"), (both, "stretched and shifted")):
    plt.plot(*np.asarray(points).T, label=label)
plt.axis("equal")
plt.legend()
save("geometry")
