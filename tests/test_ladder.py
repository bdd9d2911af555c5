"""The ladder: every rung gives the right answer on every awkward shape, and `--mine` has a word for every file."""

import json
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from nnfast import cli, ladder
from nnfast.ladder import check, mine, rungs, timing
from nnfast.ladder.problems import PROBLEMS

ROOT = Path(__file__).parents[1]
RUNGS = [rung for op in PROBLEMS for rung in rungs.ladder(op)]
# Python is no matter of the instruction set.
BUILT = [(r, s) for r in RUNGS for s in (rungs.instruction_sets() if r.path.suffix == ".cpp" else ["any"])]
COMPILER = shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
needs_compiler = pytest.mark.skipif(COMPILER is None, reason="no C++ compiler")


def named(rung):
    return f"{rung.op}-{rung.number}-{rung.path.stem.partition('_')[2]}"


@pytest.fixture(autouse=True)
def threads():
    yield
    rungs.set_num_threads(2)


# ---- the rungs ----


@pytest.mark.parametrize("rung, set_", BUILT, ids=lambda v: v if isinstance(v, str) else named(v))
def test_every_rung_on_every_awkward_shape(rung, set_):
    function = rungs.function_of(rung, set_)
    most = 6e5 if rung.number == 0 else np.inf  # Python loops take their time
    assert check.check_edges(function, rung.rounding, most) is None
    problem = PROBLEMS[rung.op]
    for edge in problem.edges:  # with numbers that must be rounded
        if problem.operations(edge.sizes) < most / 10:
            assert check.check_edge(function, edge._replace(data="normal"), rung.rounding) is None


@pytest.mark.parametrize("rung", [r for r in RUNGS if r.path.suffix == ".cpp"], ids=named)
def test_no_rung_reads_outside_of_its_arrays(rung):
    """A read outside of an array would end this process."""
    for set_ in rungs.instruction_sets():
        function = rungs.function_of(rung, set_)
        for edge, argument, at_end in check.guards(PROBLEMS[rung.op]):
            check.check_reads(function, edge, argument, at_end)


@pytest.mark.parametrize("rung", [r for r in RUNGS if r.threaded and r.path.suffix == ".cpp"], ids=named)
def test_threads_do_not_change_the_bits(rung):
    problem = PROBLEMS[rung.op]
    sizes = {"gemm": (150, 70, 300), "reduce": (1 << 18,), "transpose": (70, 150)}[rung.op]
    inputs = problem.make(sizes, "normal", np.random.default_rng(0))
    results = []
    for count in (1, 2, 5):
        rungs.set_num_threads(count)
        output = np.empty(problem.shapes(sizes)[-1], np.float32)
        rungs.function_of(rung).bind(sizes, inputs, output)()
        results.append(output)
    assert all(np.array_equal(results[0], r) for r in results[1:])


def test_ladders_begin_at_the_bottom_and_end_at_the_product():
    for op in PROBLEMS:
        steps = rungs.ladder(op)
        numbers = [r.number for r in steps]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers))) and numbers[0] in (0, 1)
        assert steps[-1].title == "shipped" and "from nnfast import ops" in steps[-1].source
        assert all({"summary", "idea", "changed", "removes"} <= set(r.about) for r in steps)


def test_the_checks_find_what_is_wrong():
    """A function that is wrong in one way each."""
    problem = PROBLEMS["gemm"]

    def says(python, edges=problem.edges):
        function = rungs.Function(problem, python, False)
        return next((w for e in edges if (w := check.check_edge(function, e))), None)

    assert says(lambda a, b: a @ b) is None
    assert "expected" in says(lambda a, b: a @ b + (b.shape[1] > 1))
    last = says(lambda a, b: np.concatenate([(a @ b)[:, :-1], 0 * (a @ b)[:, -1:]], 1), problem.edges[8:])
    assert "M=17, N=19, K=23" in last and "all in column 18." in last and "Why this shape: primes" in last
    assert "It computed NaN" in says(lambda a, b: a @ b * np.float32(np.nan))
    assert "it returns nothing: end it with `return c`" in says(lambda a, b: None)
    assert "something else was read" in says(lambda a, b: a @ b + np.float32(0.25))
    assert "c has shape" in says(lambda a, b: (a @ b).ravel()[:-1])

    def changes(a, b):
        a *= 2
        return a @ b / 2

    assert re.search(r"it changes its input: a\[.*\] was", says(changes))


def test_timed_shapes_are_checked():
    """A rung that is right on the awkward shapes and wrong on the one that is timed is no rung."""
    problem = PROBLEMS["reduce"]
    wrong = rungs.Function(problem, lambda x: x.sum() if len(x) != 5000 else x[:-50].sum(), False)
    own = rungs.Rung("reduce", None, "mine", rungs.sources() / rungs.HEADER, {})
    with pytest.raises(ValueError, match="timed shape"):
        timing.race(problem, (5000,), timing.Cpu(1), (own, wrong), budget=0.01)


@pytest.mark.parametrize("kind", ["wrong", "changes its input"])
def test_what_goes_wrong_while_it_is_timed_is_not_right(kind):
    calls = []

    def late(x):
        calls.append(len(x))
        if calls.count(5000) > 4:
            if kind == "wrong":
                return x[:-50].sum()
            x[7] += 1
        return x.sum()

    own = rungs.Rung("reduce", None, "mine", rungs.sources() / rungs.HEADER, {})
    message = "after the timing: " + ("sum.* expected" if kind == "wrong" else r"it changes its input: x\[7\] was")
    with pytest.raises(ValueError, match=message):
        timing.race(
            PROBLEMS["reduce"],
            (5000,),
            timing.Cpu(1),
            (own, rungs.Function(PROBLEMS["reduce"], late, False)),
            budget=0.01,
        )


@pytest.mark.parametrize("bits", [check.PATTERN, 0x7FC00000, 0xFFC00000, check.UNWRITTEN.view(np.uint32)])
def test_whose_nan_it_is(bits, recwarn):
    """Also of a file that copies what it must not read, bit by bit: no warning of NumPy's."""
    problem, inputs = PROBLEMS["gemm"], [np.ones((2, 3), np.float32), np.ones((3, 2), np.float32)]
    answer = np.full((2, 2), 3, np.float32)
    answer.view(np.uint32)[1, 0] = bits
    says = check.compare(problem, answer, inputs, 0.0)
    words = {check.PATTERN: "from memory outside of an array", 0x7FE5C3B2: "NaN lay there before"}
    assert says.startswith("c[1,0] is nan, expected 3.") and words.get(int(bits), "It computed NaN") in says
    assert not recwarn.list


# ---- the command ----


def test_listing(capsys):
    assert cli.main(["ladder"]) == 0
    out = capsys.readouterr().out
    assert all(f"{op}: " in out for op in PROBLEMS) and "4 register tile" in out


def test_show(capsys):
    assert cli.main(["ladder", "gemm", "--show", "3"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("// Rung 3: cache blocks.")
    assert "What changed since rung 2, loop order:" in out and "\n+  for (int64_t jc = 0;" in out
    assert cli.main(["ladder", "gemm", "--show", "0"]) == 0
    assert "What changed" not in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["gem"], "unknown ladder. Known: gemm,"),
        (["gemm", "--show", "99"], "no such rung"),
        (["gemm", "--size", "1,2"], "expects one number, or M,N,K"),
        (["gemm", "--mine", "nowhere.cpp"], "no such file"),
        (["gemm", "--mine", __file__, "--limit", "nan"], "limit is a number of seconds above 0"),
        (["gemm", "--size", "4000000"], "more memory than there is"),
        (["gemm", "--mine", __file__ + "c"], "no such file"),
        (["gemm", "--mine", "tests.cpp"], "no such file"),
        (["gemm", "--mine", str(ROOT / "tests")], "expects a file, and this is a folder"),
        (["gemm", "--threads", "1025"], "threads is a number from 1 to 1024. Received: 1025"),
        (
            ["--mine", "f.cpp"],
            "--mine needs an op: gemm, conv2d, softmax, reduce, transpose, elementwise. Write, for example: nnfast",
        ),
        (["--show", "1", "--cuda", "--json"], "nnfast ladder gemm --cuda --show 1 --json\n"),
        (["--show", "0", "--size", "3,4"], "nnfast ladder gemm --size 3,4 --show 0\n"),
        (["gemm", "--mine", __file__, "--show", "2"], "does nothing else: leave out --mine"),
        (["gemm", "--show", "2", "--json", "--plot", "a.png"], "does nothing else: leave out --json and --plot"),
        (["gemm", "--json", "no such folder/a.json"], "--json expects the name of a file: there is no such folder"),
        (["gemm", "--json", str(ROOT)], "--json expects the name of a file: this is a folder"),
        (["gemm", "--plot", "no such folder/a.png"], "--plot expects the name of a file: there is no such folder"),
    ],
)
def test_wrong_arguments(arguments, message, monkeypatch, capsys):
    """Said before anything is checked or timed."""
    monkeypatch.setattr(timing, "_all", None)
    assert cli.main(["ladder", *arguments]) == 1
    assert message in capsys.readouterr().err


@pytest.fixture
def quick(monkeypatch):
    """Short samples of each rung."""
    monkeypatch.setattr(timing, "BUDGET", 0.01)


def test_climbing(quick, capsys, tmp_path):
    file = tmp_path / "gemm.json"
    assert cli.main(["ladder", "gemm", "--size", "48", "--threads", "2", "--json", str(file)]) == 0
    out = capsys.readouterr().out
    assert re.search(r"^measured limits, \d+ threads?: [\d.]+ GFLOP/s in registers, [\d.]+ GB/s", out, re.M)
    for rung in rungs.ladder("gemm"):
        timed = rf"^{rung.number} {re.escape(rung.title)} +\d ~?.* ±.*%.*x"
        assert rung.number == 0 or re.search(timed, out, re.M) or rungs.stands_in(rung)
    if rungs.stands_in(rungs.ladder("gemm")[7]):
        assert "rung 7, amx: this CPU has no AMX; checked with simulated tiles, not timed" in out
    result = json.loads(file.read_text())
    assert result["sizes"] == [48, 48, 48] and result["operations"] == 2 * 48**3
    assert all(0 < r["seconds"] < 10 and r["error"] < 1e-2 and r["share"] > 0 for r in result["results"])
    assert {r["title"]: r["threads"] for r in result["results"]}["threaded"] == 2


def test_more_threads_than_cores_can_do_no_more(quick):
    """200 threads took turns on the cores of a peak that took 25 s to measure."""
    cores, isa = rungs.cores(), rungs.instruction_set()
    assert rungs.multiply_adds(isa, 200) == rungs.multiply_adds(isa, cores)
    result = ladder.climb("reduce", [5000], 4 * cores)
    assert set(result.peaks) == {"1", str(cores)} and max(r.threads for r in result.results) == 4 * cores
    for wrong in (0, -1, 1025):
        with pytest.raises(ValueError, match="threads is a number from 1 to 1024"):
            ladder.climb("reduce", [5000], wrong)


@pytest.mark.parametrize("op", [op for op in PROBLEMS if op != "gemm"])
def test_climbing_the_others(op, quick, capsys):
    size = {"conv2d": "1,6,6,3,5", "softmax": "20,50", "transpose": "40,70"}.get(op, "3000")
    assert cli.main(["ladder", op, "--size", size, "--threads", "1", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert [r["number"] for r in result["results"] if r["number"] is not None] == [r.number for r in rungs.ladder(op)]


def test_a_picture_that_cannot_be_drawn_is_said_before_the_run(monkeypatch, capsys):
    monkeypatch.setattr(timing, "_all", None)
    pytest.importorskip("matplotlib")
    assert cli.main(["ladder", "gemm", "--plot", "a.xyz"]) == 1
    assert "--plot draws files that end in" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert cli.main(["ladder", "gemm", "--plot", "a.png"]) == 1
    assert "--plot needs matplotlib: pip install" in capsys.readouterr().err


def test_plot(quick, tmp_path):
    pytest.importorskip("matplotlib")
    file = tmp_path / "ladder.png"
    assert cli.main(["ladder", "reduce", "--size", "2000", "--plot", str(file)]) == 0
    assert file.read_bytes().startswith(b"\x89PNG")


# ---- a student's file ----

GOOD = """
void gemm(int64_t M, int64_t N, int64_t K, const float* a, const float* b, float* c) {
  for (int64_t i = 0; i < M; ++i)
    for (int64_t j = 0; j < N; ++j) {
      float sum = 0;
      for (int64_t k = 0; k < K; ++k) sum += a[i * K + k] * b[k * N + j];
      c[i * N + j] = sum;
    }
}
"""
TO_EIGHTS = GOOD.replace("j < N", "j < N / 8 * 8")
FILES = {
    "good": (GOOD, None),
    "goes wrong late": (
        GOOD.replace("\n}\n", "\n  static int calls;\n  if (M == 40 && ++calls > 3) c[0] = 0;\n}\n"),
        r"timed shape, called once more after the timing: c\[0,0\] is 0",
    ),
    "returns at once": (
        GOOD.replace("c) {", "c) {\n  static float* p;\n  if (M == 40 && p == c) return;\n  if (M == 40) p = c;"),
        r"after the timing: c\[0,0\] is nan, .* NaN lay there before: it was never written",
    ),
    "adds to what is there": (GOOD.replace("c[i * N + j] =", "c[i * N + j] +="), r"M=1, N=1, K=1: .* was added to"),
    "computes NaN": (GOOD.replace("] = sum", "] = sum + 0 / (K == 23 ? 0.f : 1.f)"), r"M=17, .* It computed NaN"),
    "forgets the rest": (TO_EIGHTS, r"of M=1, N=1, K=1: c\[0,0\] is nan, .*\n?.*Why this shape: the smallest"),
    "wrong": (GOOD.replace("k < K", "k + 1 < K || k == 0"), r"of M=2, N=3, K=4: c\[0,\d\] is .* elements are wrong"),
    "crashes": (GOOD.replace("float sum = 0;", "float sum = 0; if (K == 23) sum = *(volatile float*)8;"),
        r"crashed \(SIGSEGV\).*M=17, N=19, K=23, primes",
    ),
    "is endless": (GOOD.replace("float sum = 0;", "float sum = 0; while (N == 19) asm volatile(\"\");"), r"within 2 s"),
    "writes outside": (GOOD.replace("j < N", "j <= N"), r"writes past the end of c: 1 num"),
    "reads outside": (
        GOOD.replace("float sum = 0;", "float sum = 0; if (!i) (void)*(volatile float*)(b + K * N);"),
        r"crashed \(SIG(SEGV|BUS)\).*just past the end of b",
    ),
    "does not compile": (GOOD.replace("float sum = 0;", "float sum = nothing;"), r"does not compile:\n.*nothing"),
    "lacks the function": ("float other(float x) { return x; }", r"defines no function gemm"),
    "aborts": (GOOD.replace("float sum = 0;", "float sum = 0; if (K == 0) abort();"), r"crashed \(SIGABRT\).*K=0"),
    "leaves": (GOOD.replace("float sum = 0;", "float sum = 0; if (K == 1) _Exit(3);"), r"with status 3.*M=1, N=1, K=1"),
}  # fmt: skip


@needs_compiler
@pytest.mark.parametrize("kind", FILES)
def test_mine(kind, tmp_path):
    source, message = FILES[kind]
    file = tmp_path / "my_gemm.cpp"
    file.write_text(source)
    if message is None:
        result = ladder.climb("gemm", [40], 1, file, budget=0.01)
        assert result.results[-1].title == "my_gemm.cpp"
        assert re.match(r"my_gemm.cpp is right: [\d.]+ times as fast as rung \d", ladder.place(result))
        assert "my_gemm.cpp" in ladder.table(result)
        return
    with pytest.raises(ValueError, match=r"\[ladder\] my_gemm.cpp") as raised:
        ladder.climb("gemm", [40], 1, file, limit=2.0, budget=0.01)
    assert re.search(message, str(raised.value), re.S), str(raised.value)


@needs_compiler
def test_a_rung_is_a_file_that_a_student_may_start_from(tmp_path):
    """The threads are nnfast's, and the header is the same."""
    file = tmp_path / "my_gemm.cpp"
    shutil.copy(next((rungs.sources() / "gemm").glob("6_*")), file)
    result = ladder.climb("gemm", [64], 2, file, budget=0.01)
    assert result.results[-1].threads == 2


def test_mine_in_python(tmp_path):
    file = tmp_path / "my_softmax.py"
    file.write_text(
        "import numpy as np\n\ndef softmax(x):\n    e = np.exp(x)\n    return e / e.sum(1, keepdims=True)\n"
    )
    with pytest.raises(ValueError, match="exp overflows unless the largest is taken away first"):
        ladder.climb("softmax", [4], 1, file, budget=0.01)
    file.write_text("def reduce(x):\n    return max(x)\n")
    with pytest.raises(ValueError, match=r"it raised ValueError: max\(\).*\n  line 2, in reduce: return max\(x\)"):
        ladder.climb("reduce", [4], 1, file, budget=0.01)
    for wrong in ("rows, cols, x, y", "x, y", ""):
        file.write_text(f"def softmax({wrong}):\n    pass\n")
        with pytest.raises(ValueError) as raised:
            ladder.climb("softmax", [4], 1, file, budget=0.01)
        assert "softmax is called with one array: " in str(raised.value)
        assert f"Write: def softmax(x), which returns y. Received: def softmax({wrong})" in str(raised.value)
    file.write_text("def reduce(x):\n    return max(x)\n")
    with pytest.raises(ValueError, match=r"defines no function softmax. Write: def softmax\(x\), which returns y"):
        ladder.climb("softmax", [4], 1, file, budget=0.01)
    file.write_text("def reduce(x)\n    return 0\n")
    with pytest.raises(ValueError, match=r"my_softmax\.py is no Python: line 1"):
        ladder.climb("reduce", [4], 1, file, budget=0.01)
    file.write_bytes("# 求和\ndef reduce(x):\n    return x.sum(dtype='float64')\n".encode())
    assert ladder.climb("reduce", [100], 1, file, budget=0.01).results[-1].title == "my_softmax.py"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere the system does not say what a process has")
def test_memory_has_a_limit(tmp_path, monkeypatch):
    """Beside what the race needs, and beside what threads reserve."""
    monkeypatch.setattr(mine, "GIBIBYTES", 1)
    file = tmp_path / "my_reduce.py"
    file.write_text("import numpy as np\n\ndef reduce(x):\n    return np.ones(1 << 33, bool)[:1] + x.sum()\n")
    with pytest.raises(ValueError, match=r"(?s)Unable to allocate 8.*line 4, in reduce.*may take 1 GiB of memory"):
        ladder.climb("reduce", [4], 2, file, budget=0.01)
    file.write_text("def reduce(x):\n    return x.sum(dtype='float64')\n")
    assert ladder.climb("reduce", [1 << 20], 300, file, budget=0.01).results[-1].title == "my_reduce.py"


def test_what_a_file_prints_is_not_in_the_results(tmp_path, quick, capfd):
    file = tmp_path / "my_reduce.py"
    file.write_text("def reduce(x):\n    print('here')\n    return x.sum(dtype='float64')\n")
    assert cli.main(["ladder", "reduce", "--size", "100", "--mine", str(file), "--json"]) == 0
    out, err = capfd.readouterr()
    assert json.loads(out)["results"][-1]["title"] == "my_reduce.py" and "here" in err


def test_no_compiler_is_no_traceback(tmp_path, monkeypatch, capsys):
    file = tmp_path / "my_gemm.cpp"
    file.write_text(GOOD)
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert cli.main(["ladder", "gemm", "--mine", str(file)]) == 1
    assert "no C++ compiler was found. Install one" in capsys.readouterr().err
    monkeypatch.setenv("CXX", str(tmp_path / "nowhere"))
    assert cli.main(["ladder", "gemm", "--mine", str(file)]) == 1
    assert "could not be started" in capsys.readouterr().err


def test_place_by_hand():
    def result(number, seconds):
        return timing.Result(number, f"r{number}", 1, seconds, 0.0, 0.0)

    def placed(seconds):
        own = timing.Result(None, "my.cpp", 1, seconds, 0.0, 0.0)
        others = [result(0, 8.0), result(1, 2.0), result(2, 1.0), result(None, 0.1)]
        return mine.place(timing.Race("gemm", (1,), "x", "x", 1, "x", 1, 1, "copying", {}, [*others, own]))

    assert placed(4.0).startswith(
        "my.cpp is right: 2.00 times as fast as rung 0 (r0), 50% of the speed of rung 1 (r1)."
    )
    assert placed(4.0).endswith("nnfast ladder gemm --show 1")
    assert placed(16.0).startswith("my.cpp is right: 50% of the speed of rung 0 (r0).")
    assert placed(0.5) == "my.cpp is right: 2.00 times as fast as rung 2 (r2), and no rung is faster."


# ---- the lesson pages ----


@pytest.fixture
def pages(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    import ladder_pages

    return ladder_pages


@pytest.mark.parametrize("op", PROBLEMS)
def test_a_page_has_a_section_for_each_rung_and_what_was_measured(op, pages):
    page = (ROOT / "docs" / "ladder" / f"{op}.md").read_text(encoding="utf-8")
    titles = re.findall(r"^## Rung (\d+): (.*)$", page, re.M)
    assert titles == [(str(r.number), r.title) for r in rungs.ladder(op)]
    assert re.findall(r"^<!-- measured (\d+): begin -->$", page, re.M) == [number for number, _ in titles]
    if not (ROOT / "PKG-INFO").exists():  # a source distribution has no results
        assert pages.load(op), "run: python tools/ladder_pages.py --measure"
        assert pages.filled(page, pages.load(op)) == page, "run: python tools/ladder_pages.py"


def test_pages_by_hand(pages):
    def marks(number, *between):
        return f"<!-- measured{number}: begin -->", *between, f"<!-- measured{number}: end -->"

    def result(number, title, seconds, part=1.0):
        return {
            "number": number,
            "title": title,
            "threads": 1,
            "seconds": seconds,
            "spread": 0.1,
            "share": 0.25,
            "error": 1e-7,
            "part": part,
        }

    race = {
        "cpu": "A CPU",
        "isa": "avx2",
        "date": "2026-01-02",
        "sizes": [1000, 2, 3],
        "bound_by": "arithmetic",
        "operations": 2e9,
        "traffic": 1e6,
    }
    race |= {"peaks": {"1": {"operations": 8e9, "bytes": 3e9}}, "notes": ["rung 2, amx: not here"]}
    race["results"] = [result(None, "numpy", 0.5), result(0, "loop", 2.0, 0.5), result(1, "naive", 1.0)]
    text = "".join(f"{part}\n" for part in ("a", *marks("", "old"), "b", *marks(" 1"), "c"))
    full = pages.filled(text, [race])
    assert "old" not in full and pages.filled(full, [race]) == full
    assert "| 0 loop | 1 | ~2,000 ± 10% | 1.0 | 25.0% | 1e-07 |\n| 1 naive |" in full
    assert "| *numpy* | 1 | 500.00 ± 10% | 4.0 |" in full and "Rung 2, amx: not here." in full
    assert "- *A CPU, avx2, 1 thread: 1,000 ms, 2.0 GFLOP/s, 25.0% of the limit, 2.00 times rung 0.*" in full
    assert "- 1 thread: 8 GFLOP/s in registers, 3 GB/s copying" in full
