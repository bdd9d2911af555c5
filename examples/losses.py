"""The losses by number: squared errors, cross-entropies, hinge; where the course's print is wrong, both numbers."""

import matplotlib.pyplot as plt
import numpy as np
from common import quick, save

import nnfast
from nnfast import losses, ops


def row(what, course, here):
    print(f"{what:42} course {course:>22}   here {here}")


for y, p, mse, bce in ((1.0, 0.9997, 9.0e-08, 0.000300045), (0.0, 0.1192, 0.01420864, 0.126924694)):
    t, q = np.array([y]), np.array([p])
    row(f"squared error of {p} for {y:g}", mse, losses.mean_squared_error(t, q).item())
    row(f"cross-entropy of {p} for {y:g}", bce, losses.binary_crossentropy(t, q).item())
probabilities = np.array([[0.09, 0.07, 0.08, 0.08, 0.09, 0.10, 0.10, 0.21, 0.10, 0.09]])
row("-ln 0.21 (the slide: 0.156)", 0.156, -np.log(probabilities[0, 7]))
F, labels = np.array([[0.2, 0.5, 0.3], [0.2, 0.6, 0.2]]), np.array([2, 1])
row("cross-entropy of two rows", 0.8573992140459634, losses.SparseCategoricalCrossentropy()(labels, F).item())
one_hot = np.eye(3)[labels]
summed = losses.CategoricalCrossentropy(reduction="sum")(one_hot, F).item()
row("  of one-hot rows: printed as a sum", summed, losses.CategoricalCrossentropy()(one_hot, F).item())
Z = np.array([[2.0, 25, 13], [54, 3, 11]])
row("from scores", 31.500003072148047, ops.softmax_xent(Z, labels).item())
row("  of probabilities clipped at 1e-7", "14.06 (Keras)", losses.sparse_categorical_crossentropy(
    labels, ops.softmax(Z).numpy()).numpy().mean())  # fmt: skip
outputs = np.array([0, 0.1, 0.4, 0.8, 0.5, 0.4, 0.3, 0.1, 0.1, 0.9])
row("sum of squares, target 4 (the text's copy: 1)", 2.14, float(np.sum((outputs - np.eye(10)[4]) ** 2)))
row("hinge of 0.3 for 1", 0.7, losses.hinge(np.array([1.0]), np.array([0.3])).item())

# What is steeper? Two costs of p = sigmoid(w2 tanh(w1 x)) over both weights (after Glorot and Bengio 2010, figure 5).
x = np.random.default_rng(0).normal(size=100)
w1, w2 = np.meshgrid(*2 * [np.linspace(-4, 4, 41)])
p = ops.sigmoid(w2.reshape(-1, 1) * np.tanh(w1.reshape(-1, 1) * x))
t = np.broadcast_to((x > 0) * 1.0, p.shape)
costs = {"cross-entropy": losses.binary_crossentropy(t, p), "squared error": losses.mean_squared_error(t, p)}
axes = plt.figure().add_subplot(projection="3d")
for (name, cost), color in zip(costs.items(), ("black", "red")):
    height = cost.numpy().reshape(w1.shape)
    axes.plot_wireframe(w1, w2, height, rcount=20, ccount=20, color=color, linewidth=0.6, label=name)
    steps = np.hypot(*np.gradient(height, 0.2))
    print(f"{name}: slope at most {steps.max():.2f}, at w1 = 4, w2 = -4, all wrong: {steps[0, -1]:.3f}")
axes.set(xlabel="$w_1$", ylabel="$w_2$")
axes.legend()
save("cross_entropy_and_squared_error")

# A linear classifier by hinge and an L2 penalty is a support vector machine. Without scikit-learn: 3 or 8?
try:
    from sklearn.datasets import load_breast_cancer
    from sklearn.svm import SVC
except ImportError:
    SVC = None

    def pair(images, numbers):
        chosen = (numbers == 3) | (numbers == 8)
        return images[chosen].reshape(-1, 784) / 255, np.where(numbers[chosen] == 3, 1, -1)

    (x, y), (x_test, y_test) = (pair(*part) for part in nnfast.datasets.digits.load_data())
    what = "3 or 8"
else:
    x, y = load_breast_cancer(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(x))
    x, y = x[order], np.where(y[order], 1, -1)
    x = (x - x[:400].mean(0)) / x[:400].std(0)
    x, x_test, y, y_test = x[:400], x[400:], y[:400], y[400:]
    what = "breast cancer, 569 x 30"

model = nnfast.Sequential(
    [nnfast.Input(x.shape[1:]), nnfast.layers.Dense(1, kernel_regularizer=nnfast.regularizers.L2(1e-3))]
)
model.compile(nnfast.optimizers.Adam(0.01), "hinge")
model.fit(x, y, epochs=2 if quick else 60, verbose=0)
right = (np.sign(model.predict(x_test, verbose=0)[:, 0]) == y_test).mean()
print(f"{what}: by hinge {right:.3f} of {len(x_test)} test rows")
if SVC is None:
    print("(scikit-learn's SVC is not installed)")
else:
    for kernel in ("linear", "rbf"):
        print(f"  by scikit-learn's SVC, {kernel}: {SVC(kernel=kernel).fit(x, y).score(x_test, y_test):.3f}")
