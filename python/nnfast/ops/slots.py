"""How a captured step reaches arrays that change from replay to replay: through slots. See `nnfast.graph`."""

from typing import Any

import numpy as np

from nnfast import device
from nnfast.tensor import Tensor, Variable, wrap


def slot(array: Any) -> Any:
    """A place for an array with rows, in which this array is now. A replay binds another one: of one dtype and shape,
    but for the number of rows."""
    return device.kernels.Slot(array)


def next_rows(order: Any, cursor: Variable, n: int) -> Any:
    """Which rows a step takes: order[cursor], ..., order[cursor + n - 1], of a slot, as an array."""
    return device.kernels.next_rows(order, cursor.data, n)


def rows_of(source: Any, rows: Any, dtype: Any = None) -> Tensor:
    """These rows of a slot's array, converted to dtype.

    >>> import numpy as np, nnfast
    >>> data, order = nnfast.ops.slot(np.array([[1.0], [2.0], [3.0]])), nnfast.ops.slot(np.array([2, 0, 1]))
    >>> nnfast.ops.rows_of(data, nnfast.ops.next_rows(order, nnfast.ops.counter(1), 2)).tolist()
    [[1.0], [2.0]]
    """
    return wrap(device.kernels.take_rows(source, rows, dtype=dtype))


def put_rows(x: Tensor, target: Any, cursor: Variable) -> None:
    """Writes the rows of x into the rows cursor, cursor + 1, ... of a slot's array.

    >>> import numpy as np, nnfast
    >>> a = np.zeros(4)
    >>> nnfast.ops.put_rows(nnfast.tensor(np.array([1.0, 2.0])), nnfast.ops.slot(a), nnfast.ops.counter(1))
    >>> a.tolist()
    [0.0, 1.0, 2.0, 0.0]
    """
    device.kernels.put_rows(x.data, target, cursor.data)


def counter(start: int = 0) -> Variable:
    """A number that `ops.advance` counts up."""
    return Variable(np.array([start]), False, "int64", "counter")
