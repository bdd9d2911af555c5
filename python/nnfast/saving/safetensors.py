"""The safetensors format: a length in 8 bytes, little-endian, a JSON header of that length, then all values.

The header maps names to `{"dtype": "F32", "shape": [...], "data_offsets": [begin, end]}`, and `__metadata__` to strings
(github.com/huggingface/safetensors).
"""

import json
import math
import struct
from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np

_DTYPES = {"F64": "<f8", "F32": "<f4", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1"}
_DTYPES |= {"U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "u1", "BOOL": "?"}
_NAMES = {np.dtype(d).newbyteorder("="): name for name, d in _DTYPES.items()}
_HEADER_LIMIT = 10**8  # as in the reference implementation


def write(file: BinaryIO, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> None:
    """Writes arrays, and strings beside them."""
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    at = 0
    for name, a in arrays.items():
        header[name] = {"dtype": _NAMES[a.dtype], "shape": list(a.shape), "data_offsets": [at, at + a.nbytes]}
        at += a.nbytes
    text = json.dumps(header).encode("utf-8")
    text += b" " * (-len(text) % 8)
    file.write(struct.pack("<Q", len(text)) + text)
    for a in arrays.values():
        file.write(np.ascontiguousarray(a, a.dtype.newbyteorder("<")).tobytes())


def read(data: bytes) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The arrays and the strings in the bytes of a file.

    Raises:
        ValueError: the header is not JSON, an offset or a shape is not that of the file, or a name is there twice.
    """
    if len(data) < 8:
        raise ValueError(f"a safetensors file begins with 8 bytes for the length of its header; these are {len(data)}")
    (length,) = struct.unpack_from("<Q", data)
    if length > min(len(data) - 8, _HEADER_LIMIT):
        raise ValueError(f"the header should be {length} bytes long, but the file has {len(data)} in all")
    header = json.loads(data[8 : 8 + length].decode("utf-8"), object_pairs_hook=_unique)
    if not isinstance(header, dict):
        raise ValueError("the header is not a JSON object")
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise ValueError("__metadata__ must map names to strings")
    body = memoryview(data)[8 + length :]
    return {name: _array(name, entry, body) for name, entry in header.items()}, metadata


def _array(name: str, entry: Any, body: memoryview) -> np.ndarray:
    try:
        dtype, shape, (begin, end) = np.dtype(_DTYPES[entry["dtype"]]), entry["shape"], entry["data_offsets"]
    except (KeyError, TypeError, ValueError) as e:
        raise ValueError(f"the entry of {name!r} is not that of an array that nnfast reads: {entry!r}") from e
    whole = all(type(n) is int and n >= 0 for n in (*shape, begin, end))
    if not whole or not begin <= end <= len(body) or end - begin != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"the shape or place of {name!r} is not that of its values: {entry!r} of {len(body)} bytes")
    return np.frombuffer(body[begin:end], dtype).reshape(shape).astype(dtype.newbyteorder("="))


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError(f"a name is there twice among {[k for k, _ in pairs]}")
    return made
