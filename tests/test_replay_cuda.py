"""Replay on a GPU or its stand-in, where a plan is a CUDA graph: the tests of test_replay.py with the device "cuda"."""

import functools

import pytest
import test_replay
from conftest import EMULATOR, GPU

import nnfast

pytestmark = pytest.mark.skipif(not (EMULATOR or GPU), reason="neither a GPU nor the emulator")
strict = test_replay.strict
LONG = {"test_every_layer", "test_every_loss", "test_every_metric", "test_memory_is_flat_over_a_thousand_plans"}


@pytest.fixture(autouse=True)
def gpu(cuda):
    nnfast.set_device("cuda")
    yield
    nnfast.set_device("cpu")


def again(test):
    @functools.wraps(test)
    def run(*args, **options):
        return test(*args, **options)

    return pytest.mark.full(run) if test.__name__ in LONG and not GPU else run


globals().update({name: again(test) for name, test in vars(test_replay).items() if name.startswith("test_")})
