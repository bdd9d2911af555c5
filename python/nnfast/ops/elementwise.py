"""Element-wise ops, with broadcasting by NumPy's rules: the kernels of csrc/elementwise_ops.inl.

Operands are tensors, arrays, lists or numbers. float32 with float64 is a TypeError; numbers, lists, integers and bools
take the float dtype of the other operand, or `nnfast.config.floatx()` if there is none. NaN passes through.
What has an answer among integers (neg abs sign square clip add sub mul maximum minimum pow where, comparisons) gives it
for operands that are all integers or bools: exactly, in the dtype that NumPy gives.
"""

from typing import Any

import numpy as np

from nnfast import device
from nnfast.ops._op import Op, float_operands, of_integers
from nnfast.tensor import Tensor, as_array, wrap

Shape = tuple[int | None, ...]


class Unary(Op):
    """y = f(x)"""

    def __init__(self, name: str, from_result: bool = False, integers: Any = None):
        self.name, self.from_result, self.integers = name, from_result, integers
        self.gradient_name = name + "_gradient"

    def forward(self, k: Any, x: Any, parameters: tuple[float, ...] = ()) -> tuple[Any, Any]:
        y = getattr(k, self.name)(x, *parameters)
        return y, (y if self.from_result else x, parameters)

    def gradient(self, dy: Any, saved: Any, needs: list[bool]) -> tuple[Any, ...]:
        s, parameters = saved
        return (getattr(device.kernels, self.gradient_name)(dy, s, *parameters),)

    def output_shape(self, x: Shape, *_: Any, **__: Any) -> Shape:
        return x

    def __call__(self, x: Any, *parameters: float) -> Tensor:
        if self.integers is not None and not (isinstance(x, Tensor) and x.data.dtype.kind == "f"):
            y = of_integers(self.name, self.integers, x)
            if y is not None:
                return y
        (x,) = float_operands(self.name, x)
        return self.apply(x, parameters=parameters) if parameters else self.apply(x)


class Binary(Op):
    """y = f(a, b)"""

    def __init__(self, name: str, integers: Any = None):
        self.name, self.integers = name, integers
        self.gradient_name = name + "_gradient"

    def forward(self, k: Any, a: Any, b: Any) -> tuple[Any, Any]:
        return getattr(k, self.name)(a, b), (a, b)

    def gradient(self, dy: Any, saved: Any, needs: list[bool]) -> tuple[Any, ...]:
        return getattr(device.kernels, self.gradient_name)(dy, *saved, needs_a=needs[0], needs_b=needs[1])

    def output_shape(self, a: Shape, b: Shape) -> Shape:
        return broadcast_shapes(self.name, a, b)

    def __call__(self, a: Any, b: Any) -> Tensor:
        if self.integers is not None and not (isinstance(a, Tensor) and a.data.dtype.kind == "f"):
            y = of_integers(self.name, self.integers, a, b)
            if y is not None:
                return y
        return self.apply(*float_operands(self.name, a, b))


class Add(Binary):
    """y = a + b. The gradient is dy itself: nothing is computed, unless an operand was repeated."""

    def forward(self, k: Any, a: Any, b: Any) -> tuple[Any, Any]:
        return k.add(a, b), (a.shape, b.shape)

    def gradient(self, dy: Any, saved: Any, needs: list[bool]) -> tuple[Any, ...]:
        return tuple(_sum_to(dy, shape) if need else None for shape, need in zip(saved, needs))


class Sub(Binary):
    """y = a - b"""

    def forward(self, k: Any, a: Any, b: Any) -> tuple[Any, Any]:
        return k.sub(a, b), (a.shape, b.shape)

    def gradient(self, dy: Any, saved: Any, needs: list[bool]) -> tuple[Any, ...]:
        da = _sum_to(dy, saved[0]) if needs[0] else None
        db = device.kernels.neg(_sum_to(dy, saved[1])) if needs[1] else None
        return da, db


class Where(Op):
    """y = a where condition holds, else b"""

    name = "where"

    def forward(self, k: Any, condition: Any, a: Any, b: Any) -> tuple[Any, Any]:
        return k.where(condition, a, b), (condition, a, b)

    def gradient(self, dy: Any, saved: Any, needs: list[bool]) -> tuple[Any, ...]:
        return None, *device.kernels.where_gradient(dy, *saved, needs_a=needs[1], needs_b=needs[2])

    def output_shape(self, condition: Shape, a: Shape, b: Shape) -> Shape:
        return broadcast_shapes(self.name, condition, a, b)


def _sum_to(dy: Any, shape: Any) -> Any:
    return dy if dy.shape == shape else device.kernels.sum_to(dy, shape)


def broadcast_shapes(name: str, *shapes: Shape) -> Shape:
    """The shape that arrays of these shapes broadcast to; None is a size that is not known yet."""
    ndim = max(len(s) for s in shapes)
    result: list[int | None] = []
    for sizes in zip(*((1,) * (ndim - len(s)) + tuple(s) for s in shapes)):
        known = {n for n in sizes if n is not None and n != 1}
        if len(known) > 1:
            raise ValueError(
                f"[{name}] the shapes do not broadcast: aligned at the right, sizes must be equal or 1. "
                f"Received: {', '.join(map(str, shapes))}"
            )
        result.append(known.pop() if known else None if None in sizes else 1)
    return tuple(result)


_neg = Unary("neg", integers=np.negative)
_abs = Unary("abs", integers=np.abs)
_sign = Unary("sign", integers=np.sign)
_square = Unary("square", integers=np.square)
_reciprocal = Unary("reciprocal", from_result=True)
_sqrt = Unary("sqrt", from_result=True)
_rsqrt = Unary("rsqrt", from_result=True)
_exp = Unary("exp", from_result=True)
_expm1 = Unary("expm1", from_result=True)
_log = Unary("log")
_log1p = Unary("log1p")
_erf = Unary("erf")
_relu = Unary("relu", from_result=True)
_selu = Unary("selu", from_result=True)
_sigmoid = Unary("sigmoid", from_result=True)
_tanh = Unary("tanh", from_result=True)
_softplus = Unary("softplus")
_silu = Unary("silu")
_softsign = Unary("softsign")
_hard_sigmoid = Unary("hard_sigmoid")
_clip = Unary("clip")
_leaky_relu = Unary("leaky_relu")
_elu = Unary("elu")
_gelu = Unary("gelu")
_add, _sub, _where = Add("add", np.add), Sub("sub", np.subtract), Where()
_mul, _div, _pow = Binary("mul", np.multiply), Binary("div"), Binary("pow", np.power)
_maximum, _minimum = Binary("maximum", np.maximum), Binary("minimum", np.minimum)


# ---- one operand ----


def neg(x: Any) -> Tensor:
    """-x

    >>> import nnfast
    >>> nnfast.ops.neg([1.0, -2.0]).tolist()
    [-1.0, 2.0]
    """
    return _neg(x)


def abs(x: Any) -> Tensor:
    """|x|. The gradient at 0 is 0.

    >>> import nnfast
    >>> nnfast.ops.abs([1.0, -2.0]).tolist()
    [1.0, 2.0]
    """
    return _abs(x)


def sign(x: Any) -> Tensor:
    """-1, 0 or 1, the sign of x. Its gradient is 0.

    >>> import nnfast
    >>> nnfast.ops.sign([3.0, 0.0, -2.0]).tolist()
    [1.0, 0.0, -1.0]
    """
    return _sign(x)


def square(x: Any) -> Tensor:
    """x * x

    >>> import nnfast
    >>> nnfast.ops.square([3.0]).tolist()
    [9.0]
    """
    return _square(x)


def reciprocal(x: Any) -> Tensor:
    """1 / x

    >>> import nnfast
    >>> nnfast.ops.reciprocal([4.0]).tolist()
    [0.25]
    """
    return _reciprocal(x)


def sqrt(x: Any) -> Tensor:
    """The square root of x; NaN below 0.

    >>> import nnfast
    >>> nnfast.ops.sqrt([9.0]).tolist()
    [3.0]
    """
    return _sqrt(x)


def rsqrt(x: Any) -> Tensor:
    """1 / sqrt(x)

    >>> import nnfast
    >>> nnfast.ops.rsqrt([4.0]).tolist()
    [0.5]
    """
    return _rsqrt(x)


def exp(x: Any) -> Tensor:
    """e^x

    >>> import nnfast
    >>> nnfast.ops.exp([0.0]).tolist()
    [1.0]
    """
    return _exp(x)


def expm1(x: Any) -> Tensor:
    """e^x - 1, exact also where x is small.

    >>> import nnfast
    >>> nnfast.ops.expm1([0.0]).tolist()
    [0.0]
    """
    return _expm1(x)


def log(x: Any) -> Tensor:
    """The natural logarithm of x: -Inf at 0, NaN below.

    >>> import nnfast
    >>> nnfast.ops.log([1.0]).tolist()
    [0.0]
    """
    return _log(x)


def log1p(x: Any) -> Tensor:
    """log(1 + x), exact also where x is small.

    >>> import nnfast
    >>> nnfast.ops.log1p([0.0]).tolist()
    [0.0]
    """
    return _log1p(x)


def erf(x: Any) -> Tensor:
    """The error function, 2 / sqrt(pi) times the integral of e^(-t^2) from 0 to x.

    >>> import nnfast
    >>> nnfast.ops.erf([0.0]).tolist()
    [0.0]
    """
    return _erf(x)


def relu(x: Any) -> Tensor:
    """max(x, 0). The gradient at 0 is 0.

    >>> import nnfast
    >>> nnfast.ops.relu([-1.0, 2.0]).tolist()
    [0.0, 2.0]
    """
    return _relu(x)


def selu(x: Any) -> Tensor:
    """s * x where x > 0, else s * a * (e^x - 1), with s = 1.0507... and a = 1.6732...

    Source: G. Klambauer et al., Self-Normalizing Neural Networks (2017).

    >>> import nnfast
    >>> nnfast.ops.selu([0.0]).tolist()
    [0.0]
    """
    return _selu(x)


def sigmoid(x: Any) -> Tensor:
    """1 / (1 + e^-x). The result remembers x as `.logits`: the cross-entropy losses compute from it, without clipping.

    >>> import nnfast
    >>> nnfast.ops.sigmoid([0.0]).tolist()
    [0.5]
    """
    (x,) = float_operands("sigmoid", x)
    y = _sigmoid.apply(x)
    y.logits = x if isinstance(x, Tensor) else wrap(x)
    return y


def tanh(x: Any) -> Tensor:
    """The hyperbolic tangent.

    >>> import nnfast
    >>> nnfast.ops.tanh([0.0]).tolist()
    [0.0]
    """
    return _tanh(x)


def softplus(x: Any) -> Tensor:
    """log(1 + e^x)

    >>> import nnfast
    >>> nnfast.ops.softplus([-100.0, 100.0]).tolist()
    [3.783505853677006e-44, 100.0]
    """
    return _softplus(x)


def silu(x: Any) -> Tensor:
    """x * sigmoid(x), also called swish.

    >>> import nnfast
    >>> nnfast.ops.silu([0.0]).tolist()
    [0.0]
    """
    return _silu(x)


def softsign(x: Any) -> Tensor:
    """x / (1 + |x|)

    >>> import nnfast
    >>> nnfast.ops.softsign([1.0]).tolist()
    [0.5]
    """
    return _softsign(x)


def hard_sigmoid(x: Any) -> Tensor:
    """x / 6 + 1/2, cut off at 0 and 1.

    >>> import nnfast
    >>> nnfast.ops.hard_sigmoid([-4.0, 0.0]).tolist()
    [0.0, 0.5]
    """
    return _hard_sigmoid(x)


def clip(x: Any, x_min: Any, x_max: Any) -> Tensor:
    """x, cut off below x_min and above x_max. There the gradient is 0.

    Args:
        x: any shape.
        x_min, x_max: numbers or None (no limit); or arrays that broadcast with x, which then are differentiated too.

    >>> import nnfast
    >>> nnfast.ops.clip([-2.0, 0.5, 2.0], 0, 1).tolist()
    [0.0, 0.5, 1.0]
    """
    y = of_integers("clip", lambda x, *_: np.clip(x, x_min, x_max), x, *(v for v in (x_min, x_max) if v is not None))
    if y is not None:
        return y
    low, high = -np.inf if x_min is None else x_min, np.inf if x_max is None else x_max
    if isinstance(low, (int, float, np.number)) and isinstance(high, (int, float, np.number)):
        return _clip(x, float(low), float(high))
    return minimum(maximum(x, low), high)


def leaky_relu(x: Any, negative_slope: float = 0.2) -> Tensor:
    """x where x > 0, else negative_slope * x.

    >>> import nnfast
    >>> nnfast.ops.leaky_relu([-2.0, 3.0], 0.5).tolist()
    [-1.0, 3.0]
    """
    return _leaky_relu(x, float(negative_slope))


def elu(x: Any, alpha: float = 1.0) -> Tensor:
    """x where x > 0, else alpha * (e^x - 1).

    Source: D.-A. Clevert et al., Fast and Accurate Deep Network Learning by Exponential Linear Units (2015).

    >>> import nnfast
    >>> nnfast.ops.elu([0.0, 3.0]).tolist()
    [0.0, 3.0]
    """
    return _elu(x, float(alpha))


def gelu(x: Any, approximate: bool = False) -> Tensor:
    """x times the normal distribution function of x: x / 2 * (1 + erf(x / sqrt 2)).

    Args:
        x: any shape.
        approximate: x / 2 * (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) instead.

    Source: D. Hendrycks, K. Gimpel, Gaussian Error Linear Units (2016).

    >>> import nnfast
    >>> nnfast.ops.gelu([0.0, 10.0]).tolist()
    [0.0, 10.0]
    """
    return _gelu(x, 1.0 if approximate else 0.0)


def isnan(x: Any) -> Tensor:
    """Is it NaN? bool.

    >>> import nnfast
    >>> nnfast.ops.isnan([float("nan"), 1.0]).tolist()
    [True, False]
    """
    a = _comparable("isnan", x)[0]
    return wrap(device.kernels.not_equal(a, a))


def isinf(x: Any) -> Tensor:
    """Is it Inf or -Inf? bool.

    >>> import nnfast
    >>> nnfast.ops.isinf([float("-inf"), 1.0]).tolist()
    [True, False]
    """
    a = _comparable("isinf", x)[0]
    return wrap(device.kernels.equal(device.kernels.abs(a), np.asarray(np.inf, a.dtype)))


def isfinite(x: Any) -> Tensor:
    """Is it neither NaN nor infinite? bool.

    >>> import nnfast
    >>> nnfast.ops.isfinite([float("nan"), 1.0]).tolist()
    [False, True]
    """
    a = _comparable("isfinite", x)[0]
    return wrap(device.kernels.less(device.kernels.abs(a), np.asarray(np.inf, a.dtype)))


# ---- two operands ----


def add(x: Any, y: Any) -> Tensor:
    """x + y

    >>> import nnfast
    >>> nnfast.ops.add([1.0, 2.0], 3.0).tolist()
    [4.0, 5.0]
    """
    return _add(x, y)


def sub(x: Any, y: Any) -> Tensor:
    """x - y

    >>> import nnfast
    >>> nnfast.ops.sub([1.0, 2.0], 3.0).tolist()
    [-2.0, -1.0]
    """
    return _sub(x, y)


def mul(x: Any, y: Any) -> Tensor:
    """x * y

    >>> import nnfast
    >>> nnfast.ops.mul([1.0, 2.0], 3.0).tolist()
    [3.0, 6.0]
    """
    return _mul(x, y)


def div(x: Any, y: Any) -> Tensor:
    """x / y. Division by zero gives Inf or NaN.

    >>> import nnfast
    >>> nnfast.ops.div([1.0, 2.0], 2.0).tolist()
    [0.5, 1.0]
    """
    return _div(x, y)


def maximum(x: Any, y: Any) -> Tensor:
    """The larger of x and y; NaN if either is. Where they are equal, each gets half of the gradient.

    >>> import nnfast
    >>> nnfast.ops.maximum([1.0, 5.0], 3.0).tolist()
    [3.0, 5.0]
    """
    return _maximum(x, y)


def minimum(x: Any, y: Any) -> Tensor:
    """The smaller of x and y; NaN if either is. Where they are equal, each gets half of the gradient.

    >>> import nnfast
    >>> nnfast.ops.minimum([1.0, 5.0], 3.0).tolist()
    [1.0, 3.0]
    """
    return _minimum(x, y)


def pow(x: Any, y: Any) -> Tensor:
    """x to the power of y, by the rules of C: x^0 = 1; a negative x needs an integral y, otherwise the result is NaN.
    Integers to the power of integers that are not negative give integers.

    >>> import nnfast
    >>> nnfast.ops.pow([2.0, 3.0], 3).tolist()
    [8.0, 27.0]
    """
    if isinstance(y, (int, float)) and y == 2:
        return _square(x)
    return _pow(x, y)


def where(condition: Any, x: Any, y: Any) -> Tensor:
    """x where condition holds, else y; all three broadcast.

    Args:
        condition: bool; of other dtypes anything but 0 counts as True.
        x, y: floats of one dtype, or numbers; or integers, which stay integers.

    >>> import nnfast
    >>> nnfast.ops.where([True, False], 1.0, [5.0, 6.0]).tolist()
    [1.0, 6.0]
    """
    truth = _truth("where", condition)
    chosen = of_integers("where", lambda x, y: np.where(device.host(truth), x, y), x, y)
    return _where.apply(truth, *float_operands("where", x, y)) if chosen is None else chosen


# ---- comparisons ----


def _compare(name: str, integers: Any, x: Any, y: Any) -> Tensor:
    result = None
    if not (isinstance(x, Tensor) and x.data.dtype.kind == "f"):
        result = of_integers(name, integers, x, y)
    return wrap(getattr(device.kernels, name)(*_comparable(name, x, y))) if result is None else result


def _comparable(name: str, *operands: Any) -> tuple[Any, ...]:
    """Arrays of one float dtype. Integers are compared with floats as float64, so exactly up to 2^53."""
    arrays: list[Any] = []
    weak, integers = True, False
    for x in operands:
        if isinstance(x, Tensor):
            x = x.data
        if isinstance(x, device.arrays):
            weak, integers = False, integers or x.dtype.kind in "biu"
        arrays.append(x)
    if not (weak or integers):
        return float_operands(name, *arrays)
    k = device.kernels
    arrays = [as_array(x, None if isinstance(x, device.arrays) else "float64", name) for x in arrays]
    return tuple(a if a.dtype == np.float64 else k.cast(a, "float64") for a in arrays)


def equal(x: Any, y: Any) -> Tensor:
    """x == y, element by element: bool. NaN equals nothing.

    >>> import nnfast
    >>> nnfast.ops.equal([1, 2, 3], 2).tolist()
    [False, True, False]
    """
    return _compare("equal", np.equal, x, y)


def not_equal(x: Any, y: Any) -> Tensor:
    """x != y, element by element: bool.

    >>> import nnfast
    >>> nnfast.ops.not_equal([1, 2, 3], 2).tolist()
    [True, False, True]
    """
    return _compare("not_equal", np.not_equal, x, y)


def less(x: Any, y: Any) -> Tensor:
    """x < y, element by element: bool.

    >>> import nnfast
    >>> nnfast.ops.less([1, 2, 3], 2).tolist()
    [True, False, False]
    """
    return _compare("less", np.less, x, y)


def less_equal(x: Any, y: Any) -> Tensor:
    """x <= y, element by element: bool.

    >>> import nnfast
    >>> nnfast.ops.less_equal([1, 2, 3], 2).tolist()
    [True, True, False]
    """
    return _compare("less_equal", np.less_equal, x, y)


def greater(x: Any, y: Any) -> Tensor:
    """x > y, element by element: bool.

    >>> import nnfast
    >>> nnfast.ops.greater([1, 2, 3], 2).tolist()
    [False, False, True]
    """
    return _compare("greater", np.greater, x, y)


def greater_equal(x: Any, y: Any) -> Tensor:
    """x >= y, element by element: bool.

    >>> import nnfast
    >>> nnfast.ops.greater_equal([1, 2, 3], 2).tolist()
    [False, True, True]
    """
    return _compare("greater_equal", np.greater_equal, x, y)


def _truth(name: str, x: Any) -> Any:
    """x as a bool array; anything but 0 is True."""
    a = x.data if isinstance(x, Tensor) else as_array(x, name=name)
    return a if a.dtype == np.bool_ else device.kernels.cast(a, "bool")


def _logical(name: str, kernel: str, *operands: Any) -> Tensor:
    k = device.kernels
    numbers = [k.cast(_truth(name, x), "float32") for x in operands]
    return wrap(k.cast(getattr(k, kernel)(*numbers), "bool"))


def logical_and(x: Any, y: Any) -> Tensor:
    """Are both true (not 0)? bool.

    >>> import nnfast
    >>> nnfast.ops.logical_and([True, False], True).tolist()
    [True, False]
    """
    return _logical("logical_and", "minimum", x, y)


def logical_or(x: Any, y: Any) -> Tensor:
    """Is at least one true (not 0)? bool.

    >>> import nnfast
    >>> nnfast.ops.logical_or([True, False], False).tolist()
    [True, False]
    """
    return _logical("logical_or", "maximum", x, y)


def logical_xor(x: Any, y: Any) -> Tensor:
    """Is exactly one true (not 0)? bool.

    >>> import nnfast
    >>> nnfast.ops.logical_xor([True, False], True).tolist()
    [False, True]
    """
    return _logical("logical_xor", "not_equal", x, y)


def logical_not(x: Any) -> Tensor:
    """Is it false (0)? bool.

    >>> import nnfast
    >>> nnfast.ops.logical_not([True, False]).tolist()
    [False, True]
    """
    k = device.kernels
    return wrap(k.equal(k.cast(_truth("logical_not", x), "float32"), np.zeros((), np.float32)))


# Other names of the same ops, as NumPy and Keras spell them.
negative, absolute = neg, abs
subtract, multiply, divide, true_divide, power = sub, mul, div, div, pow
swish = silu
