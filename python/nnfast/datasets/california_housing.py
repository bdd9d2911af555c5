"""California housing: 20,640 blocks of the census of 1990 with 8 numbers each, and the median price of a house."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from nnfast.datasets._npz import read_npz
from nnfast.datasets._search import File, locate

__all__ = ["load_data"]

# As in Keras, which publishes the hash with its code.
FILE = File("california_housing.npz", None, "1a2e3a52e0398de6463aebe6f4a8da34fb21fbb6b934cf88c3425e766f2a1a6f")
MIRRORS = ["https://storage.googleapis.com/tensorflow/tf-keras-datasets/"]

Split = tuple[np.ndarray, np.ndarray]


def load_data(
    version: str = "large",
    path: str | os.PathLike[str] = "california_housing.npz",
    test_split: float = 0.2,
    seed: int = 113,
) -> tuple[Split, Split]:
    """Return the data, shuffled and split, from this machine if they are there, else from the network.

    Args:
        version: "large", or "small": the first 600 rows.
        path: an .npz file with arrays x and y; a plain name that is not here is looked for as in `mnist.load_data`.
        test_split: the share of the rows that is for testing.
        seed: of the order; the same as in Keras.

    Returns:
        ``(x_train, y_train), (x_test, y_test)``: x is (rows, 8): longitude, latitude, age, rooms, bedrooms, people,
        households, income; y is (rows,), dollars.

    Raises:
        FileNotFoundError: it is nowhere; the message lists where it was looked for.

    >>> (x_train, y_train), (x_test, y_test) = load_data()  # doctest: +SKIP
    """
    if not 0 <= test_split < 1:
        raise ValueError(f"[california_housing] test_split must be from 0 to below 1. Received: {test_split}")
    if version not in ("large", "small"):
        raise ValueError(f"[california_housing] version must be 'large' or 'small'. Received: version={version!r}")
    place = Path(path).expanduser()
    if not place.is_file():
        if place.name != os.fspath(path):
            raise FileNotFoundError(f"[california_housing.load_data] there is no such file. Received: path={path!r}")
        place = locate("california_housing.load_data", FILE, "", [], MIRRORS)
    x, y = read_npz(place, ["x", "y"]).values()
    if x.ndim != 2 or y.shape != x.shape[:1] or x.dtype.kind not in "fiu" or y.dtype.kind not in "fiu":
        raise ValueError(f"[california_housing] x must be (N, 8) and y (N,). Received: {x.shape}, {y.shape} in {place}")
    if version == "small":
        x, y = x[:600], y[:600]
    order = np.arange(len(x))
    np.random.RandomState(seed).shuffle(order)
    x, y = x[order], y[order]
    cut = int(len(x) * (1 - test_split))
    return (x[:cut], y[:cut]), (x[cut:], y[cut:])
