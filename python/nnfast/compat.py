"""The original import lines: `install("keras", "tensorflow.keras", "torch", "torchvision")` makes them find nnfast.

The names become modules that look everything up in nnfast. Nothing is installed unless it is asked for, and a package
that is already imported is never shadowed: then the import root has to change instead (`import nnfast as keras`).
"""

import difflib
import importlib
import importlib.abc
import importlib.machinery
import sys
from types import ModuleType
from typing import Any

__all__ = ["install", "installed", "uninstall"]

# Alias -> where it looks, in this order: modules of nnfast, or tables of names in this file.
_KERAS = {
    "": ["nnfast"],
    "api": ["nnfast"],
    "src": ["nnfast"],
    "src.backend": ["nnfast.backend"],
    "preprocessing": ["nnfast.preprocessing"],
    "layers.experimental": ["nnfast.layers"],
    "optimizers.legacy": ["nnfast.optimizers"],
    "models": ["nnfast.models", "nnfast.saving"],
    "engine": ["nnfast.models", "nnfast.layers"],
    **{f"engine.{old}": ["nnfast.models", "nnfast.layers"] for old in ("topology", "training", "base_layer")},
    **{f"utils.{old}": ["nnfast.utils"] for old in ("vis_utils", "generic_utils", "data_utils")},
    **{
        f"layers.{old}": ["nnfast.layers"]  # rooms of Keras 1 and 2
        for old in ("core", "convolutional", "pooling", "normalization", "embeddings", "recurrent", "merge", "wrappers",
                    "advanced_activations", "noise")
    },
}  # fmt: skip
_TORCH = {
    "": ["nnfast.nn.torch"],
    "nn": ["nnfast.nn"],
    "nn.functional": ["nnfast.nn.functional"],
    "nn.init": ["nnfast.nn.init"],
    "nn.parameter": ["nnfast.nn"],
    "nn.modules": ["nnfast.nn"],
    "nn.utils": ["nnfast.nn.utils"],
    "optim": ["nnfast.optim"],
    "optim.lr_scheduler": ["nnfast.optim.lr_scheduler"],
    "utils": ["table:torch.utils"],
    "utils.data": ["nnfast.data"],
}
_TORCHVISION = {
    "": ["table:torchvision"],
    "datasets": ["nnfast.data.vision"],
    "transforms": ["nnfast.data.transforms"],
}
_TENSORFLOW = {
    "": ["table:tensorflow", "nnfast.ops", "nnfast"],
    "nn": ["table:tensorflow.nn", "nnfast.ops"],
    "math": ["table:tensorflow", "nnfast.ops"],
    "random": ["table:tensorflow.random"],
    "config": ["table:tensorflow.config"],
    "linalg": ["nnfast.ops"],
    **{f"{root}{'.' if k else ''}{k}": v for root in ("keras", "python.keras") for k, v in _KERAS.items()},
    "python": [],
}
_ROOTS: dict[str, dict[str, list[str]]] = {
    "keras": _KERAS,
    "torch": _TORCH,
    "torchvision": _TORCHVISION,
    "tensorflow": _TENSORFLOW,
}


def _tensorflow() -> dict[str, Any]:
    """TensorFlow's own names for what nnfast has."""
    import numpy as np

    from nnfast import Tensor, ops, tensor

    def function(f: Any = None, **_: Any) -> Any:
        """tf.function: the function as it is."""
        return f if f is not None else function

    table = {
        "function": function,
        "constant": tensor,
        "convert_to_tensor": tensor,
        "Tensor": Tensor,
        "pow": ops.power,
        "cast": ops.cast,
        "concat": lambda values, axis: ops.concat(values, axis),
        **{f"reduce_{n}": getattr(ops, n) for n in ("sum", "mean", "max", "min", "prod", "logsumexp")},
        **{n: np.dtype(n) for n in ("float32", "float64", "int32", "int64", "uint8", "bool")},
        "shape": lambda x: tensor(list(x.shape)),
        "rank": lambda x: tensor(x.ndim),
        "transpose": lambda a, perm=None: ops.transpose(a, perm),
        "__version__": importlib.import_module("nnfast").__version__,
    }
    return table


def _tensorflow_nn() -> dict[str, Any]:
    from nnfast import ops

    def softmax_cross_entropy_with_logits(labels: Any, logits: Any) -> Any:
        return ops.softmax_xent(logits, labels, reduction="none")

    def sigmoid_cross_entropy_with_logits(labels: Any, logits: Any) -> Any:
        return ops.sigmoid_xent(logits, labels)

    return {
        "softmax_cross_entropy_with_logits": softmax_cross_entropy_with_logits,
        "sparse_softmax_cross_entropy_with_logits": softmax_cross_entropy_with_logits,
        "sigmoid_cross_entropy_with_logits": sigmoid_cross_entropy_with_logits,
        "bias_add": lambda value, bias: value + bias,
    }


def _tensorflow_random() -> dict[str, Any]:
    from nnfast import ops

    return {
        "set_seed": ops.random.default_generator.seed,
        "normal": lambda shape, mean=0.0, stddev=1.0, dtype=None: ops.normal(shape, mean, stddev, dtype),
        "uniform": lambda shape, minval=0.0, maxval=1.0, dtype=None: ops.uniform(shape, minval, maxval, dtype),
        "truncated_normal": lambda shape, mean=0.0, stddev=1.0, dtype=None: ops.truncated_normal(
            shape, mean, stddev, dtype
        ),
    }


_TABLES: dict[str, Any] = {
    "tensorflow": _tensorflow,
    "tensorflow.nn": _tensorflow_nn,
    "tensorflow.random": _tensorflow_random,
    "tensorflow.config": lambda: {"list_physical_devices": lambda kind=None: []},
    "torch.utils": dict,
    "torchvision": dict,
}


class _Alias(ModuleType):
    """A module under an alias: every name is looked up in nnfast when it is asked for."""

    def __init__(self, name: str, places: list[str]):
        super().__init__(name, f"nnfast under the name {name}, see nnfast.compat.")
        self.__path__: list[str] = []  # a package, whose modules the finder below makes
        self.__dict__["_places"] = places

    def __getattr__(self, name: str) -> Any:
        root, _, inner = self.__name__.partition(".")
        path = f"{inner}.{name}" if inner else name
        if path in _ROOTS[root]:
            return importlib.import_module(f"{self.__name__}.{name}")
        known: list[str] = []
        for place in self.__dict__["_places"]:
            if place.startswith("table:"):
                table = _TABLES[place[6:]]()
                if name in table:
                    return table[name]
                known += table
                continue
            module = importlib.import_module(place)
            if name == "__all__":
                return [n for n in getattr(module, "__all__", dir(module)) if not n.startswith("_")]
            try:
                value = getattr(module, name)
            except AttributeError:
                known += [n for n in dir(module) if not n.startswith("_")]
                continue
            if isinstance(value, ModuleType) and value.__name__.startswith("nnfast."):
                return importlib.import_module(f"{self.__name__}.{name}")
            return value
        if name.startswith("__"):
            raise AttributeError(name)
        close = difflib.get_close_matches(name, known, 1, 0.6)
        hint = f"Did you mean {close[0]!r}?" if close else f"It has, among others, {', '.join(sorted(known)[:8])}."
        raise AttributeError(
            f"[compat] {self.__name__!r} is nnfast here, and nnfast has no such name. Received: {name!r}. {hint}"
        )

    def __dir__(self) -> list[str]:
        names: set[str] = set()
        for place in self.__dict__["_places"]:
            names |= set(_TABLES[place[6:]]() if place.startswith("table:") else dir(importlib.import_module(place)))
        return sorted(n for n in names if not n.startswith("_"))


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds modules below the installed roots."""

    def __init__(self) -> None:
        self.roots: dict[str, list[str]] = {}  # root -> the names that were asked for

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> Any:
        root = fullname.partition(".")[0]
        if root not in self.roots:
            return None
        self._places(fullname)  # raises ImportError where there is nothing
        return importlib.machinery.ModuleSpec(fullname, self, is_package=True)

    def create_module(self, spec: Any) -> ModuleType:
        return _Alias(spec.name, self._places(spec.name))

    def exec_module(self, module: ModuleType) -> None:
        pass

    def _places(self, fullname: str) -> list[str]:
        """Where an alias looks: the table's row, or the nnfast module of the same path below a known room."""
        root, _, inner = fullname.partition(".")
        table = _ROOTS[root]
        if inner in table:
            return table[inner]
        parts = inner.split(".")
        for cut in range(len(parts) - 1, -1, -1):
            base = ".".join(parts[:cut])
            if base not in table:
                continue
            for place in table[base]:
                if place.startswith("table:"):
                    continue
                module = ".".join([place, *parts[cut:]])
                try:
                    importlib.import_module(module)
                except ModuleNotFoundError as e:
                    if e.name is None or not module.startswith(e.name):
                        raise
                    continue
                return [module]
        # No ModuleNotFoundError: the import system would take that for "no such module, ask for an attribute".
        raise ImportError(self._missing(root, inner), name=fullname)

    def _missing(self, root: str, inner: str) -> str:
        parent, _, last = inner.rpartition(".")
        above = sys.modules.get(f"{root}.{parent}" if parent else root)
        known = dir(above) if above is not None else []
        rooms = (k.removeprefix(parent).lstrip(".") for k in _ROOTS[root] if k.startswith(parent))
        known += [room.split(".")[0] for room in rooms if room]
        close = difflib.get_close_matches(last, known, 1, 0.6)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        return (
            f"[compat] {root!r} is nnfast here, and nnfast has no such module or name. Received: {root}.{inner}.{hint}"
        )


_finder = _Finder()


def install(*names: str) -> None:
    """Makes the import lines of these packages find nnfast: "keras", "tensorflow.keras", "torch", "torchvision".

    "tensorflow.keras" (or "tensorflow") also gives the few names of TensorFlow itself that courses use: `GradientTape`,
    `Variable`, `constant`, `reduce_mean`, ... Doing it twice changes nothing.

    Raises:
        RuntimeError: a package of this name is already imported, and would be shadowed; then nothing was installed.
        ValueError: a name that is not one of these.

    >>> import nnfast.compat
    >>> nnfast.compat.install("keras")
    >>> from keras.layers import Dense
    >>> Dense is nnfast.layers.Dense
    True
    >>> nnfast.compat.uninstall()
    """
    if not names:
        raise ValueError(f"[compat.install] name at least one package. Received: none. Known: {', '.join(_known())}")
    for name in names:
        if name not in _known():
            raise ValueError(f"[compat.install] known are {', '.join(map(repr, _known()))}. Received: {name!r}")
        root = name.partition(".")[0]
        there = sys.modules.get(root)
        if there is not None and not isinstance(there, _Alias):
            where = getattr(there, "__file__", None) or "without a file"
            raise RuntimeError(
                f"[compat.install] {root!r} is already imported, and would be shadowed. Received: {name!r}, while "
                f"sys.modules has {where}. Call install before anything imports {root!r}, or change the import line: "
                f"{_INSTEAD[root]}"
            )
    for name in names:
        wanted = _finder.roots.setdefault(name.partition(".")[0], [])
        if name not in wanted:
            wanted.append(name)
    if _finder not in sys.meta_path:
        sys.meta_path.insert(0, _finder)


_INSTEAD = {
    "keras": "import nnfast as keras",
    "tensorflow": "import nnfast as keras, in place of tensorflow.keras",
    "torch": "from nnfast.nn import torch",
    "torchvision": "from nnfast.data import transforms, vision",
}


def _known() -> list[str]:
    return ["keras", "tensorflow", "tensorflow.keras", "torch", "torchvision"]


def installed() -> list[str]:
    """The names that are installed."""
    return [name for names in _finder.roots.values() for name in names]


def uninstall(*names: str) -> None:
    """Takes these names back, or all of them; modules that were imported under them stay with who has them."""
    for root in list(_finder.roots):
        asked = [n for n in _finder.roots[root] if not names or n in names]
        _finder.roots[root] = [n for n in _finder.roots[root] if n not in asked]
        if _finder.roots[root]:
            continue
        del _finder.roots[root]
        for module in [m for m in sys.modules if m == root or m.startswith(f"{root}.")]:
            if isinstance(sys.modules[module], _Alias):
                del sys.modules[module]
    if not _finder.roots and _finder in sys.meta_path:
        sys.meta_path.remove(_finder)
