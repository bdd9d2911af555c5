"""Convolutions of bfloat16 pieces by wgmma, and what TMA gathers from images for them, as the emulator or a
Hopper GPU runs them."""
# ruff: noqa: F811

import os
import subprocess
import sys

import numpy as np
import pytest
import test_tensor_cores
from test_tensor_cores import BOUND, LEAST, MEDIUM, MODULE, NONE, ONE, cuda, normal, whole
from test_wgmma import precision  # noqa: F401

from nnfast import reference

TWO = ((2, 2), (2, 2))
# n, h, w, channels, rows, columns of the filter, filters, strides, pads, dilation, groups. Tiles have 128 pixels, which
# go over the ends of lines and of images; k are 64 channels of a tap at a time.
CASES = {
    "same": (3, 9, 8, 64, 3, 3, 64, (1, 1), ONE, (1, 1), 1),
    "valid": (2, 11, 12, 72, 3, 3, 33, (1, 1), NONE, (1, 1), 1),
    "strided": (3, 13, 10, 24, 3, 3, 40, (2, 2), ONE, (1, 1), 1),
    "strides of two kinds": (2, 12, 17, 16, 2, 3, 20, (3, 2), ((0, 1), (2, 0)), (1, 1), 1),
    "dilated": (2, 12, 9, 33, 3, 3, 36, (1, 1), TWO, (2, 2), 1),
    "dilated and strided": (1, 15, 16, 8, 3, 2, 8, (2, 3), ((2, 1), (0, 2)), (2, 3), 1),
    "1 x 1": (2, 9, 9, 130, 1, 1, 140, (1, 1), NONE, (1, 1), 1),
    "1 x 1, strided": (2, 9, 9, 20, 1, 1, 20, (2, 2), NONE, (1, 1), 1),
    "5 x 5": (2, 9, 10, 5, 5, 5, 36, (1, 1), TWO, (1, 1), 1),
    "many filters": (1, 6, 6, 64, 1, 3, 300, (1, 1), ((0, 0), (1, 1)), (1, 1), 1),
    "wide tiles": (6, 10, 9, 8, 1, 1, 260, (1, 1), NONE, (1, 1), 1),
    "one pixel": (2, 3, 3, 40, 3, 3, 33, (1, 1), NONE, (1, 1), 1),
    "a border as wide as the filter": (2, 3, 4, 8, 3, 3, 8, (1, 1), ((3, 3), (3, 3)), (1, 1), 1),
}
# What the fields of a tensor map do not hold: steps above 8, corners beyond 127, taps beyond 255. By mma.sync.
NOT_FOR_TMA = {
    "strides": (1, 20, 4, 8, 1, 1, 8, (9, 1), NONE, (1, 1), 1),
    "corners": (1, 3, 3, 8, 1, 1, 8, (8, 8), ((129, 0), (0, 0)), (1, 1), 1),
    "taps": (1, 3, 261, 8, 1, 3, 8, (1, 1), NONE, (1, 129), 1),
}


def _operands(make, rng, case, channels_first=False):
    return test_tensor_cores._operands(make, rng, case, channels_first)


@pytest.mark.parametrize("precision", [MEDIUM], indirect=True)
@pytest.mark.parametrize("channels_first", [False, True], ids=["last", "first"])
@pytest.mark.parametrize("name", [*CASES, *NOT_FOR_TMA])
def test_exact_on_small_integers(precision, name, channels_first, rng):
    x, w, dz, options = _operands(whole, rng, (CASES | NOT_FOR_TMA)[name], channels_first)
    got = cuda.conv2d(x, w, precision=precision, **options)
    np.testing.assert_array_equal(got, reference.conv2d(x, w, **options))
    got = cuda.conv2d_input_gradient(dz, w, x.shape, precision=precision, **options)
    np.testing.assert_array_equal(got, reference.conv2d_input_gradient(dz, w, x.shape, **options))


@pytest.mark.parametrize("precision", [MEDIUM], indirect=True)
def test_images_of_any_stride(precision, rng):
    """Whose lines, images or channels do not follow each other; a result within another array."""
    wide, w = whole(rng, 4, 20, 9, 24), whole(rng, 3, 3, 18, 40)
    how = {"strides": (1, 1), "pads": ONE, "dilation": (1, 1), "groups": 1, "channels_first": False}
    for x in (
        wide[..., :18],
        wide[::2, :, :, 3:21],
        wide[:, ::2, ::-1, 6:],
        wide[:, 1:, 2:5, :18],
        wide[:1, :, :, ::-1][..., :18],
    ):
        np.testing.assert_array_equal(cuda.conv2d(x, w, precision=precision, **how), reference.conv2d(x, w, **how))
    x = wide[..., :18]
    for f in (w[::-1], w[:, ::-1, :, ::2], np.ascontiguousarray(w.transpose(3, 2, 1, 0)).T):
        np.testing.assert_array_equal(cuda.conv2d(x, f, precision=precision, **how), reference.conv2d(x, f, **how))


LONG = (1, 8, 9, 96, 3, 3, 70, (1, 1), ONE, (1, 1), 1)  # so few tiles that blocks share sums


@pytest.mark.parametrize("case", [LONG, CASES["same"], CASES["strided"], CASES["wide tiles"]], ids=str)
def test_error_stays_in_its_bound(precision, case, rng):
    """All pieces take part, and no more of them."""
    x, w, dz, options = _operands(normal, rng, case)
    wide = [a.astype(np.float64) for a in (x, w, dz)]

    def both(module, x, w, dz, **how):
        how = {**options, **how}
        return module.conv2d(x, w, **how), module.conv2d_input_gradient(dz, w, x.shape, **how)

    sizes = both(reference, *(np.abs(a) for a in wide))
    for got, exact, size in zip(both(cuda, x, w, dz, precision=precision), both(reference, *wide), sizes):
        seen = size > 0
        error = np.max(np.abs(got - exact)[seen] / size[seen])
        assert LEAST[precision] <= error <= BOUND[precision] + 2.0**-20


@pytest.mark.parametrize("channels_first", [False, True], ids=["last", "first"])
@pytest.mark.parametrize("case", [LONG, CASES["strides of two kinds"]], ids=str)
def test_bias_and_activation(precision, case, channels_first, rng):
    """Of a sum that blocks share, and of one that one block makes."""
    x, w, _, options = _operands(normal, rng, case, channels_first)
    how = {"activation": 2, "slope": 0.3, **options}
    bias = normal(rng, 2 * w.shape[3])[::2]
    got, told = (f.conv2d(x, w, bias, precision=precision, **how) for f in (cuda, reference))
    np.testing.assert_allclose(got, told, rtol=2e-5, atol=1e-4)


@pytest.mark.parametrize("where", ["first", "last"])
def test_a_number_that_does_not_fit(precision, where, rng):
    """Then CUDA cores compute all of it again: the same bits, also where pieces would split the sum."""
    x, w, _, options = _operands(normal, rng, (1, 5, 6, 96, 3, 3, 33, (1, 1), ONE, (1, 1), 1))
    for array in (x, w):
        kept = array.flat[0 if where == "first" else -1]
        array.flat[0 if where == "first" else -1] = np.inf
        got = cuda.conv2d(x, w, precision=precision, **options)
        same = test_tensor_cores.in_float32(cuda.conv2d, x, w, **options)
        assert not np.isfinite(got).all()
        np.testing.assert_array_equal(got, same)
        array.flat[0 if where == "first" else -1] = kept


def test_it_was_wgmma(rng):
    """The tests above would pass without it. Of 24 channels each tap ends with zeros, so sums of 16 k are others."""
    x, w, dz, options = _operands(normal, rng, (1, 7, 8, 24, 3, 3, 33, (1, 1), ONE, (1, 1), 1))
    results = []
    for path in ("wgmma", "six products"):
        cuda.use_gemm_path(path)
        how = {"precision": MEDIUM, **options}
        results.append((cuda.conv2d(x, w, **how), cuda.conv2d_input_gradient(dz, w, x.shape, **how)))
    cuda.use_gemm_path("automatic")
    for one, other in zip(*results):
        assert not np.array_equal(one, other)
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)


@pytest.mark.skipif(MODULE != "_emulator", reason="its arrays are NumPy's")
def test_the_setting_takes_large_convolutions_of_enough_channels():
    """With NNFAST_WGMMA=1, without force: of 40 channels, not of 24. Both end taps with zeros: sums are others."""
    text = """if True:
        import numpy as np
        from nnfast import _emulator as cuda
        rng = np.random.default_rng(5)
        for channels in (40, 24):
            x = rng.standard_normal((1, 52, 52, channels), np.float32)
            w = rng.standard_normal((3, 3, channels, 256), np.float32)
            results = []
            for path in ("automatic", "wgmma"):
                cuda.use_gemm_path(path)
                results.append(cuda.conv2d(x, w, precision=2))
            cuda.use_gemm_path("automatic")
            print(np.array_equal(*results), np.array_equal(results[0], cuda.conv2d(x, w)))  # of pieces, both times
    """
    environment = {**os.environ, "NNFAST_WGMMA": "1"}
    told = subprocess.run([sys.executable, "-c", text], env=environment, capture_output=True, text=True, check=True)
    assert told.stdout.splitlines() == ["True False", "False False"]
