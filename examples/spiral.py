"""Three arms of a spiral: softmax regression reaches 0.49, one hidden layer divides them. With decision boundaries."""

import matplotlib.pyplot as plt
import numpy as np
from common import quick, save

import nnfast
from nnfast import datasets, layers, ops, plot
from nnfast.models import Sequential

X, y = datasets.spiral()
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
linear = plot.decision_boundary(lambda p: np.c_[np.ones(len(p)), p] @ w.numpy(), X, y)
save("spiral_linear", linear)

model = Sequential([nnfast.Input((2,)), layers.Dense(64, "relu"), layers.Dense(3, "softmax")])
model.compile(nnfast.optimizers.Adam(0.05), "sparse_categorical_crossentropy", metrics=["accuracy"])
model.fit(X, y, epochs=10 if quick else 100, verbose=0)
print(f"one hidden layer: accuracy {model.evaluate(X, y, verbose=0)[1]:.4f}")
save("spiral_mlp", plot.decision_boundary(model, X, y))
