"""Tensors with PyTorch's words: `x.size(0)`, `x.view(...)`, `x.max(1)`. The values, the tape and the ops are nnfast's.

A result is the plain `nnfast.Tensor` that an op made, given this file's class: nothing is copied or computed again.
"""

from typing import Any

import numpy as np

from nnfast import device, ops
from nnfast.tape import local
from nnfast.tensor import Tensor as Plain
from nnfast.tensor import Variable, as_array, wrap

_NAMES = {"float": "float32", "double": "float64", "long": "int64", "int": "int32", "short": "int16", "bool": "bool"}


def dtype_of(dtype: Any) -> Any:
    """A NumPy dtype from PyTorch's spelling of it: a dtype, `float`, `int`, or a name."""
    if dtype is float:
        return np.dtype("float32")
    return np.dtype("int64" if dtype is int else dtype)


class _Size(int):
    """`x.size` is the number of elements, `x.size()` the shape, `x.size(0)` one of its numbers."""

    shape: tuple[int, ...]

    def __call__(self, dim: int | None = None) -> Any:
        return self.shape if dim is None else self.shape[dim]


def torch_tensor(x: Any) -> Any:
    """The same tensor, with PyTorch's words. A Variable keeps its class."""
    if x.__class__ is Plain:
        x.__class__ = Tensor
        return x
    if isinstance(x, Plain):
        return x
    return torch_tensor(wrap(device.put(as_array(x))))


def _axes(options: dict[str, Any]) -> dict[str, Any]:
    """PyTorch's `dim` and `keepdim` by the names that ops use."""
    renamed = {"dim": "axis", "keepdim": "keepdims"}
    return {renamed.get(k, k): tuple(v) if isinstance(v, list) else v for k, v in options.items()}


def _sizes(sizes: tuple[Any, ...]) -> Any:
    return sizes[0] if len(sizes) == 1 and isinstance(sizes[0], (tuple, list)) else sizes


class Words:
    """PyTorch's methods, over ops."""

    node: Any

    __slots__ = ()

    def __getattr__(self, name: str) -> Any:
        if name == "grad":  # no gradient has come yet
            return None
        if name.startswith("_") or name == "logits":
            raise AttributeError(name)
        import difflib

        close = difflib.get_close_matches(name, dir(type(self)), 1, 0.6)
        hint = f"Did you mean {close[0]!r}?" if close else "See nnfast.ops for what there is."
        raise AttributeError(f"[Tensor] a tensor has no such method or attribute. Received: {name!r}. {hint}")

    # ---- facts ----
    @property
    def size(self: Any) -> Any:
        """The number of elements; called, the shape, or one of its numbers."""
        size = _Size(self.data.size)
        size.shape = self.data.shape
        return size

    def dim(self: Any) -> int:
        """Number of dimensions."""
        return self.data.ndim

    def numel(self: Any) -> int:
        """Number of elements."""
        return self.data.size

    @property
    def requires_grad(self: Any) -> bool:
        """Is it differentiated, or computed from what is?"""
        return self.node is not None

    @requires_grad.setter
    def requires_grad(self: Any, value: bool) -> None:
        self.requires_grad_(value)

    def requires_grad_(self: Any, requires_grad: bool = True) -> Any:
        """Differentiate by it from now on, or not."""
        if requires_grad and self.data.dtype.kind != "f":
            raise TypeError(f"[requires_grad_] only floats have gradients. Received: dtype {self.data.dtype}")
        if not requires_grad:
            self.node = None
        elif self.node is None:
            self.make_leaf()
        return self

    def backward(
        self: Any,
        gradient: Any = None,
        persistent: bool = False,
        create_graph: bool = False,
        retain_graph: bool | None = None,
    ) -> None:
        """Adds the gradient of this scalar to `.grad` of every leaf that it depends on.

        Args:
            gradient: weights of the elements, if this is no scalar.
            persistent, retain_graph: keep what is needed to call it again.
            create_graph: True is an error: there are no second derivatives.
        """
        if create_graph:
            raise NotImplementedError(
                "[backward] second derivatives are not supported. Received: create_graph=True. Leave it out"
            )
        Plain.backward(self, gradient, persistent or bool(retain_graph))

    @property
    def is_leaf(self: Any) -> bool:
        """Was it made by no op that is differentiated?"""
        return self.node is None or self.node.op is None

    @property
    def device(self: Any) -> str:
        """Where it is: "cpu", or "cuda" after `nnfast.set_device("cuda")`."""
        return "cuda" if device.get_device() == "cuda" else "cpu"

    # ---- the same values, otherwise ----
    def detach(self: Any) -> Any:
        """The same values without history."""
        return torch_tensor(wrap(self.data))

    def clone(self: Any) -> Any:
        """A copy; gradients go through it."""
        return (
            torch_tensor(ops.mul(self, 1.0)) if self.node is not None else torch_tensor(wrap(device.put(self.numpy())))
        )

    def cpu(self: Any) -> Any:
        """Itself."""
        return self

    def cuda(self: Any, *_: Any, **__: Any) -> Any:
        """Itself where the GPU computes (`nnfast.set_device("cuda")`), else a RuntimeError."""
        check_device("cuda")
        return self

    def to(self: Any, *args: Any, **kwargs: Any) -> Any:
        """Another dtype; a device other than the one in use is an error."""
        for value in (*args, *kwargs.values()):
            if isinstance(value, Plain):
                return self.type(value.dtype)
            if is_device(value):
                check_device(value)
            elif not isinstance(value, bool):
                return self.type(value)
        return self

    def type(self: Any, dtype: Any = None) -> Any:
        """The values in another dtype."""
        dtype = dtype_of(dtype)
        return self if self.data.dtype == dtype else torch_tensor(ops.cast(self, dtype.name))

    def astype(self: Any, dtype: Any) -> Any:
        """The values in another dtype."""
        return self.type(dtype)

    def numpy(self: Any, force: bool = False) -> np.ndarray:
        """The values as a NumPy array of its own."""
        return Plain.numpy(self)

    def contiguous(self: Any) -> Any:
        """Itself, or a copy in memory order."""
        return torch_tensor(ops.contiguous(self))

    def view(self: Any, *sizes: Any) -> Any:
        """Another shape; one size may be -1."""
        if len(sizes) == 1 and isinstance(sizes[0], (np.dtype, str)):
            raise TypeError(f"[view] takes sizes. Received: {sizes[0]!r}. For another dtype use x.to(dtype)")
        return torch_tensor(ops.reshape(self, _sizes(sizes)))

    reshape = view

    def view_as(self: Any, other: Any) -> Any:
        """The shape of another tensor."""
        return self.view(other.shape)

    def flatten(self: Any, start_dim: int = 0, end_dim: int = -1) -> Any:
        """The dimensions from start_dim to end_dim as one."""
        first, last = start_dim % max(1, self.ndim), end_dim % max(1, self.ndim)
        middle = 1
        for n in self.shape[first : last + 1]:
            middle *= n
        return self.view(*self.shape[:first], middle, *self.shape[last + 1 :])

    def squeeze(self: Any, dim: Any = None) -> Any:
        """Without dimensions of size 1."""
        if dim is not None and self.shape[dim] != 1:
            return self
        return torch_tensor(ops.squeeze(self, dim))

    def unsqueeze(self: Any, dim: int) -> Any:
        """With a new dimension of size 1."""
        return torch_tensor(ops.expand_dims(self, dim))

    def permute(self: Any, *dims: Any) -> Any:
        """The dimensions in another order."""
        return torch_tensor(ops.transpose(self, _sizes(dims)))

    def transpose(self: Any, dim0: int, dim1: int) -> Any:
        """Two dimensions exchanged."""
        return torch_tensor(ops.swapaxes(self, dim0, dim1))

    def t(self: Any) -> Any:
        """A matrix transposed."""
        return torch_tensor(ops.transpose(self))

    T = property(t, doc="The dimensions in reverse order.")

    def expand(self: Any, *sizes: Any) -> Any:
        """Repeated along dimensions of size 1; -1 keeps one."""
        wanted = _sizes(sizes)
        own = (1,) * (len(wanted) - self.ndim) + self.shape
        return torch_tensor(ops.broadcast_to(self, tuple(o if w == -1 else w for w, o in zip(wanted, own))))

    # ---- reductions: a pair where PyTorch gives one ----
    def max(self: Any, dim: Any = None, keepdim: bool = False) -> Any:
        """The largest element; with dim a pair (values, indices); with a tensor the larger of each two."""
        return _extreme(self, dim, keepdim, ops.max, ops.argmax, ops.maximum)

    def min(self: Any, dim: Any = None, keepdim: bool = False) -> Any:
        """The smallest element; with dim a pair (values, indices); with a tensor the smaller of each two."""
        return _extreme(self, dim, keepdim, ops.min, ops.argmin, ops.minimum)

    def var(self: Any, dim: Any = None, correction: float = 1, keepdim: bool = False, unbiased: bool = True) -> Any:
        """The variance, divided by n - correction (as in PyTorch)."""
        axes = range(self.ndim) if dim is None else dim if isinstance(dim, (tuple, list)) else (dim,)
        n = 1
        for axis in axes:
            n *= self.shape[axis]
        n_less = n - (correction if unbiased else 0)
        value = ops.var(self, axis=dim, keepdims=keepdim)
        return torch_tensor(value * (n / n_less if n_less > 0 else float("nan")))

    def std(self: Any, dim: Any = None, correction: float = 1, keepdim: bool = False, unbiased: bool = True) -> Any:
        """The square root of `var`."""
        return torch_tensor(ops.sqrt(self.var(dim, correction, keepdim, unbiased)))

    def norm(self: Any, p: Any = 2, dim: Any = None, keepdim: bool = False) -> Any:
        """The Euclidean norm; p=1: the sum of absolute values; p=inf: the largest."""
        if p in (2, "fro"):
            return torch_tensor(ops.sqrt(ops.sum(ops.square(self), axis=dim, keepdims=keepdim)))
        if p == 1:
            return torch_tensor(ops.sum(ops.abs(self), axis=dim, keepdims=keepdim))
        if p == float("inf"):
            return torch_tensor(ops.max(ops.abs(self), axis=dim, keepdims=keepdim))
        raise ValueError(f"[norm] p must be 1, 2 or inf. Received: p={p!r}")

    def any(self: Any) -> Any:
        """Is one element not zero?"""
        return torch_tensor(wrap(device.put(np.asarray(device.host(self.data).any()))))

    def all(self: Any) -> Any:
        """Are all elements not zero?"""
        return torch_tensor(wrap(device.put(np.asarray(device.host(self.data).all()))))

    def softmax(self: Any, dim: int = -1) -> Any:
        """Softmax along dim."""
        return torch_tensor(ops.softmax(self, axis=dim))

    def log_softmax(self: Any, dim: int = -1) -> Any:
        """log(softmax) along dim."""
        return torch_tensor(ops.log_softmax(self, axis=dim))

    def clamp(self: Any, min: Any = None, max: Any = None) -> Any:
        """Cut to [min, max]."""
        low, high = (float("-inf") if min is None else min), (float("inf") if max is None else max)
        return torch_tensor(ops.clip(self, low, high))

    # ---- in place ----
    def zero_(self: Any) -> Any:
        """All elements become 0."""
        return self.copy_(0.0)

    def fill_(self: Any, value: float) -> Any:
        """All elements become this number."""
        return self.copy_(value)

    def copy_(self: Any, value: Any) -> Any:
        """All elements become those of another tensor."""
        if self.node is not None and (local.recording or self.node.op is not None):
            raise RuntimeError(
                "[copy_] a tensor that is differentiated changes in place only under no_grad(). "
                f"Received: a tensor of shape {self.shape}. Use with torch.no_grad():"
            )
        if isinstance(self, Variable):
            self.assign(np.broadcast_to(as_array(value), self.shape))
        else:
            self.data = device.put(np.array(np.broadcast_to(device.host(as_array(value)), self.shape), self.dtype))
        return self

    def _accumulate_grad(self: Any, g: Any) -> None:
        Plain._accumulate_grad(self, g)
        torch_tensor(self.grad)

    def __repr__(self: Any) -> str:
        extra = ", requires_grad=True" if self.node is not None and self.node.op is None else ""
        if self.node is not None and self.node.op is not None:
            extra = f", grad_fn=<{self.node.op.name}>"
        kind = "" if self.data.dtype.name in ("float32", "int64", "bool") else f", dtype={self.data.dtype.name}"
        return f"tensor({np.array2string(device.host(self.data), separator=', ', prefix='tensor(')}{kind}{extra})"


def _extreme(x: Any, dim: Any, keepdim: bool, reduce: Any, arg: Any, both: Any) -> Any:
    if dim is None:
        return torch_tensor(reduce(x))
    if isinstance(dim, Plain):
        return torch_tensor(both(x, dim))
    return torch_tensor(reduce(x, axis=dim, keepdims=keepdim)), torch_tensor(arg(x, axis=dim, keepdims=keepdim))


def is_device(value: Any) -> bool:
    """Does it name a device?"""
    return isinstance(value, str) and value.split(":")[0] in ("cpu", "cuda", "mps", "xpu", "meta")


def check_device(value: Any) -> str:
    """The name of a device where tensors can be: "cpu", or "cuda" after `nnfast.set_device("cuda")`; else a
    RuntimeError. All tensors are where that says."""
    name = str(value).split(":")[0]
    if name == "cpu" or name == device.get_device() == "cuda":
        return name
    raise RuntimeError(
        f"[device] tensors are on the CPU here. Received: {str(value)!r}. "
        "Use 'cuda' only where torch.cuda.is_available() says so: after nnfast.set_device('cuda')"
    )


class Tensor(Words, Plain):
    """A tensor that answers to PyTorch's method names; made by `torch.tensor`, modules and their functions.

    >>> from nnfast.nn import torch
    >>> x = torch.tensor([[1.0, 5.0, 2.0]])
    >>> values, indices = x.max(1)
    >>> x.size(0), indices.item()
    (1, 1)
    """

    __slots__ = ()


class Leaf(Words, Variable):
    """A tensor that is differentiated, `torch.tensor(..., requires_grad=True)`: it may change under no_grad()."""

    __slots__ = ()

    def _changed(self: Any, op: Any, other: Any) -> Any:
        with_history = local.recording and self.node is not None
        if with_history:
            raise RuntimeError(
                f"[{op.__name__}] a leaf that requires a gradient changes in place only under no_grad(). "
                f"Received: a tensor of shape {self.shape}. Use with torch.no_grad():"
            )
        self.assign(op(self, other))
        return self

    def __iadd__(self, other: Any) -> Any:  # type: ignore[misc]
        return self._changed(ops.add, other)

    def __isub__(self, other: Any) -> Any:  # type: ignore[misc]
        return self._changed(ops.sub, other)

    def __imul__(self, other: Any) -> Any:  # type: ignore[misc]
        return self._changed(ops.mul, other)

    def __itruediv__(self, other: Any) -> Any:  # type: ignore[misc]
        return self._changed(ops.div, other)

    add_, sub_, mul_, div_ = __iadd__, __isub__, __imul__, __itruediv__


class Parameter(Leaf):
    """A leaf that a Module finds among its attributes, and an optimizer changes.

    Args:
        data: its values, which are copied.
        requires_grad: does it learn?
    """

    __slots__ = ()

    def __init__(self, data: Any, requires_grad: bool = True):
        super().__init__(data, trainable=requires_grad, name="Parameter")

    def __repr__(self) -> str:
        return f"Parameter containing:\n{super().__repr__()}"


def _method(f: Any, name: str) -> Any:
    def method(self: Any, *args: Any, **options: Any) -> Any:
        return torch_tensor(f(self, *args, **_axes(options)))

    method.__name__, method.__doc__ = name, f"ops.{getattr(f, '__name__', name)}."
    return method


def _operator(name: str) -> Any:
    plain = getattr(Plain, name)

    def method(self: Any, *args: Any) -> Any:
        y = plain(self, *args)
        return y if y is NotImplemented else torch_tensor(y)

    method.__name__ = name
    return method


_OPERATORS = "add radd sub rsub mul rmul truediv rtruediv pow rpow matmul rmatmul eq ne lt le gt ge and or xor"
for _name in (*_OPERATORS.split(), "neg", "abs", "invert", "getitem"):
    setattr(Words, f"__{_name}__", _operator(f"__{_name}__"))
Words.__hash__ = Plain.__hash__  # type: ignore[assignment,method-assign]
for _name, _f in {
    **{
        n: getattr(ops, n) for n in ("add", "sub", "mul", "div", "pow", "matmul", "dot", "exp", "log", "sqrt", "square")
    },
    **{n: getattr(ops, n) for n in ("abs", "neg", "sign", "relu", "sigmoid", "tanh", "reciprocal", "rsqrt", "log1p")},
    **{n: getattr(ops, n) for n in ("sum", "mean", "prod", "argmax", "argmin", "logsumexp", "isnan", "isinf")},
    "mm": ops.matmul,
    "bmm": ops.matmul,
    "mv": ops.matmul,
    "eq": ops.equal,
    "ne": ops.not_equal,
    "lt": ops.less,
    "le": ops.less_equal,
    "gt": ops.greater,
    "ge": ops.greater_equal,
    "isfinite": ops.isfinite,
}.items():
    setattr(Words, _name, _method(_f, _name))
for _name, _dtype in _NAMES.items():

    def _to(self: Any, dtype: str = _dtype) -> Any:
        return self.type(dtype)

    _to.__name__, _to.__doc__ = _name, f"The values as {_dtype}."
    setattr(Words, _name, _to)
