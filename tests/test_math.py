"""The functions of csrc/cpu/generic/math.h: how far from the exact value, over all exponents, on every ISA.

Errors are counted in units in the last place (ULP) of the exact value: 0.5 is perfect. The bounds are those that the
comments of math.h state.
"""

import functools
import math

import numpy as np
import pytest

from nnfast import _cpu

LONG = np.longdouble


def _erf(x):
    """erf in long double: the series 2/sqrt(pi) e^(-x^2) sum of 2^n x^(2n+1) / (2n+1)!!, all terms positive."""
    x = np.asarray(x, LONG)
    near = np.abs(x) < 7  # beyond, erf is 1 - 4e-23
    v = x[near]
    z, term, total = v * v, v, v.copy()
    for n in range(1, 180):
        term = term * (2 * z / (2 * n + 1))
        total += term
    y = np.sign(x)
    y[near] = 2 / np.sqrt(LONG("3.14159265358979323846264338327950288")) * np.exp(-z) * total
    return y


def _bound(name, dtype):
    return FLOAT32_BOUNDS.get(name, FUNCTIONS[name][1]) if dtype == np.float32 else FUNCTIONS[name][1]


def _sigmoid(x):
    z = np.exp(-np.abs(x))
    return np.where(x < 0, z, 1) / (1 + z)


# name: (exact function of long doubles, bound in ULP); some have another bound in float32
FUNCTIONS = {
    "exp": (np.exp, 1.1),
    "expm1": (np.expm1, 2.3),
    "log": (np.log, 1.0),
    "log1p": (np.log1p, 1.0),
    "tanh": (np.tanh, 2.7),
    "sigmoid": (_sigmoid, 2.4),
    "erf": (_erf, 1.3),
    "sqrt": (np.sqrt, 0.5),
}
FLOAT32_BOUNDS = {"erf": 2.9}
extended = np.finfo(LONG).nmant > 60
needs_extended = pytest.mark.skipif(not extended, reason="long double is no wider than double here")


def specials(dtype):
    t = np.finfo(dtype)
    values = [0.0, t.smallest_subnormal, 3 * t.smallest_subnormal, t.tiny, t.eps, 0.5, 1.0, 2.0, 20.0, t.max, np.inf]
    return np.array([*values, *(-v for v in values), np.nan], dtype)


def arguments(dtype):
    """All exponents and signs, specials, and the ranges where most happens."""
    rng = np.random.default_rng(20)
    if dtype == np.float32:
        bits = np.arange(0, 2**32, 65521, dtype=np.uint64).astype(np.uint32)
    else:
        bits = rng.integers(0, 2**64, 65536, dtype=np.uint64)
    usual = 8000
    spread = [rng.uniform(-r, r, usual) for r in (1, 8, 100, 750)] + [np.exp(rng.uniform(-40, 6, usual))]
    with np.errstate(all="ignore"):
        return np.concatenate([bits.view(dtype), specials(dtype), *(s.astype(dtype) for s in spread)])


@functools.lru_cache
def case(name, dtype):
    """Arguments and exact results, for all ISAs."""
    x = arguments(dtype)
    with np.errstate(all="ignore"):
        return x, FUNCTIONS[name][0](x.astype(LONG))


def ulps(got, exact, dtype):
    """Distance of each finite result from the exact one; the others must be equal, NaN to NaN, and -0 to -0."""
    t = np.finfo(dtype)
    with np.errstate(all="ignore"):
        rounded = exact.astype(dtype)
        finite = np.isfinite(rounded) & np.isfinite(got)
        same = (got == rounded) | (np.isnan(got) & np.isnan(rounded))
        # one ULP beyond the largest number is Inf
        beyond = np.isinf(rounded) != np.isinf(got)
        near = beyond & (np.abs(exact) > t.max * (1 - t.eps)) & (np.abs(exact) < t.max * (1 + LONG(t.eps)))
        assert (finite | same | near).all(), (got[~(finite | same | near)], exact[~(finite | same | near)])
        zero = (rounded == 0) & (got == 0)
        assert (np.signbit(got) == np.signbit(rounded))[zero].all()
        unit = np.maximum(np.spacing(np.abs(rounded)), t.smallest_subnormal).astype(LONG)
        return np.where(finite, np.abs(got.astype(LONG) - exact) / unit, 0)


@needs_extended
@pytest.mark.parametrize("name", FUNCTIONS)
def test_error_in_ulp(name, isa, dtype):
    x, want = case(name, dtype)
    error = ulps(getattr(_cpu, name)(x), want, dtype)
    worst = int(np.argmax(error))
    assert error[worst] <= _bound(name, dtype), f"{name}({x[worst]!r}) is {float(error[worst]):.2f} ULP off"


@pytest.mark.full
@needs_extended
@pytest.mark.parametrize("name", FUNCTIONS)
def test_error_in_ulp_float32_densely(name, isa):
    exact, bound = FUNCTIONS[name][0], _bound(name, np.float32)
    for start in range(0, 2**32, 2**24 * 8):
        x = np.arange(start, start + 2**24 * 8, 61, dtype=np.uint64).astype(np.uint32).view(np.float32)
        with np.errstate(all="ignore"):
            error = ulps(getattr(_cpu, name)(x), exact(x.astype(LONG)), np.dtype(np.float32))
        assert error.max() <= bound, f"{name}({x[np.argmax(error)]!r})"


def test_tanh_and_erf_end_in_1(isa, dtype):
    """And nowhere go beyond."""
    far = np.concatenate([np.linspace(20, 60, 1000), [1e10, np.finfo(dtype).max, np.inf]]).astype(dtype)
    near = np.arange(2, 12, 1e-3).astype(dtype)
    for f in (_cpu.tanh, _cpu.erf):
        np.testing.assert_array_equal(f(far), 1)
        np.testing.assert_array_equal(f(-far), -1)
        assert (np.abs(f(np.concatenate([near, -near]))) <= 1).all()


@needs_extended
def test_pow_in_ulp(isa, dtype, rng):
    n = 30_000
    top = 88 if dtype == np.float32 else 700
    a = np.exp(rng.uniform(-top, top, n)).astype(dtype)
    b = (rng.uniform(-1.02, 1.02, n) * top / np.maximum(np.abs(np.log(a.astype(np.float64))), 1e-3)).astype(dtype)
    near_one = (1 + rng.uniform(-1e-3, 1e-3, n)).astype(dtype)
    large = rng.uniform(-4e5, 4e5, n).astype(dtype)
    subnormal = (rng.uniform(0, 1, n) * np.finfo(dtype).tiny).astype(dtype)
    small = rng.uniform(-1, 1, n).astype(dtype)
    whole = np.round(rng.uniform(-9, 9, n)).astype(dtype)
    negative = rng.uniform(-50, 0, n).astype(dtype)
    pairs = [(a, b), (near_one, large), (subnormal, small), (a, small), (negative, whole)]
    a, b = (np.concatenate(column) for column in zip(*pairs))
    with np.errstate(all="ignore"):
        want = np.power(a.astype(LONG), b.astype(LONG))
    error = ulps(_cpu.pow(a, b), want, dtype)
    worst = int(np.argmax(error))
    assert error[worst] <= (0.55 if dtype == np.float32 else 1.2), (
        f"pow({a[worst]!r}, {b[worst]!r}) is {float(error[worst]):.2f} ULP off"
    )


def test_pow_of_special_values_as_c(isa, dtype):
    t = np.finfo(dtype)
    values = [0.0, 1.0, 0.5, 2.0, 3.0, 0.7, 1e6 + 1, 2.0**t.nmant + 1, 2.0 ** (t.nmant + 1), t.max, t.tiny, np.inf]
    values = np.array([*values, *(-v for v in values), t.smallest_subnormal, np.nan], dtype)
    a, b = np.meshgrid(values, values)
    got = _cpu.pow(np.ascontiguousarray(a), np.ascontiguousarray(b))
    for x, y, z in zip(a.flat, b.flat, got.flat):
        try:
            want = math.pow(x, y)
        except OverflowError:
            odd = float(y).is_integer() and math.fmod(y, 2) != 0
            want = -math.inf if x < 0 and odd else math.inf
        except ValueError:  # 0 to a negative power, or a negative number to a fraction
            odd = float(y).is_integer() and math.fmod(y, 2) != 0
            want = math.nan if x != 0 else math.copysign(math.inf, x) if odd else math.inf
        with np.errstate(all="ignore"):
            want = dtype.type(want)
        close = z == want or (np.isnan(z) and np.isnan(want)) or abs(z - want) <= 2 * np.spacing(abs(want))
        assert close, (x, y, z, want)
        assert np.isnan(want) or np.signbit(z) == np.signbit(want), (x, y, z, want)


def test_a_value_does_not_depend_on_its_position(isa, dtype, rng):
    """Tails go through the same formula as bodies."""
    x = rng.uniform(0.1, 5, 70).astype(dtype)
    for name in FUNCTIONS:
        f = getattr(_cpu, name)
        whole = f(x)
        for start in (1, 3, 7, 60, 69):
            np.testing.assert_array_equal(f(x[start:]), whole[start:])
