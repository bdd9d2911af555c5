"""Products of bfloat16 pieces by wgmma, as the emulator runs them or a Hopper GPU where there is one: the tests of
tensor cores again, and tiles of their own."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import test_tensor_cores
from conftest import GPU
from test_tensor_cores import (  # noqa: F401  # run again, with this file's `precision`
    HIGHEST,
    MEDIUM,
    MODULE,
    cuda,
    normal,
    test_activations_and_their_gradients,
    test_arithmetic_is_that_of_the_pieces,
    test_batches_and_outputs_of_any_stride,
    test_error_stays_in_its_bound,
    test_exact_on_small_integers,
    test_large_tiles,
    test_layouts,
    test_nothing_to_sum_and_float64,
    test_what_does_not_fit_is_multiplied_as_float32,
    test_zeros_and_the_smallest_numbers_that_fit,
    whole,
)

from nnfast import reference
from nnfast.ladder import lessons

cuda.use_gemm_path("wgmma")
THERE = cuda.matmul_unit(MEDIUM) == "wgmma"
cuda.use_gemm_path("automatic")
if GPU and not THERE:
    pytest.skip("not a GPU of compute capability 9.0, or _cuda was not built for 90a", allow_module_level=True)


@pytest.fixture(params=[0, 1, 2], ids=["six products", "high", "medium"])
def precision(request, monkeypatch):
    """Pieces for products of any size, by wgmma."""

    def in_float32(function, *arguments, **options):
        cuda.use_gemm_path("automatic")
        result = function(*arguments, **{**options, "precision": HIGHEST})
        cuda.use_gemm_path("wgmma")
        return result

    monkeypatch.setattr(test_tensor_cores, "in_float32", in_float32)
    cuda.use_gemm_path("wgmma")
    assert cuda.matmul_unit(request.param) == "wgmma"
    yield request.param
    cuda.use_gemm_path("automatic")


# Tiles are 128 x 128 or, for more than four tiles of medium and high, 128 x 256, of which the last may be cut in two.
# As many blocks as the GPU has processors, four on the emulator, take tiles in turn, eight rows of tiles together;
# (130, 120, 1100) is cut into splits of k.
@pytest.mark.parametrize("size", [(128, 256, 64), (127, 129, 128), (257, 385, 65), (1300, 300, 60), (130, 120, 1100)])
def test_tiles(precision, size, rng):
    m, n, k = size
    a, b, bias = whole(rng, m, k), whole(rng, k, n), whole(rng, n)
    np.testing.assert_array_equal(cuda.gemm(a, b, bias, precision=precision), a @ b + bias)


def test_wide_tiles_of_a_batch(precision, rng):
    a, b = whole(rng, 2, 3, 70, 130), whole(rng, 3, 130, 300)
    np.testing.assert_array_equal(cuda.gemm(a, b, precision=precision), a @ b)


def test_the_ring_goes_round_many_times(precision, rng):
    """More stages of k than the ring has, in several tiles."""
    a, b = normal(rng, 140, 900), normal(rng, 900, 520)
    got = cuda.gemm(a, b, precision=precision)
    error = np.abs(got - a.astype("float64") @ b)
    assert np.max(error / (np.abs(a) @ np.abs(b))) < test_tensor_cores.BOUND[precision] + 2.0**-20
    again = cuda.gemm(a, b, precision=precision)
    np.testing.assert_array_equal(got, again)  # copies land at other times


@pytest.mark.parametrize("setting", ["1", "0"])
def test_the_setting(setting):
    text = f"from nnfast import {MODULE}; print({MODULE}.matmul_unit(2))"
    environment = {**os.environ, "NNFAST_WGMMA": setting}
    told = subprocess.run([sys.executable, "-c", text], env=environment, capture_output=True, text=True, check=True)
    assert told.stdout.strip() == ("wgmma" if setting == "1" else "tensor cores")


def test_it_was_wgmma(rng):
    """The tests above would pass without it."""
    a, b = normal(rng, 70, 300), normal(rng, 300, 66)
    results = []
    for path in ("wgmma", "six products"):
        cuda.use_gemm_path(path)
        results.append(cuda.gemm(a, b, precision=MEDIUM))
    cuda.use_gemm_path("automatic")
    assert not np.array_equal(*results)  # sums of k are cut in other places
    np.testing.assert_allclose(*results, rtol=1e-4, atol=1e-4)


@pytest.fixture(scope="module")
def lesson():
    try:
        lessons.gcc()
    except ValueError as e:
        pytest.skip(str(e))
    return lessons.compile_kernels(Path(__file__).parent / "cuda" / "wgmma.cu")


@pytest.mark.parametrize(("size", "pieces"), [((130, 300, 200), 2), ((140, 129, 300), 3)])
def test_no_races_and_no_bank_conflicts(lesson, size, pieces, rng):
    m, n, k = size
    a, b = whole(rng, m, k), whole(rng, k, n)
    scratch = np.zeros(256 + pieces * 2 * (256 + 384) * 320, np.uint8)
    arguments = {"a": a, "b": b, "y": np.zeros((m, n), np.float32), "scratch": scratch}
    report = lesson.run("product", {**arguments, **dict(zip("MNK", size)), "pieces": pieces}, outputs=["scratch"])
    assert not report.faults and not report.warnings, str(report)
    np.testing.assert_array_equal(report.arrays["y"], a @ b)
    out = [line for line in report.lines if line.shared and line.file != "packing.cuh"]
    assert len(out) == 2 and all(line.moved == line.ideal for line in out), str(report)


@pytest.mark.parametrize(("channels_first", "pieces"), [(False, 2), (True, 3)])
def test_convolutions_have_no_races(lesson, channels_first, pieces, rng):
    """Nor do they read or write beyond their arrays, of which scratch ends with the planes."""
    n, s, c, o = 2, 9, 20, 33
    pads = ((2, 2), (2, 2))
    options = {"strides": (1, 1), "pads": pads, "dilation": (2, 2), "groups": 1, "channels_first": channels_first}
    x, w = whole(rng, *((n, c, s, s) if channels_first else (n, s, s, c))), whole(rng, 3, 3, c, o)
    exact = reference.conv2d(x, w, **options)
    images, filters = pieces * n * s * s * 24 * 2, pieces * 128 * 9 * 64 * 2
    arguments = {"x": x, "w": w, "y": np.zeros(exact.shape, np.float32)}
    arguments["scratch"] = np.zeros(256 + (images + 255) // 256 * 256 + filters, np.uint8)
    arguments |= {"n": n, "S": s, "C": c, "O": o, "pieces": pieces, "channels_first": channels_first}
    report = lesson.run("convolve", arguments, outputs=["scratch", "y"])
    assert not report.faults and not report.warnings, str(report)
    np.testing.assert_array_equal(report.arrays["y"], exact)
