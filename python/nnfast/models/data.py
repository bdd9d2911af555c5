"""Where batches come from: arrays that kernels gather rows of, or anything that yields batches."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from nnfast import ops
from nnfast.tensor import Tensor, as_array

Batch = tuple[Any, Any, Any]  # x, y, sample_weight; the last two may be None


def unpack_x_y_sample_weight(data: Any) -> Batch:
    """(x,), (x, y) or (x, y, sample_weight), or x alone, as three."""
    if not isinstance(data, (tuple, list)):
        return data, None, None
    if not 1 <= len(data) <= 3:
        raise ValueError(f"[fit] a batch is (x,), (x, y) or (x, y, sample_weight). Received: {len(data)} parts")
    return (*data, *(None,) * (3 - len(data)))


class ArrayData:
    """Arrays cut into batches. The order is a permutation made by a kernel, and a kernel gathers the rows of a batch.

    Args:
        x, y, sample_weight: arrays with one row per sample; the last two may be None.
        batch_size: rows of a batch; the last one may have fewer.
        shuffle: a new order for each pass?
        x_dtype: what x is converted to while it is gathered; None keeps its dtype.
    """

    def __init__(
        self, name: str, x: Any, y: Any, sample_weight: Any, batch_size: int, shuffle: bool, x_dtype: str | None
    ):
        self.arrays = [
            None if v is None else _array(name, n, v)
            for n, v in zip(("x", "y", "sample_weight"), (x, y, sample_weight))
        ]
        first = self.arrays[0]
        assert first is not None
        self.rows = len(first)
        for label, a in zip(("y", "sample_weight"), self.arrays[1:]):
            if a is not None and len(a) != self.rows:
                raise ValueError(
                    f"[{name}] x and {label} must have one row per sample each. "
                    f"Received: x.shape={first.shape}, {label}.shape={a.shape}"
                )
        if not isinstance(batch_size, (int, np.integer)) or isinstance(batch_size, bool) or batch_size < 1:
            raise ValueError(f"[{name}] batch_size must be a positive integer. Received: {batch_size!r}")
        self.batch_size, self.shuffle, self.x_dtype = int(batch_size), shuffle, x_dtype
        self.steps: int | None = -(-self.rows // self.batch_size)
        self.order: np.ndarray | None = None

    def batches(self) -> Iterator[Batch]:
        """One pass over the data."""
        self.order = ops.permutation(self.rows).data if self.shuffle else np.arange(self.rows)
        for step in range(self.steps or 0):
            rows = self.rows_of(step)
            x, y, w = self.arrays
            yield (
                ops.take_rows(x, rows, dtype=self.x_dtype),
                None if y is None else ops.take_rows(y, rows),
                None if w is None else ops.take_rows(w, rows),
            )

    def rows_of(self, step: int) -> np.ndarray:
        """Which samples the batch of a step is made of."""
        assert self.order is not None
        return self.order[step * self.batch_size : (step + 1) * self.batch_size]


class IterableData:
    """A generator, an iterator, or an object with `__len__` and `__getitem__` (Keras's Sequence) that gives batches."""

    def __init__(self, name: str, source: Any, x_dtype: str | None):
        self.name, self.source, self.x_dtype = name, source, x_dtype
        self.indexed = hasattr(source, "__getitem__") and hasattr(source, "__len__")
        self.steps: int | None = len(source) if hasattr(source, "__len__") else None

    def batches(self) -> Iterator[Batch]:
        """One pass over the data. A generator goes on where it stopped."""
        if self.indexed:
            for i in range(len(self.source)):
                yield self._batch(self.source[i])
            if hasattr(self.source, "on_epoch_end"):
                self.source.on_epoch_end()
        else:
            for item in self.source:
                yield self._batch(item)

    def _batch(self, item: Any) -> Batch:
        x, y, w = unpack_x_y_sample_weight(item)
        x = x if isinstance(x, Tensor) else Tensor(as_array(x, name=self.name))
        if self.x_dtype is not None:
            x = ops.cast(x, self.x_dtype)
        return x, *(
            None if v is None else v if isinstance(v, Tensor) else Tensor(as_array(v, name=self.name)) for v in (y, w)
        )  # type: ignore[return-value]

    def rows_of(self, step: int) -> None:
        return None


def make_data(
    name: str,
    x: Any,
    y: Any = None,
    sample_weight: Any = None,
    batch_size: int | None = None,
    shuffle: bool = False,
    x_dtype: str | None = None,
) -> ArrayData | IterableData:
    """The right kind of data for what the user gave."""
    if _is_iterable(x):
        for label, v in (("y", y), ("sample_weight", sample_weight)):
            if v is not None:
                raise ValueError(
                    f"[{name}] where x is a generator or a Sequence, it yields {label} too. Received: {label}="
                )
        if batch_size is not None:
            raise ValueError(
                f"[{name}] a generator or a Sequence makes its own batches. Received: batch_size={batch_size}"
            )
        return IterableData(name, x, x_dtype)
    if x is None:
        raise ValueError(f"[{name}] x is missing")
    return ArrayData(name, x, y, sample_weight, 32 if batch_size is None else batch_size, shuffle, x_dtype)


def _is_iterable(x: Any) -> bool:
    if isinstance(x, (np.ndarray, Tensor, list, tuple, dict)) or hasattr(x, "__array__"):
        return False
    return hasattr(x, "__next__") or hasattr(x, "__iter__") or (hasattr(x, "__getitem__") and hasattr(x, "__len__"))


def _array(name: str, label: str, value: Any) -> np.ndarray:
    if isinstance(value, dict) or (isinstance(value, (list, tuple)) and value and hasattr(value[0], "shape")):
        raise ValueError(
            f"[{name}] {label} must be one array: models have one input and one output. "
            f"Received: a {type(value).__name__} of {len(value)}. For a list of samples use numpy.stack({label})"
        )
    a = as_array(value, name=name)
    if a.ndim == 0 or len(a) == 0:
        raise ValueError(f"[{name}] {label} must have at least one sample. Received: {label}.shape={a.shape}")
    return a
