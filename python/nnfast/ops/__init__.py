"""The functional interface: every op takes arrays or tensors and returns tensors. The only room that calls kernels."""

from nnfast.ops import random
from nnfast.ops.linalg import dense
from nnfast.ops.movement import (
    cast,
    concat,
    concatenate,
    contiguous,
    full,
    full_like,
    one_hot,
    ones,
    ones_like,
    pad,
    stack,
    take_rows,
    zeros,
    zeros_like,
)
from nnfast.ops.optimizer_steps import accumulate, adam, advance, check_finite, rmsprop, sgd
from nnfast.ops.random import dropout, permutation
from nnfast.ops.status import (
    BAD_INDEX,
    BAD_LABEL,
    BAD_LABEL_FLOAT,
    BAD_LABEL_ROW,
    NON_FINITE_LOSS,
    current_status,
    new_status,
    use_status,
)

__all__ = [
    "BAD_INDEX",
    "BAD_LABEL",
    "BAD_LABEL_FLOAT",
    "BAD_LABEL_ROW",
    "NON_FINITE_LOSS",
    "accumulate",
    "adam",
    "advance",
    "cast",
    "check_finite",
    "concat",
    "concatenate",
    "contiguous",
    "current_status",
    "dense",
    "dropout",
    "full",
    "full_like",
    "new_status",
    "one_hot",
    "ones",
    "ones_like",
    "pad",
    "permutation",
    "random",
    "rmsprop",
    "sgd",
    "stack",
    "take_rows",
    "use_status",
    "zeros",
    "zeros_like",
]
