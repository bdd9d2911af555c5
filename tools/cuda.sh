#!/usr/bin/env bash
# Builds the CUDA module with warnings as errors, for sm_90a, which has all kernels (or for NNFAST_CUDA_ARCHS), and sees
# that it imports where no driver is and says so; then the CUDA rungs of the ladder. tools/cuda.sh [build folder]
set -euo pipefail
cd "$(dirname "$0")/.."
build=${1:-build/cuda}
cmake -S . -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DNNFAST_CUDA=ON -DNNFAST_WERROR=ON -DNNFAST_INPLACE=OFF \
  -DNNFAST_CUDA_ARCHS="${NNFAST_CUDA_ARCHS:-90a}" >/dev/null
cmake --build "$build" -j 2 --target _cuda | tail -1
ls -l "$build"/csrc/cuda/_cuda*.so
PYTHONPATH="$build/csrc/cuda" python - <<'PY'
import sys

import _cuda

print(_cuda.versions())
if problem := _cuda.problem():
    try:
        _cuda.exp(1.0)
    except RuntimeError as e:
        print(e)
    else:
        sys.exit("a kernel ran, although " + problem)
PY

compile_rung() {
  local nvcc arch
  nvcc=$(command -v nvcc || echo "${CUDA_HOME:-/usr/local/cuda}/bin/nvcc")
  arch=$(sed -n 's|^// Needs: *\(sm_[0-9a-z]*\):.*|\1|p' "$1")
  "$nvcc" -arch="${arch:-sm_80}" -std=c++20 --expt-relaxed-constexpr -Werror all-warnings -Icsrc/ladder -Icsrc \
    -c "$1" -o "$2/$(basename "$(dirname "$1")")_$(basename "$1").o"
}
export -f compile_rung
mkdir -p "$build/rungs"
printf '%s\n' csrc/ladder/*_cuda/*.cu csrc/ladder/peaks.cu |
  xargs -P 2 -I {} bash -c 'compile_rung "$1" "$2"' _ {} "$build/rungs"
