"""Files from elsewhere, none of them trusted, and writes that happen whole or not at all."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Sequence
from typing import BinaryIO

from nnfast.saving.atomic import atomic_file

# hashlib, urllib.request and tarfile are imported where they are used: they would cost `import nnfast` 50 ms.

__all__ = ["atomic_file", "cache_home", "fetch", "get_file", "has_hash"]


def get_file(
    fname: str | None = None,
    origin: str | None = None,
    untar: bool = False,
    md5_hash: str | None = None,
    file_hash: str | None = None,
    cache_subdir: str = "datasets",
    hash_algorithm: str = "auto",
    extract: bool = False,
    archive_format: str | Sequence[str] | None = "auto",
    cache_dir: str | os.PathLike[str] | None = None,
    force_download: bool = False,
) -> str:
    """Download a file unless the cache has it, check it, unpack it if asked, and return its path.

    Nothing is put under its final name before it is whole and its hash is right. Only http and https are spoken.
    Archives may hold plain files and folders inside themselves: links, devices, absolute paths and ``..`` are refused.

    Args:
        fname: the name in the cache; by default the last part of the URL.
        origin: the URL.
        untar: old spelling of ``extract=True, archive_format="tar"``.
        md5_hash: old spelling of ``file_hash``.
        file_hash: the expected SHA-256 or MD5 in hexadecimal. A cached file with another one is downloaded again.
        cache_subdir: the folder inside the cache.
        hash_algorithm: "sha256", "md5", or "auto" to tell by the length of `file_hash`.
        extract: unpack the archive.
        archive_format: "tar" (plain, gzip, bzip2 or xz), "zip", a list of these, or "auto" for both.
        cache_dir: the cache; by default what `cache_home` says.
        force_download: download even what the cache has.

    Returns:
        The path of the file, or with `extract` the path of the folder it was unpacked to.

    Raises:
        ValueError: an argument is wrong, the hash differs, or the archive is refused.
        OSError: the download failed or was cut off; or a file cannot be written.

    >>> get_file("labels.txt", origin="file:///etc/passwd")
    Traceback (most recent call last):
    ValueError: [get_file] only http and https are downloaded. Received: origin='file:///etc/passwd'
    """
    if md5_hash is not None and file_hash is None:
        file_hash, hash_algorithm = md5_hash, "md5"
    name = _file_name(fname, origin)
    if file_hash is not None:
        _hash_name(file_hash, hash_algorithm)
    folder = os.path.join(os.path.expanduser(cache_dir) if cache_dir is not None else cache_home(), cache_subdir)
    target, unpacked = os.path.join(folder, name), None
    if extract or untar:
        # Keras's names: "a.tar.gz" unpacks to "a_extracted"; "a", or the name in the URL, to itself.
        if fname and "." in name:
            unpacked = os.path.join(folder, name.partition(".")[0] + "_extracted")
        else:
            target, unpacked = os.path.join(folder, name + "_archive"), os.path.join(folder, name)
    formats = _formats("tar" if untar else archive_format)
    os.makedirs(folder, exist_ok=True)
    if force_download or not _cached(target, file_hash, hash_algorithm):
        assert origin is not None  # _file_name has seen it
        fetch(origin, target, file_hash, hash_algorithm, unpack_to=unpacked, formats=formats)
    elif unpacked is not None and not os.path.isdir(unpacked):
        from nnfast.utils._archive import unpack

        with open(target, "rb") as file:
            unpack(file, unpacked, formats)
    return unpacked or target


def fetch(
    origin: str,
    target: str,
    file_hash: str | None = None,
    hash_algorithm: str = "auto",
    *,
    max_bytes: int | None = None,
    unpack_to: str | None = None,
    formats: Sequence[str] = (),
) -> None:
    """Download `origin` to `target`, in a folder that exists; the name appears once the content is whole and checked.

    Args:
        max_bytes: give up when the server sends more.
        unpack_to: also unpack the archive, of one of `formats`, to this folder.

    Raises:
        ValueError: the hash differs, or the archive is refused.
        OSError: the download failed or was cut off; or the file cannot be written.
    """
    from nnfast.utils._download import download

    print(f"Downloading {origin}", file=sys.stderr)
    with atomic_file(target) as file:
        download(origin, file, max_bytes)
        if file_hash is not None and not _has_hash(file, file_hash, hash_algorithm):
            raise ValueError(f"[get_file] what was downloaded does not have the hash {file_hash}. Received: {origin!r}")
        if unpack_to is not None:
            from nnfast.utils._archive import unpack

            unpack(file, unpack_to, formats)


def cache_home() -> str:
    """The folder for downloads: NNFAST_HOME, KERAS_HOME, or ``~/.keras``, so that files which Keras has serve again."""
    home = os.environ.get("NNFAST_HOME") or os.environ.get("KERAS_HOME") or "~/.keras"
    return os.path.expanduser(home)


def has_hash(path: str | os.PathLike[str], file_hash: str, hash_algorithm: str = "auto") -> bool:
    """Whether a file has this SHA-256 or MD5."""
    with open(path, "rb") as file:
        return _has_hash(file, file_hash, hash_algorithm)


def _file_name(fname: str | None, origin: str | None) -> str:
    from urllib.parse import urlsplit

    if not origin:
        raise ValueError(f"[get_file] origin, the URL to download, is missing. Received: origin={origin!r}")
    if urlsplit(origin).scheme not in ("http", "https"):
        raise ValueError(f"[get_file] only http and https are downloaded. Received: origin={origin!r}")
    name = os.fspath(fname) if fname else urlsplit(origin).path.rpartition("/")[2]
    if not name or name in (".", "..") or any(character in name for character in "/\\\0"):
        raise ValueError(
            f"[get_file] fname must be a file name without a folder. Received: fname={fname!r}, origin={origin!r}. "
            "Use cache_dir and cache_subdir for the folder"
        )
    return name


def _formats(archive_format: str | Sequence[str] | None) -> Sequence[str]:
    if archive_format == "auto":
        return ("tar", "zip")
    formats = (archive_format,) if isinstance(archive_format, str) else tuple(archive_format or ())
    if not set(formats) <= {"tar", "zip"}:
        raise ValueError(f"[get_file] archive_format must be 'auto', 'tar' or 'zip'. Received: {archive_format!r}")
    return formats


def _hash_name(file_hash: str, hash_algorithm: str) -> str:
    lengths = {"sha256": 64, "md5": 32}
    for name, length in lengths.items():
        if hash_algorithm in (name, "auto") and len(file_hash) == length:
            return name
    raise ValueError(
        "[get_file] file_hash must be a SHA-256 of 64 or an MD5 of 32 hexadecimal digits, and hash_algorithm 'auto', "
        f"'sha256' or 'md5'. Received: file_hash={file_hash!r}, hash_algorithm={hash_algorithm!r}"
    )


def _has_hash(file: BinaryIO, file_hash: str, hash_algorithm: str) -> bool:
    import hashlib

    digest = hashlib.new(_hash_name(file_hash, hash_algorithm), usedforsecurity=False)
    file.seek(0)
    while chunk := file.read(1 << 20):
        digest.update(chunk)
    return digest.hexdigest() == file_hash.lower()


def _cached(target: str, file_hash: str | None, hash_algorithm: str) -> bool:
    if not os.path.isfile(target):
        return False
    if file_hash is None or has_hash(target, file_hash, hash_algorithm):
        return True
    warnings.warn(f"[get_file] {target} does not have the hash {file_hash}: it is downloaded again", stacklevel=3)
    return False
