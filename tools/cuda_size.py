"""What the CUDA kernels cost in a wheel: bytes of each file for each architecture, and of each kernel.

    python tools/cuda_size.py                     # every file for 80, and the sum
    python tools/cuda_size.py --archs 75 80 90a 120 --files reduce norm --kernels

`size` is what stands in the module and in the wheel, whose own compression finds nothing more in it: a fatbin as
`nvcc -compress-mode=size` writes it. Beside it the code as the GPU reads it (`cubin`), and what deflate and LZMA make
of that. `--same 86 89` says how many kernels of two architectures have the same instructions.
"""

import argparse
import collections
import lzma
import re
import struct
import subprocess
import tempfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

CUDA = Path(__file__).parents[1] / "csrc/cuda"
FLAGS = ("-std=c++20", "--expt-relaxed-constexpr", "-O3")  # as in csrc/cuda/CMakeLists.txt


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--archs", nargs="+", default=["80"], help="such as 75 80 90a")
    parser.add_argument("--files", nargs="+", default=sorted(p.stem for p in CUDA.glob("*.cu")))
    parser.add_argument("--kernels", action="store_true", help="the largest kernels, too")
    parser.add_argument("--same", nargs=2, metavar="ARCH", help="compare the code of two architectures")
    args = parser.parse_args()
    archs = list(dict.fromkeys([*args.archs, *(args.same or ())]))
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(2) as pool:
        jobs = [(file, arch) for file in args.files for arch in archs if compiles(file, arch)]
        cubins = dict(zip(jobs, pool.map(lambda job: compile_cubin(Path(folder), *job), jobs)))
        sizes = {job: cubin.with_suffix(".fatbin").stat().st_size for job, cubin in cubins.items()}
        code = {job: cubin.read_bytes() for job, cubin in cubins.items()}
    print_files(args.files, archs, sizes)
    for arch in archs:
        all_of = [code[job] for job in jobs if job[1] == arch]
        total = sum(size for job, size in sizes.items() if job[1] == arch)
        print(
            f"sm_{arch}: size {total:,}, from {sum(map(len, all_of)):,}"
            f" (by deflate {sum(len(zlib.compress(c, 9)) for c in all_of):,},"
            f" by LZMA {sum(len(lzma.compress(c)) for c in all_of):,}, as one {len(lzma.compress(b''.join(all_of))):,})"
        )
        if args.kernels:
            print_kernels({job[0]: code[job] for job in jobs if job[1] == arch})
    if args.same:
        first, second = (
            {without_hash(k): v for f, arch in jobs if arch == a for k, v in kernels(code[f, a]).items()}
            for a in args.same
        )
        same = sum(second.get(name) == instructions for name, instructions in first.items())
        print(f"sm_{args.same[0]} and sm_{args.same[1]}: {same} of {len(first)} kernels are the same")


def without_hash(name: str) -> str:
    return re.sub(r"_GLOBAL__N__[0-9a-f]{8}", "", name)  # of the file as it was compiled


def compiles(file: str, arch: str) -> bool:
    return not file.endswith("_sm90") or arch == "90a"


def compile_cubin(folder: Path, file: str, arch: str) -> Path:
    cubin = folder / f"{file}.{arch}.cubin"
    run("nvcc", *FLAGS, "-cubin", f"-arch=sm_{arch}", CUDA / f"{file}.cu", "-o", cubin)
    run("nvcc", "-fatbin", f"-arch=sm_{arch}", "-compress-mode=size", cubin, "-o", cubin.with_suffix(".fatbin"))
    return cubin


def run(*command: object) -> str:
    return subprocess.run([str(c) for c in command], check=True, capture_output=True, text=True).stdout


def kernels(cubin: bytes) -> dict[str, bytes]:
    """The instructions of each kernel by its mangled name, from the sections of an ELF file."""
    table = struct.unpack_from("<Q", cubin, 0x28)[0]
    each, count, names = struct.unpack_from("<HHH", cubin, 0x3A)
    sections = [struct.unpack_from("<IIQQQQ", cubin, table + i * each) for i in range(count)]
    found = {}
    for name, _, _, _, offset, size in sections:
        start = sections[names][4] + name
        text = cubin[start : cubin.index(b"\0", start)].decode()
        if text.startswith(".text."):
            found[text[6:]] = cubin[offset : offset + size]
    return found


def print_files(files: list[str], archs: list[str], sizes: dict[tuple[str, str], int]) -> None:
    print(f"{'size':26}" + "".join(f"{'sm_' + arch:>12}" for arch in archs))
    for file in files:
        print(f"{file:26}" + "".join(f"{sizes.get((file, arch), 0):>12,}" for arch in archs))


def print_kernels(code: dict[str, bytes], most: int = 40) -> None:
    found = collections.Counter(
        {(file, name): len(text) for file, cubin in code.items() for name, text in kernels(cubin).items()}
    )
    largest = found.most_common(most)
    names = run("c++filt", *(name for (_, name), _ in largest)).splitlines()
    for ((file, _), size), name in zip(largest, names):
        name = re.sub(r"nnfast::|\(anonymous namespace\)::|^void ", "", name).split("(")[0]
        print(f"{size:>10,}  {file}: {name}")


if __name__ == "__main__":
    main()
