"""Module: what owns parameters and turns inputs into outputs, as in PyTorch."""

import difflib
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from nnfast.nn.tensor import Parameter, check_device, dtype_of, is_device, torch_tensor
from nnfast.tensor import Tensor, Variable, as_array


class Module:
    """Base class: set layers and Parameters as attributes in `__init__`, and define `forward`.

    >>> from nnfast import nn
    >>> class Net(nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.fc = nn.Linear(3, 2)
    ...     def forward(self, x):
    ...         return self.fc(x).relu()
    >>> [(name, tuple(p.shape)) for name, p in Net().named_parameters()]
    [('fc.weight', (2, 3)), ('fc.bias', (2,))]
    """

    training = True

    def __init__(self) -> None:
        object.__setattr__(self, "_parameters", OrderedDict())
        object.__setattr__(self, "_buffers", OrderedDict())
        object.__setattr__(self, "_modules", OrderedDict())
        object.__setattr__(self, "_not_saved", set())

    # ---- attributes are parts ----
    def __setattr__(self, name: str, value: Any) -> None:
        rooms = {"_parameters": Parameter, "_modules": Module}
        if "_modules" not in self.__dict__:
            if isinstance(value, (Parameter, Module)):
                raise AttributeError(
                    f"[{type(self).__name__}] its __init__ must begin with super().__init__(). "
                    f"Received: the attribute {name!r} before that"
                )
        else:
            for room, kind in rooms.items():
                if isinstance(value, kind):
                    for other in ("_parameters", "_buffers", "_modules"):
                        self.__dict__[other].pop(name, None)
                    self.__dict__.pop(name, None)
                    self.__dict__[room][name] = value
                    return
                if name in self.__dict__[room] and value is None:
                    self.__dict__[room][name] = None
                    return
            if name in self.__dict__["_buffers"]:
                self.__dict__["_buffers"][name] = value
                return
        object.__setattr__(self, name, value)

    def __getattr__(self, name: str) -> Any:
        for room in ("_parameters", "_buffers", "_modules"):
            found = self.__dict__.get(room, {})
            if name in found:
                return found[name]
        if name.startswith("__"):
            raise AttributeError(name)
        known = [n for room in ("_parameters", "_buffers", "_modules") for n in self.__dict__.get(room, {})]
        close = difflib.get_close_matches(name, [*known, *dir(type(self))], 1, 0.6)
        hint = f"Did you mean {close[0]!r}?" if close else f"It has {', '.join(known) or 'no parts'}."
        raise AttributeError(f"[{type(self).__name__}] no such attribute. Received: {name!r}. {hint}")

    def __delattr__(self, name: str) -> None:
        for room in ("_parameters", "_buffers", "_modules"):
            if name in self.__dict__[room]:
                del self.__dict__[room][name]
                return
        object.__delattr__(self, name)

    def register_parameter(self, name: str, param: Any) -> None:
        """Adds a Parameter, or None for a name that has none."""
        self._parameters[name] = param

    def register_buffer(self, name: str, tensor: Any, persistent: bool = True) -> None:
        """Adds a tensor that is part of the state and does not learn; persistent: is it in `state_dict`?"""
        self._buffers[name] = tensor if tensor is None or isinstance(tensor, Tensor) else torch_tensor(tensor)
        if not persistent:
            self._not_saved.add(name)

    def add_module(self, name: str, module: Any) -> None:
        """Adds a part under a name."""
        self._modules[name] = module

    register_module = add_module

    # ---- calling ----
    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The output for the inputs: to be defined."""
        raise NotImplementedError(f"[{type(self).__name__}] a Module needs a method forward(self, x)")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if "_modules" not in self.__dict__:
            raise AttributeError(f"[{type(self).__name__}] its __init__ must begin with super().__init__()")
        try:
            return self.forward(*(_words(a) for a in args), **{k: _words(v) for k, v in kwargs.items()})
        except (ValueError, TypeError) as e:
            if not getattr(e, "_signed", False) and e.args and isinstance(e.args[0], str) and e.args[0].startswith("["):
                e._signed = True  # type: ignore[union-attr]
                shapes = ", ".join(str(tuple(a.shape)) for a in args if hasattr(a, "shape"))
                e.args = (f"{e.args[0]}\nIn the module {self!r}, input shape {shapes}.", *e.args[1:])
            raise

    # ---- parts ----
    def children(self) -> Iterator["Module"]:
        """The parts directly below, each once."""
        return (m for _, m in self.named_children())

    def named_children(self) -> Iterator[tuple[str, "Module"]]:
        """(name, part) for the parts directly below."""
        seen: set[int] = set()
        for name, module in self._modules.items():
            if module is not None and id(module) not in seen:
                seen.add(id(module))
                yield name, module

    def modules(self) -> Iterator["Module"]:
        """This module and all below it, each once."""
        return (m for _, m in self.named_modules())

    def named_modules(self, memo: set[int] | None = None, prefix: str = "") -> Iterator[tuple[str, "Module"]]:
        """(path, module) for this module and all below it."""
        memo = set() if memo is None else memo
        if id(self) in memo:
            return
        memo.add(id(self))
        yield prefix, self
        for name, module in self._modules.items():
            if module is not None:
                yield from module.named_modules(memo, f"{prefix}.{name}" if prefix else name)

    def _named(self, room: str, recurse: bool = True) -> Iterator[tuple[str, Any]]:
        seen: set[int] = set()
        for path, module in self.named_modules() if recurse else [("", self)]:
            for name, value in module.__dict__[room].items():
                if value is not None and id(value) not in seen:
                    seen.add(id(value))
                    yield f"{path}.{name}" if path else name, value

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """All Parameters, each once."""
        return (p for _, p in self._named("_parameters", recurse))

    def named_parameters(self, prefix: str = "", recurse: bool = True) -> Iterator[tuple[str, Parameter]]:
        """(path, Parameter) of all."""
        return ((f"{prefix}.{n}" if prefix else n, p) for n, p in self._named("_parameters", recurse))

    def buffers(self, recurse: bool = True) -> Iterator[Any]:
        """All buffers."""
        return (b for _, b in self._named("_buffers", recurse))

    def named_buffers(self, prefix: str = "", recurse: bool = True) -> Iterator[tuple[str, Any]]:
        """(path, buffer) of all."""
        return ((f"{prefix}.{n}" if prefix else n, b) for n, b in self._named("_buffers", recurse))

    def apply(self, fn: Callable[["Module"], Any]) -> "Module":
        """Calls fn on every module below and then on this one: `net.apply(init_weights)`."""
        for child in self.children():
            child.apply(fn)
        fn(self)
        return self

    # ---- modes ----
    def train(self, mode: bool = True) -> "Module":
        """Dropout drops and batches are normalised by their own statistics, here and below."""
        for module in self.modules():
            object.__setattr__(module, "training", bool(mode))
        return self

    def eval(self) -> "Module":
        """The opposite of `train`."""
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True) -> "Module":
        """Do the Parameters learn?"""
        for p in self.parameters():
            p.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forgets the gradients of all Parameters."""
        for p in self.parameters():
            p.grad = None

    def to(self, *args: Any, **kwargs: Any) -> "Module":
        """Another float type for all Parameters and buffers, in new memory: make the optimizer afterwards.

        A device other than the CPU is an error.
        """
        for value in (*args, *kwargs.values()):
            if is_device(value):
                check_device(value)
            elif not isinstance(value, bool):
                self._convert(dtype_of(value))
        return self

    def _convert(self, dtype: Any) -> None:
        if dtype.kind != "f":
            raise TypeError(f"[to] parameters are float32 or float64. Received: dtype={dtype}")
        for module in self.modules():
            for name, p in module._parameters.items():
                if p is not None and p.dtype != dtype:
                    module._parameters[name] = Parameter(p.numpy().astype(dtype), p.requires_grad)
            for name, b in module._buffers.items():
                if b is not None and b.dtype.kind == "f" and b.dtype != dtype:
                    module._buffers[name] = _as_kind(b, b.numpy().astype(dtype))

    def float(self) -> "Module":
        """float32."""
        return self.to(np.dtype("float32"))

    def double(self) -> "Module":
        """float64."""
        return self.to(np.dtype("float64"))

    def cpu(self) -> "Module":
        """Itself."""
        return self

    def cuda(self, device: Any = None) -> "Module":
        """Itself where the GPU computes (`nnfast.set_device("cuda")`), else a RuntimeError."""
        check_device("cuda")
        return self

    # ---- state ----
    def state_dict(self) -> "OrderedDict[str, Any]":
        """Parameters and buffers by path, each a view of the living values (use `.clone()` to keep them)."""
        state: OrderedDict[str, Any] = OrderedDict()
        for path, module in self.named_modules():
            for room in (module._parameters, module._buffers):
                for name, value in room.items():
                    if value is not None and name not in module._not_saved:
                        state[f"{path}.{name}" if path else name] = Tensor.detach(value)
        return OrderedDict((name, torch_tensor(t)) for name, t in state.items())

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True) -> tuple[list[str], list[str]]:
        """Copies values into the Parameters and buffers of the same paths.

        Args:
            state_dict: arrays by path: from `state_dict()`, from `torch.load`, from PyTorch (tensors on the CPU are
                read as they are), or NumPy arrays.
            strict: must the paths be exactly those of this module?

        Returns:
            (missing, unexpected) paths.

        Raises:
            ValueError: a path is missing or too many (if strict), or a shape differs; then nothing has changed.
        """
        mine: dict[str, tuple[Module, str, str]] = {}
        for path, module in self.named_modules():
            for room in ("_parameters", "_buffers"):
                for name, value in module.__dict__[room].items():
                    if value is not None and name not in module._not_saved:
                        mine[f"{path}.{name}" if path else name] = module, room, name
        missing = [k for k in mine if k not in state_dict]
        unexpected = [k for k in state_dict if k not in mine]
        if strict and (missing or unexpected):
            raise ValueError(
                f"[load_state_dict] the paths must be those of {type(self).__name__}. "
                f"Received: missing {missing}, unexpected {unexpected}"
            )
        new = {}
        for key in [k for k in mine if k in state_dict]:
            module, room, name = mine[key]
            old = module.__dict__[room][name]
            value = state_dict[key]
            a = as_array(value.detach().numpy() if hasattr(value, "detach") else value, name="load_state_dict")
            if a.shape != old.shape:
                raise ValueError(f"[load_state_dict] {key!r} has shape {old.shape}. Received: shape {a.shape}")
            new[key] = a
        for key, a in new.items():
            module, room, name = mine[key]
            old = module.__dict__[room][name]
            if isinstance(old, Variable):
                old.assign(a)
            else:
                module.__dict__[room][name] = torch_tensor(a.astype(old.dtype))
        return missing, unexpected

    # ---- description ----
    def extra_repr(self) -> str:
        """What stands between the parentheses."""
        return ""

    def __repr__(self) -> str:
        if not self._modules:
            return f"{type(self).__name__}({self.extra_repr()})"
        lines = [f"({name}): " + repr(m).replace("\n", "\n  ") for name, m in self._modules.items()]
        return f"{type(self).__name__}(\n  " + "\n  ".join(lines) + "\n)"


def _words(x: Any) -> Any:
    return torch_tensor(x) if isinstance(x, (Tensor, np.ndarray)) else x


def _as_kind(old: Any, a: Any) -> Any:
    return Variable(a, trainable=False, name=old.name) if isinstance(old, Variable) else torch_tensor(a)


class Sequential(Module):
    """Modules one after the other: `Sequential(a, b)` or of an OrderedDict of names.

    >>> from nnfast import nn
    >>> nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    Sequential(
      (0): Linear(in_features=4, out_features=3, bias=True)
      (1): ReLU()
      (2): Linear(in_features=3, out_features=2, bias=True)
    )
    """

    def __init__(self, *modules: Any):
        super().__init__()
        named = modules[0].items() if len(modules) == 1 and isinstance(modules[0], dict) else enumerate(modules)
        for name, module in named:
            _check_module(type(self).__name__, module)
            self.add_module(str(name), module)

    def forward(self, x: Any) -> Any:
        for module in self._modules.values():
            x = module(x)
        return x

    def append(self, module: Module) -> "Sequential":
        """Adds one at the end."""
        _check_module(type(self).__name__, module)
        self.add_module(str(len(self._modules)), module)
        return self

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Module]:
        return iter(self._modules.values())

    def __getitem__(self, index: Any) -> Any:
        modules = list(self._modules.values())[index]
        return type(self)(*modules) if isinstance(index, slice) else modules


class ModuleList(Module):
    """A list of modules whose parameters are found; it is not called."""

    def __init__(self, modules: Any = ()):
        super().__init__()
        self.extend(modules)

    def append(self, module: Module) -> "ModuleList":
        """Adds one at the end."""
        _check_module("ModuleList", module)
        self.add_module(str(len(self._modules)), module)
        return self

    def extend(self, modules: Any) -> "ModuleList":
        """Adds several at the end."""
        for module in modules:
            self.append(module)
        return self

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Module]:
        return iter(self._modules.values())

    def __getitem__(self, index: Any) -> Any:
        modules = list(self._modules.values())[index]
        return ModuleList(modules) if isinstance(index, slice) else modules


def _check_module(name: str, module: Any) -> None:
    if not isinstance(module, Module):
        fix = f". Did you mean {module.__name__}()?" if isinstance(module, type) else ""
        raise TypeError(f"[{name}] only Modules can be added. Received: {module!r}{fix}")
