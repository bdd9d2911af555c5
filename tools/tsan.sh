#!/usr/bin/env bash
# Replays, kernels on several threads and threads that share a model, under ThreadSanitizer. (tests/test_runtime.py has
# the pool and the allocator alone under it, every day.) Only the portable instruction set is built: the others cut their
# work in the same places. tools/tsan.sh [build folder] [pytest arguments]
set -euo pipefail
cd "$(dirname "$0")/.."
build=${1:-build/tsan}
shift || true
cmake -S . -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo -DNNFAST_SANITIZE=thread -DNNFAST_ISAS=portable \
  -DNNFAST_INPLACE=OFF -DNNFAST_EMULATOR=OFF -DNNFAST_CUDA=OFF >/dev/null
cmake --build "$build" -j 2 --target _cpu | tail -1
rm -rf "$build/site" && mkdir -p "$build/site" && cp -r python/nnfast "$build/site/nnfast"
rm -f "$build"/site/nnfast/_*.so
cp "$build"/csrc/_cpu*.so "$build/site/nnfast/"
# Python and NumPy are not instrumented: what they do counts by the locks that they take, their own accesses do not.
printf 'called_from_lib:libopenblas\n' >"$build/suppressions"
LD_PRELOAD=$(${CXX:-c++} -print-file-name=libtsan.so)
export LD_PRELOAD TSAN_OPTIONS="ignore_noninstrumented_modules=1 die_after_fork=0 suppressions=$PWD/$build/suppressions"
export PYTHONPATH="$PWD/$build/site" PYTHONMALLOC=malloc NNFAST_NUM_THREADS=4 OPENBLAS_NUM_THREADS=1
# A report makes the exit status 66, whatever the tests say.
python -m pytest -q -p no:cacheprovider -x "$@" \
  tests/test_replay.py tests/test_processes.py tests/test_linalg.py tests/test_conv2d.py tests/test_reduce.py \
  tests/test_random.py tests/test_optimizer_kernels.py tests/test_softmax.py tests/test_normalization.py \
  tests/test_golden.py -k "threads or replay and (any_number or callbacks or bad_label or predict or adam or conv or gru \
  or forked or generators or images) or golden"
