"""The activation functions and their derivatives, which the tape computes; the softmax as written overflows."""

import matplotlib.pyplot as plt
import numpy as np
from common import save

import nnfast
from nnfast import ops

x = nnfast.Variable(np.linspace(-5, 5, 401))
maxout = lambda v: ops.maximum(0.5 * v + 1.0, -0.8 * v)  # noqa: E731  of two lines
gallery = {
    "sigmoid": ops.sigmoid,
    "tanh": ops.tanh,
    "ReLU": ops.relu,
    "Leaky ReLU, 0.1": lambda v: ops.leaky_relu(v, 0.1),
    "Leaky ReLU, 0.01": lambda v: ops.leaky_relu(v, 0.01),
    "ELU, 1": ops.elu,
    "Maxout of two lines": maxout,
    "softplus": ops.softplus,
    "GELU": ops.gelu,
}
figure, axes = plt.subplots(3, 3, figsize=(10, 8))
for axis, (name, f) in zip(axes.flat, gallery.items()):
    with nnfast.GradientTape() as tape:
        y = f(x)
        total = ops.sum(y)
    slope = tape.gradient(total, x).numpy()
    axis.plot(x.numpy(), y.numpy(), label="value")
    axis.plot(x.numpy(), slope, "--", label="derivative")
    axis.set_title(name)
    print(f"{name:20} range {y.numpy().min():6.2f} to {y.numpy().max():5.2f}, derivative up to {slope.max():.2f}")
axes[0, 0].legend()
save("activations")

scores = np.array([1000.0, 1001.0, 1002.0])
with np.errstate(all="ignore"):
    print("softmax as written:", np.exp(scores) / sum(np.exp(scores)))
print("softmax less the largest:", ops.softmax(scores).numpy())
