# Rung 4: shipped. What `nnfast.ops.hard_sigmoid` runs.
# Idea:    the formula stands in csrc/elementwise_ops.inl in one line; loops for every layout are made from it.
# Changed: threads share the array; any strides and broadcasting.
# Removes: all cores but one being idle; one core alone cannot use all of the memory's bandwidth.
from nnfast import ops


def elementwise(x):
    return ops.hard_sigmoid(x)
