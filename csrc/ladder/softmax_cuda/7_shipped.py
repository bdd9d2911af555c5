# Rung 7: shipped. What `nnfast.ops.softmax` runs on a GPU.
# Idea:    the online pair and 16-byte loads, with a team of threads for each row whose size is chosen by the shape.
# Changed: rows are read twice, however long (csrc/cuda/softmax.cu); any axis and strides; logarithms, gradients.
# Removes: what the rungs below lose on few long rows and on many short ones.
from nnfast import ops


def softmax(x):
    return ops.softmax(x)
