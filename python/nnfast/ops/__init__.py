"""The functional interface: every op takes arrays or tensors and returns tensors. The only room that calls kernels."""

from nnfast.ops.linalg import dense

__all__ = ["dense"]
