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


def fit_rational(f, weight, high, degrees, known, dtype):
    """Coefficients of p and q of these degrees with the least max |weight (p / q - f)| on [0, high].

    As in `fit`; p - q f is linear in the coefficients, and is divided by the q of the round before. `known` has those
    that are given: {("q", 0): 1}.
    """
    n = 6 * (sum(degrees) + 2)
    xs = [high / 2 + high / 2 * mp.cos(mp.pi * (2 * i + 1) / (2 * n)) for i in range(n)]
    want, w = [f(x) for x in xs], [weight(x) for x in xs]
    below, lawson = [mp.mpf(1)] * n, [mp.mpf(1)] * n
    top, bottom = degrees
    order = [(s, k) for k in range(max(degrees) + 1) for s in "pq" if k <= (top if s == "p" else bottom)]
    order = [u for u in order if u not in known]
    c, given = dict(known), len(known)
    while order:
        for _ in range(80 if len(c) == given else 3):
            scale = [wi * mp.sqrt(li) / q for wi, li, q in zip(w, lawson, below)]
            columns = {
                (s, k): [r * x**k * (1 if s == "p" else -y) for r, x, y in zip(scale, xs, want)]
                for s, k in [*order, *c]
            }
            a = mp.matrix([columns[u] for u in order])
            rest = mp.matrix([-sum(v * columns[u][i] for u, v in c.items()) for i in range(n)])
            now = c | dict(zip(order, mp.lu_solve(a * a.T, a * rest)))
            above, below = ([sum(v * x**k for (t, k), v in now.items() if t == s) for x in xs] for s in "pq")
            errors = [abs(wi * (p / q - y)) for wi, p, q, y in zip(w, above, below, want)]
            if len(c) == given:
                lawson = [li * e for li, e in zip(lawson, errors)]
                total = sum(lawson)
                lawson = [li / total * n for li in lawson]
        c[order[0]] = mp.mpf(float(dtype(str(now[order[0]]))))
        order.pop(0)
    return [c["p", k] for k in range(top + 1)], [c["q", k] for k in range(bottom + 1)], max(errors)


def q_exp(r):  # expm1(r) = r + r^2 q(r)
    return (mp.expm1(r) - r) / r**2 if r else mp.mpf(1) / 2


def r_log(z):  # log(1 + f) = 2s + s z r(z), s = f / (2 + f), z = s^2
    s = mp.sqrt(z)
    return (2 * mp.atanh(s) - 2 * s) / (s * z) if z else mp.mpf(2) / 3


def p_log(z):  # r_log(z) = 2/3 + z p(z)
    return (r_log(z) - mp.mpf(2) / 3) / z if z else mp.mpf(2) / 5


def log2_of(z):  # log2(1 + f) = s l(s^2)
    return (2 + z * r_log(z)) / mp.log(2)


def rest_of_power(r):  # 2^r = 1 + r q(r)
    return mp.expm1(r * mp.log(2)) / r if r else mp.log(2)


# tanh and erf are t / (1 + t^2 / 4) with t(x) = k x + x r(x^2).
K_ERF = mp.mpf("1.1283791065216064")  # the float below 2 / sqrt(pi): r(0) > 0 keeps the sign of -0
REST_ERF = mp.mpf(float(np.float32(2 / mp.sqrt(mp.pi) - K_ERF)))


def t_tanh(x):
    return 2 * mp.tanh(x / 2)


def t_erf(x):
    c = mp.erfc(x)
    return 2 * (1 - c) / (1 + mp.sqrt(c * (2 - c)))


def damped(t):
    """The weight that makes an error of t(x) / x one of t / (1 + t^2 / 4), relative to it."""

    def weight(z):
        x = mp.sqrt(z)
        return max((4 - t(x) ** 2) / (4 + t(x) ** 2), mp.mpf("5e-4")) * x / t(x)

    return weight


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
    ("POW_LOG2", log2_of, lambda z: one, None, (0 * one, s_max**2 * 1.01), 0, 4),
    ("POW_EXP2", rest_of_power, abs, None, (-one / 2, one / 2), 0, 5),
    ("ERF", p_erf, lambda z: one, None, (0 * one, one), 0, 12),
    ("ERFC", g_erf, lambda u: mp.erfc(u + 2), None, (-one, 4 * one), 0, 17),
    ("SIN_TURN", s_turn, lambda z: one, (0 * one, one / 63), (0 * one, one / 63), 3, 7),
    ("COS_TURN", c_turn, lambda z: one, (0 * one, one / 63), (0 * one, one / 63), 4, 8),
]
# of float: name, t, k, up to where, degrees, what is known
RATIONAL = [
    ("TANH", t_tanh, mp.mpf(1), mp.mpf("9.8"), (3, 2), {("q", 0): one, ("p", 0): 0 * one}),
    ("ERF", t_erf, K_ERF, mp.mpf("4.2"), (4, 4), {("q", 0): one, ("p", 0): REST_ERF}),
]


def main():
    for label, t, k, high, degrees, known in RATIONAL:

        def r(z, t=t, k=k):
            return t(mp.sqrt(z)) / mp.sqrt(z) - k

        *both, error = fit_rational(r, damped(t), high**2, degrees, known, np.float32)
        print(f"  // largest error {float(error):.1e}")
        for part, c in zip(("TOP", "BOTTOM"), both):
            numbers = ", ".join(f"{float(x):#.9g}f" for x in c)
            print(f"  static constexpr float {label}_{part}[] = {{{numbers}}};")
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
