# Rung 4: shipped. What `nnfast.ops.softmax` runs.
# Idea:    three passes again: a row stays in the L1 cache, so a pass costs less than a second exp.
# Changed: csrc/cpu/generic/softmax.cpp; sums in double, NaN and infinities by NumPy's rules, any axis, threads.
# Removes: the second exp, and all cores but one being idle.
from nnfast import ops


def softmax(x):
    return ops.softmax(x)
