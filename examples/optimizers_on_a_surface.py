"""The race of the optimizers on a valley with a bend, 100 steps each."""

import matplotlib.pyplot as plt
import numpy as np
from common import quick, save

import nnfast
from nnfast import optimizers


def valley(x, y):
    """Flat along x, steep along y, with a saddle at (0, 0)."""
    return 0.1 * x**4 - 0.5 * x**2 + 2.0 * y**2 + 0.4 * x * y


racers = {
    "SGD": optimizers.SGD(0.05),
    "momentum": optimizers.SGD(0.05, momentum=0.9),
    "nesterov": optimizers.SGD(0.05, momentum=0.9, nesterov=True),
    "Adagrad": optimizers.Adagrad(0.3),
    "Adadelta": optimizers.Adadelta(3.0),
    "RMSprop": optimizers.RMSprop(0.05),
    "Adam": optimizers.Adam(0.1),
    "Nadam": optimizers.Nadam(0.1),
    "Lion": optimizers.Lion(0.05),
}
x, y = np.meshgrid(np.linspace(-3, 3, 120), np.linspace(-2, 2, 120))
plt.figure(figsize=(8, 6))
plt.contour(x, y, valley(x, y), 40, cmap="Greys")
for name, optimizer in racers.items():
    at, path = nnfast.Variable([0.02, 1.8]), []
    for _ in range(20 if quick else 100):
        path.append(at.numpy())
        with nnfast.GradientTape() as tape:
            loss = valley(at[0], at[1])
        optimizer.apply([tape.gradient(loss, at)], [at])
    plt.plot(*np.array(path).T, label=name)
    print(f"{name:10} ends at {at.numpy().round(3)}, loss {valley(*at.numpy()):.4f}")
plt.legend()
save("optimizer_race")
