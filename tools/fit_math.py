"""Fits the polynomials of csrc/cpu/generic/math.h and prints their tables. Needs mpmath; only run to change them.

Each polynomial minimises the largest weighted error on its interval: least squares in 60 digits on Chebyshev points,
whose weights are raised where the error is large until it is level (Lawson's algorithm; C. L. Lawson, 1961). The
coefficients are then rounded to the type one by one, lowest first, and the higher ones fitted again each time, so that
they make up for the rounding.
"""

import mpmath as mp
import numpy as np

mp.mp.dps = 60


def fit(f, weight, low, high, degree, dtype):
    """Coefficients c (lowest first) of the polynomial p with the least max |weight (p - f)| on [low, high]."""
    n = 12 * (degree + 1)
    xs = [(low + high) / 2 + (high - low) / 2 * mp.cos(mp.pi * (2 * i + 1) / (2 * n)) for i in range(n)]
    want, w, c = [f(x) for x in xs], [weight(x) for x in xs], []
    lawson = [mp.mpf(1)] * n
    while len(c) <= degree:
        rest = [y - sum(mp.mpf(float(ck)) * x**k for k, ck in enumerate(c)) for x, y in zip(xs, want)]
        powers = range(len(c), degree + 1)
        for _ in range(12 if not c else 1):
            scale = [wi * mp.sqrt(li) for wi, li in zip(w, lawson)]
            a = mp.matrix([[s * x**k for k in powers] for s, x in zip(scale, xs)])
            b = mp.matrix([s * y for s, y in zip(scale, rest)])
            solution = mp.lu_solve(a.T * a, a.T * b)
            errors = [
                abs(wi * (sum(solution[j] * x**k for j, k in enumerate(powers)) - y)) for wi, x, y in zip(w, xs, rest)
            ]
            if not c:
                lawson = [li * e for li, e in zip(lawson, errors)]
                total = sum(lawson)
                lawson = [li / total * n for li in lawson]
        c.append(dtype(str(solution[0])))
    return c, max(errors)


def q_exp(r):  # expm1(r) = r + r^2 q(r)
    return (mp.expm1(r) - r) / r**2 if r else mp.mpf(1) / 2


def r_log(z):  # log(1 + f) = 2s + s z r(z), s = f / (2 + f), z = s^2
    s = mp.sqrt(z)
    return (2 * mp.atanh(s) - 2 * s) / (s * z) if z else mp.mpf(2) / 3


def p_log(z):  # r_log(z) = 2/3 + z p(z)
    return (r_log(z) - mp.mpf(2) / 3) / z if z else mp.mpf(2) / 5


def p_erf(z):  # erf(x) = x + x p(x^2)
    x = mp.sqrt(z)
    return mp.erf(x) / x - 1 if z else 2 / mp.sqrt(mp.pi) - 1


def g_erf(u):  # erfc(a) = exp(g(a - 2) - a^2)
    a = u + 2
    return mp.log(mp.erfc(a)) + a * a


def s_turn(z):  # sin(2 pi r) = r s(r^2)
    r = mp.sqrt(z)
    return mp.sin(2 * mp.pi * r) / r if z else 2 * mp.pi


def c_turn(z):  # cos(2 pi r) = c(r^2)
    return mp.cos(2 * mp.pi * mp.sqrt(z))


ln2, one = mp.log(2), mp.mpf(1)
s_max = (mp.sqrt(2) - 1) / (mp.sqrt(2) + 1)
# name, function, weight (makes the error relative to the result), interval of float and double, degree of each
TABLES = [
    ("EXPM1", q_exp, abs, (-0.51 * ln2, 0.51 * ln2), (-0.51 * ln2, 0.51 * ln2), 4, 9),
    ("LOG", r_log, lambda z: z + mp.mpf(10) ** -9, (0 * one, s_max**2 * 1.01), (0 * one, s_max**2 * 1.01), 2, 6),
    ("LOG_TAIL", p_log, lambda z: z + mp.mpf(10) ** -9, None, (0 * one, s_max**2 * 1.01), 0, 7),
    ("ERF", p_erf, lambda z: one, (0 * one, one), (0 * one, one), 6, 12),
    ("ERFC", g_erf, lambda u: mp.erfc(u + 2), (-one, 2 * one), (-one, 4 * one), 6, 17),
    ("SIN_TURN", s_turn, lambda z: one, (0 * one, one / 63), (0 * one, one / 63), 3, 7),
    ("COS_TURN", c_turn, lambda z: one, (0 * one, one / 63), (0 * one, one / 63), 4, 8),
]


def main():
    for column, (dtype, name) in enumerate([(np.float32, "float"), (np.float64, "double")]):
        print(f"template <>\nstruct Table<{name}> {{")
        for table in TABLES:
            label, f, weight = table[:3]
            if table[3 + column] is None:  # this type has no need of it
                continue
            low, high = table[3 + column]
            c, error = fit(f, weight, low, high, table[5 + column], dtype)
            digits = 9 if dtype is np.float32 else 17
            numbers = ", ".join(f"{x:#.{digits}g}" + ("f" if column == 0 else "") for x in c)
            print(f"  // largest error {float(error):.1e}\n  static constexpr {name} {label}[] = {{{numbers}}};")
        print("};")


if __name__ == "__main__":
    main()
