"""Data movement: rows by index, joining, padding, conversions, arrays of one value."""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from nnfast import config, device
from nnfast.ops._op import Op, integer, sizes, snapshot, view
from nnfast.ops.status import current_status
from nnfast.tensor import Tensor, as_array, wrap

Shape = tuple[int | None, ...]


def _operand(name: str, x: Any) -> Any:
    return x if isinstance(x, Tensor) else as_array(x, name=name)


def _axis(name: str, axis: Any, ndim: int) -> int:
    axis = integer(name, "axis", axis)
    if not -ndim <= axis < ndim:
        raise IndexError(f"[{name}] axis is out of range. Received: axis={axis}, arrays of {ndim} dimensions")
    return axis % ndim


class TakeRows(Op):
    """y[i...] = scale * x[indices[i...]]"""

    name = "take_rows"

    def forward(self, k: Any, x: Any, indices: Any, dtype: Any, scale: float, status: Any) -> tuple[Any, Any]:
        try:
            y = k.take_rows(x, indices, dtype=dtype, scale=scale, status=status)
        except IndexError as e:
            raise IndexError(
                f"{e}: x has {x.shape[0]} rows. Received: x.shape={x.shape}, indices.shape={indices.shape}"
            ) from None
        return y, (indices, x.shape[0], x.dtype, scale)

    def gradient(self, dy: Any, saved: Any, needs: list[bool]) -> tuple[Any, ...]:
        indices, rows, dtype, scale = saved
        k = device.kernels
        dx = k.take_rows_gradient(dy, indices, rows, status=current_status())
        return (dx if scale == 1 and dx.dtype == dtype else k.cast(dx, dtype.name, scale)), None

    def output_shape(self, x: Any, indices: Any, *_: Any, **__: Any) -> Shape:
        return (*indices, *x[1:])


class Concat(Op):
    """Arrays one after another."""

    name = "concat"

    def forward(self, k: Any, *arrays: Any, axis: int) -> tuple[Any, Any]:
        return k.concat(list(arrays), axis), (axis % arrays[0].ndim, [a.shape[axis] for a in arrays])

    def gradient(self, dy: Any, saved: Any, needs: list[bool]) -> tuple[Any, ...]:
        axis, sizes = saved
        ends = list(itertools.accumulate(sizes))
        places = [(*(slice(None),) * axis, slice(end - size, end)) for size, end in zip(sizes, ends)]
        return tuple(dy[place] for place in places)

    def output_shape(self, *shapes: Any, axis: int) -> Shape:
        axis = _axis(self.name, axis, len(shapes[0]))
        sizes = [s[axis] for s in shapes]
        total = None if None in sizes else sum(sizes)
        return (*shapes[0][:axis], total, *shapes[0][axis + 1 :])


class Stack(Op):
    """Arrays side by side along a new axis."""

    name = "stack"

    def forward(self, k: Any, *arrays: Any, axis: int) -> tuple[Any, Any]:
        return k.concat([np.expand_dims(a, axis) for a in arrays], axis), axis

    def gradient(self, dy: Any, saved: Any, needs: list[bool]) -> tuple[Any, ...]:
        parts = np.moveaxis(dy, saved, 0)
        return tuple(parts[i, ...] for i in range(len(parts)))  # arrays, also where they have no dimensions

    def output_shape(self, *shapes: Any, axis: int) -> Shape:
        axis = _axis(self.name, axis, len(shapes[0]) + 1)
        return (*shapes[0][:axis], len(shapes), *shapes[0][axis:])


class Pad(Op):
    """x with cells of one value around it."""

    name = "pad"

    def forward(self, k: Any, x: Any, widths: Any, value: float) -> tuple[Any, Any]:
        return k.pad(x, widths, value), (x.shape, widths)

    def gradient(self, dy: Any, saved: Any, needs: list[bool]) -> tuple[Any, ...]:
        shape, widths = saved
        return (dy[tuple(slice(before, before + n) for n, (before, _) in zip(shape, widths))],)

    def output_shape(self, x: Any, widths: Any, value: float = 0.0) -> Shape:
        return tuple(None if n is None else n + before + after for n, (before, after) in zip(x, widths))


class Cast(Op):
    """x in another float dtype, times scale."""

    name = "cast"

    def forward(self, k: Any, x: Any, dtype: Any, scale: float) -> tuple[Any, Any]:
        return k.cast(x, dtype.name, scale), (x.dtype, scale)

    def gradient(self, dy: Any, saved: Any, needs: list[bool]) -> tuple[Any, ...]:
        dtype, scale = saved
        return (device.kernels.cast(dy, dtype.name, scale),)

    def output_shape(self, x: Any, *_: Any, **__: Any) -> Shape:
        return x


class Contiguous(Op):
    """x in C order."""

    name = "contiguous"

    def forward(self, k: Any, x: Any, copy: bool = False) -> tuple[Any, Any]:
        y = k.contiguous(x)
        return snapshot(k, y, copy and y is x), None

    def gradient(self, dy: Any, saved: Any, needs: list[bool]) -> tuple[Any, ...]:
        return (dy,)

    def output_shape(self, x: Any, copy: bool = False) -> Shape:
        return x


_take_rows, _concat, _stack, _pad, _cast, _contiguous = TakeRows(), Concat(), Stack(), Pad(), Cast(), Contiguous()


def take_rows(x: Any, indices: Any, *, dtype: Any = None, scale: float = 1.0, status: Any = None) -> Tensor:
    """scale * x[indices], converted to dtype in the same pass: a batch of samples, or the rows of an embedding.

    Args:
        x: (rows, ...) of any dtype.
        indices: integers of any dtype and shape, each in [0, rows).
        dtype: of the result. Default: that of x.
        scale: only where the result is a float, e.g. 1/255 for images of bytes.
        status: a status array to report a bad index to (`ops.use_status` sets the default). Default: raise.

    Returns:
        (*indices.shape, ...).

    Raises:
        IndexError: an index is out of range; the first one is named.

    >>> import numpy as np, nnfast
    >>> nnfast.ops.take_rows(np.array([[1.0, 2.0], [3.0, 4.0]]), [1, 1, 0]).tolist()
    [[3.0, 4.0], [3.0, 4.0], [1.0, 2.0]]
    """
    x, indices = _operand("take_rows", x), as_array(indices, name="take_rows")
    status = current_status() if status is None else status
    return _take_rows.apply(x, indices, dtype=dtype, scale=scale, status=status)


def concat(arrays: Sequence[Any], axis: int = -1) -> Tensor:
    """Arrays of one dtype one after another along axis; their other sizes are equal.

    >>> import numpy as np, nnfast
    >>> nnfast.ops.concat([np.ones((2, 1)), np.zeros((2, 2))], axis=1).tolist()
    [[1.0, 0.0, 0.0], [1.0, 0.0, 0.0]]
    """
    operands = [_operand("concat", a) for a in arrays]
    if not operands:
        raise ValueError("[concat] at least one array is needed. Received: none")
    return _concat.apply(*operands, axis=_axis("concat", axis, operands[0].ndim))


def concatenate(arrays: Sequence[Any], axis: int = 0) -> Tensor:
    """`concat` with Keras's and NumPy's default axis.

    >>> import nnfast
    >>> nnfast.ops.concatenate([[[1, 2]], [[3, 4]]]).tolist()
    [[1, 2], [3, 4]]
    """
    return concat(arrays, axis)


def stack(arrays: Sequence[Any], axis: int = 0) -> Tensor:
    """Arrays of one shape and dtype side by side along a new axis.

    >>> import numpy as np, nnfast
    >>> nnfast.ops.stack([np.zeros(3), np.ones(3)]).shape
    (2, 3)
    """
    operands = [_operand("stack", a) for a in arrays]
    if not operands:
        raise ValueError("[stack] at least one array is needed. Received: none")
    if any(a.shape != operands[0].shape for a in operands):
        raise ValueError(f"[stack] all arrays must have one shape. Received: {[a.shape for a in operands]}")
    return _stack.apply(*operands, axis=_axis("stack", axis, operands[0].ndim + 1))


def pad(x: Any, widths: Any, value: float = 0.0) -> Tensor:
    """x with cells of `value` around it.

    Args:
        x: of any dtype.
        widths: (before, after) for each axis, or one pair, or one number, for all axes.
        value: what the new cells hold.

    >>> import numpy as np, nnfast
    >>> nnfast.ops.pad(np.ones(2), [(1, 2)]).tolist()
    [0.0, 1.0, 1.0, 0.0, 0.0]
    """
    x = _operand("pad", x)
    try:
        pairs = np.broadcast_to(np.array(widths, object), (x.ndim, 2)).tolist()
    except ValueError:
        raise ValueError(
            f"[pad] widths must be (before, after) for each axis. Received: widths={widths!r}, x.shape={x.shape}"
        ) from None
    full_widths = [(integer("pad", "widths", before), integer("pad", "widths", after)) for before, after in pairs]
    if any(n >= 2**62 for pair in full_widths for n in pair):
        raise OverflowError(f"[pad] the result does not fit in memory. Received: widths={widths!r}")
    return _pad.apply(x, widths=full_widths, value=value)


def one_hot(indices: Any, classes: int, dtype: Any = None, *, status: Any = None) -> Tensor:
    """Rows with 1 at the index and 0 elsewhere.

    Args:
        indices: integers of any shape, each in [0, classes).
        classes: length of the rows.
        dtype: default `nnfast.config.floatx()`.
        status: as in `take_rows`.

    Returns:
        (*indices.shape, classes).

    >>> import nnfast
    >>> nnfast.ops.one_hot([2, 0], 3).tolist()
    [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]
    """
    status = current_status() if status is None else status
    indices = as_array(indices, name="one_hot")
    (classes,) = sizes("one_hot", integer("one_hot", "classes", classes))
    try:
        return wrap(device.kernels.one_hot(indices, classes, dtype or config.floatx(), status=status))
    except IndexError as e:
        raise IndexError(f"{e}. Received: classes={classes}, indices.shape={indices.shape}") from None


def cast(x: Any, dtype: Any, scale: float = 1.0) -> Tensor:
    """x in another dtype; a float result also times scale. Floats to integers truncate; anything but 0 is True.

    >>> import numpy as np, nnfast
    >>> nnfast.ops.cast(np.array([0, 255], "uint8"), "float32", 1 / 255).tolist()
    [0.0, 1.0]
    """
    x, dtype = _operand("cast", x), np.dtype(dtype)
    if dtype.kind != "f":  # nothing to differentiate
        return wrap(device.kernels.cast(getattr(x, "data", x) if isinstance(x, Tensor) else x, dtype.name, scale))
    if isinstance(x, Tensor) and x.dtype == dtype and scale == 1:
        return x
    return _cast.apply(x, dtype=dtype, scale=scale)


def contiguous(x: Any) -> Tensor:
    """x in C order; without a copy if it is already, unless it is a Variable, whose values change in place.

    >>> import numpy as np, nnfast
    >>> nnfast.ops.contiguous(np.ones((2, 3)).T).data.flags.c_contiguous
    True
    """
    return view(_contiguous, _operand("contiguous", x))


def full(shape: Any, value: float, dtype: Any = None) -> Tensor:
    """An array of one value. dtype: default `nnfast.config.floatx()`.

    >>> import nnfast
    >>> nnfast.ops.full((2,), 3).tolist()
    [3.0, 3.0]
    """
    return wrap(device.kernels.full(sizes("full", shape), dtype or config.floatx(), value))


def zeros(shape: Any, dtype: Any = None) -> Tensor:
    """An array of zeros. dtype: default `nnfast.config.floatx()`."""
    return full(shape, 0.0, dtype)


def ones(shape: Any, dtype: Any = None) -> Tensor:
    """An array of ones. dtype: default `nnfast.config.floatx()`."""
    return full(shape, 1.0, dtype)


def full_like(x: Any, value: float, dtype: Any = None) -> Tensor:
    """An array of one value with the shape and, if none is given, the dtype of x."""
    x = _operand("full_like", x)
    return full(x.shape, value, dtype or x.dtype)


def zeros_like(x: Any, dtype: Any = None) -> Tensor:
    """Zeros with the shape and, if none is given, the dtype of x."""
    return full_like(x, 0.0, dtype)


def ones_like(x: Any, dtype: Any = None) -> Tensor:
    """Ones with the shape and, if none is given, the dtype of x."""
    return full_like(x, 1.0, dtype)
