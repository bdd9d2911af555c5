"""The process in which lesson mode runs a kernel: `python lesson_child.py request.json`.

It imports nothing of nnfast, for it is started for each run. A crash or an endless loop ends this process alone.
"""

from __future__ import annotations

import ctypes
import json
import mmap
import sys
from typing import Any


def main(request_file: str) -> None:
    with open(request_file, encoding="utf-8") as f:
        request: dict[str, Any] = json.load(f)
    library = ctypes.CDLL(request["library"])
    base = (ctypes.cast(library.nnfast_lesson_begin, ctypes.c_void_p).value or 0) - request["begin"]
    with open(request["room"], "r+b") as f:
        room = mmap.mmap(f.fileno(), 0)
    start = ctypes.addressof(ctypes.c_char.from_buffer(room))
    library.nnfast_lesson_begin(request["report"].encode(), request["limit"])
    for name, offset, size, kind in request["symbols"]:
        _array(library, name, base + offset, size, kind)
    for name, offset, size, kind in request["arrays"]:
        _array(library, name, start + offset, size, kind)
    arguments: list[Any] = []
    for kind, value in request["arguments"]:
        if kind == "pointer":
            arguments.append(ctypes.c_void_p(None if value is None else start + value))
        else:
            arguments.append(getattr(ctypes, kind)(value))
    call = ctypes.CFUNCTYPE(None, *map(type, arguments))(base + request["function"])
    call(*arguments)
    library.nnfast_lesson_end()


def _array(library: Any, name: str, address: int, size: int, kind: int) -> None:
    library.nnfast_lesson_array(name.encode(), ctypes.c_void_p(address), ctypes.c_size_t(size), kind)


if __name__ == "__main__":
    main(sys.argv[1])
