# Rung 4: shipped. What `nnfast.ops.softmax` runs.
# Idea:    three passes again: a row stays in the L1 cache, so a pass costs less than a second exp.
# Changed: three passes with one exp, and threads; sums in double, NaN by NumPy's rules (csrc/cpu/generic/softmax.cpp).
# Removes: the second exp, and all cores but one being idle.
from nnfast import ops


def softmax(x):
    return ops.softmax(x)
