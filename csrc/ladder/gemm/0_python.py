# Rung 0: Python loop. The formula of a matrix product, as a class writes it first.
# Idea:    c[i, j] is the sum of a[i, k] * b[k, j] over k.
# Changed: nothing yet: this is where we begin.
# Removes: every doubt about what the rungs above compute.
import numpy as np


def gemm(a, b):
    rows, inner = a.shape
    columns = b.shape[1]
    c = np.zeros((rows, columns), "float32")
    for i in range(rows):
        for j in range(columns):
            total = 0.0
            for k in range(inner):
                total += a[i, k] * b[k, j]
            c[i, j] = total
    return c
