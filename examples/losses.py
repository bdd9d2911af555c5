"""The losses by number: squared errors, cross-entropies, hinge; where the course's print is wrong, both numbers."""

import numpy as np
from common import quick

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

# A linear classifier by hinge and an L2 penalty, which is a support vector machine: 3 or 8?
(x, y), (x_test, y_test) = nnfast.datasets.digits.load_data()


def pair(images, numbers):
    chosen = (numbers == 3) | (numbers == 8)
    return images[chosen].reshape(-1, 784) / 255, np.where(numbers[chosen] == 3, 1, -1)


model = nnfast.Sequential(
    [nnfast.Input((784,)), nnfast.layers.Dense(1, kernel_regularizer=nnfast.regularizers.L2(1e-3))]
)
model.compile("adam", "hinge")
data, sign = pair(x, y)
model.fit(data, sign, epochs=2 if quick else 20, verbose=0)
test, test_sign = pair(x_test, y_test)
right = (np.sign(model.predict(test, verbose=0)[:, 0]) == test_sign).mean()
print(f"3 or 8 by hinge: {right:.3f} of {len(test)} test digits")
try:
    from sklearn.svm import SVC
except ImportError:
    print("(scikit-learn's SVC is not installed)")
else:
    print(f"3 or 8 by scikit-learn's SVC: {SVC().fit(data, sign).score(test, test_sign):.3f}")
