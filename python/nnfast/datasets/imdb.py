"""IMDB, 50,000 film reviews, half of them good and half bad, as numbers of words. By Andrew Maas and others (2011).

The file is one that Keras made: an .npz whose arrays hold Python lists, which NumPy can only store as a pickle. It is
opened if, and only if, its SHA-256 is the published one, by a reader that can make lists, integers and arrays, and
calls nothing else.
"""

from __future__ import annotations

import io
import json
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from nnfast.datasets._npz import read_npz
from nnfast.datasets._search import File, locate
from nnfast.utils.files import has_hash

__all__ = ["get_word_index", "load_data"]

# As in Keras, which publishes the hashes with its code.
FILE = File("imdb.npz", 17464789, "69664113be75683a8fe16e3ed0ab59fda8886cb3cd7ada244f7d9544e4676b9f")
INDEX = File("imdb_word_index.json", 1641221, "bfafd718b763782e994055a2d397834f")
MIRRORS = ["https://storage.googleapis.com/tensorflow/tf-keras-datasets/", "https://s3.amazonaws.com/text-datasets/"]

Split = tuple[np.ndarray, np.ndarray]


def load_data(
    path: str | os.PathLike[str] = "imdb.npz",
    num_words: int | None = None,
    skip_top: int = 0,
    maxlen: int | None = None,
    seed: int = 113,
    start_char: int | None = 1,
    oov_char: int | None = 2,
    index_from: int = 3,
) -> tuple[Split, Split]:
    """Return the reviews as lists of word numbers, from this machine if they are there, else from the network.

    Args:
        path: the file; a plain name that is not here is looked for as in `mnist.load_data`. Another file than the
            published one is refused.
        num_words: only the most frequent words; others become oov_char.
        skip_top: the most frequent words become oov_char, too.
        maxlen: reviews of this length or more are left out.
        seed: of the order; the same as in Keras.
        start_char: number that every review starts with; None: none.
        oov_char: number of words that are not used; None: they are left out.
        index_from: added to the numbers of words.

    Returns:
        ``(x_train, y_train), (x_test, y_test)``: x are object arrays of lists, y int64 arrays of 0 (bad) and 1 (good);
        25,000 each. `nnfast.utils.pad_sequences` makes arrays of them.

    Raises:
        FileNotFoundError: it is nowhere; the message lists where it was looked for.
        ValueError: `path` is another file, or maxlen leaves nothing.

    >>> (x_train, y_train), (x_test, y_test) = load_data(num_words=10000)  # doctest: +SKIP
    """
    place = _found("imdb.load_data", path, FILE)
    lists, labels = _lists(place, ["x_train", "x_test"]), read_npz(place, ["y_train", "y_test"])
    generator = np.random.RandomState(seed)
    splits = []
    for part in ("train", "test"):
        order = np.arange(len(lists[f"x_{part}"]))
        generator.shuffle(order)
        x, y = [lists[f"x_{part}"][i] for i in order], labels[f"y_{part}"][order]
        head = [] if start_char is None else [start_char]
        x = [head + [w + index_from for w in review] for review in x]
        if maxlen:
            kept = [i for i, review in enumerate(x) if len(review) < maxlen]
            x, y = [x[i] for i in kept], y[kept]
        splits.append((x, y))
    if not all(x for x, _ in splits):
        raise ValueError(f"[imdb.load_data] no review is shorter than maxlen. Received: maxlen={maxlen}")
    limit = num_words or max(max(review) for x, _ in splits for review in x)
    if oov_char is not None:
        splits = [([[w if skip_top <= w < limit else oov_char for w in r] for r in x], y) for x, y in splits]
    else:
        splits = [([[w for w in r if skip_top <= w < limit] for r in x], y) for x, y in splits]
    train, test = ((_objects(x), y) for x, y in splits)
    return train, test


def get_word_index(path: str | os.PathLike[str] = "imdb_word_index.json") -> dict[str, int]:
    """Return {word: number}, 1 for the most frequent; `load_data` adds index_from to these numbers.

    Raises:
        FileNotFoundError: it is nowhere; the message lists where it was looked for.

    >>> get_word_index()["the"]  # doctest: +SKIP
    1
    """
    with open(_found("imdb.get_word_index", path, INDEX), encoding="utf-8") as file:
        return json.load(file)


def _found(tag: str, path: str | os.PathLike[str], file: File) -> Path:
    place = Path(path).expanduser()
    if place.is_file():
        if not has_hash(place, file.hash):
            raise ValueError(f"[{tag}] the file does not have the hash of the published one. Received: path={path!r}")
        return place
    if place.name != os.fspath(path):
        raise FileNotFoundError(f"[{tag}] there is no such file. Received: path={os.fspath(path)!r}")
    return locate(tag, file, "", ["imdb"], MIRRORS)


def _objects(rows: list[Any]) -> np.ndarray:
    array = np.empty(len(rows), object)
    array[:] = rows
    return array


_NAMES: dict[str, Any] = {"_reconstruct": np.empty(0).__reduce__()[0], "ndarray": np.ndarray, "dtype": np.dtype}


class _ListReader(pickle.Unpickler):
    """Reads arrays of lists: it knows no other name than those that NumPy needs for that."""

    def find_class(self, module: str, name: str) -> Any:
        if module.split(".")[0] == "numpy" and name in _NAMES:
            return _NAMES[name]
        raise pickle.UnpicklingError(f"the file asks for {module}.{name}, which is no list")


def _lists(path: Path, names: list[str]) -> dict[str, list[list[int]]]:
    """The arrays of lists in a file whose hash has been checked."""
    found = {}
    with zipfile.ZipFile(path) as archive:
        for name in names:
            stream = io.BytesIO(archive.read(name + ".npy"))
            if np.lib.format.read_magic(stream) == (1, 0):
                np.lib.format.read_array_header_1_0(stream)
            else:
                np.lib.format.read_array_header_2_0(stream)
            found[name] = _ListReader(stream).load().tolist()
    return found
