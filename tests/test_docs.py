"""README, CONTRIBUTING and docs say what is there: their code runs, their files exist, their tables are measured."""

import json
import pkgutil
import re
from pathlib import Path

import numpy as np
import pytest
from conftest import EMULATOR, GPU

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "csrc" / "README.md", *ROOT.glob("docs/**/*.md")])
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.fixture
def tables(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))
    import bench.tables

    return bench.tables


def blocks(language, text=README):
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.M | re.S)


def test_the_classifier(capsys):
    """The README's classifier as it stands."""
    exec(compile(blocks("python")[0], "README.md", "exec"), {})
    printed = capsys.readouterr().out
    assert float(re.search(r"test accuracy (0\.\d+)", printed)[1]) > 0.93
    assert re.search(r"the first test digit is a \d$", printed, re.M)


def test_the_other_python_blocks(capsys):
    assert len(blocks("python")) >= 2
    for block in blocks("python")[1:]:
        exec(compile(block, "README.md", "exec"), {})
    assert "Tensor([[" in capsys.readouterr().out


@pytest.mark.skipif(not (EMULATOR or GPU), reason="neither a GPU nor the emulator")
def test_the_page_of_the_gpu(cuda, capsys):
    names = {}
    for block in blocks("python", (ROOT / "docs" / "gpu.md").read_text(encoding="utf-8")):
        exec(compile(block, "docs/gpu.md", "exec"), names)
    assert capsys.readouterr().out == "(2, 4)\n15.0 (2, 3)\n"


def test_install_lines_are_what_ci_runs():
    """The first two steps of CI are the README's two lines, without the packages of the system."""
    first, second = blocks("")[0].strip().splitlines()
    steps = (ROOT / ".ci" / "run").read_text().split('step "')
    assert steps[1].startswith("README, first line") and steps[2].startswith("README, second line")
    for command in ("python3 -m venv", "pip install .", "nnfast demo"):
        assert command in first and command in steps[1].replace("-q ", "")
    for command in ('pip install ".[test]"', "pytest"):
        assert command in second and command in steps[2].replace("-q ", "")


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    links = re.findall(r"\[[^\]]*\]\(([^)\s]+)\)", page.read_text(encoding="utf-8"))
    inner = [link.split("#")[0] for link in links if "://" not in link and not link.startswith("#")]
    assert [link for link in inner if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "csrc/README.md"])
def test_named_files_exist(name):
    """Every path or file name in back quotes; `csrc/cpu/x.cpp` stands for any op, and results come with measuring."""
    text = (ROOT / name).read_text(encoding="utf-8")
    named = re.findall(r"`([\w./-]+/[\w.-]*|[\w-]+\.(?:py|md|h|cpp|inl|sh))`", text)
    rooms = ("csrc", "python", "tests", "tools", "bench", "docs")
    there = {f"/{p.relative_to(ROOT)}" for room in rooms for p in (ROOT / room).rglob("*")}
    there |= {f"/{p.name}" for p in ROOT.iterdir()} | {"/.ci/run", "/bench/results"}
    named = [n.rstrip("/") for n in named if not re.search(r"(^|[/_])x\.", n)]
    assert [n for n in named if not any(p.endswith(f"/{n}") for p in there)] == []


def test_named_functions_exist():
    """What the README calls `nnfast.x.y` is there."""
    for name in sorted(set(re.findall(r"(?<![\w/])nnfast(?:\.[a-zA-Z_]\w*)+", README))):
        pkgutil.resolve_name(name)  # imports a module that `import nnfast` leaves out


def test_readme_holds_the_measured_tables(tables):
    if (ROOT / "PKG-INFO").exists():
        pytest.skip("a source distribution has no results")
    machines = tables.load()
    assert tables.between_markers(README, tables.summary(machines)) == README, "run: python bench/tables.py"
    page = ROOT / "docs" / "benchmarks.md"
    if machines:
        assert page.read_text(encoding="utf-8") == tables.full(machines), "run: python bench/tables.py"


def test_tables_by_hand(tables, tmp_path):
    """Two rows of known times: medians, ratios and means come out as computed by hand."""

    def row(name, threads, ours, theirs, gigaflop=None, share=None):
        timings = {"nnfast": {"seconds": ours, "spread": 0.1}, "torch": {"seconds": theirs, "spread": 0.04}}
        ratio = {"ratio": theirs / ours, "best_peer": "torch"}
        return {"name": name, "threads": threads, "timings": timings, "gigaflop": gigaflop, "share": share, **ratio}

    result = {
        "machine": {
            **{"cpu": "A CPU", "cores": 2, "isa": "avx2", "isas": [], "versions": {"nnfast": "0.1", "torch": "2"}},
            "peaks": {"gigaflops": {"avx2": {"1": 90.0, "2": 1800.0}}, "gigabytes": {"4 MB": {"1": 20.5, "2": 30.0}}},
        },
        "sections": {
            "gemm": {
                "date": "2026-01-02",
                "rows": [row("8^3", 1, 1e-6, 4e-6, 2e-6, 0.8), row("thin|a", 1, 2e-6, 2e-6)],
            },
            "fit": {"date": "2026-01-03", "rows": [row("MLP", 1, 1.0, 3.0)]},
        },
    }
    (tmp_path / "a.json").write_text(json.dumps(result))
    machines = tables.load(tmp_path)
    assert tables.summary(machines) == (
        "\n**A CPU**, 2 cores, `avx2`, 2026-01-02 to 2026-01-03; peers: torch 2\n\n"
        "|  | 1 thread | worst row |\n|---|---:|---|\n"
        "| gemm, 2 cases | 2.00 | 1.00: thin\\|a, 1 thr, torch |\n"
        "| fit: MLP | 3.00 |  |\n\n"
        "![A CPU, 2 cores, `avx2`, 2026-01-02 to 2026-01-03: speed of products and convolutions beside the limits of "
        "the machine, and time of training steps](bench/results/a.png)\n\n"
    )
    full = tables.full(machines)
    assert "| 8^3 | 1 | 1.0 ± 5% | 4.0 ± 2% | 2.0 | 80% | 4.00 |" in full
    assert "| avx2 | 90.0 | 1,800.0 | GFLOP/s in registers |\n| 4 MB | 20.5 | 30.0 | GB/s" in full
    assert "| **geometric mean** | 1 |  |  |  |  | 2.00 |" in full
    written = tables.between_markers(f"before\n{tables.BEGIN}\nold\n{tables.END}\nafter\n", tables.summary(machines))
    assert written.startswith(f"before\n{tables.BEGIN}\n\n**A CPU**") and written.endswith(f"{tables.END}\nafter\n")
    assert "old" not in written
    assert np.isclose(tables.geomean([1.0, 4.0]), 2.0) and tables.geomean([]) is None


def test_the_walk_names_what_is_there():
    """Each line of the walk: a file, and names that are defined in it."""
    text = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
    walk = text.split("## The walk")[1].split("\n## ")[0]
    lines = [line for block in re.findall(r"^```\n(.*?)^```", walk, re.M | re.S) for line in block.splitlines()]
    assert len(lines) >= 15
    for line in lines:
        file, names = line.split(maxsplit=1)
        folder = ROOT / "csrc" if not file.endswith(".py") else ROOT / "python" / "nnfast"
        code = (folder / file).read_text(encoding="utf-8")
        for name in names.split(" -> "):
            assert re.search(rf"^ *(def|void|Array|constinit const .*) {name}\b", code, re.M), (file, name)


def test_tables_of_a_gpu(tables, tmp_path):
    """One thread calls it, so nobody counts them; the limits are products and copies."""
    timings = {"nnfast": {"seconds": 2e-6, "spread": 0.1}, "torch": {"seconds": 1e-6, "spread": 0.04}}
    row = {"name": "8^3", "threads": 1, "timings": timings, "gigaflop": None, "ratio": 0.5, "best_peer": "torch"}
    peaks = {"gigaflops": {"TF32": {"1": 400_000.0}}, "gigabytes": {"2,048 MB": {"1": 4000.0}}}
    gpu = {"gpu": "A GPU", "multiprocessors": 132, "arch": "sm_90", "cuda": "CUDA 13.0", "peaks": peaks}
    about = {"cpu": "A CPU", "cores": 2, "isa": "avx2", "versions": {"nnfast": "0.1", "torch": "2"}, **gpu}
    result = {"machine": about, "sections": {"gemm": {"date": "2026-01-02", "rows": [row]}}}
    (tmp_path / "a-gpu.json").write_text(json.dumps(result))
    machines = tables.load(tmp_path)
    assert tables.summary(machines).startswith(
        "\n**A GPU**, 132 multiprocessors, `sm_90`, 2026-01-02; CUDA 13.0; peers: torch 2\n\n"
        "|  | ratio | worst row |\n|---|---:|---|\n"
        "| gemm, 1 cases | 0.50 | 0.50: 8^3, torch |\n"
    )
    full = tables.full(machines)
    assert "\n## A GPU, 132 multiprocessors, sm_90\n\nCUDA 13.0, beside A CPU, nnfast 0.1, torch 2\n" in full
    assert "| TF32 | 400,000.0 | GFLOP/s |\n| 2,048 MB | 4,000.0 | GB/s" in full
