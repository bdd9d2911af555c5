"""What all ops share: from inputs to arrays, from the result to a tensor that remembers."""

import functools
import math
import operator
from collections.abc import Iterator
from typing import Any

import numpy as np

from nnfast import config, device, graph
from nnfast.tape import Node, local
from nnfast.tensor import Tensor, Variable, as_array, wrap

ndarray = np.ndarray


class Op:
    """One op: `forward` and, just under it, `gradient`.

    forward(k, *arrays, **options) -> (result, saved): `k` is the module of kernels, `saved` is what the gradient needs.
    gradient(dy, saved, needs) -> one array or None per input; `needs[i]` says whether input i wants it.
    output_shape(*shapes, **options) -> shape of the result, without computing it.
    """

    name = ""
    takes_deferred = False  # dy may be a `tape.Deferred`

    def forward(self, k: Any, *arrays: Any, **options: Any) -> tuple[Any, Any]:
        raise NotImplementedError

    def gradient(self, dy: Any, saved: Any, needs: list[bool]) -> tuple[Any, ...]:
        raise NotImplementedError

    def output_shape(self, *shapes: Any, **options: Any) -> tuple[int | None, ...]:
        raise NotImplementedError

    def apply(self, *inputs: Any, **options: Any) -> Tensor:
        """Runs forward and records it. Inputs are Tensors, arrays that kernels take as they are, or None."""
        arrays: list[Any] = []
        nodes: list[Node | None] = []
        versions: list[Any] = []
        tracked = False
        k, operand = device.kernels, device.operand
        for x in inputs:
            if isinstance(x, Tensor):
                data = x.data
                arrays.append(data)
                nodes.append(x.node)
                if x.node is not None:
                    tracked = True
                if isinstance(x, Variable):
                    versions.append((x, k.version(data)))
            else:
                arrays.append(x if operand is None else operand(x))
                nodes.append(None)
        out, saved = self.forward(k, *arrays, **options)
        return wrap(out, Node(self, nodes, saved, versions) if tracked and local.recording else None)


def view(op: Op, x: Any, **options: Any) -> Tensor:
    """The op's result, which may share its memory with x, unless x is a Variable: that changes in place."""
    if isinstance(x, Variable):
        options["copy"] = True
    return op.apply(x, **options)


def snapshot(k: Any, x: Any, copy: bool) -> Any:
    """x, or a copy of it."""
    return k.cast(x, x.dtype) if copy else x


def float_operands(name: str, *inputs: Any) -> tuple[Any, ...]:
    """The inputs with one float dtype, as Tensors or arrays; None stays None.

    float32 with float64 is a TypeError that names both. Numbers and lists are weak: they take the dtype of the others,
    and so do integer and bool arrays. If nobody is a float, everything becomes `config.floatx()`.
    """
    dtype = None
    uniform = True
    for x in inputs:
        if x is None:
            continue
        tensor = isinstance(x, Tensor)
        a = x.data if tensor else x
        if (tensor or isinstance(a, device.arrays)) and a.dtype.kind == "f":
            if dtype is None:
                dtype = a.dtype
            elif a.dtype is not dtype and a.dtype != dtype:
                if a.dtype.itemsize != dtype.itemsize:
                    raise TypeError(
                        f"[{name}] all operands must have one float dtype. Received: {dtype.name} and {a.dtype.name}. "
                        f"Cast one of them, e.g. ops.cast(x, '{dtype.name}')"
                    )
                uniform = False  # they differ in byte order
            if a.__class__ is not ndarray and not tensor:
                uniform = False  # what a subclass adds (a mask) must not be lost
        else:
            uniform = False
    if uniform and dtype is not None and dtype.isnative and dtype.itemsize in (4, 8):
        return inputs
    wanted = np.dtype(config.floatx()) if dtype is None else dtype.newbyteorder("=")
    converted: list[Any] = []
    for x in inputs:
        if x.__class__ is float or x.__class__ is int:
            x = np.array(x, wanted)
        elif x is not None and not ((x.__class__ is ndarray or isinstance(x, Tensor)) and x.dtype == wanted):
            x = _to_float(name, x, wanted)
        converted.append(x)
    return tuple(converted)


def _to_float(name: str, x: Any, dtype: np.dtype) -> Any:
    if isinstance(x, Tensor):
        return wrap(device.kernels.cast(x.data, dtype))
    a = as_array(x, name=name)
    if a.dtype == dtype:
        return a
    return device.kernels.cast(a, dtype) if a.ndim else a.astype(dtype)


def of_integers(name: str, compute: Any, *inputs: Any) -> Tensor | None:
    """compute(*inputs) by NumPy, exactly, if all of them are integers or bools; else None.

    Kernels are float32 and float64; arithmetic of integers is bookkeeping (indices, counts), is not differentiated, and
    follows NumPy's rules: the dtype of the result, Python numbers that are weak, what wraps round.
    """
    arrays: list[Any] = []
    for x in inputs:
        if isinstance(x, Tensor):
            x = device.host(x.data)
        elif isinstance(x, (list, tuple)):
            x = as_array(x, name=name)
        if not isinstance(x, int) and getattr(getattr(x, "dtype", None), "kind", "") not in _INTEGERS:
            return None
        arrays.append(x if isinstance(x, int) else device.host(as_array(x, name=name)))
    graph.reading(f"{name} of integers")
    try:
        return wrap(device.put(np.asarray(compute(*arrays))))
    except (TypeError, ValueError, OverflowError) as e:
        shapes = ", ".join(f"{a.dtype} {a.shape}" if isinstance(a, ndarray) else repr(a) for a in arrays)
        rule = str(e).strip().rstrip(".")
        kinds = (OverflowError, ValueError, TypeError)  # NumPy's own subclasses take other arguments
        raise next(kind for kind in kinds if isinstance(e, kind))(
            f"[{name}] {rule}. Received: {shapes}. For arithmetic of floats: ops.cast(x, 'float32')"
        ) from None


_INTEGERS = frozenset("biu")


def gives_way(f: Any) -> Any:
    """f as it is public: where it fails and an operand stands for data to come (it has a method `_record_op`), that
    operand says what the call means. `layers` has such operands; no op knows them."""

    @functools.wraps(f)
    def public(*args: Any, **kwargs: Any) -> Any:
        try:
            return f(*args, **kwargs)
        except Exception:
            stand_in = next(_stand_ins([*args, *kwargs.values()]), None)
            if stand_in is None:
                raise
        return stand_in._record_op(f, args, kwargs)

    return public


def _stand_ins(values: Any) -> Iterator[Any]:
    for v in values:
        if isinstance(v, (list, tuple)):
            yield from _stand_ins(v[:_MOST_OPERANDS])
        elif hasattr(type(v), "_record_op"):
            yield v


_MOST_OPERANDS = 1000  # of concat and stack; what is longer is data


def given(name: str, *operands: Any) -> None:
    """A TypeError if an operand that the op cannot do without is None."""
    if any(x is None for x in operands):
        raise TypeError(f"[{name}] expects arrays or numbers. Received: None")


def integer(name: str, arg: str, value: Any) -> int:
    """The argument as an int, or a TypeError: neither floats nor bools are rounded."""
    try:
        if not isinstance(value, (bool, np.bool_)):
            return operator.index(value)
    except TypeError:  # arrays have __index__, too
        pass
    raise TypeError(f"[{name}] {arg} must be an integer. Received: {arg}={value!r}")


def number(name: str, arg: str, value: Any) -> float:
    """The argument as a float, or a TypeError; text is no number."""
    try:
        if not isinstance(value, (str, bytes)):
            return float(value)
    except (TypeError, ValueError, OverflowError):
        pass
    raise TypeError(f"[{name}] {arg} must be a number. Received: {arg}={value!r}")


def several(value: Any) -> tuple[Any, ...]:
    """What stands for one number or for several (a tuple, list or array), as a tuple."""
    if isinstance(value, (np.ndarray, Tensor)) and value.ndim:
        return tuple(value.tolist())
    return tuple(value) if isinstance(value, (tuple, list)) else (value,)


def sizes(name: str, shape: Any) -> tuple[int, ...]:
    """A shape, from one size or several.

    Raises:
        TypeError: a size is no integer.
        ValueError: a size is negative.
        OverflowError: so many elements do not fit into any memory.
    """
    result = tuple(integer(name, "each size of the shape", n) for n in several(shape))
    if min(result, default=0) < 0:
        raise ValueError(f"[{name}] sizes must not be negative. Received: shape={shape}")
    if max(result, default=0) >= 2**63 or (0 not in result and math.prod(result) >= 2**60):
        raise OverflowError(f"[{name}] an array of this shape does not fit in memory. Received: shape={shape}")
    return result
