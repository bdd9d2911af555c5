"""Where batches come from: arrays that kernels gather rows of, or anything that yields batches."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from nnfast import device, ops
from nnfast.layers.layer import NUMPY_ON_TENSORS
from nnfast.layers.nested import flatten, pack
from nnfast.tensor import Tensor, as_array

Batch = tuple[Any, Any, Any]  # x, y, sample_weight, each a tensor or a structure of them; the last two may be None
Dtypes = Callable[[Any], list[str | None]]


def unpack_x_y_sample_weight(data: Any) -> Batch:
    """(x,), (x, y) or (x, y, sample_weight), or x alone, as three."""
    if not isinstance(data, (tuple, list)):
        return data, None, None
    if not 1 <= len(data) <= 3:
        raise ValueError(f"[fit] a batch is (x,), (x, y) or (x, y, sample_weight). Received: {len(data)} parts")
    return (*data, *(None,) * (3 - len(data)))


def pack_x_y_sample_weight(x: Any, y: Any = None, sample_weight: Any = None) -> Any:
    """A batch as `train_step` and its like are given it, which is how Keras gives it: x alone, (x, y), or
    (x, y, sample_weight). A list or tuple of inputs alone is (x,)."""
    if sample_weight is not None:
        return x, y, sample_weight
    if y is not None:
        return x, y
    return (x,) if isinstance(x, (tuple, list)) else x


class ArrayData:
    """Arrays cut into batches. The order is a permutation made by a kernel, and a kernel gathers the rows of a batch.

    Args:
        x, y, sample_weight: arrays with one row per sample, or structures (lists, dicts) of them, as batches will
            be; the last two may be None.
        batch_size: rows of a batch; the last one may have fewer.
        shuffle: a new order for each pass?
        x_dtypes: x_dtypes(x) says what each leaf of x is converted to while it is gathered; None keeps its dtype.
    """

    def __init__(self, name: str, x: Any, y: Any, sample_weight: Any, batch_size: int, shuffle: bool, x_dtypes: Dtypes):
        self.parts: list[Any] = []  # the structure of x, y and sample_weight
        self.arrays: list[list[Any]] = []  # their leaves
        labels = ("x", "y", "sample_weight")
        for label, value in zip(labels, (x, y, sample_weight)):
            structure, leaves = _leaves(name, label, value, _array)
            self.parts.append(structure)
            self.arrays.append(leaves)
        dtypes = x_dtypes(self.parts[0])
        first = self.arrays[0][0]
        self.rows = len(first)
        for label, leaves in zip(labels, self.arrays):
            for a in leaves:
                if a is not None and len(a) != self.rows:
                    whose = "x and " + label if label != "x" else "all inputs"
                    several = next((k for k, v in zip(labels, self.arrays) if len(v) > 1), None)
                    fix = f". For a list of samples use numpy.stack({several})" if several else ""
                    raise ValueError(
                        f"[{name}] {whose} must have one row per sample each. "
                        f"Received: x.shape={first.shape}, {label}.shape={a.shape}{fix}"
                    )
        if not isinstance(batch_size, (int, np.integer)) or isinstance(batch_size, bool) or batch_size < 1:
            raise ValueError(f"[{name}] batch_size must be a positive integer. Received: {batch_size!r}")
        none: list[str | None] = [None]
        self.dtypes = [dtypes, none * len(self.arrays[1]), none * len(self.arrays[2])]
        self.batch_size, self.shuffle = int(batch_size), shuffle
        self.steps: int | None = -(-self.rows // self.batch_size)
        self.order: np.ndarray | None = None
        self.order_there: Any = None  # where the device computes
        self._there: list[list[Any]] | None = None

    @property
    def there(self) -> list[list[Any]]:
        """The arrays where the device computes; copied to the GPU once."""
        if self._there is None:
            self._there = [[None if a is None else device.put(a) for a in leaves] for leaves in self.arrays]
        return self._there

    def begin(self) -> None:
        """Begins a pass over the data: a new order, if it is to be shuffled."""
        self.order_there = ops.permutation(self.rows).data if self.shuffle else device.put(np.arange(self.rows))
        self.order = device.host(self.order_there)

    def rows_of(self, step: int) -> np.ndarray:
        """Which samples the batch of a step is made of."""
        assert self.order is not None
        return self.order[step * self.batch_size : (step + 1) * self.batch_size]


class Pending:
    """A batch of an ArrayData, not yet gathered: the one of this number in its pass; or all of it, which came alone."""

    def __init__(self, data: ArrayData, at: int, alone: bool = False):
        self.data, self.at, self.alone = data, at, alone
        self.start = at * data.batch_size
        self.rows = min(data.batch_size, data.rows - self.start)

    @property
    def alike(self) -> int:
        """How many batches from this one on have as many rows."""
        return max(1, self.data.rows // self.data.batch_size - self.at)

    def later(self, n: int) -> "Pending":
        """The n-th batch after this one."""
        return Pending(self.data, self.at + n)

    def gather(self) -> Batch:
        """x, y and sample_weight."""
        data, rows = self.data, self.data.rows_of(self.at)
        x, y, w = (
            pack(part, [None if a is None else ops.take_rows(a, rows, dtype=d) for a, d in zip(leaves, dtypes)])
            for part, leaves, dtypes in zip(data.parts, data.there, data.dtypes)
        )
        return x, y, w


class IterableData:
    """A generator, an iterator, or an object with `__len__` and `__getitem__` (Keras's Sequence) that gives batches."""

    def __init__(self, name: str, source: Any, x_dtypes: Dtypes):
        self.name, self.source, self.x_dtypes = name, source, x_dtypes
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
        made = []
        for label, part in (("x", x), ("y", y), ("sample_weight", w)):
            structure, leaves = _leaves(self.name, label, part, _tensor)
            if label == "x":
                leaves = [t if d is None else ops.cast(t, d) for t, d in zip(leaves, self.x_dtypes(structure))]
            made.append(pack(structure, leaves))
        return made[0], made[1], made[2]

    def rows_of(self, step: int) -> None:
        return None


@contextmanager
def tagged(name: str) -> Iterator[None]:
    """Inside, a message about fit is one about the method that the user called."""
    try:
        yield
    except (TypeError, ValueError) as e:
        reword(e, lambda text: text.replace("[fit] ", f"[{name}] ", 1) if text.startswith("[fit] ") else text)
        reword(e, lambda text: NUMPY_ON_TENSORS if text.endswith("(__array_ufunc__=None)") else text)
        raise


def reword(e: Exception, change: Callable[[str], str]) -> None:
    """Changes the message of an error."""
    if e.args and isinstance(e.args[0], str):
        e.args = (change(e.args[0]), *e.args[1:])


def make_data(
    name: str,
    x: Any,
    y: Any = None,
    sample_weight: Any = None,
    batch_size: int | None = None,
    shuffle: bool = False,
    x_dtypes: Dtypes | None = None,
) -> ArrayData | IterableData:
    """The right kind of data for what the user gave."""
    x_dtypes = x_dtypes or (lambda x: [None] * len(flatten(x)))
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
        return IterableData(name, x, x_dtypes)
    if x is None:
        raise ValueError(f"[{name}] x is missing")
    return ArrayData(name, x, y, sample_weight, 32 if batch_size is None else batch_size, shuffle, x_dtypes)


def _is_iterable(x: Any) -> bool:
    if isinstance(x, (np.ndarray, Tensor, list, tuple, dict)) or hasattr(x, "__array__"):
        return False
    return hasattr(x, "__next__") or hasattr(x, "__iter__") or (hasattr(x, "__getitem__") and hasattr(x, "__len__"))


def _leaves(name: str, label: str, value: Any, convert: Callable[[str, str, Any], Any]) -> tuple[Any, list[Any]]:
    """The structure of some data, its leaves None; and the leaves, converted. A list of one array is that array."""
    if isinstance(value, dict):
        parts = {k: _leaves(name, f"{label}[{k!r}]", v, convert) for k, v in value.items()}
        return {k: skeleton for k, (skeleton, _) in parts.items()}, flatten({k: v for k, (_, v) in parts.items()})
    if isinstance(value, (list, tuple)) and any(hasattr(v, "shape") or isinstance(v, dict) for v in value):
        if len(value) == 1:
            return _leaves(name, label, value[0], convert)
        found = [_leaves(name, f"{label}[{i}]", v, convert) for i, v in enumerate(value)]
        return type(value)([skeleton for skeleton, _ in found]), [leaf for _, part in found for leaf in part]
    return None, [None if value is None else convert(name, label, value)]


def structured(name: str, label: str, value: Any) -> tuple[Any, list[Any]]:
    """The structure of some arrays, its leaves None; and the arrays."""
    return _leaves(name, label, value, _array)


def _tensor(name: str, label: str, value: Any) -> Tensor:
    return value if isinstance(value, Tensor) else Tensor(as_array(value, name=name))


def _array(name: str, label: str, value: Any) -> np.ndarray:
    a = as_array(value, name=name)
    if a.ndim == 0 or len(a) == 0:
        raise ValueError(f"[{name}] {label} must have at least one sample. Received: {label}.shape={a.shape}")
    return a
