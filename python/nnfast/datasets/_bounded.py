"""What both readers of untrusted files need: how much data can be there, and reading no more than that."""

from __future__ import annotations

from typing import Protocol

import numpy as np

_CHUNK = 1 << 20


class Readable(Protocol):
    """An open file, or what gzip and zipfile make of one."""

    def read(self, size: int, /) -> bytes: ...


def check_inflation(compressed: int, promised: int) -> None:
    """Refuse a header that promises more than deflate can yield, before anything is allocated for it.

    Deflate shrinks data by at most about 1032 to 1 (https://zlib.net/zlib_tech.html).
    """
    if promised > 1040 * compressed + 1024:
        raise ValueError(f"the header promises {promised} bytes, which {compressed} compressed bytes cannot hold")


def read_exactly(file: Readable, size: int) -> np.ndarray:
    """Read `size` bytes into a new uint8 array [size]."""
    data = np.empty(size, np.uint8)
    done = 0
    while done < size:
        chunk = file.read(min(_CHUNK, size - done))
        if not chunk:
            raise ValueError(f"the file is truncated: it ends after {done} of {size} data bytes")
        data[done : done + len(chunk)] = np.frombuffer(chunk, np.uint8)
        done += len(chunk)
    return data
