"""The CUDA ladder on a GPU: the rungs are compiled by nvcc, checked, and timed by the GPU's own clock, beside the
vendor's library (through PyTorch or CuPy, if one is there) and against what this GPU can do at best.

What talks to the GPU is driver.py; the race is the one of the CPU, timing.py, on another machine.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import re
import shutil
import subprocess
import tempfile
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from nnfast import device
from nnfast.ladder import rungs
from nnfast.ladder.check import check_edge, check_edges
from nnfast.ladder.driver import Driver, GpuArray
from nnfast.ladder.lessons import include_folders
from nnfast.ladder.problems import Array, Problem
from nnfast.ladder.rungs import Function, Rung

COMPILE_SECONDS = 300
FLAGS = ["-O3", "-std=c++20", "--expt-relaxed-constexpr", "-shared", "-Xcompiler=-fPIC", "-Xlinker=-z,defs"]
SIZES = {  # what is timed, if the user gives none: more than caches hold
    "gemm": (4096, 4096, 4096), "conv2d": (64, 56, 56, 64, 128), "softmax": (65536, 1000), "reduce": (1 << 27,),
    "transpose": (8192, 8192),
}  # fmt: skip
PEAK_BLOCKS, PEAK_THREADS, PEAK_ROUNDS = 16, 256, 4096  # blocks of each processor; peaks.cu
PEAK_NUMBERS = 1 << 26  # that are copied


def has() -> bool:
    """Whether there is a GPU, and a driver that finds it."""
    try:
        Driver()
    except LookupError:
        return False
    return True


# ---- compiling ----


def nvcc() -> str:
    """The command of CUDA's compiler.

    Raises:
        ValueError: there is none.
    """
    home = os.environ.get("CUDA_HOME", "/usr/local/cuda")
    for name in (os.environ.get("CUDACXX"), "nvcc", os.path.join(home, "bin", "nvcc")):
        if name and shutil.which(name):
            return name
    raise ValueError(
        "[ladder] there is a GPU, and no nvcc to compile the rungs for it. Install the CUDA toolkit, or name its nvcc "
        "in the variable CUDACXX; or count what the rungs do, without the GPU: --count"
    )


def architecture(needs: str, capability: int) -> str:
    """What nvcc shall compile for: the GPU, or its own variant where a rung uses what only that has (sm_90a)."""
    return needs if needs.endswith("a") else f"sm_{capability}"


def lacks(needs: str, capability: int) -> bool:
    """Whether a GPU cannot run what needs sm_80 (that or newer) or sm_90a (that alone)."""
    if not needs:
        return False
    wanted = int(re.sub(r"\D", "", needs))
    return capability != wanted if needs.endswith("a") else capability < wanted


def wrapper(source: Path, problem: Problem) -> str:
    """C++ that calls the function of a file, and returns what went wrong in words."""
    *names, output = problem.arguments
    parameters = [f"int64_t {d}" for d in problem.dimensions] + [f"const float* {n}" for n in names]
    parameters.append(f"float* {output}")
    call = f"{problem.name}({', '.join([*problem.dimensions, *problem.arguments])})"
    return f"""#include "nnfast_ladder.cuh"
#include "{source.resolve()}"
#include <cstdio>
#include <exception>
extern "C" __attribute__((visibility("default"))) const char* nnfast_run({", ".join(parameters)}) {{
  static char text[300];
  try {{
    {call};
    return nullptr;
  }} catch (const std::exception& e) {{
    snprintf(text, sizeof text, "%s", e.what());
    return text;
  }}
}}
"""


def compile_file(source: Path, target: Path, arch: str) -> Path:
    """A file as a library for a GPU.

    Raises:
        ValueError: nvcc is not there, or does not accept the file.
    """
    command = [nvcc(), *FLAGS, f"-arch={arch}", *(f"-I{p}" for p in include_folders()), str(source), "-o", str(target)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=COMPILE_SECONDS, errors="replace")
    except subprocess.TimeoutExpired:
        raise ValueError(f"[ladder] nvcc took more than {COMPILE_SECONDS} seconds for {source.name}") from None
    if done.returncode:
        lines = (done.stdout + done.stderr).splitlines()
        more = f"\n... and {len(lines) - 30} lines more" if len(lines) > 30 else ""
        raise ValueError(f"[ladder] {source.name} does not compile:\n" + "\n".join(lines[:30]) + more)
    return target


def compile_rung(rung: Rung, problem: Problem, folder: Path, capability: int) -> Path:
    """A rung, or a student's file, as a library with the function nnfast_run.

    Raises:
        ValueError: nvcc is not there, or does not accept the file; the file lacks the function.
    """
    source = folder / f"{rung.number or 'own'}_{rung.path.stem}.cu"
    source.write_text(wrapper(rung.path, problem), encoding="utf-8")
    try:
        return compile_file(source, source.with_suffix(".so"), architecture(rung.needs, capability))
    except ValueError as e:
        if re.search(rf"undefined (reference to|symbol:?) .?{problem.name}\b", str(e)):
            raise ValueError(
                f"[ladder] {rung.path.name} defines no function {problem.name} with the signature of "
                f"nnfast_ladder.cuh, which is in {rungs.sources()}"
            ) from None
        raise ValueError(str(e).replace(source.name, rung.path.name, 1)) from None


# ---- functions that take arrays of the GPU ----

Take = Callable[[list[GpuArray]], list[Any]]


class OnGpu(Function):
    """A compiled rung, or a function of Python to whom `take` gives arrays that it knows."""

    def __init__(self, problem: Problem, call: Callable[..., Any], take: Take | None):
        super().__init__(problem, call, take is None)
        self._take = take

    def bind(self, sizes: tuple[int, ...], inputs: list[Any], output: Any) -> rungs.Run:
        call = self.call
        if self._take is not None:
            taken = self._take(inputs)
            return lambda: call(*taken)
        arguments = [*map(ctypes.c_int64, sizes), *(ctypes.c_void_p(x.pointer) for x in (*inputs, output))]

        def run() -> Any:
            if text := call(*arguments):
                raise ValueError(f"[ladder] {self.problem.name}: {text.decode(errors='replace')}")
            return output

        return run


def from_library(problem: Problem, path: Path) -> OnGpu:
    """The function nnfast_run of a compiled file."""
    library = ctypes.CDLL(str(path))
    library.nnfast_run.restype = ctypes.c_char_p
    return OnGpu(problem, library.nnfast_run, None)


def shipped(rung: Rung, problem: Problem) -> OnGpu:
    """nnfast's own kernels, on the device "cuda", which is then in use.

    Raises:
        ImportError, RuntimeError, ValueError: this build, or this machine, cannot have it.
    """
    device.set_device("cuda")
    python = rungs.from_python(problem, rung.path).call
    return OnGpu(problem, lambda *x: python(*x).data, lambda arrays: [device.put(x) for x in arrays])


def vendor(problem: Problem, machine: Machine) -> tuple[Rung, OnGpu] | None:
    """The library of the vendor, through PyTorch or CuPy: cuBLAS, cuDNN, and what stands beside them there."""
    plain = next(edge for edge in problem.edges if min(edge.sizes) > 1)
    for name, functions in (("torch", of_torch), ("cupy", of_cupy)):
        try:
            module = importlib.import_module(name)
            take, call = functions(module, machine.undo).get(problem.name, (None, None))
            if call is None:
                continue
            function = OnGpu(problem, call, take)
            if check_edge(function, plain, memory=machine) is None:  # type: ignore[arg-type]
                about = {"changed": f"{name} {module.__version__}"}
                return Rung(problem.name, None, name, Path(__file__), about), function
        except Exception:  # not there, or not for this GPU: it raises what it likes
            continue
    return None


def of_torch(torch: Any, undo: list[Callable[[], None]]) -> dict[str, tuple[Take, Any]]:
    if not torch.cuda.is_available():
        return {}
    for settings in (torch.backends.cuda.matmul, torch.backends.cudnn):  # float32, as the rungs
        undo.append(partial(setattr, settings, "allow_tf32", settings.allow_tf32))
        settings.allow_tf32 = False

    def take(arrays: list[GpuArray]) -> list[Any]:
        return [torch.as_tensor(x, device="cuda") for x in arrays]

    def pictures(arrays: list[GpuArray]) -> list[Any]:  # channels last, as they lie; filters in cuDNN's order, untimed
        x, filters = take(arrays)
        ordered = filters.permute(3, 2, 0, 1).contiguous(memory_format=torch.channels_last)
        return [x.permute(0, 3, 1, 2), ordered]

    def conv2d(x: Any, filters: Any) -> Any:
        return torch.nn.functional.conv2d(x, filters, padding=1).permute(0, 2, 3, 1)

    return {
        "gemm": (take, torch.matmul),
        "reduce": (take, torch.sum),
        "softmax": (take, lambda x: torch.softmax(x, 1)),
        "transpose": (take, lambda x: x.t().contiguous()),
        "conv2d": (pictures, conv2d),
    }


def of_cupy(cupy: Any, undo: list[Callable[[], None]]) -> dict[str, tuple[Take, Any]]:
    def take(arrays: list[GpuArray]) -> list[Any]:
        return [cupy.asarray(x) for x in arrays]

    return {
        "gemm": (take, cupy.matmul),
        "reduce": (take, cupy.sum),
        "transpose": (take, lambda x: cupy.ascontiguousarray(x.T)),
    }


# ---- the machine of a race ----


class Machine:
    """A GPU as timing.race sees it."""

    threads = 0  # there is nothing to choose

    def __init__(self, driver: Driver):
        self.driver, self.name, self.isa = driver, driver.name, f"sm_{driver.capability}"
        before = device.get_device()
        self.undo: list[Callable[[], None]] = [lambda: device.set_device(before)]  # what the race has changed here
        self.folder = Path(tempfile.mkdtemp())
        weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)
        self.put, self.part, self.fill = driver.put, driver.part, driver.fill

    def fetch(self, x: Any) -> Array:
        return self.driver.fetch(x)

    def contenders(
        self, problem: Problem, mine: tuple[Rung, Function] | None, notes: list[str]
    ) -> list[tuple[Rung, Function]]:
        """Who takes part. A rung that is wrong ends the race; one that this GPU cannot run is left out."""
        found: list[tuple[Rung, Function]] = []
        if library := vendor(problem, self):
            found.append(library)
        else:
            notes.append("nothing to compare with: there is no PyTorch or CuPy here that uses this GPU")
        todo = rungs.ladder(f"{problem.name}_cuda")
        able = [r for r in todo if not lacks(r.needs, self.driver.capability)]
        notes += [f"rung {r.number}, {r.title}: needs {r.needs}, and this is {self.isa}" for r in todo if r not in able]
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            libraries = dict(zip((r.number for r in able), pool.map(lambda r: self._compiled(r, problem), able)))
        for rung in able:
            path = libraries[rung.number]
            try:
                function = shipped(rung, problem) if path is None else from_library(problem, path)
            except (ImportError, RuntimeError, ValueError) as e:
                notes.append(f"rung {rung.number}, {rung.title}: {e}")
                continue
            if wrong := check_edges(function, rung.rounding, memory=self):  # type: ignore[arg-type]
                raise ValueError(f"[ladder] rung {rung.number}, {rung.title}: {wrong}")
            found.append((rung, function))
        return found + ([mine] if mine else [])

    def _compiled(self, rung: Rung, problem: Problem) -> Path | None:
        if rung.path.suffix == ".py":
            return None
        return compile_rung(rung, problem, self.folder, self.driver.capability)

    def uses(self, rung: Rung) -> int:
        return 0

    def turn(self, threads: int) -> None:
        pass

    def rest(self, contender: Any) -> None:
        pass

    def sample(self, run: Callable[[], Any], calls: int, threads: int) -> float:
        """Seconds of a call, by the GPU's clock; the first one wakes it up."""
        run()
        self.driver.start()
        for _ in range(calls):
            run()
        return self.driver.stop() / calls

    def once(self, run: Callable[[], Any]) -> tuple[Any, float]:
        self.driver.start()
        answer = run()
        return answer, self.driver.stop()

    def limits(self, problem: Problem, sizes: tuple[int, ...]) -> Limits:
        return Limits(self, problem, self.peaks)

    @cached_property
    def peaks(self) -> ctypes.CDLL:
        """The functions of peaks.cu."""
        source = rungs.sources() / "peaks.cu"
        return ctypes.CDLL(str(compile_file(source, self.folder / "peaks.so", f"sm_{self.driver.capability}")))

    def leave(self) -> None:
        """Settings are again those from before."""
        while self.undo:
            self.undo.pop()()


class Limits:
    """What the GPU does at best, measured in every round beside the rungs: products in registers, and bytes."""

    def __init__(self, machine: Machine, problem: Problem, peaks: Any):
        self._machine, self._peaks, self._reading = machine, peaks, problem.bound_by == "reading"
        self._blocks = PEAK_BLOCKS * machine.driver.processors
        self._out = machine.driver.empty((self._blocks * PEAK_THREADS,))
        self._x, self._y = (machine.driver.empty((PEAK_NUMBERS,)) for _ in range(2))
        for array in (self._x, self._y):
            machine.fill(array, np.float32(1))
        self._operations: list[float] = []
        self._bytes: list[float] = []

    def multiply_add(self) -> float:
        """Queues products in registers; how many operations they are."""
        blocks, rounds = ctypes.c_int64(self._blocks), ctypes.c_int64(PEAK_ROUNDS)
        self._peaks.multiply_add(blocks, rounds, ctypes.c_void_p(self._out.pointer))
        return 2.0 * 8 * PEAK_THREADS * self._blocks * PEAK_ROUNDS

    def move(self) -> float:
        """Queues a copy, or a reading; how many bytes it moves."""
        function = self._peaks.read_numbers if self._reading else self._peaks.copy_numbers
        to = self._out if self._reading else self._y
        numbers = ctypes.c_int64(PEAK_NUMBERS)
        function(ctypes.c_int64(self._blocks), numbers, ctypes.c_void_p(self._x.pointer), ctypes.c_void_p(to.pointer))
        return 4.0 * PEAK_NUMBERS * (1 if self._reading else 2)

    def measure(self) -> None:
        for queue, found in ((self.multiply_add, self._operations), (self.move, self._bytes)):
            work = queue()
            found.append(work / self._machine.sample(queue, 4, 0))

    def peaks(self) -> dict[int, dict[str, float]]:
        return {0: {"operations": max(self._operations), "bytes": max(self._bytes)}}
