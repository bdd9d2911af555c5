"""HDF5 from strangers: only plain groups and datasets of numbers, as large as they say, inside the one file."""

import io
from collections.abc import Iterator
from typing import Any

import numpy as np

_ATTRIBUTE_LIMIT = 64512  # bytes that HDF5 can keep in an attribute
_RATIO, _SMALL = 100, 2**28  # compressed data may grow so many times, or to so many bytes


def h5py() -> Any:
    """The module, imported when the first HDF5 file is touched."""
    try:
        import h5py
    except ImportError as e:
        raise ImportError("[save] HDF5 files need h5py. Use pip install h5py, or a .safetensors file") from e
    return h5py


def open_bytes(data: bytes) -> Any:
    """An HDF5 file in memory, for reading."""
    return h5py().File(io.BytesIO(data), "r")


def child(parent: Any, name: str, kind: str) -> Any:
    """The group or dataset of a name below parent; links to other files or places are refused, missing is None."""
    node = parent
    for part in name.strip("/").split("/"):
        if not isinstance(node, h5py().Group) or part not in node:
            return None
        link = node.get(part, getlink=True)
        if not isinstance(link, h5py().HardLink):
            raise ValueError(f"{node.name}/{part} is a link, which nnfast does not follow")
        node = node[part]
    if not isinstance(node, h5py().Dataset if kind == "dataset" else h5py().Group):
        raise ValueError(f"{node.name} is not a {kind}")
    return node


def check(dataset: Any) -> None:
    """Raises a ValueError unless the dataset is numbers, all of which the file holds."""
    if dataset.is_virtual or dataset.external:
        raise ValueError(f"{dataset.name} lies in another file, which nnfast does not follow")
    if dataset.shape is None or dataset.dtype.kind not in "biuf":
        raise ValueError(f"{dataset.name} holds no array of numbers, but dtype {dataset.dtype}")
    stored, said = dataset.id.get_storage_size(), dataset.nbytes
    packed = dataset.compression is not None or dataset.id.get_create_plist().get_nfilters() > 0
    if said > (max(_SMALL, _RATIO * stored) if packed else stored):
        raise ValueError(f"{dataset.name} says it has {said} bytes, but the file holds {stored} of them")


def read(dataset: Any, shape: tuple[int, ...] | None = None) -> np.ndarray:
    """Its values, once its shape is the one that is wanted and it has been checked."""
    if shape is not None and tuple(dataset.shape or ()) != tuple(shape):
        raise ValueError(f"{dataset.name} has shape {dataset.shape}, but the weight has shape {tuple(shape)}")
    check(dataset)
    return np.asarray(dataset[()])


def numbers(group: Any) -> int:
    """How many numbers all datasets below hold; each is checked."""
    total = 0

    def visit(name: str, node: Any) -> None:
        nonlocal total
        if isinstance(node, h5py().Dataset):
            check(node)
            total += node.size

    group.visititems(visit)
    return total


def text(node: Any, name: str) -> str | None:
    """A string attribute."""
    value = node.attrs.get(name)
    if value is None:
        return None
    if isinstance(value, bytes):
        return value.decode("utf-8")
    if not isinstance(value, str):
        raise ValueError(f"the attribute {name} of {node.name} must be a string, not {type(value).__name__}")
    return value


def names(node: Any, name: str) -> list[str]:
    """A list of strings among the attributes, which long models have in pieces name0, name1, ..."""
    parts = [node.attrs[name]] if name in node.attrs else list(_pieces(node, name))
    return [n.decode("utf-8") if isinstance(n, bytes) else str(n) for part in parts for n in np.ravel(part)]


def _pieces(node: Any, name: str) -> Iterator[Any]:
    n = 0
    while f"{name}{n}" in node.attrs:
        yield node.attrs[f"{name}{n}"]
        n += 1


def set_names(node: Any, name: str, values: list[str]) -> None:
    """Writes a list of strings, in pieces where it is too long for one attribute."""
    data = np.asarray([v.encode("utf-8") for v in values]) if values else np.zeros(0, "S1")
    pieces = np.array_split(data, max(1, -(-data.nbytes // _ATTRIBUTE_LIMIT)))
    if len(pieces) == 1:
        node.attrs[name] = data
    else:
        for n, piece in enumerate(pieces):
            node.attrs[f"{name}{n}"] = piece
