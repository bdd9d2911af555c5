"""Every example in a docstring runs and shows what it says."""

import doctest
import importlib
import pkgutil
import sys

import pytest

import nnfast

# Left out: compiled modules, and the one that runs the command line on import.
MODULES = sorted(
    m.name
    for m in pkgutil.walk_packages(nnfast.__path__, "nnfast.")
    if m.name.rpartition(".")[2] not in ("_cpu", "_cuda", "__main__")
)


def examples(name):
    module = importlib.import_module(name)
    return [t for t in doctest.DocTestFinder(exclude_empty=True).find(module, name) if t.examples]


@pytest.mark.parametrize("name", ["nnfast", *MODULES])
def test_examples_run(name, monkeypatch):
    if name == "nnfast.compat":  # tests beside Keras import the real one, which compat never shadows
        for module in [m for m in sys.modules if m.split(".")[0] in ("keras", "tensorflow", "torch", "torchvision")]:
            monkeypatch.delitem(sys.modules, module)
    if name == "nnfast.plot":
        pytest.importorskip("matplotlib", reason="pictures need matplotlib")
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS, verbose=False)
    report = []
    for test in examples(name):
        runner.run(test, out=report.append)
    assert runner.failures == 0, "".join(report)


def test_there_are_examples():
    """The collection above finds the public functions, whatever becomes of the package's layout."""
    names = [t.name for name in MODULES for t in examples(name)]
    assert len(names) > 60
    assert "nnfast.tensor.Tensor" in names and "nnfast.ops.linalg.dense" in names
