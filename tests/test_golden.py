"""Ten losses of three trainings, stored in data/golden.json: a change that alters what a model learns shows here.

Written by tools/make_golden.py. Instruction sets differ in the last bits of float32, which ten steps let grow a little:
hence the tolerance. On one of them, every run gives the same bits.
"""

import json
from pathlib import Path

import numpy as np
import pytest
from golden_models import MODELS, STEPS, train

import nnfast

TOLERANCE = 1e-4  # relative; between instruction sets 1e-6 is usual
GOLDEN = json.loads((Path(__file__).parent / "data" / "golden.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", MODELS)
def test_losses_are_the_stored_ones(name, isa):
    losses, _ = train(name)
    np.testing.assert_allclose(losses, GOLDEN[name], rtol=TOLERANCE)


@pytest.mark.parametrize("name", MODELS)
def test_the_twin_gives_the_same_losses(name):
    nnfast.set_device("reference")
    losses, _ = train(name)
    np.testing.assert_allclose(losses, GOLDEN[name], rtol=TOLERANCE)


@pytest.mark.parametrize("name", MODELS)
def test_every_run_gives_the_same_bits(name):
    """Whatever the number of threads."""
    runs = []
    for threads in (1, 2, 5):
        nnfast.set_num_threads(threads)
        runs.append(train(name))
    for losses, weights in runs[1:]:
        assert losses == runs[0][0]
        assert all(a.tobytes() == b.tobytes() for a, b in zip(weights, runs[0][1]))


def test_the_stored_losses_fall():
    assert set(GOLDEN) == set(MODELS)
    for losses in GOLDEN.values():
        assert len(losses) == STEPS and losses[-1] < 0.9 * losses[0]
