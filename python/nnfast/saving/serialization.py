"""Objects to JSON and back, in the layout of Keras 3's files; configs of Keras 2 and tf.keras are read too.

An object is `{"module": ..., "class_name": ..., "config": ..., "registered_name": ...}`. Names are looked up, never
imported: what a file can make is what the rooms have published here, what was registered, and custom_objects. A file
cannot bring code along: functions stored as bytecode (`__lambda__`) are not run, whatever safe_mode says.
"""

import contextlib
import contextvars
import inspect
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from nnfast.naming import find

_CLASSES: dict[str, dict[str, type]] = {}  # by room, then by name
_FUNCTIONS: dict[str, dict[str, Any]] = {}
_MODULES: dict[type, str] = {}  # where Keras has a class of ours
_REGISTERED: dict[str, Any] = {}  # "package>name" -> class or function
_REGISTERED_NAMES: dict[Any, str] = {}
_scope: contextvars.ContextVar[Mapping[str, Any]] = contextvars.ContextVar("scope", default=MappingProxyType({}))
_shared: contextvars.ContextVar[dict[Any, Any] | None] = contextvars.ContextVar("shared_objects", default=None)

_MAIN_ROOMS = ("models", "layers", "losses", "metrics", "optimizers")  # where a bare name is looked for first
_POLICIES = ("DTypePolicy", "Policy", "FloatDTypePolicy")
# Options that other versions write and that say nothing here; dropped where a class does not know them.
_DROPPED = {
    *("implementation", "input_length", "time_major", "unroll", "zero_output_for_mask", "ragged", "sparse", "optional"),
    *(
        "fused",
        "virtual_batch_size",
        "adjustment",
        "synchronized",
        "is_legacy_optimizer",
        "experimental_run_tf_function",
    ),
    *("quantization_config", "lora_rank", "lora_alpha", "use_cudnn", "flash_attention", "fn"),
}


def publish(room: str, table: Mapping[str, Any], module: str | None = None) -> None:
    """Says which classes and functions a room has, by name, so that files may name them.

    Args:
        room: "layers", "losses", ...
        table: names (Keras's and short ones) and what they mean.
        module: where Keras has them; default `keras.<room>`.
    """
    classes, functions = _CLASSES.setdefault(room, {}), _FUNCTIONS.setdefault(room, {})
    for name, value in table.items():
        if isinstance(value, type):
            classes[name] = value
            _MODULES.setdefault(value, module or f"keras.{room}")
        else:
            functions[name] = value


def published(room: str) -> Mapping[str, type]:
    """The classes of a room, by name."""
    return _CLASSES.get(room, {})


# ---- objects of your own ----


class CustomObjectScope:
    """Inside of it, configs may name these classes and functions: `with custom_object_scope({"MyLayer": MyLayer}): ...`

    >>> import nnfast
    >>> def double(x):
    ...     return x * 2
    >>> with nnfast.utils.custom_object_scope({"double": double}):
    ...     nnfast.layers.Activation("double")([1.0]).tolist()
    [2.0]
    """

    def __init__(self, custom_objects: Mapping[str, Any] | None):
        self.custom_objects = dict(custom_objects or {})
        self._tokens: list[Any] = []

    def __enter__(self) -> "CustomObjectScope":
        self._tokens.append(_scope.set({**_scope.get(), **self.custom_objects}))
        return self

    def __exit__(self, *exception: Any) -> None:
        _scope.reset(self._tokens.pop())


custom_object_scope = CustomObjectScope


def get_custom_objects() -> dict[str, Any]:
    """The classes and functions that every config may name: what was registered. You may add to the dict."""
    return _REGISTERED


def register_keras_serializable(package: str = "Custom", name: str | None = None) -> Callable[[Any], Any]:
    """A decorator: files may name this class or function as `package>name`.

    Args:
        package: whose it is.
        name: default: its own name.

    >>> import nnfast
    >>> @nnfast.saving.register_keras_serializable("mine")
    ... class Double(nnfast.layers.Layer):
    ...     def call(self, x):
    ...         return x * 2
    >>> nnfast.saving.serialize_keras_object(Double(name="d"))["registered_name"]
    'mine>Double'
    """

    def register(value: Any) -> Any:
        if isinstance(value, type) and not hasattr(value, "get_config"):
            raise ValueError(f"[register] a class needs get_config() to be written to files. Received: {value!r}")
        key = f"{package}>{name or value.__name__}"
        _REGISTERED[key], _REGISTERED_NAMES[value] = value, key
        return value

    return register


def get_registered_name(obj: Any) -> str:
    """`package>name` of a registered class or function, else its own name."""
    return _REGISTERED_NAMES.get(obj, obj.__name__)


def get_registered_object(
    name: str, custom_objects: Mapping[str, Any] | None = None, module_objects: Mapping[str, Any] | None = None
) -> Any:
    """What custom_objects, an enclosing scope, a registration or module_objects mean by a name; None if none knows it.

    A function saved as `name` is also found where it is registered as `package>name`.
    """
    for table in (custom_objects or {}, _scope.get(), _REGISTERED):
        if name in table:
            return table[name]
    if isinstance(name, str) and ">" in name:
        return get_registered_object(name.rpartition(">")[2], custom_objects, module_objects)
    for key, value in {**_REGISTERED, **_scope.get()}.items():
        if key.endswith(f">{name}"):
            return value
    return (module_objects or {}).get(name)


# ---- writing ----


def serialize_keras_object(obj: Any) -> Any:
    """What JSON can hold of an object: an object's class and `get_config()`, a function's name, numbers as they are.

    Raises:
        TypeError: it has no `get_config()`.

    >>> import nnfast
    >>> nnfast.saving.serialize_keras_object(nnfast.regularizers.L2(0.5))
    {'module': 'keras.regularizers', 'class_name': 'L2', 'config': {'l2': 0.5}, 'registered_name': None}
    """
    if obj is None or isinstance(obj, (str, int, float, bool)):
        return obj
    if isinstance(obj, (list, tuple)):
        return type(obj)(serialize_keras_object(v) for v in obj) if type(obj) in (list, tuple) else list(obj)
    if isinstance(obj, Mapping):
        return {k: serialize_keras_object(v) for k, v in obj.items()}
    if isinstance(obj, np.generic):
        return obj.item()
    if isinstance(obj, np.dtype) or (isinstance(obj, type) and issubclass(obj, np.generic)):
        return np.dtype(obj).name
    literal = _literal(obj)
    if literal is not None:
        return {"class_name": literal[0], "config": literal[1]}
    if isinstance(obj, type) or not hasattr(obj, "get_config"):
        return _function_config(obj)
    return _object_config(obj)


def _literal(obj: Any) -> tuple[str, dict[str, Any]] | None:
    """Values that JSON has no word for."""
    if isinstance(obj, bytes):
        return "__bytes__", {"value": obj.decode("utf-8")}
    if isinstance(obj, slice):
        return "__slice__", {"start": obj.start, "stop": obj.stop, "step": obj.step}
    if obj is Ellipsis:
        return "__ellipsis__", {}
    if hasattr(obj, "_keras_history"):  # the result of a layer in a functional model
        layer, node, index = obj._keras_history
        history = [getattr(layer, "name", layer), node, index]
        return "__keras_tensor__", {"shape": list(obj.shape), "dtype": str(obj.dtype), "keras_history": history}
    if hasattr(obj, "__array__") and hasattr(obj, "tolist"):
        kind = "__numpy__" if isinstance(obj, np.ndarray) else "__tensor__"
        return kind, {"value": obj.tolist(), "dtype": np.dtype(obj.dtype).name}
    return None


def _function_config(obj: Any) -> Any:
    name = getattr(obj, "__name__", None)
    if name is not None and _FUNCTIONS.get("activations", {}).get(name) is obj:
        return name
    if name == "<lambda>":
        import warnings

        warnings.warn(
            "[save] a lambda has no name by which a file could call for it. Received: a lambda. Define it with def, or "
            "pass custom_objects={'<lambda>': ...} when loading",
            UserWarning,
            stacklevel=3,
        )
    if name is None or not callable(obj):
        raise TypeError(f"[serialize] an object must have get_config() to be written. Received: {obj!r}")
    return {
        "module": "builtins",
        "class_name": "function",
        "config": get_registered_name(obj),
        "registered_name": "function",
    }


def _object_config(obj: Any) -> dict[str, Any]:
    cls = type(obj)
    config = obj.get_config()
    if not isinstance(config, dict):
        raise TypeError(f"[serialize] get_config() of {cls.__name__} must return a dict. Received: {config!r}")
    module = _MODULES.get(cls)
    if module is None:
        module = None if cls.__module__ == "__main__" else cls.__module__
        registered: str | None = get_registered_name(cls)
    else:
        registered = None
    made = {
        "module": module,
        "class_name": cls.__name__,
        "config": serialize_keras_object(config),
        "registered_name": registered,
    }
    for part in ("build_config", "compile_config"):
        get = getattr(obj, f"get_{part}", None)
        value = get() if get is not None else None
        if value is not None:
            made[part] = serialize_keras_object(value)
    return made


serialize = serialize_keras_object


# ---- reading ----


@contextlib.contextmanager
def object_sharing() -> Iterator[None]:
    """Inside of it, configs with one shared_object_id become one object."""
    token = _shared.set({})
    try:
        yield
    finally:
        _shared.reset(token)


def deserialize_keras_object(
    config: Any, custom_objects: Mapping[str, Any] | None = None, safe_mode: bool = True, **kwargs: Any
) -> Any:
    """The object that `serialize_keras_object` described; lists and dicts keep their structure.

    Args:
        config: what it gave, or what a file of Keras 2 or 3 says.
        custom_objects: classes and functions of your own by name.
        safe_mode: accepted for Keras's sake; bytecode in a config is refused in either case.
        **kwargs: `module_objects`, a table of more names.

    Raises:
        ValueError, TypeError: a name is not known, or a class does not take its config.

    >>> import nnfast
    >>> nnfast.saving.deserialize_keras_object({"class_name": "L2", "config": {"l2": 0.5}}).l2
    0.5
    """
    table = kwargs.pop("module_objects", None)
    kwargs.pop("printable_module_name", None)
    if kwargs:
        raise TypeError(f"[deserialize] unknown argument. Received: {', '.join(kwargs)}")
    with CustomObjectScope(custom_objects):
        return _restore(config, None, table)


def from_identifier(
    kind: str, identifier: Any, table: Mapping[str, Any] | None = None, custom_objects: Mapping[str, Any] | None = None
) -> Any:
    """What a string, a config or an object means in a room: classes are instantiated, the rest is as it is.

    Args:
        kind: "layer", "initializer", ...: the room's name without its s; also the tag of errors.
        identifier: a name, a config, a class or an object.
        table: the names of the room; default: what it has published.
        custom_objects: classes and functions of your own by name; they come first.
    """
    with CustomObjectScope(custom_objects):
        if isinstance(identifier, Mapping):
            return _restore(identifier, kind, table)
        if isinstance(identifier, str):
            found = get_registered_object(identifier)
            identifier = found if found is not None else find(kind, identifier, _names(kind, table))
        return identifier() if isinstance(identifier, type) else identifier


def _names(kind: str, table: Mapping[str, Any] | None) -> Mapping[str, Any]:
    room = kind + ("es" if kind.endswith("s") else "s")
    return table if table is not None else {**_CLASSES.get(room, {}), **_FUNCTIONS.get(room, {})}


def _restore(config: Any, kind: str | None, table: Mapping[str, Any] | None = None) -> Any:
    if isinstance(config, (list, tuple)):
        return type(config)(_restore(v, kind, table) for v in config)
    if isinstance(config, str) and kind is None:
        found = get_registered_object(config)
        return config if found is None else found
    if not isinstance(config, Mapping):
        return config
    name = config.get("class_name")
    if name is None or "config" not in config:
        if kind is not None and name is None:
            raise ValueError(f"[{kind}] a config needs 'class_name' and 'config'. Received: {dict(config)!r}")
        if name is None:
            return {k: _restore(v, kind, table) for k, v in config.items()}
    if not isinstance(name, str):
        raise ValueError(f"[{kind or 'deserialize'}] class_name must be a string. Received: {name!r}")
    inner = config.get("config")
    if name.startswith("__") and name.endswith("__"):
        return _restore_literal(name, inner)
    if name in _POLICIES:
        return inner["name"] if isinstance(inner, Mapping) and "name" in inner else None
    if name == "function":
        return _find_function(inner, config.get("module"), kind, table)
    shared = _shared.get()
    key = config.get("shared_object_id")
    if shared is not None and key is not None and key in shared:
        return shared[key]
    found = _find_class(name, config, kind, table)
    if not isinstance(found, type):
        return found
    made = _instance(found, {} if inner is None else inner, "module" not in config, kind)
    _finish(made, config)
    if shared is not None and key is not None:
        shared[key] = made
    return made


def _finish(made: Any, config: Mapping[str, Any]) -> None:
    """Builds and compiles an object as its config says."""
    build = config.get("build_config")
    if build and hasattr(made, "build_from_config") and not getattr(made, "built", True):
        made.build_from_config(build)
    compiled = config.get("compile_config")
    if compiled and hasattr(made, "compile_from_config"):
        made.compile_from_config(compiled)


def _restore_literal(name: str, inner: Any) -> Any:
    if name == "__lambda__":
        found = get_registered_object("<lambda>")
        if found is not None:
            return found
        raise ValueError(
            "[deserialize] the file holds a lambda as bytecode, which nnfast never runs. Received: '__lambda__'. "
            "Pass the function yourself: custom_objects={'<lambda>': ...}, or {'<name of the layer>': ...}"
        )
    try:
        if name in ("__numpy__", "__tensor__"):
            value = np.array(inner["value"], dtype=inner["dtype"])
            if value.dtype.kind not in "biuf":
                raise TypeError(f"dtype {value.dtype}")
            return value
        if name == "__bytes__":
            return inner["value"].encode("utf-8")
        if name == "__slice__":
            return slice(*(_restore(inner[k], None) for k in ("start", "stop", "step")))
        if name == "__ellipsis__":
            return Ellipsis
    except (TypeError, KeyError, ValueError, AttributeError) as e:
        raise ValueError(f"[deserialize] a value is not what its kind says. Received: {name!r}: {inner!r} ({e})") from e
    if name == "__keras_tensor__":  # the functional model that holds it knows what it stands for
        return {"class_name": name, "config": inner}
    raise ValueError(f"[deserialize] this kind of value is not known. Received: {name!r}")


def _find_function(name: Any, module: Any, kind: str | None, table: Mapping[str, Any] | None) -> Any:
    if not isinstance(name, str):
        raise ValueError(f"[deserialize] a function is given by its name. Received: {name!r}")
    found = get_registered_object(name)
    if found is not None:
        return found
    if kind is not None:
        return from_identifier(kind, name, table)
    for room in _FUNCTIONS.values():
        if name in room:
            return room[name]
    raise ValueError(_unknown("function", name, module))


def _find_class(name: str, config: Mapping[str, Any], kind: str | None, table: Mapping[str, Any] | None) -> Any:
    """The class that a config names. One with a module is Keras's own or custom; without, it is from Keras 2."""
    for key in (config.get("registered_name"), name):
        found = get_registered_object(key) if isinstance(key, str) else None
        if found is not None:
            return found
    if name.startswith("Custom>") and name[7:] in _CLASSES.get("optimizers", {}):  # tf.keras 2.11 and later
        return _CLASSES["optimizers"][name[7:]]
    module = config.get("module", "keras")
    parts = str(module).split(".")
    if module is not None and parts[0] in ("keras", "tensorflow", "tf_keras", "nnfast", "builtins"):
        if table is not None and name in table:
            return table[name]
        rooms = [r for r in reversed(parts) if name in _CLASSES.get(r, {})]
        if kind is not None:
            return find(kind, name, _names(kind, table))
        for room in rooms or [r for r in (*_MAIN_ROOMS, *_CLASSES) if name in _CLASSES.get(r, {})]:
            return _CLASSES[room][name]
    raise ValueError(_unknown("class", name, module))


def _unknown(what: str, name: str, module: Any) -> str:
    return (
        f"[deserialize] the file names a {what} that nnfast does not know. Received: {name!r} of module {module!r}. If "
        f"it is yours, pass custom_objects={{{(name.rpartition('>')[2] or name)!r}: ...}}, or decorate it with "
        "nnfast.saving.register_keras_serializable() before loading"
    )


def _instance(cls: type, config: Any, old: bool, kind: str | None) -> Any:
    if not isinstance(config, Mapping):
        raise ValueError(f"[deserialize] the config of {cls.__name__} must be a dict. Received: {config!r}")
    config = {k: _literals(v, config.get("name")) for k, v in config.items()}
    parameters = inspect.signature(cls.__init__).parameters  # type: ignore[misc]
    for key in [k for k in config if k in _DROPPED and k not in parameters]:
        del config[key]
    if config.get("reduction") == "auto":  # Keras 2
        config["reduction"] = "sum_over_batch_size"
    if isinstance(config.get("fn"), str):
        config["fn"] = _find_function(config["fn"], None, None, None)
    if old and isinstance(config.get("axis"), list) and len(config["axis"]) == 1:
        config["axis"] = config["axis"][0]
    make = getattr(cls, "from_config", None)
    try:
        return make(config) if make is not None else cls(**config)
    except TypeError as e:
        if "unexpected keyword argument" not in str(e) or f"{cls.__name__}.__init__" not in str(e):
            raise
        raise ValueError(
            f"[deserialize] {e}. Received: the arguments {', '.join(map(repr, config))}. Let its __init__ take "
            "**kwargs and pass them to super().__init__(**kwargs)"
        ) from e


def _literals(value: Any, name: Any) -> Any:
    """Arrays, slices, bytes inside a config; the lambda of a layer becomes what custom_objects has for its name."""
    if isinstance(value, Mapping):
        kind = value.get("class_name")
        nameless = kind == "__lambda__" or (kind == "function" and value.get("config") == "<lambda>")
        if nameless and isinstance(name, str) and get_registered_object(name) is not None:
            return get_registered_object(name)
        if kind in ("__numpy__", "__tensor__", "__bytes__", "__slice__", "__ellipsis__", "__lambda__"):
            return _restore_literal(kind, value.get("config"))
    return value
