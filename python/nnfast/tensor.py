"""Tensor: an array and, if it can be differentiated, its history. Variable: a Tensor whose values can change in place.

The operators (`+`, `@`, slicing, reductions, ...) are attached by `nnfast.ops`; this file knows no op.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from nnfast import config, device, graph
from nnfast.tape import Node, backward, leaf

_DTYPES = {"bool", "float32", "float64", *(f"{u}int{bits}" for u in ("", "u") for bits in (8, 16, 32, 64))}
_NATIVE = frozenset(map(np.dtype, _DTYPES))


def as_array(value: Any, dtype: Any = None, name: str = "Tensor") -> np.ndarray:
    """An array that kernels take, of NumPy or on the GPU: bool, integer, float32 or float64 of native byte order.

    Python floats become `config.floatx()`; arrays keep their dtype. Anything else (complex, strings, objects, ragged
    lists) is a TypeError or ValueError under the tag `name`.
    """
    if value.__class__ is np.ndarray and value.dtype in _NATIVE and (dtype is None or dtype is value.dtype):
        return value
    if isinstance(value, Tensor):
        to = value.dtype if dtype is None else np.dtype(dtype)
        if to != value.dtype or isinstance(value, Variable):  # of a Variable the values of now: they change in place
            return device.kernels.cast(value.data, to)
        return value.data
    if value.__class__ is not np.ndarray and hasattr(value, "filled") and np.any(getattr(value, "mask", False)):
        raise TypeError(
            f"[{name}] a masked array has no values where its mask is True, and the mask would be ignored. "
            "Received: a numpy.ma array with masked elements. Fill them, e.g. with x.filled(0)"
        )
    if device.foreign(value):
        adopted = device.adopt(value, name)
        to = np.dtype(adopted.dtype if dtype is None else dtype)
        if adopted.dtype not in _NATIVE or to.name not in _DTYPES:
            raise TypeError(
                f"[{name}] expects bool, integers, float32 or float64. Received: dtype {adopted.dtype}"
                + (f", to be {to}" if dtype is not None else "")
            )
        return adopted if to == adopted.dtype else device.kernels.cast(adopted, to)
    weak = not isinstance(value, (np.ndarray, np.generic)) and not hasattr(value, "__array__")
    try:
        a = np.asarray(value)
    except ValueError as e:
        reason = str(e).split(". ")[-1]
        raise ValueError(
            f"[{name}] the rows of a nested list must have one length. Received: {reason} "
            "Fill the short ones up, e.g. with utils.pad_sequences(rows)"
        ) from None
    if a.dtype.kind not in "biuf" or a.dtype.itemsize not in (1, 2, 4, 8):
        fix = ". Turn text into numbers first: names of classes with numpy.unique(y, return_inverse=True)[1]"
        raise TypeError(
            f"[{name}] expects numbers: bool, integers, float32 or float64. Received: dtype {a.dtype}"
            f"{fix if a.dtype.kind in 'USO' else ''}"
        )
    if a.dtype.kind == "f" and a.dtype.itemsize == 2:
        raise TypeError(f"[{name}] float16 is not supported. Received: dtype float16. Use astype('float32')")
    if dtype is None and weak and a.dtype == np.float64:
        dtype = config.floatx()
    if dtype is not None:
        wanted = np.dtype(dtype)
        if wanted.name not in _DTYPES:
            raise TypeError(f"[{name}] dtype must be bool, an integer, float32 or float64. Received: dtype={dtype!r}")
        return a.astype(wanted.newbyteorder("="), copy=False)
    return a if a.dtype.isnative else a.astype(a.dtype.newbyteorder("="))


class Tensor:
    """An n-dimensional array of numbers that remembers how it was computed.

    Args:
        value: a number, a (nested) list, a NumPy array, a Tensor, or anything with `__array__`.
            A NumPy array is not copied. Python floats become `nnfast.config.floatx()`.
        dtype: convert to this dtype.

    >>> import nnfast
    >>> x = nnfast.tensor([[1.0, 2.0], [3.0, 4.0]])
    >>> (x @ x).numpy()
    array([[ 7., 10.],
           [15., 22.]], dtype=float32)
    """

    __slots__ = ("__weakref__", "_keras_mask", "data", "grad", "logits", "node")
    __array_ufunc__ = None  # NumPy's operators give way to ours
    name: str | None = None

    data: np.ndarray
    node: Node | None
    grad: "Tensor | None"
    _keras_mask: "Tensor"  # of a result of a layer: which steps count
    logits: "Tensor"  # of a result of softmax or sigmoid alone: what it was computed from

    def __init__(self, value: Any, dtype: Any = None):
        self.data = device.put(as_array(value, dtype))
        self.node = None

    # ---- shape and type ----
    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of the dimensions."""
        return self.data.shape

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return self.data.ndim

    @property
    def dtype(self) -> np.dtype:
        """NumPy dtype of the elements."""
        return self.data.dtype

    @property
    def size(self) -> int:
        """Number of elements."""
        return self.data.size

    @property
    def nbytes(self) -> int:
        """Bytes of the elements."""
        return self.data.nbytes

    # ---- values ----
    def numpy(self) -> np.ndarray:
        """A copy of the values as a NumPy array."""
        graph.reading("numpy()")
        values = device.host(self.data)
        return np.array(values) if values is self.data else values

    def item(self) -> Any:
        """The only element, as a Python number."""
        if self.size != 1:
            raise ValueError(f"[item] only a tensor with one element is a number. Received: shape {self.shape}")
        graph.reading("item()")
        values = self.data
        if values.__class__ is not np.ndarray:
            values = device.host(values)
        return values.item()

    def tolist(self) -> Any:
        """The values as (nested) Python lists."""
        graph.reading("tolist()")
        return device.host(self.data).tolist()

    def detach(self) -> "Tensor":
        """The same values without history."""
        return wrap(self.data)

    def backward(self, gradient: Any = None, persistent: bool = False) -> None:
        """Adds the gradient of this scalar to `.grad` of every Variable that it depends on.

        Args:
            gradient: weights of the elements, if this is no scalar.
            persistent: keep what is needed to call it again.
        """
        backward(self, gradient, persistent)

    def make_leaf(self) -> None:
        """Differentiate by it from now on."""
        self.node = leaf(self)

    def _accumulate_grad(self, g: Any) -> None:
        old = getattr(self, "grad", None)
        self.grad = wrap(g if old is None else device.kernels.add(old.data, g))

    def __reduce__(self) -> Any:
        """Copies and pickles have values of their own, and no history."""
        more = {k: getattr(self, k) for k in ("grad", "_keras_mask") if getattr(self, k, None) is not None}
        return _restored, (type(self), self.numpy(), more)

    # ---- protocols ----
    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        graph.reading("NumPy")
        if dtype is not None and np.dtype(dtype) != self.dtype:
            if copy is False:
                raise ValueError(f"[__array__] a cast from {self.dtype} to {np.dtype(dtype)} needs a copy")
            return device.host(self.data).astype(dtype)
        values = device.host(self.data)
        if values is not self.data and copy is False:
            raise ValueError("[__array__] the tensor lies on the GPU: NumPy needs a copy")
        return np.array(values) if copy and values is self.data else values

    def __dlpack__(self, **kwargs: Any) -> Any:
        graph.reading("DLPack")
        return self.data.__dlpack__(**kwargs)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.data.__dlpack_device__()

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        graph.reading("__cuda_array_interface__")
        return self.data.__cuda_array_interface__  # type: ignore[attr-defined]  # not there on the CPU

    def __len__(self) -> int:
        if self.ndim == 0:
            raise TypeError("[len] a tensor without dimensions has no length")
        return self.shape[0]

    def __iter__(self) -> Iterator["Tensor"]:
        if self.ndim == 0:
            raise TypeError("[iter] a tensor without dimensions cannot be iterated over")
        return (self[i] for i in range(self.shape[0]))

    def __bool__(self) -> bool:
        if self.size != 1:
            raise ValueError(f"[bool] only a tensor with one element is true or false. Received: shape {self.shape}")
        graph.reading("bool()")
        return bool(device.host(self.data))

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __index__(self) -> int:
        if self.dtype.kind not in "iu":
            raise TypeError(f"[index] only an integer tensor can be an index. Received: {self.dtype}")
        return int(self.item())

    def __hash__(self) -> int:
        return id(self)

    def __setitem__(self, key: Any, value: Any) -> None:
        raise TypeError("[setitem] tensors do not change. Build a new one, e.g. with ops.where, or use Variable.assign")

    if TYPE_CHECKING:  # what nnfast.ops attaches

        def _binary(self, other: Any) -> "Tensor": ...

        __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = _binary
        __pow__ = __rpow__ = __matmul__ = __rmatmul__ = __lt__ = __le__ = __gt__ = __ge__ = _binary
        __and__ = __rand__ = __or__ = __ror__ = __xor__ = __rxor__ = _binary

        def __eq__(self, other: Any) -> "Tensor": ...  # type: ignore[override]
        def __ne__(self, other: Any) -> "Tensor": ...  # type: ignore[override]
        def __neg__(self) -> "Tensor": ...
        def __abs__(self) -> "Tensor": ...
        def __invert__(self) -> "Tensor": ...
        def __getitem__(self, key: Any) -> "Tensor": ...
        @property
        def T(self) -> "Tensor": ...
        def _method(self, *args: Any, **options: Any) -> "Tensor": ...

        reshape = transpose = flatten = squeeze = swapaxes = astype = clip = abs = _method
        exp = log = sqrt = square = relu = sigmoid = tanh = _method
        sum = mean = max = min = prod = var = argmax = argmin = _method

    def __repr__(self) -> str:
        graph.reading("repr()")
        values = np.array2string(device.host(self.data), separator=", ", prefix="Tensor(")
        return f"Tensor({values}, dtype={self.dtype})"

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if spec and self.size == 1 else format(str(self), spec)


def wrap(data: np.ndarray, node: Node | None = None) -> Tensor:
    """A Tensor over an array that a kernel made, unchecked."""
    t = Tensor.__new__(Tensor)
    t.data = data
    t.node = node
    return t


class Variable(Tensor):
    """A Tensor that layers and optimizers change in place. It keeps one address for life.

    Args:
        value: initial values; copied.
        trainable: is it differentiated by default?
        dtype: default: that of value (Python floats: `nnfast.config.floatx()`).
        name: shown in errors and summaries.

    >>> import nnfast
    >>> v = nnfast.Variable([1.0, 2.0], name="v")
    >>> v.assign([3.0, 4.0])
    >>> v.numpy()
    array([3., 4.], dtype=float32)
    """

    __slots__ = ("_constraint", "_regularizer", "leaf", "name", "path")
    leaf: Node | None  # its node for life, once it was differentiated by
    name: str
    path: str
    _regularizer: Any
    _constraint: Any

    def __init__(self, value: Any, trainable: bool = True, dtype: Any = None, name: str | None = None):
        a = as_array(value, dtype, "Variable")
        self.data = device.for_life(a)  # initialising is no step of a computation: it bypasses the kernels
        device.moving(self)
        self.node = self.leaf = None
        self.name, self.path, self._regularizer, self._constraint = name or "Variable", name or "Variable", None, None
        self.trainable = trainable

    @property
    def trainable(self) -> bool:
        """Is it differentiated by default?"""
        return self.node is not None

    @trainable.setter
    def trainable(self, value: bool) -> None:
        if value and self.dtype.kind != "f":
            raise TypeError(
                f"[Variable] only float Variables are trainable. Received: {self.name!r} of dtype {self.dtype}"
            )
        if value != (self.node is not None):
            graph.changed()
        if value:
            self.make_leaf()
        else:
            self.node = None

    @property
    def regularizer(self) -> Any:
        """What it adds to the loss: a function of it, or None."""
        return self._regularizer

    @regularizer.setter
    def regularizer(self, value: Any) -> None:
        if value is not self._regularizer:
            graph.changed()
        self._regularizer = value

    @property
    def constraint(self) -> Any:
        """What makes its new value of what an optimizer wrote, or None."""
        return self._constraint

    @constraint.setter
    def constraint(self, value: Any) -> None:
        if value is not self._constraint:
            graph.changed()
        self._constraint = value

    def make_leaf(self) -> None:
        """Differentiate by it from now on, always by the same node: what was computed before stays right."""
        if self.leaf is None:
            self.leaf = leaf(self)
        self.node = self.leaf

    @property
    def version(self) -> int:
        """How often kernels have written to it."""
        return device.kernels.version(self.data)

    def assign(self, value: Any) -> None:
        """Copies new values into it, converted to its dtype. Shapes must be equal."""
        a = as_array(value, self.dtype, "assign")
        if a.shape != self.shape:
            raise ValueError(f"[assign] {self.name!r} has shape {self.shape}. Received: shape {a.shape}")
        device.kernels.copy(a, self.data)

    def assign_add(self, value: Any) -> None:
        """Adds to it, element by element."""
        add = device.kernels.add if self.dtype.kind == "f" else _by_numpy(np.add)  # kernels are for floats
        self.assign(add(self.data, as_array(value, self.dtype, "assign_add")))

    def assign_sub(self, value: Any) -> None:
        """Subtracts from it, element by element."""
        sub = device.kernels.sub if self.dtype.kind == "f" else _by_numpy(np.subtract)
        self.assign(sub(self.data, as_array(value, self.dtype, "assign_sub")))

    def detach(self) -> Tensor:
        """A copy of the values, without history: the Variable may change."""
        return wrap(device.kernels.cast(self.data, self.dtype))

    @property
    def value(self) -> "Variable":
        """Itself (Keras's spelling)."""
        return self

    def __reduce__(self) -> Any:
        restored, (cls, values, more) = super().__reduce__()
        more |= {k: getattr(self, k) for k in ("trainable", "path", "regularizer", "constraint")}
        return restored, (cls, values, more, self.name)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return super().__array__(dtype, True if copy is None else copy)  # it will change: share only if asked to

    def __repr__(self) -> str:
        graph.reading("repr()")
        values = np.array2string(device.host(self.data), separator=", ")
        return (
            f"<Variable name={self.name!r} shape={self.shape} dtype={self.dtype} trainable={self.trainable}>\n{values}"
        )


def _restored(cls: Any, values: np.ndarray, more: dict[str, Any], name: str | None = None) -> Any:
    """What `__reduce__` took apart. A Variable gets memory for life, which has a version."""
    t = cls.__new__(cls)
    if issubclass(cls, Variable):
        Variable.__init__(t, values, trainable=False, name=name)
    else:
        t.data, t.node = device.put(values), None
    for key, value in more.items():
        setattr(t, key, value)
    return t


def _by_numpy(function: Any) -> Any:
    graph.reading(f"arithmetic of integers ({function.__name__})")
    return lambda a, b: function(device.host(a), device.host(b))


def tensor(value: Any, dtype: Any = None) -> Tensor:
    """A Tensor of numbers, lists or arrays. Python floats become `nnfast.config.floatx()`; NumPy arrays are not copied.

    >>> import nnfast
    >>> nnfast.tensor([1, 2, 3]).dtype
    dtype('int64')
    """
    return Tensor(as_array(value, dtype))


def from_dlpack(x: Any) -> Tensor:
    """A Tensor over the memory of an array that speaks DLPack (PyTorch, JAX, NumPy, CuPy), without a copy.

    The array lies where the device computes; the GPU also takes one of the CPU, and copies it.
    """
    return Tensor(as_array(device.from_dlpack(x)))
