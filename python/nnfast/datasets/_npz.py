"""Reading .npz files without trusting them: every size is checked before memory is allocated, nothing is unpickled."""

from __future__ import annotations

import math
import os
import zipfile
import zlib
from collections.abc import Iterable
from typing import IO

import numpy as np

from nnfast.datasets._bounded import check_inflation, read_exactly


def read_npz(path: str | os.PathLike[str], names: Iterable[str]) -> dict[str, np.ndarray]:
    """Read the named arrays of an .npz file.

    Args:
        path: the file.
        names: the arrays to read; others in the file are left alone.

    Raises:
        ValueError: the file is damaged, lacks a name, holds Python objects, or its sizes contradict each other.
        OSError: the file cannot be opened.
    """
    path = os.fspath(path)
    with open(path, "rb") as file:
        try:
            with zipfile.ZipFile(file) as archive:
                return {name: _read_member(archive, name) for name in names}
        # OSError: a seek to where a damaged directory points.
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, ValueError) as error:
            raise ValueError(f"[read_npz] {error}. Received: path={path!r}") from error


def _read_member(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    try:
        info = archive.getinfo(name + ".npy")
    except KeyError:
        raise ValueError(f"there is no array {name!r}, only {archive.namelist()}") from None
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"array {name!r}: compressed by method {info.compress_type}, expected stored or deflated")
    with archive.open(info) as file:
        shape, fortran, dtype = _read_header(file, name)
        if dtype.hasobject:
            raise ValueError(f"array {name!r}: holds Python objects, which are never unpickled")
        start, size = file.tell(), math.prod(shape) * dtype.itemsize
        if min(shape, default=0) < 0 or start + size != info.file_size:
            raise ValueError(
                f"array {name!r}: shape {shape} of {dtype} needs {size} bytes, {info.file_size - start} are there"
            )
        check_inflation(info.compress_size, size)
        values = read_exactly(file, size)
    return values.view(dtype).reshape(shape, order="F" if fortran else "C").astype(dtype.newbyteorder("="), copy=False)


def _read_header(file: IO[bytes], name: str) -> tuple[tuple[int, ...], bool, np.dtype]:
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    version = np.lib.format.read_magic(file)
    if version not in readers:
        raise ValueError(f"array {name!r}: .npy version {version}, expected (1, 0) or (2, 0)")
    try:
        return readers[version](file)
    except Exception as error:  # the header is a Python literal: a wrong one fails in many ways, TokenError among them
        raise ValueError(f"array {name!r}: the .npy header cannot be read: {error}") from error
