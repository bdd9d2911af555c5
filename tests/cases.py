"""One table of cases for all kernels: what to call, on which arguments, and how equal the results must be.

A case makes the arguments of one kernel of nnfast/reference.py for a random generator, a dtype and a size. The tests
run it on every device, ISA, dtype, layout and number of threads (test_op_matrix.py). A new kernel needs a case here.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from nnfast import reference


class Changed:
    """An argument that the kernel writes to, or a key: dense memory, copied for each call and compared afterwards."""

    def __init__(self, array):
        self.array = np.asarray(array)


@dataclass(frozen=True)
class Case:
    """make(rng, dtype, size) -> (args, kwargs). large: a size at which several threads work, or None.

    exact: bit for bit as the reference in the same dtype; otherwise within `scale` times the usual bound of the
    reference in float64.
    """

    kernel: str
    label: str
    make: Callable[..., Any]
    sizes: tuple[Any, ...]
    large: Any = None
    scale: float = 1.0
    exact: bool = False

    def __str__(self):
        return f"{self.kernel}-{self.label}"


CASES: list[Case] = []


def case(kernel, label, sizes, large=None, scale=1.0, exact=False):
    """Decorator: adds the maker of arguments to the table."""

    def add(make):
        CASES.append(Case(kernel, label, make, tuple(sizes), large, scale, exact))
        return make

    return add


def uniform(rng, shape, dtype, low=-2.0, high=2.0):
    return rng.uniform(low, high, shape).astype(dtype)


def whole(rng, shape, dtype, limit=3):
    """Small integers: sums of their products are exact, and there are ties."""
    return rng.integers(-limit, limit + 1, shape).astype(dtype)


# ---- element-wise ----
N = (0, 1, 7, 16, 17, 33, 67)  # around one vector of each ISA, and several
LARGE = 70_000

_PARAMETERS = {"clip": (-1.0, 1.5), "leaky_relu": (0.25,), "elu": (1.5,), "gelu": (0.0,)}
_DOMAIN = {
    "log": (0.05, 5),
    "log1p": (-0.9, 5),
    "sqrt": (0.05, 5),
    "rsqrt": (0.1, 5),
    "reciprocal": (0.3, 3),
}
_EXACT_UNARY = {"neg", "abs", "sign", "relu", "clip"}


def _unary(name, label, parameters):
    low, high = _DOMAIN.get(name, (-4, 4))

    @case(name, label, N, LARGE, exact=name in _EXACT_UNARY)
    def forward(rng, dtype, n):
        return (uniform(rng, (3, n), dtype, low, high), *parameters), {}

    @case(name + "_gradient", label, N, LARGE, exact=name in _EXACT_UNARY)
    def gradient(rng, dtype, n):
        x, dy = uniform(rng, (3, n), dtype, low, high), uniform(rng, (3, n), dtype)
        saved = getattr(reference, name)(x, *parameters) if name in reference.GRADIENT_FROM_RESULT else x
        return (dy, saved, *parameters), {}


for _name in reference.UNARY:
    _unary(_name, "plain", _PARAMETERS.get(_name, ()))
_unary("gelu", "tanh", (1.0,))


@case("relu", "out", N)
def _(rng, dtype, n):
    return (uniform(rng, (3, n), dtype),), {"out": Changed(np.full((3, n), 7, dtype))}


_BROADCASTS = {
    "same": lambda n: ((3, n), (3, n)),
    "scalar": lambda n: ((3, n), ()),
    "row": lambda n: ((3, n), (n,)),
    "column": lambda n: ((3, 1), (3, n)),
    "general": lambda n: ((2, 1, n), (5, 1)),
}


def _operands(rng, dtype, shapes, name):
    if name == "pow":
        return uniform(rng, shapes[0], dtype, 0.2, 3), uniform(rng, shapes[1], dtype)
    if name == "div":
        return uniform(rng, shapes[0], dtype), uniform(rng, shapes[1], dtype, 0.3, 3)
    draw = whole if name in ("maximum", "minimum") or name in reference.COMPARISONS else uniform
    return draw(rng, shapes[0], dtype), draw(rng, shapes[1], dtype)


def _binary(name, pattern, shapes_of):
    @case(name, pattern, N, LARGE if pattern in ("same", "row") else None, exact=name != "pow")
    def forward(rng, dtype, n):
        return _operands(rng, dtype, shapes_of(n), name), {}

    if name in reference.COMPARISONS:
        return

    @case(name + "_gradient", pattern, N, LARGE if pattern in ("same", "row") else None, scale=4)
    def gradient(rng, dtype, n):
        shapes = shapes_of(n)
        dy = uniform(rng, np.broadcast_shapes(*shapes), dtype)
        a, b = _operands(rng, dtype, shapes, name)
        return (dy, a, b), {"needs_a": pattern != "row", "needs_b": pattern != "column"}


for _name, (_pattern, _shapes) in itertools.product([*reference.BINARY, *reference.COMPARISONS], _BROADCASTS.items()):
    _binary(_name, _pattern, _shapes)


@case("where", "general", N, LARGE, exact=True)
def _(rng, dtype, n):
    condition = rng.random((3, n)) < 0.5
    return (condition, uniform(rng, (n,), dtype), uniform(rng, (3, 1), dtype)), {}


@case("where_gradient", "general", N, LARGE, scale=4)
def _(rng, dtype, n):
    condition = rng.random((3, n)) < 0.5
    return (uniform(rng, (3, n), dtype), condition, uniform(rng, (n,), dtype), uniform(rng, (3, 1), dtype)), {}


# ---- reductions ----
_AXES = {
    "all": (lambda n: (n,), (0,)),
    "rows": (lambda n: (5, n), (1,)),
    "columns": (lambda n: (n, 5), (0,)),
    "middle": (lambda n: (3, n, 4), (1,)),
    "ends": (lambda n: (3, n, 4), (0, 2)),
    "none": (lambda n: (3, n), ()),
}
_CHOOSES = ("max", "min")


def _reduction(name, pattern, shape_of, axes):
    sizes = N[1:] if name in _CHOOSES else N
    low, high = (0.9, 1.1) if name == "prod" else (-2, 2)
    large = LARGE if pattern in ("all", "rows", "columns") else None
    large = None if name == "prod" else large  # the product of so many is 0 or infinite

    @case(name, pattern, sizes, large, scale=4, exact=name in _CHOOSES)
    def forward(rng, dtype, n):
        return (uniform(rng, shape_of(n), dtype, low, high), axes), {"keepdims": pattern == "middle"}

    gradient = {"max": "extremum", "prod": "prod", "var": "var", "logsumexp": "logsumexp"}.get(name)
    if gradient is None:
        return

    @case(gradient + "_gradient", pattern, sizes, large, scale=8)
    def backward(rng, dtype, n):
        draw = whole if name == "max" else lambda *a: uniform(*a, low, high)
        x = draw(rng, shape_of(n), dtype)
        y = getattr(reference, name)(x, axes)
        dy = uniform(rng, y.shape, dtype)
        return ((dy, x, axes) if name in ("prod", "var") else (dy, x, y, axes)), {}


for _name, (_pattern, (_shape, _axes)) in itertools.product(
    ("sum", "mean", "max", "min", "prod", "var", "logsumexp"), _AXES.items()
):
    _reduction(_name, _pattern, _shape, _axes)

for _name, (_pattern, _axis) in itertools.product(("argmax", "argmin"), {"rows": 1, "columns": 0}.items()):

    @case(_name, _pattern, N[1:], LARGE, exact=True)
    def _(rng, dtype, n, axis=_axis):
        return (whole(rng, (5, n) if axis else (n, 5), dtype), axis), {"keepdims": bool(axis)}


@case("sum_to", "row", N, LARGE, scale=4)
def _(rng, dtype, n):
    return (uniform(rng, (5, n), dtype), (n,)), {}


@case("sum_to", "column", N, LARGE, scale=4)
def _(rng, dtype, n):
    return (uniform(rng, (2, 3, n), dtype), (3, 1)), {}


# ---- gemm ----
MNK = (  # around the tiles of each ISA, thin, deep, and empty in each dimension
    (0, 3, 2),
    (3, 0, 2),
    (3, 2, 0),
    (1, 1, 1),
    (1, 17, 33),
    (13, 33, 5),
    (15, 31, 65),
    (17, 7, 300),
    (65, 130, 9),
)
MNK_LARGE = (150, 270, 130)


def _product(rng, dtype, size, *batch):
    m, n, k = size
    spread = max(k, 1) ** -0.5
    return uniform(rng, (*batch, m, k), dtype), (uniform(rng, (*batch, k, n), dtype) * dtype.type(spread)).astype(dtype)


@case("gemm", "plain", MNK, MNK_LARGE)
def _(rng, dtype, size):
    return _product(rng, dtype, size), {}


@case("gemm", "batch", MNK, MNK_LARGE)
def _(rng, dtype, size):
    return _product(rng, dtype, size, 3), {}


@case("gemm", "alpha beta", MNK, MNK_LARGE)
def _(rng, dtype, size):
    out = Changed(uniform(rng, size[:2], dtype))
    return _product(rng, dtype, size), {"alpha": 1.5, "beta": -0.5, "out": out}


@case("gemm", "exact", MNK, MNK_LARGE, exact=True)
def _(rng, dtype, size):
    m, n, k = size
    return (whole(rng, (m, k), dtype), whole(rng, (k, n), dtype), whole(rng, n, dtype)), {}


def _fused(i, name):
    @case("gemm", name, MNK, MNK_LARGE, scale=4)
    def forward(rng, dtype, size):
        bias = uniform(rng, size[1], dtype)
        return (*_product(rng, dtype, size), bias), {"activation": i, "slope": 0.3}

    @case("gemm_gradient", name, MNK, MNK_LARGE, scale=4)
    def product_gradient(rng, dtype, size):
        y = reference._activate(uniform(rng, size[:2], dtype), i, 0.3).astype(dtype) if i else None
        return (*_product(rng, dtype, size), y), {"activation": i, "slope": 0.3, "needs_sum": True}

    @case("bias_activation_gradient", name, N, LARGE, scale=4)
    def gradient(rng, dtype, n):
        y = reference._activate(uniform(rng, (5, n), dtype), i, 0.3).astype(dtype) if i else None
        return (uniform(rng, (5, n), dtype), y), {"activation": i, "slope": 0.3}


for _i, _name in enumerate(reference._ACTIVATIONS):
    _fused(_i, _name)


@case("gemm_gradient", "exact", MNK, MNK_LARGE, exact=True)
def _(rng, dtype, size):
    m, n, k = size
    y = np.maximum(whole(rng, (m, n), dtype), 0)
    return (whole(rng, (m, k), dtype), whole(rng, (k, n), dtype), y), {"activation": 1, "needs_sum": True}


@case("bias_activation_gradient", "channels", N, LARGE, scale=4)
def _(rng, dtype, n):
    return (uniform(rng, (2, 3, n), dtype), uniform(rng, (2, 3, n), dtype)), {"activation": 1, "axis": 1}


# ---- conv2d ----
NHWCF = ((0, 5, 5, 2, 3), (1, 5, 6, 1, 1), (2, 7, 9, 3, 17), (1, 9, 8, 16, 33), (1, 6, 7, 5, 4), (3, 8, 21, 4, 6))
NHWCF_LARGE = (6, 20, 20, 16, 24)
_CONV = {
    "valid": ((3, 3), {}),
    "same": ((3, 3), {"pads": ((1, 1), (1, 1))}),
    "strided": ((3, 2), {"strides": (2, 3), "pads": ((0, 1), (2, 1))}),
    "dilated": ((2, 3), {"dilation": (3, 2), "pads": ((1, 2), (2, 0))}),
    "groups": ((3, 3), {"groups": 2}),
    "depthwise": ((3, 3), {"groups": -1, "pads": ((1, 1), (1, 1))}),
    "one by one": ((1, 1), {"strides": (2, 2)}),
    "channels first": ((3, 3), {"channels_first": True, "pads": ((1, 0), (0, 1))}),
}


def _geometry(kernel, how, size):
    """x, w and y shapes, and the options with the real number of groups."""
    n, h, w, c, f = size
    how = dict(how)
    groups = how.get("groups", 1)
    if groups == -1:
        how["groups"], f = c, 2 * c
    elif groups == 2:
        c, f = 2 * c, 2 * f
    pads, strides = how.get("pads", ((0, 0), (0, 0))), how.get("strides", (1, 1))
    dilation = how.get("dilation", (1, 1))
    p, q = (reference._out_size((h, w)[i], kernel[i], strides[i], pads[i], dilation[i]) for i in (0, 1))
    first = how.get("channels_first", False)
    x_shape = (n, c, h, w) if first else (n, h, w, c)
    y_shape = (n, f, p, q) if first else (n, p, q, f)
    return x_shape, (*kernel, c // how.get("groups", 1), f), y_shape, how


def _conv(label, kernel, how, draw, exact):
    spread = 1.0 if exact else 0.2
    scaled = lambda rng, shape, dtype: (draw(rng, shape, dtype) * dtype.type(spread)).astype(dtype)  # noqa: E731

    @case("conv2d", label, NHWCF, NHWCF_LARGE, exact=exact)
    def forward(rng, dtype, size):
        x, w, _, options = _geometry(kernel, how, size)
        return (draw(rng, x, dtype), scaled(rng, w, dtype), draw(rng, w[3], dtype)), {**options, "activation": 1}

    @case("conv2d_input_gradient", label, NHWCF, NHWCF_LARGE, exact=exact)
    def input_gradient(rng, dtype, size):
        x, w, y, options = _geometry(kernel, how, size)
        return (draw(rng, y, dtype), scaled(rng, w, dtype), x), options

    @case("conv2d_filter_gradient", label, NHWCF, NHWCF_LARGE, scale=4, exact=exact)
    def filter_gradient(rng, dtype, size):
        x, w, y, options = _geometry(kernel, how, size)
        return (draw(rng, x, dtype), scaled(rng, y, dtype), w), options


for _label, (_kernel, _how) in _CONV.items():
    _conv(_label, _kernel, _how, uniform, False)
    _conv(_label + " exact", _kernel, _how, whole, True)

# ---- pooling ----
NHWC = ((0, 4, 4, 3), (1, 5, 6, 1), (2, 7, 9, 3), (1, 8, 8, 16), (1, 9, 11, 17), (2, 6, 10, 33))
NHWC_LARGE = (6, 40, 40, 16)
_POOL = {
    "halves": {"pool": (2, 2), "strides": (2, 2)},
    "overlapping": {"pool": (3, 3), "strides": (2, 1), "pads": ((1, 1), (0, 1))},
    "dilated": {"pool": (2, 2), "strides": (1, 2), "dilation": (2, 3)},
    "ceil": {"pool": (3, 2), "strides": (3, 3), "pads": ((1, 0), (0, 0)), "ceil_mode": True},
    "channels first": {"pool": (2, 2), "strides": (2, 2), "channels_first": True},
}


def _images(size, how):
    n, h, w, c = size
    return (n, c, h, w) if how.get("channels_first") else size


def _pool(label, how):
    @case("max_pool2d", label, NHWC, NHWC_LARGE, exact=True)
    def largest(rng, dtype, size):
        return (whole(rng, _images(size, how), dtype),), {**how, "indices": label in ("overlapping", "halves")}

    @case("max_pool2d_gradient", label, NHWC, NHWC_LARGE, exact=True)
    def largest_gradient(rng, dtype, size):
        x = whole(rng, _images(size, how), dtype)
        return (whole(rng, reference.max_pool2d(x, **how).shape, dtype), x), how

    for padding in (False, True):
        more = {**how, "count_include_pad": padding}
        named = label + (" with padding" if padding else "")

        @case("avg_pool2d", named, NHWC, NHWC_LARGE)
        def mean(rng, dtype, size, more=more):
            return (uniform(rng, _images(size, how), dtype),), more

        @case("avg_pool2d_gradient", named, NHWC, NHWC_LARGE)
        def mean_gradient(rng, dtype, size, more=more):
            x = uniform(rng, _images(size, how), dtype)
            return (uniform(rng, reference.avg_pool2d(x, **more).shape, dtype), x.shape), more


for _label, _how in _POOL.items():
    _pool(_label, _how)


@case("avg_pool2d", "exact", NHWC, NHWC_LARGE, exact=True)
def _(rng, dtype, size):
    return (whole(rng, size, dtype),), {"pool": (2, 2), "strides": (2, 2)}


@case("avg_pool2d_gradient", "exact", NHWC, NHWC_LARGE, exact=True)
def _(rng, dtype, size):
    n, h, w, c = size
    return (whole(rng, (n, h // 2, w // 2, c), dtype), size), {"pool": (2, 2), "strides": (2, 2)}


# ---- softmax ----
for _name, (_label, _axis) in itertools.product(("softmax", "log_softmax"), {"rows": -1, "middle": 1}.items()):

    @case(_name, _label, N[1:], LARGE, scale=4)
    def _(rng, dtype, n, axis=_axis):
        return (uniform(rng, (5, n) if axis == -1 else (2, n, 3), dtype, -8, 8), axis), {}

    @case(_name + "_gradient", _label, N[1:], LARGE, scale=8)
    def _(rng, dtype, n, axis=_axis, name=_name):
        y = getattr(reference, name)(uniform(rng, (5, n) if axis == -1 else (2, n, 3), dtype), axis)
        return (uniform(rng, y.shape, dtype), y, axis), {}


ROWS_CLASSES = ((0, 10), (1, 1), (5, 2), (33, 10), (16, 16), (7, 17), (3, 100))
_XENT = {
    "mean": {},
    "sum": {"reduction": "sum"},
    "none": {"reduction": "none"},
    "smoothing": {"label_smoothing": 0.1},
    "ignore": {"ignore_class": 0},
    "weights": {"sample_weight": 1, "class_weight": 1},
}
for _label, _how in _XENT.items():

    @case("softmax_xent", _label, ROWS_CLASSES, (20_000, 10), scale=4)
    def _(rng, dtype, size, how=_how):
        n, c = size
        options = dict(how)
        for key, length in (("sample_weight", n), ("class_weight", c)):
            if key in options:
                options[key] = uniform(rng, length, dtype, 0.5, 2)
        return (uniform(rng, (n, c), dtype, -5, 5), rng.integers(0, c, n)), options

    if "ignore_class" not in _how:

        @case("softmax_xent", _label + " soft", ROWS_CLASSES, (20_000, 10), scale=4)
        def _(rng, dtype, size, how=_how):
            n, c = size
            options = dict(how)
            for key, length in (("sample_weight", n), ("class_weight", c)):
                if key in options:
                    options[key] = uniform(rng, length, dtype, 0.5, 2)
            labels = uniform(rng, (n, c), np.float64, 0.1, 1)
            return (uniform(rng, (n, c), dtype, -5, 5), (labels / labels.sum(1, keepdims=True)).astype(dtype)), options


@case("sigmoid_xent", "plain", N, LARGE, scale=4)
def _(rng, dtype, n):
    return (uniform(rng, (3, n), dtype, -20, 20), uniform(rng, (3, n), dtype, 0, 1)), {}


# ---- optimizer steps ----
_STEPS: dict[str, tuple[str, tuple[str | None, ...], dict[str, Any]]] = {
    "plain": ("sgd", (None,), {"weight_decay": 0.1}),
    "momentum": ("sgd", ("m",), {"momentum": 0.9}),
    "nesterov": ("sgd", ("m",), {"momentum": 0.9, "nesterov": True}),
    "rmsprop": ("rmsprop", ("v", None, None), {"weight_decay": 0.1}),
    "rmsprop momentum centered": ("rmsprop", ("v", "m", "mean"), {"momentum": 0.8}),
    "adam": ("adam", ("m", "v", None), {"weight_decay": 0.1}),
    "amsgrad": ("adam", ("m", "v", "v"), {}),
    "adagrad": ("adagrad", ("v",), {"weight_decay": 0.1}),
    "pytorch momentum": ("sgd", ("m",), {"momentum": 0.9, "dampening": 0.5, "l2": 0.1, "pytorch": True}),
    "pytorch rmsprop": ("rmsprop", ("v", "m", "mean"), {"momentum": 0.8, "l2": 0.1, "pytorch": True}),
    "pytorch adam": ("adam", ("m", "v", None), {"l2": 0.1, "epsilon": 0.1, "pytorch": True}),
    "pytorch adagrad": ("adagrad", ("v",), {"l2": 0.1, "epsilon": 0.1, "pytorch": True}),
    "adadelta": ("adadelta", ("v", "v"), {"weight_decay": 0.1}),
    "adamax": ("adamax", ("m", "v"), {"weight_decay": 0.1}),
    "nadam": ("nadam", ("m", "v", "product"), {"weight_decay": 0.1}),
    "lion": ("lion", ("m",), {"weight_decay": 0.1}),
    "ftrl": ("ftrl", ("v", "m"), {"weight_decay": 0.1, "l1": 0.1, "l2": 0.2, "l2_shrinkage": 0.3, "beta": 0.1}),
    "ftrl power": ("ftrl", ("v", "m"), {"power": -0.7}),
}
_COUNTING = ("adam", "adamax", "nadam", "adafactor")  # they read the step
for _label, (_op, _kinds, _how) in _STEPS.items():

    @case(_op, _label, N, LARGE, scale=4)
    def _(rng, dtype, n, op=_op, kinds=_kinds, how=_how):
        shapes = [(n,), (3, n)]
        ws, gs = [[uniform(rng, s, dtype) for s in shapes] for _ in range(2)]
        spans = {"m": (-1, 1), "v": (2, 3), "mean": (-1, 1)}  # v above mean^2: a variance
        made = lambda kind: [Changed(uniform(rng, s, dtype, *spans[kind])) for s in shapes]  # noqa: E731
        state = [kind and (np.array(0.3, dtype) if kind == "product" else made(kind)) for kind in kinds]
        counters = [np.array(0.01)] + ([np.array(3)] if op in _COUNTING else [])
        return ([Changed(w) for w in ws], gs, *state, *counters), how


@case("adafactor", "plain", N, LARGE, scale=10)
def _(rng, dtype, n):
    shapes = [(n,), (3, n), (n, 5), (2, 3, n // 3), ()]
    ws, gs = [[uniform(rng, s, dtype) for s in shapes] for _ in range(2)]
    factor = lambda s, axis: Changed(uniform(rng, np.delete(s, axis) if len(s) > 1 else (), dtype, 1, 2))  # noqa: E731
    rows, columns = [[factor(s, axis) for s in shapes] for axis in (-1, -2)]
    vs = [Changed(uniform(rng, s, dtype, 1, 2)) for s in shapes]
    return ([Changed(w) for w in ws], gs, rows, columns, vs, np.array(0.01), np.array(3)), {"weight_decay": 0.1}


@case("nadam_advance", "plain", (1,))
def _(rng, dtype, n):
    return (Changed(np.array(0.7, dtype)), np.array(4)), {"beta_1": 0.8}


# ---- what a step does before and after ----
for _step in (0, 3, 5, 8):

    @case("every_nth", f"step {_step}", (1, 3), exact=True)
    def _(rng, dtype, n, step=_step):
        return (np.array(step), n, Changed(np.array(7)), Changed(np.arange(5))), {}

    @case("mean_gradients", f"step {_step}", N, LARGE)
    def _(rng, dtype, n, step=_step):
        gs, sums = [[uniform(rng, s, dtype) for s in ((n,), (3, n))] for _ in range(2)]
        return ([Changed(a) for a in sums], gs, np.array(step), 3), {"scale": 0.25}

    @case("average_weights", f"step {_step}", N, LARGE)
    def _(rng, dtype, n, step=_step):
        ws, means = [[Changed(uniform(rng, s, dtype)) for s in ((n,), (3, n))] for _ in range(2)]
        return (ws, means, np.array(step)), {"momentum": 0.9, "overwrite_every": 3 * (step != 3)}


for _label, _how in {
    "scale": {"scale": 0.25},
    "value": {"value": 0.5},
    "value scaled": {"value": 0.5, "scale": 0.5},
    "norm": {"norm": 1.5},
    "norm scaled": {"norm": 1.5, "scale": 4.0},
    "global": {"global_norm": 1.5},
    "within": {"global_norm": 1e9},
}.items():

    @case("clip_gradients", _label, N, LARGE)
    def _(rng, dtype, n, how=_how):
        return ([uniform(rng, s, dtype) for s in ((n,), (3, n), ())],), how


# ---- what a step writes at its end ----
@case("accumulate", "plain", N, LARGE, scale=100)
def _(rng, dtype, n):
    return (Changed(np.array([1.5, 2.0])), uniform(rng, n, dtype)), {"scale": 0.5}


@case("accumulate", "weights", N, LARGE, scale=100)
def _(rng, dtype, n):
    return (Changed(np.array([1.5, 2.0])), uniform(rng, (3, n), dtype), uniform(rng, (3, n), dtype, 0, 1)), {}


@case("class_hits", "rows", N, LARGE, exact=True)
def _(rng, dtype, n):
    x = whole(rng, (n, 5), dtype)
    x[::7, 2] = np.nan
    return (x, rng.integers(-1, 6, n)), {}


@case("class_hits", "floats", N, LARGE, exact=True)
def _(rng, dtype, n):
    return (whole(rng, (2, n, 3), dtype), rng.choice([0.0, 1.0, 2.0, 0.5, np.nan], (2, n))), {}


@case("advance", "plain", (1, 5))
def _(rng, dtype, n):
    return (Changed(np.array(7)), n), {}


@case("check_finite", "bad", N[1:], LARGE, exact=True)
def _(rng, dtype, n):
    x = uniform(rng, (3, n), dtype)
    x[2, n // 2], x[2, n - 1] = np.nan, np.inf
    return (x,), {"status": Changed(np.zeros(5, np.int64))}


@case("check_finite", "good", N, LARGE, exact=True)
def _(rng, dtype, n):
    return (uniform(rng, (3, n), dtype),), {"status": Changed(np.array([0, 0, 0, 0, 4]))}


# ---- data movement ----
@case("copy", "plain", N, LARGE, exact=True)
def _(rng, dtype, n):
    return (uniform(rng, (3, n), dtype), Changed(np.zeros((3, n), dtype))), {}


@case("copy", "from bytes", N, LARGE, exact=True)
def _(rng, dtype, n):
    return (rng.integers(0, 256, (3, n)).astype(np.uint8), Changed(np.zeros((3, n), dtype))), {}


@case("full", "plain", N, LARGE, exact=True)
def _(rng, dtype, n):
    return ((3, n), dtype.name, 2.5), {}


@case("contiguous", "plain", N, LARGE, exact=True)
def _(rng, dtype, n):
    return (uniform(rng, (3, n), dtype),), {}


@case("cast", "bytes to floats", N, LARGE)
def _(rng, dtype, n):
    return (rng.integers(0, 256, (3, n)).astype(np.uint8), dtype.name, 1 / 255), {}


@case("cast", "floats to integers", N, LARGE, exact=True)
def _(rng, dtype, n):
    return (uniform(rng, (3, n), dtype, -100, 100), "int32"), {}


@case("cast", "floats to bools", N, LARGE, exact=True)
def _(rng, dtype, n):
    return (whole(rng, (3, n), dtype, 1), "bool"), {}


@case("take_rows", "plain", N, LARGE, exact=True)
def _(rng, dtype, n):
    return (uniform(rng, (4, 3), dtype), rng.integers(0, 4, (n, 2))), {}


@case("take_rows", "images", N, 2000)
def _(rng, dtype, n):
    x = rng.integers(0, 256, (5, 4, 17)).astype(np.uint8)
    return (x, rng.integers(0, 5, n).astype(np.int32)), {"dtype": dtype.name, "scale": 1 / 255}


@case("take_rows", "bad index", N[1:], LARGE, exact=True)
def _(rng, dtype, n):
    indices = rng.integers(0, 4, n)
    indices[n // 2 :] = 4
    return (uniform(rng, (4, 3), dtype), indices), {"status": Changed(np.zeros(5, np.int64))}


@case("take_rows_gradient", "plain", N, LARGE, scale=8)
def _(rng, dtype, n):
    return (uniform(rng, (n, 2, 3), dtype), rng.integers(0, 6, (n, 2)), 6), {}


@case("concat", "rows", N, LARGE, exact=True)
def _(rng, dtype, n):
    return ([uniform(rng, (3, m), dtype) for m in (n, 2, 5)], 1), {}


@case("concat", "columns", N, LARGE, exact=True)
def _(rng, dtype, n):
    return ([uniform(rng, (m, 3), dtype) for m in (n, 2, n)], 0), {}


@case("pad", "plain", N, LARGE, exact=True)
def _(rng, dtype, n):
    return (uniform(rng, (3, n), dtype), ((1, 0), (2, 3)), 1.5), {}


@case("one_hot", "plain", N, LARGE, exact=True)
def _(rng, dtype, n):
    return (rng.integers(0, 5, (n, 2)), 5, dtype.name), {}


# ---- upsample2d ----
_UPSAMPLES = {
    "nearest": {"size": (2, 3)},
    "bilinear": {"size": (3, 2), "bilinear": True},
    "channels first": {"size": (2, 2), "bilinear": True, "channels_first": True},
    "wide": {"size": (1, 40), "bilinear": True},
}
_SMALL = ((0, 3, 4, 2), (1, 1, 1, 1), (2, 3, 4, 5), (1, 4, 1, 17), (2, 0, 3, 2))


def _upsample(label, how):
    @case("upsample2d", label, _SMALL, (9, 20, 21, 8), exact=label == "nearest")
    def forward(rng, dtype, size):
        return (whole(rng, size, dtype),), how

    @case("upsample2d_gradient", label, _SMALL, (9, 20, 21, 8), scale=4, exact=label == "nearest")
    def gradient(rng, dtype, size):
        y = reference.upsample2d(np.zeros(size, dtype), **how)
        return (whole(rng, y.shape, dtype), size), how


for _label, _how in _UPSAMPLES.items():
    _upsample(_label, _how)


# ---- norm ----
# (N, C, L): channels in the middle, with runs and columns of them on both sides of every threshold in norm.cpp.
NCL = ((2, 3, 0), (0, 3, 4), (1, 1, 1), (5, 3, 1), (7, 16, 5), (3, 5, 64), (2, 3, 129), (37, 33, 2), (3, 70, 9))
NCL_LARGE = (600, 90, 3)


def _batch(rng, dtype, size, axis):
    """x with means far from 0 and the parts of one channel each, the channels moved to `axis`."""
    x = np.moveaxis(uniform(rng, size, dtype) + rng.integers(-3, 4, (1, size[1], 1)).astype(dtype), 1, axis)
    c = size[1]
    return x, uniform(rng, c, dtype), uniform(rng, c, dtype), uniform(rng, c, dtype), uniform(rng, c, dtype, 0.3, 3)


def _batch_norm(axis):
    @case("batch_norm", f"axis {axis}", NCL, NCL_LARGE, scale=4)
    def training(rng, dtype, size):
        x, gamma, beta, _, _ = _batch(rng, dtype, size, axis)
        return (x, gamma, None if axis == 0 else beta), {"axis": axis, "epsilon": 1e-3}

    @case("batch_norm_inference", f"axis {axis}", NCL, NCL_LARGE, scale=4)
    def inference(rng, dtype, size):
        x, gamma, beta, mean, variance = _batch(rng, dtype, size, axis)
        return (x, None if axis == 0 else gamma, beta, mean, variance), {"axis": axis, "epsilon": 1e-3}

    @case("batch_norm_gradient", f"axis {axis}", NCL, NCL_LARGE, scale=8)
    def gradient(rng, dtype, size):
        x, gamma, _, mean, variance = _batch(rng, dtype, size, axis)
        return (uniform(rng, x.shape, dtype), x, gamma, mean, variance), {"axis": axis, "epsilon": 1e-3}

    @case("batch_norm_gradient", f"inference, axis {axis}", NCL, NCL_LARGE, scale=8)
    def of_inference(rng, dtype, size):
        x, _, _, mean, variance = _batch(rng, dtype, size, axis)
        wanted = {"needs_dx": axis != 0, "needs_dgamma": axis != 1, "needs_dbeta": axis == 0}
        how = {"axis": axis, "epsilon": 1e-3, "through_statistics": False}
        return (uniform(rng, x.shape, dtype), x, None, mean, variance), how | wanted


for _axis in (0, 1, -1):
    _batch_norm(_axis)


def _layer_norm(axis):
    def parts(rng, dtype, size):
        x, row = uniform(rng, size, dtype) + 1, size[axis:]
        return x, uniform(rng, row, dtype), uniform(rng, row, dtype)

    @case("layer_norm", f"axis {axis}", NCL, NCL_LARGE, scale=4)
    def forward(rng, dtype, size):
        x, gamma, beta = parts(rng, dtype, size)
        return (x, gamma, None if axis == 1 else beta), {"axis": axis, "epsilon": 1e-3}

    @case("layer_norm_gradient", f"axis {axis}", NCL, NCL_LARGE, scale=16)
    def gradient(rng, dtype, size):
        x, gamma, _ = parts(rng, dtype, size)
        _, mean, rstd = reference.layer_norm(x, None, None, axis=axis, epsilon=1e-3)
        wanted = {"needs_dx": axis != 0, "needs_dgamma": axis != 1, "needs_dbeta": axis != -1}
        return (uniform(rng, size, dtype), x, None if axis == -1 else gamma, mean, rstd), {"axis": axis} | wanted


for _axis in (0, 1, 2, -1):
    _layer_norm(_axis)


@case("layer_norm", "long rows", [(3, 2, 5000)])
def _(rng, dtype, size):
    return (uniform(rng, size, dtype), None, None), {"axis": 1, "epsilon": 1e-5}


@case("layer_norm_gradient", "long rows", [(3, 2, 5000)], scale=16)
def _(rng, dtype, size):
    x, dy = uniform(rng, size, dtype), uniform(rng, size, dtype)
    _, mean, rstd = reference.layer_norm(x, None, None, axis=1, epsilon=1e-5)
    return (dy, x, uniform(rng, size[1:], dtype), mean, rstd), {"axis": 1}


@case("batch_norm", "long runs", [(2, 3, 9000), (5, 2, 4100)], (3, 4, 50_000), scale=4)
def _(rng, dtype, size):
    return (uniform(rng, size, dtype) + 3, None, None), {"axis": 1, "epsilon": 1e-5}


@case("moving_average", "plain", N)
def _(rng, dtype, n):
    how = {"momentum": 0.9, "scale": 1.25}
    return (Changed(uniform(rng, (3, n), dtype)), uniform(rng, (3, n), dtype)), how


@case("moving_average", "stopped", N, exact=True)
def _(rng, dtype, n):
    how = {"momentum": 0.9, "status": Changed(np.ones(5, np.int64))}
    return (Changed(uniform(rng, n, dtype)), uniform(rng, n, dtype)), how


# ---- recurrent ----
# (batch, time, features, units): nothing, one, around a tile of rows, around a vector of units
RECURRENT = ((0, 3, 2, 3), (3, 0, 2, 3), (2, 3, 0, 4), (1, 1, 1, 1), (3, 4, 5, 16), (9, 5, 3, 7), (17, 3, 6, 33))
_GATES = {"simple_rnn": 1, "lstm": 4, "gru": 3}
_LINEAR, _RELU, _SIGMOID, _TANH = 0, 1, 5, 6


def _recurrent_parts(rng, dtype, size, name, options):
    b, t, f, u = size
    gates = _GATES[name] * u
    x, w, r = (uniform(rng, s, dtype, -1, 1) for s in ((b, t, f), (f, gates), (u, gates)))
    bias = uniform(rng, (2, gates) if options.get("reset_after", name == "gru") else (gates,), dtype, -1, 1)
    states = [uniform(rng, (b, u), dtype, -1, 1) for _ in range(2 if name == "lstm" else 1)]
    return x, w, (r / np.sqrt(max(u, 1))).astype(dtype), bias, states


def _recurrent(name, label, masked=False, dropped=False, bare=False, **options):
    def extra(rng, dtype, size):
        b, t, _, u = size
        mask = rng.random((b, t)) < 0.6 if masked else None
        return mask, (rng.integers(0, 2, (b, u)) * 2).astype(dtype) if dropped else None

    @case(name, label, RECURRENT, (70, 6, 20, 40), scale=8)
    def forward(rng, dtype, size):
        x, w, u, bias, states = _recurrent_parts(rng, dtype, size, name, options)
        if bare:
            return (x, w, u), options
        return (x, w, u, bias, *states, *extra(rng, dtype, size)), options

    @case(name + "_gradient", label, RECURRENT, (70, 6, 20, 40), scale=8)
    def gradient(rng, dtype, size):
        x, w, u, bias, states = _recurrent_parts(rng, dtype, size, name, options)
        b, t, _, n = size
        more = (None, None) if bare else extra(rng, dtype, size)
        first = states if not bare else [None] * len(states)
        saved = getattr(reference, name)(x, w, u, None if bare else bias, *first, *more, **options)[-1]
        dy = uniform(rng, (b, 1 if bare and t else t, n), dtype)
        last = [None if bare else uniform(rng, (b, n), dtype) for _ in states]
        cell = first[1:] if name == "lstm" else []
        return (dy, *last, x, w, u, saved, *cell, *more), {**options, "needs_x": not bare}


for _name in _GATES:
    _recurrent(_name, "plain")
    _recurrent(_name, "bare", bare=True)
    _recurrent(_name, "masked", masked=True, dropped=True)
    _recurrent(_name, "zero masked", masked=True, zero_masked=True, activation=_RELU)
for _activation in (_LINEAR, _SIGMOID):
    _recurrent("simple_rnn", f"activation {_activation}", activation=_activation)
_recurrent("lstm", "relu", activation=_RELU, recurrent_activation=_TANH)
_recurrent("gru", "reset before", reset_after=False, masked=True, dropped=True)
_recurrent("gru", "reset before bare", reset_after=False, bare=True)


# ---- random ----
def _key(rng):
    return Changed(rng.integers(-(2**62), 2**62, 2))


@case("random_uniform", "plain", N, LARGE, exact=True)
def _(rng, dtype, n):
    return ((3, n), dtype.name, _key(rng)), {}


@case("random_uniform", "range", N, LARGE)
def _(rng, dtype, n):
    return ((3, n), dtype.name, _key(rng)), {"low": -1.5, "high": 2.0}


@case("random_normal", "plain", N, LARGE)
def _(rng, dtype, n):
    return ((3, n), dtype.name, _key(rng)), {"mean": 0.5, "stddev": 2.0}


@case("random_truncated_normal", "plain", N, LARGE)
def _(rng, dtype, n):
    return ((3, n), dtype.name, _key(rng)), {"stddev": 0.5}


@case("permutation", "plain", N, LARGE, exact=True)
def _(rng, dtype, n):
    return (n, _key(rng)), {}


@case("dropout", "plain", N, LARGE)
def _(rng, dtype, n):
    return (uniform(rng, (3, n), dtype), _key(rng)), {"rate": 0.4}


@case("dropout", "columns", N, LARGE)
def _(rng, dtype, n):
    return (uniform(rng, (3, n), dtype), _key(rng)), {"rate": 0.4, "noise_shape": (1, n)}


# ---- attention ----
# (batch, queries, heads, features, keys, features of the values): nothing, one, odd sizes, more than one block of rows
ATTENTION = ((0, 3, 2, 4, 3, 4), (1, 0, 1, 2, 3, 2), (2, 3, 1, 4, 0, 3), (1, 1, 1, 1, 1, 1), (2, 5, 3, 7, 6, 9))
ATTENTION += ((1, 33, 2, 16, 33, 16), (1, 300, 1, 3, 17, 5))


def _attention(label, masked=False, dropped=False, **options):
    def operands(rng, dtype, size):
        b, t, h, d, s, e = size
        q, k, v = (uniform(rng, shape, dtype) for shape in ((b, t, h, d), (b, s, h, d), (b, s, h, e)))
        mask = np.broadcast_to(rng.random((b, 1, t, s)) < 0.5, (b, h, t, s)) if masked else None
        return q, k, v, mask, _key(rng) if dropped else None

    @case("attention", label, ATTENTION, (3, 70, 4, 20, 90, 20), scale=4)
    def forward(rng, dtype, size):
        return operands(rng, dtype, size), options

    @case("attention_gradient", label, ATTENTION, (3, 70, 4, 20, 90, 20), scale=8)
    def gradient(rng, dtype, size):
        b, t, h, _, _, e = size
        return (uniform(rng, (b, t, h, e), dtype), *operands(rng, dtype, size)), options


_attention("plain")
_attention("causal", causal=True, scale=0.3)
_attention("masked", masked=True, dropped=True, rate=0.3, scale=0.5)
_attention("both", masked=True, causal=True)
