"""What stands for an input before there is data."""

from typing import Any


class SymbolicTensor:
    """The shape, dtype and name of an input. `Input` makes it; `Sequential` takes it as its first element."""

    def __init__(self, shape: tuple[int | None, ...], dtype: str, name: str):
        self.shape, self.dtype, self.name = shape, dtype, name

    @property
    def ndim(self) -> int:
        """Number of dimensions, the batch included."""
        return len(self.shape)

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        raise TypeError(f"[Input] {self.name!r} is a placeholder, it has no values. Received: it where data is needed")

    def __repr__(self) -> str:
        return f"<SymbolicTensor shape={self.shape}, dtype={self.dtype}, name={self.name}>"
