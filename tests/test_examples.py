"""Every example runs with --quick, without a screen and without a network, and its table names it."""

import re
import runpy
import sys
from pathlib import Path

import pytest

pytest.importorskip("matplotlib")

EXAMPLES = Path(__file__).parents[1] / "examples"
SCRIPTS = sorted(p.name for p in EXAMPLES.glob("*.py") if p.name not in ("common.py", "MNIST.py"))
PRINTED = {  # a number of the course, or a sentence, that must be there
    "first_network.py": "course 407,050, here 407,050",
    "tensors.py": "[[4 13 1] [6 9 1]] = [[4.0, 13.0, 1.0], [6.0, 9.0, 1.0]]",
    "losses.py": "course     31.500003072148047   here 31.500003072148047",
    "perceptron.py": "course 11, here 11",
    "backprop_by_hand.py": "error   course .2097        here 0.2097",
    "mlp.py": "here 7,850 and 316,810",
    "digits_mlp_lab.py": "the same predictions: True",
    "digits_cnn_lab.py": "course 325,282, here 325,282",
    "convolution_by_hand.py": "course 707, here 707",
    "spiral.py": "accuracy course 0.49, here 0.49",
    "pytorch_digits.py": "course 225,034, here 225,034; steps an epoch: 16",
    "two_layers_from_scratch.py": "course 1.098427770814438, here 1.098427770814438",
    "three_inputs.py": "course 1,286,789, here 1,286,789",
}


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("name", SCRIPTS)
def test_example(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "Agg")
    monkeypatch.setattr(sys, "argv", [name, "--quick"])
    monkeypatch.syspath_prepend(str(EXAMPLES))
    for module in ("common", "MNIST"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    try:
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")
    finally:
        for module in ("common", "MNIST"):
            sys.modules.pop(module, None)
    printed = capsys.readouterr().out
    assert PRINTED.get(name, "") in printed, printed
    named = re.findall(r"picture: (\S+\.png)", printed)
    for picture in named:
        assert (tmp_path / picture).read_bytes().startswith(b"\x89PNG")
    assert len(named) == len(list(tmp_path.glob("pictures/*.png")))


def test_the_table_has_every_script():
    page = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    linked = re.findall(r"\]\((\w+\.py)\)", page)
    assert sorted(linked) == sorted([*SCRIPTS, "MNIST.py"])
