"""What stands for data before there is any: symbolic tensors, and the calls of layers that connect them.

`Input` makes a symbolic tensor. A layer that is called on one computes nothing: it records a `Node`, whose outputs are
symbolic again. `Model(inputs, outputs)` later walks the nodes between them with real tensors.
"""

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from nnfast import ops
from nnfast.layers.nested import flatten, map_structure
from nnfast.naming import auto_name, to_snake_case
from nnfast.saving.serialization import publish
from nnfast.tape import no_grad

_TRIAL_SIZES = ((2, 83), (3, 89))  # what an unknown batch, and any other unknown size, is in a trial


class SymbolicTensor:
    """The shape, dtype and name of a tensor to come, and which call of which layer it comes from.

    Arithmetic, comparisons and slicing work; they record a node like a layer.

    >>> import nnfast
    >>> x = nnfast.Input(shape=(4,))
    >>> (2 * x[:, 1:] + 1).shape
    (None, 3)
    """

    __array_ufunc__ = None  # NumPy's operators give way to ours

    def __init__(self, shape: tuple[int | None, ...], dtype: str, name: str | None = None):
        self.shape, self.dtype, self.name = shape, dtype, name or auto_name("keras_tensor")
        self.node: Any = None
        self.index = 0  # which of the node's outputs it is

    @property
    def ndim(self) -> int:
        """Number of dimensions, the batch included."""
        return len(self.shape)

    @property
    def _keras_history(self) -> tuple[Any, int, int]:
        nodes = self.node.layer._nodes
        return self.node.layer, next((i for i, n in enumerate(nodes) if n is self.node), 0), self.index

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        raise TypeError(
            f"[Input] {self.name!r} is a placeholder, it has no values. Received: it where data is needed. Functions "
            "of nnfast.ops and layers take it; for others use layers.Lambda(lambda x: ...)(x)"
        )

    def _record_op(self, f: Any, args: Any, kwargs: Any) -> Any:
        """What a function of ops means where this is among its operands: a node."""
        if f.__name__ == "convert_to_tensor":
            x, dtype = (*args, *kwargs.values(), None)[:2]
            return x if dtype in (None, x.dtype) else OPERATIONS["Cast"](dtype=np.dtype(dtype).name)(x)
        operation, rename = _OF_FUNCTION[f]
        try:
            given = inspect.signature(f).bind(*args, **kwargs)
        except TypeError as e:
            raise TypeError(f"[{f.__name__}] {e}") from None
        own = _OWN & set(given.arguments)
        given.apply_defaults()
        operands, options = [], {}
        for key, value in given.arguments.items():
            if key in _OPERANDS:
                operands.append(value)
            elif is_symbolic(value) or key in own:
                raise TypeError(
                    f"[{f.__name__}] in a functional model {key} must be left out, or be known. "
                    f"Received: {key}={value!r}. Put the call into layers.Lambda"
                )
            elif key not in _OWN:
                options[rename.get(key, key)] = np.dtype(value).name if key == "dtype" and value else value
        return operation(**options)(*operands)

    def __len__(self) -> int:
        raise TypeError(f"[Input] {self.name!r} is a placeholder, its length is not known")

    def __iter__(self) -> Any:
        raise TypeError(f"[Input] {self.name!r} is a placeholder, it cannot be iterated over. Slice it: x[:, 0]")

    def __bool__(self) -> bool:
        raise TypeError(
            f"[Input] {self.name!r} is a placeholder, neither true nor false. For a choice that depends on data use "
            "layers.Lambda with ops.where"
        )

    def __getitem__(self, key: Any) -> Any:
        return OPERATIONS["GetItem"]()(self, key)

    def __repr__(self) -> str:
        return f"<SymbolicTensor shape={self.shape}, dtype={self.dtype}, name={self.name}>"


class Node:
    """One call of a layer on symbolic tensors.

    Args:
        layer: which, or which Operation.
        args, kwargs: what it was called with: structures that hold symbolic tensors.
        outputs: the structure of symbolic tensors that it gave.
    """

    def __init__(self, layer: Any, args: Any, kwargs: Any, outputs: Any):
        # A layer may hand its input on; the output is a tensor of its own nevertheless.
        outputs = map_structure(lambda t: t if t.node is None else SymbolicTensor(t.shape, t.dtype), outputs)
        self.layer, self.args, self.kwargs, self.structure = layer, args, kwargs, outputs
        self.outputs = flatten(outputs)
        for i, t in enumerate(self.outputs):
            t.node, t.index = self, i

    @property
    def inputs(self) -> list[SymbolicTensor]:
        """The symbolic tensors among its arguments."""
        return [v for v in flatten([self.args, self.kwargs]) if isinstance(v, SymbolicTensor)]


def is_symbolic(x: Any) -> bool:
    """Is it a symbolic tensor, or a structure that holds one?"""
    if isinstance(x, SymbolicTensor):
        return True
    if isinstance(x, dict):
        return any(map(is_symbolic, x.values()))
    if isinstance(x, list) and x and isinstance(x[0], (int, float)):  # data: thousands of numbers
        return False
    return isinstance(x, (list, tuple)) and any(map(is_symbolic, x))


def shapes_of(x: Any) -> Any:
    """The shapes of a structure of tensors; lists and tuples of them become lists."""
    if isinstance(x, dict):
        return {k: shapes_of(v) for k, v in x.items()}
    if isinstance(x, (list, tuple)):
        return [shapes_of(v) for v in x]
    return tuple(x.shape) if hasattr(x, "shape") else None


def symbols(shapes: Any, dtype: str) -> Any:
    """New symbolic tensors for a structure of shapes (a tuple of sizes is one shape)."""
    if isinstance(shapes, dict):
        return {k: symbols(v, dtype) for k, v in shapes.items()}
    if isinstance(shapes, list):
        return [symbols(v, dtype) for v in shapes]
    return SymbolicTensor(shapes, dtype)


def trial(f: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """The symbolic outputs of f, found by running it twice, on zeros of two sizes: sizes that change are unknown."""
    results = []
    for batch, size in _TRIAL_SIZES:

        def zeros(v: Any, batch: int = batch, size: int = size) -> Any:
            if not isinstance(v, SymbolicTensor):
                return v
            shape = [(batch if i == 0 else size) if n is None else n for i, n in enumerate(v.shape)]
            return ops.zeros(shape, dtype=v.dtype)

        given, named = map_structure(zeros, (args, kwargs))
        with no_grad():
            results.append(f(*given, **named))
    return map_structure(_symbol_between, *results)


def _symbol_between(a: Any, b: Any) -> SymbolicTensor:
    if not hasattr(a, "shape") or len(a.shape) != len(b.shape):
        raise TypeError(f"[Layer] what a layer returns must be tensors of one rank. Received: {type(a).__name__}")
    return SymbolicTensor(tuple(n if n == m else None for n, m in zip(a.shape, b.shape)), np.dtype(a.dtype).name)


# ---- operations: functions of ops as nodes ----


class Operation:
    """A function of `ops` in a functional model: what `x + 1` or `x[:, 0]` records. It has no weights.

    Args:
        name: default: the class's, with a number.
        **options: further arguments of the function.
    """

    function: Callable[..., Any]
    built = True
    weights: tuple[Any, ...] = ()
    trainable = True

    def __init__(self, name: str | None = None, **options: Any):
        self.name = name or auto_name(to_snake_case(type(self).__name__))
        known = inspect.signature(type(self).function).parameters
        for key in set(options) - set(known):  # what Keras has and we have not: unused where it is None or False
            if options.pop(key):
                raise ValueError(f"[{type(self).__name__}] the option {key!r} is not supported. Leave it out")
        self.options = options
        self._nodes: list[Node] = []

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        kwargs.pop("training", None)
        if not is_symbolic((args, kwargs)):
            return type(self).function(*args, **kwargs, **self.options)
        node = Node(self, args, kwargs, self._symbolic_outputs(args, kwargs))
        self._nodes.append(node)
        return node.structure

    def _symbolic_outputs(self, args: Any, kwargs: Any) -> Any:
        return trial(self, args, kwargs)

    @property
    def output(self) -> Any:
        """What it gave when it was called first."""
        return self._nodes[0].structure

    def count_params(self) -> int:
        """0."""
        return 0

    def get_config(self) -> dict[str, Any]:
        """The arguments that make an equal one."""
        return {"name": self.name, **self.options}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Operation":
        """One from what `get_config` gave."""
        return cls(**config)


def _get_item(x: Any, key: Any) -> Any:
    return x[tuple(key) if isinstance(key, list) else key]


def _reshape(x: Any, newshape: Any) -> Any:
    sizes = [x.shape[i] if n is None else n for i, n in enumerate(newshape)]
    return ops.reshape(x, sizes)


def _one_hot(x: Any, num_classes: int, axis: int = -1, dtype: Any = None) -> Any:
    y = ops.one_hot(x, num_classes, dtype)
    return y if axis == -1 else ops.moveaxis(y, -1, axis)


def _pad(x: Any, pad_width: Any, mode: str = "constant", constant_values: Any = None) -> Any:
    if mode != "constant":
        raise ValueError(f"[pad] mode must be 'constant'. Received: mode={mode!r}")
    return ops.pad(x, pad_width, constant_values or 0.0)


# Keras's class: the function. What keras.ops.numpy has, then keras.ops.nn, math and core.
_NUMPY: dict[str, Callable[..., Any]] = {
    "Add": ops.add,
    "Subtract": ops.subtract,
    "Multiply": ops.multiply,
    "TrueDivide": ops.true_divide,
    "Divide": ops.divide,
    "Power": ops.power,
    "Matmul": ops.matmul,
    "Negative": ops.negative,
    "Absolute": ops.absolute,
    "Abs": ops.abs,
    "Maximum": ops.maximum,
    "Minimum": ops.minimum,
    "Equal": ops.equal,
    "NotEqual": ops.not_equal,
    "Less": ops.less,
    "LessEqual": ops.less_equal,
    "Greater": ops.greater,
    "GreaterEqual": ops.greater_equal,
    "LogicalAnd": ops.logical_and,
    "LogicalOr": ops.logical_or,
    "LogicalNot": ops.logical_not,
    "GetItem": _get_item,
    "Exp": ops.exp,
    "Log": ops.log,
    "Sqrt": ops.sqrt,
    "Square": ops.square,
    "Tanh": ops.tanh,
    "Sum": ops.sum,
    "Mean": ops.mean,
    "Max": ops.max,
    "Min": ops.min,
    "Prod": ops.prod,
    "Var": ops.var,
    "Std": ops.std,
    "Argmax": ops.argmax,
    "Argmin": ops.argmin,
    "Any": ops.any,
    "All": ops.all,
    "Sign": ops.sign,
    "Expm1": ops.expm1,
    "Log1p": ops.log1p,
    "Reciprocal": ops.reciprocal,
    "Clip": ops.clip,
    "Where": ops.where,
    "LogicalXor": ops.logical_xor,
    "Isnan": ops.isnan,
    "Isinf": ops.isinf,
    "Isfinite": ops.isfinite,
    "Dot": ops.dot,
    "ZerosLike": ops.zeros_like,
    "OnesLike": ops.ones_like,
    "Ravel": ops.ravel,
    "Swapaxes": ops.swapaxes,
    "Moveaxis": ops.moveaxis,
    "BroadcastTo": ops.broadcast_to,
    "Split": ops.split,
    "Take": ops.take,
    "Repeat": ops.repeat,
    "Tile": ops.tile,
    "Flip": ops.flip,
    "Pad": _pad,
    "Reshape": _reshape,
    "Transpose": ops.transpose,
    "ExpandDims": ops.expand_dims,
    "Squeeze": ops.squeeze,
    "Concatenate": ops.concatenate,
    "Stack": ops.stack,
}
_NN: dict[str, Callable[..., Any]] = {
    "Relu": ops.relu,
    "Sigmoid": ops.sigmoid,
    "Softmax": ops.softmax,
    "LogSoftmax": ops.log_softmax,
    "Softplus": ops.softplus,
    "Softsign": ops.softsign,
    "Silu": ops.silu,
    "Elu": ops.elu,
    "Selu": ops.selu,
    "Gelu": ops.gelu,
    "LeakyRelu": ops.leaky_relu,
    "HardSigmoid": ops.hard_sigmoid,
    "OneHot": _one_hot,
}
_MATH: dict[str, Callable[..., Any]] = {"Rsqrt": ops.rsqrt, "Erf": ops.erf, "Logsumexp": ops.logsumexp}
_CORE: dict[str, Callable[..., Any]] = {"Cast": ops.cast, "StopGradient": ops.stop_gradient}
# The other arguments of a function are options.
_OPERANDS = {"x", "y", "a", "b", "condition", "arrays", "indices", "variable"}
_OWN = {"scale", "status", "value"}  # options that Keras's classes have not


def _class(name: str, function: Callable[..., Any]) -> type[Operation]:
    return type(name, (Operation,), {"function": staticmethod(function), "__doc__": f"{name} as a node."})


OPERATIONS: dict[str, type[Operation]] = {}
for _module, _table in (("numpy", _NUMPY), ("nn", _NN), ("math", _MATH), ("core", _CORE)):
    _made = {name: _class(name, f) for name, f in _table.items()}
    publish("ops", _made, module=f"keras.src.ops.{_module}")
    OPERATIONS.update(_made)

# A function of ops: what it is recorded as, and the options that Keras calls otherwise.
_OF_FUNCTION: dict[Any, tuple[type[Operation], dict[str, str]]] = {}
for _name, _operation in OPERATIONS.items():
    _OF_FUNCTION.setdefault(getattr(_operation.function, "__wrapped__", None), (_operation, {}))
for _function, _name, _rename in (
    (ops.concat, "Concatenate", {}),
    (ops.reshape, "Reshape", {"shape": "newshape"}),
    (ops.one_hot, "OneHot", {"classes": "num_classes"}),
    (ops.pad, "Pad", {"widths": "pad_width"}),
):
    _OF_FUNCTION[getattr(_function, "__wrapped__", None)] = OPERATIONS[_name], _rename


def _operator(operation: str, reflected: bool = False) -> Any:
    def method(self: SymbolicTensor, other: Any) -> Any:
        return OPERATIONS[operation]()(*((other, self) if reflected else (self, other)))

    return method


for _name, _kind in {
    "add": "Add",
    "sub": "Subtract",
    "mul": "Multiply",
    "truediv": "TrueDivide",
    "pow": "Power",
    "matmul": "Matmul",
}.items():
    setattr(SymbolicTensor, f"__{_name}__", _operator(_kind))
    setattr(SymbolicTensor, f"__r{_name}__", _operator(_kind, reflected=True))
for _name, _kind in {"lt": "Less", "le": "LessEqual", "gt": "Greater", "ge": "GreaterEqual"}.items():
    setattr(SymbolicTensor, f"__{_name}__", _operator(_kind))
for _name, _kind in {"neg": "Negative", "abs": "Absolute"}.items():
    setattr(SymbolicTensor, f"__{_name}__", lambda self, _o=_kind: OPERATIONS[_o]()(self))
