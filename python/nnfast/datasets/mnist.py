"""MNIST, 70,000 handwritten digits by Yann LeCun, Corinna Cortes and Christopher J.C. Burges: found or downloaded."""

from __future__ import annotations

import hashlib
import os
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np

from nnfast.datasets._idx import PARTS, find_idx, is_idx_name, read_idx
from nnfast.datasets._npz import read_npz
from nnfast.utils.files import cache_home, fetch, has_hash

__all__ = ["load_data"]

# Each file with its size and SHA-256, as published in many places. Those of the test set unpack to the content whose
# SHA-256 (0fa7898d..., ff7bcfd4...) is published with them, and which we have compared.
NPZ = ("mnist.npz", 11490434, "731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1")
IDX = (
    ("train-images-idx3-ubyte.gz", 9912422, "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"),
    ("train-labels-idx1-ubyte.gz", 28881, "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"),
    ("t10k-images-idx3-ubyte.gz", 1648877, "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"),
    ("t10k-labels-idx1-ubyte.gz", 4542, "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"),
)
NPZ_MIRRORS = ["https://storage.googleapis.com/tensorflow/tf-keras-datasets/", "https://s3.amazonaws.com/img-datasets/"]
IDX_MIRRORS = ["https://storage.googleapis.com/cvdf-datasets/mnist/", "https://ossci-datasets.s3.amazonaws.com/mnist/"]

# SHA-256 of the 10,000 test labels: tells MNIST from Fashion-MNIST and others, whose files have the same names.
TEST_LABELS = "ddeff807876a9661a1110d45c266c86239a3a1b7d37da0c3716a7a683c852ff5"

COUNTS = (60000, 10000)  # training and test images
SUBFOLDERS = ["", "mnist", "MNIST", "MNIST/raw", "raw"]


class _Found(NamedTuple):
    arrays: list[np.ndarray]  # x_train, y_train, x_test, y_test
    source: Path


def load_data(
    path: str | os.PathLike[str] = "mnist.npz",
) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Return MNIST, from this machine if it is there, else from the network.

    It is looked for, in this order,

    1. in `path`: an .npz file, an IDX file, or a folder that holds either;
    2. in the folder that the environment variable NNFAST_DATA names;
    3. in the cache, where Keras keeps it too: ``~/.keras/datasets/mnist.npz``, or under NNFAST_HOME or KERAS_HOME;
    4. in the current folder and in ``data``, where torchvision's examples put it;
    5. on several mirrors, from which it is downloaded into the cache and checked against its SHA-256.

    A folder may hold ``mnist.npz`` or the four IDX files (plain or .gz, ``-idx3-ubyte`` or ``.idx3-ubyte``), itself
    or in a subfolder ``mnist`` or ``MNIST/raw``. A set with fewer images is used, with a warning.

    Args:
        path: a file or folder; after a plain file name that is not here the search goes on.

    Returns:
        ``(x_train, y_train), (x_test, y_test)``: uint8 arrays of shapes (60000, 28, 28), (60000,), (10000, 28, 28) and
        (10000,). Pixels run from 0 (paper) to 255 (ink), labels from 0 to 9.

    Raises:
        FileNotFoundError: it is nowhere; the message lists where it was looked for.
        ValueError: a file in `path` or in NNFAST_DATA is damaged or holds something else.

    >>> (x_train, y_train), (x_test, y_test) = load_data()  # doctest: +SKIP
    """
    tried: list[str] = []
    found = (
        _in_path(path, tried)
        or _in_nnfast_data(tried)
        or _in_cache(tried)
        or _in_usual_folders(tried)
        or _from_mirrors(tried)
    )
    if found is None:
        raise FileNotFoundError(
            "[mnist.load_data] MNIST is not on this machine and could not be downloaded. "
            f"Received: path={os.fspath(path)!r}. Looked for it here:\n  "
            + "\n  ".join(tried)
            + "\nPass path=, or set NNFAST_DATA to a folder that holds mnist.npz or the four IDX files. Or use "
            "nnfast.datasets.digits, 7,000 of these images, which come with the package."
        )
    x_train, y_train, x_test, y_test = _checked(found)
    if (len(x_train), len(x_test)) != COUNTS:
        warnings.warn(
            f"[mnist.load_data] {found.source} holds {len(x_train)} training and {len(x_test)} test images; "
            f"the whole of MNIST has {COUNTS[0]} and {COUNTS[1]}",
            stacklevel=2,
        )
    return (x_train, y_train), (x_test, y_test)


def _in_path(path: str | os.PathLike[str], tried: list[str]) -> _Found | None:
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"[mnist.load_data] path must be the name of a file or folder. Received: path={path!r}")
    place = Path(path).expanduser()
    found = _read(place.absolute(), tried)
    # After a plain name the search goes on, as in Keras; anything more precise was meant as it stands.
    if found is None and (place.exists() or place.name != os.fspath(path)):
        raise FileNotFoundError("[mnist.load_data] path holds no MNIST: " + "; ".join(tried))
    return found


def _in_nnfast_data(tried: list[str]) -> _Found | None:
    folder = os.environ.get("NNFAST_DATA")
    if not folder:
        tried.append("NNFAST_DATA: not set")
        return None
    return _read(Path(folder).expanduser(), tried)


def _in_cache(tried: list[str]) -> _Found | None:
    npz, idx = _cache()
    if not npz.is_file():
        tried.append(f"{npz}: does not exist")
    elif has_hash(npz, NPZ[2]):
        return _read(npz, tried)
    else:
        tried.append(f"{npz}: does not have the SHA-256 of MNIST, so it is damaged or something else")
        warnings.warn(f"[mnist.load_data] not used: {tried[-1]}. To use it all the same, pass path=", stacklevel=3)
    if all((idx / name).is_file() and has_hash(idx / name, sha256) for name, _, sha256 in IDX):
        return _read(idx, tried)
    return None


def _in_usual_folders(tried: list[str]) -> _Found | None:
    for folder in (Path.cwd(), Path.cwd() / "data"):
        try:
            found = _read(folder, tried)
        except (OSError, ValueError) as error:  # nobody named this folder: go on, but say so
            tried.append(str(error))
            continue
        if found and hashlib.sha256(found.arrays[3].tobytes()).hexdigest() == TEST_LABELS:
            return found
        if found:
            tried.append(f"{found.source}: its test labels are not those of MNIST")
    return None


def _from_mirrors(tried: list[str]) -> _Found | None:
    npz, idx = _cache()
    for mirror in NPZ_MIRRORS:
        if _download(mirror, NPZ, npz, tried):
            return _read(npz, tried)
    for mirror in IDX_MIRRORS:
        if all(_download(mirror, file, idx / file[0], tried) for file in IDX):
            return _read(idx, tried)
    return None


def _cache() -> tuple[Path, Path]:
    """Where the cache keeps the .npz file, and the folder of its IDX files."""
    folder = Path(cache_home(), "datasets")
    return folder / NPZ[0], folder / "mnist"


def _download(mirror: str, file: tuple[str, int, str], target: Path, tried: list[str]) -> bool:
    """Whether the file lies at `target` now."""
    name, size, sha256 = file
    try:
        if not (target.is_file() and has_hash(target, sha256)):
            target.parent.mkdir(parents=True, exist_ok=True)
            fetch(mirror + name, os.fspath(target), sha256, max_bytes=size)
        return True
    except (OSError, ValueError) as error:
        tried.append(str(error))
        return False


def _read(place: Path, tried: list[str]) -> _Found | None:
    """The set that `place` is, or holds; None, and why in `tried`, if there is none. Damage raises ValueError."""
    if place.is_file() and not is_idx_name(place.name):
        arrays = read_npz(place, ["x_train", "y_train", "x_test", "y_test"])
        return _Found(list(arrays.values()), place)
    folders = [place.parent] if place.is_file() else [place / sub for sub in SUBFOLDERS]
    for folder in folders:
        if (folder / NPZ[0]).is_file():
            return _read(folder / NPZ[0], tried)
        parts = find_idx(folder)
        if len(parts) == len(PARTS):
            return _Found([read_idx(part) for part in parts.values()], folder)
        if parts:
            tried.append(f"{folder}: lacks " + ", ".join(PARTS[part] for part in PARTS if part not in parts))
    reason = f"holds neither {NPZ[0]} nor a set of IDX files" if place.exists() else "does not exist"
    tried.append(f"{place}: {reason}")
    return None


def _checked(found: _Found) -> list[np.ndarray]:
    for split, (x, y) in {"training": found.arrays[:2], "test": found.arrays[2:]}.items():
        if x.dtype != np.uint8 or y.dtype != np.uint8 or x.shape != (*y.shape, 28, 28) or y.ndim != 1:
            raise ValueError(
                f"[mnist.load_data] the {split} set must be N uint8 images of 28x28 and N uint8 labels. "
                f"Received: {x.dtype} {x.shape} and {y.dtype} {y.shape} in {found.source}"
            )
        if (y > 9).any():
            at = int(np.argmax(y > 9))
            raise ValueError(f"[mnist.load_data] {split} label {at} is {y[at]}, expected 0 to 9, in {found.source}")
    return found.arrays
