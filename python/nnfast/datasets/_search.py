"""Where a file of a data set is: on this machine, under one of its usual names, or on a mirror."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from nnfast.utils.files import cache_home, fetch, has_hash


class File(NamedTuple):
    """A file with what is known of it: its size in bytes (None: not known) and its SHA-256 or MD5."""

    name: str
    size: int | None
    hash: str


def locate(tag: str, file: File, folder: str, subfolders: Sequence[str], mirrors: Sequence[str]) -> Path:
    """The file with the right hash: from this machine if it is there, else from a mirror, into the cache.

    It is looked for in the folder that NNFAST_DATA names, in the cache, in the current folder and in `data`; in each of
    them directly and in `subfolders`.

    Args:
        tag: for messages.
        file: its name and hash: only this file is taken.
        folder: of the cache, below `datasets`.
        subfolders: see above.
        mirrors: addresses that the name is appended to.

    Raises:
        FileNotFoundError: it is nowhere; the message lists where it was looked for.
    """
    tried: list[str] = []
    cache = Path(cache_home(), "datasets", folder)
    data = os.environ.get("NNFAST_DATA")
    if not data:
        tried.append("NNFAST_DATA: not set")
    roots = [Path(data).expanduser()] if data else []
    for root in [*roots, None, Path.cwd(), Path.cwd() / "data"]:
        places = [cache] if root is None else [root / sub for sub in ("", *subfolders)]
        for place in places:
            path = place / file.name
            if path.is_file():
                if has_hash(path, file.hash):
                    return path
                tried.append(f"{path}: does not have the hash of the data set, so it is damaged or something else")
        if not any((place / file.name).is_file() for place in places):
            tried.append(f"{places[0]}: {'holds no ' + file.name if places[0].is_dir() else 'does not exist'}")
    for mirror in mirrors:
        try:
            cache.mkdir(parents=True, exist_ok=True)
            fetch(mirror + file.name, os.fspath(cache / file.name), file.hash, max_bytes=file.size)
            return cache / file.name
        except (OSError, ValueError) as error:
            tried.append(str(error))
    raise FileNotFoundError(
        f"[{tag}] {file.name} is not on this machine and could not be downloaded. Looked for it here:\n  "
        + "\n  ".join(tried)
        + "\nSet NNFAST_DATA to a folder that holds it. nnfast.datasets.digits comes with the package."
    )
