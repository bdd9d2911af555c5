"""CIFAR-10, 60,000 colour pictures of 10 kinds of things by Alex Krizhevsky."""

from __future__ import annotations

import tarfile
from typing import BinaryIO

import numpy as np

from nnfast import config
from nnfast.datasets._bounded import read_exactly
from nnfast.datasets._search import File, locate

__all__ = ["CLASSES", "load_data"]

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
# The version for C programs: Keras's (for Python) is made of pickles, which are never opened here.
FILE = File("cifar-10-binary.tar.gz", 170052171, "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd")
MIRRORS = ["https://www.cs.toronto.edu/~kriz/"]
PARTS = [f"cifar-10-batches-bin/{name}.bin" for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch")]
ROWS = 10000  # of each part
_PIXELS = 3 * 32 * 32

Split = tuple[np.ndarray, np.ndarray]


def load_data() -> tuple[Split, Split]:
    """Return CIFAR-10, from this machine if it is there, else from the network (170 MB).

    ``cifar-10-binary.tar.gz`` is looked for in NNFAST_DATA, in the cache (``~/.keras/datasets``), in the current folder
    and in ``data``; then it is downloaded and checked against its SHA-256.

    Returns:
        ``(x_train, y_train), (x_test, y_test)``: uint8 arrays of shapes (50000, 32, 32, 3), (50000, 1),
        (10000, 32, 32, 3) and (10000, 1); with channels_first data format (50000, 3, 32, 32). Labels 0 to 9 are
        `CLASSES`.

    Raises:
        FileNotFoundError: it is nowhere; the message lists where it was looked for.

    >>> (x_train, y_train), (x_test, y_test) = load_data()  # doctest: +SKIP
    """
    path = locate("cifar10.load_data", FILE, "", ["cifar-10", "cifar10"], MIRRORS)
    found: dict[str, Split] = {}
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                if member.name in PARTS and member.isreg():
                    stream = archive.extractfile(member)
                    assert stream is not None
                    found[member.name] = _read(stream)  # type: ignore[arg-type]
    except (tarfile.TarError, EOFError, ValueError) as error:
        raise ValueError(f"[cifar10.load_data] the archive is damaged: {error}. Received: {path}") from error
    missing = [name for name in PARTS if name not in found]
    if missing:
        raise ValueError(f"[cifar10.load_data] the archive lacks {', '.join(missing)}. Received: {path}")
    x_train, y_train = (np.concatenate([found[name][i] for name in PARTS[:-1]]) for i in (0, 1))
    return (x_train, y_train), found[PARTS[-1]]


def _read(stream: BinaryIO) -> Split:
    """Rows of one label and 3072 pixels: all red ones, all green ones, all blue ones."""
    rows = read_exactly(stream, ROWS * (1 + _PIXELS)).reshape(ROWS, 1 + _PIXELS)
    x, y = rows[:, 1:].reshape(ROWS, 3, 32, 32), rows[:, :1].copy()
    if (y > 9).any():
        raise ValueError(f"label {int(np.argmax(y > 9))} is {y.max()}, expected 0 to 9")
    if config.image_data_format() == "channels_last":
        x = x.transpose(0, 2, 3, 1)
    return np.ascontiguousarray(x), y
