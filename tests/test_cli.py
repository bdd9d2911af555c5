"""The command line, as a user runs it."""

import os
import re
import subprocess
import sys

import numpy as np
import pytest

from nnfast import cli
from nnfast.datasets import mnist


def run(*arguments, timeout=300, **environment):
    # Warnings in the child are errors, as they are here; nothing that the caller set about the terminal reaches it.
    env = {k: v for k, v in os.environ.items() if k not in ("PYTHONIOENCODING", "COLUMNS")}
    command = [sys.executable, "-W", "error", "-m", "nnfast", *arguments]
    return subprocess.run(command, env={**env, **environment}, capture_output=True, timeout=timeout)


def test_info_says_what_runs_here():
    done = run("info", NNFAST_NUM_THREADS="1", NNFAST_ISA="portable")
    assert done.returncode == 0, done.stderr
    rows = dict(re.split(r"  +", line, maxsplit=1) for line in done.stdout.decode().splitlines())
    assert set(rows) >= {"nnfast", "Python", "NumPy", "h5py", "system", "CPU", "CPU features", "device", "CUDA"}
    assert rows["NumPy"] == np.__version__
    assert rows["threads"] == "1" and rows["NNFAST_NUM_THREADS"] == "1"
    assert rows["instruction set"].startswith("portable (this CPU runs: ")
    assert re.match(r"\d+\.\d MB in \d+ blocks$", rows["memory in use"])


def test_info_in_this_process(capsys):
    assert cli.main(["info"]) == 0
    assert re.search(r"^instruction set +\w+ \(this CPU runs: .*portable", capsys.readouterr().out, re.M)


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("train",),
        ("demo", "--data", "cats"),
        ("demo", "--mlp-epochs", "many"),
        ("demo", "--cnn-epochs", "-1"),
        ("demo", "--seed", "-1"),
    ],
)
def test_bad_arguments(arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(list(arguments))
    assert stopped.value.code == 2
    assert capsys.readouterr().err.startswith("usage: nnfast")


def test_a_demo_without_its_data_is_no_traceback(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NNFAST_DATA", raising=False)
    monkeypatch.setenv("NNFAST_HOME", str(tmp_path))
    monkeypatch.setattr(mnist, "NPZ_MIRRORS", [])
    monkeypatch.setattr(mnist, "IDX_MIRRORS", [])
    assert cli.main(["demo", "--data", "mnist"]) == 1
    text = capsys.readouterr().err
    assert text.startswith("nnfast: [mnist.load_data] ") and "nnfast.datasets.digits" in text


@pytest.mark.parametrize("command", ["info", "demo"])
def test_an_unknown_isa_is_no_traceback(command):
    done = run(command, NNFAST_ISA="foo")
    text = done.stderr.decode()
    assert done.returncode == 1 and "'foo'" in text and "portable" in text
    assert len(text.splitlines()) == 1


def test_an_error_of_the_program_keeps_its_traceback(monkeypatch):
    def broken():
        raise ValueError("a mistake of ours")

    monkeypatch.setattr(cli, "info", broken)
    with pytest.raises(ValueError, match="a mistake of ours"):
        cli.main(["info"])


@pytest.fixture(scope="module")
def short_demo():
    return run("demo", "--mlp-epochs", "1", "--cnn-epochs", "1", PYTHONIOENCODING="utf-8")


def test_demo_runs_end_to_end(short_demo):
    assert short_demo.returncode == 0, short_demo.stderr.decode()
    text = short_demo.stdout.decode("utf-8")
    for part in ("6,000 handwritten digits", "perceptron", "407,050", "convolutional", "Where to go next:"):
        assert part in text
    perceptron, convolutional = accuracies(text)
    assert perceptron > 0.8 and convolutional > 0.8  # one epoch each
    drawing = text.split("What the convolutional network sees:")[1]
    assert sum(any(c in line for c in "▀▄█") for line in drawing.splitlines()) >= 10
    assert re.search(r"\d \(\d+%.*\) +\d \(", drawing)  # predictions with their probabilities


@pytest.mark.parametrize("encoding", ["ascii", "cp950"])
def test_drawings_where_blocks_do_not_print(encoding):
    """A terminal that cannot show everything gets an output that it can: no error and no question marks."""
    done = run("demo", "--mlp-epochs", "1", "--cnn-epochs", "1", PYTHONIOENCODING=f"{encoding}:strict")
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    text = done.stdout.decode(encoding)
    assert "?" not in text.split("What the convolutional network sees:")[1]
    assert min(accuracies(text)) > 0.8


@pytest.mark.parametrize("encoding", ["ascii", "cp950", "utf-8"])
def test_a_drawing_prints_in_its_encoding(encoding, monkeypatch):
    class Terminal:
        pass

    Terminal.encoding = encoding
    monkeypatch.setattr(cli.sys, "stdout", Terminal())
    image = np.zeros((28, 28), "float32")
    image[8:20, 14] = 1
    lines = cli._drawing(image)
    assert len(lines) == 14 and all(len(line) == 28 for line in lines)
    "".join(lines).encode(encoding)
    assert all((line[14] != " ") == (4 <= i < 10) for i, line in enumerate(lines))


def test_closed_pipe_is_no_error():
    program = f"{sys.executable} -m nnfast demo --mlp-epochs 1 --cnn-epochs 1 | head -n 1"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", program], capture_output=True, timeout=300)
    assert done.returncode == 0 and done.stderr == b""


@pytest.mark.full
def test_demo_learns_what_it_promises():
    done = run("demo", timeout=600)
    assert done.returncode == 0, done.stderr.decode()
    perceptron, convolutional = accuracies(done.stdout.decode())
    assert perceptron >= 0.92
    assert convolutional >= 0.95


def accuracies(text):
    found = re.search(r"test accuracy: perceptron (0\.\d+|1\.0+), convolutional network (0\.\d+|1\.0+)", text)
    assert found, text[-500:]
    return tuple(float(a) for a in found.groups())
