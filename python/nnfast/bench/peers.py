"""Who takes part: nnfast and peers in this process, and peers that need one of their own.

On the GPU all are in this process: PyTorch, and CuPy for what it hands to cuBLAS.

JAX and Keras fix their threads, and Keras its backend, when they are loaded. So they run in processes, one for each
number of threads, which measure themselves and take turns with us: a question and an answer through a pipe.
"""

from __future__ import annotations

import importlib
import importlib.util
import multiprocessing
import os
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from nnfast import device
from nnfast.bench import machine

# What a process of this kind is given before anything is loaded. Nothing here is to be measured on a GPU.
KINDS = {
    "torch": {"CUDA_VISIBLE_DEVICES": ""},
    "jax": {"JAX_PLATFORMS": "cpu"},
    "keras (jax)": {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"},
    "keras (torch)": {"KERAS_BACKEND": "torch", "CUDA_VISIBLE_DEVICES": ""},
    "keras (tensorflow)": {"KERAS_BACKEND": "tensorflow", "CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "3"},
}
PEERS = ("numpy", "torch", "jax", "keras", "tensorflow")
GPU_PEERS = ("torch", "cupy")
TORCH_DEVICES = {"cuda": "cuda"}  # PyTorch's name of nnfast's device, where it is not "cpu"


class PeerError(RuntimeError):
    """A peer cannot do what it is asked for. It is left out, and the rest goes on."""


def held_to_avx2() -> bool:
    """Is nnfast held to AVX2 on a CPU that has AVX-512?"""
    return os.environ.get("NNFAST_ISA") == "avx2" and "avx512" in device.runtime_info()["isas"]  # type: ignore[operator]


def on_gpu() -> bool:
    """Does nnfast compute on a GPU?"""
    return device.get_device() == "cuda"


def torch_device() -> str:
    """PyTorch's name of the device on which nnfast computes."""
    return TORCH_DEVICES.get(device.get_device(), "cpu")


def found(name: str) -> bool:
    """Is this package installed, and can it be compared with here? XLA's products take AVX-512 whatever they are told
    (a product of 512^3 in 1.4 ms, 188 GFLOP/s, where AVX2 has 120), so JAX is no peer of AVX2 on such a CPU."""
    if (on_gpu() and name not in GPU_PEERS) or (name == "cupy" and not on_gpu()) or (name == "jax" and held_to_avx2()):
        return False
    try:
        here = name in sys.modules or importlib.util.find_spec(name) is not None
    except ValueError:  # in the middle of its own import
        return False
    if here and name == "torch" and torch_device() == "cuda":
        return bool(importlib.import_module("torch").cuda.is_available())
    return here


def absent() -> list[str]:
    """The peers that do not take part here."""
    return [p for p in (GPU_PEERS if on_gpu() else PEERS) if not found(p)]


def load(name: str) -> Any:
    """The module, or None."""
    return importlib.import_module(name) if found(name) else None


def keras_kinds() -> list[str]:
    """Keras on each backend that is installed."""
    backends = [b for b in ("tensorflow", "jax", "torch") if found("keras") and found(b)]
    return [f"keras ({b})" for b in backends]


def lay(a: Any) -> Any:
    """The array where nnfast computes."""
    return device.put(a)


def tensor(torch: Any, a: Any) -> Any:
    """PyTorch's tensor of the array, where nnfast computes."""
    return torch.from_numpy(a).to(torch_device())


def values(answer: Any) -> np.ndarray:
    """A copy of what a contender answered, for NumPy."""
    if type(answer).__module__.partition(".")[0] == "torch":
        answer = answer.detach().cpu()
        return np.array((answer.float() if answer.is_floating_point() else answer).numpy())
    if isinstance(answer, device.arrays):
        return np.array(device.host(answer))
    return np.array(answer.numpy() if hasattr(answer, "numpy") else answer)


class Sample(NamedTuple):
    seconds: float  # of one call
    faults: float  # per call
    switches: int  # how often another process took the core


class Local:
    """A contender in this process."""

    def __init__(self, call: Callable[[], Any]):
        self._call = call

    def answer(self) -> Any:
        return self._call()

    def warm(self, seconds: float) -> None:
        until = time.perf_counter() + seconds
        while time.perf_counter() < until:
            self._call()

    def sample(self, calls: int) -> Sample:
        call, before = self._call, machine.usage()
        start = time.perf_counter()
        for _ in range(calls):
            call()
        seconds = time.perf_counter() - start
        after = machine.usage()
        return Sample(seconds / calls, (after.faults - before.faults) / calls, after.switches - before.switches)


class Remote:
    """A contender in another process.

    Args:
        kind: which process: a key of KINDS.
        make: a function of a module, called there with the arguments: returns the contender's function.
    """

    def __init__(self, kind: str, make: Callable[..., Callable[[], Any]], *arguments: Any):
        self.kind, self._make, self._arguments = kind, make, arguments

    def enter(self, process: Process) -> None:
        """Makes the contender there."""
        self._process = process
        self._key = process.ask("make", self._make, self._arguments)

    def answer(self) -> Any:
        return self._process.ask("answer", self._key)

    def warm(self, seconds: float) -> None:
        self._process.ask("warm", self._key, seconds)

    def sample(self, calls: int) -> Sample:
        return Sample(*self._process.ask("sample", self._key, calls))


class Process:
    """Another Python, with contenders in it."""

    def __init__(self, kind: str, threads: int, keep: bool):
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, KINDS[kind], threads, keep), daemon=True)
        self._process.start()
        theirs.close()

    def ask(self, verb: str, *arguments: Any) -> Any:
        """What the verb gives there.

        Raises:
            PeerError: it fails there, or the process has died.
        """
        try:
            self._pipe.send((verb, *arguments))
            error, value = self._pipe.recv()
        except (EOFError, OSError):
            raise PeerError("its process ended") from None
        if error is not None:
            raise PeerError(error)
        return value

    def close(self) -> None:
        self._pipe.close()  # which is how the other side knows
        self._process.join(5)
        if self._process.is_alive():
            self._process.terminate()
            self._process.join()


def _serve(pipe: Any, environment: dict[str, str], threads: int, keep: bool) -> None:
    """The other side: answers until the pipe is closed."""
    os.environ.update(environment)
    if hasattr(os, "sched_setaffinity"):  # libraries make as many threads as there are cores that they may use
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    if keep:
        machine.keep_memory()
    made: list[Local] = []
    while True:
        try:
            verb, *arguments = pipe.recv()
        except (EOFError, KeyboardInterrupt):
            return
        try:
            value = None
            if verb == "clear":
                made.clear()
            elif verb == "make":
                make, given = arguments
                made.append(Local(make(*given)))
                value = len(made) - 1
            else:
                value = getattr(made[arguments[0]], verb)(*arguments[1:])
            pipe.send((None, value))
        except KeyboardInterrupt:
            return
        except Exception as e:
            pipe.send((f"{type(e).__name__}: {e}".splitlines()[0][:200], None))
