"""The functional interface: every op takes arrays or tensors and returns tensors. The only room that calls kernels."""

from nnfast.ops.linalg import dense
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
    "current_status",
    "dense",
    "new_status",
    "use_status",
]
