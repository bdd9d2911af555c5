"""Data sets: what has samples with numbers, and parts and joins of it."""

import bisect
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from nnfast import ops
from nnfast.nn.tensor import torch_tensor
from nnfast.tensor import Tensor, as_array


class Dataset:
    """Base class: define `__len__` and `__getitem__(index)`, which gives one sample, e.g. (image, label)."""

    def __getitem__(self, index: Any) -> Any:
        raise NotImplementedError(f"[{type(self).__name__}] a Dataset needs __getitem__(self, index)")

    def __len__(self) -> int:
        raise NotImplementedError(f"[{type(self).__name__}] a Dataset needs __len__(self)")

    def __add__(self, other: "Dataset") -> "ConcatDataset":
        return ConcatDataset([self, other])


class IterableDataset(Dataset):
    """Base class of data that only comes one after the other: define `__iter__`."""

    def __iter__(self) -> Iterator[Any]:
        raise NotImplementedError(f"[{type(self).__name__}] an IterableDataset needs __iter__(self)")


class TensorDataset(Dataset):
    """Arrays with one row per sample; a sample is the row of each."""

    def __init__(self, *tensors: Any):
        if not tensors:
            raise ValueError("[TensorDataset] takes at least one array. Received: none")
        self.tensors = tuple(torch_tensor(t if isinstance(t, Tensor) else as_array(t)) for t in tensors)
        rows = [len(t) for t in self.tensors]
        if len(set(rows)) != 1:
            raise ValueError(f"[TensorDataset] all arrays must have one row per sample each. Received: {rows} rows")

    def __getitem__(self, index: Any) -> tuple[Any, ...]:
        return tuple(t[index] for t in self.tensors)

    def batch(self, indices: np.ndarray) -> list[Any]:
        """The rows of several samples at once, gathered by a kernel: what a DataLoader would collate."""
        return [torch_tensor(ops.take_rows(t, indices)) for t in self.tensors]

    def __len__(self) -> int:
        return len(self.tensors[0])


class Subset(Dataset):
    """The samples of a data set that the indices name."""

    def __init__(self, dataset: Any, indices: Sequence[int]):
        self.dataset, self.indices = dataset, indices

    def __getitem__(self, index: Any) -> Any:
        return self.dataset[int(self.indices[index])]

    def __len__(self) -> int:
        return len(self.indices)


class ConcatDataset(Dataset):
    """Data sets one after the other."""

    def __init__(self, datasets: Any):
        self.datasets = list(datasets)
        if not self.datasets:
            raise ValueError("[ConcatDataset] takes at least one data set. Received: none")
        self.cumulative_sizes = [sum(len(d) for d in self.datasets[: i + 1]) for i in range(len(self.datasets))]

    def __getitem__(self, index: int) -> Any:
        if not -len(self) <= index < len(self):
            raise IndexError(f"[ConcatDataset] it has {len(self)} samples. Received: index {index}")
        index %= len(self)
        which = bisect.bisect_right(self.cumulative_sizes, index)
        return self.datasets[which][index - (self.cumulative_sizes[which - 1] if which else 0)]

    def __len__(self) -> int:
        return self.cumulative_sizes[-1]


def random_split(dataset: Any, lengths: Sequence[float], generator: Any = None) -> list[Subset]:
    """Parts of these lengths without a common sample; fractions whose sum is 1 are shares.

    >>> from nnfast import data
    >>> [len(part) for part in data.random_split(range(10), [0.75, 0.25])]
    [8, 2]
    """
    n = len(dataset)
    sizes = [int(x) for x in lengths]
    if math.isclose(sum(lengths), 1) and any(x != int(x) for x in lengths):
        sizes = [math.floor(n * x) for x in lengths]
        for i in range(n - sum(sizes)):
            sizes[i % len(sizes)] += 1
    if sum(sizes) != n:
        raise ValueError(f"[random_split] the lengths must add up to {n}, or to 1. Received: {list(lengths)}")
    order = ops.permutation(n, generator=None if generator is None else generator.stream).numpy()
    ends = [sum(sizes[: i + 1]) for i in range(len(sizes))]
    return [Subset(dataset, order[end - size : end].tolist()) for size, end in zip(sizes, ends)]
