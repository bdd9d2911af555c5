"""Fixtures for all tests: the device, the instruction set, the dtype; a seeded generator; arrays of awkward layout."""

import importlib
import importlib.util
import os
import sys

import fake_gpu
import numpy as np
import pytest

import nnfast
from nnfast import _cpu, compat

# Not built where the kernels of the CPU alone are looked at: sanitizers, an emulated ARM.
EMULATOR = importlib.import_module("nnfast._emulator") if importlib.util.find_spec("nnfast._emulator") else None


def _gpu() -> bool:
    """Is there a GPU that nnfast can use? With NNFAST_TEST_GPU=1 it is an error if not, and no skipped tests."""
    try:
        nnfast.set_device("cuda")
    except (ValueError, RuntimeError, ImportError):
        if os.environ.get("NNFAST_TEST_GPU"):
            raise
        return False
    if os.environ.get("NNFAST_CACHE") == "0":  # each array is a block of its own, which compute-sanitizer can watch
        importlib.import_module("cupy").cuda.set_allocator(None)
    nnfast.set_device("cpu")
    return True


GPU = _gpu()


@pytest.fixture(scope="session", autouse=True)
def keep_nothing(tmp_path_factory):
    """What lesson mode compiles once for all is kept in the folder of the test run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nnfast.ladder.lessons.KEPT", tmp_path_factory.mktemp("cache") / "nnfast")
        yield


@pytest.fixture(params=_cpu.isas())
def isa(request):
    """Each instruction set that this CPU runs, and `simulated`."""
    before = _cpu.isa()
    _cpu.use_isa(request.param)
    yield request.param
    _cpu.use_isa(before)


@pytest.fixture
def cuda(monkeypatch):
    """The device "cuda": the GPU where there is one, else its stand-in, which is returned."""
    return None if GPU else fake_gpu.install(monkeypatch)


@pytest.fixture(params=["cpu", "reference", *(["cuda-emulator", "cuda"] if EMULATOR else ["cuda"] if GPU else [])])
def device(request):
    """Each device that every machine has, and a GPU or its stand-in."""
    before = nnfast.get_device()
    if request.param == "cuda":
        request.getfixturevalue("cuda")
    nnfast.set_device(request.param)
    yield request.param
    nnfast.set_device(before)


@pytest.fixture(params=["float32", "float64"])
def dtype(request):
    return np.dtype(request.param)


@pytest.fixture
def rng():
    return np.random.default_rng(20)


@pytest.fixture(autouse=True)
def restore_settings():
    """No test leaves the device, the float type or the number of threads changed."""
    device, floatx, threads = nnfast.get_device(), nnfast.config.floatx(), nnfast.get_num_threads()
    image_data_format, epsilon = nnfast.config.image_data_format(), nnfast.config.epsilon()
    yield
    nnfast.set_device(device)
    nnfast.config.set_floatx(floatx)
    nnfast.config.set_epsilon(epsilon)
    nnfast.config.set_image_data_format(image_data_format)
    nnfast.set_num_threads(threads)


@pytest.fixture
def aliases():
    """Installs names, and takes them back. A peer that this process has imported is put aside meanwhile."""
    roots = ("keras", "tensorflow", "torch", "torchvision")
    aside = {m: sys.modules.pop(m) for m in list(sys.modules) if m.partition(".")[0] in roots}
    yield compat.install
    compat.uninstall()
    for m in [m for m in sys.modules if m.partition(".")[0] in roots]:
        del sys.modules[m]
    sys.modules.update(aside)
