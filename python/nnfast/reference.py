"""The NumPy twin of `_cpu`: the same functions with the same signatures, slow and obvious.

This file is the specification of the kernels: the tests hold every device to it, and a lesson can run on it with
`nnfast.set_device("reference")`. Formulas are written for reading; where a naive formula loses digits, the stable one
stands here, because the kernels are held to it.

Conventions: images are (N, H, W, C) unless channels_first; filters are (R, S, C / groups, F); the gradient of x is dx;
`pads` is ((top, bottom), (left, right)); a `key` is an int64 array (seed, draw) that names a stream of random numbers;
a `status` is the int64 array (code, step, sample, value, now) of csrc/view.h.
"""

import itertools
import math
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

Array = np.ndarray

# ---- arrays ----

_versions: dict[int, int] = {}  # by address: how often kernels have written to the memory of a Variable


def empty(shape: Any, dtype: Any, for_life: bool = False) -> Array:
    """A new array, not initialised. for_life: the memory of a Variable, which has a version."""
    a = np.empty(shape, dtype)
    if for_life:
        _versions[a.ctypes.data] = 0
    return a


def version(array: Array) -> int:
    """How often kernels have written to the Variable that owns this memory."""
    return _versions.get(array.ctypes.data, 0)


def _written(*arrays: Array) -> None:
    for a in arrays:
        if a.ctypes.data in _versions:
            _versions[a.ctypes.data] += 1


def _result(value: Any, out: Array | None) -> Array:
    if out is None:
        return np.asarray(value)
    out[...] = value
    return out


# ---- gemm ----

_ACTIVATIONS = ("linear", "relu", "leaky_relu", "elu", "selu", "sigmoid", "tanh", "softplus", "exp")


def _activate(z: Array, activation: int, slope: float) -> Array:
    name = _ACTIVATIONS[activation]
    if name == "linear":
        return z
    if name in ("leaky_relu", "elu"):
        return globals()[name](z, slope)
    return globals()[name](z)


def gemm(
    a: Array,
    b: Array,
    bias: Array | None = None,
    *,
    alpha: float = 1.0,
    beta: float = 0.0,
    activation: int = 0,
    slope: float = 0.0,
    out: Array | None = None,
    precision: int = 0,
) -> Array:
    """y[...,M,N] = activation(alpha * a[...,M,K] @ b[...,K,N] + beta * out + bias[N]); beta == 0 never reads out."""
    z = a.dtype.type(alpha) * _product(np.matmul, a, b, precision)
    if beta:
        z = z + a.dtype.type(beta) * out
    if bias is not None:
        z = z + bias
    return _result(_activate(z, activation, slope), out)


def _product(multiply: Any, a: Array, b: Array, precision: int) -> Array:
    """multiply(a, b): precision 0 (highest) as it is; 1 (high) of two bfloat16 pieces, 2 (medium) of one.

    Products of pieces are summed in float32. a = a0 + a1 + rest, so a * b is a0 b0 + a0 b1 + a1 b0 + rest: the rest is
    at most 2^-15 |a| |b| of two pieces, 2^-7 |a| |b| of one. Numbers that pieces cannot hold, and float64: precision 0.
    """
    if not precision or a.dtype != np.float32 or not (_has_pieces(a, precision) and _has_pieces(b, precision)):
        return multiply(a, b)
    a0, b0 = _to_bfloat16(a), _to_bfloat16(b)
    if precision == 2:
        return multiply(a0, b0)
    return multiply(_to_bfloat16(a - a0), b0) + multiply(a0, _to_bfloat16(b - b0)) + multiply(a0, b0)


def _to_bfloat16(x: Array) -> Array:
    """The nearest number of 8 significant bits, ties to even."""
    bits = np.ascontiguousarray(x).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) & np.uint32(0xFFFF0000)).view(np.float32)


def _has_pieces(x: Array, precision: int) -> bool:
    """Finite, below 2^63, and for two pieces not within 2^-109 of 0, where the second would be subnormal."""
    size = np.abs(x)
    return bool(np.all(size < 2.0**63) and (precision == 2 or np.all((size == 0) | (size >= 2.0**-109))))


def bias_activation_gradient(
    dy: Array, y: Array | None, *, activation: int = 0, slope: float = 0.0, axis: int = -1, needs_db: bool = True
) -> tuple[Array, Array | None]:
    """Backwards through y = activation(z + bias): dz, and the sum of dz over all axes but `axis` (db).

    y is the result of the activation (None where activation is 0: then dz is dy itself).
    """
    dz = dy if activation == 0 else dy * _activation_slope(y, activation, slope)
    others = tuple(i for i in range(dy.ndim) if i != axis % dy.ndim)
    return dz, (dz.sum(others) if needs_db else None)


def gemm_gradient(
    a: Array,
    b: Array,
    y: Array | None = None,
    *,
    activation: int = 0,
    slope: float = 0.0,
    needs_sum: bool = False,
    precision: int = 0,
) -> tuple[Array, Array | None]:
    """d = (a[M,K] @ b[K,N]) * activation'(from its result y[M,N]), and the sum of d over its rows, (N,) or None."""
    d = _product(np.matmul, a, b, precision)
    if activation:
        d = d * _activation_slope(y, activation, slope)
    return d, (d.sum(0) if needs_sum else None)


def _activation_slope(y: Any, activation: int, slope: float) -> Array:
    """d activation(z) / d z, from y = activation(z)."""
    one = y.dtype.type(1)
    slope = y.dtype.type(slope)
    name = _ACTIVATIONS[activation]
    if name == "linear":
        return np.ones_like(y)
    if name == "relu":
        return np.where(y > 0, one, 0 * one)
    if name == "leaky_relu":
        return np.where(y > 0, one, slope)
    if name == "elu":
        return np.where(y > 0, one, y + slope)
    if name == "selu":
        return np.where(y > 0, _SELU_SCALE * one, y + _SELU_SCALE * _SELU_ALPHA * one)
    if name == "sigmoid":
        return y * (1 - y)
    if name == "tanh":
        return 1 - y * y
    if name == "softplus":
        return -np.expm1(-y)
    return y  # exp


# ---- element-wise: one operand ----
# For every op f there is f(x, *parameters, out=None) and f_gradient(dy, s, *parameters), where s is the result y for
# the ops in GRADIENT_FROM_RESULT and the operand x for the others.

_SELU_SCALE, _SELU_ALPHA = 1.0507009873554805, 1.6732632423543772
_erf = np.vectorize(math.erf, otypes=[float])


def _np_erf(x: Array) -> Array:
    return _erf(x).astype(x.dtype) if x.size else x.copy()


def _sigmoid(x: Array) -> Array:
    return np.where(x >= 0, 1 / (1 + np.exp(-np.abs(x))), np.exp(-np.abs(x)) / (1 + np.exp(-np.abs(x))))


def _softplus(x: Array) -> Array:
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def _gelu(x: Array, approximate: float) -> Array:
    if approximate:
        return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    return 0.5 * x * (1 + _np_erf(x / math.sqrt(2)))


def _gelu_slope(x: Array, approximate: float) -> Array:
    if approximate:
        c = math.sqrt(2 / math.pi)
        t = np.tanh(c * (x + 0.044715 * x**3))
        return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * c * (1 + 3 * 0.044715 * x * x)
    return 0.5 * (1 + _np_erf(x / math.sqrt(2))) + x * np.exp(-0.5 * x * x) / math.sqrt(2 * math.pi)


# name: (forward(x, *parameters), slope(s, *parameters): dx / dy)
UNARY: dict[str, tuple[Any, Any]] = {
    "neg": (lambda x: -x, lambda x: -np.ones_like(x)),
    "abs": (np.abs, np.sign),
    "exp": (np.exp, lambda y: y),
    "expm1": (np.expm1, lambda y: y + 1),
    "log": (np.log, lambda x: 1 / x),
    "log1p": (np.log1p, lambda x: 1 / (x + 1)),
    "sqrt": (np.sqrt, lambda y: 0.5 / y),
    "rsqrt": (lambda x: 1 / np.sqrt(x), lambda y: -0.5 * y * y * y),
    "square": (lambda x: x * x, lambda x: 2 * x),
    "reciprocal": (lambda x: 1 / x, lambda y: -y * y),
    "sign": (np.sign, lambda x: np.zeros_like(x)),
    "erf": (_np_erf, lambda x: 2 / math.sqrt(math.pi) * np.exp(-x * x)),
    "clip": (lambda x, low, high: np.minimum(np.maximum(x, low), high), lambda x, low, high: (x >= low) & (x <= high)),
    "relu": (lambda x: np.maximum(x, 0), lambda y: y > 0),
    "leaky_relu": (lambda x, slope: np.where(x > 0, x, slope * x), lambda x, slope: np.where(x > 0, 1, slope)),
    "elu": (
        lambda x, alpha: np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0))),
        lambda x, alpha: np.where(x > 0, 1, alpha * np.exp(np.minimum(x, 0))),
    ),
    "selu": (
        lambda x: _SELU_SCALE * np.where(x > 0, x, _SELU_ALPHA * np.expm1(np.minimum(x, 0))),
        lambda y: np.where(y > 0, _SELU_SCALE, y + _SELU_SCALE * _SELU_ALPHA),
    ),
    "sigmoid": (_sigmoid, lambda y: y * (1 - y)),
    "tanh": (np.tanh, lambda y: 1 - y * y),
    "softplus": (_softplus, _sigmoid),
    "silu": (lambda x: x * _sigmoid(x), lambda x: _sigmoid(x) * (1 + x * (1 - _sigmoid(x)))),
    "gelu": (_gelu, _gelu_slope),
    "softsign": (lambda x: x / (1 + np.abs(x)), lambda x: 1 / (1 + np.abs(x)) ** 2),
    "hard_sigmoid": (
        lambda x: np.minimum(np.maximum(x / 6 + 0.5, 0), 1),
        lambda x: np.where((x > -3) & (x < 3), 1 / 6, 0),
    ),
}
GRADIENT_FROM_RESULT = {"exp", "expm1", "sqrt", "rsqrt", "reciprocal", "relu", "selu", "sigmoid", "tanh"}

# ---- element-wise: two operands, broadcast ----
# f(a, b, out=None) and f_gradient(dy, a, b, needs_a, needs_b) -> (da or None, db or None), each of its operand's shape.
# Where both are equal, maximum and minimum give half of dy to each.

_half = lambda picked, tie: np.where(tie, 0.5, picked)  # noqa: E731

# name: (forward(a, b), slope of a, slope of b)
BINARY: dict[str, tuple[Any, Any, Any]] = {
    "add": (np.add, lambda a, b: 1, lambda a, b: 1),
    "sub": (np.subtract, lambda a, b: 1, lambda a, b: -1),
    "mul": (np.multiply, lambda a, b: b, lambda a, b: a),
    "div": (np.divide, lambda a, b: 1 / b, lambda a, b: -a / (b * b)),
    "pow": (
        np.power,
        lambda a, b: np.where(b == 0, 0, b * np.power(a, b - 1)),
        lambda a, b: np.where(a > 0, np.power(a, b) * np.log(np.where(a > 0, a, 1)), np.where(np.isnan(a), a, 0)),
    ),
    "maximum": (np.maximum, lambda a, b: _half(a > b, a == b), lambda a, b: _half(b > a, a == b)),
    "minimum": (np.minimum, lambda a, b: _half(a < b, a == b), lambda a, b: _half(b < a, a == b)),
}
COMPARISONS: dict[str, Any] = {
    "equal": np.equal,
    "not_equal": np.not_equal,
    "less": np.less,
    "less_equal": np.less_equal,
    "greater": np.greater,
    "greater_equal": np.greater_equal,
}


def _quiet(f: Any, *args: Any) -> Any:
    with np.errstate(all="ignore"):
        return f(*args)


def _make_unary(name: str) -> None:
    forward, slope = UNARY[name]

    def f(x: Array, *parameters: float, out: Array | None = None) -> Array:
        return _result(np.asarray(_quiet(forward, x, *parameters), x.dtype), out)

    def f_gradient(dy: Array, s: Array, *parameters: float) -> Array:
        return np.asarray(dy * np.asarray(_quiet(slope, s, *parameters), s.dtype), s.dtype)

    globals()[name], globals()[name + "_gradient"] = f, f_gradient


def _make_binary(name: str) -> None:
    forward, slope_a, slope_b = BINARY[name]

    def f(a: Array, b: Array, out: Array | None = None) -> Array:
        return _result(np.asarray(_quiet(forward, a, b), a.dtype), out)

    def f_gradient(
        dy: Array, a: Array, b: Array, needs_a: bool = True, needs_b: bool = True
    ) -> tuple[Array | None, Array | None]:
        da = sum_to(np.asarray(dy * _quiet(slope_a, a, b), a.dtype), a.shape) if needs_a else None
        db = sum_to(np.asarray(dy * _quiet(slope_b, a, b), a.dtype), b.shape) if needs_b else None
        return da, db

    globals()[name], globals()[name + "_gradient"] = f, f_gradient


def _make_comparison(name: str) -> None:
    def f(a: Array, b: Array, out: Array | None = None) -> Array:
        return _result(COMPARISONS[name](a, b), out)

    globals()[name] = f


for _name in UNARY:
    _make_unary(_name)
for _name in BINARY:
    _make_binary(_name)
for _name in COMPARISONS:
    _make_comparison(_name)


def where(condition: Array, a: Array, b: Array, out: Array | None = None) -> Array:
    """a where condition (bool) holds, else b; all three broadcast."""
    return _result(np.where(condition, a, b), out)


def where_gradient(
    dy: Array, condition: Array, a: Array, b: Array, needs_a: bool = True, needs_b: bool = True
) -> tuple[Array | None, Array | None]:
    """dy where condition holds is da, the rest is db; each of its operand's shape."""
    zero = dy.dtype.type(0)
    da = sum_to(np.where(condition, dy, zero), a.shape) if needs_a else None
    db = sum_to(np.where(condition, zero, dy), b.shape) if needs_b else None
    return da, db


# ---- reductions ----
# axes: a tuple of non-negative, distinct axes. Nothing to reduce over: sum 0, prod 1, mean and var NaN; max, min,
# argmax and argmin of nothing raise.


def sum_to(x: Array, shape: Any) -> Array:
    """Undoes broadcasting: sums x over the axes along which an array of `shape` was repeated."""
    shape = tuple(shape)
    if x.shape == shape:
        return x
    lead = x.ndim - len(shape)
    axes = tuple(range(lead)) + tuple(i + lead for i, n in enumerate(shape) if n == 1 and x.shape[i + lead] != 1)
    return np.asarray(x.sum(axes, keepdims=True).reshape(shape), x.dtype)


def _count(x: Array, axes: tuple[int, ...]) -> int:
    return math.prod(x.shape[i] for i in axes)


def _expand(y: Array, x_ndim: int, axes: tuple[int, ...]) -> Array:
    """y with the reduced axes back as size 1."""
    return y if y.ndim == x_ndim else np.expand_dims(y, axes)


def sum(x: Array, axes: tuple[int, ...], keepdims: bool = False) -> Array:
    return np.asarray(x.sum(tuple(axes), keepdims=keepdims), x.dtype)


def mean(x: Array, axes: tuple[int, ...], keepdims: bool = False) -> Array:
    return np.asarray(_quiet(np.divide, x.sum(tuple(axes), keepdims=keepdims), x.dtype.type(_count(x, axes))), x.dtype)


def max(x: Array, axes: tuple[int, ...], keepdims: bool = False) -> Array:
    return np.asarray(x.max(tuple(axes), keepdims=keepdims))


def min(x: Array, axes: tuple[int, ...], keepdims: bool = False) -> Array:
    return np.asarray(x.min(tuple(axes), keepdims=keepdims))


def prod(x: Array, axes: tuple[int, ...], keepdims: bool = False) -> Array:
    return np.asarray(x.prod(tuple(axes), keepdims=keepdims), x.dtype)


def var(x: Array, axes: tuple[int, ...], keepdims: bool = False) -> Array:
    """Mean squared distance from the mean (biased, as NumPy's var)."""
    d = x - mean(x, axes, True)
    return mean(d * d, axes, keepdims)


def logsumexp(x: Array, axes: tuple[int, ...], keepdims: bool = False) -> Array:
    """log(sum(exp(x))), shifted by the largest element so that nothing overflows."""
    top = x.max(tuple(axes), keepdims=True, initial=-np.inf)
    top = np.where(np.isfinite(top), top, 0).astype(x.dtype)
    y = _quiet(lambda: np.log(np.exp(x - top).sum(tuple(axes), keepdims=True)) + top)
    return np.asarray(y if keepdims else y.reshape([n for i, n in enumerate(x.shape) if i not in axes]), x.dtype)


def argmax(x: Array, axis: int, keepdims: bool = False) -> Array:
    """Index (int64) of the first largest element along axis; the first NaN wins."""
    return np.asarray(np.argmax(x, axis, keepdims=keepdims), np.int64)


def argmin(x: Array, axis: int, keepdims: bool = False) -> Array:
    """Index (int64) of the first smallest element along axis; the first NaN wins."""
    return np.asarray(np.argmin(x, axis, keepdims=keepdims), np.int64)


def extremum_gradient(dy: Array, x: Array, y: Array, axes: tuple[int, ...]) -> Array:
    """dx of max or min: dy, shared equally among the elements that equal the result."""
    hit = x == _expand(y, x.ndim, axes)
    return np.asarray(_quiet(lambda: hit * _expand(dy, x.ndim, axes) / hit.sum(tuple(axes), keepdims=True)), x.dtype)


def prod_gradient(dy: Array, x: Array, axes: tuple[int, ...]) -> Array:
    """dx of prod: dy times the product of all the others, also where elements are zero."""
    axes = tuple(axes)
    zeros = (x == 0).sum(axes, keepdims=True)
    others = np.where(x == 0, 1, x).prod(axes, keepdims=True)
    slope = _quiet(lambda: np.where(zeros == 0, others / x, np.where((zeros == 1) & (x == 0), others, 0)))
    return np.asarray(_expand(dy, x.ndim, axes) * slope, x.dtype)


def var_gradient(dy: Array, x: Array, axes: tuple[int, ...]) -> Array:
    return np.asarray(_expand(dy, x.ndim, axes) * 2 * (x - mean(x, axes, True)) / _count(x, axes), x.dtype)


def logsumexp_gradient(dy: Array, x: Array, y: Array, axes: tuple[int, ...]) -> Array:
    return np.asarray(_quiet(lambda: _expand(dy, x.ndim, axes) * np.exp(x - _expand(y, x.ndim, axes))), x.dtype)


# ---- conv2d ----


def _last(x: Array, channels_first: bool) -> Array:
    return x.transpose(0, 2, 3, 1) if channels_first else x


def _back(y: Array, channels_first: bool) -> Array:
    return np.ascontiguousarray(y.transpose(0, 3, 1, 2)) if channels_first else y


def _windows(x: Array, kernel: Any, strides: Any, dilation: Any, out: Any) -> Array:
    """A view (N, P, Q, R, S, C) of the windows of a padded (N, H, W, C)."""
    n, h, w, c = x.strides
    return as_strided(
        x,
        (x.shape[0], *out, *kernel, x.shape[3]),
        (n, h * strides[0], w * strides[1], h * dilation[0], w * dilation[1], c),
    )


def _padded(x: Array, pads: Any, value: float = 0.0) -> Array:
    return np.pad(x, ((0, 0), pads[0], pads[1], (0, 0)), constant_values=value)


def _out_size(n: int, k: int, stride: int, pad: Any, dilation: int) -> int:
    return (n + pad[0] + pad[1] - (k - 1) * dilation - 1) // stride + 1


def conv2d(
    x: Array,
    w: Array,
    b: Array | None = None,
    *,
    strides: Any = (1, 1),
    pads: Any = ((0, 0), (0, 0)),
    dilation: Any = (1, 1),
    groups: int = 1,
    channels_first: bool = False,
    activation: int = 0,
    slope: float = 0.0,
    out: Array | None = None,
    precision: int = 0,
) -> Array:
    """y[n,p,q,f] = activation(sum over r,s,c of x[n,i,j,c] w[r,s,c,f] + b[f]), 0 outside x.

    i = p * stride + r * dilation - top, j = q * stride + s * dilation - left;
    x (N, H, W, C) or, channels_first, (N, C, H, W); w (R, S, C / groups, F); y (N, P, Q, F) or (N, F, P, Q).
    """
    x = _last(x, channels_first)
    size = [_out_size(x.shape[1 + i], w.shape[i], strides[i], pads[i], dilation[i]) for i in (0, 1)]
    cg, fg = w.shape[2], w.shape[3] // groups

    def convolve(x: Array, w: Array) -> Array:
        win = _windows(_padded(x, pads), w.shape[:2], strides, dilation, size)
        parts = [(win[..., g * cg : (g + 1) * cg], w[..., g * fg : (g + 1) * fg]) for g in range(groups)]
        return np.concatenate([np.einsum("npqrsc,rscf->npqf", a, b, optimize=True) for a, b in parts], axis=-1)

    y = _product(convolve, x, w, precision)
    y = np.asarray(_activate(y if b is None else y + b, activation, slope), x.dtype)
    return _result(_back(y, channels_first), out)


def conv2d_input_gradient(
    dz: Array,
    w: Array,
    x_shape: Any,
    *,
    strides: Any = (1, 1),
    pads: Any = ((0, 0), (0, 0)),
    dilation: Any = (1, 1),
    groups: int = 1,
    channels_first: bool = False,
    precision: int = 0,
) -> Array:
    """dx of conv2d, of shape x_shape, from dz = the gradient of the sum before the activation."""
    dz = _last(dz, channels_first)
    n, h, wd, c = (x_shape[0], *x_shape[2:], x_shape[1]) if channels_first else x_shape
    cg, fg = w.shape[2], w.shape[3] // groups

    def spread(dz: Array, w: Array) -> Array:
        dx = np.zeros((n, h + pads[0][0] + pads[0][1], wd + pads[1][0] + pads[1][1], c), dz.dtype)
        win = _windows(dx, w.shape[:2], strides, dilation, dz.shape[1:3])
        for g, r, s in itertools.product(range(groups), range(w.shape[0]), range(w.shape[1])):
            win[:, :, :, r, s, g * cg : (g + 1) * cg] += (
                dz[..., g * fg : (g + 1) * fg] @ w[r, s, :, g * fg : (g + 1) * fg].T
            )
        return dx

    dx = _product(spread, dz, w, precision)
    return _back(np.ascontiguousarray(dx[:, pads[0][0] : pads[0][0] + h, pads[1][0] : pads[1][0] + wd]), channels_first)


def conv2d_filter_gradient(
    x: Array,
    dz: Array,
    w_shape: Any,
    *,
    strides: Any = (1, 1),
    pads: Any = ((0, 0), (0, 0)),
    dilation: Any = (1, 1),
    groups: int = 1,
    channels_first: bool = False,
    precision: int = 0,
) -> Array:
    """dw of conv2d, of shape w_shape."""
    x, dz = _last(x, channels_first), _last(dz, channels_first)
    cg, fg = w_shape[2], w_shape[3] // groups

    def sums(x: Array, dz: Array) -> Array:
        win = _windows(_padded(x, pads), w_shape[:2], strides, dilation, dz.shape[1:3])
        parts = [(win[..., g * cg : (g + 1) * cg], dz[..., g * fg : (g + 1) * fg]) for g in range(groups)]
        return np.concatenate([np.einsum("npqrsc,npqf->rscf", a, b, optimize=True) for a, b in parts], axis=-1)

    return _product(sums, x, dz, precision).astype(x.dtype)


# ---- pool2d ----


def pool_output_size(n: int, k: int, stride: int, pad: Any, dilation: int, ceil_mode: bool) -> int:
    """Windows along one axis. With ceil_mode a last window may hang over, but must begin inside the input or the
    padding before it."""
    span = n + pad[0] + pad[1] - (k - 1) * dilation - 1
    size = (-(-span // stride) if ceil_mode else span // stride) + 1
    if ceil_mode and (size - 1) * stride >= n + pad[0]:
        size -= 1
    return size


def _pool_windows(x: Array, pool: Any, strides: Any, pads: Any, dilation: Any, ceil_mode: bool, fill: float) -> Array:
    size = [pool_output_size(x.shape[1 + i], pool[i], strides[i], pads[i], dilation[i], ceil_mode) for i in (0, 1)]
    need = [(size[i] - 1) * strides[i] + (pool[i] - 1) * dilation[i] + 1 for i in (0, 1)]
    after = [need[i] - x.shape[1 + i] - pads[i][0] for i in (0, 1)]
    grown = _padded(x, [(pads[i][0], after[i] if after[i] > 0 else 0) for i in (0, 1)], fill)
    return _windows(grown, pool, strides, dilation, size)


def max_pool2d(
    x: Array,
    *,
    pool: Any,
    strides: Any,
    pads: Any = ((0, 0), (0, 0)),
    dilation: Any = (1, 1),
    ceil_mode: bool = False,
    channels_first: bool = False,
    indices: bool = False,
) -> Any:
    """The largest of each window; padding never wins, NaN always does.

    indices: also the position h * W + w (int64) in the input of each winner, the first of equals.
    """
    xl = _last(x, channels_first)
    win = _pool_windows(xl, pool, strides, pads, dilation, ceil_mode, -np.inf)
    y = _back(np.asarray(win.max((3, 4))), channels_first)
    return (y, _back(_winners(xl, pool, strides, pads, dilation, ceil_mode), channels_first)) if indices else y


def _winners(x: Array, pool: Any, strides: Any, pads: Any, dilation: Any, ceil_mode: bool) -> Array:
    """Positions h * W + w of the winners, (N, P, Q, C): the first of equals inside the input; padding never wins."""
    win = _pool_windows(x, pool, strides, pads, dilation, ceil_mode, -np.inf)
    inside = _pool_windows(np.ones(x.shape, x.dtype), pool, strides, pads, dilation, ceil_mode, 0.0) > 0
    flat = lambda v: v.transpose(0, 1, 2, 5, 3, 4).reshape(*v.shape[:3], v.shape[5], pool[0] * pool[1])  # noqa: E731
    candidates = np.where(np.isnan(flat(win)), np.inf, flat(win))
    score = np.where(flat(inside), candidates, -np.inf)
    best = np.where(flat(inside) & (score == score.max(-1, keepdims=True)), 1, 0)
    nan = np.isnan(flat(win))
    k = np.where(nan.any(-1), np.argmax(nan, -1), np.argmax(best, -1))
    r, s = np.divmod(k, pool[1])
    p = np.arange(win.shape[1])[:, None, None]
    q = np.arange(win.shape[2])[None, :, None]
    h = p * strides[0] + r * dilation[0] - pads[0][0]
    w = q * strides[1] + s * dilation[1] - pads[1][0]
    return np.asarray(h * x.shape[2] + w, np.int64)


def max_pool2d_gradient(
    dy: Array,
    x: Array,
    *,
    pool: Any,
    strides: Any,
    pads: Any = ((0, 0), (0, 0)),
    dilation: Any = (1, 1),
    ceil_mode: bool = False,
    channels_first: bool = False,
) -> Array:
    """dx of max_pool2d: dy goes to the winner of each window."""
    xl, dyl = _last(x, channels_first), _last(dy, channels_first)
    at = _winners(xl, pool, strides, pads, dilation, ceil_mode)
    n, _, _, c = np.indices(at.shape)
    dx = np.zeros(xl.shape, x.dtype)
    np.add.at(dx, (n, at // xl.shape[2], at % xl.shape[2], c), dyl)
    return _back(dx, channels_first)


def _pool_counts(
    shape: Any, pool: Any, strides: Any, pads: Any, dilation: Any, ceil_mode: bool, count_include_pad: bool
) -> Array:
    """By how many cells each window's sum is divided, (P, Q). Padding counts if asked; what hangs over never does."""
    cells = np.ones((1, shape[1], shape[2], 1))
    if count_include_pad:
        cells = np.ones((1, shape[1] + pads[0][0] + pads[0][1], shape[2] + pads[1][0] + pads[1][1], 1))
        size = [pool_output_size(shape[1 + i], pool[i], strides[i], pads[i], dilation[i], ceil_mode) for i in (0, 1)]
        need = [(size[i] - 1) * strides[i] + (pool[i] - 1) * dilation[i] + 1 - cells.shape[1 + i] for i in (0, 1)]
        grown = _padded(cells, [(0, n if n > 0 else 0) for n in need])
        return _windows(grown, pool, strides, dilation, size).sum((3, 4))[0, :, :, 0]
    return _pool_windows(cells, pool, strides, pads, dilation, ceil_mode, 0.0).sum((3, 4))[0, :, :, 0]


def avg_pool2d(
    x: Array,
    *,
    pool: Any,
    strides: Any,
    pads: Any = ((0, 0), (0, 0)),
    dilation: Any = (1, 1),
    ceil_mode: bool = False,
    count_include_pad: bool = False,
    channels_first: bool = False,
) -> Array:
    """The mean of each window, over the cells inside the input (or, count_include_pad, over the padding too)."""
    x = _last(x, channels_first)
    win = _pool_windows(x, pool, strides, pads, dilation, ceil_mode, 0.0)
    counts = _pool_counts(x.shape, pool, strides, pads, dilation, ceil_mode, count_include_pad)
    return _back(np.asarray(win.sum((3, 4)) / counts[:, :, None], x.dtype), channels_first)


def avg_pool2d_gradient(
    dy: Array,
    x_shape: Any,
    *,
    pool: Any,
    strides: Any,
    pads: Any = ((0, 0), (0, 0)),
    dilation: Any = (1, 1),
    ceil_mode: bool = False,
    count_include_pad: bool = False,
    channels_first: bool = False,
) -> Array:
    """dx of avg_pool2d: each cell of a window gets dy / count."""
    dy = _last(dy, channels_first)
    shape = (x_shape[0], *x_shape[2:], x_shape[1]) if channels_first else tuple(x_shape)
    counts = _pool_counts(shape, pool, strides, pads, dilation, ceil_mode, count_include_pad)
    share = dy / counts[:, :, None]
    dx = np.zeros(shape, dy.dtype)
    for p, q, r, s in itertools.product(range(dy.shape[1]), range(dy.shape[2]), range(pool[0]), range(pool[1])):
        h, w = p * strides[0] + r * dilation[0] - pads[0][0], q * strides[1] + s * dilation[1] - pads[1][0]
        if 0 <= h < shape[1] and 0 <= w < shape[2]:
            dx[:, h, w] += share[:, p, q].astype(dy.dtype)
    return _back(dx, channels_first)


# ---- upsample2d ----


def _taps(n: int, factor: int, bilinear: bool) -> tuple[Array, Array, Array]:
    """For each of n * factor places: between which two of the n it lies, and how far from the first."""
    place = np.arange(n * factor)
    if not bilinear:
        return place // factor, place // factor, np.zeros(n * factor)
    at = np.clip((place + 0.5) / factor - 0.5, 0, np.maximum(n - 1, 0))
    low = at.astype(np.int64)
    return low, np.minimum(low + 1, n - 1), at - low


def upsample2d(x: Array, *, size: Any, bilinear: bool = False, channels_first: bool = False) -> Array:
    """Images with size times as many rows and columns: copies of pixels, or values between their centres."""
    y = _last(x, channels_first)
    for axis, factor in ((1, size[0]), (2, size[1])):
        low, high, t = _taps(y.shape[axis], factor, bilinear)
        t = t.astype(x.dtype).reshape([-1 if i == axis else 1 for i in range(4)])
        y = y.take(low, axis) * (1 - t) + y.take(high, axis) * t
    return np.ascontiguousarray(_back(y, channels_first))


def upsample2d_gradient(
    dy: Array, x_shape: Any, *, size: Any, bilinear: bool = False, channels_first: bool = False
) -> Array:
    d = _last(dy, channels_first)
    shape = _last(np.empty(tuple(x_shape), dy.dtype), channels_first).shape
    for axis, factor in ((1, size[0]), (2, size[1])):
        low, high, t = _taps(shape[axis], factor, bilinear)
        t = t.astype(dy.dtype).reshape(-1, 1, 1, 1)
        moved = np.moveaxis(d, axis, 0)
        dx = np.zeros((shape[axis], *moved.shape[1:]), dy.dtype)
        np.add.at(dx, low, moved * (1 - t))
        np.add.at(dx, high, moved * t)
        d = np.moveaxis(dx, 0, axis)
    return np.ascontiguousarray(_back(d, channels_first))


# ---- norm ----


def _along(v: Array | None, x: Array, axis: int, absent: float) -> Any:
    """One number per channel, ready to broadcast to x."""
    return absent if v is None else v.reshape([-1 if i == axis % x.ndim else 1 for i in range(x.ndim)])


def batch_norm(
    x: Array, gamma: Array | None, beta: Array | None, *, axis: int, epsilon: float
) -> tuple[Array, Array, Array]:
    """(y, mean, variance): each channel, an entry along axis, gets mean beta and variance gamma^2.

    Ioffe and Szegedy, 2015. The variance is biased; mean and variance of nothing are 0.
    """
    axes = tuple(i for i in range(x.ndim) if i != axis % x.ndim)
    if _count(x, axes):
        m, v = mean(x, axes), var(x, axes)
    else:
        m = v = np.zeros(x.shape[axis], x.dtype)
    return batch_norm_inference(x, gamma, beta, m, v, axis=axis, epsilon=epsilon), m, v


def batch_norm_inference(
    x: Array,
    gamma: Array | None,
    beta: Array | None,
    mean: Array,
    variance: Array,
    *,
    axis: int,
    epsilon: float,
) -> Array:
    """(x - mean) / sqrt(variance + epsilon) * gamma + beta, with one number of each per channel."""
    m, v = _along(mean, x, axis, 0), _along(variance, x, axis, 1)
    y = (x - m) / np.sqrt(v + epsilon) * _along(gamma, x, axis, 1) + _along(beta, x, axis, 0)
    return np.asarray(y, x.dtype)


def batch_norm_gradient(
    dy: Array,
    x: Array,
    gamma: Array | None,
    mean: Array,
    variance: Array,
    *,
    axis: int,
    epsilon: float,
    through_statistics: bool = True,
    needs_dx: bool = True,
    needs_dgamma: bool = True,
    needs_dbeta: bool = True,
) -> tuple[Array | None, Array | None, Array | None]:
    """(dx, dgamma, dbeta). through_statistics: mean and variance are those of x, so x moves them too."""
    axes = tuple(i for i in range(x.ndim) if i != axis % x.ndim)
    scale = 1 / np.sqrt(_along(variance, x, axis, 1) + epsilon)
    centred = (x - _along(mean, x, axis, 0)) * scale
    dbeta, dgamma = sum(dy, axes), sum(dy * centred, axes)
    dx = dy
    if through_statistics and x.size:
        dx = dx - (_along(dbeta, x, axis, 0) + centred * _along(dgamma, x, axis, 0)) / _count(x, axes)
    dx = np.asarray(dx * scale * _along(gamma, x, axis, 1), x.dtype)
    return (
        dx if needs_dx else None,
        dgamma.astype(x.dtype) if needs_dgamma else None,
        dbeta.astype(x.dtype) if needs_dbeta else None,
    )


def layer_norm(
    x: Array, gamma: Array | None, beta: Array | None, *, axis: int, epsilon: float
) -> tuple[Array, Array, Array]:
    """(y, mean, rstd): each row, the axes from axis on, gets mean 0 and variance 1, then times gamma, plus beta.

    Ba, Kiros and Hinton, 2016. rstd is 1 / sqrt(variance + epsilon).
    """
    axes = tuple(range(axis % x.ndim, x.ndim))
    if _count(x, axes):
        m, v = mean(x, axes, True), var(x, axes, True)
    else:
        m = v = np.zeros([1 if i in axes else n for i, n in enumerate(x.shape)], x.dtype)
    rstd = 1 / np.sqrt(v + x.dtype.type(epsilon))
    y = (x - m) * rstd * (1 if gamma is None else gamma) + (0 if beta is None else beta)
    return np.asarray(y, x.dtype), m.squeeze(axes), np.asarray(rstd, x.dtype).squeeze(axes)


def layer_norm_gradient(
    dy: Array,
    x: Array,
    gamma: Array | None,
    mean: Array,
    rstd: Array,
    *,
    axis: int,
    needs_dx: bool = True,
    needs_dgamma: bool = True,
    needs_dbeta: bool = True,
) -> tuple[Array | None, Array | None, Array | None]:
    """(dx, dgamma, dbeta)."""
    first = axis % x.ndim
    row, batch = tuple(range(first, x.ndim)), tuple(range(first))
    scale = np.expand_dims(rstd, row)
    centred = (x - np.expand_dims(mean, row)) * scale
    d = dy * (1 if gamma is None else gamma)
    count = _count(x, row) or 1
    dx = scale * (d - sum(d, row, True) / count - centred * (sum(d * centred, row, True) / count))
    return (
        np.asarray(dx, x.dtype) if needs_dx else None,
        np.asarray(sum(dy * centred, batch), x.dtype) if needs_dgamma else None,
        np.asarray(sum(dy, batch), x.dtype) if needs_dbeta else None,
    )


# ---- softmax ----


def softmax(x: Array, axis: int = -1) -> Array:
    """exp(x - max) / sum."""
    if not x.size:
        return x.copy()
    e = _quiet(lambda: np.exp(x - x.max(axis, keepdims=True)))
    return np.asarray(e / e.sum(axis, keepdims=True), x.dtype)


def softmax_gradient(dy: Array, y: Array, axis: int = -1) -> Array:
    return np.asarray(y * (dy - (dy * y).sum(axis, keepdims=True)), y.dtype)


def log_softmax(x: Array, axis: int = -1) -> Array:
    if not x.size:
        return x.copy()
    shifted = _quiet(lambda: x - x.max(axis, keepdims=True))
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis, keepdims=True)), x.dtype)


def log_softmax_gradient(dy: Array, y: Array, axis: int = -1) -> Array:
    return np.asarray(dy - np.exp(y) * dy.sum(axis, keepdims=True), y.dtype)


# Status codes of csrc/view.h.
BAD_LABEL, BAD_LABEL_FLOAT, BAD_LABEL_ROW, BAD_INDEX, NON_FINITE_LOSS, WAITING = 1, 2, 3, 4, 5, 6


def _report(op: str, status: Array | None, code: int, sample: int, value: Any, error: type[Exception]) -> None:
    """Writes the first problem to the status word or, if the caller keeps none, raises."""
    if status is None:
        raise error(f"[{op}] sample {sample} holds {value}, which is out of range")
    if status[0] == 0:
        bits = np.int64(value) if isinstance(value, (int, np.integer)) else np.float64(value).view(np.int64)
        status[:4] = code, status[4], sample, bits


def softmax_xent(
    logits: Array,
    labels: Array,
    *,
    sample_weight: Array | None = None,
    class_weight: Array | None = None,
    ignore_class: int | None = None,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
    status: Array | None = None,
    gradient: bool = True,
) -> tuple[Array, Array | None, Array]:
    """loss_i = -weight_i sum_c t_ic log_softmax(logits)_ic; its gradient by the logits; the number of correct rows.

    logits (N, C); labels (N,) of any integer or float dtype with integral values, or a row of probabilities (N, C) in
    the dtype of the logits. weight_i = sample_weight_i * class_weight[label_i], of a row: sum_c t_ic class_weight_c.
    label_smoothing e: t = (1 - e) t + e / C. Rows of ignore_class have no loss, no gradient, and leave N.
    reduction: "mean" divides by the rows that count, "sum", or "none": losses (N,), gradient of their sum.
    gradient=False: None in its place.
    A correct row has its largest logit (the first of equals) at its label (soft: at its largest probability).
    """
    n, c = logits.shape
    if n and not c:
        raise ValueError(f"[softmax_xent] logits have no classes. Received: logits.shape={logits.shape}")
    if ignore_class is not None and labels.ndim == 2:
        raise ValueError(f"[softmax_xent] ignore_class needs class numbers. Received: labels.shape={labels.shape}")
    counted = np.ones(n, bool)
    if labels.ndim == 1:
        values = np.asarray(labels)
        if ignore_class is not None:
            counted = values != ignore_class
        integral = np.isfinite(values) & (values == np.floor(values)) if values.dtype.kind == "f" else np.ones(n, bool)
        bad = counted & ~(integral & (values >= 0) & (values < c))
        if bad.any():
            i = int(np.argmax(bad))
            _report(
                "softmax_xent",
                status,
                BAD_LABEL_FLOAT if values.dtype.kind == "f" else BAD_LABEL,
                i,
                values[i],
                ValueError,
            )
        hit = np.where(counted & ~bad, values, 0).astype(np.int64)
        target = np.zeros((n, c), logits.dtype)
        target[np.arange(n), hit] = 1
        weight = np.ones(n, logits.dtype) if class_weight is None else class_weight[hit]
    else:
        bad = ~np.isfinite(labels).all(1) | (labels < 0).any(1)
        if bad.any():
            i = int(np.argmax(bad))
            _report(
                "softmax_xent",
                status,
                BAD_LABEL_ROW,
                i,
                labels[i][~(np.isfinite(labels[i]) & (labels[i] >= 0))][0],
                ValueError,
            )
        target, hit = labels, (np.argmax(labels, 1) if c else np.zeros(n, np.int64))
        weight = np.ones(n, logits.dtype) if class_weight is None else labels @ class_weight
    correct = np.asarray(((np.argmax(logits, 1) if c else hit) == hit)[counted].sum(), np.int64)
    if label_smoothing:
        target = ((1 - label_smoothing) * target + label_smoothing / c).astype(logits.dtype)
    if sample_weight is not None:
        weight = weight * sample_weight
    weight = np.where(counted, weight, 0).astype(logits.dtype)
    with np.errstate(all="ignore"):
        log_p = log_softmax(logits)
        losses = weight * -np.where(target != 0, target * log_p, 0).sum(1)
        dlogits = weight[:, None] * (np.exp(log_p) * target.sum(1, keepdims=True) - target)
    losses, dlogits = np.where(counted, losses, 0), np.where(counted[:, None], dlogits, 0)
    scale = 1.0
    if reduction != "none":
        rows = counted.sum() if reduction == "mean" else 1
        scale = 1 / rows if rows else 0.0
        losses = losses.sum() * scale
    wanted = np.asarray(dlogits * scale, logits.dtype) if gradient else None
    return np.asarray(losses, logits.dtype), wanted, correct


def sigmoid_xent(logits: Array, targets: Array) -> tuple[Array, Array]:
    """loss = log(1 + exp(x)) - x t for each element, and its gradient by the logits, sigmoid(x) - t."""
    loss = _quiet(lambda: np.maximum(logits, 0) - logits * targets + np.log1p(np.exp(-np.abs(logits))))
    return np.asarray(loss, logits.dtype), np.asarray(_sigmoid(logits) - targets, logits.dtype)


# ---- attention ----
# q[B,T,H,D], k[B,S,H,D], v[B,S,H,E]; mask: bool [B,H,T,S]. causal: the query at position i sees keys 0 .. i. A query
# that sees no key gives zeros. Dropout (key, rate): score (b, h, t, s) has the number ((b H + h) T + t) S' + s of the
# draw, S' = S rounded up to a multiple of 64.


def _einsum(letters: str, a: Array, b: Array, precision: int) -> Array:
    return _product(lambda x, y: np.einsum(letters, x, y), a, b, precision)


def _attention_weights(
    q: Array, k: Array, mask: Array | None, key: Array | None, scale: float, causal: bool, rate: float, precision: int
) -> tuple[Array, Array]:
    """(softmax of the scores [B,H,T,S], what dropout multiplies them by)."""
    scores = _einsum("bthd,bshd->bhts", q, k, precision) * q.dtype.type(scale)
    seen = np.ones(scores.shape, bool) if mask is None else mask
    if causal:
        seen = seen & (np.arange(scores.shape[2])[:, None] >= np.arange(scores.shape[3]))
    top = np.where(seen, scores, -np.inf).max(3, keepdims=True, initial=-np.inf)
    e = np.where(seen, np.exp(scores - np.where(np.isfinite(top), top, 0)), 0)
    total = e.sum(3, keepdims=True)
    p = (e / np.where(total == 0, 1, total)).astype(q.dtype)
    factors = np.ones_like(p)
    if rate:
        rows = (*p.shape[:3], -(-p.shape[3] // 64) * 64)
        factors = dropout(np.ones(rows, q.dtype), np.asarray(key), rate=rate)[..., : p.shape[3]]
    return p, factors


def attention(
    q: Array,
    k: Array,
    v: Array,
    mask: Array | None = None,
    key: Array | None = None,
    *,
    scale: float = 1.0,
    causal: bool = False,
    rate: float = 0.0,
    precision: int = 0,
) -> Array:
    """y[B,T,H,E] = dropout(softmax(scale * q k^T)) v for each batch and head."""
    p, factors = _attention_weights(q, k, mask, key, scale, causal, rate, precision)
    return _einsum("bhts,bshe->bthe", p * factors, v, precision)


def attention_gradient(
    dy: Array,
    q: Array,
    k: Array,
    v: Array,
    mask: Array | None = None,
    key: Array | None = None,
    *,
    scale: float = 1.0,
    causal: bool = False,
    rate: float = 0.0,
    precision: int = 0,
) -> tuple[Array, Array, Array]:
    """(dq, dk, dv)."""
    p, factors = _attention_weights(q, k, mask, key, scale, causal, rate, precision)
    dp = _einsum("bthe,bshe->bhts", dy, v, precision) * factors
    ds = p * (dp - (dp * p).sum(3, keepdims=True)) * q.dtype.type(scale)
    dq, dk = _einsum("bhts,bshd->bthd", ds, k, precision), _einsum("bhts,bthd->bshd", ds, q, precision)
    return dq, dk, _einsum("bhts,bthe->bshe", p * factors, dy, precision)


# ---- recurrent ----
# x[B,T,F] walks through time with a state of U numbers; w[F,G*U] and u[U,G*U] hold G gates side by side. bias: [G*U],
# of the GRU with reset_after [2,G*U]. h, c: the first states [B,U], zeros if absent. mask[B,T]: where it is False the
# state stays, and the output is the last one (zeros before any; zero_masked: always zeros). drop[B,U]: factors of the h
# that meets u, the same at every step (recurrent dropout). Results: the outputs y[B,T,U], the last states, and what the
# gradient needs, saved[B,T,...]. Gradients take dy[B,T,U], or [B,1,U] for the last output alone, and those of the last
# states; each may be absent. They give dx (None unless needs_x), dw, du, dbias and those of the first states.


def _outputs(hs: Array, mask: Array | None, zero_masked: bool) -> Array:
    if mask is None:
        return hs
    shown = mask if zero_masked else np.logical_or.accumulate(mask, 1)
    return np.where(shown[..., None], hs, hs.dtype.type(0))


def _output_gradient(dy: Array | None, saved: Array, units: int, mask: Array | None, zero_masked: bool) -> Array:
    full = np.zeros((*saved.shape[:2], units), saved.dtype)
    if dy is not None and full.size:
        full[:, -dy.shape[1] :] = dy
    return _outputs(full, mask, zero_masked)


def _states(x: Array, u: Array, *states: Array | None) -> list[Array]:
    return [np.zeros((x.shape[0], u.shape[0]), x.dtype) if s is None else s for s in states]


def _weight_gradients(x: Array, w: Array, dz: Array, needs_x: bool) -> tuple[Array | None, Array]:
    return (dz @ w.T if needs_x else None), np.einsum("btf,btg->fg", x, dz)


def simple_rnn(
    x: Array,
    w: Array,
    u: Array,
    bias: Array | None = None,
    h: Array | None = None,
    mask: Array | None = None,
    drop: Array | None = None,
    *,
    activation: int = 6,
    zero_masked: bool = False,
) -> tuple[Array, ...]:
    """h_t = activation(x_t w + h_{t-1} u + bias). saved: h_t, and the h_{t-1} that met u."""
    (state,) = _states(x, u, h)
    hs = np.zeros((*x.shape[:2], u.shape[0]), x.dtype)
    saved = np.zeros((*x.shape[:2], 2 * u.shape[0]), x.dtype)
    for t in range(x.shape[1]):
        met = state if drop is None else state * drop
        z = x[:, t] @ w + met @ u
        new = _activate(z if bias is None else z + bias, activation, 0.0)
        on = np.True_ if mask is None else mask[:, t, None]
        state = np.where(on, new, state)
        saved[:, t] = np.concatenate([np.where(on, new, 0), met], 1)
        hs[:, t] = state
    return _outputs(hs, mask, zero_masked), state, saved


def simple_rnn_gradient(
    dy: Array | None,
    dh: Array | None,
    x: Array,
    w: Array,
    u: Array,
    saved: Array,
    mask: Array | None = None,
    drop: Array | None = None,
    *,
    activation: int = 6,
    zero_masked: bool = False,
    needs_x: bool = True,
) -> tuple[Array | None, ...]:
    """(dx, dw, du, dbias, dh)."""
    (d,) = _states(x, u, dh)
    dys = _output_gradient(dy, saved, u.shape[0], mask, zero_masked)
    dz = np.zeros((*x.shape[:2], w.shape[1]), x.dtype)
    new, met = np.split(saved, 2, 2)
    for t in reversed(range(x.shape[1])):
        on = np.True_ if mask is None else mask[:, t, None]
        d = d + dys[:, t]
        dz[:, t] = np.where(on, d * _activation_slope(new[:, t], activation, 0.0), 0)
        back = dz[:, t] @ u.T
        d = np.where(on, 0, d) + (back if drop is None else back * drop)
    dx, dw = _weight_gradients(x, w, dz, needs_x)
    return dx, dw, np.einsum("btu,btg->ug", met, dz), dz.sum((0, 1)), d.astype(x.dtype)


def lstm(
    x: Array,
    w: Array,
    u: Array,
    bias: Array | None = None,
    h: Array | None = None,
    c: Array | None = None,
    mask: Array | None = None,
    drop: Array | None = None,
    *,
    activation: int = 6,
    recurrent_activation: int = 5,
    zero_masked: bool = False,
) -> tuple[Array, ...]:
    """Gates i, f, g, o in this order (Keras): c_t = f c_{t-1} + i g, h_t = o activation(c_t).

    g has `activation`, the others `recurrent_activation`. saved: i, f, g, o, c_t, and the h_{t-1} that met u.
    """
    state, cell = _states(x, u, h, c)
    hs = np.zeros((*x.shape[:2], u.shape[0]), x.dtype)
    saved = np.zeros((*x.shape[:2], 6 * u.shape[0]), x.dtype)
    for t in range(x.shape[1]):
        met = state if drop is None else state * drop
        z = x[:, t] @ w + met @ u
        i, f, g, o = np.split(z if bias is None else z + bias, 4, 1)
        i, f, o = (_activate(gate, recurrent_activation, 0.0) for gate in (i, f, o))
        g = _activate(g, activation, 0.0)
        on = np.True_ if mask is None else mask[:, t, None]
        cell = np.where(on, f * cell + i * g, cell)
        state = np.where(on, o * _activate(cell, activation, 0.0), state)
        saved[:, t] = np.concatenate([np.where(on, np.concatenate([i, f, g, o], 1), 0), cell, met], 1)
        hs[:, t] = state
    return _outputs(hs, mask, zero_masked), state, cell, saved


def lstm_gradient(
    dy: Array | None,
    dh: Array | None,
    dc: Array | None,
    x: Array,
    w: Array,
    u: Array,
    saved: Array,
    c: Array | None = None,
    mask: Array | None = None,
    drop: Array | None = None,
    *,
    activation: int = 6,
    recurrent_activation: int = 5,
    zero_masked: bool = False,
    needs_x: bool = True,
) -> tuple[Array | None, ...]:
    """(dx, dw, du, dbias, dh, dc)."""
    d, d_cell = _states(x, u, dh, dc)
    dys = _output_gradient(dy, saved, u.shape[0], mask, zero_masked)
    dz = np.zeros((*x.shape[:2], w.shape[1]), x.dtype)
    (first,) = _states(x, u, c)
    rec = lambda gate: _activation_slope(gate, recurrent_activation, 0.0)  # noqa: E731
    act = lambda y: _activation_slope(y, activation, 0.0)  # noqa: E731
    for t in reversed(range(x.shape[1])):
        i, f, g, o, cell, _ = np.split(saved[:, t], 6, 1)
        before = np.split(saved[:, t - 1], 6, 1)[4] if t else first
        on = np.True_ if mask is None else mask[:, t, None]
        d = d + dys[:, t]
        y = _activate(cell, activation, 0.0)
        through = d_cell + d * o * act(y)
        parts = [through * g * rec(i), through * before * rec(f), through * i * act(g), d * y * rec(o)]
        dz[:, t] = np.where(on, np.concatenate(parts, 1), 0)
        d_cell = np.where(on, through * f, d_cell)
        back = dz[:, t] @ u.T
        d = np.where(on, 0, d) + (back if drop is None else back * drop)
    dx, dw = _weight_gradients(x, w, dz, needs_x)
    met = saved[..., 5 * u.shape[0] :]
    return dx, dw, np.einsum("btu,btg->ug", met, dz), dz.sum((0, 1)), d.astype(x.dtype), d_cell.astype(x.dtype)


def gru(
    x: Array,
    w: Array,
    u: Array,
    bias: Array | None = None,
    h: Array | None = None,
    mask: Array | None = None,
    drop: Array | None = None,
    *,
    activation: int = 6,
    recurrent_activation: int = 5,
    reset_after: bool = True,
    zero_masked: bool = False,
) -> tuple[Array, ...]:
    """Gates z, r, n in this order (Keras): h_t = z h_{t-1} + (1 - z) n.

    n = activation(x_t w_n + b_n + r (h u_n + b'_n)) with reset_after, where bias is (b, b'); otherwise
    activation(x_t w_n + b_n + (r h) u_n). saved: z, r, n, what met r or u_n (h u_n + b'_n, or r h), the h that met u,
    h_{t-1}.
    """
    U = u.shape[0]
    (state,) = _states(x, u, h)
    hs = np.zeros((*x.shape[:2], U), x.dtype)
    saved = np.zeros((*x.shape[:2], 6 * U), x.dtype)
    b = np.zeros((2, 3 * U), x.dtype)
    if bias is not None:
        b[: 2 if reset_after else 1] = bias
    for t in range(x.shape[1]):
        met = state if drop is None else state * drop
        xz, xr, xn = np.split(x[:, t] @ w + b[0], 3, 1)
        hz, hr = np.split(met @ u[:, : 2 * U] + b[1, : 2 * U], 2, 1)
        z, r = (_activate(gate, recurrent_activation, 0.0) for gate in (xz + hz, xr + hr))
        inner = met @ u[:, 2 * U :] + b[1, 2 * U :] if reset_after else r * met
        n = _activate(xn + (r * inner if reset_after else inner @ u[:, 2 * U :]), activation, 0.0)
        on = np.True_ if mask is None else mask[:, t, None]
        saved[:, t] = np.concatenate([np.where(on, np.concatenate([z, r, n, inner], 1), 0), met, state], 1)
        state = np.where(on, z * state + (1 - z) * n, state)
        hs[:, t] = state
    return _outputs(hs, mask, zero_masked), state, saved


def gru_gradient(
    dy: Array | None,
    dh: Array | None,
    x: Array,
    w: Array,
    u: Array,
    saved: Array,
    mask: Array | None = None,
    drop: Array | None = None,
    *,
    activation: int = 6,
    recurrent_activation: int = 5,
    reset_after: bool = True,
    zero_masked: bool = False,
    needs_x: bool = True,
) -> tuple[Array | None, ...]:
    """(dx, dw, du, dbias, dh)."""
    U = u.shape[0]
    (d,) = _states(x, u, dh)
    dys = _output_gradient(dy, saved, U, mask, zero_masked)
    dz = np.zeros((*x.shape[:2], 3 * U), x.dtype)  # of the sums that x and u make, where they differ
    dz_u = np.zeros_like(dz)
    for t in reversed(range(x.shape[1])):
        z, r, n, inner, met, before = np.split(saved[:, t], 6, 1)
        on = np.True_ if mask is None else mask[:, t, None]
        d = d + dys[:, t]
        dn = np.where(on, d * (1 - z) * _activation_slope(n, activation, 0.0), 0)
        d_inner = dn * r if reset_after else dn @ u[:, 2 * U :].T
        dr = dn * inner if reset_after else d_inner * met
        parts = [d * (before - n) * _activation_slope(z, recurrent_activation, 0.0)]
        parts.append(dr * _activation_slope(r, recurrent_activation, 0.0))
        parts = [np.where(on, p, 0) for p in parts]
        dz[:, t] = np.concatenate([*parts, dn], 1)
        dz_u[:, t] = np.concatenate([*parts, dn * r if reset_after else dn], 1)
        back = dz_u[:, t] @ u.T if reset_after else dz[:, t, : 2 * U] @ u[:, : 2 * U].T + d_inner * r
        d = np.where(on, d * z, d) + (back if drop is None else back * drop)
    dx, dw = _weight_gradients(x, w, dz, needs_x)
    inner, met = saved[..., 3 * U : 4 * U], saved[..., 4 * U : 5 * U]
    du = np.einsum("btu,btg->ug", met, dz_u)
    if not reset_after:
        du[:, 2 * U :] = np.einsum("btu,btg->ug", inner, dz[..., 2 * U :])
    db = dz.sum((0, 1))
    return dx, dw, du, np.stack([db, dz_u.sum((0, 1))]) if reset_after else db, d.astype(x.dtype)


# ---- optimizer steps ----
# In place, for lists of variables at once, by Keras's rules. lr is a float64 array (), step an int64 array () that
# counts the steps done before this one. weight_decay: w -= w * weight_decay * lr first. With a status set, nothing
# happens.


def _stopped(status: Array | None) -> bool:
    return status is not None and bool(status[0])


def _with_l2(g: Array, w: Array, l2: float) -> Array:
    """The gradient with that of an L2 penalty."""
    return g + w.dtype.type(l2) * w if l2 else g


def sgd(
    ws: list[Array],
    gs: list[Array],
    ms: list[Array] | None,
    lr: Array,
    *,
    momentum: float = 0.0,
    dampening: float = 0.0,
    nesterov: bool = False,
    weight_decay: float = 0.0,
    l2: float = 0.0,
    pytorch: bool = False,
    status: Array | None = None,
) -> None:
    """g += l2 w; m = momentum m - lr g; w += m, or with nesterov w += momentum m - lr g.

    ms: None without momentum.
    dampening: the step takes (1 - dampening) g; not with nesterov.
    pytorch: the rate stands outside, m = momentum m + g; w -= lr m, or with nesterov w -= lr (g + momentum m).
    """
    if _stopped(status):
        return
    for i, (w, g) in enumerate(zip(ws, gs)):
        t = w.dtype.type
        taken = 1.0 - dampening
        enters, leaves = (taken, -float(lr)) if pytorch else (-float(lr) * taken, 1.0)
        move = t(enters) * _with_l2(g, w, l2)
        w -= w * t(weight_decay * float(lr))
        if ms is not None:
            ms[i][...] = t(momentum) * ms[i] + move
            move = t(momentum) * ms[i] + move if nesterov else ms[i]
        w += t(leaves) * move
        _written(w)


def rmsprop(
    ws: list[Array],
    gs: list[Array],
    vs: list[Array],
    ms: list[Array] | None,
    means: list[Array] | None,
    lr: Array,
    *,
    rho: float = 0.9,
    momentum: float = 0.0,
    epsilon: float = 1e-7,
    weight_decay: float = 0.0,
    l2: float = 0.0,
    pytorch: bool = False,
    status: Array | None = None,
) -> None:
    """g += l2 w; v = rho v + (1 - rho) g^2; step = lr g / sqrt(v + epsilon); w -= step.

    ms (momentum): m = momentum m + step; w -= m.
    means (centered): mean = rho mean + (1 - rho) g; v - mean^2 takes v's place under the root.
    pytorch: step = g / (sqrt(v) + epsilon); w -= lr step, or with momentum w -= lr m.
    """
    if _stopped(status):
        return
    for i, (w, g, v) in enumerate(zip(ws, gs, vs)):
        t = w.dtype.type
        g = _with_l2(g, w, l2)
        w -= w * t(weight_decay * float(lr))
        v[...] = t(rho) * v + t(1 - rho) * g * g
        spread = v
        if means is not None:
            means[i][...] = t(rho) * means[i] + t(1 - rho) * g
            spread = v - means[i] * means[i]
        move = g / (np.sqrt(spread) + t(epsilon)) if pytorch else t(lr) * g / np.sqrt(spread + t(epsilon))
        if ms is not None:
            ms[i][...] = t(momentum) * ms[i] + move
            move = ms[i]
        w -= t(lr) * move if pytorch else move
        _written(w)


def adam(
    ws: list[Array],
    gs: list[Array],
    ms: list[Array],
    vs: list[Array],
    vhats: list[Array] | None,
    lr: Array,
    step: Array,
    *,
    beta_1: float = 0.9,
    beta_2: float = 0.999,
    epsilon: float = 1e-7,
    weight_decay: float = 0.0,
    l2: float = 0.0,
    pytorch: bool = False,
    status: Array | None = None,
) -> None:
    """g += l2 w; m += (1 - b1)(g - m); v += (1 - b2)(g^2 - v); w -= rate m / (sqrt(v) + epsilon).

    rate = lr sqrt(1 - b2^t) / (1 - b1^t), where t = step + 1.
    vhats (amsgrad): the largest v so far takes v's place.
    pytorch: epsilon is added after the correction of v, so epsilon sqrt(1 - b2^t) takes its place here.
    """
    if _stopped(status):
        return
    count = int(step) + 1
    root = math.sqrt(1 - beta_2**count)
    alpha = float(lr) * root / (1 - beta_1**count)
    if pytorch:
        epsilon = root * epsilon
    for i, (w, g, m, v) in enumerate(zip(ws, gs, ms, vs)):
        t = w.dtype.type
        g = _with_l2(g, w, l2)
        w -= w * t(weight_decay * float(lr))
        m += t(1 - beta_1) * (g - m)
        v += t(1 - beta_2) * (g * g - v)
        spread = v
        if vhats is not None:
            vhats[i][...] = np.maximum(vhats[i], v)
            spread = vhats[i]
        w -= t(alpha) * m / (np.sqrt(spread) + t(epsilon))
        _written(w)


def adagrad(
    ws: list[Array],
    gs: list[Array],
    sums: list[Array],
    lr: Array,
    *,
    epsilon: float = 1e-7,
    weight_decay: float = 0.0,
    l2: float = 0.0,
    pytorch: bool = False,
    status: Array | None = None,
) -> None:
    """g += l2 w; sum += g^2; w -= lr g / sqrt(sum + epsilon), with pytorch w -= lr (g / (sqrt(sum) + epsilon))."""
    if _stopped(status):
        return
    for w, g, total in zip(ws, gs, sums):
        t = w.dtype.type
        g = _with_l2(g, w, l2)
        w -= w * t(weight_decay * float(lr))
        total += g * g
        if pytorch:
            w -= t(lr) * (g / (np.sqrt(total) + t(epsilon)))
        else:
            w -= t(lr) * g / np.sqrt(total + t(epsilon))
        _written(w, total)


def adadelta(
    ws: list[Array],
    gs: list[Array],
    vs: list[Array],
    moves: list[Array],
    lr: Array,
    *,
    rho: float = 0.95,
    epsilon: float = 1e-7,
    weight_decay: float = 0.0,
    status: Array | None = None,
) -> None:
    """v = rho v + (1 - rho) g^2; step = sqrt(move + epsilon) g / sqrt(v + epsilon); w -= lr step.

    move, the average of step^2: move = rho move + (1 - rho) step^2, after the step was computed.
    """
    if _stopped(status):
        return
    for w, g, v, move in zip(ws, gs, vs, moves):
        t = w.dtype.type
        w -= w * t(weight_decay * float(lr))
        v[...] = t(rho) * v + t(1 - rho) * g * g
        step = np.sqrt(move + t(epsilon)) * g / np.sqrt(v + t(epsilon))
        move[...] = t(rho) * move + t(1 - rho) * step * step
        w -= t(lr) * step
        _written(w, v, move)


def adamax(
    ws: list[Array],
    gs: list[Array],
    ms: list[Array],
    us: list[Array],
    lr: Array,
    step: Array,
    *,
    beta_1: float = 0.9,
    beta_2: float = 0.999,
    epsilon: float = 1e-7,
    weight_decay: float = 0.0,
    status: Array | None = None,
) -> None:
    """m += (1 - b1)(g - m); u = max(b2 u, |g|); w -= lr / (1 - b1^t) m / (u + epsilon), where t = step + 1."""
    if _stopped(status):
        return
    rate = float(lr) / (1 - beta_1 ** (int(step) + 1))
    for w, g, m, u in zip(ws, gs, ms, us):
        t = w.dtype.type
        w -= w * t(weight_decay * float(lr))
        m += t(1 - beta_1) * (g - m)
        u[...] = np.maximum(t(beta_2) * u, np.abs(g))
        w -= t(rate) * m / (u + t(epsilon))
        _written(w, m, u)


def _nadam_momentum(beta_1: float, t: int) -> float:
    return beta_1 * (1 - 0.5 * 0.96**t)


def nadam(
    ws: list[Array],
    gs: list[Array],
    ms: list[Array],
    vs: list[Array],
    product: Array,
    lr: Array,
    step: Array,
    *,
    beta_1: float = 0.9,
    beta_2: float = 0.999,
    epsilon: float = 1e-7,
    weight_decay: float = 0.0,
    status: Array | None = None,
) -> None:
    """m and v as in adam; w -= lr ahead / (sqrt(v / (1 - b2^t)) + epsilon), where t = step + 1.

    ahead = u' m / (1 - p u') + (1 - u) g / (1 - p), with the momenta u = b1 (1 - 0.96^t / 2) of this step and u' of the
    next, and p = product u, the product of all momenta so far. `product` itself changes in nadam_advance.
    """
    if _stopped(status):
        return
    count = int(step) + 1
    now, then = _nadam_momentum(beta_1, count), _nadam_momentum(beta_1, count + 1)
    p = float(product.reshape(())) * now
    of_m, of_g = float(lr) * then / (1 - p * then), float(lr) * (1 - now) / (1 - p)
    for w, g, m, v in zip(ws, gs, ms, vs):
        t = w.dtype.type
        w -= w * t(weight_decay * float(lr))
        m += t(1 - beta_1) * (g - m)
        v += t(1 - beta_2) * (g * g - v)
        w -= (t(of_m) * m + t(of_g) * g) / (np.sqrt(v * t(1 / (1 - beta_2**count))) + t(epsilon))
        _written(w, m, v)


def nadam_advance(product: Array, step: Array, *, beta_1: float = 0.9, status: Array | None = None) -> None:
    """product *= b1 (1 - 0.96^t / 2), where t = step + 1: the end of a step of nadam, once for all variables."""
    if not _stopped(status):
        product *= _nadam_momentum(beta_1, int(step) + 1)
        _written(product)


def lion(
    ws: list[Array],
    gs: list[Array],
    ms: list[Array],
    lr: Array,
    *,
    beta_1: float = 0.9,
    beta_2: float = 0.99,
    weight_decay: float = 0.0,
    status: Array | None = None,
) -> None:
    """w -= lr sign(b1 m + (1 - b1) g); m = b2 m + (1 - b2) g."""
    if _stopped(status):
        return
    for w, g, m in zip(ws, gs, ms):
        t = w.dtype.type
        w -= w * t(weight_decay * float(lr))
        w -= t(lr) * np.sign(t(beta_1) * m + t(1 - beta_1) * g)
        m[...] = t(beta_2) * m + t(1 - beta_2) * g
        _written(w, m)


def ftrl(
    ws: list[Array],
    gs: list[Array],
    sums: list[Array],
    linears: list[Array],
    lr: Array,
    *,
    power: float = -0.5,
    l1: float = 0.0,
    l2: float = 0.0,
    l2_shrinkage: float = 0.0,
    beta: float = 0.0,
    weight_decay: float = 0.0,
    status: Array | None = None,
) -> None:
    """new = sum + g^2; linear += g + 2 l2_shrinkage w - (new^-power - sum^-power) / lr w; sum = new.

    w = (clip(linear, -l1, l1) - linear) / (new^-power / lr + 2 l2 + beta / lr)
    """
    if _stopped(status):
        return
    for w, g, total, linear in zip(ws, gs, sums, linears):
        t = w.dtype.type
        w -= w * t(weight_decay * float(lr))
        grown = total + g * g
        new, old = grown ** t(-power), total ** t(-power)
        linear += g + t(2 * l2_shrinkage) * w - (new - old) / t(lr) * w
        w[...] = (np.clip(linear, t(-l1), t(l1)) - linear) / (new / t(lr) + t(2 * l2 + beta / float(lr)))
        total[...] = grown
        _written(w, total, linear)


def _rms(x: Array) -> float:
    return math.sqrt(float(np.mean(np.square(x, dtype=np.float64))))


def adafactor(
    ws: list[Array],
    gs: list[Array],
    rows: list[Array],
    columns: list[Array],
    vs: list[Array],
    lr: Array,
    step: Array,
    *,
    beta_2_decay: float = -0.8,
    epsilon_1: float = 1e-30,
    epsilon_2: float = 1e-3,
    clip_threshold: float = 1.0,
    weight_decay: float = 0.0,
    status: Array | None = None,
) -> None:
    """w -= rate u / max(1, rms(u) / clip_threshold), where u = g / sqrt(v).

    rate = max(epsilon_2, rms(w)) min(lr, 1 / sqrt(t)), where t = step + 1; v averages g^2 + epsilon_1 with
    beta = 1 - t^beta_2_decay. Of a variable with two dimensions or more, only the averages of its rows r and of its
    columns c are kept: v = r / mean(r) c. `rows` and `columns` have the shape of w without its last, and without its
    last but one dimension. Other variables have v alone, and theirs are not used.
    """
    if _stopped(status):
        return
    count = int(step) + 1
    beta = 1 - count**beta_2_decay
    for w, g, row, column, v in zip(ws, gs, rows, columns, vs):
        if not w.size:
            continue
        t = w.dtype.type
        w -= w * t(weight_decay * float(lr))
        square = g * g + t(epsilon_1)
        if w.ndim >= 2:
            row[...] = t(beta) * row + t(1 - beta) * square.mean(axis=-1, dtype=np.float64).astype(t)
            column[...] = t(beta) * column + t(1 - beta) * square.mean(axis=-2, dtype=np.float64).astype(t)
            shares = (row / row.mean(axis=-1, keepdims=True, dtype=np.float64)).astype(t)
            v[...] = shares[..., None] * column[..., None, :]
            _written(row, column)
        else:
            v[...] = t(beta) * v + t(1 - beta) * square
        over = _rms(g / np.sqrt(v.astype(np.float64))) / clip_threshold
        rate = np.maximum(epsilon_2, _rms(w)) * np.minimum(float(lr), 1 / math.sqrt(count)) / np.maximum(1, over)
        w -= t(rate) * g / np.sqrt(v)
        _written(w, v)


# ---- what a step does before and after ----


def every_nth(step: Array, n: int, turns: Array, gate: Array, *, status: Array | None = None) -> None:
    """turns = step // n; gate (a status) lets what comes after it run in every nth step only.

    The gate is as `status` if that is set, else 0 in every nth step (step + 1 divisible by n), else WAITING.
    """
    turns[...] = int(step) // n
    gate[...] = 0
    if status is not None and _stopped(status):
        gate[...] = status
    elif (int(step) + 1) % n:
        gate[0] = WAITING
    _written(turns, gate)


def mean_gradients(
    sums: list[Array], gs: list[Array], step: Array, n: int, *, scale: float = 1.0, status: Array | None = None
) -> list[Array]:
    """sums += scale g; gives sums / n. In every nth step (step + 1 divisible by n) the sums are 0 again afterwards."""
    results = [np.zeros_like(g) for g in gs]
    if _stopped(status):
        return results
    for total, g, result in zip(sums, gs, results):
        t = total.dtype.type
        total += t(scale) * g
        result[...] = total / t(n)
        if (int(step) + 1) % n == 0:
            total[...] = 0
        _written(total)
    return results


def clip_gradients(
    gs: list[Array],
    *,
    scale: float = 1.0,
    value: float = 0.0,
    norm: float = 0.0,
    global_norm: float = 0.0,
    status: Array | None = None,
) -> list[Array]:
    """scale g, with elements cut to [-value, value], or shrunk so that the norm of each, or of all, is no larger.

    Only one of value, norm and global_norm may be positive. An infinite global norm gives NaN, as in Keras.
    """
    if _stopped(status):
        return [np.zeros_like(g) for g in gs]
    gs = [g.dtype.type(scale) * g for g in gs]
    if value > 0:
        return [np.clip(g, g.dtype.type(-value), g.dtype.type(value)) for g in gs]
    if norm <= 0 and global_norm <= 0:
        return gs
    sums = [float(np.sum(np.square(g, dtype=np.float64))) for g in gs]
    if norm > 0:
        return [g * g.dtype.type(_share(math.sqrt(s), norm)) for g, s in zip(gs, sums)]
    total = math.sqrt(math.fsum(sums)) if np.isfinite(sums).all() else math.nan
    return [g * g.dtype.type(_share(total, global_norm)) for g in gs]


def _share(norm: float, limit: float) -> float:
    return 1.0 if norm <= limit else limit / norm


def average_weights(
    ws: list[Array],
    averages: list[Array],
    step: Array,
    *,
    momentum: float = 0.99,
    overwrite_every: int = 0,
    status: Array | None = None,
) -> None:
    """average = momentum average + (1 - momentum) w; in the first step (step is 0) it is w.

    After every `overwrite_every` steps (0: never) w becomes its average.
    """
    if _stopped(status):
        return
    m = momentum if int(step) else 0.0
    for w, average in zip(ws, averages):
        t = w.dtype.type
        average[...] = t(m) * average + t(1 - m) * w
        if overwrite_every and (int(step) + 1) % overwrite_every == 0:
            w[...] = average
            _written(w)
        _written(average)


# ---- what a step writes at its end ----


def accumulate(
    sums: Array, values: Array, weights: Array | None = None, *, scale: float = 1.0, status: Array | None = None
) -> None:
    """sums (float64, (2,)) += (scale * sum(weights * values), scale * sum(weights)); without weights, each counts 1."""
    if _stopped(status):
        return
    v = np.asarray(values, np.float64)
    w = np.ones(v.shape) if weights is None else np.broadcast_to(np.asarray(weights, np.float64), v.shape)
    sums += scale * np.array([(v * w).sum(), w.sum()])
    _written(sums)


def class_hits(x: Array, labels: Array) -> Array:
    """Is the first largest of each row x[..., :] at the class number labels[...]? NaN counts as largest."""
    return np.argmax(x, -1) == labels


def moving_average(
    average: Array, value: Array, *, momentum: float, scale: float = 1.0, status: Array | None = None
) -> None:
    """average = momentum * average + (1 - momentum) * scale * value."""
    if not _stopped(status):
        average[...] = average * average.dtype.type(momentum) + value * average.dtype.type((1 - momentum) * scale)
        _written(average)


def advance(counter: Array, amount: int = 1, *, status: Array | None = None) -> None:
    """counter (int64) += amount."""
    if not _stopped(status):
        counter += amount
        _written(counter)


def check_finite(x: Array, *, status: Array) -> None:
    """Sets the status if x holds NaN or Inf."""
    bad = ~np.isfinite(x).ravel()
    if bad.any():
        i = int(np.argmax(bad))
        _report("check_finite", status, NON_FINITE_LOSS, i, float(np.asarray(x).ravel()[i]), ValueError)


# ---- random ----
# Philox 4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011). key = (seed, draw): the seed
# is Philox's key; block i of a draw is the counter (i low, i high, draw low, draw high). Block i gives the four 32-bit
# words that element 4i .. 4i + 3 (float32) or 2i, 2i + 1 (float64: low word first) are made of.

_M0, _M1, _W0, _W1 = 0xD2511F53, 0xCD9E8D57, 0x9E3779B9, 0xBB67AE85


def philox(key: Array, blocks: int) -> Array:
    """uint32 words (blocks, 4)."""
    u64 = np.uint64
    low, shift = u64(0xFFFFFFFF), u64(32)
    seed, draw = (u64(int(v) & 0xFFFFFFFFFFFFFFFF) for v in key)
    i = np.arange(blocks, dtype=u64)
    c0, c1 = i & low, i >> shift
    c2, c3 = np.full_like(i, draw & low), np.full_like(i, draw >> shift)
    k0, k1 = int(seed & low), int(seed >> shift)
    for _ in range(10):
        p0, p1 = c0 * u64(_M0), c2 * u64(_M1)
        c0, c1, c2, c3 = (p1 >> shift) ^ c1 ^ u64(k0), p1 & low, (p0 >> shift) ^ c3 ^ u64(k1), p0 & low
        k0, k1 = (k0 + _W0) & 0xFFFFFFFF, (k1 + _W1) & 0xFFFFFFFF
    return np.stack([c0, c1, c2, c3], 1).astype(np.uint32)


def _unit(key: Array, n: int, dtype: np.dtype) -> Array:
    """n numbers in [0, 1): the top 24 bits of a word (float32), the top 53 of two words (float64)."""
    if dtype == np.float32:
        words = philox(key, -(-n // 4)).ravel()[:n]
        return (words >> np.uint32(8)).astype(np.float32) * np.float32(2.0**-24)
    words = philox(key, -(-n // 2)).reshape(-1, 2).astype(np.uint64)[:n]
    return ((words[:, 0] | (words[:, 1] << np.uint64(32))) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def random_uniform(shape: Any, dtype: Any, key: Array, *, low: float = 0.0, high: float = 1.0) -> Array:
    """low + (high - low) u, u in [0, 1)."""
    t = np.dtype(dtype).type
    u = _unit(key, math.prod(shape), np.dtype(dtype))
    return (t(low) + t(high - low) * u).reshape(shape)


def random_normal(shape: Any, dtype: Any, key: Array, *, mean: float = 0.0, stddev: float = 1.0) -> Array:
    """Box-Muller on pairs of uniforms (u, v): sqrt(-2 log(1 - u)) times cos and sin of 2 pi v, in float64."""
    n, t = math.prod(shape), np.dtype(dtype).type
    u, v = _unit(key, n + n % 2, np.dtype(dtype)).reshape(-1, 2).astype(np.float64).T
    quarter = np.round(4 * v)  # cos and sin lose no digits near their zeros: v = quarter / 4 + rest exactly
    rest = 2 * math.pi * (v - quarter / 4)
    turned = np.stack([np.cos(rest), np.sin(rest), -np.cos(rest), -np.sin(rest)])
    at, k = np.arange(len(v)), quarter.astype(int)
    radius = np.sqrt(-2 * np.log(1 - u))
    z = np.stack([radius * turned[-k % 4, at], radius * turned[(1 - k) % 4, at]], 1)
    return np.asarray(t(mean) + t(stddev) * z.ravel()[:n].astype(t), dtype).reshape(shape)


def random_truncated_normal(shape: Any, dtype: Any, key: Array, *, mean: float = 0.0, stddev: float = 1.0) -> Array:
    """Normals within two standard deviations: of the draws (seed, draw + 2^32 j), j = 0, 1, ..., the first inside."""
    z = random_normal(shape, dtype, key)
    for j in itertools.count(1):
        outside = np.abs(z) > 2
        if not outside.any():
            break
        again = np.array([key[0], int(key[1]) + (j << 32)], np.int64)
        z = np.where(outside, random_normal(shape, dtype, again), z)
    t = np.dtype(dtype).type
    return np.asarray(t(mean) + t(stddev) * z, dtype)


def permutation(n: int, key: Array) -> Array:
    """0 .. n - 1 (int64) by their 64-bit random words (two of a Philox block, low first), equal ones by number."""
    words = philox(key, -(-n // 2)).reshape(-1, 2).astype(np.uint64)[:n]
    return np.argsort(words[:, 0] | (words[:, 1] << np.uint64(32)), kind="stable").astype(np.int64)


def dropout(x: Array, key: Array, *, rate: float, noise_shape: Any = None) -> Array:
    """x / (1 - rate) where u >= rate, else 0; u is the float32 uniform of the element (of noise_shape, broadcast).

    The gradient is the same function of dy with the same key.
    """
    shape = x.shape if noise_shape is None else tuple(noise_shape)
    u = _unit(key, math.prod(shape), np.dtype(np.float32)).reshape(shape)
    keep = u >= np.float32(rate)
    scale = x.dtype.type(1 / (1 - rate)) if rate < 1 else x.dtype.type(0)
    return np.where(keep, x * scale, x.dtype.type(0))


# ---- data movement ----


def copy(source: Array, target: Array, *, status: Array | None = None) -> None:
    """target[...] = source, of one shape, converted to the target's dtype; nothing if the status is set."""
    if _stopped(status):
        return
    target[...] = source
    _written(target)


def full(shape: Any, dtype: Any, value: float) -> Array:
    """An array of one value."""
    return np.full(shape, value, dtype)


def contiguous(x: Array) -> Array:
    """x in C order; x itself if it is already."""
    return np.asarray(x, order="C")


def cast(x: Array, dtype: Any, scale: float = 1.0) -> Array:
    """x in another dtype; a float also times scale. Floats to integers truncate; anything but 0 is True."""
    if scale != 1 and np.dtype(dtype).kind != "f":
        raise ValueError(f"[cast] only floats can be scaled. Received: dtype={np.dtype(dtype)}, scale={scale}")
    y = _quiet(lambda: np.array(x, dtype, order="C"))
    return y if scale == 1 else y * y.dtype.type(scale)


def take_rows(x: Array, indices: Array, *, dtype: Any = None, scale: float = 1.0, status: Array | None = None) -> Array:
    """y[i] = scale * x[indices[i]], converted to dtype, for indices of any shape. An index outside [0, rows) is an
    error; it reads nothing."""
    bad = (indices < 0) | (indices >= x.shape[0])
    if bad.any():
        i = int(np.argmax(bad))
        _report("take_rows", status, BAD_INDEX, i, indices.ravel()[i], IndexError)
    taken = np.zeros((*indices.shape, *x.shape[1:]), x.dtype)
    taken[~bad] = x[indices[~bad]]
    return cast(taken, dtype or x.dtype, scale)


def take_rows_gradient(dy: Array, indices: Array, rows: int, *, status: Array | None = None) -> Array:
    """dx (rows, ...): the sum of the dy that were taken from each row, in the order of the indices. An index outside
    [0, rows) is an error."""
    bad = (indices < 0) | (indices >= rows)
    if bad.any():
        i = int(np.argmax(bad))
        _report("take_rows_gradient", status, BAD_INDEX, i, indices.ravel()[i], IndexError)
    dx = np.zeros((rows, *dy.shape[indices.ndim :]), dy.dtype)
    np.add.at(dx, indices[~bad], dy[~bad])
    return dx


def concat(arrays: list[Array], axis: int) -> Array:
    """Arrays one after another along axis."""
    return np.concatenate(arrays, axis)


def pad(x: Array, widths: Any, value: float = 0.0) -> Array:
    """x with widths[i] = (before, after) cells of `value` added to axis i."""
    return np.pad(x, widths, constant_values=value) if x.ndim else x.copy()


def one_hot(indices: Array, classes: int, dtype: Any, *, status: Array | None = None) -> Array:
    """(..., classes): 1 at the index, else 0. An index outside [0, classes) is an error."""
    bad = ((indices < 0) | (indices >= classes)).ravel()
    if bad.any():
        i = int(np.argmax(bad))
        _report("one_hot", status, BAD_INDEX, i, indices.ravel()[i], IndexError)
    return (np.asarray(indices)[..., None] == np.arange(classes)).astype(dtype)
