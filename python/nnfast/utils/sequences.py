"""Sequences of unequal lengths, batches made by Python code, and splits."""

from typing import Any

import numpy as np

from nnfast.tensor import Tensor, as_array


def pad_sequences(
    sequences: Any,
    maxlen: int | None = None,
    dtype: Any = "int32",
    padding: str = "pre",
    truncating: str = "pre",
    value: Any = 0.0,
) -> np.ndarray:
    """Sequences as the rows of one array: short ones are filled up, long ones are cut.

    Args:
        sequences: lists or arrays; their elements may have a shape, the same for all.
        maxlen: length of the rows; default: that of the longest.
        dtype: of the array; `object` for strings.
        padding, truncating: "pre" or "post": fill up and cut at the start or at the end.
        value: what fills up.

    >>> pad_sequences([[1, 2, 3], [4]])
    array([[1, 2, 3],
           [0, 0, 4]], dtype=int32)
    """
    for label, side in (("padding", padding), ("truncating", truncating)):
        if side not in ("pre", "post"):
            raise ValueError(f"[pad_sequences] {label} must be 'pre' or 'post'. Received: {label}={side!r}")
    if not hasattr(sequences, "__len__"):
        raise ValueError(f"[pad_sequences] sequences must be a list. Received: {type(sequences).__name__}")
    for i, s in enumerate(sequences):
        if not hasattr(s, "__len__"):
            raise ValueError(f"[pad_sequences] sequences must be a list of lists. Received: sequences[{i}]={s!r}")
    if maxlen is None:
        maxlen = max((len(s) for s in sequences), default=0)
    kind = np.dtype(dtype)
    if isinstance(value, str) and kind.kind not in "OUS":
        raise ValueError(f"[pad_sequences] {value!r} is no {kind}. Use dtype=object for strings")
    inner = next((np.asarray(s).shape[1:] for s in sequences if len(s)), ())
    rows = np.full((len(sequences), maxlen, *inner), value, kind)
    for i, s in enumerate(sequences):
        try:
            some = np.asarray(s[max(len(s) - maxlen, 0) :] if truncating == "pre" else s[:maxlen], kind)
        except (TypeError, ValueError):
            raise ValueError(
                f"[pad_sequences] sequences must hold numbers for dtype {kind}. Received: sequences[{i}]={s!r:.80}. "
                "Turn words into numbers first, with preprocessing.text.Tokenizer, or use dtype=object"
            ) from None
        if not len(some):
            continue
        if some.shape[1:] != inner:
            raise ValueError(
                f"[pad_sequences] the elements of all sequences must have one shape. "
                f"Received: {inner} in the first, {some.shape[1:]} in sequences[{i}]"
            )
        if padding == "post":
            rows[i, : len(some)] = some
        else:
            rows[i, maxlen - len(some) :] = some
    return rows


class PyDataset:
    """Batches made by Python code: subclass it, define `__len__` and `__getitem__(i)`, and give it to `fit`.

    `__getitem__` returns (x, y) or (x, y, sample_weight) of batch i; `on_epoch_end` is called after each pass.

    Args:
        workers, use_multiprocessing, max_queue_size: accepted and without effect: batches are made one after another.

    >>> import numpy as np, nnfast
    >>> class Squares(nnfast.utils.PyDataset):
    ...     def __len__(self):
    ...         return 3
    ...     def __getitem__(self, i):
    ...         x = np.full((2, 1), i, "float32")
    ...         return x, x**2
    >>> model = nnfast.Sequential([nnfast.layers.Dense(1)])
    >>> model.compile("sgd", "mse")
    >>> len(model.fit(Squares(), epochs=2, verbose=0).epoch)
    2
    """

    def __init__(self, workers: int = 1, use_multiprocessing: bool = False, max_queue_size: int = 10):
        self.workers, self.use_multiprocessing, self.max_queue_size = workers, use_multiprocessing, max_queue_size

    def __getitem__(self, index: int) -> Any:
        """Batch number `index`."""
        raise NotImplementedError(f"[{type(self).__name__}] a PyDataset must define __getitem__(index)")

    @property
    def num_batches(self) -> int:
        """How many batches a pass has."""
        raise NotImplementedError(f"[{type(self).__name__}] a PyDataset must define __len__()")

    def __len__(self) -> int:
        return self.num_batches

    def on_epoch_begin(self) -> None:
        """Called before each pass."""

    def on_epoch_end(self) -> None:
        """Called after each pass."""


Sequence = PyDataset


def split_dataset(
    dataset: Any,
    left_size: float | int | None = None,
    right_size: float | int | None = None,
    shuffle: bool = False,
    seed: int | None = None,
    preferred_backend: str | None = None,
) -> tuple[Any, Any]:
    """Cuts arrays in two. (Keras returns objects of its backend; these are arrays, in the structure that was given.)

    Args:
        dataset: an array, or a tuple, list or dict of arrays with one row per sample each.
        left_size, right_size: a number of samples, or a share between 0 and 1; one of them may be missing.
        shuffle: in random order?
        seed: of that order.
        preferred_backend: accepted and without effect.

    >>> left, right = split_dataset(np.arange(5), left_size=0.6)
    >>> left, right
    (array([0, 1, 2]), array([3, 4]))
    """
    parts = list(dataset.values()) if isinstance(dataset, dict) else dataset
    parts = list(parts) if isinstance(parts, (tuple, list)) else [parts]
    arrays = [np.asarray(p.data) if isinstance(p, Tensor) else as_array(p, name="split_dataset") for p in parts]
    rows = {len(a) if a.ndim else 0 for a in arrays}
    if len(rows) != 1 or not min(rows):
        shapes = ", ".join(str(a.shape) for a in arrays)
        raise ValueError(
            f"[split_dataset] all arrays must have the same number of rows, at least 1. Received: {shapes}"
        )
    n = rows.pop()
    left, right = (_size(name, size, n) for name, size in (("left_size", left_size), ("right_size", right_size)))
    if left is None and right is None:
        raise ValueError("[split_dataset] give left_size or right_size. Received: None for both")
    left = n - right if left is None else left  # type: ignore[operator]
    right = n - left if right is None else right
    if left + right > n or not left or not right:
        raise ValueError(
            f"[split_dataset] {n} samples do not split into {left} and {right}. Received: {left_size}, {right_size}"
        )
    order = np.random.default_rng(seed).permutation(n) if shuffle else np.arange(n)

    def take(index: np.ndarray) -> Any:
        some = [a[index] for a in arrays]
        if isinstance(dataset, dict):
            return dict(zip(dataset, some))
        return type(dataset)(some) if isinstance(dataset, (tuple, list)) else some[0]

    return take(order[:left]), take(order[n - right :] if left + right == n else order[left : left + right])


def _size(name: str, size: Any, n: int) -> int | None:
    if size is None:
        return None
    if isinstance(size, float) and 0 < size < 1:
        return round(size * n)
    if isinstance(size, (int, np.integer)) and not isinstance(size, bool) and 0 < size < n:
        return int(size)
    raise ValueError(
        f"[split_dataset] {name} must be a share between 0 and 1, or from 1 to {n - 1}. Received: {size!r}"
    )
