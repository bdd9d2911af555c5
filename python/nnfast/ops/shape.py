"""Other views of the same elements: reshape, transpose, slices. No element moves unless it must.

A view of a Variable is a copy: it keeps the values that it was made from when the Variable changes.
"""

import builtins
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from nnfast import device, graph
from nnfast.ops._op import Op, integer, several, sizes, snapshot, view
from nnfast.ops.movement import take_rows
from nnfast.tensor import Tensor, as_array

Shape = tuple[int | None, ...]


class Reshape(Op):
    """The same elements, in C order, in another shape."""

    name = "reshape"

    def forward(self, k: Any, x: Any, shape: tuple[int, ...], copy: bool = False) -> tuple[Any, Any]:
        return snapshot(k, _reshaped(k, x, shape), copy), x.shape

    def gradient(self, dy: Any, saved: Any, needs: list[bool]) -> tuple[Any, ...]:
        return (_reshaped(device.kernels, dy, saved),)

    def output_shape(self, x: Shape, shape: Any, copy: bool = False) -> Shape:
        return tuple(shape)


class Transpose(Op):
    """Axis i of the result is axis axes[i] of x."""

    name = "transpose"

    def forward(self, k: Any, x: Any, axes: tuple[int, ...], copy: bool = False) -> tuple[Any, Any]:
        return snapshot(k, x.transpose(axes), copy), axes

    def gradient(self, dy: Any, saved: Any, needs: list[bool]) -> tuple[Any, ...]:
        return (dy.transpose(np.argsort(saved).tolist()),)

    def output_shape(self, x: Shape, axes: Any, copy: bool = False) -> Shape:
        return tuple(x[i] for i in axes)


class BroadcastTo(Op):
    """x repeated along new axes and those of size 1."""

    name = "broadcast_to"

    def forward(self, k: Any, x: Any, shape: tuple[int, ...], copy: bool = False) -> tuple[Any, Any]:
        return snapshot(k, np.broadcast_to(x, shape), copy), x.shape

    def gradient(self, dy: Any, saved: Any, needs: list[bool]) -> tuple[Any, ...]:
        return (device.kernels.sum_to(dy, saved),)

    def output_shape(self, x: Shape, shape: Any, copy: bool = False) -> Shape:
        return tuple(shape)


class Slice(Op):
    """x[key] for numbers, slices, None and ..."""

    name = "slice"

    def forward(self, k: Any, x: Any, key: Any, copy: bool = False) -> tuple[Any, Any]:
        return snapshot(k, x[key], copy), (key, x.shape, x.dtype)

    def gradient(self, dy: Any, saved: Any, needs: list[bool]) -> tuple[Any, ...]:
        key, shape, dtype = saved
        k = device.kernels
        dx = k.full(shape, dtype, 0.0)
        k.copy(dy, dx[key])
        return (dx,)

    def output_shape(self, x: Shape, key: Any, copy: bool = False) -> Shape:
        return np.broadcast_to(0, [1 if n is None else n for n in x])[key].shape


_reshape, _transpose, _broadcast_to, _slice = Reshape(), Transpose(), BroadcastTo(), Slice()


def _reshaped(k: Any, x: Any, shape: tuple[int, ...]) -> Any:
    """x in another shape; its elements are copied only if their order in memory demands it."""
    if not x.flags.c_contiguous and [n for n in x.shape if n != 1] != [n for n in shape if n != 1]:
        x = k.contiguous(x)
    return x.reshape(shape)


def _operand(name: str, x: Any) -> Any:
    return x if isinstance(x, Tensor) else as_array(x, name=name)


def _axis(name: str, axis: Any, ndim: int, shape: Any) -> int:
    axis = integer(name, "axis", axis)
    if not -ndim <= axis < ndim:
        raise IndexError(f"[{name}] axis is out of range. Received: axis={axis}, x.shape={shape}")
    return axis % ndim


def reshape(x: Any, shape: Any) -> Tensor:
    """The same elements, in C order, in another shape.

    Args:
        x: any shape.
        shape: the new sizes; one of them may be -1: what is left.

    Raises:
        ValueError: the sizes do not fit.

    >>> import nnfast
    >>> nnfast.ops.reshape([1, 2, 3, 4], (2, -1)).tolist()
    [[1, 2], [3, 4]]
    """
    x = _operand("reshape", x)
    wanted = [integer("reshape", "each size of the shape", n) for n in several(shape)]
    others = math.prod(n for n in wanted if n != -1)
    fits = wanted.count(-1) <= 1 and all(n >= -1 for n in wanted)
    if fits and -1 in wanted:
        fits = others > 0 and x.size % others == 0
        if fits:
            wanted[wanted.index(-1)] = x.size // others
    elif fits:
        fits = others == x.size
    if not fits:
        raise ValueError(
            f"[reshape] {x.size} elements do not fit into the new shape. Received: x.shape={x.shape}, shape={shape}"
        )
    return view(_reshape, x, shape=tuple(wanted))


def flatten(x: Any) -> Tensor:
    """All elements in one dimension.

    >>> import nnfast
    >>> nnfast.ops.flatten([[1, 2], [3, 4]]).tolist()
    [1, 2, 3, 4]
    """
    return reshape(x, -1) if _operand("flatten", x).size else reshape(x, 0)


ravel = flatten


def squeeze(x: Any, axis: Any = None) -> Tensor:
    """Without the axes of size 1: all of them, or the ones that `axis` (a number or several) names.

    >>> import nnfast
    >>> nnfast.ops.squeeze([[[1], [2]]]).shape
    (2,)
    """
    x = _operand("squeeze", x)
    if axis is None:
        return view(_reshape, x, shape=tuple(n for n in x.shape if n != 1))
    axes = {_axis("squeeze", i, x.ndim, x.shape) for i in several(axis)}
    if any(x.shape[i] != 1 for i in axes):
        raise ValueError(f"[squeeze] only axes of size 1 can go. Received: axis={axis}, x.shape={x.shape}")
    return view(_reshape, x, shape=tuple(n for i, n in enumerate(x.shape) if i not in axes))


def expand_dims(x: Any, axis: Any) -> Tensor:
    """With new axes of size 1, at these places of the result.

    >>> import nnfast
    >>> nnfast.ops.expand_dims([1, 2], 0).shape
    (1, 2)
    """
    x = _operand("expand_dims", x)
    places = several(axis)
    ndim = x.ndim + len(places)
    axes = {_axis("expand_dims", i, ndim, x.shape) for i in places}
    if len(axes) != len(places):
        raise ValueError(f"[expand_dims] an axis is named twice. Received: axis={axis}, x.shape={x.shape}")
    sizes = iter(x.shape)
    return view(_reshape, x, shape=tuple(1 if i in axes else next(sizes) for i in range(ndim)))


def transpose(x: Any, axes: Sequence[int] | None = None) -> Tensor:
    """The axes in another order.

    Args:
        x: any shape.
        axes: axis i of the result is axis axes[i] of x. Default: the reverse order.

    >>> import nnfast
    >>> nnfast.ops.transpose([[1, 2], [3, 4]]).tolist()
    [[1, 3], [2, 4]]
    """
    x = _operand("transpose", x)
    order = (
        tuple(reversed(range(x.ndim)))
        if axes is None
        else tuple(_axis("transpose", i, x.ndim, x.shape) for i in several(axes))
    )
    if sorted(order) != list(range(x.ndim)):
        raise ValueError(f"[transpose] axes must name each axis once. Received: axes={axes}, x.shape={x.shape}")
    return view(_transpose, x, axes=order)


def swapaxes(x: Any, axis1: int, axis2: int) -> Tensor:
    """Two axes exchanged.

    >>> import nnfast
    >>> nnfast.ops.swapaxes([[[1, 2]]], 0, 2).shape
    (2, 1, 1)
    """
    x = _operand("swapaxes", x)
    order = list(range(x.ndim))
    i, j = (_axis("swapaxes", a, x.ndim, x.shape) for a in (axis1, axis2))
    order[i], order[j] = j, i
    return view(_transpose, x, axes=tuple(order))


def moveaxis(x: Any, source: int, destination: int) -> Tensor:
    """One axis moved to another place; the others keep their order.

    >>> import numpy as np, nnfast
    >>> nnfast.ops.moveaxis(np.zeros((2, 3, 4)), 0, -1).shape
    (3, 4, 2)
    """
    x = _operand("moveaxis", x)
    i, j = (_axis("moveaxis", a, x.ndim, x.shape) for a in (source, destination))
    order = [a for a in range(x.ndim) if a != i]
    order.insert(j, i)
    return view(_transpose, x, axes=tuple(order))


def broadcast_to(x: Any, shape: Any) -> Tensor:
    """x repeated along new axes (before the others) and along axes of size 1, without a copy.

    >>> import nnfast
    >>> nnfast.ops.broadcast_to([1, 2], (2, 2)).tolist()
    [[1, 2], [1, 2]]
    """
    x = _operand("broadcast_to", x)
    wanted = sizes("broadcast_to", shape)
    aligned = zip(reversed(x.shape), reversed(wanted))
    if len(wanted) < x.ndim or any(n not in (1, size) for n, size in aligned):
        raise ValueError(
            "[broadcast_to] aligned at the right, the sizes of x must be those of the shape, or 1. "
            f"Received: x.shape={x.shape}, shape={shape}"
        )
    return view(_broadcast_to, x, shape=wanted)


def slice(x: Any, start: Any, shape: Any) -> Tensor:
    """The block of this shape whose first element is x[start]: x[start[0] : start[0] + shape[0], ...], a view.

    Args:
        x: any shape and dtype.
        start: an index for each axis, from 0.
        shape: a size for each axis; the block must lie in x.

    Raises:
        ValueError: start or shape has not one number per axis, or a size is negative.
        IndexError: the block reaches out of x.

    >>> import nnfast
    >>> nnfast.ops.slice([[1, 2, 3], [4, 5, 6]], (0, 1), (2, 2)).tolist()
    [[2, 3], [5, 6]]
    """
    x = _operand("slice", x)
    first, wanted = [integer("slice", "start", i) for i in several(start)], sizes("slice", shape)
    if not len(first) == len(wanted) == x.ndim:
        raise ValueError(
            "[slice] start and shape must have one number per axis. "
            f"Received: start={start}, shape={shape}, x.shape={x.shape}"
        )
    if any(i < 0 or i + n > size for i, n, size in zip(first, wanted, x.shape)):
        raise IndexError(
            f"[slice] the block reaches out of x. Received: start={start}, shape={shape}, x.shape={x.shape}"
        )
    return view(_slice, x, key=(*(builtins.slice(i, i + n) for i, n in zip(first, wanted)), Ellipsis))


def get_item(x: Tensor, key: Any) -> Tensor:
    """x[key]: numbers, slices, None and ... give a view; arrays of integers or bools at the first axes pick rows.

    >>> import nnfast
    >>> x = nnfast.tensor([[1.0, 2.0], [3.0, 4.0]])
    >>> x[:, 0].tolist(), x[[1, 1]].tolist()
    ([1.0, 3.0], [[3.0, 4.0], [3.0, 4.0]])
    """
    keys = key if isinstance(key, tuple) else (key,)
    for k in keys:
        if k is not None and k is not Ellipsis and k.__class__ is not int and k.__class__ is not builtins.slice:
            break
    else:
        return _sliced(x, keys)
    keys = tuple([_plain(k) for k in keys])
    return _pick(x, keys) if any(isinstance(k, np.ndarray) for k in keys) else _sliced(x, keys)


def _sliced(x: Tensor, keys: tuple[Any, ...]) -> Tensor:
    if Ellipsis not in keys:
        keys = (*keys, Ellipsis)  # so that NumPy gives a view of a single element, too
    try:
        return view(_slice, x, key=keys)
    except (IndexError, OverflowError) as e:  # NumPy overflows at 2**63
        raise IndexError(f"[getitem] {e}. Received: x.shape={x.shape}") from None


def _plain(key: Any) -> Any:
    """A part of a key as a number, slice (NumPy checks what it holds), None, ... or array."""
    if isinstance(key, Tensor):
        graph.reading("an index")
    if key is None or key is Ellipsis or isinstance(key, builtins.slice):
        return key
    if isinstance(key, (int, np.integer)) and not isinstance(key, bool):
        return int(key)
    known = isinstance(key, (Tensor, np.ndarray, list, tuple, bool, np.bool_)) or device.foreign(key)
    a = device.host(as_array(key, name="getitem")) if known else None
    if a is not None and a.size == 0 and a.dtype.kind == "f":
        a = a.astype(np.int64)  # an empty list
    if a is None or a.dtype.kind not in "biu":
        what = type(key).__name__ if a is None else f"an array of {a.dtype}"
        raise TypeError(
            f"[getitem] an index must be an integer, a slice, None, ... or integers or bools. Received: {what}"
        )
    return int(a) if a.ndim == 0 and a.dtype.kind != "b" else a


def _pick(x: Tensor, keys: tuple[Any, ...]) -> Tensor:
    """Arrays of integers at the first axes: the rows of x, seen as (product of those axes, rest), are taken."""
    index: list[Any] = []
    rest: tuple[Any, ...] = ()
    for i, k in enumerate(keys):
        if isinstance(k, np.ndarray) and k.dtype == np.bool_:
            at = len(index)
            if k.ndim == 0 or k.shape != x.shape[at : at + k.ndim]:
                raise IndexError(
                    f"[getitem] a mask must have the sizes of the axes that it covers. Received: mask of {k.shape}, "
                    f"x.shape={x.shape}"
                )
            index.extend(np.nonzero(k))
        elif isinstance(k, (np.ndarray, int, np.integer)):
            index.append(np.asarray(k))
        else:
            rest = keys[i:]
            break
    if any(isinstance(k, np.ndarray) for k in rest) or not any(a.ndim for a in index):
        raise IndexError(
            "[getitem] arrays of indices must stand at the first axes. Use transpose() to bring them there"
        )
    if len(index) > x.ndim:
        raise IndexError(f"[getitem] too many indices. Received: {len(index)} for x.shape={x.shape}")
    flat: Any = 0
    for axis, a in enumerate(index):
        size = x.shape[axis]
        wrapped = np.where(a < 0, a.astype(np.int64) + size, a).astype(np.int64)
        bad = (wrapped < 0) | (wrapped >= size)
        if bad.any():
            raise IndexError(
                f"[getitem] index {a[bad].flat[0]} is out of range. Received: axis {axis} of x.shape={x.shape}"
            )
        flat = flat * size + wrapped
    n = len(index)
    rows = x if n == 1 else reshape(x, (math.prod(x.shape[:n]), *x.shape[n:]))
    y = take_rows(rows, flat)
    return _sliced(y, (*(builtins.slice(None),) * flat.ndim, *rest)) if rest else y
