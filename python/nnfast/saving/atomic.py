"""Writes that happen whole or not at all."""

import contextlib
import errno
import os
from collections.abc import Iterator
from typing import BinaryIO


@contextlib.contextmanager
def atomic_file(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a file for writing (and reading back) that takes the name `path` at the end, and only if all went well.

    An interruption, an error or a power cut leaves what `path` was before.
    """
    path = os.path.realpath(path)  # an existing link keeps pointing to where the data lie
    folder = os.path.dirname(path)
    if not os.path.isdir(folder):
        text = "the folder does not exist. Make it first, with os.makedirs(..., exist_ok=True)"
        raise FileNotFoundError(errno.ENOENT, text, folder)
    part = temporary_name(path)
    descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
    try:
        with open(descriptor, "w+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(part)
        raise
    sync_folder(folder)


def temporary_name(path: str) -> str:
    """A name nobody else uses, in the same folder, hence on the same file system, as `path`."""
    return os.path.join(os.path.dirname(path), f".nnfast-{os.urandom(8).hex()}.part")


def sync_folder(folder: str) -> None:
    """Make renames in a folder survive a power cut, where the system lets a folder be opened."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
