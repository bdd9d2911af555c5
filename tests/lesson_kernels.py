"""Kernels of the tests in lesson mode. They include headers of the tree, so the ladder's header is the tree's, too: an
installation has one of its own."""

from pathlib import Path

import pytest

from nnfast.ladder import lessons, rungs

TESTS = Path(__file__).parent


def compile_with_tree(name):
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(rungs, "sources", lambda: TESTS.parent / "csrc" / "ladder")
        return lessons.compile_kernels(TESTS / "cuda" / name)
