"""Attaches operators and methods to Tensor, which itself knows no op."""

from typing import Any

import numpy as np

from nnfast import ops
from nnfast.ops import elementwise, linalg, shape
from nnfast.tensor import Tensor

_OPERANDS = (Tensor, np.ndarray, float, int, np.generic, list, tuple, complex)  # complex: for our error message


def _usable(other: Any) -> bool:
    return isinstance(other, _OPERANDS) or (
        hasattr(other, "__array__") and getattr(other, "__array_ufunc__", 0) is not None  # who refuses, has operators
    )


def _operator(f: Any) -> Any:
    def method(self: Tensor, other: Any) -> Any:
        return f(self, other) if isinstance(other, _OPERANDS) or _usable(other) else NotImplemented

    return method


def _reflected(f: Any) -> Any:
    def method(self: Tensor, other: Any) -> Any:
        return f(other, self) if _usable(other) else NotImplemented

    return method


for _name, _f in {
    "add": elementwise.add,
    "sub": elementwise.sub,
    "mul": elementwise.mul,
    "truediv": elementwise.div,
    "pow": elementwise.pow,
    "matmul": linalg.matmul,
}.items():
    setattr(Tensor, f"__{_name}__", _operator(_f))
    setattr(Tensor, f"__r{_name}__", _reflected(_f))
for _name, _f in {
    "eq": elementwise.equal,
    "ne": elementwise.not_equal,
    "lt": elementwise.less,
    "le": elementwise.less_equal,
    "gt": elementwise.greater,
    "ge": elementwise.greater_equal,
}.items():
    setattr(Tensor, f"__{_name}__", _operator(_f))


def _bitwise(f: Any, symbol: str) -> Any:
    def method(self: Tensor, other: Any) -> Any:
        if not _usable(other):
            return NotImplemented
        kinds = [getattr(getattr(x, "dtype", None), "kind", "b" if isinstance(x, bool) else "") for x in (self, other)]
        if kinds != ["b", "b"]:
            raise TypeError(
                f"[{symbol}] only bool tensors can be combined. Compare first, e.g. (x > 0) {symbol} (y > 0)"
            )
        return f(self, other)

    return method


for _name, _symbol, _f in (
    ("and", "&", elementwise.logical_and),
    ("or", "|", elementwise.logical_or),
    ("xor", "^", elementwise.logical_xor),
):
    setattr(Tensor, f"__{_name}__", _bitwise(_f, _symbol))
    setattr(Tensor, f"__r{_name}__", _bitwise(_f, _symbol))


def _invert(self: Tensor) -> Tensor:
    if self.dtype != np.bool_:
        raise TypeError(f"[~] only a bool tensor can be inverted. Received: {self.dtype}")
    return elementwise.logical_not(self)


def _reshape(self: Tensor, *sizes: Any) -> Tensor:
    """ops.reshape; the sizes may be given one by one."""
    return shape.reshape(self, sizes[0] if len(sizes) == 1 else sizes)


def _transpose(self: Tensor, *axes: Any) -> Tensor:
    """ops.transpose; the axes may be given one by one."""
    return shape.transpose(self, axes[0] if len(axes) == 1 and not isinstance(axes[0], int) else axes or None)


def _astype(self: Tensor, dtype: Any) -> Tensor:
    """ops.cast."""
    return ops.cast(self, dtype)


def _later(name: str) -> Any:
    """A method that is the op of this name, looked up when it is called."""

    def method(self: Tensor, *args: Any, **options: Any) -> Tensor:
        return getattr(ops, name)(self, *args, **options)

    method.__name__, method.__doc__ = name, f"ops.{name}."
    return method


for _name, _f in {
    "__neg__": elementwise.neg,
    "__abs__": elementwise.abs,
    "__invert__": _invert,
    "__getitem__": shape.get_item,
    "reshape": _reshape,
    "transpose": _transpose,
    "astype": _astype,
    "T": property(shape.transpose, doc="The axes in reverse order."),
    "flatten": shape.flatten,
    "squeeze": shape.squeeze,
    "swapaxes": shape.swapaxes,
    "abs": elementwise.abs,
    "clip": elementwise.clip,
    "exp": elementwise.exp,
    "log": elementwise.log,
    "sqrt": elementwise.sqrt,
    "square": elementwise.square,
    "relu": elementwise.relu,
    "sigmoid": elementwise.sigmoid,
    "tanh": elementwise.tanh,
    **{n: _later(n) for n in ("sum", "mean", "max", "min", "prod", "var", "argmax", "argmin")},
}.items():
    setattr(Tensor, _name, _f)
