"""`python bench/gemm_stages.py [avx512 | avx2]`: where the time of a large product goes, on one core.

Compiles gemm_stages.cpp with the kernels of csrc/ by the system's compiler (CXX, default c++) and runs it: the two
inner loops of gemm without packing, C, B and A, which come back one by one, as shares of what FMAs on registers reach.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from nnfast import _cpu

ROOT = Path(__file__).parents[1]
FLAGS = {
    "avx2": ["-mavx2", "-mfma"],
    "avx512": ["-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512dq", "-mavx2", "-mfma", "-mprefer-vector-width=512"],
}
ALL = ["-O3", "-std=c++20", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast", "-Wno-psabi"]


def main() -> None:
    isa = sys.argv[1] if len(sys.argv) > 1 else _cpu.isa()
    if isa not in FLAGS or isa not in _cpu.isas():
        sys.exit(f"[gemm_stages] the instruction set must be one of {[i for i in FLAGS if i in _cpu.isas()]}: {isa!r}")
    defines = [f"-DNNFAST_ISA={isa}", f'-DNNFAST_ISA_HEADER="../isa/{isa}.h"']
    with tempfile.TemporaryDirectory() as folder:
        objects = []
        for source, flags in {
            "bench/gemm_stages.cpp": FLAGS[isa] + defines,
            "csrc/cpu/generic/gemm.cpp": FLAGS[isa] + defines,
            "csrc/cpu/gemm.cpp": [],
            "csrc/cpu/parallel.cpp": [],
        }.items():
            objects.append(f"{folder}/{len(objects)}.o")
            subprocess.run([_compiler(), *ALL, *flags, "-c", ROOT / source, "-o", objects[-1]], check=True)
        program = f"{folder}/gemm_stages"
        subprocess.run([_compiler(), *objects, "-o", program, "-pthread"], check=True)
        subprocess.run([program], check=True)


def _compiler() -> str:
    return os.environ.get("CXX", "c++")


if __name__ == "__main__":
    main()
