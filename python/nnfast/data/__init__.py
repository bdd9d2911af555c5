"""PyTorch's way to batches: data sets, loaders, splits; `transforms` and `vision` in torchvision's form.

>>> import numpy as np
>>> from nnfast import data
>>> pairs = data.TensorDataset(np.arange(10.0), np.arange(10))
>>> [x.shape for x, y in data.DataLoader(pairs, batch_size=4)]
[(4,), (4,), (2,)]
"""

from nnfast.data import transforms, vision
from nnfast.data.dataset import ConcatDataset, Dataset, IterableDataset, Subset, TensorDataset, random_split
from nnfast.data.loader import (
    BatchSampler,
    DataLoader,
    RandomSampler,
    SequentialSampler,
    SubsetRandomSampler,
    default_collate,
)

__all__ = [
    "BatchSampler",
    "ConcatDataset",
    "DataLoader",
    "Dataset",
    "IterableDataset",
    "RandomSampler",
    "SequentialSampler",
    "Subset",
    "SubsetRandomSampler",
    "TensorDataset",
    "default_collate",
    "random_split",
    "transforms",
    "vision",
]
