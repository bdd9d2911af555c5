# Rung 0: Python loop. One number at a time, as a class writes its first naive_relu.
# Idea:    y[i] depends on x[i] alone.
# Changed: nothing yet: this is where we begin.
# Removes: every doubt about what the rungs above compute.
import numpy as np


def elementwise(x):
    y = np.zeros(len(x), "float32")
    for i in range(len(x)):
        y[i] = min(max(x[i] / 6 + 0.5, 0), 1)
    return y
