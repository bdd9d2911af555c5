#!/usr/bin/env bash
# Every kernel and the golden trainings on an emulated CPU that lacks the newer instructions (Debian: qemu-user): a helper
# compiled for a newer CPU would be an illegal instruction there. After a build in place:
#   tools/old_cpu.sh [Nehalem: portable alone | Haswell: avx2 as well; 2 minutes] [pytest arguments]
set -euo pipefail
cd "$(dirname "$0")/.."
cpu=${1:-Nehalem}
shift || true
# NumPy's OpenBLAS chooses kernels by the CPU's name, and takes some that the emulator lacks.
export OPENBLAS_CORETYPE=Prescott PYTHONPATH=python NNFAST_NUM_THREADS=1
qemu-x86_64 -cpu "$cpu" "$(python -c 'import sys; print(sys.executable)')" -m pytest -q -x -p no:cacheprovider \
  -k "not simulated" "$@" tests/test_op_matrix.py tests/test_golden.py \
  tests/test_ladder.py::test_every_rung_on_every_awkward_shape
