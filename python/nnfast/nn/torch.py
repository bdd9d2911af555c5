"""PyTorch's top-level functions, so that `from nnfast.nn import torch` reads a course script. All values are nnfast's.

What is here is what such scripts use; a name that is missing says what is near.
"""

import builtins
import difflib
import importlib
import math
import os
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np

from nnfast import config, ops
from nnfast import device as _device
from nnfast import tape as _tape
from nnfast.nn.tensor import Leaf, check_device, dtype_of, torch_tensor
from nnfast.nn.tensor import Tensor as Tensor
from nnfast.ops.random import Generator as _Stream
from nnfast.ops.random import default_generator as _default
from nnfast.tensor import Tensor as _Plain
from nnfast.tensor import as_array as _as_array
from nnfast.tensor import wrap as _wrap

float32 = float_ = np.dtype("float32")
float64 = double = np.dtype("float64")
int64 = long = np.dtype("int64")
int32, int16, int8, uint8 = (np.dtype(n) for n in ("int32", "int16", "int8", "uint8"))
bool = np.dtype("bool")
pi, e, inf, nan = math.pi, math.e, math.inf, math.nan
set_num_threads, get_num_threads = _device.set_num_threads, _device.get_num_threads


# ---- making tensors ----


def _made(value: Any, dtype: Any, requires_grad: Any, where: Any) -> Any:
    if where is not None:
        check_device(where)
    a = _as_array(value, None if dtype is None else dtype_of(dtype), "tensor")
    return Leaf(a) if requires_grad else torch_tensor(_wrap(_device.put(a)))


def tensor(data: Any, dtype: Any = None, device: Any = None, requires_grad: Any = False) -> Any:
    """A tensor with its own copy of the values.

    >>> from nnfast.nn import torch
    >>> torch.tensor([1.0, 2.0]) * 2
    tensor([2., 4.])
    """
    if isinstance(data, (list, tuple)) and builtins.any(isinstance(v, _Plain) for v in data):
        data = [v.numpy() if isinstance(v, _Plain) else v for v in data]
    a = _as_array(data, None if dtype is None else dtype_of(dtype), "tensor")
    return _made(_device.host(a).copy(), dtype, requires_grad, device)


def as_tensor(data: Any, dtype: Any = None, device: Any = None) -> Any:
    """A tensor over the same memory where that is possible."""
    return _made(data, dtype, False, device)


def from_numpy(array: np.ndarray) -> Any:
    """A tensor over the memory of a NumPy array."""
    if not isinstance(array, np.ndarray):
        raise TypeError(f"[from_numpy] takes a NumPy array. Received: {type(array).__name__}. Use torch.tensor(x)")
    return torch_tensor(_wrap(_device.put(_as_array(array, name="from_numpy"))))


def _shape(sizes: tuple[Any, ...]) -> tuple[int, ...]:
    return tuple(sizes[0]) if len(sizes) == 1 and isinstance(sizes[0], (tuple, list)) else sizes


def _filled(value: float) -> Any:
    def make(*size: Any, dtype: Any = None, device: Any = None, requires_grad: Any = False) -> Any:
        a = np.full(_shape(size), value, config.floatx() if dtype is None else dtype_of(dtype))
        return _made(a, None, requires_grad, device)

    def like(x: Any, dtype: Any = None, device: Any = None, requires_grad: Any = False) -> Any:
        return make(x.shape, dtype=dtype or x.dtype, device=device, requires_grad=requires_grad)

    return make, like


zeros, zeros_like = _filled(0)
ones, ones_like = _filled(1)
empty, empty_like = zeros, zeros_like


def full(size: Any, fill_value: float, dtype: Any = None, device: Any = None, requires_grad: Any = False) -> Any:
    """A tensor of one number."""
    if dtype is None:
        dtype = np.int64 if isinstance(fill_value, int) else config.floatx()
    return _made(np.full(size, fill_value, dtype_of(dtype)), None, requires_grad, device)


def arange(*args: Any, dtype: Any = None, device: Any = None, requires_grad: Any = False) -> Any:
    """Numbers from start to end, without end, by step."""
    a = np.arange(*args)
    return _made(a if a.dtype.kind == "i" else a.astype(config.floatx()), dtype, requires_grad, device)


def linspace(start: float, end: float, steps: int, dtype: Any = None, requires_grad: Any = False) -> Any:
    """`steps` numbers from start to end."""
    return _made(np.linspace(start, end, steps).astype(dtype_of(dtype or config.floatx())), None, requires_grad, None)


def eye(n: int, m: int | None = None, dtype: Any = None) -> Any:
    """The unit matrix."""
    return _made(np.eye(n, m, dtype=dtype_of(dtype or config.floatx())), None, False, None)


# ---- random numbers ----


class Generator:
    """A stream of random numbers of its own: `torch.Generator().manual_seed(0)`."""

    def __init__(self, device: Any = None):
        self.stream = _Stream(0)

    def manual_seed(self, seed: int) -> "Generator":
        """Begins the stream of this seed."""
        self.stream.seed(seed)
        return self


def manual_seed(seed: int) -> None:
    """Makes what follows reproducible: initial weights, dropout, shuffling. NumPy's generators are not touched."""
    _default.seed(seed)


def _random(draw: Any) -> Any:
    def make(
        *size: Any, generator: Any = None, dtype: Any = None, device: Any = None, requires_grad: Any = False
    ) -> Any:
        stream = None if generator is None else generator.stream
        y = draw(_shape(size), dtype=dtype_of(dtype or config.floatx()).name, generator=stream)
        return _made(y, None, requires_grad, device)

    def like(x: Any, **options: Any) -> Any:
        return make(x.shape, **{"dtype": x.dtype, **options})

    return make, like


rand, rand_like = _random(ops.uniform)
randn, randn_like = _random(ops.normal)


def randperm(n: int, generator: Any = None) -> Any:
    """The numbers from 0 to n - 1 in random order."""
    return torch_tensor(ops.permutation(n, generator=None if generator is None else generator.stream))


def randint(low: int, high: Any = None, size: Any = None, generator: Any = None) -> Any:
    """Integers from low to high - 1; with two arguments from 0: randint(high, size)."""
    if size is None:
        low, high, size = 0, low, high
    u = ops.uniform(size, dtype="float64", generator=None if generator is None else generator.stream)
    return torch_tensor(ops.cast(u * float(high - low) + float(low), "int64"))


# ---- functions ----


def _function(f: Any) -> Any:
    renamed = {"dim": "axis", "keepdim": "keepdims"}

    def function(*args: Any, **options: Any) -> Any:
        return torch_tensor(f(*args, **{renamed.get(k, k): v for k, v in options.items()}))

    function.__name__ = function.__qualname__ = f.__name__
    function.__doc__ = f"ops.{f.__name__}, with PyTorch's dim= and keepdim=."
    return function


_SAME = (
    "abs add argmax argmin div dot erf exp expm1 isfinite isinf isnan log log1p log_softmax logical_and logical_not "
    "logical_or logical_xor logsumexp matmul maximum mean minimum mul multiply neg outer pow prod reciprocal relu "
    "rsqrt sigmoid sign softmax sqrt square sub subtract sum tanh where"
)
for _name in _SAME.split():
    globals()[_name] = _function(getattr(ops, _name))
mm = bmm = mv = _function(ops.matmul)
eq, ne, lt, le, gt, ge = map(
    _function, (ops.equal, ops.not_equal, ops.less, ops.less_equal, ops.greater, ops.greater_equal)
)


def _by_method(name: str) -> Any:
    def function(input: Any, *args: Any, **options: Any) -> Any:
        return getattr(torch_tensor(input), name)(*args, **options)

    function.__name__, function.__doc__ = name, f"The method x.{name}(...)."
    return function


_METHODS = "max min var std norm reshape flatten squeeze unsqueeze permute transpose t clamp numel any all clone"
for _name in _METHODS.split():
    globals()[_name] = _by_method(_name)


def cat(tensors: Any, dim: int = 0) -> Any:
    """Tensors one after the other along dim."""
    return torch_tensor(ops.concat(list(tensors), axis=dim))


concat = concatenate = cat


def stack(tensors: Any, dim: int = 0) -> Any:
    """Tensors along a new dim."""
    return torch_tensor(ops.stack(list(tensors), axis=dim))


def equal(a: Any, b: Any) -> Any:
    """Have two tensors the same shape and the same elements?"""
    return np.array_equal(np.asarray(a), np.asarray(b))


def allclose(a: Any, b: Any, rtol: float = 1e-5, atol: float = 1e-8) -> Any:
    """Are two tensors equal up to rounding?"""
    return np.allclose(np.asarray(a), np.asarray(b), rtol, atol)


def is_tensor(x: Any) -> Any:
    """Is it a tensor?"""
    return isinstance(x, _Plain)


# ---- gradients ----


class no_grad:
    """Inside (or in a function that it decorates) nothing is recorded."""

    def __enter__(self) -> None:
        self._context = _tape.no_grad()
        self._context.__enter__()

    def __exit__(self, *exc: Any) -> None:
        self._context.__exit__(*exc)

    def __call__(self, function: Any) -> Any:
        import functools

        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            with type(self)():
                return function(*args, **kwargs)

        return wrapper


inference_mode = no_grad


# ---- devices ----


def device(name: Any = "cpu", index: int | None = None) -> str:
    """The device of this name: "cpu", or "cuda" after `nnfast.set_device("cuda")`; a RuntimeError for any other."""
    return check_device(name)


class cuda:
    """The GPU, which `nnfast.set_device("cuda")` chooses for all tensors."""

    @staticmethod
    def is_available() -> Any:
        """Does it compute?"""
        return _device.get_device() == "cuda"

    @staticmethod
    def device_count() -> int:
        """1 where it computes, else 0."""
        return int(_device.get_device() == "cuda")

    @staticmethod
    def manual_seed(seed: int) -> None:
        """Nothing to seed."""

    manual_seed_all = manual_seed


class backends:
    """PyTorch's switches that scripts ask for."""

    class mps:
        @staticmethod
        def is_available() -> Any:
            """No."""
            return False

    class cudnn:
        deterministic = True
        benchmark = False


# ---- files: tensors by name, never pickled objects ----


def save(obj: Any, path: Any) -> None:
    """Writes a state_dict as an .npz file of plain arrays, whatever the file is called.

    Raises:
        TypeError: obj is no mapping from names to tensors. Whole models are not saved: that would take pickle, and
            opening a pickle runs whatever code is in it.
    """
    if not isinstance(obj, Mapping) or not builtins.all(isinstance(v, (_Plain, np.ndarray)) for v in obj.values()):
        raise TypeError(
            "[save] only a dict of tensors is saved, never pickled objects. "
            f"Received: {type(obj).__name__}. Use torch.save(model.state_dict(), path)"
        )
    arrays = {name: np.asarray(v) for name, v in obj.items()}
    path = os.fspath(path)
    part = f"{path}.{os.getpid()}.part"
    try:
        with open(part, "wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]
        os.replace(part, path)
    finally:
        if os.path.exists(part):
            os.remove(part)


def load(path: Any, map_location: Any = None, weights_only: Any = True) -> Any:
    """The tensors that `save` wrote, by name. A file of PyTorch's own is a pickle and is refused.

    Raises:
        ValueError: the file is no .npz of plain arrays.
    """
    from collections import OrderedDict

    path = os.fspath(path)
    try:
        with np.load(path, allow_pickle=False) as file:
            if not hasattr(file, "files"):
                raise ValueError("it holds pickled objects")
            return OrderedDict(
                (name, torch_tensor(_wrap(_device.put(_as_array(file[name], name="load"))))) for name in file.files
            )
    except (ValueError, TypeError, EOFError) as error:
        raise ValueError(
            f"[load] {path!r} is no .npz of plain arrays: {error}. Received: a file that may be a pickle, which would "
            "run code. In PyTorch write it with "
            "numpy.savez(path, **{k: v.numpy() for k, v in model.state_dict().items()})"
        ) from None


def __getattr__(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(name)
    if name in ("nn", "optim"):
        return importlib.import_module(f"nnfast.{name}")
    if name == "utils":
        return SimpleNamespace(data=importlib.import_module("nnfast.data"))
    if name in ("float", "int"):
        return {"float": float32, "int": int32}[name]
    close = difflib.get_close_matches(name, [n for n in globals() if not n.startswith("_")], 1, 0.6)
    hint = f"Did you mean {close[0]!r}?" if close else "nnfast.ops has more functions."
    raise AttributeError(f"[torch] nnfast's torch has no such name. Received: torch.{name}. {hint}")
