"""Checks what is in the wheel and the source distribution, and prints what they cost.

    python tools/check_wheel.py dist/nnfast-*.whl dist/nnfast-*.tar.gz

Run it with a Python that has nnfast installed: it also measures the installed package and its import.
"""

import re
import subprocess
import sys
import tarfile
import zipfile
from importlib import metadata
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).parents[1]
LARGEST_WHEEL = 10_000_000  # bytes
RUNGS = PurePosixPath("nnfast/ladder/sources")
LESSON_MODE = (  # what a kernel is compiled with, from csrc
    *("ops.h", "elementwise_ops.inl", "view.h", "device_error.h"),
    *(f"cuda/{f}" for f in ("common.cuh", "ptx.cuh", "ptx_sm90.cuh", "stream.h", "failure.h")),
    *(f"cuda_on_cpu/{f}" for f in ("cuda.h", "emulator.h", "fibre.h", "lesson.h")),
    *(f"cuda_on_cpu/{f}" for f in ("emulator.cpp", "tensor_core.cpp", "warpgroup.cpp", "lesson.cpp")),
)
COMPILED = {"_cpu", "_emulator", "_ladder"}  # and _cuda, where there was a CUDA compiler
LICENSES = {"LICENSE", "DIGITS_NOTICE.md"}
IN_WHEEL = {".py", ".pyi", ".typed", ".so", ".pyd", ".npz", ".md"}
IN_SDIST = (
    "csrc",
    "python",
    "tests",
    "tools",
    "bench",
    "docs",
    "CMakeLists.txt",
    "pyproject.toml",
    "README.md",
    "LICENSE",
)
NOT_IN_SDIST = (".git", "build", "bench/results")


def main(wheel: str, sdist: str) -> None:
    check_wheel(Path(wheel))
    check_sdist(Path(sdist))
    files = [f for f in metadata.files("nnfast") or [] if f.suffix != ".pyc"]
    size = sum(Path(f.locate()).stat().st_size for f in files)
    print(f"installed: {size / 1e6:.2f} MB in {len(files)} files")
    print(f"import: {import_milliseconds():.0f} ms beyond NumPy")


def check_wheel(path: Path) -> None:
    """The Python package, compiled modules, the licences; of C++ the rungs and lesson mode; nothing of the build."""
    with zipfile.ZipFile(path) as z:
        names = [PurePosixPath(n) for n in z.namelist()]
    package = {n for n in names if n.parts[0] == "nnfast"}
    rungs = {n for n in package if n.is_relative_to(RUNGS)}
    info = {n for n in names if n.parts[0].endswith(".dist-info")}
    expect(set(names) == package | info, "files outside the package", set(names) - package - info)
    expect(
        all(n.suffix in IN_WHEEL for n in package - rungs),
        "files of the build",
        {n for n in package - rungs if n.suffix not in IN_WHEEL},
    )
    lessons = {PurePosixPath(p.relative_to(ROOT / "csrc/ladder")) for p in (ROOT / "csrc/ladder").glob("*/[0-9]*")}
    lessons |= {PurePosixPath(n) for n in ("nnfast_ladder.h", "nnfast_ladder.cuh", "tiles.h", "peaks.cu")}
    lessons |= {PurePosixPath(p) for p in LESSON_MODE}
    expect({n.relative_to(RUNGS) for n in rungs} == lessons, "not the rungs of the ladder", rungs)
    sources = {PurePosixPath(p.relative_to(ROOT / "python")) for p in (ROOT / "python" / "nnfast").rglob("*.py*")}
    expected = {p for p in sources if p.suffix in (".py", ".pyi")} | {PurePosixPath("nnfast/py.typed")}
    expect(expected <= package, "missing files", expected - package)
    compiled = {n.name.partition(".")[0] for n in package if n.suffix in (".so", ".pyd")}
    expect(compiled - {"_cuda"} == COMPILED, "not the compiled modules", compiled)
    found = {n.name for n in info}
    expect(found >= LICENSES, "missing licences", LICENSES - found)
    size = path.stat().st_size
    print(f"wheel: {size / 1e6:.2f} MB in {len(names)} files")
    expect(size < LARGEST_WHEEL, f"larger than {LARGEST_WHEEL / 1e6:.0f} MB", {path.name})


def check_sdist(path: Path) -> None:
    """The sources with their tests, tools and benchmarks, without results and builds."""
    with tarfile.open(path) as t:
        names = {str(PurePosixPath(*PurePosixPath(n).parts[1:])) for n in t.getnames()}
    missing = {p for p in IN_SDIST if not any(f"{n}/".startswith(f"{p}/") for n in names)}
    extra = {
        n for n in names if any(n == p or n.startswith(f"{p}/") for p in NOT_IN_SDIST) or n.endswith((".so", ".o"))
    }
    expect(not missing, "missing from the source distribution", missing)
    expect(not extra, "too much in the source distribution", extra)
    print(f"source distribution: {path.stat().st_size / 1e6:.2f} MB in {len(names)} files")


def import_milliseconds(runs: int = 5) -> float:
    """The fastest of some imports: all that `import nnfast` takes, less what NumPy takes in the same process."""
    best = float("inf")
    for _ in range(runs):
        done = subprocess.run(
            [sys.executable, "-X", "importtime", "-c", "import nnfast"], capture_output=True, text=True
        )
        total = {m[2]: int(m[1]) for m in re.finditer(r"\| +(\d+) \| *(\S+)$", done.stderr, re.M)}
        best = min(best, (total["nnfast"] - total["numpy"]) / 1000)
    return best


def expect(condition: bool, message: str, what: set) -> None:
    if not condition:
        sys.exit(f"check_wheel: {message}: {', '.join(sorted(map(str, what)))}")


if __name__ == "__main__":
    main(*sys.argv[1:])
