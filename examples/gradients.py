"""Derivatives by the tape, descent on curves and surfaces, and the slide's momentum loop with its bug."""

import matplotlib.pyplot as plt
import numpy as np
from common import save

import nnfast


def derivative(f, *at):
    v = [nnfast.Variable(float(a), dtype="float64") for a in at]
    with nnfast.GradientTape() as tape:
        y = f(*v)
    return y.item(), [g.item() for g in tape.gradient(y, v)]


x = 2.0
for text, f, formula in (
    ("(2x^3 + 3x^2) x^2", lambda v: (2.0 * v**3 + 3.0 * v**2) * v**2, 10 * x**4 + 12 * x**3),
    ("4 / (x + 1)", lambda v: 4.0 / (v + 1.0), -4 / (x + 1) ** 2),
    ("(2x^3 + x + 3)^7", lambda v: (2.0 * v**3 + v + 3.0) ** 7, 7 * (2 * x**3 + x + 3) ** 6 * (6 * x**2 + 1)),
):
    print(f"d/dx {text} at {x:g}: formula {formula:.6g}, tape {derivative(f, x)[1][0]:.6g}")
print("partials of x^2 + xy + y^2 at (3, -2): [4, -1] =", derivative(lambda x, y: x**2 + x * y + y**2, 3, -2)[1])

# f(x, y) = 7x^2 + y^2 + 2x + 2y: from (2, 2) down to (-1/7, -1)
bowl = lambda x, y: 7.0 * x * x + y * y + 2.0 * x + 2.0 * y  # noqa: E731
path = [np.array([2.0, 2.0])]
for _ in range(60):
    path.append(path[-1] - 0.1 * np.array(derivative(bowl, *path[-1])[1]))
path = np.array(path)
print("descent ends at", path[-1].round(4), "; the minimum is", [round(-1 / 7, 4), -1])
a, b = np.meshgrid(np.linspace(-2.5, 2.5, 80), np.linspace(-3, 3, 80))
plt.contour(a, b, bowl(a, b), 25)
plt.plot(*path.T, "o-k", markersize=3)
save("descent")


def loop(remember, momentum=0.9, learning_rate=0.05):
    """The slide's loop on w^2. As printed, past_velocity stays 0."""
    w, past_velocity, loss, steps = 2.0, 0.0, np.inf, 0
    while loss > 0.01:
        loss, (gradient,) = derivative(lambda v: v * v, w)
        velocity = past_velocity * momentum - learning_rate * gradient
        w = w + momentum * velocity - learning_rate * gradient
        past_velocity = velocity if remember else past_velocity
        steps += 1
    return steps


print(f"momentum loop: as printed {loop(False)} steps (it is plain descent), corrected {loop(True)}")
