"""Fixtures for all tests: the device, the instruction set, the dtype; a seeded generator; arrays of awkward layout."""

import numpy as np
import pytest

import nnfast
from nnfast import _cpu


@pytest.fixture(params=_cpu.isas())
def isa(request):
    """Each instruction set that this CPU runs, and `simulated`."""
    before = _cpu.isa()
    _cpu.use_isa(request.param)
    yield request.param
    _cpu.use_isa(before)


@pytest.fixture(params=["cpu", "reference"])
def device(request):
    """Each device that every machine has."""
    before = nnfast.get_device()
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
