# Rung 8: shipped. What `nnfast.ops.sum` runs on a GPU.
# Idea:    the same sums in registers, a tree in shared memory, and a second pass over the sums of the blocks.
# Changed: any axes and strides (csrc/cuda/reduce.cu); and means, products, variances, extremes by the same loops.
# Removes: nothing more: reading memory is the limit.
from nnfast import ops


def reduce(x):
    return ops.sum(x)
