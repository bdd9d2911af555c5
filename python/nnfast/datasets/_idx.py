"""The IDX format of the MNIST files: http://yann.lecun.com/exdb/mnist/, section "The IDX file format".

Byte 0 and 1 are zero, byte 2 is the type, byte 3 the number of dimensions; then one big-endian int32 per dimension;
then the values in C order, big-endian.
"""

from __future__ import annotations

import gzip
import math
import os
import struct
import sys
import zlib
from pathlib import Path

import numpy as np

from nnfast.datasets._bounded import Readable, check_inflation, read_exactly

_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_MAX_NDIM = 32  # NumPy before 2.0 has no more

# The four files of a set, in the order of load_data's result.
PARTS = {
    "train-images": "train-images-idx3-ubyte",
    "train-labels": "train-labels-idx1-ubyte",
    "t10k-images": "t10k-images-idx3-ubyte",
    "t10k-labels": "t10k-labels-idx1-ubyte",
}


def _spellings(name: str) -> list[str]:
    return [spelling + ending for spelling in (name, name.replace("-idx", ".idx")) for ending in ("", ".gz")]


def is_idx_name(name: str) -> bool:
    """Whether a file of this name is one of the four."""
    return any(name in _spellings(part) for part in PARTS.values())


def find_idx(folder: str | os.PathLike[str]) -> dict[str, Path]:
    """The IDX files of a set that lie in `folder`: plain or .gz, ``-idx3-ubyte`` or ``.idx3-ubyte``."""
    found = {}
    for part, name in PARTS.items():
        for path in (Path(folder, spelling) for spelling in _spellings(name)):
            if path.is_file():
                found[part] = path
                break
    return found


def read_idx(path: str | os.PathLike[str]) -> np.ndarray:
    """Read an IDX file, plain or compressed by gzip (told by its content, not its name).

    Sizes are checked against the header before anything is allocated, and a compressed file is read no further than
    the header says.

    Returns:
        An array of the file's shape and type (uint8, int8, int16, int32, float32 or float64), in native byte order.

    Raises:
        ValueError: wrong magic number or type, negative or huge dimensions, too little or too much data, damage.
        OSError: the file cannot be read.
    """
    path = os.fspath(path)
    size = os.path.getsize(path)
    try:
        with open(path, "rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            if not packed:
                return _read_stream(file, size, packed)
            with gzip.GzipFile(fileobj=file) as stream:
                return _read_stream(stream, size, packed)
    except (gzip.BadGzipFile, zlib.error, EOFError, ValueError) as error:
        raise ValueError(f"[read_idx] {error}. Received: path={path!r}") from error


def _read_stream(file: Readable, file_size: int, packed: bool) -> np.ndarray:
    magic = file.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in _TYPES:
        raise ValueError(f"byte 0 to 3: {magic.hex(' ') or 'nothing'} is no IDX magic number, such as 00 00 08 03")
    dtype, ndim = np.dtype(_TYPES[magic[2]]), magic[3]
    if ndim > _MAX_NDIM:
        raise ValueError(f"byte 3: {ndim} dimensions, at most {_MAX_NDIM} are possible")
    header = file.read(4 * ndim)
    if len(header) < 4 * ndim:
        raise ValueError(f"byte {4 + len(header)}: the file is truncated inside the header of {4 + 4 * ndim} bytes")
    shape = struct.unpack(f">{ndim}i", header)
    for axis, extent in enumerate(shape):
        if extent < 0:
            raise ValueError(f"byte {4 + 4 * axis}: dimension {axis} is negative: {extent}")
    size = math.prod(shape) * dtype.itemsize
    # NumPy multiplies the dimensions that are not zero, so shape (0, 2^31 - 1, 2^31 - 1, 2^31 - 1) overflows as well.
    if math.prod(extent or 1 for extent in shape) * dtype.itemsize > sys.maxsize:
        raise ValueError(f"byte 4: shape {shape} of {dtype} overflows")
    if packed:
        check_inflation(file_size, size)
    elif file_size != 4 + 4 * ndim + size:
        raise ValueError(f"shape {shape} of {dtype} needs {4 + 4 * ndim + size} bytes, the file has {file_size}")
    values = read_exactly(file, size)
    if file.read(1):
        raise ValueError(f"byte {4 + 4 * ndim + size}: data goes on behind shape {shape} of {dtype}")
    return values.view(dtype).reshape(shape).astype(dtype.newbyteorder("="), copy=False)
