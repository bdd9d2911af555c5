# Rung 8: shipped. What `nnfast.ops.contiguous` runs for a transposed array on a GPU.
# Idea:    the padded tile with four numbers a thread.
# Changed: any axes and strides (csrc/cuda/movement.cu); a walk over as many tiles as there are.
# Removes: nothing more: moving the bytes is the limit.
from nnfast import ops


def transpose(x):
    return ops.contiguous(ops.transpose(x))
