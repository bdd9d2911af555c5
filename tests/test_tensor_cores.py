"""Products and convolutions of bfloat16 pieces on tensor cores, as the emulator runs them or a GPU where there is one:
bounds, edges of tiles, what does not fit into pieces, and that it was tensor cores that computed."""

import os
import subprocess
import sys

import gpu_engine
import numpy as np
import pytest
from conftest import EMULATOR, GPU
from layouts import LAYOUTS
from lesson_kernels import compile_with_tree

import nnfast
from nnfast import device, reference
from nnfast.ladder import lessons

cuda = gpu_engine.load() if GPU else EMULATOR
DEVICE, MODULE = ("cuda", "_cuda") if GPU else ("cuda-emulator", "_emulator")
if cuda is None:
    pytest.skip("built without the emulator (NNFAST_EMULATOR)", allow_module_level=True)
if not cuda.matmul_unit(1):
    pytest.skip("this GPU has no tensor cores of bfloat16", allow_module_level=True)

HIGHEST, HIGH, MEDIUM = 0, 1, 2
BOUND = {HIGHEST: 2.0**-25, HIGH: 2.0**-15, MEDIUM: 2.0**-7 + 2.0**-16}
LEAST = {HIGHEST: 0.0, HIGH: 2.0**-21, MEDIUM: 2.0**-12}  # what errors reach if it is pieces that were multiplied
# Tiles are 64 x 64, in steps of 32 k; (150, 70, 530) is cut into splits of k, as is (64, 65, 768).
SIZES = ((1, 1, 1), (3, 2, 31), (64, 64, 64), (65, 63, 33), (129, 66, 97), (150, 70, 530), (64, 65, 768))


@pytest.fixture(params=[HIGHEST, HIGH, MEDIUM], ids=["six products", "high", "medium"])
def precision(request):
    """Pieces for products of any size."""
    cuda.use_gemm_path("six products")
    yield request.param
    cuda.use_gemm_path("automatic")


def in_float32(function, *arguments, **options):
    """The same on CUDA cores."""
    cuda.use_gemm_path("automatic")
    result = function(*arguments, **{**options, "precision": HIGHEST})
    cuda.use_gemm_path("six products")
    return result


def whole(rng, *shape):
    """Small integers: their products and sums are exact in pieces."""
    return rng.integers(-8, 9, shape).astype(np.float32)


def normal(rng, *shape):
    return rng.standard_normal(shape, np.float32)


def _error(got, a, b):
    """The largest |error| relative to |a| |b|."""
    exact, size = a.astype(np.float64) @ b.astype(np.float64), np.abs(a).astype(np.float64) @ np.abs(b)
    return np.max(np.abs(got - exact) / size)


# ---- gemm ----
@pytest.mark.parametrize("size", SIZES)
def test_exact_on_small_integers(precision, size, rng):
    m, n, k = size
    a, b, bias, c = whole(rng, m, k), whole(rng, k, n), whole(rng, n), whole(rng, m, n)
    np.testing.assert_array_equal(cuda.gemm(a, b, precision=precision), a @ b)
    got = cuda.gemm(a, b, bias, alpha=2.0, beta=-3.0, activation=1, out=c.copy(), precision=precision)
    np.testing.assert_array_equal(got, np.maximum(2 * (a @ b) - 3 * c + bias, 0))
    y = np.maximum(whole(rng, m, n), 0)
    d, total = cuda.gemm_gradient(a, b, y, activation=1, needs_sum=True, precision=precision)
    np.testing.assert_array_equal(d, np.where(y > 0, a @ b, 0))
    np.testing.assert_array_equal(total, np.where(y > 0, a @ b, 0).sum(0))


@pytest.mark.parametrize(("layout_a", "layout_b"), list(zip(LAYOUTS, LAYOUTS[2:] + LAYOUTS[:2])))
def test_layouts(precision, layout_a, layout_b, rng):
    a, b = whole(rng, 70, 71), whole(rng, 71, 66)
    np.testing.assert_array_equal(cuda.gemm(layout_a(a), layout_b(b), precision=precision), a @ b)


def test_batches_and_outputs_of_any_stride(precision, rng):
    a, b = whole(rng, 3, 40, 36), whole(rng, 2, 1, 36, 70)
    np.testing.assert_array_equal(cuda.gemm(a, b, precision=precision), a @ b)
    repeated = np.broadcast_to(b, (2, 3, 36, 70))
    np.testing.assert_array_equal(cuda.gemm(a[:1], repeated, precision=precision), a[:1] @ repeated)
    np.testing.assert_array_equal(
        cuda.gemm(a[::-2], b[0, 0].T[::-1].T, precision=precision), a[::-2] @ b[0, 0, :, ::-1]
    )
    out = np.zeros((70, 40), np.float32).T
    cuda.gemm(a[0], b[0, 0], out=out, precision=precision)
    np.testing.assert_array_equal(out, a[0] @ b[0, 0])
    large = np.full((42, 75), 7, np.float32)
    cuda.gemm(a[0], b[0, 0], out=large[1:41, 3:73], precision=precision)
    np.testing.assert_array_equal(large[1:41, 3:73], a[0] @ b[0, 0])
    large[1:41, 3:73] = 7
    assert (large == 7).all()


def test_large_tiles(precision, rng):
    """Of 128 x 128, for 96 tiles and more, here of a batch."""
    a, b = normal(rng, 48, 70, 97), normal(rng, 2, 1, 97, 66)
    got = cuda.gemm(a, b, precision=precision)
    assert LEAST[precision] <= _error(got, a, b) <= BOUND[precision] + 2.0**-20


@pytest.mark.parametrize("k", [40, 784])
@pytest.mark.parametrize("kind", ["normal", "one-sided", "badly scaled"])
def test_error_stays_in_its_bound(precision, kind, k, rng):
    a, b = normal(rng, 70, k), normal(rng, k, 66)
    if kind == "one-sided":
        a, b = np.abs(a), np.abs(b)
    if kind == "badly scaled":
        scale = 2.0 ** rng.integers(-30, 31, k)
        a, b = (a * scale).astype(np.float32), (b / scale[:, None] * 2.0 ** rng.integers(-8, 9, 66)).astype(np.float32)
    got = cuda.gemm(a, b, precision=precision)
    assert LEAST[precision] <= _error(got, a, b) <= BOUND[precision] + k**0.5 * 2.0**-22
    if precision == HIGHEST:  # as good as float32
        assert _error(got, a, b) <= 4 * _error(in_float32(cuda.gemm, a, b), a, b)


def test_arithmetic_is_that_of_the_pieces(precision, rng):
    """Apart from the order of the sums: so a piece that is left out, or taken twice, is found."""
    a, b = normal(rng, 70, 300), normal(rng, 300, 66)
    pieces = []
    for x in (a, b):
        rest, mine = x, []
        for _ in range(3 - precision):
            mine.append(reference._to_bfloat16(rest))
            rest = (rest - mine[-1]).astype(np.float32)
        pieces.append([p.astype(np.float64) for p in mine])
    exact = sum(p @ q for i, p in enumerate(pieces[0]) for j, q in enumerate(pieces[1]) if i + j < 3 - precision)
    error = np.abs(cuda.gemm(a, b, precision=precision) - exact)
    assert np.max(error / (np.abs(a).astype(np.float64) @ np.abs(b))) <= 16 * 2.0**-24


@pytest.mark.parametrize("activation", range(9))
def test_activations_and_their_gradients(precision, activation, rng):
    a, b, bias = normal(rng, 66, 40) * 0.2, normal(rng, 40, 70), normal(rng, 70)
    a = a.astype(np.float32)
    how = {"activation": activation, "slope": 0.3 if activation == 2 else 1.0, "precision": precision}
    y = cuda.gemm(a, b, bias, alpha=0.5, **how)
    np.testing.assert_allclose(y, reference.gemm(a, b, bias, alpha=0.5, **how), rtol=2e-5, atol=2e-5)
    got, told = (f.gemm_gradient(a, b, y, needs_sum=True, **how) for f in (cuda, reference))
    np.testing.assert_allclose(got[0], told[0], rtol=2e-5, atol=2e-5)
    np.testing.assert_allclose(got[1], told[1], rtol=2e-4, atol=2e-4)


EXTREME = {"inf": np.inf, "nan": np.nan, "2^63": 2.0**63, "minus 2^100": -(2.0**100), "tiny": 2.0**-111}


@pytest.mark.parametrize("name", EXTREME)
@pytest.mark.parametrize("which", ["a", "b"])
def test_what_does_not_fit_is_multiplied_as_float32(precision, name, which, rng):
    """The same bits: in one tile and in splits, with beta, in a batch and in a gradient."""
    for m, n, k in ((66, 70, 100), (70, 65, 600)):
        a, b, c = normal(rng, 2, m, k), normal(rng, k, n), normal(rng, 2, m, n)
        (a if which == "a" else b).flat[-3] = EXTREME[name]
        for beta in (0.0, 0.5):
            results = [np.copy(c), np.copy(c)]
            cuda.gemm(a, b, beta=beta, out=results[0], precision=precision)
            in_float32(cuda.gemm, a, b, beta=beta, out=results[1])
            assert np.array_equal(*results, equal_nan=True) == (name != "tiny" or precision != MEDIUM)
        got = cuda.gemm_gradient(a[1], b, needs_sum=True, precision=precision)
        for x, y in zip(got, in_float32(cuda.gemm_gradient, a[1], b, needs_sum=True)):
            assert np.array_equal(x, y, equal_nan=True) == (name != "tiny" or precision != MEDIUM)


def test_zeros_and_the_smallest_numbers_that_fit(precision, rng):
    a, b = normal(rng, 66, 80), normal(rng, 80, 66)
    a[:, ::3] = 0
    a[:, 1::3] = 2.0 ** {HIGHEST: -101, HIGH: -109, MEDIUM: -126}[precision]
    assert LEAST[precision] < _error(cuda.gemm(a, b, precision=precision), a, b) <= BOUND[precision] + 2.0**-20


def test_nothing_to_sum_and_float64(precision, rng):
    bias = normal(rng, 66)
    got = cuda.gemm(np.zeros((70, 0), np.float32), np.zeros((0, 66), np.float32), bias, precision=precision)
    np.testing.assert_array_equal(got, np.broadcast_to(bias, (70, 66)))
    a, b = rng.standard_normal((40, 300)), rng.standard_normal((300, 50))
    np.testing.assert_array_equal(cuda.gemm(a, b, precision=precision), in_float32(cuda.gemm, a, b))


# ---- when ----
def test_small_products_stay_float32(rng):
    """Without force: where packing does not pay."""
    for m, n, k in ((128, 10, 512), (130, 130, 300), (1, 512, 784)):
        a, b = normal(rng, m, k), normal(rng, k, n)
        for low in (HIGH, MEDIUM):
            np.testing.assert_array_equal(cuda.gemm(a, b, precision=low), cuda.gemm(a, b))


def test_large_products_of_medium_are_of_pieces_and_of_highest_are_not(rng):
    a, b = normal(rng, 192, 2700), normal(rng, 2700, 260)
    assert _error(cuda.gemm(a, b, precision=MEDIUM), a, b) > 1e-5
    assert _error(cuda.gemm(a, b), a, b) < 1e-6


def test_ops_listen(rng):
    nnfast.set_device(DEVICE)
    cuda.use_gemm_path("pieces")
    x, w = nnfast.Variable(normal(rng, 48, 64)), nnfast.Variable(normal(rng, 64, 40))

    def run(precision):
        nnfast.set_matmul_precision(precision)
        with nnfast.GradientTape() as tape:
            y = nnfast.ops.dense(x, w, np.ones(40, "float32"), activation="tanh")
        nnfast.set_matmul_precision("highest")
        return [y.numpy(), *(g.numpy() for g in tape.gradient(y, [x, w]))]

    try:
        for got, exact in zip(run("medium"), run("highest")):
            assert 1e-5 < np.max(np.abs(got - exact)) / np.max(np.abs(exact)) < 0.1
    finally:
        cuda.use_gemm_path("automatic")


def test_info_says_what_is_used():
    nnfast.set_device(DEVICE)
    assert device.runtime_info()["matmul"] == {
        "highest": "float32",
        "high": "two bfloat16 pieces (tensor cores)",
        "medium": "bfloat16 (tensor cores)",
    }
    with pytest.raises(ValueError, match=r"\[matmul_unit\] precision must be 0, 1 or 2. Received: 3"):
        cuda.matmul_unit(3)
    with pytest.raises(ValueError, match=r"\[gemm path\] unknown. Received: 'scenic'"):
        cuda.use_gemm_path("scenic")


@pytest.mark.parametrize("setting", ["1", "0"])
def test_the_setting_for_six_products(setting):
    text = f"from nnfast import {MODULE} as cuda; print(cuda.matmul_unit(0) or 'none')"
    environment = {**os.environ, "NNFAST_CUDA_PIECES": setting}
    told = subprocess.run([sys.executable, "-c", text], env=environment, capture_output=True, text=True, check=True)
    assert told.stdout.strip() == ("tensor cores" if setting == "1" else "none")


# ---- conv2d ----
NONE, ONE = ((0, 0), (0, 0)), ((1, 1), (1, 1))
# n, h, w, channels, rows, columns of the filter, filters, strides, pads, dilation, groups
CONVOLUTIONS = [
    (2, 9, 8, 16, 3, 3, 17, (1, 1), ONE, (1, 1), 1),  # channels by four
    (2, 10, 11, 17, 3, 2, 65, (2, 1), ((0, 1), (0, 1)), (1, 1), 1),
    (1, 13, 13, 20, 3, 3, 9, (3, 3), ((1, 2), (0, 1)), (2, 2), 1),  # remainders that no tap meets
    (2, 6, 7, 48, 3, 3, 72, (1, 1), ONE, (1, 1), 3),
    (3, 8, 8, 70, 1, 1, 66, (2, 2), NONE, (1, 1), 1),
    (1, 24, 25, 3, 5, 5, 8, (1, 1), ((2, 2), (2, 2)), (1, 1), 1),  # a long sum of the filter's gradient: splits
    (2, 5, 5, 8, 3, 3, 8, (1, 1), ONE, (1, 1), 8),  # depthwise: on CUDA cores
    (1, 3, 3, 4, 5, 5, 4, (1, 1), ((6, 6), (6, 6)), (1, 1), 1),  # pixels that see nothing
]


def _operands(make, rng, case, channels_first=False):
    n, h, w, c, r, s, f, strides, pads, dilation, groups = case
    x = make(rng, *((n, c, h, w) if channels_first else (n, h, w, c)))
    filters = make(rng, r, s, c // groups, f)
    options = {"strides": strides, "pads": pads, "dilation": dilation, "groups": groups}
    options["channels_first"] = channels_first
    return x, filters, make(rng, *reference.conv2d(x, filters, **options).shape), options


def _all(k, x, w, dz, **options):
    return (
        k.conv2d(x, w, **options),
        k.conv2d_input_gradient(dz, w, x.shape, **options),
        k.conv2d_filter_gradient(x, dz, w.shape, **options),
    )


def in_float32_all(x, w, dz, options):
    return in_float32(lambda **how: _all(cuda, x, w, dz, **how), **options)


@pytest.mark.parametrize("channels_first", [False, True], ids=["last", "first"])
@pytest.mark.parametrize("case", CONVOLUTIONS, ids=str)
def test_convolutions_of_small_integers(precision, case, channels_first, rng):
    x, w, dz, options = _operands(whole, rng, case, channels_first)
    for exact, got in zip(_all(reference, x, w, dz, **options), _all(cuda, x, w, dz, precision=precision, **options)):
        np.testing.assert_array_equal(got, exact)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_convolutions_of_any_layout(precision, layout, rng):
    x, w, dz, options = _operands(whole, rng, CONVOLUTIONS[0])
    got = _all(cuda, layout(x), layout(w), layout(dz), precision=precision, **options)
    for e, g in zip(_all(reference, x, w, dz, **options), got):
        np.testing.assert_array_equal(g, e)


@pytest.mark.parametrize("channels_first", [False, True], ids=["last", "first"])
@pytest.mark.parametrize("kind", ["normal", "one-sided", "badly scaled"])
def test_error_of_convolutions_stays_in_its_bound(precision, kind, channels_first, rng):
    for case in (CONVOLUTIONS[0], CONVOLUTIONS[3]):
        x, w, dz, options = _operands(normal, rng, case, channels_first)
        if kind == "one-sided":
            x, w, dz = np.abs(x), np.abs(w), np.abs(dz)
        if kind == "badly scaled":
            dz = (dz * 2.0 ** rng.integers(-20, 21, dz.shape)).astype(np.float32)
            w = (w * 2.0 ** rng.integers(-8, 9, w.shape)).astype(np.float32)
        wide = [a.astype(np.float64) for a in (x, w, dz)]
        got = _all(cuda, x, w, dz, precision=precision, **options)
        plain = in_float32_all(x, w, dz, options)
        products = _all(reference, *(np.abs(a) for a in wide), **options)
        for e, g, f, size in zip(_all(reference, *wide, **options), got, plain, products):
            seen = size > 0
            error = np.max(np.abs(g - e)[seen] / size[seen])
            assert LEAST[precision] <= error <= BOUND[precision] + 2.0**-20
            assert not np.array_equal(f, g)
            if precision == HIGHEST:
                assert error <= 4 * np.max(np.abs(f - e)[seen] / size[seen]) + 2.0**-23


@pytest.mark.parametrize("activation", [0, 1, 2, 6])
def test_convolutions_with_bias_and_activation(precision, activation, rng):
    x, w, _, options = _operands(normal, rng, CONVOLUTIONS[3])
    how = {"activation": activation, "slope": 0.3, "precision": precision, **options}
    b = normal(rng, w.shape[3])
    got, told = (f.conv2d(x, w * np.float32(0.2), b, **how) for f in (cuda, reference))
    np.testing.assert_allclose(got, told, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("name", EXTREME)
@pytest.mark.parametrize("where", ["x", "w", "dz"])
def test_convolutions_of_what_does_not_fit_are_float32(precision, name, where, rng):
    """The same bits in all that the operand takes part in; a gradient of stride 2 is several products."""
    for case in (CONVOLUTIONS[0], CONVOLUTIONS[4]):
        x, w, dz, options = _operands(normal, rng, case)
        operands = {"x": x, "w": w, "dz": dz}
        operands[where].flat[5] = EXTREME[name]
        got = _all(cuda, x, w, dz, precision=precision, **options)
        uses = (("x", "w"), ("w", "dz"), ("x", "dz"))
        for of, g, f in zip(uses, got, in_float32_all(x, w, dz, options)):
            unfit = where in of and (name != "tiny" or precision != MEDIUM)
            assert np.array_equal(g, f, equal_nan=True) == unfit


@pytest.mark.parametrize("precision", [HIGH], indirect=True)
def test_large_tiles_of_convolutions(precision, rng):
    """Of 128 x 128, for 96 tiles and more, here of groups; not of six products."""
    case = (1, 9, 8, 96 * 70, 1, 1, 96 * 66, (1, 1), NONE, (1, 1), 96)
    x, w, dz, options = _operands(whole, rng, case)
    for e, g in zip(_all(reference, x, w, dz, **options), _all(cuda, x, w, dz, precision=precision, **options)):
        np.testing.assert_array_equal(g, e)


def test_small_convolutions_stay_float32(rng):
    x, w, dz, options = _operands(normal, rng, CONVOLUTIONS[0])
    plain = _all(cuda, x, w, dz, **options)
    for low in (HIGH, MEDIUM):
        for e, g in zip(plain, _all(cuda, x, w, dz, precision=low, **options)):
            np.testing.assert_array_equal(g, e)


# ---- lesson mode ----
@pytest.fixture(scope="module")
def lesson():
    try:
        lessons.gcc()
    except ValueError as e:
        pytest.skip(str(e))
    return compile_with_tree("pieces.cu")


@pytest.mark.parametrize(
    ("function", "size", "pieces", "transposed"),
    [("multiply_128", (128, 130, 200), 2, False), ("multiply_64", (70, 66, 100), 3, True)],
)
def test_products_have_no_races_and_no_bank_conflicts(lesson, function, size, pieces, transposed, rng):
    m, n, k = size
    a, b = whole(rng, m, k), whole(rng, k, n)
    arguments = {
        "a": a.T.copy() if transposed else a,
        "b": b,
        "y": np.zeros((n, m) if transposed else (m, n), np.float32),
        "scratch": np.zeros(256 + pieces * 2 * (256 + 256) * 256, np.uint8),
        **dict(zip("MNK", size)),
        "pieces": pieces,
        "transposed": transposed,
    }
    report = lesson.run(function, arguments, outputs=["scratch"])
    assert not report.faults and not report.warnings, str(report)
    np.testing.assert_array_equal(report.arrays["y"].T if transposed else report.arrays["y"], a @ b)
    shared = [n for n in report.lines if n.shared]
    assert len(shared) >= 7 and all(n.moved == n.ideal for n in shared), str(report)
    planes = [n for n in report.lines if n.array == "scratch" and n.bytes == 16]
    assert len(planes) == 3 and all(n.moved == n.ideal for n in planes), str(report)


@pytest.mark.parametrize(
    ("side", "channels_first", "of_filter"), [(128, False, False), (64, True, False), (64, False, True)]
)
def test_convolutions_have_no_races(lesson, side, channels_first, of_filter, rng):
    n, s, c, o = 2, 9, 8, 20
    options = {"strides": (1, 1), "pads": ONE, "dilation": (1, 1), "groups": 1, "channels_first": channels_first}
    x, w = whole(rng, *((n, c, s, s) if channels_first else (n, s, s, c))), whole(rng, 3, 3, c, o)
    exact = y = reference.conv2d(x, w, **options)
    if of_filter:
        w = whole(rng, *y.shape)
        exact = reference.conv2d_filter_gradient(x, w, (3, 3, c, o), **options)
    arguments = {"x": x, "w": w, "out": np.zeros(exact.shape, np.float32), "scratch": np.zeros(4, np.uint8)}
    arguments |= {"n": n, "S": s, "C": c, "O": o, "pieces": 2, "side": side}
    arguments |= {"channels_first": channels_first, "filter": of_filter}
    report = lesson.run("convolve", arguments, outputs=["scratch", "out"])
    assert not report.faults and not report.warnings, str(report)
    np.testing.assert_array_equal(report.arrays["out"], exact)
