"""DataLoader: batches of samples, in order or shuffled, made in this process."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from nnfast import ops
from nnfast.data.dataset import IterableDataset, TensorDataset
from nnfast.nn.tensor import torch_tensor
from nnfast.tensor import Tensor


def default_collate(batch: list[Any]) -> Any:
    """A list of samples as one batch: arrays and numbers are stacked; tuples, lists and dicts part by part.

    >>> from nnfast import data
    >>> data.default_collate([(1.0, 3), (2.0, 4)])
    [tensor([1., 2.]), tensor([3, 4])]
    """
    first = batch[0]
    if isinstance(first, Tensor):
        return torch_tensor(ops.stack(batch))
    if isinstance(first, (np.ndarray, np.generic, int, float)):
        try:
            stacked = np.stack(batch) if isinstance(first, np.ndarray) else np.array(batch)
        except ValueError as e:
            raise ValueError(
                f"[DataLoader] the samples of a batch must have one shape. {e}. Give collate_fn="
            ) from None
        if isinstance(first, float) and not isinstance(first, np.generic):
            return torch_tensor(Tensor(stacked.tolist()))
        return torch_tensor(Tensor(stacked))
    if isinstance(first, str):
        return batch
    if isinstance(first, Mapping):
        return {key: default_collate([sample[key] for sample in batch]) for key in first}
    if isinstance(first, (tuple, list)):
        return [default_collate(list(part)) for part in zip(*batch)]
    raise TypeError(
        f"[DataLoader] samples are arrays, numbers, or tuples or dicts of them. Received: {type(first).__name__}. "
        "Give the data set a transform such as transforms.ToTensor(), or the loader collate_fn="
    )


class SequentialSampler:
    """0, 1, 2, ..."""

    def __init__(self, data_source: Any):
        self.data_source = data_source

    def __iter__(self) -> Iterator[int]:
        return iter(range(len(self.data_source)))

    def __len__(self) -> int:
        return len(self.data_source)


class RandomSampler(SequentialSampler):
    """All numbers in random order, a new one each time."""

    def __init__(self, data_source: Any, generator: Any = None):
        super().__init__(data_source)
        self.generator = generator

    def __iter__(self) -> Iterator[int]:
        stream = None if self.generator is None else self.generator.stream
        return iter(ops.permutation(len(self.data_source), generator=stream).tolist())


class SubsetRandomSampler:
    """These indices in random order."""

    def __init__(self, indices: Any, generator: Any = None):
        self.indices, self.generator = list(indices), generator

    def __iter__(self) -> Iterator[int]:
        return (self.indices[i] for i in RandomSampler(self.indices, self.generator))

    def __len__(self) -> int:
        return len(self.indices)


class BatchSampler:
    """Lists of batch_size indices from another sampler."""

    def __init__(self, sampler: Any, batch_size: int, drop_last: bool):
        self.sampler, self.batch_size, self.drop_last = sampler, batch_size, drop_last

    def __iter__(self) -> Iterator[list[int]]:
        batch: list[int] = []
        for index in self.sampler:
            batch.append(index)
            if len(batch) == self.batch_size:
                yield batch
                batch = []
        if batch and not self.drop_last:
            yield batch

    def __len__(self) -> int:
        n = len(self.sampler)
        return n // self.batch_size if self.drop_last else -(-n // self.batch_size)


class DataLoader:
    """Batches of a data set.

    Args:
        dataset: what has samples with numbers, or an IterableDataset.
        batch_size: samples per batch; None: samples one by one, as they are.
        shuffle: a new order in each pass?
        sampler, batch_sampler: give the indices, or lists of them, in their stead.
        num_workers, pin_memory, persistent_workers, prefetch_factor, timeout: accepted and without effect; batches are
            made in this process.
        collate_fn: makes a batch of a list of samples. Default: `default_collate`.
        drop_last: leave out a last batch that is not full?
        worker_init_fn: accepted and without effect.
        generator: of the shuffling; `torch.Generator().manual_seed(0)`.
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int | None = 1,
        shuffle: bool | None = None,
        sampler: Any = None,
        batch_sampler: Any = None,
        num_workers: int = 0,
        collate_fn: Callable[[list[Any]], Any] | None = None,
        pin_memory: bool = False,
        drop_last: bool = False,
        timeout: float = 0,
        worker_init_fn: Any = None,
        generator: Any = None,
        prefetch_factor: int | None = None,
        persistent_workers: bool = False,
    ):
        self.dataset, self.batch_size, self.drop_last, self.collate_fn = dataset, batch_size, drop_last, collate_fn
        whole = isinstance(batch_size, (int, np.integer)) and not isinstance(batch_size, bool)
        if batch_size is not None and (not whole or batch_size < 1):
            raise ValueError(f"[DataLoader] batch_size must be a positive integer or None. Received: {batch_size!r}")
        self.iterable = isinstance(dataset, IterableDataset) or not hasattr(dataset, "__getitem__")
        if (self.iterable or sampler is not None or batch_sampler is not None) and shuffle:
            raise ValueError(
                "[DataLoader] shuffle needs a data set with numbers, and no sampler. Received: shuffle=True"
            )
        self.sampler: Any = None
        self.batch_sampler: Any = batch_sampler
        if not self.iterable:
            self.sampler = sampler or (RandomSampler(dataset, generator) if shuffle else SequentialSampler(dataset))
            if batch_sampler is None and batch_size is not None:
                self.batch_sampler = BatchSampler(self.sampler, batch_size, drop_last)

    def __len__(self) -> int:
        if self.iterable:
            raise TypeError(
                "[DataLoader] the number of batches of an IterableDataset is not known. Received: len(loader)"
            )
        return len(self.sampler if self.batch_sampler is None else self.batch_sampler)

    def __iter__(self) -> Iterator[Any]:
        collate = self.collate_fn or default_collate
        if self.iterable:
            yield from self._stream(collate)
        elif self.batch_sampler is None:
            for i in self.sampler:
                sample = self.dataset[i]
                yield sample if self.collate_fn is None else self.collate_fn(sample)
        elif type(self.dataset) is TensorDataset and self.collate_fn is None:
            for indices in self.batch_sampler:
                yield self.dataset.batch(np.asarray(indices))
        else:
            for indices in self.batch_sampler:
                yield collate([self.dataset[i] for i in indices])

    def _stream(self, collate: Any) -> Iterator[Any]:
        if self.batch_size is None:
            yield from self.dataset
            return
        batch = []
        for sample in self.dataset:
            batch.append(sample)
            if len(batch) == self.batch_size:
                yield collate(batch)
                batch = []
        if batch and not self.drop_last:
            yield collate(batch)
