"""Parts of arrays, copies of them side by side, ranges: by Keras's names, each composed of ops that move data."""

import builtins
import itertools
from typing import Any

import numpy as np

from nnfast import config, device
from nnfast.ops._op import integer, several
from nnfast.ops.elementwise import not_equal
from nnfast.ops.movement import cast, take_rows
from nnfast.ops.reduce import axes_of, max, min
from nnfast.ops.shape import broadcast_to, get_item, moveaxis, reshape
from nnfast.tensor import Tensor, as_array


def convert_to_tensor(x: Any, dtype: Any = None) -> Tensor:
    """x as a Tensor; one that is a Tensor of this dtype (None: of any) is handed on, with its history.

    >>> import nnfast
    >>> nnfast.ops.convert_to_tensor([1, 2], "float32")
    Tensor([1., 2.], dtype=float32)
    """
    if not isinstance(x, Tensor):
        return Tensor(as_array(x, dtype, "convert_to_tensor"))
    if dtype is None or x.dtype == np.dtype(dtype):
        return x
    return cast(x, dtype)


def convert_to_numpy(x: Any) -> np.ndarray:
    """The values of x as a NumPy array of its own."""
    return device.host(as_array(x, name="convert_to_numpy")).copy()


def stop_gradient(variable: Any) -> Tensor:
    """The values of a tensor without its history: no gradient goes through.

    >>> import nnfast
    >>> x = nnfast.Variable([3.0])
    >>> with nnfast.GradientTape() as tape:
    ...     y = x * nnfast.ops.stop_gradient(x)
    >>> tape.gradient(y, x)
    Tensor([3.], dtype=float32)
    """
    return convert_to_tensor(variable).detach()


def arange(start: Any, stop: Any = None, step: Any = None, dtype: Any = None) -> Tensor:
    """start, start + step, ... below stop; with one argument 0, 1, ... below it. Integers are int64.

    >>> import nnfast
    >>> nnfast.ops.arange(3).tolist(), nnfast.ops.arange(1, 2, 0.5).tolist()
    ([0, 1, 2], [1.0, 1.5])
    """
    start, stop = (0, start) if stop is None else (start, stop)
    given = [v for v in (start, stop, step) if v is not None]
    if dtype is None:
        whole = builtins.all(isinstance(v, (int, np.integer)) for v in given)
        dtype = "int64" if whole else config.floatx()
    try:
        return Tensor(np.arange(start, stop, 1 if step is None else step).astype(dtype))
    except (TypeError, ValueError, ZeroDivisionError) as e:
        raise type(e)(f"[arange] {e}. Received: start={start!r}, stop={stop!r}, step={step!r}") from None


def eye(N: int, M: int | None = None, k: int = 0, dtype: Any = None) -> Tensor:
    """[N, M] with ones on the k-th diagonal; M is N by default.

    >>> import nnfast
    >>> nnfast.ops.eye(2).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    sizes = [integer("eye", name, n) for name, n in (("N", N), ("M", N if M is None else M), ("k", k))]
    return Tensor(np.eye(*sizes, dtype=np.dtype(dtype or config.floatx())))


def split(x: Any, indices_or_sections: Any, axis: int = 0) -> list[Tensor]:
    """x cut along an axis.

    Args:
        x: an array of any dtype.
        indices_or_sections: an integer: so many equal parts; a list: where to cut.
        axis: along which.

    Raises:
        ValueError: there are no such equal parts.

    >>> import nnfast
    >>> [p.tolist() for p in nnfast.ops.split([1, 2, 3, 4], 2)], [p.tolist() for p in nnfast.ops.split([1, 2, 3], [1])]
    ([[1, 2], [3, 4]], [[1], [2, 3]])
    """
    x = convert_to_tensor(x)
    (axis,) = axes_of("split", (axis,), x.ndim)
    n = x.shape[axis]
    if isinstance(indices_or_sections, (list, tuple, np.ndarray, Tensor)):
        cuts = [integer("split", "each index", i) for i in several(indices_or_sections)]
    else:
        parts = integer("split", "indices_or_sections", indices_or_sections)
        if parts < 1 or n % parts:
            raise ValueError(f"[split] axis {axis} has no {parts} equal parts. Received: x.shape={x.shape}")
        cuts = [i * n // parts for i in range(1, parts)]
    edges = [0, *cuts, n]
    before = (builtins.slice(None),) * axis
    return [get_item(x, (*before, builtins.slice(a, b))) for a, b in itertools.pairwise(edges)]


def take(x: Any, indices: Any, axis: int | None = None) -> Tensor:
    """The entries of x at some positions of an axis; negative ones count from its end. axis None: of x flattened.

    Raises:
        IndexError: a position is out of range.

    >>> import nnfast
    >>> nnfast.ops.take([[1, 2], [3, 4]], [1, 0, 1], axis=1).tolist()
    [[2, 1, 2], [4, 3, 4]]
    """
    x, at = convert_to_tensor(x), device.host(as_array(indices, name="take"))
    if axis is None:
        x, axis = reshape(x, (-1,)), 0
    (axis,) = axes_of("take", (axis,), x.ndim)
    rows = x.shape[axis]
    if at.dtype.kind == "i":
        at = np.where(at < 0, at + rows, at)
    if axis == 0:
        return take_rows(x, at)
    y = take_rows(moveaxis(x, axis, 0), at)
    for _ in range(at.ndim):
        y = moveaxis(y, 0, axis + at.ndim - 1)
    return y


def repeat(x: Any, repeats: Any, axis: int | None = None) -> Tensor:
    """Each entry along an axis so many times: one number for all, or one for each. axis None: of x flattened.

    >>> import nnfast
    >>> nnfast.ops.repeat([1, 2], 2).tolist(), nnfast.ops.repeat([[1, 2]], [1, 2], axis=1).tolist()
    ([1, 1, 2, 2], [[1, 2, 2]])
    """
    x = convert_to_tensor(x)
    if axis is None:
        x, axis = reshape(x, (-1,)), 0
    (axis,) = axes_of("repeat", (axis,), x.ndim)
    counts = [integer("repeat", "repeats", n) for n in several(repeats)]
    if builtins.min(counts, default=0) < 0 or len(counts) not in (1, x.shape[axis]):
        raise ValueError(
            f"[repeat] repeats must be one count, or one for each entry. Received: repeats={repeats!r}, axis {axis} of "
            f"x.shape={x.shape}"
        )
    return take(x, np.repeat(np.arange(x.shape[axis]), counts), axis)


def tile(x: Any, repeats: Any) -> Tensor:
    """The whole of x so many times along each axis; axes that only one of the two has are added in front.

    >>> import nnfast
    >>> nnfast.ops.tile([1, 2], (2, 2)).tolist()
    [[1, 2, 1, 2], [1, 2, 1, 2]]
    """
    x = convert_to_tensor(x)
    counts = [integer("tile", "repeats", n) for n in several(repeats)]
    ndim = builtins.max(x.ndim, len(counts))
    if builtins.min(counts, default=0) < 0:
        raise ValueError(f"[tile] repeats must not be negative. Received: repeats={repeats!r}")
    shape, counts = [1] * (ndim - x.ndim) + list(x.shape), [1] * (ndim - len(counts)) + counts
    pairs = [size for n, size in zip(counts, shape) for size in (n, size)]
    spaced = reshape(x, [size for n in shape for size in (1, n)])
    return reshape(broadcast_to(spaced, pairs), [n * size for n, size in zip(counts, shape)])


def flip(x: Any, axis: Any = None) -> Tensor:
    """x backwards along an axis, several, or all (None).

    >>> import nnfast
    >>> nnfast.ops.flip([1, 2, 3]).tolist()
    [3, 2, 1]
    """
    x = convert_to_tensor(x)
    axes = axes_of("flip", axis, x.ndim)
    return get_item(x, tuple(builtins.slice(None, None, -1 if i in axes else None) for i in range(x.ndim)))


def _truth(x: Any) -> Tensor:
    a = convert_to_tensor(x)
    return a if a.dtype.kind == "b" else not_equal(a, np.zeros((), a.dtype))


def any(x: Any, axis: Any = None, keepdims: bool = False) -> Tensor:
    """Is one of the entries along some axes (None: all) not 0?

    >>> import nnfast
    >>> nnfast.ops.any([[0, 1], [0, 0]], axis=1).tolist()
    [True, False]
    """
    return max(_truth(x), axis=axis, keepdims=keepdims)


def all(x: Any, axis: Any = None, keepdims: bool = False) -> Tensor:
    """Are all entries along some axes (None: all) not 0?

    >>> import nnfast
    >>> nnfast.ops.all([[0, 1], [1, 1]], axis=1).tolist()
    [False, True]
    """
    return min(_truth(x), axis=axis, keepdims=keepdims)
