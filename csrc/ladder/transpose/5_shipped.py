# Rung 5: shipped. What `nnfast.ops.contiguous` runs for a transposed array.
# Idea:    the same squares, shared among the threads.
# Changed: any axes, strides and dtypes (csrc/cpu/movement.cpp).
# Removes: what the rungs below lose on other dtypes and layouts. Rows a power of two apart still share cache places.
from nnfast import ops


def transpose(x):
    return ops.contiguous(ops.transpose(x))
