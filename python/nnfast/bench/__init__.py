"""The benchmark: nnfast against its peers and against the limits of this machine. `nnfast bench` is its command.

Sections: gemm, conv2d, ops, fit and overhead. Peers that are installed take part: NumPy, PyTorch, JAX, and Keras on
each of its backends. How everything is timed stands in `nnfast.bench.timing`, and for a GPU in `nnfast.bench.cuda`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from nnfast import device
from nnfast.bench import machine, peers
from nnfast.bench.report import SECTIONS, check, folder, head, read, save, section, table, write
from nnfast.bench.timing import Bench, Row, Stopped

__all__ = ["SECTIONS", "SETTINGS", "check", "folder", "head", "plot", "read", "run", "save", "table", "write"]

# An idle thread of libgomp (PyTorch) spins for several ms after a call, one of OpenBLAS (NumPy) for 20 ms, and takes a
# core from whoever is timed next: on 2 cores everyone else then looks like 1.3 threads. Both are read when the
# library is loaded, so the command starts a process with them. About 0.2 and 0.1 ms: calls that follow each other
# still find the threads awake.
SETTINGS = {"GOMP_SPINCOUNT": "10000", "OPENBLAS_THREAD_TIMEOUT": "18"}
# Where nnfast is held to AVX2 (NNFAST_ISA), its peers are, too: what such a machine would show.
if os.environ.get("NNFAST_ISA") == "avx2":
    SETTINGS |= {"OPENBLAS_CORETYPE": "Haswell", "MKL_ENABLE_INSTRUCTIONS": "AVX2", "ONEDNN_MAX_CPU_ISA": "AVX2"}
    SETTINGS |= {"ATEN_CPU_CAPABILITY": "avx2"}


def run(
    sections: Sequence[str] = SECTIONS,
    *,
    quick: bool = False,
    threads: Sequence[int] | None = None,
    rows: str = "",
    faults: bool = False,
    cuda: bool = False,
    tiny: bool = False,
    tell: Callable[[str], None] = lambda text: None,
    show: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Times nnfast and the peers that are installed.

    Args:
        sections: some of SECTIONS.
        quick: few short rounds: a first impression.
        threads: numbers of threads; default: one, and all cores that this process may use.
        rows: only rows whose names contain this.
        faults: leave malloc as it is, so that peers pay for fresh pages. Otherwise they keep what they free.
        cuda: measure the GPU, with `set_device("cuda")`.
        tiny: problems so small that their times say nothing, to see that every row runs and is right.
        tell: is told what happens.
        show: gets the text of each part when it is known: the machine, then each section's table.

    Returns:
        What `--json` writes: the machine with its limits, and each section's rows. On a GPU also "failed", the rows
        that could not be measured. After Ctrl-C or a GPU that does not answer any more: what was measured until then,
        and why it ended as "stopped".

    Raises:
        ValueError: an unknown section, no row of that name, a wrong answer, or no GPU that can be used.
    """
    for name in sections:
        if name not in SECTIONS:
            raise ValueError(f"[bench] unknown section. Known: {', '.join(SECTIONS)}. Received: {name!r}")
    rooms = {name: import_module(f"nnfast.bench.{name}") for name in sections}
    if not any(rows in row for room in rooms.values() for row in names(room, quick, cuda, tiny)):
        raise ValueError(f"[bench] no row of {', '.join(sections)} has this in its name. Received: rows={rows!r}")
    before = device.get_device()
    if cuda:
        _choose_gpu()
    try:
        if not faults:
            machine.keep_memory()
        if cuda:
            from nnfast.bench.cuda import GpuBench

            on_gpu = GpuBench(quick, rows, tell, tiny)
            return _measure(rooms, on_gpu, on_gpu.describe(), show)
        bench = Bench(quick, threads, rows, tell, keep=not faults, tiny=tiny)
        tell("the limits of this machine")
        return _measure(rooms, bench, {**machine.describe(), "peaks": machine.peaks(bench.threads)}, show)
    finally:
        device.set_device(before)


def _choose_gpu() -> None:
    try:
        device.set_device("cuda")
    except (RuntimeError, ImportError) as e:  # they say what is missing
        raise ValueError(str(e)) from e


def _measure(
    rooms: dict[str, ModuleType], bench: Bench, here: dict[str, Any], show: Callable[[str], None]
) -> dict[str, Any]:
    result: dict[str, Any] = {"machine": here, "sections": {}}
    absent = peers.absent()
    show(head(result) + (f"\nnot here or no fair peer, left out: {', '.join(absent)}" if absent else ""))
    try:
        for name, room in rooms.items():
            done: list[Row] = []
            try:
                for row in room.run(bench):
                    done.append(row)
            except (KeyboardInterrupt, Stopped) as e:
                result["stopped"] = str(e) or "stopped"
            if done or bench.notes:
                result["sections"][name] = section(done, time.strftime("%Y-%m-%d"), bench.notes)
                show("\n".join([f"\n{name}", *([table(done)] if done else []), *bench.notes]))
                bench.notes.clear()
            if "stopped" in result:
                break
    finally:
        bench.close()
    if bench.failed:
        result["failed"] = bench.failed
    return result


def names(room: ModuleType, quick: bool = False, gpu: bool = False, tiny: bool = False) -> list[str]:
    """Names of all rows that a section may have here. Nothing is measured."""
    found: list[str] = []

    class Listener(Bench):
        def wanted(self, name: str) -> bool:
            found.append(name)
            return False

    listener = Listener(quick, tiny=tiny)
    listener.gpu = gpu
    list(room.run(listener))
    return found


def plot(result: dict[str, Any], path: str | Path, dpi: int = 150) -> None:
    """Draws results into a file. Needs matplotlib."""
    from nnfast.bench.picture import draw

    draw(result).savefig(path, dpi=dpi)
