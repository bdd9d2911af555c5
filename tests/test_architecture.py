"""The laws of the house: who may import whom, how far a call travels, where kernels start, what stays inside an ISA."""

import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import nnfast
from nnfast import _cpu, reference

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "python" / "nnfast"
CSRC = ROOT / "csrc"

# A module may import from rooms of a lower number, and from its own.
RANK = {
    "_cpu": 0,
    "_ladder": 0,
    "reference": 0,
    "gpu": 0.5,
    "device": 1,
    "graph": 1.5,
    "config": 2,
    "naming": 2,
    "tape": 2,
    "tensor": 3,
    "ops": 4,
    "saving": 4.5,
    "activations": 5,
    "initializers": 5,
    "regularizers": 5,
    "constraints": 5,
    "losses": 5,
    "metrics": 6,
    "optimizers": 6,
    "utils": 5,
    "backend": 5,
    "random": 5,
    "nn": 5,
    "optim": 5,
    "src": 6,
    "data": 6,
    "datasets": 6,
    "preprocessing": 6,
    "layers": 6,
    "callbacks": 6,
    "models": 7,
    "ladder": 7.5,
    "bench": 7.6,
    "cli": 8,
    "compat": 8,
    "plot": 8,
}
sources = sorted(p for p in PACKAGE.rglob("*.py") if p.name != "__main__.py")


def room(path):
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return parts[0]


def imports(path):
    """Rooms of nnfast that a file imports at run time; imports for type checkers alone do not count."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    skipped = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            skipped.update(id(n) for n in ast.walk(node))
    found = set()
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "nnfast":
            parts = node.module.split(".")
            found |= {parts[1]} if len(parts) > 1 else {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {a.name.split(".")[1] for a in node.names if a.name.startswith("nnfast.")}
    return found


@pytest.mark.parametrize("path", sources, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_import_law(path):
    """models -> layers -> ops -> {tape, tensor, device} -> _cpu | reference. Arrows never turn back."""
    here = room(path)
    if here in ("__init__", "reference"):
        return
    for other in imports(path):
        if other not in RANK or other == here:
            continue
        lazily = (here, other) in {("tape", "tensor"), ("cli", "nnfast")}
        assert lazily or RANK[other] < RANK[here], f"{here} (rank {RANK[here]}) imports {other} (rank {RANK[other]})"


def test_only_device_imports_a_device_module():
    for path in sources:
        if path.name in ("device.py", "_cpu.pyi"):
            continue
        assert not imports(path) & {"_cpu", "_cuda", "reference"}, path


def test_only_the_ladder_imports_its_module():
    """The teaching room is apart: nothing that ships uses a rung, and one file loads them."""
    users = [p.relative_to(PACKAGE).as_posix() for p in sources if "_ladder" in imports(p)]
    assert users == ["ladder/rungs.py"]
    assert {room(p) for p in sources if "ladder" in imports(p)} <= {"cli", "ladder", "bench"}
    for path in [*(CSRC / "cpu").rglob("*"), *(CSRC / "bindings").rglob("*")]:
        assert path.is_dir() or "ladder" not in path.read_text(encoding="utf-8"), path


def test_only_ops_calls_kernels():
    """`device.kernels` is used by ops, by the tape (sums of gradients, versions), by Variable (memory, copy), by
    graph (plans), and by bench, which times them."""
    users = {room(p) for p in sources if re.search(r"device\.kernels|import kernels", p.read_text(encoding="utf-8"))}
    assert users <= {"ops", "tape", "tensor", "graph", "device", "bench"}


def test_the_face_of_pytorch_has_no_maths_of_its_own():
    """nn, optim and data compute through ops: of NumPy they use what makes, holds and describes arrays."""
    holds = "arange array asarray dtype eye full generic integer load lib ndarray ndim ones ravel savez shape stack "
    holds += "uint8 where zeros array2string broadcast_to float64 array_equal allclose linspace int64"
    for path in sources:
        if room(path) not in ("nn", "optim", "data"):
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        used = {
            n.attr
            for n in ast.walk(tree)
            if isinstance(n, ast.Attribute) and isinstance(n.value, ast.Name) and n.value.id == "np"
        }
        assert used <= set(holds.split()), f"{path}: {used - set(holds.split())}"
        bases = {
            b.id for n in ast.walk(tree) if isinstance(n, ast.ClassDef) for b in n.bases if isinstance(b, ast.Name)
        }
        assert "Op" not in bases, path


def test_nothing_leans_on_pictures():
    """plot is imported when a user asks for it, and by no room: who draws asks there."""
    assert [p for p in sources if room(p) != "plot" and "plot" in imports(p)] == []


def test_nothing_leans_on_the_benchmark():
    """Only the command imports it: it costs no program anything."""
    assert {room(p) for p in sources if "bench" in imports(p)} <= {"cli", "bench"}


def test_every_file_has_a_known_room():
    assert {room(p) for p in sources} - {"__init__"} <= set(RANK), "give a new room its rank"


def test_reference_has_every_kernel_with_the_same_parameters():
    """The NumPy twin: the same names, parameters and defaults as the compiled module."""
    import inspect

    housekeeping = {
        "isa",
        "isas",
        "use_isa",
        "gemm_path",
        "use_gemm_path",
        "matmul_units",
        "matmul_unit",
        "use_matmul_unit",
        "set_num_threads",
        "num_threads",
        "memory",
        "empty_cache",
        "set_cache_cap",
        "Plan",
        "Slot",
        "next_rows",
        "put_rows",
    }
    kernels = {n for n in dir(_cpu) if not n.startswith("_") and callable(getattr(_cpu, n))} - housekeeping
    missing = {n for n in kernels if not hasattr(reference, n)}
    assert not missing, f"reference.py lacks {sorted(missing)}"
    helpers = {"philox", "pool_output_size"}
    public = {
        n
        for n, f in vars(reference).items()
        if inspect.isfunction(f) and f.__module__ == reference.__name__ and not n.startswith("_")
    }
    assert not public - kernels - helpers, f"_cpu lacks {sorted(public - kernels - helpers)}"
    for name in sorted(kernels):
        text = getattr(_cpu, name).__doc__.splitlines()[0]
        compiled = re.findall(r"(\w+): ", text[text.index("(") : text.rindex("->")])
        if compiled:
            spelled = [p for p in inspect.signature(getattr(reference, name)).parameters if p != "parameters"]
            assert compiled[: len(spelled)] == spelled or "parameters" in str(
                inspect.signature(getattr(reference, name))
            ), f"{name}: _cpu has {compiled}, reference has {spelled}"


def python_calls(f):
    """Names of the Python functions entered while f runs."""
    entered = []

    def profile(frame, event, _):
        if event == "call" and frame.f_code.co_filename.startswith(str(Path(nnfast.__file__).parent)):
            entered.append(frame.f_code.co_qualname if hasattr(frame.f_code, "co_qualname") else frame.f_code.co_name)

    sys.setprofile(profile)
    try:
        f()
    finally:
        sys.setprofile(None)
    return entered


def test_hop_budget_of_a_dense_forward():
    layer = nnfast.layers.Dense(16, activation="relu")
    x = nnfast.tensor(np.ones((4, 8), "float32"))
    layer(x)
    calls = python_calls(lambda: layer(x))
    assert "Dense.forward" in calls or "forward" in calls
    assert len(calls) <= 15, f"{len(calls)} calls: {calls}"


def test_every_binding_launches():
    """A binding reaches its kernel through Call::run, which launches; nothing else starts a kernel."""
    no_ops = {"module", "runtime", "runtime_cuda", "arrays", "call"}
    no_ops |= {f"{stem}_{device}" for stem in ("array_arg", "plan") for device in ("cpu", "cuda")}
    families = [p for p in (CSRC / "bindings").glob("*.cpp") if p.stem not in no_ops]
    assert families
    for path in families:
        text = path.read_text(encoding="utf-8")
        calls = len(re.findall(r"\bCall call\(", text))
        runs = len(re.findall(r"\b(?:call_?|lists)\.run\(", text))
        assert calls and runs >= calls, f"{path.name}: {calls} ops, {runs} launches"
        assert "gil_scoped_release" not in text and "parallel_for" not in text, path.name


def test_threads_live_in_one_room():
    for path in [*CSRC.rglob("*.cpp"), *CSRC.rglob("*.h")]:
        if path.stem in ("parallel", "limits") or "bindings" in path.parts:
            continue
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"std::thread|pthread_create|omp\.h|std::async", text), path


def test_kernels_allocate_nothing():
    """Scratch comes from the binding, so that a plan owns it."""
    allowed = {"memory", "parallel", "launch", "dispatch", "limits"}
    for path in [*(CSRC / "cpu").glob("*.cpp"), *(CSRC / "cpu" / "generic").glob("*")]:
        if path.stem in allowed:
            continue
        text = re.sub(r"//.*", "", path.read_text(encoding="utf-8"))
        assert not re.search(
            r"std::vector|std::string|\bnew\b|malloc|std::function|unique_ptr|make_(shared|unique)", text
        ), path


def test_isa_bodies_use_no_shared_code():
    """A body compiled with AVX-512 flags must not define anything that another object could pick up."""
    for path in [*(CSRC / "cpu" / "generic").glob("*"), *(CSRC / "cpu" / "pieces").glob("*")]:
        text = re.sub(r"//.*", "", path.read_text(encoding="utf-8"))
        assert "std::" not in text, path
        for header in re.findall(r'#include\s+[<"]([^>"]+)', text):
            assert header.endswith((".h", ".inl")) and header not in ("algorithm", "cmath", "vector"), (path, header)


def test_isa_isolation_by_nm():
    """Every symbol that an ISA's objects export, weak ones too, is inside that ISA's namespace."""
    nm = shutil.which("nm")
    if nm is None:
        pytest.skip("nm is not installed")
    builds = [p for p in (ROOT / "build").glob("*") if (p / "CMakeFiles").is_dir()] if (ROOT / "build").is_dir() else []
    objects = [o for b in builds for o in b.glob("**/CMakeFiles/isa_*.dir/**/*.o")]
    if not objects:
        pytest.skip("no build folder with objects beside the sources")
    for path in objects:
        isa = re.search(r"isa_(\w+)\.dir", str(path)).group(1)
        listing = subprocess.run([nm, "-C", "--defined-only", path], capture_output=True, text=True, check=True).stdout
        for line in listing.splitlines():
            kind, name = line.split(maxsplit=2)[1:] if line[0] != " " else line.split(maxsplit=1)
            if name.startswith(("__odr_asan", "_sub_", "__asan", "DW.ref.__gxx_personality")):  # of sanitizers
                continue
            inside = f"nnfast::{isa}::" in name
            assert inside or kind not in "WVu", f"weak symbol in {path.name} of {isa}: {name}"
            assert inside or kind.islower(), f"{path.name} of {isa} exports {name}"


def test_rungs_are_short_and_say_what_they_are():
    """At most 80 lines, a head of four, and no code that another instruction set's build could pick up."""
    files = [p for p in (CSRC / "ladder").glob("*/*") if p.suffix in (".cpp", ".cu", ".py")]
    assert len(files) >= 9
    for path in files:
        lines = path.read_text(encoding="utf-8").splitlines()
        assert len(lines) <= 80, path
        number = path.name.split("_")[0]
        for line, key in zip(lines, (f"Rung {number}:", "Idea:", "Changed:", "Removes:")):
            assert re.match(rf"(//|#) {key} +\S.*\.$", line), (path, line)
        assert path.suffix == ".py" or "std::" not in re.sub(r"//.*", "", "\n".join(lines)), path


def test_ladder_isolation_by_nm():
    """What a rung's object exports has its instruction set in its name; nothing in it is weak."""
    nm = shutil.which("nm")
    if nm is None:
        pytest.skip("nm is not installed")
    objects = list((ROOT / "build").glob("*/csrc/ladder/CMakeFiles/ladder_*.dir/**/*.o"))
    if not objects:
        pytest.skip("no build folder with objects beside the sources")
    for path in objects:
        isa = re.search(r"ladder_(\w+)\.dir", str(path)).group(1)
        listing = subprocess.run([nm, "--defined-only", path], capture_output=True, text=True, check=True).stdout
        for line in listing.splitlines():
            kind, name = line.split()[-2:]
            if name.startswith(("__odr_asan", "_sub_", "__asan", "DW.ref.__gxx_personality")):  # of sanitizers
                continue
            assert kind not in "WVu" and (kind.islower() or name.endswith(f"_{isa}")), f"{path.name} of {isa}: {name}"


def test_import_is_quiet_and_small():
    """`import nnfast` prints nothing and pulls in neither h5py nor anything heavy."""
    code = (
        "import sys, nnfast; bad = [m for m in ('h5py', 'matplotlib', 'torch', 'pandas', 'urllib.request', 'lzma', "
        "'nnfast._ladder', 'nnfast.bench') if m in sys.modules]; print(bad)"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]", done.stdout
    assert done.stderr == ""


def test_import_waits_with_what_only_some_calls_need():
    """Each of these takes longer to import than any room of the package, and few programs need it."""
    later = {"hashlib", "logging", "csv", "difflib", "dataclasses", "random", "nnfast.preprocessing"}
    code = (
        "import sys, numpy; before = set(sys.modules); import nnfast; "
        f"print(sorted({later} & (set(sys.modules) - before)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]", done.stdout


PTX = {"ptx.cuh", "ptx_sm90.cuh"}
CUDA_SOURCES = [p for room in ("cuda", "cuda_on_cpu") for p in sorted((CSRC / room).glob("*.cu*"))]


@pytest.mark.parametrize("path", CUDA_SOURCES, ids=lambda p: p.name)
def test_cuda_conventions(path):
    """One source for nvcc and g++: what only one of them takes, or takes in another way, is in no kernel."""
    text = re.sub(r"//.*", "", path.read_text(encoding="utf-8"))
    if path.name != "common.cuh":
        assert "<<<" not in text, "kernels start with launch()"
        assert "extern __shared__" not in text, "use DYNAMIC_SHARED(T, name)"
        assert "__CUDACC__" not in text or path.name in PTX, "one source, no two versions"
    if path.name not in PTX:
        assert not re.search(r"\basm\b", text), "PTX is a named function of ptx.cuh or ptx_sm90.cuh"
    assert not re.search(r"<mma\.h>|<cooperative_groups", text), "the emulator does not have them"
    for shared in re.findall(r"__shared__[^;{]*[;{]", text):
        assert "=" not in shared, f"shared memory has no initial value: {shared}"
    assert not re.search(r"atomicAdd\(\s*&?\s*\w*(float|double)", text), "results shall not change from run to run"
    assert not re.search(r"cuda(Malloc|Free|DeviceSynchronize|StreamSynchronize|Memcpy)\w*\(", text), (
        "kernels allocate nothing and wait for nothing"
    )


def test_each_cuda_file_is_an_op():
    """Each .cu stem is an op, as each .cpp of cpu/ is: helpers are headers."""
    stems = {p.stem for p in (CSRC / "cpu").glob("*.cpp")}
    for path in (CSRC / "cuda").glob("*.cu"):
        assert path.stem.removesuffix("_sm90") in stems, path.name
