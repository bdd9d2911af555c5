# Rung 5: shipped. What `nnfast.ops.contiguous` runs for a transposed array.
# Idea:    the same squares, shared among the threads.
# Changed: any axes, strides and dtypes (csrc/cpu/movement.cpp).
# Removes: nothing more: moving the bytes is the limit.
from nnfast import ops


def transpose(x):
    return ops.contiguous(ops.transpose(x))
