// Every element-wise op and its gradient, one line each. CPU kernels, bindings and (later) CUDA kernels are made from
// this list: define the macros that you need, include it, and they are undefined again. T is the element type; x, a, b,
// y, dy are vectors of T on the CPU; comparisons give masks for select, & and |; the functions are those of
// cpu/generic/math.h. NaN is handled as NumPy does: it passes through maximum, minimum, clip and relu.
//
// UNARY(op, parameters, y, saved, dx): y from x and the parameters p, q; `saved` is what the gradient needs: x or y.
// BINARY(op, y, da, db): y from a and b.
// COMPARISON(op, mask)
#ifndef UNARY
#define UNARY(...)
#endif
#ifndef BINARY
#define BINARY(...)
#endif
#ifndef COMPARISON
#define COMPARISON(...)
#endif
// clang-format off
UNARY(neg,          0, -x,                                            x, -dy)
UNARY(abs,          0, abs(x),                                        x, dy * sign(x))
UNARY(sign,         0, sign(x),                                       x, dy * T(0))
UNARY(square,       0, x * x,                                         x, dy * (T(2) * x))
UNARY(reciprocal,   0, T(1) / x,                                      y, -dy * (y * y))
UNARY(sqrt,         0, sqrt(x),                                       y, dy * (T(0.5) / y))
UNARY(rsqrt,        0, T(1) / sqrt(x),                                y, dy * (T(-0.5) * y * y * y))
UNARY(exp,          0, exp(x),                                        y, dy * y)
UNARY(expm1,        0, expm1(x),                                      y, dy * (y + T(1)))
UNARY(log,          0, log(x),                                        x, dy * (T(1) / x))
UNARY(log1p,        0, log1p(x),                                      x, dy * (T(1) / (x + T(1))))
UNARY(erf,          0, erf(x),                                        x, dy * (T(1.1283791670955126) * exp(-x * x)))
UNARY(clip,         2, clamp(x, p, q),                                x, select((x >= p) & (x <= q), dy, T(0)))
UNARY(relu,         0, select(x <= T(0), T(0), x),                    y, select(y > T(0), dy, T(0)))
UNARY(leaky_relu,   1, select(x > T(0), x, p * x),                    x, select(x > T(0), dy, dy * p))
UNARY(elu,          1, select(x > T(0), x, p * expm1(x)),             x, select(x > T(0), dy, dy * (p * exp(x))))
UNARY(selu,         0, T(1.0507009873554805) * select(x > T(0), x, T(1.6732632423543772) * expm1(x)),
                                                                      y, dy * select(y > T(0), T(1.0507009873554805), y + T(1.7580993408473766)))
UNARY(sigmoid,      0, sigmoid(x),                                    y, dy * (y * (T(1) - y)))
UNARY(tanh,         0, tanh(x),                                       y, dy * (T(1) - y * y))
UNARY(softplus,     0, select(x > T(0), x, T(0)) + log1p(exp(-abs(x))), x, dy * sigmoid(x))
UNARY(silu,         0, x * sigmoid(x),                                x, dy * silu_slope(x, sigmoid(x)))
UNARY(gelu,         1, gelu(x, p),                                    x, dy * gelu_slope(x, p))
UNARY(softsign,     0, x / (abs(x) + T(1)),                           x, dy / ((abs(x) + T(1)) * (abs(x) + T(1))))
UNARY(hard_sigmoid, 0, clamp(x * T(1. / 6) + T(0.5), T(0), T(1)),     x, select((x > T(-3)) & (x < T(3)), dy * T(1. / 6), T(0)))

BINARY(add,     a + b,     dy,                                        dy)
BINARY(sub,     a - b,     dy,                                        -dy)
BINARY(mul,     a * b,     dy * b,                                    dy * a)
BINARY(div,     a / b,     dy * (T(1) / b),                           dy * (-a / (b * b)))
BINARY(pow,     pow(a, b), select(b == T(0), T(0), dy * (b * pow(a, b - T(1)))),
                           select(a > T(0), dy * (pow(a, b) * log(a)), select(is_nan(a), a, T(0))))
// Where both are equal, each gets half.
BINARY(maximum, max(a, b), select(a == b, dy * T(0.5), select(a > b, dy, T(0))), select(a == b, dy * T(0.5), select(b > a, dy, T(0))))
BINARY(minimum, min(a, b), select(a == b, dy * T(0.5), select(a < b, dy, T(0))), select(a == b, dy * T(0.5), select(b < a, dy, T(0))))

COMPARISON(equal,         a == b)
COMPARISON(not_equal,     a != b)
COMPARISON(less,          a < b)
COMPARISON(less_equal,    a <= b)
COMPARISON(greater,       a > b)
COMPARISON(greater_equal, a >= b)
// clang-format on
#undef UNARY
#undef BINARY
#undef COMPARISON
