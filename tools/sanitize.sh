#!/usr/bin/env bash
# Builds the CPU module with AddressSanitizer and UndefinedBehaviorSanitizer and runs the op tests on it, with the
# allocator's cache off, so that every array has its exact block. tools/sanitize.sh [build folder] [pytest arguments]
set -euo pipefail
cd "$(dirname "$0")/.."
build=${1:-build/sanitize}
shift || true
cmake -S . -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo \
  -DNNFAST_SANITIZE=address,undefined -DNNFAST_INPLACE=OFF -DNNFAST_EMULATOR=OFF -DNNFAST_CUDA=OFF >/dev/null
cmake --build "$build" -j 2 | tail -1
mkdir -p "$build/site"
rm -rf "$build/site/nnfast" && cp -r python/nnfast "$build/site/nnfast"
rm -f "$build"/site/nnfast/_*.so  # the development build: of the same second, it would pass for up to date
cmake --install "$build" --prefix "$build/site" >/dev/null
compiler=${CXX:-c++}
export LD_PRELOAD="$($compiler -print-file-name=libasan.so) $($compiler -print-file-name=libubsan.so)"
export ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1 UBSAN_OPTIONS=print_stacktrace=1
export NNFAST_CACHE=0 PYTHONPATH="$build/site" PYTHONMALLOC=malloc
tests=(tests/test_op_matrix.py tests/test_linalg.py tests/test_precision.py tests/test_elementwise.py
  tests/test_reduce.py tests/test_conv2d.py tests/test_convolution.py tests/test_pool2d.py tests/test_softmax.py
  tests/test_movement.py tests/test_random.py tests/test_optimizer_kernels.py tests/test_normalization.py
  tests/test_recurrent.py tests/test_attention.py tests/test_metrics.py tests/test_embedding.py tests/test_fuzz.py
  tests/test_ladder.py::test_every_rung_on_every_awkward_shape
  tests/test_ladder.py::test_no_rung_reads_outside_of_its_arrays)
python -m pytest -q -p no:cacheprovider -x "$@" "${tests[@]}"
