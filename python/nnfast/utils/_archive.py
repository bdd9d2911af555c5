"""Unpacking tar and zip archives from strangers: plain files and folders, inside the target folder, or nothing."""

from __future__ import annotations

import contextlib
import gzip
import os
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import PureWindowsPath
from typing import IO, Any, BinaryIO, NamedTuple

from nnfast.saving.atomic import sync_folder, temporary_name

# What the archive readers raise for damaged data; lzma is missing from some builds of Python.
_DAMAGED: tuple[type[Exception], ...] = (
    *(ValueError, EOFError, RuntimeError, NotImplementedError),
    *(tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, zlib.error),
)
with contextlib.suppress(ImportError):
    from lzma import LZMAError

    _DAMAGED += (LZMAError,)


class _Member(NamedTuple):
    name: str
    size: int
    is_folder: bool
    open: Callable[[], IO[bytes] | None]


def unpack(file: BinaryIO, folder: str, formats: Sequence[str]) -> None:
    """Unpack an archive to `folder`, which appears (or is replaced) only after the last member is in place.

    Raises:
        ValueError: no archive of these formats, damaged, encrypted, larger than the disk, or a member that is a link
            or a device, has an absolute name, leads outside with ``..``, or comes twice.
        OSError: a file cannot be read or written.
    """
    fresh = temporary_name(folder)
    os.mkdir(fresh)
    try:
        room = shutil.disk_usage(fresh).free
        for member in _members(file, formats):
            room -= member.size
            if room < 0:
                raise ValueError("it unpacks to more than the disk has room for")
            _write(member, _inside(fresh, member.name))
        if hasattr(os, "sync"):
            os.sync()  # once for all files, before the name that says they are complete
        _put_in_place(fresh, folder)
    except _DAMAGED as error:
        raise ValueError(f"[get_file] the archive for {folder!r} is refused: {error}") from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    sync_folder(os.path.dirname(folder))


def _members(file: BinaryIO, formats: Sequence[str]) -> Iterator[_Member]:
    if "tar" in formats:  # first: a plain tar that ends with a zip file looks like one
        file.seek(0)
        with contextlib.suppress(tarfile.ReadError):
            return _tar_members(tarfile.open(fileobj=file, tarinfo=_TarInfo))
    if "zip" in formats and zipfile.is_zipfile(file):
        return _zip_members(file)
    raise ValueError(f"it is no archive of the formats {list(formats)}")


class _TarInfo(tarfile.TarInfo):
    """Refuses negative sizes, on which tarfile before mid-2025 may loop for ever (CVE-2025-8194)."""

    def _block(self, count: int) -> int:
        if count < 0:
            raise tarfile.HeaderError("a member of negative size")
        return super()._block(count)  # type: ignore[misc]


def _tar_members(archive: tarfile.TarFile) -> Iterator[_Member]:
    with archive:
        for info in archive:
            if not (info.isreg() or info.isdir()):
                raise ValueError(f"{info.name!r} is a link or a device")
            yield _Member(info.name, info.size, info.isdir(), partial(archive.extractfile, info))


def _zip_members(file: BinaryIO) -> Iterator[_Member]:
    with zipfile.ZipFile(file) as archive:
        for info in archive.infolist():
            kind = stat.S_IFMT(info.external_attr >> 16)  # 0 where the archive was not made on Unix
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise ValueError(f"{info.filename!r} is a link or a device")
            yield _Member(info.filename, info.file_size, info.is_dir(), partial(archive.open, info))


def _inside(folder: str, name: str) -> str:
    path = PureWindowsPath(name)  # splits at both slashes and knows drives: what is unsafe anywhere is refused here
    if not name or path.drive or path.root or ".." in path.parts:
        raise ValueError(f"{name!r} leads outside the folder")
    return os.path.join(folder, *path.parts)


def _write(member: _Member, path: str) -> None:
    try:
        os.makedirs(path if member.is_folder else os.path.dirname(path), exist_ok=True)
        source: Any = None if member.is_folder else member.open()
        if source is None:
            return
        with source, open(path, "xb") as target:
            shutil.copyfileobj(source, target, 1 << 20)
            if target.tell() != member.size:
                raise ValueError(f"{member.name!r} ends after {target.tell()} of {member.size} bytes")
    except (FileExistsError, NotADirectoryError, IsADirectoryError):
        raise ValueError(f"{member.name!r} comes twice, or as a file and as a folder") from None


def _put_in_place(fresh: str, folder: str) -> None:
    """Rename `fresh` to `folder`, putting aside what was there; of two processes that do so at once, one wins."""
    old = temporary_name(folder)
    with contextlib.suppress(FileNotFoundError):
        os.rename(folder, old)
    try:
        os.rename(fresh, folder)
    except OSError:
        if not os.path.isdir(folder):
            raise
    shutil.rmtree(old, ignore_errors=True)
