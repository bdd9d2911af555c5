"""The activation functions and their derivatives, which the tape computes; the softmax as written overflows."""

import numpy as np
from common import save

from nnfast import ops, plot

gallery = {
    "sigmoid": ops.sigmoid,
    "tanh": ops.tanh,
    "ReLU": ops.relu,
    "Leaky ReLU, 0.1": lambda v: ops.leaky_relu(v, 0.1),
    "Leaky ReLU, 0.01": lambda v: ops.leaky_relu(v, 0.01),
    "ELU, 1": ops.elu,
    "Maxout of two lines": lambda v: ops.maximum(0.5 * v + 1.0, -0.8 * v),
    "softplus": ops.softplus,
    "GELU": ops.gelu,
}
figure = plot.activations(gallery)
for axes in figure.axes:
    value, slope = (line.get_ydata() for line in axes.lines)
    print(f"{axes.get_title():20} range {value.min():6.2f} to {value.max():5.2f}, derivative up to {slope.max():.2f}")
save("activations", figure)

scores = np.array([1000.0, 1001.0, 1002.0])
with np.errstate(all="ignore"):
    print("softmax as written:", np.exp(scores) / sum(np.exp(scores)))
print("softmax less the largest:", ops.softmax(scores).numpy())
