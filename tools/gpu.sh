#!/usr/bin/env bash
# All that is to be tried where there is a GPU: builds _cuda for it, in place, and runs the tests, compute-sanitizer, the
# ladder and the benchmark on it. Nothing is fetched from anywhere.
#
#   tools/gpu.sh RESULTS            every step that has not succeeded yet
#   tools/gpu.sh RESULTS STEP...    these steps, succeeded or not
#   tools/gpu.sh --list             their names, time limits and what they do
#
# A step has a time limit, a log (RESULTS/STEP.log) and a status (RESULTS/STEP.rc); one that fails holds up no other.
# After each step RESULTS/all.tar.gz (or $NNFAST_GPU_ARCHIVE) has everything, also the modules that were built: put back
# into python/nnfast, they spare the step `build`. PYTHON is the interpreter (python3).
set -uo pipefail
cd "$(dirname "$0")/.." || exit
root=$PWD
python=${PYTHON:-python3}
build=${NNFAST_GPU_BUILD:-$root/build/gpu}
jobs=$(nproc)
every_day=(about build ready tiny suite matrix ops streams bench_gemm bench_fit bench_overhead bench_ops
  bench_conv2d memcheck racecheck ladder wgmma)
by_name=(cpu full memcheck_all racecheck_all)
# Short, and each kind of kernel is in them: tiles and products, reductions, scans of rows, images, random numbers, steps.
short=(tests/test_op_matrix.py -k "test_pairs and (gemm or conv2d or sum or softmax or pool or norm or random or adam or
  take_rows or attention or lstm)")

limit() { # seconds
  case $1 in
    about | ready | tiny) echo 120 ;;
    build | suite | full | cpu | ladder | wgmma) echo 600 ;;
    memcheck_all | racecheck_all) echo 3600 ;;
    bench_*) echo 420 ;;
    *) echo 300 ;;
  esac
}

what() {
  case $1 in
    about) echo "the GPU, driver, compiler and packages" ;;
    build) echo "_cuda for this GPU, and _cpu, beside the Python sources" ;;
    ready) echo "set_device('cuda'), a step of training, and each way in and out of the GPU" ;;
    suite) echo "tests/test_cuda.py and tests/test_replay_cuda.py: what Python does around the kernels, and CUDA graphs" ;;
    matrix) echo "every kernel, dtype, layout and size (tests/test_op_matrix.py), and tensor cores" ;;
    ops) echo "every other test with the fixture device, on cuda" ;;
    streams) echo "two streams, eight threads" ;;
    memcheck | racecheck) echo "compute-sanitizer --tool $1 over a short part of the matrix" ;;
    tiny) echo "every row of the benchmark on tiny problems" ;;
    bench_*) echo "nnfast bench --cuda ${1#bench_}" ;;
    ladder) echo "nnfast ladder --cuda: every rung, checked and timed" ;;
    wgmma) echo "matrix products and convolutions by wgmma and TMA (Hopper GPUs), which wait for NNFAST_WGMMA=1: tests, then the benchmark" ;;
    cpu) echo "the tests of the CPU, on this machine" ;;
    full) echo "the full product of the matrix" ;;
    memcheck_all | racecheck_all) echo "compute-sanitizer --tool ${1%_all} over the whole matrix and tests/test_cuda.py" ;;
    *) return 1 ;;
  esac
}

py() { env --default-signal=INT "$python" "$@"; }  # when its time is over, it can still say what it knows

# A warning of a newer NumPy or CuPy shall not fail a test here.
quiet=(-q -p no:cacheprovider -W ignore::DeprecationWarning -W default::UserWarning -W default::FutureWarning)
tests() { py -m pytest "${quiet[@]}" "$@"; }

sanitize() { # tool, then arguments of pytest: each array has a block of its own
  local tool=$1
  shift
  NNFAST_CACHE=0 compute-sanitizer --tool "$tool" --error-exitcode 86 --report-api-errors no --target-processes all \
    "$python" -m pytest "${quiet[@]}" "$@"
}

arch() { # of the GPU; Hopper's own instructions need the letter
  local found
  found=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader | head -n 1 | tr -d '. ')
  [ "$found" != 90 ] || found=90a
  echo "$found"
}

run() {
  case $1 in
    about)
      nvidia-smi || found=$?
      nvcc --version
      cmake --version
      uname -a
      py --version
      py -c "
from importlib.metadata import version
for p in 'numpy h5py cupy-cuda13x cupy-cuda12x torch pybind11 pytest pytest-xdist hypothesis ninja'.split():
    try: print(p, version(p))
    except Exception: print(p, 'is not installed')"
      return "${found:-0}"
      ;;
    build)
      cmake -S . -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DPython_EXECUTABLE="$(command -v "$python")" \
        -DNNFAST_INPLACE=ON -DNNFAST_EMULATOR=OFF -DNNFAST_ISAS="avx512|avx2" -DNNFAST_CUDA=ON \
        -DNNFAST_CUDA_ARCHS="${NNFAST_CUDA_ARCHS:-$(arch)}" -DCMAKE_CUDA_FLAGS=-lineinfo &&
        cmake --build "$build" -j "$jobs" &&
        mkdir -p "$results/modules" && cp python/nnfast/_*.so "$results/modules"
      ;;
    ready)
      py - <<'PY'
import numpy as np

import nnfast
from nnfast import _cuda

print(_cuda.versions())
nnfast.set_device("cuda")
x, y = np.random.default_rng(0).normal(size=(64, 20)).astype("float32"), np.arange(64) % 4
model = nnfast.models.Sequential([nnfast.layers.Dense(32, "relu"), nnfast.layers.Dense(4, "softmax")])
model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
print(model.fit(x, y, epochs=3, verbose=0).history, model.predict(x, verbose=0).shape)
import cupy

t = nnfast.tensor(x)
assert (cupy.from_dlpack(t) == cupy.asarray(t)).all()
try:
    import torch
except ImportError:
    print("no PyTorch")
else:
    assert torch.equal(torch.from_dlpack(t), torch.as_tensor(t, device="cuda"))
    assert np.array_equal(nnfast.tensor(torch.from_numpy(x).cuda()).numpy(), x)
PY
      ;;
    suite) tests -n 4 tests/test_cuda.py tests/test_replay_cuda.py ;;
    matrix) tests -n "$jobs" tests/test_op_matrix.py tests/test_tensor_cores.py ;;
    ops) tests -n "$jobs" tests --deselect tests/test_cuda.py -k "[cuda or -cuda or cuda-" ;;
    streams) tests tests/test_streams.py ;;
    memcheck | racecheck) sanitize "$1" "${short[@]}" ;;
    tiny) py -m nnfast bench --cuda --tiny --json "$results/tiny.json" ;;
    bench_*) py -m nnfast bench --cuda "${1#bench_}" --json "$results/$1.json" ;;
    ladder) py tools/ladder_pages.py --gpu "$results" gemm conv2d softmax reduce transpose ;;
    wgmma)
      tests tests/test_wgmma.py tests/test_wgmma_convolutions.py || return
      NNFAST_WGMMA=1 NNFAST_CUDA_PIECES=1 py -m nnfast bench --cuda gemm conv2d --json "$results/wgmma.json"
      ;;
    cpu)
      unset NNFAST_TEST_GPU
      CUDA_VISIBLE_DEVICES='' tests -n "$jobs" tests
      ;;
    full) tests -n "$jobs" tests/test_op_matrix.py -m full ;;
    memcheck_all | racecheck_all) sanitize "${1%_all}" tests/test_op_matrix.py tests/test_cuda.py ;;
  esac
}

step() {
  local name=$1 packed began=$SECONDS rc
  printf '== %s: %s\n' "$name" "$(what "$name")"
  # An interrupt first: tests and benchmarks then say what they know.
  timeout --signal INT --kill-after 20 "$(limit "$name")" "$root/tools/gpu.sh" --run "$results" "$name" \
    >"$results/$name.log" 2>&1 </dev/null
  rc=$?
  echo "$rc" >"$results/$name.rc"
  printf '%-14s rc %3d  %4d s  %s\n' "$name" "$rc" $((SECONDS - began)) \
    "$(grep -v '^ *$' "$results/$name.log" | tail -n 1 | cut -c1-90)" | tee -a "$results/summary.txt"
  # Packed elsewhere: a file that grows in the folder would be a change of the folder.
  packed=$(mktemp) && tar -czf "$packed" -C "$results" --exclude ./all.tar.gz . && cat "$packed" >"$archive" && rm "$packed"
}

case ${1:---help} in
  --list)
    for name in "${every_day[@]}" -- "${by_name[@]}"; do
      if [ "$name" = -- ]; then echo "only by name:"; else printf '%-14s %5d s  %s\n' "$name" "$(limit "$name")" "$(what "$name")"; fi
    done
    exit 0
    ;;
  --run) # one step, without a limit
    results=$2
    export PYTHONPATH=$root/python${PYTHONPATH:+:$PYTHONPATH} NNFAST_TEST_GPU=1 PYTHONUNBUFFERED=1
    run "$3"
    exit
    ;;
  -*)
    sed -n '2,12s/^# \{0,1\}//p' "$0"
    exit 2
    ;;
esac
if ! mkdir -p "$1"; then exit 2; fi
results=$(cd "$1" && pwd)
archive=${NNFAST_GPU_ARCHIVE:-$results/all.tar.gz}
shift
for name; do
  what "$name" >/dev/null || { echo "no such step: $name (tools/gpu.sh --list)"; exit 2; }
done
if [ $# -gt 0 ]; then
  for name; do step "$name"; done
else
  for name in "${every_day[@]}"; do
    if [ "$(cat "$results/$name.rc" 2>/dev/null)" != 0 ]; then step "$name"; fi
  done
fi
failed=$(grep -Lx 0 "$results"/*.rc | sed 's|.*/||; s|\.rc$||' | tr '\n' ' ')
echo "failed: ${failed:-nothing}"
[ -z "$failed" ]
