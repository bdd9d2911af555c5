"""Random numbers: Philox's published answers, the same bits everywhere, and the right distributions."""

import math
import threading

import numpy as np
import pytest
from compare import assert_close, gradcheck
from layouts import LAYOUTS

import nnfast
from nnfast import _cpu, ops, reference
from nnfast.ops import random

KEYS = [(0, 0), (1, 2), (-1, -1), (2**40 + 7, 3), (10, 2**33 + 1)]
SIZES = [0, 1, 2, 3, 4, 5, 63, 64, 65, 127, 1000, 8191, 8192, 8193, 20001]
KINDS = ["random_uniform", "random_normal", "random_truncated_normal"]


def key_of(seed, draw=0):
    return np.array([seed, draw], np.int64)


# counter and key, least significant word first, and the four words: kat_vectors of Random123 (philox 4x32, 10 rounds).
KNOWN = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


def philox(counter, key):
    """Philox 4x32-10 of one counter, from the paper, in plain Python."""
    c, k = list(counter), list(key)
    for _ in range(10):
        p0, p1 = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [(p1 >> 32) ^ c[1] ^ k[0], p1 & 0xFFFFFFFF, (p0 >> 32) ^ c[3] ^ k[1], p0 & 0xFFFFFFFF]
        k = [(k[0] + 0x9E3779B9) & 0xFFFFFFFF, (k[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return tuple(c)


def words(counter, key):
    """The same as floats: what random_uniform makes of the block `counter` of a draw."""
    return np.array([w >> 8 for w in philox(counter, key)], np.float32) * np.float32(2**-24)


@pytest.mark.parametrize("counter, key, expected", KNOWN)
def test_philox_gives_the_published_words(counter, key, expected):
    assert philox(counter, key) == expected


def test_kernels_are_philox(isa):
    for seed, draw in KEYS:
        key = key_of(seed, draw)
        halves = [(n & 0xFFFFFFFF, n >> 32 & 0xFFFFFFFF) for n in (seed, draw)]
        u = _cpu.random_uniform([4000], "float32", key)
        v = _cpu.random_uniform([2000], "float64", key)
        for block in (0, 1, 15, 16, 17, 999):
            expected = philox((block, 0, *halves[1]), halves[0])
            np.testing.assert_array_equal(u[4 * block : 4 * block + 4], words((block, 0, *halves[1]), halves[0]))
            both = [expected[0] | expected[1] << 32, expected[2] | expected[3] << 32]
            np.testing.assert_array_equal(v[2 * block : 2 * block + 2], [(w >> 11) * 2.0**-53 for w in both])
    np.testing.assert_array_equal(reference.philox(key_of(0), 1)[0], KNOWN[0][2])


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_bits_on_every_isa_and_number_of_threads(kind, dtype):
    results = []
    before = _cpu.isa()
    for isa in _cpu.isas():
        for threads in (1, 2):
            _cpu.use_isa(isa)
            _cpu.set_num_threads(threads)
            results.append([getattr(_cpu, kind)([n], dtype, key_of(7, n)) for n in SIZES])
    _cpu.use_isa(before)
    for other in results[1:]:
        for a, b in zip(results[0], other):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("kind", KINDS)
def test_a_number_depends_on_its_place_alone(kind, dtype):
    whole = getattr(_cpu, kind)([20001], dtype, key_of(3))
    for n in SIZES:
        np.testing.assert_array_equal(getattr(_cpu, kind)([n], dtype, key_of(3)), whole[:n])
    np.testing.assert_array_equal(getattr(_cpu, kind)([3, 0, 7], dtype, key_of(3)), np.zeros((3, 0, 7)))
    np.testing.assert_array_equal(getattr(_cpu, kind)([5, 6], dtype, key_of(3)), whole[:30].reshape(5, 6))


def test_uniforms_equal_the_reference(isa, dtype):
    for key in KEYS:
        got = _cpu.random_uniform([1003], dtype, key_of(*key), low=-2.5, high=7.25)
        want = reference.random_uniform([1003], dtype, key_of(*key), low=-2.5, high=7.25)
        assert got.dtype == dtype
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("kind", KINDS[1:])
def test_normals_are_within_four_ulp_of_the_reference(kind, isa, dtype):
    for key in KEYS:
        got = getattr(_cpu, kind)([40003], dtype, key_of(*key))
        assert_close(got, getattr(reference, kind)([40003], dtype, key_of(*key)), ulp=4)
    got = getattr(_cpu, kind)([1000], dtype, key_of(4), mean=3.0, stddev=0.5)
    assert_close(got, getattr(reference, kind)([1000], dtype, key_of(4), mean=3.0, stddev=0.5), ulp=4)


def moments(z):
    return [float((z.astype(np.float64) ** k).mean()) for k in (1, 2, 3, 4)]


def phi(x):
    return 0.5 * (1 + math.erf(x / math.sqrt(2)))


def distance(values, cumulative):
    """Kolmogorov's: the largest distance of the empirical distribution from the true one."""
    values = np.sort(values.astype(np.float64))
    true = np.array([cumulative(v) for v in values])
    i = np.arange(len(values))
    return max(np.abs(true - i / len(values)).max(), np.abs(true - (i + 1) / len(values)).max())


def test_distributions(dtype):
    """Of n = 20,000 numbers: Kolmogorov's distance below 1.95 / sqrt(n), which chance exceeds once in a thousand."""
    n, limit = 20_000, 1.95 / math.sqrt(20_000)
    for seed in (0, 1):
        u = _cpu.random_uniform([n], dtype, key_of(seed), low=2, high=5)
        assert u.min() >= 2 and u.max() < 5 and distance(u, lambda x: (x - 2) / 3) < limit
        z = _cpu.random_normal([n], dtype, key_of(seed))
        assert distance(z, phi) < limit
        t = _cpu.random_truncated_normal([n], dtype, key_of(seed))
        assert np.abs(t).max() <= 2 and distance(t, lambda x: (phi(x) - phi(-2)) / (2 * phi(2) - 1)) < limit
    z = _cpu.random_normal([1_000_000], dtype, key_of(5))
    for moment, true, spread in zip(moments(z), (0, 1, 0, 3), (1, 2, 15, 96)):  # variances of z, z^2, z^3, z^4
        assert abs(moment - true) < 4 * math.sqrt(spread / z.size)
    pairs = z.reshape(-1, 2)
    assert abs((pairs[:, 0] * pairs[:, 1]).mean()) < 4 / math.sqrt(len(pairs))


def test_permutation_equals_the_reference(isa):
    for n in [0, 1, 2, 3, 4, 5, 8, 9, 100, 4097, 60_000]:
        for threads in (1, 2):
            _cpu.set_num_threads(threads)
            got = _cpu.permutation(n, key_of(3, n))
            assert got.dtype == np.int64 and got.shape == (n,)
            np.testing.assert_array_equal(got, reference.permutation(n, key_of(3, n)))
    np.testing.assert_array_equal(np.sort(_cpu.permutation(300_000, key_of(1))), np.arange(300_000))


@pytest.mark.full
@pytest.mark.parametrize("n", [1 << 23, (1 << 25) + 5])
def test_permutation_of_words_that_nearly_agree(n):
    """So many words that some agree in all bits that the CPU kernel sorts by first."""
    np.testing.assert_array_equal(_cpu.permutation(n, key_of(3, n)), reference.permutation(n, key_of(3, n)))


def test_permutations_are_even():
    """Each of the 24 orders of four numbers, 200 times each on average: chi^2 with 23 degrees of freedom below 49.7."""
    counts = {}
    for draw in range(4800):
        order = tuple(_cpu.permutation(4, key_of(1, draw)))
        counts[order] = counts.get(order, 0) + 1
    assert len(counts) == 24 and sum((c - 200) ** 2 / 200 for c in counts.values()) < 49.7


def test_dropout_equals_the_reference(isa, dtype, rng):
    for shape in [(), (5,), (0, 3), (67,), (33, 40), (2, 5, 6, 7), (20_001,)]:
        x = np.array(rng.normal(size=shape), dtype)
        for rate in (0.0, 0.3, 1.0):
            for threads in (1, 2):
                _cpu.set_num_threads(threads)
                got = _cpu.dropout(x, key_of(5), rate=rate)
                assert got.dtype == dtype and got.shape == shape
                np.testing.assert_array_equal(got, reference.dropout(x, key_of(5), rate=rate))


@pytest.mark.parametrize("noise_shape", [(4, 1, 1, 7), (1, 5, 6, 1), (4, 5, 6, 7), (1, 1, 1, 1), (4, 5, 1, 7)])
def test_dropout_with_a_shared_decision(noise_shape, dtype, rng):
    x = rng.normal(size=(4, 5, 6, 7)).astype(dtype)
    got = _cpu.dropout(x, key_of(5), rate=0.4, noise_shape=noise_shape)
    np.testing.assert_array_equal(got, reference.dropout(x, key_of(5), rate=0.4, noise_shape=noise_shape))
    dropped = got == 0
    shared = tuple(i for i in range(4) if noise_shape[i] == 1)
    if shared:
        np.testing.assert_array_equal(dropped.all(shared), dropped.any(shared))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_dropout_of_any_layout(layout, dtype, rng):
    x = rng.normal(size=(9, 10, 3)).astype(dtype)
    for noise_shape in (None, (9, 1, 3)):
        got = _cpu.dropout(layout(x), key_of(1), rate=0.5, noise_shape=noise_shape)
        np.testing.assert_array_equal(got, reference.dropout(x, key_of(1), rate=0.5, noise_shape=noise_shape))


def test_dropout_drops_nan_and_keeps_the_mean():
    x = np.full(100_000, np.nan, "float32")
    y = _cpu.dropout(x, key_of(1), rate=0.25)
    assert abs((y == 0).mean() - 0.25) < 0.01 and np.isnan(y[y != 0]).all()
    assert abs(_cpu.dropout(np.ones(100_000), key_of(2), rate=0.25).mean() - 1) < 0.01


def test_kernels_check_their_arguments():
    for error, message, f in [
        (TypeError, "key must be int64", lambda: _cpu.random_uniform([3], "float32", np.zeros(2))),
        (ValueError, r"key must be \(seed, draw\)", lambda: _cpu.random_normal([3], "float32", np.zeros(3, int))),
        (ValueError, "contiguous", lambda: _cpu.random_normal([3], "float32", np.zeros(4, int)[::2])),
        (TypeError, "dtype must be float32 or float64.*int32", lambda: _cpu.random_uniform([3], "int32", key_of(1))),
        (OverflowError, "does not fit", lambda: _cpu.random_uniform([-3], "float32", key_of(1))),
        (ValueError, "n must not be negative", lambda: _cpu.permutation(-1, key_of(1))),
        (OverflowError, "does not fit", lambda: _cpu.permutation(2**62, key_of(1))),
        (ValueError, r"rate must be in \[0, 1\]", lambda: _cpu.dropout(np.ones(3), key_of(1), rate=1.5)),
        (ValueError, r"rate must be in \[0, 1\]", lambda: _cpu.dropout(np.ones(3), key_of(1), rate=np.nan)),
        (TypeError, "x must be float", lambda: _cpu.dropout(np.ones(3, int), key_of(1), rate=0.5)),
        (
            ValueError,
            r"noise_shape must broadcast.*\(2,\).*\(3,\)",
            lambda: _cpu.dropout(np.ones(3), key_of(1), rate=0.5, noise_shape=(2,)),
        ),
    ]:
        with pytest.raises(error, match=message):
            f()


# ---- ops ----


def draws():
    return [
        random.uniform((3,)).tolist(),
        random.normal((2, 2), 1.0, 2.0, "float64").tolist(),
        random.truncated_normal(4).tolist(),
        random.permutation(10).tolist(),
        random.dropout(np.ones(9), 0.5).tolist(),
    ]


def test_a_seed_names_a_stream(device):
    random.set_random_seed(3)
    first, second = draws(), draws()
    random.set_random_seed(3)
    assert draws() == first and draws() == second and first != second
    random.set_random_seed(4)
    assert draws() != first


@pytest.fixture
def following_numpy():
    """The default generator as it is at the start; NumPy's state is put back."""
    before = np.random.get_state()
    random.default_generator.seed(None)
    yield
    random.default_generator.seed(None)
    np.random.set_state(before)


def test_unseeded_numbers_follow_numpy_and_leave_it_alone(following_numpy):
    np.random.seed(10)
    expected = np.random.rand(3)
    np.random.seed(10)
    first, second = draws(), draws()
    np.testing.assert_array_equal(np.random.rand(3), expected)  # as if we had drawn nothing
    third = draws()
    assert first != second
    np.random.seed(10)
    assert draws() == first and draws() == second
    np.random.rand(3)
    assert draws() == third
    np.random.seed(11)
    assert draws() != first


def test_set_random_seed_seeds_everything():
    import random as python_random

    before = np.random.get_state()
    seen = []
    for _ in range(2):
        random.set_random_seed(10)
        seen.append((python_random.random(), np.random.rand(), random.uniform(()).item()))
    assert seen[0] == seen[1]
    np.random.set_state(before)
    random.default_generator.seed(None)
    for bad in (1.5, None, True):
        with pytest.raises(TypeError, match=r"\[set_random_seed\] seed must be an integer"):
            random.set_random_seed(bad)
    for bad in (-1, 2**32):
        with pytest.raises(ValueError, match=r"\[set_random_seed\] seed must be in"):
            random.set_random_seed(bad)


def test_generators(device):
    a, b = random.Generator(5), random.Generator(5)
    assert random.uniform(3, generator=a).tolist() == random.uniform(3, generator=b).tolist()
    state = a.state
    assert state == (5, 1)
    x = random.normal(3, generator=a).tolist()
    a.state = state
    assert random.normal(3, generator=a).tolist() == x
    np.testing.assert_array_equal(nnfast.device.host(a.next_key()), [5, 2])
    assert random.Generator(2**64 - 1).state == (-1, 0)
    with pytest.raises(TypeError, match=r"\[Generator\] seed must be an integer"):
        random.Generator("a")


def test_keys_are_handed_out_once():
    g, keys = random.Generator(1), []
    workers = [threading.Thread(target=lambda: keys.extend(int(g.next_key()[1]) for _ in range(200))) for _ in range(4)]
    for w in workers:
        w.start()
    for w in workers:
        w.join()
    assert sorted(keys) == list(range(800))


def test_dropout_and_its_gradient(device, rng):
    x = rng.normal(size=(6, 5))
    key = key_of(9)
    gradcheck(lambda v: random.dropout(v, 0.4, key=key), x)
    gradcheck(lambda v: random.dropout(v, 0.4, key=key, noise_shape=(None, 1)), x)
    w = nnfast.Variable(x)
    with nnfast.GradientTape() as tape:
        y = random.dropout(w, 0.4, key=key)
        key[1] += 1  # the next draw: the gradient keeps the key of its own
    g = tape.gradient(y, w)
    np.testing.assert_array_equal(g.numpy() != 0, y.numpy() != 0)
    assert 0 < (y.numpy() == 0).sum() < 30
    for bad in (-0.1, 1.1, np.nan, "x", None):
        with pytest.raises(ValueError, match=r"\[dropout\] rate must be in"):
            random.dropout(x, bad)
    for bad in ((6,), (6, 2), (1, 1, 1)):
        with pytest.raises(ValueError, match=r"\[dropout\] noise_shape must broadcast"):
            random.dropout(x, 0.5, noise_shape=bad)


def test_permutation_checks_its_argument():
    assert ops.permutation(0).shape == (0,)
    for bad in (1.5, True, None):
        with pytest.raises(TypeError, match=r"\[permutation\] n must be an integer"):
            ops.permutation(bad)
    with pytest.raises(ValueError, match=r"\[permutation\] sizes must not be negative"):
        ops.permutation(-1)
