"""The CUDA ladder on a GPU, without one: a driver in C whose memory is this process's (cuda/fake_driver.c), and kernels
that the emulator runs. What a real driver, nvcc and a GPU do is not tested here."""

import ctypes
import json
import re
import shutil
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest

from nnfast import cli, device, ladder
from nnfast.ladder import child, cuda, driver, gpu, lessons, mine, rungs, timing
from nnfast.ladder.problems import PROBLEMS

try:
    lessons.gcc()
    WHY = ""
except ValueError as e:
    WHY = str(e)
pytestmark = pytest.mark.skipif(bool(WHY), reason=WHY)
libraries = {}


def compiled(source, target, arch):
    """As gpu.compile_file, for the emulator; once for all tests."""
    assert re.fullmatch(r"sm_\d+a?", arch)
    text = source.read_text()
    text += "".join(Path(p).read_text() for p in re.findall(r'^#include "(/.*)"', text, re.M))
    if text not in libraries:
        libraries[text] = lessons.compile_kernels(source, observed=False)
    shutil.copy(libraries[text]._library, target)
    return target


@pytest.fixture(scope="module")
def fake_driver(tmp_path_factory):
    target = tmp_path_factory.mktemp("driver") / "libcuda.so"
    source = Path(__file__).parent / "cuda" / "fake_driver.c"
    subprocess.run([*lessons.gcc(), "-x", "c", "-shared", "-fPIC", str(source), "-o", str(target)], check=True)
    yield target
    libraries.clear()


class FakeTorch(types.ModuleType):
    """What gpu.of_torch uses."""

    __version__ = "0.0"

    def __init__(self):
        super().__init__("torch")
        self.cuda = types.SimpleNamespace(is_available=lambda: True)
        self.matmul_settings, self.cudnn_settings = (types.SimpleNamespace(allow_tf32=x) for x in (False, True))
        self.backends = types.SimpleNamespace(
            cuda=types.SimpleNamespace(matmul=self.matmul_settings), cudnn=self.cudnn_settings
        )
        self.sum = lambda x: FakeTensor(x.values.sum(dtype=np.float64).astype(np.float32))
        self.softmax = lambda x, axis: FakeTensor(PROBLEMS["softmax"].numpy(x.values))
        self.matmul = lambda a, b: FakeTensor(a.values @ b.values)

    def as_tensor(self, x, device):
        assert device == "cuda"
        return FakeTensor(driver.Driver().fetch(x))


class FakeTensor:
    def __init__(self, values):
        self.values = np.ascontiguousarray(values)

    @property
    def __cuda_array_interface__(self):
        x = self.values
        return {"shape": x.shape, "typestr": x.dtype.str, "data": (x.ctypes.data, False), "strides": None, "version": 3}


shipped = gpu.shipped


def no_cuda(rung, problem):
    raise ValueError("[set_device] this build of nnfast has no 'cuda'")


@pytest.fixture
def here(fake_driver, monkeypatch):
    """A machine with a GPU."""
    monkeypatch.setattr(driver, "LIBRARY", str(fake_driver))
    monkeypatch.setattr(gpu, "compile_file", compiled)
    monkeypatch.setattr(gpu, "nvcc", lambda: "nvcc")
    monkeypatch.setattr(gpu, "PEAK_NUMBERS", 1 << 12)
    monkeypatch.setattr(gpu, "PEAK_ROUNDS", 2)
    monkeypatch.setattr(timing, "BUDGET", 0.01)
    monkeypatch.setattr(gpu, "shipped", no_cuda)  # a true one could not read this driver's memory
    monkeypatch.setitem(sys.modules, "torch", FakeTorch())
    monkeypatch.setitem(sys.modules, "cupy", None)
    return ctypes.CDLL(str(fake_driver))


def some(monkeypatch, op, *numbers):
    """A ladder of few rungs."""
    whole = rungs.ladder
    monkeypatch.setattr(rungs, "ladder", lambda name: [r for r in whole(name) if r.number in numbers])


# ---- the driver ----


def test_arrays(here):
    d = driver.Driver()
    assert (d.name, d.capability, d.processors) == ("A fake GPU", 86, 2)
    x = np.arange(12, dtype=np.float32).reshape(3, 4)
    a = d.put(x)
    assert np.array_equal(d.fetch(a), x) and a.size == 12
    middle = d.part(a, 4, (2, 2))
    d.fill(middle, np.float32(7))
    assert d.fetch(a).reshape(-1).tolist() == [0, 1, 2, 3, 7, 7, 7, 7, 8, 9, 10, 11]
    assert d.fetch(d.empty((0, 3))).shape == (0, 3)
    d.fill(d.empty((0,)), np.float32(7))
    del a  # its part keeps the memory
    assert d.fetch(middle).tolist() == [[7, 7], [7, 7]]
    d.start()
    assert 0 < d.stop() < 1


def test_what_the_driver_says(here):
    d = driver.Driver()
    with pytest.raises(MemoryError, match="the GPU has not enough memory"):
        d.empty((1 << 30,))
    gaps = types.SimpleNamespace(__cuda_array_interface__={"shape": (2, 2), "typestr": "<f4", "strides": (16, 4)})
    with pytest.raises(ValueError, match="has gaps"):
        d.fetch(gaps)
    here.fake_illegal_access(1)
    try:
        with pytest.raises(
            ValueError, match=r"^\[ladder\] CUDA says: an illegal memory access was enc.*Synchronize: 700"
        ):
            d.stop()
    finally:
        here.fake_illegal_access(0)


def test_no_driver_and_no_gpu(here, monkeypatch, capsys):
    monkeypatch.setenv("FAKE_GPUS", "0")
    assert not ladder.has_gpu()
    with pytest.raises(
        ValueError, match=r"a driver of NVIDIA's, and it finds no GPU: `nnfast ladder reduce --cuda` counts"
    ):
        ladder.climb("reduce", cuda=True)
    monkeypatch.setattr(driver, "LIBRARY", "libnowhere.so")
    assert not ladder.has_gpu()
    with pytest.raises(ValueError, match=r"^\[ladder\] there is no driver of NVIDIA's: "):
        ladder.climb("reduce", cuda=True)
    assert cli.main(["ladder", "reduce", "--cuda", "--plot", "a.png"]) == 1
    assert "--plot draws times, and --cuda without a GPU counts" in capsys.readouterr().err


# ---- compiling ----


@pytest.mark.parametrize(
    "needs, capability, lacks, arch",
    [
        ("", 75, False, "sm_75"), ("sm_80", 75, True, "sm_75"), ("sm_80", 80, False, "sm_80"),
        ("sm_80", 120, False, "sm_120"), ("sm_90a", 90, False, "sm_90a"), ("sm_90a", 100, True, "sm_90a"),
    ],
)  # fmt: skip
def test_what_a_gpu_can_run(needs, capability, lacks, arch):
    assert gpu.lacks(needs, capability) is lacks and gpu.architecture(needs, capability) == arch


def test_no_nvcc_is_one_line(fake_driver, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(driver, "LIBRARY", str(fake_driver))
    monkeypatch.delenv("CUDACXX", raising=False)
    monkeypatch.setenv("CUDA_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert cli.main(["ladder", "reduce", "--cuda"]) == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and "there is a GPU, and no nvcc" in err and "without the GPU: --count" in err


needs_nvcc = pytest.mark.skipif(shutil.which("nvcc") is None, reason="nvcc is not installed")


@needs_nvcc
@pytest.mark.full
def test_nvcc_compiles_a_file_of_ones_own(tmp_path):
    file = tmp_path / "my_reduce.cu"
    file.write_text((rungs.sources() / "reduce_cuda" / "1_one_thread.cu").read_text())
    own = rungs.student("reduce_cuda", file)
    path = gpu.compile_rung(own, PROBLEMS["reduce"], tmp_path, 80)
    assert path.read_bytes().startswith(b"\x7fELF") and ctypes.CDLL(str(path)).nnfast_run
    file.write_text(file.read_text().replace("void reduce(", "void other("))
    with pytest.raises(ValueError, match=r"^\[ladder\] my_reduce.cu defines no function reduce with the signature"):
        gpu.compile_rung(own, PROBLEMS["reduce"], tmp_path, 80)
    file.write_text(file.read_text().replace("float total = 0", "float total = nothing"))
    with pytest.raises(ValueError, match=r'(?s)^\[ladder\] my_reduce.cu does not compile:.*"nothing" is undefined'):
        gpu.compile_rung(own, PROBLEMS["reduce"], tmp_path, 80)


# ---- the race ----


def test_a_race(here, monkeypatch, capsys, tmp_path):
    some(monkeypatch, "reduce", 2, 7, 8)
    file = tmp_path / "reduce.json"
    assert cli.main(["ladder", "reduce", "--cuda", "--size", "5000", "--json", str(file)]) == 0
    out = capsys.readouterr().out
    assert out.startswith("reduce, 5,000, float32: A fake GPU, sm_86\nmeasured limits, the GPU: ")
    assert re.search(r"^7 sixteen bytes +[\d.]+ ±.*x +\de-\d\d  float4 instead of float$", out, re.M), out
    assert re.search(r"^  torch +[\d.]+ ±", out, re.M)
    assert out.endswith("\nrung 8, shipped: [set_device] this build of nnfast has no 'cuda'\n")
    stored = json.loads(file.read_text())
    assert stored["threads"] == 0 and list(stored["peaks"]) == ["0"] and device.get_device() == "cpu"
    assert [r["number"] for r in stored["results"]] == [None, 2, 7]
    torch = sys.modules["torch"]
    assert not torch.matmul_settings.allow_tf32 and torch.cudnn_settings.allow_tf32  # as before
    assert all(r["seconds"] > 0 and r["error"] < 1e-6 and r["share"] > 0 for r in stored["results"])


@pytest.mark.parametrize("op, size", [("softmax", [30, 100]), ("transpose", [40, 70])])
def test_races_of_what_only_moves(op, size, here, monkeypatch):
    some(monkeypatch, op, 4, 6)
    monkeypatch.setitem(sys.modules, "torch", None)
    result = ladder.climb(op, size, cuda=True)
    assert [r.number for r in result.results] == [4, 6] and result.isa == "sm_86"
    assert result.notes == ["nothing to compare with: there is no PyTorch or CuPy here that uses this GPU"]
    assert result.results[0].error == 0 or op == "softmax"


def test_nnfasts_own_kernels_and_cupy_take_part(here, cuda, monkeypatch):
    if cuda is None:
        pytest.skip("a GPU cannot read the memory of this driver")
    some(monkeypatch, "reduce", 6, 8)
    monkeypatch.setattr(gpu, "shipped", shipped)
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setattr(sys.modules["cupy"], "sum", lambda x: sys.modules["cupy"].asarray(x.get().sum()), raising=False)
    result = ladder.climb("reduce", [3000], cuda=True)
    assert [(r.number, r.title) for r in result.results] == [(None, "cupy"), (6, "warp shuffles"), (8, "shipped")]
    assert result.notes == [] and device.get_device() == "cpu"


def test_pages_with_times_of_a_gpu(here, monkeypatch, tmp_path, capsys):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "tools"))
    import ladder_pages

    some(monkeypatch, "reduce", 5, 6)
    monkeypatch.setattr(gpu, "SIZES", {"reduce": (2000,)})
    assert ladder_pages.on_gpu(tmp_path, ["reduce", "elementwise"]) == 1
    assert "elementwise: [ladder] elementwise has no CUDA rungs" in capsys.readouterr().out
    assert [p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*.json")] == [
        "a-fake-gpu-sm-86/reduce_cuda.json"
    ]
    races = ladder_pages.load("reduce_cuda", tmp_path)
    page = ladder_pages.filled("<!-- measured: begin -->\n<!-- measured: end -->\n", races)
    assert "**A fake GPU, `sm_86`**" in page and "- the GPU: " in page and "| 6 warp shuffles |  | " in page
    assert re.match(r"- \*A fake GPU, sm_86: [\d.]+ ms, ", ladder_pages.line(races[0], 5))


def test_a_picture_of_a_race(here, monkeypatch, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    some(monkeypatch, "reduce", 5, 6)
    file = tmp_path / "a.png"
    assert cli.main(["ladder", "reduce", "--cuda", "--size", "2000", "--plot", str(file)]) == 0
    assert file.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("kind", ["raises", "is wrong"])
def test_a_library_that_cannot_use_this_gpu_takes_no_part(kind, here, monkeypatch):
    def no_kernel(x):
        if kind == "raises":
            raise RuntimeError("CUDA error: no kernel image is available for execution on the device")
        return FakeTensor(x.values.sum() + 1)

    some(monkeypatch, "reduce", 5)
    monkeypatch.setattr(sys.modules["torch"], "sum", no_kernel)
    result = ladder.climb("reduce", [300], cuda=True)
    assert [r.title for r in result.results] == ["added while loading"] and "nothing to compare with" in result.notes[0]


def test_rungs_for_other_gpus_are_left_out(here, monkeypatch):
    some(monkeypatch, "gemm", 2, 10)
    result = ladder.climb("gemm", [32], cuda=True)
    assert [r.title for r in result.results] == ["torch", "coalesced"]
    assert result.notes == ["rung 10, wgmma and TMA: needs sm_90a, and this is sm_86"]


def test_a_wrong_rung_ends_the_race(here, monkeypatch, tmp_path):
    [rung] = [r for r in rungs.ladder("transpose_cuda") if r.number == 1]
    wrong = tmp_path / "1_naive.cu"
    for old, new, message in (
        (
            "y[j * rows + i] =",
            "y[j * rows + i + (rows == 33)] =",
            r"rung 1, naive: transpose of rows=33.*past the end of y",
        ),
        (
            "y[j * rows + i] =",
            "if (j) y[j * rows + i] =",
            r"rows=1, cols=1: y\[0,0\] is nan.*It was never written|never",
        ),
    ):
        wrong.write_text(rung.source.replace(old, new))
        monkeypatch.setattr(rungs, "ladder", lambda op: [rungs._rung(op, wrong)])
        with pytest.raises(ValueError, match=f"(?s){message}"):
            ladder.climb("transpose", [32], cuda=True)


def test_what_a_launch_says_is_an_error_in_words(here, monkeypatch, tmp_path):
    [rung] = [r for r in rungs.ladder("transpose_cuda") if r.number == 1]
    wrong = tmp_path / "1_naive.cu"
    wrong.write_text(rung.source.replace("dim3(32, 8), 0", "dim3(32, 80), 0"))
    monkeypatch.setattr(rungs, "ladder", lambda op: [rungs._rung(op, wrong)])
    with pytest.raises(ValueError, match=r"^\[ladder\] transpose: .*"):
        ladder.climb("transpose", [32], cuda=True)


def test_too_little_memory(here, monkeypatch):
    some(monkeypatch, "reduce", 2)
    with pytest.raises(
        ValueError, match=r"need more memory than there is: the GPU has not enough memory. Received: \["
    ):
        ladder.climb("reduce", [5 << 20], cuda=True)


def test_the_limits_are_measured(here, tmp_path):
    """Of the right numbers: what is copied is copied, and all of it is read."""
    machine = gpu.Machine(driver.Driver())
    for op in ("reduce", "softmax"):
        limits = machine.limits(PROBLEMS[op], (100,))
        machine.fill(limits._y, np.float32(0))
        moved = limits.move()
        if op == "softmax":
            assert moved == 8 * gpu.PEAK_NUMBERS and np.all(machine.fetch(limits._y) == 1)
        else:
            assert moved == 4 * gpu.PEAK_NUMBERS and machine.fetch(limits._out).sum() == gpu.PEAK_NUMBERS
        assert limits.multiply_add() == 2 * 8 * 256 * 32 * gpu.PEAK_ROUNDS
        assert np.ptp(machine.fetch(limits._out)) > 0
        limits.measure()
        assert all(n > 0 for n in limits.peaks()[0].values())


# ---- a student's file ----


def run(file, op, sizes, folder):
    """As the child process does, in this one."""
    folder.mkdir()
    code = gpu.compile_rung(rungs.student(op, file), PROBLEMS[op], folder, 86)
    request = {"op": op, "code": str(code), "source": str(file), "sizes": sizes, "threads": 0, "budget": 0.01}
    said = []
    child._work({**request, "gibibytes": 8}, lambda **entry: said.append(entry))
    return said


def test_a_file_of_ones_own(here, monkeypatch, tmp_path):
    some(monkeypatch, "reduce", 2, 7)
    file = tmp_path / "my_reduce.cu"
    source = (rungs.sources() / "reduce_cuda" / "4_halves.cu").read_text()
    file.write_text(source)
    said = run(file, "reduce", [3000], tmp_path / "right")
    stored = said[-1]["race"]
    results = [timing.Result(**r) for r in stored.pop("results")]
    assert [r.title for r in results] == ["torch", "interleaved", "sixteen bytes", "my_reduce.cu"]
    assert mine.place(timing.Race(**stored, results=results)).startswith("my_reduce.cu is right")
    assert any("reduce of n=17, one more than a vector of 16" in entry.get("step", "") for entry in said)
    file.write_text(source.replace("i0 + t < n ? x[i0 + t] : 0", "x[i0 + t]"))
    wrong = run(file, "reduce", [3000], tmp_path / "wrong")[-1]["wrong"]
    assert wrong.startswith("reduce of n=1: sum[0] is nan") and "from memory outside of an array" in wrong


def test_what_the_child_is_asked(here, monkeypatch, tmp_path):
    """The process that runs a file of one's own: a library for this GPU, and no threads."""
    file = tmp_path / "my_reduce.cu"
    shutil.copy(rungs.sources() / "reduce_cuda" / "4_halves.cu", file)
    asked = []

    def watched(folder, path, limit, tell):
        request = json.loads((folder / "request.json").read_text())
        asked.append((request, Path(request["code"]).read_bytes()[:4], path))

    monkeypatch.setattr(mine, "_watched", watched)
    mine.run(file, PROBLEMS["reduce"], (3000,), 0, 5.0, print, None)
    [(request, code, path)] = asked
    assert (request["op"], request["threads"], request["sizes"], path) == ("reduce", 0, [3000], file)
    assert code == b"\x7fELF"


def test_lesson_mode_looks_first(here, monkeypatch, tmp_path):
    file = tmp_path / "my_reduce.cu"
    source = (rungs.sources() / "reduce_cuda" / "4_halves.cu").read_text()
    file.write_text(source.replace("      __syncthreads();\n", ""))
    with pytest.raises(ValueError, match=r"(?s)my_reduce.cu: reduce of n=.*\[race\] shared s"):
        ladder.climb("reduce", [3000], mine=file, cuda=True)
    file.write_text(source)
    asked = []
    monkeypatch.setattr(cuda, "run_mine", lambda *a: asked.append(a))
    ladder.climb("reduce", [3000], mine=file, cuda=True)
    assert asked[0][0] == file and asked[0][3] == 0
    monkeypatch.setattr(cuda, "check", None)  # not looked at where there is no GCC
    monkeypatch.setattr(cuda, "gcc", lambda: (_ for _ in ()).throw(ValueError("none")))
    ladder.climb("reduce", [3000], mine=file, cuda=True)
    with pytest.raises(ValueError, match=r"expects a file that ends in .cu"):
        ladder.climb("reduce", [3000], mine=__file__, cuda=True)
    with pytest.raises(ValueError, match="threads are for the rungs on the CPU"):
        ladder.climb("reduce", [3000], 2, cuda=True)
