#!/usr/bin/env bash
# The kernels on an emulated 64-bit ARM: cross-compiled (Debian: g++-aarch64-linux-gnu, qemu-user), with a Python of ARM
# from Debian's archive that lies in the build folder alone. tools/arm.sh [build folder] [pytest arguments]
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p "${1:-build/arm}"
build=$(cd "${1:-build/arm}" && pwd)
shift || true
root=$build/root

if [ ! -x "$root/usr/bin/python3.11" ]; then
  mkdir -p "$build"/apt/{state/lists/partial,cache/archives/partial,sources,packages}
  touch "$build/apt/state/status"
  printf '%s\n' "Types: deb" "URIs: http://deb.debian.org/debian" "Suites: bookworm" "Components: main" \
    "Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg" >"$build/apt/sources/debian.sources"
  apt=(apt-get -q -o APT::Architecture=arm64 -o APT::Architectures=arm64 -o Dir::State="$build/apt/state"
    -o Dir::Cache="$build/apt/cache" -o Dir::State::status="$build/apt/state/status" -o Dir::Etc::sourcelist=/dev/null
    -o Dir::Etc::sourceparts="$build/apt/sources" -o Debug::NoLocking=1 -o APT::Sandbox::User=root)
  "${apt[@]}" update >/dev/null
  (cd "$build/apt/packages" && "${apt[@]}" download python3.11-minimal libpython3.11-minimal libpython3.11-stdlib \
    libpython3.11-dev libc6 libgcc-s1 libstdc++6 zlib1g libexpat1 libffi8 libssl3 libbz2-1.0 liblzma5 libsqlite3-0 \
    libuuid1 libcrypt1 >/dev/null)
  for package in "$build"/apt/packages/*.deb; do dpkg -x "$package" "$root"; done
fi
if [ ! -d "$build/packages/numpy" ]; then
  python -m pip install -q --no-compile --target "$build/packages" --platform manylinux_2_28_aarch64 \
    --platform manylinux2014_aarch64 --python-version 311 --implementation cp --only-binary=:all: \
    numpy h5py pytest hypothesis
fi

cmake -S . -B "$build/cmake" -G Ninja -DCMAKE_BUILD_TYPE=Release -DNNFAST_INPLACE=OFF -DNNFAST_WERROR=ON \
  -DCMAKE_SYSTEM_NAME=Linux -DCMAKE_SYSTEM_PROCESSOR=aarch64 -DCMAKE_CXX_COMPILER=aarch64-linux-gnu-g++ \
  -DNNFAST_ISAS=neon -DNNFAST_CUDA=OFF -DNNFAST_EMULATOR=OFF -DPYTHON_MODULE_EXTENSION=.cpython-311-aarch64-linux-gnu.so \
  -DPython_EXECUTABLE="$(python -c 'import sys; print(sys.executable)')" \
  -DPython_INCLUDE_DIR="$root/usr/include/python3.11" \
  -DCMAKE_CXX_FLAGS="-isystem $root/usr/include" >/dev/null
cmake --build "$build/cmake" -j 2 --target _cpu | tail -1
rm -rf "$build/site" && mkdir -p "$build/site" && cp -r python/nnfast "$build/site/nnfast"
rm -f "$build"/site/nnfast/_*.so
cp "$build"/cmake/csrc/_cpu*.so "$build/site/nnfast/"

export PYTHONPATH="$build/site:$build/packages" OPENBLAS_NUM_THREADS=1 NNFAST_NUM_THREADS=2 PYTHONDONTWRITEBYTECODE=1
emulated=(qemu-aarch64 -L "$root" "$root/usr/bin/python3.11")
"${emulated[@]}" -c "from nnfast import _cpu; print('runs', _cpu.isa(), 'of', _cpu.isas()); assert _cpu.isa() == 'neon'"
"${emulated[@]}" -m pytest -q -x -p no:cacheprovider "$@" tests/test_op_matrix.py tests/test_golden.py \
  tests/test_optimizer_kernels.py tests/test_random.py
