"""tools/gpu.sh, with stand-ins for all that it starts: steps follow each other, fail, hang and are taken up again."""

import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[1] / "tools" / "gpu.sh"
EVERY_DAY = (
    "about build ready tiny suite matrix ops streams bench_gemm bench_fit bench_overhead "
    "bench_ops bench_conv2d memcheck racecheck"
)

pytestmark = pytest.mark.skipif(not (SCRIPT.exists() and shutil.which("bash")), reason="needs the sources and bash")


@pytest.fixture
def tree(tmp_path):
    """Sources in which nothing lies but the script and a module, and programs that write down how they were called."""
    root = tmp_path / "nnfast"
    (root / "tools").mkdir(parents=True)
    shutil.copy(SCRIPT, root / "tools" / "gpu.sh")
    (root / "python" / "nnfast").mkdir(parents=True)
    (root / "python" / "nnfast" / "_cuda.so").write_text("built")
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("nvidia-smi", "nvcc", "cmake", "compute-sanitizer", "python3"):
        text = f'#!/bin/bash\necho "{name} $*" >>{tmp_path}/calls\n'
        if name == "nvidia-smi":
            text += "echo 9.0\n"
        if name == "python3":
            text += f'[ ! -e {tmp_path}/fail ] || [[ " $* " != *" $(cat {tmp_path}/fail) "* ]] || exit 3\n'
            text += f'[ ! -e {tmp_path}/hang ] || [[ " $* " != *" $(cat {tmp_path}/hang) "* ]] || exec sleep 60\n'
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)

    def run(*arguments, **more):
        (tmp_path / "calls").write_text("")
        env = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}", **more}
        env.pop("PYTHON", None)
        done = subprocess.run(
            [root / "tools" / "gpu.sh", *arguments], env=env, capture_output=True, text=True, timeout=60
        )
        return done, (tmp_path / "calls").read_text().splitlines()

    return tmp_path, run


def steps(done):
    return [line.split(":")[0].removeprefix("== ") for line in done.stdout.splitlines() if line.startswith("== ")]


def test_all_steps_then_only_what_failed(tree):
    folder, run = tree
    results = folder / "results"
    (folder / "fail").write_text("gemm")
    done, calls = run(results)
    assert done.returncode == 1 and done.stdout.splitlines()[-1] == "failed: bench_gemm ladder wgmma "
    assert steps(done) == [*EVERY_DAY.split(), "ladder", "wgmma"]
    assert next(c for c in calls if c.startswith("cmake -S")).count("-DNNFAST_CUDA_ARCHS=90a") == 1
    sanitizers = [c for c in calls if c.startswith("compute-sanitizer")]
    assert [c.split()[2] for c in sanitizers] == ["memcheck", "racecheck"]
    assert any(c.endswith(f"bench --cuda conv2d --json {results}/bench_conv2d.json") for c in calls)
    assert (results / "bench_gemm.rc").read_text() == "3\n" and (results / "about.log").read_text().startswith("9.0")
    with tarfile.open(results / "all.tar.gz") as archive:
        assert {"./modules/_cuda.so", "./bench_fit.rc", "./summary.txt"} <= set(archive.getnames())
    (folder / "fail").unlink()
    done, calls = run(results)
    assert done.returncode == 0 and steps(done) == ["bench_gemm", "ladder", "wgmma"] and len(calls) == 4
    assert run(results)[1] == []
    assert steps(run(results, "matrix", "about")[0]) == ["matrix", "about"]


def test_a_step_that_hangs_is_ended(tree):
    folder, run = tree
    script = folder / "nnfast" / "tools" / "gpu.sh"
    script.write_text(script.read_text().replace("bench_*) echo 420", "bench_*) echo 1"))
    (folder / "hang").write_text("ops")
    archive = folder / "elsewhere.tar.gz"
    done, _ = run(folder / "results", "bench_ops", "bench_fit", NNFAST_GPU_ARCHIVE=str(archive))
    assert done.returncode == 1 and "failed: bench_ops " in done.stdout and archive.exists()
    assert (folder / "results" / "bench_ops.rc").read_text() == "124\n"
    assert (folder / "results" / "bench_fit.rc").read_text() == "0\n"


def test_what_it_says(tree):
    folder, run = tree
    done, calls = run("--list")
    assert done.returncode == 0 and "memcheck_all" in done.stdout and calls == []
    for name in EVERY_DAY.split():
        assert f"\n{name} " in f"\n{done.stdout}"
    assert run(folder / "results", "matrix", "cats")[0].returncode == 2
    assert "no such step: cats" in run(folder / "results", "cats")[0].stdout
    assert "gpu.sh RESULTS STEP..." in run()[0].stdout
