"""A student's own file: compiled, run in a process of its own, and placed among the rungs.

A crash or an endless loop ends that process and not this one: the parent reads what the child wrote last, and says on
which shape it happened.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nnfast.ladder import gpu, rungs
from nnfast.ladder.problems import Problem
from nnfast.ladder.timing import Race, Result

FLAGS = ["-std=c++20", "-O3", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast", "-Wall", "-Wno-psabi"]
COMPILE_SECONDS, START_SECONDS = 120, 60
GIBIBYTES = 8  # of memory, that a file may take: one that takes without end must not take the machine's
SIGNALS = {
    "SIGSEGV": "it touched memory that is not its own",
    "SIGBUS": "it touched memory that is not its own",
    "SIGFPE": "it divided an integer by zero",
    "SIGILL": "it ran an instruction that this CPU does not have",
    "SIGABRT": "it was aborted: an exception that nobody caught, an assert, memory freed twice or "
    f"overwritten, or more of it asked for than the {GIBIBYTES} GiB that a file may take beside its arrays",
    "SIGKILL": "it was killed: perhaps the machine ran out of memory",
}


def compile_file(path: Path, problem: Problem, folder: Path, tell: Callable[[str], None]) -> Path:
    """The file as a library.

    Raises:
        ValueError: there is no compiler, it does not accept the file, or the file lacks the function.
    """
    compiler = os.environ.get("CXX") or next((c for c in ("c++", "g++", "clang++") if shutil.which(c)), None)
    if compiler is None:
        raise ValueError(
            "[ladder] no C++ compiler was found. Install one (on Debian and Ubuntu: apt-get install g++), "
            "or name it in the variable CXX"
        )
    target = folder / f"{path.stem}.so"
    header = rungs.sources() / rungs.HEADER
    command = [*compiler.split(), *FLAGS, *_native(compiler), *os.environ.get("CXXFLAGS", "").split()]
    command += ["-shared", "-fPIC", "-pthread", f"-I{header.parent}", "-include", str(header), str(path)]
    command += ["-o", str(target)]
    tell(" ".join(command))
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=COMPILE_SECONDS, errors="replace")
    except subprocess.TimeoutExpired:
        raise ValueError(f"[ladder] compiling {path.name} took more than {COMPILE_SECONDS} seconds") from None
    except OSError as e:
        raise ValueError(f"[ladder] the compiler could not be started. Received: CXX={compiler!r} ({e})") from None
    if done.returncode != 0:
        lines = done.stderr.splitlines()
        more = f"\n... and {len(lines) - 30} lines more" if len(lines) > 30 else ""
        raise ValueError(f"[ladder] {path.name} does not compile:\n" + "\n".join(lines[:30]) + more)
    if done.stderr:
        tell(done.stderr)
    return target


def _native(compiler: str) -> list[str]:
    """The flag that lets the compiler use all that this CPU has: the file runs nowhere else."""
    for flag in ("-march=native", "-mcpu=native"):
        trial = [*compiler.split(), flag, "-x", "c++", "-E", os.devnull, "-o", os.devnull]
        try:
            if subprocess.run(trial, capture_output=True, timeout=COMPILE_SECONDS).returncode == 0:
                return [flag, "-mprefer-vector-width=512"] if "avx512" in rungs.instruction_sets() else [flag]
        except (OSError, subprocess.TimeoutExpired):
            break
    return []


def check_name(path: Path, suffixes: tuple[str, ...], endings: str) -> None:
    """Whether there is a file of this kind."""
    if path.is_dir():
        raise ValueError(f"[ladder] --mine expects a file, and this is a folder. Received: {str(path)!r}")
    if not path.is_file():
        raise ValueError(f"[ladder] there is no such file. Received: {str(path)!r}")
    if path.suffix not in suffixes:
        raise ValueError(f"[ladder] --mine expects a file that ends {endings}. Received: {str(path)!r}")


def run(
    path: Path,
    problem: Problem,
    sizes: tuple[int, ...],
    threads: int,
    limit: float,
    tell: Callable[[str], None],
    budget: float | None,
) -> Race:
    """Checks and times the file beside the rungs; with 0 threads on the GPU.

    Raises:
        ValueError: it does not compile, crashes, does not come back, or is wrong; the message says where and why.
    """
    if threads:
        check_name(path, (".cpp", ".cc", ".cxx", ".py"), "in .cpp or .py")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if not threads:
            tell(f"compiling {path.name}")
            code = gpu.compile_rung(rungs.student(problem.name, path), problem, folder, gpu.Driver().capability)
        else:
            code = path if path.suffix == ".py" else compile_file(path, problem, folder, tell)
        request = {"op": problem.name, "code": str(code), "source": str(path), "sizes": sizes, "threads": threads}
        request |= {"budget": budget, "gibibytes": GIBIBYTES}
        (folder / "request.json").write_text(json.dumps(request), encoding="utf-8")
        return _watched(folder, path, limit, tell)


def _watched(folder: Path, path: Path, limit: float, tell: Callable[[str], None]) -> Race:
    """Starts the child and reads its diary. A step that lasts longer than the limit ends it."""
    diary = folder / "diary.jsonl"
    diary.touch()
    command = [sys.executable, "-m", "nnfast.ladder.child", str(folder / "request.json"), str(diary)]
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=rungs.STDERR)
    seen, step, began = 0, "starting", time.monotonic()
    try:
        while True:
            ended = child.poll() is not None
            lines = diary.read_text(encoding="utf-8").split("\n")[:-1]
            for line in lines[seen:]:
                entry: dict[str, Any] = json.loads(line)
                if "wrong" in entry:
                    wrong = entry["wrong"].removeprefix(f"{path.name}, ")
                    raise ValueError(f"[ladder] {path.name}: {wrong}")
                if "race" in entry:
                    results = [Result(**r) for r in entry["race"].pop("results")]
                    return Race(**{**entry["race"], "sizes": tuple(entry["race"]["sizes"])}, results=results)
                step = entry["step"]
                tell(step)
            if len(lines) > seen:
                seen, began = len(lines), time.monotonic()
            if ended:
                raise ValueError(f"[ladder] {path.name} {_ending(child.returncode)}. It happened here: {step}.")
            if time.monotonic() - began > (limit if seen else max(limit, START_SECONDS)):
                raise ValueError(
                    f"[ladder] {path.name} did not come back within {limit:g} seconds: a loop that does not end, or a "
                    f"very slow one (--limit gives it more time). It happened here: {step}."
                )
            time.sleep(0.01)
    finally:
        child.kill()
        child.wait()


def _ending(code: int) -> str:
    if code >= 0:
        return f"ended the process by itself, with status {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"crashed ({name}): {SIGNALS.get(name, 'the system ended it')}"


def place(race: Race) -> str:
    """Where the student's file stands among the rungs."""
    *others, own = race.results
    ours = sorted((r for r in others if r.number is not None), key=lambda r: -r.seconds)
    slower = [r for r in ours if r.seconds >= own.seconds]
    faster = [r for r in ours if r.seconds < own.seconds]
    text = f"{own.title} is right"
    if slower:
        last = slower[-1]
        text += f": {last.seconds / own.seconds:.2f} times as fast as rung {last.number} ({last.title})"
    if not faster:
        return text + ", and no rung is faster."
    next_ = faster[0]
    share = f"{next_.seconds / own.seconds:.0%} of the speed of rung {next_.number} ({next_.title})"
    text += f"{', ' if slower else ': '}{share}."
    cuda = "" if race.threads else " --cuda"
    return f"{text}\nThe idea of that rung: nnfast ladder {race.op}{cuda} --show {next_.number}"
