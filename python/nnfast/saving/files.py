"""save_model, load_model, save_weights, load_weights: what is in which file, and what can be wrong with it.

| file | what is in it |
|---|---|
| `.keras` | a zip of metadata.json, config.json and model.weights.h5 |
| `.h5`, `.hdf5` | attributes model_config and training_config, groups model_weights and optimizer_weights |
| `.safetensors` | weights by name; the configs among the header's strings |
| `.weights.h5` | the weights alone, as inside .keras |

What Keras has no place for (the state of random generators) stands under the name `nnfast`: in metadata.json, in an
attribute of the HDF5 file, in the header. Nothing in a file is run, and no module that it names is imported.
"""

import contextlib
import io
import json
import os
import struct
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from nnfast import device
from nnfast.ops import random
from nnfast.saving import hdf5, safetensors, weights
from nnfast.saving.atomic import atomic_file
from nnfast.saving.budget import limited
from nnfast.saving.serialization import (
    CustomObjectScope,
    deserialize_keras_object,
    object_sharing,
    serialize_keras_object,
)
from nnfast.saving.tree import keys, places
from nnfast.tensor import Variable

_CONFIG, _METADATA, _WEIGHTS = "config.json", "metadata.json", "model.weights.h5"
_TEXT_LIMIT = 2**28  # bytes of JSON in a file
_WHOLE = (".keras", ".h5", ".hdf5", ".safetensors")


# ---- public functions ----


def save_model(model: Any, filepath: Any, overwrite: bool = True, zipped: Any = None, **kwargs: Any) -> None:
    """Writes architecture, weights, how the model is compiled, and the state of training.

    The file appears whole or not at all: an interruption leaves what was there before.

    Args:
        model: the model.
        filepath: ends in .keras, .h5 (or .hdf5) or .safetensors.
        overwrite: False: an existing file is an error.
        zipped: accepted for Keras's sake; `.keras` files are zips.
        **kwargs: `include_optimizer` (default True), `save_format` (must agree with the ending).

    Raises:
        ValueError: the ending is another one, or the file is there and overwrite is False.

    >>> import nnfast, os, tempfile
    >>> model = nnfast.Sequential([nnfast.Input((3,)), nnfast.layers.Dense(2)])
    >>> path = os.path.join(tempfile.mkdtemp(), "model.keras")
    >>> model.save(path)
    >>> nnfast.models.load_model(path).count_params()
    8
    """
    path = os.fspath(filepath)
    include_optimizer = kwargs.pop("include_optimizer", True)
    form = kwargs.pop("save_format", None)
    if kwargs:
        raise TypeError(f"[save] unknown argument. Received: {', '.join(kwargs)}")
    ending = _ending(path)
    if ending == ".weights.h5":
        raise ValueError(f"[save] .weights.h5 is for weights alone. Received: {path!r}. Use save_weights(), or .keras")
    if ending not in _WHOLE or form not in (None, ending[1:], "h5" if ending == ".hdf5" else ending[1:]):
        raise ValueError(f"[save] the name must end in {', '.join(_WHOLE)}. Received: {path!r}. E.g. 'model.keras'")
    _may_write("save", path, overwrite)
    optimizer = getattr(model, "optimizer", None) if include_optimizer else None
    config = serialize_keras_object(model)
    if not include_optimizer:
        config.pop("compile_config", None)
    if not model.built:
        warnings.warn("[save] the model is not built: the file will hold no weights", UserWarning, stacklevel=3)
    _SAVERS[ending](path, model, config, optimizer)


def load_model(filepath: Any, custom_objects: Any = None, compile: bool = True, safe_mode: bool = True) -> Any:
    """The model in a file that nnfast, Keras 3 or Keras 2 wrote: .keras, .h5, .safetensors.

    Training goes on where it stopped: optimizer state, learning rate and number of steps are those of the file, and so
    is the default random generator, if the file has its state.

    Args:
        filepath: the file.
        custom_objects: your own classes and functions by name.
        compile: also compile the model as it was compiled.
        safe_mode: accepted for Keras's sake. Bytecode in a file is never run; pass the function in custom_objects.

    Raises:
        ValueError: the file is damaged or of another kind, names what is not known, or its weights do not fit.
        OSError: it cannot be read.
    """
    path = os.fspath(filepath)
    with _naming_the_file("load_model", path):
        kind = _kind(path)
        with CustomObjectScope(custom_objects), object_sharing():
            model, extra = _LOADERS[kind](path, compile)
            if compile:
                restore_state(model, extra)
            return model


def save_weights(model: Any, filepath: Any, overwrite: bool = True, **kwargs: Any) -> None:
    """Writes the weights alone.

    Args:
        model: the model.
        filepath: ends in .weights.h5 (Keras 3's layout), .h5 (Keras 2's), or .safetensors.
        overwrite: False: an existing file is an error.
    """
    path = os.fspath(filepath)
    if kwargs.pop("max_shard_size", None) is not None or kwargs.pop("save_format", None) not in (None, "h5") or kwargs:
        raise ValueError("[save_weights] max_shard_size and other options are not supported. Leave them out")
    ending = _ending(path)
    _may_write("save_weights", path, overwrite)
    if not model.built:
        raise ValueError(f"[save_weights] {model.name!r} is not built, so it has no weights. Call it on data first")
    if ending == ".safetensors":
        arrays = {name: device.host(v.data) for name, v in keys(model).items()}
        with atomic_file(path) as file:
            safetensors.write(file, arrays, {"format": "nnfast"})
    elif ending in (".weights.h5", ".h5", ".hdf5"):
        write = weights.write_paths if ending == ".weights.h5" else weights.write_layers
        with atomic_file(path) as file, hdf5.h5py().File(file, "w") as h5:
            write(h5, model)
    else:
        raise ValueError(f"[save_weights] the name must end in .weights.h5, .h5 or .safetensors. Received: {path!r}")


def load_weights(model: Any, filepath: Any, skip_mismatch: bool = False, **kwargs: Any) -> None:
    """Reads the weights from any file that `save_weights` or `save_model` of nnfast, Keras 3 or Keras 2 wrote.

    Args:
        model: the model; unless everything fits, nothing changes.
        filepath: the file.
        skip_mismatch: warn, and leave weights as they are whose shape in the file is another.
        **kwargs: `by_name` (default False): in .h5 files, match layers by their names; others stay as they are.

    Raises:
        ValueError: the file is damaged, or its weights do not fit.
    """
    path = os.fspath(filepath)
    by_name = kwargs.pop("by_name", False)
    if kwargs:
        raise TypeError(f"[load_weights] unknown argument. Received: {', '.join(kwargs)}")
    with _naming_the_file("load_weights", path):
        if not model.built:
            raise ValueError(f"{model.name!r} is not built, so it has no weights. Call it on data, or build it, first")
        kind = _kind(path)
        if kind == ".safetensors":
            pairs = _named_pairs(model, safetensors.read(_bytes(path))[0], skip_mismatch)
        elif kind == ".keras":
            with _zip(path) as members, hdf5.open_bytes(members[_WEIGHTS]) as h5:
                pairs = weights.read_paths(h5, model, skip_mismatch)
        else:
            with hdf5.h5py().File(path, "r") as h5:
                group = hdf5.child(h5, "model_weights", "group")
                group = h5 if group is None else group
                if hdf5.names(group, "layer_names"):
                    pairs = weights.read_layers(group, model, skip_mismatch, by_name)
                else:
                    pairs = weights.read_paths(h5, model, skip_mismatch)
        weights.assign(pairs)


def model_from_json(json_string: str, custom_objects: Any = None) -> Any:
    """A model of the architecture that `model.to_json()` described, with fresh weights.

    >>> import nnfast
    >>> model = nnfast.Sequential([nnfast.Input((3,)), nnfast.layers.Dense(2)])
    >>> nnfast.models.model_from_json(model.to_json()).count_params()
    8
    """
    try:
        config = json.loads(json_string)
    except (ValueError, TypeError, RecursionError) as e:
        raise ValueError(f"[model_from_json] this is no JSON. Received: {str(json_string)[:80]!r} ({e})") from e
    with object_sharing():
        return deserialize_keras_object(config, custom_objects)


# ---- .keras ----


def _save_keras(path: str, model: Any, config: Any, optimizer: Any) -> None:
    import zipfile

    h5 = io.BytesIO()
    with hdf5.h5py().File(h5, "w") as file:
        weights.write_paths(file, model, optimizer)
    with atomic_file(path) as out, zipfile.ZipFile(out, "w") as z:
        z.writestr(
            _METADATA, json.dumps({"keras_version": weights.KERAS_VERSION, "nnfast": extra_state(model, optimizer)})
        )
        z.writestr(_CONFIG, json.dumps(config))
        z.writestr(_WEIGHTS, h5.getbuffer())


def _load_keras(path: str, compile: bool) -> tuple[Any, Any]:
    with _zip(path) as members:
        config, metadata = _json(members[_CONFIG]), _json(members[_METADATA])
        with hdf5.open_bytes(members[_WEIGHTS]) as h5:
            model = _make(config, compile, hdf5.numbers(h5))
            pairs = weights.read_paths(h5, model)
            state = weights.optimizer_arrays(h5)
        _fill(model, pairs, compile, state)
        return model, metadata.get("nnfast") if isinstance(metadata, dict) else None


@contextlib.contextmanager
def _zip(path: str) -> Iterator[dict[str, bytes]]:
    """The three members of a .keras file; others are left alone."""
    import zipfile

    with zipfile.ZipFile(path) as z:
        names = z.namelist()
        for name in names:
            if name.startswith(("/", "\\")) or ".." in name.replace("\\", "/").split("/") or ":" in name:
                raise ValueError(f"its member {name!r} points out of the archive")
            if names.count(name) > 1:
                raise ValueError(f"its member {name!r} is there twice")
        members = {}
        for name in (_METADATA, _CONFIG, _WEIGHTS):
            if name not in names:
                raise ValueError(f"it has no member {name!r}, only {', '.join(names[:9])}. Is it a Keras model?")
            info = z.getinfo(name)
            limit = _TEXT_LIMIT if name != _WEIGHTS else max(2**28, 100 * info.compress_size)
            if info.file_size > limit:
                raise ValueError(f"its member {name!r} says it unpacks {info.compress_size} to {info.file_size} bytes")
            members[name] = z.read(name)
    yield members


# ---- .h5 ----


def _save_h5(path: str, model: Any, config: Any, optimizer: Any) -> None:
    compiled = config.pop("compile_config", None)
    with atomic_file(path) as out, hdf5.h5py().File(out, "w") as file:
        file.attrs["keras_version"], file.attrs["backend"] = weights.KERAS_VERSION.encode(), b"nnfast"
        file.attrs["model_config"] = json.dumps(config).encode()
        file.attrs["nnfast"] = json.dumps(extra_state(model, optimizer)).encode()
        if compiled is not None:
            training = {k: v for k, v in compiled.items() if k != "optimizer"}
            file.attrs["training_config"] = json.dumps(training | {"optimizer_config": compiled["optimizer"]}).encode()
        weights.write_layers(file.create_group("model_weights"), model)
        if optimizer is not None:
            weights.write_optimizer(file, optimizer)


def _load_h5(path: str, compile: bool) -> tuple[Any, Any]:
    with hdf5.h5py().File(path, "r") as file:
        text = hdf5.text(file, "model_config")
        if text is None:
            raise ValueError("it has no model_config: it holds weights alone. Make the model, then load_weights()")
        config, training = _json(text), _json(hdf5.text(file, "training_config") or "null")
        group = hdf5.child(file, "model_weights", "group")
        if group is None:
            raise ValueError("it has no group model_weights")
        if isinstance(config, dict) and isinstance(training, dict):
            config["compile_config"] = _compile_config(training)
        model = _make(config, compile, hdf5.numbers(file))
        pairs = weights.read_layers(group, model)
        _fill(model, pairs, compile, weights.optimizer_arrays(file))
        return model, _json(hdf5.text(file, "nnfast") or "null")


def _compile_config(training: dict[str, Any]) -> dict[str, Any]:
    """What .h5 files say about compiling, in the words of .keras files."""
    rooms = {"loss": "losses", "loss_weights": "", "metrics": "metrics", "weighted_metrics": "metrics"}
    config = {k: _with_module(training[k], room) for k, room in rooms.items() if k in training}
    config["optimizer"] = _with_module(training.get("optimizer_config"), "optimizers")
    while isinstance(config.get("metrics"), list) and len(config["metrics"]) == 1:
        if not isinstance(config["metrics"][0], list):
            break
        config["metrics"] = config["metrics"][0]  # tf.keras: a list per output
    return config


def _with_module(config: Any, room: str) -> Any:
    """The configs of Keras 2 do not say whether MeanSquaredError is a loss or a metric; their place does."""
    if isinstance(config, list):
        return [_with_module(v, room) for v in config]
    if not isinstance(config, dict):
        return config
    if "class_name" in config:
        return {"module": f"keras.{room}"} | config
    return {k: _with_module(v, room) for k, v in config.items()}


# ---- .safetensors ----


def _save_safetensors(path: str, model: Any, config: Any, optimizer: Any) -> None:
    arrays = {name: device.host(v.data) for name, v in keys(model).items()}
    if optimizer is not None:
        arrays |= {f"optimizer/vars/{n}": device.host(v.data) for n, v in enumerate(optimizer.variables)}
    extra = json.dumps(extra_state(model, optimizer))
    metadata = {"format": "nnfast", "model_config": json.dumps(config), "nnfast": extra}
    with atomic_file(path) as file:
        safetensors.write(file, arrays, metadata)


def _load_safetensors(path: str, compile: bool) -> tuple[Any, Any]:
    arrays, metadata = safetensors.read(_bytes(path))
    if "model_config" not in metadata:
        raise ValueError("its header has no model_config: it holds weights alone. Make the model, then load_weights()")
    model = _make(_json(metadata["model_config"]), compile, sum(a.size for a in arrays.values()))
    state = [arrays[f"optimizer/vars/{n}"] for n in range(len(arrays)) if f"optimizer/vars/{n}" in arrays]
    _fill(model, _named_pairs(model, arrays, False), compile, (state, False))
    return model, _json(metadata.get("nnfast", "null"))


def _named_pairs(model: Any, arrays: dict[str, np.ndarray], skip_mismatch: bool) -> weights.Pairs:
    pairs: list[tuple[Variable, np.ndarray]] = []
    for name, v in keys(model).items():
        value = arrays.get(name)
        if value is None or value.shape != v.shape:
            received = "nothing" if value is None else f"shape {value.shape}"
            problem = f"the weight {v.path!r} has shape {v.shape}, but the file has {received} under {name!r}"
            if not skip_mismatch:
                raise ValueError(problem)
            warnings.warn(f"[load_weights] skipped: {problem}", UserWarning, stacklevel=3)
            continue
        weights.not_nan(name, value)
        pairs.append((v, value))
    return pairs


# ---- the steps that all formats share ----


def _make(config: Any, compile: bool, numbers: int) -> Any:
    """The model of a config, its weights still zeros; not many more than the file has numbers."""
    if not isinstance(config, Mapping) or "class_name" not in config:
        raise ValueError(f"its config is not that of a model: {str(config)[:80]!r}")
    config = dict(config)
    compiled = config.pop("compile_config", None)
    with limited(numbers + 2**22):  # some more, so that it is said which weight is missing
        model = deserialize_keras_object(config)
    if not hasattr(model, "compile_from_config"):
        raise ValueError(f"its config is that of {type(model).__name__!r}, which is not a model")
    if compile and compiled and compiled.get("optimizer") is not None:
        model.compile_from_config(compiled)
    return model


def _fill(model: Any, pairs: weights.Pairs, compile: bool, state: tuple[list[np.ndarray], bool]) -> None:
    weights.assign(pairs)
    if compile and getattr(model, "optimizer", None) is not None and model.built:
        weights.restore_optimizer(model.optimizer, model.trainable_variables, *state)


def extra_state(model: Any, optimizer: Any) -> dict[str, Any]:
    """What Keras's layouts have no place for: the random generators, as (seed, draws so far)."""
    extra: dict[str, Any] = {"format": 1}
    generators = {name: list(g.state) for name, g in _generators(model)}
    if generators:
        extra["generators"] = generators
    if optimizer is not None:
        extra["random"] = {"state": list(random.default_generator.state)}
        extra["random"]["follows_numpy"] = random.default_generator.follows_numpy
    return extra


def restore_state(model: Any, extra: Any) -> None:
    if extra is None:
        return
    saved = extra.get("generators", {})
    for name, generator in _generators(model):
        if name in saved:
            generator.state = _pair_of_integers(saved[name])
    if "random" in extra:
        state = _pair_of_integers(extra["random"]["state"])
        random.default_generator.resume(state, bool(extra["random"]["follows_numpy"]))


def _pair_of_integers(value: Any) -> tuple[int, int]:
    seed, draws = value
    if not all(type(n) is int and -(2**63) <= n < 2**63 for n in (seed, draws)) or draws < 0:
        raise ValueError(f"the state of a random generator is two integers, not {value!r}")
    return seed, draws


def _generators(model: Any) -> Iterator[tuple[str, random.Generator]]:
    """The random generators of layers with a seed of their own."""
    for path, layer, _ in places(model):
        for name, value in vars(layer).items():
            if isinstance(value, random.Generator):
                yield f"{path}.{name}", value


# ---- files ----


def _ending(path: str) -> str:
    lower = path.lower()
    return ".weights.h5" if lower.endswith(".weights.h5") else os.path.splitext(lower)[1]


def _may_write(name: str, path: str, overwrite: bool) -> None:
    if not overwrite and os.path.exists(path):
        raise ValueError(f"[{name}] the file is there already. Received: {path!r}, overwrite=False")


def _kind(path: str) -> str:
    """Which kind of file it is, by its first bytes."""
    if os.path.isdir(path):
        raise ValueError("it is a folder (a TensorFlow SavedModel?). Save the model as .keras or .h5")
    with open(path, "rb") as file:
        head = file.read(16)
    if head.startswith(b"PK"):
        return ".keras"
    if head.startswith(b"\x89HDF\r\n\x1a\n"):
        return ".h5"
    if head[8:9] == b"{" and struct.unpack("<Q", head[:8])[0] <= os.path.getsize(path):
        return ".safetensors"
    if head.startswith(b"\x80") and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        raise ValueError("it is a pickle, which may run code when it is opened: nnfast never does")
    raise ValueError(f"it is no model: it begins with {head!r}, not as a zip, HDF5 or safetensors file does")


def _bytes(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def _json(text: str | bytes) -> Any:
    return json.loads(text)


@contextlib.contextmanager
def _naming_the_file(name: str, path: str) -> Iterator[None]:
    """Errors about the content of a file say which file; those of reading it say so themselves."""
    import zipfile

    try:
        yield
    except OSError as e:
        if e.errno is not None and e.filename is not None:
            raise
        raise ValueError(f"[{name}] {path!r} is damaged or cut off: {e}") from e  # h5py
    except (zipfile.BadZipFile, EOFError, json.JSONDecodeError, UnicodeDecodeError, struct.error) as e:
        raise ValueError(f"[{name}] {path!r} is damaged or cut off: {e}") from e
    except RecursionError as e:
        raise ValueError(f"[{name}] {path!r} is nested too deeply") from e
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RuntimeError, NotImplementedError) as e:
        if isinstance(e, ImportError):
            raise
        raise ValueError(f"[{name}] {path!r}: {e if isinstance(e, ValueError) else repr(e)}") from e


_SAVERS = {".keras": _save_keras, ".h5": _save_h5, ".hdf5": _save_h5, ".safetensors": _save_safetensors}
_LOADERS = {".keras": _load_keras, ".h5": _load_h5, ".safetensors": _load_safetensors}
