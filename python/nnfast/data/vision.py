"""Data sets in torchvision's form: `datasets.MNIST(root="./data", train=True, transform=...)`."""

import importlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from nnfast.data.dataset import Dataset


class VisionDataset(Dataset):
    """Images with labels, and what is done to each sample.

    Args:
        root: a folder that may hold the files.
        train: the training set or the test set?
        transform: what is done to an image, a uint8 array (H, W) or (H, W, C).
        target_transform: what is done to a label.
        download: look for the data elsewhere too, and download it if need be.

    Attributes:
        data, targets: all images (uint8) and labels (int64).
    """

    name = ""
    classes: tuple[str, ...] = ()

    def __init__(
        self,
        root: Any = "./data",
        train: bool = True,
        transform: Callable[[Any], Any] | None = None,
        target_transform: Callable[[Any], Any] | None = None,
        download: bool = False,
    ):
        self.root, self.train, self.transform, self.target_transform = root, train, transform, target_transform
        split = self._load(download)[0 if train else 1]
        self.data, self.targets = np.asarray(split[0]), np.asarray(split[1]).reshape(-1).astype(np.int64)

    def _load(self, download: bool) -> Any:
        room = importlib.import_module(f"nnfast.datasets.{self.name}")
        folder = Path(os.fspath(self.root)).expanduser()
        try:
            return room.load_data(folder if folder.is_dir() else folder / "missing")
        except (FileNotFoundError, TypeError):  # TypeError: a set whose load_data takes no path
            if not download:
                raise FileNotFoundError(
                    f"[{type(self).__name__}] the files are not in root. Received: root={str(self.root)!r}, "
                    "download=False. Use download=True"
                ) from None
            return room.load_data()

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        if isinstance(index, slice):
            raise TypeError(
                f"[{type(self).__name__}] an index is an integer. Received: {index}. "
                f"For a part use Subset(dataset, range({index.start or 0}, {index.stop}))"
            )
        image, target = self.data[index], int(self.targets[index])
        if self.transform is not None:
            image = self.transform(image)
        return image, target if self.target_transform is None else self.target_transform(target)

    def __len__(self) -> int:
        return len(self.data)


class MNIST(VisionDataset):
    """Handwritten digits, see `nnfast.datasets.mnist`."""

    name = "mnist"
    classes = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


class Digits(VisionDataset):
    """The digits that come with the package, see `nnfast.datasets.digits`: no files, no download."""

    name = "digits"
    classes = MNIST.classes

    def _load(self, download: bool) -> Any:
        return importlib.import_module("nnfast.datasets.digits").load_data()


class FashionMNIST(VisionDataset):
    """Clothes, see `nnfast.datasets.fashion_mnist`."""

    name = "fashion_mnist"


class CIFAR10(VisionDataset):
    """Small photographs, see `nnfast.datasets.cifar10`."""

    name = "cifar10"
