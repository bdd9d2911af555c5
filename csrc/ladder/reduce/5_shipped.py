# Rung 5: shipped. What `nnfast.ops.sum` runs.
# Idea:    the same pieces; the order of additions is the same on every instruction set.
# Changed: any axes and strides (csrc/cpu/reduce.cpp); and means, products, variances, extremes by the same loops.
# Removes: nothing more: reading memory is the limit.
from nnfast import ops


def reduce(x):
    return ops.sum(x)
