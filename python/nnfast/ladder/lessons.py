"""Lesson mode: a CUDA kernel on the CPU, with each access to memory checked and counted.

A kernel file is compiled by GCC so that it announces each load and store; the emulator of `csrc/cuda_on_cpu` runs it,
and `lesson.cpp` there looks at what it announces. It runs in a process of its own.
"""

from __future__ import annotations

import atexit
import hashlib
import json
import math
import os
import platform
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from nnfast.ladder import rungs
from nnfast.ladder.problems import Array

COMPILE_SECONDS = 120
KEPT = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "nnfast")  # the emulator, compiled
FLAGS = ["-std=c++20", "-fPIC", "-fvisibility=hidden", "-pthread"]
WARNINGS = ["-Wall", "-Wno-unknown-pragmas", "-Wno-sign-compare", "-Wno-unused-function"]
# Each load and store becomes a call. Without the last three flags GCC takes a float4 apart, or makes its own vectors.
OBSERVED = [
    "-O1", "-g", "-fsanitize=thread,bounds", "--param", "tsan-instrument-func-entry-exit=0",
    "-fno-tree-sra", "-fno-tree-vectorize", "-fno-tree-slp-vectorize",
]  # fmt: skip
PLAIN = ["-O2", "-g"]
STATIC_SHARED, MOST_SHARED = 48 << 10, 227 << 10  # bytes that a block may have of __shared__ variables, and in all
REMEMBERED = 64  # bytes that lesson.cpp keeps of each byte that a kernel may write
MOST_MEMORY = 4 << 30  # bytes that a run may need
GAP = 1 << 20  # bytes between arrays, so that what strays from one does not land in the next
SHARED, INPUT, OUTPUT, FILLED = range(4)  # enum NnfastLessonArray of lesson.h
SCALARS = {
    "bool": "c_bool", "char": "c_char", "short": "c_int16", "unsigned short": "c_uint16", "int": "c_int32",
    "unsigned int": "c_uint32", "long": "c_int64", "unsigned long": "c_uint64", "long long": "c_int64",
    "unsigned long long": "c_uint64", "float": "c_float", "double": "c_double",
}  # fmt: skip
POINTERS = {
    "bool": "bool", "signed char": "int8", "unsigned char": "uint8", "short": "int16", "unsigned short": "uint16",
    "int": "int32", "unsigned int": "uint32", "long": "int64", "unsigned long": "uint64", "float": "float32",
    "double": "float64",
}  # fmt: skip


# ---- what is found ----


@dataclass(frozen=True)
class Fault:
    """Something wrong in a kernel: `tag` names the kind, `text` says who did what where."""

    tag: str
    text: str
    file: str = ""
    line: int = 0
    array: str = ""
    other_line: int = 0  # of the other access of a race
    source: str = ""  # that line
    count: int = 1

    def __str__(self) -> str:
        again = f" ({self.count:,} times)" if self.count > 1 else ""
        source = f"\n    {self.file}:{self.line}: {self.source}" if self.source else ""
        return f"[{self.tag}] {self.text}{again}{source}"


@dataclass(frozen=True)
class Line:
    """What one line of a kernel does to one array. A request is one memory instruction of a warp."""

    file: str
    line: int
    access: str  # "load", "store" or "atomic"
    array: str
    shared: bool
    bytes: int  # of a thread's access
    requests: int
    lanes: int  # threads that took part, over all requests
    moved: int  # sectors of 32 bytes of global memory, or wavefronts of shared memory
    ideal: int  # as many as the bytes need at least
    source: str = ""

    @property
    def per_request(self) -> float:
        """Sectors or wavefronts of a request."""
        return self.moved / self.requests

    @property
    def remark(self) -> str:
        if self.moved <= 1.3 * self.ideal:
            return ""
        if self.shared and self.access == "atomic":
            return "lanes wait for each other"
        return "bank conflicts" if self.shared else "not coalesced"


@dataclass(frozen=True)
class Launch:
    """One launch of a kernel."""

    kernel: str
    grid: tuple[int, int, int]
    block: tuple[int, int, int]
    shared_bytes: int  # dynamic

    @property
    def blocks(self) -> int:
        return math.prod(self.grid)

    @property
    def threads(self) -> int:
        """Of a block."""
        return math.prod(self.block)


@dataclass
class Report:
    """What a run of a kernel did: its faults, its counts by line, and its arrays afterwards. `print` shows it.

    A run that `stopped` has counts up to there, and arrays that are not finished.
    """

    faults: list[Fault]
    warnings: list[Fault]
    lines: list[Line]
    launches: list[Launch]
    arrays: dict[str, Array]
    stopped: bool = False
    barriers: int = 0  # that blocks have passed

    def total(self, what: str, shared: bool) -> int:
        """The sum of `requests`, `lanes`, `moved` or `ideal` over all lines, of shared or of global memory."""
        return sum(getattr(line, what) for line in self.lines if line.shared == shared)

    def __str__(self) -> str:
        return table(self)


def table(report: Report) -> str:
    """A report as text."""
    parts = [str(f) for f in [*report.faults, *report.warnings]]
    parts = parts or ["no faults found"]
    if report.launches:
        parts.append("")
        parts += [_launch_text(n) for n in _together(report.launches)]
    if report.lines:
        width = max(len(f"{n.file}:{n.line}") for n in report.lines)
        name = max(6, *(len(_where(n)) for n in report.lines))
        head = f"{'line':<{width}}  {'does':<6} {'array':<{name}} {'bytes':>5} {'requests':>10}  a request takes"
        parts += [head + " " * 16 + "at best"]
        for n in report.lines:
            unit = "wavefronts" if n.shared else "sectors"
            row = f"{n.file + ':' + str(n.line):<{width}}  {n.access:<6} {_where(n):<{name}} {n.bytes:>5} "
            row += f"{n.requests:>10,}  {n.per_request:>6.2f} {unit:<10} {n.ideal / n.requests:>15.2f}"
            parts.append(row + (f"  <- {n.remark}" if n.remark else ""))
        for shared, text in ((False, "global memory: {} sectors of 32 bytes"), (True, "shared memory: {} wavefronts")):
            if requests := report.total("requests", shared):
                moved, ideal = report.total("moved", shared), report.total("ideal", shared)
                parts.append(f"{text.format(f'{moved:,}')} in {requests:,} requests; {ideal:,} would do at best")
    return "\n".join(parts)


def _where(line: Line) -> str:
    return f"shared {line.array}" if line.shared else line.array


def _together(launches: list[Launch]) -> list[tuple[Launch, int]]:
    counts: dict[Launch, int] = {}
    for launch in launches:
        counts[launch] = counts.get(launch, 0) + 1
    return list(counts.items())


def _launch_text(launch_count: tuple[Launch, int]) -> str:
    launch, count = launch_count
    times = f", {count} times" if count > 1 else ""
    dynamic = f", {launch.shared_bytes:,} bytes of dynamic shared memory" if launch.shared_bytes else ""
    shapes = [" x ".join(map(str, _trimmed(shape))) for shape in (launch.grid, launch.block)]
    block, thread = ("s" if n > 1 else "" for n in (launch.blocks, launch.threads))
    return f"{launch.kernel}: {shapes[0]} block{block} of {shapes[1]} thread{thread}{dynamic}{times}"


def _trimmed(shape: tuple[int, ...]) -> tuple[int, ...]:
    """(4, 1, 1) as (4,)"""
    while len(shape) > 1 and shape[-1] == 1:
        shape = shape[:-1]
    return shape


# ---- compiling ----


def lesson(
    path: str | Path,
    function: str,
    arguments: Mapping[str, Any],
    outputs: Iterable[str] = (),
    limit: float = 30.0,
) -> Report:
    """Compiles a file of CUDA kernels for the CPU, calls a function of it, and watches the kernels that it launches.

    Found are: races of threads (a missing `__syncthreads` or `__syncwarp`, two blocks), accesses out of bounds, of
    memory that nobody wrote, of vectors at addresses that they may not have; divergent barriers, deadlocks, wrong
    masks; a crash or an endless loop. Counted are, for each line: requests, the sectors of global memory that they
    move, and the wavefronts of shared memory that they take.

    Args:
        path: the file, .cu, with `#include "nnfast_ladder.cuh"`.
        function: an ordinary function of it, which launches its kernels with `launch(kernel, grid, block, shared_bytes,
            stream, arguments...)`.
        arguments: of the function, in its order. Arrays are copied to memory that
            only kernels may touch, and their names are those of the report.
        outputs: names of the arrays that hold rubbish until the kernel has written them.
        limit: seconds that the function may last.

    Returns:
        A Report.

    Raises:
        ValueError: there is no GCC on Linux, the file does not compile, or the arguments do not fit the function.
    """
    return compile_kernels(Path(path)).run(function, arguments, outputs, limit)


class Library:
    """A kernel file, compiled."""

    def __init__(self, path: Path, folder: Path, library: Path, own: set[str]):
        self.path, self._library = path, library
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        self._symbols = _symbols(library)
        self._data = [s for s in self._symbols if s.mangled in own and s.kind in "bBdDrRuV" and s.size]
        self._functions = [s for s in self._symbols if s.mangled in own and s.kind in "tTwW"]
        self._source = path.read_text(encoding="utf-8", errors="replace").splitlines()

    def run(
        self,
        function: str,
        arguments: Mapping[str, Any],
        outputs: Iterable[str] = (),
        limit: float = 30.0,
        inputs: Iterable[str] = (),
    ) -> Report:
        """Calls a function of the file in a process of its own. `inputs` may not be changed, const or not."""
        outputs = set(outputs)
        if unknown := outputs - {n for n, v in arguments.items() if isinstance(v, np.ndarray)}:
            raise ValueError(f"[lesson] outputs are names of arrays among the arguments. Received: {sorted(unknown)}")
        target = self._function(function)
        types = target.parameters
        if types is not None and len(types) != len(arguments):
            raise ValueError(
                f"[lesson] {function} has {len(types)} parameters: {', '.join(types)}. Received: {', '.join(arguments)}"
            )
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            request, views = _laid_out(folder / "room", arguments, types, outputs, set(inputs), function)
            report = folder / "report.json"
            request |= {
                "library": str(self._library),
                "report": str(report),
                "limit": math.ceil(limit),
                "function": target.address,
                "begin": next(s.address for s in self._symbols if s.name == "nnfast_lesson_begin"),
                "symbols": [self._symbol(s) for s in self._data],
            }
            (folder / "request.json").write_text(json.dumps(request), encoding="utf-8")
            ending = _child(folder / "request.json", limit)
            if not report.exists():
                raise ValueError(f"[lesson] {self.path.name}: {ending}, and left no report")
            found = json.loads(report.read_text(encoding="utf-8"))
            return _Reader(self, found, {n: np.array(v) for n, v in views.items()}).report()

    def _function(self, name: str) -> _Symbol:
        found = [s for s in self._functions if s.name.partition("(")[0].split("::")[-1] == name]
        if len(found) == 1:
            return found[0]
        rule = "defines several functions" if found else "defines no function"
        raise ValueError(f"[lesson] {self.path.name} {rule} {name}, which lesson mode is to call and is not static")

    def check_parameters(self, function: str, expected: list[tuple[str, str]]) -> None:
        """Whether a function has parameters of these types and names, as a header declares it.

        Raises:
            ValueError: it has others.
        """
        types = self._function(function).parameters
        if types is None:  # extern "C": the header's own, or the compiler had complained
            return
        plain = [t.replace("int64_t", "long").replace("const float", "float const") for t, _ in expected]
        if types != plain:
            wanted = ", ".join(f"{t} {n}" for t, n in expected)
            raise ValueError(
                f"[lesson] {self.path.name}: the function is {function}({wanted}). "
                f"Received: {function}({', '.join(types)})"
            )

    def check_static_shared(self) -> None:
        """Whether the __shared__ variables of each kernel are as few bytes as nvcc takes.

        Raises:
            ValueError: they are more; the line of the largest.
        """
        source = "\n".join(self._source)
        sizes: dict[str, list[tuple[int, str, int]]] = {}
        for s in self._data:
            name, _, size, kind = self._symbol(s)
            if kind == SHARED and (found := re.search(rf"\b__shared__\b[^;]*?\b({name})\b", source)):
                line = source.count("\n", 0, found.start(1)) + 1
                sizes.setdefault(s.name.rpartition("::")[0], []).append((size, name, line))
        for variables in sizes.values():
            total, (size, name, line) = sum(size for size, _, _ in variables), max(variables)
            if total > STATIC_SHARED:
                raise ValueError(
                    f"[lesson] {self.path.name}:{line}: the __shared__ variables of a kernel have at most "
                    f"{STATIC_SHARED:,} bytes; more is DYNAMIC_SHARED. Received: {total:,}, {size:,} of them of {name}"
                    f"\n    {self._source[line - 1].strip()}"
                )

    def static_shared(self, kernel: int) -> int:
        """Bytes of the __shared__ variables of the kernel that begins there."""
        names = {s.mangled for s in self._symbols if s.address == kernel and s.kind in "tTwW"}
        return sum(s.size for s in self._data if any(s.mangled.startswith(f"_ZZ{n[2:]}E") for n in names))

    def _symbol(self, s: _Symbol) -> tuple[str, int, int, int]:
        """A static variable of a function is shared memory, others are global memory."""
        name = re.sub(r"\(.*\)|\[abi.*\]", "", s.name).split("::")[-1].split(".")[0]
        return name, s.address, s.size, SHARED if s.mangled.startswith("_ZZ") and s.kind not in "rR" else FILLED

    def name_at(self, address: int) -> str:
        """The kernel that begins there."""
        name = next((s.name for s in self._symbols if s.address == address and s.kind in "tTwW"), "a kernel")
        return re.sub(r"^void |\(anonymous namespace\)::|\(.*$", "", name)

    def lines_at(self, addresses: list[int]) -> dict[int, tuple[str, int]]:
        """File and line of the calls before some addresses; what was inlined from the emulator is its caller's."""
        command = ["addr2line", "-a", "-i", "-f", "-e", str(self._library), *(hex(a - 1) for a in addresses)]
        text = subprocess.run(command, capture_output=True, text=True, timeout=COMPILE_SECONDS, check=True).stdout
        places = {}
        for address, part in zip(addresses, re.split(r"^0x[0-9a-f]+\n", text, flags=re.M)[1:]):
            frames = [line.partition(" (")[0].rpartition(":") for line in part.splitlines()[1::2]]
            own = [f for f in frames if not re.search(r"/cuda_on_cpu/|^/usr/|/ptx(?:_sm90)?\.cuh$|^\?", f[0])] or frames
            places[address] = own[0][0], int(own[0][2]) if own[0][2].isdigit() else 0
        return places

    def source_line(self, file: str, line: int) -> str:
        """A line of the file itself."""
        same = Path(file).name == self.path.name
        return self._source[line - 1].strip() if same and 0 < line <= len(self._source) else ""

    def dynamic_name(self) -> str:
        """What the file calls its dynamic shared memory, if it has but one name for it."""
        names = set(re.findall(r"DYNAMIC_SHARED\([^,()]+,\s*(\w+)\)", "\n".join(self._source)))
        return names.pop() if len(names) == 1 else "dynamic shared memory"


@dataclass(frozen=True)
class _Symbol:
    address: int
    size: int
    kind: str
    mangled: str
    name: str

    @property
    def parameters(self) -> list[str] | None:
        """Types of the parameters of a function; None if the name does not tell (extern "C")."""
        match = re.search(r"\((?!anonymous)(.*)\)$", self.name)
        return [p.strip() for p in match[1].split(",")] if match and match[1] else [] if match else None


def compile_kernels(path: Path, observed: bool = True) -> Library:
    """A kernel file as a library, to be called with `run`. Without `observed` only the emulator's own checks are made.

    Raises:
        ValueError: there is no GCC on Linux, or the file does not compile.
    """
    if not path.is_file():
        raise ValueError(f"[lesson] there is no such file. Received: {str(path)!r}")
    compiler, folder = gcc(), Path(tempfile.mkdtemp())
    try:
        target, library = folder / "kernels.o", folder / "kernels.so"
        includes = [f"-I{p}" for p in include_folders()]
        flags = [*FLAGS, *WARNINGS, *(OBSERVED if observed else PLAIN), *includes]
        started = _start([*compiler, *flags, "-x", "c++", "-c", str(path.resolve()), "-o", str(target)])
        runtime = _runtime()
        _finish(started, path)
        link = [*compiler, "-shared", "-pthread", "-Wl,-z,defs", str(target), *runtime, "-o", str(library)]
        _finish(_start(link), path)
        names = _run(["nm", "--defined-only", str(target)]).splitlines()
        compiled = Library(path, folder, library, {line.split()[-1] for line in names})
        compiled.check_static_shared()
        return compiled
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def gcc() -> list[str]:
    """The command of GCC.

    Raises:
        ValueError: there is none, or this is not Linux.
    """
    why = "lesson mode needs GCC and its binutils on Linux, whose compiler tells of each access as one"
    if sys.platform != "linux":
        raise ValueError(f"[lesson] {why}. Received: {sys.platform}")
    for name in (os.environ.get("CXX"), "g++", "c++"):
        command = name.split() if name else []
        if not command or shutil.which(command[0]) is None:
            continue
        macros = subprocess.run(
            [*command, "-dM", "-E", "-x", "c++", os.devnull], capture_output=True, text=True, timeout=COMPILE_SECONDS
        ).stdout
        if "__GNUC__" in macros and "__clang__" not in macros and shutil.which("addr2line") and shutil.which("nm"):
            return command
    raise ValueError(f"[lesson] {why}: none was found. On Debian and Ubuntu: apt-get install g++")


def include_folders() -> list[Path]:
    """Where the header of the ladder lies, and the folders cuda and cuda_on_cpu: all together in an installation."""
    ladder = rungs.sources()
    return [ladder] if (ladder / "cuda").exists() else [ladder, ladder.parent]


RUNTIME = ("lesson", "emulator", "tensor_core", "warpgroup")


@cache
def _runtime() -> list[str]:
    """The emulator and the checks, compiled: kept for other processes, if there is a safe place for that."""
    sources, command = include_folders()[-1], [*gcc(), *FLAGS, "-O2"]
    kept = _own_folder(KEPT)
    final = kept / _key(sources, command) if kept else None
    if final is None or not _whole(final):
        folder = Path(tempfile.mkdtemp(dir=kept))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)  # nothing is left of one that failed
        started = []
        for name in RUNTIME:
            source, target = sources / "cuda_on_cpu" / f"{name}.cpp", folder / f"{name}.o"
            started.append((_start([*command, "-c", str(source), "-o", str(target)]), source))
        for process, source in started:
            _finish(process, source)
        try:
            final = folder.rename(final) if final else folder
        except OSError:  # another process was faster, or what lies there is damaged
            final = folder
    return [str(final / f"{name}.o") for name in RUNTIME]


def _whole(folder: Path) -> bool:
    try:
        return all((folder / f"{name}.o").stat().st_size > 0 for name in RUNTIME)
    except OSError:
        return False


def _key(sources: Path, command: list[str]) -> str:
    """A name for what this compiler makes of these sources."""
    version = _run([*gcc(), "--version"])
    key = hashlib.sha256(repr((command, version, platform.machine())).encode())
    for folder in (sources, sources / "cuda", sources / "cuda_on_cpu"):
        for path in sorted([*folder.glob("*.h"), *folder.glob("*.cuh"), *folder.glob("*.cpp")]):
            key.update(path.name.encode() + path.read_bytes())
    return f"lesson-{key.hexdigest()[:32]}"


def _own_folder(path: Path) -> Path | None:
    """A folder that this user alone may write to, or None."""
    if not path.is_absolute():
        return None
    try:
        path.mkdir(0o700, parents=True, exist_ok=True)
        about = path.lstat()
    except OSError:
        return None
    ours = stat.S_ISDIR(about.st_mode) and about.st_uid == os.getuid() and not about.st_mode & 0o022
    return path if ours and os.access(path, os.W_OK) else None


def _start(command: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")


def _finish(process: subprocess.Popen[str], path: Path) -> None:
    try:
        text, _ = process.communicate(timeout=COMPILE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise ValueError(f"[lesson] compiling {path.name} took more than {COMPILE_SECONDS} seconds") from None
    if process.returncode == 0:
        return
    lines = text.splitlines()
    more = f"\n... and {len(lines) - 30} lines more" if len(lines) > 30 else ""
    hint = ""
    if "<<<" in path.read_text(encoding="utf-8", errors="replace"):
        hint = "\nInstead of kernel<<<grid, block, shared_bytes, stream>>>(x, n) write"
        hint += " launch(kernel, grid, block, shared_bytes, stream, x, n): a C++ compiler can read that."
    raise ValueError(f"[lesson] {path.name} does not compile:\n" + "\n".join(lines[:30]) + more + hint)


def _run(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, timeout=COMPILE_SECONDS, check=True).stdout


def _symbols(library: Path) -> list[_Symbol]:
    found = []
    plain = [_run(["nm", "-S", "--defined-only", *more, str(library)]).splitlines() for more in ([], ["-C"])]
    for mangled, name in zip(*plain):
        parts = mangled.split()
        if len(parts) == 4:  # with a size
            found.append(_Symbol(int(parts[0], 16), int(parts[1], 16), parts[2], parts[3], name.split(maxsplit=3)[3]))
    return found


# ---- running ----


def check_memory(read: int, written: int, where: str) -> None:
    """Whether a run on so many bytes is possible.

    Raises:
        ValueError: it would need more memory than a run may.
    """
    need = 4 * read + (REMEMBERED + 16) * written
    if need > MOST_MEMORY:
        raise ValueError(
            f"{where} lesson mode remembers who touched each byte: these arrays need {need / (1 << 30):,.1f} GiB, and "
            f"it takes at most {MOST_MEMORY >> 30}. Received: {read:,} bytes to read and {written:,} to write"
        )


def _laid_out(
    room: Path,
    arguments: Mapping[str, Any],
    types: list[str] | None,
    outputs: set[str],
    inputs: set[str],
    function: str,
) -> tuple[dict[str, Any], dict[str, Array]]:
    """The arguments in a file that the child maps: arrays far from each other."""
    size = GAP
    arrays, values, copies = [], [], []
    for i, (name, value) in enumerate(arguments.items()):
        type_ = types[i] if types is not None else None
        if isinstance(value, np.ndarray):
            _check_pointer(function, name, value, type_)
            constant = name in inputs or (type_ is not None and "const" in type_)
            kind = OUTPUT if name in outputs else INPUT if constant else FILLED
            arrays.append((name, size, value.nbytes, kind))
            values.append(("pointer", size))
            copies.append((name, size, value))
            size += (value.nbytes + 255) // 256 * 256 + GAP
        else:
            values.append(_scalar(function, name, value, type_))
    read = sum(n for _, _, n, kind in arrays if kind == INPUT)
    check_memory(read, sum(n for _, _, n, _ in arrays) - read, "[lesson]")
    with open(room, "wb") as f:
        f.truncate(size)
    bytes_ = np.memmap(room, np.uint8, "r+")
    views = {}
    for name, offset, value in copies:
        views[name] = bytes_[offset : offset + value.nbytes].view(value.dtype).reshape(value.shape)
        views[name][...] = value
    return {"room": str(room), "arrays": arrays, "arguments": values}, views


def _check_pointer(function: str, name: str, value: Array, type_: str | None) -> None:
    if type_ is None:
        return
    if not type_.endswith("*"):
        raise ValueError(f"[lesson] {function}: {name} is a {type_}. Received: an array of {value.dtype}")
    element = type_.rstrip("* ").removesuffix(" const")
    if element in POINTERS and value.dtype != POINTERS[element]:
        raise ValueError(f"[lesson] {function}: {name} is a {type_}. Received: an array of {value.dtype}")


def _scalar(function: str, name: str, value: Any, type_: str | None) -> tuple[str, Any]:
    if type_ is not None and type_.endswith("*") and value is None:
        return "pointer", None
    plain = value.item() if isinstance(value, np.generic) else value
    if not isinstance(plain, int | float):
        raise ValueError(f"[lesson] {function}: {name} expects an array or a number. Received: {value!r}")
    if type_ is None:
        return ("c_float" if isinstance(plain, float) else "c_int64"), plain
    kind = SCALARS.get(type_)
    if kind is None or (isinstance(plain, float) and kind not in ("c_float", "c_double")):
        raise ValueError(f"[lesson] {function}: {name} is a {type_}. Received: {value!r}")
    return kind, plain


def _child(request: Path, limit: float) -> str:
    """Runs it; how it ended."""
    command = [sys.executable, "-I", str(Path(__file__).with_name("lesson_child.py")), str(request)]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=rungs.STDERR, timeout=limit + 20)
    except subprocess.TimeoutExpired:
        return f"it did not come back within {limit:g} seconds"
    return f"it ended with status {done.returncode}"


# ---- reading what was found ----

RACES = ("load after store", "store after load", "store after store")
DOES = {"load": "loads", "store": "stores", "atomic": "changes atomically"}
DID = {"load": "loaded", "store": "stored", "atomic": "changed atomically"}
SIGNALS = {
    signal.SIGSEGV: "it touched memory that is not its own, or a thread's own arrays are larger than 100 KB",
    signal.SIGBUS: "it touched memory that is not its own",
    signal.SIGFPE: "it divided an integer by zero",
    signal.SIGILL: "it came to the end of a function that must return a value, or to an instruction that is none",
    signal.SIGABRT: "it was aborted",
}


@dataclass
class _Reader:
    """Finds lines and words for the numbers of a report."""

    library: Library
    found: dict[str, Any]
    arrays: dict[str, Array]
    places: dict[int, tuple[str, int]] = field(default_factory=dict)

    def report(self) -> Report:
        sites, raw = self.found["sites"], self.found["faults"]
        addresses = sorted({s["pc"] for s in [*sites, *raw]} - {0})
        self.places = self.library.lines_at(addresses) if addresses else {}
        launches = [
            Launch(self.library.name_at(n["kernel"]), tuple(n["grid"]), tuple(n["block"]), n["shared_bytes"])
            for n in self.found["launches"]
        ]
        faults = [(f["kind"], self._fault(f, launches)) for f in raw]
        for i, (launch, n) in enumerate(zip(launches, self.found["launches"])):
            static = self.library.static_shared(n["kernel"])
            if launch.shared_bytes + static > MOST_SHARED and launch not in launches[:i]:
                text = f"{launch.kernel}: a block has at most {MOST_SHARED:,} bytes of shared memory. Received: "
                text += f"{launch.shared_bytes:,} of dynamic shared memory and {static:,} of __shared__ variables"
                faults.append(("shared", Fault("launch", text)))
        warnings = [f for kind, f in faults if kind == "left before a barrier"]
        stopping = (
            "out of bounds", "misaligned", "store to an input", "index", "emulator", "time", "crash", "host", "memory",
        )  # fmt: skip
        return Report(
            [f for kind, f in faults if kind != "left before a barrier"],
            warnings,
            self._lines(),
            launches,
            self.arrays,
            any(kind in stopping for kind, _ in faults),
            self.found["barriers"],
        )

    def _place(self, site: dict[str, Any]) -> tuple[str, int]:
        file, line = (site["file"], site["line"]) if site.get("file") else self.places.get(site["pc"], ("?", 0))
        return Path(file).name, line

    def _name(self, array: dict[str, Any]) -> str:
        name = array["name"]
        return self.library.dynamic_name() if name == "dynamic shared memory" else name

    def _lines(self) -> list[Line]:
        sums: dict[tuple[Any, ...], list[int]] = {}
        for s in self.found["sites"]:
            if s["requests"]:
                file, line = self._place(s)
                key = file, line, s["access"], self._name(s["array"]), s["array"]["shared"], s["bytes"]
                counts = sums.setdefault(key, [0, 0, 0, 0])
                for i, what in enumerate(("requests", "lanes", "moved", "ideal")):
                    counts[i] += s[what]
        lines = []
        for file, line, access, array, shared, bytes_ in sorted(sums):
            source = self.library.source_line(file, line)
            requests, lanes, moved, ideal = sums[file, line, access, array, shared, bytes_]
            where = (file, line, access, array, shared, bytes_)
            lines.append(Line(*where, requests, lanes, moved, ideal, source))
        return lines

    # ---- words ----

    def _fault(self, f: dict[str, Any], launches: list[Launch]) -> Fault:
        launch = launches[-1] if launches else Launch("", (1, 1, 1), (1, 1, 1), 0)
        kind, text, array = f["kind"], f["text"], ""
        file, line, other_line = "", 0, 0
        who = _thread(f["thread"], f["block"], launch)
        if f["site"] >= 0:
            site = self.found["sites"][f["site"]]
            file, line = self._place(site)
            does = DOES[site["access"]]
        if f["array"]:
            array = self._name(f["array"])
            what = f"{'shared ' if f['array']['shared'] else ''}{array}{self._element(array, f)}"
        here = f"{file}:{line}"
        if kind in RACES or kind.startswith("load before"):
            other_file, other_line = self._place(self.found["sites"][f["other"]])
            there = f"{other_file}:{other_line}"
            tag = "race"
            words = self._race(f, launch, who, what, here, there)
        elif kind == "uninitialised":
            tag, words = kind, f"{what}: {who} loads it at {here}, and nothing has been stored there before"
        elif kind == "out of bounds":
            tag, words = kind, f"{who} {does} {site['bytes']} bytes at {here}: {self._outside(f, array)}"
        elif kind == "misaligned":
            tag = kind
            words = (
                f"{what}: {who} {does} {site['bytes']} bytes at once at {here}; their address must be a multiple of "
            )
            words += f"{site['bytes']}"
        elif kind == "store to an input":
            tag, words = "input", f"{what}: {who} {does} it at {here}, but it is an input"
        elif kind == "host":
            tag, words = kind, f"{what}: the host {does} it at {here}, outside of a kernel. It is memory of the GPU: "
            words += "only kernels may touch it, launch(kernel, grid, block, shared_bytes, stream, arguments...)"
        elif kind == "memory":
            tag, words = kind, f"there is not enough memory to watch {text}, which is to have {f['byte']:,} bytes"
        elif kind == "index":
            tag = "out of bounds"
            path, text_line, column, type_ = text.rsplit(":", 3)
            file, line = Path(path).name, int(text_line)
            array = self._indexed(line, int(column))
            index = f["byte"] - (1 << 64) if f["byte"] >= 1 << 63 else f["byte"]
            words = f"{who} uses the index {index} of {array or 'an array'}, of type {type_}, at {file}:{line}"
        elif kind == "left before a barrier":
            tag, file, line = "barrier", Path(text).name, f["byte"]
            words = f"{f['other_thread']} threads had left the kernel when the others met in __syncthreads at "
            words += f"{file}:{line}: CUDA asks all threads of a block to come"
        elif kind == "emulator":
            match = re.match(r"\[([^\]]+)\] (.*)", text, re.S)
            tag, words = (match[1], match[2]) if match else ("launch", text)
            words = re.sub(r"(?:/[^\s:/]+)+/([^\s:/]+:\d+)", r"\1", words)
            if found := re.search(r"([^\s:]+):(\d+)", words):
                file, line = found[1], int(found[2])
        else:
            tag = kind
            file, line = self._place(f)
            where = f"{who} was at {file}:{line}" if f["thread"] >= 0 else "it happened outside of a kernel"
            words = "the time is over: a loop that does not end, or a very long one"
            if kind == "crash":
                name = signal.Signals(f["signal"])
                words = f"{name.name}: {SIGNALS.get(name, 'the system ended it')}"
            words += f"; {where}"
        return Fault(tag, words, file, line, array, other_line, self.library.source_line(file, line), f["count"])

    def _race(self, f: dict[str, Any], launch: Launch, who: str, what: str, here: str, there: str) -> str:
        other = _thread(f["other_thread"], f["other_block"], launch)
        if f["kind"] not in RACES:
            return (
                f"{what}: {who} loads it at {here}, while the copy that {other} began at {there} is on its way: "
                "cp_async_wait comes first, and a barrier for the other threads"
            )
        now, before = (self.found["sites"][f[which]]["access"] for which in ("site", "other"))
        if f["block"] != f["other_block"]:
            missing = "blocks run in any order: an atomic, or another kernel"
        elif f["thread"] // 32 == f["other_thread"] // 32:
            missing = "no __syncwarp and no __syncthreads stands between them"
        else:
            missing = "no __syncthreads stands between them"
        return f"{what}: {who} {DOES[now]} it at {here}, {other} {DID[before]} it at {there}; {missing}"

    def _element(self, array: str, f: dict[str, Any]) -> str:
        """Which element of an array a byte belongs to."""
        if array in self.arrays and not f["array"]["shared"]:
            x = self.arrays[array]
            index = f["byte"] // x.itemsize
            return f"[{','.join(str(i) for i in np.unravel_index(index, x.shape))}]" if 0 <= index < x.size else ""
        return f", byte {f['byte']}"

    def _outside(self, f: dict[str, Any], array: str) -> str:
        if not array:
            null = f["byte"] < 4096
            return "a null pointer" if null else "in no array of the kernel's: a host pointer, or an index far out"
        size, byte = f["array"]["bytes"], f["byte"]
        if array in self.arrays and not f["array"]["shared"]:
            x = self.arrays[array]
            return f"element {byte // x.itemsize} of {array}, which has {x.size}"
        far = f"{-byte} bytes before the beginning" if byte < 0 else f"{byte - size} bytes past the end"
        far = far.replace("0 bytes past", "just past") if byte == size else far
        return f"{far} of {'shared ' if f['array']['shared'] else ''}{array}, which has {size} bytes"

    def _indexed(self, line: int, column: int) -> str:
        """The name before the bracket that closes at a column."""
        source = self.library._source
        text = source[line - 1][:column] if 0 < line <= len(source) else ""
        while text.endswith("]"):
            depth, at = 0, len(text)
            while at:
                at -= 1
                depth += {"]": 1, "[": -1}.get(text[at], 0)
                if not depth:
                    break
            text = text[:at]
        found = re.search(r"\w+$", text)
        return found[0] if found else ""


def _thread(thread: int, block: list[int], launch: Launch) -> str:
    x, y, _ = launch.block
    text = f"thread {_index((thread % x, thread // x % y, thread // x // y), launch.block)}"
    return text if launch.blocks == 1 else f"{text} of block {_index(tuple(block), launch.grid)}"


def _index(at: tuple[int, ...], shape: tuple[int, ...]) -> str:
    kept = at[: len(_trimmed(shape))]
    return str(kept[0]) if len(kept) == 1 else f"({', '.join(map(str, kept))})"
