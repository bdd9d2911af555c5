"""What nnfast and Keras both have takes the same arguments with the same defaults. Optional: `pytest -m peers`."""

import inspect
import os

import pytest

import nnfast

pytestmark = pytest.mark.peers
os.environ.setdefault("KERAS_BACKEND", "torch")
keras = pytest.importorskip("keras")

ROOMS = ("losses", "metrics", "callbacks", "initializers", "regularizers", "constraints", "activations", "utils")
NAMES = [
    (room, name)
    for room in ROOMS
    for name in dir(getattr(keras, room))
    if not name.startswith("_")
    and callable(getattr(getattr(keras, room), name))
    and hasattr(getattr(nnfast, room), name)
]


def spelled(f):
    return [(p.name, p.kind, p.default) for p in inspect.signature(f).parameters.values()]


@pytest.mark.parametrize("room, name", NAMES)
def test_signature(room, name):
    mine, theirs = (getattr(getattr(package, room), name) for package in (nnfast, keras))
    if name in ("serialize", "serialize_keras_object"):  # one function for all rooms
        assert len(inspect.signature(mine).parameters) == 1
    else:
        assert spelled(mine) == spelled(theirs)


def test_there_are_many():
    assert len(NAMES) > 150
