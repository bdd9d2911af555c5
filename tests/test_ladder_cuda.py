"""The CUDA rungs on the emulator: right, without faults, and in the order that their counts say."""

import json
import re
from itertools import pairwise
from pathlib import Path

import pytest

from nnfast import cli, ladder
from nnfast.ladder import cuda, lessons, rungs
from nnfast.ladder.problems import PROBLEMS

try:
    lessons.gcc()
    WHY = ""
except ValueError as e:
    WHY = str(e)
needs_gcc = pytest.mark.skipif(bool(WHY), reason=WHY)
OPS = sorted(p.name.removesuffix("_cuda") for p in rungs.sources().glob("*_cuda"))
RUNGS = [rung for op in OPS for rung in rungs.ladder(f"{op}_cuda")]
# The shapes that the others resemble.
FEW = {
    "gemm": [(3, 5, 0), (0, 5, 3), (17, 19, 23), (63, 65, 66)],
    "reduce": [(0,), (1,), (33,), (4097,)],
    "softmax": [(0, 5), (1, 1), (3, 17), (2, 1000)],
}
libraries = {}


def compiled(path):
    """Once for all tests."""
    if path not in libraries:
        libraries[path] = lessons.compile_kernels(path)
    return libraries[path]


def named(rung):
    return f"{rung.op}-{rung.number}"


@pytest.fixture(scope="module", autouse=True)
def forget():
    yield
    libraries.clear()


class Some:
    """A problem with some of its shapes."""

    def __init__(self, problem, edges):
        self.problem, self.edges = problem, edges

    def __getattr__(self, name):
        return getattr(self.problem, name)


@needs_gcc
@pytest.mark.parametrize("rung", RUNGS, ids=named)
def test_every_rung_is_right_and_without_faults(rung):
    op = rung.op.removesuffix("_cuda")
    problem = PROBLEMS[op]
    edges = [edge for edge in problem.edges if edge.sizes in FEW[op]]
    assert len(edges) >= len(FEW[op])
    cuda.check(rung, compiled(rung.path), Some(problem, edges), 60, lambda text: None)
    # With numbers that must be rounded.
    cuda.check(rung, compiled(rung.path), Some(problem, [edges[-1]._replace(data="normal")]), 60, lambda text: None)


@needs_gcc
@pytest.mark.full
@pytest.mark.parametrize("rung", RUNGS, ids=named)
def test_every_rung_on_every_awkward_shape(rung):
    problem = PROBLEMS[rung.op.removesuffix("_cuda")]
    cuda.check(rung, compiled(rung.path), problem, 60, lambda text: None)


@pytest.mark.parametrize("op", OPS)
def test_numbers_and_heads(op):
    steps = rungs.ladder(f"{op}_cuda")
    assert [r.number for r in steps] == list(range(1, len(steps) + 1))
    assert all({"summary", "idea", "changed", "removes"} <= set(r.about) for r in steps)


@pytest.fixture(scope="module")
def gemm():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cuda, "compile_kernels", compiled)
        return ladder.count("gemm", [64, 128, 64])


@needs_gcc
def test_the_counts_explain_the_order(gemm):
    by = {r.title: r for r in gemm.results}
    naive, coalesced, tile = by["naive"], by["coalesced"], by["shared tile"]
    assert (naive.report.total("requests", True), naive.per_wavefront) == (0, None)
    # A warp reads 32 rows of a, or one word of it; 4 sectors of b.
    sectors = {n.array: n.per_request for n in naive.report.lines}
    assert sectors == {"a": 32, "b": 1, "c": 32}
    assert {n.array: n.per_request for n in coalesced.report.lines} == {"a": 1, "b": 4, "c": 4}
    M, N, K = gemm.sizes
    assert tile.report.total("moved", False) == (M * K * N // 32 + K * N * M // 32 + M * N) * 4 // 32
    assert tile.report.total("moved", True) == 2 * M * N * K // 32 + (M * K * N // 32 + K * N * M // 32) // 32
    assert by["vectorised"].requests < by["tile in registers"].requests / 3
    rising = [by[t].per_wavefront for t in ("shared tile", "column in registers", "tile in registers", "warp tile")]
    rising.append(by["tensor core"].per_wavefront)
    assert all(low * 1.5 < high for low, high in pairwise(rising))
    bytes_ = [naive.intensity, coalesced.intensity, tile.intensity, by["warp tile"].intensity]
    assert all(low * 1.5 < high for low, high in pairwise(bytes_))
    remarks = {(n.file, n.access, n.array, n.remark) for r in gemm.results[1:] for n in r.report.lines if n.remark}
    # The lesson's page asks why.
    assert remarks == {("9_tensor_core.cu", "store", "as", "bank conflicts")}


@needs_gcc
def test_the_table_and_json(gemm):
    text = ladder.counts_table(gemm)
    assert text.startswith("gemm, 64 x 128 x 64, float32, on the emulator: 1,048,576 operations. Counted, not timed.")
    assert re.search(r"^1 naive +\d[\d,]* +1\d\.\d\d +- +0\.0\d +-  the loop nest", text, re.M), text
    assert re.search(r"^9 tensor core .*  fragments instead of numbers$", text, re.M), text
    stored = json.loads(json.dumps(gemm.json()))
    assert [r["number"] for r in stored["results"]] == list(range(1, 11))
    assert stored["results"][0]["lines"][0]["array"] == "a" and stored["results"][0]["shared_moved"] == 0


GOOD = rungs.sources() / "gemm_cuda" / "3_shared_tile.cu"
MISTAKES = {
    "forgets a barrier": (
        "__syncthreads();  // nobody needs them any more", "", r"\[race\] shared as, byte \d+: thread",
    ),
    "writes outside": (
        "if (i < M && j < N) c", "if (i < M) c", r"\[out of bounds\] thread .*: element \d+ of c, which has",
    ),
    "reads outside": (
        "k0 + ty < K && j < N ?", "k0 + ty < K ?", r"\[out of bounds\] thread .* loads .* of b, which has",
    ),
    "forgets the rest": (
        "ceil_div(N, T), ceil_div", "N / T + (N < T), ceil_div", r"of M=\d+, N=\d+, K=\d+: c\[.* is nan",
    ),
    "adds to rubbish": (
        "c[i * N + j] = sum;", "c[i * N + j] += sum;", r"\[uninitialised\] c\[0,0\]: thread .* nothing has been stored",
    ),
    "is wrong": ("k < T; ++k", "k < T - 1; ++k", r"c\[.*expected .*Why this shape:"),
    "does not compile": ("float sum = 0;", "float sum = nothing;", r"does not compile:\n.*nothing"),
    "lacks the function": ("void gemm(", "void product(", "defines no function gemm"),
    "is endless": ("k0 += T) {", "k0 += 0) {", r"\[time\] the time is over"),
}  # fmt: skip


@needs_gcc
@pytest.mark.parametrize("kind", MISTAKES)
def test_mistakes_of_a_file_of_ones_own(kind, tmp_path):
    old, new, message = MISTAKES[kind]
    source = GOOD.read_text()
    assert source.count(old) == 1
    file = tmp_path / "my_gemm.cu"
    file.write_text(source.replace(old, new))
    with pytest.raises(ValueError, match=r"^\[(ladder|lesson)\] my_gemm.cu") as raised:
        ladder.count("gemm", [64], file, limit=2)
    assert re.search(message, str(raised.value), re.S), str(raised.value)


@needs_gcc
def test_a_file_of_ones_own_gets_its_place(tmp_path, monkeypatch, capsys):
    file = tmp_path / "my_gemm.cu"
    more = "as[k][tx] * bs[k][tx] * 0 + as[ty][k] * bs[k][tx]"  # a load more
    file.write_text(GOOD.read_text().replace("as[ty][k] * bs[k][tx]", more))
    monkeypatch.setattr(rungs, "ladder", lambda op: [r for r in RUNGS if r.op == op and r.number in (2, 3)])
    assert cli.main(["ladder", "gemm", "--mine", str(file), "--size", "32"]) == 0
    out = capsys.readouterr().out
    assert "my_gemm.cu is right on every awkward shape, and no fault was found." in out
    assert re.search(r"operations a byte of global memory: as much as rung 3 \(shared tile\) or more", out)
    assert "operations a wavefront of shared memory: fewer than every rung." in out
    assert "shared_tile: 1 block of 32 x 32 threads" in out


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["conv2d", "--cuda"], "conv2d has no CUDA rungs; these have: gemm"),
        (["gemm", "--cuda", "--threads", "2"], "--threads and --plot are for the rungs on the CPU"),
        (["gemm", "--cuda", "--mine", __file__], "expects a file that ends in .cu"),
        (["gemm", "--mine", "nowhere.cu"], "there is no such file"),
        (["gemm", "--mine", "folder.cu"], "expects a file, and this is a folder"),
        (["gemm", "--cuda", "--size", "1,2"], "expects one number, or M,N,K"),
        (["gemm", "--cuda", "--show", "99"], "no such rung"),
    ],
)
def test_wrong_arguments(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.cu").mkdir()
    assert cli.main(["ladder", *arguments]) == 1
    assert message in capsys.readouterr().err


def test_show_and_listing(capsys):
    assert cli.main(["ladder", "gemm", "--cuda", "--show", "2"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("// Rung 2: coalesced.") and "What changed since rung 1, naive:" in out
    assert "gemm --cuda: the same for a GPU" in ladder.listing()


PAGE = Path(__file__).parents[1] / "docs" / "ladder" / "cuda.md"


@pytest.fixture
def pages(monkeypatch):
    monkeypatch.syspath_prepend(str(PAGE.parents[2] / "tools"))
    import ladder_pages

    return ladder_pages


def test_the_page_has_a_section_for_each_rung():
    titles = re.findall(r"^### Rung (\d+): (.*)$", PAGE.read_text(encoding="utf-8"), re.M)
    assert titles == [(str(r.number), r.title) for r in rungs.ladder("gemm_cuda")]


@needs_gcc
def test_the_page_shows_what_lesson_mode_says(pages):
    page = PAGE.read_text(encoding="utf-8")
    assert pages.reported(page) == page, "run: python tools/ladder_pages.py --count"
    assert "`bad.cu`" in page and "[race] shared s" in page and "no faults found" in page


@needs_gcc
@pytest.mark.full
def test_the_page_shows_the_counts(pages):
    page = PAGE.read_text(encoding="utf-8")
    assert pages.counted(page) == page, "run: python tools/ladder_pages.py --count"
