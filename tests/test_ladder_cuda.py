"""The CUDA rungs on the emulator: right, without faults, and in the order that their counts say."""

import json
import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from nnfast import cli, device, ladder
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
ON_EMULATOR = [rung for rung in RUNGS if rung.path.suffix == ".cu"]
SHIPPED = [rung for rung in RUNGS if rung.path.suffix == ".py"]
# The shapes that the others resemble.
FEW = {
    "gemm": [(3, 5, 0), (0, 5, 3), (17, 19, 23), (63, 65, 66)],
    "reduce": [(0,), (1,), (33,), (4097,)],
    "softmax": [(0, 5), (1, 1), (3, 17), (2, 1000)],
    "transpose": [(0, 5), (1, 37), (33, 31), (64, 36)],
    "conv2d": [(0, 4, 4, 2, 2), (1, 4, 4, 0, 3), (2, 5, 4, 3, 2), (1, 7, 9, 5, 17)],
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
@pytest.mark.parametrize("rung", ON_EMULATOR, ids=named)
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
@pytest.mark.parametrize("rung", ON_EMULATOR, ids=named)
def test_every_rung_on_every_awkward_shape(rung):
    problem = PROBLEMS[rung.op.removesuffix("_cuda")]
    cuda.check(rung, compiled(rung.path), problem, 60, lambda text: None)


@pytest.mark.parametrize("rung", SHIPPED, ids=named)
def test_nnfasts_own_kernels(rung, monkeypatch):
    pytest.importorskip("nnfast._emulator")
    cuda.check_shipped(rung)
    assert device.get_device() == "cpu"
    monkeypatch.setattr(rungs, "from_python", lambda p, path: rungs.Function(p, lambda *x: x[0] * np.nan, False))
    with pytest.raises(ValueError, match=r"rung .*, shipped: .* of "):
        cuda.check_shipped(rung)
    assert device.get_device() == "cpu"


@pytest.mark.parametrize("op", OPS)
def test_numbers_and_heads(op):
    steps = rungs.ladder(f"{op}_cuda")
    assert [r.number for r in steps] == list(range(1, len(steps) + 1))
    assert all({"summary", "idea", "changed", "removes"} <= set(r.about) for r in steps)
    assert all(re.match(r"$|sm_\d+a?$", r.needs) for r in steps)


def counted(op, *sizes):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cuda, "compile_kernels", compiled)
        return ladder.count(op, list(sizes))


@pytest.fixture(scope="module")
def gemm():
    return counted("gemm", 64, 128, 64)


def global_lines(result):
    """(array, loads or stores, sectors of a request)"""
    return {(n.array, n.access, n.per_request) for n in result.report.lines if not n.shared}


@needs_gcc
def test_the_counts_of_sums():
    n = 1 << 19
    by = {r.title: r for r in counted("reduce", n).results}
    assert (by["one thread"].excess, by["one thread"].lanes) == (32 * (n + 1) / (4 * n + 4), 1)
    # Every second thread, every fourth, ... in all warps, or the first 128, 64, ...
    assert by["interleaved"].lanes < 10 and by["packed threads"].lanes > 20
    conflicts = {t: by[t].per_request(True) for t in ("interleaved", "packed threads", "halves", "added while loading")}
    assert conflicts.pop("packed threads") > 3 and set(conflicts.values()) == {1}
    barriers = {t: r.report.barriers for t, r in by.items()}
    tiles = n // 256 + 1024 // 256  # of x, and of the sums of 1024 blocks
    assert barriers["halves"] == barriers["interleaved"] == 9 * tiles
    assert barriers["added while loading"] == 8 * 1025 and barriers["warp shuffles"] == 1025
    falling = ["interleaved", "packed threads", "added while loading", "warp shuffles", "sixteen bytes"]
    assert all(by[a].requests > 1.4 * by[b].requests for a, b in pairwise(falling))
    [of_x] = [line for line in by["sixteen bytes"].report.lines if line.array == "x"]
    assert (of_x.bytes, of_x.requests, of_x.per_request) == (16, n // 128, 16)
    assert by["shipped"].report.launches == [] and "checked and not counted" in counted("reduce", 64).notes[0]


@needs_gcc
def test_the_counts_of_softmax():
    by = {r.title: r for r in counted("softmax", 64, 1024).results}
    assert global_lines(by["thread a row"]) == {("x", "load", 32), ("y", "load", 32), ("y", "store", 32)}
    for title in ("block a row", "online", "warp a row", "in registers"):
        assert {s for _, _, s in global_lines(by[title])} == {4}
    assert {s for _, _, s in global_lines(by["sixteen bytes"])} == {16}
    # Reads and writes of each number: 3 + 2, 2 + 1, 1 + 1, and the least is 1 + 1.
    assert [by[t].excess for t in ("block a row", "online", "warp a row", "in registers")] == [2.5, 1.5, 1.5, 1]
    assert by["block a row"].report.barriers == 64 * 2 * (7 + 2) and by["online"].report.barriers == 64 * 8
    assert by["warp a row"].report.barriers == 0 and by["warp a row"].per_wavefront is None
    assert by["sixteen bytes"].requests * 4 == by["in registers"].requests
    long = {r.title: r for r in counted("softmax", 2, 1500).results}  # more than registers hold
    assert 1 < long["sixteen bytes"].excess < long["warp a row"].excess


@needs_gcc
def test_the_counts_of_transposes():
    by = {r.title: r for r in counted("transpose", 64, 96).results}
    assert global_lines(by["naive"]) == {("x", "load", 4), ("y", "store", 32)}
    assert global_lines(by["whole writes"]) == {("x", "load", 32), ("y", "store", 4)}
    for title in ("shared tile", "padded", "four a thread", "swizzled"):
        assert global_lines(by[title]) == {("x", "load", 4), ("y", "store", 4)} and by[title].excess == 1

    def shared(title):
        return {(n.access, n.per_request) for n in by[title].report.lines if n.shared}

    assert shared("shared tile") == {("store", 1), ("load", 32)}
    assert all(shared(t) == {("store", 1), ("load", 1)} for t in ("padded", "four a thread", "swizzled"))
    last = by["sixteen bytes"]
    assert global_lines(last) == {("x", "load", 16), ("y", "store", 16)} and shared("sixteen bytes") == {
        ("store", 4), ("load", 1),
    }  # fmt: skip
    assert not [n.remark for n in last.report.lines if n.remark]
    assert all(r.report.barriers == 2 * 3 for t, r in by.items() if r.report.launches and r.per_request(True))


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
    assert [tile.report.barriers, by["double-buffered"].report.barriers] == [2 * 2 * 8, 9]
    remarks = {(n.file, n.access, n.array, n.remark) for r in gemm.results[1:] for n in r.report.lines if n.remark}
    # The lesson's page asks why.
    assert remarks == {("9_tensor_core.cu", "store", "as", "bank conflicts")}


@needs_gcc
def test_the_counts_of_convolutions():
    N, H, W, C, F = 1, 8, 8, 16, 64
    by = {r.title: r for r in counted("conv2d", N, H, W, C, F).results}
    lanes = {n.array: n.per_request for n in by["direct"].report.lines}
    assert lanes["x"] > 20 and lanes["y"] == 32
    assert global_lines(by["coalesced"]) == {("x", "load", 1), ("filters", "load", 4), ("y", "store", 4)}

    def numbers(title, array):
        """Loads of a thread each, from global memory."""
        return sum(n.lanes for n in by[title].report.lines if (n.array, n.access, n.shared) == (array, "load", False))

    taps = (3 * H - 2) * (3 * W - 2)  # of all windows, inside of the picture
    assert numbers("coalesced", "x") == numbers("coalesced", "filters") == taps * C * F
    assert (
        numbers("shared filters", "filters") == 9 * C * F * (H * W // 32)
        and numbers("shared filters", "x") == taps * C * F
    )
    covered = 2 * (4 + 1) * 8  # of two rectangles of 4 x 8 with the rim that lies inside of the picture
    assert numbers("shared picture", "x") == covered * C * F // 32
    assert (
        numbers("implicit gemm", "x") == taps * C * F // 32 and numbers("tile in registers", "x") == taps * C * F // 64
    )
    assert by["shared filters"].report.barriers == by["shared picture"].report.barriers == 2 * C // 8 * 2 * F // 32
    rising = [by[t].per_wavefront for t in ("implicit gemm", "tile in registers", "tensor core")]
    assert all(low * 3 < high for low, high in pairwise(rising))
    few = [by[t].excess for t in ("direct", "coalesced", "shared filters", "shared picture")]
    assert all(high > 2 * low for high, low in pairwise(few))


@needs_gcc
def test_the_table_and_json(gemm):
    text = ladder.counts_table(gemm)
    assert text.startswith("gemm, 64 x 128 x 64, float32, on the emulator: 1,048,576 operations. Counted, not timed.")
    assert re.search(r"^1 naive +\d[\d,]* +1\d\.\d\d +- +- +\d+\.\d\d +0\.0\d +-  the loop nest", text, re.M), text
    assert re.search(r"^9 tensor core .*  fragments instead of numbers$", text, re.M), text
    stored = json.loads(json.dumps(gemm.json()))
    assert [r["number"] for r in stored["results"]] == list(range(1, 12))
    assert stored["results"][0]["lines"][0]["array"] == "a" and stored["results"][0]["shared_moved"] == 0


# A rung, and what a student may do to it.
TILE, ROWS, SUM = "gemm_cuda/3_shared_tile.cu", "softmax_cuda/3_online.cu", "reduce_cuda/6_warp_shuffles.cu"
TURN, PICTURE = "transpose_cuda/4_padded.cu", "conv2d_cuda/4_shared_picture.cu"
GOOD = rungs.sources() / TILE
OTHER_MISTAKES = {
    "a tree without a barrier": (
        ROWS, "    __syncthreads();\n    if (t < step)", "    if (t < step)", r"\[race\] shared s, byte \d+: thread",
    ),
    "exp overflows": (ROWS, "{x[j], 1}", "{0, expf(x[j])}", r"y\[0,0\] is nan.*exp overflows unless"),
    "the rest of a row": (ROWS, "j < cols; j += THREADS) y", "j < cols / 2 * 2; j += THREADS) y", r"y\[0,0\] is nan"),
    "the sums of other warps": (
        SUM, "__syncthreads();", "", r"\[race\] shared s, byte \d+: thread \d+ stores it at my_reduce.cu",
    ),
    "one warp's mask": (SUM, "__shfl_xor_sync(~0u, x", "__shfl_xor_sync(0xffffu, x", r"\[warp.*my_reduce.cu:1"),
    "one sum of many": (SUM, "launch(of_partial", "if (blocks == 1) launch(of_partial", r"\[uninit|sum\[0\] is nan"),
    "atomics missing": (
        SUM, "if (threadIdx.x == 0) partial[blockIdx.x] = total", "if (threadIdx.x == 0) partial[0] += total",
        r"\[race\] partial.*blocks run in any order: an atomic",
    ),
    "reads past a row": (TURN, "i0 + ty < rows && j0", "i0 + ty <= rows && j0", r"\[out of bounds\].* of x, which"),
    "no rim": (PICTURE, "h >= 0 && h < H && w >= 0", "h >= 0 && h < H && w > 0", r"conv2d of .*: y\[.*expected"),
    "rows of the next picture": (PICTURE, "h >= 0 && h < H &&", "h >= 0 &&", r"\[out of bounds\].* of x, which has"),
    "rows for columns": (TURN, "y[(j0 + ty) * rows", "y[(j0 + ty) * cols", r"of rows=2, cols=3: |out of bounds"),
    "misaligned": (
        "transpose_cuda/7_sixteen_bytes.cu", "n >= 4 && whole) return", "n >= 4) return", r"\[misaligned\] x\[",
    ),
}  # fmt: skip
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
    "has another signature": (
        "void gemm(int64_t M, int64_t N, int64_t K", "void gemm(int M, int N, int K",
        r"the function is gemm\(int64_t M, .* float\* c\)\. Received: gemm\(int, int, int, float const\*",
    ),
    "launches nothing": ("  launch(", "  if (M < 0) launch(", "it launches no kernel: gemm is called on the host"),
    "loops on the host": ("  launch(", "  c[0] = 0;\n  launch(", r"\[host\] c\[0,0\]: the host stores it at my_gemm"),
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
@pytest.mark.parametrize("kind", OTHER_MISTAKES)
def test_mistakes_in_the_other_ladders(kind, tmp_path):
    rung, old, new, message = OTHER_MISTAKES[kind]
    op, source = rung.partition("_")[0], (rungs.sources() / rung).read_text()
    assert old in source
    file = tmp_path / f"my_{op}.cu"
    file.write_text(source.replace(old, new, 1))
    with pytest.raises(ValueError, match=rf"^\[ladder\] my_{op}.cu: {op} of ") as raised:
        ladder.count(op, [64], file, limit=10)
    assert re.search(message, str(raised.value), re.S), str(raised.value)


@needs_gcc
def test_a_file_that_moves_numbers_gets_its_place(tmp_path, monkeypatch, capsys):
    file = tmp_path / "my_softmax.cu"
    file.write_text((rungs.sources() / ROWS).read_text())
    monkeypatch.setattr(cuda, "compile_kernels", compiled)
    monkeypatch.setattr(rungs, "ladder", lambda op: [r for r in RUNGS if r.op == op and r.number in (2, 4, 7)])
    assert cli.main(["ladder", "softmax", "--count", "--mine", str(file), "--size", "4,256"]) == 0
    out = capsys.readouterr().out
    assert "1.50 times the bytes that must move: as few as rung 4 (warp a row) or fewer." in out
    assert re.search(r"^7 shipped +- +- ", out, re.M) and "rung 7, shipped: nnfast's own kernels, checked" in out


@needs_gcc
def test_a_build_without_the_emulator_leaves_nnfasts_kernels_out(monkeypatch):
    def none(rung):
        raise ModuleNotFoundError("No module named 'nnfast._emulator'")

    monkeypatch.setattr(cuda, "check_shipped", none)
    monkeypatch.setattr(rungs, "ladder", lambda op: [r for r in RUNGS if r.op == op and r.number in (1, 7)])
    counts = ladder.count("softmax", [4, 10])
    assert [r.number for r in counts.results] == [1]
    assert counts.notes == ["rung 7, shipped: this build of nnfast has no emulator"]


@needs_gcc
def test_a_file_of_ones_own_gets_its_place(tmp_path, monkeypatch, capsys):
    file = tmp_path / "my_gemm.cu"
    more = "as[k][tx] * bs[k][tx] * 0 + as[ty][k] * bs[k][tx]"  # a load more
    file.write_text(GOOD.read_text().replace("as[ty][k] * bs[k][tx]", more))
    monkeypatch.setattr(cuda, "compile_kernels", compiled)
    monkeypatch.setattr(rungs, "ladder", lambda op: [r for r in RUNGS if r.op == op and r.number in (2, 3)])
    assert cli.main(["ladder", "gemm", "--count", "--mine", str(file), "--size", "32"]) == 0
    out = capsys.readouterr().out
    assert "my_gemm.cu is right on every awkward shape, and no fault was found." in out
    assert re.search(r"operations a byte of global memory: as much as rung 3 \(shared tile\) or more", out)
    assert "operations a wavefront of shared memory: fewer than every rung." in out
    assert "shared_tile: 1 block of 32 x 32 threads" in out


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["elementwise", "--count"], "elementwise has no CUDA rungs; these have: "),
        (["gemm", "--cuda", "--threads", "2"], "--threads is for the rungs on the CPU"),
        (["gemm", "--count", "--plot", "a.png"], "--plot draws times, and --cuda without a GPU counts"),
        (["gemm", "--cuda", "--mine", __file__], "expects a file that ends in .cu"),
        (["gemm", "--mine", "nowhere.cu"], "there is no such file"),
        (["gemm", "--mine", "folder.cu"], "expects a file, and this is a folder"),
        (["gemm", "--count", "--size", "1,2"], "expects one number, or M,N,K"),
        (["transpose", "--count", "--size", "1000000,1000000"], "rows=1000000, cols=1000000: lesson mode remembers"),
        (["transpose", "--count", "--size", "40000,40000"], "need 500.7 GiB, and it takes at most 4"),
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
PAGES = {op: PAGE if op == "gemm" else PAGE.with_name(f"{op}_cuda.md") for op in OPS}


@pytest.fixture
def pages(monkeypatch):
    monkeypatch.syspath_prepend(str(PAGE.parents[2] / "tools"))
    import ladder_pages

    return ladder_pages


@pytest.mark.parametrize("op", OPS)
def test_a_page_has_a_section_for_each_rung(op):
    page = PAGES[op].read_text(encoding="utf-8")
    titles = re.findall(r"^###? Rung (\d+): (.*)$", page, re.M)
    assert titles == [(str(r.number), r.title) for r in rungs.ladder(f"{op}_cuda")]
    table = re.search(rf"<!-- counted {op}: begin -->\n(.*)<!-- counted {op}: end -->", page, re.S)[1]
    assert all(re.search(rf"^{r.number} {r.title} ", table, re.M) for r in rungs.ladder(f"{op}_cuda"))


@needs_gcc
def test_the_page_shows_what_lesson_mode_says(pages):
    page = PAGE.read_text(encoding="utf-8")
    assert pages.reported(page) == page, "run: python tools/ladder_pages.py --count"
    assert "`bad.cu`" in page and "[race] shared s" in page and "no faults found" in page


@needs_gcc
@pytest.mark.full
@pytest.mark.parametrize("op", OPS)
def test_the_page_shows_the_counts(op, pages):
    page = PAGES[op].read_text(encoding="utf-8")
    assert pages.counted(page) == page, "run: python tools/ladder_pages.py --count"
