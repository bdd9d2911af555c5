"""Real handwritten digits that come with the package: a small part of MNIST, so that examples need no network.

The first 6,000 training and the first 1,000 test images of MNIST; see ``DIGITS_NOTICE.md`` for authors and licence.
``tools/make_digits.py`` made the file.

The file is an .npz, because zlib is in every Python that pip can install into, whereas lzma and bz2 are optional.
Two facts about pen strokes make it smaller than the plain array (1.14 MB; 0.95 MB even with xz) at 0.88 MB:
four pixels of five are exactly 0, and how dark an inked pixel is depends mostly on how many of its eight neighbours
are inked. So the file holds one bit per pixel (inked or not), and the grey levels of the inked pixels ordered by that
count: deflate then finds nine quiet streams where there was one noisy one.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from nnfast.datasets._npz import read_npz

__all__ = ["load_data"]

_FILE = Path(__file__).with_name("digits.npz")
_TRAIN, _TEST, _SIDE = 6000, 1000, 28

Split = tuple[np.ndarray, np.ndarray]


def load_data() -> tuple[Split, Split]:
    """Return the digits that ship with the package.

    Returns:
        ``(x_train, y_train), (x_test, y_test)``: uint8 arrays of shapes (6000, 28, 28), (6000,), (1000, 28, 28) and
        (1000,). Pixels run from 0 (paper) to 255 (ink), labels from 0 to 9. The arrays are new at every call.

    Raises:
        ValueError: the data file is damaged.
        OSError: the data file is missing.

    >>> (x_train, y_train), (x_test, y_test) = load_data()
    >>> x_train.shape, x_test.shape, y_train[:5].tolist()
    ((6000, 28, 28), (1000, 28, 28), [5, 0, 4, 1, 9])
    """
    stored = read_npz(_FILE, ["inked", "levels", "labels"])
    images, labels = unpack(stored["inked"], stored["levels"]), stored["labels"]
    if images.shape != (_TRAIN + _TEST, _SIDE, _SIDE) or labels.shape != images.shape[:1]:
        raise ValueError(f"[digits] the file holds {len(labels)} labels for images of shape {images.shape}: {_FILE}")
    return (images[:_TRAIN], labels[:_TRAIN]), (images[_TRAIN:], labels[_TRAIN:])


def pack(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Split images [N, 28, 28] into one bit per pixel, and the grey levels of the inked pixels by their neighbours."""
    inked = images > 0
    return np.packbits(inked), images[inked][_order(inked)]


def unpack(bits: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Undo `pack`."""
    inked = np.unpackbits(bits).view(bool).reshape(-1, _SIDE, _SIDE)
    in_place = np.empty_like(levels)
    in_place[_order(inked)] = levels
    images = np.zeros(inked.shape, np.uint8)
    images[inked] = in_place
    return images


def _order(inked: np.ndarray) -> np.ndarray:
    """The order that sorts the inked pixels of [N, H, W] by their number of inked neighbours (0 to 8), stably."""
    padded = np.pad(inked, ((0, 0), (1, 1), (1, 1))).astype(np.uint8)
    rows = padded[:, :-2] + padded[:, 1:-1] + padded[:, 2:]
    block = rows[:, :, :-2] + rows[:, :, 1:-1] + rows[:, :, 2:]  # the pixel and its neighbours
    return np.argsort(block[inked], kind="stable")
