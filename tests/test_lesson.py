"""Lesson mode: every planted fault of cuda/faults.cu is found at its line, and its clean twin passes."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest
from lesson_kernels import compile_with_tree

from nnfast.ladder import lessons

SOURCE = Path(__file__).parent / "cuda" / "faults.cu"
try:
    lessons.gcc()
    WHY = ""
except ValueError as e:
    WHY = str(e)
pytestmark = pytest.mark.skipif(bool(WHY), reason=WHY)


def line(mark):
    """The number of the line with a mark."""
    [found] = [i for i, text in enumerate(SOURCE.read_text().splitlines(), 1) if text.endswith(f"// mark: {mark}")]
    return found


@pytest.fixture(scope="module")
def faults():
    return lessons.compile_kernels(SOURCE)


@pytest.fixture(scope="module")
def plain():
    """The same file as the emulator alone runs it: nothing is announced."""
    return lessons.compile_kernels(SOURCE, observed=False)


def zeros(n, dtype=np.float32):
    return np.zeros(n, dtype)


def only(report, tag):
    found = [f for f in report.faults if f.tag == tag]
    assert len(found) == 1, str(report)
    return found[0]


# ---- pairs ----

Y = {"y": zeros(64)}
PAIRS = {  # the arguments; array, tag, line, the other line, what else the message says
    "missing_barrier": (Y, "s", "race", "barrier load", "barrier store", "no __syncthreads stands between"),
    "missing_second_barrier": (
        {"x": np.arange(256, dtype=np.float32), "y": zeros(64), "n": 256},
        "tile", "race", "tile store", "tile load", "no __syncthreads",
    ),
    "missing_syncwarp": (Y, "s", "race", "warp add", "warp load", "no __syncwarp"),
    "block_race": ({"y": zeros(1)}, "y", "race", "block add", "block add", "y[0]: thread 0 of block 1"),
    "last_block": (
        {"parts": zeros(3), "done": zeros(1, np.uint32), "y": zeros(1)},
        "parts", "race", "part load", "part store", "thread 0 of block 2 loads it",
    ),
    "atomic_race": (Y, "total", "race", "total add", "total store", "thread 1 changes atomically"),
    "uninitialised": (Y, "s", "uninitialised", "uninitialised", None, "byte 252: thread 63 loads it"),
    "adds_to_rubbish": (Y, "y", "uninitialised", "rubbish", None, "y[0]: thread 0"),
    "copy_not_awaited": (
        {"x": np.arange(128, dtype=np.float32), "y": zeros(32)},
        "s", "race", "copy load", "copy", "is on its way: cp_async_wait comes first",
    ),
    "matrix_race": ({"y": zeros(32, np.uint32)}, "rows", "race", "rows load", "rows store", "no __syncwarp"),
}  # fmt: skip
RIGHT = {
    "missing_barrier": lambda a: np.arange(64)[::-1],
    "missing_second_barrier": lambda a: np.full(64, a["x"].sum()),
    "missing_syncwarp": lambda a: np.pad(np.where(np.arange(32) < 16, 2 * np.arange(32) + 16, np.arange(32)), (0, 32)),
    "block_race": lambda a: [3],
    "last_block": lambda a: [3],
    "copy_not_awaited": lambda a: np.arange(32),
}


@pytest.mark.parametrize("name", PAIRS)
def test_a_fault_and_its_clean_twin(name, faults):
    arguments, array, tag, at, other, words = PAIRS[name]
    outputs = ["y"] if name == "adds_to_rubbish" else []
    bad = faults.run(f"{name}_faulty", arguments, outputs)
    found = [f for f in bad.faults if f.tag == tag and f.array == array and words in f.text]
    assert found, str(bad)
    match = [f for f in found if f.line == line(at) and (other is None or f.other_line == line(other))]
    assert match, str(bad)
    assert f"faults.cu:{line(at)}" in match[0].text and match[0].source and not bad.stopped
    good = faults.run(f"{name}_clean", arguments, outputs)
    assert not good.faults and not good.warnings and str(good).startswith("no faults found")
    if name in RIGHT:
        np.testing.assert_array_equal(good.arrays["y"], RIGHT[name](arguments))


def test_threads_that_left_before_a_barrier_are_a_warning(faults):
    bad = faults.run("left_before_barrier_faulty", {"y": zeros(64), "n": 40})
    assert not bad.faults and not bad.stopped
    [warning] = bad.warnings
    assert warning.line == line("left") and "24 threads had left the kernel" in warning.text
    assert not faults.run("left_before_barrier_clean", {"y": zeros(64), "n": 40}).warnings


# ---- faults that end the launch ----

STOPS = {  # the arguments; tag, array, line, words
    "run_out_of_bounds": (
        {"x": zeros(200), "y": zeros(200), "n": 200},
        "out of bounds", "y", "outside store", "thread 72 of block 1 stores 4 .*: element 200 of y, which has 200",
    ),
    "run_before_the_beginning": (
        {"x": zeros(64), "y": zeros(64)}, "out of bounds", "x", "before load", "thread 0 loads .*: element -1 of x",
    ),
    "run_shared_index": (
        {"y": zeros(64), "n": 65}, "out of bounds", "s", "index", r"thread 0 uses the index 64 of s, of type 'float",
    ),
    "run_dynamic_outside": (
        {"y": zeros(64), "words": 60},
        "out of bounds", "room", "room store", "thread 60 stores .* just past the end of shared room, which has 240",
    ),
    "run_atomic_outside": (
        {"y": zeros(64), "n": 64}, "out of bounds", "y", "atomic outside", "element 64 of y, which has 64",
    ),
    "run_vector_copy": (
        {"x": zeros(256), "y": zeros(128), "offset": 1},
        "misaligned", "x", "vector", r"x\[1\]: thread 0 loads 16 bytes at once .* multiple of 16",
    ),
    "run_writes_input": ({"x": zeros(32)}, "input", "x", "input", r"x\[0\]: thread 0 stores it .* but it is an input"),
    "run_host_stores": (
        {"x": zeros(32), "y": zeros(64)}, "host", "y", "host stores", r"y\[3\]: the host stores .*only kernels may",
    ),
    "run_host_loads": ({"y": zeros(64)}, "host", "scratch", "host loads", "scratch, byte 4: the host loads it"),
    "run_divides": (
        {"y": zeros(32, np.int32), "n": 0}, "crash", "", "divides", "SIGFPE: it divided an integer by zero; thread 0",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", STOPS)
def test_a_fault_that_ends_the_launch(name, faults):
    arguments, tag, array, at, words = STOPS[name]
    report = faults.run(name, arguments)
    fault = only(report, tag)
    assert report.stopped and fault.array == array and re.search(words, fault.text), str(report)
    # The lines of one statement are one.
    assert fault.line in (line(at), line(at) - 1)
    for key in ("x", "y"):  # it stopped before the store
        if key in report.arrays and name != "run_out_of_bounds":
            assert not report.arrays[key].any()


def test_the_same_kernels_within_bounds_pass(faults):
    for name, changed in {
        "run_out_of_bounds": {"n": 199},
        "run_shared_index": {"n": 64},
        "run_dynamic_outside": {"words": 64},
        "run_atomic_outside": {"n": 63},
        "run_vector_copy": {"offset": 4},
        "run_divides": {"n": 7},
    }.items():
        report = faults.run(name, {**STOPS[name][0], **changed})
        assert not report.faults, f"{name}\n{report}"


def test_an_endless_loop_ends_with_its_line(faults):
    fault = only(faults.run("run_endless", {"y": zeros(32)}, limit=1), "time")
    assert fault.line == line("endless") and "thread 0 was at" in fault.text


# ---- what the emulator finds by itself ----

EMULATOR = {
    "run_divergent_barrier": (
        "divergent barrier",
        ["one barrier", "other barrier"],
        r"thread 0 waits .*, thread 40 in",
    ),
    "run_barriers_of_one_line": ("divergent barrier", ["barriers of one line"], r", column 60, thread 40 .* column 86"),
    "run_barrier_against_shuffle": (
        "deadlock",
        ["deadlock shuffle", "deadlock barrier"],
        r"32 threads \(the first: 0\) .* lanes 0xffffffff\n.*32 threads \(the first: 16\) .* in __syncthreads",
    ),
    "run_mismatched_masks": ("warp mask", ["masks"], "lanes 8 and 0 of warp 0 .* masks 0xffffffff and 0x0000ffff"),
    "run_lane_left": ("warp mask", ["lane left"], "thread 20 leaves the kernel, but thread 0 waits for it"),
    "run_not_in_mask": ("warp mask", ["not in mask"], "thread 0 is not in the mask"),
    "run_too_many_threads": ("launch", [], r"a block has 1 to 1024 .* a grid of \(1, 1, 1\) blocks of \(2048, 1, 1\)"),
    "run_shared_room": ("launch", [], r"at most 232448 bytes of shared memory. Received: 300000 bytes of dynamic"),
}


@pytest.mark.parametrize("name", EMULATOR)
def test_the_emulator_alone_names_file_line_and_threads(name, plain):
    tag, marks, words = EMULATOR[name]
    arguments = {"y": zeros(64)} | {"run_lane_left": {"n": 20}, "run_shared_room": {"bytes": 300_000}}.get(name, {})
    fault = only(plain.run(name, arguments), tag)
    assert re.search(words, fault.text, re.S), fault.text
    for mark in marks:
        assert f"faults.cu:{line(mark)}" in fault.text


def test_shared_memory_has_limits(faults, tmp_path):
    most = 227 * 1024
    fault = only(faults.run("run_shared_room", {"y": zeros(64), "bytes": most - 4092}), "launch")
    assert re.search(r"shared_room: .*Received: 228,356 .* dynamic .* 4,096 of __shared__", fault.text), fault.text
    assert not faults.run("run_shared_room", {"y": zeros(64), "bytes": most - 4096}).faults
    file = tmp_path / "big.cu"
    source = '#include "nnfast_ladder.cuh"\n__global__ void k(float* y) {\n  __shared__ float few[8], big[%d];\n'
    source += (
        "  few[0] = big[0] = 1;\n  *y = few[0] + big[0];\n}\nvoid f(float* y) { launch(k, 1, 1, 0, nullptr, y); }\n"
    )
    file.write_text(source % 20_000)
    with pytest.raises(
        ValueError, match=r"big.cu:3: .* at most 49,152 bytes.* Received: 80,032, 80,000 of them of big"
    ):
        lessons.compile_kernels(file)
    file.write_text(source % (12 * 1024 - 8))
    assert not lessons.lesson(file, "f", {"y": zeros(1)}).faults


@pytest.mark.parametrize("gigabytes", [1, 1 << 20])
def test_scratch_that_is_too_large(faults, gigabytes):
    report = faults.run("run_large_scratch", {"y": zeros(32), "gigabytes": gigabytes})
    assert (
        f"watch scratch, which is to have {gigabytes << 30:,} bytes" in only(report, "memory").text and report.stopped
    )


def test_an_array_that_is_never_stored_to(faults):
    """GCC takes it for zeros unless it is told that others may store."""
    assert only(faults.run("run_never_stored", {"y": zeros(64)}), "uninitialised").line == line("never stored")


# ---- counts ----


def counted(report, mark, access, array):
    [found] = [n for n in report.lines if n.line == line(mark) and n.access == access and n.array == array]
    return found


def test_a_float4_copy_is_one_request_of_16_bytes(faults):
    """If a new GCC announces it otherwise, all counts are wrong."""
    report = faults.run("run_vector_copy", {"x": np.arange(128, dtype=np.float32), "y": zeros(128), "offset": 0})
    assert len(report.lines) == 2
    for n in report.lines:
        assert (n.bytes, n.requests, n.lanes, n.moved, n.ideal) == (16, 1, 32, 16, 16)
    np.testing.assert_array_equal(report.arrays["y"], np.arange(128))


@pytest.mark.parametrize("stride, offset, sectors", [(1, 0, 4), (2, 0, 8), (1, 1, 5), (8, 0, 32), (0, 5, 1)])
def test_sectors_of_a_copy(faults, stride, offset, sectors):
    x = zeros(256)
    report = faults.run("run_strided_copy", {"x": x, "y": zeros(32), "stride": stride, "offset": offset})
    load, store = counted(report, "strided", "load", "x"), counted(report, "strided", "store", "y")
    assert (load.requests, load.moved, load.ideal) == (1, sectors, 4 if stride else 1)
    assert (store.requests, store.moved, store.ideal, store.remark) == (1, 4, 4, "")
    assert load.remark == ("not coalesced" if sectors > 5 else "")


@pytest.mark.parametrize("padded, wavefronts", [(True, 1), (False, 32)])
def test_wavefronts_of_a_transposition(faults, padded, wavefronts):
    x = np.arange(1024, dtype=np.float32)
    report = faults.run("run_transpose", {"x": x, "y": zeros(1024), "padded": padded})
    load = counted(report, "transpose", "load", "tile")
    assert load.shared and load.requests == 32 and load.per_request == wavefronts and load.ideal == 32
    assert load.remark == ("" if padded else "bank conflicts")
    np.testing.assert_array_equal(report.arrays["y"].reshape(32, 32), x.reshape(32, 32).T)


def test_part_of_a_warp_and_atomics(faults):
    report = faults.run("run_partial_warp", {"x": zeros(32), "y": zeros(32)})
    load = counted(report, "partial", "load", "x")
    assert (load.requests, load.lanes, load.moved, load.ideal) == (1, 10, 2, 2)
    word = counted(faults.run("run_one_word", {"y": zeros(1)}), "one word", "atomic", "total")
    assert (word.requests, word.moved, word.remark) == (1, 32, "lanes wait for each other")


def test_copies_and_matrices_are_counted_where_the_kernel_asks_for_them(faults):
    report = faults.run("copy_not_awaited_clean", PAIRS["copy_not_awaited"][0])
    load, store = counted(report, "copy", "load", "x"), counted(report, "copy", "store", "s")
    assert (load.bytes, load.requests, load.moved) == (16, 1, 16)
    assert (store.bytes, store.requests, store.moved, store.ideal) == (16, 1, 4, 4)
    rows = counted(faults.run("matrix_race_clean", PAIRS["matrix_race"][0]), "rows load", "load", "rows")
    assert (rows.bytes, rows.requests, rows.moved, rows.ideal) == (16, 1, 4, 4)


def test_a_report_is_a_table(faults):
    text = str(faults.run("run_transpose", {"x": zeros(1024), "y": zeros(1024), "padded": False}))
    assert "transpose<0>: 1 block of 32 x 32 threads" in text
    row = rf"^faults.cu:{line('transpose')} +load +shared tile +4 +32 +32.00 wavefronts +1.00  <- bank conflicts$"
    assert re.search(row, text, re.M), text
    assert "shared memory: 1,056 wavefronts in 64 requests; 64 would do at best" in text


# ---- arguments ----


def test_numbers_arrive_as_the_function_declares_them(faults):
    arguments = {"x": np.arange(64, dtype=np.float32), "y": zeros(32), "n": 32, "scale": 1.5, "d": np.float64(2)}
    report = faults.run("takes_everything", arguments | {"yes": True, "big": 1 << 40})
    np.testing.assert_array_equal(report.arrays["y"], np.arange(1, 33))


@pytest.mark.parametrize(
    "function, arguments, outputs, message",
    [
        ("nothing", {}, [], "defines no function nothing"),
        ("run_one_word", {"y": zeros(1), "n": 1}, [], r"run_one_word has 1 parameters: float\*. Received: y, n"),
        ("run_one_word", {"y": np.zeros(1)}, [], r"y is a float\*. Received: an array of float64"),
        ("run_one_word", {"y": 3}, [], r"y is a float\*. Received: 3"),
        ("run_one_word", {"y": "three"}, [], "y expects an array or a number. Received: 'three'"),
        ("run_divides", {"y": zeros(1, np.int32), "n": zeros(1)}, [], "n is a int. Received: an array of float32"),
        ("run_divides", {"y": zeros(1, np.int32), "n": 1.5}, [], "n is a int. Received: 1.5"),
        (
            "run_one_word",
            {"y": np.empty(1 << 24, np.float32)},
            [],
            r"need 5.0 GiB.*at most 4. Received: 0 bytes to read",
        ),
        ("run_one_word", {"y": zeros(1)}, ["z"], "outputs are names of arrays among the arguments"),
    ],
)
def test_wrong_arguments(faults, function, arguments, outputs, message):
    with pytest.raises(ValueError, match=rf"^\[lesson\] .*{message}"):
        faults.run(function, arguments, outputs)


def test_a_file_that_does_not_compile(tmp_path):
    file = tmp_path / "mine.cu"
    file.write_text('#include "nnfast_ladder.cuh"\n__global__ void k() {}\nvoid f() { k<<<1, 32>>>(); }\n')
    with pytest.raises(ValueError, match=r"mine.cu does not compile:\n.*") as raised:
        lessons.lesson(file, "f", {})
    assert "write launch(kernel, grid, block," in str(raised.value)
    with pytest.raises(ValueError, match="no such file"):
        lessons.lesson(tmp_path / "nothing.cu", "f", {})


def test_elsewhere_than_on_linux_with_gcc(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(ValueError, match=r"needs GCC and its binutils on Linux.*none was found"):
        lessons.gcc()
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(ValueError, match=r"Linux.*Received: darwin"):
        lessons.gcc()


def test_the_emulator_is_compiled_once(tmp_path, monkeypatch):
    started, folder = [], tmp_path / "kept"

    def objects():
        started.clear()
        lessons._runtime.cache_clear()
        return lessons._runtime()

    def start(command):  # a compiler that is quick
        started.append(command)
        return lessons.subprocess.Popen(["sh", "-c", 'echo code > "$0"', command[-1]], text=True)

    monkeypatch.setattr(lessons, "KEPT", folder)
    monkeypatch.setattr(lessons, "_start", start)
    try:
        first = objects()
        assert len(started) == len(first) == 4 and all(Path(f).parent.parent == folder for f in first)
        assert objects() == first and not started
        assert folder.stat().st_mode & 0o777 == 0o700 and len(list(folder.iterdir())) == 1
        Path(first[0]).write_text("")  # damaged
        assert objects() != first and len(started) == 4
        folder.chmod(0o770)  # others may have put something there
        assert not any(Path(f).is_relative_to(folder) for f in objects())
        monkeypatch.setattr(lessons, "_own_folder", lambda path: folder)
        monkeypatch.setattr(lessons, "FLAGS", [*lessons.FLAGS, "-g"])
        assert objects() != first and len(started) == 4
    finally:
        lessons._runtime.cache_clear()


def test_an_installation_has_all_that_is_compiled(monkeypatch):
    """The files that lesson mode includes, however deep, are those that CMake installs."""
    root = SOURCE.parents[2]
    monkeypatch.syspath_prepend(str(root / "tools"))
    import check_wheel

    csrc = root / "csrc"
    todo = [
        *(csrc / "cuda" / f"{n}.cuh" for n in ("ptx", "ptx_sm90")),
        *(csrc / "cuda_on_cpu" / f"{n}.cpp" for n in ("emulator", "tensor_core", "warpgroup", "lesson")),
    ]
    found = set()
    while todo:
        path = todo.pop()
        if path not in found:
            found.add(path)
            todo += [(path.parent / n).resolve() for n in re.findall(r'^#include "(.*)"', path.read_text(), re.M)]
    assert {p.relative_to(csrc).as_posix() for p in found} == set(check_wheel.LESSON_MODE)
    cmake = (csrc / "ladder" / "CMakeLists.txt").read_text()
    for name in check_wheel.LESSON_MODE:
        assert (
            name in cmake
            or f"../{name}" in cmake
            or (name.startswith("cuda_on_cpu/") and name.endswith(".h"))
            or (f'"{Path(name).name}"' in cmake)
        ), name


# ---- kernels that wait for memory ----
@pytest.fixture(scope="module")
def memory_bound():
    return compile_with_tree("memory_bound.cu")


@pytest.mark.parametrize(
    ("function", "shape", "x_bytes"),
    [("add_bias", (37, 264), 16), ("sum_of_rows", (5, 2064), 16), ("sum_of_columns", (300, 96), 4)],
)
def test_a_kernel_moves_no_more_than_its_arrays(memory_bound, function, shape, x_bytes, rng):
    """x is read once, in as few sectors as there can be; along its rows a thread takes 16 bytes at a time."""
    x = rng.integers(-9, 9, shape).astype(np.float32)
    bias = rng.integers(-9, 9, shape[1]).astype(np.float32)
    exact = {"add_bias": x + bias, "sum_of_rows": x.sum(1), "sum_of_columns": x.sum(0)}[function]
    result = {"y": np.zeros_like(exact)}
    arrays = {"bias": bias, **result} if function == "add_bias" else {**result, "scratch": zeros(1 << 16)}
    arguments = {"x": x, **arrays, "rows": shape[0], "columns": shape[1]}
    report = memory_bound.run(function, arguments, outputs=["y"])
    assert not report.faults and not report.warnings, str(report)
    np.testing.assert_array_equal(report.arrays["y"], exact)
    reads = [n for n in report.lines if n.array == "x"]
    assert {n.bytes for n in reads} == {x_bytes}, str(report)
    assert sum(n.moved for n in reads) == x.nbytes // 32, str(report)
    assert all(n.moved <= 1.3 * n.ideal for n in report.lines if n.array == "y" and n.requests > 1), str(report)
